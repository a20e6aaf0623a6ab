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
//! # Which ends?
//!
//! | ends | how many on a side | made by | cost of a send and a receive |
//! | --- | --- | --- | --- |
//! | [`Sender`], [`Receiver`] | any; they clone, and any thread may use one | [`bounded`] | one atomic exchange each |
//! | [`Producer`], [`Consumer`] | one; the other side as it likes | [`Sender::try_into_producer`], [`Receiver::try_into_consumer`], and back | plain stores |
//! | [`Producer<T, One>`](Producer), [`Consumer<T, One>`](Consumer) | one on each, for good | [`spsc`] | plain stores; the two sides meet once for many values |
//!
//! All have the same methods: attempts, blocking calls with and without a deadline, batches (`send_many`, `recv_many`), and
//! with the feature `async` futures and streams that need no runtime. Threads and tasks may use one channel together. A
//! [`WaitStrategy`] says how blocking calls wait.
//!
//! # Promises
//!
//! | operation | promise |
//! |---|---|
//! | `try_send`, `try_recv` | lock-free: a thread stopped at any instruction holds up no other. `Full` and `Empty` are exact: true at one moment of the call |
//! | `send`, `recv` | sleep only while the ring is full, or empty; no processor time while asleep; one wake for one value |
//! | batches | each value is an operation of its own, in order; others' values may come in between; the other side is told once |
//! | futures | a value leaves the ring only when a future is ready with it; a dropped one passes its wake-up on |
//! | order | first in, first out; each value is received once |
//! | disconnection | what was accepted is received after the last sender is gone; what lies in the ring when the last receiver goes is dropped then and there |
//! | values | dropped exactly once; handed back in every error |
//!
//! The exceptions to lock-freedom, all outside the ring: a thread's first operation on a ring may take a lock to get its
//! seat, waking a sleeping thread is a system call, and waking or registering a task takes a lock for a moment.
//!
//! A sole end stores where others exchange. Its operations have their place in the order of everything that *happens before*
//! something else, but a store may return a moment before other processors see it, so a clock on the wall can tell a
//! send that was over from a receive that found nothing yet. Exchanges have no such moment on x86-64.
//!
//! # How it works
//!
//! The usual bounded queue gives every slot a sequence number: a producer takes a ticket, then fills the slot. Stop it in
//! between, and every consumer stands before that slot. Here there is no "in between": a value is first written to memory
//! that nobody else knows, and then one atomic exchange both claims the position and shows the value.
//!
//! ```text
//!   entries:  [lap 7|full |c4] [lap 7|full |c1] [lap 7|empty|c9] [lap 7|empty|c2]      one 64-bit word each
//!                 ^ head                            ^ tail
//!   cells:    c0 .. c11        memory for one value each; an entry owns the cell that it names
//!   threads:  P owns c0, Q owns c3, ...
//!
//!   P pushes v:   1. write v into c0                        nobody else touches c0
//!                 2. entry: lap 7|empty|c9 -> lap 7|full|c0 one compare-and-exchange; now the value is in
//!                 3. P owns c9                              for its next operation
//!   Q pops:       1. entry: lap 7|full|c4 -> lap 8|empty|c3 one compare-and-exchange; now the value is out
//!                 2. read the value from c4, which Q owns
//! ```
//!
//! *Why nobody waits for anybody*: between two exchanges the ring is always whole, whoever is stopped wherever. *Why Full and
//! Empty are exact*: the entry at the tail says by its lap and state that it was not emptied yet (full), the entry at the
//! head that it was not filled yet (empty), and an entry's word is one atomic load. *What it costs*: a word and a cell
//! for each value of capacity, a cell for each thread, one exchange for each operation, and a look at who is asleep.
//! *What it gives up*: the exchange fails when another thread was faster, so one of several contenders has to try again
//! (some thread always succeeds: lock-free, not wait-free); values lie in no order in memory; the bounds below.
//!
//! The orderings stand in the pages of the files, each with its label at every use; each label, and each rule there, has a
//! mutant that a model of `loom-tests` kills.
//!
//! # Differences from crossbeam-channel
//!
//! Capacity 0 (a rendezvous) panics; there is no `unbounded` and no `select!`. At most [`CAPACITY_MAX`] values, and at
//! most [`THREADS_MAX`] threads of a process may use rings at the same time: the one beyond panics at its first use.
//! When the last receiver is gone the length is 0 (theirs stays). A send that is under way while the last receiver goes may
//! find the room that is made by the going, and answer `Ok`: its value is dropped with the others that nobody received.
//! (Theirs says Disconnected.) `Debug` of an error has no quotes.
//!
//! # Sources
//!
//! The exchange of private cells against those of the entries ("symmetric swap") is this project's own; its ancestors are the
//! bounded queues of Vyukov and of Michael and Scott. Lamport 1983 and Lee et al. 2010 for the ring of two counters; Reed
//! and Kanodia 1979 for the event count. How it was verified: `docs/guarantees.md`.
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
#[doc(hidden)]
pub use channel::look_for_waiters;
pub use channel::{IntoIter, Iter, Receiver, Sender, TryIter, bounded, bounded_with};
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unsent,
};
#[cfg(feature = "async")]
pub use future::{RecvFuture, RecvStream, SendFuture};
pub use sole::{Consumer, Producer, spsc, spsc_with};
pub use swap::CAPACITY_MAX;
