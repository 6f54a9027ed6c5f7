//! A program with Daglight that waits between two of its nodes, for the given number of milliseconds. It prints how long that was
//! and the path of the bundle, for tests of the findings in its report.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use daglight::prelude::{Dag, Node, RunOptions, Table, Telemetry};
use datafusion::prelude::SessionContext;

/// A run of three nodes, the first two with a pause between them.
#[derive(Parser)]
struct Arguments {
    pause_ms: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let pause = Duration::from_millis(Arguments::parse().pause_ms);
    let telemetry = Telemetry::from_env()?;
    let ctx = telemetry.session(SessionContext::new());
    let dag = Dag::builder("idle::orders_v1")?
        .loader("orders")
        .transform("risk", ["orders"])
        .transform("late", ["risk"])
        .build()?;
    let mut paused = Duration::ZERO;
    let (result, report) = telemetry
        .run(&dag, RunOptions::default(), async |run| {
            run.node("orders", async |node| table(&node, &ctx, "orders", "generate_series(1, 1000)").await)
                .await?;
            let begun = Instant::now();
            tokio::time::sleep(pause).await;
            paused = begun.elapsed();
            run.node("risk", async |node| table(&node, &ctx, "risk", "orders").await).await?;
            run.node("late", async |node| table(&node, &ctx, "late", "risk").await).await
        })
        .await;
    result?;
    let bundle = report.bundle.context("the run has no bundle")?;
    let mut output = io::stdout();
    writeln!(output, "{}\n{}", paused.as_secs_f64() * 1e3, bundle.display())?;
    Ok(())
}

async fn table(node: &Node, ctx: &SessionContext, name: &str, from: &str) -> Result<()> {
    let rows = ctx.sql(&format!("SELECT value FROM {from}")).await?;
    node.materialize(ctx, rows, Table::named(name)).await?;
    Ok(())
}
