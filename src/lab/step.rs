//! A step of the load, low, high, low: adaptive workers beside fixed ones, of which there are as many on average.
//!
//! ```text
//!   erlangs   high        ┌────────┐             the same arrivals and the same services (one seed) for every pool;
//!              low  ──────┘        └──────       sojourn from the intended arrival, so a late source hides nothing
//! ```
//!
//! First the adaptive pool runs, and its number of workers is looked at every [`LOOK_EVERY`]: the mean over the whole run
//! is what it cost. Then fixed pools run of that mean rounded down, and rounded up: the one had a little less than the
//! adaptive pool, the other a little more. Handlers sleep for their service, as handlers do that wait for a network: with
//! more workers than cores nothing else can be told apart from the processor's own queue.
//!
//! # Limits
//!
//! [`Step::check`] says which. A service is never shorter than a sleep of its length takes, which is some 60 us more: the
//! same for all pools. Not comparable: the workers' number of the adaptive pool is looked at, not integrated.

use super::draw::Chance;
use super::judgement::Quantiles;
use crate::engine::{Config, Engine, HandlerError, WORKERS_MAX};
use crate::error::{OpenError, PublishError, QueueError};
use crate::message::Message;
use crate::queue::Delivery;
use crate::sync::{Arc, AtomicU64, Ordering, thread};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How often the number of workers is looked at: a look sums up the engine's whole statistics.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The most messages of a run.
pub const STEP_MESSAGES_MAX: u64 = 200_000;
/// How long after the last arrival a run waits for the last message.
const DRAIN_MAX: Duration = Duration::from_secs(600);
const TOPIC: &str = "step";

/// A load step, and who is to bear it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Erlangs before and after: arrivals a second times the mean service.
    pub low: f64,
    /// Erlangs between.
    pub high: f64,
    /// Mean of the exponential services.
    pub service_mean: Duration,
    /// How long the load is low, before and after each.
    pub low_lasts: Duration,
    /// How long it is high.
    pub high_lasts: Duration,
    /// The fewest workers of the adaptive pool.
    pub workers_min: usize,
    /// The most.
    pub workers_max: usize,
    /// What is drawn from.
    pub seed: u64,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A value that is not allowed.
    #[error("`{key}` = {value}: {min} to {max} are allowed")]
    Setting {
        /// Which.
        key: &'static str,
        /// What was given.
        value: f64,
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// The engine would not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It would not be subscribed to, or not close.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// It would not take a message.
    #[error("publishing: {0}")]
    Publish(#[from] PublishError<Message>),
    /// Messages were still there long after the last arrival.
    #[error("{left} messages were not handled {after:?} after the last arrival")]
    Unfinished {
        /// How many.
        left: u64,
        /// After how long.
        after: Duration,
    },
}

/// What one pool did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The fewest workers that it may have.
    pub workers_min: usize,
    /// The most.
    pub workers_max: usize,
    /// How many it had, on average over the time of arrivals.
    pub workers_mean: f64,
    /// How many it had at most, at any look.
    pub workers_most: usize,
    /// Sojourns from the intended arrival, of all messages.
    pub sojourn: Quantiles,
    /// Of those that arrived while the load was high.
    pub sojourn_high: Quantiles,
    /// Each change that was seen: nanoseconds from the start, and to how many.
    pub changes: Vec<(u64, usize)>,
}

/// The adaptive pool beside fixed ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What was asked for.
    pub step: Step,
    /// How many messages.
    pub messages: u64,
    /// The pool that followed the load.
    pub adaptive: Pool,
    /// As many workers as that had on average, rounded down.
    pub fixed_below: Pool,
    /// And rounded up.
    pub fixed_above: Pool,
}

impl Comparison {
    /// Mean sojourn of the fixed pool that had more workers over that of the adaptive one: above 1, the adaptive one won.
    pub fn gain_mean(&self) -> f64 {
        self.fixed_above.sojourn.mean_ns / self.adaptive.sojourn.mean_ns
    }

    /// The same of the 99th percentile.
    pub fn gain_p99(&self) -> f64 {
        self.fixed_above.sojourn.p99_ns as f64 / self.adaptive.sojourn.p99_ns as f64
    }
}

impl Default for Step {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    /// From half an erlang to six and back, services of 5 ms, 20 s of 45 high; 1 to 12 workers.
    pub fn new() -> Self {
        Self {
            low: 0.5,
            high: 6.0,
            service_mean: Duration::from_millis(5),
            low_lasts: Duration::from_secs(20),
            high_lasts: Duration::from_secs(5),
            workers_min: 1,
            workers_max: 12,
            seed: 1,
        }
    }

    /// Is each value allowed?
    ///
    /// # Errors
    ///
    /// [`StepError::Setting`] with the first that is not, and what is.
    pub fn check(&self) -> Result<(), StepError> {
        let workers_max = WORKERS_MAX as f64;
        within("low", self.low, 0.001, workers_max)?;
        within("high", self.high, self.low, workers_max)?;
        within("service_mean (s)", self.service_mean.as_secs_f64(), 1e-3, 10.0)?;
        within("low_lasts (s)", self.low_lasts.as_secs_f64(), 0.0, 3_600.0)?;
        within("high_lasts (s)", self.high_lasts.as_secs_f64(), 0.01, 3_600.0)?;
        within("workers_min", self.workers_min as f64, 1.0, self.workers_max as f64)?;
        within("workers_max", self.workers_max as f64, 1.0, workers_max)?;
        within("messages", self.messages_mean(), 1.0, STEP_MESSAGES_MAX as f64)
    }

    /// How long a pool's arrivals last.
    pub fn expected_duration(&self) -> Duration {
        self.low_lasts * 2 + self.high_lasts
    }

    fn messages_mean(&self) -> f64 {
        let erlang_s = self.low * self.low_lasts.as_secs_f64() * 2.0
            + self.high * self.high_lasts.as_secs_f64();
        erlang_s / self.service_mean.as_secs_f64()
    }

    /// Runs the adaptive pool, then the fixed ones. `progress` hears which pool is next, by its workers.
    ///
    /// # Errors
    ///
    /// As [`Step::check`]; what the engine refused; messages that are never handled.
    pub fn run(
        &self,
        progress: &mut dyn FnMut(&RangeInclusive<usize>),
    ) -> Result<Comparison, StepError> {
        self.check()?;
        let draws = self.draws();
        let mut pool = |workers: RangeInclusive<usize>| {
            progress(&workers);
            self.run_pool(workers, &draws)
        };
        let adaptive = pool(self.workers_min..=self.workers_max)?;
        let below = (adaptive.workers_mean.floor() as usize).max(1);
        let above = (adaptive.workers_mean.ceil() as usize).max(below);
        let (fixed_below, fixed_above) = (pool(below..=below)?, pool(above..=above)?);
        let messages = draws.len() as u64;
        Ok(Comparison { step: self.clone(), messages, adaptive, fixed_below, fixed_above })
    }

    /// The arrivals of the three parts, and their services.
    fn draws(&self) -> Vec<Draw> {
        let (mut gaps, mut services) = (Chance::new(self.seed), Chance::new(!self.seed));
        let (low_s, high_s) = (self.low_lasts.as_secs_f64(), self.high_lasts.as_secs_f64());
        let mean_s = self.service_mean.as_secs_f64();
        let parts =
            [(self.low, low_s), (self.high, low_s + high_s), (self.low, 2.0 * low_s + high_s)];
        let (mut draws, mut at_s) = (Vec::new(), 0.0);
        for (part, (erlangs, end_s)) in parts.into_iter().enumerate() {
            // A Poisson process has no memory: the gap that crosses the border is drawn anew from there.
            loop {
                let next_s = at_s + gaps.exponential() * mean_s / erlangs;
                if end_s <= next_s {
                    at_s = end_s;
                    break;
                }
                at_s = next_s;
                let service = Duration::from_secs_f64(services.exponential() * mean_s);
                let intended = Duration::from_secs_f64(at_s);
                draws.push(Draw { intended, service, high: part == 1 });
            }
        }
        draws
    }

    fn run_pool(&self, workers: RangeInclusive<usize>, draws: &[Draw]) -> Result<Pool, StepError> {
        let buffer = draws.len().max(1);
        let engine = Config::memory().buffer(buffer).adaptive_workers(workers.clone()).open()?;
        // The end of each, in nanoseconds from the start.
        let ends: Arc<[AtomicU64]> = draws.iter().map(|_| AtomicU64::new(0)).collect();
        let services: Arc<[Duration]> = draws.iter().map(|draw| draw.service).collect();
        let (start, noted) = (Instant::now(), Arc::clone(&ends));
        engine.subscribe(TOPIC, move |delivery: &Delivery| -> Result<(), HandlerError> {
            let number: usize = delivery.text()?.parse()?;
            thread::sleep(services[number]);
            let end_ns = crate::clock::saturating_ns(start.elapsed());
            noted[number].store(end_ns, Ordering::Relaxed); // [relaxed] read after the close
            Ok(())
        })?;
        let mut looks = Looks::new(start);
        for (number, draw) in draws.iter().enumerate() {
            looks.until(&engine, start + draw.intended);
            engine.publish(TOPIC, number.to_string())?;
        }
        looks.until(&engine, start + self.expected_duration());
        let report = engine.close(DRAIN_MAX)?;
        if !report.is_drained() {
            return Err(StepError::Unfinished { left: report.left_over(), after: DRAIN_MAX });
        }
        let sojourns = |high_only: bool| {
            let of = |(draw, end): (&Draw, &AtomicU64)| {
                let end_ns = end.load(Ordering::Relaxed); // [relaxed] the close has waited for the workers
                let sojourn_ns = end_ns.saturating_sub(crate::clock::saturating_ns(draw.intended));
                (draw.high || !high_only).then_some(sojourn_ns)
            };
            let mut sorted: Vec<u64> = draws.iter().zip(&*ends).filter_map(of).collect();
            sorted.sort_unstable();
            Quantiles::of_sorted(&sorted)
        };
        Ok(Pool {
            workers_min: *workers.start(),
            workers_max: *workers.end(),
            workers_mean: looks.sum as f64 / looks.count.max(1) as f64,
            workers_most: looks.most,
            sojourn: sojourns(false),
            sojourn_high: sojourns(true),
            changes: looks.changes,
        })
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Draw {
    intended: Duration,
    service: Duration,
    high: bool,
}

/// What was seen of the number of workers.
struct Looks {
    start: Instant,
    next: Instant,
    count: u64,
    sum: u64,
    most: usize,
    changes: Vec<(u64, usize)>,
}

impl Looks {
    fn new(start: Instant) -> Self {
        Self { start, next: start, count: 0, sum: 0, most: 0, changes: Vec::new() }
    }

    /// Sleeps until then, and looks in between when it is time. A source that is late looks as well.
    fn until(&mut self, engine: &Engine, at: Instant) {
        loop {
            let now = Instant::now();
            if self.next <= now {
                self.look(engine, now);
                continue;
            }
            let wake = at.min(self.next);
            if wake <= now {
                return;
            }
            thread::sleep(wake - now);
        }
    }

    fn look(&mut self, engine: &Engine, now: Instant) {
        let workers = engine.stats().workers;
        // As many looks as were due count, so that a late one weighs as the time it stands for.
        let late = now.saturating_duration_since(self.next).as_nanos() / LOOK_EVERY.as_nanos();
        let due = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.next += LOOK_EVERY * due;
        self.count += u64::from(due);
        self.sum += u64::from(due) * workers as u64;
        self.most = self.most.max(workers);
        if self.changes.last().is_none_or(|(_, last)| *last != workers) {
            let at_ns = crate::clock::saturating_ns(now.saturating_duration_since(self.start));
            self.changes.push((at_ns, workers));
        }
    }
}

fn within(key: &'static str, value: f64, min: f64, max: f64) -> Result<(), StepError> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(StepError::Setting { key, value, min, max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_have_the_asked_rates_in_each_part_and_one_seed_gives_one_schedule() {
        let step = Step { low: 1.0, high: 10.0, ..Step::new() };
        let draws = step.draws();
        assert_eq!(draws, step.draws());
        assert!(draws.is_sorted_by_key(|draw| draw.intended));
        let high = draws.iter().filter(|draw| draw.high).count() as f64;
        let low = draws.len() as f64 - high;
        // 10,000 and 8,000 expected: five standard deviations.
        assert!((high - 10_000.0).abs() < 500.0, "{high}");
        assert!((low - 8_000.0).abs() < 450.0, "{low}");
        let mean_s =
            draws.iter().map(|draw| draw.service.as_secs_f64()).sum::<f64>() / (high + low);
        assert!((mean_s / 0.005 - 1.0).abs() < 0.04, "{mean_s}");
        let inside = |draw: &&Draw| draw.high && draw.intended >= Duration::from_secs(25);
        assert_eq!(draws.iter().find(inside), None);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let told = |step: Step| step.check().unwrap_err().to_string();
        assert_eq!(
            told(Step { low: f64::NAN, ..Step::new() }),
            "`low` = NaN: 0.001 to 256 are allowed"
        );
        assert_eq!(told(Step { high: 0.1, ..Step::new() }), "`high` = 0.1: 0.5 to 256 are allowed");
        assert_eq!(
            told(Step { workers_min: 0, ..Step::new() }),
            "`workers_min` = 0: 1 to 12 are allowed"
        );
        assert!(
            told(Step { high: 250.0, service_mean: Duration::from_millis(1), ..Step::new() })
                .starts_with("`messages`")
        );
        Step::new().check().unwrap();
    }

    /// Promise: every message of a run is accounted for in each pool, and the fixed pools are the adaptive one's mean,
    /// rounded. (What is gained is measured, not tested.)
    #[test]
    fn a_short_step_runs_to_its_end_in_each_pool() {
        let step = Step {
            low_lasts: Duration::from_millis(100),
            high_lasts: Duration::from_millis(200),
            workers_max: 4,
            ..Step::new()
        };
        let mut pools = Vec::new();
        let found = step.run(&mut |workers| pools.push(workers.clone())).unwrap();
        let Comparison { adaptive, fixed_below, fixed_above, .. } = &found;
        for pool in [adaptive, fixed_below, fixed_above] {
            assert_eq!(pool.sojourn.count, found.messages);
            assert!(pool.sojourn_high.count > 0 && pool.workers_most <= pool.workers_max);
        }
        let mean = adaptive.workers_mean;
        assert!((1.0..=4.0).contains(&mean), "{mean}");
        assert!(fixed_below.workers_mean <= mean && mean <= fixed_above.workers_mean);
        assert_eq!(pools.len(), 3);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), found);
    }
}
