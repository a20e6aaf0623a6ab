//! The rivals: each as its own documentation has it, one append at a time.
//!
//! | rival | append, page cache | append, durable |
//! |---|---|---|
//! | raft-engine | one entry a batch, `write(.., false)`; a region a thread | `write(.., true)`, its own group commit |
//! | okaywal | none: every commit syncs | an entry of one chunk, `commit`, its own group commit |
//! | open-wal | memory only: `append` makes no call | `append`, `commit`; a lock for threads, no group |
//! | commitlog | `append_msg` | not offered for many writers |
//! | SQLite | an insert a transaction, WAL, `synchronous = NORMAL` | the same, `FULL`; one connection under a lock |
//! | pwrite | into written blocks of a file | and `fdatasync`, both under a lock |
//!
//! Sizes: raft-engine, okaywal and commitlog as they come, okaywal with segments of 64 MiB in place of 1 MiB, else it
//! would checkpoint all the time. No rival compresses bodies of this size.

use crate::floors::blocks;
use okaywal::{Configuration, LogVoid, WriteAheadLog};
use open_wal::{Wal, WalConfig};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt};
use rusqlite::Connection;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// The packages that the rivals come from.
pub const PACKAGES: &[&str] = &[
    "commitlog",
    "crossbeam-channel",
    "libsqlite3-sys",
    "okaywal",
    "open-wal",
    "raft-engine",
    "rusqlite",
];

/// Appends durably, from many threads.
pub trait Durable: Sync {
    /// Returns when the disk has it.
    fn append(&self, thread: usize, body: &[u8]);
}

/// raft-engine.
pub struct Raft {
    engine: Engine,
    next: Vec<AtomicU64>,
    _dir: TempDir,
}

/// An entry: any bytes, the first eight of which are its index.
#[derive(Clone)]
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let bytes = entry.value.first_chunk().expect("an entry begins with its index");
        u64::from_le_bytes(*bytes)
    }
}

impl Raft {
    /// A new one for so many threads.
    pub fn new(dir: TempDir, threads: usize) -> Self {
        let path = dir.path().to_str().expect("the folder's name is a text").to_owned();
        let engine = Engine::open(Config { dir: path, ..Config::default() });
        let next = (0..threads).map(|_| AtomicU64::new(1)).collect();
        Self { engine: engine.expect("a new engine"), next, _dir: dir }
    }

    /// One entry to the thread's region.
    pub fn write(&self, thread: usize, body: &[u8], sync: bool) {
        let index = self.next[thread].fetch_add(1, Ordering::Relaxed); // [relaxed] one thread's own
        let mut value = body.to_vec();
        value[..8].copy_from_slice(&index.to_le_bytes());
        let entry = BytesValue { value, ..BytesValue::default() };
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Indexed>(thread as u64 + 1, &[entry]).expect("a small entry");
        self.engine.write(&mut batch, sync).expect("a sound disk");
    }
}

impl Durable for Raft {
    fn append(&self, thread: usize, body: &[u8]) {
        self.write(thread, body, true);
    }
}

/// okaywal.
pub struct Okay {
    log: WriteAheadLog,
    _dir: TempDir,
}

impl Okay {
    /// A new one.
    pub fn new(dir: TempDir) -> Self {
        const SEGMENT: u32 = 64 << 20;
        let configuration = Configuration::default_for(dir.path())
            .preallocate_bytes(SEGMENT)
            .checkpoint_after_bytes(u64::from(SEGMENT) * 3 / 4);
        Self { log: configuration.open(LogVoid).expect("a new log"), _dir: dir }
    }
}

impl Durable for Okay {
    fn append(&self, _thread: usize, body: &[u8]) {
        let mut entry = self.log.begin_entry().expect("a sound disk");
        entry.write_chunk(body).expect("room on the disk");
        entry.commit().expect("a sound disk");
    }
}

/// open-wal.
pub struct OpenWal {
    log: Mutex<Wal>,
    _dir: TempDir,
}

impl OpenWal {
    /// A new one.
    pub fn new(dir: TempDir) -> Self {
        let (log, _) = Wal::open(dir.path(), WalConfig::default()).expect("a new log");
        Self { log: Mutex::new(log), _dir: dir }
    }

    /// Into its memory.
    pub fn buffer(&mut self, body: &[u8]) {
        let log = self.log.get_mut().expect("nobody panicked with it");
        log.append(body).expect("a small record");
    }

    /// What is in its memory, to the disk.
    pub fn commit(&mut self) {
        self.log.get_mut().expect("nobody panicked with it").commit().expect("a sound disk");
    }
}

impl Durable for OpenWal {
    fn append(&self, _thread: usize, body: &[u8]) {
        let mut log = self.log.lock().expect("nobody panicked with it");
        log.append(body).expect("a small record");
        log.commit().expect("a sound disk");
    }
}

/// SQLite, one table of bodies.
pub struct Sqlite {
    connection: Mutex<Connection>,
    _dir: TempDir,
}

/// A connection to the database in `dir` with the write-ahead log, at `synchronous`.
pub fn connect(dir: &Path, synchronous: &str) -> Connection {
    let connection = Connection::open(dir.join("database")).expect("the folder can be written to");
    let set = connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA busy_timeout = 60000;"
    ));
    set.expect("SQLite has these settings");
    connection
}

impl Sqlite {
    /// A new one.
    pub fn new(dir: TempDir, synchronous: &str) -> Self {
        let connection = connect(dir.path(), synchronous);
        let made = connection.execute_batch("CREATE TABLE log (id INTEGER PRIMARY KEY, body BLOB)");
        made.expect("a new table");
        Self { connection: Mutex::new(connection), _dir: dir }
    }
}

impl Durable for Sqlite {
    fn append(&self, _thread: usize, body: &[u8]) {
        let connection = self.connection.lock().expect("nobody panicked with it");
        let insert = connection.prepare_cached("INSERT INTO log (body) VALUES (?1)");
        insert.expect("the table is there").execute([body]).expect("a sound disk");
    }
}

/// A file of written blocks, from the beginning again when it is full.
pub struct Pwrite {
    file: File,
    bytes: u64,
    at: Mutex<u64>,
    _dir: TempDir,
}

impl Pwrite {
    /// A new one.
    pub fn new(dir: TempDir, bytes: usize) -> Self {
        Self { file: blocks(&dir, bytes), bytes: bytes as u64, at: Mutex::new(0), _dir: dir }
    }

    /// Behind the last one, for who has it alone.
    pub fn write(&mut self, body: &[u8]) {
        let at = self.at.get_mut().expect("nobody panicked with it");
        put(&self.file, self.bytes, at, body);
    }

    /// Another handle of the file, to sync beside it.
    pub fn file(&self) -> File {
        self.file.try_clone().expect("a process may have another handle")
    }
}

fn put(file: &File, bytes: u64, at: &mut u64, body: &[u8]) {
    if *at + body.len() as u64 > bytes {
        *at = 0;
    }
    file.write_all_at(body, *at).expect("room on the disk");
    *at += body.len() as u64;
}

impl Durable for Pwrite {
    fn append(&self, _thread: usize, body: &[u8]) {
        let mut at = self.at.lock().expect("nobody panicked with it");
        put(&self.file, self.bytes, &mut at, body);
        self.file.sync_data().expect("a sound disk");
    }
}
