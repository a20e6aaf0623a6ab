//! A ratio of measurement to theory, with an interval that knows that neighbours in a queue are alike.
//!
//! The run is cut into groups at arrivals that find the system empty: what happens after one owes nothing to what
//! happened before, so the groups are independent by construction and no batch length is chosen. Where empty moments are
//! rare, batches of at least ten relaxation times are nearly so. Each leave-one-out estimate recomputes the rates as well,
//! because the law is taken at the rates of the run: dividing by it is the best linear control variate there is.
//!
//! Source: M. A. Crane and A. J. Iglehart 1975 (regenerative cuts); R. G. Miller 1974 (jackknife of a ratio); M. Abramowitz
//! and I. A. Stegun 1964, 26.7.3 and 26.7.4 (Student's t as a finite sum).

use super::judgement::{ClassSums, Grouping, Interval, Sums, Verdict};
use std::ops::Range;

/// Groups that a run is cut into.
pub const GROUPS: usize = 50;
/// Fewer groups than these say nothing about their own variance.
pub const GROUPS_MIN: usize = 10;
/// One run is cut into no fewer than these. Of the 95 % intervals of 1,000 perfect M/M/1 runs of 134 relaxation times (13
/// groups, rho 0.8) 91.0 % held the truth, of 166 and 256 (rho 0.7, 0.5) 92.9 %, of 700 (rho 0.1) 94.6 %.
pub const GROUPS_OF_RUN_MIN: usize = 30;
/// A group is at least so many relaxation times long on average, however it is cut: of shorter ones too few have seen a
/// long busy period, and a run without any looks surer than it is.
pub const GROUP_RELAXATIONS: f64 = 10.0;
/// Of the groups that are wanted so many in ten must come about, or empty moments are rare.
const REGENERATIVE_OF_TEN: usize = 8;

impl Interval {
    /// Holds `ratio` against 1 plus or minus `band`, from a run of `messages`.
    ///
    /// Undecided comes with the number that would make the interval half as wide as the band: at least twice the run.
    pub(super) fn verdict(&self, band: f64, messages: u64) -> Verdict {
        let off = (self.ratio - 1.0).abs();
        if off + self.half_width <= band {
            return Verdict::Holds;
        }
        if off - self.half_width > band {
            return Verdict::Broken;
        }
        let wider = self.half_width / (band / 2.0);
        let more = (messages as f64 * wider * wider).ceil() as u64;
        Verdict::Undecided { messages: more.max(messages.saturating_mul(2)) }
    }
}

impl Sums {
    /// Adds `sign` times the other: 1 puts it in, -1 leaves it out.
    fn add(&mut self, other: &Self, sign: f64) {
        let Self {
            arrived,
            refused,
            gaps_s,
            services_s,
            services_s2,
            services_next_s,
            sojourns_s,
            intended_s,
            path_s,
            wakes,
            wakes_s,
            wakes_s2,
            classes,
        } = self;
        for (mine, others) in [
            (arrived, other.arrived),
            (refused, other.refused),
            (gaps_s, other.gaps_s),
            (services_s, other.services_s),
            (services_s2, other.services_s2),
            (services_next_s, other.services_next_s),
            (sojourns_s, other.sojourns_s),
            (intended_s, other.intended_s),
            (path_s, other.path_s),
            (wakes, other.wakes),
            (wakes_s, other.wakes_s),
            (wakes_s2, other.wakes_s2),
        ] {
            *mine += sign * others;
        }
        classes.resize(classes.len().max(other.classes.len()), ClassSums::default());
        for (mine, others) in classes.iter_mut().zip(&other.classes) {
            mine.served += sign * others.served;
            mine.services_s += sign * others.services_s;
            mine.services_s2 += sign * others.services_s2;
            mine.sojourns_s += sign * others.sojourns_s;
            mine.intended_s += sign * others.intended_s;
        }
    }

    /// Those of all groups together.
    pub(super) fn total(groups: &[Self]) -> Self {
        groups.iter().fold(Self::default(), |mut sum, group| {
            sum.add(group, 1.0);
            sum
        })
    }

    /// All but one group.
    pub(super) fn without(&self, group: &Self) -> Self {
        let mut rest = self.clone();
        rest.add(group, -1.0);
        rest
    }

    /// Rows that were served.
    pub(super) fn served(&self) -> f64 {
        self.arrived - self.refused
    }
}

/// A ratio of sums, and what it is of one group by itself.
pub type Estimate<'a> = &'a dyn Fn(&Sums) -> Option<f64>;

/// The jackknife of a ratio of sums: a 95 % interval; `None` with fewer than [`GROUPS_MIN`] groups, or where the estimate
/// has no value above 0.
///
/// Of the ratio's logarithm: a run that happened to see no long busy period has a low ratio and a small variance both, and
/// in proportion they miss the truth less often (of 1,000 intervals at rho 0.3 and 2,500 messages 92.7 % held it without).
/// The half width is the upper arm, the longer one.
pub fn jackknife(groups: &[Sums], estimate: Estimate<'_>) -> Option<Interval> {
    let total = Sums::total(groups);
    let logarithm = |sums: &Sums| estimate(sums).map(f64::ln).filter(|log| log.is_finite());
    let whole = logarithm(&total)?;
    let mut median: Vec<f64> = groups.iter().filter_map(estimate).collect();
    let left_out = groups.iter().map(|group| logarithm(&total.without(group)));
    let leave_one_out: Vec<f64> = left_out.collect::<Option<_>>()?;
    let (log, error) = pseudo_mean(whole, &leave_one_out)?;
    median.sort_by(f64::total_cmp);
    let ratio = log.exp();
    let median = median.get(median.len() / 2).copied().unwrap_or(ratio);
    let arm = student_quantile(0.975, groups.len() as u32 - 1) * error;
    let half_width = ratio * arm.exp_m1();
    Some(Interval { ratio, half_width, groups: groups.len() as u32, median })
}

/// Mean of the pseudo-values and its standard error.
pub fn pseudo_mean(whole: f64, leave_one_out: &[f64]) -> Option<(f64, f64)> {
    if leave_one_out.len() < GROUPS_MIN {
        return None;
    }
    let count = leave_one_out.len() as f64;
    let pseudo = leave_one_out.iter().map(|without| count * whole - (count - 1.0) * without);
    let values: Vec<f64> = pseudo.collect();
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Some((mean, (variance / count).sqrt())).filter(|(mean, error)| (mean + error).is_finite())
}

/// Where a run is cut: the first row of each group, and the row after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// How they were found.
    pub how: Grouping,
    /// One more than there are groups.
    pub rows: Vec<usize>,
}

impl Cuts {
    /// Cuts `rows` of which those for which `empty` is true found nobody; `relaxation` in messages.
    ///
    /// As many groups as there are [`GROUP_RELAXATIONS`] in it, at most [`GROUPS`]: regenerative if enough of them come
    /// about, else batches; below [`GROUPS_OF_RUN_MIN`] the whole.
    pub fn of(rows: Range<usize>, relaxation: f64, empty: impl Fn(usize) -> bool) -> Self {
        let wanted = (rows.len() as f64 / (GROUP_RELAXATIONS * relaxation)).min(GROUPS as f64);
        let wanted = wanted as usize;
        if wanted < GROUPS_OF_RUN_MIN {
            return Self { how: Grouping::Whole, rows: vec![rows.start, rows.end] };
        }
        let regenerative = Self::at_empty(rows.clone(), wanted, &empty);
        if regenerative.len() > wanted * REGENERATIVE_OF_TEN / 10 {
            return Self { how: Grouping::Empty, rows: regenerative };
        }
        let cut = |at| rows.start + at * rows.len() / wanted;
        Self { how: Grouping::Batches, rows: (0..=wanted).map(cut).collect() }
    }

    fn at_empty(rows: Range<usize>, wanted: usize, empty: &impl Fn(usize) -> bool) -> Vec<usize> {
        let Some(first) = rows.clone().find(|row| empty(*row)) else { return Vec::new() };
        let length = rows.end - first;
        let mut cuts = Vec::with_capacity(wanted + 1);
        for row in first..rows.end {
            let due = (row - first) * wanted >= cuts.len() * length;
            if due && empty(row) {
                cuts.push(row);
            }
        }
        cuts.push(rows.end);
        cuts
    }

    /// How many groups.
    pub fn groups(&self) -> usize {
        self.rows.len() - 1
    }

    /// Calls `with(group, row)` for each row of each group.
    pub fn each(&self, mut with: impl FnMut(usize, usize)) {
        for (group, ends) in self.rows.windows(2).enumerate() {
            (ends[0]..ends[1]).for_each(|row| with(group, row));
        }
    }
}

/// Relaxation time of M/M/c in messages, c as one fast server: 1 / (1 - sqrt(rho))^2; with at most K in the system the
/// slowest mode of that chain, rho / (1 + rho - 2 sqrt(rho) cos(pi / (K + 1))), which exists at every load.
///
/// Source: P. M. Morse, "Queues, Inventories and Maintenance" (1958), chapter 6.
pub fn relaxation_messages(load: f64, capacity: Option<u64>) -> f64 {
    let root = load.sqrt();
    match capacity {
        None if load < 1.0 => 1.0 / (1.0 - root).powi(2),
        None => f64::INFINITY,
        Some(capacity) => {
            let angle = std::f64::consts::PI / (capacity as f64 + 1.0);
            (load / (1.0 + load - 2.0 * root * angle.cos())).max(1.0)
        }
    }
}

/// n that makes the half width of W at realized rates half the band: (2 * 1.96 / band)^2 2 rho / (1 - rho)^2.
pub fn messages_to_decide(load: f64, band: f64) -> u64 {
    let spare = (1.0 - load).max(1e-3);
    ((2.0 * 1.96 / band).powi(2) * 2.0 * load / (spare * spare)).ceil() as u64
}

/// The point that Student's t with `freedom` degrees does not exceed with probability `p`, for 0.5 <= p < 1.
///
/// The distribution as a finite sum, inverted by bisection.
pub fn student_quantile(p: f64, freedom: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_cdf(high, freedom) < p && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        match student_cdf(middle, freedom) < p {
            true => low = middle,
            false => high = middle,
        }
    }
    f64::midpoint(low, high)
}

/// P(T <= t) for t >= 0. Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even).
fn student_cdf(t: f64, freedom: u32) -> f64 {
    let freedom = freedom.max(1);
    let angle = (t / f64::from(freedom).sqrt()).atan();
    let (sine, cosine2) = (angle.sin(), angle.cos().powi(2));
    let odd = freedom % 2 == 1;
    let (mut term, mut sum, mut at) = if odd { (angle.cos(), 0.0, 1) } else { (1.0, 0.0, 0) };
    while at + 2 <= freedom {
        sum += term;
        // To the next power of the cosine: 2/3, 4/5 ... for odd, 1/2, 3/4 ... for even degrees.
        term *= cosine2 * f64::from(at + 1) / f64::from(at + 2);
        at += 2;
    }
    let both_sides = match odd {
        true => (angle + sine * sum) / std::f64::consts::FRAC_PI_2,
        false => sine * sum,
    };
    f64::midpoint(1.0, both_sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64, off: f64) {
        assert!((found - expected).abs() <= off, "{found} is not within {off} of {expected}");
    }

    #[test]
    fn students_t_is_that_of_the_tables() {
        for (p, freedom, t) in [
            (0.975, 1, 12.706),
            (0.975, 2, 4.303),
            (0.975, 9, 2.262),
            (0.975, 10, 2.228),
            (0.975, 49, 2.010),
            (0.975, 100, 1.984),
            (0.95, 30, 1.697),
            (0.995, 20, 2.845),
            (0.9995, 30, 3.646),
            (0.9995, 9, 4.781),
            (0.975, 100_000, 1.960),
        ] {
            assert_near(student_quantile(p, freedom), t, 6e-4);
        }
        assert_near(student_quantile(0.5, 7), 0.0, 1e-9);
    }

    /// By hand: the mean of 1 ... 10 has a standard error of sqrt(82.5 / 9 / 10), and its jackknife is itself.
    #[test]
    fn the_jackknife_of_a_mean_is_the_mean_and_its_standard_error() {
        let without: Vec<f64> = (1..=10).map(|value| (55.0 - f64::from(value)) / 9.0).collect();
        let (mean, error) = pseudo_mean(5.5, &without).expect("ten groups");
        assert_near(mean, 5.5, 1e-12);
        assert_near(error, (82.5_f64 / 90.0).sqrt(), 1e-12);
        assert_eq!(pseudo_mean(5.5, &without[..9]), None, "nine are too few");
    }

    /// Groups that differ little: the logarithm is a straight line there, and the interval that of the mean.
    #[test]
    fn the_interval_of_a_ratio_is_that_of_its_mean_while_the_groups_are_alike() {
        let group = |value| Sums { arrived: 1.0, sojourns_s: value, ..Sums::default() };
        let groups: Vec<Sums> =
            (1..=10).map(|value| group(1.0 + 1e-6 * f64::from(value))).collect();
        let mean = |sums: &Sums| Some(sums.sojourns_s / sums.arrived);
        let found = jackknife(&groups, &mean).expect("ten groups");
        assert_near(found.ratio, 1.0 + 5.5e-6, 1e-10);
        assert_near(found.half_width, 2.2621571628e-6 * (82.5_f64 / 90.0).sqrt(), 1e-10);
        assert_eq!((found.groups, found.median), (10, 1.0 + 6e-6));
        assert_eq!(jackknife(&groups[..9], &mean), None, "nine are too few");
        assert_eq!(jackknife(&groups, &|_| None), None);
    }

    #[test]
    fn a_verdict_says_how_many_messages_would_decide() {
        let interval = Interval { ratio: 1.01, half_width: 0.02, groups: 50, median: 1.0 };
        assert_eq!(interval.verdict(0.01, 1_000), Verdict::Undecided { messages: 16_000 });
        assert_eq!(interval.verdict(0.04, 1_000), Verdict::Holds);
        assert_eq!(Interval { ratio: 0.5, ..interval }.verdict(0.01, 1_000), Verdict::Broken);
        let edge = Interval { half_width: 0.001, ..interval };
        assert_eq!(edge.verdict(0.01, 1_000), Verdict::Undecided { messages: 2_000 });
    }

    #[test]
    fn a_run_is_cut_where_it_is_empty_or_into_batches_or_not_at_all() {
        let often = Cuts::of(10..5_010, 12.5, |row| row % 7 == 0);
        assert_eq!((often.how, often.groups()), (Grouping::Empty, 40));
        assert_eq!(Cuts::of(10..5_010, 5.0, |row| row % 7 == 0).groups(), 50);
        assert!(often.rows[..40].iter().all(|row| row % 7 == 0));
        assert_eq!(often.rows.last(), Some(&5_010));
        let never = Cuts::of(10..5_010, 12.5, |_| false);
        assert_eq!((never.how, never.groups()), (Grouping::Batches, 40));
        assert_eq!((never.rows[0], never.rows[1], never.rows[40]), (10, 135, 5_010));
        let slow = Cuts::of(10..5_010, 17.0, |_| false);
        assert_eq!((slow.how, slow.rows), (Grouping::Whole, vec![10, 5_010]));
        let mut rows = Vec::new();
        never.each(|group, row| rows.push((group, row)));
        assert_eq!((rows.len(), rows[0], rows[4_999]), (5_000, (0, 10), (39, 5_009)));
    }

    #[test]
    fn a_small_buffer_forgets_sooner_and_has_a_memory_at_every_load() {
        assert_near(relaxation_messages(0.81, None), 100.0, 1e-9);
        assert!(relaxation_messages(1.0, None).is_infinite());
        assert!(relaxation_messages(1.0, Some(5)) < 5.0);
        assert_near(relaxation_messages(0.81, Some(100_000)), 81.0, 0.01);
        assert!(relaxation_messages(1.5, Some(64)) < 60.0);
    }

    /// THEORY.md's table: 6.1 M at rho 0.8 for half of 1 %.
    #[test]
    fn the_run_that_decides_is_that_of_the_table() {
        assert_near(messages_to_decide(0.8, 0.01) as f64, 6.1e6, 0.05e6);
        assert_near(messages_to_decide(0.5, 0.01) as f64, 615e3, 1e3);
    }
}
