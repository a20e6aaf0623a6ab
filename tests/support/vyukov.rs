//! The control: a ring that loses and doubles nothing, and whose Full and Empty are false now and then.
//!
//! A push claims a position by moving `tail`, and publishes it later by the entry's turn. Between the two a pop finds
//! the head's entry not ready and says Empty, though a later push has ended; and the other way round for Full. A method that
//! does not see that sees nothing.
//!
//! Source: Dmitry Vyukov's bounded queue.

use super::history::Answer;
use super::parties::{Party, Step};
use std::sync::Arc;

#[cfg(shuttle)]
use shuttle::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(shuttle))]
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets others run between the claim and the publication; under shuttle they may run at any step.
fn pause() {
    #[cfg(not(shuttle))]
    std::thread::yield_now();
}

/// See the page above. Every access is sequentially consistent: the fault is one of steps, not of memory.
pub struct Vyukov {
    turns: Box<[AtomicU64]>,
    values: Box<[AtomicU64]>,
    head: AtomicU64,
    tail: AtomicU64,
}

impl Vyukov {
    /// An empty ring. (At capacity 1 "full" and "empty a lap later" are one turn: not for this one.)
    pub fn new(capacity: u64) -> Self {
        assert!(capacity > 1);
        Self {
            turns: (0..capacity).map(AtomicU64::new).collect(),
            values: (0..capacity).map(|_| AtomicU64::new(0)).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
        }
    }

    /// False if there is no room, or seems to be none.
    fn push(&self, value: u64) -> bool {
        let Some(at) = self.claim(&self.tail, 0) else { return false };
        pause();
        self.values[self.index(at)].store(value, Ordering::SeqCst);
        self.turns[self.index(at)].store(at + 1, Ordering::SeqCst);
        true
    }

    /// None if there is nothing, or seems to be.
    fn pop(&self) -> Option<u64> {
        let at = self.claim(&self.head, 1)?;
        pause();
        let value = self.values[self.index(at)].load(Ordering::SeqCst);
        self.turns[self.index(at)].store(at + self.turns.len() as u64, Ordering::SeqCst);
        Some(value)
    }

    /// The next position of that side, whose entry is ready when its turn is the position plus `ready`.
    fn claim(&self, side: &AtomicU64, ready: u64) -> Option<u64> {
        let mut at = side.load(Ordering::SeqCst);
        loop {
            let turn = self.turns[self.index(at)].load(Ordering::SeqCst);
            if turn < at + ready {
                return None;
            }
            let mine = turn == at + ready
                && side.compare_exchange(at, at + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if mine {
                return Some(at);
            }
            at = side.load(Ordering::SeqCst);
        }
    }

    fn index(&self, at: u64) -> usize {
        (at % self.turns.len() as u64) as usize
    }
}

/// A share in that ring.
pub struct Control(pub Arc<Vyukov>);

impl Party for Control {
    fn steps(&self) -> Vec<Step> {
        vec![Step::Push, Step::Pop]
    }

    fn call(&mut self, step: Step, values: &mut dyn Iterator<Item = u64>) -> Vec<Answer> {
        vec![match step {
            Step::Push => {
                let value = values.next().expect("numbers do not end");
                if self.0.push(value) { Answer::Pushed(value) } else { Answer::Full }
            }
            Step::Pop => self.0.pop().map_or(Answer::Empty, Answer::Popped),
            _ => unreachable!("not among its steps"),
        }]
    }
}
