//! The ring: a bounded queue between threads, and the channel on it.
//!
//! [`bounded`] gives a [`Sender`] and a [`Receiver`]. Both clone, both are `Send + Sync` for `T: Send`, and names and
//! meanings are those of crossbeam-channel, so that changing an import is enough.
//!
//! ```
//! let (sender, receiver) = millstream::ring::bounded(16);
//! std::thread::spawn(move || (0..3).for_each(|n| sender.send(n).unwrap()));
//! assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
//! ```
//!
//! # Promises
//!
//! | operation | promise |
//! |---|---|
//! | `try_send`, `try_recv` | lock-free: a thread stopped at any instruction holds up no other. `Full` and `Empty` are exact: true at one moment of the call |
//! | `send`, `recv` | sleep only while the ring is full, or empty; about no processor time while asleep |
//! | order | first in, first out; each value is received once |
//! | disconnection | what was accepted is received after the last sender is gone; what lies in the ring when the last receiver goes is dropped then and there |
//! | values | dropped exactly once; handed back in every error |
//!
//! The exceptions to lock-freedom: a thread's first operation on a ring may take a lock to get its seat, and waking
//! a sleeper is a system call.
//!
//! # Differences from crossbeam-channel
//!
//! Capacity 0 (a rendezvous) panics; there is no `unbounded` and no `select!`. At most [`CAPACITY_MAX`] values, and at
//! most [`THREADS_MAX`] threads of a process may use rings at the same time: the one beyond panics at its first use.
//! When the last receiver is gone the length is 0 (theirs stays). `Debug` of an error has no quotes.
//!
//! | file | what |
//! |---|---|
//! | `swap.rs` | the ring: entries, turns, cells |
//! | `cells.rs` | a seat for every (ring, thread) pair |
//! | `alone.rs` | push and pop by stores, for who is alone on its side |
//! | `direct.rs` | the ring for one producer and one consumer |
//! | `buffer.rs` | what a channel needs of either |
//! | `shared.rs` | what the ends share: waiting and disconnection |
//! | `channel.rs`, `sole.rs` | the ends that may have company, and those that are alone |
//! | `ends.rs` | the methods of both |
//! | `future.rs` | the ends as tasks use them |
//! | `error.rs` | why an operation did not happen |

mod alone;
mod buffer;
pub(crate) mod cells;
pub(crate) mod channel;
mod direct;
mod ends;
mod error;
#[cfg(feature = "async")]
mod future;
mod shared;
mod sole;
pub(crate) mod swap;

#[cfg(not(any(loom, shuttle)))]
pub use crate::barrier::is_asymmetric;
pub use crate::wait::{SPIN_MAX, WaitStrategy};
pub use buffer::{Many, One, Peer};
pub use cells::THREADS_MAX;
pub use channel::{IntoIter, Iter, Receiver, Sender, TryIter, bounded, bounded_with};
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unsent,
};
#[cfg(feature = "async")]
pub use future::{RecvFuture, RecvStream, SendFuture};
pub use sole::{Consumer, Producer, spsc, spsc_with};
pub use swap::CAPACITY_MAX;
