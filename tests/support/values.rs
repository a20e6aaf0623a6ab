//! Values that show when they were lost, doubled, torn, or dropped at the wrong time.

#![allow(dead_code)] // Each test takes what it needs.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a stressed value carries: who sent it, its number, and a checksum of both.
pub struct Parcel {
    sender: u64,
    number: u64,
    check: Box<u64>,
}

impl Parcel {
    pub fn new(sender: u64, number: u64) -> Self {
        Self { sender, number, check: Box::new(Self::sum(sender, number)) }
    }

    fn sum(sender: u64, number: u64) -> u64 {
        (sender << 32 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Its sender and its number.
    pub fn open(self) -> (usize, u64) {
        assert_eq!(*self.check, Self::sum(self.sender, self.number), "a torn value");
        (self.sender as usize, self.number)
    }
}

/// What one receiver has seen of each sender: numbers that rise, however others share in them.
pub struct Seen {
    next: Vec<u64>,
    pub count: u64,
}

impl Seen {
    pub fn of(senders: u64) -> Self {
        Self { next: vec![0; senders as usize], count: 0 }
    }

    pub fn open(&mut self, parcel: Parcel) {
        let (sender, number) = parcel.open();
        assert!(self.next[sender] <= number, "out of order, or twice");
        self.next[sender] = number + 1;
        self.count += 1;
    }
}

/// Counts the drops of all that share the counter.
#[derive(Debug)]
pub struct Counted<'a>(pub &'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts its drop, and panics in it if it is told to.
#[derive(Debug)]
pub struct Bomb<'a>(pub &'a AtomicUsize, pub bool);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!self.1, "a drop that panics");
    }
}
