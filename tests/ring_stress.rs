//! The ring under more threads than cores and than capacity, for a race detector to watch.
//!
//! It runs with the other tests; `.ci/tsan` runs it under ThreadSanitizer, which sees two accesses to one memory that no
//! synchronisation orders, even if they did no harm this time. Values are boxed and written through, so a cell with two
//! owners is such a race. ThreadSanitizer knows no fences: what leans on them is for the models (`loom-tests`).

use millstream::ring::{Consumer, Peer, Producer, Receiver, Sender, bounded, spsc};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

/// More than there are cores in most machines that run this, and than any capacity below.
const THREADS: usize = 6;

/// A channel that was used once: what a process makes at its first use of any ring is made before the threads begin. The
/// standard library makes it, which ThreadSanitizer does not see.
fn warmed<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (first, last) = bounded(1);
    assert!(first.try_send(()).is_ok() && last.try_recv().is_ok());
    assert!(last.recv_deadline(Instant::now()).is_err()); // a wait
    bounded(capacity)
}

/// Waits for each thread: the end of a scope alone orders nothing that ThreadSanitizer sees.
fn join<T>(threads: Vec<ScopedJoinHandle<'_, T>>) -> Vec<T> {
    let answer =
        |one: ScopedJoinHandle<'_, T>| one.join().expect("a thread that panics ends the test");
    threads.into_iter().map(answer).collect()
}

/// A value that is counted, and that changes hands with all that it points to.
struct Parcel<'a> {
    alive: &'a AtomicUsize,
    sender: usize,
    number: Box<usize>,
}

impl<'a> Parcel<'a> {
    fn new(alive: &'a AtomicUsize, sender: usize, number: usize) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { alive, sender, number: Box::new(number) }
    }
}

impl Drop for Parcel<'_> {
    fn drop(&mut self) {
        *self.number = usize::MAX; // a write by its last owner: it must be ordered after every other's
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one receiver has had of each sender, which must come in order.
struct Seen {
    next: [usize; THREADS],
    count: usize,
}

impl Seen {
    fn nothing() -> Self {
        Self { next: [0; THREADS], count: 0 }
    }

    fn note(&mut self, mut parcel: Parcel) {
        let next = &mut self.next[parcel.sender];
        assert!(*next <= *parcel.number, "out of order, or doubled");
        *next = *parcel.number + 1;
        *parcel.number += 1;
        self.count += 1;
    }
}

/// Promise: waiting ends lose and double nothing and keep each sender's order, at every small capacity.
#[test]
fn waiting_ends_lose_nothing_at_any_small_capacity() {
    const EACH: usize = 300;
    for capacity in 1..=8 {
        let alive = AtomicUsize::new(0);
        let (sender, receiver) = warmed(capacity);
        let counts: Vec<usize> = thread::scope(|scope| {
            let mut sending = Vec::new();
            for name in 0..THREADS {
                let (sender, alive) = (sender.clone(), &alive);
                sending.push(scope.spawn(move || {
                    for number in 0..EACH {
                        assert!(sender.send(Parcel::new(alive, name, number)).is_ok());
                    }
                }));
            }
            drop(sender);
            let mut taking = Vec::new();
            for _ in 0..THREADS {
                let receiver = receiver.clone();
                taking.push(scope.spawn(move || {
                    let mut seen = Seen::nothing();
                    receiver.iter().for_each(|parcel| seen.note(parcel));
                    seen.count
                }));
            }
            join(sending);
            join(taking)
        });
        assert_eq!(counts.iter().sum::<usize>(), THREADS * EACH, "capacity {capacity}");
        assert_eq!(alive.load(Ordering::Relaxed), 0, "capacity {capacity}");
    }
}

/// Promise: the same of ends that never wait, while others look at the length, handles come and go, and the channel is
/// dropped with what is left in it.
#[test]
fn ends_that_never_wait_lose_nothing_at_any_small_capacity() {
    const TURNS: usize = 1_500;
    for capacity in 1..=8 {
        let (alive, sent, had) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let (sender, receiver) = warmed(capacity);
        thread::scope(|scope| {
            let mut running = Vec::new();
            for name in 0..THREADS {
                let (sender, receiver) = (&sender, &receiver);
                let (alive, sent, had) = (&alive, &sent, &had);
                running.push(scope.spawn(move || {
                    let (own_sender, own_receiver) = (sender.clone(), receiver.clone());
                    let mut seen = Seen::nothing();
                    for turn in 0..TURNS {
                        let parcel = Parcel::new(alive, name, turn);
                        let went = if turn % 2 == 0 {
                            own_sender.try_send(parcel).is_ok()
                        } else {
                            sender.clone().try_send(parcel).is_ok()
                        };
                        sent.fetch_add(usize::from(went), Ordering::Relaxed);
                        assert!(receiver.len() <= capacity);
                        if turn % 3 != 0 {
                            own_receiver
                                .try_recv()
                                .into_iter()
                                .for_each(|parcel| seen.note(parcel));
                        }
                    }
                    had.fetch_add(seen.count, Ordering::Relaxed);
                }));
            }
            join(running);
        });
        let left = sender.len();
        assert_eq!(sent.into_inner(), had.into_inner() + left, "capacity {capacity}");
        assert_eq!(alive.load(Ordering::Relaxed), left, "capacity {capacity}");
        drop((sender, receiver));
        assert_eq!(alive.load(Ordering::Relaxed), 0, "capacity {capacity}");
    }
}

/// Promise: the last receiver may leave among senders that are at it; every value is dropped, once.
#[test]
fn receivers_that_leave_take_everything_along() {
    for capacity in 1..=8 {
        for _ in 0..20 {
            let alive = AtomicUsize::new(0);
            let (sender, receiver) = warmed(capacity);
            thread::scope(|scope| {
                let mut running = Vec::new();
                for name in 0..THREADS {
                    let (sender, alive) = (sender.clone(), &alive);
                    running.push(scope.spawn(move || {
                        let mut numbers = 0..;
                        while sender.send(Parcel::new(alive, name, numbers.next().unwrap())).is_ok()
                        {
                        }
                    }));
                }
                for enough in 0..THREADS / 2 {
                    let receiver = receiver.clone();
                    let take = move || receiver.iter().take(10 * enough).for_each(drop);
                    running.push(scope.spawn(take));
                }
                drop(receiver);
                join(running);
            });
            assert_eq!(
                (alive.load(Ordering::Relaxed), sender.len()),
                (0, 0),
                "capacity {capacity}"
            );
        }
    }
}

/// Promise: the same of batches, with an end alone on one side.
#[test]
fn batches_lose_nothing_beside_an_end_that_is_alone() {
    const EACH: usize = 600;
    for capacity in 1..=8 {
        let alive = AtomicUsize::new(0);
        let (sender, receiver) = warmed(capacity);
        let count = thread::scope(|scope| {
            let mut sending = Vec::new();
            for name in 0..THREADS {
                let (sender, alive) = (sender.clone(), &alive);
                sending.push(scope.spawn(move || {
                    let parcels = (0..EACH).map(|number| Parcel::new(alive, name, number));
                    assert!(sender.send_many(parcels).is_ok_and(|sent| sent == EACH));
                }));
            }
            drop(sender);
            let consumer = receiver.try_into_consumer();
            let mut consumer = consumer.unwrap_or_else(|_| panic!("the only receiver"));
            let taking = vec![scope.spawn(move || {
                let (mut seen, mut batch) = (Seen::nothing(), Vec::new());
                while consumer.recv_many(&mut batch, 5).is_ok() {
                    batch.drain(..).for_each(|parcel| seen.note(parcel));
                    if let Some(next) = consumer.peek() {
                        assert!(*next.number < EACH, "a value that was changed already");
                    }
                }
                seen.count
            })];
            join(sending);
            join(taking)[0]
        });
        assert_eq!(
            (count, alive.load(Ordering::Relaxed)),
            (THREADS * EACH, 0),
            "capacity {capacity}"
        );
    }
}

/// Promise: the same of ends that are alone on both sides: of the ring of two counters, and of the other ring.
#[test]
fn ends_that_are_alone_lose_nothing_at_any_small_capacity() {
    for capacity in 1..=8 {
        let (sender, receiver) = warmed(capacity);
        let producer = sender.try_into_producer().unwrap_or_else(|_| panic!("the only sender"));
        let consumer = receiver.try_into_consumer().unwrap_or_else(|_| panic!("the only receiver"));
        pass_alone(producer, consumer);
        let (producer, consumer) = spsc(capacity);
        pass_alone(producer, consumer);
    }
}

/// Leaves while the other still sends.
fn pass_alone<P: Peer, Q: Peer>(
    mut producer: Producer<Parcel<'static>, P>,
    mut consumer: Consumer<Parcel<'static>, Q>,
) where
    Producer<Parcel<'static>, P>: Send,
    Consumer<Parcel<'static>, Q>: Send,
{
    const ENOUGH: usize = 1_000;
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut parcels = (0..).map(|number| Parcel::new(&ALIVE, 0, number));
            loop {
                if producer.send(parcels.next().expect("numbers do not end")).is_err() {
                    return;
                }
                if producer.send_many(parcels.by_ref().take(3)).is_err() {
                    return;
                }
            }
        });
        let taking = scope.spawn(move || {
            let (mut seen, mut batch) = (Seen::nothing(), Vec::new());
            while seen.count < ENOUGH {
                assert!(consumer.peek().is_none_or(|next| *next.number >= seen.next[0]));
                consumer.recv().into_iter().for_each(|parcel| seen.note(parcel));
                let _ = consumer.try_recv_many(&mut batch, 4);
                batch.drain(..).for_each(|parcel| seen.note(parcel));
                assert_eq!(seen.next[0], seen.count, "one was left out");
            }
        });
        join(vec![sending, taking]);
    });
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
}
