//! How long the list of 1,000 runs takes: the first time, again, and with one new run.
//!
//! ```text
//! cargo xtask bench serve
//! ```

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
use chrono::{DateTime, TimeDelta};
use daglight_bundle_server::Server;
use daglight_run_bundle::{Bundle, FileEntry, Manifest, NodeRecord, NodeStatus, RunStatus};
use daglight_run_identity::RunId;

const TARGET: Duration = Duration::from_secs(1);
const RUNS: i64 = 1_000;
/// The number of nodes of each run, with a plan and an artifact: about as in the manifest of a real pipeline.
const NODES: usize = 30;
/// Longer than the server's pause between two searches for new bundles, which is four times as long as a search.
const BETWEEN: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let out = tempfile::tempdir()?;
    let mut bytes = 0;
    for number in 0..RUNS {
        bytes += record(out.path(), number)?;
    }
    println!("{RUNS} runs of {NODES} nodes, manifests of {} kB", bytes / RUNS as u64 / 1_000);
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(Server::new(out.path()).serve(listener, std::future::pending()));
    listed(address, "the first time", RUNS)?;
    listed(address, "again", RUNS)?;
    thread::sleep(BETWEEN);
    record(out.path(), RUNS)?;
    listed(address, "with one that is new", RUNS + 1)?;
    Ok(())
}

/// Requests the list, and prints how long that took.
fn listed(address: SocketAddr, what: &str, expected: i64) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /runs.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = begun.elapsed();
    let runs = answer.matches("\"dag_name\":\"bench::pipeline_v1\"").count();
    if i64::try_from(runs)? != expected {
        return Err(io::Error::other(format!("{runs} of {expected} runs are listed")).into());
    }
    println!("{what}: {:.0} ms", took.as_secs_f64() * 1e3);
    let ratio = took.as_secs_f64() / TARGET.as_secs_f64();
    Ratio::new("serve", format!("1,000 runs, {what}, beside 1 s"), ratio).target(1.0).say()?;
    Ok(())
}

/// Writes the bundle of a run, and returns the size of its manifest.
fn record(out: &Path, number: i64) -> Result<u64, Box<dyn Error>> {
    let run_id = RunId::new();
    let bundle = Bundle::create(out, run_id)?;
    let started_at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(number);
    let node = |position: usize| NodeRecord {
        status: NodeStatus::Success,
        started_at: Some(started_at),
        duration_ms: Some(12.5),
        rows: Some(1_000),
        bytes: Some(64_000),
        attempts: 1,
        plan_hashes: vec!["9f3a9f3a9f3a9f3a".to_owned()],
        checks: Vec::new(),
        ..NodeRecord::not_run(format!("node_{position}"))
    };
    let file = |position: usize| FileEntry {
        path: format!("plans/node_{position}-9f3a9f3a9f3a9f3a.json"),
        size_bytes: 20_000,
        sha256: Some("0".repeat(64)),
    };
    let mut manifest = Manifest {
        status: RunStatus::Success,
        ended_at: Some(started_at + TimeDelta::seconds(2)),
        nodes: (0..NODES).map(node).collect(),
        files: (0..NODES).map(file).collect(),
        ..Manifest::of_start(run_id, "bench::pipeline_v1", started_at)
    };
    manifest.identity.tags = (0..20).map(|tag| (format!("tag_{tag}"), "value".to_owned())).collect();
    manifest.write(&bundle)?;
    Ok(bundle.manifest().metadata()?.len())
}
