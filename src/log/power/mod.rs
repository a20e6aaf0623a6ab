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
//! `MILLSTREAM_POWER_STATES=100000 cargo test --release --lib power::a_ -- --nocapture` tries that many states in each test;
//! `MILLSTREAM_SEED` repeats a run's choices. Scripts wait for the housekeeping thread before each step, so that the
//! calls come in one order; those with `busy` set do not.

mod story;

use super::disk::Storage;
use super::fault::Fault;
use super::format::{FRAME_HEADER_BYTES, Kind};
use super::open::{self, Found, scan_all};
use super::recovery::{self, Verdict};
use super::sim::{Crashed, Cut, Draw, Lie, Moment, Promise, SimStorage};
use super::{Action, AppendError, Budget, Log, LogError, LogOptions, Record, SyncError};
use crate::sync::thread;
use std::path::Path;
use story::{Story, Told};

const CAPACITY: u64 = 64 << 10;
const DIR: &str = "/log";
/// States tried where nothing else is said.
const STATES: u64 = 150;
/// So many states a fault may hide in.
const CAUGHT_MAX: u64 = 20_000;
/// Cuts of one moment in the short form; many more in the long one.
const CUTS_MIN: usize = 4;
const CUTS_MAX: usize = 64;
/// How deep scripts begin on what is left by a cut of another script.
const DEPTH_MAX: u32 = 3;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 26)
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
    /// Large records with no pause for the housekeeping thread, then a wait.
    Rush(usize),
    Checkpoint(usize),
    /// Up to the checkpoint so many before the newest.
    Trim(usize),
    /// A writer stands between reserve and commit while others append, and the process dies (1.1, 1.2).
    Gap(usize),
}

fn script(draw: &mut Draw, steps: usize) -> Vec<Step> {
    let bytes = |draw: &mut Draw| match draw.below(8) {
        0..4 => 8 + draw.below(300),
        4..7 => 8 + draw.below(3_000),
        _ => 8 + draw.below(24_000),
    };
    let mut steps_made = Vec::with_capacity(steps);
    while steps_made.len() < steps {
        let step = match draw.below(40) {
            0..14 => Step::Append(bytes(draw)),
            14..17 => Step::Batch(2 + draw.below(4), 8 + draw.below(2_000)),
            17..23 => Step::Durable,
            23..26 => Step::Observe,
            26..29 => Step::Rush(2 + draw.below(4)),
            29..32 => Step::Checkpoint(draw.below(10)),
            32..34 => Step::Trim(draw.below(3)),
            39 if draw.chance(160) => Step::Gap(1 + draw.below(4)),
            34 => Step::Close,
            35 | 36 => Step::Die,
            37 | 38 => {
                // A failed sync is of interest by what follows.
                let end = if draw.chance(128) { Step::Close } else { Step::Die };
                let bytes = bytes(draw);
                steps_made.extend([Step::FailSync(1), Step::Append(bytes), Step::Durable, end]);
                Step::Append(30)
            }
            _ if draw.chance(128) => Step::FailSync(1 + draw.next() % 5),
            _ => Step::FailAllocate(1 + draw.next() % 2),
        };
        steps_made.push(step);
    }
    steps_made
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
    /// Of 256 moments so many are cut.
    share: u64,
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
            share: if states_max < 20_000 { 80 } else { 256 },
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
            self.live(disk, &Story::default(), Promise::default(), steps, 0, Vec::new())?;
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
        promised: Promise,
        steps: usize,
        depth: u32,
        notes: Vec<String>,
    ) -> Result<(), Bad> {
        self.faults.iter().for_each(|fault| disk.plant(*fault));
        disk.promise(|it| *it = promised);
        disk.start_trail();
        let mut life = Life { disk, log: None, story: story.clone(), end: None, notes };
        let opened = life.open(promised, false);
        // What was left by a cut is on the disk: no cut while it is opened may take from it.
        let floor = opened.map_err(|what| self.bad(what, &life.notes))?;
        for step in script(&mut self.draw, steps) {
            life.notes.push(format!("{step:?}"));
            self.step(&mut life, step).map_err(|what| self.bad(what, &life.notes))?;
        }
        life.disk.observe();
        let trail = life.disk.take_trail();
        drop(life.log.take());
        for moment in &trail {
            if !self.draw.chance(self.share) {
                continue;
            }
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
        floor: Promise,
        depth: u32,
    ) -> Result<(), Bad> {
        self.states += 1;
        let promised = Promise {
            records: floor.records.max(moment.promised.records),
            checkpoints: floor.checkpoints.max(moment.promised.checkpoints),
        };
        let crashed = moment.cut(cut);
        let mut notes = life.notes.clone();
        notes.push(format!("CUT before {} ({promised:?}): {cut:?}", moment.before));
        let deeper = depth < DEPTH_MAX && !self.torn && self.draw.below(24) == 0;
        if deeper {
            let steps = self.draw.below(12);
            self.lies.iter().for_each(|lie| crashed.storage.lie(*lie));
            return self.live(crashed.storage, &life.story, promised, steps, depth + 1, notes);
        }
        let (twice, rot) = (self.draw.below(8) == 0, self.draw.below(4) == 0);
        self.faults.iter().for_each(|fault| crashed.storage.plant(*fault));
        match judge(&crashed, &life.story, promised, twice, rot) {
            Ok(Judged::Held) => Ok(()),
            Ok(Judged::Refused) => {
                self.refused += 1;
                Ok(())
            }
            Err(what) => Err(self.bad(what, &notes)),
        }
    }

    fn step(&mut self, life: &mut Life, step: Step) -> Result<(), String> {
        let Some(log) = life.log.as_ref() else {
            return life.open(Promise::default(), true).map(drop);
        };
        let in_haste = self.busy || matches!(step, Step::Rush(_));
        if !in_haste {
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
            Step::Rush(count) => {
                (0..count).try_for_each(|_| self.append(life, &[25_000]))?;
                life.wait_durable()
            }
            Step::Checkpoint(back) => life.checkpoint(back),
            Step::Trim(back) => life.trim(back),
            Step::Gap(count) => self.gap(life, count),
        }
    }

    fn gap(&mut self, life: &mut Life, count: usize) -> Result<(), String> {
        let log = life.log.as_ref().expect("the caller has looked");
        let Ok(reserved) = log.shared.reserve(FRAME_HEADER_BYTES as u32, Budget::Publish) else {
            return Ok(());
        };
        for size in 0..count {
            self.append(life, &[40 + 700 * size])?;
            life.disk.observe();
        }
        let next = life.disk.die();
        // What the dead one does now, nobody sees; but its end waits for this writer.
        if let Some(log) = life.log.take() {
            let nothing = Record { tag: 0, topic: 0, time_ns: 0, parts: &[] };
            let header = nothing.header(Kind::Record, FRAME_HEADER_BYTES as u32);
            log.shared.write(reserved, header, |_| {});
        }
        life.disk = next;
        life.open(Promise::default(), true).map(drop)
    }

    fn append(&mut self, life: &mut Life, sizes: &[usize]) -> Result<(), String> {
        let numbered = sizes.iter().zip(self.next_number..);
        let told: Vec<_> = numbered.map(|(&bytes, number)| Told { number, bytes, at: 0 }).collect();
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
                let first = life.story.told.len() - told.len();
                for (told, at) in life.story.told[first..].iter_mut().zip(appended.positions()) {
                    told.at = at.as_u64();
                }
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
    fn open(&mut self, promised: Promise, whole: bool) -> Result<Promise, String> {
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
        let Promise { mut records, mut checkpoints } = promised;
        if whole {
            (records, checkpoints) = (self.story.told.len(), self.story.checkpoints.len());
        }
        if held.records < records || held.checkpoints < checkpoints {
            return Err(format!("{held:?} of {records}, {checkpoints}"));
        }
        self.story = self.story.beginning(held);
        self.end = None;
        let promise = Promise { records: held.records, checkpoints: held.checkpoints };
        self.disk.promise(|it| *it = promise);
        self.log = Some(log);
        Ok(promise)
    }

    /// Lays down a checkpoint that reads on `back` records before the end, and says which one it is.
    fn checkpoint(&mut self, back: usize) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        let Some(last) = self.story.told.len().checked_sub(1) else { return Ok(()) };
        let floor = self.story.checkpoints.last().copied().unwrap_or(0);
        let from = last.saturating_sub(back).max(floor.max(self.story.trimmed));
        let at = super::Position::of(self.story.told[from].at);
        let number = self.story.checkpoints.len();
        let mut body = (number as u64).to_le_bytes().to_vec();
        body.resize(8 + from * 37 % 3_000, 7);
        // It may be there after a cut from now on.
        self.story.checkpoints.push(from);
        match log.write_checkpoint(at, &body) {
            Ok(()) => {
                let records = self.story.told.len();
                self.disk.promise(|it| *it = Promise { records, checkpoints: number + 1 });
                Ok(())
            }
            // After a failure it is there or not: the next open says which.
            Err(LogError::Sync(_) | LogError::Storage(_)) => self.die_unsure(),
            Err(other) => Err(format!("a checkpoint: {other}")),
        }
    }

    fn trim(&mut self, back: usize) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        let checkpoints = &self.story.checkpoints;
        let Some(index) = checkpoints.len().checked_sub(1 + back) else { return Ok(()) };
        let before = super::Position::of(self.story.told[checkpoints[index]].at);
        // What both kept checkpoints let go.
        let older = checkpoints[checkpoints.len().saturating_sub(2)];
        let given_up = checkpoints[index].min(older);
        self.story.trimmed = self.story.trimmed.max(given_up);
        match log.trim(before) {
            Ok(_) | Err(LogError::Sync(_) | LogError::Storage(_)) => Ok(()),
            Err(other) => Err(format!("a trim: {other}")),
        }
    }

    fn wait_durable(&mut self) -> Result<(), String> {
        let (Some(log), Some(end)) = (&self.log, self.end) else { return Ok(()) };
        match log.wait_durable(end) {
            Ok(()) => self.disk.promise(|it| it.records = self.story.told.len()),
            Err(SyncError::Unknown(_)) => {}
            Err(other) => return Err(format!("a wait: {other}")),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(log) = self.log.take() else { return Ok(()) };
        match log.close() {
            Ok(()) => self.disk.promise(|it| it.records = self.story.told.len()),
            Err(SyncError::Unknown(_) | SyncError::Untidy(_)) => {}
            Err(other) => return Err(format!("a close: {other}")),
        }
        drop(log);
        self.open(Promise::default(), true).map(drop)
    }

    /// The process dies, and another opens what it left in the page cache.
    fn die(&mut self) -> Result<(), String> {
        self.disk.observe();
        let next = self.disk.die();
        drop(self.log.take());
        self.disk = next;
        self.open(Promise::default(), true).map(drop)
    }

    /// The same, with a last checkpoint that may be there or not.
    fn die_unsure(&mut self) -> Result<(), String> {
        self.disk.observe();
        let next = self.disk.die();
        drop(self.log.take());
        self.disk = next;
        let (records, checkpoints) = (self.story.told.len(), self.story.checkpoints.len() - 1);
        self.open(Promise { records, checkpoints }, false).map(drop)
    }
}

enum Judged {
    Held,
    /// A torn sector was found, and named.
    Refused,
}

/// Holds a disk after a cut against the story. `twice`: opened, closed and opened again. `rot`: the newest of two
/// checkpoints rots too, and nothing is lost by it.
fn judge(
    crashed: &Crashed,
    story: &Story,
    promised: Promise,
    twice: bool,
    rot: bool,
) -> Result<Judged, String> {
    let disk = &crashed.storage;
    let mut expected = if crashed.torn.is_empty() { promised } else { Promise::default() };
    if rot && crashed.torn.is_empty() && disk.spoil_newest_checkpoint(Path::new(DIR)) {
        expected.checkpoints = expected.checkpoints.saturating_sub(1);
    }
    if let Err(error) = sound(disk) {
        return refusal(crashed, error);
    }
    let open = || disk.open_log(Path::new(DIR), options());
    let log = match open() {
        Ok(log) => log,
        Err(error) => return refusal(crashed, error),
    };
    let held = story.held_by(&log)?;
    if held.records < expected.records || held.checkpoints < expected.checkpoints {
        return Err(format!("{held:?} of {expected:?}"));
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
            return Err(format!("{held:?}, and after a close {held_again:?}"));
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
    let found = Found::look(disk, Path::new(DIR), disk.boot_id()?, &|_| {})?;
    let links = &found.chain.links;
    let whole: Vec<_> = links.iter().map(|link| link.header.base..link.stop).collect();
    let scans = scan_all(disk, links, &whole, &|_| {})?;
    let durable = recovery::durable(links, &scans, &open::begin(&found.chain, &found.chosen)?);
    for (index, link) in links.iter().enumerate() {
        let mut verdicts = recovery::verdicts(links, &scans, index, durable, disk.boot_id()?);
        if let Some((_, anomaly)) = verdicts.find(|(verdict, _)| *verdict == Verdict::Corrupt) {
            return Err(recovery::damage(link, anomaly).into());
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
///
/// Method: a seed by which it is seen soon; every other tried (1 to 8) shows it too, within 3,000 states.
fn caught(name: &str, seed: u64, change: impl FnOnce(&mut Search)) {
    // The rule kept, or what is caught below is something else.
    Search::new(seed, 20).run().expect("nothing is wrong where nothing is left out");
    let mut search = Search::new(environment("MILLSTREAM_SEED").unwrap_or(seed), CAUGHT_MAX);
    change(&mut search);
    match search.run() {
        Ok(()) => panic!("{name}: not caught in {} states", search.states),
        Err(bad) => println!("{name}: caught in {} states: {}", search.states, bad.what),
    }
}

#[test]
fn the_checker_catches_an_acknowledgement_before_the_sync() {
    caught("acknowledged first", 5, |search| search.lies.push(Lie::DataSync));
}

#[test]
fn the_checker_catches_a_rename_before_the_sync() {
    caught("renamed first", 4, |search| search.lies.push(Lie::WholeSync));
}

#[test]
fn the_checker_catches_a_directory_that_is_not_synced() {
    caught("directory not synced", 2, |search| search.lies.push(Lie::DirSync));
}

#[test]
fn the_checker_catches_hole_1_9_what_is_not_written_again() {
    caught("not written again", 8, |search| search.lies.push(Lie::Rewrite));
}

#[test]
fn the_checker_catches_a_body_that_is_not_checked() {
    caught("body not checked", 2, |search| search.faults.push(Fault::BodyUnchecked));
}

#[test]
fn the_checker_catches_hole_1_3_what_goes_on_behind_the_end() {
    caught("behind the end", 3, |search| search.faults.push(Fault::GoesOnBehindEnd));
}

#[test]
fn the_checker_catches_a_sync_that_leaves_out_the_older_segment() {
    caught("older left out", 1, |search| search.faults.push(Fault::SyncsLastOnly));
}

#[test]
fn the_checker_catches_a_checkpoint_renamed_before_its_sync() {
    caught("checkpoint not synced", 3, |search| search.lies.push(Lie::CheckpointSync));
}

#[test]
fn the_checker_catches_hole_3_5_a_trim_before_its_checkpoint_is_durable() {
    caught("checkpoint's name not synced", 3, |search| search.lies.push(Lie::CheckpointName));
}

/// Promise: a disk that cannot read a piece of the log is a named error, and nothing is changed (3.6); once it can, the log
/// is there.
#[test]
fn a_disk_that_fails_a_read_in_the_middle_is_refused_by_value() {
    let disk = SimStorage::new();
    let dir = Path::new(DIR);
    let log = disk.open_log(dir, options()).expect("a new log");
    let parts: [&[u8]; 1] = [&[1; 9_000]];
    for _ in 0..20 {
        let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &parts };
        log.append(&record, Budget::Publish).expect("there is room");
    }
    drop(log);
    let files = disk.list(dir).expect("the directory is there");
    assert!(files.len() >= 3);
    // An index is not read before somebody asks, and then it is made again.
    for path in files.iter().filter(|path| path.extension().is_some_and(|it| it == "seg")) {
        let again = disk.moment().death();
        again.fail_reads(path, 5_000..5_001);
        let refused = again.open_log(dir, options()).map(drop);
        match refused {
            Err(LogError::Storage(error)) => {
                assert_eq!((error.action, &error.path), (Action::Read, path))
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(again.list(dir).expect("the directory is there"), files);
    }
    let log = disk.open_log(dir, options()).expect("it can be read again");
    assert_eq!(
        log.reader(log.start()).next().expect("readable").expect("a record").body(),
        [1; 9_000]
    );
}
