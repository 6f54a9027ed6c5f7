//! Looking after bundles: their status, their deletion, and what is wrong with a set-up.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Fault, Finished, Hamilton, Project, Proxy};
use serde_json::{Value, json};

const ONE_ROW: &str = "-- node: one\nSELECT 1 AS x;\n";

/// Runs a small pipeline, and gives the folder of its bundle.
fn run(checkout: &Checkout, project: Option<&Project>) -> String {
    let pipeline = checkout.path().join("one.sql");
    fs::write(&pipeline, ONE_ROW).expect("a file");
    let run = Daglight::run(checkout, &pipeline).env("DAGLIGHT_FLUSH_SECONDS", "20");
    let run = project.into_iter().fold(run, Daglight::tracked_in);
    run.finish().report(0)["bundle"].as_str().expect("a bundle").to_owned()
}

fn bundles(checkout: &Checkout) -> usize {
    fs::read_dir(checkout.path().join("out/run_bundle")).expect("bundles").count()
}

#[test]
fn status_lists_runs_and_what_waits() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("status");
    run(&checkout, Some(&project));
    run(&checkout, None);
    let listed = Daglight::new(&checkout, ["status", "--json"]).finish().report(0);
    let listed = listed.as_array().expect("a list");
    let waiting = |run: &Value| run["tracker"]["waiting"].as_u64().expect("a number");
    assert_eq!(listed.iter().map(|run| &run["status"]).collect::<Vec<_>>(), [&json!("success"); 2]);
    assert!(waiting(&listed[0]) > 0 && waiting(&listed[1]) == 0, "the newest first: {listed:#?}");

    let shown = Daglight::new(&checkout, ["status"]).finish().ended_with(0).stdout;
    assert!(shown.contains("daglight sync out") && shown.contains("success"), "{shown}");
    Daglight::new(&checkout, ["sync"]).tracked_in(&project).finish().ended_with(0);
    let shown = Daglight::new(&checkout, ["status"]).finish().ended_with(0).stdout;
    assert!(!shown.contains("daglight sync"), "{shown}");
    assert_eq!(hamilton.runs(&project).len(), 2);

    let nothing = Daglight::new(&checkout, ["status", "elsewhere"]).finish().ended_with(2).stderr;
    assert!(nothing.contains("elsewhere"), "{nothing}");
}

#[test]
fn prune_keeps_what_waits_unless_told_otherwise() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("prune");
    let delivered = run(&checkout, Some(&project));
    let waiting = run(&checkout, None);
    run(&checkout, Some(&project));
    let prune = |arguments: &[&str]| Daglight::new(&checkout, [&["prune"], arguments].concat()).finish();

    let unsaid = prune(&[]).ended_with(2).stderr;
    assert!(unsaid.contains("--keep") && unsaid.contains("bundle.keep_days"), "{unsaid}");
    assert_eq!(prune(&["--older-than", "1"]).ended_with(0).stdout, "0 bytes freed\n");
    let tried = prune(&["--keep", "1", "--dry-run"]).ended_with(0).stdout;
    assert!(tried.contains(&format!("would go {delivered}")), "{tried}");
    assert_eq!(bundles(&checkout), 3);

    let by_setting = Daglight::new(&checkout, ["prune"]).env("DAGLIGHT_KEEP_COUNT", "1").finish();
    let said = by_setting.ended_with(0).stdout;
    assert!(said.contains(&format!("deleted  {delivered}")), "{said}");
    assert!(said.contains(&format!("kept     {waiting}")) && said.contains("wait for the tracker"), "{said}");
    assert_eq!(bundles(&checkout), 2);

    prune(&["--max-bytes", "0", "--even-waiting"]).ended_with(0);
    assert_eq!(bundles(&checkout), 0);
}

#[track_caller]
fn check_doctor(finished: Finished, code: i32, expected: &[&str]) {
    let Finished { stdout, .. } = finished.ended_with(code);
    let stdout = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in expected {
        assert!(stdout.contains(expected), "no {expected:?} in {stdout}");
    }
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("doctor");
    let doctor = || Daglight::new(&checkout, ["doctor"]).tracked_in(&project);
    let well = [
        "ok profile dev",
        "ok output folder out",
        "ok server",
        "ok clock",
        "ok user",
        "ok project",
        "writable",
    ];
    check_doctor(doctor().finish(), 0, &well);
    check_doctor(Daglight::new(&checkout, ["doctor"]).finish(), 1, &["FAIL tracker", "HAMILTON_API_URL"]);
    let wrong = |name: &str, value: &str| doctor().env(name, value).finish();
    check_doctor(wrong("HAMILTON_TRACKER_ENABLED", "perhaps"), 1, &["FAIL configuration", "perhaps"]);
    check_doctor(wrong("HAMILTON_TRACKER_ENABLED", "false"), 0, &["ok tracker off"]);
    check_doctor(
        wrong("DAGLIGHT_OUTPUT_DIR", "/proc/out"),
        1,
        &["FAIL output folder", "DAGLIGHT_OUTPUT_DIR"],
    );
    check_doctor(wrong("HAMILTON_API_URL", "http://127.0.0.1:1"), 1, &["FAIL server", "no connection"]);
    check_doctor(wrong("HAMILTON_USERNAME", ""), 1, &["FAIL tracker", "HAMILTON_USERNAME"]);
    check_doctor(wrong("HAMILTON_PROJECT_ID", "999999"), 1, &["FAIL project", "/dashboard/projects"]);
    check_doctor(wrong("HAMILTON_USERNAME", "stranger@example.com"), 1, &["FAIL project"]);
    let by_name = |create| {
        let doctor = doctor().env("HAMILTON_PROJECT_ID", "").env("DAGLIGHT_PROJECT", "not yet");
        doctor.env("DAGLIGHT_CREATE_PROJECT", create).finish()
    };
    check_doctor(by_name("false"), 1, &["FAIL project", "DAGLIGHT_CREATE_PROJECT"]);
    check_doctor(by_name("true"), 0, &["ok project", "a run makes it"]);

    let proxy = Proxy::start(hamilton.url());
    proxy.spoil("GET /api/v1/phone_home", 1, Fault::Garbage("<!doctype html>"));
    check_doctor(
        wrong("HAMILTON_API_URL", &proxy.url()),
        1,
        &["FAIL server", "not that of a Hamilton server"],
    );
    proxy.spoil("GET /api/v1/phone_home", 2, Fault::Dated("Sat, 01 Jan 2022 00:00:00 GMT"));
    check_doctor(wrong("HAMILTON_API_URL", &proxy.url()), 1, &["FAIL clock", "time server", "ok project"]);
}
