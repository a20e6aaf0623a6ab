//! W over its theory, with an interval that knows that neighbours in a queue are alike.
//!
//! The run is cut into groups at arrivals that find the system empty: what happens after one owes nothing to what
//! happened before, so the groups are independent by construction and no batch length is chosen. Each leave-one-out
//! estimate recomputes the rates as well, because the rates of the run are what its W is compared with.
//!
//! Source: M. A. Crane and A. J. Iglehart 1975 (regenerative cuts); R. G. Miller 1974 (jackknife of a ratio).

use super::path::Row;

/// Groups that a run is cut into.
pub const GROUPS: usize = 50;
/// Fewer groups than these say nothing about their own variance.
pub const GROUPS_MIN: usize = 10;

/// A ratio and its 95 % interval: `ratio` plus or minus `half_width`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub ratio: f64,
    pub half_width: f64,
    pub groups: usize,
}

/// What an interval says about "within `band` of the law".
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The whole interval is in the band.
    Inside,
    /// The whole interval is out of it.
    Outside,
    /// Neither; about so many messages would make the interval half as wide as the band.
    Undecided { messages: u64 },
}

impl Interval {
    /// Holds `ratio` against 1 plus or minus `band`, from a run of `messages`.
    pub fn verdict(&self, band: f64, messages: usize) -> Verdict {
        let off = (self.ratio - 1.0).abs();
        if off + self.half_width <= band {
            return Verdict::Inside;
        }
        if off - self.half_width > band {
            return Verdict::Outside;
        }
        let wider = self.half_width / (band / 2.0);
        Verdict::Undecided { messages: (messages as f64 * wider * wider).ceil() as u64 }
    }
}

/// The sums that a group adds to the estimate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Group {
    count: f64,
    gaps_s: f64,
    services_s: f64,
    sojourns_s: f64,
}

impl Group {
    fn add(&mut self, row: &Row, gap_ns: u64, sojourn_ns: u64) {
        self.count += 1.0;
        self.gaps_s += gap_ns as f64 * 1e-9;
        self.services_s += row.service_ns() as f64 * 1e-9;
        self.sojourns_s += sojourn_ns as f64 * 1e-9;
    }

    fn without(&self, part: &Self) -> Self {
        Self {
            count: self.count - part.count,
            gaps_s: self.gaps_s - part.gaps_s,
            services_s: self.services_s - part.services_s,
            sojourns_s: self.sojourns_s - part.sojourns_s,
        }
    }

    /// Mean sojourn times (mu - lambda): 1 for M/M/1.
    fn ratio(&self) -> f64 {
        self.sojourns_s * (1.0 / self.services_s - 1.0 / self.gaps_s)
    }
}

/// Which time of a message is the sojourn: from the arrival, or from the intended arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Arrival,
    Intended,
}

/// W (mu - lambda) at realized rates, with its interval; `None` with fewer than [`GROUPS_MIN`] groups.
pub fn against_mm1(rows: &[Row], from: From) -> Option<Interval> {
    jackknife(&groups(rows, from), Group::ratio)
}

/// Groups of about equal count, cut where an arrival finds the system empty.
pub fn groups(rows: &[Row], from: From) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(GROUPS);
    let (mut last_intended_ns, mut free_ns) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let due = at * GROUPS >= groups.len() * rows.len();
        if due && row.arrival_ns >= free_ns {
            groups.push(Group::default());
        }
        let since_ns = match from {
            From::Arrival => row.arrival_ns,
            From::Intended => row.intended_ns,
        };
        let sojourn_ns = row.end_ns.saturating_sub(since_ns);
        let gap_ns = row.intended_ns - last_intended_ns;
        groups.last_mut().expect("the first arrival finds it empty").add(row, gap_ns, sojourn_ns);
        (last_intended_ns, free_ns) = (row.intended_ns, row.end_ns);
    }
    groups
}

/// The jackknife of an estimate from sums.
fn jackknife(groups: &[Group], estimate: fn(&Group) -> f64) -> Option<Interval> {
    if groups.len() < GROUPS_MIN {
        return None;
    }
    let nothing = Group::default();
    // Adding is leaving out the negative: one definition of the sums.
    let whole = groups.iter().fold(nothing, |sum, group| sum.without(&nothing.without(group)));
    let count = groups.len() as f64;
    let ratio = estimate(&whole);
    let pseudo = |group: &Group| count * ratio - (count - 1.0) * estimate(&whole.without(group));
    let values: Vec<f64> = groups.iter().map(pseudo).collect();
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half_width = student_975(count - 1.0) * (variance / count).sqrt();
    Some(Interval { ratio: mean, half_width, groups: groups.len() })
}

/// The 97.5 % point of Student's t, by the expansion in 1 / degrees of freedom (Abramowitz and Stegun 26.7.5): within
/// 0.001 from 9 degrees on.
pub fn student_975(freedom: f64) -> f64 {
    const Z: f64 = 1.959_963_985;
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    let first = (z3 + Z) / 4.0;
    let second = (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / 96.0;
    let third = (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / 384.0;
    Z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}
