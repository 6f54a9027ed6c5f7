//! A pipeline of `DataFrame`s, with a custom output, a stage and custom values.

use std::sync::Arc;

use daglight::{
    outputs::{Materialization, Written, async_trait, register},
    prelude::*,
};
use datafusion::{
    dataframe::DataFrame, error::DataFusionError, functions_aggregate::expr_fn::avg, prelude::*,
};

/// Keeps the rows in memory, sorted. An output may write anywhere: a catalog, a queue, a server.
struct Sorted(&'static str);

#[async_trait]
impl Output for Sorted {
    fn name(&self) -> &str {
        self.0
    }

    fn materialization(&self) -> Materialization {
        Materialization::Other("sorted".to_owned())
    }

    async fn write(&self, ctx: &SessionContext, frame: DataFrame) -> Result<Written, DataFusionError> {
        let first = frame.schema().field(0).name().clone();
        let rows = frame.sort_by(vec![col(first)])?.cache().await?;
        let schema = Arc::clone(rows.schema().inner());
        let written = Written::new(self.0, self.materialization(), schema)
            .with_rows(rows.clone().count().await? as u64);
        register(ctx, self.0, rows.into_view())?; // whoever reads it finds it under this name
        Ok(written)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::from_env()?;
    let ctx = telemetry.session(SessionContext::new());
    let by_day = Sorted("slack_by_day");
    let dag = Dag::builder("sales::slack_v1")?
        .loader("orders")
        .transform("slack_by_day", ["orders"])
        .tags(by_day.tags(telemetry.registry()))
        .build()?;

    let work = async |run: Run| -> Result<(), Box<dyn std::error::Error>> {
        run.node("orders", async |node| {
            let generated = ctx.sql("SELECT value AS id FROM generate_series(1, 1000)").await?;
            let orders =
                generated.with_column("day", col("id") % lit(5))?.with_column("slack", col("id") % lit(7))?;
            node.materialize(&ctx, orders, Table::named("orders")).await
        })
        .await?;
        run.node("slack_by_day", async |node| {
            let limit = node.stage("choose a limit", async { Ok::<_, DataFusionError>(5) }).await?; // its own span
            node.record("limit", limit); // on the page of the node, as far as the policy shows it
            let kept = ctx.table("orders").await?.filter(col("slack").lt(lit(limit)))?;
            let days = kept.aggregate(vec![col("day")], vec![avg(col("slack")).alias("slack")])?;
            node.materialize(&ctx, days, by_day).await
        })
        .await?;
        run.stage("publish", async { Ok::<_, DataFusionError>(()) }).await?; // belongs to the run, and to no node
        Ok(())
    };
    let (result, report) = telemetry.run(&dag, RunOptions::new(), work).await;
    for node in &report.nodes {
        println!("{}: {:?}, {} rows", node.name, node.status, node.rows.unwrap_or_default());
    }
    result
}
