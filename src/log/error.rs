//! What can go wrong with a log: every case a named value that says what was tried, on what, and the cause.

use super::format::{FORMAT_VERSION, Position};
use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What the operating system was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Create a file or directory.
    Create,
    /// Open a file or directory.
    Open,
    /// List a directory.
    List,
    /// Take the owner's lock.
    Lock,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Set a file's length, or reserve its blocks.
    Allocate,
    /// Map a file into memory.
    Map,
    /// Make a file or directory durable.
    Sync,
    /// Give a file its final name.
    Rename,
    /// Give a file a second name.
    Link,
    /// Remove a file.
    Remove,
    /// Start the housekeeping thread.
    Start,
    /// Draw random bytes.
    Random,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::List => "list",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Allocate => "reserve space in",
            Self::Map => "map",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::Start => "start a thread for",
            Self::Random => "draw random bytes for",
        }
    }
}

/// Why the operating system refused, as far as a caller can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The disk, or the quota, is used up.
    NoSpace,
    /// The process or the system has no descriptor left.
    TooManyFiles,
    /// The file system is mounted read-only.
    ReadOnly,
    /// Permission denied.
    Denied,
    /// The process's file-size limit is smaller than a segment.
    FileTooLarge,
    /// Not enough memory or address space.
    NoMemory,
    /// A link, a pipe, a device or a directory stands where a file of the log's own should. It was not opened.
    NotAFile,
    /// Something else: see the source.
    Other,
}

impl Cause {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace,
            Some(libc::EMFILE | libc::ENFILE) => Self::TooManyFiles,
            Some(libc::EROFS) => Self::ReadOnly,
            Some(libc::EACCES | libc::EPERM) => Self::Denied,
            Some(libc::EFBIG) => Self::FileTooLarge,
            Some(libc::ENOMEM) => Self::NoMemory,
            None if error.get_ref().is_some_and(|inner| inner.is::<NotAFile>()) => Self::NotAFile,
            _ => Self::Other,
        }
    }
}

/// What is there is no regular file.
#[derive(Debug, Error)]
#[error("it is a link, a pipe, a device or a directory, and no file of the log's own")]
pub(crate) struct NotAFile;

impl From<NotAFile> for io::Error {
    fn from(not: NotAFile) -> Self {
        Self::new(io::ErrorKind::InvalidInput, not)
    }
}

/// The operating system refused something.
#[derive(Debug, Error)]
#[error("cannot {} {}: {source}", action.verb(), path.display())]
#[non_exhaustive]
pub struct StorageError {
    /// What was tried.
    pub action: Action,
    /// On which file or directory.
    pub path: PathBuf,
    /// Why it was refused.
    pub cause: Cause,
    /// The system's own words.
    pub source: io::Error,
}

impl StorageError {
    /// For `map_err`: what was tried, on what.
    pub(crate) fn on(action: Action, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), cause: Cause::of(&source), source }
    }
}

/// What is wrong at a place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The segment's header does not match its checksum, or its name, or cannot be.
    SegmentHeader,
    /// There should be a frame, and there is nothing.
    FrameMissing,
    /// There is something that is no frame header of this segment.
    FrameHeader,
    /// The frame's body does not match its checksum.
    FrameBody,
    /// The checksum holds, but the inside is impossible.
    FrameInside,
    /// The whole segment is not there.
    SegmentMissing,
    /// The segment lies under another one's name.
    SegmentName,
    /// The checkpoint is not whole.
    Checkpoint,
}

impl DamageKind {
    fn words(self) -> &'static str {
        match self {
            Self::SegmentHeader => "the segment header is damaged",
            Self::FrameMissing => "a frame is missing",
            Self::FrameHeader => "a frame header is damaged",
            Self::FrameBody => "a frame's body is damaged",
            Self::FrameInside => "a frame's inside is impossible",
            Self::SegmentMissing => "the segment is missing",
            Self::SegmentName => "the segment has another one's name",
            Self::Checkpoint => "the checkpoint is damaged",
        }
    }
}

/// Where a file is damaged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {} at byte {offset}", file.display(), what.words())]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// What is wrong there.
    pub what: DamageKind,
}

/// Why a log could not be opened or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// An option has an impossible value. Nothing was touched.
    #[error("option {key} = {value}: {reason}")]
    Option {
        /// The option's name.
        key: &'static str,
        /// The value given.
        value: u64,
        /// What is possible.
        reason: &'static str,
    },
    /// The path is a file.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// The log is open already, in this process or another.
    #[error("the log in {} is open already, by process {}", dir.display(), Owner(*pid))]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// The owner, if it could be read.
        pid: Option<u32>,
    },
    /// The directory lies on another machine, and [`LogOptions::allow_network`](super::LogOptions::allow_network) was not
    /// said. Nothing was touched, but that the directory was made.
    #[error("{} lies on a network file system ({kind}), where a log is not safe", dir.display())]
    Network {
        /// The log's directory.
        dir: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// The directory is to be made, and something is in it.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The directory given.
        dir: PathBuf,
    },
    /// There is no log here to look at.
    #[error("no log in {}", dir.display())]
    NoLog {
        /// The directory given.
        dir: PathBuf,
    },
    /// A file has a segment's name, and is none.
    #[error("{} is not a millstream segment", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer millstream.
    #[error("{} has format version {version}; this millstream reads up to {FORMAT_VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A segment of another log lies among this log's.
    #[error("{} belongs to another log", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A segment is missing before this one.
    #[error("a segment is missing before {}", path.display())]
    SegmentMissing {
        /// The segment that has no predecessor.
        path: PathBuf,
    },
    /// The log ends before a place that it was durable up to.
    #[error("the log in {} ends at {end}, but it was durable up to {durable}", dir.display())]
    EndMissing {
        /// The log's directory.
        dir: PathBuf,
        /// Where the files end.
        end: Position,
        /// What the checkpoint says.
        durable: Position,
    },
    /// Data that was durable, or that a dead process cannot have torn, is damaged.
    #[error(transparent)]
    Damaged(Damage),
    /// The operating system refused.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// The position lies before the first record that is kept.
    #[error("position {at} lies before the log's start {start}")]
    Expired {
        /// The position asked for.
        at: Position,
        /// The log's first position.
        start: Position,
    },
    /// Nothing is committed at that position yet.
    #[error("nothing is committed at position {at} yet")]
    NotCommitted {
        /// The position asked for.
        at: Position,
    },
    /// The state that was to be laid down is too large.
    #[error("a checkpoint of {bytes} bytes; the largest is {max}")]
    CheckpointTooLarge {
        /// The body's bytes.
        bytes: u64,
        /// The most that it may have.
        max: u64,
    },
    /// What had to be durable first could not be made so.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The log is closed, and the directory may be another owner's: its files are not touched any more.
    #[error("the log is closed")]
    Closed,
    /// No record starts at that position.
    #[error("no record starts at position {at}")]
    NoRecord {
        /// The position asked for.
        at: Position,
    },
}

impl From<StorageError> for LogError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<Arc<StorageError>> for LogError {
    fn from(error: Arc<StorageError>) -> Self {
        Self::Storage(error)
    }
}

impl From<Damage> for LogError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

struct Owner(Option<u32>);

impl std::fmt::Display for Owner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => pid.fmt(out),
            None => out.write_str("unknown"),
        }
    }
}

/// Why nothing was appended. In each case nothing was written.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The disk limit is reached for this budget. Back-pressure: later, or never.
    #[error("the log is full")]
    Full,
    /// The frame would be larger than a segment allows. Final for these records.
    #[error("a frame of {bytes} bytes; the largest is {max}")]
    TooLarge {
        /// The frame's bytes, headers included.
        bytes: u64,
        /// The most a frame may have.
        max: u64,
    },
    /// A batch of no records.
    #[error("a batch of no records")]
    Empty,
    /// The log is closing, or closed. Final.
    #[error("the log is closed")]
    Closed,
    /// A sync failed earlier: the log takes nothing until it is opened anew.
    #[error("the log is poisoned by a failed sync: {0}")]
    Poisoned(Arc<StorageError>),
    /// The next piece of the log could not be prepared. Later it may go.
    #[error("the log could not grow: {0}")]
    Storage(Arc<StorageError>),
}

/// Why it is not known that something is durable.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A sync failed. What was not durable before may be stored, or not; the log takes nothing until it is opened anew.
    #[error("a sync failed, what it covered may or may not be stored: {0}")]
    Unknown(Arc<StorageError>),
    /// A position that nothing was appended up to.
    #[error("position {end} lies beyond everything appended, which ends at {reserved}")]
    Beyond {
        /// The position waited for.
        end: Position,
        /// Where appends have got to.
        reserved: Position,
    },
    /// The thread that syncs for tasks could not be started: nothing was tried. Blocking waits need none.
    #[error("no thread to sync for tasks: {0}")]
    NoThread(Arc<StorageError>),
    /// The log is closed, but not all of its closing was done.
    #[error("the log was closed, but its files were left as they were: {0}")]
    Untidy(Arc<StorageError>),
}
