//! Distributions beside their laws, and whether what came in was what was asked for.
//!
//! | test | statistic | 5 % | refused above (0.01 %) |
//! |---|---|---|---|
//! | gaps, services are exponential | largest distance of the distributions, at the estimated mean | 1.094 / sqrt(n) | 1.79 / sqrt(n) |
//! | gaps, services are independent | Ljung and Box's sum over 10 lags | 18.31 | 35.56 |
//! | the arrival rate is steady | chi square of the counts in 50 equal windows | 66.34 | 94.6 |
//! | services do not depend on gaps | correlation times sqrt(n) | 1.96 | 3.89 |
//! | services are all alike | what their cs2 adds to W of M/D/1, relative | half the band | half the band |
//! | the clock is fine | its step over the mean service | a quarter of the band | a quarter of the band |
//!
//! In what the machine has a part (services) half the band is allowed on top: a service that is longer by a clock read is
//! no other law. The 0.01 % point of the first is Stephens' 5 and 1 % points carried on along their own exponential tail.
//!
//! P(N = n) and P(W > t) have no such test, since neighbours are alike: the groups and the jackknife of the means serve here
//! too, each point over its law at the realized rates. The intervals hold together: with 99 % in a run, so that a table of
//! five runs keeps its 95 % (Bonferroni: Student's t is 3.9 for 40 points).
//!
//! Source: H. W. Lilliefors 1969; M. A. Stephens 1974; G. M. Ljung and G. E. P. Box 1978; R. W. Wolff 1982.

use super::event::{Event, Served};
use super::experiment::{Kind, Service};
use super::interval::{Cuts, pseudo_mean, student_quantile};
use super::judgement::{InputTest, Interval, LawCheck, Point, Sums, Verdict};
use super::law::Subject;
use super::path::Crowd;

/// Most states that P(N = n) is looked at in.
const STATES_MAX: u64 = 200;
/// A point is looked at if so many messages are expected there.
const EXPECTED_MIN: f64 = 500.0;
/// Where P(W > t) is looked at, in mean sojourns; the last is the 99 % point of an exponential.
pub const TAIL_AT: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 3.0, LN_100];
/// ln 100.
const LN_100: f64 = 4.605_170_185_988_092;
/// How often all intervals of a run together may miss.
const MISS: f64 = 0.01;
/// Lags of the test of independence.
const LAGS: usize = 10;
/// Windows of the test of a steady rate.
const WINDOWS: usize = 50;
/// Fewer rows than these are not tested.
const ROWS_MIN: usize = 500;

/// What is tested of what came in.
pub struct Inputs<'a> {
    /// The rows after the warm-up.
    pub events: &'a [Event],
    /// The intended time of the row before them.
    pub before_ns: u64,
    /// The law of the services.
    pub service: Service,
    /// Relative.
    pub band: f64,
}

impl Inputs<'_> {
    /// All tests; none with fewer than [`ROWS_MIN`] rows.
    pub fn tests(&self) -> Vec<InputTest> {
        let mut last_ns = self.before_ns;
        let gaps: Vec<f64> = self
            .events
            .iter()
            .map(|event| {
                let gap_ns = event.intended_ns - last_ns;
                last_ns = event.intended_ns;
                gap_ns as f64
            })
            .collect();
        let services: Vec<f64> = self
            .events
            .iter()
            .filter_map(|event| event.served)
            .map(|served| served.service_ns() as f64)
            .collect();
        if gaps.len() < ROWS_MIN || services.len() < ROWS_MIN {
            return Vec::new();
        }
        let mut tests = vec![
            exponential("gaps are exponential", &gaps, 0.0),
            independent("gaps are independent", &gaps, 0.0),
            self.steady(),
        ];
        match self.service {
            Service::Exponential => {
                tests.push(exponential("services are exponential", &services, self.band / 2.0));
            }
            Service::Deterministic => tests.push(self.alike(&gaps, &services)),
            Service::General => {}
        }
        // Equal services have no correlation to speak of.
        if self.service != Service::Deterministic {
            tests.push(independent("services are independent", &services, self.band / 2.0));
            tests.extend(self.unrelated(&gaps));
        }
        tests.push(self.fine(mean(&services)));
        tests
    }

    /// Do as many come in each part of the time?
    fn steady(&self) -> InputTest {
        let last_ns = self.events.last().map_or(self.before_ns, |event| event.intended_ns);
        let length = (last_ns - self.before_ns).max(1) as f64;
        let mut counts = [0.0; WINDOWS];
        for event in self.events {
            let part = (event.intended_ns - self.before_ns) as f64 / length;
            counts[((part * WINDOWS as f64) as usize).min(WINDOWS - 1)] += 1.0;
        }
        let expected = self.events.len() as f64 / WINDOWS as f64;
        let statistic = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        test("the arrival rate is steady", statistic, 66.34, 94.6, false)
    }

    fn alike(&self, gaps: &[f64], services: &[f64]) -> InputTest {
        let load = (mean(services) / mean(gaps)).min(0.999);
        let center = mean(services);
        let variance = mean_of(services, |service| (service - center).powi(2));
        let cs2 = variance / (center * center);
        let added = load * cs2 / (2.0 * (1.0 - load) + load);
        test("services are all alike", added, self.band / 2.0, self.band / 2.0, true)
    }

    fn unrelated(&self, gaps: &[f64]) -> Option<InputTest> {
        let (mut xs, mut ys) = (Vec::with_capacity(gaps.len()), Vec::with_capacity(gaps.len()));
        for (event, gap) in self.events.iter().zip(gaps) {
            if let Some(served) = event.served {
                xs.push(*gap);
                ys.push(served.service_ns() as f64);
            }
        }
        let (x, y) = (mean(&xs), mean(&ys));
        let products = xs.iter().zip(&ys).map(|(a, b)| (a - x) * (b - y)).sum::<f64>();
        let spread =
            |all: &[f64], center: f64| -> f64 { all.iter().map(|a| (a - center).powi(2)).sum() };
        let correlation = products / (spread(&xs, x) * spread(&ys, y)).sqrt();
        let root = (xs.len() as f64).sqrt();
        let statistic = (correlation * root).abs();
        let refused = 3.89 + self.band / 2.0 * root;
        statistic
            .is_finite()
            .then(|| test("services do not depend on gaps", statistic, 1.96, refused, true))
    }

    /// The step of the clock: what divides all stamps.
    fn fine(&self, service_mean_ns: f64) -> InputTest {
        let mut step_ns = 0;
        for event in self.events {
            step_ns = common_divisor(step_ns, event.arrival_ns);
            if let Some(Served { start_ns, end_ns }) = event.served {
                step_ns = common_divisor(common_divisor(step_ns, start_ns), end_ns);
            }
            if step_ns == 1 {
                break;
            }
        }
        let allowed = self.band / 4.0;
        test(
            "the clock is fine",
            step_ns as f64 / service_mean_ns,
            allowed,
            allowed.max(1.0 / service_mean_ns),
            false,
        )
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn test(
    claim: &str,
    statistic: f64,
    critical: f64,
    refused_above: f64,
    of_machine: bool,
) -> InputTest {
    let holds = statistic <= refused_above;
    InputTest { claim: claim.to_owned(), statistic, critical, refused_above, of_machine, holds }
}

fn mean(values: &[f64]) -> f64 {
    mean_of(values, |value| value)
}

fn mean_of(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    values.iter().map(|value| of(*value)).sum::<f64>() / values.len().max(1) as f64
}

/// Kolmogorov and Smirnov's distance from the exponential of the same mean, with Lilliefors' critical values.
fn exponential(claim: &str, values: &[f64], allowed: f64) -> InputTest {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (count, center) = (sorted.len() as f64, mean(values).max(f64::MIN_POSITIVE));
    let mut distance = 0.0_f64;
    for (below, value) in sorted.iter().enumerate() {
        let law = -(-value / center).exp_m1();
        let (under, upto) = (below as f64 / count, (below as f64 + 1.0) / count);
        distance = distance.max(law - under).max(upto - law);
    }
    // Whole nanoseconds are a staircase: its step is not held against it.
    let step = 1.0 / center;
    let root = count.sqrt();
    test(claim, distance, 1.094 / root, 1.79 / root + step + allowed, allowed > 0.0)
}

/// Ljung and Box: n (n + 2) sum r_k^2 / (n - k) over the first lags, chi square if there is no correlation at any.
fn independent(claim: &str, values: &[f64], allowed: f64) -> InputTest {
    let (count, center) = (values.len() as f64, mean(values));
    let whole: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    let at_lag = |lag: usize| {
        let pairs = values.iter().zip(&values[lag..]);
        let sum: f64 = pairs.map(|(a, b)| (a - center) * (b - center)).sum();
        (sum / whole).powi(2) / (count - lag as f64)
    };
    let sum: f64 = (1..=LAGS).map(at_lag).sum();
    let statistic = if whole > 0.0 { count * (count + 2.0) * sum } else { 0.0 };
    let refused = (35.56_f64.sqrt() + allowed * count.sqrt()).powi(2);
    test(claim, statistic, 18.31, refused, allowed > 0.0)
}

/// What the groups of a run saw of N and W.
pub struct Seen {
    /// By group, by n: arrivals that found n.
    found: Vec<Vec<f64>>,
    /// By group, by n: seconds with n in the system.
    spent_s: Vec<Vec<f64>>,
    /// By group, by place of [`TAIL_AT`]: sojourns from intended that last longer.
    longer: Vec<[f64; TAIL_AT.len()]>,
    /// Where these places are, in seconds.
    tail_at_s: [f64; TAIL_AT.len()],
}

impl Seen {
    /// Looks at the rows of each group; the tail at multiples of `unit_s`. `last` has the ends that count for W.
    pub fn of(events: &[Event], last: &[Event], crowd: &Crowd, cuts: &Cuts, unit_s: f64) -> Self {
        let none = || vec![vec![0.0; STATES_MAX as usize]; cuts.groups()];
        let tail_at_s = TAIL_AT.map(|times| times * unit_s);
        let mut seen = Self {
            found: none(),
            spent_s: none(),
            longer: vec![[0.0; TAIL_AT.len()]; cuts.groups()],
            tail_at_s,
        };
        let group_of = |row: usize, hint: &mut usize| {
            while *hint + 1 < cuts.groups() && cuts.rows[*hint + 1] <= row {
                *hint += 1;
            }
            (cuts.rows[0]..cuts.rows[cuts.groups()]).contains(&row).then_some(*hint)
        };
        let mut hint = 0;
        crowd.found(events, |row, found| {
            if let (Some(group), true) = (group_of(row, &mut hint), found < STATES_MAX) {
                seen.found[group][found as usize] += 1.0;
            }
        });
        hint = 0;
        // What comes after the last arrival is the drain: no part of the law.
        let drain = events.len() - 1;
        crowd.stretches(events, |row, inside, ns| {
            if let (Some(group), true) =
                (group_of(row, &mut hint), inside < STATES_MAX && row < drain)
            {
                seen.spent_s[group][inside as usize] += ns as f64 * 1e-9;
            }
        });
        cuts.each(|group, row| {
            if let Some(served) = last[row].served {
                let stay_s = (served.end_ns - events[row].intended_ns) as f64 * 1e-9;
                for (count, at_s) in seen.longer[group].iter_mut().zip(tail_at_s) {
                    *count += f64::from(u8::from(stay_s > at_s));
                }
            }
        });
        seen
    }

    /// Every point that has enough messages, beside the law, with simultaneous intervals; and p99.
    pub fn beside(
        &self,
        subject: &Subject,
        groups: &[Sums],
        band: f64,
    ) -> (Vec<Point>, Option<LawCheck>) {
        let total = Sums::total(groups);
        let arrived = |sums: &Sums| sums.arrived;
        let served = |sums: &Sums| sums.served();
        let time = |counts: &[Vec<f64>]| {
            counts.iter().map(|group| group.iter().sum()).collect::<Vec<f64>>()
        };
        let times = time(&self.spent_s);
        let mut found = Vec::new();
        if let Some((states, law)) = subject.in_system() {
            let enough =
                |n: &u64| law(&total, *n).is_some_and(|p| p * total.arrived > EXPECTED_MIN);
            for n in (0..states.min(STATES_MAX)).take_while(enough) {
                let at_n = |counts: &[Vec<f64>]| {
                    counts.iter().map(|group| group[n as usize]).collect::<Vec<f64>>()
                };
                let of = |sums: &Sums| law(sums, n);
                let by_arrivals: Vec<f64> = groups.iter().map(arrived).collect();
                found.push((
                    "N by arrivals",
                    n as f64,
                    share(groups, &at_n(&self.found), &by_arrivals, &of),
                ));
                found.push((
                    "N by time",
                    n as f64,
                    share(groups, &at_n(&self.spent_s), &times, &of),
                ));
            }
        }
        if let Some(law) = subject.sojourn_tail() {
            for (place, (times, at_s)) in TAIL_AT.into_iter().zip(self.tail_at_s).enumerate() {
                let of = |sums: &Sums| law(sums, at_s);
                if of(&total).is_some_and(|p| p * total.arrived > EXPECTED_MIN) {
                    let counts: Vec<f64> = self.longer.iter().map(|group| group[place]).collect();
                    let whole: Vec<f64> = groups.iter().map(served).collect();
                    found.push(("W", times, share(groups, &counts, &whole, &of)));
                }
            }
        }
        let freedom = groups.len().max(2) as u32 - 1;
        let t = student_quantile(1.0 - MISS / (2.0 * found.len().max(1) as f64), freedom);
        // Only where the sojourn is exponential does the law's 99 % lie at ln 100 means.
        let exponential = |(of, at, _): &&(&str, f64, Option<Share>)| {
            subject.kind == Kind::Mm1 && (*of, *at) == ("W", LN_100)
        };
        let p99 = found.last().filter(exponential).and_then(|last| last.2);
        let p99 = p99.map(|share| self.p99(share, student_quantile(0.975, freedom), freedom, band));
        let point = |(of, at, share): (&str, f64, Option<Share>)| {
            share.map(|share| share.point(of, at, t, band))
        };
        (found.into_iter().filter_map(point).collect(), p99)
    }

    /// The 99 % quantile, from the share beyond where the law has it: in time it is off by (ratio - 1) / ln 100 of itself.
    fn p99(&self, share: Share, t: f64, freedom: u32, band: f64) -> LawCheck {
        let theory = self.tail_at_s[TAIL_AT.len() - 1];
        let ratio = 1.0 + (share.ratio - 1.0) / LN_100;
        let half_width = t * share.error / LN_100;
        let interval = Interval { ratio, half_width, groups: freedom + 1, median: ratio };
        LawCheck {
            quantity: "p99 of W from intended".to_owned(),
            law: "exponential tail".to_owned(),
            measured: theory * ratio,
            theory,
            interval: Some(interval),
            band,
            verdict: Verdict::Holds,
            decides: false,
        }
    }
}

/// A share over its law.
#[derive(Debug, Clone, Copy)]
struct Share {
    measured: f64,
    theory: f64,
    ratio: f64,
    error: f64,
}

impl Share {
    fn point(self, of: &str, at: f64, t: f64, band: f64) -> Point {
        let half_width = t * self.error;
        Point {
            of: of.to_owned(),
            at,
            measured: self.measured,
            half_width: half_width * self.theory,
            theory: self.theory,
            holds: (self.ratio - 1.0).abs() <= half_width + band,
        }
    }
}

/// Jackknife of (sum of counts / sum of wholes) / law at the same sums.
fn share(
    groups: &[Sums],
    counts: &[f64],
    wholes: &[f64],
    law: &dyn Fn(&Sums) -> Option<f64>,
) -> Option<Share> {
    let total = Sums::total(groups);
    let (count, whole): (f64, f64) = (counts.iter().sum(), wholes.iter().sum());
    let theory = law(&total)?;
    let left_out = groups.iter().zip(counts.iter().zip(wholes)).map(|(group, (part, of))| {
        Some((count - part) / (whole - of) / law(&total.without(group))?)
    });
    let leave_one_out: Vec<f64> = left_out.collect::<Option<_>>()?;
    let (ratio, error) = pseudo_mean(count / whole / theory, &leave_one_out)?;
    Some(Share { measured: count / whole, theory, ratio, error })
}
