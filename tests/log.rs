//! What the log promises, through its public interface.

use millstream::log::{
    AppendError, Archive, Budget, Log, LogError, LogOptions, Position, Record, verify,
};
use std::path::Path;

const SEGMENT: u64 = 64 << 10;

fn small() -> LogOptions {
    LogOptions::new().segment_bytes(SEGMENT).disk_max_bytes(64 << 20)
}

fn put(log: &Log, tag: u16, body: &[u8]) -> Position {
    let record = Record { tag, topic: u32::from(tag) + 1, time_ns: 5, parts: &[body] };
    log.append(&record, Budget::Publish).unwrap().at
}

fn bodies(log: &Log, from: Position) -> Vec<Vec<u8>> {
    let mut reader = log.reader(from);
    std::iter::from_fn(|| reader.next().unwrap()).map(|record| record.body().to_vec()).collect()
}

/// What a killed process leaves: its files as the page cache has them, without its lock.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "seg") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// Promise: what goes in comes out, under its position and in order, over segment ends and in batches.
#[test]
fn what_is_appended_is_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let mut expected = vec![];
    for round in 0..400_usize {
        let body = vec![round as u8; round * 7 % 1900];
        let at = if round % 3 == 0 {
            let (left, right) = body.split_at(body.len() / 2);
            let records = [
                Record { tag: 1, topic: 9, time_ns: 1, parts: &[left] },
                Record { tag: 1, topic: 9, time_ns: 1, parts: &[] },
                Record { tag: 1, topic: 9, time_ns: 1, parts: &[b"-", right] },
            ];
            let appended = log.append_batch(&records, Budget::Publish).unwrap();
            let positions: Vec<_> = appended.positions().collect();
            expected.push((positions[0], left.to_vec()));
            expected.push((positions[1], vec![]));
            expected.push((positions[2], [b"-", right].concat()));
            assert_eq!(positions.len(), 3);
            continue;
        } else {
            put(&log, 2, &body)
        };
        expected.push((at, body));
    }
    let mut reader = log.reader(log.start());
    for (at, body) in &expected {
        let record = reader.next().unwrap().unwrap();
        assert_eq!((record.position(), record.body()), (*at, body.as_slice()));
        assert_eq!(reader.position(), record.next());
        let alone = log.record(*at).unwrap();
        assert_eq!(
            (alone.body(), alone.frame(), alone.next()),
            (body.as_slice(), record.frame(), record.next())
        );
        let shared = alone.bytes(0..body.len());
        drop(alone);
        assert_eq!(shared, body);
    }
    assert!(reader.next().unwrap().is_none());
    assert!(log.stats().segments > 2);
    // From the middle, inner records included.
    for (index, (at, body)) in expected.iter().enumerate().step_by(17) {
        assert_eq!(&bodies(&log, *at)[0], body);
        assert_eq!(bodies(&log, *at).len(), expected.len() - index);
    }
}

/// Promise: after a close everything is there, and the close is known to have been clean.
#[test]
fn a_closed_log_opens_clean_with_all_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let first = Log::open(dir.path(), small()).unwrap();
    let at = put(&first, 1, b"one");
    first.close().unwrap();
    let id = first.id();
    assert!(matches!(
        first.append(&Record { tag: 0, topic: 0, time_ns: 0, parts: &[] }, Budget::Settle),
        Err(AppendError::Closed)
    ));
    let second = Log::open(dir.path(), small()).unwrap();
    assert!(second.recovery().clean);
    assert_eq!(second.id(), id);
    assert_eq!(second.record(at).unwrap().body(), b"one");
    put(&second, 1, b"two");
    assert_eq!(bodies(&second, second.start()), [b"one", b"two"]);
    assert_eq!(bodies(&second, second.recovery().end), [b"two"]);
    second.close().unwrap();
    drop(second);
    let archive = Archive::open(dir.path()).unwrap();
    assert!(archive.clean());
    // The CLOSE frame vouches for all before it, not for itself.
    assert_eq!(archive.end().as_u64(), archive.durable().as_u64() + 32);
    let found = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((found.records, found.segments, found.damages.len()), (2, 2, 0));
}

/// Promise: what `append` returned for survives the process (`Os`), without any sync.
#[test]
fn a_killed_process_loses_nothing_it_appended() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let expected: Vec<_> = (0..300_u32).map(|n| n.to_le_bytes().repeat(100)).collect();
    for body in &expected {
        put(&log, 3, body);
    }
    let copy = crashed(dir.path());
    let again = Log::open(copy.path(), small()).unwrap();
    assert!(!again.recovery().clean);
    assert_eq!(again.recovery().padded, 0);
    assert_eq!(bodies(&again, again.start()), expected);
}

/// Promise: one owner; the second is told whose it is.
#[test]
fn a_second_owner_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    match Log::open(dir.path(), small()) {
        Err(LogError::Locked { dir: refused, pid }) => {
            assert_eq!((refused.as_path(), pid), (dir.path(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(Archive::open(dir.path()), Err(LogError::Locked { .. })));
    drop(log);
    Log::open(dir.path(), small()).unwrap();
}
