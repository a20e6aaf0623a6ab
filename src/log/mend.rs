//! What a repair does to the files, each step whole or not at all: see [`repair`](super::repair) for which and why.
//!
//! ```text
//!   copy with the remedy in it -> temporary name, synced -> the damaged file gets a second name in damaged-N/, synced
//!                              -> the copy is renamed over it, synced
//! ```

use super::disk::{self, Storage, Stored};
use super::error::{Action, LogError, StorageError};
use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, HEADER_PAGE_BYTES, SegmentHeader, durable_lag,
};
use super::storage::Access;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file to be written anew.
pub(super) struct Fix {
    pub from: PathBuf,
    pub to: PathBuf,
    pub header: SegmentHeader,
    pub file_bytes: u64,
    pub pads: Vec<Range<u64>>,
}

/// A segment that stands in for what is missing.
pub(super) struct Bridge {
    pub path: PathBuf,
    pub header: SegmentHeader,
    pub pad: Range<u64>,
}

/// The first directory `damaged-N` that is not there yet.
pub(super) fn make_originals(storage: &dyn Storage, dir: &Path) -> Result<PathBuf, LogError> {
    let taken = storage.list(dir).map_err(StorageError::on(Action::List, dir))?;
    let free = |number: &u32| !taken.contains(&dir.join(format!("damaged-{number}")));
    let number = (0..).find(free).expect("a directory has fewer names than there are numbers");
    let originals = dir.join(format!("damaged-{number}"));
    storage.make_dir(&originals)?;
    Ok(originals)
}

/// Gives a file a second name among the originals, or, where the file system has no such thing, a copy.
pub(super) fn keep(
    storage: &dyn Storage,
    path: &Path,
    originals: &Path,
) -> Result<(), StorageError> {
    let name = path.file_name().expect("a listed file has a name");
    let kept = originals.join(name);
    if storage.link(path, &kept).is_err() {
        let file =
            storage.open(path, Access::Read).map_err(StorageError::on(Action::Open, path))?;
        let bytes = file.bytes().map_err(StorageError::on(Action::Read, path))?;
        disk::publish(storage, originals, &kept, |copy, temporary| {
            disk::copy((&*file, path), (copy, temporary), bytes, &mut |_| {})
        })?;
    }
    disk::sync_dir(storage, originals)
}

/// Writes a PAD over the positions `pad` of a segment.
pub(crate) fn write_pad(
    file: &dyn Stored,
    header: &SegmentHeader,
    pad: &Range<u64>,
    durable: u64,
) -> std::io::Result<()> {
    let bytes = (pad.end - pad.start) as u32; // within a segment, whose capacity is a u32
    // The mark of what is durable that the lost frame may have carried goes on in the PAD.
    let frame = FrameHeader::pad(bytes, durable_lag(pad.start, durable));
    file.write_at(
        &frame.encode(header.seal(), pad.start),
        HEADER_PAGE_BYTES + pad.start - header.base,
    )
}

impl Fix {
    pub fn apply(
        &self,
        storage: &dyn Storage,
        dir: &Path,
        durable: u64,
    ) -> Result<(), StorageError> {
        let Self { from, to, header, file_bytes, pads } = self;
        let damaged =
            storage.open(from, Access::Read).map_err(StorageError::on(Action::Open, from))?;
        let file = disk::publish(storage, dir, to, |copy, temporary| {
            disk::copy((&*damaged, from), (copy, temporary), *file_bytes, &mut |_| {})?;
            let failed = || StorageError::on(Action::Write, temporary);
            copy.write_at(&header.encode(), 0).map_err(failed())?;
            for pad in pads {
                write_pad(copy, header, pad, durable).map_err(failed())?;
            }
            let behind = pads.last().map_or(0, |pad| pad.start + FRAME_HEADER_BYTES as u64);
            let needed = HEADER_PAGE_BYTES + behind.saturating_sub(header.base);
            let bytes = needed.max(*file_bytes).next_multiple_of(HEADER_PAGE_BYTES);
            copy.set_bytes(bytes).map_err(StorageError::on(Action::Allocate, temporary))
        })?;
        drop(file);
        if from == to { Ok(()) } else { disk::remove(storage, dir, from) }
    }
}

impl Bridge {
    pub fn apply(
        &self,
        storage: &dyn Storage,
        dir: &Path,
        durable: u64,
    ) -> Result<(), StorageError> {
        let Self { path, header, pad } = self;
        disk::publish(storage, dir, path, |file, temporary| {
            file.set_bytes(2 * HEADER_PAGE_BYTES)
                .map_err(StorageError::on(Action::Allocate, temporary))?;
            let failed = || StorageError::on(Action::Write, temporary);
            file.write_at(&header.encode(), 0).map_err(failed())?;
            match pad.is_empty() {
                true => Ok(()),
                false => write_pad(file, header, pad, durable).map_err(failed()),
            }
        })
        .map(drop)
    }
}
