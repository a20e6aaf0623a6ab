//! An event count: threads sleep until a condition that they look at themselves may have come true.
//!
//! The condition lives elsewhere (a ring that is not empty any more), and whoever makes it true pays one load when
//! nobody sleeps. The waiter announces itself, looks *again*, and only then sleeps:
//!
//! ```text
//!   waiter                                    notifier
//!   key = listen()    waiters + 1, heavy      make the condition true
//!   look again -- true --> cancel(key)        notify_one()   light, waiters = 0? done
//!   wait(key)         sleep while epoch = key                waiters - 1, epoch + 1, wake one
//!   look again
//! ```
//!
//! One word packs `waiters << 32 | epoch`; its low half is what the kernel compares before it lets a thread sleep.
//! `heavy` and `light` are the two sides of an asymmetric barrier ([`crate::barrier`]).
//!
//! With the feature `async` a task may wait where a thread would: it leaves a waker in a list (`tasks`) instead of
//! sleeping on the word. Both are counted in the one word, and a wake goes to the tasks first, then to the threads.
//!
//! # Orderings
//!
//! | label | where | why |
//! |---|---|---|
//! | \[E1\] | `heavy` after the registration, `light` before the notifier's look at `waiters` | store buffering: of "registered, then looked" and "published, then looked" one must see the other. Release and acquire do not give that, nor does an atomic read-modify-write on every processor |
//! | \[E2\] | Release by the notifier's CAS; Acquire by who finds the epoch moved | what was published before the notification is visible when `wait` returns |
//! | \[E3\] | Release by a task's registration; Acquire by the notifier's CAS | that there is a task in the list, or about to be, under its lock |
//! | \[T1\] | the flags of the unit tests: Release by who sets one, Acquire by who looks | what a condition carries |
//!
//! \[relaxed\]: the registration and the notifier's first look are ordered by \[E1\]; a withdrawal carries nothing.
//!
//! # Why no wake-up is lost
//!
//! At all times *sleepers <= waiters + wakes on their way*, because a registration ends in one of three ways:
//!
//! 1. **Withdrawn**: the epoch still equals its key, so its own count is still in the word; one CAS takes it out.
//! 2. **Woken**: the notifier took one count out and woke one sleeper. Not always the one whose count that was: a wake
//!    for an older sleeper may reach a newer one whose key still equals the epoch. The newer one's count then stands
//!    for the older one. This is why a woken waiter must return and look, never sleep again on its key.
//! 3. **Passed on**: the epoch has moved but no wake chose this one. Whether the count that the notifier took was this
//!    one's cannot be known, so the notification is made again. Were it not, one count would stay behind each time.
//!    A task that was chosen and dropped before it looked passes its wake on too: nobody else would look.
//!
//! A task enters the list and the count under the list's lock, so a notifier that took a count finds, under the same lock,
//! every task that was counted. It may choose one that came later, after its step of the epoch. That one has looked since,
//! and its count now stands for whoever was not chosen. (To choose among those from before the step only was tried, and
//! loses a wake-up: of two notifiers the later one takes the task that the earlier one's count was for, and the earlier one
//! then finds nobody that it may take.)
//!
//! So the count may be too high (a wake that comes late, when its sleeper has gone on by itself, can end a newer sleep,
//! whose count stays), which costs a useless wake, but never too low. Nor can it run over: a registration that
//! finds a [`CROWD`] makes everybody look again and begins at 0. Without 3. that would be needed in an hour: two
//! receivers with a short timeout and a million messages a second.
//!
//! # Limits
//!
//! The epoch is exact up to 2^32 notifications within one wait. A key that is dropped costs one useless wake.
//! Wakes are chosen by the kernel: no order among sleepers is promised; tasks are woken in the order they came, and before
//! threads, which may wait long beside tasks that never cease to wait. A
//! notifier that finds tasks registered takes the list's lock for a moment. Where the barrier could not be had (its
//! page says when), one wait ends after [`UNSURE_WAIT`] at most, so that nothing hangs.
//!
//! Source: the event count of Reed and Kanodia, 1979; in this form Vyukov's and folly's.

#[cfg(feature = "async")]
mod tasks;

#[cfg(feature = "async")]
pub use tasks::TaskKey;

use crate::barrier;
use crate::sync::{AtomicU64, Futex, Ordering, Sleep, mutant, order};
use std::time::{Duration, Instant};

const EPOCH_BITS: u32 = 32;
/// One registration in the word.
const WAITER: u64 = 1 << EPOCH_BITS;

/// More than there can be threads; half of what the word can count.
const CROWD: u64 = WAITER << 31;

/// How long one sleeps who could not make sure that every notifier sees the registration.
pub const UNSURE_WAIT: Duration = Duration::from_millis(1);

/// See the page above.
#[derive(Debug)]
pub struct EventCount {
    /// waiters << 32 | epoch
    state: AtomicU64,
    futex: Futex,
    #[cfg(feature = "async")]
    tasks: tasks::Tasks,
}

/// A registration. It must go to [`EventCount::wait`], [`EventCount::wait_until`] or [`EventCount::cancel`] of the
/// event count that gave it.
#[must_use = "a registration that is neither waited for nor cancelled costs a useless wake"]
#[derive(Debug)]
pub struct Key {
    epoch: u32,
    /// Does every notifier see the registration?
    sure: bool,
}

impl EventCount {
    /// An event count on which nobody waits.
    pub fn new() -> Self {
        Self::at(0)
    }

    fn at(state: u64) -> Self {
        barrier::choose();
        Self {
            state: AtomicU64::new(state),
            futex: Futex::new(),
            #[cfg(feature = "async")]
            tasks: tasks::Tasks::new(),
        }
    }

    /// Registers the caller, who must look at the condition again before it waits.
    pub fn listen(&self) -> Key {
        let before = self.state.fetch_add(WAITER, Ordering::Relaxed); // [relaxed] ordered by E1
        self.registered(before)
    }

    /// The first half of a task's registration, under the lock of the list, which says already that it is not empty.
    #[cfg(feature = "async")]
    fn count_task(&self) -> u64 {
        self.state.fetch_add(WAITER, order("E3_listen", Ordering::Release)) // [E3]
    }

    /// The second half of a registration: from here on every notifier sees it.
    fn registered(&self, before: u64) -> Key {
        let sure = mutant("E1_listen") || barrier::heavy(); // [E1]
        if before >= CROWD {
            self.wake(usize::MAX);
        }
        Key { epoch: epoch(before), sure }
    }

    /// Sleeps until a notification that came after [`EventCount::listen`]. May return without one: the caller looks
    /// at its condition in any case.
    pub fn wait(&self, key: Key) {
        self.wait_until(key, None);
    }

    /// As [`EventCount::wait`], but not past the deadline; no deadline is for ever. False when the wait ended
    /// without a notification. The caller looks at its condition once more whatever the answer.
    pub fn wait_until(&self, key: Key, deadline: Option<Instant>) -> bool {
        let key = if mutant("late_key") { self.key_now() } else { key };
        let deadline = if key.sure { deadline } else { soonest(deadline) };
        if self.moved_since(&key) {
            self.pass_on();
            return true;
        }
        // One sleep, no loop: see "Woken" above.
        loop {
            match self.futex.sleep(&self.state, key.epoch, deadline) {
                Sleep::Woken if mutant("sleep_again") && !self.moved_since(&key) => {}
                Sleep::Woken => {
                    self.moved_since(&key); // for what it acquires
                    return true;
                }
                Sleep::Changed | Sleep::Ended => return self.withdraw(&key),
            }
        }
    }

    /// Takes the registration back: the condition came true before the wait, or the caller gives up.
    pub fn cancel(&self, key: Key) {
        self.withdraw(&key);
    }

    /// Wakes one waiter, if there is one. To be called after the condition was made true.
    #[inline]
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes up to `count` waiters.
    #[inline]
    pub fn notify(&self, count: usize) {
        if !mutant("E1_notify") {
            barrier::light(); // [E1]
        }
        let state = self.state.load(Ordering::Relaxed); // [relaxed] ordered by E1
        if state >= WAITER {
            self.wake(count);
        }
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }

    /// Registrations that have not ended: exact while nothing moves, for tests.
    #[cfg(any(test, loom, shuttle))]
    pub fn waiters(&self) -> u32 {
        waiters(self.state.load(Ordering::Relaxed)) // [relaxed] an observation
    }

    /// The notifier's slow half: takes the counts out, moves the epoch, wakes.
    #[cold]
    fn wake(&self, count: usize) {
        let mut state = self.state.load(Ordering::Relaxed); // [relaxed] the CAS decides
        loop {
            let count = count.min(waiters(state) as usize);
            if count == 0 {
                return;
            }
            let left = waiters(state) - count as u32;
            let next = pack(left, epoch(state).wrapping_add(1));
            match self.state.compare_exchange(
                state,
                next,
                order("E2_wake", Ordering::AcqRel), // [E2] [E3]
                Ordering::Relaxed,                  // [relaxed] tried again
            ) {
                Ok(_) => return self.choose(count),
                Err(seen) => state = seen,
            }
        }
    }

    /// Wakes so many, whose counts were taken out.
    fn choose(&self, count: usize) {
        Waking { event: self, left: count }.go_on();
    }

    /// Ends a registration that no wake has ended. True when a notification came since it was made.
    fn withdraw(&self, key: &Key) -> bool {
        let mut state = self.state.load(order("E2_withdraw", Ordering::Acquire)); // [E2]
        while epoch(state) == key.epoch || (mutant("cancel_always") && state >= WAITER) {
            match self.state.compare_exchange(
                state,
                state - WAITER,
                Ordering::Relaxed, // [relaxed] nothing travels with a withdrawal
                order("E2_withdraw", Ordering::Acquire), // [E2]
            ) {
                Ok(_) => return false,
                Err(seen) => state = seen,
            }
        }
        self.pass_on();
        true
    }

    /// Makes a notification again that chose nobody, or not us.
    fn pass_on(&self) {
        if !mutant("keep_count") {
            self.wake(1);
        }
    }

    /// Has there been a notification since the registration?
    fn moved_since(&self, key: &Key) -> bool {
        epoch(self.state.load(order("E2_wait", Ordering::Acquire))) != key.epoch // [E2]
    }

    /// The fault of reading the key when the wait begins.
    fn key_now(&self) -> Key {
        Key { epoch: epoch(self.state.load(Ordering::Relaxed)), sure: true } // [relaxed] a mutant
    }
}

/// Wake-ups that are owed: their counts are gone, so nobody else would make them. A waker that panics leaves none behind.
struct Waking<'a> {
    event: &'a EventCount,
    left: usize,
}

impl Waking<'_> {
    /// Tasks first, the rest are threads.
    fn go_on(&mut self) {
        #[cfg(feature = "async")]
        while self.left > 0
            && let Some(waker) = self.event.tasks.choose()
        {
            self.left -= 1;
            self.event.tasks.wake(waker);
        }
        let threads = std::mem::take(&mut self.left);
        if threads > 0 {
            self.event.futex.wake(&self.event.state, threads);
        }
    }
}

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

const fn epoch(state: u64) -> u32 {
    state as u32
}

const fn waiters(state: u64) -> u32 {
    (state >> EPOCH_BITS) as u32
}

const fn pack(waiters: u32, epoch: u32) -> u64 {
    (waiters as u64) << EPOCH_BITS | epoch as u64
}

/// The deadline of a wait that must end soon in any case.
fn soonest(deadline: Option<Instant>) -> Option<Instant> {
    let soon = Instant::now() + UNSURE_WAIT;
    Some(deadline.map_or(soon, |deadline| deadline.min(soon)))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::{AtomicBool, AtomicU32, thread};

    /// Looks, registers, looks again, sleeps: what every user of an event count does.
    fn wait_for(event: &EventCount, condition: impl Fn() -> bool) {
        while !condition() {
            let key = event.listen();
            if condition() {
                return event.cancel(key);
            }
            event.wait(key);
        }
    }

    #[test]
    fn a_wait_that_times_out_leaves_no_registration_behind() {
        let event = EventCount::new();
        let key = event.listen();
        assert_eq!(event.waiters(), 1);
        assert!(!event.wait_until(key, Some(Instant::now())));
        assert_eq!(event.waiters(), 0);
    }

    #[test]
    fn a_wait_after_the_notification_returns_at_once() {
        let event = EventCount::new();
        let key = event.listen();
        event.notify_one();
        event.wait(key);
        let key = event.listen();
        event.notify_all();
        assert!(event.wait_until(key, Some(Instant::now())));
        assert_eq!(event.waiters(), 0);
    }

    /// Two registered, one notification, neither asleep: the counts of both must go.
    #[test]
    fn a_notification_that_found_nobody_asleep_is_passed_on() {
        let event = EventCount::new();
        let (first, second) = (event.listen(), event.listen());
        event.notify_one();
        assert_eq!(event.waiters(), 1);
        event.wait(first);
        event.cancel(second);
        assert_eq!(event.waiters(), 0);
    }

    #[test]
    fn the_epoch_may_wrap_while_somebody_is_registered() {
        let event = EventCount::at(pack(0, u32::MAX));
        let key = event.listen();
        event.notify_one();
        event.wait(key);
        assert_eq!((event.waiters(), epoch(event.state.load(Ordering::Relaxed))), (0, 0)); // [relaxed] one thread
    }

    #[test]
    fn a_count_that_crept_up_begins_at_zero_again() {
        let event = EventCount::at(CROWD);
        event.wait(event.listen());
        assert_eq!(event.waiters(), 0);
    }

    /// Each round is one notification for one sleeper: a lost one hangs the test.
    #[test]
    fn no_notification_is_lost_between_real_threads() {
        const ROUNDS: u32 = 20_000;
        let (ping, pong) = (EventCount::new(), EventCount::new());
        let (pinged, ponged) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(&ping, || pinged.load(Ordering::Acquire) == round); // [T1]
                    ponged.store(round, Ordering::Release); // [T1]
                    pong.notify_one();
                }
            });
            for round in 1..=ROUNDS {
                pinged.store(round, Ordering::Release); // [T1]
                ping.notify_one();
                wait_for(&pong, || ponged.load(Ordering::Acquire) == round); // [T1]
            }
        });
        assert_eq!((ping.waiters(), pong.waiters()), (0, 0));
    }

    #[test]
    fn notify_all_wakes_all_and_short_deadlines_do_not_disturb_it() {
        let (event, closed) = (EventCount::new(), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| wait_for(&event, || closed.load(Ordering::Acquire))); // [T1]
                scope.spawn(|| {
                    let open = || !closed.load(Ordering::Acquire); // [T1]
                    while open() {
                        let soon = Instant::now() + Duration::from_micros(50);
                        event.wait_until(event.listen(), Some(soon));
                    }
                });
            }
            (0..100).for_each(|_| event.notify_one());
            closed.store(true, Ordering::Release); // [T1]
            event.notify_all();
        });
        assert_eq!(event.waiters(), 0);
    }
}
