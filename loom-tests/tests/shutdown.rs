//! Models of the channel: blocking ends, deadlines, and the end seen from either side.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{explore, explore_wakes};
use millstream::modelled::{
    Layout, Receiver, RecvError, RecvTimeoutError, Ring, Sender, Shape, TryRecvError, TrySendError,
    over,
};
use std::time::Duration;

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    over(Ring::shaped(Shape { seats, ..Shape::new(capacity) }))
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
        let other = thread::spawn(move || {
            sender.send(1).unwrap();
            sender
        });
        assert_eq!(receiver.recv(), Ok(1));
        drop(other.join().unwrap());
    });
}

/// Promise: a sender that sleeps is woken by a receive, and the order is kept.
#[test]
fn a_sender_waits_for_room() {
    explore(2, || {
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let other = thread::spawn(move || {
            sender.send(2).unwrap();
            sender
        });
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        drop(other.join().unwrap());
    });
}

/// Promise: two receivers, two values, one wake for each: both are served.
#[test]
fn two_receivers_are_served() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let receivers = [receiver.clone(), receiver]
            .map(|receiver| thread::spawn(move || receiver.recv().unwrap()));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        let got = receivers.map(|receiver| receiver.join().unwrap());
        assert_eq!(got[0] + got[1], 3);
    });
}

/// Promise: a deadline that passes disturbs nobody: each value is with one of the two.
#[test]
fn a_receiver_that_gives_up_takes_no_wake_up_along() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(1);
        let impatient = receiver.clone();
        let other = thread::spawn(move || match impatient.recv_timeout(Duration::ZERO) {
            Ok(value) => value,
            Err(error) => {
                assert_eq!(error, RecvTimeoutError::Timeout);
                0
            }
        });
        let third = thread::spawn(move || {
            sender.send(1).unwrap();
            sender
        });
        if other.join().unwrap() == 0 {
            assert_eq!(receiver.recv(), Ok(1));
        }
        drop(third.join().unwrap());
    });
}

/// Promise: what was accepted is received, then the end is reported: \[C1\] and the last look.
#[test]
fn the_end_comes_after_the_last_value() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let other = thread::spawn(move || sender.try_send(1).unwrap());
        assert_eq!(drain(&receiver), 1);
        other.join().unwrap();
    });
}

/// The same with two senders: the last drop must carry the other's value too.
#[test]
fn the_end_comes_after_the_last_value_of_two_senders() {
    explore(2, || {
        let (sender, receiver) = channel(2);
        let senders = [sender.clone(), sender]
            .map(|sender| thread::spawn(move || sender.try_send(1).unwrap()));
        assert_eq!(drain(&receiver), 2);
        senders.map(|sender| sender.join().unwrap());
    });
}

/// Promise: the drop of the last sender wakes a sleeping receiver.
#[test]
fn a_sleeping_receiver_learns_of_the_end() {
    explore(3, || {
        let (sender, receiver) = channel::<u64>(1);
        let other = thread::spawn(move || drop(sender));
        assert_eq!(receiver.recv(), Err(RecvError));
        other.join().unwrap();
    });
}

/// Promise: the drop of the last receiver wakes a sleeping sender, and gives it its value back.
#[test]
fn a_sleeping_sender_learns_of_the_end() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let other = thread::spawn(move || drop(receiver));
        if let Err(error) = sender.send(2) {
            assert_eq!(error.into_inner(), 2);
        }
        other.join().unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    });
}

/// Promise: when the last receiver is gone, nothing stays in the ring: a value goes back to its sender or is dropped,
/// though the sender lives on: \[C2\].
#[test]
fn nothing_stays_behind_in_a_ring_without_receivers() {
    explore(3, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(2));
        let other = thread::spawn(move || drop(receiver));
        let back = sender.try_send(token.clone()).err();
        assert!(back.as_ref().is_none_or(TrySendError::is_disconnected));
        other.join().unwrap();
        drop(back);
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind");
        drop(sender);
    });
}

#[test]
fn nothing_stays_behind_of_two_senders() {
    explore(2, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(2));
        let (clone, theirs) = (sender.clone(), token.clone());
        let other = thread::spawn(move || {
            drop(clone.try_send(theirs));
            clone
        });
        let third = thread::spawn(move || drop(receiver));
        drop(sender.try_send(token.clone()));
        third.join().unwrap();
        let clone = other.join().unwrap();
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind");
        drop((sender, clone));
    });
}
