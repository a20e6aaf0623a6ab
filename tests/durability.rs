//! Durability as people ask for it: what a receipt says, waiting for more, an interval, a sync of all.
//!
//! That the disk has what it said it has is not seen from here: these tests hold receipts and figures against each other, and
//! against what another process would find in the directory.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use futures_lite::future::{self, block_on, poll_once};
use millstream::{
    Batch, Config, Durability, DurabilityStats, Engine, OpenError, QueueError, Reached, Receipt,
};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn opened(durability: Durability) -> (TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(config(dir.path()).durability(durability)).unwrap();
    (dir, engine)
}

fn config(path: &Path) -> Config {
    Config::persistent(path).workers(1).segment_bytes(1 << 20)
}

fn figures(engine: &Engine) -> DurabilityStats {
    engine.stats().durability.unwrap()
}

fn publish(engine: &Engine) -> Receipt {
    engine.publish("t", "x").unwrap()
}

#[test]
fn a_receipt_says_what_was_reached_when_the_publish_returned() {
    let hour = Duration::from_secs(3600);
    for (durability, reached) in [
        (Durability::Os, Reached::Os),
        (Durability::Interval(hour), Reached::Os),
        (Durability::Sync, Reached::Synced),
    ] {
        let (_dir, engine) = opened(durability);
        assert_eq!(publish(&engine).reached, reached, "{durability:?}");
        assert_eq!(figures(&engine).unsynced_bytes == 0, reached == Reached::Synced);
    }
}

#[test]
fn a_receipt_can_be_waited_for_by_a_thread() {
    let (_dir, engine) = opened(Durability::Os);
    let receipt = publish(&engine);
    assert!(figures(&engine).unsynced_bytes > 0);
    let durable = receipt.durable(&engine).wait().unwrap();
    assert_eq!((durable.id, durable.reached), (receipt.id, Reached::Synced));
    assert_eq!(figures(&engine).unsynced_bytes, 0);
    let syncs = figures(&engine).syncs;
    receipt.durable(&engine).wait().unwrap();
    assert_eq!(figures(&engine).syncs, syncs, "durable already: no other sync");
}

#[test]
fn receipts_can_be_waited_for_by_tasks_and_threads_at_once() {
    const EACH: u64 = 50;
    let (_dir, engine) = opened(Durability::Os);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    assert_eq!(block_on(publish(&engine).durable(&engine)).unwrap().reached, {
                        Reached::Synced
                    });
                }
            });
            scope.spawn(|| (0..EACH).for_each(|_| drop(publish(&engine).durable(&engine).wait())));
        }
    });
    assert_eq!(figures(&engine).unsynced_bytes, 0);
    assert!(figures(&engine).syncs <= 4 * EACH);
}

#[test]
fn a_wait_that_is_dropped_holds_up_nobody() {
    let (_dir, engine) = opened(Durability::Os);
    for _ in 0..50 {
        let (first, second) = (publish(&engine), publish(&engine));
        block_on(async {
            let mut dropped = first.durable(&engine);
            let _ = poll_once(&mut dropped).await;
            drop(dropped);
            let both = future::zip(second.durable(&engine), first.durable(&engine)).await;
            assert!(both.0.is_ok() && both.1.is_ok());
        });
    }
}

#[test]
fn a_memory_queue_says_that_it_cannot_make_a_message_durable() {
    let engine = Engine::open(Config::memory()).unwrap();
    let receipt = publish(&engine);
    let named = |outcome| {
        matches!(outcome, Err(QueueError::Unsupported { kind: "memory", what })
            if what == "make a message durable")
    };
    assert!(named(receipt.durable(&engine).wait()));
    assert!(named(block_on(receipt.durable(&engine))));
    assert!(engine.stats().durability.is_none());
    engine.sync().unwrap();
}

#[test]
fn a_receipt_of_another_engine_is_refused_by_name() {
    let (dir, engine) = opened(Durability::Os);
    let (_other_dir, other) = opened(Durability::Os);
    let memory = Engine::open(Config::memory()).unwrap();
    let receipt = publish(&engine);
    let refused = |receipt: Receipt, by: &Engine| {
        let names = |outcome: &Result<Receipt, QueueError>| matches!(outcome, Err(QueueError::ForeignReceipt { id }) if *id == receipt.id.to_string());
        names(&receipt.durable(by).wait()) && names(&block_on(receipt.durable(by)))
    };
    assert!(refused(receipt, &other) && refused(publish(&memory), &engine));
    engine.close(Duration::ZERO).unwrap();
    assert!(receipt.durable(&engine).wait().is_ok(), "closing made it durable");
    drop(engine);
    let again = Engine::open(config(dir.path())).unwrap();
    assert!(refused(receipt, &again), "the same directory, opened again");
}

/// Method: after the sync the directory's files are copied as they are, and the copy is opened: a settlement that was still
/// in memory would not be in it.
#[test]
fn a_sync_of_the_engine_covers_what_was_accepted_and_settled() {
    let (dir, engine) = opened(Durability::Os);
    let subscriber = engine.subscriber("t").unwrap();
    for _ in 0..10 {
        publish(&engine);
    }
    for _ in 0..7 {
        subscriber.try_recv().unwrap().unwrap().ack().unwrap();
    }
    engine.sync().unwrap();
    assert_eq!(figures(&engine).unsynced_bytes, 0);
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::copy(&path, copy.path().join(path.file_name().unwrap())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // renamed since
            copied => drop(copied.unwrap()),
        }
    }
    let copied = Engine::open(config(copy.path())).unwrap();
    assert_eq!(copied.stats().queue_size(), 3);
}

#[test]
fn a_batch_is_made_durable_by_one_sync() {
    let (_dir, engine) = opened(Durability::Sync);
    publish(&engine); // so that the topic has its record
    let before = figures(&engine).syncs;
    let batch = (0..100).fold(Batch::new(), |batch, _| batch.with("t", "x").unwrap());
    let receipts = engine.publish_batch(batch).unwrap();
    assert!(receipts.iter().all(|receipt| receipt.reached == Reached::Synced));
    assert_eq!(figures(&engine).syncs, before + 1);
}

#[test]
fn at_an_interval_messages_and_settlements_become_durable_by_themselves() {
    let (_dir, engine) = opened(Durability::Interval(Duration::from_millis(1)));
    let subscriber = engine.subscriber("t").unwrap();
    for _ in 0..10 {
        publish(&engine);
        subscriber.try_recv().unwrap().unwrap().ack().unwrap();
        while figures(&engine).unsynced_bytes > 0 {
            std::thread::yield_now();
        }
    }
    assert!(figures(&engine).last_sync_age.is_some() && figures(&engine).poisoned.is_none());
}

#[test]
fn an_interval_that_cannot_be_is_named_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue");
    for interval in [Duration::ZERO, Duration::from_micros(999), Duration::from_secs(3601)] {
        let refused = Engine::open(config(&path).durability(Durability::Interval(interval))).err();
        let Some(OpenError::Setting { key: "durability", value, reason }) = refused else {
            panic!("{interval:?} was not refused by name");
        };
        assert!(value.contains(&format!("{interval:?}")) && reason.contains("1ms to 3600s"));
        assert!(!path.exists());
    }
}

/// An hour's interval would be waited for by a close that does not end it.
#[test]
fn a_close_does_not_wait_for_the_interval() {
    let (_dir, engine) = opened(Durability::Interval(Duration::from_secs(3600)));
    let receipt = publish(&engine);
    engine.close(Duration::ZERO).unwrap();
    assert_eq!(figures(&engine).unsynced_bytes, 0);
    assert!(receipt.durable(&engine).wait().is_ok());
}
