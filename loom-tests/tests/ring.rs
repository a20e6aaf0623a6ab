//! Models of the ring: each value once, whole, in order; answers exact; nothing leaked.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::explore;
use millstream::modelled::{Layout, Ring, Shape, ThreadId};

fn shape(capacity: usize) -> Shape {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    Shape { seats, ..Shape::new(capacity) }
}

fn ring<T>(capacity: usize) -> Arc<Ring<T>> {
    Arc::new(Ring::shaped(shape(capacity)))
}

fn pop<T>(ring: &Ring<T>) -> Option<T> {
    ring.pop().map(|(_, value)| value)
}

fn rest(ring: &Ring<u64>) -> Vec<u64> {
    std::iter::from_fn(|| pop(ring)).collect()
}

fn push_waiting(ring: &Ring<u64>, mut value: u64) {
    while let Err(back) = ring.push(value) {
        value = back;
        thread::yield_now();
    }
}

fn pop_waiting(ring: &Ring<u64>) -> u64 {
    loop {
        match pop(ring) {
            Some(value) => return value,
            None => thread::yield_now(),
        }
    }
}

fn two_producers(capacity: usize) {
    let ring = ring(capacity);
    let theirs = ring.clone();
    let other = thread::spawn(move || theirs.push(2).is_ok());
    let mine = ring.push(1).is_ok();
    let mut got: Vec<u64> = pop(&ring).into_iter().collect();
    let other = other.join().unwrap();
    assert!(mine || other);
    assert!(capacity == 1 || mine && other, "full with room");
    got.extend(rest(&ring));
    got.sort();
    let accepted: Vec<u64> = [(1, mine), (2, other)].iter().filter(|x| x.1).map(|x| x.0).collect();
    assert_eq!(got, accepted);
}

/// Promise: two producers that race for the last entry put in one value each, or one is told that it is full.
#[test]
fn two_producers_race_for_one_entry() {
    explore(3, || two_producers(1));
}

#[test]
fn two_producers_fill_two_entries() {
    explore(3, || two_producers(2));
}

/// Promise: each value is popped once, while two push and one pops.
#[test]
fn two_producers_and_a_consumer() {
    explore(2, || {
        let ring = ring(2);
        let producers = [1, 2].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || assert!(ring.push(value).is_ok()))
        });
        let mut got: Vec<u64> = [pop(&ring), pop(&ring)].into_iter().flatten().collect();
        producers.map(|producer| producer.join().unwrap());
        got.extend(rest(&ring));
        got.sort();
        assert_eq!(got, [1, 2]);
    });
}

/// Promise: two consumers share what one producer pushes, first in, first out.
#[test]
fn two_consumers_and_a_producer() {
    explore(3, || {
        let ring = ring(2);
        assert_eq!(ring.push(1), Ok(0));
        let theirs = ring.clone();
        let other = thread::spawn(move || pop(&theirs));
        let mine = pop(&ring);
        assert_eq!(ring.push(2), Ok(1));
        let other = other.join().unwrap();
        let mut got: Vec<u64> = mine.into_iter().chain(other).collect();
        if let Some(mine) = mine {
            assert_eq!(mine, if other == Some(1) { 2 } else { 1 });
        }
        got.extend(rest(&ring));
        got.sort();
        assert_eq!(got, [1, 2]);
    });
}

/// A cell is written again only at push capacity + 3: a shorter model cannot see \[R2\].
const LAPS: u64 = 5;

fn laps(shape: Shape) {
    let ring = Arc::new(Ring::shaped(shape));
    let theirs = ring.clone();
    let producer = thread::spawn(move || (1..=LAPS).for_each(|v| push_waiting(&theirs, v)));
    let got: Vec<u64> = (0..LAPS).map(|_| pop_waiting(&ring)).collect();
    producer.join().unwrap();
    assert_eq!(got, (1..=LAPS).collect::<Vec<_>>());
    assert_eq!(pop(&ring), None);
}

/// Promise: cells go round, consumer to producer and back, and are never written before they were read.
#[test]
fn cells_go_round_for_five_laps() {
    explore(2, || laps(shape(1)));
}

#[test]
fn cells_go_round_through_two_entries() {
    explore(2, || laps(shape(2)));
}

/// Promise: turns may wrap. Turns of 3 bits, two laps before the wrap; the exchange, the walk and full and empty are
/// told modulo the width.
#[test]
fn turns_wrap() {
    explore(2, || laps(Shape { turn_bits: 3, lap: 6, ..shape(1) }));
}

#[test]
fn turns_wrap_with_two_producers() {
    explore(2, || {
        let ring = Arc::new(Ring::shaped(Shape { turn_bits: 3, lap: 6, ..shape(1) }));
        let theirs = ring.clone();
        let other = thread::spawn(move || (0..2).filter(|v| theirs.push(*v).is_ok()).count());
        let mut popped = (0..3).filter(|_| pop(&ring).is_some()).count();
        let mine = ring.push(9).is_ok() as usize;
        let pushed = mine + other.join().unwrap();
        popped += rest(&ring).len();
        assert_eq!(pushed, popped);
        for value in 0..9 {
            assert!(ring.push(value).is_ok());
            assert_eq!(ring.push(value), Err(value));
            assert_eq!(pop(&ring), Some(value));
            assert_eq!(pop(&ring), None);
        }
    });
}

/// Promise: empty is exact. Method: a push that happened before the pop, known by a flag.
#[test]
fn empty_is_exact() {
    explore(3, || {
        let (ring, flag) = (ring(2), Arc::new(AtomicBool::new(false)));
        let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
        let first = thread::spawn(move || assert!(first.push(1).is_ok()));
        let second = thread::spawn(move || {
            assert!(second.push(2).is_ok());
            raised.store(true, Ordering::Release); // the model's own
        });
        if flag.load(Ordering::Acquire) {
            assert!(pop(&ring).is_some(), "empty after a push that happened before");
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// Promise: full is exact, as empty is.
#[test]
fn full_is_exact() {
    explore(3, || {
        let (ring, flag) = (ring(2), Arc::new(AtomicBool::new(false)));
        assert_eq!((ring.push(1), ring.push(2), ring.is_full()), (Ok(0), Ok(1), true));
        let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
        let first = thread::spawn(move || assert!(pop(&first).is_some()));
        let second = thread::spawn(move || {
            assert!(pop(&second).is_some());
            raised.store(true, Ordering::Release); // the model's own
        });
        if flag.load(Ordering::Acquire) {
            assert!(ring.push(3).is_ok(), "full after a pop that happened before");
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// Promise: `len` was true at one moment. Method: a push follows each pop, so it is never above 1.
#[test]
fn a_length_was_true_at_one_moment() {
    explore(3, || {
        let ring = ring(2);
        assert!(ring.push(0).is_ok());
        let theirs = ring.clone();
        let counter = thread::spawn(move || assert!(theirs.len() <= 1, "never that long"));
        for value in 1..3 {
            assert!(pop(&ring).is_some());
            assert!(ring.push(value).is_ok());
        }
        counter.join().unwrap();
    });
}

/// Promise: `len` counts what happened before it, and so do `is_empty` and `is_full`.
#[test]
fn a_length_counts_what_happened_before() {
    explore(2, || {
        let (ring, flag) = (ring(2), Arc::new(AtomicBool::new(false)));
        let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
        let first = thread::spawn(move || assert!(first.push(1).is_ok()));
        let second = thread::spawn(move || {
            assert!(second.push(2).is_ok());
            raised.store(true, Ordering::Release); // the model's own
        });
        let known = flag.load(Ordering::Acquire) as usize;
        assert!(known <= ring.len());
        assert!(known == 0 || !ring.is_empty());
        first.join().unwrap();
        second.join().unwrap();
        assert!(ring.len() == 2 && ring.is_full());
    });
}

/// Promise: a thread's first use of a ring may come at any time beside others' and loses nothing. Method: one near
/// seat, so both spawned threads need the one chunk, and cells that came from it go round.
#[test]
fn first_uses_may_race() {
    explore(2, || {
        let seats = Layout { near: 1, chunks: 1, chunk_bits: 1 };
        let ring = Arc::new(Ring::shaped(Shape { seats, ..shape(1) }));
        assert!(ring.push(1).is_ok()); // the model's own thread has the near seat
        let others = [2, 3].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || (pop(&ring), ring.push(value).is_ok()))
        });
        let others = others.map(|other| other.join().unwrap());
        let popped = others.iter().filter(|(popped, _)| popped.is_some()).count();
        let pushed = 1 + others.iter().filter(|(_, pushed)| *pushed).count();
        assert_eq!(popped + rest(&ring).len(), pushed);
    });
}

/// Promise: a thread's number, and with it its cell, passes to a later thread whole. Method: the second thread starts
/// while the first is ending, so in some orders it inherits, ordered by the pool's lock alone.
#[test]
fn a_number_passes_from_an_ending_thread_to_a_new_one() {
    explore(2, || {
        let (ring, done) = (ring(1), Arc::new(AtomicBool::new(false)));
        let (theirs, raised) = (ring.clone(), done.clone());
        let first = thread::spawn(move || {
            assert!(theirs.push(1).is_ok());
            assert_eq!(pop(&theirs), Some(1));
            raised.store(true, Ordering::Relaxed); // the model's own: orders nothing
        });
        while !done.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let theirs = ring.clone();
        let second = thread::spawn(move || {
            push_waiting(&theirs, 2); // the first one's pop need not have happened before
            assert_eq!(pop(&theirs), Some(2));
        });
        first.join().unwrap();
        second.join().unwrap();
        for value in 3..6 {
            assert!(ring.push(value).is_ok());
            assert_eq!(pop(&ring), Some(value));
        }
    });
}

/// Promise: a destructor of an ending thread may use a ring although the thread's number was given back. Method: it
/// must borrow one, for another thread may have the old one by then.
#[test]
fn a_ring_is_used_while_its_thread_ends() {
    explore(2, || {
        let (ring, ending) = (ring(2), Arc::new(AtomicBool::new(false)));
        let (theirs, raised) = (ring.clone(), ending.clone());
        let first = thread::spawn(move || {
            assert!(theirs.push(0).is_ok());
            assert!(pop(&theirs).is_some());
            ThreadId::end();
            raised.store(true, Ordering::Release); // the model's own
            let pushed = theirs.push(1).is_ok() as usize;
            pushed.abs_diff(pop(&theirs).is_some() as usize)
        });
        let theirs = ring.clone();
        let second = thread::spawn(move || {
            while !ending.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let pushed = theirs.push(2).is_ok() as usize;
            pushed.abs_diff(pop(&theirs).is_some() as usize)
        });
        // Both push into room, and each finds at least its own value or takes the other's.
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (0, 0));
        assert!(ring.is_empty());
    });
}

/// Promise: a ring that is dropped drops what it holds; nothing leaks, whoever had it last.
#[test]
fn a_dropped_ring_drops_what_it_holds() {
    explore(3, || {
        let (ring, token) = (ring(2), Arc::new(()));
        let (theirs, another) = (ring.clone(), token.clone());
        let other = thread::spawn(move || drop(theirs.push(another)));
        assert!(ring.push(token.clone()).is_ok());
        drop(pop(&ring));
        drop(ring);
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&token), 1);
    });
}
