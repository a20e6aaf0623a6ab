//! Models of the memory kind's line, of credits and of the gate: looking changes no order, an end counts what it drops, a
//! close counts whom it let in, and waits for them.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom_tests::{explore, three, two};
use millstream::modelled::{Credits, Gate, Line, NoRoom, Waiting};

fn line_of(items: &[u32]) -> Arc<Line<u32>> {
    let line = Line::new(4);
    items.iter().for_each(|&item| line.push(item).expect("there is room"));
    Arc::new(line)
}

fn pull(line: &Line<u32>) -> Option<u32> {
    line.pull(|| 0).map(|(_, waiting)| waiting.item)
}

/// Promise: whoever pulls while somebody looks gets every item, in order, and is never told that there is none. Method:
/// one party takes both items at its first try each, the other looks at both.
#[test]
fn looking_hides_nothing_and_changes_no_order() {
    explore(3, || {
        let line = line_of(&[1, 2]);
        let (puller, looker) = (line.clone(), line);
        let (pulled, seen) =
            two(move || [pull(&puller), pull(&puller)], move || looker.peek(|_| true, 2));
        assert_eq!(pulled, [Some(1), Some(2)]);
        assert!(seen.is_sorted() && seen.len() <= 2, "{seen:?}");
    });
}

/// The same while items still come.
#[test]
fn what_comes_while_somebody_looks_keeps_its_order() {
    explore(2, || {
        let line = line_of(&[1]);
        let (pusher, puller, looker) = (line.clone(), line.clone(), line.clone());
        let ((), pulled, _) = three(
            move || pusher.push(2).expect("there is room"),
            move || pull(&puller),
            move || looker.peek(|_| true, 2),
        );
        assert_eq!((pulled, pull(&line), pull(&line)), (Some(1), Some(2), None));
    });
}

/// Promise: each item is dropped by the end, or refused by it, or was given out: nothing is counted twice or not at all.
#[test]
fn an_end_accounts_for_every_item() {
    explore(3, || {
        let line = line_of(&[1, 2]);
        let (holder, ender) = (line.clone(), line);
        let (refused, dropped) = two(
            move || {
                let Some((place, waiting)) = holder.pull(|| 0) else { return 0 };
                let again = Waiting { attempt: 2, ..waiting };
                usize::from(holder.keep(9, place, again).is_err())
            },
            move || ender.end(),
        );
        assert_eq!(refused + dropped, 2);
    });
}

/// Promise: an item that is pushed while the line ends is dropped by one of the two, whoever comes later.
#[test]
fn a_push_that_meets_the_end_leaves_nothing_behind() {
    explore(3, || {
        let line = Arc::new(Line::new(2));
        let (pusher, ender) = (line.clone(), line);
        let (late, dropped) = two(
            move || {
                pusher.push(1).expect("there is room");
                if pusher.met_its_end() { pusher.end() } else { 0 }
            },
            move || ender.end(),
        );
        assert_eq!(late + dropped, 1);
    });
}

/// Promise (H17): what was let in before the close is in the count; what comes after it is refused.
#[test]
fn a_close_counts_whom_it_let_in() {
    explore(3, || {
        let credits = Arc::new(Credits::new(4));
        let (publisher, closer) = (credits.clone(), credits);
        let (taken, counted) = two(
            move || publisher.take(1),
            move || {
                closer.close();
                closer.count()
            },
        );
        assert_eq!(counted, u64::from(taken.is_ok()));
        assert!(taken != Err(NoRoom::Full));
    });
}

/// One gives room back after writing to the place, the other writes to it if `free` says that it may.
fn reuse_of_a_place(free: fn(&Credits) -> bool) {
    let credits = Arc::new(Credits::new(1));
    credits.take(1).expect("there is room");
    let place = Arc::new(UnsafeCell::new(0));
    let (worker, taker) = (credits.clone(), credits.clone());
    let (cleared, reused) = (place.clone(), place);
    two(
        move || {
            // SAFETY: loom's cell, which checks that nobody else is in it.
            #[allow(unsafe_code)]
            cleared.with_mut(|value| unsafe { *value = 1 });
            worker.give(1);
        },
        move || {
            if free(&taker) {
                // SAFETY: as above.
                #[allow(unsafe_code)]
                reused.with_mut(|value| unsafe { *value += 1 });
            }
        },
    );
}

/// Promise: who finds the count at zero sees what was done before the room was given back: \[Q1\].
#[test]
fn room_given_back_brings_along_what_was_done_with_it() {
    explore(3, || reuse_of_a_place(|credits| credits.count() == 0));
}

/// Promise: who takes the room that was given back sees it too: \[Q1\].
#[test]
fn room_taken_again_brings_along_what_was_done_with_it() {
    explore(3, || reuse_of_a_place(|credits| credits.take(1).is_ok()));
}

/// Promise (H17): whoever shut the gate sees what everybody did inside, and nobody enters after.
#[test]
fn a_gate_that_is_shut_has_everybody_out() {
    explore(3, || {
        let gate = Arc::new(Gate::new());
        let place = Arc::new(UnsafeCell::new(0));
        let (publisher, closer) = (gate.clone(), gate);
        let (written, read) = (place.clone(), place);
        let (entered, seen) = two(
            move || {
                let pass = publisher.enter();
                if pass.is_some() {
                    // SAFETY: loom's cell, which checks that nobody else is in it.
                    #[allow(unsafe_code)]
                    written.with_mut(|value| unsafe { *value = 1 });
                }
                pass.is_some()
            },
            move || {
                closer.shut_and_wait();
                assert!(closer.enter().is_none());
                // SAFETY: as above.
                #[allow(unsafe_code)]
                read.with(|value| unsafe { *value })
            },
        );
        assert_eq!(seen, i32::from(entered));
    });
}
