//! Whether the set-up works: the settings, the output folder, the tracking server and the OTLP endpoints.

use std::{collections::BTreeMap, error::Error, fmt, panic::resume_unwind, path::Path, thread};

use chrono::{TimeDelta, Utc};
use daglight_capture_policy::{Policy, Profile, in_one_line};
use daglight_openlineage::check_receiver;
use daglight_otel_bridge::{EndpointCheck, Signal, check_endpoints};
use daglight_run_bundle::output_dir::check_writable;
use daglight_settings::{OpenLineageSettings, SettingsLoader, TrackerSettings};
use daglight_tracker_client::{Client, Connection, ProjectRef};

use crate::lineage_setup::LineageSetup;

/// The variables that name a tracking server, for messages that ask for one.
pub const SERVER_VARIABLES: &str = "HAMILTON_API_URL, HAMILTON_PROJECT_ID, HAMILTON_USERNAME";

/// A clock that is off by more makes runs start before or after they did.
const MAX_CLOCK_ERROR: TimeDelta = TimeDelta::seconds(30);

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckKind {
    /// The settings, and the files of a project that are refused.
    Configuration,
    /// The profile in force.
    Profile,
    /// The folder that bundles are written to.
    OutputFolder,
    /// Whether a tracking server is configured.
    Tracker,
    /// The client for it, with its certificates.
    Client,
    /// Whether it answers and takes this user.
    Server,
    /// The clock of this machine beside the server's.
    Clock,
    /// Who the server takes us for.
    User,
    /// Whether the project is there and can be written.
    Project,
    /// Where events of OpenLineage go.
    OpenLineage,
    /// The `OTEL_*` variables.
    OpenTelemetry,
    /// The OTLP endpoint of a signal; `None` where no signal has one.
    Otlp(Option<Signal>),
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Configuration => "configuration",
            Self::Profile => "profile",
            Self::OutputFolder => "output folder",
            Self::Tracker => "tracker",
            Self::Client => "client",
            Self::Server => "server",
            Self::Clock => "clock",
            Self::User => "user",
            Self::Project => "project",
            Self::OpenLineage => "openlineage",
            Self::OpenTelemetry => "opentelemetry",
            Self::Otlp(None) => "otlp",
            Self::Otlp(Some(signal)) => return write!(f, "otlp {signal}"),
        };
        f.write_str(name)
    }
}

/// One check and its result, in words without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub kind: CheckKind,
    /// What was found; or what is wrong, and what to do about it.
    pub result: Result<String, String>,
}

/// Checks the settings of `loader` and the `OTEL_*` variables in `environment`, asks the servers that these name, and passes
/// each result to `each` as soon as it is known. Returns whether all of them are well.
///
/// Nothing is changed: the output folder has a file for a moment, and servers are only asked. It blocks, for as long as the
/// servers' timeouts are at most, and can be called on any thread.
///
/// ```
/// use std::collections::BTreeMap;
/// use daglight_run_session::check_setup;
/// use daglight_settings::SettingsLoader;
///
/// let loader = SettingsLoader::new().with_value("example", "bundle.output_dir", std::env::temp_dir());
/// let is_well = check_setup(&loader, &BTreeMap::new(), |check| match &check.result {
///     Ok(found) => println!("ok   {} {found}", check.kind),
///     Err(problem) => println!("FAIL {} {problem}", check.kind),
/// });
/// assert!(is_well);
/// ```
pub fn check_setup(
    loader: &SettingsLoader,
    environment: &BTreeMap<String, String>,
    each: impl FnMut(&Check) + Send,
) -> bool {
    let mut checks = Checks { each, are_well: true };
    let all = || {
        let mut policy = Policy::of_profile(Profile::Prod);
        if let Some(resolved) = checks.check(CheckKind::Configuration, loader.resolve()) {
            for refusal in &resolved.refused {
                checks.fail(CheckKind::Configuration, refusal.to_string());
            }
            policy = resolved.settings.policy();
            checks.ok(CheckKind::Profile, resolved.settings.profile.as_str());
            checks.output(&resolved.settings.bundle.output_dir);
            checks.tracker(&resolved.settings.tracker);
            checks.lineage(&resolved.settings.openlineage);
        }
        checks.otlp(environment, &policy);
        checks.are_well
    };
    // The clients of HTTP are blocking ones with their own runtime, which panics within another.
    thread::scope(|scope| scope.spawn(all).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

struct Checks<F> {
    each: F,
    are_well: bool,
}

impl<F: FnMut(&Check)> Checks<F> {
    fn ok(&mut self, kind: CheckKind, found: impl Into<String>) {
        (self.each)(&Check { kind, result: Ok(found.into()) });
    }

    fn fail(&mut self, kind: CheckKind, problem: impl Into<String>) {
        self.are_well = false;
        (self.each)(&Check { kind, result: Err(problem.into()) });
    }

    /// The errors of settings and calls say themselves what to do.
    fn check<T, E: Error + 'static>(&mut self, kind: CheckKind, result: Result<T, E>) -> Option<T> {
        result.inspect_err(|error| self.fail(kind, in_one_line(error))).ok()
    }

    fn output(&mut self, output_dir: &Path) {
        let shown = output_dir.display();
        match check_writable(output_dir) {
            Ok(()) => self.ok(CheckKind::OutputFolder, shown.to_string()),
            Err(error) => self.fail(
                CheckKind::OutputFolder,
                format!("{shown} cannot be written: {error}; set DAGLIGHT_OUTPUT_DIR"),
            ),
        }
    }

    fn lineage(&mut self, settings: &OpenLineageSettings) {
        let mut warnings = Vec::new();
        let setup = LineageSetup::of(settings, &mut warnings);
        let is_well = warnings.is_empty();
        warnings.into_iter().for_each(|warning| self.fail(CheckKind::OpenLineage, warning));
        // Without a destination there is nothing to say: most have none.
        if let Some(setup) = setup.filter(|_| is_well) {
            let shown = setup.destination();
            match check_receiver(&setup.target) {
                Ok(()) => self.ok(CheckKind::OpenLineage, format!("events go to {shown}")),
                Err(error) => self.fail(CheckKind::OpenLineage, format!("{shown}: {}", in_one_line(&error))),
            }
        }
    }

    /// Goes on as far as a check makes sense without those before it.
    #[expect(clippy::disallowed_methods, reason = "the clock of this moment is what is checked")]
    fn tracker(&mut self, settings: &TrackerSettings) -> Option<()> {
        if !settings.enabled {
            let why = "off, by the profile or by HAMILTON_TRACKER_ENABLED: runs stay in their bundles";
            self.ok(CheckKind::Tracker, why);
            return None;
        }
        let Some(connection) = self.check(CheckKind::Tracker, Connection::from_settings(settings))? else {
            let how = "no server, runs stay in their bundles; to see them in Hamilton, set";
            self.ok(CheckKind::Tracker, format!("{how} {SERVER_VARIABLES}"));
            return None;
        };
        // One after the other: each check needs what the one before has found.
        let client = self.check(CheckKind::Client, Client::new(&connection))?;
        self.check(CheckKind::Server, client.phone_home())?;
        self.ok(CheckKind::Server, connection.api_url());
        match self.check(CheckKind::Clock, client.server_time())? {
            None => self.ok(CheckKind::Clock, "the server does not say its time"),
            Some(server) => {
                let ahead = Utc::now() - server;
                let found = format!("{:+} s from the server's", ahead.num_seconds());
                match ahead.abs() <= MAX_CLOCK_ERROR {
                    true => self.ok(CheckKind::Clock, found),
                    false => {
                        self.fail(CheckKind::Clock, format!("{found}: synchronise both with a time server"));
                    }
                }
            }
        }
        let user = self.check(CheckKind::User, client.whoami())?;
        self.ok(CheckKind::User, format!("{} (id {})", connection.username(), user.id));
        self.project(settings, &connection, &client)
    }

    fn project(
        &mut self,
        settings: &TrackerSettings,
        connection: &Connection,
        client: &Client,
    ) -> Option<()> {
        // Looked for and not resolved as a run does it, which would create one that is not there.
        let found = match connection.project() {
            ProjectRef::Id(id) => client.project(*id).map(Some),
            ProjectRef::Name { name, .. } => client.find_project(name),
        };
        match self.check(CheckKind::Project, found)? {
            Some(project) if project.writable => {
                self.ok(CheckKind::Project, format!("{} (id {}), writable", project.name, project.id));
            }
            Some(project) => {
                let (name, id, user) = (project.name, project.id, connection.username());
                let problem = format!("{name} (id {id}) cannot be written by {user}: ask its owner");
                self.fail(CheckKind::Project, problem);
            }
            None if settings.create_project => {
                self.ok(CheckKind::Project, "does not exist yet; a run makes it");
            }
            None => self.fail(
                CheckKind::Project,
                format!(
                    "{} does not exist: make it at {}/dashboard/projects, or set DAGLIGHT_CREATE_PROJECT=1",
                    connection.project(),
                    connection.ui_url()
                ),
            ),
        }
        None
    }

    /// Asks the endpoint of each signal, as the variables of OpenTelemetry name it.
    fn otlp(&mut self, environment: &BTreeMap<String, String>, policy: &Policy) {
        let check = check_endpoints(environment, policy.redactor());
        for warning in check.warnings {
            self.fail(CheckKind::OpenTelemetry, warning);
        }
        if check.endpoints.is_empty() {
            let how =
                "no endpoint: signals stay in their bundles; to send them, set OTEL_EXPORTER_OTLP_ENDPOINT";
            self.ok(CheckKind::Otlp(None), how);
        }
        for EndpointCheck { signal, variable, endpoint, result, .. } in &check.endpoints {
            let kind = CheckKind::Otlp(Some(*signal));
            match result {
                Ok(()) => self.ok(kind, endpoint.as_str()),
                Err(error) => self.fail(kind, format!("{} (from {variable})", in_one_line(&**error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(loader: &SettingsLoader, environment: &[(&str, &str)], expected: &[(CheckKind, bool)]) {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut found = Vec::new();
        let are_well =
            check_setup(loader, &environment, |check| found.push((check.kind, check.result.is_ok())));
        assert_eq!(found, expected);
        assert_eq!(are_well, expected.iter().all(|(_, is_well)| *is_well));
    }

    #[test]
    fn each_part_of_the_setup_is_judged_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let output = |path: &Path| SettingsLoader::new().with_value("test", "bundle.output_dir", path);
        let good = output(folder.path());
        let (profile, folder) = ((CheckKind::Profile, true), (CheckKind::OutputFolder, true));
        let (no_server, no_endpoint) = ((CheckKind::Tracker, true), (CheckKind::Otlp(None), true));
        check(&good, &[], &[profile, folder, no_server, no_endpoint]);
        check(&output(&file), &[], &[profile, (CheckKind::OutputFolder, false), no_server, no_endpoint]);
        let half = good.clone().with_value("test", "tracker.project_id", 1);
        check(&half, &[], &[profile, folder, (CheckKind::Tracker, false), no_endpoint]);
        let receiver = good.clone().with_value("test", "openlineage.url", "http://127.0.0.1:1");
        let no_receiver = (CheckKind::OpenLineage, false);
        check(&receiver, &[], &[profile, folder, no_server, no_receiver, no_endpoint]);
        let wrong = good.clone().with_value("test", "tracker.enabled", "perhaps");
        check(&wrong, &[], &[(CheckKind::Configuration, false), no_endpoint]);
        let sampler = [("OTEL_TRACES_SAMPLER", "sometimes")];
        let expected = [profile, folder, no_server, (CheckKind::OpenTelemetry, false), no_endpoint];
        check(&good, &sampler, &expected);
        let away = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")];
        let expected = [profile, folder, no_server, (CheckKind::Otlp(Some(Signal::Traces)), false)];
        check(&good, &away, &expected);
    }

    #[tokio::test]
    async fn the_setup_can_be_checked_within_a_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let server = [("tracker.api_url", "http://127.0.0.1:1"), ("tracker.username", "me@example.com")];
        let loader = SettingsLoader::new().with_value("test", "bundle.output_dir", folder.path()).with_value(
            "test",
            "tracker.project_id",
            1,
        );
        let loader =
            server.into_iter().fold(loader, |loader, (key, value)| loader.with_value("test", key, value));
        check(
            &loader,
            &[],
            &[
                (CheckKind::Profile, true),
                (CheckKind::OutputFolder, true),
                (CheckKind::Server, false),
                (CheckKind::Otlp(None), true),
            ],
        );
    }
}
