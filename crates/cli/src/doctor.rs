//! `daglight doctor`.

use std::{error::Error, path::Path, process::ExitCode};

use chrono::{TimeDelta, Utc};
use daglight::{
    otel::{self, EndpointCheck},
    policy::in_one_line,
    settings::{SettingsLoader, TrackerSettings},
    tracker::{Client, Connection, ProjectRef},
};

use crate::{
    config::process_policy, failure::Failure, output_dir::check_writable, say::say, summary::SERVER_VARIABLES,
};

/// A clock that is off by more makes runs start before or after they did.
const MAX_CLOCK_ERROR: TimeDelta = TimeDelta::seconds(30);

pub(crate) fn doctor() -> Result<ExitCode, Failure> {
    let mut checks = Checks { failed: false };
    if let Some(resolved) = checks.check("configuration", SettingsLoader::from_process().resolve()) {
        for refusal in &resolved.refused {
            checks.fail("configuration", &refusal.to_string());
        }
        let settings = resolved.settings;
        checks.ok("profile", &settings.profile);
        check_output(&mut checks, &settings.bundle.output_dir);
        check_tracker(&mut checks, &settings.tracker);
    }
    check_otlp(&mut checks);
    Ok(if checks.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn check_output(checks: &mut Checks, output_dir: &Path) {
    match check_writable(output_dir) {
        Ok(()) => checks.ok("output folder", &output_dir.display().to_string()),
        Err(error) => checks.fail(
            "output folder",
            &format!("{} cannot be written: {error}; set DAGLIGHT_OUTPUT_DIR", output_dir.display()),
        ),
    }
}

/// Goes on as far as a check makes sense without those before it.
fn check_tracker(checks: &mut Checks, settings: &TrackerSettings) -> Option<()> {
    if !settings.enabled {
        checks
            .ok("tracker", "off, by the profile or by HAMILTON_TRACKER_ENABLED: runs stay in their bundles");
        return None;
    }
    let Some(connection) = checks.check("tracker", Connection::from_settings(settings))? else {
        let how =
            format!("no server, runs stay in their bundles; to see them in Hamilton, set {SERVER_VARIABLES}");
        checks.ok("tracker", &how);
        return None;
    };
    // One after the other: each check needs what the one before has found.
    let client = checks.check("client", Client::new(&connection))?;
    checks.check("server", client.phone_home())?;
    checks.ok("server", connection.api_url());
    match checks.check("clock", client.server_time())? {
        None => checks.ok("clock", "the server does not say its time"),
        Some(server) => {
            let ahead = Utc::now() - server;
            let said = format!("{:+} s from the server's", ahead.num_seconds());
            match ahead.abs() <= MAX_CLOCK_ERROR {
                true => checks.ok("clock", &said),
                false => checks.fail("clock", &format!("{said}: synchronise both with a time server")),
            }
        }
    }
    let user = checks.check("user", client.whoami())?;
    checks.ok("user", &format!("{} (id {})", connection.username(), user.id));
    let project = match connection.project() {
        ProjectRef::Id(id) => client.project(*id).map(Some),
        ProjectRef::Name { name, .. } => client.find_project(name),
    };
    let project = checks.check("project", project)?;
    match project {
        Some(project) if project.writable => {
            checks.ok("project", &format!("{} (id {}), writable", project.name, project.id));
        }
        Some(project) => checks.fail(
            "project",
            &format!(
                "{} (id {}) cannot be written by {}: ask its owner",
                project.name,
                project.id,
                connection.username()
            ),
        ),
        None if settings.create_project => checks.ok("project", "does not exist yet; a run makes it"),
        None => checks.fail(
            "project",
            &format!(
                "{} does not exist: make it at {}/dashboard/projects, or set DAGLIGHT_CREATE_PROJECT=1",
                connection.project(),
                connection.ui_url()
            ),
        ),
    }
    None
}

/// Asks the endpoint of each signal, as the variables of OpenTelemetry name it.
fn check_otlp(checks: &mut Checks) {
    let check =
        otel::check_endpoints(&otel::BridgeConfig::new("daglight").environment, process_policy().redactor());
    for warning in &check.warnings {
        checks.fail("opentelemetry", warning);
    }
    if check.endpoints.is_empty() {
        checks.ok(
            "otlp",
            "no endpoint: signals stay in their bundles; to send them, set OTEL_EXPORTER_OTLP_ENDPOINT",
        );
    }
    for EndpointCheck { signal, variable, endpoint, result, .. } in &check.endpoints {
        let what = format!("otlp {signal}");
        match result {
            Ok(()) => checks.ok(&what, endpoint),
            Err(error) => checks.fail(&what, &format!("{} (from {variable})", in_one_line(&**error))),
        }
    }
}

struct Checks {
    failed: bool,
}

impl Checks {
    fn ok(&self, what: &str, found: &str) {
        say!("  ok   {what:<14} {found}");
    }

    fn fail(&mut self, what: &str, problem: &str) {
        self.failed = true;
        say!("  FAIL {what:<14} {problem}");
    }

    /// The errors of settings and calls say themselves what to do.
    fn check<T, E: Error + 'static>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.inspect_err(|error| self.fail(what, &in_one_line(error))).ok()
    }
}
