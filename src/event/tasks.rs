//! The tasks that wait for an event count, each with the waker it left.
//!
//! A task has no stack to sleep on, so it leaves its waker in a list and returns. It is counted in the event count's word
//! like a thread. Entering the list and the count happens under the list's lock, and so does being chosen.
//!
//! | a registration ends | how |
//! | --- | --- |
//! | chosen | a notifier took the waker out of the list, and wakes it after the lock is open |
//! | cancelled | the task took its waker out, and its count too if no notification came since; else it passes one on |
//!
//! A task that finds itself chosen may have the only wake there was. It looks, or, if it is dropped before it could, passes
//! the wake on.
//!
//! # Orderings
//!
//! \[relaxed\]: `any` is written under the lock, before the count; a notifier reads it after the CAS that took a count.
//! Pair E3 of the event count's page orders the two.
//!
//! # Limits
//!
//! One entry for each waiting task. A waker is code of somebody else's: it is cloned before the lock is taken, and woken and
//! dropped after it was opened. The list is searched by bisection: its numbers rise.

use super::{EventCount, Key};
use crate::sync::{AtomicUsize, Mutex, Ordering, mutant};
use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

/// A task's registration. It goes to [`EventCount::cancel_task`] in the end, whether it was chosen or not.
#[must_use = "a registration that is not cancelled takes somebody's wake-up"]
#[derive(Debug)]
pub struct TaskKey {
    key: Key,
    number: u64,
}

/// See the page above.
pub(super) struct Tasks {
    /// Entries in the list.
    any: AtomicUsize,
    list: Mutex<List>,
}

struct List {
    waiting: VecDeque<Waiting>,
    /// The next registration's number.
    next: u64,
}

struct Waiting {
    number: u64,
    waker: Waker,
}

impl TaskKey {
    /// Does every notifier see the registration? If not, the task must look again soon by itself.
    pub fn is_sure(&self) -> bool {
        self.key.sure
    }
}

impl Tasks {
    pub(super) fn new() -> Self {
        let list = List { waiting: VecDeque::new(), next: 0 };
        Self { any: AtomicUsize::new(0), list: Mutex::new(list) }
    }

    /// Wakes a task that was chosen.
    pub(super) fn wake(&self, waker: Waker) {
        let _held = mutant("wake_locked").then(|| self.list.lock());
        waker.wake();
    }

    /// Takes the oldest task out of the list, to be woken.
    pub(super) fn choose(&self) -> Option<Waker> {
        let any = self.any.load(Ordering::Relaxed); // [relaxed]
        if any == 0 {
            return None;
        }
        let mut list = self.list.lock();
        let chosen = list.waiting.pop_front()?;
        self.any.store(list.waiting.len(), Ordering::Relaxed); // [relaxed] under the lock
        Some(chosen.waker)
    }

    /// Takes a registration out, unless it was chosen.
    fn remove(&self, number: u64) -> Option<Waiting> {
        let mut list = self.list.lock();
        let place = list.place(number)?;
        let waiting = list.waiting.remove(place);
        self.any.store(list.waiting.len(), Ordering::Relaxed); // [relaxed] under the lock
        waiting
    }
}

impl List {
    fn place(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Tasks { .. }")
    }
}

impl EventCount {
    /// Registers a task, which must look at the condition again before it returns.
    pub fn listen_task(&self, waker: &Waker) -> TaskKey {
        let waker = waker.clone();
        let mut list = self.tasks.list.lock();
        let early = if mutant("any_late") { Some(self.count_task()) } else { None };
        self.tasks.any.store(list.waiting.len() + 1, Ordering::Relaxed); // [relaxed] under the lock
        let before = early.unwrap_or_else(|| self.count_task());
        let number = list.next;
        list.next += 1;
        list.waiting.push_back(Waiting { number, waker });
        drop(list);
        TaskKey { key: self.registered(before), number }
    }

    /// Is the registration still waiting to be chosen? If so it has that waker from now on.
    pub fn is_listening(&self, key: &TaskKey, waker: &Waker) -> bool {
        let list = self.tasks.list.lock();
        let Some(place) = list.place(key.number) else { return false };
        if list.waiting[place].waker.will_wake(waker) || mutant("keep_waker") {
            return true;
        }
        drop(list);
        let mut waker = waker.clone();
        let mut list = self.tasks.list.lock();
        let Some(place) = list.place(key.number) else { return false };
        std::mem::swap(&mut list.waiting[place].waker, &mut waker);
        drop(list); // before the old waker
        true
    }

    /// Ends a registration. Whoever was chosen, and did not find the condition true, passes the wake on by this.
    pub fn cancel_task(&self, key: TaskKey) {
        match self.tasks.remove(key.number) {
            Some(waiting) => {
                drop(waiting.waker);
                self.withdraw(&key.key);
            }
            None if mutant("task_keeps_wake") => {}
            None => self.wake(1),
        }
    }
}
