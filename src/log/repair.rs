//! Repair: a log that is refused becomes one that opens, with every frame that is readable, and a report of every gap.
//!
//! Nothing is invented. What is lost becomes a PAD, a frame that holds nothing, of exactly the extent that was lost; so every
//! position keeps its meaning and none is given twice.
//!
//! | found | done | [`RemedyKind`] |
//! |-------|------|------|
//! | a frame whose body is damaged | a PAD over that frame alone: its header vouches for the length | `Padded` |
//! | a damaged header, or nothing, where a frame was | a PAD up to the next whole frame. Where none follows: up to the last byte written, and at least to what is known to have been durable | `Padded` |
//! | a damaged segment header that can be proved ([`heal`](super::heal)) | written as it was | `HeaderRestored` |
//! | one that cannot | the file is moved among the originals | `SetAside` |
//! | a segment under another one's name | renamed | `Renamed` |
//! | a segment that is missing, or was set aside: before another one, below what the checkpoint needs, or above which the log was durable | a **bridge** | `Bridged` |
//! | a checkpoint that is not whole | moved among the originals | `SetAside` |
//!
//! A segment with such a PAD in it, and a bridge, has a flag in its header: by it [`gaps`] tells a caller, whose checkpoint may
//! speak of records that are lost, where nothing is any more.
//!
//! Dead reservations, torn tails and leftovers are no damage: they are left to the next open, which knows the rule for each.
//!
//! # The bridge
//!
//! Each segment names its predecessor by `prev_salt` and `prev_end`. So the successor of a missing segment says all that its
//! place needs: a segment of the smallest size around `prev_end`, with that very salt, which follows the one before the hole,
//! and in it one PAD up to `prev_end`. The chain is whole again, no byte of a sound file was touched, and the bridge holds
//! nothing. If the last segment is set aside, a bridge over its whole extent stands in for it, so that its positions are not
//! given again.
//!
//! ```text
//!   A [base .. end)      (B is missing: salt b)      C prev_salt = b, prev_end = p
//!   A [base .. end) <- bridge: salt b, prev_end = end; PAD up to p <- C
//! ```
//!
//! # A crash during repair
//!
//! A file is never changed in place. A copy with the remedy in it is made under a temporary name (which any open removes) and
//! synced; the damaged file gets a second name in `damaged-N/`, which is synced; then the copy is renamed over it. So at
//! every moment each file is wholly damaged or wholly repaired, and the next repair finds the rest. Since the rename leaves the
//! old inode alone, a backup that shares it by a hard link keeps its bytes. `N` is the first number that is free.
//!
//! # Limits
//!
//! Space for a copy of each damaged file. A segment that is missing before the first one that is there leaves no trace. Files of
//! another log, or of a newer millstream, are refused by name: they are not damage, and it is not for a program to choose.

use super::archive::check_directory;
use super::checkpoint::{self, Chosen};
use super::disk::{self, DiskStorage, Storage, lock_shared};
use super::error::{Action, Damage, DamageKind, LogError, StorageError};
use super::format::{
    HEADER_PAGE_BYTES, HeaderFault, Kind, Position, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SegmentHeader, aligned,
};
use super::heal::{self, Around};
use super::mend::{Bridge, Fix, keep, make_originals};
use super::open::scan_all;
use super::random_u64;
use super::recovery::{self, Chain, Known, Link, Linked, Verdict};
use super::scan::{self, Anomalous, Anomaly, Listed, Scan};
use super::segment::{Table, path_of};
use super::storage::Access;
use super::tail::Seen;
use crate::clock::{Clock, SystemClock};
use crate::sync::Mutex;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Read at a time while the last byte written is looked for.
const TAIL_PIECE_BYTES: u64 = 64 << 10;

/// The places in the segments of `table` that hold nothing and that a repair may have made so, in order.
pub(crate) fn gaps(table: &Table, seen: Seen) -> Vec<Range<Position>> {
    let mut gaps = Vec::new();
    for segment in table.list().iter().filter(|segment| segment.header.repaired) {
        let header = &segment.header;
        gaps.push(header.prev_end..header.base);
        let mut at = header.base;
        while let (true, Ok(Some(frame))) = (at < segment.end, segment.frame(at, seen)) {
            let next = at + frame.span();
            if frame.kind == Kind::Pad {
                gaps.push(at..next);
            }
            at = next;
        }
    }
    gaps.retain(|gap| !gap.is_empty());
    gaps.into_iter().map(|gap| Position::of(gap.start)..Position::of(gap.end)).collect()
}

/// Is anything to be changed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Only say what would be done. Nothing is changed.
    DryRun,
    /// Do it.
    Apply,
}

/// What [`repair`] found and did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// Segments that are kept.
    pub segments: u64,
    /// Whole frames in them: all are kept.
    pub frames: u64,
    /// Records in those, the ones in batches counted singly.
    pub records: u64,
    /// One for each damage, in the order of the log.
    pub remedies: Vec<Remedy>,
    /// Where the changed files are as they were. `None` if none was changed.
    pub originals: Option<PathBuf>,
}

/// A damage, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remedy {
    /// Where, and what.
    pub damage: Damage,
    /// The positions that hold nothing any more, if any do not.
    pub lost: Range<Position>,
    /// What was done.
    pub kind: RemedyKind,
}

/// What was done about a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemedyKind {
    /// The place was filled with a frame that holds nothing.
    Padded,
    /// The segment's header was proved, and written as it was.
    HeaderRestored,
    /// The file was moved among the originals.
    SetAside,
    /// The segment was given its own name.
    Renamed,
    /// A segment that holds nothing stands in.
    Bridged,
}

/// Makes the log in `dir` one that opens: keeps every frame that is readable, and reports each gap. `progress` hears of the
/// bytes read and of how many there are, as in [`verify`](super::verify).
///
/// The page of this module says what is done about which damage. A log without damage is left as it is.
///
/// # Errors
///
/// [`LogError`]: somebody owns the log or looks at it, there is none, a file belongs to another log or a newer millstream, or
/// the operating system refused something. What was done up to there stays good; repairing again does the rest.
pub fn repair(
    dir: &Path,
    mode: RepairMode,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Repair, LogError> {
    check_directory(dir)?;
    let storage = &DiskStorage;
    let _lock = match mode {
        RepairMode::DryRun => lock_shared(dir)?,
        RepairMode::Apply => Some(storage.lock(dir)?),
    };
    let plan = Plan::make(storage, dir, progress)?;
    let originals = match mode {
        RepairMode::Apply => plan.apply(storage, dir)?,
        RepairMode::DryRun => None,
    };
    Ok(Repair { originals, ..plan.repair })
}

/// How it is known what a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Sound,
    Checksum,
    Frames,
}

/// A segment that is kept.
struct Part {
    listed: Listed,
    header: SegmentHeader,
    proof: Proof,
}

/// The segments, and the files that cannot be any.
#[derive(Default)]
struct Gathered {
    parts: Vec<Part>,
    aside: Vec<Listed>,
    /// The last file, if its owner died before it wrote the header: an open removes it, where it is the last one.
    blank: Option<Listed>,
}

#[derive(Default)]
struct Plan {
    repair: Repair,
    durable: u64,
    fixes: Vec<Fix>,
    bridges: Vec<Bridge>,
    aside: Vec<PathBuf>,
}

impl Gathered {
    /// Reads and proves the headers.
    fn look(storage: &dyn Storage, segments: Vec<Listed>) -> Result<Self, LogError> {
        let mut gathered = Self::default();
        let log_id = segments.iter().find_map(|one| one.header.ok()).map(|header| header.log_id);
        let names: Vec<_> = segments.iter().map(|one| one.name_base).collect();
        let mut unproved = Vec::new();
        for (index, listed) in segments.into_iter().enumerate() {
            let fault = match listed.header {
                Ok(header) if Some(header.log_id) != log_id => {
                    return Err(LogError::Foreign { path: listed.path });
                }
                Ok(header) => {
                    let named = header.base == listed.name_base || !names.contains(&header.base);
                    gathered.put(listed, named.then_some((header, Proof::Sound)));
                    continue;
                }
                Err(_) if index + 1 == names.len() && listed.blank(storage)? => {
                    gathered.blank = Some(listed);
                    continue;
                }
                Err(fault) => fault,
            };
            match (heal::by_checksum(storage, &listed, log_id)?, fault) {
                (Some(header), _) => gathered.put(listed, Some((header, Proof::Checksum))),
                (None, HeaderFault::Newer(version)) => {
                    return Err(LogError::Newer { path: listed.path, version });
                }
                (None, _) => unproved.push(listed),
            }
        }
        let sound = gathered.parts.iter().map(|part| part.header.base);
        let places: Vec<_> = sound.chain(unproved.iter().map(|one| one.name_base)).collect();
        for listed in unproved {
            let header = gathered.by_neighbours(storage, &listed, &places)?;
            gathered.put(listed, header.map(|header| (header, Proof::Frames)));
        }
        Ok(gathered)
    }

    /// Keeps the segment in its place if there is a header for it.
    fn put(&mut self, listed: Listed, header: Option<(SegmentHeader, Proof)>) {
        match header {
            Some((header, proof)) => {
                let at = self.parts.partition_point(|part| part.header.base < header.base);
                self.parts.insert(at, Part { listed, header, proof });
            }
            None => self.aside.push(listed),
        }
    }

    fn by_neighbours(
        &self,
        storage: &dyn Storage,
        listed: &Listed,
        places: &[u64],
    ) -> Result<Option<SegmentHeader>, LogError> {
        let at = self.parts.partition_point(|part| part.header.base < listed.name_base);
        let previous = at.checked_sub(1).map(|before| &self.parts[before].header);
        let next = self.parts.get(at).map(|part| &part.header);
        let Some(log_id) = previous.or(next).map(|header| header.log_id) else {
            return Ok(None);
        };
        // Behind another damaged one nobody names this one's salt.
        let follower = places.iter().filter(|place| **place > listed.name_base).min();
        let next = next.filter(|next| Some(&next.base) == follower);
        Ok(heal::by_frames(storage, listed, &Around { log_id, previous, next })?)
    }
}

/// A hole in the chain: before which link, and where what is missing ended.
struct Hole {
    before: usize,
    end: u64,
}

/// The segments that make the log, with the holes between them.
#[derive(Default)]
struct Links {
    chain: Chain,
    proofs: Vec<Proof>,
    holes: Vec<Hole>,
    aside: Vec<Listed>,
}

impl Links {
    fn of(gathered: Gathered) -> Self {
        let mut links = Self { aside: gathered.aside, ..Self::default() };
        for Part { listed, header, proof } in gathered.parts {
            let chain = &mut links.chain;
            match recovery::judge(chain, &header) {
                Linked::Leftover if proof == Proof::Sound && header.base == listed.name_base => {
                    chain.leftovers.push(listed); // the next open removes it
                    continue;
                }
                Linked::Follows => {
                    if let Some(last) = chain.links.last_mut() {
                        last.stop = header.prev_end;
                    }
                }
                Linked::Missing if room_before(chain, &header) => {
                    links.holes.push(Hole { before: chain.links.len(), end: header.prev_end });
                }
                // A leftover too, if its header would stay damaged, or its name wrong.
                Linked::Leftover | Linked::Missing | Linked::Impossible | Linked::Foreign => {
                    links.aside.push(listed);
                    continue;
                }
            }
            let stop = header.capacity_end();
            links.chain.links.push(Link { listed, header, stop });
            links.proofs.push(proof);
        }
        links
    }

    fn has_hole_before(&self, index: usize) -> bool {
        self.holes.iter().any(|hole| hole.before == index)
    }

    /// Is it not known where that link ends?
    fn is_open_ended(&self, index: usize) -> bool {
        index + 1 == self.chain.links.len() || self.has_hole_before(index + 1)
    }
}

/// Does what is missing before that segment end between the two?
fn room_before(chain: &Chain, header: &SegmentHeader) -> bool {
    let last = chain.links.last().map(|link| link.header.capacity_end());
    last.is_none_or(|end| end <= header.prev_end)
}

/// What a link needs.
struct Mended {
    pads: Vec<(Range<u64>, Anomaly)>,
    end: u64,
}

impl Plan {
    fn make(
        storage: &dyn Storage,
        dir: &Path,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Self, LogError> {
        let listing = scan::list(storage, dir)?;
        let mut gathered = Gathered::look(storage, listing.segments)?;
        let blank = gathered.blank.take();
        let mut links = Links::of(gathered);
        let scans = scan_links(storage, &links.chain.links, progress)?;
        let (Some(first), Some(last)) = (links.chain.links.first(), links.chain.links.last())
        else {
            return Err(match links.aside.first() {
                Some(unproved) => unproved.damaged(),
                None => LogError::NoLog { dir: dir.to_owned() },
            });
        };
        let (first, last) = (first.header, last.header);
        let chosen = checkpoint::choose(storage, listing.checkpoints, Some(last.log_id))?;
        let head = chosen.checkpoint.as_ref().map(|checkpoint| *checkpoint.head());
        let known = head.map(|head| Known { durable: head.durable, crashed: head.crashed });
        let needed = head.filter(|head| head.replay_from < first.prev_end);
        if needed.is_some() {
            links.holes.push(Hole { before: 0, end: first.prev_end });
        }
        let boot_id = storage.boot_id()?;
        let durable = recovery::durable(&links.chain.links, &scans, &known.unwrap_or_default());
        let mut plan = Self { durable, ..Self::default() };
        plan.set_checkpoints_aside(&chosen);
        let begins = needed.map(|head| head.replay_from);
        let stand_in = (links.aside.iter())
            .filter_map(|one| extent(one, &last))
            .chain(lost_end(&last, durable))
            .max_by_key(|extent| extent.end);
        links
            .holes
            .extend(stand_in.iter().map(|extent| Hole { before: scans.len(), end: extent.end }));
        let mut ends = Vec::with_capacity(scans.len());
        for (index, scan) in scans.iter().enumerate() {
            plan.bridge(dir, boot_id, &links, index, ends.last().copied().or(begins));
            let mended = plan.mend(storage, &links, &scans, index, boot_id)?;
            plan.repair.segments += 1;
            plan.repair.frames += scan.frames;
            plan.repair.records += scan.records;
            plan.fix(dir, &links.chain.links[index], links.proofs[index], &mended);
            ends.push(mended.end);
        }
        if let (Some(extent), Some(end)) = (stand_in, ends.last()) {
            plan.stand_in(dir, boot_id, &last, *end, extent)?;
        }
        for one in &links.aside {
            plan.set_aside(one, first.prev_end);
        }
        let written = plan.bridges.iter().map(|bridge| bridge.header.base);
        let written = written.chain(plan.fixes.iter().map(|fix| fix.header.base)).max();
        plan.aside.extend(blank.filter(|one| Some(one.name_base) < written).map(|one| one.path));
        Ok(plan)
    }

    /// What the link at `index` has to be filled with, and where it ends.
    fn mend(
        &self,
        storage: &dyn Storage,
        links: &Links,
        scans: &[Scan],
        index: usize,
        boot_id: u128,
    ) -> Result<Mended, StorageError> {
        let all = &links.chain.links;
        let (link, bridged) = (&all[index], links.has_hole_before(index + 1));
        // Whatever the rule for a torn tail says: what comes behind is kept.
        let forced = bridged || links.proofs[index] == Proof::Frames;
        let mut mended = Mended { pads: Vec::new(), end: link.stop };
        for (verdict, anomaly) in recovery::verdicts(all, scans, index, self.durable, boot_id) {
            let damaged = match verdict {
                Verdict::Corrupt => true,
                Verdict::Discard | Verdict::End => forced,
                Verdict::Pad | Verdict::GoOn | Verdict::Accept => false,
            };
            let header_tells = matches!(anomaly.what, Anomalous::Body | Anomalous::Inside);
            let trails = links.is_open_ended(index) && anomaly.until == link.stop && !header_tells;
            let mut until = anomaly.until;
            if trails {
                let written = written_end(storage, link, anomaly.at)?;
                let known = if bridged { 0 } else { self.durable };
                until = written.max(known).clamp(anomaly.at, link.stop);
                mended.end = until;
            }
            if damaged && anomaly.at < until {
                mended.pads.push((anomaly.at..until, *anomaly));
            }
        }
        Ok(mended)
    }

    /// Notes what is done to a link's file.
    fn fix(&mut self, dir: &Path, link: &Link, proof: Proof, mended: &Mended) {
        let (header, file) = (link.header, link.listed.path.clone());
        let base = Position::of(header.base);
        let note = |what, kind| Remedy {
            damage: Damage { file: file.clone(), offset: 0, what },
            lost: base..base,
            kind,
        };
        let to = path_of(dir, header.base);
        if to != file {
            self.repair.remedies.push(note(DamageKind::SegmentName, RemedyKind::Renamed));
        }
        if proof != Proof::Sound {
            self.repair.remedies.push(note(DamageKind::SegmentHeader, RemedyKind::HeaderRestored));
        }
        for (range, anomaly) in &mended.pads {
            self.repair.remedies.push(Remedy {
                damage: recovery::damage(link, anomaly),
                lost: Position::of(range.start)..Position::of(range.end),
                kind: RemedyKind::Padded,
            });
        }
        let pads: Vec<_> = mended.pads.iter().map(|(range, _)| range.clone()).collect();
        if to != file || proof != Proof::Sound || !pads.is_empty() {
            let file_bytes = link.listed.file_bytes;
            let header = SegmentHeader { repaired: header.repaired || !pads.is_empty(), ..header };
            self.fixes.push(Fix { from: file, to, header, file_bytes, pads });
        }
    }

    /// Notes the bridge before the link at `index`, if there is a hole.
    fn bridge(
        &mut self,
        dir: &Path,
        boot_id: u128,
        links: &Links,
        index: usize,
        previous_end: Option<u64>,
    ) {
        let hole = links.holes.iter().find(|hole| hole.before == index);
        let (Some(hole), Some(prev_end)) = (hole, previous_end) else {
            return;
        };
        let next = &links.chain.links[index].header;
        let before = index.checked_sub(1).map(|before| links.chain.links[before].header);
        // Of a predecessor before the first one no more is known than its salt.
        let previous = &before.unwrap_or(SegmentHeader { salt: next.prev_salt, ..*next });
        let below = hole.end - hole.end % SEGMENT_BYTES_MIN;
        let base = if hole.end == next.base { hole.end - SEGMENT_BYTES_MIN } else { below };
        let prev_end = prev_end.min(base);
        let header = SegmentHeader {
            boot_id,
            base,
            capacity: SEGMENT_BYTES_MIN,
            salt: next.prev_salt,
            ..self.stands_behind(previous, prev_end, base)
        };
        self.add_bridge(dir, header, base..hole.end);
    }

    /// Notes a bridge at the end of the log over the positions `extent`.
    fn stand_in(
        &mut self,
        dir: &Path,
        boot_id: u128,
        last: &SegmentHeader,
        last_end: u64,
        extent: Range<u64>,
    ) -> Result<(), StorageError> {
        let header = SegmentHeader {
            boot_id,
            base: extent.start,
            capacity: (extent.end - extent.start).next_multiple_of(SEGMENT_BYTES_MIN),
            salt: random_u64(dir)?,
            ..self.stands_behind(last, last_end, extent.start)
        };
        self.add_bridge(dir, header, extent);
        Ok(())
    }

    /// A header that claims what is known of a segment with that base behind `previous`.
    fn stands_behind(&self, previous: &SegmentHeader, prev_end: u64, base: u64) -> SegmentHeader {
        SegmentHeader {
            repaired: true,
            prev_salt: previous.salt,
            prev_end,
            durable: self.durable.min(base),
            created_ns: SystemClock::new().now_ns(),
            ..*previous
        }
    }

    fn add_bridge(&mut self, dir: &Path, header: SegmentHeader, pad: Range<u64>) {
        let path = path_of(dir, header.base);
        self.repair.segments += 1;
        self.repair.remedies.push(Remedy {
            damage: Damage { file: path.clone(), offset: 0, what: DamageKind::SegmentMissing },
            lost: Position::of(header.prev_end)..Position::of(pad.end),
            kind: RemedyKind::Bridged,
        });
        self.bridges.push(Bridge { path, header, pad });
    }

    /// Notes that the file goes among the originals. What a bridge does not tell of is what stood before the first segment.
    fn set_aside(&mut self, listed: &Listed, first: u64) {
        let (file, what) = (listed.path.clone(), DamageKind::SegmentHeader);
        let at = Position::from_u64(listed.name_base).unwrap_or(Position::of(0));
        let damage = Damage { file, offset: 0, what };
        let lost = at..at.max(Position::of(first));
        self.repair.remedies.push(Remedy { damage, lost, kind: RemedyKind::SetAside });
        self.aside.push(listed.path.clone());
    }

    fn set_checkpoints_aside(&mut self, chosen: &Chosen) {
        let at = Position::of(0);
        for damage in chosen.damages() {
            self.aside.push(damage.file.clone());
            self.repair.remedies.push(Remedy { damage, lost: at..at, kind: RemedyKind::SetAside });
        }
    }

    /// Does it. Answers where the originals are.
    fn apply(&self, storage: &dyn Storage, dir: &Path) -> Result<Option<PathBuf>, LogError> {
        let originals = match self.fixes.is_empty() && self.aside.is_empty() {
            true => None,
            false => Some(make_originals(storage, dir)?),
        };
        if let Some(originals) = &originals {
            for fix in &self.fixes {
                keep(storage, &fix.from, originals)?;
                fix.apply(storage, dir, self.durable)?;
            }
            for path in &self.aside {
                keep(storage, path, originals)?;
                if !self.bridges.iter().any(|bridge| bridge.path == *path) {
                    disk::remove(storage, dir, path)?;
                }
            }
        }
        for bridge in &self.bridges {
            bridge.apply(storage, dir, self.durable)?;
        }
        Ok(originals)
    }
}

/// The positions of a segment that was set aside behind the end of the log, if its name can be true.
fn extent(aside: &Listed, last: &SegmentHeader) -> Option<Range<u64>> {
    let base = aside.name_base;
    let near = last.capacity_end()..=last.capacity_end() + SEGMENT_BYTES_MAX;
    let held = aside.file_bytes.saturating_sub(HEADER_PAGE_BYTES);
    let capacity = held.max(SEGMENT_BYTES_MIN).checked_next_power_of_two()?;
    let possible = near.contains(&base)
        && capacity <= SEGMENT_BYTES_MAX
        && base.is_multiple_of(capacity)
        && held > 0;
    possible.then(|| base..base + capacity)
}

/// The last positions that were durable, where the segments end before them: as many as the smallest segment holds.
fn lost_end(last: &SegmentHeader, durable: u64) -> Option<Range<u64>> {
    let base = durable.checked_sub(1)? / SEGMENT_BYTES_MIN * SEGMENT_BYTES_MIN;
    (last.capacity_end() < durable).then_some(base..durable)
}

/// Behind the last byte from `at` on that is not zero, where a frame may start.
fn written_end(storage: &dyn Storage, link: &Link, at: u64) -> Result<u64, StorageError> {
    let path = &link.listed.path;
    let file = storage.open(path, Access::Read).map_err(StorageError::on(Action::Open, path))?;
    let from = HEADER_PAGE_BYTES + at - link.header.base;
    let mut end = link.listed.file_bytes;
    while from < end {
        let start = from.max(end.saturating_sub(TAIL_PIECE_BYTES));
        let mut piece = vec![0; (end - start) as usize];
        file.read_at(&mut piece, start).map_err(StorageError::on(Action::Read, path))?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            let behind = start + last as u64 + 1;
            return Ok(aligned(behind - HEADER_PAGE_BYTES + link.header.base).min(link.stop));
        }
        end = start;
    }
    Ok(at)
}

fn scan_links(
    storage: &dyn Storage,
    links: &[Link],
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<Scan>, StorageError> {
    let total = links.iter().map(|link| link.stop - link.header.base).sum();
    let progress = Mutex::new((0, progress));
    let ranges: Vec<_> = links.iter().map(|link| link.header.base..link.stop).collect();
    scan_all(storage, links, &ranges, &|bytes| {
        let mut progress = progress.lock();
        progress.0 += bytes;
        let done = progress.0;
        (progress.1)(done, total);
    })
}
