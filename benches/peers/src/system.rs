//! What the workloads ask of Linux: a thread's processor time, whether another sleeps, and which cores one may use.

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The processor time that the calling thread has used.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time that all threads of this process have used.
pub fn processor_time_of_all() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A thread of this process, seen by another.
pub struct Observed {
    state: File,
}

impl Observed {
    /// The calling thread. None without `/proc`.
    pub fn myself() -> Option<Self> {
        let id = Pid::as_raw(Some(gettid()));
        let state = File::open(format!("/proc/self/task/{id}/stat")).ok()?;
        Some(Self { state })
    }

    /// Does it sleep in the kernel at this moment?
    pub fn sleeps(&self) -> bool {
        let mut text = [0; 64];
        let length = self.state.read_at(&mut text, 0).unwrap_or(0);
        // "id (name) S ...": the name may hold anything, so the state is after the last bracket.
        let after = text[..length].iter().rposition(|byte| *byte == b')');
        after.is_some_and(|bracket| text.get(bracket + 2) == Some(&b'S'))
    }
}

/// The cores that this process may use.
pub fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("a process may ask for its own cores");
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps the calling thread on these cores.
pub fn stay_on(cores: &[usize]) {
    let mut wanted = CpuSet::new();
    cores.iter().for_each(|core| wanted.set(*core));
    sched_setaffinity(None, &wanted).expect("the cores are among those allowed");
}
