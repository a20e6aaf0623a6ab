//! What `repair` makes of damaged logs: each byte changed, each file cut and taken away.
//!
//! Method: a small log of several segments is made once, closed, and kept as bytes. Each case writes it anew with one damage,
//! and what comes out is held against the records that the damage did not touch: all of them, at their positions, in order,
//! and nothing else.

use super::{
    Archive, Budget, DamageKind, Log, LogError, LogOptions, Position, Record, RemedyKind, Repair,
    RepairMode, repair, verify,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

const CAPACITY: u64 = 64 << 10;
const PAGE: usize = 4096;

/// A record: its position, its body, and the bytes of its frame in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    at: u64,
    body: Vec<u8>,
    file: String,
    frame: Range<usize>,
}

/// A log as bytes.
#[derive(Debug, Clone)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
    records: Vec<Kept>,
}

/// In memory where there is such a place: thousands of cases sync.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> LogOptions {
    LogOptions::new().segment_bytes(CAPACITY).disk_max_bytes(1 << 24)
}

fn record<'a>(parts: &'a [&'a [u8]]) -> Record<'a> {
    Record { tag: 1, topic: 2, time_ns: 3, parts }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = entries.filter(|path| path.extension().is_some_and(|it| it == "seg"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    segments.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

impl Image {
    /// `opens` owners, each of which appends a few records and a batch.
    fn of(opens: u8, records: u8) -> Self {
        let dir = place();
        for open in 0..opens {
            let log = Log::open(dir.path(), options()).unwrap();
            for number in 0..records {
                let body = vec![16 * open + number; 10 + 30 * usize::from(number)];
                log.append(&record(&[&body]), Budget::Publish).unwrap();
            }
            let pair: [&[&[u8]]; 2] = [&[b"one of a pair"], &[b"the other", &[open]]];
            log.append_batch(&pair.map(record), Budget::Publish).unwrap();
            log.close().unwrap();
        }
        Self::read(dir.path())
    }

    fn read(dir: &Path) -> Self {
        let archive = Archive::open(dir).unwrap();
        let mut reader = archive.reader(archive.start());
        let mut records = Vec::new();
        while let Some(found) = reader.next().unwrap() {
            let segments = archive.segments();
            let of = segments.iter().rfind(|one| one.base <= found.frame()).unwrap();
            let start = PAGE + (found.frame().as_u64() - of.base.as_u64()) as usize;
            let bytes = if found.frame() == found.position() {
                32 + found.body().len()
            } else {
                32 + 64 + 32 + 10 // the batch of `of`: its length without the last gap
            };
            records.push(Kept {
                at: found.position().as_u64(),
                body: found.body().to_vec(),
                file: of.path.file_name().unwrap().to_str().unwrap().to_owned(),
                frame: start..start + bytes,
            });
        }
        drop(archive);
        Self { files: files(dir), records }
    }

    fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn write(&self) -> tempfile::TempDir {
        let dir = place();
        for (name, bytes) in &self.files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut image = self.clone();
        change(image.files.get_mut(name).unwrap());
        image
    }

    fn without(&self, name: &str) -> Self {
        let mut image = self.clone();
        image.files.remove(name);
        image
    }
}

fn mend(dir: &Path, mode: RepairMode) -> Repair {
    repair(dir, mode, &mut |_, _| {}).unwrap()
}

/// Repairs, and holds the log against `kept`: positions and bodies, on the archive and on the opened log. Then the log goes
/// on.
#[track_caller]
fn repaired(image: &Image, kept: &[&Kept], context: &str) -> Repair {
    let dir = image.write();
    let before = files(dir.path());
    let said = mend(dir.path(), RepairMode::DryRun);
    assert_eq!(files(dir.path()), before, "{context}: a dry run changes nothing");
    let done = mend(dir.path(), RepairMode::Apply);
    assert_eq!(said.remedies, done.remedies, "{context}");
    let again = mend(dir.path(), RepairMode::Apply);
    assert!(again.remedies.is_empty() && again.originals.is_none(), "{context}: {again:?}");
    let clean = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!(clean.damages, [], "{context}");
    assert_eq!(clean.records, done.records, "{context}: every record is counted");
    let log = Log::open(dir.path(), options()).unwrap();
    let mut reader = log.reader(Position::of(0));
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        found.push((record.position().as_u64(), record.body().to_vec()));
    }
    let wanted: Vec<_> = kept.iter().map(|one| (one.at, one.body.clone())).collect();
    assert_eq!(found, wanted, "{context}");
    let end = log.committed();
    assert!(log.append(&record(&[b"on"]), Budget::Publish).unwrap().at >= end);
    log.close().unwrap();
    done
}

/// Promise: whichever byte changes, `verify` names its file, `repair` keeps every record whose frame it does not lie in, tells
/// of the gap, and the log opens. Fault planted: a PAD that reaches 32 bytes further; a header rebuilt with salt 0.
#[test]
fn whichever_byte_changes_only_the_frame_around_it_is_lost() {
    let image = Image::of(3, 1);
    for name in image.names() {
        let used = image.files[&name].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in (0..108).chain(PAGE..used.max(PAGE)) {
            let context = format!("{name} at {at}");
            let damaged = image.with(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            let hit = |one: &&Kept| one.file == name && one.frame.contains(&at);
            let kept: Vec<_> = image.records.iter().filter(|one| !hit(one)).collect();
            let dir = damaged.write();
            let found = verify(dir.path(), &mut |_, _| {}).unwrap();
            let named = found.damages.iter().all(|damage| damage.file.ends_with(&name));
            assert!(named, "{context}: {found:?}");
            let done = repaired(&damaged, &kept, &context);
            assert_eq!(done.remedies.len(), found.damages.len(), "{context}: {done:?}");
            let lost = kept.len() < image.records.len();
            assert!(!lost || done.remedies.len() == 1, "{context}: each gap is told");
        }
    }
}

/// Promise: a header page that is lost is rebuilt where name, neighbours and frames prove it, and every record is kept.
#[test]
fn a_lost_header_page_is_rebuilt_from_what_stands_around_it() {
    let image = Image::of(3, 3);
    let all: Vec<_> = image.records.iter().collect();
    for name in image.names() {
        let damaged = image.with(&name, |bytes| bytes[..PAGE].fill(0));
        let done = repaired(&damaged, &all, &name);
        let kinds: Vec<_> = done.remedies.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [RemedyKind::HeaderRestored], "{name}");
    }
    // Two in a row: the second one names nobody's salt.
    let names = image.names();
    let damaged = image.with(&names[0], |bytes| bytes[..PAGE].fill(0));
    let damaged = damaged.with(&names[1], |bytes| bytes[..PAGE].fill(7));
    repaired(&damaged, &all, "two headers");
}

/// Promise: a segment that is missing, or of which nothing can be proved, costs its own records only; what stands behind it
/// keeps its positions.
#[test]
fn a_segment_that_is_gone_costs_its_own_records_only() {
    let image = Image::of(4, 3);
    let names = image.names();
    for (index, name) in names.iter().enumerate() {
        let kept: Vec<_> = image.records.iter().filter(|one| one.file != *name).collect();
        let done = repaired(&image.without(name), &kept, name);
        let kinds: Vec<_> = done.remedies.iter().map(|one| one.kind).collect();
        let told = index > 0 && index + 1 < names.len();
        assert_eq!(kinds, vec![RemedyKind::Bridged; usize::from(told)], "{name}");

        let junk = image.with(name, |bytes| bytes.fill(9));
        let done = repaired(&junk, &kept, name);
        let aside = done.remedies.iter().filter(|one| one.kind == RemedyKind::SetAside).count();
        assert_eq!((aside, done.originals.is_some()), (1, true), "{name}: {done:?}");
    }
    let kept: Vec<_> =
        image.records.iter().filter(|one| !names[1..3].contains(&one.file)).collect();
    repaired(&image.without(&names[1]).without(&names[2]), &kept, "two in a row");
}

/// Promise: positions of a last segment that had to be set aside are not given again.
#[test]
fn positions_that_were_lost_are_not_given_again() {
    let image = Image::of(2, 3);
    let last = image.names().remove(1);
    let end = image.records.last().unwrap().at;
    let dir = image.with(&last, |bytes| bytes.fill(9)).write();
    mend(dir.path(), RepairMode::Apply);
    let log = Log::open(dir.path(), options()).unwrap();
    assert!(log.committed().as_u64() > end, "{} > {end}", log.committed());
}

/// Promise: a file that is cut, at any byte, costs the records behind the cut only; what other segments hold is kept.
#[test]
fn a_file_that_is_cut_costs_what_lay_behind_the_cut() {
    let image = Image::of(3, 3);
    for name in image.names() {
        for cut in (0..image.files[&name].len()).step_by(211) {
            let context = format!("{name} cut at {cut}");
            let damaged = image.with(&name, |bytes| bytes.truncate(cut));
            let whole = |one: &&Kept| one.file != name || one.frame.end <= cut;
            let kept: Vec<_> = image.records.iter().filter(whole).collect();
            let dir = damaged.write();
            match verify(dir.path(), &mut |_, _| {}) {
                Ok(found) if found.damages.is_empty() => {} // it looks like one that never had more
                Ok(_) => drop(repaired(&damaged, &kept, &context)),
                Err(LogError::NotOurs { .. } | LogError::SegmentMissing { .. }) => {
                    repaired(&damaged, &kept, &context);
                }
                Err(other) => panic!("{context}: {other}"),
            }
        }
    }
}

/// Promise: full segments of one owner, which begin with no OPEN frame, are rebuilt too, and a gap in the middle of one stops
/// at the next whole frame.
#[test]
fn segments_that_one_owner_filled_are_mended_in_the_middle() {
    let dir = place();
    let log = Log::open(dir.path(), options()).unwrap();
    for number in 0..200_u8 {
        log.append(&record(&[&vec![number; 1500]]), Budget::Publish).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let image = Image::read(dir.path());
    let names = image.names();
    assert!(names.len() > 4);
    let all: Vec<_> = image.records.iter().collect();
    for name in &names[1..4] {
        let damaged = image.with(name, |bytes| bytes[..PAGE].fill(0xff));
        repaired(&damaged, &all, name);
        let wiped = 20_000..30_000;
        let damaged = damaged.with(name, |bytes| bytes[wiped.clone()].fill(0));
        let whole = |one: &&Kept| {
            one.file != *name || one.frame.end <= wiped.start || wiped.end <= one.frame.start
        };
        let kept: Vec<_> = image.records.iter().filter(whole).collect();
        let done = repaired(&damaged, &kept, name);
        assert_eq!(done.remedies.len(), 2 + 1, "header, a body, and the gap behind it: {done:?}");
    }
}

/// Promise: the originals are kept as they were, and another name of the same file sees no change.
#[test]
fn originals_and_other_names_of_a_damaged_file_keep_their_bytes() {
    let image = Image::of(2, 3);
    let name = image.names().remove(0);
    let damaged = image.with(&name, |bytes| bytes[PAGE + 100] ^= 1);
    let dir = damaged.write();
    let other = dir.path().join("other name");
    std::fs::hard_link(dir.path().join(&name), &other).unwrap();
    let done = mend(dir.path(), RepairMode::Apply);
    let originals = done.originals.unwrap();
    assert_eq!(originals, dir.path().join("damaged-0"));
    for kept in [originals.join(&name), other] {
        assert_eq!(std::fs::read(kept).unwrap(), damaged.files[&name]);
    }
    assert_ne!(files(dir.path())[&name], damaged.files[&name]);
}

/// Promise: a repair that was killed is taken up by the next. Method: what it leaves between two of its steps.
#[test]
fn a_repair_that_was_killed_is_taken_up() {
    let image = Image::of(3, 3);
    let name = image.names().remove(1);
    let damaged = image.with(&name, |bytes| bytes[PAGE + 100] ^= 1);
    let dir = damaged.write();
    std::fs::create_dir(dir.path().join("damaged-0")).unwrap();
    std::fs::hard_link(dir.path().join(&name), dir.path().join("damaged-0").join(&name)).unwrap();
    std::fs::write(dir.path().join(format!("{name}.tmp")), b"half").unwrap();
    let done = mend(dir.path(), RepairMode::Apply);
    assert_eq!(done.originals, Some(dir.path().join("damaged-1")));
    Log::open(dir.path(), options()).unwrap();
}

#[test]
fn a_file_of_another_log_or_a_newer_version_is_no_damage_and_is_refused() {
    let image = Image::of(2, 1);
    let other = Image::of(3, 1);
    let mut mixed = image.clone();
    let foreign = other.names().remove(2);
    mixed.files.insert(foreign.clone(), other.files[&foreign].clone());
    let dir = mixed.write();
    let refused = repair(dir.path(), RepairMode::Apply, &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, LogError::Foreign { path } if path.ends_with(&foreign)));
    assert_eq!(files(dir.path()), mixed.files);

    let name = image.names().remove(1);
    let newer = image.with(&name, |bytes| {
        bytes[8] = 2;
        bytes[100] ^= 1;
    });
    let dir = newer.write();
    let refused = repair(dir.path(), RepairMode::Apply, &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, LogError::Newer { version: 2, .. }));
}

#[test]
fn a_segment_under_a_wrong_name_gets_its_own_back() {
    let image = Image::of(3, 2);
    let name = image.names().remove(1);
    let mut renamed = image.clone();
    let bytes = renamed.files.remove(&name).unwrap();
    renamed.files.insert("00000000000f0000.seg".to_owned(), bytes);
    let all: Vec<_> = image.records.iter().collect();
    let done = repaired(&renamed, &all, "renamed");
    assert_eq!(done.remedies[0].damage.what, DamageKind::SegmentName);
}

/// Promise: what stays behind a repair has sound headers: a segment that the next open would remove too. Found by fuzzing.
#[test]
fn a_damaged_header_behind_a_discarded_segment_is_set_aside() {
    let image = Image::of(3, 2);
    let names = image.names();
    let sealed = |bytes: &mut Vec<u8>| {
        let crc = crc32c::crc32c(&bytes[..104]);
        bytes[104..108].copy_from_slice(&crc.to_le_bytes());
    };
    let odd = image
        .with(&names[1], |bytes| {
            bytes[72] ^= 1; // the predecessor's salt: of another timeline
            sealed(bytes);
        })
        .with(&names[2], |bytes| {
            bytes[56] ^= 1; // the capacity: no power of two
            sealed(bytes);
        });
    let kept: Vec<_> = image.records.iter().filter(|one| one.file == names[0]).collect();
    let done = repaired(&odd, &kept, "odd");
    assert_eq!(done.remedies.last().map(|one| one.kind), Some(RemedyKind::SetAside));
}

/// Promise: a segment under a wrong name tells what its damaged neighbour's salt was, as one under its own name does. Found by
/// fuzzing: the neighbour got another salt, and the segment counted as discarded.
#[test]
fn a_segment_under_a_wrong_name_vouches_for_its_damaged_neighbour() {
    let image = Image::of(3, 2);
    let names = image.names();
    let mut odd = image.with(&names[1], |bytes| bytes[..PAGE].fill(9));
    let last = odd.files.remove(&names[2]).unwrap();
    odd.files.insert("00000000000f0000.seg".to_owned(), last);
    let all: Vec<_> = image.records.iter().collect();
    let done = repaired(&odd, &all, "both");
    let kinds: Vec<_> = done.remedies.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [RemedyKind::HeaderRestored, RemedyKind::Renamed]);
}

#[test]
fn a_log_that_is_owned_is_not_repaired_and_an_empty_directory_is_none() {
    let dir = place();
    let found = repair(dir.path(), RepairMode::Apply, &mut |_, _| {});
    assert!(matches!(found, Err(LogError::NoLog { .. })));
    let _log = Log::open(dir.path(), options()).unwrap();
    for mode in [RepairMode::DryRun, RepairMode::Apply] {
        let found = repair(dir.path(), mode, &mut |_, _| {});
        assert!(matches!(found, Err(LogError::Locked { .. })));
    }
}

/// Promise: what the checkpoint proves to have been there is told and bridged, at either end, and the log opens; a checkpoint
/// that is not whole is set aside.
#[test]
fn what_a_checkpoint_needs_and_is_gone_is_bridged_at_either_end() {
    let dir = place();
    for open in 0..3_u8 {
        let log = Log::open(dir.path(), options()).unwrap();
        log.append(&record(&[&[open; 40]]), Budget::Publish).unwrap();
        log.write_checkpoint(log.start(), b"state").unwrap();
        log.close().unwrap();
    }
    let image = Image::read(dir.path());
    let checkpoints = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let checkpoints: Vec<_> =
        checkpoints.filter(|path| path.extension().is_some_and(|it| it == "ckpt")).collect();
    assert_eq!(checkpoints.len(), 2);
    let names = image.names();
    for gone in [&names[0], &names[2]] {
        let dir = image.without(gone).write();
        for path in &checkpoints {
            std::fs::copy(path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let archived = Archive::open(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(archived, LogError::SegmentMissing { .. } | LogError::EndMissing { .. }));
        let done = mend(dir.path(), RepairMode::Apply);
        let kinds: Vec<_> = done.remedies.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [RemedyKind::Bridged], "{gone}");
        assert!(mend(dir.path(), RepairMode::Apply).remedies.is_empty(), "{gone}");
        let log = Log::open(dir.path(), options()).unwrap();
        assert_eq!(log.checkpoint().unwrap().body(), b"state");
        let mut reader = log.reader(log.start());
        let found: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        let kept: Vec<_> = image.records.iter().filter(|one| one.file != *gone).collect();
        assert_eq!(found.len(), kept.len());
    }
    let dir = image.write();
    let rotten = dir.path().join(checkpoints[0].file_name().unwrap());
    std::fs::write(&rotten, b"rubbish").unwrap();
    let done = mend(dir.path(), RepairMode::Apply);
    assert_eq!(done.remedies[0].damage.what, DamageKind::Checkpoint);
    assert!(!rotten.exists() && done.originals.unwrap().join(rotten.file_name().unwrap()).exists());
}
