//! Telemetry as a program holds it.

use std::{
    fmt,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use daglight_capture_policy::Policy;
use daglight_materializers::Registry;
use daglight_otel_bridge::{Bridge, ProgramProviders};
use daglight_plan_diagnostics::instrument;
use daglight_run_bundle::{Warning, WarningCode};
use daglight_run_identity::{Dag, DagNameError};
use daglight_settings::{Resolved, Settings, SettingsError, SettingsLoader};
use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};

use crate::{
    ends::Handle,
    finish_report::FinishReport,
    on_interrupt::OnInterrupt,
    open_runs::OpenRuns,
    options::RunOptions,
    panics::remember_panics,
    run::Run,
    run_error::{RecordedError, RunError},
    run_state::RunState,
    session_observer::SessionObserver,
    shared::Shared,
    storage,
};

/// Settings, OpenTelemetry providers and the tracker's address, for all runs of a process. Clones share them.
///
/// Nothing here waits for a server, but [`Telemetry::shutdown`]. Dropping the last clone does the same where that was not
/// called; drop it where waiting does no harm.
#[derive(Clone)]
pub struct Telemetry {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open_runs: Arc<OpenRuns<RunState>>,
    /// Runs hold what is shared without one: the program's own handles decide when it is over.
    handle: Handle,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("profile", &self.shared.settings.profile).finish_non_exhaustive()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let is_last = self.handle.give_back();
        if !is_last || self.shared.is_shut_down.load(Ordering::Relaxed) {
            return;
        }
        let started = Instant::now();
        self.shared.ends.wait(self.shared.longest_end());
        // A run that goes on needs the exports, and ends them when it has ended.
        if !self.shared.ends.has_open_runs() {
            self.shared.end_exports(self.shared.longest_end().saturating_sub(started.elapsed()));
        }
    }
}

/// Why telemetry could not be set up. Wrong settings are a reason; servers that do not answer are not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The setting `dag_name` is not the name of a DAG.
    #[error("setting dag_name: {0}")]
    DagName(#[from] DagNameError),
    /// The session to observe is observed already, and would be seen by whoever came first.
    #[error(
        "the session is observed already, so that its queries would not be seen by this call: \
         give `observe` the session that it was made of"
    )]
    AlreadyObserved,
}

impl Telemetry {
    /// Resolves the settings of this process: profile, `daglight.toml`, environment.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn from_env() -> Result<Self, TelemetryError> {
        Ok(Self::of_resolved(SettingsLoader::from_process().resolve()?))
    }

    /// As [`Telemetry::new`], with what the settings refused as a warning of each run.
    pub fn of_resolved(resolved: Resolved) -> Self {
        let policy = resolved.settings.policy();
        Self::of_resolved_with(resolved, policy)
    }

    /// As [`Telemetry::of_resolved`], under a policy that was made of these settings before: what it has learned since is hidden
    /// in runs, and what runs learn is hidden by it.
    pub fn of_resolved_with(resolved: Resolved, policy: Policy) -> Self {
        let refused = resolved.refused.iter();
        let refused =
            refused.map(|error| Warning::new(WarningCode::SettingRefused, error.to_string())).collect();
        Self::start(ProgramProviders::default(), resolved.settings, policy, refused)
    }

    /// Starts with resolved settings. What does not work becomes a warning of each run.
    pub fn new(settings: Settings) -> Self {
        Self::attached_to(ProgramProviders::default(), settings)
    }

    /// As [`Telemetry::new`] in a program that has its own OpenTelemetry providers: they get what runs make, and decide
    /// over exporting it.
    pub fn attached_to(providers: ProgramProviders, settings: Settings) -> Self {
        let policy = settings.policy();
        Self::start(providers, settings, policy, Vec::new())
    }

    fn start(
        providers: ProgramProviders,
        settings: Settings,
        policy: Policy,
        setup_warnings: Vec<Warning>,
    ) -> Self {
        // First of all, because a panic of what starts next would otherwise have no place.
        remember_panics();
        let shared = Shared::start(providers, settings, policy, setup_warnings);
        let handle = Handle::new(&shared.ends);
        Self { shared: Arc::new(shared), open_runs: Arc::default(), handle }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The capture policy in force.
    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// The semantic registry of the settings.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// The OpenTelemetry side: providers, and layers for one's `tracing` subscriber.
    pub fn bridge(&self) -> &Bridge {
        &self.shared.bridge
    }

    /// A session whose queries are seen. It is made from a builder, or from what is there already: a `SessionState` or a
    /// `SessionContext`, whose tables and functions it shares.
    ///
    /// A query belongs to the node in whose code it is planned, or else executed: also in tasks of [`Node::spawn`](crate::Node::spawn) and in
    /// what runs in [`Node::context`](crate::Node::context). Where no node is known, it belongs to the run in whose stage or context it runs, or to
    /// the only run that is open, and [`FinishReport::queries_without_node`] counts it. Install libraries that replace the
    /// session's query planner before.
    ///
    /// ```
    /// # use daglight_capture_policy::Profile;
    /// # use daglight_settings::Settings;
    /// # use daglight_run_session::Telemetry;
    /// # use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};
    /// # let telemetry = Telemetry::new(Settings::of_profile(Profile::Ci));
    /// let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    /// let of_another = telemetry.session(SessionContext::new());
    /// ```
    pub fn session(&self, session: impl Into<SessionStateBuilder>) -> SessionContext {
        self.observed_by(session.into(), SessionObserver::new(&self.shared, &self.open_runs))
    }

    pub(crate) fn observed_by(
        &self,
        session: SessionStateBuilder,
        observer: SessionObserver,
    ) -> SessionContext {
        let mut builder = instrument(session, Arc::new(observer), self.shared.live.clone());
        // Behind the instrumentation, which takes the builder's configuration out and puts it back.
        self.shared.pools.watch(&mut builder);
        storage::watch(&mut builder);
        let session = SessionContext::new_with_state(builder.build());
        self.shared.sessions.add(&session);
        self.shared.pools.add(&session);
        session
    }

    /// Waits for the ends of runs that go on, because the run or its finish was dropped, sends what waits for an OpenTelemetry backend, and ends exporting. It
    /// blocks, within the time of one end of a run: the longer one of `tracker.flush_seconds` and
    /// `otel.shutdown_seconds`. A backend that the last end has waited for in vain is not waited for again.
    pub fn shutdown(&self) {
        let started = Instant::now();
        let limit = self.shared.longest_end();
        self.shared.ends.wait(limit);
        self.shared.end_exports(limit.saturating_sub(started.elapsed()));
    }

    /// Runs a DAG: starts a run, does the work with it, and finishes it, however the work ends. An error of the work is that
    /// of the run, with its causes, and comes back beside the report.
    ///
    /// [`Telemetry::start_run`] leaves the finish to the program. A run that an early `?` drops knows only that it was
    /// dropped: a value that is dropped cannot know why.
    ///
    /// ```
    /// # use daglight_capture_policy::Profile;
    /// # use daglight_settings::Settings;
    /// # use daglight_run_identity::Dag;
    /// # use daglight_run_session::{RunOptions, RunStatus, Telemetry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let out = tempfile::tempdir()?;
    /// # let mut settings = Settings::of_profile(Profile::Ci);
    /// # settings.bundle.output_dir = out.path().to_owned();
    /// let telemetry = Telemetry::new(settings);
    /// let dag = Dag::builder("sales::orders_v1")?.loader("orders").build()?;
    /// let (result, report) = telemetry
    ///     .run(&dag, RunOptions::new(), async |run| {
    ///         let rows: u64 = run.node("orders", async |_| "12 rows".parse()).await?;
    ///         Ok::<_, Box<dyn std::error::Error>>(rows)
    ///     })
    ///     .await;
    /// assert!(result.is_err());
    /// assert_eq!(report.status, RunStatus::Failure);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<T, E, F, W, Kind>(
        &self,
        dag: &Dag,
        options: RunOptions,
        work: W,
    ) -> (Result<T, E>, FinishReport)
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Run) -> F,
    {
        let run = self.start_run(dag, options);
        // In the context of the run, so that queries outside of its nodes belong to it and not to none.
        let result = run.in_context(work(run.clone())).await;
        if let Err(error) = &result {
            run.fail_with(&RecordedError::of(error));
        }
        (result, run.finish().await)
    }

    /// Starts a run of a DAG. [`Run::finish`] ends it.
    pub fn start_run(&self, dag: &Dag, options: RunOptions) -> Run {
        Run::start(&self.shared, &self.open_runs, dag, options)
    }

    /// As [`Telemetry::start_run`], and a signal that asks the process to end is answered as [`Run::until_interrupted`]
    /// says, from before the run's bundle is there until the run has ended: one that comes before the work begins
    /// interrupts the work when it begins.
    pub fn start_interruptible_run(&self, dag: &Dag, options: RunOptions, answer: OnInterrupt) -> Run {
        Run::start_interruptible(&self.shared, &self.open_runs, dag, options, answer)
    }

    /// How much is held for runs that have not ended: the runs themselves, their queries, and nodes that wait for those. Zero
    /// where all runs have ended and all of their queries too, however many there were.
    pub fn open_work(&self) -> usize {
        let open = &self.open_runs;
        open.len() + open.list().iter().map(|run| run.held()).sum::<usize>() + self.shared.live.sample().len()
    }
}
