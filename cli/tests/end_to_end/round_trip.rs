//! What goes in comes out: in order, byte for byte, and the objects say what the lines do.

use super::{Place, Running, numbers, ran, text_of};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

#[test]
fn synced_lines_come_out_in_order() {
    let (place, lines) = (Place::new(), numbers(1, 20_000));
    let file = place.file("input", text_of(&lines));
    let ran = place.run("publish", &["t", "--file", &file, "--durability", "sync"]).ends(0);
    assert!(ran.err.contains("published 20,000 messages"), "{}", ran.err);
    assert!(ran.err.contains("reached: synced") && ran.out.is_empty(), "{ran:?}");
    assert_eq!(place.drain("t"), lines);
    assert_eq!(place.ready(), 0);
    place.run("verify", &[]).ends(0);
}

/// Every byte but the newline, carriage returns, an empty line, a last line without newline.
fn awkward() -> Vec<u8> {
    let all: Vec<u8> = (0..=255).filter(|&byte| byte != b'\n').collect();
    [&all[..], b"\n\nwindows\r\n\xff\xfe\x00\nlast"].concat()
}

#[test]
fn any_bytes_but_the_newline_come_back_as_they_went_in() {
    let place = Place::new();
    place.publish("t", awkward());
    let ran = place.run("consume", &["t", "--count", "5"]).ends(0);
    assert_eq!(ran.out, [&awkward()[..], b"\n"].concat());
}

#[test]
fn objects_have_text_as_text_and_other_bytes_as_base64() {
    let place = Place::new();
    place.publish("t", awkward());
    let ran = place.run("consume", &["t", "--count", "5", "--json"]).ends(0);
    let payloads = ran.objects().into_iter().map(|object| {
        let encoded = object["payload_base64"].as_str();
        let text = object["payload"].as_str();
        assert!(encoded.is_some() != text.is_some(), "{object}");
        encoded.map_or_else(
            || text.unwrap_or_default().as_bytes().to_vec(),
            |encoded| BASE64_STANDARD.decode(encoded).unwrap(),
        )
    });
    let joined: Vec<Vec<u8>> = payloads.collect();
    assert_eq!(joined.join(&b'\n'), awkward());
}

#[test]
fn headers_ids_and_attempts_are_in_the_object() {
    let place = Place::new();
    let file = place.file("input", "x");
    let args = ["a.b", "--file", &file, "--header", "k=v=w", "--header", "empty="];
    let receipts = [&args[..], &["--receipts", "--json"]].concat();
    let receipt = place.run("publish", &receipts).ends(0).objects().remove(0);
    let ran = place.run("consume", &["a.*", "--json", "--count", "1"]).ends(0);
    let object = ran.objects().remove(0);
    assert_eq!(object["headers"], serde_json::json!({ "k": "v=w", "empty": "" }));
    assert_eq!((&object["topic"], &object["attempt"]), (&"a.b".into(), &1.into()));
    assert_eq!(object["id"], receipt["id"]);
    assert_eq!(object["redelivered"], false);
}

#[test]
fn a_receipt_names_line_id_and_durability() {
    let (place, lines) = (Place::new(), numbers(1, 600));
    let file = place.file("input", text_of(&lines));
    let sync = ["t", "--file", &file, "--receipts", "--durability", "sync"];
    let ran = place.run("publish", &sync).ends(0);
    for (line, number) in ran.lines().into_iter().zip(1..) {
        let parts: Vec<&str> = line.split(' ').collect();
        assert_eq!((parts[0], parts[2], parts.len()), (&*format!("{number}"), "synced", 3));
    }
    assert_eq!(ran.lines().len(), 600);
    let ran = place.run("publish", &["t", "--file", &file, "--receipts", "--json"]).ends(0);
    for (object, number) in ran.objects().into_iter().zip(1..) {
        assert_eq!((&object["line"], &object["reached"]), (&number.into(), &"os".into()));
    }
}

#[test]
fn each_durability_carries_lines_from_end_to_end() {
    for durability in ["os", "sync", "interval=10ms"] {
        let (place, lines) = (Place::new(), numbers(1, 20));
        let file = place.file("input", text_of(&lines));
        let ran =
            place.run("publish", &["t", "--file", &file, "--json", "--durability", durability]);
        let reached = ran.ends(0).objects().remove(0)["reached"].clone();
        assert_eq!(reached, if durability == "sync" { "synced" } else { "os" });
        let consume = ["t", "--from", "earliest", "--count", "20", "--durability", durability];
        assert_eq!(place.run("consume", &consume).ends(0).lines(), lines);
        let relay = ["u", "--file", &file, "--durability", durability];
        assert_eq!(place.run("relay", &relay).ends(0).lines(), lines);
    }
}

#[test]
fn a_line_of_a_slow_pipe_is_acknowledged_before_the_next_one_comes() {
    let place = Place::new();
    let mut publisher = Running::start(place.command("publish", &["t", "--receipts"]));
    for number in 1..=3 {
        publisher.feed(format!("line {number}\n"));
        assert!(publisher.line().starts_with(&format!("{number} ")));
    }
    publisher.feed("without a newline");
    let ran = publisher.finish().ends(0);
    assert!(ran.text().starts_with("4 ") && ran.lines().len() == 1, "{ran:?}");
    assert_eq!(place.drain("t"), ["line 1", "line 2", "line 3", "without a newline"]);
}

#[test]
fn no_input_is_no_message() {
    let place = Place::new();
    let ran = place.run("publish", &["t", "--json"]).ends(0);
    let summary = ran.objects().remove(0);
    assert_eq!((&summary["published"], &summary["reached"]), (&0.into(), &().into()));
    assert_eq!(place.drain("t"), [""; 0]);
}

#[test]
fn latest_takes_only_what_nobody_has_taken_and_what_comes() {
    let place = Place::new();
    place.publish("t", "1\n2");
    let take = |name: &str, rest: &[&str]| {
        let args = ["t", "--name", name, "--idle-exit", "100ms", "--retention-bytes", "1GiB"];
        let ran = place.run("consume", &[&args, rest].concat()).ends(0);
        ran.lines().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(take("first", &[]), ["1", "2"]);
    assert_eq!(take("second", &[]), [""; 0]);
    let earliest = ["--from", "earliest"];
    assert_eq!(take("third", &earliest), ["1", "2"]);
    // Where it begins counts only when the subscription is made.
    assert_eq!(take("third", &earliest), [""; 0]);
    place.publish("t", "3");
    assert_eq!(take("third", &earliest), ["3"]);
}

/// Exactly as many lines as were asked for, whatever the number of workers; the rest is neither lost nor repeated.
#[test]
fn a_count_is_kept_exactly() {
    let (place, lines) = (Place::new(), numbers(1, 300));
    place.publish("t", text_of(&lines));
    let mut seen = Vec::new();
    for (count, workers, left) in [("1", "1", 299), ("100", "4", 199), ("199", "8", 0)] {
        let ran = place.run("consume", &["t", "--count", count, "--workers", workers]).ends(0);
        assert_eq!(ran.lines().len().to_string(), count);
        seen.extend(ran.lines().iter().map(|&line| line.to_owned()));
        assert_eq!(place.ready(), left);
    }
    seen.sort_by_key(|line| line.parse::<u64>().unwrap());
    assert_eq!(seen, lines);
}

/// Lines longer than what a pipe takes at once, from eight workers: whole lines, whatever their order.
#[test]
fn lines_of_several_workers_are_whole() {
    let place = Place::new();
    let line = |number: u8| String::from_utf8(vec![b'a' + number % 26; 9_000]).unwrap();
    let mut lines: Vec<String> = (0..200).map(line).collect();
    place.publish("t", text_of(&lines));
    let args = ["t", "--workers", "8", "--idle-exit", "100ms"];
    let ran = place.run("consume", &args).ends(0);
    let mut out: Vec<String> = ran.lines().iter().map(|&line| line.to_owned()).collect();
    lines.sort();
    out.sort();
    assert!(out == lines, "{} lines", out.len());
}

#[test]
fn a_relay_prints_its_input_and_tells_what_it_took() {
    let (place, lines) = (Place::new(), numbers(1, 2_000));
    let file = place.file("input", text_of(&lines));
    let ran = place.run("relay", &["t", "--file", &file]).ends(0);
    assert_eq!(ran.lines(), lines);
    for word in ["2,000 messages", "p50", "p99", "p99.9", "waiting", "service", "sojourn"] {
        assert!(ran.err.contains(word), "{word} in {}", ran.err);
    }
    let ran = place.run("relay", &["t", "--file", &file, "--json"]).ends(0);
    let (last, messages) = ran.objects().split_last().map(|(a, b)| (a.clone(), b.len())).unwrap();
    assert_eq!(messages, 2_000);
    let summary = &last["summary"];
    for (key, value) in [("published", 2_000), ("handled", 2_000), ("left", 0)] {
        assert_eq!(summary[key], value);
    }
    assert!(summary["sojourn_ns"]["p99"].as_u64() >= summary["waiting_ns"]["p50"].as_u64());
}

#[test]
fn colours_and_progress_stay_away_from_files() {
    let place = Place::new();
    place.publish("t", "1");
    let cases: [(&str, &[&str]); 7] = [
        ("stat", &["--help"]),
        ("stat", &[]),
        ("verify", &[]),
        ("inspect", &["--frames"]),
        ("inspect", &["--records"]),
        ("backup", &["copy"]),
        ("purge", &["t"]),
    ];
    for (command, rest) in cases {
        let mut command = place.command(command, rest);
        command.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
        let ran = ran(command).ends(0);
        assert!(!ran.out.contains(&0x1b) && !ran.err.contains('\x1b'), "{ran:?}");
    }
}
