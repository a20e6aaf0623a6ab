//! The input cut into lines: any bytes but the newline, which ends a line and is no part of it.
//!
//! A thread reads what is there, and hands over all lines that have ended, so that a slow pipe's lines are published
//! when they come, and a file's in frames as large as may be. A carriage return is a byte like any other. An empty
//! line is a line; so is the last one without a newline.
//!
//! # Limits
//!
//! A line longer than a payload may be ends the input there: it is never held whole.

use crate::control::{Control, Event};
use crate::failure::Failure;
use millstream::{Bytes, PAYLOAD_BYTES_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

/// How many bytes are read at a time, at most.
const READ_BYTES: usize = 128 << 10;

/// Lines that have ended, and how many bytes of the input they were.
pub struct Lines {
    /// The lines, without their newlines.
    pub lines: Vec<Bytes>,
    /// Their bytes, newlines included.
    pub bytes: u64,
}

/// Where the lines come from.
pub struct Input {
    name: String,
    source: Box<dyn Read + Send>,
    /// Its length in bytes, where that is known.
    pub bytes: Option<u64>,
}

impl Input {
    /// Opens the file, or standard input where there is none.
    pub fn open(file: Option<&PathBuf>) -> Result<Self, Failure> {
        let Some(path) = file else {
            let name = "standard input".to_owned();
            return Ok(Self { name, source: Box::new(io::stdin()), bytes: None });
        };
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| {
            let found = file.metadata()?;
            match found.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok((file, found)),
            }
        });
        match opened {
            Ok((file, found)) => {
                let bytes = found.is_file().then_some(found.len());
                Ok(Self { name, source: Box::new(file), bytes })
            }
            Err(source) => Err(Failure::Input { name, source }),
        }
    }

    /// Reads in a thread of its own, and sends what it reads to the main thread. Nobody waits for it: it may sleep
    /// in a read for ever.
    pub fn start(self, control: Control) -> Result<(), Failure> {
        let read = move || {
            let mut cutter = Cutter::default();
            let mut source = self.source;
            let end = loop {
                match cutter.read(&mut source) {
                    Ok(Some(lines)) if lines.lines.is_empty() => {}
                    Ok(Some(lines)) => {
                        if !control.send(Event::Lines(lines)) {
                            return;
                        }
                    }
                    Ok(None) => break cutter.too_long(),
                    Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => break Some(Failure::Input { name: self.name, source }),
                }
            };
            control.send(end.map_or(Event::End, Event::Failed));
        };
        let started = thread::Builder::new().name("input".to_owned()).spawn(read);
        started.map(drop).map_err(Failure::Start)
    }
}

/// Cuts what is read into lines.
#[derive(Default)]
struct Cutter {
    /// The beginning of a line that has not ended.
    pending: Vec<u8>,
    /// How many lines have ended.
    count: u64,
    ended: bool,
    too_long: bool,
}

impl Cutter {
    /// One read, and the lines that it ended; none where there is nothing more to come.
    fn read(&mut self, source: &mut impl Read) -> io::Result<Option<Lines>> {
        if self.ended {
            return Ok(None);
        }
        let kept = self.pending.len();
        self.pending.resize(kept + READ_BYTES, 0);
        let read = source.read(&mut self.pending[kept..]);
        self.pending.truncate(kept + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        let newline = self.pending[kept..].iter().rposition(|&byte| byte == b'\n');
        let rest = match newline {
            Some(at) => self.pending.split_off(kept + at + 1),
            None if self.ended => Vec::new(),
            None => std::mem::take(&mut self.pending),
        };
        let whole = Bytes::from(std::mem::replace(&mut self.pending, rest));
        Ok(Some(self.cut(&whole)))
    }

    /// The lines of `whole`, up to the first that is too long.
    fn cut(&mut self, whole: &Bytes) -> Lines {
        let (mut lines, mut at) = (Vec::new(), 0);
        while at < whole.len() {
            let rest = &whole[at..];
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            if PAYLOAD_BYTES_MAX < end {
                self.too_long = true;
                break;
            }
            lines.push(whole.slice(at..at + end));
            at += end + 1;
        }
        self.count += lines.len() as u64;
        self.too_long |= PAYLOAD_BYTES_MAX < self.pending.len();
        self.ended |= self.too_long;
        Lines { lines, bytes: at.min(whole.len()) as u64 }
    }

    /// The line that was too long, if one was.
    fn too_long(&self) -> Option<Failure> {
        let failure = Failure::LineTooLong { line: self.count + 1, max: PAYLOAD_BYTES_MAX };
        self.too_long.then_some(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one piece a read.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            into[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines_of(pieces: &[&[u8]]) -> (Vec<Vec<Bytes>>, Option<Failure>) {
        let (mut cutter, mut pieces) = (Cutter::default(), Pieces(pieces.to_vec()));
        let reads = std::iter::from_fn(|| cutter.read(&mut pieces).unwrap()).map(|read| read.lines);
        let reads = reads.collect();
        (reads, cutter.too_long())
    }

    fn flat(pieces: &[&[u8]]) -> Vec<Bytes> {
        lines_of(pieces).0.into_iter().flatten().collect()
    }

    #[test]
    fn a_line_ends_at_its_newline_wherever_the_reads_end() {
        let text = b"one\r\n\n\xff\x00two\nlast";
        let whole = flat(&[text]);
        assert_eq!(whole, [&b"one\r"[..], b"", b"\xff\x00two", b"last"]);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces: Vec<&[u8]> =
                    [&text[..first], &text[first..second], &text[second..]].to_vec();
                let pieces: Vec<&[u8]> =
                    pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
                assert_eq!(flat(&pieces), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn lines_are_handed_over_when_they_have_ended() {
        let (reads, _) = lines_of(&[b"a\nb\nc", b"d\n", b"e"]);
        let counts: Vec<usize> = reads.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 1, 0, 1]);
    }

    #[test]
    fn no_input_is_no_line_and_a_newline_is_an_empty_one() {
        assert!(flat(&[]).is_empty());
        assert_eq!(flat(&[b"\n"]), [&b""[..]]);
        assert_eq!(flat(&[b"a\n"]), [&b"a"[..]]);
    }

    #[test]
    fn the_longest_payload_is_a_line_and_one_byte_more_is_named() {
        let longest = vec![b'x'; PAYLOAD_BYTES_MAX];
        let mut pieces: Vec<&[u8]> = vec![b"first\n"];
        pieces.extend(longest.chunks(READ_BYTES));
        pieces.push(b"\nthird\n");
        assert_eq!(flat(&pieces).len(), 3);
        pieces.insert(1, b"y");
        let (reads, failure) = lines_of(&pieces);
        assert_eq!(reads.into_iter().flatten().count(), 1);
        assert!(matches!(failure, Some(Failure::LineTooLong { line: 2, .. })), "{failure:?}");
    }
}
