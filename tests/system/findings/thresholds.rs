//! Thresholds are settings.

use std::fs;

use daglight_system_tests::{Checkout, Daglight};

use super::in_default_settings::findings;

#[test]
fn thresholds_are_settings() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE a AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 600);
               CREATE TABLE b AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 500);
               CREATE TABLE pairs AS SELECT max(a.id + b.id) AS n FROM a JOIN b ON a.k = b.k;";
    let explodes = |checkout: &Checkout| {
        let found = findings(checkout, sql, &[], 0);
        found.iter().any(|finding| finding["kind"] == "exploding-join")
    };
    assert!(!explodes(&checkout));
    let settings = "[findings]\nexplosion_rows = 1000\nmin_ms = 0.0\nmin_share = 0.0\n";
    fs::write(checkout.path().join("daglight.toml"), settings).expect("a file");
    assert!(explodes(&checkout));
    // Afterwards the settings count that are there then.
    fs::write(checkout.path().join("daglight.toml"), "[findings]\nmax_per_kind = 0\n").expect("a file");
    let report = Daglight::new(&checkout, ["report", "out", "--json"]).finish().report(0);
    let found = report["findings"].as_array().expect("a list");
    assert!(found.iter().all(|finding| finding["kind"] != "exploding-join"), "{report:#}");
    fs::write(checkout.path().join("daglight.toml"), "[findings]\nexplosion_row = 1000\n").expect("a file");
    let wrong = Daglight::new(&checkout, ["run", "planted.sql"]).finish().ended_with(2);
    assert!(wrong.stderr.contains("explosion_rows"), "{}", wrong.stderr);
    // Who is on call needs the report, whatever is wrong with the settings.
    let report = Daglight::new(&checkout, ["report", "out"]).finish().ended_with(0);
    assert!(report.stderr.contains("findings are judged by the defaults"), "{}", report.stderr);
}
