//! The Hamilton UI on this machine, and the projects in it.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::blocking::{Client, RequestBuilder};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    Cluster, Python, VirtualEnv, Workspace,
    http::http_client,
    postgres,
    process::{Background, free_port},
};

/// The user that owns the projects made here. The page asks for a name once; with another one they are not shown.
pub const USER: &str = "demo@daglight.local";

/// How long the first start may take on a busy machine, with the database to be laid out.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// A Hamilton UI on a free port of 127.0.0.1. It ends when this is dropped.
#[derive(Debug)]
pub struct HamiltonUi {
    server: Background,
    url: String,
    client: Client,
}

#[derive(Deserialize)]
struct WhoAmI {
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: u64,
}

#[derive(Deserialize)]
struct Project {
    id: u64,
    name: String,
}

impl HamiltonUi {
    /// Starts the server on the SQLite database in `folder`, which is made where it does not exist, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When its packages cannot be installed, or it does not come up; the message says what its log ends with.
    pub fn start(workspace: &Workspace, python: &Python, folder: &Path) -> Result<Self> {
        Self::start_with(workspace, python, folder, [("DJANGO_SETTINGS_MODULE", "server.settings_mini")])
    }

    /// The same on a PostgreSQL database; `folder` is for the rest.
    ///
    /// # Errors
    /// As [`HamiltonUi::start`].
    pub fn start_on_postgres(
        workspace: &Workspace,
        python: &Python,
        folder: &Path,
        cluster: &Cluster,
    ) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = fs::canonicalize(folder).with_context(|| format!("finding {}", folder.display()))?;
        let (blobs, port) = (folder.join("blobs").display().to_string(), cluster.port().to_string());
        let variables = [
            ("DJANGO_SETTINGS_MODULE", "server.settings"),
            ("DJANGO_SECRET_KEY", "only on this machine"),
            ("HAMILTON_ENV", "local"),
            ("HAMILTON_AUTH_MODE", "permissive"),
            ("HAMILTON_BLOB_STORE", "local"),
            ("HAMILTON_LOCAL_BLOB_DIR", &blobs),
            ("DB_HOST", "127.0.0.1"),
            ("DB_PORT", &port),
            ("DB_NAME", postgres::USER),
            ("DB_USER", postgres::USER),
            ("DB_PASSWORD", ""),
        ];
        Self::start_with(workspace, python, &folder, variables)
    }

    fn start_with<'a>(
        workspace: &Workspace,
        python: &Python,
        folder: &Path,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let environment =
            VirtualEnv::prepare(workspace, python, "hamilton-ui", &workspace.python_file("hamilton-ui.txt"))?;
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = fs::canonicalize(folder).with_context(|| format!("finding {}", folder.display()))?;
        let client = http_client()?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(environment.python());
        command
            .arg(workspace.python_file("serve_hamilton_ui.py"))
            .arg(port.to_string())
            .env("HAMILTON_BASE_DIR", &folder)
            .envs(variables)
            .env("HAMILTON_TELEMETRY_ENABLED", "false")
            .env("PYTHONUNBUFFERED", "1");
        let mut server = Background::start(&mut command, &folder.join("server.log"))?;
        let health = format!("{url}/api/v1/health");
        server
            .wait_until(START_DEADLINE, || {
                client.get(&health).send().is_ok_and(|answer| answer.status().is_success())
            })
            .context("starting the Hamilton UI")?;
        Ok(Self { server, url, client })
    }

    /// Where it listens, without a slash at the end: both the page and the tracking API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        self.server.log()
    }

    /// The id of the project of that name, which is created where it does not exist. It is
    /// [`USER`]'s alone: the server refuses a project that everybody may see.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn project(&self, name: &str, description: &str) -> Result<u64> {
        let projects: Vec<Project> =
            self.call(self.client.get(format!("{}/api/v1/projects?limit=1000", self.url)))?;
        if let Some(project) = projects.into_iter().find(|project| project.name == name) {
            return Ok(project.id);
        }
        let me: WhoAmI = self.call(self.client.get(format!("{}/api/v1/whoami", self.url)))?;
        let project: Project =
            self.call(self.client.post(format!("{}/api/v1/projects", self.url)).json(&json!({
                "name": name,
                "description": description,
                "tags": {},
                "visibility": {
                    "user_ids_visible": [],
                    "team_ids_visible": [],
                    "team_ids_writable": [],
                    "user_ids_writable": [me.user.id],
                },
                "attributes": [],
            })))?;
        Ok(project.id)
    }

    fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = request.header("x-api-user", USER).header("x-api-key", "none").send()?;
        let (status, address) = (answer.status(), answer.url().clone());
        let text = answer.text()?;
        ensure!(status.is_success(), "{address} answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("reading the answer of {address}: {text}"))
    }
}
