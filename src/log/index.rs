//! The index of a full segment: which (tag, topic) pairs its records have, so that a reader who wants others passes it whole.
//!
//! It only ever saves reading. What it answers is "nothing here is wanted" or "read it"; an index that is missing, damaged,
//! stale or of another segment is made again from the headers of the frames, in memory, when somebody asks. That walk
//! ends at the first record that is wanted, so asking never costs more than the reading that it may save. A walk that meets
//! damage, or a read error of the disk, answers "read it": then the reader reports what it finds, as ever.
//!
//! ```text
//!   full, committed as a whole ── housekeeping, at leisure ──> made ──> <base as 16 hex digits>.idx
//!   a reader comes to a segment:  made? else the file? else the walk ──> passed whole, or read
//! ```
//!
//! # The file, little-endian, CRC32C
//!
//! | offset | bytes | field | |
//! |--------|-------|-------|-|
//! | 0 | 8 | magic | `MILLIDX` and a zero byte |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | count | of pairs; all ones: more than [`PAIRS_MAX`], such a segment is always read |
//! | 16 | 8 | salt | that of the segment |
//! | 24 | 8 | base | that of the segment |
//! | 32 | 8 | end | where the segment's frames end |
//! | 40 | 8 * count | pairs | tag * 2^32 + topic, ascending, each once |
//! | | 4 | crc | over all before |
//!
//! # Why nothing is synced
//!
//! After a power loss the file is whole, or its checksum says that it is not. And it cannot be whole and wrong: nothing is
//! ever appended to a segment once it is full, and the salt is that segment's alone. What a recovery or a repair takes out
//! of a segment leaves an index that names a pair too many, which costs a reading, or one of another end, which does not
//! count. So the file needs no sync, no synced name, and no place in the order of an open or a trim; nor does the segment
//! have to be durable first.
//!
//! # Orderings
//!
//! All are [relaxed]: `looked` and `settled` save a second attempt; the index itself comes by the lock of `made`.
//!
//! # Limits
//!
//! [`PAIRS_MAX`] pairs: 32 KiB on disk and in memory for a segment, of which the number of open files bounds how many there
//! are. The files do not count against the disk limit. A segment that an earlier owner left gets a file once somebody has
//! asked for all of it; one that is not full when the log closes has none until then.

use super::disk::Storage;
use super::fault::Fault;
use super::format::{FRAME_HEADER_BYTES, FrameHeader, Kind};
use super::preparer::Ground;
use super::segment::Segment;
use super::storage::{Access, check_file_limit};
use super::tail::Seen;
use super::write::Shared;
use crate::sync::{AtomicBool, OnceLock, Ordering};
use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::{Path, PathBuf};

/// How many different pairs of a segment are told apart.
pub(crate) const PAIRS_MAX: usize = 4096;
/// The extension of an index file.
const EXTENSION: &str = "idx";
/// The same, while it has not got its name.
const UNNAMED: &str = "idx.tmp";
/// Cold bytes are brought into memory in pieces of this.
const WARM_BYTES: u64 = 256 << 10;
/// So many records are walked between two looks at whether a writer is in need.
const LOOK_RECORDS: u32 = 1024;
const MAGIC: [u8; 8] = *b"MILLIDX\0";
const VERSION: u32 = 1;
const MIXED: u32 = u32::MAX;
const HEAD_BYTES: usize = 40;
const CRC_BYTES: usize = 4;
const FILE_BYTES_MAX: usize = HEAD_BYTES + 8 * PAIRS_MAX + CRC_BYTES;

const _: () = assert!(PAIRS_MAX < MIXED as usize);

/// Whom a file is of: salt, base and end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    salt: u64,
    base: u64,
    end: u64,
}

impl Owner {
    fn of(segment: &Segment) -> Self {
        let header = &segment.header;
        Self { salt: header.salt, base: header.base, end: segment.end }
    }

    fn words(self) -> [u64; 3] {
        [self.salt, self.base, self.end]
    }
}

/// The pairs of a segment's records.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Index {
    /// All of them, ascending.
    Told(Box<[u64]>),
    /// More than are told apart.
    Mixed,
}

const fn pair(tag: u16, topic: u32) -> u64 {
    (tag as u64) << 32 | topic as u64
}

impl Index {
    fn may_hold(&self, wanted: &mut dyn FnMut(u16, u32) -> bool) -> bool {
        match self {
            Self::Told(pairs) => pairs.iter().any(|&pair| wanted((pair >> 32) as u16, pair as u32)),
            Self::Mixed => true,
        }
    }

    fn encode(&self, owner: Owner) -> Vec<u8> {
        let (count, pairs) = match self {
            Self::Told(pairs) => (pairs.len() as u32, &pairs[..]), // at most PAIRS_MAX
            Self::Mixed => (MIXED, &[][..]),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 8 * pairs.len() + CRC_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        owner.words().iter().chain(pairs).for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The index in those bytes, if they are one, whole, of `owner`.
    fn decode(bytes: &[u8], owner: Owner) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        let (head, body) = covered.split_first_chunk::<HEAD_BYTES>()?;
        let (words, rest) = body.as_chunks::<8>();
        let pairs: Box<[u64]> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let count = u32::from_le_bytes(*head[12..].first_chunk()?);
        let counted = if count == MIXED { 0 } else { count as usize };
        let sound = u32::from_le_bytes(*crc) == crc32c::crc32c(covered)
            && head[..8] == MAGIC
            && head[8..12] == VERSION.to_le_bytes()
            && head[16..] == *owner.words().map(u64::to_le_bytes).as_flattened()
            && rest.is_empty()
            && pairs.len() == counted
            && counted <= PAIRS_MAX
            && pairs.is_sorted_by(|one, next| one < next)
            && pairs.iter().all(|pair| *pair <= self::pair(u16::MAX, u32::MAX));
        sound.then_some(if count == MIXED { Self::Mixed } else { Self::Told(pairs) })
    }
}

/// Pairs, as they are found.
#[derive(Debug, Default)]
struct Gathered {
    pairs: BTreeSet<u64>,
    /// The last one: most records have the pair of their neighbour.
    last: Option<u64>,
}

impl Gathered {
    /// Adds a pair; is it a new one?
    fn add(&mut self, tag: u16, topic: u32) -> bool {
        let found = pair(tag, topic);
        if self.last.replace(found) == Some(found) {
            return false;
        }
        self.pairs.insert(found)
    }

    fn is_mixed(&self) -> bool {
        PAIRS_MAX < self.pairs.len()
    }

    fn into_index(mut self, shared: &Shared) -> Index {
        if shared.faults.planted(Fault::IndexForgets) {
            self.pairs.pop_last();
        }
        match self.is_mixed() {
            true => Index::Mixed,
            false => Index::Told(self.pairs.into_iter().collect()),
        }
    }
}

/// A segment's index, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Lazy {
    made: OnceLock<Index>,
    /// The file was looked for.
    looked: AtomicBool,
    /// There is nothing to be written: it is there, or the disk does not take it.
    settled: AtomicBool,
}

impl Lazy {
    /// The index, if it is made, or its file is there and good.
    fn known(&self, shared: &Shared, segment: &Segment) -> Option<&Index> {
        if let Some(made) = self.made.get() {
            return Some(made);
        }
        let looked = self.looked.swap(true, Ordering::Relaxed); // [relaxed]
        if looked {
            return None;
        }
        let found = read(&*shared.storage, segment)?;
        self.settle();
        Some(self.made.get_or_init(|| found))
    }

    fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed); // [relaxed]
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed) // [relaxed]
    }
}

/// May something wanted be in the segment, all of which was seen committed? A reader that comes to it at `at` asks.
pub(crate) fn may_hold(
    shared: &Shared,
    segment: &Segment,
    (at, seen): (u64, Seen),
    wanted: &mut dyn FnMut(u16, u32) -> bool,
) -> bool {
    if let Some(index) = segment.index.known(shared, segment) {
        return index.may_hold(wanted);
    }
    let (behind, before) = (segment.end - at, at - segment.header.base);
    if behind < before {
        return true; // to walk all of it costs more than to read the rest
    }
    let (mut found, mut hit) = (Gathered::default(), false);
    let walked = walk(segment, seen, |tag, topic| {
        hit = found.add(tag, topic) && wanted(tag, topic);
        if hit || found.is_mixed() { Break(()) } else { Continue(()) }
    });
    if hit || walked.is_none() {
        return true;
    }
    segment.index.made.get_or_init(|| found.into_index(shared)).may_hold(wanted)
}

/// Shows tag and topic of each record of the segment, until `show` has seen enough, or all. `None`: something is there
/// that cannot be read, or is damaged.
fn walk(
    segment: &Segment,
    seen: Seen,
    mut show: impl FnMut(u16, u32) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let mut warm = segment.header.base;
    let mut at = segment.header.base;
    while at < segment.end {
        warm_up(segment, &mut warm, (at, FRAME_HEADER_BYTES as u64), seen)?;
        let frame = segment.frame(at, seen).ok().flatten()?;
        let shown = match frame.kind {
            Kind::Record => show(frame.tag, frame.topic),
            Kind::Batch => {
                // Inner headers have no checksum of their own.
                warm_up(segment, &mut warm, (at, u64::from(frame.len)), seen)?;
                segment.check_body(at, &frame, seen).ok()?;
                walk_batch(segment, (at, &frame), seen, &mut show)?
            }
            Kind::Pad | Kind::Open | Kind::Close => Continue(()),
        };
        if shown.is_break() {
            return Some(Break(()));
        }
        at += frame.span();
    }
    Some(Continue(()))
}

fn walk_batch(
    segment: &Segment,
    (frame, batch): (u64, &FrameHeader),
    seen: Seen,
    show: &mut impl FnMut(u16, u32) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let end = frame + u64::from(batch.len);
    let mut at = frame + FRAME_HEADER_BYTES as u64;
    while at < end {
        let inner = segment.inner(at, end, seen)?;
        if show(inner.tag, inner.topic).is_break() {
            return Some(Break(()));
        }
        at += inner.span();
    }
    Some(Continue(()))
}

/// Brings `bytes` bytes from `at` into memory, and more behind them.
fn warm_up(segment: &Segment, warm: &mut u64, (at, bytes): (u64, u64), seen: Seen) -> Option<()> {
    let needed = (at + bytes).min(segment.end);
    if *warm < needed {
        let ahead = needed.max(at + WARM_BYTES).min(segment.end);
        segment.warm(at, ahead - at, seen).ok()?;
        *warm = ahead;
    }
    Some(())
}

/// Makes and writes the indexes of segments that are full and committed as a whole: those of this open, and those that somebody asked
/// for. Stops when a writer is in need.
pub(crate) fn write_full(shared: &Shared) {
    let committed = shared.tail.committed().end();
    let table = shared.segments.snapshot();
    let full = table.list().iter().filter(|segment| segment.end <= committed);
    for segment in full.filter(|segment| !segment.index.is_settled()) {
        let index = &segment.index;
        if index.made.get().is_none() && segment.is_live() {
            let Some(made) = make(shared, segment) else { return };
            index.made.get_or_init(|| made);
        }
        if is_hurried(shared) {
            return;
        }
        let Some(made) = index.made.get() else { continue };
        let Ok(_files) = shared.own_files() else { return };
        if segment.header.base < shared.start().as_u64() {
            continue; // trimmed meanwhile
        }
        // On a disk that is full, or read-only, it stays in memory.
        let _ = lay_down(&*shared.storage, &path_of(segment), &made.encode(Owner::of(segment)));
        index.settle();
    }
}

/// Is there something more urgent? Also a close, which waits for this thread.
fn is_hurried(shared: &Shared) -> bool {
    let short = shared.limit() < shared.wanted(0) && !shared.has_plenty();
    short || shared.preparer.is_wanted()
}

/// The index of a live segment that is full; `None` if there is no time for it.
fn make(shared: &Shared, segment: &Segment) -> Option<Index> {
    let (mut found, mut records, mut hurried) = (Gathered::default(), 0_u32, false);
    let seen = shared.tail.committed();
    let walked = walk(segment, seen, |tag, topic| {
        found.add(tag, topic);
        records = records.wrapping_add(1);
        hurried = records.is_multiple_of(LOOK_RECORDS) && is_hurried(shared);
        if hurried || found.is_mixed() { Break(()) } else { Continue(()) }
    });
    match walked {
        _ if hurried => None,
        Some(_) => Some(found.into_index(shared)),
        None => Some(Index::Mixed), // it is read, and the reader reports what is wrong
    }
}

fn path_of(segment: &Segment) -> PathBuf {
    segment.path.with_extension(EXTENSION)
}

fn read(storage: &dyn Storage, segment: &Segment) -> Option<Index> {
    let file = storage.open(&path_of(segment), Access::Read).ok()?;
    let bytes = file.bytes().ok().filter(|bytes| *bytes <= FILE_BYTES_MAX as u64)?;
    let mut content = vec![0; bytes as usize];
    file.read_at(&mut content, 0).ok()?;
    Index::decode(&content, Owner::of(segment))
}

fn lay_down(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    check_file_limit(bytes.len() as u64)?;
    let unnamed = path.with_extension(UNNAMED);
    let file = storage.create(&unnamed)?;
    let named = file.write_at(bytes, 0).and_then(|()| storage.rename(&unnamed, path));
    if named.is_err() {
        let _ = storage.remove(&unnamed); // an open removes what stays
    }
    named
}

/// Removes the index of a segment that goes.
pub(crate) fn remove(storage: &dyn Storage, segment: &Segment) {
    // Where there is none there is nothing to do; one that stays is removed by the next open.
    let _ = storage.remove(&path_of(segment));
}

/// Removes the indexes in `dir` of segments that are not there, and those that never got their name.
pub(crate) fn sweep(storage: &dyn Storage, dir: &Path, is_kept: impl Fn(u64) -> bool) {
    let Ok(paths) = storage.list(dir) else { return };
    for path in paths {
        let unnamed = path.file_stem().filter(|_| path.extension().is_some_and(|it| it == "tmp"));
        let base = super::scan::number_of(&path, EXTENSION);
        let useless = match unnamed {
            Some(stem) => super::scan::number_of(Path::new(stem), EXTENSION).is_some(),
            None => base.is_some_and(|base| !is_kept(base)),
        };
        if useless {
            let _ = storage.remove(&path); // it harms nobody
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::DiskStorage;
    use super::super::sim::SimStorage;
    use super::super::{Budget, Log, LogOptions, Record};
    use super::*;
    use crate::sync::{Arc, thread};

    const OWNER: Owner = Owner { salt: 7, base: 64 << 10, end: 128 << 10 };
    const CAPACITY: u64 = 64 << 10;
    const RARE: u32 = 4_000;

    fn told(pairs: &[u64]) -> Index {
        Index::Told(pairs.into())
    }

    /// Promise: bytes are an index only as they were written, and for their own segment only. Method: every cut, every bit,
    /// every field of the owner, and pairs out of order under a checksum that holds.
    #[test]
    fn an_index_is_read_whole_and_for_its_own_segment_or_not_at_all() {
        for index in [told(&[]), told(&[1, 5, pair(u16::MAX, u32::MAX)]), Index::Mixed] {
            let bytes = index.encode(OWNER);
            assert!(bytes.len() <= FILE_BYTES_MAX);
            assert_eq!(Index::decode(&bytes, OWNER), Some(index));
            for cut in 0..bytes.len() {
                assert_eq!(Index::decode(&bytes[..cut], OWNER), None, "cut {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut spoiled = bytes.clone();
                spoiled[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Index::decode(&spoiled, OWNER), None, "bit {bit}");
            }
            assert_eq!(Index::decode(&[&bytes[..], &[0]].concat(), OWNER), None);
            for other in [
                Owner { salt: 8, ..OWNER },
                Owner { base: 0, ..OWNER },
                Owner { end: OWNER.end - 32, ..OWNER },
            ] {
                assert_eq!(Index::decode(&bytes, other), None, "{other:?}");
            }
        }
        for pairs in [&[5, 1][..], &[1, 1], &[1 << 48]] {
            assert_eq!(Index::decode(&told(pairs).encode(OWNER), OWNER), None, "{pairs:?}");
        }
        let many: Vec<u64> = (0..=PAIRS_MAX as u64).collect();
        assert_eq!(Index::decode(&told(&many).encode(OWNER), OWNER), None, "too many");
        let most = told(&many[1..]);
        assert_eq!(Index::decode(&most.encode(OWNER), OWNER), Some(most));
    }

    fn options() -> LogOptions {
        LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 24)
    }

    fn append(log: &Log, topic: u32, bytes: usize) {
        let record = Record { tag: 1, topic, time_ns: 0, parts: &[&vec![3; bytes]] };
        log.append(&record, Budget::Publish).unwrap();
    }

    /// Some segments of topic 1, with one record of [`RARE`] in a batch in the middle.
    fn fill(log: &Log) {
        for segment in 1..=6 {
            while log.committed().as_u64() - log.start().as_u64() < segment * CAPACITY {
                append(log, 1, 1000);
            }
            if segment == 3 {
                let inner = |topic| Record { tag: 1, topic, time_ns: 0, parts: &[b"in"] };
                log.append_batch(&[inner(1), inner(RARE)], Budget::Publish).unwrap();
            }
        }
    }

    /// How many records of `topic` a reader finds that skips the rest, and how many segments it passed.
    fn count(log: &Log, topic: u32) -> (usize, u64) {
        let mut reader = log.reader(log.start());
        let mut found = 0;
        while let Some(record) = reader.next_skipping(&mut |_, one| one == topic).unwrap() {
            found += usize::from(record.topic() == topic);
        }
        assert_eq!(reader.position(), log.committed());
        (found, reader.skipped())
    }

    /// Promise: what is wanted is read, in a batch too, and nothing else is but its segment and the last one.
    #[test]
    fn a_reader_passes_the_segments_in_which_nothing_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        fill(&log);
        assert_eq!(count(&log, RARE), (1, 5));
        assert_eq!(count(&log, 77), (0, 6));
        assert_eq!(count(&log, RARE), (1, 5), "by the indexes now");
        let (all, skipped) = count(&log, 1);
        assert!(all > 360 && skipped == 0);
        log.close().unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        assert_eq!(count(&log, RARE), (1, 6), "the one that was left in the middle too");
        assert_eq!(count(&log, 1), (all, 0));
    }

    /// The oracle of the test above sees an index that leaves a pair out. Fault: it does.
    #[test]
    fn an_index_that_forgets_a_pair_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        log.shared.faults.plant(Fault::IndexForgets);
        fill(&log);
        assert_eq!(count(&log, 77), (0, 6), "all of them are made");
        assert_eq!(count(&log, RARE), (0, 6), "and the rare one is lost");
    }

    /// Promise: a segment of very many topics is read, whoever asks.
    #[test]
    fn a_segment_of_more_topics_than_are_told_apart_is_always_read() {
        let dir = tempfile::tempdir().unwrap();
        let capacity = 1 << 20;
        let log = Log::open(dir.path(), options().segment_bytes(capacity)).unwrap();
        for topic in 0.. {
            append(&log, topic, 0);
            if log.committed().as_u64() > capacity {
                break;
            }
        }
        assert_eq!(count(&log, u32::MAX), (0, 0));
        let view = log.shared.segments.view();
        assert_eq!(view.table().list()[0].index.made.get(), Some(&Index::Mixed));
    }

    /// Promise: housekeeping writes the index of each full segment, and the next open reads by it: nothing
    /// of the segment itself. Method: after the open the frames are spoiled. Trim and open remove what is of no use.
    #[test]
    fn indexes_are_written_used_and_removed_with_their_segments() {
        let dir = tempfile::tempdir().unwrap();
        let indexes = || {
            let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.to_string_lossy().contains(".idx")).collect::<BTreeSet<_>>()
        };
        let log = Log::open(dir.path(), options()).unwrap();
        fill(&log);
        log.sync().unwrap();
        while indexes().len() < 6
            || indexes().iter().any(|path| path.extension().is_some_and(|it| it == "tmp"))
        {
            log.shared.preparer.kick();
            thread::yield_now();
        }
        log.close().unwrap();
        let stray = dir.path().join("00000000ffff0000.idx");
        let unnamed = dir.path().join("0000000000000000.idx.tmp");
        let foreign = dir.path().join("notes.idx.tmp");
        for path in [&stray, &unnamed, &foreign] {
            std::fs::write(path, b"?").unwrap();
        }
        let log = Log::open(dir.path(), options()).unwrap();
        assert!(!stray.exists() && !unnamed.exists() && foreign.exists());
        // Housekeeping may have begun with the last owner's last segment.
        let mut written = indexes();
        written.retain(|path| path.extension().is_some_and(|it| it == "idx"));
        assert!(6 <= written.len(), "{written:?}");
        for segment in log.shared.segments.snapshot().list()[..2].iter() {
            let file = DiskStorage.open(&segment.path, Access::Write).unwrap();
            file.write_at(&[9; 8192], 4096 + 1024).unwrap();
        }
        assert_eq!(count(&log, RARE), (1, 6));
        let second = log.bases()[2];
        log.trim(second).unwrap();
        let left: BTreeSet<_> = written.iter().skip(2).cloned().collect();
        assert!(left.is_subset(&indexes()) && written.iter().take(2).all(|path| !path.exists()));
    }

    /// Promise: whatever is wrong with a segment is reported by its reader as without an index. Method: the topic of the
    /// wanted record changes, in a batch, whose header does not show it, and there is no index file.
    #[test]
    fn damage_is_the_readers_to_report() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        fill(&log);
        log.close().unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        sweep(&DiskStorage, dir.path(), |_| false);
        let mut reader = log.reader(log.start());
        let rare = std::iter::from_fn(|| reader.next().unwrap()).find(|one| one.topic() == RARE);
        let rare = rare.unwrap().position().as_u64();
        let table = log.shared.segments.snapshot();
        let segment = table.holding(rare).unwrap();
        let file = DiskStorage.open(&segment.path, Access::Write).unwrap();
        file.write_at(&9_u32.to_le_bytes(), 4096 + rare - segment.header.base + 20).unwrap();
        let mut reader = log.reader(log.start());
        let mut wanted = |_, topic| topic == RARE;
        let mut read = std::iter::from_fn(|| reader.next_skipping(&mut wanted).transpose());
        assert!(read.any(|each| each.is_err()), "its topic is another one now");
        assert!(segment.index.made.get().is_none());
    }

    /// Promise: what a power cut leaves of an index is taken for whole or for nothing, and never changes what is read.
    #[test]
    fn an_index_that_a_power_cut_tore_costs_nothing_but_time() {
        let dir = Path::new("log");
        let disk = SimStorage::new();
        let log = disk.open_log(dir, options()).unwrap();
        fill(&log);
        log.sync().unwrap();
        assert_eq!(count(&log, RARE), (1, 5));
        while log.shared.segments.snapshot().list()[..6].iter().any(|one| !one.index.is_settled()) {
            log.shared.preparer.kick();
            thread::yield_now();
        }
        let table = log.shared.segments.snapshot();
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        for (segment, cut) in table.list()[..6].iter().zip([0, 1, 39, 40, 48, 51]) {
            let bytes = storage.open(&path_of(segment), Access::Write).unwrap();
            bytes.set_bytes(cut).unwrap();
        }
        drop(log);
        let log = disk.die().open_log(dir, options()).unwrap();
        assert_eq!(count(&log, RARE).0, 1);
    }
}
