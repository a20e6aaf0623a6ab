//! The peers: an adapter of a few lines for each library, in each form that somebody would use.
//!
//! | file | peers |
//! |---|---|
//! | `ours.rs` | millstream's ring, by its ends and its ways of waiting |
//! | `channels.rs` | many senders, many receivers, blocking: crossbeam-channel, flume, kanal, crossfire, async-channel |
//! | `single.rs` | one receiver, blocking: tokio, std, thingbuf, crossfire's other kinds |
//! | `rings.rs` | no blocking calls: ArrayQueue, rtrb, disruptor |

mod channels;
mod ours;
mod rings;
mod single;

pub use channels::{AsyncChannel, Crossbeam, CrossfireMpmc, Flume, Kanal};
pub use ours::{
    Millstream, MillstreamAlone, MillstreamMpsc, MillstreamPark, MillstreamSole,
    MillstreamSolePark, MillstreamSoleSpin, MillstreamSpin,
};
pub use rings::{Array, Disruptor, Rtrb};
pub use single::{CrossfireMpsc, CrossfireSpsc, StdSync, Thingbuf, Tokio};

/// The ends of a channel whose methods have crossbeam's shapes, by the names of the four calls.
macro_rules! ends {
    ($sender:ty, $receiver:ty, $send:ident, $receive:ident) => {
        impl<T: $crate::value::Value> $crate::ends::TryPut<T> for $sender {
            fn try_put(&mut self, value: T) -> bool {
                self.try_send(value).is_ok()
            }
        }

        impl<T: $crate::value::Value> $crate::ends::TryGet<T> for $receiver {
            fn try_get(&mut self) -> Option<T> {
                self.try_recv().ok()
            }
        }

        impl<T: $crate::value::Value> $crate::ends::Put<T> for $sender {
            fn put(&mut self, value: T) {
                assert!(self.$send(value).is_ok(), "the receiver is there");
            }
        }

        impl<T: $crate::value::Value> $crate::ends::Get<T> for $receiver {
            fn get(&mut self) -> T {
                self.$receive().expect("the sender is there")
            }
        }
    };
}

/// A peer: its type, its name, its ends, and how they are made.
macro_rules! peer {
    ($(#[$doc:meta])* $peer:ident, $name:literal, $sender:ty, $receiver:ty, $make:expr) => {
        $(#[$doc])*
        pub struct $peer;

        impl $crate::ends::Named for $peer {
            const NAME: &'static str = $name;
        }

        impl<T: $crate::value::Value> $crate::ends::Peer<T> for $peer {
            type Sender = $sender;
            type Receiver = $receiver;

            fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
                $make(capacity)
            }
        }
    };
}

use {ends, peer};

/// What the peers ask of a program once, before the first channel.
pub fn prepare() {
    crossfire::detect_backoff_cfg();
}

/// Whose figures the ratios are against.
pub const BASELINE: &str = "crossbeam-channel";

/// The packages that the peers come from.
pub const PACKAGES: &[&str] = &[
    "async-channel",
    "crossbeam-channel",
    "crossbeam-queue",
    "crossfire",
    "disruptor",
    "flume",
    "kanal",
    "rtrb",
    "thingbuf",
    "tokio",
];
