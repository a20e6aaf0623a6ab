//! M/G/1: Poisson arrivals, services of any law, one server, no limit to the queue.
//!
//! An arriving message waits for what is left of the service under way and for the services of all who wait. So the
//! mean wait needs the second moment of the services, and nothing else of them: variability costs as much as load.
//! Means hold for any order of service that does not look at the service times.
//!
//! Source: F. Pollaczek 1930, A. Y. Khinchine 1932; L. Kleinrock, "Queueing Systems I", chapter 5 (1975).

use super::error::{positive, rate, time_s, within};
use super::service::ServiceTime;
use super::{ModelError, Quantity};

/// A stable M/G/1 queue: 0 < lambda s < 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mg1 {
    arrival_per_s: f64,
    service: ServiceTime,
    /// 1 - rho.
    idle: f64,
}

impl Mg1 {
    /// The queue in which `arrival_per_s` (lambda) messages arrive per second, and take such a service each.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the rate;
    /// [`ModelError::Unstable`] unless lambda s < 1.
    pub fn new(arrival_per_s: f64, service: ServiceTime) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        let idle = service.idle(arrival_per_s)?;
        Ok(Self { arrival_per_s, service, idle })
    }

    /// The same from `idle` = 1 - rho, where that is known better than rho: lambda = (1 - idle) / s.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; `idle` must be positive and below 1.
    pub fn from_idle(service: ServiceTime, idle: f64) -> Result<Self, ModelError> {
        let idle = positive(Quantity::Idle, idle, f64::MIN_POSITIVE, 1.0_f64.next_down())?;
        let arrival_per_s = rate(Quantity::ArrivalRate, (1.0 - idle) / service.mean_s())?;
        Ok(Self { arrival_per_s, service, idle })
    }

    /// The highest rate of arrivals per second at which the mean wait is `most_s` seconds: Wq / (m2 / 2 + s Wq).
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the time.
    pub fn arrival_for_waiting_mean(service: ServiceTime, most_s: f64) -> Result<f64, ModelError> {
        let most_s = time_s(Quantity::WaitingMean, most_s)?;
        Ok(most_s / (service.mean_s() * (service.residual_mean_s() + most_s)))
    }

    /// Messages that arrive per second: lambda.
    pub fn arrival_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Mean and variability of the services.
    pub fn service(&self) -> ServiceTime {
        self.service
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// Messages per second that the server could do at most: 1 / s.
    pub fn throughput_max_per_s(&self) -> f64 {
        1.0 / self.service.mean_s()
    }

    /// The share of time that the server is busy: rho = lambda s. Also the probability of having to wait.
    pub fn load(&self) -> f64 {
        self.arrival_per_s * self.service.mean_s()
    }

    /// The share of time that the system is empty: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.idle
    }

    /// Mean time from arrival to the start of service, in seconds: Wq = lambda m2 / (2 (1 - rho)).
    ///
    /// The Pollaczek-Khinchine formula, also written rho s (1 + cs2) / (2 (1 - rho)). Any order of service that does
    /// not look at the service times.
    pub fn waiting_mean_s(&self) -> f64 {
        self.load() * self.service.residual_mean_s() / self.idle
    }

    /// Mean time from arrival to the end of service, in seconds: W = Wq + s.
    pub fn sojourn_mean_s(&self) -> f64 {
        self.waiting_mean_s() + self.service.mean_s()
    }

    /// Mean number that wait: Lq = lambda Wq.
    pub fn in_queue_mean(&self) -> f64 {
        self.arrival_per_s * self.waiting_mean_s()
    }

    /// Mean number in the system: L = Lq + rho.
    pub fn in_system_mean(&self) -> f64 {
        self.in_queue_mean() + self.load()
    }

    /// Variance of the wait, in seconds squared: Wq^2 + lambda m3 / (3 (1 - rho)), with m3 = E\[S^3\].
    ///
    /// First come, first served. Source: L. Takacs, "Introduction to the Theory of Queues" (1962).
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless m3 >= m2^2 / s, as of any positive time
    /// (Cauchy and Schwarz), beyond a rounding error of 1e-12 of it.
    pub fn waiting_variance_s2(&self, third_moment_s3: f64) -> Result<f64, ModelError> {
        let (mean_s, second_s2) = (self.service.mean_s(), self.service.second_moment_s2());
        let least = second_s2 * second_s2 / mean_s * (1.0 - 1e-12);
        let third = within(Quantity::ServiceThirdMoment, third_moment_s3, least, f64::MAX)?;
        let wait_s = self.waiting_mean_s();
        Ok(wait_s.mul_add(wait_s, self.arrival_per_s * third / (3.0 * self.idle)))
    }
}
