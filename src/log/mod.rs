//! A memory-mapped, append-only segment log.
//!
//! Bytes go in under a [`Position`] that stays theirs for ever, and come out of the map as they went in, without a copy.
//! The log never hears of topics or queues: a [`Record`] carries 16 and 32 bits that are its caller's business.
//!
//! ```text
//!   append:  CRC of the body -> reserve (one CAS) -> copy, header -> commit: store the length, help the neighbours
//!            `tail.rs`          `tail.rs`            `storage.rs`     `tail.rs`
//!   durable: wait_durable -> one of the waiters syncs for all         `group.rs`
//!   read:    Reader, RecordRef: both checksums, once per frame        `reader.rs`
//!   open:    list, scan, decide, act, then a NEW segment              `scan.rs`, `recovery.rs`, `open.rs`
//!   ahead:   one housekeeping thread prepares segments                `prepare.rs`
//!   bytes:   `format.rs`, the normative tables
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
//! * An append costs the same however long the log is. It takes no lock, allocates nothing and makes no system call,
//!   unless the housekeeping thread has fallen behind: then it waits for it.
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
//! Linux. One owner per directory: see [`LogError::Locked`]; a child that forks without exec shares the lock, and whoever closes
//! lets go for both. Files must
//! not be changed by others while the log is open: one that is shrunk under its map kills the process. Nothing is reclaimed
//! yet: the log grows to its disk limit, then [`AppendError::Full`].

mod archive;
#[cfg(test)]
mod crash;
mod error;
mod fault;
mod format;
#[cfg(test)]
mod golden;
mod group;
#[cfg(test)]
mod live;
mod open;
mod options;
mod prepare;
mod reader;
mod recovery;
mod scan;
mod segment;
mod storage;
pub(crate) mod tail;

pub use archive::{Archive, SegmentInfo, Verification, verify};
pub use error::{
    Action, AppendError, Cause, Damage, DamageKind, LogError, StorageError, SyncError,
};
pub use format::Position;
pub use options::LogOptions;
pub use reader::{Reader, RecordRef};
pub use tail::Budget;

use crate::clock::{Clock, SystemClock};
use crate::sync::{Arc, Mutex, thread};
use fault::{Fault, Faults};
use format::{
    FLAG_INNER, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, Kind, aligned, durable_lag,
};
use group::{GroupSync, Syncing};
use prepare::{NoRoom, Preparer};
use segment::{Segment, Segments, View};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tail::{Claim, Refused, Reserved, Tail};

const HEADER: u64 = FRAME_HEADER_BYTES as u64;
/// Zeros between the inner records of a batch.
const GAP: [u8; FRAME_ALIGN as usize] = [0; FRAME_ALIGN as usize];
/// Rounds of spinning, then of yielding, while a neighbour's frame is not committed; then naps.
const SPINS: u32 = 64;
const YIELDS: u32 = 256;
const NAP: Duration = Duration::from_micros(50);

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

impl Record<'_> {
    /// Header and body; saturating, so that an impossible size is refused and not wrapped.
    fn frame_bytes(&self) -> u64 {
        self.parts.iter().fold(HEADER, |sum, part| sum.saturating_add(part.len() as u64))
    }

    fn header(&self, kind: Kind, len: u32) -> FrameHeader {
        FrameHeader {
            len,
            body_crc: 0,
            kind,
            flags: 0,
            tag: self.tag,
            durable_lag: 0,
            topic: self.topic,
            time_ns: self.time_ns,
        }
    }
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
    /// Whole frames beyond the first hole after a power loss, dropped: nobody was told that they were durable.
    pub frames_discarded: u64,
    /// From the end to the end of the last of those, in bytes.
    pub bytes_discarded: u64,
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
    /// The failed sync that poisoned the log.
    pub poisoned: Option<Arc<StorageError>>,
}

/// What the log's handles and its housekeeping share.
#[derive(Debug)]
pub(crate) struct Shared {
    dir: PathBuf,
    id: u128,
    segment_bytes: u64,
    disk_max_bytes: u64,
    tail: Tail,
    segments: Segments,
    group: GroupSync,
    preparer: Preparer,
    faults: Faults,
    clock: SystemClock,
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
    lock: Option<open::DirectoryLock>,
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
        open::open(dir, options)
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
        self.shared.segment_bytes - FRAME_ALIGN - HEADER
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

    /// Makes everything durable that is committed now, and answers up to where that is.
    ///
    /// # Errors
    ///
    /// [`SyncError::Unknown`] after a failed sync.
    pub fn sync(&self) -> Result<Position, SyncError> {
        let committed = self.committed();
        self.wait_durable(committed)?;
        Ok(committed)
    }

    /// The log's identity: random, made once, the same in each of its files.
    pub fn id(&self) -> u128 {
        self.shared.id
    }

    /// Figures of the moment.
    pub fn stats(&self) -> LogStats {
        let view = self.shared.segments.view();
        let list = view.table().list();
        LogStats {
            segments: list.len(),
            disk_bytes: list.iter().map(|segment| segment.file_bytes).sum(),
            disk_max_bytes: self.shared.disk_max_bytes,
            start: self.start(),
            committed: self.committed(),
            durable: self.durable(),
            prepared: Position::of(self.shared.tail.limit()),
            syncs: self.shared.group.syncs(),
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
        let mut owned = self.owned.lock();
        if let Some(outcome) = &owned.closed {
            return outcome.clone();
        }
        let end = self.shared.append_close();
        self.shared.preparer.stop();
        if let Some(housekeeper) = owned.housekeeper.take() {
            // A panic there has been reported by the panic hook; closing goes on.
            let _ = housekeeper.join();
        }
        let outcome = self.shared.wait_durable(end).and_then(|()| self.shared.tidy(end));
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

/// A batch, ready to be written.
struct Encoded {
    header: FrameHeader,
    /// Each record's header, and the zeros behind it.
    inner: Vec<(FrameHeader, usize)>,
}

impl Encoded {
    fn new(records: &[Record<'_>], max: u64) -> Result<Self, AppendError> {
        let total = records.iter().fold(HEADER, |sum, record| {
            sum.checked_next_multiple_of(FRAME_ALIGN)
                .map_or(u64::MAX, |sum| sum.saturating_add(record.frame_bytes()))
        });
        let len = frame_len(total, max)?;
        let mut inner = Vec::with_capacity(records.len());
        let mut at = HEADER;
        for (index, record) in records.iter().enumerate() {
            let bytes = record.frame_bytes();
            let mut header = record.header(Kind::Record, bytes as u32); // below `len`, a u32
            header.flags = FLAG_INNER;
            header.durable_lag = (at / FRAME_ALIGN) as u32; // as above
            let is_last = index + 1 == records.len();
            let gap = if is_last { 0 } else { (aligned(bytes) - bytes) as usize };
            inner.push((header, gap));
            at += aligned(bytes);
        }
        let header = FrameHeader {
            len,
            body_crc: 0,
            kind: Kind::Batch,
            flags: 0,
            tag: 0,
            durable_lag: 0,
            topic: records.len() as u32, // each has 32 bytes of `len`, a u32
            time_ns: records[0].time_ns,
        };
        let mut batch = Self { header, inner };
        let mut crc = 0;
        batch.body(records, |bytes| crc = crc32c::crc32c_append(crc, bytes));
        batch.header.body_crc = crc;
        Ok(batch)
    }

    /// Gives `take` the body, piece by piece.
    fn body(&self, records: &[Record<'_>], mut take: impl FnMut(&[u8])) {
        for (record, (header, gap)) in records.iter().zip(&self.inner) {
            take(&header.encode_inner());
            for part in record.parts {
                take(part);
            }
            take(&GAP[..*gap]);
        }
    }
}

/// A frame that was written.
struct Written {
    at: u64,
    end: u64,
    advanced: Range<u64>,
}

impl Written {
    fn appended(&self, at: u64, others: Vec<Position>) -> Appended {
        Appended {
            at: Position::of(at),
            end: Position::of(self.end),
            advanced: Position::of(self.advanced.start)..Position::of(self.advanced.end),
            others,
        }
    }
}

impl Shared {
    /// The first position kept.
    fn start(&self) -> Position {
        let view = self.segments.view();
        let first = view.table().list().first().expect("open made a segment");
        Position::of(first.header.base)
    }

    /// How little may be prepared ahead before the housekeeping thread is woken.
    fn low_water(&self) -> u64 {
        self.segment_bytes / 2
    }

    fn frame_max(&self) -> u64 {
        self.segment_bytes - FRAME_ALIGN
    }

    fn reserve(&self, len: u32, budget: Budget) -> Result<Reserved, AppendError> {
        self.reserve_by(|tail| tail.reserve(len, budget))
    }

    fn reserve_by(
        &self,
        attempt: impl Fn(&Tail) -> Result<Reserved, Refused>,
    ) -> Result<Reserved, AppendError> {
        loop {
            let refused = match attempt(&self.tail) {
                Ok(reserved) => {
                    self.look_ahead(reserved.claim.end());
                    return Ok(reserved);
                }
                Err(refused) => refused,
            };
            match refused {
                Refused::Full => return Err(AppendError::Full),
                Refused::Closed => return Err(AppendError::Closed),
                Refused::Poisoned => return Err(self.poisoned()),
                Refused::NotReady(need) => match self.preparer.wait_for(need, self) {
                    Ok(()) => {}
                    Err(NoRoom::Stopped) => return Err(AppendError::Closed),
                    Err(NoRoom::Refused(error)) => return Err(AppendError::Storage(error)),
                },
            }
        }
    }

    fn look_ahead(&self, end: u64) {
        let limit = self.tail.limit();
        if limit < end + self.low_water() && limit < self.tail.settle_max() {
            self.preparer.kick();
        }
    }

    fn poisoned(&self) -> AppendError {
        // The flag is set after the failure is noted.
        let failure = self.group.failure().expect("a failure poisoned the log");
        AppendError::Poisoned(failure)
    }

    /// Fills a reservation and commits it. Nothing here can fail, and no code of the caller's runs.
    #[inline]
    fn write(
        &self,
        reserved: Reserved,
        mut header: FrameHeader,
        fill: impl FnOnce(&mut Pen<'_>),
    ) -> Written {
        let view = self.segments.view();
        let Reserved { pad, claim } = reserved;
        let (at, end) = (claim.at(), claim.end());
        let mut frame = Unwritten { shared: self, view: &view, claim: Some(claim) };
        let padded = pad.map(|pad| self.commit_pad(pad, &view));
        if self.faults.planted(Fault::PanicAfterReserve) {
            panic!("planted: a panic between reserve and commit");
        }
        let claim = frame.claim.as_ref().expect("taken by the commit below only");
        let segment = holding(&view, at);
        fill(&mut Pen { segment, claim, at: at + HEADER });
        header.durable_lag = durable_lag(at, self.group.durable());
        segment.map().write(at + 4, &header.encode(segment.seal(), at)[4..], claim);
        let claim = frame.claim.take().expect("taken here only");
        let mut advanced = self.tail.commit(claim, &view);
        if let Some(padded) = padded.filter(|padded| !padded.is_empty()) {
            let end = if advanced.is_empty() { padded.end } else { advanced.end };
            advanced = padded.start..end;
        }
        Written { at, end, advanced }
    }

    /// Makes a claim a PAD.
    fn commit_pad(&self, claim: Claim, view: &View<'_>) -> Range<u64> {
        let at = claim.at();
        let segment = holding(view, at);
        let header = FrameHeader::pad(claim.len(), durable_lag(at, self.group.durable()));
        segment.map().write(at + 4, &header.encode(segment.seal(), at)[4..], &claim);
        self.tail.commit(claim, view)
    }

    fn wait_durable(&self, end: u64) -> Result<(), SyncError> {
        self.wait_committed(end)?;
        self.group.wait(end, self).map_err(|failure| {
            self.tail.poison();
            SyncError::Unknown(failure)
        })
    }

    /// Waits until `end` is committed: for as long as a neighbour copies its record.
    fn wait_committed(&self, end: u64) -> Result<(), SyncError> {
        let mut rounds = 0_u32;
        while self.tail.committed().end() < end {
            let reserved = self.tail.reserved();
            if end > reserved {
                let (end, reserved) = (Position::of(end), Position::of(reserved));
                return Err(SyncError::Beyond { end, reserved });
            }
            match rounds {
                0..SPINS => crate::sync::hint::spin_loop(),
                SPINS..YIELDS => thread::yield_now(),
                _ => thread::sleep(NAP),
            }
            rounds = rounds.saturating_add(1);
        }
        Ok(())
    }

    /// Notes a sync that failed outside of the group, and takes nothing more.
    fn poison(&self, error: StorageError) -> Arc<StorageError> {
        let failure = Arc::new(error);
        self.group.fail(failure.clone());
        self.tail.poison();
        failure
    }

    /// Ends the log with a CLOSE frame, if it can be; in any case nothing is accepted any more. Answers the end.
    fn append_close(&self) -> u64 {
        self.tail.refuse_publishes();
        // So that the mark in the CLOSE frame says that everything before it is durable.
        let synced = self.wait_durable(self.tail.committed().end());
        let len = FRAME_HEADER_BYTES as u32;
        let reserved = match synced {
            Ok(()) => self.reserve_by(|tail| tail.reserve_last(len)).ok(),
            Err(_) => None,
        };
        let end = self.tail.refuse_all();
        if let Some(reserved) = reserved {
            let time_ns = self.clock.now_ns();
            let record = Record { tag: 0, topic: 0, time_ns, parts: &[] };
            self.write(reserved, record.header(Kind::Close, len), |_| {});
        }
        end
    }

    /// Gives back what lies behind the end: all is durable and nobody appends any more.
    fn tidy(&self, end: u64) -> Result<(), SyncError> {
        self.tail.raise(end);
        let view = self.segments.view();
        for segment in view.table().list().iter().rev() {
            if segment.header.base < end {
                return segment.trim(end).map_err(untidy);
            }
            storage::remove(&self.dir, &segment.path).map_err(untidy)?;
        }
        Ok(())
    }

    fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
        let table = self.segments.snapshot();
        let meets = |one: &&Arc<Segment>| one.header.base < range.end && range.start < one.end;
        table.list().iter().filter(meets).try_for_each(|segment| segment.sync(&self.faults))
    }
}

impl Syncing for Shared {
    fn upto(&self) -> u64 {
        self.tail.committed().end()
    }

    fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
        Shared::sync(self, range)
    }
}

fn frame_len(bytes: u64, max: u64) -> Result<u32, AppendError> {
    match u32::try_from(bytes) {
        Ok(len) if bytes <= max => Ok(len),
        _ => Err(AppendError::TooLarge { bytes, max }),
    }
}

fn untidy(error: StorageError) -> SyncError {
    SyncError::Untidy(Arc::new(error))
}

fn holding<'a>(view: &'a View<'_>, at: u64) -> &'a Arc<Segment> {
    view.table().holding(at).expect("a reservation lies in a segment of the table")
}

/// Writes a claim's body, piece by piece.
struct Pen<'a> {
    segment: &'a Segment,
    claim: &'a Claim,
    at: u64,
}

impl Pen<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.segment.map().write(self.at, bytes, self.claim);
        self.at += bytes.len() as u64;
    }
}

/// A reservation that becomes a PAD if its writer does not come to the commit: else nobody could read past it (1.6).
struct Unwritten<'a> {
    shared: &'a Shared,
    view: &'a View<'a>,
    claim: Option<Claim>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.shared.commit_pad(claim, self.view);
        }
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
