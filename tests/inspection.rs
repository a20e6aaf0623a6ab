//! A queue looked at from outside tells the same as its owner: who pins the log, how much of it, what is retained, which
//! checkpoint is the newest. What only the owner knows is not asked here.

#![allow(clippy::unwrap_used, reason = "a test's steps may fail the test")]

use millstream::{Config, Engine, Inspection, Pinned, StorageStats};
use std::path::Path;
use std::time::Duration;

fn open(dir: &Path) -> Engine {
    Engine::open(Config::persistent(dir).segment_bytes(64 << 10).workers(1)).unwrap()
}

#[track_caller]
fn agree(dir: &Path, told: &StorageStats) {
    let seen = Inspection::open(dir).unwrap();
    assert_eq!(seen.pinned_by(), told.pinned_by);
    assert_eq!(seen.pinned_bytes(), told.pinned_bytes);
    assert_eq!(seen.retained_from(), told.retained_from);
    let checkpoint = seen.checkpoint().map(|one| one.replay_from().as_u64());
    assert_eq!(checkpoint, told.checkpoint);
    assert_eq!(seen.checkpoint_age().is_some(), told.checkpoint_age.is_some());
    // Asked later: not younger.
    assert!(told.oldest_age <= seen.oldest_age().unwrap());
    assert_eq!(told.oldest_age.is_some(), seen.oldest_age().unwrap().is_some());
}

/// Promise: beside the owner, and after a settlement that was written down, both say the same; when all is settled, that nobody
/// pins anything.
#[test]
fn an_inspection_agrees_with_the_owner_beside_whom_it_looks() {
    let place = tempfile::TempDir::new().unwrap();
    let dir = place.path();
    let engine = open(dir);
    let told = || {
        engine.sync().unwrap();
        engine.stats().storage.unwrap()
    };
    engine.publish("unheard", "1").unwrap();
    assert_eq!(told().pinned_by, Pinned::Topic("unheard".to_owned()));
    agree(dir, &told());

    let subscriber = engine.subscriber("unheard").unwrap();
    for number in 0..5 {
        engine.publish("unheard", format!("{number}")).unwrap();
    }
    assert_eq!(told().pinned_by, Pinned::Subscription("unheard".to_owned()));
    let before = told().pinned_bytes;
    agree(dir, &told());
    subscriber.try_recv().unwrap().unwrap().ack().unwrap();
    assert!(told().pinned_bytes < before);
    agree(dir, &told());

    while let Some(delivery) = subscriber.try_recv().unwrap() {
        delivery.ack().unwrap();
    }
    assert_eq!((told().pinned_by, told().pinned_bytes), (Pinned::Nobody, 0));
    agree(dir, &told());
    assert_eq!(Inspection::open(dir).unwrap().oldest_age().unwrap(), None);
}

/// Promise: the sizes on the disk are those of the files, and a queue at rest has the checkpoint of its close.
#[test]
fn an_inspection_of_a_queue_at_rest_tells_its_checkpoint_and_its_disk() {
    let place = tempfile::TempDir::new().unwrap();
    let engine = open(place.path());
    engine.publish("t", "1").unwrap();
    engine.close(Duration::ZERO).unwrap();
    let seen = Inspection::open(place.path()).unwrap();
    assert!(!seen.is_live() && seen.is_clean());
    let position = seen.checkpoint().unwrap().replay_from();
    assert!(seen.start() < position && position <= seen.end());
    // No frame behind the last one says that it is durable: that one alone is not vouched for.
    assert!(position <= seen.durable() && seen.durable() < seen.end());
    let files = || std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap());
    let lengths: u64 = files().map(|file| file.metadata().unwrap().len()).sum();
    // A file system counts blocks, so at least what was written, and not much more.
    let disk_bytes = seen.disk_bytes().unwrap();
    assert!(0 < disk_bytes && disk_bytes <= lengths + (64 << 10) * files().count() as u64);
}
