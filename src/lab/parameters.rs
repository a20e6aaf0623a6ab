//! What a run was asked to be: the JSON file beside its events, and what no run can be asked.
//!
//! | kind | service | must have |
//! |---|---|---|
//! | `mm1`, `setup`, `tandem` | `exp` | one server, lambda < mu |
//! | `mmc` | `exp` | lambda < c mu |
//! | `mm1k` | `exp` | one server, K; any load |
//! | `md1` | `det` | one server, lambda < mu |
//! | `mg1` | any | one server, lambda < mu |
//! | `priority` | any | one server, lambda < mu, at least two classes |
//! | `saturation` | any | lambda > c mu |
//!
//! # Limits
//!
//! Rates as in [`crate::model`]; [`SERVERS_MAX`]; [`CLASSES_MAX`]; a file of [`PARAMETERS_BYTES_MAX`].

use super::experiment::{Kind, Service};
use crate::model::{RATE_PER_S_MAX, RATE_PER_S_MIN};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The most servers.
pub const SERVERS_MAX: u32 = 10_000;
/// The most classes: a class is a byte.
pub const CLASSES_MAX: usize = 256;
/// The largest parameter file, in bytes.
pub const PARAMETERS_BYTES_MAX: u64 = 1 << 20;
/// The largest share of the rows that may be left out as warm-up: one in so many.
pub const WARMUP_SHARE: u64 = 5;

/// What a run was asked to be: the file beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Which law it is held against.
    pub kind: Kind,
    /// Servers: c.
    pub servers: u32,
    /// The most messages in the system, K; none for no limit.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// The most messages that the queue holds, which the one in service is not.
    #[serde(default)]
    pub ring_capacity: Option<u64>,
    /// Arrivals a second that were asked for.
    pub lambda: f64,
    /// Services a second of one server that were asked for.
    pub mu: f64,
    /// The law of the services.
    pub service: Service,
    /// Squared coefficient of variation of the services that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cs2: Option<f64>,
    /// What arrivals and services were drawn from.
    pub seed: u64,
    /// Rows to leave out of the statistics, never out of the file.
    #[serde(default)]
    pub warmup: u64,
    /// What a server did when idle and while serving.
    #[serde(default)]
    pub wait: String,
    /// What was measured: `ring`, `channel`, `memory`, `persistent`, or another program's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The names of the classes, highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Tandem: the event files of the stages, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
}

/// One of the two rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateName {
    /// Arrivals.
    Lambda,
    /// Services.
    Mu,
}

impl std::fmt::Display for RateName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Lambda => "lambda",
            Self::Mu => "mu",
        })
    }
}

/// What no run can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// The file could not be read or written.
    #[error("the parameter file: {0}")]
    Io(#[from] io::Error),
    /// The file is too large to be one.
    #[error("the parameter file is longer than {PARAMETERS_BYTES_MAX} bytes")]
    TooLong,
    /// Not the JSON that it must be: the message names the field, the line and the column.
    #[error("the parameter file: {0}")]
    Json(#[from] serde_json::Error),
    /// A rate that is zero, negative, not a number, or beyond what any machine does.
    #[error("{rate} is {value} a second; it must be from {RATE_PER_S_MIN} to {RATE_PER_S_MAX}")]
    Rate {
        /// Which one.
        rate: RateName,
        /// What was given.
        value: f64,
    },
    /// No server, or too many; or more than one where the law has one.
    #[error("{found} servers; {kind:?} takes from 1 to {most}")]
    Servers {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        found: u32,
        /// The most it takes.
        most: u32,
    },
    /// M/M/1/K without K, or with K = 0.
    #[error("mm1k needs a capacity: the most messages in the system, the one in service too")]
    CapacityMissing,
    /// A limit to the queue where the law has none.
    #[error("{kind:?} knows no capacity, and {found} was given: mm1k is the kind with one")]
    CapacityUnknown {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        found: u64,
    },
    /// The law speaks of other services than these.
    #[error("{kind:?} with {service:?} services: the law is of others")]
    ServiceMismatch {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        service: Service,
    },
    /// A variability below 0, not a number, or beyond all.
    #[error("cs2 is {value}; it must be a number from 0 to 1e6")]
    Variability {
        /// What was given.
        value: f64,
    },
    /// More arrives than can be served: there is no steady state for this law to speak of.
    #[error("{kind:?} at rho = {load}: no steady state exists at 1 or above")]
    Unstable {
        /// Of which kind.
        kind: Kind,
        /// lambda / (c mu).
        load: f64,
    },
    /// A saturation run that is not saturated.
    #[error("saturation at rho = {load}: more must arrive than can be served")]
    NotSaturated {
        /// lambda / (c mu).
        load: f64,
    },
    /// Priorities without at least two classes, or too many.
    #[error("priority with {found} classes; it takes from 2 to {CLASSES_MAX}")]
    Classes {
        /// How many.
        found: usize,
    },
    /// A tandem has two stages (or none named, if the events are at hand).
    #[error("tandem with {found} stages named; it has 2")]
    Stages {
        /// How many.
        found: usize,
    },
}

impl Parameters {
    /// rho as it was asked for: lambda / (c mu).
    pub fn load(&self) -> f64 {
        self.lambda / (f64::from(self.servers) * self.mu)
    }

    /// Can a run be this?
    ///
    /// # Errors
    ///
    /// [`ParametersError`]: the first thing that no run can be asked.
    pub fn check(&self) -> Result<(), ParametersError> {
        let kind = self.kind;
        for (rate, value) in [(RateName::Lambda, self.lambda), (RateName::Mu, self.mu)] {
            if !(RATE_PER_S_MIN..=RATE_PER_S_MAX).contains(&value) {
                return Err(ParametersError::Rate { rate, value });
            }
        }
        let most = if matches!(kind, Kind::Mmc | Kind::Saturation) { SERVERS_MAX } else { 1 };
        if !(1..=most).contains(&self.servers) {
            return Err(ParametersError::Servers { kind, found: self.servers, most });
        }
        match (kind, self.capacity) {
            (Kind::Mm1k, None | Some(0)) => return Err(ParametersError::CapacityMissing),
            (Kind::Mm1k | Kind::Saturation, _) | (_, None) => {}
            (_, Some(found)) => return Err(ParametersError::CapacityUnknown { kind, found }),
        }
        self.check_service()?;
        let load = self.load();
        match kind {
            Kind::Mm1k => {}
            Kind::Saturation if load <= 1.0 => return Err(ParametersError::NotSaturated { load }),
            Kind::Saturation => {}
            _ if load >= 1.0 => return Err(ParametersError::Unstable { kind, load }),
            _ => {}
        }
        if kind == Kind::Priority && !(2..=CLASSES_MAX).contains(&self.classes.len()) {
            return Err(ParametersError::Classes { found: self.classes.len() });
        }
        if kind == Kind::Tandem && !matches!(self.stages.len(), 0 | 2) {
            return Err(ParametersError::Stages { found: self.stages.len() });
        }
        Ok(())
    }

    fn check_service(&self) -> Result<(), ParametersError> {
        let (kind, service) = (self.kind, self.service);
        let fits = match kind {
            Kind::Mm1 | Kind::Mm1k | Kind::Mmc | Kind::Tandem | Kind::Setup => {
                service == Service::Exponential
            }
            Kind::Md1 => service == Service::Deterministic,
            Kind::Mg1 | Kind::Priority | Kind::Saturation => true,
        };
        if !fits {
            return Err(ParametersError::ServiceMismatch { kind, service });
        }
        match self.cs2 {
            Some(value) if !(0.0..=1e6).contains(&value) => {
                Err(ParametersError::Variability { value })
            }
            _ => Ok(()),
        }
    }
}

/// Reads and checks the JSON beside an event file.
///
/// # Errors
///
/// [`ParametersError`]; of [`Parameters::check`] too.
pub fn read_parameters(from: impl Read) -> Result<Parameters, ParametersError> {
    let mut text = Vec::new();
    from.take(PARAMETERS_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > PARAMETERS_BYTES_MAX {
        return Err(ParametersError::TooLong);
    }
    let parameters: Parameters = serde_json::from_slice(&text)?;
    parameters.check()?;
    Ok(parameters)
}

/// Writes them as JSON that people can read.
///
/// # Errors
///
/// [`ParametersError::Io`]; and what [`Parameters::check`] refuses, so that no file is written that could not be read.
pub fn write_parameters(
    mut to: impl Write,
    parameters: &Parameters,
) -> Result<(), ParametersError> {
    parameters.check()?;
    serde_json::to_writer_pretty(&mut to, parameters)?;
    to.write_all(b"\n")?;
    Ok(to.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mm1() -> Parameters {
        Parameters {
            kind: Kind::Mm1,
            servers: 1,
            capacity: None,
            ring_capacity: None,
            lambda: 8_000.0,
            mu: 10_000.0,
            service: Service::Exponential,
            cs2: None,
            seed: 1,
            warmup: 0,
            wait: "spin".to_owned(),
            on: None,
            classes: Vec::new(),
            stages: Vec::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut file = Vec::new();
        write_parameters(&mut file, &mm1()).expect("a vector takes all");
        assert_eq!(read_parameters(&file[..]).expect("what we write we read"), mm1());
    }

    #[test]
    fn the_fields_of_the_protocol_suffice() {
        let text = r#"{"kind":"mm1k","servers":1,"capacity":5,"ring_capacity":4,"lambda":1000.0,"mu":1000.0,
            "service":"exp","seed":7,"warmup":0,"wait":"spin"}"#;
        let read = read_parameters(text.as_bytes()).expect("complete");
        assert_eq!((read.kind, read.capacity), (Kind::Mm1k, Some(5)));
        assert!(matches!(read_parameters(&b"{}"[..]), Err(ParametersError::Json(_))));
        assert!(matches!(read_parameters(&b"not json"[..]), Err(ParametersError::Json(_))));
        let endless = vec![b' '; PARAMETERS_BYTES_MAX as usize + 2];
        assert!(matches!(read_parameters(&endless[..]), Err(ParametersError::TooLong)));
    }

    #[test]
    fn rates_that_no_machine_has_are_refused_by_name() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            let error = Parameters { lambda: value, ..mm1() }.check().expect_err("refused");
            assert!(error.to_string().starts_with("lambda is "), "{error}");
            let error = Parameters { mu: value, ..mm1() }.check().expect_err("refused");
            assert!(error.to_string().starts_with("mu is "), "{error}");
        }
    }

    #[test]
    fn what_the_law_cannot_be_asked_is_refused_by_name() {
        use ParametersError as Error;
        let refused = |parameters: Parameters| parameters.check().expect_err("refused");
        assert!(matches!(refused(Parameters { servers: 0, ..mm1() }), Error::Servers { .. }));
        assert!(matches!(refused(Parameters { servers: 2, ..mm1() }), Error::Servers { .. }));
        assert!(matches!(
            refused(Parameters { kind: Kind::Mm1k, ..mm1() }),
            Error::CapacityMissing
        ));
        let known = Parameters { capacity: Some(9), ..mm1() };
        assert!(matches!(refused(known), Error::CapacityUnknown { found: 9, .. }));
        assert!(matches!(refused(Parameters { lambda: 1e4, ..mm1() }), Error::Unstable { .. }));
        assert!(matches!(
            refused(Parameters { kind: Kind::Md1, ..mm1() }),
            Error::ServiceMismatch { .. }
        ));
        let det = Parameters { service: Service::Deterministic, ..mm1() };
        assert!(matches!(refused(det), Error::ServiceMismatch { .. }));
        let saturated = Parameters { kind: Kind::Saturation, ..mm1() };
        assert!(matches!(refused(saturated), Error::NotSaturated { .. }));
        assert!(matches!(
            refused(Parameters { kind: Kind::Priority, ..mm1() }),
            Error::Classes { .. }
        ));
        let one = Parameters { kind: Kind::Tandem, stages: vec!["a".to_owned()], ..mm1() };
        assert!(matches!(refused(one), Error::Stages { found: 1 }));
        let cs2 = Some(f64::NAN);
        assert!(matches!(refused(Parameters { cs2, ..mm1() }), Error::Variability { .. }));
    }
}
