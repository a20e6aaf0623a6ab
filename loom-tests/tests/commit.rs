//! Models of the log's tail: reserve, commit, help, refuse.
//!
//! Frames are 32 to 96 bytes, a segment four times 32. A frame's body is one cell whose accesses loom watches: a read
//! that is not ordered behind its write is reported, so the pairs of the table in `src/log/tail.rs` are under test too.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::thread;
use loom_tests::explore;
use millstream::modelled::{Bounds, Budget, Claim, Refused, Reserved, Tail, Words};
use std::ops::Range;

const FRAME: u64 = 32;
const FRAMES: usize = 8;

/// A log in a vector.
struct Log {
    tail: Tail,
    words: Vec<AtomicU32>,
    bodies: Vec<UnsafeCell<()>>,
}

/// The length words as the tail sees them.
struct Lengths<'a>(&'a [AtomicU32]);

impl Words for Lengths<'_> {
    fn word<R>(&self, at: u64, look: impl FnOnce(&AtomicU32) -> R) -> R {
        look(&self.0[(at / FRAME) as usize])
    }
}

impl Log {
    /// A log of which `prepared` bytes can be used.
    fn new(prepared: u64) -> Arc<Self> {
        let max = FRAMES as u64 * FRAME;
        Self::bounded(max, max, prepared)
    }

    /// A log that has so much room on its disk.
    fn bounded(publish_max: u64, settle_max: u64, prepared: u64) -> Arc<Self> {
        let bounds = Bounds { start: 0, segment_bytes: 4 * FRAME, publish_max, settle_max };
        let log = Self {
            tail: Tail::new(bounds),
            words: (0..FRAMES).map(|_| AtomicU32::new(0)).collect(),
            bodies: (0..FRAMES).map(|_| UnsafeCell::new(())).collect(),
        };
        log.tail.raise(prepared);
        Arc::new(log)
    }

    fn body(&self, at: u64) -> &UnsafeCell<()> {
        &self.bodies[(at / FRAME) as usize]
    }

    fn fill(&self, claim: Claim) -> Range<u64> {
        let at = claim.at();
        self.body(at).with_mut(|_| {});
        self.tail.commit(claim, &Lengths(&self.words))
    }

    /// Appends a frame of `len` bytes; answers where it is and what was advanced, in how many ranges.
    fn append(&self, len: u32) -> Result<(u64, u64), Refused> {
        self.append_by(len, Budget::Publish)
    }

    fn append_by(&self, len: u32, budget: Budget) -> Result<(u64, u64), Refused> {
        let Reserved { pad, claim } = self.tail.reserve(len, budget)?;
        let at = claim.at();
        let padded = pad.map_or(0..0, |pad| self.fill(pad));
        let advanced = self.fill(claim);
        Ok((at, (padded.end - padded.start) + (advanced.end - advanced.start)))
    }

    /// Reads every frame that is committed; answers how far that is.
    fn read(&self) -> u64 {
        let seen = self.tail.committed().end();
        let mut at = 0;
        while at < seen {
            let len = self.words[(at / FRAME) as usize].load(loom::sync::atomic::Ordering::Relaxed); // [relaxed]
            assert_ne!(len, 0, "below committed every frame is whole");
            self.body(at).with(|_| {});
            at += u64::from(len);
        }
        assert_eq!(at, seen, "committed is the end of a frame");
        seen
    }
}

fn spawn<T: 'static>(
    log: &Arc<Log>,
    act: impl FnOnce(&Log) -> T + 'static,
) -> thread::JoinHandle<T> {
    let log = log.clone();
    thread::spawn(move || act(&log))
}

/// Promise: of writers side by side none leaves the other's frame behind: in the end all is committed, and each byte was
/// advanced over by exactly one of them, who is the one to wake for it.
///
/// Method: two writers; no third one ever comes to help.
#[test]
fn nothing_committed_is_left_behind() {
    explore(3, || {
        let log = Log::new(4 * FRAME);
        let writers = [spawn(&log, |log| log.append(32)), spawn(&log, |log| log.append(32))];
        let done = writers.map(|writer| writer.join().unwrap().unwrap());
        assert_ne!(done[0].0, done[1].0);
        assert_eq!(log.read(), 2 * FRAME);
        assert_eq!(done[0].1 + done[1].1, 2 * FRAME);
    });
}

/// Promise: the same for three.
#[test]
fn nothing_committed_is_left_behind_by_three() {
    explore(2, || {
        let log = Log::new(4 * FRAME);
        let writers = [(); 3].map(|()| spawn(&log, |log| log.append(32).unwrap().1));
        let advanced: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!((log.read(), advanced), (3 * FRAME, 3 * FRAME));
    });
}

/// Promise: whoever sees a position committed reads whole frames below it, also those that a helper committed.
///
/// Method: two writers and a reader that reads twice.
#[test]
fn a_reader_sees_whole_frames_only() {
    explore(3, || {
        let log = Log::new(4 * FRAME);
        let writers = [spawn(&log, |log| log.append(32)), spawn(&log, |log| log.append(32))];
        let reader = spawn(&log, |log| {
            let first = log.read();
            assert!(first <= log.read(), "committed never goes back");
        });
        let _ = writers.map(|writer| writer.join().unwrap().unwrap());
        reader.join().unwrap();
    });
}

/// Promise: where a frame does not fit its segment, the rest of the segment is a PAD, and both are committed.
#[test]
fn a_frame_that_does_not_fit_leaves_a_pad() {
    explore(2, || {
        let log = Log::new(8 * FRAME);
        let writers = [spawn(&log, |log| log.append(96)), spawn(&log, |log| log.append(64))];
        let done = writers.map(|writer| writer.join().unwrap().unwrap());
        let end = log.read();
        assert_eq!(end, done[0].1 + done[1].1);
        let last = done[0].0.max(done[1].0);
        assert_eq!(last, 4 * FRAME, "the second one is in the next segment");
        assert_eq!(end, last + if done[0].0 == last { 96 } else { 64 });
    });
}

/// Promise: refusal is exact: what was accepted lies before the end that the closer was told, the rest was refused.
#[test]
fn what_is_accepted_lies_before_the_end() {
    explore(3, || {
        let log = Log::new(4 * FRAME);
        let writers = [spawn(&log, |log| log.append(32)), spawn(&log, |log| log.append(32))];
        let closer = spawn(&log, |log| log.tail.refuse_all());
        let done = writers.map(|writer| writer.join().unwrap());
        let end = closer.join().unwrap();
        let mut accepted = 0;
        for outcome in done {
            match outcome {
                Ok((at, _)) => {
                    assert!(at < end);
                    accepted += FRAME;
                }
                Err(refused) => assert_eq!(refused, Refused::Closed),
            }
        }
        assert_eq!((log.read(), log.tail.reserved()), (accepted, end));
        assert_eq!(accepted, end);
    });
}

/// Promise: nobody writes where it is not prepared, and a writer that was let in by a new limit leaves nothing behind for
/// one that still sees the old.
///
/// Method: the preparing thread writes the cells before it raises the limit.
#[test]
fn nobody_gets_in_front_of_the_preparation() {
    explore(2, || {
        let log = Log::new(FRAME);
        let preparer = spawn(&log, |log| {
            for at in [FRAME, 2 * FRAME] {
                log.body(at).with_mut(|_| {});
            }
            log.tail.raise(3 * FRAME);
        });
        let writers = [spawn(&log, |log| log.append(32)), spawn(&log, |log| log.append(32))];
        preparer.join().unwrap();
        let mut accepted = 0;
        for writer in writers {
            match writer.join().unwrap() {
                Ok(_) => accepted += FRAME,
                Err(refused) => assert!(matches!(refused, Refused::NotReady(_))),
            }
        }
        assert!(accepted >= FRAME);
        assert_eq!(log.read(), accepted);
    });
}

/// How many frames were accepted; the others were refused for that reason.
fn accepted<const N: usize>(outcomes: [Result<(u64, u64), Refused>; N], why: Refused) -> u64 {
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|one| one.as_ref().err().is_none_or(|refused| *refused == why)));
    accepted as u64
}

/// Promise: a writer that stops between reservation and commit holds up no writer, and no reader sees past it; the moment
/// it commits, everything behind it is committed too, and whoever waits for those frames is woken by it.
///
/// Method: the first reservation is taken beforehand, and its thread commits while two others append and a reader reads.
#[test]
fn a_gap_holds_up_readers_only_and_is_closed_with_all_behind_it() {
    explore(1, || {
        let log = Log::new(4 * FRAME);
        let stalled = log.tail.reserve(32, Budget::Publish).unwrap().claim;
        let late = spawn(&log, |log| log.fill(stalled));
        let writers = [(); 2].map(|()| spawn(&log, |log| log.append(32).unwrap()));
        let reader = spawn(&log, |log| {
            let first = log.read();
            assert!(first <= log.read(), "committed never goes back");
        });
        let behind: u64 = writers.into_iter().map(|writer| writer.join().unwrap().1).sum();
        let closed = late.join().unwrap();
        reader.join().unwrap();
        assert_eq!(log.read(), 3 * FRAME);
        assert_eq!(behind + (closed.end - closed.start), 3 * FRAME);
    });
}

/// Promise: the same gap, closed when all others are done: they moved nothing, and its writer moves over all three.
#[test]
fn the_writer_that_commits_last_moves_over_everything() {
    explore(3, || {
        let log = Log::new(4 * FRAME);
        let stalled = log.tail.reserve(32, Budget::Publish).unwrap().claim;
        let writers = [(); 2].map(|()| spawn(&log, |log| log.append(32).unwrap().1));
        let moved: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!((moved, log.read()), (0, 0));
        let late = spawn(&log, |log| log.fill(stalled));
        assert_eq!(late.join().unwrap(), 0..3 * FRAME);
        assert_eq!(log.read(), 3 * FRAME);
    });
}

/// Promise: three writers and a reader: what is seen committed is whole, whoever committed it.
#[test]
fn a_reader_sees_whole_frames_only_of_three() {
    explore(1, || {
        let log = Log::new(4 * FRAME);
        let writers = [(); 3].map(|()| spawn(&log, |log| log.append(32).unwrap().1));
        let reader = spawn(&log, Log::read);
        let moved: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert!(reader.join().unwrap() <= 3 * FRAME);
        assert_eq!((moved, log.read()), (3 * FRAME, 3 * FRAME));
    });
}

/// Promise: of three writers that the limit lets in one by one or together, none leaves a frame behind, and none writes where it is
/// not prepared.
#[test]
fn three_writers_behind_a_limit_that_rises() {
    explore(1, || {
        let log = Log::new(FRAME);
        let preparer = spawn(&log, |log| {
            [FRAME, 2 * FRAME].iter().for_each(|at| log.body(*at).with_mut(|_| {}));
            log.tail.raise(3 * FRAME);
        });
        let writers = [(); 3].map(|()| spawn(&log, |log| log.append(32)));
        preparer.join().unwrap();
        let mut accepted = 0;
        for writer in writers {
            match writer.join().unwrap() {
                Ok(_) => accepted += FRAME,
                Err(refused) => assert!(matches!(refused, Refused::NotReady(_))),
            }
        }
        assert!(accepted >= FRAME);
        assert_eq!(log.read(), accepted);
    });
}

/// Promise: refusal is exact under three writers too: what was accepted lies before the end that the closer was told.
#[test]
fn what_three_writers_got_in_lies_before_the_end() {
    explore(1, || {
        let log = Log::new(4 * FRAME);
        let writers = [(); 3].map(|()| spawn(&log, |log| log.append(32)));
        let closer = spawn(&log, |log| log.tail.refuse_all());
        let outcomes = writers.map(|writer| writer.join().unwrap());
        let end = closer.join().unwrap();
        assert_eq!(accepted(outcomes, Refused::Closed) * FRAME, end);
        assert_eq!((log.read(), log.tail.reserved()), (end, end));
    });
}

/// Promise: after a sync has failed nothing is reserved: what got in was before, for all three.
#[test]
fn nothing_gets_into_a_poisoned_log() {
    explore(1, || {
        let log = Log::new(4 * FRAME);
        let budgets = [Budget::Publish, Budget::Settle, Budget::Publish];
        let writers = budgets.map(|budget| spawn(&log, move |log| log.append_by(32, budget)));
        let poisoner = spawn(&log, |log| {
            log.tail.poison();
            log.tail.reserved()
        });
        let outcomes = writers.map(|writer| writer.join().unwrap());
        let end = poisoner.join().unwrap();
        assert_eq!(accepted(outcomes, Refused::Poisoned) * FRAME, end);
        assert_eq!((log.read(), log.tail.reserved()), (end, end));
    });
}

/// Promise: when publishes are refused, settlements are not, and a settlement does not open the log again.
///
/// Method: two publishers and one that settles twice beside the closer; then one more publish.
#[test]
fn publishes_end_and_settlements_go_on() {
    explore(1, || {
        let log = Log::new(6 * FRAME);
        let publishers = [(); 2].map(|()| spawn(&log, |log| log.append(32)));
        let settler = spawn(&log, |log| [(); 2].map(|()| log.append_by(32, Budget::Settle)));
        let closer = spawn(&log, |log| log.tail.refuse_publishes());
        let outcomes = publishers.map(|publisher| publisher.join().unwrap());
        let end = closer.join().unwrap();
        for outcome in &outcomes {
            assert!(outcome.as_ref().ok().is_none_or(|(at, _)| *at < end));
        }
        let published = accepted(outcomes, Refused::Closed);
        assert!(settler.join().unwrap().iter().all(Result::is_ok));
        assert_eq!(log.append(32).unwrap_err(), Refused::Closed);
        assert_eq!(log.read(), (published + 2) * FRAME);
    });
}

/// Promise: the last frame is the last: it is in, and the log closed, in one step. Method: a third writer beside two.
#[test]
fn the_last_frame_is_the_last() {
    explore(1, || {
        let log = Log::new(4 * FRAME);
        let budgets = [Budget::Publish, Budget::Settle];
        let writers = budgets.map(|budget| spawn(&log, move |log| log.append_by(32, budget)));
        let closer = spawn(&log, |log| {
            let last = log.tail.reserve_last(32).unwrap().claim;
            let end = last.end();
            log.fill(last);
            end
        });
        let outcomes = writers.map(|writer| writer.join().unwrap());
        let end = closer.join().unwrap();
        assert_eq!((accepted(outcomes, Refused::Closed) + 1) * FRAME, end);
        assert_eq!((log.read(), log.tail.reserved()), (end, end));
    });
}

/// Promise: the budget is exact under three writers: publishing ends where it is to, settling one frame before the end,
/// and the last frame has its place.
#[test]
fn each_budget_ends_where_it_should() {
    explore(1, || {
        let log = Log::bounded(2 * FRAME, 4 * FRAME, 4 * FRAME);
        let writers = [(); 3].map(|()| spawn(&log, |log| log.append(32)));
        let outcomes = writers.map(|writer| writer.join().unwrap());
        assert_eq!(accepted(outcomes, Refused::Full), 2);
        let outcomes = [(); 2].map(|()| log.append_by(32, Budget::Settle));
        assert_eq!(accepted(outcomes, Refused::Full), 1);
        assert_eq!(log.tail.reserve_last(32).unwrap().claim.end(), 4 * FRAME);
    });
}
