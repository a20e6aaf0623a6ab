//! A table's results, for people and for programs: text, JSON, and what the plot is drawn from.

use crate::floors::Floor;
use crate::machine::Machine;
use crate::peers::BASELINE;
use crate::statistics::{Better, Ratio, Spread};
use crate::table::{Effort, Measure, Row, Table};
use serde::Serialize;
use std::fmt::Write;

/// The circumstances of all tables of one run of the program.
#[derive(Serialize)]
pub struct Circumstances {
    /// Where.
    pub machine: Machine,
    /// Under every figure.
    pub floors: Vec<Floor>,
}

/// A table that was run.
#[derive(Serialize)]
pub struct Report<'a> {
    /// Its name.
    pub table: &'static str,
    /// What it asked.
    pub question: &'static str,
    /// The command's arguments.
    pub command: String,
    /// Whose figures the ratios are against.
    pub baseline: &'static str,
    /// Visits of each case.
    pub repetitions: u32,
    /// About how long a visit took, in milliseconds.
    pub span_ms: f64,
    /// Threads that ran, 1, 5 and 15 minutes on average, before and after.
    pub load_average: [String; 2],
    /// Circumstances of the run.
    #[serde(flatten)]
    pub circumstances: &'a Circumstances,
    /// The workloads, in the table's order.
    pub workloads: Vec<Workload>,
}

/// All peers at one workload, the best first.
#[derive(Serialize)]
pub struct Workload {
    /// What was done.
    pub name: String,
    /// The place on the sweep's axis.
    pub point: Option<String>,
    /// Who did it.
    pub entries: Vec<Entry>,
}

/// A peer at a workload.
#[derive(Serialize)]
pub struct Entry {
    /// Who.
    pub peer: &'static str,
    /// What a reader must know.
    pub note: &'static str,
    /// Operations a repetition.
    pub count: u64,
    /// One for each measure.
    pub figures: Vec<Figure>,
}

/// What a measure came to.
#[derive(Serialize)]
pub struct Figure {
    /// Which.
    pub measure: &'static str,
    /// Of the samples.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// One of each repetition.
    pub samples: Vec<f64>,
    /// Of the samples.
    pub spread: Option<Spread>,
    /// How many times better than the baseline.
    pub ratio: Option<Ratio>,
}

/// What a table was, once its cases are run.
pub struct Asked {
    name: &'static str,
    question: &'static str,
    repetitions: u32,
    span_ms: f64,
}

impl Asked {
    /// Of that table with that effort.
    pub fn of(table: &Table, effort: &Effort) -> Self {
        Self {
            name: table.name,
            question: table.question,
            repetitions: effort.repetitions.min(table.repetitions_max),
            span_ms: effort.span.as_secs_f64() * 1e3 * table.spans,
        }
    }
}

impl<'a> Report<'a> {
    /// Sums up.
    pub fn new(
        asked: Asked,
        measures: &[Measure],
        rows: Vec<Row>,
        command: String,
        load_average: [String; 2],
        circumstances: &'a Circumstances,
    ) -> Self {
        Self {
            table: asked.name,
            question: asked.question,
            command,
            baseline: BASELINE,
            repetitions: asked.repetitions,
            span_ms: asked.span_ms,
            load_average,
            circumstances,
            workloads: workloads(measures, rows),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("== {}: {}\n", self.table, self.question);
        let [before, after] = &self.load_average;
        let _ = writeln!(
            text,
            "{} repetitions of about {} ms a case, interleaved. Median (min .. max); x: times better than {}: ratio of \
             medians\n(min .. max of the repetitions' own ratios). Load average {before} before, {after} after.",
            self.repetitions, self.span_ms, self.baseline
        );
        for workload in &self.workloads {
            let point = workload.point.as_ref().map(|point| format!(": {point}"));
            let _ = writeln!(text, "\n-- {}{}", workload.name, point.unwrap_or_default());
            workload.entries.iter().for_each(|entry| entry.write(&mut text));
        }
        text
    }
}

impl Circumstances {
    /// For people.
    pub fn text(&self) -> String {
        let machine = &self.machine;
        let mut text = String::from("== machine\n");
        let kind = if machine.virtual_machine { ", virtual" } else { "" };
        let _ = writeln!(text, "{}{kind}; {} cores, not pinned", machine.processor, machine.cores);
        let _ = writeln!(
            text,
            "{} kB; Linux {}; clock {}; {}; commit {}; asymmetric barrier: {}",
            machine.memory_kb,
            machine.kernel,
            machine.clock_source,
            machine.rustc,
            machine.commit,
            machine.asymmetric_barrier
        );
        let peers: Vec<String> =
            machine.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let _ = writeln!(text, "{}\n\n== floors, ns: median (min .. max)", peers.join(", "));
        for floor in &self.floors {
            let figure = floor.nanoseconds.map_or("not here".into(), |spread| shown(&spread));
            let _ = writeln!(text, "{:<30}{figure}", floor.name);
        }
        text
    }
}

impl Entry {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{:<22}", self.peer);
        for (place, figure) in self.figures.iter().enumerate() {
            // One measure fits beside the name; several take a line each.
            if self.figures.len() > 1 {
                let _ = write!(text, "{:<7}", figure.measure);
            }
            let spread = figure.spread.as_ref().map_or("none".into(), shown);
            let _ = write!(text, "{spread:<34}{:<15} ", figure.unit);
            if let Some(ratio) = &figure.ratio {
                let (least, most) = (short(ratio.spread.min), short(ratio.spread.max));
                let _ = write!(text, "x{:<7}({least} .. {most})", short(ratio.of_medians));
            }
            if place == 0 && !self.note.is_empty() {
                let _ = write!(text, "  [{}]", self.note);
            }
            let more = place + 1 < self.figures.len();
            text.push_str(if more { "\n                      " } else { "\n" });
        }
    }
}

/// Groups the rows by workload and compares each with the baseline of its own.
fn workloads(measures: &[Measure], rows: Vec<Row>) -> Vec<Workload> {
    let mut grouped: Vec<(String, Vec<Row>)> = Vec::new();
    for row in rows {
        let title = row.case.title();
        match grouped.iter_mut().find(|(known, _)| *known == title) {
            Some((_, members)) => members.push(row),
            None => grouped.push((title, vec![row])),
        }
    }
    grouped.into_iter().map(|(_, rows)| workload(measures, rows)).collect()
}

fn workload(measures: &[Measure], rows: Vec<Row>) -> Workload {
    let baseline = rows.iter().find(|row| row.case.peer == BASELINE);
    let baseline = baseline.map(|row| row.figures.clone());
    let (name, point) = (rows[0].case.workload.clone(), rows[0].case.point.clone());
    let entry = |row: Row| {
        let figures =
            measures.iter().zip(row.figures).enumerate().map(|(place, (measure, samples))| {
                let base = baseline.as_ref().filter(|_| measure.compared).map(|base| &base[place]);
                let ratio = base.and_then(|base| Ratio::of(&samples, base, measure.better));
                let spread = Spread::of(samples.iter().copied());
                let Measure { name, unit, better, .. } = *measure;
                Figure { measure: name, unit, better, samples, spread, ratio }
            });
        let figures = figures.collect();
        Entry { peer: row.case.peer, note: row.case.note, count: row.count, figures }
    };
    let mut entries: Vec<Entry> = rows.into_iter().map(entry).collect();
    entries.sort_by(|one, other| one.rank().total_cmp(&other.rank()));
    Workload { name, point, entries }
}

impl Entry {
    /// Low for good, by the first measure; those without a figure last.
    fn rank(&self) -> f64 {
        let first = &self.figures[0];
        first.spread.map_or(f64::INFINITY, |spread| match first.better {
            Better::Higher => -spread.median,
            Better::Lower => spread.median,
        })
    }
}

fn shown(spread: &Spread) -> String {
    let Spread { median, min, max, .. } = spread;
    format!("{} ({} .. {})", short(*median), short(*min), short(*max))
}

/// Three significant digits, or all before the point.
pub fn short(figure: f64) -> String {
    let digits = match figure.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        _ => 3,
    };
    format!("{figure:.digits$}")
}
