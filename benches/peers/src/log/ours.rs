//! Millstream's log as the tables use it: a folder, a log, and room that was prepared before the clock runs.

use crate::pages::populate;
use crate::plan::Effort;
use millstream::log::{Budget, Log, LogOptions, Position, Record};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Bytes of a record's frame beside its body.
const FRAME_HEADER_BYTES: u64 = 32;
/// Looks at what is prepared.
const LOOK: Duration = Duration::from_millis(2);
/// Looks without a change after which the preparation rests: longer than a step and the pause behind it.
const LOOKS_AT_REST: u32 = 60;

/// A log and its folder.
pub struct Ours {
    /// The log.
    pub log: Log,
    /// Where it is.
    pub dir: TempDir,
}

/// What an append of such a body takes.
pub fn frame_bytes(body: usize) -> u64 {
    (FRAME_HEADER_BYTES + body as u64).next_multiple_of(FRAME_HEADER_BYTES)
}

/// Appends that body.
pub fn append(log: &Log, body: &[u8]) -> Position {
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[body] };
    log.append(&record, Budget::Publish).expect("there is room").end
}

impl Ours {
    /// A new one.
    pub fn new(effort: &Effort, segment_bytes: u64, disk_max_bytes: u64) -> Self {
        let dir = effort.folder();
        let options = LogOptions::new().segment_bytes(segment_bytes).disk_max_bytes(disk_max_bytes);
        let log = Log::open(dir.path(), options).expect("a new log");
        Self { log, dir }
    }

    /// A new one with room for `bytes`, and nothing being prepared until they are appended: that would begin with the
    /// second half of a segment.
    pub fn at_rest(effort: &Effort, bytes: u64) -> Self {
        let segment = (bytes * 5 / 2).next_power_of_two().clamp(1 << 20, 1 << 30);
        let new = Self::new(effort, segment, 16 << 30);
        new.rest(bytes);
        new
    }

    /// Returns when there is room for `bytes` and nothing is being prepared.
    pub fn rest(&self, bytes: u64) {
        let (mut prepared, mut looks) = (0, 0);
        while looks < LOOKS_AT_REST {
            let stats = self.log.stats();
            let now = stats.prepared.as_u64();
            let roomy = now - stats.committed.as_u64() >= bytes;
            looks = if roomy && now == prepared { looks + 1 } else { 0 };
            prepared = now;
            if !roomy {
                // Only an append rings for more.
                append(&self.log, &[0]);
            }
            thread::sleep(LOOK);
        }
    }

    /// Takes the faults of the next `bytes` before the clock runs.
    pub fn populate(&self, bytes: u64) {
        let from = self.log.committed().as_u64();
        let populated = populate(&self.log, self.dir.path(), from..from + bytes);
        assert_eq!(populated, bytes, "what comes next is mapped");
    }
}
