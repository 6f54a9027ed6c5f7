//! The dashboard for Grafana, `docs/backends/grafana-dashboard.json`, made of the names that the telemetry has.

use daglight_semantic_conventions::{Key, Namespace, key, metric, process_metric, span};
use serde_json::{Value, json};

/// Of Grafana 11 and 12; later ones migrate it when they load it.
const SCHEMA_VERSION: u32 = 41;
/// Columns of the page.
const WIDTH: u32 = 24;
/// What the time range of the page is called in a query, and one step of a graph.
const RANGE: &str = "$__range";
const STEP: &str = "$__interval";
/// A window of a rate that always has samples.
const RATE: &str = "$__rate_interval";

/// The text of the file.
pub(crate) fn json() -> String {
    let mut page = Page::default();
    runs(&mut page);
    progress(&mut page);
    operations(&mut page);
    process(&mut page);
    evidence(&mut page);
    let text = serde_json::to_string_pretty(&dashboard(page.panels)).expect("texts and numbers are JSON");
    format!("{text}\n")
}

fn dashboard(panels: Vec<Value>) -> Value {
    json!({
        "uid": "daglight-runs",
        "title": "Daglight runs",
        "description": "Runs of DataFusion pipelines, by DAG. Made by `cargo xtask codegen`.",
        "tags": ["daglight"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": { "from": "now-24h", "to": "now" },
        "templating": { "list": [
            source_variable("prometheus", "Metrics"),
            source_variable("tempo", "Traces"),
            source_variable("loki", "Logs"),
            dag_variable(),
        ] },
        "panels": panels,
    })
}

fn source_variable(kind: &str, label: &str) -> Value {
    json!({ "name": kind, "label": label, "type": "datasource", "query": kind, "refresh": 1 })
}

fn dag_variable() -> Value {
    // Those that run have the one, those that have ended the other, however short they were.
    let either = format!("{}|{}", exposed(metric::COMPLETED_TASKS), count_of(metric::RUN_DURATION));
    let query = format!("label_values({{__name__=~\"{either}\"}}, {})", dag());
    json!({
        "name": "dag",
        "label": "DAG",
        "type": "query",
        "datasource": source("prometheus"),
        "query": { "query": query, "refId": "dag" },
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": { "text": ["All"], "value": ["$__all"] },
    })
}

fn runs(page: &mut Page) {
    let ended = gained(&of_dag(&count_of(metric::RUN_DURATION)), RANGE);
    let status = label(Key::Status);
    let failed = gained(&of_dag_where(&count_of(metric::RUN_DURATION), &format!("{status}!=\"ok\"")), RANGE);
    let stalls = gained(&of_dag(&total(metric::STALLS)), RANGE);
    let lost = gained(&of_dag(&total(metric::TELEMETRY_LOST)), RANGE);
    // A query that finds nothing shows "no data", and here that is zero.
    let number = |what: &str| format!("sum({what}) or vector(0)");
    page.row("Runs");
    page.add("stat", "Runs that ended", 6, "short", vec![instant(&number(&ended), "")]);
    page.add("stat", "Runs that failed", 6, "short", vec![instant(&number(&failed), "")]).warn_above_zero();
    page.add("stat", "Stalls", 6, "short", vec![instant(&number(&stalls), "")]).warn_above_zero();
    page.add("stat", "Telemetry lost", 6, "short", vec![instant(&number(&lost), "")]).warn_above_zero();
    page.end_line();

    let by_dag = |what: &str| format!("sum by ({}) ({what})", dag());
    let seconds = gained(&of_dag(&sum_of(metric::RUN_DURATION)), RANGE);
    let columns = [
        ("runs", by_dag(&ended)),
        ("failed", by_dag(&failed)),
        ("mean duration", format!("{} / {}", by_dag(&seconds), by_dag(&ended))),
        ("95% within", quantile(metric::RUN_DURATION, &[dag().as_str()], RANGE)),
        ("rows read", by_dag(&gained(&of_dag(&total(metric::QUERY_ROWS_READ)), RANGE))),
        ("rows written", by_dag(&gained(&of_dag(&total(metric::QUERY_ROWS_WRITTEN)), RANGE))),
        ("stalls", by_dag(&stalls)),
        ("telemetry lost", by_dag(&lost)),
    ];
    page.table_by_dag("By DAG", &columns);

    let window = |name: &str| by_dag(&gained(&of_dag(name), STEP));
    let mean = format!(
        "{} / ({} > 0)",
        window(&sum_of(metric::RUN_DURATION)),
        window(&count_of(metric::RUN_DURATION))
    );
    let dag_legend = legend(&[&dag()]);
    page.add("timeseries", "Duration of runs that ended", 12, "s", vec![series(&mean, &dag_legend)]).points();
    let errors = gained(&of_dag(&total(metric::ERRORS)), RANGE);
    let (operation, error) = (label(Key::Operation), prometheus(key::ERROR_TYPE));
    let kinds = format!("sum by ({}, {operation}, {error}) ({errors}) > 0", dag());
    let failures = instant(&kinds, &legend(&[&dag(), &operation, &error]));
    page.add("bargauge", "Failures by operation and kind of error", 12, "short", vec![failures]);
    page.end_line();
}

fn progress(page: &mut Page) {
    page.row("Progress");
    let by_dag = |name: &str, what: &str| {
        series(&format!("sum by ({}) ({})", dag(), of_dag(name)), &format!("{} {what}", legend(&[&dag()])))
    };
    let nodes = vec![
        by_dag(&exposed(metric::ACTIVE_TASKS), "run"),
        by_dag(&exposed(metric::PENDING_TASKS), "wait"),
        by_dag(&exposed(metric::COMPLETED_TASKS), "have ended"),
    ];
    page.add("timeseries", "Nodes", 12, "short", nodes);
    let class = label(Key::StallClass);
    let stalls = format!("sum by ({}, {class}) ({})", dag(), gained(&of_dag(&total(metric::STALLS)), STEP));
    let stalls = vec![series(&format!("{stalls} > 0"), &legend(&[&dag(), &class]))];
    page.add("timeseries", "Stalls that began", 12, "short", stalls).points();
    page.end_line();
    let rate = |name: &str, what: &str| {
        let rate = format!("sum by ({}) (rate({}[{RATE}]))", dag(), of_dag(&total(name)));
        series(&rate, &format!("{} {what}", legend(&[&dag()])))
    };
    let rows = vec![rate(metric::QUERY_ROWS_READ, "read"), rate(metric::QUERY_ROWS_WRITTEN, "written")];
    page.add("timeseries", "Rows", 12, "rowsps", rows);
    let bytes = vec![
        rate(metric::QUERY_BYTES_READ, "read"),
        rate(metric::QUERY_BYTES_WRITTEN, "written"),
        rate(metric::QUERY_BYTES_SPILLED, "spilled"),
    ];
    page.add("timeseries", "Bytes", 12, "Bps", bytes);
    page.end_line();
}

fn operations(page: &mut Page) {
    page.row("Operations");
    for (title, name) in [
        ("Nodes: 95% within", metric::TASK_DURATION),
        ("Planning of queries: 95% within", metric::PLAN_DURATION),
        ("Execution of queries: 95% within", metric::EXECUTE_DURATION),
        ("Queries that write: 95% within", metric::WRITE_DURATION),
    ] {
        let buckets = format!("sum by (le, {}) (rate({}[{RATE}]))", dag(), of_dag(&bucket_of(name)));
        let within = format!("histogram_quantile(0.95, {buckets})");
        page.add("timeseries", title, 6, "s", vec![with_exemplars(series(&within, &legend(&[&dag()])))]);
    }
    page.end_line();
    let operation = label(Key::StorageOperation);
    let rate = |name: &str| format!("sum by ({operation}) (rate({}[{RATE}]))", of_dag(name));
    let requests = rate(&total(metric::STORAGE_REQUESTS));
    let waiting =
        format!("{} / {requests}", rate(&format!("{}_seconds_total", exposed(metric::STORAGE_TIME))));
    let legend = legend(&[&operation]);
    page.add("timeseries", "Requests to object stores", 12, "reqps", vec![series(&requests, &legend)]);
    page.add("timeseries", "Time of a request to an object store", 12, "s", vec![series(&waiting, &legend)]);
    page.end_line();
}

fn process(page: &mut Page) {
    page.row("Processes");
    let by_process = |expression: &str, what: &str| {
        series(
            &format!("sum by (job, instance) ({expression})"),
            &format!("{{{{job}}}} {{{{instance}}}} {what}"),
        )
    };
    let bytes = |name: &str| of_dag(&format!("{name}_bytes"));
    let memory = vec![
        by_process(&bytes(&prometheus(process_metric::MEMORY_USAGE)), "process"),
        by_process(&bytes(&exposed(metric::MEMORY_RESERVED)), "reserved by queries"),
        by_process(&bytes(&exposed(metric::MEMORY_LIMIT)), "may be reserved"),
    ];
    page.add("timeseries", "Memory", 8, "bytes", memory);
    let cpu = of_dag(&format!("{}_seconds_total", prometheus(process_metric::CPU_TIME)));
    let cpu = vec![by_process(&format!("rate({cpu}[{RATE}])"), "")];
    page.add("timeseries", "Processors in use", 8, "short", cpu);
    let (signal, destination) = (label(Key::Signal), label(Key::Destination));
    let lost = gained(&of_dag(&total(metric::TELEMETRY_LOST)), RANGE);
    let lost = format!("sum by (job, {}, {signal}, {destination}) ({lost}) > 0", dag());
    let legend = legend(&["job", dag().as_str(), &signal, &destination]);
    page.add("bargauge", "Telemetry lost", 8, "short", vec![instant(&lost, &legend)]);
    page.end_line();
}

fn evidence(page: &mut Page) {
    page.row("Traces and logs");
    let of_dag = format!("span.{} =~ \"$dag\"", key::HAMILTON_DAG_NAME);
    let namespace = Namespace::default();
    let runs = format!("{{ name = \"{}\" && {of_dag} }}", span::PIPELINE_EXECUTE);
    let slow = format!("{{ span.{} = true && {of_dag} }}", namespace.key(Key::Slow));
    page.add_of("tempo", "table", "Runs", 12, vec![traces(&runs)]);
    page.add_of("tempo", "table", "Spans that took longer than their threshold", 12, vec![traces(&slow)]);
    page.end_line();
    let warnings = format!(
        "{{service_name=~\".+\"}} | {}=~\"$dag\" | {}!=\"\"",
        prometheus(key::HAMILTON_DAG_NAME),
        prometheus(key::WARNING_CODE)
    );
    page.add_of("loki", "logs", "Warnings", WIDTH, vec![json!({ "refId": "A", "expr": warnings })]);
    page.end_line();
}

/// A name as Prometheus has it, without a unit.
fn prometheus(name: &str) -> String {
    name.replace('.', "_")
}

/// A metric of Daglight's own there, without unit and ending.
fn exposed(name: &str) -> String {
    prometheus(&Namespace::default().join(name))
}

/// A counter. Its unit, where that is not in its name, does not show.
fn total(name: &str) -> String {
    format!("{}_total", exposed(name))
}

fn count_of(duration: &str) -> String {
    format!("{}_seconds_count", exposed(duration))
}

fn sum_of(duration: &str) -> String {
    format!("{}_seconds_sum", exposed(duration))
}

fn bucket_of(duration: &str) -> String {
    format!("{}_seconds_bucket", exposed(duration))
}

fn label(key: Key) -> String {
    prometheus(&Namespace::default().key(key))
}

fn dag() -> String {
    prometheus(key::HAMILTON_DAG_NAME)
}

fn of_dag(name: &str) -> String {
    format!("{name}{{{}=~\"$dag\"}}", dag())
}

fn of_dag_where(name: &str, condition: &str) -> String {
    format!("{name}{{{}=~\"$dag\", {condition}}}", dag())
}

/// By how much a counter has grown in a window. `increase` does not count what a series begins with, and most processes of a
/// pipeline are sampled once, at their end. Each process has its own series, so none of them falls.
fn gained(selector: &str, window: &str) -> String {
    let last = format!("last_over_time({selector}[{window}])");
    format!("({last} - ({selector} offset {window} or 0 * {last}))")
}

/// The duration in seconds within which 95 of 100 ended in a window.
fn quantile(duration: &str, by: &[&str], window: &str) -> String {
    let buckets = gained(&of_dag(&bucket_of(duration)), window);
    format!("histogram_quantile(0.95, sum by (le, {}) ({buckets}))", by.join(", "))
}

fn legend(labels: &[&str]) -> String {
    let shown: Vec<String> = labels.iter().map(|label| format!("{{{{{label}}}}}")).collect();
    shown.join(" ")
}

/// One value for each series, at the end of the time range.
fn instant(expression: &str, legend: &str) -> Value {
    json!({ "expr": expression, "legendFormat": legend, "instant": true, "range": false })
}

fn series(expression: &str, legend: &str) -> Value {
    json!({ "expr": expression, "legendFormat": legend, "range": true })
}

/// With a mark for single operations, which leads to their traces.
fn with_exemplars(mut query: Value) -> Value {
    query["exemplar"] = true.into();
    query
}

fn traces(query: &str) -> Value {
    json!({ "queryType": "traceql", "query": query, "limit": 50, "tableType": "traces" })
}

fn source(kind: &str) -> Value {
    json!({ "type": kind, "uid": format!("${{{kind}}}") })
}

/// Panels from left to right, line below line.
#[derive(Default)]
struct Page {
    panels: Vec<Value>,
    x: u32,
    y: u32,
}

impl Page {
    const HEIGHT: u32 = 8;

    fn row(&mut self, title: &str) {
        let place = json!({ "x": 0, "y": self.y, "w": WIDTH, "h": 1 });
        self.push(
            json!({ "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [] }),
        );
        self.y += 1;
    }

    fn add(&mut self, kind: &str, title: &str, width: u32, unit: &str, queries: Vec<Value>) -> Panel<'_> {
        let panel = self.add_of("prometheus", kind, title, width, queries);
        panel.0["fieldConfig"] = json!({ "defaults": { "unit": unit }, "overrides": [] });
        panel
    }

    fn add_of(&mut self, kind: &str, panel: &str, title: &str, width: u32, queries: Vec<Value>) -> Panel<'_> {
        let place = json!({ "x": self.x, "y": self.y, "w": width, "h": Self::HEIGHT });
        self.x += width;
        let targets: Vec<Value> =
            ('A'..).zip(queries).map(|(letter, query)| target(kind, letter, query)).collect();
        self.push(json!({
            "type": panel,
            "title": title,
            "datasource": source(kind),
            "gridPos": place,
            "targets": targets,
        }))
    }

    /// One row for each DAG, with a column for each query.
    fn table_by_dag(&mut self, title: &str, columns: &[(&str, String)]) {
        let queries = columns.iter().map(|(_, expression)| {
            let mut query = instant(expression, "");
            query["format"] = "table".into();
            query
        });
        let queries = queries.collect();
        let titles =
            ('A'..).zip(columns).map(|(letter, (title, _))| (format!("Value #{letter}"), (*title).into()));
        let titles: serde_json::Map<String, Value> = titles.chain([(dag(), "DAG".into())]).collect();
        let panel = self.add("table", title, WIDTH, "short", queries);
        panel.0["transformations"] = json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": { "Time": true }, "renameByName": titles } },
        ]);
        let seconds = |column: &str| json!({ "matcher": { "id": "byName", "options": column }, "properties": [{ "id": "unit", "value": "s" }] });
        panel.0["fieldConfig"]["overrides"] = json!([seconds("mean duration"), seconds("95% within")]);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.x = 0;
        self.y += Self::HEIGHT;
    }

    fn push(&mut self, mut panel: Value) -> Panel<'_> {
        panel["id"] = (self.panels.len() + 1).into();
        self.panels.push(panel);
        Panel(self.panels.last_mut().expect("it was pushed just now"))
    }
}

/// A panel that stands on the page, to be adorned.
struct Panel<'a>(&'a mut Value);

impl Panel<'_> {
    /// Single values, which no line connects.
    fn points(self) {
        self.0["fieldConfig"]["defaults"]["custom"] = json!({ "drawStyle": "points", "pointSize": 8 });
    }

    /// Green at zero, red above.
    fn warn_above_zero(self) {
        let steps = json!([{ "color": "green", "value": null }, { "color": "red", "value": 1 }]);
        self.0["fieldConfig"]["defaults"]["thresholds"] = json!({ "mode": "absolute", "steps": steps });
    }
}

fn target(kind: &str, letter: char, mut query: Value) -> Value {
    query["refId"] = letter.to_string().into();
    query["datasource"] = source(kind);
    query
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use dev_services::{Python, VirtualEnv, Workspace};

    use super::*;

    /// What the classes of Grafana's schema say of a dashboard; nothing, where they hold all of it.
    fn what_grafana_says(dashboard: &str) -> String {
        let workspace = Workspace::locate().unwrap();
        let file = |name: &str| workspace.root().join("tests/python").join(name);
        let python = Python::find().unwrap();
        let environment = VirtualEnv::prepare(&workspace, &python, "grafana", &file("grafana.txt")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dashboard.json");
        fs::write(&path, dashboard).unwrap();
        let mut reader = Command::new(environment.python());
        let output = reader.arg(file("grafana_dashboard.py")).arg(path).output().unwrap();
        String::from_utf8(output.stderr).unwrap().trim().to_owned()
    }

    #[test]
    fn grafana_has_all_of_the_dashboard_in_its_schema() {
        let dashboard = json();
        assert_eq!(what_grafana_says(&dashboard), "");
        let misspelled = dashboard.replacen("\"transformations\"", "\"transformation\"", 1);
        assert!(what_grafana_says(&misspelled).contains("transformation is not in the schema"));
    }

    #[test]
    fn panels_neither_overlap_nor_share_an_id() {
        let dashboard: Value = serde_json::from_str(&json()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut taken = std::collections::HashSet::new();
        for panel in panels {
            let of = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(of("x") + of("w") <= u64::from(WIDTH), "{panel}");
            for x in of("x")..of("x") + of("w") {
                for y in of("y")..of("y") + of("h") {
                    assert!(taken.insert((x, y)), "{panel}");
                }
            }
        }
        let ids: std::collections::HashSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len());
    }
}
