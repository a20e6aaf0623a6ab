//! Progress for work that takes longer than two seconds, where standard error is a terminal. No colours.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Shorter work shows nothing.
const DELAY: Duration = Duration::from_secs(2);
/// How often a line moves that nothing else moves.
const TICK: Duration = Duration::from_millis(100);

/// Does `work`, of which nobody can say how far it is; while it goes on that is shown, with the time.
pub fn during<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let bar = hidden(None, "{spinner} {msg}, {elapsed}").with_message(what);
    let (done, ends) = mpsc::channel::<()>();
    let show = move || {
        if ends.recv_timeout(DELAY) == Err(mpsc::RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            // Nothing is sent: it ends when the work has.
            let _ = ends.recv();
        }
        bar.finish_and_clear();
    };
    thread::scope(|scope| {
        // Without a thread there is no progress, and the work is done all the same.
        let _ = thread::Builder::new().name("progress".to_owned()).spawn_scoped(scope, show);
        let outcome = work();
        drop(done);
        outcome
    })
}

/// A line that is not shown yet.
fn hidden(total: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_style(style)
}

/// A line that grows.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Of `total` bytes.
    pub fn bytes(total: u64) -> Self {
        Self::new(Some(total), "{bar:40} {bytes} of {total_bytes}, {eta} left  {msg}")
    }

    /// Of as many messages as there may be.
    pub fn messages() -> Self {
        Self::new(None, "{spinner} {human_pos} messages, {elapsed}  {msg}")
    }

    /// Of as many frames as there may be.
    pub fn frames() -> Self {
        Self::new(None, "{spinner} {human_pos} frames, {elapsed}  {msg}")
    }

    /// Of a run of so many messages, which knows itself how long it takes.
    pub fn run(messages: u64) -> Self {
        Self::new(Some(messages), "{bar:40} {human_pos} of {human_len} messages, {msg} left")
    }

    /// The same, unless lines go to a terminal: those are progress enough.
    pub fn unless_output_is_seen(mut self) -> Self {
        if io::stdout().is_terminal() {
            self.bar = None;
        }
        self
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| hidden(total, template));
        Self { bar, started: Instant::now() }
    }

    /// So much is done.
    pub fn at(&self, done: u64) {
        let Some(bar) = &self.bar else { return };
        if bar.is_hidden() && DELAY <= self.started.elapsed() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_position(done);
    }

    /// So much is done, and it takes so much longer.
    pub fn left(&self, done: u64, remaining: Duration) {
        if let Some(bar) = &self.bar {
            let whole = Duration::from_secs(remaining.as_secs());
            bar.set_message(humantime::format_duration(whole).to_string());
        }
        self.at(done);
    }

    /// Of so much.
    pub fn of(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }
}

/// A line about something that lasts a known time and is to be watched: shown from the start.
pub struct Live {
    bar: Option<ProgressBar>,
}

impl Live {
    /// It lasts so long.
    pub fn of(span: Duration) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = hidden(Some(millis(span)), "{bar:20} {eta} left  {wide_msg}");
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar
        });
        Self { bar }
    }

    /// It says itself how long it lasts.
    pub fn endless() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = hidden(None, "{spinner} {wide_msg}");
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar
        });
        Self { bar }
    }

    /// The line is what `text` says from now on; it is not asked if nobody sees it.
    pub fn show(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.tick();
            bar.set_message(text());
        }
    }

    /// Writes other lines above it.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// After that time the line is what `text` says; it is not asked if nobody sees it.
    pub fn say(&self, elapsed: Duration, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(millis(elapsed));
            bar.set_message(text());
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
