//! Models of the event count: no wake-up is lost, and no registration stays behind.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom_tests::{explore_wakes, three, two};
use millstream::modelled::EventCount;
use std::time::Instant;

/// A condition and its event count.
#[derive(Clone)]
struct Flagged {
    flag: Arc<AtomicBool>,
    event: Arc<EventCount>,
}

impl Flagged {
    fn new() -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), event: Arc::new(EventCount::new()) }
    }

    /// Makes the condition true, and notifies.
    fn raise(&self, how: Ordering) {
        self.flag.store(true, how);
        self.event.notify_one();
    }

    fn wait(&self) {
        let raised = || self.flag.load(Ordering::Acquire).then_some(()); // the model's own
        wait_for(&self.event, raised);
    }
}

/// Looks, registers, looks again, sleeps once: what every user of an event count does.
fn wait_for(event: &EventCount, condition: impl Fn() -> Option<()>) {
    while condition().is_none() {
        let key = event.listen();
        if condition().is_some() {
            return event.cancel(key);
        }
        event.wait(key);
    }
}

/// Things that are put in one by one and taken by who finds one.
#[derive(Clone)]
struct Stock {
    count: Arc<AtomicUsize>,
    event: Arc<EventCount>,
}

impl Stock {
    fn new() -> Self {
        Self { count: Arc::new(AtomicUsize::new(0)), event: Arc::new(EventCount::new()) }
    }

    fn put(&self) {
        self.count.fetch_add(1, Ordering::Release); // the model's own
        self.event.notify_one();
    }

    fn take(&self) {
        wait_for(&self.event, || {
            let mut seen = self.count.load(Ordering::Acquire); // the model's own
            while seen > 0 {
                let taken = seen - 1;
                match self.count.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Acquire)
                {
                    Ok(_) => return Some(()),
                    Err(now) => seen = now,
                }
            }
            None
        });
    }
}

/// Promise: a condition that came true before the notification ends the wait. A lost wake-up is a deadlock, which
/// loom reports. The plain store and the look at the waiters are store buffering: \[E1\].
#[test]
fn no_wake_up_is_lost() {
    explore_wakes(3, || {
        let shared = Flagged::new();
        let (a, b) = (shared.clone(), shared.clone());
        two(move || a.raise(Ordering::Release), move || b.wait());
        assert_eq!(shared.event.waiters(), 0);
    });
}

/// Promise: what was published before the notification is visible when `wait` returns: \[E2\].
#[test]
fn a_notified_waiter_sees_what_was_published() {
    explore_wakes(3, || {
        let shared = Flagged::new();
        let (a, b, key) = (shared.clone(), shared.clone(), shared.event.listen());
        two(
            move || a.raise(Ordering::Relaxed),
            move || {
                b.event.wait(key);
                assert!(b.flag.load(Ordering::Relaxed), "woken, and does not see why");
            },
        );
        assert_eq!(shared.event.waiters(), 0);
    });
}

/// The same for a deadline that passes while the notification comes.
#[test]
fn a_deadline_overtaken_by_a_notification_says_so() {
    explore_wakes(3, || {
        let shared = Flagged::new();
        let (a, b, key) = (shared.clone(), shared.clone(), shared.event.listen());
        two(
            move || a.raise(Ordering::Relaxed),
            move || {
                if b.event.wait_until(key, Some(Instant::now())) {
                    assert!(b.flag.load(Ordering::Relaxed), "notified, and does not see why");
                }
            },
        );
        assert_eq!(shared.event.waiters(), 0);
    });
}

/// Promise: one notification for each of two sleepers wakes both, in whatever order the kernel picks them.
#[test]
fn two_sleepers_two_notifications() {
    explore_wakes(1, || {
        let stock = Stock::new();
        let (a, b, c) = (stock.clone(), stock.clone(), stock.clone());
        three(
            move || a.take(),
            move || b.take(),
            move || {
                c.put();
                c.put();
            },
        );
    });
}

/// Promise: a wake meant for an older sleeper may reach a newer one, and neither is lost. Method: one has registered
/// before the first notification, the other comes between that and its wake. Were it to sleep again on its key, its
/// count, which stands for the older one now, would be taken out by the second notification, and the older one would
/// be counted by nobody: not even `notify_all` reaches it.
#[test]
fn a_wake_that_reaches_a_newcomer_is_not_swallowed() {
    explore_wakes(2, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        let older = shared.event.listen();
        three(
            move || a.event.wait(older),
            move || {
                let newer = b.event.listen();
                match b.flag.load(Ordering::Acquire) {
                    true => b.event.cancel(newer), // the model's own
                    false => b.event.wait(newer),
                }
            },
            move || {
                c.event.notify_one();
                c.event.notify_one();
                c.flag.store(true, Ordering::Release); // the model's own
                c.event.notify_all();
            },
        );
    });
}

/// Promise: registrations that end without a sleep leave no count behind, one notification or none between them.
#[test]
fn registrations_that_end_leave_no_count() {
    explore_wakes(2, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        let (first, second) = (shared.event.listen(), shared.event.listen());
        three(
            move || a.event.notify_one(),
            move || b.event.cancel(first),
            move || c.event.wait_until(second, Some(Instant::now())),
        );
        assert_eq!(shared.event.waiters(), 0);
    });
}

/// Promise: one who gives up after registering takes nobody's wake-up along.
#[test]
fn one_who_gives_up_takes_nobodys_wake_up_along() {
    explore_wakes(2, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        three(
            move || a.raise(Ordering::Release),
            move || b.wait(),
            move || c.event.cancel(c.event.listen()),
        );
        assert!(shared.event.waiters() <= 1); // see below
    });
}

/// Promise: one registered before a notification does not take out the count of one who came after it.
///
/// The count is not always 0 in the end: the first wake may come late, when its sleeper has gone on, and end a newer
/// sleep, whose count stays. Too high costs a useless wake, too low a lost one.
#[test]
fn a_late_cancel_leaves_a_newcomers_count_alone() {
    explore_wakes(1, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        let key = shared.event.listen();
        three(
            move || {
                a.event.notify_one();
                a.raise(Ordering::Release);
            },
            move || b.wait(),
            move || c.event.cancel(key),
        );
        assert!(shared.event.waiters() <= 1);
    });
}

/// Promise: a deadline that passes takes its own count out, and nobody else's wake-up along.
#[test]
fn a_deadline_takes_nobodys_wake_up_along() {
    explore_wakes(2, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        three(
            move || a.raise(Ordering::Release),
            move || b.wait(),
            move || c.event.wait_until(c.event.listen(), Some(Instant::now())),
        );
        assert!(shared.event.waiters() <= 1);
    });
}

/// Promise: `notify_all` wakes everybody.
#[test]
fn notify_all_wakes_both() {
    explore_wakes(2, || {
        let shared = Flagged::new();
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        three(
            move || a.wait(),
            move || b.wait(),
            move || {
                c.flag.store(true, Ordering::Release); // the model's own
                c.event.notify_all();
            },
        );
        assert_eq!(shared.event.waiters(), 0);
    });
}
