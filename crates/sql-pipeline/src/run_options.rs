//! How a pipeline is run, and what is said while it runs.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, time::Duration};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    logical_expr::{LogicalPlan, SetVariable, Statement},
};

use crate::{locate::SourceError, part::Part, shown_rows::ShownRows};

/// How a pipeline is run.
pub struct RunScriptOptions<'a> {
    /// How many nodes may run at the same time. With one, which is the default, statements run in the script's order.
    pub jobs: NonZeroUsize,
    /// Which rows of queries are reported; the first 20 of each by default. The others are computed and counted all the same.
    pub rows: RowsWanted,
    /// The steps to run; all of them by default.
    pub part: Option<&'a Part>,
    /// Whether what does not need a failed node is run all the same. Nothing is, where a statement has failed that is not a
    /// node: it may have changed the session for all that follows.
    pub keep_going: bool,
    /// Settings whose value a `RESET` goes back to, in place of DataFusion's default: what the session was started with on purpose.
    pub reset_values: &'a BTreeMap<String, String>,
    /// The path or URL of a folder in which the rows of `CREATE TABLE AS` are kept as Parquet files, for machines that read them there.
    /// In the memory of this process by default, which also keeps those of tables that the script changes. Whoever gives it
    /// [removes](crate::remove_scratch) it.
    pub scratch: Option<&'a str>,
    /// Called for everything that happens, on the task that runs the pipeline.
    pub on_event: &'a (dyn Fn(PipelineEvent<'_>) + Send + Sync),
}

static NO_VALUES: BTreeMap<String, String> = BTreeMap::new();

impl RunScriptOptions<'_> {
    /// The plan with a `SET` in the place of the `RESET` of a setting that has a value to go back to.
    pub(crate) fn with_reset_value(&self, plan: LogicalPlan) -> LogicalPlan {
        let LogicalPlan::Statement(Statement::ResetVariable(reset)) = &plan else { return plan };
        let Some(value) = self.reset_values.get(&reset.variable) else { return plan };
        let (variable, value) = (reset.variable.clone(), value.clone());
        LogicalPlan::Statement(Statement::SetVariable(SetVariable { variable, value }))
    }
}

impl fmt::Debug for RunScriptOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunScriptOptions")
            .field("jobs", &self.jobs)
            .field("rows", &self.rows)
            .field("part", &self.part)
            .field("keep_going", &self.keep_going)
            .field("reset_values", &self.reset_values)
            .field("scratch", &self.scratch)
            .finish_non_exhaustive()
    }
}

impl Default for RunScriptOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: NonZeroUsize::MIN,
            rows: RowsWanted::Shown { most: 20 },
            part: None,
            keep_going: false,
            reset_values: &NO_VALUES,
            scratch: None,
            on_event: &|_| {},
        }
    }
}

/// Which rows of a query, an `EXPLAIN` or a `SHOW` are reported, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowsWanted {
    /// So many of them at most, as [`PipelineEvent::Rows`], when the statement has ended.
    Shown {
        /// Rows.
        most: usize,
    },
    /// As they come, from [`PipelineEvent::RowsStarted`] to [`PipelineEvent::RowsEnded`]. Only one statement at a time has
    /// rows; another that runs beside it waits.
    Streamed {
        /// Rows of each statement; all of them by default.
        most: Option<usize>,
    },
}

/// Something that happens while a pipeline runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineEvent<'a> {
    /// A node starts.
    NodeStarted {
        /// The node.
        node: &'a str,
    },
    /// A node has ended well.
    NodeSucceeded {
        /// The node.
        node: &'a str,
        /// How long it took.
        elapsed: Duration,
        /// Rows that it returned or wrote, where they are known.
        rows: Option<u64>,
    },
    /// A statement has failed. Nothing new starts from here on, unless the run [keeps going](RunScriptOptions::keep_going).
    StatementFailed {
        /// What happened, and where.
        error: &'a SourceError,
    },
    /// A query, an `EXPLAIN` or a `SHOW` has rows.
    Rows {
        /// The query's node.
        node: Option<&'a str>,
        /// Its first rows.
        rows: &'a ShownRows,
    },
    /// A query, an `EXPLAIN` or a `SHOW` begins to return rows.
    RowsStarted {
        /// The query's node.
        node: Option<&'a str>,
        /// The columns of its rows.
        schema: &'a SchemaRef,
    },
    /// The next rows of the statement that has begun to return some.
    RowsBatch {
        /// The rows.
        batch: &'a RecordBatch,
    },
    /// That statement has given all its rows. Where it failed, this does not come.
    RowsEnded,
}
