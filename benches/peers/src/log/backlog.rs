//! `backlog`: millions of messages that wait, the memory that this takes, and how fast they are caught up with.
//!
//! A child of its own for each visit, so that its anonymous memory (RssAnon: no page of any file is in it) is the
//! queue's alone. It subscribes, publishes messages of 1 KiB while nobody pulls, looks at its memory, closes, opens again,
//! looks once more, and attaches a handler to each subscription; the rate is of deliveries until all are handled. Its own
//! memory before it opened the queue is taken off.
//!
//! | layout | who gets what |
//! |---|---|
//! | shared | one topic: each subscription gets every message; fewer messages, so that the deliveries are as many |
//! | own | a topic for each subscription: each gets its share, and passes over the others' |

use crate::children;
use crate::pages::anonymous_bytes;
use crate::plan::{Effort, Sample, Table};
use millstream::{Bytes, Config, Delivery, Engine, Subscription};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PAYLOAD: &[u8] = &[7; 1024];
const WORKERS: usize = 2;
const LOOK: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(600);
const MIB: f64 = 1024.0 * 1024.0;

/// What a child prints, with the unit and whether more is better.
const MEASURES: [(&str, &str, bool); 6] = [
    ("catch-up", "k deliveries/s", true),
    ("publish", "k messages/s", true),
    ("memory, backlog", "MiB", false),
    ("memory, reopened", "MiB", false),
    ("memory, most", "MiB", false),
    ("open", "ms", false),
];

/// The table.
pub fn backlog(effort: &Effort) -> Table {
    let question = "What does a backlog of 1 KiB messages take, and how fast is it caught up with?";
    let remarks = "The backlog's size is in deliveries; where each subscription has a topic, it must pass over all the \
        others' messages, and the backlog is smaller for that. Memory is anonymous, without the page cache. Two workers, \
        empty handlers, Os.";
    let mut table = Table::new("backlog", question, remarks);
    table.rounds_max = 1;
    let shared = effort.of(vec![1_u64, 16, 256], vec![1, 16]);
    let own = effort.of(vec![(16_u64, 4), (256, 16)], vec![(16, 1)]);
    for subscriptions in shared {
        add(&mut table, "shared", subscriptions, effort.backlog / subscriptions);
    }
    for (subscriptions, part) in own {
        let each = effort.backlog / part / subscriptions;
        add(&mut table, "own", subscriptions, each * subscriptions);
    }
    table
}

fn add(table: &mut Table, layout: &'static str, subscriptions: u64, messages: u64) {
    let topics = if layout == "shared" { "one topic" } else { "a topic each" };
    let title = format!("{messages} messages, {topics}, subscriptions: {subscriptions}");
    table.add(&title, "millstream Os", "", move |effort| {
        visit(effort, layout, subscriptions, messages)
    });
}

fn visit(effort: &Effort, layout: &str, subscriptions: u64, messages: u64) -> Vec<Sample> {
    let dir = effort.folder();
    let path = dir.path().to_str().expect("the folder's name is a text").to_owned();
    let arguments = [path, layout.to_owned(), messages.to_string(), subscriptions.to_string()];
    let found = children::run("backlog", &arguments);
    let sample = |(measure, unit, more): (&'static str, &'static str, bool)| {
        let value = found.iter().find(|(name, _)| name == measure).expect("it was printed").1;
        if more { Sample::high(measure, unit, value) } else { Sample::low(measure, unit, value) }
    };
    MEASURES.map(sample).into()
}

/// The child's task.
pub struct Backlog<'a> {
    /// Where.
    pub dir: &'a Path,
    /// One topic for all?
    pub shared: bool,
    /// How many messages are published.
    pub messages: u64,
    /// How many subscriptions there are.
    pub subscriptions: u64,
}

impl Backlog<'_> {
    /// Does it and prints what it found.
    pub fn run(&self) {
        let own = anonymous_bytes();
        let added = || anonymous_bytes().saturating_sub(own) as f64 / MIB;
        let engine = self.open();
        for number in 0..self.subscriptions {
            let subscriber = engine.subscriber(self.subscription(number));
            drop(subscriber.expect("a new subscription"));
        }
        let publish = self.publish(&engine);
        assert_eq!(engine.stats().queue_size(), self.deliveries(), "all of them wait");
        let memory_backlog = added();
        // Nothing is drained: the backlog is to be found again.
        engine.close(Duration::ZERO).expect("a sound disk");
        drop(engine);
        let begun = Instant::now();
        let engine = self.open();
        let open = begun.elapsed().as_secs_f64() * 1e3;
        let memory_reopened = added();
        let (catch_up, memory_most) = self.catch_up(&engine, added);
        let found = [catch_up, publish, memory_backlog, memory_reopened, memory_most, open];
        let names = MEASURES.map(|(name, _, _)| name);
        let printed: Vec<(&str, f64)> = names.into_iter().zip(found).collect();
        children::print(&printed);
    }

    fn open(&self) -> Engine {
        let config = Config::persistent(self.dir).workers(WORKERS).disk_bytes_max(64 << 30);
        Engine::open(config).expect("the folder is this process's own")
    }

    fn topic(&self, number: u64) -> String {
        if self.shared { "t".to_owned() } else { format!("t.{number}") }
    }

    fn subscription(&self, number: u64) -> Subscription {
        Subscription::new(self.topic(number)).name(format!("s{number}"))
    }

    fn deliveries(&self) -> u64 {
        if self.shared { self.messages * self.subscriptions } else { self.messages }
    }

    /// Thousands of messages a second.
    fn publish(&self, engine: &Engine) -> f64 {
        let topics: Vec<String> = (0..self.subscriptions).map(|one| self.topic(one)).collect();
        let begun = Instant::now();
        for (_, topic) in (0..self.messages).zip(topics.iter().cycle()) {
            engine.publish(topic, Bytes::from_static(PAYLOAD)).expect("there is room");
        }
        self.messages as f64 / begun.elapsed().as_secs_f64() / 1e3
    }

    /// Thousands of deliveries a second, and the most memory seen meanwhile.
    fn catch_up(&self, engine: &Engine, added: impl Fn() -> f64) -> (f64, f64) {
        let handled = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        for number in 0..self.subscriptions {
            let counted = handled.clone();
            let subscribed = engine.subscribe(self.subscription(number), move |_: &Delivery| {
                counted.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
                Ok(())
            });
            subscribed.expect("the subscription is there");
        }
        let mut most = added();
        while handled.load(Ordering::Relaxed) < self.deliveries() {
            thread::sleep(LOOK.min(begun.elapsed() / 50)); // [relaxed] a count
            most = most.max(added());
        }
        let rate = self.deliveries() as f64 / begun.elapsed().as_secs_f64() / 1e3;
        let closed = engine.close(LONG).expect("a sound disk");
        assert!(closed.is_drained(), "each was handled");
        let handled = handled.load(Ordering::Relaxed); // [relaxed] a count
        assert_eq!(handled, self.deliveries(), "and once");
        (rate, most)
    }
}
