//! A replay's state as bytes, and back: the body of a checkpoint. Pure.
//!
//! The log keeps it in a file of its own, with a checksum, and knows up to where it was replayed. Little-endian:
//!
//! | field | bytes | |
//! | --- | --- | --- |
//! | version | `u32` | [`VERSION`] |
//! | at | `u64` | every record that starts below is in the sum |
//! | retained | `u64` | nothing below is counted |
//! | topics | `u32` | then each, in the order of the numbers: |
//! | made at, purged before, published | `u64` each | |
//! | held from | `u64` | all ones: nothing is held |
//! | claimed | `u8` | 0 or 1 |
//! | name | `u16`, then so many bytes | UTF-8 |
//! | next subscription | `u32` | |
//! | subscriptions | `u32` | then each, in the order of the numbers: |
//! | number | `u32` | |
//! | from | `u64` | |
//! | filter, name | `u16`, then so many bytes; twice | UTF-8 |
//! | claims | `u32`, then a `u32` each | topics, in order |
//! | front | `u32`, then `u64` and `u32` each | place and topic, in order of the places |
//! | resume, beyond | `u64` each | both 0 where nothing lies beyond |
//! | ahead | `u32`, then a `u64` each | places, in order |
//! | delayed | `u32`, then `u64`, `u64`, `u32`, `u32` each | place, due, attempt, topic, in order of the places |
//!
//! There is one way to write a state: what is read and written again is the same bytes.
//!
//! # Limits
//!
//! [`TOPICS_MAX`] topics and the dead letters', [`SUBSCRIPTIONS_MAX`] subscriptions. A count is believed only as far as
//! there are bytes for it. What a state says is checked for order and range, not for truth: that is the checksum's.

use super::backlog::{Backlog, Bounds, Delayed, Parts, Slot};
use super::replay::{Identity, Origin, Replay, ReplayedSubscription, ReplayedTopic};
use super::routes::{Filter, TOPICS_MAX};
use super::{NAME_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::error::TopicError;
use crate::log::Position;
use crate::message::{TOPIC_BYTES_MAX, Topic};

/// The version of this table.
pub(crate) const VERSION: u32 = 1;
const NOTHING_HELD: u64 = u64::MAX;
/// Bytes of the smallest topic and of the smallest subscription.
const TOPIC_BYTES_MIN: usize = 4 * 8 + 1 + 2 + 1;
const SUBSCRIPTION_BYTES_MIN: usize = 4 + 8 + 2 + 1 + 2 + 1 + 4 + 4 + 16 + 4 + 4;

// Every name fits its length.
const _: () = assert!(TOPIC_BYTES_MAX <= u16::MAX as usize && NAME_BYTES_MAX <= u16::MAX as usize);

/// Why bytes are no state of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointFault {
    #[error("the checkpoint's body has version {0}; this millstream reads up to {VERSION}")]
    Version(u32),
    #[error("the checkpoint's body ends too early, at byte {0}")]
    Short(usize),
    #[error("the checkpoint's body goes on behind its end, at byte {0}")]
    Long(usize),
    #[error("a name in the checkpoint's body is not UTF-8")]
    Text,
    #[error("a name in the checkpoint's body: {0}")]
    Name(#[from] TopicError),
    #[error("the checkpoint's body tells of {count} {what}, of which at most {max} may be")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("{what} in the checkpoint's body is impossible: {value}")]
    Value { what: &'static str, value: u64 },
}

/// The state as bytes.
pub(crate) fn encode(replay: &Replay) -> Vec<u8> {
    let mut out = Writer(Vec::new());
    out.u32(VERSION);
    out.u64(replay.at);
    out.u64(replay.retained);
    out.count(replay.topics.len());
    for topic in &replay.topics {
        out.u64(topic.made_at);
        out.u64(topic.purged_before);
        out.u64(topic.published);
        out.u64(topic.held_from.unwrap_or(NOTHING_HELD));
        out.0.push(u8::from(topic.claimed));
        out.text(topic.topic.as_str());
    }
    out.u32(replay.next_subscription);
    out.count(replay.subscriptions.len());
    replay.subscriptions.values().for_each(|each| out.subscription(each));
    out.0
}

/// The state that `bytes` tell of.
pub(crate) fn decode(bytes: &[u8], bounds: Bounds) -> Result<Replay, CheckpointFault> {
    let mut from = Bytes { bytes, at: 0 };
    let version = from.u32()?;
    if version != VERSION {
        return Err(CheckpointFault::Version(version));
    }
    let at = place("the end of the replay", from.u64()?)?;
    let retained = from.place_to("the first retained place", at)?;
    let count = from.count("topics", TOPIC_BYTES_MIN, TOPICS_MAX + 1)?;
    let topics = (0..count).map(|_| from.topic(at)).collect::<Result<Vec<_>, _>>()?;
    let next_subscription = from.u32()?;
    let count = from.count("subscriptions", SUBSCRIPTION_BYTES_MIN, SUBSCRIPTIONS_MAX)?;
    let newest_purge = topics.iter().map(|topic| topic.purged_before).max().unwrap_or(0);
    let subscriptions = std::collections::BTreeMap::new();
    let mut replay = Replay {
        topics,
        subscriptions,
        next_subscription,
        at,
        retained,
        newest_purge,
        bounds,
        lost: Vec::new(),
    };
    let mut number_min = 0;
    for _ in 0..count {
        let made = from.subscription(&replay)?;
        let number = made.identity.number;
        if number < number_min || next_subscription <= number {
            let value = u64::from(number);
            return Err(CheckpointFault::Value { what: "a subscription's number", value });
        }
        number_min = number + 1;
        replay.subscriptions.insert(number, made);
    }
    if from.at != bytes.len() {
        return Err(CheckpointFault::Long(from.at));
    }
    let routes: Vec<_> = replay.topics.iter().map(|topic| replay.matching(&topic.topic)).collect();
    replay.topics.iter_mut().zip(routes).for_each(|(topic, routes)| topic.routes = routes);
    Ok(replay)
}

/// The replay, if it goes up to where the log says that it does.
pub(crate) fn check_place(
    replay: Replay,
    replay_from: Position,
) -> Result<Replay, CheckpointFault> {
    let (what, value) = ("the end of the replay", replay.at);
    let right = replay.position() == replay_from;
    if right { Ok(replay) } else { Err(CheckpointFault::Value { what, value }) }
}

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, word: u32) {
        self.0.extend(word.to_le_bytes());
    }

    fn u64(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }

    /// What is counted is bounded far below 2^32.
    fn count(&mut self, count: usize) {
        self.u32(count as u32);
    }

    fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u16).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn subscription(&mut self, subscription: &ReplayedSubscription) {
        let Identity { number, name, filter, origin } = &subscription.identity;
        self.u32(*number);
        self.u64(origin.from);
        self.text(filter.as_str());
        self.text(name);
        let mut claims: Vec<u32> = origin.claims.iter().copied().collect();
        claims.sort_unstable();
        self.count(claims.len());
        claims.into_iter().for_each(|claim| self.u32(claim));
        let parts = subscription.backlog.parts();
        self.count(parts.front.len());
        for slot in &parts.front {
            self.u64(slot.position());
            self.u32(slot.topic);
        }
        self.u64(parts.resume);
        self.u64(parts.beyond);
        self.count(parts.ahead.len());
        parts.ahead.iter().for_each(|&place| self.u64(place));
        self.count(parts.delayed.len());
        for (place, delayed) in &parts.delayed {
            self.u64(*place);
            self.u64(delayed.due_ns);
            self.u32(delayed.attempt);
            self.u32(delayed.topic);
        }
    }
}

struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CheckpointFault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(CheckpointFault::Short(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointFault> {
        let taken = self.take(N)?;
        Ok(*taken.first_chunk().expect("as many were taken"))
    }

    fn u16(&mut self) -> Result<u16, CheckpointFault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, CheckpointFault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CheckpointFault> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, CheckpointFault> {
        let count = self.u16()?;
        let taken = self.take(usize::from(count))?;
        std::str::from_utf8(taken).map_err(|_| CheckpointFault::Text)
    }

    /// A count of things of `bytes_min` each: of more than there can be nothing is allocated.
    fn count(
        &mut self,
        what: &'static str,
        bytes_min: usize,
        max: usize,
    ) -> Result<usize, CheckpointFault> {
        let count = self.u32()? as usize;
        if max < count {
            return Err(CheckpointFault::TooMany { what, count, max });
        }
        let possible = (self.bytes.len() - self.at) / bytes_min;
        if possible < count { Err(CheckpointFault::Short(self.bytes.len())) } else { Ok(count) }
    }

    fn place_to(&mut self, what: &'static str, max: u64) -> Result<u64, CheckpointFault> {
        let value = place(what, self.u64()?)?;
        if value <= max { Ok(value) } else { Err(CheckpointFault::Value { what, value }) }
    }

    /// A place that lies above the one before and below `end`.
    fn next_place(
        &mut self,
        what: &'static str,
        least: &mut u64,
        end: u64,
    ) -> Result<u64, CheckpointFault> {
        let value = place(what, self.u64()?)?;
        if value < *least || end <= value {
            return Err(CheckpointFault::Value { what, value });
        }
        *least = value + 1;
        Ok(value)
    }

    /// The number of a topic of `replay`.
    fn topic_number(&mut self, replay: &Replay) -> Result<u32, CheckpointFault> {
        let number = self.u32()?;
        let known = (number as usize) < replay.topics.len();
        let (what, value) = ("a topic's number", u64::from(number));
        if known { Ok(number) } else { Err(CheckpointFault::Value { what, value }) }
    }

    fn topic(&mut self, at: u64) -> Result<ReplayedTopic, CheckpointFault> {
        let made_at = self.place_to("where a topic was made", at)?;
        let purged_before = self.place_to("where a topic was purged", at)?;
        let published = self.u64()?;
        let held = self.u64()?;
        let held_from = match held {
            NOTHING_HELD => None,
            some => Some(place("the first held message", some)?).filter(|&some| some < at),
        };
        let claimed = match self.array::<1>()? {
            [0] => false,
            [1] => true,
            [other] => {
                let (what, value) = ("a topic's claim", u64::from(other));
                return Err(CheckpointFault::Value { what, value });
            }
        };
        // A topic that nobody has matched holds what it has; another holds nothing.
        let holds = !claimed && published > 0;
        if holds != held_from.is_some() || holds != (held != NOTHING_HELD) {
            return Err(CheckpointFault::Value { what: "the first held message", value: held });
        }
        let topic = Topic::new(self.text()?)?;
        let routes = Vec::new();
        Ok(ReplayedTopic { topic, published, claimed, made_at, purged_before, held_from, routes })
    }

    fn subscription(&mut self, replay: &Replay) -> Result<ReplayedSubscription, CheckpointFault> {
        let number = self.u32()?;
        let from = self.place_to("where a subscription starts", replay.at)?;
        let filter = Filter::new(self.text()?)?;
        let name = self.text()?.to_owned();
        let mut claims = Vec::new();
        for _ in 0..self.count("claims", 4, TOPICS_MAX + 1)? {
            let claim = self.topic_number(replay)?;
            if claims.last().is_some_and(|&last| claim <= last) {
                let value = u64::from(claim);
                return Err(CheckpointFault::Value { what: "a claim", value });
            }
            claims.push(claim);
        }
        let claims = claims.into_iter().collect();
        let identity = Identity { number, name, filter, origin: Origin { from, claims } };
        let backlog = self.backlog(replay)?;
        Ok(ReplayedSubscription { identity, backlog })
    }

    fn backlog(&mut self, replay: &Replay) -> Result<Backlog, CheckpointFault> {
        let (any, end) = (u32::MAX as usize, replay.at);
        let (mut front, mut least) = (Vec::new(), 0);
        for _ in 0..self.count("messages", 12, any)? {
            let position = self.next_place("an unsettled message", &mut least, end)?;
            front.push(Slot::new(position, self.topic_number(replay)?));
        }
        let resume = self.place_to("where a backlog goes on", end)?;
        let beyond = self.u64()?;
        let behind_front = beyond == 0 && resume == 0 || beyond > 0 && least <= resume;
        if !behind_front {
            let (what, value) = ("where a backlog goes on", resume);
            return Err(CheckpointFault::Value { what, value });
        }
        let (mut ahead, mut least) = (Vec::new(), resume);
        for _ in 0..self.count("settlements ahead", 8, any)? {
            ahead.push(self.next_place("a settlement ahead", &mut least, end)?);
        }
        if beyond == 0 && !ahead.is_empty() {
            let (what, value) = ("a settlement ahead", ahead[0]);
            return Err(CheckpointFault::Value { what, value });
        }
        let (mut delayed, mut least) = (Vec::new(), 0);
        for _ in 0..self.count("delayed messages", 24, any)? {
            let position = self.next_place("a delayed message", &mut least, end)?;
            let (due_ns, attempt) = (self.u64()?, self.u32()?);
            let topic = self.topic_number(replay)?;
            delayed.push((position, Delayed { due_ns, attempt, topic }));
        }
        Ok(Backlog::from_parts(Parts { front, resume, beyond, ahead, delayed }))
    }
}

/// A place where a record can stand.
fn place(what: &'static str, value: u64) -> Result<u64, CheckpointFault> {
    let possible = Position::from_u64(value).is_some();
    if possible { Ok(value) } else { Err(CheckpointFault::Value { what, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Budget, Log, LogOptions, Record};
    use crate::message::Priority;
    use crate::queue::records::{self, Encoded, Origins, Outcome, Settled};
    use crate::queue::replay::Pin;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::ops::ControlFlow;

    const SMALL: Bounds = Bounds { front_max: 4, front_min: 2, ahead_max: 3 };
    const TOPICS: [&str; 4] = ["a.x", "a.y", "b", "$dead"];
    const FILTERS: [&str; 5] = ["a.*", "b", ">", "a.x", "$dead"];

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Publish(usize),
        Subscribe { filter: usize, start: u8, pick: usize },
        Unsubscribe(usize),
        Settle { subscription: usize, pick: usize, outcome: Outcome },
        Purge(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let outcome = prop_oneof![
            4 => Just(Outcome::Ack),
            1 => Just(Outcome::Dead),
            2 => (1..99_u64, 2..9_u32).prop_map(|(due_ns, attempt)| Outcome::Retry { due_ns, attempt }),
        ];
        prop_oneof![
            12 => (0..4_usize).prop_map(Op::Publish),
            2 => (0..5_usize, 0..4_u8, any::<usize>())
                .prop_map(|(filter, start, pick)| Op::Subscribe { filter, start, pick }),
            1 => any::<usize>().prop_map(Op::Unsubscribe),
            12 => (any::<usize>(), any::<usize>(), outcome).prop_map(
                |(subscription, pick, outcome)| Op::Settle { subscription, pick, outcome }),
            1 => (0..5_usize).prop_map(Op::Purge),
        ]
    }

    /// What a history comes to, written the obvious way: every message in a set.
    #[derive(Default)]
    struct Plain {
        topics: Vec<&'static str>,
        claimed: BTreeSet<u32>,
        /// Position and topic of what was not purged.
        messages: Vec<(u64, u32)>,
        subscriptions: BTreeMap<u32, PlainSubscription>,
        next: u32,
    }

    struct PlainSubscription {
        filter: Filter,
        /// All that it ever had: what may be settled, and be so twice.
        had: Vec<u64>,
        unsettled: BTreeMap<u64, bool>,
    }

    impl Plain {
        fn matches(&self, filter: &Filter, topic: u32) -> bool {
            filter.matches(&Topic::new(self.topics[topic as usize]).unwrap())
        }

        fn held(&self) -> usize {
            self.messages.iter().filter(|(_, topic)| !self.claimed.contains(topic)).count()
        }
    }

    struct History {
        _dir: tempfile::TempDir,
        log: Log,
        plain: Plain,
    }

    impl History {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::open(dir.path(), LogOptions::new().segment_bytes(1 << 16)).unwrap();
            Self { _dir: dir, log, plain: Plain::default() }
        }

        fn append(&self, record: &Encoded) -> u64 {
            let parts: [&[u8]; 1] = [&record.body];
            let (tag, topic) = (record.tag, record.topic);
            let record = Record { tag, topic, time_ns: 0, parts: &parts };
            self.log.append(&record, Budget::Publish).unwrap().at.as_u64()
        }

        fn publish(&mut self, name: &'static str) {
            let known = self.plain.topics.iter().position(|one| *one == name);
            let number = known.unwrap_or_else(|| {
                let number = self.plain.topics.len();
                self.append(&Encoded::topic(number as u32, name));
                self.plain.topics.push(name);
                let topic = Topic::new(name).unwrap();
                let mut each = self.plain.subscriptions.values();
                if each.any(|each| each.filter.matches(&topic)) {
                    self.plain.claimed.insert(number as u32);
                }
                number
            }) as u32;
            let tag = records::message_tag(Priority::default());
            let at = self.append(&Encoded { tag, topic: number, body: b"message".to_vec() });
            self.plain.messages.push((at, number));
            let topic = Topic::new(name).unwrap();
            for each in self.plain.subscriptions.values_mut() {
                if each.filter.matches(&topic) {
                    each.unsettled.insert(at, false);
                    each.had.push(at);
                }
            }
        }

        fn subscribe(&mut self, filter: &str, start: u8, pick: usize) {
            let filter = Filter::new(filter).unwrap();
            let some = self.plain.messages.get(pick % (self.plain.messages.len() + 1));
            let start = match (start, some) {
                (0, _) => Origins::Beginning,
                (1, Some((place, _))) => Origins::At(*place),
                _ => Origins::Own,
            };
            let number = self.plain.next;
            let name = format!("{number:04}");
            let at = self.append(&Encoded::subscribe(number, start, &filter, &name));
            self.plain.next += 1;
            let from = match start {
                Origins::Own => at,
                Origins::Beginning => 0,
                Origins::At(place) => place,
            };
            let plain = &mut self.plain;
            let mine: Vec<(u64, u32)> = (plain.messages.iter().copied())
                .filter(|&(place, topic)| {
                    let covered = from <= place || !plain.claimed.contains(&topic);
                    covered && plain.matches(&filter, topic)
                })
                .collect();
            for topic in 0..plain.topics.len() as u32 {
                if plain.matches(&filter, topic) {
                    plain.claimed.insert(topic);
                }
            }
            let unsettled = mine.iter().map(|&(place, _)| (place, false)).collect();
            let had = mine.into_iter().map(|(place, _)| place).collect();
            plain.subscriptions.insert(number, PlainSubscription { filter, had, unsettled });
        }

        fn settle(&mut self, subscription: usize, pick: usize, outcome: Outcome) {
            let count = self.plain.subscriptions.len().max(1);
            let Some((&number, each)) =
                self.plain.subscriptions.iter_mut().nth(subscription % count)
            else {
                return;
            };
            let Some(&position) = each.had.get(pick % each.had.len().max(1)) else { return };
            match (outcome, each.unsettled.get_mut(&position)) {
                (Outcome::Retry { .. }, Some(delayed)) => *delayed = true,
                (Outcome::Retry { .. }, None) => {}
                _ => drop(each.unsettled.remove(&position)),
            }
            self.append(&Encoded::settle(number, &[Settled { position, outcome }]));
        }

        fn purge(&mut self, filter: &str) {
            let filter = Filter::new(filter).unwrap();
            self.append(&Encoded::purge(&filter));
            let messages = std::mem::take(&mut self.plain.messages);
            for (place, topic) in messages {
                if !self.plain.matches(&filter, topic) {
                    self.plain.messages.push((place, topic));
                    continue;
                }
                for each in self.plain.subscriptions.values_mut() {
                    each.unsettled.remove(&place);
                }
            }
        }

        fn apply(&mut self, op: Op) {
            match op {
                Op::Publish(topic) => self.publish(TOPICS[topic]),
                Op::Subscribe { filter, start, pick } => {
                    self.subscribe(FILTERS[filter], start, pick);
                }
                Op::Unsubscribe(pick) => {
                    let numbers: Vec<u32> = self.plain.subscriptions.keys().copied().collect();
                    if let Some(number) = numbers.get(pick % numbers.len().max(1)) {
                        self.append(&Encoded::unsubscribe(*number));
                        self.plain.subscriptions.remove(number);
                    }
                }
                Op::Settle { subscription, pick, outcome } => {
                    self.settle(subscription, pick, outcome);
                }
                Op::Purge(filter) => self.purge(FILTERS[filter]),
            }
        }

        fn follow(&self, replay: &mut Replay, end: Position) {
            replay.follow(end, &|from| self.log.reader(from)).unwrap();
        }

        /// The places where a fold may stop.
        fn cuts(&self) -> Vec<Position> {
            let mut reader = self.log.reader(self.log.start());
            std::iter::from_fn(|| reader.next().unwrap().map(|record| record.next())).collect()
        }

        fn unsettled(&self, replay: &Replay, number: u32) -> Vec<u64> {
            let mut found = Vec::new();
            let visit = |place| {
                found.push(place);
                Ok(ControlFlow::Continue(()))
            };
            replay.unsettled(number, &|from| self.log.reader(from), visit).unwrap();
            found
        }

        /// The replay says what the plain sum says.
        fn check(&self, replay: &Replay) {
            let depth = replay.depth();
            assert_eq!(depth.held, self.plain.held() as u64, "held");
            let numbers: Vec<u32> = self.plain.subscriptions.keys().copied().collect();
            assert_eq!(replay.subscriptions.keys().copied().collect::<Vec<_>>(), numbers);
            let mut first = u64::MAX;
            for (number, plain) in &self.plain.subscriptions {
                let expected: Vec<u64> = plain.unsettled.keys().copied().collect();
                assert_eq!(self.unsettled(replay, *number), expected, "subscription {number}");
                let told = &replay.subscriptions[number];
                assert_eq!(told.unsettled(), expected.len() as u64, "subscription {number}");
                let delayed = plain.unsettled.values().filter(|delayed| **delayed).count();
                assert_eq!(told.backlog.delayed(), delayed as u64, "subscription {number}");
                first = first.min(expected.first().copied().unwrap_or(u64::MAX));
            }
            let (watermark, pin) = replay.watermark();
            assert!(watermark <= first, "{watermark} {first}");
            assert_eq!(pin == Pin::None, first == u64::MAX && self.plain.held() == 0);
        }
    }

    /// A history that has some of everything, the same each time.
    fn sample() -> (History, Replay) {
        let mut history = History::new();
        let ack = Outcome::Ack;
        let retry = Outcome::Retry { due_ns: 77, attempt: 2 };
        (0..3).for_each(|_| history.publish("b"));
        history.subscribe("a.*", 0, 0);
        history.subscribe(">", 0, 0);
        (0..12).for_each(|number| history.publish(TOPICS[number % 2]));
        (0..3).for_each(|pick| history.settle(0, pick * 3, ack));
        history.settle(1, 14, ack);
        history.settle(1, 1, retry);
        history.publish("$dead");
        history.purge("a.y");
        let mut replay = Replay::new(history.log.start(), SMALL);
        history.follow(&mut replay, history.log.committed());
        history.check(&replay);
        (history, replay)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Promise: from a checkpoint is the same as from the start, wherever it was cut, and both are the plain sum of
        /// the history; reclaiming below the watermark in between changes nothing that anybody has.
        #[test]
        fn a_fold_that_was_written_down_goes_on_as_if_it_had_not_been(
            ops in proptest::collection::vec(op(), 1..90),
        ) {
            let mut history = History::new();
            ops.into_iter().for_each(|op| history.apply(op));
            let (log, start) = (&history.log, history.log.start());
            let mut whole = Replay::new(start, SMALL);
            history.follow(&mut whole, log.committed());
            history.check(&whole);
            let expected = encode(&whole);
            let mut stopping = Replay::new(start, SMALL);
            for cut in history.cuts() {
                history.follow(&mut stopping, cut);
                let bytes = encode(&stopping);
                let mut resumed = decode(&bytes, SMALL).unwrap();
                prop_assert_eq!(&encode(&resumed), &bytes);
                history.follow(&mut resumed, log.committed());
                prop_assert_eq!(&encode(&resumed), &expected, "cut at {}", cut);
            }
        }

        /// Promise: what a subscription gets does not depend on what was reclaimed, and the counts are of what is
        /// retained. Method: retain up to the watermark at every record; nobody starts at the beginning.
        #[test]
        fn raising_what_is_retained_changes_nothing_that_anybody_has(
            ops in proptest::collection::vec(op(), 1..90),
        ) {
            let mut history = History::new();
            let none = |op: &Op| !matches!(op, Op::Subscribe { start: 0 | 1, .. });
            ops.into_iter().filter(none).for_each(|op| history.apply(op));
            let mut replay = Replay::new(history.log.start(), SMALL);
            for cut in history.cuts() {
                history.follow(&mut replay, cut);
                let (watermark, _) = replay.watermark();
                let counts = replay.below(watermark, &|from| history.log.reader(from)).unwrap();
                replay.retain(watermark, &counts);
            }
            history.check(&replay);
            for (number, topic) in replay.topics.iter().enumerate() {
                let retained = |&&(place, one): &&(u64, u32)| {
                    one as usize == number && replay.retained <= place
                };
                let count = history.plain.messages.iter().filter(retained).count();
                prop_assert_eq!(topic.published, count as u64);
            }
        }

        #[test]
        fn any_bytes_are_a_state_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, SMALL);
            let headed = [&VERSION.to_le_bytes()[..], &[0; 16], &bytes].concat();
            let _ = decode(&headed, SMALL);
        }
    }

    /// Promise: no cut and no changed bit makes a panic; what is read all the same is written as it was read.
    #[test]
    fn every_cut_and_every_changed_bit_is_an_error_or_another_state() {
        let (_history, replay) = sample();
        let bytes = encode(&replay);
        assert_eq!(decode(&bytes, SMALL).map(|back| encode(&back)), Ok(bytes.clone()));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], SMALL).is_err(), "{cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer, SMALL), Err(CheckpointFault::Long(bytes.len())));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(back) = decode(&changed, SMALL) {
                assert_eq!(encode(&back), changed, "bit {bit}");
            }
        }
    }

    /// Promise: a count of more than there is allocates nothing and is an error.
    #[test]
    fn a_count_is_believed_as_far_as_there_are_bytes() {
        let mut bytes = encode(&Replay::new(Position::from_u64(0).unwrap(), SMALL));
        assert_eq!(bytes.len(), 4 + 16 + 4 + 4 + 4);
        bytes[20..24].copy_from_slice(&65_000_u32.to_le_bytes());
        assert_eq!(decode(&bytes, SMALL), Err(CheckpointFault::Short(bytes.len())));
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decode(&bytes, SMALL), Err(CheckpointFault::TooMany { .. })));
        bytes[..4].copy_from_slice(&9_u32.to_le_bytes());
        assert_eq!(decode(&bytes, SMALL), Err(CheckpointFault::Version(9)));
    }

    /// Promise: a message whose topic's record is gone is kept, under a name of its own; a number that no topic can have is
    /// nobody's; a name that is given anew ends the one whose end is gone.
    #[test]
    fn topics_stand_in_for_lost_ones_and_a_name_is_one_subscription() {
        let history = History::new();
        let tag = records::message_tag(Priority::default());
        let message = |topic| Encoded { tag, topic, body: b"message".to_vec() };
        history.append(&Encoded::topic(0, "a.x"));
        let held = history.append(&message(2));
        history.append(&message(u32::MAX));
        history.append(&Encoded::topic(4, "a.y"));
        let filter = Filter::new("$lost.*").unwrap();
        for number in [3, 4] {
            let again = Encoded::subscribe(number, Origins::Own, &filter, "again");
            history.append(&again);
        }
        let mut replay = Replay::new(history.log.start(), SMALL);
        history.follow(&mut replay, history.log.committed());
        let names: Vec<_> = replay.topics.iter().map(|topic| topic.topic.as_str()).collect();
        assert_eq!(names, ["a.x", "$lost.1", "$lost.2", "$lost.3", "a.y"]);
        assert_eq!((replay.topics[2].published, replay.topics[2].made_at), (1, held));
        assert_eq!(replay.subscriptions.keys().copied().collect::<Vec<_>>(), [4]);
        let back = decode(&encode(&replay), SMALL).unwrap();
        assert_eq!(encode(&back), encode(&replay));
    }

    /// Promise: what is said of a message that lay in a gap settles nothing, and a sum from before the gap is cleared of it.
    /// Method: gaps are named that the log of the test does not have; where it is asked for more, it still has them.
    #[test]
    fn a_message_that_is_lost_is_neither_waited_for_nor_counted() {
        let mut history = History::new();
        history.subscribe("a.*", 0, 0);
        (0..12).for_each(|_| history.publish("a.x"));
        let lost = history.plain.messages[9].0;
        // What lies where the lost one lay is a record of the queue's own here, which is nobody's message.
        let gone = history.append(&Encoded::unsubscribe(77));
        for position in [lost, gone] {
            let entry = Settled { position, outcome: Outcome::Ack };
            history.append(&Encoded::settle(0, &[entry]));
        }
        let place = |at: u64| Position::from_u64(at).unwrap();
        let mut replay = Replay::new(history.log.start(), SMALL);
        let reread = |from| history.log.reader(from);
        replay.lose(history.log.start(), vec![place(gone)..place(gone + 64)], &reread).unwrap();
        history.follow(&mut replay, history.log.committed());
        assert_eq!(replay.subscriptions[&0].unsettled(), 11);
        // Now the first four, which are enumerated, and two that are not.
        let first = history.plain.messages[0].0;
        let behind = history.plain.messages[4].0;
        let beyond = history.plain.messages[6].0;
        let ends = history.plain.messages[8].0;
        let gaps = vec![place(first)..place(behind), place(beyond)..place(ends)];
        let mut shortened = decode(&encode(&replay), SMALL).unwrap();
        shortened.lose(history.log.start(), gaps, &reread).unwrap();
        let of_front = shortened.subscriptions[&0].backlog.read_so_far();
        assert!(of_front.iter().all(|at| behind <= *at), "{of_front:?}");
        assert_eq!(shortened.watermark().0, behind);
    }

    /// Promise: these are the bytes of version 1.
    #[test]
    fn the_bytes_of_version_1_are_pinned() {
        let (_history, replay) = sample();
        let bytes = encode(&replay);
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (404, 3_701_715_185));
    }
}
