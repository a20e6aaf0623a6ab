//! A directory that goes when it is dropped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// How many names are tried.
const NAMES_MAX: u32 = 1000;

/// A directory of its own, removed with all that is in it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        for number in 0..NAMES_MAX {
            let path = folder.join(format!("millstream-cost-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is there to be told; it is in a directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
