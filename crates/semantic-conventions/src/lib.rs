//! The names of Daglight's telemetry: every span name, attribute key, event, metric and instrumentation scope.
//!
//! Keys of Daglight's own stand under a namespace, `daglight` unless configured otherwise; those of Hamilton and of
//! the OpenTelemetry semantic conventions never do. `docs/names.md` shows them all, made from this crate.
//! Making signals belongs to `daglight-otel-bridge`, reading them to `daglight-bundle-report`; this crate has no dependencies, so
//! that a reader of bundles links none of the OpenTelemetry SDK.

mod reference;

pub use reference::reference_page;

/// The instrumentation scope of every signal that Daglight makes.
pub const SCOPE: &str = "daglight";
/// The instrumentation scope of spans that come through a program's `tracing` subscriber.
pub const TRACING_SCOPE: &str = "tracing";
/// The `error.type` of a span that was open when its process died, and was ended by who found that.
pub const PROCESS_ENDED: &str = "process_ended";

/// A name, and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The name as it is written, without a namespace.
    pub name: &'static str,
    /// What it stands for, in Markdown.
    pub meaning: &'static str,
}

/// Makes modules of string constants, each with a table of what is in it.
macro_rules! names {
    ($(
        $(#[doc = $about:literal])+
        pub mod $module:ident { $($(#[doc = $doc:literal])+ $constant:ident = $text:literal,)+ }
    )+) => {$(
        $(#[doc = $about])+
        pub mod $module {
            use super::Name;

            $($(#[doc = $doc])+ pub const $constant: &str = $text;)+

            /// Everything in this module, in its order.
            pub const ALL: &[Name] = &[$(Name { name: $text, meaning: concat!($($doc),+) }),+];
        }
    )+};
}

/// Makes the enum of the keys under the namespace.
macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $key:ident = $suffix:literal,)+) => {
        /// The keys that stand under the namespace.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Key {
            $($(#[doc = $doc])+ $key,)+
        }

        impl Key {
            /// Every key, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$key),+];

            /// The part of the key after the namespace.
            pub const fn suffix(self) -> &'static str {
                match self {
                    $(Self::$key => $suffix,)+
                }
            }

            /// What it stands for, in Markdown.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$key => concat!($($doc),+),)+
                }
            }
        }
    };
}

names! {
    /// Span names.
    pub mod span {
        /// The root span of a run.
        PIPELINE_EXECUTE = "pipeline.execute",
        /// A node of the DAG while it runs.
        NODE = "hamilton.node",
        /// A unit of work inside a node.
        TASK = "hamilton.task",
        /// A stage of a run or of a node.
        STAGE = "hamilton.stage",
        /// The planning of a query, from its analysis to its physical plan.
        PLAN = "datafusion.plan",
        /// The analysis of a query: the part of its planning that makes the plan valid.
        NORMALIZE = "datafusion.normalize",
        /// The optimisation and physical planning of a query, after its analysis.
        COMPILE = "datafusion.compile",
        /// The execution of a query.
        EXECUTE = "datafusion.execute",
        /// The execution of a query that writes.
        WRITE = "datafusion.write",
        /// One operator of a query, made of what it measured when the query has ended.
        OPERATOR = "datafusion.operator",
        /// A stage of a query that a scheduler has executed, as that reports it. Its tasks are below it.
        CLUSTER_STAGE = "datafusion.stage",
        /// A part of a query's plan, executed by a worker of a cluster. Its operators are below it, where the worker makes spans.
        CLUSTER_TASK = "datafusion.task",
        /// One beat of the heartbeat.
        HEARTBEAT = "build.heartbeat",
    }

    /// Names of span events.
    pub mod event {
        /// Semantic convention: something went wrong.
        EXCEPTION = "exception",
        /// On the root span: a query or a node has made no progress for too long.
        STALL = "stall",
        /// On the root span: it makes progress again, or has ended.
        STALL_ENDED = "stall_ended",
        /// On the span of a node: a check of its rows was made.
        DATA_CHECK = "data_check",
    }

    /// Keys that are never prefixed.
    pub mod key {
        /// The id of the run, under Hamilton's own name.
        HAMILTON_RUN_ID = "hamilton.run_id",
        /// The name of the DAG.
        HAMILTON_DAG_NAME = "hamilton.dag_name",
        /// The id that the tracking server gave the run.
        HAMILTON_EXECUTION_RUN_ID = "hamilton.execution_run_id",
        /// On the Hamilton side: the trace of the run.
        OTEL_TRACE_ID = "otel.trace_id",
        /// On the Hamilton side: the root span of the run.
        OTEL_SPAN_ID = "otel.span_id",
        /// On log records of warnings: what the warning is about, one of the codes in `docs/warnings.md`.
        WARNING_CODE = "warning.code",
        /// Semantic convention: what kind of error ended the operation.
        ERROR_TYPE = "error.type",
        /// Semantic convention: the kind of an exception, on an exception event.
        EXCEPTION_TYPE = "exception.type",
        /// Semantic convention: the message of an exception, on an exception event.
        EXCEPTION_MESSAGE = "exception.message",
        /// Semantic convention: the stack trace or the chain of causes of an exception, on an exception event.
        EXCEPTION_STACKTRACE = "exception.stacktrace",
        /// Semantic convention: on spans of queries, what runs them, which is `datafusion`.
        DB_SYSTEM_NAME = "db.system.name",
        /// Semantic convention: on spans of queries, what the query does, such as `select` or `insert`.
        DB_OPERATION_NAME = "db.operation.name",
        /// Semantic convention: on spans of queries, the table, as under `table`.
        DB_COLLECTION_NAME = "db.collection.name",
        /// Semantic convention: on spans of queries, the SQL of the node, as far as the policy shows it.
        DB_QUERY_TEXT = "db.query.text",
        /// Semantic convention: on spans of nodes, the file that the node's code is in.
        CODE_FILE_PATH = "code.file.path",
        /// Semantic convention: on spans of nodes, the first line of its code.
        CODE_LINE_NUMBER = "code.line.number",
        /// Semantic convention: the name of the service.
        SERVICE_NAME = "service.name",
        /// Semantic convention: the process that the signals come from, as a random id. Two runs of one command are two instances.
        SERVICE_INSTANCE_ID = "service.instance.id",
        /// Semantic convention: where the service is deployed, such as `production`.
        DEPLOYMENT_ENVIRONMENT = "deployment.environment.name",
        /// Semantic convention: the running program.
        PROCESS_EXECUTABLE_NAME = "process.executable.name",
        /// Semantic convention: the program and its arguments, where the policy shows them.
        PROCESS_COMMAND_LINE = "process.command_line",
        /// Semantic convention: the id of the process.
        PROCESS_PID = "process.pid",
        /// Semantic convention: the name of the machine.
        HOST_NAME = "host.name",
        /// Semantic convention: the kind of processor, such as `amd64`.
        HOST_ARCH = "host.arch",
        /// Semantic convention: the operating system, such as `linux`.
        OS_TYPE = "os.type",
        /// Semantic convention: the version of the operating system.
        OS_VERSION = "os.version",
        /// Semantic convention: the container that the process runs in.
        CONTAINER_ID = "container.id",
        /// Semantic convention: what made the telemetry, which is `daglight`.
        TELEMETRY_DISTRO_NAME = "telemetry.distro.name",
        /// Semantic convention: the version of what made the telemetry.
        TELEMETRY_DISTRO_VERSION = "telemetry.distro.version",
    }

    /// Metric names, without the namespace that they stand under.
    pub mod metric {
        /// Histogram of seconds: a run from its start to its end.
        RUN_DURATION = "run.duration",
        /// Histogram of seconds: a node from its start to its end.
        TASK_DURATION = "task.duration",
        /// Histogram of seconds: a stage from its start to its end.
        STAGE_DURATION = "stage.duration",
        /// Histogram of seconds: the planning of a query.
        PLAN_DURATION = "plan.duration",
        /// Histogram of seconds: the execution of a query.
        EXECUTE_DURATION = "execute.duration",
        /// Histogram of seconds: the execution of a query that writes.
        WRITE_DURATION = "write.duration",
        /// Counter: rows that operations read or wrote.
        ROWS = "rows",
        /// Counter: columns of what operations read or wrote.
        COLUMNS = "columns",
        /// Counter: bytes that operations read or wrote.
        BYTES = "bytes",
        /// Counter: bytes that the process has read from storage during the run.
        BYTES_READ = "io.bytes_read",
        /// Counter: bytes that the process has written to storage during the run.
        BYTES_WRITTEN = "io.bytes_written",
        /// Counter: rows that the scans of queries returned, also of queries that still run.
        QUERY_ROWS_READ = "query.rows_read",
        /// Counter: rows that the sinks of queries took, also of queries that still run.
        QUERY_ROWS_WRITTEN = "query.rows_written",
        /// Counter: bytes that the scans of queries read from storage, also of queries that still run.
        QUERY_BYTES_READ = "query.bytes_read",
        /// Counter: bytes that the sinks of queries wrote to storage, also of queries that still run.
        QUERY_BYTES_WRITTEN = "query.bytes_written",
        /// Counter: bytes that the operators of queries spilled to disk, also of queries that still run.
        QUERY_BYTES_SPILLED = "query.bytes_spilled",
        /// Counter: requests of queries that ended to object stores.
        STORAGE_REQUESTS = "storage.requests",
        /// Counter: bytes that these have brought or wrote.
        STORAGE_BYTES = "storage.bytes",
        /// Counter of seconds: how long these waited for the stores, taken together.
        STORAGE_TIME = "storage.time",
        /// Gauge: bytes that are reserved in the memory pools of the sessions.
        MEMORY_RESERVED = "memory.reserved",
        /// Gauge: bytes that may be reserved there, where there is a limit.
        MEMORY_LIMIT = "memory.limit",
        /// Gauge: threads of the async runtime.
        RUNTIME_WORKERS = "runtime.workers",
        /// Gauge: threads of the async runtime that run a task.
        RUNTIME_BUSY_WORKERS = "runtime.busy_workers",
        /// Gauge: tasks that wait in the queue that the threads of the async runtime share.
        RUNTIME_QUEUE_DEPTH = "runtime.queue_depth",
        /// Counter: outputs that were written or registered.
        ARTIFACTS = "artifacts",
        /// Counter: operations that failed.
        ERRORS = "errors",
        /// Counter: times at which a query or a node began to make no progress.
        STALLS = "stalls",
        /// Up-down counter: nodes that run at this moment.
        ACTIVE_TASKS = "active_tasks",
        /// Gauge: nodes that have not started.
        PENDING_TASKS = "pending_tasks",
        /// Gauge: nodes that have ended, in whatever way.
        COMPLETED_TASKS = "completed_tasks",
        /// Counter: spans, data points and log records that did not reach a destination, by DAG.
        TELEMETRY_LOST = "telemetry.lost",
    }

    /// Metric names of the semantic conventions, which stand under no namespace.
    pub mod process_metric {
        /// Counter of seconds: processor time of the process, user and system, during the run.
        CPU_TIME = "process.cpu.time",
        /// Gauge: bytes of memory that the process holds.
        MEMORY_USAGE = "process.memory.usage",
        /// Gauge: threads of the process; only Linux says how many.
        THREAD_COUNT = "process.thread.count",
        /// Gauge: files, sockets and the like that the process has open.
        FILE_DESCRIPTOR_COUNT = "process.unix.file_descriptor.count",
    }
}

keys! {
    /// The id of the run.
    RunId = "run_id",
    /// The folder that holds the bundles.
    OutputDir = "output_dir",
    /// The node of the DAG.
    Node = "node",
    /// What kind of node it is: `transform`, `data_loader`, `data_saver` or `input`.
    NodeKind = "node.kind",
    /// On spans of tasks: which unit of a node's work it is.
    Task = "task",
    /// On metrics: the span that was measured, such as `datafusion.write`.
    Operation = "operation",
    /// On metrics: what kind of output was written, such as `parquet`.
    ArtifactKind = "artifact.kind",
    /// On metrics: `traces`, `metrics` or `logs`.
    Signal = "signal",
    /// On metrics: `bundle` or `otlp`.
    Destination = "destination",
    /// extract, normalize, compile, plan, register, write, or the user's own.
    Stage = "stage",
    /// What a node makes, by its stable external name; by the node's name where it has no other.
    Dataset = "dataset",
    /// The table that is written or registered; of what only reads, the table where there is just one.
    Table = "table",
    /// Rows returned or written.
    RowCount = "row_count",
    /// Columns of the rows returned or written.
    ColumnCount = "column_count",
    /// Of a write, bytes written to storage, where that is known; of a query, bytes read from storage, or those of its
    /// rows in memory.
    Bytes = "bytes",
    /// On spans of queries: rows that it got from the tables that it scans, where each scan counts them. On heartbeats: rows
    /// that the scans of the run's queries have returned so far.
    RowsRead = "rows_read",
    /// On spans of queries: bytes that its scans read from storage, where they say. On heartbeats: the same of all queries of
    /// the run so far.
    BytesRead = "bytes_read",
    /// On spans of queries: bytes that its operators spilled to disk. On heartbeats: the same of all queries of the run so far.
    BytesSpilled = "bytes_spilled",
    /// On heartbeats: rows that the sinks of the run's queries have taken so far.
    RowsWritten = "rows_written",
    /// On heartbeats: bytes that the sinks of the run's queries have written to storage so far.
    BytesWritten = "bytes_written",
    /// On heartbeats: rows that scans returned, for each second since the beat before.
    RowsReadPerSecond = "rows_read_per_second",
    /// On heartbeats: rows that sinks took, for each second since the beat before.
    RowsWrittenPerSecond = "rows_written_per_second",
    /// On heartbeats: bytes that scans read, for each second since the beat before.
    BytesReadPerSecond = "bytes_read_per_second",
    /// On heartbeats: bytes that sinks wrote, for each second since the beat before.
    BytesWrittenPerSecond = "bytes_written_per_second",
    /// The fingerprint of how a query is done: the shape of its physical plan, without literals, partitions and files.
    PlanHash = "plan_hash",
    /// The fingerprint of what a query asks: its logical plan without literals.
    LogicalHash = "logical_hash",
    /// The id of the query in its session.
    QueryId = "query_id",
    /// The tables that a query reads, as a list.
    SourceTables = "source_tables",
    /// `ok`, `error` or `cancelled`.
    Status = "status",
    /// Whether the stage took longer than its threshold.
    Slow = "slow",
    /// Which attempt at a node a span is, from 2; the first says nothing.
    Attempt = "attempt",
    /// Nodes that run at this moment.
    ActiveTasks = "active_tasks",
    /// On heartbeats: the names of the nodes that run, the first 20.
    ActiveTaskNames = "active_task_names",
    /// On heartbeats: nodes that have not started.
    PendingTasks = "pending_tasks",
    /// On heartbeats: the names of those, the first 20.
    PendingTaskNames = "pending_task_names",
    /// On heartbeats: nodes that have ended, in whatever way.
    CompletedTasks = "completed_tasks",
    /// On heartbeats: the names of those, the first 20.
    CompletedTaskNames = "completed_task_names",
    /// On heartbeats: bytes that are reserved in the memory pools of the sessions.
    MemoryReserved = "memory.reserved",
    /// On heartbeats: bytes that may be reserved there, where there is a limit.
    MemoryLimit = "memory.limit",
    /// On heartbeats: threads of the async runtime.
    RuntimeWorkers = "runtime.workers",
    /// On heartbeats: threads of the async runtime that run a task.
    RuntimeBusyWorkers = "runtime.busy_workers",
    /// On heartbeats: tasks that wait in the queue that the threads of the async runtime share.
    RuntimeQueueDepth = "runtime.queue_depth",
    /// On heartbeats: processor time of the process, user and system, since it started, in seconds.
    ProcessCpuSeconds = "process.cpu_seconds",
    /// On heartbeats: memory that the process holds, in bytes.
    ProcessResidentBytes = "process.resident_bytes",
    /// On heartbeats: threads of the process; only Linux says how many.
    ProcessThreads = "process.threads",
    /// On heartbeats: files, sockets and the like that the process has open.
    ProcessOpenFiles = "process.open_files",
    /// Bytes that the process has read from storage.
    IoBytesRead = "io.bytes_read",
    /// Bytes that the process has written to storage.
    IoBytesWritten = "io.bytes_written",
    /// On spans of queries that ran, and of tasks that a worker has executed: requests to object stores.
    StorageRequests = "storage.requests",
    /// On the same spans: bytes that these have brought or wrote.
    StorageBytes = "storage.bytes",
    /// On the same spans: how long these waited for the stores, taken together, in seconds.
    StorageSeconds = "storage.seconds",
    /// On metrics of storage: `get`, `head`, `put`, `list` or `change`.
    StorageOperation = "storage.operation",
    /// On `datafusion.compile`: how long the logical plan was optimised.
    OptimizationSeconds = "optimization_seconds",
    /// On `datafusion.compile`: how long the physical plan was made.
    PhysicalPlanningSeconds = "physical_planning_seconds",
    /// On spans of operators: which one it is, such as `HashJoinExec`.
    Operator = "operator",
    /// On spans of operators: its position in the plan, from 0, in pre-order.
    OperatorId = "operator_id",
    /// On spans of tasks of a cluster: the stage of the query, from 1.
    ClusterStage = "cluster_stage",
    /// On spans of tasks of a cluster: the number of the task in its stage, from 0.
    ClusterTask = "cluster_task",
    /// On spans of operators and of stages: how many tasks of a cluster it is the sum of. Workers that make spans have the same work in a span
    /// for each task; a span of an operator without it is of work in the process of the run.
    ClusterTasks = "cluster_tasks",
    /// On spans of operators: how long it was busy, summed over its partitions, which run at the same time.
    ComputeSeconds = "compute_seconds",
    /// On spans of operators: the rows that the plan's statistics had it return.
    EstimatedRows = "estimated_rows",
    /// On `datafusion.plan`: how long the text of the query was parsed, where the front end says so. It is not a part of the
    /// span.
    ParsingSeconds = "parsing_seconds",
    /// The operator of a query that was busy longest.
    HottestOperator = "hottest_operator",
    /// On the event of a data check: the check as it was written, as far as the policy shows SQL; its kind where it shows none.
    CheckText = "check.text",
    /// On the event of a data check: `rows`, `unique`, `not_null`, `freshness` or `condition`.
    CheckKind = "check.kind",
    /// On the event of a data check: what a failure does, `warn` or `fail`.
    CheckSeverity = "check.severity",
    /// On the event of a data check: `passed`, `failed` or `undecided`.
    CheckOutcome = "check.outcome",
    /// On the event of a data check: rows that it has looked at.
    CheckRows = "check.rows",
    /// On the event of a data check: those of them that break it, where it is about single rows.
    CheckFailing = "check.failing",
    /// On the event of a data check: what was found, in words.
    CheckMessage = "check.message",
    /// On the event of a stall, and on metrics: `source`, `worker`, `memory`, `output`, `blocked_call`, `blocked_runtime`, `spinning`, `tasks` or `outside`.
    StallClass = "stall.class",
    /// On the event of a stall: the statement or stage that makes no progress, if it does not belong to a node.
    StallStatement = "stall.statement",
    /// On the event of a stall: the operator that waits or computes.
    StallOperator = "stall.operator",
    /// On the event of a stall: what it waits for, in words.
    StallWaitsFor = "stall.waits_for",
    /// On the event of a stall: how long it has lasted, in seconds.
    StallSeconds = "stall.seconds",
    /// On the event of a stall: processor time of the process between the last two beats, in seconds.
    StallCpuSeconds = "stall.cpu_seconds",
    /// On the event of a stall: the threads that hold it up, each with its name, its state, the place in the kernel in which
    /// it sleeps, and the first calls of its stack.
    StallThreads = "stall.threads",
    /// On the root span: the profile of the capture policy.
    PolicyProfile = "policy.profile",
    /// On the root span: the hash of all rules of the capture policy, which the manifest has.
    PolicyHash = "policy.hash",
    /// On the root span: whether data summaries are computed.
    PolicyDataStatistics = "policy.data_statistics",
    /// On the root span: whether most frequent values and domains of columns are shown.
    PolicyTopValues = "policy.top_values",
    /// On the root span: how many of the first rows of a query are shown.
    PolicyPreviewRows = "policy.preview_rows",
    /// On the root span: whether the least and the greatest text of columns are shown.
    PolicyTextMinMax = "policy.text_min_max",
    /// On the root span: whether values of inputs and parameters are shown.
    PolicyInputs = "policy.inputs",
    /// On the root span: whether messages of errors keep the values in them.
    PolicyErrorValues = "policy.error_values",
    /// On the root span: how SQL texts are captured.
    PolicySqlText = "policy.sql_text",
    /// On the root span: how the paths of files are captured.
    PolicyPaths = "policy.paths",
}

/// The keys that every span of a stage carries, by the span's name. Empty for the others.
///
/// Beside these, `row_count`, `bytes`, `table`, `plan_hash`, `query_id` and `source_tables` stand on each span of a node
/// for which they are known, and `slow` on each that took longer than its threshold.
pub fn standard_keys(span: &str) -> &'static [Key] {
    const PLANNED: &[Key] = &[
        Key::Stage,
        Key::Status,
        Key::Node,
        Key::Dataset,
        Key::QueryId,
        Key::PlanHash,
        Key::LogicalHash,
        Key::SourceTables,
    ];
    const EXECUTED: &[Key] = &[
        Key::Stage,
        Key::Status,
        Key::Node,
        Key::Dataset,
        Key::QueryId,
        Key::PlanHash,
        Key::LogicalHash,
        Key::SourceTables,
        Key::RowCount,
        Key::Bytes,
    ];
    match span {
        span::NODE => &[Key::Stage, Key::Status, Key::Node, Key::NodeKind, Key::Dataset],
        span::TASK => &[Key::Stage, Key::Status, Key::Node, Key::Task],
        span::STAGE => &[Key::Stage, Key::Status],
        span::PLAN => PLANNED,
        span::OPERATOR => {
            &[Key::Stage, Key::Status, Key::Node, Key::QueryId, Key::Operator, Key::ComputeSeconds]
        }
        span::CLUSTER_STAGE => &[Key::Stage, Key::Status, Key::Node, Key::QueryId, Key::ClusterStage],
        span::CLUSTER_TASK => &[
            Key::Stage,
            Key::Status,
            Key::Node,
            Key::QueryId,
            Key::ClusterStage,
            Key::ClusterTask,
            Key::RowCount,
        ],
        span::NORMALIZE | span::COMPILE => &[Key::Stage, Key::Status, Key::Node, Key::QueryId],
        span::EXECUTE | span::WRITE => EXECUTED,
        span::HEARTBEAT => &[
            Key::Stage,
            Key::Status,
            Key::ActiveTasks,
            Key::PendingTasks,
            Key::CompletedTasks,
            Key::RowsRead,
            Key::RowsWritten,
            Key::BytesRead,
            Key::BytesWritten,
            Key::BytesSpilled,
        ],
        _ => &[],
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
