//! Which message each worker has in hand, where it outlives a process that dies of it.
//!
//! A handler that kills the process (an abort, a fault, memory that runs out) would kill it again after every start. So
//! a worker notes what it takes in a small mapped file, with plain stores: the page cache keeps them when the process is
//! gone, and no log write is paid. Whoever opens the queue next finds the slots that were never cleared, counts one more
//! crash for those messages in the log, and gives the ones with too many to the dead letters.
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
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [I1] | `take` stores the place | `held` loads it | the slot's other words; after a crash the reader is another process |
//!
//! All else is [relaxed]: a slot has one writer, its worker.
//!
//! # Limits
//!
//! [`SLOTS`] workers. What a pull subscriber has in hand is not noted: it dies with its process, and is delivered again.
//! A crash that has another reason counts all the same for whatever was in hand.

use crate::log::{Log, LogError, Page};
use crate::sync::Ordering;

/// How many workers are noted.
pub(super) const SLOTS: usize = 256;
/// The file's name.
const NAME: &str = "inflight";
/// "MILLFLY" and version 1.
const MAGIC: u64 = u64::from_le_bytes(*b"MILLFLY\x01");
const HEAD_WORDS: usize = 8;
const SLOT_WORDS: usize = 4;
const WORDS: usize = HEAD_WORDS + SLOTS * SLOT_WORDS;

/// The file.
#[derive(Debug)]
pub(super) struct Inflight(Page);

/// A message that was in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) subscription: u32,
    pub(super) place: u64,
    pub(super) since_ns: u64,
}

impl Inflight {
    /// Opens the file beside `log`. What an owner before left in it is to be read before [`Inflight::begin`].
    pub(super) fn open(log: &Log) -> Result<Self, LogError> {
        log.page(NAME, WORDS).map(Self)
    }

    fn get(&self, word: usize) -> u64 {
        self.0.word(word).load(Ordering::Relaxed) // [relaxed]
    }

    fn set(&self, word: usize, value: u64) {
        self.0.word(word).store(value, Ordering::Relaxed); // [relaxed]
    }

    fn head(log: &Log) -> [u64; 5] {
        let halves = |id: u128| [id as u64, (id >> 64) as u64];
        let ([id, id_high], [boot, boot_high]) = (halves(log.id()), halves(log.boot_id()));
        [MAGIC, id, id_high, boot, boot_high]
    }

    /// What was in hand when the last owner died; nothing, if the file is not this log's or the machine has been down.
    pub(super) fn left_over(&self, log: &Log) -> Vec<Held> {
        let ours = Self::head(log).iter().enumerate().all(|(word, value)| self.get(word) == *value);
        if ours { self.held().collect() } else { Vec::new() }
    }

    /// Forgets everything, and begins anew.
    pub(super) fn begin(&self, log: &Log) {
        (HEAD_WORDS..WORDS).for_each(|word| self.set(word, 0));
        for (word, value) in Self::head(log).into_iter().enumerate() {
            self.set(word, value);
        }
    }

    /// What is in hand now.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        (0..SLOTS).filter_map(|slot| {
            let first = HEAD_WORDS + slot * SLOT_WORDS;
            let place = self.0.word(first).load(Ordering::Acquire); // [I1]
            let subscription = u32::try_from(self.get(first + 1)).ok()?;
            let held = Held { subscription, place: place & !1, since_ns: self.get(first + 2) };
            (place & 1 != 0).then_some(held)
        })
    }

    /// The worker with that number, from 0, takes a message in hand.
    pub(super) fn take(&self, worker: usize, held: Held) {
        if worker < SLOTS {
            let first = HEAD_WORDS + worker * SLOT_WORDS;
            self.set(first + 1, u64::from(held.subscription));
            self.set(first + 2, held.since_ns);
            self.0.word(first).store(held.place | 1, Ordering::Release); // [I1]
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
        let inflight = Inflight::open(&log).unwrap();
        (log, inflight)
    }

    const ONE: Held = Held { subscription: 3, place: 64, since_ns: 9 };
    const OTHER: Held = Held { subscription: 0, place: 0, since_ns: 10 };

    /// Promise: the next owner finds what was in hand, and nothing that was laid down.
    #[test]
    fn what_was_in_hand_is_found_by_the_next_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (log, inflight) = open(dir.path());
        assert_eq!(inflight.left_over(&log), []);
        inflight.begin(&log);
        inflight.take(0, ONE);
        inflight.take(7, ONE);
        inflight.take(255, OTHER);
        inflight.lay_down(7);
        inflight.take(256, ONE); // one too many: not noted
        drop((inflight, log));
        let (log, inflight) = open(dir.path());
        assert_eq!(inflight.left_over(&log), [ONE, OTHER]);
        inflight.begin(&log);
        assert_eq!(inflight.left_over(&log), []);
    }

    /// Promise: another log's file, one of another boot, one cut short or full of rubbish says nothing.
    #[test]
    fn a_file_that_is_not_of_this_log_and_boot_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (log, inflight) = open(dir.path());
        for word in 0..5 {
            inflight.begin(&log);
            inflight.take(1, ONE);
            assert_eq!(inflight.left_over(&log), [ONE]);
            inflight.set(word, inflight.get(word) ^ 1);
            assert_eq!(inflight.left_over(&log), [], "word {word}");
        }
        drop((inflight, log));
        for content in [&b""[..], b"short", &[0xff; 20_000]] {
            std::fs::write(dir.path().join(NAME), content).unwrap();
            let (log, inflight) = open(dir.path());
            assert_eq!(inflight.left_over(&log), []);
        }
    }
}
