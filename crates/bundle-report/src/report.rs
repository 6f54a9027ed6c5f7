//! The report: the shape of `run_diagnostics_report.json`.

use chrono::{DateTime, Utc};
use daglight_capture_policy::operator_name;
use daglight_run_bundle::{
    Artifact, AttemptRecord, FileReading, Identity, Links, Liveness, NodeStatus, OwnTime, RecordedKind,
    SignalLedger, Stall, Tracking, WarningCode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Finding, display};

/// The version of `run_diagnostics_report.json`.
///
/// - 1: headline, totals, nodes, timeline, stages, spans, queries, artifacts, problems, heartbeat, delivery. `timeline.setup_ms`
///   came later: reports without it are of this version as well.
/// - 2: `own_time`, `timeline.long_idle_ms`, the totals of tables, `totals.nodes_interrupted`, `nodes[].queries_summed`,
///   `delivery.tracking`, and of operators `table`, `partitions` and `per_partition_ms`. `totals.rows_written` and
///   `bytes_written` are of files only. `interrupted` is a run that was told to end, also as the status of a node and in the
///   totals; a run whose process is gone is `process_ended`.
///   Later `nodes[].attempts`, `earlier_attempts` and `recovered`, which readers that do not know them pass over. `rows_in` of
///   a node whose process was gone is null; it was 0 at first. `timeline.ending_ms` came later too: before, it was part of
///   `idle_ms`. So did `findings`, and of the timeline `critical_steps`, `concurrency` and `idle_gaps`.
pub const REPORT_VERSION: u32 = 2;

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
    /// The run in numbers.
    pub totals: Totals,
    /// The nodes, in the order of their start; those that did not run at the end.
    pub nodes: Vec<NodeReport>,
    /// How the nodes share the time of the run; `None` when no node ran.
    pub timeline: Option<Timeline>,
    /// The time that Daglight itself took; `None` for a run that has not ended in good order.
    #[serde(default)]
    pub own_time: Option<OwnTime>,
    /// Time by stage, the longest first.
    pub stages: Vec<StageReport>,
    /// The slowest spans, the longest first.
    pub slowest_spans: Vec<SpanReport>,
    /// The slowest queries, the longest first.
    pub queries: Vec<QueryReport>,
    /// What was written.
    pub artifacts: Vec<Artifact>,
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

/// How a run ended, as far as its bundle shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportStatus {
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was told to end before it was done, by ctrl-c for example.
    Interrupted,
    /// It has not ended, and its process is not known to be gone.
    Running,
    /// Its process is gone and did not say how the run ended.
    ProcessEnded,
    /// The bundle does not tell.
    Unknown,
}

/// One sentence of the headline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadlineSentence {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub text: String,
}

/// How much a sentence or a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something to look at.
    Warning,
    /// Something to act on.
    Bad,
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
    /// Nodes that ran when the run was told to end.
    #[serde(default)]
    pub nodes_interrupted: u64,
    /// Nodes that started and were not seen to end.
    pub nodes_unfinished: u64,
    /// Nodes that did not start.
    pub nodes_not_run: u64,
    /// Queries executed.
    pub queries: u64,
    /// Rows that scans gave, over all queries, as far as they are counted.
    pub rows_read: u64,
    /// Bytes that scans read from storage, over all queries.
    pub bytes_read: u64,
    /// Rows that were written to files.
    pub rows_written: u64,
    /// Bytes of those files. What the process wrote to storage in all is `heartbeat.io_bytes_written`.
    pub bytes_written: u64,
    /// Rows that were put into tables of the session, such as those in memory.
    #[serde(default)]
    pub rows_in_tables: u64,
    /// Bytes in memory of the tables that were made, as far as they are known.
    #[serde(default)]
    pub bytes_in_tables: u64,
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

/// A node as it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// transform, data_loader, data_saver or input.
    #[schemars(with = "Option<String>")]
    pub kind: Option<RecordedKind>,
    /// The nodes that it reads.
    pub dependencies: Vec<String>,
    /// How it ended.
    pub status: NodeStatus,
    /// When it started.
    pub start_ms: Option<f64>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Rows that its queries got from the tables that they scan; `None` where a scan does not count them, and for a node
    /// that did not end by itself, as one of a run that was killed.
    pub rows_in: Option<u64>,
    /// Rows that it gave out.
    pub rows_out: Option<u64>,
    /// Bytes that it gave out.
    pub bytes: Option<u64>,
    /// Queries that it executed.
    pub queries: u64,
    /// Those of them of which no plan is kept, because there were so many.
    #[serde(default)]
    pub queries_summed: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it ran; 0 when it did not, and in runs of older versions.
    #[serde(default)]
    pub attempts: u64,
    /// The attempts before the last.
    #[serde(default)]
    pub earlier_attempts: Vec<AttemptRecord>,
    /// Whether the program has dealt with its failure, which so is not one of the run.
    #[serde(default)]
    pub recovered: bool,
    /// Whether the longest chain of dependencies goes through it.
    pub on_critical_path: bool,
}

/// How the nodes share the time of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Time in which at least one node ran.
    pub busy_ms: f64,
    /// Time in which none did, but work of the run that belongs to no node, such as statements that set the session up.
    #[serde(default)]
    pub setup_ms: f64,
    /// Time in which nothing of that ran.
    pub idle_ms: f64,
    /// Time from the signal that interrupted the run to its end: what ran then had been told to stop. It is part of no other
    /// time here; 0 where no signal came.
    #[serde(default)]
    pub ending_ms: f64,
    /// The part of it that is in gaps of at least 100 ms.
    #[serde(default)]
    pub long_idle_ms: f64,
    /// The longest time in which nothing ran.
    pub longest_idle: Option<IdleGap>,
    /// Nodes that ran at once, on average over the busy time.
    pub parallelism: f64,
    /// The chain of dependencies that takes longest: no run on any machine like this one is shorter.
    pub critical_path: Vec<String>,
    /// How long that chain takes.
    pub critical_path_ms: f64,
    /// The steps of that chain that take longest, up to fifty, the longest first, with what each of them decides.
    #[serde(default)]
    pub critical_steps: Vec<CriticalStep>,
    /// For how long how many nodes ran at once, from none on, within the time before an interrupt.
    #[serde(default)]
    pub concurrency: Vec<Concurrency>,
    /// The longest times of at least 100 ms in which nothing ran, up to twenty, the longest first.
    #[serde(default)]
    pub idle_gaps: Vec<IdleGap>,
}

/// A step of the longest chain of dependencies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CriticalStep {
    /// The node.
    pub node: String,
    /// How long it took.
    pub duration_ms: f64,
    /// By how much the longest chain would be shorter if the node took no time: less than it took where another chain is nearly
    /// as long.
    pub gain_ms: f64,
}

/// For how long a number of nodes ran at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// Nodes that ran.
    pub nodes: u64,
    /// For how long in all.
    pub duration_ms: f64,
}

/// A time in which neither a node nor setup ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdleGap {
    /// The node that ended before it; `None` at the start of the run.
    pub after: Option<String>,
    /// The node that started behind it; `None` at the end of the run.
    pub before: Option<String>,
    /// When it began.
    pub start_ms: f64,
    /// How long it was.
    pub duration_ms: f64,
}

/// The time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageReport {
    /// extract, normalize, compile, plan, register, write, or the user's own.
    pub stage: String,
    /// Time in which the stage was active; spans that overlap count once.
    pub wall_ms: f64,
    /// Its longest span.
    pub longest_ms: f64,
    /// Its spans.
    pub spans: u64,
    /// Spans that were slower than their threshold.
    pub slow: u64,
    /// Spans that failed.
    pub errors: u64,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanReport {
    /// Its name.
    pub name: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
    /// The node that it belongs to.
    pub node: Option<String>,
    /// The stage that it belongs to.
    pub stage: Option<String>,
    /// When it started.
    pub start_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
    /// Rows read or written.
    pub rows: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
}

/// One query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueryReport {
    /// Its id in the session.
    pub query_id: String,
    /// The node that ran it.
    pub node: Option<String>,
    /// The fingerprint of its logical plan.
    pub plan_hash: Option<String>,
    /// The tables that it read.
    pub source_tables: Vec<String>,
    /// How long it was executed.
    pub duration_ms: f64,
    /// How long it was planned.
    pub planning_ms: Option<f64>,
    /// Rows that it got from the tables that it scans; `None` where a scan does not count them.
    pub rows_in: Option<u64>,
    /// Rows that it gave out.
    pub rows_out: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
    /// Its operators that computed longest, the longest first.
    pub hottest_operators: Vec<OperatorReport>,
    /// The plan's file in the bundle.
    pub plan_file: Option<String>,
}

/// One operator of a query, over all its partitions, which run at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorReport {
    /// Its name.
    pub name: String,
    /// The table that it scans.
    #[serde(default)]
    pub table: Option<String>,
    /// What it does, as the plan shows it.
    pub detail: String,
    /// Time that it computed, summed over partitions: it can be more than the query took.
    pub compute_ms: f64,
    /// The partitions that it ran in; `None` where the bundle does not say.
    #[serde(default)]
    pub partitions: Option<u64>,
    /// Time that it computed in one of its partitions, on average.
    #[serde(default)]
    pub per_partition_ms: Option<f64>,
    /// Its part of what all operators of the query computed, from 0 to 1.
    pub share: f64,
    /// Rows that it gave out.
    pub rows: Option<u64>,
}

/// An error or warning, with all its occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What was said.
    pub message: String,
    /// The kind of error, as `error.type` has it.
    pub error_type: Option<String>,
    /// The node that it was first seen in.
    pub node: Option<String>,
    /// What said it: `log`, `manifest`, or the name of a span.
    pub source: String,
    /// What a warning of the manifest is about.
    #[serde(default)]
    pub code: WarningCode,
    /// How often.
    pub count: u64,
    /// When it was first seen.
    pub first_at: Option<DateTime<Utc>>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something to look at.
    Warning,
}

/// The process of the run, from its heartbeat file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReport {
    /// The process.
    pub pid: u32,
    /// Whether it lives; `None` when the heartbeat was stopped in good order.
    pub process: Option<Liveness>,
    /// Beats.
    pub beats: u64,
    /// Seconds between two beats.
    pub interval_seconds: f64,
    /// The longest time between two beats.
    pub longest_gap_seconds: f64,
    /// The last beat, or the start.
    pub last_beat_at: DateTime<Utc>,
    /// When the heartbeat was stopped in good order; `None` while the run goes on, and when it was killed.
    pub stopped_at: Option<DateTime<Utc>>,
    /// The stage at the last beat.
    pub stage: Option<String>,
    /// What ran at the last beat.
    pub active_tasks: Vec<ActiveTaskReport>,
    /// Processor time of the process.
    pub cpu_seconds: Option<f64>,
    /// The largest memory at a beat.
    pub peak_resident_bytes: Option<u64>,
    /// Bytes that the process read from storage.
    pub io_bytes_read: Option<u64>,
    /// Bytes that the process wrote to storage.
    pub io_bytes_written: Option<u64>,
    /// All stalls.
    pub stall_count: u64,
    /// The first of them.
    pub stalls: Vec<StallReport>,
}

/// What ran at the last beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveTaskReport {
    /// Its name.
    pub name: String,
    /// When it started.
    pub since: DateTime<Utc>,
}

/// A query or a node that made no progress for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StallReport {
    /// What stood still, where and why.
    #[serde(flatten)]
    pub stall: Stall,
    /// When it went on; `None` when it never did.
    pub ended: Option<DateTime<Utc>>,
    /// What can be done about it.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// What was delivered, waits, or was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryReport {
    /// Whether the accounts are those of the end of the run; false for a run that has not ended in good order.
    pub is_final: bool,
    /// The accounts, the tracker's first.
    pub ledgers: Vec<SignalLedger>,
    /// Items that wait for a destination that is configured, over all accounts.
    pub waiting: u64,
    /// Items that are lost, over all accounts.
    pub dropped: u64,
    /// Whether the run was meant for a tracking server.
    #[serde(default)]
    pub tracking: Tracking,
    /// The command that delivers what waits for the tracker.
    pub sync_command: Option<String>,
    /// The command that sends the bundle's signals to a tracing backend that has missed some.
    pub replay_command: Option<String>,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableFile {
    /// Its name in the bundle.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl NodeReport {
    /// What is to be said of it besides its status: how often it ran, and that its failure was dealt with.
    pub(crate) fn attempts_in_words(&self) -> Option<String> {
        let attempts = (self.attempts > 1).then(|| format!("attempt {}", display::count(self.attempts)));
        let recovered = self.recovered.then(|| "recovered".to_owned());
        let words: Vec<String> = attempts.into_iter().chain(recovered).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// How its earlier attempts ended, a line each; the last ones.
    pub(crate) fn earlier_attempts_in_words(&self) -> impl Iterator<Item = String> {
        const MAX_SHOWN: usize = 5;
        let skipped = self.earlier_attempts.len().saturating_sub(MAX_SHOWN);
        self.earlier_attempts.iter().skip(skipped).map(|attempt| {
            let ended = match attempt.status {
                NodeStatus::Success => "succeeded",
                NodeStatus::Failure => "failed",
                NodeStatus::Interrupted => "was interrupted",
                NodeStatus::Unfinished | NodeStatus::NotRun => "did not end",
            };
            let after = attempt.duration_ms.map(|ms| format!(" after {}", display::duration(ms)));
            let error = attempt.error.as_ref().map(|error| format!(": {error}"));
            format!(
                "attempt {} {ended}{}{}",
                attempt.attempt,
                after.unwrap_or_default(),
                error.unwrap_or_default()
            )
        })
    }

    /// How many queries it executed, and of how many there is no plan.
    pub(crate) fn queries_in_words(&self) -> String {
        format!(
            "{} queries, of which {} are in the sums only: the plans of the first and the slowest are kept.",
            display::count(self.queries),
            display::count(self.queries_summed)
        )
    }
}

impl OperatorReport {
    /// Its name, with the table that it scans.
    pub(crate) fn shown_name(&self) -> String {
        operator_name(&self.name, self.table.as_deref())
    }

    /// The time that it computed in words, such as `4.75 s in each of 4 partitions`. One partition of a query that took
    /// `query_ms` computes for longer where it has tasks of its own, as those of a file's columns.
    pub(crate) fn time_in_words(&self, query_ms: f64) -> String {
        if self.compute_ms / self.partitions.unwrap_or(1).max(1) as f64 > query_ms && query_ms > 0.0 {
            return format!(
                "{} summed over tasks that ran at the same time",
                display::duration(self.compute_ms)
            );
        }
        match (self.per_partition_ms, self.partitions) {
            (Some(ms), Some(partitions)) if partitions > 1 => {
                format!("{} in each of {partitions} partitions", display::duration(ms))
            }
            _ => display::duration(self.compute_ms),
        }
    }
}

impl HeartbeatReport {
    /// The process in words, such as `17628, gone`.
    pub(crate) fn process_in_words(&self) -> String {
        let state = match self.process {
            None => "",
            Some(Liveness::Alive) => ", alive",
            Some(Liveness::Gone) => ", gone",
            Some(Liveness::Unknown) => ", which cannot be seen from where this report was made",
        };
        format!("{}{state}", self.pid)
    }

    /// The beats in words.
    pub(crate) fn beats_in_words(&self) -> String {
        let interval = display::duration(self.interval_seconds * 1e3);
        match self.beats {
            0 => format!("none yet, with one every {interval}"),
            beats => {
                let beats = display::plural(beats, "beat");
                format!("{beats}, one every {interval}, the last at {}", display::time(self.last_beat_at))
            }
        }
    }
}

impl Report {
    /// The JSON Schema of the format.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}
