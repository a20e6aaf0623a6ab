//! What is on disk -> what the log is: tables, and pure functions over values.
//!
//! A dead **process** leaves the page cache whole: a hole is a publish that never returned, and frames behind it may
//! have been acknowledged, so the hole is padded (1.1). After a **power loss** unsynced pages survive in any subset: the
//! first hole at or above `D` is the end (1.2). `D` is what is known to have been durable: the greatest of the marks in
//! the checkpoint, in the segment headers and in every whole frame found, also behind holes. Below `D` damage is corruption.
//!
//! Nobody ever appends behind a recovered end (1.3): a frame that survived further out would come back as a ghost. Each
//! open starts a new segment with a fresh salt, which says where its predecessor ends.
//!
//! # Places in a segment: [`decide`]
//!
//! | # | at the successor's `prev_end` | header | body | below `D` | boot | whole frames behind | verdict |
//! |---|-------|--------|------|------|-------|-----|---------|
//! | 3 | yes   | any    | any  | any  | any   | any | [`Verdict::GoOn`] in the successor |
//! | 4 | no    | good   | good | any  | any   | any | [`Verdict::Accept`] |
//! | 5 | no    | good   | bad  | yes  | any   | any | [`Verdict::Corrupt`] |
//! | 6 | no    | bad, zero | any | yes | any  | any | [`Verdict::Corrupt`] |
//! | 7 | no    | zero   | any  | no   | same  | yes | [`Verdict::Pad`]: a dead reservation |
//! | 8 | no    | zero   | any  | no   | same  | no  | [`Verdict::End`] |
//! | 9 | no    | bad    | any  | no   | same  | any | [`Verdict::Corrupt`]: a live page cache does not tear |
//! | 9b | no   | good   | bad  | no   | same  | any | [`Verdict::Corrupt`]: the same |
//! | 10 | no   | bad, zero | any | no | other | any | [`Verdict::Discard`]: the end; the rest is dropped and counted |
//! | 10b | no  | good   | bad  | no   | other | any | [`Verdict::Discard`] |
//!
//! # Files: [`chain`]
//!
//! | # | case | verdict |
//! |---|------|---------|
//! | 1 | header bad, another log's id, newer version | refuse, name the file; the last file, if nothing but zeros follows its header, is a leftover |
//! | 2 | `prev_salt` is not the predecessor's salt, base adjoins | a leftover: remove |
//! | 11 | the same, and there is room between the two | a segment is missing: refuse, name the file |
//! | | a segment without a frame at the end of the chain | prepared ahead and never used: remove |
//!
//! # Limits
//!
//! A media fault inside the last synced group that is followed by a power loss looks like a torn tail. A file that lost
//! whole frames at its end above `D` looks like one that never had them. A disk that is taken away and put back, or a
//! snapshot that is put in its place, while the machine stays up looks like a dead process: what is torn there is refused
//! (rows 9, 9b), and is for `repair`.

use super::disk::Storage;
use super::error::{Damage, DamageKind, LogError};
use super::format::{HEADER_PAGE_BYTES, HeaderFault, Kind, SegmentHeader};
use super::scan::{Anomalous, Listed, Scan};
use std::ops::Range;

/// The header at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderState {
    Good,
    Bad,
    Zero,
}

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Is this where the successor says that its predecessor ends?
    pub seam: bool,
    pub header: HeaderState,
    pub body_good: bool,
    /// Does it lie below what is known to have been durable?
    pub below_durable: bool,
    /// Was the segment made since the machine came up?
    pub same_boot: bool,
    /// Are there whole frames behind it, in this segment or a later one?
    pub followed: bool,
}

/// What a place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    Accept,
    Corrupt,
    Pad,
    End,
    Discard,
}

/// The table of the page above.
pub(crate) fn decide(finding: Finding) -> Verdict {
    use HeaderState::{Bad, Good, Zero};
    let Finding { seam, header, body_good, below_durable, same_boot, followed } = finding;
    match (seam, header, body_good, below_durable, same_boot, followed) {
        (true, ..) => Verdict::GoOn,                             // 3
        (_, Good, true, ..) => Verdict::Accept,                  // 4
        (_, Good, false, true, ..) => Verdict::Corrupt,          // 5
        (_, Bad | Zero, _, true, ..) => Verdict::Corrupt,        // 6
        (_, Zero, _, false, true, true) => Verdict::Pad,         // 7
        (_, Zero, _, false, true, false) => Verdict::End,        // 8
        (_, Bad, _, false, true, _) => Verdict::Corrupt,         // 9
        (_, Good, false, false, true, _) => Verdict::Corrupt,    // 9b
        (_, Bad | Zero, _, false, false, _) => Verdict::Discard, // 10
        (_, Good, false, false, false, _) => Verdict::Discard,   // 10b
    }
}

/// The segments that belong to the log, in order, and those that do not.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub links: Vec<Link>,
    /// By base.
    pub leftovers: Vec<Listed>,
}

/// A segment of the log.
#[derive(Debug)]
pub(crate) struct Link {
    pub listed: Listed,
    pub header: SegmentHeader,
    /// Where its successor says that it ends, or the end of its capacity.
    pub stop: u64,
}

/// Rows 1, 2 and 11: which files make the log.
pub(crate) fn chain(storage: &dyn Storage, segments: Vec<Listed>) -> Result<Chain, LogError> {
    let mut chain = Chain::default();
    let count = segments.len();
    for (index, listed) in segments.into_iter().enumerate() {
        let header = match listed.header {
            Ok(header) if header.base == listed.name_base => header,
            Ok(_) => return Err(listed.damaged()),
            Err(HeaderFault::Newer(version)) => {
                return Err(LogError::Newer { path: listed.path, version });
            }
            Err(_) if index + 1 == count && listed.blank(storage)? => {
                chain.leftovers.push(listed);
                continue;
            }
            Err(HeaderFault::NotOurs) => return Err(LogError::NotOurs { path: listed.path }),
            Err(HeaderFault::Damaged) => return Err(listed.damaged()),
        };
        match judge(&chain, &header) {
            Linked::Follows => {
                if let Some(last) = chain.links.last_mut() {
                    last.stop = header.prev_end;
                }
                let stop = header.capacity_end();
                chain.links.push(Link { listed, header, stop });
            }
            Linked::Leftover => chain.leftovers.push(listed),
            Linked::Missing => return Err(LogError::SegmentMissing { path: listed.path }),
            Linked::Foreign => return Err(LogError::Foreign { path: listed.path }),
            Linked::Impossible => return Err(listed.damaged()),
        }
    }
    Ok(chain)
}

/// How a segment stands to the chain before it.
pub(crate) enum Linked {
    Follows,
    Leftover,
    Missing,
    Foreign,
    Impossible,
}

/// Rows 2 and 11.
pub(crate) fn judge(chain: &Chain, header: &SegmentHeader) -> Linked {
    let Some(last) = chain.links.last().map(|link| &link.header) else {
        return Linked::Follows;
    };
    if header.log_id != last.log_id {
        return Linked::Foreign;
    }
    if header.base < last.capacity_end() {
        return Linked::Impossible;
    }
    if header.prev_salt == last.salt {
        let inside = last.base <= header.prev_end && header.prev_end <= last.capacity_end();
        return if inside { Linked::Follows } else { Linked::Impossible };
    }
    let behind_leftover = chain
        .leftovers
        .iter()
        .any(|one| one.header.is_ok_and(|leftover| leftover.salt == header.prev_salt));
    let adjoins = header.base == last.capacity_end();
    if adjoins || behind_leftover { Linked::Leftover } else { Linked::Missing }
}

/// What is to be done, and what the log is then.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// How many links are kept, and where the last of them ends.
    pub kept: usize,
    pub end: u64,
    /// What is known durable.
    pub durable: u64,
    /// Dead reservations: index of the link, and where.
    pub pads: Vec<(usize, Range<u64>)>,
    /// Did the last owner close the log?
    pub clean: bool,
    /// Where the log ended when an owner was last found to have died: some open begins a segment behind it, and no CLOSE
    /// stands before that. 0 if none ever did.
    pub crashed: u64,
    pub discarded_frames: u64,
    pub discarded_bytes: u64,
}

/// What the newest checkpoint says of the log: everything below `durable` is whole, and no scan looks at it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub durable: u64,
    /// Where the log ended when an owner last died before the checkpoint, or 0.
    pub crashed: u64,
}

impl Link {
    /// What of it is to be scanned.
    pub fn unknown(&self, known: &Known) -> Range<u64> {
        known.durable.clamp(self.header.base, self.stop)..self.stop
    }
}

/// Rows 3 to 10 over a whole chain; `scans` are those of its links.
pub(crate) fn plan(
    links: &[Link],
    scans: &[Scan],
    known: &Known,
    boot_id: u128,
) -> Result<Plan, LogError> {
    let mut plan =
        Plan { durable: durable(links, scans, known), crashed: known.crashed, ..Plan::default() };
    for (index, link) in links.iter().enumerate() {
        plan.kept = index + 1;
        plan.end = link.stop;
        for (verdict, anomaly) in verdicts(links, scans, index, plan.durable, boot_id) {
            match verdict {
                Verdict::Pad => plan.pads.push((index, anomaly.at..anomaly.until)),
                Verdict::End => return Ok(plan.ended(links, scans, anomaly.at)),
                Verdict::Discard => {
                    plan.discard(scans, anomaly.frames_before);
                    return Ok(plan.ended(links, scans, anomaly.at));
                }
                Verdict::Corrupt => return Err(damage(link, anomaly).into()),
                Verdict::GoOn | Verdict::Accept => {}
            }
        }
    }
    let end = plan.end;
    Ok(plan.ended(links, scans, end))
}

/// The verdict on each anomaly of a link.
pub(crate) fn verdicts<'a>(
    links: &'a [Link],
    scans: &'a [Scan],
    index: usize,
    durable: u64,
    boot_id: u128,
) -> impl Iterator<Item = (Verdict, &'a super::scan::Anomaly)> {
    let followed_later = scans[index + 1..].iter().any(|later| later.frames > 0);
    let same_boot = links[index].header.boot_id == boot_id;
    scans[index].anomalies.iter().map(move |anomaly| {
        let finding = Finding {
            seam: false, // a scan ends there
            header: match anomaly.what {
                Anomalous::Zero => HeaderState::Zero,
                Anomalous::Header => HeaderState::Bad,
                Anomalous::Body | Anomalous::Inside => HeaderState::Good,
            },
            body_good: false,
            below_durable: anomaly.at < durable,
            same_boot,
            followed: anomaly.followed || followed_later,
        };
        (decide(finding), anomaly)
    })
}

/// `D`: what is known to have been durable.
pub(crate) fn durable(links: &[Link], scans: &[Scan], known: &Known) -> u64 {
    let headers = links.iter().map(|link| link.header.durable);
    let frames = scans.iter().map(|scan| scan.durable);
    headers.chain(frames).max().unwrap_or(0).max(known.durable)
}

/// What an anomaly is called where it is damage.
pub(crate) fn damage(link: &Link, anomaly: &super::scan::Anomaly) -> Damage {
    Damage {
        file: link.listed.path.clone(),
        offset: HEADER_PAGE_BYTES + anomaly.at - link.header.base,
        what: match anomaly.what {
            Anomalous::Zero => DamageKind::FrameMissing,
            Anomalous::Header => DamageKind::FrameHeader,
            Anomalous::Body => DamageKind::FrameBody,
            Anomalous::Inside => DamageKind::FrameInside,
        },
    }
}

impl Plan {
    fn discard(&mut self, scans: &[Scan], frames_before: u64) {
        let here = &scans[self.kept - 1];
        let later = scans[self.kept..].iter().map(|scan| scan.frames).sum::<u64>();
        self.discarded_frames = here.frames - frames_before + later;
    }

    /// The log ends at `end`, in the last link kept; a link in which nothing is left goes.
    fn ended(mut self, links: &[Link], scans: &[Scan], end: u64) -> Self {
        let last_end = scans.iter().rev().find_map(|scan| scan.last).map_or(end, |last| last.1);
        self.discarded_bytes = if self.discarded_frames > 0 { last_end - end } else { 0 };
        self.end = end;
        while let Some(last) = self.kept.checked_sub(1) {
            if self.end > links[last].header.base {
                break;
            }
            self.end = links[last].header.prev_end;
            self.kept = last;
        }
        let last = self.kept.checked_sub(1).and_then(|index| scans[index].last);
        let closed = last == Some((Kind::Close, self.end));
        self.clean = closed && self.discarded_frames == 0 && self.pads.is_empty();
        let unclosed = |index: &usize| {
            let (before, stop) = (&scans[index - 1], links[index - 1].stop);
            scans[*index].first == Some(Kind::Open) && before.last != Some((Kind::Close, stop))
        };
        let earlier = (1..self.kept).rev().find(unclosed).map(|index| links[index].header.prev_end);
        if !self.clean {
            self.crashed = self.end;
        } else if let Some(earlier) = earlier {
            self.crashed = earlier;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HeaderState::{Bad, Good, Zero};

    /// A row of the table: `None` is "any".
    struct Row {
        seam: Option<bool>,
        headers: &'static [HeaderState],
        body_good: Option<bool>,
        below: Option<bool>,
        same_boot: Option<bool>,
        followed: Option<bool>,
        verdict: Verdict,
    }

    const ANY: &[HeaderState] = &[Good, Bad, Zero];
    const NO: Option<bool> = Some(false);
    const YES: Option<bool> = Some(true);

    const fn row(
        seam: Option<bool>,
        headers: &'static [HeaderState],
        [body_good, below, same_boot, followed]: [Option<bool>; 4],
        verdict: Verdict,
    ) -> Row {
        Row { seam, headers, body_good, below, same_boot, followed, verdict }
    }

    const TABLE: [Row; 10] = [
        row(YES, ANY, [None; 4], Verdict::GoOn), // 3
        row(NO, &[Good], [YES, None, None, None], Verdict::Accept), // 4
        row(NO, &[Good], [NO, YES, None, None], Verdict::Corrupt), // 5
        row(NO, &[Bad, Zero], [None, YES, None, None], Verdict::Corrupt), // 6
        row(NO, &[Zero], [None, NO, YES, YES], Verdict::Pad), // 7
        row(NO, &[Zero], [None, NO, YES, NO], Verdict::End), // 8
        row(NO, &[Bad], [None, NO, YES, None], Verdict::Corrupt), // 9
        row(NO, &[Good], [NO, NO, YES, None], Verdict::Corrupt), // 9b
        row(NO, &[Bad, Zero], [None, NO, NO, None], Verdict::Discard), // 10
        row(NO, &[Good], [NO, NO, NO, None], Verdict::Discard), // 10b
    ];

    fn fits(row: &Row, finding: &Finding) -> bool {
        let same = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        same(row.seam, finding.seam)
            && row.headers.contains(&finding.header)
            && same(row.body_good, finding.body_good)
            && same(row.below, finding.below_durable)
            && same(row.same_boot, finding.same_boot)
            && same(row.followed, finding.followed)
    }

    /// Promise: the table has one row for each case, and `decide` is the table. Method: all 96 combinations.
    #[test]
    fn exactly_one_row_applies_to_every_combination() {
        for bits in 0..32_u32 {
            for header in [Good, Bad, Zero] {
                let bit = |index: u32| bits & (1 << index) != 0;
                let finding = Finding {
                    seam: bit(0),
                    header,
                    body_good: bit(1),
                    below_durable: bit(2),
                    same_boot: bit(3),
                    followed: bit(4),
                };
                let rows: Vec<_> = TABLE.iter().filter(|row| fits(row, &finding)).collect();
                assert_eq!(rows.len(), 1, "{finding:?}");
                assert_eq!(decide(finding), rows[0].verdict, "{finding:?}");
            }
        }
    }
}
