//! How many workers there should be: what the model needs for the load that was measured, with hysteresis. Pure.
//!
//! ```text
//!   Seen (sums, backlog, time) ──> lambda, s, ca2, cs2 (they forget) ──> model: workers for a = lambda s
//!                                                                          │ grow: at once
//!   waits too long or nothing ends? ──> more, at once                      │ shrink: a part, when it has been so for a dwell
//! ```
//!
//! | measured | how |
//! | --- | --- |
//! | lambda | services that ended, and by how much the number in the system grew: flow is conserved |
//! | ca2 | variance over mean of the arrivals between two decisions: for a renewal process its limit is ca2 (Cox 1962) |
//! | s, cs2 | sums of services and their squares |
//!
//! # Growing
//!
//! By the model: where a message waits longer than [`WAIT_HIGH`] services, or more than [`LOAD_HIGH`] of the time is work,
//! to the least number at which it waits [`WAIT_LOW`] at most. By pressure: where what waits is [`BACKLOG_MAX`] messages a
//! worker, and a [`PATIENCE_S`] of work, to as many as work it off in that time; and where all are at work, something waits
//! and nothing has ended for [`STALL_SERVICES`] services (times cs2, if that is above 1), to twice as many. Neither beyond
//! what could be of use at this moment: those at work, and what waits and may be taken. At the load that the model allows,
//! M/M/c exceeds the first once in 10^6 messages or more seldom, the second once in 10^7.
//!
//! # Shrinking
//!
//! When the model has needed fewer for a whole dwell, even at [`MARGIN`] times the load, by a quarter of the difference
//! (at least 1). The dwell begins at [`DWELL_MIN_S`] and is never less than [`DWELL_SERVICES`]. A growth within eight
//! dwells of a shrink regrets it, and doubles the dwell, up to [`DWELL_MAX_S`]; when eight dwells pass without one it is
//! halved. So on any load whatever a reversal either comes eight dwells after the shrink, or makes the next ones rarer. On
//! a steady M/M/c or M/D/c there is none in thousands of messages once it has settled (tested: at most one in 10,000). When
//! nothing has been in the system for [`FORGET_S`] and ten services, the load is forgotten: the minimum at once.
//!
//! # Bounds of the reaction
//!
//! After a step to a load of a erlangs, of which w workers cannot do: pressure is seen when the backlog reaches
//! max([`BACKLOG_MAX`] w, [`PATIENCE_S`] w / s), which arrivals fill at the rate lambda - w / s; so after at most
//! max(20 w, 0.01 w / s) a / (a - w) messages, and one decision. After the end of a load: [`FORGET_S`] or ten services.
//!
//! # Limits
//!
//! The number is always between the minimum and the maximum. Services that have not ended are not in s.
//!
//! Source: D. R. Cox, "Renewal Theory" (1962); of the model, at [`Ggc`].

use crate::model::{Ggc, ServiceTime};

/// A message that waits longer than this many services, on average, calls for more workers,
const WAIT_HIGH: f64 = 2.0;
/// for so many that it waits no longer than this.
const WAIT_LOW: f64 = 1.0;
/// More than this share of the time no worker should be at work.
const LOAD_HIGH: f64 = 0.9;
/// So many messages a worker are too many to wait.
const BACKLOG_MAX: f64 = 20.0;
/// What waits less than this is no pressure, however many they are. In seconds.
const PATIENCE_S: f64 = 0.01;
/// Nothing has ended for so many services of one of the workers: they are stuck.
const STALL_SERVICES: f64 = 16.0;
/// To shrink, the workers that stay must bear this many times the load.
const MARGIN: f64 = 1.25;
/// The shortest time that fewer must have been enough for, in seconds.
const DWELL_MIN_S: f64 = 0.25;
/// It is at least so many services.
const DWELL_SERVICES: f64 = 50.0;
/// The longest, in seconds.
const DWELL_MAX_S: f64 = 16.0;
/// A growth so many dwells after a shrink regrets it.
const REGRET_DWELLS: f64 = 8.0;
/// So long after the last message, and ten services, the load is forgotten. In seconds.
const FORGET_S: f64 = 0.5;
/// What is measured is forgotten by 1/e in this time, or [`MEMORY_SERVICES`], whichever is longer. In seconds.
const MEMORY_S: f64 = 1.0;
/// Estimates rest on about so many services of one worker.
const MEMORY_SERVICES: f64 = 200.0;
/// No memory is longer, in seconds.
const MEMORY_MAX_S: f64 = 10.0;
/// What is kept of what was measured when the backlog says otherwise.
const SURPRISE_KEEPS: f64 = 0.25;
/// So many arrivals make an estimate.
const ARRIVALS_MIN: f64 = 20.0;
/// Estimates of ca2 and cs2 beyond this are of bursts, to which pressure reacts.
const SCATTER_MAX: f64 = 4.0;
const _: () =
    assert!(DWELL_MIN_S < DWELL_MAX_S && MARGIN > 1.0 && LOAD_HIGH < 1.0 && WAIT_LOW < WAIT_HIGH);

/// What is seen at a decision. The sums only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    /// When.
    pub(crate) at_ns: u64,
    /// How many services have ended.
    pub(crate) served: u64,
    /// The sum of their lengths, in seconds.
    pub(crate) service_sum_s: f64,
    /// The sum of the squares, in square seconds.
    pub(crate) service_sum_s2: f64,
    /// How many messages wait.
    pub(crate) backlog: u64,
    /// How many workers are in a handler.
    pub(crate) at_work: usize,
    /// How many could be: those, and one for each that waits and may be taken.
    pub(crate) usable: usize,
}

/// Sums that forget.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    time_s: f64,
    arrivals: f64,
    /// Squares of what the arrivals between two decisions differ from their mean.
    scatter: f64,
    services: f64,
    service_s: f64,
    service_s2: f64,
}

impl Sums {
    /// Keeps that share of what is known of the arrivals.
    fn keep_arrivals(&mut self, share: f64) {
        for sum in [&mut self.time_s, &mut self.arrivals, &mut self.scatter] {
            *sum *= share;
        }
    }

    /// Keeps that share of what is known of the services.
    fn keep_services(&mut self, share: f64) {
        for sum in [&mut self.services, &mut self.service_s, &mut self.service_s2] {
            *sum *= share;
        }
    }
}

/// What is known of the load.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// lambda, in messages per second.
    pub(crate) arrival_per_s: f64,
    /// s, in seconds; 0 as long as no service has ended.
    pub(crate) service_mean_s: f64,
    /// Squared coefficient of variation of the gaps.
    pub(crate) ca2: f64,
    /// Of the services.
    pub(crate) cs2: f64,
}

impl Load {
    /// a = lambda s: how many workers are at work on average, if there are enough.
    fn offered(&self) -> f64 {
        self.arrival_per_s * self.service_mean_s
    }
}

/// Decides; see the module's page.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    min: usize,
    max: usize,
    wanted: usize,
    sums: Sums,
    load: Load,
    last: Option<Seen>,
    /// When something was last in the system.
    occupied_ns: u64,
    /// When a service last ended, or the pool last grew because none did.
    moved_ns: u64,
    /// Since when fewer have been enough, and the most that were needed since.
    enough: Option<(u64, usize)>,
    dwell_s: f64,
    shrunk_ns: Option<u64>,
    /// When the dwell last changed.
    settled_ns: u64,
}

impl Controller {
    /// Between `min` and `max`, beginning with `min`.
    pub(crate) fn new(min: usize, max: usize) -> Self {
        debug_assert!(0 < min && min <= max, "the settings were checked");
        Self {
            min,
            max,
            wanted: min,
            sums: Sums::default(),
            load: Load::default(),
            last: None,
            occupied_ns: 0,
            moved_ns: 0,
            enough: None,
            dwell_s: DWELL_MIN_S,
            shrunk_ns: None,
            settled_ns: 0,
        }
    }

    /// How many workers there should be from now on.
    pub(crate) fn decide(&mut self, seen: &Seen) -> usize {
        let Some(last) = self.last.replace(*seen) else {
            (self.occupied_ns, self.moved_ns) = (seen.at_ns, seen.at_ns);
            self.settled_ns = seen.at_ns;
            return self.wanted;
        };
        if seen.backlog > 0 || seen.at_work > 0 || seen.served > last.served {
            self.occupied_ns = seen.at_ns;
        } else if self.is_forgotten(seen.at_ns) {
            self.forget(seen.at_ns);
            return self.wanted;
        }
        if seen.served > last.served || seen.at_work.min(last.at_work) < self.wanted {
            self.moved_ns = seen.at_ns;
        }
        self.learn(&last, seen);
        let limit = seen.usable.min(self.max);
        let (strained, pressed) = (self.strained().min(limit), self.pressed(seen).min(limit));
        if self.wanted < pressed {
            // It is not the load any more that was measured.
            self.sums.keep_arrivals(SURPRISE_KEEPS);
        }
        match self.wanted < strained.max(pressed) {
            true => self.grow(strained.max(pressed), seen.at_ns),
            false => self.shrink(seen.at_ns),
        }
        self.wanted
    }

    /// What is known of the load.
    #[cfg(test)]
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    fn is_forgotten(&self, at_ns: u64) -> bool {
        let idle_s = seconds(at_ns, self.occupied_ns);
        FORGET_S.max(10.0 * self.load.service_mean_s) <= idle_s
    }

    /// As at the beginning: what comes next is another load. The services will be what they were, until others are seen.
    fn forget(&mut self, at_ns: u64) {
        let (last, load, sums, occupied_ns) = (self.last, self.load, self.sums, self.occupied_ns);
        *self = Self::new(self.min, self.max);
        (self.last, self.occupied_ns) = (last, occupied_ns);
        self.sums = sums;
        self.sums.keep_arrivals(0.0);
        (self.load.service_mean_s, self.load.cs2) = (load.service_mean_s, load.cs2);
        (self.moved_ns, self.settled_ns) = (at_ns, at_ns);
    }

    fn learn(&mut self, last: &Seen, seen: &Seen) {
        let past_s = seconds(seen.at_ns, last.at_ns);
        let memory_s = (MEMORY_SERVICES * self.load.service_mean_s).clamp(MEMORY_S, MEMORY_MAX_S);
        let served = seen.served.saturating_sub(last.served) as f64;
        let in_system = |seen: &Seen| seen.backlog as f64 + seen.at_work as f64;
        let arrivals = served + in_system(seen) - in_system(last);
        let keep = (-past_s / memory_s).exp();
        // What was spread over a long time has partly been forgotten on the way.
        let weight = if past_s > 0.0 { memory_s * (1.0 - keep) / past_s } else { 1.0 };
        let sums = &mut self.sums;
        sums.keep_arrivals(keep);
        // Few services say little, however old they are.
        sums.keep_services(keep.max((-served / MEMORY_SERVICES).exp()));
        sums.time_s += weight * past_s;
        sums.arrivals += weight * arrivals;
        sums.services += served;
        sums.service_s += seen.service_sum_s - last.service_sum_s;
        sums.service_s2 += seen.service_sum_s2 - last.service_sum_s2;
        let load = &mut self.load;
        if sums.time_s > 0.0 {
            load.arrival_per_s = (sums.arrivals / sums.time_s).max(0.0);
            let off = arrivals - load.arrival_per_s * past_s;
            sums.scatter += weight * off * off;
        }
        if sums.arrivals > 0.0 {
            load.ca2 = (sums.scatter / sums.arrivals).min(SCATTER_MAX);
        }
        // Without services the mean stays what it was.
        if served > 0.0 && sums.service_s > 0.0 {
            load.service_mean_s = sums.service_s / sums.services;
            let square = sums.service_s2 * sums.services / (sums.service_s * sums.service_s);
            load.cs2 = (square - 1.0).clamp(0.0, SCATTER_MAX);
        }
    }

    /// What the model needs, where what there is does not do.
    fn strained(&self) -> usize {
        let known = self.sums.arrivals >= ARRIVALS_MIN;
        let mark = Mark { wait_max: WAIT_HIGH, ..self.mark(1.0) };
        match known && self.wanted < self.max && !mark.is_met_by(self.wanted) {
            true => self.needed(1.0),
            false => self.min,
        }
    }

    /// What the model needs for so many times the load.
    fn needed(&self, times: f64) -> usize {
        self.mark(times).workers(self.max).clamp(self.min, self.max)
    }

    fn mark(&self, times: f64) -> Mark {
        let Load { ca2, cs2, .. } = self.load;
        Mark { offered: self.load.offered() * times, ca2, cs2, wait_max: WAIT_LOW }
    }

    /// What the backlog needs.
    fn pressed(&mut self, seen: &Seen) -> usize {
        if seen.usable <= self.wanted || seen.at_work < self.wanted {
            return self.min;
        }
        let (workers, service_s) = (self.wanted as f64, self.load.service_mean_s);
        let stalled_s = seconds(seen.at_ns, self.moved_ns);
        if stalled_s
            >= PATIENCE_S.max(STALL_SERVICES * self.load.cs2.max(1.0) * service_s / workers)
        {
            self.moved_ns = seen.at_ns;
            return self.wanted.saturating_mul(2);
        }
        let work_s = seen.backlog as f64 * service_s;
        let patience_s = PATIENCE_S.max(BACKLOG_MAX * service_s);
        match work_s > patience_s * workers {
            true => (self.load.offered() + work_s / patience_s).ceil() as usize,
            false => self.min,
        }
    }

    fn grow(&mut self, needed: usize, at_ns: u64) {
        let regret_s = REGRET_DWELLS * self.dwell_s();
        if self.shrunk_ns.take().is_some_and(|shrunk_ns| seconds(at_ns, shrunk_ns) < regret_s) {
            self.dwell_s = (2.0 * self.dwell_s()).min(DWELL_MAX_S);
            self.settled_ns = at_ns;
        }
        (self.wanted, self.enough) = (needed, None);
    }

    fn dwell_s(&self) -> f64 {
        self.dwell_s.max(DWELL_SERVICES * self.load.service_mean_s).min(DWELL_MAX_S)
    }

    fn shrink(&mut self, at_ns: u64) {
        if seconds(at_ns, self.settled_ns) >= REGRET_DWELLS * self.dwell_s() {
            self.dwell_s = (self.dwell_s / 2.0).max(DWELL_MIN_S);
            self.settled_ns = at_ns;
        }
        let needed = self.needed(MARGIN);
        if self.wanted <= needed {
            self.enough = None;
            return;
        }
        let (since_ns, most) = self.enough.unwrap_or((at_ns, needed));
        let most = most.max(needed);
        self.enough = Some((since_ns, most));
        if seconds(at_ns, since_ns) >= self.dwell_s() {
            self.wanted -= (self.wanted - most).div_ceil(4);
            self.enough = None;
            self.shrunk_ns = Some(at_ns);
        }
    }
}

fn seconds(later_ns: u64, earlier_ns: u64) -> f64 {
    later_ns.saturating_sub(earlier_ns) as f64 / 1e9
}

/// What workers are to achieve: no more than [`LOAD_HIGH`] of the time at work, and a mean wait of no more services than
/// `wait_max`, of `offered` erlangs, as the model of Allen and Cunneen has it. The unit of time is the mean service.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offered: f64,
    ca2: f64,
    cs2: f64,
    wait_max: f64,
}

impl Mark {
    /// The least number that does, `max` at most. Erlang's C costs a step a server, so the number is halved for.
    fn workers(&self, max: usize) -> usize {
        let (mut fails, mut does) = (0, max);
        while fails + 1 < does {
            let middle = fails + (does - fails) / 2;
            match self.is_met_by(middle) {
                true => does = middle,
                false => fails = middle,
            }
        }
        does
    }

    /// More workers never wait longer. Where there is no load, the model has no queue, and any number does.
    fn is_met_by(&self, workers: usize) -> bool {
        if self.offered > workers as f64 * LOAD_HIGH {
            return false;
        }
        let servers = u32::try_from(workers).unwrap_or(u32::MAX);
        let service = ServiceTime::new(1.0, self.cs2);
        let queue = service.and_then(|service| Ggc::new(self.offered, self.ca2, service, servers));
        queue.map_or(true, |queue| queue.waiting_mean_s() <= self.wait_max)
    }
}

#[cfg(test)]
#[path = "adaptive_simulated.rs"]
mod simulated;
