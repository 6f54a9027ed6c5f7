//! The rows from the files of a bundle, for each table.

use std::{collections::BTreeSet, error::Error, io, path::Path};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use daglight_guarded_files::FileBelow;
use daglight_run_bundle::{
    ArtifactCatalog, Bundle, Manifest, NodeStatus, NodeSummary, PlanBundle, PlanOperator, RunState,
    SignalFiles, milliseconds, outbox::OutboxStatus, read_lines, saturating_sum,
};
use daglight_semantic_conventions::Key;
use serde_json::{Value, json};

use crate::{
    otlp_values::{attributes, nanoseconds, plain},
    sink::RowSink,
};

/// The maximum size of a report, 256 MiB: Daglight does not write larger ones.
const MAX_REPORT_BYTES: u64 = 256 << 20;

pub(crate) fn run(manifest: &Manifest, bundle: &Bundle, to: &mut RowSink<'_>) {
    let identity = &manifest.identity;
    to.row(json!({
        "status": bundle.state(manifest),
        "started_at": time(manifest.started_at),
        "ended_at": manifest.ended_at.map(time),
        "duration_ms": manifest.ended_at.map(|ended| milliseconds::between(manifest.started_at, ended)),
        "error": manifest.error,
        "nodes": manifest.nodes.len(),
        "profile": manifest.profile,
        "daglight_version": manifest.daglight_version,
        "dag_hash": identity.dag_hash,
        "code_hash": identity.code_hash,
        "trace_id": identity.trace_id,
        "execution_run_id": identity.execution_run_id,
        "project_id": identity.project_id,
        "tags": as_text(&json!(identity.tags)),
        "own_time_ms": manifest.own_time.as_ref().map(|own| own.parts().map(|(_, ms)| ms).sum::<f64>()),
        "bundle": bundle.shown(bundle.dir()).to_string_lossy(),
    }));
}

/// A run whose manifest cannot be read, as far as the rest of its bundle says how it went.
pub(crate) fn run_without_manifest(bundle: &Bundle, outbox: Option<&OutboxStatus>, to: &mut RowSink<'_>) {
    let started = outbox.and_then(|outbox| outbox.started);
    let started = started.or_else(|| bundle.recorded_run().map(|run| run.created_at()));
    let ended = outbox.and_then(|outbox| outbox.ended);
    to.row(json!({
        "status": bundle.state_by_outbox(outbox),
        "started_at": started.map(time),
        "ended_at": ended.map(time),
        "duration_ms": started.zip(ended).map(|(started, ended)| milliseconds::between(started, ended)),
        "bundle": bundle.shown(bundle.dir()).to_string_lossy(),
    }));
}

pub(crate) fn nodes(manifest: &Manifest, bundle: &Bundle, to: &mut RowSink<'_>) {
    let goes_on = bundle.state(manifest) == RunState::Running;
    for node in &manifest.nodes {
        let is_running = goes_on && node.status == NodeStatus::Unfinished;
        to.row(json!({
            "node": node.name,
            "kind": node.kind,
            "status": if is_running { NodeStatus::Running } else { node.status },
            "started_at": node.started_at.map(time),
            "duration_ms": node.duration_ms,
            "rows": node.rows,
            "bytes": node.bytes,
            "error": node.error,
            "attempts": node.attempts,
            "dependencies": as_text(&json!(node.dependencies)),
        }));
    }
}

pub(crate) fn queries(bundle: &Bundle, to: &mut RowSink<'_>) {
    plans(bundle, to, |file, plan, to| {
        let (metrics, planning) = (&plan.metrics, plan.planning.as_ref());
        let rows_read = metrics.rows_read();
        // Without it, nothing was measured: the process was killed before the first beat of its heart, or the query was never executed.
        let wall_ms = (metrics.wall_ms > 0.0).then_some(metrics.wall_ms);
        let spilled = metrics.operators.iter().filter_map(|operator| operator.spilled_bytes);
        to.row(json!({
            "node": plan.node,
            "plan_hash": plan.plan_hash,
            "logical_hash": plan.logical_hash,
            "operation": plan.operation,
            "outcome": plan.outcome,
            "sql": plan.sql,
            "source_tables": as_text(&json!(plan.source_tables)),
            "executions": plan.executions.as_ref().map_or(1, |all| all.started),
            "started_at": since_epoch(metrics.started_at_ms),
            "wall_ms": wall_ms,
            "total_wall_ms": plan.executions.as_ref().map(|all| all.wall_ms).filter(|ms| *ms > 0.0).or(wall_ms),
            "planning_ms": metrics.planning_ms,
            "analysis_ms": planning.map(|planning| planning.analysis_ms),
            "optimization_ms": planning.map(|planning| planning.optimization_ms),
            "physical_planning_ms": planning.map(|planning| planning.physical_ms),
            "rows": metrics.rows,
            "rows_read": rows_read.all_counted.then_some(rows_read.counted),
            "bytes_scanned": metrics.bytes_scanned,
            "bytes_written": metrics.bytes_written,
            "bytes_spilled": wall_ms.map(|_| saturating_sum(spilled)),
            "plan_file": file,
        }));
    });
}

pub(crate) fn operators(bundle: &Bundle, to: &mut RowSink<'_>) {
    plans(bundle, to, |_, plan, to| {
        for operator in &plan.metrics.operators {
            to.row(operator_row(&plan, operator));
        }
    });
}

fn operator_row(plan: &PlanBundle, operator: &PlanOperator) -> Value {
    json!({
        "node": plan.node,
        "plan_hash": plan.plan_hash,
        "operator_id": operator.id,
        "parent_id": operator.parent,
        "operator": operator.name,
        "detail": operator.detail,
        "table_name": operator.table,
        "estimated_rows": operator.estimated_rows,
        "rows": operator.output_rows,
        "output_bytes": operator.output_bytes,
        "compute_ms": operator.computed_ms(),
        "start_ms": operator.start_ms,
        "end_ms": operator.end_ms,
        "partitions": operator.partitions,
        "memory_bytes": operator.memory_bytes,
        "spilled_bytes": operator.spilled_bytes,
        "metrics": as_text(&json!(operator.metrics)),
    })
}

fn plans(bundle: &Bundle, to: &mut RowSink<'_>, mut row: impl FnMut(String, PlanBundle, &mut RowSink<'_>)) {
    let folder = bundle.plans_dir();
    let unreadable = PlanBundle::read_all(bundle, |file, plan| {
        let folder = folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        row(format!("{folder}/{file}"), plan, to);
    });
    for (path, problem) in unreadable.problems() {
        to.damaged(&bundle.dir().join(path), problem);
    }
}

/// The spans that have ended, and for a running or killed run also the open ones.
pub(crate) fn spans(bundle: &Bundle, manifest: Option<&Manifest>, to: &mut RowSink<'_>) {
    let key = |key: Key| key_of(manifest, key);
    let own = OwnRun::of(bundle, manifest);
    let (stage, node) = (key(Key::Stage), key(Key::Node));
    let open_file = SignalFiles::in_folder(bundle.dir()).open_spans();
    let levels = ["resourceSpans", "scopeSpans", "spans"];
    // A span stays in that file until it is rewritten, even if it has ended since.
    let mut open = BTreeSet::new();
    records(&open_file, levels, &own, to, |span, _| _ = open.insert(span["spanId"].to_string()));
    let ended = &mut BTreeSet::new();
    for file in [bundle.traces(), open_file] {
        let is_open_file = file != bundle.traces();
        records(&file, levels, &own, to, |span, to| {
            let id = span["spanId"].to_string();
            if is_open_file && ended.contains(&id) {
                return;
            }
            if open.contains(&id) {
                ended.insert(id);
            }
            let attributes = attributes(span);
            let (start, end) =
                (nanoseconds(&span["startTimeUnixNano"]), nanoseconds(&span["endTimeUnixNano"]));
            to.row(json!({
                "trace_id": text(&span["traceId"]),
                "span_id": text(&span["spanId"]),
                "parent_span_id": text(&span["parentSpanId"]),
                "name": text(&span["name"]),
                "stage": attributes.get(&stage).and_then(Value::as_str),
                "node": attributes.get(&node).and_then(Value::as_str),
                "started_at": start.map(moment),
                "ended_at": end.map(moment),
                "duration_ms": start.zip(end).map(|(start, end)| end.saturating_sub(start) as f64 / 1e6),
                "is_error": is_error(&span["status"]["code"]),
                "message": text(&span["status"]["message"]),
                "events": span["events"].as_array().filter(|events| !events.is_empty()).map(|events| of_events(events)),
                "attributes": Value::Object(attributes).to_string(),
            }));
        });
    }
}

fn of_events(events: &[Value]) -> String {
    let event = |event: &Value| {
        let at = nanoseconds(&event["timeUnixNano"]).map(moment);
        json!({ "name": event["name"], "at": at, "attributes": attributes(event) })
    };
    events.iter().map(event).collect::<Value>().to_string()
}

/// 2, or its name; protobuf's JSON mapping allows both.
fn is_error(code: &Value) -> bool {
    code.as_u64() == Some(2) || code.as_str() == Some("STATUS_CODE_ERROR")
}

pub(crate) fn logs(bundle: &Bundle, manifest: Option<&Manifest>, to: &mut RowSink<'_>) {
    let own = OwnRun::of(bundle, manifest);
    records(&bundle.logs(), ["resourceLogs", "scopeLogs", "logRecords"], &own, to, |record, to| {
        let at =
            nanoseconds(&record["timeUnixNano"]).or_else(|| nanoseconds(&record["observedTimeUnixNano"]));
        to.row(json!({
            "at": at.map(moment),
            "severity_number": record["severityNumber"].as_u64(),
            "severity": text(&record["severityText"]),
            "body": as_text(&plain(&record["body"])),
            "trace_id": text(&record["traceId"]),
            "span_id": text(&record["spanId"]),
            "attributes": Value::Object(attributes(record)).to_string(),
        }));
    });
}

fn key_of(manifest: Option<&Manifest>, key: Key) -> String {
    let namespace = manifest.map_or("daglight", |manifest| manifest.namespace.as_str());
    format!("{namespace}.{}", key.suffix())
}

/// The run of a bundle, and the resource attribute with its id: the file may contain later lines of another run.
struct OwnRun {
    run: Option<String>,
    key: String,
}

impl OwnRun {
    fn of(bundle: &Bundle, manifest: Option<&Manifest>) -> Self {
        let run = manifest.map(|manifest| manifest.identity.run_id).or_else(|| bundle.run_id());
        Self { run: run.map(|run| run.to_string()), key: key_of(manifest, Key::RunId) }
    }

    fn check(&self, resources: &Value) -> serde_json::Result<()> {
        let Some(own) = &self.run else { return Ok(()) };
        let runs = resources.as_array().into_iter().flatten();
        let mut runs =
            runs.filter_map(|resource| Some(attributes(&resource["resource"]).get(&self.key)?.clone()));
        match runs.find_map(|run| run.as_str().filter(|run| run != own).map(str::to_owned)) {
            Some(other) => Err(serde_json::Error::io(io::Error::other(format!("it is of run {other}")))),
            None => Ok(()),
        }
    }
}

/// The records of an OTLP/JSON file, which are nested three levels deep in each line.
fn records(
    file: &Path,
    [resources, scopes, items]: [&str; 3],
    own: &OwnRun,
    to: &mut RowSink<'_>,
    mut take: impl FnMut(&Value, &mut RowSink<'_>),
) {
    // A run without open spans has no such file, and one that has just started has none of them.
    if is_missing(file) {
        return;
    }
    let reading = read_lines(file, |line| {
        if !to.wants_more() {
            return Ok(());
        }
        let line: Value = serde_json::from_str(line)?;
        own.check(&line[resources])?;
        let below = |values: &Value, name: &str| values[name].as_array().cloned().unwrap_or_default();
        for resource in below(&line, resources) {
            for scope in below(&resource, scopes) {
                for item in below(&scope, items) {
                    take(&item, to);
                }
            }
        }
        Ok(())
    });
    if let Some(problem) = reading.problem {
        to.damaged(file, problem);
    }
}

pub(crate) fn artifacts(bundle: &Bundle, manifest: Option<&Manifest>, to: &mut RowSink<'_>) {
    let own = manifest.map(|manifest| manifest.identity.run_id);
    match ArtifactCatalog::read(bundle) {
        Ok(catalog) => {
            for artifact in catalog.artifacts {
                if own.is_some_and(|own| own != artifact.run_id) {
                    to.damaged(&bundle.artifacts(), format!("it has an output of run {}", artifact.run_id));
                    continue;
                }
                to.row(json!({
                    "name": artifact.name,
                    "node": artifact.node,
                    "materialization": artifact.materialization,
                    "location": artifact.location,
                    "format": artifact.format,
                    "rows": artifact.rows,
                    "bytes": artifact.bytes,
                    "files": artifact.files,
                    "files_before": artifact.files_before,
                    "schema_hash": artifact.schema_hash,
                }));
            }
        }
        Err(error) => to.damaged(&bundle.artifacts(), cause(&error)),
    }
}

pub(crate) fn summaries(bundle: &Bundle, to: &mut RowSink<'_>) {
    let reading = NodeSummary::read_all(bundle, |summary| {
        for (name, column) in summary.columns.as_object().into_iter().flatten() {
            to.row(json!({
                "node": summary.node,
                "column_name": name,
                "position": column["pos"].as_u64(),
                "data_type": text(&column["data_type"]),
                "rows": column["count"].as_u64(),
                "missing": column["missing"].as_u64(),
                "distinct_values": column["distinct"].as_u64(),
                "distinct_is_estimate": column["distinct_is_estimate"].as_bool(),
                "min": as_text(&column["min"]),
                "max": as_text(&column["max"]),
                "mean": column["mean"].as_f64(),
                "std": column["std"].as_f64(),
                "summary": column.to_string(),
            }));
        }
    });
    if let Some(problem) = reading.and_then(|reading| reading.problem) {
        to.damaged(&bundle.data_summaries(), problem);
    }
}

/// Only runs with a destination for these events have any.
pub(crate) fn lineage_events(bundle: &Bundle, to: &mut RowSink<'_>) {
    let path = bundle.lineage_events();
    if is_missing(&path) {
        return;
    }
    let names = |datasets: &Value| {
        let datasets = datasets.as_array().into_iter().flatten();
        let named = datasets.map(|it| json!({ "namespace": it["namespace"], "name": it["name"] }));
        Value::Array(named.collect()).to_string()
    };
    let reading = read_lines(&path, |line| {
        if !to.wants_more() {
            return Ok(());
        }
        let event: Value = serde_json::from_str(line)?;
        let at = event["eventTime"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        to.row(json!({
            "at": at.map(|at| time(at.to_utc())),
            "event_type": text(&event["eventType"]),
            "job_namespace": text(&event["job"]["namespace"]),
            "job": text(&event["job"]["name"]),
            "job_run_id": text(&event["run"]["runId"]),
            "inputs": names(&event["inputs"]),
            "outputs": names(&event["outputs"]),
            "event": line,
        }));
        Ok(())
    });
    if let Some(problem) = reading.problem {
        to.damaged(&path, problem);
    }
}

/// From the report that the run has written. A running run has none yet.
pub(crate) fn findings(bundle: &Bundle, to: &mut RowSink<'_>) {
    let path = bundle.report_json();
    if is_missing(&path) {
        return;
    }
    let report = FileBelow::at(&path).open().and_then(|file| {
        let report: Value =
            serde_json::from_reader(io::BufReader::new(io::Read::take(file, MAX_REPORT_BYTES)))?;
        Ok(report)
    });
    match report {
        Ok(report) => {
            for finding in report["findings"].as_array().into_iter().flatten() {
                to.row(json!({
                    "kind": text(&finding["kind"]),
                    "level": text(&finding["level"]),
                    "node": text(&finding["node"]),
                    "operator": text(&finding["operator"]),
                    "at_stake_ms": finding["at_stake_ms"].as_f64(),
                    "summary": text(&finding["summary"]),
                    "remedy": text(&finding["remedy"]),
                    "evidence": as_text(&finding["evidence"]),
                }));
            }
        }
        Err(error) => to.damaged(&path, error.to_string()),
    }
}

/// Why a file cannot be read, without the file's name, which is shown before it.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// A non-empty text.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A value of any type for a text column: a text unchanged, everything else as JSON.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn moment(nanoseconds: i64) -> String {
    time(DateTime::from_timestamp_nanos(nanoseconds))
}

/// Milliseconds since the Unix epoch as a timestamp; `None` if never set, or out of range.
fn since_epoch(milliseconds: f64) -> Option<String> {
    let since = TimeDelta::try_milliseconds(milliseconds as i64).filter(|since| !since.is_zero())?;
    DateTime::UNIX_EPOCH.checked_add_signed(since).map(time)
}
