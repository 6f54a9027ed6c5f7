//! The requests that Daglight makes to a tracking server.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use daglight_http_transport::GzipOffer;
use daglight_run_bundle::outbox::{RUN_ID_TAG, RunLink, Version};
use reqwest::{blocking::Client as HttpClient, header::DATE};
use serde::Deserialize;

use crate::{
    call::{CallError, Caller},
    connection::{Connection, ConnectionError, ProjectRef, remedy},
    encode::Template,
    wire,
};

/// The tag of a run that the server created from a late request, with the id of the run that counts.
pub(crate) const DUPLICATE_TAG: &str = "daglight.duplicate_of";

const PAGE_SIZE: usize = 100;

/// Up to this many nodes are fetched one by one.
const MAX_SINGLE_NODE_REQUESTS: usize = 32;

/// A run is fetched as a whole only if it has at most this many times as many attributes as nodes are asked for.
const MAX_RUN_SHARE: u64 = 20;

/// A blocking client for the tracking server.
///
/// It must be created, used and dropped on a thread that may block, not in asynchronous code.
#[derive(Debug)]
pub struct Client {
    http: HttpClient,
    connection: Connection,
    gzip: GzipOffer,
}

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: i64,
    /// The e-mail address.
    pub email: String,
}

/// A project on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Whether this user may write to it.
    pub writable: bool,
}

impl Client {
    /// A client for that connection. It sends nothing yet.
    ///
    /// # Errors
    /// When HTTP or TLS cannot be set up.
    pub fn new(connection: &Connection) -> Result<Self, ConnectionError> {
        Ok(Self {
            http: connection.http_client()?,
            connection: connection.clone(),
            gzip: GzipOffer::default(),
        })
    }

    /// Checks whether the server is reachable and accepts this user.
    ///
    /// # Errors
    /// When it does not respond, rejects the request, or is not a Hamilton server.
    pub fn phone_home(&self) -> Result<(), CallError> {
        let url = self.url("/phone_home");
        let answer = self.caller("phone_home").json::<wire::PhoneHomeResult>(self.http.get(url));
        answer.map(drop).map_err(|error| error.of_sign_of_life(self.connection.api_url()))
    }

    /// The current time of the server; `None` if it does not provide it.
    ///
    /// # Errors
    /// Like [`Client::phone_home`].
    pub fn server_time(&self) -> Result<Option<DateTime<Utc>>, CallError> {
        let answer = self.caller("phone_home").answer(self.http.get(self.url("/phone_home")))?;
        // The header instead of a field in the response: every HTTP server sends it, and the tracker's API has no time.
        let date = answer.headers().get(DATE).and_then(|value| value.to_str().ok());
        Ok(date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map(Into::into))
    }

    /// The user as which the server identifies this client.
    ///
    /// # Errors
    /// When it does not respond, or rejects the request.
    pub fn whoami(&self) -> Result<User, CallError> {
        let answer: wire::WhoAmIResult = self.caller("whoami").json(self.http.get(self.url("/whoami")))?;
        Ok(User { id: answer.user.id.unwrap_or_default(), email: answer.user.email })
    }

    /// The project with that id.
    ///
    /// # Errors
    /// When the server does not respond, or has no such project for this user.
    pub fn project(&self, id: i64) -> Result<Project, CallError> {
        let request = self.http.get(self.url(&format!("/projects/{id}")));
        let project: wire::ProjectOutWithAttributes = self.caller("get project").json(request)?;
        Ok(Project { id: project.id, name: project.name, writable: project.role.as_deref() == Some("write") })
    }

    /// The newest project with that name that this user can write to, or else can see.
    ///
    /// # Errors
    /// When the server does not respond, or rejects the request.
    pub fn find_project(&self, name: &str) -> Result<Option<Project>, CallError> {
        let mut visible = None;
        for page in 0.. {
            let query = [("limit", PAGE_SIZE), ("offset", page * PAGE_SIZE)];
            let request = self.http.get(self.url("/projects")).query(&query);
            let projects: Vec<wire::ProjectOutWithAttributes> = self.caller("list projects").json(request)?;
            let is_last = projects.len() < PAGE_SIZE;
            for found in projects.into_iter().filter(|project| project.name == name) {
                let project = self.project(found.id)?;
                // Project names are not unique: finding one that is only visible is not a reason to stop.
                if project.writable {
                    return Ok(Some(project));
                }
                visible.get_or_insert(project);
            }
            if is_last {
                break;
            }
        }
        Ok(visible)
    }

    /// Creates a project that this user can write to. Several projects can have the same name.
    ///
    /// # Errors
    /// When the server does not respond, or rejects the request.
    pub fn create_project(&self, name: &str) -> Result<Project, CallError> {
        let user = self.whoami()?;
        let body = wire::ProjectIn {
            name: name.to_owned(),
            description: "Runs of DataFusion pipelines, recorded by Daglight".to_owned(),
            tags: Default::default(),
            attributes: Vec::new(),
            visibility: wire::Visibility {
                user_ids_visible: Vec::new(),
                team_ids_visible: Vec::new(),
                team_ids_writable: Vec::new(),
                user_ids_writable: vec![user.id.into()],
            },
        };
        let request = self.http.post(self.url("/projects")).json(&body);
        let project: wire::ProjectOut = self.caller("create project").json(request)?;
        Ok(Project { id: project.id, name: project.name, writable: true })
    }

    /// The project of the connection, created if requested.
    ///
    /// # Errors
    /// When the server does not respond, or has no such project that this user can write to.
    pub fn resolve_project(&self) -> Result<Project, CallError> {
        let project = match self.connection.project() {
            ProjectRef::Id(id) => self.project(*id)?,
            ProjectRef::Name { name, create } => match self.find_project(name)? {
                Some(project) => project,
                None if *create => self.create_project(name)?,
                None => return Err(self.refused_project("there is no project of that name")),
            },
        };
        if project.writable { Ok(project) } else { Err(self.refused_project("the project is read-only")) }
    }

    /// The id of the version with these hashes.
    pub(crate) fn find_version(&self, project_id: i64, version: &Version) -> Result<Option<i64>, CallError> {
        let query = [
            ("project_id", project_id.to_string()),
            ("dag_hash", version.dag_hash.clone()),
            ("code_hash", version.code_hash.clone()),
            ("dag_name", Template(version).name()),
        ];
        let request = self.http.get(self.url("/dag_templates/exists/")).query(&query);
        let found: Option<wire::DagTemplateOut> = self.caller("look for the version").json(request)?;
        Ok(found.and_then(|version| version.id))
    }

    /// Creates a version. For a second one with the same hashes, the server fails.
    pub(crate) fn create_version(&self, project_id: i64, version: &Version) -> Result<i64, CallError> {
        let url = self.url("/dag_templates");
        let request = self.http.post(url).query(&[("project_id", project_id)]).json(&Template(version));
        let caller = self.caller("create the version");
        let created: wire::DagTemplateOut = caller.json(request)?;
        caller.id(created.id)
    }

    /// The id of the run of that version with this run id as its tag, and whether there are several. Runs that the server created
    /// before `started`, with a tolerance of a day for different clocks, are ignored.
    pub(crate) fn find_run(
        &self,
        template_id: i64,
        run_id: &str,
        started: DateTime<Utc>,
    ) -> Result<Option<(i64, bool)>, CallError> {
        let found = self.list_runs(template_id, run_id, started, false)?;
        // The one with the most progress is the one that was delivered to before.
        let best = found.iter().min_by_key(|run| (run.run_status == RUNNING, run.id));
        Ok(best.and_then(|run| run.id).map(|id| (id, found.len() > 1)))
    }

    /// The runs of that version with this run id as their tag, without those marked as duplicates.
    pub(crate) fn find_runs(
        &self,
        template_id: i64,
        run_id: &str,
        started: DateTime<Utc>,
    ) -> Result<Vec<i64>, CallError> {
        let found = self.list_runs(template_id, run_id, started, true)?;
        Ok(found.into_iter().filter_map(|run| run.id).collect())
    }

    fn list_runs(
        &self,
        template_id: i64,
        run_id: &str,
        started: DateTime<Utc>,
        all: bool,
    ) -> Result<Vec<wire::DagRunOut>, CallError> {
        let is_own =
            |run: &wire::DagRunOut| is_tagged(&run.tags, run_id) && !run.tags.contains_key(DUPLICATE_TAG);
        let mut own = Vec::new();
        for page in 0.. {
            let query = [
                ("dag_template_id", template_id),
                ("limit", PAGE_SIZE as i64),
                ("offset", page * PAGE_SIZE as i64),
            ];
            let request = self.http.get(self.url("/dag_runs/latest/")).query(&query);
            let runs: Vec<wire::DagRunOut> = self.caller("look for the run").json(request)?;
            let past = runs.last().is_none_or(|run| run.created_at < started - TimeDelta::days(1));
            // The server cannot search for a tag. The newest runs come first, so the search ends with the first page of runs that
            // are older than this one.
            let is_last = past || runs.len() < PAGE_SIZE;
            own.extend(runs.into_iter().filter(is_own));
            // Duplicates are created within a minute of each other, so they are usually on the same page as the run; `verify` looks
            // at all pages.
            if is_last || (!all && !own.is_empty()) {
                break;
            }
        }
        Ok(own)
    }

    /// The server's state of a run; `None` if it has no run with that id, or one with another run id as its tag.
    pub(crate) fn run_on_server(
        &self,
        dag_run_id: i64,
        run_id: &str,
    ) -> Result<Option<RunOnServer>, CallError> {
        let caller = self.caller("look for the run");
        let request = self.http.get(self.url(&format!("/dag_runs/{dag_run_id}")));
        match caller.json_stream::<[RunOnServer; 1]>(request) {
            // The id alone proves nothing: it may belong to another run by now.
            Ok([run]) => Ok(Some(run).filter(|run| is_tagged(&run.tags, run_id))),
            Err(CallError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a run. Each call creates another one.
    pub(crate) fn create_run(&self, template_id: i64, run: &wire::DagRunIn) -> Result<i64, CallError> {
        let url = self.url("/dag_runs");
        let request = self.http.post(url).query(&[("dag_template_id", template_id)]).json(run);
        let caller = self.caller("create the run");
        let created: wire::DagRunOut = caller.json(request)?;
        caller.id(created.id)
    }

    /// Sets a run's status, end and tags. The server responds with the updated run; anything else is not its response.
    pub(crate) fn update_run(&self, dag_run_id: i64, update: &wire::DagRunUpdate) -> Result<(), CallError> {
        let request = self.http.put(self.url(&format!("/dag_runs/{dag_run_id}/"))).json(update);
        let caller = self.caller("update the run");
        let updated: wire::DagRunOut = caller.json(request)?;
        // A proxy or a login page may also respond with 200.
        if updated.id == Some(dag_run_id) {
            Ok(())
        } else {
            Err(caller.other_answer("the id of another run"))
        }
    }

    /// Upserts task updates and inserts attributes: either all of the latter, or none.
    pub(crate) fn log(&self, dag_run_id: i64, body: &wire::DagRunsBulkRequest) -> Result<(), CallError> {
        let url = self.url("/dag_runs_bulk");
        let request = self.http.put(url).query(&[("dag_run_id", dag_run_id)]).json(body);
        self.caller("send task updates").nothing(request)
    }

    /// Which attributes of these nodes the server has, by node and name. `in_run` is how many it has of the whole run: for many
    /// nodes and a run that is not too large, all attributes of these `types` are requested at once.
    pub(crate) fn attributes_of(
        &self,
        dag_run_id: i64,
        nodes: &BTreeSet<&str>,
        types: &BTreeSet<&str>,
        in_run: u64,
    ) -> Result<HashSet<(String, String)>, CallError> {
        let few = nodes.len() <= MAX_SINGLE_NODE_REQUESTS;
        if !few && in_run <= MAX_RUN_SHARE * nodes.len() as u64 {
            let types: Vec<(&str, &str)> = types.iter().map(|name| ("attr", *name)).collect();
            let request = self.http.get(self.url(&format!("/dag_runs/{dag_run_id}"))).query(&types);
            match self.caller("look for attributes").json_stream::<Vec<NodeRuns>>(request) {
                // A run with large attributes: node by node, each response is small.
                Err(error) if error.timed_out() => {}
                runs => return Ok(names(runs?.into_iter().flat_map(|run| run.node_runs))),
            }
        }
        let mut found = Vec::with_capacity(nodes.len());
        for node in nodes {
            let url = self.url(&format!("/node_runs/by_run_ids/{dag_run_id}"));
            let request = self.http.get(url).query(&[("node_name", node)]);
            // One entry for each requested id, `null` if the server does not have it.
            let runs: Vec<Option<NodeAttributes>> =
                self.caller("look for attributes").json_stream(request)?;
            found.extend(runs.into_iter().flatten());
        }
        Ok(names(found))
    }

    pub(crate) fn link(&self, project_id: i64, template_id: i64, dag_run_id: i64) -> RunLink {
        let project = format!("{}/dashboard/project/{project_id}", self.connection.ui_url());
        RunLink {
            project_id,
            template_id,
            dag_run_id,
            run_url: format!("{project}/runs/{dag_run_id}"),
            version_url: format!("{project}/version/{template_id}/visualize"),
        }
    }

    /// The server's base URL.
    pub(crate) fn server(&self) -> &str {
        self.connection.api_url()
    }

    /// The timeout of a request.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.connection.request_timeout()
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.connection.api_url())
    }

    fn caller(&self, call: &'static str) -> Caller<'_> {
        Caller { call, connection: &self.connection, gzip: &self.gzip }
    }

    fn refused_project(&self, message: &str) -> CallError {
        CallError::Refused {
            call: "look for the project",
            status: 404,
            message: format!("project {}: {message}", self.connection.project()),
            remedy: remedy(&self.connection, 404),
        }
    }
}

/// The status of a run or node that has not ended.
pub(crate) const RUNNING: &str = "RUNNING";

fn is_tagged(tags: &serde_json::Map<String, serde_json::Value>, run_id: &str) -> bool {
    tags.get(RUN_ID_TAG).and_then(|tag| tag.as_str()) == Some(run_id)
}

/// A run on the server, without the attributes of its nodes.
#[derive(Debug, Deserialize)]
pub(crate) struct RunOnServer {
    pub(crate) run_status: String,
    pub(crate) tags: serde_json::Map<String, serde_json::Value>,
    pub(crate) node_runs: Vec<NodeOnServer>,
}

/// A node of a [`RunOnServer`].
#[derive(Debug, Deserialize)]
pub(crate) struct NodeOnServer {
    pub(crate) node_name: String,
    pub(crate) status: String,
}

// Only names are kept from the responses to `attributes_of`, because the values of a long run do not fit into memory.

#[derive(Deserialize)]
struct NodeRuns {
    node_runs: Vec<NodeAttributes>,
}

#[derive(Deserialize)]
struct NodeAttributes {
    node_name: String,
    attributes: Vec<AttributeName>,
}

#[derive(Deserialize)]
struct AttributeName {
    name: String,
}

fn names(nodes: impl IntoIterator<Item = NodeAttributes>) -> HashSet<(String, String)> {
    let of_node = |NodeAttributes { node_name, attributes }: NodeAttributes| {
        attributes.into_iter().map(move |attribute| (node_name.clone(), attribute.name))
    };
    nodes.into_iter().flat_map(of_node).collect()
}
