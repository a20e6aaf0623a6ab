//! How the ends wait: every strategy hands over, sleeps in earnest when nothing comes, and wakes nobody for nothing.
//!
//! That a thread sleeps is read from the kernel's own account of it (`support/sleeper.rs`), never from a clock. What needs
//! a process of its own (a filter of system calls is for good) runs this binary again in a role.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/child.rs"]
mod child;
#[path = "support/ends.rs"]
mod ends;
#[path = "support/fences.rs"]
mod fences;
#[path = "support/sleeper.rs"]
mod sleeper;

use ends::{Kind, RecvEnd, SendEnd, for_all_kinds};
use fences::seccomp::{MEMBARRIER, Verdict, Whom, YIELD, filter, membarrier_is_offered};
use millstream::ring::{
    RecvError, RecvTimeoutError, SendTimeoutError, WaitStrategy, bounded, bounded_with,
    is_asymmetric, spsc_with,
};
use sleeper::{Task, asleep, look_at, nap};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const STRATEGIES: [WaitStrategy; 3] =
    [WaitStrategy::Adaptive, WaitStrategy::Spin, WaitStrategy::Park];

/// Far enough for a test to have failed otherwise.
const FAR: Duration = Duration::from_secs(600);

// ---- every strategy, end to end --------------------------------------------------------------------------------------

/// Promise: whatever the strategy, what is sent arrives, in order, and whoever waits goes on: for a value, for room, for
/// the end. Method: questions and answers, each waited for; then as much as goes through, by waits of every sort.
#[test]
fn every_strategy_hands_over_and_ends() {
    fn check<K: Kind>(strategy: WaitStrategy, capacity: usize) {
        const ROUNDS: u64 = 1_000;
        let (mut ask, mut asked) = K::channel_with(capacity, strategy);
        let (mut answer, mut answered) = K::channel_with(capacity, strategy);
        thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(question) = asked.recv() {
                    answer.send(question + 1).unwrap();
                }
            });
            for question in 0..ROUNDS {
                ask.send(question).unwrap();
                assert_eq!(answered.recv(), Ok(question + 1));
            }
            drop(ask);
            assert_eq!(answered.recv(), Err(RecvError));
        });

        let (mut sender, mut receiver) = K::channel_with(capacity, strategy);
        thread::scope(|scope| {
            scope.spawn(move || {
                for value in (0..3 * ROUNDS).step_by(3) {
                    sender.send(value).unwrap();
                    sender.send_timeout(value + 1, FAR).unwrap();
                    sender.send_deadline(value + 2, Instant::now() + FAR).unwrap();
                }
            });
            for value in (0..3 * ROUNDS).step_by(3) {
                assert_eq!(receiver.recv_deadline(Instant::now() + FAR), Ok(value));
                assert_eq!(receiver.recv(), Ok(value + 1));
                assert_eq!(receiver.recv_timeout(FAR), Ok(value + 2));
            }
            assert_eq!(receiver.recv_timeout(FAR), Err(RecvTimeoutError::Disconnected));
        });
    }
    for strategy in STRATEGIES {
        for capacity in [1, 8] {
            for_all_kinds!(check(strategy, capacity));
        }
    }
}

/// Promise: a value that is stored while its receiver goes to sleep wakes it, whichever barrier stands between.
/// Method: short bursts to a receiver that sleeps as soon as it has caught up, so that its sleep and the next value meet at
/// every distance; after a burst the sender waits, awake, until all of it has arrived. A lost wake-up hangs the test.
/// (With a side of the barrier left out a release build does so within the 30,000 bursts; a debug build is mostly too slow.)
#[test]
fn a_value_that_meets_somebody_going_to_sleep_wakes_him() {
    fn check<K: Kind>() {
        const BURSTS: usize = if cfg!(debug_assertions) { 5_000 } else { 30_000 };
        let (mut sender, mut receiver) = K::channel_with(16, WaitStrategy::Park);
        let arrived = &AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(number) = receiver.recv() {
                    arrived.store(number, Ordering::Release);
                }
            });
            let mut number = 0;
            for burst in 0..BURSTS {
                for _ in 0..1 + burst % 7 {
                    number += 1;
                    sender.send(number).unwrap();
                    (0..burst % 150).for_each(|turn| _ = std::hint::black_box(turn));
                }
                while arrived.load(Ordering::Acquire) != number {
                    std::hint::spin_loop();
                }
            }
            drop(sender);
        });
    }
    for_all_kinds!(check());
}

/// Promise: a deadline that has passed, or a timeout of nothing, makes one attempt, and waits for nothing; one beyond all
/// time is none.
#[test]
fn a_deadline_in_the_past_makes_one_attempt() {
    fn check<K: Kind>(strategy: WaitStrategy) {
        let (mut sender, mut receiver) = K::channel_with(1, strategy);
        let now = Instant::now();
        let past = now.checked_sub(Duration::from_secs(3)).unwrap_or(now);
        assert_eq!(receiver.recv_deadline(past), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(sender.send_deadline(1, past), Ok(()));
        assert_eq!(sender.send_deadline(2, past), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(sender.send_timeout(3, Duration::ZERO), Err(SendTimeoutError::Timeout(3)));
        assert_eq!(receiver.recv_deadline(past), Ok(1));
        assert_eq!(sender.send_timeout(4, Duration::ZERO), Ok(()));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(4));
        assert_eq!(sender.send_timeout(5, Duration::MAX), Ok(()));
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(5));
        // The end is told before the deadline is looked at.
        drop(sender);
        assert_eq!(receiver.recv_deadline(past), Err(RecvTimeoutError::Disconnected));
        let (mut sender, receiver) = K::channel_with::<u8>(1, strategy);
        drop(receiver);
        let refused = sender.send_deadline(6, past);
        assert_eq!(refused, Err(SendTimeoutError::Disconnected(6)));
    }
    for strategy in STRATEGIES {
        for_all_kinds!(check(strategy));
    }
}

/// Promise: waits that time out beside others cost nobody a wake-up, nor a value.
/// Method: two receivers (senders) with deadlines that pass all the time, one without; a lost wake-up hangs the test.
#[test]
fn deadlines_that_pass_take_nobodys_wake_up() {
    const VALUES: usize = 8_000;
    for capacity in [1, 4] {
        let (sender, receiver) = bounded_with(capacity, WaitStrategy::Park);
        let received = AtomicUsize::new(0);
        thread::scope(|scope| {
            for short in [0, 20] {
                let (receiver, received) = (receiver.clone(), &received);
                scope.spawn(move || {
                    loop {
                        match receiver.recv_timeout(Duration::from_micros(short)) {
                            Ok(()) => received.fetch_add(1, Ordering::Relaxed),
                            Err(RecvTimeoutError::Timeout) => continue,
                            Err(RecvTimeoutError::Disconnected) => break,
                        };
                    }
                });
            }
            let (last, received) = (receiver, &received);
            scope.spawn(move || received.fetch_add(last.iter().count(), Ordering::Relaxed));
            for _ in 0..2 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for _ in 0..VALUES / 4 {
                        let mut late = sender.send_timeout((), Duration::from_micros(20));
                        while let Err(SendTimeoutError::Timeout(back)) = late {
                            late = sender.send_timeout(back, Duration::from_micros(20));
                        }
                        late.unwrap();
                    }
                });
            }
            (0..VALUES / 2).for_each(|_| sender.send(()).unwrap());
            drop(sender);
        });
        assert_eq!(received.into_inner(), VALUES);
    }
}

// ---- sleep -----------------------------------------------------------------------------------------------------------

/// As [`sleeper::start`]; the thread is one of the tasks.
fn sleeper<'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    tasks: &mut Vec<Task>,
    wait: impl FnOnce() -> R + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, R> {
    let (task, handle) = sleeper::start(scope, wait);
    tasks.push(task);
    handle
}

/// Promise: a receiver of an empty channel and a sender to a full one sleep, by each call that waits and whatever the
/// strategy: no processor time, not even a look now and then. (After a wait awake, which ends by itself.)
#[test]
fn who_waits_sleeps_in_earnest() {
    type Waits<T> = [fn(&mut T); 4];
    fn check<K: Kind>() {
        let receives: Waits<K::Receiver<u32>> = [
            |end| assert_eq!(end.recv(), Err(RecvError)),
            |end| assert_eq!(end.recv_timeout(FAR), Err(RecvTimeoutError::Disconnected)),
            |end| assert!(end.recv_deadline(Instant::now() + FAR).is_err()),
            |end| assert_eq!(end.recv_many(&mut Vec::new(), 5), Err(RecvError)),
        ];
        let sends: Waits<K::Sender<u32>> = [
            |end| assert!(end.send(1).is_err()),
            |end| assert!(end.send_timeout(1, FAR).is_err()),
            |end| assert!(end.send_deadline(1, Instant::now() + FAR).is_err()),
            |end| assert_eq!(end.send_many([1, 2].iter().copied()).unwrap_err().0.sent, 0),
        ];
        thread::scope(|scope| {
            let (mut tasks, mut senders, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
            for strategy in STRATEGIES {
                for receive in receives {
                    let (sender, mut receiver) = K::channel_with(1, strategy);
                    sleeper(scope, &mut tasks, move || receive(&mut receiver));
                    senders.push(sender);
                }
                for send in sends {
                    let (mut sender, receiver) = K::channel_with(1, strategy);
                    sender.send(0).unwrap();
                    sleeper(scope, &mut tasks, move || send(&mut sender));
                    receivers.push(receiver);
                }
            }
            asleep(&tasks);
        });
    }
    for_all_kinds!(check());
}

/// Those that have ended, given that no other was woken.
fn ended(tasks: &[Task], before: &[sleeper::Look]) -> usize {
    nap();
    let now = look_at(tasks);
    let others = now.iter().zip(before).filter(|(now, _)| now.is_some());
    for (now, before) in others {
        assert_eq!(now.as_ref(), Some(before), "woken for nothing");
    }
    now.iter().filter(|look| look.is_none()).count()
}

/// Promise: a value wakes one receiver, a batch as many as it has values, and the end wakes all. Nobody else is woken, not
/// even for a moment.
#[test]
fn a_value_wakes_one_receiver_and_no_other() {
    for strategy in STRATEGIES {
        let (sender, receiver) = bounded_with(8, strategy);
        thread::scope(|scope| {
            let mut tasks = Vec::new();
            let handles: Vec<_> = (0..7)
                .map(|_| {
                    let receiver = receiver.clone();
                    sleeper(scope, &mut tasks, move || receiver.recv())
                })
                .collect();
            let before = asleep(&tasks);
            sender.send(1).unwrap();
            until(|| handles.iter().filter(|handle| handle.is_finished()).count() == 1);
            assert_eq!(ended(&tasks, &before), 1);
            assert_eq!(sender.send_many([2, 3, 4]).map_err(drop), Ok(3));
            until(|| handles.iter().filter(|handle| handle.is_finished()).count() == 4);
            assert_eq!(ended(&tasks, &before), 4);
            drop(sender);
            let mut got: Vec<_> =
                handles.into_iter().map(|handle| handle.join().unwrap()).collect();
            got.sort_by_key(|got| got.unwrap_or(9));
            assert_eq!(got[..4], [Ok(1), Ok(2), Ok(3), Ok(4)]);
            assert!(got[4..].iter().all(|got| *got == Err(RecvError)) && got.len() == 7);
        });
    }
}

/// Promise: a free place wakes one sender, a batch taken as many as it has places, and the end wakes all.
#[test]
fn a_free_place_wakes_one_sender_and_no_other() {
    for strategy in STRATEGIES {
        let (sender, receiver) = bounded_with(4, strategy);
        (0..4).for_each(|_| sender.send(0).unwrap());
        thread::scope(|scope| {
            let mut tasks = Vec::new();
            let handles: Vec<_> = (0..7)
                .map(|value| {
                    let sender = sender.clone();
                    sleeper(scope, &mut tasks, move || sender.send(value))
                })
                .collect();
            let before = asleep(&tasks);
            assert_eq!(receiver.recv(), Ok(0));
            until(|| handles.iter().filter(|handle| handle.is_finished()).count() == 1);
            assert_eq!(ended(&tasks, &before), 1);
            assert_eq!(receiver.recv_many(&mut Vec::new(), 3), Ok(3));
            until(|| handles.iter().filter(|handle| handle.is_finished()).count() == 4);
            assert_eq!(ended(&tasks, &before), 4);
            drop(receiver);
            let answers = handles.into_iter().map(|handle| handle.join().unwrap());
            assert_eq!(answers.filter(Result::is_ok).count(), 4);
        });
    }
}

/// Offers the processor until it is so.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Promise: who was woken and found nothing sleeps again, in earnest, and is woken for the next value.
/// Method: values that another receiver takes away at once, beside one that sleeps.
#[test]
fn who_was_woken_in_vain_sleeps_again() {
    let (sender, receiver) = bounded(2);
    thread::scope(|scope| {
        let mut tasks = Vec::new();
        let other = receiver.clone();
        let waiting = sleeper(scope, &mut tasks, move || other.recv());
        let mut value = 0;
        while !waiting.is_finished() && value < 500 {
            sender.send(value).unwrap();
            if receiver.try_recv().is_err() {
                break; // the sleeper was faster
            }
            value += 1;
        }
        if value == 500 {
            asleep(&tasks);
            sender.send(value).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), Ok(value));
    });
}

// ---- in a process of its own -----------------------------------------------------------------------------------------

#[test]
fn child() {
    let Some((role, _)) = child::role() else { return };
    match role.as_str() {
        "park" => wait_without_yields(WaitStrategy::Park),
        "adaptive" => wait_without_yields(WaitStrategy::Adaptive),
        "spin" => wait_without_yields(WaitStrategy::Spin),
        "late park" => wait_too_late(WaitStrategy::Park),
        "late adaptive" => wait_too_late(WaitStrategy::Adaptive),
        "late spin" => wait_too_late(WaitStrategy::Spin),
        "denied later" => go_on_when_membarrier_is_denied_later(),
        other => panic!("no role {other}"),
    }
}

/// Waits for a value and for room on a thread that dies if it offers the processor to others.
fn wait_without_yields(strategy: WaitStrategy) {
    let (mut sender, mut receiver) = spsc_with(1, strategy);
    let (mut full, mut taker) = spsc_with(1, strategy);
    full.send(0).unwrap();
    thread::scope(|scope| {
        let mut tasks = Vec::new();
        let waiting = sleeper(scope, &mut tasks, move || {
            filter(YIELD, Verdict::Fatal, Whom::ThisThread);
            let got = receiver.recv();
            full.send(1).unwrap();
            got
        });
        asleep(&tasks);
        sender.send(7).unwrap();
        asleep(&tasks);
        assert_eq!(taker.recv(), Ok(0));
        assert_eq!(waiting.join().unwrap(), Ok(7));
        child::say("waited");
    });
}

/// Promise: `Park` sleeps at once, without a wait awake; the other two offer the processor first.
/// Method: a process that dies (SIGSYS) when the waiting thread makes that offer; the other two are the control.
#[test]
fn park_sleeps_without_a_wait_awake() {
    let run = |role: &str| child::command(role, Path::new(".")).output().unwrap();
    let parked = run("park");
    let said = String::from_utf8_lossy(&parked.stderr);
    assert!(parked.status.success() && said.contains("waited"), "{} {said}", parked.status);
    for role in ["adaptive", "spin"] {
        let died = run(role);
        let said = String::from_utf8_lossy(&died.stderr);
        assert_eq!(died.status.signal(), Some(libc::SIGSYS), "{role}: {} {said}", died.status);
    }
}

/// Channels at work, some of them asleep, when the kernel begins to refuse what it has granted before.
fn go_on_when_membarrier_is_denied_later() {
    assert!(is_asymmetric(), "granted at first");
    let (filtered, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    // Questions meet one who goes to sleep at that very moment: the pair of barriers is needed each time.
    let (mut ask, mut asked) = spsc_with(1, WaitStrategy::Park);
    let (mut answer, mut answered) = spsc_with(1, WaitStrategy::Spin);
    let (idle_sender, idle_receiver) = bounded::<u8>(1);
    thread::scope(|scope| {
        let mut tasks = Vec::new();
        let idle = sleeper(scope, &mut tasks, move || idle_receiver.recv());
        asleep(&tasks);
        scope.spawn(move || {
            while let Ok(question) = asked.recv() {
                answer.send(question).unwrap();
            }
        });
        let (filtered, stop) = (&filtered, &stop);
        scope.spawn(move || {
            let (mut rounds, mut after) = (0, 0);
            while after < 5_000 {
                ask.send(rounds).unwrap();
                assert_eq!(answered.recv(), Ok(rounds));
                rounds += 1;
                after += u32::from(filtered.load(Ordering::Relaxed));
            }
            stop.store(true, Ordering::Relaxed);
        });
        // Others beside it, so that many are about to sleep when it happens.
        for strategy in [WaitStrategy::Adaptive, WaitStrategy::Park] {
            let (sender, receiver) = bounded_with(2, strategy);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    sender.send(1_u64).unwrap();
                }
            });
            scope.spawn(move || receiver.iter().sum::<u64>());
        }
        filter(MEMBARRIER, Verdict::Refused, Whom::AllThreads);
        assert!(!membarrier_is_offered());
        filtered.store(true, Ordering::Relaxed);
        // Nobody is told: the process finds out when somebody is about to sleep. From then on sleep is in earnest again.
        until(|| stop.load(Ordering::Relaxed));
        let (sender, receiver) = bounded_with::<u8>(1, WaitStrategy::Park);
        let late = sleeper(scope, &mut tasks, move || receiver.recv());
        asleep(&tasks);
        sender.send(3).unwrap();
        idle_sender.send(4).unwrap();
        assert_eq!((late.join().unwrap(), idle.join().unwrap()), (Ok(3), Ok(4)));
    });
    assert!(!is_asymmetric(), "nobody has noticed");
    child::say("went on");
}

/// Promise: a filter that comes after the start, and refuses the barrier that was granted before, hangs nothing: the ring
/// goes on by fences, those that slept before are woken, and those that sleep later sleep in earnest.
#[test]
fn a_filter_that_comes_later_hangs_nothing() {
    if !membarrier_is_offered() {
        return; // the case of the tests without membarrier: it is denied from the start
    }
    let output = child::command("denied later", Path::new(".")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("went on"), "{} {said}", output.status);
}

/// Promise: a deadline that has passed ends a wait at once, whatever the strategy.
/// Method: a process that dies (SIGSYS) when the late thread offers the processor, or asks the kernel for the barrier.
#[test]
fn a_deadline_that_has_passed_ends_every_wait_at_once() {
    for role in ["late park", "late adaptive", "late spin"] {
        let late = child::command(role, Path::new(".")).output().unwrap();
        let said = String::from_utf8_lossy(&late.stderr);
        assert!(late.status.success() && said.contains("in time"), "{} {said}", late.status);
    }
}

/// Waits whose deadline has passed, for a value and for room, on a thread that may neither yield nor use the barrier.
fn wait_too_late(strategy: WaitStrategy) {
    let (sender, receiver) = bounded_with(1, strategy);
    filter(YIELD, Verdict::Fatal, Whom::ThisThread);
    filter(MEMBARRIER, Verdict::Fatal, Whom::ThisThread);
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    sender.send(1).unwrap();
    let late = sender.send_deadline(2, Instant::now());
    assert_eq!(late, Err(SendTimeoutError::Timeout(2)));
    child::say("in time");
    std::mem::forget((sender, receiver)); // the drop of the last receiver has a barrier of its own
}
