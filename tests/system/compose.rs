//! The compose files of the documentation: their services run as processes, with the commands and variables of the files.

use std::fs;

use daglight_system_tests::{Ballista, Checkout, Compose, Daglight, Finished};
use dev_services::Workspace;
use serde_json::Value;

use crate::{
    clusters::{DIVIDED, plan, rows, shipped},
    programs::bundle,
};

const PAGE: &str = include_str!("../../docs/clusters.md");

/// The compose file, with the program and a folder that has a script in it.
fn compose(checkout: &Checkout, file: &str, script: &str) -> Compose {
    fs::write(checkout.path().join("pipeline.sql"), script).expect("a script");
    let workspace = Workspace::locate().expect("the workspace");
    let daglight = workspace.daglight().expect("the program");
    let file = workspace.root().join(file);
    Compose::read(&file, &[("DAGLIGHT", &daglight), ("DATA", checkout.path())])
}

/// The file and the arguments of each `docker compose` of the page that has this subcommand.
fn calls(subcommand: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("docker compose -f "));
    let calls = lines.filter_map(|line| {
        let (file, call) = line.split_once(' ')?;
        Some((file, call.strip_prefix(subcommand)?.split_whitespace().collect()))
    });
    calls.collect()
}

/// The client with the arguments of the page and more, which are those of the tests.
fn client(checkout: &Checkout, compose: &Compose, file: &str) -> Finished {
    let calls = calls("run --rm ");
    let (_, call) = calls.iter().find(|(of, _)| *of == file).expect("a call on the page");
    let [service, arguments @ ..] = &call[..] else { panic!("no service in {call:?}") };
    let arguments = [arguments, &["--format", "ndjson"]].concat();
    compose.start(checkout, service, Some(&arguments)).finish().ended_with(0)
}

/// The rows of the script without a cluster.
fn alone(script: &str) -> Vec<Value> {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("pipeline.sql"), script).expect("a script");
    let run = Daglight::new(&checkout, ["run", "pipeline.sql", "--format", "ndjson"]);
    rows(&run.finish().ended_with(0))
}

#[test]
fn the_page_starts_what_its_files_have() {
    let files: Vec<&str> = calls("up --detach").into_iter().map(|(file, _)| file).collect();
    assert_eq!(files, ["docs/examples/cluster/compose.yaml", "docs/examples/cluster/ballista.yaml"]);
}

#[test]
fn the_services_of_the_compose_file_run_a_pipeline() {
    let file = "docs/examples/cluster/compose.yaml";
    let checkout = Checkout::new();
    let compose = compose(&checkout, file, &format!("{DIVIDED}{}", shipped()));
    let workers = ["worker-1", "worker-2"];
    assert!(!compose.is_healthy(workers[0]), "it has not been started");
    let running = workers.map(|name| compose.start(&checkout, name, None));
    for (name, worker) in workers.iter().zip(&running) {
        worker.wait_until("its health", || compose.is_healthy(name));
    }
    let run = client(&checkout, &compose, file);
    assert_eq!(rows(&run), alone(&shipped()));
    let cluster = plan(&bundle(&checkout), "shipped")["metrics"]["cluster"].clone();
    assert_eq!((&cluster["on_client"], cluster["workers"].as_array().map(Vec::len)), (&Value::Null, Some(2)));
    for worker in running {
        // As `docker compose stop` does.
        worker.signal("TERM");
        worker.finish().ended_with(0);
    }
}

#[test]
fn the_services_of_the_compose_file_of_ballista_run_a_pipeline() {
    let file = "docs/examples/cluster/ballista.yaml";
    let checkout = Checkout::new();
    let program = Ballista::program();
    let compose = compose(&checkout, file, &shipped())
        .with_program("ballista-scheduler", &program, "scheduler")
        .with_program("ballista-executor", &program, "executor");
    let scheduler = compose.start(&checkout, "scheduler", None);
    scheduler.wait_until("its health", || compose.is_healthy("scheduler"));
    let _executors = ["executor-1", "executor-2"].map(|name| compose.start(&checkout, name, None));
    let run = client(&checkout, &compose, file);
    assert_eq!(rows(&run), alone(&shipped()));
    let cluster = plan(&bundle(&checkout), "shipped")["metrics"]["cluster"].clone();
    assert_eq!((&cluster["engine"], &cluster["on_client"]), (&"ballista".into(), &Value::Null));
    // The stage of the image that compiles them takes the version that the client is built for.
    let build = compose.service("scheduler")["build"]["dockerfile_inline"].as_str().expect("an image");
    for name in ["ballista-scheduler", "ballista-executor"] {
        let version = format!("{name}@{}", ballista_core::BALLISTA_VERSION);
        assert!(build.contains(&version) && build.contains(&format!("/bin/{name}")), "{build}");
    }
}
