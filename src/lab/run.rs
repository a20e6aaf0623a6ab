//! A run: what goes in is an [`Experiment`], what comes out are every message's stamps.
//!
//! The run's threads are its own: one source, and the servers (or the engine's workers). The caller's thread waits for them,
//! wakes every [`PROGRESS_EVERY`] to tell how far they are, and sleeps again. All it shares with them is a number that
//! the source stores once a message on a cache line of its own. So a listener costs a core what the callback itself takes,
//! five times a second; a slow one is seen as stalls.

use super::event::{Event, Served};
use super::experiment::{Experiment, ExperimentError, Kind, On, Wait};
use super::host::{Cores, Roll};
use super::judgement::{Quantiles, StallAccount, Stalls};
use super::load::{Course, Draws, NoMemory, Offer, Server, Service, Source};
use super::machine::{Busy, Counters, Footing, Machine};
use super::parameters::Parameters;
use super::systems::{self, Outcome, Setting};
use crate::error::{Cause, OpenError, PublishError, QueueError};
use crate::message::Message;
use crate::metrics::Snapshot;
use crate::sync::{Arc, AtomicU64, Ordering};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the caller hears of a run.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were offered so far.
    pub offered: u64,
    /// Of so many.
    pub messages: u64,
    /// Since the first was due.
    pub elapsed: Duration,
    /// Until the last is served, by what was asked for.
    pub remaining: Duration,
}

/// What a run leaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// What was asked for.
    pub parameters: Parameters,
    /// A row a message, in order of arrival.
    pub events: Vec<Event>,
    /// The second stage of a tandem: the same messages, in the same order.
    pub second: Option<SecondStage>,
    /// What the machine took.
    pub stalls: StallAccount,
    /// The single stalls, as far as they were kept.
    pub gaps: Gaps,
    /// How late threads were woken that slept until a time.
    pub overshoot: Overshoot,
    /// How long the calls took that published a message.
    pub publishes: Quantiles,
    /// The machine, before the run.
    pub machine: Machine,
    /// What it did during the run.
    pub busy: Busy,
    /// What the run's threads were granted: the source, then the servers.
    pub footings: Vec<Footing>,
    /// What the engine itself recorded, some messages of the warm-up included; none without an engine.
    pub recorded: Option<Snapshot>,
}

/// The second stage of a tandem.
#[derive(Debug, Clone, PartialEq)]
pub struct SecondStage {
    /// As if it had been run alone.
    pub parameters: Parameters,
    /// A row a message. It is meant to arrive when the stage before lets go of it.
    pub events: Vec<Event>,
}

/// A stall: two reads of the clock that should have followed each other at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it was over, in nanoseconds since the run's start.
    pub at_ns: u64,
    /// Its length.
    pub length_ns: u64,
}

/// The stalls of a run one by one, by who saw them; the first 65,536 of each thread are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// A server, while it served.
    pub server: Vec<Gap>,
    /// A server, while it was idle.
    pub idle: Vec<Gap>,
    /// The source, while it waited for the next arrival.
    pub source: Vec<Gap>,
}

/// From the time that a thread slept until to its next read of the clock; none if nobody slept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Overshoot {
    /// Of the servers.
    pub server: Quantiles,
    /// Of the source.
    pub source: Quantiles,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It is no experiment.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// The stamps of so many messages do not fit into the memory.
    #[error("no memory for the stamps of {messages} messages")]
    Memory {
        /// How many.
        messages: u64,
    },
    /// The persistent kind's directory could not be made.
    #[error("no directory could be made in {}: {source}", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// Why.
        source: Cause,
    },
    /// The engine could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine could not be subscribed to, pulled from, settled with, or closed.
    #[error("{what}: {source}")]
    Queue {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: QueueError,
    },
    /// A publish failed for another reason than that the queue was full.
    #[error("message {id} could not be published: {source}")]
    Publish {
        /// Which one.
        id: u64,
        /// Why.
        source: PublishError<Message>,
    },
    /// The same before the run.
    #[error("a message could not be published before the run: {source}")]
    WarmUpPublish {
        /// Why.
        source: PublishError<Message>,
    },
    /// The receiving end of a channel went away.
    #[error("the servers are gone")]
    ServersGone,
    /// The way through the queue was not open before the run began.
    #[error("{taken} of {sent} messages came through before the run, in {waited:?}")]
    WarmUp {
        /// Sent.
        sent: u64,
        /// Arrived.
        taken: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// The queue was not empty in time.
    #[error("{left} messages were not served within {waited:?} after the last arrival")]
    Drain {
        /// How many.
        left: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// Accepted, and never served.
    #[error("{count} messages were accepted and never served, the first is {first}")]
    Lost {
        /// How many.
        count: u64,
        /// The first of them.
        first: u64,
    },
    /// Served more than once, or refused and served.
    #[error("{count} services were of messages that had none to get, the first of message {first}")]
    Doubled {
        /// How many.
        count: u64,
        /// The first of them.
        first: u64,
    },
    /// A thread of the run panicked.
    #[error("the {role} panicked")]
    Panicked {
        /// Which one.
        role: &'static str,
    },
}

impl Experiment {
    /// Runs it. `progress` hears of it about every [`PROGRESS_EVERY`], on the calling thread, which sleeps in between; the
    /// module's page says what that costs. When it returns all threads are joined, and the persistent kind's directory is
    /// gone.
    ///
    /// # Errors
    ///
    /// [`RunError`]: what cannot be run, what failed on the way, or messages that were lost or doubled.
    pub fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<Run, RunError> {
        self.check()?;
        let machine = Machine::now();
        let setting = self.setting()?;
        let drawn_ns: Vec<Arc<Draws>> = setting.draws.clone();
        let (course, roll) = (Arc::clone(&setting.course), Arc::clone(&setting.roll));
        let folder = match self.on {
            On::Persistent => Some(Folder::new(self.folder.as_deref())?),
            _ => None,
        };
        let before = Counters::now();
        let outcome = systems::conduct(setting, folder.as_ref().map(Folder::path), progress)?;
        let busy = before.until(Counters::now());
        drop(folder);
        let began_ns = course.began_ns().expect("the source began, or there is no outcome");
        let stamps = Stamps { intended_ns: &course.intended_ns, began_ns };
        let (source, stages) = (&outcome.source, &outcome.servers);
        check_drained(&outcome)?;
        let events = stamps.first(&source.offers, &drawn_ns[0], &stages[0])?;
        let second = match (stages.get(1), drawn_ns.get(1)) {
            (Some(servers), Some(draws)) => Some(SecondStage {
                parameters: self.parameters(),
                events: stamps.second(&events, draws, servers)?,
            }),
            _ => None,
        };
        let all = || stages.iter().flatten();
        let server = |server: &Server| server.watch.gaps.stalls();
        Ok(Run {
            parameters: self.parameters(),
            events,
            second,
            stalls: StallAccount {
                server: all().map(server).fold(Stalls::default(), sum),
                idle: all().map(|server| server.idle.stalls()).fold(Stalls::default(), sum),
                source: source.watch.gaps.stalls(),
            },
            gaps: Gaps {
                server: in_order(all().flat_map(|server| &server.watch.gaps.kept)),
                idle: in_order(all().flat_map(|server| &server.idle.kept)),
                source: source.watch.gaps.kept.clone(),
            },
            overshoot: Overshoot {
                server: quantiles(all().flat_map(|server| &server.watch.overshoot_ns).copied()),
                source: quantiles(source.watch.overshoot_ns.iter().copied()),
            },
            publishes: quantiles(source.offers.iter().map(|offer| offer.publish_ns)),
            machine,
            busy,
            footings: roll.footings(),
            recorded: outcome.recorded,
        })
    }

    /// All memory of the run, and its schedule.
    fn setting(&self) -> Result<Setting<'_>, RunError> {
        let no_memory = |_: NoMemory| RunError::Memory { messages: self.messages };
        let plan = self.plan().map_err(ExperimentError::from)?;
        let sleeps = self.wait == Wait::Sleep || self.fifo.is_some();
        let course = Course::new(plan.intended_ns(), sleeps);
        let source = Source::new(&course).map_err(no_memory)?;
        let stages = systems::servers_of(self);
        let mut servers = Vec::new();
        for count in &stages {
            let stage = (0..*count).map(|_| Server::new(&course, *count));
            servers.push(stage.collect::<Result<Vec<_>, _>>().map_err(no_memory)?);
        }
        let draws = (0..).zip(&stages).map(|(stage, _)| Arc::new(Draws(plan.services_ns(stage))));
        // Threads that sleep need no core for themselves, and may be more than there are.
        let threads = 1 + if self.kind == Kind::Tandem { 2 } else { self.servers as usize };
        let cores = match self.pin && self.wait != Wait::Sleep {
            true => Cores::for_threads(threads),
            false => Cores::shared(),
        };
        Ok(Setting {
            experiment: self,
            draws: draws.collect(),
            course: Arc::new(course),
            source,
            servers,
            roll: Arc::new(Roll::new(cores, self.fifo)),
        })
    }
}

/// A directory of the run's own, gone when this is.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// In `parent`, or where the system has such.
    fn new(parent: Option<&Path>) -> Result<Self, RunError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed); // [relaxed] one of a kind in this process, no more
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = parent.join(format!("millstream-lab-{}-{number}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(error) => Err(RunError::Folder { folder, source: Arc::new(error) }),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left in a directory for what is temporary.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Was the queue empty in time?
fn check_drained(outcome: &Outcome) -> Result<(), RunError> {
    let Some(waited) = outcome.left_after else { return Ok(()) };
    let accepted = outcome.source.offers.iter().filter(|offer| offer.accepted).count();
    let last = outcome.servers.last().map_or(&[][..], Vec::as_slice);
    let served: usize = last.iter().map(|server| server.services.len()).sum();
    let left = accepted.saturating_sub(served) as u64;
    Err(RunError::Drain { left, waited })
}

/// Stamps of the machine's clock as events of the run's.
struct Stamps<'a> {
    intended_ns: &'a [u64],
    began_ns: u64,
}

impl Stamps<'_> {
    fn since_began(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.began_ns)
    }

    /// The stage that the source offers to.
    fn first(
        &self,
        offers: &[Offer],
        draws: &Draws,
        servers: &[Server],
    ) -> Result<Vec<Event>, RunError> {
        let served = self.served(offers.len(), servers)?;
        let rows = self.intended_ns.iter().zip(offers).zip(served).zip(&draws.0);
        let events = rows.map(|(((intended_ns, offer), served), drawn_ns)| Event {
            intended_ns: *intended_ns,
            arrival_ns: self.since_began(offer.arrival_ns),
            served,
            drawn_ns: Some(*drawn_ns),
            class: None,
        });
        let events: Vec<Event> = events.collect();
        let accepted = offers.iter().map(|offer| offer.accepted);
        check_whole(&events, accepted)?;
        Ok(events)
    }

    /// The stage that the first one lets go to: its end is the arrival here, and was meant to be.
    fn second(
        &self,
        first: &[Event],
        draws: &Draws,
        servers: &[Server],
    ) -> Result<Vec<Event>, RunError> {
        let served = self.served(first.len(), servers)?;
        let rows = first.iter().zip(served).zip(&draws.0).map(|((before, served), drawn_ns)| {
            // Refused before, it was never here.
            let at_ns = before.served.map_or(before.arrival_ns, |served| served.end_ns);
            let drawn_ns = Some(*drawn_ns);
            Event { intended_ns: at_ns, arrival_ns: at_ns, served, drawn_ns, class: None }
        });
        let events: Vec<Event> = rows.collect();
        check_whole(&events, first.iter().map(|event| event.served.is_some()))?;
        Ok(events)
    }

    /// Each message's service, none twice.
    fn served(&self, messages: usize, servers: &[Server]) -> Result<Vec<Option<Served>>, RunError> {
        let mut served: Vec<Option<Served>> = vec![None; messages];
        let mut doubled = Doubled::default();
        for Service { id, start_ns, end_ns } in servers.iter().flat_map(|each| &each.services) {
            let (start_ns, end_ns) = (self.since_began(*start_ns), self.since_began(*end_ns));
            match usize::try_from(*id).ok().and_then(|at| served.get_mut(at)) {
                Some(place @ None) => *place = Some(Served { start_ns, end_ns }),
                _ => doubled.note(*id),
            }
        }
        doubled.count += servers.iter().map(|server| server.beyond).sum::<u64>();
        doubled.check()?;
        Ok(served)
    }
}

/// Services of messages that had none to get.
#[derive(Default)]
struct Doubled {
    count: u64,
    first: Option<u64>,
}

impl Doubled {
    fn note(&mut self, id: u64) {
        self.count += 1;
        self.first = Some(self.first.map_or(id, |first| first.min(id)));
    }

    fn check(self) -> Result<(), RunError> {
        match self.count {
            0 => Ok(()),
            count => Err(RunError::Doubled { count, first: self.first.unwrap_or(0) }),
        }
    }
}

/// Was every accepted message served, and no other?
fn check_whole(events: &[Event], accepted: impl Iterator<Item = bool>) -> Result<(), RunError> {
    let (mut doubled, mut lost, mut first) = (Doubled::default(), 0, None);
    for (id, (event, accepted)) in (0_u64..).zip(events.iter().zip(accepted)) {
        match (accepted, event.served) {
            (true, None) => {
                lost += 1;
                first.get_or_insert(id);
            }
            (false, Some(_)) => doubled.note(id),
            _ => {}
        }
    }
    doubled.check()?;
    match first {
        None => Ok(()),
        Some(first) => Err(RunError::Lost { count: lost, first }),
    }
}

fn sum(one: Stalls, other: Stalls) -> Stalls {
    Stalls {
        count: one.count + other.count,
        not_kept: one.not_kept + other.not_kept,
        total_s: one.total_s + other.total_s,
        max_s: one.max_s.max(other.max_s),
        square_s2: one.square_s2 + other.square_s2,
    }
}

fn in_order<'a>(gaps: impl Iterator<Item = &'a Gap>) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = gaps.copied().collect();
    gaps.sort_by_key(|gap| gap.at_ns);
    gaps
}

fn quantiles(values_ns: impl Iterator<Item = u32>) -> Quantiles {
    let mut sorted: Vec<u32> = values_ns.collect();
    sorted.sort_unstable();
    let Some(max_ns) = sorted.last() else { return Quantiles::default() };
    let (count, max_ns) = (sorted.len() as u64, u64::from(*max_ns));
    let total_ns: u64 = sorted.iter().map(|value| u64::from(*value)).sum();
    // The least value that so many of 1,000 do not exceed.
    let at = |of_1000: u64| u64::from(sorted[((count * of_1000).div_ceil(1_000) - 1) as usize]);
    let mean_ns = total_ns as f64 / count as f64;
    Quantiles { count, mean_ns, p50_ns: at(500), p99_ns: at(990), p999_ns: at(999), max_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN_NS: u64 = 1_000;

    fn offers(accepted: &[bool]) -> Vec<Offer> {
        let offer = |(at, accepted): (u64, &bool)| Offer {
            arrival_ns: BEGAN_NS + 10 * at,
            publish_ns: 1,
            accepted: *accepted,
        };
        (0..).zip(accepted).map(offer).collect()
    }

    /// What a server notes that served these, one after the other.
    fn server(ids: &[u64]) -> Server {
        let course = Course::new(vec![0; ids.len()], false);
        let mut server = Server::new(&course, 1).expect("a few rows");
        server.services.extend(ids.iter().map(|id| Service {
            id: *id,
            start_ns: BEGAN_NS + 10 * id + 1,
            end_ns: BEGAN_NS + 10 * id + 5,
        }));
        server
    }

    fn events(accepted: &[bool], served: &[&[u64]]) -> Result<Vec<Event>, RunError> {
        let intended_ns = vec![0; accepted.len()];
        let stamps = Stamps { intended_ns: &intended_ns, began_ns: BEGAN_NS };
        let servers: Vec<Server> = served.iter().map(|ids| server(ids)).collect();
        stamps.first(&offers(accepted), &Draws(vec![4; accepted.len()]), &servers)
    }

    #[test]
    fn stamps_of_several_servers_become_one_row_a_message() {
        let events = events(&[true, false, true, true], &[&[0, 3], &[2]]).unwrap();
        let served = |start_ns, end_ns| Some(Served { start_ns, end_ns });
        let expected = [served(1, 5), None, served(21, 25), served(31, 35)];
        assert_eq!(events.iter().map(|event| event.served).collect::<Vec<_>>(), expected);
        assert!(events.iter().map(|event| event.arrival_ns).eq([0, 10, 20, 30]));
    }

    #[test]
    fn a_lost_a_doubled_and_an_unknown_message_are_errors_with_their_number() {
        let lost = events(&[true, true, true, true], &[&[0], &[2]]).unwrap_err();
        assert!(matches!(lost, RunError::Lost { count: 2, first: 1 }), "{lost}");
        let doubled = events(&[true, true], &[&[0, 1], &[1]]).unwrap_err();
        assert!(matches!(doubled, RunError::Doubled { count: 1, first: 1 }), "{doubled}");
        let refused = events(&[true, false], &[&[0, 1]]).unwrap_err();
        assert!(matches!(refused, RunError::Doubled { count: 1, first: 1 }), "{refused}");
        let unknown = events(&[true], &[&[0, 9]]).unwrap_err();
        assert!(matches!(unknown, RunError::Doubled { count: 1, first: 9 }), "{unknown}");
    }

    #[test]
    fn a_service_that_found_no_room_for_its_stamps_is_counted() {
        let mut full = server(&[0]);
        full.beyond = 3;
        let stamps = Stamps { intended_ns: &[0], began_ns: BEGAN_NS };
        let error = stamps.first(&offers(&[true]), &Draws(vec![4]), &[full]).unwrap_err();
        assert!(matches!(error, RunError::Doubled { count: 3, .. }), "{error}");
    }

    #[test]
    fn what_the_first_stage_lost_never_was_at_the_second() {
        let first = events(&[true, false, true], &[&[0, 2]]).unwrap();
        let stamps = Stamps { intended_ns: &[0; 3], began_ns: BEGAN_NS };
        let draws = Draws(vec![1; 3]);
        let second = stamps.second(&first, &draws, &[server(&[0]), server(&[2])]).unwrap();
        assert!(second.iter().map(|event| event.arrival_ns).eq([5, 10, 25]));
        let lost = stamps.second(&first, &draws, &[server(&[0])]).unwrap_err();
        assert!(matches!(lost, RunError::Lost { count: 1, first: 2 }), "{lost}");
    }

    #[test]
    fn a_queue_that_is_not_empty_in_time_says_how_much_was_left() {
        let course = Course::new(vec![0; 3], false);
        let mut source = Source::new(&course).unwrap();
        source.offers = offers(&[true, true, false]);
        let left_after = Some(Duration::from_secs(9));
        let servers = vec![vec![server(&[0])]];
        let outcome = Outcome { source, servers, recorded: None, left_after };
        let error = check_drained(&outcome).unwrap_err();
        assert!(matches!(error, RunError::Drain { left: 1, .. }), "{error}");
        assert!(check_drained(&Outcome { left_after: None, ..outcome }).is_ok());
    }

    #[test]
    fn quantiles_are_the_least_values_that_so_many_do_not_exceed() {
        assert_eq!(quantiles(std::iter::empty()), Quantiles::default());
        let found = quantiles((1..=1_000).rev());
        let (mean_ns, max_ns) = (500.5, 1_000);
        let expected =
            Quantiles { count: 1_000, mean_ns, p50_ns: 500, p99_ns: 990, p999_ns: 999, max_ns };
        assert_eq!(found, expected);
        assert_eq!(quantiles([7].into_iter()).p50_ns, 7);
    }

    #[test]
    fn a_directory_is_gone_with_its_guard_and_two_are_not_one() {
        let (one, other) = (Folder::new(None).unwrap(), Folder::new(None).unwrap());
        assert_ne!(one.path(), other.path());
        std::fs::write(one.path().join("file"), "text").unwrap();
        let path = one.path().to_path_buf();
        drop(one);
        assert!(!path.exists());
    }
}
