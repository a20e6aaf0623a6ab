//! Throughput: so many values, from so many senders to so many receivers.
//!
//! | workload | senders and receivers |
//! |---|---|
//! | [`pairs`], [`pairs_in_batches`] | one thread that sends and receives in turn; nobody waits |
//! | [`spinning`], [`spinning_in_batches`] | a thread each; attempts, see [`until`] |
//! | [`blocking`], [`many_to_one`], [`many_to_many`] | the library's own calls that wait |
//!
//! Each sender has a share of the numbers and each receiver a share of the count, both fixed beforehand. The tally of
//! what arrived is compared with what was sent, in every transfer.

use crate::ends::{Get, Peer, Put, TryGet, TryPut, until};
use crate::race::{part, race};
use crate::value::{Tally, Value};
use std::hint::black_box;
use std::iter::repeat_n;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What a run came to.
pub struct Outcome {
    /// Operations done: the wish, rounded to whole shares.
    pub count: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// One figure for each measure of the table.
    pub figures: Vec<f64>,
}

/// A transfer that arrived, in millions of values a second.
fn rate<T: Value>(count: u64, elapsed: Duration, arrived: Tally) -> Outcome {
    assert_eq!(arrived, Tally::of_all::<T>(count), "what was sent has arrived");
    Outcome { count, elapsed, figures: vec![count as f64 / elapsed.as_secs_f64() / 1e6] }
}

/// One send and one receive in turn, on one thread.
pub fn pairs<T: Value, P: Peer<T>>(capacity: usize, count: u64) -> Outcome {
    let (mut sender, mut receiver) = P::ends(capacity);
    let mut tally = Tally::default();
    let begun = Instant::now();
    for number in 0..count {
        assert!(sender.try_put(T::of(black_box(number))), "there is room");
        tally.add(&receiver.try_get().expect("it is there"));
    }
    rate::<T>(count, begun.elapsed(), tally)
}

/// A batch sent and received in turn, on one thread.
pub fn pairs_in_batches<T: Value, P: Peer<T>>(capacity: usize, batch: u64, count: u64) -> Outcome {
    let (mut sender, mut receiver) = P::ends(capacity);
    let count = count.div_ceil(batch) * batch;
    let mut tally = Tally::default();
    let begun = Instant::now();
    for first in (0..count).step_by(batch as usize) {
        assert_eq!(sender.try_put_batch(black_box(first)..first + batch), batch, "there is room");
        assert_eq!(receiver.try_get_batch(batch, &mut tally), batch, "they are there");
    }
    rate::<T>(count, begun.elapsed(), tally)
}

/// One sender, one receiver, both spinning.
pub fn spinning<T: Value, P: Peer<T>>(capacity: usize, count: u64) -> Outcome {
    let (sender, receiver) = P::ends(capacity);
    let send = |sender: &mut P::Sender, numbers: Range<u64>| {
        for number in numbers {
            let value = T::of(number);
            until(|| sender.try_put(value).then_some(()));
        }
    };
    let receive = |receiver: &mut P::Receiver, count| {
        collect(count, |limit, tally| until(|| some(receiver.try_get_some(limit, tally))))
    };
    transfer::<T, _, _>(vec![sender], vec![receiver], 1, count, send, receive)
}

/// The same, a batch at a time.
pub fn spinning_in_batches<T: Value, P: Peer<T>>(
    capacity: usize,
    batch: u64,
    count: u64,
) -> Outcome {
    let (sender, receiver) = P::ends(capacity);
    let send = move |sender: &mut P::Sender, numbers: Range<u64>| {
        for mut numbers in batches(numbers, batch) {
            while !numbers.is_empty() {
                numbers.start += until(|| some(sender.try_put_batch(numbers.clone())));
            }
        }
    };
    let receive = move |receiver: &mut P::Receiver, count| {
        collect(count, |limit, tally| {
            until(|| some(receiver.try_get_batch(limit.min(batch), tally)))
        })
    };
    transfer::<T, _, _>(vec![sender], vec![receiver], batch, count, send, receive)
}

/// One sender, one receiver, by the library's own calls that wait. A batch of 1 is the single calls.
pub fn blocking<T: Value, P: Peer<T>>(capacity: usize, batch: u64, count: u64) -> Outcome
where
    P::Sender: Put<T>,
    P::Receiver: Get<T>,
{
    let (sender, receiver) = P::ends(capacity);
    wait::<T, _, _>(vec![sender], vec![receiver], batch, count)
}

/// So many senders, one receiver.
pub fn many_to_one<T: Value, P: Peer<T>>(capacity: usize, senders: usize, count: u64) -> Outcome
where
    P::Sender: Put<T> + Clone,
    P::Receiver: Get<T>,
{
    let (sender, receiver) = P::ends(capacity);
    wait::<T, _, _>(repeat_n(sender, senders).collect(), vec![receiver], 1, count)
}

/// Who takes part.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Threads that send.
    pub senders: usize,
    /// Threads that receive.
    pub receivers: usize,
    /// Values a call; 1 is the single calls.
    pub batch: u64,
}

/// So many senders, so many receivers.
pub fn many_to_many<T: Value, P: Peer<T>>(capacity: usize, crowd: Crowd, count: u64) -> Outcome
where
    P::Sender: Put<T> + Clone,
    P::Receiver: Get<T> + Clone,
{
    let (sender, receiver) = P::ends(capacity);
    let senders = repeat_n(sender, crowd.senders).collect();
    wait::<T, _, _>(senders, repeat_n(receiver, crowd.receivers).collect(), crowd.batch, count)
}

fn wait<T: Value, S: Put<T>, R: Get<T>>(
    senders: Vec<S>,
    receivers: Vec<R>,
    batch: u64,
    count: u64,
) -> Outcome {
    if batch == 1 {
        let send = |sender: &mut S, numbers: Range<u64>| {
            numbers.for_each(|number| sender.put(T::of(number)));
        };
        let receive = |receiver: &mut R, count: u64| {
            let mut tally = Tally::default();
            (0..count).for_each(|_| tally.add(&receiver.get()));
            tally
        };
        return transfer::<T, _, _>(senders, receivers, 1, count, send, receive);
    }
    let send = move |sender: &mut S, numbers: Range<u64>| {
        batches(numbers, batch).for_each(|numbers| sender.put_batch(numbers));
    };
    let receive = move |receiver: &mut R, count| {
        collect(count, |limit, tally| receiver.get_batch(limit.min(batch), tally))
    };
    transfer::<T, _, _>(senders, receivers, batch, count, send, receive)
}

/// The ends' work, a thread each; `count` is rounded so that every share is whole batches.
fn transfer<T: Value, S: Send + 'static, R: Send + 'static>(
    senders: Vec<S>,
    receivers: Vec<R>,
    batch: u64,
    count: u64,
    send: impl Fn(&mut S, Range<u64>) + Copy + Send + 'static,
    receive: impl Fn(&mut R, u64) -> Tally + Copy + Send + 'static,
) -> Outcome {
    let (sending, receiving) = (senders.len() as u64, receivers.len() as u64);
    let count = count.div_ceil(sending * receiving * batch) * sending * receiving * batch;
    let (sent, received) = (count / sending, count / receiving);
    let mut parts = Vec::new();
    for (sender, first) in senders.into_iter().zip((0..).step_by(sent as usize)) {
        parts.push(part(sender, move |sender| {
            send(sender, first..first + sent);
            Tally::default()
        }));
    }
    for receiver in receivers {
        parts.push(part(receiver, move |receiver| receive(receiver, received)));
    }
    let (elapsed, tallies) = race(parts);
    rate::<T>(count, elapsed, tallies.into_iter().fold(Tally::default(), Tally::and))
}

/// The tally of exactly `count` values, as many at a time as `take` gives.
fn collect(count: u64, mut take: impl FnMut(u64, &mut Tally) -> u64) -> Tally {
    let mut tally = Tally::default();
    let mut left = count;
    while left > 0 {
        left -= take(left, &mut tally);
    }
    tally
}

fn batches(numbers: Range<u64>, batch: u64) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(batch as usize).map(move |first| first..end.min(first + batch))
}

fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::Named;
    use crate::peers::{Crossbeam, Disruptor, Millstream, MillstreamSole, Rtrb, Tokio};
    use crate::value::Bytes64;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A channel that sends number 5 twice and leaves out 6: as many values as there should be.
    struct Doubling;
    struct DoublingSender(SyncSender<u64>);

    impl Named for Doubling {
        const NAME: &'static str = "doubling";
    }

    impl Peer<u64> for Doubling {
        type Sender = DoublingSender;
        type Receiver = Receiver<u64>;

        fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
            let (sender, receiver) = sync_channel(capacity);
            (DoublingSender(sender), receiver)
        }
    }

    impl TryPut<u64> for DoublingSender {
        fn try_put(&mut self, value: u64) -> bool {
            self.0.try_send(if value == 6 { 5 } else { value }).is_ok()
        }
    }

    impl Put<u64> for DoublingSender {
        fn put(&mut self, value: u64) {
            self.0.send(if value == 6 { 5 } else { value }).expect("the receiver is there");
        }
    }

    #[test]
    #[should_panic(expected = "what was sent has arrived")]
    fn a_doubled_value_is_seen_in_pairs() {
        pairs::<u64, Doubling>(8, 100);
    }

    #[test]
    #[should_panic(expected = "what was sent has arrived")]
    fn a_doubled_value_is_seen_between_spinning_threads() {
        spinning::<u64, Doubling>(8, 100);
    }

    #[test]
    #[should_panic(expected = "what was sent has arrived")]
    fn a_doubled_value_is_seen_between_blocking_threads_and_in_batches() {
        blocking::<u64, Doubling>(8, 16, 100);
    }

    #[test]
    fn a_count_is_rounded_up_to_whole_shares() {
        let crowd = Crowd { senders: 4, receivers: 3, batch: 5 };
        assert_eq!(many_to_many::<u64, Crossbeam>(8, crowd, 1).count, 60);
        assert_eq!(many_to_many::<u64, Millstream>(8, crowd, 61).count, 120);
    }

    #[test]
    fn batches_larger_than_the_room_arrive_too() {
        spinning_in_batches::<u64, Rtrb>(8, 128, 1000);
        spinning_in_batches::<u64, MillstreamSole>(8, 128, 1000);
        blocking::<Bytes64, Millstream>(8, 128, 1000);
        blocking::<Bytes64, Tokio>(8, 128, 1000);
        spinning_in_batches::<Bytes64, Disruptor>(256, 128, 1000);
    }
}
