//! `LogOptions`: the sizes of a log, and where it may lie, checked before anything is touched.

use super::error::LogError;
use super::format::{HEADER_PAGE_BYTES, POSITION_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::syncer::{SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN};
use std::time::Duration;

/// 64 MiB.
const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// 8 GiB.
const DISK_MAX_BYTES_DEFAULT: u64 = 8 << 30;
/// One that is published into, one before it that can be reclaimed, and one that is reserved for settlements: with fewer a
/// full log that is settled could not be reclaimed.
const SEGMENTS_MIN: u64 = 3;

/// The sizes of a log, and where it may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    segment_bytes: u64,
    disk_max_bytes: u64,
    sync_interval: Option<Duration>,
    allow_network: bool,
}

impl LogOptions {
    /// Segments of 64 MiB, 8 GiB of disk, no syncs but those that are asked for, no network file system.
    pub const fn new() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            disk_max_bytes: DISK_MAX_BYTES_DEFAULT,
            sync_interval: None,
            allow_network: false,
        }
    }

    /// Bytes of a new segment: a power of two from 64 KiB to 1 GiB. A frame is at most 32 bytes smaller. Segments of
    /// other sizes that are there already stay as they are.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes of disk that all segment files together may take; at least three segments with their header pages. One
    /// segment of it is kept for [`Budget::Settle`](super::Budget::Settle).
    ///
    /// Each open starts a new segment, and gets it even where the limit leaves no room, so that a full log can be
    /// settled: by that the limit may be passed, by at most one segment at a time.
    #[must_use]
    pub const fn disk_max_bytes(mut self, bytes: u64) -> Self {
        self.disk_max_bytes = bytes;
        self
    }

    /// How often what was appended is made durable without being asked for: at most this long and one sync after its
    /// append (or two syncs, where one takes longer than this). From [`SYNC_INTERVAL_MIN`] to [`SYNC_INTERVAL_MAX`].
    /// While nothing is appended nothing happens.
    #[must_use]
    pub const fn sync_interval(mut self, interval: Option<Duration>) -> Self {
        self.sync_interval = interval;
        self
    }

    /// Lets the log lie on a network file system. There two machines may both own it, a sync promises what the server
    /// promises, and a server that goes away can end the process by SIGBUS.
    #[must_use]
    pub const fn allow_network(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// The sizes, if they are possible.
    pub(crate) fn check(&self) -> Result<Sizes, LogError> {
        let Self { segment_bytes, disk_max_bytes, sync_interval, allow_network } = *self;
        let sized = segment_bytes.is_power_of_two()
            && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes);
        if !sized {
            let reason = "a power of two from 64 KiB to 1 GiB";
            return Err(LogError::Option { key: "segment_bytes", value: segment_bytes, reason });
        }
        let file_bytes = segment_bytes + HEADER_PAGE_BYTES;
        let roomy = (SEGMENTS_MIN * file_bytes..=POSITION_MAX / 2).contains(&disk_max_bytes);
        if !roomy {
            let reason = "at least three segments of segment_bytes + 4096 bytes";
            return Err(LogError::Option { key: "disk_max_bytes", value: disk_max_bytes, reason });
        }
        let allowed = SYNC_INTERVAL_MIN..=SYNC_INTERVAL_MAX;
        if let Some(interval) = sync_interval.filter(|interval| !allowed.contains(interval)) {
            let reason = "in nanoseconds, from 1 ms to 1 h";
            let value = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            return Err(LogError::Option { key: "sync_interval", value, reason });
        }
        Ok(Sizes { segment_bytes, disk_max_bytes, sync_interval, allow_network })
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Options that are possible.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub segment_bytes: u64,
    pub disk_max_bytes: u64,
    pub sync_interval: Option<Duration>,
    pub allow_network: bool,
}

impl Sizes {
    /// Where publishing and where everything ends, by the disk limit: new segments begin at `base`, and lie beside
    /// `old_bytes` of old ones. There is room for one at least.
    pub fn ends(&self, base: u64, old_bytes: u64) -> (u64, u64) {
        let left = self.disk_max_bytes.saturating_sub(old_bytes);
        let allowed = (POSITION_MAX - base) / self.segment_bytes;
        let segments = (left / (self.segment_bytes + HEADER_PAGE_BYTES)).max(1).min(allowed);
        let end = |count: u64| base + count * self.segment_bytes;
        (end(segments.saturating_sub(1)), end(segments))
    }
}
