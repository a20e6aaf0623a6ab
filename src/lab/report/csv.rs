//! `data.csv`: every number of a report that has a law, a row each.
//!
//! | column | is |
//! |---|---|
//! | `row` | `check`, `point`, `input`, `value` or `cost`: what kind of row it is |
//! | `name`, `repetition` | which run; `cost`: what of, and which round |
//! | `kind`, `on`, `wait`, `servers`, `capacity`, `seed` | what was run; empty for a cost |
//! | `messages`, `load` | how many arrived; the realized rho |
//! | `of` | the quantity, the distribution, the claim, or the value's name |
//! | `law` | the law it stands beside; empty if none |
//! | `at` | `point`: n, or t in mean sojourns. `cost`: the depth in messages, or the size of the log in bytes |
//! | `measured`, `theory` | in `unit` |
//! | `unit` | `s`, `1/s`, `ns`, or `1` for what has none |
//! | `ratio`, `half_width`, `groups` | measured over theory and its 95 % interval; `point`: half the width of the simultaneous interval of the measured |
//! | `band` | relative |
//! | `decides` | does the run's verdict rest on it? |
//! | `verdict` | `holds`, `broken`, `undecided`, `disturbed`; `point`, `input`: `holds` or `broken` |
//! | `messages_needed` | of an undecided check: about so many would decide |
//!
//! Floats are written so that they read back as the same number. An empty field is something that there is not.

use super::number::unit;
use crate::lab::record::{CostRecord, Record, RunRecord};
use crate::lab::{Interval, Verdict};

/// The columns, in order: see the module's page.
pub const COLUMNS: [&str; 24] = [
    "row",
    "name",
    "repetition",
    "kind",
    "on",
    "wait",
    "servers",
    "capacity",
    "seed",
    "messages",
    "load",
    "of",
    "law",
    "at",
    "measured",
    "theory",
    "unit",
    "ratio",
    "half_width",
    "groups",
    "band",
    "decides",
    "verdict",
    "messages_needed",
];

/// Columns that say which run a row is of: from `name` to `load`.
const RUN_COLUMNS: usize = 10;

/// All rows of some records, with their header.
#[must_use]
pub fn csv(records: &[Record]) -> String {
    let mut text = COLUMNS.join(",") + "\n";
    for record in records {
        match record {
            Record::Run(run) => run_rows(&mut text, run),
            Record::Cost(cost) => cost_rows(&mut text, cost),
            Record::Plan(_) | Record::Failed(_) | Record::Torn { .. } => {}
        }
    }
    text
}

/// The columns after those of the run.
#[derive(Default)]
struct Measured<'a> {
    of: &'a str,
    law: &'a str,
    at: Option<f64>,
    measured: f64,
    theory: Option<f64>,
    unit: &'a str,
    interval: Option<Interval>,
    half_width: Option<f64>,
    band: Option<f64>,
    decides: Option<bool>,
    verdict: &'a str,
    messages_needed: Option<u64>,
}

impl Measured<'_> {
    fn fields(&self) -> [String; 13] {
        let half_width = self.interval.map(|interval| interval.half_width).or(self.half_width);
        [
            self.of.into(),
            self.law.into(),
            optional(self.at),
            number(self.measured),
            optional(self.theory),
            self.unit.into(),
            optional(self.interval.map(|interval| interval.ratio)),
            optional(half_width),
            self.interval.map_or(String::new(), |interval| interval.groups.to_string()),
            optional(self.band),
            self.decides.map_or(String::new(), |decides| decides.to_string()),
            self.verdict.into(),
            self.messages_needed.map_or(String::new(), |messages| messages.to_string()),
        ]
    }
}

fn run_rows(text: &mut String, run: &RunRecord) {
    let experiment = &run.experiment;
    let of_run: [String; RUN_COLUMNS] = [
        run.name.clone(),
        run.repetition.to_string(),
        experiment.kind.name().into(),
        experiment.on.name().into(),
        experiment.wait.name().into(),
        experiment.servers.to_string(),
        experiment.capacity.map_or(String::new(), |capacity| capacity.to_string()),
        experiment.seed.to_string(),
        run.judgement.messages.to_string(),
        number(run.judgement.realized.load),
    ];
    let judgement = &run.judgement;
    for check in &judgement.checks {
        let measured = Measured {
            of: &check.quantity,
            law: &check.law,
            measured: check.measured,
            theory: Some(check.theory),
            unit: unit(&check.quantity),
            interval: check.interval,
            band: Some(check.band),
            decides: Some(check.decides),
            verdict: verdict_word(&check.verdict),
            messages_needed: match check.verdict {
                Verdict::Undecided { messages } => Some(messages),
                Verdict::Holds | Verdict::Broken | Verdict::Disturbed => None,
            },
            ..Measured::default()
        };
        write(text, "check", &of_run, &measured);
    }
    for point in &judgement.points {
        let measured = Measured {
            of: &point.of,
            at: Some(point.at),
            measured: point.measured,
            theory: Some(point.theory),
            unit: "1",
            half_width: Some(point.half_width),
            verdict: holds(point.holds),
            ..Measured::default()
        };
        write(text, "point", &of_run, &measured);
    }
    for input in &judgement.inputs {
        let measured = Measured {
            of: &input.claim,
            law: "critical value at 5 %",
            measured: input.statistic,
            theory: Some(input.critical),
            unit: "1",
            verdict: holds(input.holds),
            ..Measured::default()
        };
        write(text, "input", &of_run, &measured);
    }
    for (of, measured, unit) in values(run) {
        let measured = Measured { of, measured, unit, ..Measured::default() };
        write(text, "value", &of_run, &measured);
    }
}

/// What has no law beside it.
fn values(run: &RunRecord) -> Vec<(&'static str, f64, &'static str)> {
    let judgement = &run.judgement;
    let (own, hand_offs) = (&judgement.own_path, &judgement.hand_offs);
    let mut values = vec![
        ("arrival rate", judgement.realized.arrival_per_s, "1/s"),
        ("service rate", judgement.realized.service_per_s, "1/s"),
        ("ca2", judgement.realized.ca2, "1"),
        ("cs2", judgement.realized.cs2, "1"),
        ("departure rate", judgement.realized.throughput_per_s, "1/s"),
        ("share refused", judgement.realized.refused, "1"),
        ("length of the run", judgement.realized.run_s, "s"),
        ("W of the own path", own.perfect_mean_s, "s"),
        ("W over own path", own.ratio, "1"),
        ("W over own path without absences", own.ratio_without_absences, "1"),
        ("busy hand-off mean", hand_offs.busy.mean_ns, "ns"),
        ("busy hand-off p99", hand_offs.busy.p99_ns as f64, "ns"),
        ("idle hand-off mean", hand_offs.idle.mean_ns, "ns"),
        ("idle hand-off p99", hand_offs.idle.p99_ns as f64, "ns"),
        ("lateness of the source mean", judgement.lateness.mean_ns, "ns"),
        ("lateness of the source max", judgement.lateness.max_ns as f64, "ns"),
    ];
    values.extend(own.ratio_to_draws.map(|ratio| ("W over drawn path", ratio, "1")));
    if let Some(bias) = &judgement.stall_bias {
        values.push(("share of W from stalls of the server", bias.server, "1"));
        values.push(("share of W from stalls of an idle server", bias.idle, "1"));
        values.push(("share of W from stalls of the source", bias.source, "1"));
    }
    if let Some(next) = &judgement.next_stage {
        values.push(("second stage: service rate", next.realized.service_per_s, "1/s"));
        values.push(("second stage: W of the own path", next.own_path.perfect_mean_s, "s"));
        values.push(("second stage: W over own path", next.own_path.ratio, "1"));
    }
    if let Some(stalls) = &judgement.stalls {
        values.push(("stalls of the server", stalls.server.total_s, "s"));
        values.push(("stalls of an idle server", stalls.idle.total_s, "s"));
        values.push(("stalls of the source", stalls.source.total_s, "s"));
    }
    values
}

fn cost_rows(text: &mut String, cost: &CostRecord) {
    for (round, nanoseconds) in cost.rounds_ns.iter().enumerate() {
        let mut of_run: [String; RUN_COLUMNS] = Default::default();
        of_run[0] = cost.plan.cost.name().into();
        of_run[1] = round.to_string();
        of_run[8] = cost.plan.messages.to_string();
        let measured = Measured {
            of: "cost of a message",
            at: Some(cost.plan.at as f64),
            measured: *nanoseconds,
            unit: "ns",
            ..Measured::default()
        };
        write(text, "cost", &of_run, &measured);
    }
}

fn write(text: &mut String, row: &str, of_run: &[String; RUN_COLUMNS], measured: &Measured) {
    text.push_str(row);
    for field in of_run.iter().chain(&measured.fields()) {
        text.push(',');
        text.push_str(&quoted(field));
    }
    text.push('\n');
}

/// The field as RFC 4180 has it.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { String::new() }
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), number)
}

fn holds(holds: bool) -> &'static str {
    if holds { "holds" } else { "broken" }
}

/// A verdict in a word.
pub fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Broken => "broken",
        Verdict::Undecided { .. } => "undecided",
        Verdict::Disturbed => "disturbed",
    }
}
