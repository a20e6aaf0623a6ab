//! What a persistent queue writes into the log's frames: its records, as bytes and as values. Pure.
//!
//! The log keeps two fields for its user and does not look at them: a `tag` and a `topic` number. Here the low byte of
//! the tag is the record's kind, the high byte a message's priority. Little-endian throughout.
//!
//! | kind | record | topic field | body |
//! | --- | --- | --- | --- |
//! | 1 | message | the topic's number | as `message` says |
//! | 2 | topic | its number | its name, UTF-8 |
//! | 3 | subscribe | 0 | number `u32`, start `u8`, zero `u8`, length of the filter `u16`, place `u64` if the start is 2, filter, name |
//! | 4 | unsubscribe | 0 | number `u32` |
//! | 5 | settle | 0 | number `u32`, count `u32`, then `count` entries |
//! | 6 | purge | 0 | a filter: what was published before to topics that it matches is nobody's |
//!
//! A start is 0, the place of the record itself; 1, the beginning of the log; or 2, the place that follows. 1 was written
//! while nothing was ever reclaimed: where the log begins today does not say where it began then.
//!
//! An entry is a `u64`: the message's position, which is a multiple of 32, with the outcome in its free low bits:
//! 1 acknowledged, 2 dead-lettered, 3 expired, 4 retried, 5 crashed. After a retry follow the due time (`u64`, ns
//! since the Unix epoch) and the number of the attempt that comes next (`u64`). 64 acknowledgements are 520 bytes.
//!
//! Topic and subscription numbers count up from 0 in the order of their records and are never given twice. A topic's
//! record stands before the first message of that topic, a subscription's before its first settlement.
//!
//! # Limits
//!
//! An entry's position is below 2^64 - 32. A settle record holds what fits a frame; the queue writes up to
//! [`super::window::SETTLEMENTS_MAX`] at a time.

use super::routes::Filter;
use crate::log::{Position, RecordRef};
use crate::message::Priority;

/// A message.
pub(crate) const MESSAGE: u8 = 1;
const TOPIC: u8 = 2;
const SUBSCRIBE: u8 = 3;
const UNSUBSCRIBE: u8 = 4;
const SETTLE: u8 = 5;
const PURGE: u8 = 6;

const OUTCOME_BITS: u64 = 31;
const ACK: u64 = 1;
const DEAD: u64 = 2;
const EXPIRED: u64 = 3;
const RETRY: u64 = 4;
const CRASHED: u64 = 5;

/// The frame tag of a message.
pub(crate) fn message_tag(priority: Priority) -> u16 {
    u16::from_le_bytes([MESSAGE, priority.level()])
}

/// Is it the tag of a message?
pub(crate) fn is_message(tag: u16) -> bool {
    tag.to_le_bytes()[0] == MESSAGE
}

/// Where a subscription begins, as its record says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origins {
    /// At its own record.
    Own,
    /// At the beginning of the log.
    Beginning,
    /// At this place.
    At(u64),
}

/// What became of a message in one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ack,
    Dead,
    Retry { due_ns: u64, attempt: u32 },
}

/// One message settled, or given another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) position: u64,
    pub(crate) outcome: Outcome,
}

/// A record of the queue's own, ready to be appended.
pub(crate) struct Encoded {
    pub(crate) tag: u16,
    pub(crate) topic: u32,
    pub(crate) body: Vec<u8>,
}

impl Encoded {
    fn new(kind: u8, topic: u32, body: Vec<u8>) -> Self {
        Self { tag: u16::from(kind), topic, body }
    }

    pub(crate) fn topic(number: u32, name: &str) -> Self {
        Self::new(TOPIC, number, name.as_bytes().to_vec())
    }

    pub(crate) fn subscribe(number: u32, start: Origins, filter: &Filter, name: &str) -> Self {
        let mut body = number.to_le_bytes().to_vec();
        let (code, place) = match start {
            Origins::Own => (0, None),
            Origins::Beginning => (1, None),
            Origins::At(place) => (2, Some(place)),
        };
        body.extend([code, 0]);
        body.extend((filter.as_str().len() as u16).to_le_bytes());
        place.iter().for_each(|place| body.extend(place.to_le_bytes()));
        body.extend(filter.as_str().as_bytes());
        body.extend(name.as_bytes());
        Self::new(SUBSCRIBE, 0, body)
    }

    pub(crate) fn unsubscribe(number: u32) -> Self {
        Self::new(UNSUBSCRIBE, 0, number.to_le_bytes().to_vec())
    }

    pub(crate) fn purge(filter: &Filter) -> Self {
        Self::new(PURGE, 0, filter.as_str().as_bytes().to_vec())
    }

    pub(crate) fn settle(number: u32, entries: &[Settled]) -> Self {
        let mut body = number.to_le_bytes().to_vec();
        body.extend((entries.len() as u32).to_le_bytes());
        for entry in entries {
            debug_assert_eq!(entry.position & OUTCOME_BITS, 0, "positions are multiples of 32");
            let word = |outcome: u64| (entry.position | outcome).to_le_bytes();
            match entry.outcome {
                Outcome::Ack => body.extend(word(ACK)),
                Outcome::Dead => body.extend(word(DEAD)),
                Outcome::Retry { due_ns, attempt } => {
                    body.extend(word(RETRY));
                    body.extend(due_ns.to_le_bytes());
                    body.extend(u64::from(attempt).to_le_bytes());
                }
            }
        }
        Self::new(SETTLE, 0, body)
    }
}

/// A record, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    Message { topic: u32, priority: Priority },
    Topic { number: u32, name: &'a str },
    Subscribe { number: u32, start: Origins, filter: &'a str, name: &'a str },
    Unsubscribe { number: u32 },
    Settle { number: u32, entries: Vec<Settled> },
    Purge { filter: &'a str },
}

/// Why bytes are no record of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("kind {0} is unknown: a newer version wrote it")]
    Kind(u8),
    #[error("priority {0} is above 9")]
    Priority(u8),
    #[error("it ends too early")]
    Short,
    #[error("a name in it is not UTF-8")]
    Text,
    #[error("start {0} is unknown: a newer version wrote it")]
    Start(u8),
    #[error("outcome {0} is unknown: a newer version wrote it")]
    Outcome(u64),
}

/// Reads a record by the fields that the log keeps of it.
pub(crate) fn read(tag: u16, topic: u32, body: &[u8]) -> Result<Read<'_>, RecordError> {
    let [kind, level] = tag.to_le_bytes();
    match kind {
        MESSAGE => {
            let priority = Priority::new(level).map_err(|_| RecordError::Priority(level))?;
            Ok(Read::Message { topic, priority })
        }
        TOPIC => Ok(Read::Topic { number: topic, name: text(body)? }),
        SUBSCRIBE => read_subscribe(body),
        UNSUBSCRIBE => Ok(Read::Unsubscribe { number: split_u32(body)?.0 }),
        SETTLE => read_settle(body),
        PURGE => Ok(Read::Purge { filter: text(body)? }),
        _ => Err(RecordError::Kind(kind)),
    }
}

/// The same for a record of the log.
pub(crate) fn read_record(record: &RecordRef) -> Result<Read<'_>, RecordError> {
    read(record.tag(), record.topic(), record.body())
}

fn read_subscribe(body: &[u8]) -> Result<Read<'_>, RecordError> {
    let (number, rest) = split_u32(body)?;
    let (head, mut names) = rest.split_first_chunk::<4>().ok_or(RecordError::Short)?;
    let start = match head[0] {
        0 => Origins::Own,
        1 => Origins::Beginning,
        2 => Origins::At(take_u64(&mut names)?),
        other => return Err(RecordError::Start(other)),
    };
    let filter_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let (filter, name) = names.split_at_checked(filter_bytes).ok_or(RecordError::Short)?;
    Ok(Read::Subscribe { number, start, filter: text(filter)?, name: text(name)? })
}

fn read_settle(body: &[u8]) -> Result<Read<'_>, RecordError> {
    let (number, rest) = split_u32(body)?;
    let (count, mut rest) = split_u32(rest)?;
    let mut entries = Vec::with_capacity((count as usize).min(rest.len() / 8));
    for _ in 0..count {
        let word = take_u64(&mut rest)?;
        let outcome = match word & OUTCOME_BITS {
            ACK | EXPIRED => Outcome::Ack,
            DEAD => Outcome::Dead,
            RETRY | CRASHED => {
                let due_ns = take_u64(&mut rest)?;
                let attempt = u32::try_from(take_u64(&mut rest)?).unwrap_or(u32::MAX);
                Outcome::Retry { due_ns, attempt }
            }
            other => return Err(RecordError::Outcome(other)),
        };
        entries.push(Settled { position: word & !OUTCOME_BITS, outcome });
    }
    Ok(Read::Settle { number, entries })
}

fn text(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Text)
}

fn split_u32(bytes: &[u8]) -> Result<(u32, &[u8]), RecordError> {
    let (word, rest) = bytes.split_first_chunk::<4>().ok_or(RecordError::Short)?;
    Ok((u32::from_le_bytes(*word), rest))
}

fn take_u64(bytes: &mut &[u8]) -> Result<u64, RecordError> {
    let (word, rest) = bytes.split_first_chunk::<8>().ok_or(RecordError::Short)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*word))
}

/// The position of a record as a number, which is what subscriptions count in.
pub(crate) fn place(position: Position) -> u64 {
    position.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(record: &Encoded) -> Result<Read<'_>, RecordError> {
        read(record.tag, record.topic, &record.body)
    }

    #[test]
    fn topics_and_subscriptions_come_back_as_they_went_in() {
        let topic = Encoded::topic(7, "user.events");
        assert_eq!(back(&topic), Ok(Read::Topic { number: 7, name: "user.events" }));
        let filter = Filter::new("user.*").unwrap();
        for start in [Origins::Own, Origins::Beginning, Origins::At(4_096)] {
            let made = Encoded::subscribe(3, start, &filter, "audit");
            let number = 3;
            let expected = Read::Subscribe { number, start, filter: "user.*", name: "audit" };
            assert_eq!(back(&made), Ok(expected));
        }
        assert_eq!(back(&Encoded::purge(&filter)), Ok(Read::Purge { filter: "user.*" }));
        assert_eq!(back(&Encoded::unsubscribe(9)), Ok(Read::Unsubscribe { number: 9 }));
    }

    #[test]
    fn a_message_tag_carries_kind_and_priority() {
        let tag = message_tag(Priority::MAX);
        assert!(is_message(tag));
        let expected = Read::Message { topic: 4, priority: Priority::MAX };
        assert_eq!(read(tag, 4, b""), Ok(expected));
        assert_eq!(read(u16::from_le_bytes([MESSAGE, 10]), 4, b""), Err(RecordError::Priority(10)));
        assert_eq!(read(99, 0, b""), Err(RecordError::Kind(99)));
    }

    #[test]
    fn sixty_four_acknowledgements_take_520_bytes() {
        let entries: Vec<_> =
            (0..64).map(|i| Settled { position: i * 32, outcome: Outcome::Ack }).collect();
        assert_eq!(Encoded::settle(1, &entries).body.len(), 8 + 64 * 8);
    }

    fn entry() -> impl Strategy<Value = Settled> {
        let retry = (any::<u64>(), any::<u32>())
            .prop_map(|(due_ns, attempt)| Outcome::Retry { due_ns, attempt });
        let outcome = prop_oneof![Just(Outcome::Ack), Just(Outcome::Dead), retry];
        (0..u64::MAX / 32, outcome).prop_map(|(at, outcome)| Settled { position: at * 32, outcome })
    }

    proptest! {
        #[test]
        fn settlements_come_back_as_they_went_in(
            number in any::<u32>(),
            entries in proptest::collection::vec(entry(), 0..80),
        ) {
            let record = Encoded::settle(number, &entries);
            prop_assert_eq!(back(&record), Ok(Read::Settle { number, entries }));
        }

        #[test]
        fn any_bytes_give_a_record_or_an_error(
            tag in any::<u16>(),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = read(tag, 0, &body);
        }

        #[test]
        fn a_cut_settlement_is_short_at_every_length(
            entries in proptest::collection::vec(entry(), 1..5),
        ) {
            let record = Encoded::settle(1, &entries);
            for cut in 0..record.body.len() {
                prop_assert_eq!(read(record.tag, 0, &record.body[..cut]), Err(RecordError::Short));
            }
        }
    }
}
