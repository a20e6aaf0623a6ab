//! What the stamps of a run say: values only, as they are printed, plotted and written to `data.csv`.
//!
//! All times are seconds unless the name says nanoseconds. A [`LawCheck`] is a measured quantity beside its theory, with a
//! ratio, an interval and a verdict; the verdict of the run is the worst of its checks.

use serde::{Deserialize, Serialize};

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// The whole interval is inside the band.
    Holds,
    /// The whole interval is outside of it.
    Broken,
    /// Neither; about so many messages would decide.
    Undecided {
        /// How many.
        messages: u64,
    },
    /// The machine took more than a quarter of the band: nothing can be said of the law.
    Disturbed,
}

/// A ratio to a theory and its interval: `ratio` plus or minus `half_width`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Measured over theory.
    pub ratio: f64,
    /// Half the width of the 95 % interval.
    pub half_width: f64,
    /// How many groups it is from.
    pub groups: u32,
}

/// The moments that a run really had.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Realized {
    /// lambda: 1 / mean gap of the intended times.
    pub arrival_per_s: f64,
    /// mu: 1 / mean of end - start, of one server.
    pub service_per_s: f64,
    /// rho = lambda / (c mu).
    pub load: f64,
    /// Variance of the gaps over their squared mean.
    pub ca2: f64,
    /// Variance of the services over their squared mean.
    pub cs2: f64,
    /// Messages that left per second.
    pub throughput_per_s: f64,
    /// Share of the arrivals that were refused.
    pub refused: f64,
    /// Length of the run in seconds.
    pub run_s: f64,
}

/// Quantiles of whole nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean_ns: f64,
    /// The median.
    pub p50_ns: u64,
    /// 99 of 100 are at most this.
    pub p99_ns: u64,
    /// 999 of 1000 are at most this.
    pub p999_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// The engine against its own path: Lindley's for one server, a heap of free times for several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnPath {
    /// Mean sojourn from arrival, in seconds.
    pub sojourn_mean_s: f64,
    /// What a perfect queue would have made of the same arrivals and services.
    pub perfect_mean_s: f64,
    /// The first over the second.
    pub ratio: f64,
    /// The same, with hand-offs over 10 us counted as service: the server was asleep or away.
    pub ratio_without_absences: f64,
    /// Mean sojourn from the intended arrival over that of the drawn path; none without draws.
    pub ratio_to_draws: Option<f64>,
    /// What each message was later than the perfect queue's.
    pub residual: Quantiles,
}

/// Times from a message's turn to the start of its service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandOffs {
    /// After another message.
    pub busy: Quantiles,
    /// From rest.
    pub idle: Quantiles,
    /// Their distributions, for a plot.
    pub busy_histogram: Histogram,
    /// The same, from rest.
    pub idle_histogram: Histogram,
}

/// Counts of values by size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Each: the upper edge in nanoseconds, and how many are at most that and above the edge before.
    pub bins: Vec<Count>,
}

/// One bin of a [`Histogram`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Upper edge, in nanoseconds.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

/// Gaps between clock reads that should have followed each other at once: what the machine took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stalls {
    /// How many.
    pub count: u64,
    /// How many of them were not kept one by one; their sums are in.
    pub not_kept: u64,
    /// All together, in seconds.
    pub total_s: f64,
    /// The longest, in seconds.
    pub max_s: f64,
    /// Sum of their squares, in square seconds.
    pub square_s2: f64,
}

/// The stalls of a run, by who saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StallAccount {
    /// A server, while it served.
    pub server: Stalls,
    /// A server, while it was idle.
    pub idle: Stalls,
    /// The source, while it waited for the next arrival.
    pub source: Stalls,
}

/// Little's law over complete cycles, in message-nanoseconds: an identity, equal or an event was lost or doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Little {
    /// Integral of the number in the system.
    pub area: i128,
    /// Sum of the sojourns.
    pub sojourns: i128,
}

/// A measured quantity beside its theory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawCheck {
    /// What: `W from arrival`, `W from intended`, `loss`, `throughput`.
    pub quantity: String,
    /// Beside which law: `M/M/1`, `M/G/1 at realized moments`, `M/M/1 with set-up`.
    pub law: String,
    /// As measured.
    pub measured: f64,
    /// As the law has it at the realized rates.
    pub theory: f64,
    /// Measured over theory; none with too few groups.
    pub interval: Option<Interval>,
    /// The band it is held to, relative.
    pub band: f64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Does the run's verdict rest on it, or is it there to explain?
    pub decides: bool,
}

/// One point of a distribution beside its law, with its simultaneous interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Of which distribution: `N by arrivals`, `N by time`, `W`.
    pub of: String,
    /// Where: n, or t in multiples of the mean sojourn.
    pub at: f64,
    /// As measured: P(N = n), or P(W > t).
    pub measured: f64,
    /// Half the width of its simultaneous interval.
    pub half_width: f64,
    /// As the law has it.
    pub theory: f64,
    /// Does the interval, widened by the band, hold the law?
    pub holds: bool,
}

/// All that a run says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Rows of the file.
    pub messages: u64,
    /// How many were refused.
    pub refused: u64,
    /// The moments that it really had.
    pub realized: Realized,
    /// Little's identity.
    pub little: Little,
    /// The engine against its own path.
    pub own_path: OwnPath,
    /// From turn to start.
    pub hand_offs: HandOffs,
    /// How late the source was, arrival - intended.
    pub lateness: Quantiles,
    /// Quantities beside their laws.
    pub checks: Vec<LawCheck>,
    /// Distributions beside their laws.
    pub points: Vec<Point>,
    /// Tests of what was drawn, by name: statistic, its critical value at 5 %, and whether it passed.
    pub inputs: Vec<InputTest>,
    /// What the machine took; none if nobody kept account.
    pub stalls: Option<StallAccount>,
    /// The share of W that the stalls explain; none if nobody kept account.
    pub stall_bias: Option<f64>,
    /// The worst of the checks that decide.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub because: String,
}

/// Is what came in what was asked for?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputTest {
    /// `gaps are exponential`, `services are exponential`, `gaps are independent`.
    pub claim: String,
    /// The statistic.
    pub statistic: f64,
    /// Above this it is refused, at 5 % for each alone.
    pub critical: f64,
    /// Was it refused?
    pub holds: bool,
}
