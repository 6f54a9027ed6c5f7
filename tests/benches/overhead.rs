//! What Daglight costs the queries that it watches: the 22 of TPC-H in a session with everything on, each as new to the run
//! and once more in the same node, and in the same session without Daglight, in turns.
//!
//! The first argument is the scale factor, by default 0.01, where queries take milliseconds and overhead shows; the second
//! the number of rounds; the third a folder in which the tables and the queries are left for another bench. With
//! `HAMILTON_API_URL` and `OTEL_EXPORTER_OTLP_ENDPOINT` set, runs are delivered meanwhile, too.

mod of_tpch;
mod side_by_side;

use std::{
    array,
    error::Error,
    time::{Duration, Instant},
};

use daglight::prelude::{RunOptions, Telemetry};
use datafusion::{
    error::DataFusionError,
    execution::{SessionStateBuilder, context::SessionContext},
};
use of_tpch::{Rounds, node, turns};
use side_by_side::{Cost, Moment, execute, say_ratios, with_tables};

/// The columns: without Daglight, a query that is new to its run, and the same query once more.
const BARE: usize = 0;
const NEW: usize = 1;
const REPEATED: usize = 2;
/// Names of the columns. What is promised is promised of all queries at this scale factor, and less where they are long.
const NAMES: [&str; 3] = ["bare", "Daglight, new to the run", "Daglight, repeated"];
const SHORT_TARGETS: [Option<f64>; 3] = [None, Some(1.05), Some(1.02)];
const LONG_TARGETS: [Option<f64>; 3] = [None, Some(1.01), Some(1.01)];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Some(rounds) = Rounds::of_arguments("0.01", 40)? else { return Ok(()) };
    let telemetry = Telemetry::from_env()?;
    let bare = with_tables(SessionContext::new(), rounds.data()).await?;
    let watched = telemetry.session(SessionStateBuilder::new_with_default_features());
    let watched = with_tables(watched, rounds.data()).await?;

    let dag = rounds.dag("tpch::overhead_v1")?;
    let started = Instant::now();
    let run = telemetry.start_run(&dag, RunOptions::default());
    println!("start of a run of {} nodes: {:.1} ms", dag.nodes().len(), milliseconds(started.elapsed()));

    let mut costs: Vec<[Cost; 3]> = Vec::new();
    for round in rounds.numbers() {
        let mut cost = [Cost::default(); 3];
        for (at, sql) in rounds.queries.iter().enumerate() {
            for is_watched in turns(round, at) {
                if is_watched {
                    // With the node around it, and without the other execution.
                    let before = Moment::now();
                    let node = node(round, at);
                    let repeated = run.node(&node, async |_| {
                        execute(&watched, sql).await?;
                        let repeated = execute(&watched, sql).await?;
                        Ok::<_, DataFusionError>(repeated)
                    });
                    let repeated = repeated.await?;
                    let both = before.elapsed();
                    cost[NEW].add(Cost {
                        wall: both.wall.saturating_sub(repeated.wall),
                        processor: both.processor.saturating_sub(repeated.processor),
                    });
                    cost[REPEATED].add(repeated);
                } else {
                    cost[BARE].add(execute(&bare, sql).await?);
                }
            }
        }
        costs.push(cost);
    }
    let started = Instant::now();
    let report = run.finish().await;
    println!("finish: {:.1} ms, {:?}", milliseconds(started.elapsed()), report.status);
    let targets = if rounds.scale_factor.parse::<f64>()? < 1.0 { SHORT_TARGETS } else { LONG_TARGETS };
    let columns = array::from_fn(|column| (NAMES[column], targets[column]));
    say_ratios("overhead", &costs, columns, &rounds.scale_factor)?;
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
