//! What one worker did for one subscription: sums by parts of two windows, a cascade.
//!
//! A part that leaves the short window becomes one cell of the long one. See `estimate` for what is made of them.
//!
//! # Limits
//!
//! Sums saturate at 2^128, counts of a cell at 2^32.

use super::Times;

/// How many parts a window has.
pub const PARTS: usize = 16;
/// How many cells a window has.
pub const CELLS: usize = PARTS * PARTS;

pub(super) const STEP_BITS: u32 = 4;
/// A part of the short and of the long window is 2^this nanoseconds.
pub(super) const PART_BITS: [u32; 2] = [29, 33];
const _: () = assert!(1 << STEP_BITS == PARTS);
const _: () = assert!(PART_BITS[0] + STEP_BITS == PART_BITS[1]);
/// The longest gap that is one: a cell of the short window.
pub(super) const GAP_NS_MAX: u64 = 1 << (PART_BITS[0] - STEP_BITS);

/// How far back to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// The last 8 to 8.6 seconds.
    Short,
    /// The last 129 to 137 seconds.
    Long,
}

impl Span {
    pub(super) fn part_bits(self) -> u32 {
        PART_BITS[self as usize]
    }

    /// The length of one of its 256 cells in seconds.
    pub fn cell_s(self) -> f64 {
        (1_u64 << (self.part_bits() - STEP_BITS)) as f64 * 1e-9
    }
}

/// A sum and a sum of squares, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) sum: u128,
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

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    pub(super) fn mean_s(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64 * 1e-9
    }

    pub(super) fn square_mean_s2(&self) -> f64 {
        self.squares as f64 / self.count.max(1) as f64 * 1e-18
    }

    /// With n - 1 in the denominator; 0 for fewer than two.
    pub(super) fn variance_s2(&self) -> f64 {
        let count = self.count as f64;
        if self.count < 2 {
            return 0.0;
        }
        let mean = self.mean_s();
        ((self.square_mean_s2() - mean * mean) * count / (count - 1.0)).max(0.0)
    }

    /// Variance over the square of the mean; 0 without a mean.
    pub(super) fn scv(&self) -> f64 {
        let mean = self.mean_s();
        if mean > 0.0 { self.variance_s2() / (mean * mean) } else { 0.0 }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) others: u64,
    pub(super) longest_ns: u64,
    pub(super) busy_ns: u128,
    pub(super) waiting: Moments,
    pub(super) service: Moments,
    pub(super) setup: Moments,
    pub(super) handoff: Moments,
    pub(super) gap: Moments,
}

impl Sums {
    pub(super) fn merge(&mut self, other: &Self) {
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
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) sums: Sums,
    pub(super) arrivals: [u32; PARTS],
}

impl Part {
    pub(super) fn arrived(&self) -> u32 {
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
    pub(super) levels: [[Part; PARTS]; 2],
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
