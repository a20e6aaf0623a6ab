//! Messages: what the user gives, what travels, and the bytes that a log keeps of it.
//!
//! A [`Message`] is payload and metadata. Published under a [`Topic`] it becomes an [`Envelope`]: the same, with an
//! id that the queue gave and a timestamp. Payloads are [`Bytes`], so that a message that ten subscriptions receive
//! exists once.
//!
//! # The byte encoding
//!
//! A message is stored as *head* and *payload*; little-endian throughout.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | `u32`: length of the fields that follow, `F` |
//! | 4..4+F | fields, one after the other: kind `u8`, zero `u8`, length `u16`, value |
//! | 4+F.. | payload |
//!
//! | kind | value | absent means |
//! | --- | --- | --- |
//! | 1 | one header: length of the name `u16`, name, value; may repeat | no headers |
//! | 2 | timestamp given by the caller, `u64` ns since the Unix epoch | the time of the append |
//! | 3 | retries allowed, `u32` | the queue's default |
//! | 4 | deduplication key, UTF-8 | none |
//!
//! A reader that meets an unknown kind below 128 refuses the record (it would change its meaning); one of 128 and
//! above it skips. Kinds 5 to 8 are kept for ordering key, due time, expiry and schema version. The priority stands
//! in the frame's tag, the topic's number and the time of the append in the frame's header.
//!
//! # Limits
//!
//! [`PAYLOAD_BYTES_MAX`], [`HEADERS_MAX`], [`HEADER_BYTES_MAX`], [`TOPIC_BYTES_MAX`], [`DEDUP_KEY_BYTES_MAX`].

use crate::error::{TooLarge, TopicError};
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest payload, in bytes, unless the configuration sets a smaller one.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// How many headers a message may have.
pub const HEADERS_MAX: usize = 64;
/// How many bytes the names and values of its headers may have together.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 255;
/// The longest deduplication key, in bytes.
pub const DEDUP_KEY_BYTES_MAX: usize = 255;

const FIELD_HEADER: u8 = 1;
const FIELD_TIMESTAMP: u8 = 2;
const FIELD_RETRIES: u8 = 3;
const FIELD_DEDUP_KEY: u8 = 4;
const FIELD_SKIPPABLE: u8 = 128;
const FIELD_PREFIX: usize = 4;

// One header fits the `u16` length of a field, name length included.
const _: () = assert!(HEADER_BYTES_MAX + 2 <= u16::MAX as usize);

/// An encoded head. Most messages have no field or a short one: that costs no allocation.
pub(crate) type Head = SmallVec<[u8; HEAD_BYTES_INLINE]>;
const HEAD_BYTES_INLINE: usize = 32;

/// A message's identity: which queue gave it, and where in that queue.
///
/// Unique across restarts and processes: a persistent queue has a random number of its own for life, a memory queue
/// one for each time it is made. It stays the same through retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    incarnation: u64,
    position: u64,
}

impl MessageId {
    pub(crate) const fn new(incarnation: u64, position: u64) -> Self {
        Self { incarnation, position }
    }

    /// The position in its queue: grows in the order in which messages were accepted.
    pub const fn position(&self) -> u64 {
        self.position
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{:x}", self.incarnation, self.position)
    }
}

/// A text that is no message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no message id: 16 hexadecimal digits, a dash, and hexadecimal digits")]
pub struct MessageIdError(String);

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let parse = || {
            let (incarnation, position) = text.split_once('-')?;
            let whole = incarnation.len() == 16;
            let incarnation = whole.then(|| u64::from_str_radix(incarnation, 16).ok())??;
            Some(Self { incarnation, position: u64::from_str_radix(position, 16).ok()? })
        };
        parse().ok_or_else(|| MessageIdError(text.to_owned()))
    }
}

/// How urgent a message is: 0 (the default) to 9 (first).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

/// A number that is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority {0}: 0 to 9 are allowed")]
pub struct PriorityError(pub u8);

impl Priority {
    /// The most urgent one.
    pub const MAX: Self = Self(9);

    /// The priority `level`.
    ///
    /// # Errors
    ///
    /// A level above 9.
    pub fn new(level: u8) -> Result<Self, PriorityError> {
        if level <= Self::MAX.0 { Ok(Self(level)) } else { Err(PriorityError(level)) }
    }

    /// The number, 0 to 9.
    pub const fn level(self) -> u8 {
        self.0
    }
}

/// A name that messages are published under: dot-separated tokens, `user.events`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic `name`.
    ///
    /// # Errors
    ///
    /// An empty or overlong name, an empty token, a wildcard, white space or control characters.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        check_tokens(name)?;
        match name.find(['*', '>']) {
            Some(at) => Err(TopicError::Wildcard { topic: name.to_owned(), at }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it one of the queue's own, to which nobody else publishes?
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What topics and filters have in common: a length, tokens that are not empty, no blanks.
pub(crate) fn check_tokens(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { bytes: name.len(), max: TOPIC_BYTES_MAX });
    }
    if let Some(character) = name.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(TopicError::Character { topic: name.to_owned(), character });
    }
    let mut at = 0;
    for token in name.split('.') {
        if token.is_empty() {
            return Err(TopicError::EmptyToken { topic: name.to_owned(), at });
        }
        at += token.len() + 1;
    }
    Ok(())
}

/// What the user gives: a payload and its metadata.
///
/// ```
/// use millstream::{Message, Priority};
/// let message = Message::new(r#"{"user_id":1}"#).header("kind", "login").retries_max(5);
/// assert_eq!(message.headers().get("kind"), Some("login"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    headers: Headers,
    timestamp_ns: Option<u64>,
    priority: Priority,
    retries_max: Option<u32>,
    dedup_key: Option<Box<str>>,
}

impl Message {
    /// A message with this payload and nothing else.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets a header; an earlier one of that name is replaced.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.set(name.into(), value.into());
        self
    }

    /// Sets the time that the message speaks of. Without it, the time of the publish is taken.
    pub fn timestamp(mut self, at: SystemTime) -> Self {
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.timestamp_ns = Some(crate::clock::saturating_ns(since_epoch));
        self
    }

    /// Sets how urgent it is. Carried and stored; delivery does not look at it yet.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how many times a failed attempt is repeated, in place of the queue's default.
    pub fn retries_max(mut self, retries: u32) -> Self {
        self.retries_max = Some(retries);
        self
    }

    /// Sets the caller's own id. It is carried as [`Message::dedup_key`]; the queue gives its own id besides.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.dedup_key = Some(id.into().into_boxed_str());
        self
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// How urgent it is.
    pub(crate) fn urgency(&self) -> Priority {
        self.priority
    }

    /// The caller's own id, if one was set.
    pub fn dedup_key(&self) -> Option<&str> {
        self.dedup_key.as_deref()
    }

    /// Is each part within its limit?
    pub(crate) fn check(&self, payload_bytes_max: usize) -> Result<(), TooLarge> {
        let (count, bytes) = (self.headers.0.len(), self.headers.bytes());
        let key_bytes = self.dedup_key().map_or(0, str::len);
        if self.payload.len() > payload_bytes_max {
            return Err(TooLarge::Payload { bytes: self.payload.len(), max: payload_bytes_max });
        }
        if count > HEADERS_MAX {
            return Err(TooLarge::HeaderCount { count, max: HEADERS_MAX });
        }
        if bytes > HEADER_BYTES_MAX {
            return Err(TooLarge::Headers { bytes, max: HEADER_BYTES_MAX });
        }
        if key_bytes > DEDUP_KEY_BYTES_MAX {
            return Err(TooLarge::DedupKey { bytes: key_bytes, max: DEDUP_KEY_BYTES_MAX });
        }
        Ok(())
    }

    /// The head of the stored form: everything but the payload, which follows it.
    pub(crate) fn encode_head(&self) -> Head {
        let mut fields: Head = smallvec![0; 4];
        for (name, value) in self.headers.iter() {
            let name_bytes = (name.len() as u16).to_le_bytes();
            push_field(
                &mut fields,
                FIELD_HEADER,
                &[&name_bytes, name.as_bytes(), value.as_bytes()],
            );
        }
        if let Some(at_ns) = self.timestamp_ns {
            push_field(&mut fields, FIELD_TIMESTAMP, &[&at_ns.to_le_bytes()]);
        }
        if let Some(retries) = self.retries_max {
            push_field(&mut fields, FIELD_RETRIES, &[&retries.to_le_bytes()]);
        }
        if let Some(key) = &self.dedup_key {
            push_field(&mut fields, FIELD_DEDUP_KEY, &[key.as_bytes()]);
        }
        let fields_bytes = (fields.len() - 4) as u32;
        fields[..4].copy_from_slice(&fields_bytes.to_le_bytes());
        fields
    }

    /// The message that `body` holds; `slice` cuts the payload out of whatever owns the bytes.
    pub(crate) fn decode(
        body: &[u8],
        priority: Priority,
        slice: impl FnOnce(std::ops::Range<usize>) -> Bytes,
    ) -> Result<Self, DecodeError> {
        let (length, rest) = body.split_first_chunk::<4>().ok_or(DecodeError::Short)?;
        let fields_bytes = u32::from_le_bytes(*length) as usize;
        let fields = rest.get(..fields_bytes).ok_or(DecodeError::Short)?;
        let mut message = Self { priority, ..Self::default() };
        message.read_fields(fields)?;
        message.payload = slice(4 + fields_bytes..body.len());
        Ok(message)
    }

    fn read_fields(&mut self, mut fields: &[u8]) -> Result<(), DecodeError> {
        while let Some((prefix, rest)) = fields.split_first_chunk::<FIELD_PREFIX>() {
            let length = u16::from_le_bytes([prefix[2], prefix[3]]) as usize;
            let value = rest.get(..length).ok_or(DecodeError::Short)?;
            self.read_field(prefix[0], value)?;
            fields = &rest[length..];
        }
        if fields.is_empty() { Ok(()) } else { Err(DecodeError::Short) }
    }

    fn read_field(&mut self, kind: u8, value: &[u8]) -> Result<(), DecodeError> {
        let bad = DecodeError::Field { kind };
        match kind {
            FIELD_HEADER => {
                let (length, rest) = value.split_first_chunk::<2>().ok_or(bad.clone())?;
                let split = usize::from(u16::from_le_bytes(*length));
                let (name, value) = rest.split_at_checked(split).ok_or(bad.clone())?;
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
                let (Ok(name), Ok(value)) = (text(name), text(value)) else { return Err(bad) };
                self.headers.0.push((name, value));
            }
            FIELD_TIMESTAMP => {
                self.timestamp_ns = Some(u64::from_le_bytes(value.try_into().map_err(|_| bad)?));
            }
            FIELD_RETRIES => {
                self.retries_max = Some(u32::from_le_bytes(value.try_into().map_err(|_| bad)?));
            }
            FIELD_DEDUP_KEY => {
                self.dedup_key = Some(std::str::from_utf8(value).map_err(|_| bad)?.into());
            }
            FIELD_SKIPPABLE.. => {}
            _ => return Err(DecodeError::Newer { kind }),
        }
        Ok(())
    }
}

/// The stored form of one field: kind, zero, length, value.
fn push_field(fields: &mut Head, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Every field is shorter: `Message::check` came first, and the limits are asserted at the head of this file.
    debug_assert!(length <= usize::from(u16::MAX));
    fields.extend([kind, 0]);
    fields.extend((length as u16).to_le_bytes());
    for part in parts {
        fields.extend_from_slice(part);
    }
}

/// Stored bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it ends in the middle of a field")]
    Short,
    #[error("field {kind} is malformed")]
    Field { kind: u8 },
    #[error("field {kind} is unknown: a newer version wrote it")]
    Newer { kind: u8 },
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(bytes))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

/// The headers of a message: names and values, in the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of the header `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(at, value)| (at == name).then_some(value))
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(at, _)| *at == name) {
            Some(header) => header.1 = value,
            None => self.0.push((name, value)),
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// What travels: a message with its topic, the id that the queue gave it, and the times it passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) id: MessageId,
    pub(crate) topic: Topic,
    pub(crate) message: Message,
    /// When the queue took it, ns since the Unix epoch.
    pub(crate) accepted_ns: u64,
}

impl Envelope {
    /// The id that the queue gave.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// The topic that it was published under.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    ///
    /// The payload is not UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.message.payload)
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.message.headers
    }

    /// The value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.get(name)
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.message.priority
    }

    /// The caller's own id, if one was set.
    pub fn dedup_key(&self) -> Option<&str> {
        self.message.dedup_key()
    }

    /// The time that it speaks of: the caller's, or else the time at which the queue took it.
    pub fn timestamp(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.message.timestamp_ns.unwrap_or(self.accepted_ns))
    }

    /// When the queue took it.
    pub fn accepted_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.accepted_ns)
    }

    /// How many times a failed attempt may be repeated, where the message says so itself.
    pub fn retries_max(&self) -> Option<u32> {
        self.message.retries_max
    }

    /// The message without what the queue added: ready to be published again.
    pub fn into_message(self) -> Message {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(message: &Message) -> Vec<u8> {
        let mut body = message.encode_head();
        body.extend_from_slice(&message.payload);
        body.to_vec()
    }

    fn read(body: &[u8]) -> Result<Message, DecodeError> {
        Message::decode(body, Priority::default(), |range| Bytes::copy_from_slice(&body[range]))
    }

    proptest! {
        /// Promise (H20): bytes and headers come back as they went in.
        #[test]
        fn a_message_comes_back_as_it_went_in(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            headers in proptest::collection::vec((".{0,12}", ".{0,40}"), 0..6),
            timestamp in proptest::option::of(any::<u64>()),
            retries in proptest::option::of(any::<u32>()),
            key in proptest::option::of(".{0,20}"),
        ) {
            let mut message = Message::new(payload);
            for (name, value) in headers {
                message = message.header(name, value);
            }
            message.timestamp_ns = timestamp;
            message.retries_max = retries;
            message.dedup_key = key.map(String::into_boxed_str);
            prop_assert_eq!(read(&stored(&message)), Ok(message));
        }

        /// Promise: stored bytes that are damaged give an answer, whatever they are.
        #[test]
        fn any_bytes_give_a_message_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
        }
    }

    #[test]
    fn a_cut_head_is_an_error_at_every_length() {
        let message = Message::new("").header("name", "value").retries_max(2).with_id("key");
        let body = stored(&message);
        for cut in 0..body.len() {
            assert_eq!(read(&body[..cut]), Err(DecodeError::Short), "cut at {cut}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_or_skipped_as_its_kind_says() {
        let with = |kind| {
            let mut body = vec![5, 0, 0, 0, kind, 0, 1, 0, 9];
            body.extend(b"rest");
            read(&body)
        };
        assert_eq!(with(9), Err(DecodeError::Newer { kind: 9 }));
        assert_eq!(with(200), Ok(Message::new("rest")));
    }

    #[test]
    fn a_header_set_twice_keeps_the_later_value() {
        let message = Message::new("").header("a", "1").header("b", "2").header("a", "3");
        assert_eq!(message.headers().iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn each_limit_is_named_when_it_is_passed() {
        let large = Message::new(vec![0; 11]);
        assert_eq!(large.check(10), Err(TooLarge::Payload { bytes: 11, max: 10 }));
        let headers = (0..65).fold(Message::new(""), |m, i| m.header(i.to_string(), ""));
        assert_eq!(headers.check(10), Err(TooLarge::HeaderCount { count: 65, max: 64 }));
        let wide = Message::new("").header("n", "v".repeat(HEADER_BYTES_MAX));
        assert!(matches!(wide.check(10), Err(TooLarge::Headers { .. })));
        let key = Message::new("").with_id("k".repeat(256));
        assert_eq!(key.check(10), Err(TooLarge::DedupKey { bytes: 256, max: 255 }));
    }

    #[test]
    fn a_topic_is_refused_for_what_is_wrong_with_it() {
        let refused = |name: &str| Topic::new(name).unwrap_err();
        assert_eq!(refused(""), TopicError::Empty);
        assert_eq!(refused(&"a".repeat(256)), TopicError::TooLong { bytes: 256, max: 255 });
        assert_eq!(refused("a..b"), TopicError::EmptyToken { topic: "a..b".into(), at: 2 });
        assert_eq!(refused(".a"), TopicError::EmptyToken { topic: ".a".into(), at: 0 });
        assert_eq!(refused("a."), TopicError::EmptyToken { topic: "a.".into(), at: 2 });
        assert_eq!(refused("a.*"), TopicError::Wildcard { topic: "a.*".into(), at: 2 });
        assert_eq!(refused("a.b>"), TopicError::Wildcard { topic: "a.b>".into(), at: 3 });
        assert!(matches!(refused("a b"), TopicError::Character { character: ' ', .. }));
        assert!(matches!(refused("a\u{7}"), TopicError::Character { character: '\u{7}', .. }));
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = MessageId::new(0xfeed, 4096);
        assert_eq!(id.to_string(), "000000000000feed-1000");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "-", "feed-1", "000000000000feed", "000000000000feex-1"] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_priority_above_nine_is_an_error() {
        assert_eq!(Priority::new(9), Ok(Priority::MAX));
        assert_eq!(Priority::new(10), Err(PriorityError(10)));
    }
}
