//! Ends that are alone on their side: how one becomes alone and stops being it, and that everything promised of ends with
//! company holds for them. What becomes of the values: `ring_values.rs`.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/bounds.rs"]
mod bounds;
#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[path = "support/values.rs"]
mod values;

use bounds::assert_is_not;
use ends::{End, Kind, RecvEnd, SendEnd, for_all_kinds};
use millstream::ring::{
    CAPACITY_MAX, Consumer, Many, One, Producer, Receiver, RecvError, RecvTimeoutError,
    SendTimeoutError, Sender, TryRecvError, TrySendError, bounded, spsc,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use values::{Parcel, Seen};

// Alone means: one thread at a time, and no second of its kind.
assert_is_not!(Producer<u8, Many>: Sync, Clone);
assert_is_not!(Producer<u8, One>: Sync, Clone);
assert_is_not!(Consumer<u8, Many>: Sync, Clone);
assert_is_not!(Consumer<u8, One>: Sync, Clone);
assert_is_not!(Producer<Rc<u8>, Many>: Send);
assert_is_not!(Producer<Rc<u8>, One>: Send);
assert_is_not!(Consumer<Rc<u8>, Many>: Send);
assert_is_not!(Consumer<Rc<u8>, One>: Send);

#[test]
fn they_may_be_sent_and_caught_and_say_what_they_are() {
    fn check<T: Send + UnwindSafe + RefUnwindSafe + Debug>(end: T, said: &str) {
        assert_eq!(format!("{end:?}"), said);
    }
    let ((sender, receiver), (producer, consumer)) = (bounded::<Cell<u8>>(1), spsc::<Cell<u8>>(1));
    check(producer, "Producer { .. }");
    check(consumer, "Consumer { .. }");
    check(sender.try_into_producer().unwrap(), "Producer { .. }");
    check(receiver.try_into_consumer().unwrap(), "Consumer { .. }");
}

#[test]
fn a_capacity_of_nothing_or_too_much_panics_by_name() {
    for (capacity, text) in [(0, "at least one"), (CAPACITY_MAX + 1, "at most 983040")] {
        let panic = catch_unwind(|| spsc::<u8>(capacity)).unwrap_err();
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string());
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(spsc::<()>(CAPACITY_MAX).0.capacity(), Some(CAPACITY_MAX));
}

/// Promise: an end becomes alone only if it is the only one of its side; else it comes back, and is good.
#[test]
fn only_the_only_end_becomes_alone() {
    let (sender, receiver) = bounded::<u8>(2);
    let (second_sender, second_receiver) = (sender.clone(), receiver.clone());
    let sender = sender.try_into_producer().unwrap_err();
    let receiver = receiver.try_into_consumer().unwrap_err();
    assert!(sender.same_channel(&second_sender) && receiver.same_channel(&second_receiver));
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(second_sender);
    let mut producer = sender.try_into_producer().unwrap();
    let receiver = receiver.try_into_consumer().unwrap_err();
    drop(second_receiver);
    let mut consumer = receiver.try_into_consumer().unwrap();
    producer.send(2).unwrap();
    assert_eq!(consumer.recv(), Ok(2));
    // And back, into the same channel, as often as one likes.
    let (sender, receiver) = (producer.into_sender(), consumer.into_receiver());
    let (third_sender, third_receiver) = (sender.clone(), receiver.clone());
    assert!(sender.same_channel(&third_sender) && receiver.same_channel(&third_receiver));
    assert!(sender.try_into_producer().is_err() && receiver.try_into_consumer().is_err());
    let (mut producer, mut consumer) =
        (third_sender.try_into_producer().unwrap(), third_receiver.try_into_consumer().unwrap());
    producer.send(3).unwrap();
    assert_eq!(consumer.recv(), Ok(3));
}

/// Promise: an end that is alone counts as one end: the channel is connected while it lives, and not after.
#[test]
fn an_end_that_is_alone_keeps_the_channel_connected() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(2);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!((receiver.len(), receiver.recv()), (1, Ok(1)));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(receiver.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));

        let (mut sender, receiver) = K::channel(2);
        sender.send(1).unwrap();
        drop(receiver);
        assert_eq!((sender.len(), sender.is_empty(), sender.is_full()), (0, true, false));
        assert_eq!(sender.send(2).unwrap_err().into_inner(), 2);
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
        let timeout = sender.send_timeout(4, Duration::MAX);
        assert_eq!(timeout, Err(SendTimeoutError::Disconnected(4)));
    }
    for_all_kinds!(check());
}

#[test]
fn deadlines_pass_and_hand_the_value_back() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(1);
        let past = Instant::now();
        let moment = Duration::from_millis(1);
        assert_eq!(receiver.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_deadline(past), Err(RecvTimeoutError::Timeout));
        assert_eq!(sender.send_deadline(1, past), Ok(()));
        assert_eq!(sender.send_timeout(2, moment), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(sender.send_deadline(3, past), Err(SendTimeoutError::Timeout(3)));
        assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
        assert_eq!(receiver.recv_deadline(past), Ok(1));
        assert_eq!(sender.send_timeout(5, Duration::MAX), Ok(()));
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(5));
    }
    for_all_kinds!(check());
}

// ---- against a plain queue -------------------------------------------------------------------------------------------

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// One random call on either end, beside the same on a plain queue of that capacity.
fn step<K: Kind>(
    sender: &mut K::Sender<Box<u64>>,
    receiver: &mut K::Receiver<Box<u64>>,
    plain: &mut VecDeque<u64>,
    (capacity, step): (usize, u64),
    random: &mut Random,
) {
    let room = capacity - plain.len();
    let many = random.below(2 * capacity as u64 + 2);
    let offered: Vec<u64> = (0..many).map(|n| step * 1_000 + n).collect();
    match random.below(8) {
        0 | 1 => {
            let expected = if room > 0 { Ok(()) } else { Err(TrySendError::Full(Box::new(step))) };
            assert_eq!(sender.try_send(Box::new(step)), expected);
            plain.extend((room > 0).then_some(step));
        }
        2 => {
            let sent = sender.try_send_many(offered.iter().copied().map(Box::new));
            let (fit, not) = offered.split_at(room.min(offered.len()));
            plain.extend(fit);
            match sent {
                Ok(sent) => assert_eq!((sent, not), (fit.len(), &[][..])),
                Err(TrySendError::Full(unsent)) => {
                    assert_eq!(unsent.sent, fit.len());
                    assert!(unsent.into_values().map(|value| *value).eq(not.iter().copied()));
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        3 => {
            let offered = &offered[..room.min(offered.len())]; // it would wait
            let sent = sender.send_many(offered.iter().copied().map(Box::new));
            assert_eq!(sent.unwrap(), offered.len());
            plain.extend(offered);
        }
        4 | 5 => {
            let expected = plain.pop_front().map(Box::new).ok_or(TryRecvError::Empty);
            assert_eq!(receiver.try_recv(), expected);
        }
        kind => {
            let (mut into, limit) = (vec![Box::new(7)], many as usize);
            let count = plain.len().min(limit);
            let got = match kind {
                6 if !plain.is_empty() => receiver.recv_many(&mut into, limit).map_err(Into::into),
                _ => receiver.try_recv_many(&mut into, limit),
            };
            let empty = limit > 0 && plain.is_empty();
            assert_eq!(got, if empty { Err(TryRecvError::Empty) } else { Ok(count) });
            assert!(
                into.into_iter()
                    .map(|value| *value)
                    .eq([7].into_iter().chain(plain.drain(..count)))
            );
        }
    }
}

/// Promise: on one thread every answer is a plain bounded queue's, the lengths too, whatever ends there are.
/// Method: a random run of calls, batches among them, beside a `VecDeque`.
#[test]
fn every_answer_is_that_of_a_plain_bounded_queue() {
    fn check<K: Kind>(capacity: usize) {
        let (mut sender, mut receiver) = K::channel(capacity);
        let (mut plain, mut random) = (VecDeque::new(), Random(capacity as u64));
        for number in 0..1_500 {
            step::<K>(&mut sender, &mut receiver, &mut plain, (capacity, number), &mut random);
            let lengths = (plain.len(), plain.is_empty(), plain.len() == capacity, Some(capacity));
            let of = |end: &dyn End| (end.len(), end.is_empty(), end.is_full(), end.capacity());
            assert_eq!((of(&sender), of(&receiver)), (lengths, lengths), "step {number}");
        }
    }
    for capacity in [1, 2, 3, 7, 8, 9, 16, 100] {
        for_all_kinds!(check(capacity));
    }
}

/// Promise: it stays so when ends change between alone and in company at any moment, with whatever is in the ring.
#[test]
fn changing_ends_changes_no_answer() {
    enum Sends {
        Shared(Sender<Box<u64>>),
        Alone(Producer<Box<u64>>),
    }
    enum Receives {
        Shared(Receiver<Box<u64>>),
        Alone(Consumer<Box<u64>>),
    }
    for capacity in [1, 2, 3, 8, 11] {
        let (sender, receiver) = bounded(capacity);
        let (mut sends, mut receives) = (Sends::Shared(sender), Receives::Shared(receiver));
        let (mut plain, mut random) = (VecDeque::new(), Random(capacity as u64));
        for number in 0..3_000 {
            let at = (capacity, number);
            match (&mut sends, &mut receives) {
                (Sends::Shared(s), Receives::Shared(r)) => {
                    step::<ends::Shared>(s, r, &mut plain, at, &mut random);
                }
                (Sends::Alone(s), Receives::Shared(r)) => {
                    step::<ends::OneSends>(s, r, &mut plain, at, &mut random);
                }
                (Sends::Shared(s), Receives::Alone(r)) => {
                    step::<ends::OneReceives>(s, r, &mut plain, at, &mut random);
                }
                (Sends::Alone(s), Receives::Alone(r)) => {
                    step::<ends::BothAlone>(s, r, &mut plain, at, &mut random);
                }
            }
            sends = match (sends, random.below(4)) {
                (Sends::Shared(sender), 0) => Sends::Alone(sender.try_into_producer().unwrap()),
                (Sends::Alone(producer), 0) => Sends::Shared(producer.into_sender()),
                (same, _) => same,
            };
            receives = match (receives, random.below(4)) {
                (Receives::Shared(end), 0) => Receives::Alone(end.try_into_consumer().unwrap()),
                (Receives::Alone(end), 0) => Receives::Shared(end.into_receiver()),
                (same, _) => same,
            };
        }
    }
}

// ---- threads ---------------------------------------------------------------------------------------------------------

/// Promise: one end alone, many on the other side: nothing is lost, torn or out of order.
#[test]
fn a_producer_serves_many_receivers_and_a_consumer_many_senders() {
    const EACH: u64 = 20_000;
    for capacity in [1, 3, 8, 64] {
        let (sender, receiver) = bounded(capacity);
        let mut producer = sender.try_into_producer().unwrap();
        let counts: u64 = thread::scope(|scope| {
            let receivers = [(); 4].map(|()| receiver.clone()).map(|receiver| {
                scope.spawn(move || {
                    let mut seen = Seen::of(1);
                    receiver.into_iter().for_each(|parcel| seen.open(parcel));
                    seen.count
                })
            });
            (0..EACH).for_each(|n| producer.send(Parcel::new(0, n)).map_err(drop).unwrap());
            drop(producer);
            receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum()
        });
        assert_eq!((counts, receiver.len()), (EACH, 0), "capacity {capacity}");

        let (sender, receiver) = bounded(capacity);
        let mut consumer = receiver.try_into_consumer().unwrap();
        thread::scope(|scope| {
            for name in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..EACH / 4)
                        .for_each(|n| sender.send(Parcel::new(name, n)).map_err(drop).unwrap());
                });
            }
            drop(sender);
            let mut seen = Seen::of(4);
            consumer.iter().for_each(|parcel| seen.open(parcel));
            assert_eq!(seen.count, EACH, "capacity {capacity}");
        });
    }
}

/// Promise: an end that is alone may go from thread to thread, also one that ends right after.
/// Method: each end is handed round among three threads, a few values at a time; then on from threads that end.
#[test]
fn ends_that_are_alone_move_between_threads() {
    fn check<K: Kind>(capacity: usize) {
        const VALUES: u64 = 3_000;
        let (sender, receiver) = K::channel(capacity);
        thread::scope(|scope| {
            let (give, take) = mpsc::sync_channel(1);
            scope.spawn(move || {
                let mut sender = sender;
                for start in (0..VALUES).step_by(10) {
                    sender = thread::scope(|inner| {
                        let moved = inner.spawn(move || {
                            for number in start..start + 10 {
                                sender.send(Parcel::new(0, number)).map_err(drop).unwrap();
                            }
                            sender
                        });
                        moved.join().unwrap()
                    });
                }
                give.send(sender).unwrap();
            });
            let (mut receiver, mut seen) = (receiver, Seen::of(1));
            for _ in (0..VALUES).step_by(25) {
                (receiver, seen) = thread::scope(|inner| {
                    let moved = inner.spawn(move || {
                        (0..25).for_each(|_| seen.open(receiver.recv().map_err(drop).unwrap()));
                        (receiver, seen)
                    });
                    moved.join().unwrap()
                });
            }
            drop(take.recv().unwrap());
            assert!(receiver.recv().is_err());
            assert_eq!(seen.count, VALUES);
        });
    }
    for capacity in [1, 4, 33] {
        for_all_kinds!(check(capacity));
    }
}

/// Sends that many as one of its own, now alone, now in company.
fn send_by_turns(sender: Sender<Parcel>, name: u64, values: u64) {
    let (mut sender, mut number) = (Some(sender), 0);
    while number < values {
        match sender.take().unwrap().try_into_producer() {
            Ok(mut producer) => {
                let run = 7.min(values - number);
                for n in number..number + run {
                    producer.send(Parcel::new(name, n)).map_err(drop).unwrap();
                }
                number += run;
                sender = Some(producer.into_sender());
            }
            Err(shared) => {
                shared.send(Parcel::new(name, number)).map_err(drop).unwrap();
                number += 1;
                sender = Some(shared);
            }
        }
    }
}

/// Promise: ends may become alone and stop being it under load, and nothing is lost, doubled, torn, or out of order.
/// Method: on each side a thread goes back and forth, and others come and go beside it, so that it is alone in between.
#[test]
fn ends_change_under_load_and_lose_nothing() {
    const OWN: u64 = 6_000;
    const GUESTS: u64 = 60;
    const EACH: u64 = 20;
    for capacity in [1, 2, 8, 50] {
        let (sender, receiver) = bounded(capacity);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            let guest = sender.clone();
            scope.spawn(move || send_by_turns(sender, GUESTS, OWN));
            scope.spawn(move || {
                let mut guest = guest;
                for name in 0..GUESTS {
                    // The next one comes from the last one, so that there is always one or none beside the other thread.
                    let next = guest.clone();
                    (0..EACH).for_each(|n| guest.send(Parcel::new(name, n)).map_err(drop).unwrap());
                    drop(guest);
                    guest = next;
                }
            });
            let other = receiver.clone();
            let total = &total;
            scope.spawn(move || {
                // Takes a part and leaves, so that the other receiver is alone from then on.
                let mut seen = Seen::of(GUESTS + 1);
                other.iter().take(200).for_each(|parcel| seen.open(parcel));
                total.fetch_add(seen.count as usize, Ordering::Relaxed);
            });
            scope.spawn(move || {
                let (mut receiver, mut seen) = (Some(receiver), Seen::of(GUESTS + 1));
                loop {
                    let before = seen.count;
                    receiver = Some(match receiver.take().unwrap().try_into_consumer() {
                        Ok(mut consumer) => {
                            consumer.iter().take(5).for_each(|parcel| seen.open(parcel));
                            consumer.into_receiver()
                        }
                        Err(shared) => {
                            shared.iter().take(3).for_each(|parcel| seen.open(parcel));
                            shared
                        }
                    });
                    if seen.count == before {
                        break;
                    }
                }
                total.fetch_add(seen.count as usize, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner() as u64, OWN + GUESTS * EACH, "capacity {capacity}");
    }
}

/// Promise: an end that is never dropped keeps the channel connected, and does nothing else.
#[test]
fn an_end_that_is_forgotten_is_an_end_that_says_nothing() {
    let (mut producer, mut consumer) = spsc(2);
    producer.send(Box::new(1)).unwrap();
    std::mem::forget(producer);
    assert_eq!(consumer.recv(), Ok(Box::new(1)));
    assert_eq!(consumer.try_recv(), Err(TryRecvError::Empty));
    let (sender, receiver) = bounded(2);
    let mut producer = sender.try_into_producer().unwrap();
    producer.send(Box::new(2)).unwrap();
    std::mem::forget(receiver.try_into_consumer().unwrap());
    assert!(producer.try_send(Box::new(3)).is_ok());
    assert_eq!(producer.try_send(Box::new(4)), Err(TrySendError::Full(Box::new(4))));
    let sender = producer.into_sender();
    assert_eq!((sender.len(), sender.try_into_producer().is_ok()), (2, true));
}

/// Promise: `iter` waits and ends with the channel, `try_iter` takes what is there; both lend the consumer only.
#[test]
fn the_consumers_iterators_wait_or_do_not() {
    let (mut producer, mut consumer) = spsc(4);
    (0..3).for_each(|n| producer.send(n).unwrap());
    assert_eq!(consumer.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(consumer.try_iter().next(), None);
    thread::scope(|scope| {
        scope.spawn(move || (3..30).for_each(|n| producer.send(n).unwrap()));
        assert_eq!(consumer.iter().take(2).collect::<Vec<_>>(), [3, 4]);
        assert!(consumer.iter().eq(5..30));
        assert_eq!(consumer.iter().next(), None);
    });
}
