//! Random operations on a persistent engine, against a model of sets: nothing is lost, nothing comes twice that was
//! settled, first deliveries come in order, and the depth is what it should be; across closes, drops and opens.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream::{Batch, Config, Delivery, Engine, Subscriber, Subscription};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMES: [&str; 2] = ["one", "two"];
/// Longer than any write.
const PATIENCE: Duration = Duration::from_secs(20);
/// Retries never run out: a dead letter would be another queue's matter.
const RETRIES_MAX: u32 = 1_000_000;

/// What a subscription has yet to settle.
#[derive(Default)]
struct Model {
    unsettled: BTreeSet<u32>,
    /// What was ever delivered; the first time in order.
    given: BTreeSet<u32>,
}

struct Queue<'a> {
    dir: &'a Path,
    engine: Engine,
    subscribers: Vec<Subscriber>,
    hands: [Vec<(u32, Delivery)>; 2],
    models: [Model; 2],
    published: u32,
}

fn open(dir: &Path) -> (Engine, Vec<Subscriber>) {
    let config = Config::persistent(dir).segment_bytes(64 << 10).disk_bytes_max(1 << 20).workers(1);
    let config = config.retry_delay(Duration::ZERO).retries_max(RETRIES_MAX).buffer(64);
    let engine = Engine::open(config).expect("it opens");
    let join = |name: &&str| {
        engine.subscriber(Subscription::new("a.*").name(*name)).expect("it is there")
    };
    let subscribers = NAMES.iter().map(join).collect();
    (engine, subscribers)
}

impl<'a> Queue<'a> {
    fn new(dir: &'a Path) -> Self {
        let (engine, subscribers) = open(dir);
        Self {
            dir,
            engine,
            subscribers,
            hands: Default::default(),
            models: Default::default(),
            published: 0,
        }
    }

    fn body(number: u32, size: u8) -> Vec<u8> {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(4 + usize::from(size) * 16, number as u8);
        body
    }

    fn publish(&mut self, count: u32, size: u8) {
        let numbers = self.published..self.published + count;
        let accepted = if count == 1 {
            let topic = format!("a.{}", self.published % 3);
            match self.engine.publish(&topic, Self::body(self.published, size)) {
                Ok(_) => true,
                Err(refusal) => {
                    assert!(refusal.is_full(), "{refusal}");
                    false
                }
            }
        } else {
            let add = |batch: Batch, number| {
                batch.with("a.0", Self::body(number, size)).expect("a topic")
            };
            match self.engine.publish_batch(numbers.clone().fold(Batch::new(), add)) {
                Ok(receipts) => receipts.len() == count as usize,
                Err(refusal) => {
                    assert!(refusal.is_full(), "{refusal}");
                    false
                }
            }
        };
        if accepted {
            self.published += count;
            self.models.iter_mut().for_each(|model| model.unsettled.extend(numbers.clone()));
        }
    }

    fn pull(&mut self, which: usize) {
        let (model, hands) = (&mut self.models[which], &mut self.hands[which]);
        let free = model.unsettled.len() - hands.len();
        // What waits behind a settlement that a worker is just writing comes as soon as that is written.
        let patience = if free == 0 || hands.len() >= 64 { Duration::ZERO } else { PATIENCE };
        match self.subscribers[which].recv_timeout(patience).expect("the log can be read") {
            None => {
                assert!(free == 0 || hands.len() >= 64, "{free} messages are ready, and none comes")
            }
            Some(delivery) => {
                let number =
                    delivery.payload().first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                let number = number.expect("a body of ours");
                let size = (delivery.payload().len() - 4) / 16;
                assert_eq!(delivery.payload().as_ref(), Self::body(number, size as u8));
                assert!(model.unsettled.contains(&number), "{number} was settled");
                assert!(hands.iter().all(|(other, _)| *other != number), "{number} is in hand");
                let last = model.given.last().copied();
                if model.given.insert(number) {
                    assert!(last < Some(number), "{number} comes late, after {last:?}");
                    assert!(!delivery.redelivered(), "{number} is new");
                }
                hands.push((number, delivery));
            }
        }
    }

    /// Lets go of a delivery in one of the ways there are.
    fn settle(&mut self, which: usize, at: u8, how: u8) {
        let hands = &mut self.hands[which];
        if hands.is_empty() {
            return;
        }
        let (number, delivery) = hands.swap_remove(usize::from(at) % hands.len());
        match how % 5 {
            0 | 1 => match delivery.ack() {
                Ok(()) => assert!(self.models[which].unsettled.remove(&number)),
                // No room to write it: the message stays, or not.
                Err(error) => panic!("{error}"),
            },
            2 => delivery.retry(Duration::ZERO).expect("there is a reserve"),
            3 => delivery.release().expect("nothing is written"),
            _ => drop(delivery),
        }
    }

    /// Closes, or only lets go, and opens again.
    fn reopen(&mut self, closes: bool) {
        self.hands.iter_mut().for_each(Vec::clear);
        self.subscribers.clear();
        if closes {
            let report = self.engine.close(Duration::ZERO).expect("it closes");
            let expected: usize = self.models.iter().map(|model| model.unsettled.len()).sum();
            assert_eq!(report.left_over(), expected as u64);
        }
        // The old engine goes first: it has the directory.
        drop(std::mem::replace(&mut self.engine, Engine::open(Config::memory()).expect("memory")));
        (self.engine, self.subscribers) = open(self.dir);
    }

    /// The depths are the model's: at once, or as soon as what a worker is just writing is written.
    fn check(&self) {
        let began = Instant::now();
        let found = |name: &str| {
            let depth = self.engine.stats().depth;
            let mut found = depth.subscriptions.iter().filter(|each| each.name == name);
            found.next().expect("it is there").depth.total()
        };
        for (model, name) in self.models.iter().zip(NAMES) {
            let expected = model.unsettled.len() as u64;
            while found(name) != expected && began.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            assert_eq!(found(name), expected, "{name}");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let mut queue = Queue::new(dir.path());
    let mut opens = 0;
    for step in bytes.chunks_exact(3).take(400) {
        let [what, one, other] = [step[0], step[1], step[2]];
        let which = usize::from(what >> 7);
        match what % 12 {
            0..=2 => queue.publish(1, one),
            3 => queue.publish(2 + u32::from(one % 8), other),
            4..=6 => queue.pull(which),
            7..=9 => queue.settle(which, one, other),
            10 => queue.check(),
            // An open takes a new segment, and milliseconds.
            _ if opens < 8 => {
                opens += 1;
                queue.reopen(one % 2 == 0);
            }
            _ => {}
        }
    }
    queue.check();
});
