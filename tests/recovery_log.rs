//! A process that appends, lays down checkpoints and removes segments is killed (SIGKILL) at random moments, again and again
//! on one log; each time the checkpoint and the records behind it are the whole count.
//!
//! ```text
//!   child    appends the numbers 0, 1, 2, ...; now and then a checkpoint whose state is the count so far, and a trim to it
//!            it says A number, C count after each
//!   parent   kills, and reads: state of the checkpoint = k, records from its place on = k, k + 1, ..., at least what was said
//! ```
//!
//! The queue's own kills are in `recovery.rs`. `MILLSTREAM_CRASHES` sets how often (60).

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::print_stdout)] // Shown where the test fails, and what was seen.

#[path = "support/child.rs"]
mod child;

use millstream::log::{Archive, Budget, Log, LogOptions, Record, verify};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;

const CRASHES: u64 = 60;
const SEGMENT_BYTES: u64 = 64 << 10;
/// So small that a child which does not trim would soon be refused.
const DISK_BYTES: u64 = 12 * (SEGMENT_BYTES + 4_096);
const CHECKPOINT_EVERY: u64 = 300;

fn open(dir: &Path) -> Log {
    let options = LogOptions::new().segment_bytes(SEGMENT_BYTES).disk_max_bytes(DISK_BYTES);
    Log::open(dir, options).unwrap()
}

fn body(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + (number % 97) as usize)
}

fn number_in(body: &[u8]) -> u64 {
    body.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap()
}

/// The count that the checkpoint and the records behind it add up to; each record is the one that has to come.
fn count(archive: &Archive) -> u64 {
    let (mut next, from) = match archive.checkpoint() {
        Some(checkpoint) => (number_in(checkpoint.body()), checkpoint.replay_from()),
        None => (0, archive.start()),
    };
    let mut reader = archive.reader(from);
    while let Some(record) = reader.next().unwrap() {
        assert_eq!(record.body(), body(next), "at {}", record.position());
        next += 1;
    }
    next
}

fn work(dir: &Path) {
    let count_before =
        if dir.exists() { Archive::open(dir).map_or(0, |archive| count(&archive)) } else { 0 };
    let log = open(dir);
    let lies = std::env::var("MILLSTREAM_TEST_LIE").is_ok();
    for number in count_before.. {
        let body = body(number);
        let record = Record { tag: 1, topic: 0, time_ns: 0, parts: &[&body] };
        if lies {
            child::say(&format!("A {number}"));
        }
        log.append(&record, Budget::Publish).unwrap();
        if !lies {
            child::say(&format!("A {number}"));
        }
        if number % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1 {
            let place = log.committed();
            log.write_checkpoint(place, &(number + 1).to_le_bytes()).unwrap();
            let trimmed = log.trim(place).unwrap();
            child::say(&format!("C {}", number + 1));
            child::say(&format!("T {}", trimmed.segments));
        }
    }
}

/// What a child has said.
#[derive(Default)]
struct Said {
    appended: u64,
    checkpoint: u64,
    trimmed: u64,
}

/// Lets a child work until it has said `lines` lines, and kills it.
fn kill_after(dir: &Path, lines: u64, lies: bool, said: &mut Said) {
    let mut command = child::command("log", dir);
    if lies {
        command.env("MILLSTREAM_TEST_LIE", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut pipe = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut strange = Vec::new();
    let mut hear = |line: String| {
        let words =
            line.split_once(' ').and_then(|(kind, number)| Some((kind, number.parse().ok()?)));
        match words {
            Some(("A", number)) => said.appended = number + 1_u64,
            Some(("C", number)) => said.checkpoint = number,
            Some(("T", number)) => said.trimmed += number,
            _ => strange.push(line),
        }
    };
    for line in pipe.by_ref().take(lines as usize) {
        hear(line);
    }
    child.kill().unwrap();
    pipe.for_each(hear);
    child.wait().unwrap();
    assert!(strange.is_empty(), "the child said: {strange:#?}");
}

/// Promise: whatever the moment of a kill, in an append, a checkpoint, a trim or an open: no appended record is lost, and
/// none comes back that a checkpoint has taken up; the log is without damage and stays within its limit.
#[test]
fn checkpoint_and_records_are_the_whole_count_after_every_kill() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let crashes = std::env::var("MILLSTREAM_CRASHES").ok().and_then(|count| count.parse().ok());
    let mut said = Said::default();
    for crash in 0..crashes.unwrap_or(CRASHES) {
        // From a kill in the open to one behind some trims, and near the checkpoints.
        kill_after(
            &dir,
            [1, 7, 299, 301, 303, 611, 40, 905][crash as usize % 8] + crash % 5,
            false,
            &mut said,
        );
        let found = verify(&dir, &mut |_, _| {}).unwrap();
        assert!(found.damages.is_empty() && found.torn == 0, "{found:?}");
        let archive = Archive::open(&dir).unwrap();
        let there = count(&archive);
        assert!(
            said.appended <= there && there <= said.appended + 1,
            "{} of {there}",
            said.appended
        );
        let state = archive.checkpoint().map_or(0, |checkpoint| number_in(checkpoint.body()));
        assert!(said.checkpoint <= state, "the checkpoint of {} is gone: {state}", said.checkpoint);
    }
    println!("{} appended, {} segments trimmed", said.appended, said.trimmed);
    assert!(said.trimmed > 10, "{} segments were trimmed", said.trimmed);
}

/// Promise: the check sees a loss. Method: a child that says "appended" before it is, killed when it is heard.
#[test]
fn the_check_fails_when_an_append_is_acknowledged_before_it_is_made() {
    let caught = (0..30).any(|lines| {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        let mut said = Said::default();
        kill_after(&dir, lines + 1, true, &mut said);
        count(&Archive::open(&dir).unwrap()) < said.appended
    });
    assert!(caught, "thirty lies, and no loss was found");
}

/// The part that a child process plays; nothing in the parent.
#[test]
fn child() {
    let Some((role, dir)) = child::role() else { return };
    assert_eq!(role, "log");
    work(Path::new(&dir));
    loop {
        thread::park();
    }
}
