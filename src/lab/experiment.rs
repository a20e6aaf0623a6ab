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

//!
//! # Defaults
//!
//! | kind | on | wait | rho | c | K | s |
//! |---|---|---|---|---|---|---|
//! | `mm1`, `md1`, `mg1` (cs2 = 2) | memory | spin | 0.5 | 1 | | 50 us up to rho 0.8, 100 us above |
//! | `setup` | memory | park | 0.5 | 1 | | the same |
//! | `mm1k` | memory | spin | 1 | 1 | 5 | 100 us |
//! | `saturation` | memory | spin | 1.5 | 1 | 64 | 100 us |
//! | `mmc` | memory | sleep | 0.7 | 4 | | 2 ms |
//! | `tandem` | persistent | sleep | 0.5 | 1 a stage | | 2 ms |
//!
//! A small s is good for the statistics (a run of T seconds has more messages), a large one for the ratio of the hand-off to
//! the service; a sleeping server needs one that is long beside its wake-up.
//!
//! # K
//!
//! A server takes a message out of a ring before it serves it, one at a time: c servers on a ring of n make K = n + c. An
//! engine counts a message until it is settled: there K is the most unsettled ones.

use super::draw::{Plan, ServiceLaw, VariabilityError};
use super::parameters::Parameters;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The most messages of one run.
pub const MESSAGES_MAX: u64 = 50_000_000;
/// The most servers of a run; a file may have more.
pub const RUN_SERVERS_MAX: u32 = 64;
/// The largest K, and what a queue holds where there is none: so many are never reached below saturation.
pub const CAPACITY_MAX: u64 = 1 << 16;
/// The shortest mean service: some forty reads of the clock.
pub const SERVICE_MEAN_MIN: Duration = Duration::from_micros(1);
/// The longest mean service.
pub const SERVICE_MEAN_MAX: Duration = Duration::from_secs(10);
/// The longest run.
pub const RUN_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Below this a queue under saturation may be empty for a moment.
pub const SATURATION_LOAD_MIN: f64 = 1.15;
/// Beyond this load almost every message is refused, and nothing is learnt from it.
pub const LOAD_MAX: f64 = 100.0;

const _: () = assert!(CAPACITY_MAX <= crate::engine::BUFFER_MAX as u64);
const _: () = assert!(RUN_SERVERS_MAX as usize <= crate::engine::WORKERS_MAX);

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

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Mm1,
        Self::Mm1k,
        Self::Mmc,
        Self::Md1,
        Self::Mg1,
        Self::Priority,
        Self::Saturation,
        Self::Tandem,
        Self::Setup,
    ];

    /// As it is written on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mm1 => "mm1",
            Self::Mm1k => "mm1k",
            Self::Mmc => "mmc",
            Self::Md1 => "md1",
            Self::Mg1 => "mg1",
            Self::Priority => "priority",
            Self::Saturation => "saturation",
            Self::Tandem => "tandem",
            Self::Setup => "setup",
        }
    }

    /// Is there a steady state at any load, since what does not fit in is refused?
    fn refuses(self) -> bool {
        matches!(self, Self::Mm1k | Self::Saturation)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
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

impl On {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ring, Self::Channel, Self::Memory, Self::Persistent];

    /// As it is written on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Channel => "channel",
            Self::Memory => "memory",
            Self::Persistent => "persistent",
        }
    }

    /// Is it reached through the engine?
    pub fn is_engine(self) -> bool {
        matches!(self, Self::Memory | Self::Persistent)
    }
}

impl fmt::Display for On {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
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

impl Wait {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Spin, Self::Park, Self::Sleep];

    /// As it is written on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Park => "park",
            Self::Sleep => "sleep",
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
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
    /// SCHED_FIFO at this priority, if the process may. Source and servers then sleep while there is time, whatever `wait` says
    /// of a server at work: the kernel stops such threads when they spin.
    pub fifo: Option<u8>,
    /// Where the persistent kind's directory is made, and removed after the run; none: where the system has such.
    #[serde(default)]
    pub folder: Option<PathBuf>,
}

/// What cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The load is zero, negative, not a number, or absurd.
    #[error("the load (rho) is {load}; it must be above 0 and at most {LOAD_MAX}")]
    Load {
        /// What was given.
        load: f64,
    },
    /// The queue would grow without end.
    #[error("`{kind}` has no steady state at a load (rho) of {load}; it must be below 1")]
    Unstable {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        load: f64,
    },
    /// Too low for saturation.
    #[error("saturation needs a load (rho) of at least {SATURATION_LOAD_MIN}, not {load}")]
    NotSaturated {
        /// What was given.
        load: f64,
    },
    /// The mean service is zero or absurd.
    #[error(
        "the mean service is {mean:?}; it must be from {SERVICE_MEAN_MIN:?} to {SERVICE_MEAN_MAX:?}"
    )]
    ServiceMean {
        /// What was given.
        mean: Duration,
    },
    /// The law of the services is another than the kind's.
    #[error("`{kind}` has {needed:?} services, not {given:?} ones")]
    Service {
        /// Of which kind.
        kind: Kind,
        /// What it has.
        needed: Service,
        /// What was given.
        given: Service,
    },
    /// The variability cannot be drawn.
    #[error(transparent)]
    Variability(#[from] VariabilityError),
    /// None, or too many.
    #[error("{messages} messages; it must be from 1 to {MESSAGES_MAX}")]
    Messages {
        /// What was given.
        messages: u64,
    },
    /// Longer than anybody waits.
    #[error("the run would take {expected:?}; {RUN_MAX:?} is the longest")]
    TooLong {
        /// What it would take.
        expected: Duration,
    },
    /// None, or too many.
    #[error("{servers} servers; it must be from 1 to {RUN_SERVERS_MAX}")]
    Servers {
        /// What was given.
        servers: u32,
    },
    /// Several servers where the law has one.
    #[error("`{kind}` has one server, not {servers}; several are `mmc`")]
    OneServer {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        servers: u32,
    },
    /// K is needed and missing.
    #[error("`{kind}` needs K, the most messages in the system")]
    CapacityMissing {
        /// Of which kind.
        kind: Kind,
    },
    /// K is given where the law knows none.
    #[error("`{kind}` knows no K (the most messages in the system), and {capacity} was given")]
    CapacityUnknown {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        capacity: u64,
    },
    /// K is too small or too large.
    #[error("K, the most messages in the system, is {capacity}; it must be from {min} to {max}")]
    Capacity {
        /// What was given.
        capacity: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// No share.
    #[error("the band is {band}; it must be between 0 and 1")]
    Band {
        /// What was given.
        band: f64,
    },
    /// There are no lanes in the engine.
    #[error(
        "`priority` cannot be run: the engine has no lanes and serves in order of arrival; a file of another program with classes can be judged"
    )]
    NoLanes,
    /// Two stages need an engine.
    #[error("`tandem` runs through the engine (memory, persistent), not on a bare {on}")]
    TandemOn {
        /// What was given.
        on: On,
    },
    /// This kind is about another way to wait.
    #[error("`{kind}` cannot be run with servers that {wait}: {reason}")]
    Wait {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        wait: Wait,
        /// Why not.
        reason: &'static str,
    },
    /// No such priority.
    #[error("SCHED_FIFO has the priorities 1 to 99, not {priority}")]
    FifoPriority {
        /// What was given.
        priority: u8,
    },
    /// The kernel stops such threads.
    #[error(
        "threads that spin when idle cannot have SCHED_FIFO: the kernel stops them for milliseconds every second, for the others' sake"
    )]
    FifoSpins,
}

impl Experiment {
    /// The kind with the defaults of the module's page, 200,000 messages (10,000 where servers sleep), seed 1, a band of
    /// 1 % (3 % for all but the M/M/1 up to rho 0.8), cores of their own where that is possible, no SCHED_FIFO.
    pub fn new(kind: Kind) -> Self {
        let wait = match kind {
            Kind::Mmc | Kind::Tandem => Wait::Sleep,
            Kind::Setup => Wait::Park,
            _ => Wait::Spin,
        };
        let (service, cs2) = match kind {
            Kind::Md1 => (Service::Deterministic, 0.0),
            Kind::Mg1 => (Service::General, 2.0),
            _ => (Service::Exponential, 1.0),
        };
        let load = match kind {
            Kind::Mm1k => 1.0,
            Kind::Mmc => 0.7,
            Kind::Saturation => 1.5,
            _ => 0.5,
        };
        let made = Self {
            kind,
            on: if kind == Kind::Tandem { On::Persistent } else { On::Memory },
            wait,
            load,
            service_mean: Duration::ZERO,
            service,
            cs2,
            servers: if kind == Kind::Mmc { 4 } else { 1 },
            capacity: match kind {
                Kind::Mm1k => Some(5),
                Kind::Saturation => Some(64),
                _ => None,
            },
            messages: 200_000,
            seed: 1,
            band: 0.0,
            pin: true,
            fifo: None,
            folder: None,
        };
        made.wait(wait)
    }

    /// Sets what is measured.
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    /// Sets rho, and with it the mean service and the band to their defaults there.
    pub fn load(mut self, load: f64) -> Self {
        self.load = load;
        self.service_mean = self.service_default();
        self.band = match self.kind {
            Kind::Mm1 if load <= 0.8 => 0.01,
            Kind::Mm1 if load <= 0.9 => 0.02,
            Kind::Saturation => 0.01,
            _ => 0.03,
        };
        self
    }

    /// Sets how servers wait, and with it the mean service and the number of messages to their defaults.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self.messages = if wait == Wait::Sleep { 10_000 } else { 200_000 };
        let load = self.load;
        self.load(load)
    }

    /// Sets s, the mean service.
    pub fn service_mean(mut self, mean: Duration) -> Self {
        self.service_mean = mean;
        self
    }

    /// Sets cs2 of general services.
    pub fn cs2(mut self, cs2: f64) -> Self {
        self.cs2 = cs2;
        self
    }

    /// Sets c.
    pub fn servers(mut self, servers: u32) -> Self {
        self.servers = servers;
        self
    }

    /// Sets K.
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Sets how many messages arrive.
    pub fn messages(mut self, messages: u64) -> Self {
        self.messages = messages;
        self
    }

    /// Sets as many messages as arrive in that time at the present load and service; at least one.
    pub fn lasting(mut self, span: Duration) -> Self {
        self.messages = ((span.as_secs_f64() * self.arrival_per_s()) as u64).max(1);
        self
    }

    /// Sets what is drawn from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the band.
    pub fn band(mut self, band: f64) -> Self {
        self.band = band;
        self
    }

    /// s where nothing else is asked for: the module's page says why.
    fn service_default(&self) -> Duration {
        match self.wait {
            Wait::Sleep => Duration::from_millis(2),
            Wait::Spin | Wait::Park if self.load <= 0.8 => Duration::from_micros(50),
            Wait::Spin | Wait::Park => Duration::from_micros(100),
        }
    }

    /// lambda: arrivals a second that are asked for.
    pub fn arrival_per_s(&self) -> f64 {
        self.load * f64::from(self.servers) * self.service_per_s()
    }

    /// mu: services a second of one server that are asked for.
    pub fn service_per_s(&self) -> f64 {
        1.0 / self.service_mean.as_secs_f64()
    }

    /// Can it be run?
    ///
    /// # Errors
    ///
    /// What of it is impossible, by name.
    pub fn check(&self) -> Result<(), ExperimentError> {
        self.check_kind()?;
        self.check_load()?;
        if !(SERVICE_MEAN_MIN..=SERVICE_MEAN_MAX).contains(&self.service_mean) {
            return Err(ExperimentError::ServiceMean { mean: self.service_mean });
        }
        self.service_law()?;
        if !(1..=MESSAGES_MAX).contains(&self.messages) {
            return Err(ExperimentError::Messages { messages: self.messages });
        }
        self.check_capacity()?;
        let is_share = 0.0 < self.band && self.band < 1.0;
        if !is_share {
            return Err(ExperimentError::Band { band: self.band });
        }
        match self.fifo {
            Some(priority) if !(1..=99).contains(&priority) => {
                return Err(ExperimentError::FifoPriority { priority });
            }
            Some(_) if self.wait == Wait::Spin => return Err(ExperimentError::FifoSpins),
            _ => {}
        }
        match self.expected_duration() {
            expected if expected > RUN_MAX => Err(ExperimentError::TooLong { expected }),
            _ => Ok(()),
        }
    }

    fn check_kind(&self) -> Result<(), ExperimentError> {
        let (kind, servers) = (self.kind, self.servers);
        let needed = match kind {
            Kind::Priority => return Err(ExperimentError::NoLanes),
            Kind::Saturation | Kind::Mg1 => self.service,
            Kind::Md1 => Service::Deterministic,
            _ => Service::Exponential,
        };
        if self.service != needed {
            return Err(ExperimentError::Service { kind, needed, given: self.service });
        }
        if !(1..=RUN_SERVERS_MAX).contains(&servers) {
            return Err(ExperimentError::Servers { servers });
        }
        if servers > 1 && !matches!(kind, Kind::Mmc | Kind::Saturation) {
            return Err(ExperimentError::OneServer { kind, servers });
        }
        let wrong = |reason| Err(ExperimentError::Wait { kind, wait: self.wait, reason });
        match (kind, self.wait) {
            (Kind::Setup, Wait::Spin) => wrong("it is about the wake-up of one that parks"),
            (Kind::Tandem, _) if !self.on.is_engine() => {
                Err(ExperimentError::TandemOn { on: self.on })
            }
            (Kind::Tandem, Wait::Spin) => wrong("both stages are handlers, which the engine wakes"),
            _ => Ok(()),
        }
    }

    fn check_load(&self) -> Result<(), ExperimentError> {
        let (kind, load) = (self.kind, self.load);
        let is_positive = 0.0 < load && load <= LOAD_MAX; // not so if it is NaN
        match kind {
            _ if !is_positive => Err(ExperimentError::Load { load }),
            Kind::Saturation if load < SATURATION_LOAD_MIN => {
                Err(ExperimentError::NotSaturated { load })
            }
            _ if load >= 1.0 && !kind.refuses() => Err(ExperimentError::Unstable { kind, load }),
            _ => Ok(()),
        }
    }

    fn check_capacity(&self) -> Result<(), ExperimentError> {
        let kind = self.kind;
        let min = u64::from(self.servers) + 1;
        match self.capacity {
            None if kind == Kind::Mm1k => Err(ExperimentError::CapacityMissing { kind }),
            Some(capacity) if !kind.refuses() => {
                Err(ExperimentError::CapacityUnknown { kind, capacity })
            }
            Some(capacity) if !(min..=CAPACITY_MAX).contains(&capacity) => {
                Err(ExperimentError::Capacity { capacity, min, max: CAPACITY_MAX })
            }
            _ => Ok(()),
        }
    }

    /// The law that services are drawn from.
    pub(super) fn service_law(&self) -> Result<ServiceLaw, VariabilityError> {
        ServiceLaw::new(self.service, self.cs2)
    }

    /// What is to be drawn.
    pub(super) fn plan(&self) -> Result<Plan, VariabilityError> {
        Ok(Plan {
            arrival_per_s: self.arrival_per_s(),
            service_per_s: self.service_per_s(),
            service: self.service_law()?,
            messages: usize::try_from(self.messages).unwrap_or(usize::MAX),
            seed: self.seed,
        })
    }

    /// What the queue is set to hold: a ring the messages that no server has, an engine all that are not settled.
    pub fn queue_capacity(&self) -> u64 {
        let in_service = if self.on.is_engine() { 0 } else { u64::from(self.servers) };
        self.capacity.map_or(CAPACITY_MAX, |capacity| capacity.saturating_sub(in_service))
    }

    /// The file beside the events. For the first stage of a tandem: the second's are in
    /// [`Run::second`](super::Run::second).
    pub fn parameters(&self) -> Parameters {
        Parameters {
            kind: self.kind,
            servers: self.servers,
            capacity: self.capacity,
            ring_capacity: (!self.on.is_engine()).then(|| self.queue_capacity()),
            lambda: self.arrival_per_s(),
            mu: self.service_per_s(),
            service: self.service,
            cs2: Some(match self.service {
                Service::Exponential => 1.0,
                Service::Deterministic => 0.0,
                Service::General => self.cs2,
            }),
            seed: self.seed,
            warmup: 0,
            wait: self.wait.name().to_owned(),
            on: Some(self.on.name().to_owned()),
            classes: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// How long the run takes: its arrivals, and what is in the queue when they are over. Of impossible values: something.
    pub fn expected_duration(&self) -> Duration {
        let arrivals_s = self.messages as f64 / self.arrival_per_s();
        let drain_s = match self.load < 1.0 {
            true => self.service_mean.as_secs_f64() / (1.0 - self.load),
            false => {
                let held = self.capacity.unwrap_or(CAPACITY_MAX).min(self.messages) as f64;
                held / (f64::from(self.servers) * self.service_per_s())
            }
        };
        Duration::try_from_secs_f64(arrivals_s + drain_s).unwrap_or(Duration::MAX)
    }
}
