//! The laws of `model` against each other: where two formulas speak of the same queue they must agree, over the whole
//! range that they accept and not only at a copied number.

use millstream::model::{
    CAPACITY_MAX, Class, Ggc, Md1, Mg1, Mm1, Mm1k, Mmc, ModelError, Priorities, Quantity,
    SERVERS_MAX, Saturation, ServiceTime, Setup, Tandem, Target, in_system_mean,
};
use proptest::prelude::*;

#[track_caller]
fn assert_near(found: f64, expected: f64, relative: f64) {
    let off = (found - expected).abs();
    assert!(off <= relative * expected.abs(), "{found:e} is off {expected:e}");
}

fn service(mean_s: f64, cv2: f64) -> ServiceTime {
    ServiceTime::new(mean_s, cv2).expect("a service within the strategies' ranges")
}

/// Loads with both ends well visited: from 1e-6 to 1 - 1e-9.
fn load() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.001_f64..0.999,
        (1.0_f64..9.0).prop_map(|exponent| 1.0 - 10_f64.powf(-exponent)),
        (1.0_f64..6.0).prop_map(|exponent| 10_f64.powf(-exponent)),
    ]
}

fn rate() -> impl Strategy<Value = f64> {
    (-3.0_f64..7.0).prop_map(|exponent| 10_f64.powf(exponent))
}

proptest! {
    // A case that fails is printed, and becomes a named test: no file of seeds.
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_server_of_many_is_the_single_server(load in load(), mu in rate(), times in 0.0_f64..20.0) {
        let (one, many) = (Mm1::new(load * mu, mu).unwrap(), Mmc::new(load * mu, mu, 1).unwrap());
        let t_s = times * one.sojourn_mean_s();
        assert_near(many.waiting_probability(), one.load(), 1e-12);
        assert_near(many.sojourn_mean_s(), one.sojourn_mean_s(), 1e-11);
        assert_near(many.waiting_mean_s(), one.waiting_mean_s(), 1e-11);
        assert_near(many.sojourn_tail(t_s), one.sojourn_tail(t_s), 1e-9);
        assert_near(many.waiting_tail(t_s), one.waiting_tail(t_s), 1e-9);
        for p in [0.5, 0.99, 0.9999] {
            let (found, expected) = (many.sojourn_quantile_s(p), one.sojourn_quantile_s(p));
            assert_near(found.unwrap(), expected.unwrap(), 1e-9);
            let (found, expected) = (many.waiting_quantile_s(p), one.waiting_quantile_s(p));
            let (found, expected) = (found.unwrap(), expected.unwrap());
            assert!((found - expected).abs() <= 1e-9 * one.sojourn_mean_s(), "{found} {expected}");
        }
    }

    #[test]
    fn exponential_services_are_general_ones_with_cs2_of_one(load in load(), mu in rate()) {
        let one = Mm1::new(load * mu, mu).unwrap();
        // Of rho and 1 - rho the smaller is the exact one.
        let general = match load < 0.5 {
            true => Mg1::new(load * mu, service(1.0 / mu, 1.0)).unwrap(),
            false => Mg1::from_idle(service(1.0 / mu, 1.0), one.idle()).unwrap(),
        };
        assert_near(general.waiting_mean_s(), one.waiting_mean_s(), 1e-11);
        assert_near(general.in_system_mean(), one.in_system_mean(), 1e-11);
    }

    #[test]
    fn little_holds_for_every_law(
        load in 0.01_f64..0.99, mu in rate(), servers in 1_u32..200, cv2 in 0.0_f64..9.0,
        capacity in 1_u64..500,
    ) {
        let little = |per_s: f64, w_s: f64, l: f64| assert_near(l, in_system_mean(per_s, w_s), 1e-10);
        let many = Mmc::new(load * f64::from(servers) * mu, mu, servers).unwrap();
        little(many.throughput_per_s(), many.sojourn_mean_s(), many.in_system_mean());
        little(many.throughput_per_s(), many.waiting_mean_s(), many.in_queue_mean());
        let general = Mg1::new(load * mu, service(1.0 / mu, cv2)).unwrap();
        little(general.throughput_per_s(), general.sojourn_mean_s(), general.in_system_mean());
        let finite = Mm1k::new(3.0 * load * mu, mu, capacity).unwrap();
        little(finite.throughput_per_s(), finite.sojourn_mean_s(), finite.in_system_mean());
        assert_near(finite.waiting_mean_s() + 1.0 / mu, finite.sojourn_mean_s(), 1e-9);
        let row = Tandem::new(load * mu, [mu, 2.0 * mu]).unwrap();
        little(row.throughput_per_s(), row.sojourn_mean_s(), row.in_system_mean());
    }

    #[test]
    fn a_large_room_is_no_limit(load in 0.05_f64..0.95) {
        let (free, finite) = (Mm1::new(load, 1.0).unwrap(), Mm1k::new(load, 1.0, 2_000).unwrap());
        assert_near(finite.in_system_mean(), free.in_system_mean(), 1e-11);
        assert_near(finite.sojourn_mean_s(), free.sojourn_mean_s(), 1e-11);
        assert_near(finite.sojourn_tail(3.0), free.sojourn_tail(3.0), 1e-10);
        assert_near(finite.waiting_tail(3.0), free.waiting_tail(3.0), 1e-10);
        assert!(finite.loss() < 1e-40);
        let over = Mm1k::new(1.0 + load, 1.0, 2_000).unwrap();
        let flow = Saturation::new(1.0 + load, 1.0, 1).unwrap();
        assert_near(over.throughput_per_s(), flow.throughput_per_s(), 1e-11);
        assert_near(over.loss(), flow.loss(), 1e-11);
    }

    #[test]
    fn what_gets_in_gets_out(load_ln in -3.0_f64..3.0, capacity in 1_u64..100_000) {
        let queue = Mm1k::new(load_ln.exp(), 1.0, capacity).unwrap();
        assert_near(queue.throughput_per_s(), queue.utilisation(), 1e-11);
        assert_near(queue.acceptance() + queue.loss(), 1.0, 1e-12);
        assert!(queue.in_system_mean() <= capacity as f64);
    }

    #[test]
    fn the_series_and_the_formula_of_a_finite_queue_meet(capacity in 2_u64..1_000_000, sign in prop::bool::ANY) {
        let near = |product: f64| {
            let x = product / (capacity as f64 + 1.0);
            let idle = -(if sign { x } else { -x }).exp_m1();
            Mm1k::from_idle(1.0, idle, capacity).unwrap().in_system_mean()
        };
        assert_near(near(0.1 - 1e-12), near(0.1 + 1e-12), 1e-11);
        assert_near(near(1e-300), capacity as f64 / 2.0, 1e-14);
    }

    #[test]
    fn probabilities_sum_to_one_and_average_to_the_mean(load in 0.01_f64..0.9, servers in 1_u32..60, capacity in 1_u64..300) {
        let many = Mmc::new(load * f64::from(servers), 1.0, servers).unwrap();
        let p: Vec<f64> = (0..1_000).map(|n| many.in_system_probability(n)).collect();
        let mean = |p: &[f64]| p.iter().enumerate().map(|(n, p)| n as f64 * p).sum::<f64>();
        assert_near(p.iter().sum(), 1.0, 1e-11);
        assert_near(mean(&p), many.in_system_mean(), 1e-10);
        let some = u64::from(servers / 2);
        assert_near(p[some as usize..].iter().sum(), many.in_system_at_least(some), 1e-10);
        let constant = Md1::new(load, 1.0).unwrap();
        let p: Vec<f64> = (0..1_000).map(|n| constant.in_system_probability(n)).collect();
        assert_near(p.iter().sum(), 1.0, 1e-11);
        assert_near(mean(&p), constant.in_system_mean(), 1e-10);
        let finite = Mm1k::new(3.0 * load, 1.0, capacity).unwrap();
        let p: Vec<f64> = (0..=capacity).map(|n| finite.in_system_probability(n)).collect();
        assert_near(p.iter().sum(), 1.0, 1e-10);
        assert_near(mean(&p), finite.in_system_mean(), 1e-9);
        assert_near(p[capacity as usize / 2..].iter().sum(), finite.in_system_at_least(capacity / 2), 1e-9);
    }

    #[test]
    fn quantiles_invert_tails(load in 0.01_f64..0.99, servers in 1_u32..50, capacity in 1_u64..80, p in 0.0_f64..0.99999, cv2 in 0.0_f64..5.0, ca2 in 0.0_f64..5.0) {
        let many = Mmc::new(load * f64::from(servers), 1.0, servers).unwrap();
        assert_near(many.sojourn_tail(many.sojourn_quantile_s(p).unwrap()), 1.0 - p, 1e-9);
        let found = many.waiting_quantile_s(p).unwrap();
        assert!(found == 0.0 || (many.waiting_tail(found) / (1.0 - p) - 1.0).abs() < 1e-9);
        let finite = Mm1k::new(2.0 * load, 1.0, capacity).unwrap();
        assert_near(finite.sojourn_tail(finite.sojourn_quantile_s(p).unwrap()), 1.0 - p, 1e-9);
        let row = Tandem::new(load, [1.0, 1.5]).unwrap();
        assert_near(row.sojourn_tail(row.sojourn_quantile_s(p).unwrap()), 1.0 - p, 1e-9);
        let constant = Md1::new(load, 1.0).unwrap();
        let found = constant.waiting_quantile_s(p).unwrap();
        assert!(found == 0.0 || (constant.waiting_tail(found) / (1.0 - p) - 1.0).abs() < 1e-9);
        let general = Ggc::new(load * f64::from(servers), ca2, service(1.0, cv2), servers).unwrap();
        let t_s = general.sojourn_quantile_s(p).unwrap();
        assert!(general.sojourn_tail(t_s) <= (1.0 - p) * (1.0 + 1e-9));
        assert!(general.sojourn_tail(t_s * (1.0 - 1e-6)) >= (1.0 - p) * (1.0 - 1e-3));
    }

    #[test]
    fn one_class_is_no_priority(load in load(), cv2 in 0.0_f64..9.0) {
        let class = Class { arrival_per_s: load, service: service(1.0, cv2) };
        let (alone, queue) = (Priorities::new([class]).unwrap(), Mg1::new(load, class.service).unwrap());
        assert_near(alone.waiting_mean_s(0).unwrap(), queue.waiting_mean_s(), 1e-12);
        assert_eq!(alone.waiting_mean_s(1), None);
    }

    #[test]
    fn priorities_only_move_the_waiting(
        shares in prop::collection::vec((0.01_f64..1.0, 0.1_f64..10.0, 0.0_f64..5.0), 1..8),
        load in 0.05_f64..0.999,
    ) {
        let all: f64 = shares.iter().map(|(share, ..)| share).sum();
        let classes: Vec<Class> = shares.iter().map(|&(share, mean_s, cv2)| Class {
            arrival_per_s: load * share / all / mean_s,
            service: service(mean_s, cv2),
        }).collect();
        let queue = Priorities::new(classes).unwrap();
        let waits = |class: usize| queue.waiting_mean_s(class).unwrap();
        let kept: f64 = queue.classes().iter().enumerate()
            .map(|(at, class)| class.arrival_per_s * class.service.mean_s() * waits(at))
            .sum();
        assert_near(kept, queue.conserved_s(), 1e-9);
        assert!((1..queue.classes().len()).all(|class| waits(class - 1) < waits(class)));
    }

    #[test]
    fn allen_and_cunneen_are_exact_where_a_law_exists(load in 0.001_f64..0.999, servers in 1_u32..100, cv2 in 0.0_f64..9.0) {
        let arrival = load * f64::from(servers);
        let many = Mmc::new(arrival, 1.0, servers).unwrap();
        let general = Ggc::new(arrival, 1.0, service(1.0, 1.0), servers).unwrap();
        assert_near(general.waiting_mean_s(), many.waiting_mean_s(), 1e-13);
        assert_near(general.sojourn_tail(2.0), many.sojourn_tail(2.0), 1e-13);
        let one = Mg1::new(load, service(1.0, cv2)).unwrap();
        let general = Ggc::new(load, 1.0, service(1.0, cv2), 1).unwrap();
        assert_near(general.waiting_mean_s(), one.waiting_mean_s(), 1e-11);
        assert!(general.is_exact());
        let slack = 1.0 + 1e-11;
        assert!(general.waiting_mean_least_s() <= one.waiting_mean_s() * slack);
        assert!(one.waiting_mean_s() <= general.waiting_mean_most_s() * slack);
    }

    #[test]
    fn a_server_that_needs_no_waking_has_no_set_up(load in load(), mean_s in 0.0_f64..100.0, more in 0.0_f64..3.0) {
        let queue = Mg1::new(load, service(1.0, 1.0)).unwrap();
        let awake = Setup::new(queue, 0.0, 0.0).unwrap();
        assert_eq!(awake.sojourn_mean_s(), queue.sojourn_mean_s());
        assert_eq!((awake.setting_up(), awake.empty()), (0.0, queue.idle()));
        let parked = Setup::new(queue, mean_s, mean_s * mean_s * (1.0 + more)).unwrap();
        assert!(parked.added_mean_s() >= 0.0);
        assert_near(parked.empty() + parked.setting_up() + queue.load(), 1.0, 1e-12);
        assert_near(parked.sojourn_mean_s(), queue.sojourn_mean_s() + parked.added_mean_s(), 1e-13);
    }

    #[test]
    fn more_load_is_never_better(load in 0.01_f64..0.98, servers in 1_u32..40, cv2 in 0.0_f64..5.0, ca2 in 0.0_f64..5.0) {
        let at = |load: f64| {
            let arrival = load * f64::from(servers);
            let general = Ggc::new(arrival, ca2, service(1.0, cv2), servers).unwrap();
            let many = Mmc::new(arrival, 1.0, servers).unwrap();
            [
                general.waiting_mean_s(),
                many.waiting_probability(),
                many.sojourn_quantile_s(0.99).unwrap(),
                many.loss_without_queue(),
                Md1::new(load, 1.0).unwrap().waiting_tail(2.5),
                Mm1k::new(load, 1.0, 9).unwrap().loss(),
                Mm1k::new(load, 1.0, 9).unwrap().sojourn_tail(3.0),
            ]
        };
        for (less, more) in at(load).into_iter().zip(at(load * 1.01)) {
            assert!(less <= more * (1.0 + 1e-12), "{less} {more}");
        }
    }

    #[test]
    fn the_inverse_finds_the_edge(servers in 1_u32..50, load in 0.1_f64..0.95, p in 0.5_f64..0.999) {
        let queue = Mmc::new(load * f64::from(servers), 1.0, servers).unwrap();
        let targets = [
            Target::SojournMean { most_s: queue.sojourn_mean_s() },
            Target::SojournQuantile { p, most_s: queue.sojourn_quantile_s(p).unwrap() },
        ];
        for target in targets {
            let room = target.most_s() * 1.000_000_1;
            let target = match target {
                Target::SojournMean { .. } => Target::SojournMean { most_s: room },
                _ => Target::SojournQuantile { p, most_s: room },
            };
            let found = Mmc::with_fewest_servers(queue.arrival_per_s(), 1.0, target, 1_000).unwrap();
            assert!(found.servers() <= servers);
            let allowed = Mmc::arrival_for(1.0, servers, target).unwrap();
            assert!(allowed >= queue.arrival_per_s());
        }
    }

    #[test]
    fn the_capacity_for_a_loss_is_the_least(load_ln in -2.0_f64..0.5, loss_ln in -20.0_f64..-1.0) {
        let (load, loss) = (load_ln.exp(), loss_ln.exp());
        let loss_at = |capacity| Mm1k::new(load, 1.0, capacity).unwrap().loss();
        match Mm1k::capacity_for_loss(load, 1.0, loss) {
            Ok(capacity) => {
                assert!(loss_at(capacity) <= loss);
                assert!(capacity == 1 || loss_at(capacity - 1) > loss);
                let arrival = Mm1k::arrival_for_loss(1.0, capacity, loss).unwrap();
                assert!(arrival >= load * (1.0 - 1e-12));
            }
            Err(_) => assert!(loss <= 1.0 - 1.0 / load),
        }
    }

    #[test]
    fn whatever_is_accepted_answers_with_finite_numbers(
        load in load(), mu in rate(), servers in 1_u32..3_000, ca2 in 0.0_f64..1e6, cv2 in 0.0_f64..1e6,
    ) {
        let general = Ggc::new(load * f64::from(servers) * mu, ca2, service(1.0 / mu, cv2), servers);
        let general = general.unwrap();
        let answers = [
            general.waiting_mean_s(),
            general.waiting_mean_most_s(),
            general.waiting_mean_least_s(),
            general.sojourn_quantile_s(0.99).unwrap(),
            general.waiting_quantile_s(0.99).unwrap(),
            general.depth_fall_ln(),
            general.sojourn_tail(1.0),
        ];
        assert!(answers.iter().all(|answer| answer.is_finite() && *answer >= 0.0), "{answers:?}");
    }
}

/// The mean is the integral of the tail: ties every distribution to its mean, by the midpoint rule.
#[test]
fn the_area_under_every_tail_is_its_mean() {
    let area = |tail: &dyn Fn(f64) -> f64| {
        (0..40_000).map(|at| 0.005 * tail((f64::from(at) + 0.5) * 0.005)).sum::<f64>()
    };
    let many = Mmc::new(4.9, 1.0, 6).unwrap();
    assert_near(area(&|t| many.sojourn_tail(t)), many.sojourn_mean_s(), 1e-4);
    assert_near(area(&|t| many.waiting_tail(t)), many.waiting_mean_s(), 1e-4);
    let second = 2.0 * area(&|t| t * many.waiting_tail(t));
    let wait_s = many.waiting_mean_s();
    assert_near(second - wait_s * wait_s, many.waiting_variance_s2(), 1e-4);
    let finite = Mm1k::new(1.2, 1.0, 20).unwrap();
    assert_near(area(&|t| finite.sojourn_tail(t)), finite.sojourn_mean_s(), 1e-4);
    assert_near(area(&|t| finite.waiting_tail(t)), finite.waiting_mean_s(), 1e-4);
    let row = Tandem::new(0.7, [1.0, 1.2]).unwrap();
    assert_near(area(&|t| row.sojourn_tail(t)), row.sojourn_mean_s(), 1e-4);
    let constant = Md1::new(0.8, 1.0).unwrap();
    assert_near(area(&|t| constant.waiting_tail(t)), constant.waiting_mean_s(), 1e-4);
    let second = 2.0 * area(&|t| t * constant.waiting_tail(t));
    let wait_s = constant.waiting_mean_s();
    assert_near(second - wait_s * wait_s, constant.waiting_variance_s2(), 1e-4);
}

/// At the ends of what is accepted: ten million places, a hundred thousand servers, 1 - rho of 1e-12.
#[test]
fn digits_survive_the_ends_of_the_range() {
    let idle = 1e-12;
    let one = Mmc::from_idle(1.0, 1, idle).unwrap();
    assert_near(one.sojourn_mean_s(), 1e12, 1e-12);
    let general = Mg1::from_idle(service(1.0, 1.0), idle).unwrap();
    assert_near(general.waiting_mean_s(), 1e12, 1e-11);
    let constant = Md1::from_idle(1.0, idle).unwrap();
    assert_near(constant.waiting_mean_s(), 0.5e12, 1e-11);
    // Near saturation the wait is exponential, whatever the services (Kingman 1961).
    assert_near(constant.waiting_quantile_s(0.99).unwrap(), 0.5e12 * 100_f64.ln(), 1e-9);
    let many = Mmc::from_idle(1.0, SERVERS_MAX, idle).unwrap();
    assert_near(many.waiting_probability(), 1.0, 1e-8);
    assert_near(many.waiting_mean_s(), 1e7, 1e-8);
    let quiet = Mmc::new(1.0, 1.0, 1_000).unwrap();
    assert_eq!((quiet.waiting_probability(), quiet.waiting_mean_s()), (0.0, 0.0));
    assert_near(quiet.in_system_probability(2), (-1.0_f64).exp() / 2.0, 1e-13);
    let large = Mm1k::from_idle(1.0, 0.0, 10_000_000).unwrap();
    assert_near(large.loss(), 1.0 / 10_000_001.0, 1e-13);
    assert_near(large.sojourn_mean_s(), 5_000_000.5, 1e-6);
    let tail = large.sojourn_tail(5_000_000.0);
    assert_near(tail, 0.5, 1e-3);
}

#[test]
fn what_is_no_stable_queue_is_refused_by_name_by_every_law() {
    use ModelError::{NotANumber, OutOfRange, Unstable};
    let exponential = service(1.0, 1.0);
    assert!(matches!(Mmc::new(3.0, 1.0, 3), Err(Unstable { service_per_s: 3.0, .. })));
    assert!(matches!(Mg1::new(1.0, exponential), Err(Unstable { .. })));
    assert!(matches!(Md1::new(2.0, 1.0), Err(Unstable { .. })));
    assert!(matches!(Ggc::new(4.0, 1.0, exponential, 4), Err(Unstable { .. })));
    assert!(matches!(Tandem::new(1.0, [2.0, 1.0]), Err(Unstable { .. })));
    let quantity = Quantity::ArrivalRate;
    for refused in [
        Mmc::new(f64::NAN, 1.0, 1).unwrap_err(),
        Mg1::new(f64::NAN, exponential).unwrap_err(),
        Md1::new(f64::NAN, 1.0).unwrap_err(),
        Mm1k::new(f64::NAN, 1.0, 1).unwrap_err(),
        Ggc::new(f64::NAN, 1.0, exponential, 1).unwrap_err(),
        Tandem::new(f64::NAN, [1.0, 1.0]).unwrap_err(),
        Saturation::new(f64::NAN, 1.0, 1).unwrap_err(),
    ] {
        assert_eq!(refused, NotANumber { quantity });
    }
    for servers in [0, SERVERS_MAX + 1, u32::MAX] {
        assert!(Mmc::new(0.5, 1.0, servers).is_err());
        assert!(Ggc::new(0.5, 1.0, exponential, servers).is_err());
    }
    for capacity in [0, CAPACITY_MAX + 1, u64::MAX] {
        assert!(Mm1k::new(0.5, 1.0, capacity).is_err());
    }
    for idle in [f64::NAN, 0.0, -0.5, 1.0, f64::INFINITY] {
        assert!(Mmc::from_idle(1.0, 2, idle).is_err());
        assert!(Mg1::from_idle(exponential, idle).is_err());
        assert!(Md1::from_idle(1.0, idle).is_err());
    }
    assert!(Mm1k::from_idle(1.0, f64::NAN, 5).is_err() && Mm1k::from_idle(1.0, 1.0, 5).is_err());
    let queue = Mg1::new(0.5, exponential).unwrap();
    assert!(matches!(Setup::new(queue, 1.0, 0.9), Err(OutOfRange { .. })));
    assert!(Setup::new(queue, -1.0, 1.0).is_err() && Setup::new(queue, f64::NAN, 1.0).is_err());
    assert!(queue.waiting_variance_s2(3.9).is_err());
    assert_near(queue.waiting_variance_s2(6.0).unwrap(), 3.0, 1e-12);
    for loss in [f64::NAN, 0.0, 1.0, -1.0] {
        assert!(Mm1k::capacity_for_loss(1.0, 2.0, loss).is_err());
    }
    let impossible = Mm1k::capacity_for_loss(2.0, 1.0, 0.4).unwrap_err();
    assert!(matches!(impossible, ModelError::Unattainable { least: 0.5, .. }), "{impossible}");
    let late = Target::SojournMean { most_s: 0.9 };
    let impossible = Mmc::with_fewest_servers(1.0, 1.0, late, 9).unwrap_err();
    assert!(matches!(impossible, ModelError::Unattainable { least: 1.0, .. }), "{impossible}");
}
