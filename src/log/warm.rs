//! The pages before the tail are kept ready to be stored to.
//!
//! The first store to a page stops its writer for two microseconds, more than ten times what an append costs, and half of
//! that is saved where the kernel does many pages at once. So housekeeping keeps the next [`WARM_BYTES`] before the tail in
//! the page tables; each half of it that is used up rings for the next.
//!
//! Only where nobody syncs the live segment: a sync takes the pages out again, and writes each of them, used or not.
//!
//! # Orderings
//!
//! `upto` is [relaxed]: advice. A page that is not ready costs its writer the time, and nothing else.
//!
//! # Limits
//!
//! A writer that outruns the thread meets cold pages. Kernels before 5.14 cannot make pages ready: there all are cold.

use super::write::Shared;
use crate::sync::{AtomicU64, Ordering};

/// How far before the tail the pages are kept ready. It lasts for a millisecond at half a gigabyte a second, and a sync
/// that comes just then writes this much more: a millisecond too.
const WARM_BYTES: u64 = 1 << 20;

/// How far the pages are ready.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// Up to here they are, or it was not worth while.
    upto: AtomicU64,
}

impl Warm {
    /// Is what is ready behind `end` less than half of what shall be, and is there more below `limit`?
    #[inline]
    pub fn runs_short(&self, end: u64, limit: u64) -> bool {
        self.upto.load(Ordering::Relaxed) < limit.min(end + WARM_BYTES / 2) // [relaxed]
    }

    /// Makes the pages before the tail ready. One thread does this.
    pub fn up(&self, shared: &Shared) {
        let reserved = shared.tail.reserved();
        let end = (reserved + WARM_BYTES).min(shared.tail.limit());
        let from = self.upto.load(Ordering::Relaxed).max(reserved); // [relaxed]
        if end <= from {
            return;
        }
        if !is_synced_now(shared.group.durable(), reserved, shared.sizes.segment_bytes) {
            let (view, range) = (shared.segments.view(), from..end);
            let live = view.table().list().iter().rev().take_while(|one| range.start < one.end);
            live.for_each(|segment| segment.warm_for_writing(&range));
        }
        self.upto.store(end, Ordering::Relaxed); // [relaxed]
    }
}

/// Does somebody sync the live segment, so often that warm pages would be cold again before they are used?
fn is_synced_now(durable: u64, reserved: u64, segment_bytes: u64) -> bool {
    let live_base = reserved - reserved % segment_bytes;
    live_base < durable && reserved.saturating_sub(durable) < WARM_BYTES
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
        wait_for(|| !shared.warm.runs_short(shared.tail.reserved() + 4096, shared.tail.limit()));
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
