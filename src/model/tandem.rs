//! Two queues in a row: what leaves the first arrives at the second.
//!
//! ```text
//!   lambda --> [ ... ] --> ( mu1 ) --> [ ... ] --> ( mu2 ) -->     lambda < mu1, mu2
//! ```
//!
//! What leaves an M/M/1 queue is a Poisson process again (Burke), so the second is an M/M/1 too, and the two sojourns of
//! one message are independent (Reich). Holds only if the second service is drawn anew, not the same long message
//! long twice, and if the first queue never waits for room in the second. A first stage of constant services lets out a
//! flow that is smoother than Poisson: then this is an upper estimate of the second wait.
//!
//! Source: P. J. Burke, "The output of a queuing system", Operations Research 4 (1956); J. R. Jackson 1957; E. Reich,
//! "Waiting times when queues are in tandem", Annals of Mathematical Statistics 28 (1957).

use super::exponentials::two_exponentials_tail;
use super::invert::quantile_s;
use super::{Mm1, ModelError};

/// Two stable M/M/1 queues in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tandem {
    stages: [Mm1; 2],
}

impl Tandem {
    /// The queues in which `arrival_per_s` (lambda) messages arrive at the first, and the stages can serve
    /// `service_per_s` (mu1, mu2) in a second.
    ///
    /// # Errors
    ///
    /// As [`Mm1::new`], of either stage.
    pub fn new(arrival_per_s: f64, service_per_s: [f64; 2]) -> Result<Self, ModelError> {
        let [first, second] = service_per_s;
        Ok(Self { stages: [Mm1::new(arrival_per_s, first)?, Mm1::new(arrival_per_s, second)?] })
    }

    /// The two queues, each as if it were alone.
    pub fn stages(&self) -> &[Mm1; 2] {
        &self.stages
    }

    /// Messages that leave per second, in the long run: lambda.
    pub fn throughput_per_s(&self) -> f64 {
        self.stages[0].throughput_per_s()
    }

    /// Messages per second that the slower stage could do at most.
    pub fn throughput_max_per_s(&self) -> f64 {
        let [first, second] = &self.stages;
        first.throughput_max_per_s().min(second.throughput_max_per_s())
    }

    /// Mean number in both stages: the sum of theirs.
    pub fn in_system_mean(&self) -> f64 {
        self.stages.iter().map(Mm1::in_system_mean).sum()
    }

    /// Mean time from arrival at the first stage to the end of service at the second, in seconds:
    /// 1 / (mu1 - lambda) + 1 / (mu2 - lambda).
    pub fn sojourn_mean_s(&self) -> f64 {
        self.stages.iter().map(Mm1::sojourn_mean_s).sum()
    }

    /// Mean time spent waiting at both stages, in seconds.
    pub fn waiting_mean_s(&self) -> f64 {
        self.stages.iter().map(Mm1::waiting_mean_s).sum()
    }

    /// Probability of exactly these numbers in the stages: the product of theirs (Jackson's theorem).
    pub fn in_system_probability(&self, n: [u64; 2]) -> f64 {
        self.stages.iter().zip(n).map(|(stage, n)| stage.in_system_probability(n)).product()
    }

    /// Probability that both stages together take more than `t_s` seconds: of the sum of two independent exponential
    /// times of rates mu1 - lambda and mu2 - lambda. First come, first served. A negative `t_s` or NaN counts as 0.
    pub fn sojourn_tail(&self, t_s: f64) -> f64 {
        let [first, second] = self.stages.map(|stage| 1.0 / stage.sojourn_mean_s());
        two_exponentials_tail(first, second, t_s.max(0.0))
    }

    /// The time in seconds that a share `p` of the sojourns does not exceed, by bisection.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
    pub fn sojourn_quantile_s(&self, p: f64) -> Result<f64, ModelError> {
        quantile_s(p, self.sojourn_mean_s(), |t_s| self.sojourn_tail(t_s))
    }
}
