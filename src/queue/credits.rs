//! Room, counted: how many messages something may hold, taken before a message goes in and given back at settlement.
//!
//! One word is the count and, in its highest bit, "closed". So a message that was let in before the close is in the
//! count, and one that comes after it is refused: nothing lies between (H17). A subscription's credits bound its
//! unsettled messages; a queue's credits bound all of them, and tell when a closing queue is drained.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [C1] | `give` | `count` | what was done with the message before it was settled: who reads 0 sees it all |
//! | [C2] | `take`, `close` | `take`, `close`, `is_closed` | one order of all who come in and the one who closes: the closer's count holds everyone let in before |
//!
//! A count that a failed exchange left behind is [relaxed]: the next exchange decides.
//!
//! # Limits
//!
//! Counts up to 2^63 - 1; the maximum is the caller's.

use crate::sync::{AtomicU64, Ordering};

const CLOSED: u64 = 1 << 63;

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Credits {
    word: AtomicU64,
    max: u64,
}

impl Credits {
    /// Room for `max` messages.
    pub(crate) fn new(max: u64) -> Self {
        Self { word: AtomicU64::new(0), max: max.min(CLOSED - 1) }
    }

    /// Takes room for `messages`, or for none of them.
    pub(crate) fn take(&self, messages: u64) -> Result<(), NoRoom> {
        let mut word = self.word.load(Ordering::Relaxed); // [relaxed] the exchange below decides
        loop {
            if word & CLOSED != 0 {
                return Err(NoRoom::Closed);
            }
            if self.max.saturating_sub(word) < messages {
                return Err(NoRoom::Full);
            }
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed); // [C2] [relaxed]
            match self.word.compare_exchange_weak(word, word + messages, success, failure) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes room whether there is any or not: for the queue's own messages, which were counted elsewhere before.
    pub(crate) fn take_over(&self, messages: u64) {
        self.word.fetch_add(messages, Ordering::AcqRel); // [C2]
    }

    /// Gives room back.
    pub(crate) fn give(&self, messages: u64) {
        let before = self.word.fetch_sub(messages, Ordering::Release); // [C1]
        debug_assert!(messages <= before & !CLOSED, "more room given back than was taken");
    }

    /// Refuses everyone from now on.
    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel); // [C2]
    }

    /// Is everyone refused?
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0 // [C2]
    }

    /// How much room is taken.
    pub(crate) fn count(&self) -> u64 {
        self.word.load(Ordering::Acquire) & !CLOSED // [C1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_whole_or_not_at_all() {
        let credits = Credits::new(3);
        assert_eq!(credits.take(2), Ok(()));
        assert_eq!(credits.take(2), Err(NoRoom::Full));
        assert_eq!(credits.take(1), Ok(()));
        credits.give(3);
        assert_eq!((credits.take(3), credits.count()), (Ok(()), 3));
    }

    #[test]
    fn a_closed_word_refuses_but_still_counts_down() {
        let credits = Credits::new(5);
        credits.take(2).unwrap();
        credits.close();
        assert_eq!(credits.take(1), Err(NoRoom::Closed));
        credits.give(2);
        assert_eq!(credits.count(), 0);
    }

    #[test]
    fn the_queues_own_messages_may_pass_the_limit() {
        let credits = Credits::new(1);
        credits.take_over(2);
        assert_eq!((credits.count(), credits.take(1)), (2, Err(NoRoom::Full)));
    }
}
