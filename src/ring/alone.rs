//! Push and pop for a side of the ring that has one end only: plain stores in place of exchanges.
//!
//! An empty entry of the present turn is changed by nobody but a producer, a full one by nobody but a consumer. So who is
//! alone on its side owns the cell in such an entry already, without a private one to swap for it: it writes (reads) the
//! value there, and stores the entry's next word. And what it has seen stays so until it changes it, so it looks at
//! [`AHEAD`] entries at a time and remembers them: the line that both sides write is fetched once for several values.
//!
//! ```text
//!   push at p = (lap, i):   entries[i]:  lap | empty | c     becomes  lap     | full  | c
//!   pop  at p = (lap, i):   entries[i]:  lap | full  | c     becomes  lap + 1 | empty | c
//! ```
//!
//! The answers Full and Empty are exact all the same: they are given only after a fresh look at the entry itself.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | \[R1\] | a push stores the entry | a pop loads it; here when it looks ahead | the value in the cell |
//! | \[R2\] | a pop stores the entry | a push loads it; here when it looks ahead | the cell was read out and may be written |
//! | \[R5\] | SeqCst fence between an end's last store and the look by which it says Full or Empty | the same of the other side | one of the two sees the other's store: not Full and Empty of the same values |
//!
//! The bound is stored after each operation, for whoever starts at it: pair R3 of the ring's page. \[relaxed\]: the bound
//! that a state begins with. All who stored it before are gone, and their count-down, pair C1 or C3 of [`super::shared`],
//! has brought it, and their entries, along.
//!
//! A store is not an exchange: when a push returns, the value may still be on its way to the other processors.
//! Whoever learns of the push by anything that synchronises finds it; a clock on the wall does not. See
//! `docs/guarantees.md`.
//!
//! # Rules that are easy to break
//!
//! - Two on one side, one of them with stores, lose a value: both would own one cell. Hence `unsafe`.
//! - What was remembered dies with the state: who becomes alone again looks again.
//! - A pop reads before it stores: after the store the cell is a producer's.
//!
//! # Limits
//!
//! As the ring's. Source: own; looking ahead is what FastForward and MCRingBuffer do for their slots.

#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::swap::{CELL_MASK, FULL, Ring};
use crate::sync::{AtomicU64, Ordering, fence, mutant, order};
use std::mem::MaybeUninit;

/// Entries that are looked at together: those of one cache line.
const AHEAD: usize = 8;

/// The state of an end that is alone on its side.
#[derive(Debug)]
pub struct Alone {
    /// The next position.
    at: u64,
    /// Words of the entries from `at` on that are known to be ready: from `next` up to `known`.
    next: usize,
    known: usize,
    words: [u64; AHEAD],
    /// The position up to which a fence parts this end's stores from its looks: see \[R5\].
    told: u64,
    /// A consumer that found nothing is close behind the producer, and looks ahead when there is something again.
    close: bool,
}

impl Alone {
    fn new(at: u64) -> Self {
        Self { at, next: 0, known: 0, words: [0; AHEAD], told: at, close: false }
    }

    /// The word of the next entry, if that is known to be ready.
    #[inline]
    fn ready(&self) -> Option<u64> {
        // `known` is at most AHEAD; the remainder tells the compiler.
        (self.next < self.known).then(|| self.words[self.next % AHEAD])
    }
}

impl<T> Buffer for Ring<T> {
    type Item = T;
    type Push = Alone;
    type Pop = Alone;

    fn begin_push(&self) -> Alone {
        let mut end = Alone::new(self.tail.load(Ordering::Relaxed)); // [relaxed]
        if mutant("count_late") {
            self.look_for_room(&mut end);
        }
        end
    }

    fn begin_pop(&self) -> Alone {
        let mut end = Alone::new(self.head.load(Ordering::Relaxed)); // [relaxed]
        if mutant("count_late") {
            self.look_for_value(&mut end);
        }
        end
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn push_alone(&self, end: &mut Alone, value: T) -> Result<u64, T> {
        let Some(word) = end.ready().or_else(|| self.look_for_room(end)) else {
            return Err(value);
        };
        let cell = self.cell(word & CELL_MASK);
        // SAFETY: an empty entry is changed by a producer only, and the caller is the one there is: the cell is its own.
        cell.with_mut(|cell| unsafe { cell.write(MaybeUninit::new(value)) });
        let at = end.at;
        self.entry(at).store(word | FULL, order("R1_alone", Ordering::Release)); // [R1]
        self.advance(end, &self.tail);
        Ok(at)
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn push_many_alone(
        &self,
        end: &mut Alone,
        values: &mut impl Iterator<Item = T>,
        pushed: &mut usize,
    ) -> Option<T> {
        for value in values {
            // SAFETY: the caller's own promise.
            if let Err(value) = unsafe { self.push_alone(end, value) } {
                return Some(value);
            }
            *pushed += 1;
        }
        None
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn pop_alone(&self, end: &mut Alone) -> Option<(u64, T)> {
        let word = self.next_value(end)?;
        let (at, empty) = (end.at, self.turn_after(word ^ FULL));
        if mutant("read_late") {
            self.entry(at).store(empty, Ordering::Release); // [R2]
        }
        let cell = self.cell(word & CELL_MASK);
        // SAFETY: a full entry is changed by a consumer only, and the caller is the one there is: the cell is its own.
        let value = cell.with_mut(|cell| unsafe { cell.read() });
        self.entry(at).store(empty, order("R2_alone", Ordering::Release)); // [R2]
        self.advance(end, &self.head);
        // SAFETY: the entry said full, so a push wrote the value, and [R1] makes that visible; the entry says so no more.
        Some((at, unsafe { value.assume_init() }))
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn pop_many_alone(
        &self,
        end: &mut Alone,
        into: &mut Vec<T>,
        limit: usize,
        popped: &mut usize,
    ) {
        while *popped < limit {
            into.reserve(1); // before the value is out of the ring
            // SAFETY: the caller's own promise.
            let Some((_, value)) = (unsafe { self.pop_alone(end) }) else { return };
            into.push(value);
            *popped += 1;
        }
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn peek_alone<'a>(&'a self, end: &'a mut Alone) -> Option<&'a T> {
        let word = self.next_value(end)?;
        // SAFETY: as for a pop; the value stays until this end pops, which needs the state that is borrowed here.
        let value = self.cell(word & CELL_MASK).with_mut(|cell| unsafe { &*cell });
        // SAFETY: the entry said full, so a push wrote the value, and [R1] makes that visible.
        Some(unsafe { value.assume_init_ref() })
    }

    /// By exchanges: several may do it at once, and a consumer's stores have all happened before.
    fn abandon(&self, wanted: Option<u64>) -> Option<T> {
        Discard { ring: self, wanted, popping: false }.drop_each()
    }

    fn len(&self) -> usize {
        Ring::len(self)
    }

    fn is_empty(&self) -> bool {
        Ring::is_empty(self)
    }

    fn is_full(&self) -> bool {
        Ring::is_full(self)
    }

    fn pushed(&self) -> u64 {
        self.tail.load(Ordering::Relaxed) // [relaxed]
    }

    fn popped(&self) -> u64 {
        self.head.load(Ordering::Relaxed) // [relaxed]
    }

    fn capacity(&self) -> usize {
        Ring::capacity(self)
    }
}

/// Drops what a ring without consumers holds, and goes on after a value whose drop panics.
struct Discard<'a, T> {
    ring: &'a Ring<T>,
    /// The position of the value that is to come back.
    wanted: Option<u64>,
    /// Is it the pop that is under way? One that panics (too many threads) would do so again.
    popping: bool,
}

impl<T> Discard<'_, T> {
    fn drop_each(&mut self) -> Option<T> {
        loop {
            self.popping = true;
            let popped = self.ring.pop();
            self.popping = false;
            let (at, value) = popped?;
            if self.wanted == Some(at) {
                return Some(value);
            }
        }
    }
}

impl<T> Drop for Discard<'_, T> {
    fn drop(&mut self) {
        self.wanted = None;
        if !self.popping {
            self.drop_each();
        }
    }
}

impl<T> Ring<T> {
    /// The entry at `at` is done.
    #[inline]
    fn advance(&self, end: &mut Alone, bound: &AtomicU64) {
        end.next += 1;
        end.at = self.next(end.at);
        Self::store_bound(bound, end.at);
    }

    /// The word of the next entry that holds a value.
    #[inline]
    fn next_value(&self, end: &mut Alone) -> Option<u64> {
        if let Some(word) = end.ready() {
            return Some(word);
        }
        if !end.close {
            let seen = self.entry(end.at).load(order("R1_ahead", Ordering::Acquire)); // [R1]
            if seen & !CELL_MASK == self.turn(end.at) | FULL {
                return Some(seen);
            }
        }
        self.look_for_value(end)
    }

    /// Remembers the entries from the tail on that can be pushed to, if there are any.
    #[inline(never)]
    fn look_for_room(&self, end: &mut Alone) -> Option<u64> {
        let strong = order("R2_ahead", Ordering::Acquire); // [R2]
        self.look(end, 0, strong).or_else(|| Self::tell(end).then(|| self.look(end, 0, strong))?)
    }

    /// Remembers the entries from the head on that hold a value, if there are any.
    #[inline(never)]
    fn look_for_value(&self, end: &mut Alone) -> Option<u64> {
        let strong = order("R1_ahead", Ordering::Acquire); // [R1]
        let found = self.look(end, FULL, strong);
        let found = found.or_else(|| Self::tell(end).then(|| self.look(end, FULL, strong))?);
        end.close = found.is_none();
        found
    }

    /// A fence between this end's last store and its next look, if there was none yet; says if there was none. Full and
    /// Empty are not said by a look that may have overtaken the store.
    fn tell(end: &mut Alone) -> bool {
        let untold = end.told != end.at;
        end.told = end.at;
        if untold && !mutant("R5_fence") {
            fence(Ordering::SeqCst); // [R5]
        }
        untold
    }

    #[inline]
    fn look(&self, end: &mut Alone, ready: u64, strong: Ordering) -> Option<u64> {
        let mut at = end.at;
        let mut seen = self.entry(at).load(strong); // [R1] [R2]
        // The bound that the state began with may have been a little old. What is done at a push's position shows by the
        // turn or, as long as nobody popped it, by the value.
        loop {
            let ahead = self.laps_ahead(seen, at);
            let pushed = ready == 0 && ahead == 0 && seen & FULL != 0 && !mutant("old_bound");
            if ahead < 0 || ahead == 0 && !pushed {
                break;
            }
            at = self.past(at, ahead);
            seen = self.entry(at).load(strong); // [R1] [R2]
        }
        end.at = at;
        let wanted = self.turn(at) | ready;
        let limit = AHEAD.min(self.capacity() - self.index(at)); // not beyond the lap
        let mut known = 0;
        while seen & !CELL_MASK == wanted {
            end.words[known] = seen;
            known += 1;
            if known == limit {
                break;
            }
            seen = self.entry(at + known as u64).load(strong); // [R1] [R2]
        }
        (end.next, end.known) = (0, known);
        end.ready()
    }
}
