//! A plain program without a runtime or its own subscriber: one run with a node that works and one that fails.
//!
//! `cargo run -p daglight-otel-bridge --example plain -- FOLDER` writes the signal files into FOLDER; with
//! `OTEL_EXPORTER_OTLP_ENDPOINT` set, the same signals go there too.

use std::{env, error::Error, fs, io, path::PathBuf, time::Duration};

use daglight_capture_policy::{Policy, Profile};
use daglight_otel_bridge::{
    BeatMeasures, Bridge, BridgeConfig, RunScope, SignalFiles, WithTraceIds,
    names::{Key, span},
};
use daglight_run_identity::{NodeKind, RunId};
use serde_json::json;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args().nth(1).ok_or("which folder? give it as the argument")?);
    fs::create_dir_all(&folder)?;
    let bridge = Bridge::start(BridgeConfig::new("plain"));
    let console = fmt::layer().event_format(WithTraceIds::new(fmt::format())).with_writer(io::stderr);
    let console = console.with_filter(EnvFilter::new("info,opentelemetry_sdk=warn"));
    registry().with(bridge.layer()).with(console).init();
    for warning in bridge.warnings() {
        tracing::warn!("{warning}");
    }

    let policy = Policy::of_profile(Profile::Dev);
    let files = SignalFiles::in_folder(&folder);
    let mut scope = RunScope::new(RunId::new(), "examples::plain_v1".try_into()?, files, &folder);
    scope.parent = bridge.parent_from_environment();
    let signals = bridge.open_run(scope);
    let root = signals.root();

    let orders =
        signals.span(span::NODE).node("orders").node_kind(NodeKind::DataLoader).stage("extract").start();
    {
        let _inside = orders.context().attach();
        tracing::info!(rows = 3, share = f64::NAN, "orders are here");
    }
    orders.row_count(3);
    orders.set(Key::SourceTables, policy.capture(json!(["orders"])));
    orders.set("db.query.text", policy.capture("SELECT * FROM orders"));
    orders.set(Key::Bytes, u64::MAX);
    signals.metrics().artifact("table");
    signals.metrics().beat(&BeatMeasures { io_bytes_read: 1_024, ..BeatMeasures::default() });
    orders.end();

    let risk = signals.span(span::NODE).node("risk").node_kind(NodeKind::Transform).stage("compile").start();
    risk.fail("SchemaError", &policy.capture("no field named amount"));
    risk.end();
    root.end();

    let ledgers = signals.finish(Duration::from_secs(5));
    println!("{}", serde_json::to_string(&ledgers)?);
    bridge.shutdown(Duration::from_secs(5));
    Ok(())
}
