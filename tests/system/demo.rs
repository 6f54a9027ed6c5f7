//! The demo, as a stranger runs it, and its pipeline on less data.

use std::{path::PathBuf, process::Command};

use daglight_system_tests::{Checkout, Daglight};
use xtask::Workspace;

#[test]
fn the_demo_says_where_to_look() {
    let workspace = Workspace::locate().expect("the workspace");
    let program = workspace.binary("xtask", "debug").expect("xtask is built");
    let output = Command::new(program).args(["demo", "--no-wait"]).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}\n{stdout}");
    let place = |label: &str| {
        let line = stdout.lines().map(str::trim).find(|line| line.starts_with(label));
        line.and_then(|line| line.split_whitespace().nth(1))
            .unwrap_or_else(|| panic!("no {label} in\n{stdout}"))
    };
    assert!(place("run").contains("/dashboard/project/"), "{stdout}");
    assert!(place("version").contains("/version/"), "{stdout}");
    assert!(PathBuf::from(place("report")).is_file(), "{stdout}");
    assert!(PathBuf::from(place("bundle")).join("manifest.json").is_file(), "{stdout}");
}

#[test]
fn the_example_runs_with_jobs_and_with_other_parameters() {
    let checkout = Checkout::new();
    let example =
        Workspace::locate().expect("the workspace").root().join("crates/sql-pipeline/examples/tpch.sql");
    let run = |arguments: &[&str]| {
        let report = Daglight::run(&checkout, &example).args(arguments).finish().report(0);
        let nodes = report["nodes"].as_array().expect("a list").clone();
        nodes.into_iter().find(|node| node["name"] == "monthly_revenue").expect("the node")["rows"].clone()
    };
    assert_eq!(run(&[]), 24);
    assert_eq!(run(&["--jobs", "2", "--param", "from_date=1996-01-01"]), 12);
    for file in ["monthly_revenue", "late_orders", "top_customers"] {
        assert!(checkout.path().join(format!(".demo/out/{file}.parquet")).exists(), "{file}");
    }
}
