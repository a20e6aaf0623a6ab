//! How a subscription of a persistent queue comes to be: where it begins, and how many messages it begins with.
//!
//! | start | place in its record | messages before its record are counted |
//! | --- | --- | --- |
//! | latest | none: its own | of the topics that it is the first to match |
//! | earliest | what is retained | of all matching topics: by their counters |
//! | at a message | that message, or what is retained if that is later | by reading the headers from there |
//!
//! Under the queue's lock: so topics and subscriptions come into being in the order of their records, and what is retained
//! is not raised in between.

use super::source::PersistentSource;
use super::{Shared, State, not_appended};
use crate::error::QueueError;
use crate::log::{Budget, LogError, Position};
use crate::message::MessageId;
use crate::queue::Start;
use crate::queue::records::{self, Encoded, Origins};
use crate::queue::replay::{Identity, Origin, skim};
use crate::queue::routes::Filter;
use crate::queue::window::{Begin, Purge, storage};
use crate::sync::Arc;
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

impl Shared {
    /// Makes a subscription: its record first, then it is seen by publishers. Under the lock, so that topics and
    /// subscriptions come into being in the order of their records.
    pub(super) fn add(
        self: &Arc<Self>,
        state: &mut State,
        name: String,
        filter: Filter,
        start: Start,
    ) -> Result<Arc<PersistentSource>, QueueError> {
        let number = state.next_number;
        let Some(next) = number.checked_add(1) else {
            // Numbers are not given twice; a log of ours does not get here, a forged one may.
            return Err(QueueError::TooManySubscriptions { name, max: u32::MAX as usize });
        };
        let retained = state.retained;
        let asked = self.asked(start)?;
        let origin = asked.map_or(Origins::Own, |place| Origins::At(place.max(retained)));
        let record = Encoded::subscribe(number, origin, &filter, &name);
        let appended = self
            .append(&record, Budget::Settle)
            .map_err(|error| not_appended("record a subscription", error))?;
        state.next_number = next;
        let position = records::place(appended.at);
        let from = asked.map_or(position, |place| place.max(retained).min(position));
        let (mut claims, mut claims_from, mut before) = (HashSet::new(), u64::MAX, 0);
        let matching = self.topics.all().into_iter().filter(|entry| filter.matches(&entry.topic));
        let matching: Vec<_> = matching.collect();
        for entry in &matching {
            let claims_it = !entry.is_claimed();
            before += if claims_it || from <= retained { entry.published() } else { 0 };
            if claims_it {
                entry.claim();
                claims.insert(entry.number);
                claims_from = claims_from.min(entry.made_at.max(retained));
                self.count(-(entry.published() as i64));
            }
        }
        if retained < from && from < position {
            let mine: HashSet<u32> = matching.iter().map(|entry| entry.number).collect();
            let wanted = |topic| mine.contains(&topic) && !claims.contains(&topic);
            let counted = self.count_between(from..position, &wanted, |topic, place| {
                let entry = self.topics.by_number(topic).filter(|_| wanted(topic));
                entry.is_some_and(|entry| entry.purged_before() <= place)
            });
            // Its record is written: it is made whatever comes, else a second one would have its name, and this one would pin
            // the log unseen. What cannot be read shows at the pull; a count that is off ends with catching up.
            before += counted.unwrap_or(0);
        }
        // Not by the count: a message that was just appended may not be counted yet (H1).
        let reads_from = claims_from.min(from);
        let purges = matching.iter().map(|entry| (entry.number, entry.purged_before()));
        let begin = Begin { purged: Purge::above(reads_from, purges), ..Begin::at(reads_from) };
        let reads_from = Position::from_u64(reads_from).unwrap_or(appended.at);
        let origin = Origin { from, claims };
        let identity = Identity { number, name: name.clone(), filter, origin };
        let source = self.source(identity, reads_from, begin, before);
        self.count(before as i64);
        state.subscriptions.insert(name, Arc::clone(&source));
        for entry in matching {
            entry.routes.store(Arc::new(state.matching(&entry.topic)));
        }
        Ok(source)
    }

    /// The place that a subscription was asked to start at; `None` for its own.
    fn asked(&self, start: Start) -> Result<Option<u64>, QueueError> {
        let Start::At(id) = start else { return Ok((start == Start::Earliest).then_some(0)) };
        let place = id.position();
        let unknown = || QueueError::NoMessage { id: id.to_string() };
        let at = Position::from_u64(place).ok_or_else(unknown)?;
        if id != MessageId::new(self.incarnation, place) {
            return Err(unknown());
        }
        match self.log.record(at) {
            Ok(record) if records::is_message(record.tag()) => Ok(Some(place)),
            Err(LogError::Expired { .. }) => Ok(Some(0)),
            Err(LogError::Storage(source)) => {
                Err(storage("read the log", LogError::Storage(source)))
            }
            _ => Err(unknown()),
        }
    }

    /// How many messages in a range, all of them of `wanted` topics, `counts`.
    fn count_between(
        &self,
        range: Range<u64>,
        wanted: &dyn Fn(u32) -> bool,
        counts: impl Fn(u32, u64) -> bool,
    ) -> Result<u64, QueueError> {
        let mut count = 0;
        skim(&|from| self.log.reader(from), range, wanted, |record| {
            count += u64::from(counts(record.topic(), records::place(record.position())));
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }
}
