//! What a damaged segment header was, where that can be proved.
//!
//! | proof | how | holds against |
//! |-------|-----|---------------|
//! | [`by_checksum`] | exactly one change of one byte makes the header's checksum hold, its base is the file's name, and its log the neighbours' | one bad byte, the checksum's own included |
//! | [`by_frames`] | base from the name; log from the neighbours; salt from the successor's `prev_salt`, or from the frames' own header checksums, which run backwards give it; where the predecessor ends from the OPEN frame, or, where none stands first, from the predecessor's capacity | the whole header page lost |
//!
//! By frames a header counts as proved only if whole frames stand under it: one, if the successor names the salt; two, if
//! the salt was read out of the first. A salt read out of frames is one of 2^32 that seal the same frames; since no successor
//! names it, any will do. What nothing proves and nothing depends on is set to what claims least: another boot, nothing
//! known durable.
//!
//! # Limits
//!
//! A segment whose first frame is lost together with its header is not rebuilt: where its predecessor ended is not known, and a
//! frame that was dropped behind that end must not come back.

use super::disk::{Storage, Stored};
use super::error::{Action, StorageError};
use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, HEADER_PAGE_BYTES, HeaderRead, Kind, OPEN_BODY_BYTES,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES, Seal, SegmentHeader,
};
use super::scan::{self, Listed};
use super::storage::Access;
use crate::sync::Arc;

/// The boot of a header of which nothing tells it: never today's.
const BOOT_UNKNOWN: u128 = 0;
/// The salt of a predecessor that there was, and of which nothing else is known. 0 says that there never was one.
const SALT_UNKNOWN: u64 = 1;
const FIRST_BYTES: usize = FRAME_HEADER_BYTES + OPEN_BODY_BYTES;

/// What stands around a damaged header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub log_id: u128,
    pub previous: Option<&'a SegmentHeader>,
    pub next: Option<&'a SegmentHeader>,
}

/// The header before one of its bytes changed, if that is what happened.
pub(crate) fn by_checksum(
    storage: &dyn Storage,
    listed: &Listed,
    log_id: Option<u128>,
) -> Result<Option<SegmentHeader>, StorageError> {
    let Some(mut bytes) = head(storage, listed)? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for at in 0..SEGMENT_HEADER_BYTES {
        let was = bytes[at];
        for change in 1..=u8::MAX {
            bytes[at] = was ^ change;
            found.extend(SegmentHeader::decode(&bytes).ok());
        }
        bytes[at] = was;
    }
    let only = <[_; 1]>::try_from(found).ok().map(|[only]| only);
    let fits = |header: &SegmentHeader| {
        header.base == listed.name_base && log_id.is_none_or(|id| id == header.log_id)
    };
    Ok(only.filter(fits))
}

fn head(
    storage: &dyn Storage,
    listed: &Listed,
) -> Result<Option<[u8; SEGMENT_HEADER_BYTES]>, StorageError> {
    if listed.file_bytes < SEGMENT_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    opened(storage, listed)?
        .read_at(&mut bytes, 0)
        .map_err(StorageError::on(Action::Read, &listed.path))?;
    Ok(Some(bytes))
}

fn opened(storage: &dyn Storage, listed: &Listed) -> Result<Arc<dyn Stored>, StorageError> {
    storage.open(&listed.path, Access::Read).map_err(StorageError::on(Action::Open, &listed.path))
}

/// The header that name, neighbours and frames prove.
pub(crate) fn by_frames(
    storage: &dyn Storage,
    listed: &Listed,
    around: &Around<'_>,
) -> Result<Option<SegmentHeader>, StorageError> {
    if listed.file_bytes < HEADER_PAGE_BYTES + FIRST_BYTES as u64 {
        return Ok(None);
    }
    let mut first = [0; FIRST_BYTES];
    opened(storage, listed)?
        .read_at(&mut first, HEADER_PAGE_BYTES)
        .map_err(StorageError::on(Action::Read, &listed.path))?;
    let Some(header) = candidate(listed, around, &first) else {
        return Ok(None);
    };
    let named = around.next.is_some();
    let stop = around.next.map_or(header.capacity_end(), |next| next.prev_end);
    let found = scan::scan(storage, listed, &header, header.base..stop, &mut |_| {})?;
    let proved = found.frames >= if named { 1 } else { 2 };
    Ok(proved.then_some(header))
}

/// What the header must have been, if it is any.
fn candidate(
    listed: &Listed,
    around: &Around<'_>,
    first: &[u8; FIRST_BYTES],
) -> Option<SegmentHeader> {
    let base = listed.name_base;
    let (bytes, body) = first.split_first_chunk()?;
    let seal = Seal::of_frame(bytes, base);
    let HeaderRead::Good(frame) =
        FrameHeader::read(bytes, seal, base, base.checked_add(SEGMENT_BYTES_MAX)?)
    else {
        return None;
    };
    let opens = frame.kind == Kind::Open && frame.body_crc == crc32c::crc32c(body);
    let before = if opens { None } else { around.previous };
    let prev_end = if opens { u64::from_le_bytes(*body.first_chunk()?) } else { base };
    // Behind a predecessor that went on it adjoins; behind an open it begins where the open says.
    let fits = match opens {
        true => frame.len as usize == FIRST_BYTES && prev_end <= base,
        false => {
            frame.kind != Kind::Open
                && before.is_none_or(|previous| previous.capacity_end() == base)
        }
    };
    let held = listed.file_bytes - HEADER_PAGE_BYTES;
    let needed = around.next.map_or(held, |next| next.prev_end.saturating_sub(base));
    let capacity = before
        .map_or(needed.max(SEGMENT_BYTES_MIN).next_power_of_two(), |previous| previous.capacity);
    let follows = |previous: &&SegmentHeader| {
        previous.base <= prev_end && prev_end <= previous.capacity_end()
    };
    let header = SegmentHeader {
        repaired: true, // perhaps it was before, too
        log_id: around.log_id,
        boot_id: before.map_or(BOOT_UNKNOWN, |previous| previous.boot_id),
        base,
        capacity,
        salt: around.next.map_or(seal.salt(), |next| next.prev_salt),
        prev_salt: match around.previous.filter(follows) {
            Some(previous) => previous.salt,
            None if prev_end == 0 => 0,
            None => SALT_UNKNOWN,
        },
        prev_end,
        durable: if opens { prev_end } else { 0 },
        created_ns: if opens { frame.time_ns } else { 0 },
    };
    let sound =
        fits && header.seal() == seal && SegmentHeader::decode(&header.encode()) == Ok(header);
    sound.then_some(header)
}
