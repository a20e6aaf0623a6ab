//! What a persistent queue is told to keep, and what it tells of its files: values, for [`super::keeper`].

use crate::error::QueueError;
use std::time::Duration;

/// The least that the log may grow between checkpoints, in bytes.
pub const CHECKPOINT_BYTES_MIN: u64 = 4_096;

/// What a persistent queue keeps of what all subscriptions have settled: nothing, unless it is told to.
///
/// What is kept is there for subscriptions that [start](crate::Start) earlier. Files are removed as a whole, so up to one
/// file more is kept. Where the disk limit is reached, it is the kept that goes, not the publish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    pub(super) keep_for: Option<Duration>,
    pub(super) keep_bytes: Option<u64>,
}

impl Retention {
    /// Keeps nothing that is settled.
    pub const fn new() -> Self {
        Self { keep_for: None, keep_bytes: None }
    }

    /// Keeps messages for this time from their publish on.
    #[must_use]
    pub const fn keep_for(mut self, time: Duration) -> Self {
        self.keep_for = Some(time);
        self
    }

    /// Keeps the last so many bytes of the log. With [`Retention::keep_for`], what both would keep.
    #[must_use]
    pub const fn keep_bytes(mut self, bytes: u64) -> Self {
        self.keep_bytes = Some(bytes);
        self
    }
}

/// What becomes of a publish while the queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused, and the message handed back.
    #[default]
    Refuse,
    /// It waits for room, at most so long. In a handler it may so wait for what that handler itself has yet to settle.
    Block(Duration),
}

/// The settings of a keeper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) retention: Retention,
    pub(crate) when_full: WhenFull,
    pub(crate) checkpoint_bytes: u64,
    /// At how many crashes a message may be in hand.
    pub(crate) crashes_max: u32,
}

/// What keeps a persistent queue's files from being reclaimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinned {
    /// Everything is settled.
    Nobody,
    /// A message that the subscription of that name has not settled.
    Subscription(String),
    /// A message of that topic, held for the first subscription to match it.
    Topic(String),
}

/// A persistent queue's files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StorageStats {
    /// Bytes of disk that the log takes.
    pub disk_bytes: u64,
    /// The limit on those.
    pub disk_bytes_max: u64,
    /// Since the oldest unsettled or held message was accepted.
    pub oldest_age: Option<Duration>,
    /// Bytes of the log from that message on.
    pub pinned_bytes: u64,
    /// Who has yet to settle it.
    pub pinned_by: Pinned,
    /// The position of the earliest message that a new subscription can get.
    pub retained_from: u64,
    /// Up to which position the newest checkpoint goes.
    pub checkpoint: Option<u64>,
    /// How old that is.
    pub checkpoint_age: Option<Duration>,
    /// How long the message that has been longest in a worker's hand is there.
    pub longest_in_hand: Option<Duration>,
    /// Bytes of disk reclaimed since the queue was opened.
    pub reclaimed_bytes: u64,
    /// Why the last checkpoint, or reclaiming, failed, if it did.
    pub failure: Option<QueueError>,
}
