//! `millstream lab`: the engine held against queueing theory: run, check what was run, and the whole ladder.

mod check;
mod files;
mod run;
mod show;
mod suite;

use crate::failure::{Failure, Outcome};
use clap::Subcommand;
use millstream::lab::Verdict;

/// What else the exit code 1 means here.
const VERDICTS: &str = "\
Exit code 0: the law holds. 1: it does not, or nothing can be said: broken, undecided, disturbed by the machine, or a load
of 1 or more though less was asked for. 2: usage, or a file that can be no run's, with the number of the row.";

/// Hold the engine against queueing theory
///
/// `run` measures one point and judges it; `check` judges the files of a run, of this program or of another;
/// `suite` runs every law at every load into a folder with a report.
#[derive(clap::Args)]
#[command(after_help = VERDICTS, after_long_help = format!("{EXAMPLE}\n\n{VERDICTS}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  millstream lab run mm1 --rho 0.8 --on memory --seconds 60
  millstream lab run mmc --servers 8 --events mmc.csv --params mmc.json
  millstream lab check mmc.csv mmc.json
  millstream lab suite --minutes 480";

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Suite(suite::Args),
}

/// Does what was asked for.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Run(args) => run::run(args, json),
        Command::Check(args) => check::run(args, json),
        Command::Suite(args) => suite::run(args, json),
    }
}

/// What a verdict comes to: only a law that holds is good.
fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Holds => Outcome::Good,
        _ => Outcome::Finding,
    }
}
