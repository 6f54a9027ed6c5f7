//! Queries of a real session, and what an observer sees of them.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is an edge: it compares with the clock, and clears variables for the programs that it starts"
)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod delegation;
mod elsewhere;
mod examples;
mod finding_pages;
mod fingerprints;
mod hostile;
mod lineage;
mod lineage_tpch;
mod planning;
mod repeated;
mod scans;
mod support;
mod writes;

use std::sync::Arc;

use daglight_plan_diagnostics::{QueryKind, QueryOutcome};
use datafusion::{
    physical_plan::{displayable, sorts::sort::SortExec},
    prelude::{SessionConfig, SessionContext},
};
use futures::StreamExt as _;
use support::{only, run, session};

#[tokio::test]
async fn a_select_is_reported_with_its_operators() {
    let (ctx, seen, _) = session();
    let sql =
        "SELECT value % 3 AS k, count(*) AS n FROM generate_series(1, 1000) WHERE value > 10 GROUP BY k";
    assert_eq!(run(&ctx, sql).await, 3);
    let report = only(&seen);
    assert_eq!((report.rows, seen.tapped_rows()), (Some(3), 3));
    assert_eq!((&report.outcome, &report.query.kind), (&QueryOutcome::Completed, &QueryKind::Select));
    assert!(report.operators.iter().any(|operator| operator.name == "AggregateExec"));
    let scan = report.operators.last().unwrap();
    assert_eq!(scan.output_rows, Some(1000));
    assert!(
        scan.parent.is_some() && scan.started_at >= report.started_at && scan.ended_at <= report.ended_at()
    );
}

#[tokio::test]
async fn a_copy_counts_what_it_wrote_and_shows_its_data() {
    let (ctx, seen, _) = session();
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.parquet");
    run(&ctx, &format!("COPY (SELECT value FROM generate_series(1, 5000)) TO '{}'", target.display())).await;
    let report = only(&seen);
    assert_eq!((report.rows, seen.tapped_rows()), (Some(5000), 5000));
    assert!(matches!(&report.query.kind, QueryKind::Copy { format, .. } if format == "parquet"));
    assert!(report.bytes_written.unwrap() > 0);
    assert!(target.exists());
}

#[tokio::test]
async fn a_created_table_is_seen_once_and_a_ddl_result_never() {
    let (ctx, seen, _) = session();
    run(&ctx, "CREATE TABLE t AS SELECT value FROM generate_series(1, 10)").await;
    assert_eq!(only(&seen).rows, Some(10));
    run(&ctx, "CREATE VIEW v AS SELECT * FROM t").await;
    run(&ctx, "SET datafusion.execution.batch_size = 100").await;
    assert!(seen.reports().is_empty());
    run(&ctx, "SELECT * FROM v JOIN t USING (value)").await;
    assert_eq!(only(&seen).query.source_tables, ["t"]);
}

#[tokio::test]
async fn a_failed_and_a_cancelled_query_are_reported_as_such() {
    let (ctx, seen, _) = session();
    let failing = ctx.sql("SELECT 1 / (value - 5) FROM generate_series(1, 10)").await.unwrap();
    failing.collect().await.unwrap_err();
    let QueryOutcome::Failed { message } = only(&seen).outcome else { panic!("not failed") };
    assert!(message.contains("Divide by zero"), "{message}");

    let mut stream = ctx
        .sql("SELECT value FROM generate_series(1, 10000000)")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(only(&seen).outcome, QueryOutcome::Cancelled);
}

#[tokio::test]
async fn a_plan_that_is_never_executed_has_no_report() {
    let (ctx, seen, live) = session();
    let frame = ctx.sql("SELECT value FROM generate_series(1, 10)").await.unwrap();
    drop(frame.create_physical_plan().await.unwrap());
    assert!(seen.reports().is_empty());
    assert!(live.sample().is_empty());
}

#[tokio::test]
async fn plans_look_as_they_do_without_an_observer() {
    let (ctx, _, _) = session();
    let bare = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let sql = "SELECT value FROM generate_series(1, 10) ORDER BY value DESC";
    let observed = ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let plain = bare.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let text = |plan: &Arc<dyn datafusion::physical_plan::ExecutionPlan>| {
        displayable(plan.as_ref()).indent(true).to_string()
    };
    assert_eq!(text(&observed), text(&plain));
    assert_eq!(observed.is::<SortExec>(), plain.is::<SortExec>());
}

#[tokio::test]
async fn a_running_query_shows_its_progress() {
    let (ctx, _, live) = session();
    let mut stream = ctx
        .sql("SELECT value FROM generate_series(1, 10000000)")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    let queries = live.sample();
    assert_eq!(queries.len(), 1);
    assert!(queries[0].rows > 0 && !queries[0].operators.is_empty());
    drop(stream);
    assert!(live.sample().is_empty());
}

#[tokio::test]
async fn fingerprints_forget_literals_and_texts_can() {
    let (ctx, seen, _) = session();
    let sql = |limit: &str| {
        format!(
            "SELECT sum(value * {limit}) AS s FROM generate_series(1, 10) WHERE CAST(value AS VARCHAR) <> 'secret{limit}'"
        )
    };
    run(&ctx, &sql("41")).await;
    run(&ctx, &sql("42")).await;
    let reports = seen.reports();
    let [a, b] = [&reports[0].query, &reports[1].query];
    assert_eq!(a.fingerprints.logical_hash, b.fingerprints.logical_hash);
    assert_eq!(a.fingerprints.plan_hash, b.fingerprints.plan_hash);
    assert_ne!(a.fingerprints.literal_hash, b.fingerprints.literal_hash);
    assert!(a.texts.logical.contains("secret41"));
    let bundle = serde_json::to_string(&reports[0].query.to_plan_bundle(false)).unwrap();
    assert!(!bundle.contains("secret41"), "{bundle}");
}

#[tokio::test]
async fn a_created_table_has_the_fingerprint_of_its_query() {
    let (ctx, seen, _) = session();
    let sql = "SELECT value, value IS NULL AS missing FROM generate_series(1, 10) WHERE 1 = 1";
    run(&ctx, sql).await;
    let selected = only(&seen);
    run(&ctx, &format!("CREATE TABLE t AS {sql}")).await;
    let created = only(&seen);
    assert_eq!(selected.query.texts.logical, created.query.texts.logical);
    assert_eq!(selected.query.fingerprints, created.query.fingerprints);
}
