//! The cost of tracking: the caller's thread for a node, the delivery of whole runs, and a burst of events.
//!
//! `cargo xtask bench` starts a Hamilton UI and runs this against it. By hand: set `HAMILTON_API_URL`, `HAMILTON_PROJECT_ID` and
//! `HAMILTON_USERNAME`. If `PYTHON` is the path of a Python with `apache-hamilton-sdk`, its tracker does the same for comparison.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench is an edge: cargo xtask bench names its servers and its Python in variables"
)]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
use daglight_capture_policy::{Captured, Policy, Profile};
use daglight_run_bundle::Durability;
use daglight_run_identity::{Dag, RunId};
use daglight_tracker_client::{
    Attribute, AttributeKind, AttributeRole, Connection, Outcome, ProjectRef, Sighting, Tracker, sync_bundle,
};
use reqwest::blocking::Client;
use serde_json::{Value, json};

/// The number of nodes in one request. With more, the server is not faster.
const RAW_BATCH_NODES: usize = 1_000;

const CALLER_NODES: usize = 1_000;

const CALLER_ROUNDS: usize = 5;

const BURST_EVENTS: usize = 100_000;

const TIMEOUT: Duration = Duration::from_secs(600);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo also runs benches as tests, without a server.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let server = Server::from_env()?;
    caller_beside_sdk(&server)?;
    for (nodes, rounds) in [(1_000, 7), (10_000, 1)] {
        let (mut raw, mut own) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            raw.push(server.raw(nodes)?.as_secs_f64());
            own.push(delivery(&server, nodes)?.as_secs_f64());
        }
        let (raw, own) = (median(raw), median(own));
        println!("delivery of {nodes} nodes: {own:.2} s; raw requests {raw:.2} s");
        let what = format!("delivery of {nodes} nodes, beside raw requests");
        Ratio::new("tracker", what, own / raw).target(1.1).say()?;
        if nodes == 1_000 {
            delivery_beside_sdk(&server, own)?;
        }
    }
    burst(&server)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Where to deliver to.
struct Server {
    url: String,
    user: String,
    project: i64,
    http: Client,
}

/// The time that the Python SDK takes for a run.
struct Sdk {
    /// On the caller's thread, per node.
    caller_us: f64,
    /// For the whole delivery.
    seconds: f64,
}

impl Server {
    fn from_env() -> Result<Self> {
        let variable =
            |name: &str| env::var(name).map_err(|_| format!("{name} is not set: use cargo xtask bench"));
        // A second call returns an error, which is fine: the first one did it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            url: variable("HAMILTON_API_URL")?,
            user: variable("HAMILTON_USERNAME")?,
            project: variable("HAMILTON_PROJECT_ID")?.parse()?,
            // A development server delays responses on kept-alive connections.
            http: Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(TIMEOUT).build()?,
        })
    }

    fn connection(&self) -> Result<Connection> {
        Ok(Connection::new(&self.url, &self.user, ProjectRef::Id(self.project))?)
    }

    fn request(&self, request: reqwest::blocking::RequestBuilder, body: &Value) -> Result<Value> {
        let request = request.header("x-api-user", &self.user).header("x-api-key", "none").json(body);
        let text = request.send()?.error_for_status()?.text()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// The same with the Python SDK; `None` without a Python that has it.
    fn sdk(&self, nodes: usize, end: &str) -> Result<Option<Sdk>> {
        let Some(python) = env::var_os("PYTHON") else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/tracker_sdk.py");
        let output = Command::new(&python)
            .arg(&script)
            .args([&self.url, &self.user, &self.project.to_string(), &nodes.to_string(), end])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> =
            text.lines().last().unwrap_or_default().split(' ').flat_map(str::parse).collect();
        match numbers[..] {
            [caller_us, seconds] => Ok(Some(Sdk { caller_us, seconds })),
            _ => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }

    /// The lower bound for a delivery: the time of the requests themselves, prepared in advance.
    fn raw(&self, nodes: usize) -> Result<Duration> {
        let version = json!({
            "name": "bench::raw", "template_type": "HAMILTON", "config": {}, "tags": {}, "code_artifacts": [],
            "dag_hash": RunId::new().to_string(), "code_hash": "raw", "code_log": { "files": [] },
            "code_version_info_type": "ad_hoc",
            "nodes": (0..nodes).map(|node| json!({
                "name": name(node), "classifications": ["data_loader"], "code_artifact_pointers": [], "dependencies": [],
                "dependency_specs": [], "dependency_specs_type": "python_type", "dependency_specs_schema_version": 1,
                "output": { "type_name": "table" }, "output_type": "python_type", "output_schema_version": 1, "tags": {},
            })).collect::<Vec<_>>(),
        });
        let time = chrono::Utc::now();
        let bodies: Vec<Value> = (0..nodes)
            .step_by(RAW_BATCH_NODES)
            .map(|first| {
                let names = (first..nodes.min(first + RAW_BATCH_NODES)).map(name);
                json!({
                    "task_updates": names.clone().map(|name| json!({
                        "node_name": name, "node_template_name": name, "realized_dependencies": [], "status": "SUCCESS",
                        "start_time": time, "end_time": time,
                    })).collect::<Vec<_>>(),
                    "attributes": names.map(|name| json!({
                        "node_name": name, "name": "facts", "type": "dict", "schema_version": 2,
                        "value": { "type": "dict", "value": { "rows": 3 } }, "attribute_role": "result_summary",
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        let api = |path: &str| format!("{}/api/v1/{path}", self.url);
        let start = Instant::now();
        let path = format!("dag_templates?project_id={}", self.project);
        let version = self.request(self.http.post(api(&path)), &version)?;
        let run = json!({ "run_start_time": time, "run_status": "RUNNING", "tags": {}, "inputs": {}, "outputs": [] });
        let run =
            self.request(self.http.post(api(&format!("dag_runs?dag_template_id={}", version["id"]))), &run)?;
        for body in &bodies {
            self.request(self.http.put(api(&format!("dag_runs_bulk?dag_run_id={}", run["id"]))), body)?;
        }
        let end = json!({ "run_status": "SUCCESS", "run_end_time": time });
        self.request(self.http.put(api(&format!("dag_runs/{}/", run["id"]))), &end)?;
        Ok(start.elapsed())
    }
}

fn name(node: usize) -> String {
    format!("node_{node}")
}

/// A pipeline of independent nodes, new each time.
fn dag(nodes: usize) -> Result<Dag> {
    let dag = Dag::builder("bench::tracker_v1")?.setup(RunId::new().to_string());
    Ok((0..nodes).fold(dag, |dag, node| dag.loader(name(node)).end()).build()?)
}

fn facts() -> Captured {
    Policy::of_profile(Profile::Dev).capture(json!({ "rows": 3 }))
}

fn record(tracker: &Tracker, names: &[String]) {
    let facts = facts();
    for name in names {
        tracker.task_started(name);
        let facts = Attribute::new("facts", AttributeKind::Dict, AttributeRole::ResultSummary, facts.clone());
        tracker.task_finished(name, Outcome::Success, vec![facts]);
    }
}

/// The time that a node takes on the caller's thread, in microseconds: the mean of a run.
fn caller(connection: Option<Connection>) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let dag = dag(CALLER_NODES)?;
    let names: Vec<String> = (0..CALLER_NODES).map(name).collect();
    let tracker = Tracker::start(folder.path(), Durability::Process, connection);
    tracker.run_started(&dag, RunId::new(), BTreeMap::new());
    let start = Instant::now();
    record(&tracker, &names);
    Ok(start.elapsed().as_secs_f64() * 1e6 / CALLER_NODES as f64)
}

/// Alternating, so that other load on the machine affects both.
fn caller_beside_sdk(server: &Server) -> Result<()> {
    let (mut alone, mut own, mut sdk) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CALLER_ROUNDS {
        alone.push(caller(None)?);
        own.push(caller(Some(server.connection()?))?);
        sdk.extend(server.sdk(CALLER_NODES, "exit")?.map(|measured| measured.caller_us));
    }
    let (alone, own) = (median(alone), median(own));
    println!("a node on the caller's thread: {alone:.1} us without a server, {own:.1} us with a delivery");
    if !sdk.is_empty() {
        let sdk = median(sdk);
        println!("the Python SDK, a node on the caller's thread: {sdk:.0} us");
        let what = "a node on the caller's thread, beside the Python SDK";
        Ratio::new("tracker", what, own / sdk).target(1.0 / 40.0).say()?;
    }
    Ok(())
}

fn delivery(server: &Server, nodes: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let tracker = Tracker::start(folder.path(), Durability::Process, None);
    tracker.run_started(&dag(nodes)?, RunId::new(), BTreeMap::new());
    record(&tracker, &(0..nodes).map(name).collect::<Vec<_>>());
    tracker.run_finished(Outcome::Success);
    drop(tracker);
    let start = Instant::now();
    let outcome = sync_bundle(folder.path(), &server.connection()?, Sighting::UNKNOWN, TIMEOUT)?;
    let elapsed = start.elapsed();
    if outcome.ledger.waiting > 0 { Err(format!("{:?}", outcome.ledger).into()) } else { Ok(elapsed) }
}

/// Its process can end before a call of its stop() returns, which waits for timers.
fn delivery_beside_sdk(server: &Server, own: f64) -> Result<()> {
    for (end, what) in [("exit", "until its process ends"), ("stop", "until its stop() returns")] {
        match server.sdk(1_000, end)? {
            None => println!("the Python SDK: set PYTHON to compare"),
            Some(Sdk { seconds, .. }) => {
                println!("the Python SDK, 1000 nodes, {what}: {seconds:.1} s");
                let what = format!("1,000 nodes, beside the Python SDK {what}");
                Ratio::new("tracker", what, own / seconds).target(1.0 / 20.0).say()?;
            }
        }
    }
    Ok(())
}

/// A run that records as fast as it can, and its memory use.
fn burst(server: &Server) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dag = dag(BURST_EVENTS / 2)?;
    let names: Vec<String> = (0..BURST_EVENTS / 2).map(name).collect();
    // Resets the peak.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = peak_memory_mib();
    let tracker = Tracker::start(folder.path(), Durability::Process, Some(server.connection()?));
    let start = Instant::now();
    tracker.run_started(&dag, RunId::new(), BTreeMap::new());
    record(&tracker, &names);
    tracker.run_finished(Outcome::Success);
    let recorded = start.elapsed();
    let at_recorded = peak_memory_mib();
    let ledger = tracker.flush(TIMEOUT);
    println!(
        "a burst of {BURST_EVENTS} events: recorded in {:.2} s, delivered in {:.1} s, {} of {} items; peak memory {before} MiB \
         before, {at_recorded} MiB when recorded, {} MiB when delivered",
        recorded.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        ledger.delivered,
        ledger.produced,
        peak_memory_mib()
    );
    Ok(())
}

/// The peak memory of this process, if the system provides it.
fn peak_memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() >> 10
}
