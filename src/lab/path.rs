//! What a perfect queue would have made of the same arrivals and services, and what the engine was later than that.
//!
//! | queue | message i leaves at |
//! |---|---|
//! | one server | `D_i = max(A_i, D_(i-1)) + S_i` |
//! | c servers | `max(A_i, earliest free time) + S_i`, the free times in a heap of c |
//! | at most K in the system | as above, if fewer than K are there at `A_i`; else it is refused |
//! | classes | the first of the highest class that waits when the server is free; what is served is not interrupted |
//! | tandem | what the first stage lets go arrives at the second at once |
//!
//! First come, first served makes `D_i` the earliest possible departure: a real queue that keeps the order is never ahead of
//! it (by induction: its server is free no earlier, its message there no earlier). There is no chance in the difference.
//!
//! A hand-off is the time from a message's turn (it is there, and a server is free of its predecessor) to the start of its
//! service: busy, if it had to wait for its turn, and idle, from rest, if it had not.
//!
//! Source: D. V. Lindley 1952; J. Kiefer and J. Wolfowitz 1955; J. D. C. Little 1961.

use super::event::{Event, Served};
use super::judgement::{Count, HandOffs, Histogram, Little, OwnPath, Quantiles};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A hand-off longer than this is an absence: the server slept, or the machine had taken it away.
pub const ABSENCE_NS_MIN: u64 = 10_000;
/// Steps of a histogram in each decade.
const STEPS_PER_DECADE: u32 = 10;
/// The decades of a histogram, from 10 ns to 10 s.
const DECADES: u32 = 9;

/// When a message came and how long it was served, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// When it came.
    pub at_ns: u64,
    /// How long it is served.
    pub service_ns: u64,
}

/// The servers of a queue by the times from which they are free.
struct Servers(BinaryHeap<Reverse<u64>>);

impl Servers {
    fn new(servers: u32) -> Self {
        Self((0..servers).map(|_| Reverse(0)).collect())
    }

    /// From when the first of them is free.
    fn free_ns(&self) -> u64 {
        self.0.peek().map_or(0, |free| free.0)
    }

    /// The first of them works until then.
    fn occupy(&mut self, until_ns: u64) {
        if let Some(mut first) = self.0.peek_mut() {
            *first = Reverse(until_ns);
        }
    }

    fn serve(&mut self, demand: Demand) -> u64 {
        let end_ns = self.free_ns().max(demand.at_ns) + demand.service_ns;
        self.occupy(end_ns);
        end_ns
    }
}

/// When each message leaves c perfect servers, first come, first served.
pub fn departures(demands: impl Iterator<Item = Demand>, servers: u32) -> Vec<u64> {
    let mut servers = Servers::new(servers);
    demands.map(|demand| servers.serve(demand)).collect()
}

/// The same where at most `capacity` are in the system: none for a message that is refused.
pub fn departures_within(
    demands: impl Iterator<Item = Demand>,
    servers: u32,
    capacity: u64,
) -> Vec<Option<u64>> {
    let (mut servers, mut inside) = (Servers::new(servers), BinaryHeap::new());
    let admit = |demand: Demand| {
        while inside.peek().is_some_and(|end: &Reverse<u64>| end.0 <= demand.at_ns) {
            inside.pop();
        }
        ((inside.len() as u64) < capacity).then(|| {
            let end_ns = servers.serve(demand);
            inside.push(Reverse(end_ns));
            end_ns
        })
    };
    demands.map(admit).collect()
}

/// When each message leaves one perfect server that takes the highest class first (0) and interrupts nothing.
pub fn departures_by_class(demands: &[(Demand, u8)]) -> Vec<u64> {
    let mut waiting: Vec<VecDeque<usize>> = vec![VecDeque::new(); usize::from(u8::MAX) + 1];
    let mut ends = vec![0; demands.len()];
    let (mut next, mut free_ns) = (0, 0);
    for _ in 0..demands.len() {
        loop {
            let arrived = demands.get(next).filter(|(demand, _)| demand.at_ns <= free_ns);
            let Some((_, class)) = arrived else { break };
            waiting[usize::from(*class)].push_back(next);
            next += 1;
        }
        let first = waiting.iter_mut().find_map(VecDeque::pop_front);
        // From rest: the next to come is the next to be served.
        let at = first.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let (demand, _) = demands[at];
        free_ns = free_ns.max(demand.at_ns) + demand.service_ns;
        ends[at] = free_ns;
    }
    ends
}

/// A message that was served, with its row.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// The row.
    pub event: Event,
    /// Its stamps.
    pub served: Served,
}

impl Stay {
    /// From the arrival to the end, in nanoseconds.
    pub fn sojourn_ns(&self) -> u64 {
        self.served.end_ns - self.event.arrival_ns
    }
}

/// The rows that were served, in order of arrival.
pub fn stays(events: &[Event]) -> impl Iterator<Item = Stay> + '_ {
    events.iter().filter_map(|event| event.served.map(|served| Stay { event: *event, served }))
}

/// How the servers choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// First come, first served, by so many servers.
    Fifo(u32),
    /// One server, the highest class first.
    Classes,
}

/// The path of a run: for each served message, in order of arrival, when a perfect queue would have let it go.
pub fn own_departures(events: &[Event], order: Order, absences: Option<&[u64]>) -> Vec<u64> {
    let away =
        |at: usize| absences.map_or(0, |all| if all[at] > ABSENCE_NS_MIN { all[at] } else { 0 });
    let demand = |(at, stay): (usize, Stay)| Demand {
        at_ns: stay.event.arrival_ns,
        service_ns: stay.served.service_ns() + away(at),
    };
    let demands = stays(events).enumerate().map(demand);
    match order {
        Order::Fifo(servers) => departures(demands, servers),
        Order::Classes => {
            let classes = stays(events).map(|stay| stay.event.class.unwrap_or(0));
            departures_by_class(&demands.zip(classes).collect::<Vec<_>>())
        }
    }
}

/// The hand-offs of the served messages, in order of arrival, and whether each was from rest.
pub struct Turns {
    /// From turn to start, in nanoseconds.
    pub hand_off_ns: Vec<u64>,
    /// Was a server free when it came?
    pub from_rest: Vec<bool>,
}

impl Turns {
    /// Servers are taken in the order in which services began: with classes that is not the order of arrival.
    pub fn of(events: &[Event], order: Order) -> Self {
        let stays: Vec<Stay> = stays(events).collect();
        let mut begun: Vec<usize> = (0..stays.len()).collect();
        let mut servers = Servers::new(match order {
            Order::Fifo(servers) => servers,
            Order::Classes => 1,
        });
        if order == Order::Classes {
            begun.sort_by_key(|at| stays[*at].served.start_ns);
        }
        let mut turns =
            Self { hand_off_ns: vec![0; stays.len()], from_rest: vec![false; stays.len()] };
        for at in begun {
            let Stay { event, served } = stays[at];
            let free_ns = servers.free_ns();
            turns.hand_off_ns[at] = served.start_ns.saturating_sub(free_ns.max(event.arrival_ns));
            turns.from_rest[at] = free_ns <= event.arrival_ns;
            servers.occupy(served.end_ns);
        }
        turns
    }

    /// Both kinds apart, with their distributions.
    pub fn hand_offs(&self) -> HandOffs {
        let pick = |rest: bool| {
            let both = self.hand_off_ns.iter().zip(&self.from_rest);
            let mut picked: Vec<u64> =
                both.filter(|(_, from_rest)| **from_rest == rest).map(|(ns, _)| *ns).collect();
            picked.sort_unstable();
            picked
        };
        let (busy, idle) = (pick(false), pick(true));
        HandOffs {
            busy: Quantiles::of_sorted(&busy),
            idle: Quantiles::of_sorted(&idle),
            busy_histogram: Histogram::of_sorted(&busy),
            idle_histogram: Histogram::of_sorted(&idle),
        }
    }
}

/// The engine against its path; `None` if nothing was served, or all in no time.
pub fn own_path(events: &[Event], order: Order, path: &[u64], turns: &Turns) -> Option<OwnPath> {
    let sojourns = stays(events).map(|stay| stay.sojourn_ns());
    let measured_s = mean_s(sojourns)?;
    let mean_of = |ends: &[u64]| {
        mean_s(stays(events).zip(ends).map(|(stay, end_ns)| end_ns - stay.event.arrival_ns))
    };
    let perfect_s = mean_of(path).filter(|mean_s| *mean_s > 0.0)?;
    let absent_s = mean_of(&own_departures(events, order, Some(&turns.hand_off_ns)))?;
    let mut residual: Vec<u64> = Vec::with_capacity(path.len());
    let mut early = 0;
    for (stay, end_ns) in stays(events).zip(path) {
        early += u64::from(stay.served.end_ns < *end_ns);
        residual.push(stay.served.end_ns.saturating_sub(*end_ns));
    }
    residual.sort_unstable();
    Some(OwnPath {
        sojourn_mean_s: measured_s,
        perfect_mean_s: perfect_s,
        ratio: measured_s / perfect_s,
        ratio_without_absences: measured_s / absent_s,
        ratio_to_draws: None,
        residual: Quantiles::of_sorted(&residual),
        early,
        at_once_max: at_once_max(events),
    })
}

/// The most services at one time. A service that ends when another starts is not at the same time.
fn at_once_max(events: &[Event]) -> u32 {
    let mut starts: Vec<u64> = stays(events).map(|stay| stay.served.start_ns).collect();
    let mut ends: Vec<u64> = stays(events).map(|stay| stay.served.end_ns).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut ended, mut most) = (0, 0);
    for (begun, start_ns) in starts.iter().enumerate() {
        while ended < begun && ends[ended] <= *start_ns {
            ended += 1;
        }
        most = most.max(begun + 1 - ended);
    }
    most as u32
}

/// The path of what was asked for: intended arrivals and drawn services, refusals and classes as the law has them. For
/// each row that it accepts, the sojourn in nanoseconds; `None` without draws.
pub fn drawn_sojourns(
    events: &[Event],
    order: Order,
    capacity: Option<u64>,
) -> Option<Vec<Option<u64>>> {
    let demands: Option<Vec<Demand>> = events
        .iter()
        .map(|event| Some(Demand { at_ns: event.intended_ns, service_ns: event.drawn_ns? }))
        .collect();
    let demands = demands?;
    let ends: Vec<Option<u64>> = match (order, capacity) {
        (Order::Fifo(servers), Some(capacity)) => {
            departures_within(demands.iter().copied(), servers, capacity)
        }
        (Order::Fifo(servers), None) => {
            departures(demands.iter().copied(), servers).into_iter().map(Some).collect()
        }
        (Order::Classes, _) => {
            let classes = events.iter().map(|event| event.class.unwrap_or(0));
            let all: Vec<(Demand, u8)> = demands.iter().copied().zip(classes).collect();
            departures_by_class(&all).into_iter().map(Some).collect()
        }
    };
    let sojourn =
        |(end_ns, demand): (Option<u64>, &Demand)| end_ns.map(|end_ns| end_ns - demand.at_ns);
    Some(ends.into_iter().zip(&demands).map(sojourn).collect())
}

/// The number in the system over time: what goes in and what comes out, without asking which message it is.
pub struct Crowd {
    /// Ends of services, sorted.
    ends_ns: Vec<u64>,
}

impl Crowd {
    /// From the ends of all that was served.
    pub fn of(events: &[Event]) -> Self {
        let mut ends_ns: Vec<u64> = stays(events).map(|stay| stay.served.end_ns).collect();
        // Nearly sorted already: one server's ends are.
        ends_ns.sort();
        Self { ends_ns }
    }

    /// Calls `with(row, found)` for each row, refused ones too: how many were in the system when it came.
    pub fn found(&self, events: &[Event], mut with: impl FnMut(usize, u64)) {
        let (mut entered, mut left) = (0_usize, 0);
        for (row, event) in events.iter().enumerate() {
            while left < entered && self.ends_ns[left] <= event.arrival_ns {
                left += 1;
            }
            with(row, (entered - left) as u64);
            entered += usize::from(event.served.is_some());
        }
    }

    /// Calls `with(row, n, ns)` for each stretch with n in the system, `row` the last that came before it. Ends with the
    /// last end, when the system is empty again.
    pub fn stretches(&self, events: &[Event], mut with: impl FnMut(usize, u64, u64)) {
        let (mut inside, mut left, mut now_ns) = (0_u64, 0, 0);
        for (row, event) in events.iter().enumerate() {
            let until_ns = event.arrival_ns;
            while inside > 0 && self.ends_ns[left] <= until_ns {
                with(row.saturating_sub(1), inside, self.ends_ns[left] - now_ns);
                (now_ns, left, inside) = (self.ends_ns[left], left + 1, inside - 1);
            }
            with(row.saturating_sub(1), inside, until_ns - now_ns);
            now_ns = until_ns;
            inside += u64::from(event.served.is_some());
        }
        for end_ns in &self.ends_ns[left..] {
            with(events.len() - 1, inside, end_ns - now_ns);
            (now_ns, inside) = (*end_ns, inside - 1);
        }
    }

    /// Both sides of Little's law, from the first arrival to the last end: the system is empty at both.
    pub fn little(&self, events: &[Event]) -> Little {
        let mut area = 0_i128;
        self.stretches(events, |_, inside, ns| area += i128::from(inside) * i128::from(ns));
        let stays = stays(events).map(|stay| i128::from(stay.sojourn_ns()));
        Little { area, sojourns: stays.sum() }
    }
}

/// Mean of whole nanoseconds, in seconds; `None` if there are none.
pub fn mean_s(values_ns: impl Iterator<Item = u64>) -> Option<f64> {
    let (sum, count) =
        values_ns.fold((0_u128, 0_u64), |(sum, count), ns| (sum + u128::from(ns), count + 1));
    (count > 0).then(|| sum as f64 * 1e-9 / count as f64)
}

impl Quantiles {
    /// Of values in rising order. A quantile is the smallest value that so many of 100 do not exceed.
    pub(super) fn of_sorted(sorted: &[u64]) -> Self {
        let at = |p: f64| {
            let rank = (sorted.len() as f64 * p).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            count: sorted.len() as u64,
            mean_ns: mean_s(sorted.iter().copied()).unwrap_or(0.0) * 1e9,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: at(1.0),
        }
    }
}

impl Histogram {
    /// Of values in rising order: ten bins a decade from 10 ns to 10 s, the last one open; empty ends are left out.
    fn of_sorted(sorted: &[u64]) -> Self {
        let edge_ns = |step: u32| match step == STEPS_PER_DECADE * DECADES {
            true => u64::MAX,
            false => {
                10_f64.powf(1.0 + f64::from(step) / f64::from(STEPS_PER_DECADE)).round() as u64
            }
        };
        let mut below = 0;
        let bin = |step| {
            let to_ns = edge_ns(step);
            let at_most = sorted.partition_point(|ns| *ns <= to_ns);
            let count = (at_most - below) as u64;
            below = at_most;
            Count { to_ns, count }
        };
        let mut bins: Vec<Count> = (0..=STEPS_PER_DECADE * DECADES).map(bin).collect();
        let used = bins.iter().rposition(|bin| bin.count > 0).map_or(0, |last| last + 1);
        bins.truncate(used);
        let first = bins.iter().position(|bin| bin.count > 0).unwrap_or(0);
        bins.drain(..first);
        Self { bins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arrival_ns: u64, start_ns: u64, end_ns: u64) -> Event {
        let served = Some(Served { start_ns, end_ns });
        Event { intended_ns: arrival_ns, arrival_ns, served, drawn_ns: None, class: None }
    }

    fn demands(all: &[(u64, u64)]) -> impl Iterator<Item = Demand> + '_ {
        all.iter().map(|(at_ns, service_ns)| Demand { at_ns: *at_ns, service_ns: *service_ns })
    }

    #[test]
    fn one_server_waits_while_busy_and_starts_at_once_from_rest() {
        let messages = [(0, 10), (4, 5), (15, 1), (20, 2), (21, 3)];
        assert_eq!(departures(demands(&messages), 1), [10, 15, 16, 22, 25]);
    }

    #[test]
    fn of_several_servers_the_first_that_is_free_takes_the_next() {
        let messages = [(0, 10), (1, 3), (2, 5), (3, 1), (20, 2)];
        // Two servers: ends 10 and 4; the third starts at 4 and ends at 9; the fourth at 9.
        assert_eq!(departures(demands(&messages), 2), [10, 4, 9, 10, 22]);
        assert_eq!(departures(demands(&messages), 9), [10, 4, 7, 4, 22], "nobody waits");
    }

    #[test]
    fn a_full_system_refuses_and_one_that_just_left_makes_room() {
        let messages = [(0, 10), (1, 5), (2, 5), (10, 1), (11, 1), (12, 1)];
        let ends = [Some(10), Some(15), None, Some(16), None, None];
        assert_eq!(departures_within(demands(&messages), 1, 2), ends);
        let all: Vec<_> = departures(demands(&messages), 1).into_iter().map(Some).collect();
        assert_eq!(departures_within(demands(&messages), 1, 99), all);
    }

    #[test]
    fn the_higher_class_goes_first_and_interrupts_nothing() {
        let messages = [(0, 10, 1), (1, 2, 1), (2, 3, 0), (11, 1, 0), (30, 1, 1)];
        let messages: Vec<(Demand, u8)> = messages
            .iter()
            .map(|(at_ns, service_ns, class)| {
                (Demand { at_ns: *at_ns, service_ns: *service_ns }, *class)
            })
            .collect();
        // 10 ends the first; the third 13; the fourth came meanwhile: 14; then the second: 16.
        assert_eq!(departures_by_class(&messages), [10, 16, 13, 14, 31]);
        let alike: Vec<_> = messages.iter().map(|(demand, _)| (*demand, 3)).collect();
        let fifo = departures(messages.iter().map(|(demand, _)| *demand), 1);
        assert_eq!(departures_by_class(&alike), fifo);
    }

    #[test]
    fn hand_offs_after_another_message_and_from_rest_are_told_apart() {
        let rows = [row(10, 13, 20), row(15, 22, 30), row(30, 31, 40), row(50, 57, 60)];
        let turns = Turns::of(&rows, Order::Fifo(1));
        assert_eq!(turns.hand_off_ns, [3, 2, 1, 7]);
        assert_eq!(turns.from_rest, [true, false, true, true]);
        let hand_offs = turns.hand_offs();
        assert_eq!((hand_offs.busy.count, hand_offs.busy.p50_ns), (1, 2));
        assert_eq!((hand_offs.idle.count, hand_offs.idle.max_ns), (3, 7));
        assert!((hand_offs.idle.mean_ns - 11.0 / 3.0).abs() < 1e-12);
        assert_eq!(hand_offs.idle_histogram.bins, [Count { to_ns: 10, count: 3 }]);
    }

    #[test]
    fn with_two_servers_a_message_is_from_rest_while_one_is_free() {
        let rows = [row(0, 1, 20), row(5, 7, 10), row(8, 11, 12), row(15, 15, 16)];
        let turns = Turns::of(&rows, Order::Fifo(2));
        assert_eq!(turns.hand_off_ns, [1, 2, 1, 0]);
        assert_eq!(turns.from_rest, [true, true, false, true]);
    }

    #[test]
    fn residuals_add_up_inside_a_busy_period_and_absences_are_told_apart() {
        let rows = [row(0, 100, 1_100), row(10, 1_200, 2_200), row(20, 22_200, 23_200)];
        let order = Order::Fifo(1);
        let (path, turns) = (own_departures(&rows, order, None), Turns::of(&rows, order));
        assert_eq!(path, [1_000, 2_000, 3_000]);
        let found = own_path(&rows, order, &path, &turns).expect("three were served");
        let Quantiles { count, mean_ns, p50_ns, max_ns, .. } = found.residual;
        assert_eq!((count, p50_ns, max_ns), (3, 200, 20_200));
        assert!((mean_ns - 20_500.0 / 3.0).abs() < 1e-9);
        assert_eq!((found.early, found.at_once_max), (0, 1));
        let absent = own_departures(&rows, order, Some(&turns.hand_off_ns));
        assert_eq!(absent, [1_000, 2_000, 23_000]);
    }

    #[test]
    fn a_second_server_is_seen_at_work_and_ahead_of_the_path() {
        let rows = [row(0, 0, 10), row(1, 1, 4), row(12, 12, 13)];
        let order = Order::Fifo(1);
        let (path, turns) = (own_departures(&rows, order, None), Turns::of(&rows, order));
        let found = own_path(&rows, order, &path, &turns).expect("three were served");
        assert_eq!((found.early, found.at_once_max), (2, 2));
    }

    #[test]
    fn littles_two_sides_are_equal_and_count_each_stay() {
        let refused = Event { served: None, ..row(5, 5, 5) };
        let rows = [row(2, 2, 7), row(4, 7, 9), refused, row(20, 20, 21)];
        let crowd = Crowd::of(&rows);
        assert_eq!(crowd.little(&rows), Little { area: 11, sojourns: 11 });
        let mut seen = Vec::new();
        crowd.found(&rows, |row, found| seen.push((row, found)));
        assert_eq!(seen, [(0, 0), (1, 1), (2, 2), (3, 0)]);
        let mut by_number = [0; 3];
        crowd.stretches(&rows, |_, inside, ns| by_number[inside as usize] += ns);
        assert_eq!(by_number, [2 + 11, 2 + 2 + 1, 1 + 2]);
    }

    #[test]
    fn a_quantile_is_the_smallest_value_that_covers_its_share() {
        assert_eq!(Quantiles::of_sorted(&[]), Quantiles::default());
        let hundred: Vec<u64> = (1..=100).collect();
        let found = Quantiles::of_sorted(&hundred);
        assert_eq!((found.p50_ns, found.p99_ns, found.p999_ns, found.max_ns), (50, 99, 100, 100));
        assert_eq!(found.mean_ns, 50.5);
    }

    #[test]
    fn a_histogram_counts_every_value_once() {
        let values = [0, 9, 10, 11, 13, 1_000_000, u64::MAX];
        let bins = Histogram::of_sorted(&values).bins;
        assert_eq!(bins[0], Count { to_ns: 10, count: 3 });
        assert_eq!(bins[1], Count { to_ns: 13, count: 2 });
        assert_eq!(bins.last(), Some(&Count { to_ns: u64::MAX, count: 1 }));
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 7);
        assert_eq!(Histogram::of_sorted(&[]).bins, []);
    }

    #[test]
    fn the_drawn_path_starts_from_the_schedule_and_refuses_by_itself() {
        let drawn = |intended_ns, drawn_ns| Event {
            drawn_ns: Some(drawn_ns),
            ..row(intended_ns, intended_ns + 3, intended_ns + 50)
        };
        let rows = [drawn(0, 10), drawn(1, 5), drawn(2, 5)];
        let fifo = Order::Fifo(1);
        assert_eq!(drawn_sojourns(&rows, fifo, None), Some(vec![Some(10), Some(14), Some(18)]));
        assert_eq!(drawn_sojourns(&rows, fifo, Some(2)), Some(vec![Some(10), Some(14), None]));
        assert_eq!(drawn_sojourns(&[row(0, 1, 2)], fifo, None), None);
    }
}
