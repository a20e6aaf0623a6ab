//! `plan`: its answers are those of a calculation by hand, and what cannot be is named.

use super::{Place, Ran, ran};
use serde_json::Value;

fn plan(place: &Place, arguments: &[&str]) -> Ran {
    ran(place.bare("plan", arguments))
}

fn planned(place: &Place, arguments: &[&str]) -> Value {
    plan(place, &[arguments, &["--json"]].concat()).ends(0).objects().remove(0)
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected, "{found} is not {expected}");
}

/// By hand: 5/s of 10 ms are rho 0.05, so W = 1 / 95 s, its p-quantile -ln(1 - p) / 95 s, Wq = rho / 95 s. A full buffer of
/// K refuses 0.95 * 0.05^K / (1 - 0.05^(K+1)): 5.9e-6 at 4, 3.0e-7 at 5.
#[test]
fn one_worker_is_m_m_1() {
    let place = Place::new();
    let args =
        ["--rate", "300/min", "--service", "10ms", "--target", "p99.9<1s", "--overload", "2"];
    let object = planned(&place, &args);
    assert_eq!((&object["workers"], &object["bound_by"]), (&1.into(), &"one".into()));
    assert_eq!((&object["law"], &object["buffer"]), (&"M/M/1".into(), &5.into()));
    near(&object["load"], 0.05);
    near(&object["sojourn_mean_ns"], 1e9 / 95.0);
    near(&object["waiting_mean_ns"], 0.05e9 / 95.0);
    near(&object["sojourn_p99_ns"], 100_f64.ln() * 1e9 / 95.0);
    near(&object["reached_ns"], 1_000_f64.ln() * 1e9 / 95.0);
    near(&object["target_ns"], 1e9);
    near(&object["overload"]["stable"]["sojourn_mean_ns"], 1e9 / 90.0);
}

/// By hand: 50,000/s of 80 us are a = 4; C(5, 4) = 0.554113..., so Wq = C * 80 us / (5 - 4). At 1.3 times 65,000 arrive and
/// five workers do 62,500: 2,500 are left over, 65,536 are full after 26.2 s, and 2,500 of 65,000 are refused.
#[test]
fn several_workers_are_m_m_c() {
    let place = Place::new();
    let object = planned(&place, &["--rate", "50k/s", "--service", "80us", "--target", "p99<2ms"]);
    assert_eq!((&object["workers"], &object["bound_by"]), (&5.into(), &"target".into()));
    // Erlang's C of five servers, term by term.
    let a = 4_f64;
    let last = a.powi(5) / 120.0 * 5.0 / (5.0 - a);
    let others = 1.0 + a + a.powi(2) / 2.0 + a.powi(3) / 6.0 + a.powi(4) / 24.0;
    let waits = last / (others + last);
    near(&object["waiting_mean_ns"], waits * 80_000.0);
    near(&object["sojourn_mean_ns"], (waits + 1.0) * 80_000.0);
    let overload = &object["overload"]["unstable"];
    near(&overload["growth_per_s"], 2_500.0);
    near(&overload["full_after_s"], 65_536.0 / 2_500.0);
    near(&overload["loss"], 2_500.0 / 65_000.0);
    for key in ["mean_is", "quantiles_are"] {
        assert!(object[key].as_str().unwrap().starts_with("exact"), "{object}");
    }
}

/// Variable services: the wait is M/M/c's times (ca2 + cs2) / 2, and the answer says that it is no theorem.
#[test]
fn variability_lengthens_the_wait_and_is_told_as_an_approximation() {
    let place = Place::new();
    let args = ["--rate", "50k/s", "--service", "80us", "--target", "p99<2ms", "--ca2", "2"];
    let plain = planned(&place, &args[..6]);
    let bursty = planned(&place, &[&args[..], &["--cs2", "0.4"]].concat());
    assert_eq!(plain["workers"], bursty["workers"]);
    near(&bursty["waiting_mean_ns"], 1.2 * plain["waiting_mean_ns"].as_f64().unwrap());
    assert!(bursty["mean_is"].as_str().unwrap().starts_with("approximate"), "{bursty}");
    let text = plan(&place, &[&args[..], &["--cs2", "0.4"]].concat()).ends(0);
    for word in ["workers      5", "approximate", "proved to be from", "buffer", "at 1.3 times"] {
        assert!(text.text().contains(word), "{word:?} in {}", text.text());
    }
}

#[test]
fn a_target_of_the_wait_may_be_shorter_than_a_service() {
    let place = Place::new();
    let args = ["--rate", "100/s", "--service", "10ms", "--target", "wait mean<100us"];
    let object = planned(&place, &args);
    assert!(object["waiting_mean_ns"].as_f64().unwrap() <= 100_000.0);
    assert_eq!(object["target"], "mean wait");
    near(&object["reached_ns"], object["waiting_mean_ns"].as_f64().unwrap());
}

/// By hand: the p99 of an exponential service of 80 us alone is ln(100) * 80 us = 368 us.
#[test]
fn what_no_number_of_workers_meets_is_a_finding_that_says_what_is_attainable() {
    let place = Place::new();
    let with = |target| ["--rate", "50k/s", "--service", "80us", "--target", target];
    for (target, words) in [("p99<300us", "0.000368"), ("mean<80us", "0.00008")] {
        let ran = plan(&place, &with(target)).ends(1);
        assert!(ran.err.contains(words) && ran.out.is_empty(), "{}", ran.err);
    }
    plan(&place, &with("p99<369us")).ends(0);
    let many = ["--rate", "1G/s", "--service", "1s", "--target", "mean<2s"];
    let ran = plan(&place, &many).ends(1);
    assert!(ran.err.contains("more than 10000"), "{}", ran.err);
}

#[test]
fn what_is_no_question_is_named() {
    let place = Place::new();
    let asked = ["--rate", "50k/s", "--service", "80us", "--target", "p99<2ms"];
    let cases: [(usize, &str, &str); 13] = [
        (1, "0", "above 0"),
        (1, "-5", "-5"),
        (1, "nan", "a rate is a number"),
        (1, "1e30", "arrival rate"),
        (1, "50k/ms", "`/ms`"),
        (3, "80", "unit"),
        (3, "0us", "mean service"),
        (5, "p99", "`<`"),
        (5, "p100<2ms", "`p100`"),
        (5, "max<2ms", "`max`"),
        (5, "p99<2", "unit"),
        (5, "p99<0s", "no time"),
        (5, "later p99<2ms", "`later p99`"),
    ];
    for (at, value, words) in cases {
        let mut arguments: Vec<String> = asked.iter().map(|&each| each.to_owned()).collect();
        arguments[at] = value.to_owned();
        // As one word, so that a negative number is a value.
        let joined: Vec<String> =
            arguments.chunks(2).map(|pair| format!("{}={}", pair[0], pair[1])).collect();
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        let ran = plan(&place, &joined).ends(2);
        assert!(ran.err.contains(words), "{words:?} for {value} in {}", ran.err);
        assert!(ran.out.is_empty());
    }
    for extra in [
        ["--cs2=-1", "negative"],
        ["--ca2=nan", "not a number"],
        ["--cs2=1e300", "variability"],
        ["--loss=0", "share"],
        ["--loss=1", "share"],
        ["--overload=0", "above 0"],
        ["--load-max=100%", "share"],
    ] {
        let ran = plan(&place, &[&asked[..], &extra[..1]].concat()).ends(2);
        assert!(ran.err.contains(extra[1]), "{extra:?} in {}", ran.err);
    }
    let ran = plan(&place, &asked[..4]).ends(2);
    assert!(ran.err.contains("--target"), "{}", ran.err);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command =
        place.bare("plan", &["--rate", "5/s", "--service", "10ms", "--target", "mean<1s"]);
    command.stdout(writer);
    ran(command).ends(0);
}
