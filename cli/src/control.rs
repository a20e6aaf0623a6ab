//! What ends a run before its end, and the one channel on which the main thread waits for everything.
//!
//! The reason is set once, by whoever is first: a signal, a reader that went away, the last message that was asked
//! for, idleness. The channel only wakes: whoever is woken looks at the reason.

use crate::failure::Failure;
use crate::input::Lines;
use crate::output::OutputError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

/// How many chunks of input may lie between the thread that reads and the one that publishes.
const CHUNKS_MAX: usize = 4;

/// Why a run ends early.
#[derive(Debug)]
pub enum Reason {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// As many messages as were asked for were handled.
    Count,
    /// Nothing was there to do for long enough.
    Idle,
    /// Standard output takes nothing more.
    Output(OutputError),
    /// The queue cannot be read or written any more.
    Failure,
}

/// What the main thread waits for.
pub enum Event {
    /// Lines of the input.
    Lines(Lines),
    /// The input has ended.
    End,
    /// The input cannot be read any further.
    Failed(Failure),
    /// Look at the reason.
    Stop,
}

/// Ends the run, from any thread.
#[derive(Clone)]
pub struct Control {
    reason: Arc<OnceLock<Reason>>,
    events: SyncSender<Event>,
}

impl Control {
    /// Listens to signals from now on. The second one ends the process as if nobody listened.
    pub fn start() -> Result<(Self, Receiver<Event>), Failure> {
        let (events, receiver) = sync_channel(CHUNKS_MAX);
        let control = Self { reason: Arc::new(OnceLock::new()), events };
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::Start)?;
        let listener = control.clone();
        let listen = move || {
            for (at, signal) in signals.forever().enumerate() {
                match at {
                    0 => listener.stop(Reason::Signal),
                    _ => {
                        // It fails only for signals that nobody can catch.
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(Failure::Start)?;
        Ok((control, receiver))
    }

    /// Ends the run, unless something else has.
    pub fn stop(&self, reason: Reason) {
        // The first reason stands. A full channel wakes the main thread without this event.
        let _ = self.reason.set(reason);
        let _ = self.events.try_send(Event::Stop);
    }

    /// Why the run ends, if it does.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.get()
    }

    /// Hands the main thread something. Is it still there?
    pub fn send(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }
}

/// Does `work` on a thread of its own until it is done; none if the run ends before. Then the work goes on until the
/// process ends, which is soon.
pub fn until_stopped<T: Send + 'static>(
    name: &str,
    control: &Control,
    events: &Receiver<Event>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Failure> {
    let ender = control.clone();
    let working = thread::Builder::new().name(name.to_owned());
    let working = working.spawn(move || {
        let done = work();
        // Nobody waits for it any more if the run has ended.
        ender.send(Event::End);
        done
    });
    let working = working.map_err(Failure::Start)?;
    while control.reason().is_none() {
        if let Ok(Event::End) | Err(_) = events.recv() {
            let done = working.join();
            return Ok(Some(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
        }
    }
    Ok(None)
}
