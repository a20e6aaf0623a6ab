//! What a repaired log, and a repaired queue, is worth: held against a look at each frame before the repair.

use super::*;
use millstream::log::{FrameState, Position, Repair, RepairMode, frames, repair};
use millstream::{DEAD_LETTERS, LOST_TOPICS, OpenError, QueueError, Start};
use std::collections::BTreeMap;
use std::ops::Range;
/// In memory where there is such a place: thousands of repairs sync.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A damage of one file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Changed(usize),
    Cut(usize),
    Gone,
}

impl Harm {
    fn on(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Changed(at) => bytes[at] ^= if at.is_multiple_of(2) { 0x81 } else { 0xff },
            Self::Cut(len) => bytes.truncate(len),
            Self::Gone => return None,
        }
        Some(bytes)
    }
}

/// The names and bytes of a directory's files.
type Image = Vec<(PathBuf, Vec<u8>)>;

fn image(dir: &Path) -> Image {
    let named = |(path, bytes): (PathBuf, _)| (path.file_name().unwrap().into(), bytes);
    contents(dir).into_iter().map(named).collect()
}

/// That image with one file harmed.
fn harmed(image: &Image, file: &Path, harm: Harm) -> tempfile::TempDir {
    let dir = place();
    for (name, bytes) in image {
        let now = if name == file { harm.on(bytes) } else { Some(bytes.clone()) };
        if let Some(bytes) = now {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
    }
    dir
}

fn is_segment(name: &Path) -> bool {
    name.extension().is_some_and(|it| it == "seg")
}

/// The harms that are tried on a file.
fn harms(name: &Path, bytes: &[u8], seed: u64) -> Vec<Harm> {
    let frames = if is_segment(name) { forge::frames(bytes) } else { Vec::new() };
    let anatomy = Anatomy { path: name.into(), bytes: bytes.to_vec(), frames, is_last: false };
    let every = if all() { 61 } else { 23 };
    let places = anatomy.places(seed).into_iter().skip(seed as usize % every).step_by(every);
    let both = places.flat_map(|at| [Harm::Changed(at), Harm::Cut(at)]);
    // The first frames are the ones that say what the others are about.
    let early = anatomy.frames.iter().take(16).map(|frame| Harm::Changed(frame.offset + 33));
    both.chain(early).chain([Harm::Gone]).collect()
}

/// A frame that a look at each called whole, with records in it: its place, and its bytes.
type Whole = (u64, u64, Vec<u8>);

/// The whole frames with records in them, and whether there is anything else than whole frames.
fn whole_frames(dir: &Path) -> (Vec<Whole>, bool) {
    let (mut whole, mut gaps) = (Vec::new(), false);
    let looked = frames(dir, Position::from_u64(0).unwrap(), |frame| {
        gaps |= frame.state != FrameState::Whole;
        if frame.state == FrameState::Whole && matches!(frame.kind, "record" | "batch") {
            let mut bytes = vec![0; frame.bytes as usize];
            File::open(&frame.file).unwrap().read_exact_at(&mut bytes, frame.offset).unwrap();
            whole.push((frame.place.start.as_u64(), frame.place.end.as_u64(), bytes));
        }
        true
    });
    looked.unwrap();
    (whole, gaps)
}

/// Is all of the frame among what the report calls lost?
fn is_reported(repaired: &Repair, frame: &Whole) -> bool {
    let inside =
        |lost: &Range<Position>| lost.start.as_u64() <= frame.0 && frame.1 <= lost.end.as_u64();
    repaired.remedies.iter().any(|remedy| inside(&remedy.lost))
}

/// Promise: whatever was damaged, repair keeps every frame that a look at each one called whole, at its place and with its
/// bytes; what is missing afterwards is in the report; nothing is there that was not before; `verify` is content, and an owner
/// goes on.
/// Method: a log of several segments with two checkpoints; in each of its files a byte changed, an end cut off, all of it gone.
#[test]
fn a_repair_keeps_each_whole_frame_reports_each_gap_and_invents_nothing() {
    let seed = seed();
    let (dir, _) = a_closed_log_with_checkpoints();
    let original = image(dir.path());
    let (frames_once, _) = whole_frames(dir.path());
    let first = original.iter().find(|one| is_segment(&one.0)).unwrap();
    let last = original.iter().rfind(|one| is_segment(&one.0)).unwrap();
    let (mut tried, mut remedies, mut refused) = (0, 0, 0);
    for (name, bytes) in &original {
        for harm in harms(name, bytes, seed) {
            let what = format!("{name:?} {harm:?}");
            let dir = harmed(&original, name, harm);
            let (before, _) = whole_frames(dir.path());
            tried += 1;
            let repaired = match repair(dir.path(), RepairMode::Apply, &mut |_, _| {}) {
                Ok(repaired) => repaired,
                // A version that is newer is no damage, as far as anybody can tell.
                Err(LogError::Newer { path, .. }) => {
                    assert!(path.ends_with(name), "{what}: {path:?}");
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("{what}: {other}"),
            };
            remedies += repaired.remedies.len();
            let (after, gaps) = whole_frames(dir.path());
            assert!(!gaps, "{what}: a gap was left");
            assert!(before.iter().all(|frame| after.contains(frame)), "{what}: a whole frame went");
            assert!(after.iter().all(|frame| frames_once.contains(frame)), "{what}: invented");
            let end = Archive::open(dir.path()).unwrap().end().as_u64();
            for frame in frames_once.iter().filter(|frame| !after.contains(frame)) {
                // Of what lay behind the last thing that anybody knows, nobody can tell that it was there.
                let torn = *name == last.0 && end <= frame.0;
                // Nor of a segment before the first one that is there.
                let torn = torn || (*name == first.0 && matches!(harm, Harm::Gone));
                assert!(
                    torn || is_reported(&repaired, frame),
                    "{what}: {:?} is not reported: {:?}",
                    frame.0..frame.1,
                    repaired.remedies
                );
            }
            goes_on(dir.path(), &after, &what);
        }
    }
    println!("{tried} damages repaired, {remedies} remedies, {refused} refused as newer");
}

/// The log is as good as any: nothing to find, and the next owner appends behind what is there.
fn goes_on(dir: &Path, there: &[Whole], what: &str) {
    let found = verify(dir, &mut |_, _| {}).unwrap();
    assert!(found.damages.is_empty(), "{what}: {found:?}");
    let bodies = read(&Archive::open(dir).unwrap()).unwrap();
    let log = Log::open(dir, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let record = Record { tag: 0, topic: 0, time_ns: 0, parts: &[b"new"] };
    let appended = log.append(&record, Budget::Publish).unwrap();
    assert!(there.iter().all(|frame| frame.1 <= appended.at.as_u64()), "{what}: a place twice");
    log.close().unwrap();
    drop(log);
    let mut again = read(&Archive::open(dir).unwrap()).unwrap();
    assert_eq!(again.pop().unwrap(), b"new", "{what}");
    assert!(again == bodies, "{what}: an open changed what is there");
}

/// All that a queue's log holds, settled or not: place, payload.
fn published(dir: &Path) -> BTreeMap<u64, Vec<u8>> {
    let engine = Engine::open(config(dir)).unwrap();
    let mut all = BTreeMap::new();
    for filter in ["work.*", "held", DEAD_LETTERS] {
        let every = Subscription::new(filter).name("every").start(Start::Earliest);
        let every = engine.subscriber(every).unwrap();
        while let Some(one) = every.try_recv().unwrap() {
            all.insert(one.id().position(), one.payload().to_vec());
            one.ack().unwrap();
        }
        drop(every);
        engine.unsubscribe("every").unwrap();
    }
    engine.close(Duration::ZERO).unwrap();
    all
}

/// Whatever waits in the subscription, and may be had now.
fn drained(engine: &Engine, filter: &str, name: &str) -> BTreeMap<u64, (String, Vec<u8>)> {
    let subscription = Subscription::new(filter).name(name).start(Start::Earliest);
    let subscriber = engine.subscriber(subscription).unwrap();
    let mut found = BTreeMap::new();
    while let Some(one) = subscriber.try_recv().unwrap() {
        found.insert(one.id().position(), (one.topic().to_string(), one.payload().to_vec()));
        one.ack().unwrap();
    }
    found
}

/// Promise: a queue whose log was repaired opens. Every message that was waiting and whose frame was whole comes, to the
/// subscription that it waited in, or, where the record that made its topic is lost, under [`LOST_TOPICS`]; nothing else comes
/// but what was published; what is left over at the end is what waits for a later attempt, inside the queue and from outside.
/// Method: in each file of a queue, with its checkpoints and without, a byte changed, an end cut off, all of it gone.
#[test]
fn a_repaired_queue_opens_and_gives_all_that_is_whole() {
    let seed = seed();
    let queue = a_closed_queue();
    let with_checkpoints = image(queue.path());
    let without: Image =
        with_checkpoints.iter().filter(|one| is_segment(&one.0)).cloned().collect();
    let all = published(copied(queue.path()).path());
    let waiting: BTreeSet<u64> = {
        let copy = copied(queue.path());
        let engine = Engine::open(config(copy.path())).unwrap();
        let found = drained(&engine, "work.*", "slow").into_keys().collect();
        engine.close(Duration::ZERO).unwrap();
        found
    };
    let (mut tried, mut placed) = (0, 0);
    for original in [&with_checkpoints, &without] {
        for (name, bytes) in original {
            for harm in harms(name, bytes, seed) {
                let what = format!("{name:?} of {}: {harm:?}", original.len());
                let dir = harmed(original, name, harm);
                let repaired = match repair(dir.path(), RepairMode::Apply, &mut |_, _| {}) {
                    Err(LogError::Newer { .. }) => continue,
                    repaired => repaired.unwrap(),
                };
                tried += 1;
                let (whole, _) = whole_frames(dir.path());
                let engine = match Engine::open(config(dir.path())) {
                    // A file that is gone: with it what says where the queue begins.
                    Err(OpenError::Records(QueueError::HistoryMissing { .. })) => continue,
                    engine => engine.unwrap_or_else(|error| panic!("{what}: {error}")),
                };
                let slow = drained(&engine, "work.*", "slow");
                let lost = drained(&engine, LOST_TOPICS, "lost");
                placed += lost.len();
                drained(&engine, "work.*", "fast");
                drained(&engine, "held", "held");
                drained(&engine, DEAD_LETTERS, "dead");
                for (place, (topic, payload)) in slow.iter().chain(&lost) {
                    assert_eq!(
                        all.get(place),
                        Some(payload),
                        "{what}: invented in {topic} at {place}"
                    );
                }
                for place in &waiting {
                    let kept = whole.iter().any(|frame| (frame.0..frame.1).contains(place));
                    let came = slow.contains_key(place) || lost.contains_key(place);
                    assert!(came || !kept, "{what}: {place} did not come: {:?}", repaired.remedies);
                }
                let depth = engine.stats().depth;
                let ready: u64 = depth.subscriptions.iter().map(|one| one.depth.ready).sum();
                assert_eq!((ready, depth.held), (0, 0), "{what}: {depth:?}");
                let delayed = depth.total();
                engine.close(Duration::ZERO).unwrap();
                let outside = Inspection::open(dir.path()).unwrap().depth();
                assert_eq!(outside.total(), delayed, "{what}: {outside:?}");
            }
        }
    }
    assert!(placed > 0, "no topic's record was among the damages");
    println!("{tried} queues repaired; {placed} messages came under {LOST_TOPICS}");
}
