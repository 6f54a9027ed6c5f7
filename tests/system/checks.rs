//! Checks of the rows of nodes: in the script, and wherever they are shown.

use std::fs;

use daglight_system_tests::{Checkout, Daglight, Finished, Hamilton, Page, attributes, decode_strictly};
use serde_json::{Value, json};

/// Without a server.
#[track_caller]
fn finished(checkout: &Checkout, sql: &str, arguments: &[&str]) -> Finished {
    let pipeline = checkout.pipeline("checks.sql", sql);
    Daglight::run(checkout, &pipeline).args(arguments).env("HAMILTON_TRACKER_ENABLED", "false").finish()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Each check with its node, severity, outcome and what was found.
fn checks(nodes: &Value) -> Vec<String> {
    let of_nodes =
        list(nodes).iter().flat_map(|node| list(&node["checks"]).iter().map(move |check| (node, check)));
    let shown = |value: &Value| value.as_str().expect("a text").to_owned();
    of_nodes
        .map(|(node, check)| {
            let fields =
                [&node["name"], &check["check"], &check["severity"], &check["outcome"], &check["message"]];
            fields.map(shown).join(" | ")
        })
        .collect()
}

fn bundle_file(checkout: &Checkout, report: &Value, file: &str) -> std::path::PathBuf {
    checkout.path().join(report["bundle"].as_str().expect("a bundle")).join(file)
}

const ORDERS: &str =
    "order_id,customer,amount,updated_at\n1,ann,5,1970-01-01\n2,bob,7,2999-01-01\n2,,-1,1970-01-01\n";

const SCRIPT: &str = "\
-- Orders, as they come.
-- expect: rows > 0
-- expect(warn): unique(order_id)
-- expect(warn): not_null(customer)
CREATE EXTERNAL TABLE orders STORED AS CSV LOCATION 'orders.csv' OPTIONS ('format.has_header' 'true');
-- expect(warn): amount >= 0
-- expect: freshness(updated_at) < 2 days
CREATE TABLE paid AS SELECT order_id, amount, updated_at FROM orders;
-- expect: not_null(amount)
-- expect(warn): freshness(updated_at) < 1 week
CREATE VIEW old AS SELECT * FROM paid WHERE updated_at < '2000-01-01';
-- expect: rows between 1 and 2
COPY old TO 'old.parquet';
-- expect: unique(order_id, amount)
-- expect: amount > 100
SELECT * FROM paid ORDER BY amount;
SELECT count(*) FROM paid;
";

const FOUND: [&str; 10] = [
    "orders | rows > 0 | fail | passed | there are 3 rows",
    "orders | unique(order_id) | warn | failed | 1 of 3 rows repeats a key",
    "orders | not_null(customer) | warn | failed | 1 of 3 rows has a null value",
    "paid | amount >= 0 | warn | failed | 1 of 3 rows breaks it",
    "paid | freshness(updated_at) < 2 days | fail | passed | the newest value is less than a second old",
    "old | not_null(amount) | fail | passed | it holds for 2 rows",
    "old | freshness(updated_at) < 1 week | warn | failed | the newest value is ",
    "old_parquet | rows between 1 and 2 | fail | passed | there are 2 rows",
    "output_1 | unique(order_id, amount) | fail | passed | it holds for 3 rows",
    "output_1 | amount > 100 | fail | failed | 3 of 3 rows break it",
];

#[track_caller]
fn check_found(found: &[String]) {
    assert_eq!(found.len(), FOUND.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(FOUND) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn what_became_of_checks_is_shown_wherever_the_run_is() {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("orders.csv"), ORDERS).expect("a file");
    let pipeline = checkout.pipeline("checks.sql", SCRIPT);
    let hamilton = Hamilton::take();
    let project = hamilton.project("checks");
    let finished = Daglight::run(&checkout, &pipeline).tracked_in(&project).finish();
    let report = finished.report(1);
    check_found(&checks(&report["nodes"]));
    let error = &report["error"];
    assert_eq!(error["message"], "data check failed: amount > 100: 3 of 3 rows break it", "{error:#}");
    assert_eq!((&error["node"], &error["line"]), (&json!("output_1"), &json!(15)), "{error:#}");
    let stderr = &finished.stderr;
    for expected in [
        "checks.sql:15:4: output_1: data check failed: amount > 100: 3 of 3 rows break it\n15 | -- expect: amount > 100\n",
        "node orders: data check failed: unique(order_id): 1 of 3 rows repeats a key",
        "node paid: data check failed: amount >= 0: 1 of 3 rows breaks it",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in {stderr}");
    }
    // What is behind the node that failed did not run; what it made before is there.
    let status = |name: &str| {
        let node = list(&report["nodes"]).iter().find(|node| node["name"] == name);
        node.map(|node| node["status"].clone()).expect("a node")
    };
    assert_eq!((status("output_1"), status("output_2")), (json!("failure"), json!("not_run")));
    assert!(checkout.path().join("old.parquet").exists());

    let read = |file: &str| fs::read_to_string(bundle_file(&checkout, &report, file)).expect("a file");
    let manifest: Value = serde_json::from_str(&read("manifest.json")).expect("JSON");
    check_found(&checks(&manifest["nodes"]));
    let diagnosed: Value = serde_json::from_str(&read("run_diagnostics_report.json")).expect("JSON");
    check_found(&checks(&diagnosed["nodes"]));
    let findings: Vec<&Value> =
        list(&diagnosed["findings"]).iter().filter(|finding| finding["kind"] == "data-check").collect();
    assert_eq!((findings.len(), &findings[0]["level"]), (3, &json!("bad")), "{findings:#?}");
    let page = read("run_diagnostics_report.md");
    assert!(page.contains("## Data checks") && page.contains("`unique(order_id)`"), "{page}");

    let spans = decode_strictly(&bundle_file(&checkout, &report, "otel_traces.json"), "traces");
    let events: Vec<Value> = spans
        .iter()
        .flat_map(|span| list(&span["events"]).to_vec())
        .filter(|event| event["name"] == "data_check")
        .collect();
    assert_eq!(events.len(), FOUND.len(), "{events:#?}");
    let last = attributes(&events[9]);
    assert_eq!(last["daglight.check.text"], "amount > 100");
    assert_eq!(last["daglight.check.outcome"], "failed");
    assert_eq!(last["daglight.check.severity"], "fail");
    assert_eq!((&last["daglight.check.rows"], &last["daglight.check.failing"]), (&json!(3), &json!(3)));

    let run = hamilton.run(&hamilton.runs(&project)[0]["id"]);
    let of_paid = list(&run["node_runs"]).iter().find(|node| node["node_name"] == "paid").expect("a node");
    let shown = list(&of_paid["attributes"]).iter().find(|attribute| attribute["name"] == "data_checks");
    let table = shown.expect("the attribute")["value"].to_string();
    assert!(table.contains("amount &gt;= 0") && table.contains("1 of 3 rows breaks it"), "{table}");
    let page = Page::logged_in(hamilton.url());
    page.open(&format!("{}/task/paid", report["links"]["hamilton_run"].as_str().expect("a link")));
    page.shows(&["Data checks", "amount >= 0", "1 of 3 rows breaks it", "freshness(updated_at) < 2 days"]);
    page.screenshot("checks");
}

/// The only run in the folder `out`.
fn manifest(checkout: &Checkout) -> Value {
    let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).expect("a folder");
    let bundles: Vec<_> = bundles.map(|bundle| bundle.expect("an entry").path()).collect();
    let [bundle] = &bundles[..] else { panic!("{bundles:?}") };
    serde_json::from_str(&fs::read_to_string(bundle.join("manifest.json")).expect("a file")).expect("JSON")
}

#[test]
fn checks_change_no_result_and_make_another_version() {
    let sql = "CREATE TABLE t AS SELECT value AS id, value % 7 AS k FROM generate_series(1, 20000);
{checks}CREATE TABLE u AS SELECT k, count(*) AS n FROM t GROUP BY k;
{checks}COPY u TO 'u.csv' STORED AS CSV;
{checks}INSERT INTO u SELECT k + 10, n FROM u;
PREPARE p AS SELECT * FROM u WHERE k > $1 ORDER BY k;
{checks}EXECUTE p(3);
{checks}CREATE VIEW v AS SELECT * FROM u;";
    let of = |checks: &str| {
        let checkout = Checkout::new();
        checkout.pipeline("checks.sql", &sql.replace("{checks}", checks));
        let finished =
            Daglight::new(&checkout, ["run", "checks.sql", "--output-dir", "out", "--format", "csv"])
                .env("HAMILTON_TRACKER_ENABLED", "false")
                .finish()
                .ended_with(0);
        let written = fs::read_to_string(checkout.path().join("u.csv")).expect("a file");
        let mut lines: Vec<String> = written.lines().map(str::to_owned).collect();
        lines.sort();
        let manifest = manifest(&checkout);
        let facts = |node: &Value| json!([node["name"], node["rows"], node["bytes"], node["plan_hashes"]]);
        let nodes: Vec<Value> = list(&manifest["nodes"]).iter().map(facts).collect();
        (finished.stdout, lines, nodes, manifest)
    };
    let (rows, written, nodes, plain) = of("");
    let (checked_rows, checked_written, checked_nodes, checked) =
        of("-- expect: unique(k)\n-- expect: n > 0\n-- expect(warn): rows >= 7\n-- expect: not_null(k, n)\n");
    assert_eq!((checked_rows, checked_written, checked_nodes), (rows, written, nodes));
    let outcomes = checks(&checked["nodes"]);
    let expected =
        [("u", 7), ("u_csv", 7), ("u_insert", 7), ("output_1", 10), ("v", 14)].map(|(node, rows)| {
            [
                format!("{node} | unique(k) | fail | passed | it holds for {rows} rows"),
                format!("{node} | n > 0 | fail | passed | it holds for {rows} rows"),
                format!("{node} | rows >= 7 | warn | passed | there are {rows} rows"),
                format!("{node} | not_null(k, n) | fail | passed | it holds for {rows} rows"),
            ]
        });
    assert_eq!(outcomes, expected.concat());
    let hash = |manifest: &Value, name: &str| manifest["identity"][name].clone();
    assert_eq!(hash(&plain, "dag_hash"), hash(&checked, "dag_hash"));
    assert_ne!(hash(&plain, "code_hash"), hash(&checked, "code_hash"));
}

#[test]
fn a_check_that_does_not_fit_is_an_error_at_its_place() {
    for (sql, line, message) in [
        (
            "CREATE TABLE t AS SELECT 1 AS id;\n-- expect: unique(ids)\nCOPY t TO 't.csv'",
            "checks.sql:2:4: t_csv:",
            "there is no column \"ids\": the node has \"id\"",
        ),
        ("-- expect: ids > 0\nSELECT 1 AS id", "checks.sql:1:4: output_1:", "No field named ids"),
        (
            "-- expect: sum(id) > 0\nCREATE VIEW t AS SELECT 1 AS id",
            "checks.sql:1:4: t:",
            "a condition applies to one row",
        ),
        (
            "PREPARE p AS SELECT 1 AS id;\n-- expect: not_null(name)\nEXECUTE p;",
            "checks.sql:2:4: output_1:",
            "there is no column \"name\"",
        ),
        (
            "CREATE TABLE t (id INT);\n-- expect: freshness(id) < 1 day\nINSERT INTO t VALUES (1)",
            "checks.sql:2:4: t_insert:",
            "a freshness needs a date or a timestamp",
        ),
    ] {
        let checkout = Checkout::new();
        let finished = finished(&checkout, sql, &[]).ended_with(1);
        let error = finished.stderr.lines().find(|text| text.starts_with("error: ")).expect("an error");
        assert!(error.contains(line) && error.contains(message), "{sql}: {}", finished.stderr);
        assert!(!checkout.path().join("t.csv").exists(), "{sql}");
    }
    let refused =
        finished(&Checkout::new(), "SELECT 1;\n-- expect: unique(id\nSELECT 1 AS id", &[]).ended_with(2);
    assert!(
        refused.stderr.contains("checks.sql:2:21: `unique` takes names of columns"),
        "{}",
        refused.stderr
    );
}

#[test]
fn without_the_failed_node_the_rest_goes_on_where_asked() {
    let sql = "-- expect: rows > 5
CREATE TABLE few AS SELECT 1 AS x;
CREATE TABLE more AS SELECT * FROM few;
SELECT 2 AS two;";
    let report = finished(&Checkout::new(), sql, &["--keep-going"]).report(1);
    let statuses: Vec<&Value> = list(&report["nodes"]).iter().map(|node| &node["status"]).collect();
    assert_eq!(statuses, ["failure", "not_run", "success"]);
    assert_eq!(report["error"]["message"], "data check failed: rows > 5: there is 1 row");
}

#[test]
fn of_a_query_whose_check_fails_the_rows_are_shown() {
    let checkout = Checkout::new();
    checkout.pipeline("checks.sql", "-- expect: x > 1\nSELECT 1 AS x");
    let finished = Daglight::new(&checkout, ["run", "checks.sql", "--output-dir", "out"])
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .ended_with(1);
    assert!(finished.stdout.contains("| x |\n+---+\n| 1 |"), "{}", finished.stdout);
    assert!(finished.stderr.contains("; checks: 1 failed"), "{}", finished.stderr);
}

#[test]
fn all_failed_checks_are_in_the_error_and_none_is_a_warning() {
    let checkout = Checkout::new();
    checkout.pipeline("checks.sql", "-- expect: x > 1\n-- expect: rows > 5\nSELECT 1 AS x");
    let finished = Daglight::new(&checkout, ["run", "checks.sql", "--output-dir", "out"])
        .env("HAMILTON_TRACKER_ENABLED", "false")
        .finish()
        .ended_with(1);
    let stderr = &finished.stderr;
    let (_, error) = stderr.split_once("error: checks.sql:1:4: ").expect("an error");
    for found in ["data check failed: x > 1: 1 of 1 row", "data check failed: rows > 5: there is 1 row"] {
        assert!(error.contains(found), "{stderr}");
    }
    assert!(!stderr.contains("WARN"), "{stderr}");
}

#[test]
fn a_plan_shows_the_checks_of_each_node() {
    let checkout = Checkout::new();
    checkout.pipeline(
        "checks.sql",
        "-- expect: rows > 0\n-- expect(warn): name <> 'zqmark'\nCREATE TABLE few AS SELECT 'a' AS name;\nSELECT 1 AS one;\n",
    );
    let plan = |arguments: &[&str]| {
        Daglight::new(&checkout, ["plan", "checks.sql"]).args(arguments).finish().ended_with(0).stdout
    };
    let tree = plan(&[]);
    assert!(tree.contains("checks.sql:3  expect: rows > 0; name <> 'zqmark' (warn)\n"), "{tree}");
    let document: Value = serde_json::from_str(&plan(&["--json"])).expect("JSON");
    assert_eq!(
        document["nodes"][0]["checks"],
        json!([
            {"check": "rows > 0", "severity": "fail", "line": 1},
            {"check": "name <> 'zqmark'", "severity": "warn", "line": 2},
        ])
    );
    assert_eq!(document["nodes"][1]["checks"], json!([]));
    for format in ["tree", "json"] {
        let shown = plan(&["--profile", "prod", "--format", format]);
        assert!(shown.contains("rows > ") && !shown.contains("zqmark"), "{shown}");
    }
}

/// As for `DISTINCT`.
#[test]
fn the_two_zeros_are_one_key() {
    let checkout = Checkout::new();
    let sql = "-- expect(warn): unique(f)\nSELECT * FROM (VALUES (0.0::double), (-0.0::double), (1.0::double)) AS t(f)";
    let report = finished(&checkout, sql, &[]).report(0);
    assert_eq!(
        checks(&report["nodes"]),
        ["output_1 | unique(f) | warn | failed | 1 of 3 rows repeats a key"]
    );
}

/// They are replaced by others before anything is computed, as in a query.
#[test]
fn a_check_may_call_functions_that_the_optimizer_replaces() {
    let checkout = Checkout::new();
    let sql = "\
-- expect: coalesce(a, 0) > 0
-- expect: nvl(a, 1) = 1
-- expect: d <= current_date
-- expect(warn): t > now() - interval '1 day'
CREATE TABLE v AS SELECT 1 AS a, date '2020-01-01' AS d, timestamp '2020-01-01' AS t";
    let report = finished(&checkout, sql, &[]).report(0);
    let expected = [
        "v | coalesce(a, 0) > 0 | fail | passed | it holds for 1 row",
        "v | nvl(a, 1) = 1 | fail | passed | it holds for 1 row",
        "v | d <= current_date | fail | passed | it holds for 1 row",
        "v | t > now() - interval '1 day' | warn | failed | 1 of 1 row breaks it",
    ];
    assert_eq!(checks(&report["nodes"]), expected);
}
