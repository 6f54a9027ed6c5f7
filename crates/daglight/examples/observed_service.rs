//! A service that is observed without a DAG: a run for each request, and one for each hour of what is asked beside them.

use std::{sync::Arc, time::Duration};

use daglight::prelude::*;
use datafusion::{error::DataFusionError, prelude::SessionContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::from_env()?;
    let hourly = ObserveOptions::new().window(Duration::from_secs(3600));
    let ctx = telemetry.observe(SessionContext::new(), hourly)?;
    ctx.sql("CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)")
        .await?;

    let ctx = Arc::new(ctx);
    let requests: Vec<_> = (0..10).map(|number| tokio::spawn(answer(Arc::clone(&ctx), number))).collect();
    for request in requests {
        println!("{} orders", request.await??);
    }
    Ok(())
}

async fn answer(ctx: Arc<Observed>, number: u32) -> Result<usize, DataFusionError> {
    let rows = ctx
        .request(RunOptions::new().tag("request", number.to_string()), async |_| {
            let found = ctx.sql("SELECT id FROM orders WHERE slack = 3").await?;
            found.count().await
        })
        .await?;
    Ok(rows)
}
