//! Rates, shares and numbers, as they are written on the command line.
//!
//! | what | is written | examples |
//! | --- | --- | --- |
//! | rate | a number, `k`, `M` or `G` if need be, and `/s`, `/min` or `/h` if it is not a second's | `500`, `50k/s`, `1.5M/min` |
//! | share | a number from 0 to 1, or a percentage | `0.01`, `1%`, `1e-6` |

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
}
