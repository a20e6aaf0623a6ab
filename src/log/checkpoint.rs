//! Checkpoints: a state of the log's caller, kept in a file beside the segments, so that neither the log nor its caller
//! has to begin at the beginning.
//!
//! The body is the caller's; the log keeps it whole or not at all, knows from where on the caller wants to read, and by
//! it how far segments may go. A file is made under a temporary name, synced, renamed, and the directory synced, after
//! everything that it speaks of has become durable. The two newest are kept, and nothing that the *older* one needs is
//! ever removed: so one rotten file costs a longer replay, no message.
//!
//! # The file `<sequence as 16 hex digits>.ckpt`, little-endian, CRC32C
//!
//! | offset | bytes | field | |
//! |--------|-------|-------|-|
//! | 0 | 8 | magic | `MILLCKP` and a zero byte |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | reserved | 0 |
//! | 16 | 16 | log_id | that of the log |
//! | 32 | 8 | sequence | counts up; as in the name |
//! | 40 | 8 | replay_from | where the caller reads on |
//! | 48 | 8 | durable | the log was durable up to here before this was written; a frame starts here, or the log ended |
//! | 56 | 8 | crashed | where the log ended when an owner last died before this, or 0 |
//! | 64 | 8 | created | nanoseconds since the Unix epoch |
//! | 72 | 8 | body_len | |
//! | 80 | 4 | body_crc | over the body |
//! | 84 | 4 | crc | of the bytes 0..84 |
//! | 88 | | body | the caller's |
//!
//! # Which one counts: [`choose`]
//!
//! | file | verdict |
//! |------|---------|
//! | newer version, another log's id | the open is refused, by name |
//! | damaged, or its name and sequence differ, or a number above 2^62 | passed over, counted, and removed once another is there |
//! | whole | the newest such |
//! | none whole, and the log's first segments are gone | the open is refused: damage of the newest one |
//!
//! # Limits
//!
//! A body of [`BODY_BYTES_MAX`]. The file is not counted against the disk limit: a full log must be able to write one,
//! or it could never be reclaimed.

use super::disk::{self, Storage};
use super::error::{Action, Damage, DamageKind, LogError, StorageError};
use super::format::{POSITION_MAX, Position};
use super::storage::Access;
use crate::sync::Arc;
use std::path::{Path, PathBuf};

/// The extension of a checkpoint's file.
pub(crate) const EXTENSION: &str = "ckpt";
/// The largest body of a checkpoint: 1 GiB.
pub const BODY_BYTES_MAX: usize = 1 << 30;
/// No number is above this: a file that says so was not written by a log that counts.
const SEQUENCE_MAX: u64 = 1 << 62;
/// How many are kept.
const KEPT: usize = 2;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"MILLCKP\0";
const CRC_AT: usize = 84;
const HEADER_BYTES: usize = 88;

/// A state that the log's caller has laid down: see [`Log::write_checkpoint`](super::Log::write_checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    head: Head,
    body: Vec<u8>,
}

/// What the log itself knows of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub log_id: u128,
    pub sequence: u64,
    pub replay_from: u64,
    pub durable: u64,
    pub crashed: u64,
    pub created_ns: u64,
}

impl Checkpoint {
    /// From where on the caller has to read.
    pub fn replay_from(&self) -> Position {
        Position::of(self.head.replay_from)
    }

    /// When it was written, in nanoseconds since the Unix epoch.
    pub fn created_ns(&self) -> u64 {
        self.head.created_ns
    }

    /// Its number: each is one higher than the one before.
    pub fn sequence(&self) -> u64 {
        self.head.sequence
    }

    /// The caller's bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Newer(u32),
    Damaged,
}

fn encode(head: &Head, body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(&head.log_id.to_le_bytes());
    let words = [
        head.sequence,
        head.replay_from,
        head.durable,
        head.crashed,
        head.created_ns,
        body.len() as u64,
    ];
    for (slot, word) in bytes[32..80].chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes[80..84].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    let (head, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Fault::Damaged)?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    if head[..8] != MAGIC {
        return Err(Fault::Damaged);
    }
    if half(8) > VERSION {
        return Err(Fault::Newer(half(8)));
    }
    let whole = half(8) == VERSION
        && half(12) == 0
        && half(CRC_AT) == crc32c::crc32c(&head[..CRC_AT])
        && word(72) == body.len() as u64
        && half(80) == crc32c::crc32c(body);
    let places = [word(40), word(48), word(56)];
    let possible = places.iter().all(|at| at.is_multiple_of(32) && *at <= POSITION_MAX);
    if !(whole && possible && places[0] <= places[1] && word(32) <= SEQUENCE_MAX) {
        return Err(Fault::Damaged);
    }
    let log_id = u128::from_le_bytes(head[16..32].try_into().expect("sixteen bytes"));
    let [replay_from, durable, crashed] = places;
    let head =
        Head { log_id, sequence: word(32), replay_from, durable, crashed, created_ns: word(64) };
    Ok(Checkpoint { head, body: body.to_vec() })
}

/// Reads any bytes; what is taken for whole is written as the same bytes again.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(found) = decode(bytes) {
        assert_eq!([&encode(&found.head, &found.body)[..], &found.body].concat(), bytes);
    }
}

/// A checkpoint's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub path: PathBuf,
    pub sequence: u64,
}

fn path_of(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.{EXTENSION}"))
}

/// The checkpoint to go by, and those that are of no use.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// The whole ones, newest first.
    pub whole: Vec<Arc<Checkpoint>>,
    pub damaged: Vec<Listed>,
    /// All others: older than the ones that are kept.
    pub older: Vec<Listed>,
}

/// Reads the newest ones, and decides by the table above; `log_id` is that of the segments, if there are any.
pub(crate) fn choose(
    storage: &dyn Storage,
    mut listed: Vec<Listed>,
    log_id: Option<u128>,
) -> Result<Chosen, LogError> {
    let mut chosen = Chosen::default();
    listed.sort_by_key(|one| std::cmp::Reverse(one.sequence));
    for one in listed {
        if chosen.whole.len() == KEPT {
            chosen.older.push(one);
            continue;
        }
        match read(storage, &one.path)? {
            // Without a segment a new log would begin, which another one's checkpoint is nothing to. Where it says that more was
            // durable than nothing, that is the better complaint, and comes later.
            Ok(found) if log_id.map_or(found.head.durable == 0, |id| id != found.head.log_id) => {
                return Err(LogError::Foreign { path: one.path });
            }
            Ok(found) if found.head.sequence == one.sequence => chosen.whole.push(Arc::new(found)),
            Err(Fault::Newer(version)) => {
                return Err(LogError::Newer { path: one.path, version });
            }
            Ok(_) | Err(Fault::Damaged) => chosen.damaged.push(one),
        }
    }
    chosen.checkpoint = chosen.whole.first().cloned();
    Ok(chosen)
}

impl Chosen {
    /// The damaged files, newest first.
    pub fn damages(&self) -> impl Iterator<Item = Damage> {
        let what = DamageKind::Checkpoint;
        self.damaged.iter().map(move |one| Damage { file: one.path.clone(), offset: 0, what })
    }
}

fn read(storage: &dyn Storage, path: &Path) -> Result<Result<Checkpoint, Fault>, StorageError> {
    let failed = || StorageError::on(Action::Read, path);
    let file = storage.open(path, Access::Read).map_err(StorageError::on(Action::Open, path))?;
    let bytes = file.bytes().map_err(failed())?;
    if bytes > (HEADER_BYTES + BODY_BYTES_MAX) as u64 {
        return Ok(Err(Fault::Damaged));
    }
    let mut content = vec![0; bytes as usize];
    file.read_at(&mut content, 0).map_err(failed())?;
    Ok(decode(&content))
}

/// Those of this log, newest first.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    kept: Vec<Arc<Checkpoint>>,
    /// Files of no use, to be removed when the next one is there.
    waste: Vec<PathBuf>,
}

impl Checkpoints {
    pub fn new(chosen: Chosen) -> Self {
        let useless = chosen.damaged.into_iter().chain(chosen.older);
        Self { kept: chosen.whole, waste: useless.map(|one| one.path).collect() }
    }

    /// The newest.
    pub fn newest(&self) -> Option<Arc<Checkpoint>> {
        self.kept.first().cloned()
    }

    /// Nothing at or above this may be removed; `None`: there is no checkpoint that needs anything. Beside a single one the
    /// log's beginning stands for the older: rotten, it too must cost no more than a longer replay.
    pub fn floor(&self) -> Option<u64> {
        match self.kept.len() {
            0 => None,
            KEPT => self.kept.iter().map(|one| one.head.replay_from).min(),
            _ => Some(0),
        }
    }

    /// The number of the next one: above every file that is there, whole or not.
    fn next_sequence(&self, dir: &Path) -> Result<u64, LogError> {
        let waste = self.waste.iter().filter_map(|path| sequence_of(path));
        let waste = waste.filter(|sequence| *sequence <= SEQUENCE_MAX);
        let kept = self.kept.iter().map(|one| one.head.sequence);
        let Some(last) = kept.chain(waste).max() else { return Ok(0) };
        if last == SEQUENCE_MAX {
            let (file, what) = (path_of(dir, last), DamageKind::Checkpoint);
            return Err(Damage { file, offset: 0, what }.into());
        }
        Ok(last + 1)
    }

    /// Writes one more, and removes what is not needed any longer. What `head.sequence` says is not looked at.
    pub fn write(
        &mut self,
        storage: &dyn Storage,
        dir: &Path,
        mut head: Head,
        body: &[u8],
    ) -> Result<(), LogError> {
        if body.len() > BODY_BYTES_MAX {
            let (bytes, max) = (body.len() as u64, BODY_BYTES_MAX as u64);
            return Err(LogError::CheckpointTooLarge { bytes, max });
        }
        head.sequence = self.next_sequence(dir)?;
        let path = path_of(dir, head.sequence);
        disk::publish(storage, dir, &path, |file, temporary| {
            let failed = || StorageError::on(Action::Write, temporary);
            file.write_at(&encode(&head, body), 0).map_err(failed())?;
            file.write_at(body, HEADER_BYTES as u64).map_err(failed())
        })?;
        self.kept.insert(0, Arc::new(Checkpoint { head, body: body.to_vec() }));
        let gone = self.kept.drain(KEPT.min(self.kept.len())..);
        self.waste.extend(gone.map(|one| path_of(dir, one.head.sequence)));
        while let Some(path) = self.waste.last() {
            match disk::remove(storage, dir, path) {
                Err(error) if error.source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => self.waste.pop(),
            };
        }
        Ok(())
    }
}

/// The number that a checkpoint's file name says.
pub(crate) fn sequence_of(path: &Path) -> Option<u64> {
    super::scan::number_of(path, EXTENSION)
}

#[cfg(test)]
mod tests {
    use super::super::disk::DiskStorage;
    use super::*;

    const HEAD: Head = Head {
        log_id: 7,
        sequence: 3,
        replay_from: 64,
        durable: 96,
        crashed: 32,
        created_ns: 1_700_000_000_000_000_000,
    };

    fn file(head: &Head, body: &[u8]) -> Vec<u8> {
        [&encode(head, body)[..], body].concat()
    }

    /// Promise: these are the bytes of version 1.
    #[test]
    fn a_checkpoint_is_the_bytes_of_its_table() {
        let bytes = file(&HEAD, b"state");
        assert_eq!(&bytes[..8], b"MILLCKP\0");
        let words: Vec<u64> = bytes[32..80]
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [3, 64, 96, 32, 1_700_000_000_000_000_000, 5]);
        assert_eq!(&bytes[88..], b"state");
        let back = decode(&bytes).unwrap();
        assert_eq!((back.head, back.body()), (HEAD, &b"state"[..]));
    }

    /// Promise: a checkpoint of which a bit has changed, or the end is missing, is none.
    #[test]
    fn every_changed_bit_and_every_cut_is_found() {
        let bytes = file(&HEAD, b"some state");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]).map(|_| ()), Err(Fault::Damaged));
        }
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let refused = decode(&spoilt).map(|_| ());
            assert!(matches!(refused, Err(Fault::Damaged | Fault::Newer(_))), "bit {bit}");
        }
    }

    /// Promise: a position that no log can have is not believed, whatever the checksum says.
    #[test]
    fn impossible_positions_are_damage() {
        for head in [
            Head { replay_from: 33, ..HEAD },
            Head { replay_from: 128, ..HEAD },
            Head { durable: u64::MAX - 31, ..HEAD },
        ] {
            assert_eq!(decode(&file(&head, b"")).map(|_| ()), Err(Fault::Damaged));
        }
    }

    /// Promise: the two newest are kept, and a number is never given twice, not even after a damaged one.
    #[test]
    fn two_are_kept_and_numbers_go_up() {
        let dir = tempfile::tempdir().unwrap();
        let listed = || {
            let names = DiskStorage.list(dir.path()).unwrap().into_iter();
            let each =
                names.filter_map(|path| Some(Listed { sequence: sequence_of(&path)?, path }));
            let mut all: Vec<_> = each.collect();
            all.sort_by_key(|one| one.sequence);
            all
        };
        let mut checkpoints = Checkpoints::default();
        for count in 0..4_u64 {
            let head = Head { replay_from: count * 32, durable: count * 32, ..HEAD };
            checkpoints.write(&DiskStorage, dir.path(), head, b"x").unwrap();
        }
        let sequences = |all: Vec<Listed>| all.iter().map(|one| one.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(listed()), [2, 3]);
        assert_eq!(checkpoints.floor(), Some(64));
        std::fs::write(path_of(dir.path(), 3), b"rubbish").unwrap();
        let chosen = choose(&DiskStorage, listed(), Some(7)).unwrap();
        assert_eq!(chosen.checkpoint.as_ref().unwrap().sequence(), 2);
        assert_eq!(chosen.damages().count(), 1);
        let mut checkpoints = Checkpoints::new(chosen);
        checkpoints.write(&DiskStorage, dir.path(), HEAD, b"y").unwrap();
        assert_eq!(sequences(listed()), [2, 4]);
        let other = choose(&DiskStorage, listed(), Some(8)).map(|_| ());
        assert!(matches!(other, Err(LogError::Foreign { .. })));
    }
}
