//! What clippy cannot see, kept by reading the tree: floors, ordering labels with both ends, the places of `unsafe`,
//! the one file that names atomics, lengths, and paths of somebody's machine.
//!
//! A rule is a pure function from a file to its faults (`tidy/rules.rs`, `tidy/orderings.rs`), over code told from comments and strings
//! (`tidy/scan.rs`). Each has tests here with the fault planted and with its innocent look-alike; the last test reads
//! the real tree.

#[path = "tidy/orderings.rs"]
mod orderings;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use rules::{
    FILE_LINES_MAX, FLOORS, FUNCTION_LINES_MAX, Fault, Rule, faults_of_source, machine_paths,
};
use scan::{Named, Scan, paths};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Faults that stand, each with its reason. Short, or the rule is wrong.
const EXCEPTIONS: [(&str, Rule, &str); 3] = [
    (
        "src/sync.rs",
        Rule::Floor,
        "hands on the futex of `sys`, which takes its atomics from here: one floor",
    ),
    ("src/message.rs", Rule::Floor, "turns a time of day into nanoseconds as the clock does"),
    (
        "src/engine/config.rs",
        Rule::Floor,
        "the factory: the one place that knows which kinds there are",
    ),
];

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = tree(root).expect("the crate's own files can be read");
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the walk found the crate");
    let faults = files.iter().flat_map(|(path, text)| {
        let mut faults = machine_paths(path, text);
        if path.ends_with(".rs") {
            faults.extend(faults_of_source(&Scan::new(path, text)));
        }
        faults
    });
    let excused = |fault: &Fault| {
        EXCEPTIONS.iter().any(|(path, rule, _)| *path == fault.path && *rule == fault.rule)
    };
    // These pages plant the faults that they speak of.
    let about = |fault: &Fault| fault.path.starts_with("tests/tidy");
    let standing = faults.filter(|fault| !excused(fault) && !about(fault));
    let listed: Vec<String> = standing.map(|fault| fault.to_string()).collect();
    assert!(listed.is_empty(), "{} faults:\n{}", listed.len(), listed.join("\n"));
}

/// Every page of the crate that people write: path below `root`, and text.
fn tree(root: &Path) -> io::Result<Vec<(String, String)>> {
    const PLACES: [&str; 9] =
        ["src", "cli", "loom-tests", "tests", "benches", "examples", "docs", "fuzz", "."];
    const KINDS: [&str; 4] = ["rs", "md", "toml", "yml"];
    let mut files = Vec::new();
    for place in PLACES {
        let mut folders = vec![root.join(place)];
        while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
            for entry in fs::read_dir(&folder)? {
                let path: PathBuf = entry?.path();
                let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or("");
                if path.is_dir() && place != "." && !path.ends_with("target") {
                    folders.push(path);
                } else if path.is_file() && KINDS.contains(&kind) {
                    let below = path.strip_prefix(root).unwrap_or(&path).components();
                    let parts: Vec<_> =
                        below.map(|part| part.as_os_str().to_string_lossy()).collect();
                    files.push((parts.join("/"), fs::read_to_string(&path)?));
                }
            }
        }
    }
    Ok(files)
}

const PAGE: &str = "//! A page.\n";

/// The faults of `body` under a page, each as "rule line".
fn found(path: &str, body: &str) -> Vec<String> {
    let scan = Scan::new(path, &format!("{PAGE}{body}"));
    let faults = faults_of_source(&scan);
    faults.iter().map(|fault| format!("{:?} {}", fault.rule, fault.line - 1)).collect()
}

fn none(path: &str, body: &str) {
    assert_eq!(found(path, body), [""; 0], "{body}");
}

#[test]
fn a_fault_names_its_file_its_line_and_its_rule() {
    let scan = Scan::new("src/ring/swap.rs", "//! A ring.\n\nuse crate::log::Log;\n");
    let faults = faults_of_source(&scan);
    assert_eq!(
        faults[0].to_string(),
        "src/ring/swap.rs:3: [Floor] `ring` may not import `log` (crate::log::Log)"
    );
}

#[test]
fn strings_comments_and_characters_are_not_code() {
    let text = r###"let a = "unsafe // x"; // unsafe "y
let b = r#"unsafe " unsafe"#; /* unsafe /* nested */ unsafe */ let c = '"'; let d = b'\''; done::<'a>("\"");"###;
    let scan = Scan::new("src/a.rs", text);
    assert!(!scan.code.contains("unsafe") && scan.code.contains("done::<'a>"), "{}", scan.code);
    assert_eq!(scan.code.len(), text.len());
    assert!(scan.comments.contains("// unsafe \"y") && scan.comments.contains("nested"));
    assert!(!scan.comments.contains("let"));
}

#[test]
fn the_trees_of_use_are_spelled_out() {
    let code = "use crate::{ring::{self, Ring as R}, log::*}; std::mem::take(&mut x.len::<u8>())";
    let found: Vec<String> = paths(code).into_iter().map(|Named { path, .. }| path).collect();
    for expected in ["crate::ring", "crate::ring::Ring", "crate::log::*", "std::mem::take"] {
        assert!(found.iter().any(|path| path == expected), "{expected} in {found:?}");
    }
    assert!(!found.iter().any(|path| path.ends_with("::R") || path.ends_with("::as")));
}

#[test]
fn an_import_of_a_higher_floor_is_found_however_it_is_written() {
    for body in [
        "use crate::engine::Engine;",
        "use crate::{sync::Arc, engine::{self as e}};",
        "fn f() { crate::engine::open() }",
        "use super::super::engine;",
        "fn f() -> crate::Engine { todo() }",
    ] {
        assert_eq!(found("src/ring/swap.rs", body), ["Floor 1"], "{body}");
    }
    assert_eq!(found("src/event.rs", "use super::ring;"), ["Floor 1"]);
    assert_eq!(found("src/novelty.rs", ""), ["Floor 0"]);
}

#[test]
fn an_import_downwards_in_a_test_or_of_ones_own_is_fine() {
    none("src/ring/swap.rs", "use crate::{event::EventCount, ring::cells, sync::Arc};");
    none(
        "src/ring/swap.rs",
        "use super::cells; // crate::engine\nconst A: &str = \"crate::engine\";",
    );
    none("src/ring/swap.rs", "#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}");
    none("src/lib.rs", "pub use crate::engine::Engine;");
}

#[test]
fn every_floor_imports_lower_floors_only() {
    for (at, (name, below)) in FLOORS.iter().enumerate() {
        for target in *below {
            let found = FLOORS.iter().position(|(name, _)| name == target);
            assert!(found.is_some_and(|found| found < at), "{name} imports {target}");
        }
    }
}

const TABLE: &str = "//! | pair | is |\n//! |---|---|\n//! | [R1] | x |\n//! [relaxed]: a hint.\n";

#[test]
fn an_ordering_without_a_label_or_a_row_is_found() {
    let store = "a.store(1, Ordering::Release);";
    let body = format!("fn f() {{\n    {store}\n    {store} // [R7]\n}}");
    assert_eq!(found("src/event.rs", &body), ["Ordering 2", "Ordering 3"]);
    assert_eq!(found("src/event.rs", "use x::Ordering::{Relaxed};"), ["Ordering 1"]);
    assert_eq!(found("src/event.rs", "a.load(Ordering::Relaxed); // [relaxed]"), ["Ordering 1"]);
    let spent = "// [relaxed] a hint\na.load(Ordering::Relaxed);\na.load(Ordering::Relaxed);";
    assert_eq!(found("src/event.rs", spent), ["Ordering 3"]);
}

#[test]
fn a_pair_wants_both_its_ends() {
    let release = "a.store(1, Ordering::Release); // [R1]\n";
    let acquire = "a.load(Ordering::Acquire); // [R1]\n";
    let both = "a.swap(1, order(\"R1\", Ordering::AcqRel)); // [R1]\n";
    let call = "membarrier(); // [R1]\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{release}{acquire}}}\n");
    let body = |lines: &[&str]| format!("{TABLE}{}", lines.concat());
    for lines in [&[][..], &[release], &[acquire], &[release, release], &[acquire, acquire]] {
        assert_eq!(found("src/event.rs", &body(lines)), ["Ordering 3"], "{lines:?}");
    }
    for lines in [&[release, acquire][..], &[both], &[release, call], &[call, acquire]] {
        none("src/event.rs", &body(lines));
    }
    none("src/event.rs", &body(&[&tests])); // A flag of the tests alone.
    assert_eq!(found("src/event.rs", &body(&[release, &tests])), ["Ordering 3"]);
}

#[test]
fn labels_on_one_line_explained_hints_and_comparisons_are_fine() {
    let uses = "a.cas(Ordering::Acquire, Ordering::Relaxed); // [R1, relaxed]\n";
    let other = "a.store(1, Ordering::Release); // [R1] [relaxed]\nlet o = Ordering::Less;\n";
    none("src/event.rs", &format!("{TABLE}{uses}{other}"));
    none("src/event.rs", "a.load(Ordering::Relaxed); // [relaxed] only a hint");
    none("src/event.rs", "// [relaxed] only a hint\nif a.load(Ordering::Relaxed) {\n}");
    none("src/event.rs", "if a.swap(true, Ordering::Relaxed) {\n    // [relaxed] a hint\n}");
    none("src/event.rs", "// As [X4] has it elsewhere.\nread();\n/// By [X4].\nfn f() {}");
    let escaped = TABLE.replace('[', "\\[").replace(']', "\\]");
    none("src/event.rs", &format!("{escaped}{uses}{other}"));
    none("src/event.rs", "#[cfg(test)]\nmod tests {\n    fn f() { a.load(Ordering::Relaxed) }\n}");
}

#[test]
fn unsafe_out_of_place_or_without_its_reason_is_found() {
    let reasoned = "// SAFETY: the caller holds the cell.\nlet x = unsafe { read(p) };";
    assert_eq!(found("src/event.rs", reasoned), ["Unsafe 2"]);
    assert_eq!(found("tests/ring.rs", reasoned), ["Unsafe 2"]);
    none("src/sys.rs", reasoned);
    none("src/sys.rs", "/// # Safety\n///\n/// `p` is live.\n#[inline]\npub unsafe fn f() {}");
    none("src/event.rs", "#![allow(unsafe_code)] // unsafe\n");
    let distant = "// SAFETY: about something else.\n\nlet x = unsafe { read(p) };";
    assert_eq!(found("src/sys.rs", distant), ["Safety 3"]);
    assert_eq!(found("src/sys.rs", "unsafe impl Send for X {}"), ["Safety 1"]);
}

#[test]
fn atomics_locks_cells_and_threads_have_one_door() {
    for body in [
        "use std::sync::atomic::AtomicU64;",
        "use std::{mem, sync::{Arc, Mutex}};",
        "fn f() { core::cell::UnsafeCell::new(1); }",
        "use parking_lot::RwLock;",
        "fn f() { std::thread::yield_now() }",
    ] {
        assert_eq!(found("src/ring/cells.rs", body), ["Sync 1"], "{body}");
        none("src/sync.rs", body);
    }
    none("src/ring/cells.rs", "use crate::sync::{Mutex, UnsafeCell, thread};");
    none("src/ring/cells.rs", "#[cfg(test)]\nmod tests {\n    use std::sync::mpsc;\n}");
    none("src/ring/cells.rs", "use std::{sync::OnceLock, thread_local, cell::Cell};");
}

#[test]
fn what_is_left_for_later_is_found() {
    let body = "fn f() { todo!() }\n// FIXME: later\nfn todo() { todo() } // a methodology\n";
    assert_eq!(found("src/sys.rs", body), ["Unfinished 1", "Unfinished 2"]);
}

#[test]
fn a_function_or_a_file_that_is_too_long_is_found_and_tests_do_not_count() {
    let fill = |lines: usize| "    x();\n".repeat(lines);
    let function = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}\n", fill(lines - 2));
    none("src/sys.rs", &function(FUNCTION_LINES_MAX));
    assert_eq!(found("src/sys.rs", &function(FUNCTION_LINES_MAX + 1)), ["FunctionLength 1"]);
    none("src/sys.rs", &format!("type F = fn(u8);\n{}", "const A: u8 = 1;\n".repeat(100)));
    none("src/sys.rs", &"const A: u8 = 1;\n".repeat(FILE_LINES_MAX - 1));
    assert_eq!(found("src/sys.rs", &"const A: u8 = 1;\n".repeat(FILE_LINES_MAX)), ["FileLength 0"]);
    none("tests/contract.rs", &"const A: u8 = 1;\n".repeat(FILE_LINES_MAX));
    none("src/sys.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}", fill(FILE_LINES_MAX)));
}

#[test]
fn a_file_without_its_page_and_a_module_without_a_name_are_found() {
    let faults = faults_of_source(&Scan::new("src/sys.rs", "fn f() {}\n"));
    assert_eq!(faults.iter().map(|fault| fault.rule).collect::<Vec<_>>(), [Rule::Page]);
    assert_eq!(found("src/ring/mod.rs", "mod utils;\nmod commonplace;"), ["Name 1"]);
}

#[test]
fn a_path_of_one_machine_is_found_and_an_address_is_not() {
    let count = |text| machine_paths("README.md", text).len();
    assert_eq!(count("see `/home/somebody/x`\nand /work/a"), 2);
    assert_eq!(count("https://example.org/work/a, docs/home/b, /proc/self, /dev/shm/x"), 0);
}
