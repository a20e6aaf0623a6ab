//! Bad input, and bad places: each has a precise error value, nothing is lost and nothing of anybody's is touched.
//!
//! Topics, filters, names, settings and handlers that panic are in `contract.rs`, for every kind. Here stand the
//! directory, the disk, and what is too large.
//!
//! Disks that are full, limits and mounts are in `faults.rs`, forged files in `hostile.rs`.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::print_stdout)] // Shown where the test fails: the seed, and what was seen.

#[path = "support/child.rs"]
mod child;

use millstream::log::{Action, LogError, verify};
use millstream::{
    Batch, Bytes, Config, Delivery, Engine, HEADER_BYTES_MAX, HEADERS_MAX, Inspection, Message,
    OpenError, PAYLOAD_BYTES_MAX, PublishError, Subscriber, Subscription, TooLarge, Topic,
};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const SEGMENT_BYTES: u64 = 64 << 10;
/// What the disk limit lets in, beside the header pages of so many segments.
const SEGMENTS: u64 = 6;

fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("queue");
    (home, dir)
}

fn config(dir: &Path) -> Config {
    let config = Config::persistent(dir).segment_bytes(SEGMENT_BYTES).workers(2);
    config.retry_delay(Duration::from_millis(1))
}

fn small(dir: &Path) -> Config {
    config(dir).disk_bytes_max(SEGMENTS * (SEGMENT_BYTES + 4_096))
}

fn refused(config: Config) -> OpenError {
    match Engine::open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

/// The log's own error in a refusal to open.
fn cause(error: &OpenError) -> &LogError {
    let (OpenError::InUse { source } | OpenError::Storage { source }) = error else {
        panic!("{error:?}")
    };
    source.downcast_ref().expect("the log's error is the cause")
}

/// Every file below with its bytes.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| name != "lock")
        .collect();
    files.sort();
    files
}

fn a_queue_with_three_messages(dir: &Path) {
    let engine = Engine::open(config(dir)).unwrap();
    drop(engine.subscriber(named()).unwrap());
    for text in ["1", "2", "3"] {
        engine.publish("a", text).unwrap();
    }
    engine.close(Duration::ZERO).unwrap();
}

fn named() -> Subscription {
    Subscription::new("a").name("n")
}

fn pull(subscriber: &Subscriber) -> Delivery {
    subscriber.recv_timeout(PATIENCE).unwrap().expect("a message comes")
}

// ---- the directory ---------------------------------------------------------------------------------------------------

/// Promise: a path that is a file, or goes through one, is named; the file stays as it is.
#[test]
fn a_directory_that_is_a_file_is_named_and_left_alone() {
    let (home, _) = home();
    let file = home.path().join("file");
    std::fs::write(&file, "somebody's").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = refused(config(&path));
        assert!(matches!(cause(&error), LogError::NotADirectory { path: named } if *named == path));
        let said = format!("cannot open the queue: {} is not a directory", path.display());
        assert_eq!(error.to_string(), said);
        assert!(Inspection::open(&path).is_err() && verify(&path, &mut |_, _| {}).is_err());
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"somebody's");
}

/// Promise: a place where nothing can be made is named, with what was tried there.
/// Method: file systems of the kernel's, which refuse it to root too. (A read-only mount: `mounted`.)
#[test]
fn a_place_where_nothing_can_be_made_is_named() {
    for place in ["/proc/millstream", "/sys/millstream"] {
        let error = refused(config(Path::new(place)));
        let LogError::Storage(failure) = cause(&error) else { panic!("{error:?}") };
        assert_eq!((failure.action, failure.path.as_path()), (Action::Create, Path::new(place)));
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot open the queue: cannot create {place}: "))
        );
    }
}

/// Promise: looking at what is not there says so, and makes nothing.
#[test]
fn looking_where_there_is_no_queue_makes_none() {
    let (home, dir) = home();
    assert!(Inspection::open(&dir).is_err());
    assert!(!dir.exists());
    let error = Inspection::open(home.path()).map(drop).unwrap_err();
    assert!(matches!(cause(&error), LogError::NoLog { .. }), "{error:?}");
    assert_eq!(files(home.path()), []);
}

/// Promise: a file that has a segment's name and is none, or is another log's, is named and nothing is touched; files
/// with names of their own are nobody's business.
#[test]
fn files_that_are_not_ours_are_named_and_left_alone() {
    let (_home, dir) = home();
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("0000000000000000.seg"), "not a segment, but a letter").unwrap();
    std::fs::write(dir.join("notes.txt"), "mine").unwrap();
    let before = files(&dir);
    let error = refused(config(&dir));
    assert!(matches!(cause(&error), LogError::NotOurs { .. }), "{error:?}");
    assert!(error.to_string().ends_with("0000000000000000.seg is not a millstream segment"));
    assert_eq!(files(&dir), before);

    std::fs::remove_file(dir.join("0000000000000000.seg")).unwrap();
    a_queue_with_three_messages(&dir);
    assert_eq!(std::fs::read(dir.join("notes.txt")).unwrap(), b"mine");
    let (_other_home, other) = self::home();
    a_queue_with_three_messages(&other);
    let segment =
        |dir: &Path| files(dir).into_iter().find(|file| file.0.ends_with(".seg")).unwrap();
    // Another log's first segment under the name of the next one here.
    let (_, mut foreign) = segment(&other);
    let base = 1_u64 << 20;
    foreign[48..56].copy_from_slice(&base.to_le_bytes());
    let crc = crc32c::crc32c(&foreign[..104]);
    foreign[104..108].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.join(format!("{base:016x}.seg")), foreign).unwrap();
    let before = files(&dir);
    let error = refused(config(&dir));
    assert!(matches!(cause(&error), LogError::Foreign { .. }), "{error:?}");
    assert_eq!(files(&dir), before);
}

/// Promise: a log of a newer version is named with its version, and not touched.
#[test]
fn a_newer_version_is_named_and_left_alone() {
    let (_home, dir) = home();
    a_queue_with_three_messages(&dir);
    let (name, mut bytes) = files(&dir).into_iter().find(|file| file.0.ends_with(".seg")).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..104]);
    bytes[104..108].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.join(&name), bytes).unwrap();
    let before = files(&dir);
    let error = refused(config(&dir));
    assert!(matches!(cause(&error), LogError::Newer { version: 2, .. }), "{error:?}");
    let said = format!("{name} has format version 2; this millstream reads up to 1");
    assert!(error.to_string().ends_with(&said), "{error}");
    assert!(Inspection::open(&dir).is_err());
    assert_eq!(files(&dir), before);
}

/// Promise: a directory has one owner: the second, in this process or another, is told the directory and the process.
/// When the owner has closed, or died, the next one gets in.
#[test]
fn a_second_owner_is_told_who_has_the_directory() {
    let (_home, dir) = home();
    let told = |pid: u32| {
        let error = refused(config(&dir));
        let LogError::Locked { dir: locked, pid: owner } = cause(&error) else {
            panic!("{error:?}")
        };
        assert_eq!((locked, *owner), (&dir, Some(pid)));
        let said =
            format!("in use: the log in {} is open already, by process {pid}", dir.display());
        assert_eq!(error.to_string(), said);
        let looking = verify(&dir, &mut |_, _| {}).unwrap_err();
        assert!(matches!(looking, LogError::Locked { .. }), "{looking:?}");
    };
    let engine = Engine::open(config(&dir)).unwrap();
    told(std::process::id());
    engine.publish("a", "still mine").unwrap();
    engine.close(PATIENCE).unwrap();

    let mut owner = child::command("own", &dir).spawn().unwrap();
    let mut said = BufReader::new(owner.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "open");
    told(owner.id());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let engine = Engine::open(config(&dir)).unwrap();
    assert_eq!(engine.stats().depth.held, 2);
    engine.close(PATIENCE).unwrap();
}

fn own(dir: &Path) -> ! {
    let engine = Engine::open(config(dir)).unwrap();
    engine.publish("a", "another's").unwrap();
    child::say("open");
    loop {
        thread::park();
    }
}

// ---- what is too large, or no text -----------------------------------------------------------------------------------

/// Promise: a message over a limit comes back whole, with the limit's name and its number; nothing of it is stored.
#[test]
fn what_is_too_large_comes_back_with_the_limit_named() {
    let (_home, dir) = home();
    let large = || Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]);
    for config in [Config::memory(), config(&dir).segment_bytes(4 << 20)] {
        let engine = Engine::open(config).unwrap();
        let many = (0..=HEADERS_MAX).fold(Message::new("x"), |m, n| m.header(n.to_string(), ""));
        let cases = [
            (
                Message::new(large()),
                TooLarge::Payload { bytes: PAYLOAD_BYTES_MAX + 1, max: PAYLOAD_BYTES_MAX },
            ),
            (many, TooLarge::HeaderCount { count: HEADERS_MAX + 1, max: HEADERS_MAX }),
            (
                Message::new("x").header("k", "v".repeat(HEADER_BYTES_MAX)),
                TooLarge::Headers { bytes: HEADER_BYTES_MAX + 1, max: HEADER_BYTES_MAX },
            ),
        ];
        for (message, expected) in cases {
            match engine.publish("a", message.clone()) {
                Err(PublishError::TooLarge { message: back, reason }) => {
                    assert_eq!((reason, back == message), (expected, true));
                }
                other => panic!("{:?}", other.map_err(|error| error.to_string())),
            }
        }
        let most = Message::new(large().slice(1..));
        engine.publish("a", most).unwrap();
        assert_eq!(engine.stats().queue_size(), 1);
        engine.close(Duration::ZERO).unwrap();
    }
}

/// Promise: a message, or a batch, that does not fit a segment of the log is refused for good, not as full.
#[test]
fn what_does_not_fit_a_segment_is_too_large_and_not_full() {
    let (_home, dir) = home();
    let engine = Engine::open(config(&dir)).unwrap();
    let message = Message::new(vec![7; SEGMENT_BYTES as usize]);
    let refusal = engine.publish("a", message.clone()).unwrap_err();
    let PublishError::TooLarge { message: back, reason: TooLarge::Frame { .. } } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(back, message);
    let topic = Topic::new("a").unwrap();
    let batch: Batch = (0..10).map(|_| (topic.clone(), vec![7; 10_000])).collect();
    let refusal = engine.publish_batch(batch.clone()).unwrap_err();
    assert!(matches!(refusal, PublishError::TooLarge { reason: TooLarge::Frame { .. }, .. }));
    assert_eq!(refusal.into_message(), batch);
    assert_eq!(engine.stats().queue_size(), 0);
    engine.close(PATIENCE).unwrap();
}

/// Promise: what fits a segment fits wherever the log stands in the segment before it, without waiting for ever.
/// Method: messages of nearly a segment behind small ones, at many places; a thread that is waited for.
#[test]
fn what_nearly_fills_a_segment_fits_behind_anything() {
    let (_home, dir) = home();
    let (done, rounds) = channel();
    thread::spawn(move || {
        let engine = Engine::open(config(&dir).segment_bytes(1 << 20)).unwrap();
        for round in 1..=12 {
            engine.publish("a", vec![1; round * 60_000]).unwrap();
            engine.publish("a", vec![2; 1_000_000]).unwrap();
            done.send(round).unwrap();
        }
        engine.close(Duration::ZERO).unwrap();
    });
    for round in 1..=12 {
        assert_eq!(rounds.recv_timeout(PATIENCE), Ok(round), "it waits for ever");
    }
}

/// Promise: bytes that are no UTF-8 are a payload like any other; only who asks for text is told where they end to be.
#[test]
fn bytes_that_are_no_text_are_carried_as_they_are() {
    let (_home, dir) = home();
    let bytes = [b'o', b'k', 0xff, 0xfe, 0];
    for config in [Config::memory(), config(&dir)] {
        let engine = Engine::open(config).unwrap();
        let subscriber = engine.subscriber(named()).unwrap();
        engine.publish("a", bytes.to_vec()).unwrap();
        assert_eq!(engine.peek("a", 1).unwrap()[0].payload().as_ref(), bytes);
        let delivery = pull(&subscriber);
        assert_eq!(delivery.payload().as_ref(), bytes);
        assert_eq!(delivery.text().unwrap_err().valid_up_to(), 2);
        delivery.release().unwrap();
        engine.close(Duration::ZERO).unwrap();
    }
    let inspection = Inspection::open(&dir).unwrap();
    assert_eq!(inspection.peek("a", 1).unwrap()[0].payload().as_ref(), bytes);
}

// ---- a full disk -----------------------------------------------------------------------------------------------------

/// Publishes until the queue is full; how many it took.
fn fill(engine: &Engine) -> usize {
    for number in 0.. {
        let message = Message::new(format!("{number} {}", "x".repeat(1_000))).header("n", "v");
        match engine.publish("a", message.clone()) {
            Ok(_) => {}
            Err(PublishError::Full(back)) => {
                assert_eq!(back, message);
                return number;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("a disk is never endless")
}

fn number_of(delivery: &Delivery) -> usize {
    delivery.text().unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Promise: at the disk limit a publish is refused as full with the message back, batches too; what is there can be
/// handled, settled, failed and dead-lettered, subscriptions can come and go, and what was settled stays settled.
/// Method: a log of six small segments, filled; one half settled by hand, the rest by handlers after a restart.
#[test]
fn a_full_queue_can_be_drained_and_what_is_settled_stays_settled() {
    let (_home, dir) = home();
    let engine = Engine::open(small(&dir)).unwrap();
    let subscriber = engine.subscriber(named()).unwrap();
    let count = fill(&engine);
    assert!(100 < count, "{count} messages of 1 kB in {SEGMENTS} segments");
    let batch = Batch::new().with("a", vec![1; 2_000]).unwrap().with("a", "y").unwrap();
    let refusal = engine.publish_batch(batch.clone()).unwrap_err();
    assert!(refusal.is_full());
    assert_eq!(refusal.into_message(), batch);
    drop(engine.subscriber(Subscription::new("b").name("late")).unwrap());
    engine.unsubscribe("late").unwrap();
    pull(&subscriber).dead_letter("unfit").unwrap();
    pull(&subscriber).retry(Duration::ZERO).unwrap();
    let mut settled = vec![0];
    for _ in 0..count / 2 {
        let delivery = pull(&subscriber);
        settled.push(number_of(&delivery));
        delivery.ack().unwrap();
    }
    drop(subscriber);
    engine.close(Duration::ZERO).unwrap();

    let engine = Engine::open(small(&dir)).unwrap();
    assert_eq!(engine.stats().depth.held, 1, "the dead letter");
    let (seen, numbers) = channel();
    let handler = move |delivery: &Delivery| Ok(seen.send(number_of(delivery))?);
    engine.subscribe(named(), handler).unwrap();
    let report = engine.close(PATIENCE).unwrap();
    assert_eq!(report.left_over(), 1);
    let mut all: Vec<_> = settled.into_iter().chain(numbers.try_iter()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>(), "each one once");
    let engine = Engine::open(small(&dir)).unwrap();
    assert_eq!(engine.stats().queue_size(), 1, "what was settled stays settled");
    engine.close(Duration::ZERO).unwrap();
}

/// Promise: a full queue can be opened again and again: nothing grows beyond the one segment that an open begins.
#[test]
fn a_full_queue_can_be_opened_again_and_again() {
    let (_home, dir) = home();
    let engine = Engine::open(small(&dir)).unwrap();
    drop(engine.subscriber(named()).unwrap());
    let mut left = fill(&engine);
    engine.close(Duration::ZERO).unwrap();
    for _ in 0..10 {
        let engine = Engine::open(small(&dir)).unwrap();
        let subscriber = engine.subscriber(named()).unwrap();
        assert!(engine.publish("a", vec![1; 30_000]).unwrap_err().is_full());
        for _ in 0..5 {
            pull(&subscriber).ack().unwrap();
        }
        left -= 5;
        assert_eq!(engine.stats().queue_size() as usize, left);
        engine.close(Duration::ZERO).unwrap();
    }
}

/// The part that a child process plays; nothing in the parent.
#[test]
fn child() {
    let Some((role, dir)) = child::role() else { return };
    let dir = Path::new(&dir);
    match role.as_str() {
        "own" => own(dir),
        other => panic!("there is no role `{other}`"),
    }
}
