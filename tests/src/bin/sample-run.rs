//! Records a sample run and prints each recorded event. Then it waits until it is killed, or with `--finish` ends the run and
//! prints the result. For tests of processes that die, and of several at the same time.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use daglight_run_bundle::Durability;
use daglight_run_identity::RunId;
use daglight_system_tests::Sample;
use daglight_tracker_client::{Connection, ProjectRef, Tracker};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// A run of which each recorded event is acknowledged with a line.
#[derive(Parser)]
struct Arguments {
    tracker_dir: PathBuf,
    url: String,
    user: String,
    project: i64,
    dag_name: String,
    run_id: RunId,
    nodes: usize,
    /// The pause between two nodes.
    pause_us: u64,
    /// Ends the run, delivers it, and prints the ledger.
    #[arg(long)]
    finish: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let sample = Sample::new(&arguments.dag_name, arguments.nodes, arguments.run_id);
    let connection = Connection::new(&arguments.url, &arguments.user, ProjectRef::Id(arguments.project))?;
    let mut output = io::stdout();
    let mut acknowledge = |event: &str| writeln!(output, "{event}").and_then(|()| output.flush());
    acknowledge("ready")?;
    let tracker = Tracker::start(&arguments.tracker_dir, Durability::Process, Some(connection));
    sample.begin(&tracker);
    acknowledge("run")?;
    for node in 0..arguments.nodes {
        sample.start(&tracker, node);
        acknowledge("started")?;
        thread::sleep(Duration::from_micros(arguments.pause_us));
        sample.finish(&tracker, node);
        acknowledge("finished")?;
    }
    acknowledge("all")?;
    if arguments.finish {
        sample.end(&tracker);
        acknowledge(&serde_json::to_string(&tracker.flush(FLUSH_TIMEOUT))?)?;
        return Ok(());
    }
    loop {
        thread::park();
    }
}
