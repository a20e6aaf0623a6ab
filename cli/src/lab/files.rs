//! The files of a run: its events, and beside them what was asked for and what the machine took.
//!
//! The JSON is the library's, with one more field, `stalls`: without it nobody who reads the file could tell a broken law from
//! a disturbed run. A file without it can be judged all the same. A tandem has a second event file, whose name is in the JSON
//! and which lies beside it.

use crate::failure::Failure;
use millstream::lab::{
    Event, EventError, Judgement, Kind, Parameters, ParametersError, Run, StallAccount, judge,
    judge_tandem, read_events, read_parameters, write_events,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// What the machine took, in the parameter file.
#[derive(Deserialize)]
struct Stalls {
    #[serde(default)]
    stalls: Option<StallAccount>,
}

#[derive(Serialize)]
struct ParametersFile<'a> {
    #[serde(flatten)]
    parameters: &'a Parameters,
    stalls: &'a StallAccount,
}

/// What is judged.
pub struct Recording {
    pub parameters: Parameters,
    pub events: Vec<Event>,
    /// The events of the second stage of a tandem.
    pub second: Option<Vec<Event>>,
    pub stalls: Option<StallAccount>,
}

impl Recording {
    /// Judges it.
    pub fn judge(&self, band: f64) -> Result<Judgement, Failure> {
        let (parameters, stalls) = (&self.parameters, self.stalls.as_ref());
        let judged = match &self.second {
            Some(second) => judge_tandem(parameters, [&self.events, second], stalls, band),
            None => judge(parameters, &self.events, stalls, band),
        };
        judged.map_err(Failure::from)
    }

    /// Reads it; a file that can be no run's is named, with its row.
    pub fn read(events: &Path, parameters: &Path) -> Result<Self, Failure> {
        let (asked, stalls) = read_asked(parameters)?;
        let second = match (asked.kind, asked.stages.get(1)) {
            (Kind::Tandem, Some(name)) => Some(read(&beside(parameters, name))?),
            _ => None,
        };
        Ok(Self { parameters: asked, events: read(events)?, second, stalls })
    }
}

fn read_asked(path: &Path) -> Result<(Parameters, Option<StallAccount>), Failure> {
    let refused = |source: ParametersError| Failure::Parameters { file: path.to_owned(), source };
    // One byte more than the library takes, so that it is the one to say that a file is too long.
    let mut text = Vec::new();
    let most = millstream::lab::PARAMETERS_BYTES_MAX + 1;
    open(path)?.take(most).read_to_end(&mut text).map_err(|error| unreadable(path, error))?;
    let parameters = read_parameters(&text[..]).map_err(refused)?;
    let stalls: Stalls =
        serde_json::from_slice(&text).map_err(|error| refused(ParametersError::Json(error)))?;
    Ok((parameters, stalls.stalls))
}

fn read(path: &Path) -> Result<Vec<Event>, Failure> {
    let file = open(path)?;
    crate::progress::during("reading the events", || read_events(BufReader::new(file))).map_err(
        |source| match source {
            EventError::Io(error) => unreadable(path, error),
            source => Failure::Events { file: path.to_owned(), source },
        },
    )
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::Input { name: path.display().to_string(), source }
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

/// Files to be written after a run. They are made before it: what cannot be written is known before an hour has passed.
pub struct Outlet {
    events: Option<(PathBuf, File)>,
    second: Option<(PathBuf, File)>,
    parameters: Option<(PathBuf, File)>,
}

impl Outlet {
    /// Makes what is asked for; the second stage's file is named after the first's.
    pub fn make(
        events: Option<&Path>,
        parameters: Option<&Path>,
        kind: Kind,
    ) -> Result<Self, Failure> {
        let make = |path: &Path| -> Result<_, Failure> {
            let file = File::create(path).map_err(|source| unwritten(path, source))?;
            Ok((path.to_owned(), file))
        };
        let second = events.filter(|_| kind == Kind::Tandem).map(second_of);
        Ok(Self {
            events: events.map(make).transpose()?,
            second: second.as_deref().map(make).transpose()?,
            parameters: parameters.map(make).transpose()?,
        })
    }

    /// Writes the run.
    pub fn write(self, run: &Run) -> Result<(), Failure> {
        let mut parameters = run.parameters.clone();
        if let (Some((first, _)), Some((second, _))) = (&self.events, &self.second) {
            let name = |path: &Path| {
                path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            };
            parameters.stages = vec![name(first), name(second)];
        }
        if let Some((path, file)) = self.events {
            write(&path, file, &run.events)?;
        }
        if let (Some((path, file)), Some(stage)) = (self.second, &run.second) {
            write(&path, file, &stage.events)?;
        }
        if let Some((path, file)) = self.parameters {
            let content = ParametersFile { parameters: &parameters, stalls: &run.stalls };
            let mut file = BufWriter::new(file);
            serde_json::to_writer_pretty(&mut file, &content)
                .map_err(io::Error::from)
                .and_then(|()| file.write_all(b"\n"))
                .and_then(|()| file.flush())
                .map_err(|source| unwritten(&path, source))?;
        }
        Ok(())
    }
}

/// `run.csv` has its second stage in `run-2.csv`.
fn second_of(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    path.with_file_name(format!("{stem}-2{}", extension.unwrap_or_default()))
}

fn write(path: &Path, file: File, events: &[Event]) -> Result<(), Failure> {
    write_events(BufWriter::new(file), events).map_err(|source| match source {
        EventError::Io(error) => unwritten(path, error),
        source => Failure::Events { file: path.to_owned(), source },
    })
}

fn unwritten(path: &Path, source: io::Error) -> Failure {
    Failure::Write { file: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stage_lies_beside_the_first() {
        let cases =
            [("a/run.csv", "a/run-2.csv"), ("run", "run-2"), ("a.b/run.x.csv", "a.b/run.x-2.csv")];
        for (first, second) in cases {
            assert_eq!(second_of(Path::new(first)), Path::new(second));
        }
    }
}
