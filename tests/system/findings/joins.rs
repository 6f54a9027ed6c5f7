//! Joins that return too much, compare everything, are built from the wrong side, or of which nothing was known.

use super::{Planted, in_default_settings::check};

#[test]
fn a_cross_join_is_found() {
    let sql = "CREATE TABLE a AS SELECT value AS id FROM generate_series(1, 6000);
               CREATE TABLE b AS SELECT value AS id FROM generate_series(1, 5000);
               CREATE TABLE pairs AS SELECT count(*) AS n FROM a JOIN b ON a.id > b.id + 5990;";
    check(
        sql,
        0,
        "cross-join",
        Some("pairs"),
        "NestedLoopJoinExec in node pairs compared all of 6,000 rows with all of 5,000",
        &[],
    );
}

#[test]
fn an_exploding_join_is_found() {
    let sql = "CREATE TABLE a AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 6000);
               CREATE TABLE b AS SELECT value AS id, value % 3 AS k FROM generate_series(1, 5000);
               CREATE TABLE pairs AS SELECT max(a.id + b.id) AS n FROM a JOIN b ON a.k = b.k;";
    check(
        sql,
        0,
        "exploding-join",
        Some("pairs"),
        "HashJoinExec in node pairs returned 10.0 M rows from 5,000 and 6,000",
        &["partition-skew"],
    );
}

#[test]
fn a_join_of_files_without_statistics_is_found() {
    let planted = Planted::new("min_ms = 1.0\nmin_share = 0.0");
    let lines = |rows: u32| (0..rows).map(|id| format!("{id},{}\n", id % 9)).collect::<String>();
    planted.write("data/a.csv", &lines(200_000));
    planted.write("data/b.csv", &lines(90_000));
    let ran = planted.run(
        "CREATE EXTERNAL TABLE a (k BIGINT, v BIGINT) STORED AS CSV LOCATION 'data/a.csv' OPTIONS ('has_header' 'false');
         CREATE EXTERNAL TABLE b (k BIGINT, v BIGINT) STORED AS CSV LOCATION 'data/b.csv' OPTIONS ('has_header' 'false');
         CREATE TABLE known AS SELECT * FROM a;
         CREATE TABLE of_files AS SELECT a.v, count(*) AS n FROM a JOIN b ON a.k = b.k GROUP BY a.v;
         CREATE TABLE of_tables AS SELECT b.v, count(*) AS n FROM known a JOIN b ON a.k = b.k GROUP BY b.v;",
    );
    // Fewer rows are not worth statistics, and a table in memory has them. One core reads each of the files.
    let found = ran.only("missing-statistics", &["serial-nodes", "single-threaded"]);
    found
        .says(Some("of_files"), Some("DataSourceExec (a)"), &["200,000 rows come from it"])
        .costs_at_most(ran.node_ms("of_files"));
}

#[test]
fn a_hash_table_of_the_larger_side_is_found() {
    let planted = Planted::new("min_ms = 1.0\nmin_share = 0.0");
    let ran = planted.run(
        "SET datafusion.optimizer.join_reordering = false;
         CREATE TABLE big AS SELECT value AS k, value % 10 AS v FROM generate_series(1, 300000);
         CREATE TABLE small AS SELECT value * 100 AS k FROM generate_series(1, 2000);
         CREATE TABLE of_big AS SELECT count(*) AS n FROM big JOIN small ON big.k = small.k;
         CREATE TABLE of_small AS SELECT count(*) AS n FROM small JOIN big ON big.k = small.k;",
    );
    ran.only("wrong-build-side", &["serial-nodes"])
        .says(
            Some("of_big"),
            Some("HashJoinExec"),
            &["built its hash table of 300,000 rows, and probed it with 2,000"],
        )
        .has("rows of the left side", 300_000.0)
        .has("rows of the right side", 2_000.0)
        .has("rows returned", 2_000.0)
        .has("rows expected of the left side", 300_000.0)
        .costs_at_most(ran.node_ms("of_big"));
}
