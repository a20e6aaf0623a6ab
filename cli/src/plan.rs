//! `millstream plan`: how many workers a load needs, and what they make of it. The library's planner, asked and told.

use crate::failure::{Failure, Outcome};
use crate::output::{self, counted, seconds};
use crate::quantity;
use indicatif::HumanCount;
use millstream::model::plan::{Binding, Demand, Expected, Options, Overload, Plan, plan};
use millstream::model::{ServiceTime, Target};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::time::Duration;

const EXAMPLE: &str = "\
Examples:
  millstream plan --rate 50k/s --service 80us --target 'p99<2ms'
  millstream plan --rate 900/min --service 200ms --cs2 0.5 --target 'wait mean<1s' --overload 2 --json";

/// Say how many workers a load needs
///
/// For messages that arrive at random at a rate, each of which takes a service: the fewest workers that meet a target, and what
/// they make of it: how busy they are, how long messages stay, what happens when more arrives than was thought, and how large a
/// buffer must be. Each answer names its law and how sure it is. No queue is needed; `lab run` measures the same.
///
/// A target that no number of workers meets ends with exit code 1 and says what is attainable.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// How many messages arrive: a number, `k` or `M` if need be, and `/s`, `/min` or `/h`
    #[arg(long, value_name = "R", value_parser = quantity::rate)]
    rate: f64,
    /// How long one takes in a worker's hands, on average, such as `80us`
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    service: Duration,
    /// What must be met: `p99<2ms`, `p99.9<10ms`, `mean<500us` of the stay from arrival to end of service; of the wait alone with `wait` before it
    #[arg(long, value_name = "TARGET", value_parser = quantity::target)]
    target: Target,
    /// Variance of the services over their squared mean: 0 all alike, 1 exponential, more for a few long ones
    #[arg(long, value_name = "X", default_value = "1", value_parser = quantity::not_negative)]
    cs2: f64,
    /// The same of the gaps between arrivals: 0 a clock, 1 Poisson, more for bursts
    #[arg(long, value_name = "X", default_value = "1", value_parser = quantity::not_negative)]
    ca2: f64,
    /// The share of messages that a full buffer may refuse
    #[arg(long, value_name = "SHARE", default_value = "1e-6", value_parser = quantity::share)]
    loss: f64,
    /// Tell what happens at so many times the rate
    #[arg(long, value_name = "X", default_value = "1.3", value_parser = quantity::positive)]
    overload: f64,
    /// How busy a worker may be
    #[arg(long, value_name = "SHARE", default_value = "90%", value_parser = quantity::share)]
    load_max: f64,
}

#[derive(Serialize)]
struct Object {
    rate_per_s: f64,
    service_mean_ns: f64,
    cs2: f64,
    ca2: f64,
    target: String,
    target_ns: f64,
    /// What the target speaks of, as it is to be expected.
    reached_ns: f64,
    /// What sets the number: `target`, `load` or `one`.
    bound_by: &'static str,
    #[serde(flatten)]
    expected: ExpectedObject,
    overload: OverloadObject,
    loss: f64,
    /// Messages, those in service too; nothing if it is more than a queue can hold.
    buffer: Option<u64>,
}

#[derive(Serialize)]
struct ExpectedObject {
    workers: u32,
    load: f64,
    waiting_mean_ns: f64,
    /// What the mean wait is proved to be between.
    waiting_mean_bounds_ns: [f64; 2],
    sojourn_mean_ns: f64,
    sojourn_p50_ns: f64,
    sojourn_p99_ns: f64,
    in_system_mean: f64,
    law: String,
    mean_is: String,
    quantiles_are: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OverloadObject {
    Stable {
        factor: f64,
        #[serde(flatten)]
        expected: Box<ExpectedObject>,
    },
    Unstable {
        factor: f64,
        growth_per_s: f64,
        full_after_s: f64,
        /// The share that is refused from then on.
        loss: f64,
    },
}

/// Plans.
pub fn run(args: &Args, json: bool) -> Result<Outcome, Failure> {
    let service = ServiceTime::new(args.service.as_secs_f64(), args.cs2)?;
    let demand = Demand::new(args.rate, service)?.with_arrival_cv2(args.ca2)?;
    let options =
        Options::new().loss_max(args.loss).overload_factor(args.overload).load_max(args.load_max);
    let plan = plan(&demand, args.target, &options)?;
    match json {
        true => output::write_object(&Object::of(args, &plan))?,
        false => {
            let mut text = String::new();
            // Writing to memory does not fail.
            let _ = write_plan(&mut text, args, &plan);
            output::write(text.as_bytes())?;
        }
    }
    Ok(Outcome::Good)
}

fn ns(seconds: f64) -> f64 {
    seconds * 1e9
}

/// `p99 of the stay`.
fn measure(target: Target) -> String {
    let percentile = |p: f64| format!("p{}", rounded(p * 100.0));
    match target {
        Target::SojournMean { .. } => "mean stay".to_owned(),
        Target::SojournQuantile { p, .. } => format!("{} of the stay", percentile(p)),
        Target::WaitingMean { .. } => "mean wait".to_owned(),
        Target::WaitingQuantile { p, .. } => format!("{} of the wait", percentile(p)),
    }
}

/// Without the noise of the last binary digits: 99.9, not 99.90000000000001.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

impl Object {
    fn of(args: &Args, plan: &Plan) -> Self {
        Self {
            rate_per_s: args.rate,
            service_mean_ns: ns(args.service.as_secs_f64()),
            cs2: args.cs2,
            ca2: args.ca2,
            target: measure(plan.target),
            target_ns: ns(plan.target.most_s()),
            reached_ns: ns(plan.reached_s),
            bound_by: match plan.binding {
                Binding::Target => "target",
                Binding::Load => "load",
                Binding::One => "one",
            },
            expected: ExpectedObject::of(&plan.expected),
            overload: match &plan.overload {
                Overload::Stable { factor, expected } => OverloadObject::Stable {
                    factor: *factor,
                    expected: Box::new(ExpectedObject::of(expected)),
                },
                &Overload::Unstable { factor, growth_per_s, full_after_s, loss } => {
                    OverloadObject::Unstable { factor, growth_per_s, full_after_s, loss }
                }
            },
            loss: args.loss,
            buffer: plan.buffer,
        }
    }
}

impl ExpectedObject {
    fn of(expected: &Expected) -> Self {
        Self {
            workers: expected.workers,
            load: expected.load,
            waiting_mean_ns: ns(expected.waiting_mean_s),
            waiting_mean_bounds_ns: expected.waiting_mean_bounds_s.map(ns),
            sojourn_mean_ns: ns(expected.sojourn_mean_s),
            sojourn_p50_ns: ns(expected.sojourn_p50_s),
            sojourn_p99_ns: ns(expected.sojourn_p99_s),
            in_system_mean: expected.in_system_mean,
            law: expected.law.to_string(),
            mean_is: expected.mean.to_string(),
            quantiles_are: expected.quantiles.to_string(),
        }
    }
}

fn write_plan(out: &mut String, args: &Args, plan: &Plan) -> fmt::Result {
    let expected = &plan.expected;
    let why = match plan.binding {
        Binding::Target => "with one less the target is missed".to_owned(),
        Binding::Load => format!(
            "with one less the target is met, but each is busier than {} %",
            rounded(args.load_max * 100.0)
        ),
        Binding::One => "the least there is".to_owned(),
    };
    writeln!(out, "workers      {}: {why}", HumanCount(expected.workers.into()))?;
    writeln!(
        out,
        "target       {} {}, at most {} asked for",
        measure(plan.target),
        seconds(plan.reached_s),
        seconds(plan.target.most_s())
    )?;
    write_expected(out, expected)?;
    writeln!(out, "law          {}", expected.law)?;
    writeln!(out, "             mean {}", expected.mean)?;
    writeln!(out, "             percentiles {}", expected.quantiles)?;
    let [least, most] = expected.waiting_mean_bounds_s;
    if least < most {
        let (least, most) = (seconds(least), seconds(most));
        writeln!(out, "             the mean wait is proved to be from {least} to {most}")?;
    }
    match plan.buffer {
        Some(buffer) => writeln!(
            out,
            "buffer       {} refuses at most a share of {:e}",
            counted(buffer, "message"),
            args.loss
        )?,
        None => writeln!(
            out,
            "buffer       none that a queue can have refuses at most a share of {:e}",
            args.loss
        )?,
    }
    write_overload(out, &plan.overload)
}

fn write_expected(out: &mut String, expected: &Expected) -> fmt::Result {
    writeln!(out, "load         {:.1} % of each worker's time", expected.load * 100.0)?;
    writeln!(out, "wait         mean {}", seconds(expected.waiting_mean_s))?;
    writeln!(
        out,
        "stay         mean {}, p50 {}, p99 {}; {:.1} messages are there on average",
        seconds(expected.sojourn_mean_s),
        seconds(expected.sojourn_p50_s),
        seconds(expected.sojourn_p99_s),
        expected.in_system_mean
    )
}

fn write_overload(out: &mut String, overload: &Overload) -> fmt::Result {
    match overload {
        Overload::Stable { factor, expected } => writeln!(
            out,
            "at {factor} times   they keep up: load {:.1} %, stay mean {}, p99 {}",
            expected.load * 100.0,
            seconds(expected.sojourn_mean_s),
            seconds(expected.sojourn_p99_s)
        ),
        Overload::Unstable { factor, growth_per_s, full_after_s, loss } => writeln!(
            out,
            "at {factor} times   they do not keep up: the backlog grows by {}/s, a buffer of {} is full after {}, and then {:.1} % \
             is refused",
            HumanCount(growth_per_s.round() as u64),
            HumanCount(millstream::model::plan::BUFFER_DEFAULT),
            seconds(*full_after_s),
            loss * 100.0
        ),
    }
}
