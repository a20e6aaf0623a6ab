//! `millstream stat`: what a queue holds, by subscription, and the log it lies in.
//!
//! It looks from outside, beside an owner too. What cannot be known from there has no key and no line, instead of a zero.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use clap::ValueHint;
use indicatif::{BinaryBytes, HumanCount};
use millstream::log::Syncing;
use millstream::{Inspection, Pinned};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLE: &str = "\
Example:
  millstream stat queue --json | jq '.subscriptions[] | {name, ready}'";

/// Tell what a queue holds
///
/// Prints how many messages each subscription has yet to settle, how many are held because no subscription has ever
/// matched their topic, how old the oldest of them is, and who keeps the log from being reclaimed; and the state of the log:
/// its files, their bytes, its newest checkpoint, where it ends, and up to where it is known to be on the disk. Nothing
/// is changed.
///
/// Beside somebody who has it open this is a moment of the queue. What only that process knows is not told: what is in
/// its hands, its limit on the disk, when it last synced, and whether a sync has failed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Queue {
    dir: String,
    /// Has somebody got it open?
    live: bool,
    /// Did its last owner close it?
    clean: bool,
    topics: usize,
    held: u64,
    /// Since the oldest message was accepted that somebody has yet to settle, or that is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned_by: Option<Pin>,
    /// Bytes of the log from that message on.
    pinned_bytes: u64,
    /// The position of the earliest message that a new subscription can get.
    retained_from: u64,
    subscriptions: Vec<Subscription>,
    log: Log,
}

/// Who has yet to settle the oldest message.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Pin {
    Subscription(String),
    Topic(String),
}

#[derive(Serialize)]
struct Subscription {
    name: String,
    filter: String,
    ready: u64,
    /// 0 where nobody has the queue open; else only that process knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u64>,
    delayed: u64,
}

#[derive(Serialize)]
struct Log {
    /// The position where it ends.
    end: u64,
    /// Up to which position it is known to be on the disk.
    durable: u64,
    /// What lies between the two: as much at most may a power loss take.
    unsynced_bytes: u64,
    file_bytes: u64,
    /// What all files of the directory take of the disk.
    disk_bytes: u64,
    file_system: FileSystem,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    segments: Vec<Segment>,
}

#[derive(Serialize)]
struct FileSystem {
    name: &'static str,
    /// `real`, `nothing` or `unknown`: what a returned sync means.
    sync: &'static str,
}

/// The newest one.
#[derive(Serialize)]
struct Checkpoint {
    /// Up to where it goes: from there on the next open replays.
    position: u64,
    age_ns: u64,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    base: u64,
    end: u64,
    file_bytes: u64,
}

/// Looks.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let inspection = crate::inspection(&args.dir)?;
    let queue = Queue::of(args, &inspection)?;
    match json {
        true => output::write_object(&queue)?,
        false => output::write(queue.to_string().as_bytes())?,
    }
    Ok(Outcome::Good)
}

impl Queue {
    fn of(args: &Args, inspection: &Inspection) -> Result<Self, Failure> {
        let (depth, live) = (inspection.depth(), inspection.is_live());
        let subscriptions = depth.subscriptions.into_iter().map(|each| Subscription {
            name: each.name,
            filter: each.filter,
            ready: each.depth.ready,
            in_flight: (!live).then_some(each.depth.in_flight),
            delayed: each.depth.delayed,
        });
        Ok(Self {
            dir: args.dir.display().to_string(),
            live,
            clean: inspection.is_clean(),
            topics: inspection.topics(),
            held: depth.held,
            oldest_age_ns: inspection.oldest_age()?.map(ns),
            pinned_by: Pin::of(inspection.pinned_by()),
            pinned_bytes: inspection.pinned_bytes(),
            retained_from: inspection.retained_from(),
            subscriptions: subscriptions.collect(),
            log: Log::of(args, inspection)?,
        })
    }
}

impl Pin {
    fn of(pinned: Pinned) -> Option<Self> {
        match pinned {
            Pinned::Subscription(name) => Some(Self::Subscription(name)),
            Pinned::Topic(name) => Some(Self::Topic(name)),
            _ => None,
        }
    }
}

impl Log {
    fn of(args: &Args, inspection: &Inspection) -> Result<Self, Failure> {
        let segments = inspection.segments().into_iter().map(|segment| Segment {
            file: segment.path.display().to_string(),
            base: segment.base.as_u64(),
            end: segment.end.as_u64(),
            file_bytes: segment.file_bytes,
        });
        let segments: Vec<Segment> = segments.collect();
        let disk_bytes = inspection.disk_bytes();
        let disk_bytes =
            disk_bytes.map_err(|source| Failure::Log { dir: args.dir.clone(), source })?;
        let (end, durable) = (inspection.end().as_u64(), inspection.durable().as_u64());
        let (checkpoint, age) = (inspection.checkpoint(), inspection.checkpoint_age());
        let file_system = inspection.file_system();
        Ok(Self {
            end,
            durable,
            unsynced_bytes: end.saturating_sub(durable),
            file_bytes: segments.iter().map(|segment| segment.file_bytes).sum(),
            disk_bytes,
            file_system: FileSystem {
                name: file_system.name,
                sync: match file_system.syncing {
                    Syncing::Real => "real",
                    Syncing::Nothing => "nothing",
                    _ => "unknown",
                },
            },
            checkpoint: checkpoint.zip(age).map(|(checkpoint, age)| Checkpoint {
                position: checkpoint.replay_from().as_u64(),
                age_ns: ns(age),
            }),
            segments,
        })
    }
}

/// Five hundred years are enough.
fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// For people: without what nobody reads of an age.
fn age(ns: u64) -> String {
    match ns {
        1_000_000_000.. => {
            humantime::format_duration(Duration::from_secs(ns / 1_000_000_000)).to_string()
        }
        _ => output::short(ns),
    }
}

/// For people.
impl fmt::Display for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = match (self.live, self.clean) {
            (true, _) => "open: what is in hands counts as ready",
            (false, true) => "closed in order",
            (false, false) => "not closed in order: whoever opens it next recovers it",
        };
        writeln!(out, "queue       {}, {clean}", self.dir)?;
        writeln!(out, "topics      {}", HumanCount(self.topics as u64))?;
        let held = counted(self.held, "message");
        writeln!(out, "held        {held} that no subscription has ever matched")?;
        if let Some(oldest) = self.oldest_age_ns {
            writeln!(out, "oldest      unsettled for {}", age(oldest))?;
        }
        let bytes = BinaryBytes(self.pinned_bytes);
        match &self.pinned_by {
            Some(Pin::Subscription(name)) => {
                writeln!(out, "pinned      {bytes} by the subscription `{name}`")?
            }
            Some(Pin::Topic(name)) => {
                writeln!(out, "pinned      {bytes} by the topic `{name}`, which is held")?
            }
            None => writeln!(out, "pinned      nothing: everything is settled")?,
        }
        writeln!(out, "retained    from position {}", HumanCount(self.retained_from))?;
        self.log.fmt(out)?;
        self.table(out)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = counted(self.segments.len() as u64, "segment");
        writeln!(out, "log         {segments}, {}", BinaryBytes(self.file_bytes))?;
        let sync = match self.file_system.sync {
            "real" => "a sync is real",
            "nothing" => "a sync does nothing there",
            _ => "what a sync is worth there is not known",
        };
        let (bytes, name) = (BinaryBytes(self.disk_bytes), self.file_system.name);
        writeln!(out, "disk        {bytes} of {name}: {sync}")?;
        match &self.checkpoint {
            Some(Checkpoint { position, age_ns }) => {
                let (position, age) = (HumanCount(*position), age(*age_ns));
                writeln!(out, "checkpoint  up to position {position}, {age} ago")?;
            }
            None => writeln!(out, "checkpoint  none yet")?,
        }
        let [end, durable] = [self.end, self.durable].map(HumanCount);
        let unsynced = BinaryBytes(self.unsynced_bytes);
        writeln!(out, "position    {end}, durable up to {durable}, {unsynced} at most unsynced")
    }
}

impl Queue {
    /// The subscriptions.
    fn table(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subscriptions.is_empty() {
            return writeln!(out, "\nno subscriptions");
        }
        let width = |header: &str, of: fn(&Subscription) -> &str| {
            let longest = self.subscriptions.iter().map(|each| of(each).chars().count()).max();
            longest.unwrap_or(0).max(header.len()) + 2
        };
        let name = width("subscription", |each| &each.name);
        let filter = width("filter", |each| &each.filter);
        let row = |cells: [&str; 5]| {
            let [a, b, c, d, e] = cells;
            let mut line = String::new();
            // Writing to a String does not fail.
            let _ = write!(line, "{a:<name$}{b:<filter$}{c:>12}{d:>12}{e:>12}");
            line
        };
        writeln!(out, "\n{}", row(["subscription", "filter", "ready", "in flight", "delayed"]))?;
        for each in &self.subscriptions {
            let [ready, delayed] =
                [each.ready, each.delayed].map(|count| HumanCount(count).to_string());
            let in_flight = each.in_flight.map_or("?".to_owned(), |n| HumanCount(n).to_string());
            writeln!(out, "{}", row([&each.name, &each.filter, &ready, &in_flight, &delayed]))?;
        }
        Ok(())
    }
}
