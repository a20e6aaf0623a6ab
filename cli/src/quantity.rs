//! Rates, shares, numbers and targets, as they are written on the command line.
//!
//! | what | is written | examples |
//! | --- | --- | --- |
//! | rate | a number, `k`, `M` or `G` if need be, and `/s`, `/min` or `/h` if it is not a second's | `500`, `50k/s`, `1.5M/min` |
//! | share | a number from 0 to 1, or a percentage | `0.01`, `1%`, `1e-6` |
//! | target | `wait` or `sojourn` (which may be left out), `mean` or a percentile, `<`, a duration | `p99<2ms`, `wait p99.9 < 10ms`, `mean<500us` |

use humantime::DurationError;
use millstream::model::Target;

/// Multiples of a rate.
const MULTIPLES: [(&str, f64); 3] = [("k", 1e3), ("M", 1e6), ("G", 1e9)];
/// What a rate may be counted by, in seconds.
const SPANS: [(&str, f64); 3] = [("s", 1.0), ("min", 60.0), ("h", 3_600.0)];

/// Why it is no rate.
#[derive(Debug, thiserror::Error)]
pub enum RateError {
    #[error("a rate is a number, and `k`, `M` or `G` if need be, as in `50k/s`")]
    Number,
    #[error("`/s`, `/min` and `/h` are allowed after a rate, and this has `/{0}`")]
    Span(String),
    #[error("a rate is above 0")]
    NotPositive,
}

/// For clap: events a second.
pub fn rate(text: &str) -> Result<f64, RateError> {
    let (number, span) = text.split_once('/').unwrap_or((text, "s"));
    let known = SPANS.iter().find(|(name, _)| *name == span.trim());
    let (_, seconds) = known.ok_or_else(|| RateError::Span(span.to_owned()))?;
    let number = number.trim();
    let multiple = MULTIPLES.iter().find_map(|(name, factor)| {
        number.strip_suffix(name).map(|number| (number.trim_end(), *factor))
    });
    let (number, factor) = multiple.unwrap_or((number, 1.0));
    let per_s = decimal(number).ok_or(RateError::Number)? * factor / seconds;
    match 0.0 < per_s && per_s.is_finite() {
        true => Ok(per_s),
        false => Err(RateError::NotPositive),
    }
}

/// Why it is no number of that kind.
#[derive(Debug, thiserror::Error)]
pub enum NumberError {
    #[error("not a number")]
    Number,
    #[error("a share is from 0 to 1, or from 0 % to 100 %, without the ends")]
    Share,
    #[error("it must be above 0")]
    NotPositive,
    #[error("it cannot be negative")]
    Negative,
}

/// For clap: a share above 0 and below 1, or a percentage.
pub fn share(text: &str) -> Result<f64, NumberError> {
    let value = match text.strip_suffix('%') {
        Some(percent) => decimal(percent.trim_end()).map(|percent| percent / 100.0),
        None => decimal(text),
    };
    let value = value.ok_or(NumberError::Number)?;
    match 0.0 < value && value < 1.0 {
        true => Ok(value),
        false => Err(NumberError::Share),
    }
}

/// For clap: a number above 0.
pub fn positive(text: &str) -> Result<f64, NumberError> {
    match decimal(text).ok_or(NumberError::Number)? {
        value if 0.0 < value => Ok(value),
        _ => Err(NumberError::NotPositive),
    }
}

/// For clap: a number that is not negative.
pub fn not_negative(text: &str) -> Result<f64, NumberError> {
    match decimal(text).ok_or(NumberError::Number)? {
        value if 0.0 <= value => Ok(value),
        _ => Err(NumberError::Negative),
    }
}

/// A finite number in digits; neither `inf` nor `nan`, which the standard library would take.
fn decimal(text: &str) -> Option<f64> {
    let begins = text.starts_with(|each: char| each.is_ascii_digit() || "+-.".contains(each));
    text.parse().ok().filter(|number: &f64| begins && number.is_finite())
}

/// Why it is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("a target has a `<`, as in `p99<2ms`; quote it, for the shell reads `<` too")]
    NoLess,
    #[error(
        "before `<` stand `mean` or a percentile such as `p99.9`, and `wait` or `sojourn` before it if need be; not `{0}`"
    )]
    Measure(String),
    #[error("a percentile is above 0 and below 100, as in `p99.9`; not `p{0}`")]
    Percentile(String),
    #[error("after `<`: {0}, as in `p99<2ms`")]
    Duration(#[from] DurationError),
    #[error("no time at all is no target")]
    Zero,
}

/// For clap: a target.
pub fn target(text: &str) -> Result<Target, TargetError> {
    let (left, most) = text.split_once('<').ok_or(TargetError::NoLess)?;
    let words: Vec<&str> = left.split_whitespace().collect();
    let (waits, measure) = match words[..] {
        ["wait", measure] => (true, measure),
        ["sojourn", measure] | [measure] => (false, measure),
        _ => return Err(TargetError::Measure(left.trim().to_owned())),
    };
    let p = match (measure, measure.strip_prefix('p')) {
        ("mean", _) => None,
        (_, Some(percentile)) => Some(quantile(percentile)?),
        _ => return Err(TargetError::Measure(measure.to_owned())),
    };
    let most = humantime::parse_duration(most.strip_prefix('=').unwrap_or(most).trim())?;
    if most.is_zero() {
        return Err(TargetError::Zero);
    }
    let most_s = most.as_secs_f64();
    Ok(match (waits, p) {
        (false, None) => Target::SojournMean { most_s },
        (false, Some(p)) => Target::SojournQuantile { p, most_s },
        (true, None) => Target::WaitingMean { most_s },
        (true, Some(p)) => Target::WaitingQuantile { p, most_s },
    })
}

/// The share of a percentile. Its decimal point is moved before it is read: 99.9 / 100 is not the number next to 0.999.
fn quantile(percentile: &str) -> Result<f64, TargetError> {
    let share = decimal(&format!("{percentile}e-2")).filter(|share| 0.0 < *share && *share < 1.0);
    share.ok_or_else(|| TargetError::Percentile(percentile.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_multiple_and_a_span() {
        let cases = [
            ("500", 500.0),
            ("50k/s", 50_000.0),
            ("50 k / s", 50_000.0),
            ("1.5M/min", 25_000.0),
            ("36/h", 0.01),
            ("2e3", 2_000.0),
            ("1G", 1e9),
        ];
        for (text, per_s) in cases {
            assert_eq!(rate(text).ok(), Some(per_s), "{text}");
        }
        for text in ["", "k/s", "fast", "inf", "nan", "5m/s", "infinity", "1,000"] {
            assert!(matches!(rate(text), Err(RateError::Number)), "{text}");
        }
        for text in ["5/d", "5/", "5/s/s"] {
            assert!(matches!(rate(text), Err(RateError::Span(_))), "{text}");
        }
        for text in ["0", "-1k/s", "0/min"] {
            assert!(matches!(rate(text), Err(RateError::NotPositive)), "{text}");
        }
    }

    #[test]
    fn a_share_may_be_a_percentage() {
        let cases = [("0.01", 0.01), ("1%", 0.01), ("1 %", 0.01), ("1e-6", 1e-6), (".5", 0.5)];
        for (text, value) in cases {
            assert_eq!(share(text).ok(), Some(value), "{text}");
        }
        for text in ["0", "1", "100%", "-1%", "2"] {
            assert!(matches!(share(text), Err(NumberError::Share)), "{text}");
        }
        assert!(matches!(share("much"), Err(NumberError::Number)));
    }

    #[test]
    fn a_target_names_a_time_a_measure_and_a_duration() {
        let cases = [
            ("p99<2ms", Target::SojournQuantile { p: 0.99, most_s: 0.002 }),
            ("p99.9 < 10ms", Target::SojournQuantile { p: 0.999, most_s: 0.01 }),
            ("mean<=5ms", Target::SojournMean { most_s: 0.005 }),
            ("sojourn mean<5ms", Target::SojournMean { most_s: 0.005 }),
            ("wait p50<1s", Target::WaitingQuantile { p: 0.5, most_s: 1.0 }),
            ("wait mean<500us", Target::WaitingMean { most_s: 0.0005 }),
        ];
        for (text, expected) in cases {
            assert_eq!(target(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_told_why() {
        let refused = |text: &str| target(text).unwrap_err().to_string();
        assert!(refused("p99").contains("`<`"));
        assert!(refused("p99 2ms").contains("`<`"));
        assert!(refused("<2ms").contains("before `<`"));
        assert!(refused("max<2ms").contains("`max`"));
        assert!(refused("often p99<2ms").contains("`often p99`"));
        assert!(refused("p100<2ms").contains("`p100`"));
        assert!(refused("p0<2ms").contains("`p0`"));
        assert!(refused("p<2ms").contains("percentile"));
        assert!(refused("p99<2").contains("unit"));
        assert!(refused("p99<").contains("after `<`"));
        assert!(refused("p99<0ms").contains("no time"));
    }
}
