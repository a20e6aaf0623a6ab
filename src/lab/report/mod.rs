//! The report of a suite: `report.md`, `data.csv` and the figures, a pure function of its records.
//!
//! ```text
//!  summary        how many runs, how many of which verdict, what was not run
//!  what misses    everything that does not hold, was not decided, was disturbed, failed, or was not run: by name
//!  every run      a row a repetition: none is picked
//!  every check    measured, theory, ratio with its interval, band, verdict
//!  own path       what the engine adds to a perfect queue, hand-offs; no chance in it
//!  the machine    stalls by who saw them, load, what the threads were granted
//!  inputs         were arrivals and services what was asked for?
//!  figures        each with three sentences
//!  costs          every round
//! ```
//!
//! The same records give the same bytes.

mod csv;
mod figures;
mod number;
mod tables;

pub use csv::{COLUMNS, csv};
pub use figures::{Illustration, figures};

use super::plot::{PlotError, svg};
use super::record::{CostRecord, FailedRecord, Ladder, Planned, Record, RunRecord};
use super::{Machine, Verdict};
use std::fmt::Write;
use std::time::Duration;

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name in the folder.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// All files of a report: `report.md`, `data.csv`, and the figures.
///
/// # Errors
///
/// [`PlotError`]: a figure could not be drawn.
pub fn pages(records: &[Record]) -> Result<Vec<Page>, PlotError> {
    let page = |name: &str, content| Page { name: name.into(), content };
    let mut pages = vec![page("report.md", markdown(records)), page("data.csv", csv(records))];
    let seen = Seen::of(records);
    for illustration in figures(&seen.runs, &seen.costs) {
        pages.push(page(&illustration.file, svg(&illustration.figure)?));
    }
    Ok(pages)
}

/// Records by what they are.
#[derive(Default)]
struct Seen<'a> {
    ladder: Option<&'a Ladder>,
    runs: Vec<&'a RunRecord>,
    failed: Vec<&'a FailedRecord>,
    costs: Vec<&'a CostRecord>,
    torn: Vec<u64>,
}

impl<'a> Seen<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut seen = Self::default();
        for record in records {
            match record {
                Record::Plan(ladder) => seen.ladder = Some(ladder),
                Record::Run(run) => seen.runs.push(run),
                Record::Failed(failed) => seen.failed.push(failed),
                Record::Cost(cost) => seen.costs.push(cost),
                Record::Torn { bytes } => seen.torn.push(*bytes),
            }
        }
        seen
    }

    /// Of an experiment no repetition was judged.
    fn not_run(&self) -> Vec<&'a Planned> {
        let planned = self.ladder.iter().flat_map(|ladder| &ladder.experiments);
        planned.filter(|planned| self.runs.iter().all(|run| run.name != planned.name)).collect()
    }
}

/// The report in Markdown.
#[must_use]
pub fn markdown(records: &[Record]) -> String {
    let seen = Seen::of(records);
    let mut text = String::from("# Theory: the engine held against M/M/1 and its relatives\n\n");
    summary(&mut text, &seen);
    misses(&mut text, &seen);
    machine(&mut text, &seen);
    tables::runs(&mut text, &seen.runs);
    tables::checks(&mut text, &seen.runs);
    tables::pooled(&mut text, &seen.runs);
    tables::own_path(&mut text, &seen.runs);
    tables::hand_offs(&mut text, &seen.runs);
    tables::stalls(&mut text, &seen.runs);
    tables::inputs(&mut text, &seen.runs);
    illustrations(&mut text, &seen);
    tables::costs(&mut text, &seen.costs);
    text.push_str(FILES);
    text
}

const FILES: &str = "## Files\n\n\
    `judgements.jsonl` holds everything that this report is made from, a JSON line a run. `data.csv` has a row a check, point \
    of a distribution, test of what was drawn, value and cost; its columns: `row` (which of these), `name`, `repetition`, \
    `kind`, `on`, `wait`, `servers`, `capacity`, `seed` (what was run), `messages`, `load` (realized rho), `of` (the quantity), \
    `law`, `at` (n; t in mean sojourns; depth in messages or log size in bytes), `measured`, `theory`, `unit`, `ratio` and \
    `half_width` (of its 95 % interval; of a point: of the simultaneous interval of the measured), `groups`, `band`, `decides`, \
    `verdict`, `messages_needed`. An empty field is something that there is not.\n";

/// Writing into a string cannot fail.
macro_rules! say {
    ($text:expr, $($words:tt)*) => {{
        writeln!($text, $($words)*).expect("a string takes everything");
    }};
}
use say;

fn summary(text: &mut String, seen: &Seen) {
    if seen.ladder.is_some_and(|ladder| ladder.quick) {
        text.push_str(
            "**Quick**: runs so short that no law is decided by them. What they prove are identities, order, causality, counts \
             and the logic of verdicts.\n\n",
        );
    }
    let of = |wanted: fn(&Verdict) -> bool| {
        seen.runs.iter().filter(|run| wanted(&run.judgement.verdict)).count()
    };
    let took: Duration = seen.runs.iter().map(|run| run.took).sum();
    say!(
        text,
        "{} runs of {} experiments in {}: {} hold, {} undecided, {} disturbed, {} broken; {} failed, {} experiments were not \
         run. Every repetition is here, none was picked.\n",
        seen.runs.len(),
        seen.ladder.map_or(0, |ladder| ladder.experiments.len()),
        clock(took),
        of(|verdict| matches!(verdict, Verdict::Holds)),
        of(|verdict| matches!(verdict, Verdict::Undecided { .. })),
        of(|verdict| matches!(verdict, Verdict::Disturbed)),
        of(|verdict| matches!(verdict, Verdict::Broken)),
        seen.failed.len(),
        seen.not_run().len(),
    );
    let exact = seen.runs.iter().filter(|run| little_holds(run)).count();
    say!(
        text,
        "Little's law in integers (no message lost, none counted twice): exact in {exact} of {} runs.\n",
        seen.runs.len()
    );
    text.push_str(
        "Two comparisons are never mixed. *Own path*: the engine beside what a perfect queue would have made of the very same \
         arrivals and services; no chance is in it, all that is above 1 is the engine and the machine. *Law*: measured beside \
         theory at the rates that the run really had; chance is in it, hence the 95 % intervals. *Holds*: the whole interval is \
         in the band; *broken*: the whole interval is outside of it; *undecided*: neither, with the messages that would decide; \
         *disturbed*: the machine took more than a quarter of the band, so nothing can be said of the law.\n\n",
    );
}

fn little_holds(run: &RunRecord) -> bool {
    run.judgement.little.area == run.judgement.little.sojourns
}

/// The name of a repetition.
fn title(run: &RunRecord) -> String {
    format!("{} | {}", cell(&run.name), run.repetition + 1)
}

fn misses(text: &mut String, seen: &Seen) {
    say!(text, "## What misses\n");
    let mut lines: Vec<String> = Vec::new();
    for bytes in &seen.torn {
        lines.push(format!(
            "a line of {bytes} bytes in `judgements.jsonl` was not whole and is left out: the suite was interrupted there"
        ));
    }
    for planned in seen.not_run() {
        let expected = clock(planned.expected);
        lines.push(format!("**not run**: {} (would take {expected})", cell(&planned.name)));
    }
    for failed in &seen.failed {
        let (name, repetition) = (cell(&failed.name), failed.repetition + 1);
        lines.push(format!(
            "**failed**: {name}, repetition {repetition}: {}",
            cell(&failed.because)
        ));
    }
    for run in &seen.runs {
        misses_of(&mut lines, run);
    }
    if seen.ladder.is_some() {
        lines.push("**not run**: priorities: the engine has no lanes to serve by".into());
    }
    if lines.is_empty() {
        lines.push("nothing".into());
    }
    for line in lines {
        say!(text, "- {line}");
    }
    text.push('\n');
}

/// What a repetition leaves to be wished for.
fn misses_of(lines: &mut Vec<String>, run: &RunRecord) {
    let name = format!("{}, repetition {}", cell(&run.name), run.repetition + 1);
    if run.judgement.source_late {
        lines.push(format!(
                "**source**: {name}: it was late by more than a quarter of the band: W from the intended arrivals is off W from \
                 the arrivals"
            ));
    }
    if !little_holds(run) {
        let little = run.judgement.little;
        lines.push(format!("**Little's law**: {name}: {} is not {}", little.area, little.sojourns));
    }
    for check in &run.judgement.checks {
        if check.decides && check.verdict != Verdict::Holds {
            let verdict = tables::verdict(&check.verdict);
            lines.push(format!(
                "{verdict}: {name}: {} beside {}, ratio {}",
                cell(&check.quantity),
                cell(&check.law),
                tables::ratio(check)
            ));
        }
    }
    let missing = run.judgement.points.iter().filter(|point| !point.holds);
    let missing: Vec<String> =
        missing.map(|point| format!("{} at {}", point.of, number::digits(point.at))).collect();
    if !missing.is_empty() {
        let points = run.judgement.points.len();
        let (few, more) = missing.split_at(missing.len().min(8));
        let rest =
            if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        lines.push(format!(
            "**distribution**: {name}: {} of {points} points: {}{rest}",
            missing.len(),
            cell(&few.join(", "))
        ));
    }
    for input in run.judgement.inputs.iter().filter(|input| !input.holds) {
        let (statistic, critical) =
            (number::digits(input.statistic), number::digits(input.refused_above));
        lines.push(format!(
            "**input**: {name}: \"{}\" is refused: {statistic} above {critical}",
            cell(&input.claim)
        ));
    }
}

fn machine(text: &mut String, seen: &Seen) {
    say!(text, "## The machine\n");
    let runs = seen.runs.iter().map(|run| &run.machine);
    let mut machines: Vec<String> = Vec::new();
    for machine in runs.chain(seen.costs.iter().map(|cost| &cost.machine)) {
        let described = describe(machine);
        if !machines.contains(&described) {
            machines.push(described);
        }
    }
    if machines.is_empty() {
        machines.push("no run, no machine\n".into());
    }
    for described in machines {
        say!(text, "```\n{described}```\n");
    }
}

/// What a machine is, without what changes from run to run.
#[must_use]
pub fn describe(machine: &Machine) -> String {
    let known = |value: Option<String>| value.unwrap_or_else(|| "not known".into());
    let yes = |value: Option<bool>| known(value.map(|yes| if yes { "yes" } else { "no" }.into()));
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let lines = [
        ("system", machine.system.clone()),
        ("processor", known(machine.model.clone())),
        ("cores", known(machine.cores.map(|cores| cores.to_string()))),
        ("virtual", yes(machine.is_virtual)),
        ("memory", known(machine.memory_bytes.map(gib))),
        ("kernel", known(machine.kernel.clone())),
        ("clock", known(machine.clock_source.clone())),
        ("governor", known(machine.governor.clone())),
        ("autogroup", yes(machine.autogroup)),
        ("commit", known(machine.commit.clone())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        say!(text, "{name:<10} {value}");
    }
    text
}

fn illustrations(text: &mut String, seen: &Seen) {
    say!(text, "## Figures\n");
    let figures = figures(&seen.runs, &seen.costs);
    if figures.is_empty() {
        say!(text, "There are no data to draw.\n");
    }
    let mut said: Vec<&[String; 3]> = Vec::new();
    for Illustration { file, figure, sentences } in &figures {
        say!(text, "### {}\n\n![{0}]({file})\n", figure.title);
        if said.contains(&sentences) {
            continue;
        }
        say!(text, "{}\n", sentences.join(" "));
        said.push(sentences);
    }
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Minutes and seconds, or hours and minutes.
#[must_use]
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3570.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample;

    /// A section of a report.
    fn section<'a>(report: &'a str, heading: &str) -> &'a str {
        let from = report.find(&format!("## {heading}\n")).expect("the section is there");
        let rest = &report[from + 3..];
        &rest[..rest.find("\n## ").unwrap_or(rest.len())]
    }

    #[test]
    fn every_repetition_is_in_every_table() {
        let records = sample::records();
        let report = markdown(&records);
        let seen = Seen::of(&records);
        let tables = [
            "Every run",
            "Every check",
            "The engine beside its own path",
            "Hand-offs, and how late the source was",
            "What the machine took",
            "Was it what was asked for?",
        ];
        for heading in tables {
            let section = section(&report, heading);
            for run in &seen.runs {
                let row = format!("| {} |", title(run));
                assert!(section.contains(&row), "{heading}: {row}");
            }
            // Each row has as many cells as its header.
            let bars = |line: &str| line.replace("\\|", "").matches('|').count();
            let mut lines = section.lines().filter(|line| line.starts_with('|'));
            let header = bars(lines.next().expect("a table"));
            assert!(lines.all(|line| bars(line) == header), "{heading}");
        }
    }

    #[test]
    fn what_misses_is_named_and_nothing_else() {
        let records = sample::records();
        let report = markdown(&records);
        let misses = section(&report, "What misses");
        for part in [
            "- a line of 17 bytes in `judgements.jsonl` was not whole",
            "- **not run**: mm1-memory-spin-0.95 (would take ",
            "- **failed**: mm1k-ring-spin-1.00-k5, repetition 1: no memory for the stamps of 7",
            "- disturbed: mm1-memory-spin-0.80, repetition 1: W from intended beside M/M/1, ratio 1.0030 +- 0.0080",
            "- undecided (about 7 000 000 messages): mm1-memory-spin-0.80, repetition 2: W",
            "- **broken**: mm1-ring-spin-0.50, repetition 1: W from intended beside M/M/1",
            "- **distribution**: mm1-memory-spin-0.50, repetition 1: 1 of 30 points: W at 4.605",
        ] {
            assert!(misses.contains(part), "{part} in {misses}");
        }
        assert!(!misses.contains("**input**") && !misses.contains("Little"), "{misses}");
        assert!(!misses.contains("mm1-channel-spin-0.50, repetition 1: W from"), "{misses}");
        let none = markdown(&[]);
        assert!(section(&none, "What misses").contains("- nothing\n"), "{none}");
        assert!(none.contains("There are no data to draw."));
    }

    #[test]
    fn a_lost_message_and_a_refused_input_are_told() {
        let mut records = sample::records();
        let Some(Record::Run(run)) = records.get_mut(1) else { panic!("a run") };
        run.judgement.little.sojourns += 1;
        run.judgement.inputs[0].holds = false;
        run.judgement.source_late = true;
        let report = markdown(&records);
        let misses = section(&report, "What misses");
        assert!(misses.contains("**Little's law**: mm1-memory-spin-0.50, repetition 1: 11805916"));
        assert!(misses.contains("\"gaps are exponential\" is refused: 0.001200 above 0.004000"));
        assert!(misses.contains("**source**: mm1-memory-spin-0.50, repetition 1"));
    }

    #[test]
    fn every_figure_is_drawn_once_with_three_sentences_and_is_named_in_the_report() {
        let records = sample::records();
        let pages = pages(&records).unwrap();
        let report = &pages[0].content;
        let seen = Seen::of(&records);
        let figures = figures(&seen.runs, &seen.costs);
        assert_eq!(pages.len(), figures.len() + 2);
        for Illustration { file, sentences, .. } in &figures {
            assert_eq!(report.matches(&format!("]({file})")).count(), 1, "{file}");
            assert!(pages.iter().any(|page| page.name == *file && page.content.contains("<svg")));
            assert_eq!(report.matches(&sentences.join(" ")).count(), 1);
            for sentence in sentences {
                assert!(sentence.ends_with('.') && !sentence.contains(". "), "{sentence}");
            }
        }
        for file in ["waiting.svg", "hand-offs.svg", "throughput.svg", "cost.svg"] {
            assert!(figures.iter().any(|figure| figure.file == file), "{file}");
        }
    }

    #[test]
    fn data_have_a_row_a_check_and_a_point_and_as_many_fields_as_columns() {
        let records = sample::records();
        let data = csv(&records);
        let seen = Seen::of(&records);
        let checks: usize = seen.runs.iter().map(|run| run.judgement.checks.len()).sum();
        let points: usize = seen.runs.iter().map(|run| run.judgement.points.len()).sum();
        let rows = |kind: &str| data.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!((rows("check,"), rows("point,"), rows("cost,")), (checks, points, 36));
        for line in data.lines() {
            assert_eq!(line.split(',').count(), COLUMNS.len(), "{line}");
        }
        for column in COLUMNS {
            assert!(FILES.contains(&format!("`{column}`")), "{column} is documented");
        }
        assert!(data.contains("\ncheck,mm1-memory-spin-0.50,0,mm1,memory,spin,1,,"), "{data}");
    }
}
