//! Which subscriptions may have a message, and which worker is told.
//!
//! A bit for each subscription, an event count for the workers that sleep, and a flag: somebody searches. A wake-up
//! costs more than a message, so none is made for a message that a worker is about to find.
//!
//! ```text
//!   notify:  set the bit | fence | a searcher? then it will find it : wake a sleeper
//!   rest:    nobody searches? search for a while, end the search | fence | still nothing? announce, look once more, sleep
//!            found something? take it, look behind it: is there more, wake a sleeper
//! ```
//!
//! While a worker searches, publishers wake nobody for one message. So whoever takes a message at the end of a search
//! must look behind it, and call another worker ([`Roster::call_another`]) if there is more: then, whenever a message
//! waits, a worker searches, or one was woken for it, or all are at work.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [W1] | `set` | `clear` | the message: who clears the bit and then looks finds what set it |
//! | [W2] | `notify`, `call_another`: bit, fence, look for a searcher | `search`: end, fence, look at the messages | one of the two sees the other, so a wake-up that was left out is never a lost one |
//! | [W3] | the end of a search | the beginning of the next, or a try at one | nothing but their order |
//!
//! [W1] needs no fence: set and clear are read-modify-writes of one word. If the set comes later, the bit stays set; if
//! the clear does, it has acquired what the set released.
//!
//! Every change of `searching` is a read-modify-write of [W3], so that searches have one order. Looks at it are
//! [relaxed]: [W2]'s fences order them. (A plain store at the end would do; loom 0.7.3 orders a store against a
//! read-modify-write by happens-before alone, and then reports searches that nobody began.)
//!
//! # Limits
//!
//! [`SLOTS`] subscriptions.
//!
//! Source: one searching thread at a time, woken in a chain, as in the schedulers of Go (Vyukov 2012) and Tokio.

use crate::event::EventCount;
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence, hint, mutant, order, thread};
use std::time::Instant;

const WORD_BITS: usize = 64;
#[cfg(not(any(loom, shuttle)))]
const WORDS: usize = 16;
/// One word shows the model checker all that there is to see.
#[cfg(any(loom, shuttle))]
const WORDS: usize = 1;
/// How many subscriptions there may be.
pub const SLOTS: usize = WORDS * WORD_BITS;
const _: () = assert!(WORDS.is_power_of_two());

/// How often a searcher looks: first at once, then letting others run in between; then it sleeps.
#[cfg(not(any(loom, shuttle)))]
const LOOKS: (usize, usize) = (100, 20);
#[cfg(any(loom, shuttle))]
const LOOKS: (usize, usize) = (0, 1);

/// See the module's page.
pub struct Roster {
    bits: [AtomicU64; WORDS],
    sleeping: EventCount,
    searching: AtomicBool,
}

impl Roster {
    /// Nothing is ready, nobody sleeps.
    #[allow(clippy::new_without_default)] // There is one, and it is made on purpose.
    pub fn new() -> Self {
        Self {
            bits: std::array::from_fn(|_| AtomicU64::new(0)),
            sleeping: EventCount::new(),
            searching: AtomicBool::new(false),
        }
    }

    /// The subscription may have a message.
    pub fn set(&self, slot: usize) {
        let bit = 1 << (slot % WORD_BITS);
        self.bits[slot / WORD_BITS].fetch_or(bit, order("W1_set", Ordering::AcqRel)); // [W1]
    }

    /// The subscription seemed empty; the caller looks once more.
    pub fn clear(&self, slot: usize) {
        let bit = 1 << (slot % WORD_BITS);
        self.bits[slot / WORD_BITS].fetch_and(!bit, order("W1_clear", Ordering::AcqRel)); // [W1]
    }

    /// The first subscription at or after `from` that may have a message, going around once.
    pub fn next(&self, from: usize) -> Option<usize> {
        let (from, first_bit) = (from % SLOTS, from % WORD_BITS);
        for step in 0..=WORDS {
            let word = (from / WORD_BITS + step) & (WORDS - 1);
            // [relaxed] whoever acts on it looks for a message, and clears the bit if there is none
            let mut bits = self.bits[word].load(Ordering::Relaxed);
            if step == 0 {
                bits &= u64::MAX << first_bit;
            }
            if bits != 0 {
                return Some(word * WORD_BITS + bits.trailing_zeros() as usize);
            }
        }
        None
    }

    /// The subscription has `messages` more: enough workers are told.
    pub fn notify(&self, slot: usize, messages: usize) {
        self.set(slot);
        if !mutant("W2_notify") {
            fence(Ordering::SeqCst); // [W2]
        }
        let searched = self.searching.load(Ordering::Relaxed); // [relaxed] ordered by W2
        let searchers = usize::from(searched);
        if searchers < messages {
            self.sleeping.notify(messages - searchers);
        }
    }

    /// There is more than the calling worker takes, and the bits say so: somebody else should look.
    pub fn call_another(&self) {
        if !mutant("W2_call") {
            fence(Ordering::SeqCst); // [W2]
        }
        let searched = self.searching.load(Ordering::Relaxed); // [relaxed] ordered by W2
        if !searched && !mutant("W_alone") {
            self.sleeping.notify(1);
        }
    }

    /// For one who takes no messages, while all who do are at work: sleeps until a message comes, until the time that
    /// `until` says, or not at all if `enough` says so once it is in the row. The wake may have been meant for a worker
    /// that has come to rest since, so it is handed on.
    pub fn overhear(&self, enough: impl FnOnce() -> bool, until: impl FnOnce() -> Option<Instant>) {
        let key = self.sleeping.listen();
        if enough() && !mutant("P3_look") {
            return self.sleeping.cancel(key);
        }
        self.sleeping.wait_until(key, until());
        if !mutant("P3_keep") {
            self.call_another();
        }
    }

    /// So many sleepers are to look whether they are still wanted.
    pub fn wake(&self, workers: usize) {
        self.sleeping.notify(workers);
    }

    /// Everybody is to look, whatever they look for.
    pub fn wake_all(&self) {
        self.sleeping.notify_all();
    }

    /// Searches for a while, then sleeps until told, or until the time that `until` says, or not at all if `stopped` says
    /// so. `until` is asked last: whoever calls another after changing the answer finds this worker searching, or wakes
    /// it, or is heard here.
    pub fn rest(&self, stopped: impl Fn() -> bool, until: impl FnOnce() -> Option<Instant>) {
        let idle = || !stopped() && self.next(0).is_none();
        if self.search(&idle) {
            return;
        }
        let key = self.sleeping.listen();
        if !idle() && !mutant("W_sleep") {
            return self.sleeping.cancel(key);
        }
        self.sleeping.wait_until(key, until());
    }

    /// Looks for a while, unless somebody else does. Is there something?
    fn search(&self, idle: &impl Fn() -> bool) -> bool {
        let searched = self.searching.swap(true, Ordering::AcqRel); // [W3]
        if searched {
            return false;
        }
        let (spins, yields) = LOOKS;
        let found = (0..spins + yields).any(|look| {
            let quiet = idle();
            match (quiet, look < spins) {
                (true, true) => hint::spin_loop(),
                (true, false) => thread::yield_now(),
                (false, _) => {}
            }
            !quiet
        });
        self.searching.swap(false, Ordering::AcqRel); // [W3]
        if !mutant("W2_search") {
            fence(Ordering::SeqCst); // [W2]
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_found_from_any_start_going_around_once() {
        let roster = Roster::new();
        assert_eq!(roster.next(0), None);
        for slot in [3, 64, SLOTS - 1] {
            roster.set(slot);
        }
        let found = [0, 3, 4, 64, 65, SLOTS - 1, SLOTS].map(|from| roster.next(from));
        let expected = [3, 3, 64, 64, SLOTS - 1, SLOTS - 1, 3].map(Some);
        assert_eq!(found, expected);
        roster.clear(3);
        assert_eq!(roster.next(SLOTS), Some(64));
    }
}
