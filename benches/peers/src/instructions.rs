//! Instructions an operation takes: the companion without noise to the times of the single-threaded pairs.
//!
//! This program runs itself, `peers one PEER WORKLOAD COUNT`, for a count and for twice the count; the difference is
//! the count's own, without start and end. The machine's counter is used where perf may read it, else callgrind counts. It
//! simulates one thread at a time, so only workloads of one thread are worth counting.

use crate::transfer::Outcome;
use std::env;
use std::process::Command;
use std::time::Instant;

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The processor, read by perf.
    Perf,
    /// Valgrind's callgrind.
    Callgrind,
}

impl Counter {
    /// The best that is here.
    pub fn here() -> Option<Self> {
        let candidates = [Self::Perf, Self::Callgrind];
        candidates.into_iter().find(|counter| counter.count(&["--version"]).is_some())
    }

    /// The instructions of this program with these arguments, in user space.
    fn count(self, arguments: &[&str]) -> Option<u64> {
        let mut command = match self {
            Self::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-x,", "-e", "instructions:u"]);
                command
            }
            Self::Callgrind => {
                let mut command = Command::new("valgrind");
                command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
                command
            }
        };
        let output = command.arg(env::current_exe().ok()?).args(arguments).output().ok()?;
        if !output.status.success() {
            return None;
        }
        self.parse(&String::from_utf8_lossy(&output.stderr))
    }

    /// "1234,,instructions:u,..." of perf, "==1== Collected : 1234" of callgrind.
    fn parse(self, said: &str) -> Option<u64> {
        let number = match self {
            Self::Perf => {
                said.lines().find(|line| line.contains("instructions"))?.split(',').next()
            }
            Self::Callgrind => said.lines().find_map(|line| line.split("Collected :").nth(1)),
        };
        number?.trim().parse().ok()
    }
}

/// Instructions of one operation of this workload by this peer.
pub fn an_operation(counter: Counter, peer: &str, workload: &str, count: u64) -> Outcome {
    let begun = Instant::now();
    let of = |count: u64| {
        let counted = counter.count(&["one", peer, workload, &count.to_string()]);
        counted.expect("what could be counted before can be counted now")
    };
    let instructions = of(2 * count) - of(count);
    let figures = vec![instructions as f64 / count as f64];
    Outcome { count, elapsed: begun.elapsed(), figures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_a_refusal_is_none() {
        let perf = "4711,,instructions:u,100000,100.00,,\n";
        assert_eq!(Counter::Perf.parse(perf), Some(4711));
        assert_eq!(Counter::Perf.parse("<not supported>,,instructions:u,0,100.00,,\n"), None);
        let callgrind = "==9== Events    : Ir\n==9== Collected : 60042\n";
        assert_eq!(Counter::Callgrind.parse(callgrind), Some(60042));
        assert_eq!(Counter::Callgrind.parse(""), None);
    }
}
