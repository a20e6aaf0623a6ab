//! `demo`: what it tells adds up, whoever ends it, and nothing is left behind.

use super::{Place, Ran, Running, finished, ran};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// `millstream demo ...`, whose temporary directory lies in the place.
fn demo(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.bare("demo", arguments);
    command.env("TMPDIR", place.path(""));
    command
}

/// Nothing is left of its directory.
#[track_caller]
fn gone(place: &Place) {
    let left = fs::read_dir(place.path("")).unwrap().count();
    assert_eq!(left, 0, "files were left in the temporary directory");
}

#[track_caller]
fn adds_up(ran: Ran) -> Value {
    let object = ran.ends(0).objects().remove(0);
    assert_eq!(object["counts_hold"], true, "{object}");
    let checks = object["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["expected"] == check["found"]), "{object}");
    let count = |own: &Value, key: &str| own[key].as_u64().unwrap();
    for own in object["subscriptions"].as_array().unwrap() {
        assert_eq!(count(own, "published"), count(own, "handled") + count(own, "dead_letters"));
        assert_eq!(count(own, "attempts"), count(own, "published") + count(own, "retries"));
        assert_eq!(count(own, "left"), 0);
    }
    object
}

#[test]
fn a_second_of_demo_adds_up_and_leaves_nothing() {
    let place = Place::new();
    let ran = ran(demo(&place, &["--seconds", "1", "--json"]));
    assert!(ran.err.is_empty(), "{}", ran.err);
    let object = adds_up(ran);
    assert_eq!(object["stopped"], false);
    assert_eq!((&object["workers"], &object["seed"]), (&4.into(), &1.into()));
    let names = ["orders", "payments"];
    for (own, name) in object["subscriptions"].as_array().unwrap().iter().zip(names) {
        assert_eq!(own["name"], name);
        assert!(own["published"].as_u64().unwrap() > 0);
    }
    for key in ["waiting_mean_ns", "waiting_p99_ns", "sojourn_mean_ns", "sojourn_p99_ns"] {
        assert!(object["pool"][key].as_f64().unwrap() > 0.0, "{object}");
    }
    // As much work may arrive as a busy machine's workers can do: then there is no law.
    let theory = &object["theory"];
    assert!(theory.is_null() || theory["law"] == "M/M/4", "{theory}");
    assert!(theory.is_null() == (object["pool"]["load"].as_f64().unwrap() >= 1.0), "{object}");
    gone(&place);
}

/// Promise: what is drawn is the seed's: the same messages fail. Method: hopeless messages are the same number twice.
#[test]
fn a_seed_draws_the_same_failures() {
    let place = Place::new();
    let args = ["--seconds", "1", "--rate", "300", "--json", "--seed", "42"];
    let [one, other] = [0, 1].map(|_| adds_up(ran(demo(&place, &args))));
    for which in 0..2 {
        for key in ["published", "retries", "dead_letters"] {
            assert_eq!(one["subscriptions"][which][key], other["subscriptions"][which][key]);
        }
    }
}

#[test]
fn the_summary_is_text_for_people() {
    let place = Place::new();
    let ran = ran(demo(&place, &["--seconds", "0.3", "--workers", "2", "--rate", "200/s"])).ends(0);
    for word in ["orders", "payments", "dead letters", "the counts add up"] {
        assert!(ran.text().contains(word), "{word}: {}", ran.text());
    }
    assert!(!ran.text().contains('\u{1b}'), "no colours, no cursor movements");
    gone(&place);
}

/// Promise: Ctrl-C ends the arrivals, what has arrived is handled, and the account is as complete as ever.
///
/// Method: the demo would take an hour. Its directory says that it has begun.
#[test]
fn ctrl_c_ends_a_demo_with_its_summary() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        let running = Running::start(demo(&place, &["--seconds", "3600", "--json"]));
        while !begun(&place) {
            std::thread::yield_now();
        }
        running.signal(signal);
        let object = adds_up(running.finish());
        assert_eq!(object["stopped"], true);
        gone(&place);
    }
}

/// Is there a queue? It listens to signals before it makes one.
fn begun(place: &Place) -> bool {
    let mut entries = fs::read_dir(place.path("")).unwrap();
    entries.any(|entry| entry.unwrap().path().join("queue").exists())
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_nothing_is_left() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = demo(&place, &["--seconds", "0.1"]);
    command.stdout(writer);
    ran(command).ends(0);
    gone(&place);
}

#[test]
fn what_cannot_be_shown_is_named_and_nothing_is_made() {
    let place = Place::new();
    let cases: [(&[&str], &str); 8] = [
        (&["--rate", "100k/s"], "at most 2641/s, or more --workers"),
        (&["--rate", "fast"], "a rate is a number"),
        (&["--rate", "5/day"], "`/day`"),
        (&["--rate", "0.0001"], "more than an hour"),
        (&["--rate", "2k", "--seconds", "1e6"], "the most is 1e7"),
        (&["--seconds", "0"], "above 0"),
        (&["--seconds", "soon"], "not a number"),
        (&["--workers", "0"], "1..=256"),
    ];
    for (arguments, words) in cases {
        let ran = ran(demo(&place, arguments)).ends(2);
        assert!(ran.err.contains(words), "{words:?} in {}", ran.err);
        assert!(ran.out.is_empty());
        gone(&place);
    }
}

#[test]
fn a_place_without_room_for_a_queue_is_named() {
    let place = Place::new();
    let mut command = place.bare("demo", &["--seconds", "0.1"]);
    command.env("TMPDIR", place.path("missing"));
    let ran = finished(command.spawn().unwrap()).ends(4);
    assert!(ran.err.contains("temporary directory"), "{}", ran.err);
}
