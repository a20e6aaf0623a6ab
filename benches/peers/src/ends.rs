//! The two ends of a channel as the workloads see them: what a peer must be able to do, and no more.
//!
//! | trait | who has it |
//! |---|---|
//! | [`TryPut`], [`TryGet`] | every peer: one attempt that does not wait |
//! | [`Put`], [`Get`] | a peer with blocking calls of its own |
//! | `Clone` of an end | a peer with many senders, or many receivers |
//!
//! So a workload's bounds say who can take part, and the compiler holds the lists of peers to it. Values are
//! `Copy`, hence a refused one need not come back. Every method is one call of the library's own; a batch is the
//! library's own batch, or the single calls of the default, and [`Named::BATCHES`] says which.

use crate::value::{Tally, Value};
use std::hint::spin_loop;
use std::ops::Range;
use std::thread;

/// A library, in one of its forms.
pub trait Named {
    /// As the tables print it.
    const NAME: &'static str;
    /// How it carries a batch by calls that wait.
    const BATCHES: &'static str = "singly";
    /// How it carries a batch by attempts.
    const TRIED_BATCHES: &'static str = "singly";
}

/// A channel, or ring, of that library.
pub trait Peer<T: Value>: Named {
    /// Where values go in.
    type Sender: TryPut<T>;
    /// Where they come out.
    type Receiver: TryGet<T>;

    /// A new one that holds at most `capacity` values.
    fn ends(capacity: usize) -> (Self::Sender, Self::Receiver);
}

/// An end that takes a value if there is room.
pub trait TryPut<T: Value>: Send + 'static {
    /// One attempt: was the value taken?
    fn try_put(&mut self, value: T) -> bool;

    /// Sends the values of the first of these numbers: how many?
    fn try_put_batch(&mut self, numbers: Range<u64>) -> u64 {
        let first = numbers.start;
        let refused = numbers.clone().find(|number| !self.try_put(T::of(*number)));
        refused.unwrap_or(numbers.end) - first
    }
}

/// An end that gives a value if there is one.
pub trait TryGet<T: Value>: Send + 'static {
    /// One attempt.
    fn try_get(&mut self) -> Option<T>;

    /// What one step of the library's ordinary receiving loop gives, at most `limit`: how many? A single value,
    /// except where the library knows no single receive.
    fn try_get_some(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        debug_assert!(limit > 0);
        self.try_get().inspect(|value| tally.add(value)).map_or(0, |_| 1)
    }

    /// Takes at most `limit` values: how many?
    fn try_get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        let mut taken = 0;
        while taken < limit
            && let Some(value) = self.try_get()
        {
            tally.add(&value);
            taken += 1;
        }
        taken
    }
}

/// An end whose own `send` waits for room.
pub trait Put<T: Value>: TryPut<T> {
    /// Waits, sends.
    fn put(&mut self, value: T);

    /// Sends the values of all these numbers.
    fn put_batch(&mut self, numbers: Range<u64>) {
        numbers.for_each(|number| self.put(T::of(number)));
    }
}

/// An end whose own `recv` waits for a value.
pub trait Get<T: Value>: TryGet<T> {
    /// Waits, receives.
    fn get(&mut self) -> T;

    /// Waits for the first, takes at most `limit`: how many?
    fn get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        debug_assert!(limit > 0);
        tally.add(&self.get());
        1
    }
}

/// Attempts between two offers of the processor: the machine may have fewer cores than threads that spin.
const TRIES: u32 = 64;

/// Spins until an attempt succeeds; now and then it offers the processor.
pub fn until<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let mut tries = 0_u32;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        tries += 1;
        if tries.is_multiple_of(TRIES) { thread::yield_now() } else { spin_loop() }
    }
}
