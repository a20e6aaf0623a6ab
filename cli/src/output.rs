//! Standard output: whole lines, each with one write, and the objects of `--json`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millstream::Envelope;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

/// Standard output takes nothing more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct OutputError(Arc<io::Error>);

impl OutputError {
    /// Did whoever read it go away?
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes `line`, which ends with a newline, and passes it on to the system. Lines of several threads never mix.
///
/// The standard library holds back what follows the last newline, and passes on all before it with one write.
pub fn write(line: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(line).and_then(|()| out.flush());
    written.map_err(|error| OutputError(Arc::new(error)))
}

/// Writes the payload as a line.
pub fn write_payload(envelope: &Envelope) -> Result<(), OutputError> {
    let payload = envelope.payload();
    let mut line = Vec::with_capacity(payload.len() + 1);
    line.extend_from_slice(payload);
    line.push(b'\n');
    write(&line)
}

/// Writes the object as a line.
pub fn write_object(object: &impl Serialize) -> Result<(), OutputError> {
    let mut line = object_line(object);
    line.push(b'\n');
    write(&line)
}

/// The object on one line, without a newline.
pub fn object_line(object: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(object).expect("objects have text keys, and are written to memory")
}

/// A message as an object.
#[derive(Serialize)]
pub struct MessageObject<'a> {
    id: String,
    topic: &'a str,
    /// What the message speaks of, in UTC.
    timestamp: String,
    priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redelivered: Option<bool>,
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload<'a> {
    Payload(&'a str),
    PayloadBase64(String),
}

impl<'a> MessageObject<'a> {
    /// The message as it lies in the queue.
    pub fn of(envelope: &'a Envelope) -> Self {
        let text = envelope.text().map(Payload::Payload);
        Self {
            id: envelope.id().to_string(),
            topic: envelope.topic().as_str(),
            timestamp: humantime::format_rfc3339_nanos(envelope.timestamp()).to_string(),
            priority: envelope.priority().level(),
            attempt: None,
            redelivered: None,
            headers: envelope.headers().iter().collect(),
            payload: text.unwrap_or_else(|_| {
                Payload::PayloadBase64(BASE64_STANDARD.encode(envelope.payload()))
            }),
        }
    }

    /// The message as it was delivered.
    pub fn delivered(delivery: &'a millstream::Delivery) -> Self {
        let (attempt, redelivered) = (Some(delivery.attempt()), Some(delivery.redelivered()));
        Self { attempt, redelivered, ..Self::of(delivery) }
    }
}

/// A duration in nanoseconds for people: three digits and a unit.
pub fn short(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A duration in seconds for people, as [`short`].
pub fn seconds(seconds: f64) -> String {
    // A float that is out of range becomes the nearest integer, and NaN none.
    short((seconds * 1e9).round() as u64)
}

/// `count` with its noun, which is regular.
pub fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", indicatif::HumanCount(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_three_digits_and_a_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 us"),
            (45_600, "45.6 us"),
            (789_000_000, "789 ms"),
            (61_000_000_000, "61.0 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(short(ns), text);
        }
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(
            [0, 1, 1_000].map(|n| counted(n, "message")),
            ["0 messages", "1 message", "1,000 messages"]
        );
    }
}
