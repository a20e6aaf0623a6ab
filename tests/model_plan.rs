//! The capacity planner through its public face: against simulation, against the laws it rests on, and on what it must
//! refuse.

#[path = "support/simulation.rs"]
mod simulation;

use millstream::model::plan::{
    Binding, Certainty, Demand, Law as PlanLaw, Options, Overload, arrival_for, expect, overload,
    plan,
};
use millstream::model::{Ggc, Mm1, Mm1k, Mmc, ModelError, Quantity, ServiceTime, Target};
use simulation::{Law, Queue, Sample};

/// Messages of one simulated queue. Seeded, so each run of the test sees the same.
const MESSAGES: usize = 400_000;
/// At a load of 0.9, where successive sojourns are alike for long.
const MESSAGES_AT_HIGH_LOAD: usize = 2_000_000;
/// What the sample itself may be off, in percent: laws that are exact miss these samples by up to as much.
const NOISE_PERCENT: f64 = 3.0;

fn service(mean_s: f64, cv2: f64) -> ServiceTime {
    ServiceTime::new(mean_s, cv2).expect("a service of the test's own table")
}

/// The ranges in percent that the page of the approximation states, for p99 and mean of the sojourn.
#[track_caller]
fn assert_error_within(gaps: Law, services: Law, p99: (f64, f64), mean: (f64, f64)) {
    let within = |(least, most): (f64, f64), found: f64| {
        least - NOISE_PERCENT <= found && found <= most + NOISE_PERCENT
    };
    for servers in [1_u32, 4, 16] {
        for load in [0.5, 0.7, 0.9] {
            let queue = Queue { gaps, services, servers: servers as usize, load };
            let messages = if load > 0.8 { MESSAGES_AT_HIGH_LOAD } else { MESSAGES };
            let mut sojourns = Sample::of(queue, messages, 11).sojourns;
            let arrival = load * f64::from(servers);
            let law = Ggc::new(arrival, gaps.cv2(), service(1.0, services.cv2()), servers)
                .expect("a load below 1");
            let percent = |said: f64, is: f64| 100.0 * (said / is - 1.0);
            let found = percent(
                law.sojourn_quantile_s(0.99).expect("0.99 is a share"),
                Sample::quantile(&mut sojourns, 0.99),
            );
            assert!(within(p99, found), "p99 is off by {found:.1} %: {queue:?}");
            let found = percent(law.sojourn_mean_s(), Sample::mean(&sojourns));
            assert!(within(mean, found), "the mean is off by {found:.1} %: {queue:?}");
        }
    }
}

#[test]
fn poisson_arrivals_and_steady_services_are_predicted_well() {
    for services in [Law::Constant, Law::Erlang(4)] {
        assert_error_within(Law::Exponential, services, (-5.0, 2.0), (-1.0, 1.0));
    }
}

#[test]
fn poisson_arrivals_and_variable_services_are_predicted_as_stated() {
    let exponential = Law::Exponential;
    assert_error_within(exponential, Law::Hyperexponential(4.0), (-11.0, 2.0), (0.0, 7.0));
    assert_error_within(exponential, Law::Lognormal(2.0), (-18.0, 2.0), (0.0, 5.0));
}

#[test]
fn steady_arrivals_are_predicted_on_the_safe_side() {
    let pairs = [
        (Law::Erlang(4), Law::Exponential),
        (Law::Constant, Law::Exponential),
        (Law::Erlang(4), Law::Erlang(4)),
    ];
    for (gaps, services) in pairs {
        assert_error_within(gaps, services, (0.0, 11.0), (0.0, 20.0));
    }
}

#[test]
fn bursts_are_predicted_as_poorly_as_stated() {
    let bursts = Law::Hyperexponential(4.0);
    assert_error_within(bursts, Law::Exponential, (-3.0, 30.0), (-10.0, 11.0));
    assert_error_within(bursts, Law::Constant, (-26.0, 75.0), (-12.0, 30.0));
}

/// The bounds are theorems: no simulated mean may leave them by more than its own noise.
#[test]
fn a_simulated_mean_wait_is_within_the_proved_bounds() {
    let bursts = Law::Hyperexponential(4.0);
    let laws = [(Law::Exponential, bursts), (bursts, Law::Constant), (Law::Constant, bursts)];
    for (gaps, services) in laws {
        for (servers, load) in [(1_u32, 0.7), (4, 0.7), (4, 0.9), (8, 0.9)] {
            let queue = Queue { gaps, services, servers: servers as usize, load };
            let found = Sample::mean(&Sample::of(queue, MESSAGES, 5).waits);
            let demand = Demand::new(load * f64::from(servers), service(1.0, services.cv2()))
                .and_then(|demand| demand.with_arrival_cv2(gaps.cv2()))
                .unwrap();
            let [least, most] = expect(&demand, servers).unwrap().waiting_mean_bounds_s;
            assert!(0.95 * least <= found && found <= 1.05 * most, "{found}: {least} {most}");
        }
    }
}

/// The loss of a finite buffer is exact where there is a law to say so.
#[test]
fn the_buffer_for_a_loss_is_that_of_the_finite_queue() {
    let demand = Demand::new(800.0, service(0.001, 1.0)).unwrap();
    for loss in [0.1, 1e-3, 1e-6, 1e-12] {
        let target = Target::SojournMean { most_s: 1.0 };
        let found = plan(&demand, target, &Options::new().loss_max(loss)).unwrap();
        assert_eq!(found.expected.workers, 1);
        assert_eq!(found.buffer, Mm1k::capacity_for_loss(800.0, 1_000.0, loss).ok());
    }
}

/// M/M/c/K by its balance equations: each state from the one below.
#[test]
fn the_buffer_of_many_workers_is_the_least_that_loses_so_little() {
    let loss_of = |offered: f64, servers: u64, capacity: u64| {
        let (mut state, mut all) = (1.0, 1.0);
        for n in 1..=capacity {
            state *= offered / n.min(servers) as f64;
            all += state;
        }
        state / all
    };
    for (offered, servers) in [(1.4, 2), (6.4, 8), (55.0, 64)] {
        let demand = Demand::new(offered, service(1.0, 1.0)).unwrap();
        let target = Target::WaitingMean { most_s: 1e3 };
        for loss in [1e-2, 1e-4, 1e-9] {
            // A cap just above this load makes it take so many workers.
            let options = Options::new().loss_max(loss).load_max(1.01 * offered / servers as f64);
            let found = plan(&demand, target, &options).unwrap();
            assert_eq!(u64::from(found.expected.workers), servers);
            let capacity = found.buffer.unwrap();
            assert!(loss_of(offered, servers, capacity) <= loss * (1.0 + 1e-9));
            let less = loss_of(offered, servers, capacity - 1);
            assert!(capacity == servers || less > loss * (1.0 - 1e-9));
        }
    }
}

#[test]
fn the_fewest_workers_are_taken_and_one_less_would_not_do() {
    for (arrival, p, most_s) in [(10.0, 0.99, 8.0), (50.0, 0.9, 2.9), (900.0, 0.999, 7.2)] {
        let demand = Demand::new(arrival, service(1.0, 1.0)).unwrap();
        let target = Target::SojournQuantile { p, most_s };
        let options = Options::new().load_max(0.999);
        let found = plan(&demand, target, &options).unwrap();
        let workers = found.expected.workers;
        let quantile_s =
            |workers| Mmc::new(arrival, 1.0, workers).and_then(|queue| queue.sojourn_quantile_s(p));
        assert!(quantile_s(workers).unwrap() <= most_s);
        assert!(quantile_s(workers - 1).map_or(true, |quantile_s| quantile_s > most_s));
        assert_eq!((found.binding, found.expected.law), (Binding::Target, PlanLaw::Mmc));
        let law = Mmc::with_fewest_servers(arrival, 1.0, target, 10_000).unwrap();
        assert_eq!(law.servers(), workers);
        assert_eq!(found.reached_s, law.sojourn_quantile_s(p).unwrap());
    }
}

#[test]
fn every_answer_names_its_law_and_how_sure_it_is() {
    use Certainty::{Arrivals, Exact, ManyServers, TwoMoments};
    let rows = [
        (1.0, 1.0, 1, PlanLaw::Mm1, Exact, Exact),
        (1.0, 1.0, 3, PlanLaw::Mmc, Exact, Exact),
        (1.0, 0.0, 1, PlanLaw::Md1, Exact, Exact),
        (1.0, 2.0, 1, PlanLaw::Mg1, Exact, TwoMoments),
        (1.0, 0.0, 2, PlanLaw::Ggc, ManyServers, ManyServers),
        (0.5, 1.0, 1, PlanLaw::Ggc, Arrivals, Arrivals),
    ];
    for (arrival_cv2, cv2, workers, law, mean, quantiles) in rows {
        let demand = Demand::new(0.5, service(1.0, cv2)).unwrap();
        let found = expect(&demand.with_arrival_cv2(arrival_cv2).unwrap(), workers).unwrap();
        assert_eq!((found.law, found.mean, found.quantiles), (law, mean, quantiles));
        let [least, most] = found.waiting_mean_bounds_s;
        assert_eq!(least == most, mean == Exact);
        assert!(least <= found.waiting_mean_s * (1.0 + 1e-12) && least <= most, "{found:?}");
    }
}

#[test]
fn overload_is_either_slower_or_fills_the_buffer() {
    let demand = Demand::new(700.0, service(0.001, 1.0)).unwrap();
    let options = Options::new().buffer(21_000);
    let Overload::Stable { factor, expected } = overload(&demand, 1, &options).unwrap() else {
        panic!("910 of 1,000 is stable");
    };
    assert_eq!((factor, expected.workers), (1.3, 1));
    let slower = Mm1::new(910.0, 1_000.0).unwrap().sojourn_mean_s();
    assert!((expected.sojourn_mean_s / slower - 1.0).abs() < 1e-11);
    let options = options.overload_factor(2.0);
    let Overload::Unstable { growth_per_s, full_after_s, loss, .. } =
        overload(&demand, 1, &options).unwrap()
    else {
        panic!("1,400 of 1,000 is not stable");
    };
    assert!((growth_per_s - 400.0).abs() < 1e-9 && (full_after_s - 52.5).abs() < 1e-9);
    assert!((loss - 400.0 / 1_400.0).abs() < 1e-12);
}

#[test]
fn the_load_cap_binds_where_the_target_is_easy() {
    let demand = Demand::new(9.5, service(1.0, 1.0)).unwrap();
    let target = Target::SojournMean { most_s: 1e6 };
    let found = plan(&demand, target, &Options::new()).unwrap();
    assert_eq!((found.expected.workers, found.binding), (11, Binding::Load));
}

#[test]
fn the_rate_that_workers_allow_is_where_the_target_is_just_met() {
    let demand = Demand::new(1.0, service(0.001, 0.5)).unwrap();
    let target = Target::SojournQuantile { p: 0.99, most_s: 0.004 };
    let options = Options::new();
    let arrival = arrival_for(&demand, 4, target, &options).unwrap();
    let at = |arrival: f64| {
        let demand = Demand::new(arrival, demand.service()).unwrap();
        plan(&demand, target, &options).unwrap().expected.workers
    };
    assert!(arrival > 2_000.0 && arrival <= 3_600.0, "{arrival}");
    assert_eq!((at(arrival * 0.9999), at(arrival * 1.0001)), (4, 5));
}

/// A sojourn contains its service: no number of workers shortens that.
#[test]
fn a_target_below_the_service_is_refused_with_the_least_attainable() {
    let demand = Demand::new(10.0, service(0.001, 1.0)).unwrap();
    let options = Options::new();
    let target = Target::SojournQuantile { p: 0.99, most_s: 0.0046 };
    let ModelError::Unattainable { quantity, asked, least } =
        plan(&demand, target, &options).unwrap_err()
    else {
        panic!("no number of workers brings the p99 below that of the service");
    };
    assert_eq!((quantity, asked), (Quantity::SojournQuantile, 0.0046));
    assert!((least - 0.001 * 100_f64.ln()).abs() < 1e-12);
    let just_above = Target::SojournQuantile { p: 0.99, most_s: least * 1.0001 };
    assert!(plan(&demand, just_above, &options).is_ok());
    let mean = Target::SojournMean { most_s: 0.001 };
    let error = plan(&demand, mean, &options).unwrap_err();
    assert!(matches!(error, ModelError::Unattainable { least: 0.001, .. }), "{error}");
    let refused = arrival_for(&demand, 3, mean, &options).unwrap_err();
    assert!(matches!(refused, ModelError::Unattainable { .. }));
}

#[test]
fn more_workers_than_allowed_are_refused_by_their_limit() {
    let demand = Demand::new(100.0, service(1.0, 1.0)).unwrap();
    let target = Target::WaitingMean { most_s: 0.001 };
    for servers_max in [1, 99, 100, 110] {
        let options = Options::new().workers_max(servers_max);
        assert_eq!(plan(&demand, target, &options), Err(ModelError::ServersMax { servers_max }));
    }
    assert!(plan(&demand, target, &Options::new().workers_max(200)).is_ok());
}

#[test]
fn numbers_that_mean_nothing_are_refused_by_name() {
    let demand = Demand::new(1.0, service(0.5, 1.0)).unwrap();
    let mean = |most_s| Target::SojournMean { most_s };
    let options = Options::new();
    for most_s in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        assert!(plan(&demand, mean(most_s), &options).is_err());
    }
    for p in [f64::NAN, 1.0, -0.1] {
        let target = Target::WaitingQuantile { p, most_s: 1.0 };
        assert!(plan(&demand, target, &options).is_err());
    }
    let absurd = [
        options.load_max(0.0),
        options.load_max(1.0),
        options.load_max(f64::NAN),
        options.loss_max(0.0),
        options.loss_max(2.0),
        options.workers_max(0),
        options.workers_max(u32::MAX),
        options.overload_factor(-1.0),
        options.overload_factor(f64::INFINITY),
    ];
    for options in absurd {
        assert!(plan(&demand, mean(1.0), &options).is_err(), "{options:?}");
    }
    assert!(Demand::new(f64::NAN, service(1.0, 1.0)).is_err());
    assert!(demand.with_arrival_cv2(-1.0).is_err());
    assert!(matches!(expect(&demand.times(2.0).unwrap(), 1), Err(ModelError::Unstable { .. })));
}
