//! Every raw system call of the crate that is not about files.
//!
//! | call | why |
//! |---|---|
//! | `futex` | a thread sleeps on the very word that the notifier changes: no lock, no allocation, nothing to set up |
//! | `membarrier` | a full barrier in every running thread of the process: [`crate::barrier`] |
//! | `clock_gettime`, `clock_nanosleep`, `sched_setaffinity`, `sched_setscheduler`, `prctl` | the laboratory: one clock for all stamps, sleep until a time of it, a core, a priority and exact timers for a thread |
//!
//! The futex word is the low half of a 64-bit word whose high half changes too. The kernel reads the half by itself,
//! atomically, under its own lock; the processors this is built for let a half be read out of a word that is
//! written whole. The futex is private to the process.
//!
//! # Limits
//!
//! Linux only; elsewhere [`crate::sync`] has a lock and a condition variable in its place. Deadlines are handed over
//! as spans, so a sleep may end late by the time between the reading of the clock and the call, never early.

#![allow(unsafe_code)]

use crate::sync::{AtomicU64, Sleep};
use std::time::{Duration, Instant};

/// Which 32-bit half of a word in memory is its low one.
const LOW_HALF: usize = if cfg!(target_endian = "little") { 0 } else { 1 };

const _: () = assert!(align_of::<AtomicU64>().is_multiple_of(align_of::<u32>()));

/// Asks the kernel for [`membarrier`], once in a process. False if it has none, or refuses.
pub fn register_membarrier() -> bool {
    command_membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// A full barrier in every thread of this process that runs now; those that do not run had one when they stopped.
/// False if the kernel refuses, which it does not after [`register_membarrier`] unless a filter came in between.
pub fn membarrier() -> bool {
    command_membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

fn command_membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes numbers only and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Sleep on the low half of a word.
#[derive(Debug, Default)]
pub struct Futex;

impl Futex {
    /// Nothing to set up: the kernel keeps the sleepers by address.
    pub const fn new() -> Self {
        Self
    }

    /// Sleeps while the low half of `word` is `key`, until a wake or the deadline.
    pub fn sleep(&self, word: &AtomicU64, key: u32, deadline: Option<Instant>) -> Sleep {
        let span = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if span == Some(Duration::ZERO) {
            return Sleep::Ended; // not worth a system call
        }
        let span = span.map(timespec);
        let span = span.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the borrow of `word` keeps the word mapped for the whole call; `span` is null or points to the
        // local above; the kernel only reads both.
        let answer =
            unsafe { libc::syscall(libc::SYS_futex, low_half(word), operation, key, span) };
        if answer == 0 {
            return Sleep::Woken;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN) => Sleep::Changed,
            // ETIMEDOUT and EINTR. Any other would be a fault of ours; the caller looks again, so it cannot hang.
            _ => Sleep::Ended,
        }
    }

    /// Wakes up to `count` sleepers.
    pub fn wake(&self, word: &AtomicU64, count: usize) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the kernel takes the address as a name only; the borrow of `word` keeps it one of ours.
        unsafe { libc::syscall(libc::SYS_futex, low_half(word), operation, count) };
    }
}

/// The address the kernel knows the word by.
fn low_half(word: &AtomicU64) -> *const u32 {
    word.as_ptr().cast_const().cast::<u32>().wrapping_add(LOW_HALF)
}

/// A span as the kernel takes it; longer than it can count is as long as it can.
fn timespec(span: Duration) -> libc::timespec {
    let tv_sec = libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX);
    libc::timespec { tv_sec, tv_nsec: libc::c_long::from(span.subsec_nanos() as i32) }
}

/// How a thread of the laboratory runs. All but the clock may be refused, and the answer says so.
#[cfg(feature = "lab")]
pub mod running {
    /// The most cores that a mask names.
    const CORES_MAX: usize = 1_024;
    const WORD_BITS: usize = libc::c_ulong::BITS as usize;
    type Mask = [libc::c_ulong; CORES_MAX / WORD_BITS];

    /// `CLOCK_MONOTONIC` in nanoseconds.
    #[inline]
    pub fn monotonic_ns() -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes to the local above and to nothing else.
        let answer = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        debug_assert_eq!(answer, 0, "every kernel has this clock");
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    /// Sleeps until the clock of [`monotonic_ns`] shows `at_ns`.
    pub fn sleep_until_ns(at_ns: u64) {
        let tv_sec = libc::time_t::try_from(at_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX);
        let at = libc::timespec { tv_sec, tv_nsec: (at_ns % 1_000_000_000) as libc::c_long };
        let (clock, flags) = (libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME);
        loop {
            let none = std::ptr::null_mut();
            // SAFETY: the kernel reads the local above; with an absolute time it writes nothing.
            let answer = unsafe { libc::clock_nanosleep(clock, flags, &raw const at, none) };
            if answer != libc::EINTR {
                return;
            }
        }
    }

    /// The cores that the calling thread may run on; none if the kernel does not say.
    pub fn cores() -> Vec<usize> {
        let mut mask: Mask = [0; _];
        let size = size_of::<Mask>();
        // SAFETY: the kernel writes at most `size` bytes, which the local above has; 0 is the calling thread.
        let answer =
            unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, mask.as_mut_ptr()) };
        if answer < 0 {
            return Vec::new();
        }
        let is_set = |core: &usize| mask[core / WORD_BITS] >> (core % WORD_BITS) & 1 == 1;
        (0..CORES_MAX).filter(is_set).collect()
    }

    /// Keeps the calling thread on that core. Was it granted?
    pub fn pin_to(core: usize) -> bool {
        let mut mask: Mask = [0; _];
        let Some(word) = mask.get_mut(core / WORD_BITS) else { return false };
        *word = 1 << (core % WORD_BITS);
        let size = size_of::<Mask>();
        // SAFETY: the kernel reads `size` bytes, which the local above has; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size, mask.as_ptr()) == 0 }
    }

    /// Lets the calling thread's sleeps end so exactly. What it is now, in nanoseconds, if the kernel says.
    pub fn set_timer_slack_ns(slack_ns: u32) -> Option<u64> {
        let slack = libc::c_ulong::from(slack_ns);
        // SAFETY: the call takes numbers only and touches no memory of ours.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack) };
        // SAFETY: as above.
        u64::try_from(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }).ok()
    }

    /// Schedules the calling thread, and none that it starts, under SCHED_FIFO. Was it granted?
    pub fn set_fifo(priority: u8) -> bool {
        let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        let priority = libc::c_int::from(priority); // all of a `sched_param` that the kernel knows
        // SAFETY: the kernel reads the local above; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) == 0 }
    }

    /// The calling thread's number, by which `/proc` knows it.
    pub fn thread_id() -> u32 {
        // SAFETY: the call takes nothing and touches no memory of ours.
        u32::try_from(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Ordering, thread};

    #[test]
    fn a_sleep_needs_the_key_in_the_low_half() {
        let (futex, word) = (Futex::new(), AtomicU64::new(7 << 32 | 3));
        assert_eq!(futex.sleep(&word, 7, None), Sleep::Changed);
        assert_eq!(futex.sleep(&word, 3, Some(Instant::now())), Sleep::Ended);
        let soon = Instant::now() + Duration::from_micros(100);
        assert_eq!(futex.sleep(&word, 3, Some(soon)), Sleep::Ended);
    }

    #[test]
    fn the_longest_span_is_one_the_kernel_takes() {
        let word = AtomicU64::new(0);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let span = timespec(Duration::MAX);
                // SAFETY: as in `sleep`: word and span live until the call returns.
                unsafe {
                    libc::syscall(libc::SYS_futex, low_half(&word), libc::FUTEX_WAIT, 0, &span)
                };
                std::io::Error::last_os_error().raw_os_error()
            });
            while !sleeper.is_finished() {
                word.store(1, Ordering::Relaxed); // [relaxed] the kernel reads it under its lock
                // SAFETY: as in `wake`.
                unsafe { libc::syscall(libc::SYS_futex, low_half(&word), libc::FUTEX_WAKE, 1) };
                thread::yield_now();
            }
            assert_ne!(sleeper.join().unwrap(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn a_wake_ends_a_sleep_whenever_it_comes() {
        for _ in 0..200 {
            let (futex, word) = (Futex::new(), AtomicU64::new(0));
            let far = Some(Instant::now() + Duration::from_secs(60));
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| futex.sleep(&word, 0, far));
                word.store(1, Ordering::Relaxed); // [relaxed] the kernel reads it under its lock
                futex.wake(&word, 1);
                assert_ne!(sleeper.join().unwrap(), Sleep::Ended);
            });
        }
    }
}
