//! The ways of docs/correlation.md from each signal to the others, each followed as a person would.

use std::{fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, Hamilton, Page, attributes, decode_strictly};
use serde_json::{Value, json};

use crate::{
    observed::{TRACE_URL, observed},
    pipelines::SHOP,
};

fn root_of(spans: &[Value]) -> &Value {
    spans.iter().find(|span| span["name"] == "pipeline.execute").expect("a root span")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

fn trace_page() -> String {
    TRACE_URL.replace("{trace_id}", text(&root_of(&observed().spans)["traceId"]))
}

#[test]
fn from_a_trace_to_the_run_page() {
    let observed = observed();
    let hamilton = Hamilton::take();
    let root = attributes(root_of(&observed.spans));
    let run = &root["hamilton.execution_run_id"];
    let address = format!("{}/dashboard/project/{}/runs/{run}", hamilton.url(), observed.project.id);
    assert_eq!(observed.report["links"]["hamilton_run"], address);
    let page = Page::logged_in(hamilton.url());
    page.open(&address);
    page.shows(&[text(&root["daglight.run_id"]), "yearly_sales"]);
}

#[test]
fn from_a_trace_without_the_number_to_the_run_by_its_tag() {
    let observed = observed();
    let root = attributes(root_of(&observed.spans));
    let found: Vec<&Value> = observed
        .runs
        .iter()
        .filter(|run| run["tags"]["run_id"] == root["hamilton.run_id"])
        .map(|run| &run["id"])
        .collect();
    assert_eq!(found, [&root["hamilton.execution_run_id"]]);
}

#[test]
fn from_the_run_page_to_the_trace() {
    let observed = observed();
    let hamilton = Hamilton::take();
    let root = root_of(&observed.spans);
    let page = Page::logged_in(hamilton.url());
    page.open(text(&observed.report["links"]["hamilton_run"]));
    page.shows(&["otel.trace_id", text(&root["spanId"]), "trace_url", "http://127.0.0.1:16686/trace/"]);
    // The page shows tags as texts. What can be clicked stands with each node.
    page.open(&format!("{}/task/yearly_sales", text(&observed.report["links"]["hamilton_run"])));
    page.shows(&[&trace_page()]);
    assert!(page.links().contains(&trace_page()), "{:#?}", page.links());
    page.screenshot("trace-link");
}

#[test]
fn from_the_report_to_the_run_page_and_to_the_trace() {
    let observed = observed();
    let links = [text(&observed.report["links"]["hamilton_run"]).to_owned(), trace_page()];
    assert_eq!(observed.report["links"]["trace"], links[1]);
    let markdown = fs::read_to_string(observed.file("run_diagnostics_report.md")).expect("a text");
    for link in &links {
        assert!(markdown.contains(&format!("<{link}>")), "{link} is not in\n{markdown}");
    }
    let page = Page::new();
    page.open(&format!("file://{}", observed.file("run_diagnostics_report.html").display()));
    page.shows(&[observed.run_id()]);
    for link in &links {
        assert!(page.links().contains(link), "{link} is not among {:#?}", page.links());
    }
}

#[test]
fn from_a_log_record_to_the_trace_and_the_bundle() {
    let observed = observed();
    let root = root_of(&observed.spans);
    let kept = decode_strictly(&observed.file("otel_logs.json"), "logs");
    for log in observed.logs.iter().chain(&kept) {
        let attributes = attributes(log);
        assert_eq!(log["traceId"], root["traceId"], "{log}");
        assert!(observed.bundle().ends_with(text(&attributes["daglight.run_id"])), "{log}");
        let span = observed.spans.iter().find(|span| span["spanId"] == log["spanId"]);
        assert!(span.is_some(), "no span of {log}");
    }
}

#[test]
fn from_a_log_record_to_the_run_page() {
    let checkout = Checkout::new();
    // Long enough that the server has given the run its number before it ends.
    let sql = "SELECT sum(a.value * b.value) FROM generate_series(1, 20000) a, generate_series(1, 2000) b;";
    let pipeline = checkout.pipeline("long.sql", sql);
    let hamilton = Hamilton::take();
    let project = hamilton.project("logs");
    let report = Daglight::run(&checkout, &pipeline).tracked_in(&project).finish().report(0);
    let bundle = checkout.path().join(text(&report["bundle"]));
    let logs = decode_strictly(&bundle.join("otel_logs.json"), "logs");
    let last = attributes(logs.last().expect("a record"));
    let run = &hamilton.runs(&project)[0];
    assert_eq!(last["hamilton.execution_run_id"], run["id"]);
    assert_eq!(
        (&last["hamilton.run_id"], &last["hamilton.dag_name"]),
        (&run["tags"]["run_id"], &json!("long"))
    );
}

#[test]
fn from_a_console_line_to_the_trace() {
    let checkout = Checkout::new();
    // It is said inside a node: the file is not there.
    let sql = SHOP.replace("orders.parquet", "nowhere.parquet");
    let pipeline = checkout.pipeline("shop.sql", &sql);
    // The bundle has its trace whatever is exported.
    for variable in [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        let finished = Daglight::run(&checkout, &pipeline)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("RUST_LOG", "daglight=info")
            .env(variable.0, variable.1)
            .finish();
        let report = finished.report(1);
        let bundle = checkout.path().join(text(&report["bundle"]));
        let manifest = read_json(&bundle.join("manifest.json"));
        let line = finished.stderr.lines().find(|line| line.contains("node failed"));
        let line = line.unwrap_or_else(|| panic!("{variable:?}: {}", finished.stderr));
        let trace_id = text(&manifest["identity"]["trace_id"]);
        assert!(line.contains(&format!("trace_id={trace_id}")), "{variable:?}: {line}");
        let spans = decode_strictly(&bundle.join("otel_traces.json"), "traces");
        let span_id = line.split("span_id=").nth(1).expect("a span").split_whitespace().next();
        let span = spans.iter().find(|span| span["spanId"].as_str() == span_id);
        let span = span.unwrap_or_else(|| panic!("{variable:?}: no span of {line}"));
        assert_eq!((&span["name"], &span["status"]["code"]), (&json!("hamilton.node"), &json!(2)));
    }

    // No trace, and so no ids, where there is no active span.
    let usage = Daglight::new(&checkout, ["status"]).env("RUST_LOG", "debug").finish();
    assert!(!usage.stderr.contains("trace_id="), "{}", usage.stderr);
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn from_a_run_id_to_everything() {
    let observed = observed();
    let manifest =
        observed.checkout.path().join("out/run_bundle").join(observed.run_id()).join("manifest.json");
    let identity = &read_json(&manifest)["identity"];
    let root = root_of(&observed.spans);
    assert_eq!(identity["run_id"], observed.run_id());
    assert_eq!((&identity["trace_id"], &identity["root_span_id"]), (&root["traceId"], &root["spanId"]));
    assert_eq!(identity["execution_run_id"], observed.runs[0]["id"].to_string());
}

#[test]
fn from_a_metric_to_the_run() {
    let observed = observed();
    for metric in decode_strictly(&observed.file("otel_metrics.json"), "metrics") {
        assert_eq!(metric["resource"]["daglight.run_id"], observed.run_id(), "{metric}");
    }
    // Over OTLP a run is not an attribute: the name of the DAG and the time lead to it.
    let metric = observed.metrics.iter().find(|metric| metric["name"] == "daglight.task.duration");
    let point = &metric.expect("the metric")["histogram"]["dataPoints"][0];
    let dag_name = attributes(point)["hamilton.dag_name"].clone();
    let root = root_of(&observed.spans);
    let nanos = |value: &Value| text(value).parse::<u64>().expect("a time");
    assert_eq!(dag_name, attributes(root)["hamilton.dag_name"]);
    assert!(nanos(&point["timeUnixNano"]) >= nanos(&root["startTimeUnixNano"]));
}

#[test]
fn a_scheduler_that_started_the_run_is_its_parent() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", SHOP);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let report = Daglight::run(&checkout, &pipeline).env("TRACEPARENT", parent).finish().report(0);
    let bundle = checkout.path().join(text(&report["bundle"]));
    let spans = decode_strictly(&bundle.join("otel_traces.json"), "traces");
    let root = root_of(&spans);
    assert_eq!(
        (&root["traceId"], &root["parentSpanId"]),
        (&json!("0af7651916cd43dd8448eb211c80319c"), &json!("b7ad6b7169203331"))
    );
    assert_eq!(read_json(&bundle.join("manifest.json"))["identity"]["trace_id"], root["traceId"]);
}
