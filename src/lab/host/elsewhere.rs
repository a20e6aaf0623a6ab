//! Where there is no Linux: the standard library's clock and sleep, and nothing is granted.

use crate::sync::{LazyLock, thread};
use std::time::{Duration, Instant};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call.
pub(super) fn monotonic_ns() -> u64 {
    crate::clock::saturating_ns(ORIGIN.elapsed())
}

/// Sleeps until [`monotonic_ns`] shows `at_ns`.
pub(super) fn sleep_until_ns(at_ns: u64) {
    while let Some(ahead_ns) = at_ns.checked_sub(monotonic_ns()).filter(|ahead| *ahead > 0) {
        thread::sleep(Duration::from_nanos(ahead_ns));
    }
}

pub(super) fn cores() -> Vec<usize> {
    Vec::new()
}

pub(super) fn pin_to(_core: usize) -> bool {
    false
}

pub(super) fn set_timer_slack_ns(_slack_ns: u32) -> Option<u64> {
    None
}

pub(super) fn set_fifo(_priority: u8) -> bool {
    false
}

pub(super) fn thread_id() -> u32 {
    0
}
