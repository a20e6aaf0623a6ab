//! `GroupSync`: many waiters, one sync. The leader is one of the waiters.
//!
//! Whoever finds nobody leading leads: it reads how far everything is committed *before* it syncs, syncs, and wakes all
//! whom that covered and **one** beyond, who leads next. A hop to a thread that syncs would cost two more wakes; a lock
//! is right here, since the path pays for a sync already, and a plain event count could not choose whom to wake.
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

use super::error::StorageError;
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a sync may cover, and how it is done.
pub(crate) trait Syncing {
    /// The end of what may be synced now; read before the sync.
    fn upto(&self) -> u64;
    /// Makes that range durable.
    fn sync(&self, range: Range<u64>) -> Result<(), StorageError>;
}

/// Who waits for what to become durable.
#[derive(Debug)]
pub(crate) struct GroupSync {
    durable: AtomicU64,
    syncs: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leading: bool,
    failure: Option<Arc<StorageError>>,
    /// By the end waited for, then in the order of coming.
    waiters: BTreeMap<(u64, u64), Thread>,
    tickets: u64,
}

impl GroupSync {
    /// Everything below `durable` is.
    pub fn new(durable: u64) -> Self {
        Self {
            durable: AtomicU64::new(durable),
            syncs: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        }
    }

    /// Everything below is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire) // [G1]
    }

    /// Successful syncs so far.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed) // [relaxed]
    }

    /// The failure, if a sync has failed.
    pub fn failure(&self) -> Option<Arc<StorageError>> {
        self.state.lock().failure.clone()
    }

    /// Returns when everything below `end`, which is committed, is durable.
    ///
    /// # Errors
    ///
    /// The sync's failure, this one or an earlier one.
    pub fn wait(&self, end: u64, syncing: &impl Syncing) -> Result<(), Arc<StorageError>> {
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
            if state.leading {
                key.get_or_insert_with(|| state.enlist(end));
                drop(state);
                thread::park();
                state = self.state.lock();
            } else {
                state.dismiss(key.take());
                state = self.lead(state, syncing);
            }
        };
        state.dismiss(key);
        outcome
    }

    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        syncing: &impl Syncing,
    ) -> MutexGuard<'a, State> {
        state.leading = true;
        drop(state);
        let durable = self.durable();
        let upto = syncing.upto();
        let outcome = if durable < upto { self.counted(syncing, durable..upto) } else { Ok(()) };
        let mut state = self.state.lock();
        state.leading = false;
        match outcome {
            Ok(()) => {
                self.durable.fetch_max(upto, Ordering::Release); // [G1]
                state.wake_upto(self.durable());
            }
            Err(error) => state.fail(Arc::new(error)),
        }
        state
    }

    fn counted(&self, syncing: &impl Syncing, range: Range<u64>) -> Result<(), StorageError> {
        syncing.sync(range)?;
        self.syncs.fetch_add(1, Ordering::Relaxed); // [relaxed]
        Ok(())
    }

    /// A sync outside of the group has failed: nothing more can be known.
    pub fn fail(&self, failure: Arc<StorageError>) {
        self.state.lock().fail(failure);
    }
}

impl State {
    fn enlist(&mut self, end: u64) -> (u64, u64) {
        self.tickets += 1;
        let key = (end, self.tickets);
        self.waiters.insert(key, thread::current());
        key
    }

    fn dismiss(&mut self, key: Option<(u64, u64)>) {
        if let Some(key) = key {
            self.waiters.remove(&key);
        }
    }

    /// Wakes all whom `durable` serves, and one beyond: nobody leads now. If another comes first and leads, the one
    /// beyond sleeps on, and that leader's end wakes again.
    fn wake_upto(&mut self, durable: u64) {
        while let Some(first) = self.waiters.first_entry() {
            if first.key().0 > durable {
                break;
            }
            first.remove().unpark();
        }
        if let Some(next) = self.waiters.values().next() {
            next.unpark();
        }
    }

    fn fail(&mut self, failure: Arc<StorageError>) {
        self.failure.get_or_insert(failure);
        self.wake_upto(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::error::Action;
    use crate::sync::Condvar;
    use std::io;
    use std::path::Path;

    /// A disk whose first sync waits until `crowd` others are waiting, so that they must share the second.
    struct Disk<'a> {
        group: &'a GroupSync,
        crowd: usize,
        fails: bool,
        calls: Mutex<Vec<Range<u64>>>,
        changed: Condvar,
    }

    impl Syncing for Disk<'_> {
        fn upto(&self) -> u64 {
            if self.calls.lock().is_empty() { 1 } else { 1 + self.crowd as u64 }
        }

        fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
            let mut calls = self.calls.lock();
            calls.push(range);
            let is_first = calls.len() == 1;
            self.changed.notify_all();
            drop(calls);
            while is_first && self.group.state.lock().waiters.len() < self.crowd {
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
        assert!(group.state.lock().waiters.is_empty());
        (disk.calls.into_inner(), outcomes)
    }

    /// Promise: whoever waits while a sync runs shares the next one. Sixteen waiters, two syncs.
    #[test]
    fn waiters_share_a_sync() {
        let (calls, outcomes) = crowd(false);
        assert_eq!(calls, [0..1, 1..16]);
        assert!(outcomes.iter().all(|durable| *durable));
    }

    /// Promise: a failed sync fails everybody, at once and for ever; none tries again.
    #[test]
    fn a_failed_sync_fails_all_waiters() {
        let (calls, outcomes) = crowd(true);
        assert_eq!(calls.len(), 1);
        assert!(outcomes.iter().all(|durable| !*durable));
    }
}
