//! One name for what the ends of a ring have in common, so that one test serves those that may have company and those
//! that are alone.

#![allow(dead_code)] // Each test takes what it needs.

use millstream::ring::{
    Consumer, Producer, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError, Unsent, WaitStrategy, bounded_with,
};
use std::time::{Duration, Instant};

/// What any end says of the channel.
pub trait End {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool;
    fn is_full(&self) -> bool;
    fn capacity(&self) -> Option<usize>;
}

/// A [`Sender`] or a [`Producer`].
pub trait SendEnd<T>: End + Sized {
    fn of(sender: Sender<T>) -> Self;
    fn into_shared(self) -> Sender<T>;
    fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>>;
    fn send(&mut self, value: T) -> Result<(), SendError<T>>;
    fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>>;
    fn send_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>>;
    fn send_many<I: Iterator<Item = T>>(&mut self, values: I)
    -> Result<usize, SendError<Unsent<I>>>;
    fn try_send_many<I: Iterator<Item = T>>(
        &mut self,
        values: I,
    ) -> Result<usize, TrySendError<Unsent<I>>>;
}

/// A [`Receiver`] or a [`Consumer`].
pub trait RecvEnd<T>: End + Sized {
    fn of(receiver: Receiver<T>) -> Self;
    fn into_shared(self) -> Receiver<T>;
    fn try_recv(&mut self) -> Result<T, TryRecvError>;
    fn recv(&mut self) -> Result<T, RecvError>;
    fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError>;
    fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError>;
    fn recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> Result<usize, RecvError>;
    fn try_recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> Result<usize, TryRecvError>;
}

/// A channel with such ends.
pub fn channel<T, S: SendEnd<T>, R: RecvEnd<T>>(capacity: usize) -> (S, R) {
    channel_with(capacity, WaitStrategy::default())
}

/// A channel with such ends, and with the way in which they wait.
pub fn channel_with<T, S: SendEnd<T>, R: RecvEnd<T>>(
    capacity: usize,
    strategy: WaitStrategy,
) -> (S, R) {
    let (sender, receiver) = bounded_with(capacity, strategy);
    (S::of(sender), R::of(receiver))
}

macro_rules! end {
    ($End:ident) => {
        impl<T> End for $End<T> {
            fn len(&self) -> usize {
                $End::len(self)
            }

            fn is_empty(&self) -> bool {
                $End::is_empty(self)
            }

            fn is_full(&self) -> bool {
                $End::is_full(self)
            }

            fn capacity(&self) -> Option<usize> {
                $End::capacity(self)
            }
        }
    };
}

macro_rules! send_end {
    ($End:ident, $of:expr, $into_shared:expr) => {
        end!($End);

        impl<T> SendEnd<T> for $End<T> {
            fn of(sender: Sender<T>) -> Self {
                $of(sender)
            }

            fn into_shared(self) -> Sender<T> {
                $into_shared(self)
            }

            fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
                $End::try_send(self, value)
            }

            fn send(&mut self, value: T) -> Result<(), SendError<T>> {
                $End::send(self, value)
            }

            fn send_timeout(&mut self, value: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
                $End::send_timeout(self, value, time)
            }

            fn send_deadline(&mut self, value: T, at: Instant) -> Result<(), SendTimeoutError<T>> {
                $End::send_deadline(self, value, at)
            }

            fn send_many<I: Iterator<Item = T>>(
                &mut self,
                values: I,
            ) -> Result<usize, SendError<Unsent<I>>> {
                $End::send_many(self, values)
            }

            fn try_send_many<I: Iterator<Item = T>>(
                &mut self,
                values: I,
            ) -> Result<usize, TrySendError<Unsent<I>>> {
                $End::try_send_many(self, values)
            }
        }
    };
}

macro_rules! recv_end {
    ($End:ident, $of:expr, $into_shared:expr) => {
        end!($End);

        impl<T> RecvEnd<T> for $End<T> {
            fn of(receiver: Receiver<T>) -> Self {
                $of(receiver)
            }

            fn into_shared(self) -> Receiver<T> {
                $into_shared(self)
            }

            fn try_recv(&mut self) -> Result<T, TryRecvError> {
                $End::try_recv(self)
            }

            fn recv(&mut self) -> Result<T, RecvError> {
                $End::recv(self)
            }

            fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
                $End::recv_timeout(self, timeout)
            }

            fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
                $End::recv_deadline(self, deadline)
            }

            fn recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> Result<usize, RecvError> {
                $End::recv_many(self, into, limit)
            }

            fn try_recv_many(
                &mut self,
                into: &mut Vec<T>,
                limit: usize,
            ) -> Result<usize, TryRecvError> {
                $End::try_recv_many(self, into, limit)
            }
        }
    };
}

send_end!(Sender, |sender| sender, |sender| sender);
send_end!(
    Producer,
    |sender: Sender<T>| sender.try_into_producer().expect("the only sender"),
    Producer::into_sender
);
recv_end!(Receiver, |receiver| receiver, |receiver| receiver);
recv_end!(
    Consumer,
    |receiver: Receiver<T>| receiver.try_into_consumer().expect("the only receiver"),
    Consumer::into_receiver
);

/// Calls `check::<S, R>($arguments)` for each pair of ends, for values of that type.
#[allow(unused_macros)]
macro_rules! for_all_ends {
    ($check:ident::<$T:ty>($($argument:expr),*)) => {
        $check::<millstream::ring::Sender<$T>, millstream::ring::Receiver<$T>>($($argument),*);
        $check::<millstream::ring::Sender<$T>, millstream::ring::Consumer<$T>>($($argument),*);
        $check::<millstream::ring::Producer<$T>, millstream::ring::Receiver<$T>>($($argument),*);
        $check::<millstream::ring::Producer<$T>, millstream::ring::Consumer<$T>>($($argument),*);
    };
}
#[allow(unused_imports)]
pub(crate) use for_all_ends;
