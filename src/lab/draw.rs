//! Chance: a Poisson schedule and services of a given variability, the same for the same seed.
//!
//! Arrivals and services come from generators of their own, so that a run with the same seed at another load keeps the same
//! services: comparisons between loads then share their noise. All draws have mean 1; the caller scales.
//!
//! | services | are | cs2 |
//! |---|---|---|
//! | exponential | minus the logarithm of a uniform number in (0, 1] | 1 |
//! | deterministic | all alike | 0 |
//! | general, cs2 < 1 | k - 1 or k exponential phases, the first with the probability that gives cs2 | [`CS2_MIN`] to 1 |
//! | general, cs2 > 1 | one of two exponentials, each with half of the mean (balanced hyperexponential) | 1 to [`CS2_MAX`] |
//!
//! Source: xoshiro256++ by D. Blackman and S. Vigna (2019), seeded with SplitMix64 as they advise; the fits to cs2 are
//! H. C. Tijms, "A First Course in Stochastic Models", appendix B (2003).

use super::experiment::Service;

/// The smallest variability of general services: 100 phases. Less is deterministic, or not this harness's business.
pub const CS2_MIN: f64 = 0.01;
/// The largest: beyond it one service in 200 is most of the load, and no run of bearable length decides anything.
pub const CS2_MAX: f64 = 100.0;

/// xoshiro256++, in a state that is not all zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance([u64; 4]);

impl Chance {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
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

    /// Uniform, above 0 and at most 1.
    pub fn uniform(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        ((self.bits() >> 11) + 1) as f64 / STEPS
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A law of services with mean 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServiceLaw {
    /// cs2 = 1.
    Exponential,
    /// cs2 = 0.
    Deterministic,
    /// `phases` exponentials in a row, with probability `one_less` one fewer.
    Phases {
        /// k, the most phases.
        phases: u32,
        /// Probability of k - 1.
        one_less: f64,
    },
    /// The short one of two exponentials with this probability; each kind has half of the work.
    Balanced {
        /// Probability of the short one.
        short: f64,
    },
}

/// A variability that is not drawn here.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("cs2 of general services is {cs2}; it must be from {CS2_MIN} to {CS2_MAX}")]
pub struct VariabilityError {
    /// What was asked for.
    pub cs2: f64,
}

impl ServiceLaw {
    /// The law named by `service`; `cs2` is looked at for general services only.
    ///
    /// # Errors
    ///
    /// [`VariabilityError`] for general services with cs2 outside [`CS2_MIN`] to [`CS2_MAX`], or NaN.
    pub fn new(service: Service, cs2: f64) -> Result<Self, VariabilityError> {
        match service {
            Service::Exponential => Ok(Self::Exponential),
            Service::Deterministic => Ok(Self::Deterministic),
            Service::General if !(CS2_MIN..=CS2_MAX).contains(&cs2) => {
                Err(VariabilityError { cs2 })
            }
            Service::General if cs2 == 1.0 => Ok(Self::Exponential),
            Service::General if cs2 < 1.0 => Ok(Self::phases(cs2)),
            Service::General => {
                Ok(Self::Balanced { short: f64::midpoint(1.0, ((cs2 - 1.0) / (cs2 + 1.0)).sqrt()) })
            }
        }
    }

    /// 1/k <= cs2 < 1/(k-1).
    fn phases(cs2: f64) -> Self {
        let k = (1.0 / cs2).ceil();
        let root = (k * (1.0 + cs2) - k * k * cs2).max(0.0).sqrt();
        let one_less = ((k * cs2 - root) / (1.0 + cs2)).clamp(0.0, 1.0);
        Self::Phases { phases: k as u32, one_less }
    }

    /// The next service.
    pub fn draw(self, chance: &mut Chance) -> f64 {
        match self {
            Self::Exponential => chance.exponential(),
            Self::Deterministic => 1.0,
            Self::Phases { phases, one_less } => {
                let mean = f64::from(phases) - one_less;
                let fewer = u32::from(chance.uniform() <= one_less);
                (fewer..phases).map(|_| chance.exponential()).sum::<f64>() / mean
            }
            Self::Balanced { short } => {
                let share = if chance.uniform() <= short { short } else { 1.0 - short };
                chance.exponential() / (2.0 * share)
            }
        }
    }
}

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// lambda, messages a second.
    pub arrival_per_s: f64,
    /// mu, messages a second of one server.
    pub service_per_s: f64,
    /// The law of the services.
    pub service: ServiceLaw,
    /// How many.
    pub messages: usize,
    /// The same seed, the same schedule.
    pub seed: u64,
}

impl Plan {
    /// When each message is meant to arrive: a Poisson process, nanoseconds from the start.
    pub fn intended_ns(&self) -> Vec<u64> {
        let mut chance = Chance::new(self.seed);
        let gap_ns = 1e9 / self.arrival_per_s;
        let mut at_ns = 0.0;
        let next_ns = |_| {
            at_ns += chance.exponential() * gap_ns;
            at_ns as u64
        };
        (0..self.messages).map(next_ns).collect()
    }

    /// How long each is to be served at this stage of a tandem (0 where there is but one), in nanoseconds.
    pub fn services_ns(&self, stage: u32) -> Vec<u64> {
        let mut chance = Chance::new(!self.seed.wrapping_add(u64::from(stage) << 32));
        let mean_ns = 1e9 / self.service_per_s;
        (0..self.messages).map(|_| (self.service.draw(&mut chance) * mean_ns) as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64, off: f64) {
        assert!((found - expected).abs() <= off, "{found} is not within {off} of {expected}");
    }

    /// The first outputs from state 1, 2, 3, 4, as the authors' C program prints them.
    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        let mut chance = Chance([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| chance.bits()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn exponential_draws_have_the_tail_of_one() {
        let mut chance = Chance::new(7);
        let draws: Vec<f64> = (0..200_000).map(|_| chance.exponential()).collect();
        for t in [0.1_f64, 1.0, 3.0] {
            let longer = draws.iter().filter(|x| **x > t).count() as f64 / 200_000.0;
            assert_near(longer, (-t).exp(), 0.03 * (-t).exp());
        }
    }

    #[test]
    fn services_have_mean_one_and_the_variability_that_was_asked_for() {
        for (service, asked, cs2) in [
            (Service::Exponential, 5.0, 1.0),
            (Service::Deterministic, 5.0, 0.0),
            (Service::General, 0.01, 0.01),
            (Service::General, 0.3, 0.3),
            (Service::General, 0.5, 0.5),
            (Service::General, 0.7, 0.7),
            (Service::General, 1.0, 1.0),
            (Service::General, 4.0, 4.0),
        ] {
            let law = ServiceLaw::new(service, asked).expect("within limits");
            let mut chance = Chance::new(3);
            let draws: Vec<f64> = (0..200_000).map(|_| law.draw(&mut chance)).collect();
            let count = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / count;
            let square = draws.iter().map(|x| x * x).sum::<f64>() / count;
            assert_near(mean, 1.0, 0.01 * (1.0 + cs2));
            assert_near(square - mean * mean, cs2, 0.03 * cs2);
        }
    }

    #[test]
    fn a_variability_beyond_the_limits_is_refused() {
        for cs2 in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.009, 101.0] {
            let error = ServiceLaw::new(Service::General, cs2).expect_err("refused");
            assert!(error.cs2 == cs2 || cs2.is_nan());
        }
    }

    #[test]
    fn a_seed_gives_one_schedule_and_keeps_its_services_at_every_load() {
        let plan = |arrival_per_s, seed| Plan {
            arrival_per_s,
            service_per_s: 1e4,
            service: ServiceLaw::Exponential,
            messages: 50,
            seed,
        };
        assert_eq!(plan(5e3, 1).intended_ns(), plan(5e3, 1).intended_ns());
        assert_ne!(plan(5e3, 1).intended_ns(), plan(5e3, 2).intended_ns());
        assert_eq!(plan(5e3, 1).services_ns(0), plan(8e3, 1).services_ns(0));
        assert_ne!(plan(5e3, 1).services_ns(0), plan(5e3, 1).services_ns(1));
        assert!(plan(5e3, 1).intended_ns().is_sorted());
    }
}
