//! `recovery`: how long an open takes after a crash.
//!
//! A child writes 1 GiB of 1 KiB records, makes them durable, appends 1 MiB more, and dies without closing. Another
//! child opens the log, says how long that took, and dies likewise. Each visit writes a new log, since an open changes
//! what it finds. Cold: the files are on the disk and out of the page cache before the open. The second open finds what
//! the first one made durable and the new segment that it began. With a checkpoint: laid down where the log was durable, so
//! that an open need look at the last MiB alone.

use crate::children;
use crate::ours::append;
use crate::pages::chill;
use crate::plan::{Effort, Sample, Table};
use millstream::log::{Log, LogOptions};
use std::path::Path;
use std::time::Instant;

const BODY: [u8; 1024] = [7; 1024];
/// The caller's state in the checkpoint.
const STATE: [u8; 4096] = [5; 4096];
/// Appended behind the last sync.
const REST_BYTES: u64 = 1 << 20;

fn options() -> LogOptions {
    LogOptions::new().disk_max_bytes(16 << 30)
}

/// The table.
pub fn recovery(effort: &Effort) -> Table {
    let question = "How long does an open take after a crash, log of 1 GiB?";
    let remarks = "1 KiB records, segments of 64 MiB; all but the last MiB was durable when the process died.";
    let mut table = Table::new("recovery", question, remarks);
    table.rounds_max = effort.of(5, 1);
    for (workload, cold) in [("warm", false), ("cold", true)] {
        table.add(workload, "millstream, no checkpoint", "", move |effort| {
            visit(effort, cold, false)
        });
        table.add(workload, "millstream, checkpoint", "at the durable end", move |effort| {
            visit(effort, cold, true)
        });
    }
    table
}

fn visit(effort: &Effort, cold: bool, checkpoint: bool) -> Vec<Sample> {
    let dir = effort.folder();
    let path = dir.path().to_str().expect("the folder's name is a text").to_owned();
    let bytes = effort.of(1_u64 << 30, 16 << 20);
    children::run("fill", &[path.clone(), bytes.to_string(), checkpoint.to_string()]);
    let mut samples = Vec::new();
    for point in ["first open", "second open"] {
        if cold {
            chill(dir.path());
        }
        let found = children::run("open", std::slice::from_ref(&path));
        let ms = found.iter().find(|(measure, _)| measure == "open").expect("it was printed").1;
        samples.push(Sample::low("open", "ms", ms).at(point));
    }
    samples
}

/// The child that fills.
pub fn fill(dir: &Path, bytes: u64, checkpoint: bool) -> ! {
    let log = Log::open(dir, options()).expect("a new log");
    while log.committed().as_u64() < bytes {
        append(&log, &BODY);
    }
    log.sync().expect("a sound disk");
    if checkpoint {
        log.write_checkpoint(log.committed(), &STATE).expect("a sound disk");
    }
    let durable = log.committed().as_u64();
    while log.committed().as_u64() < durable + REST_BYTES {
        append(&log, &BODY);
    }
    children::print_and_crash(&[("appended", log.committed().as_u64() as f64)])
}

/// The child that opens.
pub fn open(dir: &Path) -> ! {
    let begun = Instant::now();
    let log = Log::open(dir, options()).expect("a crash leaves a log that opens");
    let elapsed = begun.elapsed();
    assert!(!log.recovery().clean, "nobody closed it");
    children::print_and_crash(&[("open", elapsed.as_secs_f64() * 1e3)])
}
