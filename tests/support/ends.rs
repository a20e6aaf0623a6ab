//! One name for what the ends of a ring have in common, so that one test serves every kind of channel: with company or
//! alone on either side, and the ring for two that stay alone.

#![allow(dead_code)] // Each test takes what it needs.

#[cfg(feature = "async")]
use futures_core::FusedStream;
#[cfg(feature = "async")]
use millstream::ring::SendFuture;
use millstream::ring::{
    Consumer, Many, One, Producer, Receiver, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TryRecvError, TrySendError, Unsent, WaitStrategy, bounded_with,
    spsc_with,
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
    fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>>;
    fn send(&mut self, value: T) -> Result<(), SendError<T>>;
    fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>>;
    fn send_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>>;
    fn send_many<I: IntoIterator<Item = T>>(
        &mut self,
        values: I,
    ) -> Result<usize, SendError<Unsent<I::IntoIter>>>;
    fn try_send_many<I: IntoIterator<Item = T>>(
        &mut self,
        values: I,
    ) -> Result<usize, TrySendError<Unsent<I::IntoIter>>>;
    #[cfg(feature = "async")]
    fn send_async(&mut self, value: T) -> impl Sending<T>
    where
        T: Send;
}

/// A send on its way.
#[cfg(feature = "async")]
pub trait Sending<T>: Future<Output = Result<(), SendError<T>>> + Unpin + Send {
    /// The value, if it was not sent.
    fn into_inner(self) -> Option<T>;
}

/// A [`Receiver`] or a [`Consumer`].
pub trait RecvEnd<T>: End + Sized {
    fn try_recv(&mut self) -> Result<T, TryRecvError>;
    fn recv(&mut self) -> Result<T, RecvError>;
    fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError>;
    fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError>;
    fn recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> Result<usize, RecvError>;
    fn try_recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> Result<usize, TryRecvError>;
    #[cfg(feature = "async")]
    fn recv_async(&mut self) -> impl Future<Output = Result<T, RecvError>> + Unpin + Send
    where
        T: Send;
    #[cfg(feature = "async")]
    fn stream(&mut self) -> impl FusedStream<Item = T> + Unpin + Send
    where
        T: Send;
    #[cfg(feature = "async")]
    fn into_stream(self) -> impl FusedStream<Item = T> + Unpin + Send
    where
        T: Send;
}

/// A kind of channel: which ends it has.
pub trait Kind {
    type Sender<T: Send>: SendEnd<T> + Send;
    type Receiver<T: Send>: RecvEnd<T> + Send;

    fn channel_with<T: Send>(
        capacity: usize,
        strategy: WaitStrategy,
    ) -> (Self::Sender<T>, Self::Receiver<T>);

    fn channel<T: Send>(capacity: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        Self::channel_with(capacity, WaitStrategy::default())
    }
}

macro_rules! kind {
    ($(#[$said:meta])* $Kind:ident, $Sender:ty, $Receiver:ty, |$capacity:ident, $strategy:ident| $make:expr) => {
        $(#[$said])*
        pub struct $Kind;

        impl Kind for $Kind {
            type Sender<T: Send> = $Sender;
            type Receiver<T: Send> = $Receiver;

            fn channel_with<T: Send>($capacity: usize, $strategy: WaitStrategy) -> ($Sender, $Receiver) {
                $make
            }
        }
    };
}

fn producer<T>(sender: Sender<T>) -> Producer<T> {
    sender.try_into_producer().expect("the only sender")
}

fn consumer<T>(receiver: Receiver<T>) -> Consumer<T> {
    receiver.try_into_consumer().expect("the only receiver")
}

kind!(
    /// Both sides may have company.
    Shared, Sender<T>, Receiver<T>, |capacity, strategy| bounded_with(capacity, strategy)
);
kind!(
    /// One sends.
    OneSends, Producer<T>, Receiver<T>, |capacity, strategy| {
        let (sender, receiver) = bounded_with(capacity, strategy);
        (producer(sender), receiver)
    }
);
kind!(
    /// One receives.
    OneReceives, Sender<T>, Consumer<T>, |capacity, strategy| {
        let (sender, receiver) = bounded_with(capacity, strategy);
        (sender, consumer(receiver))
    }
);
kind!(
    /// One on each side for the time being.
    BothAlone, Producer<T>, Consumer<T>, |capacity, strategy| {
        let (sender, receiver) = bounded_with(capacity, strategy);
        (producer(sender), consumer(receiver))
    }
);
kind!(
    /// One on each side for good.
    Spsc, Producer<T, One>, Consumer<T, One>, |capacity, strategy| spsc_with(capacity, strategy)
);

/// Calls `check::<Kind>(arguments)` for each kind.
#[allow(unused_macros)]
macro_rules! for_all_kinds {
    ($check:ident($($argument:expr),*)) => {
        $check::<ends::Shared>($($argument),*);
        $check::<ends::OneSends>($($argument),*);
        $check::<ends::OneReceives>($($argument),*);
        $check::<ends::BothAlone>($($argument),*);
        $check::<ends::Spsc>($($argument),*);
    };
}
#[allow(unused_imports)]
pub(crate) use for_all_kinds;

macro_rules! end {
    ($End:ident, $Whole:ty) => {
        impl<T> End for $Whole {
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
    ($End:ident, $Whole:ty) => {
        end!($End, $Whole);

        impl<T> SendEnd<T> for $Whole {
            fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
                $End::try_send(self, value)
            }

            fn send(&mut self, value: T) -> Result<(), SendError<T>> {
                $End::send(self, value)
            }

            fn send_timeout(
                &mut self,
                value: T,
                time: Duration,
            ) -> Result<(), SendTimeoutError<T>> {
                $End::send_timeout(self, value, time)
            }

            fn send_deadline(&mut self, value: T, at: Instant) -> Result<(), SendTimeoutError<T>> {
                $End::send_deadline(self, value, at)
            }

            fn send_many<I: IntoIterator<Item = T>>(
                &mut self,
                values: I,
            ) -> Result<usize, SendError<Unsent<I::IntoIter>>> {
                $End::send_many(self, values)
            }

            fn try_send_many<I: IntoIterator<Item = T>>(
                &mut self,
                values: I,
            ) -> Result<usize, TrySendError<Unsent<I::IntoIter>>> {
                $End::try_send_many(self, values)
            }

            #[cfg(feature = "async")]
            fn send_async(&mut self, value: T) -> impl Sending<T>
            where
                T: Send,
            {
                $End::send_async(self, value)
            }
        }
    };
}

macro_rules! recv_end {
    ($End:ident, $Whole:ty) => {
        end!($End, $Whole);

        impl<T> RecvEnd<T> for $Whole {
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

            #[cfg(feature = "async")]
            fn recv_async(&mut self) -> impl Future<Output = Result<T, RecvError>> + Unpin + Send
            where
                T: Send,
            {
                $End::recv_async(self)
            }

            #[cfg(feature = "async")]
            fn stream(&mut self) -> impl FusedStream<Item = T> + Unpin + Send
            where
                T: Send,
            {
                $End::stream(self)
            }

            #[cfg(feature = "async")]
            fn into_stream(self) -> impl FusedStream<Item = T> + Unpin + Send
            where
                T: Send,
            {
                $End::into_stream(self)
            }
        }
    };
}

#[cfg(feature = "async")]
macro_rules! sending {
    ($($Lent:ty),+) => {
        $(impl<T: Send> Sending<T> for SendFuture<$Lent> {
            fn into_inner(self) -> Option<T> {
                SendFuture::into_inner(self)
            }
        })+
    };
}

#[cfg(feature = "async")]
sending!(&Sender<T>, &mut Producer<T, Many>, &mut Producer<T, One>);
send_end!(Sender, Sender<T>);
send_end!(Producer, Producer<T, Many>);
send_end!(Producer, Producer<T, One>);
recv_end!(Receiver, Receiver<T>);
recv_end!(Consumer, Consumer<T, Many>);
recv_end!(Consumer, Consumer<T, One>);
