//! Models of the protocols of millstream, run by `cargo loom`.
//!
//! A model is a small program of at most four threads that loom runs in every order of its steps that needs at most
//! so many preemptions, with every value that a load may see. `LOOM_MAX_PREEMPTIONS` overrides each model's bound.
//!
//! | file | what is modelled |
//! |---|---|
//! | `tests/ring.rs` | push, pop, `len`, laps, wrap of turns, first use of a ring, end of a thread, drop |
//! | `tests/event.rs` | the event count: no wake-up lost, none kept, under both orders of waking |
//! | `tests/shutdown.rs` | the channel: blocking ends, deadlines, disconnection on either side |
//! | `tests/commit.rs` | the log's tail: reserve, commit, help, refuse, the prepared end |
//! | `tests/mutants.rs` | every ordering and rule broken once: some model must fail |
//!
//! Not seen by loom: the accesses that are sequentially consistent (it treats them as AcqRel; the fences it knows), the
//! kernel's futex, real time, more than about four threads. Laps beyond a handful.

#![cfg_attr(not(loom), allow(unused))]

/// Runs the model in every order that needs at most so many preemptions, and says in how many.
///
/// # Panics
///
/// If the model does, in any of them, or if there was only one: a model without a choice proves nothing.
#[cfg(loom)]
#[allow(clippy::print_stderr)]
pub fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    use std::sync::atomic::{AtomicU64, Ordering};

    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    let bound = builder.preemption_bound.unwrap_or(preemptions);
    let name = std::thread::current().name().unwrap_or("a model").to_owned();
    let runs = std::sync::Arc::new(AtomicU64::new(0));
    let (counted, begun) = (runs.clone(), std::time::Instant::now());
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed); // [relaxed] one thread runs the model
        model();
    });
    let runs = runs.load(Ordering::Relaxed); // [relaxed] one thread
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{name}: {runs} interleavings at {bound} preemptions, {seconds:.2} s");
    assert!(runs > 1, "{name}: one interleaving proves nothing");
}

/// As [`explore`], once for each order in which a futex may wake its sleepers.
#[cfg(loom)]
pub fn explore_wakes(preemptions: usize, model: fn()) {
    use millstream::modelled::{WakeOrder, set_wake_order};
    for order in [WakeOrder::Oldest, WakeOrder::Newest] {
        set_wake_order(order);
        explore(preemptions, model);
    }
}
