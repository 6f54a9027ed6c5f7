//! Plans that are executed more than once.

use std::sync::Arc;

use daglight_plan_diagnostics::QueryOutcome;
use datafusion::physical_plan::{ExecutionPlan, collect, execution_plan::reset_plan_states};

use crate::support::session;

/// Executes a plan `times` times, with its states reset in between, and compares rows and reports.
async fn check(sql: &str, rows: u64, rows_read: Option<u64>, tapped: usize) {
    let (ctx, seen, live) = session();
    let memory = "CREATE TABLE m AS SELECT value AS x, value % 7 AS k FROM generate_series(1, 1000)";
    ctx.sql(memory).await.unwrap().collect().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.parquet");
    let copy = format!("COPY (SELECT * FROM m) TO '{}'", file.display());
    ctx.sql(&copy).await.unwrap().collect().await.unwrap();
    let external = format!("CREATE EXTERNAL TABLE f STORED AS PARQUET LOCATION '{}'", file.display());
    ctx.sql(&external).await.unwrap().collect().await.unwrap();
    seen.reports();
    seen.tapped_rows();
    let mut plan: Arc<dyn ExecutionPlan> = ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let mut ids = Vec::new();
    for round in 0..3 {
        let batches =
            collect(Arc::clone(&plan), ctx.task_ctx()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(!batches.is_empty(), "{sql}");
        let reports = seen.reports();
        assert_eq!(reports.len(), 1, "{sql}, round {round}");
        let report = &reports[0];
        assert_eq!(report.outcome, QueryOutcome::Completed, "{sql}, round {round}");
        assert_eq!(
            (report.rows, report.rows_read, seen.tapped_rows()),
            (Some(rows), rows_read, tapped),
            "{sql}, round {round}"
        );
        assert!(report.operators.iter().all(|operator| operator.started_at >= report.started_at), "{sql}");
        ids.push(report.query.id);
        assert!(live.sample().is_empty());
        plan = reset_plan_states(plan).unwrap();
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each execution is a separate query: {sql}");
}

#[tokio::test]
async fn a_plan_that_was_reset_is_executed_and_seen_once_more() {
    check("SELECT k, count(*) FROM m GROUP BY k", 7, Some(1000), 7).await;
    check("SELECT * FROM f WHERE x > 10 ORDER BY x LIMIT 5", 5, Some(1000), 5).await;
    check("SELECT * FROM m ORDER BY x DESC LIMIT 5", 5, Some(1000), 5).await;
    check("SELECT a.x FROM m a JOIN f b ON a.x = b.x ORDER BY 1", 1000, Some(2000), 1000).await;
    check("SELECT x, sum(x) OVER (PARTITION BY k ORDER BY x) FROM m", 1000, Some(1000), 1000).await;
    check("SELECT x FROM m WHERE x > (SELECT avg(x) FROM f)", 500, Some(2000), 500).await;
    check("INSERT INTO m SELECT 1, 2 FROM f", 1000, Some(1000), 1000).await;
    check("EXPLAIN ANALYZE SELECT k, count(*) FROM m GROUP BY k", 7, Some(1000), 7).await;
}

#[tokio::test]
async fn a_plan_that_was_not_reset_is_seen_once_more_as_well() {
    let (ctx, seen, _) = session();
    let frame = ctx.sql("SELECT * FROM (VALUES (1), (2), (3)) AS t(x) WHERE x > 1").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    for _ in 0..2 {
        collect(Arc::clone(&plan), ctx.task_ctx()).await.unwrap();
        let reports = seen.reports();
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].rows, reports[0].rows_read, seen.tapped_rows()), (Some(2), Some(0), 2));
        let filter = reports[0].operators.iter().find(|operator| operator.name == "FilterExec").unwrap();
        assert_eq!(filter.output_rows, Some(2), "what was measured before does not count");
    }
}
