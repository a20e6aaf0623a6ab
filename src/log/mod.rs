//! A memory-mapped, append-only segment log.
//!
//! Bytes go in under a [`Position`] that stays theirs for ever, and come out of the map as they went in, without a copy.
//! The log never hears of topics or queues: a [`Record`] carries 16 and 32 bits that are its caller's business.
//!
//! ```text
//!   append:  CRC of the body -> reserve (one CAS) -> copy, header -> commit: store the length, help the neighbours
//!            `write.rs`         `tail.rs`            `storage.rs`     `tail.rs`
//!   durable: wait_durable -> one of the waiters syncs for all         `group.rs`
//!            tasks, and an interval: a thread of their own            `future.rs`, `syncer.rs`
//!   read:    Reader, RecordRef: both checksums, once per frame        `reader.rs`
//!   open:    list, scan, decide, act, then a NEW segment              `scan.rs`, `recovery.rs`, `open.rs`
//!   ahead:   one housekeeping thread prepares segments                `prepare.rs`
//!   reclaim: write_checkpoint, then trim                `checkpoint.rs`
//!   skip:    a full segment in which nothing is wanted                `index.rs`
//!   bytes:   `format.rs`, the normative tables
//!   files:   one seam to the file system               `disk.rs`; maps: `storage.rs`
//! ```
//!
//! # Example
//!
//! ```
//! use millstream::log::{Budget, Log, LogOptions, Record};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let log = Log::open(dir.path(), LogOptions::new().segment_bytes(1 << 20))?;
//! let record = Record { tag: 1, topic: 7, time_ns: 0, parts: &[b"hello, ", b"log"] };
//! let appended = log.append(&record, Budget::Publish)?;
//! log.wait_durable(appended.end)?;
//! assert_eq!(log.record(appended.at)?.body(), b"hello, log");
//! log.close()?;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! * An append costs the same however long the log is. It takes no lock, allocates nothing (a batch: its list of
//!   positions) and makes no system call, but to ring for the housekeeping thread, at most once in half a segment and
//!   once in 512 KiB, or, if that has fallen behind, to wait for it.
//! * A record that [`Log::append`] returned for survives the process. One that [`Log::wait_durable`] returned for
//!   survives the machine.
//! * A batch is there whole or not at all.
//! * After a failed sync the log takes nothing until it is opened anew: what the kernel dropped cannot be known.
//! * What is damaged is a named error, never wrong data.
//!
//! # Why the segment table is an `ArcSwap`
//!
//! Readers and helping writers must not find a segment unmapped under them. A guard of the table keeps the list alive and
//! the list its maps: what an epoch collector would give, without `unsafe` on our side.
//!
//! # Limits
//!
//! Linux. One owner per directory: see [`LogError::Locked`]; a child that forks without exec shares the lock, and whoever
//! closes lets go for both. Files must not be changed by others while the log is open: one that is shrunk under its map
//! kills the process. The log grows to its disk limit, then [`AppendError::Full`]; what may go is the caller's to say:
//! [`Log::trim`]. Each segment has a descriptor and a map for as long as it is kept: with segments of 64 MiB a limit of
//! 1,024 descriptors ends near 64 GiB, with an error that names it. On a file system that copies on write (btrfs, ZFS,
//! F2FS) a store to prepared space may need room all the same, and on a disk that is full kills the process. Wakers of
//! tasks that wait for durability run on the log's threads: they must neither append to it nor close it.

mod archive;
#[cfg(test)]
mod aside;
mod backup;
mod beside;
mod checkpoint;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
mod disk;
mod error;
pub(crate) mod fault;
mod filesystem;
mod format;
mod frames;
#[cfg(feature = "async")]
mod future;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod group;
mod heal;
mod index;
#[cfg(test)]
mod live;
mod mend;
mod open;
mod options;
#[cfg(test)]
mod power;
mod prepare;
mod preparer;
mod reader;
mod recovery;
mod repair;
mod scan;
mod segment;
#[cfg(test)]
pub(crate) mod sim;
mod storage;
mod syncer;
pub(crate) mod tail;
mod warm;
mod write;

pub use archive::{Archive, SegmentInfo, Verification, verify};
pub use backup::Backup;
pub(crate) use backup::Progress;
pub use checkpoint::{BODY_BYTES_MAX as CHECKPOINT_BODY_BYTES_MAX, Checkpoint};
pub use error::{
    Action, AppendError, Cause, Damage, DamageKind, LogError, StorageError, SyncError,
};
pub use filesystem::{FileSystem, Syncing};
pub use format::Position;
pub use frames::{FrameInfo, FrameState, frames};
#[cfg(feature = "async")]
pub use future::DurableFuture;
pub use options::LogOptions;
pub use reader::{Reader, RecordRef};
pub use repair::{Remedy, RemedyKind, Repair, RepairMode, repair};
pub(crate) use storage::Page;
pub use syncer::{SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN};
pub use tail::Budget;

use crate::clock::Clock;
use crate::sync::{Arc, Mutex, thread};
use checkpoint::Head;
use fault::Fault;
use format::{FRAME_ALIGN, FrameHeader, Kind};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use write::{Encoded, HEADER, Shared, frame_len};

/// What is appended.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// 16 bits of the caller's.
    pub tag: u16,
    /// 32 bits of the caller's.
    pub topic: u32,
    /// A time of the caller's, in nanoseconds.
    pub time_ns: u64,
    /// The body: these, one behind the other.
    pub parts: &'a [&'a [u8]],
}

/// Where something was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The record; of a batch the first one in it.
    pub at: Position,
    /// Behind it: what to wait for to have it durable.
    pub end: Position,
    /// What this append made readable: its own frame and others', or nothing, if a neighbour before it is not committed
    /// yet; that one will. Whoever waits for records in this range is to be woken: see [`Log::walk`].
    pub advanced: Range<Position>,
    others: Vec<Position>,
}

impl Appended {
    /// The position of each record appended, in order.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        std::iter::once(self.at).chain(self.others.iter().copied())
    }
}

/// What [`Log::open`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Did the last owner close the log? A log that is new counts as closed.
    pub clean: bool,
    /// Everything below was there before, is readable and, by now, durable. What this owner appends comes behind it.
    pub end: Position,
    /// Where the log ended when the last owner that died had died, even if others have opened and closed it since: what
    /// lies below may have been in that one's hands. 0 if none did.
    pub crashed: Position,
    /// What is sure to have been durable before.
    pub durable: Position,
    /// Dead reservations of a process that was killed, padded.
    pub padded: u64,
    /// Files removed: left over, or prepared and never used.
    pub files_dropped: u64,
    /// Checkpoints that were not whole: an older one was gone by, or the log from its beginning.
    pub checkpoints_damaged: u64,
    /// Whole frames beyond the first hole after a power loss, dropped: nobody was told that they were durable.
    pub frames_discarded: u64,
    /// From the end to the end of the last of those, in bytes.
    pub bytes_discarded: u64,
}

/// What [`Log::trim`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trimmed {
    /// Segment files.
    pub segments: u64,
    /// Bytes of disk that they counted for.
    pub bytes: u64,
}

/// Figures of a log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogStats {
    /// Segment files.
    pub segments: usize,
    /// Bytes that they count for.
    pub disk_bytes: u64,
    /// The limit on those.
    pub disk_max_bytes: u64,
    /// The first position kept.
    pub start: Position,
    /// How far the log is readable.
    pub committed: Position,
    /// How far it is durable.
    pub durable: Position,
    /// How far it is prepared for appends.
    pub prepared: Position,
    /// Successful syncs since the open, each for one or many waiters.
    pub syncs: u64,
    /// How long ago the last of them returned; none if there was none yet.
    pub last_sync_age: Option<Duration>,
    /// What it lies on, and what a sync is worth there.
    pub file_system: FileSystem,
    /// The failed sync that poisoned the log.
    pub poisoned: Option<Arc<StorageError>>,
}

/// A log that this process owns.
///
/// All methods take `&self`; any number of threads may append, read and wait. Dropping it closes it, as far as that goes.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    recovery: Recovery,
    owned: Mutex<Owned>,
}

/// What ends with the log.
#[derive(Debug)]
struct Owned {
    lock: Option<disk::DirectoryLock>,
    housekeeper: Option<thread::JoinHandle<()>>,
    closed: Option<Result<(), SyncError>>,
}

impl Log {
    /// Opens the log in `dir`, or makes one there; `dir` is created if it is missing. Recovers what the last owner left,
    /// starts a new segment, and returns when the first append can go.
    ///
    /// # Errors
    ///
    /// [`LogError`]: nothing of the log was changed, except where the act of opening itself failed half-way, which the
    /// next open takes up again.
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        open::open(Arc::new(disk::DiskStorage), dir, options)
    }

    /// What the open found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Appends one record.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was written.
    pub fn append(&self, record: &Record<'_>, budget: Budget) -> Result<Appended, AppendError> {
        let len = frame_len(record.frame_bytes(), self.shared.frame_max())?;
        let mut header = record.header(Kind::Record, len);
        header.body_crc = record.parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let reserved = self.shared.reserve(len, budget)?;
        let written = self.shared.write(reserved, header, |pen| {
            for part in record.parts {
                pen.put(part);
            }
        });
        Ok(written.appended(written.at, Vec::new()))
    }

    /// Appends records as one frame: after a crash all of them are there, or none.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was written.
    pub fn append_batch(
        &self,
        records: &[Record<'_>],
        budget: Budget,
    ) -> Result<Appended, AppendError> {
        if records.is_empty() {
            return Err(AppendError::Empty);
        }
        let batch = Encoded::new(records, self.shared.frame_max())?;
        let reserved = self.shared.reserve(batch.header.len, budget)?;
        let written = self.shared.write(reserved, batch.header, |pen| {
            batch.body(records, |bytes| pen.put(bytes));
        });
        let place = |header: &FrameHeader| {
            Position::of(written.at + u64::from(header.durable_lag) * FRAME_ALIGN)
        };
        let others = batch.inner.iter().skip(1).map(|(header, _)| place(header)).collect();
        Ok(written.appended(written.at + HEADER, others))
    }

    /// Shows each record in `advanced`, as [`Appended::advanced`] gave it: position, tag and topic, records in batches
    /// included. Reads headers only.
    pub fn walk(&self, advanced: Range<Position>, visit: impl FnMut(Position, u16, u32)) {
        reader::walk(&self.shared, advanced.start.as_u64()..advanced.end.as_u64(), visit);
    }

    /// A reader from `from` on: the position of a frame or of a record, or one that an earlier record's
    /// [`RecordRef::next`] gave. A position before the log's start reads from the start.
    pub fn reader(&self, from: Position) -> Reader {
        let from = from.max(self.start());
        Reader::new(self.shared.clone(), from.as_u64())
    }

    /// The record at `at`, alone or in a batch.
    ///
    /// # Errors
    ///
    /// [`LogError::Expired`], [`LogError::NotCommitted`] or [`LogError::NoRecord`] if none is there;
    /// [`LogError::Damaged`] if its frame is damaged, or if `at` is a place in the middle of something else.
    pub fn record(&self, at: Position) -> Result<RecordRef, LogError> {
        reader::record(&self.shared, at.as_u64())
    }

    /// The first position that is kept.
    pub fn start(&self) -> Position {
        self.shared.start()
    }

    /// How far the log is readable.
    pub fn committed(&self) -> Position {
        Position::of(self.shared.tail.committed().end())
    }

    /// How far the log is written or being written: every append that has begun lies below.
    pub fn reserved(&self) -> Position {
        Position::of(self.shared.tail.reserved())
    }

    /// The largest body of a record, in bytes, that fits a frame of its own.
    pub fn record_bytes_max(&self) -> u64 {
        self.shared.sizes.segment_bytes - FRAME_ALIGN - HEADER
    }

    /// How far the log is durable.
    pub fn durable(&self) -> Position {
        Position::of(self.shared.group.durable())
    }

    /// Returns when everything below `end` is durable. Threads that wait at the same time share one sync.
    ///
    /// # Errors
    ///
    /// [`SyncError::Unknown`] after a failed sync, [`SyncError::Beyond`] if nothing was appended up to `end`.
    pub fn wait_durable(&self, end: Position) -> Result<(), SyncError> {
        self.shared.wait_durable(end.as_u64())
    }

    /// Makes everything durable that was appended before, and answers up to where that is. An append that has returned
    /// may stand behind a neighbour's gap: this waits until the gap is closed.
    ///
    /// # Errors
    ///
    /// [`SyncError::Unknown`] after a failed sync.
    pub fn sync(&self) -> Result<Position, SyncError> {
        let reserved = self.reserved();
        self.wait_durable(reserved)?;
        Ok(reserved)
    }

    /// As [`Log::wait_durable`], for a task. The thread `millstream-sync`, started with the first such wait, syncs for
    /// all tasks that wait at the same time.
    ///
    /// It is cancel-safe: dropping it takes the waker out, and nobody else is held up. The error is
    /// [`Log::wait_durable`]'s, or [`SyncError::NoThread`].
    #[cfg(feature = "async")]
    pub fn wait_durable_async(&self, end: Position) -> DurableFuture {
        DurableFuture::new(self.shared.clone(), end.as_u64())
    }

    /// Lays down `body`, a state of the caller's that has everything below `replay_from` in it: what the next open finds
    /// as [`Log::checkpoint`]. Makes everything durable first that is committed now. The two newest are kept.
    ///
    /// # Errors
    ///
    /// [`LogError::NotCommitted`], [`LogError::Expired`], [`LogError::CheckpointTooLarge`], [`LogError::Closed`];
    /// [`LogError::Sync`] or [`LogError::Storage`] where the disk failed: the checkpoints before are still there.
    pub fn write_checkpoint(&self, replay_from: Position, body: &[u8]) -> Result<(), LogError> {
        let durable = if self.has_planted(Fault::CheckpointBeforeSync) {
            self.committed()
        } else {
            self.sync()?
        };
        if durable < replay_from {
            return Err(LogError::NotCommitted { at: replay_from });
        }
        let _files = self.shared.own_files()?;
        let start = self.start();
        if replay_from < self.shared.kept_from() {
            return Err(LogError::Expired { at: replay_from, start });
        }
        let head = Head {
            log_id: self.shared.id,
            sequence: 0, // given by the writing
            replay_from: replay_from.as_u64(),
            durable: durable.as_u64(),
            crashed: self.shared.crashed,
            created_ns: self.shared.clock.now_ns(),
        };
        let Shared { storage, dir, checkpoints, .. } = &*self.shared;
        checkpoints.lock().write(&**storage, dir, head, body)
    }

    /// The newest checkpoint: the one that the open went by, or one written since.
    pub fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        self.shared.checkpoints.lock().newest()
    }

    /// Does the log begin with the first segment that it ever had? Else earlier ones were trimmed.
    pub fn is_whole(&self) -> bool {
        self.shared.is_whole()
    }

    /// Where nothing is any more, in order: the gaps that a [`repair`](repair()) left in the segments that are kept,
    /// and whatever else holds nothing there. A checkpoint that is older may speak of records that were in them.
    pub fn gaps(&self) -> Vec<Range<Position>> {
        self.shared.gaps()
    }

    /// Where the segments begin, oldest first.
    pub(crate) fn bases(&self) -> Vec<Position> {
        let view = self.shared.segments.view();
        view.table().list().iter().map(|segment| Position::of(segment.header.base)).collect()
    }

    /// Removes the segments that lie below `before` as a whole. What either of the kept checkpoints needs stays (all, where
    /// there is one only), and so do the last segment with a frame in it and what is not durable. The disk limit leaves
    /// room for as many new ones.
    /// Records that are held stay good; a reader goes on to the end of the segment that it
    /// is in, then, if it comes too late for the next, answers [`LogError::Expired`].
    ///
    /// # Errors
    ///
    /// [`LogError::Sync`], [`LogError::Storage`]: some may have been removed, oldest first; the rest is there.
    /// [`LogError::Closed`]: none was.
    pub fn trim(&self, before: Position) -> Result<Trimmed, LogError> {
        self.shared.trim(before.as_u64())
    }

    /// What the log lies on, and what a sync is worth there.
    pub fn file_system(&self) -> FileSystem {
        self.shared.file_system
    }

    /// Copies the log as it is now to `to`, a new directory, while it goes on; the copy opens as a log by itself, as after a
    /// crash of the owner. Full segments are linked where the file system can, and copied elsewhere; `progress` hears of the
    /// bytes done and of how many there are. What is committed now is made durable first, and is in it.
    ///
    /// `to` has its name only when all is there and durable; until then it is called `to.partial`. A link shares the bytes
    /// of the disk: it keeps against mistakes, not against that disk.
    ///
    /// # Errors
    ///
    /// [`LogError::NotEmpty`] if something is in the way, [`LogError::Closed`]; [`LogError::Sync`], [`LogError::Storage`]:
    /// there is no copy, or, where the very last step failed, one whose name may be lost with the power.
    pub fn backup(
        &self,
        to: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, LogError> {
        self.sync()?;
        let files = self.shared.own_files()?;
        let checkpoint = self.checkpoint();
        let end = self.durable().as_u64();
        let table = self.shared.segments.snapshot();
        drop(files);
        backup::backup(&self.shared, checkpoint, (&table, end), to, progress)
    }

    /// The log's identity: random, made once, the same in each of its files.
    pub fn id(&self) -> u128 {
        self.shared.id
    }

    /// The kernel's id of the boot that this owner runs in.
    pub(crate) fn boot_id(&self) -> u128 {
        self.shared.boot_id
    }

    /// A file of that name in the log's directory, of that many words and no more, mapped. It is not the log's: nothing
    /// in it is ever made durable.
    pub(crate) fn page(&self, name: &str, words: usize) -> Result<Page, LogError> {
        let (storage, path) = (&self.shared.storage, self.shared.dir.join(name));
        let file = match storage.open(&path, storage::Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(&path),
            other => other,
        };
        let file = file.map_err(StorageError::on(Action::Create, &path))?;
        let bytes = (words * size_of::<u64>()) as u64;
        file.set_bytes(bytes)
            .and_then(|()| file.allocate(0, bytes))
            .map_err(StorageError::on(Action::Allocate, &path))?;
        Page::new(file.file(), words)
            .map_err(StorageError::on(Action::Map, &path))
            .map_err(LogError::from)
    }

    /// Is that fault planted in this log's storage?
    #[inline(always)]
    pub(crate) fn has_planted(&self, fault: Fault) -> bool {
        fault::planted_in(&*self.shared.storage, fault)
    }

    /// Figures of the moment.
    pub fn stats(&self) -> LogStats {
        let view = self.shared.segments.view();
        // Closing removes what lies behind the end, but from the disk alone: readers may hold the table.
        let limit = self.shared.tail.limit();
        let list = view.table().list();
        let there = list.iter().filter(|segment| segment.header.base < limit);
        LogStats {
            segments: there.clone().count(),
            disk_bytes: there.map(|segment| segment.file_bytes).sum(),
            disk_max_bytes: self.shared.sizes.disk_max_bytes,
            start: self.start(),
            committed: self.committed(),
            durable: self.durable(),
            prepared: Position::of(self.shared.tail.limit()),
            syncs: self.shared.group.syncs(),
            last_sync_age: self.shared.group.last_sync().map(|at| at.elapsed()),
            file_system: self.shared.file_system,
            poisoned: self.shared.group.failure(),
        }
    }

    /// From now on an append under [`Budget::Publish`] answers [`AppendError::Closed`]: exactly, one that was accepted
    /// is before this. [`Budget::Settle`] still goes, until [`Log::close`].
    pub fn refuse(&self) {
        self.shared.tail.refuse_publishes();
    }

    /// Refuses all appends, makes everything durable, marks the log as closed and gives back what was prepared for more.
    /// Readers and records that are held stay good. Calling it again answers the same.
    ///
    /// # Errors
    ///
    /// [`SyncError`]; the log is closed all the same, and the directory free for another owner.
    pub fn close(&self) -> Result<(), SyncError> {
        // Before the lock: who leads a sync calls wakers, and one of those may close the log. All of this may be done twice.
        let end = self.shared.append_close();
        let synced = self.shared.wait_durable(end);
        let mut owned = self.owned.lock();
        if let Some(outcome) = &owned.closed {
            return outcome.clone();
        }
        self.shared.preparer.stop();
        if let Some(housekeeper) = owned.housekeeper.take() {
            // It leads syncs too: a waker that it calls may close the log, and it cannot wait for itself.
            if housekeeper.thread().id() != thread::current().id() {
                // A panic there has been reported by the panic hook; closing goes on.
                let _ = housekeeper.join();
            }
        }
        self.shared.syncer.stop();
        let outcome = synced.and_then(|()| self.shared.tidy(end));
        *self.shared.files.lock() = write::Files::LetGo; // behind the trim or checkpoint that runs, if one does
        owned.lock = None;
        owned.closed = Some(outcome.clone());
        outcome
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Who wants to know calls `close` first; what is not synced is recovered by the next open.
        let _ = self.close();
    }
}

fn random_bytes<const N: usize>(dir: &Path) -> Result<[u8; N], StorageError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(io::Error::other)
        .map_err(StorageError::on(Action::Random, dir))?;
    Ok(bytes)
}

/// A random number for the log in `dir`.
pub(crate) fn random_u64(dir: &Path) -> Result<u64, StorageError> {
    random_bytes(dir).map(u64::from_le_bytes)
}

/// A random identity for the log in `dir`.
pub(crate) fn random_u128(dir: &Path) -> Result<u128, StorageError> {
    random_bytes(dir).map(u128::from_le_bytes)
}
