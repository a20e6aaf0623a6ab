//! `Segment`: one file of the log, and the table of all of them.
//!
//! The table is an immutable list behind an `ArcSwap`. A helper that stalls after reading `committed` must not find its
//! segment unmapped: the guard it holds keeps the list alive, and the list its maps. That is what an epoch scheme would
//! give, without `unsafe` on either side; the price, a guard per append, is a few nanoseconds.
//!
//! ```text
//!   old segments: any size, sealed            | live ones: all of this open's size, one behind the other
//!   [base, end)  [base, end)   ...            | [live_base + n * capacity, + capacity)
//! ```

use super::disk::{self, Storage, Stored};
use super::error::{Action, Damage, DamageKind, StorageError};
use super::fault::{Fault, Faults};
use super::format::{FrameHeader, HEADER_PAGE_BYTES, HeaderRead, Kind, Seal, SegmentHeader};
use super::index;
use super::storage::{Access, Map};
use super::tail::{Seen, Words};
use crate::sync::{Arc, AtomicU32, Mutex};
use arc_swap::{ArcSwap, Guard};
use std::path::{Path, PathBuf};

/// The extension of a segment file.
pub(crate) const EXTENSION: &str = "seg";

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    pub path: PathBuf,
    /// Where its frames end: known for an old segment, the capacity's end for a live one.
    pub end: u64,
    /// Bytes of disk it counts for.
    pub file_bytes: u64,
    /// Stretches that hold nothing and that nobody has padded: only in an archive, which changes nothing.
    pub holes: Vec<std::ops::Range<u64>>,
    /// What is in it, as far as anybody asked.
    pub index: index::Lazy,
    file: Arc<dyn Stored>,
    map: Map,
    seal: Seal,
    access: Access,
}

impl Segment {
    /// Makes a new segment in `dir`, with nothing prepared.
    pub fn create(
        storage: &dyn Storage,
        dir: &Path,
        header: SegmentHeader,
    ) -> Result<Self, StorageError> {
        let path = path_of(dir, header.base);
        let file = disk::create_segment(storage, dir, &path, &header)?;
        let file_bytes = HEADER_PAGE_BYTES + header.capacity;
        Self::over(path, file, header, header.capacity_end(), file_bytes, Access::Write)
    }

    /// An old segment whose frames end at `end`.
    pub fn sealed(
        storage: &dyn Storage,
        path: PathBuf,
        header: SegmentHeader,
        end: u64,
    ) -> Result<Self, StorageError> {
        let file =
            storage.open(&path, Access::Read).map_err(StorageError::on(Action::Open, &path))?;
        let file_bytes = file.bytes().map_err(StorageError::on(Action::Read, &path))?;
        Self::over(path, file, header, end, file_bytes, Access::Read)
    }

    fn over(
        path: PathBuf,
        file: Arc<dyn Stored>,
        header: SegmentHeader,
        end: u64,
        file_bytes: u64,
        access: Access,
    ) -> Result<Self, StorageError> {
        let map = Map::new(file.file(), header.base, file_bytes, access)
            .map_err(StorageError::on(Action::Map, &path))?;
        let seal = header.seal();
        let (holes, index) = (Vec::new(), index::Lazy::default());
        Ok(Self { header, path, end, file_bytes, holes, index, file, map, seal, access })
    }

    /// What seals its frames.
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// Is it one that this open made?
    pub fn is_live(&self) -> bool {
        self.access == Access::Write
    }

    /// Its file.
    pub fn stored(&self) -> &dyn Stored {
        &*self.file
    }

    /// Its bytes.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Does `at` lie inside its capacity?
    fn holds(&self, at: u64) -> bool {
        self.header.base <= at && at < self.header.capacity_end()
    }

    /// Prepares `bytes` from position `at` on: blocks and zeros.
    pub fn prepare(&self, at: u64, bytes: u64, faults: &Faults) -> Result<(), StorageError> {
        let offset = HEADER_PAGE_BYTES + at - self.header.base;
        faults
            .check(Fault::NoSpace)
            .and_then(|()| disk::prepare(&*self.file, offset, bytes))
            .map_err(StorageError::on(Action::Allocate, &self.path))
    }

    /// Makes what is written durable.
    pub fn sync(&self, faults: &Faults) -> Result<(), StorageError> {
        faults
            .check(Fault::SyncFails)
            .and_then(|()| self.file.sync_data())
            .map_err(StorageError::on(Action::Sync, &self.path))
    }

    /// As [`Segment::sync`], by a descriptor of its own. The kernel tells each descriptor of a write that failed once: one
    /// that two threads sync by could tell the one and let the other believe that its frames are safe.
    pub fn sync_apart(&self, storage: &dyn Storage, faults: &Faults) -> Result<(), StorageError> {
        let file = storage
            .open(&self.path, Access::Write)
            .map_err(StorageError::on(Action::Open, &self.path))?;
        faults
            .check(Fault::SyncFails)
            .and_then(|()| file.sync_data())
            .map_err(StorageError::on(Action::Sync, &self.path))
    }

    /// Makes the part of `range` that lies in here ready to be stored to.
    pub fn warm_for_writing(&self, range: &std::ops::Range<u64>) {
        let from = range.start.max(self.header.base);
        let bytes = range.end.min(self.mapped_end()).saturating_sub(from);
        if self.access == Access::Write && bytes > 0 {
            // Advice: where it is not taken, the store itself makes the page ready.
            let _ = self.map.populate_write(from, bytes as usize);
        }
    }

    /// Before the sync of a segment that nobody writes to any more. A sync makes each dirty page that is mapped clean in
    /// the page tables too, and for each of them interrupts every processor that this process runs on; a page that is not
    /// mapped costs nothing of the kind.
    pub fn unload(&self) {
        self.map.unload();
    }

    /// Gives back what lies behind `end`, but for one zero length word that ends the row of frames.
    pub fn trim(&self, end: u64) -> Result<(), StorageError> {
        let bytes = trimmed_bytes(&self.header, end);
        self.file.set_bytes(bytes).map_err(StorageError::on(Action::Allocate, &self.path))?;
        self.file.sync_all().map_err(StorageError::on(Action::Sync, &self.path))
    }

    /// Makes cold bytes warm, so that a read error of the disk is a value and not a signal. The segment that is written
    /// now is warm: its pages were stored to a moment ago. One that is full may have left the memory again.
    pub fn warm(&self, at: u64, bytes: u64, seen: Seen) -> Result<(), StorageError> {
        let bytes = bytes.min(self.mapped_end().saturating_sub(at));
        let written_now = self.access == Access::Write && seen.end() < self.end;
        if written_now || bytes == 0 {
            return Ok(());
        }
        self.map.populate(at, bytes as usize).map_err(StorageError::on(Action::Read, &self.path))
    }

    /// Where the map ends: a file that was cut ends before its capacity, or within its last frame's alignment.
    fn mapped_end(&self) -> u64 {
        self.header.base + self.file_bytes.saturating_sub(HEADER_PAGE_BYTES)
    }

    /// The frame at `at`, its header checked: `None` where nothing is.
    pub fn frame(&self, at: u64, seen: Seen) -> Result<Option<FrameHeader>, Damage> {
        let end = self.end.min(seen.end());
        let Some(bytes) = self.header_bytes(at, end, seen) else {
            return Err(self.damage(at, DamageKind::FrameMissing));
        };
        match FrameHeader::read(bytes, self.seal, at, end) {
            HeaderRead::Good(header) => Ok(Some(header)),
            HeaderRead::Zero => Ok(None),
            HeaderRead::Bad => Err(self.damage(at, DamageKind::FrameHeader)),
        }
    }

    /// Checks the body of the frame at `at` against its checksum.
    pub fn check_body(&self, at: u64, header: &FrameHeader, seen: Seen) -> Result<(), Damage> {
        if header.kind == Kind::Pad {
            return Ok(());
        }
        if at + u64::from(header.len) > self.mapped_end() {
            return Err(self.damage(at, DamageKind::FrameBody));
        }
        let whole = crc32c::crc32c(self.body(at, header, seen)) == header.body_crc;
        if whole { Ok(()) } else { Err(self.damage(at, DamageKind::FrameBody)) }
    }

    /// The header of the inner record at `at` of a batch that ends at `end`.
    pub fn inner(&self, at: u64, end: u64, seen: Seen) -> Option<FrameHeader> {
        let bytes = self.header_bytes(at, end, seen)?;
        FrameHeader::read_inner(bytes, end - at)
    }

    fn header_bytes(&self, at: u64, end: u64, seen: Seen) -> Option<&[u8; 32]> {
        let end = end.min(seen.end()).min(self.mapped_end());
        let fits = at.checked_add(32).is_some_and(|behind| behind <= end);
        fits.then(|| self.map.read(at, 32, seen).first_chunk().expect("32 bytes were asked for"))
    }

    /// The body of the frame or inner record at `at`.
    pub fn body(&self, at: u64, header: &FrameHeader, seen: Seen) -> &[u8] {
        self.map.read(at + 32, header.body_bytes() as usize, seen)
    }

    /// Damage at position `at` of this segment.
    pub fn damage(&self, at: u64, what: DamageKind) -> Damage {
        let offset = HEADER_PAGE_BYTES + at.saturating_sub(self.header.base);
        Damage { file: self.path.clone(), offset, what }
    }
}

/// The length of a segment file whose frames end at `end`: one more length word is kept, on whole pages.
pub(crate) fn trimmed_bytes(header: &SegmentHeader, end: u64) -> u64 {
    let kept = end - header.base + 32;
    HEADER_PAGE_BYTES + kept.next_multiple_of(HEADER_PAGE_BYTES).min(header.capacity)
}

/// The file of the segment with that base.
pub(crate) fn path_of(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:016x}.{EXTENSION}"))
}

/// All segments, at one moment.
#[derive(Debug)]
pub(crate) struct Table {
    list: Vec<Arc<Segment>>,
    /// Index, base and size of the live ones.
    live: usize,
    live_base: u64,
    capacity: u64,
}

impl Table {
    /// A table of old segments; live ones of `capacity` bytes will follow from `live_base` on.
    pub fn new(list: Vec<Arc<Segment>>, live_base: u64, capacity: u64) -> Self {
        Self { live: list.len(), list, live_base, capacity }
    }

    /// The segment in which `at` lies.
    pub fn holding(&self, at: u64) -> Option<&Arc<Segment>> {
        let found = match at.checked_sub(self.live_base) {
            Some(ahead) => self.list.get(self.live + (ahead / self.capacity) as usize)?,
            None => {
                &self.list[self.list.partition_point(|one| one.header.base <= at).checked_sub(1)?]
            }
        };
        found.holds(at).then_some(found)
    }

    /// The first segment whose base lies above `at`. Not at it: an empty segment begins where it ends.
    pub fn above(&self, at: u64) -> Option<&Arc<Segment>> {
        self.list.get(self.list.partition_point(|one| one.header.base <= at))
    }

    /// Where the live ones begin, and the bytes on disk of those before.
    pub fn old(&self) -> (u64, u64) {
        let old_bytes = self.list[..self.live].iter().map(|segment| segment.file_bytes).sum();
        (self.live_base, old_bytes)
    }

    /// All of them, oldest first.
    pub fn list(&self) -> &[Arc<Segment>] {
        &self.list
    }
}

/// The table, as it changes.
#[derive(Debug)]
pub(crate) struct Segments {
    now: ArcSwap<Table>,
    /// Held by whoever changes it: the preparing thread adds, a trim takes away.
    changing: Mutex<()>,
}

impl Segments {
    pub fn new(table: Table) -> Self {
        Self { now: ArcSwap::from_pointee(table), changing: Mutex::new(()) }
    }

    /// The table now. Taken after a reservation it holds the reserved bytes, by [L4].
    pub fn view(&self) -> View<'_> {
        View { now: self.now.load(), all: self }
    }

    /// The table now, to keep.
    pub fn snapshot(&self) -> Arc<Table> {
        self.now.load_full()
    }

    /// Adds a live segment.
    pub fn push(&self, segment: Segment) {
        let _changing = self.changing.lock();
        let old = self.now.load();
        let mut list = old.list.clone();
        list.push(Arc::new(segment));
        self.now.store(Arc::new(Table { list, ..**old }));
    }

    /// Takes the first segment away. Its map stays for as long as somebody has it in hand.
    pub fn drop_first(&self) {
        let _changing = self.changing.lock();
        let old = self.now.load();
        let list = old.list[1..].to_vec();
        let live_base = if old.live == 0 { old.live_base + old.capacity } else { old.live_base };
        let live = old.live.saturating_sub(1);
        self.now.store(Arc::new(Table { list, live, live_base, capacity: old.capacity }));
    }
}

/// The table at one moment, with a way to a newer one for a helper that comes past its end.
pub(crate) struct View<'a> {
    now: Guard<Arc<Table>>,
    all: &'a Segments,
}

impl View<'_> {
    pub fn table(&self) -> &Table {
        &self.now
    }
}

impl Words for View<'_> {
    fn word<R>(&self, at: u64, look: impl FnOnce(&AtomicU32) -> R) -> R {
        match self.now.holding(at) {
            Some(segment) => look(segment.map().word(at)),
            None => {
                let newer = self.all.now.load();
                match newer.holding(at) {
                    Some(segment) => look(segment.map().word(at)),
                    // The helper stood still while all of this was committed by others, and trimmed: there is nothing left
                    // for it to move `committed` over.
                    None => {
                        debug_assert!(newer.list[0].header.base > at, "below the limit, and kept");
                        look(&AtomicU32::new(0))
                    }
                }
            }
        }
    }
}
