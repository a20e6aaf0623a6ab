//! What one subscription has yet to settle, in bounded memory however much that is.
//!
//! The log has every message; what is kept here is where to find the unsettled ones. The first few are enumerated, what
//! lies behind is a count and a place to read on from:
//!
//! ```text
//!   log:   ... settled | u s u u s u ........ u | u u s u u u u u u u ............ | at (how far the fold has come)
//!                        front: the u, one by one ^ resume: a count of what follows, and of that
//!                                                   `ahead`, what is settled all the same
//!   beside it: delayed (failed before, and due at a time): wherever they stand, in none of the two others
//! ```
//!
//! What is settled leaves the front, so a message that stays unsettled for a day costs one slot, whatever is settled
//! behind it. When the front has drained to [`Bounds::front_min`], or when more is settled ahead than
//! [`Bounds::ahead_max`], the owner reads on from `resume` and [`offer`](Backlog::offer)s what it finds.
//!
//! Pure. A position is that of a record, and a multiple of 32.
//!
//! # Limits
//!
//! Sixteen bytes a slot; the front grows past [`Bounds::front_max`] only as far as a running window had messages out at
//! once, because only those can be settled ahead. Delayed messages are limited where they come from, by
//! [`super::window::DELAYED_MAX`].

use super::records::Outcome;
use super::window::{Begin, Waiting};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// In the free low bits of a slot's position.
const SETTLED: u64 = 1;
/// Settled slots are cleared away when they are at least this many, and most.
const CLEAR_MIN: usize = 32;

/// How much is kept one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// As many unsettled messages are enumerated.
    pub(crate) front_max: usize,
    /// With fewer the front is filled again.
    pub(crate) front_min: usize,
    /// As many may be settled behind the front before it is made longer.
    pub(crate) ahead_max: usize,
}

impl Bounds {
    /// 16 KiB of slots a subscription.
    pub(crate) const USUAL: Self = Self { front_max: 1_024, front_min: 512, ahead_max: 4_096 };
}

const _: () = assert!(0 < Bounds::USUAL.front_min);
const _: () = assert!(Bounds::USUAL.front_min < Bounds::USUAL.front_max);

/// One enumerated message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    word: u64,
    pub(crate) topic: u32,
}

impl Slot {
    pub(crate) fn new(position: u64, topic: u32) -> Self {
        Self { word: position, topic }
    }

    pub(crate) fn position(&self) -> u64 {
        self.word & !SETTLED
    }

    fn is_settled(&self) -> bool {
        self.word & SETTLED != 0
    }
}

/// A message that waits for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delayed {
    pub(crate) due_ns: u64,
    /// The attempt that comes next.
    pub(crate) attempt: u32,
    pub(crate) topic: u32,
}

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    front: VecDeque<Slot>,
    /// How many slots of the front are settled.
    cleared: usize,
    /// Where to read on; without meaning while nothing lies beyond.
    resume: u64,
    /// Its messages at and above `resume`, the ones settled ahead included.
    beyond: u64,
    ahead: BTreeSet<u64>,
    delayed: BTreeMap<u64, Delayed>,
}

/// The parts of a backlog, as they are written down.
pub(super) struct Parts {
    /// In order, none settled.
    pub(super) front: Vec<Slot>,
    pub(super) resume: u64,
    pub(super) beyond: u64,
    /// In order.
    pub(super) ahead: Vec<u64>,
    /// In order of positions.
    pub(super) delayed: Vec<(u64, Delayed)>,
}

impl Backlog {
    /// With `beyond` messages at and above `resume`, none of them read yet.
    pub(crate) fn unread(resume: u64, beyond: u64) -> Self {
        Self { resume, beyond, ..Self::default() }
    }

    /// A message behind all others.
    pub(crate) fn add(&mut self, position: u64, topic: u32, bounds: Bounds) {
        if self.beyond > 0 {
            self.beyond += 1;
        } else if self.pending() < bounds.front_max {
            self.front.push_back(Slot::new(position, topic));
        } else {
            (self.resume, self.beyond) = (position, 1);
        }
    }

    /// Does a settlement of the message at `position` concern what has not been read?
    pub(crate) fn is_beyond(&self, position: u64) -> bool {
        self.beyond > 0 && self.resume <= position && !self.ahead.contains(&position)
    }

    /// Where reading on would begin.
    pub(crate) fn resume(&self) -> u64 {
        self.resume
    }

    /// Notes what became of a message. One that it does not have was settled before, by another delivery of it, or
    /// purged. `topic` is the message's, where it [is beyond](Backlog::is_beyond) and retried.
    pub(crate) fn settle(&mut self, position: u64, outcome: Outcome, topic: Option<u32>) {
        let known = self.delayed.remove(&position).map(|delayed| delayed.topic);
        let known = known.or_else(|| self.leave_front(position));
        let found = if known.is_none() && self.is_beyond(position) {
            self.ahead.insert(position);
            topic
        } else {
            known
        };
        if let (Outcome::Retry { due_ns, attempt }, Some(topic)) = (outcome, found) {
            self.delayed.insert(position, Delayed { due_ns, attempt, topic });
        }
    }

    /// Takes a message out of the front; its topic, if it was there.
    fn leave_front(&mut self, position: u64) -> Option<u32> {
        let at = self.front.binary_search_by_key(&position, Slot::position).ok()?;
        let slot = &mut self.front[at];
        if slot.is_settled() {
            return None;
        }
        slot.word |= SETTLED;
        let topic = slot.topic;
        self.cleared += 1;
        while self.front.front().is_some_and(Slot::is_settled) {
            self.front.pop_front();
            self.cleared -= 1;
        }
        if CLEAR_MIN <= self.cleared && self.front.len() < 2 * self.cleared {
            self.front.retain(|slot| !slot.is_settled());
            self.cleared = 0;
        }
        Some(topic)
    }

    /// How many the front enumerates.
    fn pending(&self) -> usize {
        self.front.len() - self.cleared
    }

    /// Must the front be filled?
    pub(crate) fn wants_more(&self, bounds: Bounds) -> bool {
        self.beyond > 0
            && (self.pending() < bounds.front_min || bounds.ahead_max < self.ahead.len())
    }

    /// Takes one of its messages that was read on from `resume`; behind it reading goes on at `next`. Answers whether
    /// it takes more.
    pub(crate) fn offer(&mut self, position: u64, topic: u32, next: u64, bounds: Bounds) -> bool {
        debug_assert!(self.beyond > 0, "what lies beyond is counted");
        self.beyond = self.beyond.saturating_sub(1);
        self.resume = next;
        if !self.ahead.remove(&position) {
            self.front.push_back(Slot::new(position, topic));
        }
        if self.beyond == 0 {
            // What is left of it was no message of this subscription.
            self.ahead.clear();
        }
        let full = bounds.front_max <= self.pending() && self.ahead.len() <= bounds.ahead_max / 2;
        self.beyond > 0 && !full
    }

    /// Everything up to the fold's end was read.
    pub(crate) fn exhausted(&mut self) {
        self.beyond = 0;
        self.ahead.clear();
    }

    /// Drops the messages of `topic`. Those beyond were read for it: they are `beyond` many, and `ahead`, in order, are
    /// the ones among them that are settled.
    pub(crate) fn purge(&mut self, topic: u32, beyond: u64, ahead: &[u64]) {
        self.front.retain(|slot| slot.topic != topic && !slot.is_settled());
        self.cleared = 0;
        self.delayed.retain(|_, delayed| delayed.topic != topic);
        self.beyond = self.beyond.saturating_sub(beyond);
        self.ahead.retain(|position| ahead.binary_search(position).is_err());
        if self.beyond == 0 {
            self.ahead.clear();
        }
    }

    /// Forgets what `is_lost`; what lies beyond is read from `resume` on.
    pub(crate) fn lose(&mut self, is_lost: impl Fn(u64) -> bool, resume: u64) {
        self.front.retain(|slot| !is_lost(slot.position()) && !slot.is_settled());
        self.cleared = 0;
        self.delayed.retain(|place, _| !is_lost(*place));
        self.ahead.retain(|place| !is_lost(*place));
        self.resume = resume;
    }

    /// So many lie beyond, by a count of what is there.
    pub(crate) fn recount(&mut self, beyond: u64) {
        self.beyond = beyond;
        if beyond == 0 {
            self.ahead.clear();
        }
    }

    /// How many messages are unsettled.
    pub(crate) fn unsettled(&self) -> u64 {
        let read = self.pending() as u64 + self.delayed.len() as u64;
        read + self.beyond.saturating_sub(self.ahead.len() as u64)
    }

    /// How many of those wait for a time.
    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.len() as u64
    }

    /// Below this everything is settled; `None` if everything is.
    pub(crate) fn first(&self) -> Option<u64> {
        let front = self.front.front().map(Slot::position);
        let delayed = self.delayed.first_key_value().map(|(&position, _)| position);
        let beyond = (self.beyond > 0).then_some(self.resume);
        [front, delayed, beyond].into_iter().flatten().min()
    }

    /// The positions below `resume` of what it has yet to settle, in order.
    pub(crate) fn read_so_far(&self) -> Vec<u64> {
        let front = self.front.iter().filter(|slot| !slot.is_settled()).map(Slot::position);
        let mut positions: Vec<u64> = front.chain(self.delayed.keys().copied()).collect();
        positions.sort_unstable();
        positions
    }

    /// Does something lie beyond what is enumerated?
    pub(crate) fn has_beyond(&self) -> bool {
        self.beyond > 0
    }

    /// Where a window begins that is to hand out the rest; `end` is the fold's end.
    pub(crate) fn begin(&self, end: u64) -> Begin {
        let pending = self.front.iter().filter(|slot| !slot.is_settled()).map(Slot::position);
        let delayed = self.delayed.iter().map(|(&position, delayed)| {
            let Delayed { due_ns, attempt, topic } = *delayed;
            (due_ns, position, Waiting { attempt, redelivered: true, topic })
        });
        Begin {
            pending: pending.collect(),
            resume: if self.has_beyond() { self.resume } else { end },
            skip: self.ahead.iter().copied().collect(),
            delayed: delayed.collect(),
            purged: Vec::new(),
        }
    }

    /// What there is to write down.
    pub(super) fn parts(&self) -> Parts {
        Parts {
            front: self.front.iter().filter(|slot| !slot.is_settled()).copied().collect(),
            resume: if self.has_beyond() { self.resume } else { 0 },
            beyond: self.beyond,
            ahead: self.ahead.iter().copied().collect(),
            delayed: self.delayed.iter().map(|(&position, &delayed)| (position, delayed)).collect(),
        }
    }

    /// The backlog that was written down.
    pub(super) fn from_parts(parts: Parts) -> Self {
        let Parts { front, resume, beyond, ahead, delayed } = parts;
        Self {
            front: front.into(),
            cleared: 0,
            resume,
            beyond,
            ahead: ahead.into_iter().collect(),
            delayed: delayed.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds { front_max: 4, front_min: 2, ahead_max: 3 };
    const RETRY: Outcome = Outcome::Retry { due_ns: 9, attempt: 2 };

    /// Messages at 32, 64 ... of topic 0.
    fn filled(count: u64) -> Backlog {
        let mut backlog = Backlog::default();
        (1..=count).for_each(|number| backlog.add(number * 32, 0, SMALL));
        backlog
    }

    fn read_on(backlog: &mut Backlog, end: u64) {
        let mut at = backlog.resume();
        while at < end && backlog.offer(at, 0, at + 32, SMALL) {
            at += 32;
        }
    }

    #[test]
    fn what_does_not_fit_the_front_is_counted() {
        let backlog = filled(10);
        assert_eq!((backlog.unsettled(), backlog.resume()), (10, 5 * 32));
        assert_eq!(backlog.read_so_far(), [32, 64, 96, 128]);
        assert_eq!(backlog.first(), Some(32));
    }

    #[test]
    fn a_settlement_counts_once_wherever_it_falls() {
        let mut backlog = filled(10);
        for (position, left) in [(64, 9), (64, 9), (9 * 32, 8), (9 * 32, 8), (32, 7)] {
            backlog.settle(position, Outcome::Ack, None);
            assert_eq!(backlog.unsettled(), left, "{position}");
        }
        assert_eq!(backlog.first(), Some(96));
        backlog.settle(96, Outcome::Ack, None);
        assert!(backlog.wants_more(SMALL));
        read_on(&mut backlog, 11 * 32);
        assert_eq!((backlog.unsettled(), backlog.read_so_far()), (6, vec![128, 160, 192, 224]));
        backlog.settle(9 * 32, Outcome::Ack, None);
        assert_eq!(backlog.unsettled(), 6, "it was settled before it was read");
    }

    #[test]
    fn one_that_stays_costs_one_slot_whatever_is_settled_behind_it() {
        let mut backlog = filled(1);
        for number in 2..10_000 {
            backlog.add(number * 32, 0, SMALL);
            backlog.settle(number * 32, Outcome::Ack, None);
        }
        assert_eq!((backlog.unsettled(), backlog.first()), (1, Some(32)));
        assert!(backlog.front.len() <= 2 * CLEAR_MIN);
    }

    #[test]
    fn a_retry_leaves_the_front_and_the_rest_beyond_alone() {
        let mut backlog = filled(8);
        backlog.settle(32, RETRY, None);
        backlog.settle(7 * 32, RETRY, Some(0));
        assert_eq!((backlog.unsettled(), backlog.delayed(), backlog.first()), (8, 2, Some(32)));
        backlog.settle(7 * 32, Outcome::Ack, None);
        backlog.settle(7 * 32, RETRY, Some(0));
        assert_eq!((backlog.unsettled(), backlog.delayed()), (7, 1), "it was settled for good");
        let begin = backlog.begin(9 * 32);
        assert_eq!((begin.pending.len(), begin.resume, begin.skip.len()), (3, 5 * 32, 1));
    }

    #[test]
    fn a_purge_takes_one_topic_and_leaves_the_others() {
        let mut backlog = Backlog::default();
        (1..=8).for_each(|number| backlog.add(number * 32, number as u32 % 2, SMALL));
        backlog.settle(7 * 32, Outcome::Ack, None);
        backlog.settle(2 * 32, RETRY, None);
        backlog.purge(1, 2, &[7 * 32]);
        assert_eq!(backlog.read_so_far(), [64, 128]);
        assert_eq!((backlog.unsettled(), backlog.delayed()), (4, 1));
    }
}
