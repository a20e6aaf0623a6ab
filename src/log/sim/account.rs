//! What a simulated disk has, for sure and perhaps, and what a cut of the power makes of it: values only.
//!
//! An [`Inode`] is told what its file holds ([`see`](Inode::see)), what was written ([`soil`](Inode::soil)) and what was
//! synced; of each sector that is not known to be durable it keeps every version seen. A [`Cut`] decides, by a list of
//! bits or by a seed, what of all that survives ([`after`](Inode::after)). The rules are the table of the page above.
//!
//! # Limits
//!
//! A version that came and went between two looks is unknown here; mixes by words make up for most of those.

use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a disk writes whole, where it promises that much.
pub(crate) const SECTOR_BYTES: usize = 512;
/// What a processor writes whole into a page that is on its way to the disk.
const LINE_BYTES: usize = 64;
/// What a store writes whole.
const WORD_BYTES: usize = 4;
/// Of 256: how much of what is unsynced survives a cut.
const SURVIVAL: [u64; 8] = [0, 8, 48, 128, 208, 240, 252, 256];

pub(super) type Sector = [u8; SECTOR_BYTES];

/// Numbers that look random and are the same in every run: splitmix64 (Steele, Lea, Flood, 2014).
#[derive(Debug, Clone)]
pub(crate) struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in `of_256` cases of 256.
    pub fn chance(&mut self, of_256: u64) -> bool {
        self.next() % 256 < of_256
    }
}

/// A file's account.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What it held when it was last looked at.
    pub(super) cached: Arc<Vec<u8>>,
    /// What the disk has, whatever happens.
    pub(super) durable: Arc<Vec<u8>>,
    /// What the disk may have instead, by the sector's number.
    pub(super) unsure: Arc<BTreeMap<usize, Unsure>>,
    /// Lengths that it may have instead.
    pub(super) lengths: Vec<usize>,
}

/// A sector that is not known to be durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsure {
    /// What it held, in order; the last is what it holds.
    pub(super) versions: Vec<Sector>,
    /// Does the next sync write it? Not after a sync that failed.
    pub(super) dirty: bool,
}

/// A change of a directory that may be lost: the name means that file, or nothing.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    pub(super) path: PathBuf,
    pub(super) to: Option<usize>,
    /// The old name of a rename goes only where the new one has come.
    pub(super) only_with: Option<(PathBuf, usize)>,
}

/// The account of all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) namings: Vec<Naming>,
}

/// How the power goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub seed: u64,
    /// Which of the unsure things survive, a bit each; drawn from the seed where there is no such list.
    pub subset: Option<u64>,
    /// May a sector that was being written again hold anything?
    pub torn: bool,
}

fn sector_of(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    let from = (number * SECTOR_BYTES).min(bytes.len());
    let piece = &bytes[from..bytes.len().min(from + SECTOR_BYTES)];
    sector[..piece.len()].copy_from_slice(piece);
    sector
}

fn put_sector(bytes: &mut [u8], number: usize, sector: &Sector) {
    let from = (number * SECTOR_BYTES).min(bytes.len());
    let to = bytes.len().min(from + SECTOR_BYTES);
    bytes[from..to].copy_from_slice(&sector[..to - from]);
}

impl Inode {
    /// A file of which the disk has everything.
    pub(super) fn at_rest(bytes: Vec<u8>) -> Self {
        let cached = Arc::new(bytes);
        Self { durable: cached.clone(), cached, ..Self::default() }
    }

    /// Notes what the file holds now; true if that is news.
    pub(super) fn see(&mut self, now: &[u8]) -> bool {
        if *self.cached == now {
            return false;
        }
        if self.cached.len() != now.len() {
            self.lengths.push(now.len());
        }
        let unsure = Arc::make_mut(&mut self.unsure);
        for number in 0..now.len().max(self.cached.len()).div_ceil(SECTOR_BYTES) {
            let range = number * SECTOR_BYTES..(number + 1) * SECTOR_BYTES;
            if self.cached.get(range.clone()).is_some_and(|old| now.get(range) == Some(old)) {
                continue;
            }
            let (old, new) = (sector_of(&self.cached, number), sector_of(now, number));
            if old != new {
                let sector = unsure.entry(number).or_default();
                sector.versions.push(new);
                sector.dirty = true;
            }
        }
        self.cached = Arc::new(now.to_vec());
        true
    }

    /// A range was written, be it with what it held.
    pub(super) fn soil(&mut self, range: Range<usize>) {
        for number in range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES) {
            let (cached, durable) =
                (sector_of(&self.cached, number), sector_of(&self.durable, number));
            let idle = cached == durable && cached == [0; SECTOR_BYTES];
            if idle && !self.unsure.contains_key(&number) {
                continue;
            }
            let sector = Arc::make_mut(&mut self.unsure).entry(number).or_default();
            sector.dirty = true;
            if sector.versions.last() != Some(&cached) {
                sector.versions.push(cached);
            }
        }
    }

    /// What is dirty becomes durable; `whole`: a shorter length too.
    pub(super) fn sync(&mut self, whole: bool) {
        let mut durable = (*self.durable).clone();
        if whole || durable.len() < self.cached.len() {
            durable.resize(self.cached.len(), 0);
            self.lengths.clear();
        }
        Arc::make_mut(&mut self.unsure).retain(|number, sector| {
            if sector.dirty {
                put_sector(&mut durable, *number, &sector_of(&self.cached, *number));
            }
            !sector.dirty
        });
        self.durable = Arc::new(durable);
    }

    /// A sync failed: the kernel takes what was dirty for written, and it may be, or not.
    pub(super) fn lose(&mut self) {
        Arc::make_mut(&mut self.unsure).values_mut().for_each(|sector| sector.dirty = false);
    }

    /// Sectors that may differ from what is durable.
    pub(super) fn unsure(&self) -> impl Iterator<Item = (usize, Sector, &Unsure)> {
        self.unsure.iter().map(|(&number, sector)| {
            let durable = sector_of(&self.durable, number);
            (number, durable, sector)
        })
    }

    /// How many things are open.
    pub(super) fn open_things(&self) -> usize {
        let differs = |(_, durable, sector): &(usize, Sector, &Unsure)| {
            sector.versions.iter().any(|version| version != durable)
        };
        usize::from(!self.lengths.is_empty()) + self.unsure().filter(differs).count()
    }

    /// What a cut leaves of it, and which sectors it tore.
    pub(super) fn after(&self, choice: &mut Choice) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = (*self.durable).clone();
        if let Some(newest) = self.lengths.last()
            && choice.survives()
        {
            let any = choice.draw.below(self.lengths.len());
            let len = if choice.is_listed() { *newest } else { self.lengths[any] };
            bytes.resize(len, 0);
        }
        let mut torn = Vec::new();
        for (number, durable, sector) in self.unsure() {
            if choice.tears(&durable) {
                put_sector(&mut bytes, number, &choice.garbage(&durable, &sector.versions));
                torn.push(number);
            } else if sector.versions.iter().any(|version| *version != durable) && choice.survives()
            {
                put_sector(&mut bytes, number, &choice.version(&durable, &sector.versions));
            }
        }
        (bytes, torn)
    }
}

/// What a cut decides, one after the other.
pub(super) struct Choice {
    draw: Draw,
    survival: u64,
    subset: Option<u64>,
    torn: bool,
}

impl Choice {
    pub(super) fn new(cut: &Cut) -> Self {
        let mut draw = Draw(cut.seed);
        let survival = SURVIVAL[draw.below(SURVIVAL.len())];
        Self { draw, survival, subset: cut.subset, torn: cut.torn }
    }

    fn is_listed(&self) -> bool {
        self.subset.is_some()
    }

    pub(super) fn survives(&mut self) -> bool {
        match &mut self.subset {
            Some(bits) => {
                let bit = *bits & 1 == 1;
                *bits >>= 1;
                bit
            }
            None => self.draw.chance(self.survival),
        }
    }

    fn tears(&mut self, durable: &Sector) -> bool {
        self.torn && *durable != [0; SECTOR_BYTES] && self.draw.chance(64)
    }

    /// Of a sector that is not as it was: the newest version, an older one, or a mix.
    fn version(&mut self, durable: &Sector, versions: &[Sector]) -> Sector {
        let newest = *versions.last().expect("a sector is unsure by a version");
        let style = if self.is_listed() { 0 } else { self.draw.below(8) };
        match style {
            0..4 => newest,
            4 => versions[self.draw.below(versions.len())],
            5 | 6 => self.mix(durable, versions, LINE_BYTES),
            _ => self.mix(durable, versions, WORD_BYTES),
        }
    }

    fn mix(&mut self, durable: &Sector, versions: &[Sector], piece: usize) -> Sector {
        let mut mixed = *durable;
        for from in (0..SECTOR_BYTES).step_by(piece) {
            let chosen = self.draw.below(versions.len() + 1);
            if let Some(version) = versions.get(chosen) {
                mixed[from..from + piece].copy_from_slice(&version[from..from + piece]);
            }
        }
        mixed
    }

    /// What a disk without powersafe overwrite may leave: zeros, noise, or the beginning of what was being written.
    fn garbage(&mut self, durable: &Sector, versions: &[Sector]) -> Sector {
        let mut sector = *versions.last().unwrap_or(durable);
        let from = if self.draw.chance(128) { 0 } else { self.draw.below(SECTOR_BYTES) };
        let noisy = self.draw.chance(128);
        for byte in &mut sector[from..] {
            *byte = if noisy { self.draw.next() as u8 } else { 0 };
        }
        sector
    }
}

impl Account {
    /// The files that have a name, or may have one after a cut.
    pub(super) fn reachable(&self) -> BTreeSet<usize> {
        let named = self.names.values().chain(self.durable_names.values()).copied();
        named.chain(self.namings.iter().filter_map(|naming| naming.to)).collect()
    }

    pub(super) fn name(
        &mut self,
        path: &Path,
        to: Option<usize>,
        only_with: Option<(PathBuf, usize)>,
    ) {
        match to {
            Some(number) => self.names.insert(path.to_owned(), number),
            None => self.names.remove(path),
        };
        self.namings.push(Naming { path: path.to_owned(), to, only_with });
    }
}
