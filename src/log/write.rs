//! `Shared`: what a log's handles and its housekeeping share, and how a frame gets into it.
//!
//! ```text
//!   length, CRC of the body | reserve: one CAS | copy, header, its CRC | commit: store the length, help
//!   the caller's data is    | full, closed,    | nothing can fail, and nothing of the caller's runs;
//!   read here only          | poisoned, wait   | a panic leaves a PAD (1.6)
//! ```
//!
//! The end of a log is the same with a last frame: [`Shared::append_close`].
//!
//! # Limits
//!
//! A writer waits here in two cases: for housekeeping, when what is prepared is used up; and, in
//! [`Shared::wait_durable`], for a neighbour that is still copying its record.

use super::checkpoint::Checkpoints;
use super::disk::{self, Storage};
use super::error::{Action, AppendError, LogError, StorageError, SyncError};
use super::fault::{self, Fault, Faults};
use super::filesystem::FileSystem;
use super::format::{
    FLAG_INNER, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, Kind, Position, aligned, durable_lag,
};
use super::group::{GroupSync, Syncing};
use super::index;
use super::options::Sizes;
use super::prepare::{NoRoom, Preparer};
use super::segment::{Segment, Segments, View};
use super::syncer::{Synced, Syncer};
use super::tail::{Budget, Claim, Refused, Reserved, Tail};
use super::warm::Warm;
use super::{Appended, Record, Trimmed};
use crate::clock::{Clock, SystemClock};
use crate::sync::{Arc, Mutex, MutexGuard, thread};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HEADER: u64 = FRAME_HEADER_BYTES as u64;
/// Zeros between the inner records of a batch.
const GAP: [u8; FRAME_ALIGN as usize] = [0; FRAME_ALIGN as usize];
/// Rounds of spinning, then of yielding, while a neighbour's frame is not committed; then naps.
const SPINS: u32 = 64;
const YIELDS: u32 = 256;
const NAP: Duration = Duration::from_micros(50);

/// What the log's handles and its housekeeping share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub storage: Arc<dyn Storage>,
    pub dir: PathBuf,
    pub id: u128,
    pub boot_id: u128,
    pub sizes: Sizes,
    pub tail: Tail,
    pub segments: Segments,
    pub group: GroupSync<StorageError>,
    pub syncer: Syncer,
    pub checkpoints: Mutex<Checkpoints>,
    /// Held by whoever removes segments or writes a checkpoint.
    pub files: Mutex<Files>,
    /// Where the log ended when an owner last died, before this one; 0 if none did.
    pub crashed: u64,
    pub preparer: Preparer,
    pub warm: Warm,
    pub faults: Faults,
    pub file_system: FileSystem,
    pub clock: SystemClock,
}

/// Whose the directory's files are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    #[default]
    Ours,
    /// The log is closed: another owner may have them.
    LetGo,
}

impl Record<'_> {
    /// Header and body; saturating, so that an impossible size is refused and not wrapped.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.parts.iter().fold(HEADER, |sum, part| sum.saturating_add(part.len() as u64))
    }

    pub(crate) fn header(&self, kind: Kind, len: u32) -> FrameHeader {
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

/// A batch, ready to be written.
pub(crate) struct Encoded {
    pub header: FrameHeader,
    /// Each record's header, and the zeros behind it.
    pub inner: Vec<(FrameHeader, usize)>,
}

impl Encoded {
    pub fn new(records: &[Record<'_>], max: u64) -> Result<Self, AppendError> {
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
    pub fn body(&self, records: &[Record<'_>], mut take: impl FnMut(&[u8])) {
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
pub(crate) struct Written {
    pub at: u64,
    end: u64,
    advanced: Range<u64>,
}

impl Written {
    pub fn appended(&self, at: u64, others: Vec<Position>) -> Appended {
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
    pub fn start(&self) -> Position {
        let view = self.segments.view();
        let first = view.table().list().first().expect("open made a segment");
        Position::of(first.header.base)
    }

    /// From where on nothing is missing: a little before [`Shared::start`] where the first segment does not adjoin its
    /// predecessor.
    pub fn kept_from(&self) -> Position {
        let view = self.segments.view();
        let first = view.table().list().first().expect("open made a segment");
        Position::of(first.header.prev_end)
    }

    /// See [`Log::is_whole`](super::Log::is_whole).
    pub fn is_whole(&self) -> bool {
        let view = self.segments.view();
        view.table().list().first().is_none_or(|first| first.header.prev_salt == 0)
    }

    /// See [`Log::gaps`](super::Log::gaps).
    pub fn gaps(&self) -> Vec<Range<Position>> {
        super::repair::gaps(self.segments.view().table(), self.tail.committed())
    }

    /// How little may be prepared ahead before the housekeeping thread is woken.
    pub fn low_water(&self) -> u64 {
        self.sizes.segment_bytes / 2
    }

    pub fn frame_max(&self) -> u64 {
        self.sizes.segment_bytes - FRAME_ALIGN
    }

    pub fn reserve(&self, len: u32, budget: Budget) -> Result<Reserved, AppendError> {
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
        let short = limit < end + self.low_water() && limit < self.tail.settle_max();
        if short || self.warm.runs_short(end, limit) {
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
    pub fn write(
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
        let mut advanced = self.commit(claim, &view);
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
        let header = FrameHeader::pad(claim.frame_bytes(), durable_lag(at, self.group.durable()));
        segment.map().write(at + 4, &header.encode(segment.seal(), at)[4..], &claim);
        self.commit(claim, view)
    }

    #[inline]
    fn commit(&self, claim: Claim, view: &View<'_>) -> Range<u64> {
        let advanced = self.tail.commit(claim, view);
        self.syncer.notice();
        advanced
    }

    pub fn wait_durable(&self, end: u64) -> Result<(), SyncError> {
        self.wait_committed(end)?;
        self.group.wait(end, self).map_err(SyncError::Unknown)
    }

    /// Starts the syncing thread, if it does not run yet.
    pub fn start_syncer(self: &Arc<Self>) -> Result<(), Arc<StorageError>> {
        let theirs = self.clone();
        let started = self.syncer.start(move || theirs.syncer.run(&*theirs));
        started.map_err(|error| Arc::new(StorageError::on(Action::Start, &self.dir)(error)))
    }

    /// May something be appended up to `end`, or has it been?
    pub fn check_reserved(&self, end: u64) -> Result<(), SyncError> {
        let reserved = self.tail.reserved();
        if end <= reserved {
            return Ok(());
        }
        let (end, reserved) = (Position::of(end), Position::of(reserved));
        Err(SyncError::Beyond { end, reserved })
    }

    /// Waits until `end` is committed: for as long as a neighbour copies its record.
    fn wait_committed(&self, end: u64) -> Result<(), SyncError> {
        let mut rounds = 0_u32;
        while self.tail.committed().end() < end {
            self.check_reserved(end)?;
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
    pub fn poison(&self, error: StorageError) -> Arc<StorageError> {
        let failure = Arc::new(error);
        self.group.fail(failure.clone(), || self.tail.poison());
        failure
    }

    /// Ends the log with a CLOSE frame, if it can be; in any case nothing is accepted any more. Answers the end.
    pub fn append_close(&self) -> u64 {
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
    pub fn tidy(&self, end: u64) -> Result<(), SyncError> {
        self.tail.raise(end);
        let view = self.segments.view();
        for segment in view.table().list().iter().rev() {
            if segment.header.base < end {
                return segment.trim(end).map_err(untidy);
            }
            disk::remove(&*self.storage, &self.dir, &segment.path).map_err(untidy)?;
        }
        Ok(())
    }

    /// The right to change the directory's files, for as long as it is held.
    pub fn own_files(&self) -> Result<MutexGuard<'_, Files>, LogError> {
        let files = self.files.lock();
        if *files == Files::Ours { Ok(files) } else { Err(LogError::Closed) }
    }

    /// Removes the whole segments below `before`, oldest first, each durably: so what is left has no gap, whatever
    /// becomes of the machine in between (3.5). What is left has a durable frame in it too: a log of nothing but a
    /// prepared segment would not be known again.
    pub fn trim(&self, before: u64) -> Result<Trimmed, LogError> {
        self.wait_durable(self.tail.committed().end())?;
        let _files = self.own_files()?;
        let needed = self.needed();
        let durable = self.group.durable();
        let mut trimmed = Trimmed::default();
        loop {
            let view = self.segments.view();
            let [first, second, ..] = view.table().list() else { break };
            if before.min(needed).min(durable) < first.end || durable <= second.header.base {
                break;
            }
            index::remove(&*self.storage, first);
            match disk::remove(&*self.storage, &self.dir, &first.path) {
                // An earlier trim removed it, and could not make that durable.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                    disk::sync_dir(&*self.storage, &self.dir)?;
                }
                other => other?,
            }
            trimmed.segments += 1;
            trimmed.bytes += first.file_bytes;
            self.segments.drop_first();
        }
        let (base, old_bytes) = self.segments.view().table().old();
        let (publish_max, settle_max) = self.sizes.ends(base, old_bytes);
        self.tail.extend(publish_max, settle_max);
        Ok(trimmed)
    }

    /// What lies at or above is needed by a checkpoint.
    fn needed(&self) -> u64 {
        let checkpoints = self.checkpoints.lock();
        let newest_only = fault::planted_in(&*self.storage, Fault::TrimsByNewest);
        let newest = || checkpoints.newest().map(|newest| newest.replay_from().as_u64());
        let floor = if newest_only { newest() } else { checkpoints.floor() };
        floor.unwrap_or(u64::MAX)
    }

    pub fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
        let table = self.segments.snapshot();
        let meets = |one: &&Arc<Segment>| one.header.base < range.end && range.start < one.end;
        let last_only = self.faults.planted(Fault::SyncsLastOnly);
        let left_out = |one: &&Arc<Segment>| last_only && one.end < range.end;
        let covered = table.list().iter().filter(meets).filter(|one| !left_out(one));
        covered.into_iter().try_for_each(|segment| segment.sync(&self.faults))
    }
}

impl Syncing for Shared {
    type Error = StorageError;

    fn upto(&self) -> u64 {
        self.tail.committed().end()
    }

    fn sync(&self, range: Range<u64>) -> Result<(), StorageError> {
        Shared::sync(self, range)
    }

    /// Whoever hears of the failure finds that nothing is taken any more.
    fn failed(&self) {
        self.tail.poison();
    }
}

impl Synced for Shared {
    #[cfg(feature = "async")]
    fn wanted(&self) -> Option<u64> {
        self.group.first_task()
    }

    #[cfg(not(feature = "async"))]
    fn wanted(&self) -> Option<u64> {
        None
    }

    fn unsynced(&self) -> Option<u64> {
        let committed = self.tail.committed().end();
        let helps = self.group.durable() < committed && self.group.failure().is_none();
        helps.then_some(committed)
    }

    fn make_durable(&self, end: u64) {
        // A failure poisons the log, which the next append and the stats report.
        let _ = self.wait_durable(end);
    }
}

/// The frame's length, if a frame can have it.
pub(crate) fn frame_len(bytes: u64, max: u64) -> Result<u32, AppendError> {
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
pub(crate) struct Pen<'a> {
    segment: &'a Segment,
    claim: &'a Claim,
    at: u64,
}

impl Pen<'_> {
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
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
