//! What the demo tells at its end: what was done, how long it took beside the law, and whether the counts add up.

use super::Args;
use super::work::{Books, Draws, NAMES, Offered};
use crate::output::{counted, seconds, short};
use indicatif::HumanCount;
use millstream::Stats;
use millstream::metrics::{Distribution, Recorder, Stage};
use millstream::model::{Mmc, ModelError};
use serde::Serialize;
use std::fmt;

/// The share of the messages that the percentile is about.
const P: f64 = 0.99;

/// The whole account.
#[derive(Serialize)]
pub struct Summary {
    seconds: f64,
    /// Did a signal end it early?
    stopped: bool,
    rate_per_s: f64,
    workers: usize,
    seed: u64,
    /// As drawn.
    service_mean_ns: u64,
    subscriptions: Vec<Own>,
    pool: Pool,
    /// Nothing where as much work arrived as the workers can do, or no message did.
    theory: Option<Theory>,
    /// About how much of the mean wait chance alone may add or take, as a share.
    chance: Option<f64>,
    checks: Vec<Check>,
    pub counts_hold: bool,
}

/// What a subscription did.
#[derive(Serialize)]
struct Own {
    name: &'static str,
    published: u64,
    attempts: u64,
    handled: u64,
    retries: u64,
    dead_letters: u64,
    left: u64,
    #[serde(flatten)]
    times: Times,
}

/// Times of first attempts, in nanoseconds.
#[derive(Clone, Copy, Serialize)]
struct Times {
    waiting_mean_ns: f64,
    waiting_p99_ns: u64,
    sojourn_mean_ns: f64,
    sojourn_p99_ns: u64,
}

/// What both subscriptions together had.
#[derive(Serialize)]
struct Pool {
    attempts_per_s: f64,
    /// Mean of all attempts.
    service_mean_ns: f64,
    /// Squared coefficient of variation of the services.
    cs2: f64,
    load: f64,
    /// How much later than meant a message was published, on average.
    late_mean_ns: f64,
    #[serde(flatten)]
    times: Times,
}

/// What the law has.
#[derive(Serialize)]
struct Theory {
    law: String,
    #[serde(flatten)]
    times: Times,
}

/// Two numbers that have to be the same.
#[derive(Serialize)]
struct Check {
    claim: String,
    expected: u64,
    found: u64,
    holds: bool,
}

impl Times {
    fn of(recorder: &Recorder) -> Self {
        let snapshot = recorder.snapshot(0);
        let (waiting, sojourn) =
            (snapshot.distribution(Stage::Waiting), snapshot.distribution(Stage::Sojourn));
        Self {
            waiting_mean_ns: waiting.mean_ns(),
            waiting_p99_ns: waiting.quantile_ns(P),
            sojourn_mean_ns: sojourn.mean_ns(),
            sojourn_p99_ns: sojourn.quantile_ns(P),
        }
    }
}

impl Theory {
    fn of(law: &Mmc) -> Result<Self, ModelError> {
        let ns = |seconds: f64| seconds * 1e9;
        let times = Times {
            waiting_mean_ns: ns(law.waiting_mean_s()),
            waiting_p99_ns: ns(law.waiting_quantile_s(P)?) as u64,
            sojourn_mean_ns: ns(law.sojourn_mean_s()),
            sojourn_p99_ns: ns(law.sojourn_quantile_s(P)?) as u64,
        };
        Ok(Self { law: format!("M/M/{}", law.servers()), times })
    }
}

fn cs2(services: &Distribution) -> f64 {
    let squared_mean = services.mean_ns() * services.mean_ns();
    if squared_mean == 0.0 { 0.0 } else { services.square_mean_ns2() / squared_mean - 1.0 }
}

/// Half the 95 % interval of the mean wait of `messages` messages, relative, at this load.
///
/// Of M/M/1 (Blomqvist 1967: its asymptotic variance), which several servers come near to as their load grows; for the order
/// of it only.
fn chance(load: f64, messages: u64) -> f64 {
    let rho = load;
    let variance = (2.0 + 5.0 * rho - 4.0 * rho.powi(2) + rho.powi(3)) / (rho * messages as f64);
    1.96 * variance.sqrt() / (1.0 - rho)
}

impl Summary {
    pub fn of(
        args: &Args,
        draws: Draws,
        stopped: bool,
        offered: &Offered,
        books: &Books,
        stats: &Stats,
        left: [u64; 2],
    ) -> Self {
        let subscriptions: Vec<Own> =
            (0..NAMES.len()).map(|which| Own::of(which, offered, books, left)).collect();
        let pool = Pool::of(args, offered, books, &subscriptions);
        let law = u32::try_from(args.workers).ok().and_then(|workers| {
            Mmc::new(pool.attempts_per_s, 1e9 / pool.service_mean_ns, workers).ok()
        });
        let checks = checks(offered, &subscriptions, stats);
        let messages = subscriptions.iter().map(|own| own.published).sum();
        Self {
            seconds: offered.span.as_secs_f64(),
            stopped,
            rate_per_s: args.rate,
            workers: args.workers,
            seed: args.seed,
            service_mean_ns: draws.service_mean.as_nanos() as u64,
            theory: law.and_then(|law| Theory::of(&law).ok()),
            chance: law.map(|law| chance(law.load(), messages)),
            subscriptions,
            pool,
            counts_hold: checks.iter().all(|check| check.holds),
            checks,
        }
    }
}

impl Own {
    fn of(which: usize, offered: &Offered, books: &Books, left: [u64; 2]) -> Self {
        let counters = books.own[which].counters();
        Self {
            name: NAMES[which],
            published: offered.drawn[which].messages,
            attempts: counters.delivered,
            handled: counters.settled,
            retries: counters.retried,
            dead_letters: counters.dead_lettered,
            left: left[which],
            times: Times::of(&books.own[which]),
        }
    }
}

impl Pool {
    fn of(args: &Args, offered: &Offered, books: &Books, subscriptions: &[Own]) -> Self {
        let services = books.attempts.snapshot(0);
        let services = services.distribution(Stage::Service);
        let attempts: u64 = subscriptions.iter().map(|own| own.attempts).sum();
        let messages: u64 = subscriptions.iter().map(|own| own.published).sum();
        let seconds = offered.span.as_secs_f64();
        let attempts_per_s = if seconds > 0.0 { attempts as f64 / seconds } else { 0.0 };
        Self {
            attempts_per_s,
            service_mean_ns: services.mean_ns(),
            cs2: cs2(services),
            load: attempts_per_s * services.mean_ns() / 1e9 / args.workers as f64,
            late_mean_ns: offered.late_ns as f64 / messages.max(1) as f64,
            times: Times::of(&books.firsts),
        }
    }
}

/// Every message is accounted for: by what was drawn, by the handlers, and by the engine.
fn checks(offered: &Offered, subscriptions: &[Own], stats: &Stats) -> Vec<Check> {
    let check =
        |claim: String, expected, found| Check { holds: expected == found, claim, expected, found };
    let mut checks = Vec::new();
    for (own, drawn) in subscriptions.iter().zip(&offered.drawn) {
        let mut of = |claim, expected, found| {
            checks.push(check(format!("{}: {claim}", own.name), expected, found));
        };
        of("attempts are the published and the retries", own.published + own.retries, own.attempts);
        of("published are handled or dead letters", own.published, own.handled + own.dead_letters);
        of("retries are those that were drawn", drawn.retries, own.retries);
        of("dead letters are those that were drawn", drawn.dead_letters, own.dead_letters);
    }
    let (counters, sum) = (stats.snapshot.counters, |of: fn(&Own) -> u64| -> u64 {
        subscriptions.iter().map(of).sum()
    });
    let mut engine = |claim: &str, expected, found| {
        checks.push(check(format!("engine: {claim}"), expected, found));
    };
    engine("published", sum(|own| own.published), counters.published);
    engine("delivered", sum(|own| own.attempts), counters.delivered);
    engine("settled", sum(|own| own.handled), counters.settled);
    engine("retried", sum(|own| own.retries), counters.retried);
    engine("dead-lettered", sum(|own| own.dead_letters), counters.dead_lettered);
    engine("dead letters in the queue", sum(|own| own.dead_letters), stats.depth.held);
    engine("left unsettled", 0, sum(|own| own.left));
    checks
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self.subscriptions.iter().map(|own| own.published).sum();
        writeln!(
            out,
            "{} in {}{}, to two subscriptions that share {}; services of {} on average\n",
            counted(messages, "message"),
            seconds(self.seconds),
            if self.stopped { ", when it was stopped" } else { "" },
            counted(self.workers as u64, "worker"),
            short(self.service_mean_ns),
        )?;
        self.write_subscriptions(out)?;
        self.write_law(out)?;
        self.write_counts(out)
    }
}

impl Summary {
    fn write_subscriptions(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<12}{:>11}{:>11}{:>9}{:>14}{:>6}{:>12}{:>11}",
            "", "published", "handled", "retries", "dead letters", "left", "wait mean", "wait p99"
        )?;
        for own in &self.subscriptions {
            let [published, handled, retries, dead, left] =
                [own.published, own.handled, own.retries, own.dead_letters, own.left]
                    .map(|count| HumanCount(count).to_string());
            let [mean, p99] =
                [own.times.waiting_mean_ns as u64, own.times.waiting_p99_ns].map(short);
            writeln!(
                out,
                "{:<12}{published:>11}{handled:>11}{retries:>9}{dead:>14}{left:>6}{mean:>12}{p99:>11}",
                own.name
            )?;
        }
        writeln!(out)
    }

    fn write_law(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = &self.pool;
        let Some(theory) = &self.theory else {
            return writeln!(
                out,
                "no law to hold this against: {:.0} attempts arrived in a second, each took {}, and {} can do a load of 1; \
                 this was {:.2}\n",
                pool.attempts_per_s,
                short(pool.service_mean_ns as u64),
                counted(self.workers as u64, "worker"),
                pool.load,
            );
        };
        let law = &theory.law;
        writeln!(out, "{:<22}{:>12}{law:>12}{:>8}", "first attempts of both", "measured", "ratio")?;
        let (found, has) = (pool.times, theory.times);
        let rows = [
            ("wait, mean", found.waiting_mean_ns, has.waiting_mean_ns),
            ("wait, p99", found.waiting_p99_ns as f64, has.waiting_p99_ns as f64),
            ("sojourn, mean", found.sojourn_mean_ns, has.sojourn_mean_ns),
            ("sojourn, p99", found.sojourn_p99_ns as f64, has.sojourn_p99_ns as f64),
        ];
        for (what, found, has) in rows {
            let [measured, theory] = [found, has].map(|ns| short(ns as u64));
            let ratio = if has > 0.0 { format!("{:.2}", found / has) } else { "-".to_owned() };
            writeln!(out, "{what:<22}{measured:>12}{theory:>12}{ratio:>8}")?;
        }
        writeln!(
            out,
            "{law} at {:.0} attempts a second of {} each: a load of {:.2}. It is the pool's law: both subscriptions share\n\
             the workers, and a retry is one more attempt. In a run so short chance alone moves the mean wait by some {:.0} %.\n",
            pool.attempts_per_s,
            short(pool.service_mean_ns as u64),
            pool.load,
            self.chance.unwrap_or_default() * 100.0,
        )
    }

    fn write_counts(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in self.checks.iter().filter(|check| !check.holds) {
            writeln!(
                out,
                "does not add up: {}: {} expected, {} found",
                check.claim, check.expected, check.found
            )?;
        }
        if self.counts_hold {
            writeln!(
                out,
                "the counts add up: every message was handled or is a dead letter, each as often as was drawn"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LOAD;
    use super::super::work::ATTEMPTS_PER_MESSAGE;
    use super::*;

    /// By hand: at rho 0.7 sqrt((2 + 3.5 - 1.96 + 0.343) / (0.7 n)) / 0.3 of n = 3,500 messages, times 1.96.
    #[test]
    fn chance_is_blomqvists() {
        assert!((chance(0.7, 3_500) - 0.2601).abs() < 1e-4, "{}", chance(0.7, 3_500));
    }

    #[test]
    fn the_load_that_is_asked_for_leaves_room_for_the_retries() {
        const { assert!(LOAD < 1.0 && ATTEMPTS_PER_MESSAGE * LOAD < 1.0) };
    }
}
