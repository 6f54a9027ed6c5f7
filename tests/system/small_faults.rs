//! Small things that a user meets: what a script, an option or a bundle that is nearly right is answered with.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt as _, path::Path};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::Value;

fn call(checkout: &Checkout, arguments: &[&str]) -> Finished {
    Daglight::new(checkout, arguments).env("HAMILTON_TRACKER_ENABLED", "false").finish()
}

#[track_caller]
fn says(finished: Finished, code: i32, texts: &[&str]) -> Finished {
    let finished = finished.ended_with(code);
    for text in texts {
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
    finished
}

#[test]
fn an_empty_file_is_shown_as_having_no_columns() {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("empty.csv"), "").expect("a file");
    says(call(&checkout, &["run", "-c", "SELECT * FROM 'empty.csv'"]), 0, &["(0 rows, no columns)"]);
    // A setting has no rows at all.
    let set = call(&checkout, &["run", "-c", "SET datafusion.execution.batch_size = 100; SELECT 1 AS x"]);
    assert!(!set.stdout.contains("no columns"), "{}", set.stdout);
}

#[test]
fn files_that_are_not_found_say_why() {
    let checkout = Checkout::new();
    fs::create_dir_all(checkout.path().join("d/e")).expect("a folder");
    fs::write(checkout.path().join("d/e/x.csv"), "a\n1\n").expect("a file");
    let select = |name: &str| call(&checkout, &["run", "-c", &format!("SELECT * FROM '{name}'")]);
    for scheme in ["ftp", "sftp", "hdfs"] {
        let store = format!("there is no object store for {scheme}://");
        says(select(&format!("{scheme}://h/x.csv")), 1, &[&store, "s3://"]);
    }
    says(select("d/e/*.parquet"), 2, &["there is no file or folder of this name"]);
    for pattern in ["**/x.csv", "d/*/x.csv"] {
        says(
            select(pattern),
            1,
            &["no file matches the pattern", "listing_table_ignore_subdirectory = false"],
        );
        let set = "SET datafusion.execution.listing_table_ignore_subdirectory = false;";
        says(call(&checkout, &["run", "-c", &format!("{set} SELECT * FROM '{pattern}'")]), 0, &["| 1 |"]);
    }
}

#[test]
fn a_plan_shows_the_warnings_of_its_script() {
    let checkout = Checkout::new();
    checkout.pipeline("near.sql", "-- nod: late\nSELECT 1 AS x;\n");
    let warning = "near.sql:1:4: `nod:` is not a directive, so this is a comment: write `-- node: name`";
    says(call(&checkout, &["plan", "near.sql"]), 0, &[warning]);
    says(call(&checkout, &["run", "near.sql"]), 0, &[warning]);
}

#[test]
fn options_that_are_nearly_right_say_what_is_expected() {
    let checkout = Checkout::new();
    says(call(&checkout, &["run"]), 2, &["daglight run [OPTIONS] -c <SQL>"]);
    says(call(&checkout, &["serve", "--port", "80a"]), 2, &["'80a'", "a number from 0 to 65535"]);
    let part = call(&checkout, &["compare", "a", "b", "--fail-on", "slower=0.2"]);
    says(part, 2, &["slower=0.2", "slower=20%"]);
}

#[test]
fn comparing_a_folder_names_a_damaged_manifest() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;");
    let bundle = || {
        let run = Daglight::run(&checkout, &pipeline).finish().report(0);
        checkout.path().join(run["bundle"].as_str().expect("a bundle"))
    };
    let (_, newest) = (bundle(), bundle());
    let manifest = newest.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    fs::write(&manifest, &text[..100]).expect("a file");
    let named = newest.file_name().and_then(OsStr::to_str).expect("a run");
    says(call(&checkout, &["compare", "out"]), 1, &[named, "manifest.json", "is damaged"]);
}

#[test]
fn the_report_of_a_bundle_that_cannot_be_written_is_printed() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;");
    let run = Daglight::run(&checkout, &pipeline).finish().report(0);
    let bundle = run["bundle"].as_str().expect("a bundle").to_owned();
    // Root may write anywhere, but not where a folder is.
    let report = checkout.path().join(&bundle).join("run_diagnostics_report.html");
    fs::remove_file(&report).expect("a file");
    fs::create_dir(&report).expect("a folder");
    fs::set_permissions(&report, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let printed =
        says(call(&checkout, &["report", &bundle]), 0, &["the report is not written", "report.html"]);
    assert!(printed.stdout.contains("Succeeded"), "{}", printed.stdout);
}

#[test]
fn what_may_not_be_read_is_no_folder_without_runs() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;");
    let bundle = || {
        let run = Daglight::run(&checkout, &pipeline).finish().report(0);
        checkout.path().join(run["bundle"].as_str().expect("a bundle"))
    };
    let (first, second) = (bundle(), bundle());
    let out = checkout.path().join("out");
    let runs = out.join("run_bundle");
    let allow =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    let as_other = |arguments: &[&str]| {
        Daglight::new(&checkout, arguments)
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .not_as_root(&checkout)
            .finish()
    };
    allow(&out, 0o755);
    allow(&runs, 0o000);
    let (folder, denied) = (runs.display().to_string(), "ermission denied");
    for arguments in [
        &["report", "out"][..],
        &["bundle", "verify", "out"],
        &["compare", "out", "--fail-on", "failed"],
        &["status", "out"],
        &["history", "out"],
        &["query", "out", "SELECT 1"],
        &["serve", "out", "--port", "0"],
    ] {
        says(as_other(arguments), 1, &["run_bundle", denied]);
    }
    // One of two runs is shown, and the other one named.
    allow(&runs, 0o755);
    for path in [&first, &first.join("manifest.json")] {
        allow(path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    allow(&second, 0o000);
    let id = |bundle: &Path| bundle.file_name().and_then(OsStr::to_str).expect("a run").to_owned();
    let (first, second) = (id(&first), id(&second));
    for arguments in [&["status", "out"][..], &["history", "out"]] {
        says(as_other(arguments), 1, &[&first, &second, denied]);
    }
    let named = format!("{folder}/{second}");
    // One that can be listed, too, and of which nothing can be opened.
    for mode in [0o000, 0o444] {
        allow(&runs.join(&second), mode);
        for arguments in [
            &["report", &named][..],
            &["bundle", "verify", &named],
            &["bundle", "pack", &named],
            &["export", &named, "--format", "perfetto"],
        ] {
            says(as_other(arguments), 1, &[&second, denied]);
        }
    }
    allow(&runs.join(second), 0o700);
    allow(&runs, 0o700);
}

#[test]
fn a_bundle_is_packed_without_the_file_that_may_not_be_read() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;");
    let run = Daglight::run(&checkout, &pipeline)
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .env("HOME", checkout.path())
        .not_as_root(&checkout)
        .finish()
        .report(0);
    let bundle = run["bundle"].as_str().expect("a bundle").to_owned();
    let logs = checkout.path().join(&bundle).join("otel_logs.json");
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let packed = Daglight::new(&checkout, ["bundle", "pack", &bundle, "--to", "p.tar.gz"])
        .not_as_root(&checkout)
        .finish();
    says(packed, 0, &["not packed: otel_logs.json", "ermission denied"]);
    says(call(&checkout, &["bundle", "verify", "p.tar.gz"]), 1, &["otel_logs.json"]);
}

#[test]
fn of_two_archives_of_a_run_the_one_that_is_whole_counts() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("one.sql", "SELECT 1 AS x;");
    let run = Daglight::run(&checkout, &pipeline).finish().report(0);
    let bundle = run["bundle"].as_str().expect("a bundle").to_owned();
    let packs = checkout.path().join("packs");
    fs::create_dir(&packs).expect("a folder");
    says(call(&checkout, &["bundle", "pack", &bundle, "--to", "packs/b.tar.gz"]), 0, &[]);
    let whole = fs::read(packs.join("b.tar.gz")).expect("an archive");
    fs::write(packs.join("a.tar.gz"), &whole[..whole.len() - 20]).expect("a file");
    let id = run["run_id"].as_str().expect("a run");
    for command in ["history", "report"] {
        says(call(&checkout, &[command, "packs"]), 0, &["a.tar.gz", id]);
    }
    // Alone it is not a folder without runs, wherever it is cut.
    fs::remove_file(packs.join("b.tar.gz")).expect("an archive");
    let cut = format!("{id}.tar.gz");
    for (from, to, bytes) in [("a.tar.gz", "a.tar.gz", whole.len() - 20), ("a.tar.gz", &*cut, 12)] {
        fs::remove_file(packs.join(from)).expect("an archive");
        fs::write(packs.join(to), &whole[..bytes]).expect("a file");
        for arguments in [
            &["history", "packs"][..],
            &["compare", "packs"],
            &["report", "packs"],
            &["query", "packs", "SELECT 1"],
        ] {
            says(call(&checkout, arguments), 1, &[to]);
        }
    }
}

#[test]
fn options_that_have_no_meaning_together_are_refused() {
    let checkout = Checkout::new();
    let export = ["export", "out", "--format", "perfetto", "--signal", "logs", "--to", "x.json"];
    says(call(&checkout, &export), 2, &["--signal is for --format otlp"]);
    says(call(&checkout, &["compare", "a", "b", "--html", "-"]), 2, &["--html writes a file"]);
    checkout.pipeline("file.sql", "SELECT 1;");
    says(call(&checkout, &["init", "file.sql"]), 2, &["file.sql is not a folder"]);
    let script = checkout.pipeline("kept.sql", "SELECT 1 AS one;");
    let kept = script.display().to_string();
    says(
        call(&checkout, &["compare", "a", "b", "--html", &kept]),
        2,
        &["kept.sql exists and is not an HTML page"],
    );
    assert_eq!(std::fs::read_to_string(&script).expect("a script"), "SELECT 1 AS one;");
    assert!(!checkout.path().join("-").exists() && !checkout.path().join("x.json").exists());
}

#[test]
fn a_token_that_is_refused_is_not_shown() {
    let checkout = Checkout::new();
    for refused in ["zqmk pass!", "hünterzqmk1", "-zqmk=1"] {
        let by_option = call(&checkout, &["serve", "--token", refused]);
        let by_variable = Daglight::new(&checkout, ["serve"]).env("DAGLIGHT_SERVE_TOKEN", refused).finish();
        for finished in [by_option, by_variable] {
            let said = says(finished, 2, &["token", "at least eight"]);
            assert!(!format!("{}{}", said.stdout, said.stderr).contains("zqmk"), "{}", said.stderr);
        }
    }
}

/// Where a word is in the files of a folder.
fn files_with(folder: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, word));
        } else if String::from_utf8_lossy(&fs::read(&path).expect("a file")).contains(word) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn values_of_a_secret_column_are_hidden_under_every_name() {
    let checkout = Checkout::new();
    let sql = "
-- node: users
CREATE TABLE users AS SELECT value AS id, CAST(value * 7919731 AS VARCHAR) AS password FROM generate_series(11, 19);
-- node: renamed
CREATE TABLE renamed AS SELECT id, password AS x, upper(password) AS y FROM users;
-- node: again
CREATE TABLE again AS SELECT id, lower(y) AS z, x || '!' AS v FROM renamed;
-- node: most
SELECT max(v) AS most, min(z) AS least FROM again;
-- node: nested
WITH a AS (SELECT z AS q FROM again) SELECT q AS r FROM (SELECT q FROM a) ORDER BY r;
-- node: seen
CREATE VIEW seen AS SELECT v AS w FROM again;
-- node: of_view
SELECT w AS u FROM seen;
-- node: filled
CREATE TABLE filled (a BIGINT, b TEXT);
INSERT INTO filled SELECT id, x FROM renamed;
-- node: of_filled
SELECT b AS c FROM filled;
-- node: written
COPY (SELECT id, x AS d FROM renamed) TO 'made/x.parquet';
-- node: of_written
SELECT d AS e FROM 'made/x.parquet';
";
    let pipeline = checkout.pipeline("users.sql", sql);
    let run = Daglight::new(&checkout, ["run", "--output-dir", "out", "--json"])
        .args([&pipeline])
        .finish()
        .report(0);
    let bundle = checkout.path().join(run["bundle"].as_str().expect("a bundle"));
    for value in (11..=19).map(|id| (id * 7_919_731).to_string()) {
        assert_eq!(files_with(&bundle, &value), [""; 0], "{value}");
    }
    // What is made of nothing secret is shown.
    assert!(fs::read_to_string(bundle.join("data_summaries.jsonl")).expect("a file").contains("\"max\":19"));
}

#[test]
fn under_prod_no_number_of_a_window_frame_is_in_a_name() {
    let checkout = Checkout::new();
    let sql = "-- node: sums
CREATE TABLE sums AS SELECT value, sum(value) OVER (ORDER BY value ROWS BETWEEN 31337 PRECEDING AND 42427 FOLLOWING),
  avg(value) OVER (ORDER BY value RANGE 51513 PRECEDING) FROM generate_series(1, 100);
SELECT * FROM sums;";
    let pipeline = checkout.pipeline("sums.sql", sql);
    let run = Daglight::run(&checkout, &pipeline).args(["--profile", "prod"]).finish().report(0);
    let bundle = checkout.path().join(run["bundle"].as_str().expect("a bundle"));
    assert_ne!(files_with(&bundle, " PRECEDING"), [""; 0]);
    for number in ["31337", "42427", "51513"] {
        assert_eq!(files_with(&bundle, number), [""; 0], "{number}");
    }
}

#[test]
fn secrets_in_the_queries_of_urls_are_hidden_everywhere() {
    for profile in ["dev", "ci", "prod"] {
        let checkout = Checkout::new();
        let url = "http://127.0.0.1:1/x.csv?code=zqmk1&sig=zqmk2&key=zqmk3&X-Amz-Credential=zqmk4&a=public5";
        let sql = format!("-- node: remote\n-- see {url}\nSELECT * FROM '{url}';\n");
        let pipeline = checkout.pipeline("remote.sql", &sql);
        let run = Daglight::run(&checkout, &pipeline).args(["--profile", profile]).finish();
        assert!(
            !format!("{}{}", run.stdout, run.stderr).contains("zqmk"),
            "{profile}: {}{}",
            run.stdout,
            run.stderr
        );
        let report = run.report(1);
        let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
        assert_eq!(files_with(&bundle, "zqmk"), [""; 0], "{profile}");
        if profile == "prod" {
            assert_eq!(files_with(&bundle, "public5"), [""; 0]);
        }
    }
}

/// A folder of sources is often called like the table that is made of it.
#[test]
fn a_table_may_be_called_like_a_folder_beside_it() {
    let checkout = Checkout::new();
    for (file, text) in
        [("orders/a.csv", "id\n1\n2\n"), ("broken/x.json", "{\"a\":1"), ("other/b.csv", "id\n9\n")]
    {
        let path = checkout.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let sql = "CREATE TABLE orders AS SELECT * FROM 'orders/a.csv';
               CREATE VIEW broken AS SELECT id + 1 AS id FROM orders;
               SELECT (SELECT sum(id) FROM broken), (SELECT sum(id) FROM other);";
    checkout.pipeline("folders.sql", sql);
    let finished =
        call(&checkout, &["run", "folders.sql", "--output-dir", "out", "--format", "csv"]).ended_with(0);
    assert!(finished.stdout.ends_with("\n5,9\n"), "{} {}", finished.stdout, finished.stderr);
    // In front of the table, its name stands for nothing.
    let sql = "SELECT * FROM orders;\nCREATE TABLE orders AS SELECT 1 AS id;";
    let refused = Daglight::run(&checkout, &checkout.pipeline("early.sql", sql)).finish().ended_with(2);
    assert!(refused.stderr.contains("table \"orders\" is defined only at line 2"), "{}", refused.stderr);
}

/// DataFusion takes such a target for a pattern, and writes beside it.
#[test]
fn what_is_copied_to_a_pattern_is_found_where_it_is() {
    let checkout = Checkout::new();
    let sql = "COPY (SELECT 1 AS a) TO 'out1/w[1].csv';";
    let report = Daglight::run(&checkout, &checkout.pipeline("pattern.sql", sql)).finish().report(0);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("COPY writes files of other names into"), "{report:#}");
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let artifacts: Value =
        serde_json::from_str(&fs::read_to_string(bundle.join("artifacts.json")).expect("a file"))
            .expect("JSON");
    let artifact = &artifacts["artifacts"][0];
    assert_eq!((&artifact["location"], &artifact["files"]), (&"out1/".into(), &1.into()), "{artifacts:#}");
    let written = fs::read_dir(checkout.path().join("out1")).expect("a folder");
    let bytes: u64 = written.map(|entry| entry.expect("a file").metadata().expect("a size").len()).sum();
    assert_eq!(artifact["bytes"], bytes, "{artifacts:#}");
}

#[test]
fn a_table_that_is_kept_is_not_written_again() {
    let checkout = Checkout::new();
    let sql = "-- node: made\nCREATE TABLE t AS SELECT value AS a FROM generate_series(1, 100);
-- node: kept\nCREATE TABLE IF NOT EXISTS t AS SELECT value AS a FROM generate_series(1, 5);
-- node: new\nCREATE TABLE IF NOT EXISTS u AS SELECT * FROM t;";
    let report = Daglight::run(&checkout, &checkout.pipeline("kept.sql", sql)).finish().report(0);
    let rows: Vec<&Value> =
        report["nodes"].as_array().expect("a list").iter().map(|node| &node["rows"]).collect();
    assert_eq!(rows, [&Value::from(100), &Value::Null, &Value::from(100)], "{report:#}");
}
