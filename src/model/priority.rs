//! M/G/1 with priorities: Poisson arrivals of several classes, the higher served first, nobody interrupted.
//!
//! ```text
//!   Wq_k = W0 / ((1 - sigma_(k-1)) (1 - sigma_k)),   W0 = sum of lambda_i m2_i / 2 over all classes,
//!                                                    sigma_k = rho_1 + .. + rho_k, class 1 the highest
//! ```
//!
//! W0 is what is left of the service that an arriving message finds, on average: a low class under way holds up a
//! high one. Strict priority: no aging, no weights. Within a class first come, first served, or any other order
//! that does not look at the service times.
//!
//! Priorities move waiting from one class to another and cannot remove it: the sum of rho_k Wq_k is the same for
//! every order of service (Kleinrock's conservation law).
//!
//! # Limits
//!
//! Of the classes: [`CLASSES_MAX`].
//!
//! Source: A. Cobham, "Priority assignment in waiting line problems", Operations Research 2 (1954); L. Kleinrock,
//! "Queueing Systems II", chapter 3 (1976).

use super::error::{rate, within};
use super::service::ServiceTime;
use super::{ModelError, Quantity};

/// The most classes a model takes.
pub const CLASSES_MAX: usize = 1_000;

/// What one class of messages asks of the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    /// lambda_k, messages of this class per second.
    pub arrival_per_s: f64,
    /// Their services.
    pub service: ServiceTime,
}

/// A stable M/G/1 queue with strict priorities that do not interrupt.
#[derive(Debug, Clone, PartialEq)]
pub struct Priorities {
    classes: Vec<Class>,
    /// 1 - sigma_k for k = 0 (which is 1), 1, 2 ...
    left: Vec<f64>,
    /// W0, in seconds.
    found_s: f64,
}

impl Priorities {
    /// The queue of these classes, the highest priority first.
    ///
    /// # Errors
    ///
    /// [`ModelError::OutOfRange`] unless there are 1 to [`CLASSES_MAX`] classes; [`ModelError::NotANumber`],
    /// [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of a rate; [`ModelError::Unstable`] unless all
    /// classes together leave the server time: rho < 1.
    pub fn new(classes: impl Into<Vec<Class>>) -> Result<Self, ModelError> {
        let classes = classes.into();
        within(Quantity::Classes, classes.len() as f64, 1.0, CLASSES_MAX as f64)?;
        let (mut left, mut found_s) = (vec![1.0], 0.0);
        let mut rest = 1.0_f64;
        for class in &classes {
            let arrival_per_s = rate(Quantity::ArrivalRate, class.arrival_per_s)?;
            rest = (-arrival_per_s).mul_add(class.service.mean_s(), rest);
            left.push(rest);
            found_s += arrival_per_s * class.service.second_moment_s2() / 2.0;
        }
        match rest > 0.0 {
            true => Ok(Self { classes, left, found_s }),
            false => {
                let arrival_per_s: f64 = classes.iter().map(|class| class.arrival_per_s).sum();
                Err(ModelError::Unstable {
                    arrival_per_s,
                    service_per_s: arrival_per_s / (1.0 - rest),
                })
            }
        }
    }

    /// The classes, the highest priority first.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Messages of all classes that leave per second, in the long run.
    pub fn throughput_per_s(&self) -> f64 {
        self.classes.iter().map(|class| class.arrival_per_s).sum()
    }

    /// The share of time that the server is busy: rho = sigma of the last class.
    pub fn load(&self) -> f64 {
        1.0 - self.idle()
    }

    /// The share of time that the system is empty: 1 - rho.
    pub fn idle(&self) -> f64 {
        self.left[self.classes.len()]
    }

    /// What is left of the service that an arriving message finds, on average, in seconds: W0.
    pub fn found_mean_s(&self) -> f64 {
        self.found_s
    }

    /// Mean time from arrival to the start of service of a class, in seconds; 0 is the highest. `None` beyond the last.
    pub fn waiting_mean_s(&self, class: usize) -> Option<f64> {
        self.classes.get(class)?;
        Some(self.found_s / (self.left[class] * self.left[class + 1]))
    }

    /// Mean time from arrival to the end of service of a class, in seconds: Wq_k + s_k. `None` beyond the last.
    pub fn sojourn_mean_s(&self, class: usize) -> Option<f64> {
        Some(self.waiting_mean_s(class)? + self.classes[class].service.mean_s())
    }

    /// Mean number of a class that wait, by Little: lambda_k Wq_k. `None` beyond the last.
    pub fn in_queue_mean(&self, class: usize) -> Option<f64> {
        Some(self.waiting_mean_s(class)? * self.classes[class].arrival_per_s)
    }

    /// Mean number of a class in the system, by Little: lambda_k W_k. `None` beyond the last.
    pub fn in_system_mean(&self, class: usize) -> Option<f64> {
        Some(self.sojourn_mean_s(class)? * self.classes[class].arrival_per_s)
    }

    /// The sum of rho_k Wq_k, in seconds: rho W0 / (1 - rho), for every order of service that neither interrupts nor
    /// idles nor looks at the service times.
    ///
    /// Source: L. Kleinrock, "A conservation law for a wide class of queueing disciplines" (1965).
    pub fn conserved_s(&self) -> f64 {
        self.load() * self.found_s / self.idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(arrival_per_s: f64, mean_s: f64) -> Class {
        Class { arrival_per_s, service: ServiceTime::exponential(mean_s).unwrap() }
    }

    #[test]
    fn a_class_that_does_not_exist_has_no_wait() {
        let queue = Priorities::new([class(0.2, 1.0), class(0.3, 1.0)]).unwrap();
        assert!(queue.waiting_mean_s(1).is_some());
        assert_eq!(queue.waiting_mean_s(2), None);
        assert_eq!(queue.in_system_mean(usize::MAX), None);
    }

    #[test]
    fn classes_that_ask_too_much_together_are_unstable() {
        let refused = Priorities::new([class(0.5, 1.0), class(0.25, 2.0)]).unwrap_err();
        assert_eq!(refused, ModelError::Unstable { arrival_per_s: 0.75, service_per_s: 0.75 });
    }

    #[test]
    fn no_class_or_one_that_never_comes_is_refused() {
        let refused = Priorities::new([]).unwrap_err();
        let quantity = Quantity::Classes;
        assert!(matches!(refused, ModelError::OutOfRange { quantity: q, .. } if q == quantity));
        let refused = Priorities::new([class(0.5, 1.0), class(0.0, 1.0)]).unwrap_err();
        let quantity = Quantity::ArrivalRate;
        assert_eq!(refused, ModelError::NotPositive { quantity, value: 0.0 });
    }
}
