//! How fast is the ring, beside crossbeam's channel and `ArrayQueue`?
//!
//! | group | question |
//! |---|---|
//! | `pair` | what do one send and one receive cost on one thread, with nobody waiting? |
//! | `spin_1p1c` | what does a hand-over cost from one busy thread to another? |
//! | `block_1p1c` | the same with blocking calls, which sleep when the ring is full or empty |
//! | `block_4p4c` | and with four threads on each side |
//!
//! `ArrayQueue` cannot wait, so it is only in the first two. It pays for no sleepers; the channels do.
//! Every transfer is checked by the sum of what arrived.
//!
//! Run: `cargo bench --bench ring`. Compare ratios inside one run; never times across runs.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

const CAPACITY: usize = 1024;

/// What can be measured without waiting.
trait Queue: Sync {
    const NAME: &'static str;
    fn new() -> Self;
    fn push(&self, value: u64) -> bool;
    fn pop(&self) -> Option<u64>;
}

/// What can wait too.
trait Channel: Queue {
    fn send(&self, value: u64);
    fn recv(&self) -> u64;
}

macro_rules! channel {
    ($name:ident, $library:path, $label:literal) => {
        mod $name {
            use $library as library;
            pub struct Both(library::Sender<u64>, library::Receiver<u64>);

            impl super::Queue for Both {
                const NAME: &'static str = $label;
                fn new() -> Self {
                    let (sender, receiver) = library::bounded(super::CAPACITY);
                    Self(sender, receiver)
                }
                fn push(&self, value: u64) -> bool {
                    self.0.try_send(value).is_ok()
                }
                fn pop(&self) -> Option<u64> {
                    self.1.try_recv().ok()
                }
            }

            impl super::Channel for Both {
                fn send(&self, value: u64) {
                    self.0.send(value).expect("the receiver is there");
                }
                fn recv(&self) -> u64 {
                    self.1.recv().expect("the sender is there")
                }
            }
        }
    };
}

channel!(ours, millstream::ring, "millstream");
channel!(theirs, crossbeam_channel, "crossbeam-channel");

impl Queue for crossbeam_queue::ArrayQueue<u64> {
    const NAME: &'static str = "ArrayQueue";
    fn new() -> Self {
        Self::new(CAPACITY)
    }
    fn push(&self, value: u64) -> bool {
        self.push(value).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn pair<Q: Queue>(group: &mut Group<'_>) {
    let queue = Q::new();
    assert!(queue.push(7) && queue.pop() == Some(7), "sanity, before timing");
    group.bench_function(Q::NAME, |bench| {
        bench.iter(|| {
            queue.push(black_box(7));
            queue.pop()
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

/// The time in which `count` values for each of so many senders reach as many receivers; their sum is checked.
fn transfer(
    sides: u64,
    count: u64,
    send: impl Fn(u64) + Sync,
    recv: impl Fn() -> u64 + Sync,
) -> Duration {
    let begun = Instant::now();
    let sum: u64 = thread::scope(|scope| {
        for _ in 0..sides {
            scope.spawn(|| (0..count).for_each(&send));
        }
        let takers: Vec<_> =
            (0..sides).map(|_| scope.spawn(|| (0..count).map(|_| recv()).sum::<u64>())).collect();
        takers.into_iter().map(|taker| taker.join().expect("a receiver")).sum()
    });
    let taken = begun.elapsed();
    assert_eq!(sum, sides * (count * count.saturating_sub(1) / 2), "what was sent has arrived");
    taken
}

fn spin<Q: Queue>(group: &mut Group<'_>) {
    group.bench_function(Q::NAME, |bench| {
        bench.iter_custom(|count| {
            let queue = Q::new();
            let send = |value| until(|| queue.push(value).then_some(()));
            transfer(1, count, send, || until(|| queue.pop()))
        });
    });
}

fn block<C: Channel>(group: &mut Group<'_>, sides: u64) {
    group.bench_function(C::NAME, |bench| {
        bench.iter_custom(|count| {
            let channel = C::new();
            transfer(sides, count, |value| channel.send(value), || channel.recv())
        });
    });
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, values: u64) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(values)).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

fn ring(criterion: &mut Criterion) {
    type Array = crossbeam_queue::ArrayQueue<u64>;

    let mut pairs = group(criterion, "pair", 1);
    pair::<ours::Both>(&mut pairs);
    pair::<theirs::Both>(&mut pairs);
    pair::<Array>(&mut pairs);
    pairs.finish();

    let mut spins = group(criterion, "spin_1p1c", 1);
    spin::<ours::Both>(&mut spins);
    spin::<theirs::Both>(&mut spins);
    spin::<Array>(&mut spins);
    spins.finish();

    for (name, sides) in [("block_1p1c", 1), ("block_4p4c", 4)] {
        let mut blocks = group(criterion, name, sides);
        block::<ours::Both>(&mut blocks, sides);
        block::<theirs::Both>(&mut blocks, sides);
        blocks.finish();
    }
}

criterion_group!(benches, ring);
criterion_main!(benches);
