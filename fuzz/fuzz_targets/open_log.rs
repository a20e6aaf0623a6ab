//! A hostile directory: the files of real logs, changed as the input says, some sealed again so that every checksum holds;
//! files of any name among them. Looking, verifying, repairing, opening and working there give values, never a panic; what was
//! repaired is whole; and what is appended to a log that opens is there the next time.

#![no_main]

#[path = "../../tests/support/forge.rs"]
mod forge;

use libfuzzer_sys::fuzz_target;
use millstream::log::{
    Archive, Budget, Log, LogError, LogOptions, Record, RepairMode, repair, verify,
};
use millstream::{Config, Engine, Inspection, Subscription};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Name and bytes of each file.
type Files = Vec<(String, Vec<u8>)>;

const SEGMENT_BYTES: u64 = 64 << 10;
/// Of one file; the templates are a tenth of it.
const FILE_BYTES_MAX: usize = 128 << 10;
const FILES_MAX: usize = 16;
/// More than the frames that so many files hold.
const READS_MAX: usize = FILES_MAX * FILE_BYTES_MAX / 32;

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(SEGMENT_BYTES).disk_max_bytes(4 << 20)
}

fn config(dir: &Path) -> Config {
    Config::persistent(dir).segment_bytes(SEGMENT_BYTES).disk_bytes_max(4 << 20).workers(1)
}

fn named(name: &str) -> Subscription {
    Subscription::new("a.*").name(name)
}

/// The files of a queue that was opened and closed three times, with a checkpoint.
fn template() -> &'static Files {
    static TEMPLATE: OnceLock<Files> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory for the template");
        for round in 0..3_u8 {
            let engine = Engine::open(config(dir.path())).expect("a new queue opens");
            let subscriber = engine.subscriber(named("n")).expect("it is subscribed");
            for number in 0..6_u8 {
                let body = vec![number; 40 * usize::from(number)];
                engine.publish(&format!("a.{round}"), body).expect("there is room");
            }
            let next = || subscriber.recv().expect("a message is ready");
            next().ack().expect("it is acknowledged");
            next().retry(Duration::ZERO).expect("it comes again");
            next().dead_letter("unfit").expect("it is a dead letter");
            drop(subscriber);
            engine.close(Duration::ZERO).expect("it closes");
        }
        let log = Log::open(dir.path(), options()).expect("it is a log");
        log.write_checkpoint(log.start(), b"of nobody").expect("it is written");
        log.close().expect("it closes");
        drop(log);
        let mut files: Files = fs::read_dir(dir.path())
            .expect("the directory is there")
            .map(|entry| entry.expect("it is read").path())
            .map(|path| {
                let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
                (name, fs::read(&path).expect("it is read"))
            })
            .filter(|(name, _)| name != "lock")
            .collect();
        files.sort();
        files
    })
}

/// The input, taken from the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (mut taken, count) = ([0; N], N.min(self.0.len()));
        taken[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        taken
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes(self.bytes())) % bound.max(1)
    }

    fn word(&mut self) -> u64 {
        let [choice] = self.bytes();
        match choice % 4 {
            0 => u64::from_le_bytes(self.bytes()),
            1 => 1 << (choice >> 2),
            2 => u64::MAX - u64::from(choice) * 8,
            _ => u64::from(choice >> 2) * SEGMENT_BYTES,
        }
    }
}

/// One change of one file, or of the list.
fn change(files: &mut Files, input: &mut Input<'_>) {
    let [what] = input.bytes::<1>();
    let index = input.below(files.len());
    match what % 9 {
        0 => add(files, input),
        1 if files.len() > 1 => drop(files.remove(index)),
        2 => {
            let other = input.below(files.len());
            let name = files[other].0.clone();
            files[index].0 = name;
        }
        _ if files.is_empty() => {}
        3 => files[index].1.truncate(input.below(FILE_BYTES_MAX)),
        4 => {
            let bytes = (files[index].1.len() + input.below(1 << 14)).min(FILE_BYTES_MAX);
            files[index].1.resize(bytes, what >> 4);
        }
        5 => {
            let field = 8 + input.below(12) * 8;
            let value = input.word();
            let (name, bytes) = &mut files[index];
            if forge::SEGMENT_HEADER <= bytes.len() && name.ends_with("seg") {
                forge::set_field(bytes, field..field + 8, value);
                if field == forge::BASE.start {
                    *name = format!("{value:016x}.seg");
                }
            }
        }
        6 | 7 => {
            let bytes = &mut files[index].1;
            let frames = forge::frames(bytes);
            let Some(frame) = frames.get(input.below(frames.len())) else { return };
            let at = frame.offset + input.below(frame.len.min(256) / 4) * 4;
            let value =
                if what & 16 == 0 { input.word() as u32 } else { u32::from(input.bytes::<1>()[0]) };
            if at + 4 <= bytes.len() {
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if what & 32 == 0 {
                    forge::seal_frame(bytes, frame.offset);
                }
            }
        }
        _ => {
            let bytes = &mut files[index].1;
            let at = input.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= what | 1;
            }
        }
    }
}

/// A file of the input's own making.
fn add(files: &mut Files, input: &mut Input<'_>) {
    let number = input.word();
    let [kind] = input.bytes::<1>();
    let extension = ["seg", "seg.tmp", "ckpt", "ckpt.tmp"][usize::from(kind % 4)];
    let count = input.below(256).min(input.0.len());
    let (bytes, rest) = input.0.split_at(count);
    input.0 = rest;
    files.push((format!("{number:016x}.{extension}"), bytes.to_vec()));
}

/// All that can be read. Below a checkpoint an open does not look, so damage there is met by the reader.
fn read(dir: &Path) -> Result<Vec<Vec<u8>>, LogError> {
    let archive = Archive::open(dir)?;
    let mut reader = archive.reader(archive.start());
    let (mut bodies, mut met) = (Vec::new(), None);
    for _ in 0..READS_MAX {
        match reader.next() {
            Ok(Some(record)) => {
                let alone = archive
                    .record(record.position())
                    .expect("what is read in a row is there alone");
                assert_eq!(alone.body(), record.body());
                bodies.push(record.body().to_vec());
            }
            Ok(None) => return Ok(bodies),
            // Behind a damaged body it goes on; at a damaged header it stays.
            Err(LogError::Damaged(damage)) if met.as_ref() == Some(&damage) => return Ok(bodies),
            Err(LogError::Damaged(damage)) => met = Some(damage),
            Err(other) => return Err(other),
        }
    }
    panic!("a reader that does not get on");
}

/// A queue there: whatever it is, it takes messages and gives them, or says why not.
fn work(dir: &Path) {
    if let Ok(inspection) = Inspection::open(dir) {
        let _ = (inspection.depth(), inspection.peek(">", 100));
    }
    let Ok(engine) = Engine::open(config(dir)) else { return };
    let _ = (engine.stats(), engine.peek(">", 100), engine.publish("a.9", "new"));
    if let Ok(subscriber) = engine.subscriber(named("n")) {
        for _ in 0..40 {
            match subscriber.try_recv() {
                Ok(Some(delivery)) => drop(delivery.ack()),
                Ok(None) => break,
                Err(_) => {}
            }
        }
    }
    let _ = engine.close(Duration::ZERO);
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let [flags] = input.bytes::<1>();
    let mut files = template().clone();
    while !input.0.is_empty() {
        change(&mut files, &mut input);
        files.truncate(FILES_MAX);
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in &mut files {
        if flags & 1 != 0 && name.ends_with(".seg") {
            forge::seal_all(bytes);
        }
        fs::write(dir.path().join(name), bytes).expect("a file is written");
    }
    let _ = verify(dir.path(), &mut |_, _| {});
    if flags & 4 != 0 && repair(dir.path(), RepairMode::Apply, &mut |_, _| {}).is_ok() {
        let found = verify(dir.path(), &mut |_, _| {}).expect("a repaired log is one");
        assert!(found.damages.is_empty(), "damage was left: {:?}", found.damages);
    }
    let before = read(dir.path());
    if flags & 2 != 0 {
        return work(dir.path());
    }
    let opened = Log::open(dir.path(), options());
    let Ok(log) = opened else { return };
    let before = match before {
        // Nothing that is a log: the owner has made one.
        Err(LogError::NoLog { .. }) => Vec::new(),
        before => before.expect("what an owner opens, an archive reads"),
    };
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"new"] };
    let appended = log.append(&record, Budget::Publish).is_ok();
    log.close().expect("a log that opened closes");
    drop(log);
    let after = read(dir.path()).expect("a log that was closed opens");
    assert!(after.starts_with(&before), "an open changed what is there");
    // Where a reader stays at damage that an open does not look at, it does not come to the new one.
    assert!(
        !appended || after == before || after[before.len()..] == [b"new"],
        "what is new is wrong"
    );
});
