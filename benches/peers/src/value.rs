//! What is carried, and the sum that proves that it arrived.
//!
//! A value is made of a number, written into each of its words; the receiver adds up all words. The numbers of one
//! transfer are `0..count`, each sent once, so the sum is known: a lost, doubled or torn value changes it.

/// A value that a transfer may carry.
pub trait Value: Copy + Default + Send + Sync + 'static {
    /// How many 64-bit words it has.
    const WORDS: u64;

    /// The value of this number.
    fn of(number: u64) -> Self;

    /// The sum of its words: [`Value::WORDS`] times its number.
    fn sum(&self) -> u64;
}

impl Value for u64 {
    const WORDS: u64 = 1;

    fn of(number: u64) -> Self {
        number
    }

    fn sum(&self) -> u64 {
        *self
    }
}

/// A value of so many 64-bit words.
#[derive(Clone, Copy)]
pub struct Block<const WORDS: usize>([u64; WORDS]);

/// A cache line of it.
pub type Bytes64 = Block<8>;
/// Four cache lines.
pub type Bytes256 = Block<32>;

const _: () = assert!(size_of::<Bytes64>() == 64 && size_of::<Bytes256>() == 256);

impl<const WORDS: usize> Default for Block<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Value for Block<WORDS> {
    const WORDS: u64 = WORDS as u64;

    fn of(number: u64) -> Self {
        Self([number; WORDS])
    }

    fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, word| sum.wrapping_add(*word))
    }
}

/// How many values arrived, and the sum of their words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Values.
    pub count: u64,
    /// Modulo 2^64.
    pub sum: u64,
}

impl Tally {
    /// What the values of the numbers `0..count` come to.
    pub fn of_all<T: Value>(count: u64) -> Self {
        let pairs = u128::from(count) * u128::from(count.saturating_sub(1)) / 2;
        Self { count, sum: (pairs as u64).wrapping_mul(T::WORDS) }
    }

    /// One more.
    pub fn add<T: Value>(&mut self, value: &T) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value.sum());
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }
}
