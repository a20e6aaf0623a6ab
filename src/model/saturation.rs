//! Saturation: more arrives than can be served. No steady state, only flows.
//!
//! Throughput is that of the narrowest of source, ring and servers. What arrives beyond it piles up, at a constant rate,
//! until the buffer is full; from then on that share is refused. Holds for services of any law, once the servers never
//! run out of work: in practice from a load of 1.15 on.
//!
//! Source: balance of flow; D. Gross and C. M. Harris, "Fundamentals of Queueing Theory" (1974).

use super::error::rate;
use super::mmc::checked_servers;
use super::{ModelError, Quantity};

/// A source, servers, and what they do to each other in the long run. Any load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saturation {
    arrival_per_s: f64,
    service_per_s: f64,
    servers: u32,
    /// What the ring between them carries at most, per second.
    ring_per_s: Option<f64>,
}

impl Saturation {
    /// A source of `arrival_per_s` messages, and `servers` (c) that can serve `service_per_s` (mu) each in a second.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotANumber`], [`ModelError::NotPositive`] or [`ModelError::OutOfRange`] of the argument at
    /// fault.
    pub fn new(arrival_per_s: f64, service_per_s: f64, servers: u32) -> Result<Self, ModelError> {
        Ok(Self {
            arrival_per_s: rate(Quantity::ArrivalRate, arrival_per_s)?,
            service_per_s: rate(Quantity::ServiceRate, service_per_s)?,
            servers: checked_servers(servers)?,
            ring_per_s: None,
        })
    }

    /// The same with a ring (or log) that carries at most `ring_per_s` messages in a second.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn through(self, ring_per_s: f64) -> Result<Self, ModelError> {
        let ring_per_s = Some(rate(Quantity::FlowRate, ring_per_s)?);
        Ok(Self { ring_per_s, ..self })
    }

    /// Messages per second that source, ring and servers let through: min(lambda, ring, c mu).
    pub fn throughput_per_s(&self) -> f64 {
        self.arrival_per_s.min(self.throughput_max_per_s())
    }

    /// Messages per second that ring and servers could do at most: min(ring, c mu).
    pub fn throughput_max_per_s(&self) -> f64 {
        let servers = f64::from(self.servers) * self.service_per_s;
        self.ring_per_s.map_or(servers, |ring| ring.min(servers))
    }

    /// What is offered over what can be done: lambda / min(ring, c mu). May exceed 1.
    pub fn load(&self) -> f64 {
        self.arrival_per_s / self.throughput_max_per_s()
    }

    /// Messages by which the backlog grows in a second: lambda - throughput; 0 below saturation.
    pub fn growth_per_s(&self) -> f64 {
        (self.arrival_per_s - self.throughput_max_per_s()).max(0.0)
    }

    /// Seconds until `messages` more are waiting; `None` if it does not grow.
    pub fn time_to_fill_s(&self, messages: u64) -> Option<f64> {
        let growth_per_s = self.growth_per_s();
        (growth_per_s > 0.0).then(|| messages as f64 / growth_per_s)
    }

    /// Seconds that a backlog of `messages` takes to be worked off; `None` unless there is spare capacity.
    pub fn time_to_drain_s(&self, messages: u64) -> Option<f64> {
        let spare_per_s = self.throughput_max_per_s() - self.arrival_per_s;
        (spare_per_s > 0.0).then(|| messages as f64 / spare_per_s)
    }

    /// The share of messages that a full buffer refuses in the long run: 1 - throughput / lambda.
    ///
    /// The limit of M/M/1/K's loss for large K, and of every other law's.
    pub fn loss(&self) -> f64 {
        self.growth_per_s() / self.arrival_per_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_place_sets_the_flow() {
        let servers = Saturation::new(1_500.0, 500.0, 2).unwrap();
        assert_eq!(servers.throughput_per_s(), 1_000.0);
        assert_eq!((servers.growth_per_s(), servers.load()), (500.0, 1.5));
        assert_eq!(servers.time_to_fill_s(1_000), Some(2.0));
        assert_eq!(servers.time_to_drain_s(1), None);
        assert_eq!(servers.through(300.0).unwrap().throughput_per_s(), 300.0);
        let source = Saturation::new(600.0, 500.0, 2).unwrap();
        assert_eq!((source.throughput_per_s(), source.loss()), (600.0, 0.0));
        assert_eq!((source.time_to_fill_s(1), source.time_to_drain_s(400)), (None, Some(1.0)));
    }

    #[test]
    fn a_ring_that_carries_nothing_is_refused() {
        let error = Saturation::new(1.0, 1.0, 1).unwrap().through(0.0).unwrap_err();
        let quantity = Quantity::FlowRate;
        assert_eq!(error, ModelError::NotPositive { quantity, value: 0.0 });
        assert!(Saturation::new(1.0, 1.0, 0).is_err());
    }
}
