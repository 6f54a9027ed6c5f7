//! The lifecycle of a run: wires identity, tracker, OpenTelemetry, plans, outputs and heartbeat together.
//!
//! [`Telemetry`] lives as long as the process and owns what runs share. [`Telemetry::start_run`] returns a [`Run`], whose
//! [`Run::node`] runs the code of a node with a span, a task on the tracker and an entry in the heartbeat, and sees
//! every query in it. [`Run::finish`] ends all of that in bounded time and says what was delivered. This crate also
//! holds the adapters between the crates below, none of which knows another's types.
//!
//! How a script becomes nodes belongs to `daglight-sql-pipeline`.

#[cfg(not(unix))]
compile_error!("Daglight runs on Linux and macOS: it relies on the signals, file locks and folders of Unix");

/// The `tracing` target of the events of a run's life: started, node finished, node failed, ended. A program that
/// shows these things itself may leave them out of its console.
pub const LIFECYCLE_TARGET: &str = "daglight::run";

/// The `tracing` target of notes that belong on a console at level `INFO`, such as that a stall is over.
pub const NOTE_TARGET: &str = "daglight::note";

/// How the names of the fields begin that a warning of a stall has besides its sentence. A program whose console is for people
/// may leave them out.
pub const STALL_FIELDS: &str = "stall.";

// What runs share, and one run from its start to its end.
mod telemetry;
mod options;
mod start;
mod run;
mod run_context;
mod run_state;
mod run_log;
mod run_tags;
mod shown_dag;
mod run_error;
mod error_report;

// Its nodes and stages.
mod node;
mod node_run;
mod node_scope;
mod node_marks;
mod node_checks;
mod node_queries;
mod node_end;
mod node_stop;
mod stage;
mod open_statements;
mod ran_for;
mod panics;

// Its queries: whose they are, and what is recorded of them.
mod query_owner;
mod secret_columns;
mod session_observer;
mod session_runtime;
mod session_tables;
mod frames;
mod spawned_tasks;
mod query_listener;
mod query_write;
mod parsed_statement;
mod operator_spans;
mod plan_book;
mod plan_files;
mod previous_plans;
mod storage;
mod moved;

// What the tracker, the log and the page receive.
mod log;
mod attributes;
mod artifacts;
mod hamilton_summary;
mod source_summary;
mod lineage;
mod lineage_datasets;
mod lineage_text;
mod plan_picture;
mod preview;
mod trace_link;
mod location;

// While it goes on.
mod beats;
mod live_progress;
mod progress;
mod memory_pools;
mod watched_pool;
mod runtime_watch;
mod shown_execution;
mod stalls;
mod on_stall;
mod own_time;

// Its end, however it comes.
mod finish;
mod flush;
mod end_progress;
mod ends;
mod interrupt;
mod signals;
mod stop_now;
mod last_words;
mod beside_runtime;

// What is done about it before and afterwards.
mod doctor;
mod bundle_status;
mod close;
mod sync;
mod sync_lineage;

pub use bundle_status::{BundleState, BundleStatus};
pub use close::{CloseError, close_dead_run};
/// What [`Node::expect`] takes, and what it fails with.
pub use daglight_materializers::{ChecksFailed, DataCheck};
pub use daglight_plan_diagnostics::QueryCancelled;
pub use daglight_run_bundle::{
    AttemptRecord, NodeRecord, NodeStatus, OwnTime, RunStatus, StallClass, Tracking, Warning, WarningCode,
};
pub use doctor::{Check, CheckKind, SERVER_VARIABLES, check_setup};
pub use error_report::ErrorReport;
pub use finish::{FinishReport, ReportPaths, RunLinks};
pub use interrupt::{Interrupted, OnInterrupt, StopSignal};
pub use node::{LeftOut, Node};
pub use node_stop::Stalled;
pub use options::RunOptions;
pub use panics::{Panic, catch_panic, silence_panics_of_nodes};
pub use parsed_statement::ParsedStatement;
pub use progress::{Reading, RunProgress, RunWatch, RunningNode};
pub use run::Run;
pub use run_error::{RunError, error_kind};
pub use shown_dag::shown_dag;
pub use signals::receive_signals;
pub use spawned_tasks::follow_spawned_tasks;
pub use sync::{SyncReport, sync_run};
pub use sync_lineage::{SyncedLineage, sync_lineage_of};
pub use telemetry::{Telemetry, TelemetryError};
