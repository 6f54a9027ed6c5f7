//! The relations that statements read.

use crate::{names::name_of_relation, script::Script};

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let script = Script::parse("a.sql", sql).unwrap();
    let reads = &script.statements()[0].relations.reads;
    let mut found: Vec<String> = reads.iter().map(|mention| name_of_relation(&mention.relation)).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn relations_are_found_wherever_they_stand() {
    check("SELECT * FROM A JOIN s.b USING (x), LATERAL (SELECT * FROM c) l", &["a", "c", "s.b"]);
    check(
        "SELECT (SELECT max(x) FROM b), CASE WHEN EXISTS (SELECT 1 FROM c) THEN 1 END FROM a
         WHERE x IN (SELECT x FROM d) GROUP BY y HAVING count(*) > (SELECT 1 FROM e) ORDER BY (SELECT 1 FROM f)",
        &["a", "b", "c", "d", "e", "f"],
    );
    check("SELECT * FROM a UNION ALL (SELECT * FROM b EXCEPT SELECT * FROM c)", &["a", "b", "c"]);
    check("COPY (SELECT * FROM a) TO 'x.parquet'", &["a"]);
    check("COPY a TO 'x.parquet'", &["a"]);
    check("INSERT INTO t SELECT * FROM a", &["a"]);
    check("CREATE TABLE t AS WITH c AS (SELECT * FROM a) SELECT * FROM c", &["a"]);
    check("DELETE FROM t WHERE x IN (SELECT x FROM a)", &["a", "t"]);
    check("CREATE TABLE t (x INT)", &[]);
    check("VALUES (1), ((SELECT x FROM a))", &["a"]);
}

#[test]
fn names_in_texts_aliases_and_columns_are_not_relations() {
    check("SELECT a.b, 'c' AS d, e FROM f AS a -- g\n WHERE h = 'FROM i'", &["f"]);
}

#[test]
fn common_table_expressions_hide_relations_only_where_they_are_seen() {
    check("WITH t AS (SELECT * FROM t) SELECT * FROM t", &["t"]);
    check("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", &["b"]);
    check("WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) SELECT * FROM r", &[]);
    check("(WITH t AS (SELECT 1) SELECT * FROM t) UNION (SELECT * FROM t)", &["t"]);
    check("SELECT * FROM t WHERE x IN (WITH u AS (SELECT 1 AS x) SELECT x FROM u)", &["t"]);
}

#[test]
fn quoted_names_keep_their_case() {
    check("SELECT * FROM Orders, \"Orders\"", &["Orders", "orders"]);
}
