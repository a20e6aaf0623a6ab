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
//! | [Q1] | `give` | `take`, `count` | what was done before the room was given back: the place is free, the message handled |
//!
//! All else is [relaxed]: one word has one order of changes, so a `take` that came before the `close` is in every later
//! count, and an exchange that failed is tried with what it found.
//!
//! # Limits
//!
//! Counts up to 2^63 - 1; the maximum is the caller's.

use crate::sync::{AtomicU64, Ordering, order};

const CLOSED: u64 = 1 << 63;

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// As much is taken as there may be.
    Full,
    /// Nobody is let in any more.
    Closed,
}

/// See the module's page.
#[derive(Debug)]
pub struct Credits {
    word: AtomicU64,
    max: u64,
}

impl Credits {
    /// Room for `max` messages.
    pub fn new(max: u64) -> Self {
        Self { word: AtomicU64::new(0), max: max.min(CLOSED - 1) }
    }

    /// Takes room for `messages`, or for none of them.
    pub fn take(&self, messages: u64) -> Result<(), NoRoom> {
        let mut word = self.word.load(Ordering::Relaxed); // [relaxed] the exchange below decides
        loop {
            if word & CLOSED != 0 {
                return Err(NoRoom::Closed);
            }
            if self.max.saturating_sub(word) < messages {
                return Err(NoRoom::Full);
            }
            let success = order("Q1_take", Ordering::Acquire); // [Q1]
            let failure = Ordering::Relaxed; // [relaxed]
            match self.word.compare_exchange_weak(word, word + messages, success, failure) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes room whether there is any or not: for the queue's own messages, which were counted elsewhere before.
    pub fn take_over(&self, messages: u64) {
        self.word.fetch_add(messages, Ordering::Relaxed); // [relaxed]
    }

    /// Gives room back.
    pub fn give(&self, messages: u64) {
        let before = self.word.fetch_sub(messages, order("Q1_give", Ordering::Release)); // [Q1]
        debug_assert!(messages <= before & !CLOSED, "more room given back than was taken");
    }

    /// Refuses everyone from now on.
    pub fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::Relaxed); // [relaxed]
    }

    /// Is everyone refused?
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Relaxed) & CLOSED != 0 // [relaxed]
    }

    /// How much room is taken.
    pub fn count(&self) -> u64 {
        self.word.load(order("Q1_count", Ordering::Acquire)) & !CLOSED // [Q1]
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
