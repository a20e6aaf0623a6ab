//! What the laboratory asks of the operating system: a clock, exact sleep, and a footing for its threads.
//!
//! A thread takes its [`Held`] when it begins: a core of its own, exact timers, a priority, each if it is granted. Those of a
//! run stand in one [`Roll`], so that somebody else can count their switches before an engine's workers go.
//!
//! # Limits
//!
//! Linux only; elsewhere the clock is the standard library's, sleep is as exact as that, and nothing is granted.

use super::machine::{Footing, switches_of};
use crate::sync::Mutex;

#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
use elsewhere as system;

#[cfg(target_os = "linux")]
use crate::sys::running as system;

pub(super) use system::{monotonic_ns, sleep_until_ns};

/// The most exact that the kernel's timers can be asked to be.
const TIMER_SLACK_NS: u32 = 1;

/// Who gets which core.
#[derive(Debug, Clone)]
pub(super) struct Cores(Vec<usize>);

impl Cores {
    /// A core for each of `threads`, or none for any: some on shared cores and some not would be no footing at all.
    pub(super) fn for_threads(threads: usize) -> Self {
        let allowed = system::cores();
        Self(if allowed.len() < threads { Vec::new() } else { allowed })
    }

    /// Nobody is pinned.
    pub(super) fn shared() -> Self {
        Self(Vec::new())
    }

    /// The source's: the first, which often has the machine's interrupts too.
    fn source(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// A server's: from the last.
    fn server(&self, number: usize) -> Option<usize> {
        self.0.len().checked_sub(1 + number).map(|at| self.0[at])
    }
}

/// A thread of a run with what it was granted.
#[derive(Debug)]
struct Held {
    footing: Footing,
    thread_id: u32,
    began: Option<(u64, u64)>,
}

impl Held {
    /// Counts up to now, once.
    fn end(&mut self) {
        if let Some((slept, preempted)) = self.began.take()
            && let Some((slept_now, preempted_now)) = switches_of(self.thread_id)
        {
            self.footing.slept = Some(slept_now.saturating_sub(slept));
            self.footing.preempted = Some(preempted_now.saturating_sub(preempted));
        }
    }
}

/// The threads of a run.
#[derive(Debug)]
pub(super) struct Roll {
    cores: Cores,
    fifo: Option<u8>,
    held: Mutex<Vec<Held>>,
}

impl Roll {
    pub(super) fn new(cores: Cores, fifo: Option<u8>) -> Self {
        Self { cores, fifo, held: Mutex::new(Vec::new()) }
    }

    /// The calling thread is the source.
    pub(super) fn enter_source(&self) {
        self.enter("source", self.cores.source());
    }

    /// The calling thread is that server.
    pub(super) fn enter_server(&self, number: usize) {
        self.enter("server", self.cores.server(number));
    }

    fn enter(&self, role: &str, core: Option<usize>) {
        let footing = Footing {
            role: role.to_owned(),
            core: core.filter(|core| system::pin_to(*core)),
            timer_slack_ns: system::set_timer_slack_ns(TIMER_SLACK_NS),
            fifo: self.fifo.filter(|priority| system::set_fifo(*priority)),
            slept: None,
            preempted: None,
        };
        let held = Held { footing, thread_id: system::thread_id(), began: None };
        self.held.lock().push(held);
    }

    /// Counting begins for all that have entered.
    pub(super) fn begin(&self) {
        for each in self.held.lock().iter_mut() {
            each.began = switches_of(each.thread_id);
        }
    }

    /// The calling thread is about to end.
    pub(super) fn leave(&self) {
        let mine = system::thread_id();
        let mut held = self.held.lock();
        held.iter_mut().filter(|each| each.thread_id == mine).for_each(Held::end);
    }

    /// Counting ends for all that have not left.
    pub(super) fn end(&self) {
        self.held.lock().iter_mut().for_each(Held::end);
    }

    /// What they were granted: the source first.
    pub(super) fn footings(&self) -> Vec<Footing> {
        let mut footings: Vec<Footing> =
            self.held.lock().iter().map(|each| each.footing.clone()).collect();
        footings.sort_by_key(|footing| footing.role != "source");
        footings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_until_a_time_does_not_end_before_it() {
        for (now_ns, sleep) in [
            (system::monotonic_ns as fn() -> u64, system::sleep_until_ns as fn(u64)),
            (elsewhere::monotonic_ns, elsewhere::sleep_until_ns),
        ] {
            let before_ns = now_ns();
            sleep(before_ns + 200_000);
            assert!(now_ns() >= before_ns + 200_000);
            sleep(before_ns); // a time that has passed is no sleep
        }
    }

    #[test]
    fn cores_are_given_to_all_or_to_none() {
        let cores = Cores(vec![0, 2, 5]);
        assert_eq!((cores.source(), cores.server(0), cores.server(1)), (Some(0), Some(5), Some(2)));
        let none = Cores::for_threads(usize::MAX);
        assert_eq!((none.source(), none.server(0)), (None, None));
        assert_eq!((elsewhere::cores(), elsewhere::pin_to(0)), (Vec::new(), false));
        assert_eq!((elsewhere::set_timer_slack_ns(1), elsewhere::set_fifo(1)), (None, false));
        assert_eq!(elsewhere::thread_id(), 0);
    }

    #[test]
    fn the_roll_says_what_was_granted_and_counts_from_begin_to_end() {
        let roll = Roll::new(Cores::for_threads(1), None);
        crate::sync::thread::scope(|scope| {
            scope.spawn(|| {
                roll.enter_server(0);
                roll.begin();
                sleep_until_ns(monotonic_ns() + 100_000);
                roll.leave();
            });
        });
        roll.enter_source();
        roll.end();
        let footings = roll.footings();
        assert_eq!((&*footings[0].role, &*footings[1].role), ("source", "server"));
        assert_eq!(footings[0].slept, None, "it came after the beginning");
        if cfg!(target_os = "linux") {
            assert!(footings[1].core.is_some());
            assert!(footings[1].slept >= Some(1));
        }
    }
}
