//! Time: one monotonic reading that also tells the time of day.
//!
//! A [`SystemClock`] reads `Instant`, and adds the time of day at which it was made. So its nanoseconds since the
//! Unix epoch never step backwards while the process lives, whatever is done to the machine's clock, and they can
//! be compared with stamps from before a restart. [`ManualClock`] stands still until a test moves it.
//!
//! # Limits
//!
//! Nanoseconds in a `u64` reach to the year 2554. The time of day is read once, so a clock that is set later is
//! not followed.

use crate::sync::{Arc, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine reads the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch; never smaller than an earlier answer.
    fn now_ns(&self) -> u64;
    /// The instant at which [`Clock::now_ns`] will answer `at_ns`: what a thread sleeps until.
    fn instant_at(&self, at_ns: u64) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
    origin_ns: u64,
}

impl SystemClock {
    /// A clock that starts from the time of day now.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ns: saturating_ns(since_epoch) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        self.origin_ns.saturating_add(saturating_ns(self.origin.elapsed()))
    }

    fn instant_at(&self, at_ns: u64) -> Instant {
        let ahead = Duration::from_nanos(at_ns.saturating_sub(self.origin_ns));
        self.origin.checked_add(ahead).unwrap_or_else(far_future)
    }
}

/// A clock that a test moves by hand; clones share the time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    now_ns: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `now_ns`.
    pub fn at(now_ns: u64) -> Self {
        Self { now_ns: Arc::new(AtomicU64::new(now_ns)) }
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.now_ns.fetch_add(saturating_ns(by), Ordering::Relaxed); // [relaxed] no data travels with the time
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed) // [relaxed] no data travels with the time
    }

    fn instant_at(&self, at_ns: u64) -> Instant {
        let ahead = Duration::from_nanos(at_ns.saturating_sub(self.now_ns()));
        Instant::now().checked_add(ahead).unwrap_or_else(far_future)
    }
}

/// Nanoseconds of `span`; 584 years and more count as the largest.
pub(crate) fn saturating_ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant no thread waits for.
fn far_future() -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + CENTURY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_steps_back_and_is_near_the_time_of_day() {
        let clock = SystemClock::new();
        let first = clock.now_ns();
        let second = clock.now_ns();
        assert!(first <= second);
        let day = saturating_ns(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        assert!(day.abs_diff(second) < 1_000_000_000);
    }

    #[test]
    fn a_deadline_of_the_far_future_is_an_instant() {
        assert!(SystemClock::new().instant_at(u64::MAX) > Instant::now());
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::at(5);
        assert_eq!((clock.now_ns(), clock.now_ns()), (5, 5));
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.clone().now_ns(), 12);
    }
}
