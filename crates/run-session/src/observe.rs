//! Observing a session without a DAG: its queries are the nodes.

use std::{fmt, future::Future, ops::Deref, sync::Arc, time::Duration};

use daglight_plan_diagnostics::is_instrumented;
use daglight_run_identity::DagName;
use datafusion::{
    dataframe::DataFrame,
    error::Result as DataFusionResult,
    execution::SessionStateBuilder,
    prelude::SessionContext,
    sql::{parser::Statement as Parsed, planner::object_name_to_table_reference, sqlparser::ast::Statement},
};

use crate::{
    finish_report::FinishReport,
    observed_session::ObservedSession,
    options::RunOptions,
    query_owner::QueryOwner,
    run::{Run, node_of},
    run_error::{RecordedError, RunError},
    run_state::RunState,
    session_observer::SessionObserver,
    sight::{name_of_table, table},
    telemetry::{Telemetry, TelemetryError},
};

/// The name of a DAG where nothing else names it.
const UNNAMED: &str = "program";

/// How a session is observed.
///
/// ```
/// use std::time::Duration;
///
/// use daglight_run_session::ObserveOptions;
///
/// let hourly = ObserveOptions::new().window(Duration::from_secs(3600));
/// assert_eq!(hourly.window, Some(Duration::from_secs(3600)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObserveOptions {
    /// The name of the DAG. Default: the setting `dag_name` (`HAMILTON_DAG_NAME`), or else the name of the program.
    pub dag_name: Option<DagName>,
    /// How long a run takes queries in, for a program that goes on for days. Default: one run, until the session is not
    /// observed any more.
    pub window: Option<Duration>,
    /// What the runs have besides: their tags and inputs.
    pub run: RunOptions,
}

impl ObserveOptions {
    /// The defaults: one run, with the name of the settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the DAG.
    #[must_use]
    pub fn dag_name(self, name: DagName) -> Self {
        Self { dag_name: Some(name), ..self }
    }

    /// Begins another run after this time, with the next query that comes then. A window without queries makes no run.
    #[must_use]
    pub fn window(self, window: Duration) -> Self {
        Self { window: Some(window), ..self }
    }

    /// Sets what the runs have besides.
    #[must_use]
    pub fn run(self, run: RunOptions) -> Self {
        Self { run, ..self }
    }
}

/// A session whose queries are seen, without a DAG: each query is a node, as [`Telemetry::observe`] says. It is used as the
/// [`SessionContext`] that it stands for.
///
/// Dropping it ends the run; [`Observed::finish`] does, too, and says what became of it. Queries of clones of the session that
/// come later are not recorded.
pub struct Observed {
    session: SessionContext,
    observed: Arc<ObservedSession>,
    /// The last field: dropping it waits for the end of the run.
    telemetry: Telemetry,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("run", &self.run()).finish_non_exhaustive()
    }
}

impl Deref for Observed {
    type Target = SessionContext;

    fn deref(&self) -> &SessionContext {
        &self.session
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.observed.end();
    }
}

impl Telemetry {
    /// Observes a session without a DAG: each query is a node of the run, which starts with the first of them.
    ///
    /// - A node is **called** after what its query writes: `COPY ... TO 'x/orders.parquet'`, `INSERT INTO orders` and
    ///   `CREATE TABLE orders AS` make `orders`. What returns rows is called after the tables that it reads and its plan, such
    ///   as `orders_3f2a91c0`; other literals are the same plan. Two runs of a program have the same names and hashes, in
    ///   whatever order their queries run at once.
    /// - It **depends** on the nodes before it that have made the tables and files that it reads.
    /// - The same query **again** is another attempt of its node: the last one counts.
    /// - The **version** is what was seen when the run ends. Until then nothing is sent to the tracking server.
    /// - From 1,000 different queries on, others belong to the run and are not nodes; a warning says so.
    ///
    /// Code in [`Run::node`] of another run stays what it is; in [`Observed::run`] it is a node of that name.
    ///
    /// # Errors
    /// When the setting `dag_name` is not the name of a DAG, or the session is observed already, by this or by
    /// [`Telemetry::session`].
    ///
    /// ```
    /// # use daglight_capture_policy::Profile;
    /// # use daglight_settings::Settings;
    /// # use daglight_run_session::{ObserveOptions, RunStatus, Telemetry};
    /// # use datafusion::prelude::SessionContext;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let out = tempfile::tempdir()?;
    /// # let mut settings = Settings::of_profile(Profile::Ci);
    /// # settings.bundle.output_dir = out.path().to_owned();
    /// let ctx = Telemetry::new(settings).observe(SessionContext::new(), ObserveOptions::new())?;
    /// ctx.sql("CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 10)").await?;
    /// ctx.sql("SELECT count(*) FROM orders WHERE id > 3").await?.collect().await?;
    ///
    /// let report = ctx.finish().await.expect("there were queries");
    /// assert_eq!(report.status, RunStatus::Success);
    /// assert_eq!(report.nodes[0].name, "orders");
    /// assert_eq!(report.nodes[1].dependencies, ["orders"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(
        &self,
        session: impl Into<SessionStateBuilder>,
        options: ObserveOptions,
    ) -> Result<Observed, TelemetryError> {
        let mut session = session.into();
        if is_instrumented(&mut session) {
            return Err(TelemetryError::AlreadyObserved);
        }
        let ObserveOptions { dag_name, window, run } = options;
        let dag_name = match dag_name {
            Some(name) => name,
            None => self.dag_name()?,
        };
        let observed = Arc::new(ObservedSession::new(&self.shared, &self.open_runs, dag_name, run, window));
        let observer = SessionObserver::new(&self.shared, &self.open_runs).of_session(&observed);
        Ok(Observed { session: self.observed_by(session, observer), observed, telemetry: self.clone() })
    }

    /// That of the settings, or else the name of the program, as far as it is the name of a DAG: that of a test has a hash in it.
    fn dag_name(&self) -> Result<DagName, TelemetryError> {
        match &self.settings().dag_name {
            Some(name) => Ok(name.parse()?),
            None => {
                let name = crate::shared::service_name().parse();
                Ok(name.unwrap_or_else(|_| UNNAMED.parse().expect("the name is valid")))
            }
        }
    }
}

impl Observed {
    /// As [`SessionContext::sql`]. A statement that creates a table by a query is the node of that table, which DataFusion names
    /// in no plan: through a plain reference to the session it is called as what returns rows.
    ///
    /// # Errors
    /// As [`SessionContext::sql`].
    pub async fn sql(&self, sql: &str) -> DataFusionResult<DataFrame> {
        let Some(name) = self.created_table(sql) else { return self.session.sql(sql).await };
        let Some(run) = self.run_here() else { return self.session.sql(sql).await };
        let node = name_of_table(&name);
        match node_of(&run, &node, async |_| self.session.sql(sql).await).await {
            Ok(Ok(frame)) => {
                run.context.dag.made(&node, table(&name));
                Ok(frame)
            }
            Ok(Err(error)) => Err(error),
            Err(stalled) => std::panic::resume_unwind(Box::new(stalled)),
        }
    }

    /// Does work in a separate run, such as the answer to one request: its queries belong to that, and not to the run of the
    /// session. The result passes through as it is; an error fails the run. The run ends beside the program, which does not wait
    /// for it; where the work is dropped before its end, the run is a failure.
    ///
    /// What the work spawns is taken along by [`Run::in_context`].
    pub async fn request<T, E, F, W, Kind>(&self, options: RunOptions, work: W) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Run) -> F,
    {
        let common = self.observed.options().clone();
        let options = RunOptions { source_dir: options.source_dir.or(common.source_dir), ..options };
        let run = self.observed.start(RunOptions {
            tags: common.tags.into_iter().chain(options.tags).collect(),
            inputs: common.inputs.into_iter().chain(options.inputs).collect(),
            source_dir: options.source_dir,
            retry: options.retry,
        });
        let result = run.in_context(work(run.clone())).await;
        if let Err(error) = &result {
            run.fail_with(&RecordedError::of(error));
        }
        run.end_later();
        result
    }

    /// The run that takes queries in now; `None` before the first query, and between two windows.
    pub fn run(&self) -> Option<Run> {
        self.observed.open_run()
    }

    /// The telemetry, for runs with a DAG.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Ends the run, as [`Run::finish`] does. `None` where there was no query, or none in this window.
    pub async fn finish(self) -> Option<FinishReport> {
        let run = self.observed.close()?;
        Some(run.finish().await)
    }

    /// As [`Observed::finish`], for code that is not async. Do not call it on a thread of an async runtime.
    pub fn finish_blocking(self) -> Option<FinishReport> {
        Some(self.observed.close()?.finish_blocking())
    }

    /// The table that a statement creates by a query.
    fn created_table(&self, sql: &str) -> Option<String> {
        // Parsed a second time only where it may be one.
        let may_create = sql.as_bytes().windows(6).any(|word| word.eq_ignore_ascii_case(b"create"));
        if !may_create {
            return None;
        }
        let state = self.session.state_ref();
        let state = state.read();
        let dialect = state.config().options().sql_parser.dialect;
        match state.sql_to_statement(sql, &dialect).ok()? {
            Parsed::Statement(statement) => match *statement {
                Statement::CreateTable(create) if create.query.is_some() => {
                    let folds = state.config().options().sql_parser.enable_ident_normalization;
                    // As the session calls it, and so whatever reads it: in lower case unless it is quoted.
                    object_name_to_table_reference(create.name, folds).ok().map(|name| name.to_string())
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The run of the code that calls this, where a node may be added to it.
    fn run_here(&self) -> Option<Arc<RunState>> {
        match QueryOwner::current() {
            None => Arc::clone(&self.observed).run(),
            Some(QueryOwner::Run(core)) if core.context.dag.is_observed() => {
                self.telemetry.open_runs.get(core.context.run_id)
            }
            Some(_) => None,
        }
    }
}
