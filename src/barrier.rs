//! An asymmetric barrier: almost nothing on the side that runs often, a system call on the side that runs rarely.
//!
//! Two threads that each write one thing and then look at the other's need a full barrier between the write and the
//! look, on both sides, or both may see the old state ("store buffering"). A full barrier costs as much as an atomic
//! read-modify-write. Where one side is about to sleep anyway it can pay for both: [`heavy`] makes every other
//! running thread of the process execute a full barrier at some point during the call, and [`light`] then only has to
//! keep the compiler from exchanging the write and the look.
//!
//! ```text
//!   often:  write a;  light();  look at b           rarely:  write b;  heavy();  look at a
//! ```
//!
//! # Why one of the two sees the other
//!
//! The barrier that `heavy` forces upon the other thread falls at some point of its program. Before the write of `a`: the
//! look at `b` comes after it, and sees the write of `b`, which came before `heavy`. After the write of `a`: that
//! write is visible when `heavy` returns. There is no third case, because the compiler keeps write and look in order.
//!
//! # Which way
//!
//! | way | `light` | `heavy` | where |
//! | --- | --- | --- | --- |
//! | membarrier | a barrier for the compiler | the system call `membarrier`, private and expedited | Linux, if the kernel lets the process register |
//! | fences | a SeqCst fence | a SeqCst fence | everywhere else, and in a process whose system calls are filtered |
//!
//! Chosen once, by [`choose`], before anything that needs it is made; until then `light` is the stronger one. If the kernel
//! refuses later what it has granted before (a filter that came after the start), the process goes over to fences for
//! good. A `light` that began before may have been too light, whichever `heavy` it stands against: so for [`SETTLING`] each
//! `heavy` answers false, and its caller must not wait without an end. No store stays in a processor's buffer that long,
//! nor is a change of the way unseen that long.
//!
//! # Orderings
//!
//! | label | where | why |
//! | --- | --- | --- |
//! | \[B1\] | the fence of `light`, for the compiler or for all; the fence of `heavy`, and the system call | the pair itself: the argument above |
//!
//! \[relaxed\]: the way is one word that guards nothing; who reads an old "not chosen" uses a fence, which is right beside
//! either `heavy`.
//!
//! In a model both are SeqCst fences. That is stronger than the real pair in one respect: two `light`s order each other
//! there, and do not here. Nothing may lean on that.
//!
//! # Limits
//!
//! Threads of one process: memory shared between processes gets nothing from the private form.
//!
//! Source: `membarrier(2)`; the asymmetric fences of P1202 and of folly.

use crate::sync::{Ordering, fence};
use std::time::Duration;

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
mod way {
    use super::SETTLING;
    use super::{Ordering, fence};
    use crate::sync::{AtomicU8, OnceLock, compiler_fence};
    use crate::sys;
    use std::time::Instant;

    const NOT_CHOSEN: u8 = 0;
    const MEMBARRIER: u8 = 1;
    const FENCES: u8 = 2;
    /// Fences now, membarrier a moment ago.
    const CHANGED: u8 = 3;

    /// When the way was changed.
    static SINCE: OnceLock<Instant> = OnceLock::new();

    static WAY: AtomicU8 = AtomicU8::new(NOT_CHOSEN);

    #[cold]
    pub fn choose() {
        let way = if sys::register_membarrier() { MEMBARRIER } else { FENCES };
        // Whoever was first has decided; registering twice does no harm.
        let _ = WAY.compare_exchange(NOT_CHOSEN, way, Ordering::Relaxed, Ordering::Relaxed); // [relaxed]
    }

    #[inline(always)]
    pub fn chosen() -> bool {
        WAY.load(Ordering::Relaxed) != NOT_CHOSEN // [relaxed]
    }

    #[inline(always)]
    pub fn light() {
        let way = WAY.load(Ordering::Relaxed); // [relaxed]
        if way == MEMBARRIER {
            compiler_fence(Ordering::SeqCst); // [B1]
        } else {
            fence(Ordering::SeqCst); // [B1]
        }
    }

    pub fn heavy() -> bool {
        fence(Ordering::SeqCst); // [B1] this thread's own part, whatever the kernel says
        let way = WAY.load(Ordering::Relaxed); // [relaxed]
        match way {
            MEMBARRIER => sys::membarrier() || change(),
            CHANGED => has_settled(),
            _ => true,
        }
    }

    #[cold]
    fn change() -> bool {
        SINCE.get_or_init(Instant::now);
        WAY.store(CHANGED, Ordering::Relaxed); // [relaxed]
        fence(Ordering::SeqCst); // [B1]
        false
    }

    #[cold]
    fn has_settled() -> bool {
        let settled = SINCE.get_or_init(Instant::now).elapsed() > SETTLING;
        if settled {
            WAY.store(FENCES, Ordering::Relaxed); // [relaxed]
        }
        settled
    }

    pub fn is_asymmetric() -> bool {
        WAY.load(Ordering::Relaxed) == MEMBARRIER // [relaxed]
    }
}

#[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
mod way {
    use super::{Ordering, fence};

    pub fn choose() {}

    #[inline(always)]
    pub fn chosen() -> bool {
        true
    }

    #[inline(always)]
    pub fn light() {
        fence(Ordering::SeqCst); // [B1]
    }

    pub fn heavy() -> bool {
        fence(Ordering::SeqCst); // [B1]
        true
    }

    #[cfg(not(any(loom, shuttle)))]
    pub fn is_asymmetric() -> bool {
        false
    }
}

/// How long after a change of the way nobody relies on it.
#[cfg_attr(any(loom, shuttle, not(target_os = "linux")), allow(dead_code))]
pub const SETTLING: Duration = Duration::from_secs(1);

/// Decides which way this process goes. To be called by the constructor of whatever uses the barrier.
#[inline]
pub fn choose() {
    if !way::chosen() {
        way::choose();
    }
}

/// Between a write and a look, on the side that runs often.
#[inline(always)]
pub fn light() {
    way::light();
}

/// Between a write and a look, on the side that runs rarely. False if the barrier may not have reached a [`light`] that
/// had begun: the caller must not rely on it without an end.
#[must_use = "a barrier that reached nobody orders nothing"]
pub fn heavy() -> bool {
    way::heavy()
}

/// Does this process go by membarrier? Else it goes by fences, and each send and receive pays for one.
#[cfg(not(any(loom, shuttle)))]
pub fn is_asymmetric() -> bool {
    choose();
    way::is_asymmetric()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_once_and_the_heavy_side_is_whole() {
        let before = is_asymmetric();
        light();
        assert!(heavy());
        assert_eq!(is_asymmetric(), before);
    }
}
