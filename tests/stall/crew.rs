//! The scene: a victim that is frozen, and a crew of two who must go on as if nothing were the matter.
//!
//! A [`Case`] is one operation on one kind of ring. It is played again and again, each time on a ring of its own, with
//! the victim frozen one instruction later, until it gets through unfrozen. In each scene:
//!
//! ```text
//!   victim   1, 2, ... n: frozen ........................................ goes on, finishes
//!   first                 fills, drains, fills, drains; | rounds | drains; leaves `rest` values
//!   second                sleeps                        | rounds | sleeps
//! ```
//!
//! The first alone shows that an answer is exact; both together, that they make progress though they are in each
//! other's way as well: alone would show that nobody is obstructed, which is less than lock-free. Then a last scene
//! stops the victim after *every* instruction, with a turn of the crew in between, so that each of its attempts fails and
//! what it does after a failed attempt is frozen too.
//!
//! When the victim is through, the crew has one more turn, the victim makes its call once more, and the crew has its last
//! turn: what a call left wrong behind it is found then.
//!
//! The limit on a turn is a watch-dog. Progress is counted in rounds, and a ring that makes any reaches their end.
//! When the limit passes, the victim is thawed; the crew must then get through, or it was not the freeze that held it up.
//!
//! # What must not be done while the victim is frozen
//!
//! It may hold any lock it has taken: that of the allocator, of standard output, of the thread-number pool. So the threads are
//! there beforehand, have used rings before, write to logs made beforehand, and wait by [`Turn`]. The first scene of a
//! case is played without a stop, and takes the first uses.

use crate::model::{Answer, Event, Seen, Step, World, balance, conserved, judge, value};
use crate::trap::{self, Place, Turn, Victim};
use parking_lot::Mutex;
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// For what must happen: only a failure ever waits that long.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a sleeper gets to wake up and take something. Decides nothing but a printed count.
const WAKE_UP: Duration = Duration::from_millis(5);
/// Of each of the two together, in a scene with one stop.
const ROUNDS: usize = 20;
/// The same, in the scene with many.
const ROUNDS_OFTEN: usize = 2;
/// Stops of the last scene, at most; then the victim goes free. More than one attempt has instructions.
const STOPS_MAX: u64 = if cfg!(debug_assertions) { 1500 } else { 500 };
/// Things that a victim may say in one call.
const SAID_MAX: usize = 16;

/// Who makes a value: see [`value`].
pub const BEFORE: u64 = 1;
pub const VICTIM: u64 = 2;
pub const SLEEPER: u64 = 3;
const FIRST: u64 = 4;

/// Handlers and counters of the trap are the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub type Sending = Box<dyn FnMut(u64) -> Answer + Send>;
pub type Receiving = Box<dyn FnMut() -> Answer + Send>;
/// Something that falls asleep at once.
pub type Sleeping = Box<dyn FnOnce() -> Answer + Send>;

/// What one of the crew may do, without waiting.
#[derive(Default)]
pub struct Ends {
    pub send: Option<Sending>,
    pub recv: Option<Receiving>,
}

/// A ring made for one scene, with everybody's part.
pub struct Scene<E> {
    /// The victim's.
    pub end: E,
    pub crew: [Ends; 2],
    /// Somebody who waits for what the victim does, if there is to be one.
    pub sleeper: Option<Sleeping>,
}

/// What the victim's call said.
pub struct Said(Vec<Answer>);

impl Said {
    pub fn say(&mut self, answer: impl Into<Answer>) {
        self.begin();
        self.0.push(answer.into());
    }

    /// The operation is over; what it takes to speak of it is ours, and not to be stepped through.
    pub fn begin(&self) {
        trap::step_no_more();
    }
}

/// One operation on one kind of ring.
pub struct Case<E> {
    pub name: String,
    pub capacity: usize,
    /// Values in the ring when the victim begins: `value(BEFORE, 0)` and so on.
    pub start: usize,
    /// Values that the crew leaves in it, where it has both ends.
    pub rest: usize,
    pub scene: Box<dyn Fn() -> Scene<E> + Sync>,
    /// The operation. It allocates nothing.
    pub act: fn(&mut E, &mut Said),
    /// What that does to a queue.
    pub steps: &'static [Step],
    /// Takes out what is left when all is over.
    pub drain: fn(&mut E, &mut Ends) -> Answer,
    /// After what time the crew counts as held up.
    pub limit: Duration,
    /// Scenes with one stop in a debug build, about, of the thousands that there would be. Release has one for every
    /// instruction: n of them are n^2 / 2 traps, of 1 to 20 microseconds each.
    pub debug_scenes: u64,
}

/// What was seen of a case.
#[derive(Debug, Default)]
pub struct Report {
    /// Instructions after which the victim was frozen, one scene each.
    pub frozen: u64,
    /// Those after which the crew did not get through before the victim was thawed.
    pub held: Vec<Place>,
    /// Those after which the sleeper slept on though the crew left it something.
    pub slept_on: u64,
    /// Stops of the last scene.
    pub stops: u64,
}

const IDLE: u32 = 0;
const ACT: u32 = 1;
const ALONE: u32 = 2;
const TOGETHER: u32 = 3;
const REST: u32 = 4;
const AGAIN: u32 = 5;
const QUIT: u32 = 6;

/// A thread's orders and its part; locked by the thread while it works, and by the driver in between.
struct Post<P> {
    order: Turn,
    part: Mutex<P>,
}

impl<P> Post<P> {
    fn new(part: P) -> Self {
        Self { order: Turn::new(IDLE), part: Mutex::new(part) }
    }

    /// The thread's life.
    fn serve(&self, mut work: impl FnMut(u32, &mut P)) {
        loop {
            self.order.wait_while(IDLE, None);
            match self.order.get() {
                QUIT => return,
                order => work(order, &mut self.part.lock()),
            }
            self.order.set(IDLE);
        }
    }

    fn done_by(&self, order: u32, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        self.order.wait_while(order, Some(left))
    }
}

/// One of the crew.
struct Member {
    ends: Ends,
    log: Vec<Event>,
    name: u64,
    sent: u64,
    rest: usize,
    rounds: usize,
    /// Attempts after which a full ring says Full, and an empty one Empty.
    enough: usize,
}

impl Member {
    fn new(name: u64, capacity: usize, rest: usize) -> Self {
        let (ends, enough) = (Ends::default(), capacity + 2);
        Self { ends, log: Vec::new(), name, sent: 0, rest, rounds: 0, enough }
    }

    fn begin(&mut self, ends: Ends, rounds: usize, stops: usize) {
        let turn = 6 * self.enough + 2 * self.rest + 8 * rounds + 2 * SAID_MAX;
        self.log.clear();
        self.log.reserve(turn * (stops + 3));
        (self.ends, self.rounds) = (ends, rounds);
    }

    fn work(&mut self, order: u32) {
        let done = catch_unwind(AssertUnwindSafe(|| match order {
            ALONE => self.alone(),
            TOGETHER => self.together(),
            _ => self.tidy_up(),
        }));
        if done.is_err() {
            self.log.push(Event::Received(Answer::Panicked));
        }
    }

    fn alone(&mut self) {
        self.note(Event::Alone);
        self.fill(self.enough);
        self.drain();
        self.fill(self.enough);
        self.drain();
        self.leave();
    }

    fn tidy_up(&mut self) {
        self.note(Event::Alone);
        self.drain();
        self.leave();
    }

    fn leave(&mut self) {
        if self.ends.recv.is_some() {
            self.fill(self.rest);
        }
    }

    /// Sends up to that many, until it is refused.
    fn fill(&mut self, count: usize) {
        for _ in 0..count {
            if self.send(true) != Some(Answer::Sent) {
                return;
            }
        }
    }

    fn drain(&mut self) {
        for _ in 0..self.enough + SAID_MAX {
            if !matches!(self.recv(true), Some(Answer::Got(_))) {
                return;
            }
        }
    }

    /// Sends and receives beside the other one. What is refused is tried again: to come to an end is the point.
    fn together(&mut self) {
        self.note(Event::Together);
        for _ in 0..self.rounds {
            while self.send(false) == Some(Answer::Full) {
                self.recv(false);
            }
            self.recv(false);
        }
    }

    fn send(&mut self, note_all: bool) -> Option<Answer> {
        let value = value(self.name, self.sent);
        let answer = self.ends.send.as_mut()?(value);
        self.sent += 1;
        if note_all || answer == Answer::Sent {
            self.note(Event::Sent(value, answer));
        }
        Some(answer)
    }

    fn recv(&mut self, note_all: bool) -> Option<Answer> {
        let answer = self.ends.recv.as_mut()?();
        if note_all || answer != Answer::Empty {
            self.note(Event::Received(answer));
        }
        Some(answer)
    }

    fn note(&mut self, event: Event) {
        assert!(
            self.log.len() < self.log.capacity(),
            "a log does not grow while somebody is frozen"
        );
        self.log.push(event);
    }
}

/// The part of the victim: what it holds, what it said.
struct Stage<E> {
    end: E,
    /// In the call that is looked into, and in the one after it.
    said: [Said; 2],
}

/// The part of the sleeper: what to do, then what came of it.
#[derive(Default)]
struct Dream {
    operation: Option<Sleeping>,
    answer: Option<Answer>,
}

/// Everybody.
struct Cast<'a, E> {
    case: &'a Case<E>,
    victim: Post<Option<Stage<E>>>,
    crew: [Post<Member>; 2],
    sleeper: Post<Dream>,
    /// The sleeper's thread in the kernel's eyes.
    sleeper_file: OnceLock<PathBuf>,
    /// 1 when the sleeper has nothing before it but its operation.
    sleepy: Turn,
}

/// Lets everybody go home, whatever happens to the driver.
struct Dismissal<'a, E>(&'a Cast<'a, E>);

impl<E> Drop for Dismissal<'_, E> {
    fn drop(&mut self) {
        let crew = self.0.crew.iter().map(|post| &post.order);
        crew.chain([&self.0.victim.order, &self.0.sleeper.order]).for_each(|order| order.set(QUIT));
    }
}

/// What was seen of a scene.
#[derive(Default)]
struct Played {
    /// Is there a sleeper in it?
    sleeper: bool,
    steps: u64,
    stops: u64,
    held: Option<Place>,
    slept_on: bool,
}

impl<E: Send> Case<E> {
    /// Plays all scenes, and prints a line.
    ///
    /// # Panics
    ///
    /// If what the others or the victim were told cannot have been so; see [`crate::model`]. To be held up is in the
    /// report, for the caller to judge.
    pub fn play(&self) -> Report {
        self.play_until(usize::MAX)
    }

    /// As [`Case::play`], and nobody may be held up.
    pub fn must_hold_up_nobody(&self) {
        let held = self.play_until(1).held;
        let places: Vec<String> = held.iter().map(Place::to_string).collect();
        assert!(held.is_empty(), "{}: the others are held up after {places:?}", self.name);
    }

    /// Ends early when the crew was held up so many times.
    fn play_until(&self, held_max: usize) -> Report {
        let _alone = ONE_AT_A_TIME.lock();
        trap::install();
        let [first, second] =
            [FIRST, FIRST + 1].map(|name| Member::new(name, self.capacity, self.rest));
        let cast = Cast {
            case: self,
            victim: Post::new(None),
            crew: [Post::new(first), Post::new(second)],
            sleeper: Post::new(Dream::default()),
            sleeper_file: OnceLock::new(),
            sleepy: Turn::new(0),
        };
        let played = thread::scope(|scope| {
            let _dismissal = Dismissal(&cast);
            scope.spawn(|| cast.victim.serve(|order, stage| cast.suffer(order, stage)));
            for post in &cast.crew {
                scope.spawn(|| post.serve(|order, member| member.work(order)));
            }
            scope.spawn(|| cast.sleeper.serve(|_, dream| cast.sleep(dream)));
            cast.play_all(held_max)
        });
        let report = played.unwrap_or_else(|wrong| panic!("{}: {wrong}", self.name));
        println!("{}", report.line(&self.name));
        report
    }
}

impl Report {
    fn line(&self, name: &str) -> String {
        let slept = match self.slept_on {
            0 => String::new(),
            count => format!(", {count} left the sleeper asleep"),
        };
        let (frozen, held, stops) = (self.frozen, self.held.len(), self.stops);
        format!(
            "{name:52} {frozen:4} instructions frozen, {held:2} held up{slept}; {stops} stops in one call"
        )
    }
}

impl<E> Cast<'_, E> {
    fn play_all(&self, held_max: usize) -> Result<Report, String> {
        let mut report = Report::default();
        self.play(trap::NEVER, ROUNDS)?; // first uses
        let whole = self.play(trap::NEVER, ROUNDS)?;
        let stride =
            if cfg!(debug_assertions) { whole.steps.div_ceil(self.case.debug_scenes) } else { 1 };
        // Not the same sample at each capacity.
        let mut at = 1 + (self.case.capacity + 3 * self.case.start) as u64 * 11 % stride;
        while report.held.len() < held_max {
            let played =
                self.play(at..at + 1, ROUNDS).map_err(|wrong| format!("step {at}: {wrong}"))?;
            if played.stops == 0 {
                break;
            }
            report.frozen += 1;
            report.held.extend(played.held);
            report.slept_on += u64::from(played.slept_on);
            at += stride;
        }
        if report.held.is_empty() && !whole.sleeper {
            let often = self.play(1..1 + STOPS_MAX, ROUNDS_OFTEN);
            let often = often.map_err(|wrong| format!("stopped everywhere: {wrong}"))?;
            report.stops = often.stops;
            report.held.extend(often.held);
        }
        Ok(report)
    }

    /// One scene.
    fn play(&self, stops: Range<u64>, rounds: usize) -> Result<Played, String> {
        let stops_max = (stops.end - stops.start) as usize;
        let Scene { end, crew, sleeper } = (self.case.scene)();
        for (post, ends) in self.crew.iter().zip(crew) {
            post.part.lock().begin(ends, rounds, stops_max);
        }
        let said = [(); 2].map(|()| Said(Vec::with_capacity(SAID_MAX)));
        *self.victim.part.lock() = Some(Stage { end, said });
        let mut played = Played { sleeper: sleeper.is_some(), ..Played::default() };
        sleeper.into_iter().for_each(|operation| self.send_to_sleep(operation));
        trap::arm(stops);
        self.victim.order.set(ACT);
        loop {
            match trap::await_victim(PATIENCE) {
                Victim::Finished => break,
                Victim::Astray => give_up(&self.case.name, "the victim does not go on by itself"),
                Victim::Parked => self.stop(&mut played),
            }
        }
        self.victim.order.wait_while(ACT, None);
        played.steps = trap::steps();
        if played.sleeper && !self.sleeper.order.wait_while(ACT, Some(PATIENCE)) {
            give_up(
                &self.case.name,
                "a wake-up was lost: the sleeper sleeps, and has no reason to",
            );
        }
        self.finished();
        if !played.sleeper {
            self.note(Event::Again);
            self.victim.order.set(AGAIN);
            if !self.victim.order.wait_while(AGAIN, Some(PATIENCE)) {
                give_up(&self.case.name, "the victim is stuck in its next call");
            }
            self.finished();
        }
        self.end(&played)?;
        Ok(played)
    }

    /// The victim has come through: how the crew finds the ring now.
    fn finished(&self) {
        self.note(Event::Finished);
        if !self.crew_turn(PATIENCE) {
            give_up(&self.case.name, "the crew is stuck though nobody is frozen");
        }
    }

    fn note(&self, event: Event) {
        self.crew[0].part.lock().note(event);
    }

    /// The victim is parked.
    fn stop(&self, played: &mut Played) {
        played.stops += 1;
        if self.crew_turn(self.case.limit) {
            played.slept_on = played.sleeper && !self.sleeper.order.wait_while(ACT, Some(WAKE_UP));
            trap::thaw();
            return;
        }
        played.held = Some(trap::place());
        trap::disarm();
        trap::thaw();
        let end = Instant::now() + PATIENCE;
        for post in &self.crew {
            let order = post.order.get();
            if order != IDLE && !post.done_by(order, end) {
                give_up(&self.case.name, "the crew does not go on though the victim was thawed");
            }
        }
    }

    /// Both do their part. False if they do not come to its end.
    fn crew_turn(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let [first, second] = &self.crew;
        first.order.set(ALONE);
        if !first.done_by(ALONE, end) {
            return false;
        }
        if first.part.lock().ends.recv.is_none() {
            return true; // nobody could tell in which order two have sent
        }
        first.order.set(TOGETHER);
        second.order.set(TOGETHER);
        if !(first.done_by(TOGETHER, end) && second.done_by(TOGETHER, end)) {
            return false;
        }
        first.order.set(REST);
        first.done_by(REST, end)
    }

    /// The victim's thread.
    fn suffer(&self, order: u32, stage: &mut Option<Stage<E>>) {
        let Stage { end, said } = stage.as_mut().expect("the driver has set the stage");
        let said = &mut said[usize::from(order == AGAIN)];
        let mut survived = true;
        let mut act = || {
            survived = catch_unwind(AssertUnwindSafe(|| (self.case.act)(end, said))).is_ok();
        };
        if order == AGAIN {
            act();
        } else {
            trap::stepped(act);
            trap::finish();
        }
        if !survived {
            said.say(Answer::Panicked);
        }
    }

    /// The sleeper's thread.
    fn sleep(&self, dream: &mut Dream) {
        let operation = dream.operation.take().expect("the driver has said what to do");
        let link =
            || std::fs::read_link("/proc/thread-self").expect("the kernel names its threads");
        self.sleeper_file.get_or_init(|| PathBuf::from("/proc").join(link()).join("stat"));
        self.sleepy.set(1);
        dream.answer = Some(operation());
    }

    /// Has the sleeper do its operation, and waits until the kernel says that it sleeps.
    fn send_to_sleep(&self, operation: Sleeping) {
        *self.sleeper.part.lock() = Dream { operation: Some(operation), answer: None };
        self.sleepy.set(0);
        self.sleeper.order.set(ACT);
        self.sleepy.wait_while(0, None);
        let file = self.sleeper_file.get().expect("it was said before it went to sleep");
        let end = Instant::now() + PATIENCE;
        loop {
            let stat = std::fs::read_to_string(file).expect("the thread is there");
            // "12345 (its name) S ..."
            if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")) {
                return;
            }
            if Instant::now() > end {
                give_up(&self.case.name, "the sleeper does not sleep");
            }
            thread::yield_now();
        }
    }

    /// The scene is over: was all as it may have been?
    fn end(&self, played: &Played) -> Result<(), String> {
        let Stage { mut end, said } = self.victim.part.lock().take().expect("it came back");
        let [mut first, second] = self.crew.each_ref().map(|post| post.part.lock());
        let mut rest = Vec::new();
        while let Answer::Got(value) = (self.case.drain)(&mut end, &mut first.ends) {
            rest.push(value);
        }
        if played.held.is_some() {
            return Ok(()); // told in the report; there is no order in what came after
        }
        let verdict = match played.sleeper {
            true => self.weigh(&said[0], [&first.log, &second.log], &rest),
            false => judge(&Seen {
                world: World::new(self.case.capacity, self.before(), self.case.steps),
                logs: [&first.log, &second.log],
                said: [&said[0].0, &said[1].0],
                rest: &rest,
            }),
        };
        verdict.map_err(|wrong| {
            let (logs, said) = ([&first.log, &second.log], [&said[0].0, &said[1].0]);
            format!("{wrong}\nvictim: {said:?}\ncrew: {logs:?}\nleft: {rest:?}")
        })
    }

    fn before(&self) -> impl Iterator<Item = u64> {
        (0..self.case.start as u64).map(|count| value(BEFORE, count))
    }

    /// With a sleeper about, whose time nobody knows: nothing is lost, doubled or out of order.
    fn weigh(&self, said: &Said, logs: [&[Event]; 2], rest: &[u64]) -> Result<(), &'static str> {
        let slept = self.sleeper.part.lock().answer;
        let sent = |answer: Option<&Answer>| answer == Some(&Answer::Sent);
        let got = |answer: Option<&Answer>| match answer {
            Some(Answer::Got(value)) => vec![*value],
            _ => Vec::new(),
        };
        let [first, second] = logs.map(balance);
        let mut put_in: Vec<u64> = self.before().chain(first.0).chain(second.0).collect();
        put_in.extend(sent(said.0.first()).then_some(value(VICTIM, 0)));
        put_in.extend(sent(slept.as_ref()).then_some(value(SLEEPER, 0)));
        let takers = [first.1, second.1, got(said.0.first()), got(slept.as_ref()), rest.to_vec()];
        conserved(&put_in, &takers)
    }
}

/// Threads that never return cannot be joined, and the run would hang without a word.
fn give_up(case: &str, why: &str) -> ! {
    // Past the test harness, which keeps what is printed until a test ends.
    let _ = writeln!(std::io::stderr(), "{case}: {why}");
    std::process::abort();
}
