//! The factory: every setting with its default and its limits, checked, and the queue that they describe.
//!
//! | setting | default | allowed | for |
//! | --- | --- | --- | --- |
//! | `workers` | 4 | 1 to [`WORKERS_MAX`] | threads that run handlers |
//! | `adaptive_workers` | off | a range of 1 to [`WORKERS_MAX`] | between how many workers the engine may choose |
//! | `buffer` | 1,000 | 1 to [`BUFFER_MAX`] | unsettled messages a subscription; held messages (memory) |
//! | `max_size` | 1,048,576 (memory), none (persistent) | 1 and more | unsettled deliveries in the whole queue |
//! | `retry_delay` | 1 s | any | the n-th retry comes n delays later |
//! | `retries_max` | 3 | any | so at most 4 attempts |
//! | `payload_bytes_max` | 1 MiB | 1 to 1 MiB | one payload |
//! | `dead_letters_max` | 1,000 | 1 to [`BUFFER_MAX`] | dead letters held (memory) |
//! | `refuse_unrouted` | no | | publishes when all subscriptions of the topic have gone |
//! | `durability` | `Os` | an interval: 1 ms to 1 h | what a receipt promises (persistent) |
//! | `disk_bytes_max` | 8 GiB | three segments and more | the log (persistent) |
//! | `segment_bytes` | 64 MiB | a power of two, 64 KiB to 1 GiB | a file of the log (persistent) |
//! | `checkpoint_bytes` | `segment_bytes` | [`CHECKPOINT_BYTES_MIN`] and more | how far the log grows between checkpoints (persistent) |
//! | `retention` | what is settled goes | | what is kept for replay (persistent) |
//! | `crashes_max` | 5 | any; 0: no limit | crashes with a message in a worker's hand until it is dead-lettered (persistent) |
//! | `when_full` | `Refuse` | | a publish to a full queue (persistent) |
//! | `allow_network` | false | | may the directory lie on another machine (persistent) |
//!
//! `max_size` counts deliveries: a message that three subscriptions have yet to settle counts three times, a held one
//! once. The only place in the crate that knows which kinds there are is [`Config::open`].

use super::Engine;
use super::retry::RetryPolicy;
use crate::clock::{Clock, SystemClock};
use crate::error::OpenError;
use crate::event::EventCount;
use crate::log::{Log, LogOptions, SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN};
use crate::message::PAYLOAD_BYTES_MAX;
use crate::metrics::Recorder;
use crate::queue::memory::MemoryQueue;
use crate::queue::persistent::{CHECKPOINT_BYTES_MIN, Keep, PersistentQueue, Retention, WhenFull};
use crate::queue::{Context, Durability, Queue};
use crate::sync::Arc;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most workers an engine may have.
pub const WORKERS_MAX: usize = 256;
/// The largest `buffer`, in messages.
pub const BUFFER_MAX: usize = 1 << 19;

const MEMORY_SIZE_MAX: u64 = 1 << 20;

#[derive(Debug, Clone)]
enum Kind {
    Memory,
    Persistent(PathBuf),
}

/// What to open, and with which settings. See the page of this module for defaults and limits.
#[derive(Debug, Clone)]
pub struct Config {
    kind: Kind,
    workers: usize,
    adaptive_workers: Option<RangeInclusive<usize>>,
    buffer: usize,
    max_size: Option<u64>,
    retry_delay: Duration,
    retries_max: u32,
    payload_bytes_max: usize,
    dead_letters_max: usize,
    refuse_unrouted: bool,
    durability: Durability,
    disk_bytes_max: u64,
    segment_bytes: u64,
    checkpoint_bytes: Option<u64>,
    retention: Retention,
    when_full: WhenFull,
    crashes_max: u32,
    allow_network: bool,
}

impl Config {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            workers: 4,
            adaptive_workers: None,
            buffer: 1_000,
            max_size: None,
            retry_delay: Duration::from_secs(1),
            retries_max: 3,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            dead_letters_max: 1_000,
            refuse_unrouted: false,
            durability: Durability::Os,
            disk_bytes_max: 8 << 30,
            segment_bytes: 64 << 20,
            checkpoint_bytes: None,
            retention: Retention::new(),
            when_full: WhenFull::Refuse,
            crashes_max: 5,
            allow_network: false,
        }
    }

    /// A queue in this process's memory.
    pub fn memory() -> Self {
        Self::new(Kind::Memory)
    }

    /// A queue in the directory `path`, which is made if it does not exist.
    pub fn persistent(path: impl AsRef<Path>) -> Self {
        Self::new(Kind::Persistent(path.as_ref().to_owned()))
    }

    /// Sets how many threads run handlers: so many, always. It undoes [`Config::adaptive_workers`].
    pub fn workers(mut self, workers: usize) -> Self {
        (self.workers, self.adaptive_workers) = (workers, None);
        self
    }

    /// Lets the engine choose how many threads run handlers, by the load that it measures: as many as the model of a queue
    /// with that many servers needs for a short wait, more at once when a backlog says so, fewer when fewer have done for a
    /// while. Threads are started when they are first needed; those that are too many sleep, and cost memory only. One
    /// thread more looks after them, and sleeps too while nothing waits.
    ///
    /// It pays where handlers wait (for a network, for a disk) and the load changes. Where they compute, as many workers
    /// as there are processors do best, always.
    pub fn adaptive_workers(mut self, workers: RangeInclusive<usize>) -> Self {
        self.adaptive_workers = Some(workers);
        self
    }

    /// Sets how many messages a subscription may have unsettled.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.buffer = messages;
        self
    }

    /// Sets how many deliveries the whole queue may have unsettled.
    pub fn max_size(mut self, deliveries: u64) -> Self {
        self.max_size = Some(deliveries);
        self
    }

    /// Sets the delay before the first retry; the n-th waits n times as long.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Sets how many times a failed attempt is repeated.
    pub fn retries_max(mut self, retries: u32) -> Self {
        self.retries_max = retries;
        self
    }

    /// Sets the largest payload, in bytes.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes;
        self
    }

    /// Sets how many dead letters a memory queue holds until somebody subscribes to them.
    pub fn dead_letters_max(mut self, letters: usize) -> Self {
        self.dead_letters_max = letters;
        self
    }

    /// Refuses, instead of dropping, what is published after all subscriptions of its topic have gone.
    pub fn refuse_unrouted(mut self, refuse: bool) -> Self {
        self.refuse_unrouted = refuse;
        self
    }

    /// Sets what a receipt of a persistent queue promises.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many bytes the log of a persistent queue may take.
    pub fn disk_bytes_max(mut self, bytes: u64) -> Self {
        self.disk_bytes_max = bytes;
        self
    }

    /// Sets the size of the log's files, in bytes.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets how far the log of a persistent queue may grow until its state is laid down once more, in bytes. What the next
    /// open has to replay, and what can be reclaimed, follows from it.
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = Some(bytes);
        self
    }

    /// Sets what a persistent queue keeps of what is settled.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how often the process may die while a worker of a persistent queue has one and the same message in hand: at
    /// that many times it goes to the dead letters and is not handed out again. A crash is no attempt. 0: no limit.
    pub fn crashes_max(mut self, crashes: u32) -> Self {
        self.crashes_max = crashes;
        self
    }

    /// Sets what becomes of a publish while a persistent queue is full.
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Lets a persistent queue lie on a network file system, which is refused otherwise: there two machines may both own
    /// it, and a receipt promises no more than the server does.
    pub fn allow_network(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// A setting that is impossible, named; a directory that somebody else has, that is no queue, or that cannot be
    /// read or written.
    pub fn open(self) -> Result<Engine, OpenError> {
        self.check()?;
        let workers = self.adaptive_workers.clone().unwrap_or(self.workers..=self.workers);
        let clock = SystemClock::new();
        let max_size_default = match self.kind {
            Kind::Memory => MEMORY_SIZE_MAX,
            Kind::Persistent(_) => u64::MAX,
        };
        let context = Arc::new(Context {
            recorder: Recorder::new(workers.end() + 1, clock.now_ns()),
            clock: Arc::new(clock),
            policy: Box::new(RetryPolicy {
                delay: self.retry_delay,
                retries_max: self.retries_max,
            }),
            buffer: self.buffer,
            max_size: self.max_size.unwrap_or(max_size_default),
            payload_bytes_max: self.payload_bytes_max,
            dead_letters_max: self.dead_letters_max,
            refuse_unrouted: self.refuse_unrouted,
            progress: EventCount::new(),
        });
        let queue: Arc<dyn Queue> = match &self.kind {
            Kind::Memory => Arc::new(MemoryQueue::new(Arc::clone(&context), incarnation()?)),
            Kind::Persistent(path) => {
                let options = LogOptions::new()
                    .segment_bytes(self.segment_bytes)
                    .disk_max_bytes(self.disk_bytes_max)
                    .sync_interval(match self.durability {
                        Durability::Interval(interval) => Some(interval),
                        Durability::Os | Durability::Sync => None,
                    })
                    .allow_network(self.allow_network);
                let log = Log::open(path, options)?;
                let keep = Keep {
                    retention: self.retention,
                    when_full: self.when_full,
                    checkpoint_bytes: self.checkpoint_bytes.unwrap_or(self.segment_bytes),
                    crashes_max: self.crashes_max,
                };
                let queue = PersistentQueue::open(Arc::clone(&context), log, self.durability, keep);
                Arc::new(queue.map_err(OpenError::Records)?)
            }
        };
        Engine::start(queue, context, workers)
    }

    fn check(&self) -> Result<(), OpenError> {
        within("workers", self.workers as u64, 1, WORKERS_MAX as u64)?;
        self.check_adaptive()?;
        within("buffer", self.buffer as u64, 1, BUFFER_MAX as u64)?;
        within("max_size", self.max_size.unwrap_or(1), 1, u64::MAX)?;
        let checkpoint_bytes = self.checkpoint_bytes.unwrap_or(u64::MAX);
        within("checkpoint_bytes", checkpoint_bytes, CHECKPOINT_BYTES_MIN, u64::MAX)?;
        within("payload_bytes_max", self.payload_bytes_max as u64, 1, PAYLOAD_BYTES_MAX as u64)?;
        within("dead_letters_max", self.dead_letters_max as u64, 1, BUFFER_MAX as u64)?;
        let allowed = SYNC_INTERVAL_MIN..=SYNC_INTERVAL_MAX;
        match self.durability {
            Durability::Interval(interval) if !allowed.contains(&interval) => {
                let (min, max) = allowed.into_inner();
                let reason = format!("an interval of {min:?} to {max:?} is allowed");
                let value = format!("{:?}", self.durability);
                Err(OpenError::Setting { key: "durability", value, reason })
            }
            _ => Ok(()),
        }
    }
}

impl Config {
    fn check_adaptive(&self) -> Result<(), OpenError> {
        let Some(workers) = &self.adaptive_workers else { return Ok(()) };
        let reason = match (workers.start(), workers.end()) {
            _ if workers.is_empty() => "the range is empty".to_owned(),
            (0, _) => "at least 1 is needed".to_owned(),
            (_, max) if *max > WORKERS_MAX => format!("at most {WORKERS_MAX} are allowed"),
            _ => return Ok(()),
        };
        Err(OpenError::Setting { key: "adaptive_workers", value: format!("{workers:?}"), reason })
    }
}

fn within(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), OpenError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let reason = match max {
        u64::MAX => format!("at least {min} is needed"),
        _ => format!("{min} to {max} are allowed"),
    };
    Err(OpenError::Setting { key, value: value.to_string(), reason })
}

/// A number that no other queue has, as far as chance can tell.
fn incarnation() -> Result<u64, OpenError> {
    getrandom::u64().map_err(|error| OpenError::Storage { source: Arc::new(error) })
}
