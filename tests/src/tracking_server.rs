//! A private Hamilton UI, which a test can stop and start.

use std::path::PathBuf;

use dev_services::{Cluster, HamiltonUi, Postgres, Python, USER, http_client};
use reqwest::blocking::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::scratch::workspace;

/// A Hamilton UI with an empty database, until this is dropped.
#[derive(Debug)]
pub struct TrackingServer {
    ui: Option<HamiltonUi>,
    client: Client,
    cluster: Option<Cluster>,
    folder: TempDir,
}

impl TrackingServer {
    /// On SQLite.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn on_sqlite() -> Self {
        Self::start(None)
    }

    /// On PostgreSQL.
    ///
    /// # Panics
    /// When there is none, or it or the server does not come up.
    pub fn on_postgres() -> Self {
        let cluster = Postgres::find().map_err(Into::into).and_then(|postgres| postgres.start());
        Self::start(Some(cluster.unwrap_or_else(|error| panic!("PostgreSQL: {error:#}"))))
    }

    fn start(cluster: Option<Cluster>) -> Self {
        let folder = TempDir::with_prefix("daglight-hamilton-").expect("a temporary folder");
        let mut server = Self { ui: None, client: http_client().expect("an HTTP client"), cluster, folder };
        server.restart();
        server
    }

    /// Ends it; requests are refused from now on.
    pub fn stop(&mut self) {
        self.ui = None;
    }

    /// Starts it again, on the same data and at another address.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.stop();
        let ui = Python::find().map_err(Into::into).and_then(|python| {
            let (workspace, folder) = (workspace(), self.folder.path());
            match &self.cluster {
                None => HamiltonUi::start(&workspace, &python, folder),
                Some(cluster) => HamiltonUi::start_on_postgres(&workspace, &python, folder, cluster),
            }
        });
        self.ui = Some(ui.unwrap_or_else(|error| panic!("the Hamilton UI: {error:#}")));
    }

    fn ui(&self) -> &HamiltonUi {
        self.ui.as_ref().expect("the server runs")
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.ui().url()
    }

    /// The file of its SQLite database.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("db.sqlite3")
    }

    /// The id of the project of that name, which is made where it is missing.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn project(&self, name: &str) -> i64 {
        let id = self.ui().project(name, "a system test").unwrap_or_else(|error| panic!("{error:#}"));
        i64::try_from(id).expect("ids are small")
    }

    /// The list that it answers with to a path below `/api/v1/`.
    ///
    /// # Panics
    /// When it answers with anything else.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let request = self.client.get(format!("{}/api/v1/{path}", self.url()));
        let answer = request.header("x-api-user", USER).header("x-api-key", "none").send();
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        let (status, text) = (answer.status(), answer.text().expect("the answer is text"));
        assert!(status.is_success(), "{path} answered {status}: {text}");
        match serde_json::from_str(&text) {
            Ok(Value::Array(items)) => items,
            other => panic!("{path} answered {other:?}"),
        }
    }
}
