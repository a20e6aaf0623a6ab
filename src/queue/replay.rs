//! What a log's records add up to: the topics, the subscriptions, and what each has yet to settle.
//!
//! A fold over the records in the order of the log. Which messages are a subscription's is a function of positions
//! alone, so that a restart finds what the running queue had: a message of a matching topic is its own if it stands
//! at or above where the subscription starts *for that topic*:
//!
//! | the subscription | starts, for a topic, |
//! | --- | --- |
//! | asked for the earliest | at the beginning of the log |
//! | was the first to match the topic, which existed already | at the beginning of the log: it gets what was held |
//! | any other | at its own record |
//!
//! A topic made later starts above every subscription that matches it, so the third row covers it.
//!
//! # Limits
//!
//! Sixteen bytes of memory for each unsettled message while the log is replayed. A subscription that takes earlier
//! messages reads the log up to its own record once more, from the first topic on that it took over.

use super::records::{self, Outcome, Read};
use super::routes::Filter;
use super::window::Begin;
use super::{Depth, QueueDepth, Start, SubscriptionDepth};
use crate::error::QueueError;
use crate::log::{LogError, Position, Reader, RecordRef};
use crate::message::Topic;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// A topic as the log tells it.
pub(crate) struct ReplayedTopic {
    pub(crate) topic: Topic,
    pub(crate) published: u64,
    pub(crate) claimed: bool,
    /// Where its record stands: no message of it stands before.
    pub(crate) made_at: u64,
}

/// Where a subscription begins, topic by topic.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// For all topics but the claimed ones.
    pub(crate) from: u64,
    /// Topics, by number, whose held messages it took: from the beginning.
    pub(crate) claims: HashSet<u32>,
}

impl Origin {
    /// Is the message of that topic at `position` one of its own, if the filter matches?
    pub(crate) fn covers(&self, topic: u32, position: u64) -> bool {
        self.from <= position || self.claims.contains(&topic)
    }
}

/// What makes a subscription the one it is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) filter: Filter,
    pub(crate) origin: Origin,
}

/// A subscription as the log tells it.
pub(crate) struct ReplayedSubscription {
    pub(crate) identity: Identity,
    /// From the first unsettled message on, in order; what is settled in between stays until the front is.
    backlog: VecDeque<Slot>,
    settled: u64,
    delayed: BTreeMap<u64, (u64, u32)>,
}

struct Slot {
    position: u64,
    /// How far before it the frame begins that it stands in, in units of 32 bytes.
    frame_back: u32,
    settled: bool,
}

impl Slot {
    fn of(record: &RecordRef) -> Self {
        let position = records::place(record.position());
        let back = (position - records::place(record.frame())) / 32;
        // A frame is shorter than a segment, which is far below 2^32 units.
        Self { position, frame_back: back as u32, settled: false }
    }
}

impl ReplayedSubscription {
    /// How many messages it has yet to settle.
    pub(crate) fn unsettled(&self) -> u64 {
        self.backlog.len() as u64 - self.settled
    }

    fn depth(&self) -> Depth {
        let delayed = self.delayed.len() as u64;
        Depth { ready: self.unsettled() - delayed, in_flight: 0, delayed }
    }

    /// The positions of what it has yet to settle, in order.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> {
        self.backlog.iter().filter(|slot| !slot.settled).map(|slot| slot.position)
    }

    fn settle(&mut self, position: u64, outcome: Outcome) {
        self.delayed.remove(&position);
        let found = self.backlog.binary_search_by_key(&position, |slot| slot.position);
        // A settlement of a message that is not in the backlog was written twice: by two deliveries of it.
        let Ok(at) = found else { return };
        if let Outcome::Retry { due_ns, attempt } = outcome {
            if !self.backlog[at].settled {
                self.delayed.insert(position, (due_ns, attempt));
            }
            return;
        }
        self.settled += u64::from(!std::mem::replace(&mut self.backlog[at].settled, true));
        while self.backlog.front().is_some_and(|slot| slot.settled) {
            self.backlog.pop_front();
            self.settled -= 1;
        }
    }

    /// Where its window begins: a reader's position, and what to pass over from there.
    pub(crate) fn begin(&self, end: Position) -> (Position, Begin) {
        let Some(front) = self.backlog.front() else {
            return (end, Begin { floor: records::place(end), ..Begin::default() });
        };
        let frame = front.position - u64::from(front.frame_back) * 32;
        let settled = self.backlog.iter().filter(|slot| slot.settled).map(|slot| slot.position);
        let skip = settled.chain(self.delayed.keys().copied()).collect();
        let delayed = self.delayed.iter();
        let delayed = delayed.map(|(&position, &(due_ns, attempt))| (due_ns, position, attempt));
        let begin = Begin { floor: front.position, skip, delayed: delayed.collect() };
        (Position::from_u64(frame).unwrap_or(end), begin)
    }
}

/// The sum of the records read so far.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) topics: Vec<ReplayedTopic>,
    pub(crate) subscriptions: BTreeMap<u32, ReplayedSubscription>,
    /// The number of the next subscription.
    pub(crate) next_subscription: u32,
}

impl Replay {
    /// Adds up what `reader` gives until nothing more is committed; `reread` begins again
    /// at a position.
    pub(crate) fn of(
        mut reader: Reader,
        reread: impl Fn(Position) -> Reader,
    ) -> Result<Self, QueueError> {
        let mut replay = Self::default();
        let failed = |source| super::window::storage("replay the log", source);
        while let Some(record) = reader.next().map_err(failed)? {
            replay.add(&record, &reread)?;
        }
        Ok(replay)
    }

    fn add(
        &mut self,
        record: &RecordRef,
        reread: &impl Fn(Position) -> Reader,
    ) -> Result<(), QueueError> {
        let position = records::place(record.position());
        let refused = |reason: String| QueueError::Record { position, reason };
        match records::read_record(record).map_err(|error| refused(error.to_string()))? {
            Read::Message { topic, .. } => self.message(topic, record),
            Read::Topic { number, name } => self.topic(number, name, position).map_err(refused)?,
            Read::Subscribe { number, start, filter, name } => {
                let made = self.subscription(number, start, filter, name, position);
                let made = made.map_err(refused)?;
                self.catch_up(made, position, reread)?;
            }
            Read::Unsubscribe { number } => drop(self.subscriptions.remove(&number)),
            Read::Settle { number, entries } => {
                // One that has ended may still have had deliveries out.
                if let Some(subscription) = self.subscriptions.get_mut(&number) {
                    let each = entries.into_iter();
                    each.for_each(|entry| subscription.settle(entry.position, entry.outcome));
                }
            }
        }
        Ok(())
    }

    /// A message of an unknown topic belongs to nobody: its topic's record stands before it in every log of ours.
    fn message(&mut self, number: u32, record: &RecordRef) {
        let Some(topic) = self.topics.get_mut(number as usize) else { return };
        topic.published += 1;
        for subscription in self.subscriptions.values_mut() {
            if subscription.identity.filter.matches(&topic.topic) {
                subscription.backlog.push_back(Slot::of(record));
            }
        }
    }

    fn topic(&mut self, number: u32, name: &str, made_at: u64) -> Result<(), String> {
        if number as usize != self.topics.len() {
            return Err(format!("topic {number} comes where {} should", self.topics.len()));
        }
        let topic = Topic::new(name).map_err(|error| error.to_string())?;
        let claimed = self.subscriptions.values().any(|each| each.identity.filter.matches(&topic));
        self.topics.push(ReplayedTopic { topic, published: 0, claimed, made_at });
        Ok(())
    }

    fn subscription(
        &mut self,
        number: u32,
        start: Start,
        filter: &str,
        name: &str,
        position: u64,
    ) -> Result<u32, String> {
        if number < self.next_subscription {
            return Err(format!("subscription {number} is made a second time"));
        }
        let next = number.checked_add(1).ok_or("no subscription can have the last number")?;
        let filter = Filter::new(filter).map_err(|error| error.to_string())?;
        let mut claims = HashSet::new();
        for (number, topic) in self.topics.iter_mut().enumerate() {
            if filter.matches(&topic.topic) && !std::mem::replace(&mut topic.claimed, true) {
                claims.insert(number as u32);
            }
        }
        let from = if start == Start::Earliest { 0 } else { position };
        let (name, origin) = (name.to_owned(), Origin { from, claims });
        let identity = Identity { number, name, filter, origin };
        let (backlog, settled, delayed) = (VecDeque::new(), 0, BTreeMap::new());
        let made = ReplayedSubscription { identity, backlog, settled, delayed };
        self.subscriptions.insert(number, made);
        self.next_subscription = next;
        Ok(number)
    }

    /// Gives a subscription the messages before its record that are its own.
    fn catch_up(
        &mut self,
        number: u32,
        position: u64,
        reread: &impl Fn(Position) -> Reader,
    ) -> Result<(), QueueError> {
        let topics = &self.topics;
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        let Identity { filter, origin, .. } = subscription.identity.clone();
        if origin.from == position && origin.claims.is_empty() {
            return Ok(());
        }
        let made_at = |&claimed: &u32| topics.get(claimed as usize).map(|topic| topic.made_at);
        let claims_from = origin.claims.iter().filter_map(made_at).min().unwrap_or(origin.from);
        let from = Position::from_u64(claims_from.min(origin.from));
        let from = from.expect("0 and the places of records are positions");
        let mut reader = reread(from);
        let failed = |source: LogError| super::window::storage("replay the log", source);
        while let Some(record) = reader.next().map_err(failed)? {
            let at = records::place(record.position());
            if position <= at {
                break;
            }
            let topic = topics.get(record.topic() as usize);
            let mine = records::is_message(record.tag())
                && origin.covers(record.topic(), at)
                && topic.is_some_and(|topic| filter.matches(&topic.topic));
            if mine {
                subscription.backlog.push_back(Slot::of(&record));
            }
        }
        Ok(())
    }

    /// How many messages stand where.
    pub(crate) fn depth(&self) -> QueueDepth {
        let held = self.topics.iter().filter(|topic| !topic.claimed);
        let subscriptions = self.subscriptions.values().map(|each| SubscriptionDepth {
            name: each.identity.name.clone(),
            filter: each.identity.filter.to_string(),
            members: 0,
            depth: each.depth(),
        });
        let held = held.map(|topic| topic.published).sum();
        let mut subscriptions: Vec<_> = subscriptions.collect();
        // As the running queue lists them.
        subscriptions.sort_by(|one, other| one.name.cmp(&other.name));
        QueueDepth { held, subscriptions }
    }
}
