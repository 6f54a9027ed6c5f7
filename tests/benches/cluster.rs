//! What Daglight costs queries on a cluster: the 22 of TPC-H on two workers of this process, without Daglight on either side, and
//! with everything on on both, in turns.
//!
//! The first argument is the scale factor, by default 1; the second the number of rounds.

mod side_by_side;

use std::{env, error::Error, fs, sync::Arc};

use daglight::{
    WorkerTelemetry,
    cluster::{
        Cluster,
        distributed::{Worker, WorkerQueryContext},
    },
    prelude::{Dag, RunOptions, Telemetry},
};
use daglight_system_tests::{generate_tpch, tpch_query};
use datafusion::{
    error::{DataFusionError, Result as EngineResult},
    execution::{SessionState, SessionStateBuilder, context::SessionContext},
};
use side_by_side::{
    Cost, Moment, QUERIES, WARM_UP, execute, query_file, read_queries, say_ratios, with_tables,
};
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
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    // Cargo runs benches as tests, too; those have no time for it.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let scale_factor = arguments.next().unwrap_or_else(|| "1".to_owned());
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;

    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("tpch");
    generate_tpch(&folder, scale_factor.parse()?, |_, _| {})?;
    for number in 1..=QUERIES {
        fs::write(folder.join(query_file(number)), tpch_query(i32::try_from(number)?)?)?;
    }
    let queries = read_queries(&folder)?;
    // Where its bundles are written.
    env::set_current_dir(scratch.path())?;
    let telemetry = Telemetry::from_env()?;
    let listener = Arc::new(WorkerTelemetry::new(&telemetry));
    let bare = workers(|| Worker::new(session_of, None)).await?;
    let watched = workers(|| Worker::new(session_of, Some(Arc::clone(&listener) as _))).await?;
    let bare = SessionContext::new_with_state(bare.distribute(defaults()).build());
    let watched = telemetry.session(watched.distribute(defaults()));
    let (bare, watched) = (with_tables(bare, &folder).await?, with_tables(watched, &folder).await?);
    for session in [&bare, &watched] {
        session.sql(DIVIDED).await?.collect().await?;
    }

    let name = |round: usize, query: usize| format!("round_{round}_q{}", query + 1);
    let mut dag = Dag::builder("tpch::cluster_v1")?;
    for round in 0..WARM_UP + rounds {
        for query in 0..QUERIES {
            dag = dag.loader(name(round, query)).end();
        }
    }
    let dag = dag.build()?;
    let run = telemetry.start_run(&dag, RunOptions::default());
    let mut costs: Vec<[Cost; 2]> = Vec::new();
    for round in 0..WARM_UP + rounds {
        let mut cost = [Cost::default(); 2];
        for (query, sql) in queries.iter().enumerate() {
            // In turns, so that neither always finds warm caches.
            let watched_first = (round + query).is_multiple_of(2);
            for is_watched in [watched_first, !watched_first] {
                if is_watched {
                    let before = Moment::now();
                    let node = name(round, query);
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
    say_ratios("cluster", &costs, COLUMNS, &scale_factor)?;
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
    Ok(Cluster::new(format!("df://{}", addresses.join(",")).parse()?))
}
