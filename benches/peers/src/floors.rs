//! What the machine itself costs: the floors under every figure of the run.
//!
//! | floor | how |
//! |---|---|
//! | RMW | a `fetch_add` on a line that nobody else has |
//! | line round trip | two threads hand a number to and fro in one cache line |
//! | pause, yield, clock | one call of `spin_loop`, `yield_now`, `Instant::now` |
//! | parked wake-up | from `unpark` until a thread that slept has read the clock |
//! | membarrier | the expedited barrier of this process, alone, and while another of its threads computes |
//!
//! Medians of [`TURNS`] turns with their spread. The numbers in the line pass with [F1]:
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | [F1] | a thread stores its number | the other loads it | nothing but the number; the order makes it a hand-over |

use crate::ends::until;
use crate::latency::{PAUSE, busy_for};
use crate::statistics::Spread;
use crate::system::Observed;
use crate::watch::Watch;
use rustix::thread::{MembarrierCommand, membarrier};
use serde::Serialize;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

/// Turns of each floor.
const TURNS: u32 = 9;

/// A floor.
#[derive(Serialize)]
pub struct Floor {
    /// What.
    pub name: &'static str,
    /// In nanoseconds; none where the machine does not have it.
    pub nanoseconds: Option<Spread>,
}

/// Measures all of them; a small part of the calls if only to see that it works.
pub fn measure(quick: bool, watch: &Watch) -> Vec<Floor> {
    let calls = |calls: u64| if quick { calls / 50 } else { calls };
    let turns = if quick { 3 } else { TURNS };
    let counter = AtomicU64::new(0);
    let rmw = || {
        counter.fetch_add(1, Ordering::Relaxed); // [relaxed] its cost is all that is asked for
    };
    let now = || {
        black_box(Instant::now());
    };
    let barrier = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
    let alone = |calls| per_call(calls, fence);
    let all: [(&str, &dyn Fn() -> f64); 8] = [
        ("uncontended RMW", &|| per_call(calls(5_000_000), rmw)),
        ("cache line, round trip", &|| line_round_trip(calls(100_000))),
        ("pause", &|| per_call(calls(500_000), spin_loop)),
        ("yield", &|| per_call(calls(50_000), thread::yield_now)),
        ("clock read", &|| per_call(calls(500_000), now)),
        ("parked wake-up", &|| parked_wake_up(calls(500).max(20))),
        ("membarrier alone", &|| if barrier { alone(calls(20_000)) } else { f64::NAN }),
        ("membarrier beside a spinner", &|| match barrier {
            true => beside_a_spinner(|| alone(calls(20_000))),
            false => f64::NAN,
        }),
    ];
    let mut floors = Vec::new();
    for (name, turn) in all {
        watch.at(&format!("floor: {name}"));
        floors.push(Floor { name, nanoseconds: Spread::of((0..turns).map(|_| turn())) });
    }
    floors
}

fn per_call(calls: u64, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..calls).for_each(|_| call());
    begun.elapsed().as_nanos() as f64 / calls as f64
}

fn fence() {
    membarrier(MembarrierCommand::PrivateExpedited).expect("the process is registered for it");
}

fn line_round_trip(trips: u64) -> f64 {
    let line = AtomicU64::new(0);
    let turn = |from: u64| {
        for number in (from..2 * trips).step_by(2) {
            until(|| (line.load(Ordering::Acquire) == number).then_some(())); // [F1]
            line.store(number + 1, Ordering::Release); // [F1]
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| turn(1));
        let begun = Instant::now();
        turn(0);
        begun.elapsed().as_nanos() as f64 / trips as f64
    })
}

/// The median of so many wake-ups.
fn parked_wake_up(times: u64) -> f64 {
    let (epoch, stamp) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (observed, sent) = (Arc::new(OnceLock::new()), stamp.clone());
    let me = observed.clone();
    let sleeper = thread::spawn(move || {
        me.get_or_init(Observed::myself);
        let latencies = (0..times).map(|_| {
            let woken = loop {
                thread::park();
                // Swapped, so that a wake-up without a stamp is none. [F1]
                let stamp = sent.swap(0, Ordering::AcqRel);
                if stamp != 0 {
                    break stamp;
                }
            };
            (epoch.elapsed().as_nanos() as u64 - woken) as f64
        });
        latencies.collect::<Vec<_>>()
    });
    for _ in 0..times {
        busy_for(PAUSE);
        let sleeps = || {
            let observed = observed.get()?;
            let taken = stamp.load(Ordering::Acquire) == 0; // [F1]
            // Where nobody can be observed, the pause must do.
            (taken && observed.as_ref().is_none_or(Observed::sleeps)).then_some(())
        };
        until(sleeps);
        busy_for(PAUSE);
        stamp.store(epoch.elapsed().as_nanos() as u64, Ordering::Release); // [F1]
        sleeper.thread().unpark();
    }
    let latencies = sleeper.join().expect("the sleeper ends");
    Spread::of(latencies).map_or(f64::NAN, |spread| spread.median)
}

fn beside_a_spinner(measure: impl FnOnce() -> f64) -> f64 {
    let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.store(true, Ordering::Relaxed); // [relaxed] only that it runs
            while !ended.load(Ordering::Relaxed) {
                spin_loop(); // [relaxed] only the end is asked for
            }
        });
        while !begun.load(Ordering::Relaxed) {
            spin_loop(); // [relaxed] only that it runs
        }
        let figure = measure();
        ended.store(true, Ordering::Relaxed); // [relaxed] only the end is asked for
        figure
    })
}
