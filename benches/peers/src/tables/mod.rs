//! The tables: which workloads, and who takes part in each.
//!
//! | file | tables |
//! |---|---|
//! | `rates.rs` | `throughput` |
//! | `sweeps.rs` | `threads`, `capacity`, `size` |
//! | `times.rs` | `latency`, `wake`, `idle`, `stalled` |
//! | `counts.rs` | `instructions` |
//!
//! A list of peers stands at each workload, because the bounds of the workload decide who can do it; the compiler
//! refuses a peer that cannot.

mod counts;
mod rates;
mod sweeps;
mod times;

pub use counts::{instructions, single_threaded};
pub use rates::throughput;
pub use sweeps::{capacity, size, threads};
pub use times::{idle, latency, stalled, wake};

/// Repeats a block with a type name standing for each peer in turn.
macro_rules! for_each {
    ($peer:ident in [$($each:ty),+ $(,)?] $body:block) => {
        $({
            type $peer = $each;
            $body
        })+
    };
}

/// The peers with many senders, many receivers and blocking calls.
macro_rules! for_each_mpmc {
    ($peer:ident $body:block) => {
        $crate::tables::for_each!($peer in [
            $crate::peers::Millstream,
            $crate::peers::Crossbeam,
            $crate::peers::Flume,
            $crate::peers::Kanal,
            $crate::peers::CrossfireMpmc,
            $crate::peers::AsyncChannel,
        ] $body)
    };
}

/// The peers with many senders, one receiver and blocking calls.
macro_rules! for_each_mpsc {
    ($peer:ident $body:block) => {
        $crate::tables::for_each!($peer in [
            $crate::peers::MillstreamMpsc,
            $crate::peers::CrossfireMpsc,
            $crate::peers::Tokio,
            $crate::peers::StdSync,
            $crate::peers::Thingbuf,
        ] $body)
    };
}

/// The peers with one sender, one receiver and blocking calls.
macro_rules! for_each_spsc {
    ($peer:ident $body:block) => {
        $crate::tables::for_each!($peer in [
            $crate::peers::MillstreamAlone,
            $crate::peers::MillstreamSole,
            $crate::peers::CrossfireSpsc,
        ] $body)
    };
}

/// Every peer with blocking calls: all that a single sender and a single receiver can use.
macro_rules! for_each_blocking {
    ($peer:ident $body:block) => {
        $crate::tables::for_each_mpmc!($peer $body);
        $crate::tables::for_each_mpsc!($peer $body);
        $crate::tables::for_each_spsc!($peer $body);
    };
}

use {for_each, for_each_blocking, for_each_mpmc, for_each_mpsc, for_each_spsc};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::BASELINE;
    use crate::table::{Effort, Table};
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn every_workload_has_the_baseline_once_and_no_peer_twice() {
        let effort = Effort { repetitions: 1, span: Duration::from_millis(1), quick: true };
        let all: [Table; 9] = [
            throughput(),
            threads(),
            capacity(),
            size(),
            latency(),
            wake(),
            idle(&effort),
            stalled(),
            single_threaded(),
        ];
        for table in all {
            let mut workloads: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for case in &table.cases {
                workloads.entry(case.title()).or_default().push(case.peer);
            }
            for (workload, mut peers) in workloads {
                let (count, place) = (peers.len(), format!("{}: {workload}", table.name));
                assert!(peers.contains(&BASELINE), "{place} without the baseline");
                assert!(
                    peers.iter().any(|peer| peer.starts_with("millstream")),
                    "{place} without us"
                );
                peers.sort();
                peers.dedup();
                assert_eq!(peers.len(), count, "{place} has a peer twice");
            }
        }
    }
}
