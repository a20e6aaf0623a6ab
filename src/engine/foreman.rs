//! The thread that gives an engine with adaptive workers more of them, or fewer: it looks, asks `adaptive`, and acts.
//!
//! ```text
//!   off duty ── the bell: all are at work ──> on duty: a look every TICK, as long as anything waits or there are more than
//!      ^                                          │     workers than the minimum, and CALM_TICKS beyond
//!      └── somebody is idle: sleep on the bell ───┤
//!                                                 └── all are in long handlers, nothing waits: in the row of the sleepers,
//!                                                     where the next publish wakes it
//! ```
//!
//! So it costs nothing while nothing waits: no timer runs then, whatever the handlers do. It has no part in a message's
//! way, and while all its workers are inside handlers it alone is outside. See `crew` for who wakes it, and why it is
//! always woken.
//!
//! What it measures is written by the workers, each in a line of its own: a load, an addition and a store a message, and
//! two looks at the clock.
//!
//! # Orderings
//!
//! The sums are [relaxed]: each is written by one thread, and nothing else is read on its word. A look may see a service
//! in one sum and not yet in the other; the next look has both.
//!
//! # Limits
//!
//! A thread that cannot be started is tried again after [`START_AGAIN`]; until then there are as many as could be. What
//! the system said is in the engine's statistics.

use super::adaptive::{Controller, Seen};
use super::crew::Crew;
use super::roster::Roster;
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::time::{Duration, Instant};

/// Between two looks.
const TICK: Duration = Duration::from_millis(5);
/// So often it looks on after nothing waits any more and nobody is too many.
const CALM_TICKS: u32 = 20;
/// When to try again what the system refused.
const START_AGAIN: Duration = Duration::from_secs(1);

/// What one worker has done.
#[derive(Default)]
struct Tally {
    served: AtomicU64,
    /// In nanoseconds.
    service_ns: AtomicU64,
    /// The bits of an `f64`, in square seconds.
    squares_s2: AtomicU64,
}

/// What the workers have done.
pub(super) struct Tallies {
    workers: Box<[CachePadded<Tally>]>,
}

impl Tallies {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| CachePadded::default()).collect() }
    }

    /// The worker of that number, who alone calls this with it, has ended a service.
    pub(super) fn add(&self, worker: usize, service: Duration) {
        let tally = &self.workers[worker];
        let bump = |sum: &AtomicU64, change: &dyn Fn(u64) -> u64| {
            sum.store(change(sum.load(Ordering::Relaxed)), Ordering::Relaxed); // [relaxed] [relaxed]
        };
        bump(&tally.served, &|served| served + 1);
        let service_ns = crate::clock::saturating_ns(service);
        bump(&tally.service_ns, &|sum_ns| sum_ns.saturating_add(service_ns));
        let square_s2 = service.as_secs_f64().powi(2);
        bump(&tally.squares_s2, &|bits| (f64::from_bits(bits) + square_s2).to_bits());
    }

    /// How many services, and the sums of their lengths and squares, in seconds.
    fn sums(&self) -> (u64, f64, f64) {
        let load = |sum: &AtomicU64| sum.load(Ordering::Relaxed); // [relaxed]
        self.workers.iter().fold((0, 0.0, 0.0), |(served, sum_s, sum_s2), tally| {
            (
                served + load(&tally.served),
                sum_s + load(&tally.service_ns) as f64 / 1e9,
                sum_s2 + f64::from_bits(load(&tally.squares_s2)),
            )
        })
    }
}

/// What waits, as far as a look tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    /// How many messages wait for any worker.
    pub(super) messages: u64,
    /// How many more workers could take one now.
    pub(super) takers: usize,
}

/// What it looks at and acts upon.
pub(super) trait Site {
    fn is_stopped(&self) -> bool;
    /// What waits now; retries that are due count.
    fn backlog(&self) -> Backlog;
    /// When the next retry is due; those that are now, are made known.
    fn due(&self) -> Option<Instant>;
    /// Starts one more worker, which parks.
    fn start(&self) -> std::io::Result<()>;
    /// The system refused one.
    fn refused(&self, error: std::io::Error);
}

/// See the module's page.
pub(super) struct Foreman<'a, S> {
    site: &'a S,
    crew: &'a Crew,
    roster: &'a Roster,
    tallies: &'a Tallies,
    controller: Controller,
    min: usize,
    started: usize,
    /// Not before then another thread is tried.
    again: Option<Instant>,
}

impl<'a, S: Site> Foreman<'a, S> {
    /// Of a crew of `min` workers, which have been started.
    pub(super) fn new(
        site: &'a S,
        crew: &'a Crew,
        roster: &'a Roster,
        tallies: &'a Tallies,
        min: usize,
    ) -> Self {
        let controller = Controller::new(min, tallies.workers.len());
        Self { site, crew, roster, tallies, controller, min, started: min, again: None }
    }

    /// Until the engine stops.
    pub(super) fn work(&mut self) {
        let opened = Instant::now();
        let stopped = || self.site.is_stopped();
        let mut calm_ticks = CALM_TICKS;
        while !self.site.is_stopped() {
            let now = Instant::now();
            let backlog = self.site.backlog();
            let wanted = self.controller.decide(&self.seen(now - opened, backlog));
            self.bring_to(wanted, now);
            let calm = backlog == Backlog::default() && self.crew.wanted() == self.min;
            calm_ticks = if calm { calm_ticks.saturating_add(1) } else { 0 };
            if calm_ticks <= CALM_TICKS {
                self.crew.wait_until(now + TICK, stopped);
                continue;
            }
            if self.crew.all_at_work() {
                let enough = || {
                    let all_at_work = self.crew.all_at_work();
                    self.site.is_stopped() || !all_at_work || self.site.backlog().takers > 0
                };
                self.roster.overhear(enough, || self.site.due());
            } else {
                self.crew.wait_for_bell(stopped);
            }
            // One look after a rest, and more only if that shows something.
            calm_ticks = CALM_TICKS - 1;
        }
    }

    fn seen(&self, since_open: Duration, backlog: Backlog) -> Seen {
        let (served, service_sum_s, service_sum_s2) = self.tallies.sums();
        let at_work = self.crew.at_work();
        Seen {
            at_ns: crate::clock::saturating_ns(since_open),
            served,
            service_sum_s,
            service_sum_s2,
            backlog: backlog.messages,
            at_work,
            usable: at_work.saturating_add(backlog.takers),
        }
    }

    /// As many workers as are wanted, or as the system allows.
    fn bring_to(&mut self, wanted: usize, now: Instant) {
        while self.started < wanted && self.again.is_none_or(|again| again <= now) {
            self.again = None;
            match self.site.start() {
                Ok(()) => self.started += 1,
                Err(error) => {
                    self.site.refused(error);
                    self.again = Some(now + START_AGAIN);
                }
            }
        }
        let wanted = wanted.min(self.started);
        if wanted != self.crew.wanted() {
            let surplus = self.crew.want(wanted);
            self.roster.wake(surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicUsize, Mutex};

    #[test]
    fn tallies_are_summed_over_the_workers() {
        let tallies = Tallies::new(2);
        tallies.add(0, Duration::from_secs(1));
        tallies.add(0, Duration::from_secs(2));
        tallies.add(1, Duration::from_secs(3));
        assert_eq!(tallies.sums(), (3, 6.0, 14.0));
    }

    /// A system that gives two threads and no more.
    struct Stingy {
        left: AtomicUsize,
        asked: AtomicUsize,
        last: Mutex<Option<std::io::ErrorKind>>,
    }

    impl Site for Stingy {
        fn is_stopped(&self) -> bool {
            true
        }
        fn backlog(&self) -> Backlog {
            Backlog::default()
        }
        fn due(&self) -> Option<Instant> {
            None
        }
        fn start(&self) -> std::io::Result<()> {
            self.asked.fetch_add(1, Ordering::Relaxed); // [relaxed] one thread
            let left = self.left.load(Ordering::Relaxed); // [relaxed] one thread
            let less = left.checked_sub(1).ok_or(std::io::ErrorKind::WouldBlock)?;
            self.left.store(less, Ordering::Relaxed); // [relaxed] one thread
            Ok(())
        }
        fn refused(&self, error: std::io::Error) {
            *self.last.lock() = Some(error.kind());
        }
    }

    /// Promise: a thread that the system refuses is no failure of the engine: fewer workers, and another try later.
    #[test]
    fn a_refused_thread_is_told_and_tried_again_later() {
        let site = Stingy {
            left: AtomicUsize::new(2),
            asked: AtomicUsize::new(0),
            last: Mutex::new(None),
        };
        let (crew, roster, tallies) = (Crew::new(1), Roster::new(), Tallies::new(8));
        let mut foreman = Foreman::new(&site, &crew, &roster, &tallies, 1);
        let now = Instant::now();
        foreman.bring_to(8, now);
        let asked = || site.asked.load(Ordering::Relaxed); // [relaxed] one thread
        assert_eq!((crew.wanted(), asked()), (3, 3));
        assert_eq!(*site.last.lock(), Some(std::io::ErrorKind::WouldBlock));
        foreman.bring_to(8, now + START_AGAIN / 2);
        assert_eq!(asked(), 3);
        site.left.store(9, Ordering::Relaxed); // [relaxed] one thread
        foreman.bring_to(8, now + START_AGAIN);
        assert_eq!((crew.wanted(), asked()), (8, 8));
    }
}
