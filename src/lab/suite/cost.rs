//! What does a message cost when so many others lie in the queue, or when the log is so long?
//!
//! | cost | filled with | a round |
//! |---|---|---|
//! | ring depth | `at` values, in a ring that holds [`DEPTH_MAX`] at every depth | a send and a receive each |
//! | memory depth | `at` messages of one subscription, of [`PAYLOAD_BYTES`] | publish, receive and acknowledge each |
//! | log size | `at` bytes of messages of [`LOG_PAYLOAD_BYTES`], page cache | the same, oldest first |
//!
//! One thread, nobody waiting: the queue's own work and nothing else. What is received is what was sent longest ago, which
//! is checked by number. The buffers are as large at depth 1 as at the deepest, so that only the depth differs.
//!
//! # Limits
//!
//! [`DEPTH_MAX`] messages; the memory kind holds at most [`crate::engine::BUFFER_MAX`]. The log's directory is removed
//! afterwards; it must have room for `at` bytes and what a round adds.

use super::scratch::Scratch;
use crate::engine::{BUFFER_MAX, Config, Engine};
use crate::error::{OpenError, PublishError, QueueError};
use crate::lab::record::{Cost, CostPlan};
use crate::message::Message;
use crate::ring::{CAPACITY_MAX, bounded};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The deepest: a ring's most values, less the one in flight.
pub const DEPTH_MAX: u64 = CAPACITY_MAX as u64 - 1;
/// Bytes of a message of the memory kind.
pub const PAYLOAD_BYTES: usize = 100;
/// Bytes of a message of the persistent kind.
pub const LOG_PAYLOAD_BYTES: usize = 1024;

const TOPIC: &str = "cost";
/// How long a full log waits for room before it is an error.
const ROOM: Duration = Duration::from_secs(30);
const _: () = assert!(LOG_PAYLOAD_BYTES > 8 && PAYLOAD_BYTES > 8);

/// Why there is no cost.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// Deeper than the queue can hold.
    #[error("{cost:?} at {at}: at most {most}")]
    TooDeep {
        /// Of what.
        cost: Cost,
        /// What was asked for.
        at: u64,
        /// The deepest.
        most: u64,
    },
    /// Nothing to measure.
    #[error("{cost:?} at {at}: no rounds, or no messages")]
    Nothing {
        /// Of what.
        cost: Cost,
        /// Where.
        at: u64,
    },
    /// The log's directory could not be made.
    #[error("no directory in {}: {cause}", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// The engine could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine could not be asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A message was refused.
    #[error("message {number}: {cause}")]
    Publish {
        /// Which.
        number: u64,
        /// Why.
        cause: PublishError<Message>,
    },
    /// Another message came than the one that was sent longest ago, or none.
    #[error("message {wanted} should have come, and {came:?} did")]
    Order {
        /// Which should have.
        wanted: u64,
        /// Which did.
        came: Option<u64>,
    },
}

/// Nanoseconds a message, a round each.
///
/// # Errors
///
/// [`CostError`].
pub fn measure(plan: &CostPlan, folder: &Path) -> Result<Vec<f64>, CostError> {
    let CostPlan { cost, at, messages, rounds, .. } = *plan;
    if messages == 0 || rounds == 0 {
        return Err(CostError::Nothing { cost, at });
    }
    match cost {
        Cost::RingDepth => ring(plan),
        Cost::MemoryDepth => {
            within(plan, BUFFER_MAX as u64 - 1)?;
            let engine = Engine::open(Config::memory().workers(1).buffer(BUFFER_MAX))?;
            engine_rounds(plan, &engine, at, PAYLOAD_BYTES)
        }
        Cost::LogSize => {
            let scratch = Scratch::new(folder)
                .map_err(|cause| CostError::Folder { folder: folder.into(), cause })?;
            // Frames, segments prepared ahead, and the settlements: twice the messages and some segments are enough.
            let room = at.saturating_mul(2) + (4 << 30);
            let config = Config::persistent(scratch.path()).workers(1).disk_bytes_max(room);
            let engine = Engine::open(config)?;
            let fill = (at / LOG_PAYLOAD_BYTES as u64).max(1);
            engine_rounds(plan, &engine, fill, LOG_PAYLOAD_BYTES)
        }
    }
}

fn within(plan: &CostPlan, most: u64) -> Result<(), CostError> {
    match plan.at <= most {
        true => Ok(()),
        false => Err(CostError::TooDeep { cost: plan.cost, at: plan.at, most }),
    }
}

fn ring(plan: &CostPlan) -> Result<Vec<f64>, CostError> {
    within(plan, DEPTH_MAX)?;
    let (sender, receiver) = bounded::<u64>(CAPACITY_MAX);
    let mut sent = 0;
    let mut received = 0;
    for _ in 0..plan.at {
        let refused = sender.try_send(sent).is_err();
        if refused {
            return Err(CostError::TooDeep { cost: plan.cost, at: plan.at, most: sent });
        }
        sent += 1;
    }
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let begun = Instant::now();
        for _ in 0..plan.messages {
            if sender.try_send(sent).is_err() {
                return Err(CostError::TooDeep { cost: plan.cost, at: plan.at, most: sent });
            }
            sent += 1;
            match receiver.try_recv() {
                Ok(came) if came == received => received += 1,
                other => {
                    return Err(CostError::Order { wanted: received, came: other.ok() });
                }
            }
        }
        rounds.push(per_message(begun, plan.messages));
    }
    Ok(rounds)
}

/// Fills an engine with `fill` messages, then times rounds of one in, one out.
fn engine_rounds(
    plan: &CostPlan,
    engine: &Engine,
    fill: u64,
    payload_bytes: usize,
) -> Result<Vec<f64>, CostError> {
    let subscriber = engine.subscriber(TOPIC)?;
    let mut payload = vec![7; payload_bytes];
    let mut publish = |number: u64| {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        publish_one(engine, number, &payload)
    };
    for number in 0..fill {
        publish(number)?;
    }
    let mut rounds = Vec::new();
    let mut number = 0;
    for _ in 0..plan.rounds {
        let begun = Instant::now();
        for _ in 0..plan.messages {
            publish(fill + number)?;
            let Some(delivery) = subscriber.try_recv()? else {
                return Err(CostError::Order { wanted: number, came: None });
            };
            let first = delivery.payload().first_chunk().copied().map(u64::from_le_bytes);
            if first != Some(number) {
                return Err(CostError::Order { wanted: number, came: first });
            }
            delivery.ack()?;
            number += 1;
        }
        rounds.push(per_message(begun, plan.messages));
    }
    Ok(rounds)
}

/// Publishes; a log whose next segment is not prepared yet is asked again.
fn publish_one(engine: &Engine, number: u64, payload: &[u8]) -> Result<(), CostError> {
    let begun = Instant::now();
    loop {
        match engine.publish(TOPIC, payload) {
            Ok(_) => return Ok(()),
            Err(PublishError::Full(_)) if begun.elapsed() < ROOM => {
                crate::sync::thread::yield_now();
            }
            Err(cause) => return Err(CostError::Publish { number, cause }),
        }
    }
}

fn per_message(begun: Instant, messages: u64) -> f64 {
    begun.elapsed().as_nanos() as f64 / messages as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_cost_at_every_depth_and_the_oldest_comes_first() {
        let folder = tempfile::TempDir::new().unwrap();
        for (cost, at) in
            [(Cost::RingDepth, 100), (Cost::MemoryDepth, 100), (Cost::LogSize, 1 << 18)]
        {
            let expected = Duration::ZERO;
            let plan = CostPlan { cost, at, messages: 300, rounds: 3, expected };
            let rounds = measure(&plan, folder.path()).unwrap();
            assert_eq!(rounds.len(), 3);
            assert!(rounds.iter().all(|round| *round > 0.0 && round.is_finite()), "{cost:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        let folder = Path::new("nowhere");
        let plan = |cost, at, messages| CostPlan {
            cost,
            at,
            messages,
            rounds: 1,
            expected: Duration::ZERO,
        };
        let error = measure(&plan(Cost::RingDepth, u64::MAX, 1), folder).unwrap_err();
        assert!(matches!(error, CostError::TooDeep { .. }), "{error}");
        let error = measure(&plan(Cost::MemoryDepth, 1, 0), folder).unwrap_err();
        assert!(matches!(error, CostError::Nothing { .. }), "{error}");
        let error = measure(&plan(Cost::LogSize, 1, 1), folder).unwrap_err();
        assert!(matches!(error, CostError::Folder { .. }), "{error}");
    }
}
