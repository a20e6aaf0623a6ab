//! A log at work, with faults planted where no caller can reach.

use super::fault::Fault;
use super::{AppendError, Budget, Log, LogError, LogOptions, Position, Record, SyncError};
use crate::sync::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

const CAPACITY: u64 = 64 << 10;

fn opened() -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 24);
    let log = Log::open(dir.path(), options).unwrap();
    (dir, log)
}

fn record<'a>(parts: &'a [&'a [u8]]) -> Record<'a> {
    Record { tag: 3, topic: 4, time_ns: 0, parts }
}

fn bodies(log: &Log, from: Position) -> Vec<Vec<u8>> {
    let mut reader = log.reader(from);
    std::iter::from_fn(|| reader.next().unwrap()).map(|record| record.body().to_vec()).collect()
}

/// Promise: a writer that does not come to its commit leaves a PAD, and readers pass it. Fault: a panic between the two.
#[test]
fn hole_1_6_a_writer_that_panics_after_its_reservation_holds_up_nobody() {
    let (_dir, log) = opened();
    log.append(&record(&[b"a"]), Budget::Publish).unwrap();
    log.shared.faults.plant(Fault::PanicAfterReserve);
    for bytes in [1, 40_000, 40_000] {
        let body = vec![0; bytes];
        let append = || log.append(&record(&[&body]), Budget::Publish);
        assert!(catch_unwind(AssertUnwindSafe(append)).is_err());
    }
    log.shared.faults.clear();
    let appended = log.append(&record(&[b"b"]), Budget::Publish).unwrap();
    assert_eq!(log.committed(), appended.end, "nothing is left open");
    assert_eq!(bodies(&log, log.start()), [b"a", b"b"]);
    log.close().unwrap();
}

/// Promise: who advances `committed` over a neighbour's frame is told of it. Method: the first writer stands between
/// reserve and commit while the second comes and goes.
#[test]
fn hole_1_7_who_closes_a_gap_hears_of_the_frames_behind_it() {
    let (_dir, log) = opened();
    let slow = record(&[b"slow"]);
    let reserved = log.shared.reserve(36, Budget::Publish).unwrap();
    let gap = Position::of(reserved.claim.at());
    let fast = log.append(&record(&[b"fast"]), Budget::Publish).unwrap();
    assert!(fast.advanced.is_empty());
    assert_eq!((log.committed(), bodies(&log, gap).len()), (gap, 0));
    assert!(matches!(log.record(fast.at), Err(LogError::NotCommitted { .. })));
    let mut header = slow.header(super::Kind::Record, 36);
    header.body_crc = crc32c::crc32c(b"slow");
    let written = log.shared.write(reserved, header, |pen| pen.put(b"slow"));
    let advanced = written.appended(written.at, vec![]).advanced;
    assert_eq!(advanced, gap..fast.end);
    let mut woken = vec![];
    log.walk(advanced, |at, tag, topic| woken.push((at, tag, topic)));
    assert_eq!(woken, [(gap, 3, 4), (fast.at, 3, 4)]);
}

/// Promise: after a failed sync nothing is taken and nothing is claimed; what was durable stays so; the next open reads
/// what is there.
#[test]
fn a_failed_sync_poisons_the_log_until_it_is_opened_anew() {
    let (dir, log) = opened();
    let sure = log.append(&record(&[b"sure"]), Budget::Publish).unwrap();
    log.wait_durable(sure.end).unwrap();
    let unsure = log.append(&record(&[b"unsure"]), Budget::Publish).unwrap();
    log.shared.faults.plant(Fault::SyncFails);
    assert!(matches!(log.wait_durable(unsure.end), Err(SyncError::Unknown(_))));
    log.shared.faults.clear();
    assert!(matches!(log.wait_durable(unsure.end), Err(SyncError::Unknown(_))), "never again");
    assert!(log.wait_durable(sure.end).is_ok());
    for budget in [Budget::Publish, Budget::Settle] {
        let refused = log.append(&record(&[b"more"]), budget);
        assert!(matches!(refused, Err(AppendError::Poisoned(_))));
    }
    assert!(log.stats().poisoned.is_some());
    assert!(matches!(log.close(), Err(SyncError::Unknown(_))));
    assert!(matches!(log.close(), Err(SyncError::Unknown(_))), "the same answer again");
    let again = Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap();
    assert!(!again.recovery().clean);
    assert_eq!(bodies(&again, again.start()), [b"sure".to_vec(), b"unsure".to_vec()]);
}

/// Promise: a disk that is full is a named error, nothing is lost, and when there is room again the log goes on.
#[test]
fn a_full_disk_is_a_named_error_and_passes() {
    let (_dir, log) = opened();
    log.shared.faults.plant(Fault::NoSpace);
    let body = vec![1; 10_000];
    let mut accepted = 0;
    let refused = loop {
        match log.append(&record(&[&body]), Budget::Publish) {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
    };
    match refused {
        AppendError::Storage(error) => assert_eq!(error.cause, super::Cause::NoSpace),
        other => panic!("{other:?}"),
    }
    log.shared.faults.clear();
    for _ in 0..20 {
        log.append(&record(&[&body]), Budget::Publish).unwrap();
    }
    assert_eq!(bodies(&log, log.start()).len(), accepted + 20);
    log.close().unwrap();
}

/// Promise: refusal is exact: what was accepted lies before the end that the closer saw, and is read afterwards.
#[test]
fn refuse_and_close_are_exact_under_writers() {
    let (dir, log) = opened();
    let accepted: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    loop {
                        match log.append(&record(&[&[0; 500]]), Budget::Publish) {
                            Ok(_) => count += 1,
                            Err(AppendError::Closed) => return count,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        while log.committed().as_u64() < 2 * CAPACITY {
            thread::yield_now();
        }
        log.refuse();
        let refused = log.append(&record(&[b"late"]), Budget::Publish);
        assert!(matches!(refused, Err(AppendError::Closed)));
        let settled = log.append(&record(&[b"settle"]), Budget::Settle).unwrap();
        log.close().unwrap();
        assert!(log.durable() >= settled.end);
        let refused = log.append(&record(&[b"late"]), Budget::Settle);
        assert!(matches!(refused, Err(AppendError::Closed)));
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(bodies(&log, log.start()).len(), accepted + 1, "a reader outlives the close");
    let again = Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap();
    assert!(again.recovery().clean);
    assert_eq!(bodies(&again, again.start()).len(), accepted + 1);
}

/// Promise: a log, its readers and its records may be used from any thread.
#[test]
fn handles_may_cross_threads() {
    fn crosses<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Log>();
    is_shared::<super::Archive>();
    is_shared::<super::RecordRef>();
    crosses::<super::Reader>();
}

/// Promise: waiting for what was never appended is an error, not a wait without end.
#[test]
fn waiting_beyond_the_end_is_refused() {
    let (_dir, log) = opened();
    let beyond = Position::from_u64(log.committed().as_u64() + 32).unwrap();
    assert!(matches!(log.wait_durable(beyond), Err(SyncError::Beyond { .. })));
}

/// Promise: a full segment becomes durable by housekeeping, where nobody asks for it.
#[test]
fn full_segments_become_durable_without_anybody_asking() {
    let (_dir, log) = opened();
    let start = log.start().as_u64();
    for _ in 0..200 {
        log.append(&record(&[&[1; 1000]]), Budget::Publish).unwrap();
    }
    // Each append near the prepared end rings; the last rings may have come before the last segment was full.
    while log.durable().as_u64() < start + CAPACITY {
        log.shared.preparer.kick();
        thread::yield_now();
    }
}

/// Promise: a writer that stands between its reservation and its commit holds up readers, nobody's appends: not within
/// its segment, nor behind it.
#[test]
fn a_writer_that_stands_still_holds_up_nobodys_appends() {
    let (_dir, log) = opened();
    let reserved = log.shared.reserve(36, Budget::Publish).unwrap();
    let gap = Position::of(reserved.claim.at());
    let mut last = gap;
    while last.as_u64() < gap.as_u64() + 4 * CAPACITY {
        last = log.append(&record(&[&[0; 1000]]), Budget::Publish).unwrap().end;
    }
    assert_eq!(log.committed(), gap);
    let mut header = record(&[b"slow"]).header(super::Kind::Record, 36);
    header.body_crc = crc32c::crc32c(b"slow");
    log.shared.write(reserved, header, |pen| pen.put(b"slow"));
    assert_eq!(log.committed(), last);
    log.close().unwrap();
}

/// Appends records of 1 KiB with their header, the last one shorter, until the log ends exactly where a segment does.
fn fill_exactly(log: &Log) -> Position {
    loop {
        let left = (CAPACITY - log.committed().as_u64() % CAPACITY).min(1024);
        let end =
            log.append(&record(&[&vec![1; left as usize - 32]]), Budget::Publish).unwrap().end;
        if end.as_u64().is_multiple_of(CAPACITY) {
            return end;
        }
    }
}

/// Promise: a trim leaves something by which the log is known: never a prepared segment alone. Method: the log ends exactly
/// where a segment does, everything may go, and the process dies; then it dies again at each step of the next open.
#[test]
fn a_trim_leaves_a_frame_to_know_the_log_by() {
    let dir = std::path::Path::new("log");
    let disk = super::sim::SimStorage::new();
    let options = LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 24);
    let log = disk.open_log(dir, options).unwrap();
    fill_exactly(&log);
    let end = fill_exactly(&log);
    while log.stats().prepared <= end {
        thread::yield_now();
    }
    (0..2).for_each(|_| log.write_checkpoint(end, b"a state").unwrap());
    assert_eq!(log.trim(end).unwrap().segments, 1, "of two full ones");
    let disk = disk.die();
    disk.start_trail();
    let again = disk.open_log(dir, options).unwrap();
    assert_eq!((again.is_whole(), again.recovery().end), (false, end));
    for moment in disk.take_trail() {
        let again = moment.death().open_log(dir, options).unwrap();
        assert_eq!((again.is_whole(), again.id()), (false, log.id()));
        assert!(
            end <= again.recovery().end,
            "behind it there may be the first frame of the open that died"
        );
    }
}

/// Promise: a helper that stood still while others filled, committed and trimmed whole segments finds nothing to do.
#[test]
fn a_helper_that_comes_behind_a_trim_finds_nothing_to_do() {
    use super::tail::Words;
    let (_dir, log) = opened();
    let view = log.shared.segments.view();
    let mut last = log.committed();
    while last.as_u64() < 6 * CAPACITY {
        last = log.append(&record(&[&[0; 1000]]), Budget::Publish).unwrap().end;
    }
    log.trim(last).unwrap();
    assert!(view.table().holding(4 * CAPACITY).is_none(), "made since");
    let len = view.word(4 * CAPACITY, |word| word.load(crate::sync::Ordering::Relaxed)); // [relaxed] nobody writes here
    assert_eq!(len, 0);
}

/// Promise: a log that is closed leaves the directory's files alone: they may be another owner's by now.
#[test]
fn a_closed_log_touches_no_file() {
    let (dir, log) = opened();
    let mut last = log.committed();
    while last.as_u64() < 3 * CAPACITY {
        last = log.append(&record(&[&[0; 1000]]), Budget::Publish).unwrap().end;
    }
    log.close().unwrap();
    let owner = Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap();
    assert!(matches!(log.trim(last), Err(LogError::Closed)));
    assert!(matches!(log.write_checkpoint(last, b""), Err(LogError::Closed)));
    assert_eq!(owner.trim(last).unwrap().segments, 3);
}

/// Promise: no checkpoint is laid down that needs what was trimmed: the next open would refuse it.
#[test]
fn a_checkpoint_that_needs_what_is_gone_is_refused() {
    let (dir, log) = opened();
    let start = log.start();
    let mut last = start;
    while last.as_u64() < 3 * CAPACITY {
        last = log.append(&record(&[&[0; 1000]]), Budget::Publish).unwrap().end;
    }
    assert!(log.trim(last).unwrap().segments > 0);
    assert!(matches!(log.write_checkpoint(start, b""), Err(LogError::Expired { .. })));
    log.write_checkpoint(log.start(), b"").unwrap();
    log.close().unwrap();
    Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap();
}

/// Promise: where the disk cannot give back what this very owner wrote, that is a value and no signal (3.6). Method: a full
/// segment's file is cut under its map, so that its pages cannot be had.
#[test]
fn hole_3_6_a_full_segment_that_cannot_be_read_is_a_value() {
    let (dir, log) = opened();
    let start = log.start();
    let mut last = start;
    while last.as_u64() < 2 * CAPACITY {
        last = log.append(&record(&[&[0; 1000]]), Budget::Publish).unwrap().end;
    }
    log.sync().unwrap();
    let first = std::fs::File::options().write(true).open(dir.path().join("0000000000000000.seg"));
    first.unwrap().set_len(4096).unwrap();
    for error in [log.reader(start).next().unwrap_err(), log.record(start).unwrap_err()] {
        assert!(matches!(error, LogError::Storage(_)), "{error}");
    }
    assert!(!bodies(&log, Position::of(CAPACITY)).is_empty());
}

/// Promise: one rotten checkpoint costs a longer replay and no message, the first one too.
#[test]
fn a_trim_does_not_lean_on_a_single_checkpoint() {
    let (dir, log) = opened();
    fill_exactly(&log);
    let end = fill_exactly(&log);
    log.write_checkpoint(end, b"a state").unwrap();
    log.trim(end).unwrap();
    drop(log);
    std::fs::write(dir.path().join("0000000000000000.ckpt"), b"rotten").unwrap();
    let again = Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap();
    assert!(again.is_whole());
}

/// Promise: where an open refuses a log whose last segment is gone, the check names that segment.
#[test]
fn a_check_names_the_last_segment_where_it_is_gone() {
    let (dir, log) = opened();
    fill_exactly(&log);
    let last = log.append(&record(&[b"the next"]), Budget::Publish).unwrap();
    log.write_checkpoint(last.end, b"a state").unwrap();
    drop(log);
    let file = dir.path().join(format!("{:016x}.seg", last.at.as_u64()));
    std::fs::remove_file(&file).unwrap();
    let refused = Log::open(dir.path(), LogOptions::new().segment_bytes(CAPACITY)).unwrap_err();
    assert!(matches!(refused, LogError::EndMissing { .. }), "{refused}");
    let found = super::verify(dir.path(), &mut |_, _| {}).unwrap();
    let named: Vec<_> = found.damages.iter().map(|one| (&one.file, one.what)).collect();
    assert_eq!(named, [(&file, super::DamageKind::SegmentMissing)]);
}
