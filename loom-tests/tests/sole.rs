//! Models of the ends that are alone on their side, beside every kind of end on the other, and of becoming alone.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::{explore, three, two};
use millstream::modelled::{
    Consumer, Layout, Producer, Receiver, RecvError, Ring, Sender, Shape, TryRecvError,
    TrySendError, WaitStrategy, over,
};

fn shape(capacity: usize) -> Shape {
    let seats = Layout { near: 4, chunks: 1, chunk_bits: 0 };
    Shape { seats, ..Shape::new(capacity) }
}

/// Turns of 3 bits, two laps before they wrap.
fn old(capacity: usize) -> Shape {
    Shape { turn_bits: 3, lap: 6, ..shape(capacity) }
}

fn channel<T>(shape: Shape) -> (Sender<T>, Receiver<T>) {
    over(Ring::shaped(shape), WaitStrategy::Park)
}

fn alone<T>(shape: Shape) -> (Producer<T>, Consumer<T>) {
    let (sender, receiver) = channel(shape);
    (producer(sender), consumer(receiver))
}

fn producer<T>(only: Sender<T>) -> Producer<T> {
    only.try_into_producer().expect("the only sender")
}

fn consumer<T>(only: Receiver<T>) -> Consumer<T> {
    only.try_into_consumer().expect("the only receiver")
}

/// Tries until it is done: a wait that costs the model fewer branches than a sleep.
fn insist<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        match attempt() {
            Some(done) => return done,
            None => thread::yield_now(),
        }
    }
}

/// Sends when there is room.
macro_rules! push {
    ($end:expr, $value:expr) => {
        insist(|| $end.try_send($value).ok())
    };
}

/// Receives when there is a value.
macro_rules! pop {
    ($end:expr) => {
        insist(|| $end.try_recv().ok())
    };
}

/// A cell is written again by the second push at the earliest, with exchanges on one side by the third: a shorter model
/// cannot see \[R2\].
const LAPS: u64 = 5;

fn both_alone(shape: Shape) {
    let (mut producer, mut consumer) = alone(shape);
    let ((), got) = two(
        move || (1..=LAPS).for_each(|value| push!(producer, value)),
        move || (0..LAPS).map(|_| pop!(consumer)).collect::<Vec<_>>(),
    );
    assert_eq!(got, (1..=LAPS).collect::<Vec<_>>());
}

/// Promise: between two ends that are alone each value arrives once, whole, in order, and no cell is written before it
/// was read: \[R1\], \[R2\].
#[test]
fn both_alone_through_one_entry() {
    explore(3, || both_alone(shape(1)));
}

/// The same where the words that were looked at ahead end with the lap, and turns wrap.
#[test]
fn both_alone_through_two_entries() {
    explore(3, || both_alone(old(2)));
}

/// The same with three entries, where the numbers between two laps are no positions.
#[test]
fn both_alone_through_three_entries() {
    explore(2, || both_alone(old(3)));
}

/// Promise: what was looked at without being taken is what comes next, and lies where it lay until then.
#[test]
fn what_was_seen_is_what_comes() {
    explore(3, || {
        let (mut producer, mut consumer) = alone(shape(1));
        let ((), got) = two(
            move || (1..=3).for_each(|value| push!(producer, value)),
            move || {
                let mut next = || {
                    let seen = insist(|| consumer.peek().copied());
                    assert_eq!(consumer.peek(), Some(&seen));
                    assert_eq!(consumer.try_recv(), Ok(seen));
                    seen
                };
                [next(), next(), next()]
            },
        );
        assert_eq!(got, [1, 2, 3]);
    });
}

/// One value is there, the producer tries two more, each consumer takes what it finds; then cells go round once more.
fn producer_alone(shape: Shape) {
    let (sender, receiver) = channel(shape);
    let (mut producer, keep) = (producer(sender), receiver.clone());
    let other = receiver.clone();
    assert!(producer.try_send(1).is_ok());
    let ((mut producer, accepted), first, second) = three(
        move || {
            let accepted = (2..4).filter(|value| producer.try_send(*value).is_ok());
            let accepted = accepted.collect::<Vec<_>>();
            (producer, accepted)
        },
        move || receiver.try_recv().ok(),
        move || other.try_recv().ok(),
    );
    let mut got: Vec<u64> = first.into_iter().chain(second).collect();
    got.sort();
    got.extend(keep.try_iter());
    assert_eq!(got, [&[1], &accepted[..]].concat(), "in order over all");
    for value in 4..4 + LAPS {
        assert!(producer.try_send(value).is_ok());
        assert_eq!(keep.try_recv(), Ok(value));
    }
}

/// Promise: a producer that stores and consumers that exchange lose and double nothing, and it is the oldest that goes.
#[test]
fn a_producer_alone_and_two_consumers() {
    explore(2, || producer_alone(shape(1)));
}

#[test]
fn a_producer_alone_and_two_consumers_on_two_entries() {
    explore(2, || producer_alone(old(2)));
}

fn consumer_alone(shape: Shape) {
    let (sender, receiver) = channel(shape);
    let (mut consumer, keep) = (consumer(receiver), sender.clone());
    let other = sender.clone();
    assert!(keep.try_send(1).is_ok());
    let (first, second, (mut consumer, mut got)) = three(
        move || sender.try_send(2).is_ok(),
        move || other.try_send(3).is_ok(),
        move || {
            let got = [(); 2].into_iter().filter_map(|()| consumer.try_recv().ok());
            let got = got.collect::<Vec<u64>>();
            (consumer, got)
        },
    );
    got.extend(std::iter::from_fn(|| consumer.try_recv().ok()));
    assert_eq!(got[0], 1, "the oldest first");
    got[1..].sort();
    let accepted = [(2, first), (3, second)].into_iter().filter(|sent| sent.1);
    assert_eq!(got[1..], accepted.map(|sent| sent.0).collect::<Vec<_>>());
    for value in 4..4 + LAPS {
        assert!(keep.try_send(value).is_ok());
        assert_eq!(consumer.try_recv(), Ok(value));
    }
}

/// Promise: a consumer that stores and producers that exchange lose and double nothing, and it is the oldest that comes.
#[test]
fn a_consumer_alone_and_two_producers() {
    explore(2, || consumer_alone(shape(1)));
}

#[test]
fn a_consumer_alone_and_two_producers_on_two_entries() {
    explore(2, || consumer_alone(old(2)));
}

/// A producer that goes round faster than one who exchanges pops, and the other way round: \[R2\] of one party.
fn exchange_beside(stores: bool) {
    let (sender, receiver) = channel(shape(1));
    let values = 1..=LAPS;
    let ((), got) = if stores {
        let mut producer = producer(sender);
        two(
            move || values.for_each(|value| push!(producer, value)),
            move || [(); LAPS as usize].map(|()| pop!(receiver)),
        )
    } else {
        let mut consumer = consumer(receiver);
        two(
            move || values.for_each(|value| push!(sender, value)),
            move || [(); LAPS as usize].map(|()| pop!(consumer)),
        )
    };
    assert_eq!(got.to_vec(), (1..=LAPS).collect::<Vec<_>>());
}

/// Promise: cells go round through private places on one side and none on the other.
#[test]
fn stores_fill_what_exchanges_empty() {
    explore(3, || exchange_beside(true));
}

#[test]
fn exchanges_fill_what_stores_empty() {
    explore(3, || exchange_beside(false));
}

/// Promise: an end that looks on is never told what never was. Method: a value goes in before each one that comes out,
/// so the channel is never empty; the bound that the consumer stores must carry the entries: \[R3\].
#[test]
fn never_empty_beside_a_consumer_alone() {
    explore(2, || {
        let (sender, receiver) = channel(shape(2));
        let (mut consumer, onlooker) = (consumer(receiver), sender.clone());
        assert!(sender.try_send(0).is_ok());
        two(
            move || {
                for value in 1..3 {
                    assert!(sender.try_send(value).is_ok());
                    assert_eq!(consumer.try_recv(), Ok(value - 1));
                }
                (sender, consumer) // or the end would empty it
            },
            move || {
                assert!(!onlooker.is_empty(), "there was always a value");
                assert!((1..=2).contains(&onlooker.len()), "one or two, always");
            },
        );
    });
}

/// The same on the other side: a value comes out before each one that goes in, so the channel is never full.
#[test]
fn never_full_beside_a_producer_alone() {
    explore(2, || {
        let (sender, receiver) = channel(shape(2));
        let (mut producer, onlooker) = (producer(sender), receiver.clone());
        assert!(producer.try_send(0).is_ok());
        two(
            move || {
                for value in 1..3 {
                    assert_eq!(receiver.try_recv(), Ok(value - 1));
                    assert!(producer.try_send(value).is_ok());
                }
                (producer, receiver)
            },
            move || {
                assert!(!onlooker.is_full(), "there was always room");
                assert!(onlooker.len() <= 1, "never that long");
            },
        );
    });
}

/// Promise: full and empty are exact for ends that are alone. Method: what a flag tells has happened before.
#[test]
fn full_and_empty_are_exact_for_ends_alone() {
    explore(3, || {
        let (mut producer, mut consumer) = alone(shape(2));
        let sent = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicBool::new(false));
        let (raise_sent, raise_received) = (sent.clone(), received.clone());
        assert!(producer.try_send(0).is_ok());
        two(
            move || {
                assert!(producer.try_send(1).is_ok());
                raise_sent.store(true, Ordering::Release); // the model's own
                if received.load(Ordering::Acquire) {
                    assert!(producer.try_send(2).is_ok(), "full after a pop that happened before");
                }
                producer
            },
            move || {
                assert_eq!(consumer.try_recv(), Ok(0));
                raise_received.store(true, Ordering::Release); // the model's own
                if sent.load(Ordering::Acquire) {
                    assert_eq!(consumer.try_recv(), Ok(1), "empty after a push before");
                }
                consumer
            },
        );
    });
}

/// Becomes alone when the others are gone.
fn last_sender(mut sender: Sender<u64>) -> Producer<u64> {
    loop {
        match sender.try_into_producer() {
            Ok(producer) => return producer,
            Err(back) => sender = back,
        }
        thread::yield_now();
    }
}

fn last_receiver(mut receiver: Receiver<u64>) -> Consumer<u64> {
    loop {
        match receiver.try_into_consumer() {
            Ok(consumer) => return consumer,
            Err(back) => receiver = back,
        }
        thread::yield_now();
    }
}

/// Promise: who becomes alone builds on what the one before left, and stores over none of it: \[C1\].
#[test]
fn a_sender_that_is_left_alone_stores_over_nothing() {
    explore(3, || {
        let (sender, receiver) = channel(shape(2));
        let other = sender.clone();
        two(
            move || assert!(other.try_send(1).is_ok()),
            move || {
                let mut producer = last_sender(sender);
                assert!(producer.try_send(2).is_ok(), "there was room for two");
                assert_eq!(producer.try_send(3), Err(TrySendError::Full(3)));
            },
        );
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2]);
    });
}

/// The same for two that went: the count-downs are one release sequence.
#[test]
fn a_sender_that_two_have_left_stores_over_nothing() {
    explore(2, || {
        let (sender, receiver) = channel(shape(2));
        let (other, third) = (sender.clone(), sender.clone());
        three(
            move || assert!(other.try_send(1).is_ok()),
            move || assert!(third.try_send(1).is_ok()),
            move || {
                let mut producer = last_sender(sender);
                assert_eq!(producer.try_send(2), Err(TrySendError::Full(2)));
            },
        );
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 1]);
    });
}

/// Promise: the same of receivers: none takes what the one before took: \[C3\].
#[test]
fn a_receiver_that_is_left_alone_takes_nothing_twice() {
    explore(3, || {
        let (sender, receiver) = channel(shape(2));
        let other = receiver.clone();
        [1, 2].into_iter().for_each(|value| sender.try_send(value).unwrap());
        two(
            move || assert_eq!(other.try_recv(), Ok(1)),
            move || {
                let mut consumer = last_receiver(receiver);
                assert_eq!(consumer.peek(), Some(&2));
                assert_eq!(consumer.try_recv(), Ok(2));
                assert_eq!(consumer.try_recv(), Err(TryRecvError::Empty));
            },
        );
        assert_eq!(sender.len(), 0);
    });
}

/// Promise: a producer that took company again loses nothing of before or after. Method: alone, then two that exchange, on
/// the bounds and cells that the stores left; the clone goes to its thread on the way.
#[test]
fn a_producer_that_takes_company_again_loses_nothing() {
    explore(3, || {
        let (sender, receiver) = channel(old(3));
        let mut producer = producer(sender);
        let handed = Arc::new(loom::sync::Mutex::new(None));
        let given = handed.clone();
        two(
            move || {
                assert!(producer.try_send(1).is_ok());
                let sender = producer.into_sender();
                *given.lock().unwrap() = Some(sender.clone());
                assert!(sender.try_send(2).is_ok());
            },
            move || {
                let sender: Sender<u64> = insist(|| handed.lock().unwrap().take());
                assert!(sender.try_send(3).is_ok());
            },
        );
        let got = receiver.iter().collect::<Vec<_>>();
        assert!(got == [1, 2, 3] || got == [1, 3, 2], "{got:?}");
    });
}

/// Promise: a producer that goes leaves what it sent, and then the end is seen. Method: its last store and the count: \[C1\].
#[test]
fn the_end_comes_after_the_last_value_of_a_producer() {
    explore(3, || {
        let (mut producer, mut consumer) = alone(shape(2));
        let ((), got) = two(
            move || assert!(producer.try_send(1).is_ok()),
            move || {
                let mut got = Vec::new();
                loop {
                    match consumer.try_recv() {
                        Ok(value) => got.push(value),
                        Err(TryRecvError::Empty) => thread::yield_now(),
                        Err(TryRecvError::Disconnected) => return got,
                    }
                }
            },
        );
        assert_eq!(got, [1]);
    });
}

/// Promise: the other side's sleep ends with a value or with the end, also where both are alone and store.
#[test]
fn ends_alone_wake_each_other() {
    explore(2, || {
        let (mut producer, mut consumer) = alone(shape(1));
        let ((), got) = two(
            move || (1..=2).for_each(|value| producer.send(value).unwrap()),
            move || [consumer.recv(), consumer.recv(), consumer.recv()],
        );
        assert_eq!(got, [Ok(1), Ok(2), Err(RecvError)]);
    });
}

/// Promise: a consumer that goes while a sender pushes leaves nothing behind, and gives no value twice. Method: the sender
/// takes its value back by exchange, beside the last stores of the consumer and the exchanges of its drop: \[C2\], \[C3\].
#[test]
fn nothing_stays_behind_of_a_consumer_that_goes() {
    explore(2, || {
        let token = Arc::new(());
        let (sender, receiver) = channel(shape(2));
        let (keep, theirs) = (sender.clone(), token.clone());
        let mut consumer = consumer(receiver);
        assert!(sender.try_send(token.clone()).is_ok());
        let ((), sent) = two(
            move || {
                assert!(consumer.try_recv().is_ok());
                drop(consumer);
            },
            move || sender.try_send(theirs),
        );
        assert!(sent.as_ref().err().is_none_or(TrySendError::is_disconnected));
        drop(sent);
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(keep);
    });
}

/// The same of a producer, and of senders that know of each other's pushes by nothing else.
#[test]
fn nothing_stays_behind_of_a_producer_whose_receiver_goes() {
    explore(3, || {
        let token = Arc::new(());
        let (sender, receiver) = channel(shape(2));
        let (mut producer, theirs) = (producer(sender), [(); 2].map(|()| token.clone()));
        let ((), producer) = two(
            move || drop(receiver),
            move || {
                for token in theirs {
                    let sent = producer.try_send(token);
                    assert!(sent.as_ref().err().is_none_or(TrySendError::is_disconnected));
                }
                producer
            },
        );
        assert_eq!(Arc::strong_count(&token), 1, "a value stayed behind, or was lost");
        drop(producer);
    });
}

/// Promise: full and empty are not said of the same values: there is an order of the four calls that explains what they
/// answer. Each side's look could overtake its own store: \[R5\].
#[test]
fn full_and_empty_are_not_said_of_the_same_values() {
    explore(3, || {
        let (mut producer, mut consumer) = alone(shape(2));
        assert!(producer.try_send(1).is_ok());
        let (is_full, is_empty) = two(
            move || {
                assert!(producer.try_send(2).is_ok());
                let is_full = producer.try_send(3).is_err_and(|error| error.is_full());
                (is_full, producer)
            },
            move || {
                assert_eq!(consumer.try_recv(), Ok(1));
                (consumer.try_recv().is_err(), consumer)
            },
        );
        assert!(
            !(is_full.0 && is_empty.0),
            "full before the pop, empty after it, and the push in between"
        );
    });
}
