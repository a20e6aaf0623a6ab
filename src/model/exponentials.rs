//! The sum of two exponential times: a wait and a service, or two stages in a row.

/// P(X + Y > t) for independent exponential X and Y with these rates, at a time in seconds.
///
/// (a e^(-bt) - b e^(-at)) / (a - b), written so that nothing cancels where the rates are close, or equal: with
/// b the lower and d = a - b it is e^(-bt) (1 + b t (1 - e^(-dt)) / (dt)).
///
/// Source: the hypoexponential distribution; W. Feller, "An Introduction to Probability Theory" II, I.13 (1971).
pub(super) fn two_exponentials_tail(one_per_s: f64, other_per_s: f64, t_s: f64) -> f64 {
    let (low, high) = (one_per_s.min(other_per_s), one_per_s.max(other_per_s));
    // For a time without end both factors below would be 0 times infinity.
    let t_s = t_s.max(0.0).min(2_000.0 / low);
    let apart = (high - low) * t_s;
    let share = match apart > 0.0 {
        true => -(-apart).exp_m1() / apart,
        false => 1.0,
    };
    (-low * t_s).exp() * (1.0 + low * t_s * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal rates are the Erlang distribution of two phases, and the formula passes through it.
    #[test]
    fn two_exponentials_may_be_equal_or_close_or_far() {
        let erlang = (1.0 + 3.0) * (-3.0_f64).exp();
        for other in [1.0, 1.0 + 1e-15, 1.0 - 1e-13] {
            assert!((two_exponentials_tail(1.0, other, 3.0) / erlang - 1.0).abs() < 1e-11);
        }
        let far = (5.0 * (-2.0_f64).exp() - 2.0 * (-5.0_f64).exp()) / 3.0;
        assert!((two_exponentials_tail(2.0, 5.0, 1.0) / far - 1.0).abs() < 1e-14);
        assert_eq!(two_exponentials_tail(2.0, 5.0, 0.0), 1.0);
        assert_eq!(two_exponentials_tail(2.0, 5.0, f64::INFINITY), 0.0);
    }
}
