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
//! `max_size`, only where it is set, is held against a running sum of them, and before a publish is refused for it the sum is
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

mod beginning;
mod inflight;
mod inspect;
mod keeper;
#[cfg(test)]
mod power;
mod retention;
mod source;
mod writer;

pub use crate::log::Backup;
pub use inspect::{Inspection, RecordInfo};
pub(crate) use retention::Keep;
pub use retention::{CHECKPOINT_BYTES_MIN, Pinned, Retention, StorageStats, WhenFull};

use crate::error::{Cause, PublishError, QueueError, TooLarge, TopicError};
use crate::event::EventCount;
use crate::log::{AppendError, Appended, Budget, Log, Position, Progress, Record, RecordRef};
use crate::message::{Envelope, Head, Message, MessageId, Topic};
#[cfg(feature = "async")]
use crate::queue::DurableWait;
use crate::queue::gate::Gate;
use crate::queue::records::{self, Encoded};
use crate::queue::refusal::{Refusal, not_appended, not_synced};
use crate::queue::replay::{Identity, Replay};
use crate::queue::routes::{Filter, TOPICS_MAX, TopicEntry, Topics};
use crate::queue::window::{Begin, Window, storage};
use crate::queue::{
    Batch, Capabilities, Context, DEAD_LETTER_BYTES_ADDED, DEAD_LETTERS, Durability,
    DurabilityStats, FrameEnd, Queue, QueueDepth, Reached, Receipt, SUBSCRIPTIONS_MAX, Source,
    Subscription, SubscriptionDepth,
};
use crate::sync::{Arc, AtomicI64, AtomicU8, AtomicU64, Mutex, Ordering, thread};
use inflight::Inflight;
use keeper::{Follower, Keeping, keep_up};
use smallvec::{SmallVec, smallvec};
use source::PersistentSource;
use std::collections::BTreeMap;
use std::path::Path;
use writer::{spawn, write_lingering};

/// No `max_size`: then the running sum is not kept, one write less to a line of memory that all share.
const UNBOUNDED: u64 = u64::MAX;

const OPEN: u8 = 0;
const REFUSING: u8 = 1;
const CLOSED: u8 = 2;

/// Openings of queues in this process, from 1: [relaxed], only that each is another matters.
static OPENINGS: AtomicU64 = AtomicU64::new(1);

type Entry = TopicEntry<PersistentSource>;

/// A queue in a directory.
pub(crate) struct PersistentQueue {
    shared: Arc<Shared>,
    linger: Mutex<Option<Threads>>,
}

/// What ends with the queue.
struct Threads {
    writer: thread::JoinHandle<()>,
    keeper: thread::JoinHandle<()>,
}

struct Shared {
    context: Arc<Context>,
    log: Arc<Log>,
    durability: Durability,
    incarnation: u64,
    /// Which opening this is: in every receipt.
    opening: u64,
    topics: Topics<PersistentSource>,
    state: Mutex<State>,
    /// Every unsettled delivery and held message, where `max_size` is set: see the page on counts.
    unsettled: AtomicI64,
    stage: AtomicU8,
    /// Publishers pass it; the end of the queue begins by shutting it.
    gate: Gate,
    /// Wakes the thread that writes lingering settlements.
    lingering: Arc<EventCount>,
    inflight: Arc<Inflight>,
    keeping: Arc<Keeping>,
}

#[derive(Default)]
struct State {
    subscriptions: BTreeMap<String, Arc<PersistentSource>>,
    next_number: u32,
    /// Nothing below is given to a new subscription: it may be gone, or go.
    retained: u64,
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
        keep: Keep,
    ) -> Result<Self, QueueError> {
        let log = Arc::new(log);
        let follower = Follower::open(&log)?;
        let inflight = Inflight::open(&log, keep.crashes_max)?;
        // The low half of a number that is random as a whole.
        let incarnation = log.id() as u64;
        let replay = follower.replay.clone();
        let shared = Arc::new(Shared {
            context,
            log,
            durability,
            incarnation,
            opening: OPENINGS.fetch_add(1, Ordering::Relaxed), // [relaxed]
            topics: Topics::new(),
            state: Mutex::new(State::default()),
            unsettled: AtomicI64::new(replay.depth().total() as i64),
            stage: AtomicU8::new(OPEN),
            gate: Gate::new(),
            lingering: Arc::new(EventCount::new()),
            inflight: Arc::new(inflight),
            keeping: Arc::new(Keeping::new(follower, keep)),
        });
        shared.restore(&replay);
        let (queue, lingering) = (Arc::downgrade(&shared), Arc::clone(&shared.lingering));
        let writer = spawn("millstream-settle", move || write_lingering(&queue, &lingering))?;
        let (queue, keeping) = (Arc::downgrade(&shared), Arc::clone(&shared.keeping));
        let keeper = spawn("millstream-keep", move || keep_up(&queue, &keeping))?;
        Ok(Self { shared, linger: Mutex::new(Some(Threads { writer, keeper })) })
    }
}

impl Drop for PersistentQueue {
    fn drop(&mut self) {
        // Whoever wanted the error has called `close`.
        let _ = self.close();
    }
}

impl Shared {
    /// Where the frame of the message ends that `receipt` is for.
    fn end_of(&self, receipt: &Receipt) -> Result<Position, QueueError> {
        let FrameEnd { opening, end } = receipt.frame;
        let ours = (opening == self.opening).then(|| Position::from_u64(end)).flatten();
        ours.ok_or_else(|| QueueError::ForeignReceipt { id: receipt.id.to_string() })
    }

    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire) // [P2]
    }

    /// Makes topics and subscriptions as the log tells them.
    fn restore(self: &Arc<Self>, replay: &Replay) {
        let mut state = self.state.lock();
        (state.next_number, state.retained) = (replay.next_subscription, replay.retained);
        for replayed in replay.subscriptions.values() {
            let begin = replay.begin(replayed);
            let reads_from = begin.pending.front().copied().unwrap_or(begin.resume);
            let reads_from = Position::from_u64(reads_from).unwrap_or(replay.position());
            let ahead = replayed.unsettled() - begin.delayed.len() as u64;
            let source = self.source(replayed.identity.clone(), reads_from, begin, ahead);
            state.subscriptions.insert(replayed.identity.name.clone(), source);
        }
        for replayed in &replay.topics {
            let routes = state.matching(&replayed.topic);
            let (topic, claimed) = (replayed.topic.clone(), replayed.claimed);
            let entry = self.topics.insert(topic, routes, claimed, replayed.made_at);
            entry.restore(replayed.published, replayed.purged_before);
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
        let appended = self.log.append(&Record { tag, topic, time_ns, parts: &parts }, budget);
        match &appended {
            Ok(appended) => self.wake(appended),
            Err(AppendError::Full) if budget == Budget::Settle => {
                self.keeping.want_room_to_settle();
            }
            Err(AppendError::Full) => self.keeping.want_room(self.log.committed()),
            Err(_) => {}
        }
        appended
    }

    /// Wakes the subscriptions of every message that became readable, whoever wrote it.
    fn wake(&self, appended: &Appended) {
        self.log.walk(appended.advanced.clone(), |_, tag, topic| {
            if records::is_message(tag) {
                self.topics.with_number(topic, Self::notify);
            }
        });
        self.look_after(appended);
    }

    /// The same for what `entries` became. Most often it is one record that became readable and nothing else, and then
    /// nothing has to be read to know whom to wake.
    fn wake_for(&self, appended: &Appended, entries: &Entries) {
        if appended.advanced != (appended.at..appended.end) {
            return self.wake(appended);
        }
        entries.iter().for_each(|(entry, _)| Self::notify(entry));
        self.look_after(appended);
    }

    fn notify(entry: &Entry) {
        entry.routes.load().iter().for_each(|source| source.signal().notify(1));
    }

    /// Rings for the keeper, and tells whoever closes.
    fn look_after(&self, appended: &Appended) {
        self.keeping.look(appended.end);
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
            if matches!(refusal, Refusal::Full) {
                self.keeping.want_room(self.log.committed());
            }
            refusal
        };
        let appended = self.write(entries).map_err(given_back)?;
        let positions: SmallVec<[u64; 1]> = appended.positions().map(records::place).collect();
        let frame = FrameEnd { opening: self.opening, end: appended.end.as_u64() };
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
            let (matched, reached) = (Some(matched), Reached::Os);
            receipts.push(Receipt { id, matched, reached, frame });
        }
        self.count(counted - wanted);
        self.wake_for(&appended, entries);
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

    /// Adds to the count of unsettled deliveries, if anybody asks for it; what it was before comes back.
    fn count(&self, change: i64) -> i64 {
        if self.context.max_size == UNBOUNDED {
            return 0;
        }
        self.unsettled.fetch_add(change, Ordering::Relaxed) // [relaxed]
    }

    fn write(&self, entries: &Entries) -> Result<Appended, Refusal> {
        let now_ns = self.context.clock.now_ns();
        let heads: SmallVec<[Head; 1]> =
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

    /// The oldest held messages that match, `count` at most. Reads the log from its start.
    fn peek_held(&self, filter: &Filter, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let mut found = Vec::new();
        let held = |entry: &Arc<Entry>| !entry.is_claimed() && entry.published() > 0;
        let wanted: BTreeMap<u32, Arc<Entry>> = (self.topics.all().into_iter())
            .filter(|entry| held(entry) && filter.matches(&entry.topic))
            .map(|entry| (entry.number, entry))
            .collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        // Held messages are retained, and this may read them.
        let _kept = self.keeping.hold();
        let mut reader = self.log.reader(self.log.start());
        while found.len() < count {
            let record = reader.next().map_err(|error| storage("read the log", error))?;
            let Some(record) = record else { break };
            let entry = wanted.get(&record.topic());
            let entry =
                entry.filter(|entry| entry.purged_before() <= records::place(record.position()));
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
            sync_is_real: self.shared.log.file_system().sync_is_real(),
        }
    }

    fn publish(&self, topic: &str, message: Message) -> Result<Receipt, PublishError<Message>> {
        if let Err(reason) = message.check(self.shared.context.payload_bytes_max) {
            return Err(PublishError::TooLarge { message, reason });
        }
        let entry = match self.shared.when_room(|| self.shared.public_topic(topic)) {
            Ok(entry) => entry,
            Err(refusal) => return Err(refusal.with(message)),
        };
        let mut entries: Entries = smallvec![(entry, message)];
        match self.shared.when_room(|| self.shared.accept(&entries)) {
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
        let public_topic = |topic: &Topic| self.shared.public_topic(topic.as_str());
        let known = batch.iter().map(|(topic, _)| self.shared.when_room(|| public_topic(topic)));
        let known: Vec<_> = match known.collect::<Result<_, _>>() {
            Ok(known) => known,
            Err(refusal) => return Err(refusal.with(batch)),
        };
        let messages = batch.into_entries().into_iter().map(|(_, message)| message);
        let entries: Entries = known.into_iter().zip(messages).collect();
        match self.shared.when_room(|| self.shared.accept(&entries)) {
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

    fn sources(&self) -> Vec<Arc<dyn Source>> {
        let state = self.shared.state.lock();
        let sources = state.subscriptions.values();
        sources.map(|source| Arc::clone(source) as Arc<dyn Source>).collect()
    }

    fn purge(&self, filter: &Filter) -> Result<u64, QueueError> {
        self.shared.purge(filter)
    }

    fn storage(&self) -> Option<StorageStats> {
        Some(self.shared.storage_stats())
    }

    fn sync(&self) -> Result<(), QueueError> {
        self.shared.write_settlements()?;
        self.shared.log.sync().map(drop).map_err(not_synced)
    }

    fn wait_durable(&self, receipt: &Receipt) -> Result<(), QueueError> {
        let end = self.shared.end_of(receipt)?;
        self.shared.log.wait_durable(end).map_err(not_synced)
    }

    #[cfg(feature = "async")]
    fn wait_durable_async(&self, receipt: &Receipt) -> DurableWait {
        match self.shared.end_of(receipt) {
            Ok(end) => {
                let wait = self.shared.log.wait_durable_async(end);
                Box::pin(async move { wait.await.map_err(not_synced) })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn durability(&self) -> Option<DurabilityStats> {
        let log = self.shared.log.stats();
        let (committed, durable) = (log.committed.as_u64(), log.durable.as_u64());
        Some(DurabilityStats {
            committed,
            durable,
            unsynced_bytes: committed.saturating_sub(durable),
            syncs: log.syncs,
            last_sync_age: log.last_sync_age,
            poisoned: log.poisoned.map(|failure| failure as Cause),
        })
    }

    fn backup(&self, to: &Path, progress: Progress<'_>) -> Result<Backup, QueueError> {
        self.shared.write_settlements()?;
        self.shared.log.backup(to, progress).map_err(|error| storage("copy the log", error))
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
        drop(state);
        // Publishers that wait for room.
        self.shared.context.progress.notify_all();
    }

    fn outstanding(&self, until_ns: u64) -> u64 {
        let state = self.shared.state.lock();
        let attended = state.subscriptions.values().filter(|source| source.signal().members() > 0);
        // Before the depths: a dead letter on its way into the log is in nobody's depth yet.
        let on_their_way = u64::from(self.shared.is_writing());
        on_their_way + attended.map(|source| source.outstanding(until_ns)).sum::<u64>()
    }

    fn close(&self) -> Result<(), QueueError> {
        let Some(threads) = self.linger.lock().take() else { return Ok(()) };
        self.refuse();
        let written = self.shared.write_settlements();
        {
            let state = self.shared.state.lock();
            self.shared.stage.store(CLOSED, Ordering::Release); // [P2]
            state.subscriptions.values().for_each(|source| source.seal());
        }
        self.shared.lingering.notify_all();
        self.shared.keeping.end();
        let joined = threads.writer.join().and(threads.keeper.join());
        debug_assert!(joined.is_ok(), "the queue's own threads do not panic");
        let late = self.shared.write_settlements();
        // Where it fails, the next open has more to read.
        self.shared.keep_at_the_end();
        let closed = self.shared.log.close().map_err(|error| storage("close the log", error));
        written.and(late).and(closed)
    }
}
