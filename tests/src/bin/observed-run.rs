//! A program with queries that is observed with one line of code, and knows no DAG.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use daglight::{Observed, prelude::*};
use datafusion::{dataframe::DataFrameWriteOptions, prelude::SessionContext};

#[derive(Parser)]
struct Arguments {
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    /// Ends by leaving `main`.
    Whole,
    /// The same, with two of its queries in another order.
    Turned,
    /// Says that it has come so far, and waits to be killed.
    Waits,
    Panics,
    /// Fifty requests at once.
    Requests,
    /// Two windows.
    Windows,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mode = Arguments::parse().mode;
    let ctx = match mode {
        Mode::Windows => {
            let hourly = ObserveOptions::new().window(Duration::from_millis(300));
            Telemetry::from_env()?.observe(SessionContext::new(), hourly)?
        }
        _ => daglight::observe(SessionContext::new())?,
    };
    match mode {
        Mode::Requests => requests(ctx).await,
        Mode::Windows => windows(&ctx).await,
        _ => pipeline(&ctx, mode).await,
    }
}

async fn pipeline(ctx: &Observed, mode: Mode) -> Result<()> {
    ctx.sql("CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)")
        .await?;
    let mut asked = ["SELECT count(*) AS orders FROM orders", "SELECT id FROM orders WHERE slack < 2"];
    if mode == Mode::Turned {
        asked.reverse();
    }
    for sql in asked {
        ctx.sql(sql).await?.collect().await?;
    }
    ctx.sql("COPY (SELECT * FROM orders WHERE slack = 1) TO 'files/late.parquet'").await?.collect().await?;
    if mode == Mode::Panics {
        bail!(panic_in(ctx).await);
    }
    let late = ctx.read_parquet("files/late.parquet", Default::default()).await?;
    late.write_csv("files/days/", DataFrameWriteOptions::new(), None).await?;
    if mode == Mode::Waits {
        writeln!(io::stdout(), "waits")?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Unwinds through the code that holds the session.
#[expect(clippy::panic, reason = "it is what this program is for")]
async fn panic_in(ctx: &Observed) -> String {
    if ctx.table_exist("orders").unwrap_or_default() {
        panic!("nobody expected so many orders");
    }
    "no orders".to_owned()
}

async fn requests(ctx: Observed) -> Result<()> {
    let ctx = Arc::new(ctx);
    let answer = |number: u32| {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(async move {
            ctx.request(RunOptions::new().tag("request", number.to_string()), async |_| {
                let sql = format!("SELECT value AS id FROM generate_series(1, {number})");
                ctx.sql(&sql).await?.count().await
            })
            .await
        })
    };
    for request in (0..50).map(answer).collect::<Vec<_>>() {
        request.await??;
    }
    Ok(())
}

async fn windows(ctx: &Observed) -> Result<()> {
    for _ in 0..2 {
        ctx.sql("SELECT 1 AS one").await?.collect().await?;
        while ctx.run().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
