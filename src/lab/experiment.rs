//! What is run: a law, a load, and what stands between source and server.
//!
//! | `on` | source calls | server |
//! |---|---|---|
//! | `ring` | `Sender::try_send` | `Receiver::try_recv` in a loop, or `recv` |
//! | `channel` | the same of a crossbeam channel: what the harness itself makes of a plain queue | the same |
//! | `memory`, `persistent` | `Engine::publish` | `Subscriber::try_recv` in a loop, or a handler of the dispatcher |
//!
//! | `wait` | an idle server | a server at work |
//! |---|---|---|
//! | `spin` | spins on the queue | spins on the clock until the drawn service is over |
//! | `park` | sleeps until it is woken | spins on the clock |
//! | `sleep` | sleeps until it is woken | sleeps until shortly before the end, then spins: for more servers than cores |

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most messages of one run.
pub const MESSAGES_MAX: u64 = 50_000_000;

/// Which law a run is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Poisson arrivals, exponential services, one server.
    Mm1,
    /// The same with at most K in the system; the rest is refused.
    Mm1k,
    /// The same with c servers.
    Mmc,
    /// Services all of one length.
    Md1,
    /// Services of any given variability.
    Mg1,
    /// Classes, the higher served first.
    Priority,
    /// More arrivals than can be served.
    Saturation,
    /// Two queues in a row.
    Tandem,
    /// M/M/1 with a server that must be woken at the start of each busy period.
    Setup,
}

/// The law of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Exponential: cs2 = 1.
    #[serde(rename = "exp")]
    Exponential,
    /// All alike: cs2 = 0.
    #[serde(rename = "det")]
    Deterministic,
    /// With a given cs2: Erlang mixtures below 1, hyperexponential above.
    #[serde(rename = "general")]
    General,
}

/// What stands between source and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// The bare ring of this crate.
    Ring,
    /// A crossbeam channel: the harness's own error.
    Channel,
    /// The memory kind, through the engine.
    Memory,
    /// The persistent kind, through the engine.
    Persistent,
}

/// What a server does when idle, and while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Spins in both.
    Spin,
    /// Parks when idle, spins while it serves.
    Park,
    /// Parks when idle, sleeps while it serves.
    Sleep,
}

/// One run: see the module's page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Which law.
    pub kind: Kind,
    /// What is measured.
    pub on: On,
    /// How servers wait.
    pub wait: Wait,
    /// rho: arrivals over what all servers can do.
    pub load: f64,
    /// s, the mean service of one server.
    pub service_mean: Duration,
    /// The law of the services.
    pub service: Service,
    /// cs2 of general services.
    pub cs2: f64,
    /// c.
    pub servers: u32,
    /// K, for [`Kind::Mm1k`].
    pub capacity: Option<u64>,
    /// How many arrive.
    pub messages: u64,
    /// What is drawn from.
    pub seed: u64,
    /// How far from the law still counts as holding, relative: 0.01 is 1 %.
    pub band: f64,
    /// Pin source and server to a core each, if the process may.
    pub pin: bool,
    /// SCHED_FIFO at this priority, if the process may.
    pub fifo: Option<u8>,
}
