//! A program that is not async. It sends its signals to a collector, and its own metrics with them:
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`

use daglight::prelude::*;
use datafusion::prelude::SessionContext;
use opentelemetry::global;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::from_env()?; // the variables of OpenTelemetry name the collector
    telemetry.bridge().install_global(); // what the program and its libraries measure leaves by the same way
    let late_orders = global::meter("sales").u64_counter("sales.late_orders").build();
    let ctx = telemetry.session(SessionContext::new());
    let dag = Dag::builder("sales::late_v1")?.loader("orders").transform("late", ["orders"]).build()?;

    let runtime = tokio::runtime::Runtime::new()?; // DataFusion is async
    let run = telemetry.start_run(&dag, RunOptions::new());
    let orders =
        "CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000)";
    runtime.block_on(run.node("orders", async |_| ctx.sql(orders).await?.collect().await))?;
    let late = "SELECT id FROM orders WHERE slack < 2";
    let rows = runtime.block_on(run.node("late", async |_| ctx.sql(late).await?.count().await))?;
    late_orders.add(rows as u64, &[]);

    let report = run.finish_blocking(); // as long as the flush may take, and no longer
    println!("{rows} late orders, {:?}", report.status);
    telemetry.shutdown(); // sends what waits
    Ok(())
}
