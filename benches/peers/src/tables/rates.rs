//! `throughput`: values a second.

use super::{for_each, for_each_blocking, for_each_mpmc, for_each_mpsc, for_each_spsc};
use crate::ends::Named;
use crate::peers::{
    Array, Crossbeam, Disruptor, MillstreamPark, MillstreamSolePark, MillstreamSoleSpin,
    MillstreamSpin, Rtrb,
};
use crate::table::Table;
use crate::transfer::{self as run, Crowd};
use crate::value::{Bytes64, Value};

/// Of every ring in this table.
const CAPACITY: usize = 1024;

/// What a disruptor's figures mean where others receive singly.
const WHOLE_POLLS: &str = "each poll takes all that is there";
/// What a busy mode's figures mean where others try.
const OWN_CALLS: &str = "its own calls, which spin";

/// How many values a second, where nobody, one or several must be waited for?
pub fn throughput() -> Table {
    let question = "How many values a second? (u64 unless said; capacity 1024)";
    let mut table = Table::of_rates("throughput", question);
    pairs(&mut table);
    spinning::<u64>(&mut table, "1p1c spinning");
    blocking::<u64>(&mut table, "1p1c blocking");
    spinning::<Bytes64>(&mut table, "1p1c spinning, 64 bytes");
    blocking::<Bytes64>(&mut table, "1p1c blocking, 64 bytes");
    many(&mut table);
    batches(&mut table);
    table
}

fn pairs(table: &mut Table) {
    let name = "pairs, shared handles";
    for_each_mpmc!(P {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count));
    });
    for_each_mpsc!(P {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count))
            .noting("one receiver");
    });
    for_each!(P in [Array] {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count))
            .noting("cannot wait");
    });
    let name = "pairs, sole handles";
    for_each!(P in [Crossbeam] {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count))
            .noting("shared handles");
    });
    for_each_spsc!(P {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count));
    });
    for_each!(P in [Rtrb, Disruptor] {
        table.add(name, P::NAME, |count| run::pairs::<u64, P>(CAPACITY, count))
            .noting("cannot wait");
    });
}

fn spinning<T: Value>(table: &mut Table, name: &str) {
    for_each_blocking!(P {
        table.add(name, P::NAME, |count| run::spinning::<T, P>(CAPACITY, count));
    });
    for_each!(P in [Array, Rtrb] {
        table.add(name, P::NAME, |count| run::spinning::<T, P>(CAPACITY, count));
    });
    for_each!(P in [Disruptor] {
        table.add(name, P::NAME, |count| run::spinning::<T, P>(CAPACITY, count))
            .noting(WHOLE_POLLS);
    });
    for_each!(P in [MillstreamSpin, MillstreamSoleSpin] {
        table.add(name, P::NAME, |count| run::blocking::<T, P>(CAPACITY, 1, count))
            .noting(OWN_CALLS);
    });
}

fn blocking<T: Value>(table: &mut Table, name: &str) {
    for_each_blocking!(P {
        table.add(name, P::NAME, |count| run::blocking::<T, P>(CAPACITY, 1, count));
    });
    for_each!(P in [MillstreamPark, MillstreamSolePark] {
        table.add(name, P::NAME, |count| run::blocking::<T, P>(CAPACITY, 1, count));
    });
}

fn many(table: &mut Table) {
    let name = "4p1c blocking";
    for_each_mpmc!(P {
        table.add(name, P::NAME, |count| run::many_to_one::<u64, P>(CAPACITY, 4, count));
    });
    for_each_mpsc!(P {
        table.add(name, P::NAME, |count| run::many_to_one::<u64, P>(CAPACITY, 4, count));
    });
    for (name, batch) in [("4p4c blocking", 1), ("4p4c blocking, batches of 32", 32)] {
        let crowd = Crowd { senders: 4, receivers: 4, batch };
        for_each_mpmc!(P {
            let case = table.add(name, P::NAME, move |count| {
                run::many_to_many::<u64, P>(CAPACITY, crowd, count)
            });
            if batch > 1 {
                case.noting(P::BATCHES);
            }
        });
    }
}

fn batches(table: &mut Table) {
    const BATCH: u64 = 128;
    let name = "1p1c spinning, batches of 128";
    for_each_blocking!(P {
        table.add(name, P::NAME, |count| run::spinning_in_batches::<u64, P>(CAPACITY, BATCH, count))
            .noting(P::TRIED_BATCHES);
    });
    for_each!(P in [Array, Rtrb, Disruptor] {
        table.add(name, P::NAME, |count| run::spinning_in_batches::<u64, P>(CAPACITY, BATCH, count))
            .noting(P::TRIED_BATCHES);
    });
    let name = "1p1c blocking, batches of 128";
    for_each_blocking!(P {
        table.add(name, P::NAME, |count| run::blocking::<u64, P>(CAPACITY, BATCH, count))
            .noting(P::BATCHES);
    });
}
