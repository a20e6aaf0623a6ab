//! `Storage`: all that the log asks of a file system, and [`DiskStorage`], the real one.
//!
//! Everything that makes something durable, or names it, goes through here; so a simulation behind the same seam sees
//! each step whose order matters. Only two things do not: stores through a map, and reads from one. A simulation
//! therefore gives real files too (it only keeps its own account of what of them is durable).
//!
//! ```text
//!   a file that must be there whole or not at all: temporary name, bytes, sync, rename, directory synced    `publish`
//!   a file that must be gone:                      remove, directory synced                                 `remove`
//! ```
//!
//! # Limits
//!
//! The owner's lock is `flock` on the file `lock`; it holds the owner's process id for the message to the second one.

use super::error::{Action, LogError, NotAFile, StorageError};
#[cfg(test)]
use super::fault::Fault;
use super::filesystem::FileSystem;
use super::format::{HEADER_PAGE_BYTES, SegmentHeader};
use super::storage::{self, Access};
use crate::sync::Arc;
use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that the owner locks.
const LOCK: &str = "lock";
/// Zeros are written in pieces of this: larger ones make the page cache use large folios, and then each small sync
/// writes a whole one.
const ZERO_PIECE_BYTES: usize = 16 << 10;

/// An open file.
pub(crate) trait Stored: Debug + Send + Sync {
    /// To be mapped.
    fn file(&self) -> &File;

    /// How long it is.
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    /// Fills `into` from `offset` on.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file().read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file().write_all_at(bytes, offset)
    }

    /// Gives a range its blocks.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        storage::allocate(self.file(), offset, bytes)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file().set_len(bytes)
    }

    /// Makes its bytes durable.
    fn sync_data(&self) -> io::Result<()> {
        self.file().sync_data()
    }

    /// Makes its bytes and its length durable.
    fn sync_all(&self) -> io::Result<()> {
        self.file().sync_all()
    }
}

impl Stored for File {
    fn file(&self) -> &File {
        self
    }
}

/// A file system.
pub(crate) trait Storage: Debug + Send + Sync {
    /// The kernel's id of this boot: another one in a segment means that the machine went down since.
    fn boot_id(&self) -> Result<u128, StorageError>;
    /// Makes a directory that lasts, unless it is there.
    fn make_dir(&self, dir: &Path) -> Result<(), LogError>;
    /// What the directory lies on.
    fn file_system(&self, dir: &Path) -> Result<FileSystem, StorageError> {
        let magic = storage::file_system_magic(dir).map_err(StorageError::on(Action::Open, dir))?;
        Ok(FileSystem::of_magic(magic))
    }
    /// Takes the directory for an owner.
    fn lock(&self, dir: &Path) -> Result<DirectoryLock, LogError>;
    /// All names in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn Stored>>;
    /// Makes a file that only its owner may read, or empties it.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Stored>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the file at `from` the name `to` as well.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Is that fault planted in what the log does with this file system?
    #[cfg(test)]
    fn planted(&self, _fault: Fault) -> bool {
        false
    }
}

/// The machine's own file systems.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskStorage;

impl Storage for DiskStorage {
    fn boot_id(&self) -> Result<u128, StorageError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = std::fs::read_to_string(path).map_err(StorageError::on(Action::Read, path))?;
        let digits: String = text.trim().chars().filter(|sign| *sign != '-').collect();
        u128::from_str_radix(&digits, 16)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
            .map_err(StorageError::on(Action::Read, path))
    }

    fn make_dir(&self, dir: &Path) -> Result<(), LogError> {
        match std::fs::metadata(dir) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(LogError::NotADirectory { path: dir.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(LogError::NotADirectory { path: dir.to_owned() });
            }
            Err(error) => return Err(StorageError::on(Action::Open, dir)(error).into()),
        }
        std::fs::create_dir_all(dir).map_err(StorageError::on(Action::Create, dir))?;
        // The name of the directory itself has to survive too. A relative path of one part has "" for a parent.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(sync_dir(self, parent.unwrap_or(Path::new(".")))?)
    }

    fn lock(&self, dir: &Path) -> Result<DirectoryLock, LogError> {
        let path = dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(StorageError::on(Action::Create, &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LogError::Locked { dir: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StorageError::on(Action::Lock, &path)(error).into());
            }
        }
        let mut lock = DirectoryLock(file);
        let file = &mut lock.0;
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(StorageError::on(Action::Write, &path))?;
        Ok(lock)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn Stored>> {
        Ok(Arc::new(open_regular(path, access)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn Stored>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir).and_then(|opened| opened.sync_all())
    }
}

/// Opens what must be a file of the directory's own: a link could lead to anybody's, and opening a pipe waits for its other
/// end.
fn open_regular(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let is_link = |error: &io::Error| error.raw_os_error() == Some(libc::ELOOP);
    let file = match options.open(path) {
        Err(error) if is_link(&error) => return Err(NotAFile.into()),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(NotAFile.into()) }
}

/// A lock on the directory. Dropping it lets go even where a child that was just forked still has the descriptor: a
/// lock of this kind would else outlive its owner until that child has started its program.
#[derive(Debug)]
pub(crate) struct DirectoryLock(File);

#[cfg(test)]
impl DirectoryLock {
    /// A lock on a file of one's own, which nobody else can want.
    pub fn on(file: File) -> Self {
        Self(file)
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the descriptor follows, and is all that can be done if this fails.
        let _ = self.0.unlock();
    }
}

/// Keeps owners out while somebody looks. A directory in which nobody ever took the lock has no owner.
pub(crate) fn lock_shared(dir: &Path) -> Result<Option<DirectoryLock>, LogError> {
    let path = dir.join(LOCK);
    let mut file = match open_regular(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::on(Action::Open, &path)(error).into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(DirectoryLock(file))),
        Err(TryLockError::WouldBlock) => {
            Err(LogError::Locked { dir: dir.to_owned(), pid: read_pid(&mut file) })
        }
        Err(TryLockError::Error(error)) => Err(StorageError::on(Action::Lock, &path)(error).into()),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The temporary name of a file that is being made.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Makes a file under its final name, whole or not at all: `fill` writes it, then it is synced, renamed, and the
/// directory synced.
pub(crate) fn publish(
    storage: &dyn Storage,
    dir: &Path,
    path: &Path,
    fill: impl FnOnce(&dyn Stored, &Path) -> Result<(), StorageError>,
) -> Result<Arc<dyn Stored>, StorageError> {
    let temporary = temporary(path);
    let file = storage.create(&temporary).map_err(StorageError::on(Action::Create, &temporary))?;
    let filled = fill(&*file, &temporary)
        .and_then(|()| file.sync_all().map_err(StorageError::on(Action::Sync, &temporary)));
    if let Err(error) = filled {
        // It may be large, and on a disk that is full. The failure is what counts; an open removes what stays.
        let _ = storage.remove(&temporary);
        return Err(error);
    }
    storage.rename(&temporary, path).map_err(StorageError::on(Action::Rename, path))?;
    sync_dir(storage, dir)?;
    Ok(file)
}

/// Copied at a time.
const COPY_PIECE_BYTES: usize = 256 << 10;

/// Fills `to`, which is new, with the first `bytes` of `from`. Pieces of nothing but zeros stay holes.
pub(crate) fn copy(
    from: (&dyn Stored, &Path),
    to: (&dyn Stored, &Path),
    bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StorageError> {
    storage::check_file_limit(bytes)
        .and_then(|()| to.0.set_bytes(bytes))
        .map_err(StorageError::on(Action::Allocate, to.1))?;
    let mut buffer = vec![0; COPY_PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = (bytes - at).min(COPY_PIECE_BYTES as u64) as usize;
        let piece = &mut buffer[..piece];
        from.0.read_at(piece, at).map_err(StorageError::on(Action::Read, from.1))?;
        if piece.iter().any(|byte| *byte != 0) {
            to.0.write_at(piece, at).map_err(StorageError::on(Action::Write, to.1))?;
        }
        at += piece.len() as u64;
        progress(piece.len() as u64);
    }
    Ok(())
}

/// Makes a segment file. The space behind the header is a hole; see [`prepare`].
pub(crate) fn create_segment(
    storage: &dyn Storage,
    dir: &Path,
    path: &Path,
    header: &SegmentHeader,
) -> Result<Arc<dyn Stored>, StorageError> {
    let bytes = HEADER_PAGE_BYTES + header.capacity;
    publish(storage, dir, path, |file, temporary| {
        storage::check_file_limit(bytes)
            .and_then(|()| file.allocate(0, HEADER_PAGE_BYTES))
            .and_then(|()| file.set_bytes(bytes))
            .map_err(StorageError::on(Action::Allocate, temporary))?;
        file.write_at(&header.encode(), 0).map_err(StorageError::on(Action::Write, temporary))
    })
}

/// Gives `bytes` bytes from `offset` their blocks and fills them with zeros, so that a store through the map can
/// neither miss space (SIGBUS) nor wait for an extent to be converted.
pub(crate) fn prepare(file: &dyn Stored, offset: u64, bytes: u64) -> io::Result<()> {
    const ZEROS: [u8; ZERO_PIECE_BYTES] = [0; ZERO_PIECE_BYTES];
    file.allocate(offset, bytes)?;
    let mut done = 0;
    while done < bytes {
        let piece = (bytes - done).min(ZERO_PIECE_BYTES as u64);
        file.write_at(&ZEROS[..piece as usize], offset + done)?;
        done += piece;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<(), StorageError> {
    storage.sync_dir(dir).map_err(StorageError::on(Action::Sync, dir))
}

/// Removes a file and makes that durable.
pub(crate) fn remove(storage: &dyn Storage, dir: &Path, path: &Path) -> Result<(), StorageError> {
    storage.remove(path).map_err(StorageError::on(Action::Remove, path))?;
    sync_dir(storage, dir)
}
