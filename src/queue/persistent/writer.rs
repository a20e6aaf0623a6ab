//! How settlements get into the log: gathered, written together, and never between two chairs.
//!
//! A settlement is in its window until it is in the log. Whoever writes takes the gathered ones out under the source's
//! `writing` lock, appends, and notes that they are written, or lays them back; so whoever waits for that lock knows
//! that nothing is in somebody else's hands. From this follow the bounds:
//!
//! | who returns | knows that |
//! | --- | --- |
//! | a settlement that found fewer than [`SETTLEMENTS_MAX`] gathered or being written | at most that many are not in the log |
//! | a settlement that found more | its own is in the log |
//! | `sync`, `close` | every earlier one is in the log |
//!
//! A thread writes those that have waited [`LINGER`] for company. It sleeps for good while there are none.

use super::source::PersistentSource;
use super::{CLOSED, Shared, not_appended};
use crate::error::QueueError;
use crate::event::EventCount;
use crate::log::{AppendError, Budget, Record};
use crate::message::Message;
use crate::queue::DEAD_LETTERS;
use crate::queue::records::{self, Encoded, Outcome, Settled};
use crate::queue::refusal::Refusal;
use crate::queue::window::{SETTLEMENTS_MAX, storage};
use crate::sync::{Weak, thread};
use std::time::Duration;

/// How long a settlement may wait to be written together with others.
const LINGER: Duration = Duration::from_millis(5);
/// How long the thread leaves a log alone that did not take them.
const FAILED_DELAY: Duration = Duration::from_millis(100);

/// Starts a thread of the queue's own.
pub(super) fn spawn(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, QueueError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| storage("start a thread of the queue's own", error))
}

/// Writes settlements that have waited for company long enough.
pub(super) fn write_lingering(queue: &Weak<Shared>, lingering: &EventCount) {
    loop {
        let key = lingering.listen();
        let Some(shared) = queue.upgrade() else { return lingering.cancel(key) };
        match (shared.stage(), shared.has_unwritten()) {
            (CLOSED, _) => return lingering.cancel(key),
            (_, true) => {
                lingering.cancel(key);
                drop(shared);
                thread::sleep(LINGER);
                let Some(shared) = queue.upgrade() else { return };
                // The next settlement or the close meets the same failure, and reports it.
                if shared.write_settlements().is_err() && shared.stage() != CLOSED {
                    drop(shared);
                    thread::sleep(FAILED_DELAY);
                }
            }
            (_, false) => {
                drop(shared);
                lingering.wait(key);
            }
        }
    }
}

impl Shared {
    fn has_unwritten(&self) -> bool {
        let state = self.state.lock();
        state.subscriptions.values().any(|source| source.has_unwritten())
    }

    /// Writes every settlement that is not in the log yet.
    pub(super) fn write_settlements(&self) -> Result<(), QueueError> {
        let sources: Vec<_> = self.state.lock().subscriptions.values().cloned().collect();
        let mut outcome = Ok(());
        for source in sources {
            // Each is tried, whatever became of the others.
            outcome = outcome.and(source.write_settlements(self));
        }
        outcome
    }

    /// Writes the dead letter and the settlement of the message that it was in one frame.
    pub(super) fn bury(&self, letter: &Message, number: u32, position: u64) -> Result<(), Refusal> {
        let entry = self.topic(DEAD_LETTERS, Budget::Settle)?;
        let settled = [Settled { position, outcome: Outcome::Dead }];
        let settle = Encoded::settle(number, &settled);
        let head = letter.encode_head();
        let (letter_parts, settle_parts): ([&[u8]; 2], [&[u8]; 1]) =
            ([&head, letter.payload()], [&settle.body]);
        let time_ns = self.context.clock.now_ns();
        let tag = records::message_tag(letter.urgency());
        let appended = self.log.append_batch(
            &[
                Record { tag, topic: entry.number, time_ns, parts: &letter_parts },
                Record { tag: settle.tag, topic: settle.topic, time_ns, parts: &settle_parts },
            ],
            Budget::Settle,
        );
        if matches!(appended, Err(AppendError::Full)) {
            self.keeping.want_room_to_settle();
        }
        let appended = appended?;
        entry.count_published(1);
        let matched = entry.routes.load().iter().map(|source| source.count_ahead(1)).count();
        self.count(if entry.is_claimed() { matched as i64 } else { 1 });
        self.wake(&appended);
        Ok(())
    }

    /// Writes settlements of the subscription with that number.
    fn record(&self, number: u32, entries: &[Settled]) -> Result<(), QueueError> {
        let appended = self.append(&Encoded::settle(number, entries), Budget::Settle);
        appended.map(drop).map_err(|error| not_appended("record settlements", error))
    }
}

impl PersistentSource {
    /// Writes what is gathered here, and returns when it is written, by whomever. What the log does not take stays.
    pub(super) fn write_settlements(&self, queue: &Shared) -> Result<(), QueueError> {
        let _writing = self.writing.lock();
        let mut entries = self.window.lock().take_unwritten();
        let mut outcome = Ok(());
        while outcome.is_ok() && !entries.is_empty() {
            let count = entries.len().min(SETTLEMENTS_MAX);
            outcome = queue.record(self.identity.number, &entries[..count]);
            if outcome.is_ok() {
                entries.drain(..count);
            }
        }
        self.window.lock().lay_back(entries);
        outcome
    }
}
