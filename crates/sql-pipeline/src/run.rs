//! Running a pipeline.

use std::{
    convert::Infallible,
    fmt,
    num::NonZeroUsize,
    sync::OnceLock,
    time::{Duration, Instant},
};

use daglight_capture_policy::printable_message;
use daglight_run_session::{Node, Run, catch_panic};
use datafusion::execution::context::SessionContext;
use futures::{StreamExt, TryFutureExt, stream::FuturesUnordered};

use crate::{Pipeline, ShownRows, SourceError, Step, schedule::Schedule};

/// Comments that are nearly directives, of which each has a warning of its own.
const WARNINGS_SHOWN: usize = 10;

/// How much of an error is shown: a value in it may be of any length.
const MESSAGE_COLUMNS: usize = 4_000;

/// How a pipeline is run.
pub struct RunScriptOptions<'a> {
    /// How many nodes may run at the same time. With one, which is the default, statements run in the script's order.
    pub jobs: NonZeroUsize,
    /// How many rows of a query are shown; 20 by default. The others are computed and counted all the same.
    pub rows_shown: usize,
    /// Called for everything that happens, on the task that runs the pipeline.
    pub on_event: &'a (dyn Fn(PipelineEvent<'_>) + Send + Sync),
}

impl fmt::Debug for RunScriptOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunScriptOptions")
            .field("jobs", &self.jobs)
            .field("rows_shown", &self.rows_shown)
            .finish_non_exhaustive()
    }
}

impl Default for RunScriptOptions<'_> {
    fn default() -> Self {
        Self { jobs: NonZeroUsize::MIN, rows_shown: 20, on_event: &|_| {} }
    }
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
    /// A statement has failed; nothing new starts from here on.
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
}

/// Why a pipeline did not run to its end. `Display` is for a terminal: it quotes the line, with a caret below, cuts what
/// is long and writes control characters out.
#[derive(Debug, thiserror::Error)]
#[error("{}\n{}", printable_message(&.error.to_string(), MESSAGE_COLUMNS), .error.place.quote())]
#[non_exhaustive]
pub struct RunFailure {
    /// The first error.
    pub error: SourceError,
    /// The nodes that were not run because of it.
    pub not_run: Vec<String>,
}

enum Ended {
    Well,
    Failed,
    NotStarted,
}

impl Pipeline {
    /// Runs every statement in a session, each node as a node of `run`.
    ///
    /// Independent nodes share the task they are polled in; the partitions of their queries run on all threads of the
    /// runtime. After an error nothing new starts, and what runs is ended.
    ///
    /// # Errors
    /// When a statement fails, or is one that the session will surely refuse. The run knows of it already.
    pub async fn run(
        &self,
        session: &SessionContext,
        run: &Run,
        options: RunScriptOptions<'_>,
    ) -> Result<(), RunFailure> {
        self.warn_of_comments(run);
        if let Some(error) = self.refused_statement(session) {
            run.fail(&error);
            (options.on_event)(PipelineEvent::StatementFailed { error: &error });
            return Err(RunFailure { error, not_run: Schedule::new(self.steps()).waiting_nodes() });
        }
        // Errors then say which column of which line they are about.
        session.state_ref().write().config_mut().options_mut().sql_parser.collect_spans = true;
        for parameter in self.parameters().values() {
            let record = async |node: Node| {
                node.input(parameter.text.as_str());
                Ok::<(), Infallible>(())
            };
            let name = parameter.node_name();
            (options.on_event)(PipelineEvent::NodeStarted { node: &name });
            let started = Instant::now();
            let Ok(()) = run.node(&name, record).await;
            say_that_it_succeeded(run, &name, started, &options);
        }
        for used in &self.param_tables {
            let register = async |node: Node| {
                let registered = node.register_params(session, &used.table).await;
                registered.map_err(|error| used.failed(self.script(), error))
            };
            (options.on_event)(PipelineEvent::NodeStarted { node: used.table.name() });
            let started = Instant::now();
            if let Err(error) = run.node(used.table.name(), register).await {
                (options.on_event)(PipelineEvent::StatementFailed { error: &error });
                return Err(RunFailure { error, not_run: Schedule::new(self.steps()).waiting_nodes() });
            }
            say_that_it_succeeded(run, used.table.name(), started, &options);
        }

        let failure = OnceLock::new();
        let mut schedule = Schedule::new(self.steps());
        let mut running = FuturesUnordered::new();
        loop {
            while failure.get().is_none() && running.len() < options.jobs.get() {
                let Some(index) = schedule.start_next() else { break };
                let (failure, options) = (&failure, &options);
                running.push(async move {
                    // It was let in beside one that has failed since.
                    if failure.get().is_some() {
                        return (index, Ended::NotStarted);
                    }
                    match self.run_step(&self.steps()[index], session, run, options).await {
                        Ok(()) => (index, Ended::Well),
                        Err(error) => {
                            // The first failure stays; the run has recorded each of them.
                            let _ = failure.set(error);
                            (index, Ended::Failed)
                        }
                    }
                });
            }
            match running.next().await {
                Some((index, Ended::Well)) => schedule.end(index),
                Some((index, Ended::NotStarted)) => schedule.put_back(index),
                Some((_, Ended::Failed)) => {}
                None => break,
            }
        }
        drop(running);
        match failure.into_inner() {
            None => Ok(()),
            Some(error) => Err(RunFailure { error, not_run: schedule.waiting_nodes() }),
        }
    }

    fn warn_of_comments(&self, run: &Run) {
        let warnings = self.script().warnings();
        let (shown, others) = warnings.split_at(warnings.len().min(WARNINGS_SHOWN));
        shown.iter().for_each(|warning| run.warn(warning));
        if !others.is_empty() {
            run.warn(format!("{} more comments are nearly directives", others.len()));
        }
    }

    async fn run_step(
        &self,
        step: &Step,
        session: &SessionContext,
        run: &Run,
        options: &RunScriptOptions<'_>,
    ) -> Result<(), SourceError> {
        let located = |error| self.locate(step, error);
        let started = Instant::now();
        // A panic of the engine is an error of the statement like any other.
        let caught = match &step.node {
            Some(name) => {
                (options.on_event)(PipelineEvent::NodeStarted { node: name });
                let work = async |node: Node| {
                    self.run_statement(step, session, Some(&node), options.rows_shown).await.map_err(located)
                };
                let ran = async {
                    let ran = run.node_unless_stalled(name, work).await;
                    ran.unwrap_or_else(|stalled| Err(self.failed_by(step, stalled.to_string())))
                };
                catch_panic(ran).await
            }
            None => {
                let work = self.run_statement(step, session, None, options.rows_shown).map_err(located);
                let rows = |rows: &Option<ShownRows>| rows.as_ref().map(|rows| rows.total_rows);
                let code = self.statement(step).code(self.script().path());
                catch_panic(run.stage_of_code("setup", &code, rows, work)).await
            }
        };
        let ran = caught.unwrap_or_else(|panic| Err(self.failed_by(step, panic.to_string())));
        match &ran {
            Ok(rows) => {
                if let Some(node) = &step.node {
                    say_that_it_succeeded(run, node, started, options);
                }
                if let Some(rows) = rows {
                    (options.on_event)(PipelineEvent::Rows { node: step.node.as_deref(), rows });
                }
            }
            Err(error) => (options.on_event)(PipelineEvent::StatementFailed { error }),
        }
        ran.map(|_| ())
    }
}

fn say_that_it_succeeded(run: &Run, node: &str, started: Instant, options: &RunScriptOptions<'_>) {
    // The time that the node has everywhere; without its end, which is our own.
    let record = run.node_record(node);
    let elapsed = record
        .as_ref()
        .and_then(|record| record.duration_ms)
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok())
        .unwrap_or_else(|| started.elapsed());
    let rows = record.and_then(|record| record.rows);
    (options.on_event)(PipelineEvent::NodeSucceeded { node, elapsed, rows });
}
