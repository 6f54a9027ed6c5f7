//! A service with its own subscriber: each request starts a run, several at once, and the service's own spans and logs around and
//! inside the runs belong to the same traces.
//!
//! `cargo run -p daglight-otel-bridge --example service -- FOLDER REQUESTS` writes the signal files of each run into
//! FOLDER/<run id>.

use std::{env, error::Error, fs, io, path::PathBuf, sync::Arc, time::Duration};

use daglight_otel_bridge::{
    Bridge, BridgeConfig, RunScope, SignalFiles, SignalLedgers, WithTraceIds, names::span,
};
use daglight_run_identity::{NodeKind, RunId};
use opentelemetry::trace::FutureExt as _;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

type Failure = Box<dyn Error + Send + Sync>;

const TIMEOUT: Duration = Duration::from_secs(5);

struct Service {
    bridge: Bridge,
    folder: PathBuf,
}

impl Service {
    async fn handle(&self, request: u64) -> Result<SignalLedgers, Failure> {
        let id = RunId::new();
        let folder = self.folder.join(id.to_string());
        fs::create_dir_all(&folder)?;
        let dag_name = "examples::request_v1".try_into()?;
        let scope = RunScope::new(id, dag_name, SignalFiles::in_folder(&folder), &self.folder);
        let signals = self.bridge.open_run(scope);
        let root = signals.root();
        for name in ["orders", "risk"] {
            let node =
                signals.span(span::NODE).parent(&root.context()).node(name).node_kind(NodeKind::Transform);
            let node = node.stage("compile").start();
            compute(request).with_context(node.context()).await;
            node.row_count(request);
            node.end();
        }
        root.end();
        Ok(tokio::task::spawn_blocking(move || signals.finish(TIMEOUT)).await?)
    }
}

/// Code that does not know about runs.
#[tracing::instrument]
async fn compute(request: u64) {
    tokio::task::yield_now().await;
    log::debug!("not on the console");
    tracing::info!("computed");
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder? give it as the first argument")?);
    let requests: u64 =
        arguments.next().ok_or("how many requests? give it as the second argument")?.parse()?;

    let bridge = Bridge::start(BridgeConfig::new("service"));
    let console = fmt::layer().event_format(WithTraceIds::new(fmt::format())).with_writer(io::stderr);
    registry()
        .with(console.with_filter(EnvFilter::new("warn,service=info")))
        .with(bridge.layer_with_filter(EnvFilter::new("info,service=debug")))
        .init();

    let service = Arc::new(Service { bridge, folder });
    let handlers = (0..requests).map(|request| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.handle(request).await }.instrument(info_span!("request", request)))
    });
    for handler in futures::future::join_all(handlers).await {
        handler??.warnings().iter().for_each(|warning| eprintln!("{warning}"));
    }
    let bridge = service.bridge.clone();
    tokio::task::spawn_blocking(move || bridge.shutdown(TIMEOUT)).await?;
    Ok(())
}
