//! The command line `millstream`: publish, consume and relay messages of a queue in a directory, and look at it; show a
//! queue at work, plan one, and hold the engine against theory.
//!
//! One file a command, or one folder. What they share: the input cut into lines (`input`), standard output (`output`), what ends a
//! run early (`control`), the work on a message (`work`), what is kept (`keep`) and how durable (`durability`), progress
//! (`progress`), rates, shares and targets (`quantity`), and failures with their exit codes (`failure`).
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | done, or ended cleanly by Ctrl-C, SIGTERM, or a reader that closed the pipe |
//! | 1 | done, with a finding: damage; messages that went to the dead letters; a target that nothing meets; a law that does not hold, or of which nothing can be said; counts that do not add up |
//! | 2 | usage, or bad input |
//! | 3 | the directory is in use by another process |
//! | 4 | the directory or the disk cannot be used, or the queue is full |

mod backup;
mod consume;
mod control;
mod demo;
mod durability;
mod failure;
mod input;
mod inspect;
mod keep;
mod lab;
mod output;
mod peek;
mod plan;
mod progress;
mod publish;
mod purge;
mod quantity;
mod relay;
mod repair;
mod stat;
mod verify;
mod work;

use clap::{Parser, Subcommand};
use failure::{Failure, Outcome};
use millstream::{Filter, Inspection, Topic};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended cleanly by Ctrl-C, SIGTERM or a closed pipe
  1  done, with a finding: damage, messages that went to the dead letters, a target that nothing
     meets, a law that does not hold or of which nothing can be said, counts that do not add up
  2  usage, or bad input
  3  DIR is in use by another process
  4  DIR or the disk cannot be used, or is full";

/// A message queue in a directory.
///
/// DIR is a queue: a log of all messages, with what each subscription has settled. One process at a time has it
/// open; peek, stat, inspect and backup look at it beside that one. A message is the bytes of a line, without its newline.
/// demo, plan and lab need no queue: they show one at work, say how many workers one needs, and hold the engine against
/// queueing theory.
#[derive(Parser)]
#[command(name = "millstream", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// Print objects to standard output, one a line; all else goes to standard error
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Publish(publish::Args),
    Consume(consume::Args),
    Relay(relay::Args),
    Peek(peek::Args),
    Stat(stat::Args),
    Purge(purge::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Backup(backup::Args),
    Inspect(inspect::Args),
    Demo(demo::Args),
    Plan(plan::Args),
    Lab(Box<lab::Args>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Publish(args) => publish::run(args, cli.json),
        Command::Consume(args) => consume::run(args, cli.json),
        Command::Relay(args) => relay::run(args, cli.json),
        Command::Peek(args) => peek::run(&args, cli.json),
        Command::Stat(args) => stat::run(&args, cli.json),
        Command::Purge(args) => purge::run(&args, cli.json),
        Command::Verify(args) => verify::run(&args, cli.json),
        Command::Repair(args) => repair::run(&args, cli.json),
        Command::Backup(args) => backup::run(&args, cli.json),
        Command::Inspect(args) => inspect::run(&args, cli.json),
        Command::Demo(args) => demo::run(&args, cli.json),
        Command::Plan(args) => plan::run(&args, cli.json),
        Command::Lab(args) => lab::run(&args, cli.json),
    };
    let code = match outcome {
        Ok(Outcome::Good) => 0,
        Ok(Outcome::Finding) => 1,
        // Nobody reads on: that is their choice, and no failure.
        Err(failure) if failure.is_closed_pipe() => 0,
        Err(failure) => {
            tell(format_args!("error: {failure}"));
            failure.code()
        }
    };
    ExitCode::from(code)
}

/// Tells people something, on standard error. If that is gone there is nobody left to tell.
fn tell(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Looks at the queue in `dir`, beside an owner too.
fn inspection(dir: &Path) -> Result<Inspection, Failure> {
    let opened = progress::during("reading the log", || Inspection::open(dir));
    opened.map_err(|source| Failure::Open { dir: dir.to_owned(), source })
}

/// For clap: a topic that may be published to.
fn topic(text: &str) -> Result<Topic, millstream::TopicError> {
    let topic = Topic::new(text)?;
    match topic.is_reserved() {
        true => Err(millstream::TopicError::Reserved { topic: text.to_owned() }),
        false => Ok(topic),
    }
}

/// For clap: a filter.
fn filter(text: &str) -> Result<Filter, millstream::TopicError> {
    Filter::new(text)
}

/// For clap: a duration with its unit.
fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// For clap: how many workers.
fn workers() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=millstream::WORKERS_MAX as u64)
}
