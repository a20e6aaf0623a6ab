//! What one subscription's traffic looks like over the last seconds: the parameters of a queueing model, estimated.
//!
//! Each worker adds to sums of its own, under the lock that it holds for its distributions anyway. Time is cut into
//! *parts*, a part into 16 *cells*; 16 parts are a window. A part that leaves the short window becomes one cell of the
//! long one, so a message costs a handful of additions, and nothing is ever allocated but on a worker's first message of
//! a subscription.
//!
//! ```text
//!   short, 8.6 s:   [0.54 s][0.54 s] ... 16 parts                     each: sums, 16 counts of arrivals
//!                       └── left behind: one cell of ──┐
//!   long, 137 s:    [8.6 s][8.6 s] ... 16 parts  <─────┘
//! ```
//!
//! # What is counted
//!
//! | estimate | from | kept out, or wrong |
//! | --- | --- | --- |
//! | lambda | first attempts that ended, over the window less the growth of the wait in it | a queue that grows would show its servers' rate otherwise |
//! | 1/mu, cs2 | first attempts, start to end of the handler | retries; a handler that runs on counts when it ends |
//! | wait | first attempts, arrival to start | retries wait for their delay; what arrived before counting began waited for no server |
//! | ca2, rates of [`GAPS_PER_CELL_MIN`] a cell and more | gaps between arrivals in the order of the pulls, by one atomic swap | two workers that pull at the same moment may swap in the wrong order: then one gap is 0 and the next too long, so ca2 is high, at rates near one a pull. Pauses of a cell (34 ms) and more count as pauses, not as gaps |
//! | ca2 below that, and `dispersion` | Var(N) / E(N) of the arrivals per cell, from successive differences | free of order; of a renewal process its limit is ca2, reached from above as 1 / (4 E(N)) for regular arrivals; a change of the rate counts once, not as variance for ever. Relative error sqrt(3 / cells): 11 % at best |
//! | set-up | the wait of messages that came while the worker that took them was idle | with a bound on workers below the pool's: a worker may be idle and not allowed |
//! | hand-off | end of a message to the start of the next, if that had come by then | the same |
//! | busy | all attempts' time in handlers | |
//!
//! # Orderings
//!
//! The swap of the last arrival is \[relaxed\]: it is a number by itself.
//!
//! # Limits
//!
//! Durations saturate nowhere below 2^64 ns, sums nowhere below 2^128. A clock that runs backwards makes durations of 0
//! and falls into an older part, or is left out. [`FLOW_SHARDS_MAX`] pairs of a worker and a subscription are
//! kept, about 8 KB each; subscriptions beyond have no estimates.
//!
//! Source: index of dispersion: D. R. Cox and P. A. W. Lewis, "The Statistical Analysis of Series of Events" (1966); as the
//! variability that a queue feels: W. Whitt, "Approximating a point process by a renewal process", Operations Research 30
//! (1982). Successive differences: J. von Neumann, Annals of Mathematical Statistics 12 (1941).

use super::Times;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crossbeam_utils::CachePadded;

/// How many parts a window has.
pub const PARTS: usize = 16;
/// How many cells a window has.
pub const CELLS: usize = PARTS * PARTS;
/// How many pairs of a worker and a subscription are kept in a recorder.
pub const FLOW_SHARDS_MAX: usize = 16_384;
/// How many arrivals a cell must have, on average, for ca2 to be taken from the gaps.
pub const GAPS_PER_CELL_MIN: f64 = 30.0;
/// The dispersion is taken from groups of cells that have as many arrivals as this on average, if there are such.
const COUNT_WANTED: f64 = 8.0;
/// And from groups with fewer than this not at all.
const COUNT_MIN: f64 = 4.0;
/// Fewer groups than this say nothing.
const GROUPS_MIN: usize = 24;
/// The parts with messages that a standard error takes.
const ERROR_PARTS_MIN: usize = 8;

const STEP_BITS: u32 = 4;
/// A part of the short and of the long window is 2^this nanoseconds.
const PART_BITS: [u32; 2] = [29, 33];
const _: () = assert!(1 << STEP_BITS == PARTS);
const _: () = assert!(PART_BITS[0] + STEP_BITS == PART_BITS[1]);
/// The longest gap that is one: a cell of the short window.
const GAP_NS_MAX: u64 = 1 << (PART_BITS[0] - STEP_BITS);

/// How far back to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// The last 8 to 8.6 seconds.
    Short,
    /// The last 129 to 137 seconds.
    Long,
}

impl Span {
    fn part_bits(self) -> u32 {
        PART_BITS[self as usize]
    }

    /// The length of one of its 256 cells in seconds.
    pub fn cell_s(self) -> f64 {
        (1_u64 << (self.part_bits() - STEP_BITS)) as f64 * 1e-9
    }
}

/// A subscription's traffic over a window that ends now. Times in seconds.
///
/// *Messages* are first attempts whose message came after counting began: a retry waits because it was told to, and
/// what lay in a log over night waited for no server. Both count in `busy_mean` alone.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Estimates {
    /// First attempts that ended in the window.
    pub messages: u64,
    /// Attempts that ended in the window and are no `messages`: retries, and what was published before counting began.
    pub others: u64,
    /// How long the window is.
    pub window_s: f64,
    /// Arrivals per second: lambda.
    pub arrival_per_s: f64,
    /// Mean time in the handler: 1 / mu.
    pub service_mean_s: f64,
    /// Squared coefficient of variation of the gaps between arrivals; `None` where the window cannot tell.
    pub ca2: Option<f64>,
    /// Relative standard error of `ca2`, for arrivals like Poisson's; 0 without it.
    pub ca2_error: f64,
    /// Index of dispersion of the arrivals per cell; `None` where there are too few.
    pub dispersion: Option<f64>,
    /// The length of the cells that `dispersion` was taken from.
    pub dispersion_cell_s: f64,
    /// The same of the arrivals per part, about their mean: large where the rate changes over seconds; `None` for fewer
    /// than eight parts.
    pub dispersion_slow: Option<f64>,
    /// Squared coefficient of variation of the service times.
    pub cs2: f64,
    /// The mean service time in the newer half of the window over that in the older; 1 if either has none.
    pub service_change: f64,
    /// The standard error of `service_change`, by the moments of the two halves.
    pub service_change_error: f64,
    /// Mean time from arrival to the start of the handler.
    pub waiting_mean_s: f64,
    /// Variance of that time, in square seconds.
    pub waiting_variance_s2: f64,
    /// Standard error of `waiting_mean_s` by the parts of the window, each a batch, widened for what neighbours have in
    /// common; `None` for fewer than eight parts with messages.
    pub waiting_error_s: Option<f64>,
    /// How many workers were inside a handler of this subscription, on average; retries included.
    pub busy_mean: f64,
    /// Messages that came while the worker that took them was idle: their whole wait is set-up.
    pub setups: u64,
    /// Mean set-up: from the arrival to the start, for the worker to wake up.
    pub setup_mean_s: f64,
    /// Mean square of that, in square seconds.
    pub setup_square_mean_s2: f64,
    /// Mean time that a worker takes from the end of one message to the start of the next one that waits.
    pub handoff_mean_s: f64,
}

impl Estimates {
    /// Load per server, if there are `servers`: rho. Retries included; the hand-off is the server's time too.
    pub fn load(&self, servers: usize) -> f64 {
        let turns_per_s = match self.window_s > 0.0 {
            true => (self.messages + self.others) as f64 / self.window_s,
            false => 0.0,
        };
        // A queue that grows serves less than what comes.
        let served_per_s = self.messages as f64 / self.window_s.max(f64::MIN_POSITIVE);
        let growth = if served_per_s > 0.0 { self.arrival_per_s / served_per_s } else { 1.0 };
        (self.busy_mean + turns_per_s * self.handoff_mean_s) * growth / servers.max(1) as f64
    }
}

/// A sum and a sum of squares, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    #[inline]
    fn add(&mut self, ns: u64) {
        let wide = u128::from(ns);
        self.count += 1;
        self.sum = self.sum.saturating_add(wide);
        self.squares = self.squares.saturating_add(wide * wide);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    fn mean_s(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64 * 1e-9
    }

    fn square_mean_s2(&self) -> f64 {
        self.squares as f64 / self.count.max(1) as f64 * 1e-18
    }

    /// With n - 1 in the denominator; 0 for fewer than two.
    fn variance_s2(&self) -> f64 {
        let count = self.count as f64;
        if self.count < 2 {
            return 0.0;
        }
        let mean = self.mean_s();
        ((self.square_mean_s2() - mean * mean) * count / (count - 1.0)).max(0.0)
    }

    /// Variance over the square of the mean; 0 without a mean.
    fn scv(&self) -> f64 {
        let mean = self.mean_s();
        if mean > 0.0 { self.variance_s2() / (mean * mean) } else { 0.0 }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    others: u64,
    longest_ns: u64,
    busy_ns: u128,
    waiting: Moments,
    service: Moments,
    setup: Moments,
    handoff: Moments,
    gap: Moments,
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.others += other.others;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        self.waiting.merge(&other.waiting);
        self.service.merge(&other.service);
        self.setup.merge(&other.setup);
        self.handoff.merge(&other.handoff);
        self.gap.merge(&other.gap);
    }
}

/// A part of a window: which one it is, counted from the recorder's beginning, and what happened in it.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    number: u64,
    sums: Sums,
    arrivals: [u32; PARTS],
}

impl Part {
    fn arrived(&self) -> u32 {
        self.arrivals.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// What a worker adds for one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) times: Times,
    /// Is it the message's first, and did the message come after counting began?
    pub(super) counts: bool,
    pub(super) gap_ns: Option<u64>,
    /// When the worker laid down the last one, if it is one that does nothing else.
    pub(super) last_end_ns: Option<u64>,
}

/// What one worker did for one subscription.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    /// The number of the flow; another's traces are nothing to it.
    owner: u64,
    levels: [[Part; PARTS]; 2],
}

impl Trace {
    pub(super) fn new(owner: u64) -> Self {
        Self { owner, levels: [[Part::default(); PARTS]; 2] }
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Adds an attempt; `origin_ns` is the recorder's beginning.
    #[inline]
    pub(super) fn add(&mut self, origin_ns: u64, attempt: &Attempt) {
        let Times { arrival_ns, start_ns, end_ns } = attempt.times;
        let now = end_ns.saturating_sub(origin_ns) >> PART_BITS[0];
        let service_ns = end_ns.saturating_sub(start_ns);
        let Some(part) = self.part(now) else { return };
        let sums = &mut part.sums;
        sums.busy_ns = sums.busy_ns.saturating_add(u128::from(service_ns));
        if !attempt.counts {
            sums.others += 1;
            return;
        }
        let waiting_ns = start_ns.saturating_sub(arrival_ns);
        sums.longest_ns = sums.longest_ns.max(end_ns.saturating_sub(arrival_ns));
        sums.waiting.add(waiting_ns);
        sums.service.add(service_ns);
        match attempt.last_end_ns {
            Some(last_end_ns) if last_end_ns <= arrival_ns => sums.setup.add(waiting_ns),
            Some(last_end_ns) => sums.handoff.add(start_ns.saturating_sub(last_end_ns)),
            None => {}
        }
        if let Some(gap_ns) = attempt.gap_ns.filter(|gap_ns| *gap_ns < GAP_NS_MAX) {
            sums.gap.add(gap_ns);
        }
        let cell = arrival_ns.saturating_sub(origin_ns) >> (PART_BITS[0] - STEP_BITS);
        let (number, at) = (cell >> STEP_BITS, cell as usize % PARTS);
        if number == now {
            part.arrivals[at] = part.arrivals[at].saturating_add(1);
        } else {
            self.count_earlier(number, at);
        }
    }

    /// The short window's part with that number, begun if it is new; `None` if time ran backwards beyond it.
    #[inline]
    fn part(&mut self, number: u64) -> Option<&mut Part> {
        let at = number as usize % PARTS;
        let held = self.levels[0][at].number;
        if held != number {
            let ahead = held.saturating_sub(number);
            if 0 < ahead && ahead < CELLS as u64 {
                return None;
            }
            self.turn(at, number);
        }
        Some(&mut self.levels[0][at])
    }

    /// The place `at` of the short window gets a new part; the old one becomes a cell of the long window.
    #[cold]
    fn turn(&mut self, at: usize, number: u64) {
        let fresh = Part { number, ..Part::default() };
        let left = std::mem::replace(&mut self.levels[0][at], fresh);
        // One from beyond the new one is of a clock that was set back.
        if left.number < number
            && let Some(part) = self.long_part(left.number >> STEP_BITS)
        {
            let cell = &mut part.arrivals[left.number as usize % PARTS];
            *cell = cell.saturating_add(left.arrived());
            part.sums.merge(&left.sums);
        }
    }

    /// The long window's part with that number; `None` if it has been left behind.
    fn long_part(&mut self, number: u64) -> Option<&mut Part> {
        let part = &mut self.levels[1][number as usize % PARTS];
        if part.number < number {
            *part = Part { number, ..Part::default() };
        }
        (part.number == number).then_some(part)
    }

    /// Counts an arrival in a part that is not the newest.
    fn count_earlier(&mut self, number: u64, cell: usize) {
        let part = &mut self.levels[0][number as usize % PARTS];
        if part.number < number {
            self.turn(number as usize % PARTS, number);
        }
        let part = &mut self.levels[0][number as usize % PARTS];
        let count = if part.number == number {
            &mut part.arrivals[cell]
        } else {
            let Some(part) = self.long_part(number >> STEP_BITS) else { return };
            &mut part.arrivals[number as usize % PARTS]
        };
        *count = count.saturating_add(1);
    }
}

/// The sum of all workers' traces of a flow, or of several flows, over one window.
#[derive(Debug, Clone)]
pub struct Window {
    span: Span,
    /// Of the oldest part.
    first: u64,
    begin_ns: u64,
    now_ns: u64,
    parts: [Sums; PARTS],
    arrivals: [u64; CELLS],
}

impl Window {
    /// An empty one that ends `now_ns` after the recorder's beginning; counting began at `opened_ns`.
    pub(super) fn new(span: Span, opened_ns: u64, now_ns: u64) -> Self {
        let bits = span.part_bits();
        let first = (now_ns >> bits).saturating_sub(PARTS as u64 - 1);
        let begin_ns = (first << bits).max(opened_ns).min(now_ns);
        let (parts, arrivals) = ([Sums::default(); PARTS], [0; CELLS]);
        Self { span, first, begin_ns, now_ns, parts, arrivals }
    }

    pub(super) fn take_in(&mut self, trace: &Trace) {
        let at = |number: u64| {
            let at = number.checked_sub(self.first).map(|at| at as usize);
            at.filter(|at| *at < PARTS)
        };
        let [short, long] = &trace.levels;
        for part in short {
            match self.span {
                Span::Short => {
                    if let Some(at) = at(part.number) {
                        self.parts[at].merge(&part.sums);
                        let cells = self.arrivals[at * PARTS..].iter_mut().zip(&part.arrivals);
                        cells.for_each(|(sum, count)| *sum += u64::from(*count));
                    }
                }
                Span::Long => {
                    if let Some(at) = at(part.number >> STEP_BITS) {
                        self.parts[at].merge(&part.sums);
                        let cell = at * PARTS + part.number as usize % PARTS;
                        self.arrivals[cell] += u64::from(part.arrived());
                    }
                }
            }
        }
        for part in long.iter().filter(|_| self.span == Span::Long) {
            if let Some(at) = at(part.number) {
                self.parts[at].merge(&part.sums);
                let cells = self.arrivals[at * PARTS..].iter_mut().zip(&part.arrivals);
                cells.for_each(|(sum, count)| *sum += u64::from(*count));
            }
        }
    }

    /// Adds another flow's window of the same span and time; one of another is left out.
    pub fn join(&mut self, other: &Self) {
        if (self.span, self.first) != (other.span, other.first) {
            return;
        }
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        for (sums, part) in self.parts.iter_mut().zip(&other.parts) {
            sums.merge(part);
        }
        for (sum, count) in self.arrivals.iter_mut().zip(&other.arrivals) {
            *sum += count;
        }
    }

    /// How far it looks back.
    pub fn span(&self) -> Span {
        self.span
    }

    /// How many messages it has.
    pub fn messages(&self) -> u64 {
        self.parts.iter().map(|part| part.waiting.count).sum()
    }

    /// The parameters of a model.
    pub fn estimates(&self) -> Estimates {
        let sum = |parts: &[Sums]| {
            let mut all = Sums::default();
            parts.iter().for_each(|part| all.merge(part));
            all
        };
        let all = sum(&self.parts);
        let window_s = (self.now_ns - self.begin_ns) as f64 * 1e-9;
        let per_s = |count: f64| if window_s > 0.0 { count / window_s } else { 0.0 };
        let served_per_s = per_s(all.waiting.count as f64);
        let (dispersion, groups, dispersion_cell_s) = self.dispersion();
        let (ca2, ca2_error) = self.ca2(&all.gap, dispersion, groups);
        let (older, newer) =
            (sum(&self.parts[..PARTS / 2]).service, sum(&self.parts[PARTS / 2..]).service);
        let (service_change, service_change_error) = change(&older, &newer);
        Estimates {
            messages: all.waiting.count,
            others: all.others,
            window_s,
            arrival_per_s: served_per_s / (1.0 - self.growth()),
            service_mean_s: all.service.mean_s(),
            ca2,
            ca2_error,
            dispersion,
            dispersion_cell_s,
            dispersion_slow: self.dispersion_slow(),
            cs2: all.service.scv(),
            service_change,
            service_change_error,
            waiting_mean_s: all.waiting.mean_s(),
            waiting_variance_s2: all.waiting.variance_s2(),
            waiting_error_s: self.waiting_error_s(&all.waiting),
            busy_mean: per_s(all.busy_ns as f64 * 1e-9),
            setups: all.setup.count,
            setup_mean_s: all.setup.mean_s(),
            setup_square_mean_s2: all.setup.square_mean_s2(),
            handoff_mean_s: all.handoff.mean_s(),
        }
    }

    /// How much longer the messages of the newest part waited than those of the oldest, per second between the two. While
    /// the clock runs for a second, the arrival times of what is served advance by one less this.
    fn growth(&self) -> f64 {
        const GROWTH_MAX: f64 = 0.9;
        let used = |part: &&Sums| 0 < part.waiting.count;
        let oldest = self.parts.iter().enumerate().find(|(_, part)| used(part));
        let newest = self.parts.iter().enumerate().rfind(|(_, part)| used(part));
        let (Some((from, oldest)), Some((to, newest))) = (oldest, newest) else { return 0.0 };
        if from == to {
            return 0.0;
        }
        let between_s = ((to - from) as f64) * (1_u64 << self.span.part_bits()) as f64 * 1e-9;
        let growth = (newest.waiting.mean_s() - oldest.waiting.mean_s()) / between_s;
        growth.clamp(-1.0 / (1.0 - GROWTH_MAX), GROWTH_MAX)
    }

    /// The cells that are whole: begun after counting began, and over for so long that what arrived then has ended.
    fn whole_cells(&self) -> &[u64] {
        let cell_bits = self.span.part_bits() - STEP_BITS;
        let base = self.first << STEP_BITS;
        let cell = |ns: u64| (ns >> cell_bits).saturating_sub(base).min(CELLS as u64) as usize;
        let newest = ((self.now_ns >> self.span.part_bits()) - self.first) as usize;
        let lag_ns =
            self.parts[newest.saturating_sub(1)..=newest].iter().map(|part| part.longest_ns);
        let until = cell(self.now_ns.saturating_sub(lag_ns.max().unwrap_or(0)));
        let from = cell(self.begin_ns + (1 << cell_bits) - 1);
        self.arrivals.get(from..until).unwrap_or(&[])
    }

    /// Index of dispersion, the number of groups of cells that it is from, and their length in seconds.
    fn dispersion(&self) -> (Option<f64>, usize, f64) {
        let cells = self.whole_cells();
        let mean = cells.iter().sum::<u64>() as f64 / cells.len().max(1) as f64;
        let mut size = 1;
        while mean * (size as f64) < COUNT_WANTED && GROUPS_MIN * 2 * size <= cells.len() {
            size *= 2;
        }
        let cell_s = self.span.cell_s() * size as f64;
        let groups = cells.len() / size;
        if mean * (size as f64) < COUNT_MIN || groups < GROUPS_MIN {
            return (None, groups, cell_s);
        }
        let counts = cells.chunks_exact(size).map(|group| group.iter().sum::<u64>() as f64);
        let (mut sum, mut squares, mut last) = (0.0, 0.0, None);
        for count in counts {
            let step = count - last.unwrap_or(count);
            (sum, squares, last) = (sum + count, squares + step * step, Some(count));
        }
        let variance = squares / (2.0 * (groups - 1) as f64);
        (Some(variance * groups as f64 / sum), groups, cell_s)
    }

    /// ca2 and its relative standard error: by the gaps where they are many in a cell, else by the counts.
    fn ca2(&self, gap: &Moments, dispersion: Option<f64>, groups: usize) -> (Option<f64>, f64) {
        let gap_mean_s = gap.mean_s();
        let dense = 0.0 < gap_mean_s && gap_mean_s * GAPS_PER_CELL_MIN * 1e9 <= GAP_NS_MAX as f64;
        if dense && 1_000 <= gap.count {
            // Of exponential gaps: the variance of the estimate is 4 / n.
            return (Some(gap.scv()), 2.0 / (gap.count as f64).sqrt());
        }
        (dispersion, dispersion.map_or(0.0, |_| (3.0 / groups as f64).sqrt()))
    }

    /// The dispersion of the arrivals per part, about their mean.
    fn dispersion_slow(&self) -> Option<f64> {
        let cells = self.whole_cells();
        let counts: [f64; PARTS] = std::array::from_fn(|at| {
            cells
                .get(at * PARTS..(at + 1) * PARTS)
                .map_or(0.0, |cells| cells.iter().sum::<u64>() as f64)
        });
        let counts = &counts[..cells.len() / PARTS];
        if counts.len() < ERROR_PARTS_MIN {
            return None;
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let squares: f64 = counts.iter().map(|count| (count - mean) * (count - mean)).sum();
        (mean > 0.0).then(|| squares / (counts.len() - 1) as f64 / mean)
    }

    /// Batch means by the parts: a ratio, since parts have different numbers of messages. What neighbours have in common
    /// widens it.
    fn waiting_error_s(&self, all: &Moments) -> Option<f64> {
        let used = self.parts.iter().filter(|part| 0 < part.waiting.count);
        let mean = all.mean_s();
        let mut residuals = [0.0; PARTS];
        let mut count = 0;
        for part in used {
            let waiting = &part.waiting;
            residuals[count] = waiting.sum as f64 * 1e-9 - mean * waiting.count as f64;
            count += 1;
        }
        if count < ERROR_PARTS_MIN {
            return None;
        }
        let residuals = &residuals[..count];
        let squares: f64 = residuals.iter().map(|each| each * each).sum();
        let lagged: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let common = if squares > 0.0 { (lagged / squares).clamp(0.0, 0.8) } else { 0.0 };
        let batches = count as f64;
        let variance = squares * batches / (batches - 1.0) * (1.0 + common) / (1.0 - common);
        Some(variance.sqrt() / all.count as f64)
    }
}

/// The ratio of two means and its standard error; 1 and 0 if one of them has no messages.
fn change(older: &Moments, newer: &Moments) -> (f64, f64) {
    let (before, after) = (older.mean_s(), newer.mean_s());
    if before <= 0.0 || after <= 0.0 {
        return (1.0, 0.0);
    }
    let relative = |part: &Moments| part.scv() / part.count as f64;
    let ratio = after / before;
    (ratio, ratio * (relative(older) + relative(newer)).sqrt())
}

/// The places for flows in a recorder's shards.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    given_back: Vec<usize>,
    next: usize,
    max: usize,
    flows: u64,
}

impl Slots {
    pub(super) fn new(shards: usize) -> Arc<Self> {
        let max = FLOW_SHARDS_MAX / shards;
        let free = Free { given_back: Vec::new(), next: 0, max, flows: 0 };
        Arc::new(Self { state: Mutex::new(free) })
    }

    pub(super) fn open(self: &Arc<Self>, opened_ns: u64) -> Flow {
        let mut free = self.state.lock();
        free.flows += 1;
        let slot = match free.given_back.pop() {
            None if free.next < free.max => {
                free.next += 1;
                Some(free.next - 1)
            }
            reused => reused,
        };
        Flow {
            number: free.flows,
            slot,
            opened_ns,
            last_arrival_ns: CachePadded::new(AtomicU64::new(0)),
            slots: Arc::clone(self),
        }
    }
}

/// A subscription, to a recorder: under this its traffic is counted. Dropped, its place is another's.
#[derive(Debug)]
pub struct Flow {
    /// Never given twice.
    pub(super) number: u64,
    pub(super) slot: Option<usize>,
    opened_ns: u64,
    last_arrival_ns: CachePadded<AtomicU64>,
    slots: Arc<Slots>,
}

impl Flow {
    /// Is a message that came at `arrival_ns` and is handed out for the `attempt`-th time one that counts?
    #[inline]
    pub fn counts(&self, arrival_ns: u64, attempt: u32) -> bool {
        attempt <= 1 && self.opened_ns <= arrival_ns
    }

    /// The next message, by the order of the pulls, came at `arrival_ns`: how long after the one before?
    #[inline]
    pub fn gap_ns(&self, arrival_ns: u64) -> Option<u64> {
        self.slot?;
        let last_ns = self.last_arrival_ns.swap(arrival_ns, Ordering::Relaxed); // [relaxed]
        (0 < last_ns).then(|| arrival_ns.saturating_sub(last_ns))
    }

    /// When counting began, in nanoseconds of the recorder's clock.
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.slots.state.lock().given_back.push(slot);
        }
    }
}
