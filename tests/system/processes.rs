//! Several processes that record runs of one pipeline at the same time.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use daglight_run_bundle::DeliveryCounts;
use daglight_run_identity::RunId;
use daglight_system_tests::{Fault, Proxy, Sample, TrackingServer};
use dev_services::USER;

const NODES: usize = 20;

/// The program that records a [`Sample`] of that pipeline, run and length, and pauses in each node.
pub(crate) fn sample_run(
    tracker_dir: &Path,
    url: &str,
    project: i64,
    (dag_name, run_id, nodes): (&str, RunId, usize),
    pause: Duration,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample-run"));
    command
        .arg(tracker_dir)
        .args([url, USER, &project.to_string(), dag_name, &run_id.to_string()])
        .args([nodes.to_string(), pause.as_micros().to_string()]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// The ledger that the program prints in the end, with `--finish`.
#[track_caller]
pub(crate) fn ledger_of(output: &[u8]) -> DeliveryCounts {
    let output = String::from_utf8_lossy(output);
    let last = output.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("no ledger: {error}\n{output}"))
}

/// Two processes look for a version before either of them has created it, and then both create it.
pub(crate) fn register_one_version_together(server: &TrackingServer, rounds: usize) {
    let project = server.project("together");
    for round in 0..rounds {
        let proxy = Proxy::start(server.url());
        proxy.spoil("GET /api/v1/dag_templates/exists/", 2, Fault::Slow(Duration::from_secs(1)));
        let dag_name = format!("together::round_{round}_v1");
        let runs = [(); 2].map(|()| {
            let (folder, run_id) = (tempfile::tempdir().expect("a folder"), RunId::new());
            let pause = Duration::from_millis(5);
            let process = sample_run(folder.path(), &proxy.url(), project, (&dag_name, run_id, NODES), pause)
                .arg("--finish")
                .stdout(Stdio::piped())
                .spawn();
            (folder, run_id, process.expect("the sample run starts"))
        });
        for (_folder, run_id, process) in runs {
            let output = process.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{:?}", output.status);
            let sample = Sample::new(&dag_name, NODES, run_id);
            sample.check(server, project, sample.whole(), &ledger_of(&output.stdout));
        }
        let seen = proxy.seen();
        let created = seen.iter().filter(|line| line.starts_with("POST /api/v1/dag_templates?")).count();
        assert!(created >= 2, "one came too late to collide:\n{}", seen.join("\n"));
    }
}

#[test]
fn two_that_register_one_version_at_the_same_moment_both_succeed() {
    register_one_version_together(&TrackingServer::on_sqlite(), 5);
}
