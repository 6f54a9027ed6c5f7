//! A healthy run.

use daglight_system_tests::{Checkout, generate_tpch, tpch_query};

use super::{in_default_settings::findings, planted::OF_THE_MACHINE};

#[test]
fn a_healthy_run_has_no_findings() {
    let checkout = Checkout::new();
    let data = checkout.path().join("tpch");
    generate_tpch(&data, 0.1, |_, _| ()).expect("the tables of TPC-H");
    let mut sql = String::new();
    for table in ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"] {
        let path = data.join(format!("{table}.parquet"));
        sql += &format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}';\n", path.display());
    }
    // The fifteenth is a view and a query of it.
    for number in (1..=22).filter(|number| *number != 15) {
        let query = tpch_query(number).expect("a query of TPC-H");
        sql += &format!("CREATE TABLE q{number} AS {};\n", query.trim().trim_end_matches(';'));
    }
    findings(&checkout, &sql, &["--jobs", "2"], 0);
    // Once more, so that it has a last run as well.
    let mut found = findings(&checkout, &sql, &["--jobs", "2"], 0);
    // Benches measure what Daglight costs.
    found.retain(|finding| finding["kind"].as_str().is_some_and(|kind| !OF_THE_MACHINE.contains(&kind)));
    assert!(found.is_empty(), "{found:#?}");
}
