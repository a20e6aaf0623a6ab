//! When whoever sleeps on a persistent subscription is to be woken, decided from where its window stands. Pure.
//!
//! ```text
//!   publisher   commit -> advanced over frames -> one wake for each of their messages, whoever wrote them
//!   puller      took one, and there is more -> one wake: a wake may have been spent on somebody who was awake
//!   settler     there was no room, now there is -> one wake
//!   sleeper     look, announce itself, look again under the window's lock, sleep
//! ```
//!
//! # Limits
//!
//! What is decided here is true of the moment at which the window's lock was held; the event count does the rest.

use crate::sync::mutant;

/// May a window that holds so many messages, ready and in flight, read on?
#[inline]
pub fn has_room(held: usize, buffer: usize) -> bool {
    held < buffer
}

/// May there be another message for whoever looks now?
#[inline]
pub fn has_more<P: Ord>(has_ready: bool, cursor: P, committed: P) -> bool {
    !mutant("more_unseen") && (has_ready || cursor < committed)
}

/// A settlement has made room: had the reading stopped for want of it?
#[inline]
pub fn reads_again(had_room: bool) -> bool {
    !had_room && !mutant("room_untold")
}
