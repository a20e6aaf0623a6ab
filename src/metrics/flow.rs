//! A subscription, to a recorder: its place in the shards, and when its last message came.
//!
//! # Orderings
//!
//! The swap of the last arrival is \[relaxed\]: it is a number by itself.
//!
//! # Limits
//!
//! [`FLOW_SHARDS_MAX`] pairs of a worker and a subscription are kept, about 8 KB each; flows beyond have no place, and
//! their subscriptions no estimates.

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crossbeam_utils::CachePadded;

/// How many pairs of a worker and a subscription are kept in a recorder.
pub const FLOW_SHARDS_MAX: usize = 16_384;
/// The places for flows in a recorder's shards.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    given_back: Vec<usize>,
    next: usize,
    max: usize,
    flows: u64,
}

impl Slots {
    pub(super) fn new(shards: usize) -> Arc<Self> {
        let max = FLOW_SHARDS_MAX / shards;
        let free = Free { given_back: Vec::new(), next: 0, max, flows: 0 };
        Arc::new(Self { state: Mutex::new(free) })
    }

    pub(super) fn open(self: &Arc<Self>, opened_ns: u64) -> Flow {
        let mut free = self.state.lock();
        free.flows += 1;
        let slot = match free.given_back.pop() {
            None if free.next < free.max => {
                free.next += 1;
                Some(free.next - 1)
            }
            reused => reused,
        };
        Flow {
            number: free.flows,
            slot,
            opened_ns,
            last_arrival_ns: CachePadded::new(AtomicU64::new(0)),
            slots: Arc::clone(self),
        }
    }
}

/// A subscription, to a recorder: under this its traffic is counted. Dropped, its place is another's.
#[derive(Debug)]
pub struct Flow {
    /// Never given twice.
    pub(super) number: u64,
    pub(super) slot: Option<usize>,
    opened_ns: u64,
    last_arrival_ns: CachePadded<AtomicU64>,
    slots: Arc<Slots>,
}

impl Flow {
    /// Is a message that came at `arrival_ns` and is handed out for the `attempt`-th time one that counts?
    #[inline]
    pub fn counts(&self, arrival_ns: u64, attempt: u32) -> bool {
        attempt <= 1 && self.opened_ns <= arrival_ns
    }

    /// The next message, by the order of the pulls, came at `arrival_ns`: how long after the one before?
    #[inline]
    pub fn gap_ns(&self, arrival_ns: u64) -> Option<u64> {
        self.slot?;
        let last_ns = self.last_arrival_ns.swap(arrival_ns, Ordering::Relaxed); // [relaxed]
        (0 < last_ns).then(|| arrival_ns.saturating_sub(last_ns))
    }

    /// A number that no other flow of the recorder has had.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When counting began, in nanoseconds of the recorder's clock.
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.slots.state.lock().given_back.push(slot);
        }
    }
}
