//! What a publish promises, and what its receipt found true.
//!
//! | asked for | the publish returns when | a receipt says | a power loss takes |
//! | --- | --- | --- | --- |
//! | (a memory queue) | the message is in its subscriptions | [`Reached::Memory`] | all |
//! | [`Durability::Os`] | the operating system has it | [`Reached::Os`] | what no sync has covered |
//! | [`Durability::Interval`] | the same | [`Reached::Os`] | what came in the last interval and during one sync |
//! | [`Durability::Sync`] | the disk has it | [`Reached::Synced`] | nothing |
//!
//! Whoever was promised less may ask for more later: [`Receipt::durable`] waits for one message, and `Engine::sync` for
//! everything so far. Both share their syncs with whoever else waits.
//!
//! A settlement is written down within 5 ms, or with 63 others; what a power loss takes of messages at `Os` and `Interval`
//! it takes of settlements too, and those 5 ms on top. The messages come again, then.

use crate::error::Cause;
use crate::message::MessageId;
use std::fmt;
use std::time::Duration;

/// What a receipt promises, for a persistent queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The message survives the process, not a power loss.
    #[default]
    Os,
    /// The same when the publish returns. A thread makes it durable: at most this long and one sync later (where a sync
    /// takes longer than this: two syncs later). A publisher that the system stops in the middle of copying its message
    /// holds up what others published behind it for as long. From 1 ms to 1 h. While nothing is published it sleeps.
    Interval(Duration),
    /// The disk has it before the publish returns; neighbours share one sync.
    Sync,
}

/// What a receipt found true about the message, not what it hopes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// It is in this process's memory, and dies with it.
    Memory,
    /// The operating system has it: it survives the process, not a power loss.
    Os,
    /// The disk said that it has it.
    Synced,
}

impl fmt::Display for Reached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Synced => "synced",
        })
    }
}

/// Proof of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The id that the queue gave to the message.
    pub id: MessageId,
    /// How many subscriptions took it; 0 where it is held for the first one to come, or was dropped because all have
    /// gone. `None` where the kind cannot know.
    pub matched: Option<usize>,
    /// Where the message has arrived.
    pub reached: Reached,
    pub(crate) frame: FrameEnd,
}

/// Where the frame of a message ends, and in whose log: what has to be durable for the message to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameEnd {
    /// Which opening of a log, counted in this process from 1; 0: it is in no log. Not the log's own id: after a failed sync
    /// and another open, positions may come again.
    pub(crate) opening: u64,
    /// A position of that log.
    pub(crate) end: u64,
}

impl FrameEnd {
    /// Of a message that is in no log.
    pub(crate) const NOWHERE: Self = Self { opening: 0, end: 0 };
}

/// How far a persistent queue has come on its way to the disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DurabilityStats {
    /// The position up to which everything is accepted.
    pub committed: u64,
    /// The position up to which everything is on the disk.
    pub durable: u64,
    /// What lies between the two, in bytes: a power loss may take it.
    pub unsynced_bytes: u64,
    /// Successful syncs since the queue was opened, each for one or many that waited.
    pub syncs: u64,
    /// How long ago the last of them returned; none if there was none yet.
    pub last_sync_age: Option<Duration>,
    /// The failed sync since which the queue takes nothing more.
    pub poisoned: Option<Cause>,
}
