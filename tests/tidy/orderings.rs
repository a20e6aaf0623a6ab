//! Every ordering has a label, every label a row in the page's table, and every row a releasing and an acquiring end.
//!
//! A label stands beside its ordering. Where the formatter leaves no room there, it stands on the line above, or first
//! in the block that the line opens.

use crate::rules::{Fault, Rule, SYNC_FILE, fault};
use crate::scan::{Scan, words};
use std::collections::BTreeMap;

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// A line of code with what is said of it.
struct Use<'a> {
    line: usize,
    orderings: Vec<&'static str>,
    comment: &'a str,
    in_test: bool,
}

/// Where one label is used.
#[derive(Default)]
struct Ends {
    uses: usize,
    first_line: usize,
    releases: bool,
    acquires: bool,
    /// A use without an `Ordering` of its own (a system call): its side is not known.
    unknown: bool,
}

pub fn faults(file: &Scan) -> Vec<Fault> {
    if file.path == SYNC_FILE {
        return Vec::new();
    }
    let page: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let table = table_labels(&page);
    let relaxed_explained = page.iter().any(|line| labels(line).contains(&"relaxed"));
    let uses = uses(file);
    let mut faults = imported(file);
    let mut wrong = |line, message| faults.push(fault(file, Rule::Ordering, line, message));
    for each in uses.iter().filter(|each| !each.in_test && !each.orderings.is_empty()) {
        let labels = labels(each.comment);
        if labels.is_empty() {
            wrong(each.line, format!("`Ordering::{}` has no label", each.orderings[0]));
        }
        let reason = each.comment.rsplit(']').next().is_some_and(|rest| !rest.trim().is_empty());
        if labels.contains(&"relaxed") && !relaxed_explained && !reason {
            wrong(each.line, "[relaxed], and neither the page nor the line says why".into());
        }
        let unknown =
            |label: &&&str| **label != "relaxed" && !table.iter().any(|row| row.0 == **label);
        for label in labels.iter().filter(unknown) {
            wrong(each.line, format!("[{label}] is not in the table of orderings"));
        }
    }
    let (code, tests) = (ends(&uses, false), ends(&uses, true));
    for (label, line) in table {
        // A pair of the tests' own has its ends there; one of the code must have both in the code.
        if let Some(message) = missing_end(label, code.get(label).or_else(|| tests.get(label))) {
            wrong(line, message);
        }
    }
    faults
}

/// An ordering imported by name is one that no reader sees at its use.
fn imported(file: &Scan) -> Vec<Fault> {
    let named = |code: &str| code.contains("Ordering::{") || code.contains("Ordering::*");
    let lines = file.lines().filter(|(_, code, _)| named(code));
    let message = "an ordering imported by name";
    lines.map(|(line, ..)| fault(file, Rule::Ordering, line, message.into())).collect()
}

fn uses(file: &Scan) -> Vec<Use<'_>> {
    let comments: Vec<&str> = file.comments.lines().map(spoken).collect();
    let codes: Vec<&str> = file.code_all.lines().collect();
    let alone = |at: usize| codes.get(at).is_some_and(|code| code.trim().is_empty());
    let comment = |at: usize, orderings: &[&str]| {
        let beside = comments[at];
        if orderings.is_empty() || !beside.is_empty() {
            return beside;
        }
        let opens = codes[at].trim_end().ends_with('{') && alone(at + 1);
        let above =
            at.checked_sub(1).filter(|above| alone(*above)).map_or("", |above| comments[above]);
        if labels(above).is_empty() && opens { comments[at + 1] } else { above }
    };
    let outside: Vec<&str> = file.code.lines().collect();
    let one = |at: usize| {
        let orderings = orderings_in(codes[at]);
        let comment = comment(at, &orderings);
        Use { line: at + 1, orderings, comment, in_test: codes[at] != outside[at] }
    };
    (0..codes.len()).filter(|at| !alone(*at)).map(one).collect()
}

/// The comment, unless it is documentation: that speaks of labels and bears none.
fn spoken(comment: &str) -> &str {
    let comment = comment.trim();
    if comment.starts_with("///") || comment.starts_with("//!") { "" } else { comment }
}

fn orderings_in(code: &str) -> Vec<&'static str> {
    let names = |name: &&str| words(code, name).any(|at| code[..at].ends_with("Ordering::"));
    ORDERINGS.into_iter().filter(names).collect()
}

fn ends<'a>(uses: &[Use<'a>], in_test: bool) -> BTreeMap<&'a str, Ends> {
    let mut found: BTreeMap<&str, Ends> = BTreeMap::new();
    for each in uses.iter().filter(|each| each.in_test == in_test) {
        let named = |names: &[&str]| each.orderings.iter().any(|name| names.contains(name));
        let (releases, acquires) =
            (named(&["Release", "AcqRel", "SeqCst"]), named(&["Acquire", "AcqRel", "SeqCst"]));
        for label in labels(each.comment) {
            let ends = found.entry(label).or_default();
            ends.first_line = if ends.uses == 0 { each.line } else { ends.first_line };
            ends.uses += 1 + usize::from(named(&["AcqRel", "SeqCst"]));
            ends.releases |= releases;
            ends.acquires |= acquires;
            ends.unknown |= each.orderings.is_empty();
        }
    }
    found
}

fn missing_end(label: &str, ends: Option<&Ends>) -> Option<String> {
    let Some(ends) = ends else {
        return Some(format!("[{label}] is in the table and nowhere in the code"));
    };
    if ends.uses < 2 {
        return Some(format!("[{label}] is used at one end only (line {})", ends.first_line));
    }
    match (ends.releases || ends.unknown, ends.acquires || ends.unknown) {
        (true, true) => None,
        (false, _) => Some(format!("[{label}] has no releasing end")),
        (_, false) => Some(format!("[{label}] has no acquiring end")),
    }
}

/// The labels of the page's tables, each with its line: `[X1]` in the first cell of a row.
fn table_labels<'a>(page: &[&'a str]) -> Vec<(&'a str, usize)> {
    let rows = page.iter().enumerate().filter_map(|(at, line)| {
        let cells = line.strip_prefix("//! |")?;
        Some((at + 1, cells.split('|').next()?))
    });
    rows.flat_map(|(line, cell)| labels(cell).into_iter().map(move |label| (label, line))).collect()
}

/// The labels in `text`: `[R1]`, `[R1, R2]`, `[relaxed]`; in a page also `\[R1\]`, which rustdoc takes for no link.
fn labels(text: &str) -> Vec<&str> {
    let inside = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let words = inside.flat_map(|(inside, _)| inside.trim_end_matches('\\').split([',', ' ']));
    words.filter(|word| is_label(word)).collect()
}

fn is_label(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = word.len() - digits.len();
    let number = digits.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    word == "relaxed" || ((1..=3).contains(&letters) && numbered)
}
