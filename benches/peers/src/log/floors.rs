//! What no log can beat: the copy itself, and the disk itself.
//!
//! | floor | what |
//! |---|---|
//! | memcpy + CRC | CRC32C of the body and a copy of it into memory that was written to before |
//! | mapped store | a copy into a file's map: pages populated, or touched for the first time |
//! | fdatasync | a store to the same block of a file and a sync, alone |
#![allow(unsafe_code)]

use memmap2::{Advice, MmapMut};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

/// Where copies go, in turn.
pub struct Copies {
    to: Memory,
    at: usize,
    checked: bool,
    _dir: Option<TempDir>,
}

enum Memory {
    Anonymous(Vec<u8>),
    Mapped(MmapMut),
}

impl Copies {
    /// Into memory that was written to before, after a CRC.
    pub fn checked_in_memory(bytes: usize) -> Self {
        Self { to: Memory::Anonymous(vec![1; bytes]), at: 0, checked: true, _dir: None }
    }

    /// Into the map of a file whose blocks are written, without a CRC.
    pub fn mapped(dir: TempDir, bytes: usize, populated: bool) -> Self {
        let file = blocks(&dir, bytes);
        // SAFETY: the file is new, in a folder that this value owns, and nobody else opens it.
        let map = unsafe { MmapMut::map_mut(&file) };
        let map = map.expect("a file can be mapped");
        if populated {
            map.advise(Advice::PopulateWrite).expect("Linux 5.14 or newer");
        }
        Self { to: Memory::Mapped(map), at: 0, checked: false, _dir: Some(dir) }
    }

    /// One copy; behind the last one, or at the beginning again.
    pub fn copy(&mut self, body: &[u8]) {
        let to = match &mut self.to {
            Memory::Anonymous(bytes) => bytes.as_mut_slice(),
            Memory::Mapped(map) => map,
        };
        if self.at + body.len() > to.len() {
            self.at = 0;
        }
        if self.checked {
            black_box(crc32c::crc32c(body));
        }
        to[self.at..self.at + body.len()].copy_from_slice(body);
        self.at += body.len();
    }
}

impl Copies {
    /// CRCs over all of the memory, in pieces of that many bytes: how many pieces.
    pub fn check(&self, piece: usize) -> u64 {
        let bytes = match &self.to {
            Memory::Anonymous(bytes) => bytes.as_slice(),
            Memory::Mapped(map) => map,
        };
        let mut pieces = 0;
        for piece in bytes.chunks_exact(piece) {
            black_box(crc32c::crc32c(piece));
            pieces += 1;
        }
        pieces
    }
}

/// A file of that many bytes whose blocks are written and on the disk.
pub fn blocks(dir: &TempDir, bytes: usize) -> File {
    let path = dir.path().join("blocks");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path);
    let file = file.expect("the folder can be written to");
    let zeros = vec![0; 1 << 16];
    for at in (0..bytes).step_by(zeros.len()) {
        let piece = zeros.len().min(bytes - at);
        file.write_all_at(&zeros[..piece], at as u64).expect("room on the disk");
    }
    file.sync_all().expect("a sound disk");
    file
}
