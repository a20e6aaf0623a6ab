//! What one subscription of a persistent queue works on: the messages it has read from the log and not settled.
//!
//! The log is the queue; the window is where a subscription stands in it. Publishers never put anything in here: the
//! consumer that finds nothing ready *pumps* the next records out of the log. So there is one order, and recovery
//! needs no code of its own: a window is put at a position and pumped.
//!
//! ```text
//!   log:   ... | settled | in flight | ready | not read yet ......... committed
//!                        ^ floor             ^ cursor (the reader's position)
//!   beside it: exceptions (retries, releases)   skip (settled, or in the exceptions, ahead of the cursor)
//! ```
//!
//! Pure state behind the source's lock; what is *mine* comes in as a function. Settlements gather here and are
//! written [`SETTLEMENTS_MAX`] at a time: after a crash at most that many acknowledged messages come again. They count
//! from the note to the log, those in a writer's hands too.
//!
//! # Limits
//!
//! `buffer` messages ready and in flight; [`DELAYED_MAX`] exceptions; at either the pump stops. [`PUMP_MAX`] records
//! are read at a time. [`UNWRITTEN_MAX`] settlements wait for a log that is full.

use super::exceptions::{AT_ONCE, Exceptions};
use super::records::{self, Outcome, Settled};
use super::waking;
use crate::error::QueueError;
use crate::log::{LogError, Position, Reader, RecordRef};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;

/// How many settlements gather before they are written.
pub(crate) const SETTLEMENTS_MAX: usize = 64;
/// How many are kept for a log that does not take them.
const UNWRITTEN_MAX: usize = 1 << 16;
/// How many messages a subscription may keep for a later attempt.
pub(crate) const DELAYED_MAX: usize = 1_000_000;
/// How many of a subscription's messages the pump reads at a time.
const PUMP_MAX: usize = 64;
/// Over a gap between pending messages that is longer the reader jumps.
const JUMP_BYTES: u64 = 64 << 10;

/// A message that waits among the exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The attempt that comes next.
    pub(crate) attempt: u32,
    pub(crate) redelivered: bool,
    /// The number of its topic.
    pub(crate) topic: u32,
}

/// Where a window starts after replay.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// What it has to hand out below `resume`, in order: everything else there is not its own any more.
    pub(crate) pending: VecDeque<u64>,
    /// From here on it hands out everything of its own but `skip`.
    pub(crate) resume: u64,
    /// Settled, or in the exceptions, at or above `resume`.
    pub(crate) skip: HashSet<u64>,
    /// Failed before, and waiting: by due time and position.
    pub(crate) delayed: Vec<(u64, u64, Waiting)>,
    /// What it passes over.
    pub(crate) purged: Vec<Purge>,
}

impl Begin {
    /// With everything of its own from `place` on.
    pub(crate) fn at(place: u64) -> Self {
        Self { resume: place, ..Self::default() }
    }
}

/// What the next message is.
pub(crate) enum Next {
    /// Read from the log in its turn.
    Fresh(RecordRef),
    /// An exception that is due: its position.
    Due(u64, Waiting),
}

pub(crate) struct Window {
    reader: Reader,
    pending: VecDeque<u64>,
    resume: u64,
    skip: HashSet<u64>,
    /// Until the cursor has passed them.
    purged: Vec<Purge>,
    ready: VecDeque<RecordRef>,
    in_flight: usize,
    exceptions: Exceptions<Waiting>,
    unwritten: Vec<Settled>,
    /// How many more are in the hands of whoever writes them.
    writing: usize,
    sealed: bool,
    buffer: usize,
}

impl Window {
    /// A window of `buffer` messages that reads on with `reader`.
    pub(crate) fn new(reader: Reader, buffer: usize, begin: Begin) -> Self {
        let mut exceptions = Exceptions::new();
        for (due_ns, position, waiting) in begin.delayed {
            // A due time is never 0: that would put it before what is given back.
            exceptions.insert(due_ns.max(1), position, waiting);
        }
        Self {
            reader,
            pending: begin.pending,
            resume: begin.resume,
            skip: begin.skip,
            purged: begin.purged,
            ready: VecDeque::new(),
            in_flight: 0,
            exceptions,
            unwritten: Vec::with_capacity(SETTLEMENTS_MAX),
            writing: 0,
            sealed: false,
            buffer,
        }
    }

    /// Takes the next message, if one is ready; it counts as in flight from here on.
    pub(crate) fn take(
        &mut self,
        now_ns: impl FnOnce() -> u64,
        wanted: impl FnMut(u32) -> bool,
        mine: impl FnMut(&RecordRef) -> bool,
    ) -> Result<Option<Next>, LogError> {
        let due = match self.exceptions.next_due_ns() {
            None => None,
            Some(AT_ONCE) => self.exceptions.take_due(AT_ONCE),
            Some(_) => self.exceptions.take_due(now_ns()),
        };
        if let Some((position, waiting)) = due {
            self.in_flight += 1;
            return Ok(Some(Next::Due(position, waiting)));
        }
        if self.ready.is_empty() {
            self.pump(wanted, mine)?;
        }
        let next = self.ready.pop_front();
        self.in_flight += usize::from(next.is_some());
        Ok(next.map(Next::Fresh))
    }

    /// Reads on in the log while there is room, and passes segments that have no message of a `wanted` topic; all that
    /// is pending here is of one. Returns how many messages became ready.
    pub(crate) fn pump(
        &mut self,
        mut wanted: impl FnMut(u32) -> bool,
        mut mine: impl FnMut(&RecordRef) -> bool,
    ) -> Result<usize, LogError> {
        let mut wanted = |tag, topic| records::is_message(tag) && wanted(topic);
        let mut found = 0;
        while found < PUMP_MAX && self.has_room() {
            self.jump();
            let Some(record) = self.reader.next_skipping(&mut wanted)? else { break };
            if self.hands_out(&record) && records::is_message(record.tag()) && mine(&record) {
                self.ready.push_back(record);
                found += 1;
            }
        }
        Ok(found)
    }

    /// Goes to the next pending message, or to where all is to be read, if that is far.
    #[inline]
    fn jump(&mut self) {
        let cursor = records::place(self.reader.position());
        if self.resume <= cursor {
            return;
        }
        let next = self.pending.front().copied().unwrap_or(self.resume);
        if cursor.saturating_add(JUMP_BYTES) < next
            && let Some(next) = Position::from_u64(next)
        {
            self.reader.seek(next);
        }
    }

    /// Is the record, which was just read, one to hand out, if it is one of its own?
    #[inline]
    fn hands_out(&mut self, record: &RecordRef) -> bool {
        let place = records::place(record.position());
        if place < self.resume {
            // One that lay in a gap of a repaired log is passed over.
            while self.pending.front().is_some_and(|pending| *pending < place) {
                self.pending.pop_front();
            }
            let found = self.pending.front() == Some(&place);
            if found {
                self.pending.pop_front();
            }
            return found && !self.was_purged(record.topic(), place);
        }
        let skipped = !self.skip.is_empty() && self.skip.remove(&place);
        !skipped && !self.was_purged(record.topic(), place)
    }

    #[inline]
    fn was_purged(&self, topic: u32, place: u64) -> bool {
        !self.purged.is_empty() && self.purged.iter().any(|purge| purge.drops(topic, place))
    }

    /// Drops the messages that `purge` concerns and that wait here, and passes over those not read yet. How many it
    /// dropped comes back, and a look at what it had yet to read, for whoever counts that.
    pub(crate) fn purge(&mut self, purge: &Purge) -> (u64, Looked) {
        let looked = self.waiting();
        let waiting = self.ready.len() + self.exceptions.len();
        self.ready.retain(|record| !purge.drops(record.topic(), records::place(record.position())));
        self.exceptions.retain(|place, waiting| !purge.drops(waiting.topic, place));
        let dropped = waiting - self.ready.len() - self.exceptions.len();
        let cursor = records::place(looked.cursor);
        self.purged.retain(|purge| cursor < purge.before);
        if cursor < purge.before {
            self.purged.push(purge.clone());
        }
        (dropped as u64, looked)
    }

    /// Everything below `place` is settled, in every subscription: it is not read any more.
    pub(crate) fn pass_below(&mut self, place: Position) {
        if self.reader.position() < place {
            let below = records::place(place);
            self.reader.seek(place);
            self.resume = self.resume.max(below);
            self.skip.retain(|&skipped| below <= skipped);
            self.pending.retain(|&pending| below <= pending);
        }
    }

    /// Is a message ready without reading on?
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || self.exceptions.next_due_ns() == Some(AT_ONCE)
    }

    /// May the pump read on?
    pub(crate) fn has_room(&self) -> bool {
        waking::has_room(self.ready.len() + self.in_flight, self.buffer)
            && self.exceptions.len() < DELAYED_MAX
    }

    /// Notes a settlement. Are there so many now that they must be written before the caller is told?
    /// `topic` is the number of the message's topic, for another attempt.
    pub(crate) fn settle(&mut self, position: u64, outcome: Outcome, topic: u32) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Outcome::Retry { due_ns, attempt } = outcome {
            let waiting = Waiting { attempt, redelivered: true, topic };
            self.exceptions.insert(due_ns.max(1), position, waiting);
        }
        self.unwritten.push(Settled { position, outcome });
        SETTLEMENTS_MAX <= self.unwritten.len() + self.writing
    }

    /// A message that was settled by a record of its own.
    pub(crate) fn settled_elsewhere(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A message is given back: it comes again at once, in its old order.
    pub(crate) fn release(&mut self, position: u64, waiting: Waiting) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.exceptions.insert(AT_ONCE, position, waiting);
    }

    /// Takes the settlements that are not written yet, to be written; [`Window::lay_back`] follows.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Settled> {
        self.writing = self.unwritten.len();
        std::mem::replace(&mut self.unwritten, Vec::with_capacity(SETTLEMENTS_MAX))
    }

    /// The writing is over; `unwritten` is what the log did not take.
    pub(crate) fn lay_back(&mut self, unwritten: Vec<Settled>) {
        self.writing = 0;
        // What a log that stays full is not told comes again after it has been opened anew.
        if !unwritten.is_empty() && unwritten.len() < UNWRITTEN_MAX {
            self.unwritten.splice(0..0, unwritten);
        }
    }

    /// Nothing more is settled here.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// How many retries are due after `at_ns`.
    pub(crate) fn due_after(&self, at_ns: u64) -> u64 {
        self.exceptions.due_after(at_ns) as u64
    }

    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.exceptions.next_due_ns()
    }

    /// Ready (as far as it was read), in flight, delayed.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let at_once = self.exceptions.at_once().count();
        let ready = self.ready.len() + at_once;
        (ready as u64, self.in_flight as u64, (self.exceptions.len() - at_once) as u64)
    }

    /// Where the log goes on.
    pub(crate) fn cursor(&self) -> Position {
        self.reader.position()
    }

    /// A copy of what waits, for whoever only looks.
    pub(crate) fn waiting(&self) -> Looked {
        Looked {
            given_back: self.exceptions.at_once_places().collect(),
            ready: self.ready.iter().cloned().collect(),
            cursor: self.reader.position(),
            pending: self.pending.iter().copied().collect(),
            resume: self.resume,
            skip: self.skip.clone(),
            purged: self.purged.clone(),
        }
    }
}

/// What waits in a window, in order: given back, then read, then in the log from the cursor on.
pub(crate) struct Looked {
    pub(crate) given_back: Vec<u64>,
    pub(crate) ready: Vec<RecordRef>,
    pub(crate) cursor: Position,
    pending: HashSet<u64>,
    resume: u64,
    skip: HashSet<u64>,
    purged: Vec<Purge>,
}

/// Messages that are nobody's any more.
#[derive(Debug, Clone)]
pub(crate) struct Purge {
    /// The numbers of their topics.
    pub(crate) topics: Arc<HashSet<u32>>,
    /// They stand below.
    pub(crate) before: u64,
}

impl Purge {
    /// The purges that concern what stands at or above `from`; `topics` are numbers and the places below which those
    /// topics were purged.
    pub(crate) fn above(from: u64, topics: impl Iterator<Item = (u32, u64)>) -> Vec<Self> {
        let mut purges: BTreeMap<u64, HashSet<u32>> = BTreeMap::new();
        for (topic, before) in topics.filter(|&(_, before)| from < before) {
            purges.entry(before).or_default().insert(topic);
        }
        let each = purges.into_iter();
        each.map(|(before, topics)| Self { topics: Arc::new(topics), before }).collect()
    }

    /// Is the message of that topic at `place` among them?
    pub(crate) fn drops(&self, topic: u32, place: u64) -> bool {
        place < self.before && self.topics.contains(&topic)
    }
}

impl Looked {
    /// Will the record, at or behind the cursor, be passed over?
    pub(crate) fn passes(&self, record: &RecordRef) -> bool {
        let (place, topic) = (records::place(record.position()), record.topic());
        let purged = self.purged.iter().any(|purge| purge.drops(topic, place));
        let awaited = self.resume <= place || self.pending.contains(&place);
        purged || !awaited || self.skip.contains(&place)
    }
}

/// The log's failure, as a queue's.
pub(crate) fn storage(
    what: &'static str,
    source: impl Error + Send + Sync + 'static,
) -> QueueError {
    QueueError::Storage { what, source: Arc::new(source) }
}
