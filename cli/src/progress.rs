//! Progress for work that takes longer than two seconds, where standard error is a terminal. No colours.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Shorter work shows nothing.
const DELAY: Duration = Duration::from_secs(2);

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

    /// For lines that go to a terminal: those are progress enough.
    pub fn unless_output_is_seen() -> Self {
        match io::stdout().is_terminal() {
            true => Self { bar: None, started: Instant::now() },
            false => Self::messages(),
        }
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
            bar.with_style(style)
        });
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

    /// Of so much.
    pub fn of(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
