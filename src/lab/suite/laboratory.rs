//! Where a suite's repetitions are really run: the laboratory, this machine.

use super::cost::{CostError, measure};
use super::session::machine;
use super::{EVENTS_FOLDER, Perform, PerformError, Performed, SuiteOptions};
use crate::lab::record::{CostPlan, CostRecord};
use crate::lab::{Experiment, Progress, Run, judge, judge_tandem, write_events, write_parameters};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// The real thing.
pub struct Laboratory<'a> {
    /// The suite's.
    pub folder: &'a Path,
    /// The suite's.
    pub options: &'a SuiteOptions,
}

impl Perform for Laboratory<'_> {
    fn perform(
        &mut self,
        name: &str,
        experiment: &Experiment,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Performed, PerformError> {
        let there = Experiment { folder: self.options.scratch.clone(), ..experiment.clone() };
        let run = there.run(progress)?;
        if self.options.events {
            self.keep(name, &run)?;
        }
        let (stalls, band) = (Some(&run.stalls), experiment.band);
        let judgement = match &run.second {
            Some(second) => {
                judge_tandem(&run.parameters, [&run.events, &second.events], stalls, band)?
            }
            None => judge(&run.parameters, &run.events, stalls, band)?,
        };
        let machine = match &self.options.commit {
            Some(commit) => run.machine.commit(commit),
            None => run.machine,
        };
        Ok(Performed { machine, busy: run.busy, footings: run.footings, judgement })
    }

    fn cost(&mut self, plan: &CostPlan) -> Result<CostRecord, CostError> {
        let folder = self.options.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let rounds_ns = measure(plan, &folder)?;
        Ok(CostRecord { plan: *plan, rounds_ns, machine: machine(self.options) })
    }
}

impl Laboratory<'_> {
    /// Writes the stamps beside the report.
    fn keep(&self, name: &str, run: &Run) -> Result<(), PerformError> {
        let folder = self.folder.join(EVENTS_FOLDER);
        let failed = |path: &Path, cause| PerformError::File { path: path.into(), cause };
        std::fs::create_dir_all(&folder).map_err(|cause| failed(&folder, cause))?;
        let mut stages = vec![(name.to_owned(), &run.parameters, &run.events)];
        if let Some(second) = &run.second {
            stages.push((format!("{name}-second"), &second.parameters, &second.events));
        }
        for (name, parameters, events) in stages {
            let create = |extension: &str| {
                let path = folder.join(format!("{name}.{extension}"));
                File::create(&path).map(BufWriter::new).map_err(|cause| failed(&path, cause))
            };
            write_events(create("csv")?, events)?;
            write_parameters(create("json")?, parameters)?;
        }
        Ok(())
    }
}
