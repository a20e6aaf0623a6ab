//! From findings to a verdict and the sentence that says why.

use super::interval::jackknife;
use super::judgement::{InputTest, LawCheck, OwnPath, Point, Sums, Verdict};
use super::law::Subject;

/// Of the findings that are as bad as the worst, so many are said.
const SAID_MAX: usize = 3;

/// Every claim of a subject beside its law, by groups.
pub fn claim_checks(
    subject: &Subject,
    groups: &[Sums],
    messages: u64,
    band: f64,
    disturbed: bool,
    needed: impl Fn() -> u64,
) -> Vec<LawCheck> {
    let total = Sums::total(groups);
    let claims = subject.claims(total.classes.len());
    let checks = claims.into_iter().filter_map(|claim| {
        let estimate = |sums: &Sums| {
            let ratio = (claim.measured)(sums)? / (claim.theory)(sums)?;
            Some(ratio).filter(|ratio| ratio.is_finite())
        };
        let interval = jackknife(groups, &estimate);
        let verdict = match (disturbed, interval) {
            (true, _) => Verdict::Disturbed,
            (false, Some(interval)) => interval.verdict(band, messages),
            (false, None) => Verdict::Undecided { messages: needed() },
        };
        let (measured, theory) = ((claim.measured)(&total)?, (claim.theory)(&total)?);
        let (quantity, law, decides) = (claim.quantity, claim.law.to_owned(), claim.decides);
        Some(LawCheck { quantity, law, measured, theory, interval, band, verdict, decides })
    });
    checks.collect()
}

/// A count beside what it must be: no band, no chance.
pub fn fact(quantity: &str, law: &str, measured: f64, theory: f64, holds: bool) -> LawCheck {
    LawCheck {
        quantity: quantity.to_owned(),
        law: law.to_owned(),
        measured,
        theory,
        interval: None,
        band: 0.0,
        verdict: if holds { Verdict::Holds } else { Verdict::Broken },
        decides: true,
    }
}

/// The engine against its own path. Off the band, and inside it once absences count as service: the machine's doing if the
/// machine is known to have been away, the engine's if not.
pub fn own_path_check(
    law: &str,
    own: &OwnPath,
    band: f64,
    disturbed: bool,
    decides: bool,
) -> LawCheck {
    let inside = |ratio: f64| (ratio - 1.0).abs() <= band;
    let verdict = match inside(own.ratio) {
        true => Verdict::Holds,
        false if disturbed && inside(own.ratio_without_absences) => Verdict::Disturbed,
        false => Verdict::Broken,
    };
    LawCheck {
        quantity: "W from arrival".to_owned(),
        law: law.to_owned(),
        measured: own.sojourn_mean_s,
        theory: own.perfect_mean_s,
        interval: None,
        band,
        verdict,
        decides,
    }
}

/// What was found, each with what it makes of the run.
#[derive(Debug, Default)]
pub struct Findings {
    all: Vec<(Verdict, String)>,
    notes: Vec<String>,
}

impl Findings {
    /// A check, if the verdict rests on it.
    pub fn check(&mut self, check: &LawCheck) {
        if check.decides {
            self.all.push((check.verdict, describe(check)));
        }
    }

    /// A test of what came in.
    pub fn input(&mut self, test: &InputTest, disturbed: bool) {
        if test.holds {
            return;
        }
        let verdict =
            if disturbed && test.of_machine { Verdict::Disturbed } else { Verdict::Broken };
        let InputTest { claim, statistic, refused_above, .. } = test;
        self.all.push((
            verdict,
            format!("refused that {claim}: {statistic:.4} is above {refused_above:.4}"),
        ));
    }

    /// The points of distributions.
    pub fn points(&mut self, points: &[Point], disturbed: bool) {
        let off: Vec<&Point> = points.iter().filter(|point| !point.holds).collect();
        let Some(first) = off.first() else { return };
        let verdict = if disturbed { Verdict::Disturbed } else { Verdict::Broken };
        let Point { of, at, measured, half_width, theory, .. } = first;
        self.all.push((
            verdict,
            format!(
                "{} of {} points of the distributions miss their law, first {of} at {at}: {measured:.5} +- {half_width:.5} for {theory:.5}",
                off.len(),
                points.len(),
            ),
        ));
    }

    /// The machine took so much that the queue had no steady state: disturbed, and no law was compared with.
    pub fn overwhelmed(&mut self, load: f64) {
        let why = format!("rho was {load:.3} in this run: no steady state to compare with");
        self.all.push((Verdict::Disturbed, why));
    }

    /// Something to be said whatever the verdict.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The worst, and the sentence.
    pub fn conclude(self) -> (Verdict, String) {
        let verdict =
            self.all.iter().fold(Verdict::Holds, |worst, (verdict, _)| worst.worst(*verdict));
        let alike = |one: &Verdict| std::mem::discriminant(one) == std::mem::discriminant(&verdict);
        let said = self.all.into_iter().filter(|(one, _)| alike(one)).map(|(_, why)| why);
        let mut said: Vec<String> = said.take(SAID_MAX).collect();
        said.extend(self.notes);
        (verdict, said.join("; "))
    }
}

fn describe(check: &LawCheck) -> String {
    let LawCheck { quantity, law, measured, theory, band, .. } = check;
    match (check.interval, check.verdict) {
        (Some(interval), verdict) => {
            let more = match verdict {
                Verdict::Undecided { messages } => {
                    format!(", about {messages} messages would decide")
                }
                _ => String::new(),
            };
            format!(
                "{quantity} is {:.4} +- {:.4} of {law}, band {:.1} %{more}",
                interval.ratio,
                interval.half_width,
                100.0 * band,
            )
        }
        (None, Verdict::Undecided { messages }) => {
            format!(
                "{quantity} beside {law}: too few groups, about {messages} messages would decide"
            )
        }
        (None, _) if *band == 0.0 => format!("{quantity} {measured} beside {law} {theory}"),
        (None, _) => {
            format!("{quantity} is {:.4} of {law}, band {:.1} %", measured / theory, 100.0 * band)
        }
    }
}
