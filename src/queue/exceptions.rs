//! What does not come in its turn: retried, released and looked-at messages, by the time they are due.
//!
//! A failed attempt is not slept over in a worker: the message waits here until it is due (H5). One that is given
//! back unhandled is due at once. Among those due, the earliest due time comes first, and of equal ones the lower
//! place in the queue: so what was given back keeps its order.
//!
//! Pure state: no clock, no thread. Times are nanoseconds since the Unix epoch; [`AT_ONCE`] is due always.

use std::collections::BTreeMap;

/// Due before everything that has a time.
pub const AT_ONCE: u64 = 0;

/// Messages `T` by due time and place.
#[derive(Debug)]
pub struct Exceptions<T> {
    by_due: BTreeMap<(u64, u64), T>,
}

impl<T> Exceptions<T> {
    pub fn new() -> Self {
        Self { by_due: BTreeMap::new() }
    }

    pub fn len(&self) -> usize {
        self.by_due.len()
    }

    /// Keeps `item`, whose place in the queue is `place`, until `due_ns`. One place is kept once.
    pub fn insert(&mut self, due_ns: u64, place: u64, item: T) {
        self.by_due.insert((due_ns, place), item);
    }

    /// How many of them are due after `at_ns`.
    pub fn due_after(&self, at_ns: u64) -> usize {
        let later = at_ns.checked_add(1).map(|from_ns| self.by_due.range((from_ns, 0)..).count());
        later.unwrap_or(0)
    }

    /// When the first of them is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.by_due.first_key_value().map(|(&(due_ns, _), _)| due_ns)
    }

    /// Takes the first one that is due by `now_ns`.
    pub fn take_due(&mut self, now_ns: u64) -> Option<(u64, T)> {
        let first = self.by_due.first_entry()?;
        if first.key().0 > now_ns {
            return None;
        }
        let ((_, place), item) = first.remove_entry();
        Some((place, item))
    }

    /// Those that are due at once, in order.
    pub fn at_once(&self) -> impl Iterator<Item = &T> {
        self.by_due.range(..(AT_ONCE + 1, 0)).map(|(_, item)| item)
    }

    /// The places of those that are due at once, in order.
    #[cfg(not(any(loom, shuttle)))] // The persistent kind's: in no model.
    pub fn at_once_places(&self) -> impl Iterator<Item = u64> {
        self.by_due.range(..(AT_ONCE + 1, 0)).map(|(&(_, place), _)| place)
    }

    /// Keeps those that `keep` wants, by place and item.
    #[cfg(not(any(loom, shuttle)))] // The persistent kind's: in no model.
    pub fn retain(&mut self, mut keep: impl FnMut(u64, &T) -> bool) {
        self.by_due.retain(|&(_, place), item| keep(place, item));
    }

    /// Takes everything.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.by_due).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_before_it_is_due() {
        let mut waiting = Exceptions::new();
        waiting.insert(50, 1, "late");
        waiting.insert(20, 2, "early");
        assert_eq!(waiting.take_due(19), None);
        assert_eq!(waiting.take_due(60), Some((2, "early")));
        assert_eq!(waiting.next_due_ns(), Some(50));
        assert_eq!(waiting.take_due(60), Some((1, "late")));
        assert_eq!(waiting.take_due(60), None);
    }

    #[test]
    fn what_was_given_back_comes_first_and_in_its_old_order() {
        let mut waiting = Exceptions::new();
        waiting.insert(1, 9, "retry");
        waiting.insert(AT_ONCE, 7, "seven");
        waiting.insert(AT_ONCE, 3, "three");
        assert_eq!(waiting.at_once().copied().collect::<Vec<_>>(), ["three", "seven"]);
        let order: Vec<_> =
            std::iter::from_fn(|| waiting.take_due(5)).map(|(_, item)| item).collect();
        assert_eq!(order, ["three", "seven", "retry"]);
    }
}
