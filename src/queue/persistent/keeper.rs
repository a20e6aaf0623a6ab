//! Housekeeping of a persistent queue: checkpoints, what is retained, and what is reclaimed.
//!
//! The keeper has a [`Replay`] of its own, the *follower*, and a thread. When a checkpoint is due it folds the follower
//! over what was committed since, reading headers and the queue's own records, and
//!
//! ```text
//!   follow ─> raise `retained` ─> write the checkpoint ─> windows pass what goes ─> trim the log
//!             to the segment of the oldest message that anybody may want      only below what the OLDER of the two
//!             still, or that the retention keeps                              checkpoints retains: one may rot
//! ```
//!
//! | a checkpoint is due | |
//! | --- | --- |
//! | the log grew by `checkpoint_bytes` | the append that crosses the line rings |
//! | [`CHECKPOINT_DELAY`] after the first change | only a queue that changed has a timer |
//! | the log is full | at each settlement that gets in, if a segment can go by it |
//! | at the close | if anything changed |
//!
//! An idle queue has a checkpoint of what it is, and its keeper sleeps for good. What goes wrong here harms nobody: it
//! is told in the statistics, and tried again.
//!
//! A subscription begins at or above `retained`, and says in its record where, so what it gets does not depend on when the
//! log was reclaimed. `retained` is raised under the queue's lock, and only while the follower knows every subscription.
//!
//! # Orderings
//!
//! All of them are [relaxed]: the words say when to look, and what is seen then is read under a lock or by the log's own
//! pairs. A ring that is missed is made up for by the next append.
//!
//! # Locks
//!
//! The follower's, then the sources' `writing`, then the queue's, then a window's. Whoever holds the follower's knows that nothing is reclaimed.
//!
//! # Limits
//!
//! Where nothing but settlements gets in, they may use what is kept for them, a segment; what does not fit there waits in the
//! windows until a checkpoint that makes room has it, and comes again after a crash before that.

use super::retention::{Keep, Pinned, Retention, StorageStats, WhenFull};
use super::{CLOSED, OPEN, Shared, not_appended};
use crate::error::QueueError;
use crate::event::EventCount;
use crate::log::fault::Fault;
use crate::log::{Budget, Checkpoint, Log, Position, Reader};
use crate::queue::backlog::Bounds;
use crate::queue::checkpoint;
use crate::queue::records::{self, Encoded, Settled};
use crate::queue::refusal::Refusal;
use crate::queue::replay::{Pin, Replay, first_time_ns};
use crate::queue::routes::Filter;
use crate::queue::window::{Purge, storage};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Weak, thread};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long what changed may wait for a checkpoint.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(60);
/// How long the keeper leaves a disk alone that failed: twice as long each time, up to [`CHECKPOINT_DELAY`].
const FAILED_DELAY: Duration = Duration::from_secs(1);
/// An open that had so many records to add up is followed by a checkpoint.
const REPLAY_LONG: u64 = 1 << 16;
/// Nobody rings.
const RUNG: u64 = u64::MAX;

/// The fold that follows the log.
pub(super) struct Follower {
    pub(super) replay: Replay,
    /// What the newest checkpoint retains; nothing, if there is none.
    written: u64,
    /// The replay that opened the queue was long.
    long: bool,
}

impl Follower {
    pub(super) fn open(log: &Log) -> Result<Self, QueueError> {
        let (start, whole) = (log.start(), log.is_whole());
        let checkpoint = log.checkpoint();
        let replayed =
            replayed(checkpoint.as_deref(), (start, whole), log.gaps(), log.committed(), &|from| {
                log.reader(from)
            });
        let (replay, written, records) = replayed?;
        Ok(Self { replay, written, long: REPLAY_LONG <= records })
    }
}

/// What the records of a log come to: from its checkpoint on, or from its start, if it still has all. With it what the
/// checkpoint retains, and how many records were added up.
pub(super) fn replayed(
    checkpoint: Option<&Checkpoint>,
    (start, whole): (Position, bool),
    gaps: Vec<Range<Position>>,
    end: Position,
    reread: &dyn Fn(Position) -> Reader,
) -> Result<(Replay, u64, u64), QueueError> {
    let mut replay = match checkpoint {
        Some(checkpoint) => checkpoint::decode(checkpoint.body(), Bounds::USUAL)
            .and_then(|replay| checkpoint::check_place(replay, checkpoint.replay_from()))
            .map_err(|fault| storage("read the checkpoint", fault))?,
        None if whole => Replay::new(start, Bounds::USUAL),
        None => return Err(QueueError::HistoryMissing { start: records::place(start) }),
    };
    replay.lose(start, gaps, reread)?;
    let retained = replay.retained;
    let records = replay.follow(end, reread)?;
    Ok((replay, retained, records))
}

/// What the keeper and the others share.
pub(super) struct Keeping {
    keep: Keep,
    follower: Mutex<Follower>,
    /// What the keeper sleeps on.
    wake: EventCount,
    /// An append that ends at or behind this place rings.
    due: AtomicU64,
    /// Up to where the newest checkpoint goes.
    written: AtomicU64,
    /// The log refused something for want of room.
    full: AtomicBool,
    /// How far the keeper had looked when it last found no room.
    looked: AtomicU64,
    reclaimed: AtomicU64,
    failure: Mutex<Option<QueueError>>,
}

impl Keeping {
    pub(super) fn new(follower: Follower, keep: Keep) -> Self {
        // Short of a long replay the state as it was opened needs no new checkpoint.
        let written = if follower.long { 0 } else { follower.replay.at };
        Self {
            keep,
            follower: Mutex::new(follower),
            wake: EventCount::new(),
            due: AtomicU64::new(0),
            written: AtomicU64::new(written),
            full: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            reclaimed: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    /// Nothing is reclaimed while the caller holds this.
    pub(super) fn hold(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock()
    }

    /// Rings if the log, which is now written up to `end`, needs to be looked at.
    #[inline]
    pub(super) fn look(&self, end: Position) {
        let due = self.due.load(Ordering::Relaxed) <= records::place(end); // [relaxed]
        if due || self.is_full() {
            self.due.store(RUNG, Ordering::Relaxed); // [relaxed]
            self.wake.notify_all();
        }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) // [relaxed]
    }

    /// The log, committed up to `committed`, refused something.
    pub(super) fn want_room(&self, committed: Position) {
        let looked = self.looked.load(Ordering::Relaxed) == records::place(committed); // [relaxed]
        let was_full = self.full.swap(true, Ordering::Relaxed); // [relaxed]
        if !(looked && was_full) {
            self.wake.notify_all();
        }
    }

    /// The log refused a record of the queue's own: what waits for it may be all that the keeper needs to know.
    pub(super) fn want_room_to_settle(&self) {
        self.full.store(true, Ordering::Relaxed); // [relaxed]
        self.looked.store(0, Ordering::Relaxed); // [relaxed]
        self.wake.notify_all();
    }

    /// The queue has closed: the thread looks, and ends.
    pub(super) fn end(&self) {
        self.wake.notify_all();
    }
}

/// Why the keeper works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// A checkpoint is due.
    Due,
    /// Room is wanted: only for that.
    Full,
}

/// When the keeper works next.
enum Next {
    Now(Because),
    At(Instant),
    WhenRung,
}

/// The keeper's thread.
pub(super) fn keep_up(queue: &Weak<Shared>, keeping: &Keeping) {
    let (mut changed_at, mut again_at, mut delay) = (None, None, FAILED_DELAY);
    loop {
        let key = keeping.wake.listen();
        let open = queue.upgrade().filter(|shared| shared.stage() != CLOSED);
        let Some(shared) = open else { return keeping.wake.cancel(key) };
        match shared.next_keeping(&mut changed_at, again_at) {
            Next::Now(because) => {
                keeping.wake.cancel(key);
                changed_at = None;
                again_at = shared.keep(because).is_err().then(|| Instant::now() + delay);
                delay = match again_at {
                    Some(_) => (2 * delay).min(CHECKPOINT_DELAY),
                    None => FAILED_DELAY,
                };
            }
            Next::At(deadline) => {
                drop(shared);
                keeping.wake.wait_until(key, Some(deadline));
            }
            Next::WhenRung => {
                drop(shared);
                keeping.wake.wait(key);
            }
        }
    }
}

impl Shared {
    fn next_keeping(&self, changed_at: &mut Option<Instant>, again_at: Option<Instant>) -> Next {
        let keeping = &self.keeping;
        let written = keeping.written.load(Ordering::Relaxed); // [relaxed]
        let grown = written.saturating_add(keeping.keep.checkpoint_bytes);
        keeping.due.store(grown, Ordering::Relaxed); // [relaxed]
        let committed = records::place(self.log.committed());
        let looked = keeping.looked.load(Ordering::Relaxed) == committed; // [relaxed]
        let now = Instant::now();
        let again_at = again_at.unwrap_or(now);
        if written == committed && !keeping.is_full() {
            *changed_at = None;
            keeping.due.store(written + 1, Ordering::Relaxed); // [relaxed]
            return Next::WhenRung;
        }
        let due_at = *changed_at.get_or_insert(now) + CHECKPOINT_DELAY;
        if now < again_at {
            Next::At(again_at)
        } else if grown <= committed || due_at <= now {
            Next::Now(Because::Due)
        } else if keeping.is_full() && !looked {
            Next::Now(Because::Full)
        } else {
            Next::At(due_at)
        }
    }

    /// Writes a checkpoint, if it is for that, and reclaims what can be.
    fn keep(&self, because: Because) -> Result<(), QueueError> {
        let mut follower = self.keeping.follower.lock();
        let outcome = self.try_keep(&mut follower, because);
        *self.keeping.failure.lock() = outcome.as_ref().err().cloned();
        outcome
    }

    /// The last checkpoint: the next open has nothing to replay.
    pub(super) fn keep_at_the_end(&self) {
        let written = self.keeping.written.load(Ordering::Relaxed); // [relaxed]
        if written < records::place(self.log.committed()) {
            // What fails here is told by the log's own close, or costs the next open time.
            let _ = self.keep(Because::Due);
        }
    }

    /// A full log takes no settlement; the checkpoint that makes room takes them instead.
    fn try_keep(&self, follower: &mut Follower, because: Because) -> Result<(), QueueError> {
        if !self.keeping.is_full() {
            return self.keep_with(follower, because, &[]).map(drop);
        }
        // First: what is refused from here on makes the keeper look once more. And only by a pass that knows of the want.
        let committed = records::place(self.log.committed());
        self.keeping.looked.store(committed, Ordering::Relaxed); // [relaxed]
        let sources: Vec<_> = self.state.lock().subscriptions.values().cloned().collect();
        let _writing: Vec<_> = sources.iter().map(|source| source.writing.lock()).collect();
        let taken = sources
            .iter()
            .map(|source| (source.identity.number, source.window.lock().take_unwritten()));
        let taken: Vec<_> = taken.collect();
        let outcome = self.keep_with(follower, because, &taken);
        if outcome.is_err() {
            self.keeping.looked.store(0, Ordering::Relaxed); // [relaxed]
        }
        let in_both = matches!(outcome, Ok(true));
        for (source, (number, unwritten)) in sources.iter().zip(taken) {
            // A subscription whose record stands behind a neighbour's gap is not in the sum yet. Written later as well,
            // settlements change nothing more.
            let are_safe = in_both && number < follower.replay.next_subscription;
            source.window.lock().lay_back(if are_safe { Vec::new() } else { unwritten });
        }
        outcome.map(drop)
    }

    /// The same with settlements that are not in the log. Are they in both checkpoints now?
    fn keep_with(
        &self,
        follower: &mut Follower,
        because: Because,
        unwritten: &[(u32, Vec<Settled>)],
    ) -> Result<bool, QueueError> {
        let (keeping, committed) = (&self.keeping, self.log.committed());
        self.fold(follower, committed)?;
        let reread = |from| self.log.reader(from);
        let at = follower.replay.at;
        for (number, entries) in unwritten {
            follower.replay.settle(*number, entries, at, &reread)?;
        }
        self.raise(follower)?;
        let mut in_both = false;
        let reclaimable = records::place(self.log.start()) < follower.replay.retained;
        if because == Because::Due || reclaimable {
            let mut older = follower.written;
            self.write_checkpoint(follower)?;
            if reclaimable && self.log.has_planted(Fault::TrimsByNewest) {
                older = follower.replay.retained;
            } else if reclaimable && older < follower.replay.retained {
                // Only what both checkpoints can do without may go.
                older = follower.replay.retained;
                self.write_checkpoint(follower)?;
                in_both = true;
            }
            if self.reclaim(older)? {
                // If that was not enough, there may be more.
                keeping.looked.store(0, Ordering::Relaxed); // [relaxed]
            }
        }
        Ok(in_both)
    }

    /// Brings the follower up to `committed`.
    fn fold(&self, follower: &mut Follower, committed: Position) -> Result<(), QueueError> {
        let reread = |from| self.log.reader(from);
        if self.log.has_planted(Fault::SaysMoreThanFolded) {
            let at = records::place(committed);
            let short = Position::from_u64(at.saturating_sub(1_024)).unwrap_or(committed);
            follower.replay.follow(short, &reread)?;
            follower.replay.at = follower.replay.at.max(at);
            return Ok(());
        }
        follower.replay.follow(committed, &reread).map(drop)
    }

    /// Raises what is retained as far as may be.
    fn raise(&self, follower: &mut Follower) -> Result<(), QueueError> {
        let target = self.retention_allows(&follower.replay)?;
        let counts = follower.replay.below(target, &|from| self.log.reader(from))?;
        let mut state = self.state.lock();
        // One that the follower has not come to may begin lower; then the next time.
        if target <= follower.replay.retained
            || state.next_number != follower.replay.next_subscription
        {
            return Ok(());
        }
        for (&topic, &count) in &counts {
            if let Some(entry) = self.topics.by_number(topic) {
                entry.give_up(count);
            }
        }
        follower.replay.retain(target, &counts);
        state.retained = follower.replay.retained;
        Ok(())
    }

    /// The beginning of the oldest segment that must stay.
    fn retention_allows(&self, replay: &Replay) -> Result<u64, QueueError> {
        let (watermark, _) = replay.watermark();
        let bases =
            self.log.bases().into_iter().take_while(|base| records::place(*base) <= watermark);
        let bases: Vec<Position> = bases.collect();
        let Retention { keep_for, keep_bytes } = self.keeping.keep.retention;
        let keeps = keep_for.is_some() || keep_bytes.is_some();
        if !keeps {
            return Ok(bases.last().map_or(replay.retained, |&base| records::place(base)));
        }
        let by_bytes = keep_bytes.map_or(0, |bytes| replay.at.saturating_sub(bytes));
        let kept_ns = keep_for.map(crate::clock::saturating_ns);
        let old_ns = kept_ns.map(|ns| self.context.clock.now_ns().saturating_sub(ns));
        let mut allowed = replay.retained;
        // Room is wanted: the oldest file goes, and the next one if it still is.
        let mut wanted = self.keeping.is_full();
        for base in bases.into_iter().filter(|&base| replay.retained < records::place(base)) {
            if std::mem::take(&mut wanted) {
                allowed = records::place(base);
                continue;
            }
            let too_many = keep_bytes.is_some() && records::place(base) <= by_bytes;
            let too_old = match old_ns {
                Some(old_ns) if !too_many => {
                    self.first_time_ns(base)?.is_some_and(|first_ns| first_ns <= old_ns)
                }
                _ => false,
            };
            if !(too_many || too_old) {
                break;
            }
            allowed = allowed.max(records::place(base));
        }
        Ok(allowed)
    }

    /// When the first message at or behind `place` was accepted.
    fn first_time_ns(&self, place: Position) -> Result<Option<u64>, QueueError> {
        let end = records::place(self.log.committed());
        first_time_ns(&|from| self.log.reader(from), records::place(place), end)
    }

    fn write_checkpoint(&self, follower: &mut Follower) -> Result<(), QueueError> {
        let body = checkpoint::encode(&follower.replay);
        let written = self.log.write_checkpoint(follower.replay.position(), &body);
        written.map_err(|error| storage("write a checkpoint", error))?;
        follower.written = follower.replay.retained;
        self.keeping.written.store(follower.replay.at, Ordering::Relaxed); // [relaxed]
        Ok(())
    }

    /// Removes the segments below `place`, which nobody needs. Were there any?
    fn reclaim(&self, place: u64) -> Result<bool, QueueError> {
        let Some(place) = Position::from_u64(place) else { return Ok(false) };
        let sources: Vec<_> = self.state.lock().subscriptions.values().cloned().collect();
        sources.iter().for_each(|source| source.window.lock().pass_below(place));
        let trimmed = self.log.trim(place).map_err(|error| storage("reclaim segments", error))?;
        if trimmed.segments > 0 {
            self.keeping.reclaimed.fetch_add(trimmed.bytes, Ordering::Relaxed); // [relaxed]
            self.keeping.full.store(false, Ordering::Relaxed); // [relaxed]
            // Publishers that wait for room.
            self.context.progress.notify_all();
        }
        Ok(trimmed.segments > 0)
    }

    /// Tries until there is room, for as long as the policy says.
    pub(super) fn when_room<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let outcome = attempt();
        let WhenFull::Block(patience) = self.keeping.keep.when_full else { return outcome };
        if !matches!(outcome, Err(Refusal::Full)) {
            return outcome;
        }
        // Longer than the clock goes is for ever.
        let until = Instant::now().checked_add(patience);
        loop {
            let key = self.context.progress.listen();
            match attempt() {
                Err(Refusal::Full) if until.is_none_or(|until| Instant::now() < until) => {
                    self.context.progress.wait_until(key, until);
                }
                outcome => {
                    self.context.progress.cancel(key);
                    return outcome;
                }
            }
        }
    }

    /// Drops what was published before to the topics that `filter` matches: by one record, so that it stays dropped.
    /// A publish that runs at the same time falls on either side; of a topic that nobody has matched yet it may be counted
    /// on the wrong one until the queue is opened anew.
    pub(super) fn purge(&self, filter: &Filter) -> Result<u64, QueueError> {
        let mut follower = self.keeping.follower.lock();
        let state = self.state.lock();
        if self.stage() != OPEN {
            return Err(QueueError::Closed);
        }
        let appended = self.append(&Encoded::purge(filter), Budget::Settle);
        let appended = appended.map_err(|error| not_appended("record a purge", error))?;
        let before = records::place(appended.at);
        let entries = self.topics.all().into_iter().filter(|entry| filter.matches(&entry.topic));
        let (mut dropped, mut topics) = (0, std::collections::HashSet::new());
        for entry in entries {
            let published = entry.purge(before);
            topics.insert(entry.number);
            if !entry.is_claimed() {
                self.count(-(published as i64));
                dropped += published;
            }
        }
        let purge = Purge { topics: Arc::new(topics), before };
        let mut outcome = Ok(());
        for source in state.subscriptions.values() {
            // Each takes part, whatever became of the others.
            match source.purge(self, &purge) {
                Ok(count) => dropped += count,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        drop(state);
        while self.log.committed() < appended.end {
            thread::yield_now(); // A neighbour copies its record.
        }
        follower.replay.follow(appended.end, &|from| self.log.reader(from))?;
        self.context.progress.notify_all();
        outcome.map(|()| dropped)
    }

    /// Figures of the moment. Brings the follower up to date, by reading what was committed since it last was.
    pub(super) fn storage_stats(&self) -> StorageStats {
        let mut follower = self.keeping.follower.lock();
        let committed = self.log.committed();
        let followed = follower.replay.follow(committed, &|from| self.log.reader(from));
        let (watermark, pin) = follower.replay.watermark();
        let now_ns = self.context.clock.now_ns();
        let age = |then_ns: u64| Duration::from_nanos(now_ns.saturating_sub(then_ns));
        let pinned_by = pinned_by(&follower.replay, pin);
        let oldest_ns = Position::from_u64(watermark)
            .filter(|_| pin != Pin::None)
            .and_then(|place| self.first_time_ns(place).ok().flatten());
        let log = self.log.stats();
        let checkpoint = self.log.checkpoint();
        StorageStats {
            disk_bytes: log.disk_bytes,
            disk_bytes_max: log.disk_max_bytes,
            oldest_age: oldest_ns.map(age),
            pinned_bytes: match pin {
                Pin::None => 0,
                _ => records::place(committed).saturating_sub(watermark),
            },
            pinned_by,
            retained_from: follower.replay.retained,
            checkpoint: checkpoint.as_ref().map(|one| records::place(one.replay_from())),
            checkpoint_age: checkpoint.as_ref().map(|one| age(one.created_ns())),
            longest_in_hand: self.inflight.held().map(|held| age(held.since_ns)).max(),
            reclaimed_bytes: self.keeping.reclaimed.load(Ordering::Relaxed), // [relaxed]
            failure: followed.err().or_else(|| self.keeping.failure.lock().clone()),
        }
    }
}

/// Who that is, by name.
pub(super) fn pinned_by(replay: &Replay, pin: Pin) -> Pinned {
    let found = match pin {
        Pin::None => None,
        Pin::Subscription(number) => {
            let found = replay.subscriptions.get(&number);
            found.map(|found| Pinned::Subscription(found.identity.name.clone()))
        }
        Pin::Topic(number) => {
            let found = replay.topics.get(number as usize);
            found.map(|found| Pinned::Topic(found.topic.as_str().to_owned()))
        }
    };
    found.unwrap_or(Pinned::Nobody)
}
