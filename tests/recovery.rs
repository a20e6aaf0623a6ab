//! A process that publishes and consumes on a persistent queue is killed (SIGKILL) at random moments, again and again
//! on one directory, and each time the queue must be what it promised to be.
//!
//! ```text
//!   child    three publishers (single, batches of four, large), a subscriber that acknowledges, handlers that fail
//!            it says each fact AFTER it is one:   P published   D delivered   A acknowledged   S synced   H handled
//!   parent   hears the facts, kills, drains the pipe, verifies the log, opens the queue, compares
//! ```
//!
//! What is compared, for both durabilities (a kill leaves the page cache, so both promise the same here; power is
//! another matter, and other tests'):
//!
//! | promise | finding when it is broken |
//! | --- | --- |
//! | a message that was acknowledged to its publisher is there, whole | [`Finding::Lost`], [`Finding::Alien`] |
//! | nothing is there that was not published; of a batch all or nothing | [`Finding::NeverPublished`], [`Finding::TornBatch`] |
//! | first deliveries of a subscription come in the order of publishing, none left out | [`Finding::OutOfOrder`] |
//! | in one process nothing is delivered twice that was not given back | [`Finding::Twice`] |
//! | what was settled, and then synced, never comes again | [`Finding::CameBack`] |
//! | of what was settled and not synced at most [`UNWRITTEN_MAX`] a crash and subscription come again | [`Finding::TooManyAgain`] |
//! | a message has at most the attempts it is allowed, then exactly one dead letter | [`Finding::Attempts`], [`Finding::Letters`] |
//! | every message is handled, or a dead letter, in the end | [`Finding::Forgotten`] |
//! | the log is without damage, before and after | an assertion |
//!
//! That the check can fail is shown by children that lie: they say a fact before it is one.
//!
//! `MILLSTREAM_CRASHES` sets how often in all (60), `MILLSTREAM_SEED` repeats a run's choices; the moments of the kills
//! themselves are the machine's.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::print_stdout)] // Shown where the test fails: the seed, and what was seen.

#[path = "support/child.rs"]
mod child;

use millstream::log::verify;
use millstream::{
    Batch, Config, DEAD_LETTERS, Delivery, Durability, Engine, HEADER_ORIGIN_SUBSCRIPTION,
    Inspection, Subscriber, Subscription, Topic,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many acknowledgements of a subscription may be unwritten when the process dies: the queue gathers 64.
const UNWRITTEN_MAX: usize = 64;
const CRASHES: u64 = 60;
const LINEAGES: u64 = 5;
/// The smallest there is, so that every run rolls over many.
const SEGMENT_BYTES: u64 = 64 << 10;
const RETRIES_MAX: u32 = 2;
const PUBLISHERS: u64 = 3;
/// The publisher that publishes batches, and of how many.
const BATCHER: u64 = 1;
const BATCH: u64 = 4;
/// What one publisher publishes in one run at most.
const EACH_MAX: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(30);

/// A message of the test: which run of the child, which publisher, which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    run: u64,
    publisher: u64,
    number: u64,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(|word| word.parse().ok());
        let (run, publisher, number) = (words.next()??, words.next()??, words.next()??);
        Some(Self { run, publisher, number })
    }

    fn words(self) -> String {
        format!("{} {} {}", self.run, self.publisher, self.number)
    }

    /// The payload: the id, and a filling that follows from it, so that damage shows.
    fn text(self) -> String {
        let Self { run, publisher, number } = self;
        let random = mix(run << 32 ^ publisher << 24 ^ number);
        let filling = random % if publisher == 2 { 4_000 } else { 200 };
        let letters = (0..filling).map(|at| char::from(b'a' + (mix(random ^ at) % 26) as u8));
        format!("{} {}", self.words(), letters.collect::<String>())
    }

    /// Do the failing handlers never get it done?
    fn is_hopeless(self) -> bool {
        self.number % 11 == 3
    }

    /// Do they fail at first?
    fn is_hard(self) -> bool {
        self.number % 5 == 2
    }
}

/// Splitmix64: a random-looking number from any.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }
}

fn config(dir: &Path, durability: Durability) -> Config {
    Config::persistent(dir)
        .segment_bytes(SEGMENT_BYTES)
        .durability(durability)
        .workers(2)
        .retries_max(RETRIES_MAX)
        .retry_delay(Duration::from_millis(1))
}

fn named(name: &str) -> Subscription {
    Subscription::new("work.*").name(name)
}

// ---- the child -------------------------------------------------------------------------------------------------------

/// When a lying child says its fact too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Publish,
    Sync,
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Works until it is killed.
fn work(dir: &Path) {
    let run = environment("MILLSTREAM_TEST_RUN").unwrap();
    let durability = if environment("MILLSTREAM_TEST_SYNC") == Some(1) {
        Durability::Sync
    } else {
        Durability::Os
    };
    let lie = match environment("MILLSTREAM_TEST_LIE") {
        Some(1) => Lie::Publish,
        Some(2) => Lie::Sync,
        _ => Lie::None,
    };
    let engine = Engine::open(config(dir, durability)).unwrap();
    drop(engine.subscriber(named("audit")).unwrap());
    let order = engine.subscriber(named("order")).unwrap();
    engine.subscribe(named("flaky"), handle).unwrap();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let engine = &engine;
            scope.spawn(move || publish(engine, run, publisher, lie));
        }
        scope.spawn(|| consume(&engine, &order, lie));
    });
}

fn publish(engine: &Engine, run: u64, publisher: u64, lie: Lie) {
    let topic = Topic::new(&format!("work.{publisher}")).unwrap();
    let step = if publisher == BATCHER { BATCH } else { 1 };
    for first in (0..EACH_MAX).step_by(step as usize) {
        let ids = (first..first + step).map(|number| Id { run, publisher, number });
        let fact = format!("P {run} {publisher} {}", first + step - 1);
        if lie == Lie::Publish {
            child::say(&fact);
            // So that the kill, which comes when the lie is heard, comes in time.
            thread::sleep(Duration::from_millis(2));
        }
        if publisher == BATCHER {
            let batch: Batch = ids.map(|id| (topic.clone(), id.text())).collect();
            engine.publish_batch(batch).unwrap();
        } else {
            for id in ids {
                engine.publish(topic.as_str(), id.text()).unwrap();
            }
        }
        if lie != Lie::Publish {
            child::say(&fact);
        }
    }
}

fn consume(engine: &Engine, order: &Subscriber, lie: Lie) {
    for (count, delivery) in order.iter().enumerate() {
        let id = Id::parse(delivery.text().unwrap()).unwrap().words();
        child::say(&format!("D {id} {}", u64::from(delivery.redelivered())));
        delivery.ack().unwrap();
        child::say(&format!("A {id}"));
        if count % 151 == 150 {
            if lie != Lie::Sync {
                engine.sync().unwrap();
            }
            child::say("S 0 0 0");
        }
    }
}

fn handle(delivery: &Delivery) -> Result<(), millstream::HandlerError> {
    let id = Id::parse(delivery.text()?).ok_or("no message of ours")?;
    let fails = id.is_hopeless() || (id.is_hard() && delivery.attempt() == 1);
    child::say(&format!("H {} {} {}", id.words(), delivery.attempt(), u64::from(fails)));
    if fails { Err("not today".into()) } else { Ok(()) }
}

// ---- the parent ------------------------------------------------------------------------------------------------------

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(dead_code, reason = "the fields are read by whoever reads the failure")]
enum Finding {
    Lost { run: u64, publisher: u64, acknowledged: u64, there: u64 },
    Alien(String),
    NeverPublished { run: u64, publisher: u64, acknowledged: u64, there: u64 },
    TornBatch { run: u64, there: u64 },
    OutOfOrder { subscription: &'static str, id: Id, expected: u64 },
    Twice(Id),
    Unmarked(Id),
    CameBack(Id),
    TooManyAgain { run: u64, again: usize },
    Attempts(Id, u64),
    Letters(Id, u64),
    Forgotten(&'static str, Id),
}

/// What an acknowledged message of the subscription `order` has to fear from a crash.
#[derive(Debug, Clone, Copy)]
struct Settled {
    run: u64,
    synced: bool,
}

/// All that was heard from the children and seen in the queue.
#[derive(Default)]
struct Ledger {
    /// By run and publisher: how many were acknowledged, how many the audit has seen, how many `order` was given.
    acknowledged: BTreeMap<(u64, u64), u64>,
    audited: BTreeMap<(u64, u64), u64>,
    ordered: BTreeMap<(u64, u64), u64>,
    /// In whose hands: the run of the latest delivery.
    delivered: BTreeMap<Id, u64>,
    settled: BTreeMap<Id, Settled>,
    again: BTreeMap<u64, usize>,
    handled: BTreeSet<Id>,
    letters: BTreeMap<Id, u64>,
    findings: Vec<Finding>,
}

impl Ledger {
    /// A fact that the child of run `run` said.
    fn hear(&mut self, run: u64, line: &str) {
        let words = line.split_once(' ').and_then(|(kind, words)| Some((kind, Id::parse(words)?)));
        let Some((kind, id)) = words else { panic!("the child said: {line}") };
        let extra: Vec<u64> = line.split(' ').skip(4).map(|word| word.parse().unwrap()).collect();
        match kind {
            "P" => drop(self.acknowledged.insert((id.run, id.publisher), id.number + 1)),
            "D" => self.give(run, id, extra[0] == 1),
            "A" => drop(self.settled.insert(id, Settled { run, synced: false })),
            "S" => self.settled.values_mut().for_each(|settled| settled.synced = true),
            "H" => {
                if u64::from(RETRIES_MAX) + 1 < extra[0] {
                    self.findings.push(Finding::Attempts(id, extra[0]));
                }
                if extra[1] == 0 {
                    self.handled.insert(id);
                }
            }
            _ => panic!("the child said: {line}"),
        }
    }

    /// `order` delivers `id`.
    fn give(&mut self, run: u64, id: Id, marked: bool) {
        match self.delivered.insert(id, run) {
            None => {
                let next = self.ordered.entry((id.run, id.publisher)).or_default();
                if *next != id.number {
                    let (subscription, expected) = ("order", *next);
                    self.findings.push(Finding::OutOfOrder { subscription, id, expected });
                }
                *next = id.number + 1;
            }
            Some(before) if before == run => self.findings.push(Finding::Twice(id)),
            Some(_) if !marked => self.findings.push(Finding::Unmarked(id)),
            Some(_) => {}
        }
        if let Some(settled) = self.settled.remove(&id) {
            if settled.synced {
                self.findings.push(Finding::CameBack(id));
            }
            *self.again.entry(settled.run).or_default() += 1;
        }
    }

    /// The audit, which settles only while no child runs, sees `text`: each message once and in order.
    fn audit(&mut self, text: &str) {
        let Some(id) = Id::parse(text).filter(|id| id.text() == text) else {
            self.findings.push(Finding::Alien(text.to_owned()));
            return;
        };
        let next = self.audited.entry((id.run, id.publisher)).or_default();
        if *next != id.number {
            let (subscription, expected) = ("audit", *next);
            self.findings.push(Finding::OutOfOrder { subscription, id, expected });
        }
        *next = id.number + 1;
    }

    /// The audit has seen all there is.
    fn compare(&mut self) {
        let keys: BTreeSet<_> = self.acknowledged.keys().chain(self.audited.keys()).collect();
        for &&(run, publisher) in &keys {
            let count = |of: &BTreeMap<_, u64>| of.get(&(run, publisher)).copied().unwrap_or(0);
            let (acknowledged, there) = (count(&self.acknowledged), count(&self.audited));
            let at_work = if publisher == BATCHER { BATCH } else { 1 };
            if there < acknowledged {
                self.findings.push(Finding::Lost { run, publisher, acknowledged, there });
            }
            if acknowledged + at_work < there {
                let never = Finding::NeverPublished { run, publisher, acknowledged, there };
                self.findings.push(never);
            }
            if publisher == BATCHER && there % BATCH != 0 {
                self.findings.push(Finding::TornBatch { run, there });
            }
        }
        for (&run, &again) in &self.again {
            if UNWRITTEN_MAX < again {
                self.findings.push(Finding::TooManyAgain { run, again });
            }
        }
    }

    /// Nothing is left in any subscription.
    fn finish(&mut self) {
        for (&(run, publisher), &count) in &self.audited {
            for number in 0..count {
                let id = Id { run, publisher, number };
                let letters = self.letters.get(&id).copied().unwrap_or(0);
                if !self.handled.contains(&id) && letters == 0 {
                    self.findings.push(Finding::Forgotten("flaky", id));
                }
                if u64::from(id.is_hopeless()) < letters {
                    self.findings.push(Finding::Letters(id, letters));
                }
                if !self.delivered.contains_key(&id) {
                    self.findings.push(Finding::Forgotten("order", id));
                }
            }
        }
    }
}

/// When the child is killed: after this time, or when it has said this many facts that begin with this letter.
struct Doom {
    delay: Duration,
    facts: u64,
    letter: &'static str,
}

impl Doom {
    /// Before, while and after the queue is opened; early and late in the work.
    fn random(random: &mut Random, durability: Durability) -> Self {
        let most = if durability == Durability::Sync { 500 } else { 1_500 };
        let delay = match random.below(6) {
            0 => Duration::from_micros(random.below(25_000)),
            _ => Duration::from_secs(2),
        };
        Self { delay, facts: 1 + random.below(most), letter: "" }
    }
}

/// A directory and what has happened in it.
struct Lineage {
    home: tempfile::TempDir,
    /// The runs take turns.
    durabilities: &'static [Durability],
    lie: Lie,
    runs: u64,
    ledger: Ledger,
}

impl Lineage {
    fn new(durabilities: &'static [Durability], lie: Lie) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, durabilities, lie, runs: 0, ledger: Ledger::default() }
    }

    /// Of the next run.
    fn durability(&self) -> Durability {
        self.durabilities[self.runs as usize % self.durabilities.len()]
    }

    fn open(&self) -> Engine {
        Engine::open(config(&self.dir(), self.durability())).unwrap()
    }

    fn dir(&self) -> std::path::PathBuf {
        self.home.path().join("queue")
    }

    /// Lets a child work, kills it, and notes what it said.
    fn crash(&mut self, doom: &Doom) {
        let (run, durability) = (self.runs, self.durability());
        self.runs += 1;
        let mut command = child::command("work", &self.dir());
        command.env("MILLSTREAM_TEST_RUN", run.to_string());
        command.env("MILLSTREAM_TEST_SYNC", u64::from(durability == Durability::Sync).to_string());
        command.env("MILLSTREAM_TEST_LIE", (self.lie as u64).to_string());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let (heard, facts) = channel();
        let pipe = BufReader::new(child.stderr.take().unwrap());
        let hearing = thread::spawn(move || {
            pipe.lines().map_while(Result::ok).for_each(|line| drop(heard.send(line)));
        });
        let mut told = 0;
        while told < doom.facts {
            match facts.recv_timeout(doom.delay.saturating_sub(started.elapsed())) {
                Ok(line) => {
                    told += u64::from(line.starts_with(doom.letter));
                    self.ledger.hear(run, &line);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the child died by itself"),
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        hearing.join().unwrap();
        facts.try_iter().for_each(|line| self.ledger.hear(run, &line));
        if self.dir().exists() {
            let found = verify(&self.dir(), &mut |_, _| {}).unwrap();
            assert!(found.damages.is_empty() && found.torn == 0, "after run {run}: {found:?}");
        }
    }

    /// Opens the queue and sees what is there.
    fn audit(&mut self) {
        let engine = self.open();
        let audit = engine.subscriber(named("audit")).unwrap();
        while let Some(delivery) = audit.try_recv().unwrap() {
            self.ledger.audit(delivery.text().unwrap());
            delivery.ack().unwrap();
        }
        self.ledger.compare();
        engine.close(Duration::ZERO).unwrap();
        self.is_sound();
    }

    /// After a clean close there is nothing to mend, and whoever looks from outside sees a queue.
    fn is_sound(&self) {
        let found = verify(&self.dir(), &mut |_, _| {}).unwrap();
        assert!(found.damages.is_empty() && found.torn + found.holes == 0, "{found:?}");
        assert!(Inspection::open(self.dir()).unwrap().is_clean());
    }

    /// Empties every subscription.
    fn finish(&mut self) {
        self.audit();
        let engine = self.open();
        let order = engine.subscriber(named("order")).unwrap();
        while let Some(delivery) = order.try_recv().unwrap() {
            let id = Id::parse(delivery.text().unwrap()).unwrap();
            self.ledger.give(self.runs, id, delivery.redelivered());
            delivery.ack().unwrap();
        }
        let flaky = engine.subscriber(named("flaky")).unwrap();
        let total = |name: &str| {
            let depth = engine.stats().depth;
            depth.subscriptions.iter().find(|each| each.name == name).unwrap().depth.total()
        };
        while total("flaky") > 0 {
            // Some wait for the time of their next attempt.
            let delivery = flaky.recv_timeout(PATIENCE).unwrap().expect("a retry comes");
            self.ledger.handled.insert(Id::parse(delivery.text().unwrap()).unwrap());
            delivery.ack().unwrap();
        }
        let letters = engine.subscriber(DEAD_LETTERS).unwrap();
        while let Some(letter) = letters.try_recv().unwrap() {
            assert_eq!(letter.header(HEADER_ORIGIN_SUBSCRIPTION), Some("flaky"));
            let id = Id::parse(letter.text().unwrap()).unwrap();
            *self.ledger.letters.entry(id).or_default() += 1;
            letter.ack().unwrap();
        }
        self.ledger.compare();
        self.ledger.finish();
        assert_eq!(engine.close(PATIENCE).unwrap().left_over(), 0);
        self.is_sound();
    }
}

fn seed() -> u64 {
    environment("MILLSTREAM_SEED").unwrap_or_else(|| RandomState::new().hash_one(Instant::now()))
}

/// Kills over and over on one directory, and asserts that every promise was kept.
fn kill_and_compare(durabilities: &'static [Durability], lineage: u64) {
    let seed = seed();
    println!("MILLSTREAM_SEED={seed}");
    let mut random = Random(mix(seed ^ lineage));
    let crashes = environment("MILLSTREAM_CRASHES").unwrap_or(CRASHES).div_ceil(LINEAGES);
    let mut queue = Lineage::new(durabilities, Lie::None);
    for _ in 0..crashes {
        queue.crash(&Doom::random(&mut random, queue.durability()));
        if random.below(3) == 0 && queue.dir().exists() {
            queue.audit();
        }
    }
    queue.finish();
    let Ledger { findings, acknowledged, again, letters, .. } = &queue.ledger;
    let (published, worst) = (acknowledged.values().sum::<u64>(), again.values().max());
    println!(
        "{crashes} crashes: {published} published, {} dead letters, {worst:?} again at most",
        letters.len()
    );
    assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
    assert!(crashes * 4 <= published, "the children got hardly to work: {published} published");
}

/// Promise: the table above, where a receipt promises the operating system.
/// Method: a dozen kills on one directory; two such lineages.
#[test]
fn nothing_that_was_acknowledged_is_lost_to_a_kill() {
    kill_and_compare(&[Durability::Os], 0);
    kill_and_compare(&[Durability::Os], 1);
}

/// Promise: the table above, where a receipt promises the disk.
/// Method: as before; publishers that wait for a sync are killed while they wait.
#[test]
fn nothing_that_was_acknowledged_as_synced_is_lost_to_a_kill() {
    kill_and_compare(&[Durability::Sync], 2);
    kill_and_compare(&[Durability::Sync], 3);
}

/// Promise: the table above on one directory whose owners promise now the one, now the other.
/// Method: as before; so one's tail, which nobody synced, is what the other finds.
#[test]
fn owners_of_different_durability_take_over_from_each_other() {
    kill_and_compare(&[Durability::Os, Durability::Sync], 4);
}

/// Promise: the check sees a loss. Method: a child that says "published" before it publishes, killed when it is heard.
#[test]
fn the_check_fails_when_a_publish_is_acknowledged_before_it_is_made() {
    let lost = |finding: &Finding| matches!(finding, Finding::Lost { .. });
    assert!(is_caught(Lie::Publish, "P", lost), "twenty lies, and no loss was found");
}

/// Promise: the check sees what comes back. Method: a child that says "synced" and has not, killed when it is heard.
#[test]
fn the_check_fails_when_a_sync_is_reported_that_was_not_made() {
    let came_back = |finding: &Finding| matches!(finding, Finding::CameBack(_));
    assert!(is_caught(Lie::Sync, "S", came_back), "twenty lies, and nothing came back");
}

/// Is a child that lies found out within twenty crashes?
fn is_caught(lie: Lie, letter: &'static str, found: impl Fn(&Finding) -> bool) -> bool {
    let mut queue = Lineage::new(&[Durability::Os], lie);
    (0..20).any(|facts| {
        queue.crash(&Doom { delay: PATIENCE, facts: facts + 3, letter });
        queue.finish();
        queue.ledger.findings.iter().any(&found)
    })
}

/// The part that a child process plays; nothing in the parent.
#[test]
fn child() {
    let Some((role, dir)) = child::role() else { return };
    assert_eq!(role, "work");
    work(Path::new(&dir));
    // All is published: it waits for its end.
    loop {
        thread::park();
    }
}
