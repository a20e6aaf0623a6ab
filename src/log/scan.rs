//! Looking at segment files: which there are, and what each holds. Nothing is decided here and nothing changed.
//!
//! Files are read by `pread`, not through a map, so that a read error of the disk is a value. A segment is walked frame
//! by frame up to its **stop**: where its successor says it ends, or the end of its capacity. Where something is not a
//! whole frame an [`Anomaly`] is noted. A damaged body is skipped exactly, since the header vouches for the length;
//! behind anything else the walk looks for the next whole header at 32-byte steps.

use super::checkpoint;
use super::disk::{Storage, Stored};
use super::error::{Action, Damage, DamageKind, LogError, StorageError};
use super::fault::{Fault, planted_in};
use super::format::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, HEADER_PAGE_BYTES, HeaderFault, HeaderRead, Kind,
    SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::segment::EXTENSION;
use super::storage::Access;
use crate::sync::Arc;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Read at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// The extension of a segment that was never finished.
const TEMPORARY: &str = "tmp";

/// A directory's files, as far as they are a log's.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// By base.
    pub segments: Vec<Listed>,
    /// In no order.
    pub checkpoints: Vec<checkpoint::Listed>,
    /// Files that were never given their name.
    pub temporaries: Vec<PathBuf>,
}

/// One segment file.
#[derive(Debug)]
pub(crate) struct Listed {
    pub path: PathBuf,
    pub name_base: u64,
    pub file_bytes: u64,
    pub header: Result<SegmentHeader, HeaderFault>,
}

impl Listed {
    /// Is there nothing in it but zeros, apart from a header that is ours?
    pub fn blank(&self, storage: &dyn Storage) -> Result<bool, StorageError> {
        if HEADER_PAGE_BYTES + SEGMENT_BYTES_MAX < self.file_bytes {
            return Ok(false); // no segment of ours, and nothing to read for hours
        }
        let from = if self.header == Err(HeaderFault::NotOurs) { 0 } else { HEADER_PAGE_BYTES };
        let file = open(storage, &self.path)?;
        let mut window = Window::new(&*file, &self.path)?;
        let mut at = from;
        while at < self.file_bytes {
            let piece = (self.file_bytes - at).min(FRAME_ALIGN) as usize;
            let zero =
                window.get(at, piece)?.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
            if !zero {
                return Ok(false);
            }
            at += piece as u64;
        }
        Ok(true)
    }

    /// Damage of this file's header.
    pub fn damaged(&self) -> LogError {
        Damage { file: self.path.clone(), offset: 0, what: DamageKind::SegmentHeader }.into()
    }
}

/// Lists the segments of a directory and reads their headers.
pub(crate) fn list(storage: &dyn Storage, dir: &Path) -> Result<Listing, StorageError> {
    let mut listing = Listing::default();
    for path in storage.list(dir).map_err(StorageError::on(Action::List, dir))? {
        let unnamed =
            path.file_stem().filter(|_| path.extension().is_some_and(|it| it == TEMPORARY));
        let is_ours = |stem: &Path| base_of(stem).or(checkpoint::sequence_of(stem)).is_some();
        if unnamed.is_some_and(|stem| is_ours(Path::new(stem))) {
            listing.temporaries.push(path);
        } else if let Some(sequence) = checkpoint::sequence_of(&path) {
            listing.checkpoints.push(checkpoint::Listed { path, sequence });
        } else if let Some(name_base) = base_of(&path) {
            listing.segments.push(look(storage, path, name_base)?);
        }
    }
    listing.segments.sort_by_key(|one| one.name_base);
    Ok(listing)
}

/// The base that a segment's file name says.
fn base_of(path: &Path) -> Option<u64> {
    number_of(path, EXTENSION)
}

/// The number that is the name of a file with that extension: 16 hex digits.
pub(crate) fn number_of(path: &Path, extension: &str) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let named = path.extension()? == extension && stem.len() == 16;
    let digits = stem.bytes().all(|sign| sign.is_ascii_hexdigit() && !sign.is_ascii_uppercase());
    if named && digits { u64::from_str_radix(stem, 16).ok() } else { None }
}

fn look(storage: &dyn Storage, path: PathBuf, name_base: u64) -> Result<Listed, StorageError> {
    let file = open(storage, &path)?;
    let mut window = Window::new(&*file, &path)?;
    let file_bytes = window.file_bytes;
    let start = file_bytes.min(SEGMENT_HEADER_BYTES as u64) as usize;
    let header = match window.get(0, start)? {
        Some(bytes) => SegmentHeader::decode(bytes),
        None => Err(HeaderFault::NotOurs),
    };
    Ok(Listed { path, name_base, file_bytes, header })
}

fn open(storage: &dyn Storage, path: &Path) -> Result<Arc<dyn Stored>, StorageError> {
    storage.open(path, Access::Read).map_err(StorageError::on(Action::Open, path))
}

/// What stands where a whole frame should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anomalous {
    /// Nothing was committed.
    Zero,
    /// Something that is no header.
    Header,
    /// A header, and a body that does not match it.
    Body,
    /// A body that matches, with an impossible inside.
    Inside,
}

/// A place where no whole frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anomaly {
    pub at: u64,
    /// Where frames go on, or the stop.
    pub until: u64,
    pub what: Anomalous,
    /// Whole frames of this segment in front of it.
    pub frames_before: u64,
    /// Is there a whole frame behind it, in this segment?
    pub followed: bool,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub frames: u64,
    pub records: u64,
    pub anomalies: Vec<Anomaly>,
    /// The greatest position that some frame here knew to be durable.
    pub durable: u64,
    /// The kind of the frame that the segment starts with, if that is whole and was looked at.
    pub first: Option<Kind>,
    /// The last whole frame: its kind, and where it ends.
    pub last: Option<(Kind, u64)>,
}

/// Walks the frames of a segment in `range`; it starts with one. `progress` hears of the bytes read.
pub(crate) fn scan(
    storage: &dyn Storage,
    listed: &Listed,
    header: &SegmentHeader,
    range: Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Scan, StorageError> {
    let file = open(storage, &listed.path)?;
    let mut walk = Walk {
        window: Window::new(&*file, &listed.path)?,
        header: *header,
        stop: range.end,
        unchecked: planted_in(storage, Fault::BodyUnchecked),
        found: Scan::default(),
    };
    let mut at = range.start;
    while at < range.end {
        let from = at;
        at = walk.step(at)?;
        progress(at - from);
    }
    // "Followed" was noted as "the walk found a place to go on"; what counts is a frame whose body is whole too.
    let mut found = walk.found;
    for anomaly in &mut found.anomalies {
        anomaly.followed = anomaly.frames_before < found.frames;
    }
    Ok(found)
}

/// Shows what is in `range` of a segment, place by place, until `show` answers `false`: where it is, where the next place
/// is, and the frame, or what stands in its stead. Answers whether `show` wants more.
pub(crate) fn places(
    storage: &dyn Storage,
    listed: &Listed,
    header: &SegmentHeader,
    range: Range<u64>,
    show: &mut dyn FnMut(Range<u64>, Option<FrameHeader>, Option<Anomalous>) -> bool,
) -> Result<bool, StorageError> {
    let file = open(storage, &listed.path)?;
    let window = Window::new(&*file, &listed.path)?;
    let mut walk =
        Walk { window, header: *header, stop: range.end, unchecked: false, found: Scan::default() };
    let mut at = range.start;
    while at < range.end {
        let frame = match walk.read(at)? {
            HeaderRead::Good(frame) => Some(frame),
            HeaderRead::Zero | HeaderRead::Bad => None,
        };
        let next = walk.step(at)?;
        let instead = walk.found.anomalies.pop().map(|anomaly| anomaly.what);
        if !show(at..next, frame, instead) {
            return Ok(false);
        }
        at = next;
    }
    Ok(true)
}

struct Walk<'a> {
    window: Window<'a>,
    header: SegmentHeader,
    stop: u64,
    unchecked: bool,
    found: Scan,
}

impl Walk<'_> {
    /// Passes what is at `at`; answers where to go on.
    fn step(&mut self, at: u64) -> Result<u64, StorageError> {
        match self.read(at)? {
            HeaderRead::Zero => self.gap(at, Anomalous::Zero),
            HeaderRead::Bad => self.gap(at, Anomalous::Header),
            HeaderRead::Good(frame) => {
                let end = at + frame.span();
                self.found.durable = self.found.durable.max(frame.durable(at).unwrap_or(0));
                match self.inside(at, &frame)? {
                    Ok(records) => {
                        self.found.frames += 1;
                        self.found.records += records;
                        if at == self.header.base {
                            self.found.first = Some(frame.kind);
                        }
                        self.found.last = Some((frame.kind, end));
                    }
                    Err(what) => self.note(at, end, what),
                }
                Ok(end)
            }
        }
    }

    fn read(&mut self, at: u64) -> Result<HeaderRead, StorageError> {
        let offset = HEADER_PAGE_BYTES + at - self.header.base;
        let seal = self.header.seal();
        let found = self.window.get(offset, FRAME_HEADER_BYTES)?;
        let bytes = found.and_then(|bytes| bytes.first_chunk());
        Ok(bytes.map_or(HeaderRead::Zero, |bytes| FrameHeader::read(bytes, seal, at, self.stop)))
    }

    /// Checks a frame's body; answers how many records are in it.
    fn inside(
        &mut self,
        at: u64,
        frame: &FrameHeader,
    ) -> Result<Result<u64, Anomalous>, StorageError> {
        let body = HEADER_PAGE_BYTES + at - self.header.base + FRAME_HEADER_BYTES as u64;
        if frame.kind == Kind::Pad {
            return Ok(Ok(0));
        }
        let whole =
            self.window.crc(body, frame.body_bytes())? == Some(frame.body_crc) || self.unchecked;
        if !whole {
            return Ok(Err(Anomalous::Body));
        }
        match frame.kind {
            Kind::Record => Ok(Ok(1)),
            Kind::Batch => self.batch(body, frame),
            Kind::Pad | Kind::Open | Kind::Close => Ok(Ok(0)),
        }
    }

    fn batch(
        &mut self,
        body: u64,
        frame: &FrameHeader,
    ) -> Result<Result<u64, Anomalous>, StorageError> {
        let end = body + frame.body_bytes();
        let mut at = body;
        let mut records = 0;
        while at < end {
            let room = end - at;
            let bytes = self.window.get(at, FRAME_HEADER_BYTES)?;
            let inner = bytes
                .and_then(|bytes| bytes.first_chunk())
                .and_then(|bytes| FrameHeader::read_inner(bytes, room));
            let distance = (at - body) / FRAME_ALIGN + 1;
            match inner {
                Some(inner) if u64::from(inner.durable_lag) == distance => at += inner.span(),
                _ => return Ok(Err(Anomalous::Inside)),
            }
            records += 1;
        }
        let counted = records == u64::from(frame.topic);
        Ok(if counted { Ok(records) } else { Err(Anomalous::Inside) })
    }

    /// Looks for the next whole header behind `at`.
    fn gap(&mut self, at: u64, what: Anomalous) -> Result<u64, StorageError> {
        let in_file = self.window.file_bytes.saturating_sub(HEADER_PAGE_BYTES) + self.header.base;
        let mut until = at + FRAME_ALIGN;
        loop {
            if until >= self.stop.min(in_file) {
                until = self.stop;
                break;
            }
            if matches!(self.read(until)?, HeaderRead::Good(_)) {
                break;
            }
            until += FRAME_ALIGN;
        }
        self.note(at, until, what);
        Ok(until)
    }

    fn note(&mut self, at: u64, until: u64, what: Anomalous) {
        let frames_before = self.found.frames;
        self.found.anomalies.push(Anomaly { at, until, what, frames_before, followed: false });
    }
}

/// A file, seen through a buffer.
struct Window<'a> {
    file: &'a dyn Stored,
    path: &'a Path,
    file_bytes: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn Stored, path: &'a Path) -> Result<Self, StorageError> {
        let file_bytes = file.bytes().map_err(StorageError::on(Action::Read, path))?;
        Ok(Self { file, path, file_bytes, buffer: Vec::new(), start: 0 })
    }

    /// `bytes` bytes from `offset`; `None` where the file ends before.
    fn get(&mut self, offset: u64, bytes: usize) -> Result<Option<&[u8]>, StorageError> {
        if offset + bytes as u64 > self.file_bytes {
            return Ok(None);
        }
        let held =
            self.start <= offset && offset + bytes as u64 <= self.start + self.buffer.len() as u64;
        if !held {
            let wanted = (self.file_bytes - offset).min(WINDOW_BYTES.max(bytes) as u64);
            self.buffer.resize(wanted as usize, 0);
            self.start = offset;
            if let Err(error) = self.file.read_at(&mut self.buffer, offset) {
                self.buffer.clear();
                return Err(StorageError::on(Action::Read, self.path)(error));
            }
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.buffer[from..from + bytes]))
    }

    /// The checksum of `bytes` bytes from `offset`; `None` where the file ends before.
    fn crc(&mut self, offset: u64, bytes: u64) -> Result<Option<u32>, StorageError> {
        let mut crc = 0;
        let mut done = 0;
        while done < bytes {
            let piece = (bytes - done).min(WINDOW_BYTES as u64 / 2) as usize;
            let Some(part) = self.get(offset + done, piece)? else {
                return Ok(None);
            };
            crc = crc32c::crc32c_append(crc, part);
            done += piece as u64;
        }
        Ok(Some(crc))
    }
}
