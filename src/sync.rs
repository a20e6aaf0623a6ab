//! The only file that names atomics, cells, locks and threads: the standard ones, loom's, or shuttle's.
//!
//! Every protocol of the crate takes its atomics from here, so that `--cfg loom` or `--cfg shuttle` can put a model
//! checker's in their place without a line of the protocol changing. Loom runs every order of a small model, weak
//! memory included; shuttle runs random orders of a large one, sequentially consistent ([`Ordering`]s and fences
//! change nothing there). What the worlds do not share by nature is given one form:
//!
//! | name | outside a model | under loom | under shuttle |
//! |---|---|---|---|
//! | [`Mutex`], [`Condvar`] | `parking_lot` (no poisoning) | loom's, poison ignored | shuttle's, poison ignored |
//! | [`OnceLock`] | the standard one | a flag, a lock and the value; pair \[S1\] is under test | the same |
//! | [`Futex`] | the system call; a condition variable where there is none | a list of sleepers, woken in a chosen order | the same list, in a random order |
//! | `UnsafeCell` | the standard one | loom's: an access not ordered after the last is reported | two accesses at one time are |
//! | `process_wide!`, `per_thread!` | `static`, `thread_local!` | one for each execution | one for each execution |
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[S1\] | `OnceLock::get_or_init` sets `ready` | `OnceLock::get` reads it | the value |
//!
//! # Time in a model
//!
//! No model knows time: a deadline has always passed. Under loom a wait with one ends at once; under shuttle others may
//! run before it ends, so that a wake may overtake it. Both may happen, and the callers' giving-up must survive both.
//!
//! # Mutants
//!
//! [`mutant`] and [`order`] plant one fault, chosen by the environment variable `MUTANT`, in a model. A model that
//! still passes with the fault planted proves nothing. (A weaker ordering is a fault that shuttle cannot see.) Outside
//! models both compile to nothing.

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
pub(crate) use loom as checker;
#[cfg(shuttle)]
pub(crate) use shuttle as checker;

#[cfg(any(loom, shuttle))]
mod model {
    pub use super::checker::{
        hint,
        sync::{
            Arc, MutexGuard,
            atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
        },
        thread,
    };
    #[cfg(shuttle)]
    pub use super::shuttled::*;
    #[cfg(loom)]
    pub use {super::loomed::*, loom::cell::UnsafeCell};

    use super::{Sleep, checker, order};
    use std::sync::PoisonError;
    use std::time::Instant;

    /// A lock without poisoning.
    #[derive(Debug)]
    pub struct Mutex<T>(checker::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// An open lock around `value`.
        pub fn new(value: T) -> Self {
            Self(checker::sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A condition variable that takes and returns the guard.
    #[derive(Debug)]
    pub struct Condvar(checker::sync::Condvar);

    impl Condvar {
        /// A condition nobody waits for.
        pub fn new() -> Self {
            Self(checker::sync::Condvar::new())
        }

        /// Opens the lock, waits for a notification, takes the lock again.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// As [`Condvar::wait`], but not past the deadline, which has always passed.
        #[cfg(loom)]
        pub fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            (guard, true)
        }

        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes every waiter.
        #[cfg(loom)]
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A value that is made once and then only read.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        ready: AtomicBool,
        making: Mutex<()>,
        value: std::sync::OnceLock<T>, // unseen by the checker: it is `ready` that makes it visible
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
            if deadline.is_some() && ENDS_AT_ONCE {
                return Sleep::Ended;
            }
            let bed = Arc::new(Condvar::new());
            sleepers.push(bed.clone());
            if deadline.is_some() {
                drop(sleepers);
                thread::yield_now();
                return self.rise(&bed);
            }
            while sleepers.iter().any(|other| Arc::ptr_eq(other, &bed)) {
                sleepers = bed.wait(sleepers);
            }
            Sleep::Woken
        }

        /// The deadline has passed: the sleeper leaves the list, unless a wake was first.
        fn rise(&self, bed: &Arc<Condvar>) -> Sleep {
            let mut sleepers = self.sleepers.lock();
            let place = sleepers.iter().position(|other| Arc::ptr_eq(other, bed));
            let Some(place) = place else { return Sleep::Woken };
            sleepers.remove(place);
            Sleep::Ended
        }

        /// Wakes up to `count` sleepers.
        pub fn wake(&self, _word: &AtomicU64, count: usize) {
            let mut sleepers = self.sleepers.lock();
            for _ in 0..count.min(sleepers.len()) {
                let chosen = woken_of(sleepers.len());
                sleepers.remove(chosen).notify_one();
            }
        }
    }

    /// A static of each execution.
    macro_rules! process_wide {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            crate::sync::checker::lazy_static! { $(#[$meta])* static ref $name: $type = $value; }
        };
    }

    /// A thread's own value.
    macro_rules! per_thread {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            crate::sync::checker::thread_local! { $(#[$meta])* static $name: $type = $value; }
        };
    }

    pub(crate) use {per_thread, process_wide};
}

/// What only loom's world has.
#[cfg(loom)]
mod loomed {
    use std::cell::Cell;

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

    /// The place in a list of so many sleepers that is woken next.
    pub(super) fn woken_of(sleepers: usize) -> usize {
        match WAKE_ORDER.get() {
            WakeOrder::Oldest => 0,
            WakeOrder::Newest => sleepers - 1,
        }
    }

    /// Others may not run before a deadline passes: it would multiply the orders to explore.
    pub(super) const ENDS_AT_ONCE: bool = true;
}

/// What only shuttle's world has.
#[cfg(shuttle)]
#[allow(clippy::disallowed_types)] // This is the file that may name them.
mod shuttled {
    use super::{AtomicBool, Ordering};
    use shuttle::rand::{Rng, thread_rng};

    /// A cell that tells when two are in it at one time: shuttle may let another thread run while one is inside.
    #[derive(Debug)]
    pub struct UnsafeCell<T> {
        taken: AtomicBool,
        contents: std::cell::UnsafeCell<T>,
    }

    impl<T> UnsafeCell<T> {
        /// A cell holding `value`.
        pub fn new(value: T) -> Self {
            Self { taken: AtomicBool::new(false), contents: std::cell::UnsafeCell::new(value) }
        }

        /// Hands `change` a pointer to write through.
        ///
        /// # Panics
        ///
        /// If another thread is inside.
        pub fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            let taken = self.taken.swap(true, Ordering::Relaxed); // [relaxed] shuttle orders everything
            assert!(!taken, "a cell with two owners");
            let result = change(self.contents.get());
            self.taken.store(false, Ordering::Relaxed); // [relaxed] the other may run before it
            result
        }
    }

    /// The place in a list of so many sleepers that is woken next. No kernel promises one.
    pub(super) fn woken_of(sleepers: usize) -> usize {
        thread_rng().gen_range(0..sleepers)
    }

    /// Others may run before a deadline passes.
    pub(super) const ENDS_AT_ONCE: bool = false;
}

#[cfg(any(loom, shuttle))]
pub use model::*;
#[cfg(any(loom, shuttle))]
pub(crate) use model::{per_thread, process_wide};

#[cfg(not(any(loom, shuttle)))]
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

#[cfg(not(any(loom, shuttle)))]
pub use real::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::{per_thread, process_wide};

/// Is this fault planted? Chosen at run time, so that one build serves all mutants; several are separated by commas.
#[cfg(any(loom, shuttle))]
pub fn mutant(label: &str) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("MUTANT").unwrap_or_default());
    planted.split(',').any(|fault| fault == label)
}

/// Never, outside a model.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub const fn mutant(_label: &str) -> bool {
    false
}

/// The ordering, or `Relaxed` where the mutant of that label is planted.
#[cfg(any(loom, shuttle))]
pub fn order(label: &str, strong: Ordering) -> Ordering {
    if mutant(label) {
        Ordering::Relaxed /* [relaxed] the fault itself */
    } else {
        strong
    }
}

/// The ordering itself, outside a model.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub const fn order(_label: &str, strong: Ordering) -> Ordering {
    strong
}

/// Has the time come? In a model a deadline has always passed.
pub fn passed(deadline: Option<std::time::Instant>) -> bool {
    deadline.is_some_and(|at| cfg!(any(loom, shuttle)) || at <= std::time::Instant::now())
}

/// Are spinning and yielding worth a try before parking? In a model they only add branches.
pub const SPINS: bool = cfg!(not(any(loom, shuttle)));

#[cfg(all(test, not(any(loom, shuttle))))]
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
