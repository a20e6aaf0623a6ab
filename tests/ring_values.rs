//! What becomes of a value in any kind of channel: it is whole whatever its shape, can be looked at where the receiving end
//! is alone, and is dropped once.

#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[path = "support/values.rs"]
mod values;

use ends::{End, Kind, RecvEnd, SendEnd, for_all_kinds};
use millstream::ring::{
    Consumer, Peer, Producer, RecvError, TryRecvError, TrySendError, bounded, spsc,
};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use values::{Bomb, Counted};

// ---- peek ------------------------------------------------------------------------------------------------------------

/// Promise: a look takes nothing, sees what comes next, and sees nothing in an empty channel, disconnected or not.
#[test]
fn a_look_shows_the_next_value_and_leaves_it() {
    fn check<P: Peer>(mut producer: Producer<String, P>, mut consumer: Consumer<String, P>) {
        let capacity = producer.capacity().unwrap();
        assert_eq!(consumer.peek(), None);
        for round in 0..4 * capacity {
            producer.send(format!("{round} a")).unwrap();
            assert_eq!(consumer.peek().unwrap(), &format!("{round} a"));
            if capacity > 1 {
                producer.send(format!("{round} b")).unwrap();
            }
            for _ in 0..3 {
                assert_eq!(consumer.peek().unwrap(), &format!("{round} a"));
                assert_eq!(consumer.len(), capacity.min(2));
            }
            assert_eq!(consumer.recv().unwrap(), format!("{round} a"));
            if capacity > 1 {
                assert_eq!(consumer.peek().unwrap(), &format!("{round} b"));
                let mut batch = Vec::new();
                assert_eq!(consumer.recv_many(&mut batch, 9), Ok(1));
                assert_eq!(batch, [format!("{round} b")]);
            }
            assert_eq!(consumer.peek(), None);
        }
        producer.send("last".into()).unwrap();
        drop(producer);
        assert_eq!(consumer.peek().map(String::as_str), Some("last"));
        assert_eq!(consumer.recv().as_deref(), Ok("last"));
        assert!(consumer.peek().is_none() && consumer.try_recv().is_err());
    }
    for capacity in [1, 2, 3, 8, 9] {
        let (producer, consumer) = spsc(capacity);
        check(producer, consumer);
        let (sender, receiver) = bounded(capacity);
        check(sender.try_into_producer().unwrap(), receiver.try_into_consumer().unwrap());
    }
}

/// Promise: what was looked at is dropped once, received or left, and survives the change of ends.
#[test]
fn a_look_drops_nothing_and_saves_nothing_from_being_dropped() {
    let drops = AtomicUsize::new(0);
    let (sender, receiver) = bounded(4);
    (0..3).for_each(|_| sender.send(Counted(&drops)).unwrap());
    let mut consumer = receiver.try_into_consumer().unwrap();
    assert!(consumer.peek().is_some() && consumer.peek().is_some());
    drop(consumer.recv());
    assert!(consumer.peek().is_some());
    let receiver = consumer.into_receiver();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(receiver.recv());
    let mut consumer = receiver.try_into_consumer().unwrap();
    assert!(consumer.peek().is_some());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    drop(consumer);
    assert_eq!(drops.load(Ordering::Relaxed), 3);

    let (mut producer, mut consumer) = spsc(4);
    (0..3).for_each(|_| producer.send(Counted(&drops)).unwrap());
    assert!(consumer.peek().is_some());
    drop((producer, consumer));
    assert_eq!(drops.load(Ordering::Relaxed), 6);
}

/// Promise: a look beside a producer at work sees whole values, each the one that is received next.
#[test]
fn looks_beside_a_producer_at_work_see_what_is_received_next() {
    fn check<K: Kind>(mut look: impl FnMut(&mut K::Receiver<[u64; 4]>) -> Option<[u64; 4]>) {
        const VALUES: u64 = 30_000;
        let (mut sender, mut receiver) = K::channel(5);
        thread::scope(|scope| {
            scope.spawn(move || {
                for value in 0..VALUES {
                    sender.send([value; 4]).unwrap();
                }
            });
            for value in 0..VALUES {
                let seen = look(&mut receiver);
                assert!(seen.is_none_or(|seen| seen == [value; 4]), "{seen:?} before {value}");
                assert_eq!(receiver.recv(), Ok([value; 4]));
            }
        });
    }
    check::<ends::OneReceives>(|consumer| consumer.peek().copied());
    check::<ends::BothAlone>(|consumer| consumer.peek().copied());
    check::<ends::Spsc>(|consumer| consumer.peek().copied());
}

// ---- values of every shape -------------------------------------------------------------------------------------------

/// Promise: values of any size and alignment arrive whole and in order.
#[test]
fn values_of_every_size_and_alignment_are_whole() {
    #[derive(Debug, PartialEq, Clone, Copy)]
    #[repr(align(128))]
    struct Wide([u8; 128]);
    #[derive(Debug, PartialEq, Clone, Copy)]
    #[repr(align(4096))]
    struct Page(u8);

    fn carry<K: Kind, T: PartialEq + Debug + Send>(capacity: usize, make: fn(u8) -> T) {
        let (mut sender, mut receiver) = K::channel(capacity);
        thread::scope(|scope| {
            scope.spawn(move || {
                (0..500_u32).for_each(|n| sender.send(make(n as u8)).map_err(drop).unwrap());
            });
            (0..500_u32).for_each(|n| assert_eq!(receiver.recv(), Ok(make(n as u8))));
            assert_eq!(receiver.recv(), Err(RecvError));
        });
    }
    fn check<K: Kind>(capacity: usize) {
        carry::<K, ()>(capacity, |_| ());
        carry::<K, u8>(capacity, |n| n);
        carry::<K, [u64; 8]>(capacity, |n| [u64::from(n) << 40; 8]);
        carry::<K, [u8; 256]>(capacity, |n| [n; 256]);
        carry::<K, [u8; 3]>(capacity, |n| [n, !n, 7]);
        carry::<K, String>(capacity, |n| format!("{n}"));
        carry::<K, Wide>(capacity, |n| Wide([n; 128]));
        carry::<K, Page>(capacity, Page);
        carry::<K, Option<Box<u8>>>(capacity, |n| (n % 3 > 0).then(|| Box::new(n)));
    }
    for capacity in [1, 3, 64] {
        for_all_kinds!(check(capacity));
    }
}

#[test]
fn values_without_a_size_are_counted() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(3);
        (0..3).for_each(|_| assert_eq!(sender.try_send(()), Ok(())));
        assert_eq!(sender.try_send(()), Err(TrySendError::Full(())));
        assert_eq!((receiver.len(), receiver.is_full()), (3, true));
        (0..3).for_each(|_| assert_eq!(receiver.try_recv(), Ok(())));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
    for_all_kinds!(check());
}

/// Promise: each value is dropped once, whether it was received, refused, left in the ring, or sent to nobody.
#[test]
fn every_value_is_dropped_exactly_once() {
    const EACH: usize = 3_000;
    fn check<K: Kind>(leave_after: usize) {
        let drops = AtomicUsize::new(0);
        let (mut sender, mut receiver) = K::channel(8);
        thread::scope(|scope| {
            let drops = &drops;
            scope.spawn(move || (0..EACH).for_each(|_| drop(sender.send(Counted(drops)))));
            scope.spawn(move || {
                (0..leave_after).take_while(|_| receiver.recv().is_ok()).count();
            });
        });
        assert_eq!(drops.into_inner(), EACH, "a receiver that leaves after {leave_after}");
    }
    for leave_after in [0, 1, 100, 2_995, usize::MAX] {
        for_all_kinds!(check(leave_after));
    }
    let drops = AtomicUsize::new(0);
    fn left<K: Kind>(drops: &AtomicUsize) {
        let (mut sender, receiver) = K::channel(5);
        (0..5).for_each(|_| assert!(sender.try_send(Counted(drops)).is_ok()));
        drop((sender, receiver));
    }
    for_all_kinds!(left(&drops));
    assert_eq!(drops.into_inner(), 25);
}

/// Promise: when the receiver goes, nothing is left in the ring, and nothing is dropped twice, however the sender's last
/// push and the drop meet.
#[test]
fn nothing_stays_in_a_ring_that_nobody_will_read() {
    fn check<K: Kind>() {
        for _ in 0..200 {
            let drops = AtomicUsize::new(0);
            let (mut sender, receiver) = K::channel(64);
            let start = Barrier::new(2);
            let sent = thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    drop(receiver);
                });
                start.wait();
                let sent = (1..).take_while(|_| sender.send(Counted(&drops)).is_ok()).count() + 1;
                drop(sender.send(Counted(&drops)));
                sent + 1
            });
            // The one who empties the ring may be at it still; both are over here.
            assert_eq!((sender.len(), drops.load(Ordering::Relaxed)), (0, sent));
        }
    }
    for_all_kinds!(check());
}

/// Promise: a panic in one value's drop leaks no other value and leaves the channel whole.
#[test]
fn a_panic_in_a_values_drop_harms_no_other() {
    fn check<K: Kind>() {
        let drops = AtomicUsize::new(0);
        let (mut sender, receiver) = K::channel(6);
        (0..4).for_each(|n| assert!(sender.send(Bomb(&drops, n == 1)).is_ok()));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
        assert_eq!((drops.load(Ordering::Relaxed), sender.len()), (4, 0));
        assert!(sender.try_send(Bomb(&drops, false)).is_err_and(|error| error.is_disconnected()));

        let drops = AtomicUsize::new(0);
        let (mut sender, mut receiver) = K::channel(6);
        (0..4).for_each(|n| assert!(sender.send(Bomb(&drops, n == 2)).is_ok()));
        let taken = catch_unwind(AssertUnwindSafe(|| (0..3).for_each(|_| drop(receiver.recv()))));
        assert!(taken.is_err());
        assert!(sender.send(Bomb(&drops, false)).is_ok(), "the channel goes on");
        assert_eq!((receiver.len(), drops.load(Ordering::Relaxed)), (2, 3));
        drop((sender, receiver));
        assert_eq!(drops.load(Ordering::Relaxed), 5);

        let drops = AtomicUsize::new(0);
        let (mut sender, receiver) = K::channel(6);
        (0..5).for_each(|n| assert!(sender.send(Bomb(&drops, n == 3)).is_ok()));
        let both = catch_unwind(AssertUnwindSafe(|| drop((sender, receiver))));
        assert!(both.is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 5);
    }
    for_all_kinds!(check());
}
