//! `GroupSync`: many waiters, one sync. The leader is one of the waiting threads.
//!
//! Whoever finds nobody leading leads: it reads how far everything is committed *before* it syncs, syncs, and wakes all
//! whom that covered and **one** thread beyond, who leads next. A hop to a thread that syncs would cost two more wakes; a
//! lock is right here, since the path pays for a sync already, and a plain event count could not choose whom to wake.
//!
//! A task waits too, with the waker it left, but never leads: it has no stack to sync on. It is woken by whichever sync
//! covers it. That one comes is its owner's business: a thread waits here for the first of the tasks (`syncer.rs`), and so
//! leads, or sleeps behind a leader, like any other. Hence a task that goes away has nothing to hand on.
//!
//! | who waits | is kept | is woken | when it goes before that |
//! |-----------|---------|----------|--------------------------|
//! | a thread  | by the end it waits for | when that is durable, or as the next leader | it cannot |
//! | a task    | the same, in a list of its own | when that is durable | it takes its waker out |
//!
//! Wakers are code of somebody else's: cloned before the lock is taken, woken and dropped after it was opened; threads come
//! first. One that panics harms nobody else: neither those behind it, nor the thread that led, which may be a publisher
//! with a sync of its own to answer for, or a thread of the log's that all others need.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |------|--------------|--------------|-------------------|
//! | [G1] | the leader stores `durable` | anybody loads it | that the sync behind it has returned |
//!
//! `syncs` is a count, [relaxed]. Everything else is under the lock.
//!
//! # Limits
//!
//! A failed sync is final: what it covered is unknown, and no later success says anything about it (the kernel drops the
//! error, and with it the dirty pages). Waiters sleep by `park`: a leftover token of theirs costs one more look.

use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, mutant, order};
use std::collections::BTreeMap;
use std::ops::Range;
#[cfg(feature = "async")]
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Instant;

/// What a sync may cover, and how it is done.
pub trait Syncing {
    /// Why it failed.
    type Error;
    /// The end of what may be synced now; read before the sync.
    fn upto(&self) -> u64;
    /// Makes that range durable.
    ///
    /// # Errors
    ///
    /// What it did not do, or not all of it.
    fn sync(&self, range: Range<u64>) -> Result<(), Self::Error>;
    /// A sync has failed, and everybody is about to hear of it. Called under the group's lock: it must not come back.
    fn failed(&self);
}

/// Who waits for what to become durable.
#[derive(Debug)]
pub struct GroupSync<E> {
    durable: AtomicU64,
    syncs: AtomicU64,
    state: Mutex<State<E>>,
}

/// A waiter: by the end it waits for, then in the order of coming.
pub type Key = (u64, u64);

#[derive(Debug)]
struct State<E> {
    leading: bool,
    failure: Option<Arc<E>>,
    threads: BTreeMap<Key, Thread>,
    #[cfg(feature = "async")]
    tasks: BTreeMap<Key, Waker>,
    tickets: u64,
    last_sync: Option<Instant>,
}

impl<E> GroupSync<E> {
    /// Everything below `durable` is.
    pub fn new(durable: u64) -> Self {
        let state = State {
            leading: false,
            failure: None,
            threads: BTreeMap::new(),
            #[cfg(feature = "async")]
            tasks: BTreeMap::new(),
            tickets: 0,
            last_sync: None,
        };
        Self {
            durable: AtomicU64::new(durable),
            syncs: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Everything below is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(order("G1_load", Ordering::Acquire)) // [G1]
    }

    /// Successful syncs so far.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed) // [relaxed]
    }

    /// When the last successful one returned.
    pub fn last_sync(&self) -> Option<Instant> {
        self.state.lock().last_sync
    }

    /// The failure, if a sync has failed.
    pub fn failure(&self) -> Option<Arc<E>> {
        self.state.lock().failure.clone()
    }

    /// Returns when everything below `end`, which is committed, is durable.
    ///
    /// # Errors
    ///
    /// The sync's failure, this one or an earlier one.
    pub fn wait(&self, end: u64, syncing: &impl Syncing<Error = E>) -> Result<(), Arc<E>> {
        if self.durable() >= end {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut key = None;
        let outcome = loop {
            if self.durable() >= end {
                break Ok(());
            }
            if let Some(failure) = &state.failure {
                break Err(failure.clone());
            }
            if state.leading && !mutant("two_leaders") {
                if mutant("enlist_late") {
                    drop(state);
                    state = self.state.lock();
                }
                key.get_or_insert_with(|| state.enlist(end));
                drop(state);
                thread::park();
                // The leader takes out whom it serves before it opens the lock: there is nothing left to do under it.
                if self.durable() >= end {
                    return Ok(());
                }
                state = self.state.lock();
            } else {
                state.dismiss(key.take());
                self.lead(state, syncing);
                if self.durable() >= end {
                    return Ok(());
                }
                state = self.state.lock();
            }
        };
        state.dismiss(key);
        outcome
    }

    fn lead(&self, mut state: MutexGuard<'_, State<E>>, syncing: &impl Syncing<Error = E>) {
        state.leading = true;
        drop(state);
        let durable = self.durable();
        let upto = syncing.upto();
        let outcome = if durable < upto { syncing.sync(durable..upto) } else { Ok(()) };
        let upto = if mutant("upto_late") { syncing.upto() } else { upto };
        let mut state = self.state.lock();
        state.leading = false;
        let wakes = match outcome {
            // A failure outside of the group, meanwhile: the kernel may have told it there instead of here.
            Ok(()) if state.failure.is_some() => Wakes::default(),
            Ok(()) => {
                if durable < upto {
                    self.syncs.fetch_add(1, Ordering::Relaxed); // [relaxed]
                    state.last_sync = Some(Instant::now());
                }
                self.durable.fetch_max(upto, order("G1_store", Ordering::Release)); // [G1]
                state.served(self.durable())
            }
            Err(error) => {
                let wakes = state.fail(Arc::new(error));
                syncing.failed();
                wakes
            }
        };
        let _held = if mutant("wake_locked") {
            Some(state)
        } else {
            drop(state);
            None
        };
        wakes.wake();
    }

    /// A sync outside of the group has failed: nothing more can be known. `note` is called under the lock, before anybody
    /// is told.
    pub fn fail(&self, failure: Arc<E>, note: impl FnOnce()) {
        let mut state = self.state.lock();
        let wakes = state.fail(failure);
        note();
        drop(state);
        wakes.wake();
    }

    /// Threads and tasks that wait: for tests.
    #[cfg(any(test, loom, shuttle))]
    pub fn waiters(&self) -> usize {
        let state = self.state.lock();
        #[cfg(feature = "async")]
        return state.threads.len() + state.tasks.len();
        #[cfg(not(feature = "async"))]
        state.threads.len()
    }
}

/// How tasks wait.
#[cfg(feature = "async")]
impl<E> GroupSync<E> {
    /// As [`GroupSync::wait`], but leaves the waker and returns. `place` is none at first, and goes to
    /// [`GroupSync::leave`] in the end. While a task is in the list, some thread must wait for
    /// [`GroupSync::first_task`].
    ///
    /// # Errors
    ///
    /// As [`GroupSync::wait`].
    pub fn poll_wait(
        &self,
        end: u64,
        place: &mut Option<Key>,
        waker: &Waker,
    ) -> Poll<Result<(), Arc<E>>> {
        if self.durable() >= end {
            return Poll::Ready(Ok(()));
        }
        let waker = waker.clone();
        let mut state = self.state.lock();
        if self.durable() >= end {
            return Poll::Ready(Ok(()));
        }
        if let Some(failure) = &state.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        let key = *place.get_or_insert_with(|| state.ticket(end));
        let old = if mutant("keep_waker") && state.tasks.contains_key(&key) {
            None
        } else {
            state.tasks.insert(key, waker)
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Ends a wait that was ready, or that is given up.
    pub fn leave(&self, place: &mut Option<Key>) {
        let Some(key) = place.take().filter(|_| !mutant("task_stays")) else { return };
        let waker = self.state.lock().tasks.remove(&key);
        drop(waker);
    }

    /// The first end that a task waits for.
    pub fn first_task(&self) -> Option<u64> {
        self.state.lock().tasks.first_key_value().map(|(key, _)| key.0)
    }
}

impl<E> State<E> {
    fn ticket(&mut self, end: u64) -> Key {
        self.tickets += 1;
        (end, self.tickets)
    }

    fn enlist(&mut self, end: u64) -> Key {
        let key = self.ticket(end);
        self.threads.insert(key, thread::current());
        key
    }

    fn dismiss(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.threads.remove(&key);
        }
    }

    /// Takes out all whom `durable` serves, and names one thread beyond: nobody leads now. If another comes first and
    /// leads, the one beyond sleeps on, and that leader's end wakes again.
    fn served(&mut self, durable: u64) -> Wakes {
        let mut wakes = Wakes::default();
        while let Some(first) = self.threads.first_entry().filter(|it| it.key().0 <= durable) {
            wakes.threads.push(first.remove());
        }
        if let Some(next) = self.threads.values().next().filter(|_| !mutant("none_beyond")) {
            wakes.threads.push(next.clone());
        }
        #[cfg(feature = "async")]
        while let Some(first) = self.tasks.first_entry().filter(|it| it.key().0 <= durable) {
            wakes.tasks.push(first.remove());
        }
        wakes
    }

    fn fail(&mut self, failure: Arc<E>) -> Wakes {
        self.failure.get_or_insert(failure);
        self.served(if mutant("fail_quietly") { 0 } else { u64::MAX })
    }
}

/// Whom to wake once the lock is open.
#[derive(Default)]
struct Wakes {
    threads: Vec<Thread>,
    #[cfg(feature = "async")]
    tasks: Vec<Waker>,
}

impl Wakes {
    fn wake(self) {
        self.threads.into_iter().for_each(|thread| thread.unpark());
        #[cfg(feature = "async")]
        for waker in self.tasks {
            // A panic has been reported by the panic hook, and concerns its own task.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::error::{Action, StorageError};
    use crate::sync::Condvar;
    use std::io;
    use std::path::Path;

    /// A disk whose first sync waits until `crowd` others are waiting, so that they must share the second.
    struct Disk<'a> {
        group: &'a GroupSync<StorageError>,
        crowd: usize,
        fails: bool,
        calls: Mutex<Vec<Range<u64>>>,
        changed: Condvar,
    }

    impl Syncing for Disk<'_> {
        type Error = StorageError;

        fn failed(&self) {}

        fn upto(&self) -> u64 {
            if self.calls.lock().is_empty() { 1 } else { 1 + self.crowd as u64 }
        }

        fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
            let mut calls = self.calls.lock();
            calls.push(range);
            let is_first = calls.len() == 1;
            self.changed.notify_all();
            drop(calls);
            while is_first && self.group.waiters() < self.crowd {
                thread::yield_now();
            }
            let failed = || io::Error::from_raw_os_error(libc::EIO);
            let outcome = if self.fails { Err(failed()) } else { Ok(()) };
            outcome.map_err(StorageError::on(Action::Sync, Path::new("a disk")))
        }
    }

    fn crowd(fails: bool) -> (Vec<Range<u64>>, Vec<bool>) {
        const CROWD: usize = 15;
        let group = GroupSync::new(0);
        let calls = Mutex::default();
        let disk = Disk { group: &group, crowd: CROWD, fails, calls, changed: Condvar::new() };
        let outcomes = thread::scope(|scope| {
            let first = scope.spawn(|| group.wait(1, &disk).is_ok());
            let mut calls = disk.calls.lock();
            while calls.is_empty() {
                calls = disk.changed.wait(calls);
            }
            drop(calls);
            let wait = |index| group.wait(2 + index, &disk).is_ok();
            let spawn = |index| scope.spawn(move || wait(index));
            let others: Vec<_> = (0..CROWD as u64).map(spawn).collect();
            std::iter::once(first).chain(others).map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(group.waiters(), 0);
        (disk.calls.into_inner(), outcomes)
    }

    /// Promise: whoever waits while a sync runs shares the next one. Sixteen waiters, two syncs.
    #[test]
    fn waiters_share_a_sync() {
        let (calls, outcomes) = crowd(false);
        assert_eq!(calls, [0..1, 1..16]);
        assert!(outcomes.iter().all(|durable| *durable));
    }

    /// Promise: a failure noted from outside while a sync runs is not outdone by that sync: the kernel tells an error of a
    /// file once, and has told it there.
    #[test]
    fn a_sync_that_returns_after_a_failure_elsewhere_makes_nothing_durable() {
        struct Elsewhere<'a>(&'a GroupSync<()>);
        impl Syncing for Elsewhere<'_> {
            type Error = ();

            fn failed(&self) {}

            fn upto(&self) -> u64 {
                1
            }

            fn sync(&self, _range: Range<u64>) -> Result<(), ()> {
                self.0.fail(Arc::new(()), || {});
                Ok(())
            }
        }
        let group = GroupSync::new(0);
        assert!(group.wait(1, &Elsewhere(&group)).is_err());
        assert_eq!((group.durable(), group.syncs()), (0, 0));
    }

    /// Promise: a waker that panics harms neither the thread that led nor the tasks behind it.
    #[cfg(feature = "async")]
    #[test]
    fn a_waker_that_panics_harms_nobody_else() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a waker that panics");
            }
        }
        struct Counts(AtomicU64);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed); // [relaxed]
            }
        }
        let group = GroupSync::new(0);
        let counts = Arc::new(Counts(AtomicU64::new(0)));
        for waker in [Waker::from(Arc::new(Panics)), Waker::from(counts.clone())] {
            assert!(group.poll_wait(1, &mut None, &waker).is_pending());
        }
        let disk = Disk {
            group: &group,
            crowd: 0,
            fails: false,
            calls: Mutex::default(),
            changed: Condvar::new(),
        };
        assert!(group.wait(1, &disk).is_ok());
        assert_eq!(counts.0.load(Ordering::Relaxed), 1); // [relaxed]
    }

    /// Promise: a failed sync fails everybody, at once and for ever; none tries again.
    #[test]
    fn a_failed_sync_fails_all_waiters() {
        let (calls, outcomes) = crowd(true);
        assert_eq!(calls.len(), 1);
        assert!(outcomes.iter().all(|durable| !*durable));
    }
}
