//! `millstream lab suite`: the whole ladder of experiments into a folder, which can be continued.

use super::show::word;
use crate::control::{Control, Reason, until_stopped};
use crate::failure::{Failure, Outcome};
use crate::output::{self, OutputError, counted, seconds};
use crate::progress::Live;
use crate::quantity;
use clap::ValueHint;
use millstream::lab::LawCheck;
use millstream::lab::record::RunRecord;
use millstream::lab::suite::{
    LadderOptions, RECORDS_FILE, Step, SuiteOptions, SuiteProgress, Summary, ladder, report_in,
    run_in,
};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Where a folder is made if none is named.
const RESULTS: &str = "results";

const EXAMPLE: &str = "\
Examples:
  millstream lab suite --quick --out quick
  millstream lab suite --minutes 480
  millstream lab suite --resume results/2026-11-25-theory";

const FOLDER: &str = "\
The folder gets report.md with its figures (*.svg), data.csv, judgements.jsonl (a record a run, from which all else is made),
machine.txt and command.txt. Nothing else should run on the machine. Exit code 1: a law was found broken, or a run failed;
what was undecided or disturbed is in the report.";

/// Run the whole ladder of experiments into a folder
///
/// Every law at every load, on each kind of queue; what the machine disturbed is repeated, up to three times, and every repetition is
/// recorded and printed. A run's line, or object with --json, appears when it is judged. Ctrl-C ends it with a report of what was
/// judged; --resume goes on from there.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{FOLDER}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// Short runs that decide nothing: does everything work?
    #[arg(long, conflicts_with = "resume")]
    quick: bool,
    /// Go on where this folder's records end, by the plan that it has
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    resume: Option<PathBuf>,
    /// The folder, which must have no records yet [default: results/DATE-theory, with a number if need be]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Leave out what would not fit into this time
    #[arg(long, value_name = "N", value_parser = quantity::positive)]
    minutes: Option<f64>,
    /// Keep every message's stamps too; they are large
    #[arg(long)]
    events: bool,
    /// What is drawn from
    #[arg(long, value_name = "S", default_value_t = 1, conflicts_with = "resume")]
    seed: u64,
    /// The commit that was built, for the report
    #[arg(long, value_name = "ID")]
    commit: Option<String>,
}

/// A judged run.
#[derive(Serialize)]
struct RunObject<'a> {
    verdict: &'static str,
    run: &'a RunRecord,
}

/// What this start did.
#[derive(Serialize)]
struct SummaryObject<'a> {
    summary: SummaryCounts<'a>,
}

#[derive(Serialize)]
struct SummaryCounts<'a> {
    folder: &'a str,
    stopped: bool,
    judged: u32,
    judged_before: u32,
    failed: u32,
    not_run: u32,
    broken: u32,
}

/// Runs the suite.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let (control, events) = Control::start()?;
    let folder = match (&args.resume, &args.out) {
        (Some(folder), _) => begun(folder)?,
        (None, Some(folder)) => folder.clone(),
        (None, None) => free_folder(&today())?,
    };
    // The engine's directories: not the suite's to remove if a signal ends it.
    let scratch = TempDir::with_prefix("millstream-lab-").map_err(Failure::TempDir)?;
    let options = args.options(scratch.path());
    let (listener, place) = (control.clone(), folder.clone());
    let work = move || {
        let live = Live::endless();
        run_in(&place, &options, &mut |at| {
            if let Err(error) = hear(at, &live, json) {
                listener.stop(Reason::Output(error));
            }
        })
    };
    let done = until_stopped("suite", &control, &events, work)?;
    let told = match done {
        Some(summary) => tell(&folder, &summary?, json),
        None => interrupted(&folder, &control, json),
    };
    scratch.close().map_err(Failure::TempDir)?;
    told
}

impl Args {
    fn options(&self, scratch: &Path) -> SuiteOptions {
        let made = LadderOptions { seed: self.seed, quick: self.quick, ..LadderOptions::default() };
        let command: Vec<String> = std::env::args().collect();
        let options = SuiteOptions::new(ladder(&made))
            .resume(self.resume.is_some())
            .events(self.events)
            .scratch(scratch)
            .command(command.join(" "));
        let options = match &self.commit {
            Some(commit) => options.commit(commit),
            None => options,
        };
        let budget =
            self.minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
        match budget {
            Some(budget) => options.budget(budget),
            None => options,
        }
    }
}

/// The folder, in which a suite has begun. A wrong name would begin another one, of hours.
fn begun(folder: &Path) -> Result<PathBuf, Failure> {
    let records = folder.join(RECORDS_FILE);
    match fs::metadata(&records) {
        Ok(_) => Ok(folder.to_owned()),
        Err(source) => Err(Failure::Input { name: records.display().to_string(), source }),
    }
}

/// Today in UTC.
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// The first folder of the day that is not there; it is made, so that nobody else takes it.
fn free_folder(date: &str) -> Result<PathBuf, Failure> {
    let refused = |file: &Path, source| Failure::Write { file: file.to_owned(), source };
    fs::create_dir_all(RESULTS).map_err(|source| refused(Path::new(RESULTS), source))?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let folder = Path::new(RESULTS).join(format!("{date}-theory{suffix}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(refused(&folder, source)),
        }
    }
}

/// Shows how it goes, and prints what is over.
fn hear(at: &SuiteProgress<'_>, live: &Live, json: bool) -> Result<(), OutputError> {
    let left = Duration::from_secs(at.remaining.as_secs());
    let left = humantime::format_duration(left);
    match at.step {
        Step::Running { name, repetition, progress } => {
            let share = 100 * progress.offered / progress.messages.max(1);
            live.show(|| format!("{name}{}: {share} %; {left} left of all", numbered(repetition)));
            Ok(())
        }
        Step::Cost(plan) => {
            live.show(|| format!("cost of {plan:?}; {left} left of all"));
            Ok(())
        }
        Step::Judged(record) if json => live.aside(|| {
            let verdict = word(record.judgement.verdict);
            output::write_object(&RunObject { verdict, run: record })
        }),
        Step::Judged(record) => live.aside(|| output::write(line(record).as_bytes())),
        Step::Failed(record) => live.aside(|| {
            crate::tell(format_args!("{} failed: {}", record.name, record.because));
            Ok(())
        }),
        Step::Skipped(planned) => live.aside(|| {
            let expected = seconds(planned.expected.as_secs_f64());
            crate::tell(format_args!("{} left out: it would take {expected}", planned.name));
            Ok(())
        }),
        Step::Reported => Ok(()),
    }
}

/// The first repetition has no number.
fn numbered(repetition: u32) -> String {
    if repetition == 0 { String::new() } else { format!(" (repetition {repetition})") }
}

/// `mm1-memory-0.5   holds   W from intended 1.0023 [0.9951, 1.0095]`
fn line(record: &RunRecord) -> String {
    let judgement = &record.judgement;
    let decide = judgement.checks.iter().filter(|check| check.decides && check.interval.is_some());
    let of = |check: &LawCheck| {
        check.interval.map(|interval| {
            let (low, high) =
                (interval.ratio - interval.half_width, interval.ratio + interval.half_width);
            format!("{} {:.4} [{low:.4}, {high:.4}]", check.quantity, interval.ratio)
        })
    };
    let shown = decide
        .filter_map(of)
        .next()
        .unwrap_or_else(|| judgement.because.split(';').next().unwrap_or_default().to_owned());
    let name = format!("{}{}", record.name, numbered(record.repetition));
    format!(
        "{name:<40} {:<10} own path {:.4}; {shown}\n",
        word(judgement.verdict),
        judgement.own_path.ratio
    )
}

fn tell(folder: &Path, summary: &Summary, json: bool) -> Result<Outcome, Failure> {
    let shown = folder.display().to_string();
    if json {
        output::write_object(&SummaryObject {
            summary: SummaryCounts {
                folder: &shown,
                stopped: false,
                judged: summary.judged,
                judged_before: summary.before,
                failed: summary.failed,
                not_run: summary.not_run,
                broken: summary.broken,
            },
        })?;
    } else {
        crate::tell(format_args!(
            "judged {} now and {} before; {} failed, {} not run, {} broken; the report is {}",
            counted(summary.judged.into(), "run"),
            summary.before,
            summary.failed,
            summary.not_run,
            summary.broken,
            folder.join("report.md").display(),
        ));
    }
    let finding = summary.broken > 0 || summary.failed > 0;
    Ok(if finding { Outcome::Finding } else { Outcome::Good })
}

/// A signal, or nobody reads on: what was judged is reported.
fn interrupted(folder: &Path, control: &Control, json: bool) -> Result<Outcome, Failure> {
    if let Some(Reason::Output(error)) = control.reason()
        && !error.is_closed_pipe()
    {
        return Err(error.clone().into());
    }
    // Before the first record there is nothing to report.
    let reported = report_in(folder).is_ok();
    let shown = folder.display();
    match reported {
        true => crate::tell(format_args!(
            "stopped; what was judged is in {shown}, and --resume {shown} goes on"
        )),
        false => crate::tell(format_args!("stopped before anything was judged in {shown}")),
    }
    if json && matches!(control.reason(), Some(Reason::Signal)) {
        let folder = shown.to_string();
        let stopped = serde_json::json!({ "summary": { "folder": folder, "stopped": true } });
        output::write_object(&stopped)?;
    }
    Ok(Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date() {
        let today = today();
        let fields: Vec<usize> = today.split('-').map(str::len).collect();
        assert_eq!(fields, [4, 2, 2], "{today}");
    }
}
