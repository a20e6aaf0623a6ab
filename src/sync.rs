//! The only file that names atomics, cells, locks and threads: the standard ones, or loom's.
//!
//! Every protocol of the crate takes its atomics from here, so that `--cfg loom` can put the model checker's in
//! their place without a line of the protocol changing. What the two worlds do not share by nature is given one
//! form:
//!
//! | name | outside loom | in a model |
//! |---|---|---|
//! | [`Mutex`], [`Condvar`] | `parking_lot` (no poisoning) | loom's, poison ignored |
//! | [`OnceLock`] | the standard one | a flag, a lock and the value; pair \[S1\] is under test |
//! | [`Futex`] | the system call; a condition variable where there is none | a list of sleepers, woken in a chosen order |
//! | `process_wide!`, `per_thread!` | `static`, `thread_local!` | one for each execution of the model |
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[S1\] | `OnceLock::get_or_init` sets `ready` | `OnceLock::get` reads it | the value |
//!
//! # Time in a model
//!
//! Loom knows no time: a wait with a deadline ends at once, as if the deadline had passed. That is one of the things
//! that may happen, and the one that the callers' giving-up must survive.
//!
//! # Mutants
//!
//! [`mutant`] and [`order`] plant one fault, chosen by the environment variable `MUTANT`, in a loom build. A
//! model that still passes with the fault planted proves nothing. Outside loom both compile to nothing.

/// How a [`Futex::sleep`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// A wake chose this sleeper.
    Woken,
    /// The word did not hold the key any more: there was no sleep.
    Changed,
    /// Nobody woke us: the deadline passed, or a signal came.
    Ended,
}

#[cfg(loom)]
mod model {
    pub use loom::{
        cell::UnsafeCell,
        hint,
        sync::{
            Arc, MutexGuard,
            atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
        },
        thread,
    };

    use super::{Sleep, order};
    use std::cell::Cell;
    use std::sync::PoisonError;
    use std::time::Instant;

    /// A lock without poisoning.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// An open lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A condition variable that takes and returns the guard.
    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        /// A condition nobody waits for.
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// Opens the lock, waits for a notification, takes the lock again.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    /// A value that is made once and then only read.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        ready: AtomicBool,
        making: Mutex<()>,
        value: std::sync::OnceLock<T>, // unseen by loom: it is `ready` that makes it visible
    }

    impl<T> OnceLock<T> {
        /// Not made yet.
        pub fn new() -> Self {
            let ready = AtomicBool::new(false);
            Self { ready, making: Mutex::new(()), value: std::sync::OnceLock::new() }
        }

        /// The value, if it was made.
        pub fn get(&self) -> Option<&T> {
            let ready = self.ready.load(order("S1_load", Ordering::Acquire)); // [S1]
            if ready { self.value.get() } else { None }
        }

        /// The value, made now if need be.
        pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            if let Some(value) = self.get() {
                return value;
            }
            let _making = self.making.lock();
            let value = self.value.get_or_init(make);
            self.ready.store(true, order("S1_store", Ordering::Release)); // [S1]
            value
        }
    }

    /// Which sleeper a wake chooses. No kernel promises one, so a model is explored under both.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum WakeOrder {
        /// First come, first woken: what kernels mostly do.
        Oldest,
        /// The newcomer is woken: the order that finds a wake swallowed by it.
        Newest,
    }

    std::thread_local! {
        // Loom runs all threads of a model on the thread that started it, so this reaches every one of them.
        static WAKE_ORDER: Cell<WakeOrder> = const { Cell::new(WakeOrder::Oldest) };
    }

    /// Sets the order for the models that this thread explores from now on.
    pub fn set_wake_order(order: WakeOrder) {
        WAKE_ORDER.set(order);
    }

    /// The list of those who sleep on a word.
    #[derive(Debug)]
    pub struct Futex {
        sleepers: Mutex<Vec<Arc<Condvar>>>,
    }

    impl Futex {
        /// Nobody sleeps.
        pub fn new() -> Self {
            Self { sleepers: Mutex::new(Vec::new()) }
        }

        /// Sleeps while the low half of `word` is `key`, until a wake.
        pub fn sleep(&self, word: &AtomicU64, key: u32, deadline: Option<Instant>) -> Sleep {
            let mut sleepers = self.sleepers.lock();
            // The kernel compares under its lock and orders nothing by it.
            let word = word.load(Ordering::Relaxed); // [relaxed]
            if word as u32 != key {
                return Sleep::Changed;
            }
            if deadline.is_some() {
                return Sleep::Ended;
            }
            let bed = Arc::new(Condvar::new());
            sleepers.push(bed.clone());
            while sleepers.iter().any(|other| Arc::ptr_eq(other, &bed)) {
                sleepers = bed.wait(sleepers);
            }
            Sleep::Woken
        }

        /// Wakes up to `count` sleepers.
        pub fn wake(&self, _word: &AtomicU64, count: usize) {
            let mut sleepers = self.sleepers.lock();
            for _ in 0..count.min(sleepers.len()) {
                let bed = match WAKE_ORDER.get() {
                    WakeOrder::Oldest => sleepers.remove(0),
                    WakeOrder::Newest => sleepers.pop().expect("counted above"),
                };
                bed.notify_one();
            }
        }
    }

    /// A static of each execution.
    macro_rules! process_wide {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            loom::lazy_static! { $(#[$meta])* static ref $name: $type = $value; }
        };
    }

    /// A thread's own value.
    macro_rules! per_thread {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            loom::thread_local! { $(#[$meta])* static $name: $type = $value; }
        };
    }

    pub(crate) use {per_thread, process_wide};
}

#[cfg(loom)]
pub use model::*;
#[cfg(loom)]
pub(crate) use model::{per_thread, process_wide};

#[cfg(not(loom))]
#[allow(clippy::disallowed_types)] // This is the file that may name them.
mod real {
    #[cfg(target_os = "linux")]
    pub use crate::sys::Futex;
    pub use parking_lot::{Mutex, MutexGuard};
    pub use std::sync::atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        compiler_fence, fence,
    };
    pub use std::sync::{Arc, LazyLock, OnceLock, Weak};
    pub use std::{hint, thread};

    use std::time::Instant;

    /// A cell whose contents are reached through closures, as loom's are.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell holding `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Hands `change` a pointer to write through.
        #[inline(always)]
        pub fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            change(self.0.get())
        }
    }

    /// A condition variable that takes and returns the guard.
    #[derive(Debug, Default)]
    pub struct Condvar(parking_lot::Condvar);

    impl Condvar {
        /// A condition nobody waits for.
        #[cfg(any(test, not(target_os = "linux")))]
        pub const fn new() -> Self {
            Self(parking_lot::Condvar::new())
        }

        /// Opens the lock, waits for a notification, takes the lock again. Does not return without one.
        pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        /// As [`Condvar::wait`], but not past the deadline; true when that ended it.
        pub fn wait_until<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            let timed_out = self.0.wait_until(&mut guard, deadline).timed_out();
            (guard, timed_out)
        }

        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all waiters.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// Sleep on a word, where the system has no call for it.
    #[cfg(any(test, not(target_os = "linux")))]
    pub mod portable {
        use super::{AtomicU64, Condvar, Instant, Mutex, Ordering};
        use crate::sync::Sleep;

        /// A lock and a condition variable beside the word.
        #[derive(Debug, Default)]
        pub struct Futex {
            comparing: Mutex<()>,
            woken: Condvar,
        }

        impl Futex {
            /// Nobody sleeps.
            pub const fn new() -> Self {
                Self { comparing: Mutex::new(()), woken: Condvar::new() }
            }

            /// Sleeps while the low half of `word` is `key`, until a wake or the deadline.
            pub fn sleep(&self, word: &AtomicU64, key: u32, deadline: Option<Instant>) -> Sleep {
                let comparing = self.comparing.lock();
                // A notifier changes the word before it takes the lock to wake.
                let word = word.load(Ordering::Relaxed); // [relaxed]
                if word as u32 != key {
                    return Sleep::Changed;
                }
                let Some(deadline) = deadline else {
                    drop(self.woken.wait(comparing));
                    return Sleep::Woken;
                };
                let (_comparing, timed_out) = self.woken.wait_until(comparing, deadline);
                if timed_out { Sleep::Ended } else { Sleep::Woken }
            }

            /// Wakes up to `count` sleepers.
            pub fn wake(&self, _word: &AtomicU64, count: usize) {
                let _comparing = self.comparing.lock();
                if count == 1 { self.woken.notify_one() } else { self.woken.notify_all() }
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub use portable::Futex;

    /// A static of the process, made at first use.
    macro_rules! process_wide {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            $(#[$meta])* static $name: crate::sync::LazyLock<$type> =
                crate::sync::LazyLock::new(|| $value);
        };
    }

    /// A thread's own value, made without a first-use check.
    macro_rules! per_thread {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            std::thread_local! { $(#[$meta])* static $name: $type = const { $value }; }
        };
    }

    pub(crate) use {per_thread, process_wide};
}

#[cfg(not(loom))]
pub use real::*;
#[cfg(not(loom))]
pub(crate) use real::{per_thread, process_wide};

/// Is this fault planted? Chosen at run time, so that one build serves all mutants; several are separated by commas.
#[cfg(loom)]
pub fn mutant(label: &str) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("MUTANT").unwrap_or_default());
    planted.split(',').any(|fault| fault == label)
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
    if mutant(label) {
        Ordering::Relaxed /* [relaxed] the fault itself */
    } else {
        strong
    }
}

/// The ordering itself, outside a loom build.
#[cfg(not(loom))]
#[inline(always)]
pub const fn order(_label: &str, strong: Ordering) -> Ordering {
    strong
}

/// Has the time come? In a model a deadline has always passed.
pub fn passed(deadline: Option<std::time::Instant>) -> bool {
    deadline.is_some_and(|at| cfg!(loom) || at <= std::time::Instant::now())
}

/// Are spinning and yielding worth a try before parking? In a model they only add branches.
pub const SPINS: bool = cfg!(not(loom));

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_portable_sleep_needs_the_key_and_ends_at_the_deadline() {
        let (futex, word) = (portable::Futex::new(), AtomicU64::new(7 << 32 | 3));
        let past = Some(Instant::now());
        assert_eq!(futex.sleep(&word, 4, None), Sleep::Changed);
        assert_eq!(futex.sleep(&word, 3, past), Sleep::Ended);
    }

    #[test]
    fn a_portable_wake_ends_a_sleep_whenever_it_comes() {
        for _ in 0..200 {
            let (futex, word) = (portable::Futex::new(), AtomicU64::new(0));
            let far = Some(Instant::now() + Duration::from_secs(60));
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| futex.sleep(&word, 0, far));
                word.store(1, Ordering::Relaxed); // [relaxed] the lock inside orders it
                futex.wake(&word, 1);
                assert_ne!(sleeper.join().unwrap(), Sleep::Ended);
            });
        }
    }
}
