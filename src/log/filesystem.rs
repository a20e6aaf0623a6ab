//! What kind of file system a log lies on: is a sync worth anything there, and is it another machine's?
//!
//! `fstatfs` answers a magic number; the table below says what is known of it. Nothing is decided by trying: a sync that does
//! nothing succeeds like any other.
//!
//! | a sync | where | the log |
//! |---|---|---|
//! | [`Syncing::Real`] returns when the device says it has the data | disk file systems | says nothing |
//! | [`Syncing::Nothing`] there is no device: memory | tmpfs, ramfs, hugetlbfs | opens, and reports it |
//! | [`Syncing::Unknown`] depends on what lies below | overlay, FUSE, whatever is not in the table | opens, and reports it |
//! | [`Syncing::Unknown`] depends on another machine | NFS, SMB, 9p, Ceph and their like | is refused unless allowed |
//!
//! Why a network file system is refused: a map there is not coherent with other machines, `flock` may be this machine's
//! alone (two owners), and a server that goes away turns a load through the map into SIGBUS. Looking at a log without
//! owning it is not refused.
//!
//! Whether the device keeps what it says it has (a volatile cache without barriers, a virtual disk with the host's cache)
//! cannot be asked from here.
//!
//! # Source
//!
//! The numbers: `linux/magic.h`, statfs(2), and the file systems' own sources where those two are silent (Lustre, GPFS,
//! BeeGFS, VirtualBox).

use super::error::LogError;
use std::path::Path;

/// What a returned sync means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Syncing {
    /// The device has said that it has the data.
    Real,
    /// Nothing: the file system is in memory.
    Nothing,
    /// It depends on something that cannot be seen from here.
    Unknown,
}

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSystem {
    /// Its name, or `unknown`.
    pub name: &'static str,
    /// The number that the kernel has for it.
    pub magic: u32,
    /// What a sync there means.
    pub syncing: Syncing,
    /// Does it lie on another machine?
    pub network: bool,
}

const DISK: (Syncing, bool) = (Syncing::Real, false);
const MEMORY: (Syncing, bool) = (Syncing::Nothing, false);
const LAYER: (Syncing, bool) = (Syncing::Unknown, false);
const NETWORK: (Syncing, bool) = (Syncing::Unknown, true);

/// One row a number. No number stands twice.
const KNOWN: [(u32, &str, (Syncing, bool)); 38] = [
    (0x0000_ef53, "ext4", DISK), // ext2 and ext3 have the same number
    (0x5846_5342, "xfs", DISK),
    (0x9123_683e, "btrfs", DISK),
    (0x2fc1_2fc1, "zfs", DISK),
    (0xf2f5_2010, "f2fs", DISK),
    (0xca45_1a4e, "bcachefs", DISK),
    (0x3153_464a, "jfs", DISK),
    (0x5265_4973, "reiserfs", DISK),
    (0x0000_3434, "nilfs", DISK),
    (0x2405_1905, "ubifs", DISK),
    (0x0000_4d44, "vfat", DISK),
    (0x2011_bab0, "exfat", DISK),
    (0x7366_746e, "ntfs3", DISK),
    (0x0102_1994, "tmpfs", MEMORY),
    (0x8584_58f6, "ramfs", MEMORY),
    (0x9584_58f6, "hugetlbfs", MEMORY),
    (0x794c_7630, "overlay", LAYER), // real where its upper layer is, unless mounted `volatile`
    (0x6573_5546, "fuse", LAYER),    // a local program, or sshfs
    (0x6a65_6a63, "virtiofs", LAYER),
    (0x0000_f15f, "ecryptfs", LAYER),
    (0x0000_6969, "nfs", NETWORK),
    (0x0000_517b, "smb", NETWORK),
    (0xfe53_4d42, "smb2", NETWORK),
    (0xff53_4d42, "cifs", NETWORK),
    (0x0102_1997, "9p", NETWORK),
    (0x00c3_6400, "ceph", NETWORK),
    (0x5346_414f, "afs", NETWORK),
    (0x6b41_4653, "kafs", NETWORK),
    (0x7375_7245, "coda", NETWORK),
    (0x0000_564c, "ncp", NETWORK),
    (0x7461_636f, "ocfs2", NETWORK),
    (0x0116_1970, "gfs2", NETWORK),
    (0x0bd0_0bd0, "lustre", NETWORK),
    (0x4750_4653, "gpfs", NETWORK),
    (0x1983_0326, "beegfs", NETWORK),
    (0xaad7_aaea, "panfs", NETWORK),
    (0x2003_0528, "orangefs", NETWORK),
    (0x786f_4256, "vboxsf", NETWORK),
];

impl FileSystem {
    /// The file system that the kernel has that number for.
    pub(crate) fn of_magic(magic: u32) -> Self {
        let known = KNOWN.iter().find(|known| known.0 == magic);
        let (name, (syncing, network)) =
            known.map_or(("unknown", LAYER), |known| (known.1, known.2));
        Self { name, magic, syncing, network }
    }

    /// Does a returned sync mean that a device has the data? Where it does not, [`Log::wait_durable`] and all that is
    /// built on it promise no more than that the data outlives the process.
    ///
    /// [`Log::wait_durable`]: super::Log::wait_durable
    pub fn sync_is_real(&self) -> bool {
        self.syncing == Syncing::Real
    }

    /// May a log in `dir` be owned here?
    pub(crate) fn admit(self, dir: &Path, allow_network: bool) -> Result<Self, LogError> {
        if self.network && !allow_network {
            return Err(LogError::Network { dir: dir.to_owned(), kind: self.name });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: the table says one thing of each number, and all of the page.
    #[test]
    fn no_number_stands_twice_and_no_network_promises_a_sync() {
        for (index, (magic, name, (syncing, network))) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..index].iter().all(|other| other.0 != *magic && other.1 != *name));
            assert!(!(*network && *syncing == Syncing::Real), "{name}");
        }
    }

    /// Promise: memory is told from a disk, and what is not known is not vouched for.
    #[test]
    fn a_sync_is_real_only_where_it_is_known_to_be() {
        let real = |magic| FileSystem::of_magic(magic).sync_is_real();
        assert!(real(libc::EXT4_SUPER_MAGIC as u32) && real(libc::BTRFS_SUPER_MAGIC as u32));
        assert!(!real(libc::TMPFS_MAGIC as u32) && !real(libc::OVERLAYFS_SUPER_MAGIC as u32));
        let strange = FileSystem::of_magic(12_345);
        assert_eq!(
            (strange.name, strange.network, strange.sync_is_real()),
            ("unknown", false, false)
        );
    }

    /// Promise: a network file system is refused by name, unless it is allowed; nothing else is.
    #[test]
    fn a_network_file_system_is_refused_unless_allowed() {
        let dir = Path::new("queue");
        for (magic, name, (_, network)) in KNOWN {
            let found = FileSystem::of_magic(magic);
            assert_eq!((found.name, found.admit(dir, true).unwrap()), (name, found));
            match found.admit(dir, false) {
                Ok(_) => assert!(!network, "{name}"),
                Err(error) => {
                    assert!(network, "{name}");
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
        for magic in [libc::NFS_SUPER_MAGIC, libc::SMB_SUPER_MAGIC, libc::CODA_SUPER_MAGIC] {
            assert!(FileSystem::of_magic(magic as u32).admit(dir, false).is_err());
        }
    }
}
