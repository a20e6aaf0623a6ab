//! Models of batches: nothing lost, nothing doubled, the order kept, and everybody told, however a batch ends.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::{explore, explore_wakes, three, two};
use millstream::modelled::{
    Layout, Receiver, Ring, Sender, Shape, TryRecvError, TrySendError, WaitStrategy, over,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    over(Ring::shaped(Shape { seats, ..Shape::new(capacity) }), WaitStrategy::Park)
}

/// What is there, or comes before the end.
fn drain(receiver: &Receiver<u64>, limit: usize) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match receiver.try_recv_many(&mut got, limit) {
            Ok(_) => {}
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => return got,
        }
    }
}

/// Promise: batches of two senders arrive whole, each in its order, whatever comes in between, and then the end does.
#[test]
fn two_batches_arrive_each_in_order() {
    explore(2, || {
        let (sender, receiver) = channel(4);
        let other = sender.clone();
        let (first, second, got) = three(
            move || sender.try_send_many([11, 12]).ok(),
            move || other.try_send_many([21, 22]).ok(),
            move || {
                let mut got = Vec::new();
                let count = receiver.try_recv_many(&mut got, 3).unwrap_or(0);
                assert_eq!(count, got.len());
                (got, receiver)
            },
        );
        assert_eq!((first, second), (Some(2), Some(2)));
        let (mut got, receiver) = got;
        receiver.try_recv_many(&mut got, 9).ok();
        let of =
            |tens| got.iter().copied().filter(|value| value / 10 == tens).collect::<Vec<u64>>();
        assert_eq!([of(1), of(2)], [[11, 12], [21, 22]]);
        assert_eq!(receiver.try_recv_many(&mut got, 9), Err(TryRecvError::Disconnected));
    });
}

/// Promise: cells go round in batches as they do one by one: \[R1\], \[R2\].
#[test]
fn cells_go_round_in_batches() {
    explore(2, || {
        let (sender, receiver) = channel(2);
        let (sent, got) = two(
            move || {
                let mut rest = vec![1, 2, 3, 4, 5];
                while let Err(error) = sender.try_send_many(rest) {
                    rest = error.into_inner().into_values().collect();
                    thread::yield_now();
                }
                sender
            },
            move || {
                let mut got = Vec::new();
                while got.len() < 5 {
                    if receiver.try_recv_many(&mut got, 2).is_err() {
                        thread::yield_now();
                    }
                }
                got
            },
        );
        assert_eq!(got, [1, 2, 3, 4, 5]);
        drop(sent);
    });
}

/// Promise: what a full ring cuts off comes back, in order, and what it took is there: together that is the batch.
#[test]
fn a_batch_cut_by_a_full_ring_comes_back_in_order() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let ((sent, back), mut got) = two(
            move || match sender.try_send_many(1..=4) {
                Ok(sent) => (sent, Vec::new()),
                Err(TrySendError::Full(unsent)) => {
                    (unsent.sent, unsent.into_values().collect::<Vec<u64>>())
                }
                Err(TrySendError::Disconnected(_)) => unreachable!("the receiver stays"),
            },
            move || (receiver.try_recv().ok(), receiver),
        );
        let mut all: Vec<u64> = got.0.take().into_iter().chain(got.1.try_iter()).collect();
        assert_eq!(all.len(), sent);
        assert!(sent >= 2, "there was room for two");
        all.extend(back);
        assert_eq!(all, [1, 2, 3, 4]);
    });
}

/// Promise: a batch that is cut by the end of the other side leaves nothing in the ring: each value is dropped, or comes
/// back; that which came back was not sent: \[C2\].
#[test]
fn nothing_stays_behind_of_a_batch_whose_receiver_goes() {
    explore(3, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(4));
        let (keep, theirs) = (sender.clone(), [(); 3].map(|()| token.clone()));
        let ((), sent) = two(move || drop(receiver), move || sender.try_send_many(theirs));
        if let Err(error) = sent {
            let unsent = error.into_inner();
            let (sent, back) = (unsent.sent, unsent.into_values().count());
            assert_eq!(sent + back, 3);
        }
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(keep);
    });
}

/// The same of a sender that sleeps for room, which must be woken to hear of it.
#[test]
fn a_batch_that_waits_hears_of_the_end() {
    explore(2, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(1));
        let (keep, theirs) = (sender.clone(), [(); 3].map(|()| token.clone()));
        let ((), sent) = two(
            move || drop(receiver.try_recv()),
            move || {
                // All three, if each was dropped by the receiver's end before the next one came.
                sender.send_many(theirs).map_or_else(
                    |error| (error.0.sent, error.0.into_values().count()),
                    |sent| (sent, 0),
                )
            },
        );
        assert_eq!(sent.0 + sent.1, 3);
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(keep);
    });
}

/// Gives so many values, and then panics (without the noise of one).
fn breaking(count: u64) -> impl Iterator<Item = u64> {
    (1..=count + 1)
        .map(move |value| if value > count { resume_unwind(Box::new(())) } else { value })
}

/// Promise: what a batch gave before its iterator panicked is sent, once, and the receivers are told. A receiver that
/// was not told is a deadlock.
#[test]
fn a_batch_that_panics_has_told_the_receivers() {
    explore(2, || {
        let (sender, receiver) = channel(4);
        let keep = (sender.clone(), receiver.clone());
        let ((), got) = two(
            move || {
                let sent = catch_unwind(AssertUnwindSafe(|| sender.send_many(breaking(2))));
                assert!(sent.is_err());
            },
            move || [receiver.recv(), receiver.recv()],
        );
        assert_eq!(got, [Ok(1), Ok(2)]);
        assert!(keep.1.is_empty());
    });
}

/// The same with the place in the ring after it: nobody goes over what the batch left, nor stops at it.
#[test]
fn a_batch_that_panics_leaves_the_ring_whole() {
    explore(2, || {
        let (sender, receiver) = channel(3);
        let other = sender.clone();
        let (mine, theirs) = two(
            move || catch_unwind(AssertUnwindSafe(|| sender.try_send_many(breaking(1)))).is_err(),
            move || other.try_send_many([11, 12]).ok(),
        );
        assert_eq!((mine, theirs), (true, Some(2)));
        let got = drain(&receiver, 9);
        assert_eq!(got.iter().filter(|value| **value > 10).collect::<Vec<_>>(), [&11, &12]);
        assert_eq!(got.iter().sum::<u64>(), 24);
    });
}

/// Promise: a batch wakes as many as it has values for.
#[test]
fn a_batch_wakes_a_receiver_for_each_value() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (first, second, sent) = three(
            move || receiver.recv().unwrap(),
            move || other.recv().unwrap(),
            move || sender.send_many([1, 2]).ok(),
        );
        assert_eq!((first + second, sent), (3, Some(2)));
        drop(keep);
    });
}

/// Promise: a batch taken out wakes as many as there is room for.
#[test]
fn a_batch_taken_wakes_a_sender_for_each_place() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), sender.clone());
        assert!(sender.try_send_many([1, 2]).is_ok());
        let (first, second, got) = three(
            move || sender.send(3),
            move || other.send(3),
            move || {
                let mut got = Vec::new();
                assert_eq!(receiver.recv_many(&mut got, 2), Ok(2));
                got
            },
        );
        assert_eq!((first, second, got), (Ok(()), Ok(()), vec![1, 2]));
        assert_eq!(keep.1.try_iter().collect::<Vec<_>>(), [3, 3]);
    });
}

/// Promise: a batch that waits for its first value sleeps and is woken, and takes the others that are there.
#[test]
fn a_batch_waits_for_its_first_value() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone());
        let (sent, got) = two(
            move || sender.send_many([1, 2]).ok(),
            move || {
                let mut got = Vec::new();
                while got.len() < 2 {
                    receiver.recv_many(&mut got, 2).unwrap();
                }
                got
            },
        );
        assert_eq!((sent, got), (Some(2), vec![1, 2]));
        drop(keep);
    });
}

/// Promise: the end is reported after the last value, also to who takes batches: \[C1\] and the last look.
#[test]
fn the_end_comes_after_the_last_batch() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let (sent, got) =
            two(move || sender.try_send_many([1, 2]).ok(), move || drain(&receiver, 1));
        assert_eq!((sent, got), (Some(2), vec![1, 2]));
    });
}

/// Promise: empty is exact also behind a batch: the bound that it stores in the end carries its entries: \[R3\].
#[test]
fn empty_is_exact_behind_a_batch() {
    explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let ((sender, receiver), raised) = (channel(3), flag.clone());
        let (keep, other) = ((sender.clone(), receiver.clone()), sender.clone());
        three(
            move || assert_eq!(sender.try_send_many([1, 2]).ok(), Some(2)),
            move || {
                assert!(other.try_send(3).is_ok());
                raised.store(true, Ordering::Release); // the model's own
            },
            move || {
                if flag.load(Ordering::Acquire) {
                    assert!(receiver.try_recv().is_ok(), "empty after a push before");
                }
            },
        );
        drop(keep);
    });
}

/// The same of full, behind batches that are taken out.
#[test]
fn full_is_exact_behind_a_batch() {
    explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let ((sender, receiver), raised) = (channel(2), flag.clone());
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        assert!(sender.try_send_many([1, 2]).is_ok());
        three(
            move || assert!(receiver.try_recv_many(&mut Vec::new(), 1).is_ok()),
            move || {
                assert!(other.try_recv_many(&mut Vec::new(), 1).is_ok());
                raised.store(true, Ordering::Release); // the model's own
            },
            move || {
                if flag.load(Ordering::Acquire) {
                    assert!(sender.try_send(3).is_ok(), "full after a pop before");
                }
            },
        );
        drop(keep);
    });
}
