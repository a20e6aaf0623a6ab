//! `latency` and `prepare`: how long an append takes at a given rate, to p99.99.
//!
//! Open loop: append number n is due n intervals after the start, whether or not the last one has returned, and its
//! latency counts from then; so an append that stalls charges those behind it (no coordinated omission). The appending
//! thread spins until each is due. The row "nothing" appends nothing: what the machine itself adds.
//!
//! Beside syncs: a thread that makes the log durable, every 10 ms or again as soon as it has.

use crate::ours::{Ours, append, frame_bytes};
use crate::plan::{Effort, Sample, Table};
use crate::regime::Regime;
use crate::rivals::Pwrite;
use hdrhistogram::Histogram;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const BODY: [u8; 100] = [7; 100];
const SPAN: Duration = Duration::from_secs(3);
const SPAN_QUICK: Duration = Duration::from_millis(30);
/// The longest that is told from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// An empty one whose memory has been written to, so that no page of it is touched first while a clock runs.
pub fn histogram() -> Histogram<u64> {
    let mut new = Histogram::new_with_max(LONGEST_NS, DIGITS).expect("valid limits");
    new.reset();
    new
}

/// A quantile in microseconds.
pub fn in_us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// The columns: in microseconds.
pub fn quantiles(histogram: &Histogram<u64>) -> Vec<Sample> {
    let columns = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];
    columns.map(|(name, share)| Sample::low(name, "us", in_us(histogram, share))).into()
}

/// The latencies of all rounds together, by workload, state of the machine and peer: what the curves are drawn from.
pub type Curves = Rc<RefCell<BTreeMap<(String, Regime, &'static str), Histogram<u64>>>>;

/// Operations at that rate for that long: each one's time from when it was due.
pub fn open_loop(
    rate: u64,
    span: Duration,
    mut operation: impl FnMut(),
    mut record: impl FnMut(u64),
) {
    let interval_ns = 1_000_000_000 / rate;
    let count = span.as_nanos() as u64 / interval_ns;
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + Duration::from_nanos(number * interval_ns);
        while Instant::now() < due {
            spin_loop();
        }
        operation();
        record((Instant::now() - due).as_nanos() as u64);
    }
}

/// When somebody else syncs.
#[derive(Clone, Copy)]
enum Syncs {
    Never,
    Every(Duration),
    BackToBack,
}

impl Syncs {
    /// Does this beside syncs.
    fn beside<R>(self, sync: impl Fn() + Send, work: impl FnOnce() -> R) -> R {
        let (ended, end) = channel::<()>();
        thread::scope(|scope| {
            let pause = match self {
                Self::Never => None,
                Self::Every(pause) => Some(pause),
                Self::BackToBack => Some(Duration::ZERO),
            };
            if let Some(pause) = pause {
                scope.spawn(move || {
                    while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                        sync();
                    }
                });
            }
            let result = work();
            drop(ended);
            result
        })
    }
}

/// Who appends, and beside what.
#[derive(Clone, Copy)]
struct Way {
    peer: &'static str,
    who: Who,
    syncs: Syncs,
}

#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Ours { populated: bool },
    Pwrite,
}

const TENTH: Syncs = Syncs::Every(Duration::from_millis(10));
const FIRST_TOUCH: Who = Who::Ours { populated: false };
const WAYS: [Way; 8] = [
    Way { peer: "floor: nothing", who: Who::Nobody, syncs: Syncs::Never },
    Way { peer: "millstream Os", who: FIRST_TOUCH, syncs: Syncs::Never },
    Way {
        peer: "millstream Os, populated",
        who: Who::Ours { populated: true },
        syncs: Syncs::Never,
    },
    Way { peer: "millstream, sync each 10 ms", who: FIRST_TOUCH, syncs: TENTH },
    Way { peer: "millstream, syncs always", who: FIRST_TOUCH, syncs: Syncs::BackToBack },
    Way { peer: "pwrite", who: Who::Pwrite, syncs: Syncs::Never },
    Way { peer: "pwrite, sync each 10 ms", who: Who::Pwrite, syncs: TENTH },
    Way { peer: "pwrite, syncs always", who: Who::Pwrite, syncs: Syncs::BackToBack },
];

/// The table, and what its curves are drawn from.
pub fn latency(effort: &Effort) -> (Table, Curves) {
    let question = "How long does an append of 100 B take, from when it was due?";
    let remarks = "Open loop. Quantiles are taken in each round; the table has their median over the rounds, the curves \
        are of all rounds together. The log's segments are prepared before.";
    let mut table = Table::new("latency", question, remarks);
    table.rounds_max = 5;
    let curves = Curves::default();
    for (workload, rate) in
        effort.of(vec![("10 k/s", 10_000), ("100 k/s", 100_000)], vec![("100 k/s", 100_000)])
    {
        for way in WAYS {
            let (curves, title) = (curves.clone(), workload.to_owned());
            table.add_in_both(workload, way.peer, "", move |effort, regime| {
                let latencies = way.measure(effort, rate);
                let key = (title.clone(), regime, way.peer);
                let mut curves = curves.borrow_mut();
                let sum = curves.entry(key).or_insert_with(histogram);
                sum.add(&latencies).expect("histograms of one shape");
                quantiles(&latencies)
            });
        }
    }
    (table, curves)
}

impl Way {
    fn measure(self, effort: &Effort, rate: u64) -> Histogram<u64> {
        let span = effort.of(SPAN, SPAN_QUICK);
        let bytes = (rate as f64 * span.as_secs_f64()) as u64 * frame_bytes(BODY.len());
        let mut latencies = histogram();
        let mut timed = |append: &mut dyn FnMut()| {
            open_loop(rate, span, append, |latency| latencies.saturating_record(latency));
        };
        match self.who {
            Who::Nobody => timed(&mut || ()),
            Who::Ours { populated } => {
                let ours = Ours::at_rest(effort, bytes);
                if populated {
                    ours.populate(bytes);
                }
                let sync = || {
                    ours.log.sync().expect("a sound disk");
                };
                self.syncs.beside(sync, || {
                    timed(&mut || {
                        append(&ours.log, &BODY);
                    })
                });
            }
            Who::Pwrite => {
                let mut file = Pwrite::new(effort.folder(), bytes as usize);
                let other = file.file();
                let sync = || other.sync_data().expect("a sound disk");
                self.syncs.beside(sync, || timed(&mut || file.write(&BODY)));
            }
        }
        latencies
    }
}

/// The table of latencies beside the preparation of the next segment.
pub fn prepare(_effort: &Effort) -> Table {
    let question =
        "How long does an append of 1 KiB take while the next segment is being prepared?";
    let remarks = "50 k/s, open loop, segments of 64 MiB. A thread looks every 0.5 ms whether more is prepared than \
        before; an append counts as beside the preparation if it was within the last 5 ms.";
    let mut table = Table::new("prepare", question, remarks);
    table.add_in_both("1 KiB, 50 k/s", "millstream Os", "", move |effort, _| preparing(effort));
    table
}

fn preparing(effort: &Effort) -> Vec<Sample> {
    const RATE: u64 = 50_000;
    const LOOK: Duration = Duration::from_micros(500);
    const LOOKS_MAX: u32 = 10;
    let span = effort.of(SPAN, 10 * SPAN_QUICK);
    let ours = Ours::new(effort, effort.of(64 << 20, 4 << 20), 16 << 30);
    ours.rest(effort.of(32 << 20, 2 << 20));
    let (moving, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut beside, mut apart) = (histogram(), histogram());
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut before, mut looks) = (ours.log.stats().prepared, LOOKS_MAX);
            while !ended.load(Ordering::Relaxed) {
                // [relaxed] both are hints: an append more or less
                thread::sleep(LOOK);
                let now = ours.log.stats().prepared;
                looks = if now == before { looks.saturating_add(1) } else { 0 };
                before = now;
                moving.store(looks < LOOKS_MAX, Ordering::Relaxed); // [relaxed] a hint
            }
        });
        let body = [7; 1024];
        let record = |latency| match moving.load(Ordering::Relaxed) {
            // [relaxed] a hint
            true => beside.saturating_record(latency),
            false => apart.saturating_record(latency),
        };
        let operation = || {
            append(&ours.log, &body);
        };
        open_loop(RATE, span, operation, record);
        ended.store(true, Ordering::Relaxed); // [relaxed] only the end is asked for
    });
    let share = beside.len() as f64 / (beside.len() + apart.len()) as f64 * 100.0;
    let at = |point: &'static str, histogram: &Histogram<u64>| {
        quantiles(histogram).into_iter().map(move |sample| sample.at(point)).collect::<Vec<_>>()
    };
    let mut samples = Vec::new();
    // Where no append fell into one of the two, it has no figure.
    for (point, histogram) in [("beside the preparation", &beside), ("apart", &apart)] {
        let of = at(point, histogram);
        let none = histogram.is_empty();
        samples.extend(of.into_iter().map(|sample| match none {
            true => Sample { value: f64::NAN, ..sample },
            false => sample,
        }));
    }
    samples.push(Sample::low("share beside", "%", share).at("beside the preparation"));
    samples
}
