//! What a beat says in the traces and metrics of a run.

use std::{fs, path::Path};

use daglight_capture_policy::Profile;
use daglight_run_session::{RunOptions, Telemetry};
use daglight_settings::Settings;
use datafusion::{
    error::DataFusionError,
    execution::{SessionStateBuilder, memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder},
};
use serde_json::Value;

use crate::{dag, json, spans};

/// A telemetry with one beat, the first.
fn telemetry(out: &Path) -> Telemetry {
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.to_owned();
    settings.heartbeat.interval_seconds = 3_600.0;
    Telemetry::new(settings)
}

fn beats(bundle: &Path) -> Vec<Value> {
    let beats = spans(bundle).into_iter().filter(|span| span["name"] == "build.heartbeat");
    beats.map(|span| attributes(&span)).collect()
}

/// What is known with each beat: what it says, and what those before it said of the rest.
fn known(beats: &[Value]) -> Vec<Value> {
    let known = beats.iter().scan(serde_json::Map::new(), |known, beat| {
        known.extend(beat.as_object().unwrap().clone());
        Some(Value::Object(known.clone()))
    });
    known.collect()
}

/// The attributes of a span, by key without the namespace.
fn attributes(span: &Value) -> Value {
    let attributes = span["attributes"].as_array().unwrap().iter().map(|attribute| {
        let key = attribute["key"].as_str().unwrap().trim_start_matches("daglight.").to_owned();
        let value = attribute["value"].as_object().unwrap().values().next().unwrap();
        let value = match value.as_str().and_then(|number| number.parse::<i64>().ok()) {
            Some(number) => number.into(),
            None => value.clone(),
        };
        (key, value)
    });
    Value::Object(attributes.collect())
}

fn metric_names(bundle: &Path) -> Vec<String> {
    let text = fs::read_to_string(bundle.join("otel_metrics.json")).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .flat_map(|line| line["resourceMetrics"].as_array().unwrap().clone())
        .flat_map(|resource| resource["scopeMetrics"].as_array().unwrap().clone())
        .flat_map(|scope| scope["metrics"].as_array().unwrap().clone())
        .map(|metric| metric["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_run_that_ends_at_once_has_a_beat_and_none_after_its_end() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path());
    let bundle = telemetry.start_run(&dag(), RunOptions::default()).finish_blocking().bundle.unwrap();
    let before = beats(&bundle);
    assert_eq!(before.len(), 1);
    assert_eq!((&before[0]["stage"], &before[0]["active_tasks"]), (&"run".into(), &0.into()));
    // Dropped without a finish, it has the same.
    let dropped = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = dropped.bundle_dir().unwrap().to_owned();
    drop(dropped);
    telemetry.shutdown();
    assert_eq!(beats(&bundle).len(), 1);
    assert_eq!(json(bundle.join("heartbeat.json"))["beats"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_knows_the_nodes_the_queries_the_memory_and_the_process() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.path().to_owned();
    settings.heartbeat.interval_seconds = 0.02;
    let telemetry = Telemetry::new(settings);
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(std::sync::Arc::new(GreedyMemoryPool::new(1 << 30)));
    let state =
        SessionStateBuilder::new_with_default_features().with_runtime_env(runtime.build_arc().unwrap());
    let ctx = telemetry.session(state);
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    run.node("orders", async |_| {
        ctx.sql("SELECT count(*) FROM generate_series(1, 1000)").await?.collect().await
    })
    .await
    .unwrap();
    let seen = |count: u64| json(bundle.join("heartbeat.json"))["beats"].as_u64().unwrap() >= count;
    run.node("late", async |node| {
        node.stage("normalize", async {
            let beats = json(bundle.join("heartbeat.json"))["beats"].as_u64().unwrap();
            while !seen(beats + 3) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Ok::<_, DataFusionError>(())
        })
        .await
    })
    .await
    .unwrap();
    run.finish().await;

    let said = beats(&bundle);
    let beats = known(&said);
    let inside: Vec<&Value> =
        beats.iter().filter(|beat| beat["active_tasks"] == 1 && beat["stage"] == "normalize").collect();
    assert!(inside.len() >= 2, "{beats:#?}");
    let beat = inside[1];
    assert_eq!((&beat["pending_tasks"], &beat["completed_tasks"]), (&1.into(), &1.into()), "{beat:#}");
    assert_eq!(beat["rows_read"], 1_000, "{beat:#}");
    for known in [
        "rows_written",
        "bytes_read",
        "bytes_written",
        "bytes_spilled",
        "rows_read_per_second",
        "bytes_written_per_second",
        "memory.reserved",
        "memory.limit",
        "runtime.workers",
        "runtime.busy_workers",
        "runtime.queue_depth",
        "process.cpu_seconds",
        "process.resident_bytes",
        "process.open_files",
    ] {
        assert!(beat[known].is_number(), "{known}: {beat:#}");
    }
    assert_eq!(beat["memory.limit"], 1 << 30);
    // A beat says no name and no number again, but every twelfth says all.
    let repeats = |key: &str| {
        let pairs = said[1..].iter().zip(&beats).zip(2..).filter(|(_, sequence)| sequence % 12 != 1);
        pairs.filter(|((beat, before), _)| !beat[key].is_null() && beat[key] == before[key]).count()
    };
    for key in
        ["active_task_names", "pending_task_names", "completed_task_names", "memory.limit", "runtime.workers"]
    {
        assert_eq!(repeats(key), 0, "{key}: {said:#?}");
    }
    if let Some(whole) = said.get(12) {
        assert_eq!(whole["memory.limit"], 1 << 30, "{whole:#}");
    }
    // The first may have looked at the nodes before the stage began.
    for beat in &inside[1..] {
        for (key, name) in [
            ("active_task_names", "late"),
            ("pending_task_names", "late_parquet"),
            ("completed_task_names", "orders"),
        ] {
            assert!(beat[key].to_string().contains(&format!("\"{name}\"")), "{key}: {beat:#}");
        }
    }

    let metrics = metric_names(&bundle);
    for known in [
        "daglight.query.rows_read",
        "daglight.memory.reserved",
        "daglight.runtime.workers",
        "daglight.pending_tasks",
        "daglight.completed_tasks",
        "process.cpu.time",
        "process.memory.usage",
        "process.unix.file_descriptor.count",
    ] {
        assert!(metrics.iter().any(|name| name == known), "{known}: {metrics:#?}");
    }
}

/// `SET` gives a session another pool, which is the one that its queries use from then on.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_session_is_known_after_a_new_limit() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.path().to_owned();
    settings.heartbeat.interval_seconds = 0.02;
    let telemetry = Telemetry::new(settings);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    let seen = || json(bundle.join("heartbeat.json"))["beats"].as_u64().unwrap();
    for limit in ["32M", "64M"] {
        run.node("orders", async |_| {
            ctx.sql(&format!("SET datafusion.runtime.memory_limit = '{limit}'")).await?.collect().await?;
            ctx.sql("SELECT count(*) FROM generate_series(1, 10)").await?.collect().await?;
            let beats = seen();
            while seen() < beats + 3 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Ok::<_, DataFusionError>(())
        })
        .await
        .unwrap();
    }
    run.finish().await;
    let limits: Vec<_> = beats(&bundle)
        .iter()
        .filter_map(|beat| beat["memory.limit"].as_u64())
        .map(|bytes| bytes >> 20)
        .collect();
    assert!(limits.contains(&32) && limits.contains(&64), "{limits:?}");
}

/// The last value of a metric without attributes.
fn last_value(bundle: &Path, name: &str) -> Option<f64> {
    let text = fs::read_to_string(bundle.join("otel_metrics.json")).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let metrics = last["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name)?;
    let kind = if metric["sum"].is_object() { "sum" } else { "gauge" };
    let point = &metric[kind]["dataPoints"][0];
    point["asDouble"].as_f64().or_else(|| point["asInt"].as_str()?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_a_run_are_those_of_its_end_however_long_its_last_beat_is_ago() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path());
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    for (node, rows) in [("orders", 1_000), ("late", 500)] {
        run.node(node, async |_| {
            // The first beat is before both.
            while beats_seen(run.bundle_dir().unwrap()) == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let file = out.path().join(format!("{node}.parquet"));
            let rows = format!("SELECT value FROM generate_series(1, {rows})");
            ctx.sql(&format!("COPY ({rows}) TO '{}'", file.display())).await?.collect().await
        })
        .await
        .unwrap();
    }
    let bundle = run.finish().await.bundle.unwrap();
    assert_eq!(beats(&bundle).len(), 1);
    let of = |name| last_value(&bundle, name);
    assert_eq!((of("daglight.completed_tasks"), of("daglight.pending_tasks")), (Some(2.0), Some(1.0)));
    assert_eq!(of("daglight.query.rows_written"), Some(1_500.0));
    assert!(of("process.cpu.time").is_some_and(|seconds| seconds > 0.0));
}

fn beats_seen(bundle: &Path) -> u64 {
    let beat = fs::read(bundle.join("heartbeat.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&beat).ok().and_then(|beat| beat["beats"].as_u64()).unwrap_or(0)
}
