//! Looking at a log beside its running owner: no lock, nothing written, and what is shown is one moment.
//!
//! The owner appends, seals, prepares and trims meanwhile. What makes a moment of it:
//!
//! | the owner | here |
//! |-----------|------|
//! | commits frames, not in the order of their places | every frame is read by `pread` and counts when both its checksums hold; the moment ends at the first gap that is not below `D` |
//! | syncs, and says so in later frames | a gap that was seen before and lies below `D` by now is looked at once more: only if it is still there it is damage. All below `D` was committed before the mark was written, so this second look decides |
//! | prepares segments ahead | they hold nothing yet, and lie behind the end |
//! | trims | files are held open: what was found stays readable. If one goes between the listing and its opening, the listing is done again |
//! | closes and cuts the last file | never before its end, and nothing is read behind the moment's |
//!
//! # Limits
//!
//! A position that was trimmed before the moment is [`LogError::Expired`]. The files that a moment holds open keep their
//! space on the disk until it is dropped. Whatever the owner has not written yet (settlements linger) is not there.

use super::checkpoint::{self, Chosen};
use super::disk::Storage;
use super::error::LogError;
use super::open::{begin, scan_all};
use super::recovery::{self, Link};
use super::scan::{self, Scan};
use super::segment::Segment;
use crate::sync::Arc;
use std::io::ErrorKind;
use std::path::Path;

/// How often the listing is begun anew because the owner changed the files meanwhile.
const ATTEMPTS: u32 = 16;

/// A log as it was at one moment.
pub(crate) struct Moment {
    pub segments: Vec<Arc<Segment>>,
    pub scans: Vec<Scan>,
    pub chosen: Chosen,
    pub durable: u64,
    pub end: u64,
}

impl Moment {
    /// Looks at the log in `dir`.
    pub fn of(storage: &dyn Storage, dir: &Path) -> Result<Self, LogError> {
        let mut attempt = 1;
        loop {
            match Self::look(storage, dir) {
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => attempt += 1,
                other => return other,
            }
        }
    }

    fn look(storage: &dyn Storage, dir: &Path) -> Result<Self, LogError> {
        let listing = scan::list(storage, dir)?;
        let chain = recovery::chain(storage, listing.segments)?;
        let log_id = chain.links.first().map(|link| link.header.log_id);
        let chosen = checkpoint::choose(storage, listing.checkpoints, log_id)?;
        let known = begin(&chain, &chosen)?;
        let mut links = chain.links;
        let ranges: Vec<_> = links.iter().map(|link| link.unknown(&known)).collect();
        let mut scans = scan_all(storage, &links, &ranges, &|_| {})?;
        let durable = recovery::durable(&links, &scans, &known);
        let mut end = None;
        for (index, link) in links.iter().enumerate() {
            let range = ranges[index].clone();
            if scans[index].anomalies.iter().any(|anomaly| anomaly.at < durable) {
                scans[index] =
                    scan::scan(storage, &link.listed, &link.header, range.clone(), &mut |_| {})?;
            }
            let Some(first) = scans[index].anomalies.first().copied() else {
                continue;
            };
            if first.at < durable {
                return Err(recovery::damage(link, &first).into());
            }
            // What is counted is what lies before the end.
            let before = range.start.min(first.at)..first.at;
            scans[index] = scan::scan(storage, &link.listed, &link.header, before, &mut |_| {})?;
            end = Some((index, first.at));
            break;
        }
        let end = cut(&mut links, end).filter(|end| known.durable <= *end);
        let Some(end) = end else {
            return Err(LogError::NoLog { dir: dir.to_owned() });
        };
        scans.truncate(links.len());
        let held = |(index, link): (usize, &Link)| {
            let stop = if index + 1 == links.len() { end } else { link.stop };
            Segment::sealed(storage, link.listed.path.clone(), link.header, stop).map(Arc::new)
        };
        let segments = links.iter().enumerate().map(held).collect::<Result<_, _>>()?;
        Ok(Self { segments, scans, chosen, durable: durable.min(end), end })
    }
}

/// Drops the links in which nothing is; answers where the log ends, if anything is left.
fn cut(links: &mut Vec<Link>, end: Option<(usize, u64)>) -> Option<u64> {
    let (last, mut end) = end.or(links.last().map(|last| (links.len() - 1, last.stop)))?;
    links.truncate(last + 1);
    while let Some(last) = links.last() {
        if last.header.base < end {
            return Some(end);
        }
        end = last.header.prev_end;
        links.pop();
    }
    None
}

/// Can it be that the owner changed the files while they were listed?
fn may_pass(error: &LogError) -> bool {
    match error {
        LogError::Storage(error) => error.source.kind() == ErrorKind::NotFound,
        LogError::SegmentMissing { .. } | LogError::NoLog { .. } => true,
        _ => false,
    }
}
