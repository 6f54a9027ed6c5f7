//! What is otherwise than in the last good run.

use std::fs;

use daglight_system_tests::{Checkout, Daglight};
use serde_json::Value;

use super::{Planted, in_default_settings::findings};

/// The findings of a run that are said against the last good one: kind, node and summary.
fn against_the_last_run(findings: &[Value]) -> Vec<(String, String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let kinds = ["rows-lost", "row-drift", "schema-drift"];
    let found = findings.iter().filter(|finding| kinds.contains(&&*text(finding, "kind")));
    found.map(|finding| (text(finding, "kind"), text(finding, "node"), text(finding, "summary"))).collect()
}

#[test]
fn what_is_otherwise_than_in_the_last_good_run_is_found() {
    let checkout = Checkout::new();
    let file = |name: &str, text: String| fs::write(checkout.path().join(name), text).expect("a file");
    let customers = |prefix: &str, rows: u32| {
        let lines = (0..rows).map(|id| format!("{prefix}{id},DE\n")).collect::<String>();
        file("customers.csv", format!("customer,country\n{lines}"));
    };
    let orders = |rows: u32| {
        let lines = (0..rows).map(|id| format!("{id},C{},{}\n", id % 500, id % 100)).collect::<String>();
        file("orders.csv", format!("id,customer,amount\n{lines}"));
    };
    let sql = "CREATE EXTERNAL TABLE customers STORED AS CSV LOCATION 'customers.csv' OPTIONS ('format.has_header' 'true');
               CREATE EXTERNAL TABLE orders STORED AS CSV LOCATION 'orders.csv' OPTIONS ('format.has_header' 'true');
               CREATE TABLE large AS SELECT * FROM orders WHERE amount >= 50;
               CREATE TABLE joined AS SELECT o.*, c.country FROM large o JOIN customers c ON o.customer = c.customer;
               COPY (SELECT country, count(*) AS n FROM joined GROUP BY country) TO 'out-totals/totals.parquet';";
    let run = || against_the_last_run(&findings(&checkout, sql, &[], 0));
    customers("C", 500);
    orders(4_000);
    assert_eq!(run(), []);
    assert_eq!(run(), [], "the same once more");
    // A join by a key that is written in another way.
    customers("c-", 500);
    let lost = run();
    let summary = "HashJoinExec in node joined returned 0 rows from 500 and 2,000. \
                   At the rate of the last good run it would have been 2,000.";
    assert_eq!(lost[0], ("rows-lost".to_owned(), "joined".to_owned(), summary.to_owned()), "{lost:#?}");
    assert_eq!(lost.len(), 1, "what follows from it is not found again: {lost:#?}");
    // An old run is compared with the one before it, whatever came later.
    customers("C", 500);
    run();
    let old = Daglight::new(&checkout, ["status", "out", "--json"]).finish().report(0);
    let ids: Vec<&str> =
        old.as_array().expect("a list").iter().filter_map(|run| run["run_id"].as_str()).collect();
    let report = |id: &str| Daglight::new(&checkout, ["report", id, "--json"]).finish().report(0);
    let mut ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    ids.sort();
    assert_eq!(ids.len(), 4, "{old:#}");
    assert_eq!(report(&format!("out/run_bundle/{}", ids[0]))["since"], Value::Null);
    assert_eq!(report(&format!("out/run_bundle/{}", ids[2]))["since"]["run_id"], ids[1]);
    // A source with a part of its rows, and one with another column.
    orders(400);
    file("customers.csv", "customer,land\nC1,DE\n".to_owned());
    let failed = findings(&checkout, sql, &[], 1);
    let drift = (
        "row-drift".to_owned(),
        "large".to_owned(),
        "Node large returned 200 rows; in the last good run it was 2,000.".to_owned(),
    );
    assert_eq!(against_the_last_run(&failed), [drift], "{failed:#?}");
}

#[test]
fn a_column_with_another_name_is_found() {
    let planted = Planted::new("");
    let write = |kind: &str| {
        planted.run(&format!(
            "COPY (SELECT value AS id, value % 10 AS {kind} FROM generate_series(1, 1000)) TO 'out-a/a.parquet';
             COPY (SELECT value AS id FROM generate_series(1, 1000)) TO 'out-b/b.parquet';"
        ))
    };
    write("kind").nothing_but(&[]);
    write("kind").nothing_but(&[]);
    let ran = write("sort");
    let found = ran.only("schema-drift", &[]);
    let summary =
        "Output a lost column kind Int64 and has the new column sort Int64 since the last good run.";
    found.says(Some("a_parquet"), None, &[summary]).has("columns gone", 1.0).has("columns new", 1.0);
    assert_eq!(found.level(), "warning");
}
