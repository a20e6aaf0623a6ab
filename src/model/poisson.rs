//! Poisson probabilities without factorials: weights relative to the most likely count, walked outwards from it.
//!
//! Each weight is its neighbour times mean / n or n / mean, so all are positive and nothing cancels; what lies below
//! 1e-300 of the largest is left out. That reaches 37 standard deviations on each side, which bounds the walk.

/// Where a weight counts as nothing.
const WEIGHT_MIN: f64 = 1e-300;

/// Calls `each` with every count that matters and its weight, the largest being 1, and returns the sum of all
/// weights: weight / sum is the probability. The counts come downwards from the most likely, then upwards.
pub(super) fn each_weight(mean: f64, mut each: impl FnMut(u64, f64)) -> f64 {
    let mode = mean.floor();
    let (mut sum, mut count, mut weight) = (0.0, mode, 1.0);
    while weight >= WEIGHT_MIN {
        each(count as u64, weight);
        sum += weight;
        if count == 0.0 {
            break;
        }
        weight *= count / mean;
        count -= 1.0;
    }
    (count, weight) = (mode + 1.0, mean / (mode + 1.0));
    while weight >= WEIGHT_MIN {
        each(count as u64, weight);
        sum += weight;
        count += 1.0;
        weight *= mean / count;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_over_their_sum_are_probabilities() {
        let (mut at_three, mut mean) = (0.0, 0.0);
        let sum = each_weight(2.5, |count, weight| {
            mean += count as f64 * weight;
            if count == 3 {
                at_three = weight;
            }
        });
        let expected = (-2.5_f64).exp() * 2.5_f64.powi(3) / 6.0;
        assert!((at_three / sum / expected - 1.0).abs() < 1e-14);
        assert!((mean / sum / 2.5 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_mean_of_nothing_or_of_millions_is_walked_in_bounded_steps() {
        for mean in [0.0, 1e-300, 0.3, 1e6] {
            let mut steps = 0_u64;
            let sum = each_weight(mean, |_, _| steps += 1);
            assert!(sum >= 1.0 && steps <= 200 + (80.0 * mean.sqrt()) as u64, "{mean}: {steps}");
        }
    }
}
