//! The memory kind: a ring per subscription, credits in front of it, and nothing that survives the process.
//!
//! ```text
//!  publish ─> queue credits ─> a credit of each matching subscription ─> push into its ring ─> signal
//!             (closed here)     (full: all are given back, nobody got it)
//!  pull    ─> what is due in the exceptions, else pop the ring
//!  settle  ─> ack: credits back   retry: exceptions, due later   dead letter: published again under `$dead`
//! ```
//!
//! A credit is held from publish to settlement, and a ring has as many entries as its subscription has credits: who
//! holds a credit finds room in the ring, and a retry never has to look for any.
//!
//! Messages of a topic that no subscription has ever matched are *held*, in order, and go to the first one that
//! does. They share one allowance, `buffer`; held dead letters have one of their own. Publishing to such a topic
//! takes the queue's lock; where somebody subscribes, no lock is taken.
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
//!
//! `earliest` needs no more than [M1] for the swap above: the peek's store is sequenced before its pop, and the pop
//! of a higher place reads what that pop released in the ring.
//!
//! # Limits
//!
//! `buffer` messages a subscription, `max_size` deliveries the queue, both from the configuration.

use super::credits::{Credits, NoRoom};
use super::exceptions::{AT_ONCE, Exceptions};
use super::routes::{Filter, TOPICS_MAX, TopicEntry, Topics};
use super::{
    Batch, Capabilities, Context, DEAD_LETTERS, Depth, Lease, Leased, Queue, QueueDepth, Reached,
    Receipt, Resolved, SUBSCRIPTIONS_MAX, Settlement, Signal, Source, Start, Subscription,
    SubscriptionDepth, dead_letter,
};
use crate::error::{PublishError, QueueError, TopicError};
use crate::message::{Envelope, Message, MessageId, Topic};
use crate::metrics::Event;
use crate::ring::swap::Ring;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Weak};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, VecDeque};

const NEVER: u64 = u64::MAX;

type Entry = TopicEntry<MemorySource>;
/// One message is the usual batch: it costs no allocation.
type Entries = SmallVec<[(Arc<Entry>, Message); 1]>;
type Plans = SmallVec<[Plan; 1]>;
type Receipts = SmallVec<[Receipt; 1]>;

/// A queue in this process's memory.
pub(crate) struct MemoryQueue {
    shared: Arc<Shared>,
}

struct Shared {
    context: Arc<Context>,
    incarnation: u64,
    /// The next message's position.
    next: AtomicU64,
    /// Every unsettled delivery and every held message.
    credits: Arc<Credits>,
    topics: Topics<MemorySource>,
    state: Mutex<State>,
}

/// What changes when topics and subscriptions come and go. Publishers take it only where nobody subscribes.
#[derive(Default)]
struct State {
    subscriptions: BTreeMap<String, Arc<MemorySource>>,
    /// Messages of topics that no subscription has ever matched, in the order of their publishing.
    held: VecDeque<Arc<Envelope>>,
    held_dead: usize,
    /// How many unnamed subscriptions there were.
    unnamed: u64,
}

impl State {
    fn matching(&self, topic: &Topic) -> Vec<Arc<MemorySource>> {
        let sources = self.subscriptions.values();
        sources.filter(|source| source.filter.matches(topic)).cloned().collect()
    }
}

/// What is done with one message of a batch.
enum Plan {
    Deliver(Arc<Vec<Arc<MemorySource>>>),
    Hold,
    Drop,
}

impl Plan {
    /// How many of the queue's credits it needs.
    fn deliveries(&self) -> u64 {
        match self {
            Self::Deliver(sources) => sources.len() as u64,
            Self::Hold => 1,
            Self::Drop => 0,
        }
    }

    fn sources(&self) -> &[Arc<MemorySource>] {
        match self {
            Self::Deliver(sources) => sources,
            Self::Hold | Self::Drop => &[],
        }
    }
}

/// Why nothing was accepted, without the message.
enum Refusal {
    Full,
    Closed,
    Unrouted,
    Topic(TopicError),
}

impl From<NoRoom> for Refusal {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::Full => Self::Full,
            NoRoom::Closed => Self::Closed,
        }
    }
}

impl Refusal {
    fn with<M>(self, message: M) -> PublishError<M> {
        match self {
            Self::Full => PublishError::Full(message),
            Self::Closed => PublishError::Closed(message),
            Self::Unrouted => PublishError::Unrouted(message),
            Self::Topic(source) => PublishError::Topic { message, source },
        }
    }
}

impl MemoryQueue {
    /// An empty queue; `incarnation` is a number that no other queue has.
    pub(crate) fn new(context: Arc<Context>, incarnation: u64) -> Self {
        let credits = Arc::new(Credits::new(context.max_size));
        let shared = Shared {
            context,
            incarnation,
            next: AtomicU64::new(1),
            credits,
            topics: Topics::new(),
            state: Mutex::new(State::default()),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// The topic, made if it is new.
    fn topic(&self, name: &str) -> Result<Arc<Entry>, TopicError> {
        if let Some(entry) = self.topics.get(name) {
            return Ok(entry);
        }
        let topic = Topic::new(name)?;
        self.topic_under(&self.state.lock(), topic)
    }

    /// The same while the caller has the lock, which makes it the only one to make topics (H1).
    fn topic_under(&self, state: &State, topic: Topic) -> Result<Arc<Entry>, TopicError> {
        if let Some(entry) = self.topics.get(topic.as_str()) {
            return Ok(entry);
        }
        if self.topics.len() == TOPICS_MAX {
            return Err(TopicError::TooMany { topic: topic.to_string(), max: TOPICS_MAX });
        }
        let routes = state.matching(&topic);
        let claimed = !routes.is_empty();
        Ok(self.topics.insert(topic, routes, claimed))
    }

    /// A topic that a user may publish to.
    fn public_topic(&self, name: &str) -> Result<Arc<Entry>, TopicError> {
        if name.starts_with('$') {
            return Err(TopicError::Reserved { topic: name.to_owned() });
        }
        self.topic(name)
    }

    /// Accepts all of `entries`, or none.
    fn accept(&self, entries: Entries) -> Result<Receipts, (Refusal, Entries)> {
        let routed = |(entry, _): &(Arc<Entry>, Message)| {
            let routes = entry.routes.load_full();
            (!routes.is_empty()).then_some(Plan::Deliver(routes))
        };
        let plans: Option<Plans> = entries.iter().map(routed).collect();
        let outcome = match plans {
            Some(plans) => self.reserve(&plans).map(|()| (plans, None)),
            None => {
                let state = self.state.lock();
                let plans: Result<Plans, Refusal> =
                    entries.iter().map(|(entry, _)| self.plan(entry)).collect();
                plans.and_then(|plans| {
                    self.check_held(&state, &entries, &plans)?;
                    self.reserve(&plans).map(|()| (plans, Some(state)))
                })
            }
        };
        match outcome {
            Ok((plans, state)) => Ok(self.deliver(entries, &plans, state)),
            Err(refusal) => Err((refusal, entries)),
        }
    }

    /// What to do with a message of this topic; the caller has the lock.
    fn plan(&self, entry: &Entry) -> Result<Plan, Refusal> {
        let routes = entry.routes.load_full();
        match (routes.is_empty(), entry.is_claimed(), self.context.refuse_unrouted) {
            (false, _, _) => Ok(Plan::Deliver(routes)),
            (true, false, _) => Ok(Plan::Hold),
            (true, true, false) => Ok(Plan::Drop),
            (true, true, true) => Err(Refusal::Unrouted),
        }
    }

    /// Is there an allowance for all that would be held?
    fn check_held(&self, state: &State, entries: &Entries, plans: &[Plan]) -> Result<(), Refusal> {
        let held = |dead: bool| {
            let both = entries.iter().zip(plans);
            let wanted = both.filter(|((entry, _), plan)| {
                matches!(plan, Plan::Hold) && (entry.topic.as_str() == DEAD_LETTERS) == dead
            });
            wanted.count()
        };
        let room = self.context.buffer.saturating_sub(state.held.len() - state.held_dead);
        let room_dead = self.context.dead_letters_max.saturating_sub(state.held_dead);
        let fits = held(false) <= room && held(true) <= room_dead;
        if fits { Ok(()) } else { Err(Refusal::Full) }
    }

    /// Takes every credit that `plans` need, or none. The queue's come first: whoever closes it then sees in them
    /// each message that is on its way.
    fn reserve(&self, plans: &[Plan]) -> Result<(), Refusal> {
        let deliveries = plans.iter().map(Plan::deliveries).sum();
        self.credits.take(deliveries)?;
        let wanted = || plans.iter().flat_map(Plan::sources);
        for (taken, source) in wanted().enumerate() {
            if source.credits.take(1).is_err() {
                wanted().take(taken).for_each(|source| source.credits.give(1));
                self.credits.give(deliveries);
                return Err(Refusal::Full);
            }
        }
        Ok(())
    }

    /// Hands the messages on; every credit is taken, so nothing can fail any more.
    fn deliver(
        &self,
        entries: Entries,
        plans: &[Plan],
        mut state: Option<MutexGuard<'_, State>>,
    ) -> Receipts {
        let accepted_ns = self.context.clock.now_ns();
        let count = entries.len() as u64;
        // [relaxed] only uniqueness is asked of it
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let mut receipts = Receipts::with_capacity(entries.len());
        for (at, ((entry, message), plan)) in entries.into_iter().zip(plans).enumerate() {
            let id = MessageId::new(self.incarnation, first + at as u64);
            let topic = entry.topic.clone();
            let envelope = Arc::new(Envelope { id, topic, message, accepted_ns });
            plan.sources().iter().for_each(|source| source.push(Arc::clone(&envelope)));
            if let (Plan::Hold, Some(state)) = (plan, &mut state) {
                state.held_dead += usize::from(envelope.topic().as_str() == DEAD_LETTERS);
                state.held.push_back(envelope);
            }
            let matched = Some(plan.sources().len());
            receipts.push(Receipt { id, matched, reached: Reached::Memory });
        }
        receipts
    }

    /// Publishes a dead letter; it is counted in the queue's credits besides the message that it was, whose own
    /// credits go back when this succeeds.
    fn bury(&self, letter: Message) -> Result<(), Refusal> {
        let entry = self.topic(DEAD_LETTERS).map_err(Refusal::Topic)?;
        let state = self.state.lock();
        let plan = match self.plan(&entry)? {
            Plan::Drop => Plan::Hold,
            plan => plan,
        };
        let entries: Entries = smallvec![(entry, letter)];
        let plans = [plan];
        self.check_held(&state, &entries, &plans)?;
        for (taken, source) in plans[0].sources().iter().enumerate() {
            if source.credits.take(1).is_err() {
                plans[0].sources()[..taken].iter().for_each(|source| source.credits.give(1));
                return Err(Refusal::Full);
            }
        }
        self.credits.take_over(plans[0].deliveries());
        self.deliver(entries, &plans, Some(state));
        Ok(())
    }
}

impl Queue for MemoryQueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "memory",
            outlives_process: false,
            retains: false,
            bounded_by_buffer: true,
        }
    }

    fn publish(&self, topic: &str, message: Message) -> Result<Receipt, PublishError<Message>> {
        if let Err(reason) = message.check(self.shared.context.payload_bytes_max) {
            return Err(PublishError::TooLarge { message, reason });
        }
        let entry = match self.shared.public_topic(topic) {
            Ok(entry) => entry,
            Err(source) => return Err(PublishError::Topic { message, source }),
        };
        match self.shared.accept(smallvec![(entry, message)]) {
            Ok(receipts) => Ok(receipts[0]),
            Err((refusal, mut entries)) => Err(refusal.with(entries.remove(0).1)),
        }
    }

    fn publish_batch(&self, batch: Batch) -> Result<Vec<Receipt>, PublishError<Batch>> {
        if let Err(reason) = batch.check(self.shared.context.payload_bytes_max) {
            return Err(PublishError::TooLarge { message: batch, reason });
        }
        let known = batch.iter().map(|(topic, _)| self.shared.public_topic(topic.as_str()));
        let known: Vec<_> = match known.collect::<Result<_, _>>() {
            Ok(known) => known,
            Err(source) => return Err(PublishError::Topic { message: batch, source }),
        };
        let messages = batch.into_entries().into_iter().map(|(_, message)| message);
        match self.shared.accept(known.into_iter().zip(messages).collect()) {
            Ok(receipts) => Ok(receipts.into_vec()),
            Err((refusal, entries)) => {
                let back = entries.into_iter().map(|(entry, message)| (entry.topic.clone(), message));
                Err(refusal.with(back.collect()))
            }
        }
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Source>, QueueError> {
        let (filter, name, start) = subscription.parts()?;
        if start == Start::Earliest {
            let what = "start with the earliest message: what is settled is gone";
            return Err(QueueError::Unsupported { kind: "memory", what });
        }
        let mut state = self.shared.state.lock();
        if self.shared.credits.is_closed() {
            return Err(QueueError::Closed);
        }
        let name = match name {
            Some(name) => name.to_owned(),
            None => state.name_for(&filter),
        };
        if let Some(source) = state.subscriptions.get(&name) {
            return source.joined_by(&filter).map(|source| source as Arc<dyn Source>);
        }
        if state.subscriptions.len() == SUBSCRIPTIONS_MAX {
            return Err(QueueError::TooManySubscriptions { name, max: SUBSCRIPTIONS_MAX });
        }
        let source = self.shared.add(&mut state, name, filter);
        source.signal.join();
        Ok(source)
    }

    fn unsubscribe(&self, name: &str) -> Result<(), QueueError> {
        let mut state = self.shared.state.lock();
        let Some(source) = state.subscriptions.remove(name) else {
            return Err(QueueError::NoSubscription { name: name.to_owned() });
        };
        for entry in self.shared.topics.all() {
            if source.filter.matches(&entry.topic) {
                entry.routes.store(Arc::new(state.matching(&entry.topic)));
            }
        }
        source.end();
        Ok(())
    }

    fn peek(&self, filter: &Filter, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let state = self.shared.state.lock();
        let held = state.held.iter().filter(|envelope| filter.matches(envelope.topic())).cloned();
        let mut oldest: BTreeMap<MessageId, Arc<Envelope>> =
            held.take(count).map(|envelope| (envelope.id(), envelope)).collect();
        for source in state.subscriptions.values() {
            let waiting = source.peek(filter, count);
            oldest.extend(waiting.into_iter().map(|envelope| (envelope.id(), envelope)));
        }
        Ok(oldest.into_values().take(count).collect())
    }

    fn depth(&self) -> QueueDepth {
        let state = self.shared.state.lock();
        let subscriptions = state.subscriptions.values().map(|source| SubscriptionDepth {
            name: source.name.clone(),
            filter: source.filter.to_string(),
            members: source.signal.members(),
            depth: source.depth(),
        });
        QueueDepth { held: state.held.len() as u64, subscriptions: subscriptions.collect() }
    }

    fn sync(&self) -> Result<(), QueueError> {
        Ok(())
    }

    fn refuse(&self) {
        self.shared.credits.close();
        let state = self.shared.state.lock();
        state.subscriptions.values().for_each(|source| source.signal.notify_all());
    }

    fn outstanding(&self, until_ns: u64) -> u64 {
        let state = self.shared.state.lock();
        let elsewhere = state.subscriptions.values().map(|source| match source.signal.members() {
            0 => source.credits.count(),
            _ => source.exceptions.lock().due_after(until_ns) as u64,
        });
        let elsewhere: u64 = elsewhere.sum();
        // The queue's count is read last: it only grows smaller once the queue is closed.
        self.shared.credits.count().saturating_sub(elsewhere + state.held.len() as u64)
    }

    fn close(&self) -> Result<(), QueueError> {
        self.shared.credits.close();
        let state = self.shared.state.lock();
        state.subscriptions.values().for_each(|source| source.end());
        Ok(())
    }
}

impl State {
    /// A name for an unnamed subscription: nobody else has it.
    fn name_for(&mut self, filter: &Filter) -> String {
        loop {
            self.unnamed += 1;
            let name = format!("{filter}#{}", self.unnamed);
            if !self.subscriptions.contains_key(&name) {
                return name;
            }
        }
    }
}

impl Shared {
    /// Makes a subscription: first it gets what is held for it, then it is seen by publishers. Both under the lock,
    /// so nothing is lost between the two and the order holds.
    fn add(self: &Arc<Self>, state: &mut State, name: String, filter: Filter) -> Arc<MemorySource> {
        let held = std::mem::take(&mut state.held);
        let (mine, others): (VecDeque<_>, _) =
            held.into_iter().partition(|envelope| filter.matches(envelope.topic()));
        state.held = others;
        let dead = mine.iter().filter(|envelope| envelope.topic().as_str() == DEAD_LETTERS);
        state.held_dead -= dead.count();
        let source = Arc::new(MemorySource {
            context: Arc::clone(&self.context),
            queue: Arc::downgrade(self),
            queue_credits: Arc::clone(&self.credits),
            ring: Ring::new(self.context.buffer.max(mine.len())),
            credits: Credits::new(self.context.buffer.max(mine.len()) as u64),
            exceptions: Mutex::new(Exceptions::new()),
            earliest: AtomicU64::new(NEVER),
            ended: AtomicBool::new(false),
            signal: Signal::default(),
            name: name.clone(),
            filter,
        });
        source.credits.take_over(mine.len() as u64);
        mine.into_iter().for_each(|envelope| source.push(envelope));
        state.subscriptions.insert(name, Arc::clone(&source));
        for entry in self.topics.all() {
            if source.filter.matches(&entry.topic) {
                entry.claim();
                entry.routes.store(Arc::new(state.matching(&entry.topic)));
            }
        }
        source
    }
}

/// One subscription of a memory queue.
struct MemorySource {
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
    fn joined_by(self: &Arc<Self>, filter: &Filter) -> Result<Arc<Self>, QueueError> {
        if self.filter == *filter {
            self.signal.join();
            return Ok(Arc::clone(self));
        }
        let (has, asked) = (self.filter.to_string(), filter.to_string());
        Err(QueueError::FilterMismatch { name: self.name.clone(), has, asked })
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) // [M2]
    }

    /// The caller holds a credit.
    fn push(&self, envelope: Arc<Envelope>) {
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
        let popped = self.ring.pop().map(|(place, envelope)| {
            (place, Waiting { envelope, attempt: 1, redelivered: false })
        });
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
    fn end(&self) {
        let mut exceptions = self.exceptions.lock();
        self.ended.store(true, Ordering::Release); // [M2]
        let waiting = exceptions.drain().count();
        let queued = std::iter::from_fn(|| self.ring.pop()).count();
        drop(exceptions);
        (0..waiting + queued).for_each(|_| self.give());
        self.signal.notify_all();
    }

    fn peek(&self, filter: &Filter, count: usize) -> Vec<Arc<Envelope>> {
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

    fn depth(&self) -> Depth {
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

    fn settle(&self, envelope: &Arc<Envelope>, lease: &Lease, to: Settlement) -> Result<(), QueueError> {
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

    fn next_due_ns(&self) -> Option<u64> {
        let at_ns = self.earliest();
        (at_ns != NEVER).then_some(at_ns)
    }

    fn is_over(&self) -> bool {
        self.has_ended() || (self.queue_credits.is_closed() && self.credits.count() == 0)
    }
}

impl Drop for MemorySource {
    /// A publisher that saw an old snapshot may have pushed after the end: its room in the queue goes back here.
    fn drop(&mut self) {
        self.queue_credits.give(self.credits.count());
    }
}
