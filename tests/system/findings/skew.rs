//! Partitions with most of the rows.

use daglight_system_tests::Checkout;

use super::in_default_settings::{check, findings};

#[test]
fn a_key_that_few_partitions_have_is_found() {
    let sql = "SET datafusion.execution.target_partitions = 4;
               SET datafusion.optimizer.hash_join_single_partition_threshold = 0;
               SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 0;
               CREATE TABLE events AS SELECT CASE WHEN value % 100 = 0 THEN value ELSE 7 END AS k,
                   repeat(CAST(value AS VARCHAR), 10) AS t FROM generate_series(1, 600000);
               CREATE TABLE names AS SELECT value AS k, 'n' || CAST(value AS VARCHAR) AS name
                   FROM generate_series(1, 200000);
               CREATE TABLE joined AS SELECT max(length(repeat(t || name, 3))) AS longest
                   FROM events JOIN names ON events.k = names.k;";
    check(
        sql,
        0,
        "partition-skew",
        Some("joined"),
        " of its 600,000 rows in one of its 4 partitions (skew 99 %)",
        &[],
    );
}

#[test]
fn a_scan_of_files_that_cannot_be_divided_evenly_is_found() {
    let checkout = Checkout::new();
    let write =
        "COPY (SELECT value AS v, repeat(CAST(value AS VARCHAR), 20) AS t FROM generate_series(1, 400000))
                     TO 'out-one/one.parquet' STORED AS PARQUET;";
    let read = "SET datafusion.execution.target_partitions = 4;
                SET datafusion.optimizer.repartition_file_min_size = 1;
                CREATE EXTERNAL TABLE one STORED AS PARQUET LOCATION 'out-one/one.parquet';
                CREATE TABLE total AS SELECT max(length(t)) AS longest FROM one WHERE t LIKE '%9%';";
    findings(&checkout, write, &[], 0);
    let found = findings(&checkout, read, &[], 0);
    let skew = found.iter().find(|finding| finding["kind"] == "partition-skew");
    let skew = skew.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(
        (&skew["node"], &skew["operator"]),
        (&"total".into(), &"DataSourceExec (one)".into()),
        "{skew:#}"
    );
}
