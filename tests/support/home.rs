//! A persistent queue's place: a directory that goes with the test, the settings that its file wants, and what a process
//! that is killed now would leave of it.

use millstream::{Config, Engine};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a queue lives.
pub struct Home {
    dir: tempfile::TempDir,
    settings: fn(Config) -> Config,
}

impl Home {
    /// A new one: one worker, retries at once, small segments, and what `settings` adds.
    pub fn new(settings: fn(Config) -> Config) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), settings }
    }

    /// The queue's directory.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("queue")
    }

    /// How it is opened.
    pub fn config(&self) -> Config {
        let config = Config::persistent(self.dir()).segment_bytes(1 << 16).workers(1);
        (self.settings)(config.retry_delay(Duration::from_millis(1)))
    }

    /// Opens it.
    pub fn open(&self) -> Engine {
        Engine::open(self.config()).unwrap()
    }

    /// What a process that is killed now would leave, but for the lock and the files that `leave` says.
    #[allow(dead_code)] // Not every user crashes.
    pub fn crashed(&self, leave: impl Fn(&str) -> bool) -> Self {
        let copy = Self::new(self.settings);
        std::fs::create_dir(copy.dir()).unwrap();
        for path in files(&self.dir(), "") {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != "lock" && !leave(name) {
                match std::fs::copy(&path, copy.dir().join(name)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // renamed since
                    copied => drop(copied.unwrap()),
                }
            }
        }
        copy
    }
}

/// The files whose names end so, in order.
pub fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.to_str().is_some_and(|name| name.ends_with(end))).collect();
    files.sort();
    files
}
