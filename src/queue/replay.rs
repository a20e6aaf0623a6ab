//! What a log's records add up to: the topics, the subscriptions, and what each has yet to settle.
//!
//! A fold over the records in the order of the log, in bounded memory, that can stop anywhere, be written down
//! ([`super::checkpoint`]) and go on from there. So opening from a checkpoint is the same as opening from the start, and
//! the keeper of a running queue is one more fold that follows the log.
//!
//! Which messages are a subscription's is a function of positions alone, so that a restart finds what the running queue
//! had. A message of a matching topic is its own if it stands at or above where the subscription starts *for that
//! topic*, and was not purged:
//!
//! | the subscription | starts, for a topic, |
//! | --- | --- |
//! | was the first to match the topic, which existed already | with the first message: it gets what was held |
//! | asked for the earliest, or for a place | at the place that its record names |
//! | any other | at its own record |
//!
//! A topic made later starts above every subscription that matches it, so the third row covers it.
//!
//! # Where a repair left gaps
//!
//! The records in a gap are gone, whatever they were. What follows from that is made good here, once and for all readers:
//!
//! | gone | what becomes of it |
//! | --- | --- |
//! | a topic's record | a topic stands in, [`LOST_TOPICS`](super::LOST_TOPICS): its messages are kept and held, not dropped |
//! | a subscription's record | it is gone; messages that nobody else has matched are held |
//! | a subscription's end | it stays; if its name is made anew, the old one ends there |
//! | settlements | the messages come again |
//! | messages | a checkpoint's sum is cleared of them ([`Replay::lose`]); what is said of them later settles nothing |
//! | a purge | what was purged comes |
//!
//! # What is retained
//!
//! `retained` is the first place that a new subscription may start at; the counts of a topic's messages are of those at
//! or above it. Whoever raises it ([`Replay::retain`]) keeps below the first unsettled message of each subscription and
//! the first held one of each topic ([`Replay::watermark`]): so nothing that anybody may still want lies below. It goes
//! into the checkpoint, and only what lies below it there is reclaimed.
//!
//! # Limits
//!
//! See [`super::backlog`]: some 16 KiB a subscription, and what is delayed. Messages that are not enumerated are read a
//! second time, by their headers, when their turn comes. A subscription that starts at a place above `retained` reads
//! the headers from there to its record to count them; so does a purge from where a backlog is not enumerated.

use super::backlog::{Backlog, Bounds};
use super::records::{self, Origins, Outcome, Read, Settled};
use super::routes::{Filter, TOPICS_MAX};
use super::window::{Begin, Purge, storage};
use super::{Depth, QueueDepth, SubscriptionDepth};
use crate::error::QueueError;
use crate::log::{LogError, Position, Reader, RecordRef};
use crate::message::Topic;
use std::collections::{BTreeMap, HashSet};
use std::ops::{ControlFlow, Range};

/// What the names of topics begin with that stand in for others: none of anybody else's does.
const LOST: &str = "$lost.";

/// Begins to read at a position.
pub(crate) type Reread<'a> = &'a dyn Fn(Position) -> Reader;

/// A topic as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayedTopic {
    pub(crate) topic: Topic,
    /// How many messages are retained of it.
    pub(crate) published: u64,
    pub(crate) claimed: bool,
    /// Where its record stands: no message of it stands before.
    pub(crate) made_at: u64,
    /// Its messages before are nobody's.
    pub(crate) purged_before: u64,
    /// The first message that nobody has matched yet.
    pub(crate) held_from: Option<u64>,
    /// The numbers of the subscriptions that match it: worked out, not written down.
    pub(super) routes: Vec<u32>,
}

/// Where a subscription begins, topic by topic.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) filter: Filter,
    pub(crate) origin: Origin,
}

/// A subscription as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayedSubscription {
    pub(crate) identity: Identity,
    pub(super) backlog: Backlog,
}

impl ReplayedSubscription {
    /// How many messages it has yet to settle.
    pub(crate) fn unsettled(&self) -> u64 {
        self.backlog.unsettled()
    }

    fn depth(&self) -> Depth {
        let delayed = self.backlog.delayed();
        Depth { ready: self.unsettled().saturating_sub(delayed), in_flight: 0, delayed }
    }

    /// Is the message one of its own, if the topic is one that it matches?
    pub(super) fn owns(&self, topic: &ReplayedTopic, number: u32, position: u64) -> bool {
        topic.purged_before <= position && self.identity.origin.covers(number, position)
    }
}

/// Who keeps a place from being reclaimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Nobody.
    None,
    /// The subscription with that number: a message it has not settled.
    Subscription(u32),
    /// The topic with that number: a message that is held for the first subscription to match it.
    Topic(u32),
}

/// The sum of the records read so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) topics: Vec<ReplayedTopic>,
    pub(crate) subscriptions: BTreeMap<u32, ReplayedSubscription>,
    /// The number of the next subscription.
    pub(crate) next_subscription: u32,
    /// How far it has come: every record that starts below is in the sum.
    pub(crate) at: u64,
    /// See the module's page.
    pub(crate) retained: u64,
    /// Where the last purge stands: the highest `purged_before`.
    pub(super) newest_purge: u64,
    pub(super) bounds: Bounds,
    /// Where nothing is any more, in order. Not written down: the log tells it.
    pub(super) lost: Vec<Range<u64>>,
}

impl Replay {
    /// The sum of nothing, of a log that starts at `start`.
    pub(crate) fn new(start: Position, bounds: Bounds) -> Self {
        Self {
            topics: Vec::new(),
            subscriptions: BTreeMap::new(),
            next_subscription: 0,
            at: records::place(start),
            retained: records::place(start),
            newest_purge: 0,
            bounds,
            lost: Vec::new(),
        }
    }

    /// The place, or where the gap that it lies in ends.
    pub(super) fn behind(&self, place: u64) -> u64 {
        self.lost.iter().fold(place, super::lost::step_over)
    }

    /// Where to read on.
    pub(crate) fn position(&self) -> Position {
        position(self.at)
    }

    /// Adds up what is committed below `end`, and whole batches. Answers how many records that were.
    pub(crate) fn follow(&mut self, end: Position, reread: Reread<'_>) -> Result<u64, QueueError> {
        let mut reader = reread(self.position()).skimming(records::is_message);
        let mut added = 0;
        while self.at < records::place(end) {
            let Some(record) = reader.next().map_err(failed)? else {
                self.at = self.at.max(records::place(reader.position()));
                break;
            };
            self.add(&record, reread)?;
            self.at = records::place(record.next());
            added += 1;
        }
        Ok(added)
    }

    fn add(&mut self, record: &RecordRef, reread: Reread<'_>) -> Result<(), QueueError> {
        let position = records::place(record.position());
        if records::is_message(record.tag()) {
            self.message(record.topic(), position);
            return Ok(());
        }
        let refused = |reason: String| QueueError::Record { position, reason };
        match records::read_record(record).map_err(|error| refused(error.to_string()))? {
            Read::Message { .. } => Ok(()), // Told by its tag, above.
            Read::Topic { number, name } => self.topic(number, name, position).map_err(refused),
            Read::Subscribe { number, start, filter, name } => {
                let made = self.identity(number, start, filter, name, position);
                self.subscribe(made.map_err(refused)?, position, reread)
            }
            Read::Unsubscribe { number } => {
                self.unsubscribe(number);
                Ok(())
            }
            Read::Settle { number, entries } => self.settle(number, &entries, position, reread),
            Read::Purge { filter } => {
                let filter = Filter::new(filter).map_err(|error| refused(error.to_string()))?;
                self.purge(&filter, position, reread)
            }
        }
    }

    /// The record of a message's topic stands before it in every log of ours, so an unknown one lay in a gap. A number
    /// that no topic can have belongs to nobody.
    fn message(&mut self, number: u32, position: u64) {
        self.stand_in(u64::from(number) + 1, position);
        let Some(topic) = self.topics.get_mut(number as usize) else { return };
        topic.published += 1;
        if !topic.claimed {
            topic.held_from.get_or_insert(position);
        }
        for each in &topic.routes {
            if let Some(subscription) = self.subscriptions.get_mut(each) {
                subscription.backlog.add(position, number, self.bounds);
            }
        }
    }

    /// Makes the topics below `count` whose records are gone, if so many can be.
    fn stand_in(&mut self, count: u64, position: u64) {
        if count <= TOPICS_MAX as u64 + 1 {
            for number in self.topics.len() as u64..count {
                let topic = Topic::new(&format!("{LOST}{number}")).expect("it is a topic's name");
                self.make(topic, position);
            }
        }
    }

    fn topic(&mut self, number: u32, name: &str, made_at: u64) -> Result<(), String> {
        self.stand_in(u64::from(number), made_at);
        if number as usize != self.topics.len() {
            return Err(format!("topic {number} comes where {} should", self.topics.len()));
        }
        self.make(Topic::new(name).map_err(|error| error.to_string())?, made_at);
        Ok(())
    }

    /// The next topic. No message of it stands before `made_at`.
    fn make(&mut self, topic: Topic, made_at: u64) {
        let routes = self.matching(&topic);
        let claimed = !routes.is_empty();
        let (published, purged_before, held_from) = (0, 0, None);
        self.topics.push(ReplayedTopic {
            topic,
            published,
            claimed,
            made_at,
            purged_before,
            held_from,
            routes,
        });
    }

    /// The numbers of the subscriptions that match `topic`.
    pub(super) fn matching(&self, topic: &Topic) -> Vec<u32> {
        let each = self.subscriptions.values().map(|each| &each.identity);
        each.filter(|each| each.filter.matches(topic)).map(|each| each.number).collect()
    }

    fn identity(
        &mut self,
        number: u32,
        start: Origins,
        filter: &str,
        name: &str,
        position: u64,
    ) -> Result<Identity, String> {
        if number < self.next_subscription {
            return Err(format!("subscription {number} is made a second time"));
        }
        if number == u32::MAX {
            return Err("no subscription can have the last number".to_owned());
        }
        let filter = Filter::new(filter).map_err(|error| error.to_string())?;
        // Names are given once at a time: the record that ended the other one is gone.
        let ended = self.subscriptions.values().find(|each| each.identity.name == name);
        if let Some(ended) = ended.map(|each| each.identity.number) {
            self.unsubscribe(ended);
        }
        let mut claims = HashSet::new();
        for (topic_number, topic) in self.topics.iter_mut().enumerate() {
            if filter.matches(&topic.topic) {
                topic.routes.push(number);
                if !std::mem::replace(&mut topic.claimed, true) {
                    claims.insert(topic_number as u32);
                }
            }
        }
        let from = match start {
            Origins::Own => position,
            Origins::Beginning => 0,
            Origins::At(place) if !place.is_multiple_of(32) => {
                return Err(format!("subscription {number} starts at {place}, which is no place"));
            }
            Origins::At(place) => place.min(position),
        };
        Ok(Identity { number, name: name.to_owned(), filter, origin: Origin { from, claims } })
    }

    /// Gives a subscription that begins at `position` the messages before it that are its own: as a count, and a place
    /// to read on from.
    fn subscribe(
        &mut self,
        identity: Identity,
        position: u64,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let Identity { number, ref origin, .. } = identity;
        let mine: Vec<u32> = (0..self.topics.len() as u32)
            .filter(|&topic| self.topics[topic as usize].routes.last() == Some(&number))
            .collect();
        let (mut before, mut resume) = (0, u64::MAX);
        for &topic in &mine {
            let counted = &mut self.topics[topic as usize];
            let claimed = origin.claims.contains(&topic);
            if claimed || origin.from <= self.retained {
                before += counted.published;
            }
            let held_from = counted.held_from.take().filter(|_| claimed);
            resume = resume.min(held_from.unwrap_or(u64::MAX));
        }
        if origin.from < position {
            resume = resume.min(origin.from.max(self.retained));
        }
        let (from, claims) = (origin.from, origin.claims.clone());
        self.next_subscription = number + 1;
        let made = ReplayedSubscription { identity, backlog: Backlog::default() };
        self.subscriptions.insert(number, made);
        if self.retained < from && from < position {
            let topics = &self.topics;
            skim(reread, from..position, &|topic| mine.contains(&topic), |record| {
                let topic = record.topic();
                let counts = mine.contains(&topic)
                    && !claims.contains(&topic)
                    && topics[topic as usize].purged_before <= records::place(record.position());
                before += u64::from(counts);
                ControlFlow::Continue(())
            })?;
        }
        if let Some(made) = self.subscriptions.get_mut(&number).filter(|_| before > 0) {
            made.backlog = Backlog::unread(resume.min(position), before);
        }
        self.refill(number, position, reread)
    }

    fn unsubscribe(&mut self, number: u32) {
        self.subscriptions.remove(&number);
        self.topics.iter_mut().for_each(|topic| topic.routes.retain(|&each| each != number));
    }

    /// Notes settlements of the subscription with that number, known at `at`. Once or more often comes to the same.
    pub(crate) fn settle(
        &mut self,
        number: u32,
        entries: &[Settled],
        at: u64,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let newest_purge = self.newest_purge;
        let lost = |place: u64| self.lost.iter().any(|gap| gap.contains(&place));
        // One that has ended may still have had deliveries out.
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        for &Settled { position, outcome } in entries {
            if lost(position) {
                continue;
            }
            let backlog = &mut subscription.backlog;
            let mut topic = None;
            if backlog.is_beyond(position) {
                let is_retry = matches!(outcome, Outcome::Retry { .. });
                if is_retry || position < newest_purge {
                    topic = topic_at(reread, position)?;
                }
                let purged = |number: u32| {
                    let topic = self.topics.get(number as usize);
                    topic.is_some_and(|topic| position < topic.purged_before)
                };
                let unknown = is_retry && topic.is_none();
                if at <= position || unknown || topic.is_some_and(purged) {
                    continue;
                }
            }
            backlog.settle(position, outcome, topic);
        }
        self.refill(number, at, reread)
    }

    /// Reads on for a subscription whose enumerated messages have drained, up to `end`.
    pub(super) fn refill(
        &mut self,
        number: u32,
        end: u64,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let (topics, bounds) = (&self.topics, self.bounds);
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        if !subscription.backlog.wants_more(bounds) {
            return Ok(());
        }
        let mut whole = false;
        let routed =
            |topic: u32| topics.get(topic as usize).filter(|one| one.routes.contains(&number));
        let wanted = |topic| routed(topic).is_some();
        skim(reread, subscription.backlog.resume()..end, &wanted, |record| {
            let (place, topic) = (records::place(record.position()), record.topic());
            let next = records::place(record.next());
            let mine = routed(topic).is_some_and(|one| subscription.owns(one, topic, place));
            if mine && !subscription.backlog.offer(place, topic, next, bounds) {
                whole = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if !whole {
            subscription.backlog.exhausted();
        }
        Ok(())
    }

    /// Drops what was published before `position` to the topics that `filter` matches.
    fn purge(
        &mut self,
        filter: &Filter,
        position: u64,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let matching: Vec<u32> = (0..self.topics.len() as u32)
            .filter(|&topic| filter.matches(&self.topics[topic as usize].topic))
            .collect();
        let numbers: Vec<u32> = self.subscriptions.keys().copied().collect();
        for number in numbers {
            self.purge_one(number, &matching, position, reread)?;
        }
        for &topic in &matching {
            let topic = &mut self.topics[topic as usize];
            (topic.published, topic.held_from, topic.purged_before) = (0, None, position);
        }
        self.newest_purge = position;
        // After the mark: what is read on is read as purged.
        let numbers: Vec<u32> = self.subscriptions.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.refill(number, position, reread))
    }

    /// The same for one subscription.
    fn purge_one(
        &mut self,
        number: u32,
        purged: &[u32],
        position: u64,
        reread: Reread<'_>,
    ) -> Result<(), QueueError> {
        let topics = &self.topics;
        let routed =
            |topic: u32| topics.get(topic as usize).filter(|topic| topic.routes.contains(&number));
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        let concerned: Vec<u32> =
            purged.iter().copied().filter(|&topic| routed(topic).is_some()).collect();
        let mut beyond: BTreeMap<u32, (u64, Vec<u64>)> = BTreeMap::new();
        if !concerned.is_empty() && subscription.backlog.has_beyond() {
            let wanted = |topic| concerned.contains(&topic);
            skim(reread, subscription.backlog.resume()..position, &wanted, |record| {
                let (place, topic) = (records::place(record.position()), record.topic());
                let owns = |one: &ReplayedTopic| subscription.owns(one, topic, place);
                if concerned.contains(&topic) && routed(topic).is_some_and(owns) {
                    let (count, ahead) = beyond.entry(topic).or_default();
                    *count += 1;
                    ahead.extend((!subscription.backlog.is_beyond(place)).then_some(place));
                }
                ControlFlow::Continue(())
            })?;
        }
        for topic in concerned {
            let (count, ahead) = beyond.remove(&topic).unwrap_or_default();
            subscription.backlog.purge(topic, count, &ahead);
        }
        Ok(())
    }

    /// Below this nothing is unsettled or held, and who keeps it from being higher.
    pub(crate) fn watermark(&self) -> (u64, Pin) {
        let unsettled = self.subscriptions.values().filter_map(|each| {
            each.backlog.first().map(|first| (first, Pin::Subscription(each.identity.number)))
        });
        let topics = self.topics.iter().enumerate().filter(|(_, topic)| !topic.claimed);
        let held = topics.filter_map(|(number, topic)| {
            topic.held_from.map(|first| (first, Pin::Topic(number as u32)))
        });
        unsettled.chain(held).min_by_key(|(first, _)| *first).unwrap_or((self.at, Pin::None))
    }

    /// How many messages of which topic stand between `retained` and `from`, and would not be counted any more.
    pub(crate) fn below(
        &self,
        from: u64,
        reread: Reread<'_>,
    ) -> Result<BTreeMap<u32, u64>, QueueError> {
        let mut counts = BTreeMap::new();
        skim(reread, self.retained..from, &|_| true, |record| {
            let place = records::place(record.position());
            let topic = self.topics.get(record.topic() as usize);
            if topic.is_some_and(|topic| topic.purged_before <= place) {
                *counts.entry(record.topic()).or_default() += 1;
            }
            ControlFlow::Continue(())
        })?;
        Ok(counts)
    }

    /// Retains nothing below `from`, which lies at or below the watermark; `counts` is what [`Replay::below`] says.
    pub(crate) fn retain(&mut self, from: u64, counts: &BTreeMap<u32, u64>) {
        debug_assert!(from <= self.watermark().0, "what somebody may still want is retained");
        for (&topic, &count) in counts {
            if let Some(topic) = self.topics.get_mut(topic as usize) {
                topic.published = topic.published.saturating_sub(count);
            }
        }
        self.retained = self.retained.max(from);
    }

    /// Where the window of a subscription begins.
    pub(crate) fn begin(&self, subscription: &ReplayedSubscription) -> Begin {
        let mut begin = subscription.backlog.begin(self.at);
        let topics = (0..).zip(&self.topics).map(|(number, topic)| (number, topic.purged_before));
        begin.purged = Purge::above(begin.resume, topics);
        begin
    }

    /// Shows the position of each message that a subscription has yet to settle, in order.
    pub(crate) fn unsettled(
        &self,
        number: u32,
        reread: Reread<'_>,
        mut visit: impl FnMut(u64) -> Result<ControlFlow<()>, QueueError>,
    ) -> Result<(), QueueError> {
        let Some(subscription) = self.subscriptions.get(&number) else { return Ok(()) };
        let (beyond, backlog) = (subscription.backlog.has_beyond(), &subscription.backlog);
        let mut known = backlog.read_so_far().into_iter().peekable();
        while let Some(place) = known.next_if(|&place| !beyond || place < backlog.resume()) {
            if visit(place)?.is_break() {
                return Ok(());
            }
        }
        if !beyond {
            return Ok(());
        }
        // Delayed ones may stand among those that were never enumerated, where they count as settled ahead.
        let delayed: HashSet<u64> = known.collect();
        let mut outcome = Ok(());
        let routed =
            |topic: u32| self.topics.get(topic as usize).filter(|one| one.routes.contains(&number));
        let wanted = |topic| routed(topic).is_some();
        skim(reread, backlog.resume()..self.at, &wanted, |record| {
            let (place, topic) = (records::place(record.position()), record.topic());
            let mine = routed(topic).is_some_and(|one| subscription.owns(one, topic, place));
            if !mine || !(backlog.is_beyond(place) || delayed.contains(&place)) {
                return ControlFlow::Continue(());
            }
            match visit(place) {
                Ok(flow) => flow,
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        outcome
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

/// Shows the messages that start in the range, by their headers. Of topics that are not `wanted` some may be left out.
pub(crate) fn skim(
    reread: Reread<'_>,
    Range { start: from, end: to }: Range<u64>,
    wanted: &dyn Fn(u32) -> bool,
    mut visit: impl FnMut(&RecordRef) -> ControlFlow<()>,
) -> Result<(), QueueError> {
    if to <= from {
        return Ok(());
    }
    let mut reader = reread(position(from)).skimming(records::is_message);
    let mut wanted = |tag, topic| records::is_message(tag) && wanted(topic);
    while let Some(record) = reader.next_skipping(&mut wanted).map_err(failed)? {
        if to <= records::place(record.position()) {
            return Ok(());
        }
        if records::is_message(record.tag()) && visit(&record).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// When the first message in `[from, to)` was accepted.
pub(crate) fn first_time_ns(
    reread: Reread<'_>,
    from: u64,
    to: u64,
) -> Result<Option<u64>, QueueError> {
    let mut found = None;
    skim(reread, from..to, &|_| true, |record| {
        found = Some(record.time_ns());
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The topic of the message at `place`, if there is one.
fn topic_at(reread: Reread<'_>, place: u64) -> Result<Option<u32>, QueueError> {
    let Some(at) = Position::from_u64(place) else { return Ok(None) };
    match reread(at).skimming(records::is_message).next() {
        Ok(found) => Ok(found
            .filter(|record| record.position() == at && records::is_message(record.tag()))
            .map(|record| record.topic())),
        Err(error @ LogError::Storage(_)) => Err(failed(error)),
        // A settlement of what is no record settles nothing.
        Err(_) => Ok(None),
    }
}

fn failed(source: LogError) -> QueueError {
    storage("replay the log", source)
}

/// A place that a record stood at, or a log began.
fn position(place: u64) -> Position {
    Position::from_u64(place).expect("the places of records are positions")
}
