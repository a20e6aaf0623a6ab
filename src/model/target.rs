//! `Target`: what is asked of a queue, as a value; the inverse of the laws.
//!
//! A law says what a queue does; here it says which queue does what is asked: how many servers, or how fast the
//! messages may come. Every measure of a stable queue grows with the load and shrinks with the servers, so both are
//! the one place where "good enough" begins, found by bisection.
//!
//! A sojourn contains its service: a target at or below what the service alone takes is
//! [`ModelError::Unattainable`], whatever the number of servers.

use super::error::{below_one, rate, time_s};
use super::invert::{first_integer_where, first_where};
use super::mmc::{Mmc, checked_servers};
use super::{ModelError, Quantity, RATE_PER_S_MIN};

/// What is asked of a queue. Times are in seconds; `p` is the share of messages that must be within it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The mean sojourn (arrival to end of service) is at most this.
    SojournMean {
        /// The longest that will do, in seconds.
        most_s: f64,
    },
    /// A share `p` of the sojourns is at most this: p = 0.99 for the p99.
    SojournQuantile {
        /// From 0 to below 1.
        p: f64,
        /// The longest that will do, in seconds.
        most_s: f64,
    },
    /// The mean wait (arrival to start of service) is at most this.
    WaitingMean {
        /// The longest that will do, in seconds.
        most_s: f64,
    },
    /// A share `p` of the waits is at most this.
    WaitingQuantile {
        /// From 0 to below 1.
        p: f64,
        /// The longest that will do, in seconds.
        most_s: f64,
    },
}

impl Target {
    /// The longest that will do, in seconds.
    pub fn most_s(&self) -> f64 {
        match *self {
            Self::SojournMean { most_s }
            | Self::SojournQuantile { most_s, .. }
            | Self::WaitingMean { most_s }
            | Self::WaitingQuantile { most_s, .. } => most_s,
        }
    }

    /// The time that it speaks of.
    pub fn quantity(&self) -> Quantity {
        match self {
            Self::SojournMean { .. } => Quantity::SojournMean,
            Self::SojournQuantile { .. } => Quantity::SojournQuantile,
            Self::WaitingMean { .. } => Quantity::WaitingMean,
            Self::WaitingQuantile { .. } => Quantity::WaitingQuantile,
        }
    }

    /// The target itself, or what is wrong with its numbers.
    pub(super) fn checked(self) -> Result<Self, ModelError> {
        time_s(self.quantity(), self.most_s())?;
        if let Self::SojournQuantile { p, .. } | Self::WaitingQuantile { p, .. } = self {
            below_one(Quantity::Probability, p)?;
        }
        Ok(self)
    }

    /// What an M/M/c queue makes of the time that this speaks of, in seconds.
    fn of(&self, queue: &Mmc) -> Result<f64, ModelError> {
        match *self {
            Self::SojournMean { .. } => Ok(queue.sojourn_mean_s()),
            Self::SojournQuantile { p, .. } => queue.sojourn_quantile_s(p),
            Self::WaitingMean { .. } => Ok(queue.waiting_mean_s()),
            Self::WaitingQuantile { p, .. } => queue.waiting_quantile_s(p),
        }
    }

    /// An error if the exponential service alone takes as long: the infimum over all numbers of servers.
    fn attainable(&self, service_per_s: f64) -> Result<(), ModelError> {
        let least = match *self {
            Self::SojournMean { .. } => 1.0 / service_per_s,
            Self::SojournQuantile { p, .. } => -(-p).ln_1p() / service_per_s,
            Self::WaitingMean { .. } | Self::WaitingQuantile { .. } => return Ok(()),
        };
        let asked = self.most_s();
        match least < asked {
            true => Ok(()),
            false => Err(ModelError::Unattainable { quantity: self.quantity(), asked, least }),
        }
    }
}

impl Mmc {
    /// The queue with the fewest servers, at most `servers_max`, that meets the target.
    ///
    /// # Errors
    ///
    /// As [`Mmc::new`] of the arguments and the target's; [`ModelError::Unattainable`] if no number of servers meets it;
    /// [`ModelError::ServersMax`] if more than `servers_max` would.
    pub fn with_fewest_servers(
        arrival_per_s: f64,
        service_per_s: f64,
        target: Target,
        servers_max: u32,
    ) -> Result<Self, ModelError> {
        let arrival_per_s = rate(Quantity::ArrivalRate, arrival_per_s)?;
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let servers_max = checked_servers(servers_max)?;
        target.checked()?.attainable(service_per_s)?;
        let enough = |servers: u64| {
            let queue = Self::new(arrival_per_s, service_per_s, servers as u32);
            match queue {
                Ok(queue) => Ok(target.of(&queue)? <= target.most_s()),
                Err(ModelError::Unstable { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let least = servers_least(arrival_per_s / service_per_s, servers_max)?;
        match first_integer_where(least, u64::from(servers_max), enough)? {
            Some(servers) => Self::new(arrival_per_s, service_per_s, servers as u32),
            None => Err(ModelError::ServersMax { servers_max }),
        }
    }

    /// The highest rate of arrivals per second at which `servers` (c) of `service_per_s` (mu) each meet the target.
    ///
    /// # Errors
    ///
    /// As [`Mmc::new`] of the arguments and the target's; [`ModelError::Unattainable`] if even a lone message takes
    /// longer.
    pub fn arrival_for(
        service_per_s: f64,
        servers: u32,
        target: Target,
    ) -> Result<f64, ModelError> {
        let service_per_s = rate(Quantity::ServiceRate, service_per_s)?;
        let servers = checked_servers(servers)?;
        let target = target.checked()?;
        target.attainable(service_per_s)?;
        let misses = |arrival_per_s| {
            Self::new(arrival_per_s, service_per_s, servers)
                .and_then(|queue| target.of(&queue))
                .map_or(true, |time_s| time_s > target.most_s())
        };
        if misses(RATE_PER_S_MIN) {
            let (quantity, asked) = (target.quantity(), target.most_s());
            return Err(ModelError::Unattainable { quantity, asked, least: asked });
        }
        let saturated = f64::from(servers) * service_per_s;
        Ok(first_where(RATE_PER_S_MIN, saturated, misses).next_down())
    }
}

/// The fewest servers that are not overrun: above a; or the error that these are too many.
pub(super) fn servers_least(offered: f64, servers_max: u32) -> Result<u64, ModelError> {
    match offered < f64::from(servers_max) {
        true => Ok((offered.floor() as u64).max(1)),
        false => Err(ModelError::ServersMax { servers_max }),
    }
}
