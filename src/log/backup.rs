//! Backup: a log's copy that opens by itself, made while the log goes on.
//!
//! ```text
//!   checkpoint in hand -> everything committed made durable: E -> the table of segments, held open
//!   TO.partial: full segments linked, the one that E lies in copied up to E, the checkpoint written; all synced
//!   TO.partial -> TO, synced
//! ```
//!
//! # Which files are linked, and why nobody writes through both names
//!
//! A file is linked if it lies below `E` as a whole, has no dead reservation in it, is as long as its frames are, and is not
//! the last one. All its frames are committed and durable. Nobody writes to it again: appends and preparation go to later
//! files; an open pads only dead reservations and cuts only what is longer; what it writes again above its `D` is what the
//! file holds already; a trim takes a name away, not the file; and a repair never changes a file in place. The last file is
//! always copied, since its owner goes on in it, and so is any other that does not fit.
//!
//! Checkpoint, `E` and table are taken while no trim can run, so the table has all that the checkpoint needs. A segment that
//! is trimmed after that is copied from the open file.
//!
//! # Limits
//!
//! A link shares the bytes of the disk: it keeps against a program's mistake and an operator's, not against the disk. A
//! backup that was interrupted leaves `TO.partial`, which is in the way of the next one until somebody removes it.

use super::checkpoint::{Checkpoint, Checkpoints};
use super::disk::{self, Storage};
use super::error::{Action, LogError, StorageError};
use super::format::{HEADER_PAGE_BYTES, Position};
use super::mend::write_pad;
use super::segment::{Segment, Table, trimmed_bytes};
use super::write::Shared;
use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};

/// Hears of the bytes done, and of how many there are.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Segments in it.
    pub segments: u64,
    /// Of those, how many are links.
    pub linked: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Where the copy of the log ends.
    pub end: Position,
    /// The checkpoint in it.
    pub checkpoint: Option<u64>,
}

/// Makes the copy of what lies in `table` below `end`, which is committed.
pub(crate) fn backup(
    shared: &Shared,
    checkpoint: Option<Arc<Checkpoint>>,
    (table, end): (&Table, u64),
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Backup, LogError> {
    let storage = &*shared.storage;
    let partial = partial_name(to)?;
    check_free(to)?;
    check_free(&partial)?;
    storage.make_dir(&partial)?;
    let filled = fill(shared, checkpoint, (table, end), &partial, progress);
    let named = filled.and_then(|backup| {
        storage.rename(&partial, to).map_err(StorageError::on(Action::Rename, to))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk::sync_dir(storage, parent.unwrap_or(Path::new(".")))?;
        Ok(backup)
    });
    if named.is_err() {
        // The failure is what counts. What was made here would only be in the way.
        let _ = std::fs::remove_dir_all(&partial);
    }
    named
}

fn fill(
    shared: &Shared,
    checkpoint: Option<Arc<Checkpoint>>,
    (table, end): (&Table, u64),
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Backup, LogError> {
    let storage = &*shared.storage;
    let kept = table.list().iter().filter(|segment| segment.header.base < end);
    let kept: Vec<_> = kept.cloned().collect();
    let total = kept.iter().map(|segment| kept_bytes(segment, end)).sum();
    let mut backup = Backup {
        segments: kept.len() as u64,
        linked: 0,
        bytes: total,
        end: Position::of(end),
        checkpoint: checkpoint.as_ref().map(|one| one.sequence()),
    };
    let mut done = 0;
    for (index, segment) in kept.iter().enumerate() {
        let name = segment.path.file_name().expect("a segment's file has a name");
        let copy = to.join(name);
        let last = index + 1 == kept.len();
        if !last && is_final(segment, end)? && storage.link(&segment.path, &copy).is_ok() {
            // Beside an owner it may be in the page cache only.
            let synced = segment.stored().sync_data();
            synced.map_err(StorageError::on(Action::Sync, &segment.path))?;
            backup.linked += 1;
            done += kept_bytes(segment, end);
            progress(done, total);
            continue;
        }
        copy_segment(storage, segment, end, to, &copy, &mut |bytes| {
            done += bytes;
            progress(done, total);
        })?;
    }
    if let Some(one) = checkpoint {
        Checkpoints::default().write(storage, to, *one.head(), one.body())?;
    }
    disk::sync_dir(storage, to)?;
    Ok(backup)
}

/// Will nobody write to it any more?
fn is_final(segment: &Segment, end: u64) -> Result<bool, StorageError> {
    let bytes = segment.stored().bytes().map_err(StorageError::on(Action::Read, &segment.path))?;
    let cut = bytes <= trimmed_bytes(&segment.header, segment.end);
    Ok(segment.end <= end && segment.holes.is_empty() && cut)
}

/// Bytes of a segment up to `end`.
fn kept_bytes(segment: &Segment, end: u64) -> u64 {
    HEADER_PAGE_BYTES + segment.end.min(end) - segment.header.base
}

fn copy_segment(
    storage: &dyn Storage,
    segment: &Segment,
    end: u64,
    dir: &Path,
    copy: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StorageError> {
    let stored = segment.stored();
    let bytes = stored.bytes().map_err(StorageError::on(Action::Read, &segment.path))?;
    let kept = kept_bytes(segment, end);
    disk::publish(storage, dir, copy, |file, temporary| {
        disk::copy((stored, &segment.path), (file, temporary), kept.min(bytes), progress)?;
        for hole in &segment.holes {
            write_pad(file, &segment.header, hole, 0)
                .map_err(StorageError::on(Action::Write, temporary))?;
        }
        let trimmed = trimmed_bytes(&segment.header, segment.end.min(end));
        file.set_bytes(trimmed).map_err(StorageError::on(Action::Allocate, temporary))
    })
    .map(drop)
}

fn partial_name(to: &Path) -> Result<PathBuf, LogError> {
    let Some(name) = to.file_name() else {
        return Err(LogError::NotEmpty { dir: to.to_owned() });
    };
    let mut name = name.to_owned();
    name.push(".partial");
    Ok(to.with_file_name(name))
}

/// Nothing may be there but an empty directory.
fn check_free(dir: &Path) -> Result<(), LogError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(LogError::NotEmpty { dir: dir.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(LogError::NotADirectory { path: dir.to_owned() })
        }
        Err(error) => Err(StorageError::on(Action::Open, dir)(error).into()),
    }
}
