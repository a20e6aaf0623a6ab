//! Faults that tests plant in the log. Outside tests every question is a constant "no".
//!
//! The switches are [relaxed]: a test plants a fault before it calls, and no data goes with it.

use std::io;

/// A place where something can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The writer panics between its reservation and its commit.
    PanicAfterReserve = 1,
    /// The next syncs answer EIO.
    SyncFails = 2,
    /// Growing answers ENOSPC.
    NoSpace = 4,
    /// A body is taken for whole unread.
    BodyUnchecked = 1 << 16,
    /// A group sync leaves out all but the last segment that it should cover.
    SyncsLastOnly = 1 << 17,
    /// The index of a segment leaves out one of its pairs.
    IndexForgets = 1 << 22,
    /// The successor of a recovered segment does not say where that one ends, and what is behind the end stays.
    GoesOnBehindEnd = 1 << 18,
    /// A checkpoint says that it holds what it has not folded yet: the last KiB.
    SaysMoreThanFolded = 1 << 19,
    /// Segments go by what the newest checkpoint can do without, whatever the older one needs.
    TrimsByNewest = 1 << 20,
    /// A checkpoint is written before the log is synced up to where it goes.
    CheckpointBeforeSync = 1 << 21,
}

/// Is that fault planted in what the log does with `storage`?
#[cfg(test)]
pub(crate) fn planted_in(storage: &dyn super::disk::Storage, fault: Fault) -> bool {
    storage.planted(fault)
}

/// Is that fault planted in what the log does with `storage`? It is not.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn planted_in(_storage: &dyn super::disk::Storage, _fault: Fault) -> bool {
    false
}

/// The faults planted in one log.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults(crate::sync::AtomicU32);

#[cfg(test)]
impl Faults {
    pub fn plant(&self, fault: Fault) {
        self.0.fetch_or(fault as u32, crate::sync::Ordering::Relaxed); // [relaxed]
    }

    pub fn clear(&self) {
        self.0.store(0, crate::sync::Ordering::Relaxed); // [relaxed]
    }

    pub fn planted(&self, fault: Fault) -> bool {
        self.0.load(crate::sync::Ordering::Relaxed) & fault as u32 != 0 // [relaxed]
    }
}

/// The faults planted in one log: none.
#[cfg(not(test))]
#[derive(Debug, Default)]
pub(crate) struct Faults(());

#[cfg(not(test))]
impl Faults {
    #[inline(always)]
    pub const fn planted(&self, _fault: Fault) -> bool {
        false
    }
}

impl Faults {
    /// The error of that fault, where it is planted.
    #[inline(always)]
    pub fn check(&self, fault: Fault) -> io::Result<()> {
        if !self.planted(fault) {
            return Ok(());
        }
        let code = if fault == Fault::NoSpace { libc::ENOSPC } else { libc::EIO };
        Err(io::Error::from_raw_os_error(code))
    }
}
