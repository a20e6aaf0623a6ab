//! `threads`, `capacity` and `size`: the same transfers over a range.

use super::{for_each_blocking, for_each_mpmc, for_each_mpsc};
use crate::ends::Named;
use crate::table::Table;
use crate::transfer::{self as run, Crowd};
use crate::value::{Bytes64, Bytes256, Value};

/// Where it is not the question.
const CAPACITY: usize = 1024;

/// How do the channels bear more threads than cores?
pub fn threads() -> Table {
    let question = "How do they bear more threads? (blocking, u64, capacity 1024)";
    let mut table = Table::of_rates("threads", question);
    for side in [1, 2, 4, 8, 16] {
        let point = side.to_string();
        many(&mut table, "N senders, N receivers", side, side, &point);
        many(&mut table, "N senders, 1 receiver", side, 1, &point);
        for_each_mpsc!(P {
            let run = move |count| run::many_to_one::<u64, P>(CAPACITY, side, count);
            table.add("N senders, 1 receiver", P::NAME, run).at(&point);
        });
        many(&mut table, "1 sender, N receivers", 1, side, &point);
    }
    table
}

fn many(table: &mut Table, name: &str, senders: usize, receivers: usize, point: &str) {
    let crowd = Crowd { senders, receivers, batch: 1 };
    for_each_mpmc!(P {
        let run = move |count| run::many_to_many::<u64, P>(CAPACITY, crowd, count);
        table.add(name, P::NAME, run).at(point);
    });
}

/// How much room do they need?
pub fn capacity() -> Table {
    let question = "How much room do they need? (values that the channel holds; blocking, u64)";
    let mut table = Table::of_rates("capacity", question);
    let crowd = Crowd { senders: 4, receivers: 4, batch: 1 };
    for capacity in [1, 2, 8, 64, 1024, 65_536] {
        let point = capacity.to_string();
        for_each_blocking!(P {
            table.add("1p1c blocking", P::NAME, move |count| {
                run::blocking::<u64, P>(capacity, 1, count)
            }).at(&point);
        });
        for_each_mpmc!(P {
            table.add("4p4c blocking", P::NAME, move |count| {
                run::many_to_many::<u64, P>(capacity, crowd, count)
            }).at(&point);
        });
    }
    table
}

/// What does the size of a value cost?
pub fn size() -> Table {
    let question = "What does the size of a value cost? (blocking, capacity 1024)";
    let mut table = Table::of_rates("size", question);
    of_size::<u64>(&mut table);
    of_size::<Bytes64>(&mut table);
    of_size::<Bytes256>(&mut table);
    table
}

fn of_size<T: Value>(table: &mut Table) {
    let point = format!("{} bytes", size_of::<T>());
    let crowd = Crowd { senders: 4, receivers: 4, batch: 1 };
    for_each_blocking!(P {
        table.add("1p1c blocking", P::NAME, |count| run::blocking::<T, P>(CAPACITY, 1, count))
            .at(&point);
    });
    for_each_mpmc!(P {
        table.add("4p4c blocking", P::NAME, move |count| {
            run::many_to_many::<T, P>(CAPACITY, crowd, count)
        }).at(&point);
    });
}
