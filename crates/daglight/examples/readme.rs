//! Finds the orders that are likely to be late, and records how.

use daglight::prelude::*;
use datafusion::prelude::SessionContext;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::from_env()?; // profile, OpenTelemetry, tracker; never waits for a server
    let ctx = telemetry.session(SessionContext::new()); // its queries are seen

    let dag = Dag::builder("sales::order_risk_v1")? // built once: decides the version
        .loader("orders")
        .transform("order_risk", ["orders"])
        .documentation("Orders that are likely to be late")
        .tag("layer", "gold")
        .saver("order_risk_parquet", ["order_risk"])
        .build()?;

    // Executed many times: each is a run, which ends with the error of its work, where there is one.
    let (result, report) = telemetry
        .run(&dag, RunOptions::new().tag("region", "north"), async |run| {
            run.node("orders", async |node| {
                let orders =
                    ctx.sql("SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)").await?;
                node.materialize(&ctx, orders, Table::named("orders")).await
            })
            .await?;
            run.node("order_risk", async |node| {
                let late =
                    ctx.sql("SELECT id, 1.0 / (1 + slack) AS risk FROM orders WHERE slack < 2").await?;
                node.materialize(&ctx, late, View::named("order_risk")).await
            })
            .await?;
            run.node("order_risk_parquet", async |node| {
                let risk = ctx.table("order_risk").await?;
                node.materialize(&ctx, risk, Parquet::to("out/order_risk.parquet")).await
            })
            .await
        })
        .await;

    // Bounded in time; says what was delivered, waits, or was dropped.
    println!("bundle {}", report.bundle.as_deref().unwrap_or("none".as_ref()).display());
    println!("report {}", report.report.map(|paths| paths.html).unwrap_or_default().display());
    println!("Hamilton {}", report.links.hamilton_run.as_deref().unwrap_or("is not configured"));
    println!("{} rows written", result?.rows.unwrap_or_default());
    Ok(())
}
