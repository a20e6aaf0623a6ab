//! Models of how the log is prepared ahead of its writers: who rings, who waits, who is told.
//!
//! The tail, and the protocol of `src/log/preparer.rs`, are the log's own; the ground is a vector of cells. A step is one
//! frame of 32 bytes, a segment two or four. Rests between steps end at once: no model knows time.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use loom_tests::{explore, three, two};
use millstream::modelled::{
    Bounds, Budget, Ground, NotPrepared, Preparer, Refused, Reserved, Tail, Words,
};

const FRAME: u64 = 32;
const FRAMES: usize = 8;

/// The attempt that was refused: the first is 1.
type Attempt = usize;

struct Log {
    tail: Tail,
    preparer: Preparer<Attempt>,
    segment_bytes: u64,
    words: Vec<AtomicU32>,
    cells: Vec<UnsafeCell<()>>,
    /// Made by the one thread that prepares.
    attempts: AtomicUsize,
    /// So many attempts are refused first.
    refused: usize,
}

impl Words for Log {
    fn word<R>(&self, at: u64, look: impl FnOnce(&AtomicU32) -> R) -> R {
        look(&self.words[(at / FRAME) as usize])
    }
}

impl Ground for Log {
    type Refusal = Attempt;

    fn limit(&self) -> u64 {
        self.tail.limit()
    }

    fn wanted(&self, needed: u64) -> u64 {
        let ahead = (self.tail.reserved() + self.segment_bytes).max(needed);
        ahead.min(self.tail.settle_max())
    }

    fn has_plenty(&self) -> bool {
        FRAME < self.tail.limit() - self.tail.reserved()
    }

    fn prepare(&self, limit: u64, _calm: bool) -> Result<(), Attempt> {
        let attempt = 1 + self.attempts.fetch_add(1, Ordering::Relaxed); // [relaxed] one thread
        if attempt <= self.refused {
            return Err(attempt);
        }
        self.cells[(limit / FRAME) as usize].with_mut(|_| {});
        self.tail.raise(limit + FRAME);
        Ok(())
    }

    fn at_leisure(&self) {}
}

impl Log {
    /// A log that ends at `max`, nothing prepared, whose first `refused` attempts to prepare fail.
    fn new(segment_bytes: u64, max: u64, refused: usize) -> Arc<Self> {
        let bounds = Bounds { start: 0, segment_bytes, publish_max: max, settle_max: max };
        Arc::new(Self {
            tail: Tail::new(bounds),
            preparer: Preparer::default(),
            segment_bytes,
            words: (0..FRAMES).map(|_| AtomicU32::new(0)).collect(),
            cells: (0..FRAMES).map(|_| UnsafeCell::new(())).collect(),
            attempts: AtomicUsize::new(0),
            refused,
        })
    }

    /// Appends a frame, waiting for room where none is prepared; answers where it ends.
    fn append(&self, len: u32) -> Result<u64, NotPrepared<Attempt>> {
        loop {
            match self.tail.reserve(len, Budget::Publish) {
                Ok(reserved) => return Ok(self.fill(reserved)),
                Err(Refused::NotReady(need)) => self.preparer.wait_for(need, self)?,
                Err(other) => panic!("not refused so: {other:?}"),
            }
        }
    }

    fn fill(&self, Reserved { pad, claim }: Reserved) -> u64 {
        let end = claim.end();
        for claim in pad.into_iter().chain([claim]) {
            let frames = (claim.at() / FRAME) as usize..(claim.end() / FRAME) as usize;
            self.cells[frames].iter().for_each(|cell| cell.with_mut(|_| {}));
            self.tail.commit(claim, self);
        }
        end
    }
}

/// Promise: a writer that waits is served, and writes what the housekeeping thread has made: neither sleeps for ever.
///
/// Method: two writers at the end of a log that is not prepared at all; whoever comes last ends the thread.
#[test]
fn writers_that_wait_are_served() {
    explore(1, || {
        let log = Log::new(2 * FRAME, 2 * FRAME, 0);
        let (one, other, keeper) = (log.clone(), log.clone(), log.clone());
        let left = Arc::new(AtomicUsize::new(2));
        let last = left.clone();
        let write = |log: Arc<Log>, left: Arc<AtomicUsize>| {
            let end = log.append(32);
            // [relaxed] only the count counts
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                log.preparer.stop();
            }
            end
        };
        let (first, second, ()) = three(
            move || write(one, left),
            move || write(other, last),
            move || keeper.preparer.run(&*keeper),
        );
        let ends = [first.expect("no refusal"), second.expect("no refusal")];
        assert_eq!(ends[0] + ends[1], 3 * FRAME);
        assert_eq!(log.tail.committed().end(), 2 * FRAME);
    });
}

/// Promise: a frame that ends further than a segment away gets its room.
///
/// Method: behind one frame there is no place for another of a whole segment, so it ends in the next one.
#[test]
fn a_frame_beyond_the_next_segment_gets_its_room() {
    explore(3, || {
        let log = Log::new(2 * FRAME, 4 * FRAME, 0);
        for limit in [0, FRAME] {
            log.prepare(limit, false).expect("nothing is refused");
        }
        log.append(32).expect("there is room");
        let (writer, keeper) = (log.clone(), log.clone());
        let (end, ()) = two(
            move || {
                let end = writer.append(64);
                writer.preparer.stop();
                end
            },
            move || keeper.preparer.run(&*keeper),
        );
        assert_eq!(end, Ok(4 * FRAME));
    });
}

/// Promise: a kick is enough to have the log prepared ahead: the thread that falls asleep at that moment hears it.
///
/// Method: nobody waits and nobody kicks again; the thread ends when it has come as far as it should.
#[test]
fn a_kick_is_heard() {
    struct Once(Arc<Log>);

    impl Ground for Once {
        type Refusal = Attempt;

        fn limit(&self) -> u64 {
            self.0.limit()
        }

        fn wanted(&self, needed: u64) -> u64 {
            self.0.wanted(needed)
        }

        fn has_plenty(&self) -> bool {
            self.0.has_plenty()
        }

        fn prepare(&self, limit: u64, calm: bool) -> Result<(), Attempt> {
            self.0.prepare(limit, calm)?;
            self.0.preparer.stop();
            Ok(())
        }

        fn at_leisure(&self) {}
    }

    explore(3, || {
        let log = Log::new(2 * FRAME, 2 * FRAME, 0);
        log.prepare(0, true).expect("nothing is refused");
        let (writer, keeper) = (log.clone(), Once(log.clone()));
        let (end, ()) = two(
            move || {
                let end = writer.append(32);
                writer.preparer.kick();
                end
            },
            move || keeper.0.preparer.run(&keeper),
        );
        assert_eq!((end, log.limit()), (Ok(FRAME), 2 * FRAME));
    });
}

/// Promise: a refusal reaches whoever waits, with its reason, and the next who needs room makes the thread try again.
///
/// Method: the first attempt is refused; two writers go on until they are served.
#[test]
fn a_refusal_reaches_whoever_waits_and_is_not_for_ever() {
    explore(1, || {
        let log = Log::new(2 * FRAME, 2 * FRAME, 1);
        let (one, other, keeper) = (log.clone(), log.clone(), log.clone());
        let left = Arc::new(AtomicUsize::new(2));
        let last = left.clone();
        let write = |log: Arc<Log>, left: Arc<AtomicUsize>| {
            let mut refused = 0;
            while let Err(why) = log.append(32) {
                assert_eq!(why, NotPrepared::Refused(1));
                refused += 1;
            }
            // [relaxed] only the count counts
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                log.preparer.stop();
            }
            refused
        };
        let (first, second, ()) = three(
            move || write(one, left),
            move || write(other, last),
            move || keeper.preparer.run(&*keeper),
        );
        assert!(first <= 1 && second <= 1, "one refusal, told once to each: {first}, {second}");
        // It may be nobody: room that was made before the refused one woke up is as good.
        assert_eq!(log.tail.committed().end(), 2 * FRAME);
    });
}

/// Promise: the end of the thread reaches every writer that waits, and the thread.
///
/// Method: nothing can be prepared; two writers wait while a third party ends it.
#[test]
fn the_end_reaches_everybody() {
    explore(2, || {
        let log = Log::new(2 * FRAME, 2 * FRAME, 0);
        let (one, other, closer) = (log.clone(), log.clone(), log.clone());
        let (first, second, ()) =
            three(move || one.append(32), move || other.append(32), move || closer.preparer.stop());
        assert_eq!((first, second), (Err(NotPrepared::Stopped), Err(NotPrepared::Stopped)));
    });
}

/// The same for the thread, beside a writer that kicks it.
#[test]
fn the_end_reaches_the_thread() {
    explore(3, || {
        let log = Log::new(2 * FRAME, 2 * FRAME, 0);
        let (writer, closer, keeper) = (log.clone(), log.clone(), log.clone());
        three(
            move || writer.preparer.kick(),
            move || closer.preparer.stop(),
            move || keeper.preparer.run(&*keeper),
        );
        assert!(log.limit() <= 2 * FRAME);
    });
}
