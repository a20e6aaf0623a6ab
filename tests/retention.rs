//! What a persistent queue keeps, what it gives back to the disk, and what it does when there is no room. Public API only.
//!
//! Segments and checkpoints are small, so that a few hundred messages fill files. Reclaiming is the keeper's, on a thread
//! of its own: where a test waits for it, it asks the statistics until they say so, and nothing is timed.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/home.rs"]
mod home;

use home::{Home, files};
use millstream::{
    Config, DEAD_LETTERS, Engine, Pinned, QueueError, Retention, Start, StorageStats, Subscriber,
    Subscription, WhenFull,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);
const SEGMENT: u64 = 1 << 16;
const FILE: u64 = SEGMENT + 4_096;
/// Sixty of these fill a segment.
const BODY: usize = 1_000;

fn home() -> Home {
    Home::new(|config| config.segment_bytes(SEGMENT).checkpoint_bytes(SEGMENT))
}

fn segments(home: &Home) -> usize {
    files(&home.dir(), ".seg").len()
}

fn named(filter: &str, name: &str) -> Subscription {
    Subscription::new(filter).name(name)
}

/// A text of [`BODY`] bytes that begins with its number.
fn text(number: usize) -> String {
    format!("{number:0>8}{}", "x".repeat(BODY - 8))
}

fn publish(engine: &Engine, topic: &str, range: std::ops::Range<usize>) {
    for number in range {
        engine.publish(topic, text(number)).unwrap();
    }
}

/// The number of the next message, acknowledged.
fn take(subscriber: &Subscriber) -> usize {
    let delivery = subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes");
    let number = delivery.text().unwrap()[..8].parse().unwrap();
    delivery.ack().unwrap();
    number
}

/// The numbers of all that is ready, acknowledged.
fn take_all(subscriber: &Subscriber) -> Vec<usize> {
    let mut numbers = Vec::new();
    while let Some(delivery) = subscriber.try_recv().unwrap() {
        numbers.push(delivery.text().unwrap()[..8].parse().unwrap());
        delivery.ack().unwrap();
    }
    numbers
}

fn storage(engine: &Engine) -> StorageStats {
    engine.stats().storage.expect("it has files")
}

/// Asks until `enough` is true, and lets others run in between.
fn wait_for(engine: &Engine, what: &str, enough: impl Fn(&StorageStats) -> bool) -> StorageStats {
    let begun = std::time::Instant::now();
    loop {
        let told = storage(engine);
        if enough(&told) {
            return told;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {told:?}");
        std::thread::yield_now();
    }
}

fn ready(engine: &Engine, name: &str) -> u64 {
    let depth = engine.stats().depth;
    depth.subscriptions.iter().find(|each| each.name == name).unwrap().depth.ready
}

/// Promise: what everybody has settled is given back, without an open in between, and the log stays small however much
/// goes through it. Then: it opens again, and nothing comes twice.
#[test]
fn what_all_have_settled_is_reclaimed_while_the_queue_runs() {
    let home = home();
    let engine = home.open();
    let (one, other) = (
        engine.subscriber(named("a.*", "one")).unwrap(),
        engine.subscriber(named("a.b", "other")).unwrap(),
    );
    // A subscription that gets nothing, ever, must not hold anything up.
    let quiet = engine.subscriber(named("quiet", "quiet")).unwrap();
    for round in 0..20 {
        publish(&engine, "a.b", round * 60..round * 60 + 60);
        for number in round * 60..round * 60 + 60 {
            assert_eq!((take(&one), take(&other)), (number, number));
        }
    }
    engine.sync().unwrap();
    publish(&engine, "a.b", 1_200..1_260);
    wait_for(&engine, "reclaimed", |told| told.reclaimed_bytes >= 15 * FILE);
    assert!(segments(&home) < 8, "{}", segments(&home));
    assert_eq!(storage(&engine).pinned_by, Pinned::Subscription("one".into()));
    publish(&engine, "quiet", 7..8);
    assert_eq!(take(&quiet), 7, "what it never read is gone, and it goes on all the same");
    assert_eq!(take_all(&one), (1_200..1_260).collect::<Vec<_>>());
    engine.close(Duration::ZERO).unwrap();
    let engine = home.open();
    assert_eq!((ready(&engine, "one"), ready(&engine, "other")), (0, 60));
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: a message that is unsettled, delayed or held pins its segment and all behind it, and the statistics name who
/// has it; when it goes, so do they.
#[test]
fn what_somebody_may_still_want_is_kept_and_whoever_it_is_is_named() {
    let home = home();
    let engine = home.open();
    publish(&engine, "held", 0..1);
    let fast = engine.subscriber(named("a", "fast")).unwrap();
    let slow = engine.subscriber(named("a", "slow")).unwrap();
    publish(&engine, "a", 1..400);
    assert_eq!(take_all(&fast).len(), 399);
    slow.try_recv().unwrap().unwrap().retry(NEVER).unwrap();
    assert_eq!(take_all(&slow).len(), 398);
    engine.sync().unwrap();
    let told = storage(&engine);
    assert_eq!(told.pinned_by, Pinned::Topic("held".into()));
    assert!(told.pinned_bytes > 399 * BODY as u64 && told.oldest_age.is_some());
    assert_eq!(engine.purge("held").unwrap(), 1);
    assert_eq!(storage(&engine).pinned_by, Pinned::Subscription("slow".into()));
    assert_eq!(told.reclaimed_bytes, 0);
    assert_eq!(engine.purge("a").unwrap(), 1, "the one that was delayed");
    assert_eq!(engine.stats().queue_size(), 0);
    // The log grows: the keeper looks.
    publish(&engine, "other", 0..70);
    wait_for(&engine, "reclaimed", |told| told.reclaimed_bytes >= 4 * FILE);
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: the disk limit refuses publishes, never settlements: a full queue is drained, what was drained is reclaimed,
/// and it takes messages again, round after round, within its limit. The message that was refused comes back.
#[test]
fn a_full_queue_drains_and_takes_messages_again_round_after_round() {
    let home = home();
    let limit = 6 * FILE;
    // Nothing but the want of room makes the keeper look.
    let config = home.config().disk_bytes_max(limit).checkpoint_bytes(1 << 40);
    let engine = Engine::open(config.clone()).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    let (mut published, mut taken) = (0, 0);
    while published < 1_200 {
        let refused = loop {
            match engine.publish("a", text(published)) {
                Ok(_) => published += 1,
                Err(refused) => break refused,
            }
        };
        assert!(refused.is_full(), "{refused}");
        assert_eq!(refused.into_message().payload().len(), BODY);
        assert!(published > taken, "nothing went in");
        while taken < published {
            assert_eq!(take(&subscriber), taken);
            taken += 1;
        }
        engine.sync().unwrap();
        // A publish that is refused rings the keeper, if nothing else did.
        while engine.publish("a", text(published)).is_err() {
            std::thread::yield_now();
        }
        published += 1;
        assert!(storage(&engine).disk_bytes <= limit);
        assert!(segments(&home) <= 6, "{}", segments(&home));
    }
    engine.close(Duration::ZERO).unwrap();
    let engine = Engine::open(config).unwrap();
    assert_eq!(ready(&engine, "n"), (published - taken) as u64);
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: where the policy says so, a publish to a full queue waits for room and gets it; if there is none in time,
/// the message comes back.
#[test]
fn a_publish_that_may_wait_waits_for_room() {
    let home = home();
    let config = home.config().disk_bytes_max(4 * FILE).checkpoint_bytes(1 << 40);
    let engine = Engine::open(config.clone().when_full(WhenFull::Block(NEVER))).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&engine, "a", 0..1_000));
        (0..1_000).for_each(|number| assert_eq!(take(&subscriber), number));
    });
    engine.close(Duration::ZERO).unwrap();
    let brief = WhenFull::Block(Duration::from_millis(1));
    let engine = Engine::open(config.when_full(brief)).unwrap();
    let refused = (0..1_000).find_map(|number| engine.publish("a", text(number)).err());
    assert!(refused.expect("nobody drains it").is_full());
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: it is the settlement's record that makes room, and it may come later than the settlement: whoever waits is told
/// then. Method: messages of which one fills a segment, so that there is nothing else that could ring.
#[test]
fn a_publish_waits_for_the_record_of_a_settlement() {
    let home = home();
    let config = home.config().disk_bytes_max(4 * FILE).checkpoint_bytes(1 << 40);
    let engine = Engine::open(config.when_full(WhenFull::Block(PATIENCE))).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                engine.publish("a", format!("{number:0>40000}")).unwrap();
            }
        });
        for number in 0..40 {
            let delivery = subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes");
            assert_eq!(delivery.text().unwrap().parse::<usize>().unwrap(), number);
            delivery.ack().unwrap();
        }
    });
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: `max_size` makes a publish wait as the disk limit does, and a settlement lets it in.
#[test]
fn a_publish_waits_for_deliveries_to_be_settled() {
    let home = home();
    let config = home.config().max_size(3).when_full(WhenFull::Block(NEVER));
    let engine = Engine::open(config).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&engine, "a", 0..50));
        (0..50).for_each(|number| assert_eq!(take(&subscriber), number));
    });
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: a subscription may start with the earliest retained message, or with one that somebody has the id of; what is
/// reclaimed is not counted, before an open and after it.
#[test]
fn a_start_counts_what_is_retained_and_begins_where_it_was_asked_to() {
    let home = home();
    let keep = Retention::new().keep_bytes(4 * SEGMENT);
    // So small that most is counted, not seen.
    let config = home.config().retention(keep).buffer(8);
    let engine = Engine::open(config.clone()).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    let gone = engine.publish("a", text(0)).unwrap().id;
    publish(&engine, "a", 1..600);
    assert_eq!(take_all(&subscriber).len(), 600);
    engine.sync().unwrap();
    let middle = engine.publish("a", text(600)).unwrap().id;
    publish(&engine, "a", 601..660);
    let told = wait_for(&engine, "reclaimed", |told| told.reclaimed_bytes >= 2 * FILE);
    assert!(told.retained_from > gone.position() && told.retained_from < middle.position());
    let early = engine.subscriber(named("a", "early").start(Start::Earliest)).unwrap();
    let count = ready(&engine, "early");
    assert!((200..500).contains(&count), "{count}");
    drop(engine.subscriber(named("a", "gone").start(Start::At(gone))).unwrap());
    let after = ready(&engine, "gone");
    assert!(after <= count, "reclaimed is reclaimed: {after} {count}");
    let at = engine.subscriber(named("a", "at").start(Start::At(middle))).unwrap();
    assert_eq!(ready(&engine, "at"), 60);
    assert_eq!(take(&at), 600);
    let (numbers, last) = (take_all(&early), 659);
    assert_eq!(numbers, (last + 1 - count as usize..=last).collect::<Vec<_>>());
    engine.close(Duration::ZERO).unwrap();
    let engine = Engine::open(config).unwrap();
    assert_eq!((ready(&engine, "at"), ready(&engine, "gone")), (59, after));
    let other = self::home();
    let elsewhere = other.open();
    let id = elsewhere.publish("a", "x").unwrap().id;
    let refused = engine.subscriber(named("a", "odd").start(Start::At(id))).map(drop);
    assert!(matches!(refused, Err(QueueError::NoMessage { .. })));
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: kept for a time that has passed is kept no longer; kept for a time that has not is there for a later start.
#[test]
fn what_is_kept_for_a_time_is_there_for_that_time() {
    let home = home();
    let keep = |time| home.config().retention(Retention::new().keep_for(time));
    let engine = Engine::open(keep(NEVER)).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    publish(&engine, "a", 0..300);
    assert_eq!(take_all(&subscriber).len(), 300);
    engine.close(Duration::ZERO).unwrap();
    let engine = Engine::open(keep(NEVER)).unwrap();
    drop(engine.subscriber(named("a", "later").start(Start::Earliest)).unwrap());
    assert_eq!((ready(&engine, "later"), storage(&engine).reclaimed_bytes), (300, 0));
    engine.unsubscribe("later").unwrap();
    engine.close(Duration::ZERO).unwrap();
    let engine = Engine::open(keep(Duration::ZERO)).unwrap();
    publish(&engine, "b", 0..70);
    wait_for(&engine, "reclaimed", |told| told.reclaimed_bytes >= 4 * FILE);
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: a purge drops what is ready, not read yet, delayed and held, in every subscription, and nothing of another
/// topic; what is in hands may be settled, and does not come again; after an open it is as it was.
#[test]
fn a_purge_drops_a_topic_for_everybody_and_for_good() {
    let home = home();
    let config = home.config().buffer(8);
    let engine = Engine::open(config.clone()).unwrap();
    let one = engine.subscriber(named("a.*", "one")).unwrap();
    drop(engine.subscriber(named("a.b", "other")).unwrap());
    publish(&engine, "a.b", 0..100);
    publish(&engine, "a.c", 100..150);
    publish(&engine, "held", 0..5);
    let (acked, retried) = (one.try_recv().unwrap().unwrap(), one.try_recv().unwrap().unwrap());
    one.try_recv().unwrap().unwrap().retry(NEVER).unwrap();
    let letter = one.try_recv().unwrap().unwrap();
    letter.dead_letter("unfit").unwrap();
    // Four of the 100 are in hands, delayed or dead; "other" has all of them.
    assert_eq!(engine.purge("a.b").unwrap(), 97 + 100);
    assert_eq!((ready(&engine, "one"), ready(&engine, "other")), (50, 0));
    retried.retry(Duration::ZERO).unwrap();
    acked.ack().unwrap();
    publish(&engine, "a.b", 900..903);
    let expected: Vec<usize> = (100..150).chain(900..903).collect();
    assert_eq!(engine.stats().queue_size(), 53 + 3 + 5 + 1);
    drop(one);
    engine.sync().unwrap();
    let depth = engine.stats().depth;
    engine.close(Duration::ZERO).unwrap();
    let engine = Engine::open(config).unwrap();
    assert_eq!(engine.stats().depth, depth);
    let one = engine.subscriber(named("a.*", "one")).unwrap();
    assert_eq!(take_all(&one), expected);
    drop(engine.subscriber(named("a.b", "early").start(Start::Earliest)).unwrap());
    assert_eq!(ready(&engine, "early"), 3, "what was purged is nobody's");
    assert_eq!(engine.purge("held").unwrap(), 5);
    assert_eq!(engine.purge(DEAD_LETTERS).unwrap(), 1);
    assert_eq!(engine.purge("nothing.of.it").unwrap(), 0);
    assert!(engine.peek(DEAD_LETTERS, 9).unwrap().is_empty());
    assert!(engine.peek("held", 9).unwrap().is_empty());
    assert!(engine.purge("a..b").is_err());
    engine.close(Duration::ZERO).unwrap();
    assert!(matches!(engine.purge("a.b"), Err(QueueError::Closed)));
    let memory = Engine::open(Config::memory()).unwrap();
    assert!(matches!(memory.purge("a"), Err(QueueError::Unsupported { .. })));
}

/// Promise: at the disk limit the oldest file of what is kept goes, not all of it.
#[test]
fn a_full_disk_costs_the_oldest_of_what_is_kept_and_no_more() {
    let home = home();
    let keeps = Retention::new().keep_for(NEVER);
    let config = home.config().disk_bytes_max(8 * FILE).retention(keeps);
    let engine = Engine::open(config.when_full(WhenFull::Block(PATIENCE))).unwrap();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    for number in 0..1_000 {
        publish(&engine, "a", number..number + 1);
        assert_eq!(take(&subscriber), number);
        let told = engine.stats();
        let (log, files) = (told.durability.unwrap(), told.storage.unwrap());
        let kept = log.committed - files.retained_from;
        assert!(files.reclaimed_bytes == 0 || kept > 4 * SEGMENT, "{kept}: {files:?}");
    }
    let told = storage(&engine);
    assert!(told.reclaimed_bytes > 0);
    let again = engine.subscriber(named("a", "again").start(Start::Earliest)).unwrap();
    let numbers = take_all(&again);
    assert_eq!(numbers.last(), Some(&999));
    assert!(numbers.len() > 240, "{} messages kept, of {told:?}", numbers.len());
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: settlements that fill the reserve, while one message pins the log, do not leave the queue full for good.
#[test]
fn a_full_queue_recovers_though_settlements_have_filled_the_reserve() {
    let home = home();
    let config = home.config().disk_bytes_max(4 * FILE).checkpoint_bytes(1 << 40);
    let engine = Engine::open(config).unwrap();
    let slow = engine.subscriber(named("a", "slow")).unwrap();
    let fast: Vec<_> =
        (0..20).map(|one| engine.subscriber(named("a", &format!("fast{one}"))).unwrap()).collect();
    while engine.publish("a", "tiny").is_ok() {}
    let pinned = slow.try_recv().unwrap().unwrap();
    let mut refused = 0;
    for one in &fast {
        while let Some(delivery) = one.try_recv().unwrap() {
            refused += usize::from(delivery.ack().is_err());
        }
    }
    assert!(refused > 0, "the reserve is used up");
    let _ = pinned.ack();
    while let Some(delivery) = slow.try_recv().unwrap() {
        let _ = delivery.ack();
    }
    let _ = engine.sync();
    let begun = std::time::Instant::now();
    while engine.publish("a", "on").is_err() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", storage(&engine));
        std::thread::yield_now();
    }
    engine.sync().unwrap();
    engine.close(Duration::ZERO).unwrap();
    let engine = home.open();
    assert_eq!(engine.stats().queue_size(), 21, "what was settled stays settled");
    engine.close(Duration::ZERO).unwrap();
}
