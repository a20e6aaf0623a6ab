//! What can go wrong between a caller and a queue, as values that say what the caller may do.
//!
//! A refused message always comes back inside the error. The ring, the log and the model own their errors; where
//! one of those is the cause it travels as the `source`, so that this page depends on none of them.

use std::error::Error;
use std::sync::Arc;

/// A cause from below: the log, the file system. Shared, because several callers may be told of one failure.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A topic or a filter that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// There is nothing in it.
    #[error("a topic must not be empty")]
    Empty,
    /// It is longer than a topic may be.
    #[error("topic of {bytes} bytes: at most {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        max: usize,
    },
    /// Two dots stand together, or one stands at an end.
    #[error("topic `{topic}` has an empty token at byte {at}")]
    EmptyToken {
        /// The topic as it was given.
        topic: String,
        /// Where the empty token would begin.
        at: usize,
    },
    /// A `*` or `>` stands in a topic, or inside a longer token of a filter.
    #[error("topic `{topic}` has a wildcard where none may be, at byte {at}")]
    Wildcard {
        /// The topic or filter as it was given.
        topic: String,
        /// Where the wildcard stands.
        at: usize,
    },
    /// White space or a control character.
    #[error("topic {topic:?} has the character {character:?}, which no topic may have")]
    Character {
        /// The topic as it was given.
        topic: String,
        /// The character.
        character: char,
    },
    /// Topics that begin with `$` are the queue's own: nobody else publishes to them.
    #[error("topic `{topic}` begins with `$`: such topics are the queue's own")]
    Reserved {
        /// The topic as it was given.
        topic: String,
    },
    /// There are as many topics as a queue may have.
    #[error("topic `{topic}` would be one more than the {max} that a queue may have")]
    TooMany {
        /// The topic as it was given.
        topic: String,
        /// The largest number of topics.
        max: usize,
    },
}

/// A message that is larger than one may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooLarge {
    /// The payload.
    #[error("payload of {bytes} bytes: at most {max} are allowed")]
    Payload {
        /// Its length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        max: usize,
    },
    /// All names and values of its headers together.
    #[error("headers of {bytes} bytes: at most {max} are allowed")]
    Headers {
        /// Their length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        max: usize,
    },
    /// The number of its headers.
    #[error("{count} headers: at most {max} are allowed")]
    HeaderCount {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The caller's own id.
    #[error("deduplication key of {bytes} bytes: at most {max} are allowed")]
    DedupKey {
        /// Its length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        max: usize,
    },
    /// The number of messages in a batch.
    #[error("batch of {count} messages: at most {max} are allowed")]
    Batch {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The messages of a batch together do not fit into one frame of the log.
    #[error("frame of {bytes} bytes: at most {max} are allowed")]
    Frame {
        /// The length that it would have, in bytes.
        bytes: u64,
        /// The largest length in bytes.
        max: u64,
    },
}

/// Why a publish was refused. The message, or the batch, is handed back in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<M> {
    /// The queue is full: a matching subscription, the whole queue, or the disk limit. Try later, or shed load.
    #[error("queue is full")]
    Full(M),
    /// The queue is closed. Final.
    #[error("queue is closed")]
    Closed(M),
    /// Larger than a message may be. Final for this message.
    #[error("message is too large: {reason}")]
    TooLarge {
        /// The message.
        message: M,
        /// What of it is too large.
        reason: TooLarge,
    },
    /// The topic cannot be published to. Final for this topic.
    #[error("{source}")]
    Topic {
        /// The message.
        message: M,
        /// What is wrong with the topic.
        source: TopicError,
    },
    /// Nobody subscribes to the topic any more, and the configuration says to refuse rather than to drop.
    #[error("no subscription takes this topic any more")]
    Unrouted(M),
    /// Nothing was stored: the storage failed. After a failed sync it takes nothing more until it is opened again.
    #[error("the storage took nothing: {source}")]
    Storage {
        /// The message.
        message: M,
        /// What failed.
        source: Cause,
    },
    /// The message may or may not survive: it was written, and then the disk failed. Publish it again only where
    /// doing it twice does no harm.
    #[error("the message was written, but the disk failed before it was safe: {source}")]
    Unknown {
        /// The message.
        message: M,
        /// What failed.
        source: Cause,
    },
}

impl<M> PublishError<M> {
    /// The message that was refused.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Unrouted(message) => message,
            Self::TooLarge { message, .. }
            | Self::Topic { message, .. }
            | Self::Storage { message, .. }
            | Self::Unknown { message, .. } => message,
        }
    }

    /// The same refusal with another value in the message's place.
    pub fn map<N>(self, change: impl FnOnce(M) -> N) -> PublishError<N> {
        match self {
            Self::Full(message) => PublishError::Full(change(message)),
            Self::Closed(message) => PublishError::Closed(change(message)),
            Self::Unrouted(message) => PublishError::Unrouted(change(message)),
            Self::TooLarge { message, reason } => {
                PublishError::TooLarge { message: change(message), reason }
            }
            Self::Topic { message, source } => {
                PublishError::Topic { message: change(message), source }
            }
            Self::Storage { message, source } => {
                PublishError::Storage { message: change(message), source }
            }
            Self::Unknown { message, source } => {
                PublishError::Unknown { message: change(message), source }
            }
        }
    }

    /// Is there no room now, but perhaps later?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Will this queue take nothing more, ever?
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// Why a queue did not do what was asked, other than take a message.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The queue is closed. Final.
    #[error("queue is closed")]
    Closed,
    /// A filter that is none.
    #[error("filter: {0}")]
    Filter(#[from] TopicError),
    /// A subscription's name that is none.
    #[error("subscription name {name:?}: {reason}")]
    Name {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A second unnamed subscription of one filter, on a kind whose subscriptions outlive the process: which of
    /// the two would go on after a restart could not be told.
    #[error("a second subscription of `{filter}` needs a name of its own")]
    NameRequired {
        /// The filter.
        filter: String,
    },
    /// The subscription exists with another filter.
    #[error("subscription `{name}` has the filter `{has}`, not `{asked}`")]
    FilterMismatch {
        /// The subscription.
        name: String,
        /// The filter that it has.
        has: String,
        /// The filter that was asked for.
        asked: String,
    },
    /// There is no such subscription.
    #[error("there is no subscription `{name}`")]
    NoSubscription {
        /// The name that was asked for.
        name: String,
    },
    /// No message of this queue has the id that a subscription was to start at.
    #[error("no message here has the id {id}")]
    NoMessage {
        /// The id that was given.
        id: String,
    },
    /// The log was reclaimed up to a place, and the checkpoint that says what it came to is gone.
    #[error("the log begins at {start}, and no checkpoint says what came before")]
    HistoryMissing {
        /// Where the log begins.
        start: u64,
    },
    /// There are as many subscriptions as a queue may have.
    #[error("subscription `{name}` would be one more than the {max} that a queue may have")]
    TooManySubscriptions {
        /// The name that was asked for.
        name: String,
        /// The largest number of subscriptions.
        max: usize,
    },
    /// This kind of queue cannot do it.
    #[error("a {kind} queue cannot {what}")]
    Unsupported {
        /// The kind.
        kind: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// The storage has no room left for a record of the queue's own.
    #[error("the disk limit leaves no room to {what}")]
    StorageFull {
        /// What was to be written.
        what: &'static str,
    },
    /// The storage failed.
    #[error("could not {what}: {source}")]
    Storage {
        /// What was tried.
        what: &'static str,
        /// What failed.
        source: Cause,
    },
    /// A sync failed. What was accepted or settled before, and was not durable yet, may be stored, or not; the queue
    /// takes nothing more until it is opened again.
    #[error("it is not known whether it is stored: {source}")]
    Unknown {
        /// What failed.
        source: Cause,
    },
    /// The receipt was given by another queue, or by this one before it was opened again.
    #[error("the receipt of message {id} was not given by this engine")]
    ForeignReceipt {
        /// The message.
        id: String,
    },
    /// A stored record makes no sense. It is kept where it is, and counted.
    #[error("record at {position} is not one of ours: {reason}")]
    Record {
        /// Its position in the log.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The call would wait for the very thread that makes it.
    #[error("a handler cannot {what}: it would wait for itself")]
    InsideHandler {
        /// What was asked for.
        what: &'static str,
    },
}

/// A setting that is impossible, or a queue that cannot be opened with it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A value that the setting cannot have.
    #[error("`{key}` = {value}: {reason}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// What it may be.
        reason: String,
    },
    /// Another process, or another queue of this one, has the directory.
    #[error("in use: {source}")]
    InUse {
        /// Who has it, as far as that is known.
        source: Cause,
    },
    /// The directory cannot be opened as a queue.
    #[error("cannot open the queue: {source}")]
    Storage {
        /// What failed, on which file.
        source: Cause,
    },
    /// The records in the log contradict each other.
    #[error("cannot open the queue: {0}")]
    Records(QueueError),
    /// A thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the operating system said.
        source: Cause,
    },
}
