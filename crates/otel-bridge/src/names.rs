//! Every span name, attribute key, metric name and instrumentation scope that Daglight uses.
//!
//! Keys of Daglight's own stand under a namespace, `daglight` unless configured otherwise; those of Hamilton and of
//! the OpenTelemetry semantic conventions never do.

/// The instrumentation scope of every signal that Daglight makes.
pub const SCOPE: &str = "daglight";

/// Span names.
pub mod span {
    /// The root span of a run.
    pub const PIPELINE_EXECUTE: &str = "pipeline.execute";
    /// A node of the DAG while it runs.
    pub const NODE: &str = "hamilton.node";
    /// A unit of work inside a node.
    pub const TASK: &str = "hamilton.task";
    /// A stage of a run or of a node.
    pub const STAGE: &str = "hamilton.stage";
    /// The planning of a query.
    pub const PLAN: &str = "datafusion.plan";
    /// The execution of a query.
    pub const EXECUTE: &str = "datafusion.execute";
    /// The execution of a query that writes.
    pub const WRITE: &str = "datafusion.write";
    /// One beat of the heartbeat.
    pub const HEARTBEAT: &str = "build.heartbeat";
}

/// Keys that are never prefixed.
pub mod key {
    /// The id of the run, under Hamilton's own name.
    pub const HAMILTON_RUN_ID: &str = "hamilton.run_id";
    /// The name of the DAG.
    pub const HAMILTON_DAG_NAME: &str = "hamilton.dag_name";
    /// The id that the tracking server gave the run.
    pub const HAMILTON_EXECUTION_RUN_ID: &str = "hamilton.execution_run_id";
    /// On the Hamilton side: the trace of the run.
    pub const OTEL_TRACE_ID: &str = "otel.trace_id";
    /// On the Hamilton side: the root span of the run.
    pub const OTEL_SPAN_ID: &str = "otel.span_id";
    /// Semantic convention: what kind of error ended the operation.
    pub const ERROR_TYPE: &str = "error.type";
    /// Semantic convention: the kind of an exception, on an exception event.
    pub const EXCEPTION_TYPE: &str = "exception.type";
    /// Semantic convention: the message of an exception, on an exception event.
    pub const EXCEPTION_MESSAGE: &str = "exception.message";
    /// Semantic convention: the stack trace or the chain of causes of an exception, on an exception event.
    pub const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
    /// Semantic convention: the name of the service.
    pub const SERVICE_NAME: &str = "service.name";
    /// Semantic convention: where the service is deployed, such as `production`.
    pub const DEPLOYMENT_ENVIRONMENT: &str = "deployment.environment.name";
}

/// Names of span events.
pub mod event {
    /// Semantic convention: something went wrong.
    pub const EXCEPTION: &str = "exception";
}

/// Metric names, without the namespace that they stand under.
pub mod metric {
    /// Histogram of seconds: a node from its start to its end.
    pub const TASK_DURATION: &str = "task.duration";
    /// Histogram of seconds: a stage from its start to its end.
    pub const STAGE_DURATION: &str = "stage.duration";
    /// Histogram of seconds: the planning of a query.
    pub const PLAN_DURATION: &str = "plan.duration";
    /// Histogram of seconds: the execution of a query.
    pub const EXECUTE_DURATION: &str = "execute.duration";
    /// Histogram of seconds: the execution of a query that writes.
    pub const WRITE_DURATION: &str = "write.duration";
    /// Counter: rows that operations read or wrote.
    pub const ROWS: &str = "rows";
    /// Counter: bytes that operations read or wrote.
    pub const BYTES: &str = "bytes";
    /// Counter: bytes that the process has read from storage.
    pub const BYTES_READ: &str = "io.bytes_read";
    /// Counter: bytes that the process has written to storage.
    pub const BYTES_WRITTEN: &str = "io.bytes_written";
    /// Counter: outputs that were written or registered.
    pub const ARTIFACTS: &str = "artifacts";
    /// Counter: operations that failed.
    pub const ERRORS: &str = "errors";
    /// Up-down counter: nodes that run at this moment.
    pub const ACTIVE_TASKS: &str = "active_tasks";
}

/// The keys that stand under the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// The id of the run.
    RunId,
    /// The folder that holds the bundles.
    OutputDir,
    /// The node of the DAG.
    Node,
    /// What kind of node it is: `transform`, `data_loader`, `data_saver` or `input`.
    NodeKind,
    /// On metrics: the span that was measured, such as `datafusion.write`.
    Operation,
    /// On metrics: what kind of output was written, such as `parquet`.
    ArtifactKind,
    /// extract, normalize, compile, plan, register, write, or the user's own.
    Stage,
    /// What is read or written, by its external name.
    Dataset,
    /// The table that is read or written.
    Table,
    /// Rows read or written.
    RowCount,
    /// Bytes read or written.
    Bytes,
    /// The fingerprint of the logical plan.
    PlanHash,
    /// The id of the query in its session.
    QueryId,
    /// The tables that a query reads, as a list.
    SourceTables,
    /// `ok`, `error`, `cancelled` or `skipped`.
    Status,
    /// Whether the stage took longer than its threshold.
    Slow,
    /// Nodes that run at this moment.
    ActiveTasks,
    /// Bytes that the process has read from storage.
    IoBytesRead,
    /// Bytes that the process has written to storage.
    IoBytesWritten,
    /// The operator of a query that was busy longest.
    HottestOperator,
    /// On the root span: the profile of the capture policy.
    PolicyProfile,
    /// On the root span: whether data summaries are computed.
    PolicyDataStatistics,
    /// On the root span: whether single values of user data are shown.
    PolicyValues,
    /// On the root span: how SQL texts are captured.
    PolicySqlText,
}

impl Key {
    /// Every key, in the order of declaration.
    pub const ALL: [Self; 24] = [
        Self::RunId,
        Self::OutputDir,
        Self::Node,
        Self::NodeKind,
        Self::Operation,
        Self::ArtifactKind,
        Self::Stage,
        Self::Dataset,
        Self::Table,
        Self::RowCount,
        Self::Bytes,
        Self::PlanHash,
        Self::QueryId,
        Self::SourceTables,
        Self::Status,
        Self::Slow,
        Self::ActiveTasks,
        Self::IoBytesRead,
        Self::IoBytesWritten,
        Self::HottestOperator,
        Self::PolicyProfile,
        Self::PolicyDataStatistics,
        Self::PolicyValues,
        Self::PolicySqlText,
    ];

    /// The part of the key behind the namespace.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::RunId => "run_id",
            Self::OutputDir => "output_dir",
            Self::Node => "node",
            Self::NodeKind => "node.kind",
            Self::Operation => "operation",
            Self::ArtifactKind => "artifact.kind",
            Self::Stage => "stage",
            Self::Dataset => "dataset",
            Self::Table => "table",
            Self::RowCount => "row_count",
            Self::Bytes => "bytes",
            Self::PlanHash => "plan_hash",
            Self::QueryId => "query_id",
            Self::SourceTables => "source_tables",
            Self::Status => "status",
            Self::Slow => "slow",
            Self::ActiveTasks => "active_tasks",
            Self::IoBytesRead => "io.bytes_read",
            Self::IoBytesWritten => "io.bytes_written",
            Self::HottestOperator => "hottest_operator",
            Self::PolicyProfile => "policy.profile",
            Self::PolicyDataStatistics => "policy.data_statistics",
            Self::PolicyValues => "policy.values",
            Self::PolicySqlText => "policy.sql_text",
        }
    }
}

/// What Daglight's own keys start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// A namespace without its trailing dot.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name, without a dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full key, such as `daglight.run_id`.
    pub fn key(&self, key: Key) -> String {
        self.join(key.suffix())
    }

    /// A key or metric name under this namespace.
    pub fn join(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.0)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new("daglight")
    }
}
