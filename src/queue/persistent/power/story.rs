//! What was done to a queue, in order, and what of that a queue shows.
//!
//! Messages have numbers for ever, and subscriptions names, so a queue that has lost, doubled or invented something says
//! so by what it delivers. A *base* is where a life begins on what another left: from there on all is known for sure,
//! and what was done before without having become durable counts no more, even if it shows itself later.

use crate::log::sim::{Draw, Promise};
use crate::queue::Delivery;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What became of a message, for one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Dead,
    /// It was this attempt that failed; 0: it is there.
    Failed(u32),
    /// Its dead letter was read and acknowledged.
    Cleared,
    Purged,
    /// It was not accepted, or went with the power.
    Lost,
}

impl Fate {
    /// Nothing shows it any more.
    fn is_gone(self) -> bool {
        matches!(self, Self::Done | Self::Cleared | Self::Purged | Self::Lost)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Began(usize),
    Ended(usize),
    Fate { reader: usize, number: u64, fate: Fate },
}

/// A subscription.
#[derive(Debug, Clone)]
struct Reader {
    name: String,
    /// Its first message.
    first: u64,
}

/// What a queue shows: of each reader, where it exists, numbers and attempts as they come.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) readers: Vec<Option<Vec<(u64, u32)>>>,
    pub(super) dead: Vec<(u64, u32)>,
}

/// The first reader is there from the beginning, and its dead letters are the only ones.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) published: u64,
    /// So many were accepted, one after the other, or are known to be lost.
    pub(super) accepted: u64,
    readers: Vec<Reader>,
    events: Vec<Event>,
    bases: Vec<Range<usize>>,
}

impl Story {
    pub(super) fn new(name: &str) -> Self {
        let readers = vec![Reader { name: name.to_owned(), first: 0 }];
        let events = vec![Event::Began(0)];
        Self { published: 0, accepted: 0, readers, events, bases: Vec::new() }
    }

    /// Everything so far.
    pub(super) fn whole(&self) -> Promise {
        Promise { records: self.published as usize, checkpoints: self.events.len() }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.readers.iter().map(|reader| reader.name.as_str())
    }

    /// The second reader of the moment, if there is one.
    pub(super) fn side(&self) -> Option<(usize, &str)> {
        let reader = self.readers.len() - 1;
        let is_there = reader > 0 && is_there(&self.events, reader) == Some(true);
        is_there.then(|| (reader, self.readers[reader].name.as_str()))
    }

    /// A reader of what comes from here on.
    pub(super) fn begin(&mut self) -> String {
        let name = format!("side {}", self.readers.len());
        self.events.push(Event::Began(self.readers.len()));
        self.readers.push(Reader { name: name.clone(), first: self.published });
        name
    }

    pub(super) fn end(&mut self, reader: usize) {
        self.events.push(Event::Ended(reader));
    }

    pub(super) fn fate(&mut self, reader: usize, number: u64, fate: Fate) {
        self.events.push(Event::Fate { reader, number, fate });
    }

    /// What nobody has settled is dropped.
    pub(super) fn purge(&mut self) {
        for reader in 0..self.readers.len() {
            let mut last = BTreeMap::new();
            for event in &self.events {
                if let Event::Fate { reader: of, number, fate } = *event
                    && of == reader
                {
                    last.insert(number, fate);
                }
            }
            for number in self.readers[reader].first..self.published {
                if !matches!(last.get(&number), Some(fate) if fate.is_gone() || *fate == Fate::Dead)
                {
                    self.fate(reader, number, Fate::Purged);
                }
            }
        }
    }

    /// From here on a queue is at work that has shown this.
    pub(super) fn base(&mut self, shown: &Shown) {
        let from = self.events.len();
        let dead: BTreeSet<u64> = shown.dead.iter().map(|(number, _)| *number).collect();
        let seen = shown.seen();
        for (reader, delivered) in shown.readers.iter().enumerate() {
            let there = delivered.is_some();
            self.events.push(if there { Event::Began(reader) } else { Event::Ended(reader) });
            let attempts: BTreeMap<u64, u32> = delivered.iter().flatten().copied().collect();
            for number in self.readers[reader].first..self.published {
                let fate = match attempts.get(&number) {
                    Some(attempt) => Fate::Failed(attempt - 1),
                    None if reader == 0 && dead.contains(&number) => Fate::Dead,
                    // Nothing tells a message that is done with from one that never was, and nothing has to.
                    None if number < seen => Fate::Done,
                    None => Fate::Lost,
                };
                self.fate(reader, number, fate);
            }
        }
        self.bases.push(from..self.events.len());
        self.accepted = self.published;
    }

    /// Holds what a queue shows against the story, of which so much was promised.
    pub(super) fn judge(&self, promised: Promise, shown: &Shown) -> Result<(), String> {
        let based = self.bases.iter().rfind(|base| base.end <= promised.checkpoints);
        let base = based.map_or(0, |base| base.start);
        let (sure, ever) = (&self.events[base..promised.checkpoints], &self.events[base..]);
        // Of what was not promised a beginning is there: up to the last that shows itself.
        let seen = shown.seen();
        if seen > self.published {
            return Err(format!("message {} of {}", seen - 1, self.published));
        }
        let there = seen.max(promised.records as u64);
        let dead: BTreeSet<u64> = shown.dead.iter().map(|(number, _)| *number).collect();
        if dead.len() < shown.dead.len() {
            return Err(format!("buried twice: {:?}", shown.dead));
        }
        for (reader, (told, delivered)) in self.readers.iter().zip(&shown.readers).enumerate() {
            let (now, is_named) = (is_there(sure, reader), ever.contains(&Event::Began(reader)));
            let right = match delivered {
                Some(_) => now != Some(false) && is_named,
                None => now != Some(true) || ever.contains(&Event::Ended(reader)),
            };
            if !right {
                return Err(format!("{}: there {now:?}, but {delivered:?}", told.name));
            }
            let Some(delivered) = delivered else { continue };
            let attempts = in_order(delivered).map_err(|what| format!("{}: {what}", told.name))?;
            if attempts.keys().next().is_some_and(|number| *number < told.first) {
                return Err(format!("{}: begins at {}: {delivered:?}", told.name, told.first));
            }
            let (sure, ever) = (fates(sure, reader), fates(ever, reader));
            for number in told.first..there {
                let of = |fates: &BTreeMap<u64, Vec<Fate>>| {
                    fates.get(&number).cloned().unwrap_or_default()
                };
                let (sure, ever) = (of(&sure).last().copied(), of(&ever));
                let (attempt, is_dead) =
                    (attempts.get(&number).copied(), reader == 0 && dead.contains(&number));
                if !may_be(sure, &ever, attempt, is_dead) {
                    return Err(format!(
                        "{}, message {number}: promised {sure:?}, ever {ever:?}, but attempt {attempt:?}, dead {is_dead}",
                        told.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// Holds what a reader gets that begins now, with what is retained: no gap but of what was purged or lost, and
    /// whatever others have yet to settle.
    pub(super) fn judge_fresh(&self, fresh: &[(u64, u32)], shown: &Shown) -> Result<(), String> {
        let got = in_order(fresh)?;
        let gone: BTreeSet<u64> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Fate { number, fate: Fate::Purged | Fate::Lost, .. } => Some(*number),
                _ => None,
            })
            .collect();
        let first = got.keys().next().copied().unwrap_or(shown.seen());
        let wanted = shown.readers.iter().flatten().flatten().map(|(number, _)| *number);
        let within = (first..shown.seen()).filter(|number| !gone.contains(number));
        match wanted.chain(within).find(|number| !got.contains_key(number)) {
            Some(number) => Err(format!("a new reader misses message {number}: {fresh:?}")),
            None => Ok(()),
        }
    }
}

impl Shown {
    /// One behind the last message that shows itself.
    fn seen(&self) -> u64 {
        let delivered = self.readers.iter().flatten().flatten();
        delivered.chain(&self.dead).map(|(number, _)| number + 1).max().unwrap_or(0)
    }
}

/// Is the reader there, as far as events tell?
fn is_there(events: &[Event], reader: usize) -> Option<bool> {
    events.iter().rev().find_map(|event| match event {
        Event::Began(of) if *of == reader => Some(true),
        Event::Ended(of) if *of == reader => Some(false),
        _ => None,
    })
}

fn fates(events: &[Event], reader: usize) -> BTreeMap<u64, Vec<Fate>> {
    let mut fates: BTreeMap<u64, Vec<Fate>> = BTreeMap::new();
    for event in events {
        if let Event::Fate { reader: of, number, fate } = *event
            && of == reader
        {
            fates.entry(number).or_default().push(fate);
        }
    }
    fates
}

/// Each once, and the first attempts in order.
fn in_order(delivered: &[(u64, u32)]) -> Result<BTreeMap<u64, u32>, String> {
    let attempts: BTreeMap<u64, u32> = delivered.iter().copied().collect();
    if attempts.len() < delivered.len() {
        return Err(format!("twice: {delivered:?}"));
    }
    let firsts = delivered.iter().filter(|(_, attempt)| *attempt == 1);
    if !firsts.map(|(number, _)| number).is_sorted() {
        return Err(format!("out of order: {delivered:?}"));
    }
    Ok(attempts)
}

/// The oracle's table, for one message.
fn may_be(sure: Option<Fate>, ever: &[Fate], attempt: Option<u32>, is_dead: bool) -> bool {
    let failed = |attempt: u32| ever.contains(&Fate::Failed(attempt - 1));
    match (sure, attempt, is_dead) {
        (Some(Fate::Dead), None, true) => true,
        (Some(Fate::Dead), None, false) => ever.contains(&Fate::Cleared),
        (Some(Fate::Dead), ..) => false,
        (Some(fate), attempt, is_dead) if fate.is_gone() => attempt.is_none() && !is_dead,
        // From here on: promised is at most a failed attempt.
        (_, None, false) => ever.iter().any(|fate| fate.is_gone()),
        (_, None, true) => ever.contains(&Fate::Dead),
        (_, Some(_), true) => false,
        (Some(Fate::Failed(known)), Some(attempt), false) => known < attempt && failed(attempt),
        (_, Some(attempt), false) => attempt == 1 || failed(attempt),
    }
}

pub(super) fn payload(number: u64) -> Vec<u8> {
    let mut draw = Draw(number);
    let mut payload = number.to_le_bytes().to_vec();
    // Many small ones, and some that fill segments.
    let words = if number.is_multiple_of(3) { number * 37 % 1_000 } else { number * 7 % 90 };
    for _ in 0..words {
        payload.extend(draw.next().to_le_bytes());
    }
    payload
}

/// The number of a message, if it is one of ours, whole.
pub(super) fn number_of(delivery: &Delivery) -> Result<u64, String> {
    let bytes = delivery.payload();
    let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let whole = number.filter(|number| bytes[..] == payload(*number)[..]);
    whole.ok_or_else(|| format!("a message of {} bytes that nobody published", bytes.len()))
}
