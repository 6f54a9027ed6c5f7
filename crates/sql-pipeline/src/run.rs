//! Running a pipeline.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use daglight_capture_policy::in_one_line;
use daglight_materializers::folder_of_pattern;
use daglight_run_session::{Node, Run, WarningCode, catch_panic};
use datafusion::execution::context::SessionContext;
use futures::{StreamExt, TryFutureExt, stream::FuturesUnordered};

use crate::{
    effect::Effect,
    expectations::StepError,
    locate::{SourceError, StatementError},
    pipeline::{Pipeline, Step},
    run_options::{PipelineEvent, RunScriptOptions},
    schedule::Schedule,
    shown_rows::ShownRows,
    statement_run::RowsOut,
};

/// How many comments that look like misspelled directives get their own warning.
const WARNINGS_SHOWN: usize = 10;

/// Why a pipeline did not run to its end. `Display` and `Debug` are those of the first error, and contain no values;
/// [`SourceError::shown_by`] shows more of each.
#[non_exhaustive]
pub struct RunFailure {
    /// The first error.
    pub error: SourceError,
    /// The errors of nodes that failed after it, in order.
    pub others: Vec<SourceError>,
    /// The nodes that were not run because of the errors.
    pub not_run: Vec<String>,
}

impl RunFailure {
    /// All errors, in the order in which the statements failed.
    pub fn errors(&self) -> impl Iterator<Item = &SourceError> {
        std::iter::once(&self.error).chain(&self.others)
    }
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for RunFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

enum Ended {
    Well,
    Failed(SourceError),
    NotStarted,
}

impl Pipeline {
    /// Runs all statements in a session, each node as a node of `run`.
    ///
    /// Independent nodes are polled in the same task; the partitions of their queries use all threads of the runtime. After an
    /// error nothing new starts, and what is running is ended.
    ///
    /// # Errors
    /// When a statement fails, or when the session would certainly reject one. The error is already recorded in the run.
    pub async fn run(
        &self,
        session: &SessionContext,
        run: &Run,
        options: RunScriptOptions<'_>,
    ) -> Result<(), RunFailure> {
        self.warn_of_comments(run);
        self.warn_of_patterns(run);
        // Checked with the session that will run it, because what a statement may do depends on its catalogs; and before anything
        // runs, so that a rejection leaves nothing half done.
        if let Some(error) = self.refused_statement(session) {
            run.fail(StatementError(error.clone()));
            return Err(self.failed_before_the_first_step(error, &options));
        }
        // Errors then have the line and column of the name to which they refer.
        session.state_ref().write().config_mut().options_mut().sql_parser.collect_spans = true;
        if let Err(error) = self.run_inputs(session, run, &options).await {
            return Err(self.failed_before_the_first_step(error, &options));
        }

        let rows_out = RowsOut::new(&options);
        let is_stopped = AtomicBool::new(false);
        let mut failures = Vec::new();
        let mut schedule = Schedule::new(self.steps(), options.part);
        // On a single task: this keeps events in order and the closure of the caller needs no lock, and DataFusion does most of its
        // computing on its own tasks.
        let mut running = FuturesUnordered::new();
        loop {
            // As many as may run at the same time. Running steps are allowed to finish, even if another one fails.
            while !is_stopped.load(Ordering::Relaxed) && running.len() < options.jobs.get() {
                let Some(index) = schedule.start_next() else { break };
                let (is_stopped, rows_out, options) = (&is_stopped, &rows_out, &options);
                running.push(async move {
                    // It was scheduled together with one that has failed since.
                    if is_stopped.load(Ordering::Relaxed) {
                        return (index, Ended::NotStarted);
                    }
                    let step = &self.steps()[index];
                    match self.run_step(step, session, run, rows_out, options).await {
                        Ok(()) => (index, Ended::Well),
                        Err(error) => {
                            let goes_on = options.keep_going && step.node.is_some();
                            // Set by the step itself instead of the loop: with several jobs, another step may be polled before the
                            // loop sees the failure.
                            is_stopped.fetch_or(!goes_on, Ordering::Relaxed);
                            (index, Ended::Failed(error))
                        }
                    }
                });
            }
            match running.next().await {
                Some((index, Ended::Well)) => schedule.end(index),
                // So that it is listed among those that did not run.
                Some((index, Ended::NotStarted)) => schedule.put_back(index),
                Some((index, Ended::Failed(error))) => {
                    failures.push(error);
                    schedule.fail(index);
                }
                None => break,
            }
        }
        drop(running);
        let mut failures = failures.into_iter();
        match failures.next() {
            None => Ok(()),
            Some(error) => {
                Err(RunFailure { error, others: failures.collect(), not_run: schedule.waiting_nodes() })
            }
        }
    }

    fn failed_before_the_first_step(&self, error: SourceError, options: &RunScriptOptions<'_>) -> RunFailure {
        (options.on_event)(PipelineEvent::StatementFailed { error: &error });
        let not_run = Schedule::new(self.steps(), options.part).waiting_nodes();
        RunFailure { error, others: Vec::new(), not_run }
    }

    /// Records the parameters, and registers the parameter tables.
    async fn run_inputs(
        &self,
        session: &SessionContext,
        run: &Run,
        options: &RunScriptOptions<'_>,
    ) -> Result<(), SourceError> {
        let is_run = |node: &str| options.part.is_none_or(|part| part.has_input(node));
        // Parameters are nodes too, which take no time: this way the values are visible in the same place as the tables.
        for parameter in self.parameters().values() {
            let name = parameter.node_name();
            if !is_run(&name) {
                continue;
            }
            let record = async |node: Node| {
                node.input(parameter.text.as_str());
                Ok::<(), Infallible>(())
            };
            (options.on_event)(PipelineEvent::NodeStarted { node: &name });
            let started = Instant::now();
            let Ok(()) = run.node(&name, record).await;
            say_that_it_succeeded(run, &name, started, options);
        }
        for used in self.param_tables.iter().filter(|used| is_run(used.table.name())) {
            let register = async |node: Node| {
                let registered = node.register_params(session, &used.table).await;
                registered.map_err(|error| StatementError(used.failed(self.script(), error)))
            };
            (options.on_event)(PipelineEvent::NodeStarted { node: used.table.name() });
            let started = Instant::now();
            run.node(used.table.name(), register).await.map_err(|StatementError(error)| error)?;
            say_that_it_succeeded(run, used.table.name(), started, options);
        }
        Ok(())
    }

    fn warn_of_comments(&self, run: &Run) {
        let warnings = self.script().warnings();
        // A script in which every comment looks like a directive must not fill the log of its run.
        let (shown, others) = warnings.split_at(warnings.len().min(WARNINGS_SHOWN));
        shown.iter().for_each(|warning| run.warn_of(WarningCode::ScriptComment, warning));
        if !others.is_empty() {
            let warning = format!("{} more comments look like directives but are not", others.len());
            run.warn_of(WarningCode::ScriptComment, warning);
        }
    }

    fn warn_of_patterns(&self, run: &Run) {
        for statement in self.script().statements() {
            if let Effect::CopyTo { target, .. } = &statement.relations.effect
                && let Some(folder) = folder_of_pattern(target)
            {
                let place = self.script().place_in(statement, statement.first_line, statement.first_column);
                let warning = format!(
                    "{place}: COPY writes files of other names into {folder:?}, because `*`, `?` and `[` make a pattern of \
                     its target {target:?}"
                );
                run.warn_of(WarningCode::TargetPattern, warning);
            }
        }
    }

    async fn run_step(
        &self,
        step: &Step,
        session: &SessionContext,
        run: &Run,
        rows_out: &RowsOut<'_>,
        options: &RunScriptOptions<'_>,
    ) -> Result<(), SourceError> {
        let located = |error| match error {
            StepError::Engine(error) => StatementError(self.locate(step, error)),
            StepError::Check(error) => StatementError(*error),
        };
        let started = Instant::now();
        // A panic of the engine is handled like any other error of the statement.
        let caught = match &step.node {
            Some(name) => {
                (options.on_event)(PipelineEvent::NodeStarted { node: name });
                let work = async |node: Node| {
                    self.run_statement(step, session, Some(&node), rows_out).await.map_err(located)
                };
                let ran = async {
                    let ran = run.node_unless_stalled(name, work).await;
                    ran.unwrap_or_else(|stalled| {
                        Err(StatementError(self.failed_by(step, stalled.to_string(), None)))
                    })
                };
                catch_panic(ran).await
            }
            None => {
                let work = self.run_statement(step, session, None, rows_out).map_err(located);
                let rows = |rows: &Option<ShownRows>| rows.as_ref().map(|rows| rows.total_rows);
                let code = self.script().code_of(self.statement(step));
                catch_panic(run.stage_of_code("setup", &code, rows, work)).await
            }
        };
        let ran = match caught {
            Ok(ran) => ran.map_err(|StatementError(error)| error),
            Err(panic) => Err(self.failed_by(step, in_one_line(&panic), Some(panic))),
        };
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
    // The duration recorded for the node, which does not include our own work at its end.
    let record = run.node_record(node);
    let elapsed = record
        .as_ref()
        .and_then(|record| record.duration_ms)
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok())
        .unwrap_or_else(|| started.elapsed());
    let rows = record.and_then(|record| record.rows);
    (options.on_event)(PipelineEvent::NodeSucceeded { node, elapsed, rows });
}
