//! Opening a log: lock, list, scan, decide, act; then a new segment and the housekeeping thread.
//!
//! Everything up to `recovery::plan` only reads, so a log that is refused is left as it was. Then, in this order, each step
//! durable before the next: pads over dead reservations, `[D, end)` written again and synced (after a failed sync the
//! page cache shows what the disk does not have: 1.9), leftovers removed from the highest down, old ones
//! trimmed, the new segment made. A crash between two steps leaves a log that the next open takes up.

use super::checkpoint::{self, Checkpoints, Chosen};
use super::disk::{self, Storage, Stored};
use super::error::{Action, LogError, StorageError};
use super::fault::{Fault, Faults, planted_in};
use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, HEADER_PAGE_BYTES, Kind, OPEN_BODY_BYTES, POSITION_MAX,
    Position, SegmentHeader, durable_lag,
};
use super::group::GroupSync;
use super::index;
use super::options::{LogOptions, Sizes};
use super::prepare::{self, Preparer};
use super::recovery::{self, Chain, Known, Link, Plan};
use super::scan::{self, Scan};
use super::segment::{Segment, Segments, Table, trimmed_bytes};
use super::storage::Access;
use super::syncer::Syncer;
use super::tail::{Bounds, Budget, Tail};
use super::warm::Warm;
use super::write::Shared;
use super::{AppendError, Log, Owned, Record, Recovery, random_u64, random_u128};
use crate::clock::{Clock, SystemClock};
use crate::sync::{Arc, Mutex, thread};
use rayon::prelude::*;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// Written again at a time.
const REWRITE_BYTES: usize = 64 << 10;

/// See [`Log::open`].
pub(crate) fn open(
    storage: Arc<dyn Storage>,
    dir: &Path,
    options: LogOptions,
) -> Result<Log, LogError> {
    let sizes = options.check()?;
    storage.make_dir(dir)?;
    let file_system = storage.file_system(dir)?.admit(dir, sizes.allow_network)?;
    let lock = storage.lock(dir)?;
    let boot_id = storage.boot_id()?;
    let found = Found::look(&*storage, dir, boot_id, &|_| {})?;
    let dropped = act(&*storage, dir, &found)?;
    let clock = SystemClock::new();
    let mut header = next_header(dir, &found, sizes.segment_bytes, boot_id, clock.now_ns())?;
    if planted_in(&*storage, Fault::GoesOnBehindEnd) {
        header.prev_end = found.kept().last().map_or(header.prev_end, |link| link.stop);
    }
    let old = found.sealed(&*storage, false)?;
    let old_bytes = old.iter().map(|segment| segment.file_bytes).sum();
    let recovery = recovered(&found, dropped);
    let shared = Arc::new(Shared {
        storage,
        dir: dir.to_owned(),
        id: header.log_id,
        boot_id,
        sizes,
        tail: Tail::new(bounds(&header, &sizes, old_bytes)),
        segments: Segments::new(Table::new(old, header.base, header.capacity)),
        group: GroupSync::new(header.base),
        syncer: Syncer::new(sizes.sync_interval),
        checkpoints: Mutex::new(Checkpoints::new(found.chosen)),
        files: Mutex::default(),
        crashed: found.plan.crashed,
        preparer: Preparer::default(),
        warm: Warm::default(),
        faults: Faults::default(),
        file_system,
        clock,
    });
    shared.segments.push(Segment::create(&*shared.storage, dir, header)?);
    first_frame(&shared, &recovery)?;
    let housekeeper = start_housekeeper(&shared)?;
    let owned = Owned { lock: Some(lock), housekeeper: Some(housekeeper), closed: None };
    let log = Log { shared, recovery, owned: Mutex::new(owned) };
    if sizes.sync_interval.is_some() {
        log.shared.start_syncer()?;
    }
    Ok(log)
}

/// What is on disk, and what it means.
pub(crate) struct Found {
    pub chain: Chain,
    pub chosen: Chosen,
    pub scans: Vec<Scan>,
    pub plan: Plan,
    pub temporaries: Vec<std::path::PathBuf>,
}

impl Found {
    /// Looks and decides; changes nothing.
    pub fn look(
        storage: &dyn Storage,
        dir: &Path,
        boot_id: u128,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, LogError> {
        let listing = scan::list(storage, dir)?;
        let chain = recovery::chain(storage, listing.segments)?;
        let log_id = chain.links.first().map(|link| link.header.log_id);
        let chosen = checkpoint::choose(storage, listing.checkpoints, log_id)?;
        let known = begin(&chain, &chosen)?;
        let ranges = chain.links.iter().map(|link| link.unknown(&known)).collect::<Vec<_>>();
        let scans = scan_all(storage, &chain.links, &ranges, progress)?;
        let plan = recovery::plan(&chain.links, &scans, &known, boot_id)?;
        if plan.end < known.durable {
            let (end, durable) = (Position::of(plan.end), Position::of(known.durable));
            return Err(LogError::EndMissing { dir: dir.to_owned(), end, durable });
        }
        Ok(Self { chain, chosen, scans, plan, temporaries: listing.temporaries })
    }

    /// The links that the plan keeps.
    pub fn kept(&self) -> &[Link] {
        &self.chain.links[..self.plan.kept]
    }

    /// Where a kept link ends.
    fn end_of(&self, index: usize) -> u64 {
        let is_last = index + 1 == self.plan.kept;
        if is_last { self.plan.end } else { self.chain.links[index].stop }
    }

    /// The kept links, to be read. `holes`: the dead reservations are not padded on disk.
    pub fn sealed(
        &self,
        storage: &dyn Storage,
        holes: bool,
    ) -> Result<Vec<Arc<Segment>>, LogError> {
        let mut sealed = Vec::with_capacity(self.plan.kept);
        for (index, link) in self.kept().iter().enumerate() {
            let path = link.listed.path.clone();
            let mut one = Segment::sealed(storage, path, link.header, self.end_of(index))?;
            if holes {
                let mine = self.plan.pads.iter().filter(|(of, _)| *of == index);
                one.holes = mine.map(|(_, range)| range.clone()).collect();
            }
            sealed.push(Arc::new(one));
        }
        Ok(sealed)
    }
}

/// Where the log begins: with its first segment, or with what the checkpoint needs.
pub(crate) fn begin(chain: &Chain, chosen: &Chosen) -> Result<Known, LogError> {
    let first = chain.links.first();
    let Some(checkpoint) = &chosen.checkpoint else {
        let beheaded = first.is_some_and(|link| link.header.prev_salt != 0);
        return match chosen.damages().next().filter(|_| beheaded) {
            Some(damage) => Err(damage.into()),
            None => Ok(Known::default()),
        };
    };
    let head = checkpoint.head();
    if let Some(first) = first.filter(|link| head.replay_from < link.header.prev_end) {
        return Err(LogError::SegmentMissing { path: first.listed.path.clone() });
    }
    Ok(Known { durable: head.durable, crashed: head.crashed })
}

/// Scans those ranges of the links, as many at a time as there are threads in the pool.
pub(crate) fn scan_all(
    storage: &dyn Storage,
    links: &[Link],
    ranges: &[Range<u64>],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Scan>, StorageError> {
    links
        .par_iter()
        .zip(ranges)
        .map(|(link, range)| {
            scan::scan(storage, &link.listed, &link.header, range.clone(), &mut |bytes| {
                progress(bytes)
            })
        })
        .collect()
}

/// Does what the plan says; answers how many files were removed.
fn act(storage: &dyn Storage, dir: &Path, found: &Found) -> Result<u64, LogError> {
    for (index, hole) in &found.plan.pads {
        write_pad(storage, &found.chain.links[*index], hole, found.plan.durable)?;
    }
    for index in 0..found.plan.kept {
        let from = found.chain.links[index].header.base.max(found.plan.durable);
        write_again(storage, &found.chain.links[index], from..found.end_of(index))?;
    }
    for temporary in &found.temporaries {
        disk::remove(storage, dir, temporary)?;
    }
    let bases: HashSet<u64> = found.kept().iter().map(|link| link.header.base).collect();
    index::sweep(storage, dir, |base| bases.contains(&base));
    let unused = found.chain.links[found.plan.kept..].iter().map(|link| &link.listed);
    let mut gone: Vec<_> = found.chain.leftovers.iter().chain(unused).collect();
    gone.sort_by_key(|listed| std::cmp::Reverse(listed.name_base));
    for listed in &gone {
        disk::remove(storage, dir, &listed.path)?;
    }
    for (index, link) in found.kept().iter().enumerate() {
        if !planted_in(storage, Fault::GoesOnBehindEnd) {
            trim(storage, link, found.end_of(index))?;
        }
    }
    Ok(gone.len() as u64)
}

fn open_to_write(storage: &dyn Storage, link: &Link) -> Result<Arc<dyn Stored>, StorageError> {
    let path = &link.listed.path;
    storage.open(path, Access::Write).map_err(StorageError::on(Action::Open, path))
}

fn write_pad(
    storage: &dyn Storage,
    link: &Link,
    hole: &Range<u64>,
    durable: u64,
) -> Result<(), StorageError> {
    let file = open_to_write(storage, link)?;
    let len = (hole.end - hole.start) as u32; // within a segment, whose capacity is a u32
    let header = FrameHeader::pad(len, durable_lag(hole.start, durable));
    let offset = HEADER_PAGE_BYTES + hole.start - link.header.base;
    file.write_at(&header.encode(link.header.seal(), hole.start), offset)
        .map_err(StorageError::on(Action::Write, &link.listed.path))
}

/// Writes a range with what it holds, and syncs.
fn write_again(storage: &dyn Storage, link: &Link, range: Range<u64>) -> Result<(), StorageError> {
    if range.is_empty() {
        return Ok(());
    }
    let path = &link.listed.path;
    let file = open_to_write(storage, link)?;
    let bytes = file.bytes().map_err(StorageError::on(Action::Read, path))?;
    let mut at = HEADER_PAGE_BYTES + range.start - link.header.base;
    let end = bytes.min(HEADER_PAGE_BYTES + range.end - link.header.base);
    let mut buffer = vec![0; REWRITE_BYTES];
    while at < end {
        let piece = (end - at).min(REWRITE_BYTES as u64) as usize;
        file.read_at(&mut buffer[..piece], at).map_err(StorageError::on(Action::Read, path))?;
        file.write_at(&buffer[..piece], at).map_err(StorageError::on(Action::Write, path))?;
        at += piece as u64;
    }
    file.sync_all().map_err(StorageError::on(Action::Sync, path))
}

fn trim(storage: &dyn Storage, link: &Link, end: u64) -> Result<(), StorageError> {
    let bytes = trimmed_bytes(&link.header, end);
    if link.listed.file_bytes <= bytes {
        return Ok(());
    }
    let file = open_to_write(storage, link)?;
    file.set_bytes(HEADER_PAGE_BYTES + end - link.header.base)
        .and_then(|()| file.set_bytes(bytes)) // zeros behind the end
        .map_err(StorageError::on(Action::Allocate, &link.listed.path))?;
    file.sync_all().map_err(StorageError::on(Action::Sync, &link.listed.path))
}

/// The header of the segment that this open starts.
fn next_header(
    dir: &Path,
    found: &Found,
    capacity: u64,
    boot_id: u128,
    created_ns: u64,
) -> Result<SegmentHeader, LogError> {
    let any = found.chain.links.first().map(|link| link.header);
    let last = found.kept().last().map(|link| link.header);
    let end = found.plan.end;
    let alignment = last.map_or(capacity, |last| capacity.max(last.capacity));
    let base = end.next_multiple_of(alignment);
    if base > POSITION_MAX - capacity {
        let file = dir.to_owned();
        let what = super::DamageKind::SegmentHeader;
        return Err(super::Damage { file, offset: 0, what }.into());
    }
    Ok(SegmentHeader {
        repaired: false,
        log_id: match any {
            Some(first) => first.log_id,
            None => random_u128(dir)?,
        },
        boot_id,
        base,
        capacity,
        salt: random_u64(dir)?,
        prev_salt: last.map_or(0, |last| last.salt),
        prev_end: end,
        durable: end,
        created_ns,
    })
}

fn bounds(header: &SegmentHeader, sizes: &Sizes, old_bytes: u64) -> Bounds {
    let (publish_max, settle_max) = sizes.ends(header.base, old_bytes);
    Bounds { start: header.base, segment_bytes: header.capacity, publish_max, settle_max }
}

fn recovered(found: &Found, files_dropped: u64) -> Recovery {
    let plan = &found.plan;
    Recovery {
        clean: plan.clean || plan.kept == 0,
        end: Position::of(plan.end),
        crashed: Position::of(plan.crashed),
        durable: Position::of(plan.durable.min(plan.end)),
        padded: plan.pads.len() as u64,
        files_dropped,
        checkpoints_damaged: found.chosen.damaged.len() as u64,
        frames_discarded: plan.discarded_frames,
        bytes_discarded: plan.discarded_bytes,
    }
}

/// Prepares the first step and writes the OPEN frame.
fn first_frame(shared: &Arc<Shared>, recovery: &Recovery) -> Result<(), LogError> {
    prepare::first_step(shared)?;
    let mut body = [0; OPEN_BODY_BYTES];
    let words = [recovery.end.as_u64(), recovery.padded, recovery.files_dropped];
    for (slot, word) in body.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    let len = (FRAME_HEADER_BYTES + OPEN_BODY_BYTES) as u32;
    let record = Record { tag: 0, topic: 0, time_ns: shared.clock.now_ns(), parts: &[&body] };
    let mut header = record.header(Kind::Open, len);
    header.body_crc = crc32c::crc32c(&body);
    match shared.reserve(len, Budget::Settle) {
        Ok(reserved) => {
            shared.write(reserved, header, |pen| pen.put(&body));
            Ok(())
        }
        Err(AppendError::Poisoned(error) | AppendError::Storage(error)) => Err(error.into()),
        Err(refused) => unreachable!("a new segment has room for its first frame: {refused}"),
    }
}

fn start_housekeeper(shared: &Arc<Shared>) -> Result<thread::JoinHandle<()>, LogError> {
    let theirs = shared.clone();
    let started = thread::Builder::new()
        .name("millstream-log".to_owned())
        .spawn(move || theirs.preparer.run(&*theirs))
        .map_err(StorageError::on(Action::Start, &shared.dir))?;
    Ok(started)
}
