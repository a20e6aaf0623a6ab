//! Does a queue behave as its law says, and if not: is it the queue or the machine? The quick ladder.
//!
//! An open-loop Poisson source and servers that spin, through [`millstream::lab`]: M/M/1 at rho 0.1 to 0.95, then M/M/1/K, a
//! server that is offered half as much again as it can serve, and M/M/c with servers that sleep. Each run is held against
//! its own path (what a perfect queue would have made of what really arrived and how long it really was served: the
//! difference is the queue's and has no statistics in it) and against the law at the rates that the run really had (the
//! difference is chance and the machine's stalls). Nothing is excluded and no run is picked.
//!
//! Run: `cargo bench --bench validation -- --seconds 60`. Nothing else may run on the machine.
//!
//! | option | is | default |
//! |---|---|---|
//! | `--seconds S` | length of each run | 10 |
//! | `--service-us U` | mean service in microseconds, of servers that spin or park | 50 up to rho 0.8, 100 above |
//! | `--seed N` | of arrivals and services | 1 |
//! | `--system NAME` | `memory`, `persistent`, `ring`, or `channel`: a crossbeam channel, which is the harness's own error | `memory` |
//! | `--wait NAME` | what an idle server does: `spin`, `park`; `sleep`: at work too | `spin` |
//! | `--csv FILE` | also the stamps of each run, to FILE with the run's name in its name, and a JSON beside each | none |
//! | `--test` | a smoke run: a tenth of a second each; so is any run without cargo's `--bench` | |
//!
//! # Limits
//!
//! Ten seconds decide no law above rho 0.3: most verdicts are `undecided`, with the messages that would decide. The long
//! ladder, which can be continued and draws plots, is `millstream lab suite`. A fact that no machine excuses (a message
//! lost or doubled, Little's identity) is an error; a verdict is not.

#![allow(clippy::print_stdout)] // A bench's output is its report.

use millstream::lab::{
    Event, Experiment, Judgement, Kind, On, Parameters, Run, Wait, judge, write_events,
    write_parameters,
};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the M/M/1 runs.
const LOADS: [f64; 7] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
/// A smoke run shows that it works, no more.
const SMOKE: Duration = Duration::from_millis(100);

const OPTIONS: [&str; 6] = ["--seconds", "--service-us", "--seed", "--system", "--wait", "--csv"];

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Debug, Clone)]
struct Options {
    length: Duration,
    service_mean: Option<Duration>,
    seed: u64,
    on: On,
    wait: Wait,
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
}

/// A fact that no machine excuses.
#[derive(Debug, thiserror::Error)]
#[error("{name}: Little's identity fails: area {area}, sojourns {sojourns}")]
struct NotWhole {
    name: String,
    area: i128,
    sojourns: i128,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let smoke = !arguments.iter().any(|word| word == "--bench")
        || arguments.iter().any(|word| word == "--test");
    let mut options = parse(&arguments)?;
    if smoke {
        options.length = options.length.min(SMOKE);
        println!("a smoke run: the numbers mean nothing");
    }
    let mut lines = Vec::new();
    for (name, experiment) in ladder(&options) {
        println!("{name}: {} messages, {:?}", experiment.messages, experiment.expected_duration());
        lines.extend(measure(&options, &name, &experiment)?);
    }
    println!(
        "\n| run | rho | W / own path | without absences | W, loss or throughput / law, 95 % | hand-off busy, idle p50 | stalls | verdict |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// What is run, by name.
fn ladder(options: &Options) -> Vec<(String, Experiment)> {
    let spinning = |made: Experiment| {
        let made = made.on(options.on).wait(options.wait);
        let mean = options.service_mean.unwrap_or(made.service_mean);
        let made = made.service_mean(mean).seed(options.seed);
        made.lasting(options.length)
    };
    let mm1 = |load| (format!("mm1-{load}"), spinning(Experiment::new(Kind::Mm1).load(load)));
    let mut all: Vec<_> = LOADS.into_iter().map(mm1).collect();
    all.push(("mm1k-5".into(), spinning(Experiment::new(Kind::Mm1k).load(1.0).capacity(5))));
    all.push(("saturation".into(), spinning(Experiment::new(Kind::Saturation).load(1.5))));
    for servers in [2, 4] {
        let made = Experiment::new(Kind::Mmc).on(options.on).servers(servers).seed(options.seed);
        all.push((format!("mmc-{servers}"), made.lasting(options.length)));
    }
    all
}

/// One run, judged: its line of the summary; none if there is no law for what it was.
fn measure(options: &Options, name: &str, experiment: &Experiment) -> Outcome<Option<String>> {
    let run = experiment.run(&mut |_| {})?;
    if let Some(stem) = &options.csv {
        write(&with_name(stem, name), &run.parameters, &run.events)?;
    }
    let judged = judge(&run.parameters, &run.events, Some(&run.stalls), experiment.band);
    let judgement = match judged {
        Ok(judgement) => judgement,
        Err(error) => {
            println!("  {error}");
            return Ok(None);
        }
    };
    let (area, sojourns) = (judgement.little.area, judgement.little.sojourns);
    if area != sojourns {
        return Err(NotWhole { name: name.into(), area, sojourns }.into());
    }
    print_details(&run, &judgement);
    Ok(Some(line(name, &judgement)))
}

fn print_details(run: &Run, judgement: &Judgement) {
    println!("  {}", judgement.because);
    for check in &judgement.checks {
        let interval = check.interval.map_or(String::new(), |found| {
            format!(", ratio {:.4} +- {:.4}", found.ratio, found.half_width)
        });
        let (quantity, law, role) =
            (&check.quantity, &check.law, if check.decides { "" } else { ", explains" });
        println!(
            "  {quantity} {:.6e}, by {law} {:.6e}{interval}: {:?}{role}",
            check.measured, check.theory, check.verdict
        );
    }
    let (publishes, lateness) = (run.publishes, judgement.lateness);
    println!(
        "  publish p50 {} ns, p99 {} ns; source late by {:.0} ns on average",
        publishes.p50_ns, publishes.p99_ns, lateness.mean_ns
    );
    if let Some(recorded) = &run.recorded {
        let [waiting, sojourn] =
            [recorded.waiting, recorded.sojourn].map(|part| part.mean_ns / 1e3);
        println!(
            "  by the engine's own recorder: waiting {waiting:.3} us, sojourn {sojourn:.3} us"
        );
    }
}

fn line(name: &str, judgement: &Judgement) -> String {
    let decides = judgement.checks.iter().find(|check| check.decides && check.interval.is_some());
    let law = decides
        .and_then(|check| check.interval)
        .map_or("none".into(), |found| format!("{:.4} +- {:.4}", found.ratio, found.half_width));
    let stalls =
        judgement.stall_bias.map_or("none".into(), |bias| format!("{:.2} %", 100.0 * bias.total()));
    let (own, hand_offs) = (&judgement.own_path, &judgement.hand_offs);
    format!(
        "| {name} | {:.4} | {:.4} | {:.4} | {law} | {} ns, {} ns | {stalls} | {:?} |",
        judgement.realized.load,
        own.ratio,
        own.ratio_without_absences,
        hand_offs.busy.p50_ns,
        hand_offs.idle.p50_ns,
        judgement.verdict,
    )
}

fn parse(arguments: &[String]) -> Result<Options, Usage> {
    let mut options = Options {
        length: Duration::from_secs(10),
        service_mean: None,
        seed: 1,
        on: On::Memory,
        wait: Wait::Spin,
        csv: None,
    };
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
        let span = |unit_s: f64| {
            let number = value.parse::<f64>().ok().filter(|number| *number > 0.0);
            let span = number.and_then(|n| Duration::try_from_secs_f64(n * unit_s).ok());
            span.ok_or_else(wrong)
        };
        match option.as_str() {
            "--seconds" => options.length = span(1.0)?,
            "--service-us" => options.service_mean = Some(span(1e-6)?),
            "--seed" => options.seed = value.parse().map_err(|_| wrong())?,
            "--csv" => options.csv = Some(value.into()),
            "--wait" => {
                let named = Wait::ALL.into_iter().find(|wait| wait.name() == value);
                options.wait = named.ok_or_else(wrong)?;
            }
            _ => {
                let named = On::ALL.into_iter().find(|on| on.name() == value);
                options.on = named.ok_or_else(wrong)?;
            }
        }
    }
    Ok(options)
}

fn with_name(stem: &Path, name: &str) -> PathBuf {
    let file = stem.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    stem.with_file_name(format!("{file}-{name}.csv"))
}

/// The stamps, a row a message in order of arrival, and what was asked for.
fn write(path: &Path, parameters: &Parameters, events: &[Event]) -> Outcome<()> {
    write_events(BufWriter::new(File::create(path)?), events)?;
    write_parameters(File::create(path.with_extension("json"))?, parameters)?;
    Ok(())
}
