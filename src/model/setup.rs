//! M/G/1 with set-up: the server that went idle needs a time D before the first service of each busy period.
//!
//! The parked worker: who finds the system empty waits for the wake-up too, and those who arrive meanwhile wait
//! behind it. So sleeping costs most where load is low, and vanishes as rho -> 1, when nobody is ever idle.
//!
//! W = W(M/G/1) + (2 E\[D\] + lambda E\[D^2\]) / (2 (1 + lambda E\[D\]))
//!
//! Valid for Poisson arrivals, D independent of the past, one server.
//!
//! Source: P. D. Welch, "On a generalized M/G/1 queuing process in which the first customer of each busy period
//! receives exceptional service", Operations Research 12 (1964).

use super::error::within;
use super::mg1::Mg1;
use super::{ModelError, Quantity};

/// The longest set-up a model takes, in seconds.
const SETUP_S_MAX: f64 = 1e12;

/// A stable M/G/1 queue whose server must be woken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    queue: Mg1,
    mean_s: f64,
    second_moment_s2: f64,
}

impl Setup {
    /// The queue `queue` with a set-up of mean E\[D\] = `mean_s` seconds and second moment E\[D^2\] =
    /// `second_moment_s2` seconds squared. Zero is no set-up; one that always takes d has the second moment d^2, an
    /// exponential one 2 d^2.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= E\[D\] and E\[D\]^2 <= E\[D^2\], the
    /// latter beyond a rounding error of 1e-12 of it.
    pub fn new(queue: Mg1, mean_s: f64, second_moment_s2: f64) -> Result<Self, ModelError> {
        let mean_s = within(Quantity::SetupMean, mean_s, 0.0, SETUP_S_MAX)?;
        let (least, most) = (mean_s * mean_s * (1.0 - 1e-12), SETUP_S_MAX * SETUP_S_MAX);
        let quantity = Quantity::SetupSecondMoment;
        let second_moment_s2 = within(quantity, second_moment_s2, least, most)?;
        Ok(Self { queue, mean_s, second_moment_s2 })
    }

    /// The same queue with a server that is always awake.
    pub fn without(&self) -> Mg1 {
        self.queue
    }

    /// What the set-up adds to the mean wait, in seconds: (2 E\[D\] + lambda E\[D^2\]) / (2 (1 + lambda E\[D\])).
    pub fn added_mean_s(&self) -> f64 {
        let arrival_per_s = self.queue.arrival_per_s();
        let longer = 2.0 * self.mean_s + arrival_per_s * self.second_moment_s2;
        longer / (2.0 * (1.0 + arrival_per_s * self.mean_s))
    }

    /// Mean time from arrival to the start of service, in seconds.
    pub fn waiting_mean_s(&self) -> f64 {
        self.queue.waiting_mean_s() + self.added_mean_s()
    }

    /// Mean time from arrival to the end of service, in seconds: Welch's formula.
    pub fn sojourn_mean_s(&self) -> f64 {
        self.queue.sojourn_mean_s() + self.added_mean_s()
    }

    /// Mean number that wait, by Little: Lq = lambda Wq.
    pub fn in_queue_mean(&self) -> f64 {
        self.throughput_per_s() * self.waiting_mean_s()
    }

    /// Mean number in the system, by Little: L = lambda W.
    pub fn in_system_mean(&self) -> f64 {
        self.throughput_per_s() * self.sojourn_mean_s()
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.queue.throughput_per_s()
    }

    /// The share of time that the server serves: rho = lambda s.
    pub fn load(&self) -> f64 {
        self.queue.load()
    }

    /// The share of time that the server is being set up: (1 - rho) lambda E\[D\] / (1 + lambda E\[D\]).
    ///
    /// A cycle is an idle gap of 1 / lambda, a set-up, and services; the first two take 1 - rho of it.
    pub fn setting_up(&self) -> f64 {
        let arrivals = self.queue.arrival_per_s() * self.mean_s;
        self.queue.idle() * arrivals / (1.0 + arrivals)
    }

    /// The share of time that the system is empty: (1 - rho) / (1 + lambda E\[D\]).
    pub fn empty(&self) -> f64 {
        self.queue.idle() / (1.0 + self.queue.arrival_per_s() * self.mean_s)
    }
}
