//! `millstream purge`: what waits in some topics is dropped.

use crate::failure::{Failure, Outcome};
use crate::keep::Keep;
use crate::output;
use clap::ValueHint;
use indicatif::HumanCount;
use millstream::{Config, Engine, Filter};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLE: &str = "\
Examples:
  millstream purge queue 'logs.debug.>'
  millstream purge queue '$dead'                 the dead letters";

/// Drop what waits in the topics of a filter, for good
///
/// Drops every message that is unsettled or held in a topic that the filter matches, in all subscriptions, and tells how
/// many deliveries that were: a message that two subscriptions had yet to settle counts twice. Subscriptions stay, and get
/// what is published from then on. A queue that somebody has open is left as it is: the exit code is 3 then.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Which topics: `*` stands for one token, `>` at the end for one or more
    #[arg(value_parser = crate::filter)]
    filter: Filter,
    #[command(flatten)]
    keep: Keep,
}

#[derive(Serialize)]
struct Report<'a> {
    filter: &'a str,
    /// Deliveries, and messages that were held.
    dropped: u64,
}

/// Purges.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    // The open would make a queue where there is none.
    drop(crate::inspection(&args.dir)?);
    let config = args.keep.of(Config::persistent(&args.dir).workers(1));
    let engine =
        Engine::open(config).map_err(|source| Failure::Open { dir: args.dir.clone(), source })?;
    let purged = engine.purge(args.filter.as_str());
    // Only the close puts it on the disk.
    let closed = engine.close(Duration::ZERO);
    let dropped = purged?;
    closed?;
    let report = Report { filter: args.filter.as_str(), dropped };
    match json {
        true => output::write_object(&report)?,
        false => {
            let noun = if dropped == 1 { "delivery" } else { "deliveries" };
            let (dropped, filter) = (HumanCount(dropped), report.filter);
            output::write(format!("dropped {dropped} {noun} of `{filter}`\n").as_bytes())?;
        }
    }
    Ok(Outcome::Good)
}
