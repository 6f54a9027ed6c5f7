//! Memory that was short.

use super::in_default_settings::check;

#[test]
fn spill_is_found() {
    let sql = "SET datafusion.runtime.memory_limit = '40M';
               SET datafusion.execution.target_partitions = 1;
               CREATE VIEW wide AS SELECT value AS id, repeat(CAST(value AS VARCHAR), 20) AS t
                   FROM generate_series(1, 400000);
               COPY (SELECT * FROM wide ORDER BY t) TO 'out-sorted/sorted.parquet';";
    check(
        sql,
        0,
        "spill",
        Some("sorted_parquet"),
        "Memory was short: SortExec in node sorted_parquet spilled",
        &["single-threaded", "slow-write"],
    );
}

#[test]
fn a_query_that_fails_for_want_of_memory_is_found() {
    let sql = "SET datafusion.runtime.memory_limit = '1M';
               CREATE TABLE many AS SELECT value % 300000 AS k, count(*) AS n
                   FROM generate_series(1, 600000) GROUP BY value % 300000 ORDER BY n, k;";
    check(
        sql,
        1,
        "memory-pressure",
        Some("many"),
        "Node many failed, because the memory that it may use was used up",
        &["spill"],
    );
}
