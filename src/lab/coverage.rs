//! Are the intervals what they say? On a thousand perfect queues each, with fixed seeds.

use super::experiment::{Kind, Service};
use super::interval::{Cuts, relaxation_messages};
use super::judgement::LawCheck;
use super::law::Subject;
use super::parameters::Parameters;
use super::simulate::simulate;
use super::verdict::claim_checks;
use super::walk::{Walk, groups};

fn parameters(load: f64, seed: u64) -> Parameters {
    Parameters {
        kind: Kind::Mm1,
        servers: 1,
        capacity: None,
        ring_capacity: None,
        lambda: load * 1e4,
        mu: 1e4,
        service: Service::Exponential,
        cs2: None,
        seed,
        warmup: 0,
        wait: String::new(),
        on: None,
        classes: Vec::new(),
        stages: Vec::new(),
    }
}

/// The check that decides, of one perfect run.
fn deciding(load: f64, messages: usize, seed: u64) -> LawCheck {
    let parameters = parameters(load, seed);
    let events = simulate(&parameters, messages).expect("can be simulated");
    let walk = Walk::of(&events, Kind::Mm1, 1);
    let empty = walk.empty(None);
    let cuts = Cuts::of(0..messages, relaxation_messages(load, None), |row| empty[row]);
    let groups = groups(&walk, None, &cuts, 0);
    let subject = Subject { kind: Kind::Mm1, servers: 1, capacity: None };
    claim_checks(&subject, &groups, messages as u64, 0.01, false, || 0).swap_remove(0)
}

/// How many of so many intervals hold the truth, and how wide they are beside 1.96 sqrt(2 rho / n) / (1 - rho).
fn coverage(load: f64, messages: usize, runs: u64) -> (u64, f64) {
    let of = |seed| deciding(load, messages, seed).interval.expect("long enough");
    let intervals: Vec<_> = (0..runs).map(of).collect();
    let held = intervals.iter().filter(|one| (one.ratio - 1.0).abs() <= one.half_width).count();
    let width = intervals.iter().map(|one| one.half_width).sum::<f64>() / runs as f64;
    (held as u64, width / (1.96 * (2.0 * load / messages as f64).sqrt() / (1.0 - load)))
}

/// Promise: of the 95 % intervals of W 93 to 97 % hold the truth, and they are as wide as theory says. Method: a thousand
/// perfect queues at each load; by chance alone the count stays within 1.4 % (two standard errors).
#[test]
fn the_intervals_hold_the_truth_as_often_as_they_say() {
    for (load, messages) in [(0.1, 1_500), (0.3, 2_500), (0.5, 6_000)] {
        let (held, width) = coverage(load, messages, 1_000);
        println!("{held} of 1000 at {load}, width {width}");
        assert!((930..=970).contains(&held), "{held} of 1000 at {load}");
        assert!((0.93..1.07).contains(&width), "{width} at {load}");
    }
}

/// The same at a load where runs must be long: fewer of them, so that chance allows 3 % (two standard errors).
#[test]
fn the_intervals_hold_the_truth_at_a_high_load_too() {
    let (held, width) = coverage(0.8, 45_000, 200);
    println!("{held} of 200, width {width}");
    assert!((184..=196).contains(&held), "{held} of 200");
    assert!((0.93..1.07).contains(&width), "{width}");
}
