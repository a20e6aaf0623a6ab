//! What waiting costs: the processor time of a thread in a blocking call, as a share of the time it waits.
//!
//! Each thread reads its own processor clock before it begins to wait and after it was let go, so the spinning before
//! it sleeps and the waking after are in it.

use crate::ends::{Get, Peer, Put, TryPut};
use crate::latency::{PAUSE, busy_for};
use crate::system::processor_time;
use crate::transfer::Outcome;
use std::thread;
use std::time::{Duration, Instant};

/// Small, so that it is soon full; a power of two that every peer takes as it is.
const CAPACITY: usize = 16;

/// A receiver to which nothing comes.
pub fn receiver_at_rest<P: Peer<u64>>(span: Duration) -> Outcome
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    let (mut sender, mut receiver) = P::ends(CAPACITY);
    let waiting = thread::spawn(move || share(|| assert_eq!(receiver.get(), 7, "what was sent")));
    thread::sleep(span);
    sender.put(7);
    waiting.join().expect("the receiver ends")
}

/// A sender for which there is no room.
pub fn sender_at_rest<P: Peer<u64>>(span: Duration) -> Outcome
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    let (mut sender, mut receiver) = P::ends(CAPACITY);
    let filled = (0..).take_while(|number| sender.try_put(*number)).count() as u64;
    let waiting = thread::spawn(move || {
        let outcome = share(|| sender.put(filled));
        (outcome, sender)
    });
    thread::sleep(span);
    let sum: u64 = (0..=filled).map(|_| receiver.get()).sum();
    assert_eq!(sum, filled * (filled + 1) / 2, "what was sent has arrived");
    waiting.join().expect("the sender ends").0
}

/// A receiver to which a message comes every [`PAUSE`], from a thread that is busy in between.
pub fn receiver_now_and_then<P: Peer<u64>>(span: Duration) -> Outcome
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    let (mut sender, mut receiver) = P::ends(CAPACITY);
    let count = (span.as_nanos() / PAUSE.as_nanos()) as u64;
    let waiting = thread::spawn(move || {
        share(|| {
            let sum: u64 = (0..count).map(|_| receiver.get()).sum();
            assert_eq!(sum, count * (count - 1) / 2, "what was sent has arrived");
        })
    });
    for number in 0..count {
        busy_for(PAUSE);
        sender.put(number);
    }
    waiting.join().expect("the receiver ends")
}

/// The share of its time, in percent, that the calling thread computes while it does this.
fn share(wait: impl FnOnce()) -> Outcome {
    let (wall, processor) = (Instant::now(), processor_time());
    wait();
    let (elapsed, used) = (wall.elapsed(), processor_time() - processor);
    let percent = used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    Outcome { count: 1, elapsed, figures: vec![percent] }
}
