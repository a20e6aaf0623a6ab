//! The laws of `model` against values computed apart from this crate, with 60 decimal digits.
//!
//! Twelve digits of each are pinned, to a relative 1e-11: what is left for rounding is three digits.

use millstream::model::{Class, Ggc, Md1, Mg1, Mm1k, Mmc, Priorities, ServiceTime, Setup, Tandem};

#[track_caller]
fn assert_near(found: f64, expected: f64) {
    let off = (found - expected).abs() / expected.abs();
    assert!(off <= 1e-11, "{found:.15e} is off {expected:.15e} by {off:e}");
}

#[test]
fn a_finite_queue_loses_what_it_must() {
    let queue = Mm1k::new(0.8, 1.0, 5).unwrap();
    assert_near(queue.loss(), 0.0888194986556);
    assert_near(queue.in_system_mean(), 1.86833203227);
    assert_near(queue.in_system_probability(0), 0.271055598924);
    let full = Mm1k::new(7.0, 7.0, 5).unwrap();
    assert_near(full.loss(), 0.166666666667);
    assert_near(full.in_system_mean(), 2.5);
    let over = Mm1k::new(1.5, 1.0, 64).unwrap();
    assert_near(over.loss(), 0.333333333335);
    assert_near(over.in_system_mean(), 62.0000000002);
    assert_near(over.in_system_probability(0), 1.79076321906e-12);
}

#[test]
fn a_finite_queue_near_saturation_keeps_its_digits() {
    assert_near(Mm1k::new(0.95, 1.0, 1_000).unwrap().loss(), 2.64591137387e-24);
    let large = [
        Mm1k::new(1_000_001.0, 1_000_000.0, 1_000_000).unwrap(),
        Mm1k::from_idle(1_000_000.0, -1e-6, 1_000_000).unwrap(),
    ];
    for queue in large {
        assert_near(queue.loss(), 1.58197466456e-6);
        assert_near(queue.in_system_mean(), 581976.828509);
    }
}

#[test]
fn erlangs_formula_holds_from_two_servers_to_ten_thousand() {
    let rows = [
        (2, 1.4, 0.576470588235, Some(0.960784313725)),
        (4, 2.8, 0.428654318233, Some(0.357211931860)),
        (8, 6.4, 0.457644925442, Some(0.286028078401)),
        (100, 95.0, 0.506456853913, None),
        (10_000, 9_900.0, 0.222776928864, None),
    ];
    for (servers, offered, waits, waiting_mean_s) in rows {
        let queue = Mmc::new(offered, 1.0, servers).unwrap();
        assert_near(queue.waiting_probability(), waits);
        if let Some(waiting_mean_s) = waiting_mean_s {
            assert_near(queue.waiting_mean_s(), waiting_mean_s);
        }
    }
    for (servers, offered, loss) in
        [(100, 95.0, 0.0488042061787), (10_000, 9_900.0, 0.00285812673886)]
    {
        let queue = Mmc::new(offered, 1.0, servers).unwrap();
        assert_near(queue.loss_without_queue(), loss);
    }
}

#[test]
fn variability_costs_as_pollaczek_and_khinchine_say() {
    for (load, cv2, wait) in [(0.8, 0.0, 2.0), (0.9, 4.0, 22.5), (0.5, 0.5, 0.75)] {
        let queue = Mg1::new(load, ServiceTime::new(1.0, cv2).unwrap()).unwrap();
        assert_near(queue.waiting_mean_s(), wait);
    }
}

#[test]
fn constant_services_have_the_known_states() {
    let half = Md1::new(0.5, 1.0).unwrap();
    assert_near(half.in_system_probability(0), 0.5);
    assert_near(half.in_system_probability(1), 0.324360635350);
    assert_near(half.in_system_probability(2), 0.122599961204);
    let busy = Md1::new(900.0, 0.001).unwrap();
    assert_near(busy.in_system_probability(1), 0.145960311116);
    assert_near(busy.in_system_probability(2), 0.137640155321);
}

#[test]
fn heavy_traffic_has_kingmans_and_allens_values() {
    let ggc = |load, arrival_cv2, cv2, servers| {
        Ggc::new(load, arrival_cv2, ServiceTime::new(1.0, cv2).unwrap(), servers).unwrap()
    };
    assert_near(ggc(0.9, 1.0, 0.5, 1).waiting_mean_s(), 6.75);
    assert_near(ggc(2.8, 1.0, 0.9, 4).waiting_mean_s(), 0.339351335267);
    assert_near(ggc(6.4, 0.5, 2.0, 8).waiting_mean_s(), 0.357535098002);
}

#[test]
fn a_wake_up_adds_what_welch_says() {
    let queue =
        |arrival, service| Mg1::new(arrival, ServiceTime::exponential(service).unwrap()).unwrap();
    let constant = Setup::new(queue(0.005, 100.0), 30.0, 900.0).unwrap();
    assert_near(constant.sojourn_mean_s(), 228.043478261);
    let exponential = Setup::new(queue(0.016, 50.0), 30.0, 1_800.0).unwrap();
    assert_near(exponential.sojourn_mean_s(), 280.0);
}

#[test]
fn the_distribution_of_many_servers_is_known_where_the_rates_are_equal_too() {
    // The last two have c - a = 1, where the textbook's formula divides by zero.
    let rows = [
        (2, 1.4, 3.0, 0.2162599852159, 8.265576495392),
        (4, 2.8, 2.0, 0.2309623389860, 5.492557496410),
        (8, 7.0, 3.0, 0.1446786343687, 6.202667958984),
        (3, 2.0, 4.0, 0.05087677469093, 5.891174416603),
    ];
    for (servers, offered, t_s, tail, p99_s) in rows {
        let queue = Mmc::new(offered, 1.0, servers).unwrap();
        assert_near(queue.sojourn_tail(t_s), tail);
        assert_near(queue.sojourn_quantile_s(0.99).unwrap(), p99_s);
    }
    let rows = [
        (8, 6.4, 0, 0.001311110750196),
        (8, 6.4, 5, 0.1173162040318),
        (8, 6.4, 20, 0.006289823961452),
        (100, 95.0, 90, 0.02656710725073),
        (10_000, 9_900.0, 9_800, 0.002242745604996),
    ];
    for (servers, offered, n, probability) in rows {
        let queue = Mmc::new(offered, 1.0, servers).unwrap();
        assert_near(queue.in_system_probability(n), probability);
    }
}

/// By Erlang's alternating series in 400 digits.
#[test]
fn the_wait_for_constant_services_is_known_to_the_last_digit_however_rare() {
    let rows = [
        (0.5, 0.5, 0.3579872916561),
        (0.5, 3.25, 0.01115099636023),
        (0.8, 7.5, 0.03422723608193),
        (0.9, 40.1, 0.0002304211891782),
        (0.9, 125.5, 4.783191961614e-12),
        (0.9, 126.5, 3.88825937128e-12),
        (0.01, 2.5, 2.266041323948e-8),
        (0.01, 5.0, 1.624115311258e-15),
        (0.3, 130.0, 1.406451726102e-117),
    ];
    for (load, t_s, tail) in rows {
        assert_near(Md1::new(load, 1.0).unwrap().waiting_tail(t_s), tail);
    }
    assert_near(Md1::from_idle(1.0, 0.001).unwrap().waiting_tail(300.0), 0.5483360103044);
    let rows = [
        (0.9, 10, 0.02706644790641),
        (0.9, 127, 8.068801513509e-13),
        (0.9, 128, 6.559133179617e-13),
        (0.9, 200, 2.185447914973e-19),
        (0.3, 5, 0.000116327032345),
        (0.3, 150, 1.130370535733e-134),
    ];
    for (load, n, probability) in rows {
        assert_near(Md1::new(load, 1.0).unwrap().in_system_probability(n), probability);
    }
    assert_near(Md1::new(0.9, 1.0).unwrap().in_system_at_least(10), 0.1446634274767);
    assert_near(Md1::new(0.3, 1.0).unwrap().in_system_at_least(10), 4.369461861098e-9);
}

#[test]
fn the_sojourn_in_a_finite_queue_is_a_mixture_of_erlangs() {
    let rows = [
        (0.8, 5, 3.0, 0.3406895201927),
        (1.0, 5, 8.0, 0.03182422130035),
        (1.5, 64, 60.0, 0.5837673733373),
        (0.95, 200, 50.0, 0.08205282212784),
    ];
    for (load, capacity, t_s, tail) in rows {
        assert_near(Mm1k::new(load, 1.0, capacity).unwrap().sojourn_tail(t_s), tail);
    }
}

#[test]
fn classes_wait_as_cobham_says() {
    let class = |arrival_per_s, mean_s, second_s2| Class {
        arrival_per_s,
        service: ServiceTime::from_moments(mean_s, second_s2).unwrap(),
    };
    let three = Priorities::new([class(0.2, 1.0, 2.0), class(0.3, 1.0, 2.0), class(0.3, 1.0, 2.0)]);
    let two = Priorities::new([class(0.1, 2.0, 8.0), class(0.5, 1.0, 1.5)]);
    let rows =
        [(three.unwrap(), vec![1.0, 2.0, 8.0]), (two.unwrap(), vec![0.96875, 3.22916666667])];
    for (queue, waits) in rows {
        for (at, wait) in waits.into_iter().enumerate() {
            assert_near(queue.waiting_mean_s(at).unwrap(), wait);
        }
    }
}

#[test]
fn two_queues_in_a_row_take_the_sum() {
    let tandem = |arrival, stages| Tandem::new(arrival, stages).unwrap();
    assert_near(tandem(800.0, [1_000.0, 1_600.0]).sojourn_mean_s(), 0.00625);
    assert_near(tandem(500.0, [1_000.0, 900.0]).sojourn_mean_s(), 0.0045);
}

/// By hand, from the formulas' sources.
#[test]
fn the_bounds_on_a_mean_wait_have_their_values() {
    let ggc = |arrival, arrival_cv2, cv2, servers| {
        Ggc::new(arrival, arrival_cv2, ServiceTime::new(1.0, cv2).unwrap(), servers).unwrap()
    };
    // 2 (1/4 + 4/4) / (2 (1 - 1/2)).
    assert_near(ggc(2.0, 1.0, 4.0, 4).waiting_mean_most_s(), 2.5);
    // 0.9 (0.5 / 0.81 + 2) / (2 (1 - 0.9)): Kingman's bound.
    assert_near(ggc(0.9, 0.5, 2.0, 1).waiting_mean_most_s(), 0.9 * (0.5 / 0.81 + 2.0) / 0.2);
    // 0.9 / 8 / 0.1 - 3/8.
    assert_near(ggc(3.6, 1.0, 0.0, 4).waiting_mean_least_s(), 0.75);
    assert_eq!(ggc(3.6, 0.5, 0.0, 4).waiting_mean_least_s(), 0.0);
}
