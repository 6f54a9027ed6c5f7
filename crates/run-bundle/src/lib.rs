//! The run bundle on disk: its layout, the formats of its files with their versions, reading and replacing them.
//!
//! ```text
//! <output_dir>/run_bundle/<run_id>/
//!   manifest.json                     what ran, how it ended, what was delivered      Manifest
//!   otel_traces.json                  OTLP/JSON, one object per line                  JsonLines
//!   otel_metrics.json
//!   otel_logs.json
//!   plans/<node>-<plan_hash>.json    a plan of a node each, with its executions         PlanBundle
//!   artifacts.json                    what was written                                ArtifactCatalog
//!   nodes.jsonl                       how far the nodes have come, until the run ends   RunProgress
//!   data_summaries.jsonl              what the data of nodes was like                 NodeSummary
//!   tracker/outbox.jsonl              what the tracking server is to know              outbox::Outbox
//!   tracker/delivery.json             how far that is delivered                        outbox::Cursor
//!   openlineage.jsonl                 what the run tells of its lineage                LineageEvents
//!   openlineage.delivery.json         how far that is delivered                        LineageCursor
//!   heartbeat.json                    the process, while it lives and after          ProcessEvidence
//!   run_diagnostics_report.json / .md / .html
//! ```
//!
//! Each format is written and read by one set of types. A reader rejects versions that are newer than it knows, and reports damage
//! itself, so that its callers do not have to check for it. A writer replaces a file as a whole, and never one of a newer version.
//!
//! The content of signals belongs to `daglight-otel-bridge`, the content of plans to `daglight-plan-diagnostics`, and the report to
//! `daglight-bundle-report`. Safely opening files that others may have prepared belongs to `daglight-guarded-files`, because
//! settings and certificates need it, too.

mod layout;
mod left_job;
mod recognised;
mod find;
mod folder_id;
mod bundle;
mod contents;
mod delete;

mod json_lines;
mod versioned;

mod append;
mod appended_files;
mod before_closing;
mod artifact;
mod artifact_file;
mod check_record;
mod data_summaries;
mod delivery_counts;
mod evidence;
mod evidence_file;
mod file_damage;
mod file_entry;
mod impossible_evidence;
mod impossible_times;
mod materialization;
mod lineage_cursor;
mod lineage_events;
mod lineage_runs;
mod manifest;
mod manifest_file;
mod manifest_lock;
mod node_kind;
mod own_time;
mod parallel;
mod plan_bundle;
mod plan_cluster;
mod plan_lineage;
mod plan_metrics;
mod possible;
mod process;
mod reserve;
mod run_progress;
mod run_state;
mod seal;
mod sha256;
mod signal_files;
mod signals_held;
mod sums;
mod unreadable_plans;
mod verify;
mod warning;
mod warning_code;

pub mod clock;
pub mod milliseconds;
pub mod outbox;
pub mod output_dir;
pub mod retention;

#[cfg(test)]
mod fixture;

pub use artifact::{ARTIFACTS_VERSION, Artifact, ArtifactCatalog, ArtifactColumn};
pub use bundle::{Bundle, BundleError, FoundBundles};
pub use check_record::{CheckRecord, RecordedOutcome, RecordedSeverity};
/// Which failures a written file survives, which also determines how long writing it takes.
pub use daglight_guarded_files::Durability;
pub use daglight_run_identity::hexadecimal;
pub use data_summaries::{
    BUNDLE_ONLY_FIELDS, DATA_SUMMARY, DATA_SUMMARY_BEFORE_THE_ERROR, DATA_SUMMARY_VERSION, NodeSummary,
    SummarySource,
};
pub use delete::{DeleteError, Deleted};
pub use delivery_counts::{
    Delivery, DeliveryCounts, ItemsByKind, LedgerDestination, LedgerSignal, SignalLedger,
};
pub use evidence::{
    ActiveTask, EVIDENCE_VERSION, IoCounters, Liveness, ProcessEvidence, Sighting, StackEnd, Stall,
    StallClass, StallEpisode, StallId, StallLog, StalledThread, ThreadStack,
};
pub use file_damage::FileDamage;
pub use file_entry::{FileEntry, FileUse};
pub use json_lines::{
    FileReading, JsonLine, JsonLines, MAX_LINE_BYTES, NumberedLine, open_at_last_line, read_lines,
};
pub use layout::{BundlePart, MANIFEST_FORMAT, OUTBOX_FILE, REPORT_FILES, RUN_BUNDLE, TRACES_FILE};
pub use left_job::LeftJob;
pub use lineage_cursor::{
    EVENT_OF_ANOTHER_RUN, LineageCursor, LineageProgress, MISSING_EVENT, UNREADABLE_EVENT,
    count_lineage_events, recorded_lineage,
};
pub use lineage_events::{LineageEvents, LineageLine, LineageReader};
pub use lineage_runs::LineageRuns;
pub use manifest::{
    AttemptRecord, DoneNode, Identity, Links, MANIFEST_VERSION, Manifest, NodeRecord, NodeStatus, Retry,
    RunStatus, Tracking,
};
pub use manifest_file::{LockedManifest, UpdateError};
pub use materialization::Materialization;
pub use node_kind::RecordedKind;
pub use own_time::OwnTime;
pub use plan_bundle::{MAX_PLAN_BYTES, PLAN_BUNDLE_FORMAT, PlanBundle, PlanColumn, PlanPreview, SQL_FIELDS};
pub use plan_cluster::{
    BALLISTA, ClusterStage, ClusterTask, ClusterWork, LostWorker, MAX_CLUSTER_TASKS, TasksLeftOut,
};
pub use plan_lineage::{ColumnSources, DirectSource, IndirectSource, PlanLineage};
pub use plan_metrics::{
    COMPUTING_TIMERS, Metrics, OperatorTimers, PartitionMetrics, PlanExecutions, PlanMetrics, PlanOperator,
    PlanSource, PlanningRecord, RowsRead, RuleRecord, StorageUse,
};
pub use reserve::Reserve;
pub use run_progress::RunProgress;
pub use run_state::RunState;
pub use sha256::sha256_of;
pub use signal_files::SignalFiles;
pub use sums::{count_items, saturating_sum};
pub use unreadable_plans::UnreadablePlans;
pub use verify::Fault;
pub use versioned::{ReadError, WriteError};
pub use warning::Warning;
pub use warning_code::{WarningCode, is_out_of_space};
