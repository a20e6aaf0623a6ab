//! The two ends of a ring: senders and receivers that wait for each other and notice when the other side is gone.
//!
//! Waiting is beside the ring: one event count for "there may be a value", one for "there may be room". A sender
//! that has pushed wakes one sleeping receiver, a receiver that has popped wakes one sleeping sender; who finds the
//! ring full or empty spins a moment, registers, looks again, and sleeps ([`crate::event`]).
//!
//! # Disconnection
//!
//! Each side counts its handles. The end is reported by who reads a count of 0:
//!
//! - *Receiver*: empty, then no senders, then **one more look**. A look that follows the count sees everything that
//!   was accepted; a count that follows the look does not show when the last value came.
//! - *Sender*: no receivers, so the value goes back. A push may slip in behind the drop of the last receiver, which
//!   drains the ring; so the sender reads the count again after its push, and takes its value out again if nobody else
//!   has. Of "pushed, then counted" and "counted out, then drained" one sees the other, \[C2\]: nothing stays
//!   behind in a ring that nobody will read.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[C1\] | the drop of a sender counts down | a receiver reads `senders` | everything that sender sent. The count-downs of several form one release sequence |
//! | \[C2\] | SeqCst fences, in `notify`: after the push, and after the last receiver's count-down | both sides look after their fence | at least one sees the other's |
//!
//! \[relaxed\]: a count of handles goes up by one who has a handle, so it cannot have been 0; the new handle travels by
//! a hand-over of its own. A sender's first look at `receivers` may be old: \[C2\] is the one that counts. The
//! last receiver's count-down publishes nothing but itself.

use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::swap::Ring;
use crate::event::{Backoff, EventCount};
use crate::sync::{Arc, AtomicUsize, Ordering, mutant, order, passed};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// What both ends share.
struct Shared<T> {
    ring: Ring<T>,
    /// Receivers sleep here.
    items: CachePadded<EventCount>,
    /// Senders sleep here.
    room: CachePadded<EventCount>,
    handles: CachePadded<Handles>,
}

/// How many ends there are. Read by every operation, written only when a handle comes or goes.
struct Handles {
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

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
/// If `capacity` is 0 or more than [`CAPACITY_MAX`](super::CAPACITY_MAX).
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    over(Ring::new(capacity))
}

/// A channel over that ring.
pub fn over<T>(ring: Ring<T>) -> (Sender<T>, Receiver<T>) {
    let handles = Handles { senders: AtomicUsize::new(1), receivers: AtomicUsize::new(1) };
    let shared = Arc::new(Shared {
        ring,
        items: CachePadded::new(EventCount::new()),
        room: CachePadded::new(EventCount::new()),
        handles: CachePadded::new(handles),
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

impl<T> Shared<T> {
    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.abandoned() {
            return Err(TrySendError::Disconnected(value));
        }
        let at = self.ring.push(value).map_err(TrySendError::Full)?;
        self.items.notify_one(); // [C2]
        if self.abandoned() && !mutant("no_second_count") { self.take_back(at) } else { Ok(()) }
    }

    fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut found = self.ring.pop();
        if found.is_none() {
            let senders = self.handles.senders.load(order("C1_load", Ordering::Acquire)); // [C1]
            if senders != 0 {
                return Err(TryRecvError::Empty);
            }
            if !mutant("no_last_look") {
                found = self.ring.pop();
            }
        }
        let (_, value) = found.ok_or(TryRecvError::Disconnected)?;
        self.room.notify_one();
        Ok(value)
    }

    /// Is the last receiver gone?
    fn abandoned(&self) -> bool {
        self.handles.receivers.load(Ordering::Relaxed) == 0 // [relaxed] [C2]
    }

    /// The receivers went while the value at that position was pushed. It goes back to its sender, if it is still
    /// there; else it was accepted and dropped with the others.
    #[cold]
    fn take_back(&self, at: u64) -> Result<(), TrySendError<T>> {
        while let Some((position, value)) = self.ring.pop() {
            if position == at {
                return Err(TrySendError::Disconnected(value));
            }
        }
        Ok(())
    }
}

/// The sending end of a channel. Clones send into the same ring; any thread may use any of them.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// The ring is full, or the last receiver is gone; the value comes back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.try_send(value)
    }

    /// Sends, and waits while the ring is full.
    ///
    /// # Errors
    ///
    /// The last receiver is gone; the value comes back.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, None).map_err(|error| SendError(error.into_inner()))
    }

    /// Sends, and waits at most that long while the ring is full.
    ///
    /// # Errors
    ///
    /// The ring stayed full, or the last receiver is gone; the value comes back.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Instant::now().checked_add(timeout))
    }

    /// Sends, and waits until that time at most while the ring is full.
    ///
    /// # Errors
    ///
    /// The ring stayed full, or the last receiver is gone; the value comes back.
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Some(deadline))
    }

    /// No deadline is for ever.
    fn send_until(
        &self,
        mut value: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        let room = &self.shared.room;
        let (mut backoff, mut late) = (Backoff::new(), false);
        loop {
            match self.attempt(value) {
                Ok(answer) => return answer,
                Err(back) => value = back,
            }
            if late {
                return Err(SendTimeoutError::Timeout(value));
            }
            if backoff.snooze() {
                continue;
            }
            let key = room.listen();
            match self.attempt(value) {
                Ok(answer) => {
                    room.cancel(key);
                    return answer;
                }
                Err(back) => value = back,
            }
            let notified = room.wait_until(key, deadline);
            late = !notified && passed(deadline); // else a signal
            backoff = Backoff::new();
        }
    }

    /// One try: the answer, or the value back while the ring is full.
    fn attempt(&self, value: T) -> Result<Result<(), SendTimeoutError<T>>, T> {
        match self.shared.try_send(value) {
            Ok(()) => Ok(Ok(())),
            Err(TrySendError::Full(value)) => Err(value),
            Err(TrySendError::Disconnected(value)) => {
                Ok(Err(SendTimeoutError::Disconnected(value)))
            }
        }
    }

    /// Values in the channel; exact at one moment of the call.
    pub fn len(&self) -> usize {
        self.shared.ring.len()
    }

    /// Was the channel empty at one moment of the call?
    pub fn is_empty(&self) -> bool {
        self.shared.ring.is_empty()
    }

    /// Was the channel full at one moment of the call?
    pub fn is_full(&self) -> bool {
        self.shared.ring.is_full()
    }

    /// The most values the channel holds; never `None`, and an `Option` only as crossbeam-channel's is.
    pub fn capacity(&self) -> Option<usize> {
        Some(self.shared.ring.capacity())
    }

    /// Do both send into one channel?
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.handles.senders.fetch_add(1, Ordering::Relaxed); // [relaxed]
        Self { shared }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let shared = &self.shared;
        let before = shared.handles.senders.fetch_sub(1, order("C1_drop", Ordering::Release)); // [C1]
        if before == 1 {
            shared.items.notify_all();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

// A panic cannot leave the ring half changed: no user code runs inside an operation.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

/// The receiving end of a channel. Clones take from the same ring, each value goes to one of them; any thread may
/// use any of them.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Receives without waiting.
    ///
    /// # Errors
    ///
    /// The channel is empty; disconnected, if the last sender is gone too.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared.try_recv()
    }

    /// Receives, and waits while the channel is empty.
    ///
    /// # Errors
    ///
    /// The channel is empty and the last sender is gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None).map_err(|_| RecvError)
    }

    /// Receives, and waits at most that long while the channel is empty.
    ///
    /// # Errors
    ///
    /// The channel stayed empty; disconnected, if the last sender is gone too.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Receives, and waits until that time at most while the channel is empty.
    ///
    /// # Errors
    ///
    /// The channel stayed empty; disconnected, if the last sender is gone too.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    /// No deadline is for ever.
    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let items = &self.shared.items;
        let (mut backoff, mut late) = (Backoff::new(), false);
        loop {
            if let Some(answer) = self.attempt() {
                return answer;
            }
            if late {
                return Err(RecvTimeoutError::Timeout);
            }
            if backoff.snooze() {
                continue;
            }
            let key = items.listen();
            if let Some(answer) = self.attempt() {
                items.cancel(key);
                return answer;
            }
            let notified = items.wait_until(key, deadline);
            late = !notified && passed(deadline); // else a signal
            backoff = Backoff::new();
        }
    }

    /// One try: the answer, or none while the channel is empty.
    fn attempt(&self) -> Option<Result<T, RecvTimeoutError>> {
        match self.shared.try_recv() {
            Ok(value) => Some(Ok(value)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(RecvTimeoutError::Disconnected)),
        }
    }

    /// Receives what comes, waiting for each, until the channel is empty and disconnected.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Receives what is there, without waiting.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Values in the channel; exact at one moment of the call.
    pub fn len(&self) -> usize {
        self.shared.ring.len()
    }

    /// Was the channel empty at one moment of the call?
    pub fn is_empty(&self) -> bool {
        self.shared.ring.is_empty()
    }

    /// Was the channel full at one moment of the call?
    pub fn is_full(&self) -> bool {
        self.shared.ring.is_full()
    }

    /// The most values the channel holds; never `None`, and an `Option` only as crossbeam-channel's is.
    pub fn capacity(&self) -> Option<usize> {
        Some(self.shared.ring.capacity())
    }

    /// Do both receive from one channel?
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.handles.receivers.fetch_add(1, Ordering::Relaxed); // [relaxed]
        Self { shared }
    }
}

/// Drops what a channel without receivers holds, and goes on after a value whose drop panics.
struct Discard<'a, T>(&'a Ring<T>);

impl<T> Discard<'_, T> {
    fn drop_each(&self) {
        while let Some((_, value)) = self.0.pop() {
            drop(value);
        }
    }
}

impl<T> Drop for Discard<'_, T> {
    fn drop(&mut self) {
        self.drop_each();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let shared = &self.shared;
        let before = shared.handles.receivers.fetch_sub(1, Ordering::Relaxed); // [relaxed] [C2]
        if before == 1 {
            shared.room.notify_all(); // [C2]
            Discard(&shared.ring).drop_each();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

// As for the sender.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

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
