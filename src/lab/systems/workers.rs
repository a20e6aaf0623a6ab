//! Servers that are handlers on an engine's workers.
//!
//! Each worker takes a seat, and with it a footing, before the run: it is given a message that it holds until all have one.
//! What it notes of its services is its own, behind a lock that nobody else wants while the run lasts.
//!
//! A tandem is two handlers on one engine, each with one worker at a time; the first publishes to the second when its
//! service is over, and the read of the clock that ended the service is the arrival there.
//!
//! # Orderings
//!
//! \[relaxed\]: seats are numbers, and what a worker notes is handed over by its lock.

use super::ends::{message, publish, ticket};
use super::{
    Closing, Outcome, Refusal, Setting, TOPIC, WarmUp, await_empty, await_settled, drain_max, open,
    run_engine_source, take_memory,
};
use crate::engine::Engine;
use crate::lab::host::{Roll, monotonic_ns};
use crate::lab::load::{Course, Draws, Server, note_taken};
use crate::lab::run::{Progress, RunError};
use crate::message::Message;
use crate::queue::{Delivery, Subscription};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, per_thread, thread};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::path::Path;

/// The second stage of a tandem.
const TOPIC_SECOND: &str = "lab.onward";
/// Where all workers meet before the run.
const TOPIC_GATHER: &str = "lab.gather";
/// How long a worker waits in the warm-up until the others are there too.
const GATHER_NS_MAX: u64 = 100_000_000;

per_thread! {
    /// Which of its engine's workers this thread is; none for a start. An engine's workers end with it.
    static SEAT: Cell<usize> = Cell::new(usize::MAX);
}

/// The workers of an engine that serve a run, by number.
struct Seats {
    roll: Arc<Roll>,
    count: usize,
    taken: AtomicUsize,
}

impl Seats {
    /// The calling worker's number.
    #[inline]
    fn mine(&self) -> usize {
        let seat = SEAT.get();
        if seat < self.count { seat } else { self.take() }
    }

    /// The first message of a worker: it takes its footing, and waits for the others, so that each has its own before the
    /// run. One that comes later shares a seat.
    #[cold]
    fn take(&self) -> usize {
        let number = self.taken.fetch_add(1, Ordering::Relaxed); // [relaxed]
        let seat = number % self.count;
        SEAT.set(seat);
        if number < self.count {
            self.roll.enter_server(seat);
        }
        let until_ns = monotonic_ns() + GATHER_NS_MAX;
        let are_here = || self.taken.load(Ordering::Relaxed) >= self.count; // [relaxed]
        while !are_here() && monotonic_ns() < until_ns {
            thread::yield_now();
        }
        seat
    }
}

/// The servers of one stage, as a handler reaches them: each worker locks its own, which nobody else wants.
struct Desk {
    course: Arc<Course>,
    draws: Arc<Draws>,
    servers: Vec<CachePadded<Mutex<Option<Server>>>>,
    taken: Arc<CachePadded<AtomicU64>>,
}

impl Desk {
    /// Serves a message that a worker has taken. Its id; none when the run is over.
    #[inline]
    fn serve(&self, seat: usize, ticket: u64, start_ns: u64) -> Option<u64> {
        let mut mine = self.servers[seat].lock();
        let server = mine.as_mut()?;
        let id = server.whole_id(ticket);
        server.serve(&self.course, &self.draws, id, start_ns);
        drop(mine);
        note_taken(&self.course, &self.taken);
        Some(id)
    }

    /// The servers, when the run is over.
    fn clear(&self) -> Vec<Server> {
        self.servers.iter().filter_map(|desk| desk.lock().take()).collect()
    }
}

/// The way from the first stage of a tandem to the second.
#[derive(Default)]
struct Onward {
    /// Taken out at the end: the handler would keep its own engine for ever.
    engine: Mutex<Option<Engine>>,
    failed: Mutex<Option<(u64, Refusal)>>,
}

impl Onward {
    #[inline]
    fn send(&self, id: u64, message: Message) {
        let engine = self.engine.lock();
        let Some(engine) = &*engine else { return };
        // One that finds no room is missed at the end of the run, by its id.
        if let Err(refusal) = publish(engine, TOPIC_SECOND, message) {
            self.failed.lock().get_or_insert((id, refusal));
        }
    }
}

/// Through an engine, as handlers on its workers.
pub(super) fn handled(
    mut setting: Setting<'_>,
    folder: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let workers = setting.servers[0].len();
    let warm_up = WarmUp::default();
    let desks = desks(&mut setting, &warm_up);
    setting.servers.push(Vec::new());
    let (source, _) = take_memory(&mut setting)?;
    let roll = Arc::clone(&setting.roll);
    let seats = Arc::new(Seats { roll, count: workers, taken: AtomicUsize::new(0) });
    let engine = open(setting.experiment, workers, folder)?;
    let closing = Closing { engine: &engine, course: &setting.course };
    let onward = Arc::new(Onward::default());
    gather(&engine, &seats)?;
    attach(&engine, &desks, &seats, &onward)?;
    if desks.len() > 1 {
        *onward.engine.lock() = Some(engine.clone());
    }
    let source = run_engine_source(&setting, source, &warm_up, &engine, progress);
    setting.roll.end();
    if desks.len() > 1 && source.is_ok() {
        await_empty(&engine, drain_max(setting.experiment));
    }
    let left_after = closing.close(drain_max(setting.experiment));
    onward.engine.lock().take();
    let source = source?;
    if let Some((id, refusal)) = onward.failed.lock().take() {
        return Err(refusal.of(Some(id)));
    }
    let recorded = Some(engine.stats().snapshot);
    let servers = desks.iter().map(|desk| desk.clear()).collect();
    Ok(Outcome { source, servers, recorded, left_after: left_after? })
}

/// The desks of all stages. The last counts the warm-up: who arrives there has been everywhere.
fn desks(setting: &mut Setting<'_>, warm_up: &WarmUp) -> Vec<Arc<Desk>> {
    let stages = setting.draws.len();
    let parts = setting.draws.drain(..).zip(setting.servers.drain(..)).enumerate();
    let desk = |(stage, (draws, servers)): (usize, (Arc<Draws>, Vec<Server>))| {
        let is_last = stage + 1 == stages;
        let taken = if is_last { Arc::clone(&warm_up.taken) } else { Arc::default() };
        let lock = |server| CachePadded::new(Mutex::new(Some(server)));
        let servers = servers.into_iter().map(lock).collect();
        Arc::new(Desk { course: Arc::clone(&setting.course), draws, servers, taken })
    };
    parts.map(desk).collect()
}

/// Gives each worker a message that it holds until all have one, so that each has its seat.
fn gather(engine: &Engine, seats: &Arc<Seats>) -> Result<(), RunError> {
    let failed = |source| RunError::Queue { what: "the workers could not be gathered", source };
    let theirs = Arc::clone(seats);
    let handler = move |_: &Delivery| {
        theirs.mine();
        Ok(())
    };
    engine
        .subscribe(Subscription::new(TOPIC_GATHER).name(TOPIC_GATHER), handler)
        .map_err(failed)?;
    for _ in 0..seats.count {
        publish(engine, TOPIC_GATHER, message(u64::MAX)).map_err(|refusal| refusal.of(None))?;
    }
    await_settled(engine)?;
    engine.unsubscribe(TOPIC_GATHER).map_err(failed)
}

/// Subscribes the handlers of all stages.
fn attach(
    engine: &Engine,
    desks: &[Arc<Desk>],
    seats: &Arc<Seats>,
    onward: &Arc<Onward>,
) -> Result<(), RunError> {
    for (stage, desk) in desks.iter().enumerate() {
        let (desk, seats, onward) = (Arc::clone(desk), Arc::clone(seats), Arc::clone(onward));
        let topic = if stage == 0 { TOPIC } else { TOPIC_SECOND };
        let subscription = Subscription::new(topic).name(topic);
        let attached = if desks.len() == 1 {
            engine.subscribe(subscription, move |delivery: &Delivery| {
                let start_ns = monotonic_ns();
                desk.serve(seats.mine(), ticket(delivery), start_ns);
                Ok(())
            })
        } else if stage == 0 {
            engine.subscribe(subscription.concurrency(1), move |delivery: &Delivery| {
                let start_ns = monotonic_ns();
                let ticket = ticket(delivery);
                let next = message(ticket); // ahead of the end, which is its arrival there
                if let Some(id) = desk.serve(seats.mine(), ticket, start_ns) {
                    onward.send(id, next);
                }
                Ok(())
            })
        } else {
            engine.subscribe(subscription.concurrency(1), move |delivery: &Delivery| {
                let start_ns = monotonic_ns();
                desk.serve(seats.mine(), ticket(delivery), start_ns);
                Ok(())
            })
        };
        let what = "the queue could not be subscribed to";
        attached.map_err(|source| RunError::Queue { what, source })?;
    }
    Ok(())
}
