//! The suite: a ladder of experiments run into a folder, which can be continued.
//!
//! ```text
//!  folder/
//!    judgements.jsonl   the plan, then a record a run: appended and synced; all else is made from it
//!    report.md  data.csv  *.svg      made anew after each pass, each by rename
//!    machine.txt  command.txt        a paragraph, a line for each start
//! ```
//!
//! Passes: every experiment once, in the ladder's order; then the costs; then those again whose every repetition was
//! disturbed, up to [`REPETITIONS_MAX`] in all, from other seeds. A repetition waits for its pass, since what disturbed a run
//! often lasts longer than it. Every repetition is recorded and printed; none is picked.
//!
//! To continue is to read the records: what was judged is skipped (by experiment and repetition), what was interrupted is
//! run anew, and so is what failed. A last line that was torn is cut off, and a record says so. The plan is the folder's, not
//! the program's, so that a suite that was begun is ended as it was planned.
//!
//! A budget of time is kept by the expected lengths: what would not fit is left out, later and shorter ones are still tried,
//! and the report lists what was not run.
//!
//! # Limits
//!
//! One suite a folder: its `command.txt` is locked while it runs.

mod cost;
mod laboratory;
mod ladder;
mod scratch;
mod session;

pub use cost::{CostError, DEPTH_MAX, LOG_PAYLOAD_BYTES, PAYLOAD_BYTES, measure};
pub use ladder::{
    LOSS_MESSAGES, LadderOptions, PARKED_MESSAGES_MIN, PARKED_SERVICE_MEAN, SATURATION_MESSAGES,
    SERVICE_MEAN, ladder, messages_for, name,
};

use super::plot::PlotError;
use super::record::{
    CostPlan, CostRecord, FailedRecord, Ladder, Planned, RecordError, RunRecord, read_records,
    replace_file,
};
use super::report::pages;
use super::{
    Busy, EventError, Experiment, Footing, JudgeError, Judgement, Machine, ParametersError,
    Progress, RunError,
};
use laboratory::Laboratory;
use session::Session;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often an experiment is run at most: once, and three times more if the machine disturbed it.
pub const REPETITIONS_MAX: u32 = 4;
/// The records of a folder.
pub const RECORDS_FILE: &str = "judgements.jsonl";
const COMMAND_FILE: &str = "command.txt";
const MACHINE_FILE: &str = "machine.txt";
const EVENTS_FOLDER: &str = "events";

/// How a suite is run.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteOptions {
    /// What is run, in a folder that has no plan yet.
    pub ladder: Ladder,
    /// Go on where the folder's records end; else the folder must have none.
    pub resume: bool,
    /// How long this start may take; none: as long as it takes.
    pub budget: Option<Duration>,
    /// Keep every message's stamps in the folder? They are large.
    pub events: bool,
    /// Where the persistent kind's directories are made and removed; none: where the system has such.
    pub scratch: Option<PathBuf>,
    /// What was called, for `command.txt`.
    pub command: String,
    /// The commit that was built, if the caller knows it.
    pub commit: Option<String>,
}

impl SuiteOptions {
    /// This ladder, anew, without a budget or event files.
    #[must_use]
    pub fn new(ladder: Ladder) -> Self {
        Self {
            ladder,
            resume: false,
            budget: None,
            events: false,
            scratch: None,
            command: String::new(),
            commit: None,
        }
    }

    /// Goes on where the folder's records end.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets how long this start may take.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Keeps every message's stamps.
    #[must_use]
    pub fn events(mut self, keep: bool) -> Self {
        self.events = keep;
        self
    }

    /// Sets where directories are made and removed.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }

    /// Sets what was called.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// Sets the commit that was built.
    #[must_use]
    pub fn commit(mut self, commit: impl Into<String>) -> Self {
        self.commit = Some(commit.into());
        self
    }
}

/// What a suite does at the moment.
#[derive(Debug, Clone, Copy)]
pub struct SuiteProgress<'a> {
    /// What happens.
    pub step: Step<'a>,
    /// Since the start.
    pub elapsed: Duration,
    /// Until the end, by the expected lengths; repetitions that may become necessary are not in it.
    pub remaining: Duration,
}

/// A step of a suite.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A run is under way.
    Running {
        /// Which.
        name: &'a str,
        /// Which repetition, from 0.
        repetition: u32,
        /// How far it is.
        progress: Progress,
    },
    /// A run is over, and judged.
    Judged(&'a RunRecord),
    /// A run failed.
    Failed(&'a FailedRecord),
    /// It does not fit into the budget.
    Skipped(&'a Planned),
    /// A cost is measured.
    Cost(&'a CostPlan),
    /// The report is written.
    Reported,
}

/// What a start of a suite did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Repetitions that were judged now.
    pub judged: u32,
    /// Repetitions that failed now.
    pub failed: u32,
    /// Costs that were measured now.
    pub costs: u32,
    /// Experiments of which no repetition was judged, now or before.
    pub not_run: u32,
    /// Repetitions that were judged before.
    pub before: u32,
    /// Of all repetitions, now and before, so many are broken.
    pub broken: u32,
    /// Bytes of a torn last line that were cut off.
    pub torn_bytes: u64,
}

/// Why a suite ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// The folder has records, and was not to be continued.
    #[error("{} has records already: continue it, or take another folder", folder.display())]
    Exists {
        /// Which.
        folder: PathBuf,
    },
    /// Another suite runs in it.
    #[error("another suite runs in {}", folder.display())]
    Busy {
        /// Which.
        folder: PathBuf,
    },
    /// The folder has records and no plan.
    #[error("{} has records and no plan: it is not a suite's", folder.display())]
    NoPlan {
        /// Which.
        folder: PathBuf,
    },
    /// A file could not be made or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// Records could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A figure could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Why a repetition has no judgement.
#[derive(Debug, thiserror::Error)]
enum PerformError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Events(#[from] EventError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
}

/// What became of a repetition.
struct Performed {
    machine: Machine,
    busy: Busy,
    footings: Vec<Footing>,
    judgement: Judgement,
}

/// Runs and judges one repetition, of that name. The suite's only way to a clock that matters, so that its own logic is
/// tested without one.
trait Perform {
    fn perform(
        &mut self,
        name: &str,
        experiment: &Experiment,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Performed, PerformError>;
    fn cost(&mut self, plan: &CostPlan) -> Result<CostRecord, CostError>;
}

/// Runs what is left of a suite in `folder`, which is made if it is not there, and writes its report.
///
/// # Errors
///
/// [`SuiteError`]: the folder or its files cannot be used. A run that fails is no error: it is recorded.
pub fn run_in(
    folder: &Path,
    options: &SuiteOptions,
    progress: &mut dyn FnMut(&SuiteProgress<'_>),
) -> Result<Summary, SuiteError> {
    let mut laboratory = Laboratory { folder, options };
    run_with(folder, options, &mut laboratory, progress)
}

/// Writes the report of a folder anew, from its records alone.
///
/// # Errors
///
/// [`SuiteError`]: the records cannot be read, or a file cannot be written.
pub fn report_in(folder: &Path) -> Result<(), SuiteError> {
    let records = read_records(&folder.join(RECORDS_FILE))?;
    for page in pages(&records.all)? {
        replace_file(&folder.join(&page.name), page.content.as_bytes())?;
    }
    Ok(())
}

fn run_with(
    folder: &Path,
    options: &SuiteOptions,
    perform: &mut dyn Perform,
    progress: &mut dyn FnMut(&SuiteProgress<'_>),
) -> Result<Summary, SuiteError> {
    Session::open(folder, options, perform, progress)?.run()
}

#[cfg(test)]
mod tests;
