//! One suite for all kinds of queue: who gets which message, what is refused, what comes again. Public API only.
//!
//! Each promise is one function over a [`Bed`]; `suite!` makes a test of it for every kind. Where kinds differ, the test
//! asks [`Engine::capabilities`], and checks that what a kind cannot do it says.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::{
    Batch, Config, DEAD_LETTERS, Delivery, Engine, HEADER_ATTEMPTS, HEADER_ORIGIN_ID,
    HEADER_ORIGIN_SUBSCRIPTION, HEADER_ORIGIN_TOPIC, HEADER_REASON, Handler, Message, Priority,
    PublishError, QueueError, Settlement, Start, Subscriber, Subscription, TooLarge, Topic,
    TopicError,
};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: only a failure ever waits that long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that a close is expected to keep.
const SOON: Duration = Duration::from_secs(10);

/// A kind of queue to test, and the directory that it may need.
struct Bed {
    config: Config,
    directory: Option<tempfile::TempDir>,
}

fn memory() -> Bed {
    Bed { config: Config::memory(), directory: None }
}

fn persistent() -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::persistent(directory.path().join("queue")).segment_bytes(1 << 20);
    Bed { config, directory: Some(directory) }
}

impl Bed {
    fn open(&self) -> Engine {
        self.open_with(|config| config)
    }

    fn open_with(&self, tune: impl FnOnce(Config) -> Config) -> Engine {
        let config = tune(self.config.clone().workers(2).retry_delay(Duration::from_millis(1)));
        Engine::open(config).unwrap()
    }

    fn outlives_process(&self) -> bool {
        self.directory.is_some()
    }
}

/// The texts that a handler was given.
fn collect(engine: &Engine, subscription: impl Into<Subscription>) -> Receiver<String> {
    let (seen, texts) = channel();
    engine.subscribe(subscription, forward(seen)).unwrap();
    texts
}

fn forward(
    seen: Sender<String>,
) -> impl Fn(&Delivery) -> Result<(), millstream::HandlerError> + Send + Sync {
    move |delivery| Ok(seen.send(delivery.text()?.to_owned())?)
}

fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(PATIENCE).expect("it comes")
}

fn take(texts: &Receiver<String>, count: usize) -> Vec<String> {
    (0..count).map(|_| next(texts)).collect()
}

/// Closes, and so waits for all that was accepted; then nothing more may have been seen.
fn finish(engine: &Engine, texts: &[&Receiver<String>]) {
    assert!(engine.close(SOON).unwrap().is_drained());
    for each in texts {
        assert_eq!(each.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn pull(subscriber: &Subscriber) -> Delivery {
    subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes")
}

fn texts(engine: &Engine, filter: &str, count: usize) -> Vec<String> {
    let peeked = engine.peek(filter, count).unwrap();
    peeked.iter().map(|envelope| envelope.text().unwrap().to_owned()).collect()
}

macro_rules! suite {
    ($($promise:ident)*) => {
        mod memory { $(#[test] fn $promise() { super::$promise(&super::memory()); })* }
        mod persistent { $(#[test] fn $promise() { super::$promise(&super::persistent()); })* }
    };
}

suite! {
    every_subscription_gets_every_message
    a_second_unnamed_subscription_is_its_own_or_needs_a_name
    members_of_one_name_share_the_messages
    another_filter_under_a_name_is_an_error
    dropping_a_members_handle_changes_nothing
    a_member_that_leaves_gets_nothing_more_and_the_others_go_on
    unsubscribing_ends_the_backlog_and_leaves_the_others_alone
    what_nobody_has_ever_matched_is_held_for_the_first_subscription
    a_further_subscription_starts_from_now
    the_earliest_is_a_start_where_messages_are_retained
    what_all_have_left_is_dropped_or_refused
    a_subscription_that_is_full_refuses_the_publish_for_all
    the_queues_size_is_a_limit
    a_message_that_is_too_large_comes_back
    a_closed_queue_gives_the_message_back
    a_topic_that_is_none_is_named
    the_queues_own_topics_are_not_for_users
    peek_shows_the_oldest_and_takes_nothing
    wildcards_choose_topics
    one_worker_keeps_the_order
    a_batch_is_taken_whole_or_refused_whole
    bytes_headers_and_metadata_come_back_as_they_went_in
    a_dropped_delivery_comes_again_as_another_attempt
    a_failed_handler_is_retried_and_then_the_message_is_a_dead_letter
    a_panicking_handler_has_failed_and_the_pool_stays_whole
    a_message_may_bring_its_own_allowance_of_retries
    a_released_delivery_comes_again_as_the_same_attempt_and_in_its_old_place
    a_handler_may_say_itself_what_becomes_of_a_message
    a_wildcard_does_not_see_the_dead_letters
    a_dead_letter_that_fails_again_is_kept
    close_drains_and_says_what_is_left
    close_waits_no_longer_than_its_deadline_for_a_handler
    closing_from_inside_a_handler_is_an_error
    a_subscriber_drains_and_then_ends
    concurrency_bounds_the_workers_of_a_subscription
    a_long_handler_holds_up_nobody_while_a_worker_sleeps
    statistics_count_what_happened
    ids_are_unique_and_the_same_through_retries
    an_impossible_setting_is_named
    a_subscription_name_that_is_none_is_named
}

fn every_subscription_gets_every_message(bed: &Bed) {
    let engine = bed.open();
    let (first, second) = (collect(&engine, "a.*"), collect(&engine, "a.>"));
    let receipt = engine.publish("a.b", "one").unwrap();
    assert_eq!(receipt.matched, Some(2));
    assert_eq!((next(&first), next(&second)), ("one".to_owned(), "one".to_owned()));
    finish(&engine, &[&first, &second]);
}

fn a_second_unnamed_subscription_is_its_own_or_needs_a_name(bed: &Bed) {
    let engine = bed.open();
    let first = collect(&engine, "a");
    if bed.outlives_process() {
        let refused = engine.subscribe("a", |_: &Delivery| Ok(())).map(drop);
        assert!(matches!(refused, Err(QueueError::NameRequired { filter }) if filter == "a"));
    } else {
        let second = collect(&engine, "a");
        engine.publish("a", "x").unwrap();
        assert_eq!((next(&first), next(&second)), ("x".to_owned(), "x".to_owned()));
    }
    engine.close(SOON).unwrap();
}

fn members_of_one_name_share_the_messages(bed: &Bed) {
    let engine = bed.open();
    let shared = || Subscription::new("a").name("workers");
    let (first, second) = (collect(&engine, shared()), collect(&engine, shared()));
    let sent: BTreeSet<String> = (0..100).map(|i| i.to_string()).collect();
    for text in &sent {
        assert_eq!(engine.publish("a", text.as_str()).unwrap().matched, Some(1));
    }
    assert!(engine.close(SOON).unwrap().is_drained());
    let (first, second): (Vec<_>, Vec<_>) =
        (first.try_iter().collect(), second.try_iter().collect());
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    assert_eq!(first.len() + second.len(), 100);
    assert_eq!(first.into_iter().chain(second).collect::<BTreeSet<_>>(), sent);
}

fn another_filter_under_a_name_is_an_error(bed: &Bed) {
    let engine = bed.open();
    let _texts = collect(&engine, Subscription::new("a").name("n"));
    let refused = engine.subscriber(Subscription::new("b").name("n")).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "subscription `n` has the filter `a`, not `b`");
    engine.close(SOON).unwrap();
}

fn dropping_a_members_handle_changes_nothing(bed: &Bed) {
    let engine = bed.open();
    let (seen, texts) = channel();
    drop(engine.subscribe("a", forward(seen)).unwrap());
    engine.publish("a", "still here").unwrap();
    assert_eq!(next(&texts), "still here");
    finish(&engine, &[&texts]);
}

fn a_member_that_leaves_gets_nothing_more_and_the_others_go_on(bed: &Bed) {
    let engine = bed.open();
    let (seen, texts) = channel();
    let shared = || Subscription::new("a").name("n");
    let leaver = engine.subscribe(shared(), |_: &Delivery| panic!("it has left")).unwrap();
    leaver.leave();
    engine.publish("a", "kept").unwrap();
    engine.subscribe(shared(), forward(seen)).unwrap();
    engine.publish("a", "next").unwrap();
    // Two workers may have one each.
    let mut told = take(&texts, 2);
    told.sort();
    assert_eq!(told, ["kept", "next"]);
    finish(&engine, &[&texts]);
}

fn unsubscribing_ends_the_backlog_and_leaves_the_others_alone(bed: &Bed) {
    let engine = bed.open();
    let pulling = engine.subscriber(Subscription::new("a").name("ends")).unwrap();
    let stays = collect(&engine, Subscription::new("a").name("stays"));
    engine.publish("a", "1").unwrap();
    let in_hand = pull(&pulling);
    engine.publish("a", "2").unwrap();
    engine.unsubscribe("ends").unwrap();
    assert!(matches!(pulling.recv(), Err(QueueError::Closed)));
    assert!(matches!(engine.unsubscribe("ends"), Err(QueueError::NoSubscription { .. })));
    in_hand.ack().unwrap();
    assert_eq!(engine.publish("a", "3").unwrap().matched, Some(1));
    assert_eq!(take(&stays, 3), ["1", "2", "3"]);
    finish(&engine, &[&stays]);
}

fn what_nobody_has_ever_matched_is_held_for_the_first_subscription(bed: &Bed) {
    let engine = bed.open();
    for text in ["1", "2", "3"] {
        assert_eq!(engine.publish("a.b", text).unwrap().matched, Some(0));
    }
    engine.publish("other", "4").unwrap();
    assert_eq!(engine.stats().depth.held, 4);
    let first = collect(&engine, Subscription::new("a.*").name("first").concurrency(1));
    let second = collect(&engine, Subscription::new("a.b").name("second"));
    assert_eq!(engine.stats().depth.held, 1);
    engine.publish("a.b", "5").unwrap();
    assert_eq!(take(&first, 4), ["1", "2", "3", "5"]);
    assert_eq!(take(&second, 1), ["5"]);
    let report = engine.close(SOON).unwrap();
    assert_eq!((report.left_over(), report.depth.held), (1, 1), "the other topic's message");
}

fn a_further_subscription_starts_from_now(bed: &Bed) {
    let engine = bed.open();
    let first = collect(&engine, Subscription::new("a").name("first"));
    engine.publish("a", "before").unwrap();
    let second = collect(&engine, Subscription::new("a").name("second"));
    engine.publish("a", "after").unwrap();
    assert_eq!(
        BTreeSet::from_iter(take(&first, 2)),
        BTreeSet::from(["after", "before"].map(String::from))
    );
    assert_eq!(take(&second, 1), ["after"]);
    finish(&engine, &[&first, &second]);
}

fn the_earliest_is_a_start_where_messages_are_retained(bed: &Bed) {
    let engine = bed.open();
    let first = collect(&engine, Subscription::new("a").name("first").concurrency(1));
    engine.publish("a", "1").unwrap();
    assert_eq!(take(&first, 1), ["1"]);
    let again = Subscription::new("a").name("again").start(Start::Earliest).concurrency(1);
    if engine.capabilities().retains {
        let again = collect(&engine, again);
        engine.publish("a", "2").unwrap();
        assert_eq!(take(&again, 2), ["1", "2"]);
    } else {
        let refused = engine.subscriber(again).map(drop);
        assert!(matches!(refused, Err(QueueError::Unsupported { kind: "memory", .. })));
    }
    engine.close(SOON).unwrap();
}

fn what_all_have_left_is_dropped_or_refused(bed: &Bed) {
    for refuse in [false, true] {
        let engine = bed.open_with(|config| config.refuse_unrouted(refuse));
        let topic = if refuse { "a" } else { "b" };
        drop(engine.subscriber(Subscription::new(topic).name("n")).unwrap());
        engine.publish(topic, "taken").unwrap();
        engine.unsubscribe("n").unwrap();
        match engine.publish(topic, "nobody") {
            Ok(receipt) => assert_eq!((receipt.matched, refuse), (Some(0), false)),
            Err(PublishError::Unrouted(message)) => {
                assert_eq!((message, refuse), (Message::from("nobody"), true));
            }
            Err(other) => panic!("{other}"),
        }
        let late = Subscription::new(topic).name(format!("late in {topic}"));
        let late = engine.subscriber(late).unwrap();
        assert!(late.try_recv().unwrap().is_none(), "it was not held");
        engine.close(SOON).unwrap();
    }
}

fn a_subscription_that_is_full_refuses_the_publish_for_all(bed: &Bed) {
    let engine = bed.open_with(|config| config.buffer(3));
    let slow = engine.subscriber(Subscription::new("a").name("slow")).unwrap();
    let other = engine.subscriber(Subscription::new(">").name("other")).unwrap();
    for text in ["1", "2", "3"] {
        engine.publish("a", text).unwrap();
        pull(&other).ack().unwrap();
    }
    let refused = engine.publish("a", "4");
    if engine.capabilities().bounded_by_buffer {
        let Err(PublishError::Full(message)) = refused else { panic!("{refused:?}") };
        assert_eq!(message, Message::from("4"));
        assert!(other.try_recv().unwrap().is_none(), "a refused publish reached nobody");
        // A delivery in somebody's hands still has its place: a retry always finds room.
        let in_hand = pull(&slow);
        assert!(engine.publish("a", "4").is_err());
        in_hand.ack().unwrap();
        engine.publish("a", "4").unwrap();
    } else {
        refused.unwrap();
    }
    let got: Vec<String> =
        slow.recv_all(if engine.capabilities().bounded_by_buffer { 3 } else { 4 });
    let want = if engine.capabilities().bounded_by_buffer {
        &["2", "3", "4"][..]
    } else {
        &["1", "2", "3", "4"]
    };
    assert_eq!(got, want);
    engine.close(Duration::ZERO).unwrap();
}

/// Pulls and acknowledges.
trait RecvAll {
    fn recv_all(&self, count: usize) -> Vec<String>;
}

impl RecvAll for Subscriber {
    fn recv_all(&self, count: usize) -> Vec<String> {
        let one = || {
            let delivery = pull(self);
            let text = delivery.text().unwrap().to_owned();
            delivery.ack().unwrap();
            text
        };
        (0..count).map(|_| one()).collect()
    }
}

fn the_queues_size_is_a_limit(bed: &Bed) {
    let engine = bed.open_with(|config| config.max_size(4));
    let first = engine.subscriber(Subscription::new("a").name("first")).unwrap();
    let second = engine.subscriber(Subscription::new("a").name("second")).unwrap();
    engine.publish("a", "1").unwrap();
    engine.publish("a", "2").unwrap();
    assert!(engine.publish("a", "3").unwrap_err().is_full());
    assert!(engine.publish("nobody", "3").unwrap_err().is_full(), "a held message counts too");
    assert_eq!(first.recv_all(1), ["1"]);
    assert!(engine.publish("a", "3").unwrap_err().is_full(), "one place is not two");
    assert_eq!(second.recv_all(1), ["1"]);
    engine.publish("a", "3").unwrap();
    assert_eq!(
        (first.recv_all(2), second.recv_all(2)),
        (vec!["2".into(), "3".into()], vec!["2".into(), "3".into()])
    );
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(SOON).unwrap();
}

fn a_message_that_is_too_large_comes_back(bed: &Bed) {
    let engine = bed.open_with(|config| config.payload_bytes_max(8));
    let message = Message::new("nine bytes").header("k", "v");
    let refused = engine.publish("a", message.clone());
    let Err(PublishError::TooLarge { message: back, reason }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((back, reason), (message, TooLarge::Payload { bytes: 10, max: 8 }));
    let batch: Batch = (0..5_000).map(|_| (Topic::new("a").unwrap(), "x")).collect();
    let refused = engine.publish_batch(batch).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "message is too large: batch of 5000 messages: at most 4096 are allowed"
    );
    assert_eq!(refused.into_message().len(), 5_000);
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(SOON).unwrap();
}

fn a_closed_queue_gives_the_message_back(bed: &Bed) {
    let engine = bed.open();
    engine.close(SOON).unwrap();
    let refused = engine.publish("a", "late").unwrap_err();
    assert!(refused.is_closed() && refused.to_string() == "queue is closed");
    assert_eq!(refused.into_message(), Message::from("late"));
    let batch = Batch::new().with("a", "late").unwrap();
    assert_eq!(engine.publish_batch(batch.clone()).unwrap_err().into_message(), batch);
    assert!(matches!(engine.subscriber("a").map(drop), Err(QueueError::Closed)));
    assert!(matches!(engine.close(SOON), Err(QueueError::Closed)));
}

fn a_topic_that_is_none_is_named(bed: &Bed) {
    let engine = bed.open();
    for (topic, error) in [
        ("", TopicError::Empty),
        ("a..b", TopicError::EmptyToken { topic: "a..b".into(), at: 2 }),
        ("a.*", TopicError::Wildcard { topic: "a.*".into(), at: 2 }),
        ("a.>", TopicError::Wildcard { topic: "a.>".into(), at: 2 }),
    ] {
        let refused = engine.publish(topic, "x").unwrap_err();
        assert_eq!(refused.to_string(), error.to_string());
        assert_eq!(refused.into_message(), Message::from("x"));
    }
    let long = "t".repeat(256);
    let refused = engine.publish(&long, "x").unwrap_err();
    assert_eq!(refused.to_string(), "topic of 256 bytes: at most 255 are allowed");
    let refused = engine.subscribe("a.>.b", |_: &Delivery| Ok(())).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "filter: topic `a.>.b` has a wildcard where none may be, at byte 2"
    );
    engine.close(SOON).unwrap();
}

fn the_queues_own_topics_are_not_for_users(bed: &Bed) {
    let engine = bed.open();
    let refused = engine.publish(DEAD_LETTERS, "x").unwrap_err();
    assert!(matches!(refused, PublishError::Topic { source: TopicError::Reserved { .. }, .. }));
    engine.close(SOON).unwrap();
}

fn peek_shows_the_oldest_and_takes_nothing(bed: &Bed) {
    let engine = bed.open();
    let first = engine.subscriber(Subscription::new("a.*").name("first")).unwrap();
    let second = engine.subscriber(Subscription::new("a.b").name("second")).unwrap();
    engine.publish("held", "0").unwrap();
    for text in ["1", "2", "3"] {
        engine.publish("a.b", text).unwrap();
    }
    engine.publish("a.c", "4").unwrap();
    assert_eq!(texts(&engine, "a.*", 2), ["1", "2"]);
    assert_eq!(texts(&engine, "a.c", 9), ["4"]);
    assert_eq!(texts(&engine, ">", 9), ["0", "1", "2", "3", "4"]);
    assert_eq!(texts(&engine, ">", 9), ["0", "1", "2", "3", "4"], "looking changed nothing");
    assert_eq!(first.recv_all(4), ["1", "2", "3", "4"]);
    assert_eq!(texts(&engine, "a.b", 1), ["1"], "the other subscription still has it");
    assert_eq!(second.recv_all(3), ["1", "2", "3"]);
    assert_eq!(texts(&engine, ">", 9), ["0"]);
    assert!(engine.peek("a..b", 1).is_err());
    engine.close(SOON).unwrap();
}

fn wildcards_choose_topics(bed: &Bed) {
    let engine = bed.open();
    let one = collect(&engine, Subscription::new("user.*").name("one").concurrency(1));
    let all = collect(&engine, Subscription::new(">").name("all").concurrency(1));
    for (topic, matched) in [("user.events", 2), ("user.events.new", 1), ("user", 1)] {
        assert_eq!(engine.publish(topic, topic).unwrap().matched, Some(matched));
    }
    assert_eq!(take(&one, 1), ["user.events"]);
    assert_eq!(take(&all, 3), ["user.events", "user.events.new", "user"]);
    finish(&engine, &[&one, &all]);
}

fn one_worker_keeps_the_order(bed: &Bed) {
    let engine = bed.open_with(|config| config.workers(1).buffer(5_000));
    let texts = collect(&engine, "a");
    let sent: Vec<String> = (0..3_000).map(|i| i.to_string()).collect();
    for text in &sent {
        engine.publish("a", text.as_str()).unwrap();
    }
    assert_eq!(take(&texts, sent.len()), sent);
    finish(&engine, &[&texts]);
}

fn a_batch_is_taken_whole_or_refused_whole(bed: &Bed) {
    let engine = bed.open_with(|config| config.max_size(3));
    let subscriber = engine.subscriber(">").unwrap();
    let batch = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| (Topic::new(&format!("t.{text}")).unwrap(), text))
            .collect::<Batch>()
    };
    let receipts = engine.publish_batch(batch(&["1", "2"])).unwrap();
    assert!(receipts[0].id < receipts[1].id);
    let refused = engine.publish_batch(batch(&["3", "4"])).unwrap_err();
    assert!(refused.is_full());
    assert_eq!(refused.into_message(), batch(&["3", "4"]));
    assert!(engine.publish_batch(Batch::new()).unwrap().is_empty());
    assert_eq!(subscriber.recv_all(2), ["1", "2"]);
    assert!(subscriber.try_recv().unwrap().is_none());
    engine.close(SOON).unwrap();
}

fn bytes_headers_and_metadata_come_back_as_they_went_in(bed: &Bed) {
    let engine = bed.open();
    let subscriber = engine.subscriber("a").unwrap();
    let payload: Vec<u8> = (0..=255).collect();
    let at = std::time::UNIX_EPOCH + Duration::from_nanos(1_234_567_891);
    let message = Message::new(payload.clone())
        .header("content", "bytes ü")
        .header("empty", "")
        .priority(Priority::new(7).unwrap())
        .timestamp(at)
        .retries_max(9)
        .with_id("mine");
    let receipt = engine.publish("a", message).unwrap();
    engine.publish("a", "").unwrap();
    let delivery = pull(&subscriber);
    assert_eq!(delivery.payload(), &payload);
    let headers: Vec<_> = delivery.headers().iter().collect();
    assert_eq!(headers, [("content", "bytes ü"), ("empty", "")]);
    assert_eq!((delivery.priority().level(), delivery.timestamp()), (7, at));
    assert_eq!((delivery.retries_max(), delivery.dedup_key()), (Some(9), Some("mine")));
    assert_eq!((delivery.id(), delivery.topic().as_str()), (receipt.id, "a"));
    assert_eq!((delivery.attempt(), delivery.redelivered()), (1, false));
    delivery.ack().unwrap();
    let empty = pull(&subscriber);
    assert!(empty.payload().is_empty() && empty.headers().is_empty());
    assert_eq!(empty.timestamp(), empty.accepted_at());
    empty.ack().unwrap();
    engine.close(SOON).unwrap();
}

fn a_dropped_delivery_comes_again_as_another_attempt(bed: &Bed) {
    let engine = bed.open();
    let subscriber = engine.subscriber("a").unwrap();
    engine.publish("a", "x").unwrap();
    for attempt in 1..=4 {
        let delivery = pull(&subscriber);
        assert_eq!((delivery.attempt(), delivery.redelivered()), (attempt, 1 < attempt));
        drop(delivery);
    }
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    let letter = pull(&letters);
    assert_eq!(letter.header(HEADER_REASON), Some("dropped without being settled"));
    letter.ack().unwrap();
    engine.close(SOON).unwrap();
}

fn a_failed_handler_is_retried_and_then_the_message_is_a_dead_letter(bed: &Bed) {
    let engine = bed.open_with(|config| config.retries_max(2));
    let (attempts, seen) = channel();
    let failing = move |delivery: &Delivery| {
        attempts.send(delivery.attempt())?;
        Err(format!("no {}", delivery.text()?).into())
    };
    engine.subscribe(Subscription::new("a").name("fails"), failing).unwrap();
    let receipt = engine.publish("a", Message::new("luck").header("kept", "yes")).unwrap();
    assert_eq!([next(&seen), next(&seen), next(&seen)], [1, 2, 3]);
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    let letter = pull(&letters);
    assert_eq!((letter.text(), letter.header("kept")), (Ok("luck"), Some("yes")));
    assert_eq!(letter.header(HEADER_REASON), Some("no luck"));
    assert_eq!(letter.header(HEADER_ATTEMPTS), Some("3"));
    assert_eq!(letter.header(HEADER_ORIGIN_TOPIC), Some("a"));
    assert_eq!(letter.header(HEADER_ORIGIN_SUBSCRIPTION), Some("fails"));
    assert_eq!(letter.header(HEADER_ORIGIN_ID), Some(receipt.id.to_string().as_str()));
    letter.ack().unwrap();
    assert!(engine.close(SOON).unwrap().is_drained());
    let counters = engine.stats().snapshot.counters;
    assert_eq!((counters.failed, counters.retried, counters.dead_lettered), (3, 2, 1));
}

fn a_panicking_handler_has_failed_and_the_pool_stays_whole(bed: &Bed) {
    struct NoText;
    let engine = bed.open_with(|config| config.retries_max(0).workers(2));
    let panicking = |delivery: &Delivery| match delivery.text()? {
        "text" => panic!("on purpose"),
        "formatted" => panic!("{}", "on purpose, formatted"),
        "value" => std::panic::panic_any(NoText),
        _ => Ok(()),
    };
    engine.subscribe("a", panicking).unwrap();
    let texts = collect(&engine, "b");
    for round in 0..10 {
        for kind in ["text", "formatted", "value"] {
            engine.publish("a", kind).unwrap();
        }
        engine.publish("b", "alive").unwrap();
        assert_eq!(next(&texts), "alive", "round {round}");
    }
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    let mut reasons = BTreeSet::new();
    for _ in 0..30 {
        let letter = pull(&letters);
        reasons.insert(letter.header(HEADER_REASON).unwrap().to_owned());
        letter.ack().unwrap();
    }
    let expected =
        ["panic with a value that is no text", "panic: on purpose", "panic: on purpose, formatted"];
    assert_eq!(reasons, BTreeSet::from(expected.map(String::from)));
    finish(&engine, &[&texts]);
}

fn a_message_may_bring_its_own_allowance_of_retries(bed: &Bed) {
    let engine = bed.open();
    let subscriber = engine.subscriber("a").unwrap();
    engine.publish("a", Message::new("x").retries_max(0)).unwrap();
    pull(&subscriber).retry(Duration::ZERO).unwrap();
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    assert_eq!(letters.recv_all(1), ["x"]);
    engine.close(SOON).unwrap();
}

fn a_released_delivery_comes_again_as_the_same_attempt_and_in_its_old_place(bed: &Bed) {
    let engine = bed.open();
    let subscriber = engine.subscriber("a").unwrap();
    for text in ["1", "2", "3"] {
        engine.publish("a", text).unwrap();
    }
    let (first, second) = (pull(&subscriber), pull(&subscriber));
    second.release().unwrap();
    first.release().unwrap();
    let again = pull(&subscriber);
    assert_eq!((again.text(), again.attempt()), (Ok("1"), 1));
    again.ack().unwrap();
    assert_eq!(subscriber.recv_all(2), ["2", "3"]);
    assert_eq!(engine.stats().snapshot.counters.failed, 0);
    engine.close(SOON).unwrap();
}

fn a_handler_may_say_itself_what_becomes_of_a_message(bed: &Bed) {
    struct Choosy(Sender<(String, u32)>);
    impl Handler for Choosy {
        fn handle(&self, delivery: &Delivery) -> Settlement {
            let (text, attempt) = (delivery.text().unwrap().to_owned(), delivery.attempt());
            self.0.send((text.clone(), attempt)).unwrap();
            match (text.as_str(), attempt) {
                ("again", 1) => Settlement::Retry { after: Duration::ZERO },
                ("never", _) => Settlement::DeadLetter { reason: "unfit".to_owned() },
                _ => Settlement::Ack,
            }
        }
    }
    let engine = bed.open_with(|config| config.workers(1));
    let (seen, events) = channel();
    engine.subscribe_with("a", Choosy(seen)).unwrap();
    for text in ["again", "never"] {
        engine.publish("a", text).unwrap();
    }
    let seen: BTreeSet<_> = (0..3).map(|_| next(&events)).collect();
    assert_eq!(
        seen,
        BTreeSet::from([("again".into(), 1), ("again".into(), 2), ("never".into(), 1)])
    );
    let letter = pull(&engine.subscriber(DEAD_LETTERS).unwrap());
    assert_eq!(
        (letter.header(HEADER_REASON), letter.header(HEADER_ATTEMPTS)),
        (Some("unfit"), Some("1"))
    );
    letter.ack().unwrap();
    engine.close(SOON).unwrap();
}

fn a_wildcard_does_not_see_the_dead_letters(bed: &Bed) {
    let engine = bed.open_with(|config| config.retries_max(0));
    let all = engine.subscriber(Subscription::new(">").name("all")).unwrap();
    engine.publish("a", "x").unwrap();
    drop(pull(&all));
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    assert_eq!(letters.recv_all(1), ["x"]);
    assert!(all.try_recv().unwrap().is_none());
    engine.close(SOON).unwrap();
}

fn a_dead_letter_that_fails_again_is_kept(bed: &Bed) {
    let engine = bed.open_with(|config| config.retries_max(0));
    let subscriber = engine.subscriber("a").unwrap();
    engine.publish("a", "x").unwrap();
    drop(pull(&subscriber));
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    for attempt in 1..=3 {
        let letter = pull(&letters);
        assert_eq!(letter.attempt(), attempt);
        if attempt == 2 { letter.dead_letter("still no use").unwrap() } else { drop(letter) }
    }
    assert_eq!(engine.stats().queue_size(), 1);
    assert_eq!(engine.stats().snapshot.counters.dead_lettered, 1);
    engine.close(Duration::ZERO).unwrap();
}

fn close_drains_and_says_what_is_left(bed: &Bed) {
    let engine = bed.open();
    let texts = collect(&engine, Subscription::new("a").name("drains"));
    drop(engine.subscriber(Subscription::new("b").name("left")).unwrap());
    for text in ["1", "2", "3"] {
        engine.publish("a", text).unwrap();
        engine.publish("b", text).unwrap();
    }
    engine.publish("c", "held").unwrap();
    let report = engine.close(SOON).unwrap();
    assert_eq!(texts.try_iter().count(), 3, "all were handled before close returned");
    assert_eq!((report.left_over(), report.depth.held, report.in_flight()), (4, 1, 0));
    let left = report.depth.subscriptions.iter().find(|each| each.name == "left").unwrap();
    assert_eq!(left.depth.ready, 3);
}

fn close_waits_no_longer_than_its_deadline_for_a_handler(bed: &Bed) {
    let engine = bed.open();
    let (started, running) = channel();
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    engine
        .subscribe("a", move |_: &Delivery| {
            started.send(())?;
            held.wait();
            Ok(())
        })
        .unwrap();
    engine.publish("a", "x").unwrap();
    next(&running);
    let report = engine.close(Duration::from_millis(20)).unwrap();
    assert_eq!((report.is_drained(), report.in_flight()), (false, 1));
    gate.wait();
}

fn closing_from_inside_a_handler_is_an_error(bed: &Bed) {
    let engine = bed.open();
    let (said, answers) = channel();
    let own = engine.clone();
    engine.subscribe("a", move |_: &Delivery| Ok(said.send(own.close(SOON).map(drop))?)).unwrap();
    engine.publish("a", "x").unwrap();
    assert!(matches!(next(&answers), Err(QueueError::InsideHandler { .. })));
    assert!(engine.close(SOON).unwrap().is_drained());
}

fn a_subscriber_drains_and_then_ends(bed: &Bed) {
    let engine = bed.open();
    let subscriber = engine.subscriber("a").unwrap();
    assert!(subscriber.try_recv().unwrap().is_none());
    assert!(subscriber.recv_timeout(Duration::from_millis(1)).unwrap().is_none());
    for i in 0..50 {
        engine.publish("a", i.to_string()).unwrap();
    }
    let pulling = std::thread::spawn(move || {
        subscriber.iter().map(|delivery| delivery.ack().unwrap()).count()
    });
    let report = engine.close(SOON).unwrap();
    assert!(report.is_drained());
    assert_eq!(pulling.join().unwrap(), 50);
}

fn concurrency_bounds_the_workers_of_a_subscription(bed: &Bed) {
    let engine = bed.open_with(|config| config.workers(3));
    let (started, running) = channel();
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    engine
        .subscribe(Subscription::new("slow").concurrency(1), move |_: &Delivery| {
            started.send(())?;
            held.wait();
            Ok(())
        })
        .unwrap();
    let texts = collect(&engine, "quick");
    for i in 0..3 {
        engine.publish("slow", i.to_string()).unwrap();
    }
    next(&running);
    for _ in 0..20 {
        engine.publish("quick", "x").unwrap();
        assert_eq!(next(&texts), "x");
    }
    assert!(running.try_recv().is_err(), "one worker holds it, no second one does");
    gate.wait();
    for _ in 0..2 {
        next(&running);
        gate.wait();
    }
    finish(&engine, &[&texts]);
}

fn statistics_count_what_happened(bed: &Bed) {
    let engine = bed.open();
    let texts = collect(&engine, "a");
    let before = engine.stats();
    for i in 0..10 {
        engine.publish("a", i.to_string()).unwrap();
    }
    take(&texts, 10);
    let until = Instant::now() + PATIENCE;
    while engine.stats().queue_size() > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    engine.publish("a..b", "x").unwrap_err();
    let stats = engine.stats();
    let counters = stats.snapshot.counters;
    assert_eq!((counters.published, counters.delivered, counters.settled), (10, 10, 10));
    assert_eq!((counters.refused, counters.failed, stats.queue_size()), (1, 0, 0));
    for stage in [stats.snapshot.waiting, stats.snapshot.service, stats.snapshot.sojourn] {
        assert_eq!(stage.count, 10);
    }
    assert!(stats.snapshot.waiting.mean_ns <= stats.snapshot.sojourn.mean_ns);
    let rates = stats.since(&before);
    assert!(0.0 < rates.messages_per_s && 0.0 < rates.throughput_per_s);
    assert_eq!((rates.errors_per_s, rates.error_ratio), (0.0, 0.0));
    assert_eq!(stats.depth.subscriptions[0].members, 1);
    finish(&engine, &[&texts]);
}

fn ids_are_unique_and_the_same_through_retries(bed: &Bed) {
    let engine = bed.open_with(|config| config.retries_max(1));
    let subscriber = engine.subscriber("a").unwrap();
    let receipts: Vec<_> = (0..10).map(|_| engine.publish("a", "x").unwrap().id).collect();
    assert_eq!(receipts.iter().collect::<BTreeSet<_>>().len(), 10);
    let first = pull(&subscriber);
    let id = first.id();
    first.retry(Duration::ZERO).unwrap();
    let seen: Vec<_> = (0..10)
        .map(|_| {
            let delivery = pull(&subscriber);
            let seen = (delivery.id(), delivery.attempt());
            delivery.ack().unwrap();
            seen
        })
        .collect();
    assert!(seen.contains(&(id, 2)));
    engine.close(SOON).unwrap();
    let other = memory().open();
    assert!(!receipts.contains(&other.publish("a", "x").unwrap().id));
    other.close(SOON).unwrap();
}

fn an_impossible_setting_is_named(bed: &Bed) {
    let refused = |tune: fn(Config) -> Config| match Engine::open(tune(bed.config.clone())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    };
    assert_eq!(refused(|c| c.buffer(0)), "`buffer` = 0: 1 to 524288 are allowed");
    assert_eq!(refused(|c| c.workers(0)), "`workers` = 0: 1 to 256 are allowed");
    assert_eq!(refused(|c| c.workers(257)), "`workers` = 257: 1 to 256 are allowed");
    assert_eq!(refused(|c| c.max_size(0)), "`max_size` = 0: at least 1 is needed");
    let payload = refused(|c| c.payload_bytes_max(2 << 20));
    assert_eq!(payload, "`payload_bytes_max` = 2097152: 1 to 1048576 are allowed");
    if bed.outlives_process() {
        assert!(refused(|c| c.segment_bytes(1_000_000)).starts_with("`segment_bytes` = 1000000: "));
        assert!(refused(|c| c.disk_bytes_max(1)).starts_with("`disk_bytes_max` = 1: "));
    }
}

fn a_subscription_name_that_is_none_is_named(bed: &Bed) {
    let engine = bed.open();
    let refused = |name: &str| {
        let named = Subscription::new("a").name(name);
        engine.subscriber(named).map(drop).unwrap_err().to_string()
    };
    assert_eq!(refused(""), "subscription name \"\": it must not be empty");
    assert_eq!(refused("a\nb"), "subscription name \"a\\nb\": it has a control character");
    assert!(refused(&"n".repeat(256)).ends_with("at most 255 bytes are allowed"));
    engine.close(SOON).unwrap();
}

/// Promise: a handler that runs long holds up no other subscription while a worker sleeps. Method: again and again one
/// message each for a handler that blocks and for one that does not, published so close together that the second
/// finds a worker on its way; the first handler is let go only after the second has run.
fn a_long_handler_holds_up_nobody_while_a_worker_sleeps(bed: &Bed) {
    let engine = bed.open_with(|config| config.workers(2));
    let (started, running) = channel();
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    engine
        .subscribe("long", move |_: &Delivery| {
            started.send(())?;
            held.wait();
            Ok(())
        })
        .unwrap();
    let quick = collect(&engine, "quick");
    for _ in 0..300 {
        engine.publish("long", "x").unwrap();
        engine.publish("quick", "x").unwrap();
        next(&running);
        assert_eq!(next(&quick), "x");
        gate.wait();
    }
    finish(&engine, &[&quick]);
}
