//! What Daglight costs the queries that it watches: the 22 of TPC-H in a session with everything on, each as new to the run
//! and once more in the same node, and in the same session without Daglight, in turns.
//!
//! The first argument is the scale factor, by default 0.01, where queries take milliseconds and overhead shows; the second
//! the number of rounds. With `HAMILTON_API_URL` and `OTEL_EXPORTER_OTLP_ENDPOINT` set, runs are delivered meanwhile, too.

use std::{
    env,
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use daglight::prelude::{Dag, RunOptions, Telemetry};
use daglight_system_tests::{generate_tpch, tpch_query};
use datafusion::{
    error::DataFusionError,
    execution::{SessionStateBuilder, context::SessionContext},
    prelude::ParquetReadOptions,
};

const QUERIES: i32 = 22;
const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
/// Rounds that are not measured.
const WARM_UP: usize = 2;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The columns: without Daglight, a query that is new to its run, and the same query once more.
const BARE: usize = 0;
const NEW: usize = 1;
const REPEATED: usize = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    processor: Duration,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }

    fn without(self, other: Self) -> Self {
        let wall = self.wall.saturating_sub(other.wall);
        Self { wall, processor: self.processor.saturating_sub(other.processor) }
    }
}

struct Moment(Instant, ProcessTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), ProcessTime::now())
    }

    fn elapsed(&self) -> Cost {
        Cost { wall: self.0.elapsed(), processor: self.1.elapsed() }
    }
}

async fn measured(
    work: impl Future<Output = datafusion::error::Result<()>>,
) -> datafusion::error::Result<Cost> {
    let before = Moment::now();
    work.await?;
    Ok(before.elapsed())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    // Cargo runs benches as tests, too; those have no time for it.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let scale_factor: f64 = arguments.next().map_or(Ok(0.01), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(40), |text| text.parse())?;

    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    generate_tpch(&data, scale_factor, |_, _| {})?;
    env::set_current_dir(folder.path())?;
    let telemetry = Telemetry::from_env()?;
    let bare = session(SessionContext::new(), &data).await?;
    let watched = telemetry.session(SessionStateBuilder::new_with_default_features());
    let watched = session(watched, &data).await?;

    let name = |round: usize, number: i32| format!("round_{round}_q{number}");
    let numbers = || 1..=QUERIES;
    let mut dag = Dag::builder("tpch::overhead_v1")?;
    for round in 0..WARM_UP + rounds {
        for number in numbers() {
            dag = dag.loader(name(round, number)).end();
        }
    }
    let dag = dag.build()?;
    let started = Instant::now();
    let run = telemetry.start_run(&dag, RunOptions::default());
    println!("start of a run of {} nodes: {:.1} ms", dag.nodes().len(), milliseconds(started.elapsed()));

    let mut costs: Vec<[Cost; 3]> = Vec::new();
    for round in 0..WARM_UP + rounds {
        let mut cost = [Cost::default(); 3];
        for number in numbers() {
            let sql = tpch_query(number)?;
            // In turns, so that neither always finds warm caches.
            let watched_first = (round + number as usize).is_multiple_of(2);
            for is_watched in [watched_first, !watched_first] {
                if is_watched {
                    // With the node around it, and without the other execution.
                    let before = Moment::now();
                    let node = name(round, number);
                    let costs = run.node(&node, async |_| {
                        let new = measured(execute(&watched, &sql)).await?;
                        let repeated = measured(execute(&watched, &sql)).await?;
                        Ok::<_, DataFusionError>([new, repeated])
                    });
                    let costs = costs.await?;
                    cost[NEW].add(before.elapsed().without(costs[1]));
                    cost[REPEATED].add(costs[1]);
                } else {
                    cost[BARE].add(measured(execute(&bare, &sql)).await?);
                }
            }
        }
        costs.push(cost);
    }
    let started = Instant::now();
    let report = run.finish().await;
    println!("finish: {:.1} ms, {:?}", milliseconds(started.elapsed()), report.status);

    let costs = &costs[WARM_UP..];
    let ratio = |column: usize, pick: fn(&Cost) -> Duration| {
        let mut ratios: Vec<f64> = costs
            .iter()
            .map(|cost| pick(&cost[column]).as_secs_f64() / pick(&cost[BARE]).as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let total: Duration = costs.iter().map(|cost| cost[BARE].wall).sum();
    let bare_ms = milliseconds(total) / rounds as f64;
    println!(
        "TPC-H at SF{scale_factor}, {QUERIES} queries in {bare_ms:.0} ms without Daglight, medians of {rounds} rounds"
    );
    println!("{:<10} {:>6} {:>10}", "", "wall", "processor");
    for (name, column) in [("bare", BARE), ("new", NEW), ("repeated", REPEATED)] {
        let (wall, processor) = (ratio(column, |cost| cost.wall), ratio(column, |cost| cost.processor));
        println!("{name:<10} {wall:>6.3} {processor:>10.3}");
    }
    Ok(())
}

async fn session(session: SessionContext, data: &Path) -> Result<SessionContext> {
    for table in TABLES {
        let file = data.join(format!("{table}.parquet"));
        session.register_parquet(table, &file.display().to_string(), ParquetReadOptions::default()).await?;
    }
    Ok(session)
}

async fn execute(session: &SessionContext, sql: &str) -> datafusion::error::Result<()> {
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        session.sql(statement).await?.collect().await?;
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
