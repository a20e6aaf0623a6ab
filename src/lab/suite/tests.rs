//! The suite's own logic, over a laboratory that says what it is told to: order, repetitions, budget, and being continued.

use super::ladder::messages_for;
use super::*;
use crate::lab::record::Record;
use crate::lab::{Kind, On, Verdict, sample};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

/// A laboratory that says what it is told to, and takes no time.
#[derive(Default)]
struct Told {
    /// Verdicts by name, one a repetition; holds where there is none.
    verdicts: BTreeMap<String, Vec<Verdict>>,
    /// Runs with this in their name fail.
    fails: Option<String>,
    /// Runs and costs that were asked for.
    asked: Vec<String>,
    /// End with a panic before this many-th, as a kill would.
    killed_at: Option<usize>,
    /// A value that no line can say.
    infinite: bool,
}

impl Perform for Told {
    fn perform(
        &mut self,
        name: &str,
        experiment: &Experiment,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Performed, PerformError> {
        assert!(self.killed_at != Some(self.asked.len()), "killed");
        self.asked.push(name.into());
        let remaining = experiment.expected_duration();
        let messages = experiment.messages;
        progress(Progress { offered: 0, messages, elapsed: Duration::ZERO, remaining });
        if self.fails.as_ref().is_some_and(|part| name.contains(part)) {
            return Err(JudgeError::NoTime.into());
        }
        let (plain, repetition) = name.rsplit_once('-').unwrap();
        let repetition: usize = repetition.parse().unwrap();
        let told = self.verdicts.get(plain).and_then(|all| all.get(repetition - 1));
        let verdict = told.copied().unwrap_or(Verdict::Holds);
        let mut judgement = sample::judgement(experiment, 1.002, verdict);
        if self.infinite {
            judgement.own_path.ratio = f64::INFINITY;
        }
        let (machine, busy) = (sample::machine(), Busy::default());
        Ok(Performed { machine, busy, footings: Vec::new(), judgement })
    }

    fn cost(&mut self, plan: &CostPlan) -> Result<CostRecord, CostError> {
        self.asked.push(format!("{} at {}", plan.cost.name(), plan.at));
        Ok(CostRecord { plan: *plan, rounds_ns: vec![1.0, 2.0, 3.0], machine: sample::machine() })
    }
}

fn three() -> Ladder {
    let planned = |load: f64| {
        let experiment = Experiment::new(Kind::Mm1).on(On::Ring).load(load).seed(1000);
        let experiment = experiment.messages(messages_for(load, 0.01));
        let expected = experiment.expected_duration();
        Planned { name: name(&experiment), experiment, expected }
    };
    let experiments = [0.5, 0.9, 0.1].map(planned).to_vec();
    let costs = ladder(&LadderOptions::default().quick()).costs[..1].to_vec();
    Ladder { quick: false, experiments, costs }
}

fn start(folder: &Path, options: &SuiteOptions, told: &mut Told) -> Result<Summary, SuiteError> {
    run_with(folder, options, told, &mut |_| {})
}

fn names(folder: &Path) -> Vec<String> {
    let records = read_records(&folder.join(RECORDS_FILE)).unwrap().all;
    let name = |record: &Record| match record {
        Record::Plan(_) => "plan".into(),
        Record::Run(run) => format!("{} {}", run.name, run.repetition),
        Record::Failed(failed) => format!("failed {}", failed.name),
        Record::Cost(cost) => cost.plan.cost.name().into(),
        Record::Torn { bytes } => format!("torn {bytes}"),
    };
    records.iter().map(name).collect()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

/// Promise: every experiment is run once and then the costs are measured; what was disturbed is repeated from other seeds
/// until it was not, at most four times in all; every repetition is recorded.
#[test]
fn what_was_disturbed_is_repeated_and_every_repetition_is_recorded() {
    let dir = TempDir::new().unwrap();
    let mut told = Told::default();
    let undecided = Verdict::Undecided { messages: 5 };
    told.verdicts.insert("mm1-ring-spin-0.90".into(), vec![Verdict::Disturbed, undecided]);
    told.verdicts.insert("mm1-ring-spin-0.10".into(), vec![Verdict::Disturbed; 9]);
    let summary = start(dir.path(), &SuiteOptions::new(three()), &mut told).unwrap();
    let expected = [
        "plan",
        "mm1-ring-spin-0.50 0",
        "mm1-ring-spin-0.90 0",
        "mm1-ring-spin-0.10 0",
        "ring-depth",
        "mm1-ring-spin-0.90 1",
        "mm1-ring-spin-0.10 1",
        "mm1-ring-spin-0.10 2",
        "mm1-ring-spin-0.10 3",
    ];
    assert_eq!(names(dir.path()), expected);
    assert_eq!((summary.judged, summary.costs, summary.not_run), (7, 1, 0));
    let records = read_records(&dir.path().join(RECORDS_FILE)).unwrap().all;
    let seeds = records.iter().filter_map(|record| match record {
        Record::Run(run) => Some((run.name.clone(), run.experiment.seed)),
        _ => None,
    });
    let seeds: Vec<_> = seeds.collect();
    let distinct: std::collections::HashSet<_> = seeds.iter().collect();
    assert_eq!(distinct.len(), seeds.len(), "a repetition draws anew");
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("| mm1-ring-spin-0.10 | 4 |"), "{report}");
}

/// Promise: a suite that is killed at any point and continued ends with the same records as one that was not.
///
/// Method: it is killed before each run in turn; what the kill leaves is what was appended, and then, for each byte of the
/// last line, that line cut there.
#[test]
fn a_suite_killed_anywhere_and_continued_has_the_same_runs() {
    let whole = TempDir::new().unwrap();
    start(whole.path(), &SuiteOptions::new(three()), &mut Told::default()).unwrap();
    let expected = names(whole.path());
    for killed_at in 0..3 {
        let dir = TempDir::new().unwrap();
        let mut told = Told { killed_at: Some(killed_at), ..Told::default() };
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            start(dir.path(), &SuiteOptions::new(three()), &mut told)
        }));
        assert!(killed.is_err());
        assert_eq!(names(dir.path()), expected[..=killed_at]);
        // The plan is the folder's: another ladder changes nothing.
        let other = Ladder { quick: true, experiments: Vec::new(), costs: Vec::new() };
        let options = SuiteOptions::new(other).resume(true);
        let summary = start(dir.path(), &options, &mut Told::default()).unwrap();
        assert_eq!(names(dir.path()), expected);
        assert_eq!((summary.before, summary.judged), (killed_at as u32, 3 - killed_at as u32));
        assert_eq!(summary.torn_bytes, 0);
    }
}

#[test]
fn a_torn_last_line_is_cut_off_and_said_and_its_run_is_run_anew() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(RECORDS_FILE);
    start(dir.path(), &SuiteOptions::new(three()), &mut Told::default()).unwrap();
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let begins = [0, ends[0] + 1, ends[1] + 1];
    for (begin, end, lines) in
        [(begins[0], ends[0], 0), (begins[1], ends[1], 1), (begins[2], ends[2], 2)]
    {
        for cut in [begin + 1, (begin + end) / 2, end] {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut told = Told::default();
            let options = SuiteOptions::new(three()).resume(true);
            let summary = start(dir.path(), &options, &mut told).unwrap();
            assert_eq!(summary.torn_bytes, (cut - begin) as u64);
            assert_eq!(told.asked.len(), 4 - lines.max(1) + 1, "what was torn, and what follows");
            let torn = format!("torn {}", cut - begin);
            let names = names(dir.path());
            assert_eq!(names.iter().filter(|name| **name == torn).count(), 1, "{names:?}");
            assert_eq!(names.len(), 6, "{names:?}");
            let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
            assert!(report.contains(&format!("a line of {} bytes", cut - begin)));
            // And once more there is nothing to do, and the torn line is still told.
            let mut again = Told::default();
            let summary = start(dir.path(), &options, &mut again).unwrap();
            assert_eq!((summary.torn_bytes, again.asked.len()), (0, 0));
            let kept = fs::read_to_string(dir.path().join("report.md")).unwrap();
            assert_eq!(kept, report);
        }
    }
}

#[test]
fn a_budget_leaves_out_what_does_not_fit_and_the_report_lists_it() {
    let dir = TempDir::new().unwrap();
    let ladder = three();
    // 0.9 takes minutes; 0.5 and 0.1 take seconds.
    let budget = Duration::from_secs(60);
    assert!(ladder.experiments[1].expected > budget && ladder.experiments[0].expected < budget / 2);
    let mut skipped = Vec::new();
    let options = SuiteOptions::new(ladder).budget(budget);
    let mut told = Told::default();
    let summary = run_with(dir.path(), &options, &mut told, &mut |progress| {
        assert!(progress.remaining <= budget, "time left is inside the budget");
        if let Step::Skipped(planned) = progress.step {
            skipped.push(planned.name.clone());
        }
    });
    assert_eq!(summary.unwrap().not_run, 1);
    assert_eq!(skipped, ["mm1-ring-spin-0.90"]);
    assert_eq!(told.asked, ["mm1-ring-spin-0.50-1", "mm1-ring-spin-0.10-1", "ring-depth at 1"]);
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("- **not run**: mm1-ring-spin-0.90 (would take "), "{report}");
}

#[test]
fn the_report_is_made_from_the_records_alone_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    start(dir.path(), &SuiteOptions::new(three()), &mut Told::default()).unwrap();
    let written = contents(dir.path());
    assert!(written.keys().any(|name| name.ends_with(".svg")), "{:?}", written.keys());
    let copy = TempDir::new().unwrap();
    fs::copy(dir.path().join(RECORDS_FILE), copy.path().join(RECORDS_FILE)).unwrap();
    report_in(copy.path()).unwrap();
    let mut expected = written.clone();
    expected.retain(|name, _| name != "command.txt" && name != "machine.txt");
    assert_eq!(contents(copy.path()), expected);
}

#[test]
fn what_fails_is_recorded_and_tried_anew() {
    let dir = TempDir::new().unwrap();
    let mut told = Told { fails: Some("0.90".into()), ..Told::default() };
    let summary = start(dir.path(), &SuiteOptions::new(three()), &mut told).unwrap();
    assert_eq!((summary.judged, summary.failed, summary.not_run), (2, 1, 1));
    let report = fs::read_to_string(dir.path().join("report.md")).unwrap();
    assert!(report.contains("- **failed**: mm1-ring-spin-0.90, repetition 1: invalid"), "{report}");
    let mut told = Told { infinite: true, ..Told::default() };
    let options = SuiteOptions::new(three()).resume(true);
    let summary = start(dir.path(), &options, &mut told).unwrap();
    assert_eq!((summary.judged, summary.failed), (0, 1), "what reads back as null is a failure");
    let summary = start(dir.path(), &options, &mut Told::default()).unwrap();
    assert_eq!((summary.judged, summary.failed, summary.not_run), (1, 0, 0));
    assert_eq!(names(dir.path()).iter().filter(|name| name.starts_with("failed")).count(), 2);
}

#[test]
fn a_folder_is_taken_by_one_suite_and_never_begun_twice() {
    let dir = TempDir::new().unwrap();
    let options = SuiteOptions::new(three());
    let mut second = None;
    run_with(dir.path(), &options, &mut Told::default(), &mut |_| {
        let resumed = options.clone().resume(true);
        second.get_or_insert_with(|| start(dir.path(), &resumed, &mut Told::default()));
    })
    .unwrap();
    assert!(matches!(second, Some(Err(SuiteError::Busy { .. }))), "{second:?}");
    let again = start(dir.path(), &options, &mut Told::default());
    assert!(matches!(again, Err(SuiteError::Exists { .. })), "{again:?}");
    let foreign = TempDir::new().unwrap();
    let cost = sample::cost(crate::lab::record::Cost::RingDepth, 1).line().unwrap() + "\n";
    fs::write(foreign.path().join(RECORDS_FILE), cost).unwrap();
    let error = start(foreign.path(), &options.clone().resume(true), &mut Told::default());
    assert!(matches!(error, Err(SuiteError::NoPlan { .. })), "{error:?}");
}

#[test]
fn time_left_shrinks_to_nothing() {
    let dir = TempDir::new().unwrap();
    let mut last = Duration::MAX;
    let options = SuiteOptions::new(three());
    run_with(dir.path(), &options, &mut Told::default(), &mut |progress| {
        assert!(progress.remaining <= last, "{:?} after {last:?}", progress.remaining);
        last = progress.remaining;
    })
    .unwrap();
    assert_eq!(last, Duration::ZERO);
}
