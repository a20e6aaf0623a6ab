//! Tasks and threads that wait on one channel, in random schedules: nobody waits for ever, nothing is lost.
//!
//! A task is a future that a thread of its own polls; its waker sets a flag under a lock and rings. Now and then the future
//! is dropped at a poll and begun anew, as by a `select` that chose another branch.
#![cfg(shuttle)]

use loom_tests::schedules;
use millstream::modelled::{Layout, Ring, Shape, over};
use millstream::ring::{Receiver, Sender, WaitStrategy};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Wake, Waker};

fn channel(capacity: usize) -> (Sender<u64>, Receiver<u64>) {
    let seats = Layout { near: 1, chunks: 4, chunk_bits: 0 };
    over(Ring::shaped(Shape { seats, ..Shape::new(capacity) }), WaitStrategy::Park)
}

/// What a waker rings.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ringing: Condvar,
}

struct Rope(Arc<Bell>);

impl Wake for Rope {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.rung.lock().expect("nobody panics with it") = true;
        self.0.ringing.notify_one();
    }
}

/// Polls until the future is ready, or until it is dropped at a poll, one in four.
fn run<F: Future>(future: F) -> Option<F::Output> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(std::sync::Arc::new(Rope(bell.clone())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = Pin::as_mut(&mut future).poll(&mut Context::from_waker(&waker))
        {
            return Some(answer);
        }
        if thread_rng().gen_range(0..4) == 0 {
            return None; // sometimes after the wake that was meant for it
        }
        let mut rung = bell.rung.lock().expect("nobody panics with it");
        while !*rung {
            rung = bell.ringing.wait(rung).expect("nobody panics with it");
        }
        *rung = false;
    }
}

fn send(sender: &Sender<u64>, as_task: bool, value: u64) {
    if !as_task {
        return sender.send(value).expect("somebody receives");
    }
    while run(sender.send_async(value)).is_none() {}
}

/// What is received until the end, added up.
fn receive(receiver: &Receiver<u64>, as_task: bool) -> u64 {
    let mut sum = 0;
    loop {
        let answer = if as_task { run(receiver.recv_async()) } else { Some(receiver.recv()) };
        match answer {
            Some(Ok(value)) => sum += value,
            Some(Err(_)) => return sum,
            None => {}
        }
    }
}

/// The first so many of each side are tasks, the others threads.
fn engine(capacity: usize, senders: (usize, usize), receivers: (usize, usize), each: u64) {
    let (sender, receiver) = channel(capacity);
    let sending: Vec<_> = (0..senders.1)
        .map(|nth| (sender.clone(), nth < senders.0))
        .map(|(sender, as_task)| {
            thread::spawn(move || (1..=each).for_each(|value| send(&sender, as_task, value)))
        })
        .collect();
    let receiving: Vec<_> = (0..receivers.1)
        .map(|nth| (receiver.clone(), nth < receivers.0))
        .map(|(receiver, as_task)| thread::spawn(move || receive(&receiver, as_task)))
        .collect();
    drop((sender, receiver));
    sending.into_iter().for_each(|party| party.join().expect("a sender"));
    let sum: u64 = receiving.into_iter().map(|party| party.join().expect("a receiver")).sum();
    assert_eq!(sum, senders.1 as u64 * each * (each + 1) / 2, "lost or doubled");
}

/// Promise: tasks lose no value and no wake-up, however often their futures are dropped.
#[test]
fn tasks_share_one_entry() {
    schedules(|| engine(1, (2, 2), (2, 2), 3));
}

#[test]
fn three_tasks_a_side_share_two_entries() {
    schedules(|| engine(2, (3, 3), (3, 3), 2));
}

/// Promise: a task takes no wake-up from a thread, nor a thread from a task.
#[test]
fn tasks_and_threads_share_one_entry() {
    schedules(|| engine(1, (1, 2), (1, 2), 3));
}

#[test]
fn tasks_send_to_threads() {
    schedules(|| engine(1, (2, 2), (0, 2), 3));
}

#[test]
fn threads_send_to_tasks() {
    schedules(|| engine(1, (0, 2), (2, 3), 3));
}
