//! Queueing theory, as functions over values: what a stable queue does in the long run.
//!
//! Each law is a type that only a valid set of rates can make, so that no method can divide by zero or speak of an
//! unstable queue. Nothing here knows the engine; the laboratory holds one beside the other.
//!
//! # Notation
//!
//! | symbol | here | unit | is |
//! |---|---|---|---|
//! | lambda | `arrival_per_s` | 1/s | messages that arrive in a second, on average |
//! | mu | `service_per_s` | 1/s | messages that one server can serve in a second |
//! | rho | `load` | - | lambda / mu: the share of time that the server is busy |
//! | N, L | `in_system`, its mean | messages | waiting or in service |
//! | Lq | `in_queue_mean` | messages | waiting, on average |
//! | W | `sojourn` | s | from arrival to the end of service |
//! | Wq | `waiting` | s | from arrival to the start of service |
//! | P(X > t) | `.._tail` | - | probability of more than t |
//!
//! # Little's law
//!
//! L = lambda W: of any system, over any stretch between two empty moments, whatever the distributions and the
//! order of service. It ties a depth to a delay, and so is the check on every pair of formulas here.
//!
//! Source: J. D. C. Little, "A proof for the queuing formula L = lambda W", Operations Research 9 (1961).
//!
//! # Limits
//!
//! Rates lie between [`RATE_PER_S_MIN`] and [`RATE_PER_S_MAX`]. Times are `f64` seconds, since a prediction of a
//! few nanoseconds must not be rounded to one before it is compared.

mod mm1;

pub use mm1::Mm1;

use std::fmt;

/// The lowest rate a model takes, per second: one event in 30,000 years.
pub const RATE_PER_S_MIN: f64 = 1e-12;
/// The highest rate a model takes, per second: a thousand events in a nanosecond.
pub const RATE_PER_S_MAX: f64 = 1e12;

/// Little's law for the mean number in a system: L = lambda W.
///
/// `throughput_per_s` counts what enters *and* leaves: with refusals, only what was accepted. Valid for any system
/// in which everything that enters leaves. Source: Little 1961.
pub fn in_system_mean(throughput_per_s: f64, sojourn_mean_s: f64) -> f64 {
    throughput_per_s * sojourn_mean_s
}

/// Little's law for the mean sojourn in seconds: W = L / lambda. `None` if nothing flows.
///
/// What a queue's depth says about its delay, without a single stamp. Validity and source as [`in_system_mean`].
pub fn sojourn_mean_s(in_system_mean: f64, throughput_per_s: f64) -> Option<f64> {
    (throughput_per_s > 0.0).then(|| in_system_mean / throughput_per_s)
}

/// An argument of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// lambda, messages per second.
    ArrivalRate,
    /// mu, messages per second.
    ServiceRate,
    /// The share of messages that a quantile covers.
    Probability,
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ArrivalRate => "arrival rate (lambda, per second)",
            Self::ServiceRate => "service rate (mu, per second)",
            Self::Probability => "probability",
        })
    }
}

/// Why a model cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The argument is NaN.
    #[error("the {quantity} is not a number")]
    NotANumber {
        /// Which one.
        quantity: Quantity,
    },
    /// The argument is zero or negative.
    #[error("the {quantity} is {value}; it must be positive")]
    NotPositive {
        /// Which one.
        quantity: Quantity,
        /// What was given.
        value: f64,
    },
    /// The argument is infinite, or outside what the model computes with.
    #[error("the {quantity} is {value}; it must be from {least} to {most}")]
    OutOfRange {
        /// Which one.
        quantity: Quantity,
        /// What was given.
        value: f64,
        /// The lowest that is taken.
        least: f64,
        /// The highest that is taken.
        most: f64,
    },
    /// As many messages arrive as can be served, or more: the queue grows without end, no mean exists.
    #[error(
        "unstable: {arrival_per_s} messages arrive per second and {service_per_s} can be served"
    )]
    Unstable {
        /// lambda, per second.
        arrival_per_s: f64,
        /// What all servers together can do, per second.
        service_per_s: f64,
    },
}

/// The rate itself, or what is wrong with it.
fn rate(quantity: Quantity, value: f64) -> Result<f64, ModelError> {
    if value.is_nan() {
        return Err(ModelError::NotANumber { quantity });
    }
    if value <= 0.0 {
        return Err(ModelError::NotPositive { quantity, value });
    }
    match (RATE_PER_S_MIN..=RATE_PER_S_MAX).contains(&value) {
        true => Ok(value),
        false => Err(ModelError::OutOfRange {
            quantity,
            value,
            least: RATE_PER_S_MIN,
            most: RATE_PER_S_MAX,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn littles_law_and_its_inverse_agree() {
        let depth = in_system_mean(8_000.0, 0.0005);
        assert_eq!(depth, 4.0);
        assert_eq!(sojourn_mean_s(depth, 8_000.0), Some(0.0005));
    }

    #[test]
    fn a_system_without_flow_has_no_sojourn() {
        assert_eq!(sojourn_mean_s(3.0, 0.0), None);
        assert_eq!(sojourn_mean_s(3.0, f64::NAN), None);
    }

    #[test]
    fn an_error_names_the_argument_and_what_was_given() {
        let error = rate(Quantity::ServiceRate, -2.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the service rate (mu, per second) is -2; it must be positive"
        );
    }
}
