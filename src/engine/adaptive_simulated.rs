//! The controller on simulated streams: steady loads, steps, handlers that never end. No thread, no clock.

use super::*;
use crate::engine::WORKERS_MAX;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Between two decisions, in ns.
const TICK_NS: u64 = 5_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const FOREVER_NS: u64 = u64::MAX / 2;

/// Services, by their cs2.
#[derive(Debug, Clone, Copy)]
enum Law {
    Constant,
    Exponential,
    /// Two exponential phases with balanced means, cs2 = 4.
    Scattered,
}

/// A queue with as many servers as the controller says.
struct Simulation {
    random: u64,
    controller: Controller,
    now_ns: u64,
    tick_ns: u64,
    /// Of each service that runs: its end and its length.
    running: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: VecDeque<u64>,
    served: u64,
    sum_s: f64,
    sum_s2: f64,
    arrived: u64,
    wanted: usize,
    /// Decisions that changed the number: when, and to how many.
    changes: Vec<(u64, usize)>,
}

impl Simulation {
    fn new(min: usize, max: usize, seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(2) + 1,
            controller: Controller::new(min, max),
            now_ns: 0,
            tick_ns: 0,
            running: BinaryHeap::new(),
            waiting: VecDeque::new(),
            served: 0,
            sum_s: 0.0,
            sum_s2: 0.0,
            arrived: 0,
            wanted: min,
            changes: Vec::new(),
        }
    }

    /// Uniform on (0, 1): SplitMix64.
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON / 4.0
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    fn service_ns(&mut self, law: Law, mean_s: f64) -> u64 {
        let mean_ns = mean_s * 1e9;
        let service_ns = match law {
            Law::Constant => mean_ns,
            Law::Exponential => self.exponential(mean_ns),
            Law::Scattered => {
                let share = 0.5 * (1.0 + (3.0_f64 / 5.0).sqrt());
                let often = self.uniform() < share;
                let chosen = if often { share } else { 1.0 - share };
                self.exponential(mean_ns / (2.0 * chosen))
            }
        };
        service_ns as u64 + 1
    }

    fn take(&mut self) {
        while self.running.len() < self.wanted
            && let Some(length_ns) = self.waiting.pop_front()
        {
            self.running.push(Reverse((self.now_ns.saturating_add(length_ns), length_ns)));
        }
    }

    fn arrive(&mut self, length_ns: u64) {
        self.arrived += 1;
        self.waiting.push_back(length_ns);
        self.take();
    }

    /// Everything that happens up to then, but arrivals.
    fn go_on(&mut self, until_ns: u64) {
        loop {
            let end_ns = self.running.peek().map_or(u64::MAX, |Reverse((end_ns, _))| *end_ns);
            let next_ns = end_ns.min(self.tick_ns);
            if until_ns < next_ns {
                break;
            }
            self.now_ns = next_ns;
            if end_ns <= self.tick_ns {
                let Some(Reverse((_, length_ns))) = self.running.pop() else { break };
                self.served += 1;
                self.sum_s += length_ns as f64 / 1e9;
                self.sum_s2 += (length_ns as f64 / 1e9).powi(2);
            } else {
                self.decide();
                self.tick_ns += TICK_NS;
            }
            self.take();
        }
        self.now_ns = until_ns;
    }

    fn decide(&mut self) {
        let at_work = self.running.len();
        let wanted = self.controller.decide(&Seen {
            at_ns: self.now_ns,
            served: self.served,
            service_sum_s: self.sum_s,
            service_sum_s2: self.sum_s2,
            backlog: self.waiting.len() as u64,
            at_work,
            usable: at_work + self.waiting.len(),
        });
        if wanted != self.wanted {
            self.wanted = wanted;
            self.changes.push((self.now_ns, wanted));
        }
    }

    /// Poisson arrivals of so many erlangs.
    fn load(&mut self, erlangs: f64, law: Law, mean_s: f64, seconds: f64) {
        let end_ns = self.now_ns + (seconds * 1e9) as u64;
        loop {
            let gap_ns = self.exponential(mean_s / erlangs * 1e9) as u64;
            if end_ns < self.now_ns + gap_ns {
                return self.go_on(end_ns);
            }
            self.go_on(self.now_ns + gap_ns);
            let length_ns = self.service_ns(law, mean_s);
            self.arrive(length_ns);
        }
    }

    /// How often the number went up after it had gone down, since then.
    fn reversals(&self, since_ns: u64) -> usize {
        let late: Vec<_> = self.changes.iter().filter(|(at_ns, _)| *at_ns >= since_ns).collect();
        late.windows(3).filter(|c| c[1].1 < c[0].1 && c[1].1 < c[2].1).count()
    }
}

fn needed(erlangs: f64) -> usize {
    Mark { offered: erlangs, ca2: 1.0, cs2: 1.0, wait_max: WAIT_LOW }.workers(WORKERS_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Promise: on a steady load the number settles, where the model has it. (Exponential and constant services; 20,000
    /// messages, of which the first half may settle; chance may bring one reversal in the other.)
    #[test]
    fn on_a_steady_load_it_settles(
        erlangs in 0.1_f64..12.0,
        exponential in any::<bool>(),
        mean_us in 100_u32..20_000,
        seed in any::<u64>(),
    ) {
        let (mut queue, mean_s) = (Simulation::new(1, 16, seed), f64::from(mean_us) / 1e6);
        let law = if exponential { Law::Exponential } else { Law::Constant };
        let half_s = 10_000.0 * mean_s / erlangs;
        queue.load(erlangs, law, mean_s, half_s);
        let half_ns = queue.now_ns;
        queue.load(erlangs, law, mean_s, half_s);
        prop_assert!(queue.reversals(half_ns) <= 1, "{:?}", queue.changes);
        let (least, most) = (erlangs.ceil() as usize, needed(MARGIN * erlangs) + 1);
        prop_assert!((least..=most).contains(&queue.wanted), "{} of {least} to {most}", queue.wanted);
    }

    /// Promise: whatever comes, the number is within its bounds, and a reversal that comes soon makes the next one later.
    #[test]
    fn on_any_load_it_stays_within_bounds_and_swings_ever_more_seldom(
        min in 1_usize..4,
        more in 0_usize..12,
        parts in prop::collection::vec((0.05_f64..20.0, 0_u32..3), 1..6),
        seed in any::<u64>(),
    ) {
        let mut queue = Simulation::new(min, min + more, seed);
        for (erlangs, law) in parts {
            let law = [Law::Constant, Law::Exponential, Law::Scattered][law as usize];
            queue.load(erlangs, law, 0.002, 4.0);
        }
        let bounds = min..=min + more;
        prop_assert!(queue.changes.iter().all(|(_, wanted)| bounds.contains(wanted)));
        let seconds = queue.now_ns / SECOND_NS;
        prop_assert!(queue.reversals(0) as u64 <= seconds / 2 + 3, "{:?}", queue.changes);
    }

    /// Promise: after a step the number begins to grow within the messages that the module's page says, has reached what
    /// the load needs in 200 decisions more, and is back at the minimum when the load has gone.
    #[test]
    fn a_step_is_followed_within_the_stated_bounds(
        low in 0.05_f64..0.3,
        high in 3.0_f64..12.0,
        mean_us in 200_u32..5_000,
        seed in any::<u64>(),
    ) {
        let (mut queue, mean_s) = (Simulation::new(1, 16, seed), f64::from(mean_us) / 1e6);
        queue.load(low, Law::Exponential, mean_s, 2.0);
        prop_assert_eq!(queue.wanted, 1);
        let arrived = queue.arrived;
        queue.changes.clear();
        let tick_s = TICK_NS as f64 / 1e9;
        let messages = BACKLOG_MAX.max(PATIENCE_S / mean_s) * high / (high - 1.0) + tick_s * high / mean_s;
        // By chance a few more: five standard deviations of the arrivals.
        let messages = messages + 5.0 * messages.sqrt();
        while queue.changes.is_empty() {
            queue.load(high, Law::Exponential, mean_s, tick_s);
            let since = (queue.arrived - arrived) as f64;
            prop_assert!(since <= messages, "{since} of {messages} messages and no reaction");
        }
        queue.load(high, Law::Exponential, mean_s, 200.0 * tick_s);
        prop_assert!(queue.wanted as f64 >= high, "{} for {high}: {:?}", queue.wanted, queue.changes);
        let at_rest_s = queue.waiting.len() as f64 * mean_s + 100.0 * mean_s;
        queue.go_on(queue.now_ns + (at_rest_s * 1e9) as u64 + SECOND_NS);
        prop_assert_eq!(queue.wanted, 1);
    }
}

/// Promise: handlers that do not end are answered by more workers, up to all: 4 ticks for each doubling, no estimate.
#[test]
fn handlers_that_never_end_get_company_up_to_the_maximum() {
    let mut queue = Simulation::new(1, 8, 1);
    (0..100).for_each(|_| queue.arrive(FOREVER_NS));
    queue.go_on(3 * 4 * TICK_NS);
    let numbers: Vec<_> = queue.changes.iter().map(|(_, wanted)| *wanted).collect();
    assert_eq!((numbers, queue.running.len()), (vec![2, 4, 8], 8));
}

/// Promise: nobody is called who would have nothing to do.
#[test]
fn no_more_workers_than_messages_and_none_for_what_may_not_be_taken() {
    let mut queue = Simulation::new(1, 8, 1);
    (0..3).for_each(|_| queue.arrive(FOREVER_NS));
    queue.go_on(SECOND_NS);
    assert_eq!(queue.wanted, 3);
    let mut controller = Controller::new(1, 8);
    // A subscription of one worker at a time: its backlog is no reason for another.
    for tick in 0..1_000 {
        let seen = Seen {
            at_ns: tick * TICK_NS,
            served: tick,
            service_sum_s: 0.005 * tick as f64,
            service_sum_s2: 0.005 * 0.005 * tick as f64,
            backlog: 10 * tick,
            at_work: 1,
            usable: 1,
        };
        assert_eq!(controller.decide(&seen), 1);
    }
}

/// Promise: what is estimated is what was drawn.
#[test]
fn the_estimates_are_those_of_the_stream() {
    let mut queue = Simulation::new(16, 16, 5);
    queue.load(8.0, Law::Scattered, 0.001, 10.0);
    let Load { arrival_per_s, service_mean_s, ca2, cs2 } = queue.controller.load();
    let near = |value: f64, truth: f64, part: f64| (value / truth - 1.0).abs() < part;
    assert!(near(arrival_per_s, 8_000.0, 0.1), "{arrival_per_s}");
    assert!(near(service_mean_s, 0.001, 0.1), "{service_mean_s}");
    assert!(near(ca2, 1.0, 0.4), "{ca2}");
    assert!(near(cs2, 4.0, 0.4), "{cs2}");
}

#[test]
fn the_model_gives_the_reference_values() {
    let mark = |offered, wait_max| Mark { offered, ca2: 1.0, cs2: 1.0, wait_max };
    // Wq / s is 0.357 for (4, 2.8), and 0.286 for (8, 6.4).
    assert_eq!([mark(2.8, 0.358), mark(2.8, 0.357)].map(|mark| mark.workers(99)), [4, 5]);
    assert_eq!([mark(6.4, 0.287), mark(6.4, 0.286)].map(|mark| mark.workers(99)), [8, 9]);
    assert!(mark(0.5, 1.0).is_met_by(1) && !mark(0.51, 1.0).is_met_by(1));
    assert_eq!((mark(0.0, 1.0).workers(9), mark(1e9, 1.0).workers(9)), (1, 9));
}
