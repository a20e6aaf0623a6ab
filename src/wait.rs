//! How a thread waits before it sleeps: not at all, a moment, or long.
//!
//! A sleeping thread costs its waker a system call and itself the way back through the scheduler: microseconds, on virtual
//! machines tens of them. What comes within a microsecond is better waited for awake. But a thread that waits awake
//! keeps a processor from the thread that it waits for, if there are more threads than processors. So there is a short
//! wait of growing pauses, then a few offers of the processor to others, then sleep.
//!
//! | strategy | pauses | offers of the processor | then |
//! | --- | --- | --- | --- |
//! | [`Adaptive`](WaitStrategy::Adaptive) | about two microseconds; none on one processor | some | sleeps |
//! | [`Spin`](WaitStrategy::Spin) | short ones throughout, for [`SPIN_MAX`] | one in between now and then | sleeps |
//! | [`Park`](WaitStrategy::Park) | none | none | sleeps |
//!
//! # Limits
//!
//! Every strategy ends in sleep: an idle ring costs no processor time.

#[cfg(not(any(loom, shuttle)))]
use crate::sync::LazyLock;
use crate::sync::{SPINS, hint, passed, thread};
use std::time::{Duration, Instant};

/// How the blocking calls of a channel wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitStrategy {
    /// A short wait awake, then sleep. Awake for no longer than a wake-up would cost.
    #[default]
    Adaptive,
    /// A wait awake of [`SPIN_MAX`], then sleep. The shortest delay, for who has a processor to spare for each waiter.
    Spin,
    /// Sleep at once. The least processor time, for ends that seldom have anything to do.
    Park,
}

/// The longest wait awake of [`WaitStrategy::Spin`].
pub const SPIN_MAX: Duration = Duration::from_millis(10);

/// Single pauses first: what is on its way now is seen within nanoseconds.
const SHORT_ROUNDS: u32 = 16;
/// Then doubling ones, which leave the line in peace while a batch builds up.
const DOUBLING_ROUNDS: u32 = 5;
/// Then the processor is offered to others a few times: with few processors the peer may be waiting for ours.
const YIELD_ROUNDS: u32 = 4;
/// [`WaitStrategy::Spin`] offers the processor, and looks at the clock, once in so many pauses.
const SPIN_PAUSES: u32 = 256;

/// With one processor nobody can make the condition true while we spin.
#[cfg(not(any(loom, shuttle)))]
static ALONE: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|processors| processors.get() == 1));
#[cfg(any(loom, shuttle))]
static ALONE: &bool = &true;

/// A wait awake for what is about to happen. It always ends.
#[derive(Debug)]
pub struct Backoff {
    strategy: WaitStrategy,
    round: u32,
    /// Of the whole wait.
    deadline: Option<Instant>,
    /// Of waiting awake.
    end: Option<Instant>,
}

impl Backoff {
    /// Nothing waited yet.
    #[inline]
    pub const fn new(strategy: WaitStrategy, deadline: Option<Instant>) -> Self {
        Self { strategy, round: 0, deadline, end: None }
    }

    /// Waits a moment. False when waiting awake is over and the caller should sleep, or the deadline has passed.
    #[inline]
    pub fn snooze(&mut self) -> bool {
        if !SPINS || self.round == 0 && passed(self.deadline) {
            return false;
        }
        self.round += 1;
        match self.strategy {
            WaitStrategy::Adaptive => self.adaptive(),
            WaitStrategy::Spin => self.spin(),
            WaitStrategy::Park => false,
        }
    }

    fn adaptive(&mut self) -> bool {
        if self.round <= SHORT_ROUNDS {
            if *ALONE {
                self.round = SHORT_ROUNDS + DOUBLING_ROUNDS;
            }
            hint::spin_loop();
            return true;
        }
        let round = self.round - SHORT_ROUNDS;
        if round <= DOUBLING_ROUNDS {
            (0..1 << round).for_each(|_| hint::spin_loop());
        } else if round <= DOUBLING_ROUNDS + YIELD_ROUNDS && !passed(self.deadline) {
            thread::yield_now();
        } else {
            return false;
        }
        true
    }

    fn spin(&mut self) -> bool {
        if !self.round.is_multiple_of(SPIN_PAUSES) {
            hint::spin_loop();
            return true;
        }
        thread::yield_now();
        let (now, deadline) = (Instant::now(), self.deadline);
        let end = self
            .end
            .get_or_insert_with(|| deadline.map_or(now + SPIN_MAX, |at| at.min(now + SPIN_MAX)));
        now < *end
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_wait_awake_ends() {
        for strategy in [WaitStrategy::Adaptive, WaitStrategy::Spin, WaitStrategy::Park] {
            let mut backoff = Backoff::new(strategy, None);
            let begun = Instant::now();
            while backoff.snooze() {}
            assert!(strategy != WaitStrategy::Spin || begun.elapsed() >= SPIN_MAX);
            assert!(strategy != WaitStrategy::Park || backoff.round == 1);
        }
    }

    #[test]
    fn no_wait_awake_begins_after_the_deadline() {
        for strategy in [WaitStrategy::Adaptive, WaitStrategy::Spin, WaitStrategy::Park] {
            assert!(!Backoff::new(strategy, Some(Instant::now())).snooze());
        }
    }
}
