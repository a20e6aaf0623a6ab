//! What a persistent queue is when it is opened again: what it was when it was closed, and after a crash what it had
//! promised. Public API only; `recovery.rs` does the killing, here the ends are staged.
//!
//! A crash is a copy of the segment files while the queue is open and quiet: what a killed process leaves in the page
//! cache, without its lock.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/home.rs"]
mod home;

use home::Home;
use millstream::{
    Batch, DEAD_LETTERS, Delivery, Durability, Engine, HEADER_ATTEMPTS, HEADER_REASON, Inspection,
    Message, QueueError, Start, Subscriber, Subscription, Topic,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

/// Every file with its bytes, by name.
fn bytes_of(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn named(filter: &str, name: &str) -> Subscription {
    Subscription::new(filter).name(name)
}

fn pull(subscriber: &Subscriber) -> Delivery {
    subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes")
}

/// Pulls and acknowledges `count` messages.
fn take(subscriber: &Subscriber, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            let delivery = pull(subscriber);
            let text = delivery.text().unwrap().to_owned();
            delivery.ack().unwrap();
            text
        })
        .collect()
}

/// Everything that is ready, acknowledged.
fn take_all(subscriber: &Subscriber) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(delivery) = subscriber.try_recv().unwrap() {
        texts.push(delivery.text().unwrap().to_owned());
        delivery.ack().unwrap();
    }
    texts
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn publish(engine: &Engine, topic: &str, range: std::ops::Range<usize>) {
    for text in texts(range) {
        engine.publish(topic, text).unwrap();
    }
}

/// Ready, in flight and delayed of the subscription `name`.
fn depth(engine: &Engine, name: &str) -> (u64, u64, u64) {
    let depth = engine.stats().depth;
    let found = depth.subscriptions.iter().find(|each| each.name == name).map(|each| each.depth);
    found.map(|depth| (depth.ready, depth.in_flight, depth.delayed)).expect("there is one")
}

/// Promise: a clean close loses nothing: backlog, subscriptions and what each has settled are there again, in order and
/// unmarked, and the report of the close says what the next open finds.
/// Method: two subscriptions that have got differently far, three times over.
#[test]
fn what_was_there_at_a_clean_close_is_there_again() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    drop(engine.subscriber(named("a.*", "first")).unwrap());
    drop(engine.subscriber(named("a.b", "second")).unwrap());
    publish(&engine, "a.b", 0..100);
    let mut report = engine.close(Duration::ZERO).unwrap();
    assert_eq!(report.left_over(), 200);
    for round in 0..3 {
        let engine = home.open();
        assert_eq!(engine.stats().depth, report.depth, "round {round}");
        let (first, second) = (
            engine.subscriber(named("a.*", "first")).unwrap(),
            engine.subscriber(named("a.b", "second")).unwrap(),
        );
        let fresh = pull(&first);
        assert_eq!((fresh.attempt(), fresh.redelivered()), (1, false));
        assert_eq!(fresh.text().unwrap(), (round * 30).to_string());
        fresh.release().unwrap();
        assert_eq!(take(&first, 30), texts(round * 30..round * 30 + 30));
        assert_eq!(take(&second, 10), texts(round * 10..round * 10 + 10));
        drop((first, second));
        report = engine.close(Duration::ZERO).unwrap();
    }
    let engine = home.open();
    assert_eq!(take_all(&engine.subscriber(named("a.*", "first")).unwrap()), texts(90..100));
    assert_eq!(take_all(&engine.subscriber(named("a.b", "second")).unwrap()), texts(30..100));
    engine.close(PATIENCE).unwrap();
}

/// Promise: a message that waits for its retry keeps its attempt and its time across a restart; one that was in hand at
/// the close is as it was before.
/// Method: a retry in an hour, one at once, one message in hand.
#[test]
fn a_retry_keeps_its_attempt_and_its_time() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    publish(&engine, "a", 0..4);
    pull(&subscriber).retry(NEVER).unwrap();
    pull(&subscriber).retry(Duration::ZERO).unwrap();
    let again = pull(&subscriber);
    assert_eq!((again.text(), again.attempt()), (Ok("1"), 2));
    again.retry(Duration::ZERO).unwrap();
    let in_hand = pull(&subscriber);
    assert_eq!((in_hand.text(), in_hand.attempt()), (Ok("1"), 3));
    let report = engine.close(Duration::ZERO).unwrap();
    assert_eq!((report.left_over(), report.in_flight()), (4, 1));
    assert!(matches!(in_hand.ack(), Err(QueueError::Closed)), "too late to be kept");
    drop((subscriber, engine));

    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let delivery = pull(&subscriber);
        seen.insert((
            delivery.text().unwrap().to_owned(),
            delivery.attempt(),
            delivery.redelivered(),
        ));
        delivery.ack().unwrap();
    }
    let expected = [("1", 3, true), ("2", 1, false), ("3", 1, false)];
    assert_eq!(seen, expected.map(|(text, at, again)| (text.to_owned(), at, again)).into());
    assert!(subscriber.try_recv().unwrap().is_none(), "an hour has not passed");
    assert_eq!(depth(&engine, "n"), (0, 0, 1));
    engine.close(PATIENCE).unwrap();
}

/// Promise: what nobody has matched is still held after a restart; who claimed it has it, also when it has settled a
/// part; and nobody else gets it.
#[test]
fn held_messages_and_who_claimed_them_are_remembered() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    publish(&engine, "a", 0..5);
    publish(&engine, "other", 5..7);
    assert_eq!(engine.close(PATIENCE).unwrap().depth.held, 7);

    let engine = home.open();
    assert_eq!(engine.stats().depth.held, 7);
    let first = engine.subscriber(named("a", "first")).unwrap();
    assert_eq!(take(&first, 2), texts(0..2));
    let second = engine.subscriber(named("a", "second")).unwrap();
    publish(&engine, "a", 7..8);
    drop((first, second));
    assert_eq!(engine.close(Duration::ZERO).unwrap().depth.held, 2);

    let engine = home.open();
    let first = engine.subscriber(named("a", "first")).unwrap();
    let second = engine.subscriber(named("a", "second")).unwrap();
    assert_eq!(take_all(&first), ["2", "3", "4", "7"]);
    assert_eq!(take_all(&second), ["7"]);
    assert_eq!(take_all(&engine.subscriber(named("other", "late")).unwrap()), ["5", "6"]);
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(PATIENCE).unwrap();
}

/// Promise: a dead letter survives with its story, once; the message that it was is settled.
#[test]
fn dead_letters_survive_and_their_messages_stay_settled() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    engine.publish("a", Message::new("x").header("k", "v")).unwrap();
    pull(&subscriber).dead_letter("unfit").unwrap();
    drop(subscriber);
    let copy = home.crashed(|name| !name.ends_with(".seg"));
    engine.close(PATIENCE).unwrap();
    for home in [&home, &copy] {
        let engine = home.open();
        assert_eq!((depth(&engine, "n"), engine.stats().depth.held), ((0, 0, 0), 1));
        let letters = engine.subscriber(DEAD_LETTERS).unwrap();
        let letter = pull(&letters);
        assert_eq!((letter.text(), letter.header("k")), (Ok("x"), Some("v")));
        assert_eq!(letter.header(HEADER_REASON), Some("unfit"));
        assert_eq!(letter.header(HEADER_ATTEMPTS), Some("1"));
        letter.ack().unwrap();
        assert!(letters.try_recv().unwrap().is_none());
        assert!(engine.close(PATIENCE).unwrap().is_drained());
    }
}

/// Promise: a subscription that was ended is not there again; one of the same name is new, and starts from now.
#[test]
fn who_has_unsubscribed_stays_unsubscribed() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    drop(engine.subscriber(named("a", "stays")).unwrap());
    publish(&engine, "a", 0..3);
    let in_hand = pull(&subscriber);
    engine.unsubscribe("n").unwrap();
    in_hand.ack().unwrap();
    let copy = home.crashed(|name| !name.ends_with(".seg"));
    engine.close(Duration::ZERO).unwrap();
    drop((subscriber, engine));
    for home in [&home, &copy] {
        let engine = home.open();
        let names: Vec<_> =
            engine.stats().depth.subscriptions.into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["stays"]);
        assert!(matches!(engine.unsubscribe("n"), Err(QueueError::NoSubscription { .. })));
        let anew = engine.subscriber(named("b", "n")).unwrap();
        publish(&engine, "a", 3..4);
        publish(&engine, "b", 4..5);
        assert_eq!(take_all(&anew), ["4"]);
        assert_eq!(take_all(&engine.subscriber(named("a", "stays")).unwrap()), texts(0..4));
        engine.close(PATIENCE).unwrap();
    }
}

/// Promise: what may have been in a dead process's hands comes marked, also when somebody has opened and closed the
/// queue in between without taking it; what was published later, and all after a clean end, comes unmarked.
/// Method: a message in hand at a staged crash.
#[test]
fn a_crash_marks_what_comes_again_and_a_clean_end_does_not() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    publish(&engine, "a", 0..2);
    let in_hand = pull(&subscriber);
    let copy = home.crashed(|name| !name.ends_with(".seg"));
    in_hand.release().unwrap();
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();
    let marks = |home: &Home| {
        let engine = home.open();
        let subscriber = engine.subscriber(named("a", "n")).unwrap();
        let taken: Vec<_> = (0..2).map(|_| pull(&subscriber)).collect();
        let marks: Vec<_> = taken.iter().map(|delivery| delivery.redelivered()).collect();
        taken.into_iter().for_each(|delivery| delivery.release().unwrap());
        engine.close(Duration::ZERO).unwrap();
        marks
    };
    assert_eq!(marks(&home), [false, false], "a clean end");
    copy.open().close(Duration::ZERO).unwrap();
    assert_eq!(marks(&copy), [true, true], "a crash, and a clean end after it");
    let engine = copy.open();
    publish(&engine, "a", 2..3);
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    assert_eq!(take(&subscriber, 2), texts(0..2));
    assert!(!pull(&subscriber).redelivered(), "published after the crash");
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: an id is given once, whoever opens the queue how often; a message keeps its own.
#[test]
fn ids_are_unique_across_reopenings_and_stay_with_their_message() {
    let home = Home::new(std::convert::identity);
    let mut given = Vec::new();
    for _ in 0..4 {
        let engine = home.open();
        drop(engine.subscriber(named("a", "n")).unwrap());
        given.extend((0..20).map(|_| engine.publish("a", "x").unwrap().id));
        let batch = Batch::new().with("a", "y").unwrap().with("a", "z").unwrap();
        given.extend(engine.publish_batch(batch).unwrap().iter().map(|receipt| receipt.id));
        engine.close(Duration::ZERO).unwrap();
    }
    assert!(given.is_sorted(), "and they grow");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
    let engine = home.open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    let seen: Vec<_> = (0..given.len())
        .map(|_| {
            let delivery = pull(&subscriber);
            let id = delivery.id();
            delivery.ack().unwrap();
            id
        })
        .collect();
    assert_eq!(seen, given);
    engine.close(PATIENCE).unwrap();
    let other = Home::new(std::convert::identity);
    let engine = other.open();
    let id = engine.publish("a", "x").unwrap().id;
    assert!(!given.contains(&id), "another queue gives others");
    engine.close(PATIENCE).unwrap();
}

/// Promise: an inspection tells what the engine tells, depth and oldest messages, after a clean end and after a crash,
/// and changes no byte on disk; while it lives, nobody opens the queue.
/// Method: every state that a message may be in; all files compared before and after.
#[test]
fn an_inspection_tells_what_the_engine_tells_and_changes_nothing() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let subscriber = engine.subscriber(named("a.*", "n")).unwrap();
    drop(engine.subscriber(named("a.b", "m")).unwrap());
    publish(&engine, "a.b", 0..6);
    publish(&engine, "held", 6..8);
    pull(&subscriber).ack().unwrap();
    pull(&subscriber).retry(NEVER).unwrap();
    pull(&subscriber).dead_letter("unfit").unwrap();
    engine.sync().unwrap();
    drop(subscriber);
    let copy = home.crashed(|name| !name.ends_with(".seg"));
    engine.close(Duration::ZERO).unwrap();
    for (home, clean) in [(&home, true), (&copy, false)] {
        let before = bytes_of(&home.dir());
        let inspection = Inspection::open(home.dir()).unwrap();
        assert_eq!((inspection.is_clean(), inspection.topics()), (clean, 3));
        assert!(inspection.durable() <= inspection.end());
        // One that was prepared and never used is none; its name says where it would begin.
        let used = |name: &str| {
            let base = name.strip_suffix(".seg").map(|base| u64::from_str_radix(base, 16).unwrap());
            base.is_some_and(|base| base < inspection.end().as_u64())
        };
        assert_eq!(inspection.segments().len(), before.iter().filter(|f| used(&f.0)).count());
        let told = inspection.depth();
        let look = |filter: &str, count| {
            let peeked = inspection.peek(filter, count).unwrap().into_iter();
            peeked.map(|e| (e.id(), e.topic().to_string(), e.payload().clone())).collect::<Vec<_>>()
        };
        let questions = [("a.*", 2), ("a.b", 100), ("held", 1), (">", 100), (DEAD_LETTERS, 9)];
        let looked = questions.map(|(filter, count)| look(filter, count));
        assert_eq!(looked.each_ref().map(Vec::len), [2, 6, 1, 8, 1]);
        assert!(inspection.peek("a..b", 1).is_err());
        if clean {
            assert!(Engine::open(home.config()).is_err(), "it is being looked at");
        }
        drop(inspection);
        assert_eq!(bytes_of(&home.dir()), before, "clean end: {clean}");
        let engine = home.open();
        assert_eq!(engine.stats().depth, told, "clean end: {clean}");
        for ((filter, count), looked) in questions.into_iter().zip(looked) {
            let peeked = engine.peek(filter, count).unwrap().into_iter();
            let peeked: Vec<_> =
                peeked.map(|e| (e.id(), e.topic().to_string(), e.payload().clone())).collect();
            assert_eq!(peeked, looked, "{filter}");
        }
        engine.close(Duration::ZERO).unwrap();
    }
}

/// Promise: a subscription goes on in the middle of a batch, and takes from it only what is its own.
/// Method: batches across two topics, settled up to a place inside one, then beyond with holes.
#[test]
fn a_subscription_goes_on_inside_a_batch() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    drop(engine.subscriber(named("even", "n")).unwrap());
    drop(engine.subscriber(named(">", "all")).unwrap());
    for batch in 0..10 {
        let entry = |number: usize| {
            let topic = if number.is_multiple_of(2) { "even" } else { "odd" };
            (Topic::new(topic).unwrap(), number.to_string())
        };
        let batch: Batch = (batch * 10..batch * 10 + 10).map(entry).collect();
        engine.publish_batch(batch).unwrap();
    }
    let evens = |from: usize, to: usize| -> Vec<String> {
        (from..to).filter(|number| number % 2 == 0).map(|number| number.to_string()).collect()
    };
    let subscriber = engine.subscriber(named("even", "n")).unwrap();
    assert_eq!(take(&subscriber, 7), evens(0, 14));
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();

    let engine = home.open();
    let subscriber = engine.subscriber(named("even", "n")).unwrap();
    let hands: Vec<_> = (0..10).map(|_| pull(&subscriber)).collect();
    assert_eq!(hands.iter().map(|d| d.text().unwrap()).collect::<Vec<_>>(), evens(14, 34));
    // Every third is settled: 14, 20, 26, 32.
    for (place, delivery) in hands.into_iter().enumerate() {
        if place % 3 == 0 { delivery.ack().unwrap() } else { delivery.release().unwrap() }
    }
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();

    let engine = home.open();
    let subscriber = engine.subscriber(named("even", "n")).unwrap();
    let settled = ["14", "20", "26", "32"];
    let left: Vec<_> =
        evens(14, 100).into_iter().filter(|text| !settled.contains(&text.as_str())).collect();
    assert_eq!(take_all(&subscriber), left);
    assert_eq!(take_all(&engine.subscriber(named(">", "all")).unwrap()), texts(0..100));
    engine.close(PATIENCE).unwrap();
}

/// Promise: whatever is settled in whatever order, exactly the rest comes again, in the old order, with a window far
/// smaller than the backlog; settlements are written in groups, and a group that the close finds half full too.
/// Method: 5,000 messages over many segments, a random part of each handful settled, three times over.
#[test]
fn what_is_settled_in_any_order_stays_settled_and_the_rest_keeps_its_order() {
    let home = Home::new(std::convert::identity);
    let open = || Engine::open(home.config().buffer(300)).unwrap();
    let engine = open();
    drop(engine.subscriber(named("a", "n")).unwrap());
    let filling = "x".repeat(100);
    for number in 0..5_000 {
        engine.publish("a", format!("{number} {filling}")).unwrap();
    }
    engine.close(Duration::ZERO).unwrap();
    let mut left: Vec<usize> = (0..5_000).collect();
    let mut random = 7_u64;
    for round in 0..3 {
        let engine = open();
        assert_eq!(depth(&engine, "n"), (left.len() as u64, 0, 0), "round {round}");
        let subscriber = engine.subscriber(named("a", "n")).unwrap();
        let mut hands = Vec::new();
        let number_of = |delivery: &Delivery| -> usize {
            delivery.text().unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        // A handful is held, and one of it settled at a time, so that settlements overtake each other.
        for &expected in &left[..1_500] {
            let delivery = pull(&subscriber);
            assert_eq!(number_of(&delivery), expected, "round {round}");
            hands.push(delivery);
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if hands.len() == 200 {
                hands.swap_remove((random >> 33) as usize % 200).ack().unwrap();
            }
        }
        let kept: BTreeSet<_> = hands.iter().map(number_of).collect();
        assert_eq!(kept.len(), 199);
        hands.into_iter().for_each(|delivery| delivery.release().unwrap());
        left = left[..1_500]
            .iter()
            .filter(|number| kept.contains(number))
            .copied()
            .chain(left[1_500..].iter().copied())
            .collect();
        drop(subscriber);
        engine.close(Duration::ZERO).unwrap();
    }
    let engine = open();
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    let rest: Vec<_> = take_all(&subscriber)
        .iter()
        .map(|text| text.split(' ').next().unwrap().parse::<usize>().unwrap())
        .collect();
    assert_eq!(rest, left);
    assert!(engine.close(PATIENCE).unwrap().is_drained());
}

/// Promise: a subscription that began with the earliest message goes on where it stood, not at the beginning again.
#[test]
fn a_start_counts_once() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    let first = engine.subscriber(named("a", "first")).unwrap();
    publish(&engine, "a", 0..4);
    assert_eq!(take_all(&first), texts(0..4));
    let again = named("a", "again").start(Start::Earliest);
    assert_eq!(take(&engine.subscriber(again.clone()).unwrap(), 2), texts(0..2));
    drop(first);
    engine.close(Duration::ZERO).unwrap();
    let engine = home.open();
    assert_eq!(take_all(&engine.subscriber(again).unwrap()), texts(2..4));
    engine.close(PATIENCE).unwrap();
}

/// Promise: limits hold for what was there before, and settings may change from one opening to the next.
/// Method: a size limit that the backlog fills; other segments, another durability, another buffer.
#[test]
fn limits_hold_across_a_restart_and_settings_may_change() {
    let home = Home::new(std::convert::identity);
    let engine = home.open();
    drop(engine.subscriber(named("a", "n")).unwrap());
    publish(&engine, "a", 0..3);
    engine.close(Duration::ZERO).unwrap();
    let changed = home.config().max_size(4).segment_bytes(1 << 18).durability(Durability::Sync);
    let engine = Engine::open(changed.buffer(1)).unwrap();
    publish(&engine, "a", 3..4);
    assert!(engine.publish("a", "no room").unwrap_err().is_full());
    let subscriber = engine.subscriber(named("a", "n")).unwrap();
    assert_eq!(take(&subscriber, 1), ["0"]);
    publish(&engine, "a", 4..5);
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();
    let engine = home.open();
    assert_eq!(take_all(&engine.subscriber(named("a", "n")).unwrap()), texts(1..5));
    engine.close(PATIENCE).unwrap();
}
