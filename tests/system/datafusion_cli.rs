//! What `datafusion-cli` does with a script, where DataFusion alone does something else.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Finished};

fn run(checkout: &Checkout, arguments: &[&str]) -> Daglight {
    Daglight::new(checkout, ["run", "--quiet", "--output-dir", "out"])
        .args(arguments)
        .env("HAMILTON_TRACKER_ENABLED", "false")
}

/// The rows of one statement after the other as CSV, or all that is printed of statements that are not queries.
fn rows_of(sql: &str) -> String {
    run(&Checkout::new(), &["--format", "csv", "-c", sql]).finish().ended_with(0).stdout
}

/// What a script prints whose standard input has this text.
fn with_input(text: &str, arguments: &[&str]) -> Finished {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("input"), text).expect("the file can be written");
    run(&checkout, arguments).through("sh", &["-c", r#"cat input | "$@""#, "sh"]).finish()
}

#[test]
fn a_query_of_the_information_schema_sees_what_stands_above_it_whatever_runs_at_once() {
    let sql =
        "CREATE TABLE a AS SELECT count(DISTINCT md5(value::varchar)) AS n FROM generate_series(1, 100000);
        CREATE VIEW b AS SELECT 1 AS x;
        SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1;
        CREATE TABLE c AS SELECT 2 AS y;
        SELECT count(*) AS columns FROM information_schema.columns WHERE table_schema = 'public'";
    let finished =
        run(&Checkout::new(), &["--jobs", "4", "--format", "csv", "-c", sql]).finish().ended_with(0);
    assert_eq!(finished.stdout, "table_name\na\nb\ncolumns\n3\n");
}

#[test]
fn standard_input_is_a_table() {
    let table =
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/dev/stdin' OPTIONS (format.has_header true);";
    // Twice, though a pipe can be read once.
    let sql = format!("{table} {} SELECT sum(t.a) AS s FROM t, u", table.replace(" t ", " u "));
    let finished = with_input("a,b\n1,x\n2,y\n", &["--format", "csv", "-c", &sql]);
    assert_eq!(finished.ended_with(0).stdout, "s\n6\n");
    let other = format!("{table} CREATE EXTERNAL TABLE u STORED AS JSON LOCATION '/dev/stdin'");
    let finished = with_input("a\n1\n", &["-c", &other]).ended_with(1);
    assert!(finished.stderr.contains("stored in another format"), "{}", finished.stderr);
    let finished = with_input(table, &["-"]).ended_with(1);
    assert!(finished.stderr.contains("standard input has the script"), "{}", finished.stderr);
}

#[test]
fn lines_that_name_an_interpreter_are_no_sql() {
    let checkout = Checkout::new();
    let sql = "#!/usr/bin/env -S daglight run\nSELECT '\n#! kept' AS a;\n#! don't\nSELECT 2 AS b";
    checkout.pipeline("a.sql", sql);
    let finished = run(&checkout, &["--format", "json", "-f", "a.sql"]).finish().ended_with(0);
    assert_eq!(finished.stdout, "[{\"a\":\"\\n#! kept\"}]\n[{\"b\":2}]\n");
}

#[test]
fn the_folder_of_the_user_is_in_names_of_files() {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("t.csv"), "a\n7\n").expect("the file can be written");
    let finished = run(&checkout, &["--format", "csv", "-c", "SELECT * FROM '~/t.csv'"]);
    let finished = finished.env("HOME", checkout.path()).finish().ended_with(0);
    assert_eq!(finished.stdout, "a\n7\n");
}

#[test]
fn tables_are_printed_as_the_settings_of_the_session_say() {
    let sql = "SET datafusion.format.null = '-'; SET datafusion.format.date_format = '%d.%m.%Y';
        SET datafusion.format.types_info = true; SELECT null AS n, date '2024-01-02' AS d";
    let finished = run(&Checkout::new(), &["-c", sql]).finish().ended_with(0);
    let lines: Vec<&str> = finished.stdout.lines().skip(2).collect();
    let expected =
        ["| n    | d          |", "| Null | Date32     |", "+------+------------+", "| -    | 02.01.2024 |"];
    assert_eq!(lines[..4], expected);
}

#[test]
fn what_the_engine_says_is_printed_whole() {
    let checkout = Checkout::new();
    let settings = run(&checkout, &["-c", "SHOW ALL"]).finish().ended_with(0).stdout;
    assert!(settings.contains("datafusion.sql_parser.") && !settings.contains('…'), "{settings}");
    let plan = run(&checkout, &["-c", "EXPLAIN SELECT 1 + value FROM generate_series(1, 3)"]);
    let plan = plan.finish().ended_with(0).stdout;
    assert!(plan.contains('┌'), "{plan}");
    let plan = run(&checkout, &["-c", "EXPLAIN SELECT 1"]).env("DATAFUSION_EXPLAIN_FORMAT", "indent");
    let plan = plan.finish().ended_with(0).stdout;
    assert!(plan.contains("logical_plan") && !plan.contains('┌'), "{plan}");
}

#[test]
fn what_is_analyzed_is_run() {
    let rows = rows_of("EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO 'a.csv'; SELECT * FROM 'a.csv'");
    assert!(rows.ends_with("\na\n1\n"), "{rows}");
}

/// Numbered nodes have another number behind a statement that was added.
#[test]
fn a_retry_runs_what_was_added_and_not_what_was_done() {
    let checkout = Checkout::new();
    let table =
        "CREATE EXTERNAL TABLE d (a INT) STORED AS CSV LOCATION 'd/' OPTIONS ('format.has_header' 'true')";
    fs::create_dir(checkout.path().join("d")).expect("the folder can be made");
    checkout.pipeline("a.sql", &format!("{table}; INSERT INTO d VALUES (1); SELECT 1 / 0"));
    run(&checkout, &["a.sql"]).finish().ended_with(1);
    let repaired = format!(
        "{table}; INSERT INTO d VALUES (0); INSERT INTO d VALUES (1); SELECT count(*) AS n, sum(a) AS s FROM d"
    );
    checkout.pipeline("a.sql", &repaired);
    let finished = run(&checkout, &["--retry", "out", "--format", "csv", "a.sql"]).finish().ended_with(0);
    assert_eq!(finished.stdout, "n,s\n2,1\n");
    assert!(finished.stderr.contains("d_insert"), "{}", finished.stderr);
}
