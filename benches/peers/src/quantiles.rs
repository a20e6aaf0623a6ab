//! The quantiles of a repetition's latencies, in nanoseconds, by hdrhistogram.

use crate::statistics::Better;
use crate::table::Measure;
use hdrhistogram::Histogram;

/// The longest that is told from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// The columns of [`quantiles`].
pub fn measures() -> Vec<Measure> {
    let measure = |name| Measure { name, unit: "ns", better: Better::Lower, compared: true };
    ["p50", "p99", "p99.9", "max"].map(measure).into()
}

/// Median, 99th and 99.9th percentile, longest; not numbers if there is no latency.
pub fn quantiles(latencies: &[u64]) -> Vec<f64> {
    if latencies.is_empty() {
        return vec![f64::NAN; 4];
    }
    let mut histogram = Histogram::<u64>::new_with_max(LONGEST_NS, DIGITS).expect("valid limits");
    latencies.iter().for_each(|latency| histogram.saturating_record(*latency));
    let at = |share| histogram.value_at_quantile(share) as f64;
    vec![at(0.5), at(0.99), at(0.999), histogram.max() as f64]
}
