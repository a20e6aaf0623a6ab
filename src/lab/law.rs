//! Which law a kind is held against, as functions of what was summed: at the realized rates of any part of a run.
//!
//! | kind | decides | law of N | law of W |
//! |---|---|---|---|
//! | `mm1` | W from intended: M/M/1 | yes | yes |
//! | `mm1k` | loss, and W of what was accepted: M/M/1/K | yes | yes |
//! | `mmc` | W: M/M/c | yes | yes |
//! | `md1` | W: M/D/1 | yes | no |
//! | `mg1` | W: M/G/1 at realized moments | n = 0 | no |
//! | `priority` | W of each class: Cobham at realized moments | n = 0 | no |
//! | `tandem` | W of both stages: Jackson | first stage's | yes |
//! | `setup` | W: M/M/1 with set-up at realized E\[D\], E\[D^2\] | no | no |
//! | `saturation` | throughput | no | no |
//!
//! Beside them stands what explains: W from the arrival, the own path, M/G/1 at realized moments, set-up.

use super::experiment::Kind;
use super::judgement::{ClassSums, Sums};
use crate::model::{Class, Md1, Mg1, Mm1, Mm1k, Mmc, Priorities, ServiceTime, Setup, Tandem};

/// What a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Which law.
    pub kind: Kind,
    /// c.
    pub servers: u32,
    /// K, if there is one.
    pub capacity: Option<u64>,
}

/// A function of sums; `None` where it has no value: unstable, or nothing to divide by.
pub type OfSums = Box<dyn Fn(&Sums) -> Option<f64>>;
/// A probability at a place: at n messages, or beyond t seconds.
pub type Curve<At> = Box<dyn Fn(&Sums, At) -> Option<f64>>;

/// A measured quantity beside its law.
pub struct Claim {
    /// As in a `LawCheck`.
    pub quantity: String,
    /// As in a `LawCheck`.
    pub law: &'static str,
    /// As measured.
    pub measured: OfSums,
    /// As the law has it.
    pub theory: OfSums,
    /// Does the verdict rest on it?
    pub decides: bool,
}

impl Claim {
    fn new(
        quantity: impl Into<String>,
        law: &'static str,
        measured: impl Fn(&Sums) -> Option<f64> + 'static,
        theory: impl Fn(&Sums) -> Option<f64> + 'static,
    ) -> Self {
        Self {
            quantity: quantity.into(),
            law,
            measured: Box::new(measured),
            theory: Box::new(theory),
            decides: true,
        }
    }

    fn explains(self) -> Self {
        Self { decides: false, ..self }
    }
}

/// a / b, if that is a number.
fn over(a: f64, b: f64) -> Option<f64> {
    Some(a / b).filter(|ratio| b > 0.0 && ratio.is_finite())
}

impl Sums {
    /// lambda, of all that came.
    pub(super) fn lambda(&self) -> f64 {
        over(self.arrived, self.gaps_s).unwrap_or(0.0)
    }

    /// mu of one server.
    pub(super) fn mu(&self) -> f64 {
        over(self.served(), self.services_s).unwrap_or(0.0)
    }

    fn service(&self) -> Option<ServiceTime> {
        let mean_s = over(self.services_s, self.served())?;
        // Rounding may put the mean square of equal services just below the square of their mean.
        let square_s2 = over(self.services_s2, self.served())?.max(mean_s * mean_s);
        ServiceTime::from_moments(mean_s, square_s2).ok()
    }

    fn mg1(&self) -> Option<Mg1> {
        Mg1::new(self.lambda(), self.service()?).ok()
    }

    fn mm1(&self) -> Option<Mm1> {
        Mm1::new(self.lambda(), self.mu()).ok()
    }

    /// M/G/1 with the wake-ups that busy periods really began with.
    fn set_up(&self, queue: Mg1) -> Option<Setup> {
        Setup::new(queue, over(self.wakes_s, self.wakes)?, over(self.wakes_s2, self.wakes)?).ok()
    }
}

fn from_intended(sums: &Sums) -> Option<f64> {
    over(sums.intended_s, sums.served())
}

fn from_arrival(sums: &Sums) -> Option<f64> {
    over(sums.sojourns_s, sums.served())
}

fn of_path(sums: &Sums) -> Option<f64> {
    over(sums.path_s, sums.served())
}

fn mg1_w(sums: &Sums) -> Option<f64> {
    sums.mg1().map(|queue| queue.sojourn_mean_s())
}

fn set_up_w(sums: &Sums) -> Option<f64> {
    Some(sums.set_up(sums.mg1()?)?.sojourn_mean_s())
}

/// The name of M/G/1 in a check.
const AT_MOMENTS: &str = "M/G/1 at realized moments";
/// The name of the set-up model in a check.
const WITH_SET_UP: &str = "M/G/1 with set-up";

impl Subject {
    /// The law of W, by its name; `None` for kinds that have several or none.
    fn sojourn(&self) -> Option<(&'static str, OfSums)> {
        let (servers, capacity) = (self.servers, self.capacity.unwrap_or(0));
        Some(match self.kind {
            Kind::Mm1 => ("M/M/1", Box::new(|sums: &Sums| Some(sums.mm1()?.sojourn_mean_s()))),
            Kind::Mm1k => (
                "M/M/1/K",
                Box::new(move |sums: &Sums| {
                    Some(Mm1k::new(sums.lambda(), sums.mu(), capacity).ok()?.sojourn_mean_s())
                }),
            ),
            Kind::Mmc => (
                "M/M/c",
                Box::new(move |sums: &Sums| {
                    Some(Mmc::new(sums.lambda(), sums.mu(), servers).ok()?.sojourn_mean_s())
                }),
            ),
            Kind::Md1 => (
                "M/D/1",
                Box::new(|sums: &Sums| {
                    let service = ServiceTime::constant(1.0 / sums.mu()).ok()?;
                    Some(Mg1::new(sums.lambda(), service).ok()?.sojourn_mean_s())
                }),
            ),
            Kind::Mg1 => (AT_MOMENTS, Box::new(mg1_w)),
            Kind::Setup => (
                "M/M/1 with set-up",
                Box::new(|sums: &Sums| {
                    let service = ServiceTime::exponential(1.0 / sums.mu()).ok()?;
                    let queue = Mg1::new(sums.lambda(), service).ok()?;
                    Some(sums.set_up(queue)?.sojourn_mean_s())
                }),
            ),
            Kind::Tandem => ("tandem of M/M/1", Box::new(tandem_w)),
            Kind::Priority | Kind::Saturation => return None,
        })
    }

    /// All that is held against a law by its groups, what decides first.
    pub fn claims(&self, classes: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        if self.kind == Kind::Mm1k {
            let capacity = self.capacity.unwrap_or(0);
            let theory =
                move |sums: &Sums| Some(Mm1k::new(sums.lambda(), sums.mu(), capacity).ok()?.loss());
            let loss = |sums: &Sums| over(sums.refused, sums.arrived);
            claims.push(Claim::new("loss", "M/M/1/K", loss, theory));
        }
        if let Some((law, theory)) = self.sojourn() {
            claims.push(Claim::new("W from intended", law, from_intended, theory));
        }
        if let Some((law, theory)) = self.sojourn() {
            claims.push(Claim::new("W from arrival", law, from_arrival, theory).explains());
        }
        if self.kind == Kind::Priority {
            claims.extend((0..classes).map(class_claim));
        }
        if let (Kind::Mm1, Some((law, theory))) = (self.kind, self.sojourn()) {
            claims.push(Claim::new("W of the own path", law, of_path, theory).explains());
        }
        if self.kind == Kind::Setup {
            let plain = |sums: &Sums| Some(sums.mm1()?.sojourn_mean_s());
            claims.push(Claim::new("W from intended", "M/M/1", from_intended, plain).explains());
        }
        if matches!(self.kind, Kind::Mm1 | Kind::Md1 | Kind::Setup) {
            claims.push(Claim::new("W from arrival", AT_MOMENTS, from_arrival, mg1_w).explains());
            claims.push(Claim::new("W of the own path", AT_MOMENTS, of_path, mg1_w).explains());
        }
        if matches!(self.kind, Kind::Mm1 | Kind::Md1 | Kind::Mg1) {
            claims
                .push(Claim::new("W from arrival", WITH_SET_UP, from_arrival, set_up_w).explains());
        }
        claims
    }

    /// P(N = n), and how many n it is known for; of a tandem the first stage's.
    pub fn in_system(&self) -> Option<(u64, Curve<u64>)> {
        let (servers, capacity) = (self.servers, self.capacity.unwrap_or(0));
        Some(match self.kind {
            Kind::Mm1 | Kind::Tandem => {
                (u64::MAX, Box::new(|sums: &Sums, n| Some(sums.mm1()?.in_system_probability(n))))
            }
            Kind::Mm1k => (
                capacity + 1,
                Box::new(move |sums: &Sums, n| {
                    let queue = Mm1k::new(sums.lambda(), sums.mu(), capacity).ok()?;
                    Some(queue.in_system_probability(n))
                }),
            ),
            Kind::Mmc => (
                u64::MAX,
                Box::new(move |sums: &Sums, n| {
                    let queue = Mmc::new(sums.lambda(), sums.mu(), servers).ok()?;
                    Some(queue.in_system_probability(n))
                }),
            ),
            Kind::Md1 => (u64::MAX, Box::new(|sums: &Sums, n| md1_probability(sums, n))),
            Kind::Mg1 | Kind::Priority => (1, Box::new(|sums: &Sums, _| Some(sums.mg1()?.idle()))),
            Kind::Saturation | Kind::Setup => return None,
        })
    }

    /// P(W > t), t in seconds.
    pub fn sojourn_tail(&self) -> Option<Curve<f64>> {
        let (servers, capacity) = (self.servers, self.capacity.unwrap_or(0));
        Some(match self.kind {
            Kind::Mm1 => Box::new(|sums: &Sums, t_s| Some(sums.mm1()?.sojourn_tail(t_s))),
            Kind::Mm1k => Box::new(move |sums: &Sums, t_s| {
                Some(Mm1k::new(sums.lambda(), sums.mu(), capacity).ok()?.sojourn_tail(t_s))
            }),
            Kind::Mmc => Box::new(move |sums: &Sums, t_s| {
                Some(Mmc::new(sums.lambda(), sums.mu(), servers).ok()?.sojourn_tail(t_s))
            }),
            Kind::Tandem => Box::new(tandem_tail),
            _ => return None,
        })
    }

    /// The mean sojourn by the law, to place the tail's points.
    pub fn sojourn_mean_s(&self, sums: &Sums) -> Option<f64> {
        self.sojourn().and_then(|(_, theory)| theory(sums))
    }
}

fn md1_probability(sums: &Sums, n: u64) -> Option<f64> {
    Some(Md1::new(sums.lambda(), 1.0 / sums.mu()).ok()?.in_system_probability(n))
}

fn tandem(sums: &Sums) -> Option<Tandem> {
    let next_per_s = over(sums.served(), sums.services_next_s)?;
    Tandem::new(sums.lambda(), [sums.mu(), next_per_s]).ok()
}

fn tandem_w(sums: &Sums) -> Option<f64> {
    Some(tandem(sums)?.sojourn_mean_s())
}

fn tandem_tail(sums: &Sums, t_s: f64) -> Option<f64> {
    Some(tandem(sums)?.sojourn_tail(t_s))
}

/// W of one class beside Cobham's, all classes at their realized moments.
fn class_claim(class: usize) -> Claim {
    let measured = move |sums: &Sums| {
        let own = sums.classes.get(class)?;
        over(own.intended_s, own.served)
    };
    let theory = move |sums: &Sums| {
        let of = |each: &ClassSums| {
            let mean_s = over(each.services_s, each.served)?;
            let square_s2 = over(each.services_s2, each.served)?.max(mean_s * mean_s);
            let service = ServiceTime::from_moments(mean_s, square_s2).ok()?;
            Some(Class { arrival_per_s: over(each.served, sums.gaps_s)?, service })
        };
        // A class that nobody was of takes no time from the others.
        let present = |each: &&ClassSums| each.served > 0.0;
        let classes: Option<Vec<Class>> = sums.classes.iter().filter(present).map(of).collect();
        let place = sums.classes[..class].iter().filter(present).count();
        Priorities::new(classes?).ok()?.sojourn_mean_s(place)
    };
    Claim::new(
        format!("W of class {class} from intended"),
        "Cobham at realized moments",
        measured,
        theory,
    )
}
