//! What a measurement against queueing theory needs, apart from the queue that is measured.
//!
//! ```text
//!  draw      a schedule of arrivals and services, drawn before the run, from one printed seed
//!  load      offers it open-loop, serves it by spinning, stamps each message      -> rows
//!  path      rows -> Lindley's path, Little's sums, hand-offs, rates, formulas     (pure)
//!  interval  rows -> W / theory with an honest 95 % interval                       (pure)
//! ```
//!
//! The pure half is tested by `tests/validation_support.rs`, on simulated queues whose answer is known.

pub mod draw;
pub mod interval;
pub mod load;
pub mod path;
