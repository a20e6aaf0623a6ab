//! Millstream's ring, by the ends and by the ways of waiting.
//!
//! | peer | sender | receiver | waits |
//! |---|---|---|---|
//! | `millstream` | shared | shared | as it does by itself |
//! | `millstream Spin`, `Park` | shared | shared | awake for longer; asleep at once |
//! | `millstream mpsc` | shared | sole | as it does by itself |
//! | `millstream sole` | sole | sole | as it does by itself |
//! | `millstream sole Spin`, `Park` | sole | sole | awake for longer; asleep at once |
//!
//! A batch is received into a vector that is kept.

use crate::ends::{Get, Named, Peer, Put, TryGet, TryPut};
use crate::value::{Tally, Value};
use millstream::ring::{
    self, Consumer, One, Producer, Receiver, Sender, TrySendError, WaitStrategy,
};
use std::ops::Range;

type SpscProducer<T> = Producer<T, One>;
type SpscConsumer<T> = Consumer<T, One>;

/// A receiving end with a place for its batches.
pub struct Batched<T, E> {
    end: E,
    values: Vec<T>,
}

impl<T, E> Batched<T, E> {
    fn new(end: E) -> Self {
        Self { end, values: Vec::new() }
    }
}

impl<T, E: Clone> Clone for Batched<T, E> {
    fn clone(&self) -> Self {
        Self::new(self.end.clone())
    }
}

macro_rules! sending {
    ($end:ident) => {
        impl<T: Value> TryPut<T> for $end<T> {
            fn try_put(&mut self, value: T) -> bool {
                self.try_send(value).is_ok()
            }

            fn try_put_batch(&mut self, numbers: Range<u64>) -> u64 {
                match self.try_send_many(numbers.map(T::of)) {
                    Ok(sent) => sent as u64,
                    Err(TrySendError::Full(unsent)) => unsent.sent as u64,
                    Err(TrySendError::Disconnected(_)) => panic!("the receiver is there"),
                }
            }
        }

        impl<T: Value> Put<T> for $end<T> {
            fn put(&mut self, value: T) {
                assert!(self.send(value).is_ok(), "the receiver is there");
            }

            fn put_batch(&mut self, numbers: Range<u64>) {
                assert!(self.send_many(numbers.map(T::of)).is_ok(), "the receiver is there");
            }
        }
    };
}

macro_rules! receiving {
    ($end:ident) => {
        impl<T: Value> TryGet<T> for Batched<T, $end<T>> {
            fn try_get(&mut self) -> Option<T> {
                self.end.try_recv().ok()
            }

            fn try_get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
                let taken = self.end.try_recv_many(&mut self.values, limit as usize);
                self.values.drain(..).for_each(|value| tally.add(&value));
                taken.map_or(0, |taken| taken as u64)
            }
        }

        impl<T: Value> Get<T> for Batched<T, $end<T>> {
            fn get(&mut self) -> T {
                self.end.recv().expect("the sender is there")
            }

            fn get_batch(&mut self, limit: u64, tally: &mut Tally) -> u64 {
                let taken = self.end.recv_many(&mut self.values, limit as usize);
                self.values.drain(..).for_each(|value| tally.add(&value));
                taken.expect("the sender is there") as u64
            }
        }
    };
}

sending!(Sender);
sending!(Producer);
sending!(SpscProducer);
receiving!(Receiver);
receiving!(Consumer);
receiving!(SpscConsumer);

/// A peer of these ends, made by an expression of the capacity.
macro_rules! ours {
    ($(#[$doc:meta])* $peer:ident, $name:literal, $sender:ident, $receiver:ident, $make:expr) => {
        $(#[$doc])*
        pub struct $peer;

        impl Named for $peer {
            const NAME: &'static str = $name;
            const BATCHES: &'static str = "send_many, recv_many";
            const TRIED_BATCHES: &'static str = "try_send_many, try_recv_many";
        }

        impl<T: Value> Peer<T> for $peer {
            type Sender = $sender<T>;
            type Receiver = Batched<T, $receiver<T>>;

            fn ends(capacity: usize) -> (Self::Sender, Self::Receiver) {
                let (sender, receiver) = $make(capacity);
                (sender, Batched::new(receiver))
            }
        }
    };
}

ours!(
    /// As somebody uses it who only changes an import.
    Millstream, "millstream", Sender, Receiver, ring::bounded
);
ours!(
    /// Waits awake for milliseconds.
    MillstreamSpin, "millstream Spin", Sender, Receiver,
    |capacity| ring::bounded_with(capacity, WaitStrategy::Spin)
);
ours!(
    /// Sleeps at once.
    MillstreamPark, "millstream Park", Sender, Receiver,
    |capacity| ring::bounded_with(capacity, WaitStrategy::Park)
);
ours!(
    /// Many senders, a receiver that is alone.
    MillstreamMpsc, "millstream mpsc", Sender, Consumer,
    |capacity| {
        let (sender, receiver) = ring::bounded(capacity);
        (sender, receiver.try_into_consumer().expect("it is the only one"))
    }
);
ours!(
    /// A producer and a consumer that were a sender and a receiver, and can be so again.
    MillstreamAlone, "millstream alone", Producer, Consumer,
    |capacity| {
        let (sender, receiver) = ring::bounded(capacity);
        let producer = sender.try_into_producer().expect("it is the only one");
        (producer, receiver.try_into_consumer().expect("it is the only one"))
    }
);
ours!(
    /// One end on each side.
    MillstreamSole, "millstream sole", SpscProducer, SpscConsumer, ring::spsc
);
ours!(
    /// One end on each side, which waits awake for milliseconds.
    MillstreamSoleSpin, "millstream sole Spin", SpscProducer, SpscConsumer,
    |capacity| ring::spsc_with(capacity, WaitStrategy::Spin)
);
ours!(
    /// One end on each side, which sleeps at once.
    MillstreamSolePark, "millstream sole Park", SpscProducer, SpscConsumer,
    |capacity| ring::spsc_with(capacity, WaitStrategy::Park)
);
