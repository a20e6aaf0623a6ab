//! Signals, closed pipes, and a directory that somebody else has.

use super::{Place, Running, numbers, text_of};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[test]
fn a_second_owner_is_turned_away_and_told_who_is_there() {
    let place = Place::new();
    let mut owner = Running::start(place.command("publish", &["t", "--receipts"]));
    owner.feed("1\n");
    owner.line();
    let pid = owner.child.id().to_string();
    for (command, rest) in [
        ("publish", &["t"][..]),
        ("consume", &["t"]),
        ("relay", &["t"]),
        ("verify", &[]),
        ("repair", &[]),
        ("purge", &["t"]),
    ] {
        let ran = place.run(command, rest).ends(3);
        assert!(ran.err.contains(&pid), "{command}: {}", ran.err);
        assert!(ran.out.is_empty());
    }
    owner.finish().ends(0);
    place.run("verify", &[]).ends(0);
}

/// Promise: a line that could not be written is not settled; all that were written are.
#[test]
fn a_reader_that_goes_away_ends_a_consumer_cleanly() {
    let place = Place::new();
    let lines: Vec<String> = (0..4_000).map(|number| format!("{number:0100}")).collect();
    place.publish("t", text_of(&lines));
    let mut consumer = Running::start(place.command("consume", &["t"]));
    assert_eq!(consumer.lines(5), lines[..5]);
    consumer.hang_up().ends(0);
    assert!(place.stat()["clean"].as_bool().unwrap());
    let left = place.ready() as usize;
    assert!(left < lines.len() && left > 0, "{left}");
    assert_eq!(place.drain("t"), lines[lines.len() - left..]);
}

/// Promise: not even the first line is settled if it cannot be written.
#[test]
fn a_pipe_without_a_reader_takes_no_message() {
    let place = Place::new();
    place.publish("t", "1\n2");
    for arguments in [&["t"][..], &["t", "--workers", "4"], &["t", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command("consume", arguments);
        command.stdout(writer);
        super::ran(command).ends(0);
        assert_eq!(place.ready(), 2);
    }
    assert_eq!(place.drain("t"), ["1", "2"]);
}

#[test]
fn a_reader_that_goes_away_ends_a_relay_cleanly() {
    let place = Place::new();
    let lines: Vec<String> = (0..4_000).map(|number| format!("{number:0100}")).collect();
    let file = place.file("input", text_of(&lines));
    let mut relay = Running::start(place.command("relay", &["t", "--file", &file]));
    relay.lines(5);
    let ran = relay.hang_up().ends(0);
    assert!(ran.err.contains("left"), "{}", ran.err);
    assert!(place.stat()["clean"].as_bool().unwrap());
}

#[test]
fn a_reader_that_goes_away_ends_what_only_prints() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 40_000)));
    let mut peek = Running::start(place.command("peek", &["t", "--count", "40000", "--json"]));
    peek.line();
    peek.hang_up().ends(0);
    let mut inspect = Running::start(place.command("inspect", &["--records"]));
    inspect.line();
    inspect.hang_up().ends(0);
    let args = ["t", "--receipts", "--file", &place.file("input", text_of(&numbers(1, 40_000)))];
    let mut publisher = Running::start(place.command("publish", &args));
    publisher.line();
    publisher.hang_up().ends(0);
    assert!(place.stat()["clean"].as_bool().unwrap());
}

#[test]
fn a_full_disk_behind_standard_output_is_a_failure_and_loses_nothing() {
    let place = Place::new();
    place.publish("t", "1\n2");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = place.command("consume", &["t"]);
    command.stdout(full);
    let ran = super::ran(command).ends(4);
    assert!(ran.err.contains("standard output"), "{}", ran.err);
    assert_eq!(place.drain("t"), ["1", "2"]);
}

#[test]
fn signals_end_a_consumer_with_everything_settled() {
    for signal in ["-TERM", "-INT"] {
        let (place, lines) = (Place::new(), numbers(1, 100));
        place.publish("t", text_of(&lines));
        let mut consumer = Running::start(place.command("consume", &["t"]));
        assert_eq!(consumer.lines(100), lines);
        consumer.signal(signal);
        consumer.finish().ends(0);
        assert_eq!(place.ready(), 0);
        assert!(place.stat()["clean"].as_bool().unwrap());
    }
}

#[test]
fn signals_end_a_publisher_that_waits_for_input() {
    let place = Place::new();
    let mut publisher = Running::start(place.command("publish", &["t", "--receipts"]));
    publisher.feed("1\n2\n");
    publisher.lines(2);
    publisher.signal("-TERM");
    // Its input is still open: only the signal can have ended it.
    let stdin = publisher.child.stdin.take();
    let ran = publisher.finish().ends(0);
    drop(stdin);
    assert!(ran.err.contains("published 2 messages"), "{}", ran.err);
    assert!(place.stat()["clean"].as_bool().unwrap());
    assert_eq!(place.drain("t"), ["1", "2"]);
}

/// Promise: Ctrl-C, which a terminal sends to the whole group, lets the command that runs end its message.
///
/// Method: the command says on one named pipe that it has begun, and ends when it is told to on another.
#[test]
fn a_command_that_runs_may_end_its_message_after_ctrl_c() {
    let place = Place::new();
    place.publish("t", "message\nnext");
    let (begun, go) = (place.pipe("begun"), place.pipe("go"));
    let script = "test -e done || { echo > begun; read line < go; }; cat >> done";
    let mut command = place.command("consume", &["t", "--exec", script]);
    command.process_group(0);
    let consumer = Running::start(command);
    fs::read(begun).expect("the command says that it has begun");
    let group = format!("-{}", consumer.child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    fs::write(go, "go\n").expect("the command waits for it");
    consumer.finish().ends(0);
    // The signal may be heard only after the next message was begun: then that one ends too.
    let done = fs::read_to_string(place.path("done")).unwrap();
    assert!(["message", "messagenext"].contains(&done.as_str()), "{done}");
    assert_eq!(place.ready(), u64::from(done == "message"));
}
