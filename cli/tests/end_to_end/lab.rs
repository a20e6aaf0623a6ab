//! `lab`: what is judged is what the files say, whoever made them; what cannot be a run's is named with its row.
//!
//! No test asserts a time or a verdict on what this machine measured: verdicts are asserted on exact simulated queues, and of
//! a run that it says the same twice.

use super::{Place, Ran, ran};
use millstream::lab::{
    Chance, Event, Kind, Parameters, Served, Service, write_events, write_parameters,
};
use std::fs::{self, File};

const MESSAGES: usize = 20_000;

/// Of an M/M/1 at rho 0.5 with services of 500 us.
fn asked() -> Parameters {
    Parameters {
        kind: Kind::Mm1,
        servers: 1,
        capacity: None,
        ring_capacity: None,
        lambda: 1_000.0,
        mu: 2_000.0,
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

/// A perfect queue: Lindley's recursion on drawn gaps and services. `service_of` makes a service of a draw with mean 1.
fn simulated(service_of: impl Fn(f64) -> f64) -> Vec<Event> {
    let (mut chance, mut arrival_s, mut free_ns) = (Chance::new(7), 0.0, 0);
    let event = |_| {
        arrival_s += chance.exponential() / 1_000.0;
        let arrival_ns = (arrival_s * 1e9) as u64;
        let service_ns = (service_of(chance.exponential()) * 500_000.0) as u64 + 1;
        let start_ns = free_ns.max(arrival_ns);
        free_ns = start_ns + service_ns;
        let served = Some(Served { start_ns, end_ns: free_ns });
        let drawn_ns = Some(service_ns);
        Event { intended_ns: arrival_ns, arrival_ns, served, drawn_ns, class: None }
    };
    (0..MESSAGES).map(event).collect()
}

/// Both files, named E.csv and P.json.
fn write(place: &Place, events: &[Event], parameters: &Parameters) {
    write_events(File::create(place.path("E.csv")).unwrap(), events).unwrap();
    write_parameters(File::create(place.path("P.json")).unwrap(), parameters).unwrap();
}

fn check(place: &Place, rest: &[&str]) -> Ran {
    lab(place, &[&["check", "E.csv", "P.json"], rest].concat())
}

fn lab(place: &Place, arguments: &[&str]) -> Ran {
    ran(place.bare("lab", arguments))
}

/// The event file with each line passed through `change`, which gets its number: the header is line 0.
fn doctor(place: &Place, change: impl Fn(usize, &str) -> Option<String>) {
    let text = fs::read_to_string(place.path("E.csv")).unwrap();
    let lines = text.lines().enumerate().filter_map(|(number, line)| change(number, line));
    fs::write(place.path("E.csv"), lines.map(|line| line + "\n").collect::<String>()).unwrap();
}

#[test]
fn an_exact_queue_holds_and_an_object_says_so() {
    let place = Place::new();
    write(&place, &simulated(|draw| draw), &asked());
    let object = check(&place, &["--band", "20%", "--json"]).ends(0).objects().remove(0);
    assert_eq!(object["verdict"], "holds");
    let judgement = &object["judgement"];
    assert_eq!(judgement["messages"], MESSAGES as u64);
    assert_eq!(judgement["little"]["area"], judgement["little"]["sojourns"]);
    assert_eq!(object["parameters"]["kind"], "mm1");
    for key in ["checks", "points", "own_path", "hand_offs", "realized", "because", "groups"] {
        assert!(!judgement[key].is_null(), "{key}");
    }
    let text = check(&place, &["--band", "20%"]).ends(0);
    for word in ["mm1, 1 server", "20,000 messages", "own path", "Little         exact", "holds:"] {
        assert!(text.text().contains(word), "{word:?} in {}", text.text());
    }
    assert!(!text.text().contains('\u{1b}'), "no colours");
}

/// Too few for a band of a thousandth: neither holds nor broken, and the number that would decide is told.
#[test]
fn a_run_that_is_too_short_is_undecided_and_that_is_a_finding() {
    let place = Place::new();
    write(&place, &simulated(|draw| draw), &asked());
    let ran = check(&place, &["--band", "0.1%"]).ends(1);
    assert!(ran.text().contains("undecided"), "{}", ran.text());
    assert!(ran.text().contains("would decide"), "{}", ran.text());
}

#[test]
fn services_of_one_length_are_no_exponential_ones() {
    let place = Place::new();
    write(&place, &simulated(|_| 1.0), &asked());
    let object = check(&place, &["--band", "5%", "--json"]).ends(1).objects().remove(0);
    assert_eq!(object["verdict"], "broken", "{}", object["judgement"]["because"]);
    // The same events are what they are called now.
    let deterministic = Parameters { kind: Kind::Md1, service: Service::Deterministic, ..asked() };
    write(&place, &simulated(|_| 1.0), &deterministic);
    check(&place, &["--band", "20%"]).ends(0);
}

#[test]
fn a_file_that_can_be_no_runs_is_named_with_its_row() {
    let place = Place::new();
    let events = simulated(|draw| draw);
    let refused = |words: &[&str]| {
        let ran = check(&place, &[]).ends(2);
        for word in words {
            assert!(ran.err.contains(word), "{word:?} in {}", ran.err);
        }
        assert!(ran.out.is_empty());
    };
    let again = || write(&place, &events, &asked());

    again();
    doctor(&place, |number, line| (number != 501).then(|| line.to_owned()));
    refused(&["E.csv", "row 501", "missing or doubled"]);

    again();
    let field = |line: &str, at: usize, value: &str| {
        let mut fields: Vec<&str> = line.split(',').collect();
        fields[at] = value;
        fields.join(",")
    };
    let cases: [(usize, &str, &str); 5] = [
        (1, "0", "row 900: intended_ns is earlier"),
        (2, "-5", "row 900: arrival_ns is negative"),
        (3, "1", "row 900: start_ns is before arrival_ns"),
        (4, "soon", "row 900: end_ns is not a whole number"),
        (5, "2", "row 900: accepted"),
    ];
    for (at, value, words) in cases {
        again();
        doctor(&place, |number, line| {
            Some(if number == 900 { field(line, at, value) } else { line.to_owned() })
        });
        refused(&[words]);
    }

    again();
    doctor(&place, |number, line| {
        Some(if number == 0 { line.replace("start_ns", "begin_ns") } else { line.to_owned() })
    });
    refused(&["column 4 has no known name"]);
    again();
    doctor(&place, |_, line| Some(line.split(',').take(5).collect::<Vec<_>>().join(",")));
    refused(&["no column `accepted`"]);

    fs::write(place.path("E.csv"), "").unwrap();
    refused(&["E.csv", "empty"]);
    fs::remove_file(place.path("E.csv")).unwrap();
    refused(&["cannot read E.csv"]);
}

#[test]
fn parameters_that_no_run_has_are_named() {
    let place = Place::new();
    let events = simulated(|draw| draw);
    let cases = [
        (r#""lambda": 1000.0"#, r#""lambda": 2000.0"#, "no steady state"),
        (r#""lambda": 1000.0"#, r#""lambda": -1.0"#, "lambda is -1"),
        (r#""mu": 2000.0"#, r#""mu": 0.0"#, "mu is 0"),
        (r#""kind": "mm1""#, r#""kind": "mm2""#, "mm2"),
        (r#""kind": "mm1""#, r#""kind": "mm1k""#, "capacity"),
        (r#""servers": 1"#, r#""servers": 0"#, "0 servers"),
        (r#""seed": 1,"#, "", "seed"),
        ("{", "", "P.json"),
    ];
    for (old, new, words) in cases {
        write(&place, &events, &asked());
        let text = fs::read_to_string(place.path("P.json")).unwrap();
        assert!(text.contains(old), "{old} in {text}");
        fs::write(place.path("P.json"), text.replacen(old, new, 1)).unwrap();
        let ran = check(&place, &[]).ends(2);
        assert!(ran.err.contains(words), "{words:?} in {}", ran.err);
        assert!(ran.out.is_empty());
    }
    for band in ["0", "1", "100%", "-1", "wide"] {
        check(&place, &["--band", band]).ends(2);
    }
}

/// Promise: a run's files say what the run said; only the machine's own account is not in them twice.
#[test]
fn a_run_and_the_check_of_its_files_agree() {
    let place = Place::new();
    let files = ["--events", "E.csv", "--params", "P.json"];
    let cases: [&[&str]; 4] = [
        &["mm1", "--on", "ring", "--messages", "2000", "--wait", "park"],
        &["mm1", "--on", "memory", "--messages", "2000", "--wait", "park", "--band", "5%"],
        &["mm1k", "--on", "ring", "--messages", "2000", "--capacity", "3", "--wait", "park"],
        &["tandem", "--on", "memory", "--messages", "300"],
    ];
    for arguments in cases {
        let measured = lab(&place, &[&["run"], arguments, &files, &["--json"]].concat());
        if measured.code == Some(1) && measured.out.is_empty() {
            // The machine was so busy that as much arrived as could be served: so says the check.
            assert!(check(&place, &[]).ends(1).err.contains("no steady state"));
            continue;
        }
        let measured = measured.objects().remove(0);
        let band = measured["judgement"]["band"].as_f64().unwrap().to_string();
        let checked = check(&place, &["--json", "--band", &band]).objects().remove(0);
        for key in ["verdict", "parameters"] {
            let same = measured[key] == checked[key] || arguments[0] == "tandem";
            assert!(same, "{key} of {arguments:?}: {} and {}", measured[key], checked[key]);
        }
        let (one, other) = (&measured["judgement"], &checked["judgement"]);
        for key in ["because", "messages", "refused", "little", "own_path", "realized", "stalls"] {
            assert_eq!(one[key], other[key], "{key} of {arguments:?}");
        }
        for key in ["experiment", "machine", "busy", "footings"] {
            assert!(!measured[key].is_null(), "{key}");
        }
    }
}

#[test]
fn what_cannot_be_run_is_named_before_anything_is_made() {
    let place = Place::new();
    let cases: [(&[&str], &str); 20] = [
        (&["mm1", "--rho", "1"], "no steady state"),
        (&["mm1", "--rho", "0"], "above 0"),
        (&["mm1", "--rho", "nan"], "not a number"),
        (&["mm1", "--rho=-0.5"], "-0.5"),
        (&["mm2"], "mm1"),
        (&["priority"], "no lanes"),
        (&["mm1", "--servers", "2"], "`mmc`"),
        (&["mm1", "--capacity", "5"], "no K"),
        (&["mm1", "--cs2", "2"], "General"),
        (&["mm1k", "--capacity", "1"], "1; it must be from 2"),
        (&["mmc", "--servers", "0"], "0 servers"),
        (&["saturation", "--rho", "1"], "saturation needs"),
        (&["mm1", "--messages", "0"], "0 messages"),
        (&["mm1", "--messages", "9", "--seconds", "1"], "cannot be used with"),
        (&["mm1", "--service", "5"], "unit"),
        (&["mm1", "--service", "0s"], "mean service"),
        (&["mm1", "--band", "0%"], "share"),
        (&["mm1", "--fifo", "100", "--wait", "park"], "1 to 99"),
        (&["mm1", "--events", "E.csv"], "--params"),
        (&["mm1", "--on", "disk"], "memory"),
    ];
    for (arguments, words) in cases {
        let ran = lab(&place, &[&["run"], arguments].concat()).ends(2);
        assert!(ran.err.contains(words), "{words:?} for {arguments:?} in {}", ran.err);
        assert!(ran.out.is_empty());
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
    let into = ["run", "mm1", "--events", "no/E.csv", "--params", "P.json"];
    let ran = lab(&place, &into).ends(4);
    assert!(ran.err.contains("cannot write no/E.csv"), "{}", ran.err);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    write(&place, &simulated(|draw| draw), &asked());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.bare("lab", &["check", "E.csv", "P.json"]);
    command.stdout(writer);
    ran(command).ends(0);
}

#[test]
fn each_of_its_commands_explains_itself() {
    let place = Place::new();
    for command in ["run", "check"] {
        let ran = lab(&place, &[command, "--help"]).ends(0);
        for word in ["Usage:", "Example", "Exit code 0", "--band"] {
            assert!(ran.text().contains(word), "{word} in the help of {command}");
        }
    }
}
