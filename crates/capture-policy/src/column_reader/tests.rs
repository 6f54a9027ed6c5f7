//! Columns that are recognised through `*`, joins and other names.

use crate::redact::Redactor;

const TABLES: &str = "CREATE TABLE a (x INT, y INT);
    CREATE TABLE b AS SELECT 'n' AS name, 'p' AS password, 1 AS n;
    CREATE TABLE c (q INT, api_key VARCHAR);
    CREATE TABLE d (name VARCHAR, x INT, password VARCHAR, n INT);
    CREATE TABLE e AS SELECT a.y, c.api_key, a.x FROM a, c;";

/// Of the rows that are inserted into the result of a query, `zq` must not be shown.
#[track_caller]
fn check(query: &str, row: &str) {
    let redactor = Redactor::default();
    redactor.learn(&format!("{TABLES} CREATE TABLE t AS {query};"));
    let shown = redactor.sql_text(&format!("INSERT INTO t VALUES ({row})"));
    let expected = row.split(", ").map(|value| match value.contains("zq") {
        true => "'[redacted]'",
        false => value,
    });
    let expected: Vec<&str> = expected.collect();
    assert_eq!(shown, format!("INSERT INTO t VALUES ({})", expected.join(", ")), "{query}");
}

#[test]
fn a_star_has_the_columns_of_each_table() {
    for (query, row) in [
        ("SELECT * FROM b", "'b', 'zq1', 3"),
        ("SELECT a.*, b.* FROM a JOIN b ON a.x = b.n", "1, 2, 'b', 'zq1', 3"),
        ("SELECT b.*, a.* FROM a JOIN b ON a.x = b.n", "'b', 'zq1', 3, 1, 2"),
        ("SELECT * FROM a, b, c", "1, 2, 'b', 'zq1', 3, 4, 'zq2'"),
        (
            "SELECT * FROM a CROSS JOIN b LEFT JOIN c ON c.q = a.x WHERE a.x > 1",
            "1, 2, 'b', 'zq1', 3, 4, 'zq2'",
        ),
        (
            "SELECT * FROM a JOIN b ON (a.x = b.n) LEFT JOIN c ON (c.q = (a.x))",
            "1, 2, 'b', 'zq1', 3, 4, 'zq2'",
        ),
        ("SELECT one.*, two.* FROM a AS one, b two", "1, 2, 'b', 'zq1', 3"),
        ("SELECT x, c.*, y FROM a, c", "1, 4, 'zq2', 2"),
        ("SELECT * FROM a, (SELECT name, password FROM b) AS s", "1, 2, 'b', 'zq1'"),
        ("WITH w AS (SELECT a.*, b.password FROM a, b) SELECT 1, w.* FROM w", "0, 1, 2, 'zq1'"),
        ("SELECT b.* FROM b JOIN c USING (q)", "'b', 'zq1', 3"),
        ("SELECT A.*, \"b\".* FROM a, b", "1, 2, 'b', 'zq1', 3"),
        ("SELECT a.x * a.y AS z, b.* FROM a, b", "1, 'b', 'zq1', 3"),
    ] {
        check(query, row);
    }
}

/// Like in DataFusion, `*` keeps the columns of the table whose name sorts first.
#[test]
fn a_star_has_once_what_tables_are_joined_by() {
    for (query, row) in [
        ("SELECT * FROM a JOIN d USING (x)", "1, 2, 'b', 'zq1', 3"),
        ("SELECT * FROM d JOIN a USING (x)", "'b', 'zq1', 3, 1, 2"),
        ("SELECT * FROM a NATURAL JOIN d", "1, 2, 'b', 'zq1', 3"),
        ("SELECT * FROM a AS z JOIN d USING (x)", "2, 'b', 1, 'zq1', 3"),
        ("SELECT * FROM a JOIN e USING (x, y)", "1, 2, 'zq1'"),
        ("SELECT * FROM e LEFT JOIN a USING (y, x)", "'zq1', 1, 2"),
        ("SELECT * FROM a JOIN d USING (x) JOIN e USING (x)", "1, 2, 'b', 'zq1', 3, 4, 'zq2'"),
        ("SELECT * FROM a JOIN (SELECT x, password FROM d) AS s USING (x)", "1, 2, 'zq1'"),
        ("SELECT d.*, a.* FROM a JOIN d USING (x)", "'b', 1, 'zq1', 3, 1, 2"),
        // If a name is unknown, every possible position of the credential is hidden.
        ("SELECT * FROM a JOIN d AS s(k, l, m, n) USING (l)", "1, 2, 'b', 'zq0', 'zq1', 3"),
        ("SELECT * FROM a JOIN s.d USING (x)", "1, 2, 'b', 'zq0', 'zq1', 3"),
    ] {
        check(query, row);
    }
}

#[test]
fn harmless_tables_stay_as_they_are() {
    let redactor = Redactor::default();
    redactor.learn(TABLES);
    let sql = "INSERT INTO a VALUES ('one', 'two')";
    assert_eq!(redactor.sql_text(sql), sql);
}

#[test]
fn many_queries_in_each_other_are_read_to_their_end() {
    let redactor = Redactor::default();
    let tables = "c0, ".repeat(100);
    let queries: String = (1..60).map(|n| format!("c{n} AS (SELECT * FROM {tables} c{}), ", n - 1)).collect();
    redactor.learn(&format!("CREATE TABLE t AS WITH {queries} z AS (SELECT 1 AS password) SELECT * FROM c9"));
    let open = format!("CREATE TABLE t AS {}", "SELECT * FROM (".repeat(1_000));
    redactor.learn(&format!("{open} SELECT 1 AS password"));
}
