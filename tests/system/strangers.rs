//! What is not ours: folders that only look like bundles, bundles from somebody else, and files that have no end.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::Value;

const ONE_ROW: &str = "-- node: one\nCREATE TABLE t AS SELECT 1 AS x;\n";

/// A bundle of a small run, and the checkout that it is in.
fn recorded() -> (Checkout, PathBuf) {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", ONE_ROW);
    let report = Daglight::run(&checkout, &pipeline).finish().report(0);
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    (checkout, bundle)
}

fn call(checkout: &Checkout, arguments: &[&str]) -> Finished {
    Daglight::new(checkout, arguments)
        .env("HAMILTON_API_URL", "http://127.0.0.1:1")
        .env("HAMILTON_PROJECT_ID", "1")
        .env("HAMILTON_USERNAME", "me@example.com")
        .finish()
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[test]
fn a_project_with_a_manifest_is_not_a_bundle() {
    let checkout = Checkout::new();
    let project = checkout.path().join("web");
    fs::create_dir_all(project.join("src/deep")).expect("folders");
    fs::write(project.join("manifest.json"), r#"{"name": "shop", "start_url": "/"}"#).expect("a file");
    fs::write(project.join("src/main.js"), "run()").expect("a file");
    fs::write(project.join("src/deep/part.js"), "part()").expect("a file");
    for folder in ["web", "web/src", "web/src/deep"] {
        for command in [
            &["prune", "--keep", "0", "--even-waiting"][..],
            &["sync"],
            &["status"],
            &["report"],
            &["replay"],
        ] {
            let finished = call(&checkout, &[command, &[folder]].concat()).ended_with(2);
            assert!(finished.stderr.contains("is not a run bundle"), "{}", finished.stderr);
        }
    }
    assert!(project.join("src/main.js").is_file() && project.join("manifest.json").is_file());
}

#[test]
fn prune_deletes_what_a_run_wrote_and_nothing_else() {
    let (checkout, bundle) = recorded();
    fs::write(bundle.join("notes.txt"), "mine").expect("a file");
    symlink(&bundle, checkout.path().join("link")).expect("a link");
    let prune = |arguments: &[&str]| {
        call(&checkout, &[&["prune", "--keep", "0", "--even-waiting"], arguments].concat())
    };

    let tried = prune(&["--dry-run"]).ended_with(0).stdout;
    assert!(tried.contains("would partly go") && bundle.join("manifest.json").exists(), "{tried}");
    let linked = prune(&["link"]).ended_with(2).stderr;
    assert!(linked.contains("a link to a bundle"), "{linked}");
    let root = prune(&["/"]).ended_with(2).stderr;
    assert!(root.contains("the root of the file system"), "{root}");
    prune(&[shown(&bundle.join("manifest.json"))]).ended_with(2);
    let missing = prune(&["nowhere"]).ended_with(2).stderr;
    assert!(missing.contains("there is no folder nowhere"), "{missing}");
    let old = call(&checkout, &["prune", "--older-than", "1h", "--even-waiting"]).ended_with(0).stdout;
    assert_eq!(old, "0 bytes freed\n");
    let never =
        call(&checkout, &["prune", "--older-than", "100000000", "--even-waiting"]).ended_with(0).stdout;
    assert_eq!(never, "0 bytes freed\n");
    assert!(bundle.join("manifest.json").exists());

    let said = prune(&["out", "--yes"]).ended_with(0).stdout;
    assert!(said.contains("notes.txt: no run has written it"), "{said}");
    let left: Vec<_> =
        fs::read_dir(&bundle).expect("the folder stays").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn report_and_replay_find_the_run_by_its_folder_or_its_id() {
    let (checkout, _) = recorded();
    let pipeline = checkout.pipeline("one.sql", ONE_ROW);
    let last = Daglight::run(&checkout, &pipeline).finish().report(0);
    let run_id = last["run_id"].as_str().expect("an id");
    let of =
        |named: &str| call(&checkout, &["report", "--json", named]).report(0)["identity"]["run_id"].clone();
    assert_eq!(of("out"), last["run_id"]);
    assert_eq!(of(run_id), last["run_id"]);
    assert_eq!(of(&format!("out/run_bundle/{run_id}/run_diagnostics_report.html")), last["run_id"]);
    let unknown = "019abcde-0000-7000-8000-000000000000";
    let said = call(&checkout, &["report", unknown]).ended_with(2).stderr;
    assert!(said.contains(unknown) && said.contains("below out"), "{said}");
    let replayed =
        call(&checkout, &["replay", "--endpoint", "http://127.0.0.1:1", run_id]).ended_with(1).stderr;
    assert!(replayed.contains("127.0.0.1:1"), "{replayed}");
}

#[test]
fn links_in_a_bundle_lead_report_and_sync_nowhere() {
    let (checkout, bundle) = recorded();
    let outside = checkout.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    for name in [
        "run_diagnostics_report.json",
        "run_diagnostics_report.md",
        "run_diagnostics_report.html",
        "manifest.json",
        "tracker",
        "plans",
        "otel_logs.json",
    ] {
        let (path, target) = (bundle.join(name), outside.join(name));
        fs::rename(&path, &target).expect("a file of the bundle");
        if target.is_file() && name.starts_with("run_") {
            fs::write(&target, "mine").expect("a file");
        }
        symlink(&target, &path).expect("a link");
    }
    let before = contents(&outside);
    call(&checkout, &["report", shown(&bundle)]).ended_with(0);
    call(&checkout, &["status", "out"]).ended_with(0);
    call(&checkout, &["sync", "--timeout", "1", "out"]);
    call(&checkout, &["prune", "--keep", "0", "--even-waiting", "out"]);
    assert_eq!(contents(&outside), before);
}

/// The files of a folder with what is in them.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(contents(&path)),
            path => found.push((path.clone(), fs::read(&path).expect("a file"))),
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_not_a_file_or_has_no_end_hangs_no_command() {
    let files = [
        "manifest.json",
        "otel_traces.json",
        "heartbeat.json",
        "artifacts.json",
        "data_summaries.jsonl",
        "tracker/outbox.jsonl",
        "tracker/delivery.json",
        "plans/one-0123456789abcdef.json",
    ];
    let ways: [fn(&Path); 4] = [
        pipe,
        |path| {
            let _ = fs::remove_file(path);
            fs::create_dir(path).expect("a folder");
        },
        |path| File::create(path).and_then(|file| file.set_len(3 << 30)).expect("a sparse file"),
        |path| {
            let _ = fs::remove_file(path);
            symlink("/dev/zero", path).expect("a link");
        },
    ];
    let (checkout, bundle) = recorded();
    for file in files {
        let path = bundle.join(file);
        let kept = fs::read(&path).ok();
        for spoil in ways {
            spoil(&path);
            call(&checkout, &["report", shown(&bundle)]).ended_with(0);
            call(&checkout, &["status", "out"]).ended_with(0);
            let mut ended = vec![call(&checkout, &["prune", "--keep", "0", "--dry-run", "out"])];
            // Both try for a while to reach somebody, and each is of interest for its own files.
            if file.starts_with("otel_") {
                ended.push(call(&checkout, &["replay", "--endpoint", "http://127.0.0.1:1", shown(&bundle)]));
            } else {
                ended.push(call(&checkout, &["sync", "--timeout", "1", "out"]));
            }
            assert!(ended.iter().all(|ended| ended.code.is_some_and(|code| code <= 2)), "{file} {ended:?}");
            let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
            removed.expect("what was put there");
            if let Some(kept) = &kept {
                fs::write(&path, kept).expect("the file as it was");
            }
        }
    }
}

#[test]
fn what_a_variable_or_an_option_names_is_a_file_with_an_end() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", ONE_ROW);
    for named in ["/dev/zero", "/dev/full"] {
        let run = |variable: &str| Daglight::run(&checkout, &pipeline).env(variable, named).finish();
        let said = run("HAMILTON_CONFIG_URI").ended_with(2).stderr;
        assert!(said.contains(named) && said.contains("expected a regular file"), "{said}");
        let traced = Daglight::run(&checkout, &pipeline)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", named)
            .finish();
        assert!(
            traced.report(0)["warnings"].to_string().contains("expected a regular file"),
            "{}",
            traced.stdout
        );
        let tracked = call(&checkout, &["run", shown(&pipeline)]).ended_with(0);
        assert!(!tracked.stderr.contains("regular file"), "{}", tracked.stderr);
        let authorities = Daglight::run(&checkout, &pipeline)
            .env("HAMILTON_API_URL", "https://127.0.0.1:1")
            .env("HAMILTON_PROJECT_ID", "1")
            .env("HAMILTON_USERNAME", "me@example.com")
            .env("DAGLIGHT_CA_FILE", named)
            .finish();
        assert!(authorities.report(0)["warnings"].to_string().contains(named), "{}", authorities.stdout);
        let script = Daglight::run(&checkout, Path::new(named)).finish();
        assert!(
            script.code == Some(2) && script.stderr.contains("expected a regular file"),
            "{}",
            script.stderr
        );
    }
    let fifo = checkout.path().join("pipe.csv");
    pipe(&fifo);
    fs::write(checkout.path().join("daglight.toml"), format!("[param_tables.p]\nfile = {fifo:?}\n"))
        .expect("a file");
    let read = checkout.pipeline("read.sql", "-- node: one\nCREATE TABLE t AS SELECT * FROM p;\n");
    let finished = Daglight::run(&checkout, &read).finish();
    assert!(
        finished.code == Some(2) && finished.stderr.contains("expected a regular file"),
        "{}",
        finished.stderr
    );
}

#[test]
fn damaged_lines_are_passed_over_by_every_command() {
    let (checkout, bundle) = recorded();
    let traces = bundle.join("otel_traces.json");
    let whole = fs::read_to_string(&traces).expect("the traces");
    let spans = |report: &Value| report["totals"]["spans"].as_u64().expect("a number");
    let report = || call(&checkout, &["report", "--json", shown(&bundle)]).report(0);
    let before = spans(&report());
    let mut file = File::options().append(true).open(&traces).expect("the traces");
    file.write_all(b"{\"resourceSpans\":[{\"sc\n\0\0\0\n\xff\xfe\n{\"torn").expect("damage");
    let damaged = report();
    assert_eq!(spans(&damaged), before);
    let reading =
        damaged["files"].as_array().expect("files").iter().find(|file| file["file"] == "otel_traces.json");
    let reading = reading.expect("the traces");
    assert_eq!((&reading["unreadable_lines"], &reading["torn_bytes"]), (&3.into(), &6.into()), "{reading}");
    let line = whole.lines().count() + 1;
    assert!(reading["problem"].to_string().contains(&format!("line {line} ")), "{reading}");

    // A run that died is closed and pruned all the same.
    let manifest: Value =
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).expect("it")).expect("JSON");
    let mut running = manifest.clone();
    running["status"] = "running".into();
    running["ended_at"] = Value::Null;
    fs::write(bundle.join("manifest.json"), running.to_string()).expect("a manifest");
    fs::copy(&traces, bundle.join("otel_traces.open.json")).expect("open spans");
    let shown_status = call(&checkout, &["status", "out"]).ended_with(0).stdout;
    // The outbox says how it ended.
    assert!(!shown_status.contains("running"), "{shown_status}");
    report();
    let closed = fs::read_to_string(bundle.join("manifest.json")).expect("a manifest");
    assert!(!closed.contains("\"running\""), "{closed}");
    let pruned = call(&checkout, &["prune", "--keep", "0", "--even-waiting", "out"]).ended_with(0).stdout;
    assert!(pruned.contains("deleted") && !bundle.exists(), "{pruned}");
}

#[test]
fn a_run_without_a_readable_manifest_is_listed_reported_and_pruned() {
    let (checkout, bundle) = recorded();
    let whole = fs::read(bundle.join("manifest.json")).expect("a manifest");
    for length in [0, 1, whole.len() / 2, whole.len() - 2] {
        fs::write(bundle.join("manifest.json"), &whole[..length]).expect("a part of it");
        call(&checkout, &["report", "out"]).ended_with(0);
        let listed = call(&checkout, &["status", "--json", "out"]).report(0);
        assert!(listed[0]["problems"].to_string().contains("manifest.json"), "{listed}");
        assert!(listed[0]["started_at"].is_string() && listed[0]["dag_name"].is_string(), "{listed}");
    }
    let pruned = call(&checkout, &["prune", "--keep", "0", "--even-waiting", "out"]).ended_with(0).stdout;
    assert!(pruned.contains("deleted") && !bundle.exists(), "{pruned}");
}

#[test]
fn everything_that_a_run_leaves_is_its_users_alone() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", ONE_ROW);
    let report = Daglight::run(&checkout, &pipeline).with_umask("000").finish().report(0);
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let mut pending = vec![bundle];
    let mut files = 0;
    while let Some(path) = pending.pop() {
        let mode = path.metadata().expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_dir() {
            pending.extend(fs::read_dir(path).expect("a folder").flatten().map(|entry| entry.path()));
        } else {
            files += 1;
        }
    }
    assert!(files >= 9, "{files}");
}

#[test]
fn a_configuration_of_another_user_is_refused_and_config_says_why() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", ONE_ROW);
    let file = checkout.path().join("daglight.toml");
    fs::write(&file, "team = \"theirs\"\n[tracker]\napi_url = \"http://127.0.0.1:1\"\n").expect("a file");
    let config = |daglight: Daglight| daglight.finish().ended_with(0).stdout;
    let key = |arguments: &[&str]| Daglight::new(&checkout, arguments).env("HAMILTON_API_KEY", "hunter2");
    let shown = config(key(&["config"]));
    assert!(
        shown.contains("refused tracker.api_url") && shown.contains("DAGLIGHT_TRUSTED_SERVERS"),
        "{shown}"
    );
    chown(&file, Some(4711), None).expect("these tests run as root");
    let shown = config(key(&["config"]));
    assert!(shown.contains("refused ") && shown.contains("belongs to user 4711"), "{shown}");
    assert!(!shown.contains("theirs"), "{shown}");
    let run = Daglight::run(&checkout, &pipeline).finish();
    let warnings = run.report(0)["warnings"].to_string();
    assert!(
        warnings.contains("belongs to user 4711") && warnings.contains("DAGLIGHT_TRUSTED_FOLDERS"),
        "{warnings}"
    );
    assert_eq!(run.stderr.matches("belongs to user 4711").count(), 1, "{}", run.stderr);
    let shown = config(key(&["config"]).env("DAGLIGHT_TRUSTED_FOLDERS", checkout.path()));
    assert!(shown.contains("theirs"), "{shown}");
}
