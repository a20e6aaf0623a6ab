//! The rules, each a pure function from a file to its faults.

use crate::scan::{Scan, function_end, paths, words};
use std::collections::BTreeMap;
use std::fmt;

/// Lines of a function, at most.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file without its tests, at most.
pub const FILE_LINES_MAX: usize = 700;
/// How far above an `unsafe` its SAFETY may begin, in lines.
const SAFETY_LINES_MAX: usize = 12;

/// Files that may hold `unsafe`.
const UNSAFE_FILES: [&str; 3] = ["src/ring/swap.rs", "src/log/storage.rs", "src/sys.rs"];

/// The only file that may name atomics, cells, locks and threads.
const SYNC_FILE: &str = "src/sync.rs";

/// Who may import whom, from the ground up. `sync` stands in for a part of the standard library, so that all who
/// need an atomic may name it.
pub const FLOORS: [(&str, &[&str]); 14] = [
    ("sync", &[]),
    ("sys", &["sync"]),
    ("clock", &["sync"]),
    ("error", &[]),
    ("model", &[]),
    ("event", &["sync", "sys"]),
    ("message", &["error"]),
    ("ring", &["sync", "event"]),
    ("log", &["sync", "sys", "event", "clock"]),
    ("metrics", &["sync", "clock"]),
    ("queue", &["sync", "sys", "event", "clock", "error", "message", "ring", "log", "metrics"]),
    ("engine", &["clock", "error", "event", "message", "queue", "metrics", "model", "sync"]),
    ("lab", &["clock", "engine", "error", "message", "metrics", "model", "queue", "sync"]),
    ("lib", &[]),
];

/// What a fault is against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Page,
    Floor,
    Ordering,
    Unsafe,
    Safety,
    Sync,
    Unfinished,
    FileLength,
    FunctionLength,
    MachinePath,
    Name,
}

/// Something to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub rule: Rule,
    pub path: String,
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: [{:?}] {}", self.path, self.line, self.rule, self.message)
    }
}

/// All faults of a Rust file; what is asked of it depends on where it stands in the tree.
pub fn faults_of_source(file: &Scan) -> Vec<Fault> {
    let mut faults =
        [unfinished(file), function_length(file), file_length(file), page(file)].concat();
    if file.path.starts_with("src/") {
        faults.extend(floors(file));
        faults.extend(orderings(file));
        faults.extend(unsafe_places(file));
        faults.extend(safety(file));
        faults.extend(sync_only(file));
        faults.extend(names(file));
    }
    faults
}

/// A page that speaks of somebody's machine.
pub fn machine_paths(path: &str, text: &str) -> Vec<Fault> {
    const ROOTS: [&str; 7] = ["home", "root", "work", "tmp", "Users", "mnt", "workspace"];
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for root in ROOTS {
            let shape = format!("/{root}/");
            let absolute = line.match_indices(&shape).any(|(start, _)| {
                let before = line[..start].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}*".contains(c))
            });
            if absolute {
                let message = format!("`{shape}` is a path of one machine");
                faults.push(Fault {
                    rule: Rule::MachinePath,
                    path: path.into(),
                    line: at + 1,
                    message,
                });
            }
        }
    }
    faults
}

fn fault(file: &Scan, rule: Rule, line: usize, message: String) -> Fault {
    Fault { rule, path: file.path.clone(), line, message }
}

/// A file opens with the sentence that says what it is.
fn page(file: &Scan) -> Vec<Fault> {
    match file.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![fault(file, Rule::Page, 1, "the file does not open with `//!`".into())],
    }
}

/// Down only.
fn floors(file: &Scan) -> Vec<Fault> {
    let parts: Vec<&str> = file.path.trim_start_matches("src/").split('/').collect();
    let own = parts[0].trim_end_matches(".rs");
    if own == "lib" {
        return Vec::new();
    }
    let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == own) else {
        return vec![fault(file, Rule::Floor, 1, format!("module `{own}` stands on no floor"))];
    };
    let depth = parts.len() - usize::from(parts.last() == Some(&"mod.rs"));
    let mut faults = Vec::new();
    for named in paths(&file.code) {
        let parts: Vec<&str> = named.path.split("::").collect();
        let supers = parts.iter().take_while(|part| **part == "super").count();
        let target = match parts[0] {
            "crate" => parts.get(1),
            "super" if supers == depth => parts.get(supers),
            _ => None,
        };
        let Some(target) = target.copied().filter(|target| *target != own) else { continue };
        let known = FLOORS.iter().any(|(name, _)| *name == target);
        let message = match (known, parts[0]) {
            (true, _) if below.contains(&target) => continue,
            (true, _) => format!("`{own}` may not import `{target}` ({})", named.path),
            (false, "crate") => format!("`{}` goes round the floors: name its module", named.path),
            (false, _) => continue,
        };
        faults.push(fault(file, Rule::Floor, file.line_of(named.at), message));
    }
    faults
}

/// What a line says of one label.
#[derive(Default)]
struct Ends {
    uses: usize,
    first_line: usize,
    releases: bool,
    acquires: bool,
    /// A use without an `Ordering` of its own (a system call): its side is not known.
    unknown: bool,
}

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// Each ordering has its label, each label its row, and each row both its ends.
fn orderings(file: &Scan) -> Vec<Fault> {
    if file.path == SYNC_FILE {
        return Vec::new();
    }
    let page: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let table = table_labels(&page);
    let relaxed_explained = page.iter().any(|line| labels(line).contains(&"relaxed"));
    let mut ends: BTreeMap<&str, Ends> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut wrong = |line, message| faults.push(fault(file, Rule::Ordering, line, message));
    let (mut above, mut in_tests) = ("", BTreeMap::<&str, Ends>::new());
    for (at, (code, comment)) in file.code_all.lines().zip(file.comments.lines()).enumerate() {
        let here = orderings_in(code);
        for label in labels(comment).into_iter().filter(|_| !code.trim().is_empty()) {
            note_end(in_tests.entry(label).or_default(), at + 1, &here);
        }
    }
    for (line, code, beside) in file.lines() {
        if code.trim().is_empty() {
            above = beside;
            continue;
        }
        // Where the formatter leaves no room beside the code, the label stands on the line above.
        let comment = if beside.is_empty() { above } else { beside };
        above = "";
        if code.contains("Ordering::{") || code.contains("Ordering::*") {
            wrong(line, "an ordering imported by name cannot be seen at its use".into());
        }
        let here = orderings_in(code);
        let labels = labels(comment);
        if labels.is_empty() && !here.is_empty() {
            wrong(line, format!("`Ordering::{}` has no label", here[0]));
        }
        for label in labels {
            if label == "relaxed" {
                let reason = comment.rsplit(']').next().is_some_and(|rest| !rest.trim().is_empty());
                if !relaxed_explained && !reason {
                    wrong(line, "[relaxed], and neither the page nor the line says why".into());
                }
                continue;
            }
            if !table.iter().any(|(known, _)| *known == label) {
                wrong(line, format!("[{label}] is not in the table of orderings"));
            }
            note_end(ends.entry(label).or_default(), line, &here);
        }
    }
    for (label, line) in table {
        if let Some(message) = missing_end(label, ends.get(label).or_else(|| in_tests.get(label))) {
            wrong(line, message);
        }
    }
    faults
}

fn orderings_in(code: &str) -> Vec<&'static str> {
    let names = |name: &&str| words(code, name).any(|at| code[..at].ends_with("Ordering::"));
    ORDERINGS.into_iter().filter(names).collect()
}

fn note_end(ends: &mut Ends, line: usize, orderings: &[&str]) {
    let both = orderings.iter().any(|name| matches!(*name, "AcqRel" | "SeqCst"));
    ends.uses += 1 + usize::from(both);
    ends.first_line = if ends.uses == 1 { line } else { ends.first_line };
    ends.releases |= both || orderings.contains(&"Release");
    ends.acquires |= both || orderings.contains(&"Acquire");
    ends.unknown |= orderings.is_empty();
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

/// `unsafe` has its places.
fn unsafe_places(file: &Scan) -> Vec<Fault> {
    if UNSAFE_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let found = words(&file.code_all, "unsafe");
    let wrong = |at| {
        let message = format!("`unsafe` outside {}", UNSAFE_FILES.join(", "));
        fault(file, Rule::Unsafe, file.line_of(at), message)
    };
    found.map(wrong).collect()
}

/// Each `unsafe` says who guarantees it.
fn safety(file: &Scan) -> Vec<Fault> {
    let texts: Vec<&str> = file.text.lines().collect();
    let comments: Vec<&str> = file.comments.lines().collect();
    let says = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    let mut faults = Vec::new();
    for at in words(&file.code_all, "unsafe") {
        let line = file.line_of(at);
        let above = (0..line).rev().take(SAFETY_LINES_MAX);
        let mut near = above.take_while(|index| !texts[*index].trim().is_empty());
        if !near.any(|index| says(comments[index])) {
            faults.push(fault(file, Rule::Safety, line, "`unsafe` without a SAFETY".into()));
        }
    }
    faults
}

/// Atomics, cells, locks and threads come from one file, or the model checker does not see them.
fn sync_only(file: &Scan) -> Vec<Fault> {
    const TAKEN: [&str; 9] = [
        "sync::atomic",
        "sync::Mutex",
        "sync::RwLock",
        "sync::Condvar",
        "sync::Barrier",
        "sync::Once",
        "sync::mpsc",
        "cell::UnsafeCell",
        "thread",
    ];
    if file.path == SYNC_FILE {
        return Vec::new();
    }
    let taken = |path: &str| {
        let (root, rest) = path.split_once("::").unwrap_or((path, ""));
        let standard = matches!(root, "std" | "core");
        let below = |name: &str| rest.strip_prefix(name).is_some_and(starts_part);
        (standard && TAKEN.iter().any(|name| below(name))) || matches!(root, "parking_lot" | "loom")
    };
    let named = paths(&file.code).into_iter().filter(|named| named.path.contains("::"));
    let wrong = |named: crate::scan::Named| {
        let message = format!("`{}` is named outside {SYNC_FILE}", named.path);
        fault(file, Rule::Sync, file.line_of(named.at), message)
    };
    named.filter(|named| taken(&named.path)).map(wrong).collect()
}

fn starts_part(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with("::")
}

/// Nothing is left for later.
fn unfinished(file: &Scan) -> Vec<Fault> {
    let macros = ["todo", "unimplemented"].map(|name| (&file.code_all, name));
    let notes = ["TODO", "FIXME", "XXX", "HACK"].map(|name| (&file.comments, name));
    let found = [&macros[..], &notes[..]].concat().into_iter().flat_map(|(text, name)| {
        let called = move |at: &usize| {
            !name.starts_with(['t', 'u']) || text[at + name.len()..].starts_with('!')
        };
        words(text, name).filter(called).map(move |at| (at, name))
    });
    let wrong = |(at, name)| {
        fault(
            file,
            Rule::Unfinished,
            file.line_of(at),
            format!("`{name}`: finish it or leave it out"),
        )
    };
    found.map(wrong).collect()
}

fn file_length(file: &Scan) -> Vec<Fault> {
    let lines = file.lines_outside_tests();
    match lines <= FILE_LINES_MAX {
        true => Vec::new(),
        false => {
            let message = format!("{lines} lines without tests; {FILE_LINES_MAX} are the most");
            vec![fault(file, Rule::FileLength, 1, message)]
        }
    }
}

fn function_length(file: &Scan) -> Vec<Fault> {
    let mut faults = Vec::new();
    for at in words(&file.code_all, "fn") {
        let Some(end) = function_end(&file.code_all, at) else { continue };
        let lines = file.line_of(end - 1) - file.line_of(at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!("a function of {lines} lines; {FUNCTION_LINES_MAX} are the most");
            faults.push(fault(file, Rule::FunctionLength, file.line_of(at), message));
        }
    }
    faults
}

/// A module has a name that says what is in it.
fn names(file: &Scan) -> Vec<Fault> {
    const EMPTY: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];
    let declared = words(&file.code_all, "mod").filter_map(|at| {
        let name = file.code_all[at + "mod".len()..].split([';', '{']).next()?.trim();
        EMPTY.contains(&name).then(|| (file.line_of(at), name))
    });
    let wrong = |(line, name)| fault(file, Rule::Name, line, format!("`mod {name}` names nothing"));
    declared.map(wrong).collect()
}
