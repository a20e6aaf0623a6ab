//! `ServiceTime`: what a general law needs to know of the services, their mean and their variability.

use super::error::{time_s, within};
use super::{ModelError, Quantity};

/// The most variable that services or gaps may be: variance over squared mean.
pub const CV2_MAX: f64 = 1e6;

/// Mean and squared coefficient of variation of the services.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceTime {
    mean_s: f64,
    cv2: f64,
}

impl ServiceTime {
    /// Services of `mean_s` seconds with variance / mean^2 = `cv2` (cs2): 0 all alike, 1 as variable as exponential.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at
    /// fault: the mean is a positive time, `cv2` from 0 to [`CV2_MAX`].
    pub fn new(mean_s: f64, cv2: f64) -> Result<Self, ModelError> {
        let mean_s = time_s(Quantity::ServiceMean, mean_s)?;
        let cv2 = within(Quantity::ServiceCv2, cv2, 0.0, CV2_MAX)?;
        Ok(Self { mean_s, cv2 })
    }

    /// Exponential services: cs2 = 1.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn exponential(mean_s: f64) -> Result<Self, ModelError> {
        Self::new(mean_s, 1.0)
    }

    /// Services all of one length: cs2 = 0.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn constant(mean_s: f64) -> Result<Self, ModelError> {
        Self::new(mean_s, 0.0)
    }

    /// Services of which the first two moments E\[S\] and E\[S^2\] were measured, in seconds and seconds squared.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; a second moment below the squared mean is [`ModelError::OutOfRange`], beyond a rounding
    /// error of 1e-12 of it.
    pub fn from_moments(mean_s: f64, second_moment_s2: f64) -> Result<Self, ModelError> {
        let mean_s = time_s(Quantity::ServiceMean, mean_s)?;
        let (square, quantity) = (mean_s * mean_s, Quantity::ServiceSecondMoment);
        let (least, most) = (square * (1.0 - 1e-12), square * (1.0 + CV2_MAX));
        let second_moment_s2 = within(quantity, second_moment_s2, least, most)?;
        Self::new(mean_s, ((second_moment_s2 - square) / square).max(0.0))
    }

    /// s, in seconds.
    pub fn mean_s(&self) -> f64 {
        self.mean_s
    }

    /// cs2 = Var\[S\] / s^2.
    pub fn cv2(&self) -> f64 {
        self.cv2
    }

    /// m2 = E\[S^2\] = s^2 (1 + cs2), in seconds squared.
    pub fn second_moment_s2(&self) -> f64 {
        self.mean_s * self.mean_s * (1.0 + self.cv2)
    }

    /// What is left of a service that is under way at a random moment, on average: m2 / (2 s), in seconds.
    ///
    /// Source: renewal theory; D. R. Cox, "Renewal Theory" (1962).
    pub fn residual_mean_s(&self) -> f64 {
        self.mean_s * (1.0 + self.cv2) / 2.0
    }

    /// The share of time that one server is idle at this rate, 1 - lambda s, with a single rounding; or why there is
    /// no steady state.
    pub(super) fn idle(&self, arrival_per_s: f64) -> Result<f64, ModelError> {
        let idle = (-arrival_per_s).mul_add(self.mean_s, 1.0);
        match idle > 0.0 {
            true => Ok(idle),
            false => Err(ModelError::Unstable { arrival_per_s, service_per_s: 1.0 / self.mean_s }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_go_in_and_come_out() {
        let service = ServiceTime::from_moments(0.5, 0.75).unwrap();
        assert_eq!((service.mean_s(), service.cv2()), (0.5, 2.0));
        assert_eq!(service.second_moment_s2(), 0.75);
        assert_eq!(ServiceTime::exponential(3.0).unwrap().residual_mean_s(), 3.0);
        assert_eq!(ServiceTime::constant(3.0).unwrap().residual_mean_s(), 1.5);
    }

    #[test]
    fn services_that_cannot_be_are_refused_by_name() {
        let quantity = Quantity::ServiceMean;
        for value in [0.0, -1.0] {
            let refused = ServiceTime::exponential(value);
            assert_eq!(refused, Err(ModelError::NotPositive { quantity, value }));
        }
        let refused = ServiceTime::exponential(f64::NAN);
        assert_eq!(refused, Err(ModelError::NotANumber { quantity }));
        for cv2 in [-0.1, 2e6, f64::INFINITY] {
            let refused = ServiceTime::new(1.0, cv2).unwrap_err();
            assert!(matches!(
                refused,
                ModelError::OutOfRange { quantity: Quantity::ServiceCv2, value, .. } if value == cv2
            ));
        }
        let refused = ServiceTime::from_moments(1.0, 0.5).unwrap_err();
        let quantity = Quantity::ServiceSecondMoment;
        assert!(matches!(refused, ModelError::OutOfRange { quantity: q, .. } if q == quantity));
        assert_eq!(ServiceTime::from_moments(1.0, 1.0_f64.next_down()).unwrap().cv2(), 0.0);
    }
}
