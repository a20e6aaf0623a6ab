//! The two ends of a measured queue: a source that never waits for it, and servers that spin or sleep.
//!
//! ```text
//!   source   prepare the message | wait for its moment, reading the clock | publish | store the stamps
//!                                                 last read = arrival ^
//!   server   take | read the clock = start | wait until start + draw, reading the clock | store the stamps | settle
//!                                                                      last read = end ^
//! ```
//!
//! The source keeps to a schedule drawn before the run. A message that is late goes out at once and the schedule is not
//! moved: else the queue would slow down its own load and hide its delays (coordinated omission).
//!
//! All memory of a run is taken and written to before it: a thread appends to a list of its own, and the schedule is only
//! read. No line of memory is written by two threads, but for the number of messages offered, which the source stores
//! and the caller reads five times a second.
//!
//! Whoever waits reads the clock all the time, and notes every gap over [`GAP_NS_MIN`] between two reads that follow each
//! other: there the machine, not the queue, was at work. Nothing is left out: the sums go on where the list of single gaps
//! is full. A sleep ends [`AWAKE_NS`] before its time is up, and the rest is spun; how late it ended is noted, and
//! only what it was later than the time itself counts as a gap.
//!
//! # Orderings
//!
//! All are \[relaxed\]: stamps are handed over by joining threads, the others are single numbers which say nothing of
//! other memory.
//!
//! # Limits
//!
//! [`GAPS_MAX`] single gaps a list. A gap that begins and ends between taking a message and the first read of the clock,
//! or inside a publish, is seen in the hand-off, or in the publish, and not here. A parked server's sleep is no gap.

use super::host::{monotonic_ns, sleep_until_ns};
use super::judgement::Stalls;
use super::run::Gap;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// A gap worth noting, in nanoseconds.
pub(super) const GAP_NS_MIN: u64 = 10_000;
/// Gaps kept one by one, in each list.
pub(super) const GAPS_MAX: usize = 1 << 16;
/// A sleep ends so long before its time is up: three times what a virtual machine's wake-up takes.
pub(super) const AWAKE_NS: u64 = 60_000;
/// From the end of the warm-up to the first moment of the schedule: all threads are at rest then.
const LEAD_NS: u64 = 20_000_000;
/// An idle server that spins reads the clock once in so many looks at the queue: a read costs as much as some looks.
const LOOKS_PER_READ: u32 = 4;
/// The schedule has not begun.
const NOT_YET: u64 = u64::MAX;

/// There is no memory for a run.
#[derive(Debug)]
pub(super) struct NoMemory;

/// An empty list with room for `capacity` values, of which `touched` are in memory already.
fn list<T: Copy>(capacity: usize, touched: usize, filler: T) -> Result<Vec<T>, NoMemory> {
    let mut list = Vec::new();
    list.try_reserve_exact(capacity).map_err(|_| NoMemory)?;
    list.resize(touched.min(capacity), filler);
    // The compiler is not to find out that nobody reads what was written.
    std::hint::black_box(list.as_mut_slice());
    list.clear();
    Ok(list)
}

/// What all threads of a run share: the schedule, and where it stands.
#[derive(Debug)]
pub(super) struct Course {
    /// When each message is meant to arrive, since the beginning.
    pub(super) intended_ns: Vec<u64>,
    /// Do source and servers sleep while there is time?
    pub(super) sleeps: bool,
    began_ns: CachePadded<AtomicU64>,
    offered: CachePadded<AtomicU64>,
    abandoned: CachePadded<AtomicBool>,
}

impl Course {
    pub(super) fn new(intended_ns: Vec<u64>, sleeps: bool) -> Self {
        Self {
            intended_ns,
            sleeps,
            began_ns: CachePadded::new(AtomicU64::new(NOT_YET)),
            offered: CachePadded::default(),
            abandoned: CachePadded::default(),
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.intended_ns.len()
    }

    /// When the schedule began; none before that.
    pub(super) fn began_ns(&self) -> Option<u64> {
        let began_ns = self.began_ns.load(Ordering::Relaxed); // [relaxed]
        (began_ns != NOT_YET).then_some(began_ns)
    }

    /// How many messages were offered.
    pub(super) fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed) // [relaxed]
    }

    /// The servers are to go, whatever is left.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed); // [relaxed]
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) // [relaxed]
    }
}

/// Gaps between reads of the clock.
#[derive(Debug)]
pub(super) struct GapList {
    /// The first of them.
    pub(super) kept: Vec<Gap>,
    count: u64,
    total_ns: u128,
    max_ns: u64,
    square_ns2: u128,
}

impl GapList {
    fn new() -> Result<Self, NoMemory> {
        let kept = list(GAPS_MAX, GAPS_MAX, Gap { at_ns: 1, length_ns: 1 })?;
        Ok(Self { kept, count: 0, total_ns: 0, max_ns: 0, square_ns2: 0 })
    }

    /// The clock showed `now_ns`, and before that `last_ns`.
    #[inline]
    fn look(&mut self, course: &Course, last_ns: u64, now_ns: u64) {
        if now_ns.saturating_sub(last_ns) > GAP_NS_MIN {
            self.note(course, last_ns, now_ns);
        }
    }

    #[cold]
    fn note(&mut self, course: &Course, last_ns: u64, now_ns: u64) {
        let Some(began_ns) = course.began_ns().filter(|began_ns| *began_ns < now_ns) else {
            return; // before the run
        };
        let length_ns = now_ns - last_ns;
        let wide = u128::from(length_ns);
        self.count += 1;
        self.total_ns += wide;
        self.square_ns2 = self.square_ns2.saturating_add(wide * wide);
        self.max_ns = self.max_ns.max(length_ns);
        if self.kept.len() < GAPS_MAX {
            self.kept.push(Gap { at_ns: now_ns - began_ns, length_ns });
        }
    }

    /// The sums; of all gaps, kept or not.
    pub(super) fn stalls(&self) -> Stalls {
        Stalls {
            count: self.count,
            not_kept: self.count - self.kept.len() as u64,
            total_s: self.total_ns as f64 * 1e-9,
            max_s: self.max_ns as f64 * 1e-9,
            square_s2: self.square_ns2 as f64 * 1e-18,
        }
    }
}

/// Waits for moments, and notes what went wrong.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) gaps: GapList,
    /// How late each sleep ended, in nanoseconds; empty for one who spins.
    pub(super) overshoot_ns: Vec<u32>,
}

impl Watch {
    fn new(sleeps: usize, touched: usize) -> Result<Self, NoMemory> {
        Ok(Self { gaps: GapList::new()?, overshoot_ns: list(sleeps, touched, 1)? })
    }

    /// Waits until the clock shows `moment_ns`; it has just shown `last_ns`. The read that was not before the moment.
    #[inline]
    fn until(&mut self, course: &Course, moment_ns: u64, mut last_ns: u64) -> u64 {
        if course.sleeps && last_ns.saturating_add(AWAKE_NS) < moment_ns {
            last_ns = self.sleep(course, moment_ns);
        }
        while last_ns < moment_ns {
            let now_ns = monotonic_ns();
            self.gaps.look(course, last_ns, now_ns);
            last_ns = now_ns;
        }
        last_ns
    }

    /// Sleeps until shortly before `moment_ns`; what the clock shows then.
    #[inline(never)]
    fn sleep(&mut self, course: &Course, moment_ns: u64) -> u64 {
        let until_ns = moment_ns - AWAKE_NS;
        sleep_until_ns(until_ns);
        let now_ns = monotonic_ns();
        if self.overshoot_ns.len() < self.overshoot_ns.capacity() && course.began_ns().is_some() {
            let late_ns = now_ns.saturating_sub(until_ns);
            self.overshoot_ns.push(u32::try_from(late_ns).unwrap_or(u32::MAX));
        }
        self.gaps.look(course, moment_ns.min(now_ns), now_ns);
        now_ns
    }
}

/// What the source notes of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) arrival_ns: u64,
    /// How long the publish took; 4 s and more count as that.
    pub(super) publish_ns: u32,
    pub(super) accepted: bool,
}

/// The source's own memory.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) offers: Vec<Offer>,
    pub(super) watch: Watch,
}

impl Source {
    pub(super) fn new(course: &Course) -> Result<Self, NoMemory> {
        let count = course.messages();
        let sleeps = if course.sleeps { count } else { 0 };
        let filler = Offer { arrival_ns: 1, publish_ns: 1, accepted: true };
        Ok(Self { offers: list(count, count, filler)?, watch: Watch::new(sleeps, sleeps)? })
    }

    /// Offers every message at its moment. `prepare` runs ahead of the moment; `publish` at it, and tells whether the
    /// queue took the message. Its error ends the run.
    pub(super) fn offer<M, E>(
        &mut self,
        course: &Course,
        prepare: impl Fn(u64) -> M,
        publish: impl Fn(M) -> Result<bool, E>,
    ) -> Result<(), (u64, E)> {
        let began_ns = monotonic_ns() + LEAD_NS;
        course.began_ns.store(began_ns, Ordering::Relaxed); // [relaxed]
        let mut last_ns = monotonic_ns();
        for (id, intended_ns) in (0_u64..).zip(&course.intended_ns) {
            let message = prepare(id);
            let now_ns = monotonic_ns();
            self.watch.gaps.look(course, last_ns, now_ns);
            let arrival_ns = self.watch.until(course, began_ns + intended_ns, now_ns);
            let accepted = publish(message).map_err(|error| (id, error))?;
            last_ns = monotonic_ns();
            let publish_ns = u32::try_from(last_ns - arrival_ns).unwrap_or(u32::MAX);
            self.offers.push(Offer { arrival_ns, publish_ns, accepted }); // there is room for all
            course.offered.store(id + 1, Ordering::Relaxed); // [relaxed]
        }
        Ok(())
    }
}

/// What a server notes of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) id: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// A server's own memory.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) services: Vec<Service>,
    /// Services that did not fit into the list: more than there are messages.
    pub(super) beyond: u64,
    /// While it serves.
    pub(super) watch: Watch,
    /// While it is idle and spins.
    pub(super) idle: GapList,
    last_id: u64,
}

/// What a server shares with nobody but by reading: how long each message is to be served.
#[derive(Debug)]
pub(super) struct Draws(pub(super) Vec<u64>);

impl Server {
    /// One of `servers`. It may serve all messages, and has the memory for its share twice over touched.
    pub(super) fn new(course: &Course, servers: usize) -> Result<Self, NoMemory> {
        let count = course.messages();
        let share = count.min(count / servers * 2 + 1_000);
        let filler = Service { id: 1, start_ns: 1, end_ns: 1 };
        let (sleeps, touched) = if course.sleeps { (count, share) } else { (0, 0) };
        Ok(Self {
            services: list(count, share, filler)?,
            beyond: 0,
            watch: Watch::new(sleeps, touched)?,
            idle: GapList::new()?,
            last_id: 0,
        })
    }

    /// Serves the message `id`, taken when the clock showed `start_ns`; answers the read of the clock that ended it. No
    /// message of the schedule is one of the warm-up, and takes no time.
    #[inline]
    pub(super) fn serve(&mut self, course: &Course, draws: &Draws, id: u64, start_ns: u64) -> u64 {
        let drawn_ns = usize::try_from(id).ok().and_then(|at| draws.0.get(at));
        let Some(drawn_ns) = drawn_ns else { return start_ns };
        let end_ns = self.watch.until(course, start_ns + drawn_ns, start_ns);
        match self.services.len() < self.services.capacity() {
            true => self.services.push(Service { id, start_ns, end_ns }),
            false => self.beyond += 1,
        }
        end_ns
    }

    /// The id whose last bits are `ticket`: the one nearest to the last.
    #[inline]
    pub(super) fn whole_id(&mut self, ticket: u64) -> u64 {
        if ticket >= TICKETS {
            return u64::MAX; // of the warm-up
        }
        const UNUSED_BITS: u32 = u64::BITS - TICKETS.trailing_zeros();
        // The difference's last bits, as a number with a sign.
        let ahead = (ticket.wrapping_sub(self.last_id) << UNUSED_BITS) as i64 >> UNUSED_BITS;
        self.last_id = self.last_id.wrapping_add_signed(ahead);
        self.last_id
    }
}

/// Ids are written into payloads by their last bits, so that all payloads that there may be are in memory before the run.
/// Two messages of one server's next two services are never half as far apart.
pub(super) const TICKETS: u64 = 1 << 20;
const _: () = assert!(TICKETS.is_power_of_two());
const _: () = assert!(TICKETS / 2 > super::experiment::CAPACITY_MAX);

/// What a server's end of a queue has.
pub(super) enum Next<T> {
    Message(T),
    Nothing,
    /// Nothing, and nothing will come.
    Over,
}

/// A server's end of a queue.
pub(super) trait End {
    /// A message in the server's hands.
    type Taken;
    /// What may go wrong with it.
    type Error;
    /// Takes a message, if there is one.
    fn look(&mut self) -> Result<Next<Self::Taken>, Self::Error>;
    /// Sleeps until there is a message; none when nothing will come.
    fn wait(&mut self) -> Result<Option<Self::Taken>, Self::Error>;
    /// Which one it is. Asked after the clock was read.
    fn id(server: &mut Server, taken: &Self::Taken) -> u64;
    /// It was served.
    fn settle(&mut self, taken: Self::Taken) -> Result<(), Self::Error>;
}

/// Serves until nothing will come, spinning on the queue when idle. `taken` hears of each message.
pub(super) fn serve_spinning<E: End>(
    course: &Course,
    draws: &Draws,
    server: &mut Server,
    mut end: E,
    taken: &AtomicU64,
) -> Result<(), E::Error> {
    let mut last_ns = monotonic_ns();
    while !course.is_abandoned() {
        let mut looks = 0_u32;
        let message = loop {
            match end.look()? {
                Next::Message(message) => break message,
                Next::Over => return Ok(()),
                Next::Nothing => looks = looks.wrapping_add(1),
            }
            if looks.is_multiple_of(LOOKS_PER_READ) {
                let now_ns = monotonic_ns();
                server.idle.look(course, last_ns, now_ns);
                last_ns = now_ns;
                if course.is_abandoned() {
                    return Ok(());
                }
            }
        };
        let start_ns = monotonic_ns();
        let gaps = if looks == 0 { &mut server.watch.gaps } else { &mut server.idle };
        gaps.look(course, last_ns, start_ns);
        let id = E::id(server, &message);
        last_ns = server.serve(course, draws, id, start_ns);
        end.settle(message)?;
        note_taken(course, taken);
    }
    Ok(())
}

/// Serves until nothing will come, asleep when idle.
pub(super) fn serve_parking<E: End>(
    course: &Course,
    draws: &Draws,
    server: &mut Server,
    mut end: E,
    taken: &AtomicU64,
) -> Result<(), E::Error> {
    while let Some(message) = end.wait()? {
        let start_ns = monotonic_ns();
        let id = E::id(server, &message);
        server.serve(course, draws, id, start_ns);
        end.settle(message)?;
        note_taken(course, taken);
    }
    Ok(())
}

/// Counts what came through before the run; in the run that is nobody's business.
#[inline]
pub(super) fn note_taken(course: &Course, taken: &AtomicU64) {
    if course.began_ns().is_none() {
        taken.fetch_add(1, Ordering::Relaxed); // [relaxed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(intended_ns: Vec<u64>, sleeps: bool) -> Course {
        let course = Course::new(intended_ns, sleeps);
        course.began_ns.store(0, Ordering::Relaxed); // [relaxed] one thread
        course
    }

    #[test]
    fn the_sums_of_the_gaps_go_on_where_the_list_is_full() {
        let (course, mut gaps) = (course(vec![], false), GapList::new().unwrap());
        let more = 1_000;
        for at in 0..(GAPS_MAX + more) as u64 {
            gaps.look(&course, at, at + GAP_NS_MIN); // not over it
            gaps.look(&course, at, at + 20_000);
        }
        gaps.look(&course, 0, 50_000);
        let (count, stalls) = ((GAPS_MAX + more + 1) as u64, gaps.stalls());
        assert_eq!((stalls.count, stalls.not_kept), (count, more as u64 + 1));
        let (short_s, long_s) = (2e-5, 5e-5);
        let others = (count - 1) as f64;
        assert!((stalls.total_s - (others * short_s + long_s)).abs() < 1e-12);
        assert!((stalls.square_s2 - (others * short_s * short_s + long_s * long_s)).abs() < 1e-15);
        assert_eq!(stalls.max_s, long_s);
        assert_eq!(gaps.kept[1], Gap { at_ns: 20_001, length_ns: 20_000 });
    }

    #[test]
    fn a_gap_before_the_run_is_none_of_it() {
        let (course, mut gaps) = (Course::new(vec![], false), GapList::new().unwrap());
        gaps.look(&course, 0, 1_000_000);
        course.began_ns.store(2_000_000, Ordering::Relaxed); // [relaxed] one thread
        gaps.look(&course, 0, 1_500_000);
        assert_eq!(gaps.stalls().count, 0);
        gaps.look(&course, 1_500_000, 2_500_000);
        assert_eq!(gaps.stalls().count, 1);
    }

    #[test]
    fn a_wait_ends_at_its_moment_and_never_before_it() {
        for sleeps in [false, true] {
            let (course, mut watch) = (course(vec![], sleeps), Watch::new(1, 1).unwrap());
            let now_ns = monotonic_ns();
            let end_ns = watch.until(&course, now_ns + 300_000, now_ns);
            assert!(end_ns >= now_ns + 300_000);
            assert_eq!(watch.overshoot_ns.len(), usize::from(sleeps));
            assert_eq!(watch.until(&course, now_ns, end_ns), end_ns, "a moment that has passed");
        }
    }

    /// Promise: a message that is late does not move those after it.
    ///
    /// Method: the first publish takes so long that three are late; a moved schedule would have the last one later by that
    /// much, in every try. In one of some tries nothing else holds up an honest source for as long.
    #[test]
    fn a_late_source_sends_at_once_and_does_not_move_its_schedule() {
        const LATE_NS: u64 = 20_000_000;
        let last_ns = LATE_NS + 5_000_000;
        let publish = |id: u64| {
            if id == 0 {
                sleep_until_ns(monotonic_ns() + LATE_NS);
            }
            Ok::<_, ()>(id != 2)
        };
        let in_time = |_| {
            let course = Course::new(vec![0, 1, 2, last_ns], false);
            let mut source = Source::new(&course).unwrap();
            source.offer(&course, |id| id, publish).unwrap();
            let began_ns = course.began_ns().unwrap();
            let since: Vec<u64> = source.offers.iter().map(|o| o.arrival_ns - began_ns).collect();
            assert!(since.is_sorted());
            assert!(since[1] >= LATE_NS && since[3] >= last_ns);
            assert!(source.offers.iter().map(|o| o.accepted).eq([true, true, false, true]));
            assert!(u64::from(source.offers[0].publish_ns) >= LATE_NS);
            assert_eq!(course.offered(), 4);
            since[3] < last_ns + LATE_NS
        };
        assert!((0..20).any(in_time));
    }

    #[test]
    fn a_failed_publish_ends_the_offer_and_says_which() {
        let course = Course::new(vec![0, 0, 0], false);
        let mut source = Source::new(&course).unwrap();
        let publish = |id| if id < 1 { Ok(true) } else { Err("no") };
        assert_eq!(source.offer(&course, |id| id, publish), Err((1, "no")));
    }

    #[test]
    fn a_service_lasts_as_long_as_was_drawn_and_the_list_never_grows() {
        let course = course(vec![0], false);
        let mut server = Server::new(&course, 1).unwrap();
        let draws = Draws(vec![50_000]);
        for _ in 0..3 {
            let start_ns = monotonic_ns();
            assert!(server.serve(&course, &draws, 0, start_ns) >= start_ns + 50_000);
        }
        assert_eq!((server.services.len(), server.beyond), (1, 2));
        assert_eq!(server.serve(&course, &draws, u64::MAX, 7), 7, "of the warm-up");
    }

    #[test]
    fn an_id_is_known_by_its_last_bits() {
        let mut server = Server::new(&course(vec![0], false), 1).unwrap();
        let ids = [0, 1, 400_000, 900_000, TICKETS, TICKETS - 1, TICKETS + 7, TICKETS + 500_000];
        for id in ids.into_iter().chain([2 * TICKETS - 90_000, 2 * TICKETS + 5]) {
            assert_eq!(server.whole_id(id % TICKETS), id);
        }
        assert_eq!(server.whole_id(u64::MAX), u64::MAX);
        assert_eq!(server.whole_id(6), 2 * TICKETS + 6, "a warm-up changes nothing");
    }
}
