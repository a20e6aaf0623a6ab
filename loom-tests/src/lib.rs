//! Models of the protocols of millstream, run by `cargo loom` and `cargo shuttle`.
//!
//! A model is a small program of at most four threads that loom runs in every order of its steps that needs at most
//! so many preemptions, with every value that a load may see. `LOOM_MAX_PREEMPTIONS` overrides each model's bound.
//!
//! | file | what is modelled |
//! |---|---|
//! | `tests/ring.rs` | push, pop, `len`, laps, wrap of turns, first use of a ring, end of a thread, drop |
//! | `tests/sole.rs` | ends that are alone, by stores, beside every other kind; becoming alone, and company again |
//! | `tests/direct.rs` | the ring with one end on each side for good; who empties it in the end |
//! | `tests/batch.rs` | batches: cut by a full ring, by the end, by a panic; who is told |
//! | `tests/tasks.rs` | futures: woken, dropped at any moment, beside sleeping threads |
//! | `tests/event.rs` | the event count: no wake-up lost, none kept, under both orders of waking |
//! | `tests/shutdown.rs` | the channel: blocking ends, deadlines, disconnection on either side |
//! | `tests/line.rs` | the memory kind: looking without taking, the end of a line, credits |
//! | `tests/roster.rs` | the workers' roster: no message without somebody who looks, none behind a long handler |
//! | `tests/crew.rs` | adaptive workers: who parks, who is called, who is told that all are at work |
//! | `tests/commit.rs` | the log's tail: reserve, commit, help, refuse, the prepared end |
//! | `tests/prepare.rs` | the log prepared ahead of its writers: rung for, waited for, refused, ended |
//! | `tests/window.rs` | a persistent subscription: who is woken for a message, behind a gap, for room |
//! | `tests/group.rs` | one sync for many: threads and tasks that wait, who leads next, failure; the thread that syncs at an interval |
//! | `tests/mutants.rs` | every ordering and rule broken once: some model must fail |
//!
//! Under shuttle, larger ones in random orders of their steps, `SCHEDULES` of each:
//!
//! | file | what is modelled |
//! |---|---|
//! | `tests/shuttle.rs` | histories of the channel, held against a plain queue; engines of up to six threads |
//! | `tests/shuttle_tasks.rs` | tasks and threads on one channel, futures dropped at any poll |
//! | `tests/shuttle_mutants.rs` | every rule that does not lean on weak memory broken once: some model must fail |
//!
//! The thread that runs the model only prepares, spawns and judges; every party has a thread of its own (`two`,
//! `three`). Loom 0.7.3 never lets a spawned thread overtake a load of the thread that spawned it: a model whose
//! own thread takes part was seen to pass in one interleaving, and to miss planted faults.
//!
//! Not seen by loom: the accesses that are sequentially consistent (it treats them as AcqRel; the fences it knows), the
//! kernel's futex, real time, more than about four threads. Laps beyond a handful. Nor what is between a store and a fence
//! that follows it: loom changes threads at accesses only, so the fence hides that the store is too weak
//! (`tests/mutants.rs` says what is done about it). The barrier of `src/barrier.rs` is a pair of fences in a model; that
//! the system may refuse it, and the short wait for that case, are not seen. Not seen by shuttle: that an
//! ordering is too weak, or a fence missing; orders that its random numbers do not draw.

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

    if is_idle_copy() {
        return;
    }
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

/// The models are in `tests/mutants.rs` or `tests/shuttle_mutants.rs` once more, to be run there with a fault only.
#[cfg(any(loom, shuttle))]
fn is_idle_copy() -> bool {
    let test = std::env::current_exe().expect("the test's own path");
    let name = test.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with("mutants-") || name.starts_with("shuttle_mutants-"))
        && std::env::var_os("MUTANT").is_none()
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

/// Two parties at once, and what they answer.
#[cfg(loom)]
pub fn two<A: 'static, B: 'static>(
    a: impl FnOnce() -> A + 'static,
    b: impl FnOnce() -> B + 'static,
) -> (A, B) {
    let (a, b) = (loom::thread::spawn(a), loom::thread::spawn(b));
    (answer(a), answer(b))
}

/// Three parties at once, and what they answer.
#[cfg(loom)]
pub fn three<A: 'static, B: 'static, C: 'static>(
    a: impl FnOnce() -> A + 'static,
    b: impl FnOnce() -> B + 'static,
    c: impl FnOnce() -> C + 'static,
) -> (A, B, C) {
    let (a, b, c) = (loom::thread::spawn(a), loom::thread::spawn(b), loom::thread::spawn(c));
    (answer(a), answer(b), answer(c))
}

#[cfg(loom)]
fn answer<R>(party: loom::thread::JoinHandle<R>) -> R {
    party.join().expect("a party that panics ends the model")
}

/// Schedules of each model and scheduler, unless the environment variable `SCHEDULES` says otherwise.
#[cfg(shuttle)]
pub const SCHEDULES: usize = 20_000;

/// The random numbers of every run; the environment variable `SHUTTLE_RANDOM_SEED` overrides it.
#[cfg(shuttle)]
const SEED: u64 = 0x6d69_6c6c;

/// Runs the model in random schedules, and in as many that switch at few places (PCT): each finds what the other
/// misses. A failure prints its schedule, for `shuttle::replay`.
///
/// # Panics
///
/// If the model does in any of them, or if it waits for ever.
#[cfg(shuttle)]
#[allow(clippy::print_stderr)]
pub fn schedules(model: impl Fn() + Send + Sync + Copy + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    /// Switches of a PCT schedule that are placed at random, and one.
    const DEPTH: usize = 3;
    if is_idle_copy() {
        return;
    }
    let wanted = std::env::var("SCHEDULES").ok();
    let count = wanted.map_or(SCHEDULES, |text| text.parse().expect("SCHEDULES is a number"));
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 17; // the search for an order calls itself
    config.silence_warnings = true; // of what the head of src/sync.rs says
    let begun = std::time::Instant::now();
    let random = RandomScheduler::new_from_seed(SEED, count);
    shuttle::Runner::new(random, config.clone()).run(model);
    let between = std::time::Instant::now();
    let pct = PctScheduler::new_from_seed(SEED, DEPTH, count);
    shuttle::Runner::new(pct, config).run(model);
    let name = std::thread::current().name().unwrap_or("a model").to_owned();
    let each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / count as f64;
    let (first, second) = (each(between - begun), each(between.elapsed()));
    eprintln!("{name}: {count} schedules each, random {first:.0} us, PCT {second:.0} us");
}

/// Starts this test binary once more, for those models with that fault planted and whatever else its environment is to
/// hold. Did a model fail, or was there no end of it by the limit? And how many seconds did it take.
#[cfg(any(loom, shuttle))]
pub fn is_caught(
    fault: &str,
    models: &str,
    environment: &[(&str, &str)],
    limit: std::time::Duration,
) -> (bool, f64) {
    use std::process::{Command, Stdio};

    let begun = std::time::Instant::now();
    let child = Command::new(std::env::current_exe().expect("the test's own path"))
        .args([models, "--test-threads=2"])
        .env("MUTANT", fault)
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test can start itself");
    let status = ended(child, begun + limit);
    (!status.is_some_and(|status| status.success()), begun.elapsed().as_secs_f64())
}

/// How the child ended; none if it had to be stopped.
#[cfg(any(loom, shuttle))]
fn ended(
    mut child: std::process::Child,
    deadline: std::time::Instant,
) -> Option<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if std::time::Instant::now() > deadline {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            return None;
        }
        // Waits for a process, not for an order of events.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
