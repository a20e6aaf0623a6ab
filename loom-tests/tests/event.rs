//! Models of the event count: no wake-up is lost, and no registration stays behind.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use loom_tests::{explore, explore_wakes};
use millstream::modelled::EventCount;
use std::time::Instant;

/// Looks, registers, looks again, sleeps once: what every user of an event count does.
fn wait_for<R>(event: &EventCount, condition: impl Fn() -> Option<R>) -> R {
    loop {
        if let Some(found) = condition() {
            return found;
        }
        let key = event.listen();
        if let Some(found) = condition() {
            event.cancel(key);
            return found;
        }
        event.wait(key);
    }
}

fn raised(flag: &AtomicBool) -> Option<()> {
    flag.load(Ordering::Acquire).then_some(()) // the model's own
}

/// Takes one of what is there, as a consumer does.
fn take(stock: &AtomicUsize) -> Option<()> {
    let mut seen = stock.load(Ordering::Acquire); // the model's own
    while seen > 0 {
        match stock.compare_exchange(seen, seen - 1, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => return Some(()),
            Err(now) => seen = now,
        }
    }
    None
}

fn flagged() -> (Arc<AtomicBool>, Arc<EventCount>) {
    (Arc::new(AtomicBool::new(false)), Arc::new(EventCount::new()))
}

/// A thread that makes the condition true and notifies.
fn notifier(
    flag: &Arc<AtomicBool>,
    event: &Arc<EventCount>,
    how: Ordering,
) -> thread::JoinHandle<()> {
    let (flag, event) = (flag.clone(), event.clone());
    thread::spawn(move || {
        flag.store(true, how);
        event.notify_one();
    })
}

/// Promise: a condition that came true before the notification ends the wait. A lost wake-up is a deadlock, which
/// loom reports. The plain store and the look at the waiters are store buffering: \[E1\].
#[test]
fn no_wake_up_is_lost() {
    explore_wakes(3, || {
        let (flag, event) = flagged();
        let other = notifier(&flag, &event, Ordering::Release);
        wait_for(&event, || raised(&flag));
        other.join().unwrap();
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: what was published before the notification is visible when `wait` returns: \[E2\].
#[test]
fn a_notified_waiter_sees_what_was_published() {
    explore_wakes(3, || {
        let (flag, event) = flagged();
        let key = event.listen();
        let other = notifier(&flag, &event, Ordering::Relaxed);
        event.wait(key);
        assert!(flag.load(Ordering::Relaxed), "woken, and does not see why");
        other.join().unwrap();
    });
}

/// The same for a deadline that passes while the notification comes.
#[test]
fn a_deadline_that_was_overtaken_by_a_notification_says_so() {
    explore(3, || {
        let (flag, event) = flagged();
        let key = event.listen();
        let other = notifier(&flag, &event, Ordering::Relaxed);
        if event.wait_until(key, Some(Instant::now())) {
            assert!(flag.load(Ordering::Relaxed), "notified, and does not see why");
        }
        other.join().unwrap();
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: one notification for each of two sleepers wakes both, in whatever order the kernel picks them.
#[test]
fn two_sleepers_two_notifications() {
    explore_wakes(2, || {
        let (stock, event) = (Arc::new(AtomicUsize::new(0)), Arc::new(EventCount::new()));
        let sleepers = [(), ()].map(|()| {
            let (stock, event) = (stock.clone(), event.clone());
            thread::spawn(move || wait_for(&event, || take(&stock)))
        });
        for _ in 0..2 {
            stock.fetch_add(1, Ordering::Release); // the model's own
            event.notify_one();
        }
        sleepers.map(|sleeper| sleeper.join().unwrap());
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: one who gives up after registering takes nobody's wake-up along.
#[test]
fn one_who_gives_up_takes_nobodys_wake_up_along() {
    explore_wakes(2, || {
        let (flag, event) = flagged();
        let other = notifier(&flag, &event, Ordering::Release);
        let quitter = event.clone();
        let third = thread::spawn(move || quitter.cancel(quitter.listen()));
        wait_for(&event, || raised(&flag));
        other.join().unwrap();
        third.join().unwrap();
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: one registered before a notification does not take out the count of one who came after it.
#[test]
fn a_late_cancel_leaves_a_newcomers_count_alone() {
    explore_wakes(2, || {
        let (flag, event) = flagged();
        let key = event.listen();
        let (theirs, notifier) = (flag.clone(), event.clone());
        let other = thread::spawn(move || {
            notifier.notify_one();
            theirs.store(true, Ordering::Release); // the model's own
            notifier.notify_one();
        });
        let quitter = event.clone();
        let third = thread::spawn(move || quitter.cancel(key));
        wait_for(&event, || raised(&flag));
        other.join().unwrap();
        third.join().unwrap();
        // Not always 0: the first wake may come late, when its sleeper has gone on, and end a newer sleep, whose
        // count stays. Too high costs a useless wake, too low a lost one.
        assert!(event.waiters() <= 1);
    });
}

/// Promise: a deadline that passes takes its own count out, and nobody else's wake-up along.
#[test]
fn a_deadline_leaves_no_count_behind() {
    explore_wakes(2, || {
        let (flag, event) = flagged();
        let other = notifier(&flag, &event, Ordering::Release);
        let late = event.clone();
        let third = thread::spawn(move || late.wait_until(late.listen(), Some(Instant::now())));
        wait_for(&event, || raised(&flag));
        other.join().unwrap();
        third.join().unwrap();
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: `notify_all` wakes everybody.
#[test]
fn notify_all_wakes_both() {
    explore_wakes(2, || {
        let (flag, event) = flagged();
        let sleepers = [(), ()].map(|()| {
            let (flag, event) = (flag.clone(), event.clone());
            thread::spawn(move || wait_for(&event, || raised(&flag)))
        });
        flag.store(true, Ordering::Release); // the model's own
        event.notify_all();
        sleepers.map(|sleeper| sleeper.join().unwrap());
        assert_eq!(event.waiters(), 0);
    });
}
