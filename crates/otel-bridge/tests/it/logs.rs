//! What a program says through `tracing` and `log`, and where it arrives.

use std::{
    io,
    sync::{Arc, Mutex},
};

use daglight_otel_bridge::{WithTraceIds, names::span};
use serde_json::json;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use crate::support::{TestRun, attribute, bridge, find, one_subscriber_at_a_time};

#[test]
fn no_record_and_no_span_is_lost_to_a_level_question() {
    let _one = one_subscriber_at_a_time();
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let filter = || EnvFilter::new("info,app=debug");
    let console = fmt::layer().with_writer(io::sink).with_filter(filter());
    let guard = registry().with(bridge.layer_with_filter(filter())).with(console).set_default();
    {
        let _attached = run.signals.context().attach();
        for n in 0..1_000 {
            let _ = log::log_enabled!(target: "datafusion_optimizer::optimizer", log::Level::Debug);
            let span = tracing::info_span!("step", n);
            let _entered = span.enter();
            let _ = log::log_enabled!(target: "datafusion_optimizer::optimizer", log::Level::Debug);
            tracing::info!(n, "stepped");
        }
    }
    drop(guard);
    let ledgers = run.finish();
    assert_eq!((ledgers.logs.bundle.delivered, ledgers.traces.bundle.delivered), (1_000, 1_000));
    assert_eq!(run.logs().len(), 1_000);
}

#[test]
fn records_carry_the_ids_of_their_span_and_run() {
    let _one = one_subscriber_at_a_time();
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let guard = registry().with(bridge.layer()).set_default();
    tracing::info!("of no run");
    let node = run.signals.span(span::NODE).start();
    {
        let _attached = node.context().attach();
        tracing::warn!(rows = 3, api_key = "abc", "careful: password=hunter2");
        log::info!(target: "parquet::arrow", "from log");
        tracing::info!(name: "run.finished", "named");
        tracing::info!(target: "hyper::client", "said by an exporter");
        tracing::debug!("below the level");
        let user = tracing::info_span!("user", token = "abc");
        user.in_scope(|| tracing::error!("inside"));
    }
    node.end();
    drop(guard);
    run.finish();

    let logs = run.logs();
    let bodies: Vec<_> = logs.iter().map(|log| log["body"]["stringValue"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["careful: password=[redacted]", "from log", "named", "inside"]);
    let spans = run.spans();
    let (node, user) = (find(&spans, span::NODE), find(&spans, "user"));
    assert_eq!(attribute(user, "token"), Some(&json!("[redacted]")));
    assert_eq!(user["parentSpanId"], node["spanId"]);
    assert_eq!(user["events"], json!([]));
    let expected = [&node, &node, &node, &user];
    for (log, span) in logs.iter().zip(expected) {
        assert_eq!((&log["traceId"], &log["spanId"]), (&span["traceId"], &span["spanId"]));
        assert_eq!(attribute(log, "hamilton.run_id"), Some(&json!(run.id.to_string())));
        assert_ne!(log["timeUnixNano"], "0");
    }
    assert_eq!(attribute(&logs[0], "rows"), Some(&json!("3")));
    assert_eq!(attribute(&logs[0], "api_key"), Some(&json!("[redacted]")));
    assert_eq!((&logs[0]["severityText"], &logs[0]["eventName"]), (&json!("WARN"), &json!("")));
    assert_eq!(logs[2]["eventName"], "run.finished");
    let scopes = run.lines("otel_logs.json").to_vec();
    assert!(scopes.iter().any(|line| line.to_string().contains(r#""name":"parquet::arrow""#)), "{scopes:?}");
}

#[test]
fn console_lines_carry_ids_while_a_span_is_active() {
    let _one = one_subscriber_at_a_time();
    let bridge = bridge([]);
    let run = TestRun::open(&bridge, "t");
    let written = Written::default();
    let format = WithTraceIds::new(fmt::format().without_time().with_level(false).with_target(false));
    let writer = written.clone();
    let console = fmt::layer().event_format(format).with_ansi(false).with_writer(move || writer.clone());
    let guard = registry().with(bridge.layer()).with(console).set_default();
    tracing::info!("outside");
    let node = run.signals.span(span::NODE).start();
    {
        let _attached = node.context().attach();
        tracing::info!("inside");
    }
    drop(guard);
    let expected = format!("outside\ntrace_id={} span_id={} inside\n", node.trace_id(), node.span_id());
    assert_eq!(written.text(), expected);
    node.end();
    run.finish();
}

/// What a console shows.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
