//! Looking at a log without owning it: nothing is changed on disk.
//!
//! An [`Archive`] decides what the log is by the same tables as [`Log::open`](super::Log::open), and reads it. [`verify`]
//! goes through every frame of every segment and reports all damage, where the open stops at the first. Both keep owners
//! out while they look, by a shared lock, and are refused while there is one; [`Archive::open_beside`] looks all the same,
//! see `beside.rs`.

use super::Action;
use super::backup::{self, Backup};
use super::beside::Moment;
use super::checkpoint::{self, Checkpoint, Checkpoints, Chosen};
use super::disk::{DirectoryLock, DiskStorage, Storage, lock_shared};
use super::error::{Damage, DamageKind, LogError, StorageError};
use super::fault::Faults;
use super::filesystem::FileSystem;
use super::format::{HeaderFault, Position};
use super::group::GroupSync;
use super::heal;
use super::open::{self, Found, scan_all};
use super::options::Sizes;
use super::prepare::Preparer;
use super::reader::{self, Reader, RecordRef};
use super::recovery::{self, Known, Link, Verdict};
use super::scan::{self, Listing};
use super::segment::{self, Segments, Table};
use super::syncer::Syncer;
use super::tail::{Bounds, Tail};
use super::warm::Warm;
use super::write::Shared;
use crate::clock::SystemClock;
use crate::sync::{Arc, Mutex};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What `st_blocks` counts in, whatever the file system's own blocks are: stat(2).
const BLOCK_BYTES: u64 = 512;

/// A log at rest, or a moment of one that is owned, to be read.
#[derive(Debug)]
pub struct Archive {
    shared: Arc<Shared>,
    durable: u64,
    clean: bool,
    live: bool,
    segments: Vec<SegmentInfo>,
    /// Held, not read: while it lives no owner comes.
    #[allow(dead_code)]
    lock: Option<DirectoryLock>,
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// The position of its first frame.
    pub base: Position,
    /// Where its frames end.
    pub end: Position,
    /// The file's size.
    pub file_bytes: u64,
    /// Whole frames in it, behind the checkpoint.
    pub frames: u64,
    /// Records in those, the ones in batches counted singly.
    pub records: u64,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created_ns: u64,
}

impl Archive {
    /// Opens the log in `dir` for reading.
    ///
    /// # Errors
    ///
    /// [`LogError::NoLog`] if there is none, [`LogError::Locked`] while somebody owns it, and what
    /// [`Log::open`](super::Log::open) answers for a log that is damaged.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        check_directory(dir)?;
        let lock = lock_shared(dir)?;
        let Found { chain, chosen, scans, plan, .. } =
            Found::look(&DiskStorage, dir, DiskStorage.boot_id()?, &|_| {})?;
        let found =
            Found { chain, chosen: Chosen::default(), scans, plan, temporaries: Vec::new() };
        let segments = found.sealed(&DiskStorage, true)?;
        let Found { scans, plan, .. } = found;
        let (durable, end) = (plan.durable.min(plan.end), plan.end);
        let moment = Moment { segments, scans, chosen, durable, end };
        Self::of(dir, moment, plan.crashed).map(|archive| Self {
            clean: plan.clean,
            lock,
            ..archive
        })
    }

    /// Opens the log in `dir` for reading while its owner goes on: as it is at this moment, up to the first frame that
    /// is not whole. Takes no lock, and changes nothing; what it found stays readable even if the owner trims it.
    ///
    /// # Errors
    ///
    /// [`LogError::NoLog`] if there is none, or its owner has not written its first frame yet; what
    /// [`Log::open`](super::Log::open) answers for a log that is damaged.
    pub fn open_beside(dir: &Path) -> Result<Self, LogError> {
        check_directory(dir)?;
        let moment = Moment::of(&DiskStorage, dir)?;
        Self::of(dir, moment, 0).map(|archive| Self { live: true, ..archive })
    }

    fn of(dir: &Path, moment: Moment, crashed: u64) -> Result<Self, LogError> {
        let Moment { segments: sealed, scans, chosen, durable, end } = moment;
        let Some(last) = sealed.last() else {
            return Err(LogError::NoLog { dir: dir.to_owned() });
        };
        let (id, segment_bytes) = (last.header.log_id, last.header.capacity);
        let segments = sealed.iter().zip(&scans).map(|(one, scan)| SegmentInfo {
            path: one.path.clone(),
            base: Position::of(one.header.base),
            end: Position::of(one.end),
            file_bytes: one.file_bytes,
            frames: scan.frames,
            records: scan.records,
            created_ns: one.header.created_ns,
        });
        let segments = segments.collect();
        let disk_max_bytes = sealed.iter().map(|segment| segment.file_bytes).sum();
        let bounds = Bounds { start: end, segment_bytes, publish_max: end, settle_max: end };
        let tail = Tail::new(bounds);
        tail.refuse_all();
        let shared = Arc::new(Shared {
            storage: Arc::new(DiskStorage),
            dir: dir.to_owned(),
            id,
            boot_id: last.header.boot_id,
            sizes: Sizes {
                segment_bytes,
                disk_max_bytes,
                sync_interval: None,
                allow_network: true,
            },
            files: Mutex::default(),
            tail,
            segments: Segments::new(Table::new(sealed, u64::MAX, segment_bytes)),
            group: GroupSync::new(end),
            syncer: Syncer::new(None),
            crashed,
            checkpoints: Mutex::new(Checkpoints::new(chosen)),
            preparer: Preparer::default(),
            warm: Warm::default(),
            faults: Faults::default(),
            file_system: DiskStorage.file_system(dir)?,
            clock: SystemClock::new(),
        });
        Ok(Self { shared, durable, clean: false, live: false, segments, lock: None })
    }

    /// Is there an owner, beside whom this shows a moment?
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Copies the log to `to`, a new directory: see [`Log::backup`](super::Log::backup). Beside an owner: the moment
    /// that this shows.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn backup(
        &self,
        to: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, LogError> {
        let table = self.shared.segments.snapshot();
        let end = self.end().as_u64();
        backup::backup(&self.shared, self.checkpoint(), (&table, end), to, progress)
    }

    /// A reader from `from` on: see [`Log::reader`](super::Log::reader).
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(self.shared.clone(), from.max(self.start()).as_u64())
    }

    /// The record at `at`: see [`Log::record`](super::Log::record).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn record(&self, at: Position) -> Result<RecordRef, LogError> {
        reader::record(&self.shared, at.as_u64())
    }

    /// The first position that is kept.
    pub fn start(&self) -> Position {
        self.shared.start()
    }

    /// Where the log ends.
    pub fn end(&self) -> Position {
        Position::of(self.shared.tail.committed().end())
    }

    /// What is sure to be durable.
    pub fn durable(&self) -> Position {
        Position::of(self.durable)
    }

    /// Did the last owner close the log? `false` while there is one.
    pub fn clean(&self) -> bool {
        self.clean
    }

    /// The newest whole checkpoint.
    pub fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        self.shared.checkpoints.lock().newest()
    }

    /// Does the log begin with the first segment that it ever had? See [`Log::is_whole`](super::Log::is_whole).
    pub fn is_whole(&self) -> bool {
        self.shared.is_whole()
    }

    /// Where nothing is any more, in order: the gaps that a [`repair`](super::repair()) left in the segments that are kept,
    /// and whatever else holds nothing there. A checkpoint that is older may speak of records that were in them.
    pub fn gaps(&self) -> Vec<Range<Position>> {
        self.shared.gaps()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.segments.clone()
    }

    /// Bytes of disk that the files in the directory take, as the file system counts them: segments, those prepared ahead
    /// too, and checkpoints.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`] if the directory cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, LogError> {
        let dir = &self.shared.dir;
        let failed = || StorageError::on(Action::Open, dir);
        let mut bytes = 0;
        for entry in std::fs::read_dir(dir).map_err(failed())? {
            match entry.map_err(failed())?.metadata() {
                Ok(found) if found.is_file() => bytes += found.blocks() * BLOCK_BYTES,
                Ok(_) => {}
                // The owner removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error).into()),
            }
        }
        Ok(bytes)
    }

    /// What it lies on, and what a sync is worth there.
    pub fn file_system(&self) -> FileSystem {
        self.shared.file_system
    }

    /// The log's identity.
    pub fn id(&self) -> u128 {
        self.shared.id
    }
}

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Segment files looked at.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Records in those, the ones in batches counted singly.
    pub records: u64,
    /// Bytes of each segment up to the end of its last whole frame.
    pub bytes: u64,
    /// Dead reservations that the next open will pad: no damage.
    pub holes: u64,
    /// Places behind the last durable one where a power loss may have torn the log: no damage, the next open ends there.
    pub torn: u64,
    /// All damage, by file and place.
    pub damages: Vec<Damage>,
}

/// Goes through every frame of every segment of the log in `dir`. `progress` hears of the bytes done and of how many
/// there are; it is called from the threads of the pool that scan, one at a time.
///
/// # Errors
///
/// [`LogError`] if the log cannot be looked at. Damage is no error here, it is the answer; a segment that is missing
/// before another one, or foreign, or newer, is one.
pub fn verify(
    dir: &Path,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Verification, LogError> {
    check_directory(dir)?;
    let _lock = lock_shared(dir)?;
    let boot_id = DiskStorage.boot_id()?;
    let mut found = Verification::default();
    let Some((links, known)) = sound_links(dir, &mut found)? else {
        return Ok(found);
    };
    // Of the last segment this is more than the file has: how far it is written, the scan finds out.
    let total = links.iter().map(|link| link.stop - link.header.base).sum();
    let progress = Mutex::new((0, progress));
    let ranges: Vec<_> = links.iter().map(|link| link.header.base..link.stop).collect();
    let scans = scan_all(&DiskStorage, &links, &ranges, &|bytes| {
        let mut progress = progress.lock();
        progress.0 += bytes;
        let done = progress.0;
        (progress.1)(done, total);
    })?;
    let durable = recovery::durable(&links, &scans, &known);
    let behind = links.last().map_or(0, |last| last.stop);
    let missing = segment::path_of(dir, behind);
    if behind < known.durable && found.damages.iter().all(|one| one.file != missing) {
        // Within a segment the scan finds what is missing; a segment that is gone at the end leaves no other trace.
        found.damages.push(Damage { file: missing, offset: 0, what: DamageKind::SegmentMissing });
    }
    for (index, (link, scan)) in links.iter().zip(&scans).enumerate() {
        found.frames += scan.frames;
        found.records += scan.records;
        found.bytes += scan.last.map_or(0, |(_, end)| end - link.header.base);
        for (verdict, anomaly) in recovery::verdicts(&links, &scans, index, durable, boot_id) {
            match verdict {
                Verdict::Corrupt => found.damages.push(recovery::damage(link, anomaly)),
                Verdict::Pad => found.holes += 1,
                Verdict::Discard => found.torn += 1,
                Verdict::GoOn | Verdict::Accept | Verdict::End => {}
            }
        }
    }
    Ok(found)
}

/// The segments whose headers are sound; damaged ones are reported, and the rest is looked at all the same. `None` where
/// they leave a gap, which the report of the damaged one explains.
fn sound_links(
    dir: &Path,
    found: &mut Verification,
) -> Result<Option<(Vec<Link>, Known)>, LogError> {
    let Listing { segments, checkpoints, .. } = scan::list(&DiskStorage, dir)?;
    let count = segments.len();
    found.segments = count as u64;
    let log_id = segments.iter().find_map(|one| one.header.ok()).map(|header| header.log_id);
    let mut sound = Vec::with_capacity(count);
    for (index, mut listed) in segments.into_iter().enumerate() {
        let unused = index + 1 == count && listed.header.is_err() && listed.blank(&DiskStorage)?;
        if unused || listed.header.is_ok() {
            sound.push(listed);
            continue;
        }
        let healed = heal::by_checksum(&DiskStorage, &listed, log_id)?;
        if healed.is_none() && listed.header != Err(HeaderFault::Damaged) {
            sound.push(listed); // not ours, or newer: the chain says so
            continue;
        }
        let what = DamageKind::SegmentHeader;
        found.damages.push(Damage { file: listed.path.clone(), offset: 0, what });
        if let Some(healed) = healed {
            listed.header = Ok(healed);
            sound.push(listed);
        }
    }
    match recovery::chain(&DiskStorage, sound) {
        Ok(chain) => {
            let log_id = chain.links.first().map(|link| link.header.log_id);
            let chosen = checkpoint::choose(&DiskStorage, checkpoints, log_id)?;
            found.damages.extend(chosen.damages());
            let known = open::begin(&chain, &chosen).or_else(|error| match error {
                LogError::Damaged(_) => Ok(Known::default()), // it is among the damages
                other => Err(other),
            })?;
            Ok(Some((chain.links, known)))
        }
        Err(LogError::SegmentMissing { .. }) if !found.damages.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn check_directory(dir: &Path) -> Result<(), LogError> {
    let found = std::fs::metadata(dir).map_err(StorageError::on(Action::Open, dir))?;
    if found.is_dir() { Ok(()) } else { Err(LogError::NotADirectory { path: dir.to_owned() }) }
}
