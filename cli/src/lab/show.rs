//! A judgement for people, and as an object.

use crate::failure::Failure;
use crate::output::{self, counted, seconds, short};
use indicatif::HumanCount;
use millstream::lab::{
    Busy, Experiment, Footing, Judgement, LawCheck, Machine, Overshoot, Parameters, Point,
    Quantiles, Run, StallAccount, StallBias, Stalls, Verdict,
};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// What is known of a run that was just made.
#[derive(Serialize)]
pub struct Circumstances {
    experiment: Experiment,
    machine: Machine,
    busy: Busy,
    /// What each thread was granted.
    footings: Vec<Footing>,
    /// How long a publish took.
    publishes: Quantiles,
    /// How late threads woke that slept.
    #[serde(skip)]
    overshoot: Overshoot,
}

impl Circumstances {
    pub fn of(experiment: &Experiment, run: &Run) -> Self {
        Self {
            experiment: experiment.clone(),
            machine: run.machine.clone(),
            busy: run.busy,
            footings: run.footings.clone(),
            publishes: run.publishes,
            overshoot: run.overshoot,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    /// In a word; with its number in the judgement.
    verdict: &'static str,
    parameters: &'a Parameters,
    judgement: &'a Judgement,
    #[serde(flatten)]
    circumstances: Option<&'a Circumstances>,
}

/// Prints it.
pub fn show(
    parameters: &Parameters,
    judgement: &Judgement,
    circumstances: Option<&Circumstances>,
    json: bool,
) -> Result<(), Failure> {
    if json {
        let verdict = word(judgement.verdict);
        let object = Object { verdict, parameters, judgement, circumstances };
        return Ok(output::write_object(&object)?);
    }
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = write_all(&mut text, parameters, judgement, circumstances);
    Ok(output::write(text.as_bytes())?)
}

/// A verdict in a word.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Broken => "broken",
        Verdict::Undecided { .. } => "undecided",
        Verdict::Disturbed => "disturbed",
    }
}

fn write_all(
    out: &mut String,
    parameters: &Parameters,
    judgement: &Judgement,
    circumstances: Option<&Circumstances>,
) -> fmt::Result {
    write_head(out, parameters, judgement)?;
    if let Some(circumstances) = circumstances {
        write_circumstances(out, circumstances)?;
    }
    writeln!(out)?;
    write_checks(out, judgement)?;
    writeln!(out)?;
    write_path(out, judgement)?;
    write_points(out, &judgement.points)?;
    write_inputs(out, judgement)?;
    match (&judgement.stalls, &judgement.stall_bias) {
        (Some(stalls), Some(bias)) => write_stalls(out, stalls, bias)?,
        _ => writeln!(out, "stalls         nobody kept account of what the machine took")?,
    }
    writeln!(out, "\n{}: {}", word(judgement.verdict), judgement.because)
}

fn write_head(out: &mut String, asked: &Parameters, judgement: &Judgement) -> fmt::Result {
    let realized = &judgement.realized;
    write!(out, "{}", asked.kind)?;
    if let Some(on) = &asked.on {
        write!(out, " on {on}")?;
    }
    write!(out, ", {}", counted(u64::from(asked.servers), "server"))?;
    if let Some(capacity) = asked.capacity {
        write!(out, ", K = {capacity}")?;
    }
    writeln!(
        out,
        " ({}), seed {}: {} in {}, {} refused",
        asked.wait,
        asked.seed,
        counted(judgement.messages, "message"),
        seconds(realized.run_s),
        HumanCount(judgement.refused),
    )?;
    writeln!(
        out,
        "realized       lambda {:.1}/s, mu {:.1}/s of a server, rho {:.4} ({:.4} asked for), ca2 {:.3}, cs2 {:.3}, \
         throughput {:.1}/s",
        realized.arrival_per_s,
        realized.service_per_s,
        realized.load,
        asked.load(),
        realized.ca2,
        realized.cs2,
        realized.throughput_per_s,
    )
}

fn write_circumstances(out: &mut String, circumstances: &Circumstances) -> fmt::Result {
    let Circumstances { machine, busy, footings, publishes, overshoot, .. } = circumstances;
    write!(out, "machine        {}", machine.model.as_deref().unwrap_or("unknown"))?;
    if let Some(cores) = machine.cores {
        write!(out, ", {}", counted(cores as u64, "core"))?;
    }
    if machine.is_virtual == Some(true) {
        write!(out, ", virtual")?;
    }
    if let (Some(before), Some(after)) = (busy.load_before, busy.load_after) {
        write!(out, "; load average {before:.2} before, {after:.2} after")?;
    }
    if let Some(steal_s) = busy.steal_s {
        write!(out, ", {} stolen by other machines", seconds(steal_s))?;
    }
    writeln!(out)?;
    let pinned = footings.iter().filter(|footing| footing.core.is_some()).count();
    let fifo = footings.iter().filter(|footing| footing.fifo.is_some()).count();
    let preempted: u64 = footings.iter().filter_map(|footing| footing.preempted).sum();
    writeln!(
        out,
        "threads        {pinned} of {} pinned, {fifo} under SCHED_FIFO; taken off their cores {} times",
        footings.len(),
        HumanCount(preempted),
    )?;
    write_quantiles(out, "publish", publishes)?;
    for (who, late) in [("server late", &overshoot.server), ("source late", &overshoot.source)] {
        if late.count > 0 {
            write_quantiles(out, who, late)?;
        }
    }
    Ok(())
}

const HEADINGS: [&str; 8] =
    ["quantity", "beside", "measured", "theory", "ratio", "95 % interval", "band", "verdict"];

fn write_checks(out: &mut String, judgement: &Judgement) -> fmt::Result {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(judgement.checks.iter().map(row));
    // The last column is as long as it is.
    let widths: Vec<usize> = (0..HEADINGS.len() - 1)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 | 1 => write!(out, "{cell:<width$}  ")?,
                _ => write!(out, "{cell:>width$}  ")?,
            }
        }
        writeln!(out, "{}", row[HEADINGS.len() - 1])?;
    }
    if judgement.checks.iter().any(|check| !check.decides) {
        writeln!(out, "(in brackets: it explains, and decides nothing)")?;
    }
    Ok(())
}

fn row(check: &LawCheck) -> [String; 8] {
    let [measured, theory] = [check.measured, check.theory].map(|value| figure(check, value));
    let (ratio, interval) = match check.interval {
        Some(interval) => {
            let (low, high) =
                (interval.ratio - interval.half_width, interval.ratio + interval.half_width);
            (format!("{:.4}", interval.ratio), format!("[{low:.4}, {high:.4}]"))
        }
        None if check.theory != 0.0 => {
            (format!("{:.4}", check.measured / check.theory), "-".to_owned())
        }
        None => ("-".to_owned(), "-".to_owned()),
    };
    let verdict = match check.verdict {
        Verdict::Undecided { messages } => {
            format!("undecided, {} would decide", counted(messages, "message"))
        }
        verdict => word(verdict).to_owned(),
    };
    let verdict = if check.decides { verdict } else { format!("({verdict})") };
    let band = format!("{:.2} %", check.band * 100.0);
    let (quantity, law) = (check.quantity.clone(), check.law.clone());
    [quantity, law, measured, theory, ratio, interval, band, verdict]
}

/// Sojourns and waits are times, what is counted is whole, and all else a number.
fn figure(check: &LawCheck, value: f64) -> String {
    match check.quantity.starts_with('W') {
        true => seconds(value),
        false if check.theory.fract() == 0.0 && value.fract() == 0.0 => format!("{value:.0}"),
        false if value.abs() >= 1_000.0 => format!("{value:.1}"),
        false => format!("{value:.5}"),
    }
}

fn write_path(out: &mut String, judgement: &Judgement) -> fmt::Result {
    let path = &judgement.own_path;
    write!(
        out,
        "own path       W is {} of a perfect queue's {}: ratio {:.5}, without absences {:.5}",
        seconds(path.sojourn_mean_s),
        seconds(path.perfect_mean_s),
        path.ratio,
        path.ratio_without_absences,
    )?;
    if let Some(ratio) = path.ratio_to_draws {
        write!(out, "; to what was drawn {ratio:.5}")?;
    }
    writeln!(out)?;
    write_quantiles(out, "hand-off busy", &judgement.hand_offs.busy)?;
    write_quantiles(out, "hand-off idle", &judgement.hand_offs.idle)?;
    write_quantiles(out, "arrival late", &judgement.lateness)?;
    let little = &judgement.little;
    match little.area == little.sojourns {
        true => writeln!(out, "Little         exact: no message is lost or doubled"),
        false => writeln!(
            out,
            "Little         broken: the area is {}, the sojourns are {}",
            little.area, little.sojourns
        ),
    }
}

fn write_quantiles(out: &mut String, what: &str, of: &Quantiles) -> fmt::Result {
    let [p50, p99, p999, max] = [of.p50_ns, of.p99_ns, of.p999_ns, of.max_ns].map(short);
    writeln!(
        out,
        "{what:<14} p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}, mean {}; {} of them",
        short(of.mean_ns as u64),
        HumanCount(of.count)
    )
}

fn write_points(out: &mut String, points: &[Point]) -> fmt::Result {
    let missed: Vec<&Point> = points.iter().filter(|point| !point.holds).collect();
    writeln!(
        out,
        "distributions  {} of {} hold the law",
        points.len() - missed.len(),
        counted(points.len() as u64, "point")
    )?;
    for point in missed {
        writeln!(
            out,
            "               {} at {}: {:.5} measured, give or take {:.5}; {:.5} is the law's",
            point.of, point.at, point.measured, point.half_width, point.theory
        )?;
    }
    Ok(())
}

fn write_inputs(out: &mut String, judgement: &Judgement) -> fmt::Result {
    for input in &judgement.inputs {
        writeln!(
            out,
            "input          {}: {} ({:.5}; 5 % point {:.5}, refused above {:.5})",
            input.claim,
            if input.holds { "not refused" } else { "refused" },
            input.statistic,
            input.critical,
            input.refused_above,
        )?;
    }
    Ok(())
}

fn write_stalls(out: &mut String, stalls: &StallAccount, bias: &StallBias) -> fmt::Result {
    let rows = [
        ("server", &stalls.server, bias.server),
        ("idle server", &stalls.idle, bias.idle),
        ("source", &stalls.source, bias.source),
    ];
    for (who, Stalls { count, total_s, max_s, .. }, bias) in rows {
        writeln!(
            out,
            "stalls         {who}: {} of {} together, the longest {}; they add {:.3} % to W",
            HumanCount(*count),
            seconds(*total_s),
            seconds(*max_s),
            bias * 100.0,
        )?;
    }
    Ok(())
}
