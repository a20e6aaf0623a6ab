//! The ends as tasks use them: futures and a stream, for any executor.
//!
//! A future tries; if the ring is empty (full), it leaves its waker with the event count, tries again, and returns.
//! Nothing is held between two polls but that registration, so a future may be dropped at any of them:
//!
//! | it is dropped | then |
//! | --- | --- |
//! | before it was polled | nothing has happened |
//! | while it waits | its registration is taken out |
//! | after it was woken, before it looked | the wake-up goes to somebody else: the value that it was for is still there |
//! | when it was ready | the value has left the ring, and is the caller's |
//!
//! Threads and tasks may wait on one channel: the event count ([`crate::event`]) knows both.
//!
//! A future has an end, lent or its own: `RecvFuture<&Receiver<T>>`, `RecvStream<Consumer<T>>`.
//!
//! # Limits
//!
//! A future that was polled and is then neither polled nor dropped keeps its place, and swallows the wake-up that reaches
//! it: whoever loses interest must drop it. The same for a stream that waits.
//!
//! There is no runtime in here and no time: a deadline is the executor's. A registration takes a lock for a moment, and
//! so does the wake-up of a task; nothing else does. A task that always finds something never yields to its executor.

use super::buffer::{Buffer, Peer};
use super::channel::{Receiver, Sender};
use super::error::{RecvError, SendError, TryRecvError, TrySendError};
use super::sole::{Consumer, Producer};
use crate::event::{EventCount, TaskKey};
use crate::sync::mutant;
use futures_core::{FusedStream, Stream};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A sending end as a future has it.
pub trait Sending {
    /// The values.
    type Item;
    /// As the end's own.
    fn attempt(&mut self, value: Self::Item) -> Result<(), TrySendError<Self::Item>>;
    /// Where it waits.
    fn room(&self) -> &EventCount;
    /// Before it waits.
    fn call_receivers(&self);
}

/// A receiving end as a future has it.
pub trait Receiving {
    /// The values.
    type Item;
    /// As the end's own.
    fn attempt(&mut self) -> Result<Self::Item, TryRecvError>;
    /// Where it waits.
    fn items(&self) -> &EventCount;
    /// Values that nobody else can take.
    fn at_least(&self) -> usize;
}

macro_rules! sending {
    ([$($generics:tt)+], $Lent:ty) => {
        impl<$($generics)+> Sending for $Lent {
            type Item = T;

            fn attempt(&mut self, value: T) -> Result<(), TrySendError<T>> {
                self.try_send(value)
            }

            fn room(&self) -> &EventCount {
                self.shared.room()
            }

            fn call_receivers(&self) {
                self.shared.call_receivers();
            }
        }
    };
}

macro_rules! receiving {
    ([$($generics:tt)+], $Lent:ty, $is_alone:literal) => {
        impl<$($generics)+> Receiving for $Lent {
            type Item = T;

            fn attempt(&mut self) -> Result<T, TryRecvError> {
                self.try_recv()
            }

            fn items(&self) -> &EventCount {
                self.shared.items()
            }

            fn at_least(&self) -> usize {
                if $is_alone { self.shared.ring.len() } else { 0 }
            }
        }
    };
}

sending!([T], &Sender<T>);
sending!([T, P: Peer], &mut Producer<T, P>);
receiving!([T], &Receiver<T>, false);
receiving!([T], Receiver<T>, false);
receiving!([T, P: Peer], &mut Consumer<T, P>, true);
receiving!([T, P: Peer], Consumer<T, P>, true);

/// A task's place at an event count. Who has it gives it up when dropped.
#[derive(Default)]
struct Place(Option<TaskKey>);

impl Place {
    /// Attempts, and makes sure that the waker is known while there is no answer.
    fn poll<E, A>(
        &mut self,
        end: &mut E,
        event: impl Fn(&E) -> &EventCount,
        waker: &Waker,
        mut attempt: impl FnMut(&mut E) -> Option<A>,
    ) -> Poll<A> {
        // Woken: this is the look that the wake was for, and the key has done its duty. Not woken: the place is good still.
        let _done = self.0.take_if(|key| !event(end).is_listening(key, waker));
        if let Some(answer) = attempt(end) {
            self.leave(event(end));
            return Poll::Ready(answer);
        }
        if self.0.is_some() {
            return Poll::Pending;
        }
        let key = event(end).listen_task(waker);
        let is_sure = key.is_sure();
        self.0 = Some(key);
        let answer = if mutant("poll_blind") { None } else { attempt(end) };
        if answer.is_some() || !is_sure {
            self.leave(event(end));
        }
        if !is_sure {
            waker.wake_by_ref(); // the barrier is being changed: this task looks again by itself
        }
        answer.map_or(Poll::Pending, Poll::Ready)
    }

    fn leave(&mut self, event: &EventCount) {
        if let Some(key) = self.0.take() {
            event.cancel_task(key);
        }
    }
}

/// A receive on its way: `recv_async` of a receiver or a consumer.
///
/// Once polled it is to be polled on or dropped: one that is kept aside swallows the wake-up that reaches it.
#[must_use = "a future does nothing unless it is polled"]
pub struct RecvFuture<E: Receiving> {
    end: E,
    place: Place,
}

// The end is used, never pinned.
impl<E: Receiving> Unpin for RecvFuture<E> {}

impl<E: Receiving> RecvFuture<E> {
    pub(super) fn new(end: E) -> Self {
        Self { end, place: Place::default() }
    }

    fn poll_recv(&mut self, waker: &Waker) -> Poll<Result<E::Item, RecvError>> {
        let Self { end, place } = self;
        place.poll(end, E::items, waker, |end| match end.attempt() {
            Ok(value) => Some(Ok(value)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
            Err(TryRecvError::Empty) => None,
        })
    }
}

impl<E: Receiving> Future for RecvFuture<E> {
    type Output = Result<E::Item, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_recv(context.waker())
    }
}

impl<E: Receiving> Drop for RecvFuture<E> {
    fn drop(&mut self) {
        self.place.leave(self.end.items());
    }
}

/// A send on its way: `send_async` of a sender or a producer.
///
/// Once polled it is to be polled on or dropped: one that is kept aside swallows the wake-up that reaches it.
#[must_use = "a future does nothing unless it is polled"]
pub struct SendFuture<E: Sending> {
    end: E,
    /// None when it was sent.
    value: Option<E::Item>,
    place: Place,
}

// The value is moved in and out, never pinned.
impl<E: Sending> Unpin for SendFuture<E> {}

impl<E: Sending> SendFuture<E> {
    pub(super) fn new(end: E, value: E::Item) -> Self {
        Self { end, value: Some(value), place: Place::default() }
    }

    /// The value, if it was not sent.
    pub fn into_inner(mut self) -> Option<E::Item> {
        self.value.take()
    }
}

impl<E: Sending> Future for SendFuture<E> {
    type Output = Result<(), SendError<E::Item>>;

    /// # Panics
    ///
    /// If it was ready before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { end, value, place } = self.get_mut();
        assert!(value.is_some(), "a send that was ready is not to be polled again");
        place.poll(end, E::room, context.waker(), |end| match end.attempt(value.take()?) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Disconnected(back)) => Some(Err(SendError(back))),
            Err(TrySendError::Full(back)) => {
                *value = Some(back);
                end.call_receivers();
                None
            }
        })
    }
}

impl<E: Sending> Drop for SendFuture<E> {
    fn drop(&mut self) {
        self.place.leave(self.end.room());
    }
}

/// What comes: `stream` and `into_stream` of a receiver or a consumer. It ends when the channel is empty and
/// disconnected.
///
/// Once polled it is to be polled on or dropped: one that is kept aside swallows the wake-up that reaches it.
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecvStream<E: Receiving> {
    receive: RecvFuture<E>,
    ended: bool,
}

impl<E: Receiving> RecvStream<E> {
    pub(super) fn new(end: E) -> Self {
        Self { receive: RecvFuture::new(end), ended: false }
    }
}

impl<E: Receiving> Stream for RecvStream<E> {
    type Item = E::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E::Item>> {
        let this = self.get_mut();
        let polled = this.receive.poll_recv(context.waker()).map(Result::ok);
        this.ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.receive.end.at_least(), None)
    }
}

impl<E: Receiving> FusedStream for RecvStream<E> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> Receiver<T> {
    /// What comes, as a stream that owns this end.
    pub fn into_stream(self) -> RecvStream<Self> {
        RecvStream::new(self)
    }
}

impl<T, P: Peer> Consumer<T, P> {
    /// What comes, as a stream that owns this end.
    pub fn into_stream(self) -> RecvStream<Self> {
        RecvStream::new(self)
    }
}

macro_rules! opaque {
    ($($Type:ident: $End:ident),+) => {
        $(impl<E: $End> fmt::Debug for $Type<E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(concat!(stringify!($Type), " { .. }"))
            }
        })+
    };
}

opaque!(RecvFuture: Receiving, SendFuture: Sending, RecvStream: Receiving);
