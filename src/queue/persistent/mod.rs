//! The persistent kind: one log for all topics and subscriptions, and a window on it for each subscription.
//!
//! ```text
//!  publish ─> encode ─> Log::append: one frame, however many subscriptions ─> wake those of the frames advanced over
//!  pull    ─> what is due in the window's exceptions, else the next record, pumped from the log
//!  settle  ─> the window; 64 at a time, or 5 ms later, a settle record in the log
//!             dead letter: ONE frame with the copy under `$dead` and the settlement
//!  open    ─> Log::open, then replay: the sum of the records is the queue
//! ```
//!
//! A subscription's messages are a function of positions (see `replay`), so publishers need not agree with
//! subscribers about anything: whoever appends looks up the topic's routes afterwards, to wake and to count.
//! A message that stands behind another writer's gap is not readable yet; whoever closes the gap advances over both
//! and wakes the subscriptions of both.
//!
//! # Counts
//!
//! A depth is what the window holds and what it has yet to read. The latter is counted by the publisher after its
//! append, and down by the pump. A subscription that is made while messages pass may so be counted a few messages
//! off until it has caught up with the log; once it has, the count is exact, because nothing is left to read.
//! `max_size`, where it is set, is held against a running sum of them, and before a publish is refused for it the sum is
//! taken anew.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [P2] | `refuse`, `close` store `stage` | `stage` loads it | how far the queue has closed |
//!
//! The counts are [relaxed]: no data is read on their word.
//!
//! # Limits
//!
//! The log's disk limit; `buffer` messages in a window; `max_size` deliveries where it is set.

mod inflight;
mod inspect;
mod source;
mod writer;

pub use inspect::Inspection;

use crate::error::{PublishError, QueueError, TooLarge, TopicError};
use crate::event::EventCount;
use crate::log::{AppendError, Appended, Budget, Log, Position, Record, RecordRef};
use crate::message::{Envelope, Message, MessageId, Topic};
use crate::queue::gate::Gate;
use crate::queue::records::{self, Encoded, Outcome, Settled};
use crate::queue::refusal::{Refusal, not_appended};
use crate::queue::replay::{Identity, Origin, Replay};
use crate::queue::routes::{Filter, TOPICS_MAX, TopicEntry, Topics};
use crate::queue::window::{Begin, Window, storage};
use crate::queue::{
    Batch, Capabilities, Context, DEAD_LETTER_BYTES_ADDED, DEAD_LETTERS, Queue, QueueDepth,
    Reached, Receipt, SUBSCRIPTIONS_MAX, Source, Start, Subscription, SubscriptionDepth,
};
use crate::sync::{Arc, AtomicI64, AtomicU8, Mutex, Ordering, thread};
use smallvec::{SmallVec, smallvec};
use source::PersistentSource;
use std::collections::{BTreeMap, HashSet};
use writer::write_lingering;

/// What a receipt promises, for a persistent queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The message survives the process, not a power loss.
    #[default]
    Os,
    /// The disk has it before the publish returns; neighbours share one sync.
    Sync,
}

const OPEN: u8 = 0;
const REFUSING: u8 = 1;
const CLOSED: u8 = 2;

type Entry = TopicEntry<PersistentSource>;

/// A queue in a directory.
pub(crate) struct PersistentQueue {
    shared: Arc<Shared>,
    linger: Mutex<Option<thread::JoinHandle<()>>>,
}

struct Shared {
    context: Arc<Context>,
    log: Arc<Log>,
    durability: Durability,
    incarnation: u64,
    topics: Topics<PersistentSource>,
    state: Mutex<State>,
    /// Every unsettled delivery and held message, see the page on counts.
    unsettled: AtomicI64,
    stage: AtomicU8,
    /// Publishers pass it; the end of the queue begins by shutting it.
    gate: Gate,
    /// Wakes the thread that writes lingering settlements.
    lingering: Arc<EventCount>,
}

#[derive(Default)]
struct State {
    subscriptions: BTreeMap<String, Arc<PersistentSource>>,
    next_number: u32,
}

impl State {
    fn matching(&self, topic: &Topic) -> Vec<Arc<PersistentSource>> {
        let sources = self.subscriptions.values();
        sources.filter(|source| source.identity.filter.matches(topic)).cloned().collect()
    }
}

impl PersistentQueue {
    /// The queue whose records `log` holds.
    pub(crate) fn open(
        context: Arc<Context>,
        log: Log,
        durability: Durability,
    ) -> Result<Self, QueueError> {
        let log = Arc::new(log);
        let replay = Replay::of(log.reader(log.start()), |from| log.reader(from))?;
        // The low half of a number that is random as a whole.
        let incarnation = log.id() as u64;
        let shared = Arc::new(Shared {
            context,
            log,
            durability,
            incarnation,
            topics: Topics::new(),
            state: Mutex::new(State::default()),
            unsettled: AtomicI64::new(replay.depth().total() as i64),
            stage: AtomicU8::new(OPEN),
            gate: Gate::new(),
            lingering: Arc::new(EventCount::new()),
        });
        shared.restore(&replay);
        let writer = Arc::downgrade(&shared);
        let lingering = Arc::clone(&shared.lingering);
        let handle = thread::Builder::new()
            .name("millstream-settle".to_owned())
            .spawn(move || write_lingering(&writer, &lingering))
            .map_err(|source| QueueError::Storage {
                what: "start the thread that writes settlements",
                source: Arc::new(source),
            })?;
        Ok(Self { shared, linger: Mutex::new(Some(handle)) })
    }
}

impl Drop for PersistentQueue {
    fn drop(&mut self) {
        // Whoever wanted the error has called `close`.
        let _ = self.close();
    }
}

impl Shared {
    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire) // [P2]
    }

    /// Makes topics and subscriptions as the log tells them.
    fn restore(self: &Arc<Self>, replay: &Replay) {
        let mut state = self.state.lock();
        state.next_number = replay.next_subscription;
        let end = self.log.committed();
        for replayed in replay.subscriptions.values() {
            let (reads_from, begin) = replayed.begin(end);
            let ahead = replayed.unsettled() - begin.delayed.len() as u64;
            let source = self.source(replayed.identity.clone(), reads_from, begin, ahead);
            state.subscriptions.insert(replayed.identity.name.clone(), source);
        }
        for replayed in &replay.topics {
            let routes = state.matching(&replayed.topic);
            let (topic, claimed) = (replayed.topic.clone(), replayed.claimed);
            let entry = self.topics.insert(topic, routes, claimed, replayed.made_at);
            entry.count_published(replayed.published);
        }
    }

    /// A subscription with `ahead` messages that its window, beginning at `reads_from`, has yet to read.
    fn source(
        self: &Arc<Self>,
        identity: Identity,
        reads_from: Position,
        begin: Begin,
        ahead: u64,
    ) -> Arc<PersistentSource> {
        let window = Window::new(self.log.reader(reads_from), self.context.buffer, begin);
        PersistentSource::new(self, identity, window, ahead)
    }

    /// The topic, made if it is new.
    fn topic(&self, name: &str, budget: Budget) -> Result<Arc<Entry>, Refusal> {
        if let Some(entry) = self.topics.get(name) {
            return Ok(entry);
        }
        let topic = Topic::new(name).map_err(Refusal::Topic)?;
        let state = self.state.lock();
        // Only under the lock are topics made: each has one record, and stands once in the table (H1).
        if let Some(entry) = self.topics.get(name) {
            return Ok(entry);
        }
        let number = self.topics.len();
        // The dead letters always find a topic (H6).
        if TOPICS_MAX <= number && name != DEAD_LETTERS {
            return Err(Refusal::Topic(TopicError::TooMany {
                topic: name.into(),
                max: TOPICS_MAX,
            }));
        }
        let made = self.append(&Encoded::topic(number as u32, name), budget)?;
        let routes = state.matching(&topic);
        let claimed = !routes.is_empty();
        Ok(self.topics.insert(topic, routes, claimed, records::place(made.at)))
    }

    fn public_topic(&self, name: &str) -> Result<Arc<Entry>, Refusal> {
        if name.starts_with('$') {
            return Err(Refusal::Topic(TopicError::Reserved { topic: name.to_owned() }));
        }
        self.topic(name, Budget::Publish)
    }

    /// Appends a record of the queue's own.
    fn append(&self, record: &Encoded, budget: Budget) -> Result<Appended, AppendError> {
        let parts: [&[u8]; 1] = [&record.body];
        let (tag, topic, time_ns) = (record.tag, record.topic, self.context.clock.now_ns());
        let appended = self.log.append(&Record { tag, topic, time_ns, parts: &parts }, budget)?;
        self.wake(&appended);
        Ok(appended)
    }

    /// Wakes the subscriptions of every message that became readable, whoever wrote it.
    fn wake(&self, appended: &Appended) {
        self.log.walk(appended.advanced.clone(), |_, tag, topic| {
            if records::is_message(tag) {
                let entry = self.topics.by_number(topic);
                let routes = entry.as_ref().map(|entry| entry.routes.load());
                routes.iter().for_each(|routes| {
                    routes.iter().for_each(|source| source.signal().notify(1));
                });
            }
        });
        if self.stage() != OPEN {
            // Whoever closes waits for all that is on its way; it may be nobody's here.
            self.context.progress.notify_all();
        }
    }

    /// Is something on its way into the log that cannot be read yet?
    fn is_writing(&self) -> bool {
        self.log.committed() < self.log.reserved()
    }

    /// Accepts all of `entries` in one frame, or none.
    fn accept(&self, entries: &Entries) -> Result<SmallVec<[Receipt; 1]>, Refusal> {
        let pass = self.gate.enter().ok_or(Refusal::Closed)?;
        let wanted = self.reserve(entries)?;
        let given_back = |refusal| {
            self.count(-wanted);
            refusal
        };
        let appended = self.write(entries).map_err(given_back)?;
        let positions: SmallVec<[u64; 1]> = appended.positions().map(records::place).collect();
        let mut receipts = SmallVec::with_capacity(entries.len());
        let mut counted = 0;
        for ((entry, _), &position) in entries.iter().zip(&positions) {
            entry.count_published(1);
            let routes = entry.routes.load();
            let takers = routes
                .iter()
                .filter(|source| source.identity.origin.covers(entry.number, position));
            let matched = takers.map(|source| source.count_ahead(1)).count();
            counted += if matched == 0 && !entry.is_claimed() { 1 } else { matched as i64 };
            let id = MessageId::new(self.incarnation, position);
            receipts.push(Receipt { id, matched: Some(matched), reached: Reached::Os });
        }
        self.count(counted - wanted);
        self.wake(&appended);
        drop(pass);
        if self.durability == Durability::Sync {
            self.log.wait_durable(appended.end).map_err(Refusal::from)?;
            receipts.iter_mut().for_each(|receipt: &mut Receipt| receipt.reached = Reached::Synced);
        }
        Ok(receipts)
    }

    /// Counts what `entries` will add to the queue, unless that is more than `max_size`.
    fn reserve(&self, entries: &Entries) -> Result<i64, Refusal> {
        let mut wanted = 0;
        for (entry, _) in entries {
            let matched = entry.routes.load().len() as i64;
            match (matched, entry.is_claimed()) {
                (0, true) if self.context.refuse_unrouted => return Err(Refusal::Unrouted),
                (0, true) => {}
                (0, false) => wanted += 1,
                (matched, _) => wanted += matched,
            }
        }
        let fits = |before: i64| {
            let room = self.context.max_size.saturating_sub(before.max(0) as u64);
            wanted as u64 <= room
        };
        if fits(self.count(wanted)) {
            return Ok(wanted);
        }
        // The count may have drifted: what the subscriptions themselves say decides.
        let exact = self.depth(&self.state.lock()).total() as i64;
        self.unsettled.store(exact + wanted, Ordering::Relaxed); // [relaxed]
        if fits(exact) {
            return Ok(wanted);
        }
        self.count(-wanted);
        Err(Refusal::Full)
    }

    /// Adds to the count of unsettled deliveries; what it was before comes back.
    fn count(&self, change: i64) -> i64 {
        self.unsettled.fetch_add(change, Ordering::Relaxed) // [relaxed]
    }

    fn write(&self, entries: &Entries) -> Result<Appended, Refusal> {
        let now_ns = self.context.clock.now_ns();
        let heads: SmallVec<[Vec<u8>; 1]> =
            entries.iter().map(|(_, message)| message.encode_head()).collect();
        let bodies: SmallVec<[[&[u8]; 2]; 1]> = (entries.iter().zip(&heads))
            .map(|((_, message), head)| [head.as_slice(), message.payload()])
            .collect();
        // A message must still fit when it has become a dead letter.
        let max = self.log.record_bytes_max().saturating_sub(DEAD_LETTER_BYTES_ADDED as u64);
        let sizes = bodies.iter().map(|[head, payload]| (head.len() + payload.len()) as u64);
        if let Some(bytes) = sizes.max().filter(|&bytes| max < bytes) {
            return Err(Refusal::TooLarge(TooLarge::Frame { bytes, max }));
        }
        let records: SmallVec<[Record<'_>; 1]> = (entries.iter().zip(&bodies))
            .map(|((entry, message), parts)| Record {
                tag: records::message_tag(message.urgency()),
                topic: entry.number,
                time_ns: now_ns,
                parts,
            })
            .collect();
        Ok(match records.as_slice() {
            [one] => self.log.append(one, Budget::Publish)?,
            many => self.log.append_batch(many, Budget::Publish)?,
        })
    }

    /// Writes the dead letter and the settlement of the message that it was in one frame.
    fn bury(&self, letter: &Message, number: u32, position: u64) -> Result<(), Refusal> {
        let entry = self.topic(DEAD_LETTERS, Budget::Settle)?;
        let settled = [Settled { position, outcome: Outcome::Dead }];
        let settle = Encoded::settle(number, &settled);
        let head = letter.encode_head();
        let (letter_parts, settle_parts): ([&[u8]; 2], [&[u8]; 1]) =
            ([&head, letter.payload()], [&settle.body]);
        let time_ns = self.context.clock.now_ns();
        let tag = records::message_tag(letter.urgency());
        let appended = self.log.append_batch(
            &[
                Record { tag, topic: entry.number, time_ns, parts: &letter_parts },
                Record { tag: settle.tag, topic: settle.topic, time_ns, parts: &settle_parts },
            ],
            Budget::Settle,
        )?;
        entry.count_published(1);
        let matched = entry.routes.load().iter().map(|source| source.count_ahead(1)).count();
        self.count(if entry.is_claimed() { matched as i64 } else { 1 });
        self.wake(&appended);
        Ok(())
    }

    /// The oldest held messages that match, `count` at most. Reads the log from its start.
    fn peek_held(&self, filter: &Filter, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let mut found = Vec::new();
        let held = |entry: &Arc<Entry>| !entry.is_claimed() && entry.published() > 0;
        let wanted: BTreeMap<u32, Arc<Entry>> = (self.topics.all().into_iter())
            .filter(|entry| held(entry) && filter.matches(&entry.topic))
            .map(|entry| (entry.number, entry))
            .collect();
        let mut reader = self.log.reader(self.log.start());
        while !wanted.is_empty() && found.len() < count {
            let record = reader.next().map_err(|error| storage("read the log", error))?;
            let Some(record) = record else { break };
            let entry = wanted.get(&record.topic());
            if let (true, Some(entry)) = (records::is_message(record.tag()), entry) {
                found.extend(envelope(&record, &entry.topic, self.incarnation).ok());
            }
        }
        Ok(found)
    }

    fn depth(&self, state: &State) -> QueueDepth {
        let held = self.topics.all().into_iter().filter(|entry| !entry.is_claimed());
        let subscriptions = state.subscriptions.values().map(|source| SubscriptionDepth {
            name: source.identity.name.clone(),
            filter: source.identity.filter.to_string(),
            members: source.signal().members(),
            depth: source.depth(),
        });
        QueueDepth {
            held: held.map(|entry| entry.published()).sum(),
            subscriptions: subscriptions.collect(),
        }
    }
}

/// One message is the usual batch: it costs no allocation.
type Entries = SmallVec<[(Arc<Entry>, Message); 1]>;

/// The message in a record.
fn envelope(
    record: &RecordRef,
    topic: &Topic,
    incarnation: u64,
) -> Result<Arc<Envelope>, QueueError> {
    let position = records::place(record.position());
    let refused = |reason| QueueError::Record { position, reason };
    let read = records::read_record(record).map_err(|error| refused(error.to_string()))?;
    let records::Read::Message { priority, .. } = read else {
        return Err(refused("it is no message".to_owned()));
    };
    let message = Message::decode(record.body(), priority, |range| record.bytes(range))
        .map_err(|error| refused(error.to_string()))?;
    let id = MessageId::new(incarnation, position);
    let topic = topic.clone();
    Ok(Arc::new(Envelope { id, topic, message, accepted_ns: record.time_ns() }))
}

impl Queue for PersistentQueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "persistent",
            outlives_process: true,
            retains: true,
            bounded_by_buffer: false,
        }
    }

    fn publish(&self, topic: &str, message: Message) -> Result<Receipt, PublishError<Message>> {
        if let Err(reason) = message.check(self.shared.context.payload_bytes_max) {
            return Err(PublishError::TooLarge { message, reason });
        }
        let entry = match self.shared.public_topic(topic) {
            Ok(entry) => entry,
            Err(refusal) => return Err(refusal.with(message)),
        };
        let mut entries: Entries = smallvec![(entry, message)];
        match self.shared.accept(&entries) {
            Ok(receipts) => Ok(receipts[0]),
            Err(refusal) => Err(refusal.with(entries.remove(0).1)),
        }
    }

    fn publish_batch(&self, batch: Batch) -> Result<Vec<Receipt>, PublishError<Batch>> {
        if let Err(reason) = batch.check(self.shared.context.payload_bytes_max) {
            return Err(PublishError::TooLarge { message: batch, reason });
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let known = batch.iter().map(|(topic, _)| self.shared.public_topic(topic.as_str()));
        let known: Vec<_> = match known.collect::<Result<_, _>>() {
            Ok(known) => known,
            Err(refusal) => return Err(refusal.with(batch)),
        };
        let messages = batch.into_entries().into_iter().map(|(_, message)| message);
        let entries: Entries = known.into_iter().zip(messages).collect();
        match self.shared.accept(&entries) {
            Ok(receipts) => Ok(receipts.into_vec()),
            Err(refusal) => {
                let back = entries.into_iter();
                let back = back.map(|(entry, message)| (entry.topic.clone(), message));
                Err(refusal.with(back.collect()))
            }
        }
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Source>, QueueError> {
        let (filter, given, start) = subscription.parts()?;
        let name = given.unwrap_or(filter.as_str()).to_owned();
        let mut state = self.shared.state.lock();
        if self.shared.stage() != OPEN {
            return Err(QueueError::Closed);
        }
        if let Some(source) = state.subscriptions.get(&name) {
            if source.identity.filter != filter {
                let (has, asked) = (source.identity.filter.to_string(), filter.to_string());
                return Err(QueueError::FilterMismatch { name, has, asked });
            }
            if given.is_none() && source.signal().members() > 0 {
                return Err(QueueError::NameRequired { filter: filter.to_string() });
            }
            source.signal().join();
            return Ok(Arc::clone(source) as Arc<dyn Source>);
        }
        if state.subscriptions.len() == SUBSCRIPTIONS_MAX {
            return Err(QueueError::TooManySubscriptions { name, max: SUBSCRIPTIONS_MAX });
        }
        let source = self.shared.add(&mut state, name, filter, start)?;
        source.signal().join();
        Ok(source)
    }

    fn unsubscribe(&self, name: &str) -> Result<Arc<dyn Source>, QueueError> {
        let mut state = self.shared.state.lock();
        let Some(source) = state.subscriptions.get(name).cloned() else {
            return Err(QueueError::NoSubscription { name: name.to_owned() });
        };
        let ended =
            self.shared.append(&Encoded::unsubscribe(source.identity.number), Budget::Settle);
        ended.map_err(|error| not_appended("record the end of a subscription", error))?;
        state.subscriptions.remove(name);
        for entry in self.shared.topics.all() {
            if source.identity.filter.matches(&entry.topic) {
                entry.routes.store(Arc::new(state.matching(&entry.topic)));
            }
        }
        self.shared.count(-(source.depth().total() as i64));
        source.end();
        Ok(source)
    }

    fn peek(&self, filter: &Filter, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let sources: Vec<_> = self.shared.state.lock().subscriptions.values().cloned().collect();
        let held = self.shared.peek_held(filter, count)?;
        let mut oldest: BTreeMap<MessageId, Arc<Envelope>> =
            held.into_iter().map(|envelope| (envelope.id(), envelope)).collect();
        for source in sources {
            let waiting = source.peek(filter, count, &self.shared)?;
            oldest.extend(waiting.into_iter().map(|envelope| (envelope.id(), envelope)));
        }
        Ok(oldest.into_values().take(count).collect())
    }

    fn depth(&self) -> QueueDepth {
        self.shared.depth(&self.shared.state.lock())
    }

    fn sync(&self) -> Result<(), QueueError> {
        self.shared.write_settlements()?;
        self.shared.log.sync().map(drop).map_err(|error| storage("sync the log", error))
    }

    fn refuse(&self) {
        self.shared.gate.shut_and_wait();
        self.shared.log.refuse();
        // A message may stand behind another writer's gap: a settlement that is being written.
        let accepted = self.shared.log.reserved();
        while self.shared.log.committed() < accepted {
            thread::yield_now();
        }
        let state = self.shared.state.lock();
        if self.shared.stage() == OPEN {
            self.shared.stage.store(REFUSING, Ordering::Release); // [P2]
        }
        state.subscriptions.values().for_each(|source| source.signal().notify_all());
    }

    fn outstanding(&self, until_ns: u64) -> u64 {
        let state = self.shared.state.lock();
        let attended = state.subscriptions.values().filter(|source| source.signal().members() > 0);
        // Before the depths: a dead letter on its way into the log is in nobody's depth yet.
        let on_their_way = u64::from(self.shared.is_writing());
        on_their_way + attended.map(|source| source.outstanding(until_ns)).sum::<u64>()
    }

    fn close(&self) -> Result<(), QueueError> {
        let Some(writer) = self.linger.lock().take() else { return Ok(()) };
        self.refuse();
        let written = self.shared.write_settlements();
        {
            let state = self.shared.state.lock();
            self.shared.stage.store(CLOSED, Ordering::Release); // [P2]
            state.subscriptions.values().for_each(|source| source.seal());
        }
        self.shared.lingering.notify_all();
        let joined = writer.join();
        debug_assert!(joined.is_ok(), "the writer of settlements does not panic");
        let late = self.shared.write_settlements();
        let closed = self.shared.log.close().map_err(|error| storage("close the log", error));
        written.and(late).and(closed)
    }
}

impl Shared {
    /// Makes a subscription: its record first, then it is seen by publishers. Under the lock, so that topics and
    /// subscriptions come into being in the order of their records.
    fn add(
        self: &Arc<Self>,
        state: &mut State,
        name: String,
        filter: Filter,
        start: Start,
    ) -> Result<Arc<PersistentSource>, QueueError> {
        let number = state.next_number;
        let record = Encoded::subscribe(number, start, &filter, &name);
        let appended = self
            .append(&record, Budget::Settle)
            .map_err(|error| not_appended("record a subscription", error))?;
        state.next_number += 1;
        let position = records::place(appended.at);
        let (mut claims, mut claims_from, mut before) = (HashSet::new(), u64::MAX, 0);
        let matching = self.topics.all().into_iter().filter(|entry| filter.matches(&entry.topic));
        let matching: Vec<_> = matching.collect();
        for entry in &matching {
            let claims_it = !entry.is_claimed();
            before += if claims_it || start == Start::Earliest { entry.published() } else { 0 };
            if claims_it {
                entry.claim();
                claims.insert(entry.number);
                claims_from = claims_from.min(entry.made_at);
                self.count(-(entry.published() as i64));
            }
        }
        let from = if start == Start::Earliest { 0 } else { position };
        // Not by the count: a message that was just appended may not be counted yet (H1).
        let reads_from = match start {
            Start::Earliest => self.log.start(),
            Start::Latest => Position::from_u64(claims_from.min(position)).unwrap_or(appended.at),
        };
        let origin = Origin { from, claims };
        let identity = Identity { number, name: name.clone(), filter, origin };
        let source = self.source(identity, reads_from, Begin::default(), before);
        self.count(before as i64);
        state.subscriptions.insert(name, Arc::clone(&source));
        for entry in matching {
            entry.routes.store(Arc::new(state.matching(&entry.topic)));
        }
        Ok(source)
    }
}
