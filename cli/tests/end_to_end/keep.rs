//! `purge`, retention, the disk limit, and where a subscription begins: what is kept, what goes, and who says so.

use super::{Place, Running, exists, numbers, object, text_of};
use std::fs;

/// Three messages, each in a file of its own, and settled once with `keep`.
fn settled(keep: &[&str]) -> Place {
    let place = Place::new();
    for number in numbers(1, 3) {
        place.publish("t", number);
    }
    let args = ["t", "--name", "first", "--idle-exit", "50ms"];
    assert_eq!(place.run("consume", &[&args, keep].concat()).ends(0).lines().len(), 3);
    place
}

fn replayed(place: &Place, name: &str, from: &str, keep: &[&str]) -> Vec<String> {
    let args = ["t", "--name", name, "--from", from, "--idle-exit", "50ms"];
    let ran = place.run("consume", &[&args, keep].concat()).ends(0);
    ran.lines().into_iter().map(str::to_owned).collect()
}

/// Promise: what is settled goes, file by file, unless the run keeps it by age or by bytes.
#[test]
fn what_is_settled_stays_for_replay_only_where_it_is_kept() {
    let retained = |place: &Place| place.stat()["retained_from"].as_u64().unwrap();
    for keep in [["--retention-age", "1h"], ["--retention-bytes", "1GiB"]] {
        let place = settled(&keep);
        assert_eq!(retained(&place), 0, "{keep:?}");
        assert_eq!(replayed(&place, "second", "earliest", &keep), numbers(1, 3));
    }
    for keep in [&[][..], &["--retention-age", "1ns"], &["--retention-bytes", "1"]] {
        let place = settled(keep);
        assert!(retained(&place) > 0, "{keep:?}");
        // Files go as a whole: of the last one with messages something may be left.
        let left = replayed(&place, "second", "earliest", keep);
        assert!(!left.contains(&"1".to_owned()), "{keep:?} {left:?}");
    }
}

#[test]
fn a_subscription_begins_with_the_message_that_it_is_told() {
    let keep = ["--retention-bytes", "1GiB"];
    let place = settled(&keep);
    let args = ["t", "--name", "ids", "--from", "earliest", "--json", "--idle-exit", "50ms"];
    let objects = place.run("consume", &[&args, &keep[..]].concat()).ends(0).objects();
    let ids: Vec<&str> = objects.iter().map(|each| each["id"].as_str().unwrap()).collect();
    assert_eq!(replayed(&place, "second", ids[1], &keep), numbers(2, 3));
    // Only the making counts.
    assert_eq!(replayed(&place, "second", ids[0], &keep), [""; 0]);
    let unknown = format!("{}0", ids[1]);
    let ran = place.run("consume", &["t", "--name", "other", "--from", &unknown]).ends(2);
    assert!(ran.err.contains("no message here") && ran.err.contains(&unknown), "{}", ran.err);
}

/// Promise: the lines before the limit are taken, and the error names those that were not.
#[test]
fn a_full_disk_limit_refuses_lines_at_once_or_after_the_time_to_wait() {
    let line = "x".repeat(1 << 20);
    for policy in ["refuse", "block=1ms"] {
        let place = Place::new();
        let file = place.file("input", format!("{line}\n").repeat(140));
        let args = ["t", "--file", &file, "--disk-bytes-max", "193MiB", "--when-full", policy];
        let ran = place.run("publish", &args).ends(4);
        assert!(ran.err.contains("refused: queue is full"), "{}", ran.err);
        let taken = place.stat()["held"].as_u64().unwrap();
        assert!(ran.err.contains(&format!("lines {} to", taken + 1)), "{taken} {}", ran.err);
        assert!((1..140).contains(&taken));
    }
}

#[test]
fn a_purge_drops_what_waits_and_tells_how_many_deliveries_that_were() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.run("consume", &["t.*", "--name", name, "--idle-exit", "1ms"]).ends(0);
    }
    place.publish("t.a", text_of(&numbers(1, 3)));
    place.publish("t.b", "stays");
    place.publish("held", "1\n2");
    place.run("consume", &["t.*", "--name", "one", "--count", "1"]).ends(0);
    let ran = place.run("purge", &["t.a"]).ends(0);
    assert_eq!(ran.lines(), ["dropped 5 deliveries of `t.a`"]);
    assert_eq!(place.run("peek", &["t.*"]).ends(0).lines(), ["stays"]);
    let ran = place.run("purge", &["held", "--json"]).ends(0);
    assert_eq!(object(ran.text()), serde_json::json!({"filter": "held", "dropped": 2}));
    assert_eq!(place.stat()["held"], 0);
    assert_eq!(place.run("purge", &["t.a"]).ends(0).lines(), ["dropped 0 deliveries of `t.a`"]);
    // It stays dropped, and what comes later is there.
    place.publish("t.a", "later");
    for name in ["one", "two"] {
        let args = ["t.*", "--name", name, "--idle-exit", "50ms"];
        assert_eq!(place.run("consume", &args).ends(0).lines(), ["stays", "later"]);
    }
    place.run("verify", &[]).ends(0);
}

#[test]
fn dead_letters_are_purged_by_their_topic() {
    let place = Place::new();
    place.publish("t", "x");
    let args = ["t", "--retries", "0", "--exec", "false", "--idle-exit", "1ms"];
    place.run("consume", &args).ends(1);
    let ran = place.run("purge", &["$dead"]).ends(0);
    assert_eq!(ran.lines(), ["dropped 1 delivery of `$dead`"]);
    assert!(place.run("peek", &["$dead"]).ends(0).out.is_empty());
}

#[test]
fn a_purge_makes_no_queue_and_touches_none_that_is_owned() {
    let place = Place::new();
    place.run("purge", &["t"]).ends(4);
    assert!(!exists(&place.path("queue")));
    fs::create_dir(place.path("queue")).unwrap();
    place.run("purge", &["t"]).ends(4);
    assert_eq!(fs::read_dir(place.path("queue")).unwrap().count(), 0);
    let mut owner = Running::start(place.command("publish", &["t", "--receipts"]));
    owner.feed("1\n");
    owner.line();
    let ran = place.run("purge", &["t"]).ends(3);
    assert!(ran.err.contains(&owner.child.id().to_string()) && ran.out.is_empty(), "{ran:?}");
    owner.finish().ends(0);
    assert_eq!(place.drain("t"), ["1"]);
}

/// Promise: what was done is done, and only nobody hears of it.
#[test]
fn a_purge_whose_reader_went_away_has_purged() {
    let place = Place::new();
    place.publish("t", "1");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command("purge", &["t"]);
    command.stdout(writer);
    super::ran(command).ends(0);
    assert_eq!(place.drain("t"), [""; 0]);
}
