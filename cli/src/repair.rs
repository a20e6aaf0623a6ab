//! `millstream repair`: a log that is refused becomes one that opens.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use crate::progress::Progress;
use clap::ValueHint;
use millstream::log::{self, Remedy, RemedyKind, Repair, RepairMode};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream repair queue --dry-run";

/// Make a damaged log one that opens, and keep all that is readable
///
/// Each damaged place is filled with a frame that holds nothing, and told with the positions that are lost; nothing is
/// invented. Files that are changed are kept as they were in DIR/damaged-N. The exit code is 0 if nothing was damaged, and 1
/// if something was, mended or not.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    segments: u64,
    frames: u64,
    records: u64,
    remedies: Vec<RemedyObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    originals: Option<String>,
}

#[derive(Serialize)]
struct RemedyObject {
    file: String,
    byte: u64,
    what: String,
    remedy: &'static str,
    /// The first position that is lost.
    lost_from: u64,
    /// Behind the last one.
    lost_to: u64,
}

/// Repairs.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let progress = Progress::bytes(0);
    let mode = if args.dry_run { RepairMode::DryRun } else { RepairMode::Apply };
    let done = log::repair(&args.dir, mode, &mut |done, total| {
        progress.of(total);
        progress.at(done);
    });
    drop(progress);
    let done = done.map_err(|source| Failure::Log { dir: args.dir.clone(), source })?;
    let report = Report::of(&done, args.dry_run);
    match json {
        true => output::write_object(&report)?,
        false => output::write(report.to_string().as_bytes())?,
    }
    Ok(if report.remedies.is_empty() { Outcome::Good } else { Outcome::Finding })
}

impl Report {
    fn of(done: &Repair, dry_run: bool) -> Self {
        Self {
            dry_run,
            segments: done.segments,
            frames: done.frames,
            records: done.records,
            remedies: done.remedies.iter().map(RemedyObject::of).collect(),
            originals: done.originals.as_ref().map(|dir| dir.display().to_string()),
        }
    }
}

impl RemedyObject {
    fn of(one: &Remedy) -> Self {
        Self {
            file: one.damage.file.display().to_string(),
            byte: one.damage.offset,
            what: one.damage.to_string(),
            remedy: match one.kind {
                RemedyKind::Padded => "filled with nothing",
                RemedyKind::HeaderRestored => "header restored",
                RemedyKind::SetAside => "set aside",
                RemedyKind::Renamed => "renamed",
                RemedyKind::Bridged => "bridged",
                _ => "mended",
            },
            lost_from: one.lost.start.as_u64(),
            lost_to: one.lost.end.as_u64(),
        }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.remedies {
            write!(out, "{}: {}", one.what, one.remedy)?;
            match one.lost_from < one.lost_to {
                true => writeln!(out, ", positions {} to {} are lost", one.lost_from, one.lost_to)?,
                false => writeln!(out)?,
            }
        }
        let would = if self.dry_run && !self.remedies.is_empty() { "would be " } else { "" };
        let verdict = if self.remedies.is_empty() { "whole" } else { "repaired" };
        writeln!(
            out,
            "{would}{verdict}: {}, {}, {}",
            counted(self.segments, "segment"),
            counted(self.frames, "whole frame"),
            counted(self.records, "record"),
        )?;
        match &self.originals {
            Some(dir) => writeln!(out, "the files as they were: {dir}"),
            None => Ok(()),
        }
    }
}
