//! The engine: what users hold. Publishing, subscribing, looking, and the orderly end.
//!
//! ```text
//!   Engine ── publish ──> Queue (memory or persistent: the engine does not know which)
//!     │                     │ Source per subscription
//!     ├─ subscribe ──> Dispatcher: handlers on a thread pool
//!     └─ subscriber ─> Subscriber: pull, blocking
//! ```
//!
//! An [`Engine`] is a handle: cloned cheaply, used from any thread. [`Engine::close`] refuses publishes, drains until
//! its deadline, writes what was settled, and says what is left. Dropping the last handle closes without draining. A
//! handler that owns a handle of its own engine keeps it open until [`Engine::close`].

mod adaptive;
mod config;
mod crew;
mod dispatcher;
mod durable;
mod forecast;
#[cfg(test)]
mod forecast_simulated;
mod foreman;
mod retry;
mod roster;
mod subscriber;

pub use config::{BUFFER_MAX, Config, WORKERS_MAX};
pub use dispatcher::Handler;
pub use durable::Durable;
pub use forecast::{Drift, DriftCause, Forecast};
pub use subscriber::Subscriber;

use crate::error::{Cause, OpenError, PublishError, QueueError};
use crate::message::{Envelope, Message};
use crate::metrics::{Event, Rates, Snapshot};
use crate::queue::persistent::StorageStats;
use crate::queue::routes::Filter;
use crate::queue::{
    Batch, Capabilities, Context, Delivery, DurabilityStats, Queue, QueueDepth, Receipt,
    Settlement, Source, Subscription,
};
use crate::sync::{Arc, AtomicBool, Ordering, Weak};
use dispatcher::Dispatcher;
use forecast::{Forecaster, Seats};
use std::error::Error;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What a handler answers when an attempt failed: any error.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// A message queue. See the crate's page for an example.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<dyn Queue>,
    context: Arc<Context>,
    dispatcher: Dispatcher,
    workers_max: usize,
    closing: AtomicBool,
    forecaster: Forecaster,
}

impl Engine {
    /// Opens what `config` describes.
    ///
    /// # Errors
    ///
    /// As [`Config::open`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        config.open()
    }

    fn start(
        queue: Arc<dyn Queue>,
        context: Arc<Context>,
        workers: RangeInclusive<usize>,
    ) -> Result<Self, OpenError> {
        let workers_max = *workers.end();
        let dispatcher = Dispatcher::start(Arc::clone(&context), workers)
            .map_err(|source| OpenError::Thread { source: Arc::new(source) })?;
        let closing = AtomicBool::new(false);
        let forecaster = Forecaster::default();
        let inner = Inner { queue, context, dispatcher, workers_max, closing, forecaster };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Publishes a message: every matching subscription gets it, or, where one is full, none.
    ///
    /// # Errors
    ///
    /// Why it was refused, with the message: see [`PublishError`].
    pub fn publish(
        &self,
        topic: &str,
        message: impl Into<Message>,
    ) -> Result<Receipt, PublishError<Message>> {
        let outcome = self.inner.queue.publish(topic, message.into());
        self.inner.count_published(1, outcome.is_ok());
        outcome
    }

    /// Publishes all messages of the batch, or none.
    ///
    /// # Errors
    ///
    /// Why it was refused, with the batch: see [`PublishError`].
    pub fn publish_batch(&self, batch: Batch) -> Result<Vec<Receipt>, PublishError<Batch>> {
        let count = batch.len() as u64;
        let outcome = self.inner.queue.publish_batch(batch);
        self.inner.count_published(count, outcome.is_ok());
        outcome
    }

    /// Subscribes with a handler, which runs on the engine's workers. A message is acknowledged when the handler
    /// returns `Ok`; an error or a panic is a failed attempt, and the retry policy says what follows.
    ///
    /// # Errors
    ///
    /// An invalid filter or name, a name that is needed or taken with another filter, a closed queue: see
    /// [`QueueError`].
    pub fn subscribe<F>(
        &self,
        subscription: impl Into<Subscription>,
        handler: F,
    ) -> Result<Member, QueueError>
    where
        F: Fn(&Delivery) -> Result<(), HandlerError> + Send + Sync + 'static,
    {
        self.subscribe_with(subscription, Fallible(handler))
    }

    /// Subscribes with a handler that says itself what becomes of each message.
    ///
    /// # Errors
    ///
    /// As [`Engine::subscribe`].
    pub fn subscribe_with(
        &self,
        subscription: impl Into<Subscription>,
        handler: impl Handler + 'static,
    ) -> Result<Member, QueueError> {
        let subscription = subscription.into();
        let source = self.inner.queue.subscribe(&subscription)?;
        let (handler, concurrency) = (Arc::new(handler), subscription.concurrency_max());
        let number = self.inner.dispatcher.attach(Arc::clone(&source), handler, concurrency);
        Ok(Member { engine: Arc::downgrade(&self.inner), source, number })
    }

    /// Subscribes to pull messages one by one.
    ///
    /// # Errors
    ///
    /// As [`Engine::subscribe`].
    pub fn subscriber(
        &self,
        subscription: impl Into<Subscription>,
    ) -> Result<Subscriber, QueueError> {
        self.inner.queue.subscribe(&subscription.into()).map(Subscriber::new)
    }

    /// Ends the subscription with that name, with its backlog; the others go on.
    ///
    /// # Errors
    ///
    /// There is no such subscription, or its end could not be recorded.
    pub fn unsubscribe(&self, name: &str) -> Result<(), QueueError> {
        let ended = self.inner.queue.unsubscribe(name)?;
        self.inner.dispatcher.detach_all(&ended);
        self.inner.context.progress.notify_all();
        Ok(())
    }

    /// The oldest messages that wait for delivery and whose topic `filter` matches, at most `count`, each once.
    /// Nothing is removed, and no order is changed.
    ///
    /// # Errors
    ///
    /// An invalid filter, or the storage could not be read.
    pub fn peek(&self, filter: &str, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        self.inner.queue.peek(&Filter::new(filter)?, count)
    }

    /// Drops every unsettled message, and every held one, that was published so far to a topic that `filter` matches: in
    /// all subscriptions, for good. What is in somebody's hands stays there, and may be settled; it does not come
    /// again. Dead letters are purged by [`DEAD_LETTERS`](crate::DEAD_LETTERS). Answers how many deliveries and held
    /// messages that were.
    ///
    /// # Errors
    ///
    /// An invalid filter, a kind of queue that cannot do it, or the storage failed.
    pub fn purge(&self, filter: &str) -> Result<u64, QueueError> {
        let purged = self.inner.queue.purge(&Filter::new(filter)?);
        self.inner.context.progress.notify_all();
        purged
    }

    /// What the engine holds, and what it did so far.
    pub fn stats(&self) -> Stats {
        let context = &self.inner.context;
        let snapshot = context.recorder.snapshot(context.clock.now_ns());
        Stats {
            depth: self.inner.queue.depth(),
            workers: self.inner.dispatcher.workers(),
            workers_max: self.inner.workers_max,
            thread_refused: self.inner.dispatcher.refused(),
            failure: self.inner.dispatcher.failure(),
            storage: self.inner.queue.storage(),
            snapshot,
            durability: self.inner.queue.durability(),
            forecasts: self.inner.forecasts(),
        }
    }

    /// What this kind of queue can do.
    pub fn capabilities(&self) -> Capabilities {
        self.inner.queue.capabilities()
    }

    /// Makes everything durable that was accepted and settled before the call: messages whose publish has returned,
    /// deliveries whose settling has. It shares its sync with whoever else waits. A memory queue has nothing to do.
    ///
    /// # Errors
    ///
    /// The storage failed; [`QueueError::Unknown`] after a failed sync.
    pub fn sync(&self) -> Result<(), QueueError> {
        self.inner.queue.sync()
    }

    /// Copies the queue, as it is now, to `to`, a new directory, while the engine goes on; the copy opens as a queue by
    /// itself. What is settled by now is written first; what is in hands comes again there. `progress` hears of the bytes
    /// done and of how many there are. See [`Log::backup`](crate::log::Log::backup).
    ///
    /// # Errors
    ///
    /// [`QueueError::Unsupported`] for a kind that keeps nothing; [`QueueError::Storage`]: there is no copy.
    pub fn backup(
        &self,
        to: impl AsRef<std::path::Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<crate::queue::persistent::Backup, QueueError> {
        self.inner.queue.backup(to.as_ref(), progress)
    }

    /// Ends the engine: refuses publishes, lets handlers and subscribers drain what was accepted for at most
    /// `deadline`, writes every settlement, and says what is left. Waits at most as long for a handler that runs;
    /// one that runs on keeps its message, which comes again when a persistent queue is opened the next time.
    ///
    /// # Errors
    ///
    /// The engine is closed already, the caller is a handler, or what was settled could not be written.
    pub fn close(&self, deadline: Duration) -> Result<CloseReport, QueueError> {
        self.inner.close(deadline)
    }
}

impl Inner {
    fn forecasts(&self) -> Vec<Forecast> {
        let seats = self.queue.sources().into_iter().map(|source| {
            let (handlers, workers) = self.dispatcher.seats(&source).unwrap_or_default();
            let pullers = source.signal().members().saturating_sub(handlers);
            Seats { source, workers: if handlers == 0 { 0 } else { workers }, pullers }
        });
        let seats: Vec<Seats> = seats.collect();
        let Context { recorder, clock, .. } = &*self.context;
        let workers = self.dispatcher.workers();
        self.forecaster.forecasts(recorder, &seats, workers, clock.now_ns())
    }

    fn count_published(&self, messages: u64, accepted: bool) {
        let event = if accepted { Event::Published } else { Event::Refused };
        self.context.recorder.count(0, event, messages);
    }

    fn close(&self, deadline: Duration) -> Result<CloseReport, QueueError> {
        if self.dispatcher.is_inside() {
            return Err(QueueError::InsideHandler { what: "close its own engine" });
        }
        let closed = self.closing.swap(true, Ordering::Relaxed); // [relaxed] it only picks the one who closes
        if closed {
            return Err(QueueError::Closed);
        }
        let now = Instant::now();
        let until = now.checked_add(deadline).unwrap_or(now + LONGEST_DRAIN);
        self.queue.refuse();
        self.drain(until);
        self.dispatcher.stop(until);
        let depth = self.queue.depth();
        let settled = self.queue.close();
        settled.map(|()| CloseReport { depth })
    }

    /// Waits until everything that somebody here could settle is settled, or until the deadline.
    fn drain(&self, until: Instant) {
        let ahead = until.saturating_duration_since(Instant::now());
        let until_ns =
            self.context.clock.now_ns().saturating_add(crate::clock::saturating_ns(ahead));
        loop {
            let key = self.context.progress.listen();
            if self.queue.outstanding(until_ns) == 0 || until <= Instant::now() {
                return self.context.progress.cancel(key);
            }
            self.context.progress.wait_until(key, Some(until));
        }
    }
}

const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Drop for Inner {
    fn drop(&mut self) {
        let closed = self.closing.swap(true, Ordering::Relaxed); // [relaxed] nobody else has a handle
        if !closed {
            self.queue.refuse();
            self.dispatcher.stop(Instant::now());
            // Whoever wants to know of a failure calls `close`.
            let _ = self.queue.close();
        }
    }
}

/// A handler that answers with a result.
struct Fallible<F>(F);

impl<F> Handler for Fallible<F>
where
    F: Fn(&Delivery) -> Result<(), HandlerError> + Send + Sync,
{
    fn handle(&self, delivery: &Delivery) -> Settlement {
        match (self.0)(delivery) {
            Ok(()) => Settlement::Ack,
            Err(error) => Settlement::Fail { reason: whole_reason(&*error) },
        }
    }
}

/// The error and what caused it.
fn whole_reason(error: &(dyn Error + 'static)) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a String cannot fail.
        let _ = write!(reason, ": {inner}");
        cause = inner.source();
    }
    reason
}

/// One handler of a subscription. Dropping it does nothing.
pub struct Member {
    engine: Weak<Inner>,
    source: Arc<dyn Source>,
    number: u64,
}

impl Member {
    /// The subscription's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Ends this member; the subscription and its other members go on.
    pub fn leave(self) {
        let Some(engine) = self.engine.upgrade() else { return };
        if engine.dispatcher.detach(&self.source, self.number) {
            self.source.signal().leave();
            engine.context.progress.notify_all();
        }
    }
}

/// What an engine holds, and what it did since it was opened.
///
/// The specification's five: queue size is [`Stats::queue_size`]; message rate, error rate and throughput are in
/// [`Stats::rates`]; latency is `snapshot.sojourn`, with `snapshot.waiting` and `snapshot.service` apart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// What stands where, subscription by subscription.
    pub depth: QueueDepth,
    /// How many workers it has: those that take messages now. See [`Config::adaptive_workers`].
    pub workers: usize,
    /// How many it may have.
    pub workers_max: usize,
    /// Why the system did not give another thread, the last time that it did not; adaptive workers then make do.
    pub thread_refused: Option<Cause>,
    /// Counters and distributions.
    pub snapshot: Snapshot,
    /// The last failure that a worker met, such as a log that cannot be read.
    pub failure: Option<QueueError>,
    /// The queue's files, if it has any.
    pub storage: Option<StorageStats>,
    /// How far everything is on its way to the disk, and whether a sync has failed; none for a memory queue.
    pub durability: Option<DurabilityStats>,
    /// What queueing theory expects of each subscription that had traffic in the last two minutes, beside what it does.
    /// Asking for statistics is what raises and clears a [`Drift`].
    pub forecasts: Vec<Forecast>,
}

impl Stats {
    /// How many deliveries and held messages are unsettled.
    pub fn queue_size(&self) -> u64 {
        self.depth.total()
    }

    /// The forecast for the subscription with that name; `None` if it has had no traffic in the last two minutes.
    pub fn forecast(&self, subscription: &str) -> Option<&Forecast> {
        self.forecasts.iter().find(|each| each.subscription == subscription)
    }

    /// Rates since the engine was opened.
    pub fn rates(&self) -> Rates {
        self.snapshot.rates()
    }

    /// Rates since earlier statistics of the same engine.
    pub fn since(&self, earlier: &Self) -> Rates {
        self.snapshot.since(&earlier.snapshot)
    }
}

/// What was left when an engine closed. A persistent queue has it the next time it is opened; with a memory queue it
/// is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// What stands where.
    pub depth: QueueDepth,
}

impl CloseReport {
    /// Was everything settled that had been accepted?
    pub fn is_drained(&self) -> bool {
        self.left_over() == 0
    }

    /// How many deliveries and held messages were not settled.
    pub fn left_over(&self) -> u64 {
        self.depth.total()
    }

    /// How many of them were in somebody's hands.
    pub fn in_flight(&self) -> u64 {
        self.depth.subscriptions.iter().map(|each| each.depth.in_flight).sum()
    }
}
