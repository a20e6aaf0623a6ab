//! `millstream publish`: one message a line, in frames of as many lines as are ready.

use crate::control::{Control, Event};
use crate::durability;
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::keep::{Full, Keep};
use crate::output;
use crate::progress::Progress;
use clap::ValueHint;
use indicatif::HumanCount;
use millstream::{Batch, Bytes, Config, Durability, Engine, Message, Reached, Receipt, Topic};
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How many lines are published together, at most: they stand or fall together.
const FRAME_LINES_MAX: usize = 256;
/// How many bytes are gathered before a frame is published, even if it has fewer lines.
const FRAME_BYTES: usize = 1 << 20;
const _: () = assert!(FRAME_LINES_MAX <= millstream::BATCH_MAX);

const EXAMPLE: &str = "\
Example:
  journalctl -o json | millstream publish queue logs.system --durability sync --header host=alpha";

/// Publish one message a line
///
/// Each line of the file or of standard input is a message: any bytes but the newline; a carriage return is kept,
/// an empty line is an empty message, and the last line need not end with a newline. Lines are published as they
/// become ready, up to 256 in a frame, and a frame is stored whole or not at all. A line may have 1 MiB.
///
/// At the end, count, rate and the durability that was reached are told on standard error (with --json: as an
/// object on standard output).
#[derive(clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}", crate::EXIT_CODES))]
pub struct Args {
    /// The queue's directory; made if it does not exist
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// What to publish to: tokens between dots, as in `user.events`
    #[arg(value_parser = crate::topic)]
    topic: Topic,
    /// Read lines from this file, not from standard input
    #[arg(long, value_name = "F", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    #[arg(long, value_name = "os|sync|interval=D", default_value = "os", value_parser = durability::parse, help = durability::HELP)]
    durability: Durability,
    #[command(flatten)]
    full: Full,
    #[command(flatten)]
    keep: Keep,
    /// A header for every message; may be given more than once
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Print a line for each message as soon as it is acknowledged: line number, id, durability reached. What was
    /// printed is what was promised, whatever happens afterwards. The summary goes to standard error
    #[arg(long)]
    receipts: bool,
}

/// Why a header is none.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("a header is written K=V, and this has no `=`")]
    NoEquals,
    #[error("the header's name, before the `=`, is empty")]
    NoName,
}

fn header(text: &str) -> Result<(String, String), HeaderError> {
    match text.split_once('=') {
        None => Err(HeaderError::NoEquals),
        Some(("", _)) => Err(HeaderError::NoName),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

/// Publishes.
pub fn run(args: Args, json: bool) -> Result<Outcome, Failure> {
    let input = Input::open(args.file.as_ref())?;
    let config = Config::persistent(&args.dir).durability(args.durability).workers(1);
    let config = args.keep.of(args.full.of(config));
    let engine =
        Engine::open(config).map_err(|source| Failure::Open { dir: args.dir.clone(), source })?;
    let (control, events) = Control::start()?;
    let progress = progress_of(&input);
    let receipts = args.receipts.then_some(if json { Receipts::Objects } else { Receipts::Text });
    let mut publisher = Publisher::new(engine.clone(), args.topic, args.headers, receipts);
    input.start(control.clone())?;
    let published = publish_all(&mut publisher, &control, &events, &progress);
    let closed = engine.close(Duration::ZERO);
    drop(progress);
    published
        .and(closed.map(drop).map_err(Failure::from))
        .and_then(|()| tell(&publisher.summary(), json && !args.receipts))?;
    if control.reason().is_some() {
        crate::tell(format_args!("stopped before the input's end"));
    }
    Ok(Outcome::Good)
}

/// Publishes until the input or the run ends. `progress` hears of the bytes and of the lines done.
pub fn publish_all(
    publisher: &mut Publisher,
    control: &Control,
    events: &Receiver<Event>,
    progress: impl Fn(u64, u64),
) -> Result<(), Failure> {
    let mut bytes = 0;
    while control.reason().is_none() {
        match events.recv() {
            Ok(Event::Lines(lines)) => {
                publisher.publish(&lines.lines, control)?;
                bytes += lines.bytes;
                progress(bytes, publisher.lines);
            }
            Ok(Event::Failed(failure)) => return Err(failure),
            Ok(Event::Stop) => {}
            Ok(Event::End) | Err(_) => break,
        }
    }
    Ok(())
}

/// The progress of reading `input`: in bytes where its length is known, else in lines.
pub fn progress_of(input: &Input) -> impl Fn(u64, u64) + use<> {
    let counts_bytes = input.bytes.is_some();
    let progress = input.bytes.map_or_else(Progress::messages, Progress::bytes);
    move |bytes, lines| progress.at(if counts_bytes { bytes } else { lines })
}

fn tell(summary: &Summary, as_object: bool) -> Result<(), Failure> {
    if as_object {
        return Ok(output::write_object(summary)?);
    }
    crate::tell(format_args!(
        "published {} in {} ({}/s), durability reached: {}",
        output::counted(summary.published, "message"),
        output::short((summary.seconds * 1e9) as u64),
        HumanCount(summary.rate_per_s as u64),
        summary.reached.as_deref().unwrap_or("none"),
    ));
    Ok(())
}

/// How receipts are printed.
#[derive(Debug, Clone, Copy)]
enum Receipts {
    Text,
    Objects,
}

#[derive(Serialize)]
struct ReceiptObject {
    line: u64,
    id: String,
    reached: String,
}

/// What was published.
#[derive(Serialize)]
struct Summary {
    published: u64,
    seconds: f64,
    rate_per_s: f64,
    /// The least that any of them reached; nothing for no messages.
    reached: Option<String>,
}

/// Publishes lines, and keeps count.
pub struct Publisher {
    engine: Engine,
    topic: Topic,
    headers: Vec<(String, String)>,
    receipts: Option<Receipts>,
    started: Instant,
    reached: Option<Reached>,
    /// How many lines were accepted.
    pub lines: u64,
}

impl Publisher {
    fn new(
        engine: Engine,
        topic: Topic,
        headers: Vec<(String, String)>,
        receipts: Option<Receipts>,
    ) -> Self {
        let (started, reached, lines) = (Instant::now(), None, 0);
        Self { engine, topic, headers, receipts, started, reached, lines }
    }

    /// To `topic`, without headers and without receipts.
    pub fn plain(engine: Engine, topic: Topic) -> Self {
        Self::new(engine, topic, Vec::new(), None)
    }

    /// Publishes the lines in order, frame by frame, unless the run ends in between.
    pub fn publish(&mut self, lines: &[Bytes], control: &Control) -> Result<(), Failure> {
        let mut rest = lines;
        while !rest.is_empty() && control.reason().is_none() {
            let (frame, later) = rest.split_at(frame_lines(rest));
            self.publish_frame(frame)?;
            rest = later;
        }
        Ok(())
    }

    fn publish_frame(&mut self, frame: &[Bytes]) -> Result<(), Failure> {
        let batch: Batch =
            frame.iter().map(|line| (self.topic.clone(), self.message(line))).collect();
        let first = self.lines + 1;
        let receipts = self.engine.publish_batch(batch).map_err(|error| Failure::Publish {
            first,
            last: self.lines + frame.len() as u64,
            source: error.map(drop),
        })?;
        self.lines += receipts.len() as u64;
        let least = receipts.iter().map(|receipt| receipt.reached).min();
        self.reached = self.reached.min(least).or(least);
        self.print(first, &receipts)
    }

    fn message(&self, line: &Bytes) -> Message {
        let message = Message::new(line.clone());
        self.headers.iter().fold(message, |message, (name, value)| message.header(name, value))
    }

    /// Prints the receipts of a frame with one write.
    fn print(&self, first: u64, receipts: &[Receipt]) -> Result<(), Failure> {
        let Some(form) = self.receipts else { return Ok(()) };
        let mut out = Vec::new();
        for (line, receipt) in (first..).zip(receipts) {
            let (id, reached) = (receipt.id, receipt.reached);
            match form {
                // Writing to memory does not fail.
                Receipts::Text => drop(writeln!(out, "{line} {id} {reached}")),
                Receipts::Objects => {
                    let (id, reached) = (id.to_string(), reached.to_string());
                    out.extend(output::object_line(&ReceiptObject { line, id, reached }));
                    out.push(b'\n');
                }
            }
        }
        Ok(output::write(&out)?)
    }

    fn summary(&self) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        Summary {
            published: self.lines,
            seconds,
            rate_per_s: self.lines as f64 / seconds,
            reached: self.reached.map(|reached| reached.to_string()),
        }
    }
}

/// How many of the lines go into one frame.
fn frame_lines(lines: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = lines.iter().take(FRAME_LINES_MAX).take_while(|line| {
        let begins = bytes == 0;
        bytes += line.len();
        begins || bytes <= FRAME_BYTES
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_256_lines_or_a_mebibyte_and_always_one() {
        let lines = |count, bytes| vec![Bytes::from(vec![b'x'; bytes]); count];
        assert_eq!(frame_lines(&lines(1_000, 0)), 256);
        assert_eq!(frame_lines(&lines(1_000, 10)), 256);
        assert_eq!(frame_lines(&lines(10, 400 << 10)), 2);
        assert_eq!(frame_lines(&lines(10, 1 << 20)), 1);
        assert_eq!(frame_lines(&lines(3, 1)), 3);
    }

    #[test]
    fn a_header_is_cut_at_its_first_equals_sign() {
        assert_eq!(header("a=b=c").ok(), Some(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a=").ok(), Some(("a".to_owned(), String::new())));
        assert!(matches!(header("ab"), Err(HeaderError::NoEquals)));
        assert!(matches!(header("=b"), Err(HeaderError::NoName)));
    }
}
