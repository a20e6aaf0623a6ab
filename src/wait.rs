//! How a thread waits before it sleeps: not at all, a moment, or long.
//!
//! A sleeping thread costs its waker a system call and itself the way back through the scheduler: microseconds, on virtual
//! machines tens of them. What comes within a microsecond is better waited for awake. But a thread that waits awake
//! keeps a processor from the thread that it waits for, if there are more threads than processors. So there is a short
//! wait of growing pauses, with offers of the processor to others, then sleep. The first pause is learnt ([`Pace`]).
//!
//! | strategy | pauses | offers of the processor | then |
//! | --- | --- | --- | --- |
//! | [`Adaptive`](WaitStrategy::Adaptive) | growing ones, for a few microseconds; none on one processor | before each of the longer ones, and at the end | sleeps |
//! | [`Spin`](WaitStrategy::Spin) | the first as above, then the shortest, for [`SPIN_MAX`] | one in between now and then | sleeps |
//! | [`Park`](WaitStrategy::Park) | none | none | sleeps |
//!
//! # Orderings
//!
//! \[relaxed\]: a pace is a guess, from guesses; nothing depends on it but time.
//!
//! # Limits
//!
//! Every strategy ends in sleep: an idle ring costs no processor time.

#[cfg(not(any(loom, shuttle)))]
use crate::sync::LazyLock;
use crate::sync::{AtomicU32, AtomicU64, Ordering, SPINS, hint, passed, thread};
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
const SHORT_ROUNDS: u32 = 8;
/// Then doubling ones, up to so many pauses.
const PAUSES_MAX: u32 = 64;
/// From here on the processor is offered to others before each: both sides may be on one.
const PAUSES_BEFORE_OFFERS: u32 = 16;
/// And so many times more before sleep.
const OFFERS: u32 = 3;
/// [`WaitStrategy::Spin`] offers the processor, and looks at the clock, once in so many rounds.
const SPIN_ROUNDS: u32 = 256;

/// With one processor nobody can make the condition true while we spin.
#[cfg(not(any(loom, shuttle)))]
static ALONE: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|processors| processors.get() == 1));
#[cfg(any(loom, shuttle))]
static ALONE: &bool = &true;

/// How long the first pause of a wait is, learnt from the waits before.
///
/// If something was done without waiting since the last wait, the two sides run at the same time, and the one that waits is
/// close behind the other: each look takes the line that the other writes away from it. Then a longer pause, in which a
/// batch builds up, serves both. If nothing was, they take turns, and the shortest pause serves both.
#[derive(Debug)]
pub struct Pace {
    /// Is there one processor only?
    alone: bool,
    /// The longest first pause, in [`hint::spin_loop`]s.
    most: u32,
    /// What was done when the last wait ended.
    done: AtomicU64,
    /// The last first pause, in [`hint::spin_loop`]s, less one.
    pauses: AtomicU32,
}

/// The longest first pause.
const FIRST_MAX: u32 = 64;
/// A pause for each so many values that the channel holds.
const BATCH: usize = 16;

impl Pace {
    /// Nothing learnt yet, of a channel that holds so many values: a batch that is to build up must find room.
    pub fn new(capacity: usize) -> Self {
        let most = u32::try_from(capacity / BATCH).unwrap_or(FIRST_MAX).clamp(1, FIRST_MAX);
        Self { alone: *ALONE, most, done: AtomicU64::new(0), pauses: AtomicU32::new(0) }
    }

    /// A wait begins when so much was done: its first pause.
    fn begin(&self, done: u64) -> u32 {
        let last = self.pauses.load(Ordering::Relaxed) + 1; // [relaxed]
        let streams = self.done.load(Ordering::Relaxed) != done; // [relaxed]
        let first = if streams { (last * 2).min(self.most) } else { (last / 2).max(1) };
        self.pauses.store(first - 1, Ordering::Relaxed); // [relaxed]
        first
    }

    /// A wait has ended.
    pub fn end(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed); // [relaxed]
    }
}

/// A wait awake for what is about to happen. It always ends.
#[derive(Debug)]
pub struct Backoff {
    strategy: WaitStrategy,
    /// Is there one processor only?
    alone: bool,
    round: u32,
    /// Of the next pause, in [`hint::spin_loop`]s.
    pauses: u32,
    /// Of the processor to others, so far.
    offers: u32,
    /// Of the whole wait.
    deadline: Option<Instant>,
    /// Of waiting awake.
    end: Option<Instant>,
}

impl Backoff {
    /// Nothing waited yet; so much was done.
    #[inline]
    pub fn new(strategy: WaitStrategy, pace: &Pace, done: u64, deadline: Option<Instant>) -> Self {
        let awake = SPINS && strategy != WaitStrategy::Park;
        let pauses = if awake { pace.begin(done) } else { 0 };
        Self { strategy, alone: pace.alone, round: 0, pauses, offers: 0, deadline, end: None }
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
        if self.pauses > PAUSES_MAX || self.alone {
            self.offers += 1;
            return self.offers <= OFFERS && self.offer();
        }
        // If both of us are on one processor, no pause helps.
        if self.round > 1 && self.pauses >= PAUSES_BEFORE_OFFERS && !self.offer() {
            return false;
        }
        (0..self.pauses).for_each(|_| hint::spin_loop());
        if self.pauses > 1 || self.round >= SHORT_ROUNDS {
            self.pauses *= 2;
        }
        true
    }

    /// Offers the processor to others, unless the deadline has passed.
    fn offer(&self) -> bool {
        let in_time = !passed(self.deadline);
        if in_time {
            thread::yield_now();
        }
        in_time
    }

    fn spin(&mut self) -> bool {
        if !self.round.is_multiple_of(SPIN_ROUNDS) {
            (0..self.pauses).for_each(|_| hint::spin_loop());
            self.pauses = 1;
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
            let mut backoff = Backoff::new(strategy, &Pace::new(1024), 0, None);
            let begun = Instant::now();
            while backoff.snooze() {}
            assert!(strategy != WaitStrategy::Spin || begun.elapsed() >= SPIN_MAX);
            assert!(strategy != WaitStrategy::Park || backoff.round == 1);
        }
    }

    #[test]
    fn no_wait_awake_begins_after_the_deadline() {
        for strategy in [WaitStrategy::Adaptive, WaitStrategy::Spin, WaitStrategy::Park] {
            assert!(!Backoff::new(strategy, &Pace::new(1024), 0, Some(Instant::now())).snooze());
        }
    }
}
