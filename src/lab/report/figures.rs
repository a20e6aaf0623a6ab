//! The figures of a report, each with three sentences for somebody who never heard of a queue's law.
//!
//! | file | question | from |
//! |---|---|---|
//! | `waiting.svg` | how long does a message stay, as the load grows? | M/M/1, and M/M/1 with set-up, all loads |
//! | `NAME-distribution.svg` | how often is it much longer, and how many are there at once? | the points of one experiment, all repetitions |
//! | `hand-offs.svg` | how long from a message's turn to its start? | runs at one load, on each layer |
//! | `throughput.svg` | what comes out when so much is offered? | all runs with a load |
//! | `cost.svg` | does a message cost more when the queue is deep, or the log long? | the costs |
//!
//! A figure without data is left out of the report, which says so.

use crate::lab::plot::{Axis, Band, Datum, Figure, Panel, SERIES_MAX, Series};
use crate::lab::record::{Cost, CostRecord, RunRecord};
use crate::lab::{Histogram, Kind, LawCheck, Wait};
use std::collections::BTreeMap;

/// A figure, its file and its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Illustration {
    /// The name of its file.
    pub file: String,
    /// What is drawn.
    pub figure: Figure,
    /// What is seen, what it means, and what to look for.
    pub sentences: [String; 3],
}

/// All figures that these runs and costs have data for.
#[must_use]
pub fn figures(runs: &[&RunRecord], costs: &[&CostRecord]) -> Vec<Illustration> {
    let mut figures: Vec<Illustration> = Vec::new();
    figures.extend(waiting(runs));
    figures.extend(hand_offs(runs));
    figures.extend(throughput(runs));
    figures.extend(cost(costs));
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.name.as_str()) {
            names.push(&run.name);
        }
    }
    figures.extend(names.into_iter().filter_map(|name| distribution(runs, name)));
    figures
}

/// The check that tells W beside its law: the first that decides, or else the first.
fn sojourn(run: &RunRecord) -> Option<&LawCheck> {
    let of_w = |check: &&LawCheck| check.quantity.starts_with("W ");
    let mut checks = run.judgement.checks.iter().filter(of_w);
    let first = checks.clone().next();
    checks.find(|check| check.decides).or(first)
}

/// The check of W beside the law with set-up.
fn set_up(run: &RunRecord) -> Option<&LawCheck> {
    let of_w = |check: &&LawCheck| check.quantity.starts_with("W ");
    run.judgement.checks.iter().filter(of_w).find(|check| check.law.contains("set-up"))
}

fn layer(run: &RunRecord) -> String {
    let wait = match run.experiment.wait {
        Wait::Spin => "spinning",
        Wait::Park => "parked when idle",
        Wait::Sleep => "sleeping",
    };
    format!("{}, {wait}", run.experiment.on)
}

/// By layer and law: W in services, and W over the law.
type Layers = BTreeMap<(String, String), [Vec<Datum>; 2]>;

fn waiting(runs: &[&RunRecord]) -> Option<Illustration> {
    let one_server = |run: &&&RunRecord| matches!(run.experiment.kind, Kind::Mm1 | Kind::Setup);
    let mut layers = Layers::new();
    let mut parked: Vec<Datum> = Vec::new();
    let mut bands: Vec<f64> = Vec::new();
    for run in runs.iter().filter(one_server) {
        let Some(check) = sojourn(run) else { continue };
        let (load, rate) = (run.judgement.realized.load, run.judgement.realized.service_per_s);
        let [stays, ratios] = layers.entry((layer(run), check.law.clone())).or_default();
        let half = check.interval.map(|interval| interval.half_width);
        let ratio = check.interval.map_or(check.measured / check.theory, |interval| interval.ratio);
        stays.push(match half {
            Some(half) => Datum::within(load, check.measured * rate, half * check.theory * rate),
            None => Datum::at(load, check.measured * rate),
        });
        ratios.push(half.map_or(Datum::at(load, ratio), |half| Datum::within(load, ratio, half)));
        bands.push(check.band);
        if run.experiment.wait != Wait::Spin
            && let Some(check) = set_up(run)
        {
            parked.push(Datum::at(load, check.theory * rate));
        }
    }
    if layers.is_empty() {
        return None;
    }
    parked.sort_by(|a, b| a.x.total_cmp(&b.x));
    let panels = waiting_panels(layers, parked, bands.into_iter().fold(f64::INFINITY, f64::min));
    let title = "How long does a message stay, as the load grows?".into();
    Some(Illustration {
        file: "waiting.svg".into(),
        figure: Figure { title, panels },
        sentences: [
            "Above: the mean time from a message's arrival until it is served, counted in mean services, against how busy the \
             server is; the line is what mathematics says of any queue with random arrivals and services, and no constant of \
             it was fitted.".into(),
            "The line bends upwards because a server that is busy most of the time rarely gets the chance to catch up: at half \
             load a message stays two services, at 90 % ten.".into(),
            "Below: the same as a ratio with its 95 % interval: marks on 1 mean that the queue adds nothing of its own, marks \
             above it show what waking, handing over or the machine's own pauses cost.".into(),
        ],
    })
}

/// W by load, above, and over its law, below: the same places in both, so that a layer keeps its colour and mark.
fn waiting_panels(layers: Layers, parked: Vec<Datum>, band: f64) -> Vec<Panel> {
    let most = layers.values().flat_map(|[stays, _]| stays).map(|datum| datum.x);
    let most = most.fold(0.5, f64::max).min(0.97);
    let law = (0..=60).map(|step| most * f64::from(step) / 60.0);
    let law = Series::law("law: M/M/1", law.map(|rho| Datum::at(rho, 1.0 / (1.0 - rho))).collect());
    let mut series = vec![law];
    if !parked.is_empty() {
        series.push(Series::law("law: M/M/1 with set-up, at the wake-ups measured", parked));
    }
    let pad = series.len();
    series
        .extend(layers.iter().map(|((name, _), [stays, _])| Series::measured(name, stays.clone())));
    let one = vec![Datum::at(0.0, 1.0), Datum::at(1.0, 1.0)];
    let mut ratios = vec![Series::law("the law itself", one)];
    ratios.extend((1..pad).map(|_| Series::law("", Vec::new())));
    ratios.extend(layers.into_iter().map(|((name, law), [_, ratios])| {
        Series::measured(if law == "M/M/1" { name } else { format!("{name} / {law}") }, ratios)
    }));
    series.truncate(SERIES_MAX);
    ratios.truncate(SERIES_MAX);
    let x = Axis::linear("load rho", "arrivals per second x mean service").including(&[0.0, 1.0]);
    let stays = Axis::linear("W, mean time in the system", "mean services").including(&[0.0]);
    // A run that the machine disturbed may be off by any factor: it is marked at the edge, and its row has the number.
    let stays = stays.limited(0.0, 1.6 / (1.0 - most));
    vec![
        Panel { x: x.clone(), y: stays, series, band: None },
        Panel {
            x,
            y: Axis::linear("W measured / law", "ratio").limited(0.8, 1.3),
            series: ratios,
            band: Some(Band {
                name: format!("within {} % of the law", (band * 1000.0).round() / 10.0),
                low: 1.0 - band,
                high: 1.0 + band,
            }),
        },
    ]
}

fn distribution(runs: &[&RunRecord], name: &str) -> Option<Illustration> {
    let runs: Vec<&&RunRecord> = runs.iter().filter(|run| run.name == name).collect();
    let mut panels = Vec::new();
    for (of, x, y, unit) in [
        (
            "W",
            Axis::linear("t, time in the system", "mean sojourns of the law"),
            "P(W > t)",
            "share of messages",
        ),
        (
            "N by arrivals",
            Axis::linear("n, messages found by an arrival", "messages"),
            "P(N = n)",
            "share of arrivals",
        ),
        (
            "N by time",
            Axis::linear("n, messages in the system", "messages"),
            "P(N = n)",
            "share of the time",
        ),
    ] {
        let mut law: Vec<Datum> = Vec::new();
        let mut series = Vec::new();
        for run in &runs {
            let points = run.judgement.points.iter().filter(|point| point.of == of);
            for point in points.clone() {
                law.push(Datum::at(point.at, point.theory));
            }
            let points =
                points.map(|point| Datum::within(point.at, point.measured, point.half_width));
            let points: Vec<Datum> = points.collect();
            if !points.is_empty() {
                let name = format!("measured, repetition {}", run.repetition + 1);
                series.push(Series::measured(name, points));
            }
        }
        if series.is_empty() {
            continue;
        }
        law.sort_by(|a, b| a.x.total_cmp(&b.x));
        series.insert(0, Series::law("law", law));
        series.truncate(SERIES_MAX);
        panels.push(Panel { x: x.including(&[0.0]), y: Axis::log(y, unit), series, band: None });
    }
    if panels.is_empty() {
        return None;
    }
    let title = format!("{name}: how often is it much longer than the mean?");
    Some(Illustration {
        file: format!("{name}-distribution.svg"),
        figure: Figure { title, panels },
        sentences: [
            "A mean hides the unlucky: the first panel shows what share of the messages stays longer than each time, the others \
             how often so many messages are in the system at once.".into(),
            "On a logarithmic scale, where each step down is a tenth, these laws are nearly straight lines; a tail that is too \
             long would bend upwards from its line.".into(),
            "The bars are intervals that hold for all marks of a row together, 95 times of 100: where a bar misses the line, \
             chance alone is a poor excuse.".into(),
        ],
    })
}

/// Shares a decade of time, at the middles of the bins.
fn density(histogram: &Histogram) -> Vec<Datum> {
    let total: u64 = histogram.bins.iter().map(|bin| bin.count).sum();
    let edges: Vec<f64> = histogram.bins.iter().map(|bin| bin.to_ns as f64).collect();
    let mut points = Vec::new();
    for (index, bin) in histogram.bins.iter().enumerate() {
        let high = edges[index];
        let low = match index {
            // The first bin has no lower edge: as wide as the one after it.
            0 => edges.get(1).map_or(high / 2.0, |next| high * high / next),
            _ => edges[index - 1],
        };
        let wide = (high / low).log10();
        if bin.count > 0 && low > 0.0 && wide > 0.0 {
            let share = bin.count as f64 / total.max(1) as f64;
            points.push(Datum::at((low * high).sqrt() / 1e3, share / wide));
        }
    }
    points
}

fn hand_offs(runs: &[&RunRecord]) -> Option<Illustration> {
    // The load at which most layers were measured; of equal ones the lower.
    let one_server = |run: &&&RunRecord| matches!(run.experiment.kind, Kind::Mm1 | Kind::Setup);
    let mut layers: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for run in runs.iter().filter(one_server) {
        let at = layers.entry((run.experiment.load * 1000.0).round() as u64).or_default();
        if !at.contains(&layer(run)) {
            at.push(layer(run));
        }
    }
    let load = layers.iter().rev().max_by_key(|(_, names)| names.len())?.0;
    let at_load = |run: &&&RunRecord| (run.experiment.load * 1000.0).round() as u64 == *load;
    let mut seen: Vec<String> = Vec::new();
    let (mut busy, mut idle) = (Vec::new(), Vec::new());
    for run in runs.iter().filter(one_server).filter(at_load) {
        let name = match run.repetition {
            0 => layer(run),
            repetition => format!("{}, repetition {}", layer(run), repetition + 1),
        };
        if seen.contains(&name) || seen.len() == SERIES_MAX {
            continue;
        }
        seen.push(name.clone());
        busy.push(Series::joined(name.clone(), density(&run.judgement.hand_offs.busy_histogram)));
        idle.push(Series::joined(name, density(&run.judgement.hand_offs.idle_histogram)));
    }
    let panel = |series, what: &str| Panel {
        x: Axis::log(&format!("hand-off {what}"), "us"),
        y: Axis::linear("how many", "share of messages per decade").including(&[0.0]),
        series,
        band: None,
    };
    let load = *load as f64 / 1000.0;
    let title = format!("How long from a message's turn until its service begins, at load {load}?");
    Some(Illustration {
        file: "hand-offs.svg".into(),
        figure: Figure {
            title,
            panels: vec![panel(busy, "after another message"), panel(idle, "from rest")],
        },
        sentences: [
            "A hand-off is the time in which a message could already be served and is not: the queue's own work, and for a \
             server that rests, its waking.".into(),
            "Above are messages that followed another one, below those that found the server idle; the further left the hump, \
             the less the queue costs.".into(),
            "A second hump far to the right is a server that the machine had put to sleep or took away for a moment; compare \
             the layers with the bare ring and the plain channel, which are the floor.".into(),
        ],
    })
}

fn throughput(runs: &[&RunRecord]) -> Option<Illustration> {
    let mut layers: BTreeMap<String, Vec<Datum>> = BTreeMap::new();
    let mut bounded: Vec<Datum> = Vec::new();
    for run in runs.iter().filter(|run| run.experiment.kind != Kind::Tandem) {
        let realized = &run.judgement.realized;
        let most = realized.service_per_s * f64::from(run.experiment.servers.max(1));
        let kind = match run.experiment.kind {
            Kind::Mm1k => "small buffer",
            Kind::Saturation => "saturation",
            _ if run.experiment.servers > 1 => "several servers",
            _ => "one server",
        };
        let name = format!("{}, {kind}", run.experiment.on);
        let offered = realized.load;
        layers.entry(name).or_default().push(Datum::at(offered, realized.throughput_per_s / most));
        let loss = |check: &&LawCheck| check.quantity.starts_with("loss");
        if let Some(check) = run.judgement.checks.iter().find(loss) {
            bounded.push(Datum::at(offered, offered * (1.0 - check.theory)));
        }
    }
    if layers.is_empty() {
        return None;
    }
    let most = layers.values().flatten().map(|datum| datum.x).fold(1.2, f64::max);
    let law = vec![Datum::at(0.0, 0.0), Datum::at(1.0, 1.0), Datum::at(most, 1.0)];
    let mut series =
        vec![Series::law("law: the lesser of what is offered and what can be served", law)];
    if !bounded.is_empty() {
        bounded.sort_by(|a, b| a.x.total_cmp(&b.x));
        series.push(Series::measured("law: with a small buffer, M/M/1/K", bounded));
    }
    series.extend(layers.into_iter().map(|(name, points)| Series::measured(name, points)));
    series.truncate(SERIES_MAX);
    let x = Axis::linear("offered load", "share of what the servers can do").including(&[0.0]);
    let y = Axis::linear("throughput", "share of what the servers can do").including(&[0.0]);
    let title = "What comes out when so much is offered?".into();
    let panels = vec![Panel { x, y, series, band: None }];
    Some(Illustration {
        file: "throughput.svg".into(),
        figure: Figure { title, panels },
        sentences: [
            "Below a load of 1 all that arrives also leaves, so the marks follow the diagonal; above it the servers never rest \
             and throughput stays at what they can do.".into(),
            "Which of the three limits holds is seen by where a mark lies: on the diagonal the source is the limit, on the \
             level line the server, and under both a buffer so small that messages were refused.".into(),
            "A mark under its law would be work that the queue itself took from the servers.".into(),
        ],
    })
}

fn cost(costs: &[&CostRecord]) -> Option<Illustration> {
    let panel = |wanted: &[Cost], x: Axis, scale: f64| {
        let mut series = Vec::new();
        for cost in wanted {
            let of = costs.iter().filter(|record| record.plan.cost == *cost);
            let mut points: Vec<Datum> = of.filter_map(|record| median(record, scale)).collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let name = match cost {
                Cost::RingDepth => "bare ring: push and pop",
                Cost::MemoryDepth => "memory kind: publish, receive, settle",
                Cost::LogSize => "persistent kind: publish, receive, settle",
            };
            if !points.is_empty() {
                series.push(Series::joined(name, points));
            }
        }
        let y = Axis::log("cost of a message", "ns");
        (!series.is_empty()).then_some(Panel { x, y, series, band: None })
    };
    let depth = Axis::log("depth: messages in the queue", "messages");
    let size = Axis::log("size of the log", "MiB");
    let panels = [
        panel(&[Cost::RingDepth, Cost::MemoryDepth], depth, 1.0),
        panel(&[Cost::LogSize], size, 1.0 / f64::from(1 << 20)),
    ];
    let panels: Vec<Panel> = panels.into_iter().flatten().collect();
    let title = "Does a message cost more when the queue is deep, or the log long?".into();
    (!panels.is_empty()).then(|| Illustration {
        file: "cost.svg".into(),
        figure: Figure { title, panels },
        sentences: [
            "Each mark is what one message costs from being published to being done with, while so many others lie in the queue, \
             or while the log on disk is so long.".into(),
            "A level row means that nothing is searched or sorted, however much has piled up; steps are the processor's caches, \
             in which a shallow queue fits and a deep one does not.".into(),
            "The bars are the least and the greatest of the rounds, not an interval: another machine has other times, but should \
             have the same shape.".into(),
        ],
    })
}

fn median(record: &CostRecord, scale: f64) -> Option<Datum> {
    let mut rounds: Vec<f64> = record.rounds_ns.clone();
    rounds.sort_by(f64::total_cmp);
    let (low, high) = (*rounds.first()?, *rounds.last()?);
    let middle = rounds[rounds.len() / 2];
    Some(Datum { x: record.plan.at as f64 * scale, y: middle, interval: Some((low, high)) })
}
