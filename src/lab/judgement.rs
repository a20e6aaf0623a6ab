//! What the stamps of a run say: values only, as they are printed, plotted and written to `data.csv`.
//!
//! All times are seconds unless the name says nanoseconds. A [`LawCheck`] is a measured quantity beside its theory, with a
//! ratio, an interval and a verdict; the verdict of the run is the worst of its checks.

use super::experiment::Kind;
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

impl Verdict {
    /// The worse of two: broken, disturbed, undecided, holds. Of two undecided the one that needs more.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let rank = |verdict| match verdict {
            Self::Holds => (0, 0),
            Self::Undecided { messages } => (1, messages),
            Self::Disturbed => (2, 0),
            Self::Broken => (3, 0),
        };
        if rank(other) > rank(self) { other } else { self }
    }
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
    /// Median of the ratios of the groups, each at its own rates: what no single stall can move.
    pub median: f64,
}

/// How the rows were cut into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grouping {
    /// At arrivals that found the system empty: independent by construction.
    Empty,
    /// Into batches of ten relaxation times or more: empty moments are too rare.
    Batches,
    /// Not at all: too few rows for either.
    Whole,
}

/// The sums of one group of rows, times in seconds: every check is computed from these, so runs are pooled by them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Rows.
    pub arrived: f64,
    /// Rows that were refused.
    pub refused: f64,
    /// Gaps between intended arrivals.
    pub gaps_s: f64,
    /// Services.
    pub services_s: f64,
    /// Squares of the services.
    pub services_s2: f64,
    /// Services of the second stage of a tandem.
    pub services_next_s: f64,
    /// Sojourns from the arrival.
    pub sojourns_s: f64,
    /// Sojourns from the intended arrival.
    pub intended_s: f64,
    /// Sojourns of the own path, from the arrival.
    pub path_s: f64,
    /// Hand-offs from rest.
    pub wakes: f64,
    /// Their sum.
    pub wakes_s: f64,
    /// The sum of their squares.
    pub wakes_s2: f64,
    /// By class, highest first; none without priorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassSums>,
}

/// What [`Sums`] has of one priority class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassSums {
    /// Rows that were served.
    pub served: f64,
    /// Their services.
    pub services_s: f64,
    /// Squares of these.
    pub services_s2: f64,
    /// Sojourns from the arrival.
    pub sojourns_s: f64,
    /// Sojourns from the intended arrival.
    pub intended_s: f64,
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
    /// How many left before the perfect queue would have let them: 0, or the order is not the law's.
    pub early: u64,
    /// The most services at one time: the number of servers, or fewer.
    pub at_once_max: u32,
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

/// What stalls add to W of M/M/1, relative: sum d^2 / (2 T s c), by who saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StallBias {
    /// A server, while it served.
    pub server: f64,
    /// A server, while it was idle.
    pub idle: f64,
    /// The source.
    pub source: f64,
}

impl StallBias {
    /// All together.
    pub fn total(&self) -> f64 {
        self.server + self.idle + self.source
    }
}

/// Little's law over complete cycles, in message-nanoseconds: an identity, equal or an event was lost or doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Little {
    /// Integral of the number in the system.
    pub area: i128,
    /// Sum of the sojourns.
    pub sojourns: i128,
}

/// A measured quantity beside its theory. Two of them have no chance in them and no interval: the own path and what is
/// counted.
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
    /// Which law it is held against.
    pub kind: Kind,
    /// c.
    pub servers: u32,
    /// K, if there is one.
    pub capacity: Option<u64>,
    /// How far from the law still holds, relative.
    pub band: f64,
    /// Rows of the file.
    pub messages: u64,
    /// Rows that were left out of the statistics.
    pub warmup: u64,
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
    /// The second stage of a tandem; `own_path`, `hand_offs`, `realized` and `lateness` are the first's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_stage: Option<Stage>,
    /// How the rows were cut.
    pub grouping: Grouping,
    /// What each group had.
    pub groups: Vec<Sums>,
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
    pub stall_bias: Option<StallBias>,
    /// Is W from the intended arrivals off W from the arrivals by more than a quarter of the band? Then the source was
    /// disturbed.
    pub source_late: bool,
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
    /// The 5 % point, for this test alone: one true run in 20 is above it.
    pub critical: f64,
    /// Above this the run is broken: the 0.1 % point, and what the band allows where the machine has a part in it.
    pub refused_above: f64,
    /// Has the machine a part in it? Of a disturbed run it then says nothing.
    pub of_machine: bool,
    /// Is it at most that?
    pub holds: bool,
}

/// What is said of one stage of a tandem by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The moments that it really had.
    pub realized: Realized,
    /// Against its own path.
    pub own_path: OwnPath,
    /// From turn to start.
    pub hand_offs: HandOffs,
}

/// Several runs of one experiment as one, by their groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// Which law.
    pub kind: Kind,
    /// How many runs, all that were given: none is picked.
    pub runs: u32,
    /// Rows of all.
    pub messages: u64,
    /// Quantities beside their laws.
    pub checks: Vec<LawCheck>,
    /// The worst of those that decide; disturbed if the runs are, by their length.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub because: String,
}
