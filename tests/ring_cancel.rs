//! Futures that are dropped at every point there is: nothing is lost, nothing is doubled, and nobody else sleeps on.
//!
//! A world is a channel and a few tasks that send to it and receive from it, all on this thread. An executor of our own
//! moves one task at a time, and *every* choice that it has is made in some run:
//!
//! | it may | if |
//! | --- | --- |
//! | poll a task | its waker was called, or it was never polled |
//! | poll a task that nobody woke | there is a budget for it |
//! | drop what a task waits for, and let it begin again, or end it | it has returned Pending, woken or not; there is a budget |
//!
//! So for every number `k` there are runs that drop a future at its `k`-th Pending, in every order of the others' steps. Each
//! poll brings a new waker, and only the last one counts: who calls an older one has woken nobody.
//!
//! A run is over when nobody is left to be moved. Then nobody may wait for what is there (a value, a free place, the
//! end), and every value is where it was said to be: received, refused, or in the ring, and dropped once.
//!
//! (On one thread it is all one which barrier the ring goes by. These take the cheaper one, where they can choose: a
//! membarrier interrupts the threads of the other tests here, hundreds of thousands of times.)
//!
//! Choices are made by replaying a path of them and taking the next branch at its end, as model checkers do; there are no
//! threads in here, so a run is a function of its path. Interleavings of threads: the models, `loom-tests`.

#![cfg(feature = "async")]

#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/seccomp.rs"]
mod seccomp;

use ends::{Kind, RecvEnd, SendEnd, Sending, for_all_kinds};
use futures_lite::StreamExt;
use millstream::ring::{RecvError, SendError};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

// ---- choices ---------------------------------------------------------------------------------------------------------

/// The branches taken, and how many there were at each place.
#[derive(Default)]
struct Path {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    /// One of so many.
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        let (taken, expected) = self.taken[self.at];
        assert_eq!(expected, of, "a run is a function of its path");
        self.at += 1;
        taken
    }

    /// Goes to the next path; false if that was the last one.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((taken, of)) = self.taken.pop() {
            if taken + 1 < of {
                self.taken.push((taken + 1, of));
                return true;
            }
        }
        false
    }
}

/// Does that for every path; how many there were.
fn on_every_path(mut run: impl FnMut(&mut Path)) -> usize {
    #[cfg(target_os = "linux")]
    seccomp::filter(seccomp::MEMBARRIER, seccomp::Verdict::Refused, seccomp::Whom::ThisThread);
    let (mut path, mut count) = (Path::default(), 1);
    loop {
        run(&mut path);
        if !path.next() {
            return count;
        }
        count += 1;
    }
}

// ---- a world ---------------------------------------------------------------------------------------------------------

/// A value that counts its drops.
struct Token {
    id: usize,
    drops: Arc<AtomicUsize>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Sends,
    Receives,
}

/// What a task is told while it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// Drop the future, and begin again with another.
    Again,
    /// Drop the future, and end.
    Leave,
}

/// What happens in a run, and what may.
#[derive(Clone, Copy)]
struct Plan {
    capacity: usize,
    /// Ends of tasks that are over stay, so that no disconnection wakes those who wait.
    keeps: bool,
    /// Futures that are dropped.
    drops: usize,
    /// Polls that nobody asked for.
    idle_polls: usize,
}

/// What the tasks write down. On one thread sends and receives follow each other, so the lists are in order.
struct World {
    plan: Plan,
    made: Cell<usize>,
    drops: Arc<AtomicUsize>,
    accepted: RefCell<Vec<usize>>,
    received: RefCell<Vec<usize>>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    kept: RefCell<Vec<Box<dyn std::any::Any>>>,
}

impl World {
    fn token(&self) -> Token {
        let id = self.made.replace(self.made.get() + 1);
        Token { id, drops: self.drops.clone() }
    }

    fn accept(&self, id: usize) {
        self.accepted.borrow_mut().push(id);
    }

    fn receive(&self, token: Token) {
        self.received.borrow_mut().push(token.id);
        let (accepted, received) = (self.accepted.borrow(), self.received.borrow());
        assert_eq!(
            accepted.get(..received.len()),
            Some(&received[..]),
            "lost, doubled, or out of order"
        );
    }

    fn in_ring(&self) -> usize {
        self.accepted.borrow().len() - self.received.borrow().len()
    }

    /// A task is over.
    fn leave(&self, side: Side, end: impl Sized + 'static) {
        if self.plan.keeps {
            self.kept.borrow_mut().push(Box::new(end));
        } else {
            let count = if side == Side::Sends { &self.senders } else { &self.receivers };
            count.set(count.get() - 1);
        }
    }

    /// May somebody on that side wait now?
    fn may_wait(&self, side: Side) -> bool {
        match side {
            Side::Sends => self.receivers.get() > 0 && self.in_ring() == self.plan.capacity,
            Side::Receives => self.senders.get() > 0 && self.in_ring() == 0,
        }
    }
}

// ---- what tasks do ---------------------------------------------------------------------------------------------------

/// How a task hears that it should drop what it waits for.
type Ear = Rc<Cell<Option<Order>>>;

/// A future that comes back if the task is told something before it is ready.
struct Unless<F> {
    future: Option<F>,
    ear: Ear,
}

impl<F: Future + Unpin> Future for Unless<F> {
    type Output = Result<F::Output, (F, Order)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(order) = self.ear.take() {
            let future = self.future.take().expect("polled until it is ready");
            return Poll::Ready(Err((future, order)));
        }
        let future = self.future.as_mut().expect("polled until it is ready");
        Pin::new(future).poll(context).map(Ok)
    }
}

fn unless<F: Future + Unpin>(ear: &Ear, future: F) -> Unless<F> {
    Unless { future: Some(future), ear: ear.clone() }
}

async fn send<S: SendEnd<Token> + 'static>(world: Rc<World>, ear: Ear, mut end: S, count: usize) {
    'all: for _ in 0..count {
        let mut next = Some(world.token());
        while let Some(token) = next.take() {
            let id = token.id;
            match unless(&ear, end.send_async(token)).await {
                Ok(Ok(())) => world.accept(id),
                Ok(Err(SendError(token))) => {
                    assert_eq!((token.id, world.receivers.get()), (id, 0));
                    break 'all;
                }
                Err((future, Order::Again)) => {
                    next = future.into_inner();
                    assert_eq!(next.as_ref().map(|token| token.id), Some(id), "it was not sent");
                }
                Err((future, Order::Leave)) => {
                    drop(future);
                    break 'all;
                }
            };
        }
    }
    world.leave(Side::Sends, end);
}

/// One batch, as much of it as fits.
async fn send_batch<S: SendEnd<Token> + 'static>(world: Rc<World>, mut end: S, count: usize) {
    let tokens: Vec<_> = (0..count).map(|_| world.token()).collect();
    let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
    let sent = end.try_send_many(tokens).unwrap_or_else(|error| error.into_inner().sent);
    ids[..sent].iter().for_each(|id| world.accept(*id));
    world.leave(Side::Sends, end);
}

async fn receive<R: RecvEnd<Token> + 'static>(
    world: Rc<World>,
    ear: Ear,
    mut end: R,
    count: usize,
) {
    let mut got = 0;
    while got < count {
        match unless(&ear, end.recv_async()).await {
            Ok(Ok(token)) => {
                world.receive(token);
                got += 1;
            }
            Ok(Err(RecvError)) => {
                assert_eq!((world.senders.get(), world.in_ring()), (0, 0));
                break;
            }
            Err((future, order)) => {
                drop(future);
                if order == Order::Leave {
                    break;
                }
            }
        }
    }
    world.leave(Side::Receives, end);
}

/// As `receive`, by a stream that stays when what waits for its next value is dropped.
async fn stream<R: RecvEnd<Token> + 'static>(world: Rc<World>, ear: Ear, end: R, count: usize) {
    let mut stream = Box::new(end.into_stream());
    let mut got = 0;
    while got < count {
        match unless(&ear, stream.next()).await {
            Ok(Some(token)) => {
                world.receive(token);
                got += 1;
            }
            Ok(None) => {
                assert_eq!((world.senders.get(), world.in_ring()), (0, 0));
                break;
            }
            Err((_, Order::Again)) => {}
            Err((_, Order::Leave)) => break,
        }
    }
    // A stream that is kept has a place among those who wait: it must give it up, or its wake-up is nobody's.
    drop(stream);
    world.receivers.set(world.receivers.get() - 1);
}

/// Takes what is there, without waiting.
async fn take<R: RecvEnd<Token> + 'static>(world: Rc<World>, mut end: R, limit: usize) {
    let mut tokens = Vec::new();
    let _ = end.try_recv_many(&mut tokens, limit);
    tokens.into_iter().for_each(|token| world.receive(token));
    world.leave(Side::Receives, end);
}

// ---- the executor ----------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    side: Side,
    future: Pin<Box<dyn Future<Output = ()>>>,
    ear: Ear,
    /// That of the waker that it has now; none before the first poll.
    flag: Option<Arc<Flag>>,
}

impl Task {
    fn is_woken(&self) -> bool {
        self.flag.as_ref().is_none_or(|flag| flag.0.load(Ordering::Relaxed))
    }

    /// True when it is over.
    fn poll(&mut self) -> bool {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        self.flag = Some(flag);
        self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }
}

/// One run: the tasks, and the choices that were made.
struct Run<'a> {
    world: Rc<World>,
    tasks: Vec<Task>,
    path: &'a mut Path,
}

impl<'a> Run<'a> {
    fn new(plan: Plan, path: &'a mut Path) -> Self {
        let world = World {
            plan,
            made: Cell::new(0),
            drops: Arc::default(),
            accepted: RefCell::default(),
            received: RefCell::default(),
            senders: Cell::new(0),
            receivers: Cell::new(0),
            kept: RefCell::default(),
        };
        Self { world: Rc::new(world), tasks: Vec::new(), path }
    }

    fn task<F: Future<Output = ()> + 'static>(
        &mut self,
        side: Side,
        task: impl FnOnce(Rc<World>, Ear) -> F,
    ) {
        let count = if side == Side::Sends { &self.world.senders } else { &self.world.receivers };
        count.set(count.get() + 1);
        let ear = Ear::default();
        let future = Box::pin(task(self.world.clone(), ear.clone()));
        self.tasks.push(Task { side, future, ear, flag: None });
    }

    /// Moves the tasks until nobody is left to be moved, and looks at what they have left.
    fn finish(mut self) {
        let (mut drops, mut idle_polls) = (self.world.plan.drops, self.world.plan.idle_polls);
        loop {
            let mut moves = Vec::new();
            for (number, task) in self.tasks.iter().enumerate() {
                let woken = task.is_woken();
                if woken || idle_polls > 0 {
                    moves.push((number, None, !woken));
                }
                if drops > 0 && task.flag.is_some() {
                    moves.push((number, Some(Order::Again), false));
                    moves.push((number, Some(Order::Leave), false));
                }
            }
            // Those who wait may be dropped only while somebody else is at it: else the run has come to its end.
            if !self.tasks.iter().any(Task::is_woken) {
                break;
            }
            let (number, order, idle) = moves[self.path.choose(moves.len())];
            drops -= usize::from(order.is_some());
            idle_polls -= usize::from(idle);
            self.tasks[number].ear.set(order);
            if self.tasks[number].poll() {
                self.tasks.remove(number);
            }
        }
        for task in &self.tasks {
            let side = task.side;
            assert!(
                self.world.may_wait(side),
                "asleep beside what it waits for: {side:?}, {:?}",
                self.path.taken
            );
        }
        let Self { world, tasks, .. } = self;
        drop(tasks);
        world.kept.take();
        assert_eq!(
            world.drops.load(Ordering::Relaxed),
            world.made.get(),
            "each value is dropped once"
        );
    }
}

// ---- the worlds ------------------------------------------------------------------------------------------------------

fn plans(capacities: &[usize], drops: usize, idle_polls: usize) -> impl Iterator<Item = Plan> {
    let plans = capacities.iter().flat_map(move |capacity| {
        [true, false].map(|keeps| Plan { capacity: *capacity, keeps, drops, idle_polls })
    });
    plans.collect::<Vec<_>>().into_iter()
}

/// Promise: with one task on each side, whatever its end, a future may be dropped at any of its polls, four of them in a
/// run, and polled when nobody woke it.
#[test]
fn one_on_each_side_may_drop_its_futures_anywhere() {
    fn check<K: Kind>()
    where
        K::Sender<Token>: 'static,
        K::Receiver<Token>: 'static,
    {
        for plan in plans(&[1, 2], 3, 1) {
            let runs = on_every_path(|path| {
                let (sender, receiver) = K::channel(plan.capacity);
                let mut run = Run::new(plan, path);
                run.task(Side::Sends, |world, ear| send(world, ear, sender, 3));
                run.task(Side::Receives, |world, ear| receive(world, ear, receiver, 3));
                run.finish();
            });
            assert!(runs > 300, "{runs}: hardly anything was dropped anywhere");
        }
    }
    for_all_kinds!(check());
}

/// Promise: the same for a stream, which keeps its place when what waits for its next value is dropped.
#[test]
fn what_waits_for_a_streams_next_value_may_be_dropped_anywhere() {
    fn check<K: Kind>()
    where
        K::Sender<Token>: 'static,
        K::Receiver<Token>: 'static,
    {
        for plan in plans(&[1, 2], 2, 1) {
            let runs = on_every_path(|path| {
                let (sender, receiver) = K::channel(plan.capacity);
                let mut run = Run::new(plan, path);
                run.task(Side::Sends, |world, ear| send(world, ear, sender, 3));
                run.task(Side::Receives, |world, ear| stream(world, ear, receiver, 3));
                run.finish();
            });
            assert!(runs > 300, "{runs}: hardly anything was dropped anywhere");
        }
    }
    for_all_kinds!(check());
}

/// Promise: a receiver that is dropped after it was woken leaves the value to another, who is woken for it.
#[test]
fn a_wake_up_that_a_dropped_receiver_got_is_passed_on() {
    for plan in plans(&[1, 2], 2, 0) {
        let runs = on_every_path(|path| {
            let (sender, receiver) = millstream::ring::bounded(plan.capacity);
            let mut run = Run::new(plan, path);
            for _ in 0..2 {
                let receiver = receiver.clone();
                run.task(Side::Receives, |world, ear| receive(world, ear, receiver, 1));
            }
            run.task(Side::Receives, |world, ear| stream(world, ear, receiver, 1));
            run.task(Side::Sends, |world, ear| send(world, ear, sender, 2));
            run.finish();
        });
        assert!(runs > 3_000, "{runs}: hardly anything was dropped anywhere");
    }
}

/// Promise: a sender that is dropped after it was woken leaves the place to another, who is woken for it.
#[test]
fn a_wake_up_that_a_dropped_sender_got_is_passed_on() {
    for plan in plans(&[1], 2, 0) {
        let runs = on_every_path(|path| {
            let (sender, receiver) = millstream::ring::bounded(plan.capacity);
            let mut run = Run::new(plan, path);
            for _ in 0..2 {
                let sender = sender.clone();
                run.task(Side::Sends, |world, ear| send(world, ear, sender, 1));
            }
            run.task(Side::Sends, |world, ear| send(world, ear, sender, 1));
            run.task(Side::Receives, |world, ear| receive(world, ear, receiver, 2));
            run.finish();
        });
        assert!(runs > 3_000, "{runs}: hardly anything was dropped anywhere");
    }
}

/// Promise: batches and takers that never wait, beside tasks that do, wake whom they have something for.
#[test]
fn batches_and_takers_beside_tasks_wake_whom_they_should() {
    for plan in plans(&[2], 1, 1) {
        let runs = on_every_path(|path| {
            let (sender, receiver) = millstream::ring::bounded(plan.capacity);
            let mut run = Run::new(plan, path);
            let (batch, taker) = (sender.clone(), receiver.clone());
            run.task(Side::Sends, |world, _| send_batch(world, batch, 2));
            run.task(Side::Receives, |world, _| take(world, taker, 2));
            let other = receiver.clone();
            run.task(Side::Receives, |world, ear| receive(world, ear, receiver, 1));
            run.task(Side::Receives, |world, ear| receive(world, ear, other, 1));
            run.task(Side::Sends, |world, ear| send(world, ear, sender, 2));
            run.finish();
        });
        assert!(runs > 3_000, "{runs}: hardly anything was dropped anywhere");
    }
}
