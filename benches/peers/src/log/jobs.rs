//! A job table in SQLite, as one is usually written: insert, claim, delete.

use crate::engine::Jobs;
use crate::rivals::connect;
use rusqlite::{Connection, OptionalExtension};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long the worker waits when it finds no job.
const PAUSE: Duration = Duration::from_micros(100);

/// The table, and the one connection to it.
pub struct JobTable {
    connection: Mutex<Connection>,
    done: AtomicU64,
    _dir: TempDir,
}

impl JobTable {
    /// A new one.
    pub fn new(dir: TempDir) -> Self {
        let connection = connect(dir.path(), "FULL");
        let made = connection.execute_batch(
            "CREATE TABLE jobs (
                id INTEGER PRIMARY KEY,
                state INTEGER NOT NULL DEFAULT 0,
                claimed_at INTEGER,
                payload BLOB NOT NULL
            );
            CREATE INDEX jobs_ready ON jobs (id) WHERE state = 0;",
        );
        made.expect("a new table");
        Self { connection: Mutex::new(connection), done: AtomicU64::new(0), _dir: dir }
    }

    /// The worker: claims the oldest job, handles it, deletes it, until the end.
    pub fn work(&self, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            // [relaxed] only the end is asked for
            let Some(id) = self.claim() else {
                thread::sleep(PAUSE);
                continue;
            };
            self.acknowledge(id);
            self.done.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("nobody panicked with it")
    }

    fn claim(&self) -> Option<i64> {
        let connection = self.connection();
        let claim = connection.prepare_cached(
            "UPDATE jobs SET state = 1, claimed_at = unixepoch()
             WHERE id = (SELECT id FROM jobs WHERE state = 0 ORDER BY id LIMIT 1)
             RETURNING id, payload",
        );
        let job = claim.expect("the table is there").query_row([], |row| {
            let payload: Vec<u8> = row.get(1)?;
            Ok((row.get(0)?, payload))
        });
        job.optional().expect("a sound disk").map(|(id, _payload)| id)
    }

    fn acknowledge(&self, id: i64) {
        let connection = self.connection();
        let delete = connection.prepare_cached("DELETE FROM jobs WHERE id = ?1");
        let deleted = delete.expect("the table is there").execute([id]);
        assert_eq!(deleted.expect("a sound disk"), 1, "a job that was claimed is there");
    }
}

impl Jobs for JobTable {
    fn publish(&self, payload: &[u8]) {
        let connection = self.connection();
        let insert = connection.prepare_cached("INSERT INTO jobs (payload) VALUES (?1)");
        insert.expect("the table is there").execute([payload]).expect("a sound disk");
    }

    fn finish(&self, published: u64) {
        while self.done.load(Ordering::Relaxed) < published {
            thread::sleep(PAUSE); // [relaxed] a count
        }
    }
}
