//! A start of a suite: which records there are, what is due, what fits, and what is told.

use super::{COMMAND_FILE, MACHINE_FILE, Perform, Performed, RECORDS_FILE, REPETITIONS_MAX};
use super::{Step, SuiteError, SuiteOptions, SuiteProgress, Summary, report_in};
use crate::lab::record::{
    CostPlan, FailedRecord, Ladder, Planned, Record, RunRecord, append_record, read_records,
    replace_file,
};
use crate::lab::report::describe;
use crate::lab::{Machine, Progress, Verdict};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A start of a suite.
pub struct Session<'a> {
    folder: &'a Path,
    options: &'a SuiteOptions,
    perform: &'a mut dyn Perform,
    progress: &'a mut dyn FnMut(&SuiteProgress<'_>),
    ladder: Ladder,
    /// Of this start and of those before.
    records: Vec<Record>,
    begun: Instant,
    summary: Summary,
    /// Its lock is this start's.
    _command: File,
}

impl<'a> Session<'a> {
    /// Takes the folder, and what is in it.
    pub fn open(
        folder: &'a Path,
        options: &'a SuiteOptions,
        perform: &'a mut dyn Perform,
        progress: &'a mut dyn FnMut(&SuiteProgress<'_>),
    ) -> Result<Self, SuiteError> {
        std::fs::create_dir_all(folder).map_err(|cause| file_error(folder, cause))?;
        let path = folder.join(RECORDS_FILE);
        if path.exists() && !options.resume {
            return Err(SuiteError::Exists { folder: folder.into() });
        }
        let command = begin(folder, options)?;
        let mut session = Self {
            folder,
            options,
            perform,
            progress,
            ladder: options.ladder.clone(),
            records: Vec::new(),
            begun: Instant::now(),
            summary: Summary::default(),
            _command: command,
        };
        if path.exists() {
            session.resume(&path)?;
        }
        if session.records.iter().all(|record| matches!(record, Record::Torn { .. })) {
            session.write(Record::Plan(options.ladder.clone()))?;
        }
        Ok(session)
    }

    /// Runs what is due: every experiment once, the costs, then the repetitions of what was disturbed.
    pub fn run(mut self) -> Result<Summary, SuiteError> {
        self.pass(0)?;
        self.costs()?;
        self.report()?;
        let repetitions = if self.ladder.quick { 1 } else { REPETITIONS_MAX };
        for repetition in 1..repetitions {
            if self.pass(repetition)? {
                self.report()?;
            }
        }
        Ok(self.summary())
    }

    /// Takes up the records of the starts before; cuts off a torn line, and says so.
    fn resume(&mut self, path: &Path) -> Result<(), SuiteError> {
        let read = read_records(path)?;
        self.records = read.all;
        if let Some(Record::Torn { bytes }) = self.records.last()
            && std::fs::metadata(path).is_ok_and(|file| file.len() > read.whole_bytes)
        {
            self.summary.torn_bytes = *bytes;
            let mut whole = std::fs::read(path).map_err(|cause| file_error(path, cause))?;
            whole.truncate(usize::try_from(read.whole_bytes).unwrap_or(usize::MAX));
            let torn = Record::Torn { bytes: *bytes }.line()? + "\n";
            whole.extend_from_slice(torn.as_bytes());
            replace_file(path, &whole)?;
        }
        let plan = self.records.iter().find_map(|record| match record {
            Record::Plan(ladder) => Some(ladder.clone()),
            _ => None,
        });
        let only_torn = self.records.iter().all(|record| matches!(record, Record::Torn { .. }));
        match plan {
            Some(ladder) => self.ladder = ladder,
            None if only_torn => {}
            None => return Err(SuiteError::NoPlan { folder: self.folder.into() }),
        }
        self.summary.before = self.runs().count() as u32;
        Ok(())
    }

    fn runs(&self) -> impl Iterator<Item = &RunRecord> {
        self.records.iter().filter_map(|record| match record {
            Record::Run(run) => Some(&**run),
            _ => None,
        })
    }

    fn write(&mut self, record: Record) -> Result<(), SuiteError> {
        append_record(&self.folder.join(RECORDS_FILE), &record)?;
        self.records.push(record);
        Ok(())
    }

    fn is_done(&self, planned: &Planned, repetition: u32) -> bool {
        let experiment = planned.repetition(repetition);
        self.runs().any(|run| run.repetition == repetition && run.experiment == experiment)
    }

    /// The first repetition always; another one if all before it were disturbed.
    fn is_due(&self, planned: &Planned, repetition: u32) -> bool {
        let mut before = self.runs().filter(|run| run.name == planned.name);
        let all_were = before.all(|run| run.judgement.verdict == Verdict::Disturbed);
        let enough = (0..repetition).all(|earlier| self.is_done(planned, earlier));
        !self.is_done(planned, repetition) && (repetition == 0 || enough && all_were)
    }

    fn costs_due(&self) -> Vec<CostPlan> {
        let is_done = |plan: &CostPlan| {
            self.records
                .iter()
                .any(|record| matches!(record, Record::Cost(cost) if cost.plan == *plan))
        };
        self.ladder.costs.iter().filter(|plan| !is_done(plan)).copied().collect()
    }

    /// Does something of that length fit, with this still to come?
    fn fits(&self, expected: Duration, reserved: Duration) -> bool {
        let Some(budget) = self.options.budget else { return true };
        self.begun.elapsed() + expected + reserved <= budget
    }

    /// Time until all that is due and fits is done.
    fn remaining(&self, repetition: u32, after: usize, current: Duration) -> Duration {
        let later = self.ladder.experiments.iter().skip(after);
        let later = later.filter(|planned| self.is_due(planned, repetition));
        let costs: Duration = self.costs_due().iter().map(|cost| cost.expected).sum();
        let all = later.map(|planned| planned.expected).sum::<Duration>() + costs + current;
        match self.options.budget {
            Some(budget) => all.min(budget.saturating_sub(self.begun.elapsed())),
            None => all,
        }
    }

    fn tell(&mut self, step: Step<'_>, remaining: Duration) {
        (self.progress)(&SuiteProgress { step, elapsed: self.begun.elapsed(), remaining });
    }

    /// Runs a repetition of whatever is due. Was there anything?
    fn pass(&mut self, repetition: u32) -> Result<bool, SuiteError> {
        let mut any = false;
        for (place, planned) in self.ladder.experiments.clone().iter().enumerate() {
            if !self.is_due(planned, repetition) {
                continue;
            }
            let costs: Duration = self.costs_due().iter().map(|cost| cost.expected).sum();
            if self.fits(planned.expected, costs) {
                self.repeat(planned, repetition, place)?;
                any = true;
            } else {
                let remaining = self.remaining(repetition, place + 1, Duration::ZERO);
                self.tell(Step::Skipped(planned), remaining);
            }
        }
        Ok(any)
    }

    fn repeat(
        &mut self,
        planned: &Planned,
        repetition: u32,
        place: usize,
    ) -> Result<(), SuiteError> {
        let experiment = planned.repetition(repetition);
        let name = &planned.name;
        let later = self.remaining(repetition, place + 1, Duration::ZERO);
        let (begun, budget, progress) = (self.begun, self.options.budget, &mut *self.progress);
        let mut tell = |run: Progress| {
            let step = Step::Running { name, repetition, progress: run };
            let elapsed = begun.elapsed();
            let left = budget.map_or(Duration::MAX, |budget| budget.saturating_sub(elapsed));
            let remaining = left.min(later + run.remaining);
            progress(&SuiteProgress { step, elapsed, remaining });
        };
        let run_begun = Instant::now();
        let file = format!("{name}-{}", repetition + 1);
        let performed = self.perform.perform(&file, &experiment, &mut tell);
        let failed = |because: String| {
            let (name, experiment) = (name.clone(), Some(experiment.clone()));
            Box::new(FailedRecord { name, repetition, experiment, because })
        };
        let record = match performed {
            Ok(Performed { machine, busy, footings, judgement }) => {
                let (name, experiment) = (name.clone(), experiment.clone());
                let took = run_begun.elapsed();
                Record::Run(Box::new(RunRecord {
                    name,
                    repetition,
                    experiment,
                    machine,
                    busy,
                    footings,
                    took,
                    judgement,
                }))
            }
            Err(error) => Record::Failed(failed(error.to_string())),
        };
        // A judgement that cannot be written down is a failed run, not the end of a long suite.
        let record = match record.line() {
            Ok(_) => record,
            Err(error) => Record::Failed(failed(error.to_string())),
        };
        match &record {
            Record::Run(run) => {
                self.summary.judged += 1;
                self.tell(Step::Judged(run), later);
            }
            Record::Failed(failed) => {
                self.summary.failed += 1;
                self.tell(Step::Failed(failed), later);
            }
            Record::Plan(_) | Record::Cost(_) | Record::Torn { .. } => {}
        }
        self.write(record)
    }

    fn costs(&mut self) -> Result<(), SuiteError> {
        for plan in self.costs_due() {
            if !self.fits(plan.expected, Duration::ZERO) {
                continue;
            }
            let remaining = self.costs_due().iter().map(|cost| cost.expected).sum();
            self.tell(Step::Cost(&plan), remaining);
            match self.perform.cost(&plan) {
                Ok(cost) => {
                    self.summary.costs += 1;
                    self.write(Record::Cost(Box::new(cost)))?;
                }
                Err(error) => {
                    self.summary.failed += 1;
                    self.write(Record::Failed(Box::new(FailedRecord {
                        name: format!("{} at {}", plan.cost.name(), plan.at),
                        repetition: 0,
                        experiment: None,
                        because: error.to_string(),
                    })))?;
                }
            }
        }
        Ok(())
    }

    fn report(&mut self) -> Result<(), SuiteError> {
        report_in(self.folder)?;
        self.tell(Step::Reported, Duration::ZERO);
        Ok(())
    }

    fn summary(&self) -> Summary {
        let not_run = |planned: &&Planned| self.runs().all(|run| run.name != planned.name);
        let broken = self.runs().filter(|run| run.judgement.verdict == Verdict::Broken).count();
        Summary {
            not_run: self.ladder.experiments.iter().filter(not_run).count() as u32,
            broken: broken as u32,
            ..self.summary
        }
    }
}

fn file_error(path: &Path, cause: io::Error) -> SuiteError {
    SuiteError::File { path: path.into(), cause }
}

/// Takes the folder for this start: what was called, and on what.
fn begin(folder: &Path, options: &SuiteOptions) -> Result<File, SuiteError> {
    let path = folder.join(COMMAND_FILE);
    let failed = |cause| file_error(&path, cause);
    let mut command = File::options().create(true).append(true).open(&path).map_err(failed)?;
    match command.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SuiteError::Busy { folder: folder.into() }),
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    let commit = options.commit.as_deref().unwrap_or("not known");
    let line = format!("{}   # commit {commit}\n", options.command);
    command.write_all(line.as_bytes()).map_err(failed)?;
    let path = folder.join(MACHINE_FILE);
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text + "\n",
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(cause) => return Err(file_error(&path, cause)),
    };
    let machine = machine(options);
    text.push_str(&describe(&machine));
    if let Some([minute, five, fifteen]) = machine.load_average {
        text.push_str(&format!("load       {minute:.2} {five:.2} {fifteen:.2} at the start\n"));
    }
    replace_file(&path, text.as_bytes())?;
    Ok(command)
}

/// This machine, with the commit that was built.
pub fn machine(options: &SuiteOptions) -> Machine {
    let machine = Machine::now();
    match &options.commit {
        Some(commit) => machine.commit(commit),
        None => machine,
    }
}
