//! What the stamps of a run say, as arithmetic: its own path, its rates, its hand-offs, and Little's identity.
//!
//! Two comparisons that are never mixed. *Engine against its own path*: given when messages came and how long each was
//! served, a perfect queue would have ended message i at `D_i = max(A_i, D_(i-1)) + S_i`; what is later is the
//! engine's, with no statistics in it. *Path against theory*: at the rates that the run really had.
//!
//! Source: D. V. Lindley 1952; J. D. C. Little 1961; P. D. Welch 1964; F. Pollaczek 1930 and A. Khinchine 1932.

/// One message that was accepted and served; nanoseconds of one clock, in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// When the schedule meant it to arrive.
    pub intended_ns: u64,
    /// Clock read before the publish.
    pub arrival_ns: u64,
    /// Clock read first in the handler.
    pub start_ns: u64,
    /// The clock read that ended the service.
    pub end_ns: u64,
    /// The service that was asked for.
    pub drawn_ns: u64,
}

impl Row {
    pub fn service_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    pub fn sojourn_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.arrival_ns)
    }
}

/// When each message would have left one perfect server, first come, first served: `(arrival, service)` in order.
pub fn lindley(messages: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
    let depart = |free_ns: &mut u64, (arrival_ns, service_ns): (u64, u64)| {
        *free_ns = (*free_ns).max(arrival_ns) + service_ns;
        Some(*free_ns)
    };
    messages.scan(0, depart).collect()
}

/// The two sides of Little's law over a run that begins and ends empty, in message-nanoseconds.
///
/// They come from different witnesses: the area from what the source saw go in and the server saw come out, without
/// asking which message it was; the sojourns from pairing the two by id. Equal, or an event was lost or doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Little {
    /// Integral of the number in the system over time.
    pub area: i128,
    /// Sum of the sojourns.
    pub sojourns: i128,
}

impl Little {
    /// `arrivals_ns` of accepted messages and `departures_ns` as the server counted them, in any order.
    pub fn of(arrivals_ns: &[u64], departures_ns: &[u64], rows: &[Row]) -> Self {
        let arrivals = arrivals_ns.iter().map(|at_ns| (*at_ns, 1_i128));
        let departures = departures_ns.iter().map(|at_ns| (*at_ns, -1));
        let mut steps: Vec<(u64, i128)> = arrivals.chain(departures).collect();
        steps.sort_unstable();
        let (mut area, mut inside, mut last_ns) = (0, 0, 0);
        for (at_ns, step) in steps {
            area += inside * i128::from(at_ns - last_ns);
            (inside, last_ns) = (inside + step, at_ns);
        }
        let stays = rows.iter().map(|row| i128::from(row.end_ns) - i128::from(row.arrival_ns));
        Self { area, sojourns: stays.sum() }
    }
}

/// The rates that a run really had; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// lambda: 1 / mean gap of the intended times.
    pub arrival_per_s: f64,
    /// mu: 1 / mean of end - start.
    pub service_per_s: f64,
    /// m2: mean square of end - start, in square seconds.
    pub square_mean_s2: f64,
    /// Messages that left per second, from the first end to the last.
    pub throughput_per_s: f64,
}

impl Rates {
    /// `None` for fewer than two messages, or if no time passed.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let (first, last) = (rows.first()?, rows.last()?);
        let count = rows.len() as f64;
        let served_s: f64 = rows.iter().map(|row| seconds(row.service_ns())).sum();
        let squares: f64 = rows.iter().map(|row| seconds(row.service_ns()).powi(2)).sum();
        let (arriving_s, leaving_s) =
            (seconds(last.intended_ns), seconds(last.end_ns - first.end_ns));
        (rows.len() > 1 && arriving_s > 0.0 && leaving_s > 0.0 && served_s > 0.0).then(|| Self {
            arrival_per_s: count / arriving_s,
            service_per_s: count / served_s,
            square_mean_s2: squares / count,
            throughput_per_s: (count - 1.0) / leaving_s,
        })
    }

    /// rho: below 1 in a stable run.
    pub fn load(&self) -> f64 {
        self.arrival_per_s / self.service_per_s
    }

    /// Variance of the service over its squared mean: 1 for an exponential.
    pub fn service_variability(&self) -> f64 {
        self.square_mean_s2 * self.service_per_s.powi(2) - 1.0
    }

    /// W of M/G/1 in seconds: 1/mu + lambda m2 / (2 (1 - rho)). Stable, FIFO. Pollaczek and Khinchine.
    pub fn pollaczek_khinchine_s(&self) -> f64 {
        let waiting_s = self.arrival_per_s * self.square_mean_s2 / (2.0 * (1.0 - self.load()));
        1.0 / self.service_per_s + waiting_s
    }

    /// What waking up at the start of each busy period adds to W: (2 E[D] + lambda E[D^2]) / (2 (1 + lambda E[D])),
    /// in seconds. Welch.
    pub fn set_up_s(&self, wake: Moments) -> f64 {
        let whole = 2.0 * wake.mean_s + self.arrival_per_s * wake.square_mean_s2;
        whole / (2.0 * (1.0 + self.arrival_per_s * wake.mean_s))
    }
}

/// Mean and mean square.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    pub mean_s: f64,
    pub square_mean_s2: f64,
}

/// Per message, the time from its turn (it is there and the server is free) to the start of its service.
pub fn hand_offs(rows: &[Row]) -> Vec<u64> {
    let free = std::iter::once(0).chain(rows.iter().map(|row| row.end_ns));
    rows.iter()
        .zip(free)
        .map(|(row, free_ns)| row.start_ns.saturating_sub(row.arrival_ns.max(free_ns)))
        .collect()
}

/// [`lindley`]'s path with the hand-offs over `limit_ns` in it, as if they had been service: what a perfect queue would
/// have made of a server that was away for so long.
pub fn lindley_with_absences(rows: &[Row], limit_ns: u64) -> Vec<u64> {
    let away = |hand_off_ns: u64| if hand_off_ns > limit_ns { hand_off_ns } else { 0 };
    let services = rows.iter().zip(hand_offs(rows));
    lindley(services.map(|(row, off_ns)| (row.arrival_ns, row.service_ns() + away(off_ns))))
}

/// Times from a message's turn to the start of its service, each sorted: after another message, and from rest.
#[derive(Debug, Default)]
pub struct HandOffs {
    pub busy_ns: Vec<u64>,
    pub idle_ns: Vec<u64>,
}

impl HandOffs {
    pub fn of(rows: &[Row]) -> Self {
        let mut found = Self::default();
        let mut free_ns = 0;
        for (row, hand_off_ns) in rows.iter().zip(hand_offs(rows)) {
            match row.arrival_ns < free_ns {
                true => found.busy_ns.push(hand_off_ns),
                false => found.idle_ns.push(hand_off_ns),
            }
            free_ns = row.end_ns;
        }
        found.busy_ns.sort_unstable();
        found.idle_ns.sort_unstable();
        found
    }

    /// E[D] and E[D^2] of the wake-ups, for [`Rates::set_up_s`].
    pub fn wake(&self) -> Moments {
        let count = self.idle_ns.len().max(1) as f64;
        let sum = |of: fn(f64) -> f64| self.idle_ns.iter().map(|ns| of(seconds(*ns))).sum::<f64>();
        Moments { mean_s: sum(|s| s) / count, square_mean_s2: sum(|s| s * s) / count }
    }
}

/// Gaps between clock reads that should have followed each other at once: what the machine took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalls {
    pub count: usize,
    pub total_ns: u128,
    pub max_ns: u64,
    square_ns2: u128,
}

impl Stalls {
    pub fn of(gaps_ns: &[u64]) -> Self {
        let wide = || gaps_ns.iter().map(|gap| u128::from(*gap));
        Self {
            count: gaps_ns.len(),
            total_ns: wide().sum(),
            max_ns: gaps_ns.iter().copied().max().unwrap_or(0),
            square_ns2: wide().map(|gap| gap * gap).sum(),
        }
    }

    /// What they add to W of M/M/1, relative: sum d^2 / (2 T s), at every load.
    pub fn bias(&self, run_s: f64, service_mean_s: f64) -> f64 {
        self.square_ns2 as f64 * 1e-18 / (2.0 * run_s * service_mean_s)
    }
}

/// How many messages each arrival found: 0, 1, 2 ... and the share of arrivals that did.
pub fn found_by_arrivals(rows: &[Row]) -> Vec<f64> {
    let (mut left, mut counts) = (0, Vec::new());
    for (before, row) in rows.iter().enumerate() {
        while left < before && rows[left].end_ns <= row.arrival_ns {
            left += 1;
        }
        let inside = before - left;
        if counts.len() <= inside {
            counts.resize(inside + 1, 0.0);
        }
        counts[inside] += 1.0 / rows.len() as f64;
    }
    counts
}

/// The share of sojourns that last more than `t_s` seconds.
pub fn sojourn_tail(rows: &[Row], t_s: f64) -> f64 {
    let longer = rows.iter().filter(|row| seconds(row.sojourn_ns()) > t_s).count();
    longer as f64 / rows.len().max(1) as f64
}

/// Mean of whole nanoseconds, in seconds; 0 if there are none.
pub fn mean_s(values_ns: impl Iterator<Item = u64>) -> f64 {
    let (sum, count) =
        values_ns.fold((0_u128, 0_u64), |(sum, count), ns| (sum + u128::from(ns), count + 1));
    sum as f64 * 1e-9 / count.max(1) as f64
}

/// The value that a share `p` of the sorted values does not exceed; 0 if there are none.
pub fn quantile(sorted: &[u64], p: f64) -> u64 {
    let at = (sorted.len() as f64 * p) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 * 1e-9
}
