//! System calls that are refused, as in a sandbox: a filter of the kernel's, on a thread and on all that it starts.
//!
//! The program that the kernel runs before each call looks at the number and nothing else:
//!
//! ```text
//!   load the number;  is it the one?  yes: the verdict   no: allow
//! ```
//!
//! Who may not have such a filter here is told so by a panic: a test that needs one has failed then, and is not passed
//! over.
//!
//! # Limits
//!
//! Linux. The number is that of this program's own kind of processor; calls by another convention are let through. A filter
//! is for good: whoever has one ends with it.

#![allow(unsafe_code)]
#![allow(dead_code)] // Each test takes what it needs.

use std::io;

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It fails with EPERM.
    Refused,
    /// It ends the process, by SIGSYS.
    Fatal,
}

/// Who must live with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The calling thread, and the threads and processes that it starts from now on.
    ThisThread,
    /// All threads of this process.
    AllThreads,
}

/// A full barrier in every running thread of the process.
pub const MEMBARRIER: libc::c_long = libc::SYS_membarrier;
/// The processor is offered to others.
pub const YIELD: libc::c_long = libc::SYS_sched_yield;

/// From now on that call ends so, for them.
///
/// # Panics
///
/// If the kernel does not take the filter.
pub fn filter(call: libc::c_long, verdict: Verdict, whom: Whom) {
    // SAFETY: the call takes numbers only. It says that no program started from here gets more rights than this one.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(bound, 0, "no_new_privs is refused: {}", io::Error::last_os_error());

    let verdict = match verdict {
        Verdict::Refused => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        Verdict::Fatal => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let number = u32::try_from(call).expect("numbers of system calls are small");
    let step = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the number comes first in what it sees
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, verdict),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    let flags = if whom == Whom::AllThreads { libc::SECCOMP_FILTER_FLAG_TSYNC } else { 0 };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` and the steps that it points to live until the call returns; the kernel copies them.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    assert_eq!(
        answer,
        0,
        "a seccomp filter is refused here, so what holds under one cannot be tested: {}",
        io::Error::last_os_error()
    );
}

/// Does the kernel let the calling thread have the barrier that the ring goes by where it can?
pub fn membarrier_is_offered() -> bool {
    // SAFETY: the call takes numbers only and asks what there is.
    let offered = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_QUERY, 0, 0) };
    let wanted = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED;
    offered > 0 && offered & libc::c_long::from(wanted) != 0
}
