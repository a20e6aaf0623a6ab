//! The thread pool that runs handlers: one pool for all subscriptions, asleep while there is nothing to do.
//!
//! ```text
//!   Signal::notify ──> set the subscription's bit ──> wake a worker
//!   worker: for each set bit, from where it stopped last: pull up to QUANTUM messages
//!             message: run a handler, settle        nothing: clear the bit, look once more
//!           no bit set: one worker searches on for a while, the others sleep until woken or until a retry is due
//! ```
//!
//! # Who is woken
//!
//! A wake-up costs more than a message, so none is made for a message that somebody is about to find. While a worker
//! *searches*, publishers wake nobody. The first message that a worker takes on its way out of a search it looks behind:
//! if there is more, it wakes one worker before it runs the handler, and that one does the same. So whenever a message
//! waits, a worker searches, or one was woken for it, or all are at work.
//!
//! A handler that panics has failed its attempt; the worker goes on (H14). Retries wait in the queue, no worker sleeps
//! for one (H5). There are as many threads as were asked for, however many topics there are (H19).
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! | --- | --- | --- | --- |
//! | [D1] | `Ready::set` | `Ready::clear` | a message: who clears the bit and looks again finds what set it |
//! | [D2] | `stop` | `is_stopped` | nothing more is to be started |
//! | [D3] | a worker leaves `alive` or `busy` | `stop` reads them | all that the worker did |
//! | [D5] | `notify` sets a bit, then a fence; a searcher ends its search, then a fence | the searcher looks at the bits; `notify` looks for a searcher | one of the two sees the other, so a suppressed wake-up is never a lost one |
//! | [D4] | `release` | `admit`, `release` | the handler that held the subscription has ended; who was denied is seen |
//!
//! [D1] needs no fence: both sides are read-modify-writes of one word. If the set comes later, the bit stays set; if
//! the clear does, it has acquired what the set released.
//!
//! `due_ns` is [relaxed]: it only says when to look; the looking takes the source's lock. Numbers that choose a
//! handler or where a round begins are [relaxed] too.
//!
//! # Limits
//!
//! [`SUBSCRIPTIONS_MAX`] subscriptions with handlers.

use crate::clock::saturating_ns;
use crate::error::QueueError;
use crate::event::EventCount;
use crate::queue::{Context, Delivery, SUBSCRIPTIONS_MAX, Settlement, Source};
use crate::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, Weak, fence, hint, thread,
};
use arc_swap::ArcSwap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How many messages of one subscription a worker handles before it looks at the next.
const QUANTUM: usize = 32;
/// How often a searcher looks: first at once, then letting others run in between; then it sleeps.
const SPINS: usize = 100;
const YIELDS: usize = 20;
/// How long a worker leaves a source alone that failed to read.
const FAILED_DELAY: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;
const WORD_BITS: usize = 64;
const WORDS: usize = SUBSCRIPTIONS_MAX / WORD_BITS;
const _: () = assert!(SUBSCRIPTIONS_MAX.is_multiple_of(WORD_BITS));

/// What runs for each message.
pub trait Handler: Send + Sync {
    /// Handles one message, and says what becomes of it.
    fn handle(&self, delivery: &Delivery) -> Settlement;
}

/// Which subscriptions may have a message: a bit for each.
struct Ready([AtomicU64; WORDS]);

impl Ready {
    fn set(&self, slot: usize) {
        let bit = 1 << (slot % WORD_BITS);
        self.0[slot / WORD_BITS].fetch_or(bit, Ordering::AcqRel); // [D1]
    }

    fn clear(&self, slot: usize) {
        let bit = 1 << (slot % WORD_BITS);
        self.0[slot / WORD_BITS].fetch_and(!bit, Ordering::AcqRel); // [D1]
    }

    /// The first set bit at or after `from`, going around once.
    fn next(&self, from: usize) -> Option<usize> {
        let (first_word, first_bit) = (from / WORD_BITS % WORDS, from % WORD_BITS);
        for step in 0..=WORDS {
            let word = (first_word + step) % WORDS;
            let mut bits = self.0[word].load(Ordering::Acquire); // [D1]
            if step == 0 {
                bits &= u64::MAX << first_bit;
            }
            if bits != 0 {
                return Some(word * WORD_BITS + bits.trailing_zeros() as usize);
            }
        }
        None
    }
}

/// A subscription with its handlers.
struct Attached {
    source: Arc<dyn Source>,
    slot: usize,
    members: ArcSwap<Vec<Member>>,
    next_member: AtomicUsize,
    /// How many workers may hold it.
    concurrency: usize,
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

    /// The members take turns.
    fn handler(&self) -> Option<Arc<dyn Handler>> {
        let members = self.members.load();
        let turn = self.next_member.fetch_add(1, Ordering::Relaxed); // [relaxed]
        members.get(turn.checked_rem(members.len())?).map(|member| Arc::clone(&member.handler))
    }
}

struct Shared {
    context: Arc<Context>,
    ready: Ready,
    woken: EventCount,
    /// When the first retry that was seen is due.
    due_ns: AtomicU64,
    searching: AtomicBool,
    stopped: AtomicBool,
    alive: AtomicUsize,
    busy: AtomicUsize,
    left: EventCount,
    /// By slot; changed under `attaching`.
    table: ArcSwap<Vec<Option<Arc<Attached>>>>,
    attaching: Mutex<u64>,
    workers: usize,
    failure: Mutex<Option<QueueError>>,
}

/// The pool.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    thread_ids: Vec<thread::ThreadId>,
}

impl Dispatcher {
    /// Starts `workers` threads.
    pub(crate) fn start(context: Arc<Context>, workers: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            context,
            ready: Ready(std::array::from_fn(|_| AtomicU64::new(0))),
            woken: EventCount::new(),
            due_ns: AtomicU64::new(NEVER),
            searching: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            left: EventCount::new(),
            table: ArcSwap::from_pointee(Vec::new()),
            attaching: Mutex::new(0),
            workers,
            failure: Mutex::new(None),
        });
        let mut started = Self { shared, threads: Mutex::new(Vec::new()), thread_ids: Vec::new() };
        for number in 0..workers {
            let shared = Arc::clone(&started.shared);
            shared.alive.fetch_add(1, Ordering::Relaxed); // [relaxed] the thread does not exist yet
            let named = thread::Builder::new().name(format!("millstream-worker-{number}"));
            match named.spawn(move || shared.work(number + 1)) {
                Ok(handle) => {
                    started.thread_ids.push(handle.thread().id());
                    started.threads.lock().push(handle);
                }
                Err(error) => {
                    started.shared.leave_alive();
                    let now = Instant::now();
                    started.stop(now);
                    return Err(error);
                }
            }
        }
        Ok(started)
    }

    /// Adds a handler to the subscription of `source`. Its number comes back.
    pub(crate) fn attach(
        &self,
        source: Arc<dyn Source>,
        handler: Arc<dyn Handler>,
        concurrency: Option<usize>,
    ) -> u64 {
        let mut numbers = self.shared.attaching.lock();
        *numbers += 1;
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
        self.shared.notify(slot, self.shared.workers);
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

    /// Takes out all handlers of the subscription with that name, which has ended.
    pub(crate) fn detach_all(&self, name: &str) {
        let _numbers = self.shared.attaching.lock();
        let mut table = Vec::clone(&self.shared.table.load());
        for place in &mut table {
            let ended = place.as_ref().is_some_and(|each| each.source.name() == name);
            if ended {
                *place = None;
            }
        }
        self.shared.table.store(Arc::new(table));
    }

    /// Is the calling thread one of the workers?
    pub(crate) fn is_inside(&self) -> bool {
        self.thread_ids.contains(&thread::current().id())
    }

    /// The last failure of a queue that a worker met.
    pub(crate) fn failure(&self) -> Option<QueueError> {
        self.shared.failure.lock().clone()
    }

    /// Starts nothing more. Waits for the workers, but for one that is in a handler only until `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.shared.stopped.store(true, Ordering::Release); // [D2]
        self.shared.woken.notify_all();
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
        for handle in self.threads.lock().drain(..) {
            // A thread that is still in a handler is left to itself: it ends when the handler does.
            if all_left && handle.thread().id() != thread::current().id() {
                let joined = handle.join();
                debug_assert!(joined.is_ok(), "a worker catches what handlers throw");
            }
        }
    }
}

impl Shared {
    /// Gives the source a slot; the caller has the lock.
    fn add(
        self: &Arc<Self>,
        table: &[Option<Arc<Attached>>],
        source: Arc<dyn Source>,
        member: Member,
        concurrency: Option<usize>,
    ) -> usize {
        let mut table = table.to_vec();
        let slot = table.iter().position(Option::is_none).unwrap_or(table.len());
        assert!(slot < SUBSCRIPTIONS_MAX, "a queue has no more subscriptions");
        let dispatcher: Weak<Self> = Arc::downgrade(self);
        source.signal().connect(Box::new(move |messages| {
            if let Some(shared) = dispatcher.upgrade() {
                shared.notify(slot, messages);
            }
        }));
        let attached = Arc::new(Attached {
            source,
            slot,
            members: ArcSwap::from_pointee(vec![member]),
            next_member: AtomicUsize::new(0),
            concurrency: concurrency.unwrap_or(self.workers),
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

    fn notify(&self, slot: usize, messages: usize) {
        self.ready.set(slot);
        fence(Ordering::SeqCst); // [D5]
        // [relaxed] ordered by D5
        let searchers = usize::from(self.searching.load(Ordering::Relaxed));
        if searchers < messages {
            self.woken.notify(messages - searchers);
        }
    }

    /// Does a worker that has taken a message leave another, of this subscription or of any?
    fn leaves_more(&self, attached: &Attached) -> bool {
        let other = self.ready.next(attached.slot + 1);
        other.is_some_and(|slot| slot != attached.slot) || attached.source.has_more()
    }

    /// There is more than this worker takes: somebody else should look.
    fn call_another(&self) {
        // [relaxed] a searcher that ends now has looked, or will look, at the bit that is still set
        if !self.searching.load(Ordering::Relaxed) {
            self.woken.notify(1);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) // [D2]
    }

    fn leave_alive(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel); // [D3]
        self.left.notify_all();
    }

    fn work(&self, shard: usize) {
        let mut from = 0;
        while !self.is_stopped() {
            self.busy.fetch_add(1, Ordering::AcqRel); // [D3]
            let served = self.round(shard, &mut from);
            self.busy.fetch_sub(1, Ordering::AcqRel); // [D3]
            if !served {
                self.rest();
            }
        }
        self.leave_alive();
    }

    /// Serves the next subscription that has its bit set. Was there a message?
    fn round(&self, shard: usize, from: &mut usize) -> bool {
        self.wake_due();
        let Some(slot) = self.ready.next(*from) else { return false };
        *from = slot + 1;
        let table = self.table.load();
        let attached = table.get(slot).and_then(Option::as_ref).map(Arc::clone);
        drop(table);
        match attached {
            Some(attached) if !self.is_stopped() => self.serve(&attached, shard),
            _ => {
                self.ready.clear(slot);
                false
            }
        }
    }

    fn serve(&self, attached: &Attached, shard: usize) -> bool {
        if !attached.admit(false) {
            // Cleared before the mark: whoever lets go afterwards sees the mark and sets the bit again.
            self.ready.clear(attached.slot);
            if !attached.admit(true) {
                return false;
            }
        }
        let mut served = 0;
        while served < QUANTUM && !self.is_stopped() && self.serve_one(attached, shard, served == 0)
        {
            served += 1;
        }
        if served == QUANTUM {
            self.ready.set(attached.slot);
        }
        if attached.release() {
            self.notify(attached.slot, 1);
        }
        served > 0
    }

    /// Handles one message, if there is one; the first one of a row is looked behind.
    fn serve_one(&self, attached: &Attached, shard: usize, first: bool) -> bool {
        let Some(handler) = attached.handler() else {
            self.ready.clear(attached.slot);
            return false;
        };
        let mut pulled = Delivery::pull(&attached.source, shard);
        if matches!(pulled, Ok(None)) {
            self.ready.clear(attached.slot);
            pulled = Delivery::pull(&attached.source, shard);
            if matches!(pulled, Ok(Some(_))) {
                self.ready.set(attached.slot);
            }
        }
        match pulled {
            Ok(Some(delivery)) => {
                if first && self.leaves_more(attached) {
                    self.call_another();
                }
                let settlement = run(&*handler, &delivery);
                self.note(delivery.settle(settlement).err());
                true
            }
            Ok(None) => {
                self.note_due(attached.source.next_due_ns());
                false
            }
            Err(error) => {
                self.ready.clear(attached.slot);
                attached.failed.store(true, Ordering::Relaxed); // [relaxed]
                self.note(Some(error));
                let again_ns =
                    self.context.clock.now_ns().saturating_add(saturating_ns(FAILED_DELAY));
                self.note_due(Some(again_ns));
                false
            }
        }
    }

    fn note(&self, failure: Option<QueueError>) {
        if let Some(error) = failure {
            *self.failure.lock() = Some(error);
        }
    }

    fn note_due(&self, at_ns: Option<u64>) {
        if let Some(at_ns) = at_ns {
            self.due_ns.fetch_min(at_ns, Ordering::Relaxed); // [relaxed]
        }
    }

    /// Sets the bits of all subscriptions whose retries are due.
    fn wake_due(&self) {
        let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
        if due_ns == NEVER || self.context.clock.now_ns() < due_ns {
            return;
        }
        // First forgotten, then found anew: what somebody notes in between stays noted.
        self.due_ns.store(NEVER, Ordering::Relaxed); // [relaxed]
        let now_ns = self.context.clock.now_ns();
        for attached in self.table.load().iter().flatten() {
            // [relaxed] with `due_ns`: it only says when to look
            if attached.failed.swap(false, Ordering::Relaxed) {
                self.ready.set(attached.slot);
            }
            match attached.source.next_due_ns() {
                Some(at_ns) if at_ns <= now_ns => self.ready.set(attached.slot),
                later => self.note_due(later),
            }
        }
    }

    /// Nothing is ready: searches on, or sleeps.
    fn rest(&self) {
        if self.search() {
            return;
        }
        let key = self.woken.listen();
        if !self.is_idle() {
            return self.woken.cancel(key);
        }
        let due_ns = self.due_ns.load(Ordering::Relaxed); // [relaxed]
        let until = (due_ns != NEVER).then(|| self.context.clock.instant_at(due_ns));
        self.woken.wait_until(key, until);
    }

    fn is_idle(&self) -> bool {
        !self.is_stopped() && self.ready.next(0).is_none()
    }

    /// Looks for a while, unless somebody else does. Is there something?
    fn search(&self) -> bool {
        // [relaxed] it only picks the searcher; the end of the search is what D5 orders
        if self.searching.swap(true, Ordering::Relaxed) {
            return false;
        }
        let found = (0..SPINS + YIELDS).any(|look| {
            let idle = self.is_idle();
            match (idle, look < SPINS) {
                (true, true) => hint::spin_loop(),
                (true, false) => thread::yield_now(),
                (false, _) => {}
            }
            !idle
        });
        self.searching.store(false, Ordering::Relaxed); // [relaxed] ordered by D5
        fence(Ordering::SeqCst); // [D5]
        found
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
    // What was thrown may throw again when it is dropped; that value is given up.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    Settlement::Fail { reason }
}
