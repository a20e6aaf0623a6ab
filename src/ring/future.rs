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
//! # Limits
//!
//! There is no runtime in here and no time: a deadline is the executor's. A registration takes a lock for a moment, and
//! so does the wake-up of a task; nothing else does. A task that always finds something never yields to its executor.

use super::channel::Receiver;
use super::error::{RecvError, SendError, TryRecvError, TrySendError};
use super::shared::Shared;
use super::sole::{AlonePop, AlonePush, Consumer};
use super::swap::Ring;
use crate::event::{EventCount, TaskKey};
use futures_core::{FusedStream, Stream};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The way in which one of the sending ends pushes.
pub(super) enum AnyPush<'a, T> {
    Shared(&'a Ring<T>),
    Alone(AlonePush<'a, T>),
}

/// The way in which one of the receiving ends pops.
pub(super) enum AnyPop<'a, T> {
    Shared(&'a Ring<T>),
    Alone(AlonePop<'a, T>),
}

impl<'a, T> From<&'a Ring<T>> for AnyPush<'a, T> {
    fn from(ring: &'a Ring<T>) -> Self {
        Self::Shared(ring)
    }
}

impl<'a, T> From<AlonePush<'a, T>> for AnyPush<'a, T> {
    fn from(alone: AlonePush<'a, T>) -> Self {
        Self::Alone(alone)
    }
}

impl<'a, T> From<&'a Ring<T>> for AnyPop<'a, T> {
    fn from(ring: &'a Ring<T>) -> Self {
        Self::Shared(ring)
    }
}

impl<'a, T> From<AlonePop<'a, T>> for AnyPop<'a, T> {
    fn from(alone: AlonePop<'a, T>) -> Self {
        Self::Alone(alone)
    }
}

impl<T> AnyPush<'_, T> {
    fn try_send(&mut self, shared: &Shared<T>, value: T) -> Result<(), TrySendError<T>> {
        match self {
            Self::Shared(push) => shared.try_send(value, push),
            Self::Alone(push) => shared.try_send(value, push),
        }
    }
}

impl<T> AnyPop<'_, T> {
    fn try_recv(&mut self, shared: &Shared<T>) -> Result<T, TryRecvError> {
        match self {
            Self::Shared(pop) => shared.try_recv(pop),
            Self::Alone(pop) => shared.try_recv(pop),
        }
    }
}

/// A task's place at an event count. Who has it gives it up when dropped.
#[derive(Default)]
struct Place(Option<TaskKey>);

impl Place {
    /// Attempts, and makes sure that the waker is known while there is no answer.
    fn poll<R>(
        &mut self,
        event: &EventCount,
        waker: &Waker,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Poll<R> {
        // Woken: this is the look that the wake was for. Not woken: the place in the list is good still.
        if let Some(key) = self.0.take_if(|key| !event.is_listening(key, waker)) {
            event.accept_task(key);
        }
        if let Some(answer) = attempt() {
            self.leave(event);
            return Poll::Ready(answer);
        }
        if self.0.is_some() {
            return Poll::Pending;
        }
        self.0 = Some(event.listen_task(waker));
        match attempt() {
            Some(answer) => {
                self.leave(event);
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }

    fn leave(&mut self, event: &EventCount) {
        if let Some(key) = self.0.take() {
            event.cancel_task(key);
        }
    }
}

/// One poll of a receive.
fn poll_recv<T>(
    shared: &Shared<T>,
    pop: &mut AnyPop<'_, T>,
    place: &mut Place,
    waker: &Waker,
) -> Poll<Result<T, RecvError>> {
    place.poll(shared.items(), waker, || match pop.try_recv(shared) {
        Ok(value) => Some(Ok(value)),
        Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
        Err(TryRecvError::Empty) => None,
    })
}

/// A receive on its way: `recv_async` of a receiver or a consumer.
#[must_use = "a future does nothing unless it is polled"]
pub struct RecvFuture<'a, T> {
    shared: &'a Shared<T>,
    pop: AnyPop<'a, T>,
    place: Place,
}

impl<'a, T> RecvFuture<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, pop: impl Into<AnyPop<'a, T>>) -> Self {
        Self { shared, pop: pop.into(), place: Place::default() }
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        poll_recv(this.shared, &mut this.pop, &mut this.place, context.waker())
    }
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        self.place.leave(self.shared.items());
    }
}

/// A send on its way: `send_async` of a sender or a producer.
#[must_use = "a future does nothing unless it is polled"]
pub struct SendFuture<'a, T> {
    shared: &'a Shared<T>,
    push: AnyPush<'a, T>,
    /// None when it was sent.
    value: Option<T>,
    place: Place,
}

// The value is moved in and out, never pinned.
impl<T> Unpin for SendFuture<'_, T> {}

impl<'a, T> SendFuture<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, push: impl Into<AnyPush<'a, T>>, value: T) -> Self {
        Self { shared, push: push.into(), value: Some(value), place: Place::default() }
    }

    /// The value, if it was not sent.
    pub fn into_inner(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// If it was ready before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, push, value, place } = self.get_mut();
        assert!(value.is_some(), "a send that was ready is not to be polled again");
        place.poll(shared.room(), context.waker(), || match push.try_send(shared, value.take()?) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Disconnected(back)) => Some(Err(SendError(back))),
            Err(TrySendError::Full(back)) => {
                *value = Some(back);
                None
            }
        })
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        self.place.leave(self.shared.room());
    }
}

/// What comes, as long as an end is borrowed: `stream` of a receiver or a consumer.
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecvStream<'a, T> {
    receive: RecvFuture<'a, T>,
    ended: bool,
}

impl<'a, T> RecvStream<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, pop: impl Into<AnyPop<'a, T>>) -> Self {
        Self { receive: RecvFuture::new(shared, pop), ended: false }
    }
}

impl<T> Stream for RecvStream<'_, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.receive).poll(context).map(Result::ok);
        this.ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.receive.shared.ring.len(), None)
    }
}

impl<T> FusedStream for RecvStream<'_, T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// An end that became a stream.
enum Owned<T> {
    Receiver(Receiver<T>),
    Consumer(Consumer<T>),
}

/// What comes, from an end of its own: `into_stream` of a receiver or a consumer.
#[must_use = "a stream does nothing unless it is polled"]
pub struct IntoStream<T> {
    end: Owned<T>,
    place: Place,
    ended: bool,
}

impl<T> IntoStream<T> {
    fn new(end: Owned<T>) -> Self {
        Self { end, place: Place::default(), ended: false }
    }
}

impl<T> Receiver<T> {
    /// What comes, as a stream that owns this end and ends when the channel is empty and disconnected.
    pub fn into_stream(self) -> IntoStream<T> {
        IntoStream::new(Owned::Receiver(self))
    }
}

impl<T> Consumer<T> {
    /// What comes, as a stream that owns this end and ends when the channel is empty and disconnected.
    pub fn into_stream(self) -> IntoStream<T> {
        IntoStream::new(Owned::Consumer(self))
    }
}

impl<T> Stream for IntoStream<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self { end, place, ended } = self.get_mut();
        let (shared, mut pop): (_, AnyPop<'_, T>) = match end {
            Owned::Receiver(receiver) => (&*receiver.shared, (&receiver.shared.ring).into()),
            Owned::Consumer(consumer) => {
                let (shared, pop) = consumer.parts();
                (shared, pop.into())
            }
        };
        let polled = poll_recv(shared, &mut pop, place, context.waker()).map(Result::ok);
        *ended |= matches!(polled, Poll::Ready(None));
        polled
    }
}

impl<T> FusedStream for IntoStream<T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> Drop for IntoStream<T> {
    fn drop(&mut self) {
        let shared = match &self.end {
            Owned::Receiver(receiver) => &receiver.shared,
            Owned::Consumer(consumer) => consumer.shared(),
        };
        self.place.leave(shared.items());
    }
}

macro_rules! debug_of {
    ($($Type:ident),+) => {
        $(impl<T> fmt::Debug for $Type<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(concat!(stringify!($Type), " { .. }"))
            }
        })+
    };
}

debug_of!(RecvFuture, SendFuture, RecvStream);

impl<T> fmt::Debug for IntoStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoStream { .. }")
    }
}
