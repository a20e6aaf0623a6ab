//! `Syncer`: the thread `millstream-sync`, which syncs for those who do not do it themselves.
//!
//! | for whom | when | how |
//! |----------|------|-----|
//! | tasks that wait (`async`) | while there are any | waits in the group for the first of them: leads, or sleeps behind a leader |
//! | everybody, with an interval | an interval after the first append that is not durable | syncs what is committed by then |
//!
//! It is started when an interval is set, or when the first task waits; a log that needs neither has no such thread.
//!
//! With an interval it has two ways to sleep. While something is committed and not durable, it sleeps until that is due.
//! While nothing is, it sleeps **without a timer**, and says so in `idle`; an append that finds it idle rings. So a log at
//! rest costs nothing, a busy one rings never, and one append after a rest pays for one wake-up.
//!
//! What is accepted at some moment is durable one interval and one sync later: the interval runs from the first append
//! after a rest, then from the beginning of each sync. Where a sync takes longer than the interval, the next one begins
//! as soon as it ends: then it is two syncs.
//!
//! # Orderings
//!
//! | pair | one side | other side | why |
//! |------|----------|------------|-----|
//! | [Y1] | the syncer sets `idle`, then the heavy barrier of its registration, then looks at what is committed | an append moves `committed`, then the light barrier, then looks at `idle` | store buffering: of "idle, then looked" and "committed, then looked" one sees the other |
//!
//! `idle` and `stop` are [relaxed]: `idle` is ordered by [Y1], `stop` by the event count's own barriers.
//!
//! # Why no wake-up is lost
//!
//! The syncer sets `idle`, registers with `bell`, looks, and sleeps. An append that does not see `idle` is seen by the look
//! ([Y1]). One that does rings, after its commit: either `bell` has the registration by then, or the look, which comes
//! behind it, sees the commit (\[E1\] of the event count). `idle` is written by the syncer alone. Were it cleared by who
//! rings, a ring that comes late, between two rests, would clear it for the next one, and the appends after it would not
//! ring. Tasks enter the group's list, and a stop is set, before the ring: the look sees them or the ring finds the
//! registration.
//!
//! # Limits
//!
//! An interval of [`SYNC_INTERVAL_MIN`] to [`SYNC_INTERVAL_MAX`]. A failed sync poisons the log: the next publish and the
//! figures tell; the thread sleeps from then on.

use crate::barrier;
use crate::event::EventCount;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{AtomicBool, Mutex, Ordering, mutant, passed};
use std::io;
use std::time::{Duration, Instant};

/// The shortest interval between two syncs.
pub const SYNC_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// The longest interval between two syncs.
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
const _: () = assert!(SYNC_INTERVAL_MIN.as_nanos() < SYNC_INTERVAL_MAX.as_nanos());

/// What the syncer syncs.
pub trait Synced {
    /// The first end that a task waits for.
    fn wanted(&self) -> Option<u64>;
    /// How far it is committed, if that is further than it is durable and a sync may still help.
    fn unsynced(&self) -> Option<u64>;
    /// Returns when everything below `end` is durable, or it is known that it is not.
    fn make_durable(&self, end: u64);
}

/// The thread's state, and how others reach it.
#[derive(Debug)]
pub struct Syncer {
    interval: Option<Duration>,
    idle: AtomicBool,
    stop: AtomicBool,
    bell: EventCount,
    started: Mutex<Started>,
}

#[derive(Debug)]
enum Started {
    NotYet,
    Running(JoinHandle<()>),
    Ended,
}

impl Syncer {
    /// A syncer that is not started.
    pub fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            idle: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            bell: EventCount::new(),
            started: Mutex::new(Started::NotYet),
        }
    }

    /// Starts the thread, which is to call [`Syncer::run`], unless it was started before.
    ///
    /// # Errors
    ///
    /// The system has no thread for us.
    pub fn start(&self, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut started = self.started.lock();
        if let Started::NotYet = *started {
            let thread = thread::Builder::new().name("millstream-sync".to_owned()).spawn(run)?;
            *started = Started::Running(thread);
        }
        Ok(())
    }

    /// Something was committed.
    #[inline]
    pub fn notice(&self) {
        if self.interval.is_none() {
            return;
        }
        if !mutant("Y1_notice") {
            barrier::light(); // [Y1]
        }
        let idle = self.idle.load(Ordering::Relaxed); // [relaxed]
        if idle {
            self.rouse();
        }
    }

    #[cold]
    fn rouse(&self) {
        if mutant("idle_cleared") {
            self.idle.store(false, Ordering::Relaxed); // [relaxed] a mutant
        }
        self.bell.notify_one();
    }

    /// A task has begun to wait.
    #[cfg(feature = "async")]
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Ends the thread, after the sync that runs, if one does. It is not started again.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed); // [relaxed]
        self.bell.notify_all();
        let started = std::mem::replace(&mut *self.started.lock(), Started::Ended);
        if let Started::Running(thread) = started {
            // A waker that this very thread calls may close the log: it cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A panic there has been reported by the panic hook; closing goes on.
                let _ = thread.join();
            }
        }
    }

    /// What the thread does, until it is stopped.
    pub fn run(&self, log: &impl Synced) {
        let mut due = None;
        while let Some(end) = self.next(log, &mut due) {
            log.make_durable(end);
        }
    }

    /// Sleeps until there is something to sync, and says up to where; none when it is stopped.
    fn next(&self, log: &impl Synced, due: &mut Option<Instant>) -> Option<u64> {
        loop {
            let may_rest = due.is_none() && self.interval.is_some();
            if !mutant("idle_late") {
                self.idle.store(may_rest, Ordering::Relaxed); // [relaxed]
            }
            let key = self.bell.listen(); // [Y1] its barrier
            let stop = self.stop.load(Ordering::Relaxed); // [relaxed]
            if stop {
                self.bell.cancel(key);
                return None;
            }
            if let Some(end) = log.wanted() {
                self.bell.cancel(key);
                return Some(end);
            }
            match (self.interval, log.unsynced()) {
                (Some(interval), Some(end)) => {
                    self.idle.store(false, Ordering::Relaxed); // [relaxed]
                    let at = *due.get_or_insert_with(|| Instant::now() + interval);
                    if passed(Some(at)) {
                        *due = Some(Instant::now() + interval);
                        self.bell.cancel(key);
                        return Some(end);
                    }
                    self.bell.wait_until(key, Some(at));
                }
                _ if due.take().is_some() => self.bell.cancel(key), // once more, as idle
                _ => {
                    if mutant("idle_late") {
                        self.idle.store(may_rest, Ordering::Relaxed); // [relaxed] a mutant
                    }
                    self.bell.wait(key);
                }
            }
        }
    }
}
