//! millstream: the message queue that a latency-sensitive service embeds.

#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
mod engine;
#[cfg(not(loom))]
mod error;
pub(crate) mod event;
#[cfg(not(loom))]
mod message;
#[cfg(not(loom))]
pub mod metrics;
#[cfg(not(loom))]
pub mod model;
#[cfg(not(loom))]
mod queue;
pub mod ring;
pub(crate) mod sync;
#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) mod sys;

/// What the model checker sees.
#[cfg(loom)]
pub mod modelled {
    pub use crate::event::{EventCount, Key};
    pub use crate::ring::cells::{Layout, ThreadId};
    pub use crate::ring::channel::over;
    pub use crate::ring::swap::{Ring, Shape};
    pub use crate::ring::*;
    pub use crate::sync::{WakeOrder, mutant, set_wake_order};
}
