//! Reading: one record at a known position, or one after the other from anywhere.
//!
//! A [`Reader`] checks a frame's two checksums once, when it comes to it, and then hands out its records: one of a RECORD
//! frame, each of a BATCH. PAD, OPEN and CLOSE are passed over. A [`RecordRef`] borrows nothing: it holds the `Arc` of
//! its segment, so it may outlive the reader and even the log, and its bytes are those of the map.
//!
//! ```text
//!   position: | BATCH header | inner record | inner record | next frame
//!             ^ frame()      ^ position()   ^ next()
//! ```
//!
//! Whoever wants few of the records says so by [`Reader::next_skipping`]: see the page of `index`.

use super::error::{DamageKind, LogError};
use super::format::{FLAG_INNER, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, Kind, Position};
use super::index;
use super::segment::Segment;
use super::tail::Seen;
use super::write::Shared;
use crate::sync::Arc;
use bytes::Bytes;
use std::ops::Range;

const HEADER: u64 = FRAME_HEADER_BYTES as u64;
/// Cold bytes are brought into memory in pieces of at least this.
const WARM_BYTES: u64 = 256 << 10;

/// A committed record.
#[derive(Debug, Clone)]
pub struct RecordRef {
    segment: Arc<Segment>,
    header: FrameHeader,
    at: u64,
    frame: u64,
    next: u64,
    seen: Seen,
}

impl RecordRef {
    /// Where it starts.
    pub fn position(&self) -> Position {
        Position::of(self.at)
    }

    /// Where the frame that holds it starts: the record itself, or the batch it is in.
    pub fn frame(&self) -> Position {
        Position::of(self.frame)
    }

    /// Where the next record may start: what to read from to go on behind this one.
    pub fn next(&self) -> Position {
        Position::of(self.next)
    }

    /// The caller's 16 bits.
    pub fn tag(&self) -> u16 {
        self.header.tag
    }

    /// The caller's 32 bits.
    pub fn topic(&self) -> u32 {
        self.header.topic
    }

    /// The caller's time, in nanoseconds.
    pub fn time_ns(&self) -> u64 {
        self.header.time_ns
    }

    /// The body, as it was appended.
    pub fn body(&self) -> &[u8] {
        self.segment.body(self.at, &self.header, self.seen)
    }

    /// A part of the body that shares the map's bytes, without a copy.
    ///
    /// # Panics
    ///
    /// If the range does not lie within the body.
    pub fn bytes(&self, range: Range<usize>) -> Bytes {
        let body = self.header.body_bytes() as usize;
        assert!(range.start <= range.end && range.end <= body, "the range lies within the body");
        Bytes::from_owner(Slice { record: self.clone(), range })
    }
}

/// What keeps the map alive behind a [`Bytes`].
struct Slice {
    record: RecordRef,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.record.body()[self.range.clone()]
    }
}

/// Reads a log's records in order, from a position on.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// Last read from.
    segment: Option<Arc<Segment>>,
    at: u64,
    batch: Option<Batch>,
    /// Cold bytes are in memory up to here.
    warm: u64,
    /// Of a record with such a tag, alone in its frame, the body is left alone.
    skims: Option<fn(u16) -> bool>,
    /// Segments passed whole.
    skipped: u64,
}

/// Which records a caller wants, by tag and topic.
type Wanted<'a> = &'a mut dyn FnMut(u16, u32) -> bool;

/// The batch that is being handed out.
#[derive(Debug, Clone, Copy)]
struct Batch {
    frame: u64,
    /// Behind its last inner record, and where the next frame starts.
    end: u64,
    next: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: u64) -> Self {
        Self { shared, segment: None, at: from, batch: None, warm: 0, skims: None, skipped: 0 }
    }

    /// The same reader, which neither reads nor checks the body of a record whose tag `skims`, where that is alone in
    /// its frame: the header has a checksum of its own. Who uses such a body has it checked by [`record`].
    pub(crate) fn skimming(mut self, skims: fn(u16) -> bool) -> Self {
        self.skims = Some(skims);
        self
    }

    /// Reads on from `to`: a position as [`Log::reader`](super::Log::reader) takes it.
    pub(crate) fn seek(&mut self, to: Position) {
        self.at = to.as_u64();
        self.batch = None;
        self.warm = 0;
    }

    /// Where the next read begins.
    pub fn position(&self) -> Position {
        Position::of(self.at)
    }

    /// The next record; `None` when nothing more is committed, now: ask again later.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`]: after a damaged body the next call goes on behind that frame, after a damaged header it
    /// answers the same again. [`LogError::NoRecord`] if the position this reader was made with is none.
    /// [`LogError::Expired`] if what it was to read has been removed since. [`LogError::Storage`] if the disk cannot be
    /// read.
    #[allow(clippy::should_implement_trait)] // `None` is not the end: more may be committed later.
    pub fn next(&mut self) -> Result<Option<RecordRef>, LogError> {
        self.advance(None)
    }

    /// As [`Reader::next`], but full segments in which no record is `wanted`, by tag and topic, are passed whole, without
    /// a look at what else is in them: their damage is not found. Others are read as a whole, so what comes is not always
    /// wanted.
    ///
    /// What is asked for once is known from then on: a segment's pairs of tag and topic, up to 4,096.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn next_skipping(
        &mut self,
        wanted: &mut dyn FnMut(u16, u32) -> bool,
    ) -> Result<Option<RecordRef>, LogError> {
        self.advance(Some(wanted))
    }

    /// How many segments were passed whole.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    #[inline]
    fn advance(&mut self, mut wanted: Option<Wanted<'_>>) -> Result<Option<RecordRef>, LogError> {
        loop {
            if let Some(batch) = self.batch {
                if let Some(record) = self.inner(batch)? {
                    return Ok(Some(record));
                }
                continue;
            }
            let seen = self.shared.tail.committed();
            if self.at >= seen.end() {
                return Ok(None);
            }
            let Some(segment) = self.enter(seen, &mut wanted)? else {
                continue;
            };
            // Taken out and put back, not cloned: all readers of a segment share the count.
            let passed = self.frame(&segment, seen);
            self.segment = Some(segment);
            if let Some(record) = passed? {
                return Ok(Some(record));
            }
        }
    }

    /// The segment that holds `at`, out of the hands of `self`; `None` after a step to the next one.
    fn enter(
        &mut self,
        seen: Seen,
        wanted: &mut Option<Wanted<'_>>,
    ) -> Result<Option<Arc<Segment>>, LogError> {
        let at = self.at;
        let holds = |segment: &Arc<Segment>| {
            segment.header.base <= at && at < segment.end && segment.holes.is_empty()
        };
        let held = self.segment.take().filter(holds);
        if held.is_some() {
            return Ok(held);
        }
        self.warm = 0;
        let view = self.shared.segments.view();
        if let Some(holding) = view.table().holding(self.at)
            && self.at < holding.end
        {
            let hole = holding.holes.iter().find(|hole| hole.contains(&self.at));
            if let Some(hole) = hole {
                self.at = hole.end;
                return Ok(None);
            }
            let holding = holding.clone();
            drop(view);
            if let Some(wanted) = wanted
                && holding.end <= seen.end()
                && holding.holes.is_empty()
                && !index::may_hold(&self.shared, &holding, (self.at, seen), *wanted)
            {
                self.at = holding.end;
                self.skipped += 1;
                return Ok(None);
            }
            return Ok(Some(holding));
        }
        let next = view.table().above(self.at).expect("committed lies beyond, so a segment does");
        let start = self.shared.start();
        if self.at < next.header.prev_end && self.at < start.as_u64() {
            // It was removed since this reader came here.
            return Err(LogError::Expired { at: Position::of(self.at), start });
        }
        self.at = next.header.base;
        Ok(None)
    }

    /// Passes the frame at `at`, whose record is answered if it is one.
    fn frame(&mut self, segment: &Arc<Segment>, seen: Seen) -> Result<Option<RecordRef>, LogError> {
        self.warm_up(segment, self.at, HEADER, seen)?;
        match enclosing(segment, self.at, seen) {
            Some(frame) => self.enter_inside(segment, frame, seen).map(|()| None),
            None => self.outer(segment, seen),
        }
    }

    /// Passes the frame at `at`, which is no inner record.
    fn outer(&mut self, segment: &Arc<Segment>, seen: Seen) -> Result<Option<RecordRef>, LogError> {
        let at = self.at;
        let Some(header) = segment.frame(at, seen)? else {
            return Err(segment.damage(at, DamageKind::FrameMissing).into());
        };
        let next = at + header.span();
        let skimmed =
            header.kind == Kind::Record && self.skims.is_some_and(|skims| skims(header.tag));
        if header.kind != Kind::Pad && !skimmed {
            self.warm_up(segment, at, u64::from(header.len), seen)?;
        }
        self.at = next;
        if !skimmed {
            segment.check_body(at, &header, seen)?;
        }
        match header.kind {
            Kind::Record => {
                Ok(Some(RecordRef { segment: segment.clone(), header, at, frame: at, next, seen }))
            }
            Kind::Batch => {
                self.at = at + HEADER;
                self.batch = Some(Batch { frame: at, end: at + u64::from(header.len), next });
                Ok(None)
            }
            Kind::Pad | Kind::Open | Kind::Close => Ok(None),
        }
    }

    /// Enters the batch at `frame` on its inner record at `at`, which this reader was made to start from.
    fn enter_inside(
        &mut self,
        segment: &Arc<Segment>,
        frame: u64,
        seen: Seen,
    ) -> Result<(), LogError> {
        let at = std::mem::replace(&mut self.at, frame);
        self.warm = 0;
        let entered = self.outer(segment, seen);
        if self.at == frame || entered.is_ok() {
            self.at = at;
        }
        entered?;
        let batch = self.batch.take();
        self.batch = batch.filter(|one| inner_starts(segment, *one, seen).any(|start| start == at));
        match self.batch {
            Some(_) => Ok(()),
            None => Err(LogError::NoRecord { at: Position::of(at) }),
        }
    }

    /// The inner record at `at`; `None` behind the last one, after a step out of the batch.
    fn inner(&mut self, batch: Batch) -> Result<Option<RecordRef>, LogError> {
        if self.at >= batch.end {
            self.at = batch.next;
            self.batch = None;
            return Ok(None);
        }
        let segment = self.segment.clone().expect("the batch was entered");
        let seen = self.shared.tail.committed();
        let at = self.at;
        match inner_record(&segment, batch, at, seen) {
            Some(record) => {
                self.at = record.next;
                self.batch = (record.next < batch.next).then_some(batch);
                Ok(Some(record))
            }
            None => {
                self.at = batch.next;
                self.batch = None;
                Err(segment.damage(at, DamageKind::FrameInside).into())
            }
        }
    }

    fn warm_up(
        &mut self,
        segment: &Segment,
        at: u64,
        bytes: u64,
        seen: Seen,
    ) -> Result<(), LogError> {
        let end = at + bytes;
        if end <= self.warm {
            return Ok(());
        }
        let ahead = end.max(at + WARM_BYTES).min(segment.end).min(seen.end());
        segment.warm(at, ahead.saturating_sub(at), seen)?;
        self.warm = ahead;
        Ok(())
    }
}

/// The batch around the inner record at `at`, if the bytes there look like one: its checksum has to confirm it.
fn enclosing(segment: &Segment, at: u64, seen: Seen) -> Option<u64> {
    let header = segment.inner(at, segment.end.min(seen.end()), seen)?;
    debug_assert!(header.flags == FLAG_INNER);
    let back = u64::from(header.durable_lag) * FRAME_ALIGN;
    let frame = at.checked_sub(back)?;
    (back > 0 && segment.header.base <= frame).then_some(frame)
}

/// The inner record at `at`. It has to name its batch: else it could not be found again by its own position.
fn inner_record(segment: &Arc<Segment>, batch: Batch, at: u64, seen: Seen) -> Option<RecordRef> {
    let back = at - batch.frame;
    let named = |header: &FrameHeader| u64::from(header.durable_lag) * FRAME_ALIGN == back;
    let header = segment.inner(at, batch.end, seen).filter(named)?;
    let behind = at + header.span();
    let next = if behind < batch.end { behind } else { batch.next };
    Some(RecordRef { segment: segment.clone(), header, at, frame: batch.frame, next, seen })
}

/// Where the inner records of a batch start.
fn inner_starts(segment: &Segment, batch: Batch, seen: Seen) -> impl Iterator<Item = u64> {
    let mut at = batch.frame + HEADER;
    std::iter::from_fn(move || {
        let header = segment.inner(at, batch.end, seen)?;
        let start = at;
        at += header.span();
        Some(start)
    })
}

/// The record at `at`, the outer or an inner one, its frame checked.
pub(crate) fn record(shared: &Shared, at: u64) -> Result<RecordRef, LogError> {
    let position = Position::of(at);
    let start = shared.start();
    if at < start.as_u64() {
        return Err(LogError::Expired { at: position, start });
    }
    let seen = shared.tail.committed();
    if at >= seen.end() {
        return Err(LogError::NotCommitted { at: position });
    }
    let none = || LogError::NoRecord { at: position };
    let view = shared.segments.view();
    let segment = view.table().holding(at).filter(|one| at < one.end).ok_or_else(none)?;
    segment.warm(at, HEADER, seen)?;
    let frame = enclosing(segment, at, seen).unwrap_or(at);
    segment.warm(frame, HEADER, seen)?;
    let header = match segment.frame(frame, seen) {
        Ok(found) => found.ok_or_else(none)?,
        Err(damage) if frame == at => return Err(damage.into()),
        Err(_) => return Err(none()), // what looked like an inner record was none
    };
    segment.warm(frame, u64::from(header.len), seen)?;
    segment.check_body(frame, &header, seen)?;
    let next = frame + header.span();
    match header.kind {
        Kind::Record if frame == at => {
            Ok(RecordRef { segment: segment.clone(), header, at, frame, next, seen })
        }
        Kind::Batch => {
            let batch = Batch { frame, end: frame + u64::from(header.len), next };
            let starts = inner_starts(segment, batch, seen).any(|start| start == at);
            let found = starts.then(|| inner_record(segment, batch, at, seen)).flatten();
            found.ok_or_else(none)
        }
        _ => Err(none()),
    }
}

/// Shows each record that starts in `range`, whole frames of this process's, by its header alone.
pub(crate) fn walk(shared: &Shared, range: Range<u64>, mut visit: impl FnMut(Position, u16, u32)) {
    let seen = shared.tail.committed();
    let view = shared.segments.view();
    let mut at = range.start;
    while at < range.end.min(seen.end()) {
        let Some(segment) = view.table().holding(at).filter(|one| at < one.end) else {
            match view.table().above(at) {
                Some(next) => at = next.header.base,
                None => return,
            }
            continue;
        };
        let Ok(Some(header)) = segment.frame(at, seen) else {
            return;
        };
        let next = at + header.span();
        match header.kind {
            Kind::Record => visit(Position::of(at), header.tag, header.topic),
            Kind::Batch => {
                let batch = Batch { frame: at, end: at + u64::from(header.len), next };
                for start in inner_starts(segment, batch, seen) {
                    if let Some(inner) = segment.inner(start, batch.end, seen) {
                        visit(Position::of(start), inner.tag, inner.topic);
                    }
                }
            }
            Kind::Pad | Kind::Open | Kind::Close => {}
        }
        at = next;
    }
}
