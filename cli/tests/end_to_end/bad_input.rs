//! What cannot be done is named, with the exit code that the help promises, and nothing is made on the way.

use super::{Place, Ran, exists, ran};
use std::fs;
use std::process::{Command, Stdio};

#[track_caller]
fn refused(ran: Ran, code: i32, words: &[&str]) {
    let ran = ran.ends(code);
    for word in words {
        assert!(ran.err.contains(word), "{word:?} in {}", ran.err);
    }
    assert!(ran.out.is_empty());
}

#[test]
fn arguments_that_cannot_be_are_named_before_anything_is_made() {
    let place = Place::new();
    let long = "x".repeat(256);
    let cases: [(&str, &[&str], &str); 46] = [
        ("publish", &[""], "empty"),
        ("publish", &[&long], "256 bytes"),
        ("publish", &["a..b"], "empty token at byte 2"),
        ("publish", &["a.*"], "wildcard"),
        ("publish", &["$dead"], "begins with `$`"),
        ("publish", &["a b"], "character ' '"),
        ("publish", &["t", "--header", "novalue"], "no `=`"),
        ("publish", &["t", "--header", "=v"], "name"),
        ("publish", &["t", "--file", "missing"], "missing"),
        ("publish", &["t", "--file", "."], "directory"),
        ("publish", &["t", "--durability", "maybe"], "maybe"),
        ("publish", &["t", "--durability", "interval=10"], "unit"),
        ("publish", &["t", "--durability", "interval=0ms"], "1ms to 3600s"),
        ("publish", &["t", "--durability", "interval"], "interval=10ms"),
        ("consume", &["t", "--durability", "sometimes"], "`os`, `sync` and `interval=D`"),
        ("relay", &["t", "--durability", "interval=2h"], "1ms to 3600s"),
        ("relay", &["t", "--durability", "interval="], "interval"),
        ("consume", &["a.>.b"], "wildcard"),
        ("consume", &["t", "--count", "0"], "0"),
        ("consume", &["t", "--workers", "0"], "0"),
        ("consume", &["t", "--workers", "257"], "256"),
        ("consume", &["t", "--retries", "-1"], "-1"),
        ("consume", &["t", "--retry-delay", "5"], "unit"),
        ("consume", &["t", "--idle-exit", "soon"], "soon"),
        ("consume", &["t", "--from", "middle"], "`earliest`, `latest` and the id"),
        ("consume", &["t", "--from", "0123456789abcdef"], "the id of a message"),
        ("consume", &["t", "--when-full", "refuse"], "--when-full"),
        ("consume", &["t", "--retention-age", "7"], "unit"),
        ("consume", &["t", "--retention-age", "0s"], "nothing would be kept"),
        ("publish", &["t", "--retention-bytes", "0KiB"], "nothing would be kept"),
        ("publish", &["t", "--retention-bytes", "10GB"], "KiB, MiB, GiB or TiB"),
        ("relay", &["t", "--retention-bytes", "16777216TiB"], "more bytes than can be counted"),
        ("relay", &["t", "--retention-age", "600000000000000y"], "large"),
        ("publish", &["t", "--when-full", "wait"], "`refuse` and `block=D`"),
        ("publish", &["t", "--when-full", "block"], "`refuse` and `block=D`"),
        ("relay", &["t", "--when-full", "block="], "the time to wait"),
        ("relay", &["t", "--when-full", "block=3"], "unit"),
        ("publish", &["t", "--disk-bytes-max", "many"], "a whole number"),
        ("publish", &["t", "--disk-bytes-max", "1MiB"], "`disk_bytes_max` = 1048576"),
        ("consume", &["t", "--disk-bytes-max", "0"], "`disk_bytes_max` = 0"),
        ("purge", &["a.>.b"], "wildcard"),
        ("purge", &["t", "--retention-age", "soon"], "soon"),
        ("purge", &[], "FILTER"),
        ("relay", &["a.*"], "wildcard"),
        ("peek", &["t", "--count", "0"], "0"),
        ("stat", &["more"], "more"),
    ];
    for (command, rest, word) in cases {
        refused(place.run(command, rest), 2, &[word]);
        assert!(!exists(&place.path("queue")), "{command} {rest:?}");
    }
}

#[test]
fn names_that_cannot_be_are_named() {
    let place = Place::new();
    refused(place.run("consume", &["t", "--name", ""]), 2, &["name", "empty"]);
    place.publish("t", "1");
    place.run("consume", &["t", "--name", "n", "--count", "1"]).ends(0);
    refused(place.run("consume", &["u", "--name", "n"]), 2, &["`n`", "`t`", "`u`"]);
}

#[test]
fn a_directory_that_is_none_cannot_be_used() {
    let place = Place::new();
    for (command, rest) in [("peek", &["t"][..]), ("stat", &[]), ("verify", &[])] {
        refused(place.run(command, rest), 4, &["queue"]);
        assert!(!exists(&place.path("queue")), "looking makes nothing");
    }
    fs::write(place.path("queue"), "a file").unwrap();
    for (command, rest) in [
        ("publish", &["t"][..]),
        ("consume", &["t"]),
        ("relay", &["t"]),
        ("peek", &["t"]),
        ("stat", &[]),
        ("purge", &["t"]),
        ("verify", &[]),
    ] {
        refused(place.run(command, rest), 4, &["queue", "not a directory"]);
    }
    assert_eq!(fs::read(place.path("queue")).unwrap(), b"a file");
}

#[test]
fn an_empty_directory_holds_no_log_to_look_at() {
    let place = Place::new();
    fs::create_dir(place.path("queue")).unwrap();
    for (command, rest) in [("peek", &["t"][..]), ("stat", &[])] {
        refused(place.run(command, rest), 4, &["no log"]);
    }
}

/// The process file system takes no directories, whoever asks; so it stands in for a read-only disk under any user.
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["publish", "/proc/queue", "t"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    refused(ran(command), 4, &["/proc/queue"]);
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let place = Place::new();
    place.publish("t", "1");
    let segments = place.stat()["log"]["segments"].clone();
    let path = place.path(segments[0]["file"].as_str().unwrap());
    fs::write(&path, "something else").unwrap();
    for (command, rest) in [("publish", &["t"][..]), ("stat", &[])] {
        let ran = place.run(command, rest).ends(4);
        assert!(ran.err.contains(path.file_name().unwrap().to_str().unwrap()), "{}", ran.err);
    }
    assert_eq!(fs::read(&path).unwrap(), b"something else");
}

#[test]
fn a_line_that_is_too_long_is_named_and_the_lines_before_it_are_there() {
    let place = Place::new();
    let longest = vec![b'x'; 1 << 20];
    let file =
        place.file("input", [b"first\n", &longest[..], b"\n", &longest, b"x\nlast\n"].concat());
    refused(place.run("publish", &["t", "--file", &file]), 2, &["line 3", "1048576"]);
    let found = place.drain("t");
    assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [5, 1 << 20]);
}

#[test]
fn headers_that_are_too_many_are_refused_with_their_line() {
    let place = Place::new();
    let file = place.file("input", "1\n2\n");
    let headers: Vec<String> = (0..65).map(|number| format!("--header=h{number}=v")).collect();
    let mut args = vec!["t", "--file", &file];
    args.extend(headers.iter().map(String::as_str));
    refused(place.run("publish", &args), 2, &["lines 1 to 2", "65 headers"]);
    assert_eq!(place.drain("t"), [""; 0]);
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    for command in [
        "publish", "consume", "relay", "peek", "stat", "purge", "verify", "repair", "backup",
        "inspect",
    ] {
        let ran = place.run(command, &["--help"]).ends(0);
        for word in ["Usage:", "Example", "Exit codes:", "--json"] {
            assert!(ran.text().contains(word), "{word} in the help of {command}");
        }
    }
    for command in ["demo", "plan", "lab"] {
        let ran = super::ran(place.bare(command, &["--help"])).ends(0);
        for word in ["Usage:", "Example", "Exit codes:", "--json"] {
            assert!(ran.text().contains(word), "{word} in the help of {command}");
        }
    }
}
