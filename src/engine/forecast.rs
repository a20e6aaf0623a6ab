//! What theory expects of the running engine, beside what it does: a prediction of the wait, and a signal when the two part.
//!
//! From the [`Estimates`] of the last seconds follows, by Allen and Cunneen's formula, how long a message should wait.
//! If it waits longer, by more than chance and the formula's own error explain, then something is at work that the
//! estimates do not show, and the forecast says so: a [`Drift`].
//!
//! ```text
//!   lambda, 1/mu, ca2, cs2, set-up, hand-off ──> predicted wait ┐
//!                              measured wait, its batches ──────┴─> z = (difference - tolerance) / standard error
//!                              not raised: raise at z >= 4        raised: clear at z <= 1
//! ```
//!
//! # Which queue a message stands in
//!
//! | subscription | servers | load and variability of |
//! | --- | --- | --- |
//! | handlers, as many workers as the pool has | the pool's workers | all subscriptions with handlers together: they share the pool in turns, so this is the mean wait over all of them. One of many that is seldom used is served sooner, since turns go by subscription, and its prediction is high |
//! | handlers, bounded to k workers | k | itself; but where the whole pool predicts more, the pool |
//! | subscribers that pull | its members, handlers' workers included | itself, if each holds one message at a time |
//!
//! Retries load the servers and are counted so; their waits are not compared. A worker's hand-off is the server's time.
//! For c = 1, set-up is Welch's formula; for more, (E\[D\] + lambda E\[D^2\] / 2c) p / (1 - C), p being the share of
//! messages that found their worker asleep and C Erlang's probability of waiting: the same for c = 1, a
//! decomposition that is not proved for more, so a quarter of it counts as error. Set-ups and hand-offs are taken for
//! [`SETUP_S_MAX`] on average if they are more: those are no wake-ups, and are left to be explained. Arrivals more regular than Poisson (ca2 < 1) are corrected as Kraemer and
//! Langenbach-Belz do, or a steady source at low load would be told to wait twice too long.
//!
//! # Validity
//!
//! A steady state within the window, a pool of the size that it has now included. The prediction is `None` for fewer than [`MESSAGES_MIN`] messages, where ca2 is not
//! known, and at a load of 1 and more.
//!
//! # Error
//!
//! Of the difference, *if the model holds*: what a bottleneck adds to the variance must not hide it, so the batches of
//! the measured wait ([`Estimates::waiting_error_s`]) are shown and not used here. The mean wait of n messages of M/M/1 has
//! the relative variance 2 / (n rho (1 - rho)^2) about the law at the rates that these messages had; elsewhere C stands
//! for rho, and (ca2 + cs2) / 2 multiplies. To it come the errors of ca2, of cs2, and of the set-up. [`TOLERANCE`] of the
//! prediction and [`TOLERANCE_S`] are the formula's own error.
//!
//! Measured on 1,008 simulated windows of M/M/c (8 s, 1,000 / s at most; c = 1, 2, 4; rho = 0.3, 0.6, 0.8, 0.9; all
//! parameters estimated; `forecast_simulated` prints it): none was
//! raised, 4 that had been up were kept up, and 41 were apart by 1.96 errors without the tolerance (50 by the normal
//! law). Of 20 queues each with a lock that holds up every tenth message, with bursts, with a handler that became three
//! times as slow, with a closed loop, with an overload: all were found and named.
//!
//! Source: A. O. Allen, "Probability, Statistics and Queueing Theory" (1978); P. D. Welch 1964; W. Kraemer and M.
//! Langenbach-Belz, "Approximate formulae for the delay in the queueing system GI/G/1", ITC 8 (1976); of the variance: N. Blomqvist, "The
//! covariance function of the M/G/1 queuing system" (1967).

use crate::metrics::{Estimates, Recorder, Span, Window};
use crate::model::{Ggc, Mg1, ServiceTime, Setup};
use crate::queue::Source;
use crate::sync::{Arc, Mutex};
use std::collections::HashSet;

/// Fewer messages than this in a window predict nothing; the longer window is used before that.
pub const MESSAGES_MIN: u64 = 200;
/// The short window is enough from this many messages on.
pub(crate) const MESSAGES_SHORT: u64 = 1_000;
/// The longest mean set-up, and hand-off, that is the engine's own, in seconds.
pub const SETUP_S_MAX: f64 = 1e-3;
/// The error that the formula itself may have, as a share of the prediction.
pub const TOLERANCE: f64 = 0.25;
/// And at least this, in seconds: what a scheduler decides.
pub const TOLERANCE_S: f64 = 50e-6;
/// Standard errors beyond the tolerance at which a drift is raised.
pub const RAISE: f64 = 4.0;
/// And those at which it is over.
pub const CLEAR: f64 = 1.0;

/// What is not proved of the set-up's term for several servers, as a share of it.
const SETUP_SHARED_ERROR: f64 = 0.25;
/// A standard error is never less, in seconds: a reading of the clock.
const ERROR_S_MIN: f64 = 100e-9;
/// Below this load, a wait that is too long has no natural cause.
const LOAD_LOW: f64 = 0.5;
/// A service that is so many times as long as before has jumped.
const JUMP: f64 = 1.5;
/// Arrivals that vary so many times as much as Poisson's come in bursts.
const BURST: f64 = 3.0;

/// What probably parted the measurement from the prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriftCause {
    /// As much arrives as can be served, or more: the queue grows.
    Overload,
    /// The handler takes much longer than it did in the older half of the window.
    SlowHandler,
    /// Arrivals come in bursts, or their rate changes over seconds.
    Burst,
    /// Messages wait though the servers are mostly idle: for something that is not the handler, such as a lock, a
    /// processor, or the storage.
    HiddenBottleneck,
    /// Less wait than even perfectly regular arrivals would have: they react on the queue, as when each publish waits
    /// for an answer.
    Paced,
    /// None of these stands out.
    Unknown,
}

/// The measured wait has left the predicted one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Drift {
    /// Why, probably.
    pub cause: DriftCause,
    /// By how many standard errors, beyond the tolerance; infinite for an overload, which has no prediction.
    pub errors: f64,
}

/// What theory expects of a subscription, and what it does. Times in seconds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// The subscription's name.
    pub subscription: String,
    /// Its traffic over the window.
    pub estimates: Estimates,
    /// How many servers the prediction takes it to have.
    pub servers: usize,
    /// The load of each of these servers, everything that they serve included.
    pub load: f64,
    /// Does it share the servers with other subscriptions, so that the prediction is that of all of them?
    pub shares_pool: bool,
    /// The mean wait that follows from the estimates; `None` where there is no steady state, or too little is known.
    pub predicted_waiting_s: Option<f64>,
    /// The mean wait.
    pub measured_waiting_s: f64,
    /// Standard error of the difference of the two; 0 without a prediction.
    pub error_s: f64,
    /// Set while the two are apart.
    pub drift: Option<Drift>,
}

/// A queue as the model sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queueing {
    pub(crate) estimates: Estimates,
    pub(crate) servers: usize,
    /// Do its servers go to sleep, and are its set-ups and hand-offs to be trusted?
    pub(crate) parks: bool,
}

/// A prediction and its standard error, without the measurement's.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Predicted {
    waiting_s: f64,
    error_s: f64,
    /// With perfectly regular arrivals.
    least_s: f64,
    /// The relative standard error of the mean wait of as many messages as the window has.
    sampling: f64,
}

impl Queueing {
    pub(crate) fn load(&self) -> f64 {
        let handoff_s =
            if self.parks { self.estimates.handoff_mean_s.min(SETUP_S_MAX) } else { 0.0 };
        Estimates { handoff_mean_s: handoff_s, ..self.estimates }.load(self.servers)
    }

    /// What arrives at the servers per second, retries included.
    fn turns_per_s(&self) -> f64 {
        let Estimates { messages, others, arrival_per_s, .. } = self.estimates;
        arrival_per_s * (1.0 + others as f64 / messages.max(1) as f64)
    }

    /// The variability of the arrivals at the time scale on which the queue forgets: that of the counts if their cells
    /// are that short and differ from the gaps, else that of the gaps.
    fn ca2(&self) -> Option<f64> {
        let Estimates { ca2, ca2_error, dispersion, dispersion_cell_s, .. } = self.estimates;
        let (ca2, Some(dispersion)) = (ca2?, dispersion) else { return ca2 };
        let forgets_s = self.service_s()
            / self.servers as f64
            / (1.0 - self.load().clamp(0.0, 0.999).sqrt()).powi(2);
        let cells = self.estimates.window_s / dispersion_cell_s;
        let apart = (dispersion - ca2).abs()
            > 3.0 * (dispersion * (3.0 / cells).sqrt()).hypot(ca2 * ca2_error);
        let fine = dispersion_cell_s <= 10.0 * forgets_s;
        Some(if fine && apart { dispersion } else { ca2 })
    }

    /// How long a message holds a server.
    fn service_s(&self) -> f64 {
        self.load() * self.servers as f64 / self.turns_per_s().max(f64::MIN_POSITIVE)
    }

    fn predict(&self) -> Option<Predicted> {
        let Estimates { messages, service_mean_s, cs2, .. } = self.estimates;
        if messages < MESSAGES_MIN {
            return None;
        }
        let ca2 = self.ca2()?;
        let service_s = self.service_s();
        let share = (service_mean_s / service_s).min(1.0);
        let service = ServiceTime::new(service_s, cs2 * share * share).ok()?;
        let servers = u32::try_from(self.servers).ok()?;
        let queue = Ggc::new(self.turns_per_s(), ca2, service, servers).ok()?;
        let regular = Ggc::new(self.turns_per_s(), 0.0, service, servers).ok()?;
        let (queueing_s, least_s) = (corrected_s(&queue), corrected_s(&regular));
        let (setup_s, setup_error_s) = self.setup(&queue);
        let both = (ca2 + service.cv2()).max(f64::MIN_POSITIVE);
        let share = |error: f64| queueing_s * error / both;
        let ca2_error_s = share(ca2 * self.estimates.ca2_error);
        // Of exponential services; the fourth moment of others is not kept.
        let cs2_error_s = share(service.cv2() * (8.0 / messages as f64).sqrt());
        let error_s = ca2_error_s.hypot(cs2_error_s).hypot(setup_error_s);
        let sampling = sampling(&queue, messages);
        Some(Predicted { waiting_s: queueing_s + setup_s, error_s, least_s, sampling })
    }

    /// What waking adds to the wait, and its error.
    fn setup(&self, queue: &Ggc) -> (f64, f64) {
        let Estimates { messages, setups, setup_mean_s, setup_square_mean_s2, .. } = self.estimates;
        if !self.parks || setups == 0 || setup_mean_s <= 0.0 {
            return (0.0, 0.0);
        }
        let plausible = (SETUP_S_MAX / setup_mean_s).min(1.0);
        let mean_s = setup_mean_s * plausible;
        let square_s2 = (setup_square_mean_s2 * plausible * plausible).max(mean_s * mean_s);
        let deviation_s = (square_s2 - mean_s * mean_s).max(0.0).sqrt();
        let sampling_s = deviation_s / (setups as f64).sqrt();
        if self.servers == 1 {
            let alone = Mg1::new(queue.throughput_per_s(), queue.service());
            let added = alone.and_then(|alone| Setup::new(alone, mean_s, square_s2));
            return added.map_or((0.0, 0.0), |setup| (setup.added_mean_s(), sampling_s));
        }
        let arrival_per_s = queue.throughput_per_s();
        let found_idle = setups as f64 / messages.max(1) as f64;
        let delay_s = mean_s + arrival_per_s * square_s2 / (2.0 * self.servers as f64);
        let added_s =
            (delay_s * found_idle / (1.0 - queue.markov().waiting_probability())).min(delay_s);
        (added_s, sampling_s.hypot(added_s * SETUP_SHARED_ERROR))
    }
}

/// Allen and Cunneen's wait, with the correction for arrivals that are more regular than Poisson's.
fn corrected_s(queue: &Ggc) -> f64 {
    let (ca2, cs2, load) = (queue.arrival_cv2(), queue.service().cv2(), queue.load());
    let regular = (1.0 - ca2).max(0.0);
    if regular == 0.0 {
        return queue.waiting_mean_s();
    }
    let exponent = 2.0 * (1.0 - load) * regular * regular / (3.0 * load * (ca2 + cs2));
    queue.waiting_mean_s() * (-exponent).exp()
}

/// The relative standard error of the mean wait of `messages`, which depend on each other, about the law at the rates that
/// they had: 2 v / (n C (1 - rho)^2). Of M/M/1 (v = 1, C = rho) that is the asymptotic variance at realized rates.
fn sampling(queue: &Ggc, messages: u64) -> f64 {
    let idle = queue.markov().idle();
    let waits = queue.markov().waiting_probability().max(f64::MIN_POSITIVE);
    (2.0 / waits * queue.variability() / messages as f64).sqrt() / idle
}

/// What one subscription is judged by.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) subscription: String,
    /// Its own traffic, and the servers that it may have.
    pub(crate) own: Queueing,
    /// That of the pool, if it is one of several there, or is bounded to fewer workers.
    pub(crate) pool: Option<Queueing>,
    /// May it have all of the pool?
    pub(crate) unbounded: bool,
}

impl Subject {
    /// The forecast; `raised` says whether there was a drift the last time.
    pub(crate) fn forecast(self, raised: bool) -> Forecast {
        let (queueing, shares_pool) = self.binding();
        let estimates = self.own.estimates;
        let measured_s = estimates.waiting_mean_s;
        let predicted = queueing.predict();
        let error_s = predicted.map_or(0.0, |predicted| error_s(&estimates, &predicted));
        let drift = match predicted {
            Some(predicted) => drift(&queueing, measured_s, &predicted, error_s, raised),
            None => overload(&queueing, raised),
        };
        Forecast {
            subscription: self.subscription,
            estimates,
            servers: queueing.servers,
            load: queueing.load(),
            shares_pool,
            predicted_waiting_s: predicted.map(|predicted| predicted.waiting_s),
            measured_waiting_s: measured_s,
            error_s,
            drift,
        }
    }

    /// The queue that it waits in: the pool's, or its own if it is bounded and that is the longer one. Is it the pool's?
    fn binding(&self) -> (Queueing, bool) {
        let Some(pool) = self.pool else { return (self.own, false) };
        if self.unbounded {
            return (pool, true);
        }
        let waiting_s = |queueing: &Queueing| {
            queueing.predict().map_or(f64::INFINITY, |predicted| predicted.waiting_s)
        };
        let own = waiting_s(&pool) <= waiting_s(&self.own);
        if own { (self.own, false) } else { (pool, true) }
    }
}

/// Standard error of measured less predicted, if the model holds.
fn error_s(estimates: &Estimates, predicted: &Predicted) -> f64 {
    let theory_s = predicted.waiting_s * predicted.sampling;
    // One of many in a pool may have few messages of its own.
    let alone_s = predicted.waiting_s / (estimates.messages.max(1) as f64).sqrt();
    theory_s.max(alone_s).hypot(predicted.error_s).max(ERROR_S_MIN)
}

/// Have the two parted?
fn drift(
    queueing: &Queueing,
    measured_s: f64,
    predicted: &Predicted,
    error_s: f64,
    raised: bool,
) -> Option<Drift> {
    let bound = if raised { CLEAR } else { RAISE };
    let tolerance_s = |of_s: f64| TOLERANCE * of_s + TOLERANCE_S;
    let above_s = measured_s - predicted.waiting_s - tolerance_s(predicted.waiting_s);
    let below_s = predicted.least_s - measured_s - tolerance_s(predicted.least_s);
    let least_share = (predicted.least_s / predicted.waiting_s.max(f64::MIN_POSITIVE)).min(1.0);
    let above = above_s / error_s;
    let below = below_s / (error_s * least_share).max(ERROR_S_MIN);
    let (errors, paced) = if above < below { (below, true) } else { (above, false) };
    (bound <= errors).then(|| {
        let cause = if paced { DriftCause::Paced } else { cause(queueing) };
        Drift { cause, errors }
    })
}

/// Does more arrive than can be served, beyond the error of both rates?
fn overload(queueing: &Queueing, raised: bool) -> Option<Drift> {
    let Estimates { messages, ca2, cs2, .. } = queueing.estimates;
    if messages < MESSAGES_MIN {
        return None;
    }
    let error = ((ca2.unwrap_or(1.0) + cs2) / messages as f64).sqrt();
    let beyond = if raised { 0.0 } else { 3.0 * error };
    (1.0 + beyond < queueing.load()).then(|| {
        let cause = match cause(queueing) {
            DriftCause::SlowHandler => DriftCause::SlowHandler,
            _ => DriftCause::Overload,
        };
        Drift { cause, errors: f64::INFINITY }
    })
}

/// What stands out in traffic that waits too long.
fn cause(queueing: &Queueing) -> DriftCause {
    let estimates = &queueing.estimates;
    let Estimates { service_change, service_change_error, .. } = *estimates;
    let ca2 = queueing.ca2().unwrap_or(1.0);
    let slow = estimates.dispersion_slow.unwrap_or(0.0);
    let jumped = JUMP <= service_change && 4.0 * service_change_error < service_change - 1.0;
    let bursts = BURST <= ca2 || BURST * ca2.max(1.0) <= slow;
    match (jumped, bursts, queueing.load() < LOAD_LOW) {
        (true, _, _) => DriftCause::SlowHandler,
        (_, true, _) => DriftCause::Burst,
        (_, _, true) => DriftCause::HiddenBottleneck,
        _ => DriftCause::Unknown,
    }
}

/// A subscription as the dispatcher has it.
pub(crate) struct Seats {
    pub(crate) source: Arc<dyn Source>,
    /// How many workers its handlers may hold; 0 without handlers.
    pub(crate) workers: usize,
    /// How many subscribers pull from it.
    pub(crate) pullers: usize,
}

/// Makes forecasts, and remembers which drifts are raised.
#[derive(Debug, Default)]
pub(crate) struct Forecaster {
    raised: Mutex<HashSet<u64>>,
}

impl Forecaster {
    /// A forecast for each subscription with traffic in the longer window; `workers` is how many the pool has.
    pub(crate) fn forecasts(
        &self,
        recorder: &Recorder,
        seats: &[Seats],
        workers: usize,
        now_ns: u64,
    ) -> Vec<Forecast> {
        let windows = |span| -> Vec<Option<Window>> {
            let window = |each: &Seats| recorder.window(each.source.flow(), span, now_ns);
            seats.iter().map(window).collect()
        };
        let both = [windows(Span::Short), windows(Span::Long)];
        let pools = both.each_ref().map(|windows| Pool::of(windows, seats, workers));
        let mut raised = self.raised.lock();
        let mut still = HashSet::new();
        let mut forecasts = Vec::new();
        for (at, each) in seats.iter().enumerate() {
            let [Some(short), Some(long)] = both.each_ref().map(|windows| windows[at].as_ref())
            else {
                continue;
            };
            let (window, pool) = match span_for(short.messages()) {
                Span::Short => (short, &pools[0]),
                Span::Long => (long, &pools[1]),
            };
            if window.messages() == 0 {
                continue;
            }
            let number = each.source.flow().number();
            let subject = pool.subject(each, window.estimates(), workers);
            let forecast = subject.forecast(raised.contains(&number));
            if forecast.drift.is_some() {
                still.insert(number);
            }
            forecasts.push(forecast);
        }
        *raised = still;
        forecasts
    }
}

/// The traffic of all handlers together.
struct Pool {
    queueing: Option<Queueing>,
    /// How many subscriptions it is made of.
    subscriptions: usize,
}

impl Pool {
    fn of(windows: &[Option<Window>], seats: &[Seats], workers: usize) -> Self {
        let handled = windows.iter().zip(seats).filter(|(_, each)| 0 < each.workers);
        let busy = handled
            .filter_map(|(window, _)| window.as_ref())
            .filter(|window| 0 < window.messages());
        let (mut all, mut subscriptions) = (None::<Window>, 0);
        for window in busy {
            subscriptions += 1;
            match &mut all {
                Some(all) => all.join(window),
                none => *none = Some(window.clone()),
            }
        }
        let queueing = all.map(|window| Queueing {
            estimates: window.estimates(),
            servers: workers,
            parks: true,
        });
        Self { queueing, subscriptions }
    }

    fn subject(&self, seats: &Seats, estimates: Estimates, workers: usize) -> Subject {
        let unbounded = workers <= seats.workers && seats.pullers == 0;
        let servers = (seats.workers.min(workers) + seats.pullers).max(1);
        let own = Queueing { estimates, servers, parks: unbounded };
        let shared =
            0 < seats.workers && seats.pullers == 0 && !(unbounded && self.subscriptions < 2);
        let pool = self.queueing.filter(|_| shared);
        Subject { subscription: seats.source.name().to_owned(), own, pool, unbounded }
    }
}

/// How far to look back at traffic with so many messages in the short window.
pub(crate) fn span_for(messages: u64) -> Span {
    if messages < MESSAGES_SHORT { Span::Long } else { Span::Short }
}
