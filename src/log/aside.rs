//! Looking beside an owner, and copying under one: what is shown is a moment, and a copy opens by itself.

use super::{Archive, Budget, Log, LogError, LogOptions, Position, Record, verify};
use crate::sync::thread;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const CAPACITY: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 26)
}

fn append(log: &Log, number: u64) {
    let body = number.to_le_bytes();
    let padding = vec![7; (number % 700) as usize];
    let record = Record { tag: 0, topic: 0, time_ns: number, parts: &[&body, &padding] };
    log.append(&record, Budget::Publish).unwrap();
}

/// The numbers that were appended, as far as they can be read.
fn numbers(mut reader: super::Reader) -> Vec<u64> {
    let next = || reader.next().unwrap();
    std::iter::from_fn(next)
        .map(|record| u64::from_le_bytes(*record.body().first_chunk().unwrap()))
        .collect()
}

/// Promise: beside an owner that appends, seals, checkpoints and trims, every look is a row without a gap, and holds all that
/// was durable before it. Fault planted: no second look at a gap that is below `D` by now.
#[test]
fn a_look_beside_a_busy_owner_is_a_row_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, 0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..6_000 {
                append(&log, number);
                if number % 50 == 0 {
                    log.sync().unwrap();
                }
                if number % 1_000 == 0 {
                    let from = log.committed();
                    log.write_checkpoint(from, b"").unwrap();
                    log.trim(from).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let durable = log.durable();
            let archive = Archive::open_beside(dir.path()).unwrap();
            assert!(archive.is_live() && durable <= archive.end());
            let seen = numbers(archive.reader(archive.start()));
            assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seen:?}");
        }
    });
    let archive = Archive::open_beside(dir.path()).unwrap();
    assert!(archive.start() > Position::of(0));
    let expired = archive.record(Position::of(0)).map(|_| ());
    assert!(matches!(expired, Err(LogError::Expired { .. })));
}

/// Promise: a gap that a writer has not filled yet is the end of the moment, and no damage.
#[test]
fn a_neighbours_open_reservation_ends_the_moment() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, 1);
    let end = log.committed();
    let reserved = log.shared.reserve(64, Budget::Publish).unwrap();
    append(&log, 2);
    let archive = Archive::open_beside(dir.path()).unwrap();
    assert_eq!((archive.end(), numbers(archive.reader(archive.start()))), (end, vec![1]));
    let mut header = super::FrameHeader::pad(64, 0);
    header.kind = super::Kind::Pad;
    log.shared.write(reserved, header, |_| {});
    let archive = Archive::open_beside(dir.path()).unwrap();
    assert_eq!(numbers(archive.reader(archive.start())), [1, 2]);
}

/// Promise: what lies below what was durable is damage beside an owner too.
#[test]
fn damage_beside_an_owner_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, 1);
    let at = log.committed().as_u64();
    append(&log, 2);
    log.sync().unwrap();
    append(&log, 3);
    let path = Archive::open_beside(dir.path()).unwrap().segments()[0].path.clone();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff], 4096 + at + 33).unwrap();
    let damaged = Archive::open_beside(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(damaged, LogError::Damaged(damage) if damage.offset == 4096 + at));
}

fn links(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.metadata().unwrap().nlink() > 1).count() as u64
}

/// Promise: a backup under load is a log by itself, with everything that was committed when it began; neither changes the
/// other. Fault planted: the live segment linked too.
#[test]
fn a_backup_opens_by_itself_and_neither_changes_the_other() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("log"), home.path().join("copy"));
    let log = Log::open(&dir, options()).unwrap();
    for number in 0..1_000 {
        append(&log, number);
    }
    log.write_checkpoint(log.start(), b"state").unwrap();
    let backup = thread::scope(|scope| {
        scope.spawn(|| (1_000..2_000).for_each(|number| append(&log, number)));
        let mut last = 0;
        let backup = log.backup(&to, &mut |done, total| {
            assert!(last <= done && done <= total);
            last = done;
        });
        backup.unwrap()
    });
    assert!(backup.linked > 2 && backup.linked == links(&to));
    assert_eq!(backup.linked + 1, backup.segments);
    let whole = verify(&to, &mut |_, _| {}).unwrap();
    assert_eq!((whole.damages.len(), whole.segments), (0, backup.segments));
    let copied = Archive::open(&to).unwrap();
    assert_eq!((copied.end(), copied.id()), (backup.end, log.id()));
    assert_eq!(copied.checkpoint().unwrap().body(), b"state");
    let seen = numbers(copied.reader(copied.start()));
    assert!(seen.len() >= 1_000 && seen.iter().copied().eq(0..seen.len() as u64));
    drop(copied);
    let second = Log::open(&to, options()).unwrap();
    append(&second, 77);
    append(&log, 2_000);
    second.close().unwrap();
    assert!(numbers(log.reader(log.start())).into_iter().eq(0..2_001));
    log.close().unwrap();
    drop(log);
    assert_eq!(verify(&dir, &mut |_, _| {}).unwrap().damages, []);
    assert!(
        numbers(Log::open(&dir, options()).unwrap().reader(Position::of(0)))
            .into_iter()
            .eq(0..2_001)
    );
}

/// Promise: the copy of a log whose owner was killed has its dead reservations filled, and no file in which one lies is shared.
#[test]
fn a_log_at_rest_is_copied_as_the_next_open_would_find_it() {
    let home = tempfile::tempdir().unwrap();
    let (dir, beside, to) =
        (home.path().join("log"), home.path().join("beside"), home.path().join("copy"));
    let log = Log::open(&dir, options()).unwrap();
    (0..600).for_each(|number| append(&log, number));
    let _never_filled = log.shared.reserve(64, Budget::Publish).unwrap();
    (600..630).for_each(|number| append(&log, number));
    // As a kill would leave it: its files, copied while it stands.
    std::fs::create_dir(&beside).unwrap();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, beside.join(path.file_name().unwrap())).unwrap();
    }
    std::mem::forget(log); // its gap would hold up its closing
    let archive = Archive::open(&beside).unwrap();
    let backup = archive.backup(&to, &mut |_, _| {}).unwrap();
    assert!(backup.linked > 0 && backup.linked < backup.segments, "{backup:?}");
    let whole = verify(&to, &mut |_, _| {}).unwrap();
    assert_eq!((whole.damages.len(), whole.holes), (0, 0));
    let copied = Archive::open(&to).unwrap();
    assert!(numbers(copied.reader(copied.start())).into_iter().eq(0..630));
}

#[test]
fn a_backup_takes_no_place_that_something_is_in() {
    let home = tempfile::tempdir().unwrap();
    let log = Log::open(&home.path().join("log"), options()).unwrap();
    let to = home.path().join("copy");
    std::fs::create_dir(&to).unwrap();
    log.backup(&to, &mut |_, _| {}).unwrap();
    let again = log.backup(&to, &mut |_, _| {});
    assert!(matches!(again, Err(LogError::NotEmpty { dir }) if dir == to));
    std::fs::write(home.path().join("file"), b"").unwrap();
    let file = log.backup(&home.path().join("file"), &mut |_, _| {});
    assert!(matches!(file, Err(LogError::NotADirectory { .. })));
}
