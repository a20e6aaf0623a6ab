//! What the demo draws, publishes and does with a message, and the books that are kept of it.
//!
//! Arrivals are drawn by the source as it goes; how long an attempt takes and whether it fails is a function of the seed, the
//! message's number and the attempt. So a handler needs nothing but the message, and the account at the end can be held against
//! what was drawn, not only against itself.

use crate::control::Control;
use crate::failure::Failure;
use millstream::lab::Chance;
use millstream::metrics::{Event, Recorder, Times};
use millstream::{Delivery, Engine, Handler, Settlement};
use std::thread;
use std::time::{Duration, Instant};

/// The subscriptions; each has the topic `demo.` and its name.
pub const NAMES: [&str; 2] = ["orders", "payments"];
/// How many times a failed attempt is repeated.
pub const RETRIES_MAX: u32 = 2;
/// How long before the first retry; the second waits twice as long.
pub const RETRY_DELAY: Duration = Duration::from_millis(50);
/// The share of the messages whose first attempt fails, and no other.
const SHAKY: f64 = 0.04;
/// The share of the messages that always fail.
const HOPELESS: f64 = 0.01;
/// How many attempts a message gets, on average.
pub const ATTEMPTS_PER_MESSAGE: f64 = 1.0 + SHAKY + HOPELESS * RETRIES_MAX as f64;
/// How long the source sleeps at a time, at most: it then looks whether the run ends.
const NAP_MAX: Duration = Duration::from_millis(50);
/// Parts of each record, so that workers seldom wait for each other.
const SHARDS: usize = 8;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// Its first attempt fails.
    Shaky,
    /// Each attempt fails.
    Hopeless,
}

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    pub seed: u64,
    pub service_mean: Duration,
}

impl Draws {
    /// A generator of its own for each message and attempt; attempt 0 is the message itself.
    fn chance(&self, number: u64, attempt: u32) -> Chance {
        let of_message = Chance::new(self.seed ^ number.rotate_left(32)).bits();
        Chance::new(of_message.wrapping_add(u64::from(attempt)))
    }

    /// What becomes of that message.
    pub fn fate(&self, number: u64) -> Fate {
        match self.chance(number, 0).uniform() {
            ..=HOPELESS => Fate::Hopeless,
            drawn if drawn <= HOPELESS + SHAKY => Fate::Shaky,
            _ => Fate::Good,
        }
    }

    /// How long that attempt takes.
    fn service(&self, number: u64, attempt: u32) -> Duration {
        self.service_mean.mul_f64(self.chance(number, attempt).exponential())
    }
}

/// What was drawn of the messages of a subscription that were published.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drawn {
    pub messages: u64,
    pub retries: u64,
    pub dead_letters: u64,
}

impl Drawn {
    fn add(&mut self, fate: Fate) {
        self.messages += 1;
        match fate {
            Fate::Good => {}
            Fate::Shaky => self.retries += 1,
            Fate::Hopeless => {
                self.retries += u64::from(RETRIES_MAX);
                self.dead_letters += 1;
            }
        }
    }
}

/// What the source did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offered {
    /// Of each subscription.
    pub drawn: [Drawn; 2],
    /// How long messages arrived.
    pub span: Duration,
    /// How much later than meant, all messages together.
    pub late_ns: u128,
}

/// Publishes at the drawn times, whatever the queue does.
pub struct Source {
    pub engine: Engine,
    pub control: Control,
    pub draws: Draws,
    pub rate_per_s: f64,
    pub span: Duration,
    pub started: Instant,
}

impl Source {
    /// Publishes until the span is over or the run ends.
    pub fn offer(&self) -> Result<Offered, Failure> {
        let mut chance = Chance::new(self.draws.seed);
        let (mut offered, mut intended_s) = (Offered::default(), 0.0);
        for number in 0.. {
            intended_s += chance.exponential() / self.rate_per_s;
            let intended = Duration::from_secs_f64(intended_s.min(self.span.as_secs_f64()));
            if !self.sleep_until(intended) || self.span <= intended {
                break;
            }
            let which = (chance.bits() >> 63) as usize;
            let arrival = self.started.elapsed();
            let payload = format!("{number} {}", ns(arrival));
            self.engine
                .publish(&format!("demo.{}", NAMES[which]), payload)
                .map_err(|error| Failure::Offer { number, source: error.map(drop) })?;
            offered.drawn[which].add(self.draws.fate(number));
            offered.late_ns += (arrival - intended.min(arrival)).as_nanos();
        }
        offered.span = self.started.elapsed().min(self.span);
        Ok(offered)
    }

    /// Sleeps until that time; false if the run ends before.
    fn sleep_until(&self, at: Duration) -> bool {
        loop {
            if self.control.reason().is_some() {
                return false;
            }
            match at.checked_sub(self.started.elapsed()) {
                None | Some(Duration::ZERO) => return true,
                Some(left) => thread::sleep(left.min(NAP_MAX)),
            }
        }
    }
}

/// What the handlers did.
pub struct Books {
    /// Of each subscription: counts of all attempts, times of first ones.
    pub own: [Recorder; 2],
    /// The times of both.
    pub firsts: Recorder,
    /// The services of all attempts.
    pub attempts: Recorder,
}

impl Books {
    pub fn new() -> Self {
        let recorder = || Recorder::new(SHARDS, 0);
        Self { own: [recorder(), recorder()], firsts: recorder(), attempts: recorder() }
    }
}

/// A handler of one subscription.
pub struct Hands {
    pub which: usize,
    pub draws: Draws,
    pub started: Instant,
    pub books: std::sync::Arc<Books>,
}

impl Handler for Hands {
    fn handle(&self, delivery: &Delivery) -> Settlement {
        let start = self.started.elapsed();
        let Some((number, arrival_ns)) = parse(delivery) else {
            return Settlement::DeadLetter { reason: "no message of the demo".to_owned() };
        };
        let attempt = delivery.attempt();
        let end = start + self.draws.service(number, attempt);
        while let Some(left) =
            end.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
        {
            thread::sleep(left);
        }
        let times = Times { arrival_ns, start_ns: ns(start), end_ns: ns(self.started.elapsed()) };
        let failed = match self.draws.fate(number) {
            Fate::Good => false,
            Fate::Shaky => attempt == 1,
            Fate::Hopeless => true,
        };
        self.book(number, attempt, times, failed);
        match failed {
            true => Settlement::Fail { reason: format!("attempt {attempt} was drawn to fail") },
            false => Settlement::Ack,
        }
    }
}

impl Hands {
    fn book(&self, number: u64, attempt: u32, times: Times, failed: bool) {
        let (own, shard) = (&self.books.own[self.which], number as usize);
        own.count(shard, Event::Delivered, 1);
        own.count(shard, if failed { Event::Failed } else { Event::Settled }, 1);
        self.books.attempts.record(shard, times);
        if attempt == 1 {
            own.record(shard, times);
            self.books.firsts.record(shard, times);
        } else {
            own.count(shard, Event::Retried, 1);
        }
        if failed && attempt > RETRIES_MAX {
            own.count(shard, Event::DeadLettered, 1);
        }
    }
}

/// Number and time of arrival.
fn parse(delivery: &Delivery) -> Option<(u64, u64)> {
    let (number, arrival_ns) = delivery.text().ok()?.split_once(' ')?;
    Some((number.parse().ok()?, arrival_ns.parse().ok()?))
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: Draws = Draws { seed: 7, service_mean: Duration::from_millis(5) };

    #[test]
    fn a_message_has_the_same_fate_whenever_it_is_asked() {
        for number in 0..1_000 {
            assert_eq!(DRAWS.fate(number), DRAWS.fate(number));
            assert_eq!(DRAWS.service(number, 1), DRAWS.service(number, 1));
            assert_ne!(DRAWS.service(number, 1), DRAWS.service(number, 2));
        }
    }

    /// 100,000 draws: four standard errors of the shares are 0.25 % and 0.13 %, of the mean 1.3 %.
    #[test]
    fn shares_and_services_are_drawn_as_the_constants_say() {
        let count = 100_000;
        let mut drawn = Drawn::default();
        (0..count).for_each(|number| drawn.add(DRAWS.fate(number)));
        let hopeless = drawn.dead_letters as f64 / count as f64;
        let attempts = 1.0 + drawn.retries as f64 / count as f64;
        assert!((hopeless - HOPELESS).abs() < 0.0013, "{hopeless}");
        assert!((attempts - ATTEMPTS_PER_MESSAGE).abs() < 0.005, "{attempts}");
        let total: Duration = (0..count).map(|number| DRAWS.service(number, 1)).sum();
        let mean = total.as_secs_f64() / count as f64 / 0.005;
        assert!((mean - 1.0).abs() < 0.013, "{mean}");
    }
}
