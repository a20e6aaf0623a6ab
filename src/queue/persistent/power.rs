//! The power goes under a queue: what was accepted, settled, retried and buried, on a simulated disk.
//!
//! A script publishes numbered messages, takes them and settles them in all ways; the disk is cut at each call of the
//! log's seam (`log::sim`), and the queue opened on what is left is asked for all it has, until it has no more.
//!
//! # The oracle
//!
//! A message may be delivered, or be done with, or be a dead letter: one of the three, once. Promised are
//! the publishes that returned at `Durability::Sync`, and whatever came before a [`Queue::sync`]:
//!
//! | promised | then |
//! |----------|------|
//! | accepted, nothing settled it | delivered |
//! | acknowledged | not delivered |
//! | dead | a dead letter, not delivered |
//! | retried | delivered, as a later attempt |
//!
//! A later settlement that was not promised may be there or not. What was never published is never delivered; of the
//! messages that were not promised a beginning is there; and first attempts come in order.
//!
//! # Running
//!
//! As `log::power`: `MILLSTREAM_POWER_STATES`, `MILLSTREAM_SEED`.

use super::{Durability, Keep, PersistentQueue, Retention, WhenFull};
use crate::clock::ManualClock;
use crate::event::EventCount;
use crate::log::LogOptions;
use crate::log::sim::{Cut, Draw, Lie, Moment, Promise, SimStorage};
use crate::message::Message;
use crate::metrics::Recorder;
use crate::queue::{
    Context, DEAD_LETTERS, Delivery, Failure, Policy, Queue, Ruling, Source, Start, Subscription,
};
use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const KEEP: Keep = Keep {
    retention: Retention::new(),
    when_full: WhenFull::Refuse,
    checkpoint_bytes: 1 << 14,
    crashes_max: 5,
};

const DIR: &str = "/queue";
const TOPIC: &str = "work";
const STATES: u64 = 300;
/// Cuts of a moment.
const CUTS: usize = 3;
const DELAY: Duration = Duration::from_secs(1);

/// Each failed attempt is followed by another, a second later.
struct Always;

impl Policy for Always {
    fn rule(&self, failure: &Failure) -> Ruling {
        Ruling::Retry { after: failure.after.unwrap_or(DELAY) }
    }

    fn delay_max(&self) -> Duration {
        DELAY
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Dead,
    /// It was this attempt that failed.
    Failed(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Publish,
    Settle(Fate),
    Sync,
    Observe,
}

/// A queue on a simulated disk.
struct Running {
    queue: PersistentQueue,
    source: Arc<dyn Source>,
    clock: ManualClock,
}

fn start(disk: &SimStorage, durability: Durability, name: &str) -> Result<Running, String> {
    let options = LogOptions::new().segment_bytes(64 << 10).disk_max_bytes(1 << 26);
    let log = disk.open_log(Path::new(DIR), options).map_err(|error| format!("open: {error}"))?;
    let clock = ManualClock::at(1_700_000_000_000_000_000);
    let context = Context {
        clock: Arc::new(clock.clone()),
        recorder: Recorder::new(1, 0),
        policy: Box::new(Always),
        buffer: 64,
        max_size: u64::MAX,
        payload_bytes_max: 1 << 16,
        dead_letters_max: 1 << 16,
        refuse_unrouted: false,
        progress: EventCount::new(),
    };
    let queue = PersistentQueue::open(Arc::new(context), log, durability, KEEP)
        .map_err(|error| format!("replay: {error}"))?;
    let source = subscribe(&queue, name)?;
    Ok(Running { queue, source, clock })
}

fn subscribe(queue: &PersistentQueue, topic: &str) -> Result<Arc<dyn Source>, String> {
    let subscription = Subscription::new(topic).name(topic).start(Start::Earliest);
    queue.subscribe(&subscription).map_err(|error| format!("subscribe: {error}"))
}

fn payload(number: u64) -> Vec<u8> {
    let mut draw = Draw(number);
    let mut payload = number.to_le_bytes().to_vec();
    for _ in 0..number * 7 % 90 {
        payload.extend(draw.next().to_le_bytes());
    }
    payload
}

/// The number of a message, if it is one of ours, whole.
fn number_of(delivery: &Delivery) -> Result<u64, String> {
    let bytes = delivery.payload();
    let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let whole = number.filter(|number| bytes[..] == payload(*number)[..]);
    whole.ok_or_else(|| format!("a message of {} bytes that nobody published", bytes.len()))
}

/// All that a subscription has, without settling it: number and attempt, as they come.
fn all(running: &Running, source: &Arc<dyn Source>) -> Result<Vec<(u64, u32)>, String> {
    // Further than any script moves its clock: each retry is due.
    running.clock.advance(3_600 * DELAY);
    let mut found = Vec::new();
    loop {
        let pulled = Delivery::pull(source, 0).map_err(|error| format!("pull: {error}"))?;
        let Some(delivery) = pulled else { return Ok(found) };
        found.push((number_of(&delivery)?, delivery.attempt()));
        // Room in the window for the next; whether this lasts is of no interest any more.
        delivery.ack().map_err(|error| format!("ack: {error}"))?;
    }
}

/// What a script did.
#[derive(Debug, Default)]
struct Story {
    published: u64,
    fates: Vec<(u64, Fate)>,
}

impl Story {
    fn step(&mut self, running: &Running, disk: &SimStorage, step: Step) -> Result<(), String> {
        match step {
            Step::Publish => {
                let message = Message::new(payload(self.published));
                self.published += 1;
                let published = running.queue.publish(TOPIC, message);
                let receipt = published.map_err(|error| format!("publish: {error}"))?;
                if receipt.reached == crate::queue::Reached::Synced {
                    disk.promise(|it| it.records = self.published as usize);
                }
            }
            Step::Settle(fate) => {
                let pulled = Delivery::pull(&running.source, 0);
                let pulled = pulled.map_err(|error| format!("pull: {error}"))?;
                let Some(delivery) = pulled else {
                    running.clock.advance(DELAY);
                    return Ok(());
                };
                let (number, attempt) = (number_of(&delivery)?, delivery.attempt());
                let (fate, settled) = match fate {
                    Fate::Done => (fate, delivery.ack()),
                    Fate::Dead => (fate, delivery.dead_letter("planted")),
                    Fate::Failed(_) => (Fate::Failed(attempt), delivery.retry(DELAY)),
                };
                self.fates.push((number, fate));
                settled.map_err(|error| format!("settle: {error}"))?;
            }
            Step::Sync => {
                running.queue.sync().map_err(|error| format!("sync: {error}"))?;
                let promise =
                    Promise { records: self.published as usize, checkpoints: self.fates.len() };
                disk.promise(|it| *it = promise);
            }
            Step::Observe => disk.observe(),
        }
        Ok(())
    }

    /// Holds what a queue delivers against the story, of which so much was promised.
    fn judge(
        &self,
        promised: Promise,
        delivered: &[(u64, u32)],
        dead: &[(u64, u32)],
    ) -> Result<(), String> {
        let sure = &self.fates[..promised.checkpoints];
        let dead_once: BTreeSet<u64> = dead.iter().map(|(number, _)| *number).collect();
        let attempts: BTreeMap<u64, u32> = delivered.iter().copied().collect();
        if attempts.len() < delivered.len() || dead_once.len() < dead.len() {
            return Err(format!("twice: {delivered:?}, dead {dead:?}"));
        }
        let firsts = delivered.iter().filter(|(_, attempt)| *attempt == 1);
        if !firsts.map(|(number, _)| number).is_sorted() {
            return Err(format!("out of order: {delivered:?}"));
        }
        // Of what was not promised a beginning is there: up to the last that shows itself.
        let seen = attempts.keys().chain(&dead_once).max().map_or(0, |last| last + 1);
        if seen > self.published {
            return Err(format!("message {} of {}", seen - 1, self.published));
        }
        for number in 0..seen.max(promised.records as u64) {
            let last = |fates: &[(u64, Fate)]| {
                fates.iter().rev().find(|(of, _)| *of == number).map(|(_, fate)| *fate)
            };
            let fates = self.fates.iter().filter(|(of, _)| *of == number);
            let ever: Vec<_> = fates.map(|(_, fate)| *fate).collect();
            let (attempt, is_dead) = (attempts.get(&number), dead_once.contains(&number));
            let right = match (last(sure), attempt, is_dead) {
                (Some(Fate::Done), None, false) | (Some(Fate::Dead), None, true) => true,
                (Some(Fate::Done | Fate::Dead), ..) => false,
                // From here on: promised is at most a failed attempt.
                (_, None, false) => ever.contains(&Fate::Done),
                (_, None, true) => ever.contains(&Fate::Dead),
                (_, Some(_), true) => false,
                (Some(Fate::Failed(failed)), Some(attempt), false) => failed < *attempt,
                (None, Some(1), false) => true,
                (None, Some(attempt), false) => ever.contains(&Fate::Failed(attempt - 1)),
            };
            if !right {
                let sure = last(sure);
                return Err(format!(
                    "message {number}: promised {sure:?}, ever {ever:?}, but attempt {attempt:?}, dead {is_dead}"
                ));
            }
        }
        Ok(())
    }
}

fn script(draw: &mut Draw) -> Vec<Step> {
    let step = |draw: &mut Draw| match draw.below(24) {
        0..9 => Step::Publish,
        9..14 => Step::Settle(Fate::Done),
        14..16 => Step::Settle(Fate::Dead),
        16..19 => Step::Settle(Fate::Failed(0)),
        19 | 20 => Step::Sync,
        _ => Step::Observe,
    };
    let steps = 30 + draw.below(90);
    (0..steps).map(|_| step(draw)).collect()
}

/// One state: the queue on what a cut leaves.
fn check(story: &Story, moment: &Moment, cut: &Cut) -> Result<(), String> {
    let crashed = moment.cut(cut);
    let running = start(&crashed.storage, Durability::Os, TOPIC)?;
    let delivered = all(&running, &running.source)?;
    let dead = all(&running, &subscribe(&running.queue, DEAD_LETTERS)?)?;
    let judged = story.judge(moment.promised, &delivered, &dead);
    judged.map_err(|what| {
        format!("{what}\nbefore {} ({:?}): {cut:?}", moment.before, moment.promised)
    })
}

/// Scripts and cuts until that many states were tried.
fn search(seed: u64, durability: Durability, lie: Option<Lie>, max: u64) -> Result<u64, String> {
    let mut draw = Draw(seed);
    let mut states = 0;
    // In the short form many scripts, each cut here and there.
    let share = if max < 20_000 { 48 } else { 256 };
    while states < max {
        let disk = SimStorage::new();
        disk.promise(|it| *it = Promise::default());
        if let Some(lie) = lie {
            disk.lie(lie);
        }
        let running = start(&disk, durability, TOPIC)?;
        running.queue.sync().map_err(|error| format!("sync: {error}"))?;
        disk.start_trail();
        let mut story = Story::default();
        for step in script(&mut draw) {
            story.step(&running, &disk, step)?;
        }
        disk.observe();
        let trail = disk.take_trail();
        drop(running);
        for moment in &trail {
            if !draw.chance(share) {
                continue;
            }
            for cut in moment.cuts(CUTS, &mut draw) {
                states += 1;
                check(&story, moment, &cut).map_err(|what| format!("{what}\n{states} states"))?;
            }
            if states >= max {
                break;
            }
        }
    }
    Ok(states)
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn hold(name: &str, durability: Durability) {
    use std::hash::BuildHasher;
    let random = || std::hash::RandomState::new().hash_one(std::time::Instant::now());
    let seed = environment("MILLSTREAM_SEED").unwrap_or_else(random);
    println!("{name}: MILLSTREAM_SEED={seed}");
    let max = environment("MILLSTREAM_POWER_STATES").unwrap_or(STATES);
    match search(seed, durability, None, max) {
        Ok(states) => println!("{name}: {states} states"),
        Err(what) => panic!("{name}, seed {seed}: {what}"),
    }
}

#[test]
fn a_power_cut_loses_no_message_and_no_settlement_that_was_synced() {
    hold("queue at Sync", Durability::Sync);
}

#[test]
fn a_power_cut_between_syncs_leaves_a_beginning_of_what_came_since() {
    hold("queue at Os", Durability::Os);
}

/// Promise: the checker sees a publish or a settlement that was promised and not synced.
#[test]
fn the_checker_catches_a_queue_that_promises_before_the_sync() {
    search(5, Durability::Sync, None, 20).expect("nothing is wrong where the disk syncs");
    let caught = search(5, Durability::Sync, Some(Lie::DataSync), 20_000);
    println!("promised first: {}", caught.expect_err("not caught"));
}
