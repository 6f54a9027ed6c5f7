//! Run telemetry for Apache DataFusion pipelines: the Hamilton UI, OpenTelemetry and a run bundle from one
//! instrumented run.
//!
//! ```no_run
#![doc = include_str!("../examples/readme.rs")]
//! ```
//!
//! Each crate behind this one can be used without the others; a feature of its name brings it in here.

pub use daglight_capture_policy as policy;
#[cfg(feature = "cluster")]
pub use daglight_cluster as cluster;
#[cfg(feature = "outputs")]
pub use daglight_data_summary as summary;
#[cfg(feature = "heartbeat")]
pub use daglight_heartbeat as heartbeat;
#[cfg(feature = "outputs")]
pub use daglight_materializers as outputs;
#[cfg(feature = "lineage")]
pub use daglight_openlineage as lineage;
#[cfg(feature = "otel")]
pub use daglight_otel_bridge as otel;
#[cfg(feature = "plans")]
pub use daglight_plan_diagnostics as plans;
pub use daglight_run_identity as identity;
#[cfg(feature = "session")]
pub use daglight_run_session::{
    AttemptRecord, BundleState, BundleStatus, Check, CheckKind, ChecksFailed, CloseError, DataCheck,
    ErrorReport, FinishReport, Interrupted, LIFECYCLE_TARGET, LeftJobEnd, LeftJobs, LeftJobsError,
    NOTE_TARGET, Node, NodeRecord, NodeStatus, ObserveOptions, Observed, OnInterrupt, OwnTime, Panic,
    QueryCancelled, Reading, ReportPaths, Run, RunError, RunLinks, RunOptions, RunProgress, RunStatus,
    RunWatch, RunningNode, SERVER_VARIABLES, STALL_FIELDS, StallClass, Stalled, StopSignal, SyncReport,
    SyncedLineage, Telemetry, TelemetryError, Tracking, WorkerTelemetry, catch_panic, check_setup,
    close_dead_run, error_kind, follow_spawned_tasks, left_jobs, receive_signals, record_left_jobs,
    shown_check, shown_dag, silence_panics_of_nodes, sync_lineage_of, sync_run,
};
pub use daglight_settings as settings;
#[cfg(feature = "sql")]
pub use daglight_sql_pipeline as sql;
#[cfg(feature = "tracker")]
pub use daglight_tracker_client as tracker;

/// The run bundle on disk, and the report made from it.
#[cfg(feature = "bundle")]
pub mod bundle {
    pub use daglight_bundle_report::*;
    pub use daglight_run_bundle::*;
}

/// Observes a session: each of its queries is a node of a run, without a DAG that is declared first. What is returned is used
/// as the session, and the run ends with it. Profile, OpenTelemetry and tracker are those of `daglight.toml` and the environment,
/// as of the command.
///
/// [`Telemetry::observe`](daglight_run_session::Telemetry::observe) says how nodes are called and connected, and takes options.
///
/// ```no_run
#[doc = include_str!("../examples/observe.rs")]
/// ```
///
/// # Errors
/// When a setting is wrong, or the session is observed already. Servers that do not answer are not an error.
#[cfg(feature = "session")]
pub fn observe(
    session: impl Into<datafusion::execution::SessionStateBuilder>,
) -> Result<Observed, TelemetryError> {
    Telemetry::from_env()?.observe(session, ObserveOptions::new())
}

/// What a program that runs pipelines needs.
#[cfg(feature = "session")]
pub mod prelude {
    pub use daglight_materializers::{Arrow, Csv, Ndjson, Output, ParamTable, Parquet, Table, View};
    pub use daglight_run_identity::{Dag, DagName, RunId};
    pub use daglight_run_session::{
        FinishReport, Node, ObserveOptions, Observed, Run, RunOptions, Telemetry,
    };
}
