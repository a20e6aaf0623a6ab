//! The promises of `millstream::ring` for ends that may have company, through its public interface only.
//!
//! That they answer as crossbeam-channel's do: `ring_drop_in.rs`. Ends that are alone: `ring_sole.rs`. Batches:
//! `ring_batch.rs`. Sleep: `ring_waiting.rs`. Tasks: `ring_async.rs`, `ring_cancel.rs`.

#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[cfg(target_os = "linux")]
#[path = "support/sleeper.rs"]
mod sleeper;
#[path = "support/values.rs"]
mod values;

#[cfg(target_os = "linux")]
use millstream::ring::RecvError;
use millstream::ring::{
    CAPACITY_MAX, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use values::{Bomb, Counted, Parcel, Seen};

/// The futures are off by default, and their tests need them: they are built with the others here, not passed over. (What is
/// published has no dependency on itself, and so no such tests.)
#[test]
fn the_tests_of_the_futures_are_built_too() {
    let published = !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("loom-tests").exists();
    assert!(cfg!(feature = "async") || published);
}

#[test]
fn a_capacity_of_nothing_or_too_much_panics_by_name() {
    for capacity in [0, CAPACITY_MAX + 1, usize::MAX] {
        assert!(catch_unwind(|| bounded::<u8>(capacity)).is_err(), "{capacity}");
    }
    assert_eq!(bounded::<u8>(CAPACITY_MAX).0.capacity(), Some(CAPACITY_MAX));
}

#[test]
fn deadlines_pass_and_hand_the_value_back() {
    let (sender, receiver) = bounded(1);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    sender.send(1).unwrap();
    let late = sender.send_timeout(2, Duration::from_millis(1));
    assert_eq!(late, Err(SendTimeoutError::Timeout(2)));
    assert_eq!(sender.send_deadline(3, Instant::now()), Err(SendTimeoutError::Timeout(3)));
    assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(1));
    assert_eq!(sender.send_timeout(4, Duration::MAX), Ok(()));
    drop(sender);
    assert_eq!(receiver.recv_deadline(Instant::now()), Ok(4));
    assert_eq!(receiver.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));
}

/// Promise: with more threads than cores each value arrives once, whole, and in its sender's order at each receiver;
/// and everything sent is received although the senders leave at once.
#[test]
fn many_senders_and_receivers_lose_nothing_and_keep_the_order() {
    const EACH: u64 = 4_000;
    for (capacity, senders, receivers) in
        [(1, 4, 4), (2, 8, 1), (3, 1, 8), (7, 6, 6), (64, 8, 8), (1000, 3, 5)]
    {
        let (sender, receiver) = bounded(capacity);
        let counted: Vec<u64> = thread::scope(|scope| {
            for name in 0..senders {
                let sender = sender.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        sender.send(Parcel::new(name, number)).map_err(|_| ()).unwrap();
                    }
                });
            }
            drop(sender);
            let takers: Vec<_> = (0..receivers)
                .map(|_| {
                    let receiver = receiver.clone();
                    scope.spawn(move || {
                        let mut seen = Seen::of(senders);
                        receiver.into_iter().for_each(|parcel| seen.open(parcel));
                        seen.count
                    })
                })
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!(counted.iter().sum::<u64>(), senders * EACH, "capacity {capacity}");
        assert_eq!(receiver.len(), 0);
    }
}

/// Promise: an end may be used through a reference by many threads, without a clone.
#[test]
fn one_handle_serves_many_threads() {
    let (sender, receiver) = bounded(5);
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (1..=1000).for_each(|value| sender.send(value).unwrap()));
            scope.spawn(|| {
                for _ in 0..1000 {
                    sum.fetch_add(receiver.recv().unwrap(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 4 * 500_500);
}

/// Promise: more threads than a new ring has seats for, all alive at once, and later ones that reuse their numbers.
#[test]
fn threads_come_and_go_by_the_hundred() {
    const THREADS: usize = 100;
    let (sender, receiver) = bounded(3);
    for round in 0..5 {
        let all = Barrier::new(THREADS);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (sender, all) = (&sender, &all);
                scope.spawn(move || {
                    all.wait();
                    sender.send(Box::new(number)).unwrap();
                    all.wait(); // nobody's number is free before everybody has one
                });
            }
            let mut got: Vec<usize> = receiver.iter().take(THREADS).map(|value| *value).collect();
            got.sort();
            assert_eq!(got, (0..THREADS).collect::<Vec<_>>(), "round {round}");
        });
    }
}

#[test]
fn values_without_a_size_are_counted() {
    let (sender, receiver) = bounded(3);
    assert_eq!(
        (sender.try_send(()), sender.try_send(()), sender.try_send(())),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(sender.try_send(()), Err(TrySendError::Full(())));
    assert_eq!((receiver.len(), receiver.try_iter().count(), receiver.len()), (3, 3, 0));
}

/// Promise: each value is dropped once, whether it was received, refused, or still in the ring at the end.
#[test]
fn every_value_is_dropped_exactly_once() {
    const EACH: usize = 2_000;
    for leave_after in [0, 1, 100, 7_000, usize::MAX] {
        let drops = AtomicUsize::new(0);
        let (sender, receiver) = bounded(8);
        thread::scope(|scope| {
            for _ in 0..4 {
                let (sender, drops) = (sender.clone(), &drops);
                scope.spawn(move || {
                    for _ in 0..EACH {
                        drop(sender.send(Counted(drops))); // comes back when the receivers have left
                    }
                });
            }
            drop(sender);
            for _ in 0..2 {
                let receiver = receiver.clone();
                scope.spawn(move || receiver.into_iter().take(leave_after).for_each(drop));
            }
            drop(receiver);
        });
        assert_eq!(drops.into_inner(), 4 * EACH, "receivers that leave after {leave_after}");
    }
}

/// Promise: when the last receiver goes, what the ring holds is dropped then and there, though senders live on; and
/// from then on values come back.
#[test]
fn the_last_receiver_takes_the_queue_along() {
    let drops = AtomicUsize::new(0);
    let (sender, receiver) = bounded(4);
    let other = receiver.clone();
    (0..3).for_each(|_| assert!(sender.try_send(Counted(&drops)).is_ok()));
    drop(receiver);
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(other);
    assert_eq!(drops.load(Ordering::Relaxed), 3);
    let back = sender.send(Counted(&drops)).unwrap_err().into_inner();
    assert_eq!((drops.load(Ordering::Relaxed), sender.len()), (3, 0));
    drop(back);
    assert!(sender.try_send(Counted(&drops)).is_err_and(|error| error.is_disconnected()));
}

/// The same while senders are at it: nothing is left in the ring, whoever came last.
#[test]
fn nothing_stays_in_a_ring_that_nobody_will_read() {
    for _ in 0..300 {
        let drops = AtomicUsize::new(0);
        let (sender, receiver) = bounded(64);
        let start = Barrier::new(3);
        let sent: usize = thread::scope(|scope| {
            let senders = [(), ()].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    (1..).take_while(|_| sender.send(Counted(&drops)).is_ok()).count() + 1
                })
            });
            let leaver = scope.spawn(|| {
                start.wait();
                drop(receiver);
            });
            leaver.join().unwrap();
            senders.into_iter().map(|sender| sender.join().unwrap()).sum()
        });
        assert_eq!((sender.len(), drops.load(Ordering::Relaxed)), (0, sent));
    }
}

#[cfg(target_os = "linux")] // where it can be seen that somebody sleeps
#[test]
fn a_sleeping_sender_gets_its_value_back_and_a_sleeping_receiver_learns_of_the_end() {
    let (sender, receiver) = bounded(1);
    sender.send(1).unwrap();
    let (idle_sender, idle_receiver) = bounded::<u8>(1);
    thread::scope(|scope| {
        let (one, full) = sleeper::start(scope, || sender.send(2));
        let (other, empty) = sleeper::start(scope, || idle_receiver.recv());
        sleeper::asleep(&[one, other]);
        drop(receiver);
        drop(idle_sender);
        assert_eq!(full.join().unwrap().unwrap_err().into_inner(), 2);
        assert_eq!(empty.join().unwrap(), Err(RecvError));
    });
}

/// Promise: a panic in one value's drop leaks no other value and leaves the channel whole.
#[test]
fn a_panic_in_a_values_drop_harms_no_other() {
    let drops = AtomicUsize::new(0);
    let (sender, receiver) = bounded(6);
    for number in 0..4 {
        assert!(sender.send(Bomb(&drops, number == 1)).is_ok());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
    assert_eq!((drops.load(Ordering::Relaxed), sender.len()), (4, 0));
    assert!(sender.try_send(Bomb(&drops, false)).is_err_and(|error| error.is_disconnected()));

    let (sender, receiver) = bounded(6);
    for number in 0..4 {
        assert!(sender.send(Bomb(&drops, number == 2)).is_ok());
    }
    let taken = catch_unwind(|| receiver.iter().take(3).for_each(drop));
    assert!(taken.is_err());
    assert!(sender.send(Bomb(&drops, false)).is_ok(), "the channel goes on");
    assert_eq!(receiver.len(), 2);
}

/// Promise: an end that travels through its own channel is dropped with it.
#[test]
fn a_value_may_hold_an_end_of_its_own_channel() {
    struct Nested(Option<Sender<Nested>>);
    let (sender, receiver) = bounded(2);
    sender.send(Nested(Some(sender.clone()))).map_err(|_| ()).unwrap();
    drop(sender);
    let inner = receiver.recv().map_err(|_| ()).unwrap();
    inner.0.as_ref().unwrap().send(Nested(None)).map_err(|_| ()).unwrap();
    drop(inner);
    assert_eq!(receiver.iter().count(), 1);
}
