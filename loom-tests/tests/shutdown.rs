//! Models of the channel: blocking ends, deadlines, and the end seen from either side.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{explore, explore_wakes, three, two};
use millstream::modelled::{
    Layout, Receiver, RecvError, RecvTimeoutError, Ring, Sender, Shape, TryRecvError, TrySendError,
    WaitStrategy, over,
};
use std::time::Duration;

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    over(Ring::shaped(Shape { seats, ..Shape::new(capacity) }), WaitStrategy::Park)
}

/// What comes before the end is reported.
fn drain(receiver: &Receiver<u64>) -> u64 {
    let mut got = 0;
    loop {
        match receiver.try_recv() {
            Ok(value) => got += value,
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => return got,
        }
    }
}

/// Promise: a receiver that sleeps is woken by a send. A lost wake-up is a deadlock.
#[test]
fn a_receiver_waits_for_a_value() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone()); // so that no end wakes anybody
        let (sent, got) = two(move || sender.send(1), move || receiver.recv());
        assert_eq!((sent, got), (Ok(()), Ok(1)));
        drop(keep);
    });
}

/// Promise: a sender that sleeps is woken by a receive, and the order is kept.
#[test]
fn a_sender_waits_for_room() {
    explore(2, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone());
        sender.send(1).unwrap();
        let (sent, got) = two(move || sender.send(2), move || (receiver.recv(), receiver.recv()));
        assert_eq!((sent, got), (Ok(()), (Ok(1), Ok(2))));
        drop(keep);
    });
}

/// Promise: two receivers, two values, one wake for each: both are served.
#[test]
fn two_receivers_are_served() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (first, second, ()) = three(
            move || receiver.recv().unwrap(),
            move || other.recv().unwrap(),
            move || [1, 2].iter().for_each(|value| sender.send(*value).unwrap()),
        );
        assert_eq!(first + second, 3);
        drop(keep);
    });
}

/// Promise: a deadline that passes disturbs nobody: the value is with one of the two.
#[test]
fn a_receiver_that_gives_up_takes_no_wake_up_along() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, impatient) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (got, maybe, ()) = three(
            move || receiver.recv().unwrap(),
            move || impatient.recv_timeout(Duration::ZERO),
            move || [1, 2].iter().for_each(|value| sender.send(*value).unwrap()),
        );
        let left: u64 = keep.1.try_iter().sum();
        match maybe {
            Ok(value) => assert_eq!((got + value, left), (3, 0)),
            Err(error) => assert_eq!((got + left, error), (3, RecvTimeoutError::Timeout)),
        }
    });
}

/// Promise: what was accepted is received, then the end is reported: \[C1\] and the last look.
#[test]
fn the_end_comes_after_the_last_value() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let (sent, got) = two(move || sender.try_send(1), move || drain(&receiver));
        assert_eq!(got, sent.is_ok() as u64);
    });
}

/// The same with two senders: the last drop must carry the other's value too.
#[test]
fn the_end_comes_after_the_last_value_of_two_senders() {
    explore(2, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = (receiver.clone(), sender.clone());
        let (first, second, got) =
            three(move || sender.try_send(1), move || other.try_send(1), move || drain(&receiver));
        assert_eq!((first, second, got), (Ok(()), Ok(()), 2));
        drop(keep);
    });
}

/// Promise: the drop of the last sender wakes a sleeping receiver.
#[test]
fn a_sleeping_receiver_learns_of_the_end() {
    explore(3, || {
        let (sender, receiver) = channel::<u64>(1);
        let ((), got) = two(move || drop(sender), move || receiver.recv());
        assert_eq!(got, Err(RecvError));
    });
}

/// Promise: the drop of the last receiver wakes a sleeping sender, and gives it its value back.
#[test]
fn a_sleeping_sender_learns_of_the_end() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let keep = sender.clone();
        let ((), sent) = two(move || drop(receiver), move || sender.send(2));
        assert!(sent.is_ok() || sent.is_err_and(|error| error.into_inner() == 2));
        assert_eq!(keep.try_send(3), Err(TrySendError::Disconnected(3)));
        assert!(keep.is_empty());
    });
}

/// Promise: when the last receiver is gone, nothing stays in the ring: a value goes back to its sender or is dropped,
/// though the sender lives on: \[C2\].
#[test]
fn nothing_stays_behind_in_a_ring_without_receivers() {
    explore(3, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(2));
        let (keep, theirs) = (sender.clone(), token.clone());
        let ((), sent) = two(move || drop(receiver), move || sender.try_send(theirs));
        assert!(sent.as_ref().err().is_none_or(TrySendError::is_disconnected));
        drop(sent);
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind");
        drop(keep);
    });
}

#[test]
fn nothing_stays_behind_of_two_senders() {
    explore(2, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(2));
        let (keep, other) = (sender.clone(), sender.clone());
        let (mine, theirs) = (token.clone(), token.clone());
        three(
            move || drop(receiver),
            move || drop(sender.try_send(mine)),
            move || drop(other.try_send(theirs)),
        );
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind");
        drop(keep);
    });
}
