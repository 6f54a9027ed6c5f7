use std::{fs, path::Path};

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use daglight_run_bundle::{Bundle, Manifest, NodeStatus, RunStatus};
use daglight_run_identity::RunId;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::BundleTable;

/// A bundle with one of everything.
fn bundle() -> (TempDir, Bundle) {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    let manifest = json!({
        "format": "daglight_run_bundle",
        "format_version": 3,
        "daglight_version": "0.1.0",
        "identity": {
            "run_id": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11",
            "dag_name": "sales::daily_v1",
            "tags": {"environment": "dev"},
        },
        "namespace": "acme",
        "profile": "dev",
        "status": "failure",
        "started_at": "2026-11-01T10:00:00Z",
        "ended_at": "2026-11-01T10:00:01.5Z",
        "error": "no",
        "nodes": [{
            "name": "orders",
            "kind": "transform",
            "status": "success",
            "started_at": "2026-11-01T10:00:00.25Z",
            "duration_ms": 12.5,
            "rows": 1_152_921_504_606_846_976_u64,
            "dependencies": ["raw"],
        }],
    });
    serde_json::from_value::<Manifest>(manifest).unwrap().write(&bundle).unwrap();
    let span = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
        "traceId": "80458867c90ad544c1e829fc07e095a0",
        "spanId": "5d3f31606a4b3e52",
        "parentSpanId": "",
        "name": "pipeline.node",
        "startTimeUnixNano": "1793527200000000000",
        "endTimeUnixNano": "1793527201500000000",
        "attributes": [
            { "key": "acme.stage", "value": { "stringValue": "execute" } },
            { "key": "acme.node", "value": { "stringValue": "orders" } },
        ],
        "events": [{ "name": "exception", "timeUnixNano": "1793527201000000000" }],
        "status": { "code": 2, "message": "no" },
    }]}]}]});
    let record = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": "1793527200000000000",
        "severityNumber": 17,
        "severityText": "ERROR",
        "body": { "stringValue": "node failed" },
        "traceId": "80458867c90ad544c1e829fc07e095a0",
        "attributes": [{ "key": "node", "value": { "stringValue": "orders" } }],
    }]}]}]});
    let plan = json!({
        "format": "datafusion_plan_bundle_v2",
        "query_id": 7,
        "query_ids": [7],
        "node": "orders",
        "operation": "select",
        "plan_hash": "aa",
        "logical_plan": "",
        "source_tables": ["raw"],
        "outcome": "completed",
        "executions": { "started": 2, "completed": 2, "wall_ms": 30.0 },
        "metrics": {
            "started_at_ms": 1_793_527_200_000.0,
            "wall_ms": 20.0,
            "rows": 3,
            "operators": [
                { "id": 0, "name": "SortExec", "output_rows": 3, "elapsed_compute_ms": 1.5, "spilled_bytes": 9 },
                { "id": 1, "parent": 0, "name": "DataSourceExec", "is_scan": true, "table": "raw", "output_rows": 5,
                  "metrics": { "bytes_scanned": 100 } },
            ],
        },
    });
    let artifacts = json!({ "format_version": 1, "artifacts": [{
        "name": "orders",
        "materialization": "parquet",
        "location": "out/orders.parquet",
        "rows": 3,
        "run_id": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11",
        "written_at": "2026-11-01T10:00:01Z",
    }]});
    let summary = json!({ "format_version": 1, "node": "orders", "columns": {
        "id": { "name": "id", "pos": 0, "data_type": "Int64", "count": 3, "missing": 1, "min": 1, "max": 9, "mean": 4.5,
                "distinct": 2, "distinct_is_estimate": true },
        "city": { "name": "city", "pos": 1, "data_type": "Utf8", "count": 3, "missing": 0, "min": "Bonn" },
    }});
    let report = json!({ "findings": [{
        "kind": "spill",
        "level": "warning",
        "node": "orders",
        "operator": "SortExec",
        "summary": "it spilled",
        "remedy": "more memory",
        "at_stake_ms": 4.0,
        "evidence": [{ "what": "spilled", "value": 9.0 }],
    }]});
    let event = json!({
        "eventType": "COMPLETE",
        "eventTime": "2026-11-01T10:00:01Z",
        "run": { "runId": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b12" },
        "job": { "namespace": "shop", "name": "sales::daily_v1.orders" },
        "inputs": [{ "namespace": "file", "name": "/in.csv", "facets": {} }],
        "outputs": [],
    });
    let plan_file = bundle.plan_file(Some("orders"), "aa");
    fs::create_dir_all(plan_file.parent().unwrap()).unwrap();
    for (file, content) in [
        (bundle.traces(), &span),
        (bundle.logs(), &record),
        (plan_file, &plan),
        (bundle.artifacts(), &artifacts),
        (bundle.data_summaries(), &summary),
        (bundle.report_json(), &report),
        (bundle.lineage_events(), &event),
    ] {
        fs::write(file, format!("{content}\n")).unwrap();
    }
    (out, bundle)
}

fn rows(table: BundleTable, bundle: &Bundle) -> Vec<Value> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    let damages = table
        .read(bundle, |batch| {
            batches.push(batch);
            true
        })
        .unwrap();
    assert_eq!(damages, [], "{table:?}");
    let mut written = LineDelimitedWriter::new(Vec::new());
    written.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    written.finish().unwrap();
    let text = String::from_utf8(written.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// JSON in a text, with its names in any order.
fn parsed(value: &Value) -> Value {
    let within = value.as_str().filter(|text| text.starts_with(['{', '[']));
    within.map_or_else(|| value.clone(), |text| serde_json::from_str(text).unwrap())
}

#[track_caller]
fn check(table: BundleTable, expected: &[Value]) {
    let (_out, bundle) = bundle();
    let found = rows(table, &bundle);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found["run_id"], "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11");
        assert_eq!(found["dag_name"], "sales::daily_v1");
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(parsed(&found[column]), parsed(value), "{column}: {found:#}");
        }
    }
}

#[test]
fn runs_and_nodes_are_those_of_the_manifest() {
    check(
        BundleTable::Runs,
        &[json!({
            "status": "failure",
            "started_at": "2026-11-01T10:00:00Z",
            "duration_ms": 1500.0,
            "error": "no",
            "nodes": 1,
            "tags": r#"{"environment":"dev"}"#,
        })],
    );
    check(
        BundleTable::Nodes,
        &[json!({
            "node": "orders",
            "status": "success",
            "started_at": "2026-11-01T10:00:00.250Z",
            "duration_ms": 12.5,
            "rows": 1_u64 << 60,
            "dependencies": r#"["raw"]"#,
        })],
    );
}

#[test]
fn the_status_of_a_run_that_was_not_closed_is_what_became_of_its_process() {
    let (_out, bundle) = bundle();
    let unclosed = |manifest: &mut Manifest| {
        (manifest.status, manifest.ended_at) = (RunStatus::Running, None);
        manifest.nodes[0].status = NodeStatus::Unfinished;
    };
    Manifest::update(&bundle, unclosed).unwrap();
    let status = |bundle: &Bundle| rows(BundleTable::Runs, bundle)[0]["status"].clone();
    let of_node = |bundle: &Bundle| rows(BundleTable::Nodes, bundle)[0]["status"].clone();
    assert_eq!((status(&bundle), of_node(&bundle)), ("running".into(), "running".into()));
    assert_eq!(status(&bundle.clone().unpacked_from("a.tar.gz")), "unknown");
    // A process that no longer holds its outbox.
    fs::write(bundle.tracker_dir().join("outbox.jsonl"), "").unwrap();
    assert_eq!((status(&bundle), of_node(&bundle)), ("process_ended".into(), "unfinished".into()));
}

#[test]
fn a_time_that_the_run_cannot_have_had_is_damage_and_no_duration() {
    let (_out, bundle) = bundle();
    let backwards =
        |manifest: &mut Manifest| manifest.ended_at = Some("2025-01-01T00:00:00Z".parse().unwrap());
    Manifest::update(&bundle, backwards).unwrap();
    let mut without_duration = 0;
    let damages = BundleTable::Runs.read(&bundle, |batch| {
        without_duration += batch.column_by_name("duration_ms").unwrap().null_count();
        true
    });
    let damages = damages.unwrap();
    assert_eq!(without_duration, 1);
    assert!(damages.len() == 1 && damages[0].problem.starts_with("ended_at, "), "{damages:?}");
}

#[test]
fn queries_and_operators_are_those_of_the_plans() {
    check(
        BundleTable::Queries,
        &[json!({
            "node": "orders",
            "plan_hash": "aa",
            "outcome": "completed",
            "executions": 2,
            "started_at": "2026-11-01T10:00:00Z",
            "wall_ms": 20.0,
            "total_wall_ms": 30.0,
            "rows": 3,
            "rows_read": 5,
            "bytes_spilled": 9,
        })],
    );
    check(
        BundleTable::Operators,
        &[
            json!({ "operator": "SortExec", "operator_id": 0, "rows": 3, "compute_ms": 1.5, "spilled_bytes": 9 }),
            json!({ "operator": "DataSourceExec", "parent_id": 0, "table_name": "raw", "metrics": r#"{"bytes_scanned":100}"# }),
        ],
    );
}

#[test]
fn signals_are_read_by_the_namespace_of_their_run() {
    check(
        BundleTable::Spans,
        &[json!({
            "span_id": "5d3f31606a4b3e52",
            "parent_span_id": null,
            "name": "pipeline.node",
            "stage": "execute",
            "node": "orders",
            "started_at": "2026-11-01T10:00:00Z",
            "duration_ms": 1500.0,
            "is_error": true,
            "message": "no",
            "events": r#"[{"at":"2026-11-01T10:00:01.000000Z","attributes":{},"name":"exception"}]"#,
            "attributes": r#"{"acme.node":"orders","acme.stage":"execute"}"#,
        })],
    );
    check(
        BundleTable::Logs,
        &[json!({
            "at": "2026-11-01T10:00:00Z",
            "severity": "ERROR",
            "body": "node failed",
            "attributes": r#"{"node":"orders"}"#,
        })],
    );
}

#[test]
fn what_was_written_summarised_and_found_has_tables() {
    check(BundleTable::Artifacts, &[json!({ "name": "orders", "materialization": "parquet", "rows": 3 })]);
    check(
        BundleTable::Summaries,
        &[
            json!({ "column_name": "id", "min": "1", "max": "9", "mean": 4.5, "missing": 1, "distinct_values": 2, "distinct_is_estimate": true }),
            json!({ "column_name": "city", "min": "Bonn", "mean": null, "distinct_is_estimate": null }),
        ],
    );
    check(BundleTable::Findings, &[json!({ "kind": "spill", "node": "orders", "at_stake_ms": 4.0 })]);
    check(
        BundleTable::LineageEvents,
        &[json!({
            "at": "2026-11-01T10:00:01Z",
            "event_type": "COMPLETE",
            "job_namespace": "shop",
            "job": "sales::daily_v1.orders",
            "job_run_id": "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b12",
            "inputs": r#"[{"namespace":"file","name":"/in.csv"}]"#,
            "outputs": "[]",
        })],
    );
}

#[test]
fn every_table_begins_with_the_run_and_may_lack_any_value() {
    for table in BundleTable::ALL {
        assert!(table.schema().fields().iter().all(|field| field.is_nullable()), "{table:?}");
        let names: Vec<_> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names[..2], ["run_id", "dag_name"], "{table:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_there() {
    let (_out, bundle) = bundle();
    let spoil = |path: &Path, more: &str| fs::write(path, fs::read_to_string(path).unwrap() + more).unwrap();
    spoil(&bundle.traces(), "{\n");
    fs::write(bundle.plan_file(Some("orders"), "bb"), "{").unwrap();
    fs::write(bundle.report_json(), "[").unwrap();
    for (table, rows, file) in [
        (BundleTable::Spans, 1, bundle.traces()),
        (BundleTable::Queries, 1, bundle.plan_file(Some("orders"), "bb")),
        (BundleTable::Findings, 0, bundle.report_json()),
    ] {
        let mut seen = 0;
        let damages = table
            .read(&bundle, |batch| {
                seen += batch.num_rows();
                true
            })
            .unwrap();
        assert_eq!((damages.len(), seen), (1, rows), "{table:?}: {damages:?}");
        assert_eq!(damages[0].file, file);
    }
    // A run that has just started, or has left nothing but its folder.
    fs::remove_file(bundle.manifest()).unwrap();
    let mut seen = Vec::new();
    let damages = BundleTable::Logs
        .read(&bundle, |batch| {
            seen.push(batch);
            true
        })
        .unwrap();
    assert_eq!((damages.len(), seen.len()), (1, 1));
}

#[test]
fn a_reader_that_has_seen_enough_is_given_no_more() {
    let (_out, bundle) = bundle();
    let line = fs::read_to_string(bundle.traces()).unwrap();
    fs::write(bundle.traces(), line.repeat(10_000)).unwrap();
    for (wanted, batches) in [(false, 1), (true, 3)] {
        let mut seen = 0;
        BundleTable::Spans
            .read(&bundle, |_| {
                seen += 1;
                wanted
            })
            .unwrap();
        assert_eq!(seen, batches);
    }
}

#[test]
fn a_span_that_has_ended_is_one_row_though_it_still_stands_among_the_open_ones() {
    let (_out, bundle) = bundle();
    let line = fs::read_to_string(bundle.traces()).unwrap();
    let open = line.replace("\"endTimeUnixNano\":\"1793527201500000000\"", "\"endTimeUnixNano\":\"0\"");
    assert_ne!(line, open);
    let other = open.replace("5d3f31606a4b3e52", "5d3f31606a4b3e53");
    fs::write(bundle.dir().join("otel_traces.open.json"), open + &other).unwrap();
    let spans = rows(BundleTable::Spans, &bundle);
    let ids: Vec<_> =
        spans.iter().map(|span| (span["span_id"].clone(), span["duration_ms"].clone())).collect();
    assert_eq!(ids, [(json!("5d3f31606a4b3e52"), json!(1500.0)), (json!("5d3f31606a4b3e53"), json!(null))]);
}

#[test]
fn values_of_the_wrong_type_and_numbers_that_are_too_large_cost_no_other_row() {
    let (_out, bundle) = bundle();
    let line = fs::read_to_string(bundle.traces()).unwrap();
    let wrong =
        line.replace("\"80458867c90ad544c1e829fc07e095a0\"", "true").replace("\"pipeline.node\"", "-1");
    fs::write(bundle.traces(), wrong + &line).unwrap();
    let names: Vec<_> = rows(BundleTable::Spans, &bundle).iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, [json!(null), json!("pipeline.node")]);
    let plan = bundle.plan_file(Some("orders"), "aa");
    let most = fs::read_to_string(&plan)
        .unwrap()
        .replace("\"spilled_bytes\":9", "\"spilled_bytes\":18446744073709551615");
    let most = most.replace("\"is_scan\":true", "\"is_scan\":true,\"spilled_bytes\":1");
    fs::write(&plan, most).unwrap();
    assert_eq!(rows(BundleTable::Queries, &bundle)[0]["bytes_spilled"], u64::MAX);
}

#[test]
fn what_was_not_measured_of_a_query_is_unknown_and_not_zero() {
    let (_out, bundle) = bundle();
    let file = bundle.plan_file(Some("orders"), "aa");
    let mut plan: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // As it stands in the bundle of a process that was killed before the first beat of its heart.
    plan["outcome"] = json!("running");
    plan["executions"] = json!({ "started": 1, "completed": 0, "wall_ms": 0.0 });
    plan["metrics"] = json!({ "operators": [] });
    fs::write(&file, plan.to_string()).unwrap();
    let query = &rows(BundleTable::Queries, &bundle)[0];
    for column in ["wall_ms", "total_wall_ms", "bytes_spilled", "rows", "rows_read"] {
        assert_eq!(query[column], Value::Null, "{column}");
    }
}

#[test]
fn a_file_that_the_run_has_left_and_that_is_gone_or_shorter_is_named() {
    let (_out, bundle) = bundle();
    let mut manifest = Manifest::read(&bundle).unwrap();
    manifest.files = serde_json::from_value(json!([
        { "path": "artifacts.json", "size_bytes": 10 },
        { "path": "otel_logs.json", "size_bytes": 100_000 },
    ]))
    .unwrap();
    manifest.write(&bundle).unwrap();
    fs::remove_file(bundle.artifacts()).unwrap();
    let damages = |table: BundleTable| table.read(&bundle, |_| true).unwrap();
    let [artifacts] = &damages(BundleTable::Artifacts)[..] else { panic!("one damage") };
    assert!(
        artifacts.file.ends_with("artifacts.json") && artifacts.problem.contains("missing"),
        "{artifacts:?}"
    );
    let [logs] = &damages(BundleTable::Logs)[..] else { panic!("one damage") };
    assert!(logs.problem.contains("its end is missing"), "{logs:?}");
    assert_eq!(damages(BundleTable::Spans), []);
}
