//! A process that publishes and consumes on a persistent queue is killed (SIGKILL) at random moments, again and again
//! on one directory, and each time the queue must be what it promised to be.
//!
//! ```text
//!   child    three publishers (single, batches of four, large), a subscriber that acknowledges, handlers that fail, a
//!            reader of dead letters, a keeper that lays down checkpoints and reclaims segments, now and then a backup
//!            it says each fact AFTER it is one:   P published   D delivered   A acknowledged   S synced   H handled
//!                                                 L a letter came   B a backup is made (b: it begins)
//!   parent   hears the facts, kills, drains the pipe, verifies the log, opens the queue, and the backup, compares
//! ```
//!
//! What is compared, for every durability (a kill leaves the page cache, so all promise the same here; power is
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
//! | a backup that was reported opens, with all that was acknowledged before it began | [`Finding::NotInBackup`], [`Finding::Alien`] |
//! | the log is without damage, before and after, and so is the backup | an assertion |
//!
//! Who finds the messages ([`Watch`]): a subscription of its own that nobody settles while a child runs, so that no segment of the
//! run can go; or, where checkpoints and reclaiming are to follow closely, the working subscription itself. A run in which no
//! checkpoint was written and no segment reclaimed by a child that was killed then is no success.
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
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many acknowledgements of a subscription may be unwritten when the process dies: the queue gathers 64.
const UNWRITTEN_MAX: usize = 64;
const CRASHES: u64 = 64;
const LINEAGES: u64 = 8;
/// The smallest there is, so that every run rolls over many.
const SEGMENT_BYTES: u64 = 64 << 10;
const RETRIES_MAX: u32 = 2;
const PUBLISHERS: u64 = 3;
/// The publisher that publishes batches, and of how many.
const BATCHER: u64 = 1;
const BATCH: u64 = 4;
/// What one publisher publishes in one run at most.
const EACH_MAX: u64 = 400;
/// The log grows by so much, and a checkpoint is due: several a run.
const CHECKPOINT_BYTES: u64 = 16 << 10;
const INTERVAL: Durability = Durability::Interval(Duration::from_millis(5));
/// The durabilities by the numbers that a child is told.
const DURABILITIES: [Durability; 3] = [Durability::Os, Durability::Sync, INTERVAL];
/// Publishers of every second run wait for the disk each time they have published so many.
const WAITS_EVERY: u64 = 64;
/// Every so many runs make backups, one each time that so many messages were consumed.
const BACKUP_RUNS: u64 = 3;
const BACKUP_EVERY: usize = 120;
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
        let filling = random % if publisher == 2 { 16_000 } else { 200 };
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
        .checkpoint_bytes(CHECKPOINT_BYTES)
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

/// Who finds what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// A subscription that only the parent works on, while no child runs.
    Apart,
    /// The one that a child works on too: what is settled goes at once.
    Within,
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Works until it is killed.
fn work(dir: &Path) {
    let run = environment("MILLSTREAM_TEST_RUN").unwrap();
    let durability = DURABILITIES[environment("MILLSTREAM_TEST_DURABILITY").unwrap() as usize];
    let lie = match environment("MILLSTREAM_TEST_LIE") {
        Some(1) => Lie::Publish,
        Some(2) => Lie::Sync,
        _ => Lie::None,
    };
    let engine = Engine::open(config(dir, durability)).unwrap();
    if environment("MILLSTREAM_TEST_WATCH") == Some(Watch::Apart as u64) {
        drop(engine.subscriber(named("audit")).unwrap());
    }
    let order = engine.subscriber(named("order")).unwrap();
    let letters = engine.subscriber(DEAD_LETTERS).unwrap();
    engine.subscribe(named("flaky"), handle).unwrap();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let engine = &engine;
            scope.spawn(move || publish(engine, run, publisher, lie));
        }
        scope.spawn(|| consume(&engine, &order, lie, &|made| back_up(&engine, dir, run, made)));
        scope.spawn(|| bury(&letters));
    });
}

/// Makes a backup beside the queue, and says so.
fn back_up(engine: &Engine, dir: &Path, run: u64, made: usize) {
    if run.is_multiple_of(BACKUP_RUNS) {
        child::say(&format!("b {run} {made} 0"));
        engine.backup(backup_of(dir, run, made as u64), &mut |_, _| {}).unwrap();
        child::say(&format!("B {run} {made} 0"));
    }
}

fn backup_of(dir: &Path, run: u64, made: u64) -> PathBuf {
    dir.with_file_name(format!("backup-{run}-{made}"))
}

/// Takes dead letters. One may come again after a crash, but there are no two of a message.
fn bury(letters: &Subscriber) {
    for letter in letters.iter() {
        assert_eq!(letter.header(HEADER_ORIGIN_SUBSCRIPTION), Some("flaky"));
        let id = whole(letter.text().unwrap()).expect("a message of ours").words();
        child::say(&format!("L {id} {}", letter.id().position()));
        letter.ack().unwrap();
    }
}

/// The message that `text` is, if all of it is there.
fn whole(text: &str) -> Option<Id> {
    Id::parse(text).filter(|id| id.text() == text)
}

fn publish(engine: &Engine, run: u64, publisher: u64, lie: Lie) {
    let topic = Topic::new(&format!("work.{publisher}")).unwrap();
    let step = if publisher == BATCHER { BATCH } else { 1 };
    for first in (0..EACH_MAX).step_by(step as usize) {
        let ids = (first..first + step).map(|number| Id { run, publisher, number });
        let fact = format!("P {run} {publisher} {}", first + step - 1);
        let waits = run % 2 == 1 && first % WAITS_EVERY == 0;
        if lie == Lie::Publish {
            child::say(&fact);
            // So that the kill, which comes when the lie is heard, comes in time.
            thread::sleep(Duration::from_millis(2));
        }
        if publisher == BATCHER {
            let batch: Batch = ids.map(|id| (topic.clone(), id.text())).collect();
            let receipts = engine.publish_batch(batch).unwrap();
            if waits {
                receipts.last().unwrap().durable(engine).wait().unwrap();
            }
        } else {
            for id in ids {
                let receipt = engine.publish(topic.as_str(), id.text()).unwrap();
                if waits {
                    receipt.durable(engine).wait().unwrap();
                }
            }
        }
        if lie != Lie::Publish {
            child::say(&fact);
        }
    }
}

fn consume(engine: &Engine, order: &Subscriber, lie: Lie, back_up: &dyn Fn(usize)) {
    for (count, delivery) in order.iter().enumerate() {
        let id = whole(delivery.text().unwrap()).expect("a message of ours").words();
        child::say(&format!("D {id} {}", u64::from(delivery.redelivered())));
        let syncs = count % 151 == 150;
        if lie == Lie::Sync && syncs {
            child::say(&format!("A {id}"));
            child::say("S 0 0 0");
            // So that the kill, which comes when the lie is heard, comes in time.
            thread::sleep(Duration::from_millis(100));
        }
        delivery.ack().unwrap();
        if lie != Lie::Sync {
            child::say(&format!("A {id}"));
            if syncs {
                engine.sync().unwrap();
                child::say("S 0 0 0");
            }
        }
        if count % BACKUP_EVERY == BACKUP_EVERY / 6 {
            back_up(count / BACKUP_EVERY);
        }
    }
}

fn handle(delivery: &Delivery) -> Result<(), millstream::HandlerError> {
    let id = whole(delivery.text()?).expect("a message of ours");
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
    NotInBackup { run: u64, publisher: u64, acknowledged: u64, there: u64 },
}

/// What an acknowledged message of the subscription `order` has to fear from a crash.
#[derive(Debug, Clone, Copy)]
struct Settled {
    run: u64,
    synced: bool,
}

/// How many were acknowledged, by run and publisher.
type Counts = BTreeMap<(u64, u64), u64>;

/// All that was heard from the children and seen in the queue.
#[derive(Default)]
struct Ledger {
    /// By run and publisher: how many were acknowledged, how many the audit has seen, how many `order` was given.
    acknowledged: Counts,
    audited: Counts,
    ordered: Counts,
    /// In whose hands: the run of the latest delivery.
    delivered: BTreeMap<Id, u64>,
    settled: BTreeMap<Id, Settled>,
    again: BTreeMap<u64, usize>,
    handled: BTreeSet<Id>,
    /// The places of the dead letters of each.
    letters: BTreeMap<Id, BTreeSet<u64>>,
    /// The latest backup that was begun, and what was acknowledged then; the latest that was made.
    beginning: Option<(Id, Counts)>,
    backup: Option<(Id, Counts)>,
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
            "L" => drop(self.letters.entry(id).or_default().insert(extra[0])),
            "b" => self.beginning = Some((id, self.acknowledged.clone())),
            "B" => self.backup = self.beginning.take(),
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
        let Some(id) = whole(text) else {
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
                let letters = self.letters.get(&id).map_or(0, |letters| letters.len() as u64);
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

/// When the child is killed: after this time, or when it has said this many facts that begin with this letter, or, where
/// that is asked for, as soon as a segment that it found has gone.
struct Doom {
    delay: Duration,
    facts: u64,
    letter: &'static str,
    reclaiming: bool,
}

impl Doom {
    /// Before, while and after the queue is opened; early and late in the work; in the middle of reclaiming.
    fn of_run(run: u64, random: &mut Random, durability: Durability, watch: Watch) -> Self {
        if watch == Watch::Within && run % 4 == 2 {
            let delay = Duration::from_secs(5);
            return Self { delay, facts: u64::MAX, letter: "", reclaiming: true };
        }
        let most = if durability == Durability::Sync { 500 } else { 1_500 };
        let delay = match random.below(6) {
            0 => Duration::from_micros(random.below(25_000)),
            _ => Duration::from_secs(2),
        };
        Self { delay, facts: 1 + random.below(most), letter: "", reclaiming: false }
    }
}

/// A directory and what has happened in it.
struct Lineage {
    home: tempfile::TempDir,
    /// The runs take turns.
    durabilities: &'static [Durability],
    watch: Watch,
    lie: Lie,
    runs: u64,
    ledger: Ledger,
    work: Work,
}

/// What children that were then killed did beside their work.
#[derive(Debug, Default)]
struct Work {
    checkpoints: u64,
    segments_reclaimed: u64,
    backups: u64,
}

impl Lineage {
    fn new(durabilities: &'static [Durability], watch: Watch, lie: Lie) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (ledger, work) = (Ledger::default(), Work::default());
        Self { home, durabilities, watch, lie, runs: 0, ledger, work }
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
        let number = DURABILITIES.iter().position(|one| *one == durability).unwrap();
        command.env("MILLSTREAM_TEST_DURABILITY", number.to_string());
        command.env("MILLSTREAM_TEST_WATCH", (self.watch as u64).to_string());
        command.env("MILLSTREAM_TEST_LIE", (self.lie as u64).to_string());
        let before = files(&self.dir());
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
                    if doom.reclaiming
                        && told % 8 == 0
                        && reclaimed(&before, &files(&self.dir())) > 0
                    {
                        break;
                    }
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
            let after = files(&self.dir());
            self.work.checkpoints += newest(&after) - newest(&before);
            self.work.segments_reclaimed += reclaimed(&before, &after);
        }
        if let Some((id, acknowledged)) = self.ledger.backup.take() {
            self.work.backups += 1;
            self.look_at_backup(&backup_of(&self.dir(), id.run, id.publisher), &acknowledged);
        }
    }

    /// Opens the backup that a child reported, and sees what is in it.
    fn look_at_backup(&mut self, copy: &Path, acknowledged: &Counts) {
        let found = verify(copy, &mut |_, _| {}).unwrap();
        assert!(found.damages.is_empty() && found.torn == 0, "{copy:?}: {found:?}");
        assert!(Inspection::open(copy).unwrap().depth().total() > 0, "{copy:?} is empty");
        let engine = Engine::open(config(copy, Durability::Os)).unwrap();
        let name = if self.watch == Watch::Apart { "audit" } else { "order" };
        let mut inside = Ledger { audited: self.ledger.audited.clone(), ..Ledger::default() };
        let subscriber = engine.subscriber(named(name)).unwrap();
        let mut seen = BTreeSet::new();
        while let Some(delivery) = subscriber.try_recv().unwrap() {
            let text = delivery.text().unwrap();
            let key = Id::parse(text).map(|id| (id.run, id.publisher, id.number));
            // The working subscription goes on where it was: it has settled up to there.
            if let (Watch::Within, Some((run, publisher, number))) = (self.watch, key)
                && seen.insert((run, publisher))
            {
                inside.audited.insert((run, publisher), number);
            }
            inside.audit(text);
            delivery.ack().unwrap();
        }
        for (&(run, publisher), &acknowledged) in acknowledged {
            let there = inside.audited.get(&(run, publisher)).copied().unwrap_or(0);
            let looked = self.watch == Watch::Apart || seen.contains(&(run, publisher));
            if looked && there < acknowledged {
                let lacks = Finding::NotInBackup { run, publisher, acknowledged, there };
                inside.findings.push(lacks);
            }
        }
        self.ledger.findings.append(&mut inside.findings);
        engine.close(Duration::ZERO).unwrap();
        drop((subscriber, engine));
        fs::remove_dir_all(copy).unwrap();
    }

    /// Opens the queue and sees what is there.
    fn audit(&mut self) {
        let engine = self.open();
        if self.watch == Watch::Apart {
            let audit = engine.subscriber(named("audit")).unwrap();
            while let Some(delivery) = audit.try_recv().unwrap() {
                self.ledger.audit(delivery.text().unwrap());
                delivery.ack().unwrap();
            }
        } else {
            self.take_over_order(&engine);
            self.ledger.audited.clone_from(&self.ledger.ordered);
        }
        self.take_letters(&engine);
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

    /// Takes what waits in the working subscription.
    fn take_over_order(&mut self, engine: &Engine) {
        let order = engine.subscriber(named("order")).unwrap();
        while let Some(delivery) = order.try_recv().unwrap() {
            match whole(delivery.text().unwrap()) {
                Some(id) => {
                    self.ledger.give(self.runs, id, delivery.redelivered());
                    // The close that follows writes it, and syncs.
                    self.ledger.settled.insert(id, Settled { run: self.runs, synced: true });
                }
                None => self.ledger.findings.push(Finding::Alien(delivery.id().to_string())),
            }
            delivery.ack().unwrap();
        }
        // The next that does is another process.
        self.runs += 1;
    }

    fn take_letters(&mut self, engine: &Engine) {
        let letters = engine.subscriber(DEAD_LETTERS).unwrap();
        while let Some(letter) = letters.try_recv().unwrap() {
            assert_eq!(letter.header(HEADER_ORIGIN_SUBSCRIPTION), Some("flaky"));
            let id = whole(letter.text().unwrap()).unwrap();
            self.ledger.letters.entry(id).or_default().insert(letter.id().position());
            letter.ack().unwrap();
        }
    }

    /// Empties every subscription.
    fn finish(&mut self) {
        self.audit();
        let engine = self.open();
        self.take_over_order(&engine);
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
        self.take_letters(&engine);
        self.ledger.compare();
        self.ledger.finish();
        assert_eq!(engine.close(PATIENCE).unwrap().left_over(), 0);
        self.is_sound();
    }
}

/// The names in a directory.
fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

/// How many segments of `before` have gone.
fn reclaimed(before: &BTreeSet<String>, after: &BTreeSet<String>) -> u64 {
    before.difference(after).filter(|name| name.ends_with(".seg")).count() as u64
}

/// The number of the newest checkpoint.
fn newest(files: &BTreeSet<String>) -> u64 {
    let numbers = files.iter().filter_map(|name| name.strip_suffix(".ckpt"));
    numbers.map(|number| u64::from_str_radix(number, 16).unwrap()).max().unwrap_or(0)
}

fn seed() -> u64 {
    environment("MILLSTREAM_SEED").unwrap_or_else(|| RandomState::new().hash_one(Instant::now()))
}

/// Kills over and over on one directory, and asserts that every promise was kept.
fn kill_and_compare(durabilities: &'static [Durability], watch: Watch, lineage: u64) {
    let seed = seed();
    println!("MILLSTREAM_SEED={seed}");
    let mut random = Random(mix(seed ^ lineage));
    let crashes = environment("MILLSTREAM_CRASHES").unwrap_or(CRASHES).div_ceil(LINEAGES);
    let mut queue = Lineage::new(durabilities, watch, Lie::None);
    for run in 0..crashes {
        queue.crash(&Doom::of_run(run, &mut random, queue.durability(), watch));
        if random.below(3) == 0 && queue.dir().exists() {
            queue.audit();
        }
    }
    queue.finish();
    let Ledger { findings, acknowledged, again, letters, .. } = &queue.ledger;
    let (published, worst) = (acknowledged.values().sum::<u64>(), again.values().max());
    let redelivered: usize = again.values().sum();
    let lost = findings.iter().filter(|finding| matches!(finding, Finding::Lost { .. })).count();
    println!(
        "{durabilities:?}, {watch:?}: {crashes} crashes, {published} acknowledged, {lost} lost, {redelivered} settled ones \
         redelivered ({worst:?} a crash at most), {} dead letters, {:?}",
        letters.len(),
        queue.work
    );
    assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
    assert!(crashes * 4 <= published, "the children got hardly to work: {published} published");
    let Work { checkpoints, segments_reclaimed, .. } = queue.work;
    let idle = checkpoints == 0 || segments_reclaimed == 0;
    assert!(watch == Watch::Apart || !idle, "nothing was reclaimed: {:?}", queue.work);
}

/// Promise: the table above, where a receipt promises the operating system.
/// Method: kills over and over on one directory; two such lineages, one for each way to watch.
#[test]
fn nothing_that_was_acknowledged_is_lost_to_a_kill() {
    kill_and_compare(&[Durability::Os], Watch::Apart, 0);
    kill_and_compare(&[Durability::Os], Watch::Within, 1);
}

/// Promise: the table above, where a receipt promises the disk.
/// Method: as before; publishers that wait for a sync are killed while they wait.
#[test]
fn nothing_that_was_acknowledged_as_synced_is_lost_to_a_kill() {
    kill_and_compare(&[Durability::Sync], Watch::Apart, 2);
    kill_and_compare(&[Durability::Sync], Watch::Within, 3);
}

/// Promise: the table above, where the disk follows at an interval. Method: as before.
#[test]
fn nothing_that_was_acknowledged_is_lost_to_a_kill_between_two_syncs() {
    kill_and_compare(&[INTERVAL], Watch::Apart, 4);
    kill_and_compare(&[INTERVAL], Watch::Within, 5);
}

/// Promise: the table above on one directory whose owners promise now the one, now the other.
/// Method: as before; so one's tail, which nobody synced, is what the other finds.
#[test]
fn owners_of_different_durability_take_over_from_each_other() {
    kill_and_compare(&DURABILITIES, Watch::Apart, 6);
    kill_and_compare(&DURABILITIES, Watch::Within, 7);
}

/// Promise: the check sees a loss. Method: a child that says "published" before it publishes, killed when it is heard.
#[test]
fn the_check_fails_when_a_publish_is_acknowledged_before_it_is_made() {
    let lost = |finding: &Finding| matches!(finding, Finding::Lost { .. });
    assert!(is_caught(Lie::Publish, "P", lost), "twenty lies, and no loss was found");
}

/// Promise: the check sees what comes back. Method: a child that says "acknowledged" and "synced" before either is so, killed
/// when it is heard.
#[test]
fn the_check_fails_when_a_sync_is_reported_that_was_not_made() {
    let came_back = |finding: &Finding| matches!(finding, Finding::CameBack(_));
    assert!(is_caught(Lie::Sync, "S", came_back), "twenty lies, and nothing came back");
}

/// Is a child that lies found out within twenty crashes?
fn is_caught(lie: Lie, letter: &'static str, found: impl Fn(&Finding) -> bool) -> bool {
    let mut queue = Lineage::new(&[Durability::Os], Watch::Apart, lie);
    (0..20).any(|_| {
        queue.crash(&Doom { delay: PATIENCE, facts: 3, letter, reclaiming: false });
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
