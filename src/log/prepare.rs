//! Housekeeping: segments are prepared ahead of the writers, so that a publisher never creates a file.
//!
//! One thread per log. It sleeps until a writer comes near the prepared end, then prepares in steps of 256 KiB until a
//! segment's worth lies ahead. When nobody is in need it syncs each step and pauses for as long as the step took, so
//! that it takes at most half of the disk from those who wait for durability. When a writer waits it does neither: the
//! writer's own group sync covers the zeros.
//!
//! When it has time it also makes full segments durable, even where nobody asks for it: so recovery has little to write
//! again, and a power loss costs little more than the last segments. A writer that outruns the preparation comes first:
//! while it does, only the kernel's own write-back bounds what is not on disk.
//!
//! # Orderings
//!
//! `kicked` is [relaxed]: it saves writers the lock. A kick that is lost in a race with the thread falling asleep comes
//! again with the next append, and a writer that has to wait rings under the lock. All else is under the lock, or [L4].

use super::error::StorageError;
use super::format::SegmentHeader;
use super::group::Syncing;
use super::segment::Segment;
use super::write::Shared;
use crate::clock::Clock;
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Prepared at a time.
const STEP_BYTES: u64 = 256 << 10;
/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What writers and the housekeeping thread say to one another.
#[derive(Debug, Default)]
pub(crate) struct Preparer {
    kicked: AtomicBool,
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
            while let Some(pause) = self.work_once(shared) {
                let in_haste = pause.is_zero();
                if !in_haste {
                    settle_full_segments(shared);
                }
                if !self.rest(pause) {
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
    fn rest(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return false;
            }
            if state.waiting > 0 {
                return true;
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
        let wanted = (reserved + shared.segment_bytes).max(needed).next_multiple_of(step);
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
        committed - committed % self.0.segment_bytes
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
    STEP_BYTES.min(shared.segment_bytes)
}
