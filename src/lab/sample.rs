//! Records for tests of the report and the suite: what a run of an experiment could have said, by arithmetic alone.

use super::record::{Cost, CostPlan, CostRecord, FailedRecord, Ladder, Record, RunRecord};
use super::suite::{LadderOptions, ladder};
use super::{
    Busy, Count, Experiment, Footing, Grouping, HandOffs, Histogram, InputTest, Interval,
    Judgement, Kind, LawCheck, Little, Machine, OwnPath, Point, Quantiles, Realized, StallAccount,
    StallBias, Stalls, Sums, Verdict, Wait,
};
use std::time::Duration;

/// What a run could have said whose W is `shift` times the law's.
pub fn judgement(experiment: &Experiment, shift: f64, verdict: Verdict) -> Judgement {
    let service_s = experiment.service_mean.as_secs_f64();
    let load = experiment.load * (1.0 + 0.001 * (experiment.seed % 7) as f64);
    let sojourn_s = service_s / (1.0 - load).max(0.05);
    let wake_s = if experiment.wait == Wait::Spin { 3e-7 } else { 2e-5 };
    Judgement {
        kind: experiment.kind,
        servers: experiment.servers,
        capacity: experiment.capacity,
        band: experiment.band,
        messages: experiment.messages,
        warmup: 0,
        refused: 0,
        realized: Realized {
            arrival_per_s: load / service_s * f64::from(experiment.servers),
            service_per_s: 1.0 / service_s,
            load,
            ca2: 1.003,
            cs2: experiment.cs2,
            throughput_per_s: load.min(0.995) / service_s * f64::from(experiment.servers),
            refused: (1.0 - 1.0 / load).max(0.0),
            run_s: experiment.messages as f64 * service_s / load,
        },
        little: Little { area: 1 << 70, sojourns: 1 << 70 },
        own_path: OwnPath {
            sojourn_mean_s: sojourn_s * shift,
            perfect_mean_s: sojourn_s,
            ratio: shift,
            ratio_without_absences: 1.0005,
            ratio_to_draws: Some(shift + 0.001),
            residual: quantiles(wake_s),
            early: 0,
            at_once_max: experiment.servers,
        },
        hand_offs: HandOffs {
            busy: quantiles(3e-7),
            idle: quantiles(wake_s),
            busy_histogram: histogram(300.0),
            idle_histogram: histogram(wake_s * 1e9),
        },
        next_stage: None,
        grouping: Grouping::Empty,
        groups: vec![Sums::default(); 2],
        lateness: quantiles(1e-7),
        checks: checks(experiment, sojourn_s, shift, wake_s, verdict),
        points: points(load.min(0.95)),
        inputs: vec![InputTest {
            claim: "gaps are exponential".into(),
            statistic: 0.0012,
            critical: 0.0024,
            refused_above: 0.004,
            of_machine: false,
            holds: true,
        }],
        stalls: Some(StallAccount {
            server: Stalls { count: 3, not_kept: 0, total_s: 2e-4, max_s: 1e-4, square_s2: 1e-8 },
            ..StallAccount::default()
        }),
        stall_bias: Some(StallBias { server: 0.0004, idle: 0.0, source: 0.0001 }),
        source_late: false,
        verdict,
        because: "W from intended | arrivals is inside the band".into(),
    }
}

fn checks(
    experiment: &Experiment,
    sojourn_s: f64,
    shift: f64,
    wake_s: f64,
    verdict: Verdict,
) -> Vec<LawCheck> {
    let interval = |ratio| Interval { ratio, half_width: 0.008, groups: 50, median: ratio - 0.001 };
    let check = |quantity: &str, law: &str, theory: f64, decides| LawCheck {
        quantity: quantity.into(),
        law: law.into(),
        measured: sojourn_s * shift,
        theory,
        interval: Some(interval(sojourn_s * shift / theory)),
        band: experiment.band,
        verdict,
        decides,
    };
    let mut checks = vec![
        check("W from intended", "M/M/1", sojourn_s, experiment.kind != Kind::Setup),
        check("W from arrival", "M/M/1", sojourn_s, false),
    ];
    if experiment.wait != Wait::Spin {
        let law = "M/M/1 with set-up";
        checks.push(check("W from intended", law, sojourn_s + wake_s, true));
    }
    checks
}

fn points(load: f64) -> Vec<Point> {
    let point = |of: &str, at: f64, theory: f64, holds| Point {
        of: of.into(),
        at,
        measured: theory * if holds { 1.01 } else { 1.4 },
        half_width: theory * 0.08,
        theory,
        holds,
    };
    let times = [0.25_f64, 0.5, 1.0, 2.0, 3.0, 4.605];
    let mut points: Vec<Point> =
        times.iter().map(|t| point("W", *t, (-t).exp(), *t < 4.0)).collect();
    for of in ["N by arrivals", "N by time"] {
        let law = |n: u32| point(of, f64::from(n), (1.0 - load) * load.powi(n as i32), true);
        points.extend((0..12).map(law));
    }
    points
}

fn quantiles(mean_s: f64) -> Quantiles {
    let ns = mean_s * 1e9;
    Quantiles {
        count: 1000,
        mean_ns: ns,
        p50_ns: ns as u64,
        p99_ns: (ns * 3.0) as u64,
        p999_ns: (ns * 8.0) as u64,
        max_ns: (ns * 40.0) as u64,
    }
}

fn histogram(mean_ns: f64) -> Histogram {
    let edges = (0..60).map(|step| 10.0 * 1.2589_f64.powi(step));
    let bins = edges.map(|edge| {
        let far = (edge / mean_ns).ln() / 0.4;
        Count { to_ns: edge as u64, count: (1e5 * (-far * far / 2.0).exp()) as u64 }
    });
    Histogram { bins: bins.collect() }
}

pub fn machine() -> Machine {
    Machine {
        system: "linux x86_64".into(),
        cores: Some(2),
        model: Some("a processor".into()),
        is_virtual: Some(true),
        commit: Some("0123456789ab".into()),
        ..Machine::default()
    }
}

pub fn run(name: &str, repetition: u32, experiment: &Experiment, judgement: Judgement) -> Record {
    let footing = Footing { role: "source".into(), core: Some(0), ..Footing::default() };
    Record::Run(Box::new(RunRecord {
        name: name.into(),
        repetition,
        experiment: experiment.clone(),
        machine: machine(),
        busy: Busy { load_before: Some(0.25), steal_s: Some(0.01), ..Busy::default() },
        footings: vec![footing.clone(), Footing { role: "server".into(), ..footing }],
        took: Duration::from_secs(21),
        judgement,
    }))
}

pub fn cost(cost: Cost, at: u64) -> Record {
    let rounds = 3;
    let plan = CostPlan { cost, at, messages: 1000, rounds, expected: Duration::from_secs(1) };
    let base = if cost == Cost::RingDepth { 9.0 } else { 300.0 };
    let rounds_ns = (0..rounds).map(|round| base + f64::from(round)).collect();
    Record::Cost(Box::new(CostRecord { plan, rounds_ns, machine: machine() }))
}

/// A suite of which the last experiment was not run, one failed, and one was disturbed and repeated.
pub fn records() -> Vec<Record> {
    let ladder: Ladder = ladder(&LadderOptions::default());
    let mut records = vec![Record::Plan(ladder.clone())];
    let (_, runs) = ladder.experiments.split_last().expect("a ladder has rungs");
    for (place, planned) in runs.iter().enumerate() {
        let shift = 1.0 + 0.003 * (place % 4) as f64;
        if place == 7 {
            records.push(Record::Failed(Box::new(FailedRecord {
                name: planned.name.clone(),
                repetition: 0,
                experiment: Some(planned.experiment.clone()),
                because: "no memory for the stamps of 7 messages".into(),
            })));
            continue;
        }
        let verdicts = match place {
            1 => vec![Verdict::Disturbed, Verdict::Undecided { messages: 7_000_000 }],
            2 => vec![Verdict::Broken],
            _ => vec![Verdict::Holds],
        };
        for (repetition, verdict) in verdicts.into_iter().enumerate() {
            let experiment = planned.repetition(repetition as u32);
            let judgement = judgement(&experiment, shift, verdict);
            records.push(run(&planned.name, repetition as u32, &experiment, judgement));
        }
    }
    for depth in [1, 100, 10_000, 1_000_000] {
        records.push(cost(Cost::RingDepth, depth));
        records.push(cost(Cost::MemoryDepth, depth));
        records.push(cost(Cost::LogSize, depth << 12));
    }
    records.push(Record::Torn { bytes: 17 });
    records
}
