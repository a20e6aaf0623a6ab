//! `--exec`: a command for each message.

use super::{Place, exists, numbers, text_of};
use std::fs;

#[test]
fn a_command_gets_the_payload_and_nothing_else() {
    let place = Place::new();
    place.publish("a.b", b"x\r\n\xff\x00\n");
    let script = "cat > $MILLSTREAM_ID.out; echo $MILLSTREAM_TOPIC $MILLSTREAM_ATTEMPT";
    let args = ["a.>", "--count", "2", "--exec", script];
    let ran = place.run("consume", &args).ends(0);
    assert_eq!(ran.lines(), ["a.b 1", "a.b 1"]);
    let names = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|end| end == "out")).collect();
    found.sort();
    assert_eq!(
        found.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(),
        [b"x\r".to_vec(), b"\xff\x00".to_vec()]
    );
}

#[test]
fn a_command_need_not_read_its_message() {
    let place = Place::new();
    place.publish("t", vec![b'x'; 1 << 20]);
    place.run("consume", &["t", "--count", "1", "--exec", "true"]).ends(0);
    assert_eq!(place.ready(), 0);
}

#[test]
fn a_command_that_always_fails_brings_its_message_to_the_dead_letters() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 3)));
    let script = "read -r line || :; echo $line $MILLSTREAM_ATTEMPT; [ $line != 2 ] || exit 7";
    let args = ["t", "--exec", script, "--retries", "2", "--retry-delay", "5ms"];
    let idle = [&args[..], &["--idle-exit", "100ms"]].concat();
    let ran = place.run("consume", &idle).ends(1);
    assert_eq!(ran.lines(), ["1 1", "2 1", "3 1", "2 2", "2 3"]);
    assert!(ran.err.contains("dead letters 1"), "{}", ran.err);
    let letter = place.run("peek", &["$dead", "--json"]).ends(0).objects().remove(0);
    assert_eq!(letter["payload"], "2");
    let headers = &letter["headers"];
    assert_eq!(headers["millstream-attempts"], "3");
    assert_eq!(headers["millstream-origin-topic"], "t");
    assert!(headers["millstream-reason"].as_str().unwrap().contains("exit status: 7"), "{letter}");
}

/// Idleness does not come between a failure and its retry, however short it is.
#[test]
fn a_message_that_waits_for_its_retry_is_waited_for() {
    let place = Place::new();
    place.publish("t", "x");
    let script = "[ $MILLSTREAM_ATTEMPT = 3 ] && echo handled";
    let args = ["t", "--exec", script, "--retry-delay", "60ms", "--idle-exit", "1ms"];
    assert_eq!(place.run("consume", &args).ends(0).lines(), ["handled"]);
}

#[test]
fn failed_attempts_do_not_count() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 6)));
    let script = "[ $MILLSTREAM_ATTEMPT = 2 ] && cat && echo";
    let args = ["t", "--exec", script, "--retry-delay", "1ms", "--count", "4", "--workers", "3"];
    assert_eq!(place.run("consume", &args).ends(0).lines().len(), 4);
    let stat = place.stat();
    let left = &stat["subscriptions"][0];
    assert_eq!(left["ready"].as_u64().unwrap() + left["delayed"].as_u64().unwrap(), 2, "{stat}");
}

/// The commands take their time, so that eight workers would begin more than three if they could.
#[test]
fn no_more_commands_are_begun_than_were_asked_for() {
    let place = Place::new();
    place.publish("t", text_of(&numbers(1, 20)));
    let args = ["t", "--count", "3", "--workers", "8", "--exec", "echo begun; sleep 0.1"];
    assert_eq!(place.run("consume", &args).ends(0).lines(), ["begun"; 3]);
    assert_eq!(place.ready(), 17);
}

#[test]
fn attempts_are_objects_and_the_commands_own_words_go_to_standard_error() {
    let place = Place::new();
    place.publish("t", "x");
    let script = "echo own words; [ $MILLSTREAM_ATTEMPT = 2 ] || exit 9";
    let args = ["t", "--exec", script, "--retry-delay", "1ms", "--count", "1", "--json"];
    let ran = place.run("consume", &args).ends(0);
    let [failed, handled] = &ran.objects()[..] else { panic!("{ran:?}") };
    assert_eq!((&failed["handled"], &failed["exit_code"]), (&false.into(), &9.into()));
    assert_eq!((&handled["handled"], &handled["attempt"]), (&true.into(), &2.into()));
    assert!(ran.err.contains("own words"));
}

#[test]
fn a_relay_waits_for_its_retries_and_its_dead_letters() {
    let place = Place::new();
    let file = place.file("input", text_of(&numbers(1, 10)));
    let script = "read -r line || :; [ $line -gt 2 ] && touch $line";
    let args = ["t", "--file", &file, "--exec", script, "--retries", "1", "--retry-delay", "20ms"];
    let ran = place.run("relay", &args).ends(1);
    assert!(ran.err.contains("retries       2"), "{}", ran.err);
    assert!(ran.err.contains("dead letters  2"), "{}", ran.err);
    assert!((3..=10).all(|number| exists(&place.path(&number.to_string()))));
    assert_eq!(place.run("peek", &["$dead"]).ends(0).lines().len(), 2);
}

#[test]
fn relays_of_two_topics_do_not_meet() {
    let place = Place::new();
    for topic in ["t", "u"] {
        let file = place.file("input", topic);
        assert_eq!(place.run("relay", &[topic, "--file", &file]).ends(0).lines(), [topic]);
    }
}
