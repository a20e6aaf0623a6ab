//! A gate that counts who is inside: whoever shuts it knows when the last one has left.
//!
//! ```text
//!   enter: one more, unless it is shut          shut: nobody more, then wait until nobody is inside
//! ```
//!
//! One word holds both, so there is nothing between: who has entered is waited for, who comes later is refused (H17).
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [G1] | a [`Pass`] is dropped | `shut_and_wait` reads 0 | all that was done inside |
//!
//! Entering and shutting are [relaxed]: they are changes of one word, and no data is read on their word.
//!
//! # Limits
//!
//! 2^63 - 1 at a time. Shutting waits for as long as the slowest one is inside.

use crate::sync::{AtomicU64, Ordering, order, thread};

const SHUT: u64 = 1 << 63;

/// See the module's page.
#[derive(Debug)]
pub struct Gate(AtomicU64);

/// Somebody is inside.
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// An open gate, with nobody inside.
    #[allow(clippy::new_without_default)] // It is made on purpose.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Lets the caller in; `None` once the gate is shut.
    pub fn enter(&self) -> Option<Pass<'_>> {
        let mut word = self.0.load(Ordering::Relaxed); // [relaxed]
        while word & SHUT == 0 {
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed); // [relaxed]
            match self.0.compare_exchange_weak(word, word + 1, success, failure) {
                Ok(_) => return Some(Pass(self)),
                Err(now) => word = now,
            }
        }
        None
    }

    /// Lets nobody in any more, and returns when nobody is inside.
    pub fn shut_and_wait(&self) {
        self.0.fetch_or(SHUT, Ordering::Relaxed); // [relaxed]
        let inside = || self.0.load(order("G1_wait", Ordering::Acquire)); // [G1]
        while inside() != SHUT {
            thread::yield_now();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, order("G1_leave", Ordering::Release)); // [G1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Promise: who got in is done when the gate is shut, and nobody gets in after.
    #[test]
    fn shutting_waits_for_those_inside_and_refuses_the_others() {
        for _ in 0..200 {
            let (gate, begun, done) = (Gate::new(), AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while let Some(_pass) = gate.enter() {
                            begun.fetch_add(1, Ordering::Relaxed); // [relaxed] a test's count
                            done.fetch_add(1, Ordering::Relaxed); // [relaxed] a test's count
                        }
                    });
                }
                gate.shut_and_wait();
                let (begun, done) = (begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed)); // [relaxed]
                assert_eq!(begun, done);
                assert!(gate.enter().is_none());
            });
            gate.shut_and_wait();
        }
    }
}
