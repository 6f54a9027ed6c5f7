//! A program of queries, observed by one line.

use datafusion::{dataframe::DataFrameWriteOptions, prelude::SessionContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ctx = daglight::observe(SessionContext::new())?; // the only line that is added

    ctx.sql("CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)")
        .await?;
    let late = ctx.sql("SELECT id, 1.0 / (1 + slack) AS risk FROM orders WHERE slack < 2").await?;
    late.write_parquet("out/risk.parquet", DataFrameWriteOptions::new(), None).await?;
    ctx.sql("SELECT count(*) FROM 'out/risk.parquet'").await.ok();
    ctx.sql("COPY orders TO 'out/orders.csv'").await?.collect().await?;
    Ok(())
}
