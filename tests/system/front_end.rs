//! What scripts and options mean where it is easily misread: names in quotes, values that look like numbers, settings that go back.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Finished};

fn run(checkout: &Checkout, sql: &str, arguments: &[&str]) -> Finished {
    checkout.pipeline("answers.sql", sql);
    let command = ["run", "answers.sql", "--output-dir", "out"];
    Daglight::new(checkout, command).args(arguments).env("HAMILTON_TRACKER_ENABLED", "false").finish()
}

#[test]
fn values_and_rows_come_out_as_they_went_in() {
    let checkout = Checkout::new();
    let sql = "-- param: none = null\n\nSELECT $zip AS zip, 2 + $none AS none, '7' || $n AS n";
    let values = run(&checkout, sql, &["--format", "ndjson", "--param", "zip=01234", "--param", "n=007"]);
    let values = values.ended_with(0);
    assert_eq!(values.stdout, "{\"zip\":\"01234\",\"none\":null,\"n\":\"7007\"}\n");
}

#[test]
fn a_parameter_can_be_an_argument_of_a_table_function_in_every_statement() {
    let checkout = Checkout::new();
    let sql = "COPY (SELECT value AS v FROM generate_series(1, $n)) TO $out;
               CREATE TABLE made AS SELECT value AS v FROM generate_series(1, $n);
               SELECT (SELECT count(*) FROM made) AS made, count(*) AS copied FROM 'copied.csv'";
    let options = ["--format", "csv", "--param", "n=3", "--param", "out=copied.csv"];
    let counts = run(&checkout, sql, &options).ended_with(0);
    assert_eq!(counts.stdout, "made,copied\n3,3\n");
}

#[test]
fn a_reset_goes_back_to_what_options_say() {
    let checkout = Checkout::new();
    let sql = "SET datafusion.execution.target_partitions = 7;
               RESET datafusion.execution.target_partitions;
               RESET datafusion.runtime.memory_limit;
               RESET datafusion.runtime.temp_directory;
               SELECT name, value FROM information_schema.df_settings
               WHERE name IN ('datafusion.execution.target_partitions', 'datafusion.runtime.memory_limit')
                  OR name = 'datafusion.runtime.temp_directory' AND value NOT LIKE '%daglight-spill-%'
               ORDER BY name";
    let options = ["--threads", "3", "--memory-limit", "1536MB", "--format", "csv"];
    let settings = run(&checkout, sql, &options).ended_with(0);
    assert_eq!(
        settings.stdout,
        "name,value\ndatafusion.execution.target_partitions,3\ndatafusion.runtime.memory_limit,1G\n"
    );
}

#[test]
fn a_node_of_any_name_can_be_selected() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE \"late, all\" AS SELECT 1 AS x; CREATE TABLE other AS SELECT 2 AS x;
               SELECT x + 6 AS y FROM \"late, all\"";
    let selected = run(&checkout, sql, &["--select", "\"late, all\"+", "--json"]);
    let report = selected.report(0);
    let ran = report["nodes"].as_array().expect("a list").iter();
    let ran: Vec<&str> =
        ran.filter(|node| node["status"] == "success").filter_map(|node| node["name"].as_str()).collect();
    assert_eq!(ran, ["late, all", "output_1"]);
    let refused = run(&checkout, sql, &["--select", "\"late, al\""]).ended_with(2);
    assert!(refused.stderr.contains("\"late, all\""), "{}", refused.stderr);
}

#[test]
fn a_script_without_statements_is_run_like_any_other() {
    let checkout = Checkout::new();
    let empty = run(&checkout, "-- nothing to do today\n;", &[]).ended_with(0);
    assert!(empty.stderr.contains("answers.sql has no statement"), "{}", empty.stderr);
    let bundles: Vec<_> = fs::read_dir(checkout.path().join("out/run_bundle")).expect("a folder").collect();
    assert_eq!(bundles.len(), 1);
}
