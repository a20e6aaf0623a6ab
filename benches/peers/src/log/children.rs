//! Processes of their own: this program runs itself where a process must die, or where its memory is what is measured.
//!
//! `log-peers child WHAT ARGUMENTS` prints its samples, a line each: measure, unit and value, separated by tabs. A child
//! that is to crash exits from the middle of its work: nothing on a stack is dropped, so no log is closed, and the
//! kernel has what was stored.

use std::env;
use std::io::{Write, stdout};
use std::process::{Command, exit};

/// What a child found: measure and value.
pub type Found = Vec<(String, f64)>;

/// Runs this program as that child; panics if it did not print what it was to find.
pub fn run(what: &str, arguments: &[String]) -> Found {
    let program = env::current_exe().expect("a program knows its own file");
    let mut command = Command::new(program);
    let output = command.arg("child").arg(what).args(arguments).output();
    let output = output.expect("a process can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ended = text.ends_with("end\n");
    assert!(ended, "{what}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines
        .map(|(measure, value)| {
            (measure.to_owned(), value.parse().expect("a child prints numbers"))
        })
        .collect()
}

/// Prints what was found.
pub fn print(found: &[(&str, f64)]) {
    let mut text = String::new();
    for (measure, value) in found {
        text.push_str(&format!("{measure}\t{value}\n"));
    }
    text.push_str("end\n");
    let mut output = stdout();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).expect("the parent listens");
}

/// Prints what was found and is gone, with all that is open.
pub fn print_and_crash(found: &[(&str, f64)]) -> ! {
    print(found);
    exit(0)
}
