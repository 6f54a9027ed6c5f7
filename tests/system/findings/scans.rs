//! Scans that open too many files, read what is not kept, or read again what was read before.

use super::Planted;

/// Nodes that do not need each other run one after another, and one core reads each file, which takes its time where others are
/// busy.
const MAY_COME: &[&str] = &["serial-nodes", "single-threaded"];

#[test]
fn many_small_files_of_a_format_that_counts_no_bytes_are_found() {
    let planted = Planted::new("min_ms = 1.0\nmin_share = 0.0");
    let rows = |from: u32, count: u32| (from..from + count).map(|id| format!("{id}\n")).collect::<String>();
    for file in 0..120 {
        planted.write(&format!("data/many/{file}.csv"), &rows(file * 100, 100));
    }
    planted.write("data/one/all.csv", &rows(0, 12_000));
    let ran = planted.run(
        "CREATE EXTERNAL TABLE many (id BIGINT) STORED AS CSV LOCATION 'data/many/' OPTIONS ('format.has_header' 'false');
         CREATE EXTERNAL TABLE one (id BIGINT) STORED AS CSV LOCATION 'data/one/' OPTIONS ('format.has_header' 'false');
         CREATE TABLE of_many AS SELECT sum(id) AS s FROM many;
         CREATE TABLE of_one AS SELECT sum(id) AS s FROM one;",
    );
    let bytes = (0..120).map(|file| planted.bytes(&format!("data/many/{file}.csv"))).sum();
    ran.only("many-small-files", MAY_COME)
        .says(Some("of_many"), Some("DataSourceExec (many)"), &["opened 120 files of "])
        .has("files", 120.0)
        .has("bytes of the files", bytes)
        .costs_at_most(ran.node_ms("of_many"));
}

/// Rows in the order of the filtered column, and the same in another order.
fn two_orders(planted: &Planted) {
    planted
        .run(
            "SET datafusion.execution.parquet.max_row_group_size = 20000;
             COPY (SELECT value AS id, value * 7919 % 200003 AS v FROM generate_series(1, 200000))
                 TO 'data/scattered.parquet' STORED AS PARQUET;
             COPY (SELECT value AS id, value AS v FROM generate_series(1, 200000) ORDER BY v)
                 TO 'data/sorted.parquet' STORED AS PARQUET;",
        )
        .nothing_but(&["serial-nodes", "slow-write"]);
}

#[test]
fn a_scan_of_all_rows_for_a_few_is_found() {
    let planted = Planted::new("scan_rows = 100_000\nmin_ms = 1.0\nmin_share = 0.0");
    two_orders(&planted);
    let ran = planted.run(
        "CREATE EXTERNAL TABLE scattered STORED AS PARQUET LOCATION 'data/scattered.parquet';
         CREATE EXTERNAL TABLE sorted STORED AS PARQUET LOCATION 'data/sorted.parquet';
         CREATE TABLE of_scattered AS SELECT id FROM scattered WHERE v BETWEEN 1000 AND 2000;
         CREATE TABLE of_sorted AS SELECT id FROM sorted WHERE v BETWEEN 1000 AND 2000;",
    );
    let kept = (1..=200_000_u64).filter(|id| (1_000..=2_000).contains(&(id * 7_919 % 200_003))).count();
    let found = ran.only("scan-keeps-little", MAY_COME);
    found
        .says(
            Some("of_scattered"),
            Some("DataSourceExec (scattered)"),
            &["no part of the files could be skipped"],
        )
        .has("rows read", 200_000.0)
        .has("rows kept", kept as f64)
        // Both columns, and not the footer.
        .has_between(
            "bytes read",
            0.9 * planted.bytes("data/scattered.parquet"),
            planted.bytes("data/scattered.parquet"),
        )
        .costs_at_most(ran.node_ms("of_scattered"));
}

#[test]
fn rows_of_a_text_file_that_are_not_kept_are_found() {
    let planted = Planted::new("scan_rows = 10_000\nmin_ms = 1.0\nmin_share = 0.0");
    for (name, rows) in [("long", 20_000), ("short", 9_000)] {
        let rows: String = (0..rows).map(|id| format!("{id},{}\n", id % 100)).collect();
        planted.write(&format!("data/{name}.csv"), &rows);
    }
    let scan = |name: &str| {
        format!(
            "CREATE EXTERNAL TABLE {name} (id BIGINT, v BIGINT) STORED AS CSV LOCATION 'data/{name}.csv'
                 OPTIONS ('format.has_header' 'false');
             CREATE TABLE of_{name} AS SELECT id FROM {name} WHERE v = 7;"
        )
    };
    let ran = planted.run(&(scan("long") + &scan("short")));
    let found = ran.only("scan-keeps-little", MAY_COME);
    found
        .says(
            Some("of_long"),
            Some("DataSourceExec (long)"),
            &["read 20,000 rows, and its filter kept 200 (1 %)"],
        )
        .has("rows kept", 200.0)
        .has("bytes read", planted.bytes("data/long.csv"));
}

#[test]
fn a_file_that_several_nodes_scan_in_the_same_way_is_found() {
    let planted = Planted::new("repeated_share = 0.0\nmin_ms = 1.0");
    for (name, rows) in [("often", 30_000), ("twice", 30_000)] {
        let rows: String = (0..rows).map(|id| format!("{id},{}\n", id % 100)).collect();
        planted.write(&format!("data/{name}.csv"), &rows);
    }
    let ran = planted.run(
        "CREATE EXTERNAL TABLE often (id BIGINT, v BIGINT) STORED AS CSV LOCATION 'data/often.csv'
             OPTIONS ('format.has_header' 'false');
         CREATE EXTERNAL TABLE twice (id BIGINT, v BIGINT) STORED AS CSV LOCATION 'data/twice.csv'
             OPTIONS ('format.has_header' 'false');
         -- Nothing above the scans is the same: that would be said instead of them.
         CREATE TABLE a AS SELECT sum(id) AS n FROM often;
         CREATE TABLE b AS SELECT max(id) AS n FROM often;
         CREATE TABLE c AS SELECT min(id) AS n FROM often;
         CREATE TABLE d AS SELECT sum(id) AS n FROM twice;
         CREATE TABLE e AS SELECT max(id) AS n FROM twice;",
    );
    let ms = ["a", "b", "c"].map(|node| ran.node_ms(node)).iter().sum();
    ran.only("repeated-scan", MAY_COME)
        .says(
            Some("a"),
            Some("DataSourceExec (often)"),
            &["often was scanned 3 times in the same way, by a, b, c"],
        )
        .has("scans", 3.0)
        .has("rows read", 90_000.0)
        .has("bytes read", 3.0 * planted.bytes("data/often.csv"))
        .costs_at_most(ms);
}
