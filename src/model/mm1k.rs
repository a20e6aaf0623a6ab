//! M/M/1/K: Poisson arrivals, exponential service, one server, at most K in the system; the rest is refused.
//!
//! ```text
//!   lambda --> [ K - 1 places ] --> ( server, mu ) -->     any rho = lambda / mu > 0
//!      |
//!      +--> refused, when K are in
//! ```
//!
//! The number in the system is geometric, cut off at K. There is a steady state at every load: past saturation the
//! queue is full and the server never idle. A server that pops before it serves adds its own place: K is the
//! capacity of the ring + 1.
//!
//! # Precision
//!
//! All formulas are in x = ln rho, through `expm1`, for rho < 1; rho > 1 is the same queue seen from the other end (the
//! free places of a queue at 1 / rho), so P_n(rho) = P_(K-n)(1 / rho) and L(rho) = K - L(1 / rho). Where both terms of
//! L would cancel, (K + 1) |x| < 0.1, it is the series of the hyperbolic cotangent instead.
//!
//! # Limits
//!
//! Of the capacity: [`CAPACITY_MAX`], as far as doubles count whole numbers.
//!
//! Source: D. Gross and C. M. Harris, "Fundamentals of Queueing Theory" (1974), chapter 2.

use super::error::{below_one, rate, within};
use super::invert::{first_integer_where, quantile_s};
use super::poisson::each_weight;
use super::{ModelError, Quantity};

/// The largest capacity a model takes, in messages.
pub const CAPACITY_MAX: u64 = 1 << 53;

/// An M/M/1/K queue: lambda, mu > 0, K >= 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mm1k {
    arrival_per_s: f64,
    service_per_s: f64,
    capacity: u64,
    /// x = ln rho.
    load_ln: f64,
}

impl Mm1k {
    /// The queue in which `arrival_per_s` (lambda) messages arrive, `service_per_s` (mu) can be served in a second,
    /// and at most `capacity` (K) are in the system, the one in service included.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at fault.
    pub fn new(arrival_per_s: f64, service_per_s: f64, capacity: u64) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let capacity = checked_capacity(capacity)?;
        let load = arrival_per_s / service_per_s;
        let load_ln = match (0.5..2.0).contains(&load) {
            true => ((arrival_per_s - service_per_s) / service_per_s).ln_1p(),
            false => load.ln(),
        };
        Ok(Self { arrival_per_s, service_per_s, capacity, load_ln })
    }

    /// The same from `idle` = 1 - rho, where that is known better than rho; negative above saturation.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; `idle` must be below 1.
    pub fn from_idle(service_per_s: f64, idle: f64, capacity: u64) -> Result<Self, ModelError> {
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let idle = within(Quantity::Idle, idle, f64::MIN, 1.0_f64.next_down())?;
        let arrival_per_s = rate(Quantity::ArrivalRate, service_per_s * (1.0 - idle))?;
        let capacity = checked_capacity(capacity)?;
        Ok(Self { arrival_per_s, service_per_s, capacity, load_ln: (-idle).ln_1p() })
    }

    /// The least K at which at most a share `loss` is refused.
    ///
    /// # Errors
    ///
    /// As [`Self::new`] for the rates; [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] unless
    /// 0 < loss < 1; [`ModelError::Unattainable`] if lambda > mu and so much is lost at any K, 1 - mu / lambda;
    /// [`ModelError::CapacityMax`] beyond [`CAPACITY_MAX`].
    pub fn capacity_for_loss(
        arrival_per_s: f64,
        service_per_s: f64,
        loss: f64,
    ) -> Result<u64, ModelError> {
        let quantity = Quantity::Loss;
        let asked = below_one(quantity, loss)?;
        if asked == 0.0 {
            return Err(ModelError::NotPositive { quantity, value: loss });
        }
        Self::new(arrival_per_s, service_per_s, 1)?;
        let least = ((arrival_per_s - service_per_s) / arrival_per_s).max(0.0);
        if asked <= least {
            return Err(ModelError::Unattainable { quantity, asked, least });
        }
        let enough = |capacity| {
            Self::new(arrival_per_s, service_per_s, capacity).map(|queue| queue.loss() <= asked)
        };
        first_integer_where(1, CAPACITY_MAX, enough)?
            .ok_or(ModelError::CapacityMax { capacity_max: CAPACITY_MAX })
    }

    /// The highest rate of arrivals at which at most a share `loss` is refused, per second.
    ///
    /// # Errors
    ///
    /// As [`Self::new`] for the arguments; [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] unless
    /// 0 < loss < 1.
    pub fn arrival_for_loss(
        service_per_s: f64,
        capacity: u64,
        loss: f64,
    ) -> Result<f64, ModelError> {
        let quantity = Quantity::Loss;
        let allowed = below_one(quantity, loss)?;
        if allowed == 0.0 {
            return Err(ModelError::NotPositive { quantity, value: loss });
        }
        let service_per_s = Self::new(1.0, service_per_s, capacity)?.service_per_s;
        let loses_more = |arrival_per_s| {
            Self::new(arrival_per_s, service_per_s, capacity)
                .map_or(true, |queue| queue.loss() > allowed)
        };
        let (low, high) = (super::RATE_PER_S_MIN, super::RATE_PER_S_MAX);
        Ok(super::invert::first_where(low, high, loses_more).next_down())
    }

    /// Messages that arrive per second, refused ones included: lambda.
    pub fn arrival_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// The most messages in the system: K.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The load that is offered, not what gets in: rho = lambda / mu. May exceed 1.
    pub fn load(&self) -> f64 {
        self.load_ln.exp()
    }

    /// The share of messages that is refused: P_K = (1 - rho) rho^K / (1 - rho^(K+1)); 1 / (K + 1) at rho = 1.
    ///
    /// Poisson arrivals find K in with the same probability as time does (PASTA: R. W. Wolff 1982).
    pub fn loss(&self) -> f64 {
        self.in_system_probability(self.capacity)
    }

    /// The share of messages that gets in: 1 - P_K.
    pub fn acceptance(&self) -> f64 {
        match self.load_ln > 0.0 {
            true => self.utilisation() / self.load(),
            false => 1.0 - self.loss(),
        }
    }

    /// The share of time that the server is busy: 1 - P_0.
    pub fn utilisation(&self) -> f64 {
        match self.load_ln > 0.0 {
            true => 1.0 - self.in_system_probability(0),
            false => self.load() * self.acceptance(),
        }
    }

    /// Messages that are served per second: lambda (1 - P_K) = mu (1 - P_0).
    pub fn throughput_per_s(&self) -> f64 {
        self.arrival_per_s * self.acceptance()
    }

    /// Messages per second that the server could do at most: mu.
    pub fn throughput_max_per_s(&self) -> f64 {
        self.service_per_s
    }

    /// Probability of exactly `n` messages in the system: (1 - rho) rho^n / (1 - rho^(K+1)), 0 beyond K.
    pub fn in_system_probability(&self, n: u64) -> f64 {
        if n > self.capacity {
            return 0.0;
        }
        let (n, x) = match self.load_ln > 0.0 {
            true => (self.capacity - n, -self.load_ln),
            false => (n, self.load_ln),
        };
        let states = self.states();
        match x == 0.0 {
            true => 1.0 / states,
            false => x.exp_m1() * (n as f64 * x).exp() / (states * x).exp_m1(),
        }
    }

    /// Probability of `n` messages or more in the system: (rho^n - rho^(K+1)) / (1 - rho^(K+1)), 0 beyond K.
    pub fn in_system_at_least(&self, n: u64) -> f64 {
        match n > self.capacity {
            true => 0.0,
            false => tail_of_cut_geometric(self.load_ln, n as f64, self.states()),
        }
    }

    /// Mean number in the system: L = rho / (1 - rho) - (K+1) rho^(K+1) / (1 - rho^(K+1)); K / 2 at rho = 1.
    pub fn in_system_mean(&self) -> f64 {
        let (full, states) = (self.capacity as f64, self.states());
        let x = -self.load_ln.abs();
        let below_saturation = if states * -x < 0.1 {
            // m coth(m x / 2) / 2 - coth(x / 2) / 2, by the series of coth: the next term is below 2e-13 of K / 2.
            let (m2, x2) = (states * states, x * x);
            let third = (m2 * m2 - 1.0) * x2 / 720.0;
            let fifth = (m2 * m2 * m2 - 1.0) * x2 * x2 / 30_240.0;
            full / 2.0 + x * ((m2 - 1.0) / 12.0 - third + fifth)
        } else {
            let cut = states * (states * x).exp() / (states * x).exp_m1();
            cut - x.exp() / x.exp_m1()
        };
        match self.load_ln > 0.0 {
            true => full - below_saturation,
            false => below_saturation,
        }
    }

    /// Mean number that wait: Lq = L - (1 - P_0).
    pub fn in_queue_mean(&self) -> f64 {
        (self.in_system_mean() - self.utilisation()).max(0.0)
    }

    /// Mean time from arrival to the end of service of the messages that get in, in seconds: L / (lambda (1 - P_K)).
    pub fn sojourn_mean_s(&self) -> f64 {
        self.in_system_mean() / self.throughput_per_s()
    }

    /// Mean time from arrival to the start of service of the messages that get in, in seconds: W - 1 / mu.
    pub fn waiting_mean_s(&self) -> f64 {
        self.in_queue_mean() / self.throughput_per_s()
    }

    /// Probability that a sojourn lasts more than `t_s` seconds, of the messages that get in.
    ///
    /// Who finds n in leaves after n + 1 services: P(W > t) = sum over j < K of P(Poisson(mu t) = j) P(finds >= j).
    /// First come, first served. Takes up to some 75 sqrt(mu t) steps. A negative `t_s` or NaN counts as 0.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        self.tail(t_s, 0)
    }

    /// Probability of waiting more than `t_s` seconds, of the messages that get in: as [`Self::sojourn_tail`], with one
    /// service less.
    pub fn waiting_tail(&self, t_s: f64) -> f64 {
        self.tail(t_s, 1)
    }

    /// The time in seconds that a share `p` of the accepted messages' sojourns does not exceed, by bisection.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.sojourn_tail(t_s))
    }

    /// The time in seconds that a share `p` of the accepted messages' waits does not exceed, by bisection.
    ///
    /// # Errors
    ///
    /// As [`Self::sojourn_quantile_s`].
    pub fn waiting_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.waiting_tail(t_s))
    }

    /// P(Poisson(mu t) = j) P(finds >= j + `ahead`), summed over j: `ahead` is 1 if the own service does not count.
    fn tail(&self, t_s: f64, ahead: u64) -> f64 {
        let full = self.capacity as f64;
        let services = self.service_per_s * t_s.max(0.0);
        // So late that all K services are over, beyond any doubt that a double can express.
        if services > 2.0 * full + 3_000.0 {
            return 0.0;
        }
        let mut more = 0.0;
        let sum = each_weight(services, |j, weight| {
            let found = j.saturating_add(ahead);
            if found < self.capacity {
                more += weight * tail_of_cut_geometric(self.load_ln, found as f64, full);
            }
        });
        more / sum
    }

    /// K + 1.
    fn states(&self) -> f64 {
        self.capacity as f64 + 1.0
    }
}

/// P(N >= n) of a geometric N with ratio e^x, cut to 0 <= N < m: (e^(nx) - e^(mx)) / (1 - e^(mx)), for n <= m.
fn tail_of_cut_geometric(x: f64, n: f64, m: f64) -> f64 {
    if x == 0.0 {
        return (m - n) / m;
    }
    match x < 0.0 {
        true => (n * x).exp() * ((m - n) * x).exp_m1() / (m * x).exp_m1(),
        false => (-(m - n) * x).exp_m1() / (-m * x).exp_m1(),
    }
}

/// The number itself, if a model takes such a capacity.
pub(super) fn checked_capacity(capacity: u64) -> Result<u64, ModelError> {
    // Compared as integers: the first number beyond the limit is no double.
    match (1..=CAPACITY_MAX).contains(&capacity) {
        true => Ok(capacity),
        false => Err(ModelError::OutOfRange {
            quantity: Quantity::Capacity,
            value: capacity as f64,
            least: 1.0,
            most: CAPACITY_MAX as f64,
        }),
    }
}
