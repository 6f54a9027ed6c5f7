//! A reader of the Hamilton tracking API, independent of the client that writes to it.

use std::{
    fs,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use dev_services::{HamiltonUi, Python, USER, http_client};
use reqwest::blocking::Client;
use serde_json::Value;

use crate::scratch::{scratch, workspace};

/// The Hamilton UI of this test process, with a new database.
///
/// Its development server on SQLite answers "database is locked" to runs that write at the same time; a test holds
/// this for as long as it needs the server.
#[derive(Debug)]
pub struct Hamilton {
    ui: &'static HamiltonUi,
    client: Client,
    _turn: MutexGuard<'static, ()>,
}

impl Hamilton {
    /// Waits for one's turn; the first one starts the server.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // The server ends with this process, as it watches its standard input.
        static SERVER: OnceLock<HamiltonUi> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ui = SERVER.get_or_init(|| {
            let folder = scratch().join("hamilton");
            let _ = fs::remove_dir_all(&folder);
            Python::find()
                .map_err(Into::into)
                .and_then(|python| HamiltonUi::start(&workspace(), &python, &folder))
                .unwrap_or_else(|error| panic!("the Hamilton UI: {error:#}"))
        });
        Self { ui, client: http_client().expect("an HTTP client"), _turn: turn }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.ui.url()
    }

    /// A project of that name.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn project(&self, name: &str) -> Project {
        let id = self.ui.project(name, "a system test").unwrap_or_else(|error| panic!("{error:#}"));
        Project { id, url: self.url().to_owned() }
    }

    /// The project's DAG versions, newest first.
    pub fn versions(&self, project: &Project) -> Vec<Value> {
        self.list(&format!("dag_templates/latest/?project_id={}&limit=100", project.id))
    }

    /// One version with its nodes and code.
    pub fn version(&self, id: &Value) -> Value {
        self.list(&format!("dag_templates/{id}")).remove(0)
    }

    /// The project's runs, newest first, without their nodes.
    pub fn runs(&self, project: &Project) -> Vec<Value> {
        self.list(&format!("dag_runs/latest/?project_id={}&limit=100", project.id))
    }

    /// One run with its nodes' records and all their attributes.
    pub fn run(&self, id: &Value) -> Value {
        let mut run = self.list(&format!("dag_runs/{id}")).remove(0);
        for node in run["node_runs"].as_array_mut().into_iter().flatten() {
            let name = node["node_name"].as_str().expect("a node has a name").to_owned();
            let with_attributes = self.get(
                self.client
                    .get(format!("{}/api/v1/node_runs/by_run_ids/{id}", self.url()))
                    .query(&[("node_name", &name)]),
            );
            node["attributes"] = with_attributes[0]["attributes"].clone();
        }
        run
    }

    fn list(&self, path: &str) -> Vec<Value> {
        match self.get(self.client.get(format!("{}/api/v1/{path}", self.url()))) {
            Value::Array(items) => items,
            other => panic!("{path} answered {other}"),
        }
    }

    fn get(&self, request: reqwest::blocking::RequestBuilder) -> Value {
        let answer = request
            .header("x-api-user", USER)
            .header("x-api-key", "none")
            .send()
            .expect("the server answers");
        let (status, address) = (answer.status(), answer.url().clone());
        let text = answer.text().expect("the answer is text");
        assert!(status.is_success(), "{address} answered {status}: {text}");
        serde_json::from_str(&text).expect("the answer is JSON")
    }
}

/// A project in the Hamilton UI.
#[derive(Debug)]
pub struct Project {
    /// Its id.
    pub id: u64,
    url: String,
}

impl Project {
    /// The variables that make a run be tracked in it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("HAMILTON_API_URL", self.url.clone()),
            ("HAMILTON_UI_URL", self.url.clone()),
            ("HAMILTON_PROJECT_ID", self.id.to_string()),
            ("HAMILTON_USERNAME", USER.to_owned()),
            ("HAMILTON_API_KEY", "none".to_owned()),
        ]
    }
}
