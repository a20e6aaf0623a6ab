//! What a channel needs of the thing that holds its values, used from ends that are alone.
//!
//! There are two: [`Ring`](super::swap::Ring), for any number of ends on either side, and
//! [`Direct`](super::direct::Direct), for one on each. Ends that may have company use the former's own `push` and `pop`.

#![allow(unsafe_code)]

use super::direct::Direct;
use super::swap::Ring;

/// See the page above.
pub trait Buffer {
    /// The values.
    type Item;
    /// The state of a push side that is alone.
    type Push: Send;
    /// The state of a pop side that is alone.
    type Pop: Send;

    /// The state of a push side that is alone from now on.
    fn begin_push(&self) -> Self::Push;

    /// The state of a pop side that is alone from now on.
    fn begin_pop(&self) -> Self::Pop;

    /// Puts a value in; says at which position.
    ///
    /// # Errors
    ///
    /// The value, if the buffer was full at one moment of the call.
    ///
    /// # Safety
    ///
    /// From the making of `side`, by this buffer, to the call nobody else pushed, and `side` is the last one made.
    unsafe fn push_alone(
        &self,
        side: &mut Self::Push,
        value: Self::Item,
    ) -> Result<u64, Self::Item>;

    /// Puts in what the iterator gives, until it ends or a value finds the buffer full; that value comes back. `pushed`
    /// counts, also when the iterator panics.
    ///
    /// # Safety
    ///
    /// As [`Buffer::push_alone`].
    unsafe fn push_many_alone(
        &self,
        side: &mut Self::Push,
        values: &mut impl Iterator<Item = Self::Item>,
        pushed: &mut usize,
    ) -> Option<Self::Item>;

    /// Takes the oldest value out, with its position. None if the buffer was empty at one moment of the call.
    ///
    /// # Safety
    ///
    /// From the making of `side`, by this buffer, to the call nobody else popped, and `side` is the last one made.
    unsafe fn pop_alone(&self, side: &mut Self::Pop) -> Option<(u64, Self::Item)>;

    /// Takes up to `limit` values out, to the end of the vector. `popped` counts, also when the vector cannot grow.
    ///
    /// # Safety
    ///
    /// As [`Buffer::pop_alone`].
    unsafe fn pop_many_alone(
        &self,
        side: &mut Self::Pop,
        into: &mut Vec<Self::Item>,
        limit: usize,
        popped: &mut usize,
    );

    /// The oldest value, left where it is.
    ///
    /// # Safety
    ///
    /// As [`Buffer::pop_alone`].
    unsafe fn peek_alone<'a>(&'a self, side: &'a mut Self::Pop) -> Option<&'a Self::Item>;

    /// Drops everything, for nobody will take it: to be called when the last receiver is gone, by it, and by senders that
    /// were in the middle of a push. The value at the wanted position comes back instead, to one of them.
    fn abandon(&self, wanted: Option<u64>) -> Option<Self::Item>;

    /// Changes with the values pushed; for guesses.
    fn pushed(&self) -> u64;

    /// Changes with the values popped; for guesses.
    fn popped(&self) -> u64;

    /// Values in the buffer, exact at one moment of the call.
    fn len(&self) -> usize;

    /// Was the buffer empty at one moment of the call?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Was the buffer full at one moment of the call?
    fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// The most values it holds.
    fn capacity(&self) -> usize;
}

/// How many ends may be on the other side of one that is alone: [`Many`] or [`One`].
pub trait Peer: sealed::Sealed {
    /// What holds the values then.
    #[doc(hidden)]
    type Buffer<T>: Buffer<Item = T>;
}

/// The other side may have any number of ends.
#[derive(Debug, Clone, Copy)]
pub enum Many {}

/// The other side is alone too, and stays so: the fastest there is.
#[derive(Debug, Clone, Copy)]
pub enum One {}

impl Peer for Many {
    type Buffer<T> = Ring<T>;
}

impl Peer for One {
    type Buffer<T> = Direct<T>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Many {}
    impl Sealed for super::One {}
}
