//! Which experiments a suite has, how long each, and in which order.
//!
//! | law | on | rho | messages |
//! |---|---|---|---|
//! | M/M/1 | memory, spinning | 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95 | n(band) |
//! | M/M/1 | bare ring, persistent, bare crossbeam channel | 0.5, 0.8 | n(band) |
//! | M/M/1 with set-up | memory, parked when idle; s = 100 us, so that the wake-up shows | 0.1, 0.3, 0.5, 0.7, 0.8, 0.9 | n(3 %) or [`PARKED_MESSAGES_MIN`] |
//! | M/M/1/K, K = 5 | bare ring, memory | 1; memory also 0.8 and 1.5 | [`LOSS_MESSAGES`] |
//! | M/M/c, c = 2, 4, 8 | memory, sleeping; s = 2 ms, 5 ms with eight | 0.7; 0.8 with eight | what THEORY's runs would have needed for 3 % |
//! | M/D/1, M/G/1 (cs2 = 2, 0.5) | memory, spinning | 0.8; 0.7 | n(3 %), with cs2 = 2 three times that |
//! | tandem | persistent log and handler | 0.5 | n(3 %), twice |
//! | saturation | memory, ring, persistent | 1.2, 1.5, 2 on memory; 1.5 | [`SATURATION_MESSAGES`] |
//!
//! n(band) = (1.96 / e)^2 2 rho / (1 - rho)^2 messages make the half width of the 95 % interval e, at realized rates; here
//! e = `precision` of the band. The mean service is [`SERVICE_MEAN`] where nothing else is said: a stall of the machine and a
//! hand-off both count as 1/s.
//!
//! The order is by what is learnt first: one run of each law at a middle load, then the other loads, the longest last. A
//! budget of time takes from the end, except that the costs, which are short, are kept.
//!
//! Priorities are not in it: the engine has no lanes.

use super::cost::DEPTH_MAX;
use crate::engine::BUFFER_MAX;
use crate::lab::record::{Cost, CostPlan, Ladder, Planned};
use crate::lab::{Experiment, Kind, On, Wait};
use std::time::Duration;

/// s of a spinning server.
pub const SERVICE_MEAN: Duration = Duration::from_micros(500);
/// s of one that parks.
pub const PARKED_SERVICE_MEAN: Duration = Duration::from_micros(100);
/// The fewest messages of one that parks: the second moment of its wake-up wants many.
pub const PARKED_MESSAGES_MIN: u64 = 50_000;
/// Messages of an M/M/1/K.
pub const LOSS_MESSAGES: u64 = 200_000;
/// Messages under saturation.
pub const SATURATION_MESSAGES: u64 = 200_000;
/// K.
const CAPACITY: u64 = 5;
/// Half the 95 % range of a normal deviate.
const NORMAL_975: f64 = 1.959_963_984_540_054;

/// What to make a ladder of.
#[derive(Debug, Clone, PartialEq)]
pub struct LadderOptions {
    /// Runs of a second or two: everything once, nothing decided.
    pub quick: bool,
    /// s of a spinning server.
    pub service_mean: Duration,
    /// Half width of an interval, as a share of the band; below 1 a law that holds can be seen to.
    pub precision: f64,
    /// What is drawn from.
    pub seed: u64,
}

impl Default for LadderOptions {
    fn default() -> Self {
        Self { quick: false, service_mean: SERVICE_MEAN, precision: 0.9, seed: 1 }
    }
}

impl LadderOptions {
    /// Runs of a second or two.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.quick = true;
        self
    }
}

/// Messages that make the half width `half_width`, relative, of W of M/M/1 at realized rates.
#[must_use]
pub fn messages_for(load: f64, half_width: f64) -> u64 {
    let variance = 2.0 * load / (1.0 - load).powi(2);
    ((NORMAL_975 / half_width).powi(2) * variance).ceil() as u64
}

/// The ladder.
#[must_use]
pub fn ladder(options: &LadderOptions) -> Ladder {
    let mut rungs = Rungs { options, planned: Vec::new() };
    // One of each law, at a middle load.
    for load in [0.5, 0.8] {
        rungs.mm1(On::Memory, load);
    }
    for on in [On::Ring, On::Channel, On::Persistent] {
        rungs.mm1(on, 0.5);
    }
    rungs.parked(0.5);
    rungs.saturated(On::Memory, 1.5);
    rungs.lossy(On::Ring, 1.0);
    rungs.lossy(On::Memory, 1.0);
    rungs.many(4, 0.7, Duration::from_millis(2), 90_000);
    rungs.general(Kind::Md1, 0.8, 0.0, 1);
    rungs.general(Kind::Mg1, 0.7, 2.0, 3);
    rungs.tandem(0.5);
    // The other loads and layers, short ones first.
    for load in [0.1, 0.3, 0.7] {
        rungs.mm1(On::Memory, load);
    }
    for load in [0.1, 0.3, 0.7, 0.8, 0.9] {
        rungs.parked(load);
    }
    for (on, load) in [(On::Ring, 1.5), (On::Persistent, 1.5), (On::Memory, 1.2), (On::Memory, 2.0)]
    {
        rungs.saturated(on, load);
    }
    for load in [0.8, 1.5] {
        rungs.lossy(On::Memory, load);
    }
    rungs.many(2, 0.7, Duration::from_millis(2), 90_000);
    rungs.many(8, 0.8, Duration::from_millis(5), 60_000);
    rungs.general(Kind::Mg1, 0.7, 0.5, 1);
    for on in [On::Ring, On::Channel, On::Persistent] {
        rungs.mm1(on, 0.8);
    }
    for load in [0.9, 0.95] {
        rungs.mm1(On::Memory, load);
    }
    Ladder { quick: options.quick, experiments: rungs.planned, costs: costs(options.quick) }
}

struct Rungs<'a> {
    options: &'a LadderOptions,
    planned: Vec<Planned>,
}

impl Rungs<'_> {
    fn mm1(&mut self, on: On, load: f64) {
        let experiment = Experiment::new(Kind::Mm1).on(on).load(load);
        let experiment = experiment.service_mean(self.options.service_mean);
        let messages = messages_for(load, experiment.band * self.options.precision);
        self.add(experiment.messages(messages));
    }

    fn parked(&mut self, load: f64) {
        let experiment = Experiment::new(Kind::Setup).wait(Wait::Park).load(load);
        let experiment = experiment.service_mean(PARKED_SERVICE_MEAN);
        let messages = messages_for(load, experiment.band * self.options.precision);
        self.add(experiment.messages(messages.max(PARKED_MESSAGES_MIN)));
    }

    fn lossy(&mut self, on: On, load: f64) {
        let experiment = Experiment::new(Kind::Mm1k).on(on).load(load).capacity(CAPACITY);
        let experiment = experiment.service_mean(self.options.service_mean);
        self.add(experiment.messages(LOSS_MESSAGES));
    }

    fn many(&mut self, servers: u32, load: f64, service_mean: Duration, messages: u64) {
        let experiment = Experiment::new(Kind::Mmc).servers(servers).load(load);
        self.add(experiment.service_mean(service_mean).messages(messages));
    }

    fn general(&mut self, kind: Kind, load: f64, cs2: f64, times: u64) {
        let experiment = Experiment::new(kind).load(load);
        let experiment = if kind == Kind::Mg1 { experiment.cs2(cs2) } else { experiment };
        let experiment = experiment.service_mean(self.options.service_mean);
        let messages = messages_for(load, experiment.band * self.options.precision);
        self.add(experiment.messages(messages * times));
    }

    fn tandem(&mut self, load: f64) {
        let experiment = Experiment::new(Kind::Tandem).load(load);
        let messages = messages_for(load, experiment.band * self.options.precision);
        self.add(experiment.messages(messages * 2));
    }

    fn saturated(&mut self, on: On, load: f64) {
        let experiment = Experiment::new(Kind::Saturation).on(on).load(load);
        let experiment = experiment.service_mean(PARKED_SERVICE_MEAN);
        self.add(experiment.messages(SATURATION_MESSAGES));
    }

    /// Plans it; seeds are far enough apart for repetitions to have their own.
    fn add(&mut self, experiment: Experiment) {
        let place = self.planned.len() as u64;
        let mut experiment = experiment.seed(self.options.seed.wrapping_add(place * 1000));
        if self.options.quick {
            experiment = shortened(experiment);
        }
        let expected = experiment.expected_duration();
        let name = name(&experiment);
        self.planned.push(Planned { name, experiment, expected });
    }
}

/// The same for a second or two: many short services, few where servers sleep.
fn shortened(experiment: Experiment) -> Experiment {
    let service_mean = match experiment.wait {
        Wait::Spin | Wait::Park => Duration::from_micros(50),
        Wait::Sleep => Duration::from_millis(1),
    };
    let experiment = experiment.service_mean(service_mean);
    experiment.lasting(Duration::from_millis(1500))
}

/// `mm1-memory-spin-0.80`, with c, K or cs2 where the law has one.
#[must_use]
pub fn name(experiment: &Experiment) -> String {
    let Experiment { kind, on, wait, load, servers, capacity, cs2, .. } = experiment;
    let more = match kind {
        Kind::Mmc => format!("-c{servers}"),
        Kind::Mm1k => capacity.map_or(String::new(), |capacity| format!("-k{capacity}")),
        Kind::Mg1 => format!("-cs2-{cs2}"),
        _ => String::new(),
    };
    format!("{kind}-{on}-{wait}-{load:.2}{more}")
}

fn costs(quick: bool) -> Vec<CostPlan> {
    let (rounds, messages) = if quick { (3, 20_000) } else { (9, 200_000) };
    let plan = |cost, at, expected| CostPlan { cost, at, messages, rounds, expected };
    let second = Duration::from_secs(1);
    let mut costs = Vec::new();
    let depths: &[u64] = match quick {
        true => &[1, 1000, 100_000],
        false => &[1, 10, 100, 1000, 10_000, 100_000, DEPTH_MAX],
    };
    costs.extend(depths.iter().map(|depth| plan(Cost::RingDepth, *depth, second)));
    // The memory kind holds about half a million.
    let depths = depths.iter().map(|depth| (*depth).min(BUFFER_MAX as u64 - 1));
    costs.extend(depths.map(|depth| plan(Cost::MemoryDepth, depth, 2 * second)));
    let mebibytes: &[u64] = if quick { &[1, 16] } else { &[1, 16, 256, 1024, 4096] };
    for size in mebibytes {
        let fill = Duration::from_millis(8 * size);
        costs.push(plan(Cost::LogSize, size << 20, 5 * second + fill));
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn runs_are_as_long_as_the_band_needs() {
        // THEORY.md section 3, messages for 1 % and 3 %.
        let table =
            [(0.1, 9.5e3, 1.1e3), (0.5, 154e3, 17e3), (0.8, 1.54e6, 171e3), (0.95, 29e6, 3.2e6)];
        for (load, one, three) in table {
            for (half_width, expected) in [(0.01, one), (0.03, three)] {
                let ratio = messages_for(load, half_width) as f64 / expected;
                assert!((0.95..1.05).contains(&ratio), "{load} {half_width}: {ratio}");
            }
        }
    }

    #[test]
    fn every_rung_can_be_run_and_has_a_name_and_seeds_of_its_own() {
        for options in [LadderOptions::default(), LadderOptions::default().quick()] {
            let ladder = ladder(&options);
            let mut names = HashSet::new();
            let mut seeds = HashSet::new();
            for planned in &ladder.experiments {
                planned.experiment.check().unwrap_or_else(|error| panic!("{planned:?}: {error}"));
                assert!(names.insert(&planned.name), "{} twice", planned.name);
                assert!(seeds.insert(planned.experiment.seed / 1000), "{}", planned.name);
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
                assert!(planned.name.chars().all(is_plain), "{}", planned.name);
            }
        }
    }

    #[test]
    fn the_quick_ladder_takes_less_than_three_minutes_and_has_every_law() {
        let quick = ladder(&LadderOptions::default().quick());
        let runs: Duration = quick.experiments.iter().map(|planned| planned.expected).sum();
        let costs: Duration = quick.costs.iter().map(|cost| cost.expected).sum();
        assert!(runs + costs < Duration::from_secs(120), "{runs:?} {costs:?}");
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Priority) {
            let has = quick.experiments.iter().any(|planned| planned.experiment.kind == kind);
            assert!(has, "{kind}");
        }
    }
}
