//! `SimStorage`: a file system of which every power cut can be tried.
//!
//! Files are real (in memory, without a name), so maps, `pread` and `pwrite` are the kernel's own: they are the page
//! cache. Beside them stands the account of what the disk has:
//!
//! | of | durable by | until then a cut leaves |
//! |----|------------|-------------------------|
//! | a sector of 512 bytes | a sync of its file | the durable version, any version seen since, or any mix of them by lines of 64 bytes, now and then by words of 4 |
//! | a length | `sync_all`; a longer one by `sync_data` too | the durable one, or any since |
//! | a name made, renamed or removed | `sync_dir` | each of these there or not; after a rename the old name, the new one, or both |
//!
//! Versions are seen at each call of the seam and at [`SimStorage::observe`], by comparing: stores through a map ask
//! nobody. With a **trail** on, the state before each call is kept as a [`Moment`], from which any number of cuts are made
//! afterwards; so a script runs once, and is cut everywhere.
//!
//! # Faults
//!
//! | fault | what it is |
//! |-------|------------|
//! | [`SimStorage::fail_sync`] | EIO, and what was dirty counts as clean: it is not written by later syncs unless it is stored again |
//! | [`SimStorage::fail_allocate`] | ENOSPC |
//! | [`SimStorage::fail_reads`] | EIO for a range of a file |
//! | [`Cut::torn`] | no powersafe overwrite: a sector that was being written again may hold anything |
//! | [`Lie`] | the disk leaves a step out, which is what a log that left it out would see |
//!
//! # Limits
//!
//! A file is asked for by its whole path; directories are names only, and there from the beginning. Blocks are not
//! accounted for: a store into a hole always finds room. One owner at a time: the lock is not simulated. What the
//! kernel drops from its cache after a failed sync stays in ours.

mod account;

use super::disk::{DirectoryLock, Storage, Stored};
use super::error::{Action, LogError, StorageError};
use super::fault::Fault;
use super::filesystem::FileSystem;
use super::storage::{self, Access};
use super::{Log, LogOptions};
use crate::sync::{Arc, Mutex, MutexGuard};
use account::{Account, Choice, Inode, Naming};
pub(crate) use account::{Cut, Draw};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What the disk calls itself: one whose syncs are real.
const EXT4_MAGIC: u32 = 0xef53;

/// A step that the disk leaves out, with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lie {
    /// `sync_data` does nothing.
    DataSync,
    /// `sync_all` does nothing.
    WholeSync,
    /// `sync_dir` does nothing.
    DirSync,
    /// A write of what is there already makes nothing dirty.
    Rewrite,
    /// `sync_all` of a checkpoint does nothing.
    CheckpointSync,
    /// `sync_dir` leaves a checkpoint's name out.
    CheckpointName,
}

/// The disk at one moment, with all that may become of it.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    account: Account,
    boot_id: u128,
    /// What [`SimStorage::promise`] had said before.
    pub promised: Promise,
    /// The call that was about to be made.
    pub before: String,
}

/// What must be there after a cut, in the test's own numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    pub records: usize,
    pub checkpoints: usize,
}

/// A disk after a cut.
#[derive(Debug)]
pub(crate) struct Crashed {
    pub storage: SimStorage,
    /// Sectors that hold something that nobody wrote.
    pub torn: BTreeSet<(PathBuf, usize)>,
}

#[derive(Debug)]
struct Disk {
    boot_id: u128,
    files: Vec<Arc<File>>,
    account: Account,
    trail: Option<Vec<Moment>>,
    /// Has anything changed since the last moment?
    changed: bool,
    promised: Promise,
    sync_fails_in: Option<u64>,
    allocate_fails_in: Option<u64>,
    unreadable: Option<(PathBuf, Range<u64>)>,
    lies: BTreeSet<Lie>,
    planted: u32,
    buffer: Vec<u8>,
}

/// A file system whose power can be cut.
#[derive(Debug, Clone)]
pub(crate) struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

/// An open file of one.
#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    number: usize,
    file: Arc<File>,
}

/// Takes one from a counter: true when that was the last.
fn runs_out(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(0 | 1) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Moment {
    /// How many things may survive a cut or not.
    pub fn open_things(&self) -> usize {
        let files = self.account.reachable();
        let inside = files.iter().map(|&number| self.account.inodes[number].open_things());
        self.account.namings.len() + inside.sum::<usize>()
    }

    /// `count` cuts or so: all subsets of what is open where those are not more, and mixes drawn from `draw`.
    pub fn cuts(&self, count: usize, draw: &mut Draw) -> Vec<Cut> {
        let things = self.open_things();
        let listed = if things < 10 && 1 << things <= count { 1_u64 << things } else { 0 };
        let subsets = (0..listed).map(|bits| Cut { seed: 0, subset: Some(bits), torn: false });
        let mixes = if things == 0 { 0 } else { count - listed as usize };
        let mixed = (0..mixes).map(|_| Cut { seed: draw.next(), subset: None, torn: false });
        subsets.chain(mixed).collect()
    }

    /// The power goes now.
    pub fn cut(&self, cut: &Cut) -> Crashed {
        let mut choice = Choice::new(cut);
        let mut names = self.account.durable_names.clone();
        for naming in &self.account.namings {
            let needed = naming.only_with.as_ref();
            let may = needed.is_none_or(|(path, number)| names.get(path) == Some(number));
            match naming.to {
                _ if !(choice.survives() && may) => {}
                Some(number) => drop(names.insert(naming.path.clone(), number)),
                None => drop(names.remove(&naming.path)),
            }
        }
        let files = self.account.reachable().into_iter();
        let left: BTreeMap<_, _> =
            files.map(|number| (number, self.account.inodes[number].after(&mut choice))).collect();
        let mut torn = BTreeSet::new();
        let mut account = Account::default();
        let mut numbers = BTreeMap::new();
        for (path, number) in names {
            let (bytes, sectors) = &left[&number];
            torn.extend(sectors.iter().map(|sector| (path.clone(), *sector)));
            let new = *numbers.entry(number).or_insert_with(|| {
                account.inodes.push(Inode::at_rest(bytes.clone()));
                account.inodes.len() - 1
            });
            account.names.insert(path, new);
        }
        account.durable_names = account.names.clone();
        Crashed { storage: SimStorage::with(account, self.boot_id + 1), torn }
    }

    /// The process dies now, and the machine goes on.
    pub fn death(&self) -> SimStorage {
        SimStorage::with(self.account.clone(), self.boot_id)
    }
}

impl Disk {
    /// Notes what the files hold now.
    fn look(&mut self) {
        self.account.reachable().into_iter().for_each(|number| self.look_at(number));
    }

    fn look_at(&mut self, number: usize) {
        let file = &self.files[number];
        let len = file.metadata().expect("a file in memory has a length").len() as usize;
        let mut now = std::mem::take(&mut self.buffer);
        now.resize(len, 0);
        file.read_exact_at(&mut now, 0).expect("a file in memory can be read");
        self.changed |= self.account.inodes[number].see(&now);
        self.buffer = now;
    }

    /// A call is about to be made. Versions in between matter only to a trail.
    fn before(&mut self, call: &str, path: &Path) {
        if self.trail.is_none() {
            return;
        }
        self.look();
        let (changed, promised, boot_id) = (self.changed, self.promised, self.boot_id);
        let Some(trail) = &mut self.trail else { return };
        if changed || trail.is_empty() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let before = format!("{call} {name}");
            trail.push(Moment { account: self.account.clone(), boot_id, promised, before });
            self.changed = false;
        }
    }

    fn path_of(&self, number: usize) -> PathBuf {
        let named = self.account.names.iter().find(|(_, to)| **to == number);
        named.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    fn number_of(&self, path: &Path) -> io::Result<usize> {
        self.account.names.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_fails(&mut self) -> io::Result<()> {
        let fails = runs_out(&mut self.sync_fails_in);
        if fails { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn sync(&mut self, number: usize, lie: Lie) -> io::Result<()> {
        let what = if lie == Lie::DataSync { "sync data of" } else { "sync" };
        let path = self.path_of(number);
        self.before(what, &path);
        self.look_at(number);
        self.changed = true;
        let failed = self.sync_fails();
        let is_checkpoint = path.to_string_lossy().contains(".ckpt");
        let told =
            self.lies.contains(&lie) || (is_checkpoint && self.lies.contains(&Lie::CheckpointSync));
        let inode = &mut self.account.inodes[number];
        match failed {
            Ok(()) if told => {}
            Ok(()) => inode.sync(lie == Lie::WholeSync),
            Err(_) => inode.lose(),
        }
        failed
    }
}

impl SimStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with(Account::default(), 1)
    }

    fn with(account: Account, boot_id: u128) -> Self {
        let file = |inode: &Inode| {
            let file = storage::memory_file().expect("there is memory for a file");
            file.write_all_at(&inode.cached, 0).expect("a file in memory can be written");
            Arc::new(file)
        };
        let files = account.inodes.iter().map(file).collect();
        Self {
            disk: Arc::new(Mutex::new(Disk {
                boot_id,
                files,
                account,
                trail: None,
                changed: true,
                promised: Promise::default(),
                sync_fails_in: None,
                allocate_fails_in: None,
                unreadable: None,
                lies: BTreeSet::new(),
                planted: 0,
                buffer: Vec::new(),
            })),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock()
    }

    /// A log on this disk.
    pub fn open_log(&self, dir: &Path, options: LogOptions) -> Result<Log, LogError> {
        super::open::open(Arc::new(self.clone()), dir, options)
    }

    /// Notes what is stored now, and keeps the moment in the trail.
    pub fn observe(&self) {
        self.disk().before("observe", Path::new(""));
    }

    /// The disk now.
    pub fn moment(&self) -> Moment {
        let mut disk = self.disk();
        disk.look();
        let (account, boot_id) = (disk.account.clone(), disk.boot_id);
        Moment { account, boot_id, promised: disk.promised, before: "now".to_owned() }
    }

    /// From now on moments are kept.
    pub fn start_trail(&self) {
        self.disk().trail = Some(Vec::new());
    }

    /// The moments kept; no more are.
    pub fn take_trail(&self) -> Vec<Moment> {
        self.disk().trail.take().unwrap_or_default()
    }

    /// The process dies: the disk for the next one, with the trail so far. What this one still does, nobody sees.
    pub fn die(&self) -> Self {
        let next = self.moment().death();
        let mut disk = self.disk();
        {
            let mut next = next.disk();
            next.trail = disk.trail.take();
            next.promised = disk.promised;
            next.lies = disk.lies.clone();
            next.planted = disk.planted;
        }
        next
    }

    /// From here on a cut must not lose that: it goes into later moments.
    pub fn promise(&self, change: impl FnOnce(&mut Promise)) {
        change(&mut self.disk().promised);
    }

    /// The `n`th sync from now on fails.
    pub fn fail_sync(&self, n: u64) {
        self.disk().sync_fails_in = Some(n);
    }

    /// The `n`th allocation from now on finds no space.
    pub fn fail_allocate(&self, n: u64) {
        self.disk().allocate_fails_in = Some(n);
    }

    /// Reads from that range of the file fail.
    pub fn fail_reads(&self, path: &Path, range: Range<u64>) {
        self.disk().unreadable = Some((path.to_owned(), range));
    }

    /// From now on the disk leaves that step out.
    pub fn lie(&self, lie: Lie) {
        self.disk().lies.insert(lie);
    }

    /// Plants a fault in what opens do with this disk.
    pub fn plant(&self, fault: Fault) {
        self.disk().planted |= fault as u32;
    }

    /// Changes a byte of the file, on the disk too.
    pub fn spoil(&self, path: &Path, offset: u64) {
        let mut disk = self.disk();
        let number = disk.number_of(path).expect("the file is there");
        let file = &disk.files[number];
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).expect("the byte is there");
        file.write_all_at(&[!byte[0]], offset).expect("a file in memory can be written");
        disk.look_at(number);
        disk.account.inodes[number].sync(true);
    }

    /// Spoils the newest checkpoint, if there are two and it has a body.
    pub fn spoil_newest_checkpoint(&self, dir: &Path) -> bool {
        let is_checkpoint = |path: &PathBuf| path.extension().is_some_and(|it| it == "ckpt");
        let names = self.list(dir).expect("the directory is there");
        let mut checkpoints: Vec<_> = names.into_iter().filter(is_checkpoint).collect();
        checkpoints.sort();
        let [_, newest] = checkpoints.as_slice() else { return false };
        let bytes = self.open(newest, Access::Read).and_then(|file| file.bytes());
        let is_whole = bytes.is_ok_and(|bytes| bytes > 90);
        if is_whole {
            self.spoil(newest, 90);
        }
        is_whole
    }
}

impl Storage for SimStorage {
    fn boot_id(&self) -> Result<u128, StorageError> {
        Ok(self.disk().boot_id)
    }

    fn file_system(&self, _dir: &Path) -> Result<FileSystem, StorageError> {
        Ok(FileSystem::of_magic(EXT4_MAGIC))
    }

    fn make_dir(&self, _dir: &Path) -> Result<(), LogError> {
        Ok(())
    }

    fn lock(&self, dir: &Path) -> Result<DirectoryLock, LogError> {
        let file = storage::memory_file().map_err(StorageError::on(Action::Lock, dir))?;
        Ok(DirectoryLock::on(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let disk = self.disk();
        let names = disk.account.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.cloned().collect())
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn Stored>> {
        let disk = self.disk();
        let number = disk.number_of(path)?;
        let file = disk.files[number].clone();
        Ok(Arc::new(SimFile { disk: self.disk.clone(), number, file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn Stored>> {
        let mut disk = self.disk();
        disk.before("create", path);
        disk.changed = true;
        let number = match disk.number_of(path) {
            Ok(number) => {
                disk.files[number].set_len(0)?;
                number
            }
            Err(_) => {
                disk.files.push(Arc::new(storage::memory_file()?));
                disk.account.inodes.push(Inode::default());
                let number = disk.files.len() - 1;
                disk.account.name(path, Some(number), None);
                number
            }
        };
        let file = disk.files[number].clone();
        Ok(Arc::new(SimFile { disk: self.disk.clone(), number, file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.before("rename to", to);
        disk.changed = true;
        let number = disk.number_of(from)?;
        disk.account.name(to, Some(number), None);
        disk.account.name(from, None, Some((to.to_owned(), number)));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.before("link to", to);
        disk.changed = true;
        let number = disk.number_of(from)?;
        disk.account.name(to, Some(number), None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.before("remove", path);
        disk.changed = true;
        disk.number_of(path)?;
        disk.account.name(path, None, None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.before("sync directory", dir);
        disk.changed = true;
        disk.sync_fails()?;
        if disk.lies.contains(&Lie::DirSync) {
            return Ok(());
        }
        let leaves_out = disk.lies.contains(&Lie::CheckpointName);
        let account = &mut disk.account;
        let here = |naming: &Naming| {
            let is_checkpoint = naming.path.extension().is_some_and(|it| it == "ckpt");
            naming.path.parent() == Some(dir) && !(leaves_out && is_checkpoint)
        };
        for naming in account.namings.iter().filter(|naming| here(naming)) {
            match naming.to {
                Some(number) => account.durable_names.insert(naming.path.clone(), number),
                None => account.durable_names.remove(&naming.path),
            };
        }
        account.namings.retain(|naming| !here(naming));
        Ok(())
    }

    fn planted(&self, fault: Fault) -> bool {
        self.disk().planted & fault as u32 != 0
    }
}

impl Stored for SimFile {
    fn file(&self) -> &File {
        &self.file
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.disk.lock();
        let path = disk.path_of(self.number);
        let hit = disk.unreadable.as_ref().is_some_and(|(spoilt, range)| {
            *spoilt == path && offset < range.end && range.start < offset + into.len() as u64
        });
        if hit {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let path = disk.path_of(self.number);
        disk.before("write to", &path);
        self.file.write_all_at(bytes, offset)?;
        disk.look_at(self.number);
        if !disk.lies.contains(&Lie::Rewrite) {
            let from = offset as usize;
            disk.account.inodes[self.number].soil(from..from + bytes.len());
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let path = disk.path_of(self.number);
        disk.before("allocate in", &path);
        if runs_out(&mut disk.allocate_fails_in) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        storage::allocate(&self.file, offset, bytes)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let path = disk.path_of(self.number);
        disk.before("set the length of", &path);
        self.file.set_len(bytes)?;
        disk.look_at(self.number);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync(self.number, Lie::DataSync)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.lock().sync(self.number, Lie::WholeSync)
    }
}

#[cfg(test)]
mod tests {
    use super::account::SECTOR_BYTES;
    use super::*;

    const DIR: &str = "/log";

    fn path(name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    /// What may be in the file after a cut, where it is there: the two bytes.
    fn outcomes(moment: &Moment, name: &str) -> BTreeSet<Option<Vec<u8>>> {
        let cuts = moment.cuts(64, &mut Draw(1));
        let read = |cut: &Cut| {
            let crashed = moment.cut(cut).storage;
            let file = crashed.open(&path(name), Access::Read).ok()?;
            let mut bytes = vec![0; file.bytes().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            Some(bytes)
        };
        cuts.iter().map(read).collect()
    }

    fn some(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }

    /// Promise: before any sync a new file may be there or not, long or short, full or empty; after its sync it is whole
    /// where it is there; after the directory's it is there.
    #[test]
    fn bytes_lengths_and_names_are_durable_by_their_own_syncs_only() {
        let disk = SimStorage::new();
        let file = disk.create(&path("a")).unwrap();
        file.write_at(b"ab", 0).unwrap();
        let possible = [None, some(b""), some(b"\0\0"), some(b"ab")];
        assert_eq!(outcomes(&disk.moment(), "a"), BTreeSet::from(possible));
        file.sync_data().unwrap();
        assert_eq!(outcomes(&disk.moment(), "a"), BTreeSet::from([None, some(b"ab")]));
        disk.sync_dir(Path::new(DIR)).unwrap();
        assert_eq!(disk.moment().open_things(), 0);
        assert_eq!(outcomes(&disk.moment(), "a"), BTreeSet::from([some(b"ab")]));
    }

    /// Promise: a sync covers what was stored through a map, unasked.
    #[test]
    fn a_sync_covers_stores_that_the_seam_did_not_see() {
        let disk = SimStorage::new();
        let file = disk.create(&path("a")).unwrap();
        file.write_at(b"ab", 0).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.file().write_all_at(b"cd", 0).unwrap();
        file.sync_all().unwrap();
        file.file().write_all_at(b"ef", 0).unwrap();
        let left = outcomes(&disk.moment(), "a");
        assert_eq!(left, BTreeSet::from([some(b"cd"), some(b"ef")]));
    }

    /// Promise: after a failed sync the next one does not write what was dirty, unless it is written again.
    #[test]
    fn a_failed_sync_marks_clean_what_it_did_not_write() {
        for again in [false, true] {
            let disk = SimStorage::new();
            let file = disk.create(&path("a")).unwrap();
            file.write_at(b"ab", 0).unwrap();
            file.sync_all().unwrap();
            disk.sync_dir(Path::new(DIR)).unwrap();
            file.write_at(b"cd", 0).unwrap();
            disk.fail_sync(1);
            assert!(file.sync_data().is_err());
            if again {
                file.write_at(b"cd", 0).unwrap();
            }
            file.sync_all().unwrap();
            let left = outcomes(&disk.moment(), "a");
            let lost = BTreeSet::from([some(b"ab"), some(b"cd")]);
            assert_eq!(left, if again { BTreeSet::from([some(b"cd")]) } else { lost });
        }
    }

    /// Promise: a rename may leave the old name, the new one, or both.
    #[test]
    fn a_rename_is_two_names_until_its_directory_is_synced() {
        let disk = SimStorage::new();
        disk.create(&path("a")).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk.rename(&path("a"), &path("b")).unwrap();
        let moment = disk.moment();
        let names = |cut: &Cut| moment.cut(cut).storage.list(Path::new(DIR)).unwrap().len();
        let counts: Vec<_> = moment.cuts(4, &mut Draw(1)).iter().map(names).collect();
        assert_eq!(counts, [1, 2, 1, 1]);
    }

    /// Promise: versions in between may be what is left, and mixes of lines of them, and nothing else.
    #[test]
    fn a_sector_may_be_left_in_any_mix_of_its_versions() {
        let disk = SimStorage::new();
        let file = disk.create(&path("a")).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        for byte in 1..=3 {
            file.write_at(&[byte; SECTOR_BYTES], 0).unwrap();
            file.sync_all().unwrap();
            file.write_at(&[byte + 10; SECTOR_BYTES], 0).unwrap();
            file.write_at(&[byte + 20; SECTOR_BYTES], 0).unwrap();
            let moment = disk.moment();
            let mut draw = Draw(7);
            let mut seen = BTreeSet::new();
            let mut mixes = 0;
            for _ in 0..500 {
                let cut = Cut { seed: draw.next(), subset: None, torn: false };
                let after = moment.cut(&cut).storage;
                let mut left = [0; SECTOR_BYTES];
                after.open(&path("a"), Access::Read).unwrap().read_at(&mut left, 0).unwrap();
                assert!(left.iter().all(|one| [byte, byte + 10, byte + 20].contains(one)));
                let pure = left.iter().all(|one| *one == left[0]);
                mixes += u32::from(!pure);
                seen.extend(pure.then_some(left[0]));
            }
            assert_eq!(seen, BTreeSet::from([byte, byte + 10, byte + 20]));
            assert!(mixes > 50);
        }
    }
}
