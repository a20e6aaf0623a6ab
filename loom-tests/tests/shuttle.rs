//! Models of the channel and the event count that are too large for loom, in random schedules.
//!
//! The main form is a history: every thread draws its calls at random, each call is recorded with the times between
//! which it took place, and the search of `tests/support/history.rs` must find an order of them that a plain bounded queue
//! explains, Full, Empty and lengths included. The clock is a counter that shuttle does not know, so reading it
//! changes no schedule; shuttle runs one thread at a time, so the counter's order is the order of the steps.
//!
//! Turns of few bits that wrap after two laps ([`old`]): as few as may be, without letting a thread be stalled for half
//! of all laps. That would be a false answer by design: a turn that is half of them ahead looks like one behind.
#![cfg(shuttle)]

use loom_tests::schedules;
use millstream::modelled::{EventCount, Layout, Ring, Shape, end_thread, mutant, over};
use millstream::ring::{Receiver, Sender, TryRecvError, TrySendError, WaitStrategy, spsc};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Barrier};
use shuttle::thread::{self, JoinHandle};
use std::time::Instant;

#[path = "../../tests/support/history.rs"]
mod history;
#[path = "../../tests/support/parties.rs"]
mod parties;
#[path = "../../tests/support/vyukov.rs"]
mod vyukov;

use history::{Answer, Call, Recorder, judge, told};
use parties::{Draw, Ends, Menu, Party, play, take_the_rest};
use vyukov::{Control, Vyukov};

/// Unseen by shuttle: no step of the schedule.
fn now() -> u64 {
    static CLOCK: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    CLOCK.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A ring of that capacity with one seat made beforehand, so that threads must make theirs.
fn shape(capacity: usize) -> Shape {
    let seats = Layout { near: 1, chunks: 4, chunk_bits: 0 };
    Shape { seats, ..Shape::new(capacity) }
}

/// The same, two laps before its turns wrap.
fn old(turn_bits: u32, capacity: usize) -> Shape {
    Shape { turn_bits, lap: (1 << turn_bits) - 2, ..shape(capacity) }
}

fn channel<T>(shape: Shape) -> (Sender<T>, Receiver<T>) {
    over(Ring::shaped(shape), WaitStrategy::Park)
}

/// Counts those that share it; unseen by shuttle.
type Token = std::sync::Arc<()>;

/// A number that the schedule decides, so that a replay draws it again.
fn draw() -> Draw {
    Draw::new(thread_rng().r#gen())
}

fn join<A>(threads: impl IntoIterator<Item = JoinHandle<A>>) -> Vec<A> {
    let answer =
        |thread: JoinHandle<A>| thread.join().expect("a thread that panics ends the model");
    threads.into_iter().map(answer).collect()
}

/// Demands that a queue of that capacity explains the history.
fn expect_linearizable(history: &[Vec<Call>], capacity: usize) {
    let explained = judge(history, capacity).linearizable;
    assert!(explained, "no queue of {capacity} answers so:\n{}", told(history));
}

/// Do the parties leave when they have played? The first one never does: nobody shall be told of the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    Never,
    AtOnce,
}

/// Every party on a thread of its own makes so many calls; what they were told, and what is left in the
/// end, must be explained by a queue.
fn check_history(parties: Vec<Box<dyn Party>>, calls: usize, leave: Leave, capacity: usize) {
    let playing = parties.into_iter().enumerate().map(|(thread, mut party)| {
        let draw = draw();
        thread::spawn(move || {
            let calls = play(&mut *party, thread, calls, draw, now);
            (calls, (leave == Leave::Never || thread == 0).then_some(party))
        })
    });
    let playing: Vec<_> = playing.collect();
    let (mut history, stayed): (Vec<Vec<Call>>, Vec<_>) = join(playing).into_iter().unzip();
    let rest = stayed.into_iter().flatten().flat_map(|mut party| take_the_rest(&mut *party, now));
    history.push(rest.collect());
    expect_linearizable(&history, capacity);
}

/// Two to four threads with both ends, sixteen calls at most between them.
fn mixed_calls(menu: Menu, leave: Leave, shape: Shape) {
    let threads = thread_rng().gen_range(2..=4);
    let (sender, receiver) = channel(shape);
    let both = || Ends::both(menu, sender.clone(), receiver.clone());
    let parties = (0..threads).map(|_| both()).collect();
    drop((sender, receiver)); // or no end would ever be alone
    check_history(parties, 16 / threads, leave, shape.capacity);
}

/// Promise: the channel is a bounded queue, whatever two to four threads call at once.
#[test]
fn calls_on_one_entry_have_an_order() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, shape(1)));
}

#[test]
fn calls_on_two_entries_have_an_order() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, shape(2)));
}

#[test]
fn calls_on_three_entries_have_an_order() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, shape(3)));
}

/// Promise: the same while turns wrap.
#[test]
fn calls_on_one_entry_have_an_order_while_turns_wrap() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, old(4, 1)));
}

#[test]
fn calls_on_two_entries_have_an_order_while_turns_wrap() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, old(3, 2)));
}

#[test]
fn calls_on_three_entries_have_an_order_while_turns_wrap() {
    schedules(|| mixed_calls(Menu::Single, Leave::Never, old(3, 3)));
}

/// Promise: a batch is its values one by one, in order, and says Full or Empty only when it was so; ends that are left
/// alone go over to stores and back while others come to their end.
#[test]
fn batches_and_turns_on_one_entry_have_an_order() {
    schedules(|| mixed_calls(Menu::Batches(2), Leave::AtOnce, old(5, 1)));
}

#[test]
fn batches_and_turns_on_two_entries_have_an_order() {
    schedules(|| mixed_calls(Menu::Batches(3), Leave::AtOnce, shape(2)));
}

#[test]
fn batches_and_turns_on_three_entries_have_an_order() {
    schedules(|| mixed_calls(Menu::Batches(3), Leave::AtOnce, old(4, 3)));
}

/// One end on each side, calling as much as the others together.
fn alone_on_both_sides(shape: Shape) {
    let (sender, receiver) = channel(shape);
    let producer = sender.try_into_producer().unwrap_or_else(|_| panic!("the only sender"));
    let consumer = receiver.try_into_consumer().unwrap_or_else(|_| panic!("the only receiver"));
    let menu = Menu::Batches(3);
    let parties = vec![Ends::giving(menu, producer), Ends::taking(menu, consumer)];
    check_history(parties, 8, Leave::Never, shape.capacity);
}

/// Promise: ends that are alone make a bounded queue, with batches, peeks and changes to shared ends and back. (Stores
/// that are late to arrive, as real processors have them, are not in this world.)
#[test]
fn ends_that_are_alone_have_an_order_on_one_entry() {
    schedules(|| alone_on_both_sides(shape(1)));
}

#[test]
fn ends_that_are_alone_have_an_order_on_two_entries() {
    schedules(|| alone_on_both_sides(shape(2)));
}

#[test]
fn ends_that_are_alone_have_an_order_on_three_entries_while_turns_wrap() {
    schedules(|| alone_on_both_sides(old(3, 3)));
}

/// The ring of two counters, whose ends stay alone.
fn two_counters(capacity: usize) {
    let (producer, consumer) = spsc(capacity);
    let menu = Menu::Batches(3);
    let parties = vec![Ends::giving(menu, producer), Ends::taking(menu, consumer)];
    check_history(parties, 8, Leave::Never, capacity);
}

/// Promise: the same of ends that stay alone.
#[test]
fn two_counters_have_an_order_with_one_cell() {
    schedules(|| two_counters(1));
}

#[test]
fn two_counters_have_an_order_with_three_cells() {
    schedules(|| two_counters(3));
}

/// Promise: the same of one that is alone against several.
#[test]
fn a_producer_and_two_receivers_have_an_order() {
    schedules(|| {
        let (sender, receiver) = channel(shape(2));
        let producer = sender.try_into_producer().unwrap_or_else(|_| panic!("the only sender"));
        let menu = Menu::Batches(3);
        let takes = [receiver.clone(), receiver].map(|end| Ends::taking(menu, end));
        let parties = [Ends::giving(menu, producer)].into_iter().chain(takes).collect();
        check_history(parties, 5, Leave::Never, 2);
    });
}

#[test]
fn two_senders_and_a_consumer_have_an_order() {
    schedules(|| {
        let (sender, receiver) = channel(shape(2));
        let consumer = receiver.try_into_consumer().unwrap_or_else(|_| panic!("the only receiver"));
        let menu = Menu::Batches(3);
        let gives = [sender.clone(), sender].map(|end| Ends::giving(menu, end));
        let parties = [Ends::taking(menu, consumer)].into_iter().chain(gives).collect();
        check_history(parties, 5, Leave::AtOnce, 2);
    });
}

/// The control: with the fault `vyukov` another ring takes the channel's place, whose Full and Empty are false now and
/// then. A search that does not find that finds nothing.
#[test]
fn false_answers_are_found() {
    schedules(|| {
        let claims_first = mutant("vyukov");
        let (ring, (sender, receiver)) = (Arc::new(Vyukov::new(2)), channel(shape(2)));
        let party = |_| match claims_first {
            true => Box::new(Control(ring.clone())) as Box<dyn Party>,
            false => Ends::both(Menu::Single, sender.clone(), receiver.clone()),
        };
        check_history((0..3).map(party).collect(), 4, Leave::Never, 2);
    });
}

/// What one thread of an engine does until it is told of the end.
fn receive_each(mut receive: impl FnMut() -> Option<u64>) -> Vec<Call> {
    let (mut recorder, mut more) = (Recorder::new(now), true);
    while more {
        recorder.note(|| {
            let value = receive();
            more = value.is_some();
            [value.map_or(Answer::Empty, Answer::Popped)]
        });
    }
    recorder.calls()
}

fn send_each(values: impl Iterator<Item = u64>, mut send: impl FnMut(u64) -> bool) -> Vec<Call> {
    let mut recorder = Recorder::new(now);
    for value in values {
        recorder.note(|| {
            assert!(send(value), "a receiver is held");
            [Answer::Pushed(value)]
        });
    }
    recorder.calls()
}

/// Senders that block, and leave; receivers that block until the end. The history says all: each value once, first in
/// first out, the end only when nothing is left. That nobody sleeps for ever is shuttle's to tell.
fn engine(shape: Shape, senders: u64, receivers: usize, each: u64) {
    let (sender, receiver) = channel(shape);
    let sending = (1..=senders).map(|name| {
        let sender = sender.clone();
        let values = name * 1000..name * 1000 + each;
        thread::spawn(move || send_each(values, |value| sender.send(value).is_ok()))
    });
    let receiving = (0..receivers).map(|_| {
        let receiver = receiver.clone();
        thread::spawn(move || receive_each(|| receiver.recv().ok()))
    });
    let running: Vec<_> = sending.chain(receiving).collect();
    drop((sender, receiver));
    let history = join(running);
    let received = history.iter().flatten().filter(|call| matches!(call.answer, Answer::Popped(_)));
    assert_eq!(received.count() as u64, senders * each, "lost or doubled");
    expect_linearizable(&history, shape.capacity);
}

/// Promise: blocking ends lose nothing, keep the order, end when the last sender is gone, and never sleep for ever.
#[test]
fn two_senders_and_two_receivers_share_one_entry() {
    schedules(|| engine(shape(1), 2, 2, 3));
}

#[test]
fn three_senders_and_two_receivers_share_two_entries() {
    schedules(|| engine(shape(2), 3, 2, 2));
}

#[test]
fn three_senders_and_three_receivers_share_one_entry_while_turns_wrap() {
    schedules(|| engine(old(4, 1), 3, 3, 2));
}

/// Sends all values in batches of two, waiting for room: whatever is done, none is lost.
fn send_in_batches(mut send: impl FnMut(Vec<u64>) -> bool, values: Vec<u64>) -> Vec<Call> {
    let mut recorder = Recorder::new(now);
    for batch in values.chunks(2) {
        recorder.note(|| {
            assert!(send(batch.to_vec()), "a receiver is held");
            batch.iter().map(|value| Answer::Pushed(*value)).collect::<Vec<_>>()
        });
    }
    recorder.calls()
}

/// Receives in batches of three until it is told of the end.
fn receive_in_batches(mut receive: impl FnMut(&mut Vec<u64>, usize) -> bool) -> Vec<Call> {
    const LIMIT: usize = 3;
    let (mut recorder, mut more) = (Recorder::new(now), true);
    while more {
        recorder.note(|| {
            let mut values = Vec::new();
            more = receive(&mut values, LIMIT);
            let less = values.len() < LIMIT; // so it found the ring empty at last
            let popped = values.into_iter().map(Answer::Popped);
            popped.chain(less.then_some(Answer::Empty)).collect::<Vec<_>>()
        });
    }
    recorder.calls()
}

/// Promise: blocking batches lose nothing, and nobody sleeps for ever: one notification serves for several values.
#[test]
fn batches_that_wait_share_two_entries() {
    schedules(|| {
        let (sender, receiver) = channel(shape(2));
        let sending = [1000, 2000].map(|first: u64| {
            let sender = sender.clone();
            let send = move |values| sender.send_many(values).is_ok();
            thread::spawn(move || send_in_batches(send, (first..first + 4).collect()))
        });
        let receiving = [(), ()].map(|()| {
            let receiver = receiver.clone();
            let receive = move |into: &mut Vec<u64>, limit| receiver.recv_many(into, limit).is_ok();
            thread::spawn(move || receive_in_batches(receive))
        });
        drop((sender, receiver));
        expect_linearizable(&join(sending.into_iter().chain(receiving)), 2);
    });
}

/// Promise: a batch wakes as many as it has values for, or made room for. Method: nothing comes after it.
#[test]
fn a_batch_wakes_whom_it_serves() {
    schedules(|| {
        let (sender, receiver) = channel(shape(2));
        let receiving = [(), ()].map(|()| {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv().expect("a sender is held"))
        });
        assert!(sender.send_many([1, 2]).is_ok_and(|sent| sent == 2));
        assert_eq!(join(receiving).iter().sum::<u64>(), 3);

        assert!(sender.send_many([3, 4]).is_ok_and(|sent| sent == 2));
        let sending = [5, 6].map(|value| {
            let sender = sender.clone();
            thread::spawn(move || sender.send(value).expect("a receiver is held"))
        });
        let mut values = Vec::new();
        assert!(receiver.recv_many(&mut values, 2).is_ok_and(|received| received == 2));
        join(sending);
        values.extend(receiver.try_iter());
        assert_eq!(values.iter().sum::<u64>(), 18);
    });
}

/// Promise: the same of ends that are alone; beside the producer, which waits, its consumer sleeps and is woken.
#[test]
fn ends_that_are_alone_wait_for_each_other() {
    schedules(|| {
        let capacity = thread_rng().gen_range(1..=2);
        let (sender, receiver) = channel(shape(capacity));
        let mut producer = sender.try_into_producer().unwrap_or_else(|_| panic!("the only sender"));
        let mut consumer =
            receiver.try_into_consumer().unwrap_or_else(|_| panic!("the only receiver"));
        let in_batches = thread_rng().r#gen();
        let sending = thread::spawn(move || {
            if in_batches {
                return send_in_batches(
                    |values| producer.send_many(values).is_ok(),
                    (0..6).collect(),
                );
            }
            send_each(0..6, |value| producer.send(value).is_ok())
        });
        let receiving = thread::spawn(move || {
            if in_batches {
                return receive_in_batches(|into, limit| consumer.recv_many(into, limit).is_ok());
            }
            receive_each(|| consumer.recv().ok())
        });
        expect_linearizable(&join([sending, receiving]), capacity);
    });
}

/// Promise: deadlines that pass beside wake-ups lose no value and no wake-up: who waits for ever is still served.
#[test]
fn deadlines_pass_beside_waiting_ends() {
    schedules(|| {
        const EACH: u64 = 3;
        let (sender, receiver) = channel(shape(1));
        let soon = Instant::now(); // always past, as every deadline of a model is
        let sending = [1000, 2000].map(|first: u64| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in first..first + EACH {
                    while sender.send_deadline(value, soon).is_err() {
                        thread::yield_now();
                    }
                }
            })
        });
        let patient = {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.iter().count())
        };
        let hasty = thread::spawn(move || {
            let tries = 0..4;
            tries.filter(|_| receiver.recv_deadline(soon).is_ok()).count()
        });
        drop(sender);
        join(sending);
        let (patient, hasty) = (patient.join().unwrap(), hasty.join().unwrap());
        assert_eq!((patient + hasty) as u64, 2 * EACH, "lost or doubled");
    });
}

/// Promise: a value that was accepted is received though its sender is gone, and only then comes the end; receivers
/// that never wait are told no earlier.
#[test]
fn the_end_comes_after_the_last_value() {
    schedules(|| {
        let (sender, receiver) = channel(shape(3));
        let sending = [1000, 2000, 3000].map(|value: u64| {
            let sender = sender.clone();
            thread::spawn(move || sender.try_send(value).expect("room for three"))
        });
        drop(sender);
        let in_batches: bool = thread_rng().r#gen();
        let receiving = [(), ()].map(|()| {
            let receiver = receiver.clone();
            thread::spawn(move || {
                let (mut count, mut values) = (0, Vec::new());
                loop {
                    let received = match in_batches {
                        true => receiver.try_recv_many(&mut values, 2),
                        false => receiver.try_recv().map(|_| 1),
                    };
                    match received {
                        Ok(received) => count += received,
                        Err(TryRecvError::Empty) => thread::yield_now(),
                        Err(TryRecvError::Disconnected) => return count,
                    }
                }
            })
        });
        join(sending);
        let counts = join(receiving);
        assert_eq!(counts.iter().sum::<usize>(), 3, "the end was told too early");
    });
}

/// Promise: when the last receivers go, no value stays behind: it was received, came back, or was dropped with the ring;
/// those of batches too.
#[test]
fn nothing_stays_behind_when_the_receivers_leave() {
    schedules(|| {
        let token = Token::new(());
        let (sender, receiver) = channel(shape(2));
        let sending = [1, 1, 3].map(|batch: usize| {
            let (sender, token) = (sender.clone(), token.clone());
            let send_one = move |token| match batch {
                1 => sender.send(token).is_ok(),
                _ => sender.send_many(vec![token; batch]).is_ok(),
            };
            thread::spawn(move || while send_one(token.clone()) {})
        });
        let receiving = [0, 2].map(|enough| {
            let receiver = receiver.clone();
            thread::spawn(move || assert_eq!(receiver.iter().take(enough).count(), enough))
        });
        drop(receiver);
        join(sending);
        join(receiving);
        expect_abandoned(&sender, token);
    });
}

#[test]
fn nothing_stays_behind_of_a_producer() {
    schedules(|| {
        let token = Token::new(());
        let (sender, receiver) = channel(shape(2));
        let mut producer = sender.try_into_producer().unwrap_or_else(|_| panic!("the only sender"));
        let theirs = token.clone();
        let sending = thread::spawn(move || {
            let mut more = true;
            while more {
                more = producer.send(theirs.clone()).is_ok();
                more = more && producer.send_many([theirs.clone(), theirs.clone()]).is_ok();
            }
            producer
        });
        let receiving = thread::spawn(move || receiver.iter().take(2).count());
        assert_eq!(join([receiving]), [2]);
        let producer = sending.join().expect("a thread that panics ends the model");
        expect_abandoned(&producer.into_sender(), token);
    });
}

#[test]
fn nothing_stays_behind_of_two_counters() {
    schedules(|| {
        let token = Token::new(());
        let (mut producer, mut consumer) = spsc(2);
        let theirs = token.clone();
        let sending = thread::spawn(move || {
            let mut more = true;
            while more {
                more = producer.send(theirs.clone()).is_ok();
                more = more && producer.send_many([theirs.clone(), theirs.clone()]).is_ok();
            }
            producer
        });
        let receiving = thread::spawn(move || consumer.iter().take(2).count());
        assert_eq!(join([receiving]), [2]);
        let mut producer = sending.join().expect("a thread that panics ends the model");
        assert_eq!(Token::strong_count(&token), 1, "a value stayed behind");
        assert!(producer.is_empty());
        assert!(producer.try_send(token).as_ref().is_err_and(TrySendError::is_disconnected));
    });
}

/// No value is left in the channel, and none goes in.
fn expect_abandoned(sender: &Sender<Token>, token: Token) {
    assert_eq!(Token::strong_count(&token), 1, "a value stayed behind");
    assert!(sender.is_empty());
    assert!(sender.try_send(token).as_ref().is_err_and(TrySendError::is_disconnected));
}

/// Promise: what a channel still holds is dropped with it.
#[test]
fn what_is_left_is_dropped() {
    schedules(|| {
        let token = Token::new(());
        let ring = Arc::new(Ring::shaped(shape(2)));
        let pushing = [(), (), ()].map(|()| {
            let (ring, token) = (ring.clone(), token.clone());
            thread::spawn(move || drop((ring.push(token), ring.pop())))
        });
        drop(ring.push(token.clone())); // or it comes back: two of the others may be in
        join(pushing);
        drop(ring);
        assert_eq!(Token::strong_count(&token), 1);
    });
}

/// Promise: threads that end while others begin pass their numbers and cells on whole, and a ring may be used by what
/// a thread destroys at its end.
#[test]
fn threads_come_and_go() {
    schedules(|| {
        let (sender, receiver) = channel(shape(2));
        let (sent, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let running: Vec<_> = (0..4)
            .map(|value| {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                let (sent, received) = (sent.clone(), received.clone());
                let exchange = move || {
                    sent.fetch_add(sender.try_send(value).is_ok() as usize, Ordering::Relaxed);
                    received.fetch_add(receiver.try_recv().is_ok() as usize, Ordering::Relaxed);
                };
                thread::spawn(move || {
                    exchange();
                    end_thread();
                    exchange();
                })
            })
            .collect();
        join(running);
        let left = receiver.try_iter().count();
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        assert_eq!(count(&sent), count(&received) + left, "lost or doubled");
    });
}

/// Waits for the flag as every user of an event count does; `rounds` of the waits have a deadline.
fn wait_for(event: &EventCount, flag: &AtomicBool, rounds: usize) {
    let soon = Some(Instant::now());
    for round in 0.. {
        if flag.load(Ordering::SeqCst) {
            return;
        }
        let key = event.listen();
        if flag.load(Ordering::SeqCst) {
            return event.cancel(key);
        }
        event.wait_until(key, if round < rounds { soon } else { None });
    }
}

/// Promise: no wake-up is lost among waiters that come, give up and cancel, and none of them leaves a count behind.
#[test]
fn waiters_are_woken_and_leave_no_count() {
    schedules(|| {
        let event = Arc::new(EventCount::new());
        let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let waiting = [(0, 0), (0, 1), (1, 0), (1, 2)].map(|(which, rounds)| {
            let (event, flags) = (event.clone(), flags.clone());
            thread::spawn(move || wait_for(&event, &flags[which], rounds))
        });
        let notifying = [0, 1].map(|which: usize| {
            let (event, flags) = (event.clone(), flags.clone());
            thread::spawn(move || {
                event.notify_one(); // for nothing: who is woken goes back to wait
                flags[which].store(true, Ordering::SeqCst);
                event.notify_all();
            })
        });
        join(notifying);
        join(waiting);
        assert_eq!(event.waiters(), 0, "a count stayed behind");
    });
}

/// Promise: registrations that end by themselves leave no count behind, whatever notifications come between.
#[test]
fn registrations_that_end_leave_no_count() {
    schedules(|| {
        let event = Arc::new(EventCount::new());
        let keys = [(); 4].map(|()| event.listen());
        let notifying = [(), ()].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.notify_one())
        });
        let ending = keys.into_iter().enumerate().map(|(number, key)| {
            let event = event.clone();
            thread::spawn(move || {
                if number % 2 == 0 {
                    event.cancel(key);
                } else {
                    event.wait_until(key, Some(Instant::now()));
                }
            })
        });
        join(ending.chain(notifying));
        assert_eq!(event.waiters(), 0, "a count stayed behind");
    });
}

/// Promise: one notification for each of several sleepers wakes every one, in whatever order the sleepers are chosen.
#[test]
fn each_notification_serves_one_waiter() {
    schedules(|| {
        let (event, tickets) = (Arc::new(EventCount::new()), Arc::new(AtomicUsize::new(0)));
        let take = |tickets: &AtomicUsize| {
            let less = |count: usize| count.checked_sub(1);
            tickets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
        };
        let all = Arc::new(Barrier::new(5));
        let waiting = [(), (), ()].map(|()| {
            let (event, tickets, all) = (event.clone(), tickets.clone(), all.clone());
            thread::spawn(move || {
                all.wait();
                for _ in 0..2 {
                    while !take(&tickets) {
                        let key = event.listen();
                        if take(&tickets) {
                            event.cancel(key);
                            break;
                        }
                        event.wait(key);
                    }
                }
            })
        });
        let giving = [(), ()].map(|()| {
            let (event, tickets, all) = (event.clone(), tickets.clone(), all.clone());
            thread::spawn(move || {
                all.wait();
                for _ in 0..3 {
                    tickets.fetch_add(1, Ordering::SeqCst);
                    event.notify_one();
                }
            })
        });
        join(giving);
        join(waiting);
        assert_eq!(tickets.load(Ordering::SeqCst), 0);
    });
}
