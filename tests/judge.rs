//! The judge on queues whose answer is known: true samples of every kind are not condemned, doctored ones are.
//!
//! Samples are simulated, to the nanosecond and with fixed seeds, so that each test gives the same answer every time.

use millstream::lab::{
    Chance, Event, EventError, Grouping, JudgeError, Judgement, Kind, LawCheck, Parameters, Served,
    Service, StallAccount, Stalls, Verdict, check_events, judge, judge_tandem, pool, simulate,
    simulate_tandem,
};

const BAND: f64 = 0.03;
const MU: f64 = 20_000.0;

fn parameters(kind: Kind, load: f64) -> Parameters {
    Parameters {
        kind,
        servers: 1,
        capacity: None,
        ring_capacity: None,
        lambda: load * MU,
        mu: MU,
        service: Service::Exponential,
        cs2: None,
        seed: 1,
        warmup: 0,
        wait: "simulated".to_owned(),
        on: None,
        classes: Vec::new(),
        stages: Vec::new(),
    }
}

fn mm1(load: f64, messages: usize, seed: u64) -> (Parameters, Vec<Event>) {
    let parameters = Parameters { seed, ..parameters(Kind::Mm1, load) };
    let events = simulate(&parameters, messages).expect("can be simulated");
    (parameters, events)
}

fn judged(parameters: &Parameters, events: &[Event]) -> Judgement {
    judge(parameters, events, None, BAND).expect("a run")
}

#[track_caller]
fn check<'a>(judgement: &'a Judgement, quantity: &str, law: &str) -> &'a LawCheck {
    let found = judgement.checks.iter().find(|one| one.quantity == quantity && one.law == law);
    found.unwrap_or_else(|| panic!("no {quantity} beside {law} in {:#?}", judgement.checks))
}

#[track_caller]
fn assert_broken(judgement: &Judgement, why: &str) {
    assert_eq!(judgement.verdict, Verdict::Broken, "{}", judgement.because);
    assert!(judgement.because.contains(why), "{why} is not why: {}", judgement.because);
}

/// A queue of one server that serves in order, from gaps and services in nanoseconds.
fn serve(gaps_ns: &[u64], services_ns: &[u64]) -> Vec<Event> {
    let (mut at_ns, mut free_ns) = (0, 0);
    let row = |(gap_ns, service_ns): (&u64, &u64)| {
        at_ns += gap_ns;
        let start_ns = free_ns.max(at_ns);
        free_ns = start_ns + service_ns;
        let served = Some(Served { start_ns, end_ns: free_ns });
        Event { intended_ns: at_ns, arrival_ns: at_ns, served, drawn_ns: None, class: None }
    };
    gaps_ns.iter().zip(services_ns).map(row).collect()
}

fn exponentials(seed: u64, mean_ns: f64, count: usize) -> Vec<u64> {
    let mut chance = Chance::new(seed);
    (0..count).map(|_| (chance.exponential() * mean_ns) as u64).collect()
}

#[test]
fn a_true_sample_holds_once_it_is_long_enough_and_is_undecided_before() {
    let (parameters, events) = mm1(0.5, 100_000, 3);
    let long = judged(&parameters, &events);
    assert_eq!(long.verdict, Verdict::Holds, "{}", long.because);
    assert_eq!(long.grouping, Grouping::Empty);
    assert_eq!(long.own_path.ratio, 1.0);
    assert_eq!(long.own_path.ratio_to_draws, Some(1.0));
    assert_eq!(long.little.area, long.little.sojourns);
    assert!(long.points.len() > 15, "{}", long.points.len());
    assert_eq!(long.inputs.len(), 7);
    let short = judged(&parameters, &events[..2_000]);
    let Verdict::Undecided { messages } = short.verdict else { panic!("{}", short.because) };
    assert!((10_000..1_000_000).contains(&messages), "{messages}");
}

/// Promise: of true samples of every kind none is called broken. Method: several loads and seeds of each, long enough that
/// all tests of inputs and distributions have their say.
#[test]
fn no_true_sample_of_any_kind_is_called_broken() {
    let classes = || vec!["high".to_owned(), "middle".to_owned(), "low".to_owned()];
    let general = |kind, load, cs2| Parameters {
        service: Service::General,
        cs2: Some(cs2),
        ..parameters(kind, load)
    };
    let md1 = |load| Parameters { service: Service::Deterministic, ..parameters(Kind::Md1, load) };
    let mm1k =
        |load, capacity| Parameters { capacity: Some(capacity), ..parameters(Kind::Mm1k, load) };
    let mmc = |load, servers| Parameters {
        servers,
        lambda: load * MU * f64::from(servers),
        ..parameters(Kind::Mmc, load)
    };
    let cases = [
        parameters(Kind::Mm1, 0.1),
        parameters(Kind::Mm1, 0.8),
        Parameters { warmup: 5_000, ..parameters(Kind::Mm1, 0.9) },
        parameters(Kind::Setup, 0.5),
        md1(0.5),
        md1(0.8),
        general(Kind::Mg1, 0.5, 0.3),
        general(Kind::Mg1, 0.7, 4.0),
        mm1k(0.8, 5),
        mm1k(1.0, 5),
        mm1k(1.5, 64),
        mmc(0.7, 2),
        mmc(0.7, 4),
        mmc(0.8, 8),
        Parameters { classes: classes(), ..parameters(Kind::Priority, 0.7) },
        Parameters { classes: classes(), ..general(Kind::Priority, 0.5, 0.5) },
        parameters(Kind::Saturation, 1.5),
        Parameters { capacity: Some(65), ..parameters(Kind::Saturation, 1.5) },
    ];
    for case in cases {
        for seed in [1, 2, 3] {
            let parameters = Parameters { seed, ..case.clone() };
            let events = simulate(&parameters, 40_000).unwrap();
            let judgement = judged(&parameters, &events);
            let fine = matches!(judgement.verdict, Verdict::Holds | Verdict::Undecided { .. });
            assert!(fine, "{:?}: {}", parameters, judgement.because);
            assert!(judgement.checks.iter().any(|check| check.decides));
        }
    }
    for seed in [1, 2, 3] {
        let parameters = Parameters { seed, ..parameters(Kind::Tandem, 0.6) };
        let [first, next] = simulate_tandem(&parameters, 1.2 * MU, 40_000).unwrap();
        let judgement = judge_tandem(&parameters, [&first, &next], None, BAND).unwrap();
        let fine = matches!(judgement.verdict, Verdict::Holds | Verdict::Undecided { .. });
        assert!(fine, "{}", judgement.because);
        assert_eq!(judgement.own_path.ratio_to_draws, Some(1.0));
        assert!(judgement.next_stage.is_some());
    }
}

/// Each kind can be decided: with enough messages the law holds.
#[test]
fn long_true_samples_of_every_kind_hold() {
    let classes = vec!["high".to_owned(), "low".to_owned()];
    let cases = [
        (parameters(Kind::Setup, 0.4), 150_000),
        (Parameters { service: Service::Deterministic, ..parameters(Kind::Md1, 0.5) }, 150_000),
        (
            Parameters { service: Service::General, cs2: Some(0.5), ..parameters(Kind::Mg1, 0.5) },
            150_000,
        ),
        (Parameters { capacity: Some(5), ..parameters(Kind::Mm1k, 1.0) }, 150_000),
        (Parameters { servers: 4, lambda: 2.4 * MU, ..parameters(Kind::Mmc, 0.6) }, 150_000),
        (Parameters { classes, ..parameters(Kind::Priority, 0.4) }, 150_000),
        (parameters(Kind::Saturation, 1.5), 50_000),
    ];
    for (parameters, messages) in cases {
        let events = simulate(&parameters, messages).unwrap();
        let judgement = judge(&parameters, &events, None, 0.05).unwrap();
        assert_eq!(
            judgement.verdict,
            Verdict::Holds,
            "{:?}: {}",
            parameters.kind,
            judgement.because
        );
    }
    let tandem = parameters(Kind::Tandem, 0.5);
    let [first, next] = simulate_tandem(&tandem, 1.3 * MU, 150_000).unwrap();
    let judgement = judge_tandem(&tandem, [&first, &next], None, 0.05).unwrap();
    assert_eq!(judgement.verdict, Verdict::Holds, "{}", judgement.because);
}

#[test]
fn deterministic_services_are_no_exponential_ones() {
    let parameters = Parameters { service: Service::Deterministic, ..parameters(Kind::Md1, 0.5) };
    let events = simulate(&parameters, 50_000).unwrap();
    let claimed = Parameters { kind: Kind::Mm1, service: Service::Exponential, ..parameters };
    let judgement = judged(&claimed, &events);
    assert_broken(&judgement, "services are exponential");
    assert_eq!(check(&judgement, "W from intended", "M/M/1").verdict, Verdict::Broken);
    let explained = check(&judgement, "W from arrival", "M/G/1 at realized moments");
    assert!((explained.measured / explained.theory - 1.0).abs() < BAND, "{explained:?}");
    let exponential = mm1(0.5, 50_000, 1).1;
    let md1 = Parameters { kind: Kind::Md1, service: Service::Deterministic, ..claimed };
    assert_broken(&judged(&md1, &exponential), "services are all alike");
}

/// Gaps in runs of alike: each is exponential, and they are not independent.
#[test]
fn correlated_gaps_are_found() {
    let mut gaps = exponentials(1, 100_000.0, 50_000);
    for pair in gaps.chunks_exact_mut(2) {
        pair[1] = pair[0];
    }
    let judgement =
        judged(&parameters(Kind::Mm1, 0.5), &serve(&gaps, &exponentials(2, 50_000.0, 50_000)));
    assert_broken(&judgement, "gaps are independent");
}

#[test]
fn a_rate_that_wanders_is_found() {
    let mut gaps = exponentials(1, 100_000.0, 50_000);
    for (at, gap) in gaps.iter_mut().enumerate() {
        let swing = 1.0 + 0.2 * (at as f64 / 5_000.0).sin();
        *gap = (*gap as f64 * swing) as u64;
    }
    let judgement =
        judged(&parameters(Kind::Mm1, 0.5), &serve(&gaps, &exponentials(2, 50_000.0, 50_000)));
    assert_broken(&judgement, "the arrival rate is steady");
}

#[test]
fn services_that_follow_the_gaps_are_found() {
    let gaps = exponentials(1, 100_000.0, 50_000);
    let services: Vec<u64> = exponentials(2, 25_000.0, 50_000)
        .iter()
        .zip(&gaps)
        .map(|(service, gap)| service + gap / 4)
        .collect();
    let judgement = judged(&parameters(Kind::Mm1, 0.5), &serve(&gaps, &services));
    assert_broken(&judgement, "services do not depend on gaps");
}

/// Rows that are gone leave their time behind: the rest waits for nobody. With the ids as they were it is no file at all.
#[test]
fn dropped_rows_are_found() {
    let (parameters, events) = mm1(0.7, 50_000, 5);
    let kept = |at: &usize| at % 10 != 9;
    let rest: Vec<Event> = (0..events.len()).filter(kept).map(|at| events[at]).collect();
    let judgement = judged(&parameters, &rest);
    assert_broken(&judgement, "of own path");
    // The service that nobody accounts for is an idle server.
    assert!(judgement.own_path.ratio > 1.2, "{}", judgement.own_path.ratio);
}

#[test]
fn shifted_stamps_are_found_or_impossible() {
    let (parameters, events) = mm1(0.5, 50_000, 6);
    let shifted = |by_ns: i64| -> Vec<Event> {
        let move_ns = |ns: u64| ns.saturating_add_signed(by_ns);
        let shift = |event: &Event| Event {
            served: event.served.map(|Served { start_ns, end_ns }| Served {
                start_ns: move_ns(start_ns),
                end_ns: move_ns(end_ns),
            }),
            ..*event
        };
        events.iter().map(shift).collect()
    };
    assert_broken(&judged(&parameters, &shifted(5_000)), "of own path");
    let early = judge(&parameters, &shifted(-1_000), None, BAND).unwrap_err();
    assert!(matches!(early, JudgeError::Events(EventError::Causality { .. })), "{early}");
    // A source that was late by a tenth of a service.
    let late: Vec<Event> = events
        .iter()
        .map(|event| Event { intended_ns: event.intended_ns.saturating_sub(10_000), ..*event })
        .collect();
    let judgement = judged(&parameters, &late);
    assert!(judgement.source_late);
    assert_broken(&judgement, "the source was late");
    assert_ne!(check(&judgement, "W from arrival", "M/M/1").verdict, Verdict::Broken);
}

#[test]
fn a_rounded_clock_is_found() {
    let (parameters, events) = mm1(0.5, 50_000, 7);
    let round = |ns: u64| ns / 5_000 * 5_000;
    let rounded: Vec<Event> = events
        .iter()
        .map(|event| Event {
            intended_ns: round(event.intended_ns),
            arrival_ns: round(event.arrival_ns),
            served: event.served.map(|Served { start_ns, end_ns }| Served {
                start_ns: round(start_ns),
                end_ns: round(end_ns),
            }),
            ..*event
        })
        .collect();
    assert_broken(&judged(&parameters, &rounded), "the clock is fine");
}

#[test]
fn a_hidden_second_server_is_found() {
    let two = Parameters { kind: Kind::Mmc, servers: 2, ..parameters(Kind::Mmc, 0.7) };
    let events = simulate(&two, 50_000).unwrap();
    let one = Parameters { kind: Kind::Mm1, servers: 1, ..two };
    let judgement = judged(&one, &events);
    assert_broken(&judgement, "services at one time 2 beside servers 1");
    assert!(judgement.own_path.early > 0);
}

/// A slow engine: each hand-off takes a twentieth of a service.
#[test]
fn an_engine_that_adds_to_every_hand_off_is_found_by_its_own_path() {
    let (gaps, services) = (exponentials(1, 100_000.0, 50_000), exponentials(2, 50_000.0, 50_000));
    let slow: Vec<u64> = services.iter().map(|service| service + 2_500).collect();
    let mut events = serve(&gaps, &slow);
    for event in &mut events {
        let served = event.served.as_mut().unwrap();
        served.start_ns += 2_500;
    }
    let judgement = judged(&parameters(Kind::Mm1, 0.5), &events);
    assert_broken(&judgement, "of own path");
    assert_eq!(judgement.hand_offs.busy.p50_ns, 2_500);
}

#[test]
fn a_buffer_of_another_size_is_found() {
    let mm1k = Parameters { capacity: Some(5), ..parameters(Kind::Mm1k, 1.0) };
    let events = simulate(&mm1k, 60_000).unwrap();
    let smaller = Parameters { capacity: Some(4), ..mm1k.clone() };
    assert_broken(&judged(&smaller, &events), "most in the system 5 beside K 4");
    let larger = Parameters { capacity: Some(7), ..mm1k };
    let judgement = judged(&larger, &events);
    assert_broken(&judgement, "loss is");
    assert_broken(&judgement, "share refused with room for more");
    let unlimited = Parameters { kind: Kind::Mm1, capacity: None, lambda: 0.9 * MU, ..larger };
    let some =
        simulate(&Parameters { kind: Kind::Mm1k, capacity: Some(5), ..unlimited.clone() }, 60_000);
    assert_broken(&judged(&unlimited, &some.unwrap()), "refused");
}

#[test]
fn priorities_that_nobody_keeps_are_found() {
    let classes = vec!["high".to_owned(), "low".to_owned()];
    let parameters = Parameters { classes, ..parameters(Kind::Priority, 0.8) };
    let events = simulate(&parameters, 60_000).unwrap();
    let plain = simulate(
        &Parameters { kind: Kind::Mm1, classes: Vec::new(), ..parameters.clone() },
        60_000,
    )
    .unwrap();
    let unkept: Vec<Event> = plain
        .iter()
        .zip(&events)
        .map(|(served, classed)| Event { class: classed.class, ..*served })
        .collect();
    let judgement = judged(&parameters, &unkept);
    assert_broken(&judgement, "of class 0");
    let wrong = [Event { class: Some(2), ..events[0] }].repeat(20);
    let error = judge(&parameters, &wrong, None, BAND).unwrap_err();
    assert!(matches!(error, JudgeError::Class { row: 1, classes: 2 }), "{error}");
}

#[test]
fn a_server_that_must_wake_is_explained_by_the_set_up_model_alone() {
    let setup = parameters(Kind::Setup, 0.3);
    let events = simulate(&setup, 100_000).unwrap();
    let judgement = judged(&setup, &events);
    assert_eq!(judgement.verdict, Verdict::Holds, "{}", judgement.because);
    let plain = check(&judgement, "W from intended", "M/M/1");
    assert!(plain.verdict == Verdict::Broken && !plain.decides, "{plain:?}");
    let as_mm1 = judged(&Parameters { kind: Kind::Mm1, ..setup }, &events);
    assert_broken(&as_mm1, "of own path");
    assert!((as_mm1.own_path.ratio_without_absences - 1.0).abs() < 0.05, "{:?}", as_mm1.own_path);
}

#[test]
fn a_saturated_server_that_rests_between_messages_is_found() {
    let parameters = parameters(Kind::Saturation, 1.5);
    let services = exponentials(2, 50_000.0, 20_000);
    let mut events = serve(
        &exponentials(1, 33_333.0, 20_000),
        &services.iter().map(|s| s + 2_000).collect::<Vec<_>>(),
    );
    for event in &mut events {
        event.served.as_mut().unwrap().start_ns += 2_000;
    }
    let judgement = judged(&parameters, &events);
    assert_broken(&judgement, "throughput is 0.96");
    assert_broken(&judgement, "service and hand-off is 1.03");
}

#[test]
fn a_run_that_the_machine_disturbed_says_nothing_of_the_law() {
    let (parameters, events) = mm1(0.5, 50_000, 8);
    let run_s = judged(&parameters, &events).realized.run_s;
    let account = |of_band: f64| {
        // sum d^2 / (2 T s) = of_band * BAND
        let square_s2 = of_band * BAND * 2.0 * run_s / MU;
        StallAccount {
            server: Stalls { count: 1, square_s2, ..Stalls::default() },
            ..StallAccount::default()
        }
    };
    let quiet = judge(&parameters, &events, Some(&account(0.2)), BAND).unwrap();
    assert_ne!(quiet.verdict, Verdict::Disturbed, "{}", quiet.because);
    let stalled = judge(&parameters, &events, Some(&account(0.3)), BAND).unwrap();
    assert_eq!(stalled.verdict, Verdict::Disturbed);
    let bias = stalled.stall_bias.unwrap();
    assert!((bias.total() / BAND - 0.3).abs() < 0.01 && bias.idle == 0.0, "{bias:?}");
    // So slowed down that there is no steady state: still a judgement, since every repetition is printed.
    let swamped = serve(&exponentials(1, 50_000.0, 5_000), &exponentials(2, 60_000.0, 5_000));
    let overwhelmed = judge(&parameters, &swamped, Some(&account(100.0)), BAND).unwrap();
    assert_eq!(overwhelmed.verdict, Verdict::Disturbed, "{}", overwhelmed.because);
    assert!(overwhelmed.because.contains("no steady state"), "{}", overwhelmed.because);
    let error = judge(&parameters, &swamped, Some(&account(0.0)), BAND).unwrap_err();
    assert!(matches!(error, JudgeError::Unstable { .. }), "{error}");
    // What has no chance in it is broken all the same.
    let late: Vec<Event> = events
        .iter()
        .map(|event| Event {
            served: event.served.map(|served| Served {
                start_ns: served.start_ns + 9_000,
                end_ns: served.end_ns + 9_000,
            }),
            ..*event
        })
        .collect();
    let slow = judge(&parameters, &late, Some(&account(0.3)), BAND).unwrap();
    assert_broken(&slow, "of own path");
}

#[test]
fn runs_are_pooled_by_their_groups_and_what_one_broke_stays_broken() {
    let runs: Vec<Judgement> = (1..=4)
        .map(|seed| mm1(0.6, 30_000, seed))
        .map(|(parameters, events)| judged(&parameters, &events))
        .collect();
    let pooled = pool(&runs).unwrap();
    assert_eq!((pooled.runs, pooled.messages), (4, 120_000));
    let width = |checks: &[LawCheck]| checks[0].interval.unwrap().half_width;
    let ratio = width(&runs[0].checks) / width(&pooled.checks);
    assert!((1.5..2.7).contains(&ratio), "four runs halve the width: {ratio}");
    assert_ne!(pooled.verdict, Verdict::Broken, "{}", pooled.because);
    let mut faulty = runs.clone();
    let (parameters, events) = mm1(0.6, 30_000, 9);
    let early = simulate(&Parameters { kind: Kind::Mmc, servers: 2, ..parameters.clone() }, 30_000)
        .unwrap();
    faulty.push(judged(&parameters, &early));
    assert_eq!(pool(&faulty).unwrap().verdict, Verdict::Broken);
    let mut uneven = runs.clone();
    let gaps = vec![83_333; 30_000];
    uneven.push(judged(&parameters, &serve(&gaps, &exponentials(2, 50_000.0, 30_000))));
    let pooled = pool(&uneven).unwrap();
    assert!(pooled.because.contains("gaps are exponential"), "{}", pooled.because);
    let other = judge(&parameters, &events, None, 0.01).unwrap();
    assert!(matches!(pool(&[runs[0].clone(), other]), Err(JudgeError::Mixed)));
    assert!(matches!(pool(&[]), Err(JudgeError::Mixed)));
}

#[test]
fn what_is_no_run_is_refused_by_name() {
    let (parameters, events) = mm1(0.5, 1_000, 1);
    let refused = |parameters: &Parameters, events: &[Event], band| {
        judge(parameters, events, None, band).unwrap_err()
    };
    assert!(matches!(refused(&parameters, &[], BAND), JudgeError::Events(EventError::NoRows)));
    for band in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(refused(&parameters, &events, band), JudgeError::Band { .. }));
    }
    let greedy = Parameters { warmup: 201, ..parameters.clone() };
    assert!(matches!(
        refused(&greedy, &events, BAND),
        JudgeError::Warmup { warmup: 201, messages: 1_000 }
    ));
    assert!(matches!(refused(&parameters, &events[..9], BAND), JudgeError::TooFew { messages: 9 }));
    let still = Event { served: Some(Served { start_ns: 1, end_ns: 1 }), ..at(1) };
    assert!(matches!(refused(&parameters, &[still; 20], BAND), JudgeError::NoTime));
    let swapped = [at(5), at(4)];
    assert!(matches!(check_events(&swapped), Err(EventError::OutOfOrder { row: 2, .. })));
    let tandem = Parameters { kind: Kind::Tandem, ..parameters.clone() };
    assert!(matches!(refused(&tandem, &events, BAND), JudgeError::Stages { .. }));
    let gap = judge_tandem(&tandem, [&events, &events], None, BAND).unwrap_err();
    assert!(matches!(gap, JudgeError::StageGap { row: 1 }), "{gap}");
    let (_, overloaded) =
        (0, serve(&exponentials(1, 50_000.0, 2_000), &exponentials(2, 60_000.0, 2_000)));
    assert!(matches!(refused(&parameters, &overloaded, BAND), JudgeError::Unstable { .. }));
}

fn at(arrival_ns: u64) -> Event {
    Event { intended_ns: arrival_ns, arrival_ns, served: None, drawn_ns: None, class: None }
}

/// A judgement is what the report reads and a resumed suite reads again: nothing is lost on the way.
#[test]
fn a_judgement_survives_its_file() {
    let (parameters, events) = mm1(0.5, 5_000, 1);
    let judgement = judged(&parameters, &events);
    let text = serde_json::to_string(&judgement).unwrap();
    let read: Judgement = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}
