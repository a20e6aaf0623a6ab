//! Pages: written to beforehand, or driven out of memory.
//!
//! The log never touches a page before the first append to it does. That first store costs a fault, and its figure is
//! reported apart: [`populate`] takes the faults before the clock runs. It finds the log's own map in
//! `/proc/self/maps`, by file and position, and asks the kernel to fault its pages in for writing, which changes no byte.
//! A sync afterwards makes them clean and the next store faults again; so what is populated is used at once.
#![allow(unsafe_code)]

use rustix::fs::{fadvise, syncfs};
use rustix::mm::{Advice, madvise};
use std::ffi::c_void;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

/// A segment's header page lies before its positions.
const HEADER_PAGE: u64 = 4096;
const PAGE: u64 = 4096;

/// A map of a segment: which positions lie at which addresses.
struct Map {
    positions: Range<u64>,
    address: u64,
}

/// Faults in, for writing, the pages of these positions of the log in `dir`: how many bytes of them were mapped.
///
/// The log must be open, and stay open for the time of the call: that is what the borrow is for.
pub fn populate(_log: &millstream::log::Log, dir: &Path, positions: Range<u64>) -> u64 {
    let mut bytes = 0;
    for map in maps(dir) {
        let from = positions.start.max(map.positions.start);
        let to = positions.end.min(map.positions.end);
        if from >= to {
            continue;
        }
        let start = (map.address + from - map.positions.start) / PAGE * PAGE;
        let end = map.address + to - map.positions.start;
        let length = (end - start) as usize;
        // SAFETY: the log that the caller lends keeps this map of its own segment for as long as the call lasts; the
        // advice faults pages in and changes no byte.
        let advised = unsafe { madvise(start as *mut c_void, length, Advice::LinuxPopulateWrite) };
        advised.expect("Linux 5.14 or newer populates a map of a file that is there");
        bytes += to - from;
    }
    bytes
}

/// The maps of segments in `dir` of this process.
fn maps(dir: &Path) -> Vec<Map> {
    let text = fs::read_to_string("/proc/self/maps").expect("Linux lists a process's maps");
    let dir = fs::canonicalize(dir).expect("the log's folder is there");
    text.lines().filter_map(|line| map_of(line, &dir)).collect()
}

/// "start-end perms offset device inode path", a segment's path ending in its base in hexadecimal and ".seg".
fn map_of(line: &str, dir: &Path) -> Option<Map> {
    let path = Path::new(line.get(line.find('/')?..)?);
    let named = path.parent()? == dir && path.extension()? == "seg";
    let base = u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok().filter(|_| named)?;
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    // The map may begin at the header page or behind it.
    let header = HEADER_PAGE.saturating_sub(offset);
    let first = base + (offset + header - HEADER_PAGE);
    Some(Map { positions: first..first + (end - start - header), address: start + header })
}

/// Drives the files of `dir` out of the page cache, once they are on the disk.
pub fn chill(dir: &Path) {
    let files = fs::read_dir(dir).expect("the folder is there");
    for entry in files {
        let path = entry.expect("the folder can be listed").path();
        let Ok(file) = File::open(&path) else { continue };
        syncfs(&file).expect("a sound disk");
        fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a file takes advice");
    }
    // Inodes and directories too, where one may.
    let dropped = fs::write("/proc/sys/vm/drop_caches", "3");
    drop(dropped);
}

/// Anonymous memory of this process in use, in bytes: without any page of a file.
pub fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process's state");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    number.expect("Linux 4.5 or newer tells anonymous memory") * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_maps_is_read() {
        let line = "7f0000000000-7f0000011000 rw-s 00000000 fe:00 77   /d/0000000000020000.seg";
        let map = map_of(line, Path::new("/d")).expect("it is a segment's");
        assert_eq!(map.positions, 0x20000..0x30000);
        assert_eq!(map.address, 0x7f00_0000_1000);
        assert!(map_of(line, Path::new("/e")).is_none());
        let behind = "7f0000000000-7f0000010000 rw-s 00001000 fe:00 77   /d/0000000000020000.seg";
        let map = map_of(behind, Path::new("/d")).expect("it is a segment's");
        assert_eq!((map.positions, map.address), (0x20000..0x30000, 0x7f00_0000_0000));
    }
}
