//! What adaptive workers cost while nothing waits: nothing. Alone in its process, whose threads it counts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::{Config, Delivery, Engine};
use std::fs;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: only a failure ever waits that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the engine's threads were given a processor, all together, and how many there are.
fn turns() -> (u64, usize) {
    let (mut turns, mut threads) = (0, 0);
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        // A thread may end in between.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        if !name.starts_with("millstream") {
            continue;
        }
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let switches = status.lines().filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let asked = key.ends_with("voluntary_ctxt_switches");
            asked.then(|| value.trim().parse::<u64>().unwrap())
        });
        turns += switches.sum::<u64>();
        threads += 1;
    }
    (turns, threads)
}

/// Waits until the engine's threads have all slept through a fifth of a second: a timer of a few milliseconds would not
/// let them.
#[track_caller]
fn until_they_sleep() -> usize {
    let begun = Instant::now();
    loop {
        let before = turns();
        thread::sleep(Duration::from_millis(200));
        if turns() == before {
            return before.1;
        }
        let now = turns();
        assert!(begun.elapsed() < PATIENCE, "a thread wakes again and again: {before:?}, {now:?}");
    }
}

/// Promise: no thread of the engine wakes while nothing waits: at the beginning, beside a handler that does not end, with
/// workers that were needed once, and after all.
#[test]
fn no_thread_wakes_while_nothing_waits() {
    let engine = Engine::open(Config::memory().adaptive_workers(1..=3).buffer(100)).unwrap();
    // A thread for the minimum, and one that looks after them.
    assert_eq!(until_they_sleep(), 2);
    let ((running, begun), gate) = (channel(), Arc::new(Barrier::new(4)));
    let opened = Arc::clone(&gate);
    let handle = move |delivery: &Delivery| {
        if delivery.text()? == "long" {
            running.send(())?;
            opened.wait();
        }
        Ok(())
    };
    engine.subscribe("t", handle).unwrap();
    engine.publish("t", "long").unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!(until_they_sleep(), 2);
    for _ in 0..2 {
        engine.publish("t", "long").unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(until_they_sleep(), 4);
    assert_eq!(engine.stats().queue_size(), 3);
    gate.wait();
    while engine.stats().queue_size() > 0 {
        thread::yield_now();
    }
    assert_eq!(until_they_sleep(), 4);
    assert_eq!(engine.stats().workers, 1);
    engine.publish("t", "short").unwrap();
    assert!(engine.close(PATIENCE).unwrap().is_drained());
}
