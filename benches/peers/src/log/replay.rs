//! `replay`: how fast a log is read back, every checksum checked, on one core and on two.
//!
//! A visit writes a log of 1 KiB records, reads it once to have it in memory, and times the reads after that. On two
//! cores each reads one half. The floor reads the same number of bytes of one map with one CRC32C a KiB.

use crate::floors::Copies;
use crate::ours::{Ours, frame_bytes};
use crate::plan::{Effort, Sample, Table};
use commitlog::message::MessageSet;
use commitlog::{CommitLog, LogOptions, ReadLimit};
use millstream::log::{Log, Position};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

const BODY: [u8; 1024] = [7; 1024];
/// Timed reads of the whole log in a visit.
const READS: u32 = 3;

fn records(effort: &Effort) -> u64 {
    effort.of(512 << 10, 8 << 10)
}

/// The table.
pub fn replay(_effort: &Effort) -> Table {
    let question = "How fast is a warm log of 1 KiB records read back, its checksums checked?";
    let remarks = "512 MiB of bodies; the rate counts bodies. commitlog is read 1 MiB at a time, and checks each message \
        as it reads.";
    let mut table = Table::new("replay", question, remarks);
    table.rounds_max = 9;
    for (workload, cores) in [("1 core", 1), ("2 cores", 2)] {
        table.add(workload, "millstream", "two checksums a frame", move |effort| {
            ours(effort, cores)
        });
        table.add(workload, "commitlog", "one checksum a message", move |effort| {
            commitlog(effort, cores)
        });
        table.add(workload, "floor: CRC of memory", "prefaulted", move |effort| {
            let count = records(effort);
            // As much memory as the log has: a piece of it, again and again, would stay in the caches.
            let memory = |numbers: Range<u64>| {
                Copies::checked_in_memory((numbers.end - numbers.start) as usize * BODY.len())
            };
            timed(count, cores, memory, |memory, _| memory.check(BODY.len()))
        });
    }
    table
}

/// Splits `count` records among the cores; `open` makes each one's state beforehand, `read` answers how many it read.
fn timed<S: Send>(
    count: u64,
    cores: u64,
    open: impl Fn(Range<u64>) -> S + Sync,
    read: impl Fn(&mut S, Range<u64>) -> u64 + Sync,
) -> Vec<Sample> {
    let share = count / cores;
    let shares = (0..cores).map(|core| core * share..(core + 1) * share);
    let mut states: Vec<(S, Range<u64>)> =
        shares.map(|share| (open(share.clone()), share)).collect();
    let mut elapsed = Duration::ZERO;
    for pass in 0..=READS {
        let begun = Instant::now();
        let read = &read;
        let done: u64 = thread::scope(|scope| {
            let reading = states.iter_mut().map(|(state, share)| {
                let share = share.clone();
                scope.spawn(move || read(state, share))
            });
            let reading: Vec<_> = reading.collect();
            reading.into_iter().map(|one| one.join().expect("a sound log")).sum()
        });
        assert_eq!(done, count, "each record was read once");
        if pass > 0 {
            elapsed += begun.elapsed();
        }
    }
    let bytes = f64::from(READS) * count as f64 * BODY.len() as f64;
    let seconds = elapsed.as_secs_f64();
    let messages = f64::from(READS) * count as f64 / seconds / 1e6;
    vec![
        Sample::high("rate", "GB/s", bytes / seconds / 1e9),
        Sample::high("messages", "M/s", messages),
    ]
}

fn ours(effort: &Effort, cores: u64) -> Vec<Sample> {
    let count = records(effort);
    let ours = Ours::new(effort, effort.of(64 << 20, 4 << 20), 16 << 30);
    let begins: Vec<Position> = (0..count).map(|_| begin_of(&ours.log)).collect();
    ours.rest(frame_bytes(BODY.len()));
    timed(
        count,
        cores,
        |_| (),
        |(), numbers| {
            let mut reader = ours.log.reader(begins[numbers.start as usize]);
            let wanted = numbers.end - numbers.start;
            let read = (0..wanted).map_while(|_| reader.next().expect("a sound log"));
            read.filter(|record| record.body().len() == BODY.len()).count() as u64
        },
    )
}

/// Where the next record is, which is appended.
fn begin_of(log: &Log) -> Position {
    let record =
        millstream::log::Record { tag: 0, topic: 0, time_ns: 0, parts: &[BODY.as_slice()] };
    log.append(&record, millstream::log::Budget::Publish).expect("there is room").at
}

fn commitlog(effort: &Effort, cores: u64) -> Vec<Sample> {
    let (count, dir) = (records(effort), effort.folder());
    let mut log = CommitLog::new(LogOptions::new(dir.path())).expect("a new log");
    for _ in 0..count {
        log.append_msg(BODY).expect("room on the disk");
    }
    drop(log);
    // A log for each core: it can be read by one thread only.
    timed(
        count,
        cores,
        |_| CommitLog::new(LogOptions::new(dir.path())).expect("the log is there"),
        |log, numbers| {
            let (mut at, mut read) = (numbers.start, 0);
            while at < numbers.end {
                let messages = log.read(at, ReadLimit::max_bytes(1 << 20)).expect("a sound log");
                let wanted = messages.iter().take((numbers.end - at) as usize);
                let count = wanted.filter(|one| one.payload().len() == BODY.len()).count() as u64;
                assert!(count > 0, "the log goes on");
                at += count;
                read += count;
            }
            read
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "each record was read once")]
    fn a_record_that_is_not_read_is_seen() {
        timed(10, 2, |_| (), |(), numbers| numbers.end - numbers.start - numbers.start.min(1));
    }
}
