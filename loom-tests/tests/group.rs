//! Models of the group sync: threads and tasks wait, one thread syncs for all; and of the thread that syncs by itself.
//!
//! A disk is a cell for each position, which the sync that covers it writes: whoever is told that a position is durable
//! reads the cell. A position that no sync covered is seen as such; two syncs at a time, or a reader that the sync is not
//! ordered before, are reported by loom.
#![cfg(loom)]
#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Notify};
use loom_tests::{explore, three, two};
use millstream::modelled::{GroupSync, Synced, Syncer, Syncing};
use std::ops::Range;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

const POSITIONS: usize = 4;

/// What a sync writes of a position, and whether it did.
struct Covered {
    cell: UnsafeCell<()>,
    done: AtomicBool,
}

struct Disk {
    group: Arc<GroupSync<&'static str>>,
    syncer: Syncer,
    committed: AtomicU64,
    covered: Vec<Covered>,
    /// The first sync covers so much, the next one more, and so on; none: all that is committed.
    steps: Option<AtomicU64>,
    fails: bool,
    poisoned: AtomicBool,
    /// Rung when the syncer has done something.
    served: Notify,
}

impl Disk {
    fn new() -> Self {
        Self {
            group: Arc::new(GroupSync::new(0)),
            syncer: Syncer::new(Some(Duration::from_millis(1))),
            committed: AtomicU64::new(0),
            covered: (0..POSITIONS).map(|_| Covered::new()).collect(),
            steps: None,
            fails: false,
            poisoned: AtomicBool::new(false),
            served: Notify::new(),
        }
    }

    fn append(&self) -> u64 {
        let end = self.committed.fetch_add(1, Ordering::AcqRel) + 1; // as the tail's [L3]
        self.syncer.notice();
        end
    }

    /// Is everything below `end` on the disk?
    fn check(&self, end: u64) {
        for covered in &self.covered[..end as usize] {
            let done = covered.done.load(Ordering::Relaxed); // [relaxed] the cell tells what is not ordered
            assert!(done, "durable, and no sync covered it");
            covered.cell.with(|_| {});
        }
    }

    fn append_and_wait(&self) {
        let end = self.append();
        self.group.wait(end, self).unwrap();
        self.check(end);
    }

    /// As a task that is polled by hand.
    fn run_task(&self, end: u64) -> Result<(), &'static str> {
        let (mut place, bell) = (None, Bell::new());
        loop {
            match self.group.poll_wait(end, &mut place, &Waker::from(bell.clone())) {
                Poll::Ready(outcome) => {
                    self.group.leave(&mut place);
                    return outcome.map_err(|failure| *failure);
                }
                Poll::Pending => self.syncer.ring(),
            }
            bell.0.wait();
        }
    }

    /// Waits until the syncer has come so far, without syncing.
    fn watch(&self, end: u64) {
        while self.group.durable() < end {
            self.served.wait();
        }
        self.check(end);
    }
}

impl Covered {
    fn new() -> Self {
        Self { cell: UnsafeCell::new(()), done: AtomicBool::new(false) }
    }
}

impl Syncing for Disk {
    type Error = &'static str;

    fn upto(&self) -> u64 {
        let committed = self.committed.load(Ordering::Acquire); // as the tail's [L3]
        match &self.steps {
            Some(step) => committed.min(step.fetch_add(1, Ordering::Relaxed) + 1), // [relaxed] one leader
            None => committed,
        }
    }

    fn sync(&self, range: Range<u64>) -> Result<(), &'static str> {
        if self.fails {
            return Err("planted");
        }
        // What the kernel takes up: nothing that is written later.
        for at in range {
            let covered = &self.covered[at as usize];
            covered.cell.with_mut(|_| {});
            covered.done.store(true, Ordering::Relaxed); // [relaxed] as above
        }
        loom::thread::yield_now();
        Ok(())
    }

    fn failed(&self) {
        self.poisoned.store(true, Ordering::Relaxed); // [relaxed] under the group's lock
    }
}

impl Synced for Disk {
    fn wanted(&self) -> Option<u64> {
        self.group.first_task()
    }

    fn unsynced(&self) -> Option<u64> {
        let committed = self.committed.load(Ordering::Acquire); // as the tail's [L3]
        (self.group.durable() < committed && self.group.failure().is_none()).then_some(committed)
    }

    fn make_durable(&self, end: u64) {
        let _ = self.group.wait(end, self);
        self.served.notify();
    }
}

/// What a waker rings.
struct Bell(Notify);

impl Bell {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Notify::new()))
    }
}

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Promise: who is told that something is durable finds that a sync covered it, which began when it was committed
/// already; nobody sleeps for ever, and never do two sync at a time. Method: three that append and wait.
#[test]
fn what_is_durable_was_covered_by_a_sync() {
    explore(2, || {
        let disk = Arc::new(Disk::new());
        let (a, b, c) = (disk.clone(), disk.clone(), disk.clone());
        three(
            move || a.append_and_wait(),
            move || b.append_and_wait(),
            move || c.append_and_wait(),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: whoever sees a position durable, without waiting and without the lock, sees the sync behind it: \[G1\].
#[test]
fn whoever_sees_a_position_durable_sees_the_sync() {
    explore(3, || {
        let disk = Arc::new(Disk::new());
        let (a, b) = (disk.clone(), disk.clone());
        two(move || a.append_and_wait(), move || b.check(b.group.durable()));
    });
}

/// Promise: a leader whose sync ends below another's position hands over: the next one leads, and so on. Method: each
/// sync covers one position more.
#[test]
fn a_leader_that_falls_short_hands_over() {
    explore(2, || {
        let steps = Some(AtomicU64::new(0));
        let disk = Arc::new(Disk { steps, committed: AtomicU64::new(3), ..Disk::new() });
        let wait = |end| {
            let disk = disk.clone();
            move || {
                disk.group.wait(end, &*disk).unwrap();
                disk.check(end);
            }
        };
        three(wait(1), wait(2), wait(3));
        assert_eq!((disk.group.waiters(), disk.group.durable()), (0, 3));
    });
}

/// Promise: a failure reaches all who wait, and what follows it is in place before the first of them hears of it.
#[test]
fn a_failure_reaches_all() {
    explore(2, || {
        let disk = Arc::new(Disk { fails: true, committed: AtomicU64::new(3), ..Disk::new() });
        let wait = |end| {
            let disk = disk.clone();
            move || {
                assert!(disk.group.wait(end, &*disk).is_err());
                let poisoned = disk.poisoned.load(Ordering::Relaxed); // [relaxed] the lock orders it
                assert!(poisoned);
            }
        };
        three(wait(1), wait(2), wait(3));
        assert_eq!((disk.group.waiters(), disk.group.durable()), (0, 0));
    });
}

/// Promise: a task that waits is served by the syncer, started beside it, whenever the ring comes.
#[test]
fn a_task_is_served() {
    explore(3, || {
        let disk = Arc::new(Disk { syncer: Syncer::new(None), ..Disk::new() });
        let (a, b) = (disk.clone(), disk.clone());
        two(
            move || {
                let end = a.append();
                a.run_task(end).unwrap();
                a.check(end);
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: the same beside a thread that waits, whoever of the two leads.
#[test]
fn a_task_and_a_thread_share_the_syncs() {
    explore(2, || {
        let disk = Arc::new(Disk { syncer: Syncer::new(None), ..Disk::new() });
        let (a, b, c) = (disk.clone(), disk.clone(), disk.clone());
        three(
            move || {
                let end = a.append();
                a.run_task(end).unwrap();
                a.check(end);
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
            move || c.append_and_wait(),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: a failure reaches a task too, whoever led.
#[test]
fn a_task_hears_of_a_failure() {
    explore(2, || {
        let (fails, syncer) = (true, Syncer::new(None));
        let disk = Arc::new(Disk { fails, syncer, committed: AtomicU64::new(2), ..Disk::new() });
        let (a, b, c) = (disk.clone(), disk.clone(), disk.clone());
        three(
            move || {
                assert_eq!(a.run_task(1), Err("planted"));
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
            move || assert!(c.group.wait(2, &*c).is_err()),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: a task that goes away while it waits leaves nothing behind, and a thread beside it is served all the same.
#[test]
fn a_task_that_is_dropped_leaves_nothing_behind() {
    explore(2, || {
        let disk = Arc::new(Disk { syncer: Syncer::new(None), ..Disk::new() });
        let (a, b, c) = (disk.clone(), disk.clone(), disk.clone());
        three(
            move || {
                let (mut place, end) = (None, a.append());
                let waker = Waker::from(Bell::new());
                let polled = a.group.poll_wait(end, &mut place, &waker);
                if polled.is_pending() {
                    a.syncer.ring();
                }
                a.group.leave(&mut place);
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
            move || c.append_and_wait(),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: the last waker that a task left is the one that is woken.
#[test]
fn the_last_waker_is_woken() {
    explore(2, || {
        let disk = Arc::new(Disk::new());
        let (a, b) = (disk.clone(), disk.clone());
        disk.committed.store(1, Ordering::Relaxed); // [relaxed] before the others begin
        let (early, late) = (Bell::new(), Bell::new());
        two(
            move || {
                let mut place = None;
                let _ = a.group.poll_wait(1, &mut place, &Waker::from(early));
                while a.group.poll_wait(1, &mut place, &Waker::from(late.clone())).is_pending() {
                    late.0.wait(); // may return by itself
                }
                a.group.leave(&mut place);
            },
            move || b.group.wait(1, &*b).unwrap(),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// A waker that comes back to the group.
struct Returning {
    group: Arc<GroupSync<&'static str>>,
    bell: Notify,
}

impl Wake for Returning {
    fn wake(self: std::sync::Arc<Self>) {
        let _ = self.group.failure();
        self.bell.notify();
    }
}

/// Promise: a waker is called with the lock open: it may come back, or poll on the spot.
#[test]
fn a_waker_may_come_back() {
    explore(2, || {
        let disk = Arc::new(Disk { committed: AtomicU64::new(1), ..Disk::new() });
        let (a, b) = (disk.clone(), disk.clone());
        two(
            move || {
                let mut place = None;
                let back = Returning { group: a.group.clone(), bell: Notify::new() };
                let back = std::sync::Arc::new(back);
                while a.group.poll_wait(1, &mut place, &Waker::from(back.clone())).is_pending() {
                    back.bell.wait(); // may return by itself
                }
                assert_eq!(a.group.durable(), 1);
                a.group.leave(&mut place);
            },
            move || b.group.wait(1, &*b).unwrap(),
        );
        assert_eq!(disk.group.waiters(), 0);
    });
}

/// Promise: an append that finds the log at rest becomes durable by itself: the syncer, asleep without a timer, hears of it.
#[test]
fn an_append_after_a_rest_becomes_durable() {
    explore(3, || {
        let disk = Arc::new(Disk::new());
        let (a, b) = (disk.clone(), disk.clone());
        two(
            move || {
                let end = a.append();
                a.watch(end);
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
        );
    });
}

/// The syncer alone: a sync is a store.
struct Rest {
    syncer: Syncer,
    committed: AtomicU64,
    durable: AtomicU64,
    served: Notify,
}

impl Rest {
    fn append(&self) -> u64 {
        let end = self.committed.fetch_add(1, Ordering::AcqRel) + 1; // as the tail's [L3]
        self.syncer.notice();
        end
    }

    fn watch(&self, end: u64) {
        while self.durable.load(Ordering::Acquire) < end {
            self.served.wait();
        }
    }
}

impl Synced for Rest {
    fn wanted(&self) -> Option<u64> {
        None
    }

    fn unsynced(&self) -> Option<u64> {
        let committed = self.committed.load(Ordering::Acquire); // as the tail's [L3]
        (self.durable.load(Ordering::Relaxed) < committed).then_some(committed) // [relaxed] its own
    }

    fn make_durable(&self, end: u64) {
        self.durable.store(end, Ordering::Release);
        self.served.notify();
    }
}

/// Promise: so does one beside whom a late ring comes: of an append that found the syncer idle, and whose frame is durable
/// by now.
#[test]
fn an_append_beside_a_late_ring_becomes_durable() {
    explore(2, || {
        let rest = Arc::new(Rest {
            syncer: Syncer::new(Some(Duration::from_millis(1))),
            committed: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            served: Notify::new(),
        });
        let (a, b, c) = (rest.clone(), rest.clone(), rest.clone());
        three(
            move || {
                let end = a.append();
                a.watch(end);
                a.syncer.stop();
            },
            move || b.syncer.run(&*b),
            move || c.syncer.notice(),
        );
    });
}
