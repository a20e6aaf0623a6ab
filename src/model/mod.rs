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
//! | s | `service_mean_s` | s | mean service, 1 / mu |
//! | c | `servers` | - | how many serve one queue |
//! | a | `offered` | - | lambda s: the servers that would do if arrivals came in step |
//! | rho | `load` | - | a / c: the share of time that a server is busy |
//! | 1 - rho | `idle` | - | what is left; a constructor `from_idle` takes it where it is known better than rho |
//! | K | `capacity` | messages | the most in the system, in service included |
//! | ca2, cs2 | `arrival_cv2`, `cv2` | - | variance / mean^2 of the gaps between arrivals, and of the services |
//! | N, L | `in_system`, its mean | messages | waiting or in service |
//! | Lq | `in_queue_mean` | messages | waiting, on average |
//! | W | `sojourn` | s | from arrival to the end of service |
//! | Wq | `waiting` | s | from arrival to the start of service |
//! | P(X > t) | `.._tail` | - | probability of more than t |
//!
//! # Laws
//!
//! | type | arrivals | service | servers | knows |
//! |---|---|---|---|---|
//! | [`Mm1`] | Poisson | exponential | 1 | everything |
//! | [`Mm1k`] | Poisson, refused when K are in | exponential | 1 | everything, at any load |
//! | [`Mmc`] | Poisson | exponential | c | everything |
//! | [`Md1`] | Poisson | all alike | 1 | everything |
//! | [`Mg1`] | Poisson | any | 1 | means |
//! | [`Setup`] | Poisson | any, and a wake-up before each busy period | 1 | means |
//! | [`Priorities`] | Poisson, in classes | any, the higher class first | 1 | means of each class |
//! | [`Tandem`] | Poisson | exponential, twice in a row | 1 and 1 | sojourns |
//! | [`Ggc`] | any, independent | any | c | means, approximately, and bounds on them |
//! | [`Saturation`] | any | any | c | flows, past saturation |
//!
//! The inverse: [`Mmc::with_fewest_servers`], [`Mmc::arrival_for`] a [`Target`]; [`Mm1k::capacity_for_loss`],
//! [`Mm1k::arrival_for_loss`].
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

mod error;
mod exponentials;
mod gamma;
mod ggc;
mod ggc_tail;
mod invert;
mod md1;
mod mg1;
mod mm1;
mod mm1k;
mod mmc;
pub mod plan;
mod poisson;
mod priority;
mod saturation;
mod service;
mod setup;
mod tandem;
mod target;

pub use error::{ModelError, Quantity};
pub use ggc::Ggc;
pub use md1::Md1;
pub use mg1::Mg1;
pub use mm1::Mm1;
pub use mm1k::{CAPACITY_MAX, Mm1k};
pub use mmc::{Mmc, SERVERS_MAX};
pub use priority::{CLASSES_MAX, Class, Priorities};
pub use saturation::Saturation;
pub use service::{CV2_MAX, ServiceTime};
pub use setup::Setup;
pub use tandem::Tandem;
pub use target::Target;

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
}
