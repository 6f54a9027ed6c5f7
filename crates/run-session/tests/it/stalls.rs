//! A query that makes no progress, and then goes on.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::Profile;
use daglight_run_session::{RunOptions, Telemetry};
use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::streaming::StreamingTable,
    execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::stream;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{dag, json};

/// A source that sends nothing until it is released.
struct Waiting {
    schema: SchemaRef,
    go_on: Arc<Notify>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

impl PartitionStream for Waiting {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, go_on) = (Arc::clone(&self.schema), Arc::clone(&self.go_on));
        let batch = stream::once(async move {
            go_on.notified().await;
            Ok(RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2, 3]))])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batch))
    }
}

/// What the evidence of the process says of stalls.
fn stalls(run_dir: &std::path::Path) -> Value {
    json(run_dir.join("heartbeat.json"))["stalls"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_answer_is_one_stall_with_an_end() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = daglight_settings::Settings::of_profile(Profile::Dev);
    settings.bundle.output_dir = out.path().to_owned();
    settings.heartbeat.interval_seconds = 0.02;
    settings.heartbeat.stall_seconds = 0.1;
    let telemetry = Telemetry::new(settings);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let go_on = Arc::new(Notify::new());
    let source = Arc::new(Waiting { schema: Arc::clone(&schema), go_on: Arc::clone(&go_on) });
    ctx.register_table("orders", Arc::new(StreamingTable::try_new(schema, vec![source]).unwrap())).unwrap();

    let run = telemetry.start_run(&dag(), RunOptions::default());
    let bundle = run.bundle_dir().unwrap().to_owned();
    let beats = || json(bundle.join("heartbeat.json"))["beats"].as_u64().unwrap();
    let until = async |what: &str, done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(60), "it did not come to {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let watched = async {
        until("a stall", &|| stalls(&bundle)["count"] == 1).await;
        let beats_before = beats();
        until("more beats", &|| beats() > beats_before + 5).await;
        go_on.notify_one();
        Ok::<(), datafusion::error::DataFusionError>(())
    };
    let counted = run.node("orders", async |_| ctx.sql("SELECT count(*) FROM orders").await?.collect().await);
    let (counted, _) = tokio::try_join!(counted, watched).unwrap();
    assert_eq!(counted[0].num_rows(), 1);
    until("the end of the stall", &|| stalls(&bundle)["episodes"][0]["ended"].is_string()).await;
    run.finish().await;

    let stalls = stalls(&bundle);
    assert_eq!(stalls["count"], 1, "{stalls}");
    let stall = &stalls["episodes"][0];
    assert_eq!(
        (&stall["node"], &stall["operator"]),
        (&"orders".into(), &"StreamingTableExec".into()),
        "{stall}"
    );
    // One stall is one finding.
    let report = json(bundle.join("run_diagnostics_report.json"));
    let findings = report["headline"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["text"].as_str().unwrap().contains("no progress"));
    assert_eq!(findings.count(), 1, "{:#}", report["headline"]);
}
