//! Races of subscribing, unsubscribing, leaving and closing, from outside. Each of these has been a fault once.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::{
    Config, DEAD_LETTERS, Delivery, Engine, HandlerError, PublishError, QueueError, Subscription,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// How long a test waits for what must happen: only a failure ever waits that long.
const PATIENCE: Duration = Duration::from_secs(10);

fn memory() -> Engine {
    Engine::open(Config::memory().workers(2).retry_delay(Duration::from_millis(1))).unwrap()
}

fn forward(seen: Sender<String>) -> impl Fn(&Delivery) -> Result<(), HandlerError> + Send + Sync {
    move |delivery| Ok(seen.send(delivery.text()?.to_owned())?)
}

fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(PATIENCE).expect("it comes")
}

/// Promise: ending a subscription takes the handlers of no other one, whatever the other's name.
#[test]
fn a_name_that_is_taken_again_at_once_keeps_its_new_handler() {
    let engine = memory();
    for _ in 0..500 {
        engine.subscribe(Subscription::new("old").name("name"), |_| Ok(())).unwrap();
        let (seen, texts) = channel();
        let again = engine.clone();
        let taker = thread::spawn(move || {
            let handler = forward(seen);
            let handler = Arc::new(handler);
            loop {
                let handler = Arc::clone(&handler);
                let asked = Subscription::new("new").name("name");
                match again.subscribe(asked, move |delivery| handler(delivery)) {
                    Err(QueueError::FilterMismatch { .. }) => {}
                    other => return other.map(drop),
                }
            }
        });
        engine.unsubscribe("name").unwrap();
        taker.join().unwrap().unwrap();
        engine.publish("new", "here").unwrap();
        assert_eq!(next(&texts), "here");
        engine.unsubscribe("name").unwrap();
    }
}

/// Promise: whoever joins a subscription while it ends gets a handle that does nothing; the pool stays whole.
#[test]
fn joining_a_subscription_that_ends_harms_nobody() {
    let engine = memory();
    let asked = || Subscription::new("t").name("name");
    let again = engine.clone();
    let joiner = thread::spawn(move || {
        (0..20_000).for_each(|_| drop(again.subscribe(asked(), |_| Ok(())).unwrap()));
    });
    while !joiner.is_finished() {
        let _ = engine.unsubscribe("name");
    }
    joiner.join().unwrap();
    let (seen, texts) = channel();
    engine.subscribe("t", forward(seen)).unwrap();
    engine.publish("t", "here").unwrap();
    assert_eq!(next(&texts), "here");
}

/// Promise: a retry comes when its time comes while a worker has nothing to do, whatever the others are busy with.
#[test]
fn a_retry_waits_for_no_long_handler_while_a_worker_sleeps() {
    let engine =
        Engine::open(Config::memory().workers(4).retry_delay(Duration::from_millis(2))).unwrap();
    let ((told, events), gate) = (channel(), Arc::new(Barrier::new(4)));
    let opened = Arc::clone(&gate);
    let handle = move |delivery: &Delivery| -> Result<(), HandlerError> {
        match (delivery.text()?, delivery.attempt()) {
            ("fails", 1) => Err("once".into()),
            ("fails", _) => Ok(told.send(())?),
            _ => {
                opened.wait();
                Ok(())
            }
        }
    };
    engine.subscribe("t", handle).unwrap();
    for _ in 0..2_000 {
        engine.publish("t", "fails").unwrap();
        // Three workers are busy until the retry has come: the fourth must see to it.
        for _ in 0..3 {
            engine.publish("t", "long").unwrap();
        }
        next(&events);
        gate.wait();
    }
}

/// Promise: a close waits for what somebody here has in hand, whatever is settled meanwhile for subscriptions that all
/// have left.
#[test]
fn a_close_is_not_cut_short_by_settlements_elsewhere() {
    for _ in 0..300 {
        let engine = memory();
        let (left, stays) =
            (engine.subscriber("left").unwrap(), engine.subscriber("stays").unwrap());
        for _ in 0..200 {
            engine.publish("left", "").unwrap();
        }
        engine.publish("stays", "").unwrap();
        let elsewhere: Vec<_> =
            (0..200).map(|_| left.try_recv().unwrap().expect("published above")).collect();
        let mine = stays.try_recv().unwrap().expect("published above");
        drop(left);
        let closing = engine.clone();
        let closer = thread::spawn(move || closing.close(PATIENCE).unwrap());
        while !matches!(engine.publish("held", ""), Err(PublishError::Closed(_))) {}
        elsewhere.into_iter().for_each(|delivery| delivery.ack().unwrap());
        mine.ack().unwrap();
        assert_eq!(closer.join().unwrap().in_flight(), 0);
    }
}

/// Promise: a queue that is closed says so, even where it was full before.
#[test]
fn a_closed_queue_is_not_a_full_one() {
    let engine = Engine::open(Config::memory().buffer(1)).unwrap();
    engine.publish("held", "").unwrap();
    assert!(matches!(engine.publish("held", ""), Err(PublishError::Full(_))));
    engine.close(Duration::ZERO).unwrap();
    assert!(matches!(engine.publish("held", ""), Err(PublishError::Closed(_))));
}

/// Promise: whoever takes the dead letters gets those too that come while the queue closes.
#[test]
fn a_dead_letter_that_comes_during_the_close_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let persistent = Config::persistent(directory.path()).segment_bytes(1 << 20).open().unwrap();
    for engine in [memory(), persistent] {
        takes_a_late_dead_letter(&engine);
    }
}

fn takes_a_late_dead_letter(engine: &Engine) {
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    let (others, failing) = (engine.subscriber("other").unwrap(), engine.subscriber("t").unwrap());
    engine.publish("t", "fails").unwrap();
    let fails = failing.try_recv().unwrap().expect("published above");
    let closing = engine.clone();
    let closer = thread::spawn(move || closing.close(PATIENCE).unwrap());
    // Subscriptions are told in the order of their names that nothing more is published.
    assert!(matches!(others.recv(), Err(QueueError::Closed)));
    assert!(matches!(letters.try_recv(), Ok(None)));
    fails.dead_letter("on purpose").unwrap();
    letters.recv().unwrap().ack().unwrap();
    assert!(closer.join().unwrap().is_drained());
}

/// Promise: the room of a subscription that has ended is free, whoever still holds a handle of it.
#[test]
fn a_publish_that_meets_the_end_of_its_subscription_keeps_no_room() {
    let engine = Engine::open(Config::memory().max_size(64).buffer(64)).unwrap();
    let asked = || Subscription::new("t").name("name");
    let mut handles = vec![engine.subscriber(asked()).unwrap()];
    let (stop, publishing) = (Arc::new(AtomicBool::new(false)), engine.clone());
    let stopped = Arc::clone(&stop);
    let publisher = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // [relaxed] a test's flag
            let _ = publishing.publish("t", "");
        }
    });
    for _ in 0..20_000 {
        engine.unsubscribe("name").unwrap();
        handles.push(engine.subscriber(asked()).unwrap());
    }
    stop.store(true, Ordering::Relaxed); // [relaxed] a test's flag
    publisher.join().unwrap();
    engine.unsubscribe("name").unwrap();
    let _last = engine.subscriber("t").unwrap();
    for _ in 0..64 {
        engine.publish("t", "").unwrap();
    }
}

/// Promise: a handler whose own values panic when they are dropped costs no worker. Method: such handlers leave while
/// messages flow; a single worker then still handles what comes.
#[test]
fn a_handler_that_panics_when_it_is_dropped_costs_no_worker() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let engine = Engine::open(Config::memory().workers(1)).unwrap();
    let (seen, texts) = channel();
    engine.subscribe("quiet", forward(seen)).unwrap();
    for round in 0..50 {
        let (bomb, (running, begun), gate) = (Bomb, channel(), Arc::new(Barrier::new(2)));
        let opened = Arc::clone(&gate);
        let member = engine
            .subscribe(Subscription::new("t").name("n"), move |_: &Delivery| {
                let _armed = &bomb;
                running.send(())?;
                opened.wait();
                Ok(())
            })
            .unwrap();
        engine.publish("t", "x").unwrap();
        next(&begun);
        // The worker holds the handler now, and is the last to let it go.
        member.leave();
        gate.wait();
        engine.publish("quiet", "still here").unwrap();
        assert_eq!(next(&texts), "still here", "round {round}");
    }
    engine.close(Duration::from_secs(10)).unwrap();
}

/// Promise: no subscriber sleeps beside a message, though one notice stood for two. Method: a window of two, both taken;
/// two more messages in the log, two subscribers asleep; the two are settled one right after the other.
#[test]
fn two_sleeping_subscribers_get_the_two_messages_that_room_was_made_for() {
    let directory = tempfile::tempdir().unwrap();
    let engine =
        Engine::open(Config::persistent(directory.path()).segment_bytes(1 << 20).buffer(2))
            .unwrap();
    let join = || engine.subscriber(Subscription::new("t").name("n")).unwrap();
    let holder = join();
    for round in 0..300 {
        for _ in 0..4 {
            engine.publish("t", "x").unwrap();
        }
        let (first, second) = (holder.recv().unwrap(), holder.recv().unwrap());
        let (got, both) = channel();
        for _ in 0..2 {
            let (subscriber, got) = (join(), got.clone());
            thread::spawn(move || got.send(subscriber.recv().unwrap()));
        }
        // Most likely both sleep by then; if not, this round shows nothing and harms nothing.
        (0..1_000).for_each(|_| thread::yield_now());
        first.ack().unwrap();
        second.ack().unwrap();
        // Held until both are here: the settlement of one would wake the other.
        let slept = |_| panic!("round {round}: one slept beside a message");
        let held = [(); 2].map(|()| both.recv_timeout(PATIENCE).unwrap_or_else(slept));
        held.into_iter().for_each(|delivery| delivery.ack().unwrap());
    }
    engine.close(PATIENCE).unwrap();
}
