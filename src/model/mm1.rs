//! M/M/1: Poisson arrivals, exponential service, one server, no limit to the queue.
//!
//! ```text
//!   lambda --> [ waiting ... ] --> ( server, mu ) -->      rho = lambda / mu < 1
//!   |-------- Wq -----------|------ 1/mu ------|
//!   |------------------- W --------------------|
//! ```
//!
//! The number in the system is geometric, the sojourn exponential with rate mu - lambda. Everything else follows.
//! Means hold for any order of service that does not look at the service times; the distributions of sojourn and
//! waiting hold for first come, first served.
//!
//! # Precision
//!
//! Near saturation all depends on 1 - rho. It is computed as (mu - lambda) / mu: the difference of two doubles within a
//! factor of two is exact, while 1 - lambda / mu would keep the rounding error of the quotient.
//!
//! # Limits
//!
//! Of the rates: [`RATE_PER_S_MIN`](super::RATE_PER_S_MIN) and [`RATE_PER_S_MAX`](super::RATE_PER_S_MAX).
//!
//! Source: A. K. Erlang 1909; L. Kleinrock, "Queueing Systems I", chapter 3 (1975).

use super::error::{below_one, rate};
use super::{ModelError, Quantity};

/// A stable M/M/1 queue: 0 < lambda < mu.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mm1 {
    arrival_per_s: f64,
    service_per_s: f64,
}

impl Mm1 {
    /// The queue in which `arrival_per_s` (lambda) messages arrive and `service_per_s` (mu) can be served in a second.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the rate at fault;
    /// [`ModelError::Unstable`] unless lambda < mu.
    pub fn new(arrival_per_s: f64, service_per_s: f64) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        match arrival_per_s < service_per_s {
            true => Ok(Self { arrival_per_s, service_per_s }),
            false => Err(ModelError::Unstable { arrival_per_s, service_per_s }),
        }
    }

    /// Messages that arrive per second: lambda.
    pub fn arrival_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Messages that leave per second, in the long run: lambda, since all that enter leave.
    pub fn throughput_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Messages per second that the server could do at most: mu.
    pub fn throughput_max_per_s(&self) -> f64 {
        self.service_per_s
    }

    /// The share of time that the server is busy: rho = lambda / mu.
    pub fn load(&self) -> f64 {
        self.arrival_per_s / self.service_per_s
    }

    /// The share of time that the system is empty: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.spare_per_s() / self.service_per_s
    }

    /// Mean number in the system: L = rho / (1 - rho).
    pub fn in_system_mean(&self) -> f64 {
        self.arrival_per_s / self.spare_per_s()
    }

    /// Mean number that wait: Lq = rho^2 / (1 - rho).
    pub fn in_queue_mean(&self) -> f64 {
        self.load() * self.in_system_mean()
    }

    /// Mean time from arrival to the end of service, in seconds: W = 1 / (mu - lambda).
    pub fn sojourn_mean_s(&self) -> f64 {
        1.0 / self.spare_per_s()
    }

    /// Mean time from arrival to the start of service, in seconds: Wq = rho / (mu - lambda).
    pub fn waiting_mean_s(&self) -> f64 {
        self.load() / self.spare_per_s()
    }

    /// Probability of exactly `n` messages in the system: P(N = n) = (1 - rho) rho^n.
    ///
    /// Also what an arriving message finds (PASTA: R. W. Wolff 1982).
    pub fn in_system_probability(&self, n: u64) -> f64 {
        self.idle() * self.load_power(n)
    }

    /// Probability of `n` messages or more in the system: P(N >= n) = rho^n.
    pub fn in_system_at_least(&self, n: u64) -> f64 {
        self.load_power(n)
    }

    /// Probability that a sojourn lasts more than `t_s` seconds: P(W > t) = exp(-(mu - lambda) t), 1 for t <= 0.
    ///
    /// First come, first served. NaN counts as 0.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        (-self.spare_per_s() * t_s.max(0.0)).exp()
    }

    /// Probability of waiting more than `t_s` seconds: P(Wq > t) = rho exp(-(mu - lambda) t), for t >= 0.
    ///
    /// First come, first served. An idle server is found with probability 1 - rho, so it is below 1 at t = 0 too.
    /// A negative `t_s` or NaN counts as 0.
    pub fn waiting_tail(&self, t_s: f64) -> f64 {
        self.load() * self.sojourn_tail(t_s)
    }

    /// The time in seconds that a share `p` of the sojourns does not exceed: -ln(1 - p) / (mu - lambda).
    ///
    /// First come, first served.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1: no time covers all sojourns.
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        let p = below_one(Quantity::Probability, p)?;
        Ok(-(-p).ln_1p() / self.spare_per_s())
    }

    /// The time in seconds that a share `p` of the waits does not exceed: ln(rho / (1 - p)) / (mu - lambda), and 0
    /// where a share `p` does not wait at all (p <= 1 - rho).
    ///
    /// First come, first served.
    ///
    /// # Errors
    ///
    /// As [`Self::sojourn_quantile_s`].
    pub fn waiting_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        let p = below_one(Quantity::Probability, p)?;
        Ok(((self.load_ln() - (-p).ln_1p()) / self.spare_per_s()).max(0.0))
    }

    /// mu - lambda, which is never 0.
    fn spare_per_s(&self) -> f64 {
        self.service_per_s - self.arrival_per_s
    }

    /// rho^n; its logarithm from whichever of rho and 1 - rho is the exact one.
    fn load_power(&self, n: u64) -> f64 {
        (n as f64 * self.load_ln()).exp()
    }

    fn load_ln(&self) -> f64 {
        match self.load() < 0.5 {
            true => self.load().ln(),
            false => (-self.idle()).ln_1p(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RATE_PER_S_MAX, RATE_PER_S_MIN, in_system_mean};

    #[track_caller]
    fn assert_near(found: f64, expected: f64, relative: f64) {
        let off = (found - expected).abs() / expected.abs();
        assert!(off <= relative, "{found} is off {expected} by {off:e}");
    }

    fn every_load() -> impl Iterator<Item = Mm1> {
        (1..1_000).map(|permille| Mm1::new(f64::from(permille) * 10.0, 10_000.0).unwrap())
    }

    /// Computed apart from this crate with 60 decimal digits.
    #[test]
    fn the_formulas_give_the_reference_values() {
        struct Row {
            rates: (f64, f64),
            w: f64,
            l: f64,
            n: (u64, f64),
            tail: (f64, f64),
            p99: f64,
        }
        let rows = [
            Row {
                rates: (8_000.0, 10_000.0),
                w: 0.0005,
                l: 4.0,
                n: (3, 0.1024),
                tail: (0.001, 0.135335283237),
                p99: 0.00230258509299,
            },
            Row {
                rates: (1_000.0, 10_000.0),
                w: 0.000111111111111,
                l: 0.111111111111,
                n: (0, 0.9),
                tail: (0.0002, 0.165298888222),
                p99: 0.000511685576221,
            },
            Row {
                rates: (9_500.0, 10_000.0),
                w: 0.002,
                l: 19.0,
                n: (40, 0.00642560782826),
                tail: (0.01, 0.00673794699909),
                p99: 0.00921034037198,
            },
        ];
        for row in rows {
            let queue = Mm1::new(row.rates.0, row.rates.1).unwrap();
            assert_near(queue.sojourn_mean_s(), row.w, 1e-11);
            assert_near(queue.in_system_mean(), row.l, 1e-11);
            assert_near(queue.in_system_probability(row.n.0), row.n.1, 1e-11);
            assert_near(queue.sojourn_tail(row.tail.0), row.tail.1, 1e-11);
            assert_near(queue.sojourn_quantile_s(0.99).unwrap(), row.p99, 1e-11);
        }
    }

    #[test]
    fn littles_law_holds_for_system_and_queue_at_every_load() {
        for queue in every_load() {
            let (per_s, w) = (queue.throughput_per_s(), queue.sojourn_mean_s());
            assert_near(queue.in_system_mean(), in_system_mean(per_s, w), 1e-14);
            let waiting = queue.waiting_mean_s();
            assert_near(queue.in_queue_mean(), in_system_mean(per_s, waiting), 1e-14);
        }
    }

    #[test]
    fn a_sojourn_is_a_wait_and_a_service() {
        for queue in every_load() {
            let service_s = 1.0 / queue.throughput_max_per_s();
            assert_near(queue.waiting_mean_s() + service_s, queue.sojourn_mean_s(), 1e-12);
        }
    }

    #[test]
    fn the_quantile_inverts_the_tail() {
        for queue in every_load() {
            for p in [0.0, 1e-9, 0.25, 0.5, 0.9, 0.99, 0.999999] {
                let t_s = queue.sojourn_quantile_s(p).unwrap();
                assert_near(queue.sojourn_tail(t_s), 1.0 - p, 1e-11);
            }
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_their_mean_is_the_mean() {
        for load in [0.001, 0.3, 0.5, 0.8, 0.99] {
            let queue = Mm1::new(load * 1e6, 1e6).unwrap();
            let p = |n| queue.in_system_probability(n);
            assert_near((0..20_000).map(p).sum(), 1.0, 1e-11);
            assert_near((0..20_000).map(|n| n as f64 * p(n)).sum(), queue.in_system_mean(), 1e-11);
            assert_near((7..20_000).map(p).sum(), queue.in_system_at_least(7), 1e-10);
        }
    }

    /// The mean is the integral of the tail: ties W to P(W > t), and Wq to P(Wq > t), by the midpoint rule.
    #[test]
    fn the_area_under_a_tail_is_its_mean() {
        let queue = Mm1::new(700.0, 1_000.0).unwrap();
        let step_s = 1e-5;
        let area = |tail: fn(&Mm1, f64) -> f64| -> f64 {
            (0..20_000).map(|at| step_s * tail(&queue, (f64::from(at) + 0.5) * step_s)).sum()
        };
        assert_near(area(Mm1::sojourn_tail), queue.sojourn_mean_s(), 1e-6);
        assert_near(area(Mm1::waiting_tail), queue.waiting_mean_s(), 1e-6);
    }

    /// At rho = 1 - 1e-12 the naive 1 - lambda / mu is wrong in the fourth digit.
    #[test]
    fn precision_survives_the_neighbourhood_of_saturation() {
        let queue = Mm1::new(1e12 - 1.0, 1e12).unwrap();
        assert_eq!(queue.sojourn_mean_s(), 1.0);
        assert_near(queue.in_system_at_least(1_000_000_000_000), (-1.0_f64).exp(), 1e-11);
        let quiet = Mm1::new(1e-6, 1e6).unwrap();
        assert_near(quiet.in_system_at_least(2), 1e-24, 1e-11);
    }

    #[test]
    fn every_accepted_queue_answers_with_finite_numbers() {
        let ends = [
            (RATE_PER_S_MIN, RATE_PER_S_MIN.next_up()),
            (RATE_PER_S_MAX.next_down(), RATE_PER_S_MAX),
            (RATE_PER_S_MIN, RATE_PER_S_MAX),
        ];
        for (arrival, service) in ends {
            let queue = Mm1::new(arrival, service).unwrap();
            let answers = [
                queue.sojourn_mean_s(),
                queue.in_system_mean(),
                queue.in_system_probability(u64::MAX),
                queue.sojourn_tail(f64::INFINITY),
                queue.sojourn_tail(f64::NAN),
                queue.waiting_tail(-1.0),
                queue.sojourn_quantile_s(1.0_f64.next_down()).unwrap(),
            ];
            assert!(answers.iter().all(|number| number.is_finite()), "{answers:?}");
        }
    }

    #[test]
    fn what_is_no_stable_queue_is_refused_by_name() {
        use ModelError::{NotANumber, NotPositive, OutOfRange, Unstable};
        let refused = |arrival, service| Mm1::new(arrival, service).unwrap_err();
        let unstable = |arrival_per_s, service_per_s| Unstable { arrival_per_s, service_per_s };
        assert_eq!(refused(5.0, 5.0), unstable(5.0, 5.0));
        assert_eq!(refused(6.0, 5.0), unstable(6.0, 5.0));
        for (quantity, at) in [(Quantity::ArrivalRate, 0), (Quantity::ServiceRate, 1)] {
            let refused = |value: f64| match at {
                0 => refused(value, 5.0),
                _ => refused(5.0, value),
            };
            assert_eq!(refused(f64::NAN), NotANumber { quantity });
            for value in [0.0, -0.0, -1.0, f64::NEG_INFINITY] {
                assert_eq!(refused(value), NotPositive { quantity, value });
            }
            for given in [f64::INFINITY, 1e13, 1e-13] {
                let error = refused(given);
                assert!(
                    matches!(error, OutOfRange { quantity: q, value, .. } if q == quantity && value == given),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_quantile_of_no_probability_is_refused() {
        let queue = Mm1::new(1.0, 2.0).unwrap();
        for p in [-0.1, 1.0, f64::INFINITY] {
            let error = queue.sojourn_quantile_s(p).unwrap_err();
            assert!(matches!(error, ModelError::OutOfRange { value, .. } if value == p));
        }
        let quantity = Quantity::Probability;
        assert_eq!(queue.sojourn_quantile_s(f64::NAN), Err(ModelError::NotANumber { quantity }));
    }
}
