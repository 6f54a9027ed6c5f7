//! A node that executes more queries than are kept one by one.

use std::fs;

use daglight_capture_policy::Profile;
use daglight_run_session::RunOptions;
use datafusion::{error::DataFusionError, execution::SessionStateBuilder};
use serde_json::json;

use crate::{dag, json, spans, telemetry};

const QUERIES: u64 = 300;
const ROWS_EACH: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_and_the_slowest_have_plans_and_all_are_in_the_sums() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    run.node("orders", async |_| {
        for number in 0..QUERIES {
            let sql = format!("SELECT value + {number} AS x FROM generate_series(1, {ROWS_EACH})");
            ctx.sql(&sql).await?.collect().await?;
        }
        Ok::<_, DataFusionError>(())
    })
    .await
    .unwrap();
    let report = run.finish().await;
    let bundle = report.bundle.unwrap();

    let plans: Vec<_> =
        fs::read_dir(bundle.join("plans")).unwrap().map(|plan| json(plan.unwrap().path())).collect();
    assert_eq!(plans.len(), 1, "one plan, whatever the literals are");
    let executions = &plans[0]["executions"];
    assert_eq!((&executions["started"], &executions["completed"]), (&json!(QUERIES), &json!(QUERIES)));
    assert_eq!(executions["rows_read"], json!(QUERIES * ROWS_EACH));
    assert_eq!(plans[0]["query_ids"].as_array().unwrap().len(), 100);
    let executed = spans(&bundle).iter().filter(|span| span["name"] == "datafusion.execute").count();
    assert_eq!(executed as u64, QUERIES, "every query has its span");
    let written = json(bundle.join("run_diagnostics_report.json"));
    let node = &written["nodes"][0];
    assert_eq!((&node["queries"], &node["queries_summed"]), (&json!(QUERIES), &json!(QUERIES - 120)));
    assert_eq!(node["rows_in"], json!(QUERIES * ROWS_EACH));
    assert_eq!(
        (&written["totals"]["queries"], &written["totals"]["rows_read"]),
        (&json!(QUERIES), &node["rows_in"])
    );
    let markdown = fs::read_to_string(bundle.join("run_diagnostics_report.md")).unwrap();
    assert!(markdown.contains("300 queries, of which 180 are in the sums only"), "{markdown}");
}
