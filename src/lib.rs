//! millstream: the message queue that a latency-sensitive service embeds.
//!
//! ```
//! use millstream::{Config, Delivery, Engine};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open(Config::memory())?;
//! engine.subscribe("user.*", |delivery: &Delivery| {
//!     println!("{}", delivery.text()?);
//!     Ok(())
//! })?;
//! let receipt = engine.publish("user.events", r#"{"user_id":1,"action":"login"}"#)?;
//! assert_eq!(receipt.matched, Some(1));
//! let report = engine.close(Duration::from_secs(5))?;
//! assert!(report.is_drained());
//! # Ok(()) }
//! ```
//!
//! With `Config::persistent("data")` in place of `Config::memory()` the same program keeps its messages, its
//! subscriptions and what they have settled in that directory.
//!
//! # The house
//!
//! A message goes down one staircase (publish, route, append, ring, handler) and its settlement comes up another
//! (settle, window, log). No floor calls the floor above it.
//!
//! | floor | modules | what stands there |
//! | --- | --- | --- |
//! | 4 | `lab` (feature) | the laboratory: the engine held against theory, from outside |
//! | 3 | `engine` | [`Engine`], [`Config`], the dispatcher, retries |
//! | 2 | `queue` | the seam; the memory kind and the persistent kind; routes, credits, windows, records |
//! | 1 | [`ring`], [`log`], [`metrics`], [`model`], `message` | what is of use alone: these know nothing of each other |
//! | 0 | `sync`, `barrier`, `event`, [`clock`], `error`, `sys` | atomics and locks, barriers, sleeping and waking, time, errors |

pub(crate) mod barrier;
#[cfg(not(any(loom, shuttle)))]
pub mod clock;
#[cfg(not(any(loom, shuttle)))]
mod engine;
/// In a model: who is woken, and nothing else of the engine.
#[cfg(any(loom, shuttle))]
pub(crate) mod engine {
    pub mod crew;
    pub mod roster;
}
#[cfg(not(any(loom, shuttle)))]
mod error;
pub(crate) mod event;
#[cfg(all(feature = "lab", not(any(loom, shuttle))))]
pub mod lab;
#[cfg(not(any(loom, shuttle)))]
pub mod log;
/// In a model: the log's tail, who prepares what lies before it, who syncs, and who waits for that.
#[cfg(any(loom, shuttle))]
pub(crate) mod log {
    #[cfg(loom)]
    pub mod group;
    #[cfg(loom)]
    pub mod preparer;
    #[cfg(loom)]
    pub mod syncer;
    pub mod tail;
}
#[cfg(not(any(loom, shuttle)))]
mod message;
#[cfg(not(any(loom, shuttle)))]
pub mod metrics;
#[cfg(not(any(loom, shuttle)))]
pub mod model;
#[cfg(not(any(loom, shuttle)))]
mod queue;
/// In a model: room, and the memory kind's line.
#[cfg(any(loom, shuttle))]
pub(crate) mod queue {
    pub mod credits;
    pub mod exceptions;
    pub mod gate;
    pub mod memory {
        pub mod line;
    }
    #[cfg(loom)]
    pub mod waking;
}
pub mod ring;
pub(crate) mod sync;
#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) mod sys;
pub(crate) mod wait;

#[cfg(not(any(loom, shuttle)))]
mod front {
    pub use crate::engine::{
        BUFFER_MAX, CloseReport, Config, Drift, DriftCause, Durable, Engine, Forecast, Handler,
        HandlerError, Member, Stats, Subscriber, WORKERS_MAX,
    };
    pub use crate::error::{Cause, OpenError, PublishError, QueueError, TooLarge, TopicError};
    pub use crate::message::{
        DEDUP_KEY_BYTES_MAX, Envelope, HEADER_BYTES_MAX, HEADERS_MAX, Headers, Message, MessageId,
        MessageIdError, PAYLOAD_BYTES_MAX, Priority, PriorityError, TOPIC_BYTES_MAX, Topic,
    };
    pub use crate::queue::persistent::{
        CHECKPOINT_BYTES_MIN, Inspection, Pinned, RecordInfo, Retention, StorageStats, WhenFull,
    };
    pub use crate::queue::routes::{Filter, TOPICS_MAX};
    pub use crate::queue::{
        BATCH_MAX, Batch, Capabilities, DEAD_LETTERS, Delivery, Depth, Durability, DurabilityStats,
        HEADER_ATTEMPTS, HEADER_ORIGIN_ID, HEADER_ORIGIN_SUBSCRIPTION, HEADER_ORIGIN_TOPIC,
        HEADER_REASON, LOST_TOPICS, NAME_BYTES_MAX, QueueDepth, REASON_BYTES_MAX, Reached, Receipt,
        SUBSCRIPTIONS_MAX, Settlement, Start, Subscription, SubscriptionDepth,
    };
    /// Payloads: cheap to clone, and shared, not copied, between the subscriptions of a message.
    pub use bytes::Bytes;
}

#[cfg(not(any(loom, shuttle)))]
pub use front::*;

/// The README's example is compiled and run with the other examples of the documentation.
#[cfg(all(doctest, not(any(loom, shuttle))))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// What the compiler must refuse is tried with the other examples of the documentation.
#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../tests/refused.md")]
pub struct Refused;

/// What the model checkers see: loom all of it, shuttle the ring and the event count.
#[cfg(any(loom, shuttle))]
pub mod modelled {
    pub use crate::engine::crew::Crew;
    pub use crate::engine::roster::Roster;
    pub use crate::event::{EventCount, Key, TaskKey};
    #[cfg(loom)]
    pub use crate::log::group::{GroupSync, Syncing};
    #[cfg(loom)]
    pub use crate::log::preparer::{Ground, NoRoom as NotPrepared, Preparer};
    #[cfg(loom)]
    pub use crate::log::syncer::{Synced, Syncer};
    pub use crate::log::tail::{Bounds, Budget, Claim, Refused, Reserved, Seen, Tail, Words};
    pub use crate::queue::credits::{Credits, NoRoom};
    pub use crate::queue::gate::Gate;
    pub use crate::queue::memory::line::{Line, Waiting};
    #[cfg(loom)]
    pub use crate::queue::waking;
    pub use crate::ring::cells::{Layout, end_thread};
    pub use crate::ring::channel::over;
    pub use crate::ring::swap::{Ring, Shape};
    pub use crate::ring::*;
    pub use crate::sync::mutant;
    #[cfg(loom)]
    pub use crate::sync::{WakeOrder, set_wake_order};
}
