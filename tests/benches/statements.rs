//! What a script costs with the number of its statements: read, described, run, recorded and reported, beside DataFusion
//! alone, which runs the same statements one after another.
//!
//! The arguments are the numbers of statements, by default 100, 1,000 and 10,000. An exponent of 1 is a cost that grows
//! with the number, 2 one that grows with its square. Nothing is sent anywhere unless the environment names a server.

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
use cpu_time::ProcessTime;
use daglight::{
    prelude::{RunOptions, Telemetry},
    sql::{Pipeline, PipelineOptions, RunScriptOptions, Script},
};
use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};

const ROUNDS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    processor: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo runs benches as tests, too; those have no time for it.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let numbers = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let mut numbers: Vec<usize> =
        numbers.map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    if numbers.is_empty() {
        numbers = vec![100, 1_000, 10_000];
    }
    let folder = tempfile::tempdir()?;
    env::set_current_dir(folder.path())?;
    let telemetry = Telemetry::from_env()?;

    let mut before: Option<(usize, [Cost; 2])> = None;
    for number in numbers {
        let statements = statements(number);
        let text = statements.join(";\n");
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            costs[0].push(measured(alone(&statements)).await?);
            costs[1].push(measured(watched(&telemetry, &text)).await?);
        }
        let [alone, watched] = costs.map(median);
        let ratio = |pick: fn(&Cost) -> Duration| pick(&watched).as_secs_f64() / pick(&alone).as_secs_f64();
        println!(
            "{number} statements: {:.0} ms alone, {:.0} ms watched",
            milliseconds(alone.wall),
            milliseconds(watched.wall),
        );
        for (what, ratio) in [("wall", ratio(|cost| cost.wall)), ("processor", ratio(|cost| cost.processor))]
        {
            let what = format!("{number} statements, beside DataFusion, {what}");
            Ratio::new("statements", what, ratio).target(1.5).say()?;
        }
        if let Some((fewer, costs)) = before {
            let exponent = |now: Cost, then: Cost| {
                let growth = now.processor.as_secs_f64() / then.processor.as_secs_f64();
                growth.ln() / (number as f64 / fewer as f64).ln()
            };
            println!(
                "  from {fewer} on, processor time grows with the power {:.2} alone, {:.2} watched",
                exponent(alone, costs[0]),
                exponent(watched, costs[1]),
            );
        }
        before = Some((number, [alone, watched]));
    }
    Ok(())
}

/// Views, queries, tables and inserts in turns.
fn statements(number: usize) -> Vec<String> {
    let mut statements = vec![
        "CREATE TABLE base AS SELECT 1 AS x, 'a' AS y".to_owned(),
        "CREATE TABLE log (x BIGINT)".to_owned(),
    ];
    for at in 0..number.saturating_sub(2) {
        let group = at / 4;
        statements.push(match at % 4 {
            0 => format!("CREATE VIEW v{group} AS SELECT x + {group} AS x, y FROM base WHERE x < {group}"),
            1 => format!("SELECT count(*) AS n, max(y) AS y FROM v{group}"),
            2 => format!("CREATE TABLE t{group} AS SELECT x, y FROM base WHERE y <> 'b{group}'"),
            _ => format!("INSERT INTO log SELECT x FROM t{group}"),
        });
    }
    statements
}

async fn measured(work: impl Future<Output = Result<()>>) -> Result<Cost> {
    let (wall, processor) = (Instant::now(), ProcessTime::now());
    work.await?;
    Ok(Cost { wall: wall.elapsed(), processor: processor.elapsed() })
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.processor);
    costs[costs.len() / 2]
}

async fn alone(statements: &[String]) -> Result<()> {
    let session = SessionContext::new();
    for statement in statements {
        session.sql(statement).await?.collect().await?;
    }
    Ok(())
}

async fn watched(telemetry: &Telemetry, text: &str) -> Result<()> {
    let pipeline = Pipeline::new(Script::parse("statements.sql", text)?, PipelineOptions::default())?;
    let session = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(pipeline.dag(), RunOptions::default());
    let ran = pipeline.run(&session, &run, RunScriptOptions::default()).await;
    run.finish().await;
    Ok(ran?)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
