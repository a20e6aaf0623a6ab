//! A persistent queue that opens from a checkpoint is the queue that replays its whole log. Public API only.
//!
//! Checkpoints are forced by a small `checkpoint_bytes`. A crash is a copy of the files while the queue is open and quiet.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/home.rs"]
mod home;

use home::{Home, files};
use millstream::log::Archive;
use millstream::{Engine, Inspection, OpenError, Subscriber, Subscription};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3_600);

/// Checkpoints come often.
fn home() -> Home {
    Home::new(|config| config.checkpoint_bytes(1 << 14).buffer(64))
}

fn named(filter: &str, name: &str) -> Subscription {
    Subscription::new(filter).name(name)
}

fn publish(engine: &Engine, topic: &str, range: std::ops::Range<usize>) {
    range.for_each(|number| {
        engine.publish(topic, format!("{number:0>100}")).unwrap();
    });
}

fn number(delivery: &millstream::Delivery) -> usize {
    delivery.text().unwrap().parse().unwrap()
}

fn take(subscriber: &Subscriber, count: usize) -> Vec<usize> {
    let next = || subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes");
    let each = (0..count).map(|_| {
        let delivery = next();
        let number = number(&delivery);
        delivery.ack().unwrap();
        number
    });
    each.collect()
}

fn wait_for_checkpoint(engine: &Engine, behind: u64) -> u64 {
    let begun = std::time::Instant::now();
    loop {
        let storage = engine.stats().storage.unwrap();
        if let Some(at) = storage.checkpoint.filter(|at| behind < *at) {
            return at;
        }
        assert!(begun.elapsed() < PATIENCE, "{storage:?}");
        std::thread::yield_now();
    }
}

/// A queue with a backlog of thousands, of which some here and there is settled, delayed, held or purged, and of which
/// two checkpoints were written on the way; open and quiet.
fn busy(home: &Home) -> Engine {
    let engine = home.open();
    publish(&engine, "held", 0..3);
    let one = engine.subscriber(named("a.*", "one")).unwrap();
    let other = engine.subscriber(named("a.b", "other")).unwrap();
    publish(&engine, "a.b", 0..1_500);
    let first = wait_for_checkpoint(&engine, 0);
    publish(&engine, "a.c", 1_500..3_000);
    let kept: Vec<_> = (0..5).map(|_| one.try_recv().unwrap().unwrap()).collect();
    assert_eq!(take(&one, 1_700), (5..1_705).collect::<Vec<_>>());
    let mut kept = kept.into_iter();
    kept.next().unwrap().retry(NEVER).unwrap();
    kept.next().unwrap().dead_letter("unfit").unwrap();
    assert_eq!(take(&other, 40), (0..40).collect::<Vec<_>>());
    engine.purge("a.c").unwrap();
    publish(&engine, "a.c", 3_000..3_200);
    drop((one, other));
    engine.sync().unwrap();
    // The three left in hands come back by being dropped.
    drop(kept);
    engine.sync().unwrap();
    publish(&engine, "a.b", 3_200..3_400);
    wait_for_checkpoint(&engine, first);
    engine.sync().unwrap();
    engine
}

/// Everything that is there, in the order in which it comes.
fn everything(engine: &Engine) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for (filter, name) in [("a.*", "one"), ("a.b", "other")] {
        let subscriber = engine.subscriber(named(filter, name)).unwrap();
        while let Some(delivery) = subscriber.try_recv().unwrap() {
            all.push((name.to_owned(), number(&delivery)));
            delivery.ack().unwrap();
        }
    }
    all.sort();
    all
}

/// Promise: after a crash a queue is the same from its newest checkpoint, from the one before, and from the whole log:
/// depth, and every message. Method: three copies of one directory, one with its newest checkpoint damaged, one without
/// any.
#[test]
fn a_queue_is_the_same_from_either_checkpoint_and_from_its_log() {
    let home = home();
    let engine = busy(&home);
    let newest = home.crashed(|_| false);
    let older = home.crashed(|_| false);
    let none = home.crashed(|name| name.ends_with(".ckpt"));
    let depth = engine.stats().depth;
    engine.close(Duration::ZERO).unwrap();
    let checkpoints = files(&older.dir(), ".ckpt");
    assert_eq!(checkpoints.len(), 2);
    let mut bytes = std::fs::read(&checkpoints[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&checkpoints[1], bytes).unwrap();
    let mut found = Vec::new();
    for home in [&newest, &older, &none] {
        assert_eq!(Inspection::open(home.dir()).unwrap().depth(), depth);
        let engine = home.open();
        assert_eq!(engine.stats().depth, depth);
        found.push(everything(&engine));
        engine.close(Duration::ZERO).unwrap();
    }
    assert!(found[0].len() > 1_500);
    assert!(found[0] == found[1] && found[0] == found[2]);
}

/// Promise: a clean close leaves nothing to replay, and an open after it nothing to write: an idle queue has one
/// checkpoint of what it is.
#[test]
fn a_close_lays_the_state_down_and_an_idle_queue_leaves_it_at_that() {
    let home = home();
    let engine = busy(&home);
    publish(&engine, "a.b", 3_400..3_410);
    let depth = engine.stats().depth;
    engine.close(Duration::ZERO).unwrap();
    let archive = Archive::open(&home.dir()).unwrap();
    let checkpoint = archive.checkpoint().unwrap();
    let mut reader = archive.reader(checkpoint.replay_from());
    assert!(reader.next().unwrap().is_none(), "every record is in it");
    drop((reader, archive));
    let engine = home.open();
    assert_eq!(engine.stats().depth, depth);
    engine.close(Duration::ZERO).unwrap();
    let sequence = Archive::open(&home.dir()).unwrap().checkpoint().unwrap().sequence();
    assert!(sequence <= checkpoint.sequence() + 1);
}

/// Promise: when both checkpoints are damaged and the log was reclaimed, the open is refused, by name; where the log is
/// whole it opens without them.
#[test]
fn without_a_checkpoint_only_a_whole_log_opens() {
    let home = home();
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    publish(&engine, "a", 0..100);
    let whole = home.crashed(|_| false);
    publish(&engine, "a", 100..3_000);
    assert_eq!(take(&subscriber, 3_000).len(), 3_000);
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();
    assert!(!Archive::open(&home.dir()).unwrap().is_whole(), "some of it was reclaimed");
    for home in [&home, &whole] {
        for path in files(&home.dir(), ".ckpt") {
            std::fs::write(path, b"rubbish").unwrap();
        }
    }
    let refused = Engine::open(home.config()).map(drop);
    assert!(matches!(refused, Err(OpenError::Storage { .. } | OpenError::Records(_))));
    assert!(Inspection::open(home.dir()).is_err());
    let engine = whole.open();
    assert_eq!(engine.stats().queue_size(), 100);
    engine.close(Duration::ZERO).unwrap();
    for path in files(&home.dir(), ".ckpt") {
        std::fs::remove_file(path).unwrap();
    }
    let refused = Engine::open(home.config()).map(drop);
    assert!(matches!(refused, Err(OpenError::Storage { .. } | OpenError::Records(_))));
}

/// Promise: one rotten checkpoint costs nothing, also after its log was reclaimed: what the older one counts is there.
#[test]
fn one_rotten_checkpoint_costs_nothing_after_the_log_was_reclaimed() {
    let home = home();
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    for round in 0..4 {
        publish(&engine, "a", round * 1_000..round * 1_000 + 1_000);
        assert_eq!(take(&subscriber, 1_000).len(), 1_000);
        engine.sync().unwrap();
        wait_for_checkpoint(&engine, 0);
    }
    let copy = home.crashed(|_| false);
    engine.close(Duration::ZERO).unwrap();
    for home in [&home, &copy] {
        assert!(!Archive::open(&home.dir()).unwrap().is_whole());
        let newest = files(&home.dir(), ".ckpt").pop().unwrap();
        std::fs::write(newest, b"rubbish").unwrap();
        let engine = home.open();
        let start = millstream::Start::Earliest;
        let early = engine.subscriber(named("a", "early").start(start)).unwrap();
        let depth = engine.stats().depth;
        let told = depth.subscriptions.iter().find(|each| each.name == "early").unwrap();
        let mut found = 0;
        while let Some(delivery) = early.try_recv().unwrap() {
            delivery.ack().unwrap();
            found += 1;
        }
        assert_eq!(told.depth.ready, found);
        engine.close(Duration::ZERO).unwrap();
    }
}
