//! Rings without blocking calls.
//!
//! A disruptor knows no single receive: one poll gives all that is there, and frees it together. Its ordinary
//! receiving loop is therefore a batch; the single-threaded pairs find one value in it.

use super::peer;
use crate::ends::{Named, Peer, TryGet, TryPut};
use crate::value::{Tally, Value};
use crossbeam_queue::ArrayQueue;
use disruptor::{
    BusySpin, EventPoller, Producer, SingleConsumerBarrier, SingleProducer, SingleProducerBarrier,
    build_single_producer,
};
use std::ops::Range;
use std::sync::Arc;

peer!(
    /// Crossbeam's bounded queue, without the channel.
    Array,
    "ArrayQueue",
    Arc<ArrayQueue<T>>,
    Arc<ArrayQueue<T>>,
    |capacity| {
        let queue = Arc::new(ArrayQueue::new(capacity));
        (queue.clone(), queue)
    }
);

impl<T: Value> TryPut<T> for Arc<ArrayQueue<T>> {
    fn try_put(&mut self, value: T) -> bool {
        self.push(value).is_ok()
    }
}

impl<T: Value> TryGet<T> for Arc<ArrayQueue<T>> {
    fn try_get(&mut self) -> Option<T> {
        self.pop()
    }
}

/// Single ends, after FastForward's cached positions.
pub struct Rtrb;

impl Named for Rtrb {
    const NAME: &'static str = "rtrb";
    const TRIED_BATCHES: &'static str = "chunks";
}

impl<T: Value> Peer<T> for Rtrb {
    type Sender = rtrb::Producer<T>;
    type Receiver = rtrb::Consumer<T>;

    fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
        rtrb::RingBuffer::new(capacity)
    }
}

impl<T: Value> TryPut<T> for rtrb::Producer<T> {
    fn try_put(&mut self, value: T) -> bool {
        self.push(value).is_ok()
    }

    fn try_put_batch(&mut self, numbers: Range<u64>) -> u64 {
        let wanted = (numbers.end - numbers.start) as usize;
        // All of them if its cached position allows it; else as many as there is room for.
        let chunk = match self.write_chunk_uninit(wanted) {
            Ok(chunk) => chunk,
            Err(rtrb::chunks::ChunkError::TooFewSlots(room)) => {
                self.write_chunk_uninit(room).expect("this much room was there")
            }
        };
        chunk.fill_from_iter(numbers.map(T::of)) as u64
    }
}

impl<T: Value> TryGet<T> for rtrb::Consumer<T> {
    fn try_get(&mut self) -> Option<T> {
        self.pop().ok()
    }

    fn try_get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        let chunk = match self.read_chunk(limit as usize) {
            Ok(chunk) => chunk,
            Err(rtrb::chunks::ChunkError::TooFewSlots(filled)) => {
                self.read_chunk(filled).expect("these were there")
            }
        };
        let taken = chunk.len() as u64;
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|value| tally.add(value));
        chunk.commit_all();
        taken
    }
}

/// One producer, one poller, no managed thread.
pub struct Disruptor;

impl Named for Disruptor {
    const NAME: &'static str = "disruptor";
    const TRIED_BATCHES: &'static str = "batch_publish, guards";
}

impl<T: Value> Peer<T> for Disruptor {
    type Sender = SingleProducer<T, SingleConsumerBarrier>;
    type Receiver = EventPoller<T, SingleProducerBarrier>;

    fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
        let builder = build_single_producer(capacity, T::default, BusySpin);
        let (poller, builder) = builder.new_event_poller();
        (builder.build(), poller)
    }
}

impl<T: Value> TryPut<T> for SingleProducer<T, SingleConsumerBarrier> {
    fn try_put(&mut self, value: T) -> bool {
        self.try_publish(|slot| *slot = value).is_ok()
    }

    fn try_put_batch(&mut self, numbers: Range<u64>) -> u64 {
        let count = numbers.end - numbers.start;
        let published = self.try_batch_publish(count as usize, |slots| {
            slots.zip(numbers).for_each(|(slot, number)| *slot = T::of(number));
        });
        // All or nothing: this is its way.
        published.map_or(0, |_| count)
    }
}

impl<T: Value> TryGet<T> for EventPoller<T, SingleProducerBarrier> {
    fn try_get(&mut self) -> Option<T> {
        let mut guard = self.take(1).ok()?;
        (&mut guard).next().copied()
    }

    fn try_get_some(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        self.try_get_batch(limit, tally)
    }

    fn try_get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
        let Ok(mut guard) = self.take(limit) else { return 0 };
        let before = tally.count;
        (&mut guard).for_each(|value| tally.add(value));
        tally.count - before
    }
}
