//! A segment file taken apart by the tables of the format's page, and sealed again after a change: for tests that must know
//! which byte is what, and for hostile files whose checksums hold.
//!
//! It is a second reading of the format, on purpose: it shares no line with the library.

#![allow(dead_code, reason = "each test takes the part it needs")]

use crc32c::{crc32c, crc32c_append};
use std::ops::Range;

/// The header page: frames begin behind it.
pub const HEADER_PAGE: usize = 4096;
/// The used part of it; its checksum is the last four bytes.
pub const SEGMENT_HEADER: usize = 108;
/// A frame's header; frames begin at multiples of this.
pub const FRAME_HEADER: usize = 32;

pub const PAD: u8 = 1;
pub const CLOSE: u8 = 5;

/// Fields of a segment's header, by their place.
pub const VERSION: Range<usize> = 8..12;
pub const LOG_ID: Range<usize> = 16..32;
pub const BASE: Range<usize> = 48..56;
pub const CAPACITY: Range<usize> = 56..64;
pub const PREV_SALT: Range<usize> = 72..80;
pub const PREV_END: Range<usize> = 80..88;
pub const CREATED: Range<usize> = 96..104;

/// A frame in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes from the file's beginning.
    pub offset: usize,
    /// Header and body, not rounded.
    pub len: usize,
    pub kind: u8,
}

impl Frame {
    /// The bytes that a checksum covers.
    pub fn covered(&self) -> Range<usize> {
        let len = if self.kind == PAD { FRAME_HEADER } else { self.len };
        self.offset..self.offset + len
    }

    pub fn end(&self) -> usize {
        (self.offset + self.len).next_multiple_of(FRAME_HEADER)
    }
}

/// The frames of a segment file, up to the first place where none is.
pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = HEADER_PAGE;
    while at + FRAME_HEADER <= bytes.len() {
        let len = u32_at(bytes, at) as usize;
        if len < FRAME_HEADER {
            break;
        }
        let frame = Frame { offset: at, len, kind: bytes[at + 12] };
        frames.push(frame);
        at = frame.end();
    }
    frames
}

/// Writes `value` into a field and seals the segment's header.
pub fn set_field(bytes: &mut [u8], field: Range<usize>, value: u64) {
    bytes[field.clone()].copy_from_slice(&value.to_le_bytes()[..field.len()]);
    seal_header(bytes);
}

pub fn field(bytes: &[u8], field: Range<usize>) -> u64 {
    u64_at(bytes, field.start)
}

/// Makes the checksum of a segment's header right, if it has one.
pub fn seal_header(bytes: &mut [u8]) {
    if let Some(header) = bytes.first_chunk_mut::<SEGMENT_HEADER>() {
        let crc = crc32c(&header[..SEGMENT_HEADER - 4]);
        header[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Makes both checksums of the frame at `offset` right, whatever its fields say; the body is what lies in the file.
pub fn seal_frame(bytes: &mut [u8], offset: usize) {
    let Some(header_end) = offset.checked_add(FRAME_HEADER).filter(|end| *end <= bytes.len())
    else {
        return;
    };
    let len = u32_at(bytes, offset) as usize;
    let body = header_end..offset.saturating_add(len).clamp(header_end, bytes.len());
    let body_crc = if bytes[offset + 12] == PAD { 0 } else { crc32c(&bytes[body]) };
    bytes[offset + 8..offset + 12].copy_from_slice(&body_crc.to_le_bytes());
    let position = u64_at(bytes, BASE.start).wrapping_add((offset - HEADER_PAGE) as u64);
    let mut covered = [0; 36];
    covered[0..8].copy_from_slice(&position.to_le_bytes());
    covered[8..12].copy_from_slice(&bytes[offset..offset + 4]);
    covered[12..36].copy_from_slice(&bytes[offset + 8..header_end]);
    let crc = crc32c_append(crc32c(&bytes[64..72]), &covered);
    bytes[offset + 4..offset + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Seals the header and every frame that can be found: a hostile file whose checksums all hold.
pub fn seal_all(bytes: &mut [u8]) {
    if bytes.len() < HEADER_PAGE {
        return seal_header(bytes);
    }
    seal_header(bytes);
    for frame in frames(bytes) {
        seal_frame(bytes, frame.offset);
    }
}

/// Makes both checksums of a checkpoint right, whatever its fields say.
pub fn seal_checkpoint(bytes: &mut [u8]) {
    const CRC_AT: usize = 84;
    let body_crc = crc32c(&bytes[CRC_AT + 4..]);
    bytes[CRC_AT - 4..CRC_AT].copy_from_slice(&body_crc.to_le_bytes());
    let crc = crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the file reaches so far"))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the file reaches so far"))
}
