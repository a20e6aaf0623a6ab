//! How fast is the log?
//!
//! | group | question |
//! |---|---|
//! | `append_100B`, `append_1KiB` | what does an append cost that survives the process, beside a `pwrite` of the same bytes? |
//! | `durable` | and one that survives the machine, alone and with sixteen threads that share syncs, beside `pwrite` and `fdatasync`? |
//! | `replay` | how fast is a log read back, both checksums checked? |
//!
//! An append goes into what was prepared ahead: the clock stands still while housekeeping catches up, since a disk is
//! slower than any of these. The first store to a page is in the figure. `pwrite` writes to blocks that are there and has
//! no checksum. What a sync costs depends on what the other core does: compare inside one run only.
//!
//! Run: `cargo bench --bench log`. Compare ratios inside one run; never times across runs.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::log::{AppendError, Budget, Log, LogOptions, Record};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DISK_MAX_BYTES: u64 = 1 << 30;
/// Appended in one go, out of what is prepared.
const GO_BYTES: u64 = 8 << 20;

/// A log that is made anew when it is full.
struct Fresh {
    log: Log,
    _dir: TempDir,
}

impl Fresh {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let options = LogOptions::new().disk_max_bytes(DISK_MAX_BYTES);
        let log = Log::open(dir.path(), options).expect("a new log");
        Self { log, _dir: dir }
    }

    /// Returns when a go fits into what is prepared; makes a new log if this one is nearly full.
    fn ready(&mut self) {
        loop {
            let stats = self.log.stats();
            let used = stats.committed.as_u64() - stats.start.as_u64();
            if used + GO_BYTES > DISK_MAX_BYTES * 7 / 10 {
                *self = Self::new();
            } else if stats.prepared.as_u64() - stats.committed.as_u64() > GO_BYTES * 2 {
                return;
            } else {
                // Only an append rings; this one keeps housekeeping going.
                append(&self.log, &[0]);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn append(log: &Log, body: &[u8]) -> millstream::log::Position {
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[body] };
    match log.append(&record, Budget::Publish) {
        Ok(appended) => appended.end,
        Err(AppendError::Full) => panic!("`ready` makes room"),
        Err(other) => panic!("{other}"),
    }
}

/// A file whose blocks are there.
fn blocks(dir: &TempDir, bytes: u64) -> File {
    let path = dir.path().join("blocks");
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.expect("a new file");
    let zeros = vec![0; 1 << 20];
    for at in (0..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).expect("room on the disk");
    }
    file.sync_all().expect("a sync");
    file
}

fn appends(criterion: &mut Criterion) {
    for (name, bytes) in [("append_100B", 100), ("append_1KiB", 1024)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        let body = vec![7; bytes];
        let go = GO_BYTES / (bytes as u64 + 64);
        let mut fresh = Fresh::new();
        let end = append(&fresh.log, &body);
        assert_eq!(fresh.log.committed(), end, "sanity, before timing");
        group.bench_function("log", |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                let mut left = count;
                while left > 0 {
                    fresh.ready();
                    let now = left.min(go);
                    let begun = Instant::now();
                    for _ in 0..now {
                        append(&fresh.log, &body);
                    }
                    spent += begun.elapsed();
                    left -= now;
                }
                spent
            });
        });
        let dir = TempDir::new().expect("a temporary directory");
        let file = blocks(&dir, GO_BYTES * 2);
        group.bench_function("pwrite", |bencher| {
            bencher.iter_custom(|count| {
                let begun = Instant::now();
                for index in 0..count {
                    let at = index % go * bytes as u64;
                    file.write_all_at(&body, at).expect("room on the disk");
                }
                begun.elapsed()
            });
        });
        group.finish();
    }
}

fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let body = [7; 100];
    for threads in [1, 16] {
        let mut fresh = Fresh::new();
        group.bench_function(format!("log, {threads} threads"), |bencher| {
            bencher.iter_custom(|count| {
                fresh.ready();
                let each = count.div_ceil(threads);
                let begun = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for _ in 0..each {
                                let end = append(&fresh.log, &body);
                                fresh.log.wait_durable(end).expect("a sound disk");
                            }
                        });
                    }
                });
                begun.elapsed().mul_f64(count as f64 / (each * threads) as f64)
            });
        });
        let stats = fresh.log.stats();
        assert_eq!(stats.durable, stats.committed, "sanity: what was waited for is durable");
    }
    let dir = TempDir::new().expect("a temporary directory");
    let file = blocks(&dir, GO_BYTES);
    group.bench_function("pwrite + fdatasync, 1 thread", |bencher| {
        bencher.iter_custom(|count| {
            let begun = Instant::now();
            for index in 0..count {
                let at = index * body.len() as u64 % GO_BYTES;
                file.write_all_at(&body, at).expect("room on the disk");
                file.sync_data().expect("a sound disk");
            }
            begun.elapsed()
        });
    });
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    const RECORDS: u64 = 32 << 10;
    let fresh = Fresh::new();
    for _ in 0..RECORDS {
        append(&fresh.log, &[7; 1024]);
    }
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Bytes(RECORDS * 1024)).sample_size(20);
    group.bench_function("1 KiB records", |bencher| {
        bencher.iter(|| {
            let mut reader = fresh.log.reader(fresh.log.start());
            let mut bytes = 0;
            while let Some(record) = reader.next().expect("a sound log") {
                bytes += record.body().len() as u64;
            }
            assert_eq!(bytes, RECORDS * 1024);
        });
    });
    group.finish();
}

criterion_group! {
    name = log;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = appends, durable, replay
}
criterion_main!(log);
