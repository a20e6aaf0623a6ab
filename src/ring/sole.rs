//! The ends that are alone on their side: a producer, a consumer.
//!
//! Being alone is known to the compiler: they are not cloned and not shared, so what they do needs no exchange
//! ([`super::alone`]). A sender that finds itself the only one becomes a [`Producer`], a receiver a [`Consumer`], and back;
//! [`spsc`] makes one of each. The two sides are independent: a producer may have many receivers.
//!
//! Who guarantees that nobody else is on the side: the count was 1 when the end was made, out of the one end that there
//! was; more come from ends that clone only, and this one does not. The end counts as one all the while.

#![allow(unsafe_code)]

use super::alone::Alone;
use super::channel::{Receiver, Sender, bounded_with};
use super::ends::{any_end, receiving_end, sending_end};
use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unsent,
};
#[cfg(feature = "async")]
use super::future::{RecvFuture, RecvStream, SendFuture};
use super::shared::{Pop, Push, Shared};
use super::swap::Ring;
use crate::wait::WaitStrategy;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// A channel with one end on each side, that holds up to `capacity` values.
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
/// If `capacity` is 0 or more than [`CAPACITY_MAX`](super::CAPACITY_MAX).
pub fn spsc<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    spsc_with(capacity, WaitStrategy::default())
}

/// As [`spsc`], with the way in which its blocking calls wait.
///
/// # Panics
///
/// As [`spsc`].
pub fn spsc_with<T>(capacity: usize, strategy: WaitStrategy) -> (Producer<T>, Consumer<T>) {
    let (sender, receiver) = bounded_with(capacity, strategy);
    (Producer::new(sender), Consumer::new(receiver))
}

/// The sending end that is alone: [`Sender::try_into_producer`], [`spsc`]. May go to another thread, is not shared or
/// cloned.
pub struct Producer<T> {
    alone: Alone,
    sender: Sender<T>,
    _not_shared: PhantomData<Cell<()>>,
}

sending_end!(Producer, self, &mut self);
any_end!(Producer, "Producer");

impl<T> Producer<T> {
    /// Of the only sender there is.
    pub(super) fn new(sender: Sender<T>) -> Self {
        let alone = sender.shared.ring.begin_push_alone();
        Self { alone, sender, _not_shared: PhantomData }
    }

    /// The end that may have company.
    pub fn into_sender(self) -> Sender<T> {
        self.sender.clone() // and this one goes, with what it had of the ring
    }

    #[inline]
    fn parts(&mut self) -> (&Shared<T>, AlonePush<'_, T>) {
        let shared = &*self.sender.shared;
        (shared, AlonePush { ring: &shared.ring, alone: &mut self.alone })
    }

    fn ring(&self) -> &Ring<T> {
        &self.sender.shared.ring
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // Before the count falls, which is when the sender goes.
        self.sender.shared.ring.end_push_alone(&mut self.alone);
    }
}

/// A push by a producer, for as long as it is borrowed.
pub(super) struct AlonePush<'a, T> {
    ring: &'a Ring<T>,
    alone: &'a mut Alone,
}

impl<T> Push<T> for AlonePush<'_, T> {
    #[inline]
    fn push(&mut self, value: T) -> Result<u64, T> {
        // SAFETY: the producer that lends this is the only end on its side (the page above), and made `alone`.
        unsafe { self.ring.push_alone(self.alone, value) }
    }

    #[inline]
    fn push_many(&mut self, values: &mut impl Iterator<Item = T>, pushed: &mut usize) -> Option<T> {
        for value in values {
            if let Err(value) = self.push(value) {
                return Some(value);
            }
            *pushed += 1;
        }
        None
    }
}

/// The receiving end that is alone: [`Receiver::try_into_consumer`], [`spsc`]. May go to another thread, is not shared or
/// cloned.
pub struct Consumer<T> {
    alone: Alone,
    receiver: Receiver<T>,
    _not_shared: PhantomData<Cell<()>>,
}

receiving_end!(Consumer, self, &mut self);
any_end!(Consumer, "Consumer");

impl<T> Consumer<T> {
    /// Of the only receiver there is.
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        let alone = receiver.shared.ring.begin_pop_alone();
        Self { alone, receiver, _not_shared: PhantomData }
    }

    /// The end that may have company.
    pub fn into_receiver(self) -> Receiver<T> {
        self.receiver.clone() // and this one goes, with what it had of the ring
    }

    /// The value that comes next, left where it is. None if the channel was empty at one moment of the call.
    pub fn peek(&mut self) -> Option<&T> {
        let ring = &self.receiver.shared.ring;
        // SAFETY: this is the only end on its side (the page above), and `alone` was made by its ring.
        unsafe { ring.peek_alone(&mut self.alone) }
    }

    /// Receives what comes, waiting for each, until the channel is empty and disconnected.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Receives what is there, without waiting.
    pub fn try_iter(&mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    #[cfg(feature = "async")]
    pub(super) fn shared(&self) -> &Shared<T> {
        &self.receiver.shared
    }

    #[inline]
    pub(super) fn parts(&mut self) -> (&Shared<T>, AlonePop<'_, T>) {
        let shared = &*self.receiver.shared;
        (shared, AlonePop { ring: &shared.ring, alone: &mut self.alone })
    }

    fn ring(&self) -> &Ring<T> {
        &self.receiver.shared.ring
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // Before the count falls, which is when the receiver goes.
        self.receiver.shared.ring.end_pop_alone(&mut self.alone);
    }
}

/// A pop by a consumer, for as long as it is borrowed.
pub(super) struct AlonePop<'a, T> {
    ring: &'a Ring<T>,
    alone: &'a mut Alone,
}

impl<T> Pop<T> for AlonePop<'_, T> {
    #[inline]
    fn pop(&mut self) -> Option<(u64, T)> {
        // SAFETY: the consumer that lends this is the only end on its side (the page above), and made `alone`.
        unsafe { self.ring.pop_alone(self.alone) }
    }

    #[inline]
    fn pop_many(&mut self, into: &mut Vec<T>, limit: usize, popped: &mut usize) {
        for _ in 0..limit {
            into.reserve(1); // before the value is out of the ring
            let Some((_, value)) = self.pop() else { return };
            into.push(value);
            *popped += 1;
        }
    }
}
