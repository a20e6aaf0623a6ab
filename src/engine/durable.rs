//! `Durable`: the wait for one message's durability, by a thread or by a task.
//!
//! ```text
//!   receipt.durable(&engine).wait()?     the thread syncs for all who wait, or sleeps behind the one who does
//!   receipt.durable(&engine).await?      (feature `async`) a thread of the log syncs for the tasks
//! ```
//!
//! The messages of a batch lie in one frame: waiting for one of them is waiting for all.
//!
//! # Limits
//!
//! No deadline: a thread that waits, waits for the disk. A task may be dropped at any poll: the sync goes on, nobody else
//! is held up.

use super::Engine;
use crate::error::QueueError;
use crate::queue::{Queue, Reached, Receipt};
use std::fmt;

#[cfg(feature = "async")]
use crate::queue::DurableWait;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::{Context, Poll};

impl Receipt {
    /// Waits until the disk has the message: [`Durable::wait`], or, with the feature `async`, `.await`. It answers this
    /// receipt with [`Reached::Synced`]. Where that is so already it answers at once.
    ///
    /// The error is, by name:
    ///
    /// * [`QueueError::Unsupported`]: the queue is in memory;
    /// * [`QueueError::ForeignReceipt`]: `engine` did not give this receipt. Nor did the same directory's engine that was
    ///   opened anew: whether the message came through is in the queue, not in the receipt;
    /// * [`QueueError::Unknown`]: a sync has failed. The message may be stored, or not.
    ///
    /// ```
    /// # use millstream::{Config, Engine, Reached};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let engine = Engine::open(Config::persistent(dir.path()))?;
    /// let receipt = engine.publish("payments", "42")?;
    /// assert_eq!(receipt.reached, Reached::Os);
    /// let receipt = receipt.durable(&engine).wait()?;
    /// assert_eq!(receipt.reached, Reached::Synced);
    /// # Ok(()) }
    /// ```
    pub fn durable<'a>(&self, engine: &'a Engine) -> Durable<'a> {
        let queue = &*engine.inner.queue;
        Durable {
            queue,
            receipt: *self,
            #[cfg(feature = "async")]
            waiting: None,
        }
    }
}

/// A wait for durability: see [`Receipt::durable`].
#[must_use = "nothing waits until `wait` is called or the future is polled"]
pub struct Durable<'a> {
    queue: &'a dyn Queue,
    receipt: Receipt,
    /// None before the first poll.
    #[cfg(feature = "async")]
    waiting: Option<DurableWait>,
}

impl Durable<'_> {
    /// Blocks until the disk has the message. Threads that wait at the same time share one sync.
    ///
    /// # Errors
    ///
    /// As [`Receipt::durable`] says.
    pub fn wait(self) -> Result<Receipt, QueueError> {
        self.queue.wait_durable(&self.receipt)?;
        Ok(synced(self.receipt))
    }
}

fn synced(receipt: Receipt) -> Receipt {
    Receipt { reached: Reached::Synced, ..receipt }
}

#[cfg(feature = "async")]
impl Future for Durable<'_> {
    type Output = Result<Receipt, QueueError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { queue, receipt, waiting } = self.get_mut();
        let waiting = waiting.get_or_insert_with(|| queue.wait_durable_async(receipt));
        let outcome = waiting.as_mut().poll(context);
        outcome.map_ok(|()| synced(*receipt))
    }
}

impl fmt::Debug for Durable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("receipt", &self.receipt).finish_non_exhaustive()
    }
}
