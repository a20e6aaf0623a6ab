//! Futures and streams by hand: who is woken by what, and what a future says and gives back.

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
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
#[cfg(target_os = "linux")]
use std::thread;

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
    let (keep, kept) = mpsc::channel();
    let in_line = Waker::from(Arc::new(InLine({
        let (sender, receiver) = (sender.clone(), receiver.clone());
        let count = counts[1].clone();
        move || {
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
            let mut waiting = receiver.clone().into_stream();
            assert!(poll(&mut waiting.next(), &count).is_pending());
            keep.send(waiting).unwrap();
            assert_eq!(sender.send_many([3, 4, 5]).map_err(drop), Ok(3));
        }
    })));
    let (mut first, mut second) = (receiver.recv_async(), receiver.recv_async());
    assert!(pin!(&mut first).poll(&mut Context::from_waker(&in_line)).is_pending());
    assert!(poll(&mut second, &counts[0]).is_pending());
    assert_eq!(sender.send_many([1, 2]).map_err(drop), Ok(2));
    assert_eq!(receiver.len(), 3);
    assert_eq!(counts.each_ref().map(|count| count.wakes()), [1, 1], "three values, three tasks");
    assert!(kept.try_recv().is_ok());
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
