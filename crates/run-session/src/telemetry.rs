//! What the runs of a process share.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daglight_capture_policy::{Policy, in_one_line};
use daglight_materializers::Registry;
use daglight_otel_bridge::{Bridge, BridgeConfig, ProgramProviders, SlowAfter, names::Namespace};
use daglight_plan_diagnostics::{LiveQueries, instrument};
use daglight_run_bundle::{Warning, WarningCode};
use daglight_run_identity::{Dag, GitFacts, HostFacts};
use daglight_settings::{Resolved, Settings, SettingsError, SettingsLoader};
use daglight_tracker_client::Connection;
use datafusion::{execution::SessionStateBuilder, prelude::SessionContext};

use crate::{
    ends::{Ends, Handle},
    finish::FinishReport,
    interrupt::OnInterrupt,
    lineage::LineageSetup,
    memory_pools::MemoryPools,
    options::RunOptions,
    panics::remember_panics,
    query_owner::OpenRuns,
    run::Run,
    run_error::{RecordedError, RunError},
    run_state::RunState,
    secret_columns::SecretTables,
    session_observer::SessionObserver,
    session_runtime::Sessions,
    storage,
};

/// What the end of a run may take beyond the time that it waits for servers: manifest and report are written then.
const END_SLACK: Duration = Duration::from_secs(2);

/// The service that signals come from, where neither the program has a name nor `OTEL_SERVICE_NAME` says one.
const UNNAMED_SERVICE: &str = "daglight";

/// Settings, OpenTelemetry providers and the tracker's address, for all runs of a process. Clones share them.
///
/// Nothing here waits for a server, but [`Telemetry::shutdown`]. Dropping the last clone does the same where that was not
/// called; drop it where waiting does no harm.
#[derive(Clone)]
pub struct Telemetry {
    pub(crate) shared: Arc<Shared>,
    /// `None` inside a run.
    handle: Option<Handle>,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    pub(crate) bridge: Bridge,
    pub(crate) connection: Option<Connection>,
    pub(crate) lineage: Option<LineageSetup>,
    pub(crate) registry: Registry,
    pub(crate) live: LiveQueries,
    pub(crate) pools: MemoryPools,
    setup_warnings: Vec<Warning>,
    /// Whether the console has shown them.
    setup_shown: AtomicBool,
    /// Where values of secret columns were written.
    pub(crate) secret_tables: SecretTables,
    pub(crate) sessions: Sessions,
    pub(crate) open_runs: OpenRuns,
    git: OnceLock<GitFacts>,
    host: OnceLock<HostFacts>,
    pub(crate) ends: Arc<Ends>,
    is_shut_down: AtomicBool,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("profile", &self.shared.settings.profile).finish_non_exhaustive()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // Runs hold what they need of this without counting: the program's own handles decide when it is over.
        let is_last = self.handle.take().is_some_and(Handle::give_back);
        if !is_last || self.shared.is_shut_down.load(Ordering::Relaxed) {
            return;
        }
        let started = Instant::now();
        self.shared.ends.wait(self.longest_end());
        // A run that goes on needs the exports, and ends them when it has ended.
        if !self.shared.ends.has_open_runs() {
            self.end_exports(self.longest_end().saturating_sub(started.elapsed()));
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

    /// As [`Telemetry::new`] in a program that has OpenTelemetry providers of its own: they get what runs make, and decide
    /// over exporting it.
    pub fn attached_to(providers: ProgramProviders, settings: Settings) -> Self {
        let policy = settings.policy();
        Self::start(providers, settings, policy, Vec::new())
    }

    fn start(
        providers: ProgramProviders,
        settings: Settings,
        policy: Policy,
        mut setup_warnings: Vec<Warning>,
    ) -> Self {
        // First of all, because a panic of what starts next would otherwise have no place.
        remember_panics();
        if let Some(template) = &settings.otel.trace_url {
            // The address of a trace may be a query, and is of use only with it.
            policy.redactor().show_queries_of(template.split('{').next().unwrap_or_default());
        }
        let bridge = Bridge::start(BridgeConfig {
            namespace: Namespace::new(settings.otel.namespace.as_str()),
            resource: BTreeMap::from([(
                "deployment.environment.name".to_owned(),
                settings.environment.clone(),
            )]),
            slow_after: SlowAfter {
                default: settings.otel.slow_after(),
                by_stage: settings.otel.slow_after_by_stage(),
            },
            redactor: policy.redactor().clone(),
            host_facts: policy.host_facts(),
            command_line: policy.capture_command_line(std::env::args_os()),
            attach_to: providers,
            ..BridgeConfig::new(service_name())
        });
        let of_bridge = bridge.warnings().into_iter();
        setup_warnings.extend(of_bridge.map(|warning| Warning::new(WarningCode::OtlpSetup, warning)));
        let connection = match Connection::from_settings(&settings.tracker) {
            Ok(connection) => connection,
            Err(error) => {
                // A setting that is wrong must not stop the pipeline: without a connection, runs wait in their
                // bundles.
                setup_warnings.push(Warning::new(WarningCode::TrackerSetup, in_one_line(&error)));
                None
            }
        };
        let mut of_lineage = Vec::new();
        let lineage = LineageSetup::of(&settings.openlineage, &mut of_lineage);
        let of_lineage = of_lineage.into_iter();
        setup_warnings.extend(of_lineage.map(|warning| Warning::new(WarningCode::LineageSetup, warning)));
        let registry = Registry::new(&settings.outputs).unwrap_or_else(|error| {
            let shown = policy.redactor().setting_value(&error.source.text);
            let warning = format!(
                "no semantic registry: outputs.{:?}: the type of the column {:?} is not known: {shown}",
                error.output, error.column
            );
            setup_warnings.push(Warning::new(WarningCode::RegistrySetup, warning));
            Registry::default()
        });
        let shared = Shared {
            settings,
            policy,
            bridge,
            connection,
            lineage,
            registry,
            live: LiveQueries::new(),
            pools: MemoryPools::default(),
            setup_warnings,
            setup_shown: AtomicBool::new(false),
            secret_tables: SecretTables::default(),
            sessions: Sessions::default(),
            open_runs: OpenRuns::default(),
            git: OnceLock::new(),
            host: OnceLock::new(),
            ends: Arc::default(),
            is_shut_down: AtomicBool::new(false),
        };
        let handle = Handle::new(&shared.ends);
        Self { shared: Arc::new(shared), handle: Some(handle) }
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
        let observer = SessionObserver::new(&self.shared);
        let mut builder = instrument(session.into(), Arc::new(observer), self.shared.live.clone());
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
        let limit = self.longest_end();
        self.shared.ends.wait(limit);
        self.end_exports(limit.saturating_sub(started.elapsed()));
    }

    /// How long an end may take in all.
    fn longest_end(&self) -> Duration {
        let settings = &self.shared.settings;
        let servers = settings.otel.shutdown_timeout().max(settings.tracker.flush_timeout());
        let of_lineage = self.shared.lineage.as_ref().map(|_| settings.openlineage.flush_timeout());
        servers.max(of_lineage.unwrap_or_default()) + END_SLACK
    }

    fn end_exports(&self, limit: Duration) {
        self.shared.is_shut_down.store(true, Ordering::Relaxed);
        let time = match self.shared.ends.gave_up_within(self.longest_end()) {
            true => Duration::ZERO,
            false => limit.min(self.shared.settings.otel.shutdown_timeout()),
        };
        self.shared.bridge.shutdown(time);
    }

    /// The run has ended. Where the program has dropped its telemetry before, it was the last one that needed it.
    pub(crate) fn run_ended(&self) {
        if self.shared.ends.run_ended() {
            self.end_exports(self.longest_end());
        }
    }

    /// The same telemetry as runs hold it, which nothing waits for.
    pub(crate) fn of_run(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), handle: None }
    }

    /// Ends a run beside the program.
    pub(crate) fn end_later(&self, run: &Arc<RunState>) {
        self.shared.ends.begin(run);
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
        Run::start(self, dag, options)
    }

    /// As [`Telemetry::start_run`], and a signal that asks the process to end is answered as [`Run::until_interrupted`]
    /// says, from before the run's bundle is there until the run has ended: one that comes before the work begins
    /// interrupts the work when it begins.
    pub fn start_interruptible_run(&self, dag: &Dag, options: RunOptions, answer: OnInterrupt) -> Run {
        Run::start_interruptible(self, dag, options, answer)
    }

    /// How much is held for runs that have not ended: the runs themselves, their queries, and nodes that wait for those. Zero
    /// where all runs have ended and all of their queries too, however many there were.
    pub fn open_work(&self) -> usize {
        let open = &self.shared.open_runs;
        open.len() + open.list().iter().map(|run| run.held()).sum::<usize>() + self.shared.live.sample().len()
    }

    /// What does not work for any run stands in the report of each, and once on the console.
    pub(crate) fn warn_of_setup(&self, state: &RunState) {
        // A process with a thousand runs would otherwise show a wrong setting a thousand times. Each run's report
        // has it.
        let was_shown = self.shared.setup_shown.swap(true, Ordering::Relaxed);
        for warning in &self.shared.setup_warnings {
            state.log.warn_unless(was_shown, warning.clone());
        }
    }

    /// Whether a tracking server is configured, be it with settings from which no connection can be made. Half of the settings
    /// name none: what is missing is one of the setup's warnings.
    pub(crate) fn has_server(&self) -> bool {
        self.shared.connection.is_some() || Connection::is_named_by(&self.shared.settings.tracker)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the checkout is that of the folder in which the process works"
    )]
    pub(crate) fn git(&self, source_dir: Option<PathBuf>) -> GitFacts {
        let ask = |dir: PathBuf| GitFacts::of_checkout(&dir, |name| std::env::var(name).ok());
        match source_dir {
            Some(dir) => ask(dir),
            None => {
                self.shared.git.get_or_init(|| std::env::current_dir().map(ask).unwrap_or_default()).clone()
            }
        }
    }

    /// The machine, where the policy lets it be named.
    pub(crate) fn host(&self) -> Option<&HostFacts> {
        self.policy().host_facts().then(|| self.shared.host.get_or_init(HostFacts::of_machine))
    }
}

/// The name of the program: that of its executable without the ending.
fn service_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(Path::file_stem).map(|name| name.to_string_lossy());
    // Linux says so where the file was replaced since the program started, as an update does.
    let name = name.map(|name| name.trim_end_matches(" (deleted)").to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| UNNAMED_SERVICE.to_owned())
}
