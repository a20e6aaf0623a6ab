//! Threads that start together, and the time from the first start to the last end.
//!
//! The threads are made, meet at a barrier, and take the time themselves, so that neither their making nor the delay
//! of the thread that waits for them is counted. Ends are dropped after the time is taken.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// What one thread does.
pub type Part<R> = Box<dyn FnOnce() -> R + Send>;

/// Wraps a thread's work, which gets its end by value and keeps it until the clock has stopped.
pub fn part<E: Send + 'static, R>(
    mut end: E,
    work: impl FnOnce(&mut E) -> R + Send + 'static,
) -> Part<(Lap, R)> {
    Box::new(move || {
        let begun = Instant::now();
        let result = work(&mut end);
        (Lap { begun, ended: Instant::now() }, result)
    })
}

/// When a thread was at work.
#[derive(Clone, Copy)]
pub struct Lap {
    begun: Instant,
    ended: Instant,
}

/// Runs all parts at once: the time they took together, and what each came to.
pub fn race<R: Send + 'static>(parts: Vec<Part<(Lap, R)>>) -> (Duration, Vec<R>) {
    let start = Arc::new(Barrier::new(parts.len()));
    let threads = parts.into_iter().map(|part| {
        let start = start.clone();
        thread::spawn(move || {
            start.wait();
            part()
        })
    });
    let threads: Vec<_> = threads.collect();
    let ended = threads.into_iter().map(|thread| thread.join().expect("no part panics"));
    let (laps, results): (Vec<Lap>, Vec<R>) = ended.unzip();
    let begun = laps.iter().map(|lap| lap.begun).min().expect("there are parts");
    let ended = laps.iter().map(|lap| lap.ended).max().expect("there are parts");
    (ended - begun, results)
}
