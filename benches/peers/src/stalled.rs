//! Hand-offs on a machine that has too few cores: two senders and two receivers on two cores, beside two threads that
//! compute without end.
//!
//! The scheduler stops each of them at any instruction, also in the middle of a send. In a ring where the others
//! must wait for that one, what comes after it waits too, for a time slice. Each value carries the time of its sending;
//! the receiver takes the difference. *Paced* senders send every [`PACE`]; *flat out*, the ring is full most
//! of the time and its length is in every latency. The busy threads' share of the cores is in it as well, for all alike.

use crate::ends::{Get, Peer, Put, TryGet, TryPut, until};
use crate::quantiles::quantiles;
use crate::race::{Part, part, race};
use crate::system::{cores, stay_on};
use crate::transfer::Outcome;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Small, so that a flat-out latency is not that of a long queue.
const CAPACITY: usize = 64;
/// Threads on each side, busy threads, and cores.
const SIDE: usize = 2;
/// Between two messages of one paced sender.
pub const PACE: Duration = Duration::from_micros(50);

/// How the senders go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A message every [`PACE`]; at once if that is past.
    Paced,
    /// One after the other.
    FlatOut,
}

/// By attempts, which offer the processor now and then.
pub fn spinning<P: Peer<u64>>(pace: Pace, count: u64) -> Outcome
where
    P::Sender: Clone,
    P::Receiver: Clone,
{
    let put = |sender: &mut P::Sender, value| until(|| sender.try_put(value).then_some(()));
    hand_off::<P>(pace, count, put, |receiver| until(|| receiver.try_get()))
}

/// By blocking calls.
pub fn blocking<P: Peer<u64>>(pace: Pace, count: u64) -> Outcome
where
    P::Sender: Put<u64> + Clone,
    P::Receiver: Get<u64> + Clone,
{
    hand_off::<P>(pace, count, P::Sender::put, P::Receiver::get)
}

fn hand_off<P: Peer<u64>>(
    pace: Pace,
    count: u64,
    put: impl Fn(&mut P::Sender, u64) + Copy + Send + 'static,
    get: impl Fn(&mut P::Receiver) -> u64 + Copy + Send + 'static,
) -> Outcome
where
    P::Sender: Clone,
    P::Receiver: Clone,
{
    let each = count.div_ceil(SIDE as u64);
    let (sender, receiver) = P::ends(CAPACITY);
    let (left, epoch) = (Arc::new(AtomicU64::new(SIDE as u64)), Instant::now());
    let cores: Vec<usize> = cores().into_iter().take(SIDE).collect();
    let now = move || epoch.elapsed().as_nanos() as u64;
    let mut parts: Vec<Part<_>> = Vec::new();
    for _ in 0..SIDE {
        let (mine, left) = (cores.clone(), left.clone());
        parts.push(part(receiver.clone(), move |receiver| {
            stay_on(&mine);
            let mut latencies = Vec::with_capacity(each as usize);
            (0..each).for_each(|_| {
                let stamp = get(receiver);
                latencies.push(now() - stamp);
            });
            left.fetch_sub(1, Ordering::Relaxed); // [relaxed] a wish to stop carries no data
            latencies
        }));
        let mine = cores.clone();
        parts.push(part(sender.clone(), move |sender| {
            stay_on(&mine);
            let mut next = Instant::now();
            for _ in 0..each {
                if pace == Pace::Paced {
                    next = wait_for(next + PACE);
                }
                put(sender, now());
            }
            Vec::new()
        }));
    }
    parts.extend((0..SIDE).map(|_| busy(cores.clone(), left.clone())));
    drop((sender, receiver));
    let (elapsed, latencies) = race(parts);
    let latencies = latencies.concat();
    assert_eq!(latencies.len() as u64, each * SIDE as u64, "each message was received");
    Outcome { count: each * SIDE as u64, elapsed, figures: quantiles(&latencies) }
}

/// A thread that computes until the receivers are done.
fn busy(cores: Vec<usize>, left: Arc<AtomicU64>) -> Part<(crate::race::Lap, Vec<u64>)> {
    part((), move |()| {
        stay_on(&cores);
        // [relaxed]: only the end of the work is asked for.
        while left.load(Ordering::Relaxed) > 0 {
            spin_loop();
        }
        Vec::new()
    })
}

/// Offers the processor until then; the time from which the next pace counts.
fn wait_for(next: Instant) -> Instant {
    loop {
        let now = Instant::now();
        if now >= next {
            return now;
        }
        thread::yield_now();
    }
}
