//! From stamps to a judgement.
//!
//! ```text
//!  rows --check--> invalid: an error, with the row
//!    |
//!    +-- own path ------ the engine: no chance in it ----------------------+
//!    +-- facts --------- c servers, room for K, no event lost -------------+
//!    +-- inputs -------- gaps and services are what was asked for ---------+--> the worst of what decides
//!    +-- groups -- W, loss beside the law, at realized rates --------------+
//!    +-- groups -- P(N = n), P(W > t) beside the law ----------------------+
//!  stall account ------- above a quarter of the band: these last say nothing, the run is disturbed
//! ```
//!
//! Own path and facts can be broken on a disturbed machine too; what has chance in it is then *disturbed*, whatever it says.
//! W from the intended arrivals carries the verdict, W from the arrivals stands beside it: a source that was held up, by the
//! machine or by a publish that takes long, shows in the difference.
//!
//! Without a stall account (another program's file) nothing can be called disturbed.
//!
//! Which law: `law`. Intervals: `interval`. Source of each formula: [`crate::model`].

use super::distribution::{Inputs, Seen};
use super::event::{Event, EventError, check_events};
use super::experiment::{Kind, MESSAGES_MAX};
use super::interval::{Cuts, GROUP_RELAXATIONS, GROUPS, messages_to_decide, relaxation_messages};
use super::judgement::{
    Grouping, InputTest, Judgement, LawCheck, OwnPath, Point, Pooled, Quantiles, Realized, Stage,
    StallAccount, StallBias, Stalls, Sums, Verdict,
};
use super::law::Subject;
use super::parameters::{Parameters, ParametersError, WARMUP_SHARE};
use super::path::mean_s;
use super::verdict::{Findings, claim_checks, fact, own_path_check};
use super::walk::{Walk, groups};

/// Of the band, so much may be the machine's before the run is disturbed.
pub const DISTURBED_SHARE: f64 = 0.25;

/// Why there is no judgement: the data cannot be a run's, or the run has no law to be held against.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The events cannot be a run's: invalid.
    #[error("invalid: {0}")]
    Events(#[from] EventError),
    /// No run can be asked this.
    #[error("invalid: {0}")]
    Parameters(#[from] ParametersError),
    /// The band is no number between 0 and 1.
    #[error("the band is {band}; it must be above 0 and below 1")]
    Band {
        /// What was given.
        band: f64,
    },
    /// More is left out of the statistics than is honest.
    #[error("invalid: {warmup} of {messages} rows as warm-up; at most one in {WARMUP_SHARE}")]
    Warmup {
        /// Rows to leave out.
        warmup: u64,
        /// Rows there are.
        messages: u64,
    },
    /// Too short to have rates.
    #[error("invalid: {messages} messages were served after the warm-up; at least {most} are needed", most = MESSAGES_MIN)]
    TooFew {
        /// How many.
        messages: u64,
    },
    /// The gaps or the services add up to nothing.
    #[error("invalid: all gaps or all services are 0 ns")]
    NoTime,
    /// A class that the parameters do not name, or rows without one in a run with priorities.
    #[error("invalid: row {row}: its class is not one of the {classes} named")]
    Class {
        /// Where, from 1.
        row: u64,
        /// How many classes there are.
        classes: usize,
    },
    /// As much came in as could be served, though less was asked for: there is no steady state to compare with. (If the
    /// stall account shows that the machine is to blame, the run is judged: disturbed.)
    #[error("rho was {load} in this run: no steady state exists to compare it with")]
    Unstable {
        /// lambda / (c mu), realized.
        load: f64,
    },
    /// A tandem's stages come to [`judge_tandem`], everything else to [`judge`].
    #[error("a tandem has two event files, every other kind has one: {kind:?}")]
    Stages {
        /// Which kind came.
        kind: Kind,
    },
    /// Row by row, the second stage must take what the first let go.
    #[error("invalid: row {row}: the second stage does not begin where the first ends")]
    StageGap {
        /// Where, from 1.
        row: u64,
    },
    /// Runs of different experiments cannot be pooled.
    #[error("only runs of one kind, with the same servers, capacity and band, can be pooled")]
    Mixed,
}

/// Fewer served messages than these say nothing.
pub const MESSAGES_MIN: u64 = 10;

/// Judges one run: any kind but a tandem. `stalls` is what the machine took, if somebody kept account; `band` is how far
/// from the law still holds, relative.
///
/// # Errors
///
/// [`JudgeError`]: the data are invalid, or there is no law for them.
pub fn judge(
    parameters: &Parameters,
    events: &[Event],
    stalls: Option<&StallAccount>,
    band: f64,
) -> Result<Judgement, JudgeError> {
    if parameters.kind == Kind::Tandem {
        return Err(JudgeError::Stages { kind: parameters.kind });
    }
    check(parameters, events, band)?;
    check_classes(parameters, events)?;
    Case::of(parameters, events, None, stalls, band)?.judgement()
}

/// Judges a tandem from the events of its two stages: the same messages, row by row.
///
/// # Errors
///
/// [`JudgeError`]: the data are invalid, or there is no law for them.
pub fn judge_tandem(
    parameters: &Parameters,
    stages: [&[Event]; 2],
    stalls: Option<&StallAccount>,
    band: f64,
) -> Result<Judgement, JudgeError> {
    if parameters.kind != Kind::Tandem {
        return Err(JudgeError::Stages { kind: parameters.kind });
    }
    stages.iter().try_for_each(|events| check(parameters, events, band))?;
    let [first, next] = stages;
    let row = |at: usize| at as u64 + 1;
    if first.len() != next.len() {
        return Err(JudgeError::StageGap { row: row(first.len().min(next.len())) });
    }
    let follows = |(one, two): (&Event, &Event)| match (one.served, two.served) {
        (Some(one), Some(_)) => two.intended_ns >= one.end_ns,
        _ => false,
    };
    if let Some(at) = first.iter().zip(next).position(|both| !follows(both)) {
        return Err(JudgeError::StageGap { row: row(at) });
    }
    Case::of(parameters, first, Some(next), stalls, band)?.judgement()
}

/// Several runs of one experiment as one: all their groups together, none picked. Facts, inputs and
/// distributions that one run broke stay broken, and are not pooled; stalls count by the length of the runs.
///
/// # Errors
///
/// [`JudgeError::Mixed`] unless they are of one kind with the same servers, capacity and band, or if there is none.
pub fn pool(runs: &[Judgement]) -> Result<Pooled, JudgeError> {
    let first = runs.first().ok_or(JudgeError::Mixed)?;
    let alike = |run: &Judgement| {
        (run.kind, run.servers, run.capacity, run.band)
            == (first.kind, first.servers, first.capacity, first.band)
    };
    if !runs.iter().all(alike) {
        return Err(JudgeError::Mixed);
    }
    let band = first.band;
    let messages = runs.iter().map(|run| run.messages).sum();
    let all: Vec<Sums> = runs.iter().flat_map(|run| run.groups.iter().cloned()).collect();
    let time_s: f64 = runs.iter().map(|run| run.realized.run_s).sum();
    let bias_s =
        |run: &Judgement| run.stall_bias.map_or(0.0, |bias| bias.total()) * run.realized.run_s;
    let disturbed = runs.iter().map(bias_s).sum::<f64>() / time_s > band * DISTURBED_SHARE;
    let subject = Subject { kind: first.kind, servers: first.servers, capacity: first.capacity };
    let load = runs.iter().map(|run| run.realized.load * run.realized.run_s).sum::<f64>() / time_s;
    let mut checks =
        claim_checks(&subject, &all, messages, band, disturbed, || messages_to_decide(load, band));
    let facts = runs.iter().flat_map(|run| &run.checks).filter(|check| check.interval.is_none());
    // A check without chance has no interval, and neither has one with too few groups: that one is undecided.
    let certain = |check: &&LawCheck| !matches!(check.verdict, Verdict::Undecided { .. });
    let mut worst: Vec<LawCheck> = Vec::new();
    for check in facts.filter(certain) {
        let same =
            |other: &&mut LawCheck| (&other.quantity, &other.law) == (&check.quantity, &check.law);
        match worst.iter_mut().find(same) {
            Some(known) if known.verdict.worst(check.verdict) != known.verdict => {
                *known = check.clone()
            }
            Some(_) => {}
            None => worst.push(check.clone()),
        }
    }
    checks.extend(worst);
    let mut findings = Findings::default();
    checks.iter().for_each(|check| findings.check(check));
    for run in runs {
        let disturbed = run.stall_bias.is_some_and(|bias| bias.total() > band * DISTURBED_SHARE);
        run.inputs.iter().for_each(|test| findings.input(test, disturbed));
        findings.points(&run.points, disturbed);
    }
    let (verdict, because) = findings.conclude();
    Ok(Pooled { kind: first.kind, runs: runs.len() as u32, messages, checks, verdict, because })
}

fn check(parameters: &Parameters, events: &[Event], band: f64) -> Result<(), JudgeError> {
    parameters.check()?;
    check_events(events)?;
    if !(f64::MIN_POSITIVE..1.0).contains(&band) {
        return Err(JudgeError::Band { band });
    }
    let (warmup, messages) = (parameters.warmup, events.len() as u64);
    if warmup > messages / WARMUP_SHARE {
        return Err(JudgeError::Warmup { warmup, messages });
    }
    let counted =
        events[warmup as usize..].iter().filter(|event| event.served.is_some()).count() as u64;
    if counted < MESSAGES_MIN {
        return Err(JudgeError::TooFew { messages: counted });
    }
    Ok(())
}

/// With priorities each row has one of the named classes.
fn check_classes(parameters: &Parameters, events: &[Event]) -> Result<(), JudgeError> {
    let classes = parameters.classes.len();
    if parameters.kind != Kind::Priority {
        return Ok(());
    }
    let known = |event: &Event| event.class.is_some_and(|class| usize::from(class) < classes);
    match events.iter().position(|event| !known(event)) {
        Some(at) => Err(JudgeError::Class { row: at as u64 + 1, classes }),
        None => Ok(()),
    }
}

/// A run with all that is looked at more than once.
struct Case<'a> {
    parameters: &'a Parameters,
    subject: Subject,
    band: f64,
    stalls: Option<&'a StallAccount>,
    bias: Option<StallBias>,
    disturbed: bool,
    /// The machine took so much that more came than could be served: no law to compare with.
    unstable: bool,
    /// The first stage, or the only one.
    walk: Walk<'a>,
    own: OwnPath,
    next: Option<Walk<'a>>,
    next_own: Option<OwnPath>,
    realized: Realized,
    cuts: Cuts,
    groups: Vec<Sums>,
}

impl<'a> Case<'a> {
    fn of(
        parameters: &'a Parameters,
        events: &'a [Event],
        next: Option<&'a [Event]>,
        stalls: Option<&'a StallAccount>,
        band: f64,
    ) -> Result<Self, JudgeError> {
        let Parameters { kind, servers, capacity, .. } = *parameters;
        let subject = Subject { kind, servers, capacity };
        let warmup = parameters.warmup as usize;
        let walk = Walk::of(events, kind, servers);
        let own = walk.own_path().ok_or(JudgeError::NoTime)?;
        let realized = walk.realized(warmup).ok_or(JudgeError::NoTime)?;
        let next = next.map(|events| Walk::of(events, kind, servers));
        let mut next_own = None;
        let mut load = realized.load;
        if let Some(next) = &next {
            next_own = Some(next.own_path().ok_or(JudgeError::NoTime)?);
            load = load.max(next.realized(warmup).ok_or(JudgeError::NoTime)?.load);
        }
        let bias = stalls.map(|stalls| bias(stalls, &realized, servers));
        let disturbed = match (kind, stalls, bias) {
            // At saturation the server is never idle: what it loses between services is all that can be lost.
            (Kind::Saturation, Some(stalls), _) => {
                stalls.idle.total_s / (realized.run_s * f64::from(servers)) > band * DISTURBED_SHARE
            }
            (_, _, Some(bias)) => bias.total() > band * DISTURBED_SHARE,
            _ => false,
        };
        let unstable = load >= 1.0 && !matches!(kind, Kind::Mm1k | Kind::Saturation);
        if unstable && !disturbed {
            return Err(JudgeError::Unstable { load });
        }
        let rows = warmup..events.len();
        let relaxation = relaxation(&subject, load, realized.cs2);
        let cuts = match kind {
            Kind::Saturation => Cuts { how: Grouping::Whole, rows: vec![rows.start, rows.end] },
            _ => {
                let empty = walk.empty(next.as_ref());
                Cuts::of(rows, relaxation, |row| empty[row])
            }
        };
        let groups = groups(&walk, next.as_ref(), &cuts, parameters.classes.len());
        Ok(Self {
            parameters,
            subject,
            band,
            stalls,
            bias,
            disturbed,
            unstable,
            walk,
            own,
            next,
            next_own,
            realized,
            cuts,
            groups,
        })
    }

    /// About so many messages would decide, if there are no groups to say it better.
    fn messages_needed(&self) -> u64 {
        let load = self.realized.load;
        let relaxation = relaxation(&self.subject, load, self.realized.cs2);
        let batches = GROUPS as f64 * GROUP_RELAXATIONS * relaxation;
        let batches = if batches.is_finite() { batches as u64 } else { 0 };
        let needed =
            messages_to_decide(load, self.band).max(batches).max(2 * self.walk.events.len() as u64);
        needed.min(MESSAGES_MAX)
    }

    fn judgement(self) -> Result<Judgement, JudgeError> {
        let (band, messages) = (self.band, self.walk.events.len() as u64);
        let mut checks =
            claim_checks(&self.subject, &self.groups, messages, band, self.disturbed, || {
                self.messages_needed()
            });
        let little = self.walk.crowd.little(self.walk.events);
        checks.extend(self.own_path_checks());
        checks.extend(self.facts());
        checks.push(fact(
            "Little's area",
            "sum of sojourns",
            little.area as f64,
            little.sojourns as f64,
            little.area == little.sojourns,
        ));
        if self.subject.kind == Kind::Saturation {
            checks.push(self.throughput_check());
        }
        let (points, p99) = self.points();
        checks.extend(p99);
        let inputs = self.inputs();
        let source_late = self.source_late();
        let mut findings = Findings::default();
        checks.iter().for_each(|check| findings.check(check));
        inputs.iter().for_each(|test| findings.input(test, self.disturbed));
        findings.points(&points, self.disturbed);
        if self.unstable {
            findings.overwhelmed(self.realized.load);
        }
        self.notes(&mut findings, source_late);
        let (verdict, because) = findings.conclude();
        let lateness = self.walk.lateness();
        Ok(Judgement {
            kind: self.subject.kind,
            servers: self.subject.servers,
            capacity: self.subject.capacity,
            band,
            messages,
            warmup: self.parameters.warmup,
            refused: self.walk.refused(),
            realized: self.realized,
            little,
            own_path: OwnPath { ratio_to_draws: self.drawn_ratio(), ..self.own },
            hand_offs: self.walk.turns.hand_offs(),
            next_stage: self.stage(),
            grouping: self.cuts.how,
            groups: self.groups,
            lateness: Quantiles::of_sorted(&lateness),
            checks,
            points,
            inputs,
            stalls: self.stalls.copied(),
            stall_bias: self.bias,
            source_late,
            verdict,
            because,
        })
    }

    fn stage(&self) -> Option<Stage> {
        let walk = self.next.as_ref()?;
        Some(Stage {
            realized: walk.realized(self.parameters.warmup as usize)?,
            own_path: self.next_own?,
            hand_offs: walk.turns.hand_offs(),
        })
    }

    fn own_path_checks(&self) -> Vec<LawCheck> {
        if self.subject.kind == Kind::Saturation {
            // Residuals add up for ever here: the single hand-off is held against the service.
            let service_s = 1.0 / self.realized.service_per_s;
            let hand_off_s = self.walk.busy_hand_off_mean_s();
            let holds = hand_off_s <= self.band * service_s;
            let verdict = match (holds, self.disturbed) {
                (true, _) => Verdict::Holds,
                (false, true) => Verdict::Disturbed,
                (false, false) => Verdict::Broken,
            };
            return vec![LawCheck {
                quantity: "service and hand-off".to_owned(),
                law: "service".to_owned(),
                measured: service_s + hand_off_s,
                theory: service_s,
                interval: None,
                band: self.band,
                verdict,
                decides: true,
            }];
        }
        let decides = self.subject.kind != Kind::Setup;
        let paths = std::iter::once(&self.own).chain(&self.next_own);
        let named = paths.zip(["own path", "own path, second stage"]);
        named
            .map(|(own, name)| own_path_check(name, own, self.band, self.disturbed, decides))
            .collect()
    }

    /// What no machine excuses.
    fn facts(&self) -> Vec<LawCheck> {
        let mut facts = Vec::new();
        let Subject { kind, servers, capacity } = self.subject;
        for own in std::iter::once(&self.own).chain(&self.next_own) {
            let most = own.at_once_max;
            facts.push(fact(
                "services at one time",
                "servers",
                f64::from(most),
                f64::from(servers),
                most <= servers,
            ));
            if servers == 1 && kind != Kind::Priority {
                let early = own.early;
                facts.push(fact(
                    "left before the own path lets them",
                    "first come, first served",
                    early as f64,
                    0.0,
                    early == 0,
                ));
            }
        }
        let refused = self.walk.refused();
        match (kind, capacity) {
            (Kind::Mm1k, Some(capacity)) => {
                let (most, too_soon) = self.walk.found_at(capacity);
                facts.push(fact(
                    "most in the system",
                    "K",
                    most as f64,
                    capacity as f64,
                    most <= capacity,
                ));
                let share = too_soon as f64 / refused.max(1) as f64;
                facts.push(fact(
                    "share refused with room for more",
                    "K",
                    share,
                    0.0,
                    share <= self.band,
                ));
            }
            (Kind::Saturation, _) => {}
            _ => facts.push(fact("refused", "no limit", refused as f64, 0.0, refused == 0)),
        }
        facts
    }

    fn throughput_check(&self) -> LawCheck {
        let (measured, theory) =
            self.walk.throughput(self.parameters.warmup as usize, self.subject.servers);
        let holds = (measured / theory - 1.0).abs() <= self.band;
        let verdict = match (holds, self.disturbed) {
            (_, true) => Verdict::Disturbed,
            (true, false) => Verdict::Holds,
            (false, false) => Verdict::Broken,
        };
        LawCheck {
            quantity: "throughput".to_owned(),
            law: "c mu".to_owned(),
            measured,
            theory,
            interval: None,
            band: self.band,
            verdict,
            decides: true,
        }
    }

    fn points(&self) -> (Vec<Point>, Option<LawCheck>) {
        let unit_s = self.subject.sojourn_mean_s(&Sums::total(&self.groups));
        if self.cuts.how == Grouping::Whole || self.subject.kind == Kind::Saturation {
            return (Vec::new(), None);
        }
        let last = self.next.as_ref().map_or(self.walk.events, |next| next.events);
        // Where there is no single W, no tail is looked at either, and the unit does not matter.
        let seen =
            Seen::of(self.walk.events, last, &self.walk.crowd, &self.cuts, unit_s.unwrap_or(1.0));
        seen.beside(&self.subject, &self.groups, self.band)
    }

    fn inputs(&self) -> Vec<InputTest> {
        let warmup = self.parameters.warmup as usize;
        let before_ns = warmup.checked_sub(1).map_or(0, |last| self.walk.events[last].intended_ns);
        let Parameters { service, .. } = *self.parameters;
        let inputs =
            Inputs { events: &self.walk.events[warmup..], before_ns, service, band: self.band };
        inputs.tests()
    }

    /// W from intended over W from arrival, more than a quarter of the band from 1?
    fn source_late(&self) -> bool {
        let total = Sums::total(&self.groups);
        (total.intended_s / total.sojourns_s - 1.0).abs() > self.band * DISTURBED_SHARE
    }

    /// Mean sojourn from intended over that of the drawn path.
    fn drawn_ratio(&self) -> Option<f64> {
        let last = self.next.as_ref().map_or(self.walk.events, |next| next.events);
        let stays = self.walk.events.iter().zip(last).filter_map(|(first, last)| {
            last.served.map(|served| served.end_ns - first.intended_ns)
        });
        Some(mean_s(stays)? / self.walk.drawn_mean_s(self.next.as_ref(), self.subject.capacity)?)
    }

    fn notes(&self, findings: &mut Findings, source_late: bool) {
        if source_late {
            findings.note("the source was late by more than a quarter of the band".to_owned());
        }
        match self.bias {
            None => findings.note("nobody kept account of stalls".to_owned()),
            Some(bias) if self.disturbed => findings.note(format!(
                "stalls explain {:.2} % of W (server {:.2}, idle {:.2}, source {:.2}); {:.2} % is a quarter of the band",
                100.0 * bias.total(),
                100.0 * bias.server,
                100.0 * bias.idle,
                100.0 * bias.source,
                100.0 * self.band * DISTURBED_SHARE,
            )),
            Some(_) => {}
        }
    }
}

/// Messages after which a queue has forgotten how it was: of c servers no less than are in service, and longer in proportion
/// to the mean rest of a service where these vary.
fn relaxation(subject: &Subject, load: f64, cs2: f64) -> f64 {
    let variable = match subject.kind {
        Kind::Mg1 | Kind::Priority => f64::midpoint(1.0, cs2).max(1.0),
        _ => 1.0,
    };
    let in_service = load * f64::from(subject.servers);
    (variable * relaxation_messages(load, subject.capacity)).max(in_service)
}

/// sum d^2 / (2 T s c) of each witness.
fn bias(stalls: &StallAccount, realized: &Realized, servers: u32) -> StallBias {
    let whole_s2 = 2.0 * realized.run_s / realized.service_per_s;
    let of = |stalls: &Stalls, witnesses: u32| stalls.square_s2 / (whole_s2 * f64::from(witnesses));
    StallBias {
        server: of(&stalls.server, servers),
        idle: of(&stalls.idle, servers),
        source: of(&stalls.source, 1),
    }
}
