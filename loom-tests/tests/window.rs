//! Models of the wake-up of a persistent subscription: no puller sleeps while a message is readable and there is room.
//!
//! The tail, the event count and the decisions of `src/queue/waking.rs` are the crate's own; the window is a miniature
//! with the rules of `src/queue/window.rs` (read on if nothing is ready and there is room, two at a time at most), and
//! the calls are those of `Shared::wake`, `PersistentSource` and `Subscriber::recv` in their order. Frames are 32 bytes.
#![cfg(loom)]
#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use loom::sync::atomic::AtomicU32;
use loom::sync::{Arc, Mutex};
use loom_tests::{explore_wakes, three, two};
use millstream::modelled::{Bounds, Budget, Claim, EventCount, Tail, Words, mutant, waking};
use std::collections::VecDeque;

const FRAME: u64 = 32;
const FRAMES: usize = 4;

/// What the pump reads at a time.
const PUMP_MAX: usize = 2;

#[derive(Default)]
struct Window {
    cursor: u64,
    ready: VecDeque<u64>,
    in_flight: usize,
}

struct Queue {
    tail: Tail,
    words: Vec<AtomicU32>,
    window: Mutex<Window>,
    parked: EventCount,
    /// The second frame is another topic's; who wants it sleeps here.
    other: EventCount,
    two_topics: bool,
    buffer: usize,
}

impl Words for Queue {
    fn word<R>(&self, at: u64, look: impl FnOnce(&AtomicU32) -> R) -> R {
        look(&self.words[(at / FRAME) as usize])
    }
}

impl Window {
    fn has_room(&self, buffer: usize) -> bool {
        waking::has_room(self.ready.len() + self.in_flight, buffer)
    }
}

impl Queue {
    fn new(buffer: usize) -> Arc<Self> {
        Arc::new(Self::of(buffer, false))
    }

    fn of(buffer: usize, two_topics: bool) -> Self {
        let max = FRAMES as u64 * FRAME;
        let bounds = Bounds { start: 0, segment_bytes: max, publish_max: max, settle_max: max };
        let queue = Self {
            tail: Tail::new(bounds),
            words: (0..FRAMES).map(|_| AtomicU32::new(0)).collect(),
            window: Mutex::new(Window::default()),
            parked: EventCount::new(),
            other: EventCount::new(),
            two_topics,
            buffer,
        };
        queue.tail.raise(max);
        queue
    }

    fn reserve(&self) -> Claim {
        self.tail.reserve(32, Budget::Publish).expect("there is room").claim
    }

    /// Commits, and wakes for every message that became readable, whoever wrote it.
    fn publish(&self, claim: Claim) {
        let own = claim.at()..claim.end();
        let mut advanced = self.tail.commit(claim, self);
        if mutant("wake_own_only") && !advanced.is_empty() {
            advanced = own;
        }
        for place in advanced.step_by(FRAME as usize) {
            let is_other = self.two_topics && place == FRAME;
            if is_other { &self.other } else { &self.parked }.notify(1);
        }
    }

    /// As `PersistentSource::pull`.
    fn pull(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap();
        if window.ready.is_empty() {
            while window.ready.len() < PUMP_MAX
                && window.has_room(self.buffer)
                && window.cursor < self.tail.committed().end()
            {
                let place = window.cursor;
                window.ready.push_back(place);
                window.cursor += FRAME;
            }
        }
        let place = window.ready.pop_front();
        window.in_flight += usize::from(place.is_some());
        place
    }

    /// As `Subscriber::try_recv`.
    fn try_recv(&self) -> Option<u64> {
        let place = self.pull()?;
        let more = {
            let window = self.window.lock().unwrap();
            waking::has_more(!window.ready.is_empty(), window.cursor, self.tail.committed().end())
        };
        if more {
            self.parked.notify_one();
        }
        Some(place)
    }

    /// As `Subscriber::recv`.
    fn recv(&self) -> u64 {
        loop {
            if let Some(place) = self.try_recv() {
                return place;
            }
            let key = self.parked.listen();
            if !mutant("sleep_unseen")
                && let Some(place) = self.try_recv()
            {
                self.parked.cancel(key);
                return place;
            }
            self.parked.wait(key);
        }
    }

    /// As `PersistentSource::note`.
    fn settle(&self) {
        let had_room = {
            let mut window = self.window.lock().unwrap();
            let had_room = window.has_room(self.buffer);
            window.in_flight -= 1;
            had_room
        };
        if waking::reads_again(had_room) {
            self.parked.notify(1);
        }
    }
}

/// Promise: two pullers, two messages: each gets one, and neither sleeps while the other's message is readable.
#[test]
fn each_message_goes_to_one_puller_and_none_sleeps() {
    explore_wakes(2, || {
        let queue = Queue::new(4);
        let (one, other, publisher) = (queue.clone(), queue.clone(), queue.clone());
        let (first, second, ()) = three(
            move || one.recv(),
            move || other.recv(),
            move || (0..2).for_each(|_| publisher.publish(publisher.reserve())),
        );
        assert_eq!(first + second, FRAME);
    });
}

/// Promise: a message behind a gap wakes its puller when the gap is closed, by whoever closes it.
///
/// Method: the first frame's writer has stopped after its reservation; it commits beside the second's. Two pullers.
#[test]
fn a_message_behind_a_gap_wakes_when_the_gap_is_closed() {
    explore_wakes(2, || {
        let queue = Queue::new(4);
        let (stalled, behind) = (queue.reserve(), queue.reserve());
        let (late, prompt, puller) = (queue.clone(), queue.clone(), queue.clone());
        let ((), (), got) = three(
            move || late.publish(stalled),
            move || prompt.publish(behind),
            move || [puller.recv(), puller.recv()],
        );
        assert_eq!(got, [0, FRAME]);
    });
}

/// Promise: the same where the message behind the gap is another topic's, with other pullers (hole 1.7).
///
/// Method: whoever wants the second frame sleeps apart; only a writer that wakes for all it moved over reaches it.
#[test]
fn a_gap_that_is_closed_wakes_for_another_topic_too() {
    explore_wakes(2, || {
        let queue = Arc::new(Queue::of(4, true));
        let (stalled, behind) = (queue.reserve(), queue.reserve());
        let (late, prompt, puller) = (queue.clone(), queue.clone(), queue.clone());
        let is_there = |queue: &Queue| queue.tail.committed().end() == 2 * FRAME;
        three(
            move || late.publish(stalled),
            move || prompt.publish(behind),
            move || {
                while !is_there(&puller) {
                    let key = puller.other.listen();
                    if is_there(&puller) {
                        return puller.other.cancel(key);
                    }
                    puller.other.wait(key);
                }
            },
        );
    });
}

/// The same for two pullers that sleep until one party closes the gap before both messages: a wake for each.
#[test]
fn a_gap_that_is_closed_wakes_a_puller_for_each_message_behind_it() {
    explore_wakes(2, || {
        let queue = Queue::new(4);
        let stalled = queue.reserve();
        queue.publish(queue.reserve());
        let (late, one, other) = (queue.clone(), queue.clone(), queue.clone());
        let ((), first, second) =
            three(move || late.publish(stalled), move || one.recv(), move || other.recv());
        assert_eq!(first + second, FRAME);
    });
}

/// Promise: a settlement that makes room wakes a puller that found none.
///
/// Method: room for one, two messages; one party takes and settles, the other waits for what is left.
#[test]
fn room_that_a_settlement_makes_wakes_a_puller() {
    explore_wakes(3, || {
        let queue = Queue::new(1);
        (0..2).for_each(|_| queue.publish(queue.reserve()));
        assert_eq!(queue.pull(), Some(0));
        let (settler, puller) = (queue.clone(), queue.clone());
        let ((), got) = two(move || settler.settle(), move || puller.recv());
        assert_eq!(got, FRAME);
    });
}

/// The same for two that wait and two that settle: only the first settlement finds no room before it.
#[test]
fn two_settlements_wake_two_pullers() {
    explore_wakes(1, || {
        let queue = Queue::new(2);
        (0..4).for_each(|_| queue.publish(queue.reserve()));
        assert_eq!((queue.pull(), queue.pull()), (Some(0), Some(FRAME)));
        let (settler, one, other) = (queue.clone(), queue.clone(), queue.clone());
        let ((), first, second) = three(
            move || (0..2).for_each(|_| settler.settle()),
            move || one.recv(),
            move || other.recv(),
        );
        assert_eq!(first + second, 5 * FRAME);
    });
}
