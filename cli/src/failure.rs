//! What a command comes to: good, a finding, or a failure, each failure with its words and its exit code.

use crate::demo::DemoError;
use crate::output::OutputError;
use millstream::log::LogError;
use millstream::{OpenError, PublishError, QueueError};
use std::io;
use std::path::PathBuf;

/// How a command ended that was not kept from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Good,
    /// Exit code 1: damage, or messages that went to the dead letters.
    Finding,
}

const BAD_INPUT: u8 = 2;
const IN_USE: u8 = 3;
const UNUSABLE: u8 = 4;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The input cannot be read.
    #[error("cannot read {name}: {source}")]
    Input {
        /// The file, or standard input.
        name: String,
        /// The system's words.
        source: io::Error,
    },
    /// A line is longer than a payload may be.
    #[error(
        "line {line} is longer than the {max} bytes that a payload may have; the lines before it were published"
    )]
    LineTooLong {
        /// Its number, from 1.
        line: u64,
        /// The longest payload, in bytes.
        max: usize,
    },
    /// The queue took the lines before these, and not these.
    #[error("lines {first} to {last} were refused: {source}")]
    Publish {
        /// The first line of the frame, from 1.
        first: u64,
        /// The last line of the frame.
        last: u64,
        /// Why.
        source: PublishError<()>,
    },
    /// The queue refused a message of the demo.
    #[error("message {number} was refused: {source}")]
    Offer {
        /// Its number, from 0.
        number: u64,
        /// Why.
        source: PublishError<()>,
    },
    /// A temporary directory cannot be made or removed.
    #[error("the temporary directory: {0}")]
    TempDir(io::Error),
    /// No demo with these options.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The queue cannot be opened.
    #[error("{}: {source}", dir.display())]
    Open {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The log cannot be looked at.
    #[error("{}: {source}", dir.display())]
    Log {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        source: LogError,
    },
    /// The queue did not do what was asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Standard output takes nothing.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The system refuses threads or signals.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Input { .. } | Self::LineTooLong { .. } | Self::Demo(_) => BAD_INPUT,
            Self::Publish {
                source: PublishError::Topic { .. } | PublishError::TooLarge { .. },
                ..
            } => BAD_INPUT,
            Self::Open { source: OpenError::Setting { .. }, .. }
            | Self::Log { source: LogError::NotEmpty { .. }, .. } => BAD_INPUT,
            Self::Open { source: OpenError::InUse { .. }, .. }
            | Self::Log { source: LogError::Locked { .. }, .. } => IN_USE,
            Self::Queue(
                QueueError::Filter(_)
                | QueueError::Name { .. }
                | QueueError::NameRequired { .. }
                | QueueError::FilterMismatch { .. }
                | QueueError::NoMessage { .. },
            ) => BAD_INPUT,
            _ => UNUSABLE,
        }
    }

    /// Did whoever reads standard output go away?
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.is_closed_pipe())
    }
}
