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
//! # Limits
//!
//! `buffer` messages a subscription, `max_size` deliveries the queue, both from the configuration.

mod line;
mod source;

use crate::error::{PublishError, QueueError, TopicError};
use crate::message::{Envelope, Message, MessageId, Topic};
#[cfg(feature = "async")]
use crate::queue::DurableWait;
use crate::queue::credits::Credits;
use crate::queue::refusal::Refusal;
use crate::queue::routes::{self, Filter, TOPICS_MAX, TopicEntry, Topics};
use crate::queue::{
    Batch, Capabilities, Context, DEAD_LETTERS, DurabilityStats, FrameEnd, Queue, QueueDepth,
    Reached, Receipt, SUBSCRIPTIONS_MAX, Source, Start, Subscription, SubscriptionDepth,
};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use smallvec::{SmallVec, smallvec};
use source::MemorySource;
use std::collections::{BTreeMap, VecDeque};

type Entry = TopicEntry<MemorySource>;
/// One message is the usual batch: it costs no allocation.
type Entries = SmallVec<[(Arc<Entry>, Message); 1]>;
type Plans = SmallVec<[Plan; 1]>;
const NOT_DURABLE: QueueError =
    QueueError::Unsupported { kind: "memory", what: "make a message durable" };

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
    /// Routes that were replaced while publishers worked with them.
    replaced: Vec<Arc<Vec<Arc<MemorySource>>>>,
}

impl State {
    fn matching(&self, topic: &Topic) -> Vec<Arc<MemorySource>> {
        let sources = self.subscriptions.values();
        sources.filter(|source| source.filter().matches(topic)).cloned().collect()
    }

    /// Gives each of `entries` the routes that are right now.
    fn reroute(&mut self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        for entry in entries {
            let replaced = entry.reroute(self.matching(&entry.topic));
            self.replaced.push(replaced);
        }
        self.replaced.retain_mut(routes::are_read);
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
        // The dead letters always find a topic (H6).
        if TOPICS_MAX <= self.topics.len() && topic.as_str() != DEAD_LETTERS {
            return Err(TopicError::TooMany { topic: topic.to_string(), max: TOPICS_MAX });
        }
        let routes = state.matching(&topic);
        let claimed = !routes.is_empty();
        Ok(self.topics.insert(topic, routes, claimed, 0))
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
                if self.credits.is_closed() {
                    // Not `Full`, or whoever tries again for that would do so for ever.
                    return Err((Refusal::Closed, entries));
                }
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
            if source.credits().take(1).is_err() {
                wanted().take(taken).for_each(|source| source.credits().give(1));
                self.credits.give(deliveries);
                if self.credits.is_closed() {
                    // Whoever closes waits for all that was on its way, and this is not any more.
                    self.context.progress.notify_all();
                }
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
        let first = self.next.fetch_add(count, Ordering::Relaxed); // [relaxed] only uniqueness is asked of it
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
            let (reached, frame) = (Reached::Memory, FrameEnd::NOWHERE);
            receipts.push(Receipt { id, matched, reached, frame });
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
            if source.credits().take(1).is_err() {
                plans[0].sources()[..taken].iter().for_each(|source| source.credits().give(1));
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
            sync_is_real: false,
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
                let back =
                    entries.into_iter().map(|(entry, message)| (entry.topic.clone(), message));
                Err(refusal.with(back.collect()))
            }
        }
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Source>, QueueError> {
        let (filter, name, start) = subscription.parts()?;
        if start != Start::Latest {
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
        source.signal().join();
        Ok(source)
    }

    fn unsubscribe(&self, name: &str) -> Result<Arc<dyn Source>, QueueError> {
        let mut state = self.shared.state.lock();
        let Some(source) = state.subscriptions.remove(name) else {
            return Err(QueueError::NoSubscription { name: name.to_owned() });
        };
        let all = self.shared.topics.all().into_iter();
        state.reroute(all.filter(|entry| source.filter().matches(&entry.topic)));
        source.end();
        Ok(source)
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
            name: source.name().to_owned(),
            filter: source.filter().to_string(),
            members: source.signal().members(),
            depth: source.depth(),
        });
        QueueDepth { held: state.held.len() as u64, subscriptions: subscriptions.collect() }
    }

    fn sources(&self) -> Vec<Arc<dyn Source>> {
        let state = self.shared.state.lock();
        let sources = state.subscriptions.values();
        sources.map(|source| Arc::clone(source) as Arc<dyn Source>).collect()
    }

    fn sync(&self) -> Result<(), QueueError> {
        Ok(())
    }

    fn wait_durable(&self, _receipt: &Receipt) -> Result<(), QueueError> {
        Err(NOT_DURABLE)
    }

    #[cfg(feature = "async")]
    fn wait_durable_async(&self, _receipt: &Receipt) -> DurableWait {
        Box::pin(std::future::ready(Err(NOT_DURABLE)))
    }

    fn durability(&self) -> Option<DurabilityStats> {
        None
    }

    fn backup(
        &self,
        _to: &std::path::Path,
        _progress: crate::log::Progress<'_>,
    ) -> Result<crate::log::Backup, QueueError> {
        let kind = self.capabilities().kind;
        Err(QueueError::Unsupported { kind, what: "be copied to a directory" })
    }

    fn refuse(&self) {
        self.shared.credits.close();
        // A publisher that has its credits works with routes, or under the lock: once those routes are let go, every
        // message that was accepted is in its subscriptions. Who takes up the new ones is refused.
        let in_use = {
            let mut state = self.shared.state.lock();
            let all = self.shared.topics.all().into_iter();
            let replaced = all.map(|entry| entry.reroute(Vec::clone(&entry.routes.load())));
            let in_use: Vec<_> =
                std::mem::take(&mut state.replaced).into_iter().chain(replaced).collect();
            in_use
        };
        in_use.into_iter().for_each(routes::wait_for_readers);
        let state = self.shared.state.lock();
        state.subscriptions.values().for_each(|source| source.complete());
        state.subscriptions.values().for_each(|source| source.signal().notify_all());
    }

    fn outstanding(&self, until_ns: u64) -> u64 {
        let state = self.shared.state.lock();
        // The queue's count comes first: it only grows smaller once the queue is closed. What is settled between the two
        // looks is then missing from what is taken away, and the answer too large, never too small.
        let count = self.shared.credits.count();
        let elsewhere =
            state.subscriptions.values().map(|source| match source.signal().members() {
                0 => source.credits().count(),
                _ => source.due_after(until_ns),
            });
        let elsewhere: u64 = elsewhere.sum();
        count.saturating_sub(elsewhere + state.held.len() as u64)
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
        let source = Arc::new(MemorySource::new(self, name.clone(), filter, mine));
        state.subscriptions.insert(name, Arc::clone(&source));
        let all = self.topics.all().into_iter();
        let matching: Vec<_> = all.filter(|entry| source.filter().matches(&entry.topic)).collect();
        matching.iter().for_each(|entry| entry.claim());
        state.reroute(matching);
        source
    }
}
