//! The rules, each a pure function from a file to its faults.

use crate::orderings;
use crate::scan::{Scan, function_end, paths, words};
use std::fmt;

/// Lines of a function, at most.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file without its tests, at most.
pub const FILE_LINES_MAX: usize = 700;
/// How far above an `unsafe` its SAFETY may begin, in lines.
const SAFETY_LINES_MAX: usize = 12;

/// Files that may hold `unsafe`. Of the tests, the one that stops threads between two instructions (a signal handler, the
/// processor's trap flag, a futex that a handler may use), and the one that has the kernel refuse a system call.
const UNSAFE_FILES: &[&str] = &[
    "src/ring/swap.rs",
    "src/ring/alone.rs",
    "src/ring/sole.rs",
    "src/ring/direct.rs",
    "src/ring/buffer.rs",
    "src/log/storage.rs",
    "src/sys.rs",
    "tests/stall/trap.rs",
    "tests/support/seccomp.rs",
];

/// The only file that may name atomics, cells, locks and threads.
pub const SYNC_FILE: &str = "src/sync.rs";

/// Who may import whom, from the ground up. `sync` stands in for a part of the standard library, so that all who
/// need an atomic may name it.
pub const FLOORS: [(&str, &[&str]); 16] = [
    ("sync", &[]),
    ("sys", &["sync"]),
    ("clock", &["sync"]),
    ("error", &[]),
    ("model", &[]),
    ("barrier", &["sync", "sys"]),
    ("event", &["sync", "barrier"]),
    ("message", &["error"]),
    ("wait", &["sync"]),
    ("ring", &["sync", "barrier", "event", "wait"]),
    ("log", &["sync", "sys", "barrier", "event", "clock"]),
    ("metrics", &["sync", "clock"]),
    ("queue", &["sync", "sys", "event", "clock", "error", "message", "ring", "log", "metrics"]),
    ("engine", &["clock", "error", "event", "message", "queue", "metrics", "model", "sync"]),
    (
        "lab",
        &[
            "clock", "engine", "error", "message", "metrics", "model", "queue", "ring", "sync",
            "sys",
        ],
    ),
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
        faults.extend(orderings::faults(file));
        faults.extend(sync_only(file));
        faults.extend(names(file));
    }
    if file.path.starts_with("src/") || file.path.starts_with("tests/") {
        faults.extend(unsafe_places(file));
        faults.extend(safety(file));
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

pub fn fault(file: &Scan, rule: Rule, line: usize, message: String) -> Fault {
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
        (standard && TAKEN.iter().any(|name| below(name)))
            || matches!(root, "parking_lot" | "loom" | "shuttle")
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
    let is_test = file.path.split('/').any(|part| part == "tests");
    let lines = if is_test { 0 } else { file.lines_outside_tests() };
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
