//! The methods that an end has whether it may have company (`&self`) or is alone (`&mut self`): written once.
//!
//! An end that takes part in this has a method `parts`, which gives what it shares with the others and its own way to
//! push or pop ([`super::shared`]).

macro_rules! sending_end {
    ([$($generics:tt)+], $End:ty, $Lent:ty, $this:ident, $($receiver:tt)+) => {
        impl<$($generics)+> $End {
            /// Sends without waiting.
            ///
            /// # Errors
            ///
            /// The ring is full, or the last receiver is gone; the value comes back.
            #[inline]
            pub fn try_send($($receiver)+, value: T) -> Result<(), TrySendError<T>> {
                let (shared, mut push) = $this.parts();
                shared.try_send(value, &mut push)
            }

            /// Sends, and waits while the ring is full.
            ///
            /// # Errors
            ///
            /// The last receiver is gone; the value comes back.
            #[inline]
            pub fn send($($receiver)+, value: T) -> Result<(), SendError<T>> {
                let (shared, mut push) = $this.parts();
                shared.send(value, None, &mut push).map_err(|error| SendError(error.into_inner()))
            }

            /// Sends, and waits at most that long while the ring is full.
            ///
            /// # Errors
            ///
            /// The ring stayed full, or the last receiver is gone; the value comes back.
            pub fn send_timeout(
                $($receiver)+,
                value: T,
                timeout: Duration,
            ) -> Result<(), SendTimeoutError<T>> {
                let (shared, mut push) = $this.parts();
                shared.send(value, Instant::now().checked_add(timeout), &mut push)
            }

            /// Sends, and waits until that time at most while the ring is full.
            ///
            /// # Errors
            ///
            /// The ring stayed full, or the last receiver is gone; the value comes back.
            pub fn send_deadline(
                $($receiver)+,
                value: T,
                deadline: Instant,
            ) -> Result<(), SendTimeoutError<T>> {
                let (shared, mut push) = $this.parts();
                shared.send(value, Some(deadline), &mut push)
            }

            /// Sends all values, in their order, and waits while the ring is full; says how many. Others' values may
            /// come in between. Receivers are told once for what fitted in without waiting, not for each value.
            ///
            /// If the iterator panics, what it gave before is sent. It may use this channel; but it must not wait for
            /// what a receiver does with a value of this batch, who may not have been told of it yet (waiting for room by
            /// `send` is fine).
            ///
            /// # Errors
            ///
            /// The last receiver is gone. The value that was not sent and the rest of the iterator come back, with the
            /// number of those sent.
            pub fn send_many<I: IntoIterator<Item = T>>(
                $($receiver)+,
                values: I,
            ) -> Result<usize, SendError<Unsent<I::IntoIter>>> {
                let (shared, mut push) = $this.parts();
                let sent = shared.send_many(values.into_iter(), true, &mut push);
                sent.map_err(|error| SendError(error.into_inner()))
            }

            /// Sends the values that fit in without waiting, in their order; says how many. As `send_many` otherwise.
            ///
            /// # Errors
            ///
            /// The ring is full, or the last receiver is gone. The value that was not sent and the rest of the
            /// iterator come back, with the number of those sent.
            pub fn try_send_many<I: IntoIterator<Item = T>>(
                $($receiver)+,
                values: I,
            ) -> Result<usize, TrySendError<Unsent<I::IntoIter>>> {
                let (shared, mut push) = $this.parts();
                shared.send_many(values.into_iter(), false, &mut push)
            }

            /// Sends as a task: waits for room without holding the thread.
            ///
            /// Cancel-safe: a future that is dropped before it was ready has sent nothing. Its value is dropped with
            /// it, or taken back by [`SendFuture::into_inner`].
            #[cfg(feature = "async")]
            pub fn send_async($($receiver)+, value: T) -> SendFuture<$Lent> {
                SendFuture::new($this, value)
            }
        }
    };
}

macro_rules! receiving_end {
    ([$($generics:tt)+], $End:ty, $Lent:ty, $this:ident, $($receiver:tt)+) => {
        impl<$($generics)+> $End {
            /// Receives without waiting.
            ///
            /// # Errors
            ///
            /// The channel is empty; disconnected, if the last sender is gone too.
            #[inline]
            pub fn try_recv($($receiver)+) -> Result<T, TryRecvError> {
                let (shared, mut pop) = $this.parts();
                shared.try_recv(&mut pop)
            }

            /// Receives, and waits while the channel is empty.
            ///
            /// # Errors
            ///
            /// The channel is empty and the last sender is gone.
            #[inline]
            pub fn recv($($receiver)+) -> Result<T, RecvError> {
                let (shared, mut pop) = $this.parts();
                shared.recv(None, &mut pop).map_err(|_| RecvError)
            }

            /// Receives, and waits at most that long while the channel is empty.
            ///
            /// # Errors
            ///
            /// The channel stayed empty; disconnected, if the last sender is gone too.
            pub fn recv_timeout($($receiver)+, timeout: Duration) -> Result<T, RecvTimeoutError> {
                let (shared, mut pop) = $this.parts();
                shared.recv(Instant::now().checked_add(timeout), &mut pop)
            }

            /// Receives, and waits until that time at most while the channel is empty.
            ///
            /// # Errors
            ///
            /// The channel stayed empty; disconnected, if the last sender is gone too.
            pub fn recv_deadline($($receiver)+, deadline: Instant) -> Result<T, RecvTimeoutError> {
                let (shared, mut pop) = $this.parts();
                shared.recv(Some(deadline), &mut pop)
            }

            /// Receives up to `limit` values to the end of the vector, waiting for the first; says how many. Senders are
            /// told of the room once, not for each value. `limit` 0 receives nothing and does not wait.
            ///
            /// # Errors
            ///
            /// The channel is empty and the last sender is gone.
            ///
            /// # Panics
            ///
            /// If the vector cannot grow; what was received is in it then, the rest in the channel.
            pub fn recv_many(
                $($receiver)+,
                into: &mut Vec<T>,
                limit: usize,
            ) -> Result<usize, RecvError> {
                let (shared, mut pop) = $this.parts();
                shared.recv_many(into, limit, true, &mut pop).map_err(|_| RecvError)
            }

            /// Receives up to `limit` values that are there to the end of the vector. As `recv_many` otherwise.
            ///
            /// # Errors
            ///
            /// The channel is empty; disconnected, if the last sender is gone too.
            ///
            /// # Panics
            ///
            /// If the vector cannot grow; what was received is in it then, the rest in the channel.
            pub fn try_recv_many(
                $($receiver)+,
                into: &mut Vec<T>,
                limit: usize,
            ) -> Result<usize, TryRecvError> {
                let (shared, mut pop) = $this.parts();
                shared.recv_many(into, limit, false, &mut pop)
            }

            /// Receives as a task: waits for a value without holding the thread.
            ///
            /// Cancel-safe: a value leaves the ring only when the future is ready with it; one that is dropped before
            /// has taken nothing, and passes on the wake-up that it may have got.
            #[cfg(feature = "async")]
            pub fn recv_async($($receiver)+) -> RecvFuture<$Lent> {
                RecvFuture::new($this)
            }

            /// What comes, as a stream that ends when the channel is empty and disconnected. Cancel-safe as
            /// `recv_async` is.
            #[cfg(feature = "async")]
            pub fn stream($($receiver)+) -> RecvStream<$Lent> {
                RecvStream::new($this)
            }
        }
    };
}

macro_rules! any_end {
    ([$($generics:tt)+], $End:ty, $name:literal) => {
        impl<$($generics)+> $End {
            /// Values in the channel; exact at one moment of the call.
            pub fn len(&self) -> usize {
                self.shared.ring.len()
            }

            /// Was the channel empty at one moment of the call?
            pub fn is_empty(&self) -> bool {
                self.shared.ring.is_empty()
            }

            /// Was the channel full at one moment of the call?
            pub fn is_full(&self) -> bool {
                self.shared.ring.is_full()
            }

            /// The most values the channel holds; never `None`, and an `Option` only as crossbeam-channel's is.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.shared.ring.capacity())
            }
        }

        impl<$($generics)+> fmt::Debug for $End {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(concat!($name, " { .. }"))
            }
        }

        // A panic cannot leave the ring half changed: user code (iterators, wakers) runs between exchanges only.
        impl<$($generics)+> UnwindSafe for $End {}
        impl<$($generics)+> RefUnwindSafe for $End {}
    };
}

pub(super) use {any_end, receiving_end, sending_end};
