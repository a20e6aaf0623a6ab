//! A line of messages that can be looked at: a ring, and beside it those that do not come in their turn.
//!
//! ```text
//!   push ──> [ ring: first in, first out ] ──> pull
//!   keep ──> [ exceptions: by due time   ] ──┘  what is due comes first
//!   peek: ring ──> exceptions, due at once, under the place that they had in the ring
//! ```
//!
//! # Looking without taking
//!
//! Nobody can read a ring's entry without owning it, so [`Line::peek`] takes items out of the ring and lays them into the
//! exceptions. A puller that finds something due at once *after* it popped compares places, and swaps if the other came
//! first. So the order holds even for a puller that was between its two looks: the peek raised `earliest` before it
//! popped, and a place is popped only after all lower ones.
//!
//! # Orderings
//!
//! Both words here are [relaxed], but for [M4]. `earliest` says whether to look under the lock, where the exceptions are. What makes
//! the swap right are the ring's own pairs: the peek's store is sequenced before its pop, and the pop of a higher place,
//! or a look that finds the ring empty, has acquired what that pop released (stronger orderings here were tried in the
//! model: no fault that they would have prevented was found, two that the rules above prevent were). A retry is seen by
//! whoever is woken for it. `ended` is written and decided on under the lock; elsewhere it only saves a look.
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [M4] | `end`: end, fence, look at the items | `met_its_end`, after a push: item, fence, look at the end | one of the two sees the other, so no item stays in a line that has ended |
//!
//! # Limits
//!
//! As many items in the ring as it was made for. The exceptions are bounded by whoever counts what is unsettled.

use crate::queue::exceptions::{AT_ONCE, Exceptions};
use crate::ring::swap::Ring;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, fence, mutant};

const NEVER: u64 = u64::MAX;

/// An item on its way, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<T> {
    /// What waits.
    pub item: T,
    /// The attempt that comes next, from 1.
    pub attempt: u32,
    /// Was it given out before?
    pub redelivered: bool,
}

impl<T> Waiting<T> {
    fn first(item: T) -> Self {
        Self { item, attempt: 1, redelivered: false }
    }
}

/// See the module's page.
pub struct Line<T> {
    ring: Ring<T>,
    exceptions: Mutex<Exceptions<Waiting<T>>>,
    /// When the first of the exceptions is due, or `NEVER`; written under their lock.
    earliest: AtomicU64,
    ended: AtomicBool,
}

impl<T: Clone> Line<T> {
    /// A line for `capacity` items.
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Ring::new(capacity),
            exceptions: Mutex::new(Exceptions::new()),
            earliest: AtomicU64::new(NEVER),
            ended: AtomicBool::new(false),
        }
    }

    /// Puts an item at the end; it comes back if there is no room.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.ring.push(item).map(drop)
    }

    /// Takes the next item with its place: what is due, else the first in the ring.
    pub fn pull(&self, now_ns: impl FnOnce() -> u64) -> Option<(u64, Waiting<T>)> {
        if self.has_ended() {
            return None;
        }
        let due = match self.earliest() {
            NEVER => None,
            AT_ONCE => self.take_due(AT_ONCE),
            at_ns => {
                let now_ns = now_ns();
                (at_ns <= now_ns).then(|| self.take_due(now_ns)).flatten()
            }
        };
        due.or_else(|| self.pop())
    }

    /// Keeps an item until it is due. It comes back if the line has ended.
    pub fn keep(&self, due_ns: u64, place: u64, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        let mut exceptions = self.exceptions.lock();
        if self.has_ended() {
            return Err(waiting);
        }
        exceptions.insert(due_ns, place, waiting);
        self.note_earliest(&exceptions);
        Ok(())
    }

    /// The first `count` items that match and are due now, in order; they stay.
    pub fn peek(&self, matches: impl Fn(&T) -> bool, count: usize) -> Vec<T> {
        let mut exceptions = self.exceptions.lock();
        let matching = |waiting: &&Waiting<T>| matches(&waiting.item);
        let mut found = exceptions.at_once().filter(matching).count();
        if !mutant("late_raise") {
            // Before the first pop: a puller that pops a later place must come here and compare.
            self.earliest.store(AT_ONCE, Ordering::Relaxed); // [relaxed]
        }
        while found < count && !self.has_ended() {
            let Some((place, item)) = self.ring.pop() else { break };
            found += usize::from(matches(&item));
            exceptions.insert(AT_ONCE, place, Waiting::first(item));
        }
        self.note_earliest(&exceptions);
        let first = exceptions.at_once().filter(matching).take(count);
        first.map(|waiting| waiting.item.clone()).collect()
    }

    /// Ends the line: what is in it is dropped, and how many those were comes back. Nothing is pulled or kept any more.
    pub fn end(&self) -> usize {
        let mut exceptions = self.exceptions.lock();
        self.ended.store(true, Ordering::Relaxed); // [relaxed]
        if !mutant("M4_end") {
            fence(Ordering::SeqCst); // [M4]
        }
        let waiting = exceptions.drain().count();
        self.note_earliest(&exceptions);
        waiting + std::iter::from_fn(|| self.ring.pop()).count()
    }

    /// After a push: has the line ended, so that the item may lie in it for nobody? Then the caller ends it once more.
    pub fn met_its_end(&self) -> bool {
        if !mutant("M4_push") {
            fence(Ordering::SeqCst); // [M4]
        }
        self.has_ended()
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) // [relaxed]
    }

    /// Is there, as far as a quick look tells, an item to pull?
    pub fn has_more(&self) -> bool {
        !self.ring.is_empty() || self.earliest() == AT_ONCE
    }

    /// When the first of those that do not come in their turn is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        let at_ns = self.earliest();
        (at_ns != NEVER).then_some(at_ns)
    }

    /// How many are due after `at_ns`.
    pub fn due_after(&self, at_ns: u64) -> usize {
        self.exceptions.lock().due_after(at_ns)
    }

    /// How many are due now, and how many later.
    pub fn counts(&self) -> (u64, u64) {
        let exceptions = self.exceptions.lock();
        let at_once = exceptions.at_once().count();
        let later = exceptions.len() - at_once;
        ((self.ring.len() + at_once) as u64, later as u64)
    }

    /// Publishes when the first exception is due; the caller has their lock.
    fn note_earliest(&self, exceptions: &Exceptions<Waiting<T>>) {
        let due_ns = exceptions.next_due_ns().unwrap_or(NEVER);
        self.earliest.store(due_ns, Ordering::Relaxed); // [relaxed]
    }

    fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::Relaxed) // [relaxed]
    }

    fn take_due(&self, now_ns: u64) -> Option<(u64, Waiting<T>)> {
        let mut exceptions = self.exceptions.lock();
        let due = exceptions.take_due(now_ns)?;
        self.note_earliest(&exceptions);
        Some(due)
    }

    /// Pops the ring, unless something that is due at once has a lower place there.
    fn pop(&self) -> Option<(u64, Waiting<T>)> {
        let popped = self.ring.pop().map(|(place, item)| (place, Waiting::first(item)));
        if self.earliest() != AT_ONCE || mutant("no_swap") {
            return popped;
        }
        let mut exceptions = self.exceptions.lock();
        if let Some((place, waiting)) = popped {
            exceptions.insert(AT_ONCE, place, waiting);
        }
        let first = exceptions.take_due(AT_ONCE);
        self.note_earliest(&exceptions);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now_ns: u64) -> impl Fn() -> u64 {
        move || now_ns
    }

    fn items(line: &Line<u32>, now_ns: u64) -> Vec<u32> {
        std::iter::from_fn(|| line.pull(at(now_ns))).map(|(_, waiting)| waiting.item).collect()
    }

    #[test]
    fn looking_shows_the_first_that_match_and_changes_no_order() {
        let line = Line::new(8);
        (1..=6).for_each(|item| line.push(item).unwrap());
        assert_eq!(line.peek(|item| item % 2 == 0, 2), [2, 4]);
        assert_eq!(line.peek(|_| true, 9), [1, 2, 3, 4, 5, 6]);
        line.push(7).unwrap();
        assert_eq!(line.counts(), (7, 0));
        assert_eq!(items(&line, 0), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_is_due_comes_first_and_what_is_not_stays() {
        let line = Line::new(4);
        (1..=3).for_each(|item| line.push(item).unwrap());
        let (place, mut first) = line.pull(at(0)).unwrap();
        first.attempt = 2;
        line.keep(50, place, first.clone()).unwrap();
        assert_eq!((line.next_due_ns(), line.counts(), line.due_after(49)), (Some(50), (2, 1), 1));
        assert_eq!(line.pull(at(49)).unwrap().1.item, 2);
        assert_eq!(line.pull(at(50)), Some((place, first)));
        assert_eq!(items(&line, 50), [3]);
    }

    #[test]
    fn a_line_that_has_ended_gives_and_keeps_nothing() {
        let line = Line::new(4);
        (1..=3).for_each(|item| line.push(item).unwrap());
        let (place, taken) = line.pull(at(0)).unwrap();
        line.peek(|_| true, 1);
        assert_eq!(line.end(), 2);
        assert_eq!(line.keep(AT_ONCE, place, taken.clone()), Err(taken));
        line.push(4).unwrap();
        assert_eq!((line.pull(at(0)), line.peek(|_| true, 9)), (None, vec![]));
    }
}
