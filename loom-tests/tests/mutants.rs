//! Every planted fault must make some model fail.
//!
//! The models are part of this test binary too, so one build serves all mutants: the test starts itself once for each
//! fault, with `MUTANT` set and the models of one file chosen, and expects a failure. A model that a mutant makes
//! endless counts as failed after [`LIMIT`].
//!
//! Every notification begins with a sequentially consistent fence, which is a release fence too, and hides that a later
//! Release is missing. What must not lean on the fence is therefore broken together with it; that the models in
//! question bear the missing fence alone is checked as well.
#![cfg(loom)]
#![allow(clippy::print_stderr)]

use loom_tests::is_caught;
use std::time::{Duration, Instant};

#[path = "batch.rs"]
mod batch;
#[path = "commit.rs"]
mod commit;
#[path = "crew.rs"]
mod crew;
#[path = "direct.rs"]
mod direct;
#[path = "event.rs"]
mod event;
#[path = "group.rs"]
mod group;
#[path = "line.rs"]
mod line;
#[path = "prepare.rs"]
mod prepare;
#[path = "ring.rs"]
mod ring;
#[path = "roster.rs"]
mod roster;
#[path = "shutdown.rs"]
mod shutdown;
#[path = "sole.rs"]
mod sole;
#[path = "tasks.rs"]
mod tasks;
#[path = "window.rs"]
mod window;

/// The fault, and the models that must see it.
const MUTANTS: &[(&str, &str)] = &[
    // ring/swap.rs
    ("R1_push", "ring::two_producers"),
    ("R1_load", "ring::two_producers"),
    ("R2_pop", "ring::cells_go_round"),
    ("R2_load", "ring::cells_go_round"),
    ("R3_store", "ring::empty_is_exact"),
    ("R3_load", "ring::full_is_exact"),
    ("R4_load", "ring::a_length"),
    ("no_wrap", "ring::turns_wrap"),
    ("len_once", "ring::a_length_was_true"),
    ("cell_forgotten", "ring::cells_go_round"),
    ("no_drop", "ring::a_dropped_ring"),
    // ring/cells.rs, and the OnceLock of sync.rs
    ("S1_store", "ring::first_uses"),
    ("S1_load", "ring::first_uses"),
    ("late_id", "ring::a_ring_is_used_while"),
    // event.rs
    ("E1_listen", "event::no_wake_up_is_lost"),
    ("E1_notify", "event::no_wake_up_is_lost"),
    ("E2_wake,E1_notify", "event::a_notified_waiter_sees"),
    ("E2_wait", "event::a_notified_waiter_sees"),
    ("E2_withdraw", "event::a_deadline_overtaken"),
    ("late_key", "event::no_wake_up_is_lost"),
    ("cancel_always", "event::a_late_cancel"),
    ("sleep_again", "event::a_wake_that_reaches_a_newcomer"),
    ("keep_count", "event::registrations_that_end"),
    // queue/memory/line.rs and queue/credits.rs
    ("no_swap", "line::looking"),
    ("late_raise", "line::looking"),
    ("M4_push", "line::a_push"),
    ("M4_end", "line::a_push"),
    ("G1_leave", "line::a_gate"),
    ("G1_wait", "line::a_gate"),
    ("Q1_give", "line::room"),
    ("Q1_take", "line::room_taken"),
    ("Q1_count", "line::room_given"),
    // engine/roster.rs
    ("W1_set", "roster::a_message_is_found"),
    ("W1_clear", "roster::a_message_is_found"),
    ("W2_notify", "roster::a_message_is_found"),
    ("W2_search", "roster::a_long_handler"),
    ("W_sleep", "roster::a_message_is_found"),
    ("W2_call", "roster::a_long_handler"),
    ("W_alone", "roster::a_long_handler"),
    // engine/crew.rs, and what those do who ask it
    ("P1_want", "crew::a_place_that_is_given"),
    ("P1_park", "crew::a_place_that_is_given"),
    ("E1_listen", "crew::a_place_that_is_given"),
    ("E1_notify", "crew::a_place_that_is_given"),
    ("P2_begin", "crew::a_message_behind"),
    ("P2_look", "crew::a_message_behind"),
    ("P3_look", "crew::a_message_behind"),
    ("E1_listen", "crew::a_message_behind"),
    ("E1_notify", "crew::a_message_behind"),
    ("P2_leave", "crew::a_worker_that_leaves_only"),
    ("P3_leave", "crew::a_worker_that_leaves_hands_on"),
    ("P3_keep", "crew::the_foreman_keeps"),
    // event/tasks.rs
    ("E3_listen", "tasks::a_value_that_was_taken"),
    ("E2_wake", "tasks::a_value_that_was_taken"),
    ("any_late", "tasks::a_value_that_was_taken"),
    ("any_late", "tasks::two_that_wake"),
    ("task_keeps_wake", "tasks::a_receive_that_is_dropped"),
    ("task_keeps_wake", "tasks::a_send_that_is_dropped"),
    ("keep_waker", "tasks::the_last_waker"),
    ("wake_locked", "tasks::a_waker"),
    ("keep_count", "tasks::registrations"),
    ("E1_listen", "tasks::a_task_is_woken"),
    ("E1_notify", "tasks::a_task_is_woken"),
    // ring/future.rs
    ("poll_blind", "tasks::a_task_is_woken"),
    // ring/alone.rs
    ("R1_alone", "sole::both_alone_through_one"),
    ("R1_ahead", "sole::both_alone_through_one"),
    ("R2_alone", "sole::both_alone_through_one"),
    ("R2_ahead", "sole::both_alone_through_one"),
    ("R1_alone", "sole::stores_fill"),
    ("R1_ahead", "sole::exchanges_fill"),
    ("R5_fence,E1_notify", "sole::full_and_empty"),
    ("D4_fence,E1_notify", "direct::full_and_empty"),
    ("R3_alone,E1_notify", "sole::never_empty"),
    ("R3_alone,E1_notify", "sole::never_full"),
    ("R3_load", "sole::never_empty"),
    ("read_late", "sole::both_alone_through_one"),
    ("no_wrap", "sole::both_alone_through_two"),
    // ring/channel.rs: who is alone
    ("C1_alone", "sole::a_sender_that_is_left"),
    ("C1_drop,E1_notify", "sole::a_sender_that_is_left"),
    ("two_producers", "sole::a_sender_that_is_left"),
    ("count_late", "sole::a_sender_that_is_left"),
    ("C3_alone", "sole::a_receiver_that_is_left"),
    ("C3_drop,E1_notify", "sole::a_receiver_that_is_left"),
    ("two_consumers", "sole::a_receiver_that_is_left"),
    ("count_late", "sole::a_receiver_that_is_left"),
    // ring/direct.rs
    ("D1_store", "direct::values_go_through_one"),
    ("D1_load", "direct::values_go_through_one"),
    ("D2_store", "direct::values_go_through_one"),
    ("D2_load", "direct::values_go_through_one"),
    ("D3_request", "direct::nothing_stays_behind_when"),
    ("D3_done", "direct::nothing_stays_behind_when"),
    ("D3_again", "direct::nothing_stays_behind_when"),
    ("drain_beside", "direct::nothing_stays_behind_when"),
    ("C3_load", "direct::nothing_stays_behind_when"),
    // ring/shared.rs and ring/swap.rs: batches
    ("R3_batch,E1_notify", "batch::empty_is_exact"),
    ("R3_batch,E1_notify", "batch::full_is_exact"),
    ("R2_pop", "batch::cells_go_round"),
    ("tell_one", "batch::a_batch_wakes"),
    ("room_for_one", "batch::a_batch_taken"),
    ("no_batch_count", "batch::nothing_stays_behind"),
    ("no_batch_count", "direct::nothing_stays_behind_of_a_batch"),
    ("C2_drop", "batch::nothing_stays_behind"),
    ("no_last_looks", "batch::the_end_comes"),
    ("C1_load", "batch::the_end_comes"),
    // ring/shared.rs
    ("C1_load", "shutdown::the_end_comes"),
    ("C1_drop,E1_notify", "shutdown::the_end_comes"),
    ("C2_drop", "shutdown::nothing_stays_behind"),
    ("C2_drop", "direct::nothing_stays_behind_when"),
    ("sleep_blind", "shutdown::a_receiver_waits"),
    ("no_last_look", "shutdown::the_end_comes"),
    ("no_second_count", "shutdown::nothing_stays_behind"),
    ("E1_notify", "shutdown::nothing_stays_behind"),
    // log/tail.rs
    ("L1_store", "commit::a_reader"),
    ("L1_load", "commit::a_reader"),
    ("L2_fence", "commit::nothing_committed"),
    ("L3_cas", "commit::a_reader"),
    ("L3_load", "commit::a_reader"),
    ("L4_store", "commit::nobody_gets"),
    ("L4_load", "commit::nobody_gets"),
    ("help_one_only", "commit::nothing_committed"),
    ("pad_forgotten", "commit::a_frame"),
    ("limit_early", "commit::nobody_gets"),
    ("L2_fence", "commit::a_gap"),
    ("L3_cas", "commit::a_gap"),
    ("help_one_only", "commit::the_writer_that_commits_last"),
    ("L4_store", "commit::three_writers"),
    ("L4_load", "commit::three_writers"),
    ("closed_ignored", "commit::what_is_accepted"),
    ("closed_ignored", "commit::what_three_writers"),
    ("admit_once", "commit::what_three_writers"),
    ("admit_once", "commit::nothing_gets_into"),
    ("poison_ignored", "commit::nothing_gets_into"),
    ("flags_lost", "commit::publishes_end"),
    ("settlements_closed_too", "commit::publishes_end"),
    ("close_beside", "commit::the_last_frame"),
    ("full_ignored", "commit::each_budget"),
    ("last_unkept", "commit::each_budget"),
    // queue/waking.rs, and what those do who ask it
    ("more_unseen", "window::two_settlements"),
    ("room_untold", "window::room_that"),
    ("room_untold", "window::two_settlements"),
    ("wake_own_only", "window::a_gap_that_is_closed_wakes_for_another"),
    ("wake_own_only,more_unseen", "window::a_gap_that_is_closed_wakes_a_puller"),
    ("sleep_unseen", "window::each_message"),
    ("L2_fence", "window::a_message_behind"),
    ("E1_listen", "window::each_message"),
    ("E1_notify", "window::a_gap_that_is_closed_wakes_for_another"),
    // log/preparer.rs
    ("kick_unlocked", "prepare::a_kick"),
    ("wait_unrung", "prepare::writers_that_wait"),
    ("wait_unkicked", "prepare::writers_that_wait"),
    ("step_untold", "prepare::writers_that_wait"),
    ("need_unsaid", "prepare::a_frame_beyond"),
    ("never_again", "prepare::a_refusal"),
    ("refusal_uncounted", "prepare::a_refusal"),
    ("stop_untold_to_writers", "prepare::the_end_reaches_everybody"),
    ("stop_untold_to_thread", "prepare::the_end_reaches_the_thread"),
    // log/group.rs
    ("G1_store", "group::whoever_sees"),
    ("G1_load", "group::whoever_sees"),
    ("upto_late", "group::what_is_durable"),
    ("two_leaders", "group::what_is_durable"),
    ("enlist_late", "group::what_is_durable"),
    ("none_beyond", "group::a_leader_that_falls_short"),
    ("fail_quietly", "group::a_failure"),
    ("fail_quietly", "group::a_task_hears"),
    ("keep_waker", "group::the_last_waker"),
    ("wake_locked", "group::a_waker"),
    ("task_stays", "group::a_task_that_is_dropped"),
    // log/syncer.rs
    ("Y1_notice", "group::an_append_after_a_rest"),
    ("E1_listen", "group::an_append_after_a_rest"),
    ("idle_late", "group::an_append_after_a_rest"),
    ("idle_cleared", "group::an_append_beside"),
    ("E1_listen", "group::a_task_is_served"),
];

/// Faults that these models must bear, or what they catch together with another says nothing about the other.
const BORNE: &[(&str, &str)] = &[
    ("E1_notify", "event::a_notified_waiter_sees"),
    ("E1_notify", "shutdown::the_end_comes"),
    ("E1_notify", "sole::never_empty"),
    ("E1_notify", "sole::full_and_empty"),
    ("E1_notify", "direct::full_and_empty"),
    ("E1_notify", "sole::never_full"),
    ("E1_notify", "sole::a_sender_that_is_left"),
    ("E1_notify", "sole::a_receiver_that_is_left"),
    ("E1_notify", "batch::empty_is_exact"),
    ("E1_notify", "batch::full_is_exact"),
];

/// For one mutant; a model that runs longer has no end.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_mutant_is_caught() {
    if std::env::var_os("MUTANT").is_some() {
        return;
    }
    let begun = Instant::now();
    let mut survivors = Vec::new();
    for (mutant, models) in MUTANTS {
        let (caught, seconds) = is_caught(mutant, models, &[], LIMIT);
        let verdict = if caught { "caught" } else { "SURVIVED" };
        eprintln!("{mutant:18} {verdict} by {models} in {seconds:.1} s");
        if !caught {
            survivors.push(mutant);
        }
    }
    for (mutant, models) in BORNE {
        let (caught, seconds) = is_caught(mutant, models, &[], LIMIT);
        eprintln!("{mutant:18} borne: {} by {models} in {seconds:.1} s", !caught);
        assert!(!caught, "{models} do not bear {mutant}");
    }
    let (all, seconds) = (MUTANTS.len(), begun.elapsed().as_secs_f64());
    eprintln!("{} of {all} mutants caught in {seconds:.1} s", all - survivors.len());
    assert!(survivors.is_empty(), "survivors: {survivors:?}");
}
