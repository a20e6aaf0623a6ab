//! Runs of the laboratory, held to what no machine excuses: every message accounted for, causes before effects, order, counts.
//!
//! Nothing here compares times with each other, but for which came first: how long things take on this machine, and whether a
//! law holds, is the laboratory's business, not the tests'.

use millstream::lab::{
    Event, Experiment, ExperimentError, Kind, On, Progress, Run, RunError, Service, Wait,
};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// Long enough that messages meet, short enough for a test.
const MESSAGES: u64 = 400;
const SERVICE: Duration = Duration::from_micros(30);

/// Every kind on everything it runs on, in every way to wait that it has.
fn all() -> Vec<Experiment> {
    let every =
        |kind| On::ALL.map(|on| Wait::ALL.map(|wait| (kind, on, wait))).into_iter().flatten();
    let all = Kind::ALL.into_iter().flat_map(every).map(|(kind, on, wait)| {
        let made = Experiment::new(kind).on(on).wait(wait);
        made.messages(MESSAGES).service_mean(SERVICE).seed(7)
    });
    // More threads that spin than there are cores get nowhere; and one kind of service runs as the other does.
    let is_worth_it = |made: &Experiment| match (made.kind, made.on, made.wait) {
        (Kind::Mmc, _, Wait::Spin) => false,
        (Kind::Md1 | Kind::Mg1, on, wait) => on == On::Ring && wait == Wait::Spin,
        _ => true,
    };
    all.filter(|made| made.check().is_ok() && is_worth_it(made)).collect()
}

fn run(experiment: &Experiment) -> Run {
    match experiment.run(&mut |_| {}) {
        Ok(run) => run,
        Err(error) => panic!("{experiment:?}: {error}"),
    }
}

/// What holds of every run.
#[track_caller]
fn check(experiment: &Experiment, events: &[Event]) {
    assert_eq!(events.len() as u64, experiment.messages, "a row for each id, without a gap");
    assert!(events.is_sorted_by_key(|event| event.intended_ns), "the schedule is in order");
    assert!(events.is_sorted_by_key(|event| event.arrival_ns), "rows are in order of arrival");
    for (id, event) in events.iter().enumerate() {
        assert!(event.intended_ns <= event.arrival_ns, "{id}: nothing arrives before its time");
        let Some(served) = event.served else { continue };
        assert!(event.arrival_ns <= served.start_ns, "{id}: nothing is served before it arrives");
        let drawn_ns = event.drawn_ns.expect("the laboratory knows what it asked for");
        assert!(served.start_ns + drawn_ns <= served.end_ns, "{id}: no service is cut short");
    }
    check_servers(experiment, events);
    check_capacity(experiment, events);
}

/// No more services at a time than there are servers, and one server serves in order of arrival.
#[track_caller]
fn check_servers(experiment: &Experiment, events: &[Event]) {
    let served: Vec<_> = events.iter().filter_map(|event| event.served).collect();
    let mut changes: Vec<(u64, i32)> =
        served.iter().flat_map(|each| [(each.start_ns, 1), (each.end_ns, -1)]).collect();
    changes.sort_unstable(); // of two at one moment, the end is first
    let mut busy = 0;
    for (at_ns, change) in changes {
        busy += change;
        assert!(busy <= experiment.servers as i32, "{busy} servers at {at_ns} ns");
    }
    if experiment.servers == 1 {
        assert!(served.is_sorted_by_key(|each| each.start_ns), "first in, first out");
    }
}

/// When the next message arrives, the publishes of those before it are over: there are at most K of them in the system.
/// One more on the persistent kind, which counts anew when it seems full, and may miss a settlement that passes meanwhile.
#[track_caller]
fn check_capacity(experiment: &Experiment, events: &[Event]) {
    let Some(capacity) = experiment.capacity else {
        assert!(events.iter().all(|event| event.served.is_some()), "nothing is refused");
        return;
    };
    let most = capacity + u64::from(experiment.on == On::Persistent);
    let mut inside: VecDeque<u64> = VecDeque::new();
    for (id, event) in events.iter().enumerate() {
        inside.retain(|end_ns| *end_ns > event.arrival_ns);
        let held = inside.len() as u64;
        assert!(held <= most, "{held} in the system before {id}: {experiment:?}");
        inside.extend(event.served.map(|served| served.end_ns));
    }
}

/// Promise: of everything offered, each message is refused or served once, and its stamps tell a possible story.
#[test]
fn every_message_of_every_run_is_accounted_for_in_a_possible_order() {
    let all = all();
    assert_eq!(all.len(), 58, "{} experiments", all.len());
    for experiment in all {
        let run = run(&experiment);
        check(&experiment, &run.events);
        assert_eq!(run.parameters, experiment.parameters());
        let servers = if experiment.kind == Kind::Tandem { 2 } else { experiment.servers };
        assert_eq!(run.footings.len(), 1 + servers as usize, "{experiment:?}");
        assert_eq!(run.recorded.is_some(), experiment.on.is_engine());
        assert_eq!(run.publishes.count, MESSAGES);
        let sleeps = run.overshoot.server.count + run.overshoot.source.count;
        assert!(sleeps == 0 || experiment.wait == Wait::Sleep, "{sleeps} sleeps");
    }
}

/// Promise: the schedule is the seed's, whatever happens; another seed has another.
#[test]
fn a_seed_has_one_schedule_whatever_stands_in_between() {
    let made = |on, seed| {
        let made = Experiment::new(Kind::Mm1).on(on).wait(Wait::Park);
        made.messages(MESSAGES).service_mean(SERVICE).seed(seed)
    };
    let schedule = |made: Experiment| -> Vec<_> {
        run(&made).events.iter().map(|event| (event.intended_ns, event.drawn_ns)).collect()
    };
    let first = schedule(made(On::Ring, 1));
    assert_eq!(first, schedule(made(On::Memory, 1)), "the same seed");
    assert_ne!(first, schedule(made(On::Ring, 2)), "another seed");
    let faster = schedule(made(On::Ring, 1).load(0.9).service_mean(SERVICE));
    assert_ne!(first, faster, "another load");
    let draws = |schedule: &[(u64, Option<u64>)]| -> Vec<_> {
        schedule.iter().map(|(_, drawn_ns)| *drawn_ns).collect()
    };
    assert_eq!(draws(&first), draws(&faster), "the services of a seed are the same at every load");
}

/// Promise: what is over K is refused, the rest is served; in a queue that is offered far more than it can serve, both happen.
#[test]
fn a_full_queue_refuses_and_serves_all_that_it_took() {
    for on in On::ALL {
        for wait in Wait::ALL {
            let made = Experiment::new(Kind::Mm1k).on(on).wait(wait).load(5.0).capacity(3);
            let made = made.messages(MESSAGES).service_mean(SERVICE);
            let run = run(&made);
            check(&made, &run.events);
            let served = run.events.iter().filter(|event| event.served.is_some()).count();
            assert!(served > 0 && served < MESSAGES as usize, "{on} {wait}: {served} served");
        }
    }
}

/// Promise: what one stage lets go arrives at the next in that moment; the second draws its services anew.
#[test]
fn the_second_stage_of_a_tandem_takes_what_the_first_lets_go() {
    for on in [On::Memory, On::Persistent] {
        let made = Experiment::new(Kind::Tandem).on(on).messages(MESSAGES).service_mean(SERVICE);
        let run = run(&made);
        let second = run.second.expect("a tandem has two stages");
        check(&made, &run.events);
        check(&made, &second.events);
        for (before, event) in run.events.iter().zip(&second.events) {
            let ended_ns = before.served.map(|served| served.end_ns);
            assert_eq!((Some(event.intended_ns), Some(event.arrival_ns)), (ended_ns, ended_ns));
        }
        let draws = |events: &[Event]| events.iter().map(|each| each.drawn_ns).collect::<Vec<_>>();
        assert_ne!(draws(&run.events), draws(&second.events));
    }
}

/// Promise: a run on the persistent kind leaves nothing where it was.
#[test]
fn a_persistent_run_leaves_no_directory_behind() {
    let parent = tempfile::tempdir().unwrap();
    for wait in Wait::ALL {
        let made = Experiment::new(Kind::Mm1).on(On::Persistent).wait(wait);
        let mut made = made.messages(MESSAGES).service_mean(SERVICE);
        made.folder = Some(parent.path().to_path_buf());
        let mut seen = 0;
        let progress = &mut |_: Progress| seen += std::fs::read_dir(parent.path()).unwrap().count();
        made.run(progress).unwrap();
        assert!(seen > 0, "it was there during the run");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}

/// Promise: the listener hears of the run on the thread that asked for it, and of its end.
#[test]
fn progress_is_told_on_the_calling_thread_and_never_goes_back() {
    let caller = std::thread::current().id();
    let mut heard = Vec::new();
    let made = Experiment::new(Kind::Mm1).on(On::Ring).wait(Wait::Sleep).messages(300);
    let run = made.run(&mut |progress| {
        assert_eq!(std::thread::current().id(), caller);
        heard.push(progress);
    });
    assert_eq!(run.unwrap().events.len(), 300);
    assert!(heard.is_sorted_by_key(|progress| (progress.offered, progress.elapsed)));
    let last = heard.last().expect("the end at least is told");
    assert_eq!((last.offered, last.messages), (300, 300));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    use ExperimentError as E;
    let mm1 = || Experiment::new(Kind::Mm1);
    let refused = |made: Experiment| match made.run(&mut |_| panic!("it does not run")) {
        Err(RunError::Experiment(error)) => error,
        other => panic!("{made:?}: {:?}", other.map(|_| "it ran")),
    };
    for load in [0.0, -0.5, f64::NAN, f64::INFINITY, 1e9] {
        assert!(matches!(refused(mm1().load(load)), E::Load { .. }), "{load}");
    }
    for kind in [Kind::Mm1, Kind::Mmc, Kind::Md1, Kind::Mg1, Kind::Tandem, Kind::Setup] {
        assert_eq!(refused(Experiment::new(kind).load(1.0)), E::Unstable { kind, load: 1.0 });
    }
    assert!(Experiment::new(Kind::Mm1k).load(2.0).check().is_ok());
    assert!(matches!(refused(Experiment::new(Kind::Saturation).load(1.1)), E::NotSaturated { .. }));
    for mean in [Duration::ZERO, Duration::from_nanos(999), Duration::from_secs(11)] {
        assert_eq!(refused(mm1().service_mean(mean)), E::ServiceMean { mean });
    }
    for messages in [0, millstream::lab::MESSAGES_MAX + 1, u64::MAX] {
        assert_eq!(refused(mm1().messages(messages)), E::Messages { messages });
    }
    for servers in [0, 65, u32::MAX] {
        assert_eq!(refused(Experiment::new(Kind::Mmc).servers(servers)), E::Servers { servers });
    }
    assert!(matches!(refused(mm1().servers(2)), E::OneServer { servers: 2, .. }));
    for capacity in [0, 1, millstream::lab::CAPACITY_MAX + 1] {
        let made = Experiment::new(Kind::Mm1k).capacity(capacity);
        assert!(matches!(refused(made), E::Capacity { .. }), "{capacity}");
    }
    assert!(matches!(refused(mm1().capacity(5)), E::CapacityUnknown { capacity: 5, .. }));
    let unlimited = Experiment { capacity: None, ..Experiment::new(Kind::Mm1k) };
    assert!(matches!(refused(unlimited), E::CapacityMissing { .. }));
    for band in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(refused(mm1().band(band)), E::Band { .. }), "{band}");
    }
    let uneven = Experiment { service: Service::General, ..mm1() };
    assert!(matches!(refused(uneven), E::Service { needed: Service::Exponential, .. }));
    assert!(matches!(refused(Experiment::new(Kind::Mg1).cs2(f64::NAN)), E::Variability(_)));
    assert_eq!(refused(Experiment::new(Kind::Priority)), E::NoLanes);
    let tandem = || Experiment::new(Kind::Tandem);
    assert_eq!(refused(tandem().on(On::Ring)), E::TandemOn { on: On::Ring });
    assert!(matches!(refused(tandem().wait(Wait::Spin)), E::Wait { wait: Wait::Spin, .. }));
    assert!(matches!(refused(Experiment::new(Kind::Setup).wait(Wait::Spin)), E::Wait { .. }));
    let fifo = |priority| Experiment { fifo: Some(priority), ..mm1().wait(Wait::Sleep) };
    assert_eq!(refused(fifo(0)), E::FifoPriority { priority: 0 });
    assert!(fifo(50).check().is_ok());
    assert_eq!(refused(fifo(50).wait(Wait::Spin)), E::FifoSpins);
    let slow = mm1().load(1e-6).service_mean(Duration::from_secs(1));
    assert!(matches!(refused(slow), E::TooLong { .. }));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_with_its_name() {
    let mut made = Experiment::new(Kind::Mm1).on(On::Persistent).messages(10);
    made.folder = Some(PathBuf::from("no/such/place"));
    let error = made.run(&mut |_| panic!("it does not run")).expect_err("nowhere to be");
    assert!(matches!(error, RunError::Folder { .. }));
    assert!(error.to_string().contains("no/such/place"), "{error}");
}

#[test]
fn the_parameters_say_what_was_asked_for() {
    let ring = Experiment::new(Kind::Mm1k).on(On::Ring).capacity(5).parameters();
    assert_eq!((ring.capacity, ring.ring_capacity), (Some(5), Some(4)), "one is in service");
    let memory = Experiment::new(Kind::Mm1k).capacity(5);
    assert_eq!(memory.queue_capacity(), 5, "an engine counts what is in service too");
    let made = Experiment::new(Kind::Mmc).servers(4).load(0.5).parameters();
    assert_eq!((made.mu, made.lambda, made.cs2), (500.0, 1_000.0, Some(1.0)));
    let lasting = Experiment::new(Kind::Mm1).load(0.5).lasting(Duration::from_secs(10));
    assert_eq!(lasting.messages, 100_000);
    assert_eq!(lasting.expected_duration().as_secs(), 10);
    for (load, service_us) in [(0.8, 50), (0.81, 100), (0.95, 100)] {
        let mean = Experiment::new(Kind::Mm1).load(load).service_mean;
        assert_eq!(mean, Duration::from_micros(service_us), "the default at {load}");
    }
}
