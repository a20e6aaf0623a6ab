//! Forecasts of simulated queues: how often they cry wolf, and whether they see the wolf.
//!
//! A queue of c servers, first come first served, is played on stamps alone (Kiefer and Wolfowitz: the earliest free
//! server takes the next message), every attempt goes through a recorder as a worker would write it, and the forecast
//! is made at the end of the window. Seeds are fixed, so each number here is the same every time.

use super::forecast::{DriftCause, Forecast, Queueing, Subject, span_for};
use crate::metrics::{Estimates, Flow, Recorder, Span, Times};
use std::cell::Cell;
use std::rc::Rc;

const SECOND_NS: f64 = 1e9;
/// Somewhere into the life of the engine, so that the windows do not begin with it.
const BEGIN_NS: u64 = 20_000_000_000;
/// How long each queue is played: a short window, and a second and more before it to forget how it began.
const PLAYED_S: f64 = 10.0;

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }
}

/// Seconds, drawn, given the time or another fact.
type Drawn<F> = Box<dyn FnMut(&mut Draw, F) -> f64>;

/// A queue to play: what comes when, and how long it takes.
struct Played {
    servers: usize,
    arrive: Drawn<f64>,
    serve: Drawn<f64>,
    /// From when it could start to when it does; was its server idle?
    held_up: Drawn<bool>,
}

/// Poisson arrivals at `load`, exponential services of `service_s`, nothing in between.
fn markov(servers: usize, load: f64, service_s: f64) -> Played {
    let gap_s = service_s / (load * servers as f64);
    Played {
        servers,
        arrive: Box::new(move |draw, _| draw.exponential(gap_s)),
        serve: Box::new(move |draw, _| draw.exponential(service_s)),
        held_up: Box::new(|_, _| 0.0),
    }
}

impl Played {
    /// Plays it, and forecasts at the end.
    fn forecast(mut self, seed: u64, raised: bool) -> Forecast {
        let (recorder, flow, now_ns) = self.play(seed);
        let window = |span| recorder.window(&flow, span, now_ns).unwrap();
        let span = span_for(window(Span::Short).messages());
        let estimates = window(span).estimates();
        let own = Queueing { estimates, servers: self.servers, parks: true };
        let subject = Subject { subscription: "s".into(), own, pool: None, unbounded: true };
        subject.forecast(raised)
    }

    fn play(&mut self, seed: u64) -> (Recorder, Flow, u64) {
        let recorder = Recorder::new(self.servers + 1, 0);
        let flow = recorder.open_flow(BEGIN_NS);
        let mut draw = Draw(seed);
        let mut free_s = vec![0.0_f64; self.servers];
        let mut arrival_s = 0.0;
        let ns = |at_s: f64| BEGIN_NS + (at_s * SECOND_NS) as u64;
        loop {
            arrival_s += (self.arrive)(&mut draw, arrival_s);
            let (server, &free) = free_s
                .iter()
                .enumerate()
                .min_by(|(_, one), (_, other)| one.total_cmp(other))
                .unwrap();
            let start_s = arrival_s.max(free) + (self.held_up)(&mut draw, free <= arrival_s);
            if PLAYED_S <= start_s {
                break;
            }
            let gap_ns = flow.gap_ns(ns(arrival_s));
            let end_s = start_s + (self.serve)(&mut draw, start_s);
            free_s[server] = end_s;
            if end_s < PLAYED_S {
                let times =
                    Times { arrival_ns: ns(arrival_s), start_ns: ns(start_s), end_ns: ns(end_s) };
                recorder.record_in(server + 1, &flow, times, 1, gap_ns);
            }
        }
        (recorder, flow, ns(PLAYED_S))
    }
}

fn estimates_of(mut played: Played, seed: u64, span: Span) -> Estimates {
    let (recorder, flow, now_ns) = played.play(seed);
    recorder.window(&flow, span, now_ns).unwrap().estimates()
}

/// Promise: on a queue that is what it seems, the signal stays down. Method: 1,000 windows of M/M/c, whose every parameter
/// is estimated; how many raise it. Also, how often a signal that is up by mistake stays up.
#[test]
fn false_alarms_are_rare() {
    let (mut windows, mut raised, mut stuck, mut low, mut high) = (0, 0, 0, 0, 0);
    for seed in 0..84 {
        for servers in [1, 2, 4] {
            for load in [0.3, 0.6, 0.8, 0.9] {
                let service_s = 1e-3 * servers as f64;
                let forecast = markov(servers, load, service_s).forecast(seed, true);
                let (predicted_s, error_s) =
                    (forecast.predicted_waiting_s.unwrap_or(f64::NAN), forecast.error_s);
                let errors = (forecast.measured_waiting_s - predicted_s) / error_s;
                low += usize::from(errors < -1.96);
                high += usize::from(1.96 < errors);
                windows += 1;
                stuck += usize::from(forecast.drift.is_some());
                raised += usize::from(forecast.drift.is_some_and(|drift| 4.0 <= drift.errors));
            }
        }
    }
    println!(
        "{windows} windows: {raised} raised, {stuck} kept up, {low} low and {high} high by 1.96 errors"
    );
    assert!(raised <= windows / 500, "{raised} of {windows} raised");
    assert!(stuck <= windows / 50, "{stuck} of {windows} kept up");
}

/// The prediction of M/M/c is that of theory, within its own error.
#[test]
fn the_prediction_is_the_law_of_the_queue_that_is_played() {
    for (servers, load, waiting) in
        [(1, 0.5, 1.0), (2, 0.7, 0.960_784_313_725), (4, 0.7, 0.357_211_931_86)]
    {
        let service_s = 2e-3;
        let (mut sum, rounds) = (0.0, 40);
        for seed in 100..100 + rounds {
            let forecast = markov(servers, load, service_s).forecast(seed, false);
            sum += forecast.predicted_waiting_s.unwrap();
        }
        let ratio = sum / rounds as f64 / (waiting * service_s);
        assert!((0.93..1.07).contains(&ratio), "{servers} servers: {ratio}");
    }
}

fn causes(make: impl Fn() -> Played) -> Vec<Option<DriftCause>> {
    (0..20).map(|seed| make().forecast(seed, false).drift.map(|drift| drift.cause)).collect()
}

fn count(causes: &[Option<DriftCause>], cause: DriftCause) -> usize {
    causes.iter().filter(|found| **found == Some(cause)).count()
}

/// Every tenth message waits for a lock that has nothing to do with the handler.
#[test]
fn a_hidden_bottleneck_is_found_and_named() {
    let causes = causes(|| {
        let held_up = Box::new(|draw: &mut Draw, _| if draw.unit() < 0.1 { 20e-3 } else { 0.0 });
        Played { held_up, ..markov(2, 0.2, 1e-3) }
    });
    assert!(19 <= count(&causes, DriftCause::HiddenBottleneck), "{causes:?}");
}

/// Three times the rate for a second of every three, a sixth in between.
#[test]
fn a_burst_is_found_and_named() {
    let causes = causes(|| {
        let arrive = Box::new(|draw: &mut Draw, now_s: f64| {
            let gap_s = 1e-3 / 0.5;
            draw.exponential(if now_s % 3.0 < 1.0 { gap_s / 2.4 } else { gap_s / 0.3 })
        });
        Played { arrive, ..markov(1, 0.5, 1e-3) }
    });
    assert!(18 <= count(&causes, DriftCause::Burst), "{causes:?}");
}

/// From the middle of the window on the handler takes three times as long.
#[test]
fn a_handler_that_became_slow_is_found_and_named() {
    let causes = causes(|| {
        let serve = Box::new(|draw: &mut Draw, now_s: f64| {
            draw.exponential(if now_s < PLAYED_S - 4.0 { 1e-3 } else { 3.2e-3 })
        });
        Played { serve, ..markov(1, 0.3, 1e-3) }
    });
    assert!(18 <= count(&causes, DriftCause::SlowHandler), "{causes:?}");
}

/// More comes than can be served. The rate of arrivals is seen though no server sees it.
#[test]
fn an_overload_is_found_and_has_no_prediction() {
    let causes = causes(|| markov(2, 1.3, 1e-3));
    assert_eq!(count(&causes, DriftCause::Overload), 20, "{causes:?}");
    let forecast = markov(2, 1.3, 1e-3).forecast(7, false);
    assert_eq!(forecast.predicted_waiting_s, None);
    let arrival_per_s = forecast.estimates.arrival_per_s;
    assert!((2_500.0..2_700.0).contains(&arrival_per_s), "{arrival_per_s}");
}

/// A source that sends the next message when the last is answered makes no queue, whatever the load.
#[test]
fn a_source_that_waits_for_answers_is_found_and_named() {
    let causes = causes(|| {
        let served_s = Rc::new(Cell::new(0.0));
        let last_s = Rc::clone(&served_s);
        Played {
            arrive: Box::new(move |_, _| last_s.get() * 1.25 + 1e-6),
            serve: Box::new(move |draw, _| {
                served_s.set(draw.exponential(1e-3));
                served_s.get()
            }),
            ..markov(1, 0.5, 1e-3)
        }
    });
    assert!(19 <= count(&causes, DriftCause::Paced), "{causes:?}");
}

/// A signal that is up comes down only well below where it went up.
#[test]
fn the_signal_does_not_flap() {
    let shifted = |delay_s: f64, raised| {
        let held_up = Box::new(move |_: &mut Draw, _| delay_s);
        let played = Played { held_up, ..markov(2, 0.2, 1e-3) };
        played.forecast(3, raised).drift.is_some()
    };
    let steps: Vec<f64> = (0..400).map(|step| 1e-3 + 5e-6 * f64::from(step)).collect();
    let up = steps.iter().position(|delay_s| shifted(*delay_s, false)).unwrap();
    let down = steps.iter().position(|delay_s| shifted(*delay_s, true)).unwrap();
    assert!(down < up, "up at {up}, down at {down}");
}

/// A worker that must be woken: with one, Welch's formula.
#[test]
fn waking_is_predicted_and_raises_nothing() {
    for servers in [1, 2, 4] {
        let mut sums = [0.0; 2];
        for seed in 0..10 {
            // Whoever finds its server idle waits for it, 200 us on average.
            let held_up =
                Box::new(|draw: &mut Draw, idle| if idle { draw.exponential(200e-6) } else { 0.0 });
            let played = Played { held_up, ..markov(servers, 0.3, 1e-3) };
            let forecast = played.forecast(seed, false);
            assert_eq!(forecast.drift, None, "{servers} servers, seed {seed}");
            sums[0] += forecast.measured_waiting_s;
            sums[1] += forecast.predicted_waiting_s.unwrap();
        }
        let ratio = sums[0] / sums[1];
        println!("{servers} servers that sleep: measured / predicted {ratio:.3}");
        assert!((0.85..1.15).contains(&ratio), "{servers} servers: {ratio}");
    }
}

/// The estimates of the arrivals are the parameters that were drawn with.
#[test]
fn what_is_estimated_is_what_was_played() {
    let estimates = estimates_of(markov(2, 0.6, 1e-3), 11, Span::Short);
    let Estimates { messages, window_s, arrival_per_s, service_mean_s, cs2, busy_mean, .. } =
        estimates;
    let near = |value: f64, truth: f64, errors: f64| {
        assert!((value / truth - 1.0).abs() < errors / (messages as f64).sqrt(), "{value} {truth}");
    };
    assert!((8.05..=8.6).contains(&window_s), "{window_s}");
    near(arrival_per_s, 1_200.0, 4.0);
    near(service_mean_s, 1e-3, 4.0);
    near(cs2, 1.0, 4.0 * 8_f64.sqrt());
    near(busy_mean, 1.2, 6.0);
    near(estimates.ca2.unwrap(), 1.0, 8.0);
}
