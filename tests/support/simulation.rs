//! Exact simulation of a G/G/c queue, first come, first served: what an approximation is held against.
//!
//! Kiefer and Wolfowitz: the next message starts when it has arrived and the server that is free first is free. No
//! events, no clock; a million messages take a fraction of a second. Seeded, so that a test always sees the same sample.

/// xorshift64*, good enough for sums of a million draws (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(-self.unit()).ln_1p()
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }
}

/// A law of gaps or services with mean 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    Constant,
    Exponential,
    /// The sum of so many exponentials: cv2 = 1 / phases.
    Erlang(u32),
    /// One of two exponentials, each with half of the mean: cv2 above 1.
    Hyperexponential(f64),
    /// The exponential of a normal.
    Lognormal(f64),
}

impl Law {
    pub fn cv2(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Exponential => 1.0,
            Self::Erlang(phases) => 1.0 / f64::from(phases),
            Self::Hyperexponential(cv2) | Self::Lognormal(cv2) => cv2,
        }
    }

    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => random.exponential(),
            Self::Erlang(phases) => {
                (0..phases).map(|_| random.exponential()).sum::<f64>() / f64::from(phases)
            }
            Self::Hyperexponential(cv2) => {
                let often = (1.0 + ((cv2 - 1.0) / (cv2 + 1.0)).sqrt()) / 2.0;
                let share = if random.unit() < often { often } else { 1.0 - often };
                random.exponential() / (2.0 * share)
            }
            Self::Lognormal(cv2) => {
                let variance = cv2.ln_1p();
                (variance.sqrt() * random.normal() - variance / 2.0).exp()
            }
        }
    }
}

/// A queue with services of mean 1.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    pub gaps: Law,
    pub services: Law,
    pub servers: usize,
    pub load: f64,
}

/// Every wait and every sojourn.
pub struct Sample {
    pub waits: Vec<f64>,
    pub sojourns: Vec<f64>,
}

impl Sample {
    pub fn of(queue: Queue, messages: usize, seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let mut free = vec![0.0_f64; queue.servers];
        let (mut waits, mut sojourns) = (Vec::new(), Vec::new());
        let gap = 1.0 / (queue.load * queue.servers as f64);
        let mut now = 0.0;
        for _ in 0..messages {
            now += gap * queue.gaps.draw(&mut random);
            let service = queue.services.draw(&mut random);
            let mut first = 0;
            for at in 1..free.len() {
                if free[at] < free[first] {
                    first = at;
                }
            }
            let start = free[first].max(now);
            free[first] = start + service;
            waits.push(start - now);
            sojourns.push(start - now + service);
        }
        Self { waits, sojourns }
    }

    pub fn mean(times: &[f64]) -> f64 {
        times.iter().sum::<f64>() / times.len() as f64
    }

    pub fn quantile(times: &mut [f64], p: f64) -> f64 {
        let rank = (p * times.len() as f64) as usize;
        *times.select_nth_unstable_by(rank, f64::total_cmp).1
    }
}
