//! Models of tasks that wait: a wake-up is never lost, whatever becomes of the future that it reached.
//!
//! A task is a future, polled by hand, and a bell for its waker: who waits for the bell is the executor. The bell and all
//! that holds it are gone before the execution ends, as loom demands of its objects.
#![cfg(loom)]

use loom::sync::{Arc, Notify};
use loom_tests::{explore, explore_wakes, three, two};
use millstream::modelled::{
    EventCount, Layout, Receiver, RecvError, Ring, SendError, Sender, Shape, WaitStrategy, over,
};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Wake, Waker};

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    over(Ring::shaped(Shape { seats, ..Shape::new(capacity) }), WaitStrategy::Park)
}

/// What a waker rings.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

impl Bell {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Notify::new()))
    }
}

/// Polls once, with that bell.
fn poll<F: Future>(future: Pin<&mut F>, bell: &std::sync::Arc<Bell>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(bell.clone())))
}

/// Polls once, with a bell that nobody hears.
fn look<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match poll(future, &Bell::new()) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// An executor of one task: polls, and sleeps until the bell rings. A lost wake-up is a deadlock.
fn run<F: Future>(future: F) -> F::Output {
    let (mut future, bell) = (pin!(future), Bell::new());
    loop {
        if let Poll::Ready(answer) = poll(future.as_mut(), &bell) {
            return answer;
        }
        bell.0.wait();
    }
}

/// Promise: a task that waits is woken by a send. The plain looks on both sides are store buffering: \[E1\].
#[test]
fn a_task_is_woken_by_a_value() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone()); // so that no end wakes anybody
        let (sent, got) = two(move || sender.send(1), move || run(receiver.recv_async()));
        assert_eq!((sent, got), (Ok(()), Ok(1)));
        drop(keep);
    });
}

/// Promise: a task that waits for room is woken by a receive, and what was sent before goes first.
#[test]
fn a_task_is_woken_by_room() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone());
        sender.send(1).unwrap();
        let (sent, got) = two(move || run(sender.send_async(2)), move || receiver.recv());
        assert_eq!((sent, got, keep.1.try_recv()), (Ok(()), Ok(1), Ok(2)));
    });
}

/// Promise: two tasks wake each other through one place, both ways.
#[test]
fn two_tasks_wake_each_other() {
    explore(2, || {
        let (sender, receiver) = channel(1);
        let (sent, got) = two(
            move || [run(sender.send_async(1)), run(sender.send_async(2))],
            move || [(); 3].map(|()| run(receiver.recv_async())),
        );
        assert_eq!((sent, got), ([Ok(()), Ok(())], [Ok(1), Ok(2), Err(RecvError)]));
    });
}

/// Promise: a task whose count was taken by a wake for a value that somebody else got is still counted, or still woken.
/// Method: who sends takes its first value back, at any moment of the task's registration; the second is the task's.
/// The list must be known to be filled by whoever took a count: \[E3\].
#[test]
fn a_value_that_was_taken_away_costs_a_task_no_later_one() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (taken, got) = two(
            move || {
                sender.send(1).unwrap();
                let taken = other.try_recv().is_ok();
                sender.send(2).unwrap();
                taken
            },
            move || run(receiver.recv_async()),
        );
        assert_eq!(got, Ok(if taken { 2 } else { 1 }));
        drop(keep);
    });
}

/// Promise: a future that is dropped after it was woken passes the wake on: the value is somebody else's. Method: it waits
/// already, so it is the first to be woken; a thread, or another task, waits behind it.
fn a_dropped_receive(wait: fn(&Receiver<u64>) -> u64) {
    let (sender, receiver) = channel(1);
    let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
    let mut dropped = receiver.into_stream();
    assert!(is_pending(&mut dropped));
    let ((), got, sent) =
        three(move || drop(dropped), move || wait(&other), move || sender.send(1));
    assert_eq!((got, sent), (1, Ok(())));
    drop(keep);
}

fn is_pending(stream: &mut (impl futures_core::Stream + Unpin)) -> bool {
    let waker = Waker::from(Bell::new());
    Pin::new(stream).poll_next(&mut Context::from_waker(&waker)).is_pending()
}

#[test]
fn a_receive_that_is_dropped_passes_its_wake_to_a_thread() {
    explore_wakes(2, || a_dropped_receive(|receiver| receiver.recv().unwrap()));
}

#[test]
fn a_receive_that_is_dropped_passes_its_wake_to_a_task() {
    explore(2, || a_dropped_receive(|receiver| run(receiver.recv_async()).unwrap()));
}

/// The same of one that is dropped at whatever moment after its first poll, and of the value that it may have got.
#[test]
fn a_receive_that_is_polled_and_dropped_loses_nothing() {
    explore(2, || {
        let (sender, receiver) = channel(1);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (first, ()) =
            two(move || look(pin!(receiver.recv_async())), move || sender.send(1).unwrap());
        assert_eq!(first.is_none(), other.try_recv() == Ok(1), "ready with it, or it is there");
        drop(keep);
    });
}

/// Promise: a send that is dropped where it waits has sent nothing, its value is dropped once, and the room that it was
/// woken for is somebody else's.
#[test]
fn a_send_that_is_dropped_sends_nothing_and_takes_no_wake() {
    explore_wakes(1, || {
        let (token, (sender, receiver)) = (Arc::new(()), channel(1));
        let (keep, other) = ((sender.clone(), receiver.clone()), sender.clone());
        sender.send(None).unwrap();
        let (mine, theirs) = (Some(token.clone()), Some(token.clone()));
        let (first, (), ()) = three(
            move || look(pin!(sender.send_async(mine))).is_some(),
            move || assert!(other.send(theirs).is_ok()),
            move || {
                assert_eq!(receiver.recv().map(|value| value.is_none()), Ok(true));
                assert_eq!(receiver.recv().map(|value| value.is_some()), Ok(true));
            },
        );
        assert_eq!(keep.1.try_recv().is_ok(), first, "sent once, and only if it was ready");
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

/// Promise: a task and a thread that wait for one channel are woken by one value each.
#[test]
fn a_task_and_a_thread_are_served() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (first, second, ()) = three(
            move || receiver.recv().unwrap(),
            move || run(other.recv_async()).unwrap(),
            move || [1, 2].iter().for_each(|value| sender.send(*value).unwrap()),
        );
        assert_eq!(first + second, 3);
        drop(keep);
    });
}

/// The same of one batch: one wake for a task, one for a thread.
#[test]
fn a_batch_serves_a_task_and_a_thread() {
    explore_wakes(1, || {
        let (sender, receiver) = channel(2);
        let (keep, other) = ((sender.clone(), receiver.clone()), receiver.clone());
        let (first, second, sent) = three(
            move || receiver.recv().unwrap(),
            move || run(other.recv_async()).unwrap(),
            move || sender.send_many([1, 2]).ok(),
        );
        assert_eq!((first + second, sent), (3, Some(2)));
        drop(keep);
    });
}

/// Promise: the end wakes all, tasks and threads.
#[test]
fn the_end_wakes_a_task_and_a_thread() {
    explore_wakes(2, || {
        let (sender, receiver) = channel::<u64>(1);
        let other = receiver.clone();
        let (first, second, ()) =
            three(move || receiver.recv(), move || run(other.recv_async()), move || drop(sender));
        assert_eq!((first, second), (Err(RecvError), Err(RecvError)));
    });
}

/// The same of the last receiver, for a task that waits for room: it gets its value back, or it was let in.
#[test]
fn the_end_wakes_a_task_that_waits_for_room() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let ((), sent) = two(move || drop(receiver), move || run(sender.send_async(2)));
        assert!(sent.is_ok() || sent == Err(SendError(2)));
    });
}

/// Promise: a future that is polled again is woken by the waker of its last poll.
#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    explore(3, || {
        let (sender, receiver) = channel(1);
        let keep = (sender.clone(), receiver.clone());
        let ((), got) = two(
            move || sender.send(1).unwrap(),
            move || {
                let mut future = pin!(receiver.recv_async());
                match look(future.as_mut()) {
                    Some(answer) => answer,
                    None => run(future), // with a bell of its own
                }
            },
        );
        assert_eq!(got, Ok(1));
        drop(keep);
    });
}

/// Promise: at no time are there more sleepers than counts and wakes on their way. Method: two notifications, one task that
/// waits and one that comes; when all is quiet, who is in the list is in the count. (Choosing among those only that were
/// there before the notification breaks this: the later notifier takes the earlier one's task.)
#[test]
fn two_that_wake_at_once_leave_nobody_uncounted() {
    explore_wakes(3, || {
        let event = Arc::new(EventCount::new());
        let (a, b, c) = (event.clone(), event.clone(), event.clone());
        let waker = Waker::from(Bell::new());
        let earlier = event.listen_task(&waker);
        let ((), (), later) = three(
            move || a.notify_one(),
            move || b.notify_one(),
            move || c.listen_task(&Waker::from(Bell::new())),
        );
        let keys = [earlier, later];
        let asleep = keys.iter().filter(|key| event.is_listening(key, &waker)).count();
        assert!(asleep as u32 <= event.waiters(), "somebody sleeps whom no wake will find");
        keys.into_iter().for_each(|key| event.cancel_task(key));
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: registrations of tasks that end leave no count and no waker behind, chosen or not.
#[test]
fn registrations_of_tasks_leave_nothing_behind() {
    explore_wakes(2, || {
        let event = Arc::new(EventCount::new());
        let (a, b, c) = (event.clone(), event.clone(), event.clone());
        let bell = Bell::new();
        let [first, second] = [(); 2].map(|()| event.listen_task(&Waker::from(bell.clone())));
        three(move || a.notify_one(), move || b.cancel_task(first), move || c.cancel_task(second));
        assert_eq!((event.waiters(), std::sync::Arc::strong_count(&bell)), (0, 1));
    });
}

/// A waker that registers, and leaves again, in the event count that wakes it.
struct Again(Arc<EventCount>);

impl Wake for Again {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.cancel_task(self.0.listen_task(&Waker::from(Bell::new())));
    }
}

/// Promise: a waker is code of somebody else's, and may use the event count that wakes it.
#[test]
fn a_waker_may_use_what_wakes_it() {
    explore(2, || {
        let event = Arc::new(EventCount::new());
        let (a, b) = (event.clone(), event.clone());
        let key = event.listen_task(&Waker::from(std::sync::Arc::new(Again(event.clone()))));
        two(move || a.notify_one(), move || b.cancel_task(key));
        assert_eq!(event.waiters(), 0);
    });
}

/// Promise: a stream ends when the channel does, after the last value, and stays at its end.
#[test]
fn a_stream_ends_after_the_last_value() {
    explore(3, || {
        let (sender, receiver) = channel(2);
        let (sent, got) = two(
            move || sender.try_send(1),
            move || {
                let mut stream = receiver.into_stream();
                let next = |stream: &mut _| {
                    run(std::future::poll_fn(|context| poll_next(stream, context)))
                };
                [next(&mut stream), next(&mut stream), next(&mut stream)]
            },
        );
        assert_eq!((sent, got), (Ok(()), [Some(1), None, None]));
    });
}

fn poll_next<S: futures_core::Stream + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(context)
}
