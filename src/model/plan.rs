//! The capacity planner: what a demand needs, and what it gets. Pure: numbers in, numbers out.
//!
//! ```
//! use millstream::model::plan::{Demand, Options, Overload, plan};
//! use millstream::model::{ServiceTime, Target};
//!
//! # fn main() -> Result<(), millstream::model::ModelError> {
//! // 50,000 messages per second of 80 us each, a little more variable than exponential.
//! let demand = Demand::new(50_000.0, ServiceTime::new(80e-6, 1.2)?)?;
//! let target = Target::SojournQuantile { p: 0.99, most_s: 1e-3 };
//! let plan = plan(&demand, target, &Options::new())?;
//! assert_eq!(plan.expected.workers, 5);
//! assert!(plan.reached_s <= 1e-3);
//! assert!(matches!(plan.overload, Overload::Unstable { .. }), "five workers cannot do 65,000");
//! # Ok(()) }
//! ```
//!
//! # Which law
//!
//! | arrivals | services | workers | law | mean wait | quantiles |
//! |---|---|---|---|---|---|
//! | ca2 = 1 | cs2 = 1 | 1 | M/M/1 | exact | exact |
//! | ca2 = 1 | cs2 = 1 | c | M/M/c | exact | exact |
//! | ca2 = 1 | cs2 = 0 | 1 | M/D/1 | exact | exact |
//! | ca2 = 1 | any | 1 | M/G/1 | exact | approximate |
//! | any other | | | G/G/c | approximate | approximate |
//!
//! "Exact" is the formula, under what it assumes: independent gaps and services, Poisson arrivals where ca2 = 1,
//! exponential services where cs2 = 1, first come, first served, workers that take no time to wake. Two moments do
//! not prove a distribution, so each answer names its law, and the page of [`Ggc`] says how far approximations were
//! off against simulation. A handler that stalls, or shares a lock with its neighbours, breaks independence, and then
//! every figure here is too good.
//!
//! # Limits
//!
//! Workers: [`Options::workers_max`], 10,000 unless set. One plan takes some microseconds for tens of workers, some milliseconds
//! for ten thousand.
//!
//! Source: the laws' own pages. Loss of a finite buffer: H. C. Tijms, "Heuristics for finite-buffer queues", Probability
//! in the Engineering and Informational Sciences 6 (1992).

use super::error::{positive, rate, within};
use super::invert::{first_integer_where, first_where};
use super::mmc::checked_servers;
use super::service::{CV2_MAX, ServiceTime};
use super::target::servers_least;
use super::{Ggc, ModelError, Quantity, RATE_PER_S_MIN, Saturation, Target};
use std::fmt;

/// What [`Options::new`] allows.
pub const WORKERS_MAX_DEFAULT: u32 = 10_000;
/// The highest load that [`Options::new`] plans for. Above it, a small error in the demand is a large one in the wait.
pub const LOAD_MAX_DEFAULT: f64 = 0.9;
/// The overload that [`Options::new`] asks about.
pub const OVERLOAD_FACTOR_DEFAULT: f64 = 1.3;
/// The share that [`Options::new`] allows a full buffer to refuse.
pub const LOSS_MAX_DEFAULT: f64 = 1e-6;
/// The buffer that [`Options::new`] fills in overload, in messages.
pub const BUFFER_DEFAULT: u64 = 65_536;

/// What arrives, and what it asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    arrival_per_s: f64,
    arrival_cv2: f64,
    service: ServiceTime,
}

impl Demand {
    /// `arrival_per_s` messages per second (Poisson: ca2 = 1), of such services.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the rate.
    pub fn new(arrival_per_s: f64, service: ServiceTime) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        Ok(Self { arrival_per_s, arrival_cv2: 1.0, service })
    }

    /// The same with gaps of another variability: 0 a clock, 1 Poisson, above 1 bursts.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`] or [`ModelError::OutOfRange`] unless it is from 0 to [`CV2_MAX`].
    pub fn with_arrival_cv2(self, arrival_cv2: f64) -> Result<Self, ModelError> {
        let arrival_cv2 = within(Quantity::ArrivalCv2, arrival_cv2, 0.0, CV2_MAX)?;
        Ok(Self { arrival_cv2, ..self })
    }

    /// The same demand, `factor` times as often.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], of the product; [`ModelError::NotPositive`] of the factor.
    pub fn times(self, factor: f64) -> Result<Self, ModelError> {
        let factor = positive(Quantity::OverloadFactor, factor, f64::MIN_POSITIVE, f64::MAX)?;
        let arrival_per_s = rate(Quantity::ArrivalRate, self.arrival_per_s * factor)?;
        Ok(Self { arrival_per_s, ..self })
    }

    /// lambda, messages per second.
    pub fn arrival_per_s(&self) -> f64 {
        self.arrival_per_s
    }

    /// ca2.
    pub fn arrival_cv2(&self) -> f64 {
        self.arrival_cv2
    }

    /// The services.
    pub fn service(&self) -> ServiceTime {
        self.service
    }

    /// a = lambda s: the workers that would be busy all the time.
    pub fn offered(&self) -> f64 {
        self.arrival_per_s * self.service.mean_s()
    }

    fn served_by(&self, workers: u32) -> Result<Ggc, ModelError> {
        Ggc::new(self.arrival_per_s, self.arrival_cv2, self.service, workers)
    }
}

/// What a plan must respect, and what else it shall tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    workers_max: u32,
    load_max: f64,
    overload_factor: f64,
    loss_max: f64,
    buffer: u64,
}

impl Options {
    /// At most 10,000 workers, each busy at most 90 % of the time; tells of 1.3 times the load, of a buffer of 65,536
    /// messages filling, and of the buffer that loses less than one message in a million.
    pub fn new() -> Self {
        Self {
            workers_max: WORKERS_MAX_DEFAULT,
            load_max: LOAD_MAX_DEFAULT,
            overload_factor: OVERLOAD_FACTOR_DEFAULT,
            loss_max: LOSS_MAX_DEFAULT,
            buffer: BUFFER_DEFAULT,
        }
    }

    /// The most workers that may be planned, up to [`SERVERS_MAX`](super::SERVERS_MAX).
    pub fn workers_max(self, workers_max: u32) -> Self {
        Self { workers_max, ..self }
    }

    /// The highest load that may be planned, above 0 and below 1.
    pub fn load_max(self, load_max: f64) -> Self {
        Self { load_max, ..self }
    }

    /// By how much the load is multiplied to see what then happens.
    pub fn overload_factor(self, overload_factor: f64) -> Self {
        Self { overload_factor, ..self }
    }

    /// The share of messages that a full buffer may refuse, above 0 and below 1.
    pub fn loss_max(self, loss_max: f64) -> Self {
        Self { loss_max, ..self }
    }

    /// The messages that the queue holds, for the time until it is full in overload.
    pub fn buffer(self, buffer: u64) -> Self {
        Self { buffer, ..self }
    }

    fn checked(self) -> Result<Self, ModelError> {
        checked_servers(self.workers_max)?;
        positive(Quantity::Load, self.load_max, f64::MIN_POSITIVE, 1.0_f64.next_down())?;
        positive(Quantity::Loss, self.loss_max, f64::MIN_POSITIVE, 1.0_f64.next_down())?;
        Ok(self)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Which law gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Law {
    /// [`Mm1`](super::Mm1).
    Mm1,
    /// [`Mmc`](super::Mmc).
    Mmc,
    /// [`Md1`](super::Md1).
    Md1,
    /// [`Mg1`](super::Mg1).
    Mg1,
    /// [`Ggc`].
    Ggc,
}

impl fmt::Display for Law {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Mm1 => "M/M/1",
            Self::Mmc => "M/M/c (Erlang C)",
            Self::Md1 => "M/D/1",
            Self::Mg1 => "M/G/1 (Pollaczek-Khinchine)",
            Self::Ggc => "G/G/c (Allen-Cunneen)",
        })
    }
}

/// How much an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Certainty {
    /// A theorem, if the assumptions of the law hold.
    Exact,
    /// No formula exists for services that are not exponential and several workers.
    ManyServers,
    /// No formula exists that needs only ca2 of arrivals that are not Poisson.
    Arrivals,
    /// Mean and variability do not fix the tail: services were taken as gamma distributed.
    TwoMoments,
}

impl fmt::Display for Certainty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Exact => "exact, if the law's assumptions hold",
            Self::ManyServers => {
                "approximate: no formula exists for several workers and services that are not exponential"
            }
            Self::Arrivals => "approximate: no formula exists for arrivals that are not Poisson",
            Self::TwoMoments => {
                "approximate: mean and variability do not fix the tail; services taken as gamma distributed"
            }
        })
    }
}

/// What a number of workers makes of a demand, in the long run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// How many serve.
    pub workers: u32,
    /// rho: the share of time that a worker is busy.
    pub load: f64,
    /// Mean time from arrival to start of service, in seconds.
    pub waiting_mean_s: f64,
    /// What the mean wait cannot be below and above, in seconds, by proved bounds. Equal if it is exact.
    pub waiting_mean_bounds_s: [f64; 2],
    /// Mean time from arrival to end of service, in seconds.
    pub sojourn_mean_s: f64,
    /// The median sojourn, in seconds.
    pub sojourn_p50_s: f64,
    /// The sojourn that 1 message in 100 exceeds, in seconds.
    pub sojourn_p99_s: f64,
    /// Mean number in the system.
    pub in_system_mean: f64,
    /// Which law said so.
    pub law: Law,
    /// How sure the means are.
    pub mean: Certainty,
    /// How sure the quantiles are.
    pub quantiles: Certainty,
}

/// What happens when more arrives than was planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Overload {
    /// The same workers still keep up, like this.
    Stable {
        /// By how much the load was multiplied.
        factor: f64,
        /// What is then to be expected.
        expected: Expected,
    },
    /// They do not: the backlog grows until the buffer is full.
    Unstable {
        /// By how much the load was multiplied.
        factor: f64,
        /// Messages by which the backlog grows in a second.
        growth_per_s: f64,
        /// Seconds until the buffer of [`Options::buffer`] is full, from empty.
        full_after_s: f64,
        /// The share of messages that is refused from then on.
        loss: f64,
    },
}

/// An answer of the planner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What was asked.
    pub target: Target,
    /// The time that the target speaks of, as it is to be expected, in seconds: at most the target's.
    pub reached_s: f64,
    /// What sets the number of workers: the target, or the highest load allowed, or that the queue is stable at all.
    pub binding: Binding,
    /// What is to be expected.
    pub expected: Expected,
    /// The same workers at a multiple of the load.
    pub overload: Overload,
    /// The least buffer in messages, those in service included, that refuses at most [`Options::loss_max`]. Exact for
    /// M/M/1 and M/M/c, otherwise as good as the quantiles. `None` if that is more than
    /// [`CAPACITY_MAX`](super::CAPACITY_MAX).
    pub buffer: Option<u64>,
}

/// What a number of workers is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// With one worker less the target is missed.
    Target,
    /// With one worker less the target is met, but each would be busier than [`Options::load_max`].
    Load,
    /// One worker is the least there is.
    One,
}

/// The fewest workers that meet a target, and what they make of the demand.
///
/// # Errors
///
/// [`ModelError::Unattainable`] if no number of workers meets it, since the services alone take as long: with the least
/// attainable; [`ModelError::ServersMax`] if more than [`Options::workers_max`] are needed; otherwise the error of the
/// argument at fault.
pub fn plan(demand: &Demand, target: Target, options: &Options) -> Result<Plan, ModelError> {
    let (target, options) = (target.checked()?, options.checked()?);
    attainable(demand, &target)?;
    let enough = |workers: u64| match demand.served_by(workers as u32) {
        Ok(queue) => {
            Ok(queue.load() <= options.load_max && measure(&queue, &target)? <= target.most_s())
        }
        Err(ModelError::Unstable { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    let servers_max = options.workers_max;
    let least = servers_least(demand.offered(), servers_max)?;
    let workers = first_integer_where(least, u64::from(servers_max), enough)?
        .ok_or(ModelError::ServersMax { servers_max })? as u32;
    let queue = demand.served_by(workers)?;
    Ok(Plan {
        target,
        reached_s: measure(&queue, &target)?,
        binding: binding(demand, &target, workers)?,
        expected: Expected::of(&queue)?,
        overload: overload(demand, workers, &options)?,
        buffer: buffer_for(&queue, options.loss_max),
    })
}

/// What a number of workers makes of a demand.
///
/// # Errors
///
/// [`ModelError::Unstable`] if it is more than they can do; [`ModelError::OutOfRange`] or [`ModelError::NotPositive`] of the
/// number of workers.
pub fn expect(demand: &Demand, workers: u32) -> Result<Expected, ModelError> {
    Expected::of(&demand.served_by(workers)?)
}

/// What the workers do at [`Options::overload_factor`] times the demand.
///
/// # Errors
///
/// The error of the argument at fault.
pub fn overload(demand: &Demand, workers: u32, options: &Options) -> Result<Overload, ModelError> {
    let factor = options.overload_factor;
    let more = demand.times(factor)?;
    match more.served_by(workers) {
        Ok(queue) => Ok(Overload::Stable { factor, expected: Expected::of(&queue)? }),
        Err(ModelError::Unstable { .. }) => {
            let service_per_s = 1.0 / demand.service.mean_s();
            let flow = Saturation::new(more.arrival_per_s, service_per_s, workers)?;
            Ok(Overload::Unstable {
                factor,
                growth_per_s: flow.growth_per_s(),
                full_after_s: flow.time_to_fill_s(options.buffer).unwrap_or(f64::INFINITY),
                loss: flow.loss(),
            })
        }
        Err(error) => Err(error),
    }
}

/// The highest rate of arrivals per second at which the workers meet the target, other things equal and each worker
/// at most [`Options::load_max`] busy.
///
/// # Errors
///
/// [`ModelError::Unattainable`] if even a lone message takes longer; otherwise the error of the argument at fault.
pub fn arrival_for(
    demand: &Demand,
    workers: u32,
    target: Target,
    options: &Options,
) -> Result<f64, ModelError> {
    let (target, options) = (target.checked()?, options.checked()?);
    checked_servers(workers)?;
    attainable(demand, &target)?;
    let most_per_s = options.load_max * f64::from(workers) / demand.service.mean_s();
    let misses = |arrival_per_s: f64| {
        let queue = Demand { arrival_per_s, ..*demand }.served_by(workers);
        let time_s = queue.and_then(|queue| measure(&queue, &target));
        time_s.map_or(true, |time_s| time_s > target.most_s())
    };
    match misses(most_per_s) {
        true => Ok(first_where(RATE_PER_S_MIN, most_per_s, misses).next_down()),
        false => Ok(most_per_s),
    }
}

impl Expected {
    fn of(queue: &Ggc) -> Result<Self, ModelError> {
        let waiting_mean_s = queue.waiting_mean_s();
        let (law, mean, quantiles) = law(queue);
        let waiting_mean_bounds_s = match queue.is_exact() {
            true => [waiting_mean_s; 2],
            false => [queue.waiting_mean_least_s(), queue.waiting_mean_most_s()],
        };
        Ok(Self {
            workers: queue.markov().servers(),
            load: queue.load(),
            waiting_mean_s,
            waiting_mean_bounds_s,
            sojourn_mean_s: queue.sojourn_mean_s(),
            sojourn_p50_s: queue.sojourn_quantile_s(0.5)?,
            sojourn_p99_s: queue.sojourn_quantile_s(0.99)?,
            in_system_mean: queue.in_system_mean(),
            law,
            mean,
            quantiles,
        })
    }
}

fn law(queue: &Ggc) -> (Law, Certainty, Certainty) {
    use Certainty::{Arrivals, Exact, ManyServers, TwoMoments};
    let poisson = queue.arrival_cv2() == 1.0;
    let cv2 = queue.service().cv2();
    match (poisson, queue.markov().servers()) {
        (false, _) => (Law::Ggc, Arrivals, Arrivals),
        (true, 1) if cv2 == 1.0 => (Law::Mm1, Exact, Exact),
        (true, _) if cv2 == 1.0 => (Law::Mmc, Exact, Exact),
        (true, 1) if cv2 == 0.0 => (Law::Md1, Exact, Exact),
        (true, 1) => (Law::Mg1, Exact, TwoMoments),
        (true, _) => (Law::Ggc, ManyServers, ManyServers),
    }
}

/// The time that a target speaks of, in seconds.
fn measure(queue: &Ggc, target: &Target) -> Result<f64, ModelError> {
    match *target {
        Target::SojournMean { .. } => Ok(queue.sojourn_mean_s()),
        Target::SojournQuantile { p, .. } => queue.sojourn_quantile_s(p),
        Target::WaitingMean { .. } => Ok(queue.waiting_mean_s()),
        Target::WaitingQuantile { p, .. } => queue.waiting_quantile_s(p),
    }
}

/// An error if the services alone take as long as the target allows.
fn attainable(demand: &Demand, target: &Target) -> Result<(), ModelError> {
    let service = &demand.service;
    let least = match *target {
        Target::SojournMean { .. } => service.mean_s(),
        Target::SojournQuantile { p, .. } => super::gamma::service_quantile_s(service, p)?,
        Target::WaitingMean { .. } | Target::WaitingQuantile { .. } => return Ok(()),
    };
    let (quantity, asked) = (target.quantity(), target.most_s());
    match least < asked {
        true => Ok(()),
        false => Err(ModelError::Unattainable { quantity, asked, least }),
    }
}

fn binding(demand: &Demand, target: &Target, workers: u32) -> Result<Binding, ModelError> {
    if workers == 1 {
        return Ok(Binding::One);
    }
    match demand.served_by(workers - 1) {
        Ok(fewer) if measure(&fewer, target)? <= target.most_s() => Ok(Binding::Load),
        Ok(_) | Err(ModelError::Unstable { .. }) => Ok(Binding::Target),
        Err(error) => Err(error),
    }
}

/// The least number in the system at which a full queue refuses at most a share `loss`.
///
/// Tijms: loss = (1 - rho) y / (1 - rho y), with y the probability of as many in the queue without limit; exact for
/// M/M/c/K and M/G/1/K. y falls geometrically from c on, by r = 1 / E\[e^(theta S / c)\] a message, and from where the mean
/// number that waits is right: y = Lq (1 - r) / r at c.
fn buffer_for(queue: &Ggc, loss: f64) -> Option<u64> {
    let servers = f64::from(queue.markov().servers());
    let (load, idle) = (queue.load(), queue.idle());
    let fall_ln = queue.depth_fall_ln();
    let allowed = loss / load.mul_add(loss, idle);
    // Lq (1 - r) / r, with ln r = -fall_ln.
    let at_servers = queue.in_queue_mean() * fall_ln.exp_m1();
    let waiting = match at_servers > allowed {
        true => ((at_servers / allowed).ln() / fall_ln).ceil(),
        false => 0.0,
    };
    let messages = servers + waiting;
    (messages <= super::CAPACITY_MAX as f64).then_some(messages as u64)
}
