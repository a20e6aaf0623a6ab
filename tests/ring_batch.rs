//! Batches: nothing is lost, doubled or out of order, however the iterator, the vector or the other side behaves.

#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[cfg(target_os = "linux")]
#[path = "support/sleeper.rs"]
mod sleeper;
#[path = "support/values.rs"]
mod values;

use ends::{End, Kind, RecvEnd, SendEnd, for_all_kinds};
use millstream::ring::{
    RecvError, SendError, TryRecvError, TrySendError, Unsent, WaitStrategy, bounded, bounded_with,
    spsc,
};
use std::cell::RefCell;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use values::{Counted, Parcel, Seen};

/// Everything that is there.
fn rest<T>(receiver: &mut impl RecvEnd<T>) -> Vec<T> {
    let mut rest = Vec::new();
    let _ = receiver.try_recv_many(&mut rest, usize::MAX);
    rest
}

// ---- what comes back -------------------------------------------------------------------------------------------------

/// Promise: a batch that does not fit comes back from the first value that did not, with its rest, in order.
#[test]
fn what_does_not_fit_comes_back_in_order() {
    fn check<K: Kind>(capacity: usize) {
        let (mut sender, mut receiver) = K::channel(capacity);
        for size in 0..3 * capacity {
            let fit = size.min(capacity);
            let sent = sender.try_send_many(0..size);
            assert_eq!(sent.is_ok(), size <= capacity);
            match sent {
                Ok(count) => assert_eq!(count, size),
                Err(TrySendError::Full(Unsent { sent, value, rest })) => {
                    assert_eq!((sent, value, rest), (fit, fit, fit + 1..size));
                }
                Err(other) => panic!("{other:?}"),
            }
            assert!(rest(&mut receiver).into_iter().eq(0..fit));
        }
        // A full ring sends nothing of it, and an empty batch asks for no room.
        sender.send_many(0..capacity).unwrap();
        let Err(TrySendError::Full(unsent)) = sender.try_send_many(7..9) else { panic!("room") };
        assert_eq!((unsent.sent, unsent.value, unsent.rest.clone()), (0, 7, 8..9));
        assert!(unsent.into_values().eq(7..9));
        assert_eq!(sender.try_send_many(0..0), Ok(0));
        assert_eq!(sender.send_many(0..0), Ok(0));
        assert_eq!(receiver.len(), capacity);
    }
    for capacity in [1, 2, 7, 8, 20] {
        for_all_kinds!(check(capacity));
    }
}

/// Promise: what came back is sent on as it came, until nothing is left.
#[test]
fn what_came_back_can_be_sent_again() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(5);
        let mut left: Box<dyn Iterator<Item = String>> = Box::new((0..48).map(|n| n.to_string()));
        let mut got = Vec::new();
        loop {
            match sender.try_send_many(left) {
                Ok(_) => break,
                Err(error) => left = Box::new(error.into_inner().into_values()),
            }
            let count = receiver.recv_many(&mut got, 3);
            assert_eq!(count, Ok(3));
        }
        got.extend(rest(&mut receiver));
        assert!(got.into_iter().eq((0..48).map(|n| n.to_string())));
    }
    for_all_kinds!(check());
}

/// Promise: a batch for nobody comes back whole.
#[test]
fn a_batch_for_nobody_comes_back_whole() {
    fn check<K: Kind>() {
        let (mut sender, receiver) = K::channel(5);
        assert_eq!(sender.try_send_many(0..3), Ok(3));
        drop(receiver);
        assert_eq!(sender.len(), 0);
        let expected = Unsent { sent: 0, value: 3, rest: 4..9 };
        assert_eq!(sender.try_send_many(3..9), Err(TrySendError::Disconnected(expected.clone())));
        assert_eq!(sender.send_many(3..9), Err(SendError(expected)));
        assert_eq!((sender.send_many(0..0), sender.try_send_many(0..0)), (Ok(0), Ok(0)));
    }
    for_all_kinds!(check());
}

#[test]
fn what_came_back_prints_without_its_values_and_compares_with_them() {
    struct Opaque;
    let (sender, _receiver) = bounded(1);
    let full = sender.try_send_many([Opaque, Opaque]).unwrap_err();
    assert_eq!(format!("{full} {full:?}"), "sending on a full channel Full(..)");
    assert_eq!(format!("{:?}", full.into_inner()), "Unsent { sent: 1, .. }");
    let unsent = Unsent { sent: 1, value: 2, rest: 3..5 };
    assert_eq!(unsent, unsent.clone());
    assert_ne!(unsent, Unsent { sent: 1, value: 2, rest: 3..6 });
    assert_ne!(unsent, Unsent { sent: 0, ..unsent.clone() });
}

// ---- limits and vectors ----------------------------------------------------------------------------------------------

/// Promise: a batch is received to the end of the vector, up to the limit, in order; none asks for nothing.
#[test]
fn a_receive_takes_up_to_its_limit_and_appends() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(9);
        let mut into = vec![100];
        // Limit 0 neither waits nor complains.
        assert_eq!(receiver.recv_many(&mut into, 0), Ok(0));
        assert_eq!(receiver.try_recv_many(&mut into, 0), Ok(0));
        assert_eq!(receiver.try_recv_many(&mut into, 1), Err(TryRecvError::Empty));
        sender.send_many(0..9).unwrap();
        assert_eq!(receiver.try_recv_many(&mut into, 0), Ok(0));
        assert_eq!(receiver.recv_many(&mut into, 1), Ok(1));
        assert_eq!(receiver.try_recv_many(&mut into, 3), Ok(3));
        assert_eq!((into.as_slice(), receiver.len()), (&[100, 0, 1, 2, 3][..], 5));
        into.clear();
        assert_eq!(receiver.recv_many(&mut into, 5), Ok(5));
        assert_eq!(into, [4, 5, 6, 7, 8]);
        sender.send_many(9..12).unwrap();
        drop(sender);
        assert_eq!(receiver.recv_many(&mut into, 2), Ok(2));
        assert_eq!(receiver.recv_many(&mut into, 2), Ok(1));
        assert_eq!(receiver.recv_many(&mut into, 2), Err(RecvError));
        assert_eq!(receiver.try_recv_many(&mut into, 2), Err(TryRecvError::Disconnected));
        assert_eq!((receiver.recv_many(&mut into, 0), into.len()), (Ok(0), 8));
    }
    for_all_kinds!(check());
}

/// Promise: a limit is a limit and no size: the vector grows by what comes, and does not move if there is room.
#[test]
fn the_vector_grows_by_what_comes() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(100);
        sender.send_many(0..3_u64).unwrap();
        let mut into = Vec::new();
        assert_eq!(receiver.recv_many(&mut into, usize::MAX), Ok(3));
        assert!(into.capacity() <= 8, "{} for three values", into.capacity());
        sender.send_many(0..3).unwrap();
        assert_eq!(receiver.try_recv_many(&mut into, usize::MAX), Ok(3));
        assert_eq!(into, [0, 1, 2, 0, 1, 2]);

        let mut into = Vec::with_capacity(50);
        let place = into.as_ptr();
        sender.send_many(0..50).unwrap();
        assert_eq!(receiver.recv_many(&mut into, 50), Ok(50));
        assert_eq!((into.as_ptr(), into.capacity()), (place, 50));
        // Nothing there: nothing is made.
        let mut into = Vec::<u64>::new();
        assert!(receiver.try_recv_many(&mut into, usize::MAX).is_err());
        assert!(into.capacity() <= 4);
    }
    for_all_kinds!(check());
}

/// Promise: if the vector cannot grow, what was received is in it and the rest in the channel.
/// Method: a vector of values without a size, whose length is near the end of what can be counted.
#[test]
fn a_vector_that_cannot_grow_loses_nothing() {
    fn check<K: Kind>(room: usize) {
        let (mut sender, mut receiver) = K::channel(5);
        sender.send_many([(); 5]).unwrap();
        let mut full = Vec::from([(); usize::MAX]);
        let mut into = full.clone();
        into.truncate(usize::MAX - room);
        let panic = catch_unwind(AssertUnwindSafe(|| receiver.recv_many(&mut into, 5)));
        assert!(panic.is_err());
        let received = into.len() - (usize::MAX - room);
        assert_eq!(receiver.len(), 5 - received);
        // The channel goes on, and senders learn of the room.
        assert_eq!(sender.try_send_many([(); 9]).unwrap_err().into_inner().sent, received);
        let mut refused = |receiver: &mut K::Receiver<()>, wait: bool| {
            let panic = catch_unwind(AssertUnwindSafe(|| match wait {
                true => receiver.recv_many(&mut full, 1).map(drop),
                false => receiver.try_recv_many(&mut full, 1).map(drop).map_err(|_| RecvError),
            }));
            assert!(panic.is_err());
        };
        refused(&mut receiver, false);
        refused(&mut receiver, true);
        assert_eq!(rest(&mut receiver).len(), 5);
        refused(&mut receiver, true); // rather than to wait for what it could not take
    }
    for room in [0, 1, 2, 4] {
        for_all_kinds!(check(room));
    }
}

// ---- iterators with a will of their own ------------------------------------------------------------------------------

/// Promise: if the iterator panics, what it gave before is sent, a sleeping receiver is told of it, and the rest of the
/// values is dropped once, by the iterator.
#[test]
fn what_a_panicking_iterator_gave_before_is_sent() {
    fn check<K: Kind>(capacity: usize, at: usize) {
        const ALL: usize = 20;
        let drops = AtomicUsize::new(0);
        let (mut sender, mut receiver) = K::channel(capacity);
        let got = thread::scope(|scope| {
            let receiving = scope.spawn(move || {
                // Waits in earnest: all that it gets before the end of the channel comes from the broken batch.
                let (mut got, mut into) = (0, Vec::new());
                while receiver.recv_many(&mut into, 3).is_ok() {
                    got += into.len();
                    into.clear();
                }
                got
            });
            let values: Vec<_> = (0..ALL).map(|_| Counted(&drops)).collect();
            let values = values.into_iter().enumerate().map(|(number, value)| {
                assert_ne!(number, at, "an iterator that panics");
                value
            });
            let panic = catch_unwind(AssertUnwindSafe(|| sender.send_many(values)));
            assert!(panic.is_err());
            drop(sender);
            receiving.join().unwrap()
        });
        assert_eq!((got, drops.into_inner()), (at, ALL));
    }
    for (capacity, at) in [(1, 0), (1, 1), (1, 7), (4, 0), (4, 3), (4, 4), (4, 5), (4, 19), (64, 9)]
    {
        for_all_kinds!(check(capacity, at));
    }
}

/// Promise: after such a panic a receiver that sleeps is woken for what was given, though the sender stays and says no
/// more. Method: the iterator waits until the receiver has taken the first value and sleeps again, and panics behind the
/// second one.
#[cfg(target_os = "linux")]
#[test]
fn a_panicking_iterator_leaves_no_receiver_asleep() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel_with(8, WaitStrategy::Park);
        thread::scope(|scope| {
            let receive = move || (receiver.recv(), receiver.recv(), receiver);
            let (task, receiving) = sleeper::start(scope, receive);
            let values = (0..9).inspect(|number| match number {
                0 => {}
                1 => drop(sleeper::asleep(std::slice::from_ref(&task))),
                _ => panic!("an iterator that panics"),
            });
            assert!(catch_unwind(AssertUnwindSafe(|| sender.send_many(values))).is_err());
            let (first, second, mut receiver) = receiving.join().unwrap();
            let third = receiver.try_recv();
            assert_eq!((first, second, third), (Ok(0), Ok(1), Err(TryRecvError::Empty)));
            sender.send(7).unwrap();
            assert_eq!(receiver.recv(), Ok(7));
        });
    }
    for_all_kinds!(check());
}

/// Promise: an iterator may use the very channel that its batch goes into, on the same thread: sending by the same end, by
/// a clone, in batches of its own, and receiving; nothing is lost or doubled, and each keeps its order.
#[test]
fn an_iterator_may_use_the_channel_of_its_batch() {
    for capacity in [4, 5, 8, 64] {
        let (sender, receiver) = bounded(capacity);
        let (clone, got) = (sender.clone(), RefCell::new(Vec::new()));
        let values = (0..40).inspect(|number| {
            // So many are in at most: one of the batch, one by the end, two by the clone.
            while receiver.len() + 4 > capacity {
                got.borrow_mut().push(receiver.try_recv().unwrap());
            }
            sender.send(1_000 + *number).unwrap();
            assert_eq!(clone.try_send_many([2_000 + number, 3_000 + number]).map_err(drop), Ok(2));
        });
        assert_eq!(sender.send_many(values).map_err(drop), Ok(40));
        let mut got = got.into_inner();
        got.extend(receiver.try_iter());
        for from in [0, 1_000, 2_000, 3_000] {
            let those = got.iter().copied().filter(|value| value / 1_000 * 1_000 == from);
            assert!(those.eq(from..from + 40), "{got:?}");
        }
        assert_eq!(got.len(), 160);
    }
}

/// The same with the sending end alone, which the batch borrows: the iterator may receive.
#[test]
fn an_iterator_may_receive_from_the_channel_of_its_batch() {
    fn check<K: Kind>(capacity: usize) {
        let (mut sender, mut receiver) = K::channel(capacity);
        let mut got = Vec::new();
        let mut number = 0;
        let values = iter::from_fn(|| {
            got.extend(receiver.try_recv());
            number += 1;
            (number <= 50).then_some(number)
        });
        let left = sender.try_send_many(values).map(drop);
        // One kind shows the first value, and the others when the batch is over: it fills up then.
        let refused = left.is_err();
        let value = left.map_or_else(|error| Some(error.into_inner().value), |()| None);
        got.extend(rest(&mut receiver));
        got.extend(value);
        assert!(got.iter().copied().eq(1..=got.len() as i32), "{got:?}");
        assert_eq!(got.len(), if refused { capacity + 2 } else { 50 });
    }
    for capacity in [1, 2, 8] {
        for_all_kinds!(check(capacity));
    }
}

/// Promise: an iterator may wait for room in the channel of its own batch, though the receivers sleep and the batch has told
/// them nothing yet: who waits for room tells them.
/// Method: the receiver sleeps in earnest, the batch has filled the ring, and its iterator sends one more.
#[cfg(target_os = "linux")]
#[test]
fn an_iterator_may_wait_for_room_in_the_channel_of_its_batch() {
    for strategy in [WaitStrategy::Adaptive, WaitStrategy::Park] {
        for capacity in [1, 3] {
            let (sender, receiver) = bounded_with(capacity, strategy);
            thread::scope(|scope| {
                let receive = move || receiver.iter().collect::<Vec<_>>();
                let (it, receiving) = sleeper::start(scope, receive);
                sleeper::asleep(&[it]);
                let one_more = iter::once_with(|| {
                    sender.send(capacity).unwrap();
                    capacity + 1
                });
                let sent = sender.send_many((0..capacity).chain(one_more));
                assert_eq!(sent.map_err(drop), Ok(capacity + 1));
                drop(sender);
                assert!(receiving.join().unwrap().into_iter().eq(0..capacity + 2));
            });
        }
    }
}

// ---- waiting, and the other side going -------------------------------------------------------------------------------

/// Promise: a batch larger than the ring goes through it, in order, whoever receives in whatever pieces.
#[test]
fn a_batch_larger_than_the_ring_goes_through_it() {
    fn check<K: Kind>(capacity: usize, pieces: usize) {
        const VALUES: u64 = 3_000;
        let (mut sender, mut receiver) = K::channel(capacity);
        thread::scope(|scope| {
            scope.spawn(move || {
                let sent = sender.send_many((0..VALUES).map(|n| Parcel::new(0, n)));
                assert_eq!(sent.map_err(drop), Ok(VALUES as usize));
            });
            let (mut seen, mut into) = (Seen::of(1), Vec::new());
            while let Ok(count) = receiver.recv_many(&mut into, pieces) {
                assert!((1..=pieces).contains(&count) && count == into.len());
                into.drain(..).for_each(|parcel| seen.open(parcel));
            }
            assert_eq!(seen.count, VALUES);
        });
    }
    for (capacity, pieces) in [(1, 1), (1, 9), (3, 2), (8, 8), (16, usize::MAX), (100, 7)] {
        for_all_kinds!(check(capacity, pieces));
    }
}

/// Promise: if the receivers go in the middle of a batch, what was not sent comes back: sent and unsent make the whole,
/// and every value is dropped once.
#[test]
fn a_batch_that_is_cut_off_adds_up() {
    const ALL: usize = 500;
    fn check<K: Kind>(capacity: usize, leave_after: usize) {
        let drops = AtomicUsize::new(0);
        let (mut sender, mut receiver) = K::channel(capacity);
        thread::scope(|scope| {
            let receiving = scope.spawn(move || {
                let mut into = Vec::new();
                while into.len() < leave_after {
                    let left = leave_after - into.len();
                    receiver.recv_many(&mut into, left).unwrap();
                }
                into.len()
            });
            let values: Vec<_> = (0..ALL).map(|_| Counted(&drops)).collect();
            let unsent = match sender.send_many(values) {
                Ok(sent) => {
                    assert_eq!(sent, ALL);
                    0
                }
                Err(SendError(Unsent { sent, value, rest })) => {
                    assert_eq!(sent + 1 + rest.len(), ALL);
                    let before = drops.load(Ordering::Relaxed);
                    assert!(before <= sent);
                    drop(value);
                    rest.len() + 1
                }
            };
            let received = receiving.join().unwrap();
            assert_eq!(received, leave_after);
            assert!(unsent <= ALL - received);
            assert_eq!(sender.len(), 0);
        });
        drop(sender);
        assert_eq!(drops.into_inner(), ALL);
    }
    for (capacity, leave_after) in
        [(1, 0), (1, 1), (2, 30), (7, 100), (16, 16), (64, 499), (9, ALL)]
    {
        for_all_kinds!(check(capacity, leave_after));
    }
}

/// Promise: if the senders go, a receiver of batches gets everything first, and then the end.
#[test]
fn a_receiver_of_batches_gets_everything_and_then_the_end() {
    const EACH: u64 = 2_000;
    for (capacity, senders, receivers) in [(1, 2, 2), (4, 3, 3), (32, 4, 1), (100, 1, 4)] {
        let (sender, receiver) = bounded(capacity);
        let total: u64 = thread::scope(|scope| {
            for name in 0..senders {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut number = 0;
                    while number < EACH {
                        // Batches of all sizes, and single values in between.
                        let size = (number * 7 % 23).min(EACH - number);
                        let batch = (number..number + size).map(|n| Parcel::new(name, n));
                        assert_eq!(sender.send_many(batch).map_err(drop), Ok(size as usize));
                        number += size;
                        if number < EACH {
                            sender.send(Parcel::new(name, number)).map_err(drop).unwrap();
                            number += 1;
                        }
                    }
                });
            }
            drop(sender);
            let receiving = (0..receivers).map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || {
                    let (mut seen, mut into) = (Seen::of(senders), Vec::new());
                    for limit in (1..40).cycle() {
                        match receiver.recv_many(&mut into, limit) {
                            Ok(_) => into.drain(..).for_each(|parcel| seen.open(parcel)),
                            Err(RecvError) => break,
                        }
                        receiver.try_iter().take(2).for_each(|parcel| seen.open(parcel));
                    }
                    seen.count
                })
            });
            let receiving: Vec<_> = receiving.collect();
            receiving.into_iter().map(|receiver| receiver.join().unwrap()).sum()
        });
        assert_eq!((total, receiver.len()), (senders * EACH, 0));
    }
}

/// Promise: a batch, once it is over, has told every receiver that has something to do, and a receive of many every
/// sender; nobody sleeps on beside a value or a free place.
/// Method: as many sleepers as values (places), each of which must come back; whoever is not woken hangs the test.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_wakes_as_many_as_it_has_something_for() {
    for strategy in [WaitStrategy::Adaptive, WaitStrategy::Park] {
        let (sender, receiver) = bounded_with(4, strategy);
        thread::scope(|scope| {
            let start = |_| sleeper::start(scope, || receiver.recv());
            let (tasks, waiting): (Vec<_>, Vec<_>) = (0..4).map(start).unzip();
            sleeper::asleep(&tasks);
            assert_eq!(sender.send_many(0..4), Ok(4));
            let got = waiting.into_iter().map(|receiver| receiver.join().unwrap().unwrap());
            let mut got: Vec<_> = got.collect();
            got.sort();
            assert_eq!(got, [0, 1, 2, 3]);

            assert_eq!(sender.send_many(4..8), Ok(4));
            let sender = &sender;
            let start = |number| sleeper::start(scope, move || sender.send(number));
            let (tasks, waiting): (Vec<_>, Vec<_>) = [8; 4].map(start).into_iter().unzip();
            sleeper::asleep(&tasks);
            let mut into = Vec::new();
            assert_eq!(receiver.recv_many(&mut into, 4), Ok(4));
            waiting.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
            into.extend(receiver.try_iter());
            assert_eq!(into, [4, 5, 6, 7, 8, 8, 8, 8]);
        });
    }
}

/// Promise: both ends of a channel may be at a batch at once on two threads, for ever so long, and the ring for two shows
/// what a batch put in when the batch waits or is over.
#[test]
fn a_batch_that_waits_shows_what_it_has_put_in() {
    let (mut producer, mut consumer) = spsc(3);
    thread::scope(|scope| {
        scope.spawn(move || producer.send_many(0..10).unwrap());
        // One at a time: the producer waits in its batch, with three in the ring, most of the time.
        (0..10).for_each(|value| assert_eq!(consumer.recv(), Ok(value)));
        assert_eq!(consumer.recv(), Err(RecvError));
    });
}
