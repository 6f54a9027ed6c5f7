//! The handle of a run: shared, used in unforeseen ways, and given back.

use daglight_capture_policy::Profile;
use daglight_run_session::{NodeStatus, Run, RunOptions, RunStatus, Telemetry, WarningCode};
use daglight_settings::Settings;
use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};

use crate::{dag, json, spans, telemetry};

#[tokio::test(flavor = "multi_thread")]
async fn clones_are_one_run_that_ends_once() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    let shared = run.clone();
    let task = tokio::spawn(async move { shared.node("orders", async |_| Ok::<_, String>(())).await });
    task.await.unwrap().unwrap();
    let clones = [run.clone(), run.clone()];
    let [first, second] = clones.map(|run| tokio::spawn(run.finish()));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert_eq!(first.status, RunStatus::Success);
    assert_eq!(run.finish().await, first);
    let bundle = first.bundle.unwrap();
    assert_eq!(spans(&bundle).iter().filter(|span| span["name"] == "pipeline.execute").count(), 1);
    assert_eq!(json(bundle.join("manifest.json"))["status"], "success");
}

#[tokio::test]
async fn a_run_that_has_ended_still_does_the_work() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::new());
    let report = run.clone().finish().await;
    let batches = run.node("orders", async |_| ctx.sql("SELECT 1").await?.collect().await).await.unwrap();
    assert_eq!(batches[0].num_rows(), 1);
    assert_eq!(run.stage("publish", async { Err::<(), _>("shut") }).await, Err("shut"));
    assert_eq!(run.finish().await, report);
    assert_eq!(report.nodes[0].status, NodeStatus::NotRun);
    assert_eq!(json(report.bundle.unwrap().join("manifest.json"))["status"], "success");
    assert_eq!(telemetry.open_work(), 0);
}

#[tokio::test]
async fn nodes_that_the_dag_does_not_know_and_nodes_inside_nodes_are_seen() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionContext::new());
    let run = telemetry.start_run(&dag(), RunOptions::new());
    run.node("unheard_of", async |_| ctx.sql("SELECT 1").await?.collect().await).await.unwrap();
    run.node("orders", async |_| {
        let inner =
            run.node("late", async |_| ctx.sql("SELECT * FROM generate_series(1, 3)").await?.collect().await);
        inner.await?;
        ctx.sql("SELECT * FROM generate_series(1, 5)").await?.collect().await
    })
    .await
    .unwrap();
    let report = run.finish().await;
    let rows: Vec<_> = report.nodes.iter().map(|node| node.rows).collect();
    assert_eq!(rows, [Some(5), Some(3), None]);
    assert!(report.warnings.iter().any(|warning| warning.code == WarningCode::NodeNotDeclared
        && warning.message.contains("\"unheard_of\" is not a node")));
    let nodes = spans(&report.bundle.unwrap()).into_iter().filter(|span| span["name"] == "hamilton.node");
    assert_eq!(nodes.count(), 3);
}

#[tokio::test]
async fn telemetry_run_records_the_error_of_an_early_return() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let work = async |run: Run| -> anyhow::Result<()> {
        run.node("orders", async |_| Ok::<_, String>(())).await.map_err(anyhow::Error::msg)?;
        let _: u64 = "twelve".parse()?;
        Ok(())
    };
    let (result, report) = telemetry.run(&dag(), RunOptions::new(), work).await;
    assert!(result.is_err());
    assert_eq!(report.status, RunStatus::Failure);
    let manifest = json(report.bundle.unwrap().join("manifest.json"));
    assert_eq!(manifest["error"], "invalid digit found in string");
}

#[test]
fn many_runs_leave_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Ci);
    settings.bundle.output_dir = out.path().to_owned();
    let telemetry = Telemetry::new(settings);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    for ending in 0..24 {
        let run = telemetry.start_run(&dag(), RunOptions::new());
        let work = run.node("orders", async |node| {
            let frame = ctx.sql("SELECT * FROM generate_series(1, 3)").await?;
            node.frame(&frame);
            match ending % 4 {
                0 => frame.collect().await.map(drop),
                1 => frame.execute_stream().await.map(drop),
                2 => Err(datafusion::error::DataFusionError::Plan("no".to_owned())),
                _ => Ok(()),
            }
        });
        let _ = runtime.block_on(work);
        match ending % 3 {
            0 => drop(run),
            1 => drop(run.finish_blocking()),
            _ => drop(runtime.block_on(run.finish())),
        }
    }
    // The ends of runs that were dropped go on beside the program.
    telemetry.shutdown();
    assert_eq!(telemetry.open_work(), 0);
}

#[test]
fn a_finish_that_is_dropped_is_waited_for() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::of_profile(Profile::Ci);
    settings.bundle.output_dir = out.path().to_owned();
    for _ in 0..8 {
        let telemetry = Telemetry::new(settings.clone());
        let run = telemetry.start_run(&dag(), RunOptions::new());
        let bundle = run.bundle_dir().unwrap().to_owned();
        // As a timeout drops it.
        drop(futures::FutureExt::now_or_never(run.finish()));
        telemetry.shutdown();
        assert!(bundle.join("run_diagnostics_report.html").exists());
        assert_eq!(telemetry.open_work(), 0);
    }
}
