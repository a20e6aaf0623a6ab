//! millstream: the message queue that a latency-sensitive service embeds.

#[cfg(not(loom))]
pub mod clock;
pub(crate) mod event;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod log;
/// Under the model checker: the log's tail alone.
#[cfg(loom)]
pub(crate) mod log {
    pub mod tail;
}
pub mod ring;
pub(crate) mod sync;
#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) mod sys;

/// What the model checker sees.
#[cfg(loom)]
pub mod modelled {
    pub use crate::event::{EventCount, Key};
    pub use crate::log::tail::{Bounds, Budget, Claim, Refused, Reserved, Seen, Tail, Words};
    pub use crate::ring::cells::{Layout, end_thread};
    pub use crate::ring::channel::over;
    pub use crate::ring::swap::{Ring, Shape};
    pub use crate::ring::*;
    pub use crate::sync::{WakeOrder, mutant, set_wake_order};
}
