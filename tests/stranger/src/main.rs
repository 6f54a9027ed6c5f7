//! Reads sensors: a program on Daglight's facade with a table, functions and errors of its own, tasks that it spawns, a node
//! that it tries again and one that it can do without.

mod functions;
mod sensors;
mod trouble;

use std::{env, sync::Arc};

use daglight::prelude::*;
use datafusion::{dataframe::DataFrame, prelude::SessionContext};

use crate::{functions::register_functions, sensors::Sensors, trouble::Trouble};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode = env::args().nth(1).unwrap_or_default();
    // Where a test looks for a value of the data.
    let place = env::var("STRANGER_PLACE").unwrap_or_else(|_| "attic".to_owned());
    let telemetry = Telemetry::from_env()?;
    let ctx = telemetry.session(SessionContext::new());
    ctx.register_table("sensors", Arc::new(Sensors::new(&place)))?;
    register_functions(&ctx);
    let dag = Dag::builder("house::warmth_v1")?
        .loader("readings")
        .transform("warmth", ["readings"])
        .transform("flaky", ["warmth"])
        .transform("optional", ["warmth"])
        .transform("beside", ["warmth"])
        .saver("warmth_file", ["warmth"])
        .build()?;
    let run = telemetry.start_run(&dag, RunOptions::new().tag("floor", "upper"));
    readings(&run, &ctx).await?;
    if mode != "whole" {
        // Returns early: the run is dropped without an end.
        broken(&run, &ctx, &mode).await?;
    }
    warmth(&run, &ctx).await?;
    let mut attempt = 1;
    while let Err(error) = flaky(&run, &ctx, attempt).await {
        attempt += 1;
        if attempt > 3 {
            return Err(error.into());
        }
    }
    if optional(&run).await.is_err() {
        run.recovered("optional");
    }
    let rows = beside(&run, &ctx).await?;
    let written = run
        .node("warmth_file", async |node| {
            let warmth = ctx.table("warmth").await?;
            node.materialize(&ctx, warmth, Parquet::to("out/warmth.parquet")).await
        })
        .await?;
    let report = run.finish().await;
    println!("{} rows beside, {} rows written", rows, written.rows.unwrap_or_default());
    println!("bundle {}", report.bundle.as_deref().unwrap_or("none".as_ref()).display());
    println!("Hamilton {}", report.links.hamilton_run.as_deref().unwrap_or("is not configured"));
    Ok(())
}

async fn readings(run: &Run, ctx: &SessionContext) -> Result<(), Trouble> {
    run.node("readings", async |node| {
        let readings = ctx.sql("SELECT id, place, doubled(tenths) AS tenths FROM sensors").await?;
        node.materialize(ctx, readings, Table::named("readings")).await?;
        Ok(())
    })
    .await
}

/// A node that a function of the program, which its query calls, ends with an error or a panic.
async fn broken(run: &Run, ctx: &SessionContext, mode: &str) -> Result<(), Trouble> {
    run.node("warmth", async |_| match mode {
        "early" => {
            let silent = Trouble::Silent("s-17".to_owned());
            Err(Trouble::Incomplete(Box::new(silent)))
        }
        function => {
            ctx.sql(&format!("SELECT {function}(place) FROM readings")).await?.collect().await?;
            Ok(())
        }
    })
    .await
}

async fn warmth(run: &Run, ctx: &SessionContext) -> Result<(), Trouble> {
    run.node("warmth", async |node| {
        let warmth = ctx.sql("SELECT place, avg(tenths) AS tenths FROM readings GROUP BY place").await?;
        node.materialize(ctx, warmth, View::named("warmth")).await?;
        Ok(())
    })
    .await
}

/// Fails the first two times.
async fn flaky(run: &Run, ctx: &SessionContext, attempt: u32) -> Result<(), Trouble> {
    run.node("flaky", async |node| {
        if attempt < 3 {
            return Err(Trouble::Incomplete(Box::new(Trouble::Silent(format!("s-{attempt}")))));
        }
        let readings = ctx.sql("SELECT count(*) AS n FROM readings").await?;
        node.record("attempts of our own", attempt);
        readings.collect().await?;
        Ok(())
    })
    .await
}

async fn optional(run: &Run) -> Result<(), Trouble> {
    run.node("optional", async |_| Err(Trouble::Silent("s-99".to_owned()))).await
}

/// Counts in a task and in a thread at the same time.
async fn beside(run: &Run, ctx: &SessionContext) -> Result<usize, Trouble> {
    run.node("beside", async |node| {
        let count = |frame: DataFrame| async move { frame.count().await };
        let first = ctx.sql("SELECT * FROM readings WHERE id < 10").await?;
        let task = node.spawn(count(first));
        let second = ctx.sql("SELECT * FROM readings WHERE id >= 10").await?;
        let runtime = tokio::runtime::Handle::current();
        let thread = node.spawn_blocking(move || runtime.block_on(second.count()));
        Ok(task.await?? + thread.await??)
    })
    .await
}
