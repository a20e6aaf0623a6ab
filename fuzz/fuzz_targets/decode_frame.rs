//! Any bytes as a segment's header, a frame's, an inner record's, a checkpoint: an answer without a panic, and what is
//! taken for whole is written again as the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| millstream::log::fuzzing::decode(bytes));
