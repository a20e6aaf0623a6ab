//! This test binary once more, as a process of its own: one that can be killed, measured, or kept out of a directory.
//!
//! A binary that uses it has one test named `child`, which does nothing unless a role was given to it. The child reports
//! on its standard error, a line at a time (standard output is the test harness's): a line is one write of less than
//! `PIPE_BUF` bytes, so a kill never tears it. It reads nothing but its environment.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const ROLE: &str = "MILLSTREAM_TEST_ROLE";
const DIR: &str = "MILLSTREAM_TEST_DIR";
/// What one write to a pipe keeps whole, in bytes (POSIX guarantees 512, Linux 4096).
const LINE_BYTES_MAX: usize = 512;

/// The role that this process was started for, and its directory; `None` in the parent.
pub fn role() -> Option<(String, String)> {
    Some((std::env::var(ROLE).ok()?, std::env::var(DIR).ok()?))
}

/// This binary in the role `role`, working in `dir`; its reports come through a pipe.
pub fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a process knows its own file"));
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIR, dir).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Reports a line to the parent.
pub fn say(line: &str) {
    assert!(line.len() < LINE_BYTES_MAX && !line.contains('\n'), "{line:?} is no short line");
    let whole = format!("{line}\n");
    // A parent that has gone wants to hear nothing.
    let _ = std::io::stderr().lock().write_all(whole.as_bytes());
}
