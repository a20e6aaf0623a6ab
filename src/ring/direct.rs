//! A ring for one producer and one consumer: two counters and a row of cells.
//!
//! With one end on each side nothing is ever raced for, so no entry is needed to say who owns a cell: the two counters
//! say it. The producer owns the cells from `tail` up to `head + capacity`, the consumer those from `head` up to `tail`.
//!
//! ```text
//!              head                 tail            head + capacity
//!   ... | free | full full full full | free free free |
//!              consumer's            producer's
//! ```
//!
//! Each side works with the other's counter as it last saw it, and looks again only when that says full or empty. So the
//! line that a counter lies in is fetched once for many values, and the answers Full and Empty are exact: they follow a
//! fresh look.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | \[D1\] | the producer stores `tail` | the consumer loads it | the values below |
//! | \[D2\] | the consumer stores `head` | the producer loads it | the cells below were read out and may be written |
//! | \[D3\] | who has drained says so in `draining` | who drains next | `head` as the last one left it |
//! | \[D4\] | SeqCst fence between a side's last store and the look by which it says Full or Empty | the same of the other side | one of the two sees the other's store: not Full and Empty of the same values |
//!
//! \[relaxed\]: what is said for guesses about waiting.
//!
//! As with every store: when a push returns, the value may still be on its way; see `docs/guarantees.md`.
//!
//! # When the consumer is gone
//!
//! Two may then want to empty the ring: the consumer itself, and a producer that was in the middle of a push. The one that
//! comes second leaves it to the first, by a count of requests, and the first goes on until nobody has asked since. Nobody
//! waits.
//!
//! # Limits
//!
//! The cells are a power of two, so up to twice the capacity. Counters of 64 bits do not run over.
//!
//! Source: Lamport 1983 for the two counters; the copies of the other side's counter are MCRingBuffer's, Lee et al. 2010.

#![allow(unsafe_code)]

use super::buffer::Buffer;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, UnsafeCell, fence, mutant, order};
use crossbeam_utils::CachePadded;
use std::mem::MaybeUninit;

/// See the page above.
pub struct Direct<T> {
    cells: Box<[UnsafeCell<MaybeUninit<T>>]>,
    capacity: u64,
    /// The low bits of a position, which name its cell.
    mask: u64,
    /// Values pushed so far.
    tail: CachePadded<AtomicU64>,
    /// Values popped so far.
    head: CachePadded<AtomicU64>,
    /// Requests to empty the ring that were not followed yet.
    draining: AtomicUsize,
}

// SAFETY: a cell is touched by the one side that owns it (the page above), and ownership moves through [D1] and [D2]; so
// sharing the ring moves values between threads and does nothing else with them.
unsafe impl<T: Send> Sync for Direct<T> {}

/// One side's state.
#[derive(Debug)]
pub struct Side {
    /// This side's counter.
    own: u64,
    /// How far it may go, by the other side's counter as it was last seen.
    limit: u64,
    /// This side's counter as the other side must see it, if that one's counter is as it was seen: see \[D4\].
    told: u64,
}

impl<T> Direct<T> {
    /// An empty ring for `capacity` values.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0 or more than [`CAPACITY_MAX`](super::CAPACITY_MAX).
    pub fn new(capacity: usize) -> Self {
        super::swap::check_capacity::<T>(capacity);
        let cells = capacity.next_power_of_two();
        Self {
            cells: (0..cells).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
            capacity: capacity as u64,
            mask: cells as u64 - 1,
            tail: CachePadded::new(AtomicU64::new(0)),
            head: CachePadded::new(AtomicU64::new(0)),
            draining: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn cell(&self, at: u64) -> &UnsafeCell<MaybeUninit<T>> {
        // SAFETY: there are `mask + 1` cells.
        unsafe { self.cells.get_unchecked((at & self.mask) as usize) }
    }

    #[inline]
    fn seen_tail(&self) -> u64 {
        self.tail.load(order("D1_load", Ordering::Acquire)) // [D1]
    }

    #[inline]
    fn seen_head(&self) -> u64 {
        self.head.load(order("D2_load", Ordering::Acquire)) // [D2]
    }

    #[inline]
    fn has_room(&self, side: &mut Side) -> bool {
        side.own != side.limit || {
            side.limit = self.seen_head() + self.capacity;
            side.own != side.limit || self.has_room_after_all(side)
        }
    }

    #[inline]
    fn has_value(&self, side: &mut Side) -> bool {
        side.own != side.limit || {
            side.limit = self.seen_tail();
            side.own != side.limit || self.has_value_after_all(side)
        }
    }

    /// Full is not said by a look that may have overtaken this side's own last store.
    fn has_room_after_all(&self, side: &mut Side) -> bool {
        Self::tell(side) && {
            side.limit = self.seen_head() + self.capacity;
            side.own != side.limit
        }
    }

    /// Nor is Empty.
    fn has_value_after_all(&self, side: &mut Side) -> bool {
        Self::tell(side) && {
            side.limit = self.seen_tail();
            side.own != side.limit
        }
    }

    /// A fence between this side's last store and its next look, if there was none yet; says if there was none.
    fn tell(side: &mut Side) -> bool {
        let untold = side.told != side.own;
        side.told = side.own;
        if untold && !mutant("D4_fence") {
            fence(Ordering::SeqCst); // [D4]
        }
        untold
    }

    /// Writes the next cell, which is the producer's.
    #[inline]
    fn put(&self, side: &mut Side, value: T) {
        // SAFETY: the caller is the producer, and the position is below its limit: the cell is its own and empty.
        self.cell(side.own).with_mut(|cell| unsafe { cell.write(MaybeUninit::new(value)) });
        side.own += 1;
    }

    /// Reads the next cell, which is the consumer's.
    #[inline]
    fn take(&self, side: &mut Side) -> T {
        // SAFETY: the caller is the consumer, and the position is below its limit: the cell is its own and full.
        let value = self.cell(side.own).with_mut(|cell| unsafe { cell.read() });
        side.own += 1;
        // SAFETY: the producer wrote it, which [D1] makes visible, and nobody reads it again: the counter has moved.
        unsafe { value.assume_init() }
    }

    #[inline]
    fn publish_tail(&self, tail: u64) {
        self.tail.store(tail, order("D1_store", Ordering::Release)); // [D1]
    }

    #[inline]
    fn publish_head(&self, head: u64) {
        self.head.store(head, order("D2_store", Ordering::Release)); // [D2]
    }

    /// Drops all values but the one at that position, which comes back.
    fn drain(&self, wanted: Option<u64>) -> Option<T> {
        let mut side = self.begin_pop();
        let mut found = None;
        while side.own != self.seen_tail() {
            let at = side.own;
            let value = self.take(&mut side);
            self.publish_head(side.own); // before a drop that may panic
            if wanted == Some(at) {
                found = Some(value);
            }
        }
        found
    }
}

/// Makes a batch of pushes known at its end, however it ends.
struct Run<'a, T> {
    ring: &'a Direct<T>,
    side: &'a mut Side,
    from: u64,
}

impl<T> Drop for Run<'_, T> {
    fn drop(&mut self) {
        if self.side.own != self.from {
            self.ring.publish_tail(self.side.own);
        }
    }
}

impl<T> Buffer for Direct<T> {
    type Item = T;
    type Push = Side;
    type Pop = Side;

    fn begin_push(&self) -> Side {
        let own = self.seen_tail();
        Side { own, limit: self.seen_head() + self.capacity, told: own }
    }

    fn begin_pop(&self) -> Side {
        let own = self.seen_head();
        Side { own, limit: self.seen_tail(), told: own }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn push_alone(&self, side: &mut Side, value: T) -> Result<u64, T> {
        if !self.has_room(side) {
            return Err(value);
        }
        let at = side.own;
        self.put(side, value);
        self.publish_tail(side.own);
        Ok(at)
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn push_many_alone(
        &self,
        side: &mut Side,
        values: &mut impl Iterator<Item = T>,
        pushed: &mut usize,
    ) -> Option<T> {
        let from = side.own;
        let run = Run { ring: self, side, from };
        for value in values {
            // Before a look: Full is said of what others see, and nobody has seen the batch yet.
            if run.side.own == run.side.limit && !mutant("full_unseen") {
                self.publish_tail(run.side.own);
            }
            if !self.has_room(run.side) {
                return Some(value);
            }
            self.put(run.side, value);
            *pushed += 1;
        }
        None
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn pop_alone(&self, side: &mut Side) -> Option<(u64, T)> {
        if !self.has_value(side) {
            return None;
        }
        let at = side.own;
        let value = self.take(side);
        self.publish_head(side.own);
        Some((at, value))
    }

    // SAFETY: what the trait asks of the caller.
    #[inline]
    unsafe fn pop_many_alone(
        &self,
        side: &mut Side,
        into: &mut Vec<T>,
        limit: usize,
        popped: &mut usize,
    ) {
        while *popped < limit && self.has_value(side) {
            let there = (side.limit - side.own) as usize;
            let to_end = self.cells.len() - (side.own & self.mask) as usize;
            let run = there.min(to_end).min(limit - *popped);
            into.reserve(run); // before a value is out of the ring
            let spare = into.spare_capacity_mut();
            for (nth, place) in spare.iter_mut().take(run).enumerate() {
                // SAFETY: the caller is the consumer, and the position is below its limit: the cell is its own and full.
                *place = self.cell(side.own + nth as u64).with_mut(|cell| unsafe { cell.read() });
            }
            // SAFETY: the loop has written `run` values behind the old end, each a value of the producer's, which [D1]
            // makes visible; the counter moves past them now, so nobody reads them again.
            unsafe { into.set_len(into.len() + run) };
            side.own += run as u64;
            *popped += run;
            // Each run, not at the end: less than the limit says that there is nothing more, as others see it.
            if !mutant("empty_unseen") || *popped == limit {
                self.publish_head(side.own);
            }
        }
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn peek_alone<'a>(&'a self, side: &'a mut Side) -> Option<&'a T> {
        if !self.has_value(side) {
            return None;
        }
        // SAFETY: as for a pop; the value stays until the consumer pops, which needs the state that is borrowed here.
        let value = self.cell(side.own).with_mut(|cell| unsafe { &*cell });
        // SAFETY: the producer wrote it, which [D1] makes visible.
        Some(unsafe { value.assume_init_ref() })
    }

    fn abandon(&self, wanted: Option<u64>) -> Option<T> {
        let before = self.draining.fetch_add(1, order("D3_request", Ordering::AcqRel)); // [D3]
        if before != 0 && !mutant("drain_beside") {
            return None;
        }
        Draining { ring: self, asked: 1 }.drain(wanted)
    }

    /// Exact because one of the two counters is the caller's own: it stands still.
    fn len(&self) -> usize {
        (self.seen_tail() - self.seen_head()) as usize
    }

    fn pushed(&self) -> u64 {
        self.tail.load(Ordering::Relaxed) // [relaxed]
    }

    fn popped(&self) -> u64 {
        self.head.load(Ordering::Relaxed) // [relaxed]
    }

    fn capacity(&self) -> usize {
        self.capacity as usize
    }
}

/// The one who empties a ring, until nobody has asked since; goes on after a value whose drop panics.
struct Draining<'a, T> {
    ring: &'a Direct<T>,
    /// Requests that are being followed; 0 when all were.
    asked: usize,
}

impl<T> Draining<'_, T> {
    fn drain(&mut self, wanted: Option<u64>) -> Option<T> {
        let mut found = None;
        while self.asked != 0 {
            let again = self.ring.drain(wanted);
            found = found.or(again);
            let strong = order("D3_done", Ordering::AcqRel); // [D3]
            let weak = order("D3_again", Ordering::Acquire); // [D3]
            let (draining, asked) = (&self.ring.draining, self.asked);
            self.asked =
                draining.compare_exchange(asked, 0, strong, weak).map_or_else(|more| more, |_| 0);
        }
        found
    }
}

impl<T> Drop for Draining<'_, T> {
    fn drop(&mut self) {
        self.drain(None);
    }
}

impl<T> Drop for Direct<T> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() {
            Rest(self).drop_each();
        }
    }
}

/// Drops what a ring still holds, and goes on after a value whose drop panics.
struct Rest<'a, T>(&'a Direct<T>);

impl<T> Rest<'_, T> {
    fn drop_each(&self) {
        self.0.drain(None);
    }
}

impl<T> Drop for Rest<'_, T> {
    fn drop(&mut self) {
        self.drop_each();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    /// What is there when nobody drained: only where the barrier was refused.
    #[test]
    fn a_dropped_ring_drops_what_it_holds() {
        let (token, ring) = (Arc::new(()), Direct::new(3));
        let (mut push, mut pop) = (ring.begin_push(), ring.begin_pop());
        for _ in 0..3 {
            // SAFETY: one state of each side, on one thread.
            assert!(unsafe { ring.push_alone(&mut push, token.clone()) }.is_ok());
        }
        // SAFETY: as above.
        assert!(unsafe { ring.pop_alone(&mut pop) }.is_some());
        assert_eq!((ring.len(), Arc::strong_count(&token)), (2, 3));
        drop(ring);
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
