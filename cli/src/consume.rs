//! `millstream consume`: a subscription's messages to standard output, or to a command each.

use crate::control::{Control, Event, Reason};
use crate::durability;
use crate::failure::{Failure, Outcome};
use crate::keep::Keep;
use crate::output::counted;
use crate::progress::Progress;
use crate::work::Work;
use clap::ValueHint;
use indicatif::HumanCount;
use millstream::{
    CloseReport, Config, DEAD_LETTERS, Durability, Engine, Filter, Member, MessageId, Start, Stats,
    Subscription, Topic,
};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// How long the end of a run waits for the commands that run.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often the state of the queue is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The same while the end may be near.
const LOOK_CLOSELY: Duration = Duration::from_millis(10);

const EXAMPLE: &str = "\
Examples:
  millstream consume queue 'logs.>' --from earliest --idle-exit 1s
  millstream consume queue orders --name billing --workers 4 --exec 'curl -fsS -d @- localhost:8080/bill'
  millstream consume queue '$dead' --json        what was given up, and why";

/// Handle the messages of a subscription
///
/// Each message is a line on standard output, or, with --exec, the standard input of a command. A message counts as
/// handled once its line was written or its command ended with 0. Another exit code is a failed attempt: the n-th
/// retry comes n delays later, and after the last one the message goes to the topic `$dead`, with the reason. Whatever
/// ends this process, no message is lost. After a kill -9 those in hands come again, and up to 64 that were handled.
///
/// It ends after --count, after --idle-exit, or when it is stopped, and everything that was handled is settled then.
/// For commands that run it waits, 30 seconds at most; a second signal ends it at once.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory; made if it does not exist
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Which topics: `*` stands for one token, `>` at the end for one or more
    #[arg(value_parser = crate::filter)]
    filter: Filter,
    /// The subscription's name [default: the filter]
    #[arg(long, value_name = "SUB")]
    name: Option<String>,
    /// Where the subscription begins, which counts only when it is made: `latest`, with what is published from now on
    /// and what no subscription has ever taken; `earliest`, with the earliest message that the queue retains; or the
    /// id of a message, with that one, or the earliest retained if it is retained no longer
    #[arg(long, value_name = "earliest|latest|ID", default_value = "latest", value_parser = start)]
    from: Start,
    /// End after N messages; N lines are written, no more
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Run CMD with `sh -c` for each message, with the payload on its standard input, and MILLSTREAM_ID,
    /// MILLSTREAM_TOPIC and MILLSTREAM_ATTEMPT in its environment
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    exec: Option<String>,
    /// How many messages are handled at a time; with one, in order
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = crate::workers())]
    workers: usize,
    #[command(flatten)]
    retries: Retries,
    #[arg(long, value_name = "os|sync|interval=D", default_value = "os", value_parser = durability::parse, help = durability::HELP_SETTLED)]
    durability: Durability,
    #[command(flatten)]
    keep: Keep,
    /// End when for this long nothing was there to do, such as `1s` or `250ms`. A message that waits for its
    /// retry is something to do
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    idle_exit: Option<Duration>,
}

/// What follows a failed attempt.
#[derive(clap::Args)]
pub struct Retries {
    /// How many times a failed attempt is repeated
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,
    /// How long before the first retry, such as `1s` or `250ms`; the n-th waits n times as long
    #[arg(long, value_name = "D", default_value = "1s", value_parser = crate::duration)]
    retry_delay: Duration,
}

impl Retries {
    /// The configuration with these.
    pub fn of(&self, config: Config) -> Config {
        config.retries_max(self.retries).retry_delay(self.retry_delay)
    }
}

/// Why it is no start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("`earliest`, `latest` and the id of a message are allowed, as `peek --json` prints it")]
    Unknown,
}

fn start(text: &str) -> Result<Start, StartError> {
    match (text, text.parse::<MessageId>()) {
        ("earliest", _) => Ok(Start::Earliest),
        ("latest", _) => Ok(Start::Latest),
        (_, Ok(id)) => Ok(Start::At(id)),
        _ => Err(StartError::Unknown),
    }
}

/// Consumes.
pub fn run(args: Args, json: bool) -> Result<Outcome, Failure> {
    let config = Config::persistent(&args.dir).workers(args.workers).durability(args.durability);
    let config = args.keep.of(args.retries.of(config));
    let engine =
        Engine::open(config).map_err(|source| Failure::Open { dir: args.dir.clone(), source })?;
    let (control, events) = Control::start()?;
    let work = Work::new(control.clone(), args.exec.clone(), json, args.count);
    let work = match args.durability {
        Durability::Sync => work.syncing(engine.clone()),
        _ => work,
    };
    let subscription = Subscription::new(args.filter.as_str()).start(args.from);
    let subscription = match &args.name {
        Some(name) => subscription.name(name),
        None => subscription,
    };
    let member = engine.subscribe_with(subscription, work.clone())?;
    let run = Run { engine, member, work, control };
    run.wait(&events, &args);
    let name = run.member.name().to_owned();
    let (stats, report) = run.end()?;
    tell(&stats, &report, &name);
    let dead = stats.snapshot.counters.dead_lettered;
    Ok(if dead == 0 { Outcome::Good } else { Outcome::Finding })
}

/// A subscription at work.
pub struct Run {
    pub engine: Engine,
    pub member: Member,
    pub work: Work,
    pub control: Control,
}

impl Run {
    /// Waits for the end, whatever brings it.
    fn wait(&self, events: &Receiver<Event>, args: &Args) {
        let dead_letters = Topic::new(DEAD_LETTERS).is_ok_and(|topic| args.filter.matches(&topic));
        let progress = Progress::messages().unless_output_is_seen();
        let look = args.idle_exit.unwrap_or(LOOK).clamp(LOOK_CLOSELY, LOOK);
        while self.control.reason().is_none() {
            // The answer is in the reason.
            let _ = events.recv_timeout(look);
            progress.at(self.work.handled());
            let idle = |idle| idle <= self.work.last().elapsed() && self.is_empty(dead_letters);
            if args.idle_exit.is_some_and(idle) {
                self.control.stop(Reason::Idle);
            }
            self.stop_if_failed();
        }
    }

    /// A queue that cannot be read or written any more ends the run.
    pub fn stop_if_failed(&self) {
        if self.engine.stats().failure.is_some() {
            self.control.stop(Reason::Failure);
        }
    }

    /// Is nothing unsettled in the subscription? Dead letters are tried for ever: those that wait do not count.
    pub fn is_empty(&self, dead_letters: bool) -> bool {
        let depth = self.engine.stats().depth;
        let mut own = depth.subscriptions.iter().filter(|each| each.name == self.member.name());
        own.all(|each| each.depth.total() == if dead_letters { each.depth.delayed } else { 0 })
    }

    /// Takes no more messages, waits for those in hands, writes every settlement, and closes the queue.
    pub fn end(self) -> Result<(Stats, CloseReport), Failure> {
        self.member.leave();
        self.work.leave();
        let report = self.engine.close(STOP_MAX);
        let stats = self.engine.stats();
        if let Some(failure) = &stats.failure {
            return Err(failure.clone().into());
        }
        match self.control.reason() {
            Some(Reason::Output(error)) if !error.is_closed_pipe() => Err(error.clone().into()),
            _ => Ok((stats, report?)),
        }
    }
}

fn tell(stats: &Stats, report: &CloseReport, name: &str) {
    let counters = stats.snapshot.counters;
    let own = report.depth.subscriptions.iter().filter(|each| each.name == name);
    if report.in_flight() > 0 {
        let running = counted(report.in_flight(), "command");
        crate::tell(format_args!("not waited for: {running}, whose messages come again"));
    }
    crate::tell(format_args!(
        "handled {}; retries {}, dead letters {}; left in `{name}`: {}",
        counted(counters.settled, "message"),
        HumanCount(counters.retried),
        HumanCount(counters.dead_lettered),
        HumanCount(own.map(|each| each.depth.total()).sum()),
    ));
}
