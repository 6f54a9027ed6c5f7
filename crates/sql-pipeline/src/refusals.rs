//! Tests that compare what is rejected before a script runs with what DataFusion rejects when it is reached.

use datafusion::prelude::{SessionConfig, SessionContext};

use crate::{
    agreement::run,
    pipeline::{Pipeline, PipelineOptions},
    pipeline_error::PipelineError,
    script::Script,
};

fn session() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_information_schema(true))
}

/// The line of the first statement that DataFusion rejects, and the reason.
async fn refused_by_engine(script: &Script) -> Option<(usize, String)> {
    let session = session();
    for statement in script.statements() {
        if let Err(error) = run(&session, statement).await {
            return Some((statement.first_line, error.to_string()));
        }
    }
    None
}

fn refused_beforehand(script: &Script) -> Option<(usize, String)> {
    let refused: PipelineError = match Pipeline::new(script.clone(), PipelineOptions::default()) {
        Ok(pipeline) => pipeline.check_tables(&session()).err()?,
        Err(error) => error,
    };
    Some((refused.place().map_or(0, |place| place.line), refused.to_string()))
}

/// Each statement must be on its own line.
#[track_caller]
fn check(sql: &str) {
    let lines = sql.replace("; ", ";\n");
    let script = Script::parse("a.sql", &lines).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = runtime.block_on(refused_by_engine(&script));
    let ours = refused_beforehand(&script);
    let line = |refused: &Option<(usize, String)>| refused.as_ref().map(|(line, _)| *line);
    assert_eq!(line(&ours), line(&engine), "{lines}\nbeforehand: {ours:?}\nby the engine: {engine:?}");
}

const STARTS: [&str; 9] = [
    "",
    "CREATE TABLE x AS SELECT 1 AS a; ",
    "CREATE VIEW x AS SELECT 1 AS a; ",
    "CREATE EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '/tmp/daglight-none/'; ",
    "CREATE TABLE x AS SELECT 1 AS a; DROP TABLE IF EXISTS x; ",
    "CREATE VIEW x AS SELECT 1 AS a; DROP TABLE IF EXISTS x; ",
    "CREATE TABLE x AS SELECT 1 AS a; DROP VIEW IF EXISTS x; ",
    "CREATE TABLE x AS SELECT 1 AS a; CREATE OR REPLACE VIEW x AS SELECT 2 AS a; ",
    "CREATE VIEW x AS SELECT 1 AS a; CREATE TABLE IF NOT EXISTS x AS SELECT 2 AS a; ",
];

#[test]
fn tables_and_views_are_made_changed_and_dropped_as_the_engine_does() {
    for start in STARTS {
        for statement in [
            "DROP TABLE x",
            "DROP VIEW x",
            "DROP TABLE IF EXISTS x; SELECT * FROM x",
            "DROP VIEW IF EXISTS x; SELECT * FROM x",
            "DROP VIEW IF EXISTS x; CREATE TABLE x AS SELECT 3 AS a",
            "DROP TABLE IF EXISTS x; CREATE VIEW x AS SELECT 3 AS a",
            "CREATE TABLE x AS SELECT 3 AS a",
            "CREATE TABLE IF NOT EXISTS x AS SELECT 3 AS a; DROP TABLE x",
            "CREATE OR REPLACE TABLE x AS SELECT 3 AS a; DROP TABLE x",
            "CREATE OR REPLACE TABLE IF NOT EXISTS x AS SELECT 3 AS a",
            "CREATE VIEW x AS SELECT 3 AS a",
            "CREATE OR REPLACE VIEW x AS SELECT 3 AS a; DROP VIEW x",
            "CREATE VIEW IF NOT EXISTS x AS SELECT 3 AS a",
            "CREATE EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '/tmp/daglight-none/'",
            "CREATE EXTERNAL TABLE IF NOT EXISTS x (a INT) STORED AS CSV LOCATION '/tmp/daglight-none/'",
            "CREATE OR REPLACE EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '/tmp/daglight-none/'",
            "SELECT 3 AS a INTO x; DROP TABLE x",
            "EXPLAIN CREATE TABLE x AS SELECT 3 AS a",
            "DROP TABLE \"X\"",
            "CREATE TABLE \"X\" AS SELECT 3 AS a; DROP TABLE X",
            "CREATE TABLE \"X\" AS SELECT 3 AS a; DROP VIEW public.\"X\"",
            "SET datafusion.sql_parser.enable_ident_normalization = false; CREATE TABLE X AS SELECT 3 AS a; DROP VIEW X",
            "CREATE SCHEMA s; CREATE TABLE s.x AS SELECT 3 AS a; DROP VIEW s.x",
            "CREATE SCHEMA s; SET datafusion.catalog.default_schema = s; CREATE VIEW x AS SELECT 3 AS a; DROP TABLE x",
            "CREATE TEMPORARY TABLE y AS SELECT 3 AS a",
            "CREATE TEMPORARY VIEW y AS SELECT 3 AS a",
            "CREATE MATERIALIZED VIEW y AS SELECT 3 AS a",
            "CREATE TABLE y AS SELECT 3 AS a; DROP TABLE x, y",
            "INSERT INTO x VALUES (4)",
            "UPDATE x SET a = 4",
            "DELETE FROM x",
            "TRUNCATE TABLE x",
        ] {
            // It cannot be known whether rows can be added to the files of a table.
            if start.contains("EXTERNAL") && statement.starts_with("INSERT") {
                continue;
            }
            check(&format!("{start}{statement}"));
        }
    }
}

#[test]
fn formats_of_files_are_known_as_by_the_engine() {
    let folder = "/tmp/daglight-none";
    for sql in [
        format!("CREATE EXTERNAL TABLE x (a INT) STORED AS FOO LOCATION '{folder}/'"),
        format!("CREATE EXTERNAL TABLE x (a INT) STORED AS NDJSON LOCATION '{folder}/'"),
        format!("CREATE EXTERNAL TABLE x (a INT) STORED AS Csv LOCATION '{folder}/'; SELECT 1"),
        format!(
            "CREATE TABLE x AS SELECT 1 AS a; CREATE EXTERNAL TABLE IF NOT EXISTS x (a INT) STORED AS FOO LOCATION '{folder}/'"
        ),
        format!(
            "CREATE TABLE x AS SELECT 1 AS a; CREATE OR REPLACE EXTERNAL TABLE x (a INT) STORED AS FOO LOCATION '{folder}/'"
        ),
        format!("COPY (SELECT 1 AS a) TO '{folder}/x.foo'"),
        format!("COPY (SELECT 1 AS a) TO '{folder}/x.foo' STORED AS BAR"),
        format!("COPY (SELECT 1 AS a) TO '{folder}/x'"),
        format!("COPY (SELECT 1 AS a) TO '{folder}/'"),
        format!("PREPARE p AS SELECT 1; EXPLAIN COPY (SELECT 1 AS a) TO '{folder}/x.CSV'"),
        format!("EXPLAIN COPY (SELECT 1 AS a) TO '{folder}/x.csv' STORED AS BAR"),
    ] {
        check(&sql);
    }
}

#[test]
fn statements_are_prepared_executed_and_freed_as_the_engine_does() {
    for sql in [
        "PREPARE p AS SELECT 1; PREPARE p AS SELECT 2",
        "PREPARE p AS SELECT 1; PREPARE P AS SELECT 2",
        "PREPARE p AS SELECT 1; PREPARE \"P\" AS SELECT 2; EXECUTE \"P\"; PREPARE \"P\" AS SELECT 2",
        "PREPARE p AS SELECT 1; DEALLOCATE p; PREPARE p AS SELECT 2; DEALLOCATE PREPARE p; DEALLOCATE p",
        "SET datafusion.sql_parser.enable_ident_normalization = false; PREPARE p AS SELECT 1; PREPARE P AS SELECT 2",
        "EXPLAIN SELECT 1; PREPARE p AS SELECT 1; EXECUTE p; EXECUTE p; PREPARE p AS SELECT 1",
        "PREPARE p AS CREATE TABLE t AS SELECT 1 AS a; EXECUTE p",
        "PREPARE p AS CREATE VIEW t AS SELECT 1 AS a; EXECUTE p",
        "PREPARE p AS DROP TABLE IF EXISTS t; EXECUTE p",
        "PREPARE p AS CREATE SCHEMA s; EXECUTE p",
        "PREPARE p AS SELECT 1 AS a INTO t; EXECUTE p",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS INSERT INTO t VALUES ($1); EXECUTE p(1)",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS DROP VIEW t; SELECT * FROM t",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS CREATE TABLE t AS SELECT 2 AS a; SELECT * FROM t",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS SELECT * FROM t; DROP TABLE t; EXECUTE p",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS INSERT INTO t VALUES (2); DROP TABLE t; EXECUTE p",
        "PREPARE p AS SET datafusion.execution.batch_size = 10; EXECUTE p",
        "PREPARE p AS EXPLAIN SELECT 1; EXECUTE p",
        "PREPARE p AS SHOW TABLES; EXECUTE p",
        "PREPARE p(INT) AS SELECT $1 + 1; EXECUTE p(1, 2)",
        "PREPARE p(INT) AS SELECT $1 + 1; EXECUTE p(1)",
        "PREPARE p AS SELECT $1; EXECUTE p",
        "PREPARE p AS SELECT $1; EXECUTE p(1)",
        "PREPARE p AS SELECT $1 + $2; EXECUTE p(1)",
        "PREPARE p AS SELECT $2; EXECUTE p(1)",
        "PREPARE p AS SELECT 1; EXECUTE p(1)",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS SELECT * FROM t WHERE a = $1; EXECUTE p",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS SELECT a FROM t WHERE a IN (SELECT $2) LIMIT $1; EXECUTE p(1)",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS INSERT INTO t VALUES ($1); EXECUTE p",
        "CREATE TABLE t AS SELECT 1 AS a; PREPARE p AS SELECT * FROM t WHERE a = $1; EXECUTE p(1)",
        "PREPARE p AS DROP TABLE nope; SELECT 1",
        "PREPARE p AS PREPARE q AS SELECT 1; EXECUTE p",
        "PREPARE p AS DEALLOCATE q; EXECUTE p",
        "PREPARE p AS SELECT 1; PREPARE q AS EXECUTE p; EXECUTE q",
        "CREATE VIEW v AS SELECT 1 AS a; PREPARE p AS INSERT INTO v VALUES (2); SELECT 1; EXECUTE p",
    ] {
        check(sql);
    }
}

#[test]
fn schemas_and_catalogs_are_made_and_dropped_as_the_engine_does() {
    for sql in [
        "CREATE SCHEMA s; CREATE SCHEMA s",
        "CREATE SCHEMA s; CREATE SCHEMA IF NOT EXISTS s; CREATE SCHEMA S",
        "CREATE SCHEMA s; CREATE SCHEMA \"S\"",
        "CREATE SCHEMA s; DROP SCHEMA s; CREATE SCHEMA s; CREATE SCHEMA datafusion.s",
        "CREATE SCHEMA public",
        "CREATE SCHEMA IF NOT EXISTS public",
        "DROP SCHEMA public; CREATE SCHEMA public; CREATE SCHEMA public",
        "CREATE SCHEMA information_schema; CREATE SCHEMA information_schema",
        "CREATE SCHEMA c.s",
        "CREATE SCHEMA nope.b.c",
        "DROP SCHEMA IF EXISTS nope; CREATE SCHEMA nope; DROP SCHEMA IF EXISTS nope; CREATE SCHEMA nope",
        "CREATE DATABASE c; CREATE DATABASE c",
        "CREATE DATABASE c; CREATE DATABASE IF NOT EXISTS c; CREATE DATABASE C",
        "CREATE DATABASE datafusion",
        "CREATE DATABASE c; CREATE SCHEMA c.s; CREATE SCHEMA c.s",
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; DROP SCHEMA s",
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; DROP SCHEMA IF EXISTS s",
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; DROP SCHEMA s CASCADE; DROP SCHEMA s",
        "CREATE SCHEMA s; CREATE VIEW s.t AS SELECT 1 AS a; DROP TABLE IF EXISTS s.t; DROP SCHEMA s",
        "CREATE SCHEMA s; CREATE VIEW s.t AS SELECT 1 AS a; DROP VIEW s.t; DROP SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a",
        "CREATE TABLE t AS SELECT 1 AS a; DROP SCHEMA public",
        "CREATE TABLE t AS SELECT 1 AS a; DROP SCHEMA public CASCADE; SELECT * FROM t",
        "CREATE DATABASE c; CREATE SCHEMA c.s; CREATE TABLE c.s.t AS SELECT 1 AS a; DROP SCHEMA c.s",
        "CREATE SCHEMA s; SET datafusion.catalog.default_schema = s; CREATE TABLE t AS SELECT 1 AS a; DROP SCHEMA s",
        "CREATE SCHEMA s; CREATE SCHEMA r; DROP SCHEMA s, r",
        "SET datafusion.sql_parser.enable_ident_normalization = false; CREATE SCHEMA S; CREATE SCHEMA s",
    ] {
        check(sql);
    }
}
