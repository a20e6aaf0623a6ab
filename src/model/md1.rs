//! M/D/1: Poisson arrivals, services all of one length s, one server, no limit to the queue.
//!
//! Half the wait of M/M/1, and the distributions are known too. Textbooks give them as sums of alternating terms, which
//! lose all digits at a load of 0.9 or a wait of twenty services; here every term is positive:
//!
//! | what | formula | source |
//! |---|---|---|
//! | P(N = n) | (t_(n-1) P_0 + sum over 0 < k < n of t_(n-k) P_k) / (1 - t_0), t_i = P(Poisson(rho) > i) | balance of the crossings of a level; H. C. Tijms, "Stochastic Models" (1994), 4.2 |
//! | P(Wq > t), (k-1) s <= t < k s | sum over j < k of P(Poisson(u) = j) P(N > k-j), + P(Poisson(u) >= k), u = lambda (k s - t) | G. J. Franx, "A simple solution for the M/D/c waiting time distribution", Operations Research Letters 29 (2001) |
//! | far out | both geometric: P(N = n+1) / P(N = n) -> rho / (rho + z), P(Wq > t) -> (1-rho) / (rho e^z - 1) e^(-z t / s), z > 0 the root of e^z = 1 + z / rho | the nearest pole of Pollaczek's transform |
//!
//! From [`EXACT_STATES`] states, or services of wait, on the last line is exact to all digits of a double: the other
//! poles lie so much farther out.
//!
//! Distributions of waiting and sojourn hold for first come, first served.
//!
//! Source: A. K. Erlang 1909; D. Gross and C. M. Harris, "Fundamentals of Queueing Theory" (1974).

use super::ModelError;
use super::invert::quantile_s;
use super::mg1::Mg1;
use super::service::ServiceTime;

/// From here on the geometric tail is taken.
const EXACT_STATES: usize = 128;
/// P(Poisson(rho) > i) for rho < 1 is below 1e-40 from here on.
const ARRIVALS_MAX: usize = 35;

/// A stable M/D/1 queue: 0 < lambda s < 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Md1 {
    queue: Mg1,
    /// z of the page above.
    decay: f64,
}

impl Md1 {
    /// The queue in which `arrival_per_s` (lambda) messages arrive per second, each of `service_s` (s) seconds.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at
    /// fault; [`ModelError::Unstable`] unless lambda s < 1.
    pub fn new(arrival_per_s: f64, service_s: f64) -> Result<Self, ModelError> {
        Mg1::new(arrival_per_s, ServiceTime::constant(service_s)?).map(Self::of)
    }

    /// The same from `idle` = 1 - rho, where that is known better than rho: lambda = (1 - idle) / s.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; `idle` must be positive and below 1.
    pub fn from_idle(service_s: f64, idle: f64) -> Result<Self, ModelError> {
        Mg1::from_idle(ServiceTime::constant(service_s)?, idle).map(Self::of)
    }

    fn of(queue: Mg1) -> Self {
        Self { queue, decay: decay(queue.load(), queue.idle()) }
    }

    /// The queue as M/G/1 with cs2 = 0: all means are there.
    pub fn as_mg1(&self) -> Mg1 {
        self.queue
    }

    /// The service of each message, in seconds: s.
    pub fn service_s(&self) -> f64 {
        self.queue.service().mean_s()
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.queue.throughput_per_s()
    }

    /// The share of time that the server is busy: rho = lambda s.
    pub fn load(&self) -> f64 {
        self.queue.load()
    }

    /// The share of time that the system is empty: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.queue.idle()
    }

    /// Mean time from arrival to the start of service, in seconds: Wq = rho s / (2 (1 - rho)).
    pub fn waiting_mean_s(&self) -> f64 {
        self.queue.waiting_mean_s()
    }

    /// Mean time from arrival to the end of service, in seconds: W = Wq + s.
    pub fn sojourn_mean_s(&self) -> f64 {
        self.queue.sojourn_mean_s()
    }

    /// Mean number that wait: Lq = lambda Wq.
    pub fn in_queue_mean(&self) -> f64 {
        self.queue.in_queue_mean()
    }

    /// Mean number in the system: L = Lq + rho.
    pub fn in_system_mean(&self) -> f64 {
        self.queue.in_system_mean()
    }

    /// Variance of the wait, in seconds squared: Wq^2 + lambda s^3 / (3 (1 - rho)).
    pub fn waiting_variance_s2(&self) -> f64 {
        let (wait_s, service_s) = (self.waiting_mean_s(), self.service_s());
        wait_s * wait_s + self.load() * service_s * service_s / (3.0 * self.idle())
    }

    /// Probability of exactly `n` messages in the system, in up to some 4,000 multiplications.
    pub fn in_system_probability(&self, n: u64) -> f64 {
        let states = self.states();
        let last = EXACT_STATES as u64 - 1;
        match n <= last {
            true => states[n as usize],
            false => states[last as usize] * self.fall(n - last),
        }
    }

    /// Probability of `n` messages or more in the system.
    pub fn in_system_at_least(&self, n: u64) -> f64 {
        let last = EXACT_STATES as u64 - 1;
        let (at_least, beyond) = (self.at_least(), n.saturating_sub(last));
        at_least[n.min(last) as usize] * self.fall(beyond)
    }

    /// Probability of waiting more than `t_s` seconds: P(Wq > t), by Franx's sum of positive terms.
    ///
    /// First come, first served. A negative `t_s` or NaN counts as 0. Some 12,000 multiplications at most.
    pub fn waiting_tail(&self, t_s: f64) -> f64 {
        self.waiting_tail_over(&self.at_least(), t_s)
    }

    /// Probability that a sojourn lasts more than `t_s` seconds: P(Wq > t - s), and 1 before s.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        match t_s >= self.service_s() {
            true => self.waiting_tail(t_s - self.service_s()),
            false => 1.0,
        }
    }

    /// The time in seconds that a share `p` of the waits does not exceed, by bisection.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
    pub fn waiting_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        let at_least = self.at_least();
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.waiting_tail_over(&at_least, t_s))
    }

    /// The time in seconds that a share `p` of the sojourns does not exceed: the wait's quantile + s.
    ///
    /// # Errors
    ///
    /// As [`Self::waiting_quantile_s`].
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        Ok(self.waiting_quantile_s(p)? + self.service_s())
    }

    fn waiting_tail_over(&self, at_least: &[f64; EXACT_STATES], t_s: f64) -> f64 {
        let services = t_s.max(0.0) / self.service_s();
        let steps = services.floor() + 1.0;
        if steps >= (EXACT_STATES - 1) as f64 {
            // rho e^z - 1, by the equation of z.
            return self.idle() / (self.decay - self.idle()) * (-self.decay * services).exp();
        }
        let k = steps as usize;
        let arrivals = self.load() * (steps - services);
        let (mut weight, mut more, mut below) = ((-arrivals).exp(), 0.0, 0.0);
        for j in 0..k {
            more += weight * at_least[k - j + 1];
            below += weight;
            weight *= arrivals / (j + 1) as f64;
        }
        // P(Poisson(u) >= k), summed from k on: u is below 1, so the terms fall at once.
        let mut rest = 0.0;
        for j in k..k + ARRIVALS_MAX {
            rest += weight;
            weight *= arrivals / (j + 1) as f64;
        }
        debug_assert!((below + rest - 1.0).abs() < 1e-12, "the whole of a Poisson distribution");
        more + rest
    }

    /// (rho / (rho + z))^n: how the probability falls over n states, far out.
    fn fall(&self, n: u64) -> f64 {
        (-(n as f64) * (self.decay / self.load()).ln_1p()).exp()
    }

    fn states(&self) -> [f64; EXACT_STATES] {
        let beyond = poisson_beyond(self.load());
        let none = (-self.load()).exp();
        let mut states = [0.0; EXACT_STATES];
        states[0] = self.idle();
        for n in 1..EXACT_STATES {
            let first = n.saturating_sub(ARRIVALS_MAX - 1).max(1);
            let from_others: f64 = (first..n).map(|k| beyond[n - k] * states[k]).sum();
            let from_empty = beyond.get(n - 1).map_or(0.0, |share| share * states[0]);
            states[n] = (from_empty + from_others) / none;
        }
        states
    }

    /// P(N >= n), summed from the geometric end.
    fn at_least(&self) -> [f64; EXACT_STATES] {
        let mut at_least = self.states();
        // The last state and all beyond: P(last) (1 + r + r^2 ...), r = rho / (rho + z).
        let mut sum = at_least[EXACT_STATES - 1] * self.load() / self.decay;
        for state in at_least.iter_mut().rev() {
            sum += *state;
            *state = sum;
        }
        at_least
    }
}

/// P(Poisson(mean) > i) for i = 0, 1, 2 ..., each summed from its small end.
fn poisson_beyond(mean: f64) -> [f64; ARRIVALS_MAX] {
    let mut terms = [0.0; 2 * ARRIVALS_MAX];
    let mut term = (-mean).exp();
    for (i, slot) in terms.iter_mut().enumerate() {
        *slot = term;
        term *= mean / (i + 1) as f64;
    }
    let mut sum: f64 = terms[ARRIVALS_MAX + 1..].iter().rev().sum();
    let mut beyond = [0.0; ARRIVALS_MAX];
    for i in (0..ARRIVALS_MAX).rev() {
        sum += terms[i + 1];
        beyond[i] = sum;
    }
    beyond
}

/// The root z > 0 of e^z = 1 + z / rho, that is of (e^z - 1 - z) / z = (1 - rho) / rho: by Newton's method from above,
/// which cannot overshoot, since the left side is convex and rising.
fn decay(load: f64, idle: f64) -> f64 {
    let wanted = idle / load;
    // The left side exceeds z / 2, so 2 wanted is above the root; where that is far above, double up from below.
    let mut z = (2.0 * wanted).min(1.0 + (1.0 + wanted).ln());
    while excess(z) < wanted {
        z *= 2.0;
    }
    for _ in 0..60 {
        let slope = (z.exp() - 1.0 - excess(z)) / z;
        let slope = if z < 1e-3 { 0.5 + z / 3.0 } else { slope };
        let next = z - (excess(z) - wanted) / slope;
        if next >= z {
            break;
        }
        z = next;
    }
    z
}

/// (e^z - 1 - z) / z, by its series where the difference would cancel.
fn excess(z: f64) -> f64 {
    if z > 1.0 {
        return (z.exp_m1() - z) / z;
    }
    let (mut sum, mut term) = (0.0, 1.0);
    for k in 2..24 {
        term *= z / f64::from(k);
        sum += term;
    }
    sum
}
