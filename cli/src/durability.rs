//! `--durability`: how a [`Durability`] is written on the command line.

use millstream::Durability;
use millstream::log::{SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN};

/// Of messages.
pub const HELP: &str = "What a published message survives: `os`, the end of this process; `sync`, a power loss too; \
    `interval=10ms`, a power loss too once that time and one sync have passed";
/// Of settlements.
pub const HELP_SETTLED: &str = "What it survives that a message was handled: `os`, the end of this process; `sync`, a power \
    loss too before the worker takes its next message; `interval=10ms`, the same within about that time";

/// Why it is none.
#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    #[error("`os`, `sync` and `interval=D` are allowed, as in `interval=10ms`")]
    Unknown,
    #[error("the interval: {0}")]
    Duration(#[from] humantime::DurationError),
    #[error("the interval: {SYNC_INTERVAL_MIN:?} to {SYNC_INTERVAL_MAX:?} are allowed")]
    OutOfRange,
}

/// For clap.
pub fn parse(text: &str) -> Result<Durability, DurabilityError> {
    match (text, text.strip_prefix("interval=")) {
        ("os", _) => Ok(Durability::Os),
        ("sync", _) => Ok(Durability::Sync),
        (_, Some(interval)) => {
            let interval = humantime::parse_duration(interval)?;
            let allowed = (SYNC_INTERVAL_MIN..=SYNC_INTERVAL_MAX).contains(&interval);
            if allowed {
                Ok(Durability::Interval(interval))
            } else {
                Err(DurabilityError::OutOfRange)
            }
        }
        _ => Err(DurabilityError::Unknown),
    }
}
