//! What the events say.

use std::time::Duration;

use daglight_capture_policy::{Policy, Profile};
use daglight_openlineage::{
    Column, ColumnOrigin, DatasetFacts, DatasetName, Ending, ErrorFacts, LineageRun, NominalTime, RunFacts,
    SourceLocation, Target, Transformation, close_open_events,
};
use daglight_run_bundle::{Bundle, CheckRecord, RecordedOutcome, RecordedSeverity};
use serde_json::json;

use crate::{at, bundle, captured, events_of, failure, node_facts, run_facts, target, types};

fn nowhere() -> Target {
    target(|settings| settings.url = Some("http://127.0.0.1:9".into()))
}

fn record(bundle: &Bundle, facts: RunFacts) -> LineageRun {
    LineageRun::start(bundle, facts, nowhere()).unwrap()
}

#[test]
fn a_node_is_a_job_of_its_own_with_the_run_as_parent() {
    let (_out, bundle) = bundle();
    let id = "0198c1f0-1111-7222-8333-444455556666";
    let facts = RunFacts {
        parent: Some(format!("airflow/dag.task/{id}").parse().unwrap()),
        nominal_time: Some(NominalTime { start: at(0), end: Some(at(60)) }),
        source: Some(SourceLocation {
            repo: "git@host:team/repo.git".into(),
            commit: Some("abc".into()),
            branch: Some("main".into()),
        }),
        owner: Some(captured("risk")),
        ..run_facts()
    };
    let run_id = facts.run_id.to_string();
    let run = record(&bundle, facts);
    run.run_started(at(0)).unwrap();
    let mut node = node_facts("orders");
    (node.documentation, node.path) = (Some(captured("All orders")), Some(captured("sql/daily.sql")));
    run.node_started(&node, at(1)).unwrap();
    run.node_ended(&node, at(2), &failure(), Vec::new(), Vec::new()).unwrap();
    let abort = Ending::Abort(ErrorFacts { message: captured("SIGTERM"), stack: None });
    run.run_ended(at(3), &abort).unwrap();
    let events = events_of(&bundle);
    assert_eq!(types(&events), ["START", "START", "FAIL", "ABORT"]);
    let [start, _, failed, aborted] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(start["eventTime"], "2026-11-18T11:06:40.000000Z");
    assert_eq!(start["schemaURL"], "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent");
    assert_eq!(
        (&start["job"]["namespace"], &start["job"]["name"]),
        (&json!("shop"), &json!("sales::daily_v1"))
    );
    assert_eq!(start["run"]["runId"], run_id);
    let facets = &start["run"]["facets"];
    assert_eq!(facets["parent"]["run"]["runId"], id);
    assert_eq!(facets["parent"]["job"], json!({ "namespace": "airflow", "name": "dag.task" }));
    assert_eq!(facets["nominalTime"]["nominalStartTime"], "2026-11-18T11:06:40.000000Z");
    assert_eq!(facets["nominalTime"]["nominalEndTime"], "2026-11-18T11:07:40.000000Z");
    assert_eq!(facets["processing_engine"]["version"], "55.2.0");
    let job = &failed["job"];
    assert_eq!(job["name"], "sales::daily_v1.orders");
    assert_eq!(job["facets"]["sql"]["query"], "SELECT 1");
    assert_eq!(job["facets"]["documentation"]["description"], "All orders");
    assert_eq!(job["facets"]["sourceCodeLocation"]["url"], "https://host/team/repo/blob/abc/sql/daily.sql");
    let parent = &failed["run"]["facets"]["parent"];
    assert_eq!((&parent["run"]["runId"], &parent["root"]["run"]["runId"]), (&json!(run_id), &json!(id)));
    assert_eq!(failed["run"]["facets"]["errorMessage"]["message"], "no such column");
    assert_eq!(aborted["run"]["facets"]["errorMessage"]["message"], "SIGTERM");
    assert_eq!(start["job"]["facets"]["ownership"]["owners"], json!([{ "name": "team:risk" }]));
}

#[test]
fn datasets_have_schema_lineage_statistics_and_metrics() {
    let (_out, bundle) = bundle();
    let run = record(&bundle, run_facts());
    let orders = DatasetName::of_location("/data/orders.parquet").unwrap();
    let column = |name: &str| Column { name: captured(name), data_type: captured("Int64") };
    let origin = |transformation| ColumnOrigin {
        dataset: orders.clone(),
        column: captured("price"),
        transformations: vec![transformation],
    };
    let input =
        DatasetFacts { columns: vec![column("price")], rows: Some(9), ..DatasetFacts::new(orders.clone()) };
    let summary = json!({ "total": { "count": 2, "missing": 0, "max": 5 } });
    let output = DatasetFacts {
        columns: vec![column("total")],
        rows: Some(2),
        bytes: Some(64),
        files: Some(1),
        format: Some("parquet".into()),
        documentation: Some(captured("Totals")),
        lineage: vec![(captured("total"), vec![origin(Transformation::direct("AGGREGATION"))])],
        row_lineage: vec![origin(Transformation::indirect("FILTER"))],
        summary: Some(Policy::of_profile(Profile::Dev).capture(summary)),
        ..DatasetFacts::new(DatasetName::of_location("s3://shop/totals").unwrap())
    };
    let node = node_facts("totals");
    // Read under two names, it is one dataset.
    run.node_ended(&node, at(2), &Ending::Complete, vec![input.clone(), input], vec![output]).unwrap();
    let event = &events_of(&bundle)[0];
    assert_eq!(event["inputs"].as_array().unwrap().len(), 1);
    let input = &event["inputs"][0];
    assert_eq!((&input["namespace"], &input["name"]), (&json!("file"), &json!("/data/orders.parquet")));
    assert_eq!(input["facets"]["schema"]["fields"], json!([{ "name": "price", "type": "Int64" }]));
    assert_eq!(input["inputFacets"]["inputStatistics"]["rowCount"], 9);
    let output = &event["outputs"][0];
    assert_eq!((&output["namespace"], &output["name"]), (&json!("s3://shop"), &json!("totals")));
    let statistics = &output["outputFacets"]["outputStatistics"];
    assert_eq!(
        (&statistics["rowCount"], &statistics["size"], &statistics["fileCount"]),
        (&json!(2), &json!(64), &json!(1))
    );
    let field = |subtype: &str, kind: &str| {
        json!({
            "namespace": "file", "name": "/data/orders.parquet", "field": "price",
            "transformations": [{ "type": kind, "subtype": subtype }],
        })
    };
    let lineage = &output["facets"]["columnLineage"];
    assert_eq!(lineage["fields"], json!({ "total": { "inputFields": [field("AGGREGATION", "DIRECT")] } }));
    assert_eq!(lineage["dataset"], json!([field("FILTER", "INDIRECT")]));
    let metrics = &output["facets"]["dataQualityMetrics"];
    assert_eq!(metrics["columnMetrics"], json!({ "total": { "nullCount": 0, "count": 2, "max": 5 } }));
    assert_eq!(output["facets"]["storage"]["fileFormat"], "parquet");
}

fn check_record(check: &str, kind: &str, outcome: RecordedOutcome, failing: Option<u64>) -> CheckRecord {
    CheckRecord {
        check: check.into(),
        kind: kind.into(),
        columns: Vec::new(),
        severity: RecordedSeverity::Warn,
        outcome,
        rows: Some(9),
        failing,
        message: "seen".into(),
    }
}

#[test]
fn checks_are_a_job_that_reads_what_the_node_has_written() {
    let (_out, bundle) = bundle();
    let run = record(&bundle, run_facts());
    let name = DatasetName::of_location("s3://shop/totals").unwrap();
    let checked = |checks| DatasetFacts {
        columns: vec![Column { name: captured("id"), data_type: captured("Int64") }],
        rows: Some(9),
        checks,
        ..DatasetFacts::new(name.clone())
    };
    let of_columns = |columns: &[&str]| CheckRecord {
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        ..check_record("unique(id)", "unique", RecordedOutcome::Failed, Some(2))
    };
    let unique = of_columns(&["id"]);
    let checks = vec![
        check_record("rows > 0", "rows", RecordedOutcome::Passed, None),
        unique.clone(),
        of_columns(&["id", "day"]),
        check_record("price > 0", "condition", RecordedOutcome::Undecided, None),
    ];
    run.node_ended(&node_facts("totals"), at(2), &Ending::Complete, Vec::new(), vec![checked(checks)])
        .unwrap();
    let events = events_of(&bundle);
    assert_eq!(types(&events), ["COMPLETE", "START", "COMPLETE"]);
    let [node, start, end] = events.as_slice() else { panic!("{events:?}") };
    assert!(
        node["outputs"][0]["facets"].get("dataQualityAssertions").is_none(),
        "it is one of inputs: {node}"
    );
    assert_eq!((&start["job"]["name"], &start["run"]["runId"]), (&end["job"]["name"], &end["run"]["runId"]));
    assert_eq!(end["job"]["name"], "sales::daily_v1.totals.checks");
    assert_eq!(end["job"]["facets"]["jobType"]["jobType"], "TEST");
    assert_eq!(end["run"]["facets"]["parent"], node["run"]["facets"]["parent"]);
    assert_ne!(end["run"]["runId"], node["run"]["runId"]);
    assert_eq!((end["inputs"].as_array().unwrap().len(), &end["outputs"]), (1, &json!([])));
    let input = &end["inputs"][0];
    assert_eq!((&input["namespace"], &input["name"]), (&json!("s3://shop"), &json!("totals")));
    assert_eq!(
        input["inputFacets"]["dataQualityAssertions"]["assertions"],
        json!([
            {
                "assertion": "row_count", "success": true, "severity": "warn", "name": "rows > 0",
                "description": "seen", "actual": "9",
            },
            {
                "assertion": "unique", "success": false, "column": "id", "severity": "warn", "name": "unique(id)",
                "description": "seen", "actual": "2",
            },
            {
                "assertion": "unique", "success": false, "severity": "warn", "name": "unique(id)",
                "description": "seen", "actual": "2",
            },
        ])
    );
    let of_failed = CheckRecord { severity: RecordedSeverity::Fail, ..unique };
    run.node_ended(&node_facts("totals"), at(3), &failure(), Vec::new(), vec![checked(vec![of_failed])])
        .unwrap();
    let undecided = vec![check_record("price > 0", "condition", RecordedOutcome::Undecided, None)];
    run.node_ended(&node_facts("totals"), at(4), &failure(), Vec::new(), vec![checked(undecided)]).unwrap();
    assert_eq!(types(&events_of(&bundle)[3..]), ["FAIL", "START", "FAIL", "FAIL"]);
}

#[test]
fn a_run_that_goes_on_says_so_less_and_less_often() {
    let (_out, bundle) = bundle();
    let run = record(&bundle, run_facts());
    // A beat in each second of a day.
    for second in 0..86_400 {
        run.run_goes_on(at(second), Duration::from_secs(second.unsigned_abs())).unwrap();
    }
    let events = events_of(&bundle);
    assert_eq!(types(&events), vec!["RUNNING"; 11]);
    assert_eq!(events[0]["eventTime"], "2026-11-18T11:07:40.000000Z");
}

#[test]
fn what_a_process_left_open_is_ended_once_the_nodes_first() {
    let (_out, bundle) = bundle();
    let run = record(&bundle, run_facts());
    run.run_started(at(0)).unwrap();
    let (done, open) = (node_facts("done"), node_facts("open"));
    run.node_started(&done, at(1)).unwrap();
    run.node_ended(&done, at(2), &Ending::Complete, Vec::new(), Vec::new()).unwrap();
    run.node_started(&open, at(3)).unwrap();
    drop(run);
    let reason = captured("process ended");
    assert_eq!(close_open_events(&bundle, at(9), &reason).unwrap(), 2);
    assert_eq!(close_open_events(&bundle, at(9), &reason).unwrap(), 0);
    let events = events_of(&bundle);
    assert_eq!(types(&events)[4..], ["FAIL", "FAIL"]);
    assert_eq!(events[4]["job"]["name"], "sales::daily_v1.open");
    assert_eq!(events[4]["run"]["facets"]["errorMessage"]["message"], "process ended");
    assert_eq!(events[4]["run"]["facets"]["parent"], events[3]["run"]["facets"]["parent"]);
    assert_eq!(events[5]["run"]["runId"], events[0]["run"]["runId"]);
}
