//! `daglight doctor`.

use std::{error::Error, process::ExitCode};

use daglight::{
    policy::SettingsLoader,
    tracker::{Client, Connection, ProjectRef},
};

use crate::failure::{Failure, chain};

pub(crate) fn doctor() -> Result<ExitCode, Failure> {
    let mut checks = Checks { failed: false };
    examine(&mut checks);
    Ok(if checks.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Goes on as far as a check makes sense without those before it.
fn examine(checks: &mut Checks) -> Option<()> {
    let settings = checks.check("configuration", SettingsLoader::from_process().load())?;
    checks.ok("profile", &settings.profile);
    if !settings.tracker.enabled {
        checks
            .ok("tracker", "off, by the profile or by HAMILTON_TRACKER_ENABLED: runs stay in their bundles");
        return None;
    }
    let connection = checks.check("tracker", Connection::from_settings(&settings.tracker))?;
    let Some(connection) = connection else {
        checks.fail(
            "tracker",
            "no server: set HAMILTON_API_URL, HAMILTON_USERNAME, and HAMILTON_PROJECT_ID or DAGLIGHT_PROJECT",
        );
        return None;
    };
    let client = checks.check("client", Client::new(&connection))?;
    checks.check("server", client.phone_home())?;
    checks.ok("server", connection.api_url());
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
        None => checks.ok("project", "does not exist yet; set DAGLIGHT_CREATE_PROJECT=1 to have it made"),
    }
    None
}

struct Checks {
    failed: bool,
}

impl Checks {
    fn ok(&self, what: &str, found: &str) {
        println!("  ok   {what:<14} {found}");
    }

    fn fail(&mut self, what: &str, problem: &str) {
        self.failed = true;
        println!("  FAIL {what:<14} {problem}");
    }

    /// The errors of settings and calls say themselves what to do.
    fn check<T, E: Error + 'static>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.inspect_err(|error| self.fail(what, &chain(error))).ok()
    }
}
