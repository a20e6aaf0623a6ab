//! `instructions`: how many an operation takes.

use super::{for_each, for_each_blocking};
use crate::ends::Named;
use crate::instructions::{Counter, an_operation};
use crate::peers::{Array, Disruptor, Rtrb};
use crate::statistics::Better;
use crate::table::{Case, Effort, Measure, Table};
use crate::transfer as run;

/// As in the throughput table.
const CAPACITY: usize = 1024;

/// What the counter counts, and `peers one` runs: workloads of one thread.
pub fn single_threaded() -> Table {
    const BATCH: u64 = 32;
    let mut table = Table::of_rates("one", "What one thread does, to be counted");
    for_each_blocking!(P {
        table.add("pairs", P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count));
    });
    for_each!(P in [Array, Rtrb, Disruptor] {
        table.add("pairs", P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count));
    });
    let name = "pairs in batches of 32";
    for_each_blocking!(P {
        table.add(name, P::NAME, |count| run::pairs_in_batches::<u64, P>(CAPACITY, BATCH, count))
            .noting(P::TRIED_BATCHES);
    });
    for_each!(P in [Array, Rtrb, Disruptor] {
        table.add(name, P::NAME, |count| run::pairs_in_batches::<u64, P>(CAPACITY, BATCH, count))
            .noting(P::TRIED_BATCHES);
    });
    table
}

/// How many instructions does a value take, sent and received? None if nothing here can count.
pub fn instructions(effort: &Effort) -> Option<Table> {
    let counter = Counter::here()?;
    let unit = match counter {
        Counter::Perf => "instructions a value (perf)",
        Counter::Callgrind => "instructions a value (callgrind)",
    };
    let measure =
        Measure { name: "sent and received", unit, better: Better::Lower, compared: true };
    let question = "How many instructions does a value take, sent and received on one thread?";
    let mut table = Table::of("instructions", question, vec![measure]);
    table.repetitions_max = if effort.quick { 1 } else { 3 };
    let count = if effort.quick { 4_096 } else { 65_536 };
    // A process each, twice: half of them are enough to see that it works.
    let wanted = |case: &Case| !effort.quick || case.workload == "pairs";
    for case in single_threaded().cases.into_iter().filter(wanted) {
        let (peer, workload) = (case.peer, case.workload.clone());
        table
            .add_fixed(&case.workload, peer, move || an_operation(counter, peer, &workload, count))
            .noting(case.note);
    }
    Some(table)
}
