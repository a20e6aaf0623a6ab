//! What does the engine add to a channel and some threads?
//!
//! Publishing to handling, on both kinds, beside a crossbeam-channel whose threads keep the same books: a stamp at each
//! end and a count. Every run checks that each message was handled once.
//!
//! Run: `cargo bench --bench engine`. Compare ratios inside one run; never times across runs.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream::{Bytes, Config, Delivery, Durability, Engine};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
const MESSAGES: u64 = 10_000;
const PAYLOAD: &[u8] = &[7; 100];
const LONG: Duration = Duration::from_secs(60);

struct Bench {
    name: &'static str,
    config: Config,
    _directory: Option<tempfile::TempDir>,
}

fn kinds() -> Vec<Bench> {
    let directory = tempfile::tempdir().unwrap();
    let persistent = Config::persistent(directory.path()).disk_bytes_max(64 << 30);
    vec![
        Bench { name: "memory", config: Config::memory(), _directory: None },
        Bench { name: "persistent os", config: persistent, _directory: Some(directory) },
    ]
}

/// How many messages a second go from one publisher through four workers with an empty handler?
fn throughput(criterion: &mut Criterion) {
    let mut group =
        criterion.benchmark_group("publish to handled, 100 B, 4 workers, empty handler");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(10);
    for bench in kinds() {
        let engine = Engine::open(bench.config.workers(WORKERS).buffer(1 << 15)).unwrap();
        let handled = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&handled);
        engine
            .subscribe("t", move |_: &Delivery| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        let mut published = 0;
        group.bench_function(bench.name, |bencher| {
            bencher.iter(|| {
                for _ in 0..MESSAGES {
                    engine.publish("t", Bytes::from_static(PAYLOAD)).unwrap();
                }
                published += MESSAGES;
                while handled.load(Ordering::Relaxed) < published {
                    std::thread::yield_now();
                }
            });
        });
        assert!(engine.close(LONG).unwrap().is_drained());
        assert_eq!(handled.load(Ordering::Relaxed), published, "each message once");
    }
    group.bench_function("crossbeam-channel and threads", |bencher| {
        let (sender, receiver) = crossbeam_channel::bounded::<(Instant, Bytes)>(1 << 15);
        let handled = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (receiver, handled) = (receiver.clone(), Arc::clone(&handled));
                std::thread::spawn(move || {
                    let mut waited = Duration::ZERO;
                    for (published, payload) in receiver {
                        waited += published.elapsed();
                        black_box(&payload);
                        waited += published.elapsed();
                        handled.fetch_add(1, Ordering::Relaxed);
                    }
                    black_box(waited);
                })
            })
            .collect();
        let mut published = 0;
        bencher.iter(|| {
            for _ in 0..MESSAGES {
                sender.send((Instant::now(), Bytes::from_static(PAYLOAD))).unwrap();
            }
            published += MESSAGES;
            while handled.load(Ordering::Relaxed) < published {
                std::thread::yield_now();
            }
        });
        drop(sender);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    group.finish();
}

/// How long from a publish to its handler and back, one message at a time, the worker asleep in between?
fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish to handler and back, one at a time");
    group.sample_size(20);
    for bench in kinds() {
        let engine = Engine::open(bench.config.workers(1)).unwrap();
        let (done, reply) = sync_channel(1);
        engine.subscribe("t", move |_: &Delivery| Ok(done.send(())?)).unwrap();
        group.bench_function(bench.name, |bencher| {
            bencher.iter(|| {
                engine.publish("t", Bytes::from_static(PAYLOAD)).unwrap();
                reply.recv().unwrap();
            });
        });
        engine.close(LONG).unwrap();
    }
    group.bench_function("crossbeam-channel and a thread", |bencher| {
        let (sender, receiver) = crossbeam_channel::bounded::<Bytes>(1_000);
        let (done, reply) = sync_channel(1);
        let thread =
            std::thread::spawn(move || receiver.iter().for_each(|_| done.send(()).unwrap()));
        bencher.iter(|| {
            sender.send(Bytes::from_static(PAYLOAD)).unwrap();
            reply.recv().unwrap();
        });
        drop(sender);
        thread.join().unwrap();
    });
    group.finish();
}

/// How many publishes a second does the disk acknowledge, alone and with neighbours that share its syncs?
fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish, synced");
    group.sample_size(10);
    for publishers in [1, 16] {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::persistent(directory.path()).durability(Durability::Sync);
        let engine = Engine::open(config.disk_bytes_max(64 << 30)).unwrap();
        group.throughput(Throughput::Elements(publishers));
        group.bench_function(BenchmarkId::from_parameter(publishers), |bencher| {
            bencher.iter_custom(|rounds| publish_together(&engine, publishers, rounds));
        });
        engine.close(LONG).unwrap();
    }
    group.finish();
}

/// The time that `publishers` threads take for `rounds` publishes each.
fn publish_together(engine: &Engine, publishers: u64, rounds: u64) -> Duration {
    let start = Barrier::new(publishers as usize + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..publishers)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..rounds {
                        engine.publish("t", Bytes::from_static(PAYLOAD)).unwrap();
                    }
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        began.elapsed()
    })
}

criterion_group!(benches, throughput, round_trip, durable);
criterion_main!(benches);
