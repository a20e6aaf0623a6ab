//! Why a channel operation did not happen, with the value back where there was one.
//!
//! Names, variants and texts are crossbeam-channel's. `Debug` does not show the value, so that no bound on it is
//! needed.

use std::fmt;
use thiserror::Error;

/// The part of a batch that was not sent, and how much was.
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct Unsent<I: Iterator> {
    /// Values of the batch that were sent, all before the one that was not.
    pub sent: usize,
    /// The value that was not sent.
    pub value: I::Item,
    /// What the batch had behind it.
    pub rest: I,
}

impl<I: Iterator> Unsent<I> {
    /// The whole part that was not sent, in order.
    pub fn into_values(self) -> impl Iterator<Item = I::Item> {
        std::iter::once(self.value).chain(self.rest)
    }
}

impl<I: Iterator> fmt::Debug for Unsent<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// The last receiver is gone; the value comes back.
#[derive(PartialEq, Eq, Clone, Copy, Error)]
#[error("sending on a disconnected channel")]
pub struct SendError<T>(pub T);

/// Why `try_send` did not send; the value comes back.
#[derive(PartialEq, Eq, Clone, Copy, Error)]
pub enum TrySendError<T> {
    /// The ring was full.
    #[error("sending on a full channel")]
    Full(T),
    /// The last receiver is gone. Final.
    #[error("sending on a disconnected channel")]
    Disconnected(T),
}

/// Why a send with a deadline did not send; the value comes back.
#[derive(PartialEq, Eq, Clone, Copy, Error)]
pub enum SendTimeoutError<T> {
    /// The ring stayed full.
    #[error("timed out waiting on send operation")]
    Timeout(T),
    /// The last receiver is gone. Final.
    #[error("sending on a disconnected channel")]
    Disconnected(T),
}

/// The ring is empty and the last sender is gone: nothing will come.
#[derive(PartialEq, Eq, Clone, Copy, Debug, Error)]
#[error("receiving on an empty and disconnected channel")]
pub struct RecvError;

/// Why `try_recv` received nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug, Error)]
pub enum TryRecvError {
    /// The ring was empty.
    #[error("receiving on an empty channel")]
    Empty,
    /// The ring is empty and the last sender is gone. Final.
    #[error("receiving on an empty and disconnected channel")]
    Disconnected,
}

/// Why a receive with a deadline received nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug, Error)]
pub enum RecvTimeoutError {
    /// The ring stayed empty.
    #[error("timed out waiting on receive operation")]
    Timeout,
    /// The ring is empty and the last sender is gone. Final.
    #[error("channel is empty and disconnected")]
    Disconnected,
}

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Disconnected(value) => value,
        }
    }

    /// Was the ring full?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Is the last receiver gone?
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(value) | Self::Disconnected(value) => value,
        }
    }

    /// Did the deadline pass?
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Is the last receiver gone?
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl TryRecvError {
    /// Was the ring empty, with senders left?
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Is the last sender gone, and the ring empty?
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl RecvTimeoutError {
    /// Did the deadline pass?
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Is the last sender gone, and the ring empty?
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendError(..)")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_full() { "Full(..)" } else { "Disconnected(..)" })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendTimeoutError(..)")
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(SendError(value): SendError<T>) -> Self {
        Self::Disconnected(value)
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(SendError(value): SendError<T>) -> Self {
        Self::Disconnected(value)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(RecvError: RecvError) -> Self {
        Self::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(RecvError: RecvError) -> Self {
        Self::Disconnected
    }
}
