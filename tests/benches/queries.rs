//! What a run of very many queries takes in memory: it must not grow with their number.
//!
//! The first argument is the number of queries, 100,000 by default. The memory of the process is printed at a tenth, at the
//! half and at all of them.

use std::{env, error::Error, fs, time::Instant};

use bench_ratios::Ratio;
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
    println!("{:>8} queries: {:>6} MB of memory", 0, resident_mb()?);
    let mut early = None;
    for node in 0..NODES {
        let of_node = async |_| {
            for query in 0..queries / NODES {
                // Of ten thousand different texts, each with its own plan or that of others.
                let sql = format!("SELECT id + {} AS x FROM orders WHERE id > {}", query % 100, query % 97);
                session.sql(&sql).await?.collect().await?;
            }
            Ok::<_, DataFusionError>(())
        };
        run.node(&name(node), of_node).await?;
        if [0, NODES / 2 - 1, NODES - 1].contains(&node) {
            let done = (node + 1) * (queries / NODES);
            let memory = resident_mb()?;
            println!("{done:>8} queries: {memory:>6} MB of memory, {:.0} s", started.elapsed().as_secs_f64());
            let early = *early.get_or_insert(memory);
            if done > queries / NODES {
                let what = format!("memory after {done} queries, beside that after a tenth");
                Ratio::new("queries", what, memory as f64 / early as f64).target(1.1).say()?;
            }
        }
    }
    let report = run.finish().await;
    println!("{:?}, {} MB of memory behind the report", report.status, resident_mb()?);
    Ok(())
}

fn name(node: usize) -> String {
    format!("node_{node}")
}

/// What the process holds in memory, as Linux says it.
fn resident_mb() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no VmRSS in /proc/self/status")?.trim().parse::<u64>()? / 1024)
}
