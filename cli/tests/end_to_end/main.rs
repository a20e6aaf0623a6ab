//! The command line from outside: the real binary, over pipes, signals and files.
//!
//! Nothing sleeps and nothing is timed: a test waits for a line, for the end of a process, or at a named pipe.

#![allow(clippy::unwrap_used, reason = "a test's steps may fail the test")]

mod bad_input;
mod commands;
mod crash;
mod demo;
mod keep;
mod lab;
mod look;
mod plan;
mod round_trip;
mod stop;
mod suite;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A directory of its own, with room for a queue.
struct Place(TempDir);

/// What a finished command left.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is text")
    }

    fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// Standard output as objects, one a line.
    fn objects(&self) -> Vec<Value> {
        self.lines().into_iter().map(object).collect()
    }

    /// The same run, which must have ended with `code`.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", String::from_utf8_lossy(&self.out), self.err);
        self
    }
}

#[track_caller]
fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

impl Place {
    fn new() -> Self {
        Self(TempDir::new().expect("there is room for files"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with that text.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).expect("there is room for files");
        self.path(name).display().to_string()
    }

    /// `millstream COMMAND queue ...`, in this directory.
    fn command(&self, command: &str, rest: &[&str]) -> Command {
        self.bare(command, &[&["queue"], rest].concat())
    }

    /// `millstream COMMAND ...`, in this directory: of a command that needs no queue.
    fn bare(&self, command: &str, rest: &[&str]) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_millstream"));
        process.arg(command).args(rest).current_dir(self.0.path());
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    fn run(&self, command: &str, rest: &[&str]) -> Ran {
        ran(self.command(command, rest))
    }

    /// Publishes `input`, and must succeed.
    #[track_caller]
    fn publish(&self, topic: &str, input: impl AsRef<[u8]>) -> Ran {
        let file = self.file("input", input);
        self.run("publish", &[topic, "--file", &file]).ends(0)
    }

    /// All that waits in `filter`, drained.
    #[track_caller]
    fn drain(&self, filter: &str) -> Vec<String> {
        let ran =
            self.run("consume", &[filter, "--from", "earliest", "--idle-exit", "100ms"]).ends(0);
        ran.lines().into_iter().map(str::to_owned).collect()
    }

    fn stat(&self) -> Value {
        let ran = self.run("stat", &["--json"]).ends(0);
        object(ran.text())
    }

    /// How many messages wait in the only subscription.
    fn ready(&self) -> u64 {
        self.stat()["subscriptions"][0]["ready"].as_u64().expect("it is a number")
    }

    /// A named pipe.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        path
    }
}

fn ran(mut command: Command) -> Ran {
    finished(command.spawn().expect("the binary starts"))
}

fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it was started");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code(), out: output.stdout, err }
}

/// A running command whose lines are read one by one.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, out }
    }

    fn feed(&mut self, text: impl AsRef<[u8]>) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(text.as_ref()).expect("it reads");
    }

    /// The next line, without its newline.
    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it writes text");
        assert!(line.ends_with('\n'), "the output ended with {line:?}");
        line.trim_end_matches('\n').to_owned()
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    }

    /// Kills it as a crash would; the whole lines that it had written are returned.
    fn crash(mut self) -> Vec<String> {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("it wrote text");
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        rest[..whole].lines().map(str::to_owned).collect()
    }

    /// Waits for its end; nobody reads its output any more.
    fn hang_up(self) -> Ran {
        let Self { child, out } = self;
        drop(out);
        finished(child)
    }

    /// Ends its input, and waits for its end.
    fn finish(self) -> Ran {
        let Self { mut child, mut out } = self;
        drop(child.stdin.take());
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).expect("it can be read");
        Ran { out: rest, ..finished(child) }
    }
}

/// The lines `first` to `last`, each of which says its number.
fn numbers(first: u64, last: u64) -> Vec<String> {
    (first..=last).map(|number| number.to_string()).collect()
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn exists(path: &Path) -> bool {
    path.try_exists().expect("the directory can be read")
}
