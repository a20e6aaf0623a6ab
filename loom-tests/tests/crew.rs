//! Models of a crew whose number changes: no message behind long handlers, none lost with a worker that leaves.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom_tests::{explore_wakes, three, two};
use millstream::modelled::{Crew, EventCount, Roster};

/// One subscription whose messages are only counted.
#[derive(Clone)]
struct Pool {
    roster: Arc<Roster>,
    crew: Arc<Crew>,
    stock: Arc<AtomicUsize>,
    /// How many handlers have begun.
    running: Arc<AtomicUsize>,
    begun: Arc<EventCount>,
    stopped: Arc<AtomicBool>,
}

impl Pool {
    /// With so many active workers, and so many messages.
    fn new(active: usize, messages: usize) -> Self {
        let pool = Self {
            roster: Arc::new(Roster::new()),
            crew: Arc::new(Crew::new(active)),
            stock: Arc::new(AtomicUsize::new(0)),
            running: Arc::new(AtomicUsize::new(0)),
            begun: Arc::new(EventCount::new()),
            stopped: Arc::new(AtomicBool::new(false)),
        };
        (0..messages).for_each(|_| pool.publish());
        pool
    }

    fn publish(&self) {
        self.stock.fetch_add(1, Ordering::Release); // the model's own
        self.roster.notify(0, 1);
    }

    fn waiting(&self) -> usize {
        self.stock.load(Ordering::Acquire) // the model's own
    }

    fn take(&self) -> bool {
        let less = |stock: usize| stock.checked_sub(1);
        self.stock.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok() // the model's own
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) // the model's own
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release); // the model's own
        self.roster.wake_all();
        self.crew.wake_all();
    }

    /// As a worker does, until it has taken a message, or the pool stops.
    fn work(&self, handle: impl FnOnce()) {
        while !self.is_stopped() {
            if self.crew.leave() {
                if !millstream::modelled::mutant("P3_leave") {
                    self.roster.call_another();
                }
                if !self.crew.park(|| self.is_stopped()) {
                    return;
                }
            }
            if self.roster.next(0).is_none() {
                self.roster.rest(|| self.is_stopped(), || None);
                continue;
            }
            let mut taken = self.take();
            if !taken {
                self.roster.clear(0);
                taken = self.take();
                if taken {
                    self.roster.set(0);
                }
            }
            if taken {
                self.crew.begin();
                if self.waiting() > 0 {
                    self.roster.call_another();
                }
                handle();
                return self.crew.end();
            }
        }
    }

    /// As the foreman does, its looks at the time left out: until a message waits while all are at work, which it takes.
    fn oversee(&self) {
        while !(self.crew.all_at_work() && self.take()) {
            if self.crew.all_at_work() {
                let enough = || self.is_stopped() || self.waiting() > 0 || !self.crew.all_at_work();
                self.roster.overhear(enough, || None);
            } else {
                self.crew.wait_for_bell(|| self.is_stopped());
            }
        }
    }

    /// A handler that ends only when `count` of them run.
    fn meet(&self, count: usize) {
        self.running.fetch_add(1, Ordering::Release); // the model's own
        self.begun.notify_all();
        while self.running.load(Ordering::Acquire) < count {
            let key = self.begun.listen();
            if self.running.load(Ordering::Acquire) >= count {
                return self.begun.cancel(key);
            }
            self.begun.wait(key);
        }
    }
}

/// Promise: a place that is given reaches a worker that parks at that moment, once.
#[test]
fn a_place_that_is_given_is_taken() {
    explore_wakes(3, || {
        let pool = Pool::new(1, 0);
        let (foreman, worker) = (pool.clone(), pool.clone());
        let surplus = two(
            move || foreman.crew.want(2),
            move || {
                assert!(worker.crew.park(|| false));
                worker.crew.active()
            },
        );
        assert_eq!(surplus, (0, 2));
    });
}

/// Promise: of two workers at most one leaves when one is too many, and the message that comes at that moment is taken
/// by the other, whichever of them its wake-up reaches. A lost one is a deadlock.
#[test]
fn a_worker_that_leaves_hands_on_what_it_was_woken_for() {
    explore_wakes(1, || {
        let pool = Pool::new(2, 0);
        let (foreman, one, other) = (pool.clone(), pool.clone(), pool.clone());
        three(
            move || {
                let surplus = foreman.crew.want(1);
                foreman.roster.wake(surplus);
                foreman.publish();
            },
            move || one.work(|| one.stop()),
            move || other.work(|| other.stop()),
        );
        assert_eq!(pool.waiting(), 0);
        assert!(pool.crew.active() >= 1);
    });
}

/// Promise: a message that comes while the only active worker is in a handler that does not end without it is seen by
/// the foreman, without a timer. Method: the handlers of two messages meet; the second one is the foreman's.
#[test]
fn a_message_behind_long_handlers_is_seen_by_the_foreman() {
    explore_wakes(2, || {
        let pool = Pool::new(1, 1);
        let (publisher, worker, foreman) = (pool.clone(), pool.clone(), pool);
        three(
            move || publisher.publish(),
            move || worker.work(|| worker.meet(2)),
            move || {
                foreman.oversee();
                foreman.meet(2);
            },
        );
    });
}

/// Promise: the same where the last idle worker is not busy but leaves, though the foreman lay down before it did.
#[test]
fn a_worker_that_leaves_only_busy_ones_behind_rings() {
    explore_wakes(2, || {
        let pool = Pool::new(2, 0);
        // One is in a handler already.
        pool.crew.begin();
        pool.crew.want(1);
        let (worker, foreman) = (pool.clone(), pool);
        two(
            move || assert!(worker.crew.leave()),
            move || {
                while !foreman.crew.all_at_work() {
                    foreman.crew.wait_for_bell(|| false);
                }
            },
        );
    });
}

/// Promise: a wake-up that reaches the foreman in the row of the sleepers, and was a worker's, is handed on. Method: the
/// worker goes to rest while the foreman lies there; then a message comes. The foreman takes none.
#[test]
fn the_foreman_keeps_no_wake_up_of_a_worker() {
    explore_wakes(1, || {
        let pool = Pool::new(1, 0);
        // It lies down as if all were at work, and the worker has come back since.
        let (publisher, worker, foreman) = (pool.clone(), pool.clone(), pool);
        three(
            move || publisher.publish(),
            move || worker.work(|| worker.stop()),
            move || foreman.roster.overhear(|| foreman.is_stopped(), || None),
        );
    });
}
