//! Does a thread sleep? By what the kernel says of it: its state, and how often it gave the processor up to wait.
//!
//! A thread that polls, however rarely, wakes and sleeps again, and each time is counted. So a thread sleeps in earnest if
//! it is asleep at two looks and was counted as often at both. In between the one who looks takes [`NAPS`] naps, each as
//! long as the ring's own shortest wait is: who polls at that pace would be counted as often as the napper is, and
//! the napper's count is checked.
//!
//! # Limits
//!
//! Linux: `/proc/thread-self` and `/proc/<process>/task/<thread>/status`.

#![allow(dead_code)] // Each test takes what it needs.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const NAPS: u64 = 20;
/// As the ring's wait where it could not make sure (`event::UNSURE_WAIT`).
const NAP: Duration = Duration::from_millis(1);
/// By then a thread sleeps or never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// A thread of this process, as the kernel knows it.
#[derive(Debug, Clone)]
pub struct Task(PathBuf);

/// What the kernel said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    asleep: bool,
    /// How often it gave the processor up to wait for something.
    waits: u64,
}

impl Task {
    /// The calling thread.
    pub fn mine() -> Self {
        let link = std::fs::read_link("/proc/thread-self").expect("a Linux with /proc");
        Self(Path::new("/proc").join(link).join("status"))
    }

    /// None if it has ended.
    pub fn look(&self) -> Option<Look> {
        let status = std::fs::read_to_string(&self.0).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field of every kernel").trim()
        };
        let waits = field("voluntary_ctxt_switches:").parse().expect("a number");
        Some(Look { asleep: field("State:").starts_with('S'), waits })
    }
}

/// Starts that on a thread; which one it is.
pub fn start<'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    wait: impl FnOnce() -> R + Send + 'scope,
) -> (Task, thread::ScopedJoinHandle<'scope, R>) {
    let (tell, told) = mpsc::channel();
    let handle = scope.spawn(move || {
        tell.send(Task::mine()).expect("the other side waits");
        wait()
    });
    (told.recv().expect("the thread was started"), handle)
}

/// Waits until all of them sleep in earnest; what was seen of them.
///
/// # Panics
///
/// If they do not, or one has ended.
pub fn asleep(tasks: &[Task]) -> Vec<Look> {
    let end = Instant::now() + PATIENCE;
    loop {
        let first = look_at(tasks);
        nap();
        let second = look_at(tasks);
        if first == second && second.iter().all(|look| look.is_some_and(|look| look.asleep)) {
            return second.into_iter().flatten().collect();
        }
        assert!(Instant::now() < end, "awake, or gone: {first:?} {second:?}");
    }
}

/// What is seen of them now, those that have ended included.
pub fn look_at(tasks: &[Task]) -> Vec<Option<Look>> {
    tasks.iter().map(Task::look).collect()
}

/// Long enough for who was woken to be seen awake.
pub fn nap() {
    let napper = Task::mine();
    let waits = || napper.look().expect("it is this thread").waits;
    let before = waits();
    (0..NAPS).for_each(|_| thread::sleep(NAP));
    assert!(waits() - before >= NAPS, "sleep does not count as such here");
}
