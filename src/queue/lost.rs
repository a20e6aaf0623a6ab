//! What a repair took from the log, taken from a sum that was written down before it.
//!
//! A checkpoint speaks of messages that stood in what are gaps now, and counts them. Here it is cleared of them: what it
//! enumerates is dropped where it lies in a gap, what it only counts is counted anew. See [`super::replay`] for what
//! becomes of other records that are gone.
//!
//! # Limits
//!
//! Reads the headers of all that is retained, where there is a gap at all.

use super::records;
use super::replay::{Replay, Reread, skim};
use crate::error::QueueError;
use crate::log::Position;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

impl Replay {
    /// Clears the sum, which was written down before a repair left these gaps, or lost what stood before `start`, of what
    /// lay in them. Where there are gaps it reads the headers of all that is retained.
    pub(crate) fn lose(
        &mut self,
        start: Position,
        gaps: Vec<Range<Position>>,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let start = records::place(start);
        let before = (self.retained < start).then_some(0..start);
        let gaps = gaps.iter().map(|gap| records::place(gap.start)..records::place(gap.end));
        self.lost = before.into_iter().chain(gaps).collect();
        if self.lost.is_empty() {
            return Ok(());
        }
        (self.at, self.retained) = (self.behind(self.at), self.behind(self.retained));
        let lost = |place| self.lost.iter().any(|gap| gap.contains(&place));
        let mut beyond: BTreeMap<u32, u64> = BTreeMap::new();
        for (&number, each) in &mut self.subscriptions {
            if each.backlog.has_beyond() {
                beyond.insert(number, 0);
            }
            let resume = each.backlog.resume();
            let resume = self.lost.iter().fold(resume, step_over);
            each.backlog.lose(lost, resume);
        }
        let mut held: Vec<_> = self.topics.iter().map(|topic| topic.held_from).collect();
        for topic in &mut self.topics {
            (topic.published, topic.held_from) = (0, None);
        }
        let (topics, subscriptions) = (&mut self.topics, &self.subscriptions);
        skim(reread, self.retained..self.at, &|_| true, |record| {
            let (place, number) = (records::place(record.position()), record.topic());
            let Some(topic) = topics.get_mut(number as usize) else {
                return ControlFlow::Continue(());
            };
            topic.published += u64::from(topic.purged_before <= place);
            if held[number as usize].is_some_and(|from| from <= place) {
                (topic.held_from, held[number as usize]) = (Some(place), None);
            }
            for (subscription, count) in &mut beyond {
                let each = &subscriptions[subscription];
                let mine = topic.routes.contains(subscription)
                    && each.backlog.resume() <= place
                    && each.owns(topic, number, place);
                *count += u64::from(mine);
            }
            ControlFlow::Continue(())
        })?;
        for (number, each) in &mut self.subscriptions {
            each.backlog.recount(beyond.get(number).copied().unwrap_or(0));
        }
        let at = self.at;
        let numbers: Vec<u32> = self.subscriptions.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.refill(number, at, reread))
    }
}

/// The place, or the end of the gap that it lies in; its first place can be read from.
pub(super) fn step_over(place: u64, gap: &Range<u64>) -> u64 {
    if gap.start <= place && place < gap.end { gap.end } else { place }
}
