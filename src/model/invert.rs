//! From a tail to a quantile, and from a rule that holds up to some point to that point.
//!
//! Bisection down to neighbouring doubles: some sixty halvings, no derivative, no way to diverge. Tails here cost
//! well under a microsecond, or some milliseconds in the largest systems.

use super::error::below_one;
use super::{ModelError, Quantity};

/// Doublings after which a search gives up; 2^200 of any mean here is beyond every tail.
const DOUBLINGS_MAX: u32 = 200;

/// The least time in seconds at which `tail` is at most 1 - p, for a tail that falls to 0.
///
/// `scale_s` is any time of the right order. 0 if the tail starts below 1 - p.
///
/// # Errors
///
/// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless 0 <= p < 1.
pub(super) fn quantile_s(
    p: f64,
    scale_s: f64,
    tail: impl Fn(f64) -> f64,
) -> Result<f64, ModelError> {
    let beyond = 1.0 - below_one(Quantity::Probability, p)?;
    if tail(0.0) <= beyond {
        return Ok(0.0);
    }
    let mut high = scale_s;
    for _ in 0..DOUBLINGS_MAX {
        if tail(high) <= beyond {
            break;
        }
        high *= 2.0;
    }
    Ok(first_where(0.0, high, |t_s| tail(t_s) <= beyond))
}

/// The lowest double in `low..=high` at which `holds`, where it fails at `low`, holds at `high`, and changes once.
/// Both ends are positive or zero.
pub(super) fn first_where(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    // Doubles that are not negative are ordered as their bits are: halving the bits halves the number of doubles.
    let (mut low, mut high) = (low.to_bits(), high.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match holds(f64::from_bits(middle)) {
            true => high = middle,
            false => low = middle,
        }
    }
    f64::from_bits(high)
}

/// The lowest integer in `least..=most` at which `holds`, which changes once from false to true; `None` if it holds
/// nowhere. Doubles its stride first, so that the cost follows the answer and not `most`.
pub(super) fn first_integer_where<E>(
    least: u64,
    most: u64,
    holds: impl Fn(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let (mut fails, mut stride) = (None, 1_u64);
    let mut high = loop {
        let at = fails.map_or(least, |fails: u64| fails.saturating_add(stride).min(most));
        if holds(at)? {
            break at;
        }
        if at == most {
            return Ok(None);
        }
        stride = stride.saturating_mul(2);
        fails = Some(at);
    };
    let Some(mut low) = fails else { return Ok(Some(high)) };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match holds(middle)? {
            true => high = middle,
            false => low = middle,
        }
    }
    Ok(Some(high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn the_first_double_is_the_first() {
        assert_eq!(first_where(0.0, 10.0, |x| x >= 0.1), 0.1);
        assert_eq!(first_where(0.0, 1e300, |x| x * x >= 2.0), 2.0_f64.sqrt());
    }

    #[test]
    fn the_first_integer_is_found_wherever_it_is() {
        for first in 3..200 {
            let found = first_integer_where(3, 150, |n| Ok::<_, Infallible>(n >= first));
            assert_eq!(found, Ok((first <= 150).then_some(first)));
        }
    }

    #[test]
    fn a_quantile_is_where_the_tail_falls_to_the_rest() {
        let found = quantile_s(0.99, 1e-3, |t| (-t).exp()).unwrap();
        assert!((found - 100_f64.ln()).abs() < 1e-13);
        assert_eq!(quantile_s(0.3, 1.0, |t| 0.5 * (-t).exp()), Ok(0.0));
        assert!(quantile_s(1.0, 1.0, |t| (-t).exp()).is_err());
    }
}
