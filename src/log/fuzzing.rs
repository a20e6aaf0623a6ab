//! What the fuzz target `decode_frame` may see of the codec; compiled for fuzzing alone.

use super::checkpoint;
use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, HeaderRead, SEGMENT_BYTES_MAX, SegmentHeader,
};

/// Reads `bytes` as everything that the log reads.
///
/// # Panics
///
/// If what is taken for whole is not written as the same bytes again: that is what is hunted for.
pub fn decode(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        let again = header.encode();
        // The reserved bytes are covered by the checksum, and not kept.
        assert_eq!(SegmentHeader::decode(&again), Ok(header));
        assert!(header.base < header.capacity_end());
    }
    checkpoint::fuzz(bytes);
    // The first eight bytes choose the place; the seal is that of salt 0, which the seeds have.
    let Some((place, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some(frame) = rest.first_chunk::<FRAME_HEADER_BYTES>() else { return };
    let at = (u64::from_le_bytes(*place) >> 2) & !31;
    let seal = SegmentHeader::seal_of(0);
    for room in [rest.len() as u64, SEGMENT_BYTES_MAX] {
        if let HeaderRead::Good(header) = FrameHeader::read(frame, seal, at, at + room) {
            assert_eq!(header.encode(seal, at), *frame);
            assert!(u64::from(header.len) <= room && header.span() < room + 32);
            assert!(header.durable(at).is_none_or(|durable| durable <= at));
        }
        if let Some(inner) = FrameHeader::read_inner(frame, room) {
            assert_eq!(inner.encode_inner(), *frame);
            assert!(inner.body_bytes() < room);
        }
    }
}
