//! Every frame of a log as it lies on disk, whole or not: for people who look into one.
//!
//! Takes no lock and changes nothing, so it may stand beside an owner, and it goes on over damage, where an
//! [`Archive`](super::Archive) refuses. A segment whose header cannot be read is passed over: [`verify`](super::verify)
//! names it. Zeros behind the last frame, and segments that are prepared ahead, are no place.

use super::archive::check_directory;
use super::disk::DiskStorage;
use super::error::LogError;
use super::format::{FrameHeader, HEADER_PAGE_BYTES, Kind, Position};
use super::scan::{self, Anomalous};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A frame, or a gap where one should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// The segment's file.
    pub file: PathBuf,
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// Where it begins, and where the next place is.
    pub place: Range<Position>,
    /// `pad`, `record`, `batch`, `open` or `close`; `gap` where no header is.
    pub kind: &'static str,
    /// Header and body, in bytes; of a gap its extent.
    pub bytes: u64,
    /// The caller's 16 bits.
    pub tag: u16,
    /// The caller's 32 bits; of a batch the number of its records.
    pub topic: u32,
    /// The caller's time, in nanoseconds.
    pub time_ns: u64,
    /// What the checksums say.
    pub state: FrameState,
}

/// What the checksums say of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameState {
    /// Both hold.
    Whole,
    /// There is nothing.
    Missing,
    /// There is something that is no header.
    Header,
    /// The header's holds, the body's does not.
    Body,
    /// Both hold, but the inside is impossible.
    Inside,
}

/// Shows each place of the log in `dir` that ends behind `from`, oldest first, until `show` answers `false`.
///
/// # Errors
///
/// [`LogError::NoLog`] if there is no segment, [`LogError::Storage`] if the disk cannot be read.
pub fn frames(
    dir: &Path,
    from: Position,
    mut show: impl FnMut(&FrameInfo) -> bool,
) -> Result<(), LogError> {
    check_directory(dir)?;
    let segments = scan::list(&DiskStorage, dir)?.segments;
    if segments.is_empty() {
        return Err(LogError::NoLog { dir: dir.to_owned() });
    }
    // Zeros up to a segment's end are a gap only if something comes behind.
    let mut unused = Vec::new();
    for (index, listed) in segments.iter().enumerate() {
        let Ok(header) = listed.header else { continue };
        let next = segments.get(index + 1).and_then(|next| next.header.ok());
        let follows = next.filter(|next| next.prev_salt == header.salt);
        let stop = follows.map_or(header.capacity_end(), |next| next.prev_end);
        if stop <= from.as_u64() {
            continue;
        }
        let mut each = |place: Range<u64>, frame: Option<FrameHeader>, instead| {
            if place.end <= from.as_u64() {
                return true;
            }
            let empty_end = instead == Some(Anomalous::Zero) && place.end == stop;
            let offset = HEADER_PAGE_BYTES + place.start - header.base;
            let told = told(listed.path.clone(), offset, place, frame, instead);
            if empty_end {
                unused.push(told);
                return true;
            }
            unused.drain(..).all(|gap| show(&gap)) && show(&told)
        };
        let range = header.base..stop;
        if !scan::places(&DiskStorage, listed, &header, range, &mut each)? {
            break;
        }
    }
    Ok(())
}

fn told(
    file: PathBuf,
    offset: u64,
    place: Range<u64>,
    frame: Option<FrameHeader>,
    instead: Option<Anomalous>,
) -> FrameInfo {
    let kind = frame.map_or("gap", |frame| match frame.kind {
        Kind::Pad => "pad",
        Kind::Record => "record",
        Kind::Batch => "batch",
        Kind::Open => "open",
        Kind::Close => "close",
    });
    FrameInfo {
        file,
        offset,
        kind,
        bytes: frame.map_or(place.end - place.start, |frame| u64::from(frame.len)),
        place: Position::of(place.start)..Position::of(place.end),
        tag: frame.map_or(0, |frame| frame.tag),
        topic: frame.map_or(0, |frame| frame.topic),
        time_ns: frame.map_or(0, |frame| frame.time_ns),
        state: match instead {
            None => FrameState::Whole,
            Some(Anomalous::Zero) => FrameState::Missing,
            Some(Anomalous::Header) => FrameState::Header,
            Some(Anomalous::Body) => FrameState::Body,
            Some(Anomalous::Inside) => FrameState::Inside,
        },
    }
}
