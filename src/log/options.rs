//! `LogOptions`: the sizes of a log, checked before anything is touched.

use super::error::LogError;
use super::format::{HEADER_PAGE_BYTES, POSITION_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// 64 MiB.
const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// 8 GiB.
const DISK_MAX_BYTES_DEFAULT: u64 = 8 << 30;
/// One segment to publish into, one that is reserved for settlements.
const SEGMENTS_MIN: u64 = 2;

/// The sizes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    segment_bytes: u64,
    disk_max_bytes: u64,
}

impl LogOptions {
    /// Segments of 64 MiB, 8 GiB of disk.
    pub const fn new() -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, disk_max_bytes: DISK_MAX_BYTES_DEFAULT }
    }

    /// Bytes of a new segment: a power of two from 64 KiB to 1 GiB. A frame is at most 32 bytes smaller. Segments of
    /// other sizes that are there already stay as they are.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes of disk that all segment files together may take; at least two segments with their header pages. One
    /// segment of it is kept for [`Budget::Settle`](super::Budget::Settle).
    ///
    /// Each open starts a new segment, and gets it even where the limit leaves no room, so that a full log can be
    /// settled: by that the limit may be passed, by at most one segment at a time.
    #[must_use]
    pub const fn disk_max_bytes(mut self, bytes: u64) -> Self {
        self.disk_max_bytes = bytes;
        self
    }

    /// The sizes, if they are possible.
    pub(crate) fn check(&self) -> Result<Sizes, LogError> {
        let Self { segment_bytes, disk_max_bytes } = *self;
        let sized = segment_bytes.is_power_of_two()
            && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes);
        if !sized {
            let reason = "a power of two from 64 KiB to 1 GiB";
            return Err(LogError::Option { key: "segment_bytes", value: segment_bytes, reason });
        }
        let file_bytes = segment_bytes + HEADER_PAGE_BYTES;
        let roomy = (SEGMENTS_MIN * file_bytes..=POSITION_MAX / 2).contains(&disk_max_bytes);
        if !roomy {
            let reason = "at least two segments of segment_bytes + 4096 bytes";
            return Err(LogError::Option { key: "disk_max_bytes", value: disk_max_bytes, reason });
        }
        Ok(Sizes { segment_bytes, disk_max_bytes })
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Sizes that are possible.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub segment_bytes: u64,
    pub disk_max_bytes: u64,
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
