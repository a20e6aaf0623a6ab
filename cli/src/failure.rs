//! What a command comes to: good, a finding, or a failure, each failure with its words and its exit code.

use crate::demo::DemoError;
use crate::output::OutputError;
use millstream::lab::suite::SuiteError;
use millstream::lab::{EventError, ExperimentError, JudgeError, ParametersError, RunError};
use millstream::log::LogError;
use millstream::model::ModelError;
use millstream::{OpenError, PublishError, QueueError};
use std::io;
use std::path::PathBuf;

/// How a command ended that was not kept from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Good,
    /// Exit code 1: damage, dead letters, a law that does not hold: the table on the page of `main`.
    Finding,
}

const FINDING: u8 = 1;
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
    /// The theory has no answer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No run with these options.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// A run that failed.
    #[error(transparent)]
    Run(Box<RunError>),
    /// Events that can be no run's.
    #[error("{}: {source}", file.display())]
    Events {
        /// The file.
        file: PathBuf,
        /// Which row, and why.
        source: EventError,
    },
    /// Parameters that no run can have.
    #[error("{}: {source}", file.display())]
    Parameters {
        /// The file.
        file: PathBuf,
        /// Why.
        source: ParametersError,
    },
    /// A run that no law can be held against.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// A suite that cannot go on.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
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

impl From<RunError> for Failure {
    fn from(source: RunError) -> Self {
        Self::Run(Box::new(source))
    }
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            // The question is in order; the answer is that it cannot be.
            Self::Model(
                ModelError::Unattainable { .. }
                | ModelError::ServersMax { .. }
                | ModelError::Unstable { .. },
            ) => FINDING,
            Self::Model(_) => BAD_INPUT,
            // The files are in order; what they tell of is no steady state.
            Self::Judge(JudgeError::Unstable { .. }) => FINDING,
            Self::Input { .. } | Self::LineTooLong { .. } | Self::Demo(_) => BAD_INPUT,
            Self::Experiment(_) => BAD_INPUT,
            Self::Run(source) if matches!(**source, RunError::Experiment(_)) => BAD_INPUT,
            Self::Events { .. } | Self::Parameters { .. } | Self::Judge(_) => BAD_INPUT,
            Self::Publish {
                source: PublishError::Topic { .. } | PublishError::TooLarge { .. },
                ..
            } => BAD_INPUT,
            Self::Open { source: OpenError::Setting { .. }, .. }
            | Self::Log { source: LogError::NotEmpty { .. }, .. } => BAD_INPUT,
            Self::Suite(SuiteError::Exists { .. } | SuiteError::NoPlan { .. }) => BAD_INPUT,
            Self::Suite(SuiteError::Busy { .. })
            | Self::Open { source: OpenError::InUse { .. }, .. }
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
