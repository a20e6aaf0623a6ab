//! Housekeeping: segments are prepared ahead of the writers, so that a publisher never creates a file.
//!
//! One thread per log. It sleeps until a writer comes near the prepared end, then prepares in steps of 256 KiB until a
//! segment's worth lies ahead. When nobody is in need it syncs each step and pauses for as long as the step took, so
//! that it takes at most half of the disk from those who wait for durability. When a writer waits it does neither: the
//! writer's own group sync covers the zeros.
//!
//! When it has time it also makes full segments durable, even where nobody asks for it: so recovery has little to write
//! again, and a power loss costs little more than the last segments. A writer that outruns the preparation comes first:
//! while it does, only the kernel's own write-back bounds what is not on disk. Before that it writes their
//! indexes: see `index`.
//!
//! How writers and that thread find one another is the page of `preparer`.

use super::error::{Action, StorageError};
use super::format::SegmentHeader;
use super::group::Syncing;
use super::index;
use super::preparer::{self, Ground};
use super::segment::Segment;
use super::write::Shared;
use crate::clock::Clock;
use crate::sync::Arc;
use std::ops::Range;

pub(crate) use super::preparer::NoRoom;

/// Prepared at a time.
const STEP_BYTES: u64 = 256 << 10;

/// What writers and the housekeeping thread say to one another.
pub(crate) type Preparer = preparer::Preparer<Arc<StorageError>>;

impl Ground for Shared {
    type Refusal = Arc<StorageError>;

    fn limit(&self) -> u64 {
        self.tail.limit()
    }

    fn wanted(&self, needed: u64) -> u64 {
        // A frame that does not fit the rest of its segment ends in the next one: further than a segment away.
        let ahead = (self.tail.reserved() + self.sizes.segment_bytes).max(needed);
        ahead.next_multiple_of(step_bytes(self)).min(self.tail.settle_max())
    }

    fn has_plenty(&self) -> bool {
        self.tail.limit() - self.tail.reserved() >= self.low_water()
    }

    fn prepare(&self, limit: u64, calm: bool) -> Result<(), Arc<StorageError>> {
        prepare_step(self, limit, step_bytes(self), calm)
    }

    fn on_kick(&self) {
        self.warm.up(self);
    }

    fn at_leisure(&self) {
        // First: the sync takes the segments out of the page tables, and the walk would bring them back.
        index::write_full(self);
        settle_full_segments(self);
    }
}

/// Prepares the step that begins at `limit`, and says so. Only one thread does this at a time.
fn prepare_step(
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
        segment.sync_apart(&*shared.storage, &shared.faults).map_err(|error| {
            // The pages that were not written may be the frames'.
            if error.action == Action::Sync { shared.poison(error) } else { Arc::new(error) }
        })?;
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
    type Error = StorageError;

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

    fn failed(&self) {
        self.0.failed();
    }
}

/// What an open prepares itself before it serves.
pub(crate) fn first_step(shared: &Shared) -> Result<(), Arc<StorageError>> {
    prepare_step(shared, shared.tail.limit(), step_bytes(shared), false)
}

fn step_bytes(shared: &Shared) -> u64 {
    STEP_BYTES.min(shared.sizes.segment_bytes)
}
