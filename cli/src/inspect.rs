//! `millstream inspect`: what lies in a queue's log: its files, its frames, its records.

use crate::failure::{Failure, Outcome};
use crate::output::{self, OutputError};
use crate::progress::Progress;
use clap::ValueHint;
use millstream::RecordInfo;
use millstream::log::{self, FrameInfo, FrameState, Position, SegmentInfo};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  millstream inspect queue
  millstream inspect queue --frames --from 65536 --count 20";

/// Show what lies in a queue's log, as a table
///
/// Also while somebody has it open. Work that takes longer than two seconds shows its progress on a terminal. Every frame is checked, and damage does not stop it; the exit code is 1 if it shows a frame that is not whole. With --json each row is an object. Nothing is changed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The files: this is shown if nothing else is asked for
    #[arg(long, group = "what")]
    segments: bool,
    /// The frames, whole or not
    #[arg(long, group = "what")]
    frames: bool,
    /// The records, told in words
    #[arg(long, group = "what")]
    records: bool,
    /// From this position on, a multiple of 32
    #[arg(long, value_name = "POS", default_value = "0", value_parser = position)]
    from: Position,
    /// How many rows, at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

fn position(text: &str) -> Result<Position, String> {
    let bytes: u64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Position::from_u64(bytes).ok_or_else(|| "positions are multiples of 32 below 2^62".to_owned())
}

#[derive(Serialize)]
struct Segment {
    file: String,
    base: u64,
    end: u64,
    frames: u64,
    records: u64,
    /// Places where a frame should be, and none is whole.
    not_whole: u64,
    file_bytes: u64,
    created: String,
}

#[derive(Serialize)]
struct Frame {
    position: u64,
    next: u64,
    kind: &'static str,
    bytes: u64,
    tag: u16,
    topic: u32,
    time: String,
    state: &'static str,
    file: String,
    byte: u64,
}

#[derive(Serialize)]
struct Record<'a> {
    position: u64,
    frame: u64,
    kind: &'a str,
    name: &'a str,
    bytes: u64,
    count: u64,
    time: String,
}

/// Rows, until there are enough or nobody takes them.
struct Rows {
    json: bool,
    left: u64,
    broken: Option<OutputError>,
}

impl Rows {
    /// Writes one; is another one wanted?
    fn put(&mut self, object: &impl Serialize, text: impl FnOnce() -> String) -> bool {
        let written = match self.json {
            true => output::write_object(object),
            false => output::write(format!("{}\n", text()).as_bytes()),
        };
        self.left -= 1;
        self.broken = written.err();
        self.left > 0 && self.broken.is_none()
    }

    fn head(&self, text: &str) -> Result<(), OutputError> {
        if self.json { Ok(()) } else { output::write(format!("{text}\n").as_bytes()) }
    }
}

/// Looks.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let mut rows = Rows { json, left: args.count, broken: None };
    let outcome = match (args.frames, args.records) {
        (true, _) => frames(args, &mut rows)?,
        (_, true) => records(args, &mut rows)?,
        _ => segments(args, &mut rows)?,
    };
    rows.broken.map_or(Ok(outcome), |error| Err(error.into()))
}

fn time(ns: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(ns);
    humantime::format_rfc3339_nanos(at).to_string()
}

fn segments(args: &Args, rows: &mut Rows) -> Result<Outcome, Failure> {
    let inspection = crate::inspection(&args.dir)?;
    let segments = inspection.segments();
    let counts = Count::of(&segments, args, inspection.end())?;
    rows.head(&format!(
        "{:>16}{:>16}{:>10}{:>10}{:>10}{:>12}  {:<30}  file",
        "base", "end", "frames", "records", "not whole", "bytes", "created"
    ))?;
    let behind = |(one, _): &(SegmentInfo, Count)| args.from < one.end;
    let mut outcome = Outcome::Good;
    for (one, count) in segments.into_iter().zip(counts).filter(behind) {
        if count.not_whole > 0 {
            outcome = Outcome::Finding;
        }
        let row = Segment {
            file: one.path.display().to_string(),
            base: one.base.as_u64(),
            end: one.end.as_u64(),
            frames: count.frames,
            records: count.records,
            not_whole: count.not_whole,
            file_bytes: one.file_bytes,
            created: time(one.created_ns),
        };
        let more = rows.put(&row, || {
            let Segment { file, base, end, frames, records, not_whole, file_bytes, created } = &row;
            format!("{base:>16}{end:>16}{frames:>10}{records:>10}{not_whole:>10}{file_bytes:>12}  {created:<30}  {file}")
        });
        if !more {
            break;
        }
    }
    Ok(outcome)
}

/// What is in a file, checked frame by frame.
#[derive(Clone, Copy, Default)]
struct Count {
    frames: u64,
    records: u64,
    not_whole: u64,
}

impl Count {
    /// Of each of `segments`, which are in order, up to `end`.
    fn of(segments: &[SegmentInfo], args: &Args, end: Position) -> Result<Vec<Self>, Failure> {
        let mut counts = vec![Self::default(); segments.len()];
        let progress = Progress::frames();
        let mut seen = 0;
        log::frames(&args.dir, args.from, |one| {
            seen += 1;
            progress.at(seen);
            let place = one.place.start;
            let behind = segments.partition_point(|segment| segment.base <= place);
            if let Some(count) = behind.checked_sub(1).and_then(|at| counts.get_mut(at)) {
                count.add(one);
            }
            one.place.end < end
        })
        .map_err(|source| Failure::Log { dir: args.dir.clone(), source })?;
        Ok(counts)
    }

    fn add(&mut self, one: &FrameInfo) {
        match (one.state, one.kind) {
            (FrameState::Whole, kind) => {
                self.frames += 1;
                self.records += match kind {
                    "record" => 1,
                    "batch" => u64::from(one.topic),
                    _ => 0,
                };
            }
            _ => self.not_whole += 1,
        }
    }
}

fn frames(args: &Args, rows: &mut Rows) -> Result<Outcome, Failure> {
    rows.head(&format!(
        "{:>16}{:>16}  {:<7}{:>10}{:>7}{:>12}  {:<8}  {:<30}  place",
        "position", "next", "kind", "bytes", "tag", "topic", "state", "time"
    ))?;
    let (mut outcome, mut shown) = (Outcome::Good, 0);
    let progress = Progress::frames().unless_output_is_seen();
    log::frames(&args.dir, args.from, |one| {
        shown += 1;
        progress.at(shown);
        if one.state != FrameState::Whole {
            outcome = Outcome::Finding;
        }
        let row = Frame::of(one);
        rows.put(&row, || {
            let Frame { position, next, kind, bytes, tag, topic, time, state, file, byte } = &row;
            format!("{position:>16}{next:>16}  {kind:<7}{bytes:>10}{tag:>7}{topic:>12}  {state:<8}  {time:<30}  {file} at byte {byte}")
        })
    })
    .map_err(|source| Failure::Log { dir: args.dir.clone(), source })?;
    Ok(outcome)
}

impl Frame {
    fn of(one: &FrameInfo) -> Self {
        Self {
            position: one.place.start.as_u64(),
            next: one.place.end.as_u64(),
            kind: one.kind,
            bytes: one.bytes,
            tag: one.tag,
            topic: one.topic,
            time: time(one.time_ns),
            state: match one.state {
                FrameState::Whole => "whole",
                FrameState::Missing => "missing",
                FrameState::Header => "header",
                FrameState::Body => "body",
                _ => "inside",
            },
            file: one.file.display().to_string(),
            byte: one.offset,
        }
    }
}

fn records(args: &Args, rows: &mut Rows) -> Result<Outcome, Failure> {
    rows.head(&format!(
        "{:>16}{:>16}  {:<12}{:>10}{:>7}  {:<30}  name",
        "position", "frame", "kind", "bytes", "count", "time"
    ))?;
    let inspection = crate::inspection(&args.dir)?;
    let from = args.from.max(inspection.start());
    let bytes = inspection.end().as_u64().saturating_sub(from.as_u64());
    let progress = Progress::bytes(bytes).unless_output_is_seen();
    inspection.records(from, |one: &RecordInfo<'_>| {
        progress.at(one.position.as_u64() - from.as_u64());
        let row = Record {
            position: one.position.as_u64(),
            frame: one.frame.as_u64(),
            kind: one.kind,
            name: one.name,
            bytes: one.bytes,
            count: one.count,
            time: time(one.time_ns),
        };
        rows.put(&row, || {
            let Record { position, frame, kind, name, bytes, count, time } = &row;
            format!(
                "{position:>16}{frame:>16}  {kind:<12}{bytes:>10}{count:>7}  {time:<30}  {name}"
            )
        })
    })?;
    Ok(Outcome::Good)
}
