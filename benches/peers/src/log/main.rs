//! Where do millstream's log and its persistent queue stand beside what people use?
//!
//! `log-peers --dir FOLDER --out FOLDER` runs all tables; `--only` some of them; `--quick` only shows that all runs. The
//! README names the tables and the rules. One table is one interleaved run: see `plan.rs`.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs`, `regime.rs` | trials, rounds, samples; the two states of the machine |
//! | `ours.rs`, `rivals.rs`, `floors.rs`, `pages.rs` | the log, its rivals, what none can beat; pages warmed and chilled |
//! | `append.rs`, `durable.rs`, `latency.rs`, `replay.rs`, `recovery.rs` | the log's tables |
//! | `engine.rs`, `jobs.rs`, `backlog.rs` | the persistent queue's tables |
//! | `children.rs` | processes that crash, or whose memory is measured |
//! | `output.rs`, `curves.rs` | the results |

// The ban on the standard library's locks is the library's, which a model checker takes over. Nothing here is modelled.
#![allow(clippy::disallowed_types)]

mod append;
mod backlog;
mod children;
mod curves;
mod durable;
mod engine;
mod floors;
mod jobs;
mod latency;
mod ours;
mod output;
mod pages;
mod plan;
mod recovery;
mod regime;
mod replay;
mod rivals;

use clap::{Parser, Subcommand};
use output::{Asked, Output};
use peers::machine::{Machine, load_average};
use peers::report::Circumstances;
use peers::watch::Watch;
use plan::{Effort, Table};
use rustix::fs::{statfs, statvfs};
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a visit may take: a backlog is the longest.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What the tables need beside the backlog.
const ROOM_BYTES: u64 = 8 << 30;
/// What a message of the backlog takes, with its frame and its settlement.
const BACKLOG_MESSAGE_BYTES: u64 = 1200;
const TMPFS: i64 = 0x0102_1994;

/// The log and the persistent queue beside what people use.
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    wishes: Wishes,
}

#[derive(clap::Args)]
struct Wishes {
    /// A folder on the file system that is measured; each visit makes its own in it and removes it.
    #[arg(long, value_name = "FOLDER", default_value_os_t = env::temp_dir())]
    dir: PathBuf,
    /// A folder for the report, the samples and the plots.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Only these tables.
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    only: Vec<String>,
    /// How often every trial is visited; some tables have fewer rounds.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Deliveries in the backlog, of 1 KiB each.
    #[arg(long, default_value_t = 10_000_000)]
    backlog: u64,
    /// Only see that it works: one round of small sizes. The figures mean nothing.
    #[arg(long)]
    quick: bool,
}

/// What this program does when it runs itself.
#[derive(Subcommand)]
enum Task {
    /// Keeps the last core busy until its input is closed.
    #[command(hide = true)]
    Spin,
    /// A part of a visit that needs a process.
    #[command(hide = true)]
    Child {
        #[command(subcommand)]
        what: Child,
    },
}

#[derive(Subcommand)]
enum Child {
    Fill {
        dir: PathBuf,
        bytes: u64,
        #[arg(action = clap::ArgAction::Set)]
        checkpoint: bool,
    },
    Open {
        dir: PathBuf,
    },
    Backlog {
        dir: PathBuf,
        layout: String,
        messages: u64,
        subscriptions: u64,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { task, wishes } = Arguments::parse();
    match task {
        None => measure(wishes),
        Some(Task::Spin) => {
            regime::spin();
            Ok(())
        }
        Some(Task::Child { what: Child::Fill { dir, bytes, checkpoint } }) => {
            recovery::fill(&dir, bytes, checkpoint)
        }
        Some(Task::Child { what: Child::Open { dir } }) => recovery::open(&dir),
        Some(Task::Child { what: Child::Backlog { dir, layout, messages, subscriptions } }) => {
            let shared = layout == "shared";
            backlog::Backlog { dir: &dir, shared, messages, subscriptions }.run();
            Ok(())
        }
    }
}

type Make = fn(&Effort) -> Table;

/// All but `latency`, whose curves are kept beside it.
const TABLES: [(&str, Make); 11] = [
    ("append", append::append),
    ("durable", durable::durable),
    ("size", append::size),
    ("replay", replay::replay),
    ("recovery", recovery::recovery),
    ("prepare", latency::prepare),
    ("engine-latency", engine::latency),
    ("engine-ack", engine::ack),
    ("engine-rate", engine::rate),
    ("settle", engine::settle),
    ("backlog", backlog::backlog),
];

fn measure(wishes: Wishes) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&wishes.dir)?;
    let effort = Effort {
        quick: wishes.quick,
        rounds: if wishes.quick { 1 } else { wishes.rounds },
        backlog: if wishes.quick { wishes.backlog.min(20_000) } else { wishes.backlog },
        dir: wishes.dir.clone(),
    };
    let known = || TABLES.iter().map(|(name, _)| *name).chain(["latency"]);
    if let Some(unknown) = wishes.only.iter().find(|name| known().all(|known| known != *name)) {
        let names = known().collect::<Vec<_>>().join(", ");
        return Err(format!("no table {unknown}; there are {names}").into());
    }
    let wanted = |name: &str| wishes.only.is_empty() || wishes.only.iter().any(|only| only == name);
    room(&effort, wanted("backlog"))?;
    let watch = Watch::begin(PATIENCE);
    let circumstances = Circumstances {
        machine: Machine::here(rivals::PACKAGES),
        floors: peers::floors::measure(wishes.quick, &watch),
    };
    // Without the folders: they are one machine's.
    let command = format!("log-peers {}", said(&wishes));
    let head = file_system(&wishes.dir)?;
    let mut output = Output::begin(wishes.out.clone(), circumstances, command, &head)?;
    for (_, make) in TABLES.iter().filter(|(name, _)| wanted(name)) {
        run(make(&effort), &effort, &watch, &mut output)?;
    }
    if wanted("latency") {
        let (table, curves) = latency::latency(&effort);
        run(table, &effort, &watch, &mut output)?;
        if let Some(folder) = output.folder() {
            curves::draw(&curves, &folder.join("latency-curves.svg"))?;
        }
    }
    Ok(())
}

fn run(
    table: Table,
    effort: &Effort,
    watch: &Watch,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let mut asked = Asked {
        name: table.name,
        question: table.question,
        remarks: table.remarks,
        axis: table.axis,
        rounds: effort.rounds.min(table.rounds_max),
        load_average: [load_average(), String::new()],
    };
    let rows = table.run(effort, watch);
    asked.load_average[1] = load_average();
    output.keep(&asked, &rows)
}

/// The options as they were given, but for the folders.
fn said(wishes: &Wishes) -> String {
    let mut said = format!("--rounds {} --backlog {}", wishes.rounds, wishes.backlog);
    if wishes.quick {
        said.push_str(" --quick");
    }
    if !wishes.only.is_empty() {
        said = format!("{said} --only {}", wishes.only.join(","));
    }
    said
}

/// Is there room for what is asked?
fn room(effort: &Effort, backlog: bool) -> Result<(), Box<dyn Error>> {
    let system = statvfs(&effort.dir)?;
    let free = system.f_bavail * system.f_frsize;
    let backlog = if backlog { effort.backlog * BACKLOG_MESSAGE_BYTES } else { 0 };
    let needed = effort.of(ROOM_BYTES, 1 << 30) + backlog;
    if free < needed {
        return Err(format!("{} has {free} bytes free, and {needed} are needed: a smaller --backlog, or --only other tables", effort.dir.display()).into());
    }
    Ok(())
}

/// What is measured, in a line.
fn file_system(dir: &Path) -> Result<String, Box<dyn Error>> {
    let kind = statfs(dir)?.f_type;
    let name = match kind {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        TMPFS => "tmpfs: NOT A DISK, nothing here is durable".to_owned(),
        other => format!("of type {other:#x}"),
    };
    Ok(format!(
        "File system {name}. \"free\" is the machine as it is, \"spinner\" with its last core kept busy by another process."
    ))
}
