//! The ends that may have company: senders and receivers that clone, and that any thread may use at any time.
//!
//! Names and meanings are crossbeam-channel's. What they do is in [`super::shared`], their methods are in `ends.rs`.

use super::buffer::Buffer;
use super::ends::{any_end, receiving_end, sending_end};
use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unsent,
};
#[cfg(feature = "async")]
use super::future::{RecvFuture, RecvStream, SendFuture};
use super::shared::Shared;
use super::sole::{Consumer, Producer};
use super::swap::Ring;
use crate::sync::{Arc, mutant};
use crate::wait::WaitStrategy;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// A channel that holds up to `capacity` values.
///
/// ```
/// let (sender, receiver) = millstream::ring::bounded(1);
/// sender.send("a").unwrap();
/// assert!(sender.try_send("b").unwrap_err().is_full());
/// assert_eq!(receiver.recv(), Ok("a"));
/// ```
///
/// # Panics
///
/// If `capacity` is 0 or more than [`CAPACITY_MAX`](super::CAPACITY_MAX), or so many values are more than can be addressed.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    bounded_with(capacity, WaitStrategy::default())
}

/// As [`bounded`], with the way in which its blocking calls wait.
///
/// # Panics
///
/// As [`bounded`].
pub fn bounded_with<T>(capacity: usize, strategy: WaitStrategy) -> (Sender<T>, Receiver<T>) {
    over(Ring::new(capacity), strategy)
}

/// What a send does to find out whether a receiver sleeps, alone: for the benchmark that says what it costs.
#[doc(hidden)]
#[inline]
pub fn look_for_waiters<T>(sender: &Sender<T>) {
    sender.shared.tell_of_items(1);
}

/// A channel over that ring.
pub fn over<T>(ring: Ring<T>, strategy: WaitStrategy) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(ring, strategy));
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The sending end of a channel. Clones send into the same ring; any thread may use any of them.
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<Ring<T>>>,
}

sending_end!([T], Sender<T>, &Self, self, &self);
any_end!([T], Sender<T>, "Sender");

impl<T> Sender<T> {
    /// The end that is alone, if this is the only sender: it sends faster, and cannot be cloned or shared.
    ///
    /// # Errors
    ///
    /// There is another sender; this one comes back.
    pub fn try_into_producer(self) -> Result<Producer<T>, Self> {
        let early = mutant("count_late").then(|| self.shared.ring.begin_push());
        if !self.shared.is_sole_sender() {
            return Err(self);
        }
        // After the count, or the entries may be older than the last push of an end that went.
        let side = early.unwrap_or_else(|| self.shared.ring.begin_push());
        // One end more for a moment: this one goes when it is dropped here.
        self.shared.add_sender();
        Ok(Producer::new(self.shared.clone(), side))
    }

    /// Do both send into one channel?
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    #[inline]
    fn parts(&self) -> (&Shared<Ring<T>>, &Ring<T>) {
        (&self.shared, &self.shared.ring)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.add_sender();
        Self { shared }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.drop_sender();
    }
}

/// The receiving end of a channel. Clones take from the same ring, each value goes to one of them; any thread may
/// use any of them.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<Ring<T>>>,
}

receiving_end!([T], Receiver<T>, &Self, self, &self);
any_end!([T], Receiver<T>, "Receiver");

impl<T> Receiver<T> {
    /// The end that is alone, if this is the only receiver: it receives faster, may look at the next value without
    /// taking it, and cannot be cloned or shared.
    ///
    /// # Errors
    ///
    /// There is another receiver; this one comes back.
    pub fn try_into_consumer(self) -> Result<Consumer<T>, Self> {
        let early = mutant("count_late").then(|| self.shared.ring.begin_pop());
        if !self.shared.is_sole_receiver() {
            return Err(self);
        }
        // After the count, as for a producer.
        let side = early.unwrap_or_else(|| self.shared.ring.begin_pop());
        // One end more for a moment: this one goes when it is dropped here.
        self.shared.add_receiver();
        Ok(Consumer::new(self.shared.clone(), side))
    }

    /// Receives what comes, waiting for each, until the channel is empty and disconnected.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Receives what is there, without waiting.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Do both receive from one channel?
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    #[inline]
    fn parts(&self) -> (&Shared<Ring<T>>, &Ring<T>) {
        (&self.shared, &self.shared.ring)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.add_receiver();
        Self { shared }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.drop_receiver();
    }
}

/// What [`Receiver::iter`] gives: waits for each value.
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Iter { .. }")
    }
}

/// What [`Receiver::try_iter`] gives: never waits.
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("TryIter { .. }")
    }
}

/// What a receiver becomes in a `for` loop: waits for each value.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoIter { .. }")
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
