//! A scheduler of Ballista, or an executor, as its own program is: `ballista scheduler OPTIONS`, `ballista executor OPTIONS`. `ballista reporting-executor OPTIONS`
//! is an executor that exports the spans of its tasks.

use std::{env, sync::Arc};

use anyhow::{Context as _, bail};
use ballista_core::object_store::{
    runtime_env_with_s3_support, session_config_with_s3_support, session_state_with_s3_support,
};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::{
    cluster::BallistaCluster, config::SchedulerConfig, scheduler_process::start_server,
};
use clap::Parser as _;
use daglight::{Telemetry, WorkerTelemetry, cluster::ballista::executor as reporting};

/// Those of both programs have no end in a stack of 2 MiB.
const STACK_BYTES: usize = 32 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let kind = env::args().nth(1).context("scheduler or executor?")?;
    let options = env::args().take(1).chain(env::args().skip(2));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build()?;
    tracing_subscriber::fmt().with_ansi(false).init();
    match kind.as_str() {
        "scheduler" => runtime.block_on(scheduler(options)),
        "executor" => runtime.block_on(executor(options, |config| config)),
        "reporting-executor" => {
            let telemetry = Telemetry::from_env()?;
            let listener = Arc::new(WorkerTelemetry::new(&telemetry));
            runtime.block_on(executor(options, |config| reporting(config, listener)))?;
            telemetry.shutdown();
            Ok(())
        }
        other => bail!("there is no {other}"),
    }
}

async fn scheduler(options: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let options = ballista_scheduler::config::Config::parse_from(options);
    let address = format!("{}:{}", options.bind_host, options.bind_port).parse()?;
    let config = SchedulerConfig::try_from(options)?
        .with_override_config_producer(Arc::new(session_config_with_s3_support))
        .with_override_session_builder(Arc::new(session_state_with_s3_support));
    let cluster = BallistaCluster::new_from_config(&config).await?;
    Ok(start_server(cluster, address, Arc::new(config)).await?)
}

async fn executor(
    options: impl Iterator<Item = String>,
    with: impl FnOnce(ExecutorProcessConfig) -> ExecutorProcessConfig,
) -> anyhow::Result<()> {
    let mut config = ExecutorProcessConfig::try_from(ballista_executor::config::Config::parse_from(options))?;
    config.override_config_producer = Some(Arc::new(session_config_with_s3_support));
    config.override_runtime_producer = Some(Arc::new(runtime_env_with_s3_support));
    Ok(start_executor_process(Arc::new(with(config))).await?)
}
