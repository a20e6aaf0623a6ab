//! What a figure depends on: the machine, the system, the compiler, the commit, the peers' versions.

use crate::system::cores;
use serde::Serialize;
use std::fs;
use std::process::Command;

/// The head of a report.
#[derive(Serialize)]
pub struct Machine {
    /// Name, family, model and stepping of the processor.
    pub processor: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// Is it a virtual machine?
    pub virtual_machine: bool,
    /// Kilobytes of memory.
    pub memory_kb: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Where the kernel's clock comes from.
    pub clock_source: String,
    /// Do the ring's waiters pay for its barrier alone (`membarrier`)?
    pub asymmetric_barrier: bool,
    /// The compiler that built this program.
    pub rustc: String,
    /// Of millstream, with `+` if the tree had changes.
    pub commit: String,
    /// Name and version of each peer.
    pub peers: Vec<(String, String)>,
}

impl Machine {
    /// This one, and the versions of these packages.
    pub fn here(packages: &[&str]) -> Self {
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let processor = format!(
            "{}, family {} model {} stepping {}",
            field(&information, "model name"),
            field(&information, "cpu family"),
            field(&information, "model"),
            field(&information, "stepping")
        );
        let flags = field(&information, "flags");
        const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        Self {
            processor,
            cores: cores().len(),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            memory_kb: field(&memory, "MemTotal").trim_end_matches(" kB").to_owned(),
            kernel: line_of("/proc/sys/kernel/osrelease"),
            clock_source: line_of(CLOCK),
            asymmetric_barrier: millstream::ring::is_asymmetric(),
            rustc: env!("RUSTC_VERSION").to_owned(),
            commit: commit(),
            peers: versions(packages),
        }
    }
}

/// The versions that this program was built with, from its lock file.
fn versions(packages: &[&str]) -> Vec<(String, String)> {
    let lock = include_str!("../Cargo.lock");
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let entries = lock.split("[[package]]").filter_map(|entry| {
        let mut lines = entry.lines().filter(|line| !line.is_empty());
        Some((quoted(lines.next()?)?, quoted(lines.next()?)?))
    });
    entries.filter(|(name, _)| packages.contains(&name.as_str())).collect()
}

/// Running and waiting threads, on average over 1, 5 and 15 minutes.
pub fn load_average() -> String {
    line_of("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The value of the first line "name : value".
fn field(text: &str, name: &str) -> String {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(known, _)| known.trim() == name);
    found.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments);
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changes = git(&["status", "--porcelain"]).unwrap_or_default();
    if changes.is_empty() { head } else { head + "+" }
}
