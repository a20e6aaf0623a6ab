//! Adaptive workers from outside: as many as the load needs, never fewer or more than was said, and no message the worse.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::disallowed_types)] // No model checker takes over here.

use millstream::{
    Config, Delivery, Engine, HandlerError, OpenError, Stats, Subscription, WORKERS_MAX,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: only a failure ever waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that handlers wait at, and how many do.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
    passed: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.passed.fetch_add(1, Ordering::SeqCst);
    }

    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.changed.notify_all();
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}

/// Handlers of `asked` that wait at a gate.
fn gated(engine: &Engine, asked: impl Into<Subscription>) -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    let passing = Arc::clone(&gate);
    let handle = move |_: &Delivery| -> Result<(), HandlerError> {
        passing.pass();
        Ok(())
    };
    engine.subscribe(asked, handle).unwrap();
    gate
}

/// Looks again and again until it is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::yield_now();
        thread::sleep(Duration::from_millis(1)); // between two looks, no order of events
    }
}

fn open(min: usize, max: usize) -> Engine {
    Engine::open(Config::memory().adaptive_workers(min..=max).buffer(20_000)).unwrap()
}

fn publish(engine: &Engine, messages: usize) {
    for _ in 0..messages {
        engine.publish("t", "x").unwrap();
    }
}

fn counts(stats: &Stats) -> (usize, usize) {
    (stats.workers, stats.workers_max)
}

/// Promise: while all workers are in handlers that do not end, messages that wait get more of them, up to the maximum and
/// no further; when all is done there are as few as at the beginning.
#[test]
fn workers_come_up_to_the_maximum_and_go_down_to_the_minimum() {
    let engine = open(1, 4);
    assert_eq!(counts(&engine.stats()), (1, 4));
    let gate = gated(&engine, "t");
    publish(&engine, 200);
    until("all four at work", || gate.inside() == 4);
    assert_eq!(counts(&engine.stats()), (4, 4));
    gate.set(true);
    until("all handled", || gate.passed() == 200);
    until("one worker left", || engine.stats().workers == 1);
    assert_eq!(gate.most(), 4);
    assert!(engine.stats().thread_refused.is_none());
    assert!(engine.close(PATIENCE).unwrap().is_drained());
}

/// Promise: the same where the messages come after the workers were busy already, one at a time, when no worker and no
/// timer looks: the publish itself must bring the next one.
#[test]
fn a_message_that_comes_while_all_are_in_long_handlers_gets_a_worker() {
    let engine = open(1, 5);
    let gate = gated(&engine, "t");
    for number in 1..=5 {
        publish(&engine, 1);
        until("one more at work", || gate.inside() == number);
        // Long after the last look of whoever looks.
        thread::sleep(Duration::from_millis(if number == 3 { 1_500 } else { 150 }));
    }
    publish(&engine, 1);
    gate.set(true);
    until("all handled", || gate.passed() == 6);
    assert_eq!(gate.most(), 5);
    engine.close(PATIENCE).unwrap();
}

/// Promise: a retry is tried by another worker when its time comes, though all that were active are in long handlers.
#[test]
fn a_retry_gets_a_worker_while_all_are_in_long_handlers() {
    let config = Config::memory().adaptive_workers(1..=2).retry_delay(Duration::from_millis(300));
    let engine = Engine::open(config).unwrap();
    let (told, attempts) = channel();
    let handle = move |delivery: &Delivery| -> Result<(), HandlerError> {
        told.send(delivery.attempt())?;
        if delivery.attempt() == 1 { Err("once".into()) } else { Ok(()) }
    };
    engine.subscribe("fails", handle).unwrap();
    let gate = gated(&engine, "t");
    engine.publish("fails", "x").unwrap();
    assert_eq!(attempts.recv_timeout(PATIENCE), Ok(1));
    publish(&engine, 1);
    assert_eq!(attempts.recv_timeout(PATIENCE), Ok(2));
    gate.set(true);
    engine.close(PATIENCE).unwrap();
}

/// Promise: without being asked for, the number of workers never changes, whatever waits.
#[test]
fn it_is_off_unless_it_is_asked_for() {
    for config in [Config::memory().workers(2), Config::memory().adaptive_workers(2..=2)] {
        let engine = Engine::open(config).unwrap();
        assert_eq!(counts(&engine.stats()), (2, 2));
        let gate = gated(&engine, "t");
        publish(&engine, 200);
        until("both at work", || gate.inside() == 2);
        // Many times what an adaptive pool takes to grow: its absence can only be waited for.
        thread::sleep(Duration::from_millis(200));
        assert_eq!((gate.inside(), counts(&engine.stats())), (2, (2, 2)));
        gate.set(true);
        assert!(engine.close(PATIENCE).unwrap().is_drained());
        assert_eq!(gate.most(), 2);
    }
}

/// Promise: a subscription without a bound has all workers, those that came later too; one with a bound never more than
/// that, and what waits there calls for none.
#[test]
fn a_bound_of_a_subscription_holds_while_workers_come_and_go() {
    let engine = open(1, 4);
    let bound = gated(&engine, Subscription::new("t").name("bound").concurrency(2));
    publish(&engine, 300);
    until("two at work", || bound.inside() == 2);
    // Twenty looks of whoever might call another: that none comes can only be waited for.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(engine.stats().workers, 2);
    let free = gated(&engine, Subscription::new("t").name("free"));
    publish(&engine, 300);
    until("the others at work", || free.inside() == 2);
    free.set(true);
    until("all of one handled", || free.passed() == 300);
    assert_eq!(bound.inside(), 2);
    bound.set(true);
    assert!(engine.close(PATIENCE).unwrap().is_drained());
    assert_eq!(bound.most(), 2);
}

/// Promise: over many growths and shrinks no message is lost and none is left lying: each burst is handled to its end
/// before the next one comes, on both kinds. Method: handlers that wait until several run, so that a message without a
/// worker is a test that waits for ever.
#[test]
fn no_message_is_lost_over_many_growths_and_shrinks() {
    let directory = tempfile::tempdir().unwrap();
    let persistent = Config::persistent(directory.path()).segment_bytes(1 << 20);
    for (config, rounds) in [(Config::memory().buffer(20_000), 8), (persistent, 4)] {
        let engine = Engine::open(config.adaptive_workers(1..=6)).unwrap();
        let gate = gated(&engine, "t");
        let mut published = 0;
        let mut sizes = HashSet::new();
        for round in 0..rounds {
            gate.set(false);
            // One at a time, more than one, far more than there can be workers.
            let burst = [1, 7, 150, 300][round % 4];
            publish(&engine, burst);
            published += burst;
            until("as many at work as can be", || gate.inside() == burst.min(6));
            sizes.insert(engine.stats().workers);
            gate.set(true);
            until("the burst handled", || gate.passed() == published);
            if round % 2 == 1 {
                until("one worker left", || engine.stats().workers == 1);
            }
        }
        assert!(sizes.contains(&6), "{sizes:?}");
        assert_eq!(gate.most(), 6);
        assert!(engine.close(PATIENCE).unwrap().is_drained());
    }
}

/// Promise: while workers come and go under publishers, each message is handled once. Method: short and long handlers, by
/// turns, so that the number of workers goes up and down all the time; at the end the count is exact.
#[test]
fn each_message_is_handled_once_under_publishers() {
    const EACH: usize = 3_000;
    let engine = open(1, 8);
    let handled = Arc::new(Mutex::new(vec![0_u8; 2 * EACH]));
    let seen = Arc::clone(&handled);
    let handle = move |delivery: &Delivery| -> Result<(), HandlerError> {
        let number: usize = delivery.text()?.parse()?;
        if number % 500 < 250 && number.is_multiple_of(4) {
            thread::sleep(Duration::from_millis(2)); // a service
        }
        seen.lock().unwrap()[number] += 1;
        Ok(())
    };
    engine.subscribe("t", handle).unwrap();
    thread::scope(|scope| {
        for part in 0..2 {
            let engine = &engine;
            scope.spawn(move || {
                for number in 0..EACH {
                    engine.publish("t", (part * EACH + number).to_string()).unwrap();
                    if number % 500 >= 250 {
                        thread::sleep(Duration::from_micros(200)); // a load, not an order
                    }
                }
            });
        }
    });
    until("all handled", || engine.stats().queue_size() == 0);
    assert!(handled.lock().unwrap().iter().all(|times| *times == 1));
    assert!(engine.close(PATIENCE).unwrap().is_drained());
}

/// Promise: an engine closes whatever its workers do: parked, just called, in a handler.
#[test]
fn it_closes_with_parked_workers_and_while_they_come() {
    for round in 0..60 {
        let engine = open(1 + round % 2, 6);
        let gate = gated(&engine, "t");
        publish(&engine, round * 7);
        if round % 3 == 0 {
            until("some at work", || gate.inside() >= (round * 7).min(3));
        }
        gate.set(true);
        let report = engine.close(PATIENCE).unwrap();
        assert_eq!((report.is_drained(), gate.passed()), (true, round * 7));
    }
    // And where a handler never ends: the others go, it keeps its message.
    let engine = open(1, 3);
    let gate = gated(&engine, "t");
    publish(&engine, 50);
    until("all at work", || gate.inside() == 3);
    let report = engine.close(Duration::ZERO).unwrap();
    assert_eq!((report.left_over(), report.in_flight()), (50, 3));
    gate.set(true);
}

/// Promise: no call from inside a handler, of a worker that came later either, waits for itself.
#[test]
fn a_handler_of_a_later_worker_cannot_close_its_engine() {
    let engine = open(1, 3);
    let (refused, inside) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (noting, counting, own) = (Arc::clone(&refused), Arc::clone(&inside), engine.clone());
    let handle = move |_: &Delivery| -> Result<(), HandlerError> {
        counting.fetch_add(1, Ordering::SeqCst);
        until("all three", || counting.load(Ordering::SeqCst) >= 3);
        noting.fetch_and(own.close(Duration::ZERO).is_err(), Ordering::SeqCst);
        Ok(())
    };
    engine.subscribe("t", handle).unwrap();
    publish(&engine, 3);
    until("all three", || inside.load(Ordering::SeqCst) == 3);
    assert!(engine.close(PATIENCE).unwrap().is_drained());
    assert!(refused.load(Ordering::SeqCst));
}

#[test]
fn an_impossible_range_is_refused_by_name() {
    #[allow(clippy::reversed_empty_ranges)] // What is refused here.
    let ranges = [0..=4, 3..=2, 1..=WORKERS_MAX + 1];
    let told = ranges.map(|range| match Engine::open(Config::memory().adaptive_workers(range)) {
        Err(error @ OpenError::Setting { key: "adaptive_workers", .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    });
    let expected = [
        "`adaptive_workers` = 0..=4: at least 1 is needed",
        "`adaptive_workers` = 3..=2: the range is empty",
        "`adaptive_workers` = 1..=257: at most 256 are allowed",
    ];
    assert_eq!(told, expected);
    let engine = Engine::open(Config::memory().adaptive_workers(1..=WORKERS_MAX).workers(3));
    assert_eq!(counts(&engine.unwrap().stats()), (3, 3));
}
