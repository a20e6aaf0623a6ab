//! Every planted fault that is one without weak memory too must make some model of `shuttle.rs` fail.
//!
//! As in `mutants.rs`: the models are part of this test binary, which starts itself once for each fault. What was not
//! planted and fails is found by `shuttle.rs` itself: with a fault that is always there every mutant would look caught.
#![cfg(shuttle)]
#![allow(clippy::print_stderr)]

use loom_tests::is_caught;
use std::time::Duration;

#[path = "shuttle.rs"]
mod shuttle_models;
#[path = "shuttle_tasks.rs"]
mod shuttle_tasks;

/// The fault, and the models that must see it.
const MUTANTS: &[(&str, &str)] = &[
    // the control
    ("vyukov", "false_answers"),
    // ring/swap.rs
    ("no_wrap", "calls_on_two_entries_have_an_order_while"),
    ("len_once", "calls_on_three_entries"),
    ("cell_forgotten", "calls_on_one_entry"),
    ("no_drop", "what_is_left"),
    // ring/alone.rs
    ("old_bound", "batches_and_turns"),
    ("count_late", "batches_and_turns"),
    ("two_producers", "batches_and_turns"),
    ("two_consumers", "batches_and_turns"),
    // ring/direct.rs
    ("full_unseen", "two_counters"),
    ("empty_unseen", "two_counters"),
    ("drain_beside", "nothing_stays_behind_of_two_counters"),
    // ring/cells.rs
    ("late_id", "threads_come_and_go"),
    // event.rs
    ("late_key", "waiters_are_woken"),
    ("cancel_always", "waiters_are_woken"),
    ("sleep_again", "each_notification"),
    ("keep_count", "registrations_that_end"),
    ("late_key", "two_senders_and_two_receivers"),
    ("cancel_always", "two_senders_and_two_receivers"),
    ("sleep_again", "two_senders_and_two_receivers"),
    // ring/shared.rs
    ("no_last_look", "the_end_comes"),
    ("no_last_looks", "the_end_comes"),
    ("no_second_count", "nothing_stays_behind"),
    ("no_batch_count", "nothing_stays_behind"),
    ("sleep_blind", "two_senders_and_two_receivers"),
    ("tell_one", "a_batch_wakes"),
    ("room_for_one", "a_batch_wakes"),
    // event/tasks.rs
    ("task_keeps_wake", "tasks_"),
    ("cancel_always", "tasks_"),
];

/// More than without a fault: a child ends with the first schedule that fails.
const SCHEDULES: &str = "100000";

/// For one mutant; a model that runs longer has no end.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_mutant_is_caught() {
    if std::env::var_os("MUTANT").is_some() {
        return;
    }
    let mut survivors = Vec::new();
    for (mutant, models) in MUTANTS {
        let (caught, seconds) = is_caught(mutant, models, &[("SCHEDULES", SCHEDULES)], LIMIT);
        let verdict = if caught { "caught" } else { "SURVIVED" };
        eprintln!("{mutant:18} {verdict} by {models} in {seconds:.1} s");
        if !caught {
            survivors.push((mutant, models));
        }
    }
    assert!(survivors.is_empty(), "survivors: {survivors:?}");
}
