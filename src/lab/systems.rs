//! What can stand between source and server, each brought under one source and one way to serve.
//!
//! | `on` | source calls | servers that spin | servers that park or sleep |
//! |---|---|---|---|
//! | `ring`, `channel` | `try_send` | threads of the laboratory with `try_recv` | the same with `recv` |
//! | `memory`, `persistent` | `Engine::publish` | threads of the laboratory, each a member with `Subscriber::try_recv` | a handler on the engine's workers |
//! | a tandem on them | `Engine::publish` | | two handlers; the first one's service ends with the read of the clock at which it publishes to the second |
//!
//! ```text
//!  caller   make all | start threads ... | sleeps, tells how far it is ...... | close | wait, join | collect
//!  source                  | footing | warm-up | begin | offer ............... |
//!  servers                 | footing | warm-up         | serve ...................... |
//! ```
//!
//! The warm-up is of the path, not of the statistics: messages that no schedule knows go through the queue until every thread
//! has had one, a ring has been filled once all around, and an engine has settled them all.
//!
//! # Orderings
//!
//! All are \[relaxed\]: counts and flags that say nothing of other memory. Stamps are handed over by joins and locks.
//!
//! # Limits
//!
//! A server that sleeps on a ring ends when the sender is gone. If the ring lost its wake-up it would sleep for ever, and the
//! run with it. The waits for the way to be warm and for the queue to be empty have their deadlines.

mod ends;
mod workers;

use super::experiment::{Experiment, Kind, On, Wait};
use super::host::{Roll, monotonic_ns};
use super::load::{Course, Draws, End, Server, Source, serve_parking, serve_spinning};
use super::run::{PROGRESS_EVERY, Progress, RunError};
use crate::engine::{Config, Engine, Subscriber};
use crate::error::{PublishError, QueueError};
use crate::message::Message;
use crate::metrics::Snapshot;
use crate::queue::Subscription;
use crate::ring::{WaitStrategy, bounded_with};
use crate::sync::{Arc, AtomicBool, AtomicU64, LazyLock, Ordering, thread};
use crossbeam_utils::CachePadded;
use ends::{Outlet, PAYLOADS, message, publish};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where messages go: of a tandem, to its first stage.
const TOPIC: &str = "lab.load";
/// Of the warm-up, beyond what a ring holds.
const WARM_UP_RING: u64 = 1_024;
/// Of the warm-up, one after the other, through an engine: few, since its recorder counts them too.
const WARM_UP_ENGINE: u64 = 256;
/// How long the warm-up may take.
const WARM_UP_MAX: Duration = Duration::from_secs(20);
/// How long the queue may take to be empty, beyond what its messages take to be served.
const DRAIN_SPARE: Duration = Duration::from_secs(60);
/// How often the caller looks whether it is.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(10);

/// All that a run is made of, before its threads start.
pub(super) struct Setting<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) course: Arc<Course>,
    /// One for each stage.
    pub(super) draws: Vec<Arc<Draws>>,
    pub(super) source: Source,
    /// One for each thread that may serve, for each stage.
    pub(super) servers: Vec<Vec<Server>>,
    pub(super) roll: Arc<Roll>,
}

/// What the run's threads leave.
pub(super) struct Outcome {
    pub(super) source: Source,
    /// For each stage.
    pub(super) servers: Vec<Vec<Server>>,
    pub(super) recorded: Option<Snapshot>,
    /// How long was waited for the queue to be empty, if that was too long.
    pub(super) left_after: Option<Duration>,
}

/// How many threads may serve at each stage.
pub(super) fn servers_of(experiment: &Experiment) -> Vec<usize> {
    match experiment.kind {
        // Either worker may serve either stage, one at a time.
        Kind::Tandem => vec![2, 2],
        _ => vec![experiment.servers as usize],
    }
}

/// Runs it. `folder` is where the persistent kind lies.
pub(super) fn conduct(
    setting: Setting<'_>,
    folder: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let (on, wait) = (setting.experiment.on, setting.experiment.wait);
    let capacity = setting.experiment.queue_capacity() as usize;
    match (on, wait) {
        (On::Ring, _) => {
            let strategy = if wait == Wait::Spin { WaitStrategy::Spin } else { WaitStrategy::Park };
            let (sender, receiver) = bounded_with(capacity, strategy);
            through_channel(setting, sender, receiver, progress)
        }
        (On::Channel, _) => {
            let (sender, receiver) = crossbeam_channel::bounded(capacity);
            through_channel(setting, sender, receiver, progress)
        }
        (On::Memory | On::Persistent, Wait::Spin) => pulled(setting, folder, progress),
        (On::Memory | On::Persistent, _) => workers::handled(setting, folder, progress),
    }
}

/// Why a message was not taken, other than for want of room.
enum Refusal {
    Gone,
    Publish(PublishError<Message>),
}

impl Refusal {
    fn of(self, id: Option<u64>) -> RunError {
        match (self, id) {
            (Self::Gone, _) => RunError::ServersGone,
            (Self::Publish(source), Some(id)) => RunError::Publish { id, source },
            (Self::Publish(source), None) => RunError::WarmUpPublish { source },
        }
    }
}

/// What came through the queue before the run, and who waits for it.
#[derive(Default)]
struct WarmUp {
    taken: Arc<CachePadded<AtomicU64>>,
}

impl WarmUp {
    /// Sends messages through, `at_once` and then `singly`, and waits until all have arrived.
    fn run(
        &self,
        at_once: u64,
        singly: u64,
        offer: impl Fn() -> Result<bool, Refusal>,
    ) -> Result<(), RunError> {
        let until = Instant::now() + WARM_UP_MAX;
        let taken = || self.taken.load(Ordering::Relaxed); // [relaxed]
        for sent in 1..=at_once + singly {
            while !offer().map_err(|refusal| refusal.of(None))? {
                patience(until).map_err(|waited| waited.after(sent - 1, taken()))?;
            }
            while sent >= at_once && taken() < sent {
                patience(until).map_err(|waited| waited.after(sent, taken()))?;
            }
        }
        Ok(())
    }
}

/// It took too long.
struct Impatient;

impl Impatient {
    fn after(self, sent: u64, taken: u64) -> RunError {
        RunError::WarmUp { sent, taken, waited: WARM_UP_MAX }
    }
}

/// Lets others run, until it takes too long.
fn patience(until: Instant) -> Result<(), Impatient> {
    thread::yield_now();
    if Instant::now() < until { Ok(()) } else { Err(Impatient) }
}

/// Wakes the caller when a thread ends, in whatever way.
struct Bell<'a> {
    over: &'a AtomicBool,
    caller: &'a thread::Thread,
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed); // [relaxed]
        self.caller.unpark();
    }
}

/// Runs the source on a thread of its own, and tells how far it is. `warm` opens the way; then the schedule begins.
fn run_source<M: Send>(
    setting: &Setting<'_>,
    mut source: Source,
    warm: impl FnOnce() -> Result<(), RunError> + Send,
    prepare: impl Fn(u64) -> M + Send,
    offer: impl Fn(M) -> Result<bool, Refusal> + Send,
    progress: &mut dyn FnMut(Progress),
) -> Result<Source, RunError> {
    let (course, roll) = (&*setting.course, &*setting.roll);
    let (over, caller) = (AtomicBool::new(false), thread::current());
    thread::scope(|scope| {
        let bell = Bell { over: &over, caller: &caller };
        let body = move || {
            let _bell = bell;
            roll.enter_source();
            warm()?;
            roll.begin();
            let offered = source.offer(course, prepare, offer);
            roll.leave();
            offered.map(|()| source).map_err(|(id, refusal)| refusal.of(Some(id)))
        };
        let named = thread::Builder::new().name("lab-source".to_owned());
        let handle = named.spawn_scoped(scope, body).map_err(not_started)?;
        let is_over = || over.load(Ordering::Relaxed); // [relaxed]
        while !is_over() {
            thread::park_timeout(PROGRESS_EVERY);
            if let Some(began_ns) = course.began_ns() {
                progress(how_far(setting.experiment, course, began_ns));
            }
        }
        handle.join().map_err(|_| RunError::Panicked { role: "source" })?
    })
}

fn how_far(experiment: &Experiment, course: &Course, began_ns: u64) -> Progress {
    let elapsed = Duration::from_nanos(monotonic_ns().saturating_sub(began_ns));
    Progress {
        offered: course.offered(),
        messages: experiment.messages,
        elapsed,
        remaining: experiment.expected_duration().saturating_sub(elapsed),
    }
}

fn not_started(error: std::io::Error) -> RunError {
    RunError::Thread { source: Arc::new(error) }
}

/// How long the queue may take to be empty after the last arrival.
fn drain_max(experiment: &Experiment) -> Duration {
    let held = experiment.queue_capacity().min(experiment.messages) as f64;
    let service_s = held / (experiment.service_per_s() * f64::from(experiment.servers));
    // Twice: services are drawn, not all alike, and a machine may be slow.
    Duration::try_from_secs_f64(2.0 * service_s)
        .unwrap_or(Duration::MAX)
        .saturating_add(DRAIN_SPARE)
}

type Served = Result<Server, QueueError>;

/// A server of the laboratory's own on its end of a queue.
fn serve<E: End<Error = QueueError>>(
    setting: &Setting<'_>,
    number: usize,
    mut server: Server,
    end: E,
    taken: &AtomicU64,
) -> Served {
    let (course, draws) = (&*setting.course, &setting.draws[0]);
    setting.roll.enter_server(number);
    let served = match setting.experiment.wait {
        Wait::Spin => serve_spinning(course, draws, &mut server, end, taken),
        Wait::Park | Wait::Sleep => serve_parking(course, draws, &mut server, end, taken),
    };
    setting.roll.leave();
    served.map(|()| server)
}

/// Waits until the servers have ended, or tells them to go. How long, if it was too long.
fn await_servers(
    setting: &Setting<'_>,
    handles: &[thread::ScopedJoinHandle<'_, Served>],
) -> Option<Duration> {
    let waited = drain_max(setting.experiment);
    let until = Instant::now().checked_add(waited);
    while !handles.iter().all(|handle| handle.is_finished()) {
        if until.is_some_and(|until| until <= Instant::now()) {
            setting.course.abandon();
            return Some(waited);
        }
        thread::park_timeout(DRAIN_LOOK_EVERY);
    }
    None
}

fn join_servers(
    handles: Vec<thread::ScopedJoinHandle<'_, Served>>,
) -> Result<Vec<Server>, RunError> {
    let join = |handle: thread::ScopedJoinHandle<'_, Served>| {
        let served = handle.join().map_err(|_| RunError::Panicked { role: "server" })?;
        let what = "a message could not be taken or settled";
        served.map_err(|source| RunError::Queue { what, source })
    };
    handles.into_iter().map(join).collect()
}

/// Through a bare ring, or a channel of crossbeam's.
fn through_channel<S, R>(
    mut setting: Setting<'_>,
    sender: S,
    receiver: R,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError>
where
    S: Outlet,
    R: End<Taken = u64, Error = QueueError> + Clone + Send,
{
    let (source, servers) = take_memory(&mut setting)?;
    let (setting, warm_up) = (&setting, WarmUp::default());
    let at_once = setting.experiment.queue_capacity() + WARM_UP_RING;
    thread::scope(|scope| {
        // Owned here: whatever goes wrong, the sender goes, and with it the servers.
        let sender = sender;
        let mut handles = Vec::new();
        for (number, server) in servers.into_iter().enumerate() {
            let (receiver, taken) = (receiver.clone(), &**warm_up.taken);
            let body = move || serve(setting, number, server, receiver, taken);
            let named = thread::Builder::new().name(format!("lab-server-{number}"));
            handles.push(named.spawn_scoped(scope, body).map_err(not_started)?);
        }
        drop(receiver);
        let (warming, offering) = (sender.clone(), sender.clone());
        drop(sender);
        let warm_up = &warm_up;
        let warm = move || warm_up.run(at_once, 0, || warming.offer(u64::MAX));
        let offer = move |id| offering.offer(id);
        let source = run_source(setting, source, warm, |id| id, offer, progress)?;
        let left_after = await_servers(setting, &handles);
        let servers = vec![join_servers(handles)?];
        Ok(Outcome { source, servers, recorded: None, left_after })
    })
}

/// The memory of the source, and of the servers of the only stage.
fn take_memory(setting: &mut Setting<'_>) -> Result<(Source, Vec<Server>), RunError> {
    let messages = setting.experiment.messages;
    let servers = setting.servers.pop().ok_or(RunError::Memory { messages })?;
    let empty = Source::new(&Course::new(Vec::new(), false));
    let empty = empty.map_err(|_| RunError::Memory { messages })?;
    Ok((std::mem::replace(&mut setting.source, empty), servers))
}

fn open(
    experiment: &Experiment,
    workers: usize,
    folder: Option<&Path>,
) -> Result<Engine, RunError> {
    let config = match folder {
        None => Config::memory().buffer(experiment.queue_capacity() as usize),
        Some(folder) => match experiment.capacity {
            None => Config::persistent(folder),
            Some(capacity) => Config::persistent(folder).max_size(capacity),
        },
    };
    LazyLock::force(&PAYLOADS);
    Ok(config.workers(workers).open()?)
}

/// Waits until the engine has settled what came before the run.
fn await_settled(engine: &Engine) -> Result<(), RunError> {
    let until = Instant::now() + WARM_UP_MAX;
    loop {
        let left = engine.stats().queue_size();
        if left == 0 {
            return Ok(());
        }
        patience(until).map_err(|waited| waited.after(left, 0))?;
    }
}

/// Waits until the engine is empty, while it still takes what the first stage of a tandem publishes to the second.
fn await_empty(engine: &Engine, deadline: Duration) {
    let until = Instant::now().checked_add(deadline);
    while engine.stats().queue_size() > 0 && until.is_none_or(|until| Instant::now() < until) {
        thread::park_timeout(DRAIN_LOOK_EVERY);
    }
}

/// Through an engine, whose members spin on threads of the laboratory.
fn pulled(
    mut setting: Setting<'_>,
    folder: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let (source, servers) = take_memory(&mut setting)?;
    let (setting, warm_up) = (&setting, WarmUp::default());
    let engine = open(setting.experiment, 1, folder)?;
    let member = |_: &Server| {
        let what = "the queue could not be subscribed to";
        let subscription = Subscription::new(TOPIC).name("lab");
        engine.subscriber(subscription).map_err(|source| RunError::Queue { what, source })
    };
    let members: Vec<Subscriber> = servers.iter().map(member).collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        let mut handles = Vec::new();
        let closing = Closing { engine: &engine, course: &setting.course };
        for (number, (server, member)) in servers.into_iter().zip(members).enumerate() {
            let taken = &**warm_up.taken;
            let body = move || serve(setting, number, server, member, taken);
            let named = thread::Builder::new().name(format!("lab-server-{number}"));
            handles.push(named.spawn_scoped(scope, body).map_err(not_started)?);
        }
        let source = run_engine_source(setting, source, &warm_up, &engine, progress)?;
        let left_after = closing.close(drain_max(setting.experiment))?;
        let recorded = Some(engine.stats().snapshot);
        let servers = vec![join_servers(handles)?];
        Ok(Outcome { source, servers, recorded, left_after })
    })
}

fn run_engine_source(
    setting: &Setting<'_>,
    source: Source,
    warm_up: &WarmUp,
    engine: &Engine,
    progress: &mut dyn FnMut(Progress),
) -> Result<Source, RunError> {
    let workers = setting.experiment.servers.into();
    let warm = || {
        let offer = || publish(engine, TOPIC, message(u64::MAX));
        warm_up.run(workers, WARM_UP_ENGINE, offer)?;
        await_settled(engine)
    };
    let offer = |message| publish(engine, TOPIC, message);
    run_source(setting, source, warm, message, offer, progress)
}

/// Closes the engine whatever happens, so that servers on it end.
struct Closing<'a> {
    engine: &'a Engine,
    course: &'a Course,
}

impl Closing<'_> {
    /// Closes it in order. How long was waited, if it did not drain.
    fn close(self, deadline: Duration) -> Result<Option<Duration>, RunError> {
        let report = self
            .engine
            .close(deadline)
            .map_err(|source| RunError::Queue { what: "the engine could not be closed", source })?;
        Ok((!report.is_drained()).then_some(deadline))
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.course.abandon();
        // Closed before, or the run has failed and says why.
        let _ = self.engine.close(Duration::ZERO);
    }
}
