//! A run: what goes in is an [`Experiment`](super::Experiment), what comes out are every message's stamps.
//!
//! The run's threads are its own: one source, and the servers (or the engine's workers). The caller's thread waits for them,
//! wakes every [`PROGRESS_EVERY`] to tell how far they are, and sleeps again. All it shares with them is a number that
//! the source stores once a message on a cache line of its own. So a listener costs a core what the callback itself takes,
//! five times a second; a slow one is seen as stalls.

use super::event::Event;
use super::experiment::ExperimentError;
use super::judgement::{Quantiles, StallAccount};
use super::machine::{Busy, Footing, Machine};
use super::parameters::Parameters;
use crate::error::{Cause, OpenError, PublishError, QueueError};
use crate::message::Message;
use crate::metrics::Snapshot;
use std::path::PathBuf;
use std::time::Duration;

/// How often the caller hears of a run.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were offered so far.
    pub offered: u64,
    /// Of so many.
    pub messages: u64,
    /// Since the first was due.
    pub elapsed: Duration,
    /// Until the last is served, by what was asked for.
    pub remaining: Duration,
}

/// What a run leaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// What was asked for.
    pub parameters: Parameters,
    /// A row a message, in order of arrival.
    pub events: Vec<Event>,
    /// The second stage of a tandem: the same messages, in the same order.
    pub second: Option<SecondStage>,
    /// What the machine took.
    pub stalls: StallAccount,
    /// The single stalls, as far as they were kept.
    pub gaps: Gaps,
    /// How late threads were woken that slept until a time.
    pub overshoot: Overshoot,
    /// How long the calls took that published a message.
    pub publishes: Quantiles,
    /// The machine, before the run.
    pub machine: Machine,
    /// What it did during the run.
    pub busy: Busy,
    /// What the run's threads were granted: the source, then the servers.
    pub footings: Vec<Footing>,
    /// What the engine itself recorded, some messages of the warm-up included; none without an engine.
    pub recorded: Option<Snapshot>,
}

/// The second stage of a tandem.
#[derive(Debug, Clone, PartialEq)]
pub struct SecondStage {
    /// As if it had been run alone.
    pub parameters: Parameters,
    /// A row a message. It is meant to arrive when the stage before lets go of it.
    pub events: Vec<Event>,
}

/// A stall: two reads of the clock that should have followed each other at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it was over, in nanoseconds since the run's start.
    pub at_ns: u64,
    /// Its length.
    pub length_ns: u64,
}

/// The stalls of a run one by one, by who saw them; the first 65,536 of each thread are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// A server, while it served.
    pub server: Vec<Gap>,
    /// A server, while it was idle.
    pub idle: Vec<Gap>,
    /// The source, while it waited for the next arrival.
    pub source: Vec<Gap>,
}

/// From the time that a thread slept until to its next read of the clock; none if nobody slept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Overshoot {
    /// Of the servers.
    pub server: Quantiles,
    /// Of the source.
    pub source: Quantiles,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It is no experiment.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// The stamps of so many messages do not fit into the memory.
    #[error("no memory for the stamps of {messages} messages")]
    Memory {
        /// How many.
        messages: u64,
    },
    /// The persistent kind's directory could not be made.
    #[error("no directory could be made in {}: {source}", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// Why.
        source: Cause,
    },
    /// The engine could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine could not be subscribed to, pulled from, settled with, or closed.
    #[error("{what}: {source}")]
    Queue {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: QueueError,
    },
    /// A publish failed for another reason than that the queue was full.
    #[error("message {id} could not be published: {source}")]
    Publish {
        /// Which one.
        id: u64,
        /// Why.
        source: PublishError<Message>,
    },
    /// The receiving end went away during the run.
    #[error("message {id} could not be sent: the servers are gone")]
    ServersGone {
        /// Which one.
        id: u64,
    },
    /// The way through the queue was not open before the run began.
    #[error("{taken} of {sent} messages came through before the run, in {waited:?}")]
    WarmUp {
        /// Sent.
        sent: u64,
        /// Arrived.
        taken: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// The queue was not empty in time.
    #[error("{left} messages were not served within {waited:?} after the last arrival")]
    Drain {
        /// How many.
        left: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// Accepted, and never served.
    #[error("{count} messages were accepted and never served, the first is {first}")]
    Lost {
        /// How many.
        count: u64,
        /// The first of them.
        first: u64,
    },
    /// Served more than once, or refused and served.
    #[error("{count} services were of messages that had none to get, the first of message {first}")]
    Doubled {
        /// How many.
        count: u64,
        /// The first of them.
        first: u64,
    },
    /// A thread of the run panicked.
    #[error("the {role} panicked")]
    Panicked {
        /// Which one.
        role: &'static str,
    },
}
