//! The only file that names atomics, cells, locks and threads: the standard ones, or loom's.
//!
//! Every protocol of the crate takes its atomics from here, so that `--cfg loom` can put the model checker's in
//! their place without a line of the protocol changing. The locks have `parking_lot`'s form (no poisoning) in
//! both worlds.
//!
//! # Mutants
//!
//! [`mutant`] and [`order`] plant one fault, chosen by the environment variable `MUTANT`, in a loom build. A
//! model that still passes with the fault planted proves nothing. Outside loom both compile to nothing.

#[cfg(loom)]
pub use loom::{
    cell::UnsafeCell,
    hint,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
            Ordering, fence,
        },
    },
    thread,
};

#[cfg(not(loom))]
#[allow(clippy::disallowed_types)] // This is the file that may name them.
mod real {
    pub use parking_lot::{Mutex, MutexGuard, RwLock};
    pub use std::sync::Arc;
    pub use std::sync::atomic::{
        AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
    pub use std::{hint, thread};

    /// A cell whose contents are reached through closures, as loom's are.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell holding `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Hands `look` a pointer to read through.
        #[inline(always)]
        pub fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
            look(self.0.get())
        }

        /// Hands `change` a pointer to write through.
        #[inline(always)]
        pub fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            change(self.0.get())
        }
    }
}

#[cfg(not(loom))]
pub use real::*;

/// Is this fault planted? Chosen at run time, so that one build serves all mutants.
#[cfg(loom)]
pub fn mutant(label: &str) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("MUTANT").unwrap_or_default()) == label
}

/// Never, outside a loom build.
#[cfg(not(loom))]
#[inline(always)]
pub const fn mutant(_label: &str) -> bool {
    false
}

/// The ordering, or `Relaxed` where the mutant of that label is planted.
#[cfg(loom)]
pub fn order(label: &str, strong: Ordering) -> Ordering {
    if mutant(label) { Ordering::Relaxed } else { strong }
}

/// The ordering itself, outside a loom build.
#[cfg(not(loom))]
#[inline(always)]
pub const fn order(_label: &str, strong: Ordering) -> Ordering {
    strong
}
