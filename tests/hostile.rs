//! Directories that somebody has made on purpose: the checksums hold, and what they vouch for cannot be. Each is a named
//! error or right data; nothing outside of the directory is read, written or waited for, and no panic.
//!
//! Segments are forged by `support/forge.rs`; records of a queue are forged with the log's own interface, which takes any.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::print_stdout)] // Shown where the test fails: the seed.

#[path = "support/forge.rs"]
mod forge;

use forge::{BASE, CAPACITY, CREATED, HEADER_PAGE, PREV_END, PREV_SALT, set_field};
use millstream::log::{Action, Archive, Budget, Cause, Log, LogError, LogOptions, Record, verify};
use millstream::{Config, Engine, Inspection, OpenError, QueueError, Subscription};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(SEGMENT_BYTES).disk_max_bytes(16 << 20)
}

fn config(dir: &Path) -> Config {
    Config::persistent(dir).segment_bytes(SEGMENT_BYTES).workers(1)
}

fn put(log: &Log, tag: u16, topic: u32, body: &[u8]) {
    let record = Record { tag, topic, time_ns: 0, parts: &[body] };
    log.append(&record, Budget::Publish).unwrap();
}

/// A closed log of one segment: five records, a batch of three among them.
fn a_log() -> (tempfile::TempDir, PathBuf, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    put(&log, 1, 0, b"first");
    let parts: [[&[u8]; 1]; 3] = [[b"second"], [&[3; 100]], [b"fourth"]];
    let batch = parts.each_ref().map(|parts| Record { tag: 1, topic: 0, time_ns: 0, parts });
    log.append_batch(&batch, Budget::Publish).unwrap();
    put(&log, 1, 0, &[5; 300]);
    log.close().unwrap();
    let path = dir.path().join("0000000000000000.seg");
    let bodies = read(dir.path()).unwrap();
    assert_eq!(bodies.len(), 5);
    (dir, path, bodies)
}

fn read(dir: &Path) -> Result<Vec<Vec<u8>>, LogError> {
    let archive = Archive::open(dir)?;
    let mut reader = archive.reader(archive.start());
    let mut bodies = Vec::new();
    while let Some(record) = reader.next()? {
        bodies.push(record.body().to_vec());
    }
    Ok(bodies)
}

/// What was there, some of it left out, or an error; by verify, archive and owner alike.
fn never_wrong(dir: &Path, expected: &[Vec<u8>], what: &str) {
    let _ = verify(dir, &mut |_, _| {});
    let judge = |found: &[Vec<u8>]| {
        let mut rest = expected.iter();
        assert!(found.iter().all(|body| rest.any(|other| other == body)), "{what}: wrong data");
    };
    if let Ok(found) = read(dir) {
        judge(&found);
    }
    if let Ok(found) = open_and_read(dir) {
        judge(&found);
    }
}

/// Opens, appends, closes, and reads: what was appended, if it was taken, comes last, and is left out of the answer.
fn open_and_read(dir: &Path) -> Result<Vec<Vec<u8>>, LogError> {
    let log = Log::open(dir, options())?;
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"new"] };
    let new = log.append(&record, Budget::Publish);
    log.close().unwrap();
    drop(log);
    let mut found = read(dir).unwrap();
    if new.is_ok() {
        assert_eq!(found.pop().unwrap(), b"new");
    }
    Ok(found)
}

// ---- segments --------------------------------------------------------------------------------------------------------

/// Promise: a frame whose length is a lie under a right checksum leads nowhere outside of its segment.
/// Method: every frame with lengths at the edges: of the header, the batch, the segment, the file and the number.
#[test]
fn a_length_that_lies_is_named_or_ends_the_log() {
    let (dir, path, bodies) = a_log();
    let whole = fs::read(&path).unwrap();
    let frames = forge::frames(&whole);
    assert_eq!(frames.len(), 5, "OPEN, three, CLOSE");
    let segment = SEGMENT_BYTES as u32;
    let edges = [
        1,
        31,
        32,
        33,
        63,
        64,
        65,
        4096,
        segment - 64,
        segment - 32,
        segment - 31,
        segment,
        segment + 1,
        1 << 30,
        (1 << 31) - 1,
        1 << 31,
        u32::MAX - 31,
        u32::MAX - 30,
        u32::MAX,
    ];
    for frame in &frames {
        for len in edges.into_iter().filter(|len| *len as usize != frame.len) {
            let mut forged = whole.clone();
            forged[frame.offset..frame.offset + 4].copy_from_slice(&len.to_le_bytes());
            forge::seal_frame(&mut forged, frame.offset);
            let copy = tempfile::tempdir().unwrap();
            fs::write(copy.path().join(path.file_name().unwrap()), &forged).unwrap();
            // A length that can be is a frame like any other to whoever sees it; what stands before is right.
            let before = frames.iter().filter(|other| other.offset < frame.offset);
            let before = [0, 0, 1, 4, 5][before.count()];
            let what = format!("{frame:?} of {len}");
            for found in [read(copy.path()), open_and_read(copy.path())].into_iter().flatten() {
                assert!(found.starts_with(&bodies[..before]), "{what}: wrong data");
            }
            let _ = verify(copy.path(), &mut |_, _| {});
        }
    }
    drop(dir);
}

/// Promise: records of a batch that repeat a place, leave their batch, or are more or fewer than it says are damage, where
/// the batch begins.
/// Method: each word inside the batch, the inner headers among them, set to the edges, and the batch sealed again.
#[test]
fn records_of_a_batch_that_cannot_be_are_named() {
    let (dir, path, bodies) = a_log();
    let whole = fs::read(&path).unwrap();
    let batch = forge::frames(&whole)[2];
    let mut refused = 0;
    for word in (batch.offset + forge::FRAME_HEADER..batch.offset + batch.len).step_by(4) {
        let was = forge::u32_at(&whole, word);
        for value in [0, 1, 31, 32, was.wrapping_sub(1), was + 1, was ^ 1 << 31, u32::MAX] {
            let mut forged = whole.clone();
            forged[word..word + 4].copy_from_slice(&value.to_le_bytes());
            forge::seal_frame(&mut forged, batch.offset);
            fs::write(&path, &forged).unwrap();
            let found = verify(dir.path(), &mut |_, _| {}).unwrap();
            match read(dir.path()) {
                Ok(bodies_now) => {
                    assert_eq!(bodies_now.len(), bodies.len(), "word {word} = {value}");
                    assert!(found.damages.is_empty(), "word {word} = {value}: {found:?}");
                }
                Err(LogError::Damaged(damage)) => {
                    assert_eq!((&damage.file, damage.offset), (&path, batch.offset as u64));
                    assert_eq!(found.damages, [damage], "word {word} = {value}");
                    refused += 1;
                }
                Err(other) => panic!("word {word} = {value}: {other}"),
            }
        }
    }
    assert!(40 < refused, "{refused} forgeries were found out");
}

/// Promise: a segment header that cannot be is refused by the file's name, however right its checksum; and where it can be,
/// the data is right.
#[test]
fn a_segment_header_that_cannot_be_is_named() {
    let (dir, path, bodies) = a_log();
    let whole = fs::read(&path).unwrap();
    let edges = [
        0,
        1,
        31,
        32,
        4096,
        SEGMENT_BYTES - 1,
        SEGMENT_BYTES,
        1 << 20,
        1 << 30,
        1 << 31,
        1 << 61,
        1 << 62,
        (1 << 62) - SEGMENT_BYTES,
        1 << 63,
        u64::MAX - SEGMENT_BYTES,
        u64::MAX - 31,
        u64::MAX,
    ];
    for at in (8..104).step_by(8) {
        for value in edges {
            let mut forged = whole.clone();
            set_field(&mut forged, at..at + 8, value);
            let copy = tempfile::tempdir().unwrap();
            let name = if BASE.start == at {
                format!("{value:016x}.seg")
            } else {
                "0000000000000000.seg".into()
            };
            fs::write(copy.path().join(&name), &forged).unwrap();
            if let Err(error) = read(copy.path()) {
                assert!(error.to_string().contains(&name), "{at} = {value}: {error}");
            }
            never_wrong(copy.path(), &bodies, &format!("header {at} = {value}"));
            // The same with every frame sealed anew, for the position and the salt that the header gives them.
            forge::seal_all(&mut forged);
            let copy = tempfile::tempdir().unwrap();
            fs::write(copy.path().join(&name), &forged).unwrap();
            never_wrong(copy.path(), &bodies, &format!("sealed header {at} = {value}"));
        }
    }
    drop((dir, path));
}

/// Promise: positions are given once: a second segment that claims positions of the first is refused by name.
#[test]
fn positions_that_repeat_are_named() {
    let (dir, path, _) = a_log();
    let whole = fs::read(&path).unwrap();
    let salt = forge::u64_at(&whole, 64);
    let end = forge::frames(&whole).last().unwrap().end() - HEADER_PAGE;
    // A first segment of 128 KiB, and one that begins in the middle of it.
    let mut first = whole.clone();
    set_field(&mut first, CAPACITY, 2 * SEGMENT_BYTES);
    let mut second = whole.clone();
    set_field(&mut second, BASE, SEGMENT_BYTES);
    set_field(&mut second, PREV_SALT, salt);
    for prev_end in [0, end as u64, SEGMENT_BYTES] {
        set_field(&mut second, PREV_END, prev_end);
        forge::seal_all(&mut second);
        fs::write(&path, &first).unwrap();
        let other = dir.path().join("0000000000010000.seg");
        fs::write(&other, &second).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(error.to_string().contains("0000000000010000.seg"), "{error}");
        assert!(Log::open(dir.path(), options()).is_err());
        assert_eq!(fs::read(&other).unwrap(), second, "a refused log is left as it was");
    }
}

/// Promise: a clock that was set back, or that was never right, costs nothing: times are carried, not believed.
/// Method: a segment made, and records written, at the end of time; an open today; a message that waits for its retry
/// until then.
#[test]
fn a_clock_set_back_costs_nothing() {
    let (dir, path, bodies) = a_log();
    let mut forged = fs::read(&path).unwrap();
    set_field(&mut forged, CREATED, u64::MAX);
    for frame in forge::frames(&forged) {
        forged[frame.offset + 24..frame.offset + 32].fill(0xff);
        forge::seal_frame(&mut forged, frame.offset);
    }
    fs::write(&path, &forged).unwrap();
    assert_eq!(read(dir.path()).unwrap(), bodies);
    never_wrong(dir.path(), &bodies, "the end of time");
    assert!(read(dir.path()).unwrap().len() == bodies.len() + 1);

    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(config(dir.path())).unwrap();
    drop(engine.subscriber(Subscription::new("a").name("n")).unwrap());
    for text in ["late", "soon"] {
        engine.publish("a", text).unwrap();
    }
    engine.close(Duration::ZERO).unwrap();
    // All messages written at the end of time, and a retry due at it.
    let at = rewrite_times(dir.path());
    let log = Log::open(dir.path(), options()).unwrap();
    let words =
        [0_u64.to_le_bytes(), (at | 4).to_le_bytes(), u64::MAX.to_le_bytes(), 2_u64.to_le_bytes()];
    let mut settle = words.concat();
    settle[4] = 1; // of subscription 0, one entry
    put(&log, 5, 0, &settle);
    log.close().unwrap();
    drop(log);
    let engine = Engine::open(config(dir.path())).unwrap();
    let subscriber = engine.subscriber(Subscription::new("a").name("n")).unwrap();
    let delivery = subscriber.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(delivery.text(), Ok("soon"));
    delivery.ack().unwrap();
    assert!(subscriber.try_recv().unwrap().is_none());
    let stats = engine.stats();
    assert_eq!((stats.queue_size(), stats.depth.subscriptions[0].depth.delayed), (1, 1));
    drop(subscriber);
    engine.close(Duration::from_millis(1)).unwrap();
}

/// Sets the time of every frame to the end of time; answers the place of the first message.
fn rewrite_times(dir: &Path) -> u64 {
    let mut first = None;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "seg") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let base = forge::field(&bytes, BASE);
        for frame in forge::frames(&bytes) {
            bytes[frame.offset + 24..frame.offset + 32].fill(0xff);
            forge::seal_frame(&mut bytes, frame.offset);
            if bytes[frame.offset + 12] == 2 && bytes[frame.offset + 14] == 1 {
                first.get_or_insert(base + (frame.offset - HEADER_PAGE) as u64);
            }
        }
        fs::write(&path, bytes).unwrap();
    }
    first.expect("a message is there")
}

// ---- checkpoints ----------------------------------------------------------------------------------------------------

/// A closed log of some segments with two checkpoints, and the newer one's file.
fn a_log_with_checkpoints() -> (tempfile::TempDir, PathBuf, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    for number in 0..200_u32 {
        put(&log, 1, 0, &number.to_le_bytes().repeat(200));
        if number % 80 == 79 {
            log.write_checkpoint(log.committed(), b"a state").unwrap();
        }
    }
    log.close().unwrap();
    let path = dir.path().join("0000000000000001.ckpt");
    assert!(path.exists() && log.stats().segments > 2);
    drop(log);
    let bodies = read(dir.path()).unwrap();
    (dir, path, bodies)
}

fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Promise: a checkpoint whose checksum holds and that cannot be true is refused, or costs no record: what is opened has all
/// of them, and writing and trimming go on there.
/// Method: each of its words at the edges.
#[test]
fn a_checkpoint_that_lies_costs_no_record() {
    let (dir, path, bodies) = a_log_with_checkpoints();
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut opened) = (0, 0);
    for at in (16..80).step_by(8) {
        let was = forge::u64_at(&whole, at);
        for value in [
            0,
            32,
            33,
            was ^ 32,
            was + 32,
            1 << 16,
            1 << 20,
            1 << 61,
            1 << 62,
            u64::MAX - 31,
            u64::MAX,
        ] {
            let copy = copied(dir.path());
            let mut forged = whole.clone();
            forged[at..at + 8].copy_from_slice(&value.to_le_bytes());
            forge::seal_checkpoint(&mut forged);
            fs::write(copy.path().join(path.file_name().unwrap()), &forged).unwrap();
            let what = format!("word {at} = {value:#x}");
            let _ = verify(copy.path(), &mut |_, _| {});
            let looked = read(copy.path());
            match Log::open(copy.path(), options()) {
                Err(error) => {
                    assert_eq!(error.to_string(), looked.unwrap_err().to_string(), "{what}");
                    refused += 1;
                }
                Ok(log) => {
                    assert!(looked.unwrap() == bodies, "{what}: wrong data");
                    put(&log, 1, 0, b"new");
                    log.write_checkpoint(log.committed(), b"another").unwrap();
                    log.trim(log.committed()).unwrap();
                    log.close().unwrap();
                    drop(log);
                    assert_eq!(read(copy.path()).unwrap().pop().unwrap(), b"new", "{what}");
                    opened += 1;
                }
            }
        }
    }
    assert!(10 < refused && 10 < opened, "{refused} refused, {opened} opened");
}

/// Promise: a file with the last number that a checkpoint can have, whole or not, stops nobody.
#[test]
fn the_last_number_of_a_checkpoint_stops_nobody() {
    for whole in [false, true] {
        let (dir, path, bodies) = a_log_with_checkpoints();
        let mut forged = fs::read(path).unwrap();
        if whole {
            forged[32..40].fill(0xff);
            forge::seal_checkpoint(&mut forged);
        }
        fs::write(dir.path().join("ffffffffffffffff.ckpt"), forged).unwrap();
        assert!(read(dir.path()).unwrap() == bodies);
        let log = Log::open(dir.path(), options()).unwrap();
        for _ in 0..3 {
            log.write_checkpoint(log.committed(), b"another").unwrap();
        }
        log.close().unwrap();
        drop(log);
        let archive = Archive::open(dir.path()).unwrap();
        assert_eq!(archive.checkpoint().unwrap().body(), b"another", "the newest is found");
    }
}

// ---- directories -----------------------------------------------------------------------------------------------------

/// Runs `look` on a thread and fails where it does not come back.
fn comes_back<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = channel();
    thread::spawn(move || done.send(look()));
    outcome.recv_timeout(PATIENCE).expect("it waits for ever")
}

fn storage_error(error: OpenError) -> (Action, Cause, PathBuf) {
    let (OpenError::Storage { source } | OpenError::InUse { source }) = error else {
        panic!("{error}")
    };
    match source.downcast_ref::<LogError>() {
        Some(LogError::Storage(failure)) => (failure.action, failure.cause, failure.path.clone()),
        other => panic!("{other:?}"),
    }
}

/// Makes something at the second path, perhaps out of the first.
type Maker = fn(&Path, &Path);

/// Promise: a link, a pipe, a device or a directory under a segment's name is refused by name; nothing is read through it,
/// written through it, removed, or waited for. An owner, and whoever only looks.
#[test]
fn what_is_no_file_is_neither_followed_nor_waited_for() {
    let (elsewhere, victim, _) = a_log();
    let before = fs::read(&victim).unwrap();
    let makers: [(&str, Maker); 5] = [
        ("a link", |victim, path| symlink(victim, path).unwrap()),
        ("a dangling link", |_, path| symlink("nowhere", path).unwrap()),
        ("a device", |_, path| symlink("/dev/zero", path).unwrap()),
        ("a directory", |_, path| fs::create_dir(path).unwrap()),
        ("a pipe", |_, path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
    ];
    for (what, make) in makers {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000000000000.seg");
        make(&victim, &path);
        let (place, kind) =
            (dir.path().to_owned(), fs::symlink_metadata(&path).unwrap().file_type());
        let (owned, looked, verified) = comes_back(move || {
            let owned = Engine::open(config(&place)).map(drop).unwrap_err();
            let looked = Inspection::open(&place).map(drop).unwrap_err();
            (owned, looked, verify(&place, &mut |_, _| {}).unwrap_err())
        });
        for error in [owned, looked] {
            assert_eq!(
                storage_error(error),
                (Action::Open, Cause::NotAFile, path.clone()),
                "{what}"
            );
        }
        assert!(verified.to_string().contains("0000000000000000.seg"), "{what}: {verified}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), kind, "{what} is still there");
    }
    assert_eq!(fs::read(&victim).unwrap(), before, "nothing was written through the link");
    drop(elsewhere);
}

/// Promise: the lock, and a half-made segment, are not followed either: nobody's file is emptied.
#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let mine = home.path().join("mine");
    fs::write(&mine, "a letter").unwrap();
    let dir = home.path().join("queue");
    fs::create_dir(&dir).unwrap();
    symlink(&mine, dir.join("lock")).unwrap();
    let error = Engine::open(config(&dir)).map(drop).unwrap_err();
    assert_eq!(storage_error(error).2, dir.join("lock"));
    fs::remove_file(dir.join("lock")).unwrap();
    symlink(&mine, dir.join("0000000000000000.seg.tmp")).unwrap();
    Engine::open(config(&dir)).unwrap().close(PATIENCE).unwrap();
    assert_eq!(fs::read(&mine).unwrap(), b"a letter");
}

/// Promise: a last file that claims to be huge is not read to its end to find out that it is nothing.
#[test]
fn a_file_of_a_petabyte_of_nothing_is_refused_at_once() {
    let (dir, path, _) = a_log();
    let huge = dir.path().join("0000000000010000.seg");
    let file = fs::File::create(&huge).unwrap();
    // The largest that the file system takes.
    let bytes = (20..50).rev().map(|bit| 1_u64 << bit).find(|bytes| file.set_len(*bytes).is_ok());
    assert!(bytes.is_some_and(|bytes| 1 << 40 <= bytes), "{bytes:?}");
    let place = dir.path().to_owned();
    let refused = comes_back(move || Log::open(&place, options()).map(drop).unwrap_err());
    assert!(matches!(refused, LogError::NotOurs { path } if path == huge));
    assert!(path.exists());
}

/// Promise: ten thousand files of others cost a moment, and are left alone.
#[test]
fn a_directory_of_ten_thousand_files_is_opened_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut theirs = BTreeSet::<OsString>::new();
    for number in 0..10_000_u32 {
        let name = match number % 5 {
            0 => format!("{number:015x}.seg"),
            1 => format!("{number:016X}A.seg"),
            2 => format!("{number:016x}.seg.bak"),
            3 => format!("g{number:015x}.seg"),
            _ => format!("{number:016x}"),
        };
        fs::File::create(dir.path().join(&name)).unwrap();
        theirs.insert(name.into());
    }
    let engine = Engine::open(config(dir.path())).unwrap();
    engine.publish("a", "mine").unwrap();
    engine.close(PATIENCE).unwrap();
    assert_eq!(Inspection::open(dir.path()).unwrap().peek("a", 9).unwrap().len(), 1);
    assert_eq!(verify(dir.path(), &mut |_, _| {}).unwrap().segments, 1);
    // And the lock, a segment, a checkpoint, and what is in hand.
    let names = fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name());
    let mut mine: Vec<_> = names.filter(|name| !theirs.contains(name)).collect();
    mine.sort();
    assert_eq!(mine.len(), 4, "{mine:?}");
    assert!(theirs.iter().all(|name| dir.path().join(name).exists()));
}

// ---- records of a queue ----------------------------------------------------------------------------------------------

/// The bodies of records that the queue might have written, and that cannot be.
fn impossible_records() -> Vec<(&'static str, u16, u32, Vec<u8>)> {
    let subscribe = |number: u32, start: u8, filter: &str, name: &str| {
        let mut body = number.to_le_bytes().to_vec();
        body.extend([start, 0]);
        body.extend((filter.len() as u16).to_le_bytes());
        body.extend([filter.as_bytes(), name.as_bytes()].concat());
        body
    };
    let settle = |number: u32, count: u32, words: &[u64]| {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        [&number.to_le_bytes(), &count.to_le_bytes(), words.as_slice()].concat()
    };
    vec![
        ("the last subscription there can be", 3, 0, subscribe(u32::MAX, 0, "a", "z")),
        ("the one before it", 3, 0, subscribe(u32::MAX - 1, 1, "a", "z")),
        ("a subscription made twice", 3, 0, subscribe(0, 0, "a", "n")),
        ("a name that is there", 3, 0, subscribe(9, 0, "a", "n")),
        ("a name of nothing", 3, 0, subscribe(9, 0, "a", "")),
        ("a filter that is none", 3, 0, subscribe(9, 0, "a..b", "z")),
        ("a start that is none", 3, 0, subscribe(9, 7, "a", "z")),
        ("a filter longer than the record", 3, 0, vec![9, 0, 0, 0, 0, 0, 0xff, 0xff, b'a']),
        ("a topic that is there", 2, 0, b"a".to_vec()),
        ("the same topic under the next number", 2, 1, b"a".to_vec()),
        ("the last topic there can be", 2, u32::MAX, b"b".to_vec()),
        ("a topic that is none", 2, 1, b"*".to_vec()),
        ("a topic of no text", 2, 1, vec![0xff]),
        ("an end of what never was", 4, 0, u32::MAX.to_le_bytes().to_vec()),
        ("an end cut short", 4, 0, vec![1]),
        ("more settlements than there are bytes", 5, 0, settle(0, u32::MAX, &[1])),
        ("a settlement of nothing", 5, 0, settle(0, 1, &[0])),
        ("positions that repeat", 5, 0, settle(0, 4, &[65, 65, 66, 65])),
        ("the last position", 5, 0, settle(0, 1, &[u64::MAX - 30])),
        ("a retry at the end of time", 5, 0, settle(0, 1, &[64 | 4, u64::MAX, u64::MAX])),
        ("an outcome that is none", 5, 0, settle(0, 1, &[64 | 9])),
        ("a message of no topic", 1, u32::MAX, b"x".to_vec()),
        ("a message of nothing", 1, 0, vec![]),
        ("a message of noise", 1, 0, vec![0xff; 64]),
        ("a priority that is none", 0xff01, 0, b"x".to_vec()),
        ("a kind that is none", 0xff, 0, b"x".to_vec()),
    ]
}

/// A queue with one topic, one subscription and three messages.
fn a_queue() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(config(dir.path())).unwrap();
    drop(engine.subscriber(Subscription::new("a").name("n")).unwrap());
    for text in ["1", "2", "3"] {
        engine.publish("a", text).unwrap();
    }
    engine.close(Duration::ZERO).unwrap();
    dir
}

/// Opens what somebody forged and works with it a little: errors are values, and what is there of ours is right.
fn work(dir: &Path, what: &str) -> Result<(), OpenError> {
    // Both read the same records, so both open or neither does.
    let looked = Inspection::open(dir).map(|inspection| {
        let _ = (inspection.depth(), inspection.topics());
        if let Ok(found) = inspection.peek(">", 100) {
            assert!(found.iter().all(|one| !one.topic().as_str().is_empty()), "{what}");
        }
    });
    let engine = match (Engine::open(config(dir)), looked) {
        (Ok(engine), Ok(())) => engine,
        (Err(error), Err(_)) => return Err(error),
        (opened, looked) => panic!("{what}: {:?}, {looked:?}", opened.map(drop)),
    };
    let _ = (engine.stats(), engine.peek(">", 100));
    let _ = engine.subscriber(Subscription::new("new.*").name("new"));
    let accepted = engine.publish("new.a", "new").is_ok();
    for (name, filter) in [("n", "a"), ("new", "new.*")] {
        let Ok(subscriber) = engine.subscriber(Subscription::new(filter).name(name)) else {
            continue;
        };
        let mut taken = 0;
        // A record that is no message is an error where it stands, and what is behind it comes.
        for _ in 0..64 {
            match subscriber.try_recv() {
                Ok(Some(delivery)) => {
                    taken += u32::from(name == "new");
                    let _ = delivery.ack();
                }
                Ok(None) | Err(QueueError::Closed) => break,
                Err(_) => {}
            }
        }
        assert!(name != "new" || taken == u32::from(accepted), "{what}: {taken} of the new");
    }
    let _ = engine.close(Duration::from_millis(1));
    Ok(())
}

/// Promise: a record of the queue's own that cannot be is refused, or passed over; no panic, and what is new goes its way.
#[test]
fn records_that_cannot_be_are_refused_or_passed_over() {
    for (what, tag, topic, body) in impossible_records() {
        let dir = a_queue();
        let log = Log::open(dir.path(), options()).unwrap();
        put(&log, tag, topic, &body);
        put(&log, tag, topic, &body);
        log.close().unwrap();
        drop(log);
        let outcome = work(dir.path(), what);
        // As it was left: refused once, refused for ever; opened once, opened again.
        assert_eq!(work(dir.path(), what).is_ok(), outcome.is_ok(), "{what}");
    }
}

/// Promise: the same for records of noise. Method: random ones, biased to what looks like one of ours; the seed is printed.
#[test]
fn records_of_noise_are_refused_or_passed_over() {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(Instant::now()));
    println!("MILLSTREAM_SEED={seed}");
    let mut state = seed;
    let mut below = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let known = impossible_records();
    for round in 0..60 {
        let dir = a_queue();
        let log = Log::open(dir.path(), options()).unwrap();
        for _ in 0..=below(4) {
            let (_, tag, topic, mut body) = known[below(known.len() as u64) as usize].clone();
            for _ in 0..below(4) {
                match below(3) {
                    0 if !body.is_empty() => {
                        let at = below(body.len() as u64) as usize;
                        body[at] = below(256) as u8;
                    }
                    1 => body.truncate(below(body.len() as u64 + 1) as usize),
                    _ => body.push(below(256) as u8),
                }
            }
            put(&log, tag, topic, &body);
        }
        log.close().unwrap();
        drop(log);
        let _ = work(dir.path(), &format!("seed {seed}, round {round}"));
    }
}
