//! Histories of a bounded queue, and the search that tells whether one could have been.
//!
//! A history is what each thread called, in its order, with the times between which each call took place. It is
//! *linearizable* if the calls can be put in one order in which a plain bounded queue gives every answer, and which
//! never puts a call before one that had ended when it began: each call took effect at one moment between its
//! start and its end. Full, Empty and lengths are answers like any other: a false one is as wrong as a lost value.
//!
//! A batch is as many calls as it moved values, all of one interval, in their order: each value goes in or out at its
//! own moment, and others' may come between.
//!
//! # The search
//!
//! Depth first over the calls that may come next: the next of each thread, if it began before the earliest end of a
//! call that is not placed yet. What remains to be done depends on nothing but how far each thread is and what the
//! queue holds; such a state is entered once. Exponential at worst, some hundred states in practice.
//!
//! # The clock
//!
//! The times come from the caller. They must not claim an order that there was not: a start is read before the call's
//! first step, an end after its last. A clock that orders more than that hides faults (see `linearizability.rs`).
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects", 1993; the set of visited states is from Lowe,
//! "Testing for linearizability", 2017.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write;

/// What a call asked and was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The value went in.
    Pushed(u64),
    /// A push found no room.
    Full,
    /// The value came out.
    Popped(u64),
    /// A pop found nothing.
    Empty,
    /// This value would come next, or there was none.
    Front(Option<u64>),
    /// There were so many values.
    Length(usize),
    /// Was there nothing?
    IsEmpty(bool),
    /// Was there no room?
    IsFull(bool),
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// What it was told.
    pub answer: Answer,
    /// When it had not begun yet.
    pub start: u64,
    /// When it had ended.
    pub end: u64,
}

/// The calls of one thread, as they happen.
pub struct Recorder {
    now: fn() -> u64,
    calls: Vec<Call>,
}

impl Recorder {
    /// Nothing was called; `now` is the clock.
    pub fn new(now: fn() -> u64) -> Self {
        Self { now, calls: Vec::new() }
    }

    /// Makes a call, or a batch of them, between two readings of the clock.
    pub fn note<A: IntoIterator<Item = Answer>>(&mut self, call: impl FnOnce() -> A) {
        let start = (self.now)();
        let answers = call();
        let end = (self.now)();
        self.calls.extend(answers.into_iter().map(|answer| Call { answer, start, end }));
    }

    /// What was called.
    pub fn calls(self) -> Vec<Call> {
        self.calls
    }
}

/// What the search came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// There is an order that a bounded queue explains.
    pub linearizable: bool,
    /// States that the search entered.
    pub states: usize,
}

/// Searches for an order of the calls of all threads that a queue of that capacity, empty at first, explains.
pub fn judge(history: &[Vec<Call>], capacity: usize) -> Verdict {
    let mut search = Search {
        history,
        capacity,
        placed: vec![0; history.len()],
        queue: VecDeque::new(),
        seen: HashSet::new(),
    };
    let linearizable = search.finds_an_order();
    Verdict { linearizable, states: search.seen.len() }
}

/// The history for a reader, a thread a line.
pub fn told(history: &[Vec<Call>]) -> String {
    let mut text = String::new();
    for (thread, calls) in history.iter().enumerate() {
        let _ = write!(text, "thread {thread}:");
        for Call { answer, start, end } in calls {
            let _ = write!(text, "  {start}-{end} {answer:?}");
        }
        text.push('\n');
    }
    text
}

struct Search<'a> {
    history: &'a [Vec<Call>],
    capacity: usize,
    /// Of each thread: how many of its calls have their place in the order.
    placed: Vec<usize>,
    /// What the queue holds after them.
    queue: VecDeque<u64>,
    seen: HashSet<Box<[u64]>>,
}

impl Search<'_> {
    /// Can the rest be put in an order?
    fn finds_an_order(&mut self) -> bool {
        let rest = self.history.iter().zip(&self.placed).filter_map(|(calls, at)| calls.get(*at));
        let Some(deadline) = rest.map(|call| call.end).min() else { return true };
        let state = self.placed.iter().map(|at| *at as u64).chain(self.queue.iter().copied());
        if !self.seen.insert(state.collect()) {
            return false;
        }
        for thread in 0..self.history.len() {
            let next = self.history[thread].get(self.placed[thread]).copied();
            let Some(call) = next.filter(|call| call.start <= deadline) else { continue };
            if !self.apply(call.answer) {
                continue;
            }
            self.placed[thread] += 1;
            if self.finds_an_order() {
                return true;
            }
            self.placed[thread] -= 1;
            self.undo(call.answer);
        }
        false
    }

    /// Makes the call, if the queue gives that answer now.
    fn apply(&mut self, answer: Answer) -> bool {
        let held = self.queue.len();
        let given = match answer {
            Answer::Pushed(_) => held < self.capacity,
            Answer::Popped(value) => self.queue.front() == Some(&value),
            Answer::Full => held == self.capacity,
            Answer::Empty => held == 0,
            Answer::Front(value) => self.queue.front().copied() == value,
            Answer::Length(length) => held == length,
            Answer::IsEmpty(empty) => (held == 0) == empty,
            Answer::IsFull(full) => (held == self.capacity) == full,
        };
        match answer {
            Answer::Pushed(value) if given => self.queue.push_back(value),
            Answer::Popped(_) if given => drop(self.queue.pop_front()),
            _ => {}
        }
        given
    }

    fn undo(&mut self, answer: Answer) {
        match answer {
            Answer::Pushed(_) => drop(self.queue.pop_back()),
            Answer::Popped(value) => self.queue.push_front(value),
            _ => {}
        }
    }
}
