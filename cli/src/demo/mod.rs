//! `millstream demo`: a queue at work for some seconds, beside what theory says of it. Needs no input.
//!
//! ```text
//!  source ── Poisson ──┬── demo.orders ────> subscription `orders` ────┐
//!   (never waits)      └── demo.payments ──> subscription `payments` ──┴── W workers, exponential services
//!                                                 ^                            │ some attempts fail
//!                                                 └─────── after a delay ──────┘ some messages go to the dead letters
//! ```
//!
//! # Which law
//!
//! M/M/c of the *pool*: both subscriptions share the workers, so neither of them alone is a queue with a rate of service
//! of its own. Each message goes to one topic, so both streams are Poisson and so is their sum; both have the same
//! services. (One message for both subscriptions would be two deliveries at once, and no Poisson stream.) A retry is one
//! more visit to the pool: a network of a pool and a delay, in which the number at the pool is as in M/M/c at the
//! *attempts* a second, though their stream is not Poisson (Jackson 1957; the delay may have any distribution, Baskett,
//! Chandy, Muntz and Palacios 1975).
//!
//! The means hold in whatever order the pool takes messages, as long as it does not look at their services. The percentiles are
//! those of first come, first served, which holds within a subscription and about so between the two. A retry is taken
//! first: first attempts, which are measured here, then wait longer by the retries' share of the load, 4 % of their mean.
//!
//! # Limits
//!
//! Handlers sleep, so services below [`SERVICE_MIN`] are refused: they would be the system's timer, not what was drawn.

mod summary;
mod work;

use crate::control::{Control, Event, Reason};
use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use crate::progress::Live;
use crate::quantity;
use indicatif::HumanCount;
use millstream::{Config, Engine, Subscription};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};
use summary::Summary;
use tempfile::TempDir;
use work::{ATTEMPTS_PER_MESSAGE, Books, Draws, NAMES, RETRIES_MAX, RETRY_DELAY, Source};

/// How much of the workers' time the demo asks for.
const LOAD: f64 = 0.7;
/// The shortest mean service, which is slept.
const SERVICE_MIN: Duration = Duration::from_millis(1);
/// The most messages: the longest demo is an evening's, not a disk's.
const MESSAGES_MAX: f64 = 1e7;
/// How long the queue may take to be empty when nothing arrives any more.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How often the live line moves.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether all is settled.
const LOOK_CLOSELY: Duration = Duration::from_millis(5);

const EXAMPLE: &str = "\
Examples:
  millstream demo
  millstream demo --seconds 60 --rate 1k/s --workers 8 --json";

/// Watch a queue at work, beside what theory says of it
///
/// Needs nothing: a queue in a temporary directory, messages that arrive at random (Poisson) at the given rate whatever
/// the queue does, two subscriptions that share the workers, and handlers that take exponential times, such that the workers are busy 70 % of the
/// time. Four messages in a hundred fail once and are tried again; one in a hundred always fails and goes to the dead
/// letters.
///
/// At the end: what each subscription did; how long messages waited, beside what M/M/c has for the pool; and whether
/// every message is accounted for, published, tried, handled or given up, each as often as was drawn before. If not, the exit
/// code is 1. Ctrl-C ends it early, with the same account. The directory is removed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// How long messages arrive
    #[arg(long, value_name = "N", default_value = "5", value_parser = quantity::positive)]
    seconds: f64,
    /// How many messages arrive in a second, such as `500` or `2k/s`
    #[arg(long, value_name = "R", default_value = "500", value_parser = quantity::rate)]
    rate: f64,
    /// How many handlers run at a time
    #[arg(long, value_name = "W", default_value_t = 4, value_parser = crate::workers())]
    workers: usize,
    /// What is drawn from: arrivals, services and failures of a seed are the same every time
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// Why it cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(
        "--rate {rate}/s with {workers} workers leaves {service:?} for a service at a load of {LOAD}; handlers sleep, and \
         less than {SERVICE_MIN:?} would be the system's timer: at most {most}/s, or more --workers"
    )]
    ShortService { rate: f64, workers: usize, service: Duration, most: f64 },
    #[error(
        "--rate {rate}/s with {workers} workers makes a service of more than an hour: too few messages for a demo"
    )]
    LongService { rate: f64, workers: usize },
    #[error(
        "{messages:.0} messages; the most is {MESSAGES_MAX:e}: fewer --seconds, or a lower --rate"
    )]
    Messages { messages: f64 },
}

impl Args {
    /// The mean service that keeps the workers busy for [`LOAD`] of the time.
    fn service_mean(&self) -> Result<Duration, DemoError> {
        let (rate, workers) = (self.rate, self.workers);
        let messages = self.seconds * rate;
        if messages > MESSAGES_MAX {
            return Err(DemoError::Messages { messages });
        }
        let busy = LOAD * workers as f64 / ATTEMPTS_PER_MESSAGE;
        let service = Duration::try_from_secs_f64(busy / rate)
            .ok()
            .filter(|service| *service <= Duration::from_secs(3_600))
            .ok_or(DemoError::LongService { rate, workers })?;
        match service < SERVICE_MIN {
            true => {
                let most = (busy / SERVICE_MIN.as_secs_f64()).floor();
                Err(DemoError::ShortService { rate, workers, service, most })
            }
            false => Ok(service),
        }
    }
}

/// Shows.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let draws = Draws { seed: args.seed, service_mean: args.service_mean()? };
    // Before there is a directory that a signal might leave behind.
    let (control, events) = Control::start()?;
    let dir = TempDir::with_prefix("millstream-demo-").map_err(Failure::TempDir)?;
    let config = Config::persistent(dir.path().join("queue"))
        .workers(args.workers)
        .retries_max(RETRIES_MAX)
        .retry_delay(RETRY_DELAY);
    let engine = Engine::open(config)
        .map_err(|source| Failure::Open { dir: dir.path().to_owned(), source })?;
    let shown = show(args, draws, &engine, &control, &events);
    // Whatever came of it: the queue is closed before its directory goes.
    let closed = engine.close(Duration::ZERO);
    let summary = shown?;
    closed?;
    dir.close().map_err(Failure::TempDir)?;
    match json {
        true => output::write_object(&summary)?,
        false => output::write(summary.to_string().as_bytes())?,
    }
    Ok(if summary.counts_hold { Outcome::Good } else { Outcome::Finding })
}

fn show(
    args: &Args,
    draws: Draws,
    engine: &Engine,
    control: &Control,
    events: &Receiver<Event>,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    let books = Arc::new(Books::new());
    for (which, name) in NAMES.into_iter().enumerate() {
        let subscription = Subscription::new(format!("demo.{name}")).name(name);
        let handler = work::Hands { which, draws, started, books: Arc::clone(&books) };
        engine.subscribe_with(subscription, handler)?;
    }
    let source = Source {
        engine: engine.clone(),
        control: control.clone(),
        draws,
        rate_per_s: args.rate,
        span: Duration::from_secs_f64(args.seconds),
        started,
    };
    let offering = thread::Builder::new().name("source".to_owned());
    let offering = offering.spawn(move || source.offer()).map_err(Failure::Start)?;
    watch(args, engine, control, events, || offering.is_finished());
    let offered = offering.join().expect("the source does not panic")?;
    let left = drain(engine, control, events)?;
    let stopped = matches!(control.reason(), Some(Reason::Signal));
    Ok(Summary::of(args, draws, stopped, &offered, &books, &engine.stats(), left))
}

/// Shows how it goes until `is_over`.
fn watch(
    args: &Args,
    engine: &Engine,
    control: &Control,
    events: &Receiver<Event>,
    is_over: impl Fn() -> bool,
) {
    let (live, started) = (Live::of(Duration::from_secs_f64(args.seconds)), Instant::now());
    let look = LOOK.min(Duration::from_secs_f64(args.seconds) / 4).max(LOOK_CLOSELY);
    while !is_over() {
        // The answer is in the reason, at which the source looks.
        let _ = events.recv_timeout(look);
        live.say(started.elapsed(), || {
            let stats = engine.stats();
            let counters = stats.snapshot.counters;
            let depth = |of: fn(&millstream::Depth) -> u64| -> u64 {
                stats.depth.subscriptions.iter().map(|each| of(&each.depth)).sum()
            };
            format!(
                "{}, {} handled; {} wait, {} in hands, {} to be retried; {}",
                counted(counters.published, "message"),
                HumanCount(counters.settled),
                HumanCount(depth(|depth| depth.ready)),
                HumanCount(depth(|depth| depth.in_flight)),
                HumanCount(depth(|depth| depth.delayed)),
                counted(counters.dead_lettered, "dead letter"),
            )
        });
        if engine.stats().failure.is_some() {
            control.stop(Reason::Failure);
        }
    }
}

/// Waits until every subscription is empty; how many messages are left in each if that takes too long.
fn drain(
    engine: &Engine,
    control: &Control,
    events: &Receiver<Event>,
) -> Result<[u64; 2], Failure> {
    let deadline = Instant::now() + DRAIN_MAX;
    loop {
        let stats = engine.stats();
        if let Some(failure) = stats.failure {
            return Err(failure.into());
        }
        let left = NAMES.map(|name| {
            let own = stats.depth.subscriptions.iter().filter(|each| each.name == name);
            own.map(|each| each.depth.total()).sum()
        });
        if left == [0, 0] || deadline <= Instant::now() {
            return Ok(left);
        }
        // A signal has ended the arrivals and does not end this; the next one ends the process.
        let _ = events.recv_timeout(LOOK_CLOSELY);
        if matches!(control.reason(), Some(Reason::Failure)) {
            return Ok(left);
        }
    }
}
