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
//! figures tell; the thread sleeps from then on. What stands behind a writer that stalls between its reservation and its
//! commit is not committed, and so not durable however often the file is synced: there the bounds run from that writer's
//! commit.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fault::Fault;
    use crate::log::{AppendError, Appended, Budget, Log, LogError, LogOptions, Record};

    fn opened(interval: Option<Duration>) -> (tempfile::TempDir, Log) {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions::new().segment_bytes(1 << 20).sync_interval(interval);
        let log = Log::open(dir.path(), options).unwrap();
        (dir, log)
    }

    fn append(log: &Log) -> Result<Appended, AppendError> {
        let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"x"] };
        log.append(&record, Budget::Publish)
    }

    fn is_started(log: &Log) -> bool {
        matches!(*log.shared.syncer.started.lock(), Started::Running(_))
    }

    /// Promise: what is appended becomes durable without anybody asking, after a rest too. Each round begins when all is
    /// durable, so that the syncer may be at rest.
    #[test]
    fn with_an_interval_appends_become_durable_by_themselves() {
        let (_dir, log) = opened(Some(SYNC_INTERVAL_MIN));
        for _ in 0..20 {
            let appended = append(&log).unwrap();
            while log.durable() < appended.end {
                thread::yield_now();
            }
        }
        assert!(log.stats().last_sync_age.is_some());
    }

    /// Promise: the failure of a sync that nobody waits for reaches the next append and the figures. Fault: EIO.
    #[test]
    fn a_background_sync_that_fails_reaches_the_next_append() {
        let (_dir, log) = opened(Some(SYNC_INTERVAL_MIN));
        // Housekeeping syncs too, and must not be the one that meets the fault.
        while log.stats().prepared.as_u64() < log.reserved().as_u64() + (1 << 20)
            || log.durable() < log.committed()
        {
            thread::yield_now();
        }
        log.shared.faults.plant(Fault::SyncFails);
        append(&log).unwrap();
        while log.stats().poisoned.is_none() {
            thread::yield_now();
        }
        let refused = append(&log).unwrap_err();
        assert!(matches!(refused, AppendError::Poisoned(_)), "{refused}");
        assert!(log.close().is_err());
    }

    /// Promise: closing does not wait for the interval. It would take an hour.
    #[test]
    fn a_close_ends_the_syncer_at_once() {
        let (_dir, log) = opened(Some(SYNC_INTERVAL_MAX));
        let appended = append(&log).unwrap();
        assert!(log.durable() < appended.end);
        log.close().unwrap();
        assert!(log.durable() >= appended.end && !is_started(&log));
    }

    #[test]
    fn an_interval_that_cannot_be_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let just_off = Duration::from_nanos(1);
        for interval in [Duration::ZERO, SYNC_INTERVAL_MIN - just_off, SYNC_INTERVAL_MAX + just_off]
        {
            let options = LogOptions::new().sync_interval(Some(interval));
            let refused = Log::open(&path, options).unwrap_err();
            let named = matches!(refused, LogError::Option { key: "sync_interval", .. });
            assert!(named && !path.exists(), "{refused}");
        }
    }

    #[cfg(feature = "async")]
    mod tasks {
        use super::*;
        use crate::log::{Position, SyncError};
        use crate::sync::Arc;
        use futures_lite::future::{block_on, poll_once};
        use std::task::{Wake, Waker};

        /// Promise: no thread before the first wait that needs one; then tasks are served.
        #[test]
        fn the_first_task_starts_the_thread() {
            let (_dir, log) = opened(None);
            let appended = append(&log).unwrap();
            log.wait_durable(appended.end).unwrap();
            block_on(log.wait_durable_async(appended.end)).unwrap();
            assert!(!is_started(&log), "durable already");
            for _ in 0..20 {
                let appended = append(&log).unwrap();
                block_on(log.wait_durable_async(appended.end)).unwrap();
                assert!(log.durable() >= appended.end);
            }
            assert!(is_started(&log));
        }

        /// Promise: a future that is dropped leaves nothing behind; one that waits hears of the failure, and one that asks
        /// later too.
        #[test]
        fn a_failed_sync_reaches_tasks() {
            let (_dir, log) = opened(None);
            log.shared.faults.plant(Fault::SyncFails);
            let end = append(&log).unwrap().end;
            for _ in 0..2 {
                let outcome = block_on(log.wait_durable_async(end));
                assert!(matches!(outcome, Err(SyncError::Unknown(_))), "{outcome:?}");
            }
            assert!(matches!(append(&log), Err(AppendError::Poisoned(_))));
            assert_eq!(log.shared.group.waiters(), 0);
        }

        #[test]
        fn a_future_that_is_dropped_leaves_nothing_behind() {
            let (_dir, log) = opened(None);
            // Behind a gap: no sync can cover it.
            let gap = log.shared.reserve(36, Budget::Publish).unwrap();
            let end = append(&log).unwrap().end;
            let mut waiting = log.wait_durable_async(end);
            assert!(block_on(poll_once(&mut waiting)).is_none());
            assert_eq!(log.shared.group.first_task(), Some(end.as_u64()));
            drop(waiting);
            assert_eq!(log.shared.group.first_task(), None);
            let header = Record { tag: 0, topic: 0, time_ns: 0, parts: &[] };
            let header = header.header(crate::log::format::Kind::Pad, 36);
            log.shared.write(gap, header, |_| {});
            log.close().unwrap();
        }

        #[test]
        fn waiting_for_what_was_never_appended_is_refused() {
            let (_dir, log) = opened(None);
            let beyond = Position::from_u64(log.reserved().as_u64() + 32).unwrap();
            let outcome = block_on(log.wait_durable_async(beyond));
            assert!(matches!(outcome, Err(SyncError::Beyond { .. })), "{outcome:?}");
            assert!(!is_started(&log));
        }

        /// A waker that closes the log it waits for.
        struct Closing {
            log: Mutex<Option<Log>>,
            done: AtomicBool,
        }

        impl Wake for Closing {
            fn wake(self: Arc<Self>) {
                let log = self.log.lock().take();
                drop(log);
                self.done.store(true, Ordering::Relaxed); // [relaxed] a flag of the test
            }
        }

        /// Promise: a waker may close the log, even from the thread that would have to be waited for.
        #[test]
        fn a_waker_may_close_the_log() {
            let (_dir, log) = opened(None);
            let end = append(&log).unwrap().end;
            let mut waiting = log.wait_durable_async(end);
            let closing = Arc::new(Closing { log: Mutex::new(None), done: AtomicBool::new(false) });
            let waker = Waker::from(closing.clone());
            let mut context = std::task::Context::from_waker(&waker);
            let mut held = closing.log.lock();
            let polled = std::pin::Pin::new(&mut waiting).poll(&mut context);
            *held = Some(log);
            drop(held);
            if polled.is_pending() {
                let done = || closing.done.load(Ordering::Relaxed); // [relaxed] a test's flag
                while !done() {
                    thread::yield_now();
                }
            }
            block_on(waiting).unwrap();
        }

        struct Again(Arc<Log>);

        impl Wake for Again {
            fn wake(self: Arc<Self>) {
                self.0.close().unwrap();
            }
        }

        /// Promise: a waker that the closing itself calls may close the log too. Method: a task waits that no thread syncs
        /// for, so the close leads.
        #[test]
        fn a_waker_that_a_close_calls_may_close_the_log() {
            let (_dir, log) = opened(None);
            let log = Arc::new(log);
            let end = append(&log).unwrap().end.as_u64();
            let waker = Waker::from(Arc::new(Again(log.clone())));
            assert!(log.shared.group.poll_wait(end, &mut None, &waker).is_pending());
            log.close().unwrap();
            assert!(log.durable().as_u64() >= end);
        }
    }

    /// Promise: a sync of the log covers what was appended, also behind a neighbour's gap: it waits until that is closed.
    #[test]
    fn a_sync_covers_what_stands_behind_a_gap() {
        let (_dir, log) = opened(None);
        for _ in 0..50 {
            let gap = log.shared.reserve(36, Budget::Publish).unwrap();
            let end = append(&log).unwrap().end;
            assert!(log.committed() < end);
            thread::scope(|scope| {
                let syncing = scope.spawn(|| log.sync().unwrap());
                (0..10).for_each(|_| thread::yield_now());
                let header = Record { tag: 0, topic: 0, time_ns: 0, parts: &[] };
                log.shared.write(gap, header.header(crate::log::format::Kind::Pad, 36), |_| {});
                assert!(syncing.join().unwrap() >= end);
            });
            assert!(log.durable() >= end);
        }
    }
}
