//! Channels with many senders, many receivers and blocking calls.
//!
//! async-channel has both worlds; its blocking calls are used. kanal's attempts answer in their own shape.

use super::{ends, peer};
use crate::ends::{Get, Put, TryGet, TryPut};
use crate::value::Value;
use crossfire::{MRx, MTx, mpmc};

peer!(
    /// The baseline.
    Crossbeam,
    "crossbeam-channel",
    crossbeam_channel::Sender<T>,
    crossbeam_channel::Receiver<T>,
    crossbeam_channel::bounded
);
ends!(crossbeam_channel::Sender<T>, crossbeam_channel::Receiver<T>, send, recv);

peer!(
    /// A deque under a lock.
    Flume,
    "flume",
    flume::Sender<T>,
    flume::Receiver<T>,
    flume::bounded
);
ends!(flume::Sender<T>, flume::Receiver<T>, send, recv);

peer!(
    /// Over concurrent-queue and event-listener.
    AsyncChannel,
    "async-channel",
    async_channel::Sender<T>,
    async_channel::Receiver<T>,
    async_channel::bounded
);
ends!(async_channel::Sender<T>, async_channel::Receiver<T>, send_blocking, recv_blocking);

peer!(
    /// Crossbeam's queue with wakers of its own.
    CrossfireMpmc,
    "crossfire mpmc",
    MTx<mpmc::Array<T>>,
    MRx<mpmc::Array<T>>,
    mpmc::bounded_blocking
);
ends!(MTx<mpmc::Array<T>>, MRx<mpmc::Array<T>>, send, recv);

peer!(
    /// A deque under a spinning lock; values pass from stack to stack.
    Kanal,
    "kanal",
    kanal::Sender<T>,
    kanal::Receiver<T>,
    kanal::bounded
);

impl<T: Value> TryPut<T> for kanal::Sender<T> {
    fn try_put(&mut self, value: T) -> bool {
        self.try_send(value).expect("the receiver is there")
    }
}

impl<T: Value> TryGet<T> for kanal::Receiver<T> {
    fn try_get(&mut self) -> Option<T> {
        self.try_recv().ok().flatten()
    }
}

impl<T: Value> Put<T> for kanal::Sender<T> {
    fn put(&mut self, value: T) {
        self.send(value).expect("the receiver is there");
    }
}

impl<T: Value> Get<T> for kanal::Receiver<T> {
    fn get(&mut self) -> T {
        self.recv().expect("the sender is there")
    }
}
