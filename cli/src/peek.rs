//! `millstream peek`: the oldest messages that wait, without taking them.

use crate::failure::{Failure, Outcome};
use crate::output::{self, MessageObject};
use clap::ValueHint;
use millstream::Filter;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream peek queue '$dead' --json | jq -r '.headers[\"millstream-reason\"]'";

/// Print the oldest messages that wait, and take none
///
/// Prints the payload of each as a line, as `consume` would. A message waits until every subscription that took it has
/// settled it, or, where none has ever matched its topic, until one does. With --json ids, topics, times and headers are
/// printed too. Nothing is changed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Which topics: `*` stands for one token, `>` at the end for one or more
    #[arg(value_parser = crate::filter)]
    filter: Filter,
    /// How many messages, at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    count: usize,
}

/// Peeks.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let inspection = crate::inspection(&args.dir)?;
    for envelope in inspection.peek(args.filter.as_str(), args.count)? {
        match json {
            true => output::write_object(&MessageObject::of(&envelope))?,
            false => output::write_payload(&envelope)?,
        }
    }
    Ok(Outcome::Good)
}
