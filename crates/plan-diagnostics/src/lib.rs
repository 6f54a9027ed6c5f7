//! Sees every query of a DataFusion session: plan bundles, fingerprints, operator metrics, live progress.
//!
//! [`instrument`] puts a planner in front of the session's own, and a wrapper in front of each of its rules. The planner wraps
//! the root of each physical plan, and under a sink the data on its way in; the wrappers delegate everything else, so
//! `EXPLAIN`, downcasts and results stay as they were. An observer is called when a query was planned, and its listener when
//! it ended, with the metrics of every operator.
//!
//! What the data look like belongs to `daglight-materializers`; which run and node a query belongs to, to
//! `daglight-run-session`.

// Who sees the queries of a session, and by what.
mod data_tap;
mod observer;
mod planner;
mod planning;
mod planning_scope;
mod rules;
mod watched_session;
mod rule_differences;

// A plan that was made.
mod query_kind;
mod planned_query;
mod planned_operators;
mod description;
mod source_plan;
mod failed_planning;
mod open_planning;
mod fingerprint;
mod shape;
mod lineage;
mod source_tables;
mod sources;
mod scan_facts;

// A query that runs.
mod executions;
mod measured_query;
mod query_run;
mod ending;
mod giving_way;
mod hooked_exec;
mod watched_stream;
mod tap;
mod counted;
mod polls;
mod default_settings;
mod elsewhere;
mod reported_operator;
mod watched_task;
mod progress;
mod cancel;

// What it measured, and what it asked of stores.
mod operators;
mod plan_bundle;
mod store_request;
mod watched_store;

mod shield;

pub use cancel::QueryCancelled;
pub use data_tap::{DataTap, PartitionTap};
pub use elsewhere::{RemoteWork, Travelling, is_distributed, runs_elsewhere, stays_here, with_config};
pub use ending::{PlanEnd, ending_with};
pub use fingerprint::{Fingerprints, PlanTexts};
pub use giving_way::giving_way;
pub use lineage::{ColumnLineage, Derivation, Influence, Lineage, Origins, SourceColumn, Unresolved};
pub use measured_query::{MeasuredQuery, QueryOutcome};
pub use observer::{Observation, QueryListener, QueryObserver};
pub use open_planning::LivePlanning;
pub use operators::MeasuredOperator;
pub use planned_operators::Estimate;
pub use planned_query::{PlannedQuery, PlanningFailure, PlanningState, PlanningTurn};
pub use planner::{instrument, is_instrumented};
pub use planning::{PlanningPart, PlanningTimes, RuleTime};
pub use polls::{ActivePoll, Polling, Polls, this_thread};
pub use progress::{LiveOperator, LiveQueries, LiveQuery};
pub use query_kind::QueryKind;
pub use reported_operator::{ReportedOperator, TASK_LABEL};
pub use scan_facts::ScanFacts;
pub use source_tables::SourceTable;
pub use store_request::{RequestObserver, StoreObserver, StoreOperation, StoreRequest};
pub use watched_store::with_watched_stores;
pub use watched_task::{
    EndedTask, MeasuredTask, RemoteTask, RemoteTaskListener, TaskListener, report_task, watched_task,
};
