//! `engine-latency`, `engine-rate`, `engine-ack`, `settle`: what the persistent kind adds to the memory kind.
//!
//! | table | what is timed |
//! |---|---|
//! | `engine-latency` | from when a publish is due until its handler begins, the handler busy for half of the time |
//! | `engine-rate` | messages from one publisher through four workers with an empty handler |
//! | `engine-ack` | synced publishes of 16 threads until each is handled, beside a job table in SQLite |
//! | `settle` | bytes of log that an acknowledged message adds, and how long an acknowledgement takes |

use crate::jobs::JobTable;
use crate::latency::{histogram, in_us, open_loop, quantiles};
use crate::plan::{Effort, Sample, Table};
use crossbeam_channel::bounded;
use hdrhistogram::Histogram;
use millstream::{Bytes, Config, Delivery, Durability, Engine};
use peers::latency::busy_for;
use peers::system::processor_time_of_all;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAYLOAD: &[u8] = &[7; 100];
const LONG: Duration = Duration::from_secs(120);
const DISK_MAX_BYTES: u64 = 64 << 30;

/// Which kind, on what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Os,
}

impl Kind {
    fn open(self, effort: &Effort, change: impl FnOnce(Config) -> Config) -> (Engine, TempDir) {
        let dir = effort.folder();
        let config = match self {
            Self::Memory => Config::memory(),
            Self::Os => Config::persistent(dir.path()).disk_bytes_max(DISK_MAX_BYTES),
        };
        (Engine::open(change(config)).expect("a new queue"), dir)
    }
}

/// Latency from publish to handler at half of the load that the handler could bear.
pub fn latency(_effort: &Effort) -> Table {
    let question = "How long from when a publish is due until its handler begins, at 50 % load?";
    let remarks = "A message of 100 B every 20 us, a handler that computes for 10 us: nobody queues but behind a stall. \
        \"spins\": the receiving thread tries again and again; otherwise it waits by the library's own means, and the engine \
        has one worker. On the machine as it is: publisher and handler have a core each, and nobody waits for the disk.";
    let mut table = Table::new("engine-latency", question, remarks);
    for (kind, handler, spinning) in [
        (Kind::Memory, "millstream memory", "millstream memory, spins"),
        (Kind::Os, "millstream Os", "millstream Os, spins"),
    ] {
        table.add("handler", handler, "", move |effort| to_handler(effort, kind));
        table.add("spinning", spinning, "", move |effort| to_spinner(effort, kind));
    }
    table.add("handler", "crossbeam and thread", "no queue's books", |effort| {
        through_channel(effort, false)
    });
    table.add("spinning", "crossbeam, spins", "no queue's books", |effort| {
        through_channel(effort, true)
    });
    table
}

/// One message every so often, each stamped with when it was due.
const RATE: u64 = 50_000;
const SERVICE: Duration = Duration::from_micros(10);

fn span(effort: &Effort) -> Duration {
    effort.of(Duration::from_secs(2), Duration::from_millis(40))
}

/// The clock of one visit, and the latencies seen on it.
struct Arrivals {
    epoch: Instant,
    latencies: Histogram<u64>,
}

impl Arrivals {
    fn new() -> Self {
        Self { epoch: Instant::now(), latencies: histogram() }
    }

    /// A message that was due at that time has come; it is worked at.
    fn note(&mut self, stamp: u64) {
        let now = self.epoch.elapsed().as_nanos() as u64;
        self.latencies.saturating_record(now.saturating_sub(stamp));
        busy_for(SERVICE);
    }
}

/// Publishes for the time of the visit; each gets the time when it was due. How many?
fn publish_all(effort: &Effort, epoch: Instant, mut publish: impl FnMut(u64)) -> u64 {
    let interval_ns = 1_000_000_000 / RATE;
    let (mut due, mut count) = (epoch.elapsed().as_nanos() as u64, 0);
    let next = || {
        publish(due);
        due += interval_ns;
        count += 1;
    };
    open_loop(RATE, span(effort), next, |_| ());
    count
}

fn stamped(stamp: u64) -> Bytes {
    let mut payload = [7; 100];
    payload[..8].copy_from_slice(&stamp.to_le_bytes());
    Bytes::copy_from_slice(&payload)
}

fn stamp_of(payload: &[u8]) -> u64 {
    u64::from_le_bytes(*payload.first_chunk().expect("a payload begins with its stamp"))
}

fn to_handler(effort: &Effort, kind: Kind) -> Vec<Sample> {
    let (engine, _dir) = kind.open(effort, |config| config.workers(1).buffer(1 << 15));
    let arrivals = Arrivals::new();
    let epoch = arrivals.epoch;
    let arrivals = Arc::new(Mutex::new(arrivals));
    let noted = arrivals.clone();
    let subscribed = engine.subscribe("t", move |delivery: &Delivery| {
        let mut arrivals = noted.lock().expect("one worker, no panic");
        arrivals.note(stamp_of(delivery.payload()));
        Ok(())
    });
    subscribed.expect("a new subscription");
    let count = publish_all(effort, epoch, |due| {
        engine.publish("t", stamped(due)).expect("there is room");
    });
    assert!(engine.close(LONG).expect("a sound disk").is_drained());
    let arrivals = arrivals.lock().expect("one worker, no panic");
    assert_eq!(arrivals.latencies.len(), count, "each was handled once");
    quantiles(&arrivals.latencies)
}

fn to_spinner(effort: &Effort, kind: Kind) -> Vec<Sample> {
    let (engine, _dir) = kind.open(effort, |config| config.workers(1).buffer(1 << 15));
    let subscriber = engine.subscriber("t").expect("a new subscription");
    let mut arrivals = Arrivals::new();
    let (epoch, published) = (arrivals.epoch, AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            while arrivals.latencies.len() < published.load(Ordering::Relaxed) {
                // [relaxed] only the count is asked for
                match subscriber.try_recv().expect("a sound disk") {
                    Some(delivery) => {
                        arrivals.note(stamp_of(delivery.payload()));
                        delivery.ack().expect("a sound disk");
                    }
                    None => spin_loop(),
                }
            }
        });
        let count = publish_all(effort, epoch, |due| {
            engine.publish("t", stamped(due)).expect("there is room");
        });
        published.store(count, Ordering::Relaxed); // [relaxed] only the count is asked for
        receiving.join().expect("each arrives");
    });
    engine.close(LONG).expect("a sound disk");
    quantiles(&arrivals.latencies)
}

fn through_channel(effort: &Effort, spinning: bool) -> Vec<Sample> {
    let (sender, receiver) = bounded::<Bytes>(1 << 15);
    let mut arrivals = Arrivals::new();
    let epoch = arrivals.epoch;
    let count = thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            loop {
                let received = match spinning {
                    true => receiver.try_recv().map_err(|error| error.is_disconnected()),
                    false => receiver.recv().map_err(|_| true),
                };
                match received {
                    Ok(payload) => arrivals.note(stamp_of(&payload)),
                    Err(true) => break,
                    Err(false) => spin_loop(),
                }
            }
        });
        let count = publish_all(effort, epoch, |due| {
            sender.send(stamped(due)).expect("the receiver is there");
        });
        drop(sender);
        receiving.join().expect("each arrives");
        count
    });
    assert_eq!(arrivals.latencies.len(), count, "each arrived once");
    quantiles(&arrivals.latencies)
}

/// Messages a second through four workers.
pub fn rate(_effort: &Effort) -> Table {
    let question = "How many messages a second go from one publisher through four workers?";
    let remarks = "100 B, empty handler. The channel's threads keep the same books: two stamps and a count a message.";
    let mut table = Table::new("engine-rate", question, remarks);
    for (kind, peer) in [(Kind::Memory, "millstream memory"), (Kind::Os, "millstream Os")] {
        table.add("4 workers", peer, "", move |effort| dispatched(effort, kind));
    }
    table.add("4 workers", "crossbeam and 4 threads", "", through_threads);
    table
}

const WORKERS: usize = 4;

fn messages(effort: &Effort) -> u64 {
    effort.of(400_000, 10_000)
}

fn dispatched(effort: &Effort, kind: Kind) -> Vec<Sample> {
    let (engine, _dir) = kind.open(effort, |config| config.workers(WORKERS).buffer(1 << 15));
    let handled = Arc::new(AtomicU64::new(0));
    let counted = handled.clone();
    let subscribed = engine.subscribe("t", move |_: &Delivery| {
        counted.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
        Ok(())
    });
    subscribed.expect("a new subscription");
    let samples = published(messages(effort), &handled, || {
        // The memory kind refuses when its window is full: back-pressure, by trying again.
        while engine.publish("t", Bytes::from_static(PAYLOAD)).is_err() {
            thread::yield_now();
        }
    });
    assert!(engine.close(LONG).expect("a sound disk").is_drained());
    samples
}

fn through_threads(effort: &Effort) -> Vec<Sample> {
    let (sender, receiver) = bounded::<(Instant, Bytes)>(1 << 15);
    let handled = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (receiver, handled) = (receiver.clone(), &handled);
            scope.spawn(move || {
                let mut waited = Duration::ZERO;
                for (published, payload) in receiver {
                    waited += published.elapsed();
                    black_box(&payload);
                    waited += published.elapsed();
                    handled.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
                }
                black_box(waited);
            });
        }
        let samples = published(messages(effort), &handled, || {
            let message = (Instant::now(), Bytes::from_static(PAYLOAD));
            sender.send(message).expect("the receivers are there");
        });
        drop(sender);
        samples
    })
}

/// Publishes so many and waits until all are handled.
fn published(count: u64, handled: &AtomicU64, mut publish: impl FnMut()) -> Vec<Sample> {
    let begun = Instant::now();
    for _ in 0..count {
        publish();
    }
    while handled.load(Ordering::Relaxed) < count {
        thread::yield_now(); // [relaxed] a count
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(handled.load(Ordering::Relaxed), count, "each once"); // [relaxed] a count
    vec![Sample::high("rate", "M messages/s", count as f64 / seconds / 1e6)]
}

/// A queue of jobs, as `engine-ack` uses it.
pub trait Jobs: Sync {
    /// Returns when the disk has it.
    fn publish(&self, payload: &[u8]);
    /// Returns when this many have been handled and acknowledged.
    fn finish(&self, published: u64);
}

struct Ours {
    engine: Engine,
    handled: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Ours {
    fn new(effort: &Effort) -> Self {
        let dir = effort.folder();
        let config = Config::persistent(dir.path()).durability(Durability::Sync).workers(1);
        let engine = Engine::open(config.disk_bytes_max(DISK_MAX_BYTES)).expect("a new queue");
        let handled = Arc::new(AtomicU64::new(0));
        let counted = handled.clone();
        let subscribed = engine.subscribe("t", move |_: &Delivery| {
            counted.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
            Ok(())
        });
        subscribed.expect("a new subscription");
        Self { engine, handled, _dir: dir }
    }
}

impl Jobs for Ours {
    fn publish(&self, payload: &[u8]) {
        self.engine.publish("t", Bytes::copy_from_slice(payload)).expect("a sound disk");
    }

    fn finish(&self, published: u64) {
        while self.handled.load(Ordering::Relaxed) < published {
            thread::yield_now(); // [relaxed] a count
        }
        // The acknowledgements too are on the disk.
        self.engine.sync().expect("a sound disk");
    }
}

/// Synced publishes and acknowledgements.
pub fn ack(_effort: &Effort) -> Table {
    let question =
        "How many jobs a second do 16 publishers hand over durably, until each is acknowledged?";
    let remarks = "100 B. The rate counts until the last job is acknowledged and that is on the disk; the publisher's wait \
        is until its own job is. The job table: an insert, a claim by UPDATE .. RETURNING and a delete a job, each a \
        transaction of its own at synchronous = FULL, one worker, one connection shared under a lock (one each, with a \
        busy timeout, is slower). Ours: acknowledgements are written in groups.";
    let mut table = Table::new("engine-ack", question, remarks);
    table.add_in_both("16 publishers", "millstream Sync", "", |effort, _| {
        handed_over(effort, &Ours::new(effort))
    });
    table.add_in_both("16 publishers", "sqlite job table", "FULL", |effort, _| {
        let table = JobTable::new(effort.folder());
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| table.work(&ended));
            let samples = handed_over(effort, &table);
            ended.store(true, Ordering::Relaxed); // [relaxed] only the end is asked for
            samples
        })
    });
    table
}

fn handed_over(effort: &Effort, jobs: &impl Jobs) -> Vec<Sample> {
    const PUBLISHERS: usize = 16;
    let span = effort.of(Duration::from_secs(1), Duration::from_millis(20));
    let start = Barrier::new(PUBLISHERS + 1);
    let (waits, elapsed, used) = thread::scope(|scope| {
        let publishing = || {
            let mut waits = histogram();
            start.wait();
            let begun = Instant::now();
            let mut before = begun;
            while before - begun < span {
                jobs.publish(PAYLOAD);
                let now = Instant::now();
                waits.saturating_record((now - before).as_nanos() as u64);
                before = now;
            }
            waits
        };
        let handles: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publishing)).collect();
        start.wait();
        let (begun, before) = (Instant::now(), processor_time_of_all());
        let mut waits = histogram();
        for handle in handles {
            let of_one = handle.join().expect("no publish fails");
            waits.add(&of_one).expect("histograms of one shape");
        }
        jobs.finish(waits.len());
        (waits, begun.elapsed(), processor_time_of_all() - before)
    });
    let count = waits.len() as f64;
    vec![
        Sample::high("rate", "jobs/s", count / elapsed.as_secs_f64()),
        Sample::low("CPU", "us/job", used.as_secs_f64() * 1e6 / count),
        Sample::low("publish p50", "us", in_us(&waits, 0.5)),
        Sample::low("publish p99", "us", in_us(&waits, 0.99)),
    ]
}

/// What a settlement costs.
pub fn settle(_effort: &Effort) -> Table {
    let question = "What does an acknowledgement cost?";
    let remarks = "Messages of 100 B are published, pulled 512 at a time, and each batch is then acknowledged while the \
        clock runs. Bytes: how far the log went between a message before the first acknowledgement and one after the last is \
        on the disk, divided by the messages; the publish is not in it. Memory kind: the same calls, nothing written.";
    let mut table = Table::new("settle", question, remarks);
    for (kind, peer) in [(Kind::Memory, "millstream memory"), (Kind::Os, "millstream Os")] {
        table.add("acknowledge", peer, "", move |effort| acknowledged(effort, kind));
    }
    table
}

fn acknowledged(effort: &Effort, kind: Kind) -> Vec<Sample> {
    const BATCH: usize = 512;
    let count = effort.of(30_000, 5_000);
    let (engine, _dir) = kind.open(effort, |config| config.buffer(1 << 16));
    let subscriber = engine.subscriber("t").expect("a new subscription");
    for _ in 0..count {
        engine.publish("t", Bytes::from_static(PAYLOAD)).expect("there is room");
    }
    let mark = || engine.publish("mark", Bytes::from_static(PAYLOAD)).expect("there is room");
    let before = mark().id.position();
    let frame = mark().id.position() - before;
    let (mut elapsed, mut left) = (Duration::ZERO, count);
    while left > 0 {
        let pull = || subscriber.try_recv().expect("a sound disk").expect("it was published");
        let batch: Vec<Delivery> = (0..BATCH.min(left)).map(|_| pull()).collect();
        left -= batch.len();
        let begun = Instant::now();
        for delivery in batch {
            delivery.ack().expect("a sound disk");
        }
        elapsed += begun.elapsed();
    }
    engine.sync().expect("a sound disk");
    let bytes = mark().id.position() - before - 2 * frame;
    engine.close(LONG).expect("a sound disk");
    let mut samples =
        vec![Sample::low("acknowledge", "ns", elapsed.as_nanos() as f64 / count as f64)];
    if kind == Kind::Os {
        samples.push(Sample::low("log", "bytes/message", bytes as f64 / count as f64));
    }
    samples
}
