//! What the ends of a channel share: the ring, how they wait for each other, and how they notice that a side is gone.
//!
//! Waiting is beside the ring: one event count for "there may be a value", one for "there may be room". A sending end
//! that has pushed wakes one sleeping receiver, a receiving end that has popped wakes one sleeping sender; who finds the
//! ring full or empty waits awake a moment ([`crate::wait`]), registers, looks again, and sleeps ([`crate::event`]).
//!
//! How a value gets into the ring depends on the end: an exchange from those that may have company, a store from those
//! that are alone. [`Push`] and [`Pop`] are the two sides as the code here needs them.
//!
//! # Disconnection
//!
//! Each side counts its ends. The end is reported by who reads a count of 0:
//!
//! - *Receiving*: empty, then no senders, then **one more look**. A look that follows the count sees everything that
//!   was accepted; a count that follows the look does not show when the last value came.
//! - *Sending*: no receivers, so the value goes back. A push may slip in behind the drop of the last receiver, which
//!   drains the ring; so the sender reads the count again after its push, and takes its value out again if nobody else
//!   has. Of "pushed, then counted" and "counted out, then drained" one sees the other, \[C2\]: nothing stays
//!   behind in a ring that nobody will read. Of a batch that was cut off so, the values that were pushed before count
//!   as sent: they are dropped with the others that nobody received.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[C1\] | the drop of a sending end counts down | a receiver reads `senders`; who becomes alone reads it | everything that end sent. The count-downs of several form one release sequence |
//! | \[C2\] | the barrier: light after the push, heavy after the last receiver's count-down | both sides look after their half | at least one sees the other's |
//! | \[C3\] | the drop of a receiving end counts down | a sender reads `receivers`; who becomes alone reads it | what that end took: the entries, and the head that a sender begins at which empties a [`Direct`](super::direct::Direct) |
//!
//! \[relaxed\]: a count of ends goes up by one who has an end, so it cannot have been 0; the new end travels by a hand-over
//! of its own.
//!
//! # Limits
//!
//! As many ends as memory: a count of them cannot run over before that.

use super::buffer::Buffer;
use super::error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, Unsent};
use super::swap::Ring;
use crate::barrier;
use crate::event::EventCount;
use crate::sync::{AtomicUsize, Ordering, SPINS, mutant, order, passed};
use crate::wait::{Backoff, Pace, WaitStrategy};
use crossbeam_utils::CachePadded;
use std::iter::once;
use std::time::Instant;

/// How an end puts values in.
pub(super) trait Push<T> {
    /// As [`Ring::push`].
    fn push(&mut self, value: T) -> Result<u64, T>;
    /// As [`Ring::push_many`].
    fn push_many(&mut self, values: &mut impl Iterator<Item = T>, pushed: &mut usize) -> Option<T>;
}

/// How an end takes values out.
pub(super) trait Pop<T> {
    /// As [`Ring::pop`].
    fn pop(&mut self) -> Option<(u64, T)>;
    /// As [`Ring::pop_many`].
    fn pop_many(&mut self, into: &mut Vec<T>, limit: usize, popped: &mut usize);
}

impl<T> Push<T> for &Ring<T> {
    #[inline]
    fn push(&mut self, value: T) -> Result<u64, T> {
        Ring::push(self, value)
    }

    fn push_many(&mut self, values: &mut impl Iterator<Item = T>, pushed: &mut usize) -> Option<T> {
        Ring::push_many(self, values, pushed)
    }
}

impl<T> Pop<T> for &Ring<T> {
    #[inline]
    fn pop(&mut self) -> Option<(u64, T)> {
        Ring::pop(self)
    }

    fn pop_many(&mut self, into: &mut Vec<T>, limit: usize, popped: &mut usize) {
        Ring::pop_many(self, into, limit, popped);
    }
}

/// See the page above.
pub struct Shared<R> {
    pub(super) ring: R,
    /// Read by every operation, written only when somebody comes, goes, or sleeps.
    seldom: CachePadded<Seldom>,
    /// How the senders waited lately, and the receivers.
    senders: CachePadded<Pace>,
    receivers: CachePadded<Pace>,
}

struct Seldom {
    /// Receivers sleep here.
    items: EventCount,
    /// Senders sleep here.
    room: EventCount,
    /// Ends of either side.
    senders: AtomicUsize,
    receivers: AtomicUsize,
    strategy: WaitStrategy,
}

impl<R: Buffer> Shared<R> {
    /// With one end on each side.
    pub(super) fn new(ring: R, strategy: WaitStrategy) -> Self {
        let seldom = Seldom {
            items: EventCount::new(),
            room: EventCount::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            strategy,
        };
        let pace = || CachePadded::new(Pace::new(ring.capacity()));
        let (senders, receivers) = (pace(), pace());
        Self { ring, seldom: CachePadded::new(seldom), senders, receivers }
    }

    /// Where receivers sleep.
    #[cfg(feature = "async")]
    pub(super) fn items(&self) -> &EventCount {
        &self.seldom.items
    }

    /// Where senders sleep.
    #[cfg(feature = "async")]
    pub(super) fn room(&self) -> &EventCount {
        &self.seldom.room
    }

    #[inline]
    pub(super) fn try_send(
        &self,
        value: R::Item,
        push: &mut impl Push<R::Item>,
    ) -> Result<(), TrySendError<R::Item>> {
        if self.is_abandoned() {
            return Err(TrySendError::Disconnected(value));
        }
        let at = push.push(value).map_err(TrySendError::Full)?;
        self.tell_of_items(1); // [C2]
        if self.is_abandoned() && !mutant("no_second_count") {
            return self.take_back(at);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn try_recv(&self, pop: &mut impl Pop<R::Item>) -> Result<R::Item, TryRecvError> {
        let (_, value) = match pop.pop() {
            Some(found) => found,
            None if self.has_senders() => return Err(TryRecvError::Empty),
            None if mutant("no_last_look") => return Err(TryRecvError::Disconnected),
            None => pop.pop().ok_or(TryRecvError::Disconnected)?,
        };
        self.seldom.room.notify_one();
        Ok(value)
    }

    /// No deadline is for ever.
    #[inline]
    pub(super) fn send(
        &self,
        value: R::Item,
        deadline: Option<Instant>,
        push: &mut impl Push<R::Item>,
    ) -> Result<(), SendTimeoutError<R::Item>> {
        match self.try_send(value, push) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(value)) => Err(SendTimeoutError::Disconnected(value)),
            Err(TrySendError::Full(value)) => self.send_waiting(value, deadline, push),
        }
    }

    fn send_waiting(
        &self,
        value: R::Item,
        deadline: Option<Instant>,
        push: &mut impl Push<R::Item>,
    ) -> Result<(), SendTimeoutError<R::Item>> {
        self.call_receivers();
        let mut unsent = Some(value);
        let progress = || self.ring.pushed();
        let answer = self.wait(&self.seldom.room, &self.senders, progress, deadline, || {
            let value = unsent.take()?; // put back whenever it comes back
            match self.try_send(value, push) {
                Ok(()) => Some(Ok(())),
                Err(TrySendError::Disconnected(value)) => {
                    Some(Err(SendTimeoutError::Disconnected(value)))
                }
                Err(TrySendError::Full(value)) => {
                    unsent = Some(value);
                    None
                }
            }
        });
        match (answer, unsent) {
            (Some(answer), _) => answer,
            (None, Some(value)) => Err(SendTimeoutError::Timeout(value)),
            (None, None) => unreachable!("an attempt without an answer gave the value back"),
        }
    }

    /// No deadline is for ever.
    #[inline]
    pub(super) fn recv(
        &self,
        deadline: Option<Instant>,
        pop: &mut impl Pop<R::Item>,
    ) -> Result<R::Item, RecvTimeoutError> {
        match self.try_recv(pop) {
            Ok(value) => Ok(value),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => self.recv_waiting(deadline, pop),
        }
    }

    fn recv_waiting(
        &self,
        deadline: Option<Instant>,
        pop: &mut impl Pop<R::Item>,
    ) -> Result<R::Item, RecvTimeoutError> {
        let progress = || self.ring.popped();
        let answer = self.wait(&self.seldom.items, &self.receivers, progress, deadline, || {
            match self.try_recv(pop) {
                Ok(value) => Some(Ok(value)),
                Err(TryRecvError::Disconnected) => Some(Err(RecvTimeoutError::Disconnected)),
                Err(TryRecvError::Empty) => None,
            }
        });
        answer.unwrap_or(Err(RecvTimeoutError::Timeout))
    }

    /// Attempts until there is an answer; none if the deadline comes first. The last attempt follows the deadline.
    fn wait<A>(
        &self,
        event: &EventCount,
        pace: &Pace,
        done: impl Fn() -> u64,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<A>,
    ) -> Option<A> {
        loop {
            let mut backoff = Backoff::new(self.seldom.strategy, pace, done(), deadline);
            while backoff.snooze() {
                if let Some(answer) = attempt() {
                    pace.end(done());
                    return Some(answer);
                }
            }
            // In a model a deadline has always passed, and the wait that it ends is to be explored.
            if SPINS && passed(deadline) {
                return attempt();
            }
            let key = event.listen();
            if let Some(answer) = if mutant("sleep_blind") { None } else { attempt() } {
                event.cancel(key);
                return Some(answer);
            }
            event.wait_until(key, deadline);
            // Whether or not a wake came too: this is the look that it was for.
            if passed(deadline) {
                return attempt();
            }
        }
    }

    /// Sends what the iterator gives, waiting for room if `wait` says so; says how many.
    pub(super) fn send_many<I: Iterator<Item = R::Item>>(
        &self,
        mut rest: I,
        wait: bool,
        push: &mut impl Push<R::Item>,
    ) -> Result<usize, TrySendError<Unsent<I>>> {
        let (mut sent, mut held) = (0, None);
        loop {
            if self.is_abandoned() {
                return match held.or_else(|| rest.next()) {
                    Some(value) => Err(TrySendError::Disconnected(Unsent { sent, value, rest })),
                    None => Ok(sent),
                };
            }
            let refused = match held.take() {
                Some(value) => self.push_some(&mut once(value).chain(&mut rest), &mut sent, push),
                None => self.push_some(&mut rest, &mut sent, push),
            };
            let Some(value) = refused else { return Ok(sent) };
            if !wait {
                return Err(TrySendError::Full(Unsent { sent, value, rest }));
            }
            held = match self.send_waiting(value, None, push) {
                Ok(()) => {
                    sent += 1;
                    None
                }
                Err(error) => Some(error.into_inner()), // disconnected: reported above
            };
        }
    }

    /// Pushes until the iterator ends or a value is refused, and makes it known, however it ends.
    fn push_some(
        &self,
        values: &mut impl Iterator<Item = R::Item>,
        sent: &mut usize,
        push: &mut impl Push<R::Item>,
    ) -> Option<R::Item> {
        let mut pushed = Pushed { shared: self, count: 0, told: 0, sent };
        if let Err(value) = push.push(values.next()?) {
            return Some(value);
        }
        // The first is told of at once: the iterator may take its time for the others.
        pushed.count = 1;
        pushed.tell();
        push.push_many(values, &mut pushed.count)
    }

    /// Receives up to `limit` values to the end of the vector, waiting for the first if `wait` says so.
    pub(super) fn recv_many(
        &self,
        into: &mut Vec<R::Item>,
        limit: usize,
        wait: bool,
        pop: &mut impl Pop<R::Item>,
    ) -> Result<usize, TryRecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let mut count = self.pop_some(into, limit, pop);
        if count == 0 && !self.has_senders() {
            if !mutant("no_last_looks") {
                count = self.pop_some(into, limit, pop);
            }
            if count == 0 {
                return Err(TryRecvError::Disconnected);
            }
        }
        if count == 0 && wait {
            into.reserve(1); // before the value is out of the ring
            let Ok(first) = self.recv_waiting(None, pop) else {
                return Err(TryRecvError::Disconnected);
            };
            into.push(first);
            count = 1 + self.pop_some(into, limit - 1, pop);
        }
        if count == 0 { Err(TryRecvError::Empty) } else { Ok(count) }
    }

    /// Pops what there is, up to `limit`, and makes the room known, however it ends.
    fn pop_some(
        &self,
        into: &mut Vec<R::Item>,
        limit: usize,
        pop: &mut impl Pop<R::Item>,
    ) -> usize {
        let mut popped = Popped { shared: self, count: 0 };
        pop.pop_many(into, limit, &mut popped.count);
        popped.count
    }

    /// To be called before a wait for room. What fills the ring may be a batch that has told nobody yet, and whose iterator
    /// has called us: if the receivers slept on, we would wait for them and they for us.
    pub(super) fn call_receivers(&self) {
        self.seldom.items.notify_one();
    }

    /// There are so many values more: wakes receivers that sleep.
    #[inline]
    pub(super) fn tell_of_items(&self, count: usize) {
        self.seldom.items.notify(count); // [C2]
    }

    /// Is the last receiver gone?
    #[inline]
    fn is_abandoned(&self) -> bool {
        self.seldom.receivers.load(order("C3_load", Ordering::Acquire)) == 0 // [C3] [C2]
    }

    #[inline]
    fn has_senders(&self) -> bool {
        self.seldom.senders.load(order("C1_load", Ordering::Acquire)) != 0 // [C1]
    }

    /// Is there one sending end? Then the caller, who has it, is alone.
    pub(super) fn is_sole_sender(&self) -> bool {
        let senders = self.seldom.senders.load(order("C1_alone", Ordering::Acquire)); // [C1]
        senders == 1 || mutant("two_producers")
    }

    /// Is there one receiving end?
    pub(super) fn is_sole_receiver(&self) -> bool {
        let receivers = self.seldom.receivers.load(order("C3_alone", Ordering::Acquire)); // [C3]
        receivers == 1 || mutant("two_consumers")
    }

    /// The receivers went while the value at that position was pushed. It goes back to its sender, if it is still
    /// there; else it was accepted and dropped with the others.
    #[cold]
    fn take_back(&self, at: u64) -> Result<(), TrySendError<R::Item>> {
        match self.ring.abandon(Some(at)) {
            Some(value) => Err(TrySendError::Disconnected(value)),
            None => Ok(()),
        }
    }

    /// There is a sending end more.
    pub(super) fn add_sender(&self) {
        self.seldom.senders.fetch_add(1, Ordering::Relaxed); // [relaxed]
    }

    /// There is a receiving end more.
    pub(super) fn add_receiver(&self) {
        self.seldom.receivers.fetch_add(1, Ordering::Relaxed); // [relaxed]
    }

    /// A sending end is gone.
    pub(super) fn drop_sender(&self) {
        let before = self.seldom.senders.fetch_sub(1, order("C1_drop", Ordering::Release)); // [C1]
        if before == 1 {
            self.seldom.items.notify_all();
        }
    }

    /// A receiving end is gone. The last one empties the ring.
    pub(super) fn drop_receiver(&self) {
        let before = self.seldom.receivers.fetch_sub(1, order("C3_drop", Ordering::Release)); // [C3] [C2]
        if before == 1 {
            if mutant("C2_drop") {
                // A wake before the look would have a fence, and stand in for the barrier in a model.
                self.ring.abandon(None);
                return self.seldom.room.notify_all();
            }
            // One try: where it was refused, a value that slips in stays until the ring is dropped.
            let _ = barrier::heavy(); // [C2]
            let _emptied = Emptied(&self.ring); // also when a waker panics
            self.seldom.room.notify_all();
        }
    }
}

/// Empties the ring when it goes.
struct Emptied<'a, R: Buffer>(&'a R);

impl<R: Buffer> Drop for Emptied<'_, R> {
    fn drop(&mut self) {
        self.0.abandon(None);
    }
}

/// Values of a batch that are in the ring, and of which the receivers are told at the end.
struct Pushed<'a, R: Buffer> {
    shared: &'a Shared<R>,
    count: usize,
    told: usize,
    sent: &'a mut usize,
}

impl<R: Buffer> Pushed<'_, R> {
    fn tell(&mut self) {
        let news = self.count - self.told;
        self.told = self.count;
        if news > 0 && !(mutant("tell_one") && self.told > 1) {
            self.shared.tell_of_items(news); // [C2]
        }
    }
}

impl<R: Buffer> Drop for Pushed<'_, R> {
    fn drop(&mut self) {
        *self.sent += self.count;
        self.tell();
        if self.count > 0 && self.shared.is_abandoned() && !mutant("no_batch_count") {
            self.shared.ring.abandon(None);
        }
    }
}

/// Values of a batch that are out of the ring, whose room nobody was told of.
struct Popped<'a, R: Buffer> {
    shared: &'a Shared<R>,
    count: usize,
}

impl<R: Buffer> Drop for Popped<'_, R> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.shared.seldom.room.notify(if mutant("room_for_one") { 1 } else { self.count });
        }
    }
}
