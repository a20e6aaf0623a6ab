//! The edge to the operating system: maps, and the calls that std does not have.
//!
//! A [`Map`] is addressed by position. It gives out a frame's length word, takes the bytes of a [`Claim`], and shows
//! bytes below a [`Seen`]: the two proofs come from `tail.rs` alone, so the callers need no `unsafe`.
//!
//! # Who may touch which byte
//!
//! | bytes | written by | read by |
//! |-------|------------|---------|
//! | of a claim, but its length word | the claim's holder, once | nobody, until it is committed |
//! | length words at frame starts | atomically, by the claim's holder | atomically, by helpers; plainly below `committed` |
//! | below `committed` | nobody any more | everybody |
//!
//! # Limits
//!
//! Another process that changes the files under a live map breaks this; the owner's lock keeps other millstreams out. A
//! file that is shrunk under its map kills the process (SIGBUS). So does a read error of the disk under a map: cold
//! bytes are populated first, which answers it as a value. A forked child that does not exec keeps the lock.

#![allow(unsafe_code)]

use super::format::HEADER_PAGE_BYTES;
use super::tail::{Claim, Seen};
use crate::sync::{AtomicU32, AtomicU64};
use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
#[cfg(test)]
use std::os::fd::FromRawFd;
use std::path::Path;

/// A segment file in memory.
#[derive(Debug)]
pub(crate) struct Map {
    raw: MmapRaw,
    /// Position of the byte behind the header page.
    base: u64,
}

/// Is a file or a map there to be written?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Map {
    /// Maps the first `bytes` of a segment file with that base.
    pub fn new(file: &File, base: u64, bytes: u64, access: Access) -> io::Result<Self> {
        let len = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut options = MmapOptions::new();
        options.len(len);
        let raw = match access {
            Access::Read => options.map_raw_read_only(file)?,
            Access::Write => options.map_raw(file)?,
        };
        Ok(Self { raw, base })
    }

    /// The place of `bytes` bytes from `at` in the map.
    fn offset(&self, at: u64, bytes: usize) -> usize {
        let from_base = at.checked_sub(self.base).expect("the position lies in this segment");
        let offset = (from_base + HEADER_PAGE_BYTES) as usize;
        assert!(bytes <= self.raw.len() && offset <= self.raw.len() - bytes, "outside of the map");
        offset
    }

    /// The length word of the frame at `at`, in a map made for writing.
    pub fn word(&self, at: u64) -> &AtomicU32 {
        let offset = self.offset(at, size_of::<u32>());
        assert!(offset.is_multiple_of(size_of::<u32>()), "frames are aligned");
        // SAFETY: `offset` has just checked that the word lies inside the map, which lives as long as `self`.
        let word = unsafe { self.raw.as_mut_ptr().add(offset) };
        // SAFETY: pages are aligned and so is the offset; the map outlives the reference. Frame starts are
        // written atomically only (the table above: `write` refuses a claim's first word).
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }

    /// Writes `bytes` at `at`, inside the claim and behind its length word.
    pub fn write(&self, at: u64, bytes: &[u8], claim: &Claim) {
        let inside =
            claim.at() + size_of::<u32>() as u64 <= at && at + bytes.len() as u64 <= claim.end();
        assert!(inside, "outside of the claim");
        let offset = self.offset(at, bytes.len());
        // SAFETY: `offset` has just checked that the bytes lie inside the map.
        let to = unsafe { self.raw.as_mut_ptr().add(offset) };
        // SAFETY: `to` is inside the map, which is private to this module, so `bytes` cannot overlap the claim's
        // bytes unless they are a committed frame's; a claim's are not. `Tail::reserve` gave them to this holder
        // alone, and no reader comes before the commit.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// `bytes` bytes from `at`, below what was seen committed.
    pub fn read(&self, at: u64, bytes: usize, seen: Seen) -> &[u8] {
        assert!(at + bytes as u64 <= seen.end(), "not committed yet");
        let offset = self.offset(at, bytes);
        // SAFETY: `offset` has just checked that the bytes lie inside the map.
        let from = unsafe { self.raw.as_ptr().add(offset) };
        // SAFETY: they are inside the map, which outlives `self`; and below `committed`, which `Seen` proves, so
        // by [L1] and [L3] they are written, and nobody writes them again.
        unsafe { std::slice::from_raw_parts(from, bytes) }
    }

    /// Takes the whole map out of the page tables; its bytes stay where they are, in the page cache, and are mapped again
    /// when they are looked at. A kernel that will not do it leaves all as it is.
    pub fn unload(&self) {
        // SAFETY: the map is shared and of a file (`new` makes no other), so the kernel hands the pages' contents to the
        // file's cache, from which the next access has them back: no byte changes under anybody's reference.
        let _ = unsafe { self.raw.unchecked_advise(UncheckedAdvice::DontNeed) };
    }

    /// Brings `bytes` bytes from `at` into memory, so that a read error is a value. Kernels before 5.14 cannot.
    pub fn populate(&self, at: u64, bytes: usize) -> io::Result<()> {
        self.advise(Advice::PopulateRead, at, bytes)
    }

    /// Makes the pages of `bytes` bytes from `at` ready to be stored to, which makes them dirty. Kernels before 5.14 cannot.
    pub fn populate_write(&self, at: u64, bytes: usize) -> io::Result<()> {
        self.advise(Advice::PopulateWrite, at, bytes)
    }

    fn advise(&self, advice: Advice, at: u64, bytes: usize) -> io::Result<()> {
        let page = HEADER_PAGE_BYTES as usize;
        let offset = self.offset(at, bytes);
        let start = offset - offset % page;
        match self.raw.advise_range(advice, start, offset + bytes - start) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            other => other,
        }
    }
}

/// Words of a small file that whoever opens it next finds as they were left, also where this process dies.
#[derive(Debug)]
pub(crate) struct Page {
    raw: MmapRaw,
    words: usize,
}

impl Page {
    /// Maps the first `words` words of a file, which has them.
    pub fn new(file: &File, words: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(words * size_of::<u64>()).map_raw(file)?;
        Ok(Self { raw, words })
    }

    /// The word with that index.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words, "outside of the page");
        // SAFETY: the assertion above says that the word lies inside the map, which `new` made that long.
        let word = unsafe { self.raw.as_mut_ptr().cast::<u64>().add(index) };
        // SAFETY: maps begin at a page, so the word is aligned; the map outlives the reference; and all access to
        // the file goes through here, by atomics, because the owner's lock keeps other millstreams out.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

/// The kernel's number for the file system that `dir` lies on.
pub(crate) fn file_system_magic(dir: &Path) -> io::Result<u32> {
    let opened = File::open(dir)?;
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    loop {
        // SAFETY: `opened` keeps the descriptor valid for the call; `answer` is ours and has the type that it fills.
        if unsafe { libc::fstatfs(opened.as_raw_fd(), answer.as_mut_ptr()) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: the kernel filled it, as it answered 0.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_type as u32) // the number has 32 bits; the field's width and sign are the architecture's
}

/// Gives a range of a file its blocks.
pub(crate) fn allocate(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let (Ok(offset), Ok(bytes)) = (libc::off_t::try_from(offset), libc::off_t::try_from(bytes))
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    loop {
        // SAFETY: `file` is open, so its descriptor is valid for the call; the call touches no memory of ours.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, bytes) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // The file system has no such call: the zeros that follow allocate.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(()),
            _ => return Err(error),
        }
    }
}

/// A file in memory, with no name: a real one to map, read and write.
#[cfg(test)]
pub(crate) fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a literal with its zero; the call touches no other memory of ours.
    let descriptor = unsafe { libc::memfd_create(c"millstream".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just given this descriptor, to us alone.
    let owned = unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) };
    Ok(owned.into())
}

/// A file past the process's limit would not answer an error but raise SIGXFSZ, which kills.
pub(crate) fn check_file_limit(bytes: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours and has the type that the call fills.
    let answered = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if answered && limit.rlim_cur < bytes {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(())
}
