//! G/G/c: gaps and services of any law, c servers. No exact formula exists; this is the best that needs only means
//! and variabilities.
//!
//! ```text
//!   Wq about  C(c, a) s / (c - a)  *  (ca2 + cs2) / 2        Allen and Cunneen 1978
//!             ---- M/M/c's wait --    -- variability --
//! ```
//!
//! Exact for M/M/c, and for M/G/1 (Pollaczek and Khinchine). With c = 1 it is Kingman's heavy-traffic formula,
//! rho s (ca2 + cs2) / (2 (1 - rho)): right as rho -> 1; at low load with ca2 other than 1 it may be off by a large
//! factor, though then there is little wait to be wrong about. Gaps and services must be independent, of the past
//! and of each other: a stall that slows a row of services breaks this, and every formula.
//!
//! # Bounds
//!
//! | bound | valid | source |
//! |---|---|---|
//! | Wq <= lambda (Var A + Var S / c) / (2 (1 - rho)) | always | J. F. C. Kingman 1962 for c = 1; R. W. Wolff, "An upper bound for multi-channel queues", J. Appl. Prob. 14 (1977): handing messages to the servers in turn is worse, and makes each server a G/G/1 of its own |
//! | Wq >= Wq(M/G/1 with services S / c) - (c - 1) m2 / (2 c s) | Poisson arrivals | S. L. Brumelle, "Some inequalities for parallel-server queues", Operations Research 19 (1971) |
//!
//! Source: A. O. Allen, "Probability, Statistics and Queueing Theory" (1978); J. F. C. Kingman 1961.

use super::error::{rate, within};
use super::mmc::{Mmc, checked_servers};
use super::service::{CV2_MAX, ServiceTime};
use super::{ModelError, Quantity};

/// A stable G/G/c queue: 0 < lambda s < c.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ggc {
    arrival_cv2: f64,
    service: ServiceTime,
    /// The same rates with everything exponential.
    markov: Mmc,
}

impl Ggc {
    /// The queue in which `arrival_per_s` (lambda) messages arrive, with gaps of variability `arrival_cv2` (ca2),
    /// and each of `servers` (c) takes such services.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at
    /// fault; [`ModelError::Unstable`] unless lambda s < c.
    pub fn new(
        arrival_per_s: f64,
        arrival_cv2: f64,
        service: ServiceTime,
        servers: u32,
    ) -> Result<Self, ModelError> {
        rate(Quantity::ArrivalRate, arrival_per_s)?;
        checked_servers(servers)?;
        let arrival_cv2 = within(Quantity::ArrivalCv2, arrival_cv2, 0.0, CV2_MAX)?;
        let markov = Mmc::new(arrival_per_s, 1.0 / service.mean_s(), servers)?;
        Ok(Self { arrival_cv2, service, markov })
    }

    /// The queue of the same rates and servers with everything exponential.
    pub fn markov(&self) -> Mmc {
        self.markov
    }

    /// ca2, variance of the gaps over their squared mean.
    pub fn arrival_cv2(&self) -> f64 {
        self.arrival_cv2
    }

    /// Mean and variability of the services.
    pub fn service(&self) -> ServiceTime {
        self.service
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.markov.throughput_per_s()
    }

    /// The share of time that a server is busy: rho = lambda s / c.
    pub fn load(&self) -> f64 {
        self.markov.load()
    }

    /// The share of time that a server is idle: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.markov.idle()
    }

    /// By how much the wait differs from that of M/M/c: (ca2 + cs2) / 2.
    pub fn variability(&self) -> f64 {
        (self.arrival_cv2 + self.service.cv2()) / 2.0
    }

    /// Mean time from arrival to the start of service, in seconds, approximately: C s / (c - a) (ca2 + cs2) / 2.
    ///
    /// Source: Allen 1978 (Allen and Cunneen); with c = 1 Kingman 1961.
    pub fn waiting_mean_s(&self) -> f64 {
        self.markov.waiting_mean_s() * self.variability()
    }

    /// Mean time from arrival to the end of service, in seconds, approximately: Wq + s.
    pub fn sojourn_mean_s(&self) -> f64 {
        self.waiting_mean_s() + self.service.mean_s()
    }

    /// Mean number that wait, approximately, by Little: Lq = lambda Wq.
    pub fn in_queue_mean(&self) -> f64 {
        self.throughput_per_s() * self.waiting_mean_s()
    }

    /// Mean number in the system, approximately: L = Lq + a.
    pub fn in_system_mean(&self) -> f64 {
        self.in_queue_mean() + self.markov.offered()
    }

    /// Whether the mean wait is a theorem here, not an approximation: M/M/c and M/G/1.
    pub fn is_exact(&self) -> bool {
        let poisson = self.arrival_cv2 == 1.0;
        poisson && (self.service.cv2() == 1.0 || self.markov.servers() == 1)
    }

    /// What the mean wait never exceeds, in seconds: lambda (Var A + Var S / c) / (2 (1 - rho)).
    ///
    /// Source: Kingman 1962, Wolff 1977. Tight only near saturation, and looser with more servers.
    pub fn waiting_mean_most_s(&self) -> f64 {
        let arrival_per_s = self.markov.arrival_per_s();
        let servers = f64::from(self.markov.servers());
        let gap_s = 1.0 / arrival_per_s;
        let gaps_s2 = self.arrival_cv2 * gap_s * gap_s;
        let services_s2 = self.service.cv2() * self.service.mean_s() * self.service.mean_s();
        arrival_per_s * (gaps_s2 + services_s2 / servers) / (2.0 * self.markov.idle())
    }

    /// What the mean wait never falls below, in seconds, or 0 where nothing better is known than that.
    ///
    /// Poisson arrivals: Brumelle 1971, with the M/G/1 of services S / c. `arrival_cv2` = 1 is taken for Poisson.
    pub fn waiting_mean_least_s(&self) -> f64 {
        if self.arrival_cv2 != 1.0 {
            return 0.0;
        }
        let servers = f64::from(self.markov.servers());
        let residual_s = self.service.residual_mean_s();
        let one_fast_s = self.load() * residual_s / servers / self.markov.idle();
        (one_fast_s - (servers - 1.0) / servers * residual_s).max(0.0)
    }
}
