//! A program with Daglight that does many small things at once, with everything on and a hundred heartbeats per second, while its
//! subscriber and its span processor call back into its run and its session. Code that holds a lock while it calls them, or
//! acquires a lock again that it already holds, hangs here.

use std::{
    cell::Cell,
    process::ExitCode,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, anyhow};
use clap::Parser;
use daglight::{
    OnInterrupt, RunWatch,
    otel::ProgramProviders,
    prelude::{Dag, Parquet, Run, RunOptions, Table, Telemetry},
    settings::SettingsLoader,
};
use datafusion::{
    error::DataFusionError,
    execution::SessionStateBuilder,
    prelude::{SessionConfig, SessionContext},
};
use futures::{
    executor::block_on,
    stream::{self, StreamExt as _},
};
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{EnvFilter, Layer, layer, layer::SubscriberExt as _};

/// Nodes of the run, and those of them that run at the same time.
const NODES: usize = 24;
const JOBS: usize = 6;

#[derive(Parser)]
struct Arguments {
    /// How often each node runs
    #[arg(default_value_t = 2)]
    rounds: usize,
}

/// What the program's own code calls back into.
struct Hooks {
    telemetry: Telemetry,
    session: SessionContext,
    run: OnceLock<(RunWatch, Run)>,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Calls of them, so that each does something else.
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// What a program may do where it is called: look at the run, warn, teach, plan a query, make a session.
fn call_back() {
    // What this does is logged and traced as well.
    if IS_CALLING.replace(true) {
        return;
    }
    if let Some(hooks) = HOOKS.get() {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        hooks.telemetry.policy().redactor().learn(&format!("SET s3.password = 'hunter{call}'"));
        if let Some((watch, run)) = hooks.run.get() {
            watch.progress();
            watch.silence();
            run.node_record(&node(call % NODES));
            if call.is_multiple_of(50) {
                run.warn(format!("call {call}"));
            }
        }
        match call % 64 {
            0 => _ = hooks.telemetry.session(SessionStateBuilder::from(hooks.session.state())),
            16 => _ = hooks.telemetry.open_work(),
            32 => block_on(async {
                let _ = hooks
                    .session
                    .sql("SELECT count(*) FROM small WHERE id > 2")
                    .await?
                    .create_physical_plan()
                    .await?;
                Ok::<_, DataFusionError>(())
            })
            .unwrap_or_default(),
            _ => {}
        }
    }
    IS_CALLING.set(false);
}

struct CallsBack;

impl<S: Subscriber> Layer<S> for CallsBack {
    fn on_event(&self, _: &Event<'_>, _: layer::Context<'_, S>) {
        call_back();
    }
}

#[derive(Debug)]
struct SpansCallBack;

impl SpanProcessor for SpansCallBack {
    fn on_start(&self, _: &mut Span, _: &Context) {
        call_back();
    }

    fn on_end(&self, _: SpanData) {
        call_back();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn node(number: usize) -> String {
    format!("n{number:02}")
}

#[tokio::main(worker_threads = 4)]
async fn main() -> Result<ExitCode> {
    let Arguments { rounds } = Arguments::parse();
    let tracers = SdkTracerProvider::builder().with_span_processor(SpansCallBack).build();
    let settings = SettingsLoader::from_process().resolve()?.settings;
    let telemetry = Telemetry::attached_to(ProgramProviders::default().with_tracers(tracers), settings);
    let config = SessionConfig::new().with_target_partitions(4);
    let session = telemetry.session(SessionStateBuilder::new_with_default_features().with_config(config));
    session
        .sql("CREATE TABLE small AS SELECT value AS id FROM generate_series(1, 500)")
        .await?
        .collect()
        .await?;
    let hooks = Hooks { telemetry: telemetry.clone(), session: session.clone(), run: OnceLock::new() };
    HOOKS.set(hooks).map_err(|_| anyhow!("there is one program"))?;
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new("warn,daglight=info"))
        .with(CallsBack)
        .with(telemetry.bridge().layer());
    tracing::subscriber::set_global_default(subscriber)?;

    let first = Dag::builder("stress::many_v1")?.transform(node(0), [] as [&str; 0]);
    let dag = (1..NODES).fold(first, |dag, number| dag.transform(node(number), [] as [&str; 0]));
    let run = telemetry.start_interruptible_run(&dag.build()?, RunOptions::default(), OnInterrupt::new());
    if let Some(hooks) = HOOKS.get() {
        let _ = hooks.run.set((run.watch(), run.clone()));
    }
    let work = async {
        for round in 0..rounds {
            let nodes = stream::iter(0..NODES).map(|number| one(&run, &session, round, number));
            nodes.buffer_unordered(JOBS).collect::<Vec<_>>().await;
        }
    };
    let interrupted = run.until_interrupted(work).await.err();
    let report = run.finish().await;
    Ok(ExitCode::from(interrupted.map_or_else(|| report.exit_code(), |interrupted| interrupted.exit_code())))
}

/// A few queries, with secrets and an error among them, and what they write.
async fn one(run: &Run, session: &SessionContext, round: usize, number: usize) {
    let name = node(number);
    let work = run.node(&name, async |node| {
        let secret = format!("hunter{round}x{number}");
        let sql =
            format!("SELECT id, 'password={secret}' AS password FROM small WHERE id % 7 = {}", number % 7);
        session.sql(&sql).await?.collect().await?;
        let frame = session.sql("SELECT id % 3 AS part, count(*) AS rows FROM small GROUP BY 1").await?;
        node.materialize(session, frame, Table::named(&*format!("t{number}"))).await?;
        let frame = session.sql("SELECT s.id FROM small s JOIN small o ON s.id = o.id + 1").await?;
        let path =
            std::env::temp_dir().join(format!("daglight-stress-{}-{number}.parquet", std::process::id()));
        let written = node.materialize(session, frame, Parquet::to(path.display().to_string())).await;
        let _ = std::fs::remove_file(path);
        written?;
        let fails = format!("SELECT CAST('token={secret}' AS INT) / id FROM small");
        if number.is_multiple_of(5) {
            session.sql(&fails).await?.collect().await?;
        }
        Ok::<_, DataFusionError>(())
    });
    if work.await.is_err() {
        run.recovered(&name);
    }
}
