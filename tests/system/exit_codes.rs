//! The exit codes of the commands for bundles, as the documentation has them: each cell of its table is tried.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daglight_system_tests::{Checkout, Daglight, OtlpReceiver};

const ENDINGS: &str = include_str!("../../docs/endings.md");

/// The rows of the table with this head, each with what the bundle or folder is and the codes of the commands.
fn table(head: &str) -> Vec<(&'static str, Vec<i32>)> {
    let rows = ENDINGS.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| "));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let bundle = cells.next().expect("a bundle");
        (bundle, cells.map(|code| code.parse().expect("a code is a number")).collect())
    })
    .collect()
}

fn changed(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    fs::write(file, change(text)).expect("a file");
}

/// With something in its third line that is not JSON.
fn torn_line(text: String) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.len() / 2;
    lines[at] = "{\"torn";
    lines.join("\n") + "\n"
}

fn damage(bundle: &Path, what: &str) {
    let tracker = bundle.join("tracker");
    match what {
        "whole" => {}
        "the manifest is torn" => {
            changed(&bundle.join("manifest.json"), |text| text[..text.len() / 2].to_owned())
        }
        "the manifest has a newer format" => changed(&bundle.join("manifest.json"), |text| {
            let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            manifest["format_version"] = 4_000.into();
            manifest.to_string()
        }),
        "none of the outbox can be read" => {
            changed(&tracker.join("outbox.jsonl"), |text| "\0".repeat(text.len()));
        }
        "a line of the outbox is damaged" => changed(&tracker.join("outbox.jsonl"), torn_line),
        "the cursor has a newer format" => {
            fs::write(tracker.join("delivery.json"), r#"{"format_version": 4000}"#).expect("a file");
        }
        "the cursor is damaged" => fs::write(tracker.join("delivery.json"), "{").expect("a file"),
        "a plan is damaged" => {
            let mut plans = fs::read_dir(bundle.join("plans")).expect("plans").flatten();
            changed(&plans.next().expect("a plan").path(), |_| "{".to_owned());
        }
        "a line of the traces is damaged" => changed(&bundle.join("otel_traces.json"), torn_line),
        other => panic!("nobody knows how to make a bundle that is so: {other}"),
    }
}

#[test]
fn commands_for_bundles_end_as_the_documentation_says() {
    let receiver = OtlpReceiver::start();
    let endpoint = receiver.endpoint("http/protobuf");
    let replay = ["replay", "--endpoint", &endpoint, "--protocol", "http/protobuf"];
    let commands: [&[&str]; 6] =
        [&["status"], &["report"], &["sync"], &replay, &["prune", "--keep", "0"], &["bundle", "verify"]];
    let rows = table("| bundle | `status`");
    assert!(rows.len() > 5, "the documentation has the table");
    let mut wrong = Vec::new();
    for (bundle, codes) in rows {
        assert_eq!(codes.len(), commands.len(), "{bundle}");
        for (command, code) in commands.into_iter().zip(codes) {
            // Some commands change what they find.
            let checkout = Checkout::new();
            let pipeline =
                checkout.pipeline("one.sql", "CREATE TABLE t AS SELECT 1 AS x;\nSELECT * FROM t;\n");
            let report = Daglight::run(&checkout, &pipeline).finish().report(0);
            let folder = PathBuf::from(report["bundle"].as_str().expect("a bundle"));
            damage(&checkout.path().join(&folder), bundle);
            let finished = Daglight::new(&checkout, command).args([&folder]).finish();
            if finished.code != Some(code) {
                wrong.push(format!(
                    "{bundle}: {command:?} ends with {:?}, not {code}: {}{}",
                    finished.code, finished.stdout, finished.stderr
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_for_folders_without_runs_end_as_the_documentation_says() {
    let checkout = Checkout::new();
    fs::create_dir_all(checkout.path().join("without/run_bundle")).expect("a folder");
    fs::create_dir(checkout.path().join("other")).expect("a folder");
    fs::write(checkout.path().join("other/notes.txt"), "").expect("a file");
    let receiver = OtlpReceiver::start();
    let endpoint = receiver.endpoint("http/protobuf");
    let commands: [&[&str]; 10] = [
        &["status"],
        &["history"],
        &["report"],
        &["compare"],
        &["sync"],
        &["replay", "--endpoint", &endpoint],
        &["prune", "--keep", "0"],
        &["bundle", "verify"],
        &["bundle", "pack", "--to", "new.tar.gz"],
        &["export", "--format", "otlp", "--to", "new.json"],
    ];
    let rows = table("| folder | `status`");
    assert_eq!(rows.len(), 3, "the documentation has the table");
    for (what, codes) in rows {
        let folder = match what {
            "an output folder without runs" => "without",
            "a folder of something else" => "other",
            "not there" => "nowhere",
            other => panic!("nobody knows such a folder: {other}"),
        };
        assert_eq!(codes.len(), commands.len(), "{what}");
        for (command, code) in commands.into_iter().zip(codes) {
            let finished = Daglight::new(&checkout, command).args([folder]).finish().ended_with(code);
            let said = format!("{}{}", finished.stdout, finished.stderr);
            assert!(said.contains(folder) && said.lines().count() == 1, "{what}: {command:?}: {said}");
            assert_eq!(said.starts_with("error: "), code == 2, "{what}: {command:?}: {said}");
        }
    }
    assert!(!checkout.path().join("new.tar.gz").exists() && !checkout.path().join("new.json").exists());
}

#[test]
fn a_new_file_is_not_written_over_another() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;\n");
    Daglight::run(&checkout, &pipeline).finish().report(0);
    let commands: [(&[&str], &str); 2] = [
        (&["bundle", "pack", "out", "--to"], "mine.tar.gz"),
        (&["export", "out", "--format", "otlp", "--to"], "mine"),
    ];
    for (command, file) in commands {
        fs::write(checkout.path().join(file), "mine").expect("a file");
        let refused = Daglight::new(&checkout, command).args([file]).finish().ended_with(2).stderr;
        assert!(refused.starts_with(&format!("error: {file} already exists: ")), "{command:?}: {refused}");
        assert_eq!(fs::read_to_string(checkout.path().join(file)).expect("a file"), "mine");
    }
}

/// Records wait for the server that the run had, and the command is asked to deliver them.
#[test]
fn what_a_server_waits_for_needs_one() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;\n");
    let run = Daglight::run(&checkout, &pipeline).env("HAMILTON_API_URL", "http://127.0.0.1:1");
    let run = run.env("HAMILTON_PROJECT_ID", "1").env("HAMILTON_USERNAME", "me@example.com");
    run.env("DAGLIGHT_FLUSH_SECONDS", "1").finish().report(0);
    Daglight::new(&checkout, ["status"]).finish().ended_with(0);
    let refused = Daglight::new(&checkout, ["sync"]).finish().ended_with(2).stderr;
    assert!(refused.contains("no tracking server is configured"), "{refused}");
}
