//! How many workers are active, which of them have too little to do, and who is told when all of them are at work.
//!
//! ```text
//!   a worker   active ── surplus? leave, hand on what it was woken for ──> parked ── a place? join ──> active
//!   foreman    off duty ── the last active one begins to work: the bell ──> on duty, looks, sets `wanted`
//! ```
//!
//! Only an engine with adaptive workers has one. A parked worker sleeps on an event count of its own: no publisher
//! knows of it, and it costs nothing. A worker leaves of itself when there are more than wanted, after a message or
//! when it is woken; the word of both counts decides how many do.
//!
//! # What must not be lost
//!
//! 1. *A message whose wake-up reached a worker that leaves.* It calls another after it has left
//!    ([`Roster::call_another`](super::roster::Roster::call_another)): either somebody searches, or sleeps and is woken,
//!    or all active ones are at work and come by.
//! 2. *A message that comes while all active workers are in handlers, however long these run.* Publishers pay nothing
//!    for it. Whoever begins to work last rings the bell, and so does who leaves only such behind; then the foreman looks
//!    at the time, or, if nothing waits, lies in the row of the sleeping workers, where a publisher wakes it as it would
//!    wake a worker ([`Roster::overhear`](super::roster::Roster::overhear)).
//! 3. *A place that is given while a worker is about to park.* It registers, and looks again.
//!
//! # Orderings
//!
//! All counts are [relaxed]: what they say is only ever acted on by a read-modify-write of the same word, or looked at
//! after a registration with an event count, whose barrier orders it against the change and the notification (pair E1 of
//! `event`). Nothing else is read on their word.
//!
//! # Limits
//!
//! As many workers as half a word counts.

use crate::event::EventCount;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, mutant};
use std::time::Instant;

const ACTIVE_BITS: u32 = 32;
const ACTIVE_MASK: u64 = (1 << ACTIVE_BITS) - 1;

/// See the module's page.
pub struct Crew {
    /// wanted << 32 | active
    counts: AtomicU64,
    /// How many are in a handler, or between two of one subscription.
    at_work: AtomicUsize,
    parked: EventCount,
    bell: EventCount,
    ticks: EventCount,
}

impl Crew {
    /// So many are active, and wanted.
    pub fn new(active: usize) -> Self {
        Self {
            counts: AtomicU64::new(pack(active, active)),
            at_work: AtomicUsize::new(0),
            parked: EventCount::new(),
            bell: EventCount::new(),
            ticks: EventCount::new(),
        }
    }

    /// How many workers are active: at work, searching, or asleep in the roster.
    pub fn active(&self) -> usize {
        active(self.counts())
    }

    /// How many are to be.
    pub fn wanted(&self) -> usize {
        wanted(self.counts())
    }

    /// Wants so many from now on. Parked ones join at once; surplus ones leave when they come by, and how many these are
    /// comes back: those of them that sleep must be woken by the caller.
    pub fn want(&self, workers: usize) -> usize {
        let mut counts = self.counts();
        while let Err(now) = self.change(counts, pack(workers, active(counts))) {
            counts = now;
        }
        let missing = workers.saturating_sub(active(counts));
        if missing > 0 && !mutant("P1_want") {
            self.parked.notify(missing);
        }
        active(counts).saturating_sub(workers)
    }

    /// Leaves, if there are more active workers than wanted. The caller then hands on what it may have been woken for.
    pub fn leave(&self) -> bool {
        let mut counts = self.counts();
        while wanted(counts) < active(counts) {
            match self.change(counts, counts - 1) {
                Ok(()) => {
                    if self.all_at_work() && !mutant("P2_leave") {
                        self.bell.notify_one();
                    }
                    return true;
                }
                Err(now) => counts = now,
            }
        }
        false
    }

    /// For one who is not active: sleeps until there is a place, and takes it. False if `stopped` says so.
    pub fn park(&self, stopped: impl Fn() -> bool) -> bool {
        loop {
            if stopped() {
                return false;
            }
            if self.join() {
                return true;
            }
            let key = self.parked.listen();
            let counts = self.counts();
            if (stopped() || active(counts) < wanted(counts)) && !mutant("P1_park") {
                self.parked.cancel(key);
            } else {
                self.parked.wait(key);
            }
        }
    }

    fn join(&self) -> bool {
        let mut counts = self.counts();
        while active(counts) < wanted(counts) {
            match self.change(counts, counts + 1) {
                Ok(()) => return true,
                Err(now) => counts = now,
            }
        }
        false
    }

    /// An active worker has a message, and will be away for as long as its handler likes.
    pub fn begin(&self) {
        let before = self.at_work.fetch_add(1, Ordering::Relaxed); // [relaxed]
        if self.active() <= before + 1 && !mutant("P2_begin") {
            self.bell.notify_one();
        }
    }

    /// It is back.
    pub fn end(&self) {
        self.at_work.fetch_sub(1, Ordering::Relaxed); // [relaxed]
    }

    /// How many are at work.
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed) // [relaxed]
    }

    /// Is nobody left who could take a message now?
    pub fn all_at_work(&self) -> bool {
        self.active() <= self.at_work()
    }

    /// For the foreman: sleeps until all are at work.
    pub fn wait_for_bell(&self, stopped: impl Fn() -> bool) {
        let key = self.bell.listen();
        if (stopped() || self.all_at_work()) && !mutant("P2_look") {
            return self.bell.cancel(key);
        }
        self.bell.wait(key);
    }

    /// For the foreman: sleeps until then.
    pub fn wait_until(&self, at: Instant, stopped: impl Fn() -> bool) {
        let key = self.ticks.listen();
        if stopped() {
            return self.ticks.cancel(key);
        }
        self.ticks.wait_until(key, Some(at));
    }

    /// Everybody who sleeps here is to look, whatever they look for.
    pub fn wake_all(&self) {
        self.parked.notify_all();
        self.bell.notify_all();
        self.ticks.notify_all();
    }

    fn counts(&self) -> u64 {
        self.counts.load(Ordering::Relaxed) // [relaxed]
    }

    fn change(&self, from: u64, to: u64) -> Result<(), u64> {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed); // [relaxed] [relaxed]
        self.counts.compare_exchange_weak(from, to, success, failure).map(drop)
    }
}

fn pack(wanted: usize, active: usize) -> u64 {
    (wanted as u64) << ACTIVE_BITS | active as u64
}

fn wanted(counts: u64) -> usize {
    (counts >> ACTIVE_BITS) as usize
}

fn active(counts: u64) -> usize {
    (counts & ACTIVE_MASK) as usize
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn as_many_leave_and_join_as_the_count_says() {
        let crew = Crew::new(3);
        assert!(!crew.leave());
        assert_eq!(crew.want(1), 2);
        assert_eq!([(); 3].map(|()| crew.leave()), [true, true, false]);
        assert_eq!((crew.active(), crew.wanted()), (1, 1));
        assert!(!crew.park(|| true));
        assert_eq!(crew.want(2), 0);
        assert!(crew.park(|| false));
        assert_eq!(crew.active(), 2);
    }

    #[test]
    fn all_are_at_work_when_the_last_one_begins_or_the_last_idle_one_leaves() {
        let crew = Crew::new(2);
        crew.begin();
        assert!(!crew.all_at_work());
        crew.want(1);
        assert!(crew.leave() && crew.all_at_work());
        crew.end();
        assert!(!crew.all_at_work());
    }
}
