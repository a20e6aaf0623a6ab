//! Why a model cannot answer, and the checks that its arguments pass.
//!
//! An argument is a number from outside: it may be NaN, negative, infinite, or so large that the formulas would
//! overflow. Each is refused by name, with the value and with what would have been taken.

use super::{RATE_PER_S_MAX, RATE_PER_S_MIN};
use std::fmt;

/// An argument of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quantity {
    /// lambda, messages per second.
    ArrivalRate,
    /// mu, messages per second and server.
    ServiceRate,
    /// s, mean service in seconds.
    ServiceMean,
    /// cs2, variance of the services over their squared mean.
    ServiceCv2,
    /// E\[S^2\], in seconds squared.
    ServiceSecondMoment,
    /// E\[S^3\], in seconds cubed.
    ServiceThirdMoment,
    /// ca2, variance of the gaps between arrivals over their squared mean.
    ArrivalCv2,
    /// The share of messages that a quantile covers.
    Probability,
    /// 1 - rho, the share of time that a server is idle.
    Idle,
    /// rho, the share of time that a server is busy.
    Load,
    /// c, how many serve.
    Servers,
    /// K, the most messages in the system.
    Capacity,
    /// The share of messages refused.
    Loss,
    /// E\[D\], mean set-up in seconds.
    SetupMean,
    /// E\[D^2\] of the set-up, in seconds squared.
    SetupSecondMoment,
    /// The mean sojourn that is asked for, in seconds.
    SojournMean,
    /// The quantile of the sojourn that is asked for, in seconds.
    SojournQuantile,
    /// The mean wait that is asked for, in seconds.
    WaitingMean,
    /// The quantile of the wait that is asked for, in seconds.
    WaitingQuantile,
    /// Messages per second that a source or a ring gives at most.
    FlowRate,
    /// By how much the load is multiplied.
    OverloadFactor,
    /// How many classes of priority.
    Classes,
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ArrivalRate => "arrival rate (lambda, per second)",
            Self::ServiceRate => "service rate (mu, per second)",
            Self::ServiceMean => "mean service (s, in seconds)",
            Self::ServiceCv2 => "variability of the services (cs2)",
            Self::ServiceSecondMoment => "second moment of the services (in seconds squared)",
            Self::ServiceThirdMoment => "third moment of the services (in seconds cubed)",
            Self::ArrivalCv2 => "variability of the gaps between arrivals (ca2)",
            Self::Probability => "probability",
            Self::Idle => "idle share (1 - rho)",
            Self::Load => "load (rho)",
            Self::Servers => "number of servers (c)",
            Self::Capacity => "capacity (K, in messages)",
            Self::Loss => "share of messages refused",
            Self::SetupMean => "mean set-up (E[D], in seconds)",
            Self::SetupSecondMoment => "second moment of the set-up (E[D^2], in seconds squared)",
            Self::SojournMean => "mean sojourn (in seconds)",
            Self::SojournQuantile => "quantile of the sojourn (in seconds)",
            Self::WaitingMean => "mean wait (in seconds)",
            Self::WaitingQuantile => "quantile of the wait (in seconds)",
            Self::FlowRate => "flow (per second)",
            Self::OverloadFactor => "overload factor",
            Self::Classes => "number of classes",
        })
    }
}

/// Why a model cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
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
    /// No number of servers, no capacity and no lower rate reaches what is asked: it lies at or below the least that
    /// exists, as a sojourn does that must be shorter than its own service.
    #[error("the {quantity} cannot be {asked}: the least attainable is above {least}")]
    Unattainable {
        /// What was asked for.
        quantity: Quantity,
        /// The value asked for.
        asked: f64,
        /// The infimum of what can be had. It is approached, never reached.
        least: f64,
    },
    /// It can be had, but takes more servers than the caller or the crate allows.
    #[error("more than {servers_max} servers are needed")]
    ServersMax {
        /// The most that are allowed.
        servers_max: u32,
    },
    /// It can be had, but takes more room than the crate allows.
    #[error("a capacity of more than {capacity_max} messages is needed")]
    CapacityMax {
        /// The most that is allowed.
        capacity_max: u64,
    },
}

/// The rate itself, or what is wrong with it.
pub(super) fn rate(quantity: Quantity, value: f64) -> Result<f64, ModelError> {
    positive(quantity, value, RATE_PER_S_MIN, RATE_PER_S_MAX)
}

/// A time in seconds that is as long as the inverse of a rate may be.
pub(super) fn time_s(quantity: Quantity, value: f64) -> Result<f64, ModelError> {
    positive(quantity, value, 1.0 / RATE_PER_S_MAX, 1.0 / RATE_PER_S_MIN)
}

/// A share below one: of no message, up to nearly all.
pub(super) fn below_one(quantity: Quantity, value: f64) -> Result<f64, ModelError> {
    within(quantity, value, 0.0, 1.0_f64.next_down())
}

/// The value itself if it is positive and from `least` to `most`.
pub(super) fn positive(
    quantity: Quantity,
    value: f64,
    least: f64,
    most: f64,
) -> Result<f64, ModelError> {
    if value <= 0.0 {
        return Err(ModelError::NotPositive { quantity, value });
    }
    within(quantity, value, least, most)
}

/// The value itself if it is from `least` to `most`.
pub(super) fn within(
    quantity: Quantity,
    value: f64,
    least: f64,
    most: f64,
) -> Result<f64, ModelError> {
    if value.is_nan() {
        return Err(ModelError::NotANumber { quantity });
    }
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(ModelError::OutOfRange { quantity, value, least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_argument_and_what_was_given() {
        let error = rate(Quantity::ServiceRate, -2.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the service rate (mu, per second) is -2; it must be positive"
        );
    }

    #[test]
    fn a_share_is_below_one() {
        let quantity = Quantity::Probability;
        assert_eq!(below_one(quantity, 0.0), Ok(0.0));
        assert_eq!(below_one(quantity, 1.0_f64.next_down()), Ok(1.0_f64.next_down()));
        assert_eq!(below_one(quantity, f64::NAN), Err(ModelError::NotANumber { quantity }));
        for value in [1.0, -f64::MIN_POSITIVE, f64::INFINITY] {
            let error = below_one(quantity, value).unwrap_err();
            assert!(matches!(error, ModelError::OutOfRange { value: given, .. } if given == value));
        }
    }
}
