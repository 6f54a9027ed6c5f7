//! Looking after bundles: their status, their deletion, and what is wrong with a set-up.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Fault, Finished, Hamilton, OtlpReceiver, Project, Proxy};
use serde_json::{Value, json};

const ONE_ROW: &str = "-- node: one\nSELECT 1 AS x;\n";

/// Nothing listens there: the port is reserved.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Nothing ends it but a signal.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value % 7 = b.value % 5;\n";

/// Runs a small pipeline, and returns the folder of its bundle.
fn run(checkout: &Checkout, project: Option<&Project>) -> String {
    let pipeline = checkout.path().join("one.sql");
    fs::write(&pipeline, ONE_ROW).expect("a file");
    let run = Daglight::run(checkout, &pipeline).env("DAGLIGHT_FLUSH_SECONDS", "20");
    let run = project.into_iter().fold(run, Daglight::tracked_in);
    run.finish().report(0)["bundle"].as_str().expect("a bundle").to_owned()
}

/// Runs it for a server that is away.
fn run_waiting(checkout: &Checkout, project: &Project) -> String {
    let pipeline = checkout.path().join("one.sql");
    let run = Daglight::run(checkout, &pipeline).tracked_in(project).env("HAMILTON_API_URL", NOWHERE);
    run.env("DAGLIGHT_FLUSH_SECONDS", "1").finish().report(0)["bundle"].as_str().expect("a bundle").to_owned()
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
}

#[test]
fn an_output_folder_without_runs_is_not_an_error_and_one_that_is_not_there_is() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("empty")).expect("a folder");
    fs::write(checkout.path().join("file"), "").expect("a file");
    fs::create_dir_all(checkout.path().join("pruned/run_bundle")).expect("a folder");
    fs::write(checkout.path().join("pruned/late.parquet"), "").expect("a file");
    let commands: [&[&str]; 5] =
        [&["status"], &["sync"], &["report"], &["replay"], &["prune", "--keep", "1"]];
    for command in commands {
        for folder in ["nowhere", "nowhere/deep", "./nowhere", "empty/deep"] {
            let refused = Daglight::new(&checkout, command).args([folder]).finish().ended_with(2);
            assert!(
                refused.stderr.starts_with(&format!("error: there is no folder {folder}: ")),
                "{command:?}"
            );
            assert_eq!(refused.stdout, "", "{command:?}");
        }
        for folder in ["empty", "pruned", "out"] {
            let finished = Daglight::new(&checkout, command).args([folder]).finish().ended_with(0);
            let said = format!("{}{}", finished.stdout, finished.stderr);
            assert_eq!(said, format!("no runs yet in {folder}\n"), "{command:?}");
        }
        let refused = Daglight::new(&checkout, command).args(["file"]).finish().ended_with(2).stderr;
        assert!(refused.starts_with("error: ") && refused.contains("file"), "{command:?}: {refused}");
    }
    let listed = Daglight::new(&checkout, ["status", "--json"]).finish().report(0);
    assert_eq!(listed, json!([]));
    Daglight::new(&checkout, ["status", "nowhere", "--json"]).finish().ended_with(2);
}

#[test]
fn files_of_others_are_kept_and_said() {
    let checkout = Checkout::new();
    let bundle = checkout.path().join(run(&checkout, None));
    fs::write(bundle.join("notes.txt"), "mine").expect("a file");
    let foretold =
        Daglight::new(&checkout, ["prune", "--keep", "0", "--dry-run"]).finish().ended_with(0).stdout;
    let pruned = Daglight::new(&checkout, ["prune", "--keep", "0"]).finish().ended_with(0).stdout;
    assert_eq!(
        foretold.replace("would partly go", "partly deleted").replace("would be freed", "freed"),
        pruned
    );
    assert!(pruned.starts_with("partly deleted ") && pruned.contains("with 1 file that no run"), "{pruned}");
    assert!(!pruned.contains("deleted  ") && bundle.join("notes.txt").exists(), "{pruned}");
}

/// As a loss of power leaves a file that was never written to the disk.
#[test]
fn an_outbox_of_zeros_is_damaged() {
    let checkout = Checkout::new();
    let bundle = checkout.path().join(run(&checkout, None));
    let outbox = fs::read_dir(bundle.join("tracker")).expect("a folder").flatten();
    let outbox =
        outbox.map(|entry| entry.path()).find(|path| path.ends_with("outbox.jsonl")).expect("an outbox");
    let length = fs::metadata(&outbox).expect("a file").len() as usize;
    fs::write(&outbox, vec![0; length]).expect("a file");
    let shown = Daglight::new(&checkout, ["status"]).finish().ended_with(0).stdout;
    assert!(shown.contains("is damaged"), "{shown}");
    let synced = Daglight::new(&checkout, ["sync"]).finish().ended_with(1).stdout;
    assert!(synced.contains("is damaged"), "{synced}");
    let prune = |arguments: &[&str]| Daglight::new(&checkout, arguments).finish().ended_with(0).stdout;
    let kept = prune(&["prune", "--keep", "0"]);
    assert!(kept.contains("cannot be read") && bundles(&checkout) == 1, "{kept}");
    prune(&["prune", "--keep", "0", "--even-waiting"]);
    assert_eq!(bundles(&checkout), 0);
}

/// Runs are looked for where they are written to, and nothing is deleted anywhere else.
#[test]
fn without_a_folder_commands_look_into_the_one_of_the_settings() {
    let checkout = Checkout::new();
    for _ in 0..2 {
        run(&checkout, None);
    }
    let configuration = "[bundle]\noutput_dir = \"runs\"\nkeep_count = 0\n";
    fs::write(checkout.path().join("daglight.toml"), configuration).expect("a file");
    for command in ["status", "history", "sync", "prune"] {
        let said = Daglight::new(&checkout, [command]).finish().ended_with(0).stdout;
        assert!(said.contains("no runs yet in runs"), "{command}: {said}");
    }
    assert_eq!(bundles(&checkout), 2, "those of another folder");
    let ran = Daglight::new(&checkout, ["run", "one.sql", "--json"]).finish().report(0);
    let elsewhere = checkout.path().join(ran["bundle"].as_str().expect("a bundle"));
    assert!(elsewhere.starts_with(checkout.path().join("runs")), "{}", elsewhere.display());
    let listed = Daglight::new(&checkout, ["status", "--json"]).finish().report(0);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#?}");
    Daglight::new(&checkout, ["prune"]).finish().ended_with(0);
    assert!(!elsewhere.exists(), "{}", elsewhere.display());
    assert_eq!(bundles(&checkout), 2, "those of another folder");
}

#[test]
fn prune_keeps_what_waits_unless_asked_otherwise() {
    let (checkout, hamilton) = (Checkout::new(), Hamilton::take());
    let project = hamilton.project("prune");
    let delivered = run(&checkout, Some(&project));
    let waiting = run_waiting(&checkout, &project);
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
    let nothing_set = Daglight::new(&checkout, ["doctor"]).finish();
    check_doctor(nothing_set, 0, &["ok tracker no server", "HAMILTON_API_URL", "ok otlp no endpoint"]);
    let only_project = Daglight::new(&checkout, ["doctor"]).env("HAMILTON_PROJECT_ID", "1").finish();
    check_doctor(
        only_project,
        1,
        &["FAIL tracker the tracking server", "tracker.project_id is set", "HAMILTON_API_URL"],
    );
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
    check_doctor(wrong("HAMILTON_API_URL", &proxy.url()), 1, &["FAIL server", "is not a Hamilton server"]);
    proxy.spoil("GET /api/v1/phone_home", 2, Fault::Dated("Sat, 01 Jan 2022 00:00:00 GMT"));
    check_doctor(wrong("HAMILTON_API_URL", &proxy.url()), 1, &["FAIL clock", "time server", "ok project"]);
}

#[test]
fn doctor_asks_the_otlp_endpoints() {
    let checkout = Checkout::new();
    let receiver = OtlpReceiver::start();
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let doctor = Daglight::new(&checkout, ["doctor"]).observed_by(&receiver, protocol).finish();
        check_doctor(doctor, 0, &["ok otlp traces http", "ok otlp metrics http", "ok otlp logs http"]);
    }
    let doctor = Daglight::new(&checkout, ["doctor"])
        .observed_by(&receiver, "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:1/v1/logs")
        .env("OTEL_METRICS_EXPORTER", "none")
        .finish();
    let Finished { stdout, .. } = &doctor;
    assert!(!stdout.contains("otlp metrics"), "{stdout}");
    check_doctor(
        doctor,
        1,
        &[
            "ok otlp traces",
            "FAIL otlp logs cannot send to http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        ],
    );
    let wrong = Daglight::new(&checkout, ["doctor"]).env("OTEL_TRACES_SAMPLER", "sometimes").finish();
    check_doctor(wrong, 1, &["FAIL opentelemetry OTEL_TRACES_SAMPLER"]);
    assert!(receiver.spans().is_empty(), "an empty request is not kept");
}

/// Ways in which a run is not recorded for a tracking server.
const TRACKER_OFF: [(&str, &str); 2] =
    [("HAMILTON_TRACKER_ENABLED", "false"), ("HAMILTON_TELEMETRY_PROFILE", "ci")];

#[test]
fn runs_without_the_tracker_are_looked_after_like_all_others() {
    for off in TRACKER_OFF {
        let checkout = Checkout::new();
        let pipeline = checkout.path().join("one.sql");
        fs::write(&pipeline, ONE_ROW).expect("a file");
        let finished = Daglight::run(&checkout, &pipeline).env(off.0, off.1).finish();
        assert_eq!(finished.stderr.matches("WARN").count(), 0, "{}", finished.stderr);
        assert_eq!(
            (&finished.report(0)["tracking"], &finished.report(0)["warnings"]),
            (&json!("off"), &json!([]))
        );
        let listed = Daglight::new(&checkout, ["status", "--json"]).finish().report(0);
        assert_eq!((&listed[0]["problems"], &listed[0]["tracker"]), (&json!([]), &Value::Null), "{listed:#}");
        // With a server that is not there: it has nothing to do with these runs.
        for server in ["", NOWHERE] {
            let sync = Daglight::new(&checkout, ["sync"]);
            let sync = match server {
                "" => sync,
                url => sync
                    .env("HAMILTON_API_URL", url)
                    .env("HAMILTON_USERNAME", "me@example.com")
                    .env("HAMILTON_PROJECT_ID", "1"),
            };
            let synced = sync.finish().ended_with(0);
            assert!(synced.stdout.contains("not recorded for the tracker"), "{}", synced.stdout);
        }
        let pruned = Daglight::new(&checkout, ["prune", "--keep", "0"]).finish().ended_with(0);
        assert!(pruned.stdout.contains("deleted"), "{}", pruned.stdout);
        assert_eq!(bundles(&checkout), 0);
    }
}

#[test]
fn a_run_without_the_tracker_that_was_killed_is_closed() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("endless.sql", ENDLESS);
    let running = Daglight::run(&checkout, &pipeline).env("HAMILTON_TRACKER_ENABLED", "false").start();
    let started = || {
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).into_iter().flatten().flatten();
        bundles.map(|bundle| bundle.path()).find(|bundle| bundle.join("manifest.json").exists())
    };
    running.wait_until("its start", || started().is_some());
    running.signal("KILL");
    running.finish();
    let status = || Daglight::new(&checkout, ["status", "--json"]).finish().report(0)[0]["status"].clone();
    assert_eq!(status(), "process_ended");
    let shown = Daglight::new(&checkout, ["status"]).finish().ended_with(0).stdout;
    assert!(shown.contains("process ended") && shown.contains("daglight sync out"), "{shown}");
    let synced = Daglight::new(&checkout, ["sync"]).finish().ended_with(0);
    assert!(synced.stdout.contains("closed as FAILURE"), "{}", synced.stdout);
    assert_eq!(status(), "failure");
    let report =
        fs::read_to_string(started().expect("a bundle").join("run_diagnostics_report.md")).expect("a report");
    assert!(report.contains("process ended"), "{report}");
    Daglight::new(&checkout, ["prune", "--keep", "0"]).finish().ended_with(0);
    assert_eq!(bundles(&checkout), 0);
}

#[test]
fn without_a_server_nothing_is_wrong() {
    let checkout = Checkout::new();
    let pipeline = checkout.path().join("one.sql");
    fs::write(&pipeline, ONE_ROW).expect("a file");
    let run = || Daglight::new(&checkout, ["run", "--output-dir", "out"]).args([&pipeline]);
    let finished = run().finish().ended_with(0);
    let said: Vec<&str> = finished.stderr.lines().filter(|line| line.contains("HAMILTON")).collect();
    assert!(said.len() == 1 && !said[0].contains("WARN"), "{}", finished.stderr);
    assert!(
        !finished.stderr.contains("WARN") && !finished.stderr.contains("daglight sync"),
        "{}",
        finished.stderr
    );
    let report = Daglight::run(&checkout, &pipeline).finish().report(0);
    assert_eq!((&report["tracking"], &report["warnings"]), (&json!("no_server"), &json!([])));
    let bundle = report["bundle"].as_str().expect("a bundle");
    let page =
        fs::read_to_string(checkout.path().join(bundle).join("run_diagnostics_report.md")).expect("a report");
    assert!(!page.contains("Not delivered") && !page.contains("**!**"), "{page}");
    Daglight::new(&checkout, ["sync"]).finish().ended_with(0);

    let half = Daglight::run(&checkout, &pipeline).env("HAMILTON_PROJECT_ID", "1").finish();
    let said: Vec<&str> = half.stderr.lines().filter(|line| line.contains("WARN")).collect();
    let missing = |name: &&str| said[0].contains(name);
    assert!(
        said.len() == 1 && ["HAMILTON_API_URL", "HAMILTON_USERNAME"].iter().all(missing),
        "{}",
        half.stderr
    );
    // An address alone does not make a server to which anything could be delivered.
    let half = Daglight::run(&checkout, &pipeline).env("HAMILTON_API_URL", NOWHERE).finish();
    let said: Vec<&str> = half.stderr.lines().filter(|line| line.contains("WARN")).collect();
    let missing = |name: &&str| said[0].contains(name);
    assert!(
        said.len() == 1 && ["HAMILTON_PROJECT_ID", "HAMILTON_USERNAME"].iter().all(missing),
        "{}",
        half.stderr
    );
    assert_eq!(half.report(0)["tracking"], "no_server");

    // Whoever has a server now may want them there; else nobody waits for them.
    let prune = || Daglight::new(&checkout, ["prune", "--keep", "0"]);
    let kept = prune().env("HAMILTON_API_URL", NOWHERE).finish().ended_with(0).stdout;
    assert_eq!((kept.matches("kept").count(), bundles(&checkout)), (4, 4), "{kept}");
    prune().finish().ended_with(0);
    assert_eq!(bundles(&checkout), 0);
}

#[test]
fn a_bundle_of_a_newer_version_is_left_alone() {
    let checkout = Checkout::new();
    let bundle = checkout.path().join(run(&checkout, None));
    let manifest = bundle.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let version = text.lines().find(|line| line.contains("\"format_version\"")).expect("a version");
    fs::write(&manifest, text.replacen(version, "  \"format_version\": 99,", 1)).expect("a file");
    for more in [&[][..], &["--even-waiting"], &["--even-waiting", "--yes", "--dry-run"]] {
        let arguments = [&["prune", "--keep", "0"], more].concat();
        let kept = Daglight::new(&checkout, arguments).finish().ended_with(0).stdout;
        assert!(kept.contains("a newer version") && bundles(&checkout) == 1, "{kept}");
    }
    let said = Daglight::new(&checkout, ["report", "out"]).finish().ended_with(1).stderr;
    assert!(said.contains("format 99") && said.matches("run_bundle").count() == 1, "{said}");
}
