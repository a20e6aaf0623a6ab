//! A span: the values that an axis shows, where its ticks are, and what they are called.
//!
//! It is a coordinate of plotters, so that grid, ticks and data go through one map. Linear ticks are 1, 2 or 5 times a power
//! of ten apart; logarithmic ones are the powers of ten, with 2 and 5 between them where fewer than three powers are in view.

use super::{Axis, Scale};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// About so many ticks on a linear axis.
const TICKS: f64 = 6.0;
/// The least factor between the ends of a logarithmic axis.
const FACTOR_MIN: f64 = 4.0;
/// The most decades of a logarithmic axis: what is below is below anything measured.
const DECADES_MAX: f64 = 12.0;
/// Empty room at the ends, as a share of the axis.
const MARGIN: f64 = 0.04;

/// The values of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    low: f64,
    high: f64,
    scale: Scale,
    ticks: Vec<f64>,
}

impl Span {
    /// A span that holds what of `values` can be drawn.
    pub fn over(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let limited = |value: f64| match axis.limits {
            Some((low, high)) if low < high => value.max(low).min(high),
            _ => value,
        };
        let values = values.filter(|value| drawable(axis.scale, *value)).map(limited);
        let all = values.chain(axis.include.iter().copied());
        let (low, high) = all
            .filter(|value| drawable(axis.scale, *value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        match axis.scale {
            Scale::Linear => Self::linear(axis, low, high),
            Scale::Log => Self::log(low, high),
        }
    }

    fn linear(axis: &Axis, low: f64, high: f64) -> Self {
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let wide = high - low;
        // One value, or values that differ by less than can be printed: some room around them.
        let least = (low.abs().max(high.abs()) * 1e-6).max(1e-9);
        let room = if wide > least { wide * MARGIN } else { low.abs().max(1.0) * 0.05 };
        let fixed = |value: f64| axis.include.contains(&value);
        let low = if fixed(low) { low } else { low - room };
        let high = if fixed(high) && wide > least { high } else { high + room };
        let step = step(high - low);
        let (first, last) = ((low / step).ceil(), (high / step + 1e-9).floor());
        let count = (last - first).clamp(0.0, 4.0 * TICKS) as u32;
        let ticks = (0..=count).map(|index| (first + f64::from(index)) * step).collect();
        Self { low, high, scale: Scale::Linear, ticks }
    }

    fn log(low: f64, high: f64) -> Self {
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let low = low.max(high / 10_f64.powf(DECADES_MAX));
        let room = (high / low).powf(MARGIN);
        let (mut low, mut high) = (low / room, high * room);
        if high / low < FACTOR_MIN {
            let more = (FACTOR_MIN / (high / low)).sqrt();
            (low, high) = (low / more, high * more);
        }
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let decades = last - first;
        let between: &[f64] = if decades <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let each = if decades > 8 { 2 } else { 1 };
        let powers = (first..=last).filter(|power| power % each == 0);
        let ticks = powers.flat_map(|power| between.iter().map(move |part| tick(*part, power)));
        let ticks = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        Self { low, high, scale: Scale::Log, ticks }
    }

    /// The lower end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The upper end.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// The nearest value that is inside; the lower end for what cannot be drawn.
    pub fn clamp(&self, value: f64) -> f64 {
        if value.is_nan() { self.low } else { value.clamp(self.low, self.high) }
    }

    /// The name of a tick.
    pub fn name(&self, value: f64) -> String {
        let size = value.abs();
        if value == 0.0 || size < self.high.abs().max(self.low.abs()) * 1e-9 {
            return "0".into();
        }
        if !(1e-4..1e7).contains(&size) {
            return format!("{value:e}");
        }
        // As many places as the value needs: ticks are short decimals but for rounding.
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    }
}

/// Can this be drawn on such an axis?
pub fn drawable(scale: Scale, value: f64) -> bool {
    match scale {
        Scale::Linear => value.is_finite() && value.abs() < 1e300,
        Scale::Log => value.is_finite() && value > f64::MIN_POSITIVE && value < 1e300,
    }
}

/// `part` times ten to the `power`, rounded as a person would write it.
fn tick(part: f64, power: i32) -> f64 {
    if power >= 0 { part * 10_f64.powi(power) } else { part / 10_f64.powi(-power) }
}

/// 1, 2 or 5 times a power of ten, about a sixth of `wide`.
fn step(wide: f64) -> f64 {
    let rough = wide / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| rough <= factor * power * 1.0001);
    factor.unwrap_or(10.0) * power
}

impl Ranged for Span {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let value = self.clamp(*value);
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Span {
    fn format_ext(&self, value: &f64) -> String {
        self.name(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(span: &Span) -> Vec<String> {
        span.ticks.iter().map(|tick| span.name(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        let axis = Axis::linear("load", "1").including(&[0.0, 1.0]);
        let span = Span::over(&axis, [0.1, 0.95].into_iter());
        assert_eq!(names(&span), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let span = Span::over(&Axis::log("time", "us"), [0.03, 2000.0].into_iter());
        assert_eq!(names(&span), ["0.1", "1", "10", "100", "1000"]);
        let span = Span::over(&Axis::log("time", "us"), [11.0, 40.0].into_iter());
        assert_eq!(names(&span), ["20"]);
    }

    #[test]
    fn every_span_is_finite_and_has_ticks_whatever_the_values_are() {
        let values = [f64::NAN, f64::INFINITY, 0.0, -1.0, 1.0, 1e-320, 1e299, -1e299, 7.25, 1e18];
        for scale in [Scale::Linear, Scale::Log] {
            let axis = Axis { scale, ..Axis::linear("x", "1") };
            for first in values {
                for second in values {
                    let span = Span::over(&axis, [first, second].into_iter());
                    let case = format!("{scale:?} {first} {second}: {span:?}");
                    assert!(span.low.is_finite() && span.high.is_finite(), "{case}");
                    assert!(span.low < span.high, "{case}");
                    assert!(!span.ticks.is_empty() && span.ticks.len() <= 30, "{case}");
                    for value in values {
                        let place = span.map(&value, (100, 500));
                        assert!((100..=500).contains(&place), "{case}: {value} at {place}");
                    }
                }
            }
        }
    }
}
