//! `durable`: appends that survive the machine, from 1, 16 and 64 threads, in both states of the machine.
//!
//! Each thread appends 100 bytes and waits until the disk has them, again and again, for a given time. Messages a
//! second, processor time a message (of the whole process: all threads, the library's own too), and how long one waited.

use crate::floors::blocks;
use crate::latency::{histogram, in_us};
use crate::ours::{Ours, append};
use crate::plan::{Effort, Sample, Table};
use crate::rivals::{Durable, Okay, OpenWal, Pwrite, Raft, Sqlite};
use hdrhistogram::Histogram;
use peers::system::processor_time_of_all;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SPAN: Duration = Duration::from_millis(1000);
const SPAN_QUICK: Duration = Duration::from_millis(15);
const BODY: [u8; 100] = [7; 100];
/// Of the file that pwrite goes round in; and what ours has prepared.
const ROOM_BYTES: u64 = 24 << 20;

impl Durable for Ours {
    fn append(&self, _thread: usize, body: &[u8]) {
        let end = append(&self.log, body);
        self.log.wait_durable(end).expect("a sound disk");
    }
}

/// The bare disk: a block of a file, stored to and synced.
struct Disk {
    file: std::fs::File,
    _dir: TempDir,
}

impl Durable for Disk {
    fn append(&self, _thread: usize, body: &[u8]) {
        self.file.write_all_at(body, 0).expect("room on the disk");
        self.file.sync_data().expect("a sound disk");
    }
}

/// The table.
pub fn durable(effort: &Effort) -> Table {
    let question = "How many appends of 100 B a second are durable, and what does one cost?";
    let remarks = "CPU is of the whole process. The floor is the disk alone: one thread, one block, one fdatasync after \
        another.";
    let mut table = Table::new("durable", question, remarks);
    for threads in effort.of(vec![1, 16, 64], vec![1, 16]) {
        let workload = match threads {
            1 => "1 thread".to_owned(),
            more => format!("{more} threads"),
        };
        let w = workload.as_str();
        table.add_in_both(w, "millstream", "group sync", move |effort, _| {
            let room = effort.of(ROOM_BYTES, 1 << 20);
            measure(effort, threads, &Ours::at_rest(effort, room))
        });
        table.add_in_both(w, "raft-engine", "group commit", move |effort, _| {
            measure(effort, threads, &Raft::new(effort.folder(), threads))
        });
        table.add_in_both(w, "okaywal", "group commit", move |effort, _| {
            measure(effort, threads, &Okay::new(effort.folder()))
        });
        table.add_in_both(w, "open-wal", "one writer: under a lock", move |effort, _| {
            measure(effort, threads, &OpenWal::new(effort.folder()))
        });
        table.add_in_both(w, "sqlite FULL", "one connection under a lock", move |effort, _| {
            measure(effort, threads, &Sqlite::new(effort.folder(), "FULL"))
        });
        table.add_in_both(w, "pwrite + fdatasync", "under a lock", move |effort, _| {
            let room = effort.of(ROOM_BYTES, 1 << 20) as usize;
            measure(effort, threads, &Pwrite::new(effort.folder(), room))
        });
        if threads == 1 {
            table.add_in_both(w, "floor: fdatasync", "one block", |effort, _| {
                let dir = effort.folder();
                measure(effort, 1, &Disk { file: blocks(&dir, 1 << 16), _dir: dir })
            });
        }
    }
    table
}

fn measure(effort: &Effort, threads: usize, peer: &impl Durable) -> Vec<Sample> {
    let span = effort.of(SPAN, SPAN_QUICK);
    let start = Barrier::new(threads + 1);
    peer.append(0, &BODY);
    let appending = |thread: usize| {
        let mut waits = histogram();
        start.wait();
        let begun = Instant::now();
        let mut before = begun;
        while before - begun < span {
            peer.append(thread, &BODY);
            let now = Instant::now();
            waits.saturating_record((now - before).as_nanos() as u64);
            before = now;
        }
        waits
    };
    let appending = &appending;
    let (waits, elapsed, used) = thread::scope(|scope| {
        let begin = |thread| scope.spawn(move || appending(thread));
        let handles: Vec<_> = (0..threads).map(begin).collect();
        start.wait();
        let (begun, before) = (Instant::now(), processor_time_of_all());
        let waits: Vec<Histogram<u64>> =
            handles.into_iter().map(|handle| handle.join().expect("no append fails")).collect();
        (waits, begun.elapsed(), processor_time_of_all() - before)
    });
    let mut all = histogram();
    waits.iter().for_each(|one| all.add(one).expect("histograms of one shape"));
    let count = all.len() as f64;
    vec![
        Sample::high("rate", "messages/s", count / elapsed.as_secs_f64()),
        Sample::low("CPU", "us/message", used.as_secs_f64() * 1e6 / count),
        Sample::low("p50", "us", in_us(&all, 0.5)),
        Sample::low("p99", "us", in_us(&all, 0.99)),
    ]
}
