//! What a result must say of the machine that it is from: what it is, what it was busy with, and what it granted.
//!
//! | value | is | from |
//! |---|---|---|
//! | [`Machine`] | what it is, at one moment | `/proc`, `/sys` |
//! | [`Busy`] | what it did besides, over a run | `/proc/stat`, `/proc/loadavg`, before and after |
//! | [`Footing`] | what one thread of a run was granted, and how often it was taken off its core | the calls' answers, `/proc/self/task` |
//!
//! Nothing here fails: what cannot be read (another system, a filter, a container) is `None`, and the report says so.
//!
//! # Limits
//!
//! Steal and switches are those of the whole machine, in ticks of 10 ms where the kernel counts ticks. A governor is the
//! first core's.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The kernel's unit of processor time in `/proc/stat`, by its interface a hundredth of a second.
const TICKS_PER_S: f64 = 100.0;

/// A machine, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system and processor architecture, as the compiler calls them.
    pub system: String,
    /// Cores that this process may use.
    pub cores: Option<usize>,
    /// The processor's name.
    pub model: Option<String>,
    /// Does the processor say that it is a hypervisor's?
    pub is_virtual: Option<bool>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// What the kernel reads its clock from.
    pub clock_source: Option<String>,
    /// What chooses the first core's frequency.
    pub governor: Option<String>,
    /// Are sessions scheduled as groups? Then priorities between processes of two sessions mean nothing.
    pub autogroup: Option<bool>,
    /// Mean length of the run queue over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// The commit that was built, if the caller knows it.
    pub commit: Option<String>,
}

impl Machine {
    /// This one, now.
    pub fn now() -> Self {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = field(&about, "flags").or_else(|| field(&about, "Features"));
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: crate::sync::thread::available_parallelism().ok().map(usize::from),
            model: field(&about, "model name").map(str::to_owned),
            is_virtual: flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            memory_bytes: memory_bytes(),
            kernel: line("/proc/sys/kernel/osrelease"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            autogroup: line("/proc/sys/kernel/sched_autogroup_enabled").map(|word| word != "0"),
            load_average: load_average(),
            commit: None,
        }
    }

    /// The same, with the commit that was built.
    pub fn commit(mut self, commit: impl Into<String>) -> Self {
        self.commit = Some(commit.into());
        self
    }
}

/// What the whole machine did over a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Mean length of the run queue over the minute before the run.
    pub load_before: Option<f64>,
    /// The same over the minute before its end: the run's own threads are in it.
    pub load_after: Option<f64>,
    /// Time that a hypervisor gave to others while cores of this machine had work, all cores together, in seconds.
    pub steal_s: Option<f64>,
    /// Time that the cores worked, the run's own work included, in seconds.
    pub busy_s: Option<f64>,
    /// Times that a core changed from one thread to another.
    pub switches: Option<u64>,
}

/// The counters that [`Busy`] is a difference of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    load: Option<f64>,
    steal_s: Option<f64>,
    busy_s: Option<f64>,
    switches: Option<u64>,
}

impl Counters {
    pub(super) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self { load: load_average().map(|[minute, ..]| minute), ..Self::read(&text) }
    }

    fn read(stat: &str) -> Self {
        let mut counters = Self::default();
        for line in stat.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("cpu") => {
                    let seconds: Vec<f64> = words
                        .map_while(|word| word.parse().ok())
                        .map(|t: f64| t / TICKS_PER_S)
                        .collect();
                    // user nice system idle iowait irq softirq steal
                    if let [user, nice, system, _, _, irq, softirq, steal, ..] = seconds[..] {
                        counters.busy_s = Some(user + nice + system + irq + softirq);
                        counters.steal_s = Some(steal);
                    }
                }
                Some("ctxt") => counters.switches = words.next().and_then(|word| word.parse().ok()),
                _ => {}
            }
        }
        counters
    }

    /// What was done between `self` and `later`.
    pub(super) fn until(self, later: Self) -> Busy {
        let less = |later: Option<f64>, earlier: Option<f64>| Some((later? - earlier?).max(0.0));
        Busy {
            load_before: self.load,
            load_after: later.load,
            steal_s: less(later.steal_s, self.steal_s),
            busy_s: less(later.busy_s, self.busy_s),
            switches: later.switches.zip(self.switches).map(|(b, a)| b.saturating_sub(a)),
        }
    }
}

/// What one thread of a run was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footing {
    /// `source`, `server`.
    pub role: String,
    /// The core it was pinned to; none: not pinned.
    pub core: Option<usize>,
    /// How exactly the kernel ends its sleeps, in nanoseconds; none: as exactly as it likes.
    pub timer_slack_ns: Option<u64>,
    /// Its priority under SCHED_FIFO; none: it is scheduled as every thread is.
    pub fifo: Option<u8>,
    /// Times that it slept, in the run.
    pub slept: Option<u64>,
    /// Times that it was taken off its core for another thread, in the run.
    pub preempted: Option<u64>,
}

/// Times that a thread of this process slept and was taken off its core, since it began.
pub(super) fn switches_of(thread_id: u32) -> Option<(u64, u64)> {
    let path = format!("/proc/self/task/{thread_id}/status");
    switches(&fs::read_to_string(path).ok()?)
}

fn switches(status: &str) -> Option<(u64, u64)> {
    let count = |name| field(status, name)?.parse().ok();
    Some((count("voluntary_ctxt_switches")?, count("nonvoluntary_ctxt_switches")?))
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The only line of a file; none if there is nothing in it.
fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = field(&text, "MemTotal")?.strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1_024)
}

fn load_average() -> Option<[f64; 3]> {
    let text = line("/proc/loadavg")?;
    let mut words = text.split(' ').map_while(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 20 30 4000 50 6 4 250 0 0\ncpu0 1 2 3 4\nintr 7\nctxt 1234\n";

    #[test]
    fn what_the_machine_did_is_the_difference_of_its_counters() {
        let earlier = Counters { load: Some(0.5), ..Counters::read(STAT) };
        assert_eq!((earlier.steal_s, earlier.busy_s), (Some(2.5), Some(1.6)));
        let later = Counters { steal_s: Some(4.0), switches: Some(1_300), load: None, ..earlier };
        let busy = earlier.until(later);
        assert_eq!((busy.steal_s, busy.busy_s, busy.switches), (Some(1.5), Some(0.0), Some(66)));
        assert_eq!((busy.load_before, busy.load_after), (Some(0.5), None));
    }

    #[test]
    fn what_is_cut_or_odd_is_not_known_and_no_failure() {
        for cut in 0..STAT.len() {
            Counters::read(&STAT[..cut]);
        }
        let nothing = Counters::read("cpu one two\nctxt -5\nctxt").until(Counters::read(""));
        assert_eq!(nothing, Busy::default());
        assert_eq!(switches("voluntary_ctxt_switches:\t5\n"), None);
        let both = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
        assert_eq!(switches(both), Some((5, 6)));
    }

    #[test]
    fn a_machine_says_what_it_is_and_survives_being_written_down() {
        let machine = Machine::now().commit("abc");
        assert!(machine.system.contains(std::env::consts::ARCH));
        let text = serde_json::to_string(&machine).expect("plain values");
        assert_eq!(serde_json::from_str::<Machine>(&text).expect("as written"), machine);
    }
}
