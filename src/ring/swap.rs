//! The ring itself: bounded, many producers, many consumers, lock-free in the formal sense.
//!
//! An entry is one word, `turn | full | cell`, and values live in cells beside the entries. There are more cells than
//! entries: every thread that uses the ring owns one, its *private cell*, held in its seat ([`super::cells`]).
//! A push writes the value into the private cell and swaps that cell, by one compare-and-exchange, for the empty one
//! found in the entry; a pop swaps the private (empty) cell for the full one. "Symmetric swap":
//!
//! ```text
//!   push at position p = (lap, i):   entries[i]:  lap     | empty | c     becomes  lap     | full  | mine;  mine = c
//!   pop  at position p = (lap, i):   entries[i]:  lap     | full  | c     becomes  lap + 1 | empty | mine;  mine = c
//! ```
//!
//! That exchange is the linearization point. There is no moment between "claimed" and "published", so a thread that
//! stops anywhere holds up nobody; and a cell has exactly one owner at any time, an entry or a thread, so its
//! contents are never raced for, not even by a read that is thrown away.
//!
//! `head` and `tail` are lower bounds ("every position below was popped", "... pushed"). An operation starts there
//! and walks: the entry's turn tells whether the position is its own, past, or a lap too early (full, or empty).
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[R1\] | `push` exchanges the entry | `pop` loads it | the value in the cell |
//! | \[R2\] | `pop` exchanges the entry | `push` loads it | the cell was read out and may be written |
//! | \[R3\] | who moved on stores `head` or `tail` | an operation loads it | the entries below the bound as they were |
//! | \[R4\] | both exchanges | `len` walks to the tail | the pops before it, so that the second look at the head shows them |
//!
//! The exchanges need no Acquire: the word that they replace was loaded with Acquire, and is unique within a lap of
//! turns. \[R3\] looks like a hint but is not one: a Relaxed bound lets a pop answer "empty" though a push happened
//! before it. \[relaxed\]: a seat's cell, read and written by the seat's thread alone (the hand-over is in
//! [`super::cells`]); the failed exchange, tried again from a new load; the second look of `len`, ordered by \[R4\]; the
//! drop of the ring, which owns everything.
//!
//! # Rules that are easy to break
//!
//! Each with the fault that is planted against it (`loom-tests`), or the test.
//!
//! - An entry is loaded with Acquire and exchanged with Release; a failed exchange is tried again from a new load.
//!   (`R1_push`, `R1_load`, `R2_pop`, `R2_load`)
//! - The bounds are stored with Release and loaded with Acquire: see \[R3\]. (`R3_store`, `R3_load`)
//! - A turn is compared modulo its width and signed ([`Ring::laps_ahead`]). (`no_wrap`)
//! - Who was handed a cell keeps it, or the number of cells shrinks; a thread's number goes back after its last operation.
//!   (`cell_forgotten`, `late_id`)
//! - Who becomes alone on its side reads the count of ends before it looks at an entry (\[C1\], \[C3\] of `shared.rs`); its
//!   first bound may be old. (`C1_load`, `C3_load`, `old_bound`)
//! - What takes values out while a consumer may be alone takes them by that consumer: there is no eviction, and senders that
//!   empty an abandoned ring begin when the last consumer is gone. (`C3_drop`, `drain_beside`)
//! - A ring is closed by the drop of its last end on a side, and by nothing else; the count is read before the last look.
//!   (`no_last_look`, `no_second_count`)
//! - No user code runs between taking the private cell and the exchange: no clone, no drop, no allocation, no iterator.
//!   (`tests/ring_batch.rs`: iterators that use the channel of their own batch)
//! - There is no third way to an end: clones come from ends that clone, nothing is upgraded from anything weaker.
//! - `len` looks at the head a second time; one pass may give a length that never was. (`len_once`, `R4_load`)
//! - A bound may be pushed back by a thread that stalled before it stored it. That costs the next operation a walk
//!   of at most one lap, never an answer. (`a_bound_that_was_pushed_back_costs_a_walk_never_an_answer`)
//!
//! # Limits
//!
//! [`CAPACITY_MAX`] values; [`THREADS_MAX`] threads. A turn has 43 bits, so an operation is exact while the others make
//! less than 2^42 laps during it. A thread that stops in mid-operation for longer takes what is ahead for what is behind:
//! it may answer Full or Empty wrongly, and a bound that it stores then makes later operations do so; after exactly
//! 2^43 laps, with the same cell in its entry, its exchange itself would be wrong. At capacity 1 and 10^8 operations a
//! second 2^42 laps are 12 hours; at capacity 1000, 1.4 years. An operation takes time in proportion to the walk; `len`
//! tries again while the head moves.
//!
//! Source: own, examined by the models in `loom-tests`. Positions as (lap, index) by a power-of-two stride are
//! crossbeam-channel's.

#![allow(unsafe_code)]

use super::cells::{First, Layout, Seats, THREADS_MAX, mine};
use crate::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell, mutant, order};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::mem::MaybeUninit;

/// Bits of an entry that name a cell.
const CELL_BITS: u32 = 20;
/// The entry's cell holds a value.
pub(super) const FULL: u64 = 1 << CELL_BITS;
pub(super) const CELL_MASK: u64 = FULL - 1;
/// A turn fills the entry above the cell and the full bit, so it wraps as the word does.
const TURN_SHIFT: u32 = CELL_BITS + 1;

/// The most values a ring may hold: every thread there may be has a cell besides.
pub const CAPACITY_MAX: usize = (1 << CELL_BITS) - THREADS_MAX;

const _: () = assert!(CAPACITY_MAX + THREADS_MAX <= 1 << CELL_BITS);
const _: () = assert!(u64::BITS - TURN_SHIFT == 43);

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// A thread's place in one ring.
struct Seat<T> {
    /// The cell that the thread owns between two operations; always empty then.
    held: AtomicU32,
    /// The memory of the cell that came with a far seat; a near one's lies with the ring's own. It goes round with all the
    /// others.
    cell: Slot<T>,
}

/// # Panics
///
/// If a ring cannot hold so many.
pub(super) fn check_capacity(capacity: usize) {
    assert!(capacity > 0, "a ring holds at least one value: capacity 0 was asked for");
    assert!(
        capacity <= CAPACITY_MAX,
        "a ring holds at most {CAPACITY_MAX} values: capacity {capacity} was asked for"
    );
}

/// What a ring looks like; models and tests make theirs small and old.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Values it holds, at least 1.
    pub capacity: usize,
    /// Bits of a turn, at most 43.
    pub turn_bits: u32,
    /// The lap to begin with.
    pub lap: u64,
    /// Of the table of seats.
    pub seats: Layout,
}

impl Shape {
    /// The shape of a new ring of that capacity.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, turn_bits: u64::BITS - TURN_SHIFT, lap: 0, seats: Layout::ALL }
    }
}

/// A bounded lock-free queue of values. See the page above.
pub struct Ring<T> {
    entries: Box<[AtomicU64]>,
    /// Those of the entries, then those of the near seats.
    cells: Box<[Slot<T>]>,
    seats: Seats<CachePadded<Seat<T>>>,
    /// The low bits of a position, which are its index.
    index_mask: u64,
    /// How far the lap of a position is to be lifted to be the turn of an entry.
    lift: u32,
    /// Where the turn begins in an entry.
    pub(super) turn_shift: u32,
    /// Every position below was pushed.
    pub(super) tail: CachePadded<AtomicU64>,
    /// Every position below was popped.
    pub(super) head: CachePadded<AtomicU64>,
}

// SAFETY: a cell is touched by its one owner only (the page above), and ownership moves through [R1], [R2] and the
// hand-over of seats; so sharing the ring moves values between threads and does nothing else with them.
unsafe impl<T: Send> Sync for Ring<T> {}

/// How far a batch has come; says so when it ends, however it ends.
struct Moved<'a> {
    bound: &'a AtomicU64,
    from: u64,
    to: u64,
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        // A batch takes long, and others may have come further meanwhile: the bound is not pushed back on purpose.
        let now = self.bound.load(Ordering::Relaxed); // [relaxed] a look before the store
        if self.to != self.from && (now.wrapping_sub(self.to) as i64) < 0 {
            self.bound.store(self.to, order("R3_batch", Ordering::Release)); // [R3]
        }
    }
}

impl<T> Ring<T> {
    /// An empty ring for `capacity` values.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0 or more than [`CAPACITY_MAX`].
    pub fn new(capacity: usize) -> Self {
        Self::shaped(Shape::new(capacity))
    }

    /// An empty ring of that shape.
    ///
    /// # Panics
    ///
    /// As [`Ring::new`].
    pub fn shaped(shape: Shape) -> Self {
        let Shape { capacity, turn_bits, lap, seats } = shape;
        check_capacity(capacity);
        assert!(turn_bits <= u64::BITS - TURN_SHIFT, "{turn_bits} bits of turn do not fit");
        let index_bits = capacity.next_power_of_two().ilog2();
        let turn_shift = u64::BITS - turn_bits;
        let first = lap << index_bits;
        Self {
            entries: (0..capacity as u64).map(|i| AtomicU64::new(lap << turn_shift | i)).collect(),
            cells: (0..capacity + seats.near)
                .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                .collect(),
            seats: Seats::new(seats, |number| new_seat(capacity, number)),
            index_mask: (1 << index_bits) - 1,
            lift: turn_shift - index_bits,
            turn_shift,
            tail: CachePadded::new(AtomicU64::new(first)),
            head: CachePadded::new(AtomicU64::new(first)),
        }
    }

    /// Puts a value in; says at which position. Positions rise, and the numbers between two laps are none.
    ///
    /// # Errors
    ///
    /// The value, if the ring was full at one moment of the call.
    ///
    /// # Panics
    ///
    /// At a thread's first use of any ring, if [`THREADS_MAX`] threads use rings already.
    #[inline]
    pub fn push(&self, value: T) -> Result<u64, T> {
        self.with_seat(|seat| self.push_from(seat, value))
    }

    #[inline(always)]
    fn push_from(&self, seat: &Seat<T>, value: T) -> Result<u64, T> {
        let from = self.tail.load(order("R3_load", Ordering::Acquire)); // [R3]
        let at = self.push_at(seat, from, value)?;
        self.tail.store(self.next(at), order("R3_store", Ordering::Release)); // [R3]
        Ok(at)
    }

    /// Pushes at the first position from that bound on that can take it; says which.
    #[inline(always)]
    fn push_at(&self, seat: &Seat<T>, mut at: u64, value: T) -> Result<u64, T> {
        let mine = u64::from(seat.held.load(Ordering::Relaxed)); // [relaxed]
        // SAFETY: `mine` is the private cell of this thread: no other thread touches it, and it holds no value.
        self.cell(mine).with_mut(|cell| unsafe { cell.write(MaybeUninit::new(value)) });
        loop {
            let entry = self.entry(at);
            let seen = entry.load(order("R2_load", Ordering::Acquire)); // [R2]
            let turn = self.turn(at);
            if seen & !CELL_MASK == turn {
                let strong = order("R1_push", Ordering::Release); // [R1] [R4]
                let full = turn | FULL | mine;
                let swapped = entry.compare_exchange(seen, full, strong, Ordering::Relaxed); // [relaxed]
                if swapped.is_ok() {
                    self.keep(seat, seen);
                    return Ok(at);
                }
                continue;
            }
            let ahead = self.laps_ahead(seen, at);
            if ahead < 0 {
                // SAFETY: still the private cell, and the value above still lies in it.
                let value = self.cell(mine).with_mut(|cell| unsafe { cell.read() });
                // SAFETY: written above, and not taken by any exchange.
                return Err(unsafe { value.assume_init() });
            }
            at = self.past(at, ahead);
        }
    }

    /// Pushes what the iterator gives, until it ends or a value finds the ring full; that value comes back. `pushed`
    /// counts, also when the iterator panics.
    ///
    /// # Panics
    ///
    /// As [`Ring::push`], and when the iterator does.
    pub fn push_many(&self, values: &mut impl Iterator<Item = T>, pushed: &mut usize) -> Option<T> {
        self.with_seat(|seat| {
            let from = self.tail.load(order("R3_load", Ordering::Acquire)); // [R3]
            let mut moved = Moved { bound: &self.tail, from, to: from };
            // No user code between the cell and the exchange: the next value is there before either is touched.
            for value in values {
                match self.push_at(seat, moved.to, value) {
                    Ok(at) => moved.to = self.next(at),
                    Err(value) => return Some(value),
                }
                *pushed += 1;
            }
            None
        })
    }

    /// Takes the oldest value out, with its position. None if the ring was empty at one moment of the call.
    ///
    /// # Panics
    ///
    /// As [`Ring::push`].
    #[inline]
    pub fn pop(&self) -> Option<(u64, T)> {
        self.with_seat(|seat| self.pop_into(seat))
    }

    #[inline(always)]
    fn pop_into(&self, seat: &Seat<T>) -> Option<(u64, T)> {
        let from = self.head.load(order("R3_load", Ordering::Acquire)); // [R3]
        let (at, value) = self.pop_at(seat, from)?;
        self.head.store(self.next(at), order("R3_store", Ordering::Release)); // [R3]
        Some((at, value))
    }

    /// Pops at the first position from that bound on that holds a value; says which.
    #[inline(always)]
    fn pop_at(&self, seat: &Seat<T>, mut at: u64) -> Option<(u64, T)> {
        loop {
            let entry = self.entry(at);
            let seen = entry.load(order("R1_load", Ordering::Acquire)); // [R1]
            let turn = self.turn(at);
            if seen & !CELL_MASK == turn | FULL {
                let mine = u64::from(seat.held.load(Ordering::Relaxed)); // [relaxed]
                let strong = order("R2_pop", Ordering::Release); // [R2] [R4]
                let empty = self.turn_after(turn) | mine;
                let swapped = entry.compare_exchange(seen, empty, strong, Ordering::Relaxed); // [relaxed]
                if swapped.is_ok() {
                    self.keep(seat, seen);
                    let taken = self.cell(seen & CELL_MASK);
                    // SAFETY: the exchange made the cell this thread's private one, until its next operation.
                    let value = taken.with_mut(|cell| unsafe { cell.read() });
                    // SAFETY: the entry said full, so a push wrote it, and [R1] makes that visible.
                    return Some((at, unsafe { value.assume_init() }));
                }
                continue;
            }
            let ahead = self.laps_ahead(seen, at);
            if ahead <= 0 {
                debug_assert!(ahead == 0, "a lower bound does not pass the head");
                return None;
            }
            at = self.past(at, ahead);
        }
    }

    /// Pops up to `limit` values to the end of the vector. `popped` counts, also when the vector cannot grow.
    ///
    /// # Panics
    ///
    /// As [`Ring::push`], and when the vector cannot grow; what was popped is in it then.
    pub fn pop_many(&self, into: &mut Vec<T>, limit: usize, popped: &mut usize) {
        self.with_seat(|seat| {
            let from = self.head.load(order("R3_load", Ordering::Acquire)); // [R3]
            let mut moved = Moved { bound: &self.head, from, to: from };
            for _ in 0..limit {
                into.reserve(1); // before the value is out of the ring
                let Some((at, value)) = self.pop_at(seat, moved.to) else { return };
                into.push(value);
                moved.to = self.next(at);
                *popped += 1;
            }
        });
    }

    /// Values in the ring, exact at one moment of the call. Takes time in proportion to the walk from the bounds to
    /// the head and the tail, which is short; tries again while the head moves.
    pub fn len(&self) -> usize {
        loop {
            let Some((head, seen)) = self.front() else { return 0 };
            let mut tail = self.next(head).max(self.tail.load(order("R3_load", Ordering::Acquire))); // [R3]
            while self.between(head, tail) < self.capacity() && self.holds_value(tail) {
                tail = self.next(tail);
            }
            // Nothing was popped since `head` was seen to be the head, and `tail` was the tail in between.
            let again = self.entry(head).load(Ordering::Relaxed); // [relaxed]
            if again == seen || mutant("len_once") {
                return self.between(head, tail).min(self.capacity());
            }
        }
    }

    /// Was the ring empty at one moment of the call?
    pub fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    /// Was the ring full at one moment of the call?
    pub fn is_full(&self) -> bool {
        let mut at = self.tail.load(order("R3_load", Ordering::Acquire)); // [R3]
        loop {
            let seen = self.entry(at).load(order("R2_load", Ordering::Acquire)); // [R2]
            match self.laps_ahead(seen, at) {
                0 if seen & FULL == 0 => return false,
                ahead if ahead < 0 => return true,
                ahead => at = self.past(at, ahead),
            }
        }
    }

    /// The most values it holds.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The head and its entry, if that holds a value.
    fn front(&self) -> Option<(u64, u64)> {
        let mut at = self.head.load(order("R3_load", Ordering::Acquire)); // [R3]
        loop {
            let seen = self.entry(at).load(order("R1_load", Ordering::Acquire)); // [R1]
            match self.laps_ahead(seen, at) {
                0 if seen & FULL != 0 => return Some((at, seen)),
                ahead if ahead <= 0 => return None,
                ahead => at = self.past(at, ahead),
            }
        }
    }

    /// Does the entry hold the value of this very position?
    fn holds_value(&self, at: u64) -> bool {
        let seen = self.entry(at).load(order("R4_load", Ordering::Acquire)); // [R4]
        self.laps_ahead(seen, at) == 0 && seen & FULL != 0
    }

    /// Lends the calling thread its seat.
    #[inline(always)]
    fn with_seat<R>(&self, operate: impl FnOnce(&Seat<T>) -> R) -> R {
        match mine() {
            Some(number) => operate(self.seat(number)),
            None => self.with_first(operate),
        }
    }

    #[cold]
    #[inline(never)]
    fn with_first<R>(&self, operate: impl FnOnce(&Seat<T>) -> R) -> R {
        let first = First::take();
        operate(self.seat(first.number()))
    }

    /// The seat of the calling thread, which has that number; made at its first use of this ring.
    #[inline]
    fn seat(&self, number: usize) -> &Seat<T> {
        self.seats.seat(number, |number| new_seat(self.capacity(), number))
    }

    /// The memory of a cell.
    #[inline]
    pub(super) fn cell(&self, cell: u64) -> &Slot<T> {
        match self.cells.get(cell as usize) {
            Some(slot) => slot,
            None => &self.seats.existing_far(cell as usize - self.cells.len()).cell,
        }
    }

    /// The cell of the replaced entry is the thread's own from now on.
    #[inline]
    fn keep(&self, seat: &Seat<T>, replaced: u64) {
        if !mutant("cell_forgotten") {
            seat.held.store((replaced & CELL_MASK) as u32, Ordering::Relaxed); // [relaxed]
        }
    }

    /// Every position below was done, says an end that is alone.
    #[inline(always)]
    pub(super) fn store_bound(bound: &AtomicU64, below: u64) {
        bound.store(below, order("R3_alone", Ordering::Release)); // [R3]
    }

    /// How many laps the entry is ahead of the position, modulo the width of a turn; negative: behind.
    #[inline]
    pub(super) fn laps_ahead(&self, entry: u64, at: u64) -> i64 {
        if mutant("no_wrap") {
            return (entry >> self.turn_shift) as i64 - (self.turn(at) >> self.turn_shift) as i64;
        }
        // The turn is at the top of the word, so the word's own wrap is the turn's; the bits below never borrow.
        (entry.wrapping_sub(self.turn(at)) as i64) >> self.turn_shift
    }

    /// The next position that may be the head or tail, given that the entry at `at` is past it by so many laps:
    /// everything before that entry's own position was pushed and popped.
    #[inline]
    pub(super) fn past(&self, at: u64, ahead: i64) -> u64 {
        let laps = (ahead as u64).saturating_sub(1);
        self.next(at.wrapping_add(laps * (self.index_mask + 1)))
    }

    #[inline]
    pub(super) fn entry(&self, at: u64) -> &AtomicU64 {
        let index = self.index(at);
        debug_assert!(index < self.entries.len());
        // SAFETY: bounds begin at index 0, and `next`, which alone makes positions out of them, goes from the last index
        // of a lap to the first of the next one.
        unsafe { self.entries.get_unchecked(index) }
    }

    #[inline]
    pub(super) fn index(&self, at: u64) -> usize {
        (at & self.index_mask) as usize
    }

    /// The turn of an entry at that position, in its place in the entry.
    #[inline]
    pub(super) fn turn(&self, at: u64) -> u64 {
        (at & !self.index_mask) << self.lift
    }

    /// The turn after that one.
    #[inline]
    pub(super) fn turn_after(&self, turn: u64) -> u64 {
        turn.wrapping_add(1 << self.turn_shift)
    }

    /// The position after that one. Between the last index and the next lap lie numbers that are no positions.
    #[inline]
    pub(super) fn next(&self, at: u64) -> u64 {
        let next = at + 1;
        if self.index(at) + 1 == self.entries.len() { (at | self.index_mask) + 1 } else { next }
    }

    /// Positions below that one.
    fn count(&self, at: u64) -> u64 {
        let lap = at >> (self.turn_shift - self.lift);
        lap.wrapping_mul(self.capacity() as u64) + self.index(at) as u64
    }

    /// Positions from `head` up to `tail`.
    fn between(&self, head: u64, tail: u64) -> usize {
        (self.count(tail) - self.count(head)) as usize
    }

    /// Takes out what that entry holds, of a ring that nobody else uses.
    fn take_at(&mut self, index: usize) -> Option<T> {
        let word = self.entries[index].load(Ordering::Relaxed); // [relaxed]
        if word & FULL == 0 || mutant("no_drop") {
            return None;
        }
        self.entries[index].store(word & !FULL, Ordering::Relaxed); // [relaxed]
        // SAFETY: `&mut self`: nobody else is here, and the entry owns the cell.
        let value = self.cell(word & CELL_MASK).with_mut(|cell| unsafe { cell.read() });
        // SAFETY: the entry said full, and says so no more.
        Some(unsafe { value.assume_init() })
    }
}

fn new_seat<T>(capacity: usize, number: usize) -> CachePadded<Seat<T>> {
    CachePadded::new(Seat {
        held: AtomicU32::new((capacity + number) as u32),
        cell: UnsafeCell::new(MaybeUninit::uninit()),
    })
}

/// Drops what a ring still holds, and goes on after a value whose drop panics, as a vector does.
struct Rest<'a, T> {
    ring: &'a mut Ring<T>,
    index: usize,
}

impl<T> Rest<'_, T> {
    fn drop_each(&mut self) {
        while self.index < self.ring.capacity() {
            self.index += 1;
            drop(self.ring.take_at(self.index - 1));
        }
    }
}

impl<T> Drop for Rest<'_, T> {
    fn drop(&mut self) {
        self.drop_each();
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() {
            Rest { ring: self, index: 0 }.drop_each();
        }
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::{Arc, AtomicUsize, thread};
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The position that has so many before it.
    fn position(capacity: usize, count: u64) -> u64 {
        let (lap, index) = (count / capacity as u64, count % capacity as u64);
        lap * capacity.next_power_of_two() as u64 + index
    }

    /// Turns of 3 bits that are about to wrap, and a table of seats that must grow.
    fn old_and_small(capacity: usize) -> Shape {
        let seats = Layout { near: 1, chunks: 10, chunk_bits: 0 };
        Shape { turn_bits: 3, lap: 6, seats, ..Shape::new(capacity) }
    }

    /// Every answer of a long random run, beside a plain queue's.
    #[test]
    fn a_ring_answers_as_a_bounded_queue_does() {
        for capacity in [1, 2, 3, 5, 8, 13, 1000] {
            for shape in [Shape::new(capacity), old_and_small(capacity)] {
                let (ring, mut plain) = (Ring::shaped(shape), VecDeque::new());
                let first = shape.lap * capacity as u64;
                let (mut pushed, mut popped, mut random) = (first, first, 88172645463325252_u64);
                for step in 0..20 * capacity as u64 + 1000 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let filling = (step / (capacity as u64 * 2 + 3)).is_multiple_of(2);
                    if (random >> 32) % 4 < if filling { 3 } else { 1 } {
                        let room = plain.len() < capacity;
                        assert_eq!(
                            ring.push(step),
                            if room { Ok(position(capacity, pushed)) } else { Err(step) }
                        );
                        if room {
                            plain.push_back(step);
                            pushed += 1;
                        }
                    } else {
                        let expected =
                            plain.pop_front().map(|value| (position(capacity, popped), value));
                        popped += u64::from(expected.is_some());
                        assert_eq!(ring.pop(), expected);
                    }
                    assert_eq!(ring.len(), plain.len());
                    assert_eq!(ring.is_empty(), plain.is_empty());
                    assert_eq!(ring.is_full(), plain.len() == capacity);
                }
            }
        }
    }

    #[test]
    fn a_bound_that_was_pushed_back_costs_a_walk_never_an_answer() {
        let ring = Ring::new(3);
        let position = |count| position(3, count);
        for value in 0..100_u64 {
            ring.push(value).unwrap();
            ring.head.store(position(value / 4), Ordering::Relaxed); // [relaxed] one thread
            ring.tail.store(position(value / 8), Ordering::Relaxed); // [relaxed] one thread
            assert_eq!(ring.len(), 1);
            assert_eq!(ring.pop(), Some((position(value), value)));
        }
        (0..3).for_each(|value| assert!(ring.push(value).is_ok()));
        ring.tail.store(0, Ordering::Relaxed); // [relaxed] one thread
        ring.head.store(0, Ordering::Relaxed); // [relaxed] one thread
        assert!(ring.is_full());
        assert_eq!(ring.push(9), Err(9));
        assert_eq!(ring.len(), 3);
        assert_eq!(ring.pop(), Some((position(100), 0)));
    }

    #[test]
    fn the_limits_of_capacity_are_named() {
        assert_eq!(Ring::<()>::new(CAPACITY_MAX).capacity(), CAPACITY_MAX);
        for (capacity, text) in [(0, "at least one"), (CAPACITY_MAX + 1, "at most 983040")] {
            let panic = catch_unwind(|| Ring::<u8>::new(capacity)).unwrap_err();
            let message = panic.downcast_ref::<String>().cloned();
            let message =
                message.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string());
            assert!(message.contains(text), "{message}");
        }
    }

    /// Cells of ended threads stay in circulation, and their numbers serve the next ones.
    #[test]
    fn threads_that_come_and_go_lose_no_cell_and_no_value() {
        let ring = Ring::shaped(old_and_small(2));
        let (pushed, popped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for round in 0..100 {
            thread::scope(|scope| {
                for value in 0..round % 5 {
                    let (ring, pushed, popped) = (&ring, &pushed, &popped);
                    scope.spawn(move || {
                        let boxed = Box::new(value);
                        pushed.fetch_add(ring.push(boxed).is_ok() as usize, Ordering::Relaxed); // [relaxed] joined
                        popped.fetch_add(ring.pop().is_some() as usize, Ordering::Relaxed); // [relaxed] joined
                    });
                }
            });
        }
        while ring.pop().is_some() {
            popped.fetch_add(1, Ordering::Relaxed); // [relaxed] one thread
        }
        let (pushed, popped) = (pushed.into_inner(), popped.into_inner());
        assert!(pushed > 0);
        assert_eq!(pushed, popped);
    }

    /// Counts its drops, and panics in some of them.
    struct Counted(Arc<AtomicUsize>, bool);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed); // [relaxed] one thread
            assert!(!self.1, "a drop that panics");
        }
    }

    #[test]
    fn a_panic_in_one_values_drop_leaks_none_of_the_others() {
        let drops = Arc::new(AtomicUsize::new(0));
        let ring = Ring::new(5);
        for number in 0..5 {
            assert!(ring.push(Counted(drops.clone(), number == 1)).is_ok());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| drop(ring))).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 5); // [relaxed] one thread
    }

    /// A value whose drop uses the ring that it was in.
    struct Again(Arc<Ring<Again>>, usize);

    impl Drop for Again {
        fn drop(&mut self) {
            if self.1 > 0 {
                assert!(self.0.push(Again(self.0.clone(), self.1 - 1)).is_ok());
            }
        }
    }

    #[test]
    fn a_values_drop_may_use_the_ring() {
        let ring = Arc::new(Ring::new(1));
        assert!(ring.push(Again(ring.clone(), 3)).is_ok());
        let mut popped = 0;
        while let Some((_, value)) = ring.pop() {
            drop(value);
            popped += 1;
        }
        assert_eq!((popped, Arc::strong_count(&ring)), (4, 1));
    }

    /// Pushes when its thread's own values are destroyed.
    struct Farewell(Arc<Ring<u32>>);

    impl Drop for Farewell {
        fn drop(&mut self) {
            for value in 0..3 {
                assert!(self.0.push(value).is_ok());
                assert!(self.0.pop().is_some());
            }
            assert!(self.0.push(7).is_ok());
        }
    }

    #[test]
    fn a_ring_may_be_used_while_its_thread_ends() {
        std::thread_local! {
            static EARLY: std::cell::RefCell<Option<Farewell>> = const { std::cell::RefCell::new(None) };
            static LATE: std::cell::RefCell<Option<Farewell>> = const { std::cell::RefCell::new(None) };
        }
        let ring = Arc::new(Ring::shaped(old_and_small(4)));
        let theirs = ring.clone();
        let ended = thread::spawn(move || {
            EARLY.set(Some(Farewell(theirs.clone())));
            assert!(theirs.push(7).is_ok());
            assert!(theirs.pop().is_some());
            LATE.set(Some(Farewell(theirs)));
        });
        ended.join().unwrap();
        assert_eq!(ring.len(), 2);
        let left = [ring.pop(), ring.pop()].map(|popped| popped.map(|(_, value)| value));
        assert_eq!(left, [Some(2), Some(7)]); // the second found the first one's 7 before its own
    }

    /// Turns wrap while threads are at it, and every answer is known: each thread has one value in the ring at most, so
    /// there is room for its push; and has one in it when it pops, so there is something. The turns are wide enough for a
    /// thread that is stopped in between: the others do not get round half of them meanwhile.
    #[test]
    fn turns_wrap_between_real_threads() {
        const EACH: u64 = 40;
        for (round, threads) in (0..3_000).zip([2, 3, 4].into_iter().cycle()) {
            let lap = (1 << 20) - EACH / 2; // so they wrap half-way
            let ring = Ring::shaped(Shape { turn_bits: 20, lap, ..Shape::new(threads) });
            let (ring, pushed, popped) = (&ring, &AtomicU64::new(0), &AtomicU64::new(0));
            thread::scope(|scope| {
                for first in 0..threads as u64 {
                    scope.spawn(move || {
                        for value in first * EACH..(first + 1) * EACH {
                            assert!(ring.push(value).is_ok(), "full with room, round {round}");
                            pushed.fetch_add(value, Ordering::Relaxed); // [relaxed] joined
                            let (_, value) = ring.pop().expect("empty with a value in it");
                            popped.fetch_add(value, Ordering::Relaxed); // [relaxed] joined
                        }
                    });
                }
            });
            let sums = [pushed, popped].map(|sum| sum.load(Ordering::Relaxed)); // [relaxed] joined
            assert_eq!(sums[0], sums[1], "round {round}");
            assert!(ring.is_empty() && !ring.is_full());
        }
    }
}
