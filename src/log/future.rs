//! `DurableFuture`: how a task waits until something is durable.
//!
//! It looks; if it is not durable yet, it starts the syncing thread (`syncer.rs`), leaves its waker in the group
//! (`group.rs`), rings, and returns. Between two polls it holds nothing but that place, so it may be dropped at any of
//! them:
//!
//! | it is dropped | then |
//! |---------------|------|
//! | before it was polled | nothing has happened |
//! | while it waits | its waker is taken out; the sync, if one runs, is everybody's and goes on |
//! | after it was woken | nothing is to be handed on: a sync wakes all whom it covers |
//!
//! # Limits
//!
//! No time: a deadline is the executor's. A future that is kept without being polled keeps one entry in a list, and costs one
//! sync at most, the one that covers it.

use super::error::SyncError;
use super::group::Key;
use super::write::Shared;
use crate::sync::Arc;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A wait for durability on its way: see [`Log::wait_durable_async`](super::Log::wait_durable_async).
#[must_use = "a future does nothing unless it is polled"]
pub struct DurableFuture {
    shared: Arc<Shared>,
    end: u64,
    place: Option<Key>,
}

impl DurableFuture {
    pub(super) fn new(shared: Arc<Shared>, end: u64) -> Self {
        Self { shared, end, place: None }
    }

    fn poll_wait(&mut self, waker: &Waker) -> Poll<Result<(), SyncError>> {
        let Self { shared, end, place } = self;
        if place.is_none() && shared.group.durable() < *end {
            shared.check_reserved(*end)?;
            shared.start_syncer().map_err(SyncError::NoThread)?;
        }
        let outcome = shared.group.poll_wait(*end, place, waker);
        if outcome.is_pending() {
            shared.syncer.ring();
        }
        outcome.map_err(SyncError::Unknown)
    }
}

impl Future for DurableFuture {
    type Output = Result<(), SyncError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = this.poll_wait(context.waker());
        if outcome.is_ready() {
            this.shared.group.leave(&mut this.place);
        }
        outcome
    }
}

impl Drop for DurableFuture {
    fn drop(&mut self) {
        self.shared.group.leave(&mut self.place);
    }
}

impl fmt::Debug for DurableFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableFuture").field("end", &self.end).finish_non_exhaustive()
    }
}
