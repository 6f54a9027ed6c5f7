//! The cost of a run on 1,000 workers with 100,000 tasks for the bundle and its report: bytes, time, and peak memory.
//!
//! ```text
//! cargo xtask bench cluster
//! ```
//!
//! Two runs with the same number of tasks: one with 100 queries, and one with a single query that has all of them, which is the
//! worst case for a plan file. Each report is made in a separate process, so that the memory is that of the report alone.

mod alone;

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use alone::{made_here, make_alone};
use chrono::{DateTime, TimeDelta};
use daglight_run_bundle::{
    Bundle, ClusterStage, ClusterTask, ClusterWork, Manifest, NodeRecord, NodeStatus, PlanBundle,
    PlanMetrics, RunStatus,
};
use daglight_run_identity::RunId;

const WORKERS: u64 = 1_000;
const TASKS: u64 = 100_000;
/// Stages of a query.
const STAGES: u64 = 4;
const START_NANOSECONDS: i64 = 1_795_237_787_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo also runs benches as tests, which have no time for it.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    if let Some(made) = made_here()? {
        println!(
            "report in {:.2} s and {} MB, with {} findings",
            made.time.as_secs_f64(),
            made.peak_bytes / 1_000_000,
            made.report.findings.len()
        );
        return Ok(());
    }
    for queries in [100, 1] {
        let out = tempfile::tempdir()?;
        make_alone(&record(out.path(), queries)?)?;
    }
    Ok(())
}

fn record(out: &Path, queries: u64) -> Result<Bundle, Box<dyn Error>> {
    let run_id = RunId::new();
    let bundle = Bundle::create(out, run_id)?;
    let started_at = DateTime::from_timestamp_nanos(START_NANOSECONDS);
    let node = |number: u64| NodeRecord {
        status: NodeStatus::Success,
        started_at: Some(started_at),
        duration_ms: Some(5_000.0),
        ..NodeRecord::not_run(name(number))
    };
    let manifest = Manifest {
        status: RunStatus::Success,
        ended_at: Some(started_at + TimeDelta::seconds(60)),
        nodes: (0..queries).map(node).collect(),
        ..Manifest::of_start(run_id, "bench::cluster_v1", started_at)
    };
    manifest.write(&bundle)?;
    fs::create_dir_all(bundle.dir().join("plans"))?;
    let begun = Instant::now();
    let mut bytes = 0;
    for number in 0..queries {
        let plan = plan(number, TASKS / queries);
        let text = serde_json::to_vec_pretty(&plan)?;
        bytes += text.len();
        fs::write(
            bundle.dir().join(format!("plans/{:03}-{}-0123456789abcdef.json", number + 1, name(number))),
            text,
        )?;
    }
    for file in [bundle.traces(), bundle.metrics(), bundle.logs()] {
        fs::write(file, "")?;
    }
    println!(
        "{TASKS} tasks of {queries} queries on {WORKERS} workers: {:.1} MB of plan files, written in {:.2} s",
        bytes as f64 / 1e6,
        begun.elapsed().max(Duration::ZERO).as_secs_f64()
    );
    Ok(bundle)
}

fn name(number: u64) -> String {
    format!("node_{number}")
}

fn worker(number: u64) -> String {
    format!("10.0.{}.{}:9400", number / 250, number % 250)
}

/// A query whose tasks are spread over the workers; one of each stage has three times the work.
fn plan(number: u64, tasks: u64) -> PlanBundle {
    let of_stage = tasks / STAGES;
    let task = |stage: u64, task: u64| {
        let slow = if task == 7 { 3.0 } else { 1.0 };
        let ended_ms = 900.0 * slow + (task % 97) as f64 + stage as f64 * 1_000.0;
        ClusterTask {
            task,
            worker: worker((task + stage * 31) % WORKERS),
            sent_ms: Some(1.25),
            started_ms: Some(stage as f64 * 1_000.0),
            ended_ms: Some(ended_ms),
            outcome: Some("completed".to_owned()),
            rows: Some(123_456 + task),
            bytes_received: Some(1_234_567 + task),
            compute_ms: Some(800.0 * slow + (task % 89) as f64),
            ..ClusterTask::default()
        }
    };
    let stages = (0..STAGES).map(|stage| ClusterStage {
        stage,
        tasks: (0..of_stage).map(|number| task(stage, number)).collect(),
        ..ClusterStage::default()
    });
    let cluster = ClusterWork {
        engine: "datafusion-distributed".to_owned(),
        engine_query_id: Some("01890000-0000-7000-8000-000000000000".to_owned()),
        workers: (0..WORKERS).map(worker).collect(),
        stages: stages.collect(),
        ..ClusterWork::default()
    };
    PlanBundle {
        query_id: number.to_string(),
        query_ids: vec![number],
        node: Some(name(number)),
        operation: "select".to_owned(),
        outcome: Some("completed".to_owned()),
        metrics: PlanMetrics {
            started_at_ms: START_NANOSECONDS as f64 / 1e6,
            wall_ms: 5_000.0,
            cluster: Some(cluster.bounded()),
            ..PlanMetrics::default()
        },
        ..PlanBundle::default()
    }
}
