//! What a log was given, in order, and how much of that it holds.
//!
//! Every record has a number of its own for ever and a body that follows from it, so that order, ghosts, losses and
//! inventions are one comparison with the list: see [`Story::held_by`].

use crate::log::Log;
use crate::log::sim::Draw;

/// A record: its number, and how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) bytes: usize,
    /// Where it stands, as the append said.
    pub(super) at: u64,
}

impl Told {
    pub(super) fn body(self) -> Vec<u8> {
        let mut body = self.number.to_le_bytes().to_vec();
        let mut draw = Draw(self.number);
        while body.len() < self.bytes {
            body.extend(draw.next().to_le_bytes());
        }
        body.truncate(self.bytes.max(8));
        body
    }
}

/// What was appended, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    pub(super) told: Vec<Told>,
    /// The lengths at which no batch is cut.
    pub(super) ends: Vec<usize>,
    /// The records below were given up by a trim, as far as the log likes.
    pub(super) trimmed: usize,
    /// Where each checkpoint says that its caller reads on.
    pub(super) checkpoints: Vec<usize>,
}

/// What a log holds of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The records below were trimmed.
    pub(super) first: usize,
    pub(super) records: usize,
    pub(super) checkpoints: usize,
}

impl Story {
    pub(super) fn tell(&mut self, records: &[Told]) {
        self.told.extend_from_slice(records);
        self.ends.push(self.told.len());
    }

    pub(super) fn untell(&mut self, count: usize) {
        self.told.truncate(self.told.len() - count);
        self.ends.pop();
    }

    /// The beginning that is held.
    pub(super) fn beginning(&self, held: Held) -> Self {
        let ends = self.ends.iter().copied().filter(|end| *end <= held.records).collect();
        Self {
            told: self.told[..held.records].to_vec(),
            ends,
            trimmed: held.first,
            checkpoints: self.checkpoints[..held.checkpoints].to_vec(),
        }
    }

    /// How much of the story the log holds.
    pub(super) fn held_by(&self, log: &Log) -> Result<Held, String> {
        let mut reader = log.reader(log.start());
        let mut first = None;
        let mut len = 0;
        while let Some(record) = reader.next().map_err(|error| format!("a read: {error}"))? {
            if first.is_none() {
                let number = record.body().first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                let known = self.told.iter().position(|told| Some(told.number) == number);
                len = known.ok_or_else(|| format!("an unknown record at {}", record.position()))?;
                first = Some(len);
            }
            let Some(told) = self.told.get(len) else {
                return Err(format!("a record of {} bytes behind the end", record.body().len()));
            };
            if record.body() != told.body() {
                return Err(format!("record {len} at {} is another", record.position()));
            }
            len += 1;
        }
        let first = first.unwrap_or(0);
        if self.trimmed < first {
            return Err(format!("begins with record {first}, {} were given up", self.trimmed));
        }
        let whole = len == 0 || self.ends.contains(&len);
        if !whole {
            return Err(format!("half a batch: {len} records"));
        }
        let checkpoints = self.checkpoint_of(log, first)?;
        Ok(Held { first, records: len, checkpoints })
    }

    /// Which checkpoint the log goes by, counted from 1.
    fn checkpoint_of(&self, log: &Log, first: usize) -> Result<usize, String> {
        let Some(checkpoint) = log.checkpoint() else { return Ok(0) };
        let body = checkpoint.body().first_chunk().map(|bytes| u64::from_le_bytes(*bytes) as usize);
        let Some((number, from)) =
            body.and_then(|number| Some((number, *self.checkpoints.get(number)?)))
        else {
            return Err("a checkpoint that nobody wrote".to_owned());
        };
        let at = self.told[from].at;
        if from < first || checkpoint.replay_from().as_u64() != at {
            return Err(format!("checkpoint {number} reads on at {from}; {first} is the first"));
        }
        Ok(number + 1)
    }
}
