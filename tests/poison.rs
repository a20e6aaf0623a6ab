//! A message that kills its handler's process, again and again: it is given up, and the others are handled.
//!
//! Method: this binary once more as the owner, whose handler aborts on one payload; the parent starts it until it lives.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

#[path = "support/child.rs"]
mod child;

use millstream::{Config, DEAD_LETTERS, Engine, HEADER_REASON, Subscription};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

const CRASHES_MAX: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(20);

fn config(dir: &Path) -> Config {
    Config::persistent(dir).workers(2).crashes_max(CRASHES_MAX).segment_bytes(64 << 10)
}

/// The child's part: handles everything, and dies of what is poison to it.
#[test]
fn child() {
    let Some((role, dir)) = child::role() else { return };
    let engine = Engine::open(config(Path::new(&dir))).unwrap();
    let poison = role == "dies";
    let _handler = engine
        .subscribe(Subscription::new("work").name("worker"), move |delivery| {
            let text = String::from_utf8_lossy(delivery.payload()).into_owned();
            if poison && text == "poison" {
                std::process::abort();
            }
            child::say(&format!("handled {text}"));
            Ok(())
        })
        .unwrap();
    let report = engine.close(PATIENCE).unwrap();
    child::say(&format!("left {}", report.left_over()));
}

fn run(role: &str, dir: &Path) -> (bool, Vec<String>) {
    let mut process = child::command(role, dir).spawn().unwrap();
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let lived = process.wait().unwrap().success();
    (lived, text.lines().map(str::to_owned).collect())
}

fn prepared() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(config(dir.path())).unwrap();
    drop(engine.subscriber(Subscription::new("work").name("worker")).unwrap());
    for text in ["one", "poison", "two"] {
        engine.publish("work", text).unwrap();
    }
    engine.close(PATIENCE).unwrap();
    dir
}

/// Promise: after `crashes_max` crashes the message is a dead letter that says why, and everything else is handled.
#[test]
fn a_message_that_kills_the_process_is_given_up() {
    let dir = prepared();
    let mut handled = Vec::new();
    let mut crashes = 0;
    loop {
        let (lived, said) = run("dies", dir.path());
        handled.extend(said.into_iter().filter(|line| line.starts_with("handled")));
        if lived {
            break;
        }
        crashes += 1;
        assert!(crashes <= CRASHES_MAX, "it is given up in the end");
    }
    assert_eq!(crashes, CRASHES_MAX);
    for text in ["handled one", "handled two"] {
        assert!(handled.iter().any(|line| line == text), "{text}: {handled:?}");
    }
    let engine = Engine::open(config(dir.path())).unwrap();
    assert_eq!(engine.stats().depth.subscriptions[0].depth.total(), 0);
    let letters = engine.peek(DEAD_LETTERS, 9).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(&letters[0].payload()[..], b"poison");
    let reason = letters[0].header(HEADER_REASON);
    assert_eq!(reason, Some("the process died 3 times while it was handled"));
    engine.close(PATIENCE).unwrap();
}

/// Promise: a crash is no attempt: where the message stops killing, it is handled like any other.
#[test]
fn a_crash_is_no_attempt() {
    let dir = prepared();
    for _ in 1..CRASHES_MAX {
        assert!(!run("dies", dir.path()).0);
    }
    let (lived, said) = run("lives", dir.path());
    assert!(lived && said.iter().any(|line| line == "handled poison"), "{said:?}");
    let engine = Engine::open(config(dir.path())).unwrap();
    assert_eq!(engine.peek(DEAD_LETTERS, 9).unwrap().len(), 0);
}
