//! `millstream lab run`: measures one point of a law, and judges it.

use super::files::{Outlet, Recording};
use super::show::{self, Circumstances};
use crate::control::{Control, until_stopped};
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::quantity;
use clap::ValueHint;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use millstream::lab::{Experiment, Kind, On, Service, Wait};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const EXAMPLE: &str = "\
Examples:
  millstream lab run mm1 --rho 0.8 --service 500us --seconds 600 --on memory
  millstream lab run mm1k --on ring --rho 1 --capacity 5 --events run.csv --params run.json";

/// Measure one point of a law, and judge it
///
/// Messages arrive at random (Poisson) at times that are drawn before and never wait for the queue; each is stamped when it
/// was meant to arrive, when it did, when its service began and ended. The judgement holds what was measured against two things that
/// are never mixed: against its own path (what a perfect queue would have made of the same arrivals and services: no chance in
/// it), and against the law at the rates that the run really had (chance, and what the machine took away).
///
/// KIND: mm1 (one server), mm1k (at most K in the system), mmc (several servers), md1 (services of one length), mg1 (of any
/// variability), tandem (two stages), saturation (more than can be served), setup (a server that must be woken). The engine has
/// no lanes, so priority can be checked and not run.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}\n\n{}", super::VERDICTS, crate::EXIT_CODES))]
pub struct Args {
    /// Which law
    #[arg(value_name = "KIND", value_parser = named(Kind::ALL, Kind::name))]
    kind: Kind,
    /// The load: arrivals over what all servers can do [default: 0.5; mm1k 1, mmc 0.7, saturation 1.5]
    #[arg(long, value_name = "X", value_parser = quantity::positive)]
    rho: Option<f64>,
    /// The mean service, such as `500us` [default: 50us, 100us above a load of 0.8, 2ms for servers that sleep]
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    service: Option<Duration>,
    /// How many messages arrive [default: 200000, or 10000 for servers that sleep]
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    messages: Option<u64>,
    /// For how long messages arrive
    #[arg(long, value_name = "T", value_parser = quantity::positive)]
    seconds: Option<f64>,
    /// What is measured: this crate's ring alone, a crossbeam channel, or the engine with one of its kinds
    /// [default: memory; tandem persistent]
    #[arg(long, value_name = "SYSTEM", value_parser = named(On::ALL, On::name))]
    on: Option<On>,
    /// What servers do: `spin` always; `park` when idle, and spin while they serve; `sleep` both times, for more servers than
    /// cores [default: spin; setup park, mmc and tandem sleep]
    #[arg(long, value_name = "HOW", value_parser = named(Wait::ALL, Wait::name))]
    wait: Option<Wait>,
    /// How many servers [default: 1; mmc 4]
    #[arg(long, value_name = "C")]
    servers: Option<u32>,
    /// The most messages in the system, waiting or in service [default: mm1k 5, saturation 64]
    #[arg(long, value_name = "K")]
    capacity: Option<u64>,
    /// Variance of the services over their squared mean, for mg1 and saturation [default: mg1 2]
    #[arg(long, value_name = "X", value_parser = quantity::not_negative)]
    cs2: Option<f64>,
    /// What is drawn from: arrivals and services of a seed are the same every time
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Give source and server a core each, if that is possible
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_value = "yes", default_missing_value = "yes", value_parser = yes)]
    pin: bool,
    /// Run them under SCHED_FIFO at this priority, if the process may; not with servers that spin
    #[arg(long, value_name = "N")]
    fifo: Option<u8>,
    /// How far from the law still counts as holding [default: 1%; 2% above a load of 0.8, 3% above 0.9 and for other kinds]
    #[arg(long, value_name = "SHARE", value_parser = quantity::share)]
    band: Option<f64>,
    /// Where the persistent queue's directory is made, and removed [default: the system's place for such]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: Option<PathBuf>,
    /// Write a row a message to this file, as `lab check` reads it; a tandem's second stage to another with `-2` in its name
    #[arg(long, value_name = "F.csv", value_hint = ValueHint::FilePath, requires = "params")]
    events: Option<PathBuf>,
    /// Write what was asked for to this file
    #[arg(long, value_name = "F.json", value_hint = ValueHint::FilePath, requires = "events")]
    params: Option<PathBuf>,
}

/// For clap: one of these, by name.
fn named<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl clap::builder::TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name)).map(move |text| {
        let known = all.into_iter().find(|each| name(*each) == text);
        known.expect("only these names are let through")
    })
}

/// Why it is neither.
#[derive(Debug, thiserror::Error)]
#[error("`yes` and `no` are allowed")]
struct YesError;

fn yes(text: &str) -> Result<bool, YesError> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(YesError),
    }
}

impl Args {
    /// The experiment: the kind's defaults, and over them what was asked for.
    fn experiment(&self) -> Experiment {
        let mut asked = Experiment::new(self.kind);
        // Those first on which defaults depend.
        asked = self.wait.map_or(asked.clone(), |wait| asked.wait(wait));
        asked = self.rho.map_or(asked.clone(), |rho| asked.load(rho));
        asked = self.on.map_or(asked.clone(), |on| asked.on(on));
        asked = self.service.map_or(asked.clone(), |mean| asked.service_mean(mean));
        asked = self.servers.map_or(asked.clone(), |servers| asked.servers(servers));
        asked = self.capacity.map_or(asked.clone(), |capacity| asked.capacity(capacity));
        asked = self.messages.map_or(asked.clone(), |messages| asked.messages(messages));
        asked = self.band.map_or(asked.clone(), |band| asked.band(band));
        if let Some(cs2) = self.cs2 {
            // Whether the kind has such services is the experiment's to say.
            asked = asked.cs2(cs2);
            asked.service = Service::General;
        }
        if let Some(span) = self.seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            asked = asked.lasting(span);
        }
        asked.pin = self.pin;
        asked.fifo = self.fifo;
        asked.seed(self.seed)
    }
}

/// Runs and judges.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let mut experiment = args.experiment();
    experiment.check()?;
    let (control, events) = Control::start()?;
    let outlet = Outlet::make(args.events.as_deref(), args.params.as_deref(), args.kind)?;
    // Not the run's to remove if a signal ends it.
    let scratch = (experiment.on == On::Persistent).then(|| scratch(args)).transpose()?;
    experiment.folder = scratch.as_ref().map(|scratch| scratch.path().to_owned());
    let asked = experiment.clone();
    let work = move || {
        let progress = Progress::run(asked.messages);
        asked.run(&mut |at| progress.left(at.offered, at.remaining)).map_err(Failure::from)
    };
    let done = until_stopped("lab", &control, &events, work)?;
    if let Some(scratch) = scratch {
        scratch.close().map_err(Failure::TempDir)?;
    }
    let Some(run) = done.transpose()? else {
        crate::tell(format_args!("stopped before its end: nothing can be said"));
        return Ok(Outcome::Finding);
    };
    outlet.write(&run)?;
    experiment.folder.clone_from(&args.folder);
    let circumstances = Circumstances::of(&experiment, &run);
    let recording = Recording {
        parameters: run.parameters,
        events: run.events,
        second: run.second.map(|stage| stage.events),
        stalls: Some(run.stalls),
    };
    let judgement = crate::progress::during("judging", || recording.judge(experiment.band))?;
    show::show(&recording.parameters, &judgement, Some(&circumstances), json)?;
    Ok(super::outcome(judgement.verdict))
}

fn scratch(args: &Args) -> Result<TempDir, Failure> {
    let made = match &args.folder {
        Some(folder) => TempDir::with_prefix_in("millstream-lab-", folder),
        None => TempDir::with_prefix("millstream-lab-"),
    };
    made.map_err(Failure::TempDir)
}
