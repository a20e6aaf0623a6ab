//! `millstream verify`: every frame of every file against its checksums.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use crate::progress::Progress;
use clap::ValueHint;
use indicatif::BinaryBytes;
use millstream::log::{self, Damage, LogError, Verification};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream verify queue && echo whole";

/// Check every frame of a queue's log
///
/// Goes through all files of the log and checks each frame against its checksums. The exit code is 0 if all is
/// whole, and 1 if something is damaged: each damage is then a line with its file and byte. What a crash leaves at the
/// log's end, and the next open puts in order, is no damage, and is told. Nothing is changed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// What was found, as an object.
#[derive(Serialize)]
struct Report {
    whole: bool,
    segments: u64,
    frames: u64,
    records: u64,
    bytes: u64,
    /// Reservations of a writer that died; the next open fills them.
    holes: u64,
    /// Places behind the last durable one that a power loss may have torn; the next open ends there.
    torn: u64,
    damages: Vec<DamageObject>,
}

#[derive(Serialize)]
struct DamageObject {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    what: String,
}

/// Verifies.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let progress = Progress::bytes(0);
    let found = log::verify(&args.dir, &mut |done, total| {
        progress.of(total);
        progress.at(done);
    });
    drop(progress);
    let report = match found {
        Ok(found) => Report::of(&found),
        Err(LogError::SegmentMissing { path }) => Report::missing(path),
        Err(source) => return Err(Failure::Log { dir: args.dir.clone(), source }),
    };
    match json {
        true => output::write_object(&report)?,
        false => output::write(report.to_string().as_bytes())?,
    }
    Ok(if report.whole { Outcome::Good } else { Outcome::Finding })
}

impl Report {
    fn of(found: &Verification) -> Self {
        let Verification { segments, frames, records, bytes, holes, torn, .. } = *found;
        let damages: Vec<_> = found.damages.iter().map(DamageObject::of).collect();
        Self { whole: damages.is_empty(), segments, frames, records, bytes, holes, torn, damages }
    }

    /// Nothing could be counted, because files are missing before `path`.
    fn missing(path: PathBuf) -> Self {
        let error = LogError::SegmentMissing { path };
        let what = error.to_string();
        let LogError::SegmentMissing { path } = error else { unreachable!("made above") };
        let damage = DamageObject { file: path.display().to_string(), byte: None, what };
        let found = Verification::default();
        Self { whole: false, damages: vec![damage], ..Self::of(&found) }
    }
}

impl DamageObject {
    fn of(damage: &Damage) -> Self {
        let file = damage.file.display().to_string();
        Self { file, byte: Some(damage.offset), what: damage.to_string() }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for damage in &self.damages {
            writeln!(out, "{}", damage.what)?;
        }
        let verdict = if self.whole { "whole" } else { "damaged" };
        writeln!(
            out,
            "{verdict}: {}, {}, {}, {}",
            counted(self.segments, "segment"),
            counted(self.frames, "frame"),
            counted(self.records, "record"),
            BinaryBytes(self.bytes),
        )?;
        if self.holes > 0 {
            writeln!(
                out,
                "{} of a dead writer, which the next open fills",
                counted(self.holes, "hole")
            )?;
        }
        if self.torn > 0 {
            writeln!(
                out,
                "{} by a power loss, where the next open ends the log",
                counted(self.torn, "tear")
            )?;
        }
        Ok(())
    }
}
