//! Models of the ring with one end on each side for good: two counters, and who empties it in the end.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{explore, two};
use millstream::modelled::{
    Consumer, One, Producer, RecvError, TryRecvError, TrySendError, WaitStrategy, spsc_with,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn channel<T>(capacity: usize) -> (Producer<T, One>, Consumer<T, One>) {
    spsc_with(capacity, WaitStrategy::Park)
}

/// Tries until it is done: a wait that costs the model fewer branches than a sleep.
fn insist<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        match attempt() {
            Some(done) => return done,
            None => thread::yield_now(),
        }
    }
}

/// What comes before the end.
fn drain(consumer: &mut Consumer<u64, One>) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match consumer.try_recv() {
            Ok(value) => got.push(value),
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => return got,
        }
    }
}

/// Cells are used again by the push after `capacity` of them.
const LAPS: u64 = 5;

fn laps(capacity: usize) {
    let (mut producer, mut consumer) = channel(capacity);
    let ((), got) = two(
        move || (1..=LAPS).for_each(|value| insist(|| producer.try_send(value).ok())),
        move || drain(&mut consumer),
    );
    assert_eq!(got, (1..=LAPS).collect::<Vec<_>>());
}

/// Promise: each value arrives once, whole, in order, and no cell is written before it was read: \[D1\], \[D2\]; then the
/// end is seen.
#[test]
fn values_go_through_one_cell() {
    explore(3, || laps(1));
}

#[test]
fn values_go_through_two_cells() {
    explore(2, || laps(2));
}

/// The same where there are more cells than values may be in the ring.
#[test]
fn values_go_through_three_of_four_cells() {
    explore(2, || laps(3));
}

/// Promise: what was looked at without being taken is what comes next.
#[test]
fn what_was_seen_is_what_comes() {
    explore(3, || {
        let (mut producer, mut consumer) = channel(1);
        let ((), got) = two(
            move || (1..=3).for_each(|value| insist(|| producer.try_send(value).ok())),
            move || {
                [(); 3].map(|()| {
                    let seen = insist(|| consumer.peek().copied());
                    assert_eq!(consumer.try_recv(), Ok(seen));
                    seen
                })
            },
        );
        assert_eq!(got, [1, 2, 3]);
    });
}

/// Promise: batches arrive whole and in order, and cut off what does not fit.
#[test]
fn batches_go_round() {
    explore(3, || {
        let (mut producer, mut consumer) = channel(2);
        let ((), got) = two(
            move || {
                let mut rest = vec![1, 2, 3, 4, 5];
                while let Err(error) = producer.try_send_many(rest) {
                    rest = error.into_inner().into_values().collect();
                    thread::yield_now();
                }
            },
            move || {
                let mut got = Vec::new();
                while consumer.try_recv_many(&mut got, 2) != Err(TryRecvError::Disconnected) {
                    thread::yield_now();
                }
                got
            },
        );
        assert_eq!(got, [1, 2, 3, 4, 5]);
    });
}

/// Promise: what a batch gave before its iterator panicked is sent, once, and the consumer is told.
#[test]
fn a_batch_that_panics_has_told_the_consumer() {
    explore(3, || {
        let (mut producer, mut consumer) = channel(4);
        let (producer, got) = two(
            move || {
                let values = (1..=3).inspect(|value| {
                    if *value == 3 {
                        resume_unwind(Box::new(())) // without the noise of a panic
                    }
                });
                assert!(catch_unwind(AssertUnwindSafe(|| producer.send_many(values))).is_err());
                producer
            },
            move || [consumer.recv(), consumer.recv()],
        );
        assert_eq!(got, [Ok(1), Ok(2)]);
        drop(producer);
    });
}

/// Promise: the ends wake each other, with values, room, and the end.
#[test]
fn ends_wake_each_other() {
    explore(2, || {
        let (mut producer, mut consumer) = channel(1);
        let ((), got) = two(
            move || (1..=2).for_each(|value| producer.send(value).unwrap()),
            move || [consumer.recv(), consumer.recv(), consumer.recv()],
        );
        assert_eq!(got, [Ok(1), Ok(2), Err(RecvError)]);
    });
}

/// Promise: a length was true at one moment, from either side. Method: a value goes in and comes out at once, one at a
/// time, so it is never above 1.
#[test]
fn a_length_was_true_at_one_moment() {
    explore(3, || {
        let (mut producer, mut consumer) = channel(2);
        two(
            move || {
                assert!(producer.try_send(1).is_ok());
                assert!((0..=1).contains(&producer.len()));
                (insist(|| producer.is_empty().then_some(())), producer.try_send(2)).1.unwrap();
                assert!(producer.len() <= 1, "never that long");
                producer
            },
            move || {
                let got = [(); 2].map(|()| insist(|| consumer.try_recv().ok()));
                assert_eq!((got, consumer.len()), ([1, 2], 0));
                consumer
            },
        );
    });
}

/// Promise: a consumer that goes leaves nothing behind, whatever the producer is doing, and nothing is dropped twice.
/// Method: it took one and leaves one; the producer pushes two: \[C2\], \[D3\].
#[test]
fn nothing_stays_behind_when_the_consumer_goes() {
    explore(3, || {
        let token = Arc::new(());
        let (mut producer, mut consumer) = channel(4);
        for _ in 0..2 {
            assert!(producer.try_send(token.clone()).is_ok());
        }
        let theirs = [(); 2].map(|()| token.clone());
        let ((), producer) = two(
            move || {
                assert!(consumer.try_recv().is_ok());
                drop(consumer);
            },
            move || {
                for token in theirs {
                    let sent = producer.try_send(token);
                    assert!(sent.as_ref().err().is_none_or(TrySendError::is_disconnected));
                }
                producer
            },
        );
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(producer);
    });
}

/// The same of a batch.
#[test]
fn nothing_stays_behind_of_a_batch_when_the_consumer_goes() {
    explore(3, || {
        let token = Arc::new(());
        let (mut producer, mut consumer) = channel(4);
        assert!(producer.try_send(token.clone()).is_ok());
        let theirs = [(); 2].map(|()| token.clone());
        let ((), producer) = two(
            move || {
                assert!(consumer.try_recv().is_ok());
                drop(consumer);
            },
            move || {
                drop(producer.try_send_many(theirs));
                producer
            },
        );
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(producer);
    });
}

/// Promise: a ring that is dropped drops what it holds.
#[test]
fn a_dropped_ring_drops_what_it_holds() {
    explore(3, || {
        let token = Arc::new(());
        let (mut producer, mut consumer) = channel(2);
        let theirs = [(); 2].map(|()| token.clone());
        two(move || drop(producer.try_send_many(theirs)), move || drop(consumer.try_recv()));
        assert_eq!(Arc::strong_count(&token), 1, "a value was lost");
    });
}

/// Promise: full and empty are not said of the same values: there is an order of the four calls that explains what they
/// answer. Each side's look could overtake its own store: \[D4\].
#[test]
fn full_and_empty_are_not_said_of_the_same_values() {
    explore(3, || {
        let (mut producer, mut consumer) = channel(2);
        assert!(producer.try_send(1).is_ok());
        let (is_full, is_empty) = two(
            move || {
                assert!(producer.try_send(2).is_ok());
                let is_full = producer.try_send(3).is_err_and(|error| error.is_full());
                (is_full, producer)
            },
            move || {
                assert_eq!(consumer.try_recv(), Ok(1));
                (consumer.try_recv().is_err(), consumer)
            },
        );
        assert!(
            !(is_full.0 && is_empty.0),
            "full before the pop, empty after it, and the push in between"
        );
    });
}
