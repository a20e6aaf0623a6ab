//! What the specification's own code gets wrong, and this engine must get right: a test for each row of the table, by
//! its number. H8 (priorities) comes with its lanes, H13 and H22 (distributed) with the kind that they speak of.
//!
//! As in `contract.rs` a promise is a function over a [`Bed`], and `suite!` makes a test of it for every kind of queue.
//! What can only be told of a whole process (its idle processor time, its threads, its death) is told of a child.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/child.rs"]
mod child;

use millstream::log::{Budget, Log, LogOptions, Record};
use millstream::{
    Config, DEAD_LETTERS, Delivery, Engine, HEADER_ATTEMPTS, HEADER_ORIGIN_ID,
    HEADER_ORIGIN_SUBSCRIPTION, HEADER_ORIGIN_TOPIC, HEADER_REASON, HandlerError, Message,
    PublishError, Subscriber, Subscription,
};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: only a failure ever waits that long.
const PATIENCE: Duration = Duration::from_secs(30);
/// A deadline that a close is expected to keep.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any test: what waits for it in a worker is seen.
const NEVER: Duration = Duration::from_secs(3_600);
const SEGMENT_BYTES: u64 = 1 << 20;

/// A kind of queue to test, and the directory that it may need.
struct Bed {
    directory: Option<tempfile::TempDir>,
    /// How often a race is tried.
    rounds: usize,
}

fn memory() -> Bed {
    Bed { directory: None, rounds: 100 }
}

fn persistent() -> Bed {
    Bed { directory: Some(tempfile::tempdir().unwrap()), rounds: 20 }
}

impl Bed {
    fn path(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.path().join("queue"))
    }

    fn config(&self) -> Config {
        config(self.path().as_deref())
    }

    fn open(&self) -> Engine {
        Engine::open(self.config()).unwrap()
    }
}

fn config(path: Option<&Path>) -> Config {
    let config = match path {
        Some(path) => Config::persistent(path).segment_bytes(SEGMENT_BYTES),
        None => Config::memory(),
    };
    config.workers(2).retry_delay(Duration::from_millis(1))
}

fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(PATIENCE).expect("it comes")
}

fn pull(subscriber: &Subscriber) -> Delivery {
    subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes")
}

fn forward(
    seen: Sender<String>,
) -> impl Fn(&Delivery) -> Result<(), HandlerError> + Send + Sync + 'static {
    move |delivery| Ok(seen.send(delivery.text()?.to_owned())?)
}

/// Waits until `holds`, without a sleep that would stand for an event.
fn until(mut holds: impl FnMut() -> bool) {
    let last = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < last, "it never came true");
        thread::yield_now();
    }
}

/// Pulls and acknowledges `count` messages.
fn take(subscriber: &Subscriber, count: usize) -> Vec<String> {
    let one = || {
        let delivery = pull(subscriber);
        let text = delivery.text().unwrap().to_owned();
        delivery.ack().unwrap();
        text
    };
    (0..count).map(|_| one()).collect()
}

macro_rules! suite {
    ($($promise:ident)*) => {
        mod memory { $(#[test] fn $promise() { super::$promise(&super::memory()); })* }
        mod persistent { $(#[test] fn $promise() { super::$promise(&super::persistent()); })* }
    };
}

suite! {
    h01_publishers_that_meet_a_new_topic_together_lose_nothing
    h02_nothing_is_consumed_without_a_subscription_and_the_receipt_tells
    h03_unsubscribing_ends_one_subscription_and_the_others_go_on
    h04_close_drains_up_to_its_deadline_and_reports_what_is_left
    h05_a_message_that_waits_for_its_retry_holds_up_nobody
    h06_what_fails_for_the_last_time_is_a_dead_letter_with_its_story
    h07_one_subscriptions_failure_neither_repeats_nor_spoils_the_others
    h09_a_message_in_somebodys_hands_is_nobody_elses
    h11_an_idle_engine_runs_nothing_and_a_sleeping_one_is_woken
    h12_a_payload_that_does_not_decode_is_a_failure_with_its_reason
    h14_a_panicking_handler_costs_an_attempt_and_no_worker
    h15_close_returns_when_the_work_is_done
    h16_members_come_and_go_while_messages_flow
    h17_a_publish_that_races_with_close_is_drained_or_reported_or_refused
    h18_what_one_handler_does_with_its_message_no_other_sees
    h19_ten_thousand_topics_take_no_thread_more_than_one
    h20_bytes_and_headers_return_as_they_went_in
    h21_the_default_is_three_retries
}

/// Promise: however many publishers meet a topic that does not exist yet, it is made once, and every message they were
/// given a receipt for is there, also if somebody subscribes in the same moment.
/// Method: two publishers and a subscriber that spin for the start of each round, a new topic in each.
// spec: H1
fn h01_publishers_that_meet_a_new_topic_together_lose_nothing(bed: &Bed) {
    const PUBLISHERS: usize = 2;
    let engine = Engine::open(bed.config().buffer(10_000)).unwrap();
    let (round_begun, published) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rounds = bed.rounds * 20;
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (engine, round_begun, published) = (&engine, &round_begun, &published);
            scope.spawn(move || {
                for round in 1..=rounds {
                    let topic = format!("new.{round}");
                    until(|| round <= round_begun.load(Ordering::SeqCst)); // [relaxed] a test's start
                    engine.publish(&topic, publisher.to_string()).unwrap();
                    engine.publish(&topic, publisher.to_string()).unwrap();
                    published.fetch_add(1, Ordering::SeqCst); // [relaxed] a test's count
                }
            });
        }
        for round in 1..=rounds {
            round_begun.store(round, Ordering::SeqCst); // [relaxed] a test's start
            if round % 2 == 0 {
                until(|| published.load(Ordering::SeqCst) == PUBLISHERS * round); // [relaxed] a test's count
            }
            let subscriber = engine.subscriber(format!("new.{round}")).unwrap();
            let mut got = take(&subscriber, PUBLISHERS * 2);
            got.sort();
            assert_eq!(got, ["0", "0", "1", "1"], "round {round}");
            assert!(subscriber.try_recv().unwrap().is_none());
            engine.unsubscribe(subscriber.name()).unwrap();
        }
    });
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(SOON).unwrap();
    if bed.directory.is_some() {
        assert_eq!(bed.open().stats().queue_size(), 0, "and the log tells the same");
    }
}

/// Promise: a message leaves the queue only through a subscription: it is held while there is none, kept while a
/// subscription has no member, and where all have gone the receipt says that nobody took it.
/// Method: the number in each receipt, and what arrives.
// spec: H2
fn h02_nothing_is_consumed_without_a_subscription_and_the_receipt_tells(bed: &Bed) {
    let engine = bed.open();
    let named = || Subscription::new("a").name("n");
    assert_eq!(engine.publish("a", "held").unwrap().matched, Some(0));
    assert_eq!(engine.stats().queue_size(), 1);
    let member = engine.subscribe(named(), |_: &Delivery| Ok(())).unwrap();
    until(|| engine.stats().queue_size() == 0);
    member.leave();
    assert_eq!(engine.publish("a", "kept").unwrap().matched, Some(1));
    assert_eq!(engine.stats().queue_size(), 1);
    assert_eq!(take(&engine.subscriber(named()).unwrap(), 1), ["kept"]);
    engine.unsubscribe("n").unwrap();
    assert_eq!(engine.publish("a", "nobody").unwrap().matched, Some(0));
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(SOON).unwrap();
    let strict = Engine::open(memory().config().refuse_unrouted(true)).unwrap();
    let member = strict.subscriber(named()).unwrap();
    strict.publish("a", "taken").unwrap();
    assert_eq!(take(&member, 1), ["taken"]);
    strict.unsubscribe("n").unwrap();
    assert!(matches!(strict.publish("a", "x"), Err(PublishError::Unrouted(_))));
    strict.close(SOON).unwrap();
}

/// Promise: unsubscribing ends that subscription, handlers and backlog; nothing of it starts any more, and the other
/// handlers of the topic go on and miss nothing.
/// Method: unsubscribe in the middle of a flow. What had been pulled before may still begin: one message a worker.
// spec: H3
fn h03_unsubscribing_ends_one_subscription_and_the_others_go_on(bed: &Bed) {
    let engine = Engine::open(bed.config().buffer(10_000)).unwrap();
    let handled = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&handled);
    let ending = move |_: &Delivery| {
        counting.fetch_add(1, Ordering::SeqCst); // [relaxed] a test's count
        Ok(())
    };
    engine.subscribe(Subscription::new("a").name("ends"), ending).unwrap();
    let (seen, texts) = channel();
    engine.subscribe(Subscription::new("a").name("stays").concurrency(1), forward(seen)).unwrap();
    let sent: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    let mut at_end = 0;
    for (number, text) in sent.iter().enumerate() {
        let matched = engine.publish("a", text.as_str()).unwrap().matched;
        assert_eq!(matched, Some(if number < 300 { 2 } else { 1 }));
        if number == 299 {
            engine.unsubscribe("ends").unwrap();
            at_end = handled.load(Ordering::SeqCst); // [relaxed] a test's count
        }
    }
    assert_eq!((0..600).map(|_| next(&texts)).collect::<Vec<_>>(), sent);
    let depth = engine.stats().depth;
    assert_eq!(depth.subscriptions.len(), 1, "the backlog of the other has gone with it");
    assert!(engine.close(SOON).unwrap().is_drained());
    let late = handled.load(Ordering::SeqCst) - at_end; // [relaxed] a test's count
    assert!(late <= 2, "{late} messages began after the end, with two workers");
}

/// Promise: close handles what was accepted as long as its deadline allows, and then says what is left and where.
/// Method: one subscription whose handler works, one that nobody attends, a retry that is due after the deadline.
// spec: H4
fn h04_close_drains_up_to_its_deadline_and_reports_what_is_left(bed: &Bed) {
    let engine = Engine::open(bed.config().retry_delay(NEVER)).unwrap();
    let (seen, texts) = channel();
    engine.subscribe(Subscription::new("a").name("drains"), forward(seen)).unwrap();
    let failing = |_: &Delivery| Err("later".into());
    engine.subscribe(Subscription::new("b").name("waits"), failing).unwrap();
    drop(engine.subscriber(Subscription::new("c").name("unattended")).unwrap());
    for number in 0..100 {
        engine.publish("a", number.to_string()).unwrap();
    }
    engine.publish("b", "x").unwrap();
    engine.publish("c", "y").unwrap();
    engine.publish("d", "z").unwrap();
    let report = engine.close(SOON).unwrap();
    assert_eq!(texts.try_iter().count(), 100, "all were handled before close returned");
    let total = |name: &str| {
        let each = report.depth.subscriptions.iter().find(|each| each.name == name);
        each.map(|each| (each.depth.ready, each.depth.in_flight, each.depth.delayed))
    };
    assert_eq!(total("drains"), Some((0, 0, 0)));
    assert_eq!(total("waits"), Some((0, 0, 1)));
    assert_eq!(total("unattended"), Some((1, 0, 0)));
    assert_eq!((report.depth.held, report.left_over(), report.is_drained()), (1, 3, false));
}

/// Promise: a message that waits for its next attempt occupies no worker and no place in front of anybody.
/// Method: one worker, a retry delay of an hour: were it slept in the worker, nothing behind it would come.
// spec: H5
fn h05_a_message_that_waits_for_its_retry_holds_up_nobody(bed: &Bed) {
    let engine = Engine::open(bed.config().workers(1).retry_delay(NEVER)).unwrap();
    let (seen, texts) = channel();
    let handler = move |delivery: &Delivery| {
        if delivery.text()?.starts_with("bad") {
            return Err("not today".into());
        }
        Ok(seen.send(delivery.text()?.to_owned())?)
    };
    engine.subscribe("a", handler).unwrap();
    for number in 0..50 {
        engine.publish("a", format!("bad {number}")).unwrap();
        engine.publish("a", format!("good {number}")).unwrap();
    }
    for number in 0..50 {
        assert_eq!(next(&texts), format!("good {number}"));
    }
    let report = engine.close(SOON).unwrap();
    assert_eq!(report.depth.subscriptions[0].depth.delayed, 50);
}

/// Promise: after the last retry a message is kept as a dead letter, with the reason, the attempts and its origin.
/// Method: a handler that always fails; what arrives under the dead letters' topic.
// spec: H6
fn h06_what_fails_for_the_last_time_is_a_dead_letter_with_its_story(bed: &Bed) {
    let engine = Engine::open(bed.config().retries_max(2)).unwrap();
    let failing = |delivery: &Delivery| Err(format!("attempt {}", delivery.attempt()).into());
    engine.subscribe(Subscription::new("orders.*").name("billing"), failing).unwrap();
    let receipt = engine.publish("orders.new", Message::new("order 7").header("k", "v")).unwrap();
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    let letter = pull(&letters);
    assert_eq!((letter.text(), letter.header("k")), (Ok("order 7"), Some("v")));
    let origin_id = receipt.id.to_string();
    for (header, value) in [
        (HEADER_REASON, "attempt 3"),
        (HEADER_ATTEMPTS, "3"),
        (HEADER_ORIGIN_TOPIC, "orders.new"),
        (HEADER_ORIGIN_SUBSCRIPTION, "billing"),
        (HEADER_ORIGIN_ID, origin_id.as_str()),
    ] {
        assert_eq!(letter.header(header), Some(value), "{header}");
    }
    letter.ack().unwrap();
    assert!(engine.close(SOON).unwrap().is_drained());
    assert_eq!(engine.stats().snapshot.counters.dead_lettered, 1);
}

/// Promise: each subscription settles for itself: where one fails, panics or dead-letters, the others have each message
/// once, at their first attempt.
/// Method: three subscriptions of one topic, two of them failing in their ways.
// spec: H7
fn h07_one_subscriptions_failure_neither_repeats_nor_spoils_the_others(bed: &Bed) {
    let engine = Engine::open(bed.config().retries_max(1)).unwrap();
    let named = |name: &str| Subscription::new("a").name(name);
    engine.subscribe(named("fails"), |_: &Delivery| Err("no".into())).unwrap();
    engine.subscribe(named("panics"), |_: &Delivery| panic!("on purpose")).unwrap();
    let (seen, attempts) = channel();
    let handler = move |delivery: &Delivery| {
        Ok(seen.send((delivery.text()?.to_owned(), delivery.attempt(), delivery.redelivered()))?)
    };
    engine.subscribe(named("works"), handler).unwrap();
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    for number in 0..20 {
        engine.publish("a", number.to_string()).unwrap();
    }
    let mut by_subscription: Vec<(String, String)> = Vec::new();
    for _ in 0..40 {
        let letter = pull(&letters);
        let from = letter.header(HEADER_ORIGIN_SUBSCRIPTION).unwrap().to_owned();
        by_subscription.push((from, letter.text().unwrap().to_owned()));
        letter.ack().unwrap();
    }
    assert_eq!(by_subscription.iter().collect::<BTreeSet<_>>().len(), 40, "each one once");
    assert!(engine.close(SOON).unwrap().is_drained());
    let got: Vec<_> = attempts.try_iter().collect();
    assert!(got.iter().all(|(_, attempt, again)| (*attempt, *again) == (1, false)), "{got:?}");
    assert_eq!(got.iter().map(|(text, ..)| text).collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(got.len(), 20);
}

/// Promise: a message that somebody of a subscription holds is given to nobody else of it, however many publish and
/// pull; nobody fetches what another has fetched.
/// Method: four members pull everything and settle nothing until all is pulled.
// spec: H9
fn h09_a_message_in_somebodys_hands_is_nobody_elses(bed: &Bed) {
    const MEMBERS: usize = 4;
    const EACH: usize = 300;
    let engine = Engine::open(bed.config().buffer(MEMBERS * EACH)).unwrap();
    let subscription = || Subscription::new("a").name("shared");
    let members: Vec<_> =
        (0..MEMBERS).map(|_| engine.subscriber(subscription()).unwrap()).collect();
    let (start, pulled) = (Barrier::new(2 * MEMBERS), AtomicU64::new(0));
    let hands: Vec<Delivery> = thread::scope(|scope| {
        for publisher in 0..MEMBERS {
            let (engine, start) = (&engine, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    engine.publish("a", format!("{publisher}:{number}")).unwrap();
                }
            });
        }
        let pulling = members.iter().map(|member| {
            let (start, pulled) = (&start, &pulled);
            scope.spawn(move || {
                start.wait();
                let mut hands = Vec::new();
                let all = (MEMBERS * EACH) as u64;
                until(|| {
                    if let Some(delivery) = member.try_recv().unwrap() {
                        hands.push(delivery);
                        pulled.fetch_add(1, Ordering::SeqCst); // [relaxed] a test's count
                    }
                    pulled.load(Ordering::SeqCst) == all // [relaxed] a test's count
                });
                hands
            })
        });
        let pulling: Vec<_> = pulling.collect();
        pulling.into_iter().flat_map(|member| member.join().unwrap()).collect()
    });
    let ids: BTreeSet<_> = hands.iter().map(|delivery| delivery.id()).collect();
    assert_eq!((ids.len(), hands.len()), (MEMBERS * EACH, MEMBERS * EACH));
    let depth = engine.stats().depth.subscriptions[0].depth;
    assert_eq!((depth.ready, depth.in_flight), (0, (MEMBERS * EACH) as u64));
    hands.into_iter().for_each(|delivery| delivery.ack().unwrap());
    assert!(engine.close(SOON).unwrap().is_drained());
}

/// Promise: a message that was in somebody's hands when the process died comes again, marked; one whose handling
/// failed goes to another attempt: none stays "processing" for ever.
/// Method: a child process takes messages, fails one, and is killed with three in hand.
// spec: H10
#[test]
fn h10_what_a_dead_process_had_in_hand_comes_again() {
    let bed = persistent();
    let path = bed.path().unwrap();
    let mut child = child::command("hold messages", &path).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "three in hand");
    child.kill().unwrap();
    child.wait().unwrap();
    let engine = bed.open();
    let subscriber = engine.subscriber(Subscription::new("a").name("n")).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let delivery = pull(&subscriber);
        assert!(delivery.redelivered());
        seen.insert((delivery.text().unwrap().to_owned(), delivery.attempt()));
        delivery.ack().unwrap();
    }
    let expected = [("1", 1), ("2", 1), ("fails", 2)].map(|(text, at)| (text.to_owned(), at));
    assert_eq!(seen, BTreeSet::from(expected));
    assert!(engine.close(SOON).unwrap().is_drained(), "what was settled stays settled");
}

fn hold_messages(path: &Path) -> ! {
    let engine = Engine::open(config(Some(path))).unwrap();
    let subscriber = engine.subscriber(Subscription::new("a").name("n")).unwrap();
    for text in ["settled", "fails", "1", "2"] {
        engine.publish("a", text).unwrap();
    }
    pull(&subscriber).ack().unwrap();
    pull(&subscriber).retry(Duration::ZERO).unwrap();
    let again = pull(&subscriber);
    assert_eq!((again.text(), again.attempt()), (Ok("fails"), 2));
    again.release().unwrap();
    engine.sync().unwrap();
    let _in_hand = [pull(&subscriber), pull(&subscriber), pull(&subscriber)];
    child::say("three in hand");
    loop {
        thread::park();
    }
}

/// Promise: an engine with nothing to do runs nothing: no thread of it is scheduled, whatever is subscribed, has left,
/// waits for a retry or lies in a backlog that nobody attends. And one that sleeps is woken by a message.
/// Method: a child process works, then watches its own threads until none of them was scheduled for half a second. One
/// that polls, however seldom below that, never gets there. Then a message must be handled although nothing is due.
// spec: H11
fn h11_an_idle_engine_runs_nothing_and_a_sleeping_one_is_woken(bed: &Bed) {
    play("idle", bed);
}

/// Runs a child in that role on the bed's kind to its end.
fn play(role: &str, bed: &Bed) {
    let path = bed.path().unwrap_or_default();
    let mut child = child::command(role, &path).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "the child in the role `{role}` said:\n{said}");
}

/// How often each other thread of this process has been given a processor.
fn turns_of_others() -> Vec<(String, u64)> {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let own = own.file_name().unwrap().to_owned();
    let mut turns = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap();
        // A thread may end between the listing and the look.
        let Ok(schedule) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        if task.file_name() != own {
            let slices = schedule.split_whitespace().nth(2).unwrap().parse().unwrap();
            turns.push((task.file_name().to_string_lossy().into_owned(), slices));
        }
    }
    turns.sort();
    turns
}

fn rest(path: Option<&Path>) {
    let engine = Engine::open(config(path).workers(4)).unwrap();
    let (seen, texts) = channel();
    engine.subscribe(Subscription::new("a").name("works"), forward(seen)).unwrap();
    let leaver = Subscription::new("b").name("has no member any more");
    let leaver = engine.subscribe(leaver, |_: &Delivery| Ok(())).unwrap();
    let gone = Subscription::new("c").name("gone");
    engine.subscribe(gone, |_: &Delivery| Ok(())).unwrap();
    let one_by_one = Subscription::new("a").name("one by one").concurrency(1);
    engine.subscribe(one_by_one, |_: &Delivery| Ok(())).unwrap();
    let waiting = engine.subscriber(Subscription::new("d").name("retries in an hour")).unwrap();
    leaver.leave();
    for number in 0..200 {
        for topic in ["a", "b", "c", "d", "held"] {
            engine.publish(topic, number.to_string()).unwrap();
        }
        assert_eq!(next(&texts), number.to_string());
    }
    engine.unsubscribe("gone").unwrap();
    pull(&waiting).retry(NEVER).unwrap();
    let last = Instant::now() + PATIENCE;
    loop {
        let before = turns_of_others();
        thread::sleep(Duration::from_millis(500));
        let after = turns_of_others();
        if before == after {
            break;
        }
        assert!(Instant::now() < last, "never idle: {before:?}, half a second later {after:?}");
    }
    engine.publish("a", "wake up").unwrap();
    assert_eq!(next(&texts), "wake up");
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: a payload that a handler cannot decode is a failed attempt with a precise reason, and ends as a dead letter
/// with its bytes as they were; it is counted, and what stands behind it is handled.
/// Method: bytes that are no UTF-8, in front of a text.
// spec: H12
fn h12_a_payload_that_does_not_decode_is_a_failure_with_its_reason(bed: &Bed) {
    let engine = Engine::open(bed.config().retries_max(1)).unwrap();
    let (seen, texts) = channel();
    engine.subscribe("a", forward(seen)).unwrap();
    engine.publish("a", vec![b'o', b'k', 0xff]).unwrap();
    engine.publish("a", "text").unwrap();
    assert_eq!(next(&texts), "text");
    let letter = pull(&engine.subscriber(DEAD_LETTERS).unwrap());
    assert_eq!(letter.payload().as_ref(), [b'o', b'k', 0xff]);
    let reason = "invalid utf-8 sequence of 1 bytes from index 2";
    assert_eq!(letter.header(HEADER_REASON), Some(reason));
    letter.ack().unwrap();
    engine.close(SOON).unwrap();
    let counters = engine.stats().snapshot.counters;
    assert_eq!((counters.failed, counters.retried, counters.dead_lettered), (2, 1, 1));
}

/// Promise: a stored record that is no message of ours is not skipped in silence: it is quarantined among the dead
/// letters with the reason and its bytes, and counted; the ones around it are delivered.
/// Method: a record written past the queue, into its log, with a body that does not decode.
// spec: H12
#[test]
fn h12_a_stored_record_that_does_not_decode_is_quarantined() {
    let bed = persistent();
    let engine = bed.open();
    let subscription = || Subscription::new("a").name("n");
    drop(engine.subscriber(subscription()).unwrap());
    engine.publish("a", "before").unwrap();
    engine.close(SOON).unwrap();
    let options = LogOptions::new().segment_bytes(SEGMENT_BYTES);
    let log = Log::open(&bed.path().unwrap(), options).unwrap();
    let alien = Record { tag: 1, topic: 0, time_ns: 5, parts: &[&[0xff; 7]] };
    log.append(&alien, Budget::Publish).unwrap();
    log.close().unwrap();

    let engine = bed.open();
    engine.publish("a", "after").unwrap();
    let subscriber = engine.subscriber(subscription()).unwrap();
    assert_eq!(take(&subscriber, 2), ["before", "after"]);
    let letter = pull(&engine.subscriber(DEAD_LETTERS).unwrap());
    assert_eq!(letter.payload().as_ref(), [0xff; 7]);
    let reason = letter.header(HEADER_REASON).unwrap();
    assert!(reason.starts_with("record at ") && reason.contains("is not one of ours"), "{reason}");
    letter.ack().unwrap();
    assert!(engine.close(SOON).unwrap().is_drained());
    assert_eq!(engine.stats().snapshot.counters.dead_lettered, 1);
}

/// Promise: a record that nothing of this version wrote is a precise error at open, not a guess.
/// Method: a record of an unknown kind, written past the queue.
// spec: H12
#[test]
fn h12_a_stored_record_of_an_unknown_kind_is_named() {
    let bed = persistent();
    bed.open().close(SOON).unwrap();
    let options = LogOptions::new().segment_bytes(SEGMENT_BYTES);
    let log = Log::open(&bed.path().unwrap(), options).unwrap();
    let alien = Record { tag: 77, topic: 0, time_ns: 5, parts: &[b"?"] };
    let at = log.append(&alien, Budget::Publish).unwrap().at;
    log.close().unwrap();
    let Err(refused) = Engine::open(bed.config()) else { panic!("it opened") };
    let said = format!(
        "cannot open the queue: record at {at} is not one of ours: kind 77 is unknown: a newer \
         version wrote it"
    );
    assert_eq!(refused.to_string(), said);
}

/// Promise: a panic in a handler is a failed attempt of that message and of nothing else: the worker lives.
/// Method: more panics than workers, of each sort, then work for all the workers at once.
// spec: H14
fn h14_a_panicking_handler_costs_an_attempt_and_no_worker(bed: &Bed) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("thrown again when it is dropped");
        }
    }
    const WORKERS: usize = 3;
    let engine = Engine::open(bed.config().workers(WORKERS).retries_max(1)).unwrap();
    let panicking = |delivery: &Delivery| match delivery.text()? {
        "text" => panic!("on purpose"),
        "value" => std::panic::panic_any(7_u8),
        _ => std::panic::panic_any(Bomb),
    };
    engine.subscribe("a", panicking).unwrap();
    for number in 0..10 * WORKERS {
        engine.publish("a", ["text", "value", "bomb"][number % 3]).unwrap();
    }
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    for _ in 0..10 * WORKERS {
        let letter = pull(&letters);
        assert!(letter.header(HEADER_REASON).unwrap().starts_with("panic"));
        letter.ack().unwrap();
    }
    let (together, (seen, done)) = (Arc::new(Barrier::new(WORKERS)), channel());
    let all_at_once = move |_: &Delivery| {
        together.wait();
        Ok(seen.send(())?)
    };
    engine.subscribe("b", all_at_once).unwrap();
    for _ in 0..WORKERS {
        engine.publish("b", "x").unwrap();
    }
    (0..WORKERS).for_each(|_| next(&done));
    assert!(engine.close(SOON).unwrap().is_drained());
}

/// Promise: close returns when the work is done, not before: what handlers are at, and what still waits for them.
/// Method: handlers that do not end before they have seen the engine refuse, so the close is under way in all of them.
// spec: H15
fn h15_close_returns_when_the_work_is_done(bed: &Bed) {
    let engine = bed.open();
    let done = Arc::new(AtomicU64::new(0));
    let (own, counting) = (engine.clone(), Arc::clone(&done));
    let handler = move |_: &Delivery| {
        until(|| matches!(own.publish("elsewhere", "x"), Err(PublishError::Closed(_))));
        counting.fetch_add(1, Ordering::SeqCst); // [relaxed] a test's count
        Ok(())
    };
    // All of its subscriptions have gone: what is published to it is held for nobody.
    drop(engine.subscriber(Subscription::new("elsewhere").name("gone")).unwrap());
    engine.publish("elsewhere", "x").unwrap();
    engine.unsubscribe("gone").unwrap();
    engine.subscribe("a", handler).unwrap();
    for number in 0..50 {
        engine.publish("a", number.to_string()).unwrap();
    }
    let report = engine.close(SOON).unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 50); // [relaxed] a test's count
    assert!(report.is_drained(), "{report:?}");
}

/// Promise: handlers come and go while messages flow: what stays misses nothing and gets nothing twice, a publisher
/// sees each subscription or not at all, and a handler at work holds nothing that others need.
/// Method: a handler that stands still at a gate while others subscribe, publish, handle, leave and unsubscribe; then
/// comings and goings against a stream.
// spec: H16
fn h16_members_come_and_go_while_messages_flow(bed: &Bed) {
    let engine = Engine::open(bed.config().workers(2).buffer(20_000)).unwrap();
    let ((started, running), gate) = (channel(), Arc::new(Barrier::new(2)));
    let held = Arc::clone(&gate);
    let standing = move |_: &Delivery| {
        started.send(())?;
        held.wait();
        Ok(())
    };
    engine.subscribe(Subscription::new("still").concurrency(1), standing).unwrap();
    engine.publish("still", "x").unwrap();
    next(&running);
    let (seen, texts) = channel();
    let stays = Subscription::new("flow").name("stays").concurrency(1);
    engine.subscribe(stays, forward(seen)).unwrap();
    let (sent, stop) = (1_000 + bed.rounds * 20, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            // [relaxed] a test's flag
            while !stop.load(Ordering::SeqCst) {
                let visits = Subscription::new("flow").name(format!("visits {round}"));
                let first = engine.subscribe(visits.clone(), |_: &Delivery| Ok(())).unwrap();
                let second = engine.subscribe(visits, |_: &Delivery| Ok(())).unwrap();
                first.leave();
                engine.unsubscribe(second.name()).unwrap();
                round += 1;
            }
        });
        for number in 0..sent {
            let matched = engine.publish("flow", number.to_string()).unwrap().matched;
            assert!(matches!(matched, Some(1 | 2)), "{matched:?}");
        }
        for number in 0..sent {
            assert_eq!(next(&texts), number.to_string());
        }
        stop.store(true, Ordering::SeqCst); // [relaxed] a test's flag
    });
    gate.wait();
    let report = engine.close(SOON).unwrap();
    assert!(report.is_drained(), "{report:?}");
    assert_eq!(texts.try_iter().count(), 0);
}

/// Promise: a publish that races with close is accepted, and then it is drained or in the report, or it is refused as
/// closed with the message back. Persistent: what the report tells is there the next time, less nothing, twice nothing.
/// Method: publishers at full speed, closed at a moment that varies, with a deadline to drain by and with none.
// spec: H17
fn h17_a_publish_that_races_with_close_is_drained_or_reported_or_refused(bed: &Bed) {
    const PUBLISHERS: usize = 3;
    for round in 0..bed.rounds {
        let deadline = if round % 2 == 0 { SOON } else { Duration::ZERO };
        // A persistent subscription may have far more than it looks at; a memory one is bounded by what it has.
        let buffer = if bed.directory.is_some() { 8 } else { 1 << 18 };
        let config = || bed.config().buffer(buffer);
        let engine = Engine::open(config()).unwrap();
        let topic = format!("round.{round}");
        let named = |name: &str| Subscription::new(&*topic).name(format!("{name} {round}"));
        drop(engine.subscriber(named("left")).unwrap());
        let (pulled, start) =
            (engine.subscriber(named("pulled")).unwrap(), Barrier::new(2 + PUBLISHERS));
        let accepted = AtomicU64::new(0);
        let (report, settled) = thread::scope(|scope| {
            for _ in 0..PUBLISHERS {
                scope.spawn(|| {
                    start.wait();
                    publish_until_closed(&engine, &topic, &accepted);
                });
            }
            let pulling = scope.spawn(|| {
                start.wait();
                pulled.iter().filter_map(|delivery| delivery.ack().ok()).count() as u64
            });
            start.wait();
            let enough = (round * 7 % 100) as u64;
            until(|| enough <= accepted.load(Ordering::SeqCst)); // [relaxed] a test's count
            let report = engine.close(deadline).unwrap();
            (report, pulling.join().unwrap())
        });
        let accepted = accepted.load(Ordering::SeqCst); // [relaxed] a test's count
        let reported = |name: &str| {
            let name = format!("{name} {round}");
            let each = report.depth.subscriptions.iter().find(|each| each.name == name);
            each.map_or(0, |each| each.depth.total())
        };
        let at = format!("round {round}: {accepted} accepted, {settled} settled, {report:?}");
        assert_eq!(reported("left"), accepted, "{at}");
        assert!(accepted <= settled + reported("pulled"), "{at}");
        if deadline == SOON {
            assert_eq!((settled, reported("pulled")), (accepted, 0), "{at}");
        }
        if bed.directory.is_some() {
            let engine = Engine::open(config()).unwrap();
            let depth = engine.stats().depth;
            let there = |name: &str| {
                let name = format!("{name} {round}");
                depth.subscriptions.iter().find(|each| each.name == name).unwrap().depth.total()
            };
            assert_eq!((there("left"), settled + there("pulled")), (accepted, accepted), "{at}");
            engine.unsubscribe(&format!("left {round}")).unwrap();
            engine.unsubscribe(&format!("pulled {round}")).unwrap();
            engine.close(SOON).unwrap();
        }
    }
}

fn publish_until_closed(engine: &Engine, topic: &str, accepted: &AtomicU64) {
    for number in 0.. {
        match engine.publish(topic, format!("message {number}")) {
            Ok(_) => accepted.fetch_add(1, Ordering::SeqCst), // [relaxed] a test's count
            Err(PublishError::Closed(back)) => {
                assert_eq!(back, Message::from(format!("message {number}")));
                return;
            }
            Err(other) => panic!("{other}"),
        };
    }
}

/// Promise: a delivery is read-only: what a handler makes of it, the other subscriptions and the next attempt do not
/// see. (That it cannot write to the shared bytes is in the types: payload and headers are lent.)
/// Method: a handler that takes the message apart and fails, another that looks, and the second attempt.
// spec: H18
fn h18_what_one_handler_does_with_its_message_no_other_sees(bed: &Bed) {
    let engine = bed.open();
    let (seen, messages) = channel();
    let look = |delivery: &Delivery| {
        let headers = delivery.headers().iter();
        let headers: Vec<_> = headers.map(|(k, v)| format!("{k}={v}")).collect();
        (delivery.subscription().to_owned(), delivery.payload().to_vec(), headers)
    };
    let seen_by_changer = seen.clone();
    let changing = move |delivery: &Delivery| {
        seen_by_changer.send(look(delivery))?;
        let mut own = delivery.payload().to_vec();
        own.reverse();
        let changed = Message::new(own).header("k", "changed");
        assert_ne!(changed.payload(), delivery.payload());
        if delivery.attempt() == 1 { Err("once more".into()) } else { Ok(()) }
    };
    engine.subscribe(Subscription::new("a").name("changes"), changing).unwrap();
    let looking = move |delivery: &Delivery| Ok(seen.send(look(delivery))?);
    engine.subscribe(Subscription::new("a").name("looks"), looking).unwrap();
    engine.publish("a", Message::new("as it was").header("k", "v")).unwrap();
    let mut names: Vec<String> = Vec::new();
    for _ in 0..3 {
        let (name, payload, headers) = next(&messages);
        assert_eq!((payload.as_slice(), headers), (&b"as it was"[..], vec!["k=v".to_owned()]));
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["changes", "changes", "looks"]);
    assert!(engine.close(SOON).unwrap().is_drained());
}

/// Promise: topics are no threads: ten thousand of them run on the one pool.
/// Method: a child process counts its threads after one topic and after ten thousand, handled by two subscriptions.
// spec: H19
fn h19_ten_thousand_topics_take_no_thread_more_than_one(bed: &Bed) {
    play("many topics", bed);
}

fn serve_many_topics(path: Option<&Path>) {
    const TOPICS: u64 = 10_000;
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let workers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
        names
            .filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("millstream-work")))
            .count()
    };
    let engine = Engine::open(config(path).workers(3)).unwrap();
    for name in ["first", "second"] {
        engine.subscribe(Subscription::new("t.>").name(name), |_: &Delivery| Ok(())).unwrap();
    }
    let publish = |number: u64| loop {
        match engine.publish(&format!("t.{number}"), "x") {
            Ok(receipt) => return assert_eq!(receipt.matched, Some(2)),
            Err(PublishError::Full(_)) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    };
    publish(0);
    until(|| engine.stats().snapshot.counters.settled == 2);
    // A thread gives itself its name when it first runs.
    until(|| workers() == 3);
    let before = threads();
    (1..TOPICS).for_each(publish);
    assert_eq!((threads(), workers()), (before, 3));
    assert!(engine.close(SOON).unwrap().is_drained());
    assert_eq!(engine.stats().snapshot.counters.settled, 2 * TOPICS);
    until(|| workers() == 0);
}

/// Promise: bytes and headers return as they went in: integers stay integers, headers stay there, no byte is another.
/// Method: JSON with an integer that no float holds, every byte value, headers with every sort of text; where the kind
/// outlives the process, across a restart.
// spec: H20
fn h20_bytes_and_headers_return_as_they_went_in(bed: &Bed) {
    let json = r#"{"id":9007199254740993,"amount":0.1,"none":null}"#;
    let every_byte: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let mut engine = bed.open();
    let subscription = || Subscription::new("a").name("n");
    drop(engine.subscriber(subscription()).unwrap());
    let message = Message::new(json).header("empty", "").header("ümlaut", "ß\n\0").header("n", "1");
    engine.publish("a", message).unwrap();
    engine.publish("a", every_byte.clone()).unwrap();
    if bed.directory.is_some() {
        engine.close(SOON).unwrap();
        engine = bed.open();
    }
    let subscriber = engine.subscriber(subscription()).unwrap();
    let first = pull(&subscriber);
    assert_eq!(first.text(), Ok(json));
    let headers: Vec<_> = first.headers().iter().collect();
    assert_eq!(headers, [("empty", ""), ("ümlaut", "ß\n\0"), ("n", "1")]);
    first.ack().unwrap();
    let second = pull(&subscriber);
    assert_eq!(second.payload().as_ref(), every_byte);
    assert!(second.headers().is_empty());
    second.ack().unwrap();
    engine.close(SOON).unwrap();
}

/// Promise: retries that nobody set are three, in every kind, and so is what a message says of itself: nothing.
/// Method: the attempts that a failing handler sees under a configuration that leaves them out.
// spec: H21
fn h21_the_default_is_three_retries(bed: &Bed) {
    let engine = bed.open();
    let (seen, attempts) = channel();
    let failing = move |delivery: &Delivery| {
        seen.send((delivery.attempt(), delivery.retries_max()))?;
        Err("always".into())
    };
    engine.subscribe("a", failing).unwrap();
    engine.publish("a", "x").unwrap();
    let letter = pull(&engine.subscriber(DEAD_LETTERS).unwrap());
    assert_eq!(letter.header(HEADER_ATTEMPTS), Some("4"));
    letter.ack().unwrap();
    assert!(engine.close(SOON).unwrap().is_drained());
    let seen: Vec<_> = attempts.try_iter().collect();
    assert_eq!(seen, [(1, None), (2, None), (3, None), (4, None)]);
}

/// The part that a child process plays; nothing in the parent.
#[test]
fn child() {
    let Some((role, dir)) = child::role() else { return };
    let path = (!dir.is_empty()).then(|| PathBuf::from(dir));
    match role.as_str() {
        "hold messages" => hold_messages(&path.unwrap()),
        "idle" => rest(path.as_deref()),
        "many topics" => serve_many_topics(path.as_deref()),
        other => panic!("there is no role `{other}`"),
    }
}
