//! Checkpoints and reclaim, as a user of the log sees them.
//!
//! Method: logs of small segments in real directories; a crash is a copy of the directory of a log that is still open,
//! which is what a killed process leaves.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::log::{
    AppendError, Budget, DamageKind, Log, LogError, LogOptions, Position, Record, verify,
};
use std::path::{Path, PathBuf};

const CAPACITY: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(8 * (CAPACITY + 4096))
}

fn open(dir: &Path) -> Log {
    Log::open(dir, options()).unwrap()
}

fn append(log: &Log, body: &[u8]) -> Result<Position, AppendError> {
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[body] };
    log.append(&record, Budget::Publish).map(|appended| appended.at)
}

/// Appends numbered records of about 1 KiB until the log has grown by that many segments.
fn grow(log: &Log, first: u32, segments: u64) -> Vec<Position> {
    let upto = log.committed().as_u64() + segments * CAPACITY;
    let mut places = Vec::new();
    while log.committed().as_u64() < upto {
        let number = first + places.len() as u32;
        places.push(append(log, &[&number.to_le_bytes()[..], &[0; 1000]].concat()).unwrap());
    }
    places
}

fn numbers(log: &Log, from: Position) -> Vec<u32> {
    let mut reader = log.reader(from);
    let next = || reader.next().unwrap();
    std::iter::from_fn(next)
        .map(|record| u32::from_le_bytes(record.body()[..4].try_into().unwrap()))
        .collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}

/// What a process that is killed now leaves.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for extension in ["seg", "ckpt"] {
        for path in files(dir, extension) {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn spoil(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Promise: whole segments below the place go, others stay; what was removed is said to be so.
#[test]
fn a_trim_removes_whole_segments_and_says_so_to_those_who_come_late() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let places = grow(&log, 0, 3);
    let mut late = log.reader(places[0]);
    late.next().unwrap().unwrap();
    let held = log.record(places[3]).unwrap();
    let keep = places[places.len() - 5];
    let trimmed = log.trim(keep).unwrap();
    let whole = keep.as_u64() / CAPACITY;
    assert!(whole > 1);
    assert_eq!((trimmed.segments, trimmed.bytes), (whole, whole * (CAPACITY + 4096)));
    assert!(!dir.path().join("0000000000000000.seg").exists());
    assert!(log.start() <= keep);
    assert!(matches!(log.record(places[0]), Err(LogError::Expired { .. })));
    let expired = loop {
        match late.next() {
            Ok(Some(_)) => {} // it is in its segment still
            Ok(None) => panic!("it passed over what was removed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(expired, LogError::Expired { .. }), "{expired}");
    assert_eq!(held.body()[..4], 3_u32.to_le_bytes(), "what is held stays good");
    let last = places.len() as u32 - 5;
    assert_eq!(numbers(&log, keep)[0], last);
    assert!(!log.is_whole());
    log.close().unwrap();
    assert_eq!(held.body()[..4], 3_u32.to_le_bytes());
    let log = open(dir.path());
    assert!(numbers(&log, keep).starts_with(&[last]), "a log without its beginning opens");
}

/// Promise: the disk limit bounds what is there, not what was ever there: a full log that is trimmed goes on, for ever.
#[test]
fn a_full_log_goes_on_when_it_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut written = 0;
    for _ in 0..12 {
        let last = loop {
            match append(&log, &[7; 1000]) {
                Ok(_) => written += 1,
                Err(AppendError::Full) => break log.committed(),
                Err(other) => panic!("{other}"),
            }
        };
        assert!(log.stats().disk_bytes <= 8 * (CAPACITY + 4096));
        assert!(log.trim(last).unwrap().segments > 0);
    }
    assert!(written as u64 * 1000 > 40 * CAPACITY, "{written}");
    log.close().unwrap();
}

/// Promise: the next open finds the newest checkpoint, reads on from it, and keeps two files.
#[test]
fn a_checkpoint_is_found_by_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(log.checkpoint().is_none());
    for state in [&b"one"[..], b"two", b"three"] {
        grow(&log, 0, 1);
        log.write_checkpoint(log.committed(), state).unwrap();
        log.trim(log.committed()).unwrap();
    }
    assert_eq!(files(dir.path(), "ckpt").len(), 2);
    let killed = crashed(dir.path());
    log.close().unwrap();
    drop(log);
    for dir in [dir.path(), killed.path()] {
        let log = open(dir);
        let found = log.checkpoint().unwrap();
        assert_eq!((found.body(), found.sequence()), (&b"three"[..], 2));
        assert!(log.start() <= found.replay_from());
        assert_eq!(numbers(&log, found.replay_from()), [0_u32; 0]);
    }
}

/// Promise: one rotten checkpoint costs a longer way, nothing else: the segments that the older one needs are there.
#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    grow(&log, 0, 1);
    let older = log.committed();
    log.write_checkpoint(older, b"older").unwrap();
    let places = grow(&log, 1000, 1);
    log.write_checkpoint(log.committed(), b"newer").unwrap();
    log.trim(log.committed()).unwrap();
    drop(log);
    let newest = files(dir.path(), "ckpt").pop().unwrap();
    spoil(&newest, 90);
    let found = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((&found.damages[0].file, found.damages[0].what), (&newest, DamageKind::Checkpoint));
    let log = open(dir.path());
    assert_eq!(log.recovery().checkpoints_damaged, 1);
    let found = log.checkpoint().unwrap();
    assert_eq!((found.body(), found.replay_from()), (&b"older"[..], older));
    assert_eq!(numbers(&log, older).len(), places.len());
    log.write_checkpoint(log.committed(), b"mended").unwrap();
    assert!(!newest.exists(), "the damaged one goes when the next is there");
    assert_eq!(log.checkpoint().unwrap().sequence(), 2, "its number is not given again");
}

/// Promise: without a whole checkpoint a log that has its beginning opens, and one that has not is refused by name.
#[test]
fn damage_of_all_checkpoints_is_refused_where_they_are_needed() {
    for trimmed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        for _ in 0..2 {
            grow(&log, 0, 1);
            log.write_checkpoint(log.committed(), b"state").unwrap();
        }
        if trimmed {
            assert!(log.trim(log.committed()).unwrap().segments > 0);
        }
        drop(log);
        let checkpoints = files(dir.path(), "ckpt");
        checkpoints.iter().for_each(|path| spoil(path, 50));
        match Log::open(dir.path(), options()) {
            Ok(log) => assert!(!trimmed && log.checkpoint().is_none() && log.is_whole()),
            Err(LogError::Damaged(damage)) => {
                assert!(trimmed);
                let named = (&damage.file, damage.what);
                assert_eq!(named, (&checkpoints[1], DamageKind::Checkpoint));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Promise: what a checkpoint needs and is not there is missed by name: a segment at its beginning, the end of the log,
/// the right log.
#[test]
fn a_checkpoint_that_does_not_fit_the_segments_is_refused() {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        grow(&log, 0, 1);
        log.write_checkpoint(log.committed(), b"state").unwrap();
        grow(&log, 0, 1);
        log.close().unwrap();
        dir
    };
    let refused = |dir: &Path| Log::open(dir, options()).map(|_| ()).unwrap_err();
    let dir = make();
    let segments = files(dir.path(), "seg");
    std::fs::remove_file(&segments[0]).unwrap();
    std::fs::remove_file(&segments[1]).unwrap();
    assert!(
        matches!(refused(dir.path()), LogError::SegmentMissing { path } if path == segments[2])
    );

    let dir = make();
    for segment in &files(dir.path(), "seg")[1..] {
        std::fs::remove_file(segment).unwrap();
    }
    assert!(matches!(refused(dir.path()), LogError::EndMissing { .. }));

    let (dir, other) = (make(), make());
    let foreign = files(other.path(), "ckpt").pop().unwrap();
    let here = dir.path().join("0000000000000009.ckpt");
    std::fs::copy(foreign, &here).unwrap();
    assert!(matches!(refused(dir.path()), LogError::Foreign { path } if path == here));
}

/// Promise: an open looks only at what lies behind the checkpoint; damage before it is found by whoever reads there.
#[test]
fn an_open_looks_only_behind_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let places = grow(&log, 0, 1);
    log.write_checkpoint(log.committed(), b"state").unwrap();
    append(&log, b"behind").unwrap();
    drop(log);
    spoil(&files(dir.path(), "seg")[0], 4096 + places[2].as_u64() as usize + 500);
    assert_eq!(verify(dir.path(), &mut |_, _| {}).unwrap().damages.len(), 1);
    let log = open(dir.path());
    let damaged = log.record(places[2]).map(|_| ()).unwrap_err();
    assert!(matches!(damaged, LogError::Damaged(damage) if damage.what == DamageKind::FrameBody));
    assert_eq!(log.record(places[3]).unwrap().body()[..4], 3_u32.to_le_bytes());
}

/// Promise: where an owner has died is known for as long as it matters, also behind a checkpoint.
#[test]
fn a_checkpoint_remembers_where_an_owner_died() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    grow(&log, 0, 1);
    let end = log.committed();
    let killed = crashed(dir.path());
    let log = open(killed.path());
    assert_eq!((log.recovery().clean, log.recovery().crashed), (false, end));
    grow(&log, 0, 1);
    log.write_checkpoint(log.committed(), b"state").unwrap();
    log.close().unwrap();
    drop(log);
    let log = open(killed.path());
    assert_eq!((log.recovery().clean, log.recovery().crashed), (true, end));
}

/// Promise: a checkpoint speaks only of what is there; a state that cannot be kept is refused.
#[test]
fn a_checkpoint_of_what_is_not_committed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let beyond = Position::from_u64(log.committed().as_u64() + 32).unwrap();
    let refused = log.write_checkpoint(beyond, b"");
    assert!(matches!(refused, Err(LogError::NotCommitted { at }) if at == beyond));
    assert!(files(dir.path(), "ckpt").is_empty());
}

/// Promise: a temporary file that a crash left is removed.
#[test]
fn an_unfinished_checkpoint_is_removed_by_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.write_checkpoint(log.committed(), b"state").unwrap();
    drop(log);
    let unfinished = dir.path().join("0000000000000001.ckpt.tmp");
    std::fs::write(&unfinished, b"half").unwrap();
    let log = open(dir.path());
    assert!(!unfinished.exists());
    assert_eq!(log.checkpoint().unwrap().body(), b"state");
}

/// Promise: nothing that either kept checkpoint needs is ever removed.
#[test]
fn hole_3_5_a_trim_stops_at_the_older_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    grow(&log, 0, 1);
    let older = log.committed();
    log.write_checkpoint(older, b"older").unwrap();
    grow(&log, 0, 1);
    log.write_checkpoint(log.committed(), b"newer").unwrap();
    log.trim(log.committed()).unwrap();
    assert!(log.start() <= older, "{} > {older}", log.start());
    log.write_checkpoint(log.committed(), b"newest").unwrap();
    assert!(log.trim(log.committed()).unwrap().segments > 0, "the older one went, and its need");
}
