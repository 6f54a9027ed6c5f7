//! What a run of very many queries takes in memory: it must not grow with their number.
//!
//! The first argument is the number of queries, 100,000 by default. The memory of the process is printed at a tenth, at the
//! half and at all of them.

use std::{env, error::Error, fs, time::Instant};

use daglight::prelude::{Dag, RunOptions, Telemetry};
use datafusion::{error::DataFusionError, execution::SessionStateBuilder};

/// Nodes that share the queries.
const NODES: usize = 10;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo runs benches as tests, too; those have no time for it.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let queries: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    env::set_current_dir(folder.path())?;
    let telemetry = Telemetry::from_env()?;
    let session = telemetry.session(SessionStateBuilder::new_with_default_features());
    session
        .sql("CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 100)")
        .await?
        .collect()
        .await?;
    let mut dag = Dag::builder("bench::queries_v1")?;
    for node in 0..NODES {
        dag = dag.loader(name(node)).end();
    }
    let run = telemetry.start_run(&dag.build()?, RunOptions::default());
    let started = Instant::now();
    println!("{:>8} queries: {:>6} of memory", 0, resident());
    for node in 0..NODES {
        let of_node = async |_| {
            for query in 0..queries / NODES {
                // Of ten thousand different texts, each with a plan of its own or of others.
                let sql = format!("SELECT id + {} AS x FROM orders WHERE id > {}", query % 100, query % 97);
                session.sql(&sql).await?.collect().await?;
            }
            Ok::<_, DataFusionError>(())
        };
        run.node(&name(node), of_node).await?;
        if [0, NODES / 2 - 1, NODES - 1].contains(&node) {
            let done = (node + 1) * (queries / NODES);
            println!(
                "{done:>8} queries: {:>6} of memory, {:.0} s",
                resident(),
                started.elapsed().as_secs_f64()
            );
        }
    }
    let report = run.finish().await;
    println!("{:?}, {} of memory behind the report", report.status, resident());
    Ok(())
}

fn name(node: usize) -> String {
    format!("node_{node}")
}

/// What the process holds in memory, as Linux says it.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("unknown");
    let kilobytes: Option<u64> = line.trim().strip_suffix(" kB").and_then(|number| number.parse().ok());
    kilobytes.map_or_else(|| line.trim().to_owned(), |kilobytes| format!("{} MB", kilobytes / 1024))
}
