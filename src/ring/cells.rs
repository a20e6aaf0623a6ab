//! A seat for every (ring, thread) pair, found without an atomic read-modify-write.
//!
//! A thread that uses rings has a small number of its own ([`mine`]), taken from a pool at its first use of any ring and
//! given back when it ends; so the numbers in use stay dense whatever number of threads come and go. Each ring keeps
//! a table of seats by that number. Between two operations a seat belongs to nobody but the thread that has the
//! number, so what lies in it needs no synchronisation of its own.
//!
//! ```text
//!   seats:  near [0 .. 16)   made with the ring: the usual thread finds its seat by one comparison
//!           far  [16 .. 32) [32 .. 64) [64 .. 128) ...   each made at the first use by one of its threads, under a lock;
//!                            never moved and never freed before the ring, so a reference stays good
//! ```
//!
//! # Hand-over
//!
//! A thread's number returns to the pool under the pool's lock, after its last operation, and is taken from there
//! under the same lock: everything the dead thread left in its seats is visible to the next one. That lock, and pair
//! \[S1\] of [`OnceLock`] for a table that grew, are all the synchronisation there is.
//!
//! A thread-local value may use a ring in its destructor, after this module's own thread-local value is gone and the
//! number was given back. Such an operation borrows a number for its own duration.
//!
//! # Limits
//!
//! [`THREADS_MAX`] threads may hold a number at once. A further one panics at its first use of a ring, before it
//! touches anything. No operation may be entered from a signal handler that interrupted one on the same thread (the
//! pool's lock alone forbids it).

use crate::sync::{Arc, Mutex, OnceLock, mutant, per_thread, process_wide};
use std::cell::{Cell, RefCell};

/// Threads that may use rings at the same time, in one process.
pub const THREADS_MAX: usize = 1 << 16;

/// Not a thread's number.
const NONE: u32 = u32::MAX;

const _: () = assert!(THREADS_MAX < NONE as usize);

process_wide! {
    static POOL: Arc<Mutex<Pool>> = Arc::new(Mutex::new(Pool { free: Vec::new(), next: 0 }));
}

per_thread! {
    // Without a destructor, so that it can be read as long as the thread runs.
    static MINE: Cell<u32> = Cell::new(NONE);
}

per_thread! {
    // Its destructor gives the number back.
    static TENANCY: Tenancy = Tenancy(RefCell::new(None));
}

/// The numbers nobody has.
#[derive(Debug)]
struct Pool {
    free: Vec<u32>,
    next: u32,
}

impl Pool {
    fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        let id = self.next;
        if id as usize == THREADS_MAX {
            return None;
        }
        self.next += 1;
        Some(id)
    }
}

/// A number on loan from the pool; it goes back on drop.
#[derive(Debug)]
struct Loan {
    id: u32,
    pool: Arc<Mutex<Pool>>,
}

impl Loan {
    fn take() -> Self {
        let pool = Arc::clone(&POOL);
        let id = pool.lock().take();
        let id = id.expect("at most 65,536 threads of a process may use rings at the same time");
        Self { id, pool }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.pool.lock().free.push(self.id);
    }
}

/// The loan that lasts as long as its thread.
struct Tenancy(RefCell<Option<Loan>>);

impl Tenancy {
    /// Keeps the loan; false, and leaves it, if this thread is past its end.
    fn keep(&self, loan: &mut Option<Loan>) -> bool {
        let kept = self.0.try_borrow_mut().map(|mut kept| *kept = loan.take());
        kept.is_ok()
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        // Before the number goes back: from now on this thread has none.
        let _ = MINE.try_with(|mine| mine.set(NONE));
    }
}

/// The number that the calling thread has, if this is not its first use of a ring. Good until the thread's own values
/// are destroyed, so for an operation that is begun now.
#[inline]
pub fn mine() -> Option<usize> {
    let id = MINE.try_with(Cell::get).unwrap_or(NONE);
    if id == NONE { None } else { Some(id as usize) }
}

/// A number for the calling thread, which has none; below [`THREADS_MAX`].
///
/// The thread keeps it from now on. One that is past its end cannot: it has the number as long as this value lives.
#[derive(Debug)]
pub struct First {
    id: u32,
    _borrowed: Option<Loan>,
}

impl First {
    /// Takes a number from the pool.
    ///
    /// # Panics
    ///
    /// If [`THREADS_MAX`] threads have one already.
    pub fn take() -> Self {
        let loan = Loan::take();
        let id = loan.id;
        let mut loan = Some(loan);
        let kept = TENANCY.try_with(|tenancy| tenancy.keep(&mut loan));
        if kept.is_ok_and(|kept| kept) {
            let _ = MINE.try_with(|mine| mine.set(id));
        }
        if mutant("late_id") {
            loan = None; // the fault of going on with a number that was given back
        }
        Self { id, _borrowed: loan }
    }

    /// The number.
    pub fn number(&self) -> usize {
        self.id as usize
    }
}

/// Puts the calling thread where it is when its own values are being destroyed: its number is given back and it can
/// keep no other. For models: loom destroys a thread's values in an order that changes from run to run.
#[cfg(any(loom, shuttle))]
pub fn end_thread() {
    TENANCY.with(|tenancy| {
        let mut kept = tenancy.0.borrow_mut();
        let loan = kept.take();
        std::mem::forget(kept); // from now on `keep` is refused, as access to a destroyed value is
        MINE.with(|mine| mine.set(NONE));
        drop(loan);
    });
}

/// A table of seats that grows by chunks and never moves.
#[derive(Debug)]
pub struct Seats<S> {
    near: Box<[S]>,
    far: Box<[OnceLock<Box<[S]>>]>,
    /// The first chunk has 2 to this power seats; each further one twice as many.
    chunk_bits: u32,
}

/// How a table of seats is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Seats made with the table.
    pub near: usize,
    /// Chunks that may be added.
    pub chunks: usize,
    /// The first chunk has 2 to this power seats.
    pub chunk_bits: u32,
}

impl Layout {
    /// Room for every thread there may be.
    pub const ALL: Self = Self { near: 16, chunks: 12, chunk_bits: 4 };

    /// Seats in the whole table.
    pub const fn seats(&self) -> usize {
        self.near + (((1 << self.chunks) - 1) << self.chunk_bits)
    }
}

const _: () = assert!(Layout::ALL.seats() >= THREADS_MAX);

/// Where a seat beyond the near ones lies.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    chunk: usize,
    offset: usize,
}

/// The place of the `nth` far seat: chunk `k` begins at `2^bits * (2^k - 1)`.
fn place(nth: usize, chunk_bits: u32) -> Place {
    let shifted = nth + (1 << chunk_bits);
    let order = shifted.ilog2();
    Place { chunk: (order - chunk_bits) as usize, offset: shifted - (1 << order) }
}

impl<S> Seats<S> {
    /// A table whose near seats are made by `make` of their number.
    pub fn new(layout: Layout, make: impl FnMut(usize) -> S) -> Self {
        Self {
            near: (0..layout.near).map(make).collect(),
            far: (0..layout.chunks).map(|_| OnceLock::new()).collect(),
            chunk_bits: layout.chunk_bits,
        }
    }

    /// The seat of that number; its chunk is made by `make` if it is not there yet.
    #[inline]
    pub fn seat(&self, number: usize, make: impl FnMut(usize) -> S) -> &S {
        match self.near.get(number) {
            Some(seat) => seat,
            None => self.far_seat(number, make),
        }
    }

    /// A far seat that is known to exist.
    #[cold]
    #[inline(never)]
    pub fn existing_far(&self, nth: usize) -> &S {
        let number = self.near.len() + nth;
        self.far_seat(number, |_| unreachable!("a seat that holds a cell in circulation was made"))
    }

    #[cold]
    #[inline(never)]
    fn far_seat(&self, number: usize, make: impl FnMut(usize) -> S) -> &S {
        let Place { chunk, offset } = place(number - self.near.len(), self.chunk_bits);
        let seats = match self.far[chunk].get() {
            Some(seats) => seats,
            None => {
                let first = number - offset;
                let count = 1 << (self.chunk_bits as usize + chunk);
                self.far[chunk].get_or_init(|| (first..first + count).map(make).collect())
            }
        };
        &seats[offset]
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::thread;

    #[test]
    fn far_seats_fill_chunk_after_chunk_without_a_gap() {
        for chunk_bits in 0..5 {
            let mut expected = Place { chunk: 0, offset: 0 };
            for nth in 0..1000 {
                assert_eq!(
                    place(nth, chunk_bits),
                    expected,
                    "seat {nth}, chunks of 2^{chunk_bits}"
                );
                expected.offset += 1;
                if expected.offset == 1 << (chunk_bits as usize + expected.chunk) {
                    expected = Place { chunk: expected.chunk + 1, offset: 0 };
                }
            }
        }
    }

    #[test]
    fn the_last_thread_has_a_seat() {
        let seats = Seats::new(Layout::ALL, |number| number);
        for number in [0, 15, 16, 31, 32, 63, 64, THREADS_MAX - 1] {
            assert_eq!(*seats.seat(number, |number| number), number);
            if let Some(nth) = number.checked_sub(seats.near.len()) {
                assert_eq!(*seats.existing_far(nth), number);
            }
        }
    }

    #[test]
    fn the_pool_is_finite_and_reuses_numbers() {
        let mut pool = Pool { free: Vec::new(), next: THREADS_MAX as u32 - 1 };
        let last = pool.take().unwrap();
        assert_eq!(pool.take(), None);
        pool.free.push(last);
        assert_eq!(pool.take(), Some(last));
    }

    #[test]
    fn a_thread_keeps_its_number_and_two_at_once_differ() {
        assert_eq!(mine(), None);
        let number = First::take().number();
        assert_eq!(mine(), Some(number));
        let other = thread::spawn(|| (First::take().number(), mine())).join().unwrap();
        assert_ne!(other.0, number);
        assert_eq!(other.1, Some(other.0));
    }

    /// A thread-local value that is destroyed after the thread's number was given back.
    struct Late(std::sync::mpsc::Sender<(usize, bool)>);

    impl Drop for Late {
        fn drop(&mut self) {
            let first = First::take();
            let answer = (first.number(), first._borrowed.is_some() && mine().is_none());
            self.0.send(answer).expect("the test still listens");
        }
    }

    #[test]
    fn a_destructor_of_the_ending_thread_borrows_a_number() {
        std::thread_local! { static LATE: RefCell<Option<Late>> = const { RefCell::new(None) }; }
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            LATE.set(Some(Late(sender))); // registered first, so destroyed last
            assert!(First::take()._borrowed.is_none());
        })
        .join()
        .unwrap();
        let (id, borrowed) = receiver.recv().unwrap();
        assert!(id < THREADS_MAX);
        // Destructors run in an order that no standard promises: both answers are sound, one is usual.
        assert!(borrowed || cfg!(not(target_os = "linux")));
    }
}
