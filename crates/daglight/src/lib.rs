//! Run telemetry for Apache DataFusion pipelines: the Hamilton UI, OpenTelemetry and a run bundle from one
//! instrumented run.
//!
//! ```no_run
//! use daglight::prelude::*;
//! use datafusion::execution::SessionStateBuilder;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::from_env()?; // profile, OpenTelemetry, tracker; never waits for a server
//! let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
//!
//! let dag = Dag::builder("sales::order_risk_v1")? // built once: decides the version
//!     .loader("orders")
//!     .transform("order_risk", ["orders"]).documentation("Orders likely to be late").tag("layer", "gold")
//!     .saver("order_risk_parquet", ["order_risk"])
//!     .build()?;
//!
//! let run = telemetry.start_run(&dag, RunOptions::default()); // executed many times: each is a run
//! run.node("order_risk_parquet", async |node| {
//!     let risk = ctx.sql("SELECT * FROM order_risk").await?;
//!     node.materialize(&ctx, risk, Parquet::to("out/order_risk.parquet")).await
//! })
//! .await?;
//! let report = run.finish().await; // bounded; says what was delivered, waits, or was dropped
//! println!("{:?}", report.links.hamilton_run);
//! # Ok(())
//! # }
//! ```
//!
//! Each crate behind this one can be used without the others; a feature of its name brings it in here.

#[cfg(feature = "bundle")]
pub use daglight_bundle_report as bundle;
pub use daglight_capture_policy as policy;
#[cfg(feature = "heartbeat")]
pub use daglight_heartbeat as heartbeat;
#[cfg(feature = "outputs")]
pub use daglight_materializers as outputs;
#[cfg(feature = "otel")]
pub use daglight_otel_bridge as otel;
#[cfg(feature = "plans")]
pub use daglight_plan_diagnostics as plans;
pub use daglight_run_identity as identity;
#[cfg(feature = "session")]
pub use daglight_run_session::{
    AttemptRecord, BundleState, BundleStatus, CloseError, FinishReport, LIFECYCLE_TARGET, NOTE_TARGET, Node,
    NodeRecord, NodeStatus, ReportPaths, Run, RunError, RunLinks, RunOptions, RunStatus, SyncReport,
    Telemetry, TelemetryError, Tracking, close_dead_run, follow_spawned_tasks, sync_run,
};
#[cfg(feature = "sql")]
pub use daglight_sql_pipeline as sql;
#[cfg(feature = "tracker")]
pub use daglight_tracker_client as tracker;

/// What a program that runs pipelines needs.
#[cfg(feature = "session")]
pub mod prelude {
    pub use daglight_materializers::{Arrow, Csv, Ndjson, Output, ParamTable, Parquet, Table, View};
    pub use daglight_run_identity::{Dag, DagName, RunId};
    pub use daglight_run_session::{FinishReport, Node, Run, RunOptions, Telemetry};
}
