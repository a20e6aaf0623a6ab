//! Changing an import is enough: what crossbeam-channel's bounded channel is asked, the ring answers the same.
//!
//! Every test here puts one and the same text to both libraries, by a macro that takes the library's name.

#[path = "support/bounds.rs"]
mod bounds;
#[cfg(target_os = "linux")]
#[path = "support/fences.rs"]
mod fences;
#[cfg(target_os = "linux")]
#[path = "support/sleeper.rs"]
mod sleeper;

use bounds::assert_is_not;
use std::cell::Cell;
use std::error::Error;
use std::fmt::Debug;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// What a library answers to a random run of calls on one thread, ends cloned and dropped included.
macro_rules! transcript {
    ($library:path, $capacity:expr, $seed:expr) => {{
        use $library as library;
        let (sender, receiver) = library::bounded::<u64>($capacity);
        let (mut senders, mut receivers, mut said) = (vec![sender], vec![receiver], Vec::new());
        let mut random: u64 = $seed;
        for step in 0..400_u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let choice = random >> 33;
            let (sender, receiver) = (senders.last(), receivers.last());
            if let Some(sender) = sender {
                said.push(match choice % 7 {
                    0 => format!("{:?}", sender.try_send(step)),
                    1 => match sender.try_send(step) {
                        Ok(()) => "sent".to_string(),
                        Err(error) => {
                            let told = format!("{error} {error:?}");
                            let kinds = (error.is_full(), error.is_disconnected());
                            format!("{told} {kinds:?} {}", error.into_inner())
                        }
                    },
                    2 => match sender.send_timeout(step, Duration::ZERO) {
                        Ok(()) => "sent".to_string(),
                        Err(error) => {
                            let told = format!("{error} {error:?}");
                            let kinds = (error.is_timeout(), error.is_disconnected());
                            format!("{told} {kinds:?} {}", error.into_inner())
                        }
                    },
                    4 => format!("{:?}", sender.send_deadline(step, past())),
                    3 if receiver.is_none() || !sender.is_full() => match sender.send(step) {
                        Ok(()) => "sent".to_string(),
                        Err(error) => format!("{error} {error:?} {}", error.into_inner()),
                    },
                    // Theirs does not count down when it drops what the last receiver left.
                    _ if receiver.is_none() => format!("{:?}", sender.capacity()),
                    _ => format!("{:?} {}", sender.capacity(), sender.len()),
                });
            }
            if let Some(receiver) = receiver {
                said.push(match (choice / 7) % 7 {
                    0 => format!("{:?}", receiver.try_recv()),
                    1 => match receiver.try_recv() {
                        Ok(value) => format!("{value}"),
                        Err(error) => {
                            let kinds = (error.is_empty(), error.is_disconnected());
                            format!("{error} {error:?} {kinds:?}")
                        }
                    },
                    2 => match receiver.recv_timeout(Duration::ZERO) {
                        Ok(value) => format!("{value}"),
                        Err(error) => {
                            let kinds = (error.is_timeout(), error.is_disconnected());
                            format!("{error} {error:?} {kinds:?}")
                        }
                    },
                    3 if sender.is_none() || !receiver.is_empty() => {
                        format!("{:?}", receiver.recv())
                    }
                    4 => format!("{:?}", receiver.try_iter().collect::<Vec<_>>()),
                    5 => format!("{:?}", receiver.recv_deadline(past())),
                    _ => format!("{} {}", receiver.is_empty(), receiver.is_full()),
                });
            }
            match (choice / 49) % 40 {
                0 => senders.extend(senders.last().cloned()),
                1 => receivers.extend(receivers.last().cloned()),
                2 => drop(senders.pop()),
                3 => drop(receivers.pop()),
                _ => {}
            }
        }
        let ends = (senders.len(), receivers.len());
        drop(senders);
        for receiver in receivers {
            said.push(format!("{ends:?} {:?}", receiver.into_iter().collect::<Vec<_>>()));
        }
        said
    }};
}

/// Promise: changing an import is enough. Method: the same random calls to both libraries, answers, error texts and
/// what is left compared word for word.
#[test]
fn it_answers_word_for_word_as_crossbeam_channel_does() {
    for seed in 0..400 {
        let capacity = 1 + seed as usize % 5;
        let ours = transcript!(millstream::ring, capacity, seed);
        let theirs = transcript!(crossbeam_channel, capacity, seed);
        for (call, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            // Its Debug puts what stands for the value in quotes; the standard library's, and ours, does not.
            assert_eq!(*ours, theirs.replace('"', ""), "seed {seed}, call {call}");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
    }
}

fn past() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
}

/// Does nothing; compiles if the library has these functions with these types, and these traits on its types.
macro_rules! signatures {
    ($name:ident, $library:path) => {
        fn $name<T: Debug>() {
            use $library::*;
            let _: fn(usize) -> (Sender<T>, Receiver<T>) = bounded;

            let _: fn(&Sender<T>, T) -> Result<(), TrySendError<T>> = Sender::try_send;
            let _: fn(&Sender<T>, T) -> Result<(), SendError<T>> = Sender::send;
            let _: fn(&Sender<T>, T, Duration) -> Result<(), SendTimeoutError<T>> =
                Sender::send_timeout;
            let _: fn(&Sender<T>, T, Instant) -> Result<(), SendTimeoutError<T>> =
                Sender::send_deadline;
            let _: [fn(&Sender<T>) -> bool; 2] = [Sender::is_empty, Sender::is_full];
            let _: fn(&Sender<T>) -> usize = Sender::len;
            let _: fn(&Sender<T>) -> Option<usize> = Sender::capacity;
            let _: fn(&Sender<T>, &Sender<T>) -> bool = Sender::same_channel;

            let _: fn(&Receiver<T>) -> Result<T, TryRecvError> = Receiver::try_recv;
            let _: fn(&Receiver<T>) -> Result<T, RecvError> = Receiver::recv;
            let _: fn(&Receiver<T>, Duration) -> Result<T, RecvTimeoutError> =
                Receiver::recv_timeout;
            let _: fn(&Receiver<T>, Instant) -> Result<T, RecvTimeoutError> =
                Receiver::recv_deadline;
            let _: [fn(&Receiver<T>) -> bool; 2] = [Receiver::is_empty, Receiver::is_full];
            let _: fn(&Receiver<T>) -> usize = Receiver::len;
            let _: fn(&Receiver<T>) -> Option<usize> = Receiver::capacity;
            let _: fn(&Receiver<T>, &Receiver<T>) -> bool = Receiver::same_channel;
            let _: for<'a> fn(&'a Receiver<T>) -> Iter<'a, T> = Receiver::iter;
            let _: for<'a> fn(&'a Receiver<T>) -> TryIter<'a, T> = Receiver::try_iter;
            let _: fn(Receiver<T>) -> IntoIter<T> = Receiver::into_iter;
            let _: for<'a> fn(&'a Receiver<T>) -> Iter<'a, T> = |end| end.into_iter();

            // Cell: what is sent need not be Sync, nor anything else.
            fn is_end<E: Clone + Debug + Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
            is_end::<Sender<Cell<u8>>>();
            is_end::<Receiver<Cell<u8>>>();
            fn is_iterator<I: Iterator<Item = T> + Debug, T>() {}
            is_iterator::<TryIter<'_, T>, T>();
            fn is_fused<I: FusedIterator<Item = T> + Debug, T>() {}
            is_fused::<Iter<'_, T>, T>();
            is_fused::<IntoIter<T>, T>();
            fn is_error<E: Error + Eq + Copy + Send + Sync + 'static>() {}
            is_error::<SendError<u8>>();
            is_error::<TrySendError<u8>>();
            is_error::<SendTimeoutError<u8>>();
            is_error::<RecvError>();
            is_error::<TryRecvError>();
            is_error::<RecvTimeoutError>();
            // Whatever the value is, an error about it can be shown and passed on.
            fn is_said<E: Error>() {}
            is_said::<SendError<Cell<u8>>>();
            is_said::<TrySendError<Cell<u8>>>();
            is_said::<SendTimeoutError<Cell<u8>>>();
        }
        $name::<String>();
    };
}

// What is bound to its thread does not leave it by a channel.
assert_is_not!(millstream::ring::Sender<Rc<u8>>: Send, Sync);
assert_is_not!(millstream::ring::Receiver<Rc<u8>>: Send, Sync);
assert_is_not!(crossbeam_channel::Sender<Rc<u8>>: Send, Sync);
assert_is_not!(crossbeam_channel::Receiver<Rc<u8>>: Send, Sync);

/// Promise: the same functions, with the same types, and the same traits. Shown by the compiler.
#[test]
fn every_signature_and_every_bound_is_crossbeam_channels() {
    signatures!(ours, millstream::ring);
    signatures!(theirs, crossbeam_channel);
}

/// What each error says of itself.
macro_rules! errors {
    ($library:path) => {{
        use $library::*;
        let mut said = Vec::new();
        let send = SendError(7);
        said.push(format!("{send} {send:?} {} {:?}", send.into_inner(), send.source().is_some()));
        said.push(format!("{:?}", (send == SendError(7), send == SendError(8))));
        for error in [TrySendError::Full(7), TrySendError::Disconnected(8), send.into()] {
            let kinds = (error.is_full(), error.is_disconnected(), error.source().is_some());
            let equals = (error == TrySendError::Full(7), error == TrySendError::Full(8));
            said.push(format!("{error} {error:?} {kinds:?} {equals:?} {}", error.into_inner()));
        }
        for error in [SendTimeoutError::Timeout(7), SendTimeoutError::Disconnected(8), send.into()]
        {
            let kinds = (error.is_timeout(), error.is_disconnected(), error.source().is_some());
            let equals = error == SendTimeoutError::Disconnected(7);
            said.push(format!("{error} {error:?} {kinds:?} {equals:?} {}", error.into_inner()));
        }
        said.push(format!("{RecvError} {RecvError:?} {:?}", RecvError.source().is_some()));
        for error in [TryRecvError::Empty, TryRecvError::Disconnected, RecvError.into()] {
            let kinds = (error.is_empty(), error.is_disconnected(), error.source().is_some());
            said.push(format!("{error} {error:?} {kinds:?} {:?}", error == TryRecvError::Empty));
        }
        for error in [RecvTimeoutError::Timeout, RecvTimeoutError::Disconnected, RecvError.into()] {
            let kinds = (error.is_timeout(), error.is_disconnected(), error.source().is_some());
            said.push(format!("{error} {error:?} {kinds:?} {:?}", error == RecvError.into()));
        }
        said
    }};
}

/// What the ends and their iterators say of themselves, and which of them belong together.
macro_rules! ends {
    ($library:path) => {{
        use $library::*;
        let (sender, receiver) = bounded::<u8>(2);
        let (other, stranger) = bounded::<u8>(2);
        let prints = [
            format!("{sender:?} {receiver:?} {:>14?}|{:<14?}|", sender, receiver),
            format!("{:?} {:?}", receiver.iter(), receiver.try_iter()),
            format!("{:?} {:?}", (&receiver).into_iter(), stranger.clone().into_iter()),
        ];
        let same = (sender.same_channel(&sender.clone()), sender.same_channel(&other));
        let also = (receiver.same_channel(&receiver.clone()), receiver.same_channel(&stranger));
        let hints = (receiver.iter().size_hint(), receiver.try_iter().size_hint());
        (prints, same, also, hints)
    }};
}

#[test]
fn its_errors_and_ends_print_compare_and_convert_as_crossbeam_channels_do() {
    let theirs: Vec<_> = errors!(crossbeam_channel).iter().map(|s| s.replace('"', "")).collect();
    assert_eq!(errors!(millstream::ring), theirs);
    assert_eq!(ends!(millstream::ring), ends!(crossbeam_channel));
}

/// What blocked calls answer when the other side does something, or goes.
#[cfg(target_os = "linux")] // where it can be seen that somebody sleeps
macro_rules! blocked {
    ($library:path) => {{
        use $library::*;
        let mut said = Vec::new();
        // A receiver that waits is given the value, then the end; so is one with a deadline, and each iterator.
        let (sender, receiver) = bounded::<u32>(1);
        said.push(thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let first = receiver.recv();
                let second = receiver.recv_timeout(Duration::MAX);
                let third = receiver.recv_deadline(Instant::now() + FAR);
                let some = receiver.iter().take(2).collect::<Vec<_>>();
                let more = (&receiver).into_iter().take(2).collect::<Vec<_>>();
                let rest = receiver.clone().into_iter().collect::<Vec<_>>();
                let end = (receiver.recv(), receiver.recv_timeout(FAR), receiver.try_recv());
                format!("{first:?} {second:?} {third:?} {some:?} {more:?} {rest:?} {end:?}")
            });
            for value in 1..=9 {
                sender.send(value).unwrap();
            }
            drop(sender);
            waiting.join().unwrap()
        }));
        // A sender that sleeps gets its value back, whichever way it waits. (One that is awake when the receiver goes may
        // find the room that this makes: a difference.)
        let (sender, receiver) = bounded::<u32>(1);
        sender.send(0).unwrap();
        said.extend(thread::scope(|scope| {
            let sends: [fn(&Sender<u32>) -> String; 3] = [
                |end| format!("{:?}", end.send(1).map_err(|e| (e, e.into_inner()))),
                |end| format!("{:?}", end.send_timeout(2, FAR).map_err(|e| (e, e.into_inner()))),
                |end| {
                    let sent = end.send_deadline(3, Instant::now() + FAR);
                    format!("{:?}", sent.map_err(|e| (e, e.into_inner())))
                },
            ];
            let sender = &sender;
            let waiting = sends.map(|send| sleeper::start(scope, move || send(sender)));
            sleeper::asleep(&waiting.each_ref().map(|(task, _)| task.clone()));
            drop(receiver);
            waiting.map(|(_, sender)| sender.join().unwrap())
        }));
        // What was sent is received after the last sender is gone, in order, by whoever asks.
        let (sender, receiver) = bounded::<u32>(3);
        thread::scope(|scope| {
            scope.spawn(move || (0..3).for_each(|value| sender.send(value).unwrap()));
        });
        let (other, capacity) = (receiver.clone(), receiver.capacity());
        said.push(format!("{:?} {:?} {capacity:?}", receiver.recv(), other.try_recv()));
        said.push(format!("{:?} {:?}", receiver.try_iter().count(), other.try_recv()));
        said
    }};
}

/// Far enough for a test to have failed otherwise.
#[cfg(target_os = "linux")]
const FAR: Duration = Duration::from_secs(600);

/// Promise: who waits is given what comes, and told of the end, on both sides, by each of the calls that wait.
#[cfg(target_os = "linux")]
#[test]
fn calls_that_wait_answer_as_crossbeam_channels_do() {
    for _ in 0..5 {
        let theirs = blocked!(crossbeam_channel);
        let theirs: Vec<_> = theirs.iter().map(|said| said.replace('"', "")).collect();
        assert_eq!(blocked!(millstream::ring), theirs);
    }
}
