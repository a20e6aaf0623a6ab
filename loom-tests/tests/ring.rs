//! Models of the ring: each value once, whole, in order; answers exact; nothing leaked.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::{explore, three, two};
use millstream::modelled::{Layout, Ring, Shape, end_thread};

fn shape(capacity: usize) -> Shape {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    Shape { seats, ..Shape::new(capacity) }
}

/// Turns of 3 bits, two laps before they wrap.
fn old(capacity: usize) -> Shape {
    Shape { turn_bits: 3, lap: 6, ..shape(capacity) }
}

/// One ring, a handle for each party.
fn rings<T, const N: usize>(shape: Shape) -> [Arc<Ring<T>>; N] {
    let ring = Arc::new(Ring::shaped(shape));
    std::array::from_fn(|_| ring.clone())
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

fn two_producers(shape: Shape) {
    let [ring, a, b, c] = rings(shape);
    let (first, second, popped) =
        three(move || a.push(1).is_ok(), move || b.push(2).is_ok(), move || pop(&c));
    assert!(first || second);
    assert!(shape.capacity == 1 || first && second, "full with room");
    let mut got: Vec<u64> = popped.into_iter().chain(rest(&ring)).collect();
    got.sort();
    let accepted: Vec<u64> =
        [(1, first), (2, second)].iter().filter(|x| x.1).map(|x| x.0).collect();
    assert_eq!(got, accepted);
}

/// Promise: two producers that race for the last entry put in one value each, or one is told that it is full.
#[test]
fn two_producers_race_for_one_entry() {
    explore(2, || two_producers(shape(1)));
}

/// Promise: with room for both, both are accepted, and each value is popped once.
#[test]
fn two_producers_fill_two_entries() {
    explore(2, || two_producers(shape(2)));
}

/// Promise: two consumers share what comes, each value once, first in, first out.
#[test]
fn two_consumers_and_a_producer() {
    explore(2, || {
        let [ring, a, b, c] = rings(shape(2));
        assert_eq!(ring.push(1), Ok(0));
        let (first, second, pushed) = three(move || a.pop(), move || b.pop(), move || c.push(2));
        assert_eq!(pushed, Ok(1));
        let mut got: Vec<(u64, u64)> = first.into_iter().chain(second).collect();
        got.extend(std::iter::from_fn(|| ring.pop()));
        got.sort();
        assert_eq!(got, [(0, 1), (1, 2)]); // a position each, in the order of the pushes
    });
}

/// A cell is written again only at push capacity + 3: a shorter model cannot see \[R2\].
const LAPS: u64 = 5;

fn laps(shape: Shape) {
    let [ring, a, b] = rings(shape);
    let ((), got) = two(
        move || (1..=LAPS).for_each(|value| push_waiting(&a, value)),
        move || (0..LAPS).map(|_| pop_waiting(&b)).collect::<Vec<_>>(),
    );
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

/// Promise: turns may wrap: the exchange, the walk, full and empty are told modulo their width.
#[test]
fn turns_wrap() {
    explore(2, || laps(old(1)));
}

#[test]
fn turns_wrap_with_two_producers() {
    explore(2, || {
        let [ring, a, b, c] = rings(old(1));
        let (first, second, mut popped) = three(
            move || a.push(1).is_ok() as usize,
            move || (2..4).filter(|value| b.push(*value).is_ok()).count(),
            move || (0..2).filter(|_| pop(&c).is_some()).count(),
        );
        popped += rest(&ring).len();
        assert_eq!(first + second, popped);
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
    explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let ([_ring, a, b, c], raised) = (rings(shape(2)), flag.clone());
        three(
            move || assert!(a.push(1).is_ok()),
            move || {
                assert!(b.push(2).is_ok());
                raised.store(true, Ordering::Release); // the model's own
            },
            move || {
                if flag.load(Ordering::Acquire) {
                    assert!(pop(&c).is_some(), "empty after a push that happened before");
                }
            },
        );
    });
}

/// Promise: full is exact, as empty is.
#[test]
fn full_is_exact() {
    explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let ([ring, a, b, c], raised) = (rings(shape(2)), flag.clone());
        assert_eq!((ring.push(1), ring.push(2), ring.is_full()), (Ok(0), Ok(1), true));
        three(
            move || assert!(pop(&a).is_some()),
            move || {
                assert!(pop(&b).is_some());
                raised.store(true, Ordering::Release); // the model's own
            },
            move || {
                if flag.load(Ordering::Acquire) {
                    assert!(c.push(3).is_ok(), "full after a pop that happened before");
                }
            },
        );
    });
}

/// Promise: `len` was true at one moment. Method: a push follows each pop, so it is never above 1.
#[test]
fn a_length_was_true_at_one_moment() {
    explore(2, || {
        let [ring, a, b] = rings(shape(2));
        assert!(ring.push(0).is_ok());
        two(
            move || {
                for value in 1..3 {
                    assert!(pop(&a).is_some());
                    assert!(a.push(value).is_ok());
                }
            },
            move || assert!(b.len() <= 1, "never that long"),
        );
    });
}

/// Promise: `len` counts what happened before it, and so do `is_empty` and `is_full`.
#[test]
fn a_length_counts_what_happened_before() {
    explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let ([ring, a, b, c], raised) = (rings(shape(2)), flag.clone());
        three(
            move || assert!(a.push(1).is_ok()),
            move || {
                assert!(b.push(2).is_ok());
                raised.store(true, Ordering::Release); // the model's own
            },
            move || {
                let known = flag.load(Ordering::Acquire) as usize;
                assert!(known <= c.len());
                assert!(known == 0 || !c.is_empty());
            },
        );
        assert!(ring.len() == 2 && ring.is_full());
    });
}

/// Promise: a thread's first use of a ring may come at any time beside others' and loses nothing. Method: one near
/// seat, so both parties need the one chunk, and cells that came from it go round.
#[test]
fn first_uses_may_race() {
    explore(2, || {
        let seats = Layout { near: 1, chunks: 1, chunk_bits: 1 };
        let [ring, a, b] = rings(Shape { seats, ..shape(1) });
        assert!(ring.push(1).is_ok()); // the model's own thread has the near seat
        let party = |ring: Arc<Ring<u64>>, value| {
            move || (pop(&ring).is_some() as usize, ring.push(value).is_ok() as usize)
        };
        let (first, second) = two(party(a, 2), party(b, 3));
        let popped = first.0 + second.0 + rest(&ring).len();
        assert_eq!(popped, 1 + first.1 + second.1);
    });
}

/// Promise: a thread's number, and with it its cell, passes to a later thread whole. Method: the second comes to the
/// ring while the first is ending, so in some orders it inherits, ordered by the pool's lock alone.
#[test]
fn a_number_passes_from_an_ending_thread_to_a_new_one() {
    explore(2, || {
        let done = Arc::new(AtomicBool::new(false));
        let ([ring, a, b], raised) = (rings(shape(1)), done.clone());
        two(
            move || {
                assert!(a.push(1).is_ok());
                assert_eq!(pop(&a), Some(1));
                raised.store(true, Ordering::Relaxed); // the model's own: orders nothing
            },
            move || {
                while !done.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                push_waiting(&b, 2); // the first one's pop need not have happened before
                assert_eq!(pop(&b), Some(2));
            },
        );
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
        let ending = Arc::new(AtomicBool::new(false));
        let ([ring, a, b], raised) = (rings(shape(2)), ending.clone());
        let push_and_pop = |ring: &Ring<u64>| {
            let pushed = ring.push(1).is_ok();
            pushed && pop(ring).is_some()
        };
        let both = two(
            move || {
                assert!(push_and_pop(&a));
                end_thread();
                raised.store(true, Ordering::Release); // the model's own
                push_and_pop(&a)
            },
            move || {
                while !ending.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                push_and_pop(&b)
            },
        );
        assert_eq!(both, (true, true), "there was room, and a value for each");
        assert!(ring.is_empty());
    });
}

/// Promise: a ring that is dropped drops what it holds; nothing leaks, whoever had it last.
#[test]
fn a_dropped_ring_drops_what_it_holds() {
    explore(3, || {
        let token = Arc::new(());
        let ([a, b], mine, theirs) = (rings(shape(2)), token.clone(), token.clone());
        two(
            move || drop(a.push(theirs)),
            move || {
                assert!(b.push(mine).is_ok());
                drop(pop(&b));
            },
        );
        assert_eq!(Arc::strong_count(&token), 1);
    });
}
