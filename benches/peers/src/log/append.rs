//! `append` and `size`: what an append costs that survives the process, and whether it costs the same in a large log.
//!
//! One thread. A visit appends to a new log, into room that is prepared and while nothing is being prepared. Ours is
//! timed twice: with the pages of the next appends populated, and touching each page for the first time. The faster ones
//! append a given number of bytes, the slower ones for a given time.

use crate::floors::Copies;
use crate::ours::{Ours, append as append_ours, frame_bytes};
use crate::plan::{Effort, Sample, Table};
use crate::rivals::{Durable, OpenWal, Pwrite, Raft, Sqlite};
use commitlog::{CommitLog, LogOptions};
use std::time::{Duration, Instant};

/// Appended by ours in a visit; also the size of the file that pwrite goes round in.
const VISIT_BYTES: u64 = 16 << 20;
const VISIT_BYTES_QUICK: u64 = 1 << 18;
/// Appended by a slower one.
const SPAN: Duration = Duration::from_millis(200);
const SPAN_QUICK: Duration = Duration::from_millis(5);
/// Appends of a slower one between two looks at the clock.
const BETWEEN_LOOKS: u32 = 64;

fn visit_bytes(effort: &Effort) -> u64 {
    effort.of(VISIT_BYTES, VISIT_BYTES_QUICK)
}

/// The table of both sizes.
pub fn append(_effort: &Effort) -> Table {
    let remarks = "\"survives\" says what an append that returned survives. okaywal has no append without a sync. \
        First touch: as it is, the first store to each page faults. Populated: those faults were taken before.";
    let question = "What does an append cost, one thread, page cache?";
    let mut table = Table::new("append", question, remarks);
    for (workload, bytes) in [("100 B", 100), ("1 KiB", 1024)] {
        of_size(&mut table, workload, bytes);
    }
    table
}

fn of_size(table: &mut Table, workload: &str, bytes: usize) {
    let body = move || vec![7; bytes];
    table.add(workload, "millstream populated", "survives the process", move |effort| {
        ours(effort, &body(), true)
    });
    table.add(workload, "millstream first touch", "survives the process", move |effort| {
        ours(effort, &body(), false)
    });
    table.add(workload, "raft-engine", "survives the process; keeps an index", move |effort| {
        let raft = Raft::new(effort.folder(), 1);
        timed(effort, &body(), |body| raft.write(0, body, false))
    });
    table.add(workload, "commitlog", "survives the process", move |effort| {
        let dir = effort.folder();
        let mut log = CommitLog::new(LogOptions::new(dir.path())).expect("a new log");
        timed(effort, &body(), |body| {
            log.append_msg(body).expect("room on the disk");
        })
    });
    table.add(workload, "sqlite NORMAL", "survives the process", move |effort| {
        let sqlite = Sqlite::new(effort.folder(), "NORMAL");
        timed(effort, &body(), |body| sqlite.append(0, body))
    });
    table.add(workload, "pwrite", "survives the process; written blocks, no CRC", move |effort| {
        let mut file = Pwrite::new(effort.folder(), visit_bytes(effort) as usize);
        timed(effort, &body(), |body| file.write(body))
    });
    table.add(workload, "open-wal buffer", "in its memory: survives nothing", move |effort| {
        let mut log = OpenWal::new(effort.folder());
        let samples = counted(effort, &body(), |body| log.buffer(body));
        log.commit();
        samples
    });
    table.add(workload, "floor: memcpy + CRC", "prefaulted memory", move |effort| {
        let mut copies = Copies::checked_in_memory(visit_bytes(effort) as usize);
        counted(effort, &body(), |body| copies.copy(body))
    });
    table.add(workload, "floor: mapped store", "populated, no CRC", move |effort| {
        let mut copies = Copies::mapped(effort.folder(), visit_bytes(effort) as usize, true);
        counted(effort, &body(), |body| copies.copy(body))
    });
    table.add(workload, "floor: mapped, touched", "first touch, no CRC", move |effort| {
        let mut copies = Copies::mapped(effort.folder(), visit_bytes(effort) as usize, false);
        counted(effort, &body(), |body| copies.copy(body))
    });
}

fn per_append(elapsed: Duration, count: u64) -> Vec<Sample> {
    vec![Sample::low("append", "ns", elapsed.as_nanos() as f64 / count as f64)]
}

fn ours(effort: &Effort, body: &[u8], populated: bool) -> Vec<Sample> {
    let bytes = visit_bytes(effort);
    let ours = Ours::at_rest(effort, bytes);
    if populated {
        ours.populate(bytes);
    }
    let count = bytes / frame_bytes(body.len());
    let before = ours.log.committed().as_u64();
    let begun = Instant::now();
    for _ in 0..count {
        append_ours(&ours.log, body);
    }
    let elapsed = begun.elapsed();
    let appended = ours.log.committed().as_u64() - before;
    assert_eq!(appended, count * frame_bytes(body.len()), "each was appended once");
    per_append(elapsed, count)
}

/// As many as fit a visit's bytes.
fn counted(effort: &Effort, body: &[u8], mut append: impl FnMut(&[u8])) -> Vec<Sample> {
    let count = visit_bytes(effort) / frame_bytes(body.len());
    let begun = Instant::now();
    for _ in 0..count {
        append(body);
    }
    per_append(begun.elapsed(), count)
}

/// As many as fit a visit's time.
fn timed(effort: &Effort, body: &[u8], mut append: impl FnMut(&[u8])) -> Vec<Sample> {
    let (span, mut count) = (effort.of(SPAN, SPAN_QUICK), 0_u64);
    append(body);
    let begun = Instant::now();
    while begun.elapsed() < span {
        for _ in 0..BETWEEN_LOOKS {
            append(body);
        }
        count += u64::from(BETWEEN_LOOKS);
    }
    per_append(begun.elapsed(), count)
}

/// The table of log sizes: one log that grows, looked at where it has reached each size.
pub fn size(effort: &Effort) -> Table {
    let question = "Does an append of 100 B cost the same in a large log?";
    let remarks = "At each size the next 8 MiB are timed, populated or touched first; in between the log is filled \
        with records of 60 KiB. Nothing is being prepared while the clock runs.";
    let mut table = Table::new("size", question, remarks);
    table.rounds_max = effort.of(5, 1);
    table.axis = true;
    for (peer, populated) in [("millstream populated", true), ("millstream first touch", false)] {
        table.add("append 100 B", peer, "", move |effort| growing(effort, populated));
    }
    table
}

fn growing(effort: &Effort, populated: bool) -> Vec<Sample> {
    const MIB: u64 = 1 << 20;
    const FILLING: &[u8] = &[3; 60 << 10];
    const BODY: &[u8] = &[7; 100];
    let sizes: &[u64] = effort.of(&[1, 4, 16, 64, 256, 1024, 4096], &[1, 4, 16]);
    let timed_bytes = effort.of(8 * MIB, MIB / 4);
    let ours = Ours::new(effort, effort.of(64 * MIB, 4 * MIB), 16 << 30);
    let mut samples = Vec::new();
    for size in sizes {
        while ours.log.committed().as_u64() < size * MIB {
            append_ours(&ours.log, FILLING);
        }
        ours.rest(timed_bytes);
        if populated {
            ours.populate(timed_bytes);
        }
        let count = timed_bytes / frame_bytes(BODY.len()) - 1;
        let begun = Instant::now();
        for _ in 0..count {
            append_ours(&ours.log, BODY);
        }
        let each = begun.elapsed().as_nanos() as f64 / count as f64;
        samples.push(Sample::low("append", "ns", each).at(format!("{size} MiB")));
    }
    samples
}
