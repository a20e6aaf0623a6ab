//! `millstream backup`: a queue's copy that opens by itself.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted};
use crate::progress::Progress;
use clap::ValueHint;
use indicatif::BinaryBytes;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream backup queue /backups/queue-monday";

/// Copy a queue to a new directory, where it opens by itself
///
/// Also while somebody has it open: then the copy is a moment of it. Full files are linked where the file system can, and
/// copied elsewhere: a link keeps against mistakes, not against the disk. TO must not exist, or be empty; it has its name
/// only when all is there.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// The directory to make
    #[arg(value_hint = ValueHint::DirPath)]
    to: PathBuf,
}

#[derive(Serialize)]
struct Report {
    to: String,
    /// Was it made beside an owner?
    live: bool,
    segments: u64,
    linked: u64,
    bytes: u64,
    end: u64,
}

/// Copies.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let inspection = crate::inspection(&args.dir)?;
    let progress = Progress::bytes(0);
    let done = inspection.backup(&args.to, &mut |done, total| {
        progress.of(total);
        progress.at(done);
    });
    drop(progress);
    let done = done.map_err(|source| Failure::Log { dir: args.to.clone(), source })?;
    let report = Report {
        to: args.to.display().to_string(),
        live: inspection.is_live(),
        segments: done.segments,
        linked: done.linked,
        bytes: done.bytes,
        end: done.end.as_u64(),
    };
    match json {
        true => output::write_object(&report)?,
        false => {
            let Report { to, segments, linked, bytes, .. } = &report;
            let (segments, bytes) = (counted(*segments, "segment"), BinaryBytes(*bytes));
            output::write(
                format!("{to}: {segments}, {linked} of them linked, {bytes}\n").as_bytes(),
            )?;
        }
    }
    Ok(Outcome::Good)
}
