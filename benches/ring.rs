//! How fast is the ring, beside crossbeam's channel and `ArrayQueue`?
//!
//! | group | question |
//! |---|---|
//! | `pair` | what do one send and one receive cost on one thread, with nobody waiting? |
//! | `waiter_check` | how much of that is the look for somebody asleep? |
//! | `spin_1p1c` | what does a hand-over cost from one busy thread to another? |
//! | `block_1p1c` | the same with blocking calls, which sleep when the ring is full or empty |
//! | `block_4p4c` | and with four threads on each side |
//! | `batch_1p1c`, `batch_4p4c` | and in batches of 128, of 32 |
//!
//! "sole" are the ends of `spsc`, "alone" a producer and a consumer that were a sender and a receiver. `ArrayQueue` cannot
//! wait, so it is only in the first ones. It pays for no sleepers; the channels do. Every transfer is checked by the sum of
//! what arrived.
//!
//! Run: `cargo bench --bench ring`. Compare ratios inside one run; never times across runs. The comparison with other
//! libraries is in `benches/peers`.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use millstream::ring::{
    Consumer, One, Producer, Receiver, Sender, bounded, look_for_waiters, spsc,
};
use std::hint::{black_box, spin_loop};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const CAPACITY: usize = 1024;

/// A sending end.
trait Put: Send {
    fn try_put(&mut self, value: u64) -> bool;
    fn put(&mut self, value: u64);
    fn put_batch(&mut self, values: Range<u64>);
}

/// A receiving end.
trait Get: Send {
    fn try_get(&mut self) -> Option<u64>;
    fn get(&mut self) -> u64;
    fn get_batch(&mut self, into: &mut Vec<u64>, limit: usize);
}

/// Something with two ends.
trait Queue {
    const NAME: &'static str;
    type Put: Put;
    type Get: Get;
    fn ends() -> (Self::Put, Self::Get);
}

macro_rules! put {
    ($($End:ty),+) => {$(
        impl Put for $End {
            fn try_put(&mut self, value: u64) -> bool {
                self.try_send(value).is_ok()
            }
            fn put(&mut self, value: u64) {
                self.send(value).expect("the receiver is there");
            }
            fn put_batch(&mut self, values: Range<u64>) {
                assert!(self.send_many(values).is_ok(), "the receiver is there");
            }
        }
    )+};
}

macro_rules! get {
    ($($End:ty),+) => {$(
        impl Get for $End {
            fn try_get(&mut self) -> Option<u64> {
                self.try_recv().ok()
            }
            fn get(&mut self) -> u64 {
                self.recv().expect("the sender is there")
            }
            fn get_batch(&mut self, into: &mut Vec<u64>, limit: usize) {
                self.recv_many(into, limit).expect("the sender is there");
            }
        }
    )+};
}

put!(Sender<u64>, Producer<u64>, Producer<u64, One>);
get!(Receiver<u64>, Consumer<u64>, Consumer<u64, One>);

/// As somebody uses it who only changes an import.
struct Shared;

impl Queue for Shared {
    const NAME: &'static str = "millstream";
    type Put = Sender<u64>;
    type Get = Receiver<u64>;
    fn ends() -> (Sender<u64>, Receiver<u64>) {
        bounded(CAPACITY)
    }
}

struct Alone;

impl Queue for Alone {
    const NAME: &'static str = "millstream, alone";
    type Put = Producer<u64>;
    type Get = Consumer<u64>;
    fn ends() -> (Producer<u64>, Consumer<u64>) {
        let (sender, receiver) = bounded(CAPACITY);
        let producer = sender.try_into_producer().expect("it is the only one");
        (producer, receiver.try_into_consumer().expect("it is the only one"))
    }
}

struct Sole;

impl Queue for Sole {
    const NAME: &'static str = "millstream, sole";
    type Put = Producer<u64, One>;
    type Get = Consumer<u64, One>;
    fn ends() -> (Producer<u64, One>, Consumer<u64, One>) {
        spsc(CAPACITY)
    }
}

struct Crossbeam;

impl Queue for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";
    type Put = crossbeam_channel::Sender<u64>;
    type Get = crossbeam_channel::Receiver<u64>;
    fn ends() -> (Self::Put, Self::Get) {
        crossbeam_channel::bounded(CAPACITY)
    }
}

impl Put for crossbeam_channel::Sender<u64> {
    fn try_put(&mut self, value: u64) -> bool {
        self.try_send(value).is_ok()
    }
    fn put(&mut self, value: u64) {
        self.send(value).expect("the receiver is there");
    }
    fn put_batch(&mut self, values: Range<u64>) {
        values.for_each(|value| self.put(value)); // it has none
    }
}

impl Get for crossbeam_channel::Receiver<u64> {
    fn try_get(&mut self) -> Option<u64> {
        self.try_recv().ok()
    }
    fn get(&mut self) -> u64 {
        self.recv().expect("the sender is there")
    }
    fn get_batch(&mut self, into: &mut Vec<u64>, _limit: usize) {
        into.push(self.get()); // it has none
    }
}

struct Array;

impl Queue for Array {
    const NAME: &'static str = "ArrayQueue";
    type Put = Arc<ArrayQueue<u64>>;
    type Get = Arc<ArrayQueue<u64>>;
    fn ends() -> (Self::Put, Self::Get) {
        let queue = Arc::new(ArrayQueue::new(CAPACITY));
        (queue.clone(), queue)
    }
}

impl Put for Arc<ArrayQueue<u64>> {
    fn try_put(&mut self, value: u64) -> bool {
        self.push(value).is_ok()
    }
    fn put(&mut self, value: u64) {
        until(|| self.try_put(value).then_some(()));
    }
    fn put_batch(&mut self, values: Range<u64>) {
        values.for_each(|value| self.put(value));
    }
}

impl Get for Arc<ArrayQueue<u64>> {
    fn try_get(&mut self) -> Option<u64> {
        self.pop()
    }
    fn get(&mut self) -> u64 {
        until(|| self.pop())
    }
    fn get_batch(&mut self, into: &mut Vec<u64>, _limit: usize) {
        into.push(self.get());
    }
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn pair<Q: Queue>(group: &mut Group<'_>) {
    let (mut put, mut get) = Q::ends();
    assert!(put.try_put(7) && get.try_get() == Some(7), "sanity, before timing");
    group.bench_function(Q::NAME, |bench| {
        bench.iter(|| {
            put.try_put(black_box(7));
            get.try_get()
        });
    });
}

/// Spins a moment, then offers the processor: the machine may have as few as one core for both threads.
fn until<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let mut tries = 0_u32;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        tries += 1;
        if tries.is_multiple_of(64) { thread::yield_now() } else { spin_loop() }
    }
}

/// The time in which `count` values from each of so many senders reach as many receivers; their sum is checked.
fn transfer<Q: Queue>(
    ends: Vec<(Q::Put, Q::Get)>,
    count: u64,
    send: impl Fn(&mut Q::Put, u64) + Sync,
    recv: impl Fn(&mut Q::Get, u64) -> u64 + Sync,
) -> Duration {
    let sides = ends.len() as u64;
    let begun = Instant::now();
    let sum: u64 = thread::scope(|scope| {
        let takers: Vec<_> = ends
            .into_iter()
            .map(|(mut put, mut get)| {
                let (send, recv) = (&send, &recv);
                scope.spawn(move || send(&mut put, count));
                scope.spawn(move || recv(&mut get, count))
            })
            .collect();
        takers.into_iter().map(|taker| taker.join().expect("a receiver")).sum()
    });
    let taken = begun.elapsed();
    assert_eq!(sum, sides * (count * count.saturating_sub(1) / 2), "what was sent has arrived");
    taken
}

fn spin<Q: Queue>(group: &mut Group<'_>) {
    group.bench_function(Q::NAME, |bench| {
        bench.iter_custom(|count| {
            let send = |put: &mut Q::Put, count| {
                (0..count).for_each(|value| until(|| put.try_put(value).then_some(())));
            };
            let recv = |get: &mut Q::Get, count| (0..count).map(|_| until(|| get.try_get())).sum();
            transfer::<Q>(vec![Q::ends()], count, send, recv)
        });
    });
}

fn block<Q: Queue>(group: &mut Group<'_>, ends: impl Fn() -> Vec<(Q::Put, Q::Get)>) {
    group.bench_function(Q::NAME, |bench| {
        bench.iter_custom(|count| {
            let send = |put: &mut Q::Put, count| (0..count).for_each(|value| put.put(value));
            let recv = |get: &mut Q::Get, count| (0..count).map(|_| get.get()).sum();
            transfer::<Q>(ends(), count, send, recv)
        });
    });
}

fn batch<Q: Queue>(group: &mut Group<'_>, size: u64, ends: impl Fn() -> Vec<(Q::Put, Q::Get)>) {
    group.bench_function(Q::NAME, |bench| {
        bench.iter_custom(|count| {
            let send = |put: &mut Q::Put, count: u64| {
                let starts = (0..count).step_by(size as usize);
                starts.for_each(|start| put.put_batch(start..count.min(start + size)));
            };
            let recv = |get: &mut Q::Get, count: u64| {
                let (mut values, mut left, mut sum) = (Vec::with_capacity(size as usize), count, 0);
                while left > 0 {
                    get.get_batch(&mut values, size.min(left) as usize);
                    left -= values.len() as u64;
                    sum += values.drain(..).sum::<u64>();
                }
                sum
            };
            transfer::<Q>(ends(), count, send, recv)
        });
    });
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, values: u64) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(values)).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

fn one<Q: Queue>() -> Vec<(Q::Put, Q::Get)> {
    vec![Q::ends()]
}

fn four<Q: Queue>() -> Vec<(Q::Put, Q::Get)>
where
    Q::Put: Clone,
    Q::Get: Clone,
{
    let first = Q::ends();
    vec![first; 4]
}

fn ring(criterion: &mut Criterion) {
    let mut pairs = group(criterion, "pair", 1);
    pair::<Shared>(&mut pairs);
    pair::<Alone>(&mut pairs);
    pair::<Sole>(&mut pairs);
    pair::<Crossbeam>(&mut pairs);
    pair::<Array>(&mut pairs);
    pairs.finish();

    let mut check = group(criterion, "waiter_check", 1);
    let (sender, _receiver) = bounded::<u64>(CAPACITY);
    check.bench_function("millstream", |bench| bench.iter(|| look_for_waiters(black_box(&sender))));
    check.finish();

    let mut spins = group(criterion, "spin_1p1c", 1);
    spin::<Shared>(&mut spins);
    spin::<Alone>(&mut spins);
    spin::<Sole>(&mut spins);
    spin::<Crossbeam>(&mut spins);
    spin::<Array>(&mut spins);
    spins.finish();

    let mut blocks = group(criterion, "block_1p1c", 1);
    block::<Shared>(&mut blocks, one::<Shared>);
    block::<Alone>(&mut blocks, one::<Alone>);
    block::<Sole>(&mut blocks, one::<Sole>);
    block::<Crossbeam>(&mut blocks, one::<Crossbeam>);
    blocks.finish();

    let mut blocks = group(criterion, "block_4p4c", 4);
    block::<Shared>(&mut blocks, four::<Shared>);
    block::<Crossbeam>(&mut blocks, four::<Crossbeam>);
    blocks.finish();

    let mut batches = group(criterion, "batch_1p1c", 1);
    batch::<Shared>(&mut batches, 128, one::<Shared>);
    batch::<Alone>(&mut batches, 128, one::<Alone>);
    batch::<Sole>(&mut batches, 128, one::<Sole>);
    batch::<Crossbeam>(&mut batches, 128, one::<Crossbeam>);
    batches.finish();

    let mut batches = group(criterion, "batch_4p4c", 4);
    batch::<Shared>(&mut batches, 32, four::<Shared>);
    batch::<Crossbeam>(&mut batches, 32, four::<Crossbeam>);
    batches.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
