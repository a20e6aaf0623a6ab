//! A table of the log: trials, visited in rounds.
//!
//! A trial is a workload by a peer in a state of the machine. Every round visits every trial of the table before the
//! next round begins, in an order drawn anew from a fixed seed. A visit makes its own folder and its own log, so no trial
//! inherits another's pages, and answers a sample for each of its measures. Every sample of every round is kept.

use crate::regime::{Regime, Spinner};
use peers::statistics::{Better, Spread};
use peers::table::Draw;
use peers::watch::Watch;
use std::path::PathBuf;
use tempfile::TempDir;

/// A question, and what is run to answer it.
pub struct Table {
    /// As the command line names it.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// What a reader must know.
    pub remarks: &'static str,
    /// What is run.
    pub trials: Vec<Trial>,
    /// At most so many rounds: for what takes long.
    pub rounds_max: u32,
    /// Are its points places on an axis?
    pub axis: bool,
}

/// A workload by a peer.
pub struct Trial {
    /// What is done.
    pub workload: String,
    /// Who does it.
    pub peer: &'static str,
    /// What a reader must know of this peer here.
    pub note: &'static str,
    /// In which state of the machine.
    pub regime: Regime,
    /// Does it once.
    pub run: Visit,
}

/// One visit of a trial.
pub type Visit = Box<dyn FnMut(&Effort) -> Vec<Sample>>;

/// What one visit found of one measure.
pub struct Sample {
    /// Which measure.
    pub measure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// The place on a sweep's axis.
    pub point: Option<String>,
    /// How much.
    pub value: f64,
}

impl Sample {
    /// The less, the better.
    pub fn low(measure: &'static str, unit: &'static str, value: f64) -> Self {
        Self { measure, unit, better: Better::Lower, point: None, value }
    }

    /// The more, the better.
    pub fn high(measure: &'static str, unit: &'static str, value: f64) -> Self {
        Self { measure, unit, better: Better::Higher, point: None, value }
    }

    /// At that place on the axis.
    pub fn at(mut self, point: impl Into<String>) -> Self {
        self.point = Some(point.into());
        self
    }
}

/// How much work is put in, and where.
#[derive(Clone)]
pub struct Effort {
    /// Only to see that it works.
    pub quick: bool,
    /// Rounds of each table.
    pub rounds: u32,
    /// Where the folders of the visits are made: the file system that is measured.
    pub dir: PathBuf,
    /// Messages of the backlog.
    pub backlog: u64,
}

impl Effort {
    /// The first, or the second if only to see that it works.
    pub fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A folder of its own for a visit; it goes with its last user.
    pub fn folder(&self) -> TempDir {
        let made = tempfile::Builder::new().prefix("log-peers-").tempdir_in(&self.dir);
        made.expect("the folder to measure in can be written to")
    }
}

/// A trial that was run.
pub struct Row {
    /// Which.
    pub trial: Trial,
    /// Samples of each round.
    pub rounds: Vec<Vec<Sample>>,
}

impl Row {
    /// The measures, each at its point, in the order in which the visits gave them.
    pub fn measures(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.first().into_iter().flatten()
    }

    /// All samples of a measure at a point.
    pub fn samples(&self, measure: &str, point: Option<&str>) -> Vec<f64> {
        let all = self.rounds.iter().flatten();
        let wanted = |one: &&Sample| one.measure == measure && one.point.as_deref() == point;
        all.filter(wanted).map(|one| one.value).collect()
    }

    /// And their spread.
    pub fn spread(&self, measure: &str, point: Option<&str>) -> Option<Spread> {
        Spread::of(self.samples(measure, point))
    }
}

impl Table {
    /// An empty one.
    pub fn new(name: &'static str, question: &'static str, remarks: &'static str) -> Self {
        Self { name, question, remarks, trials: Vec::new(), rounds_max: u32::MAX, axis: false }
    }

    /// One more trial, on the machine as it is.
    pub fn add(
        &mut self,
        workload: &str,
        peer: &'static str,
        note: &'static str,
        run: impl FnMut(&Effort) -> Vec<Sample> + 'static,
    ) {
        let (workload, run) = (workload.to_owned(), Box::new(run));
        self.trials.push(Trial { workload, peer, note, regime: Regime::Free, run });
    }

    /// One more trial, in both states of the machine.
    pub fn add_in_both(
        &mut self,
        workload: &str,
        peer: &'static str,
        note: &'static str,
        run: impl Fn(&Effort, Regime) -> Vec<Sample> + Clone + 'static,
    ) {
        for regime in [Regime::Free, Regime::Spinner] {
            let (workload, run) = (workload.to_owned(), run.clone());
            let run = Box::new(move |effort: &Effort| run(effort, regime));
            self.trials.push(Trial { workload, peer, note, regime, run });
        }
    }

    /// Visits all, in rounds.
    pub fn run(self, effort: &Effort, watch: &Watch) -> Vec<Row> {
        let rounds = effort.rounds.min(self.rounds_max);
        let row = |trial| Row { trial, rounds: Vec::new() };
        let mut rows: Vec<Row> = self.trials.into_iter().map(row).collect();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
        for round in 1..=rounds {
            watch.says(&format!("{}: round {round} of {rounds}", self.name));
            draw.shuffle(&mut order);
            for index in &order {
                let trial = &mut rows[*index].trial;
                let title = format!("{}, {}", trial.workload, trial.regime.name());
                watch.at(&format!("{}: {title} by {}, {round}/{rounds}", self.name, trial.peer));
                let spinner = (trial.regime == Regime::Spinner).then(Spinner::start);
                let samples = (trial.run)(effort);
                drop(spinner);
                rows[*index].rounds.push(samples);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn effort() -> Effort {
        Effort { quick: true, rounds: 3, dir: std::env::temp_dir(), backlog: 0 }
    }

    #[test]
    fn every_round_visits_every_trial_once_and_keeps_its_samples() {
        let mut table = Table::new("t", "?", "");
        for peer in ["a", "b"] {
            let mut visits = 0.0;
            table.add("w", peer, "", move |_| {
                visits += 1.0;
                vec![Sample::low("n", "1", visits), Sample::low("n", "1", -visits).at("p")]
            });
        }
        let rows = table.run(&effort(), &Watch::begin(Duration::from_secs(60)));
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!(row.samples("n", None), [1.0, 2.0, 3.0]);
            assert_eq!(row.samples("n", Some("p")), [-1.0, -2.0, -3.0]);
            assert_eq!(row.measures().count(), 2);
        }
    }
}
