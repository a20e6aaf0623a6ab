//! The thread pool that runs handlers: one pool for all subscriptions, asleep while there is nothing to do.
//!
//! ```text
//!   Signal::notify ──> set the subscription's bit ──> wake a worker
//!   worker: for each set bit, from where it stopped last: pull up to QUANTUM messages
//!             message: run a handler, settle        nothing: clear the bit, look once more
//!           no bit set: one worker searches on for a while, the others sleep until woken or until a retry is due
//! ```
//!
//! Who is woken for what is the roster's business: see `roster`.
//! A handler that panics has failed its attempt; the worker goes on (H14). Retries wait in the queue, no worker sleeps
//! for one (H5). There are as many threads as were asked for, however many topics there are (H19). With adaptive workers
//! there are between a minimum and a maximum, started when they are first needed, and a foreman (`foreman`); a worker that
//! is one too many leaves between two messages, and parks (`crew`).
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [D2] | `stop` | `is_stopped` | nothing more is to be started |
//! | [D3] | a worker leaves `alive` or `busy` | `stop` reads them | all that the worker did |
//! | [D5] | `note_due`, `wake_due` change `due_ns` | `wake_due` forgets it | the source's next time, as the noter saw it: found anew is never less than was forgotten |
//! | [D4] | `release` | `admit`, `release` | the handler that held the subscription has ended; who was denied is seen |
//!
//! Numbers that choose a handler or where a round begins are [relaxed], and so is `watched_ns`: the only answer that
//! matters is that nobody watches, and a worker that watched says so itself before it takes anything.
//!
//! # Who watches the time
//!
//! A retry comes when its time comes, however long the handlers that run: while a worker sleeps, one of the sleepers has
//! set its alarm for `due_ns`. A worker sets it when it goes to sleep. But those that knew of the time may all find
//! messages without ever going to sleep, and the others sleep on, without an alarm. So whoever takes a message while
//! nobody watches for `due_ns` calls another, which finds nothing, and goes to sleep with the alarm set.
//!
//! # Limits
//!
//! [`SUBSCRIPTIONS_MAX`] subscriptions with handlers.

use super::crew::Crew;
use super::foreman::{Backlog, Foreman, Site, Tallies};
use super::roster::{self, Roster};
use crate::clock::saturating_ns;
use crate::error::{Cause, QueueError};
use crate::event::EventCount;
use crate::queue::{Context, Delivery, SUBSCRIPTIONS_MAX, Settlement, Source};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, thread};
use arc_swap::ArcSwap;
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How many messages of one subscription a worker handles before it looks at the next.
const QUANTUM: usize = 32;
/// How long a worker leaves a source alone that failed to read.
const FAILED_DELAY: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;
const _: () = assert!(SUBSCRIPTIONS_MAX <= roster::SLOTS);

/// What runs for each message.
pub trait Handler: Send + Sync {
    /// Handles one message, and says what becomes of it.
    fn handle(&self, delivery: &Delivery) -> Settlement;
}

/// A subscription with its handlers.
struct Attached {
    source: Arc<dyn Source>,
    slot: usize,
    members: ArcSwap<Vec<Member>>,
    next_member: AtomicUsize,
    /// How many workers may hold it.
    concurrency: usize,
    /// Is it fewer than there are at most?
    capped: bool,
    /// How many do; the highest bit says that one more wanted to.
    held: AtomicUsize,
    /// Reading from it failed: to be tried again after a while.
    failed: AtomicBool,
}

const DENIED: usize = 1 << (usize::BITS - 1);

#[derive(Clone)]
struct Member {
    number: u64,
    handler: Arc<dyn Handler>,
}

impl Attached {
    /// May one more worker hold it? If not, and `marks` is set, the one that lets go next says so.
    fn admit(&self, marks: bool) -> bool {
        let mut held = self.held.load(Ordering::Relaxed); // [relaxed] the exchange below decides
        loop {
            let free = held & !DENIED < self.concurrency;
            let wanted = match (free, marks) {
                (true, _) => held + 1,
                (false, true) => held | DENIED,
                (false, false) => return false,
            };
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed); // [D4] [relaxed]
            match self.held.compare_exchange_weak(held, wanted, success, failure) {
                Ok(_) => return free,
                Err(now) => held = now,
            }
        }
    }

    /// Lets go. Had somebody been denied?
    fn release(&self) -> bool {
        let denied = self.held.fetch_sub(1, Ordering::AcqRel) & DENIED != 0; // [D4]
        if denied {
            self.held.fetch_and(!DENIED, Ordering::AcqRel); // [D4]
        }
        denied
    }

    /// What waits here for workers.
    fn backlog(&self, now_ns: u64) -> Backlog {
        if self.members.load().is_empty() || self.source.is_over() {
            return Backlog::default();
        }
        let due = self.source.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns);
        let messages = self.source.backlog().max(u64::from(due));
        let held = self.held.load(Ordering::Relaxed) & !DENIED; // [relaxed] a look
        let free = self.concurrency.saturating_sub(held);
        let takers = usize::try_from(messages).unwrap_or(usize::MAX).min(free);
        // Where the subscription itself lets no more at it, what waits is not waiting for workers.
        Backlog { messages: if self.capped { 0 } else { messages }, takers }
    }

    fn has_members(&self) -> bool {
        !self.members.load().is_empty()
    }

    /// The members take turns.
    fn handler(&self) -> Option<Arc<dyn Handler>> {
        let members = self.members.load();
        let turn = self.next_member.fetch_add(1, Ordering::Relaxed); // [relaxed]
        members.get(turn.checked_rem(members.len())?).map(|member| Arc::clone(&member.handler))
    }
}

struct Shared {
    context: Arc<Context>,
    /// Held by the sources' signals too: so a notification counts no reference.
    roster: Arc<Roster>,
    /// When the first retry that was seen is due.
    due_ns: AtomicU64,
    /// What a worker that sleeps has set its alarm for, or `NEVER`.
    watched_ns: AtomicU64,
    stopped: AtomicBool,
    alive: AtomicUsize,
    busy: AtomicUsize,
    left: EventCount,
    /// By slot; changed under `attaching`.
    table: ArcSwap<Vec<Option<Arc<Attached>>>>,
    attaching: Mutex<u64>,
    /// At most.
    workers: usize,
    /// Where their number changes.
    adaptive: Option<Adaptive>,
    threads: Mutex<Threads>,
    failure: Mutex<Option<QueueError>>,
}

/// What there is beyond a fixed number of workers.
struct Adaptive {
    crew: Crew,
    tallies: Tallies,
    /// Why the system did not give the last thread that it did not.
    refused: Mutex<Option<Cause>>,
}

/// Those that were started.
#[derive(Default)]
struct Threads {
    handles: Vec<thread::JoinHandle<()>>,
    ids: Vec<thread::ThreadId>,
    workers: usize,
}

/// The pool.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
}

impl Dispatcher {
    /// Starts as many threads as `workers` begins with, and, where it ends with more, one that starts them.
    pub(crate) fn start(
        context: Arc<Context>,
        workers: RangeInclusive<usize>,
    ) -> std::io::Result<Self> {
        let (min, max) = workers.into_inner();
        let adaptive = (min < max).then(|| Adaptive {
            crew: Crew::new(min),
            tallies: Tallies::new(max),
            refused: Mutex::new(None),
        });
        let shared = Arc::new(Shared {
            context,
            roster: Arc::new(Roster::new()),
            due_ns: AtomicU64::new(NEVER),
            watched_ns: AtomicU64::new(NEVER),
            stopped: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            left: EventCount::new(),
            table: ArcSwap::from_pointee(Vec::new()),
            attaching: Mutex::new(0),
            workers: max,
            adaptive,
            threads: Mutex::default(),
            failure: Mutex::new(None),
        });
        let started = Self { shared };
        started.start_all(min).inspect_err(|_| started.stop(Instant::now()))?;
        Ok(started)
    }

    fn start_all(&self, workers: usize) -> std::io::Result<()> {
        (0..workers).try_for_each(|_| Shared::start_worker(&self.shared, true))?;
        match self.shared.adaptive {
            Some(_) => {
                let shared = Arc::clone(&self.shared);
                self.shared.spawn("millstream-foreman".to_owned(), move || shared.oversee(workers))
            }
            None => Ok(()),
        }
    }

    /// How many workers are active now.
    pub(crate) fn workers(&self) -> usize {
        let adaptive = self.shared.adaptive.as_ref();
        adaptive.map_or(self.shared.workers, |adaptive| adaptive.crew.active())
    }

    /// Why the system did not give the last thread that it did not, after the beginning.
    pub(crate) fn refused(&self) -> Option<Cause> {
        self.shared.adaptive.as_ref()?.refused.lock().clone()
    }

    /// Adds a handler to the subscription of `source`. Its number comes back. A source that is over gets none: somebody
    /// has unsubscribed since the caller got it, and perhaps has taken its handlers out already.
    pub(crate) fn attach(
        &self,
        source: Arc<dyn Source>,
        handler: Arc<dyn Handler>,
        concurrency: Option<usize>,
    ) -> u64 {
        let mut numbers = self.shared.attaching.lock();
        *numbers += 1;
        if source.is_over() {
            return *numbers;
        }
        let member = Member { number: *numbers, handler };
        let table = self.shared.table.load_full();
        let known = table.iter().flatten().find(|each| Arc::ptr_eq(&each.source, &source));
        let slot = match known {
            Some(attached) => {
                let mut members = Vec::clone(&attached.members.load());
                members.push(member);
                attached.members.store(Arc::new(members));
                attached.slot
            }
            None => self.shared.add(&table, source, member, concurrency),
        };
        self.shared.roster.notify(slot, self.shared.workers);
        *numbers
    }

    /// Takes the member out; what it handles now, it handles to the end.
    pub(crate) fn detach(&self, source: &Arc<dyn Source>, number: u64) -> bool {
        let _numbers = self.shared.attaching.lock();
        let table = self.shared.table.load_full();
        let known = table.iter().flatten().find(|each| Arc::ptr_eq(&each.source, source));
        let Some(attached) = known else { return false };
        let mut members = Vec::clone(&attached.members.load());
        let before = members.len();
        members.retain(|member| member.number != number);
        let found = members.len() < before;
        attached.members.store(Arc::new(members));
        found
    }

    /// Takes out all handlers of `source`, which has ended. Not by its name: another may have that by now.
    pub(crate) fn detach_all(&self, source: &Arc<dyn Source>) {
        let _numbers = self.shared.attaching.lock();
        let mut table = Vec::clone(&self.shared.table.load());
        for place in &mut table {
            let ended = place.as_ref().is_some_and(|each| Arc::ptr_eq(&each.source, source));
            if ended {
                *place = None;
            }
        }
        self.shared.table.store(Arc::new(table));
    }

    /// How many handlers the subscription of `source` has, and how many workers they may hold.
    pub(crate) fn seats(&self, source: &Arc<dyn Source>) -> Option<(usize, usize)> {
        let table = self.shared.table.load();
        let attached = table.iter().flatten().find(|each| Arc::ptr_eq(&each.source, source))?;
        Some((attached.members.load().len(), attached.concurrency))
    }

    /// Is the calling thread one of the workers?
    pub(crate) fn is_inside(&self) -> bool {
        self.shared.threads.lock().ids.contains(&thread::current().id())
    }

    /// The last failure of a queue that a worker met.
    pub(crate) fn failure(&self) -> Option<QueueError> {
        self.shared.failure.lock().clone()
    }

    /// Starts nothing more. Waits for the workers, but for one that is in a handler only until `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.shared.stopped.store(true, Ordering::Release); // [D2]
        self.shared.roster.wake_all();
        if let Some(adaptive) = &self.shared.adaptive {
            adaptive.crew.wake_all();
        }
        loop {
            let key = self.shared.left.listen();
            let alive = self.shared.alive.load(Ordering::Acquire); // [D3]
            let busy = self.shared.busy.load(Ordering::Acquire); // [D3]
            let late = deadline <= Instant::now();
            if alive == 0 || (late && alive == busy) {
                self.shared.left.cancel(key);
                break;
            }
            let until = if late { None } else { Some(deadline) };
            self.shared.left.wait_until(key, until);
        }
        // What handlers own goes with them: perhaps a handle of this very engine.
        self.shared.table.store(Arc::new(Vec::new()));
        let all_left = self.shared.alive.load(Ordering::Acquire) == 0; // [D3]
        let handles = std::mem::take(&mut self.shared.threads.lock().handles);
        for handle in handles {
            // A thread that is still in a handler is left to itself: it ends when the handler does.
            if all_left && handle.thread().id() != thread::current().id() {
                let joined = handle.join();
                debug_assert!(joined.is_ok(), "a worker catches what handlers throw");
            }
        }
    }
}

impl Shared {
    /// Starts one more worker, active or parked.
    fn start_worker(shared: &Arc<Self>, active: bool) -> std::io::Result<()> {
        let number = shared.threads.lock().workers;
        let worker = Arc::clone(shared);
        shared.spawn(format!("millstream-worker-{number}"), move || {
            worker.begin(number + 1, active)
        })?;
        shared.threads.lock().workers += 1;
        Ok(())
    }

    /// Starts a thread that leaves `alive` at its end.
    fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.alive.fetch_add(1, Ordering::Relaxed); // [relaxed] the thread does not exist yet
        let spawned = thread::Builder::new().name(name).spawn(work);
        let handle = spawned.inspect_err(|_| self.leave_alive())?;
        let mut threads = self.threads.lock();
        threads.ids.push(handle.thread().id());
        threads.handles.push(handle);
        Ok(())
    }

    /// The foreman's thread.
    fn oversee(self: Arc<Self>, min: usize) {
        if let Some(adaptive) = &self.adaptive {
            Foreman::new(&self, &adaptive.crew, &self.roster, &adaptive.tallies, min).work();
        }
        self.leave_alive();
    }

    /// Gives the source a slot; the caller has the lock.
    fn add(
        &self,
        table: &[Option<Arc<Attached>>],
        source: Arc<dyn Source>,
        member: Member,
        concurrency: Option<usize>,
    ) -> usize {
        let mut table = table.to_vec();
        // One that is over has no place in the queue any more, though `detach_all` may not have come to it yet.
        let free = |place: &Option<Arc<Attached>>| {
            place.as_ref().is_none_or(|attached| attached.source.is_over())
        };
        let slot = table.iter().position(free).unwrap_or(table.len());
        assert!(slot < SUBSCRIPTIONS_MAX, "a queue has no more subscriptions");
        let roster = Arc::clone(&self.roster);
        source.signal().connect(Box::new(move |messages| roster.notify(slot, messages)));
        let attached = Arc::new(Attached {
            source,
            slot,
            members: ArcSwap::from_pointee(vec![member]),
            next_member: AtomicUsize::new(0),
            concurrency: concurrency.unwrap_or(self.workers),
            capped: concurrency.is_some_and(|concurrency| concurrency < self.workers),
            held: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        });
        if slot == table.len() {
            table.push(None);
        }
        table[slot] = Some(attached);
        self.table.store(Arc::new(table));
        slot
    }

    /// Does a worker that has taken a message leave another, of this subscription or of any?
    fn leaves_more(&self, attached: &Attached) -> bool {
        let other = self.roster.next(attached.slot + 1);
        other.is_some_and(|slot| slot != attached.slot) || attached.source.has_more()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) // [D2]
    }

    fn leave_alive(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel); // [D3]
        self.left.notify_all();
    }

    /// A worker's thread.
    fn begin(&self, shard: usize, active: bool) {
        let parked = self.adaptive.as_ref().filter(|_| !active);
        if parked.is_none_or(|adaptive| adaptive.crew.park(|| self.is_stopped())) {
            self.work(shard);
        }
        self.leave_alive();
    }

    fn work(&self, shard: usize) {
        let mut from = 0;
        while !self.is_stopped() {
            if let Some(adaptive) = &self.adaptive
                && adaptive.crew.leave()
            {
                // What it may have been woken for.
                self.roster.call_another();
                if !adaptive.crew.park(|| self.is_stopped()) {
                    break;
                }
            }
            self.busy.fetch_add(1, Ordering::AcqRel); // [D3]
            let served = self.round(shard, &mut from);
            self.busy.fetch_sub(1, Ordering::AcqRel); // [D3]
            if !served {
                self.rest();
            }
        }
    }

    /// Serves the next subscription that has its bit set. Was there a message?
    fn round(&self, shard: usize, from: &mut usize) -> bool {
        self.wake_due();
        let Some(slot) = self.roster.next(*from) else { return false };
        *from = slot + 1;
        let table = self.table.load();
        let attached = table.get(slot).and_then(Option::as_ref).map(Arc::clone);
        drop(table);
        let served = match &attached {
            Some(attached) if !self.is_stopped() => self.serve(attached, shard),
            found => {
                self.clear(slot, found.as_ref());
                false
            }
        };
        let_go(attached);
        served
    }

    /// Clears the bit of a slot in which `found` seemed to have nothing; the caller looks at `found` once more. The slot
    /// may have been given away since, and the bit be set for its new owner, so that is looked at here.
    fn clear(&self, slot: usize, found: Option<&Arc<Attached>>) {
        self.roster.clear(slot);
        let table = self.table.load();
        let now = table.get(slot).and_then(Option::as_ref);
        if now.is_some_and(|now| !found.is_some_and(|found| Arc::ptr_eq(now, found))) {
            self.roster.set(slot);
        }
    }

    fn serve(&self, attached: &Arc<Attached>, shard: usize) -> bool {
        if !attached.admit(false) {
            // Cleared before the mark: whoever lets go afterwards sees the mark and sets the bit again.
            self.clear(attached.slot, Some(attached));
            if !attached.admit(true) {
                return false;
            }
        }
        let mut served = 0;
        while served < QUANTUM && !self.is_stopped() && self.serve_one(attached, shard, served == 0)
        {
            served += 1;
        }
        if let (Some(adaptive), 1..) = (&self.adaptive, served) {
            adaptive.crew.end();
        }
        if served == QUANTUM {
            self.roster.set(attached.slot);
        }
        if attached.release() {
            self.roster.notify(attached.slot, 1);
        }
        served > 0
    }

    /// Handles one message, if there is one; the first one of a row is looked behind. The handler is chosen when the message
    /// is there: whoever had left before it was published is none.
    fn serve_one(&self, attached: &Arc<Attached>, shard: usize, first: bool) -> bool {
        if !attached.has_members() {
            self.clear(attached.slot, Some(attached));
            if attached.has_members() {
                self.roster.set(attached.slot);
            }
            return false;
        }
        let mut pulled = Delivery::pull(&attached.source, shard);
        if matches!(pulled, Ok(None)) {
            self.clear(attached.slot, Some(attached));
            pulled = Delivery::pull(&attached.source, shard);
            if matches!(pulled, Ok(Some(_))) {
                self.roster.set(attached.slot);
            }
        }
        match pulled {
            Ok(Some(delivery)) => {
                if first {
                    if let Some(adaptive) = &self.adaptive {
                        adaptive.crew.begin();
                    }
                    // The notice of a retry may have brought this worker here, and to a message.
                    self.note_due(attached.source.next_due_ns());
                    if self.is_unwatched() || self.leaves_more(attached) {
                        self.roster.call_another();
                    }
                }
                let handler = attached.handler();
                let settlement = match &handler {
                    Some(handler) => self.run(&**handler, &delivery, shard),
                    None => Settlement::Release,
                };
                self.note(delivery.settle(settlement).err());
                let served = handler.is_some();
                // It may have left in the meantime: then it ends here.
                let_go(handler);
                served
            }
            Ok(None) => {
                self.note_due(attached.source.next_due_ns());
                false
            }
            Err(error) => {
                self.clear(attached.slot, Some(attached));
                attached.failed.store(true, Ordering::Relaxed); // [relaxed]
                self.note(Some(error));
                let again_ns =
                    self.context.clock.now_ns().saturating_add(saturating_ns(FAILED_DELAY));
                self.note_due(Some(again_ns));
                false
            }
        }
    }

    /// Runs the handler, and takes its time where the number of workers follows from it.
    fn run(&self, handler: &dyn Handler, delivery: &Delivery, shard: usize) -> Settlement {
        let Some(adaptive) = &self.adaptive else { return run(handler, delivery) };
        let begun = Instant::now();
        let settlement = run(handler, delivery);
        adaptive.tallies.add(shard - 1, begun.elapsed());
        settlement
    }

    fn note(&self, failure: Option<QueueError>) {
        if let Some(error) = failure {
            *self.failure.lock() = Some(error);
        }
    }

    fn note_due(&self, at_ns: Option<u64>) {
        if let Some(at_ns) = at_ns {
            self.due_ns.fetch_min(at_ns, Ordering::AcqRel); // [D5]
        }
    }

    /// Is there a retry to come for which no sleeper has set its alarm?
    fn is_unwatched(&self) -> bool {
        let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
        due_ns < self.watched_ns.load(Ordering::Relaxed) // [relaxed]
    }

    /// Sets the bits of all subscriptions whose retries are due. Was it time for that?
    fn wake_due(&self) -> bool {
        let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
        if due_ns == NEVER || self.context.clock.now_ns() < due_ns {
            return false;
        }
        // First forgotten, then found anew: what somebody notes in between stays noted.
        self.due_ns.swap(NEVER, Ordering::AcqRel); // [D5]
        let now_ns = self.context.clock.now_ns();
        for attached in self.table.load().iter().flatten() {
            let failed = attached.failed.swap(false, Ordering::Relaxed); // [relaxed] it only says when to look
            if failed {
                self.roster.set(attached.slot);
            }
            match attached.source.next_due_ns() {
                Some(at_ns) if at_ns <= now_ns => self.roster.set(attached.slot),
                later => self.note_due(later),
            }
        }
        true
    }

    /// Nothing is ready: searches on, or sleeps.
    fn rest(&self) {
        let watches = Cell::new(false);
        let until = || {
            watches.set(true);
            let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
            self.watched_ns.store(due_ns, Ordering::Relaxed); // [relaxed]
            (due_ns != NEVER).then(|| self.context.clock.instant_at(due_ns))
        };
        self.roster.rest(|| self.is_stopped(), until);
        if watches.get() {
            self.watched_ns.store(NEVER, Ordering::Relaxed); // [relaxed]
        }
    }
}

impl Site for Arc<Shared> {
    fn is_stopped(&self) -> bool {
        Shared::is_stopped(self)
    }

    fn backlog(&self) -> Backlog {
        // As a worker in a handler: what it looks at may be the last that holds a user's value.
        self.busy.fetch_add(1, Ordering::AcqRel); // [D3]
        let table = self.table.load_full();
        let now_ns = self.context.clock.now_ns();
        let backlog = table.iter().flatten().fold(Backlog::default(), |sum, attached| {
            let one = attached.backlog(now_ns);
            Backlog {
                messages: sum.messages.saturating_add(one.messages),
                takers: sum.takers.saturating_add(one.takers),
            }
        });
        let_go(table);
        self.busy.fetch_sub(1, Ordering::AcqRel); // [D3]
        backlog
    }

    fn due(&self) -> Option<Instant> {
        if self.wake_due() {
            self.roster.call_another();
        }
        let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
        (due_ns != NEVER).then(|| self.context.clock.instant_at(due_ns))
    }

    fn start(&self) -> std::io::Result<()> {
        Shared::start_worker(self, false)
    }

    fn refused(&self, error: std::io::Error) {
        if let Some(adaptive) = &self.adaptive {
            *adaptive.refused.lock() = Some(Arc::new(error));
        }
    }
}

/// Runs the handler; a panic is a failed attempt.
fn run(handler: &dyn Handler, delivery: &Delivery) -> Settlement {
    let panic = match catch_unwind(AssertUnwindSafe(|| handler.handle(delivery))) {
        Ok(settlement) => return settlement,
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let reason = match text {
        Some(text) => format!("panic: {text}"),
        None => "panic with a value that is no text".to_owned(),
    };
    let_go(panic);
    Settlement::Fail { reason }
}

/// Drops what is a user's: its drop may panic, and what that throws is given up.
fn let_go<T>(value: T) {
    if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        std::mem::forget(thrown);
    }
}
