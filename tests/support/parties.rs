//! Parties to a queue: each draws its calls at random and makes them through the ends that it holds.

use super::history::{Answer, Call, Recorder};
use millstream::ring::{Receiver, Sender, TryRecvError, TrySendError};

/// Numbers that look random and are the same in every run: xorshift.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        // Small seeds made large, as splitmix64 does it; xorshift has no way out of 0.
        let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self((mixed ^ mixed >> 31) | 1)
    }

    /// A number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

/// One call of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Push,
    Pop,
    Length,
    IsEmpty,
    IsFull,
}

/// What one thread holds of the queue.
pub trait Party: Send {
    /// The steps that its ends can do, each as often as it shall be drawn.
    fn steps(&self) -> &'static [Step];

    /// Makes the call; the values that it pushes come from `values`.
    fn call(&mut self, step: Step, values: &mut dyn Iterator<Item = u64>) -> Vec<Answer>;
}

/// Every call of a queue with shared ends; pushes and pops most often.
const ALL: &[Step] = {
    use Step::*;
    &[Push, Push, Push, Push, Pop, Pop, Pop, Pop, Length, IsEmpty, IsFull]
};

/// Makes so many calls, drawn at random; no two threads push one value.
pub fn play(
    party: &mut dyn Party,
    thread: usize,
    calls: usize,
    mut draw: Draw,
    now: fn() -> u64,
) -> Vec<Call> {
    let mut values = (thread as u64 + 1) * 1000..;
    let mut recorder = Recorder::new(now);
    for _ in 0..calls {
        let step = party.steps()[draw.below(party.steps().len())];
        recorder.note(|| party.call(step, &mut values));
    }
    recorder.calls()
}

/// Both ends of a channel.
pub struct Both(pub Sender<u64>, pub Receiver<u64>);

impl Party for Both {
    fn steps(&self) -> &'static [Step] {
        ALL
    }

    fn call(&mut self, step: Step, values: &mut dyn Iterator<Item = u64>) -> Vec<Answer> {
        let Self(sender, receiver) = self;
        vec![match step {
            Step::Push => {
                let value = values.next().expect("numbers do not end");
                pushed(value, sender.try_send(value))
            }
            Step::Pop => popped(receiver.try_recv()),
            Step::Length => Answer::Length(sender.len()),
            Step::IsEmpty => Answer::IsEmpty(receiver.is_empty()),
            Step::IsFull => Answer::IsFull(sender.is_full()),
        }]
    }
}

fn pushed(value: u64, sent: Result<(), TrySendError<u64>>) -> Answer {
    match sent {
        Ok(()) => Answer::Pushed(value),
        Err(TrySendError::Full(back)) => {
            assert_eq!(back, value, "another value came back");
            Answer::Full
        }
        Err(TrySendError::Disconnected(_)) => panic!("a receiver is held"),
    }
}

fn popped(received: Result<u64, TryRecvError>) -> Answer {
    match received {
        Ok(value) => Answer::Popped(value),
        Err(TryRecvError::Empty) => Answer::Empty,
        Err(TryRecvError::Disconnected) => panic!("a sender is held"),
    }
}
