//! `Preparer`: how writers and the thread that prepares the log ahead of them find one another.
//!
//! ```text
//!   writer                                     housekeeping thread
//!   near the end: kick ---- kicked, work ----> sleep
//!                                              a step at a time: prepare, raise the limit [L4],
//!   at the end:   wait_for <----- room ------- then under the lock: tell those who wait, or why it is refused
//!                 (needed, waiting) -- work -> rest: a pause between steps, none while a writer waits
//! ```
//!
//! What is prepared, and how, is the [`Ground`]'s: the log's files (`prepare`), or a model's cells.
//!
//! # Orderings
//!
//! `kicked` is [relaxed]: it saves writers the lock. A kick that is lost in a race with the thread falling asleep comes
//! again with the next append, and a writer that has to wait rings under the lock. All else is under the lock, or [L4]
//! of `tail`.
//!
//! # Limits
//!
//! One thread prepares. A writer waits for as long as a step takes; it is never left behind: each step, each refusal and
//! the end of the thread tell every writer that waits.

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, mutant, passed};
use std::time::{Duration, Instant};

/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What is prepared ahead of the writers.
pub trait Ground {
    /// Why a step was refused.
    type Refusal: Clone;
    /// How far it is prepared.
    fn limit(&self) -> u64;
    /// How far it should be prepared now, if some writer has needed it up to `needed`.
    fn wanted(&self, needed: u64) -> u64;
    /// Do the writers have enough before them for the thread to take its time?
    fn has_plenty(&self) -> bool;
    /// Prepares one step from `limit` on, and raises the limit; durable before that if nobody is in a hurry.
    ///
    /// # Errors
    ///
    /// The system refused; the limit is where it was.
    fn prepare(&self, limit: u64, calm: bool) -> Result<(), Self::Refusal>;
    /// A writer kicked, and the thread is awake: what is to be done at once, and soon done.
    fn on_kick(&self) {}
    /// What else there is to do while no writer is in need.
    fn at_leisure(&self);
}

/// What writers and the housekeeping thread say to one another.
#[derive(Debug)]
pub struct Preparer<R> {
    kicked: AtomicBool,
    state: Mutex<State<R>>,
    work: Condvar,
    room: Condvar,
}

#[derive(Debug)]
struct State<R> {
    stop: bool,
    waiting: usize,
    /// How far some writer has needed the log to be prepared.
    needed: u64,
    refusals: u64,
    refusal: Option<R>,
}

/// Why there is no room.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoom<R> {
    /// The log is closing.
    Stopped,
    /// The system refused.
    Refused(R),
}

impl<R> Default for Preparer<R> {
    fn default() -> Self {
        let state = State { stop: false, waiting: 0, needed: 0, refusals: 0, refusal: None };
        Self {
            kicked: AtomicBool::new(false),
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }
}

impl<R: Clone> Preparer<R> {
    /// A writer came near the prepared end.
    pub fn kick(&self) {
        let rung = self.kicked.load(Ordering::Relaxed); // [relaxed]
        if rung {
            return;
        }
        let rung = self.kicked.swap(true, Ordering::Relaxed); // [relaxed]
        if rung {
            return;
        }
        // The thread looks and falls asleep under the lock, so it has not looked yet, or it sleeps.
        let _state = (!mutant("kick_unlocked")).then(|| self.state.lock());
        self.work.notify_one();
    }

    /// Waits until the log is prepared up to `need`.
    ///
    /// # Errors
    ///
    /// An attempt that ended since was refused, or the log is closing.
    pub fn wait_for(&self, need: u64, ground: &impl Ground<Refusal = R>) -> Result<(), NoRoom<R>> {
        let mut state = self.state.lock();
        let mut refusals = state.refusals;
        state.waiting += 1;
        if !mutant("need_unsaid") {
            state.needed = state.needed.max(need);
        }
        self.kicked.store(!mutant("wait_unkicked"), Ordering::Relaxed); // [relaxed] under the lock
        if !mutant("wait_unrung") {
            self.work.notify_one();
        }
        let outcome = loop {
            if ground.limit() >= need {
                break Ok(());
            }
            if state.stop {
                break Err(NoRoom::Stopped);
            }
            if state.refusals != refusals {
                refusals = state.refusals;
                if let Some(refusal) = state.refusal.clone() {
                    break Err(NoRoom::Refused(refusal));
                }
            }
            state = self.room.wait(state);
        };
        state.waiting -= 1;
        outcome
    }

    /// Does a writer wait, or the end? What is done at leisure stops then.
    pub fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        state.stop || state.waiting > 0
    }

    /// Did the last attempt to prepare fail?
    #[cfg(test)]
    pub(crate) fn is_refused(&self) -> bool {
        self.state.lock().refusal.is_some()
    }

    /// Ends the thread; writers that wait are told.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stop = true;
        if !mutant("stop_untold_to_thread") {
            self.work.notify_all();
        }
        if !mutant("stop_untold_to_writers") {
            self.room.notify_all();
        }
    }

    /// The housekeeping thread.
    pub fn run(&self, ground: &impl Ground<Refusal = R>) {
        while self.sleep() {
            ground.on_kick();
            while let Some(pause) = self.work_once(ground) {
                let in_haste = pause.is_zero();
                if !in_haste {
                    ground.at_leisure();
                }
                if !self.rest(pause, ground) {
                    return;
                }
            }
            ground.at_leisure();
        }
    }

    /// Sleeps until there is work; false when the log closes.
    fn sleep(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return false;
            }
            // After a refusal it is tried again for a writer who needs it, not ahead of need; and `kicked` stays, so
            // that writers do not ring in vain.
            let needed = state.waiting > 0 && !mutant("never_again");
            let worthwhile = needed || state.refusal.is_none();
            let rung = worthwhile && self.kicked.swap(false, Ordering::Relaxed); // [relaxed]
            if rung {
                return true;
            }
            state = self.work.wait(state);
        }
    }

    /// Pauses, unless a writer waits; false when the log closes.
    fn rest(&self, pause: Duration, ground: &impl Ground<Refusal = R>) -> bool {
        let deadline = Instant::now() + pause;
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return false;
            }
            if state.waiting > 0 {
                return true;
            }
            // Whatever else the writer wanted, the next step looks at it.
            let rung = self.kicked.swap(false, Ordering::Relaxed); // [relaxed]
            if rung {
                drop(state);
                ground.on_kick();
                state = self.state.lock();
                if passed(Some(deadline)) {
                    return !state.stop; // however often it is kicked, the next step comes
                }
                continue;
            }
            let (again, over) = self.work.wait_until(state, deadline);
            if over {
                return !again.stop;
            }
            state = again;
        }
    }

    /// Prepares one step, if one is wanted. Answers the pause that is due after it.
    fn work_once(&self, ground: &impl Ground<Refusal = R>) -> Option<Duration> {
        let limit = ground.limit();
        let needed = self.state.lock().needed;
        if limit >= ground.wanted(needed) {
            return None;
        }
        let calm = self.state.lock().waiting == 0 && ground.has_plenty();
        let started = Instant::now();
        let outcome = ground.prepare(limit, calm);
        let mut state = self.state.lock();
        if !mutant("step_untold") {
            self.room.notify_all();
        }
        state.refusal = outcome.err();
        if state.refusal.is_some() {
            state.refusals += u64::from(!mutant("refusal_uncounted"));
            return None;
        }
        Some(if calm { started.elapsed().min(PAUSE_MAX) } else { Duration::ZERO })
    }
}
