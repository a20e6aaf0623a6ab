//! Which message each worker has in hand, where it outlives a process that dies of it.
//!
//! A handler that kills the process (an abort, a fault, memory that runs out) would kill it again after every start. So
//! a worker notes what it takes in a small mapped file, with plain stores: the page cache keeps them when the process is
//! gone, and no log write is paid. Whoever opens the queue next finds the slots that were never cleared, and counts one
//! crash more for those messages, in the same file. One with too many is never handed out again: it goes to the dead
//! letters when its turn comes. A crash is no attempt: with what else was in hand nothing is wrong.
//!
//! # The file `inflight`, words of eight bytes, native order
//!
//! | word | content |
//! |------|---------|
//! | 0 | magic and version, [`MAGIC`] |
//! | 1, 2 | the log's id, low half first |
//! | 3, 4 | the machine's boot id, low half first: after a power loss nothing here counts |
//! | 8 + 4n | slot n: the message's place in the log and 1, or 0: nothing in hand. Stored last, cleared first |
//! | 9 + 4n | the subscription's number |
//! | 10 + 4n | when it was taken, in nanoseconds since the Unix epoch |
//! | 11 + 4n | 0 |
//! | 1032 + 4n | count n: as a slot, of a message that was in hand at a crash |
//! | 1035 + 4n | how many crashes that were |
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [I1] | `put` stores the place | `entry` loads it | the slot's other words; after a crash the reader is another process |
//!
//! All else is [relaxed]: a slot has one writer, its worker.
//!
//! # Limits
//!
//! [`SLOTS`] workers, and as many counts: the latest crashes push out the counts of earlier ones. What a pull subscriber
//! has in hand is not noted: it dies with its process, and is delivered again. A crash that has another reason counts all
//! the same for whatever was in hand. A dead letter that kills its handler is not given up: it has nowhere to go. A power
//! loss forgets all counts.

use crate::error::QueueError;
use crate::log::{Log, Page};
use crate::queue::window::storage;
use crate::sync::Ordering;
use std::collections::BTreeMap;

/// How many workers are noted.
pub(super) const SLOTS: usize = 256;
/// The file's name.
const NAME: &str = "inflight";
/// "MILLFLY" and version 1.
const MAGIC: u64 = u64::from_le_bytes(*b"MILLFLY\x01");
const HEAD_WORDS: usize = 8;
const SLOT_WORDS: usize = 4;
const COUNTS_AT: usize = HEAD_WORDS + SLOTS * SLOT_WORDS;
const WORDS: usize = COUNTS_AT + SLOTS * SLOT_WORDS;
const _: () = assert!(COUNTS_AT == 1032, "the table of the page");

/// The file, and what it told when it was opened.
#[derive(Debug)]
pub(super) struct Inflight {
    page: Page,
    /// Too often in hand when a process died: subscription and place, in order, with the number of crashes.
    poisoned: BTreeMap<(u32, u64), u64>,
}

/// A message that was in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) subscription: u32,
    pub(super) place: u64,
    pub(super) since_ns: u64,
}

impl Inflight {
    /// Opens the file beside `log`, counts the crashes that an owner before left in it, and begins anew. A message that
    /// was in hand at `crashes_max` of them is poison; at 0 none is.
    pub(super) fn open(log: &Log, crashes_max: u32) -> Result<Self, QueueError> {
        let page = log.page(NAME, WORDS);
        let page = page.map_err(|error| storage("open what was in hand", error))?;
        let mut file = Self { page, poisoned: BTreeMap::new() };
        let counts = if file.is_ours(log) { file.counted() } else { Vec::new() };
        file.begin(log, &counts);
        let poison = counts.iter().filter(|(_, crashes)| u64::from(crashes_max) <= *crashes);
        if crashes_max > 0 {
            file.poisoned =
                poison.map(|(held, crashes)| ((held.subscription, held.place), *crashes)).collect();
        }
        Ok(file)
    }

    /// At how many crashes the message was in hand, where that is too many.
    pub(super) fn poison(&self, subscription: u32, place: u64) -> Option<u64> {
        if self.poisoned.is_empty() {
            return None;
        }
        self.poisoned.get(&(subscription, place)).copied()
    }

    fn get(&self, word: usize) -> u64 {
        self.page.word(word).load(Ordering::Relaxed) // [relaxed]
    }

    fn set(&self, word: usize, value: u64) {
        self.page.word(word).store(value, Ordering::Relaxed); // [relaxed]
    }

    fn head(log: &Log) -> [u64; 5] {
        let halves = |id: u128| [id as u64, (id >> 64) as u64];
        let ([id, id_high], [boot, boot_high]) = (halves(log.id()), halves(log.boot_id()));
        [MAGIC, id, id_high, boot, boot_high]
    }

    /// Does the file speak of this log, since this boot?
    fn is_ours(&self, log: &Log) -> bool {
        Self::head(log).iter().enumerate().all(|(word, value)| self.get(word) == *value)
    }

    /// The messages that were in hand at crashes, and at how many: those of the last one first, as many as are kept.
    fn counted(&self) -> Vec<(Held, u64)> {
        let mut earlier: Vec<_> = (0..SLOTS)
            .map(|count| COUNTS_AT + count * SLOT_WORDS)
            .filter_map(|first| Some((self.entry(first)?, self.get(first + 3))))
            .collect();
        let mut counts = Vec::new();
        for held in self.held() {
            let same = |(one, _): &(Held, u64)| {
                (one.subscription, one.place) == (held.subscription, held.place)
            };
            let before = earlier.iter().position(same).map(|at| earlier.remove(at).1);
            if !counts.iter().any(same) {
                counts.push((held, before.unwrap_or(0).saturating_add(1)));
            }
        }
        counts.extend(earlier);
        counts.truncate(SLOTS);
        counts
    }

    /// Writes the counts, then forgets what was in hand: a crash in between counts once more, none is forgotten.
    fn begin(&self, log: &Log, counts: &[(Held, u64)]) {
        (COUNTS_AT..WORDS).for_each(|word| self.set(word, 0));
        for (count, (held, crashes)) in counts.iter().enumerate() {
            let first = COUNTS_AT + count * SLOT_WORDS;
            self.set(first + 3, *crashes);
            self.put(first, *held);
        }
        (HEAD_WORDS..COUNTS_AT).for_each(|word| self.set(word, 0));
        for (word, value) in Self::head(log).into_iter().enumerate() {
            self.set(word, value);
        }
    }

    /// What is in hand now.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        (0..SLOTS).filter_map(|slot| self.entry(HEAD_WORDS + slot * SLOT_WORDS))
    }

    fn entry(&self, first: usize) -> Option<Held> {
        let place = self.page.word(first).load(Ordering::Acquire); // [I1]
        let subscription = u32::try_from(self.get(first + 1)).ok()?;
        let held = Held { subscription, place: place & !1, since_ns: self.get(first + 2) };
        (place & 1 != 0).then_some(held)
    }

    fn put(&self, first: usize, held: Held) {
        self.set(first + 1, u64::from(held.subscription));
        self.set(first + 2, held.since_ns);
        self.page.word(first).store(held.place | 1, Ordering::Release); // [I1]
    }

    /// The worker with that number, from 0, takes a message in hand.
    pub(super) fn take(&self, worker: usize, held: Held) {
        if worker < SLOTS {
            self.put(HEAD_WORDS + worker * SLOT_WORDS, held);
        }
    }

    /// It has laid it down.
    pub(super) fn lay_down(&self, worker: usize) {
        if worker < SLOTS {
            self.set(HEAD_WORDS + worker * SLOT_WORDS, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogOptions;

    fn open(dir: &std::path::Path) -> (Log, Inflight) {
        let options = LogOptions::new().segment_bytes(64 << 10).disk_max_bytes(1 << 20);
        let log = Log::open(dir, options).unwrap();
        let inflight = Inflight::open(&log, 2).unwrap();
        (log, inflight)
    }

    const ONE: Held = Held { subscription: 3, place: 64, since_ns: 9 };
    const OTHER: Held = Held { subscription: 0, place: 0, since_ns: 10 };

    fn crashes(file: &Inflight) -> Vec<(Held, u64)> {
        file.counted()
    }

    /// Promise: what was in hand when an owner ended is counted, what was laid down is not; at the limit it is poison.
    #[test]
    fn a_message_in_hand_at_two_crashes_is_poison() {
        let dir = tempfile::tempdir().unwrap();
        let (log, inflight) = open(dir.path());
        inflight.take(0, ONE);
        inflight.take(7, ONE);
        inflight.take(8, Held { place: 96, ..ONE });
        inflight.take(255, OTHER);
        inflight.lay_down(8);
        inflight.take(256, ONE); // one too many: not noted
        drop((inflight, log));
        let (log, inflight) = open(dir.path());
        assert_eq!(crashes(&inflight), [(ONE, 1), (OTHER, 1)]);
        assert_eq!((inflight.held().count(), inflight.poison(3, 64)), (0, None));
        drop((inflight, log));
        let (log, inflight) = open(dir.path());
        assert_eq!(
            crashes(&inflight),
            [(ONE, 1), (OTHER, 1)],
            "an end with nothing in hand is none"
        );
        inflight.take(5, OTHER);
        drop((inflight, log));
        let (_log, inflight) = open(dir.path());
        assert_eq!(crashes(&inflight), [(OTHER, 2), (ONE, 1)]);
        assert_eq!((inflight.poison(0, 0), inflight.poison(3, 64)), (Some(2), None));
    }

    /// Promise: the counts are bounded, and the latest stay.
    #[test]
    fn the_latest_counts_stay() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let (_log, inflight) = open(dir.path());
            for worker in 0..SLOTS {
                let place = ((round * SLOTS + worker) * 32) as u64;
                inflight.take(worker, Held { place, ..ONE });
            }
        }
        let (_log, inflight) = open(dir.path());
        let counts = crashes(&inflight);
        assert_eq!(counts.len(), SLOTS);
        assert!(counts.iter().all(|(held, _)| held.place >= (2 * SLOTS * 32) as u64));
    }

    /// Promise: another log's file, one of another boot, one cut short or full of rubbish says nothing.
    #[test]
    fn a_file_that_is_not_of_this_log_and_boot_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for word in 0..5 {
            let (log, inflight) = open(dir.path());
            inflight.take(1, ONE);
            inflight.set(word, inflight.get(word) ^ 1);
            drop((inflight, log));
            assert_eq!(crashes(&open(dir.path()).1), [], "word {word}");
        }
        for content in [&b""[..], b"short", &[0xff; 40_000]] {
            std::fs::write(dir.path().join(NAME), content).unwrap();
            assert_eq!(crashes(&open(dir.path()).1), []);
        }
    }
}
