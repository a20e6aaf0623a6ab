//! Says on stderr where the run is, and ends the program if a case hangs: a peer that loses a wake-up would wait for
//! ever, and its threads cannot be taken down alone.

use std::io::{IsTerminal, Write, stderr};
use std::process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a step of the ring's tables may take.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// The exit code of a run that hung.
const HUNG: i32 = 3;

/// Told of each step; silent in between, so it does not disturb what is measured.
pub struct Watch {
    steps: Sender<String>,
}

impl Watch {
    /// Begins to watch: a step may take so long.
    pub fn begin(patience: Duration) -> Self {
        let (steps, told) = channel::<String>();
        thread::spawn(move || {
            let mut last = String::from("the beginning");
            loop {
                match told.recv_timeout(patience) {
                    Ok(step) => last = step,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("\nhung for {} s at {last}", patience.as_secs());
                        process::exit(HUNG);
                    }
                }
            }
        });
        Self { steps }
    }

    /// The next step.
    pub fn at(&self, step: &str) {
        let mut out = stderr();
        // On a terminal the line is written over; elsewhere it would fill the record.
        if out.is_terminal() {
            let written = write!(out, "\r\x1b[K{step}").and_then(|()| out.flush());
            drop(written);
        }
        self.steps.send(step.to_owned()).expect("the watch outlives the run");
    }

    /// A step worth a line of its own.
    pub fn says(&self, line: &str) {
        let clear = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{line}");
        self.steps.send(line.to_owned()).expect("the watch outlives the run");
    }
}
