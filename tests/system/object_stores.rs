//! Scripts that read from object stores and write to them.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, S3Server};
use serde_json::{Value, json};

use crate::policy::files_with;

/// The options of a statement for the server.
fn options(server: &S3Server) -> String {
    format!(
        "OPTIONS ('aws.access_key_id' '{}', 'aws.secret_access_key' '{}', 'aws.endpoint' '{}', 'aws.region' 'us-east-1', \
         'aws.allow_http' 'true')",
        S3Server::ACCESS_KEY,
        S3Server::SECRET_KEY,
        server.url(),
    )
}

fn run(script: &str) -> (Checkout, Daglight) {
    let checkout = Checkout::new();
    checkout.pipeline("lake.sql", script);
    let daglight = Daglight::new(&checkout, ["run", "lake.sql", "--output-dir", "out"])
        .env("HAMILTON_TRACKER_ENABLED", "false");
    (checkout, daglight)
}

/// With what the environment says of the server.
fn with_environment(daglight: Daglight, server: &S3Server) -> Daglight {
    daglight
        .env("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY)
        .env("AWS_ENDPOINT", server.url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ALLOW_HTTP", "true")
}

fn node<'r>(report: &'r Value, name: &str) -> &'r Value {
    let nodes = report["nodes"].as_array().expect("a list");
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no node {name}: {report:#}"))
}

#[test]
fn options_of_statements_reach_the_store_and_nothing_else() {
    let server = S3Server::start(false);
    let options = options(&server);
    let (checkout, daglight) = run(&format!(
        "CREATE TABLE orders AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 1000);\n\
         COPY orders TO 's3://lake/orders.parquet' STORED AS PARQUET {options};\n\
         COPY orders TO 's3://lake/by_k/' STORED AS PARQUET PARTITIONED BY (k) {options};\n\
         CREATE EXTERNAL TABLE stored STORED AS PARQUET LOCATION 's3://lake/orders.parquet' {options};\n\
         CREATE EXTERNAL TABLE parts STORED AS PARQUET LOCATION 's3://lake/by_k/' {options};\n\
         -- node: joined\n\
         SELECT count(*) AS n, sum(stored.id) AS s FROM stored JOIN parts USING (id);\n"
    ));
    let finished = daglight.args(["--json"]).finish();
    let report = finished.report(0);
    assert!(server.file("orders.parquet").is_file() && server.file("by_k/k=2").is_dir());
    assert_eq!(node(&report, "orders_parquet")["rows"], 1_000);
    let size = fs::metadata(server.file("orders.parquet")).expect("an object").len();
    assert_eq!(node(&report, "orders_parquet")["bytes"], size, "{report:#}");
    assert_eq!(node(&report, "joined")["rows"], 1);
    let bundle = checkout.path().join("out/run_bundle");
    assert_eq!(files_with(&bundle, S3Server::SECRET_KEY), Vec::<String>::new());
    assert!(!files_with(&bundle, "s3://lake/orders.parquet").is_empty(), "the place is shown");
    assert!(!finished.stderr.contains(S3Server::SECRET_KEY), "{}", finished.stderr);
    assert!(
        !finished.stderr.contains("WARN"),
        "the place is asked with the options alone: {}",
        finished.stderr
    );
}

#[test]
fn the_environment_suffices_for_files_by_their_names() {
    let server = S3Server::start(false);
    let (checkout, daglight) =
        run("COPY (SELECT value AS id FROM generate_series(1, 10)) TO 's3://lake/ids.csv';\n\
         CREATE TABLE ids AS SELECT * FROM 's3://lake/ids.csv';\n\
         SELECT sum(id) AS s FROM ids;\n");
    let finished = with_environment(daglight, &server).args(["--format", "csv"]).finish().ended_with(0);
    assert!(finished.stdout.contains("s\n55\n"), "{}", finished.stdout);
    assert_eq!(
        files_with(&checkout.path().join("out/run_bundle"), S3Server::SECRET_KEY),
        Vec::<String>::new()
    );
}

/// DataFusion drops what the store says to the end of a file of text, and reports another error.
#[test]
fn a_refused_text_file_says_what_the_store_has_answered() {
    let server = S3Server::start(false);
    let wrong = options(&server).replace(S3Server::SECRET_KEY, "zqmkAnotherSecretKey");
    let (_checkout, daglight) = run(&format!("COPY (SELECT 1 AS a) TO 's3://lake/x.csv' {wrong};"));
    let report = daglight.args(["--json"]).finish().report(1);
    let refused = report["error"]["message"].as_str().expect("a text");
    assert!(refused.contains("SignatureDoesNotMatch") || refused.contains("403"), "{refused}");
}

#[test]
fn a_wrong_key_or_option_is_one_error_that_names_the_statement() {
    let server = S3Server::start(false);
    let wrong = options(&server).replace(S3Server::SECRET_KEY, "zqmkAnotherSecretKey");
    let error_of = |script: &str| {
        let (_checkout, daglight) = run(script);
        let finished = daglight.args(["--json"]).finish();
        assert!(!finished.stderr.contains("zqmkAnother"), "{}", finished.stderr);
        let report = finished.report(1);
        assert_eq!(report["error"]["line"], 1, "{report:#}");
        // Asked for the files before, the store has refused in the same way, which is not said again.
        assert_eq!(report["warnings"], json!([]), "{report:#}");
        report["error"]["message"].as_str().expect("a text").to_owned()
    };
    let refused = error_of(&format!("COPY (SELECT 1 AS a) TO 's3://lake/x.parquet' {wrong};"));
    assert!(refused.contains("SignatureDoesNotMatch") || refused.contains("403"), "{refused}");
    let create = "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://lake/x.parquet'";
    let (_checkout, daglight) = run("SELECT * FROM 's3://lake/x.csv';");
    let report = with_environment(daglight, &server).args(["--json"]).finish().report(1);
    let missing = report["error"]["message"].as_str().expect("a text");
    assert!(missing.contains("s3://lake/x.csv") && !missing.contains("table"), "{missing}");
    let unknown = error_of(&format!("{create} OPTIONS ('aws.acces_key_id' 'a');\nSELECT * FROM t;"));
    assert!(unknown.contains("'aws.acces_key_id'"), "{unknown}");
    let plain = error_of(&format!("{create} OPTIONS ('aws.endpoint' '{}');\nSELECT * FROM t;", server.url()));
    assert!(plain.contains("aws.allow_http"), "{plain}");
}

#[test]
fn files_on_a_web_server_are_read() {
    let server = S3Server::start(true);
    fs::write(server.file("people.csv"), "name,age\nann,3\nbob,4\n").expect("a file");
    let (_checkout, daglight) = run(&format!(
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{}/lake/people.csv';\n\
         SELECT sum(age) AS s FROM people;\n",
        server.url()
    ));
    let finished = daglight.args(["--format", "csv"]).finish().ended_with(0);
    assert!(finished.stdout.contains("s\n7\n"), "{}", finished.stdout);
}
