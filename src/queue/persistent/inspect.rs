//! Looking at a queue's directory without owning the queue: nothing is written, no segment is begun.
//!
//! An [`Inspection`] is the sum of the records as the last owner left them, by the same replay that opens the queue. It
//! holds the directory's lock while it lives, so that what it shows stays true. Where an owner is at work it shows a moment of
//! the owner's log instead: what is in hands counts as ready, and settlements are missing for as long as the owner lets them
//! linger.
//!
//! What only the owner knows is not here: its limit on the disk, when it last synced, whether a sync has failed, and how far the
//! log is durable beyond what its frames say.

use super::envelope;
use super::keeper::{pinned_by, replayed};
use super::retention::Pinned;
use crate::clock::{Clock as _, SystemClock};
use crate::error::{OpenError, QueueError};
use crate::log::{
    Archive, Backup, Checkpoint, FileSystem, LogError, Position, RecordRef, SegmentInfo,
};
use crate::message::{Envelope, MessageId};
use crate::queue::QueueDepth;
use crate::queue::records::{self, Read};
use crate::queue::replay::{Pin, Replay, ReplayedTopic, first_time_ns};
use crate::queue::routes::Filter;
use crate::queue::window::storage;
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// A persistent queue, looked at from outside: at rest, or a moment of one that is open.
pub struct Inspection {
    archive: Archive,
    replay: Replay,
}

/// A record of a queue's log, told in words.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RecordInfo<'a> {
    /// Where it stands.
    pub position: Position,
    /// Where the frame begins that it stands in: itself, or the batch it is in.
    pub frame: Position,
    /// Bytes of its body.
    pub bytes: u64,
    /// When it was appended, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// `message`, `topic`, `subscribe`, `unsubscribe`, `settle`, `purge`, or `unknown`.
    pub kind: &'static str,
    /// Of a message or topic the topic, of a subscription its name, of a purge its filter.
    pub name: &'a str,
    /// How many messages a settlement speaks of.
    pub count: u64,
}

impl Inspection {
    /// Reads the queue in `dir`.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let archive = match Archive::open(dir) {
            Err(LogError::Locked { .. }) => Archive::open_beside(dir),
            other => other,
        };
        let archive = archive.map_err(OpenError::from)?;
        let (checkpoint, start) = (archive.checkpoint(), archive.start());
        let whole = archive.is_whole();
        let reread = |from| archive.reader(from);
        let replayed =
            replayed(checkpoint.as_deref(), (start, whole), archive.gaps(), archive.end(), &reread);
        let (replay, ..) = replayed.map_err(OpenError::Records)?;
        Ok(Self { replay, archive })
    }

    /// What it holds, subscription by subscription.
    pub fn depth(&self) -> QueueDepth {
        self.replay.depth()
    }

    /// How many topics it has.
    pub fn topics(&self) -> usize {
        self.replay.topics.len()
    }

    /// The files of its log.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.archive.segments()
    }

    /// Bytes of disk that the files in its directory take, as the file system counts them: segments, those prepared ahead
    /// too, and checkpoints.
    ///
    /// # Errors
    ///
    /// The directory could not be read.
    pub fn disk_bytes(&self) -> Result<u64, LogError> {
        self.archive.disk_bytes()
    }

    /// Where its log begins.
    pub fn start(&self) -> Position {
        self.archive.start()
    }

    /// Where its log ends.
    pub fn end(&self) -> Position {
        self.archive.end()
    }

    /// Up to where its log is known to be durable.
    pub fn durable(&self) -> Position {
        self.archive.durable()
    }

    /// Has somebody got it open? Then this is a moment of it.
    pub fn is_live(&self) -> bool {
        self.archive.is_live()
    }

    /// How long ago the oldest message was accepted that is unsettled or held; none if there is none. By this machine's
    /// clock: zero for what was accepted in its future.
    ///
    /// # Errors
    ///
    /// The log could not be read.
    pub fn oldest_age(&self) -> Result<Option<Duration>, QueueError> {
        let (watermark, pin) = self.replay.watermark();
        if pin == Pin::None {
            return Ok(None);
        }
        let reread = |from| self.archive.reader(from);
        let accepted_ns = first_time_ns(&reread, watermark, self.replay.at)?;
        Ok(accepted_ns.map(age))
    }

    /// Who has yet to settle that message.
    pub fn pinned_by(&self) -> Pinned {
        pinned_by(&self.replay, self.replay.watermark().1)
    }

    /// Bytes of the log from that message on: they cannot be reclaimed before it is settled.
    pub fn pinned_bytes(&self) -> u64 {
        match self.replay.watermark() {
            (_, Pin::None) => 0,
            (watermark, _) => records::place(self.end()).saturating_sub(watermark),
        }
    }

    /// The position of the earliest message that a new subscription can get.
    pub fn retained_from(&self) -> u64 {
        self.replay.retained
    }

    /// The newest whole checkpoint.
    pub fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        self.archive.checkpoint()
    }

    /// How long ago it was written.
    pub fn checkpoint_age(&self) -> Option<Duration> {
        self.archive.checkpoint().map(|checkpoint| age(checkpoint.created_ns()))
    }

    /// What the queue lies on, and what a sync is worth there.
    pub fn file_system(&self) -> FileSystem {
        self.archive.file_system()
    }

    /// Copies it to `to`, a new directory, where it opens by itself; beside an owner, the moment that this shows.
    ///
    /// # Errors
    ///
    /// See [`Log::backup`](crate::log::Log::backup).
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, LogError> {
        self.archive.backup(to.as_ref(), progress)
    }

    /// Shows the records from `from` on, as people would want them told, until `show` answers `false`.
    ///
    /// # Errors
    ///
    /// The log could not be read, or a record is none of ours.
    pub fn records(
        &self,
        from: Position,
        mut show: impl FnMut(&RecordInfo<'_>) -> bool,
    ) -> Result<(), QueueError> {
        let mut reader = self.archive.reader(from);
        while let Some(record) = reader.next().map_err(|error| storage("read the log", error))? {
            if !show(&self.told(&record)) {
                break;
            }
        }
        Ok(())
    }

    fn told<'a>(&'a self, record: &'a RecordRef) -> RecordInfo<'a> {
        let read = records::read_record(record);
        let (kind, topic, count) = match &read {
            Ok(Read::Message { topic, .. }) => {
                let known = self.replay.topics.get(*topic as usize);
                ("message", known.map_or("", |known| known.topic.as_str()), 0)
            }
            Ok(Read::Topic { name, .. }) => ("topic", *name, 0),
            Ok(Read::Subscribe { name, .. }) => ("subscribe", *name, 0),
            Ok(Read::Unsubscribe { .. }) => ("unsubscribe", "", 0),
            Ok(Read::Settle { entries, .. }) => ("settle", "", entries.len()),
            Ok(Read::Purge { filter }) => ("purge", *filter, 0),
            Err(_) => ("unknown", "", 0),
        };
        RecordInfo {
            position: record.position(),
            frame: record.frame(),
            bytes: record.body().len() as u64,
            time_ns: record.time_ns(),
            kind,
            name: topic,
            count: count as u64,
        }
    }

    /// Did its last owner close it? `false` while somebody has it open.
    pub fn is_clean(&self) -> bool {
        self.archive.clean()
    }

    /// The oldest unsettled messages whose topic `filter` matches, at most `count`, each once.
    ///
    /// # Errors
    ///
    /// An invalid filter, or the log could not be read.
    pub fn peek(&self, filter: &str, count: usize) -> Result<Vec<Arc<Envelope>>, QueueError> {
        let filter = Filter::new(filter)?;
        let mut oldest: BTreeMap<MessageId, Arc<Envelope>> = BTreeMap::new();
        let reread = |from| self.archive.reader(from);
        for &number in self.replay.subscriptions.keys() {
            let mut found = 0;
            self.replay.unsettled(number, &reread, |place| {
                if found == count {
                    return Ok(ControlFlow::Break(()));
                }
                if let Some(envelope) = self.envelope(place, &filter)? {
                    oldest.insert(envelope.id(), envelope);
                    found += 1;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        self.peek_held(&filter, count, &mut oldest)?;
        Ok(oldest.into_values().take(count).collect())
    }

    /// Adds the oldest messages that no subscription has ever matched.
    fn peek_held(
        &self,
        filter: &Filter,
        count: usize,
        oldest: &mut BTreeMap<MessageId, Arc<Envelope>>,
    ) -> Result<(), QueueError> {
        let held = |topic: u32| {
            let topic = self.replay.topics.get(topic as usize);
            topic.is_some_and(|topic| !topic.claimed && filter.matches(&topic.topic))
        };
        if !(0..self.replay.topics.len() as u32).any(held) {
            return Ok(());
        }
        let (mut reader, mut found) = (self.archive.reader(self.archive.start()), 0);
        while found < count {
            let record = reader.next().map_err(|error| storage("read the log", error))?;
            let Some(record) = record else { break };
            let purged_before = |topic: &ReplayedTopic| topic.purged_before;
            let purged = self.replay.topics.get(record.topic() as usize).map_or(0, purged_before);
            let purged = records::place(record.position()) < purged;
            if records::is_message(record.tag()) && !purged && held(record.topic()) {
                let envelope = self.envelope(records::place(record.position()), filter)?;
                found += envelope.iter().len();
                oldest.extend(envelope.map(|envelope| (envelope.id(), envelope)));
            }
        }
        Ok(())
    }

    /// The message at `place`, if its topic matches and it is one.
    fn envelope(&self, place: u64, filter: &Filter) -> Result<Option<Arc<Envelope>>, QueueError> {
        let position = Position::from_u64(place).unwrap_or(self.archive.start());
        let record =
            self.archive.record(position).map_err(|error| storage("read the log", error))?;
        let topic = self.replay.topics.get(record.topic() as usize);
        let topic = topic.filter(|topic| filter.matches(&topic.topic));
        let read = topic.map(|topic| envelope(&record, &topic.topic, self.archive.id() as u64));
        Ok(read.and_then(Result::ok))
    }
}

fn age(then_ns: u64) -> Duration {
    Duration::from_nanos(SystemClock::new().now_ns().saturating_sub(then_ns))
}

/// Who may do something about it: another owner, or the settings, or the directory.
impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Locked { .. } => Self::InUse { source: Arc::new(error) },
            LogError::Option { key, value, reason } => {
                let key = if key == "disk_max_bytes" { "disk_bytes_max" } else { key };
                Self::Setting { key, value: value.to_string(), reason: reason.to_owned() }
            }
            other => Self::Storage { source: Arc::new(other) },
        }
    }
}
