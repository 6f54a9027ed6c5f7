//! What is rejected before a script runs, and what is left to the engine.

use std::sync::Arc;

use datafusion::{
    catalog::{SchemaProvider, Session, TableProvider, TableProviderFactory},
    error::DataFusionError,
    logical_expr::CreateExternalTable,
    prelude::{SessionConfig, SessionContext},
};

use super::*;
use crate::{pipeline::PipelineOptions, script::Script};

fn checked(session: &SessionContext, sql: &str) -> Result<(), PipelineError> {
    let script = Script::parse("a.sql", sql).unwrap();
    Pipeline::new(script, PipelineOptions::default()).unwrap().check_tables(session)
}

#[track_caller]
fn check_refused(sql: &str, expected: &str) {
    let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    let error = checked(&session, sql).unwrap_err().to_string();
    assert_eq!(error.lines().next(), Some(expected), "{error}");
}

#[track_caller]
fn check_taken(sql: &str) {
    let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    checked(&session, sql).unwrap();
}

#[test]
fn misspelt_tables_are_found_where_they_stand() {
    let defined = "CREATE TABLE orders AS SELECT 1 AS x;\n";
    for (sql, at) in [
        ("SELECT x FROM ordesr", "2:15"),
        ("SELECT ordesr.x FROM orders,\n Ordesr", "3:2"),
        ("CREATE VIEW v AS SELECT * FROM orders WHERE x IN (SELECT x FROM ordesr)", "2:65"),
        ("COPY ordesr TO 'x.csv'", "2:6"),
        ("INSERT INTO ordesr SELECT 1", "2:13"),
        ("DELETE FROM ordesr", "2:13"),
        ("UPDATE ordesr SET x = 1", "2:8"),
        ("TRUNCATE TABLE ordesr", "2:16"),
        ("EXPLAIN SELECT x FROM ordesr; SELECT 1", "2:23"),
        ("DESCRIBE ordesr; SELECT 1", "2:10"),
        ("SHOW COLUMNS FROM ordesr; SELECT 1", "2:19"),
        ("DROP TABLE ordesr; SELECT 1", "2:12"),
        ("PREPARE p AS SELECT x FROM ordesr; SELECT 1", "2:28"),
        ("SELECT x INTO t FROM ordesr", "2:22"),
        ("WITH a AS (SELECT * FROM ordesr) SELECT * FROM a", "2:26"),
        ("SELECT * FROM \"orders\" UNION SELECT * FROM public.ordesr", "2:44"),
    ] {
        let expected = format!("a.sql:{at}: table \"ordesr\" is not defined; did you mean \"orders\"?");
        check_refused(&format!("{defined}{sql}"), &expected);
    }
    check_refused("SELECT * FROM s.t", "a.sql:1:15: table \"s.t\" is not defined");
    check_refused("SELECT * FROM c.s.t", "a.sql:1:15: table \"c.s.t\" is not defined");
    check_refused("SELECT * FROM \"Orders\"", "a.sql:1:15: table \"Orders\" is not defined");
    check_refused(
        "SELECT * FROM information_schema.tabels",
        "a.sql:1:15: table \"information_schema.tabels\" is not defined",
    );
    check_taken("SELECT * FROM information_schema.tables");
    check_refused(
        "CREATE TABLE t AS SELECT 1 AS x; CREATE INDEX i ON t(x)",
        "a.sql:1:34: DataFusion does not support the statement CREATE INDEX",
    );
}

#[test]
fn misspelt_schemas_are_found_too() {
    let defined = "CREATE SCHEMA staging;\n";
    for (sql, at) in [
        ("CREATE TABLE stagin.t AS SELECT 1", "2:14"),
        ("CREATE VIEW datafusion.stagin.t AS SELECT 1", "2:13"),
        ("CREATE EXTERNAL TABLE stagin.t STORED AS CSV LOCATION 'x.csv'", "2:23"),
        ("SELECT 1 AS x INTO stagin.t", "2:20"),
        ("SET datafusion.catalog.default_schema = 'stagin'; CREATE TABLE t AS SELECT 1", "2:64"),
    ] {
        let expected = format!("a.sql:{at}: schema \"stagin\" is not defined; did you mean \"staging\"?");
        check_refused(&format!("{defined}{sql}"), &expected);
    }
    check_refused(
        "CREATE TABLE s.t AS SELECT 1;\nCREATE SCHEMA s",
        "a.sql:1:14: schema \"s\" is defined only at line 2",
    );
    check_refused(
        "CREATE SCHEMA s;\nDROP SCHEMA s;\nCREATE TABLE s.t AS SELECT 1",
        "a.sql:3:14: schema \"s\" was dropped at line 2",
    );
    check_taken(
        "CREATE DATABASE c; CREATE SCHEMA c.S; CREATE TABLE C.s.t AS SELECT 1 AS x; CREATE SCHEMA IF NOT EXISTS \"T\";
         SELECT x INTO \"T\".t FROM c.s.t",
    );
}

#[test]
fn what_comes_later_or_was_dropped_is_reported() {
    check_refused(
        "SELECT * FROM t;\n\nCREATE TABLE t AS SELECT 1 AS x",
        "a.sql:1:15: table \"t\" is defined only at line 3",
    );
    check_refused(
        "CREATE TABLE t AS SELECT * FROM t",
        "a.sql:1:33: table \"t\" is defined only by this statement",
    );
    check_refused(
        "SELECT * FROM t; CREATE TABLE t AS SELECT 1 AS x",
        "a.sql:1:15: table \"t\" is defined only at line 1, column 18",
    );
    check_refused(
        "CREATE TABLE t AS SELECT 1;\nDROP TABLE t;\nSELECT * FROM t",
        "a.sql:3:15: table \"t\" was dropped at line 2",
    );
    check_refused(
        "CREATE SCHEMA s;\nCREATE TABLE s.t AS SELECT 1;\nDROP SCHEMA s CASCADE;\nSELECT * FROM s.t",
        "a.sql:4:15: table \"s.t\" was dropped at line 3",
    );
}

#[test]
fn files_by_their_names_have_a_place_and_a_way_out() {
    let instead = |format: &str, path: &str| {
        format!(
            "is not defined, and this session does not read files by their names: write `CREATE EXTERNAL TABLE name \
             STORED AS {format} LOCATION '{path}'`, then read that table"
        )
    };
    for (sql, at, format, path) in [
        ("SELECT * FROM 'nofile.parquet'", "1:15", "PARQUET", "nofile.parquet"),
        ("SELECT 1;\nSELECT 'a.csv'\nFROM  'a.csv' AS a", "3:7", "CSV", "a.csv"),
        ("COPY 'in/a.json.gz' TO 'x.csv'", "1:6", "JSON", "in/a.json.gz"),
        ("INSERT INTO 'a.csv' SELECT 1", "1:13", "CSV", "a.csv"),
        ("SELECT * FROM \"a.arrow\"", "1:15", "ARROW", "a.arrow"),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM\n 'a.AVRO')", "2:2", "AVRO", "a.AVRO"),
    ] {
        check_refused(sql, &format!("a.sql:{at}: table \"{path}\" {}", instead(format, path)));
    }
    check_refused("SELECT 1 FROM ''", "a.sql:1:15: table \"\" is not defined");
    check_refused(
        "SET datafusion.sql_parser.dialect = 'mysql';\nSELECT * FROM \"nothing\"",
        "a.sql:2:15: table \"nothing\" is not defined",
    );
    check_refused("CREATE TABLE 's'.t AS SELECT 1", "a.sql:1:18: schema \"s\" is not defined");
    check_refused("DROP SCHEMA 's'", "a.sql:1:13: schema \"s\" is not defined");
}

#[test]
fn a_session_that_reads_files_has_those_that_are_there_or_will_be() {
    let check = |sql: &str, expected: Option<&str>| {
        let script = Script::parse("a.sql", sql).unwrap();
        let options = PipelineOptions { reads_files: true, ..PipelineOptions::default() };
        let checked = Pipeline::new(script, options).unwrap().check_tables(&SessionContext::new());
        let found = checked.err().map(|error| error.to_string());
        let found = found.as_ref().map(|text| text.lines().next().unwrap());
        assert_eq!(found, expected, "{sql}");
    };
    check("SELECT * FROM 'src/check.rs'", None);
    check("SELECT * FROM 'src/'", None);
    check("SELECT * FROM 'src/*/tests.rs'", None);
    check(
        "SELECT * FROM 'nowhere/*.csv'",
        Some(
            "a.sql:1:15: table \"nowhere/*.csv\" is not defined, and there is no file or folder of this name",
        ),
    );
    check("COPY (SELECT 1) TO 'nowhere/a.csv'; SELECT * FROM 'nowhere/*.csv'", None);
    check("SELECT * FROM 's3://bucket/a.csv'", None);
    check("COPY (SELECT 1) TO 'nowhere/a.csv'; SELECT * FROM './nowhere/a.csv'", None);
    check(
        "SELECT * FROM 'nowhere/a.csv'; COPY (SELECT 1) TO 'nowhere/a.csv'",
        Some(
            "a.sql:1:15: table \"nowhere/a.csv\" is not defined, and there is no file or folder of this name",
        ),
    );
    check("SELECT * FROM ordesr", Some("a.sql:1:15: table \"ordesr\" is not defined"));
}

#[test]
fn statements_that_nothing_prepares_are_refused() {
    let prepared = "PREPARE risks AS SELECT 1;\n";
    for (sql, expected) in [
        ("EXECUTE risk", "2:9: prepared statement \"risk\" is not defined; did you mean \"risks\"?"),
        ("EXECUTE zebra(1)", "2:9: prepared statement \"zebra\" is not defined"),
        ("DEALLOCATE risk", "2:12: prepared statement \"risk\" is not defined; did you mean \"risks\"?"),
        ("EXECUTE b;\nPREPARE b AS SELECT 1", "2:9: prepared statement \"b\" is defined only at line 3"),
        ("DEALLOCATE risks;\nEXECUTE risks", "3:9: prepared statement \"risks\" was dropped at line 2"),
    ] {
        check_refused(&format!("{prepared}{sql}"), &format!("a.sql:{expected}"));
    }
    check_taken(&format!(
        "{prepared}EXECUTE RISKS; EXECUTE risks; DEALLOCATE risks; {prepared}EXECUTE risks"
    ));
}

#[tokio::test]
async fn what_the_session_has_prepared_is_known_and_kept() {
    let session = SessionContext::new();
    session.sql("PREPARE p AS SELECT 1 AS x").await.unwrap();
    checked(&session, "EXECUTE p; DEALLOCATE p").unwrap();
    session.sql("EXECUTE p").await.unwrap();
    let error = checked(&session, "EXECUTE q").unwrap_err().to_string();
    assert!(error.starts_with("a.sql:1:9: prepared statement \"q\" is not defined"), "{error}");
}

#[test]
fn schemas_and_functions_that_are_dropped_must_be_there() {
    check_refused("SELECT 1;\nDROP SCHEMA nope", "a.sql:2:13: schema \"nope\" is not defined");
    check_refused(
        "CREATE SCHEMA sales;\nDROP SCHEMA sale CASCADE",
        "a.sql:2:13: schema \"sale\" is not defined; did you mean \"sales\"?",
    );
    check_refused("DROP SCHEMA s;\nCREATE SCHEMA s", "a.sql:1:13: schema \"s\" is defined only at line 2");
    check_refused(
        "DROP SCHEMA public;\nDROP SCHEMA public",
        "a.sql:2:13: schema \"public\" was dropped at line 1",
    );
    check_refused(
        "DROP FUNCTION concta",
        "a.sql:1:15: function \"concta\" is not defined; did you mean \"concat\"?",
    );
    check_refused(
        "DROP FUNCTION concat;\nDROP FUNCTION concat",
        "a.sql:2:15: function \"concat\" was dropped at line 1",
    );
    check_refused("DROP VIEW nothing", "a.sql:1:11: table \"nothing\" is not defined");
    check_taken("DROP SCHEMA IF EXISTS nope; DROP FUNCTION IF EXISTS nope; DROP FUNCTION count");
    check_taken("CREATE SCHEMA S; DROP SCHEMA s; CREATE SCHEMA \"S\"; DROP SCHEMA datafusion.\"S\"");
}

#[test]
fn statements_without_a_plan_are_refused() {
    check_refused(
        "SELECT 1;\n USE nope",
        "a.sql:2:2: DataFusion does not support USE: write `SET datafusion.catalog.default_schema = 'nope'`, or \
         `SET datafusion.catalog.default_catalog = 'nope'`",
    );
    check_refused("SELECT 1; BEGIN", "a.sql:1:11: DataFusion does not support the statement BEGIN");
    check_refused("GRANT SELECT ON t TO u", "a.sql:1:1: DataFusion does not support the statement GRANT");
    check_refused(
        "CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1",
        "a.sql:1:1: this session does not support CREATE FUNCTION: it has no function factory",
    );
    check_taken(
        "SHOW TABLES; SHOW ALL; SHOW FUNCTIONS; SHOW datafusion.catalog.default_schema; DESCRIBE SELECT 1",
    );
}

#[test]
fn a_name_is_never_proposed_for_itself() {
    check_refused(
        "SELECT * FROM t;\nCREATE TABLE IF NOT EXISTS t AS SELECT 1 AS x",
        "a.sql:1:15: table \"t\" is defined only at line 2",
    );
    assert_eq!(nearest("orders", ["orders", "border"].into_iter()).as_deref(), Some("border"));
}

#[test]
fn what_may_be_there_is_left_to_the_engine() {
    for sql in [
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM generate_series(1, 3), range(1) r, unnest([1])",
        "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 3) SELECT * FROM r",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM b AS c, LATERAL (SELECT c.x) AS d",
        "CREATE TABLE t AS SELECT 1; SELECT * FROM t AS u WHERE EXISTS (SELECT 1 FROM t AS w WHERE w = u)",
        "CREATE TABLE IF NOT EXISTS t AS SELECT 1; DROP TABLE IF EXISTS nothing; SELECT * FROM T",
        "SELECT 1 AS x INTO t; SELECT * FROM t; DROP TABLE t; CREATE VIEW t AS SELECT 1; SELECT * FROM t",
        "SHOW TABLES; SHOW ALL; VALUES (1)",
        "SET datafusion.sql_parser.enable_ident_normalization = false; CREATE TABLE T AS SELECT 1; SELECT * FROM T",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x.csv'; COPY t TO 'y.csv'",
    ] {
        check_taken(sql);
    }
}

#[tokio::test]
async fn the_tables_of_the_session_are_known() {
    let session = SessionContext::new();
    session.sql("CREATE SCHEMA s").await.unwrap();
    session.sql("CREATE TABLE s.known AS SELECT 1 AS x").await.unwrap();
    checked(&session, "SELECT * FROM s.known").unwrap();
    let error = checked(&session, "SELECT * FROM s.knwon").unwrap_err().to_string();
    assert!(error.contains("did you mean \"s.known\"?"), "{error}");
    let error = checked(&session, "DROP TABLE s.known;\nSELECT * FROM s.known").unwrap_err().to_string();
    assert!(error.contains("was dropped at line 1"), "{error}");
}

/// A schema that creates a table on request.
#[derive(Debug)]
struct Remote;

#[async_trait::async_trait]
impl SchemaProvider for Remote {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(
        &self,
        _name: &str,
    ) -> datafusion::error::Result<Option<std::sync::Arc<dyn datafusion::catalog::TableProvider>>> {
        Ok(None)
    }

    fn table_exist(&self, _name: &str) -> bool {
        false
    }
}

#[test]
fn catalogs_of_others_are_not_judged() {
    let session = SessionContext::new();
    let catalog = session.catalog("datafusion").unwrap();
    catalog.register_schema("remote", std::sync::Arc::new(Remote)).unwrap();
    checked(&session, "SELECT * FROM remote.anything").unwrap();
    checked(&session.enable_url_table(), "SELECT * FROM 'x.parquet'").unwrap();
}

#[test]
fn what_stands_in_the_way_is_named_with_its_line() {
    for (sql, expected) in [
        (
            "CREATE VIEW v AS SELECT 1;\nDROP TABLE v",
            "2:12: \"v\" is a view, defined at line 1: write DROP VIEW",
        ),
        (
            "CREATE TABLE t AS SELECT 1;\nDROP VIEW t",
            "2:11: \"t\" is a table, defined at line 1: write DROP TABLE",
        ),
        (
            "PREPARE p AS SELECT 1;\nPREPARE P AS SELECT 2",
            "2:9: prepared statement \"p\" is defined already, at line 1: write DEALLOCATE first, or give this one another name",
        ),
        (
            "CREATE SCHEMA s;\nCREATE SCHEMA s",
            "2:15: schema \"s\" is defined already, at line 1: write CREATE SCHEMA IF NOT EXISTS, drop it first, or give this \
             one another name",
        ),
        (
            "CREATE DATABASE datafusion",
            "1:17: catalog \"datafusion\" is defined already, in the session: write CREATE DATABASE IF NOT EXISTS, or give \
             this one another name",
        ),
        (
            "CREATE SCHEMA datafusoin.s",
            "1:15: catalog \"datafusoin\" is not defined; did you mean \"datafusion\"?",
        ),
        (
            "CREATE SCHEMA s;\nCREATE TABLE s.t AS SELECT 1;\nDROP SCHEMA s",
            "3:13: schema \"s\" is not empty, for it holds \"s.t\", defined at line 2: write CASCADE, or drop that first",
        ),
        (
            "CREATE VIEW v AS SELECT 1 AS x;\nINSERT INTO v VALUES (1)",
            "2:13: \"v\" is a view, defined at line 1: INSERT INTO needs a table",
        ),
        (
            "PREPARE p AS CREATE TABLE t AS SELECT 1;\nEXECUTE p",
            "2:9: prepared statement \"p\", defined at line 1, is CREATE TABLE, which DataFusion does not execute by EXECUTE: \
             write that statement here",
        ),
        (
            "PREPARE p(INT) AS SELECT $1;\nEXECUTE p(1, 2)",
            "2:9: prepared statement \"p\", defined at line 1, has 1 parameter, and EXECUTE has 2 values",
        ),
        (
            "PREPARE p AS SELECT $1 + $2;\nEXECUTE p(1)",
            "2:9: prepared statement \"p\", defined at line 1, has 2 parameters, and EXECUTE has 1 value",
        ),
        (
            "CREATE EXTERNAL TABLE f (a INT) STORED AS CSV LOCATION 'f/';\nDELETE FROM f",
            "2:13: \"f\" is a table of files, defined at line 1, for which DataFusion does not support DELETE FROM: write \
             the rows that it is to have to other files with COPY",
        ),
        (
            "CREATE VIEW IF NOT EXISTS v AS SELECT 1",
            "1:1: DataFusion does not support IF NOT EXISTS in CREATE VIEW: write CREATE OR REPLACE VIEW",
        ),
    ] {
        check_refused(sql, &format!("a.sql:{expected}"));
    }
}

#[tokio::test]
async fn what_the_session_has_stands_in_the_way_too() {
    let session = SessionContext::new();
    for sql in ["CREATE TABLE t AS SELECT 1 AS x", "CREATE VIEW v AS SELECT 1 AS x", "PREPARE p AS SELECT 1"]
    {
        session.sql(sql).await.unwrap();
    }
    for (sql, expected) in [
        ("CREATE TABLE t AS SELECT 2", "1:14: table \"t\" is defined already, in the session"),
        ("DROP TABLE v", "1:12: \"v\" is a view, defined in the session"),
        ("PREPARE p AS SELECT 2", "1:9: prepared statement \"p\" is defined already, in the session"),
        ("DROP SCHEMA public", "1:13: schema \"public\" is not empty"),
        (
            "DROP TABLE IF EXISTS v; CREATE VIEW v AS SELECT 2",
            "1:37: table \"v\" is defined already, in the session",
        ),
    ] {
        let error = checked(&session, sql).unwrap_err().to_string();
        assert!(error.starts_with(&format!("a.sql:{expected}")), "{error}");
    }
    for sql in [
        "DROP TABLE t; CREATE VIEW t AS SELECT 1; DROP VIEW t",
        "DROP TABLE IF EXISTS v; SELECT * FROM v; DROP VIEW v; CREATE TABLE v AS SELECT 1",
        "DEALLOCATE p; PREPARE p AS SELECT 2",
        "DROP VIEW IF EXISTS t; SELECT * FROM t; DROP SCHEMA public CASCADE; CREATE SCHEMA public",
        "CREATE TABLE IF NOT EXISTS v AS SELECT 1; DROP VIEW v",
    ] {
        checked(&session, sql).unwrap();
    }
}

/// A third-party factory, whose tables may be modifiable.
#[derive(Debug)]
struct Foreign;

#[async_trait::async_trait]
impl TableProviderFactory for Foreign {
    async fn create(
        &self,
        _: &dyn Session,
        _: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        Err(DataFusionError::Plan("nothing is made here".into()))
    }
}

#[test]
fn what_a_foreign_factory_makes_may_be_changed() {
    let table = |format: &str| format!("CREATE EXTERNAL TABLE f (a INT) STORED AS {format} LOCATION 'f/'");
    let session = SessionContext::new();
    session.state_ref().write().table_factories_mut().insert("ODD".into(), Arc::new(Foreign));
    for change in ["UPDATE f SET a = 1", "DELETE FROM f", "TRUNCATE TABLE f"] {
        checked(&session, &format!("{}; {change}", table("ODD"))).unwrap();
        checked(&session, &format!("{}; {change}", table("csv"))).unwrap_err();
    }
}

#[test]
fn a_table_function_that_is_not_there_is_refused_wherever_it_is_called() {
    let expected =
        |at| format!("a.sql:1:{at}: table function \"rang\" is not defined; did you mean \"range\"?");
    for (sql, at) in [
        ("SELECT * FROM rang(1)", 15),
        ("CREATE TABLE t AS SELECT * FROM rang(1)", 33),
        ("EXPLAIN SELECT * FROM rang(1)", 23),
        ("COPY (SELECT * FROM rang(1)) TO 'x.csv'", 21),
        ("PREPARE p AS SELECT * FROM rang($1)", 28),
        ("SELECT * FROM range(1) WHERE 1 IN (SELECT x FROM (SELECT * FROM rang(2)) AS t(x))", 65),
        ("WITH rang AS (SELECT 1) SELECT * FROM rang, rang(1)", 45),
    ] {
        check_refused(sql, &expected(at));
    }
    check_refused(
        "SELECT * FROM Range(1)",
        "a.sql:1:15: table function \"Range\" is not defined; did you mean \"range\"?",
    );
    check_taken(
        "SELECT * FROM range(1, 3) JOIN generate_series(1, 3) AS g(value) USING (value), unnest([1]) AS u(x)",
    );
}
