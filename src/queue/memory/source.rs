//! One subscription of a memory queue: its ring, its credits, and the messages that do not come in their turn.
//!
//! # Looking without taking
//!
//! Nobody can read a ring's entry without owning it, so [`peek`](Queue::peek) takes messages out and lays them into
//! the exceptions, due at once, under their place in the ring. A puller that finds something due at once *after* it
//! popped compares places and swaps if the other came first. So the order holds even for a puller that was between
//! its two looks: the peek raised `earliest` before it popped, and a place is popped only after all lower ones.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [M1] | `note_earliest` stores `earliest` | `pull` loads it | the exceptions are not empty: look under the lock |
//! | [M2] | `end` stores `ended` | `pull`, `settle` and `is_over` load it | the subscription takes and gives nothing more |
//! | [M3] | `complete` | `is_over` | every message that was accepted is in the credits |
//!
//! `earliest` needs no more than [M1] for the swap above: the peek's store is sequenced before its pop, and the pop
//! of a higher place reads what that pop released in the ring.
//!
//! # Limits
//!
//! `buffer` messages, from the configuration; or as many as were held for it, if those are more.

use super::Shared;
use crate::error::QueueError;
use crate::message::Envelope;
use crate::metrics::Event;
use crate::queue::credits::Credits;
use crate::queue::exceptions::{AT_ONCE, Exceptions};
use crate::queue::routes::Filter;
use crate::queue::{
    Context, Depth, Lease, Leased, Resolved, Settlement, Signal, Source, dead_letter,
};
use crate::ring::swap::Ring;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Weak};
use std::collections::VecDeque;

const NEVER: u64 = u64::MAX;

/// One subscription of a memory queue.
pub(super) struct MemorySource {
    name: String,
    filter: Filter,
    context: Arc<Context>,
    /// For dead letters; the queue owns its sources, not the other way round.
    queue: Weak<Shared>,
    queue_credits: Arc<Credits>,
    ring: Ring<Arc<Envelope>>,
    /// Every message from its acceptance to its settlement here.
    credits: Credits,
    exceptions: Mutex<Exceptions<Waiting>>,
    /// When the first of the exceptions is due, or `NEVER`; written under their lock.
    earliest: AtomicU64,
    /// Nothing more is published.
    complete: AtomicBool,
    ended: AtomicBool,
    signal: Signal,
}

/// A message that waits among the exceptions.
struct Waiting {
    envelope: Arc<Envelope>,
    /// The attempt that comes next.
    attempt: u32,
    redelivered: bool,
}

impl Waiting {
    fn leased(self, place: u64) -> Leased {
        let Self { envelope, attempt, redelivered } = self;
        Leased { envelope, lease: Lease { place, attempt, redelivered, shard: 0 } }
    }
}

impl MemorySource {
    /// A subscription of `queue` that begins with what was held for it.
    pub(super) fn new(
        queue: &Arc<Shared>,
        name: String,
        filter: Filter,
        held: VecDeque<Arc<Envelope>>,
    ) -> Self {
        let room = queue.context.buffer.max(held.len());
        let source = Self {
            name,
            filter,
            context: Arc::clone(&queue.context),
            queue: Arc::downgrade(queue),
            queue_credits: Arc::clone(&queue.credits),
            ring: Ring::new(room),
            credits: Credits::new(room as u64),
            exceptions: Mutex::new(Exceptions::new()),
            earliest: AtomicU64::new(NEVER),
            complete: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            signal: Signal::default(),
        };
        source.credits.take_over(held.len() as u64);
        held.into_iter().for_each(|envelope| source.push(envelope));
        source
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn credits(&self) -> &Credits {
        &self.credits
    }

    /// How many retries are due after `at_ns`.
    pub(super) fn due_after(&self, at_ns: u64) -> u64 {
        self.exceptions.lock().due_after(at_ns) as u64
    }

    /// One more member, if it asks for the same filter.
    pub(super) fn joined_by(self: &Arc<Self>, filter: &Filter) -> Result<Arc<Self>, QueueError> {
        if self.filter == *filter {
            self.signal.join();
            return Ok(Arc::clone(self));
        }
        let (has, asked) = (self.filter.to_string(), filter.to_string());
        Err(QueueError::FilterMismatch { name: self.name.clone(), has, asked })
    }

    /// Nothing more is published: all that was accepted is here.
    pub(super) fn complete(&self) {
        self.complete.store(true, Ordering::Release); // [M3]
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) // [M2]
    }

    /// The caller holds a credit.
    pub(super) fn push(&self, envelope: Arc<Envelope>) {
        let pushed = self.ring.push(envelope);
        assert!(pushed.is_ok(), "a ring has an entry for each credit");
        self.signal.notify(1);
    }

    /// Publishes when the first exception is due; the caller has their lock.
    fn note_earliest(&self, exceptions: &Exceptions<Waiting>) {
        let due_ns = exceptions.next_due_ns().unwrap_or(NEVER);
        self.earliest.store(due_ns, Ordering::Release); // [M1]
    }

    fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::Acquire) // [M1]
    }

    fn take_due(&self, now_ns: u64) -> Option<Leased> {
        let mut exceptions = self.exceptions.lock();
        let (place, waiting) = exceptions.take_due(now_ns)?;
        self.note_earliest(&exceptions);
        Some(waiting.leased(place))
    }

    /// Pops the ring, unless something that is due at once has a lower place there.
    fn pop(&self) -> Option<Leased> {
        let popped = self
            .ring
            .pop()
            .map(|(place, envelope)| (place, Waiting { envelope, attempt: 1, redelivered: false }));
        if self.earliest() != AT_ONCE {
            return popped.map(|(place, waiting)| waiting.leased(place));
        }
        let mut exceptions = self.exceptions.lock();
        if let Some((place, waiting)) = popped {
            exceptions.insert(AT_ONCE, place, waiting);
        }
        let first = exceptions.take_due(AT_ONCE);
        self.note_earliest(&exceptions);
        first.map(|(place, waiting)| waiting.leased(place))
    }

    /// Keeps a message for another attempt.
    fn keep(&self, due_ns: u64, place: u64, waiting: Waiting) {
        let mut exceptions = self.exceptions.lock();
        if self.has_ended() {
            drop(exceptions);
            return self.give();
        }
        exceptions.insert(due_ns, place, waiting);
        self.note_earliest(&exceptions);
        drop(exceptions);
        self.signal.notify(1);
    }

    /// A message is settled here: its room is free.
    fn give(&self) {
        self.credits.give(1);
        self.queue_credits.give(1);
    }

    /// Nothing more is taken or given; what is left is dropped.
    pub(super) fn end(&self) {
        let mut exceptions = self.exceptions.lock();
        self.ended.store(true, Ordering::Release); // [M2]
        let waiting = exceptions.drain().count();
        let queued = std::iter::from_fn(|| self.ring.pop()).count();
        drop(exceptions);
        (0..waiting + queued).for_each(|_| self.give());
        self.signal.notify_all();
    }

    pub(super) fn peek(&self, filter: &Filter, count: usize) -> Vec<Arc<Envelope>> {
        let mut exceptions = self.exceptions.lock();
        let matches = |waiting: &&Waiting| filter.matches(waiting.envelope.topic());
        let mut found = exceptions.at_once().filter(matches).count();
        // Before the first pop: a puller that pops a later place must come here and compare.
        self.earliest.store(AT_ONCE, Ordering::Release); // [M1]
        while found < count && !self.has_ended() {
            let Some((place, envelope)) = self.ring.pop() else { break };
            found += usize::from(filter.matches(envelope.topic()));
            exceptions.insert(AT_ONCE, place, Waiting { envelope, attempt: 1, redelivered: false });
        }
        self.note_earliest(&exceptions);
        let waiting = exceptions.at_once().filter(matches).take(count);
        waiting.map(|waiting| Arc::clone(&waiting.envelope)).collect()
    }

    pub(super) fn depth(&self) -> Depth {
        let exceptions = self.exceptions.lock();
        let at_once = exceptions.at_once().count() as u64;
        let delayed = exceptions.len() as u64 - at_once;
        let ready = self.ring.len() as u64 + at_once;
        let in_flight = self.credits.count().saturating_sub(ready + delayed);
        Depth { ready, in_flight, delayed }
    }

    /// Gives the message to the dead letters, or keeps it if they have no room.
    fn give_up(&self, envelope: &Arc<Envelope>, lease: &Lease, reason: &str) {
        let letter = dead_letter(envelope, &self.name, lease.attempt, reason);
        let buried = self.queue.upgrade().is_some_and(|queue| queue.bury(letter).is_ok());
        match (buried, self.context.try_on()) {
            (true, _) => {
                self.context.recorder.count(lease.shard, Event::DeadLettered, 1);
                self.give();
            }
            (false, Resolved::Retry { due_ns }) => self.keep_after(due_ns, envelope, lease),
            (false, _) => unreachable!("trying on is a retry"),
        }
    }

    fn keep_after(&self, due_ns: u64, envelope: &Arc<Envelope>, lease: &Lease) {
        let attempt = lease.attempt.saturating_add(1);
        let envelope = Arc::clone(envelope);
        self.keep(due_ns, lease.place, Waiting { envelope, attempt, redelivered: true });
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn signal(&self) -> &Signal {
        &self.signal
    }

    fn pull(&self) -> Result<Option<Leased>, QueueError> {
        if self.has_ended() {
            return Ok(None);
        }
        let due = match self.earliest() {
            NEVER => None,
            AT_ONCE => self.take_due(AT_ONCE),
            at_ns => {
                let now_ns = self.context.clock.now_ns();
                (at_ns <= now_ns).then(|| self.take_due(now_ns)).flatten()
            }
        };
        Ok(due.or_else(|| self.pop()))
    }

    fn settle(
        &self,
        envelope: &Arc<Envelope>,
        lease: &Lease,
        to: Settlement,
    ) -> Result<(), QueueError> {
        if self.has_ended() {
            self.give();
            return Ok(());
        }
        match self.context.resolve(envelope, lease, to) {
            Resolved::Ack => self.give(),
            Resolved::Release => {
                let Lease { place, attempt, redelivered, .. } = *lease;
                let envelope = Arc::clone(envelope);
                self.keep(AT_ONCE, place, Waiting { envelope, attempt, redelivered });
            }
            Resolved::Retry { due_ns } => self.keep_after(due_ns, envelope, lease),
            Resolved::Dead { reason } => self.give_up(envelope, lease, &reason),
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        !self.ring.is_empty() || self.earliest() == AT_ONCE
    }

    fn next_due_ns(&self) -> Option<u64> {
        let at_ns = self.earliest();
        (at_ns != NEVER).then_some(at_ns)
    }

    fn is_over(&self) -> bool {
        let complete = self.complete.load(Ordering::Acquire); // [M3]
        self.has_ended() || (complete && self.credits.count() == 0)
    }
}

impl Drop for MemorySource {
    /// A publisher that saw an old snapshot may have pushed after the end: its room in the queue goes back here.
    fn drop(&mut self) {
        self.queue_credits.give(self.credits.count());
    }
}
