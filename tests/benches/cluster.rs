//! What Daglight costs queries on a cluster: the 22 of TPC-H on two workers of this process, without Daglight on either side, and
//! with everything on on both, in turns.
//!
//! The first argument is the scale factor, by default 1; the second the number of rounds.

mod of_tpch;
mod side_by_side;

use std::{error::Error, sync::Arc};

use daglight::{
    WorkerTelemetry,
    cluster::{
        Cluster,
        distributed::{Worker, WorkerQueryContext},
    },
    prelude::{RunOptions, Telemetry},
};
use datafusion::{
    error::{DataFusionError, Result as EngineResult},
    execution::{SessionState, SessionStateBuilder, context::SessionContext},
};
use of_tpch::{Rounds, node, turns};
use side_by_side::{Cost, Moment, execute, say_ratios, with_tables};
use tokio::net::TcpListener;

/// The columns.
const BARE: usize = 0;
const WATCHED: usize = 1;
const COLUMNS: [(&str, Option<f64>); 2] = [("bare", None), ("Daglight, new to the run", Some(1.03))];
const WORKERS: usize = 2;
/// Every table is divided at any scale factor.
const DIVIDED: &str = "SET distributed.file_scan_config_bytes_per_partition = 1048576";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Some(rounds) = Rounds::of_arguments("1", 5)? else { return Ok(()) };
    let telemetry = Telemetry::from_env()?;
    let listener = Arc::new(WorkerTelemetry::new(&telemetry));
    let bare = workers(|| Worker::new(session_of, None)).await?;
    let watched = workers(|| Worker::new(session_of, Some(Arc::clone(&listener) as _))).await?;
    let bare = SessionContext::new_with_state(bare.distribute(defaults()).build());
    let watched = telemetry.session(watched.distribute(defaults()));
    let (bare, watched) =
        (with_tables(bare, rounds.data()).await?, with_tables(watched, rounds.data()).await?);
    for session in [&bare, &watched] {
        session.sql(DIVIDED).await?.collect().await?;
    }

    let dag = rounds.dag("tpch::cluster_v1")?;
    let run = telemetry.start_run(&dag, RunOptions::default());
    let mut costs: Vec<[Cost; 2]> = Vec::new();
    for round in rounds.numbers() {
        let mut cost = [Cost::default(); 2];
        for (query, sql) in rounds.queries.iter().enumerate() {
            for is_watched in turns(round, query) {
                if is_watched {
                    let before = Moment::now();
                    let node = node(round, query);
                    run.node(&node, async |_| execute(&watched, sql).await.map_err(named)).await?;
                    cost[WATCHED].add(before.elapsed());
                } else {
                    cost[BARE].add(execute(&bare, sql).await?);
                }
            }
        }
        costs.push(cost);
    }
    let report = run.finish().await;
    println!("{WORKERS} workers, {:?}", report.status);
    say_ratios("cluster", &costs, COLUMNS, &rounds.scale_factor)?;
    Ok(())
}

fn named(error: DataFusionError) -> DataFusionError {
    error.context("on the cluster")
}

fn defaults() -> SessionStateBuilder {
    SessionStateBuilder::new_with_default_features()
}

fn session_of(context: WorkerQueryContext) -> EngineResult<SessionState> {
    Ok(context.builder.build())
}

/// Workers that serve for as long as the process lives.
async fn workers(worker: impl Fn() -> Worker) -> Result<Cluster> {
    let mut addresses = Vec::new();
    for _ in 0..WORKERS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?.to_string());
        tokio::spawn(worker().serve(listener, std::future::pending()));
    }
    Ok(Cluster::new(format!("df://{}", addresses.join(",")).parse()?)?)
}
