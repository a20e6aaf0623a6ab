//! The bytes of `tests/golden/log-v1.hex`, against the codec in both directions and as a log on disk.

use super::format::{FrameHeader, HeaderRead, Kind, LAG_UNKNOWN, SegmentHeader};
use super::{Archive, Encoded, Position, Record, segment};
use std::collections::BTreeMap;

const GOLDEN: &str = include_str!("../../tests/golden/log-v1.hex");
const HEADER: SegmentHeader = SegmentHeader {
    repaired: false,
    log_id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
    boot_id: 0x8899_aabb_ccdd_eeff_0123_4567_89ab_cdef,
    base: 0x30000,
    capacity: 0x10000,
    salt: 0x1122_3344_5566_7788,
    prev_salt: 0x99aa_bbcc_ddee_ff00,
    prev_end: 0x2ffe0,
    durable: 0x2ff00,
    created_ns: 1_700_000_000_000_000_000,
};

/// By name: position and bytes.
fn golden() -> BTreeMap<&'static str, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some((title, at)) = line.split_once(' ').filter(|_| !line.starts_with(' ')) {
            name = title;
            found.insert(name, (at.parse().unwrap(), vec![]));
            continue;
        }
        let digits = line.trim().as_bytes();
        let bytes = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        found.get_mut(name).unwrap().1.extend(bytes);
    }
    found
}

fn header(kind: Kind, body: &[u8], durable_lag: u32, time_ns: u64) -> FrameHeader {
    FrameHeader {
        len: 32 + body.len() as u32,
        body_crc: crc32c::crc32c(body),
        kind,
        flags: 0,
        tag: 0,
        durable_lag,
        topic: 0,
        time_ns,
    }
}

const BATCH: [Record<'static>; 3] = [
    Record { tag: 1, topic: 2, time_ns: 3, parts: &[b"a"] },
    Record { tag: 4, topic: 5, time_ns: 6, parts: &[] },
    Record { tag: 7, topic: 8, time_ns: 9, parts: &[b"bbb", &[b'b'; 30]] },
];

/// Promise: format version 1 is these bytes.
#[test]
fn the_segment_header_is_the_golden_one() {
    let (_, bytes) = &golden()["segment-header"];
    assert_eq!(HEADER.encode().as_slice(), bytes);
    assert_eq!(SegmentHeader::decode(bytes), Ok(HEADER));
}

#[test]
fn each_kind_of_frame_is_the_golden_one() {
    let golden = golden();
    let mut open_body = vec![];
    for word in [0x2ffe0_u64, 1, 2] {
        open_body.extend(word.to_le_bytes());
    }
    let record = FrameHeader {
        tag: 0x0201,
        topic: 0x0605_0403,
        ..header(Kind::Record, b"millstream", 10, 0x0e0d_0c0b_0a09_0807)
    };
    let encoded = Encoded::new(&BATCH, 1 << 16).unwrap();
    let mut batch_body = vec![];
    encoded.body(&BATCH, |bytes| batch_body.extend(bytes));
    let batch = FrameHeader { durable_lag: LAG_UNKNOWN, ..encoded.header };
    let cases = [
        ("open", header(Kind::Open, &open_body, 8, 11), open_body),
        ("record", record, b"millstream".to_vec()),
        ("batch", batch, batch_body),
        ("pad", FrameHeader::pad(96, 0), vec![]),
        ("close", header(Kind::Close, b"", 0, 12), vec![]),
    ];
    for (name, header, body) in cases {
        let (at, expected) = &golden[name];
        let mut bytes = header.encode(HEADER.seal(), *at).to_vec();
        bytes.extend(body);
        assert_eq!(&bytes, expected, "{name}");
        let first = bytes.first_chunk().unwrap();
        let read = FrameHeader::read(first, HEADER.seal(), *at, HEADER.capacity_end());
        assert_eq!(read, HeaderRead::Good(header), "{name}");
    }
}

/// Promise: a log of those bytes opens and reads.
#[test]
fn a_log_of_the_golden_bytes_reads() {
    let dir = tempfile::tempdir().unwrap();
    let golden = golden();
    let mut file = vec![0; 8192];
    for (name, (at, bytes)) in &golden {
        let offset = if *name == "segment-header" { 0 } else { 4096 + at - HEADER.base } as usize;
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    std::fs::write(segment::path_of(dir.path(), HEADER.base), file).unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    assert!(archive.clean());
    assert_eq!((archive.id(), archive.start().as_u64()), (HEADER.log_id, HEADER.base));
    let mut reader = archive.reader(Position::from_u64(0).unwrap());
    let mut seen = vec![];
    while let Some(record) = reader.next().unwrap() {
        assert_eq!(archive.record(record.position()).unwrap().body(), record.body());
        seen.push((record.tag(), record.topic(), record.time_ns(), record.body().to_vec()));
    }
    let mut expected = vec![(0x0201, 0x0605_0403, 0x0e0d_0c0b_0a09_0807, b"millstream".to_vec())];
    for record in &BATCH {
        expected.push((record.tag, record.topic, record.time_ns, record.parts.concat()));
    }
    assert_eq!(seen, expected);
}

/// Promise: no bit of a header can change unseen; a length of zero reads as "not committed".
#[test]
fn every_bit_of_a_frame_header_is_covered() {
    let (at, bytes) = &golden()["record"];
    let whole: [u8; 32] = *bytes.first_chunk().unwrap();
    for bit in 0..256 {
        let mut torn = whole;
        torn[bit / 8] ^= 1 << (bit % 8);
        let read = FrameHeader::read(&torn, HEADER.seal(), *at, HEADER.capacity_end());
        assert_eq!(read, HeaderRead::Bad, "bit {bit}");
    }
    let elsewhere = FrameHeader::read(&whole, HEADER.seal(), at + 32, HEADER.capacity_end());
    assert_eq!(elsewhere, HeaderRead::Bad);
    assert_eq!(FrameHeader::read(&[0; 32], HEADER.seal(), *at, u64::MAX), HeaderRead::Zero);
}

#[test]
fn every_bit_of_a_segment_header_is_covered() {
    let whole = HEADER.encode();
    for bit in 0..whole.len() * 8 {
        let mut torn = whole;
        torn[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&torn).is_err(), "bit {bit}");
    }
}
