//! The tables of a report: a row a repetition, or a row a check of a repetition.

use super::number::{count, digits, percent, quantity, time, time_ns};
use super::{cell, clock, say, title};
use crate::lab::record::{CostRecord, RunRecord};
use crate::lab::{Footing, LawCheck, OwnPath, Quantiles, Stalls, Verdict, pool};
use std::fmt::Write;

/// A verdict as people read it.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds => "holds".into(),
        Verdict::Broken => "**broken**".into(),
        Verdict::Undecided { messages } => {
            format!("undecided (about {} messages)", count(*messages))
        }
        Verdict::Disturbed => "disturbed".into(),
    }
}

/// The ratio of a check, with its interval if it has one.
pub fn ratio(check: &LawCheck) -> String {
    match check.interval {
        Some(interval) => format!("{:.4} +- {:.4}", interval.ratio, interval.half_width),
        None if check.theory != 0.0 => format!("{:.4}", check.measured / check.theory),
        None => "-".into(),
    }
}

fn begin(text: &mut String, heading: &str, columns: &[&str]) {
    say!(text, "## {heading}\n");
    say!(text, "| {} |", columns.join(" | "));
    say!(text, "|{}", " --- |".repeat(columns.len()));
}

pub fn runs(text: &mut String, runs: &[&RunRecord]) {
    let columns = [
        "run",
        "rep",
        "messages",
        "rho asked",
        "rho realized",
        "s",
        "ca2",
        "cs2",
        "refused",
        "took",
        "load before",
        "verdict",
        "because",
    ];
    begin(text, "Every run", &columns);
    for run in runs {
        let (judgement, realized) = (&run.judgement, &run.judgement.realized);
        say!(
            text,
            "| {} | {} | {} | {:.4} | {} | {:.3} | {:.3} | {} | {} | {} | {} | {} |",
            title(run),
            count(judgement.messages),
            digits(run.experiment.load),
            realized.load,
            time(1.0 / realized.service_per_s),
            realized.ca2,
            realized.cs2,
            percent(realized.refused),
            clock(run.took),
            run.busy.load_before.map_or("-".into(), |load| format!("{load:.2}")),
            verdict(&judgement.verdict),
            cell(&judgement.because),
        );
    }
    text.push('\n');
}

pub fn checks(text: &mut String, runs: &[&RunRecord]) {
    let columns = [
        "run",
        "rep",
        "quantity",
        "law",
        "measured",
        "theory",
        "ratio, 95 %",
        "median of groups",
        "groups",
        "band",
        "decides",
        "verdict",
    ];
    begin(text, "Every check", &columns);
    for run in runs {
        for check in &run.judgement.checks {
            say!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                title(run),
                cell(&check.quantity),
                cell(&check.law),
                quantity(&check.quantity, check.measured),
                quantity(&check.quantity, check.theory),
                ratio(check),
                check.interval.map_or("-".into(), |interval| format!("{:.4}", interval.median)),
                check.interval.map_or("-".into(), |interval| interval.groups.to_string()),
                percent(check.band),
                if check.decides { "yes" } else { "explains" },
                verdict(&check.verdict),
            );
        }
    }
    text.push('\n');
}

pub fn own_path(text: &mut String, runs: &[&RunRecord]) {
    let columns = [
        "run",
        "rep",
        "W",
        "perfect",
        "W / perfect",
        "without hand-offs over 10 us",
        "W / drawn path",
        "later than perfect: mean",
        "p50",
        "p99",
        "max",
        "early",
        "at once, most",
    ];
    begin(text, "The engine beside its own path", &columns);
    for run in runs {
        let judgement = &run.judgement;
        own_path_row(text, &title(run), &judgement.own_path);
        if let Some(next) = &judgement.next_stage {
            own_path_row(text, &format!("{}, second stage", title(run)), &next.own_path);
        }
    }
    say!(
        text,
        "\n\"early\": messages that left before the perfect queue would have let them; above 0 the order is not first come, \
         first served. \"at once\": services at the same time.\n"
    );
}

fn own_path_row(text: &mut String, title: &str, own: &OwnPath) {
    let residual = &own.residual;
    say!(
        text,
        "| {title} | {} | {} | {:.4} | {:.4} | {} | {} | {} | {} | {} | {} | {} |",
        time(own.sojourn_mean_s),
        time(own.perfect_mean_s),
        own.ratio,
        own.ratio_without_absences,
        own.ratio_to_draws.map_or("-".into(), |ratio| format!("{ratio:.4}")),
        time_ns(residual.mean_ns),
        time_ns(residual.p50_ns as f64),
        time_ns(residual.p99_ns as f64),
        time_ns(residual.max_ns as f64),
        count(own.early),
        own.at_once_max,
    );
}

/// Repetitions of one experiment as one run: all of them.
pub fn pooled(text: &mut String, runs: &[&RunRecord]) {
    let mut names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    names.dedup();
    let repeated = |name: &&str| runs.iter().filter(|run| run.name == **name).count() > 1;
    let mut seen: Vec<&str> = Vec::new();
    for name in names.into_iter().filter(repeated) {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    if seen.is_empty() {
        return;
    }
    let columns = [
        "run",
        "reps",
        "messages",
        "quantity",
        "law",
        "measured",
        "theory",
        "ratio, 95 %",
        "band",
        "decides",
        "verdict",
    ];
    begin(text, "Repetitions pooled by their groups: all, none picked", &columns);
    for name in seen {
        let all = runs.iter().filter(|run| run.name == name);
        let all: Vec<_> = all.map(|run| run.judgement.clone()).collect();
        let pooled = match pool(&all) {
            Ok(pooled) => pooled,
            Err(error) => {
                let (name, error) = (cell(name), cell(&error.to_string()));
                say!(text, "| {name} | {} |{} {error} |", all.len(), " |".repeat(8));
                continue;
            }
        };
        for check in &pooled.checks {
            say!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(name),
                pooled.runs,
                count(pooled.messages),
                cell(&check.quantity),
                cell(&check.law),
                quantity(&check.quantity, check.measured),
                quantity(&check.quantity, check.theory),
                ratio(check),
                percent(check.band),
                if check.decides { "yes" } else { "explains" },
                verdict(&check.verdict),
            );
        }
    }
    text.push('\n');
}

fn quantiles(quantiles: &Quantiles) -> String {
    let Quantiles { count, mean_ns, p50_ns, p99_ns, max_ns, .. } = quantiles;
    if *count == 0 {
        return "none".into();
    }
    let [mean, p50] = [*mean_ns, *p50_ns as f64].map(time_ns);
    let [p99, max] = [*p99_ns as f64, *max_ns as f64].map(time_ns);
    format!("{mean} ({p50}, {p99}, {max})")
}

pub fn hand_offs(text: &mut String, runs: &[&RunRecord]) {
    let columns = [
        "run",
        "rep",
        "after a message: mean (p50, p99, max)",
        "from rest: mean (p50, p99, max)",
        "source late: mean (p50, p99, max)",
    ];
    begin(text, "Hand-offs, and how late the source was", &columns);
    for run in runs {
        let judgement = &run.judgement;
        let all = [&judgement.hand_offs.busy, &judgement.hand_offs.idle, &judgement.lateness];
        let [busy, idle, late] = all.map(quantiles);
        say!(text, "| {} | {busy} | {idle} | {late} |", title(run));
    }
    text.push('\n');
}

fn stalled(stalls: &Stalls) -> String {
    if stalls.count == 0 {
        return "none".into();
    }
    let Stalls { count: number, total_s, max_s, .. } = *stalls;
    format!("{} / {} / {}", count(number), time(total_s), time(max_s))
}

pub fn stalls(text: &mut String, runs: &[&RunRecord]) {
    let columns = [
        "run",
        "rep",
        "server: count / total / longest",
        "idle server",
        "source",
        "share of W",
        "steal",
        "pinned",
        "taken off the core",
        "timer slack",
        "FIFO",
    ];
    begin(text, "What the machine took", &columns);
    for run in runs {
        let account = run.judgement.stalls.as_ref();
        let all = account.map(|account| [account.server, account.idle, account.source]);
        let [server, idle, source] =
            all.map_or(["-"; 3].map(String::from), |all| all.map(|stalls| stalled(&stalls)));
        let footings = &run.footings;
        let each = |what: &dyn Fn(&Footing) -> String| {
            let all: Vec<String> = footings.iter().take(3).map(what).collect();
            if all.is_empty() { "-".into() } else { all.join(", ") }
        };
        let or_no = |value: Option<String>| value.unwrap_or_else(|| "no".into());
        say!(
            text,
            "| {} | {server} | {idle} | {source} | {} | {} | {} | {} | {} | {} |",
            title(run),
            run.judgement.stall_bias.map_or("-".into(), |bias| percent(bias.total())),
            run.busy.steal_s.map_or("-".into(), time),
            each(&|footing| or_no(footing.core.map(|core| format!("core {core}")))),
            each(&|footing| footing.preempted.map_or("-".into(), count)),
            each(&|footing| footing.timer_slack_ns.map_or("-".into(), |ns| time_ns(ns as f64))),
            each(&|footing| or_no(footing.fifo.map(|priority| priority.to_string()))),
        );
    }
    say!(text, "\nThe last four are the source's, then the first servers'.\n");
}

pub fn inputs(text: &mut String, runs: &[&RunRecord]) {
    let columns = ["run", "rep", "claim", "statistic", "5 % point", "refused above", "holds"];
    begin(text, "Was it what was asked for?", &columns);
    for run in runs {
        for input in &run.judgement.inputs {
            say!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                title(run),
                cell(&input.claim),
                digits(input.statistic),
                digits(input.critical),
                digits(input.refused_above),
                if input.holds { "yes" } else { "**no**" },
            );
        }
    }
    say!(
        text,
        "\nOne in twenty is above its 5 % point by chance; refused is what chance and the band cannot explain.\n"
    );
}

pub fn costs(text: &mut String, costs: &[&CostRecord]) {
    if costs.is_empty() {
        return;
    }
    let columns = ["cost of", "at", "messages a round", "rounds, ns a message"];
    begin(text, "What a message costs at a depth, and at a size of the log", &columns);
    for cost in costs {
        let rounds: Vec<String> = cost.rounds_ns.iter().map(|round| digits(*round)).collect();
        say!(
            text,
            "| {} | {} | {} | {} |",
            cost.plan.cost.name(),
            count(cost.plan.at),
            count(cost.plan.messages),
            rounds.join(", "),
        );
    }
    text.push('\n');
}
