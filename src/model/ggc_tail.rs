//! G/G/c, the distributions: how rare is a long wait, from means and variabilities alone. An approximation.
//!
//! Far out every wait falls exponentially, at a rate theta that gaps and services determine; and theta is known:
//!
//! ```text
//!   E[e^(-theta A)] E[e^(theta S / c)] = 1        A, S gamma distributed with the given means and variabilities
//!
//!   P(Wq > t) about min(P(wait), alpha e^(-theta t)),    alpha = theta Wq f,   Wq by Allen and Cunneen
//!   P(W > t)  by adding a gamma service to that
//! ```
//!
//! theta Wq is the factor that gives the right mean; f corrects that the start of the curve is not exponential, by what
//! it is in M/G/1 at the same load, where alpha is known: (1 - rho) / (lambda E\[S e^(theta S)\] - 1). So it is exact for
//! M/M/c, right to the first order far out for M/G/1 with gamma services, and M/D/1 is taken from [`Md1`] altogether.
//!
//! # Error
//!
//! Against simulation, at loads of 0.5, 0.7 and 0.9 with 1, 4 and 16 servers; the first figure is too low by so much,
//! the second too high. `tests/model_plan.rs` asserts these ranges, give or take 3 points of noise in its samples.
//!
//! | gaps | services | p99 of the sojourn | mean sojourn |
//! |---|---|---|---|
//! | Poisson | constant, Erlang | -5 .. +2 % | -1 .. +1 % |
//! | Poisson | hyperexponential, cs2 = 4 | -11 .. +2 % | 0 .. +7 % |
//! | Poisson | lognormal, cs2 = 2 | -18 .. +2 % | 0 .. +5 % |
//! | Erlang 4 or constant | exponential, Erlang | 0 .. +11 % | 0 .. +20 % |
//! | hyperexponential, ca2 = 4 | exponential | -3 .. +30 % | -10 .. +11 % |
//! | hyperexponential, ca2 = 4 | constant | -26 .. +75 % | -12 .. +30 % |
//!
//! So it is good for Poisson arrivals and services no more variable than exponential, and on the safe side for arrivals
//! that are steadier than Poisson. It is poor for bursty arrivals at low load, and too low where the services' tail is
//! heavier than a gamma's: a lognormal of cs2 = 4 has its p999 at low load up to twice as late. Medians of the wait are not
//! to be trusted: at low load the mean wait of many servers itself is off by any factor, though then it is small beside
//! the service.
//!
//! Source: R. M. Loynes, Kingman and Feller for theta at c = 1 (W. Feller, "An Introduction to Probability Theory" II, XII.5,
//! 1971); M. F. Neuts and Y. Takahashi, "Asymptotic behavior of the stationary distributions in the GI/PH/c queue" (1981)
//! for c servers; f is ours.

use super::error::below_one;
use super::ggc::Ggc;
use super::invert::{first_where, quantile_s};
use super::{Md1, ModelError, Quantity, gamma};

/// Who waits (a share `waits`) waits `shift_s` and an exponential time of rate `decay_per_s`.
struct Wait {
    waits: f64,
    shift_s: f64,
    decay_per_s: f64,
}

impl Ggc {
    /// Whether the distributions are theorems here, not approximations: M/M/c and M/D/1.
    pub fn is_exact_in_distribution(&self) -> bool {
        self.is_markov() || self.as_md1().is_some()
    }

    /// The rate per second at which the probability of long waits falls: theta. Infinite if nothing varies.
    pub fn decay_per_s(&self) -> f64 {
        let fastest = decay(self.load(), self.idle(), self.arrival_cv2(), self.service().cv2());
        f64::from(self.markov().servers()) * fastest / self.service().mean_s()
    }

    /// -ln r, where P(N >= n) falls as r^n for large n, approximately: what the decay of the wait makes of the depth,
    /// r = E\[e^(-theta A)\]. ln(1 / rho) for M/M/c.
    pub fn depth_fall_ln(&self) -> f64 {
        if self.is_markov() {
            return -(-self.idle()).ln_1p();
        }
        let (gap_s, cv2) = (1.0 / self.throughput_per_s(), self.arrival_cv2());
        match cv2 > 0.0 {
            true => (self.decay_per_s() * gap_s * cv2).ln_1p() / cv2,
            false => self.decay_per_s() * gap_s,
        }
    }

    /// Probability of waiting more than `t_s` seconds, approximately; see the page for how well. NaN counts as 0.
    pub fn waiting_tail(&self, t_s: f64) -> f64 {
        let t_s = t_s.max(0.0);
        if self.is_markov() {
            return self.markov().waiting_tail(t_s);
        }
        match self.as_md1() {
            Some(queue) => queue.waiting_tail(t_s),
            None => self.wait().tail(t_s),
        }
    }

    /// Probability that a sojourn lasts more than `t_s` seconds, approximately. NaN counts as 0.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        let t_s = t_s.max(0.0);
        if self.is_markov() {
            return self.markov().sojourn_tail(t_s);
        }
        match self.as_md1() {
            Some(queue) => queue.sojourn_tail(t_s),
            None => self.sojourn_tail_over(&self.wait(), t_s),
        }
    }

    /// The time in seconds that a share `p` of the waits does not exceed, approximately.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
    pub fn waiting_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        if self.is_markov() {
            return self.markov().waiting_quantile_s(p);
        }
        match self.as_md1() {
            Some(queue) => queue.waiting_quantile_s(p),
            None => self.wait().quantile_s(p),
        }
    }

    /// The time in seconds that a share `p` of the sojourns does not exceed, approximately.
    ///
    /// # Errors
    ///
    /// As [`Self::waiting_quantile_s`].
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        if self.is_markov() {
            return self.markov().sojourn_quantile_s(p);
        }
        if let Some(queue) = self.as_md1() {
            return queue.sojourn_quantile_s(p);
        }
        let wait = self.wait();
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.sojourn_tail_over(&wait, t_s))
    }

    /// The time in seconds that a share `p` of the services does not exceed, if they are gamma distributed: what no
    /// number of servers can undercut.
    ///
    /// # Errors
    ///
    /// As [`Self::waiting_quantile_s`].
    pub fn service_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        gamma::service_quantile_s(&self.service(), p)
    }

    fn sojourn_tail_over(&self, wait: &Wait, t_s: f64) -> f64 {
        let service = self.service();
        let late_s = t_s - wait.shift_s;
        let waited = gamma::tail_with_exponential(&service, wait.decay_per_s, late_s);
        (1.0 - wait.waits) * gamma::tail(&service, t_s) + wait.waits * waited
    }

    fn is_markov(&self) -> bool {
        self.arrival_cv2() == 1.0 && self.service().cv2() == 1.0
    }

    fn as_md1(&self) -> Option<Md1> {
        let constant = self.arrival_cv2() == 1.0 && self.service().cv2() == 0.0;
        let queue = Md1::new(self.throughput_per_s(), self.service().mean_s());
        queue.ok().filter(|_| constant && self.markov().servers() == 1)
    }

    fn wait(&self) -> Wait {
        let decay_per_s = self.decay_per_s();
        if decay_per_s.is_infinite() {
            return Wait { waits: 0.0, shift_s: 0.0, decay_per_s: f64::MAX };
        }
        let start = shape(self.load(), self.idle(), self.service().cv2());
        let alpha = decay_per_s * self.waiting_mean_s() * start;
        let most = self.markov().waiting_probability();
        let shift_s = (alpha / most).ln().max(0.0) / decay_per_s;
        Wait { waits: alpha.min(most), shift_s, decay_per_s }
    }
}

impl Wait {
    fn tail(&self, t_s: f64) -> f64 {
        self.waits * (-self.decay_per_s * (t_s - self.shift_s).max(0.0)).exp()
    }

    fn quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        let beyond = 1.0 - below_one(Quantity::Probability, p)?;
        match self.waits > beyond {
            true => Ok(self.shift_s + (self.waits / beyond).ln() / self.decay_per_s),
            false => Ok(0.0),
        }
    }
}

/// The root u > 0 of ln(1 + ca2 u / rho) / ca2 + ln(1 - cs2 u) / cs2 = 0: theta in units of c / s.
///
/// The left side is concave, 0 at 0 and rises there, so there is one root. Its lower bracket comes from
/// ln(1 + x) >= x - x^2 / 2, and from ln(1 - x) >= -x - x^2 up to x = 1/2.
fn decay(load: f64, idle: f64, arrival_cv2: f64, cv2: f64) -> f64 {
    if arrival_cv2 + cv2 == 0.0 {
        return f64::INFINITY;
    }
    let left = |u: f64| {
        let gaps = match arrival_cv2 > 0.0 {
            true => (arrival_cv2 * u / load).ln_1p() / arrival_cv2,
            false => u / load,
        };
        let services = match cv2 > 0.0 {
            true => (-(cv2 * u).min(1.0)).ln_1p() / cv2,
            false => -u,
        };
        gaps + services
    };
    let low = idle * load / (arrival_cv2 / 2.0 + cv2 * load * load);
    let low = 0.9 * low.min(0.5 / cv2.max(f64::MIN_POSITIVE));
    let mut high = 2.0 * low;
    while left(high) > 0.0 && high.is_finite() {
        high *= 2.0;
    }
    first_where(low, high, |u| left(u) <= 0.0)
}

/// alpha / (theta Wq) of M/G/1 with gamma services at this load.
fn shape(load: f64, idle: f64, cv2: f64) -> f64 {
    let u = decay(load, idle, 1.0, cv2);
    // lambda E[S e^(theta S)] = (rho + u) / (1 - cs2 u), by the equation of u.
    let alpha = idle * (1.0 - cv2 * u) / (u - idle + cv2 * u);
    alpha * 2.0 * idle / (load * (1.0 + cv2) * u)
}
