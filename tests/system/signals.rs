//! What arrives at an OTLP receiver.

use std::collections::{BTreeMap, BTreeSet};

use daglight_system_tests::{Checkout, Daglight, OtlpReceiver, attributes};
use serde_json::{Value, json};

use crate::{
    observed::observed,
    pipelines::{SHOP, SHOP_NODES, SHOP_QUERIES},
};

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

#[track_caller]
fn the_root(spans: &[Value]) -> &Value {
    let [root] = named(spans, "pipeline.execute")[..] else { panic!("not one root span: {spans:#?}") };
    assert!(root["parentSpanId"].as_str().unwrap_or_default().is_empty(), "{root}");
    root
}

#[test]
fn the_root_span_and_one_span_per_node_carry_the_ids_of_the_run() {
    let observed = observed();
    let root = the_root(&observed.spans);
    let nodes: BTreeMap<String, &Value> = named(&observed.spans, "hamilton.node")
        .into_iter()
        .map(|span| (attributes(span)["daglight.node"].as_str().expect("a name").to_owned(), span))
        .collect();
    assert_eq!(nodes.keys().map(String::as_str).collect::<Vec<_>>(), SHOP_NODES.map(|(name, ..)| name));
    for span in nodes.into_values().chain([root]) {
        assert_eq!(span["traceId"], root["traceId"]);
        let attributes = attributes(span);
        for (key, value) in [
            ("daglight.run_id", observed.run_id()),
            ("hamilton.run_id", observed.run_id()),
            ("hamilton.dag_name", "shop::review_v1"),
        ] {
            assert_eq!(attributes.get(key), Some(&json!(value)), "{key} of {span}");
        }
        assert!(attributes.contains_key("daglight.stage") || span == root, "{span}");
    }
    assert_eq!(attributes(root)["hamilton.execution_run_id"], observed.runs[0]["id"]);
}

#[test]
fn a_query_has_its_spans_below_the_node() {
    let observed = observed();
    let nodes: BTreeMap<&str, String> = named(&observed.spans, "hamilton.node")
        .into_iter()
        .map(|span| {
            (
                span["spanId"].as_str().expect("an id"),
                attributes(span)["daglight.node"].as_str().expect("a name").to_owned(),
            )
        })
        .collect();
    let parents: BTreeMap<&str, &str> = observed
        .spans
        .iter()
        .map(|span| {
            (span["spanId"].as_str().expect("an id"), span["parentSpanId"].as_str().unwrap_or_default())
        })
        .collect();
    let node_of = |span: &Value| {
        let mut id = span["spanId"].as_str().expect("an id");
        while !nodes.contains_key(id) {
            id = parents.get(id).unwrap_or_else(|| panic!("no node above {span}"));
        }
        nodes[id].clone()
    };
    let check = |name: &str, expected: &[&str]| {
        let mut above: Vec<String> = named(&observed.spans, name).into_iter().map(node_of).collect();
        above.sort_unstable();
        assert_eq!(above, expected, "{name}");
    };
    check("datafusion.plan", &SHOP_QUERIES);
    check("datafusion.execute", &["best_year", "yearly_sales"]);
    check("datafusion.write", &["yearly_file"]);
}

#[test]
fn logs_carry_the_ids_of_the_trace() {
    let observed = observed();
    let trace = &the_root(&observed.spans)["traceId"];
    assert!(observed.logs.iter().any(|log| log["traceId"] == *trace), "{:#?}", observed.logs);
    for log in &observed.logs {
        assert_eq!(attributes(log)["daglight.run_id"], observed.run_id(), "{log}");
        assert_ne!(log["timeUnixNano"], "0", "{log}");
    }
}

#[test]
fn records_of_the_engine_arrive_and_those_of_exporting_do_not() {
    for protocol in ["grpc", "http/protobuf"] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("shop.sql", SHOP);
        let receiver = OtlpReceiver::start();
        let command = Daglight::run(&checkout, &pipeline).observed_by(&receiver, protocol);
        let report = command.env("RUST_LOG", "debug").finish().report(0);
        let logs = receiver.values("logs");
        let scopes: BTreeSet<&str> = logs.iter().filter_map(|log| log["scope"]["name"].as_str()).collect();
        assert!(scopes.iter().any(|scope| scope.starts_with("datafusion")), "{scopes:?}");
        let exporting = ["hyper", "h2", "tonic", "tower", "reqwest", "rustls", "opentelemetry"];
        assert!(
            !scopes.iter().any(|scope| exporting.iter().any(|name| scope.starts_with(name))),
            "{scopes:?}"
        );
        let of_engine = logs.iter().filter(|log| {
            log["scope"]["name"].as_str().is_some_and(|scope| scope.starts_with("datafusion"))
                && log["attributes"]["daglight.run_id"] == json!({"string": report["run_id"]})
        });
        assert!(of_engine.count() > 0, "{scopes:?}");
    }
}

#[test]
fn metrics_arrive_by_pipeline_and_not_by_run() {
    let observed = observed();
    let names: Vec<&str> = observed.metrics.iter().filter_map(|metric| metric["name"].as_str()).collect();
    for name in [
        "daglight.task.duration",
        "daglight.plan.duration",
        "daglight.execute.duration",
        "daglight.rows",
        "daglight.columns",
        "daglight.bytes",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let tasks = observed
        .metrics
        .iter()
        .find(|metric| metric["name"] == "daglight.task.duration")
        .expect("the metric");
    for point in tasks["histogram"]["dataPoints"].as_array().expect("a list") {
        let attributes = attributes(point);
        assert_eq!(attributes["hamilton.dag_name"], "shop::review_v1");
        assert!(!attributes.contains_key("daglight.run_id"), "a series for each run: {point}");
    }
}

#[test]
fn signals_arrive_over_http_too() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let receiver = OtlpReceiver::start();
    let report =
        Daglight::run(&checkout, &pipeline).observed_by(&receiver, "http/protobuf").finish().report(0);
    let spans = receiver.spans();
    assert_eq!(attributes(the_root(&spans))["daglight.run_id"], report["run_id"]);
    assert_eq!(named(&spans, "hamilton.node").len(), SHOP_NODES.len());
    assert!(!receiver.metrics().is_empty());
    assert!(!receiver.logs().is_empty());
    for account in report["ledger"]["signals"].as_array().expect("a list") {
        assert_eq!(account["produced"], account["delivered"], "{account}");
    }
}

#[test]
fn a_bad_header_and_a_bad_certificate_are_one_warning_each() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let certificate = checkout.path().join("ca.pem");
    std::fs::write(&certificate, "not a certificate").expect("a file");
    let certificate = certificate.to_str().expect("a path of text");
    let header = ("OTEL_EXPORTER_OTLP_HEADERS", "two words=hunter2", "two words");
    let authority = ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate, "certificate");
    for (protocol, bad) in [
        ("grpc", &[header][..]),
        ("http/protobuf", &[header]),
        ("grpc", &[authority]),
        ("http/protobuf", &[authority]),
        ("http/protobuf", &[header, authority]),
    ] {
        let mut run = Daglight::run(&checkout, &pipeline)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("DAGLIGHT_SHUTDOWN_SECONDS", "1");
        for (name, value, _) in bad {
            run = run.env(name, value);
        }
        let finished = run.finish();
        let report = finished.report(0);
        let warnings = report["warnings"].as_array().expect("a list").iter();
        let warnings: Vec<&str> = warnings.filter_map(|warning| warning["message"].as_str()).collect();
        // Without a certificate there is no exporter, and its headers do not matter.
        let (_, _, expected) = bad[bad.len() - 1];
        assert_eq!(warnings.len(), 1, "{protocol} {bad:?}: {warnings:#?}");
        assert!(warnings[0].contains(expected), "{protocol} {bad:?}: {warnings:#?}");
        assert_eq!(finished.stderr.matches(expected).count(), 1, "{protocol} {bad:?}: {}", finished.stderr);
        assert!(!format!("{finished:?}").contains("hunter2"), "{finished:?}");
    }
}
