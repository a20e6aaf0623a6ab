//! Blocking channels with a single receiver, or with a single end on each side.
//!
//! tokio's is asynchronous; here it runs without a runtime, by its own blocking calls. thingbuf writes into slots
//! that it keeps; its by-value calls are used, as with all others.

use super::{ends, peer};
use crate::ends::{Get, Named, Peer, Put, TryGet, TryPut};
use crate::value::{Tally, Value};
use crossfire::{MTx, Rx, Tx, mpsc, spsc};
use std::sync::mpsc as standard;
use thingbuf::mpsc::blocking as thing;
use tokio::sync::mpsc as tokio_mpsc;

peer!(
    /// The standard library's: crossbeam's algorithm.
    StdSync,
    "std sync_channel",
    standard::SyncSender<T>,
    standard::Receiver<T>,
    standard::sync_channel
);
ends!(standard::SyncSender<T>, standard::Receiver<T>, send, recv);

peer!(
    /// Many senders, one receiver.
    CrossfireMpsc,
    "crossfire mpsc",
    MTx<mpsc::Array<T>>,
    Rx<mpsc::Array<T>>,
    mpsc::bounded_blocking
);
ends!(MTx<mpsc::Array<T>>, Rx<mpsc::Array<T>>, send, recv);

peer!(
    /// One sender, one receiver.
    CrossfireSpsc,
    "crossfire spsc",
    Tx<spsc::Array<T>>,
    Rx<spsc::Array<T>>,
    spsc::bounded_blocking
);
ends!(Tx<spsc::Array<T>>, Rx<spsc::Array<T>>, send, recv);

peer!(
    /// Slots that are written in place.
    Thingbuf,
    "thingbuf",
    thing::Sender<T>,
    thing::Receiver<T>,
    thing::channel
);
ends!(thing::Sender<T>, thing::Receiver<T>, send, recv);

/// Blocks of a linked list, a semaphore for the room.
pub struct Tokio;

impl Named for Tokio {
    const NAME: &'static str = "tokio mpsc";
    const BATCHES: &'static str = "blocking_recv_many; sends singly";
}

impl<T: Value> Peer<T> for Tokio {
    type Sender = tokio_mpsc::Sender<T>;
    type Receiver = TokioReceiver<T>;

    fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = tokio_mpsc::channel(capacity);
        (sender, TokioReceiver { receiver, batch: Vec::new() })
    }
}

/// The receiver, with a place for its batches.
pub struct TokioReceiver<T> {
    receiver: tokio_mpsc::Receiver<T>,
    batch: Vec<T>,
}

impl<T: Value> TryPut<T> for tokio_mpsc::Sender<T> {
    fn try_put(&mut self, value: T) -> bool {
        self.try_send(value).is_ok()
    }
}

impl<T: Value> TryGet<T> for TokioReceiver<T> {
    fn try_get(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T: Value> Put<T> for tokio_mpsc::Sender<T> {
    fn put(&mut self, value: T) {
        assert!(self.blocking_send(value).is_ok(), "the receiver is there");
    }
}

impl<T: Value> Get<T> for TokioReceiver<T> {
    fn get(&mut self) -> T {
        self.receiver.blocking_recv().expect("the sender is there")
    }

    fn get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        let taken = self.receiver.blocking_recv_many(&mut self.batch, limit as usize);
        self.batch.drain(..).for_each(|value| tally.add(&value));
        taken as u64
    }
}
