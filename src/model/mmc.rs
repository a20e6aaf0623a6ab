//! M/M/c: Poisson arrivals, exponential service, c servers for one queue without limit.
//!
//! ```text
//!                                +-> ( mu ) -->
//!   lambda --> [ waiting ... ] --+-> ( mu ) -->      a = lambda / mu,  rho = a / c < 1
//!                                +-> ( mu ) -->
//! ```
//!
//! All turns on C, Erlang's probability of having to wait. Who waits, waits an exponential time of rate c mu - lambda.
//! Means hold for any order of service that does not look at the service times; the distributions of sojourn and
//! waiting hold for first come, first served.
//!
//! # Precision
//!
//! C comes from B, the loss of the same servers without a queue, by a recursion of c steps in which nothing cancels:
//! no factorial, so c = 10^5 is as safe as c = 2 and takes a third of a millisecond, once. c mu - lambda is a fused
//! multiplication and subtraction: one rounding, however near saturation.
//!
//! # Limits
//!
//! Of the servers: [`SERVERS_MAX`].
//!
//! Source: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic
//! telephone exchanges" (1917); R. B. Cooper, "Introduction to Queueing Theory" (1981), for the recursion.

use super::error::{below_one, positive, rate};
use super::exponentials::two_exponentials_tail;
use super::invert::quantile_s;
use super::poisson::each_weight;
use super::{ModelError, Quantity};

/// The most servers a model takes.
pub const SERVERS_MAX: u32 = 100_000;

/// A stable M/M/c queue: 0 < lambda < c mu.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmc {
    arrival_per_s: f64,
    service_per_s: f64,
    servers: u32,
    /// c mu - lambda.
    spare_per_s: f64,
    /// B with c servers.
    loss: f64,
}

impl Mmc {
    /// The queue in which `arrival_per_s` (lambda) messages arrive, and each of `servers` (c) can serve
    /// `service_per_s` (mu) in a second.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at
    /// fault; [`ModelError::Unstable`] unless lambda < c mu.
    pub fn new(arrival_per_s: f64, service_per_s: f64, servers: u32) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let servers = checked_servers(servers)?;
        let spare_per_s = f64::from(servers).mul_add(service_per_s, -arrival_per_s);
        Self::with_spare(arrival_per_s, service_per_s, servers, spare_per_s)
    }

    /// The same from `idle` = 1 - rho, where that is known better than rho: lambda = c mu (1 - idle).
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; `idle` must be positive and below 1.
    pub fn from_idle(service_per_s: f64, servers: u32, idle: f64) -> Result<Self, ModelError> {
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let servers = checked_servers(servers)?;
        let idle = positive(Quantity::Idle, idle, f64::MIN_POSITIVE, 1.0_f64.next_down())?;
        let all_per_s = f64::from(servers) * service_per_s;
        let arrival_per_s = rate(Quantity::ArrivalRate, all_per_s * (1.0 - idle))?;
        Self::with_spare(arrival_per_s, service_per_s, servers, all_per_s * idle)
    }

    fn with_spare(
        arrival_per_s: f64,
        service_per_s: f64,
        servers: u32,
        spare_per_s: f64,
    ) -> Result<Self, ModelError> {
        if spare_per_s <= 0.0 {
            let service_per_s = f64::from(servers) * service_per_s;
            return Err(ModelError::Unstable { arrival_per_s, service_per_s });
        }
        let loss = erlang_b(arrival_per_s / service_per_s, servers);
        Ok(Self { arrival_per_s, service_per_s, servers, spare_per_s, loss })
    }

    /// Messages that arrive per second: lambda.
    pub fn arrival_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Messages that one server can serve per second: mu.
    pub fn service_per_s(&self) -> f64 {
        self.service_per_s
    }

    /// How many serve: c.
    pub fn servers(&self) -> u32 {
        self.servers
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Messages per second that all servers could do at most: c mu.
    pub fn throughput_max_per_s(&self) -> f64 {
        f64::from(self.servers) * self.service_per_s
    }

    /// Mean number of busy servers: a = lambda / mu.
    pub fn offered(&self) -> f64 {
        self.arrival_per_s / self.service_per_s
    }

    /// The share of time that a server is busy: rho = a / c.
    pub fn load(&self) -> f64 {
        self.offered() / f64::from(self.servers)
    }

    /// The share of time that a server is idle: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.spare_per_s / self.throughput_max_per_s()
    }

    /// Probability that an arriving message has to wait: C(c, a), Erlang's second formula.
    ///
    /// C = B / (1 - rho (1 - B)), written as B / (1 - rho + rho B). Poisson arrivals see it (PASTA: Wolff 1982).
    pub fn waiting_probability(&self) -> f64 {
        self.loss / self.load().mul_add(self.loss, self.idle())
    }

    /// The share of messages that the same servers would lose without a queue: B(c, a), Erlang's first formula.
    ///
    /// Valid for services of any law with this mean (M/G/c/c).
    pub fn loss_without_queue(&self) -> f64 {
        self.loss
    }

    /// Mean time from arrival to the start of service, in seconds: Wq = C / (c mu - lambda) = C s / (c - a).
    pub fn waiting_mean_s(&self) -> f64 {
        self.waiting_probability() / self.spare_per_s
    }

    /// Mean time from arrival to the end of service, in seconds: W = Wq + 1 / mu.
    pub fn sojourn_mean_s(&self) -> f64 {
        self.waiting_mean_s() + 1.0 / self.service_per_s
    }

    /// Mean number that wait: Lq = C rho / (1 - rho).
    pub fn in_queue_mean(&self) -> f64 {
        self.waiting_probability() * self.arrival_per_s / self.spare_per_s
    }

    /// Mean number in the system: L = Lq + a.
    pub fn in_system_mean(&self) -> f64 {
        self.in_queue_mean() + self.offered()
    }

    /// Variance of the wait, in seconds squared: C (2 - C) / (c mu - lambda)^2.
    ///
    /// First come, first served.
    pub fn waiting_variance_s2(&self) -> f64 {
        let waits = self.waiting_probability();
        waits * (2.0 - waits) / (self.spare_per_s * self.spare_per_s)
    }

    /// Probability of exactly `n` messages in the system.
    ///
    /// From c on it is geometric: C (1 - rho) rho^(n - c). Below it is Poisson of mean a, scaled to what is left,
    /// 1 - C. Takes up to some 75 sqrt(a) steps.
    pub fn in_system_probability(&self, n: u64) -> f64 {
        let servers = u64::from(self.servers);
        if n >= servers {
            return self.in_system_at_least(n) * self.idle();
        }
        self.below_servers(|count| count == n)
    }

    /// Probability of `n` messages or more in the system: C rho^(n - c) for n >= c.
    ///
    /// Below c it is the sum of the probabilities, in as many steps as one of them takes.
    pub fn in_system_at_least(&self, n: u64) -> f64 {
        let servers = u64::from(self.servers);
        if n < servers {
            return self.below_servers(|count| count >= n) + self.waiting_probability();
        }
        let load_ln = match self.load() < 0.5 {
            true => self.load().ln(),
            false => (-self.idle()).ln_1p(),
        };
        self.waiting_probability() * ((n - servers) as f64 * load_ln).exp()
    }

    /// Probability of fewer than c messages in the system, in such a number as `counts`.
    fn below_servers(&self, counts: impl Fn(u64) -> bool) -> f64 {
        let servers = u64::from(self.servers);
        let (mut below, mut counted) = (0.0, 0.0);
        each_weight(self.offered(), |count, weight| {
            if count < servers {
                below += weight;
                counted += if counts(count) { weight } else { 0.0 };
            }
        });
        // 1 - C, of which C may be nearly all.
        let lost = self.load().mul_add(self.loss, self.idle());
        let waits_not = self.idle() * (1.0 - self.loss) / lost;
        waits_not * counted / below
    }

    /// Probability of waiting more than `t_s` seconds: P(Wq > t) = C exp(-(c mu - lambda) t), for t >= 0.
    ///
    /// First come, first served. A negative `t_s` or NaN counts as 0.
    pub fn waiting_tail(&self, t_s: f64) -> f64 {
        self.waiting_probability() * (-self.spare_per_s * t_s.max(0.0)).exp()
    }

    /// Probability that a sojourn lasts more than `t_s` seconds.
    ///
    /// With probability 1 - C it is a service, otherwise a service and an exponential wait of rate c mu - lambda.
    /// The textbook's (1 + C/(1-c+a)) exp(-mu t) - ... divides by zero where c - a = 1, that is where both rates
    /// are equal; the sum of two exponentials is written here so that nothing does. First come, first served; a
    /// negative `t_s` or NaN counts as 0.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        let t_s = t_s.max(0.0);
        let waits = self.waiting_probability();
        let serves_at_once = (1.0 - waits) * (-self.service_per_s * t_s).exp();
        serves_at_once + waits * two_exponentials_tail(self.service_per_s, self.spare_per_s, t_s)
    }

    /// The time in seconds that a share `p` of the waits does not exceed: ln(C / (1 - p)) / (c mu - lambda), and 0
    /// where a share `p` does not wait at all.
    ///
    /// First come, first served.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
    pub fn waiting_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        let p = below_one(Quantity::Probability, p)?;
        let waits = self.waiting_probability();
        let beyond = 1.0 - p;
        match waits > beyond {
            true => Ok((waits / beyond).ln() / self.spare_per_s),
            false => Ok(0.0),
        }
    }

    /// The time in seconds that a share `p` of the sojourns does not exceed: where [`Self::sojourn_tail`] falls to
    /// 1 - p, by bisection.
    ///
    /// First come, first served.
    ///
    /// # Errors
    ///
    /// As [`Self::waiting_quantile_s`].
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.sojourn_tail(t_s))
    }
}

/// The number itself, if a model takes so many servers.
pub(super) fn checked_servers(servers: u32) -> Result<u32, ModelError> {
    let (value, most) = (f64::from(servers), f64::from(SERVERS_MAX));
    positive(Quantity::Servers, value, 1.0, most).map(|_| servers)
}

/// The share of messages lost by `servers` servers without a queue, at offered load `a`: B(c, a), Erlang's first
/// formula. Valid at any load; depends on the services by their mean alone.
///
/// B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1)): all positive, so no digit is lost. Below 1e-308 it is 0.
pub(super) fn erlang_b(offered: f64, servers: u32) -> f64 {
    (1..=servers).fold(1.0, |loss, k| {
        let refused = offered * loss;
        refused / (f64::from(k) + refused)
    })
}
