//! An executor of Ballista: the tasks of observed queries are spans in the traces of their clients, with their operators. It exports
//! them as the `OTEL_*` variables say.

use std::sync::Arc;

use daglight::{
    Telemetry, WorkerTelemetry,
    cluster::ballista::{ExecutorProcessConfig, executor, start_executor_process},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::from_env()?;
    let config = ExecutorProcessConfig {
        bind_host: "0.0.0.0".to_owned(),
        external_host: Some("10.0.0.6".to_owned()),
        scheduler_host: "10.0.0.5".to_owned(),
        ..ExecutorProcessConfig::default()
    };
    let config = executor(config, Arc::new(WorkerTelemetry::new(&telemetry)));
    start_executor_process(Arc::new(config)).await?; // until ctrl-c or SIGTERM
    telemetry.shutdown(); // sends what waits
    Ok(())
}
