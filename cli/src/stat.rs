//! `millstream stat`: what a queue holds, by subscription, and the log it lies in.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use clap::ValueHint;
use indicatif::{BinaryBytes, HumanCount};
use millstream::Inspection;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream stat queue --json | jq '.subscriptions[] | {name, ready}'";

/// Tell what a queue holds
///
/// Prints how many messages each subscription has yet to settle, how many are held because no subscription has ever
/// matched their topic, and the state of the log: its files, their bytes, where it ends, and up to where it is
/// known to be on the disk. Nothing is changed.
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
    subscriptions: Vec<Subscription>,
    log: Log,
}

#[derive(Serialize)]
struct Subscription {
    name: String,
    filter: String,
    ready: u64,
    /// 0, unless the last owner was killed with messages in hands; they are ready, then.
    in_flight: u64,
    delayed: u64,
}

#[derive(Serialize)]
struct Log {
    /// The position where it ends.
    end: u64,
    /// Up to which position it is known to be on the disk.
    durable: u64,
    records: u64,
    file_bytes: u64,
    segments: Vec<Segment>,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    base: u64,
    end: u64,
    frames: u64,
    records: u64,
    file_bytes: u64,
}

/// Looks.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let inspection = Inspection::open(&args.dir)
        .map_err(|source| Failure::Open { dir: args.dir.clone(), source })?;
    let queue = Queue::of(args, &inspection);
    match json {
        true => output::write_object(&queue)?,
        false => output::write(queue.to_string().as_bytes())?,
    }
    Ok(Outcome::Good)
}

impl Queue {
    fn of(args: &Args, inspection: &Inspection) -> Self {
        let depth = inspection.depth();
        let subscriptions = depth.subscriptions.into_iter().map(|each| Subscription {
            name: each.name,
            filter: each.filter,
            ready: each.depth.ready,
            in_flight: each.depth.in_flight,
            delayed: each.depth.delayed,
        });
        let segments = inspection.segments().into_iter().map(|segment| Segment {
            file: segment.path.display().to_string(),
            base: segment.base.as_u64(),
            end: segment.end.as_u64(),
            frames: segment.frames,
            records: segment.records,
            file_bytes: segment.file_bytes,
        });
        let segments: Vec<Segment> = segments.collect();
        Self {
            dir: args.dir.display().to_string(),
            live: inspection.is_live(),
            clean: inspection.is_clean(),
            topics: inspection.topics(),
            held: depth.held,
            subscriptions: subscriptions.collect(),
            log: Log {
                end: inspection.end().as_u64(),
                durable: inspection.durable().as_u64(),
                records: segments.iter().map(|segment| segment.records).sum(),
                file_bytes: segments.iter().map(|segment| segment.file_bytes).sum(),
                segments,
            },
        }
    }
}

/// For people.
impl fmt::Display for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Log { end, durable, records, file_bytes, segments } = &self.log;
        let clean = match (self.live, self.clean) {
            (true, _) => "open: what is in hands counts as ready",
            (false, true) => "closed in order",
            (false, false) => "not closed in order: whoever opens it next recovers it",
        };
        writeln!(out, "queue     {}, {clean}", self.dir)?;
        writeln!(out, "topics    {}", HumanCount(self.topics as u64))?;
        writeln!(
            out,
            "held      {} that no subscription has ever matched",
            counted(self.held, "message")
        )?;
        writeln!(
            out,
            "log       {} with {}, {}",
            counted(segments.len() as u64, "segment"),
            counted(*records, "record"),
            BinaryBytes(*file_bytes)
        )?;
        writeln!(out, "position  {}, durable up to {}", HumanCount(*end), HumanCount(*durable))?;
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
            let [ready, in_flight, delayed] = [each.ready, each.in_flight, each.delayed]
                .map(|count| HumanCount(count).to_string());
            writeln!(out, "{}", row([&each.name, &each.filter, &ready, &in_flight, &delayed]))?;
        }
        Ok(())
    }
}
