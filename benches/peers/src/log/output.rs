//! What a run leaves: `report.md`, `data.csv`, a plot of each table, and what the command and the machine were.
//!
//! | file | what |
//! |---|---|
//! | `report.md` | the machine, its floors, and a table of medians and ranges for each question |
//! | `data.csv` | every sample of every round, one a line |
//! | `NAME.svg` | the table's first measure, and its third, by the plots of the ring's tables |
//! | `latency-curves.svg` | see `curves.rs` |
//! | `command.txt`, `machine.txt` | how it was run, where |

use crate::plan::{Row, Sample};
use peers::plot;
use peers::report::{Circumstances, Entry, Figure, Report, Workload, short};
use peers::statistics::Better;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// What of a table outlives its trials.
pub struct Asked {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// What a reader must know.
    pub remarks: &'static str,
    /// Are its points places on an axis?
    pub axis: bool,
    /// Visits of each trial.
    pub rounds: u32,
    /// Threads that ran, before and after.
    pub load_average: [String; 2],
}

/// Where results go.
pub struct Output {
    folder: Option<PathBuf>,
    circumstances: Circumstances,
    command: String,
    report: String,
    data: String,
}

/// Rows of one workload at one point in one state of the machine.
type Group<'a> = (String, Option<&'a str>, Vec<&'a Row>);

impl Output {
    /// With its head written.
    pub fn begin(
        folder: Option<PathBuf>,
        circumstances: Circumstances,
        command: String,
        head: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let machine = circumstances.text();
        let report = format!(
            "# The log and the persistent queue beside their peers\n\n{head}\n\n```\n{machine}```\n"
        );
        let data = "table,workload,point,machine,peer,round,measure,unit,value\n".to_owned();
        println!("{report}");
        let new = Self { folder, circumstances, command, report, data };
        if let Some(folder) = &new.folder {
            fs::create_dir_all(folder)?;
            let commit = &new.circumstances.machine.commit;
            fs::write(
                folder.join("command.txt"),
                format!("{}   # commit {commit}\n", new.command),
            )?;
            fs::write(folder.join("machine.txt"), format!("{head}\n\n{machine}"))?;
        }
        Ok(new)
    }

    /// A table that was run: printed, and kept.
    pub fn keep(&mut self, asked: &Asked, rows: &[Row]) -> Result<(), Box<dyn Error>> {
        let text = markdown(asked, rows);
        println!("{text}");
        self.report.push('\n');
        self.report.push_str(&text);
        rows.iter().for_each(|row| csv(&mut self.data, asked.name, row));
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::write(folder.join("report.md"), &self.report)?;
        fs::write(folder.join("data.csv"), &self.data)?;
        let plotted = Report {
            table: asked.name,
            question: asked.question,
            command: self.command.clone(),
            baseline: "",
            repetitions: asked.rounds,
            span_ms: f64::NAN,
            load_average: asked.load_average.clone(),
            circumstances: &self.circumstances,
            workloads: workloads(asked, rows),
        };
        plot::draw(&plotted, &folder.join(format!("{}.svg", asked.name)))
    }

    /// Where files go, if anywhere.
    pub fn folder(&self) -> Option<&PathBuf> {
        self.folder.as_ref()
    }
}

/// The rows by workload, state of the machine and point, in the table's order.
fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        let title = format!("{}, {}", row.trial.workload, row.trial.regime.name());
        let mut points: Vec<Option<&str>> = Vec::new();
        for point in row.measures().map(|sample| sample.point.as_deref()) {
            if !points.contains(&point) {
                points.push(point);
            }
        }
        for point in points {
            match groups.iter_mut().find(|(name, at, _)| *name == title && *at == point) {
                Some((_, _, members)) => members.push(row),
                None => groups.push((title.clone(), point, vec![row])),
            }
        }
    }
    for (_, point, members) in &mut groups {
        members.sort_by(|one, other| rank(one, *point).total_cmp(&rank(other, *point)));
    }
    groups
}

/// The measures of a row at a point.
fn measures<'a>(row: &'a Row, point: Option<&str>) -> Vec<&'a Sample> {
    row.measures().filter(|sample| sample.point.as_deref() == point).collect()
}

/// Low for good, by the first measure; what has no figure last.
fn rank(row: &Row, point: Option<&str>) -> f64 {
    let Some(first) = measures(row, point).into_iter().next() else { return f64::INFINITY };
    row.spread(first.measure, point).map_or(f64::INFINITY, |spread| match first.better {
        Better::Higher => -spread.median,
        Better::Lower => spread.median,
    })
}

fn markdown(asked: &Asked, rows: &[Row]) -> String {
    let Asked { name, question, remarks, rounds, load_average: [before, after], .. } = asked;
    let mut text = format!("## {name}: {question}\n\n{remarks}\n\n");
    let _ = writeln!(
        text,
        "Interleaved, rounds: {rounds}. Median (min .. max). Load average {before} before, {after} after.\n"
    );
    let Some((_, point, members)) = groups(rows).into_iter().next() else { return text };
    let widest = members.iter().map(|row| measures(row, point)).max_by_key(Vec::len);
    let heads = widest.unwrap_or_default();
    let _ = write!(text, "| workload | peer |");
    for sample in &heads {
        let _ = write!(text, " {}, {} |", sample.measure, sample.unit);
    }
    let _ = writeln!(text, " note |\n|{}", " --- |".repeat(heads.len() + 3));
    for (title, point, members) in groups(rows) {
        for row in members {
            let place = point.map(|point| format!(": {point}")).unwrap_or_default();
            let _ = write!(text, "| {title}{place} | {} |", row.trial.peer);
            for sample in &heads {
                let figure = row.spread(sample.measure, point).map_or("-".into(), |spread| {
                    let (median, min, max) =
                        (short(spread.median), short(spread.min), short(spread.max));
                    format!("{median} ({min} .. {max})")
                });
                let _ = write!(text, " {figure} |");
            }
            let _ = writeln!(text, " {} |", row.trial.note);
        }
    }
    text
}

fn csv(data: &mut String, table: &str, row: &Row) {
    for (round, samples) in (1..).zip(&row.rounds) {
        for sample in samples {
            let _ = writeln!(
                data,
                "{table},\"{}\",\"{}\",{},\"{}\",{round},\"{}\",\"{}\",{}",
                row.trial.workload,
                sample.point.as_deref().unwrap_or_default(),
                row.trial.regime.name(),
                row.trial.peer,
                sample.measure,
                sample.unit,
                sample.value
            );
        }
    }
}

/// As the plots of the ring's tables want them.
fn workloads(asked: &Asked, rows: &[Row]) -> Vec<Workload> {
    let of_group = |(title, point, members): Group<'_>| {
        let entry = |row: &Row| {
            let figure = |sample: &Sample| {
                let samples = row.samples(sample.measure, point);
                let spread = row.spread(sample.measure, point);
                let Sample { measure, unit, better, .. } = *sample;
                Figure { measure, unit, better, samples, spread, ratio: None }
            };
            Entry {
                peer: row.trial.peer,
                note: row.trial.note,
                count: 1,
                figures: measures(row, point).into_iter().map(figure).collect(),
            }
        };
        let entries = members.into_iter().map(entry).collect();
        match point {
            Some(point) if !asked.axis => {
                Workload { name: format!("{title}: {point}"), point: None, entries }
            }
            point => Workload { name: title, point: point.map(str::to_owned), entries },
        }
    };
    groups(rows).into_iter().map(of_group).collect()
}
