//! Housekeeping: segments are prepared ahead of the writers, so that a publisher never creates a file.
//!
//! One thread per log. It sleeps until a writer comes near the prepared end, then prepares in steps of 256 KiB until a
//! segment's worth lies ahead. When nobody is in need it syncs each step and pauses for as long as the step took, so
//! that it takes at most half of the disk from those who wait for durability. When a writer waits it does neither: the
//! writer's own group sync covers the zeros.
//!
//! It also keeps the next [`WARM_BYTES`] before the tail in the page tables, ready to be stored to: the first store to a
//! page would stop its writer for two microseconds, more than ten times what an append costs. Only where nobody syncs the
//! live segment: a sync takes the pages out again, and writes each of them.
//!
//! When it has time it also makes full segments durable, even where nobody asks for it: so recovery has little to write
//! again, and a power loss costs little more than the last segments. A writer that outruns the preparation comes first:
//! while it does, only the kernel's own write-back bounds what is not on disk.
//!
//! # Orderings
//!
//! `warm` is [relaxed]: advice. `kicked` is [relaxed]: it saves writers the lock. A kick that is lost in a race with the thread falling asleep comes
//! again with the next append, and a writer that has to wait rings under the lock. All else is under the lock, or [L4].

use super::error::StorageError;
use super::format::SegmentHeader;
use super::group::Syncing;
use super::segment::Segment;
use super::write::Shared;
use crate::clock::Clock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Prepared at a time.
const STEP_BYTES: u64 = 256 << 10;
/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How far before the tail the pages are kept ready to be stored to. It lasts for the longest pause at half a gigabyte a
/// second, and a sync that comes just then writes this much more: a millisecond.
const WARM_BYTES: u64 = 1 << 20;

/// What writers and the housekeeping thread say to one another.
#[derive(Debug, Default)]
pub(crate) struct Preparer {
    kicked: AtomicBool,
    /// Up to here pages are ready to be stored to, or it was not worth while.
    warm: AtomicU64,
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    waiting: usize,
    /// How far some writer has needed the log to be prepared.
    needed: u64,
    refusals: u64,
    refusal: Option<Arc<StorageError>>,
}

/// Why there is no room.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// The log is closing.
    Stopped,
    /// The system refused.
    Refused(Arc<StorageError>),
}

impl Preparer {
    /// A writer came near the prepared end.
    pub fn kick(&self) {
        let rung = self.kicked.load(Ordering::Relaxed); // [relaxed]
        if rung {
            return;
        }
        let rung = self.kicked.swap(true, Ordering::Relaxed); // [relaxed]
        if rung {
            return;
        }
        let _state = self.state.lock();
        self.work.notify_one();
    }

    /// Is what is ready to be stored to behind `end` less than half of what shall be?
    pub fn runs_cold(&self, end: u64) -> bool {
        self.warm.load(Ordering::Relaxed) < end + WARM_BYTES / 2 // [relaxed]
    }

    /// Makes the pages before the tail ready to be stored to.
    fn warm_up(&self, shared: &Shared) {
        let reserved = shared.tail.reserved();
        let end = (reserved + WARM_BYTES).min(shared.tail.limit());
        let from = self.warm.load(Ordering::Relaxed).max(reserved); // [relaxed]
        if end <= from {
            return;
        }
        if !is_synced_now(shared.group.durable(), reserved, shared.sizes.segment_bytes) {
            let (view, range) = (shared.segments.view(), from..end);
            let live = view.table().list().iter().rev().take_while(|one| range.start < one.end);
            live.for_each(|segment| segment.warm_for_writing(&range));
        }
        self.warm.store(end, Ordering::Relaxed); // [relaxed]
    }

    /// Waits until the log is prepared up to `need`, or an attempt made since is refused.
    pub fn wait_for(&self, need: u64, shared: &Shared) -> Result<(), NoRoom> {
        let mut state = self.state.lock();
        let mut refusals = state.refusals;
        state.waiting += 1;
        state.needed = state.needed.max(need);
        self.kicked.store(true, Ordering::Relaxed); // [relaxed] under the lock
        self.work.notify_one();
        let outcome = loop {
            if shared.tail.limit() >= need {
                break Ok(());
            }
            if state.stop {
                break Err(NoRoom::Stopped);
            }
            if state.refusals != refusals {
                refusals = state.refusals;
                if let Some(refusal) = state.refusal.clone() {
                    break Err(NoRoom::Refused(refusal));
                }
            }
            state = self.room.wait(state);
        };
        state.waiting -= 1;
        outcome
    }

    /// Ends the thread; writers that wait are told.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stop = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// The housekeeping thread.
    pub fn run(&self, shared: &Shared) {
        while self.sleep() {
            self.warm_up(shared);
            while let Some(pause) = self.work_once(shared) {
                let in_haste = pause.is_zero();
                if !in_haste {
                    settle_full_segments(shared);
                }
                if !self.rest(pause, shared) {
                    return;
                }
            }
            settle_full_segments(shared);
        }
    }

    /// Sleeps until there is work; false when the log closes.
    fn sleep(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return false;
            }
            // After a refusal it is tried again for a writer who needs it, not ahead of need; and `kicked` stays, so
            // that writers do not ring in vain.
            let worthwhile = state.waiting > 0 || state.refusal.is_none();
            let rung = worthwhile && self.kicked.swap(false, Ordering::Relaxed); // [relaxed]
            if rung {
                return true;
            }
            state = self.work.wait(state);
        }
    }

    /// Pauses, unless a writer waits; false when the log closes.
    fn rest(&self, pause: Duration, shared: &Shared) -> bool {
        let deadline = Instant::now() + pause;
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return false;
            }
            if state.waiting > 0 {
                return true;
            }
            let rung = self.kicked.swap(false, Ordering::Relaxed); // [relaxed]
            if rung {
                drop(state);
                self.warm_up(shared);
                state = self.state.lock();
                continue;
            }
            let (again, over) = self.work.wait_until(state, deadline);
            if over {
                return !again.stop;
            }
            state = again;
        }
    }

    /// Prepares one step, if one is wanted. Answers the pause that is due after it.
    fn work_once(&self, shared: &Shared) -> Option<Duration> {
        let limit = shared.tail.limit();
        let reserved = shared.tail.reserved();
        let step = step_bytes(shared);
        // A frame that does not fit the rest of its segment ends in the next one: further than a segment away.
        let needed = self.state.lock().needed;
        let wanted = (reserved + shared.sizes.segment_bytes).max(needed).next_multiple_of(step);
        if limit >= wanted.min(shared.tail.settle_max()) {
            return None;
        }
        let calm = self.state.lock().waiting == 0 && limit - reserved >= shared.low_water();
        let started = Instant::now();
        let outcome = prepare_step(shared, limit, step, calm);
        let mut state = self.state.lock();
        self.room.notify_all();
        state.refusal = outcome.err();
        if state.refusal.is_some() {
            state.refusals += 1;
            return None;
        }
        Some(if calm { started.elapsed().min(PAUSE_MAX) } else { Duration::ZERO })
    }
}

/// Prepares the step that begins at `limit`, and says so. Only one thread does this at a time.
pub(crate) fn prepare_step(
    shared: &Shared,
    limit: u64,
    step: u64,
    sync: bool,
) -> Result<(), Arc<StorageError>> {
    if shared.segments.view().table().holding(limit).is_none() {
        shared.segments.push(successor(shared, limit)?);
    }
    let view = shared.segments.view();
    let segment = view.table().holding(limit).expect("it was just made");
    segment.prepare(limit, step, &shared.faults)?;
    if sync {
        // The kernel reports an error of the file once: this sync may have taken it from the frames' own.
        segment.sync(&shared.faults).map_err(|error| shared.poison(error))?;
    }
    shared.tail.raise(limit + step);
    Ok(())
}

/// Does somebody sync the live segment, so often that warm pages would be cold again before they are used?
fn is_synced_now(durable: u64, reserved: u64, segment_bytes: u64) -> bool {
    let live_base = reserved - reserved % segment_bytes;
    live_base < durable && reserved.saturating_sub(durable) < WARM_BYTES
}

fn successor(shared: &Shared, base: u64) -> Result<Segment, StorageError> {
    let view = shared.segments.view();
    let last = view.table().list().last().expect("open made the first segment");
    let header = SegmentHeader {
        base,
        salt: super::random_u64(&shared.dir)?,
        prev_salt: last.header.salt,
        prev_end: base,
        durable: shared.group.durable().min(base),
        created_ns: shared.clock.now_ns(),
        ..last.header
    };
    Segment::create(&*shared.storage, &shared.dir, header)
}

/// Makes durable what lies in full segments.
fn settle_full_segments(shared: &Shared) {
    let full = FullSegments(shared);
    let end = full.upto();
    if shared.group.durable() < end {
        // A failure poisons the log, which the next append and the stats report.
        let _ = shared.group.wait(end, &full);
    }
}

/// Syncs up to the last full segment only: the live one is somebody else's to ask for.
struct FullSegments<'a>(&'a Shared);

impl Syncing for FullSegments<'_> {
    fn upto(&self) -> u64 {
        let committed = self.0.tail.committed().end();
        committed - committed % self.0.sizes.segment_bytes
    }

    fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
        let view = self.0.segments.view();
        let full = |one: &&Arc<Segment>| range.start < one.end && one.end <= range.end;
        view.table().list().iter().filter(full).for_each(|segment| segment.unload());
        self.0.sync(range)
    }
}

/// What an open prepares itself before it serves.
pub(crate) fn first_step(shared: &Shared) -> Result<(), Arc<StorageError>> {
    prepare_step(shared, shared.tail.limit(), step_bytes(shared), false)
}

fn step_bytes(shared: &Shared) -> u64 {
    STEP_BYTES.min(shared.sizes.segment_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Budget, Log, LogOptions, Record};

    /// Page faults of the calling thread that needed no disk.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_name = &stat[stat.rfind(')').unwrap() + 2..];
        behind_name.split(' ').nth(7).unwrap().parse().unwrap()
    }

    fn append(log: &Log, bytes: u64) {
        let body = vec![7; bytes as usize - 32];
        let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[&body] };
        log.append(&record, Budget::Publish).unwrap();
    }

    fn wait_for(condition: impl Fn() -> bool) {
        while !condition() {
            crate::sync::thread::yield_now();
        }
    }

    /// Promise: where nobody syncs, a writer's stores meet pages that are ready. Not on kernels before 5.14.
    #[test]
    fn a_writer_that_nobody_syncs_meets_no_cold_page() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), LogOptions::new().segment_bytes(1 << 24)).unwrap();
        let shared = &log.shared;
        append(&log, 4096);
        // While the live segment is prepared it is synced too.
        wait_for(|| shared.tail.limit() >= shared.tail.reserved() + (1 << 24));
        let begun = shared.tail.reserved();
        while shared.tail.reserved() < begun + WARM_BYTES {
            append(&log, 4096);
        }
        wait_for(|| !shared.preparer.runs_cold(shared.tail.reserved() + 4096));
        let before = faults();
        for _ in 0..100 {
            append(&log, 4096);
        }
        assert!(faults() - before < 50, "{} faults on 100 pages", faults() - before);
    }

    #[test]
    fn pages_are_kept_warm_unless_the_live_segment_is_synced_often() {
        const SEGMENT: u64 = 64 << 20;
        let live = 5 * SEGMENT;
        assert!(
            !is_synced_now(live, live + 100, SEGMENT),
            "housekeeping made the one before durable"
        );
        assert!(!is_synced_now(live - SEGMENT, live + 100, SEGMENT), "nobody did");
        assert!(is_synced_now(live + 64, live + 128, SEGMENT));
        assert!(is_synced_now(live + 64, live + WARM_BYTES, SEGMENT));
        assert!(!is_synced_now(live + 64, live + 64 + WARM_BYTES, SEGMENT), "long ago");
    }
}
