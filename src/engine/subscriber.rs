//! The pull end of a subscription: messages one by one, blocking.
//!
//! A [`Subscriber`] is a member of its subscription as a handler is. It sleeps on the subscription's event count, or
//! until a retry is due; a delivery that it hands out is settled by value, or is a failed attempt when it is dropped.

use crate::error::QueueError;
use crate::queue::{Delivery, Source};
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// Pulls the messages of one subscription. Dropping it leaves the subscription, which goes on without it.
pub struct Subscriber {
    source: Arc<dyn Source>,
}

impl Subscriber {
    /// The caller has joined the source.
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source }
    }

    /// The subscription's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The next message, if one is ready.
    ///
    /// # Errors
    ///
    /// [`QueueError::Closed`] when the subscription has ended, or the engine is closing and everything is settled;
    /// or the storage failed.
    pub fn try_recv(&self) -> Result<Option<Delivery>, QueueError> {
        match Delivery::pull(&self.source, 0)? {
            Some(delivery) => {
                // One wake-up may stand for several messages, and whoever leaves takes the alarm for the next retry along.
                if self.source.has_more() || self.source.next_due_ns().is_some() {
                    self.source.signal().parked().notify_one();
                }
                Ok(Some(delivery))
            }
            None if self.source.is_over() => Err(QueueError::Closed),
            None => Ok(None),
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// As [`Subscriber::try_recv`].
    pub fn recv(&self) -> Result<Delivery, QueueError> {
        loop {
            if let Some(delivery) = self.recv_until(None)? {
                return Ok(delivery);
            }
        }
    }

    /// Waits for the next message, but not longer than `timeout`; `None` if there was none.
    ///
    /// # Errors
    ///
    /// As [`Subscriber::try_recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Delivery>, QueueError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// The messages one after the other, until the subscription ends or the storage fails.
    pub fn iter(&self) -> impl Iterator<Item = Delivery> {
        std::iter::from_fn(|| self.recv().ok())
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<Option<Delivery>, QueueError> {
        loop {
            if let Some(delivery) = self.try_recv()? {
                return Ok(Some(delivery));
            }
            let parked = self.source.signal().parked();
            let key = parked.listen();
            // A message may have come between the look and the announcement.
            match self.try_recv() {
                Ok(None) => {}
                other => {
                    parked.cancel(key);
                    return other;
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                parked.cancel(key);
                return Ok(None);
            }
            parked.wait_until(key, self.until(deadline));
        }
    }

    /// The earlier of the deadline and the next retry.
    fn until(&self, deadline: Option<Instant>) -> Option<Instant> {
        let clock = &self.source.context().clock;
        let due = self.source.next_due_ns().map(|due_ns| clock.instant_at(due_ns));
        match (deadline, due) {
            (Some(deadline), Some(due)) => Some(deadline.min(due)),
            (deadline, due) => deadline.or(due),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.source.signal().leave();
        self.source.context().progress.notify_all();
    }
}
