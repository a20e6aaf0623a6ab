//! The same tests once more, in a process that is denied the system call `membarrier`: the ring goes by fences there.
//!
//! A test binary that has this module runs itself again, all of it but this, as a child of a thread with a seccomp filter.
//! Which way a process goes is decided once, so both ways need a process each.

#[path = "seccomp.rs"]
pub mod seccomp;

use millstream::ring::is_asymmetric;
use seccomp::{MEMBARRIER, Verdict, Whom, filter, membarrier_is_offered};
use std::process::Command;
use std::thread;

const DENIED: &str = "MILLSTREAM_TEST_WITHOUT_MEMBARRIER";

/// Promise: the ring goes by membarrier where the kernel offers it, and by fences where it does not.
#[test]
fn the_barrier_goes_the_way_that_the_kernel_allows() {
    assert_eq!(is_asymmetric(), membarrier_is_offered());
    if std::env::var_os(DENIED).is_some() {
        assert!(!is_asymmetric(), "the filter filters nothing");
    }
}

/// Promise: whatever the other tests here show holds by fences too.
#[test]
fn everything_here_holds_without_membarrier() {
    let denied = thread::spawn(|| {
        filter(MEMBARRIER, Verdict::Refused, Whom::ThisThread);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--skip", "everything_here_holds_without_membarrier"]);
        child.env(DENIED, "1").output().unwrap()
    });
    let output = denied.join().expect("the child was started under a filter");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "without membarrier:\n{said}\n{told}");
    let proof = "the_barrier_goes_the_way_that_the_kernel_allows ... ok";
    assert!(said.contains(proof), "no word of which way it went:\n{said}");
}
