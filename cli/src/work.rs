//! What is done with a message: its line goes to standard output, or a command gets it. The handler of `consume`
//! and `relay`.
//!
//! A message counts as handled when its line has been passed to the system, or its command has ended well: only
//! then does the handler return. If the line cannot be written the message is given back, and the run ends.
//!
//! With a limit on their number, a message is claimed before it is handled, and the claim given back if the
//! attempt fails; who finds no claim left waits to see whether one comes back. So no message more than asked for
//! is ever written. A worker that finds the run ending keeps its message until no more are handed out
//! ([`Work::leave`]), and gives it back then: given back earlier, the message would come straight back.

use crate::control::{Control, Reason};
use crate::output::{self, MessageObject, OutputError};
use millstream::{Delivery, Engine, Handler, Settlement};
use serde::Serialize;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// The work of a run; clones share it.
#[derive(Clone)]
pub struct Work(Arc<Shared>);

struct Shared {
    control: Control,
    command: Option<String>,
    json: bool,
    count_max: Option<u64>,
    /// Set where what was handled has to be on the disk before more is.
    syncs: OnceLock<Engine>,
    tally: Mutex<Tally>,
    changed: Condvar,
}

struct Tally {
    /// Attempts that have begun and did not fail.
    claimed: u64,
    handled: u64,
    failed: u64,
    last: Instant,
    /// No more messages are handed out.
    left: bool,
}

/// How an attempt ended.
enum Attempt {
    Handled,
    Failed(String),
    /// The line was not written.
    Undone(OutputError),
}

impl Work {
    /// Hands each message to `command`, or to standard output if there is none; `count_max` messages at most.
    pub fn new(
        control: Control,
        command: Option<String>,
        json: bool,
        count_max: Option<u64>,
    ) -> Self {
        let tally = Tally { claimed: 0, handled: 0, failed: 0, last: Instant::now(), left: false };
        let (tally, changed) = (Mutex::new(tally), Condvar::new());
        let syncs = OnceLock::new();
        Self(Arc::new(Shared { control, command, json, count_max, syncs, tally, changed }))
    }

    /// The same, but a worker hands out a message only when everything that was settled before is on the disk.
    pub fn syncing(self, engine: Engine) -> Self {
        self.0.syncs.get_or_init(|| engine);
        self
    }

    /// How many messages were handled.
    pub fn handled(&self) -> u64 {
        self.0.tally().handled
    }

    /// When the last attempt ended, or else when this began.
    pub fn last(&self) -> Instant {
        self.0.tally().last
    }

    /// No more messages are handed out: those who wait give theirs back.
    pub fn leave(&self) {
        self.0.tally().left = true;
        self.0.changed.notify_all();
    }
}

impl Handler for Work {
    fn handle(&self, delivery: &Delivery) -> Settlement {
        // Its failure poisons the queue: the next settlement meets it, and the run ends.
        if self.0.syncs.get().is_some_and(|engine| engine.sync().is_err()) {
            self.0.control.stop(Reason::Failure);
            return Settlement::Release;
        }
        match self.0.claim() {
            true => self.0.finish(self.0.attempt(delivery)),
            false => Settlement::Release,
        }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics with the lock held")
    }

    /// May one more message be handled? Waits while that is open.
    fn claim(&self) -> bool {
        let mut tally = self.tally();
        while !tally.left {
            let room = self.count_max.is_none_or(|count_max| tally.claimed < count_max);
            if room && self.control.reason().is_none() {
                tally.claimed += 1;
                return true;
            }
            tally = self.changed.wait(tally).expect("nobody panics with the lock held");
        }
        false
    }

    fn attempt(&self, delivery: &Delivery) -> Attempt {
        match &self.command {
            Some(command) => self.run(command, delivery),
            None => {
                let written = match self.json {
                    true => output::write_object(&MessageObject::delivered(delivery)),
                    false => output::write_payload(delivery),
                };
                written.map_or_else(Attempt::Undone, |()| Attempt::Handled)
            }
        }
    }

    fn finish(&self, attempt: Attempt) -> Settlement {
        let mut tally = self.tally();
        tally.last = Instant::now();
        match attempt {
            Attempt::Handled => {
                tally.handled += 1;
                if self.count_max == Some(tally.handled) {
                    self.control.stop(Reason::Count);
                }
                Settlement::Ack
            }
            Attempt::Failed(reason) => {
                tally.failed += 1;
                self.give_back(tally);
                Settlement::Fail { reason }
            }
            Attempt::Undone(error) => {
                self.give_back(tally);
                self.control.stop(Reason::Output(error));
                Settlement::Release
            }
        }
    }

    fn give_back(&self, mut tally: MutexGuard<'_, Tally>) {
        tally.claimed -= 1;
        drop(tally);
        self.changed.notify_one();
    }

    fn run(&self, command: &str, delivery: &Delivery) -> Attempt {
        let outcome = run(command, delivery, self.json);
        let attempt = match &outcome {
            Ok(status) if status.success() => Attempt::Handled,
            Ok(status) => Attempt::Failed(format!("the command ended with {status}")),
            Err(error) => Attempt::Failed(format!("the command could not be run: {error}")),
        };
        if self.json {
            let object = AttemptObject::of(delivery, &attempt, outcome.ok());
            if let Err(error) = output::write_object(&object) {
                // What the command did is done; only nobody hears of it any more.
                self.control.stop(Reason::Output(error));
            }
        }
        attempt
    }
}

/// An attempt of a command, as an object.
#[derive(Serialize)]
struct AttemptObject<'a> {
    id: String,
    topic: &'a str,
    attempt: u32,
    handled: bool,
    /// Nothing if a signal ended it, or it never ran.
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> AttemptObject<'a> {
    fn of(delivery: &'a Delivery, attempt: &'a Attempt, status: Option<ExitStatus>) -> Self {
        let reason = match attempt {
            Attempt::Failed(reason) => Some(reason.as_str()),
            _ => None,
        };
        Self {
            id: delivery.id().to_string(),
            topic: delivery.topic().as_str(),
            attempt: delivery.attempt(),
            handled: reason.is_none(),
            exit_code: status.and_then(|status| status.code()),
            reason,
        }
    }
}

/// Runs the command with the payload on its standard input.
///
/// It is the leader of a process group of its own: Ctrl-C ends this process in order, and not the command in the
/// middle of a message. Where standard output is for objects, its own goes to standard error.
fn run(command: &str, delivery: &Delivery, json: bool) -> io::Result<ExitStatus> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("MILLSTREAM_ID", delivery.id().to_string())
        .env("MILLSTREAM_TOPIC", delivery.topic().as_str())
        .env("MILLSTREAM_ATTEMPT", delivery.attempt().to_string())
        .stdin(Stdio::piped())
        .process_group(0);
    if json {
        shell.stdout(io::stderr());
    }
    let mut child = shell.spawn()?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(delivery.payload()));
    let status = child.wait()?;
    match fed {
        // A command need not read all of its message to be done with it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(status),
    }
}
