//! What stays of plans that are planned, or fail to be.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionContext, col, lit},
};

use crate::support::{only, run, session};

/// Registers a table, and gives what lives as long as somebody holds the table.
fn table(ctx: &SessionContext) -> std::sync::Weak<MemTable> {
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)]).unwrap();
    let schema: SchemaRef = batch.schema();
    let table = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
    ctx.register_table("held", Arc::clone(&table) as _).unwrap();
    Arc::downgrade(&table)
}

#[tokio::test]
async fn no_plan_outlives_its_planning() {
    let (ctx, seen, _) = session();
    for sql in [
        // Fails in the analyzer, in the physical planner, and not at all.
        "SELECT * FROM held WHERE x IN (SELECT x, x FROM held)",
        "SELECT x FROM held WHERE x > ANY (SELECT x FROM held)",
        "SELECT sum(x) FILTER (WHERE x > 1) FROM held",
    ] {
        let held = table(&ctx);
        match ctx.sql(sql).await {
            Ok(frame) => drop(frame.collect().await),
            Err(error) => drop(error),
        }
        ctx.deregister_table("held").unwrap();
        seen.reports();
        assert_eq!(held.strong_count(), 0, "{sql}");
    }
    // Optimised, and never planned.
    let held = table(&ctx);
    let frame = ctx.table("held").await.unwrap().filter(col("x").gt(lit(1))).unwrap();
    drop(frame.clone().into_optimized_plan().unwrap());
    let failing = frame.filter(col("x").eq(lit("no number"))).unwrap().create_physical_plan().await;
    drop(failing);
    ctx.deregister_table("held").unwrap();
    assert_eq!(held.strong_count(), 0);
}

#[tokio::test]
async fn a_query_is_never_taken_for_one_that_was_analysed_before_it() {
    let (ctx, seen, _) = session();
    let held = table(&ctx);
    // The same columns of the same table, but another filter.
    let frame = ctx.table("held").await.unwrap();
    let first = frame.clone().filter(col("x").gt(lit(1))).unwrap();
    let optimized = first.into_optimized_plan().unwrap();
    frame.filter(col("x").lt(lit(3))).unwrap().collect().await.unwrap();
    let report = only(&seen);
    assert!(report.query.texts.logical.contains("x < "), "{}", report.query.texts.logical);
    // A plan on top of one that was optimised by itself.
    let on_top = ctx.execute_logical_plan(optimized).await.unwrap().filter(col("x").not_eq(lit(2))).unwrap();
    on_top.collect().await.unwrap();
    let report = only(&seen);
    assert!(report.query.texts.logical.contains("x != "), "{}", report.query.texts.logical);
    drop(held);
    run(&ctx, "CREATE TABLE made AS SELECT x FROM held WHERE 1 = 1 AND x > 1").await;
    assert!(only(&seen).query.texts.logical.contains("Int64(1) = Int64(1)"), "as it was written");
}
