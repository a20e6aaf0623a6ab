//! A subscription that is far behind passes the files in which nothing is for it, and gets exactly what it would have got.
//! Public API only.
//!
//! Method: many small segments of one topic, and a few messages of another among them; then the files that say what is
//! where are taken away, spoiled, cut, exchanged, and replaced.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::log::{Archive, Log, LogOptions};
use millstream::{Config, Engine, Start, Subscriber, Subscription};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const SEGMENT: u64 = 1 << 16;
/// Sixty of these fill a segment.
const BODY: usize = 1_000;
/// Every so many messages one is of the rare topic.
const RARE_EVERY: usize = 400;

fn config(dir: &Path) -> Config {
    Config::persistent(dir).segment_bytes(SEGMENT).workers(1)
}

fn rare(name: &str) -> Subscription {
    Subscription::new("rare").name(name)
}

fn publish(engine: &Engine, range: std::ops::Range<usize>) -> Vec<usize> {
    let mut rare = Vec::new();
    for number in range {
        let text = format!("{number:0>8}{}", "x".repeat(BODY - 8));
        let is_rare = number % RARE_EVERY == RARE_EVERY / 2;
        engine.publish(if is_rare { "rare" } else { "common" }, text).unwrap();
        rare.extend(is_rare.then_some(number));
    }
    rare
}

/// The numbers of all that is ready, acknowledged if `ack`, else given back.
fn take_all(subscriber: &Subscriber, ack: bool) -> Vec<usize> {
    let (mut numbers, mut held) = (Vec::new(), Vec::new());
    while let Some(delivery) = subscriber.try_recv().unwrap() {
        numbers.push(delivery.text().unwrap()[..8].parse().unwrap());
        if ack { delivery.ack().unwrap() } else { held.push(delivery) }
    }
    held.into_iter().for_each(|delivery| delivery.release().unwrap());
    numbers
}

fn indexes(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "idx")).collect();
    found.sort();
    found
}

/// A queue of some forty segments and ten index files at least, closed. What is rare in it.
fn written(dir: &Path) -> Vec<usize> {
    let engine = Engine::open(config(dir)).unwrap();
    engine.subscriber(rare("before")).unwrap();
    let mut all = publish(&engine, 0..2_400);
    let begun = Instant::now();
    let mut number = 2_400;
    while indexes(dir).len() < 10 {
        // Each of these rings for housekeeping now and then.
        all.extend(publish(&engine, number..number + 1));
        number += 1;
        assert!(begun.elapsed() < PATIENCE, "{:?}", indexes(dir));
    }
    assert!(engine.close(PATIENCE).is_ok());
    all
}

/// What becomes of an index file: by its number in the list, its path and its bytes.
type Change<'a> = dyn Fn(usize, &Path, &[u8]) + 'a;

/// What the one that was there before gets, and one that comes now and wants all.
fn read(dir: &Path) -> (Vec<usize>, Vec<usize>) {
    let engine = Engine::open(config(dir)).unwrap();
    let before = engine.subscriber(rare("before")).unwrap();
    let after = engine.subscriber(rare("after").start(Start::Earliest)).unwrap();
    let depth = engine.stats().depth;
    let read = (take_all(&before, false), take_all(&after, false));
    for each in depth.subscriptions {
        assert_eq!(each.depth.ready as usize, read.0.len(), "{}", each.name);
    }
    drop((before, after));
    engine.unsubscribe("after").unwrap();
    engine.close(PATIENCE).unwrap();
    read
}

/// Promise: what is far behind comes, all of it, once, in order, while the queue runs.
#[test]
fn a_rare_message_behind_many_segments_comes_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(config(dir.path())).unwrap();
    let early = engine.subscriber(rare("early")).unwrap();
    let mut all = publish(&engine, 0..3_000);
    assert_eq!(take_all(&early, true), all);
    let late = engine.subscriber(rare("late").start(Start::Earliest)).unwrap();
    assert_eq!(take_all(&late, true), all);
    let more = publish(&engine, 3_000..5_000);
    assert_eq!((take_all(&early, true), take_all(&late, true)), (more.clone(), more.clone()));
    all.extend(more);
    let common = Subscription::new("common").name("common").start(Start::Earliest);
    let common = engine.subscriber(common).unwrap();
    let others: Vec<_> = (0..5_000).filter(|number| !all.contains(number)).collect();
    assert_eq!(take_all(&common, true), others);
    engine.close(PATIENCE).unwrap();
}

/// Promise: the same after a reopen, whatever became of the index files: they only ever save reading.
#[test]
fn whatever_becomes_of_the_index_files_the_same_messages_come() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("queue");
    let all = written(&dir);
    assert_eq!(read(&dir), (all.clone(), all.clone()), "with its files");
    let whole: Vec<_> =
        indexes(&dir).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(whole.len() >= 10);
    let each = |change: &Change| {
        for (number, (bytes, path)) in whole.iter().enumerate() {
            let _ = fs::remove_dir(path).or_else(|_| fs::remove_file(path));
            fs::write(path, bytes).unwrap();
            change(number, path, bytes);
        }
    };
    let exchanged = |number: usize| &whole[(number + 1) % whole.len()].0;
    let changes: [(&str, &Change); 7] = [
        ("taken away", &|_, path, _| fs::remove_file(path).unwrap()),
        ("spoiled", &|number, path, bytes| {
            let mut bytes = bytes.to_vec();
            let at = number * 5 % bytes.len();
            bytes[at] ^= 1 << (number % 8);
            fs::write(path, bytes).unwrap();
        }),
        ("cut", &|number, path, bytes| {
            fs::write(path, &bytes[..number * 6 % bytes.len()]).unwrap()
        }),
        ("exchanged", &|number, path, _| fs::write(path, exchanged(number)).unwrap()),
        ("a directory", &|_, path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a link", &|_, path, _| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("lock", path).unwrap();
        }),
        ("huge", &|_, path, _| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    for (what, change) in changes {
        each(change);
        assert_eq!(read(&dir), (all.clone(), all.clone()), "{what}");
    }
}

/// Promise: the files are read, and save the reading. Method: readers of the log itself, which tell how many segments
/// they passed whole; one that owns it, and one that changes nothing.
#[test]
fn whole_segments_are_passed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let found = |mut reader: millstream::log::Reader| {
        while reader.next_skipping(&mut |_, _| false).unwrap().is_some() {}
        reader.skipped()
    };
    let archive = Archive::open(dir.path()).unwrap();
    let segments = archive.segments().len() as u64;
    assert!(segments > 30);
    assert_eq!(found(archive.reader(archive.start())), segments);
    drop(archive);
    let log = Log::open(dir.path(), LogOptions::new().segment_bytes(SEGMENT)).unwrap();
    assert_eq!(found(log.reader(log.start())), segments);
}
