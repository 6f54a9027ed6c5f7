//! Outputs of nodes, as a Rust program writes them.

use std::{fs, path::Path};

use daglight_capture_policy::Profile;
use daglight_materializers::{Csv, Output, ParamTable, Parquet, View};
use daglight_run_identity::Dag;
use daglight_run_session::{FinishReport, RunOptions, RunStatus, Telemetry, WarningCode};
use daglight_settings::{OutputSettings, Settings};
use datafusion::execution::SessionStateBuilder;
use serde_json::{Map, Value, json};

use crate::json;

/// A registry of two outputs, and whether it is strict.
fn telemetry(output_dir: &Path, strict: bool) -> Telemetry {
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = output_dir.to_owned();
    settings.strict_registry = strict;
    let risk = OutputSettings { owner: Some("ml".into()), ..OutputSettings::default() };
    let columns = [("id", "BIGINT"), ("risk", "DOUBLE")];
    let view = OutputSettings {
        columns: columns.map(|(column, kind)| (column.to_owned(), kind.to_owned())).into(),
        ..OutputSettings::default()
    };
    settings.outputs = [("risk".to_owned(), risk), ("semantic.v_risk_v1".to_owned(), view)].into();
    Telemetry::new(settings)
}

/// Writes a parameter table, partitioned files and a view of them with these columns.
async fn run(out: &Path, strict: bool, view_columns: &str) -> FinishReport {
    let telemetry = telemetry(out, strict);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let files = Parquet::to(out.join("risk").display().to_string()).partitioned_by(["year"]);
    let view = View::named("semantic.v_risk_v1");
    let dag = Dag::builder("test::risk_v1")
        .unwrap()
        .loader("weights")
        .saver("write", ["weights"])
        .tags(files.tags(telemetry.registry()))
        .transform("publish", ["write"])
        .tags(view.tags(telemetry.registry()))
        .build()
        .unwrap();
    assert_eq!(dag.node("write").unwrap().tags["owner"], "ml");
    assert_eq!(dag.node("publish").unwrap().tags["materialized_name"], "semantic.v_risk_v1");

    let rows: Vec<Map<String, Value>> =
        serde_json::from_value(json!([{ "id": 1, "weight": 0.5 }, { "id": 2, "weight": 2.0 }])).unwrap();
    let weights = ParamTable::of_rows("weights", &rows).unwrap();
    let run = telemetry.start_run(&dag, RunOptions::default());
    run.node("weights", async |node| node.register_params(&ctx, &weights).await).await.unwrap();
    run.node("write", async |node| {
        let frame = ctx.sql("SELECT id, weight * 2 AS risk, 2020 + id AS year FROM weights").await?;
        node.materialize(&ctx, frame, files).await
    })
    .await
    .unwrap();
    run.node("publish", async |node| {
        let frame = ctx.sql(&format!("SELECT {view_columns} FROM risk")).await?;
        node.materialize(&ctx, frame, view).await
    })
    .await
    .unwrap();
    run.finish().await
}

#[tokio::test]
async fn outputs_as_the_registry_says_are_in_the_bundle() {
    let out = tempfile::tempdir().unwrap();
    let report = run(out.path(), true, "id, risk").await;
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.warnings);
    let catalog = json(report.bundle.unwrap().join("artifacts.json"));
    let artifacts = catalog["artifacts"].as_array().unwrap();
    let found: Vec<_> = artifacts
        .iter()
        .map(|artifact| (artifact["name"].as_str().unwrap(), artifact["materialization"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("weights", "param_table"), ("risk", "parquet"), ("semantic.v_risk_v1", "view")]);
    assert_eq!(artifacts[0]["signature"].as_str().map(str::len), Some(16));
    assert_eq!((&artifacts[1]["rows"], &artifacts[1]["files"]), (&json!(2), &json!(2)));
    assert!(artifacts[1]["plan_signature"].is_string(), "{}", artifacts[1]);
    assert_eq!((&artifacts[2]["rows"], &artifacts[2]["location"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn outputs_that_differ_from_the_registry_are_warnings_or_fail_the_run() {
    let drift = "the output \"semantic.v_risk_v1\" is not as the registry says: column \"risk\" is missing";
    let out = tempfile::tempdir().unwrap();
    let warned = run(out.path(), false, "id").await;
    assert_eq!(warned.status, RunStatus::Success);
    assert!(
        warned
            .warnings
            .iter()
            .any(|warning| warning.message == drift && warning.code == WarningCode::RegistryMismatch),
        "{:?}",
        warned.warnings
    );

    let failed = run(out.path(), true, "id").await;
    assert_eq!(failed.status, RunStatus::Failure);
    let manifest = json(failed.bundle.unwrap().join("manifest.json"));
    assert_eq!(manifest["error"], format!("strict registry: {drift}"));
}

#[tokio::test]
async fn data_summaries_are_in_the_bundle_also_without_a_tracker() {
    for tracked in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let mut settings = Settings::of_profile(Profile::Dev);
        settings.bundle.output_dir = out.path().to_owned();
        settings.tracker.enabled = tracked;
        settings.capture.redact_keys = vec!["salary".to_owned()];
        let telemetry = Telemetry::new(settings);
        let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
        let dag = Dag::builder("test::summaries_v1").unwrap().loader("people").build().unwrap();
        let run = telemetry.start_run(&dag, RunOptions::default());
        run.node("people", async |node| {
            let sql = "SELECT value AS id, value * 1000 + 77123 AS salary, CASE WHEN value % 4 > 0 THEN 'yes' END AS paid \
                       FROM generate_series(1, 100)";
            node.materialize(&ctx, ctx.sql(sql).await?, Parquet::to(out.path().join("people.parquet").display().to_string()))
                .await
        })
        .await
        .unwrap();
        let bundle = run.finish().await.bundle.unwrap();
        let text = fs::read_to_string(bundle.join("data_summaries.jsonl")).unwrap();
        let summary: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&summary["format_version"], &summary["node"]), (&json!(1), &json!("people")));
        let columns = &summary["columns"];
        assert_eq!((&columns["id"]["max"], &columns["paid"]["missing"]), (&json!(100), &json!(25)));
        assert_eq!(
            (&columns["paid"]["distinct"], &columns["paid"]["distinct_is_estimate"]),
            (&json!(1), &json!(false))
        );
        assert_eq!(columns["salary"]["base_data_type"], "unhandled", "{columns}");
        // Anywhere in the bundle: values of a hidden column are in no file.
        assert!(!text.contains("77124") && !text.contains("177123"), "{text}");
        let report = json(bundle.join("run_diagnostics_report.json"));
        let names: Vec<&str> = report["data"][0]["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            (report["data"][0]["rows"].as_u64(), names.as_slice()),
            (Some(100), ["id", "salary", "paid"].as_slice())
        );
        // The page of the tracking server has no place for what only the bundle has.
        let outbox = fs::read_to_string(bundle.join("tracker/outbox.jsonl")).unwrap_or_default();
        assert_eq!(outbox.contains("dagworks_describe"), tracked);
        assert!(!outbox.contains("distinct_is_estimate"), "{outbox}");
        let listed = json(bundle.join("manifest.json"))["files"].to_string();
        assert!(listed.contains("data_summaries.jsonl"), "{listed}");
    }
}

#[tokio::test]
async fn an_output_that_fails_is_not_an_artifact() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), false);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let dag = Dag::builder("test::fails_v1").unwrap().loader("write").build().unwrap();
    let run = telemetry.start_run(&dag, RunOptions::default());
    let file = out.path().join("broken.csv");
    run.node("write", async |node| {
        let frame = ctx.sql("SELECT 1 / (2 - value) AS x FROM generate_series(1, 3)").await?;
        node.materialize(&ctx, frame, Csv::to(file.display().to_string())).await
    })
    .await
    .unwrap_err();
    let report = run.finish().await;
    assert!(fs::metadata(&file).is_err());
    assert!(!report.bundle.unwrap().join("artifacts.json").exists());
    let expected = report.warnings.iter().filter(|warning| warning.message.contains("registry")).count();
    assert_eq!(expected, 0, "a run that failed has not produced all that it would: {:?}", report.warnings);
}

#[tokio::test]
async fn what_a_program_writes_without_an_output_is_an_artifact_too() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), false);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let dag = Dag::builder("test::writes_v1").unwrap().loader("write").build().unwrap();
    let run = telemetry.start_run(&dag, RunOptions::new());
    let path = |name: &str| out.path().join(name).display().to_string();
    run.node("write", async |node| {
        let frame = ctx.sql("SELECT value AS id FROM generate_series(1, 5)").await?;
        frame.clone().write_parquet(&path("a.parquet"), Default::default(), None).await?;
        frame.clone().write_csv(&path("b.csv"), Default::default(), None).await?;
        frame.clone().write_json(&path("c.json"), Default::default(), None).await?;
        let copy = format!("COPY (SELECT 1 AS id) TO '{}'", path("d.parquet"));
        ctx.sql(&copy).await?.collect().await?;
        ctx.sql("CREATE TABLE e (id BIGINT)").await?.collect().await?;
        for _ in 0..2 {
            ctx.sql("INSERT INTO e SELECT value FROM generate_series(1, 4)").await?.collect().await?;
        }
        ctx.sql("UPDATE e SET id = 1").await?.collect().await.map(drop).unwrap_or_default();
        ctx.sql(&format!("CREATE EXTERNAL TABLE f (id BIGINT) STORED AS CSV LOCATION '{}'", path("f/")))
            .await?
            .collect()
            .await?;
        ctx.sql("INSERT INTO f VALUES (1), (2)").await?.collect().await?;
        ctx.sql("CREATE TABLE g AS SELECT value AS id FROM generate_series(1, 6)").await?.collect().await?;
        // One that an output writes is there once.
        node.materialize(&ctx, frame, Parquet::to(path("h.parquet"))).await
    })
    .await
    .unwrap();
    let report = run.finish().await;
    assert_eq!(report.status, RunStatus::Success, "{:?}", report.warnings);
    let catalog = json(report.bundle.unwrap().join("artifacts.json"));
    let mut found: Vec<_> = catalog["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| {
            let text = |key: &str| artifact[key].as_str().unwrap_or_default().to_owned();
            (text("name"), text("materialization"))
        })
        .collect();
    found.sort();
    let expected = [
        ("a", "parquet"),
        ("b", "csv"),
        ("c", "ndjson"),
        ("d", "parquet"),
        ("e", "table"),
        ("f", "csv"),
        ("g", "table"),
        ("h", "parquet"),
    ];
    let expected = expected.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    assert_eq!(found, expected);
}

/// DataFusion does not say how many bytes an `INSERT` takes in memory: that is unknown in every place, and never 0.
#[tokio::test]
async fn the_bytes_of_rows_that_a_program_inserts_into_memory_are_not_known() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), false);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    ctx.sql("CREATE TABLE e (id BIGINT)").await.unwrap().collect().await.unwrap();
    let dag = Dag::builder("test::inserts_v1").unwrap().loader("insert").build().unwrap();
    let run = telemetry.start_run(&dag, RunOptions::new());
    run.node("insert", async |_| {
        ctx.sql("INSERT INTO e SELECT value FROM generate_series(1, 1000)").await?.collect().await
    })
    .await
    .unwrap();
    let report = run.finish().await;
    assert_eq!((report.nodes[0].rows, report.nodes[0].bytes), (Some(1_000), None), "{report:#?}");
    let bundle = report.bundle.unwrap();
    let artifact = json(bundle.join("artifacts.json"))["artifacts"][0].clone();
    assert_eq!(
        (&artifact["rows"], &artifact["bytes"]),
        (&1_000.into(), &serde_json::Value::Null),
        "{artifact:#}"
    );
    let mut wrong = Vec::new();
    let plans = fs::read_dir(bundle.join("plans")).unwrap().map(|plan| plan.unwrap().path());
    let files = plans.chain([bundle.join("run_diagnostics_report.json"), bundle.join("manifest.json")]);
    for file in files {
        zeros(&json(file.clone()), &file.file_name().unwrap().to_string_lossy(), &mut wrong);
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Where a document says that 0 bytes were written.
fn zeros(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            let path = format!("{path}.{key}");
            let is_of_memory = matches!(key.as_str(), "bytes" | "bytes_written") && value == 0;
            // The sum over the files of a run, of which there are none.
            if is_of_memory && !path.ends_with(".totals.bytes_written") {
                found.push(path.clone());
            }
            zeros(value, &path, found);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| zeros(item, path, found)),
        _ => {}
    }
}
