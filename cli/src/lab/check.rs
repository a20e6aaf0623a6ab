//! `millstream lab check`: judges the files of a run, whoever made them.

use super::files::Recording;
use super::show;
use crate::failure::{Failure, Outcome};
use crate::quantity;
use clap::ValueHint;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  millstream lab check run.csv run.json --band 3%";

/// Judge the files of a run, of this program or of another
///
/// EVENTS is a CSV file with a row a message, in order of arrival, and these columns: id, intended_ns, arrival_ns,
/// start_ns, end_ns, accepted; then, if they are known, drawn_ns and class. Times are whole nanoseconds since the start of the
/// run, start and end of a refused message are empty. PARAMS is the JSON file beside it: kind, servers, capacity,
/// ring_capacity, lambda, mu, service (exp, det, general), seed, warmup, wait. The second stage of a tandem is read from the
/// second name in `stages`, beside PARAMS.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}\n\n{}", super::VERDICTS, crate::EXIT_CODES))]
pub struct Args {
    /// The event file
    #[arg(value_name = "EVENTS", value_hint = ValueHint::FilePath)]
    events: PathBuf,
    /// The parameter file
    #[arg(value_name = "PARAMS", value_hint = ValueHint::FilePath)]
    params: PathBuf,
    /// How far from the law still counts as holding
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = quantity::share)]
    band: f64,
}

/// Checks.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let recording = Recording::read(&args.events, &args.params)?;
    let judgement = crate::progress::during("judging", || recording.judge(args.band))?;
    show::show(&recording.parameters, &judgement, None, json)?;
    Ok(super::outcome(judgement.verdict))
}
