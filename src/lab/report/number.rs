//! Numbers as people read them: four digits, a unit that fits, never a bare exponent where a prefix will do.

/// Four significant digits.
pub fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let before = if size < 1.0 { 0 } else { size.log10().floor() as usize + 1 };
    let after = match size {
        0.0 => return "0".into(),
        size if size < 1.0 => (3.0 - size.log10().floor()) as usize,
        _ => 4_usize.saturating_sub(before),
    };
    format!("{value:.after$}")
}

/// Seconds.
pub fn time(seconds: f64) -> String {
    let size = seconds.abs();
    let (factor, unit) = match size {
        size if size >= 1.0 || size == 0.0 => (1.0, "s"),
        size if size >= 1e-3 => (1e3, "ms"),
        size if size >= 1e-6 => (1e6, "us"),
        _ => (1e9, "ns"),
    };
    if seconds.is_finite() { format!("{} {unit}", digits(seconds * factor)) } else { "-".into() }
}

/// Nanoseconds.
pub fn time_ns(nanoseconds: f64) -> String {
    time(nanoseconds * 1e-9)
}

/// A share, as a percentage.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{} %", digits(share * 100.0)) } else { "-".into() }
}

/// A whole number, its thousands apart.
pub fn count(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A quantity of a check in its own unit, which its name tells.
pub fn quantity(name: &str, value: f64) -> String {
    match unit(name) {
        "s" => time(value),
        "1/s" => format!("{}/s", digits(value)),
        _ => digits(value),
    }
}

/// The unit of a quantity, by its name.
pub fn unit(name: &str) -> &'static str {
    let is_time =
        name.starts_with('W') || name.starts_with("p99 of W") || name.contains("hand-off");
    match name {
        _ if is_time => "s",
        _ if name.starts_with("throughput") && !name.contains('/') => "1/s",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_a_unit_that_fits() {
        let shown = [0.0, 1.0, 1.04263, 99.999, 123_456.7, 0.012_345_6, 1e-5, 2e9, f64::NAN];
        let expected =
            ["0", "1.000", "1.043", "100.00", "123457", "0.01235", "1.000e-5", "2.000e9", "-"];
        assert_eq!(shown.map(digits), expected);
        let shown = [0.0, 2.5, 0.0025, 2.5e-4, 2.5e-8, f64::INFINITY].map(time);
        assert_eq!(shown, ["0 s", "2.500 s", "2.500 ms", "250.0 us", "25.00 ns", "-"]);
        assert_eq!([1, 1000, 12_345_678].map(count), ["1", "1 000", "12 345 678"]);
        assert_eq!(percent(0.01), "1.000 %");
        assert_eq!(quantity("W from arrival", 2.5e-4), "250.0 us");
        assert_eq!(quantity("throughput", 2000.0), "2000/s");
        assert_eq!(quantity("loss", 0.0888), "0.08880");
    }
}
