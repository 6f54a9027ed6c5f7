//! What leaves under each profile: values of a pipeline's data, its parameters and its credentials are looked for in
//! every file of the bundle, the tracker's records among them.

use std::{fs, path::Path};

use daglight_system_tests::{Checkout, Daglight};
use serde_json::Value;

/// A name that only the data has.
const IN_DATA: &str = "Ziegenhals";
/// A name that only the script has, in a literal.
const IN_LITERAL: &str = "Quendolin";
/// The value of a parameter.
const IN_PARAMETER: &str = "Barnabas";
/// Credentials, in a parameter and in a comment.
const CREDENTIALS: [&str; 2] = ["Holunder77", "Wacholder88"];

/// Succeeds, with a literal in the name of a column, and values in the names of folders.
const PEOPLE: &str = "\
-- param: who = Barnabas
-- param: db_password = Holunder77

-- People; the export ran with password: Wacholder88
CREATE EXTERNAL TABLE people STORED AS CSV LOCATION 'people.csv' OPTIONS ('format.has_header' 'true');

CREATE VIEW adults AS
SELECT * FROM people WHERE name <> 'Quendolin' AND name <> $who AND name <> $db_password AND age > 17;

CREATE EXTERNAL TABLE of_town STORED AS CSV LOCATION 'by_town/town=Ziegenhals/people.csv'
OPTIONS ('format.has_header' 'true');

COPY (SELECT age, concat(name, 'Quendolin') FROM of_town UNION ALL SELECT age, 'Quendolin' FROM adults)
TO 'out/town=Ziegenhals/adults.parquet' STORED AS PARQUET;

COPY (SELECT * FROM adults) TO 'out/adults.parquet' STORED AS PARQUET;
COPY (SELECT age FROM adults) TO 'out/towns/town=Ziegenhals/' STORED AS PARQUET;
COPY (SELECT age FROM adults) TO 'out/towns/town=Ziegenhals.csv';
";

/// Expressions that fail, with a name in the error: in quotes, in a pattern, or without either.
const FAILING: [&str; 3] =
    ["CAST(name AS BIGINT)", "regexp_like(name, '(' || name)", "map([name, name], [1, 2])"];

fn failing(expression: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION 'people.csv' OPTIONS ('format.has_header' 'true');\n\
         COPY (SELECT {expression} AS n FROM people) TO 'out/numbers.parquet' STORED AS PARQUET;\n"
    )
}

fn checkout() -> Checkout {
    let checkout = Checkout::new();
    let rows: String = (0..40).map(|age| format!("{IN_DATA},{age}\n")).collect();
    let of_town = checkout.path().join("by_town").join(format!("town={IN_DATA}"));
    fs::create_dir_all(&of_town).expect("a folder");
    for folder in [checkout.path(), &of_town] {
        fs::write(folder.join("people.csv"), format!("name,age\n{rows}")).expect("a file");
    }
    checkout
}

fn run(checkout: &Checkout, sql: &str, profile: &str, code: i32) -> Value {
    let pipeline = checkout.pipeline("people.sql", sql);
    Daglight::run(checkout, &pipeline)
        .args(["--profile", profile])
        .env("HAMILTON_CAPTURE_DATA_STATISTICS", "true")
        .env("HAMILTON_TRACKER_ENABLED", "true")
        .finish()
        .report(code)
}

/// The files below a folder that have a text in them or in their names, in capitals or not.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let has_text =
        |bytes: &[u8]| bytes.to_ascii_lowercase().windows(text.len()).any(|part| part == text.as_bytes());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, &text));
        } else if has_text(&fs::read(&path).expect("a file"))
            || has_text(path.file_name().expect("a name").as_encoded_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[track_caller]
fn check(profile: &str, values_are_shown: bool) {
    let checkout = checkout();
    let failing = FAILING.map(failing);
    let failing = failing.iter().map(|sql| (sql.as_str(), 1, [IN_DATA].as_slice()));
    let succeeding = (PEOPLE, 0, [IN_DATA, IN_LITERAL, IN_PARAMETER].as_slice());
    for (sql, code, values) in [succeeding].into_iter().chain(failing) {
        let report = run(&checkout, sql, profile, code);
        let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
        for value in values {
            let files = files_with(&bundle, value);
            assert_eq!(!files.is_empty(), values_are_shown, "{value} under {profile}: {files:#?}");
        }
        for credential in CREDENTIALS {
            let files = files_with(&bundle, credential);
            assert!(files.is_empty(), "{credential} under {profile}: {files:#?}");
        }
    }
}

#[test]
fn at_a_desk_values_are_shown_and_credentials_are_not() {
    check("dev", true);
}

#[test]
fn in_production_no_value_leaves() {
    check("prod", false);
}

/// A URL that is written as a path of this machine has a user and a password all the same.
#[test]
fn users_and_passwords_in_paths_are_credentials() {
    const SQL: &str = "\
CREATE TABLE t AS SELECT 1 AS x;
COPY t TO 'files/http://ann:Holunder77@h/x.csv';
COPY t TO './ann:Holunder77@h/y.csv';
COPY t TO 'files/ann:Holunder77@h' STORED AS PARQUET;
COPY t TO 'files/ann@home/z.csv';
CREATE EXTERNAL TABLE back STORED AS CSV LOCATION './ann:Holunder77@h/y.csv' OPTIONS ('format.has_header' 'true');
CREATE EXTERNAL TABLE all_back STORED AS CSV LOCATION 'files/http://ann:Holunder77@h/*.csv';
SELECT * FROM back, all_back;
COPY (SELECT 1 / (x - 1) AS y FROM t) TO 'files/https:/ann:Holunder77@h/failed.csv';
";
    for profile in ["dev", "ci", "prod"] {
        let checkout = checkout();
        let pipeline = checkout.pipeline("people.sql", SQL);
        let said =
            Daglight::new(&checkout, ["run", "--profile", profile, "--output-dir", "ann:Holunder77@h/out"])
                .args([&pipeline])
                .env("HAMILTON_TRACKER_ENABLED", "true")
                .finish()
                .ended_with(1)
                .stderr;
        assert!(said.contains("[redacted]@h") && !said.contains("Holunder77"), "{profile}: {said}");
        let bundles = checkout.path().join("ann:Holunder77@h/out/run_bundle");
        let bundle =
            fs::read_dir(bundles).expect("bundles").next().expect("a bundle").expect("an entry").path();
        // The names of the folders that the bundle is in are the user's own.
        let files = files_with(&bundle, "Holunder77");
        assert!(files.is_empty(), "{profile}: {files:#?}");
        let artifacts = fs::read_to_string(bundle.join("artifacts.json")).expect("artifacts");
        if profile == "dev" {
            assert!(artifacts.contains("files/ann@home/z.csv"), "a mere @ is a letter: {artifacts}");
        }
    }
}

#[test]
fn what_libraries_log_of_their_plans_is_recorded_where_literals_are_shown() {
    for (profile, is_recorded) in [("dev", true), ("prod", false)] {
        let checkout = checkout();
        let pipeline = checkout.pipeline("people.sql", PEOPLE);
        let daglight = Daglight::run(&checkout, &pipeline).args(["--profile", profile]);
        let finished = daglight.env("RUST_LOG", "trace").finish();
        let bundle = checkout.path().join(finished.report(0)["bundle"].as_str().expect("a bundle"));
        assert_eq!(finished.stderr.contains(IN_LITERAL), is_recorded, "the console under {profile}");
        let files = files_with(&bundle, IN_LITERAL);
        let is_in_log = files.iter().any(|file| file.ends_with("otel_logs.json"));
        assert_eq!((is_in_log, files.is_empty()), (is_recorded, !is_recorded), "{profile}: {files:#?}");
    }
}

#[test]
fn the_policy_stands_in_the_manifest_and_on_the_root_span() {
    let checkout = checkout();
    fs::write(
        checkout.path().join("daglight.toml"),
        "profile = \"staging\"\n[profiles.staging]\nextends = \"prod\"\n[profiles.staging.capture]\nmax_depth = 5\n",
    )
    .expect("a file");
    let pipeline = checkout.pipeline("people.sql", PEOPLE);
    let report = Daglight::run(&checkout, &pipeline).finish().report(0);
    let bundle = checkout.path().join(report["bundle"].as_str().expect("a bundle"));
    let manifest = fs::read_to_string(bundle.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!((&manifest["profile"], &manifest["policy"]["max_depth"]), (&"staging".into(), &"5".into()));
    let hash = &report["tags"]["runtime_profile_hash"];
    assert!(
        files_with(&bundle, hash.as_str().expect("a hash"))
            .iter()
            .any(|file| file.ends_with("otel_traces.json"))
    );
    assert_eq!(report["tags"]["runtime_profile"], "staging");
    for tag in ["plan_signature", "session_runtime_hash", "host.name", "commit", "branch", "repo", "dirty"] {
        assert!(report["tags"][tag].is_string(), "{tag} in {}", report["tags"]);
    }
}

#[test]
fn a_run_has_the_tags_of_its_owner() {
    let checkout = checkout();
    fs::write(
        checkout.path().join("daglight.toml"),
        "[tags]\nticket = \"A-0\"\nregion = \"north\"\nenvironment = \"mine\"\n",
    )
    .expect("a file");
    let pipeline = checkout.pipeline("people.sql", PEOPLE);
    let run =
        Daglight::run(&checkout, &pipeline).args(["--tag", "ticket=A-1", "--tag", "access_token=Holunder77"]);
    let report = run.finish().report(0);
    for (tag, value) in
        [("ticket", "A-1"), ("region", "north"), ("environment", "dev"), ("access_token", "[redacted]")]
    {
        assert_eq!(report["tags"][tag], value, "{tag}");
    }
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("the tag \\\"environment\\\" is left out"), "{warnings}");
}

#[track_caller]
fn check_row(table: &str, key: &str, value: &str, origin: &str) {
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row.len() > 2 && row[0] == key).unwrap_or_default();
    assert!(row.len() > 2 && row[1] == value && row[2..].join(" ").ends_with(origin), "{key} in\n{table}");
}

#[test]
fn the_command_shows_settings_with_their_origins() {
    let checkout = checkout();
    let file = "[tracker]\napi_key = \"Holunder77\"\n\n[capture]\nmax_depth = 5\n";
    fs::write(checkout.path().join("daglight.toml"), file).expect("a file");
    let shown = |arguments: &[&str]| {
        let daglight = Daglight::new(&checkout, ["config"]).args(arguments).env("DAGLIGHT_TEAM", "risk");
        daglight.finish().ended_with(0).stdout
    };
    let table = shown(&[]);
    check_row(&table, "capture.max_depth", "5", "daglight.toml:5");
    check_row(&table, "tracker.api_key", "***", "daglight.toml:2");
    check_row(&table, "team", "risk", "environment variable DAGLIGHT_TEAM");
    check_row(&shown(&["--profile", "prod"]), "profile", "prod", "option --profile");
    let json: Value = serde_json::from_str(&shown(&["--json"])).expect("JSON");
    assert_eq!(json["settings"]["capture.max_depth"]["value"], 5);
    let schema: Value = serde_json::from_str(&shown(&["--schema"])).expect("JSON");
    assert!(schema["properties"]["profiles"].is_object());
    assert!(!format!("{table}{json}").contains(CREDENTIALS[0]));
}

#[test]
fn a_wrong_setting_ends_the_command_with_its_place_and_what_to_write() {
    let checkout = checkout();
    fs::write(checkout.path().join("daglight.toml"), "[capture]\nmax_list_lenght = 5\n").expect("a file");
    let finished = Daglight::new(&checkout, ["config"]).finish().ended_with(2);
    for part in ["max_list_lenght", "daglight.toml:2", "did you mean capture.max_list_length?"] {
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
}

#[test]
fn a_name_that_no_dag_can_have_is_refused_with_its_place() {
    let checkout = checkout();
    let pipeline = checkout.pipeline("people.sql", PEOPLE);
    for command in [Daglight::new(&checkout, ["config"]), Daglight::run(&checkout, &pipeline)] {
        let finished = command.env("HAMILTON_DAG_NAME", "sales::orders_2026-11-21_v1").finish().ended_with(2);
        for part in ["environment variable HAMILTON_DAG_NAME", "a timestamp", "write \"sales::orders_v1\""] {
            assert!(finished.stderr.contains(part), "{}", finished.stderr);
        }
    }
}
