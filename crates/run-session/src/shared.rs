//! What the runs of a process share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use daglight_capture_policy::{Policy, in_one_line};
use daglight_materializers::Registry;
use daglight_otel_bridge::{Bridge, BridgeConfig, ProgramProviders, SlowAfter, names::Namespace};
use daglight_plan_diagnostics::LiveQueries;
use daglight_run_bundle::{Warning, WarningCode};
use daglight_run_identity::{GitFacts, HostFacts};
use daglight_settings::Settings;
use daglight_tracker_client::Connection;

use crate::{
    ends::Ends, lineage_setup::LineageSetup, memory_pools::MemoryPools, run_log::RunLog,
    secret_columns::SecretTables, session_runtime::Sessions,
};

/// What the end of a run may take beyond the time that it waits for servers: manifest and report are written then.
const END_SLACK: Duration = Duration::from_secs(2);

/// The service that signals come from, where neither the program has a name nor `OTEL_SERVICE_NAME` says one.
const UNNAMED_SERVICE: &str = "daglight";

/// Settings, OpenTelemetry providers and what else the runs of a process share. It holds no run.
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
    git: OnceLock<GitFacts>,
    host: OnceLock<HostFacts>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) is_shut_down: AtomicBool,
}

impl Shared {
    /// Starts the providers. What does not work is added to the warnings of the set-up.
    pub(crate) fn start(
        providers: ProgramProviders,
        settings: Settings,
        policy: Policy,
        mut setup_warnings: Vec<Warning>,
    ) -> Self {
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
            scrape_hosts: settings.otel.scrape_hosts.clone(),
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
        Self {
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
            git: OnceLock::new(),
            host: OnceLock::new(),
            ends: Arc::default(),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// How long an end may take in all.
    pub(crate) fn longest_end(&self) -> Duration {
        let settings = &self.settings;
        let servers = settings.otel.shutdown_timeout().max(settings.tracker.flush_timeout());
        let of_lineage = self.lineage.as_ref().map(|_| settings.openlineage.flush_timeout());
        servers.max(of_lineage.unwrap_or_default()) + END_SLACK
    }

    pub(crate) fn end_exports(&self, limit: Duration) {
        self.is_shut_down.store(true, Ordering::Relaxed);
        let time = match self.ends.gave_up_within(self.longest_end()) {
            true => Duration::ZERO,
            false => limit.min(self.settings.otel.shutdown_timeout()),
        };
        self.bridge.shutdown(time);
    }

    /// The run has ended. Where the program has dropped its telemetry before, it was the last one that needed it.
    pub(crate) fn run_ended(&self) {
        if self.ends.run_ended() {
            self.end_exports(self.longest_end());
        }
    }

    /// What does not work for any run stands in the report of each, and once on the console.
    pub(crate) fn warn_of_setup(&self, log: &RunLog) {
        // A process with a thousand runs would otherwise show a wrong setting a thousand times. Each run's report
        // has it.
        let was_shown = self.setup_shown.swap(true, Ordering::Relaxed);
        for warning in &self.setup_warnings {
            log.warn_unless(was_shown, warning.clone());
        }
    }

    /// Whether a tracking server is configured, be it with settings from which no connection can be made. Half of the settings
    /// name none: what is missing is one of the setup's warnings.
    pub(crate) fn has_server(&self) -> bool {
        self.connection.is_some() || Connection::is_named_by(&self.settings.tracker)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the checkout is that of the folder in which the process works"
    )]
    pub(crate) fn git(&self, source_dir: Option<PathBuf>) -> GitFacts {
        let ask = |dir: PathBuf| GitFacts::of_checkout(&dir, |name| std::env::var(name).ok());
        match source_dir {
            Some(dir) => ask(dir),
            None => self.git.get_or_init(|| std::env::current_dir().map(ask).unwrap_or_default()).clone(),
        }
    }

    /// The machine, where the policy lets it be named.
    pub(crate) fn host(&self) -> Option<&HostFacts> {
        self.policy.host_facts().then(|| self.host.get_or_init(HostFacts::of_machine))
    }
}

/// The name of the program: that of its executable without the ending.
pub(crate) fn service_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(Path::file_stem).map(|name| name.to_string_lossy());
    // Linux says so where the file was replaced since the program started, as an update does.
    let name = name.map(|name| name.trim_end_matches(" (deleted)").to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| UNNAMED_SERVICE.to_owned())
}
