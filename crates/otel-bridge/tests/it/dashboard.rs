//! The dashboard for Grafana, and the queries of the documentation, beside what a process really exposes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use daglight_capture_policy::{Policy, Profile};
use daglight_otel_bridge::{
    BeatMeasures,
    names::{Key, event, span},
};
use daglight_run_identity::NodeKind;
use promql_parser::{
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde_json::Value;

use crate::{
    backends::{document, queries_of_dashboard, queries_of_page},
    scraping::scrape,
    support::{TIMEOUT, TestRun, bridge},
};

/// What Prometheus itself adds to each series.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

#[test]
fn every_query_finds_what_a_process_exposes() {
    let exposed = exposed();
    let (of_dashboard, of_page) = (queries(), queries_of_page("promql"));
    assert!(of_dashboard.len() > 30 && of_page.len() > 4, "{of_dashboard:#?} {of_page:#?}");
    for query in of_dashboard.iter().chain(&of_page) {
        let used = Used::by(query);
        assert!(!used.series.is_empty(), "{query} selects nothing");
        for (name, labels) in used.series {
            let known = exposed.get(&name).unwrap_or_else(|| panic!("{query}: no process exposes {name}"));
            let known = |label: &String| known.contains(label) || OF_PROMETHEUS.contains(&label.as_str());
            let unknown: Vec<_> = labels.iter().filter(|label| !known(label)).collect();
            assert_eq!(unknown, Vec::<&String>::new(), "{query}: {name} has no such label");
        }
        for label in used.grouped_by {
            let known = OF_PROMETHEUS.contains(&label.as_str())
                || exposed.values().any(|labels| labels.contains(&label));
            assert!(known, "{query}: nothing has the label {label}");
        }
    }
}

#[test]
fn a_query_that_prometheus_does_not_read_is_refused() {
    assert!(parser::parse("sum by (a (b)").is_err() && parser::parse("rate(a)").is_err());
}

/// The labels of each series that a process exposes in which everything happened once.
fn exposed() -> BTreeMap<String, BTreeSet<String>> {
    let bridge = bridge([
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
        // Where nobody listens: what is lost is a metric, too.
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
    ]);
    let run = TestRun::open(&bridge, "sales::orders_v1");
    record_everything(&run);
    assert!(run.finish().traces.otlp.is_some_and(|otlp| !otlp.is_complete()));
    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in scrape(&bridge).lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('{').expect("each of our series has labels");
        exposed.entry(name.to_owned()).or_default().extend(label_names(labels));
    }
    exposed
}

fn record_everything(run: &TestRun) {
    let policy = Policy::of_profile(Profile::Dev);
    let root = run.signals.root();
    let node =
        run.signals.span(span::NODE).node("risk").node_kind(NodeKind::Transform).stage("compile").start();
    for name in [span::PLAN, span::EXECUTE, span::WRITE, span::STAGE] {
        let span = run.signals.span(name).parent(&node.context()).stage("write").start();
        span.row_count(7);
        span.column_count(2);
        span.bytes(1_024);
        span.end();
    }
    node.fail("no_rows", &policy.capture("nothing to write"));
    node.end();
    root.event(event::STALL, [(Key::StallClass.into(), "source".into())]);
    run.signals.metrics().artifact("parquet");
    run.signals.metrics().storage("get", 1, 10, Duration::from_millis(3));
    run.signals.metrics().beat(&BeatMeasures {
        pending_tasks: 1,
        completed_tasks: 1,
        io_bytes_read: 1,
        io_bytes_written: 1,
        rows_read: 1,
        rows_written: 1,
        bytes_read: 1,
        bytes_written: 1,
        bytes_spilled: 1,
        memory_reserved: Some(1),
        memory_limit: Some(1),
        runtime_workers: Some(1),
        runtime_busy_workers: Some(1),
        runtime_queue_depth: Some(1),
        cpu_seconds: 1.0,
        resident_bytes: Some(1),
        threads: Some(1),
        open_files: Some(1),
    });
    root.end();
    assert!(run.signals.flush_files(TIMEOUT));
}

/// The names of labels, of which no value has a quote.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    labels.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next()).map(str::to_owned)
}

/// Every expression of PromQL in the file, with a value for each variable of Grafana.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&document("backends/grafana-dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let values_of =
        variables.iter().filter_map(|variable| variable["query"]["query"].as_str()).map(|query| {
            // `label_values` is Grafana's and no function of PromQL: the series, and the label whose values are wanted.
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (series, label) = inner.rsplit_once(", ").unwrap();
            format!("group by ({label}) ({series})")
        });
    let values = ["$__rate_interval", "$__interval", "$__range"];
    let with_values =
        |query: String| values.iter().fold(query, |query, variable| query.replace(variable, "5m"));
    queries_of_dashboard("prometheus", "expr").into_iter().chain(values_of).map(with_values).collect()
}

/// What an expression refers to.
#[derive(Default)]
struct Used {
    /// The name of each series that is selected, with the labels by which it is.
    series: Vec<(String, Vec<String>)>,
    grouped_by: Vec<String>,
}

impl Used {
    #[track_caller]
    fn by(query: &str) -> Self {
        let expression = parser::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let mut used = Self::default();
        walk_expr(&mut used, &expression).unwrap();
        used
    }

    fn select(&mut self, selector: &VectorSelector) {
        let matchers = &selector.matchers.matchers;
        let by_name = matchers.iter().filter(|matcher| matcher.name == "__name__");
        let names = by_name.flat_map(|matcher| matcher.value.split('|')).map(str::to_owned);
        let labels: Vec<String> =
            matchers.iter().map(|matcher| matcher.name.clone()).filter(|label| label != "__name__").collect();
        self.series.extend(selector.name.clone().into_iter().chain(names).map(|name| (name, labels.clone())));
    }
}

impl ExprVisitor for Used {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs),
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    self.grouped_by.extend(labels.labels.iter().cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}
