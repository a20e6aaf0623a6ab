//! One subscription of a persistent queue: what it pulls from its window, and what it writes when it settles.
//!
//! The window's lock is held for the time of a look or a note. Nothing is written to the log under it, and no user
//! code runs under it.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [P1] | `end` stores `ended` | `has_ended` loads it | the subscription takes and gives nothing more |
//!
//! The count of what lies ahead is [relaxed]: no data is read on its word. So is `verdict`: one word that says itself what
//! it is about.

use super::inflight::{Held, Inflight};
use super::{CLOSED, Entry, OPEN, Shared, envelope};
use crate::error::QueueError;
use crate::event::EventCount;
use crate::log::{Log, LogError, Position, RecordRef};
use crate::message::{Envelope, Message, MessageId, Topic};
use crate::metrics::{Event, Flow};
use crate::queue::records::{self, Outcome};
use crate::queue::replay::{Identity, skim};
use crate::queue::routes::Filter;
use crate::queue::waking;
use crate::queue::window::{Next, Purge, Waiting, Window, storage};
use crate::queue::{
    Context, DEAD_LETTERS, Depth, Lease, Leased, Resolved, Settlement, Signal, Source, dead_letter,
};
use crate::sync::{Arc, AtomicBool, AtomicI64, AtomicU64, Mutex, Ordering, Weak};
use std::ops::ControlFlow;

/// One subscription of a persistent queue.
pub(super) struct PersistentSource {
    pub(super) identity: Identity,
    /// For dead letters and settlements; the queue owns its sources, not the other way round.
    queue: Weak<Shared>,
    context: Arc<Context>,
    log: Arc<Log>,
    lingering: Arc<EventCount>,
    inflight: Arc<Inflight>,
    /// How many messages the window has yet to read; see the page on counts.
    ahead: AtomicI64,
    pub(super) window: Mutex<Window>,
    /// Held by whoever has settlements in hand that are not in the log: see `writer`.
    pub(super) writing: Mutex<()>,
    ended: AtomicBool,
    /// The topic last asked about, and whether the filter takes it: see [`PersistentSource::takes`].
    verdict: AtomicU64,
    signal: Signal,
    flow: Flow,
}

impl PersistentSource {
    /// A subscription of `queue` with `ahead` messages that `window` has yet to read.
    pub(super) fn new(
        queue: &Arc<Shared>,
        identity: Identity,
        window: Window,
        ahead: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            queue: Arc::downgrade(queue),
            context: Arc::clone(&queue.context),
            log: Arc::clone(&queue.log),
            lingering: Arc::clone(&queue.lingering),
            inflight: Arc::clone(&queue.inflight),
            ahead: AtomicI64::new(ahead as i64),
            window: Mutex::new(window),
            writing: Mutex::new(()),
            ended: AtomicBool::new(false),
            verdict: AtomicU64::new(0),
            signal: Signal::default(),
            flow: queue.context.recorder.open_flow(queue.context.clock.now_ns()),
        })
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.window.lock().has_unwritten()
    }

    /// How many messages are unsettled, without those whose next attempt is due after `until_ns`.
    pub(super) fn outstanding(&self, until_ns: u64) -> u64 {
        let later = self.window.lock().due_after(until_ns);
        self.depth().total().saturating_sub(later)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) // [P1]
    }

    /// Nothing more is taken or given.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release); // [P1]
        self.signal.notify_all();
    }

    /// The end for good: a settlement is noted before this, and written by the close, or it is refused.
    pub(super) fn seal(&self) {
        self.window.lock().seal();
        self.end();
    }

    pub(super) fn count_ahead(&self, change: i64) {
        self.ahead.fetch_add(change, Ordering::Relaxed); // [relaxed]
    }

    /// May another subscription's failures still come here? As long as anything is unsettled anywhere.
    fn letters_may_come(&self) -> bool {
        let queue = self.queue.upgrade().filter(|_| self.identity.filter.as_str() == DEAD_LETTERS);
        queue.is_some_and(|queue| queue.depth(&queue.state.lock()).total() > 0)
    }

    /// Is the record one of this subscription's messages?
    fn is_mine(&self, queue: &Shared, record: &RecordRef) -> bool {
        let position = records::place(record.position());
        records::is_message(record.tag())
            && self.identity.origin.covers(record.topic(), position)
            && self.takes(queue, record.topic())
    }

    /// Does the filter take the topic with that number? A topic keeps its number and its name for life, so the last
    /// answer holds for as long as the same topic is asked about.
    fn takes(&self, queue: &Shared, topic: u32) -> bool {
        let asked = (u64::from(topic) + 1) << 1;
        let known = self.verdict.load(Ordering::Relaxed); // [relaxed]
        if known & !1 == asked {
            return known & 1 == 1;
        }
        let taken = |entry: &Entry| self.identity.filter.matches(&entry.topic);
        let Some(taken) = queue.topics.with_number(topic, taken) else { return false };
        self.verdict.store(asked | u64::from(taken), Ordering::Relaxed); // [relaxed]
        taken
    }

    /// Lets the window, whose lock the caller holds, read on, and counts what it reads.
    fn reading<R>(
        &self,
        queue: &Shared,
        read: impl FnOnce(&mut dyn FnMut(u32) -> bool, &mut dyn FnMut(&RecordRef) -> bool) -> R,
    ) -> R {
        let mut found = 0;
        let outcome = read(&mut |topic| self.takes(queue, topic), &mut |record| {
            let mine = self.is_mine(queue, record);
            found += i64::from(mine);
            mine
        });
        if found > 0 {
            self.count_ahead(-found);
        }
        outcome
    }

    /// The next message's record, and how it is leased.
    fn take(&self, queue: &Shared) -> Result<Option<(RecordRef, Lease)>, LogError> {
        loop {
            let mut window = self.window.lock();
            let now_ns = || self.context.clock.now_ns();
            let Some(next) = self.reading(queue, |topic, mine| window.take(now_ns, topic, mine))?
            else {
                return Ok(None);
            };
            drop(window);
            let (place, waiting) = match next {
                Next::Fresh(record) => {
                    let place = records::place(record.position());
                    let redelivered = record.position() < self.log.recovery().crashed;
                    return Ok(Some((record, Lease { place, attempt: 1, redelivered, shard: 0 })));
                }
                Next::Due(place, waiting) => (place, waiting),
            };
            let position = Position::from_u64(place).unwrap_or(self.log.start());
            match self.log.record(position) {
                Ok(record) => {
                    let Waiting { attempt, redelivered, .. } = waiting;
                    return Ok(Some((record, Lease { place, attempt, redelivered, shard: 0 })));
                }
                // An unsettled message pins its segment: this one was purged after it was taken out of the window, or the
                // subscription has ended. Given back, it would come first and fail for ever.
                Err(LogError::Expired { .. }) => {
                    self.window.lock().settled_elsewhere();
                    queue.count(-1);
                }
                Err(error) => {
                    self.window.lock().release(place, waiting);
                    return Err(error);
                }
            }
        }
    }

    /// A record that cannot be read is not skipped in silence: its bytes go to the dead letters with the reason.
    fn quarantine(
        &self,
        queue: &Shared,
        record: &RecordRef,
        topic: &Topic,
        lease: &Lease,
        error: &QueueError,
    ) -> Result<(), QueueError> {
        let id = MessageId::new(queue.incarnation, lease.place);
        let message = Message::new(record.bytes(0..record.body().len()));
        let (topic, accepted_ns) = (topic.clone(), record.time_ns());
        let envelope = Arc::new(Envelope { id, topic, message, accepted_ns });
        self.give_up(queue, &envelope, lease, &error.to_string())
    }

    /// Why the message is not handed out any more, if it was in hand at too many crashes.
    fn poison(&self, envelope: &Envelope, lease: &Lease) -> Option<String> {
        let crashes = self.inflight.poison(self.identity.number, lease.place)?;
        let may_go = envelope.topic().as_str() != DEAD_LETTERS;
        may_go.then(|| format!("the process died {crashes} times while it was handled"))
    }

    /// Gives the message to the dead letters, or keeps it if they have no room.
    fn give_up(
        &self,
        queue: &Shared,
        envelope: &Arc<Envelope>,
        lease: &Lease,
        reason: &str,
    ) -> Result<(), QueueError> {
        let letter = dead_letter(envelope, &self.identity.name, lease.attempt, reason);
        if queue.bury(&letter, self.identity.number, lease.place).is_err() {
            return self.retry(queue, envelope, lease, self.context.try_on_ns());
        }
        self.context.recorder.count(lease.shard, Event::DeadLettered, 1);
        let had_room = self.with_room(Window::settled_elsewhere);
        queue.count(-1);
        self.look_again(had_room);
        Ok(())
    }

    fn retry(
        &self,
        queue: &Shared,
        envelope: &Envelope,
        lease: &Lease,
        due_ns: u64,
    ) -> Result<(), QueueError> {
        let entry = queue.topics.get(envelope.topic().as_str());
        let attempt = lease.attempt.saturating_add(1);
        let outcome = Outcome::Retry { due_ns, attempt };
        let outcome = self.note(queue, lease.place, outcome, entry.as_deref());
        // Whoever sleeps must learn of the new due time.
        self.signal.notify(1);
        outcome
    }

    /// Takes part in a purge: what waits here is dropped, what was not read yet is passed over. All of it is counted.
    pub(super) fn purge(&self, queue: &Shared, purge: &Purge) -> Result<u64, QueueError> {
        let mut window = self.window.lock();
        let had_room = window.has_room();
        let (dropped, looked) = window.purge(purge);
        drop(window);
        let mut unread = 0;
        let reread = |from| self.log.reader(from);
        let wanted = |topic| purge.topics.contains(&topic);
        skim(&reread, records::place(looked.cursor)..purge.before, &wanted, |record| {
            let drops = purge.drops(record.topic(), records::place(record.position()));
            unread += u64::from(drops && !looked.passes(record) && self.is_mine(queue, record));
            ControlFlow::Continue(())
        })?;
        self.count_ahead(-(unread as i64));
        queue.count(-((dropped + unread) as i64));
        self.look_again(had_room);
        Ok(dropped + unread)
    }

    /// Notes a settlement in the window, and writes the gathered ones when they are many. With the topic, where the
    /// message comes again: unless it was purged while it was in somebody's hands.
    fn note(
        &self,
        queue: &Shared,
        position: u64,
        outcome: Outcome,
        again: Option<&Entry>,
    ) -> Result<(), QueueError> {
        let (had_room, full, first) = {
            let mut window = self.window.lock();
            if window.is_sealed() {
                return Err(QueueError::Closed);
            }
            let (had_room, first) = (window.has_room(), !window.has_unwritten());
            // Under the window's lock: a purge marks the topic first, and takes this lock then.
            if again.is_some_and(|entry| position < entry.purged_before()) {
                window.settled_elsewhere();
                queue.count(-1);
                (had_room, false, false)
            } else {
                let topic = again.map_or(0, |entry| entry.number);
                (had_room, window.settle(position, outcome, topic), first)
            }
        };
        self.look_again(had_room);
        if full {
            return self.write_settlements(queue);
        }
        if first {
            self.lingering.notify_one();
        }
        Ok(())
    }

    /// Changes the window; tells whether the pump had room before.
    fn with_room(&self, change: impl FnOnce(&mut Window)) -> bool {
        let mut window = self.window.lock();
        let had_room = window.has_room();
        change(&mut window);
        had_room
    }

    /// The pump had stopped for want of room, and now there is some.
    fn look_again(&self, had_room: bool) {
        if waking::reads_again(had_room) {
            self.signal.notify(1);
        }
    }

    pub(super) fn depth(&self) -> Depth {
        let Some(queue) = self.queue.upgrade() else { return Depth::default() };
        let mut window = self.window.lock();
        // A failure to read shows at the next pull.
        while matches!(self.reading(&queue, |topic, mine| window.pump(topic, mine)), Ok(read) if read > 0)
        {
        }
        let (ready, in_flight, delayed) = window.counts();
        let caught_up = self.log.committed() <= window.cursor();
        let ahead = self.ahead.load(Ordering::Relaxed).max(0) as u64; // [relaxed]
        let ready = ready + if caught_up { 0 } else { ahead };
        Depth { ready, in_flight, delayed }
    }

    /// The oldest messages that wait here and match, `count` at most. The window is copied, not kept locked, while the
    /// log is read.
    pub(super) fn peek(
        &self,
        filter: &Filter,
        count: usize,
        queue: &Shared,
    ) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let failed = |error| storage("read the log", error);
        // What is settled and reclaimed while this reads is nobody's to see: the keeper waits.
        let _kept = queue.keeping.hold();
        let waiting = self.window.lock().waiting();
        let matching = |record: &RecordRef| {
            let entry = queue.topics.by_number(record.topic());
            let entry = entry.filter(|entry| filter.matches(&entry.topic))?;
            envelope(record, &entry.topic, queue.incarnation).ok()
        };
        let mut found = Vec::new();
        for place in &waiting.given_back {
            let position = Position::from_u64(*place).unwrap_or(self.log.start());
            found.extend(matching(&self.log.record(position).map_err(failed)?));
        }
        found.extend(waiting.ready.iter().filter_map(matching));
        let mut reader = self.log.reader(waiting.cursor);
        while found.len() < count {
            let mut wanted = |tag, topic| records::is_message(tag) && self.takes(queue, topic);
            let Some(record) = reader.next_skipping(&mut wanted).map_err(failed)? else { break };
            if !waiting.passes(&record) && self.is_mine(queue, &record) {
                found.extend(matching(&record));
            }
        }
        Ok(found)
    }
}

impl Source for PersistentSource {
    fn name(&self) -> &str {
        &self.identity.name
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
        let Some(queue) = self.queue.upgrade() else { return Ok(None) };
        while !self.has_ended() {
            let taken = self.take(&queue).map_err(|error| storage("read the log", error))?;
            let Some((record, lease)) = taken else { break };
            let topic = queue.topics.with_number(record.topic(), |entry| entry.topic.clone());
            let Some(topic) = topic else { continue };
            match envelope(&record, &topic, queue.incarnation) {
                Ok(envelope) => match self.poison(&envelope, &lease) {
                    None => return Ok(Some(Leased { envelope, lease })),
                    Some(reason) => self.give_up(&queue, &envelope, &lease, &reason)?,
                },
                Err(error) => self.quarantine(&queue, &record, &topic, &lease, &error)?,
            }
        }
        Ok(None)
    }

    fn settle(
        &self,
        envelope: &Arc<Envelope>,
        lease: &Lease,
        to: Settlement,
    ) -> Result<(), QueueError> {
        let queue = self.queue.upgrade().filter(|queue| queue.stage() != CLOSED);
        let Some(queue) = queue else { return Err(QueueError::Closed) };
        if self.has_ended() {
            // By its own end, where nothing is left to note; or by the queue's, which has come since the look above. The
            // stage is stored before the end is, so [P1] shows which it was (H17).
            let closed = queue.stage() == CLOSED;
            return if closed { Err(QueueError::Closed) } else { Ok(()) };
        }
        match self.context.resolve(envelope, lease, to) {
            Resolved::Ack => {
                queue.count(-1);
                self.note(&queue, lease.place, Outcome::Ack, None)
            }
            Resolved::Release => {
                let Lease { place, attempt, redelivered, .. } = *lease;
                let entry = queue.topics.get(envelope.topic().as_str());
                let had_room = self.with_room(|window| {
                    // As in `note`.
                    if entry.as_ref().is_some_and(|entry| place < entry.purged_before()) {
                        window.settled_elsewhere();
                        queue.count(-1);
                    } else {
                        let topic = entry.as_ref().map_or(0, |entry| entry.number);
                        window.release(place, Waiting { attempt, redelivered, topic });
                    }
                });
                self.look_again(had_room);
                self.signal.notify(1);
                Ok(())
            }
            Resolved::Retry { due_ns } => self.retry(&queue, envelope, lease, due_ns),
            Resolved::Dead { reason } => self.give_up(&queue, envelope, lease, &reason),
        }
    }

    fn taken(&self, lease: &Lease, since_ns: u64) {
        let (subscription, place) = (self.identity.number, lease.place);
        self.inflight.take(lease.shard - 1, Held { subscription, place, since_ns });
    }

    fn laid_down(&self, lease: &Lease) {
        self.inflight.lay_down(lease.shard - 1);
    }

    fn has_more(&self) -> bool {
        let window = self.window.lock();
        waking::has_more(window.has_ready(), window.cursor(), self.log.committed())
    }

    fn backlog(&self) -> u64 {
        let window = self.window.lock();
        let (ready, ..) = window.counts();
        let caught_up = self.log.committed() <= window.cursor();
        let ahead = self.ahead.load(Ordering::Relaxed).max(0) as u64; // [relaxed]
        ready + if caught_up { 0 } else { ahead }
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.window.lock().next_due_ns()
    }

    fn is_over(&self) -> bool {
        // Only then nothing more is published. A dead letter may still come, so that is asked before the depth.
        let refusing =
            self.queue.upgrade().is_none_or(|queue| queue.stage() != OPEN && !queue.is_writing());
        self.has_ended() || (refusing && !self.letters_may_come() && self.depth().total() == 0)
    }
}
