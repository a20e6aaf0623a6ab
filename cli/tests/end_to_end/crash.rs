//! kill -9, of either end.

use super::{Place, Running, numbers, text_of};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::thread;

/// Settlements that may be waiting to be written together when a process dies.
const GATHERED_MAX: usize = 64;

/// Promise: what a receipt was printed for is there after the publisher was killed.
///
/// Method: a publisher that is fed without end is killed when some receipts have been read, in the middle of its
/// work. All that it had printed by then is looked for. What it stored without a receipt may be there too: in
/// order, and without a gap.
fn a_killed_publisher(durability: &str, receipts_before_the_kill: usize) {
    let place = Place::new();
    let args = ["t", "--receipts", "--durability", durability];
    let mut publisher = Running::start(place.command("publish", &args));
    let mut stdin = publisher.child.stdin.take().expect("it is piped");
    let feeder = thread::spawn(move || {
        let fed = (1..).try_for_each(|number: u64| writeln!(stdin, "{number}"));
        assert!(fed.is_err(), "it ends when nobody reads");
    });
    let mut receipts = publisher.lines(receipts_before_the_kill);
    receipts.extend(publisher.crash());
    feeder.join().expect("it only writes");
    let last: u64 = receipts.last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(last, receipts.len() as u64, "there is a receipt for each line");
    let found = place.drain("t");
    assert!(last <= found.len() as u64, "{last} were promised, {} are there", found.len());
    assert_eq!(found, numbers(1, found.len() as u64));
}

#[test]
fn what_was_promised_outlives_a_killed_publisher() {
    for receipts in [1, 300, 5_000] {
        a_killed_publisher("os", receipts);
    }
}

#[test]
fn what_was_promised_and_synced_outlives_a_killed_publisher() {
    a_killed_publisher("sync", 700);
}

/// Promise: after a consumer was killed, the next one prints the rest: nothing is lost, and not more comes twice than
/// what was waiting to be written as settled, and what was in hands.
///
/// Method: the pipe holds fewer lines than there are, so that the kill falls in the middle. What the first one wrote is
/// what could be read from the pipe to its end.
#[test]
fn nothing_is_lost_and_little_comes_twice_when_a_consumer_is_killed() {
    for workers in [1, 4] {
        let place = Place::new();
        let lines: Vec<String> = (0..4_000).map(|number| format!("{number:0100}")).collect();
        place.publish("t", text_of(&lines));
        let args = ["t", "--workers", &workers.to_string()];
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut consumer = Running::start(place.command("consume", &args));
            seen.extend(consumer.lines(500));
            seen.extend(consumer.crash());
        }
        assert!(seen.len() < lines.len(), "the kill fell in the middle");
        let rest = place.drain("t");
        let twice = seen.len() + rest.len() - lines.len();
        let once: BTreeSet<&String> = seen.iter().chain(&rest).collect();
        assert!(once.into_iter().eq(&lines), "nothing is lost");
        assert!(twice <= 2 * (GATHERED_MAX + workers), "{twice} came twice");
    }
}

#[test]
fn a_killed_relay_leaves_its_messages_to_the_next() {
    let place = Place::new();
    let lines: Vec<String> = (0..3_000).map(|number| format!("{number:0100}")).collect();
    let file = place.file("input", text_of(&lines));
    let mut relay =
        Running::start(place.command("relay", &["t", "--file", &file, "--durability", "sync"]));
    let mut seen = relay.lines(100);
    seen.extend(relay.crash());
    let ran = place.run("relay", &["t"]).ends(0);
    let rest: Vec<String> = ran.lines().iter().map(|&line| line.to_owned()).collect();
    let once: BTreeSet<&String> = seen.iter().chain(&rest).collect();
    let found = once.len();
    assert!(once.into_iter().eq(&lines[..found]), "a beginning of the input, without a gap");
    assert!(seen.len() + rest.len() - found <= GATHERED_MAX + 1);
}
