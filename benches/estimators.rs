//! What do the estimators cost a message?
//!
//! A reading of the clock; the books of a worker without and with a subscription's traffic; the swap at the pull, alone
//! and with a neighbour; and what it takes to read a window, which is paid by whoever asks for statistics.
//!
//! Run: `cargo bench --bench estimators`. Compare inside one run; never times across runs.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use criterion::{Criterion, criterion_group, criterion_main};
use millstream::clock::{Clock, SystemClock};
use millstream::metrics::{Recorder, Span, Times};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// A message each 500 ns, as at two million a second: new parts and cells begin as they do there.
struct Stamps(u64);

impl Stamps {
    fn next(&mut self) -> Times {
        self.0 += 500;
        Times { arrival_ns: self.0, start_ns: self.0 + 700, end_ns: self.0 + 900 }
    }
}

fn per_message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("per message");
    let clock = SystemClock::new();
    group.bench_function("a stamp", |bencher| bencher.iter(|| clock.now_ns()));
    let recorder = Recorder::new(2, 0);
    let mut stamps = Stamps(0);
    group.bench_function("record, no traffic", |bencher| {
        bencher.iter(|| recorder.record(1, black_box(stamps.next())));
    });
    let flow = recorder.open_flow(0);
    let mut stamps = Stamps(0);
    group.bench_function("record, with traffic", |bencher| {
        bencher.iter(|| recorder.record_in(1, &flow, black_box(stamps.next()), 1, Some(500)));
    });
    assert!(0 < recorder.window(&flow, Span::Short, stamps.0).unwrap().messages(), "sanity");
    let mut stamps = Stamps(0);
    group.bench_function("gap, alone", |bencher| {
        bencher.iter(|| flow.gap_ns(black_box(stamps.next().arrival_ns)));
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                black_box(flow.gap_ns(1));
            }
        });
        let mut stamps = Stamps(0);
        group.bench_function("gap, with a neighbour that does nothing else", |bencher| {
            bencher.iter(|| flow.gap_ns(black_box(stamps.next().arrival_ns)));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

fn per_question(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("per question, 5 shards");
    let recorder = Recorder::new(5, 0);
    let flow = recorder.open_flow(0);
    let mut stamps = Stamps(0);
    for number in 0..1_000_000 {
        recorder.record_in(number % 5, &flow, stamps.next(), 1, Some(500));
    }
    for span in [Span::Short, Span::Long] {
        group.bench_function(format!("{span:?} window and its estimates"), |bencher| {
            bencher.iter(|| recorder.window(&flow, span, stamps.0).unwrap().estimates());
        });
    }
    group.finish();
}

criterion_group!(benches, per_message, per_question);
criterion_main!(benches);
