//! A table: one interleaved run of all its cases.
//!
//! A case is a workload by a peer. Its count is fixed first, so that one run of it takes about the span of the effort;
//! that run also warms it up and is thrown away. Then every repetition visits every case before the next begins. In
//! each repetition the workloads come in a different order, and so do the peers within a workload, which stay together
//! so that a ratio is taken of neighbours in time. The order is drawn from a fixed seed.

use crate::statistics::Better;
use crate::transfer::Outcome;
use crate::watch::Watch;
use std::time::Duration;

/// A question, and what is run to answer it.
pub struct Table {
    /// The command's name and the file's.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// What each case is measured by.
    pub measures: Vec<Measure>,
    /// What is run.
    pub cases: Vec<Case>,
    /// Spans of the effort that one case takes.
    pub spans: f64,
    /// At most so many repetitions: for figures that hardly vary, or take long.
    pub repetitions_max: u32,
}

/// A column.
pub struct Measure {
    /// Its head.
    pub name: &'static str,
    /// Of its figures.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// Is the ratio to the baseline worth printing?
    pub compared: bool,
}

/// A workload by a peer.
pub struct Case {
    /// What is done. All peers of a workload are compared.
    pub workload: String,
    /// The place on a sweep's axis.
    pub point: Option<String>,
    /// Who does it.
    pub peer: &'static str,
    /// What a reader must know of this peer here.
    pub note: &'static str,
    /// Does it so many times.
    pub run: Run,
}

/// How a case is run.
pub enum Run {
    /// As often as fits the span.
    Counted(Box<dyn Fn(u64) -> Outcome>),
    /// For as long as it takes.
    Fixed(Box<dyn Fn() -> Outcome>),
}

/// How much work is put in.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How often every case is visited.
    pub repetitions: u32,
    /// About how long a visit takes.
    pub span: Duration,
    /// Only to see that it works.
    pub quick: bool,
}

/// A case and what was measured.
pub struct Row {
    /// Which.
    pub case: Case,
    /// Operations a repetition.
    pub count: u64,
    /// For each measure, a figure of each repetition.
    pub figures: Vec<Vec<f64>>,
}

impl Table {
    /// An empty one of a single rate.
    pub fn of_rates(name: &'static str, question: &'static str) -> Self {
        let rate =
            Measure { name: "rate", unit: "M values/s", better: Better::Higher, compared: true };
        Self::of(name, question, vec![rate])
    }

    /// An empty one.
    pub fn of(name: &'static str, question: &'static str, measures: Vec<Measure>) -> Self {
        let cases = Vec::new();
        Self { name, question, measures, cases, spans: 1.0, repetitions_max: u32::MAX }
    }

    /// One more case, as often as fits.
    pub fn add(
        &mut self,
        workload: &str,
        peer: &'static str,
        run: impl Fn(u64) -> Outcome + 'static,
    ) -> &mut Case {
        self.push(workload, peer, Run::Counted(Box::new(run)))
    }

    /// One more case, which takes as long as it does.
    pub fn add_fixed(
        &mut self,
        workload: &str,
        peer: &'static str,
        run: impl Fn() -> Outcome + 'static,
    ) -> &mut Case {
        self.push(workload, peer, Run::Fixed(Box::new(run)))
    }

    fn push(&mut self, workload: &str, peer: &'static str, run: Run) -> &mut Case {
        let case = Case { workload: workload.to_owned(), point: None, peer, note: "", run };
        self.cases.push(case);
        self.cases.last_mut().expect("it was just pushed")
    }

    /// Runs all, in turns; each gives that many figures a run.
    pub fn run(self, measures: usize, effort: &Effort, watch: &Watch) -> Vec<Row> {
        let span = effort.span.mul_f64(self.spans);
        let repetitions = effort.repetitions.min(self.repetitions_max);
        let mut rows = Vec::new();
        for case in self.cases {
            watch.at(&format!("{}: {} by {}, first", self.name, case.title(), case.peer));
            let count = case.count_that_takes(span);
            rows.push(Row { case, count, figures: vec![Vec::new(); measures] });
        }
        let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
        for repetition in 1..=repetitions {
            watch.says(&format!("{}: repetition {repetition} of {repetitions}", self.name));
            for index in order(&rows, &mut draw) {
                let row = &mut rows[index];
                let (title, peer) = (row.case.title(), row.case.peer);
                watch.at(&format!("{}: {title} by {peer}, {repetition}/{repetitions}", self.name));
                let outcome = row.case.measure(row.count);
                assert_eq!(outcome.figures.len(), row.figures.len(), "a figure for each measure");
                for (figures, figure) in row.figures.iter_mut().zip(outcome.figures) {
                    figures.push(figure);
                }
            }
        }
        rows
    }
}

impl Case {
    /// The workload, with the place on its axis.
    pub fn title(&self) -> String {
        match &self.point {
            Some(point) => format!("{}: {point}", self.workload),
            None => self.workload.clone(),
        }
    }

    /// Puts it at that place on the axis.
    pub fn at(&mut self, point: impl Into<String>) -> &mut Self {
        self.point = Some(point.into());
        self
    }

    /// Says what a reader must know.
    pub fn noting(&mut self, note: &'static str) -> &mut Self {
        self.note = note;
        self
    }

    fn measure(&self, count: u64) -> Outcome {
        match &self.run {
            Run::Counted(run) => run(count),
            Run::Fixed(run) => run(),
        }
    }

    /// The count at which a run takes about this long, by runs that grow until one is long enough to judge by.
    fn count_that_takes(&self, span: Duration) -> u64 {
        const FIRST: u64 = 256;
        const GROWTH_MAX: f64 = 16.0;
        let Run::Counted(run) = &self.run else { return 1 };
        let mut wish = FIRST;
        loop {
            let Outcome { count, elapsed, .. } = run(wish);
            let factor = span.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
            if factor <= 4.0 {
                return ((count as f64 * factor) as u64).max(1);
            }
            wish = (count as f64 * factor.min(GROWTH_MAX)) as u64;
        }
    }
}

/// The rows in this repetition's order: workloads shuffled, and the peers of each.
fn order(rows: &[Row], draw: &mut Draw) -> Vec<usize> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let title = row.case.title();
        match groups.iter_mut().find(|(known, _)| *known == title) {
            Some((_, members)) => members.push(index),
            None => groups.push((title, vec![index])),
        }
    }
    groups.iter_mut().for_each(|(_, members)| draw.shuffle(members));
    draw.shuffle(&mut groups);
    groups.into_iter().flat_map(|(_, members)| members).collect()
}

/// Numbers at random, the same in every run (Marsaglia's xorshift, 2003).
pub struct Draw(pub u64);

impl Draw {
    /// A number below the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Puts them in another order.
    pub fn shuffle<E>(&mut self, items: &mut [E]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repetition_visits_every_case_and_keeps_the_peers_of_a_workload_together() {
        let outcome = || Outcome { count: 1, elapsed: Duration::ZERO, figures: vec![1.0] };
        let mut table = Table::of_rates("t", "?");
        for workload in ["a", "b", "c"] {
            for peer in ["x", "y"] {
                table.add_fixed(workload, peer, outcome);
            }
        }
        let row = |case| Row { case, count: 1, figures: Vec::new() };
        let rows: Vec<Row> = table.cases.into_iter().map(row).collect();
        let mut draw = Draw(1);
        let orders: Vec<_> = (0..8).map(|_| order(&rows, &mut draw)).collect();
        for order in &orders {
            let mut visited = order.clone();
            visited.sort();
            assert_eq!(visited, [0, 1, 2, 3, 4, 5]);
            let together =
                |pair: &[usize]| rows[pair[0]].case.workload == rows[pair[1]].case.workload;
            assert!(order.chunks(2).all(together), "{order:?}");
        }
        assert!(orders.iter().any(|order| *order != orders[0]), "the order changes");
    }

    #[test]
    fn the_count_is_fitted_to_the_span() {
        let run = |count| Outcome {
            count,
            elapsed: Duration::from_nanos(100 * count),
            figures: Vec::new(),
        };
        let mut table = Table::of_rates("t", "?");
        let case = table.add("a", "x", run);
        assert_eq!(case.count_that_takes(Duration::from_millis(10)), 100_000);
    }
}
