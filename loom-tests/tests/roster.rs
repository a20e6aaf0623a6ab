//! Models of the workers' roster: a message is found by somebody, whoever sleeps and whoever is busy.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom_tests::{explore_wakes, three, two};
use millstream::modelled::{EventCount, Roster};

/// Two subscriptions with messages that are only counted, and the workers' roster.
#[derive(Clone)]
struct Pool {
    roster: Arc<Roster>,
    stock: Arc<[AtomicUsize; 2]>,
    /// How many handlers have begun.
    running: Arc<AtomicUsize>,
    begun: Arc<EventCount>,
}

impl Pool {
    fn new() -> Self {
        Self {
            roster: Arc::new(Roster::new()),
            stock: Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]),
            running: Arc::new(AtomicUsize::new(0)),
            begun: Arc::new(EventCount::new()),
        }
    }

    /// As a source does: the message first, then the news of it.
    fn publish(&self, slot: usize) {
        self.stock[slot].fetch_add(1, Ordering::Release); // the model's own
        self.roster.notify(slot, 1);
    }

    fn take(&self, slot: usize) -> bool {
        let mut seen = self.stock[slot].load(Ordering::Acquire); // the model's own
        while seen > 0 {
            let less = seen - 1;
            match self.stock[slot].compare_exchange(
                seen,
                less,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// As a worker does: takes one message, looks behind it, and then runs its handler.
    fn work(&self, handle: impl FnOnce()) {
        loop {
            let Some(slot) = self.roster.next(0) else {
                self.roster.rest(|| false, || None);
                continue;
            };
            let mut taken = self.take(slot);
            if !taken {
                self.roster.clear(slot);
                taken = self.take(slot);
                if taken {
                    self.roster.set(slot);
                }
            }
            if taken {
                let other = self.roster.next(slot + 1).is_some_and(|other| other != slot);
                if other || self.stock[slot].load(Ordering::Acquire) > 0 {
                    self.roster.call_another();
                }
                return handle();
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

/// Promise: a message is found, even if its publisher left the wake-up out because a worker searched. A lost one is a
/// deadlock, which loom reports: \[W1\], \[W2\].
#[test]
fn a_message_is_found_by_a_worker_that_searches_or_sleeps() {
    explore_wakes(3, || {
        let pool = Pool::new();
        let publisher = pool.clone();
        two(move || publisher.publish(0), move || pool.work(|| ()));
    });
}

/// (At two preemptions, by `LOOM_MAX_PREEMPTIONS=2`: 1.3 and 3.6 million interleavings, ten minutes.)
///
/// Promise: two messages that come while one worker searches reach two workers, though the first one's handler waits
/// for the second. Method: handlers that end only together; a message left behind is a deadlock.
#[test]
fn a_long_handler_holds_up_no_message_that_another_worker_could_take() {
    explore_wakes(1, || {
        let pool = Pool::new();
        let (publisher, one, other) = (pool.clone(), pool.clone(), pool);
        three(
            move || {
                publisher.publish(0);
                publisher.publish(1);
            },
            move || one.work(|| one.meet(2)),
            move || other.work(|| other.meet(2)),
        );
    });
}

/// The same with both messages in one subscription.
#[test]
fn a_long_handler_holds_up_no_message_of_its_own_subscription() {
    explore_wakes(1, || {
        let pool = Pool::new();
        let (publisher, one, other) = (pool.clone(), pool.clone(), pool);
        three(
            move || {
                publisher.publish(0);
                publisher.publish(0);
            },
            move || one.work(|| one.meet(2)),
            move || other.work(|| other.meet(2)),
        );
    });
}
