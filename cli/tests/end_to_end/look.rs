//! `peek`, `stat` and `verify`: what they say is so, and nothing changes under them.

use super::{Place, Running, numbers, text_of};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the queue with its bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn looking_changes_no_byte() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 50)));
    let before = contents(&place.path("queue"));
    for (command, rest) in [("peek", &["t"][..]), ("stat", &[]), ("verify", &[])] {
        let ran = place.run(command, rest).ends(0);
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{command}: {ran:?}");
    }
    assert!(contents(&place.path("queue")) == before);
    assert_eq!(place.drain("t").len(), 50);
}

#[test]
fn peek_prints_the_oldest_and_takes_none() {
    let place = Place::new();
    place.publish("a.x", text_of(&numbers(1, 20)));
    place.publish("b.x", "other");
    for _ in 0..2 {
        assert_eq!(place.run("peek", &["a.*"]).ends(0).lines(), numbers(1, 10));
    }
    assert_eq!(place.run("peek", &[">", "--count", "100"]).ends(0).lines().len(), 21);
    let objects = place.run("peek", &["b.>", "--json"]).ends(0).objects();
    assert_eq!((&objects[0]["topic"], objects.len()), (&"b.x".into(), 1));
    place.run("consume", &["a.*", "--count", "15"]).ends(0);
    assert_eq!(place.run("peek", &["a.*"]).ends(0).lines(), numbers(16, 20));
}

#[test]
fn stat_tells_what_waits_in_each_subscription_and_what_is_held() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 10)));
    place.run("consume", &["t", "--name", "some", "--count", "3"]).ends(0);
    place.publish("unheard", "1\n2");
    let stat = place.stat();
    let subscription = &stat["subscriptions"][0];
    for (key, value) in [("ready", 7), ("in_flight", 0), ("delayed", 0)] {
        assert_eq!(subscription[key], value, "{stat}");
    }
    assert_eq!((&subscription["name"], &subscription["filter"]), (&"some".into(), &"t".into()));
    assert_eq!(
        (&stat["held"], &stat["topics"], &stat["clean"]),
        (&2.into(), &2.into(), &true.into())
    );
    let log = &stat["log"];
    assert!(log["durable"].as_u64() <= log["end"].as_u64() && log["file_bytes"].as_u64() > Some(0));
    let bases = log["segments"].as_array().unwrap().iter().map(|segment| segment["base"].as_u64());
    assert!(bases.is_sorted(), "{stat}");
    let text = place.run("stat", &[]).ends(0);
    for word in ["some", "7", "held        2 messages", "closed in order"] {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
}

#[test]
fn stat_tells_how_old_the_oldest_message_is_and_who_pins_the_log() {
    let place = Place::new();
    place.publish("unheard", "1");
    let age = |stat: &Value| stat["oldest_age_ns"].as_u64().unwrap();
    let first = place.stat();
    assert_eq!(first["pinned_by"], json!({"topic": "unheard"}));
    assert!(first["pinned_bytes"].as_u64() > Some(0) && age(&first) > 0);
    assert!(place.run("stat", &[]).ends(0).text().contains("by the topic `unheard`"));
    assert!(age(&first) < age(&place.stat()), "it grows older");
    place.publish("t", text_of(&numbers(1, 10)));
    place.run("consume", &["t", "--name", "some", "--count", "3"]).ends(0);
    assert_eq!(place.drain("unheard"), ["1"]);
    let second = place.stat();
    assert_eq!(second["pinned_by"], json!({"subscription": "some"}));
    assert!(second["pinned_bytes"].as_u64() > Some(0));
    let text = place.run("stat", &[]).ends(0);
    assert!(text.text().contains("by the subscription `some`"), "{}", text.text());
    place.run("consume", &["t", "--name", "some", "--idle-exit", "50ms"]).ends(0);
    let third = place.stat();
    assert_eq!((&third["oldest_age_ns"], &third["pinned_by"]), (&Value::Null, &Value::Null));
    assert_eq!(third["pinned_bytes"], 0);
    assert!(place.run("stat", &[]).ends(0).text().contains("everything is settled"));
}

/// Promise: the state of the log is told, and a queue that was closed in order has all of it on the disk.
#[test]
fn stat_tells_the_checkpoint_the_disk_and_what_is_not_synced() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 10)));
    let stat = place.stat();
    let log = &stat["log"];
    let number = |value: &Value| value.as_u64().unwrap();
    assert!(0 < number(&log["checkpoint"]["position"]), "{stat}");
    assert!(number(&log["checkpoint"]["position"]) <= number(&log["end"]));
    assert!(0 < number(&log["checkpoint"]["age_ns"]));
    assert_eq!(number(&log["end"]) - number(&log["durable"]), number(&log["unsynced_bytes"]));
    assert!(0 < number(&log["disk_bytes"]));
    assert!(["real", "nothing", "unknown"].contains(&log["file_system"]["sync"].as_str().unwrap()));
    assert!(!log["file_system"]["name"].as_str().unwrap().is_empty());
    let text = place.run("stat", &[]).ends(0);
    for word in
        ["checkpoint  up to position", "disk        ", "a sync ", "retained    from position"]
    {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
}

/// Flips one bit of the payload `needle` on disk.
fn damage(queue: &Path, needle: &[u8]) -> PathBuf {
    for (path, mut bytes) in contents(queue) {
        let found = bytes.windows(needle.len()).position(|window| window == needle);
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            return path;
        }
    }
    panic!("the payload lies in the log as it was given");
}

#[test]
fn verify_names_file_and_byte_of_a_damage_and_nobody_hands_it_out() {
    let place = Place::new();
    place.publish("t", "first");
    place.publish("t", "a needle in the log");
    place.publish("t", "last");
    let whole = place.run("verify", &["--json"]).ends(0).objects().remove(0);
    assert_eq!((&whole["whole"], &whole["damages"]), (&true.into(), &serde_json::json!([])));
    let file = damage(&place.path("queue"), b"a needle in the log");
    let name = file.file_name().unwrap().to_str().unwrap();
    let ran = place.run("verify", &[]).ends(1);
    assert!(ran.text().contains(name) && ran.text().contains("at byte "), "{}", ran.text());
    let found = place.run("verify", &["--json"]).ends(1).objects().remove(0);
    let damage = &found["damages"][0];
    assert_eq!(found["whole"], false);
    assert!(damage["file"].as_str().unwrap().ends_with(name), "{found}");
    assert!(damage["byte"].as_u64().unwrap() > 0);
    for (command, rest) in [("peek", &["t"][..]), ("consume", &["t"])] {
        let ran = place.run(command, rest).ends(4);
        assert!(ran.err.contains(name), "{command}: {}", ran.err);
        assert!(!ran.text().contains("needle in the log"), "{command}: {}", ran.text());
    }
    // Whatever of the others was handled: the damaged one is not settled.
    assert!(place.ready() > 0);
}

#[test]
fn verify_finds_that_a_file_is_missing() {
    let place = Place::new();
    for number in numbers(1, 3) {
        place.publish("t", number);
    }
    let segments = place.stat()["log"]["segments"].as_array().unwrap().clone();
    assert!(segments.len() > 2);
    fs::remove_file(place.path(segments[1]["file"].as_str().unwrap())).unwrap();
    let ran = place.run("verify", &[]).ends(1);
    assert!(ran.text().contains("missing"), "{ran:?}");
}

/// Spoils a payload and answers the queue's files as they were before.
fn damaged() -> (Place, Vec<(PathBuf, Vec<u8>)>) {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 20)));
    place.publish("t", "a needle in the log");
    place.publish("t", text_of(&numbers(21, 40)));
    damage(&place.path("queue"), b"a needle in the log");
    let files = contents(&place.path("queue"));
    (place, files)
}

#[test]
fn repair_loses_what_is_damaged_and_nothing_else() {
    let (place, before) = damaged();
    let said = place.run("repair", &["--dry-run", "--json"]).ends(1).objects().remove(0);
    assert!(contents(&place.path("queue")) == before, "a dry run changes nothing");
    let done = place.run("repair", &["--json"]).ends(1).objects().remove(0);
    assert_eq!(said["remedies"], done["remedies"]);
    let remedy = &done["remedies"][0];
    assert!(remedy["lost_from"].as_u64() < remedy["lost_to"].as_u64(), "{done}");
    let originals = place.path(done["originals"].as_str().unwrap());
    assert_eq!(fs::read_dir(originals).unwrap().count(), 1);
    place.run("verify", &[]).ends(0);
    assert_eq!(place.drain("t"), numbers(1, 40));
    let again = place.run("repair", &[]).ends(0);
    assert!(again.text().starts_with("whole"), "{again:?}");
}

#[test]
fn inspect_shows_files_frames_and_records_and_goes_on_over_damage() {
    let (place, _) = damaged();
    let frames = place.run("inspect", &["--frames", "--json"]).ends(1).objects();
    let spoilt: Vec<_> = frames.iter().filter(|frame| frame["state"] != "whole").collect();
    assert_eq!((spoilt.len(), &spoilt[0]["state"]), (1, &"body".into()));
    assert_eq!(frames.last().unwrap()["kind"], "close");
    let from = spoilt[0]["position"].to_string();
    let rows = place.run("inspect", &["--frames", "--from", &from, "--count", "2"]).ends(1);
    assert_eq!(rows.lines().len(), 3, "{}", rows.text());
    let sum = |segments: &[Value], key: &str| -> u64 {
        segments.iter().map(|segment| segment[key].as_u64().unwrap()).sum()
    };
    let segments = place.run("inspect", &["--json"]).ends(1).objects();
    assert_eq!((sum(&segments, "not_whole"), segments.len()), (1, 3));
    assert_eq!(sum(&segments, "frames") + 1, frames.len() as u64);
    place.run("inspect", &["--records"]).ends(4);
    place.run("repair", &[]).ends(1);
    let segments = place.run("inspect", &["--json"]).ends(0).objects();
    assert_eq!((sum(&segments, "not_whole"), segments.len()), (0, 3));
    let records = place.run("inspect", &["--records", "--json"]).ends(0).objects();
    assert_eq!(sum(&segments, "records"), records.len() as u64);
    let messages = records.iter().filter(|record| record["kind"] == "message");
    assert_eq!(messages.count(), 40);
    assert_eq!((&records[0]["kind"], &records[0]["name"]), (&"topic".into(), &"t".into()));
    place.run("inspect", &["--frames", "--records"]).ends(2);
    place.run("inspect", &["--from", "33"]).ends(2);
}

#[test]
fn a_backup_is_a_queue_by_itself() {
    let place = Place::new();
    for number in numbers(1, 3) {
        place.publish("t", number);
    }
    let done = place.run("backup", &["copy", "--json"]).ends(0).objects().remove(0);
    assert_eq!((&done["live"], &done["segments"]), (&false.into(), &3.into()));
    place.run("backup", &["copy"]).ends(2);
    assert_eq!(place.drain("t"), numbers(1, 3));
    fs::rename(place.path("queue"), place.path("old")).unwrap();
    fs::rename(place.path("copy"), place.path("queue")).unwrap();
    place.run("verify", &[]).ends(0);
    assert_eq!(place.drain("t"), numbers(1, 3));
}

/// Promise: beside an owner what only the owner knows has no key, where a zero would be taken for an answer.
#[test]
fn stat_beside_an_owner_does_not_tell_what_only_the_owner_knows() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 2)));
    let script = "echo begun; read line < go";
    let go = place.pipe("go");
    let mut owner =
        Running::start(place.command("consume", &["t", "--count", "1", "--exec", script]));
    assert_eq!(owner.line(), "begun");
    let stat = place.stat();
    let own = &stat["subscriptions"][0];
    assert_eq!((&stat["live"], &own["ready"]), (&true.into(), &2.into()), "{stat}");
    let known = |object: &Value, key: &str| object.as_object().unwrap().contains_key(key);
    assert!(!known(own, "in_flight") && known(own, "delayed"), "{stat}");
    for key in ["disk_bytes_max", "last_sync_age_ns", "poisoned"] {
        assert!(!known(&stat, key) && !known(&stat["log"], key), "{key}");
    }
    let text = place.run("stat", &[]).ends(0);
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row, ["t", "t", "2", "?", "0"]);
    fs::write(go, "go\n").unwrap();
    owner.finish().ends(0);
    assert_eq!(place.stat()["subscriptions"][0]["in_flight"], 0);
}

/// Promise: while a publisher has the queue open, all that only looks shows what it has published, and a copy is made of it.
#[test]
fn peek_stat_inspect_and_backup_stand_beside_an_owner() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 5)));
    let mut owner = Running::start(place.command("publish", &["t", "--receipts"]));
    owner.feed("6\n");
    owner.line();
    let stat = place.stat();
    assert_eq!((&stat["live"], &stat["clean"]), (&true.into(), &false.into()));
    assert_eq!((&stat["held"], &stat["pinned_by"]), (&6.into(), &json!({"topic": "t"})));
    assert!(stat["log"]["checkpoint"]["position"].as_u64() < stat["log"]["end"].as_u64());
    assert_eq!(place.run("peek", &["t"]).ends(0).lines(), numbers(1, 6));
    assert!(place.run("stat", &[]).ends(0).text().contains("open: what is in hands"));
    for what in ["--segments", "--frames", "--records"] {
        assert!(place.run("inspect", &[what]).ends(0).lines().len() > 1);
    }
    let copy = place.run("backup", &["copy", "--json"]).ends(0).objects().remove(0);
    assert_eq!(copy["live"], true);
    place.run("verify", &[]).ends(3);
    place.run("repair", &[]).ends(3);
    assert_eq!(owner.finish().code, Some(0));
    fs::rename(place.path("queue"), place.path("old")).unwrap();
    fs::rename(place.path("copy"), place.path("queue")).unwrap();
    assert_eq!(place.drain("t"), numbers(1, 6));
}
