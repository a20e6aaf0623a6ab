//! The seam between the engine and the kinds of queue: what a queue can do, and what it hands out.
//!
//! A [`Queue`] takes messages and keeps subscriptions; a [`Source`] is one subscription's end of it. The engine knows
//! these two and no kind. Above them, a [`Delivery`] is a message in somebody's hands: settled by value, so it cannot
//! be settled twice, and dropping it unsettled is a failed attempt.
//!
//! ```text
//!   publish ──> Queue ── routes ──> Source ── pull ──> Delivery ── handler
//!                                     ^                   │
//!                                     └──── settle ───────┘   ack | fail | retry | dead letter | release
//! ```
//!
//! What to do about a failed attempt is not decided here: a [`Policy`], a pure function that the engine brings,
//! answers with another attempt or the dead letters. Dead letters are messages of the topic [`DEAD_LETTERS`], with
//! reason, attempts and origin in their headers. A message of that topic is never dead-lettered again, it is tried on.

pub(crate) mod backlog;
pub(crate) mod checkpoint;
pub(crate) mod credits;
pub(crate) mod exceptions;
pub(crate) mod gate;
pub(crate) mod lost;
pub(crate) mod memory;
pub(crate) mod persistent;
mod receipt;
pub(crate) mod records;
pub(crate) mod refusal;
pub(crate) mod replay;
pub(crate) mod routes;
mod subscription;
pub(crate) mod waking;
pub(crate) mod window;

pub use subscription::{Start, Subscription};

use crate::clock::Clock;
use crate::error::{PublishError, QueueError, TooLarge, TopicError};
use crate::event::EventCount;
use crate::log::{Backup, Progress};
use crate::message::{Envelope, Message, Topic};
use crate::metrics::{Event, Flow, Recorder, Times};
use crate::sync::{Arc, AtomicUsize, OnceLock, Ordering};
use persistent::StorageStats;
pub(crate) use receipt::FrameEnd;
pub use receipt::{Durability, DurabilityStats, Reached, Receipt};
use routes::Filter;
use std::fmt;
use std::ops::Deref;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::time::Duration;

/// The topic that dead letters are published under.
pub const DEAD_LETTERS: &str = "$dead";
/// The filter of topics whose names are lost: where a [`repair`](crate::log::repair()) could not save the record that
/// made a topic, its messages are kept under `$lost.N`, `N` being the topic's number, and held until somebody subscribes.
/// Whoever publishes to the old name makes a new topic.
pub const LOST_TOPICS: &str = "$lost.>";
/// How many messages a batch may have.
pub const BATCH_MAX: usize = 4_096;
/// How many subscriptions a queue may have.
pub const SUBSCRIPTIONS_MAX: usize = 1_024;
/// The longest name of a subscription, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// How many bytes of a failure's reason a dead letter keeps.
pub const REASON_BYTES_MAX: usize = 1_024;
/// What a dead letter may be larger than the message it was, in bytes: reason, origin, attempts.
pub(crate) const DEAD_LETTER_BYTES_ADDED: usize = 4_096;
const _: () = assert!(DEAD_LETTER_BYTES_ADDED > REASON_BYTES_MAX + 3 * NAME_BYTES_MAX + 1_024);

/// Header of a dead letter: why its last attempt failed.
pub const HEADER_REASON: &str = "millstream-reason";
/// Header of a dead letter: how many attempts there were.
pub const HEADER_ATTEMPTS: &str = "millstream-attempts";
/// Header of a dead letter: the topic it was published under.
pub const HEADER_ORIGIN_TOPIC: &str = "millstream-origin-topic";
/// Header of a dead letter: the subscription that gave it up.
pub const HEADER_ORIGIN_SUBSCRIPTION: &str = "millstream-origin-subscription";
/// Header of a dead letter: the id that it had.
pub const HEADER_ORIGIN_ID: &str = "millstream-origin-id";

/// Messages that are published together: all of them, or none.
///
/// ```
/// # fn main() -> Result<(), millstream::TopicError> {
/// use millstream::Batch;
/// let batch = Batch::new().with("orders.new", "7")?.with("audit", "order 7")?;
/// assert_eq!(batch.len(), 2);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    entries: Vec<(Topic, Message)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// The batch with one more message.
    ///
    /// # Errors
    ///
    /// `topic` is none.
    pub fn with(mut self, topic: &str, message: impl Into<Message>) -> Result<Self, TopicError> {
        self.push(Topic::new(topic)?, message);
        Ok(self)
    }

    /// Adds a message.
    pub fn push(&mut self, topic: Topic, message: impl Into<Message>) {
        self.entries.push((topic, message.into()));
    }

    /// How many messages it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The messages with their topics, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, &Message)> {
        self.entries.iter().map(|(topic, message)| (topic, message))
    }

    /// The messages with their topics, taken out.
    pub fn into_entries(self) -> Vec<(Topic, Message)> {
        self.entries
    }

    /// Is each message, and their number, within the limits?
    pub(crate) fn check(&self, payload_bytes_max: usize) -> Result<(), TooLarge> {
        if self.len() > BATCH_MAX {
            return Err(TooLarge::Batch { count: self.len(), max: BATCH_MAX });
        }
        self.iter().try_for_each(|(_, message)| message.check(payload_bytes_max))
    }
}

impl<M: Into<Message>> FromIterator<(Topic, M)> for Batch {
    fn from_iter<I: IntoIterator<Item = (Topic, M)>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().map(|(topic, message)| (topic, message.into())).collect(),
        }
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// It was handled.
    Ack,
    /// The attempt failed; the retry policy decides what follows.
    Fail {
        /// Why it failed.
        reason: String,
    },
    /// The attempt failed; if another is allowed, it comes after this time.
    Retry {
        /// How long to wait.
        after: Duration,
    },
    /// No further attempt: to the dead letters.
    DeadLetter {
        /// Why.
        reason: String,
    },
    /// Given back unhandled: it comes again at once, and this was no attempt.
    Release,
}

/// A failed attempt, as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// The attempt that failed, from 1.
    pub(crate) attempt: u32,
    /// How many retries the message itself allows.
    pub(crate) retries_max: Option<u32>,
    /// The delay that was asked for.
    pub(crate) after: Option<Duration>,
    /// Is it a dead letter already?
    pub(crate) dead_letter: bool,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    Retry { after: Duration },
    DeadLetter,
}

/// Outcome and attempt to ruling: pure.
pub(crate) trait Policy: Send + Sync {
    fn rule(&self, failure: &Failure) -> Ruling;
    /// The delay for a message that has nowhere else to go.
    fn delay_max(&self) -> Duration;
}

/// What every part of a queue shares: time, records, policy, limits.
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) policy: Box<dyn Policy>,
    /// Unsettled messages a subscription.
    pub(crate) buffer: usize,
    /// Unsettled deliveries in the whole queue.
    pub(crate) max_size: u64,
    pub(crate) payload_bytes_max: usize,
    /// Dead letters that a memory queue holds for the first subscription to come.
    pub(crate) dead_letters_max: usize,
    /// Refuse, not drop, what is published after all subscriptions of its topic have gone.
    pub(crate) refuse_unrouted: bool,
    /// Told at each settlement: whoever closes the queue waits for it to drain.
    pub(crate) progress: EventCount,
}

impl Context {
    /// What a settlement comes to, once the policy has ruled; the counters are kept here.
    fn resolve(&self, envelope: &Envelope, lease: &Lease, settlement: Settlement) -> Resolved {
        let count = |event| self.recorder.count(lease.shard, event, 1);
        let (after, reason) = match settlement {
            Settlement::Ack => {
                count(Event::Settled);
                return Resolved::Ack;
            }
            Settlement::Release => return Resolved::Release,
            Settlement::DeadLetter { reason } => {
                count(Event::Failed);
                let allowed = envelope.topic().as_str() != DEAD_LETTERS;
                let due_ns = self.try_on_ns();
                return if allowed {
                    Resolved::Dead { reason }
                } else {
                    Resolved::Retry { due_ns }
                };
            }
            Settlement::Fail { reason } => (None, reason),
            Settlement::Retry { after } => (Some(after), "retried on demand too often".to_owned()),
        };
        count(Event::Failed);
        let dead_letter = envelope.topic().as_str() == DEAD_LETTERS;
        let (attempt, retries_max) = (lease.attempt, envelope.retries_max());
        match self.policy.rule(&Failure { attempt, retries_max, after, dead_letter }) {
            Ruling::Retry { after } => {
                count(Event::Retried);
                Resolved::Retry { due_ns: self.due_ns(after) }
            }
            Ruling::DeadLetter => Resolved::Dead { reason },
        }
    }

    /// When a message that should go to the dead letters and cannot is tried again: later, and never lost.
    fn try_on_ns(&self) -> u64 {
        self.due_ns(self.policy.delay_max())
    }

    fn due_ns(&self, after: Duration) -> u64 {
        self.clock.now_ns().saturating_add(crate::clock::saturating_ns(after))
    }
}

/// A settlement after the policy has ruled.
#[derive(Debug, PartialEq, Eq)]
enum Resolved {
    Ack,
    Release,
    Retry { due_ns: u64 },
    Dead { reason: String },
}

/// The dead letter that `envelope` becomes.
fn dead_letter(envelope: &Envelope, subscription: &str, attempts: u32, reason: &str) -> Message {
    let kept =
        (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|&at| reason.is_char_boundary(at));
    envelope
        .clone()
        .into_message()
        .header(HEADER_REASON, &reason[..kept.unwrap_or(0)])
        .header(HEADER_ATTEMPTS, attempts.to_string())
        .header(HEADER_ORIGIN_TOPIC, envelope.topic().as_str())
        .header(HEADER_ORIGIN_SUBSCRIPTION, subscription)
        .header(HEADER_ORIGIN_ID, envelope.id().to_string())
}

/// How many messages stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Waiting to be delivered.
    pub ready: u64,
    /// In somebody's hands.
    pub in_flight: u64,
    /// Waiting for the time of their next attempt.
    pub delayed: u64,
}

impl Depth {
    /// All that is unsettled.
    pub fn total(&self) -> u64 {
        self.ready + self.in_flight + self.delayed
    }
}

/// One subscription and its depth.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionDepth {
    /// The name.
    pub name: String,
    /// The filter.
    pub filter: String,
    /// How many members it has in this process.
    pub members: usize,
    /// How many messages stand where.
    pub depth: Depth,
}

/// What a queue holds.
///
/// Exact when nobody is writing. A persistent message that is published while another writer, a worker with settlements
/// say, is between the reservation of its place and the end of its write stands behind that one: it is counted, and comes,
/// when that write is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDepth {
    /// Messages held because no subscription has ever matched their topic.
    pub held: u64,
    /// Each subscription.
    pub subscriptions: Vec<SubscriptionDepth>,
}

impl QueueDepth {
    /// All that is unsettled, held or in a subscription.
    pub fn total(&self) -> u64 {
        self.held + self.subscriptions.iter().map(|each| each.depth.total()).sum::<u64>()
    }
}

/// What a kind of queue can do beyond what all kinds do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `memory` or `persistent`.
    pub kind: &'static str,
    /// Messages and subscriptions survive the process.
    pub outlives_process: bool,
    /// Messages stay readable after they are settled, so a subscription may start with the earliest.
    pub retains: bool,
    /// A subscription that is full refuses the publish. Where this is false the disk limit does.
    pub bounded_by_buffer: bool,
    /// Does a receipt that promises the disk mean one? False in memory, and where a sync does nothing (tmpfs), or nobody
    /// knows what (overlay, FUSE, a network).
    pub sync_is_real: bool,
}

/// A task's wait for durability.
#[cfg(feature = "async")]
pub(crate) type DurableWait = Pin<Box<dyn Future<Output = Result<(), QueueError>> + Send>>;

/// A kind of queue. The engine is its only caller.
pub(crate) trait Queue: Send + Sync {
    fn capabilities(&self) -> Capabilities;
    /// Takes one message for every matching subscription, or refuses it for all.
    fn publish(&self, topic: &str, message: Message) -> Result<Receipt, PublishError<Message>>;
    /// Takes all messages of the batch, or none.
    fn publish_batch(&self, batch: Batch) -> Result<Vec<Receipt>, PublishError<Batch>>;
    /// The subscription's source, made if there is none of that name. The caller is a member from here on.
    fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Source>, QueueError>;
    /// Ends the subscription and its backlog. Its source comes back, which is over.
    fn unsubscribe(&self, name: &str) -> Result<Arc<dyn Source>, QueueError>;
    /// The oldest messages that wait for delivery and match, each once; nothing is removed.
    fn peek(&self, filter: &Filter, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError>;
    fn depth(&self) -> QueueDepth;
    /// Every subscription.
    fn sources(&self) -> Vec<Arc<dyn Source>>;
    /// Drops everything unsettled and held that was published to topics that `filter` matches. How much comes back.
    fn purge(&self, filter: &Filter) -> Result<u64, QueueError> {
        let _ = filter;
        let kind = self.capabilities().kind;
        Err(QueueError::Unsupported { kind, what: "purge" })
    }
    /// What there is to say about its files, if it has any.
    fn storage(&self) -> Option<StorageStats> {
        None
    }
    /// Makes everything accepted and settled so far as durable as the kind can.
    fn sync(&self) -> Result<(), QueueError>;
    /// Returns when the message that the receipt is for is durable.
    fn wait_durable(&self, receipt: &Receipt) -> Result<(), QueueError>;
    /// The same for a task.
    #[cfg(feature = "async")]
    fn wait_durable_async(&self, receipt: &Receipt) -> DurableWait;
    /// How far everything is durable, for a kind that knows.
    fn durability(&self) -> Option<DurabilityStats>;
    /// Copies it to a new directory.
    fn backup(&self, to: &std::path::Path, progress: Progress<'_>) -> Result<Backup, QueueError>;
    /// From now on a publish is refused as closed. Returns when every one that was accepted has arrived: what
    /// [`Queue::depth`] tells afterwards misses none.
    fn refuse(&self);
    /// How many accepted messages are not settled yet in subscriptions that have members here, without those whose
    /// next attempt is due after `until_ns`.
    fn outstanding(&self, until_ns: u64) -> u64;
    /// The last step: settlements are written, sources end. Deliveries still out can no longer be settled.
    fn close(&self) -> Result<(), QueueError>;
}

/// One subscription's deliveries. Dispatcher and subscribers are built on it.
pub(crate) trait Source: Send + Sync {
    fn name(&self) -> &str;
    fn context(&self) -> &Context;
    fn signal(&self) -> &Signal;
    /// Where its traffic is counted.
    fn flow(&self) -> &Flow;
    /// The next message, if one is ready.
    fn pull(&self) -> Result<Option<Leased>, QueueError>;
    fn settle(
        &self,
        envelope: &Arc<Envelope>,
        lease: &Lease,
        to: Settlement,
    ) -> Result<(), QueueError>;
    /// The worker with that shard, from 1, begins to handle the delivery: kinds that outlive the process note it.
    fn taken(&self, _lease: &Lease, _since_ns: u64) {}
    /// It has handled it, and has nothing in hand.
    fn laid_down(&self, _lease: &Lease) {}
    /// Is there, as far as a quick look tells, another message to pull?
    fn has_more(&self) -> bool;
    /// How many messages there are to pull, as far as a look tells that reads nothing from a disk.
    fn backlog(&self) -> u64;
    /// When the earliest delayed message is due.
    fn next_due_ns(&self) -> Option<u64>;
    /// Will it never deliver again?
    fn is_over(&self) -> bool;
}

/// A message on its way out of a source.
pub(crate) struct Leased {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) lease: Lease,
}

/// What a source knows of a delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    /// Its place in the subscription: of the ring, or of the log.
    pub(crate) place: u64,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// May it have been delivered before?
    pub(crate) redelivered: bool,
    /// The shard of the recorder that this delivery is counted in.
    pub(crate) shard: usize,
}

/// How a subscription's waiting members are told that a message may be ready.
#[derive(Default)]
pub(crate) struct Signal {
    parked: EventCount,
    dispatcher: OnceLock<Box<dyn Fn(usize) + Send + Sync>>,
    members: AtomicUsize,
}

impl Signal {
    /// Tells it of `messages` more.
    pub(crate) fn notify(&self, messages: usize) {
        self.parked.notify(messages);
        if let Some(dispatch) = self.dispatcher.get() {
            dispatch(messages);
        }
    }

    /// Tells everybody to look again.
    pub(crate) fn notify_all(&self) {
        self.parked.notify_all();
        if let Some(dispatch) = self.dispatcher.get() {
            dispatch(usize::MAX);
        }
    }

    /// What blocking subscribers sleep on.
    pub(crate) fn parked(&self) -> &EventCount {
        &self.parked
    }

    /// Connects the dispatcher; once for a source.
    pub(crate) fn connect(&self, dispatch: Box<dyn Fn(usize) + Send + Sync>) {
        let first = self.dispatcher.set(dispatch).is_ok();
        debug_assert!(first, "a source is connected once");
    }

    pub(crate) fn join(&self) {
        self.members.fetch_add(1, Ordering::Relaxed); // [relaxed] a count, changed under the engine's lock
    }

    pub(crate) fn leave(&self) {
        self.members.fetch_sub(1, Ordering::Relaxed); // [relaxed] a count
    }

    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed) // [relaxed] a count
    }
}

/// A message in a handler's or a subscriber's hands.
///
/// While it lives, nobody else of its subscription gets the message. Handlers see it by reference and say what
/// becomes of it by what they return. A delivery that was pulled is settled by value: [`ack`](Self::ack),
/// [`retry`](Self::retry), [`dead_letter`](Self::dead_letter), [`release`](Self::release). Dropped unsettled, it is a
/// failed attempt. Everything of the [`Envelope`] can be read on it.
pub struct Delivery {
    leased: Leased,
    source: Arc<dyn Source>,
    started_ns: u64,
    /// How long its message came after the one before, where that is known.
    gap_ns: Option<u64>,
    settled: bool,
}

impl Delivery {
    /// The source's next message as a delivery, counted in `shard`.
    pub(crate) fn pull(source: &Arc<dyn Source>, shard: usize) -> Result<Option<Self>, QueueError> {
        let Some(mut leased) = source.pull()? else { return Ok(None) };
        leased.lease.shard = shard;
        source.context().recorder.count(shard, Event::Delivered, 1);
        let (flow, arrival_ns) = (source.flow(), leased.envelope.accepted_ns);
        let counts = flow.counts(arrival_ns, leased.lease.attempt);
        let gap_ns = if counts { flow.gap_ns(arrival_ns) } else { None };
        let started_ns = source.context().clock.now_ns();
        if shard > 0 {
            source.taken(&leased.lease, started_ns);
        }
        Ok(Some(Self { leased, source: Arc::clone(source), started_ns, gap_ns, settled: false }))
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.leased.lease.attempt
    }

    /// May the message have been delivered before: retried, or in hands when a process died?
    pub fn redelivered(&self) -> bool {
        self.leased.lease.redelivered
    }

    /// The subscription that it came from.
    pub fn subscription(&self) -> &str {
        self.source.name()
    }

    /// The message was handled.
    ///
    /// # Errors
    ///
    /// The settlement could not be kept: the queue is closed, or its storage failed. Unless the storage takes it later,
    /// the message comes again after the queue is opened the next time.
    pub fn ack(self) -> Result<(), QueueError> {
        self.settle(Settlement::Ack)
    }

    /// The attempt failed; if another is allowed, it comes after this time.
    ///
    /// # Errors
    ///
    /// As [`Delivery::ack`].
    pub fn retry(self, after: Duration) -> Result<(), QueueError> {
        self.settle(Settlement::Retry { after })
    }

    /// No further attempt: to the dead letters.
    ///
    /// # Errors
    ///
    /// As [`Delivery::ack`].
    pub fn dead_letter(self, reason: impl Into<String>) -> Result<(), QueueError> {
        self.settle(Settlement::DeadLetter { reason: reason.into() })
    }

    /// Gives it back unhandled: it comes again at once, and this was no attempt.
    ///
    /// # Errors
    ///
    /// As [`Delivery::ack`].
    pub fn release(self) -> Result<(), QueueError> {
        self.settle(Settlement::Release)
    }

    /// Says what becomes of it.
    ///
    /// # Errors
    ///
    /// As [`Delivery::ack`].
    pub fn settle(mut self, settlement: Settlement) -> Result<(), QueueError> {
        self.finish(settlement)
    }

    fn finish(&mut self, settlement: Settlement) -> Result<(), QueueError> {
        self.settled = true;
        let context = self.source.context();
        let Leased { envelope, lease } = &self.leased;
        if settlement != Settlement::Release {
            let times = Times {
                arrival_ns: envelope.accepted_ns,
                start_ns: self.started_ns,
                end_ns: context.clock.now_ns(),
            };
            let (recorder, flow) = (&context.recorder, self.source.flow());
            recorder.record_in(lease.shard, flow, times, lease.attempt, self.gap_ns);
        }
        let outcome = self.source.settle(envelope, lease, settlement);
        if lease.shard > 0 {
            self.source.laid_down(lease);
        }
        context.progress.notify_all();
        outcome
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            let reason = "dropped without being settled".to_owned();
            // The error, if there is one, is the storage's, and the storage tells the next publish.
            let _ = self.finish(Settlement::Fail { reason });
        }
    }
}

impl Deref for Delivery {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.leased.envelope
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Delivery")
            .field("envelope", &self.leased.envelope)
            .field("attempt", &self.attempt())
            .field("subscription", &self.subscription())
            .finish_non_exhaustive()
    }
}
