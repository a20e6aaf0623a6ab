//! `lab suite`: a folder that can be continued, whatever ended it. No verdict on this machine is asserted.

use super::{Place, Ran, Running, exists, ran};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Its runs are short, and so is its time.
const QUICK: [&str; 5] = ["suite", "--quick", "--minutes", "0.05", "--json"];

fn suite(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.bare("lab", arguments);
    fs::create_dir_all(place.path("tmp")).unwrap();
    command.env("TMPDIR", place.path("tmp"));
    command
}

/// The objects of its runs, and its summary.
#[track_caller]
fn told(ran: &Ran) -> (Vec<Value>, Value) {
    assert!([Some(0), Some(1)].contains(&ran.code), "{}", ran.err);
    let mut objects = ran.objects();
    let summary = objects.pop().expect("it ends with a summary")["summary"].clone();
    assert!(summary["stopped"].is_boolean(), "{summary}");
    (objects, summary)
}

#[track_caller]
fn nothing_left(place: &Place) {
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0, "scratch files were left");
}

#[test]
fn a_suite_fills_its_folder_and_goes_on_where_it_ended() {
    let place = Place::new();
    let first = ran(suite(&place, &[&QUICK[..], &["--out", "F"]].concat()));
    let (runs, summary) = told(&first);
    assert_eq!(summary["judged"], runs.len() as u64);
    assert_eq!((&summary["judged_before"], &summary["folder"]), (&0.into(), &"F".into()));
    for run in &runs {
        let word = run["verdict"].as_str().unwrap();
        assert!(["holds", "broken", "undecided", "disturbed"].contains(&word), "{run}");
        let judgement = &run["run"]["judgement"];
        assert_eq!(judgement["little"]["area"], judgement["little"]["sojourns"]);
        assert_eq!(judgement["verdict"]["verdict"], word);
    }
    for file in ["report.md", "data.csv", "judgements.jsonl", "machine.txt", "command.txt"] {
        assert!(exists(&place.path("F").join(file)), "{file}");
    }
    let (more, summary) =
        told(&ran(suite(&place, &["suite", "--resume", "F", "--minutes", "0.05", "--json"])));
    assert_eq!(summary["judged_before"], runs.len() as u64);
    assert_eq!(summary["judged"], more.len() as u64);
    nothing_left(&place);
}

/// Promise: Ctrl-C loses no run that was judged, reports those, leaves no scratch files, and the suite can go on.
#[test]
fn ctrl_c_ends_a_suite_with_a_report_of_what_was_judged() {
    let place = Place::new();
    let mut running = Running::start(suite(&place, &["suite", "--quick", "--json", "--out", "F"]));
    running.line();
    running.signal("-INT");
    let ran_so_far = running.finish().ends(0);
    assert!(ran_so_far.err.contains("--resume F"), "{}", ran_so_far.err);
    let (_, summary) = told(&ran_so_far);
    assert_eq!(summary["stopped"], true);
    assert!(exists(&place.path("F").join("report.md")));
    nothing_left(&place);
    let (_, summary) =
        told(&ran(suite(&place, &["suite", "--resume", "F", "--minutes", "0.01", "--json"])));
    assert!(summary["judged_before"].as_u64().unwrap() >= 1, "{summary}");
}

#[test]
fn a_folder_that_will_not_do_is_named() {
    let place = Place::new();
    fs::create_dir_all(place.path("empty")).unwrap();
    fs::write(place.path("file"), "").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["suite", "--resume", "missing"], 2, "cannot read missing/judgements.jsonl"),
        (&["suite", "--resume", "empty"], 2, "cannot read empty/judgements.jsonl"),
        (&["suite", "--quick", "--resume", "F"], 2, "cannot be used with"),
        (&["suite", "--out", "F", "--resume", "F"], 2, "cannot be used with"),
        (&["suite", "--minutes", "0"], 2, "above 0"),
        (&["suite", "--minutes", "soon"], 2, "not a number"),
        (&["suite", "--quick", "--out", "file"], 4, "file"),
        (&["suite", "--quick", "--out", "/proc/suite"], 4, "/proc/suite"),
    ];
    for (arguments, code, words) in cases {
        let ran = ran(suite(&place, arguments)).ends(code);
        assert!(ran.err.contains(words), "{words:?} in {}", ran.err);
    }
    told(&ran(suite(&place, &[&QUICK[..], &["--out", "F"]].concat())));
    let again = ran(suite(&place, &[&QUICK[..], &["--out", "F"]].concat())).ends(2);
    assert!(again.err.contains("F has records already"), "{}", again.err);
    nothing_left(&place);
}
