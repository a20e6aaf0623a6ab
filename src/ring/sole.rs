//! The ends that are alone on their side: a producer, a consumer.
//!
//! Being alone is known to the compiler: they are not cloned and not shared, so what they do needs no exchange. A sender
//! that finds itself the only one becomes a [`Producer`], a receiver a [`Consumer`], and back: the two sides are
//! independent, a producer may have many receivers. [`spsc`] makes one of each that stay so, on a buffer of their own.
//!
//! Who guarantees that nobody else is on the side: the count was 1 when the end was made, out of the one end that there
//! was; more come from ends that clone only, and this one does not. The end counts as one all the while.

#![allow(unsafe_code)]

use super::buffer::{Buffer, Many, One, Peer};
use super::channel::{Receiver, Sender};
use super::direct::Direct;
use super::ends::{any_end, receiving_end, sending_end};
use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unsent,
};
#[cfg(feature = "async")]
use super::future::{RecvFuture, RecvStream, SendFuture};
use super::shared::{Pop, Push, Shared};
use crate::sync::Arc;
use crate::wait::WaitStrategy;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// A channel with one end on each side, that holds up to `capacity` values. The ends stay alone.
///
/// ```
/// let (mut producer, mut consumer) = millstream::ring::spsc(8);
/// producer.send("a").unwrap();
/// assert_eq!(consumer.peek(), Some(&"a"));
/// assert_eq!(consumer.recv(), Ok("a"));
/// ```
///
/// # Panics
///
/// If `capacity` is 0 or more than [`CAPACITY_MAX`](super::CAPACITY_MAX), or so many values are more than can be addressed.
pub fn spsc<T>(capacity: usize) -> (Producer<T, One>, Consumer<T, One>) {
    spsc_with(capacity, WaitStrategy::default())
}

/// As [`spsc`], with the way in which its blocking calls wait.
///
/// # Panics
///
/// As [`spsc`].
pub fn spsc_with<T>(
    capacity: usize,
    strategy: WaitStrategy,
) -> (Producer<T, One>, Consumer<T, One>) {
    let shared = Arc::new(Shared::new(Direct::new(capacity), strategy));
    let (push, pop) = (shared.ring.begin_push(), shared.ring.begin_pop());
    (Producer::new(shared.clone(), push), Consumer::new(shared, pop))
}

/// The sending end that is alone: of [`Sender::try_into_producer`] and of [`spsc`]. May go to another thread, is not
/// shared or cloned.
///
/// `P` says how many ends the other side may have: [`Many`], or [`One`].
pub struct Producer<T, P: Peer = Many> {
    side: <P::Buffer<T> as Buffer>::Push,
    pub(super) shared: Arc<Shared<P::Buffer<T>>>,
    _not_shared: PhantomData<Cell<()>>,
}

sending_end!([T, P: Peer], Producer<T, P>, &mut Self, self, &mut self);
any_end!([T, P: Peer], Producer<T, P>, "Producer");

impl<T, P: Peer> Producer<T, P> {
    /// Of the only sending end there is, which this one stands for from now on.
    pub(super) fn new(
        shared: Arc<Shared<P::Buffer<T>>>,
        side: <P::Buffer<T> as Buffer>::Push,
    ) -> Self {
        Self { side, shared, _not_shared: PhantomData }
    }

    #[inline]
    fn parts(&mut self) -> PushLent<'_, P::Buffer<T>> {
        (&self.shared, Lent { ring: &self.shared.ring, side: &mut self.side })
    }
}

impl<T> Producer<T> {
    /// The end that may have company.
    pub fn into_sender(self) -> Sender<T> {
        // One end more for a moment: this one goes when it is dropped here.
        self.shared.add_sender();
        Sender { shared: self.shared.clone() }
    }
}

impl<T, P: Peer> Drop for Producer<T, P> {
    fn drop(&mut self) {
        self.shared.drop_sender();
    }
}

/// The receiving end that is alone: of [`Receiver::try_into_consumer`] and of [`spsc`]. May go to another thread, is not
/// shared or cloned.
///
/// `P` says how many ends the other side may have: [`Many`], or [`One`].
pub struct Consumer<T, P: Peer = Many> {
    side: <P::Buffer<T> as Buffer>::Pop,
    pub(super) shared: Arc<Shared<P::Buffer<T>>>,
    _not_shared: PhantomData<Cell<()>>,
}

receiving_end!([T, P: Peer], Consumer<T, P>, &mut Self, self, &mut self);
any_end!([T, P: Peer], Consumer<T, P>, "Consumer");

impl<T, P: Peer> Consumer<T, P> {
    /// Of the only receiving end there is, which this one stands for from now on.
    pub(super) fn new(
        shared: Arc<Shared<P::Buffer<T>>>,
        side: <P::Buffer<T> as Buffer>::Pop,
    ) -> Self {
        Self { side, shared, _not_shared: PhantomData }
    }

    /// The value that comes next, left where it is. None if the channel was empty at one moment of the call.
    pub fn peek(&mut self) -> Option<&T> {
        // SAFETY: this is the only end on its side (the page above), and `side` was made by its buffer.
        unsafe { self.shared.ring.peek_alone(&mut self.side) }
    }

    /// Receives what comes, waiting for each, until the channel is empty and disconnected.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Receives what is there, without waiting.
    pub fn try_iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    #[inline]
    fn parts(&mut self) -> PopLent<'_, P::Buffer<T>> {
        (&self.shared, Lent { ring: &self.shared.ring, side: &mut self.side })
    }
}

impl<T> Consumer<T> {
    /// The end that may have company.
    pub fn into_receiver(self) -> Receiver<T> {
        // One end more for a moment: this one goes when it is dropped here.
        self.shared.add_receiver();
        Receiver { shared: self.shared.clone() }
    }
}

impl<T, P: Peer> Drop for Consumer<T, P> {
    fn drop(&mut self) {
        self.shared.drop_receiver();
    }
}

/// An end that is alone, for as long as it is borrowed: its buffer and its state.
struct Lent<'a, R, S> {
    ring: &'a R,
    side: &'a mut S,
}

type PushLent<'a, R> = (&'a Shared<R>, Lent<'a, R, <R as Buffer>::Push>);
type PopLent<'a, R> = (&'a Shared<R>, Lent<'a, R, <R as Buffer>::Pop>);

impl<R: Buffer> Push<R::Item> for Lent<'_, R, R::Push> {
    #[inline]
    fn push(&mut self, value: R::Item) -> Result<u64, R::Item> {
        // SAFETY: the producer that lends this is the only end on its side (the page above), and has one state, which its
        // buffer made.
        unsafe { self.ring.push_alone(self.side, value) }
    }

    #[inline]
    fn push_many(
        &mut self,
        values: &mut impl Iterator<Item = R::Item>,
        pushed: &mut usize,
    ) -> Option<R::Item> {
        // SAFETY: as for `push`.
        unsafe { self.ring.push_many_alone(self.side, values, pushed) }
    }
}

impl<R: Buffer> Pop<R::Item> for Lent<'_, R, R::Pop> {
    #[inline]
    fn pop(&mut self) -> Option<(u64, R::Item)> {
        // SAFETY: the consumer that lends this is the only end on its side (the page above), and has one state, which its
        // buffer made.
        unsafe { self.ring.pop_alone(self.side) }
    }

    #[inline]
    fn pop_many(&mut self, into: &mut Vec<R::Item>, limit: usize, popped: &mut usize) {
        // SAFETY: as for `pop`.
        unsafe { self.ring.pop_many_alone(self.side, into, limit, popped) }
    }
}
