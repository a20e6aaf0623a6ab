//! Exact queues, simulated: what a perfect system would have stamped. For the tests of whoever judges.
//!
//! No clock and no thread: gaps and services are drawn, and the recursions of `path` serve them to the nanosecond. Every
//! kind of [`Parameters`] can be asked for but the tandem, which has [`simulate_tandem`]. With priorities the class of each
//! message is drawn, all alike likely; with set-up the server needs an exponential time of [`WAKE_OF_SERVICE`] of
//! the mean service to wake from rest.

use super::draw::{Chance, Plan, ServiceLaw, VariabilityError};
use super::event::{Event, Served};
use super::experiment::{Kind, MESSAGES_MAX};
use super::parameters::{Parameters, ParametersError};
use super::path::{Demand, departures, departures_by_class, departures_within};

/// Mean time to wake of a simulated server with set-up, in mean services.
pub const WAKE_OF_SERVICE: f64 = 0.25;

/// What cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// No run can be asked this.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// No such services are drawn.
    #[error(transparent)]
    Variability(#[from] VariabilityError),
    /// Too many.
    #[error("{messages} messages; at most {MESSAGES_MAX}")]
    TooMany {
        /// What was asked for.
        messages: usize,
    },
    /// A tandem where one queue was asked for, or the reverse.
    #[error("{kind:?}: a tandem is simulated by its own function, and nothing else is")]
    Stages {
        /// What was asked for.
        kind: Kind,
    },
}

/// What a perfect queue of these parameters would have stamped.
///
/// # Errors
///
/// [`SimulateError`].
pub fn simulate(parameters: &Parameters, messages: usize) -> Result<Vec<Event>, SimulateError> {
    if parameters.kind == Kind::Tandem {
        return Err(SimulateError::Stages { kind: parameters.kind });
    }
    let plan = plan(parameters, messages)?;
    let (intended, drawn) = (plan.intended_ns(), plan.services_ns(0));
    let mut chance = Chance::new(parameters.seed.rotate_left(17) ^ 0x5EED);
    let demands: Vec<Demand> = intended
        .iter()
        .zip(&drawn)
        .map(|(at_ns, service_ns)| Demand { at_ns: *at_ns, service_ns: *service_ns })
        .collect();
    let classes: Option<Vec<u8>> = (parameters.kind == Kind::Priority).then(|| {
        let count = parameters.classes.len() as u64;
        demands.iter().map(|_| (chance.bits() % count) as u8).collect()
    });
    let ends: Vec<Option<u64>> = match (&classes, parameters.kind, parameters.capacity) {
        (Some(classes), _, _) => {
            let all: Vec<_> = demands.iter().copied().zip(classes.iter().copied()).collect();
            departures_by_class(&all).into_iter().map(Some).collect()
        }
        (None, Kind::Setup, _) => woken(&demands, &mut chance, 1e9 / parameters.mu),
        (None, _, Some(capacity)) => {
            departures_within(demands.iter().copied(), parameters.servers, capacity)
        }
        (None, _, None) => {
            departures(demands.iter().copied(), parameters.servers).into_iter().map(Some).collect()
        }
    };
    Ok(rows(&demands, &ends, classes.as_deref()))
}

/// What two perfect queues in a row would have stamped, one after the other; `mu` is the first's, `next_mu` the second's.
///
/// # Errors
///
/// [`SimulateError`].
pub fn simulate_tandem(
    parameters: &Parameters,
    next_mu: f64,
    messages: usize,
) -> Result<[Vec<Event>; 2], SimulateError> {
    if parameters.kind != Kind::Tandem {
        return Err(SimulateError::Stages { kind: parameters.kind });
    }
    let first = plan(parameters, messages)?;
    let next = plan(&Parameters { mu: next_mu, ..parameters.clone() }, messages)?;
    let stage = |arrivals: Vec<u64>, services: Vec<u64>| {
        let both = arrivals.into_iter().zip(services);
        let demands: Vec<Demand> =
            both.map(|(at_ns, service_ns)| Demand { at_ns, service_ns }).collect();
        let ends = departures(demands.iter().copied(), 1);
        let some: Vec<Option<u64>> = ends.iter().copied().map(Some).collect();
        (rows(&demands, &some, None), ends)
    };
    let (events, ends) = stage(first.intended_ns(), first.services_ns(0));
    let (next_events, _) = stage(ends, next.services_ns(1));
    Ok([events, next_events])
}

fn plan(parameters: &Parameters, messages: usize) -> Result<Plan, SimulateError> {
    parameters.check()?;
    if messages as u64 > MESSAGES_MAX {
        return Err(SimulateError::TooMany { messages });
    }
    Ok(Plan {
        arrival_per_s: parameters.lambda,
        service_per_s: parameters.mu,
        service: ServiceLaw::new(parameters.service, parameters.cs2.unwrap_or(1.0))?,
        messages,
        seed: parameters.seed,
    })
}

/// One server that must wake from rest.
fn woken(demands: &[Demand], chance: &mut Chance, service_mean_ns: f64) -> Vec<Option<u64>> {
    let mut free_ns = 0;
    let mut serve = |demand: &Demand| {
        let rest = demand.at_ns >= free_ns;
        let wake_ns = (chance.exponential() * WAKE_OF_SERVICE * service_mean_ns) as u64;
        let start_ns = if rest { demand.at_ns + wake_ns } else { free_ns };
        free_ns = start_ns + demand.service_ns;
        Some(free_ns)
    };
    demands.iter().map(&mut serve).collect()
}

fn rows(demands: &[Demand], ends: &[Option<u64>], classes: Option<&[u8]>) -> Vec<Event> {
    let row = |(at, (demand, end_ns)): (usize, (&Demand, &Option<u64>))| Event {
        intended_ns: demand.at_ns,
        arrival_ns: demand.at_ns,
        served: end_ns.map(|end_ns| Served { start_ns: end_ns - demand.service_ns, end_ns }),
        drawn_ns: Some(demand.service_ns),
        class: classes.map(|classes| classes[at]),
    };
    demands.iter().zip(ends).enumerate().map(row).collect()
}
