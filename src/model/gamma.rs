//! The gamma distribution: the stand-in for services of which only mean and variability are known.
//!
//! It is constant at cs2 = 0, an Erlang distribution at cs2 = 1/k, exponential at 1, and long-tailed above. The incomplete
//! gamma function is summed as a series below its mean and as a continued fraction above, both of positive terms; ln of
//! the gamma function is Stirling's series after a shift.
//!
//! # Limits
//!
//! Below cs2 = [`CV2_CONSTANT`] services count as constant: they vary by less than one percent.
//!
//! Source: M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 6.1.40, 6.5.29, 6.5.31;
//! W. H. Press et al., "Numerical Recipes" (1992), 6.2, for where to change from one to the other.

use super::ModelError;
use super::invert::quantile_s;
use super::poisson::each_weight;
use super::service::ServiceTime;

/// Where services count as constant.
pub(super) const CV2_CONSTANT: f64 = 1e-4;
/// Terms after which a series or fraction is taken as it stands: shapes up to 10^4 need some 1,000.
const TERMS_MAX: u32 = 20_000;
/// Where a Poisson mean stands for the whole distribution.
const MEAN_MAX: f64 = 1e6;

/// P(S > t) for gamma services, t in seconds.
pub(super) fn tail(service: &ServiceTime, t_s: f64) -> f64 {
    let times = t_s.max(0.0) / service.mean_s();
    match service.cv2() < CV2_CONSTANT {
        true => f64::from(u8::from(times < 1.0)),
        false => upper(1.0 / service.cv2(), times / service.cv2()),
    }
}

/// The time in seconds that a share `p` of gamma services does not exceed.
pub(super) fn service_quantile_s(service: &ServiceTime, p: f64) -> Result<f64, ModelError> {
    match service.cv2() < CV2_CONSTANT {
        true => quantile_s(p, service.mean_s(), |_| 0.0).map(|_| service.mean_s()),
        false => quantile_s(p, service.mean_s(), |t_s| tail(service, t_s)),
    }
}

/// P(S + X > t) for a gamma service S and an exponential X of rate `rate_per_s`.
///
/// P(S > t), plus the integral of the density of S at y times e^(-rate (t - y)). With b the rate of the gamma's phases that
/// is an incomplete gamma function again if rate <= b, and otherwise the mean of 1 / (k + Poisson((rate - b) t)), by
/// exchanging a series of positive terms with the integral.
pub(super) fn tail_with_exponential(service: &ServiceTime, rate_per_s: f64, t_s: f64) -> f64 {
    let (mean_s, cv2) = (service.mean_s(), service.cv2());
    if t_s <= 0.0 {
        return 1.0;
    }
    if cv2 < CV2_CONSTANT {
        return (-rate_per_s * (t_s - mean_s).max(0.0)).exp();
    }
    let (shape, phase_per_s) = (1.0 / cv2, 1.0 / (mean_s * cv2));
    let alone = upper(shape, phase_per_s * t_s);
    let density = || {
        let phases = phase_per_s * t_s;
        (shape * phases.ln() - phases - ln_gamma(shape)).exp()
    };
    let apart = (phase_per_s - rate_per_s) * t_s;
    let with_wait = if apart < 0.0 {
        density() * mean_inverse(shape, -apart)
    } else if apart < shape + 1.0 {
        density() * lower_series(shape, apart)
    } else {
        let moment_ln = -shape * (-rate_per_s / phase_per_s).ln_1p();
        (moment_ln - rate_per_s * t_s).exp() * (1.0 - upper(shape, apart))
    };
    (alone + with_wait).min(1.0)
}

/// E\[1 / (k + N)\] for a Poisson N.
fn mean_inverse(shape: f64, mean: f64) -> f64 {
    if mean > MEAN_MAX {
        return 1.0 / (shape + mean);
    }
    let mut inverse = 0.0;
    let sum = each_weight(mean, |count, weight| inverse += weight / (shape + count as f64));
    inverse / sum
}

/// The regularised upper incomplete gamma function Q(k, x), for k > 0 and x >= 0.
fn upper(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (shape * x.ln() - x - ln_gamma(shape)).exp();
    match x < shape + 1.0 {
        true => (1.0 - front * lower_series(shape, x)).max(0.0),
        false => front * upper_fraction(shape, x),
    }
}

/// Sum of x^n / (k (k+1) .. (k+n)).
fn lower_series(shape: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / shape, 1.0 / shape);
    for n in 1..TERMS_MAX {
        term *= x / (shape + f64::from(n));
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// 1 / (x + 1 - k - 1 (1 - k) / (x + 3 - k - ...)), by Lentz's method.
fn upper_fraction(shape: f64, x: f64) -> f64 {
    let mut denominator = x + 1.0 - shape;
    let (mut c, mut d) = (1.0 / f64::MIN_POSITIVE, 1.0 / denominator);
    let mut fraction = d;
    for n in 1..TERMS_MAX {
        let numerator = -f64::from(n) * (f64::from(n) - shape);
        denominator += 2.0;
        d = 1.0 / numerator.mul_add(d, denominator);
        c = denominator + numerator / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

/// ln of the gamma function for x > 0: Stirling's series at x + 10 or above, and back by the recurrence.
fn ln_gamma(x: f64) -> f64 {
    let (mut at, mut product) = (x, 1.0);
    while at < 10.0 {
        product *= at;
        at += 1.0;
    }
    let square = at * at;
    let series = (1.0 / 12.0
        - (1.0 / 360.0
            - (1.0 / 1_260.0 - (1.0 / 1_680.0 - 1.0 / 1_188.0 / square) / square) / square)
            / square)
        / at;
    (at - 0.5) * at.ln() - at + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64, relative: f64) {
        let off = (found / expected - 1.0).abs();
        assert!(off <= relative, "{found:.15e} is off {expected:.15e} by {off:e}");
    }

    fn service(cv2: f64) -> ServiceTime {
        ServiceTime::new(1.0, cv2).unwrap()
    }

    /// Values apart from this crate, with 40 digits.
    #[test]
    fn the_tail_of_a_gamma_service_has_the_reference_values() {
        assert_near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
        assert_near(ln_gamma(171.0), 706.5730622457873, 1e-14);
        // Four phases, by hand: sum of 8^j / j! e^-8 over j < 4.
        let erlang = (1.0 + 8.0 + 32.0 + 512.0 / 6.0) * (-8.0_f64).exp();
        assert_near(tail(&service(0.25), 2.0), erlang, 1e-13);
        assert_near(tail(&service(1.0), 30.0), (-30.0_f64).exp(), 1e-13);
        // cs2 = 2: shape 1/2, the tail is erfc(sqrt(x)).
        assert_near(tail(&service(2.0), 2.0), 0.157299207050285, 1e-13);
    }

    #[test]
    fn a_wait_and_a_service_agree_with_the_sum_of_two_exponentials() {
        for rate in [0.1, 0.5, 0.999, 1.0, 1.001, 2.0, 50.0, 1e7] {
            for t_s in [0.01, 1.0, 5.0, 20.0] {
                let expected = super::super::exponentials::two_exponentials_tail(1.0, rate, t_s);
                assert_near(tail_with_exponential(&service(1.0), rate, t_s), expected, 1e-9);
            }
        }
    }

    #[test]
    fn the_two_ways_to_add_a_wait_meet() {
        for cv2 in [0.01, 0.3, 2.0, 20.0] {
            let phase_per_s = 1.0 / cv2;
            for t_s in [0.5, 1.0, 3.0] {
                let below = tail_with_exponential(&service(cv2), phase_per_s * (1.0 - 1e-9), t_s);
                let above = tail_with_exponential(&service(cv2), phase_per_s * (1.0 + 1e-9), t_s);
                assert_near(below, above, 1e-6);
            }
        }
    }
}
