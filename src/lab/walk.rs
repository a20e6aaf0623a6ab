//! One queue's rows, walked once: path, turns, who was there when, and the sums of each group.

use super::event::Event;
use super::experiment::Kind;
use super::interval::Cuts;
use super::judgement::{ClassSums, OwnPath, Realized, Sums};
use super::path::{
    Crowd, Demand, Order, Turns, departures, drawn_sojourns, mean_s, own_departures, own_path,
    stays,
};

/// The rows of one queue and what follows from them.
pub struct Walk<'a> {
    /// All rows.
    pub events: &'a [Event],
    /// How the servers choose.
    pub order: Order,
    /// For each that was served, when a perfect queue would have let it go.
    pub path: Vec<u64>,
    /// For each that was served, from its turn to its start.
    pub turns: Turns,
    /// Who was there when.
    pub crowd: Crowd,
}

impl<'a> Walk<'a> {
    /// One walk for the path, one for the turns, one for the crowd.
    pub fn of(events: &'a [Event], kind: Kind, servers: u32) -> Self {
        let order = match kind {
            Kind::Priority => Order::Classes,
            _ => Order::Fifo(servers),
        };
        let path = own_departures(events, order, None);
        let turns = Turns::of(events, order);
        Self { events, order, path, turns, crowd: Crowd::of(events) }
    }

    /// Rows that were refused.
    pub fn refused(&self) -> u64 {
        (self.events.len() - self.path.len()) as u64
    }

    /// The engine against its path; `None` if nothing was served, or all in no time.
    pub fn own_path(&self) -> Option<OwnPath> {
        own_path(self.events, self.order, &self.path, &self.turns)
    }

    /// How late each message was sent, sorted.
    pub fn lateness(&self) -> Vec<u64> {
        let late = self.events.iter().map(|event| event.arrival_ns - event.intended_ns);
        let mut late: Vec<u64> = late.collect();
        late.sort_unstable();
        late
    }

    /// Mean hand-off of those that had to wait, in seconds.
    pub fn busy_hand_off_mean_s(&self) -> f64 {
        let both = self.turns.hand_off_ns.iter().zip(&self.turns.from_rest);
        mean_s(both.filter(|(_, rest)| !**rest).map(|(ns, _)| *ns)).unwrap_or(0.0)
    }

    /// For each row, did it find everything empty, in this stage and in the next?
    pub fn empty(&self, next: Option<&Walk<'_>>) -> Vec<bool> {
        let mut empty = vec![false; self.events.len()];
        match next {
            None => self.crowd.found(self.events, |row, found| empty[row] = found == 0),
            Some(next) => {
                // From the arrival at the first stage to the end in the second.
                let whole = self.events.iter().zip(next.events);
                let whole: Vec<Event> =
                    whole.map(|(first, next)| Event { served: next.served, ..*first }).collect();
                Crowd::of(&whole).found(&whole, |row, found| empty[row] = found == 0);
            }
        }
        empty
    }

    /// The most that any arrival found, and how many were refused that found less than `capacity` - 1: one may be on its
    /// way from its end to the moment that makes room.
    pub fn found_at(&self, capacity: u64) -> (u64, u64) {
        let (mut most, mut too_soon) = (0, 0);
        self.crowd.found(self.events, |row, found| {
            most = most.max(found);
            too_soon += u64::from(self.events[row].served.is_none() && found + 1 < capacity);
        });
        (most, too_soon)
    }

    /// The moments of the rows after the warm-up; `None` if no time passes in the gaps or in the services.
    pub fn realized(&self, warmup: usize) -> Option<Realized> {
        let rows = &self.events[warmup..];
        let (first, last) = (rows.first()?, rows.last()?);
        let before_ns = warmup.checked_sub(1).map_or(0, |at| self.events[at].intended_ns);
        let mut gaps = Moments::default();
        let mut last_ns = before_ns;
        for event in rows {
            gaps.add(event.intended_ns - last_ns);
            last_ns = event.intended_ns;
        }
        let mut services = Moments::default();
        stays(rows).for_each(|stay| services.add(stay.served.service_ns()));
        let ends = || stays(rows).map(|stay| stay.served.end_ns);
        let (first_ns, end_ns) = (ends().min()?, ends().max()?);
        let some = gaps.sum > 0.0 && services.sum > 0.0 && end_ns > first_ns;
        let servers = match self.order {
            Order::Fifo(servers) => f64::from(servers),
            Order::Classes => 1.0,
        };
        some.then(|| Realized {
            arrival_per_s: 1e9 * gaps.count / gaps.sum,
            service_per_s: 1e9 * services.count / services.sum,
            load: gaps.count / gaps.sum * services.sum / services.count / servers,
            ca2: gaps.variability(),
            cs2: services.variability(),
            throughput_per_s: 1e9 * (services.count - 1.0) / (end_ns - first_ns) as f64,
            refused: 1.0 - services.count / gaps.count,
            run_s: (end_ns.max(last.arrival_ns) - first.arrival_ns) as f64 * 1e-9,
        })
    }

    /// What left per second after the warm-up, and what the servers could have done if they never rested.
    pub fn throughput(&self, warmup: usize, servers: u32) -> (f64, f64) {
        let mut ends: Vec<(u64, u64)> = stays(&self.events[warmup..])
            .map(|stay| (stay.served.end_ns, stay.served.service_ns()))
            .collect();
        ends.sort_unstable();
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return (0.0, 1.0) };
        let count = (ends.len() - 1) as f64;
        let work_s = ends[1..].iter().map(|(_, service_ns)| *service_ns as f64 * 1e-9).sum::<f64>();
        let time_s = (last.0 - first.0) as f64 * 1e-9;
        (count / time_s, f64::from(servers) * count / work_s)
    }

    /// Mean sojourn of the path that was drawn, through the next stage too, in seconds; `None` without draws.
    pub fn drawn_mean_s(&self, next: Option<&Walk<'_>>, capacity: Option<u64>) -> Option<f64> {
        let stays = drawn_sojourns(self.events, self.order, capacity)?;
        let Some(next) = next else { return mean_s(stays.into_iter().flatten()) };
        let demand = |((stay, first), next): ((Option<u64>, &Event), &Event)| {
            Some(Demand { at_ns: first.intended_ns + stay?, service_ns: next.drawn_ns? })
        };
        let demands: Option<Vec<Demand>> =
            stays.into_iter().zip(self.events).zip(next.events).map(demand).collect();
        let ends = departures(demands?.into_iter(), 1);
        mean_s(ends.into_iter().zip(self.events).map(|(end_ns, event)| end_ns - event.intended_ns))
    }
}

/// Count, sum and sum of squares, in nanoseconds.
#[derive(Debug, Default)]
struct Moments {
    count: f64,
    sum: f64,
    square: f64,
}

impl Moments {
    fn add(&mut self, ns: u64) {
        self.count += 1.0;
        self.sum += ns as f64;
        self.square += (ns as f64).powi(2);
    }

    /// Variance over squared mean.
    fn variability(&self) -> f64 {
        let mean = self.sum / self.count;
        ((self.square / self.count) / (mean * mean) - 1.0).max(0.0)
    }
}

/// The sums of each group. Of a tandem sojourns run to the end of the second stage, and gaps are the first's.
pub fn groups(walk: &Walk<'_>, next: Option<&Walk<'_>>, cuts: &Cuts, classes: usize) -> Vec<Sums> {
    let nothing = Sums { classes: vec![ClassSums::default(); classes], ..Sums::default() };
    let mut groups = vec![nothing; cuts.groups()];
    let first = cuts.rows[0];
    let mut at = stays(&walk.events[..first]).count();
    let mut last_ns = first.checked_sub(1).map_or(0, |row| walk.events[row].intended_ns);
    cuts.each(|group, row| {
        let (event, sums) = (walk.events[row], &mut groups[group]);
        sums.arrived += 1.0;
        sums.gaps_s += seconds(event.intended_ns - last_ns);
        last_ns = event.intended_ns;
        let Some(served) = event.served else {
            sums.refused += 1.0;
            return;
        };
        let last = next.and_then(|next| next.events[row].served).unwrap_or(served);
        let service_s = seconds(served.service_ns());
        let (sojourn_s, intended_s) =
            (seconds(last.end_ns - event.arrival_ns), seconds(last.end_ns - event.intended_ns));
        sums.services_s += service_s;
        sums.services_s2 += service_s * service_s;
        sums.sojourns_s += sojourn_s;
        sums.intended_s += intended_s;
        sums.path_s += seconds(walk.path[at] - event.arrival_ns);
        if let Some(next) = next {
            sums.services_next_s += seconds(last.service_ns());
            sums.path_s += seconds(next.path[at] - next.events[row].arrival_ns);
        }
        if walk.turns.from_rest[at] {
            let wake_s = seconds(walk.turns.hand_off_ns[at]);
            sums.wakes += 1.0;
            sums.wakes_s += wake_s;
            sums.wakes_s2 += wake_s * wake_s;
        }
        if let Some(own) = event.class.and_then(|class| sums.classes.get_mut(usize::from(class))) {
            own.served += 1.0;
            own.services_s += service_s;
            own.services_s2 += service_s * service_s;
            own.sojourns_s += sojourn_s;
            own.intended_s += intended_s;
        }
        at += 1;
    });
    groups
}

fn seconds(ns: u64) -> f64 {
    ns as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Grouping, Served};

    fn row(intended_ns: u64, arrival_ns: u64, start_ns: u64, end_ns: u64) -> Event {
        let served = Some(Served { start_ns, end_ns });
        Event { intended_ns, arrival_ns, served, drawn_ns: None, class: None }
    }

    /// By hand: gaps of 100, 100, 200 ns after the warm-up row, services of 50, 100 and 30, one refused.
    #[test]
    fn the_moments_of_a_small_run_are_those_of_hand() {
        let refused = Event { served: None, ..row(300, 300, 0, 0) };
        let rows =
            [row(100, 101, 110, 120), row(200, 200, 210, 260), refused, row(500, 510, 510, 610)];
        let walk = Walk::of(&rows, Kind::Mm1k, 1);
        let realized = walk.realized(1).expect("time passes");
        let near =
            |found: f64, by_hand: f64| assert!((found / by_hand - 1.0).abs() < 1e-12, "{found}");
        near(realized.arrival_per_s, 3.0 / 400e-9);
        near(realized.service_per_s, 2.0 / 150e-9);
        near(realized.load, 3.0 / 400.0 * 75.0);
        near(realized.ca2, (60_000.0 / 3.0) / (400.0 / 3.0_f64).powi(2) - 1.0);
        near(realized.cs2, 6_250.0 / (75.0 * 75.0) - 1.0);
        near(realized.throughput_per_s, 1.0 / 350e-9);
        near(realized.refused, 1.0 / 3.0);
        near(realized.run_s, 410e-9);
        assert_eq!(walk.refused(), 1);
        assert_eq!(walk.found_at(1), (0, 0), "one is the whole of K");
        assert_eq!(walk.found_at(2), (0, 1), "refused with nobody there");
        assert_eq!(walk.empty(None), [true, true, true, true]);
    }

    #[test]
    fn the_sums_of_a_group_are_those_of_its_rows() {
        let rows = [
            row(100, 101, 110, 120),
            row(200, 200, 210, 260),
            row(220, 230, 261, 361),
            row(500, 510, 512, 600),
        ];
        let walk = Walk::of(&rows, Kind::Mm1, 1);
        let cuts = Cuts { how: Grouping::Empty, rows: vec![1, 3, 4] };
        let sums = groups(&walk, None, &cuts, 0);
        let ns = |s: f64| (s * 1e9).round() as u64;
        let [first, second] = &sums[..] else { panic!("two groups") };
        assert_eq!((first.arrived, first.refused, ns(first.gaps_s)), (2.0, 0.0, 120));
        assert_eq!(
            (ns(first.services_s), ns(first.sojourns_s), ns(first.intended_s)),
            (150, 191, 201)
        );
        assert_eq!(ns(first.path_s), 50 + 120);
        assert_eq!((first.wakes, ns(first.wakes_s)), (1.0, 10));
        assert_eq!((ns(second.gaps_s), ns(second.sojourns_s), ns(second.path_s)), (280, 90, 88));
    }
}
