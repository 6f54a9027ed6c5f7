//! The report: the shape of `run_diagnostics_report.json`.

mod cluster;
mod data;
mod delivery;
mod node;
mod plan;
mod hidden;
mod problem;
mod process;
mod query;
mod scan;
mod schedule;
mod since;
mod spans;

use chrono::{DateTime, Utc};
use daglight_run_bundle::{Artifact, FileReading, Identity, Links, OwnTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cluster::{ClusterReport, OnClientReport, WorkerReport};
/// How a run ended, as far as its bundle shows.
pub use daglight_run_bundle::RunState as ReportStatus;
pub use data::{ColumnReport, DataReport, ValueReport};
pub use delivery::DeliveryReport;
pub use hidden::HiddenCount;
pub use node::NodeReport;
pub(crate) use node::by_name;
pub use plan::{PlanOperatorReport, PlanReport};
pub use problem::{Problem, Severity, UnreadableFile};
pub(crate) use process::ProcessorTime;
pub use process::{ActiveTaskReport, HeartbeatReport, ResourceSample, StallReport};
pub use query::{OperatorReport, QueryReport};
pub use scan::{ColumnLineageReport, LineageReport, OperatorTotal, TableReport};
pub use schedule::{Concurrency, CriticalStep, IdleGap, LongestSetup, Timeline};
pub use since::{ColumnsMoved, RowsLost, RowsMoved, SinceLastRun};
pub use spans::{SpanBand, SpanReport, StageReport, TimelineSpan, TimelineSpanKind};

use crate::{display, findings::Finding, level::Level};

/// The version of `run_diagnostics_report.json`.
///
/// - 1: headline, totals, nodes, timeline, stages, spans, queries, artifacts, problems, heartbeat, delivery. `timeline.setup_ms`
///   came later: reports without it are of this version as well.
/// - 2: `own_time`, `timeline.long_idle_ms`, the totals of tables, `totals.nodes_interrupted`, `nodes[].queries_summed`,
///   `delivery.tracking`, and of operators `table`, `partitions` and `per_partition_ms`. `totals.rows_written` and
///   `bytes_written` are of files only. `interrupted` is a run that was asked to end, also as the status of a node and in the
///   totals; a run whose process is gone is `process_ended`.
///   Later `nodes[].attempts`, `earlier_attempts` and `recovered`, which readers that do not know them pass over. `rows_in` of
///   a node whose process was gone is null; it was 0 at first. `timeline.ending_ms` came later too: before, it was part of
///   `idle_ms`. So did `findings`, and of the timeline `critical_steps`, `concurrency` and `idle_gaps`; `plans`,
///   `spans`, `spans_left_out`, `resources` and the `self_ms` of spans followed, then `heartbeat.silent_seconds`,
///   `heartbeat.idle_share` and the `statement` of stalls, then `data`, `data_left_out`, `tables`, `operators` and `lineage`.
///   `nodes[].checks` and `since` came next, then `process_ended` of runs and nodes and a code for each kind of warning, and last
///   `trace_id` and `span_id` of problems, of which each cause has since been one. After that came `span_bands`, `open` of spans, and `hidden`. So did
///   `longest_partition_ms` and `is_at_least` of operators, `untimed_ms` of queries, and
///   `timeline.short_gaps`, and then `hidden_counts`, and of the threads of stalls `number`, `stack` and `writes_to`. `open` of
///   stages and of the slowest spans, `columns[].window` of lineage, `since.sources`, `heartbeat.measured_at`, `heartbeat.late_seconds` and `longest_setup`
///   followed. The totals of files and tables are null where they are not known; they were 0 at first. `running` is the status
///   of a node that runs now, which was `unfinished`, and `totals.nodes_running` counts those. `cluster` followed.
pub const REPORT_VERSION: u32 = 2;

/// The share of the machine's processor time from which the use by other processes is mentioned,
const BUSY_SHARE: f64 = 0.4;
/// in a run that took at least this long.
const BUSY_RUN_MS: f64 = 1_000.0;

/// Measurements from the beginning of a run represent the whole run if they cover at least this share of it.
const MEASURED_SHARE: f64 = 0.5;

/// The tag with the number of threads for the run.
const THREADS_TAG: &str = "option.threads";
/// The tag with the memory limit for the queries of a run, in bytes.
const MEMORY_TAG: &str = "option.memory_limit";

/// What a run did, what was slow, what failed, and what has not been delivered.
///
/// Durations are milliseconds; `start_ms` counts from the start of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Report {
    /// The version of this format: [`REPORT_VERSION`].
    pub format_version: u32,
    /// When the report was made.
    pub generated_at: DateTime<Utc>,
    /// How the run ended.
    pub status: ReportStatus,
    /// The report in a few sentences, the most important first.
    pub headline: Vec<HeadlineSentence>,
    /// What made the run slow or wasteful, or was lost, the most important first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What ran; `None` when the manifest cannot be read.
    pub identity: Option<Identity>,
    /// Where the run can be looked at.
    pub links: Links,
    /// The profile.
    pub profile: Option<String>,
    /// What the policy did not let into the bundle, in words.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// How much of the run that is about, of the kinds of which that can be counted.
    #[serde(default)]
    pub hidden_counts: Vec<HiddenCount>,
    /// The version of Daglight that made the run.
    pub daglight_version: Option<String>,
    /// When the run started.
    pub started_at: Option<DateTime<Utc>>,
    /// When the run ended, or was last seen.
    pub ended_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether its process ended before the run did, and another process closed the run.
    #[serde(default)]
    pub process_ended: bool,
    /// The run in numbers.
    pub totals: Totals,
    /// The nodes, in the order of their start; those that did not run at the end.
    pub nodes: Vec<NodeReport>,
    /// How the nodes share the time of the run; `None` when no node ran.
    pub timeline: Option<Timeline>,
    /// The statement without a node that took longest; `None` where there was none, and in reports of older versions.
    #[serde(default)]
    pub longest_setup: Option<LongestSetup>,
    /// The time that Daglight itself took; `None` for a run that has not ended in good order.
    #[serde(default)]
    pub own_time: Option<OwnTime>,
    /// Time by stage, the longest first.
    pub stages: Vec<StageReport>,
    /// The slowest spans, the longest first.
    pub slowest_spans: Vec<SpanReport>,
    /// The slowest queries, the longest first.
    pub queries: Vec<QueryReport>,
    /// The plans of the slowest queries.
    #[serde(default)]
    pub plans: Vec<PlanReport>,
    /// What each node read of each table, those first of which most was read.
    #[serde(default)]
    pub tables: Vec<TableReport>,
    /// The operators of each node, those first that computed longest.
    #[serde(default)]
    pub operators: Vec<OperatorTotal>,
    /// What a cluster executed, and what ran on the client; `None` for a run without a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterReport>,
    /// Where the columns of each node come from.
    #[serde(default)]
    pub lineage: Vec<LineageReport>,
    /// The spans of queries, operators and stages that failed or took longest, in the order of their start.
    #[serde(default)]
    pub spans: Vec<TimelineSpan>,
    /// Spans of these kinds that are not among them, because they are shorter: those of all `span_bands`.
    #[serde(default)]
    pub spans_left_out: u64,
    /// When the spans ran that are left out, so that together with `spans` no time in which something ran is empty.
    #[serde(default)]
    pub span_bands: Vec<SpanBand>,
    /// The process over time.
    #[serde(default)]
    pub resources: Vec<ResourceSample>,
    /// What was written.
    pub artifacts: Vec<Artifact>,
    /// What the data of the nodes was like, those that wrote something first.
    #[serde(default)]
    pub data: Vec<DataReport>,
    /// Nodes whose data was summarised and that are not among them.
    #[serde(default)]
    pub data_left_out: u64,
    /// What changed since the last good run; `None` without one beside it.
    #[serde(default)]
    pub since: Option<SinceLastRun>,
    /// Errors and warnings, by message, the errors first.
    pub problems: Vec<Problem>,
    /// The process; `None` without a heartbeat file.
    pub heartbeat: Option<HeartbeatReport>,
    /// What was delivered, waits, or was dropped.
    pub delivery: DeliveryReport,
    /// The signal files as they could be read.
    pub files: Vec<FileReading>,
    /// Other files that could not be read.
    pub unreadable: Vec<UnreadableFile>,
}

/// One sentence of the headline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadlineSentence {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub text: String,
    /// The command that it ends with, to be pasted into a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A run in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Nodes of the DAG.
    pub nodes: u64,
    /// Nodes that ended well.
    pub nodes_succeeded: u64,
    /// Nodes that failed.
    pub nodes_failed: u64,
    /// Nodes that ran when the run was asked to end.
    #[serde(default)]
    pub nodes_interrupted: u64,
    /// Nodes that run now, in a run that goes on.
    #[serde(default)]
    pub nodes_running: u64,
    /// Nodes that started and were not seen to end.
    pub nodes_unfinished: u64,
    /// Nodes that did not start.
    pub nodes_not_run: u64,
    /// Queries executed.
    pub queries: u64,
    /// Rows that scans gave, over all queries, as far as they are counted.
    pub rows_read: u64,
    /// Bytes that scans read from storage, over all queries: those that they count, as scans of Parquet do, and for other files those
    /// that requests to object stores have brought. `None` where neither is known.
    pub bytes_read: Option<u64>,
    /// Rows that were written to files. `None` if the catalog of outputs is gone, as for the next three.
    pub rows_written: Option<u64>,
    /// Bytes of those files. What the process wrote to storage in all is `heartbeat.io_bytes_written`.
    pub bytes_written: Option<u64>,
    /// Rows that were put into tables of the session, such as those in memory.
    pub rows_in_tables: Option<u64>,
    /// Bytes in memory of the tables that were made, as far as they are known.
    pub bytes_in_tables: Option<u64>,
    /// Bytes that operators spilled to disk.
    pub bytes_spilled: u64,
    /// Spans in the bundle.
    pub spans: u64,
    /// Log records in the bundle.
    pub log_records: u64,
    /// Errors, every occurrence.
    pub errors: u64,
    /// Warnings, every occurrence.
    pub warnings: u64,
}

impl Report {
    /// The cores of the machine, as far as the run has recorded them.
    pub(crate) fn cores(&self) -> Option<u64> {
        let tags = &self.identity.as_ref()?.tags;
        tags.get("host.cpus")?.parse().ok().filter(|cores| *cores > 0)
    }

    /// The memory limit for the queries of the run, if set.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.identity.as_ref()?.tags.get(MEMORY_TAG)?.parse().ok()
    }

    /// Whether a cluster executed queries of the run.
    pub(crate) fn has_queries_on_cluster(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.queries_on_cluster > 0)
    }

    /// The processor time that the run used, and what was available to it. `None` if the run has not recorded it.
    pub(crate) fn processor_time(&self) -> Option<ProcessorTime> {
        self.heartbeat.as_ref()?.processor_time(self.measured_of_most_ms()?, self.cores()?)
    }

    /// The share of the machine's processor time that other processes used, from 0 to 1, if known. It says nothing of a run on a cluster:
    /// the queries were executed elsewhere, or by workers on this machine, which are other processes.
    pub(crate) fn others_share(&self) -> Option<f64> {
        if self.has_queries_on_cluster() {
            return None;
        }
        self.heartbeat.as_ref()?.others_share(self.measured_of_most_ms()?, self.cores()?)
    }

    /// The time from the start of the run until its process was last measured: all of it if that was at the end, and less if the
    /// process was killed.
    pub(crate) fn measured_ms(&self) -> Option<f64> {
        let (run_ms, heartbeat) = (self.duration_ms?, self.heartbeat.as_ref()?);
        let until = heartbeat.measured_at.filter(|_| heartbeat.stopped_at.is_none());
        let measured_ms =
            until.zip(self.started_at).map(|(until, start)| (until - start).as_seconds_f64() * 1e3);
        Some(measured_ms.map_or(run_ms, |ms| ms.clamp(0.0, run_ms)))
    }

    /// The same, if it is most of the run: a share during the first moments would be mistaken for one of the whole.
    fn measured_of_most_ms(&self) -> Option<f64> {
        let run_ms = self.duration_ms?;
        self.measured_ms().filter(|ms| *ms >= MEASURED_SHARE * run_ms)
    }

    /// The time without measurements before the process was last seen; `None` if it is negligible.
    pub(crate) fn unmeasured_ms(&self) -> Option<f64> {
        Some(self.duration_ms? - self.measured_ms()?).filter(|ms| *ms >= 1.0)
    }

    /// A measurement of the process, with the period that it covers unless that is the whole run.
    pub(crate) fn measured_in_words(&self, number: String) -> String {
        let until = self.unmeasured_ms().and(self.measured_ms());
        match until {
            Some(until_ms) => format!("{number} in the first {}", display::duration(until_ms)),
            None => number,
        }
    }

    /// The same, if it is so much that the run may have had to wait.
    pub(crate) fn share_of_busy_machine(&self) -> Option<f64> {
        // The system counts it in hundredths of a second.
        let is_long = self.duration_ms.is_some_and(|run_ms| run_ms >= BUSY_RUN_MS);
        self.others_share().filter(|share| is_long && *share >= BUSY_SHARE)
    }

    /// Whether the run was configured to compute on one thread.
    pub(crate) fn is_on_one_thread(&self) -> bool {
        let identity = self.identity.as_ref();
        identity.and_then(|identity| identity.tags.get(THREADS_TAG)).is_some_and(|threads| threads == "1")
    }

    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}
