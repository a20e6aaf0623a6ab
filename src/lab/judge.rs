//! From stamps to a judgement.

use super::event::{Event, EventError, check_events};
use super::experiment::Kind;
use super::judgement::{Judgement, Pooled, StallAccount};
use super::parameters::{Parameters, ParametersError, WARMUP_SHARE};

/// Why there is no judgement: the data cannot be a run's, or the run has no law to be held against.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The events cannot be a run's: invalid.
    #[error("invalid: {0}")]
    Events(#[from] EventError),
    /// No run can be asked this.
    #[error("invalid: {0}")]
    Parameters(#[from] ParametersError),
    /// The band is no number between 0 and 1.
    #[error("the band is {band}; it must be above 0 and below 1")]
    Band {
        /// What was given.
        band: f64,
    },
    /// More is left out of the statistics than is honest.
    #[error("invalid: {warmup} of {messages} rows as warm-up; at most one in {WARMUP_SHARE}")]
    Warmup {
        /// Rows to leave out.
        warmup: u64,
        /// Rows there are.
        messages: u64,
    },
    /// Too short to have rates.
    #[error("invalid: {messages} messages were served after the warm-up; at least {most} are needed", most = MESSAGES_MIN)]
    TooFew {
        /// How many.
        messages: u64,
    },
    /// The gaps or the services add up to nothing.
    #[error("invalid: all gaps or all services are 0 ns")]
    NoTime,
    /// A class that the parameters do not name, or rows without one in a run with priorities.
    #[error("invalid: row {row}: its class is not one of the {classes} named")]
    Class {
        /// Where, from 1.
        row: u64,
        /// How many classes there are.
        classes: usize,
    },
    /// As much came in as could be served, though less was asked for: there is no steady state to compare with.
    #[error("rho was {load} in this run: no steady state exists to compare it with")]
    Unstable {
        /// lambda / (c mu), realized.
        load: f64,
    },
    /// A tandem's stages come to [`judge_tandem`], everything else to [`judge`].
    #[error("a tandem has two event files, every other kind has one: {kind:?}")]
    Stages {
        /// Which kind came.
        kind: Kind,
    },
    /// Row by row, the second stage must take what the first let go.
    #[error("invalid: row {row}: the second stage does not begin where the first ends")]
    StageGap {
        /// Where, from 1.
        row: u64,
    },
    /// Runs of different experiments cannot be pooled.
    #[error("only runs of one kind, with the same servers, capacity and band, can be pooled")]
    Mixed,
    /// This kind cannot be judged yet.
    #[error("{kind:?} cannot be judged yet")]
    Unsupported {
        /// Which.
        kind: Kind,
    },
}

/// Fewer served messages than these say nothing.
pub const MESSAGES_MIN: u64 = 10;

/// Judges one run.
///
/// # Errors
///
/// [`JudgeError`]: the data are invalid, or there is no law for them.
pub fn judge(
    parameters: &Parameters,
    events: &[Event],
    stalls: Option<&StallAccount>,
    band: f64,
) -> Result<Judgement, JudgeError> {
    let _ = stalls;
    check(parameters, events, band)?;
    Err(JudgeError::Unsupported { kind: parameters.kind })
}

/// Judges a tandem from the events of its two stages.
///
/// # Errors
///
/// [`JudgeError`]: the data are invalid, or there is no law for them.
pub fn judge_tandem(
    parameters: &Parameters,
    stages: [&[Event]; 2],
    stalls: Option<&StallAccount>,
    band: f64,
) -> Result<Judgement, JudgeError> {
    let _ = stalls;
    stages.iter().try_for_each(|events| check(parameters, events, band))?;
    Err(JudgeError::Unsupported { kind: parameters.kind })
}

/// Several runs of one experiment as one: all their groups together, none picked.
///
/// # Errors
///
/// [`JudgeError::Mixed`] unless they are of one kind with the same servers, capacity and band, or if there is none.
pub fn pool(runs: &[Judgement]) -> Result<Pooled, JudgeError> {
    match runs.first() {
        Some(first) => Err(JudgeError::Unsupported { kind: first.kind }),
        None => Err(JudgeError::Mixed),
    }
}

fn check(parameters: &Parameters, events: &[Event], band: f64) -> Result<(), JudgeError> {
    parameters.check()?;
    check_events(events)?;
    if !(f64::MIN_POSITIVE..1.0).contains(&band) {
        return Err(JudgeError::Band { band });
    }
    let (warmup, messages) = (parameters.warmup, events.len() as u64);
    if warmup > messages / WARMUP_SHARE {
        return Err(JudgeError::Warmup { warmup, messages });
    }
    Ok(())
}
