//! `millstream relay`: the whole way in one process. Lines are published, handled by the dispatcher, and measured.

use crate::consume::{Retries, Run};
use crate::control::{Control, Event};
use crate::durability;
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::keep::{Full, Keep};
use crate::output::{self, counted, short};
use crate::progress::Progress;
use crate::publish::{Publisher, progress_of, publish_all};
use crate::work::Work;
use clap::ValueHint;
use indicatif::HumanCount;
use millstream::metrics::Summary;
use millstream::{Config, Durability, Engine, Stats, Subscription, Topic};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The name of the subscription begins with this, and goes on with the topic: each topic has a relay of its own.
const NAME_PREFIX: &str = "relay:";
/// How many workers run commands, where nothing else is said: as many as the engine has without being told.
const WORKERS: usize = 4;
/// How often the relay looks whether all is settled.
const LOOK: Duration = Duration::from_millis(10);

const EXAMPLE: &str = "\
Examples:
  millstream relay queue orders --file examples/data/orders.jsonl > handled.jsonl
  dmesg | millstream relay queue kernel --workers 2 --exec 'cat >> kernel.log'";

/// Publish lines and handle them, in one process
///
/// Publishes each line of the file or of standard input, as `publish` does, and at the same time handles the
/// messages of the subscription `relay:TOPIC`, as `consume` does. It ends when the input has ended and every message is
/// settled: handled, or, after its retries, in the dead letters. What an earlier relay of the topic left is handled
/// too.
///
/// At the end a table on standard error tells how many messages there were, their rate, and how long they waited, were
/// in service, and stayed (sojourn), by percentile. With --json it is an object, the last line of standard output.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory; made if it does not exist
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// What to publish to: tokens between dots, as in `user.events`
    #[arg(value_parser = crate::topic)]
    topic: Topic,
    /// Read lines from this file, not from standard input
    #[arg(long, value_name = "F", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Run CMD with `sh -c` for each message, with the payload on its standard input, and MILLSTREAM_ID,
    /// MILLSTREAM_TOPIC and MILLSTREAM_ATTEMPT in its environment
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    exec: Option<String>,
    /// How many messages are handled at a time; with one, in order [default: 1, or 4 with --exec]
    #[arg(long, value_name = "N", value_parser = crate::workers())]
    workers: Option<usize>,
    #[command(flatten)]
    retries: Retries,
    #[arg(long, value_name = "os|sync|interval=D", default_value = "os", value_parser = durability::parse, help = durability::HELP)]
    durability: Durability,
    #[command(flatten)]
    full: Full,
    #[command(flatten)]
    keep: Keep,
}

/// Relays.
pub fn run(args: Args, json: bool) -> Result<Outcome, Failure> {
    let input = Input::open(args.file.as_ref())?;
    let workers = args.workers.unwrap_or(if args.exec.is_some() { WORKERS } else { 1 });
    let config = Config::persistent(&args.dir).workers(workers).durability(args.durability);
    let config = args.keep.of(args.full.of(config));
    let engine = Engine::open(args.retries.of(config))
        .map_err(|source| Failure::Open { dir: args.dir.clone(), source })?;
    let (control, events) = Control::start()?;
    let work = Work::new(control.clone(), args.exec, json, None);
    let name = format!("{NAME_PREFIX}{}", args.topic);
    let subscription = Subscription::new(args.topic.as_str()).name(name.as_str());
    let member = engine.subscribe_with(subscription, work.clone())?;
    let run = Run { engine: engine.clone(), member, work, control: control.clone() };

    let (progress, started) = (progress_of(&input), Instant::now());
    let mut publisher = Publisher::plain(engine, args.topic);
    input.start(control.clone())?;
    let published = publish_all(&mut publisher, &control, &events, &progress);
    drop(progress);
    // Whatever ended the input: what was published is handled.
    wait_until_settled(&run, &events);
    let seconds = (run.work.last() - started).as_secs_f64();
    let (stats, report) = run.end()?;
    let own = report.depth.subscriptions.iter().find(|each| each.name == name);
    let left = own.map_or(0, |own| own.depth.total());
    let table = Table::of(publisher.lines, seconds, &stats, left);
    if json {
        output::write_object(&Object { summary: &table })?;
    } else {
        table.tell();
    }
    published?;
    Ok(if table.dead_letters == 0 { Outcome::Good } else { Outcome::Finding })
}

fn wait_until_settled(run: &Run, events: &Receiver<Event>) {
    let progress = Progress::messages().unless_output_is_seen();
    while run.control.reason().is_none() && !run.is_empty(false) {
        progress.at(run.work.handled());
        run.stop_if_failed();
        // The answer is in the reason.
        let _ = events.recv_timeout(LOOK);
    }
}

#[derive(Serialize)]
struct Object<'a> {
    summary: &'a Table,
}

/// What the relay did.
#[derive(Serialize)]
struct Table {
    published: u64,
    handled: u64,
    seconds: f64,
    /// Messages handled per second.
    rate_per_s: f64,
    retries: u64,
    dead_letters: u64,
    /// Unsettled in the subscription.
    left: u64,
    waiting_ns: Quantiles,
    service_ns: Quantiles,
    sojourn_ns: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    mean: f64,
}

impl From<Summary> for Quantiles {
    fn from(of: Summary) -> Self {
        let Summary { p50_ns: p50, p99_ns: p99, p999_ns: p999, max_ns: max, .. } = of;
        Self { p50, p99, p999, max, mean: of.mean_ns }
    }
}

impl Table {
    fn of(published: u64, seconds: f64, stats: &Stats, left: u64) -> Self {
        let (counters, snapshot) = (stats.snapshot.counters, &stats.snapshot);
        Self {
            published,
            handled: counters.settled,
            seconds,
            rate_per_s: if seconds == 0.0 { 0.0 } else { counters.settled as f64 / seconds },
            retries: counters.retried,
            dead_letters: counters.dead_lettered,
            left,
            waiting_ns: snapshot.waiting.into(),
            service_ns: snapshot.service.into(),
            sojourn_ns: snapshot.sojourn.into(),
        }
    }

    fn tell(&self) {
        let rate = HumanCount(self.rate_per_s as u64);
        let seconds = short((self.seconds * 1e9) as u64);
        crate::tell(format_args!("published     {}", counted(self.published, "message")));
        crate::tell(format_args!(
            "handled       {} in {seconds} ({rate}/s)",
            counted(self.handled, "message")
        ));
        crate::tell(format_args!("retries       {}", HumanCount(self.retries)));
        crate::tell(format_args!("dead letters  {}", HumanCount(self.dead_letters)));
        if self.left > 0 {
            let left = HumanCount(self.left);
            crate::tell(format_args!(
                "left          {left}: the next relay of this topic has them"
            ));
        }
        crate::tell(format_args!(
            "\n{:<10}{:>12}{:>12}{:>12}{:>12}",
            "", "p50", "p99", "p99.9", "max"
        ));
        let stages = [
            ("waiting", &self.waiting_ns),
            ("service", &self.service_ns),
            ("sojourn", &self.sojourn_ns),
        ];
        for (name, Quantiles { p50, p99, p999, max, .. }) in stages {
            let [p50, p99, p999, max] = [*p50, *p99, *p999, *max].map(short);
            crate::tell(format_args!("{name:<10}{p50:>12}{p99:>12}{p999:>12}{max:>12}"));
        }
    }
}
