//! What a run leaves: a row a message, and what was asked for.
//!
//! | column | is |
//! |---|---|
//! | `id` | 0, 1, 2 ... without a gap: the row's place |
//! | `intended_ns` | the schedule, drawn before the run and never moved by what happens |
//! | `arrival_ns` | clock read immediately before the publish |
//! | `start_ns` | first clock read after the message was taken, in the server |
//! | `end_ns` | the clock read that ended the service |
//! | `accepted` | 1; or 0 when it was refused: then start and end are empty |
//! | `drawn_ns` | the service that was asked for; optional |
//! | `class` | the priority class, 0 the highest; optional |
//!
//! One clock for all columns, whole nanoseconds since the start of the run, rows in order of arrival, nothing filtered.

use super::experiment::{Kind, Service};
use serde::{Deserialize, Serialize};

/// One message of a run. All times are nanoseconds of one clock since the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When the schedule meant it to arrive.
    pub intended_ns: u64,
    /// Clock read before the publish.
    pub arrival_ns: u64,
    /// When it was served; none if it was refused.
    pub served: Option<Served>,
    /// The service that was asked for, if that is known.
    pub drawn_ns: Option<u64>,
    /// Its class, 0 the highest, in a run with priorities.
    pub class: Option<u8>,
}

/// The two stamps of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// First clock read in the server.
    pub start_ns: u64,
    /// The clock read that ended the service.
    pub end_ns: u64,
}

/// What a run was asked to be: the file beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Which law it is held against.
    pub kind: Kind,
    /// Servers: c.
    pub servers: u32,
    /// The most messages in the system, K; none for no limit.
    pub capacity: Option<u64>,
    /// The most messages that the queue holds, which the one in service is not.
    pub ring_capacity: Option<u64>,
    /// Arrivals a second that were asked for.
    pub lambda: f64,
    /// Services a second of one server that were asked for.
    pub mu: f64,
    /// The law of the services.
    pub service: Service,
    /// Squared coefficient of variation of the services that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cs2: Option<f64>,
    /// What arrivals and services were drawn from.
    pub seed: u64,
    /// Rows to leave out of the statistics, never out of the file.
    pub warmup: u64,
    /// What a server did when idle and while serving.
    pub wait: String,
    /// What was measured: `ring`, `channel`, `memory`, `persistent`, or another program's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The names of the classes, highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Tandem: the event files of the stages, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
}
