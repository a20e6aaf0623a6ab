//! What `open` makes of disks as crashes leave them: each row of the recovery table, on real files.
//!
//! Method: segments are built byte by byte with the codec, opened, and read back. Where the log has to be refused, every
//! file must be as it was.

use super::disk::{DiskStorage, Storage};
use super::error::{DamageKind, LogError};
use super::format::{FrameHeader, Kind, LAG_UNKNOWN, SegmentHeader, durable_lag};
use super::{Archive, Budget, Log, LogOptions, Position, Record, segment, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CAPACITY: u64 = 64 << 10;
const ID: u128 = 77;

/// A directory of segments under construction.
struct Disk(tempfile::TempDir);

/// A segment under construction.
struct Making {
    header: SegmentHeader,
    at: u64,
    bytes: Vec<u8>,
    path: PathBuf,
}

fn this_boot() -> u128 {
    DiskStorage.boot_id().unwrap()
}

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    /// The `index`th segment, behind a predecessor that is full; salts are 1, 2, 3, ...
    fn segment(&self, index: u64, boot_id: u128) -> Making {
        let base = index * CAPACITY;
        let header = SegmentHeader {
            repaired: false,
            log_id: ID,
            boot_id,
            base,
            capacity: CAPACITY,
            salt: index + 1,
            prev_salt: index,
            prev_end: base,
            durable: 0,
            created_ns: 0,
        };
        self.with(header)
    }

    fn with(&self, header: SegmentHeader) -> Making {
        let bytes = vec![0; (4096 + CAPACITY) as usize];
        Making { header, at: header.base, bytes, path: segment::path_of(self.dir(), header.base) }
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path());
        let segments = entries.filter(|path| path.extension().is_some_and(|it| it == "seg"));
        segments.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    fn open(&self) -> Result<Log, LogError> {
        Log::open(self.dir(), LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 24))
    }

    /// Opens, expects a refusal, and that nothing was touched.
    fn refused(&self) -> LogError {
        let before = self.files();
        let archive = Archive::open(self.dir()).map(|_| ()).unwrap_err();
        let refusal = self.open().map(|_| ()).unwrap_err();
        assert_eq!(self.files(), before, "a refused log is left as it was");
        assert_eq!(archive.to_string(), refusal.to_string());
        refusal
    }

    /// Opens and reads all bodies; an archive reads the same before.
    fn opened(&self) -> (Log, Vec<Vec<u8>>) {
        let archived = Archive::open(self.dir()).map(|archive| {
            let mut reader = archive.reader(archive.start());
            let next = || reader.next().unwrap();
            std::iter::from_fn(next).map(|record| record.body().to_vec()).collect::<Vec<_>>()
        });
        let log = self.open().unwrap();
        let found = bodies(&log);
        match archived {
            Ok(archived) => assert_eq!(archived, found),
            Err(LogError::NoLog { .. }) => assert!(found.is_empty()),
            Err(other) => panic!("{other}"),
        }
        (log, found)
    }
}

fn bodies(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader(log.start());
    std::iter::from_fn(|| reader.next().unwrap()).map(|record| record.body().to_vec()).collect()
}

fn append(log: &Log, body: &[u8]) {
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[body] };
    log.append(&record, Budget::Publish).unwrap();
}

impl Making {
    fn offset(&self) -> usize {
        (4096 + self.at - self.header.base) as usize
    }

    fn frame(mut self, kind: Kind, body: &[u8], lag: u32) -> Self {
        let header = FrameHeader {
            len: 32 + body.len() as u32,
            body_crc: crc32c::crc32c(body),
            kind,
            flags: 0,
            tag: 0,
            durable_lag: lag,
            topic: 0,
            time_ns: 0,
        };
        let from = self.offset();
        self.bytes[from..from + 32].copy_from_slice(&header.encode(self.header.seal(), self.at));
        self.bytes[from + 32..from + 32 + body.len()].copy_from_slice(body);
        self.at += header.span();
        self
    }

    /// A record that knew nothing of what is durable.
    fn record(self, body: &[u8]) -> Self {
        self.frame(Kind::Record, body, LAG_UNKNOWN)
    }

    /// A record that knew everything before `durable` to be.
    fn knowing(self, body: &[u8], durable: u64) -> Self {
        let lag = durable_lag(self.at, durable);
        self.frame(Kind::Record, body, lag)
    }

    /// Nothing, for that many bytes.
    fn hole(mut self, bytes: u64) -> Self {
        self.at += bytes;
        self
    }

    /// A header that no writer wrote.
    fn garbage(mut self) -> Self {
        let from = self.offset();
        self.bytes[from..from + 32].fill(0xa5);
        self.at += 32;
        self
    }

    /// A PAD to the end of the segment.
    fn pad_to_end(mut self) -> Self {
        let len = (self.header.capacity_end() - self.at) as u32;
        let from = self.offset();
        let header = FrameHeader::pad(len, LAG_UNKNOWN).encode(self.header.seal(), self.at);
        self.bytes[from..from + 32].copy_from_slice(&header);
        self.at = self.header.capacity_end();
        self
    }

    /// Spoils the last byte written in front.
    fn spoil(mut self, back: usize) -> Self {
        let from = self.offset();
        self.bytes[from - back] ^= 1;
        self
    }

    fn done(mut self) {
        self.bytes[..108].copy_from_slice(&self.header.encode());
        std::fs::write(&self.path, &self.bytes).unwrap();
    }
}

fn damage(refusal: LogError) -> (u64, DamageKind) {
    match refusal {
        LogError::Damaged(damage) => (damage.offset, damage.what),
        other => panic!("{other}"),
    }
}

#[test]
fn row_1_a_newer_version_a_foreign_segment_and_a_damaged_header_are_refused_by_name() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").pad_to_end().done();
    let path = segment::path_of(disk.dir(), CAPACITY);
    let mut newer = disk.segment(1, this_boot()).record(b"b");
    newer.bytes[..108].copy_from_slice(&newer.header.encode());
    newer.bytes[8] = 9;
    std::fs::write(&path, &newer.bytes).unwrap();
    assert!(matches!(disk.refused(), LogError::Newer { version: 9, path: named } if named == path));

    newer.bytes[8] = 1;
    newer.bytes[50] ^= 1;
    std::fs::write(&path, &newer.bytes).unwrap();
    assert_eq!(damage(disk.refused()), (0, DamageKind::SegmentHeader));

    newer.bytes[0] = b'x';
    std::fs::write(&path, &newer.bytes).unwrap();
    assert!(matches!(disk.refused(), LogError::NotOurs { path: named } if named == path));
    std::fs::write(&path, b"notes of mine").unwrap();
    assert!(matches!(disk.refused(), LogError::NotOurs { path: named } if named == path));

    let foreign = SegmentHeader { log_id: ID + 1, ..newer.header };
    disk.with(foreign).record(b"b").done();
    assert!(matches!(disk.refused(), LogError::Foreign { path: named } if named == path));

    let misnamed = segment::path_of(disk.dir(), 2 * CAPACITY);
    std::fs::rename(&path, &misnamed).unwrap();
    assert_eq!(damage(disk.refused()), (0, DamageKind::SegmentHeader));
}

#[test]
fn row_1_a_last_file_of_nothing_but_zeros_is_a_leftover() {
    for bytes in [0, 100, 4096, 70_000] {
        let disk = Disk::new();
        disk.segment(0, this_boot()).record(b"a").done();
        std::fs::write(segment::path_of(disk.dir(), CAPACITY), vec![0; bytes]).unwrap();
        let (log, found) = disk.opened();
        assert_eq!((found, log.recovery().files_dropped), (vec![b"a".to_vec()], 1));
    }
}

#[test]
fn row_2_a_segment_of_a_discarded_timeline_is_removed() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").done();
    let stale = disk.segment(1, this_boot());
    let stale = SegmentHeader { prev_salt: 999, ..stale.header };
    disk.with(stale).record(b"ghost").done();
    let (log, found) = disk.opened();
    assert_eq!((found, log.recovery().files_dropped), (vec![b"a".to_vec()], 1));
}

#[test]
fn row_3_reading_goes_on_in_the_successor_and_a_ghost_behind_the_seam_stays_dead() {
    let disk = Disk::new();
    // Hole 1.3: an unacknowledged frame that survived behind the recovered end.
    let old = disk.segment(0, this_boot()).record(b"a");
    let end = old.at;
    old.hole(32).record(b"ghost").done();
    let next = disk.segment(1, this_boot());
    disk.with(SegmentHeader { prev_end: end, ..next.header }).record(b"b").done();
    let (log, found) = disk.opened();
    assert_eq!(found, [b"a", b"b"]);
    assert_eq!(log.recovery().padded, 0);
    let from_the_seam = log.reader(Position::from_u64(end).unwrap()).next().unwrap().unwrap();
    assert_eq!(from_the_seam.body(), b"b");
}

#[test]
fn row_4_whole_frames_are_accepted_after_either_crash() {
    for boot in [this_boot(), 1] {
        let disk = Disk::new();
        disk.segment(0, boot).record(b"a").record(b"").record(&[7; 5000]).done();
        let (log, found) = disk.opened();
        assert_eq!(found, [b"a".to_vec(), vec![], vec![7; 5000]]);
        assert_eq!(log.recovery().frames_discarded, 0);
    }
}

#[test]
fn row_5_a_damaged_body_below_the_durable_mark_is_refused_and_placed() {
    for boot in [this_boot(), 1] {
        let disk = Disk::new();
        let spoiled = disk.segment(0, boot).record(b"a").record(&[1; 32]).spoil(5);
        let durable = spoiled.at;
        spoiled.knowing(b"c", durable).done();
        assert_eq!(damage(disk.refused()), (4096 + 64, DamageKind::FrameBody));
        let found = verify(disk.dir(), &mut |_, _| {}).unwrap();
        assert_eq!((found.frames, found.damages.len()), (2, 1));
    }
}

#[test]
fn row_6_a_gap_below_the_durable_mark_is_refused_and_placed() {
    for boot in [this_boot(), 1] {
        let disk = Disk::new();
        let gap = disk.segment(0, boot).record(b"a").hole(64);
        let durable = gap.at;
        gap.knowing(b"c", durable).done();
        assert_eq!(damage(disk.refused()), (4096 + 64, DamageKind::FrameMissing));

        let disk = Disk::new();
        let bad = disk.segment(0, boot).record(b"a").garbage();
        let durable = bad.at;
        bad.knowing(b"c", durable).done();
        assert_eq!(damage(disk.refused()), (4096 + 64, DamageKind::FrameHeader));
    }
}

#[test]
fn row_7_hole_1_1_a_dead_reservation_is_padded_and_what_is_behind_it_kept() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").hole(96).record(b"b").hole(32).record(b"c").done();
    let (log, found) = disk.opened();
    assert_eq!(found, [b"a", b"b", b"c"]);
    assert_eq!((log.recovery().padded, log.recovery().clean), (2, false));
    append(&log, b"d");
    log.close().unwrap();
    drop(log);
    let (log, found) = disk.opened();
    assert_eq!(found, [b"a", b"b", b"c", b"d"]);
    assert_eq!((log.recovery().padded, log.recovery().clean), (0, true));
}

#[test]
fn row_7_a_dead_reservation_at_a_segments_end_is_padded_up_to_the_next() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").done();
    disk.segment(1, this_boot()).record(b"b").done();
    let (log, found) = disk.opened();
    assert_eq!(found, [b"a", b"b"]);
    assert_eq!(log.recovery().padded, 1);
}

#[test]
fn row_8_zeros_with_nothing_behind_are_the_end_and_unused_segments_go() {
    let disk = Disk::new();
    let last = disk.segment(0, this_boot()).record(b"a");
    let end = last.at;
    last.done();
    disk.segment(1, this_boot()).done();
    disk.segment(2, this_boot()).done();
    std::fs::write(disk.dir().join("0000000000030000.seg.tmp"), b"half").unwrap();
    let (log, found) = disk.opened();
    assert_eq!(found, [b"a"]);
    let recovery = log.recovery();
    assert_eq!((recovery.end.as_u64(), recovery.files_dropped), (end, 2));
    assert_eq!((recovery.padded, recovery.frames_discarded), (0, 0));
    assert!(!disk.dir().join("0000000000030000.seg.tmp").exists());
    drop(log);
    assert_eq!(disk.files().len(), 2, "the old segment, and the new one under the next one's name");
}

#[test]
fn row_9_what_a_dead_process_cannot_have_torn_is_refused() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").garbage().done();
    assert_eq!(damage(disk.refused()), (4096 + 64, DamageKind::FrameHeader));
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").record(&[1; 32]).spoil(1).done();
    assert_eq!(damage(disk.refused()), (4096 + 64, DamageKind::FrameBody));
}

#[test]
fn row_10_hole_1_2_after_a_power_loss_the_first_hole_is_the_end() {
    for spoiled in 0..3 {
        let disk = Disk::new();
        let sure = disk.segment(0, 1).record(b"a");
        let durable = sure.at;
        let torn = sure.knowing(b"b", durable);
        let end = torn.at;
        let torn = match spoiled {
            0 => torn.hole(64),
            1 => torn.garbage(),
            _ => torn.record(&[1; 32]).spoil(1),
        };
        torn.record(b"unacknowledged").pad_to_end().done();
        disk.segment(1, 1).record(b"unacknowledged too").done();
        let (log, found) = disk.opened();
        assert_eq!(found, [b"a", b"b"]);
        let recovery = log.recovery().clone();
        assert_eq!((recovery.end.as_u64(), recovery.durable.as_u64()), (end, durable));
        assert_eq!((recovery.frames_discarded, recovery.files_dropped), (3, 1));
        assert!(recovery.bytes_discarded > 64);
        append(&log, b"new");
        drop(log);
        // Hole 1.3: what was discarded does not come back.
        let (_log, found) = disk.opened();
        assert_eq!(found, [b"a".to_vec(), b"b".to_vec(), b"new".to_vec()]);
    }
}

/// Promise: what is not sure to be durable is written again before it is served: after a failed sync the page cache shows
/// what the disk does not have. Method: the file's time of change tells; its length is right already.
#[test]
fn hole_1_9_what_may_be_in_the_page_cache_only_is_written_again() {
    for sure in [false, true] {
        let disk = Disk::new();
        let mut making = disk.segment(0, this_boot()).record(b"a");
        let end = making.at;
        making.bytes.truncate(8192);
        let path = making.path.clone();
        if sure {
            let next = disk.segment(1, this_boot());
            disk.with(SegmentHeader { prev_end: end, durable: end, ..next.header })
                .record(b"b")
                .done();
        }
        making.done();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        let (_log, _) = disk.opened();
        let changed = std::fs::metadata(&path).unwrap().modified().unwrap() != long_ago;
        assert_eq!(changed, !sure);
    }
}

#[test]
fn row_11_a_missing_segment_is_refused_by_name() {
    let disk = Disk::new();
    disk.segment(0, this_boot()).record(b"a").pad_to_end().done();
    disk.segment(2, this_boot()).record(b"c").done();
    let path = segment::path_of(disk.dir(), 2 * CAPACITY);
    assert!(matches!(disk.refused(), LogError::SegmentMissing { path: named } if named == path));
}

/// Promise: bytes of one segment never pass for frames of another, whatever its place (1.3, 1.4).
#[test]
fn each_segment_has_a_salt_of_its_own_and_names_its_predecessors() {
    let disk = Disk::new();
    for _ in 0..3 {
        let log = disk.open().unwrap();
        for _ in 0..100 {
            append(&log, &[1; 1000]);
        }
    }
    let headers = disk.files().into_values().map(|bytes| SegmentHeader::decode(&bytes).unwrap());
    let headers: Vec<_> = headers.collect();
    assert!(headers.len() >= 6);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].prev_salt, pair[0].salt);
    }
    let salts: std::collections::BTreeSet<_> = headers.iter().map(|header| header.salt).collect();
    assert_eq!(salts.len(), headers.len());
}

#[test]
fn a_log_of_which_nothing_is_left_keeps_its_identity_and_its_place() {
    let disk = Disk::new();
    disk.segment(3, this_boot()).done();
    let (log, found) = disk.opened();
    assert!(found.is_empty());
    assert_eq!((log.id(), log.start().as_u64()), (ID, 3 * CAPACITY));
}

#[test]
fn a_segment_of_another_size_stays_readable_and_new_ones_do_not_overlap_it() {
    let disk = Disk::new();
    disk.segment(1, this_boot()).record(b"a").done();
    for (capacity, body) in [(1 << 18, b"b"), (1 << 16, b"c"), (1 << 17, b"d")] {
        let options = LogOptions::new().segment_bytes(capacity);
        let log = Log::open(disk.dir(), options).unwrap();
        append(&log, body);
    }
    let (_log, found) = disk.opened();
    assert_eq!(found, [b"a", b"b", b"c", b"d"]);
}
