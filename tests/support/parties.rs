//! Parties to a queue: each draws its calls at random and makes them through the ends that it holds.

use super::history::{Answer, Call, Recorder};
use millstream::ring::{
    Consumer, One, Producer, Receiver, Sender, TryRecvError, TrySendError, Unsent,
};

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
    /// Up to so many at once.
    PushMany(usize),
    PopMany(usize),
    Peek,
    Length,
    IsEmpty,
    IsFull,
    /// An end that is alone becomes one that may have company, or the other way round. No call of the queue.
    Turn,
}

/// What one thread holds of the queue.
pub trait Party: Send {
    /// The steps that its ends can do, each as often as it shall be drawn.
    fn steps(&self) -> Vec<Step>;

    /// Makes the call; the values that it pushes come from `values`.
    fn call(&mut self, step: Step, values: &mut dyn Iterator<Item = u64>) -> Vec<Answer>;
}

/// Makes so many calls, drawn at random; no two threads push one value.
pub fn play(
    party: &mut dyn Party,
    thread: usize,
    calls: usize,
    mut draw: Draw,
    now: fn() -> u64,
) -> Vec<Call> {
    let mut values = (thread as u64 + 1) * 1000..;
    let (mut recorder, steps) = (Recorder::new(now), party.steps());
    for _ in 0..calls {
        let step = steps[draw.below(steps.len())];
        recorder.note(|| party.call(step, &mut values));
    }
    recorder.calls()
}

/// Takes out what is left, and finds nothing more, if its ends can.
pub fn take_the_rest(party: &mut dyn Party, now: fn() -> u64) -> Vec<Call> {
    let mut recorder = Recorder::new(now);
    let mut more = party.steps().contains(&Step::Pop);
    while more {
        recorder.note(|| {
            let answers = party.call(Step::Pop, &mut std::iter::empty());
            more = !answers.contains(&Answer::Empty);
            answers
        });
    }
    recorder.calls()
}

/// A sending end of either kind.
pub trait Gives: Send {
    fn give(&mut self, value: u64) -> Result<(), TrySendError<u64>>;
    fn give_many(&mut self, values: Vec<u64>) -> Result<usize, TrySendError<Unsent<Values>>>;
    fn length(&self) -> usize;
    fn is_full(&self) -> bool;
    /// The other kind, if that is possible now.
    fn turned(self: Box<Self>) -> Box<dyn Gives>;
}

pub type Values = std::vec::IntoIter<u64>;

/// A receiving end of either kind.
pub trait Takes: Send {
    fn take(&mut self) -> Result<u64, TryRecvError>;
    fn take_many(&mut self, into: &mut Vec<u64>, limit: usize) -> Result<usize, TryRecvError>;
    /// None for an end that cannot look without taking.
    fn front(&mut self) -> Option<Option<u64>>;
    fn length(&self) -> usize;
    fn is_empty(&self) -> bool;
    fn turned(self: Box<Self>) -> Box<dyn Takes>;
}

macro_rules! gives {
    ($End:ty, $end:ident => $turned:expr) => {
        impl Gives for $End {
            fn give(&mut self, value: u64) -> Result<(), TrySendError<u64>> {
                self.try_send(value)
            }
            fn give_many(
                &mut self,
                values: Vec<u64>,
            ) -> Result<usize, TrySendError<Unsent<Values>>> {
                self.try_send_many(values)
            }
            fn length(&self) -> usize {
                self.len()
            }
            fn is_full(&self) -> bool {
                self.is_full()
            }
            fn turned(self: Box<Self>) -> Box<dyn Gives> {
                let $end = *self;
                $turned
            }
        }
    };
}

macro_rules! takes {
    ($End:ty, $end:ident => $turned:expr, $receiver:ident => $front:expr) => {
        impl Takes for $End {
            fn take(&mut self) -> Result<u64, TryRecvError> {
                self.try_recv()
            }
            fn take_many(
                &mut self,
                into: &mut Vec<u64>,
                limit: usize,
            ) -> Result<usize, TryRecvError> {
                self.try_recv_many(into, limit)
            }
            fn front(&mut self) -> Option<Option<u64>> {
                let $receiver = self;
                $front
            }
            fn length(&self) -> usize {
                self.len()
            }
            fn is_empty(&self) -> bool {
                self.is_empty()
            }
            fn turned(self: Box<Self>) -> Box<dyn Takes> {
                let $end = *self;
                $turned
            }
        }
    };
}

gives!(Producer<u64>, end => Box::new(end.into_sender()));
gives!(Producer<u64, One>, end => Box::new(end)); // for good
gives!(Sender<u64>, end => match end.try_into_producer() {
    Ok(producer) => Box::new(producer),
    Err(sender) => Box::new(sender),
});
takes!(Consumer<u64>, end => Box::new(end.into_receiver()), end => Some(end.peek().copied()));
takes!(Consumer<u64, One>, end => Box::new(end), end => Some(end.peek().copied()));
takes!(Receiver<u64>, end => match end.try_into_consumer() {
    Ok(consumer) => Box::new(consumer),
    Err(receiver) => Box::new(receiver),
}, _end => None);

/// What shall be drawn besides single pushes and pops and the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// Nothing.
    Single,
    /// Batches of up to so many, and turns from one kind of end to the other.
    Batches(usize),
}

/// An end of a channel, or one of each side. It is one of them that answers a question that both could.
pub struct Ends {
    menu: Menu,
    gives: Option<Box<dyn Gives>>,
    takes: Option<Box<dyn Takes>>,
}

impl Ends {
    /// Both ends.
    pub fn both(menu: Menu, sender: Sender<u64>, receiver: Receiver<u64>) -> Box<dyn Party> {
        Box::new(Self { menu, gives: Some(Box::new(sender)), takes: Some(Box::new(receiver)) })
    }

    /// A sending end.
    pub fn giving(menu: Menu, end: impl Gives + 'static) -> Box<dyn Party> {
        Box::new(Self { menu, gives: Some(Box::new(end)), takes: None })
    }

    /// A receiving end.
    pub fn taking(menu: Menu, end: impl Takes + 'static) -> Box<dyn Party> {
        Box::new(Self { menu, gives: None, takes: Some(Box::new(end)) })
    }

    fn turn(&mut self) {
        self.gives = self.gives.take().map(|end| end.turned());
        self.takes = self.takes.take().map(|end| end.turned());
    }

    fn push(&mut self, value: u64) -> Answer {
        let end = self.gives.as_mut().expect("a step of its ends");
        match end.give(value) {
            Ok(()) => Answer::Pushed(value),
            Err(TrySendError::Full(back)) => {
                assert_eq!(back, value, "another value came back");
                Answer::Full
            }
            Err(TrySendError::Disconnected(_)) => panic!("a receiver is held"),
        }
    }

    /// The values that went in, and that there was no room if not all did.
    fn push_many(&mut self, values: Vec<u64>) -> Vec<Answer> {
        let end = self.gives.as_mut().expect("a step of its ends");
        let all = values.clone();
        let (sent, full) = match end.give_many(values) {
            Ok(sent) => (sent, false),
            Err(TrySendError::Full(unsent)) => {
                let sent = unsent.sent;
                assert!(unsent.into_values().eq(all[sent..].iter().copied()), "others came back");
                (sent, true)
            }
            Err(TrySendError::Disconnected(_)) => panic!("a receiver is held"),
        };
        assert!(full || sent == all.len(), "neither sent nor refused");
        let pushed = all[..sent].iter().map(|value| Answer::Pushed(*value));
        pushed.chain(full.then_some(Answer::Full)).collect()
    }

    /// The end of a channel without senders is empty too.
    fn pop(&mut self) -> Answer {
        let end = self.takes.as_mut().expect("a step of its ends");
        end.take().map_or(Answer::Empty, Answer::Popped)
    }

    /// The values that came out, and that there was nothing more if it could have been more.
    fn pop_many(&mut self, limit: usize) -> Vec<Answer> {
        let end = self.takes.as_mut().expect("a step of its ends");
        let mut values = Vec::new();
        let count = end.take_many(&mut values, limit).unwrap_or(0);
        assert_eq!(count, values.len(), "so many were announced");
        let popped = values.into_iter().map(Answer::Popped);
        let said_empty = count < limit;
        popped.chain(said_empty.then_some(Answer::Empty)).collect()
    }

    fn length(&self) -> usize {
        let gives = self.gives.as_ref().map(|end| end.length());
        let takes = || self.takes.as_ref().map(|end| end.length());
        gives.or_else(takes).expect("it holds an end")
    }
}

impl Party for Ends {
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Length];
        if self.gives.is_some() {
            steps.extend([Step::Push; 4]);
            steps.push(Step::IsFull);
        }
        if self.takes.is_some() {
            steps.extend([Step::Pop; 4]);
            steps.extend([Step::IsEmpty, Step::Peek]);
        }
        let Menu::Batches(most) = self.menu else { return steps };
        steps.push(Step::Turn);
        if self.gives.is_some() {
            steps.extend([Step::PushMany(most), Step::PushMany(2)]);
        }
        if self.takes.is_some() {
            steps.extend([Step::PopMany(most), Step::PopMany(2)]);
        }
        steps
    }

    fn call(&mut self, step: Step, values: &mut dyn Iterator<Item = u64>) -> Vec<Answer> {
        match step {
            Step::Push => vec![self.push(values.next().expect("numbers do not end"))],
            Step::Pop => vec![self.pop()],
            Step::PushMany(count) => self.push_many(values.take(count).collect()),
            Step::PopMany(limit) => self.pop_many(limit),
            Step::Peek => {
                let end = self.takes.as_mut().expect("a step of its ends");
                end.front().into_iter().map(Answer::Front).collect()
            }
            Step::Length => vec![Answer::Length(self.length())],
            Step::IsEmpty => {
                let end = self.takes.as_ref().expect("a step of its ends");
                vec![Answer::IsEmpty(end.is_empty())]
            }
            Step::IsFull => {
                let end = self.gives.as_ref().expect("a step of its ends");
                vec![Answer::IsFull(end.is_full())]
            }
            Step::Turn => {
                self.turn();
                Vec::new()
            }
        }
    }
}
