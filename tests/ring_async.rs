//! Tasks on a ring: under tokio with one thread and with several, under smol's executor, and beside threads.
//!
//! What happens to a future that is dropped at some poll is gone through systematically in `ring_cancel.rs`. Here executors
//! of other people's do the polling.

#![cfg(feature = "async")]

#[path = "support/bounds.rs"]
mod bounds;
#[path = "support/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[cfg(target_os = "linux")]
#[path = "support/sleeper.rs"]
mod sleeper;
#[path = "support/values.rs"]
mod values;

use bounds::assert_is_not;
use ends::{End, Kind, RecvEnd, SendEnd, Sending, for_all_kinds};
use futures_core::{FusedStream, Stream};
use futures_lite::{StreamExt, future};
use millstream::ring::{
    Consumer, Receiver, RecvError, RecvFuture, RecvStream, SendError, SendFuture, Sender, bounded,
    spsc,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
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

// ---- what is promised to the compiler --------------------------------------------------------------------------------

assert_is_not!(RecvFuture<&Receiver<Rc<u8>>>: Send);
assert_is_not!(SendFuture<&Sender<Rc<u8>>>: Send);
assert_is_not!(RecvStream<Receiver<Rc<u8>>>: Send);

#[test]
fn futures_and_streams_may_be_sent_moved_and_printed() {
    fn check<F: Send + Unpin + std::fmt::Debug>(future: F, said: &str) {
        assert_eq!(format!("{future:?}"), said);
    }
    let (sender, receiver) = bounded::<std::cell::Cell<u8>>(1);
    check(sender.send_async(1.into()), "SendFuture { .. }");
    check(receiver.recv_async(), "RecvFuture { .. }");
    check(receiver.stream(), "RecvStream { .. }");
    check(receiver.into_stream(), "RecvStream { .. }");
    let (mut producer, mut consumer) = spsc::<std::cell::Cell<u8>>(1);
    check(producer.send_async(1.into()), "SendFuture { .. }");
    check(consumer.recv_async(), "RecvFuture { .. }");
    check(consumer.stream(), "RecvStream { .. }");
    check(consumer.into_stream(), "RecvStream { .. }");
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
            let got: Arc<Mutex<Vec<usize>>> = Arc::default();
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
                let (receiver, got) = (receiver.clone(), got.clone());
                jobs.push(job(async move {
                    let mut mine = Vec::new();
                    for turn in 0.. {
                        let received = async { Some(receiver.recv_async().await) };
                        match future::or(received, async { give_up(turn % 3).await }).await {
                            Some(Ok(value)) => mine.push(value),
                            Some(Err(RecvError)) => break,
                            None => {}
                        }
                    }
                    got.lock().unwrap().extend(mine);
                }));
            }
            let thread_sends = thread::spawn(move || {
                (2 * EACH..3 * EACH).for_each(|value| sender.send(value).unwrap());
            });
            let theirs = got.clone();
            let thread_receives = thread::spawn(move || {
                let mine: Vec<_> = receiver.iter().collect();
                theirs.lock().unwrap().extend(mine);
            });
            executor.run(jobs);
            thread_sends.join().unwrap();
            thread_receives.join().unwrap();
            let mut got = got.lock().unwrap().clone();
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
            let (receiver, count) = (receiver.clone(), waiting.clone());
            jobs.push(job(async move {
                assert_eq!(counting(count, receiver.recv_async()).await, Err(RecvError));
                assert_eq!(receiver.into_stream().next().await, None);
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

/// Promise: a stream gives everything, then says that it has ended, and says so again whenever asked.
#[test]
fn a_stream_ends_once_everything_was_given() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(5);
        sender.send_many(0..5).unwrap();
        let mut stream = receiver.stream();
        assert_eq!(stream.size_hint(), (5, None));
        assert_eq!(future::block_on(stream.next()), Some(0));
        assert_eq!((stream.size_hint(), stream.is_terminated()), ((4, None), false));
        drop(stream);
        drop(sender);
        let mut stream = receiver.into_stream();
        let rest: Vec<_> = future::block_on((&mut stream).collect());
        assert_eq!((rest, stream.is_terminated()), (vec![1, 2, 3, 4], true));
        assert_eq!(future::block_on(stream.next()), None);
    }
    for_all_kinds!(check());
}

// ---- by hand ---------------------------------------------------------------------------------------------------------

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(count.clone())))
}

/// Promise: a value wakes one task, the one that has waited longest; a batch as many as it has values; the end all.
#[test]
fn a_value_wakes_one_task_and_no_other() {
    let (sender, receiver) = bounded(8);
    let counts: [Arc<Count>; 6] = Default::default();
    let mut futures = counts.each_ref().map(|_| receiver.recv_async());
    for (future, count) in futures.iter_mut().zip(&counts) {
        assert!(poll(future, count).is_pending());
    }
    let wakes = || counts.each_ref().map(|count| count.wakes());
    sender.send(1).unwrap();
    assert_eq!(wakes(), [1, 0, 0, 0, 0, 0]);
    assert_eq!(sender.send_many([2, 3]).unwrap(), 2);
    assert_eq!(wakes(), [1, 1, 1, 0, 0, 0]);
    for (future, value) in futures.iter_mut().zip([1, 2, 3]) {
        assert_eq!(poll(future, &counts[5]), Poll::Ready(Ok(value)));
    }
    assert_eq!(wakes(), [1, 1, 1, 0, 0, 0]);
    drop(sender);
    assert_eq!(wakes(), [1, 1, 1, 1, 1, 1]);
    assert_eq!(poll(&mut futures[4], &counts[4]), Poll::Ready(Err(RecvError)));
}

/// Promise: a free place wakes one sender, places taken at once as many as they are.
#[test]
fn a_free_place_wakes_one_task_and_no_other() {
    let (sender, receiver) = bounded(3);
    sender.send_many([0; 3]).unwrap();
    let counts: [Arc<Count>; 5] = Default::default();
    let mut futures = counts.each_ref().map(|_| sender.send_async(1));
    for (future, count) in futures.iter_mut().zip(&counts) {
        assert!(poll(future, count).is_pending());
    }
    let wakes = || counts.each_ref().map(|count| count.wakes());
    assert_eq!((receiver.recv(), wakes()), (Ok(0), [1, 0, 0, 0, 0]));
    assert_eq!((receiver.recv_many(&mut Vec::new(), 2), wakes()), (Ok(2), [1, 1, 1, 0, 0]));
    assert_eq!(poll(&mut futures[2], &counts[2]), Poll::Ready(Ok(())));
    drop(receiver);
    assert_eq!(wakes(), [1, 1, 1, 1, 1]);
    let [first, ..] = futures;
    assert_eq!(first.into_inner(), Some(1));
}

/// Promise: the value of a send comes back from the future as long as it was not sent.
#[test]
fn what_was_not_sent_comes_back_from_the_future() {
    fn check<K: Kind>() {
        let (mut sender, mut receiver) = K::channel(1);
        let count = Arc::default();
        assert_eq!(sender.send_async(1).into_inner(), Some(1));
        let mut sent = sender.send_async(2);
        assert_eq!(poll(&mut sent, &count), Poll::Ready(Ok(())));
        assert_eq!(sent.into_inner(), None);
        let mut waiting = sender.send_async(3);
        assert!(poll(&mut waiting, &count).is_pending());
        assert_eq!((receiver.recv(), count.wakes()), (Ok(2), 1));
        assert_eq!((waiting.into_inner(), receiver.len()), (Some(3), 0));
        drop(receiver);
        let mut refused = sender.send_async(4);
        assert_eq!(poll(&mut refused, &count), Poll::Ready(Err(SendError(4))));
        assert_eq!(refused.into_inner(), None);
    }
    for_all_kinds!(check());
}

#[test]
fn a_send_that_was_ready_panics_when_it_is_polled_again() {
    let (sender, receiver) = bounded(1);
    let count = Arc::default();
    let mut send = sender.send_async(1);
    assert_eq!(poll(&mut send, &count), Poll::Ready(Ok(())));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut send, &count))).is_err());
    assert_eq!((receiver.recv(), receiver.len()), (Ok(1), 0));
}

/// Promise: a wake-up that went to a task which is dropped before it looks goes on to a thread that sleeps, and one that
/// went to a thread's side of things is not lost to a task.
#[cfg(target_os = "linux")]
#[test]
fn a_dropped_task_passes_its_wake_up_on_to_a_sleeping_thread() {
    let (sender, receiver) = bounded(1);
    let count = Arc::default();
    let mut task = receiver.recv_async();
    assert!(poll(&mut task, &count).is_pending());
    thread::scope(|scope| {
        let (it, thread) = sleeper::start(scope, || receiver.recv());
        sleeper::asleep(&[it]);
        sender.send(7).unwrap();
        assert_eq!(count.wakes(), 1, "the task came first");
        drop(task);
        assert_eq!(thread.join().unwrap(), Ok(7));
    });
    // The other side: a place that a dropped sender was woken for.
    sender.send(8).unwrap();
    let mut task = sender.send_async(9);
    assert!(poll(&mut task, &count).is_pending());
    thread::scope(|scope| {
        let (it, thread) = sleeper::start(scope, || sender.send(10));
        sleeper::asleep(&[it]);
        assert_eq!((receiver.recv(), count.wakes()), (Ok(8), 2));
        drop(task);
        assert_eq!(thread.join().unwrap(), Ok(()));
        assert_eq!(receiver.recv(), Ok(10));
    });
}

/// A waker that uses the channel whenever it is cloned, called or dropped.
struct Busy(Sender<u8>, Receiver<u8>);

impl Busy {
    fn work(&self) {
        let mut into = Vec::new();
        let _ = self.1.try_recv_many(&mut into, 1);
        let _ = self.0.try_send_many(into);
    }
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        self.work();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.work();
    }
}

/// Promise: a waker may use the channel that it waits on: no lock is held when it is called or dropped.
#[test]
fn a_waker_may_use_the_channel_that_it_waits_on() {
    let (sender, receiver) = bounded(2);
    for _ in 0..20 {
        let mut futures: Vec<_> = (0..4).map(|_| receiver.recv_async()).collect();
        for _ in 0..2 {
            for future in &mut futures {
                let waker = Waker::from(Arc::new(Busy(sender.clone(), receiver.clone())));
                assert!(pin!(future).poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(sender.send_many([1, 2]).unwrap(), 2);
        futures.truncate(1);
        let waker = Waker::from(Arc::new(Busy(sender.clone(), receiver.clone())));
        let got = pin!(&mut futures[0]).poll(&mut Context::from_waker(&waker));
        assert!(matches!(got, Poll::Ready(Ok(1 | 2))), "{got:?}");
        futures.clear();
        assert_eq!((receiver.try_recv().is_ok(), receiver.len()), (true, 0));
    }
}

/// A waker that does something when it is called, there and then, as an executor does that runs tasks in line.
struct InLine<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for InLine<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Promise: of two that wake tasks at once none leaves a task asleep beside a value, whichever tasks they choose.
/// Method: the waker of the first task is the second one: it takes the values away, lets a third task wait, and sends
/// values of its own, while the first one has yet to choose whom it wakes for its second value.
#[test]
fn two_that_wake_at_once_leave_nobody_asleep() {
    let (sender, receiver) = bounded(4);
    let counts: [Arc<Count>; 2] = Default::default();
    let third = Arc::new(Mutex::new(None));
    let in_line = Waker::from(Arc::new(InLine({
        let (sender, receiver) = (sender.clone(), receiver.clone());
        let (third, count) = (third.clone(), counts[1].clone());
        move || {
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
            let mut waiting = receiver.clone().into_stream();
            assert!(poll(&mut waiting.next(), &count).is_pending());
            *third.lock().unwrap() = Some(waiting);
            assert_eq!(sender.send_many([3, 4, 5]).map_err(drop), Ok(3));
        }
    })));
    let (mut first, mut second) = (receiver.recv_async(), receiver.recv_async());
    assert!(pin!(&mut first).poll(&mut Context::from_waker(&in_line)).is_pending());
    assert!(poll(&mut second, &counts[0]).is_pending());
    assert_eq!(sender.send_many([1, 2]).map_err(drop), Ok(2));
    assert_eq!(receiver.len(), 3);
    assert_eq!(counts.each_ref().map(|count| count.wakes()), [1, 1], "three values, three tasks");
    assert!(third.lock().unwrap().is_some());
}

/// Promise: an end that is alone stays alone through its futures, and may look between them.
#[test]
fn a_consumer_may_look_between_its_futures() {
    let (mut producer, mut consumer): (_, Consumer<u8, _>) = spsc(2);
    let count = Arc::default();
    assert!(poll(&mut consumer.recv_async(), &count).is_pending());
    assert_eq!(consumer.peek(), None);
    future::block_on(producer.send_async(1)).unwrap();
    assert_eq!(consumer.peek(), Some(&1));
    assert_eq!(future::block_on(consumer.recv_async()), Ok(1));
    assert_eq!(count.wakes(), 0, "it was dropped before");
}
