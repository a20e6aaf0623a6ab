//! The two states of the machine in which everything that waits for a disk is measured.
//!
//! On a virtual machine a sync takes as long as the sleep of the core that waits for it is deep: 75 to 95 us while the
//! other core computes, a timer tick while it idles. A peer that spins would win by that alone. So each such row is
//! measured as the machine is, and beside a spinner: a process of its own (so that no barrier or counter of the measured
//! one sees it) that computes on the last core, at the usual priority, pinned there. Nothing else is pinned.

use peers::system::{cores, stay_on};
use std::hint::spin_loop;
use std::io::{Read, Write, stdin, stdout};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A state of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// As it is.
    Free,
    /// The last core computes.
    Spinner,
}

impl Regime {
    /// As the tables print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Spinner => "spinner",
        }
    }
}

/// The process that computes. Ends when dropped, or with the process that started it.
pub struct Spinner {
    child: Child,
}

impl Spinner {
    /// Starts it; returns when it computes.
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("a program knows its own file");
        let mut command = Command::new(program);
        command.arg("spin").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process can be started");
        let mut ready = [0];
        let output = child.stdout.as_mut().expect("it was asked for");
        output.read_exact(&mut ready).expect("the spinner says that it is ready");
        Self { child }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let killed = self.child.kill();
        let waited = self.child.wait();
        debug_assert!(killed.is_ok() && waited.is_ok(), "it is this process's own child");
    }
}

/// What the process does: computes on the last core until nobody holds its input any more.
pub fn spin() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    let last = *cores().last().expect("a process has a core");
    thread::spawn(|| {
        let mut rest = Vec::new();
        // Returns when the other process is gone, in whichever way.
        let ended = stdin().read_to_end(&mut rest);
        drop(ended);
        ENDED.store(true, Ordering::Relaxed); // [relaxed] only the end is asked for
    });
    stay_on(&[last]);
    let mut output = stdout();
    output.write_all(b"!").and_then(|()| output.flush()).expect("somebody listens");
    while !ENDED.load(Ordering::Relaxed) {
        spin_loop(); // [relaxed] only the end is asked for
    }
}
