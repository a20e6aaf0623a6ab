//! Lock-freedom, shown: a thread is frozen after each instruction of an operation in turn, and the others go on.
//!
//! "A thread that stops anywhere holds up nobody" is the ring's first promise. Here it is put to the machine code as it
//! is delivered: the processor's trap flag stops a thread between two of its instructions (`stall/trap.rs`), a crew
//! of two then has to get through its rounds while that thread stays frozen (`stall/crew.rs`), and every answer that
//! they and the frozen one were given is held against a queue (`stall/model.rs`). The control is crossbeam-queue's
//! ArrayQueue, fast and not lock-free: there the same method must find the instructions that hold others up.
//!
//! ```text
//! cargo test --release --test stall -- --nocapture      every instruction; a line for each case
//! cargo test --test stall                               debug code is some thousand instructions long: samples
//! ```
//!
//! # What is shown, and what is not
//!
//! | frozen in | the others |
//! | --- | --- |
//! | `try_send`, `try_recv`, `len` and the batches of shared ends; `send` that finds room, `recv` that finds a value | two with both ends go on |
//! | `Producer`, `Consumer` (with `peek`) | two receivers go on, two senders |
//! | a send or receive that has to wake a sleeping thread | all go on but the sleeper, *the exception*: it may sleep until the frozen thread goes on, and then must wake up |
//! | a send that has to wake a waiting task (feature `async`) | receivers go on; senders that have to wake a task too wait for a lock, *the exception* |
//!
//! - Nobody gets a false Full or Empty, a value twice, or an order that cannot be; nor does the frozen one, thawed.
//! - In one more call the thread is stopped after *every* instruction, and the others use the ring in between: so the
//!   repeated attempts are gone through, too.
//! - One frozen thread at a time. That any number may be is for the loom models and the argument on the ring's page.
//! - A thread's first use of a ring takes a lock to get a number: documented, and done before the first stop.
//!
//! # A further case
//!
//! is a test of three lines, `shared(name, fillings, steps, call)`: the call as a caller writes it, and what it does to
//! a queue in [`Step`]s. It may not allocate, and what it `say`s comes last. Its price is n^2 / 2 traps for n
//! instructions: 1 to 20 microseconds each.
//!
//! # Limits
//!
//! x86-64 Linux. Elsewhere this file is empty: it has no tests.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::print_stdout)] // A line for each case: what was frozen, and whom it held up.
#![allow(clippy::print_stderr)] // The last words of a run that cannot end.

#[path = "stall/crew.rs"]
mod crew;
#[path = "stall/model.rs"]
mod model;
#[path = "stall/trap.rs"]
mod trap;

use crew::{BEFORE, Case, Ends, PATIENCE, Receiving, SLEEPER, Said, Scene, Sleeping, VICTIM};
use crossbeam_queue::ArrayQueue;
use millstream::ring::{
    Consumer, Producer, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, Unsent,
    bounded, spsc,
};
use model::{Answer, Step, value};
use std::sync::Arc;
use std::time::Duration;

const CAPACITIES: [usize; 3] = [1, 2, 4];

/// What the victim sends.
const MINE: u64 = value(VICTIM, 0);
/// What it sends in a batch, which is also how many it asks for.
const BATCH: [u64; 2] = [MINE, value(VICTIM, 1)];
const SEND_BATCH: &[Step] = &[Step::Send(BATCH[0]), Step::Send(BATCH[1])];
const RECV_BATCH: &[Step] = &[Step::Recv; BATCH.len()];

/// Scenes of a debug build: see [`Case::debug_scenes`].
const DEBUG_SCENES: u64 = 8;
/// The control is short, and must meet its few instructions.
const DEBUG_SCENES_OF_CONTROL: u64 = 60;
/// After this time the control counts as held up. It *is* at some instructions, and each costs that time; that it was
/// no slow machine is seen when it goes on after the thaw.
const CONTROL_LIMIT: Duration = Duration::from_millis(50);

impl<T> From<Result<(), TrySendError<T>>> for Answer {
    fn from(result: Result<(), TrySendError<T>>) -> Self {
        match result {
            Ok(()) => Self::Sent,
            Err(TrySendError::Full(_)) => Self::Full,
            Err(TrySendError::Disconnected(_)) => Self::Disconnected,
        }
    }
}

impl From<Result<u64, TryRecvError>> for Answer {
    fn from(result: Result<u64, TryRecvError>) -> Self {
        match result {
            Ok(value) => Self::Got(value),
            Err(TryRecvError::Empty) => Self::Empty,
            Err(TryRecvError::Disconnected) => Self::Disconnected,
        }
    }
}

impl<T> From<Result<(), SendError<T>>> for Answer {
    fn from(result: Result<(), SendError<T>>) -> Self {
        result.map_or(Self::Disconnected, |()| Self::Sent)
    }
}

impl From<Result<u64, RecvError>> for Answer {
    fn from(result: Result<u64, RecvError>) -> Self {
        result.map_or(Self::Disconnected, Self::Got)
    }
}

impl Said {
    /// A batch was sent, as far as it went.
    fn say_sent<I: Iterator>(&mut self, result: Result<usize, TrySendError<Unsent<I>>>) {
        self.begin();
        let (sent, refusal) = match result {
            Ok(sent) => (sent, None),
            Err(TrySendError::Full(unsent)) => (unsent.sent, Some(Answer::Full)),
            Err(TrySendError::Disconnected(unsent)) => (unsent.sent, Some(Answer::Disconnected)),
        };
        (0..sent).for_each(|_| self.say(Answer::Sent));
        refusal.into_iter().for_each(|refusal| self.say(refusal));
    }

    /// A batch was received; one that is short found the ring empty behind its last value.
    fn say_got(&mut self, result: Result<usize, TryRecvError>, batch: &[u64]) {
        self.begin();
        let count = result.unwrap_or(0);
        batch.iter().for_each(|value| self.say(Answer::Got(*value)));
        if count != batch.len() || result == Err(TryRecvError::Disconnected) {
            self.say(Answer::Disconnected); // never right
        } else if count < BATCH.len() {
            self.say(Answer::Empty);
        }
    }
}

impl From<Option<u64>> for Answer {
    fn from(peeked: Option<u64>) -> Self {
        peeked.map_or(Self::Empty, Self::Got)
    }
}

impl From<usize> for Answer {
    fn from(length: usize) -> Self {
        Self::Len(length)
    }
}

/// A ring's capacity, how many values lie in it when the victim begins, and how many when the others have done their
/// rounds (where these have both ends). The victim runs at these lengths only, so they decide what it may answer.
type Filling = (usize, usize, usize);

const EMPTY: &[Filling] = &[(1, 0, 0), (2, 0, 0), (4, 0, 0)];
const ROOM: &[Filling] = &[(1, 0, 0), (2, 1, 1), (4, 0, 0), (4, 3, 3)];
const SOME: &[Filling] = &[(1, 1, 1), (2, 1, 1), (4, 1, 1), (4, 4, 4)];
const FULL: &[Filling] = &[(1, 1, 1), (2, 2, 2), (4, 4, 4)];
/// What was there at the first attempt is gone at the second.
const FILLS_UP: &[Filling] = &[(1, 0, 1), (4, 3, 4)];
const RUNS_DRY: &[Filling] = &[(1, 1, 0), (4, 1, 0)];

/// Both ends of a channel that others share.
struct Both {
    sender: Sender<u64>,
    receiver: Receiver<u64>,
    /// Room for a batch: nothing is allocated while others are watched.
    batch: Vec<u64>,
}

/// A channel with `start` values in it.
fn channel(capacity: usize, start: usize) -> Both {
    let (sender, receiver) = bounded(capacity);
    for count in 0..start as u64 {
        sender.try_send(value(BEFORE, count)).expect("there is room");
    }
    Both { sender, receiver, batch: Vec::with_capacity(BATCH.len()) }
}

impl Both {
    /// What one of the crew has.
    fn ends(&self) -> Ends {
        let (sender, receiver) = (self.sender.clone(), self.receiver.clone());
        Ends {
            send: Some(Box::new(move |value| sender.try_send(value).into())),
            recv: Some(Box::new(move || receiver.try_recv().into())),
        }
    }

    fn scene(self, sleeper: Option<Sleeping>) -> Scene<Self> {
        Scene { crew: [self.ends(), self.ends()], end: self, sleeper }
    }
}

/// An operation on ends that others share holds up nobody.
fn shared(
    name: &str,
    fillings: &[&[Filling]],
    steps: &'static [Step],
    act: fn(&mut Both, &mut Said),
) {
    for (capacity, start, rest) in fillings.iter().copied().flatten().copied() {
        let case = Case {
            name: format!("{name}, {start} then {rest} of {capacity}"),
            capacity,
            start,
            rest,
            scene: Box::new(move || channel(capacity, start).scene(None)),
            act,
            steps,
            drain: |both, _| both.receiver.try_recv().into(),
            limit: PATIENCE,
            debug_scenes: DEBUG_SCENES,
        };
        case.must_hold_up_nobody();
    }
}

#[test]
fn a_frozen_try_send_holds_up_nobody() {
    shared("try_send", &[ROOM, FULL, FILLS_UP], &[Step::Send(MINE)], |both, said| {
        said.say(both.sender.try_send(MINE));
    });
}

#[test]
fn a_frozen_try_recv_holds_up_nobody() {
    shared("try_recv", &[SOME, EMPTY, RUNS_DRY], &[Step::Recv], |both, said| {
        said.say(both.receiver.try_recv());
    });
}

#[test]
fn a_frozen_send_that_finds_room_holds_up_nobody() {
    shared("send", &[&[(1, 0, 0), (4, 3, 3)]], &[Step::Send(MINE)], |both, said| {
        said.say(both.sender.send(MINE))
    });
}

#[test]
fn a_frozen_recv_that_finds_a_value_holds_up_nobody() {
    shared("recv", &[&[(1, 1, 1), (4, 4, 4)]], &[Step::Recv], |both, said| {
        said.say(both.receiver.recv())
    });
}

#[test]
fn a_frozen_len_holds_up_nobody() {
    shared("len", &[EMPTY, SOME], &[Step::Len], |both, said| said.say(both.sender.len()));
}

#[test]
fn a_frozen_batch_of_sends_holds_up_nobody() {
    shared("try_send_many", &[&[(1, 0, 0), (2, 1, 1), (4, 0, 0)]], SEND_BATCH, |both, said| {
        said.say_sent(both.sender.try_send_many(BATCH));
    });
    // With room for both: it would wait else.
    shared("send_many", &[&[(2, 0, 0)]], SEND_BATCH, |both, said| {
        said.say_sent(both.sender.send_many(BATCH).map_err(TrySendError::from));
    });
}

#[test]
fn a_frozen_batch_of_receives_holds_up_nobody() {
    shared("try_recv_many", &[&[(1, 1, 1), (2, 1, 1), (4, 4, 4)]], RECV_BATCH, |both, said| {
        both.batch.clear();
        let result = both.receiver.try_recv_many(&mut both.batch, BATCH.len());
        said.say_got(result, &both.batch);
    });
    shared("recv_many", &[&[(2, 2, 2)]], RECV_BATCH, |both, said| {
        both.batch.clear();
        let result = both.receiver.recv_many(&mut both.batch, BATCH.len());
        said.say_got(result.map_err(TryRecvError::from), &both.batch);
    });
}

#[test]
fn ends_that_are_frozen_while_they_come_and_go_hold_up_nobody() {
    shared("clone and drop", &[&[(2, 1, 1)]], &[], |both, _| {
        drop((both.sender.clone(), both.receiver.clone()));
    });
}

/// Two operations in one call: each has its effect by itself, and in their order.
#[test]
fn a_frozen_thread_between_two_operations_holds_up_nobody() {
    const STEPS: &[Step] = &[Step::Recv, Step::Send(MINE)];
    shared("try_recv and try_send", &[&[(1, 1, 1), (4, 1, 1)]], STEPS, |both, said| {
        let (received, sent) = (both.receiver.try_recv(), both.sender.try_send(MINE));
        said.say(received);
        said.say(sent);
    });
}

/// What somebody waits for who sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleeper {
    Receiver,
    Sender,
}

/// As [`shared`], while somebody sleeps whom the operation has to wake.
fn beside(sleeper: Sleeper, name: &str, act: fn(&mut Both, &mut Said)) {
    for capacity in CAPACITIES {
        // What puts the sleeper to sleep, and what lets it wake up.
        let (start, rest) = match sleeper {
            Sleeper::Receiver => (0, 1),
            Sleeper::Sender => (capacity, capacity - 1),
        };
        let scene = move || {
            let both = channel(capacity, start);
            let (sender, receiver) = (both.sender.clone(), both.receiver.clone());
            let sleep: Sleeping = match sleeper {
                Sleeper::Receiver => Box::new(move || receiver.recv().into()),
                Sleeper::Sender => Box::new(move || sender.send(value(SLEEPER, 0)).into()),
            };
            both.scene(Some(sleep))
        };
        let case = Case {
            name: format!("{name}, beside a sleeping {sleeper:?}, capacity {capacity}"),
            capacity,
            start,
            rest,
            scene: Box::new(scene),
            act,
            steps: &[],
            drain: |both, _| both.receiver.try_recv().into(),
            limit: PATIENCE,
            debug_scenes: DEBUG_SCENES,
        };
        case.must_hold_up_nobody();
    }
}

#[test]
fn a_frozen_send_to_a_sleeping_receiver_holds_up_at_most_the_sleeper() {
    beside(Sleeper::Receiver, "try_send", |both, said| said.say(both.sender.try_send(MINE)));
}

#[test]
fn a_frozen_receive_beside_a_sleeping_sender_holds_up_at_most_the_sleeper() {
    beside(Sleeper::Sender, "try_recv", |both, said| said.say(both.receiver.try_recv()));
}

/// Tasks in place of sleeping threads: wakers in a list, and the list has a lock.
#[cfg(feature = "async")]
mod beside_waiting_tasks {
    use super::*;
    use futures_core::Stream;
    use millstream::ring::IntoStream;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    struct Awaited {
        both: Both,
        _tasks: [IntoStream<u64>; 2],
    }

    /// A send that wakes the first of two tasks, while the crew does what `ends` gives it.
    fn case(name: &str, ends: fn(&Both) -> Ends, limit: Duration) -> Case<Awaited> {
        let scene = move || {
            let both = channel(2, 0);
            let task = || {
                let mut stream = both.receiver.clone().into_stream();
                let waits =
                    Pin::new(&mut stream).poll_next(&mut Context::from_waker(Waker::noop()));
                assert!(waits.is_pending());
                stream
            };
            let tasks = [task(), task()];
            Scene {
                crew: [ends(&both), ends(&both)],
                end: Awaited { both, _tasks: tasks },
                sleeper: None,
            }
        };
        Case {
            name: format!("try_send, beside waiting tasks, {name}"),
            capacity: 2,
            start: 0,
            rest: 0,
            scene: Box::new(scene),
            act: |awaited, said| said.say(awaited.both.sender.try_send(MINE)),
            steps: &[Step::Send(MINE)],
            drain: |awaited, _| awaited.both.receiver.try_recv().into(),
            limit,
            debug_scenes: DEBUG_SCENES,
        }
    }

    /// Who wakes no task takes no lock.
    #[test]
    fn a_frozen_send_holds_up_no_receiver() {
        let ends = |both: &Both| Ends { send: None, ..both.ends() };
        case("receivers", ends, PATIENCE).must_hold_up_nobody();
    }

    /// The exception: who has to wake a task too waits for the list's lock. How many instructions it is held for is
    /// printed; that everybody goes on after the thaw is in the play.
    #[test]
    fn a_frozen_send_holds_up_at_most_those_who_wake_tasks_too() {
        case("senders too", Both::ends, CONTROL_LIMIT).play();
    }
}

/// A producer holds up none of the receivers.
fn producer(
    name: &str,
    fillings: &[&[Filling]],
    steps: &'static [Step],
    act: fn(&mut Producer<u64>, &mut Said),
) {
    for (capacity, start, rest) in fillings.iter().copied().flatten().copied() {
        let scene = move || {
            let Both { sender, receiver, .. } = channel(capacity, start);
            let end = sender.try_into_producer().expect("there is no other sender");
            let takers = [receiver.clone(), receiver];
            let crew = takers.map(|receiver| Ends {
                send: None,
                recv: Some(Box::new(move || receiver.try_recv().into())),
            });
            Scene { end, crew, sleeper: None }
        };
        let case = Case {
            name: format!("Producer::{name}, {start} of {capacity}"),
            capacity,
            start,
            rest,
            scene: Box::new(scene),
            act,
            steps,
            drain: |_, ends| ends.recv.as_mut().map_or(Answer::Disconnected, |recv| recv()),
            limit: PATIENCE,
            debug_scenes: DEBUG_SCENES,
        };
        case.must_hold_up_nobody();
    }
}

#[test]
fn a_frozen_producer_holds_up_no_receiver() {
    producer("try_send", &[ROOM, FULL], &[Step::Send(MINE)], |producer, said| {
        said.say(producer.try_send(MINE));
    });
    producer("send", &[&[(2, 1, 1)]], &[Step::Send(MINE)], |producer, said| {
        said.say(producer.send(MINE));
    });
    producer("len", &[&[(1, 1, 1), (4, 2, 2)]], &[Step::Len], |producer, said| {
        said.say(producer.len());
    });
    producer("try_send_many", &[&[(1, 0, 0), (4, 0, 0)]], SEND_BATCH, |producer, said| {
        said.say_sent(producer.try_send_many(BATCH));
    });
}

/// The consumer, and room for a batch.
struct Taker {
    consumer: Consumer<u64>,
    batch: Vec<u64>,
}

/// A consumer holds up none of the senders.
fn consumer(
    name: &str,
    fillings: &[&[Filling]],
    steps: &'static [Step],
    act: fn(&mut Taker, &mut Said),
) {
    for (capacity, start, rest) in fillings.iter().copied().flatten().copied() {
        let scene = move || {
            let Both { sender, receiver, batch } = channel(capacity, start);
            let consumer = receiver.try_into_consumer().expect("there is no other receiver");
            let givers = [sender.clone(), sender];
            let crew = givers.map(|sender| Ends {
                send: Some(Box::new(move |value| sender.try_send(value).into())),
                recv: None,
            });
            Scene { end: Taker { consumer, batch }, crew, sleeper: None }
        };
        let case = Case {
            name: format!("Consumer::{name}, {start} of {capacity}"),
            capacity,
            start,
            rest,
            scene: Box::new(scene),
            act,
            steps,
            drain: |taker, _| taker.consumer.try_recv().into(),
            limit: PATIENCE,
            debug_scenes: DEBUG_SCENES,
        };
        case.must_hold_up_nobody();
    }
}

#[test]
fn a_frozen_consumer_holds_up_no_sender() {
    consumer("try_recv", &[EMPTY, SOME], &[Step::Recv], |taker, said| {
        said.say(taker.consumer.try_recv());
    });
    consumer("peek", &[EMPTY, SOME], &[Step::Peek], |taker, said| {
        said.say(taker.consumer.peek().copied());
    });
    consumer("recv", &[&[(2, 1, 1)]], &[Step::Recv], |taker, said| {
        said.say(taker.consumer.recv());
    });
    consumer("try_recv_many", &[&[(1, 1, 1), (4, 4, 4)]], RECV_BATCH, |taker, said| {
        taker.batch.clear();
        let result = taker.consumer.try_recv_many(&mut taker.batch, BATCH.len());
        said.say_got(result, &taker.batch);
    });
}

/// Two ends that are alone, each on its side: whom there is to hold up is the other one.
#[test]
fn a_frozen_end_of_a_pair_does_not_hold_up_the_other() {
    let scene = || {
        let (end, mut consumer) = spsc(2);
        let recv: Receiving = Box::new(move || consumer.try_recv().into());
        Scene { end, crew: [Ends { send: None, recv: Some(recv) }, Ends::default()], sleeper: None }
    };
    let case = Case {
        name: "spsc: Producer::try_send, 0 of 2".into(),
        capacity: 2,
        start: 0,
        rest: 0,
        scene: Box::new(scene),
        act: |producer: &mut Producer<u64>, said| said.say(producer.try_send(MINE)),
        steps: &[Step::Send(MINE)],
        drain: |_, ends| ends.recv.as_mut().map_or(Answer::Disconnected, |recv| recv()),
        limit: PATIENCE,
        debug_scenes: DEBUG_SCENES,
    };
    case.must_hold_up_nobody();
}

fn pushed(result: Result<(), u64>) -> Answer {
    result.map_or(Answer::Full, |()| Answer::Sent)
}

fn popped(value: Option<u64>) -> Answer {
    value.map_or(Answer::Empty, Answer::Got)
}

/// The same on a queue that is known to stall.
fn control(
    name: &str,
    length: usize,
    steps: &'static [Step],
    act: fn(&mut Arc<ArrayQueue<u64>>, &mut Said),
) {
    for capacity in CAPACITIES {
        let ends = |queue: &Arc<ArrayQueue<u64>>| {
            let (to, from) = (queue.clone(), queue.clone());
            Ends {
                send: Some(Box::new(move |value| pushed(to.push(value)))),
                recv: Some(Box::new(move || popped(from.pop()))),
            }
        };
        let scene = move || {
            let queue = Arc::new(ArrayQueue::new(capacity));
            (0..length as u64).for_each(|count| queue.push(value(BEFORE, count)).expect("room"));
            Scene { crew: [ends(&queue), ends(&queue)], end: queue, sleeper: None }
        };
        let case = Case {
            name: format!("control: ArrayQueue {name}, {length} of {capacity}"),
            capacity,
            start: length,
            rest: length,
            scene: Box::new(scene),
            act,
            steps,
            drain: |queue, _| popped(queue.pop()),
            limit: CONTROL_LIMIT,
            debug_scenes: DEBUG_SCENES_OF_CONTROL,
        };
        let held = case.play().held;
        assert!(!held.is_empty(), "the method sees a stall where there is one");
    }
}

#[test]
fn a_frozen_push_of_the_control_is_seen_to_hold_up_others() {
    control("push", 0, &[Step::Send(MINE)], |queue, said| said.say(pushed(queue.push(MINE))));
}

#[test]
fn a_frozen_pop_of_the_control_is_seen_to_hold_up_others() {
    control("pop", 1, &[Step::Recv], |queue, said| said.say(popped(queue.pop())));
}
