//! Does the engine behave as M/M/1 says, and if not: is it the engine or the machine?
//!
//! An open-loop Poisson source, one worker, exponential services spun on the clock; rho 0.3, 0.5, 0.8, and saturation.
//! Each run is held against its own path (Lindley's recursion on what really arrived and how long it really was served:
//! the difference is the engine's and has no statistics in it), and the path against 1 / (mu - lambda) at the rates
//! that the run really had (the difference is chance and the machine's stalls). Nothing is excluded and no run is picked.
//!
//! Run: `cargo bench --bench validation -- --seconds 60 --service-us 100`. Nothing else may run on the machine.
//!
//! | option | is | default |
//! |---|---|---|
//! | `--seconds S` | length of each run | 10 |
//! | `--service-us U` | mean service in microseconds | 50 |
//! | `--seed N` | of arrivals and services | 1 |
//! | `--system NAME` | `engine`; or `channel-spin`, `channel-park`: a crossbeam channel and a thread that spins or parks when idle, which is the harness's own error | `engine` |
//! | `--csv FILE` | also the stamps of each run, to FILE with the load in its name, and a JSON beside each | none |
//! | `--test` | a smoke run of a second; so is any run without cargo's `--bench` | |
//!
//! # Limits
//!
//! Threads are not pinned. The line "with set-up" is the law with the wake-up that each busy period paid (Welch): the
//! difference between a parked worker and M/M/1. A run is called disturbed if the gaps that both spinning threads saw
//! explain more than a quarter of the band. A worker that is asleep or was taken off its core when its next message is
//! there cannot be told from a slow engine by its stamps, so the ratio to the own path is given twice: with all hand-offs,
//! and with those over 10 us counted as service.
//! One run of T seconds has a half width of 1.96 sqrt(2 s / T) / (1 - rho).

#![allow(clippy::print_stdout, clippy::print_stderr)] // A bench's output is its report.

mod support;

use crossbeam_channel::TryRecvError;
use millstream::metrics::Snapshot;
use millstream::model::Mm1;
use millstream::{Config, Delivery, Engine, Message, PublishError};
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::draw::{Plan, Schedule};
use support::interval::{From, Interval, Verdict, against_mm1};
use support::load::{GAP_NS_MIN, Load, Offered, Run};
use support::path::{
    HandOffs, Little, Rates, Stalls, found_by_arrivals, lindley, lindley_with_absences, mean_s,
    quantile, sojourn_tail,
};

/// Load and the band that its verdict is about.
const LOADS: [(f64, f64); 3] = [(0.3, 0.01), (0.5, 0.01), (0.8, 0.01)];
/// Offered load of the saturation run.
const SATURATION: f64 = 1.5;
/// Messages that the queue holds.
const BUFFER: usize = 1 << 16;
/// How long the engine may take to drain.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The longest run, in messages: the stamps of one take 40 bytes each.
const MESSAGES_MAX: f64 = 2e7;

const OPTIONS: [&str; 5] = ["--seconds", "--service-us", "--seed", "--system", "--csv"];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Engine,
    ChannelSpin,
    ChannelPark,
}

impl System {
    const ALL: [Self; 3] = [Self::Engine, Self::ChannelSpin, Self::ChannelPark];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::ChannelSpin => "channel-spin",
            Self::ChannelPark => "channel-park",
        }
    }

    /// What its worker does when idle.
    fn wait(self) -> &'static str {
        match self {
            Self::Engine => "adaptive",
            Self::ChannelSpin => "spin",
            Self::ChannelPark => "park",
        }
    }
}

#[derive(Debug, Clone)]
struct Options {
    seconds: f64,
    service_us: f64,
    seed: u64,
    system: System,
    csv: Option<PathBuf>,
}

/// What was wrong with the arguments.
#[derive(Debug, thiserror::Error)]
enum Usage {
    #[error("`{0}` is not an option; see the head of benches/validation.rs")]
    Unknown(String),
    #[error("`{option}` needs a value")]
    Missing { option: String },
    #[error("`{value}` will not do for `{option}`")]
    Value { option: String, value: String },
    #[error("{seconds} s at {per_s:.0} messages a second are more than {MESSAGES_MAX:e} messages")]
    TooLong { seconds: f64, per_s: f64 },
}

/// One run, and what the engine recorded of it.
struct Measured {
    run: Run,
    recorded: Option<Snapshot>,
}

/// A fact that no machine excuses.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{lost} messages were accepted and never served, {doubled} were served twice")]
    Delivery { lost: usize, doubled: usize },
    #[error("Little's identity fails: area {area}, sojourns {sojourns}")]
    Little { area: i128, sojourns: i128 },
    #[error("message {id} ended before a perfect queue could have ended it")]
    EarlierThanPerfect { id: usize },
    #[error("{messages} messages were left when the engine closed")]
    LeftOver { messages: u64 },
    #[error("a run of {messages} messages has no rates")]
    TooShort { messages: usize },
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let smoke = !arguments.iter().any(|word| word == "--bench")
        || arguments.iter().any(|word| word == "--test");
    let mut options = parse(&arguments)?;
    if smoke {
        options.seconds = options.seconds.min(0.1);
    }
    println!(
        "system {}, service {} us, {} s a run, seed {}{}\n",
        options.system.name(),
        options.service_us,
        options.seconds,
        options.seed,
        if smoke { ", smoke run: the numbers mean nothing" } else { "" },
    );
    let mut lines = Vec::new();
    for (load, band) in LOADS {
        lines.push(report(&measure(&options, load)?, load, band)?);
    }
    report_saturation(&measure(&options, SATURATION)?.run)?;
    println!(
        "| rho | engine: W / own path | without absences | machine, chance: own path / law | W / law, 95 % | stalls |"
    );
    println!("|---|---|---|---|---|---|");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, Usage> {
    let mut options =
        Options { seconds: 10.0, service_us: 50.0, seed: 1, system: System::Engine, csv: None };
    let mut words = arguments.iter();
    while let Some(option) = words.next() {
        if matches!(option.as_str(), "--bench" | "--test") {
            continue;
        }
        if !OPTIONS.contains(&option.as_str()) {
            return Err(Usage::Unknown(option.clone()));
        }
        let value = words.next().ok_or_else(|| Usage::Missing { option: option.clone() })?;
        let wrong = || Usage::Value { option: option.clone(), value: value.clone() };
        let positive = || value.parse().ok().filter(|number: &f64| *number > 0.0).ok_or_else(wrong);
        match option.as_str() {
            "--seconds" => options.seconds = positive()?,
            "--service-us" => options.service_us = positive()?,
            "--seed" => options.seed = value.parse().map_err(|_| wrong())?,
            "--csv" => options.csv = Some(value.into()),
            _ => {
                let named = System::ALL.into_iter().find(|system| system.name() == value);
                options.system = named.ok_or_else(wrong)?;
            }
        }
    }
    Ok(options)
}

/// One run at one load.
fn measure(options: &Options, load: f64) -> Outcome<Measured> {
    let service_per_s = 1e6 / options.service_us;
    let arrival_per_s = load * service_per_s;
    let messages = options.seconds * arrival_per_s;
    if messages > MESSAGES_MAX {
        return Err(Usage::TooLong { seconds: options.seconds, per_s: arrival_per_s }.into());
    }
    let messages = (messages as usize).max(100);
    let plan = Plan { arrival_per_s, service_per_s, messages, seed: options.seed };
    let shared = Arc::new(Load::new(Schedule::draw(plan)));
    let (offered, recorded) = match options.system {
        System::Engine => through_engine(&shared)?,
        system => (through_channel(&shared, system == System::ChannelSpin), None),
    };
    let run = shared.finish(offered);
    if let Some(stem) = &options.csv {
        write_events(&run, &with_load(stem, load), plan, options.system.wait())?;
    }
    check(&run)?;
    Ok(Measured { run, recorded })
}

/// Through the engine: memory kind, one worker. With the offer comes what the engine's own recorder saw.
fn through_engine(load: &Arc<Load>) -> Outcome<(Offered, Option<Snapshot>)> {
    const TOPIC: &str = "lab.load";
    let engine = Engine::open(Config::memory().workers(1).buffer(BUFFER))?;
    let server = Arc::clone(load);
    engine.subscribe(TOPIC, move |delivery: &Delivery| {
        let id = <[u8; 8]>::try_from(&delivery.payload()[..])?;
        server.serve(u64::from_le_bytes(id) as usize);
        Ok(())
    })?;
    let mut failed = None;
    let offered = load.offer(
        |id| Message::new((id as u64).to_le_bytes().to_vec()),
        |message| match engine.publish(TOPIC, message) {
            Ok(_) => true,
            Err(PublishError::Full(_)) => false,
            Err(error) => {
                failed = Some(error);
                false
            }
        },
    );
    let report = engine.close(DRAIN_MAX)?;
    match failed {
        Some(error) => Err(error.into()),
        None if report.is_drained() => Ok((offered, Some(engine.stats().snapshot))),
        None => Err(Broken::LeftOver { messages: report.left_over() }.into()),
    }
}

/// The harness's own error: what the same source and server make of a plain channel.
fn through_channel(load: &Load, spins: bool) -> Offered {
    let (sender, receiver) = crossbeam_channel::bounded::<usize>(BUFFER);
    let next = move || match spins {
        false => receiver.recv().ok(),
        true => loop {
            match receiver.try_recv() {
                Ok(id) => return Some(id),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
            }
        },
    };
    std::thread::scope(|scope| {
        scope.spawn(move || std::iter::from_fn(next).for_each(|id| load.serve(id)));
        let offered = load.offer(|id| id, |id| sender.try_send(id).is_ok());
        drop(sender);
        offered
    })
}

/// What must hold on any machine.
fn check(run: &Run) -> Result<(), Broken> {
    if run.lost + run.doubled > 0 {
        return Err(Broken::Delivery { lost: run.lost, doubled: run.doubled });
    }
    let Little { area, sojourns } = sums(run);
    if area != sojourns {
        return Err(Broken::Little { area, sojourns });
    }
    let perfect = own_path(run);
    let early = run.rows.iter().zip(&perfect).position(|(row, perfect)| row.end_ns < *perfect);
    early.map_or(Ok(()), |at| Err(Broken::EarlierThanPerfect { id: run.ids[at] }))
}

fn sums(run: &Run) -> Little {
    Little::of(&run.arrivals_ns, &run.departures_ns, &run.rows)
}

fn own_path(run: &Run) -> Vec<u64> {
    lindley(run.rows.iter().map(|row| (row.arrival_ns, row.service_ns())))
}

/// The means of one run, in seconds.
struct Means {
    intended: f64,
    arrival: f64,
    own_path: f64,
    /// The own path of a server that is away whenever a hand-off takes over [`GAP_NS_MIN`].
    absences: f64,
    draws: f64,
}

impl Means {
    fn of(run: &Run) -> Self {
        let rows = &run.rows;
        let drawn = lindley(rows.iter().map(|row| (row.intended_ns, row.drawn_ns)));
        let sojourn_s = |ends: Vec<u64>| {
            mean_s(ends.into_iter().zip(rows).map(|(end, row)| end - row.arrival_ns))
        };
        Self {
            intended: mean_s(rows.iter().map(|row| row.end_ns - row.intended_ns)),
            arrival: mean_s(rows.iter().map(|row| row.sojourn_ns())),
            own_path: sojourn_s(own_path(run)),
            absences: sojourn_s(lindley_with_absences(rows, GAP_NS_MIN)),
            draws: mean_s(drawn.into_iter().zip(rows).map(|(end, row)| end - row.intended_ns)),
        }
    }
}

/// Prints one run of a stable queue; answers its line of the summary.
fn report(measured: &Measured, load: f64, band: f64) -> Outcome<String> {
    let run = &measured.run;
    let rates = rates(run)?;
    let means = Means::of(run);
    println!("rho {load}: {} messages", run.rows.len());
    print_rates(&rates);
    print_engine(run, &means);
    if let Some(recorded) = &measured.recorded {
        let [waiting, service, sojourn] = [recorded.waiting, recorded.service, recorded.sojourn];
        println!(
            "  recorded  waiting {:.3} us, service {:.3} us, sojourn {:.3} us, by the engine's own recorder",
            waiting.mean_ns / 1e3,
            service.mean_ns / 1e3,
            sojourn.mean_ns / 1e3
        );
    }
    print_machine(run, &rates);
    match Mm1::new(rates.arrival_per_s, rates.service_per_s) {
        Err(error) => println!("  law       none at the realized rates: {error}"),
        Ok(law) => print_law(run, &law, &means, &rates, band),
    }
    let lost = bias(run, &rates);
    if lost > band / 4.0 {
        println!("  disturbed the machine took {:.2} % of W", lost * 100.0);
    }
    let Little { area, sojourns } = sums(run);
    println!(
        "  whole     Little: {area} = {sojourns} message-ns; refused {}, lost {}, doubled {}\n",
        run.refused.len(),
        run.lost,
        run.doubled
    );
    let spare_per_s = rates.service_per_s - rates.arrival_per_s;
    let ahead = match spare_per_s > 0.0 {
        true => format!("{:.4}", means.own_path * spare_per_s),
        false => "no law at rho >= 1".into(),
    };
    let interval = against_mm1(&run.rows, From::Arrival)
        .map_or("none".into(), |found| format!("{:.4} +- {:.4}", found.ratio, found.half_width));
    Ok(format!(
        "| {load} | {:.4} | {:.4} | {ahead} | {interval} | {:.2} %{} |",
        means.arrival / means.own_path,
        means.arrival / means.absences,
        lost * 100.0,
        if lost > band / 4.0 { ", disturbed" } else { "" },
    ))
}

/// What the gaps of both threads add to W, relative.
fn bias(run: &Run, rates: &Rates) -> f64 {
    let run_s = run.rows.last().map_or(0.0, |row| row.end_ns as f64 * 1e-9);
    let of = |gaps: &[u64]| Stalls::of(gaps).bias(run_s, 1.0 / rates.service_per_s);
    of(&run.server_gaps_ns) + of(&run.source.gaps_ns)
}

fn report_saturation(run: &Run) -> Outcome<()> {
    let rates = rates(run)?;
    println!("saturation, rho {SATURATION}: {} messages", run.rows.len());
    print_rates(&rates);
    let ratio = rates.throughput_per_s / rates.service_per_s;
    println!("  law       throughput / mu {ratio:.4}; below 1 by the hand-off between services");
    print_hand_offs(run);
    print_machine(run, &rates);
    println!(
        "  whole     refused {}, lost {}, doubled {}\n",
        run.refused.len(),
        run.lost,
        run.doubled
    );
    Ok(())
}

fn rates(run: &Run) -> Result<Rates, Broken> {
    Rates::of(&run.rows).ok_or(Broken::TooShort { messages: run.rows.len() })
}

fn print_rates(rates: &Rates) {
    println!(
        "  realized  lambda {:.1}/s, mu {:.1}/s, rho {:.4}, throughput {:.1}/s, service cs2 {:.3}",
        rates.arrival_per_s,
        rates.service_per_s,
        rates.load(),
        rates.throughput_per_s,
        rates.service_variability()
    );
}

/// What the engine added: no statistics, and no machine but where the idle or freed worker was away.
fn print_engine(run: &Run, means: &Means) {
    println!(
        "  engine    W {:.3} us / own path {:.3} us = {:.4}; {:.4} without hand-offs over {} us (waking, absences)",
        means.arrival * 1e6,
        means.own_path * 1e6,
        means.arrival / means.own_path,
        means.arrival / means.absences,
        GAP_NS_MIN / 1_000,
    );
    print_hand_offs(run);
}

fn print_hand_offs(run: &Run) {
    let hand_offs = HandOffs::of(&run.rows);
    let line = |name: &str, sorted: &[u64]| {
        let [p50, p99, top] = [0.5, 0.99, 1.0].map(|p| quantile(sorted, p) as f64 / 1e3);
        println!(
            "  {name:9} {} times: p50 {p50:.3} us, p99 {p99:.3} us, max {top:.1} us",
            sorted.len()
        );
    };
    line("from busy", &hand_offs.busy_ns);
    line("from rest", &hand_offs.idle_ns);
    line("publish", &run.source.publishes_ns);
}

/// What the machine took: gaps of the two spinning threads.
fn print_machine(run: &Run, rates: &Rates) {
    let run_s = run.rows.last().map_or(0.0, |row| row.end_ns as f64 * 1e-9);
    let sides = [
        ("server", &run.server_gaps_ns, run.server_gaps_not_kept),
        ("source", &run.source.gaps_ns, run.source.gaps_not_kept),
    ];
    for (name, gaps, not_kept) in sides {
        let stalls = Stalls::of(gaps);
        println!(
            "  machine   {name}: {} gaps over 10 us, {:.3} ms in all, {:.1} us the longest, bias of W {:.2} %{}",
            stalls.count,
            stalls.total_ns as f64 / 1e6,
            stalls.max_ns as f64 / 1e3,
            100.0 * stalls.bias(run_s, 1.0 / rates.service_per_s),
            if not_kept > 0 { format!(" ({not_kept} more not kept)") } else { String::new() },
        );
    }
}

/// The law at the realized rates, and what explains a difference.
fn print_law(run: &Run, law: &Mm1, means: &Means, rates: &Rates, band: f64) {
    let theory = law.sojourn_mean_s();
    let set_up = rates.set_up_s(HandOffs::of(&run.rows).wake());
    println!(
        "  law       1/(mu - lambda) {:.3} us; Pollaczek-Khinchine {:.3} us; with set-up {:.3} us; drawn path {:.3} us",
        theory * 1e6,
        rates.pollaczek_khinchine_s() * 1e6,
        (rates.pollaczek_khinchine_s() + set_up) * 1e6,
        means.draws * 1e6,
    );
    println!(
        "  machine   own path / law {:.4}; W / law with set-up {:.4}",
        means.own_path / theory,
        means.arrival / (rates.pollaczek_khinchine_s() + set_up)
    );
    for (name, from) in [("arrival", From::Arrival), ("intended", From::Intended)] {
        match against_mm1(&run.rows, from) {
            None => println!("  W/law     from {name}: too few empty moments for an interval"),
            Some(interval) => print_interval(name, interval, band, run.rows.len()),
        }
    }
    let late = means.intended - means.arrival;
    println!("  source    late by {:.3} us on average", late * 1e6);
    print_distributions(run, law);
}

fn print_interval(name: &str, interval: Interval, band: f64, messages: usize) {
    let verdict = match interval.verdict(band, messages) {
        Verdict::Inside => "inside".into(),
        Verdict::Outside => "outside".into(),
        Verdict::Undecided { messages } => format!("undecided; {messages} messages would decide"),
    };
    println!(
        "  W/law     from {name}: {:.4} +- {:.4} (95 %, {} groups); band {:.0} %: {verdict}",
        interval.ratio,
        interval.half_width,
        interval.groups,
        band * 100.0,
    );
}

fn print_distributions(run: &Run, law: &Mm1) {
    let tails = [0.5, 1.0, 2.0, 3.0, 4.605].map(|times| {
        let t_s = times * law.sojourn_mean_s();
        format!("{times} W {:.4} ({:.4})", sojourn_tail(&run.rows, t_s), law.sojourn_tail(t_s))
    });
    println!("  P(W > t)  {}", tails.join(", "));
    let found = found_by_arrivals(&run.rows);
    let shares = (0..5).map(|n| {
        let share = found.get(n).copied().unwrap_or(0.0);
        format!("{n}: {share:.4} ({:.4})", law.in_system_probability(n as u64))
    });
    println!("  P(N = n)  {}", shares.collect::<Vec<_>>().join(", "));
}

fn with_load(stem: &Path, load: f64) -> PathBuf {
    let name = stem.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
    stem.with_file_name(format!("{name}-{load}.csv"))
}

/// The raw stamps, a row a message in order of arrival, and what was asked for.
fn write_events(run: &Run, path: &Path, plan: Plan, wait: &str) -> Outcome<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "id,intended_ns,arrival_ns,start_ns,end_ns,accepted,drawn_ns")?;
    let mut refused = run.refused.iter().peekable();
    let mut refuse_before = |out: &mut BufWriter<File>, next: usize| -> std::io::Result<()> {
        while let Some((id, intended, arrival)) = refused.next_if(|(id, ..)| *id < next) {
            writeln!(out, "{id},{intended},{arrival},,,0,")?;
        }
        Ok(())
    };
    for (id, row) in run.ids.iter().zip(&run.rows) {
        refuse_before(&mut out, *id)?;
        let (intended, arrival, drawn) = (row.intended_ns, row.arrival_ns, row.drawn_ns);
        writeln!(out, "{id},{intended},{arrival},{},{},1,{drawn}", row.start_ns, row.end_ns)?;
    }
    refuse_before(&mut out, usize::MAX)?;
    out.flush()?;
    let about = serde_json::json!({
        "kind": if plan.arrival_per_s < plan.service_per_s { "mm1" } else { "saturation" },
        "servers": 1,
        "capacity": null,
        "ring_capacity": BUFFER,
        "lambda": plan.arrival_per_s,
        "mu": plan.service_per_s,
        "service": "exp",
        "seed": plan.seed,
        "warmup": 0,
        "wait": wait,
    });
    std::fs::write(path.with_extension("json"), format!("{about:#}\n"))?;
    Ok(())
}
