//! The millstream command line.
fn main() {}
