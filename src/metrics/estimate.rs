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
//! # Limits
//!
//! Durations saturate nowhere below 2^64 ns, sums nowhere below 2^128. A clock that runs backwards makes durations of 0
//! and falls into an older part, or is left out. `FLOW_SHARDS_MAX` pairs of a worker and a subscription are kept, about
//! 8 KB each; subscriptions beyond have no estimates.
//!
//! Source: index of dispersion: D. R. Cox and P. A. W. Lewis, "The Statistical Analysis of Series of Events" (1966); as the
//! variability that a queue feels: W. Whitt, "Approximating a point process by a renewal process", Operations Research 30
//! (1982). Successive differences: J. von Neumann, Annals of Mathematical Statistics 12 (1941).

use super::trace::{CELLS, GAP_NS_MAX, Moments, PARTS, STEP_BITS, Span, Sums, Trace};

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
    /// How long the window is, from the first arrival in it until now.
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
        let window_s = (self.now_ns - self.first_ns()) as f64 * 1e-9;
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

    /// When the traffic in it began: what is empty before the first arrival is no part of it.
    fn first_ns(&self) -> u64 {
        let (part_bits, cell_bits) = (self.span.part_bits(), self.span.part_bits() - STEP_BITS);
        let cell = self.arrivals.iter().position(|count| 0 < *count);
        let part = self.parts.iter().position(|part| 0 < part.waiting.count);
        let (Some(cell), Some(part)) = (cell, part) else { return self.begin_ns };
        let at_ns = match part < cell / PARTS {
            true => (self.first + part as u64) << part_bits,
            false => ((self.first << STEP_BITS) + cell as u64) << cell_bits,
        };
        at_ns.clamp(self.begin_ns, self.now_ns)
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
        // The first arrival is somewhere in its cell.
        let from = cell(self.first_ns().saturating_add(1 << cell_bits));
        self.arrivals.get(from..until).unwrap_or(&[])
    }

    /// Index of dispersion, the number of groups of cells that it is from, and their length in seconds.
    fn dispersion(&self) -> (Option<f64>, usize, f64) {
        let cells = self.whole_cells();
        let all: u64 = cells.iter().sum();
        let mean = all as f64 / cells.len().max(1) as f64;
        let mut size = 1;
        while mean * (size as f64) < COUNT_WANTED && GROUPS_MIN * 2 * size <= cells.len() {
            size *= 2;
        }
        let cell_s = self.span.cell_s() * size as f64;
        let groups = cells.len() / size;
        if mean * (size as f64) < COUNT_MIN || groups < GROUPS_MIN {
            return (None, groups, cell_s);
        }
        let counts = cells.rchunks_exact(size).rev().map(|group| group.iter().sum::<u64>() as f64);
        let (mut sum, mut squares, mut last) = (0.0, 0.0, None);
        for count in counts {
            let step = count - last.unwrap_or(count);
            (sum, squares, last) = (sum + count, squares + step * step, Some(count));
        }
        let variance = squares / (2.0 * (groups - 1) as f64);
        let dispersion = (0.0 < sum).then(|| variance * groups as f64 / sum);
        (dispersion, groups, cell_s)
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

#[cfg(test)]
mod tests {
    use super::super::{FLOW_SHARDS_MAX, Flow, Recorder, Times};
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    /// SplitMix64 (Steele, Lea and Flood 2014).
    struct Draw(u64);

    impl Draw {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        fn exponential(&mut self, mean: f64) -> f64 {
            -mean * self.unit().ln()
        }
    }

    /// A law of durations, of mean 1: how to draw it, its scv, and the relative error of an estimated scv times sqrt(n).
    type Law = (&'static str, fn(&mut Draw) -> f64, f64, f64);

    const LAWS: [Law; 4] = [
        ("exponential", |draw| draw.exponential(1.0), 1.0, 2.0),
        ("deterministic", |_| 1.0, 0.0, 1.0),
        ("Erlang, 4 stages", |draw| (0..4).map(|_| draw.exponential(0.25)).sum(), 0.25, 2.0),
        // Balanced means, p = (1 + sqrt(3 / 5)) / 2.
        (
            "hyperexponential",
            |draw| {
                let p = 0.887_298_334_620_741_7;
                let share = if draw.unit() < p { p } else { 1.0 - p };
                draw.exponential(0.5 / share)
            },
            4.0,
            6.0,
        ),
    ];

    fn flow_at(opened_ns: u64) -> (Recorder, Flow) {
        let recorder = Recorder::new(3, 0);
        let flow = recorder.open_flow(opened_ns);
        (recorder, flow)
    }

    /// Messages with gaps of `gap_ns` and services of `service_ns` on the mean, each waiting `waiting_ns`, for 20 s. The
    /// estimates at the end.
    fn estimates(law: &Law, gap_ns: f64, service_ns: f64, span: Span) -> Estimates {
        let (recorder, flow) = flow_at(SECOND);
        let mut draw = Draw(42);
        let (mut at, end) = (SECOND as f64, 21.0 * SECOND as f64);
        let mut worker = 0;
        while at < end {
            at += gap_ns * (law.1)(&mut draw);
            let arrival_ns = at as u64;
            let start_ns = arrival_ns + 3 * MS;
            let end_ns = start_ns + (service_ns * (law.1)(&mut draw)) as u64;
            worker += 1;
            let times = Times { arrival_ns, start_ns, end_ns };
            recorder.record_in(worker % 3, &flow, times, 1, flow.gap_ns(arrival_ns));
        }
        recorder.window(&flow, span, at as u64).unwrap().estimates()
    }

    /// Dense streams: ca2 comes from the gaps.
    #[test]
    fn a_dense_stream_has_the_moments_that_it_was_drawn_with() {
        for law in &LAWS {
            let (name, _, scv, spread) = *law;
            let found = estimates(law, 500_000.0, 200_000.0, Span::Short);
            let few = (found.messages as f64).sqrt();
            let near = |what: &str, value: f64, truth: f64, error: f64| {
                assert!((value - truth).abs() <= error, "{name}, {what}: {value} for {truth}");
            };
            near("rate", found.arrival_per_s, 2_000.0, 4.0 * 2_000.0 * (scv.sqrt() + 0.1) / few);
            near("service", found.service_mean_s, 2e-4, 4.0 * 2e-4 * (scv.sqrt() + 0.1) / few);
            near("ca2", found.ca2.unwrap(), scv, 4.0 * spread * scv / few + 1e-6);
            near("cs2", found.cs2, scv, 4.0 * spread * scv / few + 1e-6);
            near("wait", found.waiting_mean_s, 3e-3, 1e-12);
            near("its variance", found.waiting_variance_s2, 0.0, 1e-15);
            near("busy", found.busy_mean, 0.4, 4.0 * 0.4 * 2.0 * (scv.sqrt() + 0.1) / few);
        }
    }

    /// Thin streams: ca2 comes from the counts, in whatever order workers wrote them.
    #[test]
    fn a_thin_stream_has_the_dispersion_of_its_law() {
        for law in &LAWS {
            let (name, _, scv, _) = *law;
            for (gap_ns, span) in [(2.5e6, Span::Short), (25e6, Span::Short), (100e6, Span::Long)] {
                let found = estimates(law, gap_ns, 1e3, span);
                let Some(ca2) = found.ca2 else {
                    assert!(25e6 <= gap_ns, "{name} {gap_ns}");
                    continue;
                };
                let bias = (1.0 - scv).max(0.0) / 8.0;
                let error = 4.0 * found.ca2_error * scv + bias + 0.03;
                assert!((ca2 - scv).abs() <= error, "{name}, gaps of {gap_ns} ns: {ca2} for {scv}");
            }
        }
    }

    #[test]
    fn retries_and_what_came_before_counting_began_only_keep_workers_busy() {
        let (recorder, flow) = flow_at(100 * SECOND);
        let now = 101 * SECOND;
        let times = |waiting_ns| Times {
            arrival_ns: now - MS - waiting_ns,
            start_ns: now - MS,
            end_ns: now,
        };
        recorder.record_in(1, &flow, times(998 * MS), 1, None);
        recorder.record_in(1, &flow, times(900 * MS), 2, None);
        recorder.record_in(1, &flow, times(90 * SECOND), 1, None);
        let found = recorder.window(&flow, Span::Short, now + MS).unwrap().estimates();
        assert_eq!((found.messages, found.others), (1, 2));
        assert!((found.waiting_mean_s - 998e-3).abs() < 1e-12, "{found:?}");
        assert!((found.busy_mean * found.window_s - 3e-3).abs() < 1e-12, "{found:?}");
        assert!((found.window_s - 1.001).abs() < 1e-9, "from the beginning of counting on");
    }

    #[test]
    fn a_wait_is_set_up_if_the_worker_was_idle_and_else_there_is_a_hand_off() {
        let (recorder, flow) = flow_at(0);
        let record = |arrival_ns, start_ns, end_ns| {
            recorder.record_in(1, &flow, Times { arrival_ns, start_ns, end_ns }, 1, None);
        };
        record(MS, 2 * MS, 3 * MS); // Nothing is known of the worker.
        record(5 * MS, 9 * MS, 10 * MS);
        record(8 * MS, 11 * MS, 12 * MS);
        let found = recorder.window(&flow, Span::Short, 20 * MS).unwrap().estimates();
        assert_eq!((found.messages, found.setups), (3, 1));
        assert_eq!((found.setup_mean_s, found.handoff_mean_s), (4e-3, 1e-3));
        assert!((found.setup_square_mean_s2 - 16e-6).abs() < 1e-15);
    }

    /// The arrivals are counted where they came, though they were written seconds later and by others.
    #[test]
    fn nothing_is_lost_or_doubled_when_parts_are_left_behind() {
        let (recorder, flow) = flow_at(0);
        let mut now = 0;
        for number in 0..60_000_u64 {
            now = number * 2 * MS;
            let arrival_ns = now.saturating_sub((number % 7) * 2 * SECOND);
            let times = Times { arrival_ns, start_ns: now, end_ns: now };
            recorder.record_in(number as usize % 3, &flow, times, 1, None);
        }
        let long = recorder.window(&flow, Span::Long, now).unwrap();
        assert_eq!(long.messages(), 60_000);
        assert_eq!(long.arrivals.iter().sum::<u64>(), 60_000);
        let short = recorder.window(&flow, Span::Short, now).unwrap();
        let window_s = short.estimates().window_s;
        assert!((short.messages() as f64 - window_s * 500.0).abs() <= 2.0, "{window_s}");
    }

    #[test]
    fn an_idle_stretch_leaves_an_empty_window_and_then_a_right_one() {
        let (recorder, flow) = flow_at(0);
        let record = |from: u64| {
            for at in 0..1_000 {
                let arrival_ns = from + at * MS;
                let times = Times { arrival_ns, start_ns: arrival_ns, end_ns: arrival_ns + 1 };
                recorder.record_in(1, &flow, times, 1, flow.gap_ns(arrival_ns));
            }
        };
        record(0);
        let idle = recorder.window(&flow, Span::Long, 3_600 * SECOND).unwrap().estimates();
        assert_eq!((idle.messages, idle.arrival_per_s, idle.busy_mean), (0, 0.0, 0.0));
        record(3_600 * SECOND);
        let again = recorder.window(&flow, Span::Long, 3_601 * SECOND).unwrap().estimates();
        assert_eq!(again.messages, 1_000);
        assert_eq!(again.ca2, None, "from one second nothing follows over minutes");
        assert!((1.0..1.6).contains(&again.window_s), "the pause is no part of it: {again:?}");
        let short = recorder.window(&flow, Span::Short, 3_601 * SECOND).unwrap().estimates();
        assert!(short.ca2.unwrap() < 0.05, "the pause is no gap: {short:?}");
    }

    #[test]
    fn stamps_that_run_backwards_or_reach_the_end_of_time_do_no_harm() {
        let (recorder, flow) = flow_at(5 * SECOND);
        for (arrival_ns, start_ns, end_ns) in [
            (u64::MAX, u64::MAX, u64::MAX),
            (9 * SECOND, 8 * SECOND, 7 * SECOND),
            (0, 0, 0),
            (6 * SECOND, u64::MAX, u64::MAX),
            (6 * SECOND, 6 * SECOND, u64::MAX - 1),
        ] {
            let gap_ns = flow.gap_ns(arrival_ns);
            recorder.record_in(1, &flow, Times { arrival_ns, start_ns, end_ns }, 1, gap_ns);
        }
        for span in [Span::Short, Span::Long] {
            for now_ns in [0, 5 * SECOND, 6 * SECOND, u64::MAX] {
                let found = recorder.window(&flow, span, now_ns).unwrap().estimates();
                assert!(found.arrival_per_s.is_finite() && found.cs2.is_finite(), "{found:?}");
            }
        }
        // And what comes after that is counted, in whatever part it falls.
        let messages = || recorder.window(&flow, Span::Long, 20 * SECOND).unwrap().messages();
        let before = messages();
        for at in 0..20 {
            let now_ns = 9 * SECOND + at * SECOND / 2;
            let times = Times { arrival_ns: now_ns, start_ns: now_ns, end_ns: now_ns };
            recorder.record_in(1, &flow, times, 1, None);
        }
        assert_eq!(messages(), before + 20);
    }

    #[test]
    fn a_place_that_is_given_again_begins_empty_and_takes_nothing_from_the_one_before() {
        let recorder = Recorder::new(1, 0);
        let times = Times { arrival_ns: SECOND, start_ns: SECOND, end_ns: SECOND };
        let first = recorder.open_flow(0);
        recorder.record_in(0, &first, times, 1, None);
        let slot = first.slot;
        drop(first);
        let second = recorder.open_flow(0);
        assert_eq!(second.slot, slot);
        let messages = |flow| recorder.window(flow, Span::Short, SECOND).unwrap().messages();
        assert_eq!(messages(&second), 0);
        recorder.record_in(0, &second, times, 1, None);
        assert_eq!(messages(&second), 1);
    }

    #[test]
    fn beyond_the_limit_a_flow_has_no_window_and_its_distributions_count() {
        let recorder = Recorder::new(super::super::SHARDS_MAX, 0);
        let most = FLOW_SHARDS_MAX / super::super::SHARDS_MAX;
        let flows: Vec<Flow> = (0..=most).map(|_| recorder.open_flow(0)).collect();
        let times = Times { arrival_ns: 1, start_ns: 2, end_ns: 3 };
        flows.iter().for_each(|flow| recorder.record_in(1, flow, times, 1, flow.gap_ns(1)));
        let windows = flows.iter().filter(|flow| recorder.window(flow, Span::Short, 9).is_some());
        assert_eq!(windows.count(), most);
        assert_eq!(recorder.snapshot(9).waiting.count, most as u64 + 1);
    }
}
