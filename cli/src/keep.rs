//! What an owner of a queue keeps on the disk, and what it does when that is full: options that several commands share.
//!
//! They count for the run that has them. A queue does not remember them, so a run without them reclaims what an earlier
//! one kept.

use clap::Args;
use millstream::{Config, Retention, WhenFull};
use std::time::Duration;

/// Units of bytes, as they are written on the command line.
const UNITS: [(&str, u64); 5] =
    [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// What is kept of what is settled.
#[derive(Debug, Args)]
pub struct Keep {
    /// Keep messages that are settled for this long from their publish on, such as `7d`; without it they go, file by
    /// file. It counts for this run: one without it lets them go
    #[arg(long, value_name = "D", value_parser = age)]
    retention_age: Option<Duration>,
    /// Keep the last N bytes of the log, such as `10GiB`, though they are settled. With --retention-age: what both
    /// would keep
    #[arg(long, value_name = "N", value_parser = kept_bytes)]
    retention_bytes: Option<u64>,
    /// How many bytes the log may take; at least three files of 64 MiB [default: 8GiB]
    #[arg(long, value_name = "N", value_parser = bytes)]
    disk_bytes_max: Option<u64>,
}

impl Keep {
    /// The configuration with these.
    pub fn of(&self, config: Config) -> Config {
        let retention = Retention::new();
        let retention = self.retention_age.map_or(retention, |age| retention.keep_for(age));
        let retention = self.retention_bytes.map_or(retention, |bytes| retention.keep_bytes(bytes));
        let config = config.retention(retention);
        match self.disk_bytes_max {
            Some(bytes) => config.disk_bytes_max(bytes),
            None => config,
        }
    }
}

/// What becomes of a line while the queue is full.
#[derive(Debug, Args)]
pub struct Full {
    /// What becomes of a line while the disk limit leaves no room: `refuse`, the command fails; `block=10s`, it waits
    /// so long for room
    #[arg(long, value_name = "refuse|block=D", default_value = "refuse", value_parser = when_full)]
    when_full: WhenFull,
}

impl Full {
    /// The configuration with it.
    pub fn of(&self, config: Config) -> Config {
        config.when_full(self.when_full)
    }
}

/// Why it is no retention, no number of bytes, no policy.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("nothing would be kept: without the option that is so")]
    Nothing,
    #[error(
        "a number of bytes is a whole number, and KiB, MiB, GiB or TiB if need be, as in `10GiB`"
    )]
    Bytes,
    #[error("more bytes than can be counted")]
    TooManyBytes,
    #[error("`refuse` and `block=D` are allowed, as in `block=10s`")]
    Policy,
    #[error("the time to wait: {0}")]
    Wait(humantime::DurationError),
    #[error(transparent)]
    Duration(#[from] humantime::DurationError),
}

fn age(text: &str) -> Result<Duration, KeepError> {
    let age = humantime::parse_duration(text)?;
    if age.is_zero() { Err(KeepError::Nothing) } else { Ok(age) }
}

fn bytes(text: &str) -> Result<u64, KeepError> {
    let digits = text.find(|each: char| !each.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()));
    let (_, factor) = known.filter(|_| !number.is_empty()).ok_or(KeepError::Bytes)?;
    // All digits: what does not fit is too large.
    let number: u64 = number.parse().map_err(|_| KeepError::TooManyBytes)?;
    number.checked_mul(*factor).ok_or(KeepError::TooManyBytes)
}

fn kept_bytes(text: &str) -> Result<u64, KeepError> {
    match bytes(text)? {
        0 => Err(KeepError::Nothing),
        bytes => Ok(bytes),
    }
}

fn when_full(text: &str) -> Result<WhenFull, KeepError> {
    match (text, text.strip_prefix("block=")) {
        ("refuse", _) => Ok(WhenFull::Refuse),
        (_, Some(wait)) => {
            humantime::parse_duration(wait).map(WhenFull::Block).map_err(KeepError::Wait)
        }
        _ => Err(KeepError::Policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_number_and_a_unit_if_need_be() {
        let cases =
            [("1", 1), ("64KiB", 65_536), ("10 gib", 10 << 30), ("16777215TiB", 0xff_ffff << 40)];
        for (text, number) in cases {
            assert_eq!(bytes(text).ok(), Some(number), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "10 MB", "10GiBs", "1 0"] {
            assert!(matches!(bytes(text), Err(KeepError::Bytes)), "{text}");
        }
        for text in ["18446744073709551616", "16777216TiB"] {
            assert!(matches!(bytes(text), Err(KeepError::TooManyBytes)), "{text}");
        }
        assert!(matches!(kept_bytes("0GiB"), Err(KeepError::Nothing)));
    }

    #[test]
    fn a_full_queue_refuses_or_blocks_for_a_time() {
        assert_eq!(when_full("refuse").ok(), Some(WhenFull::Refuse));
        let ten = Duration::from_secs(10);
        assert_eq!(when_full("block=10s").ok(), Some(WhenFull::Block(ten)));
        assert!(matches!(when_full("block"), Err(KeepError::Policy)));
        assert!(matches!(when_full("block=10"), Err(KeepError::Wait(_))));
    }
}
