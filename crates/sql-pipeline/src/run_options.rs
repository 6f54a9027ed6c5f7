//! Options for running a pipeline, and the events of a run.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, time::Duration};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    logical_expr::{LogicalPlan, SetVariable, Statement},
};

use crate::{locate::SourceError, part::Part, shown_rows::ShownRows};

/// Options for running a pipeline.
pub struct RunScriptOptions<'a> {
    /// How many nodes may run at the same time. Default: 1, so that statements run in script order.
    pub jobs: NonZeroUsize,
    /// Which rows of queries are reported; by default the first 20 of each. All rows are computed and counted regardless.
    pub rows: RowsWanted,
    /// The steps to run; by default all.
    pub part: Option<&'a Part>,
    /// Whether nodes that do not depend on a failed one are still run. Nothing is run after a failed statement that is not a node:
    /// it may have been meant to change the session for all later ones.
    pub keep_going: bool,
    /// Settings for which a `RESET` restores this value instead of DataFusion's default: values that the session was explicitly
    /// started with.
    pub reset_values: &'a BTreeMap<String, String>,
    /// The path or URL of a folder in which the rows of `CREATE TABLE AS` are kept as Parquet files, so that other machines can
    /// read them. By default they are kept in the memory of this process, as are always those of tables that the script changes.
    /// The caller must [remove](crate::remove_scratch) the folder.
    pub scratch: Option<&'a str>,
    /// Called for every event, on the task that runs the pipeline.
    pub on_event: &'a (dyn Fn(PipelineEvent<'_>) + Send + Sync),
}

static NO_VALUES: BTreeMap<String, String> = BTreeMap::new();

impl RunScriptOptions<'_> {
    /// The plan with `RESET` replaced by a `SET` if there is a value to restore.
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
    /// At most this many, as [`PipelineEvent::Rows`], when the statement has ended.
    Shown {
        /// The number of rows.
        most: usize,
    },
    /// As they arrive, from [`PipelineEvent::RowsStarted`] to [`PipelineEvent::RowsEnded`]. Only one statement at a time can stream
    /// rows; another one that runs concurrently waits.
    Streamed {
        /// The number of rows of each statement; by default all.
        most: Option<usize>,
    },
}

/// An event while a pipeline runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineEvent<'a> {
    /// A node starts.
    NodeStarted {
        /// The node.
        node: &'a str,
    },
    /// A node has succeeded.
    NodeSucceeded {
        /// The node.
        node: &'a str,
        /// How long it took.
        elapsed: Duration,
        /// Rows that it returned or wrote, if known.
        rows: Option<u64>,
    },
    /// A statement has failed. Nothing new starts after that, unless the run [keeps going](RunScriptOptions::keep_going).
    StatementFailed {
        /// The error, with its place.
        error: &'a SourceError,
    },
    /// A query, an `EXPLAIN` or a `SHOW` has returned rows.
    Rows {
        /// The query's node.
        node: Option<&'a str>,
        /// Its first rows.
        rows: &'a ShownRows,
    },
    /// A query, an `EXPLAIN` or a `SHOW` starts to return rows.
    RowsStarted {
        /// The query's node.
        node: Option<&'a str>,
        /// The columns of its rows.
        schema: &'a SchemaRef,
    },
    /// The next rows of the statement that is returning rows.
    RowsBatch {
        /// The rows.
        batch: &'a RecordBatch,
    },
    /// That statement has returned all its rows. Not sent if it fails.
    RowsEnded,
}
