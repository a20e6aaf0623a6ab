//! Reserve, commit, help: how many writers share the end of the log without a lock.
//!
//! ```text
//!             committed            tail                 limit
//!   ... frames ... | frame  GAP  frame |  zeros, prepared  |  not there yet
//! ```
//!
//! A writer **reserves** by moving `tail` with a CAS: the bytes between are its alone. It writes them, and **commits** by
//! storing the frame's length into the first word, which was zero. Then it **helps**: whoever stores a length moves
//! `committed` over every frame that is whole, its own or another's. So a writer that stops after its store holds up
//! nobody, and one that stops before it holds up readers behind its gap, but nobody's reservation.
//!
//! CAS and not `fetch_add`: an addition cannot refuse (full, closed, poisoned) without leaving a gap.
//! The low five bits of `tail` are flags, so that refusal is exact: a reservation is either before the flag or refused.
//!
//! # Orderings
//!
//! | pair | release side | acquire side | what crosses over |
//! |------|--------------|--------------|-------------------|
//! | [L1] | `commit` stores the length word | `advance` loads it | the frame's bytes |
//! | [L2] | fence between the store of one's own length and the look at the neighbours' | the same fence in the other writer | of two writers that commit side by side, one sees the other: a store-buffer race that release and acquire do not close |
//! | [L3] | `advance` moves `committed` | `committed` loads it | all frames below (each move is a read-modify-write, so the earlier movers' releases stay in the chain) |
//! | [L4] | `raise` stores `limit` | `reserve` and `advance` load it | the prepared bytes, and the segment in the table that holds them |
//!
//! `tail` is [relaxed]: a position only says which bytes are whose; their contents come with [L4], and readers never
//! look at it. `limit` is read behind [L2]'s fence, once: a writer that a newer limit let in, and whom we therefore do not
//! see, sees our length. The ends by the disk limit are [relaxed] too: they only ever refuse, and a stale one refuses a
//! moment longer.
//!
//! # Limits
//!
//! Positions stay below 2^62. `limit` may fall once, when the log closes and its end is final.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, mutant, order};
use crossbeam_utils::CachePadded;
use std::ops::Range;

/// Frames start at multiples of this; the low bits of `tail` are free for flags.
const ALIGN: u64 = 32;
/// No publish may reserve any more; settlements may.
const PUBLISH_CLOSED: u64 = 1;
/// Nobody may reserve any more.
const CLOSED: u64 = 2;
/// A sync failed: what is on the disk is unknown.
const POISONED: u64 = 4;
const FLAGS: u64 = ALIGN - 1;

const _: () = assert!((PUBLISH_CLOSED | CLOSED | POISONED) & !FLAGS == 0);

/// Where the length words are: the maps, or the model checker's vector.
pub trait Words {
    /// Hands `look` the length word of the frame at `at`, which lies below `limit`.
    fn word<R>(&self, at: u64, look: impl FnOnce(&AtomicU32) -> R) -> R;
}

/// What an append may use of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Refused one segment before the disk limit.
    Publish,
    /// May use the last segment too, so that a full queue can be drained.
    Settle,
}

/// Why nothing was reserved. In each case nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The budget ends here.
    Full,
    /// No more appends of this kind.
    Closed,
    /// A sync has failed.
    Poisoned,
    /// Allowed, and not prepared up to there yet.
    NotReady(u64),
}

/// Bytes of the log that belong to one writer: made by [`Tail::reserve`] for each byte once, spent by
/// [`Tail::commit`].
#[derive(Debug)]
pub struct Claim {
    at: u64,
    len: u32,
}

impl Claim {
    /// Position of the first byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The frame's length in bytes.
    pub fn frame_bytes(&self) -> u32 {
        self.len
    }

    /// The position behind it, where the next frame may start.
    pub fn end(&self) -> u64 {
        self.at + spanned(self.len)
    }
}

/// What [`Tail::reserve`] hands out.
#[derive(Debug)]
pub struct Reserved {
    /// The rest of the segment before, where the frame did not fit: to be committed as a PAD.
    pub pad: Option<Claim>,
    /// The frame.
    pub claim: Claim,
}

/// Proof that a position was seen committed: the frames below may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// The position.
    pub fn end(self) -> u64 {
        self.0
    }
}

/// Where a new tail stands, and how far it may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The first position, a multiple of `segment_bytes`.
    pub start: u64,
    /// Size of a segment, a power of two.
    pub segment_bytes: u64,
    /// Where publishing ends.
    pub publish_max: u64,
    /// Where everything ends.
    pub settle_max: u64,
}

/// The end of the log.
#[derive(Debug)]
pub struct Tail {
    tail: CachePadded<AtomicU64>,
    committed: CachePadded<AtomicU64>,
    limit: CachePadded<AtomicU64>,
    segment_bytes: u64,
    publish_max: AtomicU64,
    settle_max: AtomicU64,
}

impl Tail {
    /// A tail at `bounds.start`, with nothing prepared.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            tail: CachePadded::new(AtomicU64::new(bounds.start)),
            committed: CachePadded::new(AtomicU64::new(bounds.start)),
            limit: CachePadded::new(AtomicU64::new(bounds.start)),
            segment_bytes: bounds.segment_bytes,
            publish_max: AtomicU64::new(bounds.publish_max),
            settle_max: AtomicU64::new(bounds.settle_max),
        }
    }

    /// Reserves a frame of `len` bytes, at most a segment.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing has changed.
    pub fn reserve(&self, len: u32, budget: Budget) -> Result<Reserved, Refused> {
        let max = match budget {
            Budget::Publish => self.publish_max.load(Ordering::Relaxed), // [relaxed]
            Budget::Settle if mutant("last_unkept") => self.settle_max(),
            Budget::Settle => self.settle_max() - ALIGN, // the rest is for CLOSE
        };
        self.take(len, max, budget, 0)
    }

    /// Reserves the last frame there will be, and closes in the same step.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing has changed, the tail is open still.
    pub fn reserve_last(&self, len: u32) -> Result<Reserved, Refused> {
        let closing = if mutant("close_beside") { 0 } else { PUBLISH_CLOSED | CLOSED };
        self.take(len, self.settle_max(), Budget::Settle, closing)
    }

    fn take(&self, len: u32, max: u64, budget: Budget, closing: u64) -> Result<Reserved, Refused> {
        debug_assert!(spanned(len) <= self.segment_bytes);
        let mut word = self.tail.load(Ordering::Relaxed); // [relaxed]
        admit(word, budget)?;
        loop {
            let here = word & !FLAGS;
            let segment_end = (here | (self.segment_bytes - 1)) + 1;
            let at = if here + spanned(len) <= segment_end { here } else { segment_end };
            let next = at + spanned(len);
            if next > max && !mutant("full_ignored") {
                return Err(Refused::Full);
            }
            if next > self.limit() {
                return Err(Refused::NotReady(next));
            }
            let kept = if mutant("flags_lost") { 0 } else { word & FLAGS };
            let moved = next | kept | closing;
            // [relaxed] both ways
            match self.tail.compare_exchange_weak(
                word,
                moved,
                Ordering::Relaxed, // [relaxed]
                Ordering::Relaxed, // [relaxed]
            ) {
                Ok(_) => {
                    let split = at != here && !mutant("pad_forgotten");
                    let pad = split.then(|| Claim { at: here, len: gap(here, at) });
                    return Ok(Reserved { pad, claim: Claim { at, len } });
                }
                Err(now) => word = now,
            }
            if !mutant("admit_once") {
                admit(word, budget)?;
            }
        }
    }

    /// Makes the claim's frame, which is written, part of the log. Answers the positions that this call moved
    /// `committed` over: the caller wakes whoever waits for those frames, its own or not.
    pub fn commit(&self, claim: Claim, words: &impl Words) -> Range<u64> {
        let early = if mutant("limit_early") { self.limit() } else { 0 };
        words.word(claim.at, |word| word.store(claim.len, order("L1_store", Ordering::Release))); // [L1]
        if !mutant("L2_fence") {
            fence(Ordering::SeqCst); // [L2]
        }
        let limit = if mutant("limit_early") { early } else { self.limit() };
        self.advance(limit, words)
    }

    /// Moves `committed` over every whole frame below `limit`.
    fn advance(&self, limit: u64, words: &impl Words) -> Range<u64> {
        let mut from = self.committed.load(order("L3_load", Ordering::Acquire)); // [L3]
        loop {
            let upto = whole_from(from, limit, words);
            if upto == from {
                return from..from;
            }
            match self.committed.compare_exchange(
                from,
                upto,
                order("L3_cas", Ordering::AcqRel),   // [L3]
                order("L3_load", Ordering::Acquire), // [L3]
            ) {
                // The word at `upto` was read as zero behind our fence: whoever fills it sees our frame.
                Ok(_) => return from..upto,
                Err(now) => from = now,
            }
        }
    }

    /// How far readers may read.
    pub fn committed(&self) -> Seen {
        Seen(self.committed.load(order("L3_load", Ordering::Acquire))) // [L3]
    }

    /// How far reservations have gone.
    pub fn reserved(&self) -> u64 {
        self.tail.load(Ordering::Relaxed) & !FLAGS // [relaxed]
    }

    /// How far the log is prepared.
    pub fn limit(&self) -> u64 {
        self.limit.load(order("L4_load", Ordering::Acquire)) // [L4]
    }

    /// Says that everything below `limit` is prepared. One thread does this.
    pub fn raise(&self, limit: u64) {
        self.limit.store(limit, order("L4_store", Ordering::Release)); // [L4]
    }

    /// Where everything ends, by the disk limit.
    pub fn settle_max(&self) -> u64 {
        self.settle_max.load(Ordering::Relaxed) // [relaxed]
    }

    /// The disk has room for more: publishing and everything end later from now on.
    pub fn extend(&self, publish_max: u64, settle_max: u64) {
        self.settle_max.fetch_max(settle_max, Ordering::Relaxed); // [relaxed]
        self.publish_max.fetch_max(publish_max, Ordering::Relaxed); // [relaxed]
    }

    /// From now on no publish is accepted. Answers the tail at that moment.
    pub fn refuse_publishes(&self) -> u64 {
        self.tail.fetch_or(PUBLISH_CLOSED, Ordering::Relaxed) & !FLAGS // [relaxed]
    }

    /// From now on nothing is accepted. Answers the tail at that moment, which is final.
    pub fn refuse_all(&self) -> u64 {
        self.tail.fetch_or(PUBLISH_CLOSED | CLOSED, Ordering::Relaxed) & !FLAGS // [relaxed]
    }

    /// From now on nothing is accepted, because a sync has failed.
    pub fn poison(&self) {
        self.tail.fetch_or(POISONED, Ordering::Relaxed); // [relaxed]
    }
}

/// The end of the whole frames that follow one another from `from`.
fn whole_from(from: u64, limit: u64, words: &impl Words) -> u64 {
    let mut at = from;
    while at < limit {
        let len = words.word(at, |word| word.load(order("L1_load", Ordering::Acquire))); // [L1]
        if len == 0 {
            break;
        }
        at += spanned(len);
        if mutant("help_one_only") {
            break;
        }
    }
    at
}

fn admit(word: u64, budget: Budget) -> Result<(), Refused> {
    if word & POISONED != 0 && !mutant("poison_ignored") {
        return Err(Refused::Poisoned);
    }
    let closed = match budget {
        Budget::Publish => PUBLISH_CLOSED | CLOSED,
        Budget::Settle if mutant("settlements_closed_too") => PUBLISH_CLOSED | CLOSED,
        Budget::Settle => CLOSED,
    };
    let refused = word & closed != 0 && !mutant("closed_ignored");
    if refused { Err(Refused::Closed) } else { Ok(()) }
}

fn spanned(len: u32) -> u64 {
    u64::from(len).next_multiple_of(ALIGN)
}

fn gap(from: u64, to: u64) -> u32 {
    u32::try_from(to - from).expect("a gap lies within one segment")
}
