//! What the engine did and how long it took: counters, and one distribution for each of waiting, service and sojourn.
//!
//! A [`Recorder`] is a row of shards. A worker writes to its own shard only, so its lock is never contended while
//! messages flow and its counters share no cache line with another shard's. A [`Snapshot`] is the sum of all
//! shards at one moment; everything after that ([`Snapshot::rates`], [`Snapshot::since`]) is arithmetic on values.
//!
//! ```text
//!  publisher --count--> shard 0 [counters | lock: waiting, service, sojourn, traffic ]
//!  worker 1  --record-> shard 1 [counters | lock: waiting, service, sojourn, traffic ]   --snapshot--> sum
//!  worker 2  --record-> shard 2 [counters | lock: waiting, service, sojourn, traffic ]
//!
//!  arrival ------ waiting ------ start ------ service ------ end
//!  |------------------------- sojourn ------------------------|
//! ```
//!
//! The traffic of each subscription, over the last seconds, is in the same shards: see `estimate`.
//!
//! # Orderings
//!
//! The counters are \[relaxed\]: each is a sum of its own and no data is read on its word. A snapshot taken while
//! messages flow may therefore see a message delivered and not yet published; when all is quiet it is exact.
//!
//! # Limits
//!
//! Count, mean, variance and maximum are exact. Quantiles are read from buckets of two significant digits between
//! 1 ns and [`DURATION_NS_MAX`], so they are high by at most one part in 100; a longer duration counts as that
//! one in the quantiles only. The buckets are allocated when the recorder is made, about 110 KB a shard, and
//! never grow.
//!
//! Source: the buckets are Gil Tene's HdrHistogram.

mod estimate;
mod flow;
mod trace;

pub use estimate::{Estimates, GAPS_PER_CELL_MIN, Window};
pub use flow::{FLOW_SHARDS_MAX, Flow};
pub use trace::{CELLS, PARTS, Span};

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crossbeam_utils::CachePadded;
use flow::Slots;
use hdrhistogram::Histogram;
use std::array::from_fn;
use std::fmt;
use trace::{Attempt, Trace};

/// The longest duration the quantiles tell apart: one hour, in nanoseconds.
pub const DURATION_NS_MAX: u64 = 3_600_000_000_000;
/// Significant decimal digits of a quantile.
pub const QUANTILE_DIGITS: u8 = 2;
/// The most shards a recorder may have.
pub const SHARDS_MAX: usize = 1024;

const EVENTS: usize = 8;
const STAGES: usize = 3;

// The counters of a shard fill one cache line, so one publish or one settlement touches one line.
const _: () = assert!(EVENTS * size_of::<AtomicU64>() == 64);

/// A thing that happens to a message, and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A publish was accepted.
    Published,
    /// A subscription's handler or subscriber was given a message; a retry counts again.
    Delivered,
    /// A delivery was acknowledged.
    Settled,
    /// An attempt failed: an error, a panic, or a delivery dropped unsettled.
    Failed,
    /// A failed attempt was given another.
    Retried,
    /// A message went to the dead letters.
    DeadLettered,
    /// A publish was refused: full or closed.
    Refused,
    /// A message was given up by design: evicted by a newer one, or expired.
    Dropped,
}

/// A part of a message's stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From arrival to the start of the handler.
    Waiting,
    /// From the start of the handler to its end.
    Service,
    /// From arrival to the end of the handler.
    Sojourn,
}

/// The three moments of one delivery, in nanoseconds of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the message was published.
    pub arrival_ns: u64,
    /// When its handler was called.
    pub start_ns: u64,
    /// When its handler returned.
    pub end_ns: u64,
}

/// How often each [`Event`] happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// [`Event::Published`].
    pub published: u64,
    /// [`Event::Delivered`].
    pub delivered: u64,
    /// [`Event::Settled`].
    pub settled: u64,
    /// [`Event::Failed`].
    pub failed: u64,
    /// [`Event::Retried`].
    pub retried: u64,
    /// [`Event::DeadLettered`].
    pub dead_lettered: u64,
    /// [`Event::Refused`].
    pub refused: u64,
    /// [`Event::Dropped`].
    pub dropped: u64,
}

/// Where the engine writes what it did. Shared by reference between its threads.
#[derive(Debug)]
pub struct Recorder {
    opened_ns: u64,
    shards: Box<[CachePadded<Shard>]>,
    slots: Arc<Slots>,
}

#[derive(Debug)]
struct Shard {
    events: CachePadded<[AtomicU64; EVENTS]>,
    books: Mutex<Books>,
}

/// What a shard's lock guards.
#[derive(Debug)]
struct Books {
    stages: [Distribution; STAGES],
    /// When its thread laid down the last message.
    last_end_ns: Option<u64>,
    /// By the slot of the flow.
    traces: Vec<Option<Box<Trace>>>,
}

impl Books {
    fn new() -> Self {
        let stages = from_fn(|_| Distribution::new());
        Self { stages, last_end_ns: None, traces: Vec::new() }
    }

    #[inline]
    fn add(&mut self, times: Times) {
        let [waiting, service, sojourn] = &mut self.stages;
        waiting.add(times.start_ns.saturating_sub(times.arrival_ns));
        service.add(times.end_ns.saturating_sub(times.start_ns));
        sojourn.add(times.end_ns.saturating_sub(times.arrival_ns));
    }

    /// The trace of the flow with that number, made if it is new; `None` if its slot is a later one's by now.
    #[inline]
    fn trace(&mut self, slot: usize, number: u64) -> Option<&mut Trace> {
        let owner = self.traces.get(slot).and_then(Option::as_ref).map_or(0, |held| held.owner());
        if owner < number {
            self.begin(slot, number);
        }
        if number < owner { None } else { self.traces[slot].as_deref_mut() }
    }

    #[cold]
    fn begin(&mut self, slot: usize, number: u64) {
        if self.traces.len() <= slot {
            self.traces.resize_with(slot + 1, || None);
        }
        match &mut self.traces[slot] {
            Some(held) => **held = Trace::new(number),
            empty => *empty = Some(Box::new(Trace::new(number))),
        }
    }
}

impl Recorder {
    /// A recorder with one shard for each thread that writes, counting from `opened_ns`.
    ///
    /// # Panics
    ///
    /// If `shards` is 0 or more than [`SHARDS_MAX`].
    pub fn new(shards: usize, opened_ns: u64) -> Self {
        assert!(0 < shards, "a recorder needs a shard");
        assert!(shards <= SHARDS_MAX, "more than {SHARDS_MAX} shards");
        let shard = || {
            CachePadded::new(Shard {
                events: CachePadded::default(),
                books: Mutex::new(Books::new()),
            })
        };
        let slots = Slots::new(shards);
        Self { opened_ns, shards: (0..shards).map(|_| shard()).collect(), slots }
    }

    /// Adds `times` to the count of `event`. A shard past the last wraps around, so any number of a thread will do.
    #[inline]
    pub fn count(&self, shard: usize, event: Event, times: u64) {
        let cell = &self.shard(shard).events[event as usize];
        cell.fetch_add(times, Ordering::Relaxed); // [relaxed]
    }

    /// Records how long one delivery waited, was served and stayed. A shard past the last wraps around.
    ///
    /// Stamps that run backwards count as no time passed.
    #[inline]
    pub fn record(&self, shard: usize, times: Times) {
        self.shard(shard).books.lock().add(times);
    }

    /// The same, and counts the attempt in the traffic of `flow`. `gap_ns` is what [`Flow::gap_ns`] said at the pull of
    /// a message that [counts](Flow::counts). Shard 0 is nobody's alone, so it tells nothing of set-up and hand-off.
    #[inline]
    pub fn record_in(
        &self,
        shard: usize,
        flow: &Flow,
        times: Times,
        attempt: u32,
        gap_ns: Option<u64>,
    ) {
        let mut books = self.shard(shard).books.lock();
        books.add(times);
        let last_end_ns = books.last_end_ns.replace(times.end_ns).filter(|_| 0 < shard);
        let Some(slot) = flow.slot else { return };
        let counts = flow.counts(times.arrival_ns, attempt);
        if let Some(trace) = books.trace(slot, flow.number) {
            trace.add(self.opened_ns, &Attempt { times, counts, gap_ns, last_end_ns });
        }
    }

    /// A flow, for the traffic of one subscription, which counts from `now_ns`.
    pub fn open_flow(&self, now_ns: u64) -> Flow {
        self.slots.open(now_ns)
    }

    /// The traffic of `flow` over the window that ends `now_ns`; `None` for one beyond [`FLOW_SHARDS_MAX`].
    pub fn window(&self, flow: &Flow, span: Span, now_ns: u64) -> Option<Window> {
        let slot = flow.slot?;
        let since = |at_ns: u64| at_ns.saturating_sub(self.opened_ns);
        let mut window = Window::new(span, since(flow.opened_ns()), since(now_ns));
        for shard in &self.shards {
            let books = shard.books.lock();
            let trace = books.traces.get(slot).and_then(Option::as_ref);
            if let Some(trace) = trace.filter(|trace| trace.owner() == flow.number) {
                window.take_in(trace);
            }
        }
        Some(window)
    }

    /// The sum of all shards, stamped `now_ns`. Each shard's lock is held for the time of its own sum only.
    pub fn snapshot(&self, now_ns: u64) -> Snapshot {
        let mut stages = Box::new(from_fn(|_| Distribution::new()));
        for shard in &self.shards {
            let held = shard.books.lock();
            for (sum, part) in stages.iter_mut().zip(held.stages.iter()) {
                sum.merge(part);
            }
        }
        let [waiting, service, sojourn] = stages.each_ref().map(Distribution::summary);
        let (opened_ns, counters) = (self.opened_ns, self.counters());
        Snapshot { at_ns: now_ns, opened_ns, counters, waiting, service, sojourn, stages }
    }

    /// The counters alone: cheap enough to ask often.
    pub fn counters(&self) -> Counters {
        let sum = |event: Event| {
            let one = |shard: &CachePadded<Shard>| {
                shard.events[event as usize].load(Ordering::Relaxed) // [relaxed]
            };
            self.shards.iter().map(one).fold(0, u64::wrapping_add)
        };
        Counters {
            published: sum(Event::Published),
            delivered: sum(Event::Delivered),
            settled: sum(Event::Settled),
            failed: sum(Event::Failed),
            retried: sum(Event::Retried),
            dead_lettered: sum(Event::DeadLettered),
            refused: sum(Event::Refused),
            dropped: sum(Event::Dropped),
        }
    }

    fn shard(&self, number: usize) -> &Shard {
        &self.shards[number % self.shards.len()]
    }
}

/// The engine's record at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken, in nanoseconds.
    pub at_ns: u64,
    /// When counting began, in nanoseconds of the same clock.
    pub opened_ns: u64,
    /// What happened since then.
    pub counters: Counters,
    /// From arrival to the start of the handler.
    pub waiting: Summary,
    /// In the handler.
    pub service: Summary,
    /// From arrival to the end of the handler.
    pub sojourn: Summary,
    stages: Box<[Distribution; STAGES]>,
}

impl Snapshot {
    /// Rates from the opening to this snapshot.
    pub fn rates(&self) -> Rates {
        Rates::of(Counters::default(), self.counters, self.at_ns.saturating_sub(self.opened_ns))
    }

    /// Rates between `earlier` and this snapshot of the same recorder.
    pub fn since(&self, earlier: &Self) -> Rates {
        let span_ns = self.at_ns.saturating_sub(earlier.at_ns);
        Rates::of(earlier.counters, self.counters, span_ns)
    }

    /// The whole distribution behind a [`Summary`].
    pub fn distribution(&self, stage: Stage) -> &Distribution {
        &self.stages[stage as usize]
    }
}

/// What happened per second of an interval. An interval without length has no rate: all are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Publishes accepted per second: lambda of the theory.
    pub messages_per_s: f64,
    /// Attempts that failed per second.
    pub errors_per_s: f64,
    /// Attempts that failed among those that ended, 0 to 1; 0 if none ended.
    pub error_ratio: f64,
    /// Deliveries acknowledged per second.
    pub throughput_per_s: f64,
}

impl Rates {
    /// A counter that is smaller than before (snapshots passed in the wrong order) counts as unchanged.
    fn of(earlier: Counters, later: Counters, span_ns: u64) -> Self {
        let failed = later.failed.saturating_sub(earlier.failed);
        let settled = later.settled.saturating_sub(earlier.settled);
        let published = later.published.saturating_sub(earlier.published);
        let ended = failed.saturating_add(settled);
        let per_s = |count: u64| match span_ns {
            0 => 0.0,
            _ => count as f64 * 1e9 / span_ns as f64,
        };
        Self {
            messages_per_s: per_s(published),
            errors_per_s: per_s(failed),
            error_ratio: failed as f64 / ended.max(1) as f64,
            throughput_per_s: per_s(settled),
        }
    }
}

/// A distribution in six numbers; all 0 if nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// How many durations.
    pub count: u64,
    /// Their mean in nanoseconds, exact.
    pub mean_ns: f64,
    /// Half of them were at most this.
    pub p50_ns: u64,
    /// 99 % of them were at most this.
    pub p99_ns: u64,
    /// 99.9 % of them were at most this.
    pub p999_ns: u64,
    /// The longest, exact.
    pub max_ns: u64,
}

/// Durations in nanoseconds: exact moments, and buckets for quantiles.
#[derive(Clone)]
pub struct Distribution {
    buckets: Histogram<u64>,
    sum_ns: u128,
    sum_ns2: u128,
    max_ns: u64,
}

impl Distribution {
    fn new() -> Self {
        let buckets = Histogram::new_with_bounds(1, DURATION_NS_MAX, QUANTILE_DIGITS)
            .expect("1 ns to an hour at two digits is a valid range");
        Self { buckets, sum_ns: 0, sum_ns2: 0, max_ns: 0 }
    }

    fn add(&mut self, duration_ns: u64) {
        self.buckets.saturating_record(duration_ns);
        let wide = u128::from(duration_ns);
        self.sum_ns = self.sum_ns.saturating_add(wide);
        self.sum_ns2 = self.sum_ns2.saturating_add(wide * wide);
        self.max_ns = self.max_ns.max(duration_ns);
    }

    fn merge(&mut self, part: &Self) {
        self.buckets.add(&part.buckets).expect("all shards have the same bounds");
        self.sum_ns = self.sum_ns.saturating_add(part.sum_ns);
        self.sum_ns2 = self.sum_ns2.saturating_add(part.sum_ns2);
        self.max_ns = self.max_ns.max(part.max_ns);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.len()
    }

    /// Their sum in nanoseconds, exact.
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// Their mean in nanoseconds; 0 if there are none.
    pub fn mean_ns(&self) -> f64 {
        self.sum_ns as f64 / self.count().max(1) as f64
    }

    /// The mean of their squares in square nanoseconds (`m2` of the theory); 0 if there are none.
    pub fn square_mean_ns2(&self) -> f64 {
        self.sum_ns2 as f64 / self.count().max(1) as f64
    }

    /// The longest in nanoseconds, exact.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The least bucket edge that a share `p` of the durations does not exceed, never above the longest; 0 if
    /// there are none. `p` outside 0 to 1 counts as the nearer end, NaN as 0.
    pub fn quantile_ns(&self, p: f64) -> u64 {
        let share = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        // The last bucket is open at its top: only the exact maximum knows how far its durations went.
        if share == 1.0 {
            return self.max_ns;
        }
        self.buckets.value_at_quantile(share).min(self.max_ns)
    }

    /// How many durations were at most `limit_ns`, to the precision of a bucket.
    pub fn count_up_to(&self, limit_ns: u64) -> u64 {
        match limit_ns < DURATION_NS_MAX {
            true => self.buckets.count_between(0, limit_ns),
            false => self.count(),
        }
    }

    /// The distribution in six numbers.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            mean_ns: self.mean_ns(),
            p50_ns: self.quantile_ns(0.5),
            p99_ns: self.quantile_ns(0.99),
            p999_ns: self.quantile_ns(0.999),
            max_ns: self.max_ns,
        }
    }
}

/// Six numbers, not thousands of buckets.
impl fmt::Debug for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Distribution").field(&self.summary()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    const SECOND_NS: u64 = 1_000_000_000;

    fn stay(waiting_ns: u64, service_ns: u64) -> Times {
        let arrival_ns = 17;
        let start_ns = arrival_ns + waiting_ns;
        Times { arrival_ns, start_ns, end_ns: start_ns + service_ns }
    }

    #[test]
    fn every_event_has_a_counter_of_its_own() {
        let recorder = Recorder::new(3, 0);
        let events = [
            Event::Published,
            Event::Delivered,
            Event::Settled,
            Event::Failed,
            Event::Retried,
            Event::DeadLettered,
            Event::Refused,
            Event::Dropped,
        ];
        for (at, event) in events.into_iter().enumerate() {
            recorder.count(at, event, 1 << at);
        }
        let counters = recorder.counters();
        let expected = Counters {
            published: 1,
            delivered: 2,
            settled: 4,
            failed: 8,
            retried: 16,
            dead_lettered: 32,
            refused: 64,
            dropped: 128,
        };
        assert_eq!(counters, expected);
        assert_eq!(recorder.snapshot(0).counters, expected);
    }

    #[test]
    fn nothing_recorded_is_zero_everywhere() {
        let snapshot = Recorder::new(1, 0).snapshot(SECOND_NS);
        assert_eq!(snapshot.sojourn, Summary::default());
        assert_eq!(snapshot.rates(), Rates::default());
        assert_eq!(snapshot.distribution(Stage::Waiting).quantile_ns(0.5), 0);
    }

    #[test]
    fn waiting_and_service_add_up_to_the_sojourn_exactly() {
        let recorder = Recorder::new(4, 0);
        for at in 0..1_000_u64 {
            recorder.record(at as usize, stay(at * 7_919, at * 104_729 + 1));
        }
        let snapshot = recorder.snapshot(0);
        let sum = |stage| snapshot.distribution(stage).sum_ns();
        assert_eq!(sum(Stage::Waiting) + sum(Stage::Service), sum(Stage::Sojourn));
        assert_eq!(snapshot.waiting.max_ns, 999 * 7_919);
        assert_eq!(snapshot.sojourn.count, 1_000);
    }

    #[test]
    fn quantiles_are_high_by_at_most_one_part_in_a_hundred() {
        let recorder = Recorder::new(1, 0);
        (1..=100_000).for_each(|ns| recorder.record(0, stay(ns, 1)));
        let waiting = recorder.snapshot(0).waiting;
        for (read, exact) in
            [(waiting.p50_ns, 50_000), (waiting.p99_ns, 99_000), (waiting.p999_ns, 99_900)]
        {
            assert!((exact..=exact + exact / 100).contains(&read), "{read} for {exact}");
        }
        assert_eq!(waiting.mean_ns, 50_000.5);
    }

    #[test]
    fn the_mean_of_squares_is_that_of_the_theory() {
        let recorder = Recorder::new(2, 0);
        recorder.record(0, stay(3, 0));
        recorder.record(1, stay(5, 0));
        let snapshot = recorder.snapshot(0);
        assert_eq!(snapshot.distribution(Stage::Waiting).square_mean_ns2(), 17.0);
    }

    #[test]
    fn a_duration_past_an_hour_saturates_the_quantile_and_not_the_mean_or_the_maximum() {
        let recorder = Recorder::new(1, 0);
        recorder.record(0, stay(3 * DURATION_NS_MAX, 1));
        let snapshot = recorder.snapshot(0);
        assert_eq!(snapshot.waiting.max_ns, 3 * DURATION_NS_MAX);
        assert_eq!(snapshot.waiting.mean_ns, 3.0 * DURATION_NS_MAX as f64);
        let median = snapshot.waiting.p50_ns;
        assert!((DURATION_NS_MAX..DURATION_NS_MAX / 100 * 101).contains(&median), "{median}");
        let waiting = snapshot.distribution(Stage::Waiting);
        assert_eq!(waiting.quantile_ns(1.0), 3 * DURATION_NS_MAX);
        assert_eq!((waiting.count_up_to(SECOND_NS), waiting.count_up_to(u64::MAX)), (0, 1));
    }

    #[test]
    fn stamps_at_the_ends_of_the_clock_and_backwards_stamps_are_recorded() {
        let recorder = Recorder::new(1, 0);
        recorder.record(0, Times { arrival_ns: 9, start_ns: 8, end_ns: 7 });
        recorder.record(0, Times { arrival_ns: 0, start_ns: u64::MAX, end_ns: u64::MAX });
        let snapshot = recorder.snapshot(0);
        assert_eq!((snapshot.sojourn.count, snapshot.sojourn.max_ns), (2, u64::MAX));
        assert_eq!(snapshot.service.max_ns, 0);
    }

    #[test]
    fn rates_are_counts_over_the_seconds_of_their_interval() {
        let recorder = Recorder::new(2, 5 * SECOND_NS);
        recorder.count(0, Event::Published, 100);
        recorder.count(1, Event::Settled, 30);
        let earlier = recorder.snapshot(7 * SECOND_NS);
        assert_eq!(earlier.rates().messages_per_s, 50.0);
        assert_eq!(earlier.rates().throughput_per_s, 15.0);
        recorder.count(1, Event::Published, 8);
        recorder.count(0, Event::Settled, 6);
        recorder.count(0, Event::Failed, 2);
        let rates = recorder.snapshot(11 * SECOND_NS).since(&earlier);
        let expected = Rates {
            messages_per_s: 2.0,
            errors_per_s: 0.5,
            error_ratio: 0.25,
            throughput_per_s: 1.5,
        };
        assert_eq!(rates, expected);
    }

    #[test]
    fn an_interval_without_length_and_one_turned_round_have_no_rates() {
        let recorder = Recorder::new(1, 0);
        let earlier = recorder.snapshot(3);
        recorder.count(0, Event::Published, 4);
        let later = recorder.snapshot(3);
        assert_eq!(later.since(&earlier), Rates::default());
        assert_eq!(earlier.since(&later), Rates::default());
    }

    #[test]
    fn threads_that_share_a_shard_lose_nothing() {
        const EACH: u64 = 5_000;
        let recorder = Recorder::new(2, 0);
        thread::scope(|scope| {
            for number in 0..4 {
                let recorder = &recorder;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        recorder.count(number, Event::Delivered, 1);
                        recorder.record(number, stay(10, 20));
                    }
                });
            }
        });
        let snapshot = recorder.snapshot(0);
        assert_eq!(snapshot.counters.delivered, 4 * EACH);
        assert_eq!((snapshot.service.count, snapshot.service.mean_ns), (4 * EACH, 20.0));
    }

    #[test]
    #[should_panic(expected = "a recorder needs a shard")]
    fn a_recorder_without_shards_is_refused() {
        Recorder::new(0, 0);
    }
}
