//! The suite over real runs, tiny ones: nothing of a time is asserted, only which runs there are, what was counted, and that
//! the report is made from the records alone.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::lab::record::{Ladder, Planned, Record, RunRecord, read_records};
use millstream::lab::suite::{
    LadderOptions, RECORDS_FILE, SuiteOptions, ladder, report_in, run_in,
};
use millstream::lab::{Experiment, Kind, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The quick ladder's plainest rungs and its shortest costs. Servers sleep, and most of the time there is nothing to serve:
/// so a machine that is busy with other things has no part in whether a run can be judged.
fn tiny() -> Ladder {
    let quick = ladder(&LadderOptions::default().quick());
    let one_of_each = [Kind::Mm1, Kind::Mm1k, Kind::Mmc, Kind::Tandem];
    let mut seen = BTreeSet::new();
    let wanted = |planned: &Planned| {
        let experiment = &planned.experiment;
        one_of_each.contains(&experiment.kind)
            && seen.insert((experiment.kind.name(), experiment.on.name()))
    };
    let mut experiments: Vec<Planned> = quick.experiments.into_iter().filter(wanted).collect();
    for planned in &mut experiments {
        let Planned { experiment, expected, .. } = planned;
        let calm = Experiment { pin: false, ..experiment.clone() }.wait(Wait::Sleep).load(0.1);
        let short = calm.service_mean(Duration::from_millis(2)).messages(60);
        *expected = short.expected_duration();
        *experiment = short;
    }
    let mut costs = quick.costs;
    costs.retain(|cost| cost.at <= 1000);
    costs.iter_mut().for_each(|cost| cost.messages = 500);
    Ladder { quick: true, experiments, costs }
}

fn runs(folder: &Path) -> Vec<RunRecord> {
    let records = read_records(&folder.join(RECORDS_FILE)).unwrap().all;
    records
        .into_iter()
        .filter_map(|record| match record {
            Record::Run(run) => Some(*run),
            Record::Failed(failed) => panic!("{}: {}", failed.name, failed.because),
            _ => None,
        })
        .collect()
}

/// The failed runs of a folder, in their own words.
fn failures(folder: &Path) -> String {
    let records = read_records(&folder.join(RECORDS_FILE)).unwrap().all;
    let failed = records.iter().filter_map(|record| match record {
        Record::Failed(failed) => Some(format!("{}: {}\n", failed.name, failed.because)),
        _ => None,
    });
    failed.collect()
}

fn names(folder: &Path) -> BTreeSet<(String, u32, u64)> {
    let runs = runs(folder).into_iter();
    runs.map(|run| (run.name, run.repetition, run.experiment.seed)).collect()
}

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_page = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "report.md" || name == "data.csv" || name.ends_with(".svg")
    };
    let pages = files.filter(is_page);
    pages
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Promise: a suite that ran out of its budget and is continued, its last record torn in between, has the same runs as one
/// that was not interrupted; and its report can be made anew from its records, byte for byte.
#[test]
fn an_interrupted_suite_is_continued_to_the_same_runs_and_its_report_is_its_records() {
    let [whole, parts, copy] = [(); 3].map(|()| TempDir::new().unwrap());
    let scratch = TempDir::new().unwrap();
    let options = || SuiteOptions::new(tiny()).scratch(scratch.path()).command("test");
    let planned = tiny().experiments.len();
    let mut told = 0;
    let summary = run_in(whole.path(), &options(), &mut |_| told += 1).unwrap();
    assert_eq!((summary.failed, summary.not_run), (0, 0), "{}", failures(whole.path()));
    assert_eq!(summary.judged as usize, planned);
    assert!(told >= planned, "progress is told");

    // Nothing fits into no time; everything is listed as not run.
    let none = run_in(parts.path(), &options().budget(Duration::ZERO), &mut |_| {}).unwrap();
    assert_eq!((none.judged, none.not_run as usize), (0, planned));
    let report = pages(parts.path())["report.md"].clone();
    assert_eq!(report.matches(" (would take ").count(), planned, "{report}");

    // All of it, then a kill in the middle of the last line, then the rest.
    run_in(parts.path(), &options().resume(true), &mut |_| {}).unwrap();
    let records = parts.path().join(RECORDS_FILE);
    let text = fs::read(&records).unwrap();
    fs::write(&records, &text[..text.len() - 20]).unwrap();
    let resumed = run_in(parts.path(), &options().resume(true), &mut |_| {}).unwrap();
    assert!(resumed.torn_bytes > 0 && resumed.judged + resumed.costs == 1, "{resumed:?}");
    assert_eq!(names(parts.path()), names(whole.path()));

    for folder in [whole.path(), parts.path()] {
        fs::copy(folder.join(RECORDS_FILE), copy.path().join(RECORDS_FILE)).unwrap();
        report_in(copy.path()).unwrap();
        let written = pages(folder);
        assert_eq!(pages(copy.path()), written);
        assert!(written.contains_key("waiting.svg") && written.contains_key("cost.svg"));
        pages(copy.path()).keys().for_each(|name| {
            fs::remove_file(copy.path().join(name)).unwrap();
        });
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "no directory is left");
    // What noise cannot break: counts and Little's identity.
    for run in runs(whole.path()) {
        assert_eq!(run.judgement.messages, run.experiment.messages, "{}", run.name);
        assert_eq!(run.judgement.little.area, run.judgement.little.sojourns, "{}", run.name);
    }
}

#[test]
fn event_files_stay_out_unless_they_are_asked_for() {
    let mut ladder = tiny();
    ladder.experiments.truncate(1);
    ladder.costs.clear();
    for keep in [false, true] {
        let folder = TempDir::new().unwrap();
        let options = SuiteOptions::new(ladder.clone()).events(keep);
        run_in(folder.path(), &options, &mut |_| {}).unwrap();
        let events = folder.path().join("events");
        assert_eq!(events.is_dir(), keep);
        if keep {
            assert_eq!(fs::read_dir(events).unwrap().count(), 2, "stamps and parameters");
        }
    }
}
