//! The two ends of a measured queue: a source that never waits for it, and a server that spins.
//!
//! The source keeps to a schedule drawn before the run. A message that is late goes out at once and the schedule is not
//! moved: else the queue would slow down its own load and hide its delays (coordinated omission). The server stamps,
//! spins on the clock until the drawn service is over, and stamps again. Both note every gap over [`GAP_NS_MIN`]
//! between two clock reads that follow each other: there the machine, not the queue, was at work.
//!
//! # Orderings
//!
//! The stamps are [relaxed]: they are read after the queue was closed and its threads joined, which orders all.
//!
//! # Limits
//!
//! [`DOUBLED_MAX`] services beyond one a message are stamped, all are counted. [`GAPS_MAX`] gaps are kept on either side; more are counted as not kept, and the report says so.

use super::draw::Schedule;
use super::path::Row;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// A gap worth noting, in nanoseconds.
pub const GAP_NS_MIN: u64 = 10_000;
/// Gaps kept on either side.
pub const GAPS_MAX: usize = 1 << 18;
/// Stamped services beyond one a message.
pub const DOUBLED_MAX: usize = 64;
/// From the call of [`Load::offer`] to the start of the schedule, so that all threads are at rest; nanoseconds.
const LEAD_NS: u64 = 20_000_000;

/// What source and server share.
pub struct Load {
    schedule: Schedule,
    origin: Instant,
    starts: Vec<AtomicU64>,
    ends: Vec<AtomicU64>,
    departures: Vec<AtomicU64>,
    departed: AtomicUsize,
    gaps: Vec<AtomicU64>,
    gaps_seen: AtomicUsize,
}

/// What the source saw.
pub struct Offered {
    began_ns: u64,
    arrivals_ns: Vec<u64>,
    accepted: Vec<bool>,
    /// Gaps over [`GAP_NS_MIN`] while it waited for the next moment.
    pub gaps_ns: Vec<u64>,
    pub gaps_not_kept: usize,
    /// How long each publish took, sorted.
    pub publishes_ns: Vec<u64>,
}

/// A finished run; all stamps in nanoseconds since the start of the schedule.
pub struct Run {
    /// Accepted messages in order of arrival.
    pub rows: Vec<Row>,
    /// Ids of the rows; the others were refused.
    pub ids: Vec<usize>,
    /// Id, intended and real time of arrival of each message that was refused.
    pub refused: Vec<(usize, u64, u64)>,
    /// Accepted, and never served.
    pub lost: usize,
    /// Services beyond one a message.
    pub doubled: usize,
    /// Arrivals that the source saw accepted.
    pub arrivals_ns: Vec<u64>,
    /// Services that the server ended, in its order.
    pub departures_ns: Vec<u64>,
    pub server_gaps_ns: Vec<u64>,
    pub server_gaps_not_kept: usize,
    pub source: Offered,
}

impl Load {
    /// All memory of the run, written once so that no page is missing when it counts.
    pub fn new(schedule: Schedule) -> Self {
        let count = schedule.intended_ns.len();
        let touched = |count: usize| (0..count).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self {
            schedule,
            origin: Instant::now(),
            starts: touched(count),
            ends: touched(count),
            departures: touched(count + DOUBLED_MAX),
            departed: AtomicUsize::new(0),
            gaps: touched(GAPS_MAX),
            gaps_seen: AtomicUsize::new(0),
        }
    }

    pub fn messages(&self) -> usize {
        self.schedule.intended_ns.len()
    }

    /// One service: stamp, spin until the drawn time is over, stamp.
    pub fn serve(&self, id: usize) {
        let start_ns = self.now_ns();
        self.starts[id].store(start_ns, Ordering::Relaxed); // [relaxed]
        let deadline_ns = start_ns + self.schedule.drawn_ns[id];
        let mut last_ns = start_ns;
        while last_ns < deadline_ns {
            let now_ns = self.now_ns();
            if now_ns - last_ns > GAP_NS_MIN {
                self.note_gap(now_ns - last_ns);
            }
            last_ns = now_ns;
        }
        self.ends[id].store(last_ns, Ordering::Relaxed); // [relaxed]
        let at = self.departed.fetch_add(1, Ordering::Relaxed); // [relaxed]
        if let Some(cell) = self.departures.get(at) {
            cell.store(last_ns, Ordering::Relaxed); // [relaxed]
        }
    }

    /// Offers every message at its moment. `prepare` runs ahead of the moment, `publish` at it and tells whether the
    /// queue took the message.
    pub fn offer<M>(
        &self,
        mut prepare: impl FnMut(usize) -> M,
        mut publish: impl FnMut(M) -> bool,
    ) -> Offered {
        let count = self.messages();
        let mut seen = Offered {
            began_ns: 0,
            arrivals_ns: vec![1; count],
            accepted: vec![true; count],
            gaps_ns: Vec::with_capacity(GAPS_MAX),
            gaps_not_kept: 0,
            publishes_ns: vec![1; count],
        };
        seen.began_ns = self.now_ns() + LEAD_NS;
        for id in 0..count {
            let message = prepare(id);
            let moment_ns = seen.began_ns + self.schedule.intended_ns[id];
            let arrival_ns = self.await_moment(moment_ns, &mut seen);
            seen.accepted[id] = publish(message);
            seen.arrivals_ns[id] = arrival_ns;
            seen.publishes_ns[id] = self.now_ns() - arrival_ns;
        }
        seen.publishes_ns.sort_unstable();
        seen
    }

    /// The rows, once the queue is closed and its threads are gone.
    pub fn finish(&self, source: Offered) -> Run {
        let kept = self.gaps_seen.load(Ordering::Relaxed); // [relaxed]
        let gaps = self.gaps[..kept.min(GAPS_MAX)].iter();
        let mut run = Run {
            rows: Vec::with_capacity(self.messages()),
            ids: Vec::with_capacity(self.messages()),
            refused: Vec::new(),
            lost: 0,
            doubled: 0,
            arrivals_ns: Vec::with_capacity(self.messages()),
            departures_ns: Vec::new(),
            server_gaps_ns: gaps.map(|gap| gap.load(Ordering::Relaxed)).collect(), // [relaxed]
            server_gaps_not_kept: kept.saturating_sub(GAPS_MAX),
            source,
        };
        let since_began = |stamp_ns: u64| stamp_ns.saturating_sub(run.source.began_ns);
        for id in 0..self.messages() {
            let end_ns = self.ends[id].load(Ordering::Relaxed); // [relaxed]
            let start_ns = self.starts[id].load(Ordering::Relaxed); // [relaxed]
            let row = Row {
                intended_ns: self.schedule.intended_ns[id],
                arrival_ns: since_began(run.source.arrivals_ns[id]),
                start_ns: since_began(start_ns),
                end_ns: since_began(end_ns),
                drawn_ns: self.schedule.drawn_ns[id],
            };
            if run.source.accepted[id] {
                run.arrivals_ns.push(row.arrival_ns);
            }
            match (run.source.accepted[id], end_ns) {
                (false, _) => run.refused.push((id, row.intended_ns, row.arrival_ns)),
                (true, u64::MAX) => run.lost += 1,
                (true, _) => {
                    run.ids.push(id);
                    run.rows.push(row);
                }
            }
        }
        let departed = self.departed.load(Ordering::Relaxed); // [relaxed]
        let ends = self.departures.iter().take(departed);
        let stamp = |end: &AtomicU64| since_began(end.load(Ordering::Relaxed)); // [relaxed]
        run.departures_ns = ends.map(stamp).collect();
        run.doubled = departed - run.rows.len();
        run
    }

    /// Spins until the moment; answers the clock read that was not before it.
    fn await_moment(&self, moment_ns: u64, seen: &mut Offered) -> u64 {
        let mut last_ns = self.now_ns();
        while last_ns < moment_ns {
            let now_ns = self.now_ns();
            if now_ns - last_ns > GAP_NS_MIN {
                match seen.gaps_ns.len() < GAPS_MAX {
                    true => seen.gaps_ns.push(now_ns - last_ns),
                    false => seen.gaps_not_kept += 1,
                }
            }
            last_ns = now_ns;
        }
        last_ns
    }

    #[cold]
    fn note_gap(&self, gap_ns: u64) {
        let at = self.gaps_seen.fetch_add(1, Ordering::Relaxed); // [relaxed]
        if let Some(cell) = self.gaps.get(at) {
            cell.store(gap_ns, Ordering::Relaxed); // [relaxed]
        }
    }

    /// Nanoseconds since this load was made: `CLOCK_MONOTONIC` on Linux.
    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}
