//! millstream: the message queue that a latency-sensitive service embeds.

#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
pub mod metrics;
#[cfg(not(loom))]
pub mod model;
pub(crate) mod sync;

/// What the model checker sees.
#[cfg(loom)]
pub mod modelled {
    pub use crate::sync;
}
