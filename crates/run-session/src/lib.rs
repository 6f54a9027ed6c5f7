//! The lifecycle of a run: wires identity, tracker, OpenTelemetry, plans, outputs and heartbeat together.
//!
//! [`Telemetry`] lives as long as the process and owns what runs share. [`Telemetry::start_run`] returns a [`Run`], whose
//! [`Run::node`] runs the code of a node with a span, a task on the tracker and an entry in the heartbeat, and sees
//! every query in it. [`Run::finish`] ends all of that in bounded time and says what was delivered. This crate also
//! holds the adapters between the crates below, none of which knows another's types.
//!
//! A run is four things: `RunContext` never changes, `RunLog` is what has happened, `RunCore` is both with what nodes and queries
//! write to, and `RunState` adds what of the run is open, its heart and its end. What nodes hold is the core, so that none of
//! them holds what holds it. A node is one type for each purpose:
//!
//! ```text
//! Node             what its own code holds: says what it reads, writes and returns, and starts stages and tasks
//! NodeRun          the telemetry around its code; ends the node, however that ends
//! OpenNode         a node that has started and not ended, as the run lists it (OpenNodes) and a signal or the end of the run ends it
//! NodeScope        what its OpenTelemetry context holds, so that its queries find it; outlives its code
//! GatheredFacts    what its code has said and its queries have shown so far
//! NodeChecks       what is expected of its rows, and what became of that
//! NodeQueries      its queries, the first and the slowest one by one and the others as sums
//! NodeMarks        what its code says of its progress
//! NodeStop         ends its code where it makes none
//! NodeOutcome      how its code ended; kept until its last query has ended, and completed then
//! ```
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

// What the runs of a process share, and what a run is. Each group uses those above it, and none below.
mod shared;
mod ends;
mod open_runs;
mod lineage_setup;
mod options;
mod run_dag;
mod run_context;
mod run_log;
mod own_time;
mod interruption;
mod run_error;
mod error_report;
mod log;
mod location;
mod shown_dag;
mod tag_names;

// Its queries, and the way of their plans into the bundle.
mod given_up_jobs;
mod run_queries;
mod moved;
mod secret_columns;
mod storage;
mod preview;
mod plan_messages;
mod previous_plans;
mod admitted_plans;
mod operator_spans;
mod cluster_facts;
mod cluster_spans;
mod shown_execution;
mod plain_type;
mod plan_book;
mod plan_entry;
mod plan_files;
mod run_core;
mod sight;
mod observed_nodes;

// A node: what is known of it, where it runs, and what becomes of that when it has ended.
mod node_marks;
mod node_stop;
mod node_queries;
mod node_checks;
mod node_facts;
mod node_outcome;
mod node_progress;
mod node_scope;
mod query_owner;
mod run_plannings;
mod query_write;
mod session_tables;
mod node_completion;
mod frames;
mod ran_for;
mod active_polls;
mod open_node;
mod open_statements;
mod panics;

// What the tracker, OpenLineage and the page receive of it.
mod attributes;
mod artifacts;
mod hamilton_bounds;
mod hamilton_summary;
mod source_summary;
mod lineage;
mod lineage_datasets;
mod lineage_text;
mod plan_picture;
mod trace_link;

// A run that goes on: what of it is open, its heart, and how far its end has come.
mod last_beat;
mod run_stalls;
mod runtime_watch;
mod run_beats;
mod finish_report;
mod end_progress;
mod run_ending;
mod run_state;
mod run_tags;
mod live_progress;
mod memory_pools;
mod watched_pool;

// The queries of a session, and whose they are.
mod parsed_statement;
mod query_place;
mod session_runtime;
mod spawned_tasks;

// Its end, however it comes.
mod node_run;
mod finish_facts;
mod manifest_file;
mod delivery_warnings;
mod flush;
mod stalls;
mod finish;
mod last_words;
mod on_interrupt;
mod signal_registry;
mod second_signal;
mod end;
mod interrupt;
mod stop_now;
mod signals;
mod on_stall;
mod beats;
mod beside_runtime;
mod travelling;

// What a program holds.
mod start;
mod stage;
mod node;
mod run;
mod until_interrupted;
mod progress;
mod observed_session;
mod query_listener;
mod session_observer;
mod telemetry;
mod observe;
mod worker_telemetry;

// What is done about a run before and afterwards.
mod doctor;
mod bundle_status;
mod close;
mod left_jobs;
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
pub use finish_report::{FinishReport, ReportPaths, RunLinks};
pub use interruption::{Interrupted, StopSignal};
pub use left_jobs::{LeftJobEnd, LeftJobs, LeftJobsError, left_jobs, record_left_jobs};
pub use node::{LeftOut, Node};
pub use node_checks::shown_check;
pub use node_stop::Stalled;
pub use observe::{ObserveOptions, Observed};
pub use on_interrupt::OnInterrupt;
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
pub use worker_telemetry::WorkerTelemetry;
