//! The power goes, everywhere: the log on a simulated disk, cut at each call of its seam to the file system.
//!
//! ```text
//!   script (by seed): append, batch, wait_durable, segment change, close, open, death, failed sync, full disk
//!      |  the trail keeps the disk before each call of the seam, with what was promised until then
//!      v
//!   each moment: some cuts -> Log::open -> the oracle; now and then a script of its own on what is left, and so on
//! ```
//!
//! # The oracle
//!
//! Every record has a number of its own for ever. What an open finds after a cut is held against the list of what was
//! appended: it is a beginning of that list, byte for byte, ends between two frames (a batch is whole or not there), and
//! is not shorter than what was promised: by `wait_durable`, by a close, or by an earlier open. So order, ghosts, losses
//! and inventions are one comparison. The open refuses nothing, no damage is found by the tables that `verify` uses, and
//! a second open finds the same.
//!
//! Without powersafe overwrite ([`Cut::torn`]) a sector that is stored again may lose what was acknowledged in it. What
//! holds then: the open finds a beginning of the list, or refuses and names a file with such a sector; nothing wrong is read.
//!
//! # Running
//!
//! `MILLSTREAM_POWER_STATES=100000 cargo test --release --lib log::power -- --nocapture` tries that many states;
//! `MILLSTREAM_SEED` repeats a run's choices. Scripts wait for the housekeeping thread before each step, so that the
//! calls come in one order; those with `busy` set do not.

use super::disk::Storage;
use super::fault::Fault;
use super::open::{Found, scan_all};
use super::recovery::{self, Verdict};
use super::sim::{Crashed, Cut, Draw, Lie, Moment, SimStorage};
use super::{AppendError, Budget, Log, LogError, LogOptions, Record, SyncError};
use crate::sync::thread;
use std::path::Path;

const CAPACITY: u64 = 64 << 10;
const DIR: &str = "/log";
/// States tried where nothing else is said.
const STATES: u64 = 3_000;
/// Cuts of one moment in the short form; many more in the long one.
const CUTS_MIN: usize = 4;
const CUTS_MAX: usize = 64;
/// How deep scripts begin on what is left by a cut of another script.
const DEPTH_MAX: u32 = 3;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 26)
}

/// A record: its number, and how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    number: u64,
    bytes: usize,
}

impl Told {
    fn body(self) -> Vec<u8> {
        let mut body = self.number.to_le_bytes().to_vec();
        let mut draw = Draw(self.number);
        while body.len() < self.bytes {
            body.extend(draw.next().to_le_bytes());
        }
        body.truncate(self.bytes.max(8));
        body
    }
}

/// What was appended, in order.
#[derive(Debug, Clone, Default)]
struct Story {
    told: Vec<Told>,
    /// The lengths at which no batch is cut.
    ends: Vec<usize>,
}

impl Story {
    fn tell(&mut self, records: &[Told]) {
        self.told.extend_from_slice(records);
        self.ends.push(self.told.len());
    }

    fn untell(&mut self, count: usize) {
        self.told.truncate(self.told.len() - count);
        self.ends.pop();
    }

    /// The beginning of that length.
    fn beginning(&self, len: usize) -> Self {
        let ends = self.ends.iter().copied().filter(|end| *end <= len).collect();
        Self { told: self.told[..len].to_vec(), ends }
    }

    /// How much of the story the log holds.
    fn held_by(&self, log: &Log) -> Result<usize, String> {
        let mut reader = log.reader(log.start());
        let mut len = 0;
        while let Some(record) = reader.next().map_err(|error| format!("a read: {error}"))? {
            let Some(told) = self.told.get(len) else {
                return Err(format!("a record of {} bytes behind the end", record.body().len()));
            };
            if record.body() != told.body() {
                return Err(format!("record {len} at {} is another", record.position()));
            }
            len += 1;
        }
        let whole = len == 0 || self.ends.contains(&len);
        if whole { Ok(len) } else { Err(format!("half a batch: {len} records")) }
    }
}

/// A step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Append(usize),
    Batch(usize, usize),
    Durable,
    Observe,
    Close,
    Die,
    FailSync(u64),
    FailAllocate(u64),
}

fn script(draw: &mut Draw, steps: usize) -> Vec<Step> {
    let bytes = |draw: &mut Draw| match draw.below(8) {
        0..4 => 8 + draw.below(300),
        4..7 => 8 + draw.below(3_000),
        _ => 8 + draw.below(24_000),
    };
    let step = |draw: &mut Draw| match draw.below(32) {
        0..14 => Step::Append(bytes(draw)),
        14..17 => Step::Batch(2 + draw.below(4), 8 + draw.below(2_000)),
        17..24 => Step::Durable,
        24..28 => Step::Observe,
        28 => Step::Close,
        29 | 30 => Step::Die,
        _ if draw.chance(128) => Step::FailSync(1 + draw.next() % 3),
        _ => Step::FailAllocate(1 + draw.next() % 2),
    };
    (0..steps).map(|_| step(draw)).collect()
}

/// What a search for a bad state found.
#[derive(Debug)]
struct Bad {
    what: String,
    seed: u64,
    story: Vec<String>,
}

/// A search through states.
struct Search {
    seed: u64,
    draw: Draw,
    states: u64,
    states_max: u64,
    cuts: usize,
    next_number: u64,
    busy: bool,
    torn: bool,
    refused: u64,
    lies: Vec<Lie>,
    faults: Vec<Fault>,
}

/// A process that works on a log.
struct Life {
    disk: SimStorage,
    log: Option<Log>,
    story: Story,
    end: Option<super::Position>,
    notes: Vec<String>,
}

impl Search {
    fn new(seed: u64, states_max: u64) -> Self {
        let cuts = (states_max / 10_000) as usize;
        Self {
            seed,
            draw: Draw(seed),
            states: 0,
            states_max,
            cuts: cuts.clamp(CUTS_MIN, CUTS_MAX),
            next_number: 0,
            busy: false,
            torn: false,
            refused: 0,
            lies: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.states >= self.states_max
    }

    /// Scripts and cuts until enough states were tried.
    fn run(&mut self) -> Result<(), Bad> {
        while !self.is_over() {
            let disk = SimStorage::new();
            self.lies.iter().for_each(|lie| disk.lie(*lie));
            let steps = 10 + self.draw.below(30);
            self.live(disk, &Story::default(), 0, steps, 0, Vec::new())?;
        }
        Ok(())
    }

    fn bad(&self, what: String, notes: &[String]) -> Bad {
        Bad { what, seed: self.seed, story: notes.to_vec() }
    }

    /// A script on that disk, which holds a beginning of `story`, at least `promised` records of it; then cuts of all its
    /// moments.
    fn live(
        &mut self,
        disk: SimStorage,
        story: &Story,
        promised: usize,
        steps: usize,
        depth: u32,
        notes: Vec<String>,
    ) -> Result<(), Bad> {
        self.faults.iter().for_each(|fault| disk.plant(*fault));
        disk.promise(promised as u64);
        disk.start_trail();
        let mut life = Life { disk, log: None, story: story.clone(), end: None, notes };
        life.open(promised, false).map_err(|what| self.bad(what, &life.notes))?;
        // What was left by a cut is on the disk: no cut while it is opened may take from it.
        let floor = life.story.told.len();
        for step in script(&mut self.draw, steps) {
            life.notes.push(format!("{step:?}"));
            self.step(&mut life, step).map_err(|what| self.bad(what, &life.notes))?;
        }
        life.disk.observe();
        let trail = life.disk.take_trail();
        drop(life.log.take());
        for moment in &trail {
            let count = self.cuts;
            for cut in moment.cuts(count, &mut self.draw) {
                let cut = Cut { torn: self.torn && cut.subset.is_none(), ..cut };
                self.check(moment, &cut, &life, floor, depth)?;
                if self.is_over() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One state.
    fn check(
        &mut self,
        moment: &Moment,
        cut: &Cut,
        life: &Life,
        floor: usize,
        depth: u32,
    ) -> Result<(), Bad> {
        self.states += 1;
        let promised = floor.max(moment.promised as usize);
        let crashed = moment.cut(cut);
        let mut notes = life.notes.clone();
        notes.push(format!("CUT before {} ({promised} promised): {cut:?}", moment.before));
        let deeper = depth < DEPTH_MAX && !self.torn && self.draw.below(24) == 0;
        if deeper {
            let steps = self.draw.below(12);
            self.lies.iter().for_each(|lie| crashed.storage.lie(*lie));
            return self.live(crashed.storage, &life.story, promised, steps, depth + 1, notes);
        }
        let twice = self.draw.below(8) == 0;
        self.faults.iter().for_each(|fault| crashed.storage.plant(*fault));
        match judge(&crashed, &life.story, promised, twice) {
            Ok(Judged::Held) => Ok(()),
            Ok(Judged::Refused) => {
                self.refused += 1;
                Ok(())
            }
            Err(what) => Err(self.bad(what, &notes)),
        }
    }

    fn step(&mut self, life: &mut Life, step: Step) -> Result<(), String> {
        let Some(log) = life.log.as_ref() else { return life.open(0, true) };
        if !self.busy {
            settle(log);
        }
        match step {
            Step::Append(bytes) => self.append(life, &[bytes]),
            Step::Batch(count, bytes) => self.append(life, &vec![bytes; count]),
            Step::Durable => life.wait_durable(),
            Step::Observe => {
                life.disk.observe();
                Ok(())
            }
            Step::Close => life.close(),
            Step::Die => life.die(),
            Step::FailSync(n) => {
                life.disk.fail_sync(n);
                Ok(())
            }
            Step::FailAllocate(n) => {
                life.disk.fail_allocate(n);
                Ok(())
            }
        }
    }

    fn append(&mut self, life: &mut Life, sizes: &[usize]) -> Result<(), String> {
        let numbered = sizes.iter().zip(self.next_number..);
        let told: Vec<_> = numbered.map(|(&bytes, number)| Told { number, bytes }).collect();
        self.next_number += told.len() as u64;
        life.story.tell(&told);
        let bodies: Vec<_> = told.iter().map(|one| one.body()).collect();
        let parts: Vec<[&[u8]; 1]> = bodies.iter().map(|body| [body.as_slice()]).collect();
        let record = |parts| Record { tag: 0, topic: 0, time_ns: 0, parts };
        let records: Vec<_> = parts.iter().map(|parts| record(parts)).collect();
        let log = life.log.as_ref().expect("the caller has looked");
        let appended = match records.as_slice() {
            [one] => log.append(one, Budget::Publish),
            many => log.append_batch(many, Budget::Publish),
        };
        match appended {
            Ok(appended) => {
                life.end = Some(appended.end);
                Ok(())
            }
            Err(AppendError::Poisoned(_) | AppendError::Storage(_)) => {
                life.story.untell(told.len());
                Ok(())
            }
            Err(other) => Err(format!("an append: {other}")),
        }
    }
}

/// Waits until the housekeeping thread has nothing left to do, unless a fault keeps it from doing it.
fn settle(log: &Log) {
    loop {
        let stats = log.stats();
        let full = stats.committed.as_u64() / CAPACITY * CAPACITY;
        let prepared = log.reserved().as_u64() + CAPACITY <= stats.prepared.as_u64();
        let idle = prepared && full <= stats.durable.as_u64();
        if idle || stats.poisoned.is_some() || log.shared.preparer.is_refused() {
            return;
        }
        log.shared.preparer.kick();
        thread::yield_now();
    }
}

impl Life {
    /// Opens what the disk holds: a beginning of the story, at least `promised` records. A planted failure may refuse it
    /// once.
    fn open(&mut self, promised: usize, whole: bool) -> Result<(), String> {
        let log = match self.disk.open_log(Path::new(DIR), options()) {
            Ok(log) => log,
            Err(LogError::Storage(_)) => match self.disk.open_log(Path::new(DIR), options()) {
                Err(LogError::Storage(_)) => self.disk.open_log(Path::new(DIR), options()),
                other => other,
            }
            .map_err(|error| format!("a second open: {error}"))?,
            Err(error) => return Err(format!("refused: {error}")),
        };
        if self.disk.planted(Fault::SyncsLastOnly) {
            log.shared.faults.plant(Fault::SyncsLastOnly);
        }
        let held = self.story.held_by(&log)?;
        let expected = if whole { self.story.told.len() } else { promised };
        if held < expected {
            return Err(format!("{held} records of {expected}"));
        }
        self.story = self.story.beginning(held);
        self.end = None;
        self.disk.promise(held as u64);
        self.log = Some(log);
        Ok(())
    }

    fn wait_durable(&mut self) -> Result<(), String> {
        let (Some(log), Some(end)) = (&self.log, self.end) else { return Ok(()) };
        match log.wait_durable(end) {
            Ok(()) => self.disk.promise(self.story.told.len() as u64),
            Err(SyncError::Unknown(_)) => {}
            Err(other) => return Err(format!("a wait: {other}")),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(log) = self.log.take() else { return Ok(()) };
        match log.close() {
            Ok(()) => self.disk.promise(self.story.told.len() as u64),
            Err(SyncError::Unknown(_) | SyncError::Untidy(_)) => {}
            Err(other) => return Err(format!("a close: {other}")),
        }
        drop(log);
        self.open(0, true)
    }

    /// The process dies, and another opens what it left in the page cache.
    fn die(&mut self) -> Result<(), String> {
        self.disk.observe();
        let next = self.disk.die();
        drop(self.log.take());
        self.disk = next;
        self.open(0, true)
    }
}

enum Judged {
    Held,
    /// A torn sector was found, and named.
    Refused,
}

/// Holds a disk after a cut against the story.
fn judge(
    crashed: &Crashed,
    story: &Story,
    promised: usize,
    twice: bool,
) -> Result<Judged, String> {
    let disk = &crashed.storage;
    if let Err(error) = sound(disk) {
        return refusal(crashed, error);
    }
    let open = || disk.open_log(Path::new(DIR), options());
    let log = match open() {
        Ok(log) => log,
        Err(error) => return refusal(crashed, error),
    };
    let held = story.held_by(&log)?;
    let expected = if crashed.torn.is_empty() { promised } else { 0 };
    if held < expected {
        return Err(format!("{held} records of {expected} that were promised"));
    }
    if log.recovery().durable > log.recovery().end {
        return Err("more is durable than there is".to_owned());
    }
    if twice {
        log.close().map_err(|error| format!("a close: {error}"))?;
        drop(log);
        let again = open().map_err(|error| format!("the second open: {error}"))?;
        let held_again = story.held_by(&again)?;
        if held_again != held || !again.recovery().clean {
            return Err(format!("{held} records, and after a close {held_again}"));
        }
    }
    Ok(Judged::Held)
}

/// A refusal is right only where a sector was torn, in the file that it names.
fn refusal(crashed: &Crashed, error: LogError) -> Result<Judged, String> {
    let named = match &error {
        LogError::Damaged(damage) => Some(&damage.file),
        LogError::NotOurs { path } | LogError::Newer { path, .. } => Some(path),
        _ => None,
    };
    let torn = named.is_some_and(|file| crashed.torn.iter().any(|(path, _)| path == file));
    if torn { Ok(Judged::Refused) } else { Err(format!("refused: {error}")) }
}

/// Goes through all frames with the tables that `verify` uses.
fn sound(disk: &SimStorage) -> Result<(), LogError> {
    let boot_id = disk.boot_id()?;
    let found = Found::look(disk, Path::new(DIR), boot_id, &|_| {})?;
    let scans = scan_all(disk, &found.chain.links, &|_| {})?;
    for index in 0..scans.len() {
        let durable = recovery::durable(&found.chain.links, &scans);
        let mut verdicts =
            recovery::verdicts(&found.chain.links, &scans, index, durable, boot_id);
        if let Some((_, anomaly)) = verdicts.find(|(verdict, _)| *verdict == Verdict::Corrupt) {
            return Err(recovery::damage(&found.chain.links[index], anomaly).into());
        }
    }
    Ok(())
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seed() -> u64 {
    use std::hash::BuildHasher;
    let seed = environment("MILLSTREAM_SEED");
    seed.unwrap_or_else(|| std::hash::RandomState::new().hash_one(std::time::Instant::now()))
}

/// Runs a search and shows what it did.
fn hold(name: &str, change: impl FnOnce(&mut Search)) {
    let seed = seed();
    let states_max = environment("MILLSTREAM_POWER_STATES").unwrap_or(STATES);
    let mut search = Search::new(seed, states_max);
    change(&mut search);
    println!("{name}: MILLSTREAM_SEED={seed}");
    if let Err(bad) = search.run() {
        panic!("{}: {}\nseed {}\n{}", name, bad.what, bad.seed, bad.story.join("\n"));
    }
    println!("{name}: {} states, {} refused", search.states, search.refused);
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_promised() {
    hold("cut", |_| {});
}

#[test]
fn a_power_cut_beside_a_busy_housekeeper_loses_nothing_that_was_promised() {
    hold("busy", |search| search.busy = true);
}

/// Promise: without powersafe overwrite too nothing wrong is read, and a refusal names a file that was torn.
#[test]
fn a_sector_torn_while_it_is_stored_again_is_found_and_named() {
    hold("torn", |search| search.torn = true);
}

/// Promise: the checker sees each of these rules broken. A search that does not proves nothing.
fn caught(name: &str, states_max: u64, change: impl FnOnce(&mut Search)) {
    let mut search = Search::new(17, states_max);
    change(&mut search);
    match search.run() {
        Ok(()) => panic!("{name}: not caught in {} states", search.states),
        Err(bad) => println!("{name}: caught in {} states: {}", search.states, bad.what),
    }
}

#[test]
fn the_checker_catches_an_acknowledgement_before_the_sync() {
    caught("acknowledged first", 20_000, |search| search.lies.push(Lie::DataSync));
}

#[test]
fn the_checker_catches_a_rename_before_the_sync() {
    caught("renamed first", 20_000, |search| search.lies.push(Lie::WholeSync));
}

#[test]
fn the_checker_catches_a_directory_that_is_not_synced() {
    caught("directory not synced", 20_000, |search| search.lies.push(Lie::DirSync));
}

#[test]
fn the_checker_catches_hole_1_9_what_is_not_written_again() {
    caught("not written again", 40_000, |search| search.lies.push(Lie::Rewrite));
}

#[test]
fn the_checker_catches_a_body_that_is_not_checked() {
    caught("body not checked", 20_000, |search| search.faults.push(Fault::BodyUnchecked));
}

#[test]
fn the_checker_catches_hole_1_3_what_goes_on_behind_the_end() {
    caught("behind the end", 20_000, |search| search.faults.push(Fault::GoesOnBehindEnd));
}

#[test]
fn the_checker_catches_a_sync_that_leaves_out_the_older_segment() {
    caught("older left out", 40_000, |search| search.faults.push(Fault::SyncsLastOnly));
}
