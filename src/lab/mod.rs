//! The laboratory: the engine held against queueing theory, from outside, through its public interface.
//!
//! ```text
//!  Experiment ──run──> Run { events, stalls, machine } ──judge──> Judgement ──report──> tables and plots
//!   what is done         every message's stamps,                  what the stamps say      for people
//!   (draws before)       nothing filtered                         (pure, no clock)
//! ```
//!
//! The measuring half has clocks and threads and no statistics; the judging half is arithmetic on what was written down,
//! and works as well on a file that another program wrote. Two comparisons are never mixed: the engine against its own
//! path (what a perfect queue would have made of the very same arrivals and services: no chance in it), and the path
//! against the law at the rates that the run really had (chance, and the machine's stalls).
//!
//! | file of the judging half | is |
//! |---|---|
//! | `event`, `parameters` | the two files of a run, and what no honest file fails |
//! | `path`, `walk` | the own path, hand-offs, who was there when, sums of groups |
//! | `interval` | groups, jackknife, Student's t |
//! | `law` | which law a kind is held against |
//! | `distribution` | P(N = n), P(W > t), and tests of what came in |
//! | `judge`, `verdict`, `judgement` | all of it together, the sentence, the values |
//! | `draw`, `simulate` | chance, and exact queues to test the judge with |
//! | `suite`, `record` | a ladder of experiments into a folder that can be continued, and what it writes down |
//! | `report`, `plot` | tables, data and figures, a pure function of the records |
//!
//! # Symbols
//!
//! As in [`crate::model`]: lambda arrivals a second, s the mean service, mu = 1/s, rho = lambda s / c of c servers, K the
//! most in the system, W sojourn, Wq wait, ca2 and cs2 the squared coefficient of variation of gaps and services.
//!
//! # Limits
//!
//! [`MESSAGES_MAX`] messages a run: a row takes 64 bytes while it is judged.

#[cfg(test)]
mod coverage;
mod distribution;
mod draw;
mod event;
mod experiment;
mod host;
mod interval;
mod judge;
mod judgement;
mod law;
mod load;
mod machine;
mod parameters;
mod path;
pub mod plot;
pub mod record;
pub mod report;
mod run;
#[cfg(test)]
mod sample;
mod simulate;
pub mod suite;
mod systems;
mod verdict;
mod walk;

pub use draw::{CS2_MAX, CS2_MIN, Chance, Plan, ServiceLaw, VariabilityError};
pub use event::{
    Column, Event, EventError, LINE_BYTES_MAX, Served, TIME_NS_MAX, check_events, read_events,
    write_events,
};
pub use experiment::{
    CAPACITY_MAX, Experiment, ExperimentError, Kind, LOAD_MAX, MESSAGES_MAX, On, RUN_MAX,
    RUN_SERVERS_MAX, SATURATION_LOAD_MIN, SERVICE_MEAN_MAX, SERVICE_MEAN_MIN, Service, Wait,
};
pub use judge::{DISTURBED_SHARE, JudgeError, MESSAGES_MIN, judge, judge_tandem, pool};
pub use judgement::{
    ClassSums, Count, Grouping, HandOffs, Histogram, InputTest, Interval, Judgement, LawCheck,
    Little, OwnPath, Point, Pooled, Quantiles, Realized, Stage, StallAccount, StallBias, Stalls,
    Sums, Verdict,
};
pub use machine::{Busy, Footing, Machine};
pub use parameters::{
    CLASSES_MAX, PARAMETERS_BYTES_MAX, Parameters, ParametersError, RateName, SERVERS_MAX,
    WARMUP_SHARE, read_parameters, write_parameters,
};
pub use run::{Gap, Gaps, Overshoot, PROGRESS_EVERY, Progress, Run, RunError, SecondStage};
pub use simulate::{SimulateError, WAKE_OF_SERVICE, simulate, simulate_tandem};
