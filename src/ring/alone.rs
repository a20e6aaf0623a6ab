//! Push and pop for a side of the ring that has one end only: plain stores in place of exchanges.
//!
//! An empty entry of the present turn is changed by nobody but a producer, a full one by nobody but a consumer. So who is
//! alone on its side may store where others must exchange, and what it has seen stays so until it changes it. It
//! therefore looks at [`AHEAD`] entries at a time and remembers their cells: the line that both sides write is fetched
//! once for several values, not once for each.
//!
//! ```text
//!   entries      full  full  empty empty empty empty ...      a producer at the first empty entry has looked at four
//!                            ^at   c7    c2    c9             and knows their cells; nobody can take them from it
//! ```
//!
//! The answers Full and Empty are exact all the same: they are given only after a fresh look at the entry itself.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | \[R1\] | `push_alone` stores the entry | a pop loads it; here when it looks ahead | the value in the cell |
//! | \[R2\] | `pop_alone` stores the entry | a push loads it; here when it looks ahead | the cell was read out and may be written |
//! | \[R3\] | the bound is stored with every operation | whoever starts at it | as on the ring's page |
//!
//! \[relaxed\]: the spare cell: it is read and written by who is alone on the side, and being alone is handed over by the
//! count of ends (\[C1\], \[C3\] of the channel).
//!
//! A store is not an exchange: when `push_alone` returns, the value may still be on its way to the other processors.
//! Whoever learns of the push by anything that synchronises finds it; a clock on the wall does not. See
//! `docs/guarantees.md`.
//!
//! # Rules that are easy to break
//!
//! - Two on one side, one of them with stores, lose a value: both would own one cell. Hence `unsafe`.
//! - What was remembered dies with the state: who becomes alone again looks again.
//!
//! # Limits
//!
//! As the ring's. Source: own.

#![allow(unsafe_code)]

use super::swap::{CELL_MASK, FULL, Ring};
use crate::sync::{Ordering, mutant, order};
use std::mem::MaybeUninit;

/// Entries that are looked at together: those of one cache line.
const AHEAD: usize = 8;

/// The state of an end that is alone on its side.
#[derive(Debug)]
pub struct Alone {
    /// The next position; everything before it is done.
    at: u64,
    /// The private cell.
    held: u32,
    /// Cells of the entries from `at` on that are known to be ready, the last `left` ones of the first `known`.
    cells: [u32; AHEAD],
    known: usize,
    left: usize,
}

impl Alone {
    fn new(at: u64, held: u32) -> Self {
        Self { at, held, cells: [0; AHEAD], known: 0, left: 0 }
    }

    /// The cell of the entry at `at`, if that is known to be ready.
    #[inline]
    fn ready(&self) -> Option<u32> {
        // The index is below `known`, which is at most AHEAD; the mask tells the compiler.
        (self.left > 0).then(|| self.cells[(self.known - self.left) % AHEAD])
    }
}

impl<T> Ring<T> {
    /// The state of a push side that is alone from now on.
    pub fn begin_push_alone(&self) -> Alone {
        let at = self.tail.bound.load(order("R3_load", Ordering::Acquire)); // [R3]
        Alone::new(at, self.tail.spare.load(Ordering::Relaxed)) // [relaxed]
    }

    /// The push side is not alone any more: its cell is kept for the next one that is.
    pub fn end_push_alone(&self, end: &mut Alone) {
        self.tail.spare.store(end.held, Ordering::Relaxed); // [relaxed]
    }

    /// The state of a pop side that is alone from now on.
    pub fn begin_pop_alone(&self) -> Alone {
        let at = self.head.bound.load(order("R3_load", Ordering::Acquire)); // [R3]
        Alone::new(at, self.head.spare.load(Ordering::Relaxed)) // [relaxed]
    }

    /// The pop side is not alone any more.
    pub fn end_pop_alone(&self, end: &mut Alone) {
        self.head.spare.store(end.held, Ordering::Relaxed); // [relaxed]
    }

    /// As [`Ring::push`].
    ///
    /// # Errors
    ///
    /// The value, if the ring was full at one moment of the call.
    ///
    /// # Safety
    ///
    /// From the making of `end`, by this ring, to its end nobody else pushes.
    #[inline]
    pub unsafe fn push_alone(&self, end: &mut Alone, value: T) -> Result<u64, T> {
        let Some(taken) = end.ready().or_else(|| self.look_for_room(end)) else {
            return Err(value);
        };
        let at = end.at;
        // SAFETY: the held cell is this end's alone, and it holds no value.
        self.cell(end.held.into()).with_mut(|cell| unsafe { cell.write(MaybeUninit::new(value)) });
        let full = self.turn(at) | FULL | u64::from(end.held);
        self.entry(at).store(full, order("R1_alone", Ordering::Release)); // [R1]
        self.advance(end, taken);
        self.tail.bound.store(end.at, order("R3_alone", Ordering::Release)); // [R3]
        Ok(self.count(at))
    }

    /// As [`Ring::pop`].
    ///
    /// # Safety
    ///
    /// From the making of `end`, by this ring, to its end nobody else pops.
    #[inline]
    pub unsafe fn pop_alone(&self, end: &mut Alone) -> Option<(u64, T)> {
        let taken = end.ready().or_else(|| self.look_for_value(end))?;
        let at = end.at;
        // SAFETY: a full entry is changed by a consumer only, and this is the one there is.
        let value = self.cell(taken.into()).with_mut(|cell| unsafe { cell.read() });
        let empty = self.turn_after(at) | u64::from(end.held);
        self.entry(at).store(empty, order("R2_alone", Ordering::Release)); // [R2]
        self.advance(end, taken);
        self.head.bound.store(end.at, order("R3_alone", Ordering::Release)); // [R3]
        // SAFETY: the entry said full, so a push wrote the value, and [R1] makes that visible; the entry says so no more.
        Some((self.count(at), unsafe { value.assume_init() }))
    }

    /// The oldest value, left where it is.
    ///
    /// # Safety
    ///
    /// As [`Ring::pop_alone`].
    pub unsafe fn peek_alone<'a>(&'a self, end: &'a mut Alone) -> Option<&'a T> {
        let there = end.ready().or_else(|| self.look_for_value(end))?;
        // SAFETY: as for a pop; the value stays until this end pops, which needs the state that is borrowed here.
        let value = self.cell(there.into()).with_mut(|cell| unsafe { &*cell });
        // SAFETY: the entry said full, so a push wrote the value, and [R1] makes that visible.
        Some(unsafe { value.assume_init_ref() })
    }

    /// The operation at `at` is done, and that cell was taken for the one given.
    #[inline]
    fn advance(&self, end: &mut Alone, taken: u32) {
        if !mutant("cell_forgotten_alone") {
            end.held = taken;
        }
        end.left -= 1;
        end.at = self.next(end.at);
    }

    /// Remembers the entries from the tail on that can be pushed to, if there are any.
    fn look_for_room(&self, end: &mut Alone) -> Option<u32> {
        self.look(end, |word| word & FULL == 0, order("R2_ahead", Ordering::Acquire)) // [R2]
    }

    /// Remembers the entries from the head on that hold a value, if there are any.
    fn look_for_value(&self, end: &mut Alone) -> Option<u32> {
        self.look(end, |word| word & FULL != 0, order("R1_ahead", Ordering::Acquire)) // [R1]
    }

    #[inline]
    fn look(&self, end: &mut Alone, ready: impl Fn(u64) -> bool, strong: Ordering) -> Option<u32> {
        let mut seen = self.entry(end.at).load(strong); // [R1] [R2]
        let mut ahead = self.laps_ahead(seen, end.at);
        // The first look may find the bound a little old.
        while ahead > 0 {
            end.at = self.past(end.at, ahead);
            seen = self.entry(end.at).load(strong); // [R1] [R2]
            ahead = self.laps_ahead(seen, end.at);
        }
        let to_end = self.capacity() - self.index(end.at);
        let mut at = end.at;
        (end.known, end.left) = (0, 0);
        while ahead == 0 && ready(seen) {
            end.cells[end.known] = (seen & CELL_MASK) as u32;
            end.known += 1;
            if end.known == AHEAD.min(to_end) {
                break;
            }
            at += 1;
            seen = self.entry(at).load(strong); // [R1] [R2]
            ahead = self.laps_ahead(seen, at);
        }
        end.left = end.known;
        end.ready()
    }
}
