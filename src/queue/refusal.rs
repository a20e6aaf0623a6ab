//! Why a queue accepted nothing, before the message is put beside it.
//!
//! Inside a queue messages travel in different company (alone, in a batch, with their topics), so a refusal is made
//! without one; [`Refusal::with`] hands the message back at the door.

use super::credits::NoRoom;
use super::window::storage;
use crate::error::{Cause, PublishError, QueueError, TooLarge, TopicError};
use crate::log::{self, AppendError, SyncError};
use crate::sync::Arc;

/// Why nothing was accepted.
pub(crate) enum Refusal {
    Full,
    Closed,
    Unrouted,
    TooLarge(TooLarge),
    Topic(TopicError),
    /// Nothing was stored.
    Storage(Cause),
    /// It was stored, but not made safe.
    Unknown(Cause),
}

impl Refusal {
    /// The error for whoever wanted `message` published.
    pub(crate) fn with<M>(self, message: M) -> PublishError<M> {
        match self {
            Self::Full => PublishError::Full(message),
            Self::Closed => PublishError::Closed(message),
            Self::Unrouted => PublishError::Unrouted(message),
            Self::TooLarge(reason) => PublishError::TooLarge { message, reason },
            Self::Topic(source) => PublishError::Topic { message, source },
            Self::Storage(source) => PublishError::Storage { message, source },
            Self::Unknown(source) => PublishError::Unknown { message, source },
        }
    }
}

impl From<NoRoom> for Refusal {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::Full => Self::Full,
            NoRoom::Closed => Self::Closed,
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::Full,
            AppendError::Closed => Self::Closed,
            AppendError::TooLarge { bytes, max } => Self::TooLarge(TooLarge::Frame { bytes, max }),
            AppendError::Storage(failure) if failure.cause == log::Cause::NoSpace => Self::Full,
            other => Self::Storage(Arc::new(other)),
        }
    }
}

impl From<SyncError> for Refusal {
    fn from(error: SyncError) -> Self {
        Self::Unknown(Arc::new(error))
    }
}

/// The failure to append a record of the queue's own.
pub(crate) fn not_appended(what: &'static str, error: AppendError) -> QueueError {
    match error {
        AppendError::Full => QueueError::StorageFull { what },
        AppendError::Closed => QueueError::Closed,
        other => storage(what, other),
    }
}

/// The failure to make something durable that was accepted.
pub(crate) fn not_synced(error: SyncError) -> QueueError {
    match error {
        SyncError::Unknown(_) => QueueError::Unknown { source: Arc::new(error) },
        other => storage("sync the log", other),
    }
}
