//! The statistics of `benches/validation.rs`, on queues whose answer is known: a wrong estimator would condemn a right
//! engine, or acquit a wrong one.
//!
//! Simulated queues are exact (Lindley's recursion on drawn times), and every seed is fixed, so that each test gives the
//! same answer every time. None looks at a clock but the last, which asks only for what no clock can change.

#[path = "../benches/support/mod.rs"]
#[allow(dead_code)] // The bench uses all of it.
mod support;

use millstream::model::Mm1;
use std::sync::Arc;
use support::draw::{Chance, Plan, Schedule};
use support::interval::{From, Interval, Verdict, against_mm1, groups, student_975};
use support::load::Load;
use support::path::{
    HandOffs, Little, Moments, Rates, Row, Stalls, found_by_arrivals, lindley,
    lindley_with_absences, mean_s, quantile, sojourn_tail,
};

const SERVICE_PER_S: f64 = 10_000.0;

/// What a perfect M/M/1 queue would have stamped.
fn perfect(load: f64, messages: usize, seed: u64) -> Vec<Row> {
    let arrival_per_s = load * SERVICE_PER_S;
    let plan = Plan { arrival_per_s, service_per_s: SERVICE_PER_S, messages, seed };
    let Schedule { intended_ns, drawn_ns } = Schedule::draw(plan);
    let ends = lindley(intended_ns.iter().copied().zip(drawn_ns.iter().copied()));
    let row = |((intended_ns, drawn_ns), end_ns): ((u64, u64), u64)| Row {
        intended_ns,
        arrival_ns: intended_ns,
        start_ns: end_ns - drawn_ns,
        end_ns,
        drawn_ns,
    };
    intended_ns.into_iter().zip(drawn_ns).zip(ends).map(row).collect()
}

fn row(arrival_ns: u64, start_ns: u64, end_ns: u64) -> Row {
    Row { intended_ns: arrival_ns, arrival_ns, start_ns, end_ns, drawn_ns: end_ns - start_ns }
}

#[track_caller]
fn assert_near(found: f64, expected: f64, relative: f64) {
    let off = (found - expected).abs() / expected.abs();
    assert!(off <= relative, "{found} is off {expected} by {off:e}");
}

/// The first outputs from state 1, 2, 3, 4, as the authors' C program prints them.
#[test]
fn the_generator_is_xoshiro256_plus_plus() {
    let mut chance = Chance([1, 2, 3, 4]);
    let first: Vec<u64> = (0..4).map(|_| chance.next()).collect();
    assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
}

#[test]
fn gaps_and_services_are_exponential_with_the_means_asked_for() {
    let mut chance = Chance::new(7);
    let draws: Vec<f64> = (0..200_000).map(|_| chance.exponential()).collect();
    let count = draws.len() as f64;
    assert_near(draws.iter().sum::<f64>() / count, 1.0, 0.01);
    assert_near(draws.iter().map(|x| x * x).sum::<f64>() / count, 2.0, 0.02);
    for t in [0.1, 1.0, 3.0] {
        let longer = draws.iter().filter(|x| **x > t).count() as f64 / count;
        assert_near(longer, (-t).exp(), 0.03);
    }
    let rates = Rates::of(&perfect(0.4, 100_000, 3)).expect("a long run");
    assert_near(rates.arrival_per_s, 4_000.0, 0.01);
    assert_near(rates.service_per_s, SERVICE_PER_S, 0.01);
    assert_near(1.0 + rates.service_variability(), 2.0, 0.02);
}

#[test]
fn a_seed_gives_one_schedule_and_keeps_its_services_at_every_load() {
    let draw = |arrival_per_s, seed| {
        Schedule::draw(Plan { arrival_per_s, service_per_s: 1e4, messages: 50, seed })
    };
    assert_eq!(draw(5e3, 1).intended_ns, draw(5e3, 1).intended_ns);
    assert_ne!(draw(5e3, 1).intended_ns, draw(5e3, 2).intended_ns);
    assert_eq!(draw(5e3, 1).drawn_ns, draw(8e3, 1).drawn_ns);
    assert!(draw(5e3, 1).intended_ns.is_sorted());
}

#[test]
fn lindleys_recursion_waits_while_busy_and_starts_at_once_from_rest() {
    let messages = [(0, 10), (4, 5), (15, 1), (20, 2), (21, 3)];
    assert_eq!(lindley(messages.into_iter()), [10, 15, 16, 22, 25]);
}

#[test]
fn littles_identity_is_exact_and_a_lost_or_doubled_event_breaks_it() {
    let rows = perfect(0.8, 5_000, 11);
    let arrivals: Vec<u64> = rows.iter().map(|row| row.arrival_ns).collect();
    let departures: Vec<u64> = rows.iter().map(|row| row.end_ns).collect();
    let Little { area, sojourns } = Little::of(&arrivals, &departures, &rows);
    assert!(area > 0);
    assert_eq!(area, sojourns);
    let small = [row(2, 2, 7), row(4, 7, 9)];
    assert_eq!(Little::of(&[2, 4], &[7, 9], &small), Little { area: 10, sojourns: 10 });
    let differs = |arrivals: &[u64], departures: &[u64], rows: &[Row]| {
        let sums = Little::of(arrivals, departures, rows);
        sums.area != sums.sojourns
    };
    assert!(differs(&arrivals, &departures[1..], &rows), "a departure nobody saw");
    assert!(differs(&arrivals[1..], &departures, &rows), "an arrival nobody saw");
    assert!(differs(&arrivals, &departures, &rows[1..]), "a row left out");
    let doubled = [&departures[..], &departures[7..8]].concat();
    assert!(differs(&arrivals, &doubled, &rows), "a departure seen twice");
}

#[test]
fn hand_offs_after_another_message_and_from_rest_are_told_apart() {
    let rows = [row(10, 13, 20), row(15, 22, 30), row(30, 31, 40), row(50, 57, 60)];
    let hand_offs = HandOffs::of(&rows);
    assert_eq!(hand_offs.busy_ns, [2]);
    assert_eq!(lindley_with_absences(&rows, 100), lindley_of(&rows));
    assert_eq!(lindley_with_absences(&rows, 2), [20, 28, 39, 60]);
    assert_eq!(lindley_with_absences(&rows, 0), [20, 30, 40, 60], "all of it: the run itself");
    assert_eq!(hand_offs.idle_ns, [1, 3, 7]);
    let wake = hand_offs.wake();
    assert_near(wake.mean_s, 11e-9 / 3.0, 1e-12);
    assert_near(wake.square_mean_s2, 59e-18 / 3.0, 1e-12);
}

fn lindley_of(rows: &[Row]) -> Vec<u64> {
    lindley(rows.iter().map(|row| (row.arrival_ns, row.service_ns())))
}

/// M/G/1 and set-up: values computed apart from this crate with 60 decimal digits.
#[test]
fn the_explaining_formulas_give_the_reference_values() {
    let rates = |arrival_per_s, service_s: f64, square_mean_s2| Rates {
        arrival_per_s,
        service_per_s: 1.0 / service_s,
        square_mean_s2,
        throughput_per_s: arrival_per_s,
    };
    for (load, cs2, waiting_s) in [(0.8, 0.0, 2.0), (0.9, 4.0, 22.5), (0.5, 0.5, 0.75)] {
        let rates = rates(load, 1.0, 1.0 + cs2);
        assert_near(rates.pollaczek_khinchine_s(), 1.0 + waiting_s, 1e-12);
        assert_near(1.0 + rates.service_variability(), 1.0 + cs2, 1e-12);
    }
    let fixed = Moments { mean_s: 30.0, square_mean_s2: 900.0 };
    let exponential = Moments { mean_s: 30.0, square_mean_s2: 1_800.0 };
    for (arrival, service_s, wake, w) in
        [(0.005, 100.0, fixed, 228.043478261), (0.016, 50.0, exponential, 280.0)]
    {
        let rates = rates(arrival, service_s, 2.0 * service_s * service_s);
        assert_near(rates.pollaczek_khinchine_s() + rates.set_up_s(wake), w, 1e-11);
    }
}

#[test]
fn what_arrivals_find_and_how_long_they_stay_follow_the_law() {
    let rows = perfect(0.5, 400_000, 5);
    let law = Mm1::new(0.5 * SERVICE_PER_S, SERVICE_PER_S).expect("stable");
    let found = found_by_arrivals(&rows);
    for n in 0..5_u64 {
        assert_near(found[n as usize], law.in_system_probability(n), 0.03);
    }
    assert_near(found.iter().sum(), 1.0, 1e-9);
    for times in [0.5, 1.0, 2.0] {
        let t_s = times * law.sojourn_mean_s();
        assert_near(sojourn_tail(&rows, t_s), law.sojourn_tail(t_s), 0.03);
    }
}

#[test]
fn students_t_is_that_of_the_tables() {
    for (freedom, t) in [(9.0, 2.262), (19.0, 2.093), (49.0, 2.0096), (1e9, 1.95996)] {
        assert_near(student_975(freedom), t, 5e-4);
    }
}

/// Promise: of 95 % intervals, about 95 % hold the truth. Method: 200 perfect queues; binomial, so between 90 and 98.5 %
/// nearly always, and always with these seeds.
#[test]
fn the_interval_covers_the_truth_as_often_as_it_says() {
    const RUNS: u64 = 200;
    for load in [0.3, 0.8] {
        let intervals: Vec<Interval> = (0..RUNS)
            .map(|seed| against_mm1(&perfect(load, 20_000, seed), From::Arrival))
            .map(|interval| interval.expect("a long run"))
            .collect();
        let covers = |interval: &&Interval| (interval.ratio - 1.0).abs() <= interval.half_width;
        let covered = intervals.iter().filter(covers).count();
        assert!((180..=197).contains(&covered), "{covered} of {RUNS} at {load}");
        // The half width is the one that theory gives for realized rates: 2 rho / (1 - rho)^2 / n.
        let mean = intervals.iter().map(|interval| interval.half_width).sum::<f64>() / RUNS as f64;
        let theory = 1.96 * (2.0 * load / 20_000.0).sqrt() / (1.0 - load);
        assert_near(mean, theory, 0.1);
    }
}

#[test]
fn an_engine_that_is_five_percent_slow_is_found_outside() {
    let mut rows = perfect(0.5, 400_000, 2);
    let added_ns = (0.05 * mean_s(rows.iter().map(Row::sojourn_ns)) * 1e9) as u64;
    assert_eq!(
        against_mm1(&rows, From::Arrival).map(|interval| interval.verdict(0.03, rows.len())),
        Some(Verdict::Inside)
    );
    rows.iter_mut().for_each(|row| {
        row.start_ns += added_ns;
        row.end_ns += added_ns;
    });
    let interval = against_mm1(&rows, From::Arrival).expect("a long run");
    assert_eq!(interval.verdict(0.01, rows.len()), Verdict::Outside);
}

#[test]
fn a_verdict_says_how_many_messages_would_decide() {
    let interval = Interval { ratio: 1.01, half_width: 0.02, groups: 50 };
    assert_eq!(interval.verdict(0.01, 1_000), Verdict::Undecided { messages: 16_000 });
    assert_eq!(interval.verdict(0.04, 1_000), Verdict::Inside);
    let far = Interval { ratio: 0.5, ..interval };
    assert_eq!(far.verdict(0.01, 1_000), Verdict::Outside);
}

#[test]
fn a_run_is_cut_at_empty_moments_and_one_without_them_has_no_interval() {
    assert_eq!(groups(&perfect(0.8, 20_000, 1), From::Arrival).len(), 50);
    let overloaded = perfect(1.5, 20_000, 1);
    assert!(groups(&overloaded, From::Arrival).len() < 10);
    assert_eq!(against_mm1(&overloaded, From::Arrival), None);
    assert_eq!(against_mm1(&[], From::Arrival), None);
}

#[test]
fn a_late_source_shows_in_the_time_from_the_intended_arrival_only() {
    let mut rows = perfect(0.5, 50_000, 9);
    let before = against_mm1(&rows, From::Arrival).expect("a long run");
    rows.iter_mut().for_each(|row| row.intended_ns = row.intended_ns.saturating_sub(50_000));
    let after = against_mm1(&rows, From::Intended).expect("a long run");
    assert!(after.ratio > before.ratio + 0.2, "{after:?} {before:?}");
}

#[test]
fn stalls_are_summed_and_their_bias_is_that_of_theory() {
    let stalls = Stalls::of(&[5_000_000, 20_000]);
    assert_eq!((stalls.count, stalls.total_ns, stalls.max_ns), (2, 5_020_000, 5_000_000));
    // One stall of 5 ms every 25 s at a service of 50 us: 1 %.
    assert_near(Stalls::of(&[5_000_000]).bias(25.0, 50e-6), 0.01, 1e-9);
    assert_eq!(Stalls::of(&[]), Stalls::default());
}

#[test]
fn too_short_a_run_has_no_rates_and_an_empty_one_no_quantile() {
    assert_eq!(Rates::of(&[]), None);
    assert_eq!(Rates::of(&[row(1, 2, 3)]), None);
    assert_eq!((quantile(&[], 0.5), quantile(&[4], 1.0), quantile(&[1, 2, 3, 4], 0.5)), (0, 4, 3));
}

/// The whole harness on a plain channel: every message is served once and never earlier than a perfect queue would.
#[test]
fn a_run_through_a_channel_is_whole_and_never_faster_than_its_own_path() {
    let plan = Plan { arrival_per_s: 20_000.0, service_per_s: 40_000.0, messages: 500, seed: 1 };
    let load = Arc::new(Load::new(Schedule::draw(plan)));
    let (sender, receiver) = crossbeam_channel::unbounded::<usize>();
    let offered = std::thread::scope(|scope| {
        scope.spawn(|| receiver.iter().for_each(|id| load.serve(id)));
        let publish = |id| id % 100 != 99 && sender.send(id).is_ok();
        let offered = load.offer(|id| id, publish);
        drop(sender);
        offered
    });
    let run = load.finish(offered);
    assert_eq!((run.rows.len(), run.refused.len(), run.lost, run.doubled), (495, 5, 0, 0));
    assert!(run.rows.iter().all(|row| row.intended_ns <= row.arrival_ns));
    assert!(run.rows.iter().all(|row| row.service_ns() >= row.drawn_ns));
    assert!(run.rows.iter().zip(lindley_of(&run.rows)).all(|(row, end_ns)| row.end_ns >= end_ns));
    let sums = Little::of(&run.arrivals_ns, &run.departures_ns, &run.rows);
    assert_eq!(sums.area, sums.sojourns);
}

#[test]
fn a_lost_and_a_doubled_message_are_counted() {
    let plan = Plan { arrival_per_s: 1e6, service_per_s: 1e6, messages: 3, seed: 1 };
    let load = Load::new(Schedule::draw(plan));
    let offered = load.offer(|id| id, |_| true);
    for id in [0, 2, 2] {
        load.serve(id);
    }
    let run = load.finish(offered);
    let sums = Little::of(&run.arrivals_ns, &run.departures_ns, &run.rows);
    assert_ne!(sums.area, sums.sojourns);
    assert_eq!((run.ids, run.lost, run.doubled), (vec![0, 2], 1, 1));
}
