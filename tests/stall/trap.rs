//! Freezing a thread after any one of its instructions, by the processor's trap flag.
//!
//! With bit 8 of the flags register set, the processor raises a trap after each instruction, and the kernel makes it
//! a `SIGTRAP` for that thread. The handler counts; at the instruction that was asked for it parks the thread inside the
//! signal, and whoever asked sees it parked, does what it likes, and thaws it. The code under test is not changed, not
//! recompiled and not told; and what is frozen lies between two *instructions*, finer than between two atomics.
//!
//! ```text
//!   driver                                      victim
//!   arm(57..58)                                 stepped(operation)
//!   await_victim() -> Parked   <------------    1, 2, ... 56, 57: parked in the handler
//!   (the others must go on now)
//!   thaw()                     ------------>    58, ... the operation ends
//!   await_victim() -> Finished <------------    finish()
//! ```
//!
//! One victim at a time: the state is the process's, as the handler is.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |---|---|---|---|
//! | \[T1\] | `Turn::set` | `Turn::wait_while` | all that was done before the word changed |
//!
//! \[relaxed\]: the counters of the trap, which \[T1\] of the victim's state orders.
//!
//! # Limits
//!
//! x86-64 Linux. A system call is one instruction: the kernel's own steps are not looked into, and need not be, since
//! the kernel does not stop a thread in there at our word.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, "Single-Step Exception Condition".

#![allow(unsafe_code)] // A signal handler, the trap flag, and the futex that a handler may use.

use std::arch::asm;
use std::fmt;
use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A word that threads wait on: an order given, a thing done. Waits and wakes allocate nothing and take no lock, so
/// that they may be used in a signal handler, and by the others while a thread is frozen anywhere.
pub struct Turn(AtomicU32);

impl Turn {
    pub const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire) // [T1]
    }

    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Release); // [T1]
        let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: `self` is a live aligned word for as long as the call lasts, and waking touches no memory.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), wake, i32::MAX) };
    }

    /// Waits while the word holds `value`. False if it still does when the limit has passed; none is for ever.
    pub fn wait_while(&self, value: u32, limit: Option<Duration>) -> bool {
        let end = limit.map(|limit| Instant::now() + limit);
        while self.get() == value {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            self.sleep(value, left);
        }
        true
    }

    /// Sleeps once, if the word holds `value`.
    fn sleep(&self, value: u32, left: Option<Duration>) {
        let left = left.map(|left| libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos() as libc::c_long,
        });
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word is `self`'s and the time, if there is one, this function's; both outlive the call.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), wait, value, left) };
    }
}

const RUNS: u32 = 0;
const PARKED: u32 = 1;
const FINISHED: u32 = 2;

/// What the victim is about.
static STATE: Turn = Turn::new(FINISHED);
/// Instructions done since `arm`.
static STEPS: AtomicU64 = AtomicU64::new(0);
/// The instructions to stop after: from this one ...
static STOP_FROM: AtomicU64 = AtomicU64::new(0);
/// ... to the one before this.
static STOP_BEFORE: AtomicU64 = AtomicU64::new(0);
/// Where the parked victim would go on.
static NEXT_INSTRUCTION: AtomicU64 = AtomicU64::new(0);

/// Why a wait for the victim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Parked,
    Finished,
    /// It did neither within the limit.
    Astray,
}

/// A place in the operation under test.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The instruction that was the last, counted from the first one of the operation.
    pub step: u64,
    /// Where the next one is.
    address: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: all zero is a valid `Dl_info`: null pointers.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        let address = self.address as *const libc::c_void;
        // SAFETY: any address may be asked about, and `info` is a live place for the answer.
        let known = unsafe { libc::dladdr(address, &mut info) } != 0;
        let base = if known { info.dli_fbase as u64 } else { 0 };
        write!(out, "instruction {}, before {:#x} (addr2line -e)", self.step, self.address - base)
    }
}

/// In the flags register.
const TRAP_FLAG: libc::greg_t = 0x100;

/// No stop at all: every instruction is counted.
pub const NEVER: Range<u64> = u64::MAX..u64::MAX;

/// Puts the handler in its place.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zero is a valid `sigaction`: the default action, an empty mask and no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is initialized, and its handler is async-signal-safe: atomics and one system call.
        let failed = unsafe { libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()) };
        assert_eq!(failed, 0, "SIGTRAP may be handled");
    });
}

/// The next victim is to park after each of these instructions, counted from 1.
pub fn arm(stops: Range<u64>) {
    STEPS.store(0, Ordering::Relaxed); // [relaxed]
    STOP_FROM.store(stops.start, Ordering::Relaxed); // [relaxed]
    STOP_BEFORE.store(stops.end, Ordering::Relaxed); // [relaxed]
    STATE.set(RUNS);
}

/// The victim is not to park again.
pub fn disarm() {
    STOP_BEFORE.store(0, Ordering::Relaxed); // [relaxed]
}

/// Lets the parked victim go on.
pub fn thaw() {
    STATE.set(RUNS);
}

/// The victim's last word.
pub fn finish() {
    STATE.set(FINISHED);
}

/// Waits until the victim has parked or finished.
pub fn await_victim(limit: Duration) -> Victim {
    match STATE.wait_while(RUNS, Some(limit)) {
        true if STATE.get() == PARKED => Victim::Parked,
        true => Victim::Finished,
        false => Victim::Astray,
    }
}

/// Instructions done; those of the whole operation, if it was armed with [`NEVER`].
pub fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed) // [relaxed]
}

/// Where the victim is parked.
pub fn place() -> Place {
    Place { step: steps(), address: NEXT_INSTRUCTION.load(Ordering::Relaxed) } // [relaxed]
}

/// Runs the operation with a trap after each of its instructions.
pub fn stepped(operation: impl FnOnce()) {
    // SAFETY: sets the trap flag of this thread and nothing else; `install` gave the trap a handler. The stack is
    // back where it was, and without `nostack` the compiler keeps nothing below it.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    operation();
    step_no_more();
}

/// Ends the stepping of this thread; does nothing where there is none.
#[inline(always)]
pub fn step_no_more() {
    // SAFETY: clears the trap flag of this thread and nothing else. The stack is back where it was, and without
    // `nostack` the compiler keeps nothing below it.
    unsafe { asm!("pushfq", "and qword ptr [rsp], -0x101", "popfq") };
}

/// Counts, and parks the thread if this is the place. The kernel clears the flag for the handler and sets it again
/// when the handler returns.
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let step = steps() + 1;
    STEPS.store(step, Ordering::Relaxed); // [relaxed] the victim alone counts
    let from = STOP_FROM.load(Ordering::Relaxed); // [relaxed]
    let before = STOP_BEFORE.load(Ordering::Relaxed); // [relaxed]
    if step < from {
        return;
    }
    // SAFETY: the kernel hands a handler with SA_SIGINFO its thread's context, live until the handler returns, and
    // writes it back to the thread then.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    if step < before {
        NEXT_INSTRUCTION.store(registers[libc::REG_RIP as usize] as u64, Ordering::Relaxed); // [relaxed]
        park();
    }
    // No further stop: the rest need not be counted, and a trap takes long.
    if step + 1 >= STOP_BEFORE.load(Ordering::Relaxed) {
        // [relaxed] may have been disarmed meanwhile
        registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }
}

/// Tells the driver, and waits to be thawed.
fn park() {
    // The interrupted code may be about to read the error of its own last system call.
    // SAFETY: asks for the address of this thread's own errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own, and live as long as the thread.
    let kept = unsafe { *errno };
    STATE.set(PARKED);
    STATE.wait_while(PARKED, None);
    // SAFETY: as above.
    unsafe { *errno = kept };
}
