//! Tasks on a ring: under tokio with one thread and with several, under smol's executor, and beside threads.
//!
//! Here executors of other people's do the polling. Who is woken by what: `ring_wakers.rs`. Futures that are dropped at some
//! poll, systematically: `ring_cancel.rs`.

#![cfg(feature = "async")]
#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[path = "support/values.rs"]
mod values;

use ends::{Kind, RecvEnd, SendEnd, for_all_kinds};
use futures_core::FusedStream;
use futures_lite::{StreamExt, future};
use millstream::ring::{RecvError, SendError, bounded, spsc};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use values::{Parcel, Seen};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, Clone, Copy)]
enum Executor {
    TokioOne,
    TokioMany,
    Smol,
}

const EXECUTORS: [Executor; 3] = [Executor::TokioOne, Executor::TokioMany, Executor::Smol];
const THREADS: usize = 3;

impl Executor {
    /// Runs them to their ends; a panic of one is a panic here.
    fn run(self, jobs: Vec<Job>) {
        match self {
            Self::TokioOne => Self::on_tokio(tokio::runtime::Builder::new_current_thread(), jobs),
            Self::TokioMany => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(THREADS);
                Self::on_tokio(builder, jobs);
            }
            Self::Smol => Self::on_smol(jobs),
        }
    }

    fn on_tokio(mut builder: tokio::runtime::Builder, jobs: Vec<Job>) {
        builder.build().unwrap().block_on(async {
            let tasks: Vec<_> = jobs.into_iter().map(tokio::spawn).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }

    fn on_smol(jobs: Vec<Job>) {
        let executor = async_executor::Executor::new();
        let tasks: Vec<_> = jobs.into_iter().map(|job| executor.spawn(job)).collect();
        // Each of its threads runs until the channel ends.
        let (stop, stopped) = bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let (executor, stopped) = (&executor, stopped.clone());
                scope.spawn(move || future::block_on(executor.run(stopped.recv_async())));
            }
            future::block_on(async {
                for task in tasks {
                    task.await;
                }
            });
            drop(stop);
        });
    }
}

fn job(future: impl Future<Output = ()> + Send + 'static) -> Job {
    Box::pin(future)
}

// ---- executors -------------------------------------------------------------------------------------------------------

fn sending(mut sender: impl SendEnd<Parcel> + Send + 'static, name: u64, count: u64) -> Job {
    job(async move {
        for number in 0..count {
            sender.send_async(Parcel::new(name, number)).await.map_err(drop).unwrap();
        }
    })
}

fn receiving(
    mut receiver: impl RecvEnd<Parcel> + Send + 'static,
    senders: u64,
    total: &Arc<AtomicUsize>,
) -> Job {
    let total = total.clone();
    job(async move {
        let mut seen = Seen::of(senders);
        while let Ok(parcel) = receiver.recv_async().await {
            seen.open(parcel);
        }
        total.fetch_add(seen.count as usize, Ordering::Relaxed);
    })
}

/// Promise: tasks lose nothing, tear nothing, and keep each sender's order, whoever runs them.
#[test]
fn many_tasks_lose_nothing_and_keep_the_order() {
    const EACH: u64 = 1_000;
    for executor in EXECUTORS {
        for (capacity, senders, receivers) in [(1, 4, 4), (3, 8, 1), (3, 1, 8), (64, 6, 6)] {
            let (sender, receiver) = bounded(capacity);
            let total = Arc::default();
            let mut jobs: Vec<Job> =
                (0..senders).map(|name| sending(sender.clone(), name, EACH)).collect();
            jobs.extend((0..receivers).map(|_| receiving(receiver.clone(), senders, &total)));
            drop((sender, receiver));
            executor.run(jobs);
            assert_eq!(total.load(Ordering::Relaxed) as u64, senders * EACH, "{executor:?}");
        }
    }
}

/// Promise: so it is with every kind of ends.
#[test]
fn tasks_may_have_ends_of_every_kind() {
    fn check<K: Kind>(executor: Executor, capacity: usize)
    where
        K::Sender<Parcel>: 'static,
        K::Receiver<Parcel>: 'static,
    {
        const VALUES: u64 = 1_000;
        let (sender, receiver) = K::channel(capacity);
        let total = Arc::default();
        executor.run(vec![sending(sender, 0, VALUES), receiving(receiver, 1, &total)]);
        assert_eq!(total.load(Ordering::Relaxed) as u64, VALUES);

        // And as streams, lent and owned.
        let (sender, mut receiver) = K::channel(capacity);
        let streaming = job(async move {
            let mut seen = Seen::of(1);
            let mut lent = receiver.stream();
            for _ in 0..VALUES / 2 {
                seen.open(lent.next().await.unwrap());
            }
            assert!(!lent.is_terminated());
            drop(lent);
            let mut owned = receiver.into_stream();
            while let Some(parcel) = owned.next().await {
                seen.open(parcel);
            }
            assert_eq!(seen.count, VALUES);
            assert!(owned.is_terminated() && owned.next().await.is_none());
        });
        executor.run(vec![sending(sender, 0, VALUES), streaming]);
    }
    for executor in EXECUTORS {
        for capacity in [1, 16] {
            for_all_kinds!(check(executor, capacity));
        }
    }
}

/// Promise: threads and tasks send and receive on one channel, on either side, and wake each other.
#[test]
fn threads_and_tasks_share_a_channel() {
    const EACH: u64 = 1_000;
    for executor in EXECUTORS {
        for capacity in [1, 4, 50] {
            let (sender, receiver) = bounded(capacity);
            let total: Arc<AtomicUsize> = Arc::default();
            thread::scope(|scope| {
                let mut jobs = Vec::new();
                for name in [0, 1] {
                    jobs.push(sending(sender.clone(), name, EACH));
                    jobs.push(receiving(receiver.clone(), 4, &total));
                    let (sender, receiver, total) = (sender.clone(), receiver.clone(), &total);
                    scope.spawn(move || {
                        for number in 0..EACH {
                            sender.send(Parcel::new(name + 2, number)).map_err(drop).unwrap();
                        }
                    });
                    scope.spawn(move || {
                        let mut seen = Seen::of(4);
                        receiver.iter().for_each(|parcel| seen.open(parcel));
                        total.fetch_add(seen.count as usize, Ordering::Relaxed);
                    });
                }
                drop((sender, receiver));
                executor.run(jobs);
            });
            assert_eq!(total.load(Ordering::Relaxed) as u64, 4 * EACH, "{executor:?}");
        }
    }
}

/// Promise: a thread and a task that take turns wake each other each time, whichever of them sends.
#[test]
fn a_thread_and_a_task_take_turns() {
    const ROUNDS: u64 = 2_000;
    for executor in EXECUTORS {
        let ((mut ask, mut asked), (mut answer, mut answered)) = (spsc(1), spsc(1));
        let answering = thread::spawn(move || {
            for question in asked.iter() {
                answer.send(question + 1).unwrap();
            }
        });
        executor.run(vec![job(async move {
            for question in 0..ROUNDS {
                ask.send_async(question).await.unwrap();
                assert_eq!(answered.recv_async().await, Ok(question + 1));
            }
        })]);
        answering.join().unwrap();

        let ((ask, asked), (answer, answered)) = (bounded(1), bounded(1));
        let asking = thread::spawn(move || {
            for question in 0..ROUNDS {
                ask.send(question).unwrap();
                assert_eq!(answered.recv(), Ok(question + 1));
            }
        });
        executor.run(vec![job(async move {
            while let Ok(question) = asked.recv_async().await {
                answer.send_async(question + 1).await.unwrap();
            }
        })]);
        asking.join().unwrap();
    }
}

/// Promise: futures that lose a race are dropped without harm: of two channels, whichever has something is received from,
/// and each value comes once, in its order. (What `select!` does.)
#[test]
fn receives_may_race_each_other() {
    const EACH: u64 = 3_000;
    for executor in EXECUTORS {
        let (one, ones) = bounded(1);
        let (two, twos) = bounded(3);
        let total: Arc<AtomicUsize> = Arc::default();
        let mut jobs = vec![sending(one, 0, EACH), sending(two, 1, EACH)];
        for _ in 0..3 {
            let (ones, twos, total) = (ones.clone(), twos.clone(), total.clone());
            jobs.push(job(async move {
                let (mut seen, mut over) = (Seen::of(2), [false, false]);
                while over != [true, true] {
                    let first = async {
                        if over[0] { future::pending().await } else { (0, ones.recv_async().await) }
                    };
                    let second = async {
                        if over[1] { future::pending().await } else { (1, twos.recv_async().await) }
                    };
                    match future::race(first, second).await {
                        (_, Ok(parcel)) => seen.open(parcel),
                        (which, Err(RecvError)) => over[which] = true,
                    }
                }
                total.fetch_add(seen.count as usize, Ordering::Relaxed);
            }));
        }
        executor.run(jobs);
        assert_eq!(total.load(Ordering::Relaxed) as u64, 2 * EACH, "{executor:?}");
    }
}

/// Promise: so it is when senders and receivers give up all the time, with threads among them that never do.
/// Method: each future races one that is ready after a poll or two; values of a send that gave up are taken back.
#[test]
fn sends_and_receives_may_give_up_all_the_time() {
    const EACH: usize = 300; // Tasks that do not sleep keep the threads waiting for a processor.
    for executor in EXECUTORS {
        for capacity in [1, 3] {
            let (sender, receiver) = bounded(capacity);
            let (tell, told) = mpsc::channel();
            let mut jobs = Vec::new();
            for name in [0, EACH] {
                let sender = sender.clone();
                jobs.push(job(async move {
                    for number in name..name + EACH {
                        let mut next = Some(number);
                        while let Some(value) = next.take() {
                            let mut send = sender.send_async(value);
                            let sent = async { Some((&mut send).await) };
                            let gave_up = async { give_up(number % 3).await };
                            match future::or(sent, gave_up).await {
                                Some(sent) => sent.unwrap(),
                                None => next = send.into_inner(),
                            }
                        }
                    }
                }));
                let (receiver, tell) = (receiver.clone(), tell.clone());
                jobs.push(job(async move {
                    for turn in 0.. {
                        let received = async { Some(receiver.recv_async().await) };
                        match future::or(received, async { give_up(turn % 3).await }).await {
                            Some(Ok(value)) => tell.send(value).unwrap(),
                            Some(Err(RecvError)) => break,
                            None => {}
                        }
                    }
                }));
            }
            let thread_sends = thread::spawn(move || {
                (2 * EACH..3 * EACH).for_each(|value| sender.send(value).unwrap());
            });
            let thread_receives = thread::spawn(move || {
                receiver.iter().for_each(|value| tell.send(value).unwrap());
            });
            executor.run(jobs);
            thread_sends.join().unwrap();
            thread_receives.join().unwrap();
            let mut got: Vec<usize> = told.iter().collect();
            got.sort();
            assert!(got.into_iter().eq(0..3 * EACH), "{executor:?}");
        }
    }
}

/// None after some polls: not at the first one, or a task that tries again would never let another one of its thread run.
async fn give_up<T>(polls: usize) -> Option<T> {
    for _ in 0..=polls {
        future::yield_now().await;
    }
    None
}

/// Promise: ten thousand tasks wait on one channel, and each gets its own.
#[test]
fn ten_thousand_tasks_wait_on_one_channel() {
    const TASKS: usize = 10_000;
    for executor in EXECUTORS {
        let (sender, receiver) = bounded(16);
        let received: Arc<AtomicUsize> = Arc::default();
        let mut jobs: Vec<Job> = Vec::new();
        for _ in 0..TASKS {
            let (receiver, received) = (receiver.clone(), received.clone());
            jobs.push(job(async move {
                let value: usize = receiver.recv_async().await.unwrap();
                received.fetch_add(value, Ordering::Relaxed);
            }));
        }
        for value in 0..TASKS {
            let sender = sender.clone();
            jobs.push(job(async move { sender.send_async(value).await.unwrap() }));
        }
        executor.run(jobs);
        assert_eq!(received.load(Ordering::Relaxed), TASKS * (TASKS - 1) / 2, "{executor:?}");
        assert!(receiver.is_empty());
    }
}

// ---- the end ---------------------------------------------------------------------------------------------------------

/// That future, which counts itself in when it begins to wait.
async fn counting<F: Future>(waiting: Arc<AtomicUsize>, future: F) -> F::Output {
    let (mut future, mut counted) = (pin!(future), false);
    future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() && !std::mem::replace(&mut counted, true) {
            waiting.fetch_add(1, Ordering::Relaxed);
        }
        polled
    })
    .await
}

/// Drops that end when so many wait.
fn leaving<E: Send + 'static>(end: E, waiting: Arc<AtomicUsize>, count: usize) -> Job {
    job(async move {
        while waiting.load(Ordering::Relaxed) < count {
            future::yield_now().await;
        }
        drop(end);
    })
}

/// Promise: when the last end of a side goes, every task of the other one is woken: receivers learn of the end, senders
/// get their values back.
#[test]
fn the_end_wakes_every_task() {
    const TASKS: usize = 20;
    for executor in EXECUTORS {
        let (sender, receiver) = bounded::<u8>(1);
        let (mut jobs, waiting) = (Vec::new(), Arc::<AtomicUsize>::default());
        for _ in 0..TASKS {
            let (end, count) = (receiver.clone(), waiting.clone());
            jobs.push(job(async move {
                assert_eq!(counting(count, end.recv_async()).await, Err(RecvError));
                assert_eq!(end.into_stream().next().await, None);
            }));
            let (mut stream, count) = (receiver.clone().into_stream(), waiting.clone());
            jobs.push(job(async move { assert_eq!(counting(count, stream.next()).await, None) }));
        }
        jobs.push(leaving(sender, waiting, 2 * TASKS));
        executor.run(jobs);

        let (sender, receiver) = bounded(1);
        sender.send(TASKS).unwrap();
        let (mut jobs, waiting) = (Vec::new(), Arc::<AtomicUsize>::default());
        for number in 0..TASKS {
            let (sender, count) = (sender.clone(), waiting.clone());
            jobs.push(job(async move {
                let sent = counting(count, sender.send_async(number)).await;
                assert_eq!(sent, Err(SendError(number)));
            }));
        }
        jobs.push(leaving(receiver, waiting, TASKS));
        executor.run(jobs);
        assert!(sender.is_empty());
    }
}
