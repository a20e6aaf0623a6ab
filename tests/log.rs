//! What the log promises, through its public interface.

#![allow(clippy::unwrap_used)] // The functions that the tests share are tests too.

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

/// Promise: options that cannot be are refused by name, before anything is touched.
#[test]
fn an_impossible_option_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let within = dir.path().join("log");
    let cases = [
        (LogOptions::new().segment_bytes(100_000), "segment_bytes"),
        (LogOptions::new().segment_bytes(32 << 10), "segment_bytes"),
        (LogOptions::new().segment_bytes(2 << 30), "segment_bytes"),
        (LogOptions::new().disk_max_bytes(100 << 20), "disk_max_bytes"),
        (LogOptions::new().disk_max_bytes(u64::MAX), "disk_max_bytes"),
    ];
    for (options, name) in cases {
        match Log::open(&within, options) {
            Err(LogError::Option { key, .. }) => assert_eq!(key, name),
            other => panic!("{other:?}"),
        }
    }
    assert!(!within.exists());
}

/// Promise: what is not a directory, and what holds no log, is said.
#[test]
fn a_file_is_no_directory_and_an_empty_directory_holds_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"mine").unwrap();
    assert!(matches!(Log::open(&file, small()), Err(LogError::NotADirectory { .. })));
    assert!(matches!(Log::open(&file.join("x"), small()), Err(LogError::NotADirectory { .. })));
    assert!(matches!(Archive::open(&file), Err(LogError::NotADirectory { .. })));
    assert!(matches!(Archive::open(dir.path()), Err(LogError::NoLog { .. })));
    assert!(matches!(Archive::open(&dir.path().join("no")), Err(LogError::Storage(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let nested = dir.path().join("a/b/c");
    put(&Log::open(&nested, small()).unwrap(), 1, b"x");
    assert_eq!(Archive::open(&nested).unwrap().segments()[0].records, 1);
}

/// Promise: a frame that cannot fit is refused before anything; the largest that can goes.
#[test]
fn a_record_too_large_is_refused_and_the_largest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let before = log.committed();
    let largest = vec![7; (SEGMENT - 64) as usize];
    let over = [largest.as_slice(), b"!"];
    let record = |parts| Record { tag: 0, topic: 0, time_ns: 0, parts };
    for refused in [
        log.append(&record(&over), Budget::Publish),
        log.append_batch(&[record(&[&largest])], Budget::Publish),
    ] {
        match refused {
            Err(AppendError::TooLarge { bytes, max }) => assert!(bytes > max),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(log.append_batch(&[], Budget::Publish), Err(AppendError::Empty)));
    assert_eq!(log.committed(), before);
    let at = put(&log, 0, &largest);
    assert_eq!(log.record(at).unwrap().body(), largest);
}

/// Promise: publishing stops one segment before the disk limit, settling goes on, closing is clean, and after an open the
/// full log can be settled still.
#[test]
fn a_full_log_can_be_settled() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new().segment_bytes(SEGMENT).disk_max_bytes(4 * (SEGMENT + 4096));
    let log = Log::open(dir.path(), options).unwrap();
    let body = [1; 1000];
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[&body] };
    let nothing = Record { parts: &[], ..record };
    let fill = |log: &Log, budget| {
        (0..).find(|_| matches!(log.append(&record, budget), Err(AppendError::Full))).unwrap()
    };
    let published = fill(&log, Budget::Publish);
    assert_eq!(published as u64, 3 * (SEGMENT / 1056), "three segments of whole frames");
    let settled = fill(&log, Budget::Settle);
    assert_eq!(settled as u64, SEGMENT / 1056);
    let nothings = (0..)
        .find(|_| log.append(&nothing, Budget::Settle).is_err())
        .expect("full to the last byte");
    let stats = log.stats();
    assert!(stats.disk_bytes <= stats.disk_max_bytes);
    log.close().unwrap();
    let again = Log::open(dir.path(), options).unwrap();
    assert!(again.recovery().clean);
    assert_eq!(fill(&again, Budget::Publish), 0);
    let settled_again = fill(&again, Budget::Settle);
    assert!(settled_again > 50);
    assert_eq!(bodies(&again, again.start()).len(), published + settled + nothings + settled_again);
}

/// Promise: appends of many threads are all there, whole, each thread's in its order, while readers read along.
#[test]
fn many_threads_append_and_read_at_the_same_time() {
    const WRITERS: u32 = 4;
    const EACH: u32 = 1500;
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    let body = number.to_le_bytes().repeat(1 + (number as usize * 31) % 90);
                    let one = Record { tag: 0, topic: writer, time_ns: 0, parts: &[&body] };
                    let batched = number % 8 == 0;
                    let appended = match batched {
                        true => log.append_batch(&[one], Budget::Publish).unwrap(),
                        false => log.append(&one, Budget::Publish).unwrap(),
                    };
                    if number % 97 == 0 {
                        log.wait_durable(appended.end).unwrap();
                        assert!(log.durable() >= appended.end);
                    }
                }
            });
        }
        for _ in 0..2 {
            let log = &log;
            scope.spawn(move || {
                let mut reader = log.reader(log.start());
                let mut next = [0; WRITERS as usize];
                while next.iter().sum::<u32>() < WRITERS * EACH {
                    let Some(record) = reader.next().unwrap() else {
                        std::thread::yield_now();
                        continue;
                    };
                    let expected = &mut next[record.topic() as usize];
                    let body = expected.to_le_bytes().repeat(1 + (*expected as usize * 31) % 90);
                    assert_eq!(record.body(), body);
                    *expected += 1;
                }
                assert!(reader.next().unwrap().is_none());
            });
        }
    });
    log.close().unwrap();
    drop(log);
    let found = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((found.records, found.damages.len()), (u64::from(WRITERS * EACH), 0));
}

/// Promise: every frame is shown to exactly one appender, at least: who waits for it can be woken.
#[test]
fn the_ranges_that_appends_advance_cover_every_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let seen: Vec<Position> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = vec![];
                    for _ in 0..1000 {
                        let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[&[0; 200]] };
                        let appended = log.append(&record, Budget::Publish).unwrap();
                        log.walk(appended.advanced, |at, _, _| seen.push(at));
                    }
                    seen
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let mut reader = log.reader(log.start());
    let seen: std::collections::BTreeSet<_> = seen.into_iter().collect();
    let mut count = 0;
    while let Some(record) = reader.next().unwrap() {
        assert!(seen.contains(&record.position()));
        count += 1;
    }
    assert_eq!(count, 4000);
}

/// Promise: neighbours share a sync (fewer syncs than durable appends).
#[test]
fn durable_appends_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogOptions::new().segment_bytes(1 << 20)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"durable"] };
                    let appended = log.append(&record, Budget::Publish).unwrap();
                    log.wait_durable(appended.end).unwrap();
                }
            });
        }
    });
    let syncs = log.stats().syncs;
    assert!(syncs < 16 * 50, "{syncs} syncs for 800 durable appends");
    assert_eq!(log.sync().unwrap(), log.committed());
}

/// Promise: positions that are none are told apart.
#[test]
fn a_position_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    // The second body begins with what looks like the header of a record in this batch.
    let mut second = [0; 100];
    (second[0], second[12], second[13], second[16]) = (32, 2, 1, 4);
    let bodies_in: [[&[u8]; 1]; 2] = [[b"one"], [&second]];
    let batch = bodies_in.each_ref().map(|parts| Record { tag: 0, topic: 0, time_ns: 0, parts });
    let appended = log.append_batch(&batch, Budget::Publish).unwrap();
    let positions: Vec<_> = appended.positions().collect();
    let at = |bytes| Position::from_u64(bytes).unwrap();
    assert_eq!(Position::from_u64(33), None);
    assert_eq!(Position::from_u64(u64::MAX - 31), None);
    assert!(matches!(log.record(appended.end), Err(LogError::NotCommitted { .. })));
    // OPEN and BATCH headers, and a place inside the second body.
    let open = log.start();
    let frame = log.record(positions[0]).unwrap().frame();
    let inside = at(positions[1].as_u64() + 32);
    for none in [open, frame, inside] {
        assert!(matches!(log.record(none), Err(LogError::NoRecord { .. })), "{none}");
    }
    assert!(log.reader(inside).next().is_err());
    assert_eq!(bodies(&log, positions[1]), [second]);
    assert_eq!(bodies(&log, frame).len(), 2);
}

/// A closed log and a crashed one, each of one small segment, and its bodies.
fn small_logs() -> [(tempfile::TempDir, Vec<Vec<u8>>); 2] {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    put(&log, 1, b"first");
    log.sync().unwrap();
    let bodies_in: [[&[u8]; 1]; 3] = [[b"second"], [b"third"], [&[3; 40]]];
    let batch = bodies_in.each_ref().map(|parts| Record { tag: 0, topic: 0, time_ns: 0, parts });
    log.append_batch(&batch, Budget::Publish).unwrap();
    put(&log, 1, &[4; 100]);
    let expected = bodies(&log, log.start());
    let crash = crashed(dir.path());
    log.close().unwrap();
    drop(log);
    [(dir, expected.clone()), (crash, expected)]
}

/// What a changed log answers: records that were there, in order, or a named error; nothing else.
fn never_wrong(dir: &Path, expected: &[Vec<u8>], what: &str) {
    let Ok(archive) = Archive::open(dir) else {
        return;
    };
    let mut rest = expected.iter();
    let mut reader = archive.reader(archive.start());
    while let Ok(Some(record)) = reader.next() {
        assert!(rest.any(|body| body == record.body()), "{what}: wrong data");
    }
}

fn only_segment(dir: &Path) -> std::path::PathBuf {
    dir.join("0000000000000000.seg")
}

/// Promise: every byte of a log changed: never wrong data, never a panic. In the closed log no change passes unseen.
#[test]
fn every_byte_changed_never_gives_wrong_data() {
    for (dir, expected) in small_logs() {
        let path = only_segment(dir.path());
        let mut whole = std::fs::read(&path).unwrap();
        whole.truncate(8192);
        for index in 0..whole.len() {
            let mut torn = whole.clone();
            torn[index] ^= 1 << (index % 8);
            std::fs::write(&path, &torn).unwrap();
            never_wrong(dir.path(), &expected, &format!("byte {index}"));
            if index % 8 == 0 {
                let _ = verify(dir.path(), &mut |_, _| {});
            }
        }
        for index in (0..6000).step_by(211) {
            let copy = tempfile::tempdir().unwrap();
            let mut torn = whole.clone();
            torn[index] ^= 0x10;
            std::fs::write(only_segment(copy.path()), &torn).unwrap();
            if let Ok(log) = Log::open(copy.path(), small()) {
                put(&log, 1, b"new");
                log.close().unwrap();
                drop(log);
            }
            let expected: Vec<_> = expected.iter().cloned().chain([b"new".to_vec()]).collect();
            never_wrong(copy.path(), &expected, "opened");
        }
    }
}

/// Promise: every prefix of a log's file: never wrong data, never a panic; what it holds is a prefix of what there was.
#[test]
fn every_prefix_of_a_log_never_gives_wrong_data() {
    for (dir, expected) in small_logs() {
        let path = only_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for len in 0..6000 {
            std::fs::write(&path, &whole[..len]).unwrap();
            never_wrong(dir.path(), &expected, &format!("cut at {len}"));
            if len % 8 == 0 {
                let _ = verify(dir.path(), &mut |_, _| {});
            }
        }
    }
}

/// Promise: damage that came while the log was open is an error where it is, and the records behind it can be read.
#[test]
fn damage_under_an_open_log_is_placed_and_passed() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    put(&log, 1, b"before");
    let at = put(&log, 1, b"damaged");
    put(&log, 1, b"after");
    let file = std::fs::File::options().write(true).open(only_segment(dir.path())).unwrap();
    file.write_all_at(b"X", 4096 + at.as_u64() + 33).unwrap();
    let mut reader = log.reader(log.start());
    assert_eq!(reader.next().unwrap().unwrap().body(), b"before");
    match reader.next() {
        Err(LogError::Damaged(damage)) => assert_eq!(damage.offset, 4096 + at.as_u64()),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.next().unwrap().unwrap().body(), b"after");
    assert!(matches!(log.record(at), Err(LogError::Damaged(_))));
}

/// Promise: `verify` tells how far it is, up to the end, and counts what is written, not what the last file was made for.
#[test]
fn verify_reports_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    for _ in 0..300 {
        put(&log, 1, &[1; 1000]);
    }
    log.close().unwrap();
    let end = log.committed().as_u64();
    drop(log);
    let mut last = (0, 0);
    let found = verify(dir.path(), &mut |done, total| {
        assert!(last.0 < done && done <= total);
        last = (done, total);
    });
    assert_eq!(last.0, last.1);
    assert_eq!(found.unwrap().bytes, end);
}

const CHILD: &str = "MILLSTREAM_LOG_CHILD";
const ROUND: &str = "MILLSTREAM_LOG_ROUND";

/// The process that is killed or starved: appends for ever, and says so after each append.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let log = match Log::open(Path::new(&dir), small().disk_max_bytes(1 << 30)) {
        Ok(log) => log,
        Err(error) => {
            say(&format!("error {error}"));
            return;
        }
    };
    let round: u32 = std::env::var(ROUND).map_or(0, |round| round.parse().unwrap());
    std::thread::scope(|scope| {
        for topic in 3 * round..3 * round + 3 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..u32::MAX {
                    let body = number.to_le_bytes().repeat(1 + number as usize % 50);
                    let record = Record { tag: 0, topic, time_ns: 0, parts: &[&body] };
                    let appended = log.append(&record, Budget::Publish).unwrap();
                    if number % 64 == 63 {
                        log.wait_durable(appended.end).unwrap();
                    }
                    say(&format!("ack {topic} {number} ."));
                }
            });
        }
    });
}

fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // The reader is gone when the parent has seen enough.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn spawn_child(dir: &Path, limits: &str) -> std::process::Child {
    let test = std::env::current_exe().unwrap();
    std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{limits} exec \"$0\" --exact child --nocapture"))
        .arg(test)
        .env(CHILD, dir)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

/// Promise: whatever the moment of a kill -9, in the open or in the appends, every acknowledged append is there, whole,
/// once, in its writer's order. Method: one log, killed again and again; each process writes under topics of its own.
#[test]
fn no_acknowledged_append_is_lost_by_a_kill() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut acked = std::collections::BTreeMap::<u32, u32>::new();
    for round in 0..12_usize {
        let mut child = spawn_child(dir.path(), &format!("{ROUND}={round};export {ROUND};"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: &str| {
            let mut words = line.strip_prefix("ack ")?.split(' ');
            let topic = words.next()?.parse().ok()?;
            let number: u32 = words.next()?.parse().ok()?;
            words.next().filter(|last| *last == ".")?; // the kill may cut the last line short
            acked.insert(topic, number + 1);
            Some(())
        };
        let mut count = 0;
        while count < round * 500 {
            let line = lines.next().unwrap().unwrap();
            count += usize::from(note(&line).is_some());
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            note(&line);
        }
        child.wait().unwrap();
        if round % 3 == 2 {
            all_there(&Log::open(dir.path(), small()).unwrap(), &acked);
        }
    }
}

fn all_there(log: &Log, acked: &std::collections::BTreeMap<u32, u32>) {
    let mut next = std::collections::BTreeMap::<u32, u32>::new();
    let mut reader = log.reader(log.start());
    while let Some(record) = reader.next().unwrap() {
        let number = next.entry(record.topic()).or_default();
        assert_eq!(record.body(), number.to_le_bytes().repeat(1 + *number as usize % 50));
        *number += 1;
    }
    for (topic, acked) in acked {
        assert!(next[topic] >= *acked, "topic {topic}: {} of {acked}", next[topic]);
    }
}

/// Promise: an owner in another process is told apart by its id.
#[test]
fn a_second_owner_in_another_process_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let _log = Log::open(dir.path(), small()).unwrap();
    let output = spawn_child(dir.path(), "").wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = format!("is open already, by process {}", std::process::id());
    assert!(text.contains(&expected), "{text}");
}

/// Promise: a process without descriptors, or with a small file-size limit, gets a named error and no signal.
#[test]
fn a_starved_process_gets_a_named_error() {
    for (limits, expected) in
        [("ulimit -f 8;", "File too large"), ("ulimit -n 4;", "Too many open files")]
    {
        let dir = tempfile::tempdir().unwrap();
        let output = spawn_child(dir.path(), limits).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("error cannot") && text.contains(expected), "{limits} {text}");
    }
}
