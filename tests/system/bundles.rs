//! The commands about bundles: comparing, the history, checking, packing; and that a packed bundle is one for each of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daglight_system_tests::{Checkout, Daglight, Finished, OtlpReceiver};
use serde_json::Value;

const SECRET: &str = "Sesame Street";

/// Two runs of a pipeline, of which the second has fewer rows, another plan and other values.
struct Two {
    checkout: Checkout,
    bundles: [PathBuf; 2],
}

impl Two {
    fn new() -> Self {
        let checkout = Checkout::new();
        let run = |rows: u32, query: &str| {
            let sql = format!(
                "CREATE TABLE numbers AS SELECT value AS x, value % {} AS class FROM generate_series(1, {rows});
                 CREATE TABLE named AS {query};",
                rows / 100
            );
            let pipeline = checkout.pipeline("two.sql", &sql);
            let report = Daglight::run(&checkout, &pipeline).finish().report(0);
            PathBuf::from(report["bundle"].as_str().expect("a bundle"))
        };
        let first = run(2_000, &format!("SELECT x, '{SECRET}' AS address FROM numbers WHERE x > 5"));
        let second = run(1_000, "SELECT n.x, 'x' AS address FROM numbers n JOIN numbers m ON n.x = m.x");
        Self { bundles: [first, second], checkout }
    }

    fn call(&self, arguments: &[&str]) -> Finished {
        Daglight::new(&self.checkout, arguments).finish()
    }

    fn path(&self, position: usize) -> &str {
        self.bundles[position].to_str().expect("a text")
    }

    fn pack(&self, position: usize, to: &str, more: &[&str]) -> PathBuf {
        let call =
            Daglight::new(&self.checkout, ["bundle", "pack", self.path(position), "--to", to]).args(more);
        call.finish().ended_with(0);
        self.checkout.path().join(to)
    }
}

#[track_caller]
fn has(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn what_a_run_was_started_with_is_compared_as_the_policy_shows_it() {
    let checkout = Checkout::new();
    let sql = "-- param: n = 5\nCREATE TABLE numbers AS SELECT value AS x FROM generate_series(1, $n);";
    let pipeline = checkout.pipeline("started.sql", sql);
    let run = |arguments: &[&str]| {
        Daglight::run(&checkout, &pipeline).args(arguments).finish().ended_with(0);
    };
    run(&[]);
    run(&["--param", "n=7", "--threads", "1", "--jobs", "2", "--memory-limit", "1GB"]);
    let said = Daglight::new(&checkout, ["compare", "out"]).finish().ended_with(0).stdout;
    has(
        &said,
        &[
            "param.n: 7, was 5",
            "option.threads: 1, was none",
            "option.jobs: 2, was 1",
            "option.memory_limit: ",
        ],
    );
    let wide =
        Daglight::new(&checkout, ["compare", "out", "--min-ms", "1000000"]).finish().ended_with(0).stdout;
    for title in ["Stages", "Operators"] {
        assert!(!wide.lines().any(|line| line.starts_with(title)), "{wide}");
    }
    run(&["--profile", "prod", "--param", "n=7"]);
    run(&["--profile", "prod", "--param", "n=8"]);
    let said = Daglight::new(&checkout, ["compare", "out"]).finish().ended_with(0).stdout;
    assert!(!said.contains("param.n"), "{said}");
}

#[test]
fn what_changed_between_runs_is_reported_in_every_form_and_fails_on_request() {
    let two = Two::new();
    let said = two.call(&["compare", "out"]).ended_with(0).stdout;
    has(
        &said,
        &[
            "  before  ",
            "  now     ",
            "numbers: 1,000 rows, was 2,000 (-50 %)",
            "Plan of named",
            "Values of columns",
        ],
    );
    has(&said, &["numbers.x: its values moved by 50 %"]);
    let json = two.call(&["compare", two.path(0), two.path(1), "--json"]).report(0);
    assert_eq!(json["comparison"]["format_version"], 1);
    assert!(json["comparison"]["drifts"].as_array().is_some_and(|drifts| !drifts.is_empty()), "{json:#}");
    assert_eq!(json["tripped"], serde_json::json!([]));

    let tripped =
        two.call(&["compare", "out", "--fail-on", "rows-changed=5%,plan-changed,drift,failed", "--json"]);
    let json = tripped.report(3);
    let criteria: Vec<&str> = json["tripped"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|met| met["criterion"].as_str())
        .collect();
    for expected in ["rows-changed=5%", "plan-changed", "drift"] {
        assert!(criteria.contains(&expected), "{expected} is not among {criteria:?}");
    }
    assert!(!criteria.contains(&"failed"), "{criteria:?}");
    has(&tripped.stderr, &["failed on rows-changed=5%: node numbers has 1,000 rows, was 2,000 (-50 %)"]);

    two.call(&["compare", "out", "--html", "compared.html"]).ended_with(0);
    let page = fs::read_to_string(two.checkout.path().join("compared.html")).expect("a page");
    has(&page, &["Values of columns", "Plans that changed", "script-src 'sha256-"]);
    let wrong = two.call(&["compare", "out", "--fail-on", "slowest=2%"]).ended_with(2);
    has(&wrong.stderr, &["\"slowest\" is not a criterion", "drift"]);
    let alone = two.call(&["compare", two.path(0)]).ended_with(2);
    has(&alone.stderr, &["has no other run of the pipeline"]);
}

#[test]
fn the_history_has_every_run_of_a_pipeline() {
    let two = Two::new();
    let said = two.call(&["history", "out"]).ended_with(0).stdout;
    has(&said, &["two  ", "2 runs", "success", "new plans"]);
    let json = two.call(&["history", "out", "--json", "--last", "1"]).report(0);
    assert_eq!((&json[0]["dag_name"], &json[0]["earlier_runs"]), (&"two".into(), &1.into()), "{json:#}");
    assert_eq!(json[0]["runs"].as_array().map(Vec::len), Some(1), "{json:#}");
    let none = two.call(&["history", "out", "--dag-name", "other"]).ended_with(2);
    has(&none.stderr, &["no run of a pipeline \"other\" in out"]);
}

#[test]
fn plans_are_new_in_a_history_only_where_both_runs_have_planned_them() {
    let checkout = Checkout::new();
    let run = |query: &str, arguments: &[&str], code: i32| {
        let sql = format!(
            "CREATE TABLE numbers AS SELECT value AS x FROM generate_series(1, 100);
             CREATE TABLE checked AS {query};
             CREATE TABLE counted AS SELECT count(*) AS n FROM numbers;"
        );
        let pipeline = checkout.pipeline("plans.sql", &sql);
        Daglight::run(&checkout, &pipeline).args(arguments).finish().report(code);
    };
    let (good, fails) = ("SELECT x FROM numbers WHERE x > 5", "SELECT x / (x - x) AS x FROM numbers");
    run(good, &[], 0);
    run(good, &["--profile", "prod"], 0);
    run(fails, &["--keep-going"], 1);
    run(good, &["--profile", "ci"], 0);
    let history = || Daglight::new(&checkout, ["history", "out", "--json"]).finish().report(0);
    let changed = |history: &Value| -> Vec<Value> {
        let runs = history[0]["runs"].as_array().expect("a list");
        runs.iter().map(|run| run["plans_changed"].clone()).collect()
    };
    assert_eq!(changed(&history()), [Value::Null, false.into(), false.into(), false.into()]);
    run("SELECT n.x FROM numbers n JOIN numbers m ON n.x = m.x", &[], 0);
    assert_eq!(changed(&history())[4], true);
    // A run whose manifest is gone is listed by the name of its folder, and its pipeline is known from its outbox.
    let mut runs: Vec<PathBuf> = fs::read_dir(checkout.path().join("out/run_bundle"))
        .expect("a folder")
        .map(|entry| entry.expect("a run").path())
        .collect();
    runs.sort();
    fs::write(runs[2].join("manifest.json"), "{").expect("a file");
    let said = Daglight::new(&checkout, ["history", "out"]).finish().ended_with(0).stdout;
    let id = runs[2].file_name().and_then(|name| name.to_str()).expect("an id");
    has(&said, &["plans  ", "5 runs", id]);
}

#[test]
fn a_bundle_that_was_changed_is_not_whole() {
    let two = Two::new();
    let whole = two.call(&["bundle", "verify", two.path(0)]).ended_with(0);
    has(&whole.stderr, &["no fault"]);
    let bundle = two.checkout.path().join(two.path(0));
    let plan = fs::read_dir(bundle.join("plans")).expect("plans").flatten().next().expect("a plan").path();
    let text = fs::read_to_string(&plan).expect("a plan").replacen("query_id", "query_di", 1);
    fs::write(&plan, text).expect("the plan is written");
    fs::remove_file(bundle.join("otel_logs.json")).expect("a file");
    let faults = two.call(&["bundle", "verify", two.path(0)]).ended_with(1);
    let name = plan.file_name().expect("a name").to_string_lossy().into_owned();
    has(&faults.stdout, &[&name, "otel_logs.json"]);
}

/// Every file of a packed bundle, as text.
fn unpacked(archive: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let done =
        std::process::Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(done.is_ok_and(|done| done.success()));
    let mut text = String::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => text.push_str(&String::from_utf8_lossy(&fs::read(path).expect("a file"))),
            }
        }
    }
    text
}

#[test]
fn a_packed_bundle_can_be_without_sql_and_replaces_no_file() {
    let two = Two::new();
    let whole = unpacked(&two.pack(0, "whole.tar.gz", &[]));
    has(&whole, &[SECRET, "FROM numbers"]);
    let without = unpacked(&two.pack(0, "without.tar.gz", &["--without-sql"]));
    for hidden in [SECRET, "FROM numbers", "generate_series(1"] {
        assert!(!without.contains(hidden), "{hidden:?} is there");
    }
    two.call(&["bundle", "verify", "without.tar.gz"]).ended_with(0);
    let again = two.call(&["bundle", "pack", two.path(1), "--to", "whole.tar.gz"]);
    assert_ne!(again.code, Some(0), "{}", again.stderr);
    fs::write(two.checkout.path().join("odd.tar.gz"), [0x1f, 0x8b, 8, 0, 0]).expect("a file");
    let odd = two.call(&["report", "odd.tar.gz"]).ended_with(1);
    has(&odd.stderr, &["odd.tar.gz"]);
    for (name, content) in [("fake.tar.gz", "hi\n"), ("empty.tar.gz", "")] {
        fs::write(two.checkout.path().join(name), content).expect("a file");
        let commands: [&[&str]; 6] = [
            &["report", name],
            &["status", name],
            &["history", name],
            &["bundle", "verify", name],
            &["export", name, "--format", "speedscope"],
            &["query", name, "SELECT 1"],
        ];
        for command in commands {
            let refused = two.call(command).ended_with(1);
            has(&refused.stderr, &[name, "archive (.tar.gz) of a bundle"]);
        }
    }
}

#[test]
fn every_command_that_takes_a_bundle_takes_a_packed_one_and_names_it() {
    let two = Two::new();
    two.pack(0, "before.tar.gz", &[]);
    two.pack(1, "now.tar.gz", &[]);
    let before = fs::read(two.checkout.path().join("now.tar.gz")).expect("the archive");
    let receiver = OtlpReceiver::start();
    let endpoint = receiver.endpoint("http/protobuf");
    for (arguments, expected) in [
        (&["report", "now.tar.gz"][..], "two"),
        (&["report", "now.tar.gz", "--json"], "\"sync_command\""),
        (&["compare", "before.tar.gz", "now.tar.gz"], "numbers: 1,000 rows, was 2,000"),
        (&["history", "now.tar.gz"], "1 run"),
        (&["status", "now.tar.gz"], "success"),
        (&["sync", "now.tar.gz"], "now.tar.gz: "),
        (&["replay", "now.tar.gz", "--endpoint", &endpoint], "sent: "),
        (&["export", "now.tar.gz", "--format", "speedscope"], "speedscope"),
        (&["bundle", "verify", "now.tar.gz"], ""),
    ] {
        let finished = two.call(arguments);
        // Without a server there is nothing to deliver to.
        let code = i32::from(arguments[0] == "sync") * 2;
        assert!(
            finished.code == Some(0) || finished.code == Some(code),
            "{arguments:?}: {:?} {}",
            finished.code,
            finished.stderr
        );
        has(&finished.stdout, &[expected]);
        for said in [&finished.stdout, &finished.stderr] {
            assert!(!said.contains("/.tmp"), "{arguments:?} names the folder it was unpacked into: {said}");
        }
    }
    let report: Value = two.call(&["report", "now.tar.gz", "--json"]).report(0);
    let sync = report["delivery"]["sync_command"].as_str().expect("a command");
    assert!(sync.contains("now.tar.gz"), "{sync}");
    assert_eq!(fs::read(two.checkout.path().join("now.tar.gz")).expect("the archive"), before);
    // Nothing can be deleted of it.
    assert_ne!(two.call(&["prune", "now.tar.gz", "--keep", "0", "--yes"]).code, Some(0));
}

/// A folder of packed bundles alone: where they come to from other machines.
#[test]
fn packed_bundles_in_a_folder_are_runs_of_it() {
    let two = Two::new();
    fs::create_dir(two.checkout.path().join("tickets")).expect("a folder");
    two.pack(0, "tickets/a.tar.gz", &[]);
    two.pack(1, "tickets/b.tar.gz", &[]);
    fs::write(two.checkout.path().join("tickets/notes.gz"), [0x1f, 0x8b, 8, 0, 0]).expect("a file");
    let history = two.call(&["history", "tickets", "--json"]).report(0);
    assert_eq!(history[0]["runs"].as_array().map(Vec::len), Some(2), "{history:#}");
    has(&two.call(&["compare", "tickets"]).ended_with(0).stdout, &["numbers: 1,000 rows, was 2,000"]);
    let report = two.call(&["report", "tickets"]).ended_with(0);
    has(&report.stderr, &["the last of 2 runs: tickets/b.tar.gz"]);
    // Of a run that is there as a folder as well, the folder is the run.
    two.pack(0, "out/again.tar.gz", &[]);
    let history = two.call(&["history", "out", "--json"]).report(0);
    assert_eq!(history[0]["runs"].as_array().map(Vec::len), Some(2), "{history:#}");
}

#[test]
fn a_packed_run_that_was_killed_is_not_closed_again_by_every_command() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline(
        "killed.sql",
        "CREATE TABLE n AS SELECT value AS x FROM generate_series(1, 3000);
         CREATE TABLE heavy AS SELECT count(*) AS c FROM n CROSS JOIN n a CROSS JOIN n b CROSS JOIN n c WHERE n.x + a.x + b.x + c.x > 5;",
    );
    let running = Daglight::run(&checkout, &pipeline).start();
    let runs = checkout.path().join("out/run_bundle");
    let bundle = || fs::read_dir(&runs).ok()?.next()?.ok().map(|entry| entry.path());
    let spans_are_open = || {
        let open = bundle().map(|bundle| bundle.join("otel_traces.open.json"));
        open.and_then(|open| fs::read_to_string(open).ok()).is_some_and(|open| open.contains("\"heavy\""))
    };
    running.wait_until("the span of the node", spans_are_open);
    running.signal("KILL");
    running.finish();
    let bundle = bundle().expect("a bundle");
    let bundle = bundle.to_str().expect("a text");
    let call = |arguments: &[&str]| Daglight::new(&checkout, arguments).finish();
    call(&["bundle", "pack", bundle, "--to", "killed.tar.gz"]).ended_with(0);
    for _ in 0..2 {
        let said = call(&["report", "killed.tar.gz"]).ended_with(0).stderr;
        has(&said, &["packed before it was closed", "`tar xzf killed.tar.gz`", "daglight sync"]);
        assert!(!said.contains("closed as FAILURE"), "{said}");
    }
    let said = call(&["sync", "killed.tar.gz"]).ended_with(1).stdout;
    has(&said, &["killed.tar.gz: not delivered: the run was packed before it was closed"]);
    let said = call(&["status", "killed.tar.gz"]).ended_with(0).stdout;
    has(&said, &["process ended", "packed before it was closed", "`tar xzf killed.tar.gz`"]);
    assert!(!said.contains("daglight sync killed.tar.gz"), "{said}");
    let exported = call(&["export", "killed.tar.gz", "--format", "perfetto"]).ended_with(0);
    has(&exported.stderr, &["had not ended: shown until the run was last seen"]);
    let document: Value = serde_json::from_str(&exported.stdout).expect("JSON");
    let events = document["traceEvents"].as_array().expect("events");
    assert!(events.iter().any(|event| event["name"] == "heavy" && event["args"]["open"].is_string()));
    // Its folder is closed once.
    has(&call(&["report", bundle]).ended_with(0).stderr, &["closed as FAILURE"]);
    assert!(!call(&["report", bundle]).ended_with(0).stderr.contains("closed as FAILURE"));
}
