//! THE on-disk format, version 1: the tables below are normative, the code is a pure codec for them.
//!
//! A log is a row of segment files named `<base as 16 hex digits>.seg`. A **position** is a byte address in the whole
//! log, monotonic for ever. A segment's first page is its header and lies outside position space; position `p` of the
//! segment with base `b` is at file offset `4096 + p - b`. All integers are little-endian. The checksum is CRC32C.
//!
//! ```text
//!   file  | header page | frame | frame | PAD ......| (end of the segment)
//!         0          4096
//!   frame | len crc crc kind flags tag lag topic time | body ...... | to the next multiple of 32
//!         0                                           32
//! ```
//!
//! # Segment header (written once, never changed)
//!
//! | offset | bytes | field | |
//! |--------|-------|-------|-|
//! | 0 | 8 | magic | `MILLSEG` and a zero byte |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | flags | bit 0: a repair wrote it, and its PADs may stand where records were |
//! | 16 | 16 | log_id | random, the same in every segment of a log |
//! | 32 | 16 | boot_id | the kernel's boot id when the segment was made: a dead process or a power loss? |
//! | 48 | 8 | base | position of the first frame, a multiple of `capacity` |
//! | 56 | 8 | capacity | bytes of position space, a power of two |
//! | 64 | 8 | salt | random: old bytes at the right place never pass for a frame of this segment |
//! | 72 | 8 | prev_salt | salt of the predecessor, 0 in the first segment |
//! | 80 | 8 | prev_end | where the predecessor ends; reading goes on at `base` |
//! | 88 | 8 | durable | known durable when the segment was made |
//! | 96 | 8 | created | nanoseconds since the Unix epoch |
//! | 104 | 4 | crc | of the bytes 0..104 |
//!
//! # Frame header
//!
//! | offset | bytes | field | |
//! |--------|-------|-------|-|
//! | 0 | 4 | len | header and body, not rounded; 0 = not committed. Stored last, by an atomic store |
//! | 4 | 4 | header_crc | over salt u64, position u64, len, and the bytes 8..32 |
//! | 8 | 4 | body_crc | over the body |
//! | 12 | 1 | kind | 1 PAD, 2 RECORD, 3 BATCH, 4 OPEN, 5 CLOSE |
//! | 13 | 1 | flags | bit 0: an inner record of a batch |
//! | 14 | 2 | tag | opaque to the log |
//! | 16 | 4 | durable_lag | own position minus the durable position then known, in units of 32; all ones: unknown |
//! | 20 | 4 | topic | opaque to the log; in a BATCH header the number of inner records |
//! | 24 | 8 | time | nanoseconds, as the caller gave them |
//!
//! * **PAD**: nothing is in it; its body is not checked (`body_crc` is 0).
//! * **RECORD**: the body is the caller's.
//! * **BATCH**: the body is a row of inner records, each with a header of the same form, on multiples of 32. An inner
//!   record has flag bit 0, kind RECORD, both checksums 0 (the batch's `body_crc` covers it), and in `durable_lag` the
//!   distance back to the batch's header in units of 32, so that it can be read by its own position. The gaps are zero.
//! * **OPEN**: first frame of each `open`. Body, 24 bytes: recovered end u64, dead reservations padded u64, leftover
//!   files dropped u64.
//! * **CLOSE**: last frame of a clean shutdown. What its mark says was durable when it was written; settlements may stand
//!   between. No body.
//!
//! # Limits
//!
//! A frame is at most its segment's capacity minus 32 bytes; capacities reach from 64 KiB to 1 GiB. A lag beyond
//! 128 GiB is written as unknown. `tests/golden/` pins these bytes: a change needs a new version and new files.

use crc32c::crc32c_append;

/// Version written, and the newest that is read.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGN: u64 = 32;
/// A frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// The header page of a segment file: where position space begins in it.
pub(crate) const HEADER_PAGE_BYTES: u64 = 4096;
/// The part of the header page that is used.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 108;
/// The smallest segment.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest segment: a frame's length is a `u32`.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Positions stay below this, so that sums of two cannot overflow.
pub(crate) const POSITION_MAX: u64 = 1 << 62;
/// Body of an OPEN frame.
pub(crate) const OPEN_BODY_BYTES: usize = 24;
/// `durable_lag` of a frame whose writer knew no durable position near enough.
pub(crate) const LAG_UNKNOWN: u32 = u32::MAX;
/// Flag of a record inside a batch.
pub(crate) const FLAG_INNER: u8 = 1;

/// Flag of a segment that a repair wrote.
const FLAG_REPAIRED: u32 = 1;
const MAGIC: [u8; 8] = *b"MILLSEG\0";
const SEGMENT_CRC_AT: usize = 104;

const _: () = assert!((FRAME_HEADER_BYTES as u64).is_multiple_of(FRAME_ALIGN));
const _: () = assert!(HEADER_PAGE_BYTES.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(SEGMENT_CRC_AT + 4 == SEGMENT_HEADER_BYTES);
const _: () = assert!(SEGMENT_HEADER_BYTES as u64 <= HEADER_PAGE_BYTES);
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(SEGMENT_BYTES_MIN.is_power_of_two() && SEGMENT_BYTES_MAX.is_power_of_two());

/// A byte address in the whole log: monotonic for ever, a multiple of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position `bytes`, if a frame can start there: a multiple of 32 up to 2^62.
    pub const fn from_u64(bytes: u64) -> Option<Self> {
        let possible = bytes.is_multiple_of(FRAME_ALIGN) && bytes <= POSITION_MAX;
        if possible { Some(Self(bytes)) } else { None }
    }

    /// The address in bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position of a frame that is there: the log's own arithmetic keeps it a multiple of 32.
    pub(crate) const fn of(bytes: u64) -> Self {
        debug_assert!(bytes.is_multiple_of(FRAME_ALIGN));
        Self(bytes)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// The next place where a frame may start.
pub(crate) const fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(FRAME_ALIGN)
}

/// Why bytes are not a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Shorter than a header, or another magic.
    NotOurs,
    /// Ours, from a newer millstream.
    Newer(u32),
    /// Ours, and damaged.
    Damaged,
}

/// The header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub repaired: bool,
    pub log_id: u128,
    pub boot_id: u128,
    pub base: u64,
    pub capacity: u64,
    pub salt: u64,
    pub prev_salt: u64,
    pub prev_end: u64,
    pub durable: u64,
    pub created_ns: u64,
}

impl SegmentHeader {
    /// The bytes of the table above.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let flags = if self.repaired { FLAG_REPAIRED } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.boot_id.to_le_bytes());
        let words = [
            self.base,
            self.capacity,
            self.salt,
            self.prev_salt,
            self.prev_end,
            self.durable,
            self.created_ns,
        ];
        for (slot, word) in bytes[48..SEGMENT_CRC_AT].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CRC_AT]);
        bytes[SEGMENT_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in `bytes`; the version is judged before the checksum, whose place a newer version may move.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(HeaderFault::NotOurs);
        };
        if bytes[0..8] != MAGIC {
            return Err(HeaderFault::NotOurs);
        }
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let whole = crc32c::crc32c(&bytes[..SEGMENT_CRC_AT]) == u32_at(bytes, SEGMENT_CRC_AT);
        let header = Self {
            repaired: u32_at(bytes, 12) & FLAG_REPAIRED != 0,
            log_id: u128_at(bytes, 16),
            boot_id: u128_at(bytes, 32),
            base: u64_at(bytes, 48),
            capacity: u64_at(bytes, 56),
            salt: u64_at(bytes, 64),
            prev_salt: u64_at(bytes, 72),
            prev_end: u64_at(bytes, 80),
            durable: u64_at(bytes, 88),
            created_ns: u64_at(bytes, 96),
        };
        let sound = whole && version == FORMAT_VERSION && header.possible();
        if sound { Ok(header) } else { Err(HeaderFault::Damaged) }
    }

    /// Can a log have such a segment? A checksum does not protect against a writer's mistake.
    fn possible(&self) -> bool {
        let sized = self.capacity.is_power_of_two()
            && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.capacity);
        sized
            && self.base.is_multiple_of(self.capacity)
            && self.base < POSITION_MAX
            && self.prev_end <= self.base
            && self.prev_end.is_multiple_of(FRAME_ALIGN)
            && self.durable <= self.base
            && self.durable.is_multiple_of(FRAME_ALIGN)
    }

    /// The position behind the last byte that the segment can hold.
    pub fn capacity_end(&self) -> u64 {
        self.base + self.capacity
    }

    /// What seals this segment's frames.
    pub fn seal(&self) -> Seal {
        Self::seal_of(self.salt)
    }

    /// What seals the frames of a segment with that salt.
    pub fn seal_of(salt: u64) -> Seal {
        Seal(crc32c::crc32c(&salt.to_le_bytes()))
    }
}

/// The checksum of a segment's salt, from which each of its header checksums goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal(u32);

impl Seal {
    /// The only seal under which these bytes can be a frame's header at `at`: the checksum, run backwards.
    pub fn of_frame(bytes: &[u8; FRAME_HEADER_BYTES], at: u64) -> Self {
        Self(crc_before(u32_at(bytes, 4), &covered(bytes, at)))
    }

    /// A salt that has this seal: four bytes of zeros, and the four that a checksum of four bytes leaves free to choose.
    pub fn salt(self) -> u64 {
        let behind_zeros = crc32c::crc32c(&[0; 4]);
        let wanted = crc_before(self.0, &[0; 4]);
        u64::from(behind_zeros ^ wanted) << 32
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pad = 1,
    Record = 2,
    Batch = 3,
    Open = 4,
    Close = 5,
}

impl Kind {
    fn decode(byte: u8) -> Option<Self> {
        [Self::Pad, Self::Record, Self::Batch, Self::Open, Self::Close]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The header of a frame, or of a record inside a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Header and body, in bytes.
    pub len: u32,
    pub body_crc: u32,
    pub kind: Kind,
    pub flags: u8,
    pub tag: u16,
    /// Units of 32 bytes; in an inner record the distance back to its batch.
    pub durable_lag: u32,
    pub topic: u32,
    pub time_ns: u64,
}

/// What the 32 bytes at a place are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    /// The length is zero: nothing was committed here.
    Zero,
    /// Something, but no header of this segment at this position.
    Bad,
    Good(FrameHeader),
}

impl FrameHeader {
    /// The header of a PAD over `bytes` bytes.
    pub fn pad(bytes: u32, durable_lag: u32) -> Self {
        Self {
            len: bytes,
            body_crc: 0,
            kind: Kind::Pad,
            flags: 0,
            tag: 0,
            durable_lag,
            topic: 0,
            time_ns: 0,
        }
    }

    /// The bytes of a frame's header at position `at` of the segment with that seal.
    pub fn encode(&self, seal: Seal, at: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = self.encode_inner();
        bytes[8..12].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = header_crc(&bytes, seal, at);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The bytes of a record's header inside a batch: no checksum of its own.
    pub fn encode_inner(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[13] = self.flags;
        bytes[14..16].copy_from_slice(&self.tag.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.durable_lag.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.topic.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes
    }

    /// Judges the 32 bytes at position `at`; a frame may reach to `end`, the segment's end.
    pub fn read(bytes: &[u8; FRAME_HEADER_BYTES], seal: Seal, at: u64, end: u64) -> HeaderRead {
        if u32_at(bytes, 0) == 0 {
            return HeaderRead::Zero;
        }
        let Some(header) = Self::fields(bytes, end.saturating_sub(at)) else {
            return HeaderRead::Bad;
        };
        let whole = header.flags == 0 && u32_at(bytes, 4) == header_crc(bytes, seal, at);
        if whole { HeaderRead::Good(header) } else { HeaderRead::Bad }
    }

    /// The header of an inner record, if these bytes are one; it may reach over `room` bytes. Its batch's checksum
    /// vouches for it, or not.
    pub fn read_inner(bytes: &[u8; FRAME_HEADER_BYTES], room: u64) -> Option<Self> {
        let header = Self::fields(bytes, room)?;
        let unsealed = u32_at(bytes, 4) == 0 && header.body_crc == 0;
        let inner = unsealed && header.flags == FLAG_INNER && header.kind == Kind::Record;
        inner.then_some(header)
    }

    fn fields(bytes: &[u8; FRAME_HEADER_BYTES], room: u64) -> Option<Self> {
        let len = u32_at(bytes, 0);
        let fits = len as usize >= FRAME_HEADER_BYTES && u64::from(len) <= room;
        if !fits {
            return None;
        }
        Some(Self {
            len,
            body_crc: u32_at(bytes, 8),
            kind: Kind::decode(bytes[12])?,
            flags: bytes[13],
            tag: u16::from_le_bytes([bytes[14], bytes[15]]),
            durable_lag: u32_at(bytes, 16),
            topic: u32_at(bytes, 20),
            time_ns: u64_at(bytes, 24),
        })
    }

    /// Bytes behind the header.
    pub fn body_bytes(&self) -> u64 {
        u64::from(self.len) - FRAME_HEADER_BYTES as u64
    }

    /// Bytes of position space: the length, rounded up to where the next frame may start.
    pub fn span(&self) -> u64 {
        aligned(u64::from(self.len))
    }

    /// The durable position that the writer of this frame at `at` knew.
    pub fn durable(&self, at: u64) -> Option<u64> {
        if self.durable_lag == LAG_UNKNOWN {
            return None;
        }
        at.checked_sub(u64::from(self.durable_lag) * FRAME_ALIGN)
    }
}

/// `durable_lag` of a frame at `at`, when everything below `durable` is known durable.
pub(crate) fn durable_lag(at: u64, durable: u64) -> u32 {
    u32::try_from(at.saturating_sub(durable) / FRAME_ALIGN).unwrap_or(LAG_UNKNOWN)
}

fn header_crc(bytes: &[u8; FRAME_HEADER_BYTES], seal: Seal, at: u64) -> u32 {
    crc32c_append(seal.0, &covered(bytes, at))
}

/// What a frame's header checksum covers, behind the salt.
fn covered(bytes: &[u8; FRAME_HEADER_BYTES], at: u64) -> [u8; 36] {
    let mut covered = [0; 36];
    covered[0..8].copy_from_slice(&at.to_le_bytes());
    covered[8..12].copy_from_slice(&bytes[0..4]);
    covered[12..36].copy_from_slice(&bytes[8..32]);
    covered
}

/// The checksum from which `crc` came by going on over `bytes`: CRC32C is a division, and each of its steps can be undone.
fn crc_before(crc: u32, bytes: &[u8]) -> u32 {
    /// CRC32C's polynomial, reflected. Its highest bit is set: so the highest bit of the sum tells what a step did.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut register = !crc;
    for byte in bytes.iter().rev() {
        for _ in 0..8 {
            let divided = register >> 31 == 1;
            register = if divided { (register ^ POLYNOMIAL) << 1 | 1 } else { register << 1 };
        }
        register ^= u32::from(*byte);
    }
    !register
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller's array is long enough"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller's array is long enough"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(*bytes[at..].first_chunk().expect("the caller's array is long enough"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: the seal read out of a frame is the one it was written with, and a salt made for a seal has it.
    #[test]
    fn the_checksum_runs_backwards() {
        for salt in [0, 1, 77, u64::MAX, 0x0123_4567_89ab_cdef] {
            let seal = Seal(crc32c::crc32c(&salt.to_le_bytes()));
            let frame = FrameHeader::pad(96, 7).encode(seal, 4096);
            assert_eq!(Seal::of_frame(&frame, 4096), seal);
            assert_ne!(Seal::of_frame(&frame, 4128), seal);
            assert_eq!(crc32c::crc32c(&seal.salt().to_le_bytes()), seal.0);
        }
    }
}
