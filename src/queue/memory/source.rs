//! One subscription of a memory queue: its line of messages, and its credits.
//!
//! A credit is taken before a message enters and given back when it is settled; the line has a place for each credit.
//! After the end whoever still holds a delivery gives its credit back. A publisher that comes too late empties the line
//! once more: a handle may keep the source for long, and the queue's room with it.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [M3] | `complete` | `is_over` | every message that was accepted is in the credits |
//!
//! # Limits
//!
//! `buffer` messages, from the configuration; or as many as were held for it, if those are more.

use super::Shared;
use super::line::{Line, Waiting};
use crate::error::QueueError;
use crate::message::Envelope;
use crate::metrics::{Event, Flow};
use crate::queue::credits::Credits;
use crate::queue::exceptions::AT_ONCE;
use crate::queue::routes::Filter;
use crate::queue::{
    Context, DEAD_LETTERS, Depth, Lease, Leased, Resolved, Settlement, Signal, Source, dead_letter,
};
use crate::sync::{Arc, AtomicBool, Ordering, Weak};
use std::collections::VecDeque;

/// One subscription of a memory queue.
pub(super) struct MemorySource {
    name: String,
    filter: Filter,
    context: Arc<Context>,
    /// For dead letters; the queue owns its sources, not the other way round.
    queue: Weak<Shared>,
    queue_credits: Arc<Credits>,
    line: Line<Arc<Envelope>>,
    /// Every message from its acceptance to its settlement here.
    credits: Credits,
    /// Nothing more is published.
    complete: AtomicBool,
    signal: Signal,
    flow: Flow,
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
            line: Line::new(room),
            credits: Credits::new(room as u64),
            complete: AtomicBool::new(false),
            signal: Signal::default(),
            flow: queue.context.recorder.open_flow(queue.context.clock.now_ns()),
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

    /// Is it one that another subscription's failures come to?
    fn takes_dead_letters(&self) -> bool {
        // Only the topic itself matches: a wildcard at the beginning does not see it, and it has one token.
        self.filter.as_str() == DEAD_LETTERS
    }

    /// How many retries are due after `at_ns`.
    pub(super) fn due_after(&self, at_ns: u64) -> u64 {
        self.line.due_after(at_ns) as u64
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

    /// The caller holds a credit.
    pub(super) fn push(&self, envelope: Arc<Envelope>) {
        let pushed = self.line.push(envelope);
        assert!(pushed.is_ok(), "a line has a place for each credit");
        self.signal.notify(1);
        if self.line.met_its_end() {
            self.end();
        }
    }

    /// Keeps a message for another attempt.
    fn keep(&self, due_ns: u64, place: u64, waiting: Waiting<Arc<Envelope>>) {
        match self.line.keep(due_ns, place, waiting) {
            Ok(()) => self.signal.notify(1),
            Err(_) => self.give(),
        }
    }

    /// A message is settled here: its room is free.
    fn give(&self) {
        self.credits.give(1);
        self.queue_credits.give(1);
    }

    /// Nothing more is taken or given; what is left is dropped.
    pub(super) fn end(&self) {
        let dropped = self.line.end();
        (0..dropped).for_each(|_| self.give());
        self.signal.notify_all();
    }

    pub(super) fn peek(&self, filter: &Filter, count: usize) -> Vec<Arc<Envelope>> {
        self.line.peek(|envelope| filter.matches(envelope.topic()), count)
    }

    pub(super) fn depth(&self) -> Depth {
        let (ready, delayed) = self.line.counts();
        let in_flight = self.credits.count().saturating_sub(ready + delayed);
        Depth { ready, in_flight, delayed }
    }

    /// Gives the message to the dead letters, or keeps it if they have no room.
    fn give_up(&self, envelope: &Arc<Envelope>, lease: &Lease, reason: &str) {
        let letter = dead_letter(envelope, &self.name, lease.attempt, reason);
        let buried = self.queue.upgrade().is_some_and(|queue| queue.bury(letter).is_ok());
        if buried {
            self.context.recorder.count(lease.shard, Event::DeadLettered, 1);
            self.give();
        } else {
            self.keep_after(self.context.try_on_ns(), envelope, lease);
        }
    }

    fn keep_after(&self, due_ns: u64, envelope: &Arc<Envelope>, lease: &Lease) {
        let attempt = lease.attempt.saturating_add(1);
        self.keep(
            due_ns,
            lease.place,
            Waiting { item: Arc::clone(envelope), attempt, redelivered: true },
        );
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

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn pull(&self) -> Result<Option<Leased>, QueueError> {
        let pulled = self.line.pull(|| self.context.clock.now_ns());
        Ok(pulled.map(|(place, Waiting { item: envelope, attempt, redelivered })| Leased {
            envelope,
            lease: Lease { place, attempt, redelivered, shard: 0 },
        }))
    }

    fn settle(
        &self,
        envelope: &Arc<Envelope>,
        lease: &Lease,
        to: Settlement,
    ) -> Result<(), QueueError> {
        if self.line.has_ended() {
            self.give();
            return Ok(());
        }
        match self.context.resolve(envelope, lease, to) {
            Resolved::Ack => self.give(),
            Resolved::Release => {
                let Lease { place, attempt, redelivered, .. } = *lease;
                let item = Arc::clone(envelope);
                self.keep(AT_ONCE, place, Waiting { item, attempt, redelivered });
            }
            Resolved::Retry { due_ns } => self.keep_after(due_ns, envelope, lease),
            Resolved::Dead { reason } => self.give_up(envelope, lease, &reason),
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.line.has_more()
    }

    fn backlog(&self) -> u64 {
        self.line.counts().0
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.line.next_due_ns()
    }

    fn is_over(&self) -> bool {
        let complete = self.complete.load(Ordering::Acquire); // [M3]
        // As long as anything is unsettled anywhere, it may still become a dead letter.
        let letters_may_come = self.takes_dead_letters() && self.queue_credits.count() > 0;
        self.line.has_ended() || (complete && !letters_may_come && self.credits.count() == 0)
    }
}

impl Drop for MemorySource {
    /// What is left goes with the queue: its room is given back all the same.
    fn drop(&mut self) {
        self.queue_credits.give(self.credits.count());
    }
}
