//! A record: what a suite wrote down, a JSON line each, and the only thing a report is made from.
//!
//! ```text
//!  {"plan": ..}      once, first: what is to be run, in order, and how often
//!  {"run": ..}       a judged repetition: experiment, machine, judgement
//!  {"failed": ..}    a repetition that ended in an error; it is tried anew when the suite is continued
//!  {"cost": ..}      what a message costs at a depth, or at a size of the log
//!  {"torn": ..}      bytes of a last line that was not whole, left out when the suite was continued
//! ```
//!
//! A line is appended by one write and synced, so only the last one can be torn: by a kill, by a full disk. Such a line is
//! no error; it is counted and said. A line that is whole and cannot be read is a named error with its row.
//!
//! # Limits
//!
//! [`RECORD_BYTES_MAX`] a file: a record of a run is some ten kilobytes.

use super::{Busy, Experiment, Footing, Judgement, Machine};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest file of records that is read, in bytes.
pub const RECORD_BYTES_MAX: u64 = 256 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// What is to be run.
    Plan(Ladder),
    /// A judged repetition.
    Run(Box<RunRecord>),
    /// A repetition that ended in an error.
    Failed(Box<FailedRecord>),
    /// What a message costs.
    Cost(Box<CostRecord>),
    /// A last line that was not whole.
    Torn {
        /// How long it was.
        bytes: u64,
    },
}

/// What is to be run, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    /// Short runs that decide no law?
    pub quick: bool,
    /// Each experiment; the most telling first.
    pub experiments: Vec<Planned>,
    /// Then these costs.
    pub costs: Vec<CostPlan>,
}

/// An experiment of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name in tables and files, unique in its plan.
    pub name: String,
    /// What is run; repetition r draws from its seed + r.
    pub experiment: Experiment,
    /// How long one repetition lasts, by its own numbers.
    pub expected: Duration,
}

impl Planned {
    /// The experiment of a repetition, from 0: the same but for what it draws.
    #[must_use]
    pub fn repetition(&self, repetition: u32) -> Experiment {
        let seed = self.experiment.seed.wrapping_add(u64::from(repetition));
        Experiment { seed, ..self.experiment.clone() }
    }
}

/// A judged repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The name of its plan.
    pub name: String,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// What was run.
    pub experiment: Experiment,
    /// Where.
    pub machine: Machine,
    /// What else the machine did.
    pub busy: Busy,
    /// What the threads of the run were granted.
    pub footings: Vec<Footing>,
    /// How long it took, judging included.
    pub took: Duration,
    /// What the stamps say.
    pub judgement: Judgement,
}

/// A repetition that ended in an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// The name of its plan.
    pub name: String,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// What was tried; none if it was a cost.
    pub experiment: Option<Experiment>,
    /// The error in its own words.
    pub because: String,
}

/// What a cost is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// The bare ring, holding so many messages.
    RingDepth,
    /// The memory kind, holding so many messages.
    MemoryDepth,
    /// The persistent kind, its log so many bytes long.
    LogSize,
}

impl Cost {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingDepth => "ring-depth",
            Self::MemoryDepth => "memory-depth",
            Self::LogSize => "log-size",
        }
    }
}

/// A cost of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostPlan {
    /// What of.
    pub cost: Cost,
    /// At how many messages, or bytes.
    pub at: u64,
    /// Messages a round.
    pub messages: u64,
    /// How many rounds.
    pub rounds: u32,
    /// How long it lasts, about.
    pub expected: Duration,
}

/// A measured cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostRecord {
    /// What was measured.
    pub plan: CostPlan,
    /// Nanoseconds a message, a round each, in order.
    pub rounds_ns: Vec<f64>,
    /// Where.
    pub machine: Machine,
}

/// All records of a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Records {
    /// In the order of the file; the last torn line is a [`Record::Torn`] at the end.
    pub all: Vec<Record>,
    /// Bytes of the file up to the end of its last whole line.
    pub whole_bytes: u64,
}

/// Why records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file could not be opened, read, written or renamed.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// A whole line is no record.
    #[error("{path}, row {row}: {cause}")]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        row: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The file is larger than a suite writes.
    #[error("{path} has {bytes} bytes; {RECORD_BYTES_MAX} are the most")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// A record holds what a line cannot say: a number that is not finite.
    #[error("a record that does not read back, of {name}: {cause}")]
    Unwritable {
        /// Of which run.
        name: String,
        /// Why not.
        cause: serde_json::Error,
    },
}

impl Record {
    /// The record as a line, without its end.
    ///
    /// # Errors
    ///
    /// [`RecordError::Unwritable`]: it would not read back.
    pub fn line(&self) -> Result<String, RecordError> {
        let name = || match self {
            Record::Run(run) => run.name.clone(),
            Record::Failed(failed) => failed.name.clone(),
            Record::Plan(_) => "the plan".into(),
            Record::Cost(cost) => format!("{:?}", cost.plan.cost),
            Record::Torn { .. } => "a torn line".into(),
        };
        let unwritable = |cause| RecordError::Unwritable { name: name(), cause };
        let line = serde_json::to_string(self).map_err(unwritable)?;
        // A float that is not finite is written as null, and null is no float.
        serde_json::from_str::<Record>(&line).map_err(unwritable)?;
        Ok(line)
    }
}

/// Reads a file of records.
///
/// # Errors
///
/// [`RecordError`]: the file cannot be read, is too large, or a whole line of it is no record.
pub fn read_records(path: &Path) -> Result<Records, RecordError> {
    let failed = |cause| RecordError::File { path: path.into(), cause };
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge { path: path.into(), bytes });
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    parse_records(path, &text)
}

fn parse_records(path: &Path, text: &[u8]) -> Result<Records, RecordError> {
    let mut records = Records::default();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice(line) {
            // Without its end even a line that reads well may be the beginning of another.
            Ok(record) if whole => records.all.push(record),
            Err(cause) if whole => {
                return Err(RecordError::Row { path: path.into(), row: index + 1, cause });
            }
            _ => {
                records.all.push(Record::Torn { bytes: line.len() as u64 });
                break;
            }
        }
        records.whole_bytes += line.len() as u64;
    }
    Ok(records)
}

/// Appends a record by one write, and syncs it.
///
/// # Errors
///
/// [`RecordError`]: the record does not read back, or the file cannot be written.
pub fn append_record(path: &Path, record: &Record) -> Result<(), RecordError> {
    let line = record.line()? + "\n";
    let failed = |cause| RecordError::File { path: path.into(), cause };
    let mut file = File::options().create(true).append(true).open(path).map_err(failed)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
}

/// Puts a file in place whole: written beside it, synced, renamed over it, and its directory synced.
///
/// # Errors
///
/// [`RecordError::File`].
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), RecordError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    };
    write().map_err(|cause| RecordError::File { path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torn(bytes: u64) -> Record {
        Record::Torn { bytes }
    }

    #[test]
    fn what_is_appended_is_read_and_a_torn_last_line_is_counted() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("judgements.jsonl");
        append_record(&path, &torn(1)).unwrap();
        append_record(&path, &torn(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let records = read_records(&path).unwrap();
            let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            let mut expected = vec![torn(1), torn(2)];
            expected.truncate(lines);
            let begins = lines as u64 * (whole.len() as u64 / 2);
            if cut as u64 > begins {
                expected.push(torn(cut as u64 - begins));
            }
            assert_eq!(records, Records { all: expected, whole_bytes: begins }, "cut at {cut}");
        }
    }

    #[test]
    fn a_whole_line_that_is_no_record_is_named_with_its_row() {
        let text = b"{\"torn\":{\"bytes\":1}}\n{\"torn\":{\"bits\":1}}\n";
        let error = parse_records(Path::new("j.jsonl"), text).unwrap_err();
        assert!(matches!(&error, RecordError::Row { row: 2, .. }), "{error}");
        assert!(error.to_string().starts_with("j.jsonl, row 2: missing field"), "{error}");
    }

    #[test]
    fn a_replaced_file_is_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("report.md");
        for content in ["first, and longer", "second"] {
            replace_file(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
