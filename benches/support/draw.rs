//! Chance: a Poisson schedule and exponential services, drawn before the run and the same for the same seed.
//!
//! Arrivals and services come from two generators, so that a run with the same seed at another load keeps the same
//! services: comparisons between loads then share their noise.
//!
//! Source: xoshiro256++ by D. Blackman and S. Vigna (2019), seeded with SplitMix64 as they advise.

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// lambda, messages per second.
    pub arrival_per_s: f64,
    /// mu, messages per second.
    pub service_per_s: f64,
    pub messages: usize,
    pub seed: u64,
}

/// When each message is meant to arrive, and how long it is to be served; nanoseconds from the start of the run.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub intended_ns: Vec<u64>,
    pub drawn_ns: Vec<u64>,
}

impl Schedule {
    pub fn draw(plan: Plan) -> Self {
        let (mut arrivals, mut services) = (Chance::new(plan.seed), Chance::new(!plan.seed));
        let (gap_ns, service_ns) = (1e9 / plan.arrival_per_s, 1e9 / plan.service_per_s);
        let mut at_ns = 0.0;
        let mut next_ns = || {
            at_ns += arrivals.exponential() * gap_ns;
            at_ns as u64
        };
        let intended_ns = (0..plan.messages).map(|_| next_ns()).collect();
        let drawn = (0..plan.messages).map(|_| (services.exponential() * service_ns) as u64);
        Self { intended_ns, drawn_ns: drawn.collect() }
    }
}

/// xoshiro256++, in a state that is not all zeros.
#[derive(Debug, Clone)]
pub struct Chance(pub [u64; 4]);

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    pub fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let answer = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        answer
    }

    /// Exponential with mean 1: minus the logarithm of a number above 0 and at most 1.
    pub fn exponential(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        -(((self.next() >> 11) + 1) as f64 / STEPS).ln()
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
