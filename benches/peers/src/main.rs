//! Where does millstream's ring stand beside what people use?
//!
//! A command for each table, and `all`; see the README for what each asks and by which rules. A table goes to the
//! standard output, and with `--out FOLDER` to `FOLDER/output.txt`, `FOLDER/NAME.json` and `FOLDER/NAME.svg` too.

use clap::{Args, Parser, Subcommand};
use peers::machine::{Machine, load_average};
use peers::report::{Asked, Circumstances, Report};
use peers::table::{Case, Effort, Run, Table};
use peers::watch::{PATIENCE, Watch};
use peers::{floors, peers as rings, plot, tables};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

/// The ring beside what people use: a table a command.
#[derive(Parser)]
#[command(version, about, after_help = "See the README for what each table asks.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    wishes: Wishes,
}

#[derive(Subcommand, Clone, PartialEq, Eq)]
enum Command {
    /// Values a second, from pairs on one thread to four threads on each side.
    Throughput,
    /// From 1 to 16 threads on each side.
    Threads,
    /// From 1 value of room to 65,536.
    Capacity,
    /// Values of 8, 64 and 256 bytes.
    Size,
    /// Round trips.
    Latency,
    /// Waking a receiver that sleeps.
    Wake,
    /// Processor time of threads that wait.
    Idle,
    /// Hand-offs with more threads than cores.
    Stalled,
    /// Instructions a value, counted by perf or callgrind.
    Instructions,
    /// All tables.
    All,
    /// One workload of one thread, without a clock: what `instructions` counts.
    One {
        /// As the tables print it.
        peer: String,
        /// As the table `instructions` prints it.
        workload: String,
        /// How often.
        count: u64,
    },
}

#[derive(Args)]
struct Wishes {
    /// How often every case is visited.
    #[arg(long, global = true, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// About how long a visit takes, in milliseconds.
    #[arg(long, global = true, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    span: u64,
    /// Only see that it works: two repetitions of 2 ms. The figures mean nothing.
    #[arg(long, global = true)]
    quick: bool,
    /// A folder for the text, the JSON and the plots.
    #[arg(long, global = true, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Only these peers, by the names in the tables. The ratios need crossbeam-channel.
    #[arg(long, global = true, value_delimiter = ',')]
    only: Vec<String>,
    /// Not these peers.
    #[arg(long, global = true, value_delimiter = ',')]
    without: Vec<String>,
    /// Only workloads whose name contains this.
    #[arg(long, global = true, value_name = "TEXT")]
    workload: Option<String>,
}

impl Wishes {
    fn effort(&self) -> Effort {
        match self.quick {
            true => Effort { repetitions: 2, span: Duration::from_millis(2), quick: true },
            false => Effort {
                repetitions: self.repetitions,
                span: Duration::from_millis(self.span),
                quick: false,
            },
        }
    }

    fn wants(&self, case: &Case) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == case.peer);
        let workload = |text: &String| case.title().contains(text.as_str());
        (self.only.is_empty() || named(&self.only))
            && !named(&self.without)
            && self.workload.as_ref().is_none_or(workload)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { command, wishes } = Arguments::parse();
    rings::prepare();
    if let Command::One { peer, workload, count } = &command {
        return one(peer, workload, *count);
    }
    let watch = Watch::begin(PATIENCE);
    let circumstances = Circumstances {
        machine: Machine::here(rings::PACKAGES),
        floors: floors::measure(wishes.quick, &watch),
    };
    let mut output = Output { folder: wishes.out.clone(), text: String::new() };
    output.says(&circumstances.text())?;
    for table in chosen(&command, &wishes.effort()) {
        measure(table, &wishes, &watch, &circumstances, &mut output)?;
    }
    Ok(())
}

/// The command's tables. One that nothing here can count is left out with a word.
fn chosen(command: &Command, effort: &Effort) -> Vec<Table> {
    type Make = fn(&Effort) -> Option<Table>;
    let tables: [(Command, Make); 9] = [
        (Command::Throughput, |_| Some(tables::throughput())),
        (Command::Threads, |_| Some(tables::threads())),
        (Command::Capacity, |_| Some(tables::capacity())),
        (Command::Size, |_| Some(tables::size())),
        (Command::Latency, |_| Some(tables::latency())),
        (Command::Wake, |_| Some(tables::wake())),
        (Command::Idle, |effort| Some(tables::idle(effort))),
        (Command::Stalled, |_| Some(tables::stalled())),
        (Command::Instructions, |effort| {
            let table = tables::instructions(effort);
            if table.is_none() {
                eprintln!("instructions: left out, neither perf nor valgrind counts here");
            }
            table
        }),
    ];
    let wanted = |each: &Command| *command == Command::All || command == each;
    let chosen = tables.into_iter().filter(|(each, _)| wanted(each));
    chosen.filter_map(|(_, make)| make(effort)).collect()
}

fn measure(
    mut table: Table,
    wishes: &Wishes,
    watch: &Watch,
    circumstances: &Circumstances,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    table.cases.retain(|case| wishes.wants(case));
    if table.cases.is_empty() {
        watch.says(&format!("{}: no workload is left", table.name));
        return Ok(());
    }
    let (effort, before) = (wishes.effort(), load_average());
    let (asked, measures) = (Asked::of(&table, &effort), std::mem::take(&mut table.measures));
    let rows = table.run(measures.len(), &effort, watch);
    let command = env::args().skip(1).collect::<Vec<_>>().join(" ");
    let load = [before, load_average()];
    let report = Report::new(asked, &measures, rows, command, load, circumstances);
    output.says(&format!("\n{}", report.text()))?;
    output.keep(&report)
}

/// Runs one case once.
fn one(peer: &str, workload: &str, count: u64) -> Result<(), Box<dyn Error>> {
    let mut cases = tables::single_threaded().cases.into_iter();
    let case = cases.find(|case| case.peer == peer && case.workload == workload);
    match case.map(|case| case.run) {
        Some(Run::Counted(run)) => drop(run(count)),
        _ => return Err(format!("no peer {peer} with a workload {workload} of one thread").into()),
    }
    Ok(())
}

/// Where results go.
struct Output {
    folder: Option<PathBuf>,
    text: String,
}

impl Output {
    /// To the standard output at once, and to the folder's text so far.
    fn says(&mut self, text: &str) -> Result<(), Box<dyn Error>> {
        print!("{text}");
        self.text.push_str(text);
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder)?;
            fs::write(folder.join("output.txt"), &self.text)?;
        }
        Ok(())
    }

    /// The data and the plot of a table.
    fn keep(&self, report: &Report<'_>) -> Result<(), Box<dyn Error>> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let data = serde_json::to_string_pretty(report)?;
        fs::write(folder.join(format!("{}.json", report.table)), data + "\n")?;
        plot::draw(report, &folder.join(format!("{}.svg", report.table)))
    }
}
