//! Damage: one byte changed, or a file cut short, anywhere in a log of several segments and in a queue's directory. The
//! answer is a named error or right data, never wrong data, never a panic.
//!
//! ```text
//!   a log that was closed, so that all of it is known durable:
//!     a byte that a checksum covers     verify names the file and the byte where the frame begins; Archive and open refuse, by name
//!     any other                         (alignment, the inside of a PAD, the rest of a header page) nothing is missed
//!   a file cut short                    a named error, or a prefix of what there was, with everything in earlier segments
//! ```
//!
//! And a repair keeps whatever a look at each frame called whole, reports the rest, and invents nothing: `corruption/repaired.rs`.
//!
//! In a plain run the bytes are a sample: every byte of each segment's header, of some frames' headers and ends, and of the rest one in
//! [`STRIDE`], from a random start that is printed. All of them, in release (minutes):
//!
//! ```text
//! MILLSTREAM_CORRUPTION=all cargo test --release --test corruption -- --nocapture
//! ```

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.
#![allow(clippy::print_stdout)] // Shown where the test fails: the seed, and what was tried.

#[path = "support/forge.rs"]
mod forge;
#[path = "corruption/repaired.rs"]
mod repaired;

use forge::{CLOSE, Frame, HEADER_PAGE, SEGMENT_HEADER};
use millstream::log::{Archive, Budget, Damage, Log, LogError, LogOptions, Record, verify};
use millstream::{Config, Engine, Inspection, Message, QueueDepth, Subscription};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SEGMENT_BYTES: u64 = 64 << 10;
/// A prime: over several runs the sample wanders over all places of a frame.
const STRIDE: usize = 2_503;
const OPENS: u32 = 3;
const RECORDS_EACH: u32 = 190;

/// Whose each byte is, in one file.
struct Anatomy {
    path: PathBuf,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    is_last: bool,
}

/// What has to happen when a byte is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It is noticed, at this byte of the file.
    Noticed(u64),
    /// It carries nothing.
    Harmless,
    /// It stands behind the log's end, or marks it as closed: noticed, or harmless.
    Either,
}

impl Anatomy {
    fn of_dir(dir: &Path) -> Vec<Self> {
        let mut paths: Vec<_> = segments(dir);
        paths.sort();
        let count = paths.len();
        let each = paths.into_iter().enumerate();
        each.map(|(index, path)| {
            let bytes = fs::read(&path).unwrap();
            let frames = forge::frames(&bytes);
            Self { path, bytes, frames, is_last: index + 1 == count }
        })
        .collect()
    }

    fn expected(&self, at: usize) -> Expected {
        if at < SEGMENT_HEADER {
            return Expected::Noticed(0);
        }
        let frame = self.frames.iter().find(|frame| (frame.offset..frame.end()).contains(&at));
        match frame {
            Some(frame) if self.is_last && frame.kind == CLOSE => Expected::Either,
            Some(frame) if frame.covered().contains(&at) => Expected::Noticed(frame.offset as u64),
            None if self.is_last && HEADER_PAGE <= at => Expected::Either,
            _ => Expected::Harmless,
        }
    }

    /// The places that are tried.
    fn places(&self, seed: u64) -> BTreeSet<usize> {
        if all() {
            return (0..self.bytes.len()).collect();
        }
        let mut places: BTreeSet<usize> = (0..SEGMENT_HEADER).collect();
        let ends = self.frames.iter().take(1).chain(self.frames.iter().rev().take(1));
        for frame in ends {
            places.extend(frame.offset..frame.offset + 33);
            places.extend(frame.end().saturating_sub(4)..frame.end() + 4);
        }
        places.extend((seed as usize % STRIDE..self.bytes.len()).step_by(STRIDE));
        places.retain(|at| *at < self.bytes.len());
        places
    }

    /// Tries `change` on this file's byte `at`, and puts it back.
    fn with_byte(&self, at: usize, mask: u8, look: impl FnOnce()) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(&[self.bytes[at] ^ mask], at as u64).unwrap();
        look();
        file.write_all_at(&[self.bytes[at]], at as u64).unwrap();
    }

    /// The same with the file cut to `len` bytes.
    fn with_length(&self, len: usize, look: impl FnOnce()) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(len as u64).unwrap();
        look();
        file.write_all_at(&self.bytes[len..], len as u64).unwrap();
    }
}

fn all() -> bool {
    std::env::var("MILLSTREAM_CORRUPTION").is_ok_and(|which| which == "all")
}

fn seed() -> u64 {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(Instant::now()));
    println!("MILLSTREAM_SEED={seed}");
    seed
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "seg")).collect()
}

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(SEGMENT_BYTES).disk_max_bytes(16 << 20)
}

/// A body that is its own number, and long enough to be found out if it is anything else.
fn body(number: u32) -> Vec<u8> {
    let filling = (number.wrapping_mul(2_654_435_761) >> 22) as usize;
    let letters = (0..filling).map(|at| (at as u32 ^ number) as u8);
    number.to_le_bytes().into_iter().chain(letters).collect()
}

/// A log of several segments, opened and closed several times, with batches, PADs and syncs; and its bodies.
fn a_closed_log() -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let mut bodies = Vec::new();
    for open in 0..OPENS {
        let log = Log::open(dir.path(), options()).unwrap();
        let mut number = open * RECORDS_EACH;
        while number < (open + 1) * RECORDS_EACH {
            let count = if number.is_multiple_of(7) { 3 } else { 1 };
            let batch: Vec<_> = (number..number + count).map(body).collect();
            let parts: Vec<[&[u8]; 1]> = batch.iter().map(|body| [body.as_slice()]).collect();
            let record = |parts| Record { tag: 7, topic: 9, time_ns: 5, parts };
            let records: Vec<_> = parts.iter().map(|parts| record(parts)).collect();
            let appended = match records.as_slice() {
                [one] => log.append(one, Budget::Publish).unwrap(),
                many => log.append_batch(many, Budget::Publish).unwrap(),
            };
            if number.is_multiple_of(31) {
                log.wait_durable(appended.end).unwrap();
            }
            number += count;
            bodies.extend(batch);
        }
        log.close().unwrap();
    }
    (dir, bodies)
}

fn read(archive: &Archive) -> Result<Vec<Vec<u8>>, LogError> {
    let mut reader = archive.reader(archive.start());
    let mut bodies = Vec::new();
    while let Some(record) = reader.next()? {
        bodies.push(record.body().to_vec());
    }
    Ok(bodies)
}

/// The places that `verify` names; an error that names one file is damage at its beginning.
fn named(dir: &Path) -> Vec<(PathBuf, u64)> {
    match verify(dir, &mut |_, _| {}) {
        Ok(found) => {
            found.damages.into_iter().map(|Damage { file, offset, .. }| (file, offset)).collect()
        }
        Err(LogError::NotOurs { path } | LogError::Newer { path, .. }) => vec![(path, 0)],
        Err(other) => panic!("{other}"),
    }
}

/// Refused, by the file's name.
fn refused_by_name(outcome: Result<Vec<Vec<u8>>, LogError>, path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    match outcome {
        Ok(_) => false,
        // Its predecessor's successor is gone: the next one is named.
        Err(LogError::SegmentMissing { .. }) => true,
        Err(error) => {
            assert!(error.to_string().contains(name), "{error}");
            true
        }
    }
}

/// Promise: in a closed log of several segments no change of a byte that carries something passes unseen: `verify` names
/// the file and the byte, an archive refuses by the file's name; any other byte changes nothing.
#[test]
fn a_changed_byte_is_named_or_carries_nothing() {
    let seed = seed();
    let (dir, bodies) = a_closed_log();
    let files = Anatomy::of_dir(dir.path());
    assert!(OPENS as usize * 2 <= files.len(), "{} segments", files.len());
    assert!(files.iter().all(|file| file.frames.len() > 1));
    let mut tried = 0;
    for file in &files {
        for at in file.places(seed) {
            let mask = if at.is_multiple_of(2) { 1 << (at / 2 % 8) } else { 0xff };
            file.with_byte(at, mask, || {
                tried += 1;
                let (what, expected) =
                    (format!("{:?} byte {at} ^ {mask}", file.path), file.expected(at));
                let named = named(dir.path());
                let outcome = Archive::open(dir.path()).and_then(|archive| read(&archive));
                match expected {
                    Expected::Noticed(offset) => {
                        assert_eq!(named, [(file.path.clone(), offset)], "{what}");
                        assert!(refused_by_name(outcome, &file.path), "{what}: it was read");
                    }
                    Expected::Harmless => {
                        assert_eq!(named, [], "{what}");
                        assert!(outcome.unwrap() == bodies, "{what}: wrong data");
                    }
                    Expected::Either => {
                        assert!(named.iter().all(|(path, _)| *path == file.path), "{what}");
                        assert_eq!(outcome.is_ok(), named.is_empty(), "{what}");
                        assert!(
                            outcome.is_err() || outcome.unwrap() == bodies,
                            "{what}: wrong data"
                        );
                    }
                }
            });
        }
    }
    println!("{tried} bytes changed in {} segments", files.len());
}

/// Promise: a file cut anywhere is a named error, or the log is a prefix of what it was, with all of the earlier segments.
#[test]
fn a_cut_file_is_named_or_leaves_a_prefix() {
    let seed = seed();
    let (dir, bodies) = a_closed_log();
    let files = Anatomy::of_dir(dir.path());
    let mut tried = 0;
    for file in &files {
        let needed = file.frames.last().unwrap().covered().end;
        for len in file.places(seed) {
            file.with_length(len, || {
                tried += 1;
                let what = format!("{:?} cut to {len}", file.path);
                let named = named(dir.path());
                assert!(named.iter().all(|(path, _)| *path == file.path), "{what}: {named:?}");
                let outcome = Archive::open(dir.path()).and_then(|archive| read(&archive));
                match outcome {
                    Ok(found) if file.is_last => {
                        assert!(bodies.starts_with(&found), "{what}: wrong data");
                        let before = bodies.len() as u32 - RECORDS_EACH;
                        assert!(before as usize <= found.len() + 2, "{what}: too little");
                    }
                    Ok(found) => {
                        assert!(needed <= len, "{what}: nobody missed the rest");
                        assert!(found == bodies && named.is_empty(), "{what}: wrong data");
                    }
                    Err(error) => {
                        assert!(len < needed || file.is_last, "{what}: {error}");
                        assert!(!named.is_empty(), "{what}: verify names nothing, but {error}");
                        assert!(refused_by_name(Err(error), &file.path), "{what}");
                    }
                }
            });
        }
    }
    println!("{tried} cuts in {} segments", files.len());
}

/// Copies a directory, without its lock.
fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().unwrap() != "lock" {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "lock")
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Promise: an owner answers as an archive does; a log that it refuses is left as it was, byte for byte; one that it opens
/// has the right data, before and after an append, a close and a second open.
#[test]
fn an_owner_refuses_what_an_archive_refuses_and_touches_nothing() {
    let seed = seed();
    let (dir, bodies) = a_closed_log();
    let files = Anatomy::of_dir(dir.path());
    let every = if all() { 97 } else { 29 };
    for file in &files {
        for at in file.places(seed).into_iter().skip(seed as usize % every).step_by(every) {
            let copy = copied(dir.path());
            let path = copy.path().join(file.path.file_name().unwrap());
            let changed = OpenOptions::new().write(true).open(&path).unwrap();
            changed.write_all_at(&[file.bytes[at] ^ 0x55], at as u64).unwrap();
            let what = format!("{path:?} byte {at}");
            let before = contents(copy.path());
            let archived = Archive::open(copy.path()).and_then(|archive| read(&archive));
            match (Log::open(copy.path(), options()), archived) {
                (Err(refusal), Err(archived)) => {
                    assert_eq!(refusal.to_string(), archived.to_string(), "{what}");
                    assert!(contents(copy.path()) == before, "{what}: a refused log was touched");
                }
                (Ok(log), Ok(archived)) => {
                    assert!(archived == bodies, "{what}: wrong data");
                    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"new"] };
                    log.append(&record, Budget::Publish).unwrap();
                    log.close().unwrap();
                    drop(log);
                    let mut again = read(&Archive::open(copy.path()).unwrap()).unwrap();
                    assert_eq!(again.pop().unwrap(), b"new", "{what}");
                    assert!(again == bodies, "{what}: wrong data after an open");
                }
                (opened, archived) => panic!("{what}: {opened:?} but {archived:?}"),
            }
        }
    }
}

/// Promise: a segment that is missing, or stands in another's place, is named.
#[test]
fn a_missing_or_exchanged_segment_is_named() {
    let (dir, bodies) = a_closed_log();
    let files = Anatomy::of_dir(dir.path());
    let open = || Archive::open(dir.path()).and_then(|archive| read(&archive));
    for pair in files.windows(2) {
        let [one, other] = pair else { unreachable!("pairs") };
        fs::write(&one.path, &other.bytes).unwrap();
        assert!(refused_by_name(open(), &one.path), "{:?} twice", other.path);
        fs::write(&other.path, &one.bytes).unwrap();
        assert!(open().is_err(), "{:?} exchanged", one.path);
        fs::write(&one.path, &one.bytes).unwrap();
        fs::write(&other.path, &other.bytes).unwrap();
    }
    for (index, file) in files.iter().enumerate().skip(1) {
        fs::remove_file(&file.path).unwrap();
        match open() {
            Err(LogError::SegmentMissing { path }) => assert_eq!(path, files[index + 1].path),
            Err(other) => panic!("{other}"),
            Ok(found) => assert!(file.is_last && bodies.starts_with(&found)),
        }
        fs::write(&file.path, &file.bytes).unwrap();
    }
    assert!(open().unwrap() == bodies, "the test put everything back");
}

/// A closed log with two checkpoints near its end, and its bodies.
fn a_closed_log_with_checkpoints() -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let (dir, _) = a_closed_log();
    let log = Log::open(dir.path(), options()).unwrap();
    for body in [b"one", b"two"] {
        let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[body] };
        log.append(&record, Budget::Publish).unwrap();
        log.write_checkpoint(log.committed(), body).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let bodies = read(&Archive::open(dir.path()).unwrap()).unwrap();
    (dir, bodies)
}

/// Promise: with a checkpoint an open looks only at what lies above it. A changed byte below is then met by the reader, by
/// name, which goes on behind it if its header is whole; `verify` names it all the same.
#[test]
fn with_a_checkpoint_damage_is_named_where_it_is_met() {
    let seed = seed();
    let (dir, bodies) = a_closed_log_with_checkpoints();
    let every = if all() { 1 } else { 9 };
    for file in Anatomy::of_dir(dir.path()) {
        for at in file.places(seed).into_iter().skip(seed as usize % every).step_by(every) {
            file.with_byte(at, 0x81, || {
                let (what, expected) = (format!("{:?} byte {at}", file.path), file.expected(at));
                let named = named(dir.path());
                let noticed = matches!(expected, Expected::Noticed(_));
                if let Expected::Noticed(offset) = expected {
                    assert_eq!(named.first(), Some(&(file.path.clone(), offset)), "{what}");
                    // Without the last segment's header its predecessor seems to go on, and does not.
                    assert!(named.len() == 1 || offset == 0, "{what}: {named:?}");
                }
                match Archive::open(dir.path()) {
                    Err(error) => assert!(refused_by_name(Err(error), &file.path), "{what}"),
                    Ok(archive) => {
                        let (found, damages) = read_over_damage(&archive);
                        let mut rest = bodies.iter();
                        assert!(
                            found.iter().all(|one| rest.any(|body| body == one)),
                            "{what}: wrong data"
                        );
                        if noticed && at < SEGMENT_HEADER {
                            panic!("{what}: nobody missed the header");
                        }
                        // A frame that holds no record is passed over with its damage, or not.
                        assert!(
                            found.len() == bodies.len() || !damages.is_empty(),
                            "{what}: silently less"
                        );
                        assert!(
                            damages.iter().all(|damage| damage.file == file.path),
                            "{what}: {damages:?}"
                        );
                        let stays = damages.len() == 2 && damages[0] == damages[1];
                        let lost = bodies.len() - found.len();
                        assert!(
                            stays || lost <= 3,
                            "{what}: {lost} records lost, the batch has three"
                        );
                    }
                }
            });
        }
    }
}

/// Promise: a changed byte of a checkpoint costs nothing, as there is another, and is named by `verify`.
#[test]
fn a_changed_byte_of_a_checkpoint_costs_nothing() {
    let (dir, bodies) = a_closed_log_with_checkpoints();
    let checkpoints = contents(dir.path()).into_iter();
    for (path, bytes) in
        checkpoints.filter(|(path, _)| path.extension().is_some_and(|it| it == "ckpt"))
    {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x81;
            fs::write(&path, &changed).unwrap();
            let found = Archive::open(dir.path()).and_then(|archive| {
                let state = archive.checkpoint().map(|one| one.body().to_vec());
                assert!(
                    matches!(state.as_deref(), Some(b"one" | b"two")),
                    "{path:?} byte {at}: {state:?}"
                );
                read(&archive)
            });
            let named = named(dir.path());
            assert_eq!(named, [(path.clone(), 0)], "byte {at}");
            match found {
                Ok(found) => assert!(found == bodies, "{path:?} byte {at}: wrong data"),
                // The version is judged before the checksum.
                Err(error) => {
                    assert!(matches!(error, LogError::Newer { .. }), "{path:?} byte {at}: {error}")
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
}

/// The records that can be read, and the damage between them. A reader goes on behind a damaged body; a damaged header,
/// which says no length, is where it stays: the last damage is then there twice.
fn read_over_damage(archive: &Archive) -> (Vec<Vec<u8>>, Vec<Damage>) {
    let (mut bodies, mut damages) = (Vec::new(), Vec::<Damage>::new());
    let mut reader = archive.reader(archive.start());
    loop {
        match reader.next() {
            Ok(Some(record)) => bodies.push(record.body().to_vec()),
            Ok(None) => return (bodies, damages),
            Err(LogError::Damaged(damage)) => {
                let again = damages.last() == Some(&damage);
                damages.push(damage);
                if again {
                    return (bodies, damages);
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

// ---- a queue ---------------------------------------------------------------------------------------------------------

fn config(dir: &Path) -> Config {
    Config::persistent(dir).segment_bytes(SEGMENT_BYTES).workers(1)
}

/// Messages, subscriptions, settlements of each kind, dead letters, a retry in an hour: closed.
fn a_closed_queue() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2_u32 {
        let engine = Engine::open(config(dir.path())).unwrap();
        let named = |name: &str| Subscription::new("work.*").name(name);
        let fast = engine.subscriber(named("fast")).unwrap();
        let slow = engine.subscriber(named("slow")).unwrap();
        for number in 0..250_u32 {
            let text = format!("{round} {number} {}", "x".repeat(number as usize % 700));
            let message = Message::new(text).header("round", round.to_string());
            engine.publish(&format!("work.{}", number % 3), message).unwrap();
        }
        engine.publish("held", format!("nobody's {round}")).unwrap();
        for _ in 0..100 {
            fast.recv().unwrap().ack().unwrap();
        }
        slow.recv().unwrap().dead_letter("unfit").unwrap();
        slow.recv().unwrap().retry(Duration::from_secs(3_600)).unwrap();
        slow.recv().unwrap().ack().unwrap();
        drop((fast, slow));
        engine.close(Duration::ZERO).unwrap();
    }
    dir
}

/// Depths, and topics and payloads.
type Seen = (QueueDepth, Vec<(String, Vec<u8>)>);

/// All that a queue holds, as whoever looks from outside sees it.
fn seen(dir: &Path) -> Result<Seen, String> {
    let inspection = Inspection::open(dir).map_err(|error| error.to_string())?;
    let found = inspection.peek(">", usize::MAX).map_err(|error| error.to_string())?;
    let messages = found.iter().map(|one| (one.topic().to_string(), one.payload().to_vec()));
    Ok((inspection.depth(), messages.collect()))
}

/// Promise: whatever byte of whatever file of a queue's directory is changed: the queue is what it was, or is refused by
/// that file's name; never another.
#[test]
fn a_changed_byte_of_a_queue_is_named_or_costs_nothing() {
    let seed = seed();
    let dir = a_closed_queue();
    let whole = seen(dir.path()).unwrap();
    assert!(whole.1.len() > 400);
    let mut tried = 0;
    for (path, bytes) in contents(dir.path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stride = if all() { 1 } else { STRIDE.min(bytes.len() / 97 + 1) };
        for at in (seed as usize % stride..bytes.len()).step_by(stride) {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[bytes[at] ^ 0x41], at as u64).unwrap();
            tried += 1;
            match seen(dir.path()) {
                Ok(found) => assert!(found == whole, "{path:?} byte {at}: another queue"),
                Err(error) => assert!(error.contains(name), "{path:?} byte {at}: {error}"),
            }
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    println!("{tried} bytes changed");
    File::open(dir.path()).unwrap();
    assert!(seen(dir.path()).unwrap() == whole, "the test put everything back");
}
