//! What both programs are made of: `peers`, the ring beside what people use, and `log-peers`, the log and the
//! persistent queue beside theirs.
//!
//! | file | what |
//! |---|---|
//! | `value.rs`, `ends.rs` | what is carried; what an end can do |
//! | `peers/` | an adapter for each library |
//! | `race.rs`, `transfer.rs`, `latency.rs`, `idle.rs`, `stalled.rs`, `instructions.rs` | the ring's workloads |
//! | `table.rs`, `tables/` | a table is run; which workloads and peers are in each |
//! | `statistics.rs`, `quantiles.rs`, `report.rs`, `plot.rs` | the results |
//! | `machine.rs`, `floors.rs`, `system.rs`, `watch.rs` | the machine |
//! | `log/` | `log-peers`, a program of its own: its page says what it is made of |

pub mod ends;
pub mod floors;
pub mod idle;
pub mod instructions;
pub mod latency;
pub mod machine;
pub mod peers;
pub mod plot;
pub mod quantiles;
pub mod race;
pub mod report;
pub mod stalled;
pub mod statistics;
pub mod system;
pub mod table;
pub mod tables;
pub mod transfer;
pub mod value;
pub mod watch;
