//! How long a message takes.
//!
//! | workload | what is timed |
//! |---|---|
//! | [`round_trip`] | a value there and back through two channels, both sides spinning or both in blocking calls |
//! | [`wake_up`] | from the call of `send` until `recv` has returned in a thread that was asleep |
//!
//! One clock read a trip: the end of one is the beginning of the next. Before a message that is to wake, the sender
//! keeps its core busy for [`PAUSE`], then looks up in `/proc` whether the receiver sleeps, and waits a while if it does
//! not. A message to a receiver that was awake all the same is not timed; the table has the share of those asleep.

use crate::ends::{Get, Peer, Put, TryGet, TryPut, until};
use crate::quantiles::quantiles;
use crate::race::{part, race};
use crate::system::Observed;
use crate::transfer::Outcome;
use std::hint::spin_loop;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// As in the throughput table.
const CAPACITY: usize = 1024;
/// Trips before the first that is timed.
const WARM_UP: u64 = 64;
/// Between two messages that wake.
pub const PAUSE: Duration = Duration::from_micros(200);
/// How long the sender waits beyond the pause for the receiver to sleep.
const PATIENCE: Duration = Duration::from_millis(2);

/// The trips of two threads that spin.
pub fn spinning<P: Peer<u64>>(count: u64) -> Outcome {
    let put = |sender: &mut P::Sender, value| until(|| sender.try_put(value).then_some(()));
    let get = |receiver: &mut P::Receiver| until(|| receiver.try_get());
    round_trip::<P>(count, put, get)
}

/// The trips of two threads in blocking calls.
pub fn blocking<P: Peer<u64>>(count: u64) -> Outcome
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    round_trip::<P>(count, P::Sender::put, P::Receiver::get)
}

/// `count` trips there and back.
pub fn round_trip<P: Peer<u64>>(
    count: u64,
    put: impl Fn(&mut P::Sender, u64) + Copy + Send + 'static,
    get: impl Fn(&mut P::Receiver) -> u64 + Copy + Send + 'static,
) -> Outcome {
    let (there, far) = P::ends(CAPACITY);
    let (back, near) = P::ends(CAPACITY);
    let echo = part((far, back), move |(far, back)| {
        (0..WARM_UP + count).for_each(|_| put(back, get(far) + 1));
        Vec::new()
    });
    let timed = part((there, near), move |(there, near)| {
        // Written to beforehand: no page is touched for the first time while the clock runs.
        let mut latencies = vec![1_u64; count as usize];
        let mut trip = |number| {
            put(there, number);
            assert_eq!(get(near), number + 1, "the answer to what was asked");
        };
        (0..WARM_UP).for_each(&mut trip);
        let mut before = Instant::now();
        for (number, latency) in (WARM_UP..).zip(&mut latencies) {
            trip(number);
            let now = Instant::now();
            *latency = (now - before).as_nanos() as u64;
            before = now;
        }
        latencies
    });
    let (elapsed, latencies) = race(vec![echo, timed]);
    Outcome { count, elapsed, figures: quantiles(&latencies[1]) }
}

/// `count` messages, each to a receiver that sleeps. The last figure is the share that found it asleep, in percent.
pub fn wake_up<P: Peer<u64>>(count: u64) -> Outcome
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    let (sender, receiver) = P::ends(CAPACITY);
    let epoch = Instant::now();
    let observed = Arc::new(OnceLock::new());
    let sleeper = observed.clone();
    let receiving = part(receiver, move |receiver| {
        sleeper.get_or_init(Observed::myself);
        let mut latencies = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let stamp = receiver.get();
            let now = epoch.elapsed().as_nanos() as u64;
            // The lowest bit says whether this end was asleep.
            if stamp & 1 == 1 {
                latencies.push(now - (stamp >> 1));
            }
        }
        latencies
    });
    let sending = part(sender, move |sender| {
        for _ in 0..count {
            busy_for(PAUSE);
            let asleep = falls_asleep(observed.get().and_then(Option::as_ref));
            let stamp = epoch.elapsed().as_nanos() as u64;
            sender.put(stamp << 1 | u64::from(asleep));
        }
        Vec::new()
    });
    let (elapsed, latencies) = race(vec![receiving, sending]);
    let mut figures = quantiles(&latencies[0]);
    figures.push(latencies[0].len() as f64 / count as f64 * 100.0);
    Outcome { count, elapsed, figures }
}

/// Keeps the core.
pub fn busy_for(pause: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < pause {
        spin_loop();
    }
}

fn falls_asleep(observed: Option<&Observed>) -> bool {
    let Some(observed) = observed else { return false };
    let begun = Instant::now();
    while !observed.sleeps() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
    }
    true
}
