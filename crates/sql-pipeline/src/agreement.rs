//! Tests that compare what is read from statements with what DataFusion makes of them.

use std::collections::BTreeSet;

use daglight_capture_policy::Redactor;
use datafusion::{
    common::{ResolvedTableReference, TableReference},
    error::DataFusionError,
    prelude::{SessionConfig, SessionContext},
    sql::{
        parser::Statement as ParsedStatement, resolve::resolve_table_references,
        sqlparser::ast::Statement as SqlStatement,
    },
};

use crate::{
    effect::{Effect, Mention},
    kind::StatementKind,
    script::Script,
    script_names::ScriptNames,
    statement::Statement,
};

/// Runs a script statement by statement, and compares for each:
/// - the parsed statement with what the session parses from its text under its current settings,
/// - the relations it names with those that the session looks up for it,
/// - the relations that the script has defined so far with those that the session has.
async fn disagreements(script: &Script) -> Vec<String> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    let mut found = Vec::new();
    let mut tables = ScriptNames::default();
    for (index, statement) in script.statements().iter().enumerate() {
        let text = &statement.text;
        let ours = statement.parse().unwrap();
        match parsed(&session, text) {
            Ok(parsed) if parsed == ours => {}
            other => found.push(format!("{text}: parsed as {other:?}, not as {ours:?}")),
        }
        // An executed statement was looked up when it was prepared.
        let is_executed = matches!(&ours,
            ParsedStatement::Statement(statement) if matches!(**statement, SqlStatement::Execute { .. }));
        if statement.kind != StatementKind::Setup && !is_executed {
            let (ours, theirs) = (named(statement), looked_up(&session, statement));
            if ours != theirs {
                found.push(format!("{text}: names {theirs:?}, not {ours:?}"));
            }
        }
        if run(&session, statement).await.is_ok() {
            tables.follow(index, statement, &|_| None);
        }
        let ours: BTreeSet<String> = tables.tables.keys().map(ToString::to_string).collect();
        let theirs = tables_of(&session);
        if ours != theirs {
            found.push(format!("{text}: leaves {theirs:?}, not {ours:?}"));
        }
    }
    found
}

fn parsed(session: &SessionContext, text: &str) -> Result<ParsedStatement, DataFusionError> {
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    state.sql_to_statement(text, &dialect)
}

/// Runs a statement like the engine.
pub(crate) async fn run(session: &SessionContext, statement: &Statement) -> Result<(), DataFusionError> {
    let plan = session.state().statement_to_plan(statement.parse()?).await?;
    session.execute_logical_plan(plan).await?.collect().await.map(|_| ())
}

/// All relations that a statement names.
fn named(statement: &Statement) -> BTreeSet<ResolvedTableReference> {
    let relations = &statement.relations;
    let mentions = relations.reads.iter().chain(&relations.targets);
    let is_made = matches!(&statement.parse().unwrap(),
        ParsedStatement::Statement(statement) if !matches!(**statement, SqlStatement::CreateTable(_)));
    let defined = match &relations.effect {
        // The names of views, and of tables that `SELECT INTO` creates, are not looked up.
        Effect::Define { relation, .. } if !is_made => Some(relation),
        _ => None,
    };
    mentions.map(|Mention { relation, .. }| relation).chain(defined).cloned().collect()
}

/// The names that the session looks up for a statement, without those of table functions.
fn looked_up(session: &SessionContext, statement: &Statement) -> BTreeSet<ResolvedTableReference> {
    let state = session.state();
    let options = state.config_options();
    let (names, _) =
        resolve_table_references(&statement.parse().unwrap(), options.sql_parser.enable_ident_normalization)
            .unwrap();
    let is_function = |name: &TableReference| state.table_functions().contains_key(name.table());
    let tables = names.into_iter().filter(|name| !is_function(name));
    tables
        .map(|name| name.resolve(&options.catalog.default_catalog, &options.catalog.default_schema))
        .collect()
}

fn tables_of(session: &SessionContext) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for catalog_name in session.catalog_names() {
        let Some(catalog) = session.catalog(&catalog_name) else { continue };
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            found.extend(schema.table_names().into_iter().map(|table| {
                TableReference::full(catalog_name.as_str(), schema_name.as_str(), table)
                    .resolve("", "")
                    .to_string()
            }));
        }
    }
    found.retain(|table| !table.contains(".information_schema."));
    found
}

/// `make` defines tables `a` and `b`, with columns `x` and `y`, before the script.
#[track_caller]
fn check(sql: &str) {
    let make = "CREATE TABLE a (x INT, y INT) AS VALUES (1, 2); CREATE TABLE b AS SELECT * FROM a;";
    let script = Script::parse("a.sql", &format!("{make}{sql}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(disagreements(&script));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn queries_read_what_the_engine_looks_up() {
    for query in [
        "SELECT * FROM A JOIN b USING (x), LATERAL (SELECT a.x) l",
        "SELECT (SELECT max(x) FROM b), CASE WHEN EXISTS (SELECT 1 FROM a) THEN 1 END FROM a WHERE x IN (SELECT x FROM b)
         GROUP BY y, x HAVING count(*) > (SELECT count(*) FROM b) ORDER BY (SELECT 1 FROM b) LIMIT 1",
        "SELECT x FROM a UNION SELECT x FROM b INTERSECT SELECT y FROM a EXCEPT (SELECT y FROM b)",
        "SELECT sum(x) OVER (PARTITION BY y ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM a QUALIFY 1 = 1",
        "WITH a AS (SELECT * FROM a), c AS (SELECT * FROM a, b) SELECT * FROM c",
        "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 5) SELECT * FROM r, a",
        "SELECT x FROM b UNION (WITH b AS (SELECT 1 AS x) SELECT * FROM b)",
        "SELECT * FROM (VALUES (1), ((SELECT max(x) FROM a))) AS v(x)",
        "SELECT * FROM generate_series(1, 3) AS g(x) JOIN a ON g.x = a.x, range(1) AS r",
        "SELECT * FROM unnest([1, 2]) AS u(x), a",
        "SELECT unnest([x, y]) FROM datafusion.public.a",
        "SELECT \"a\".\"x\" AS \"a;b\", 'FROM c' AS d, $$ FROM e; $$, E'\\'FROM f' FROM public.a -- FROM g\n",
        "SELECT x /* FROM c */ FROM /* ; */ a AS \"ä\" WHERE \"ä\".x = 1",
        "SELECT * FROM a AS t(p, q) WHERE t.p = ANY (SELECT x FROM b)",
        "SELECT * FROM a CROSS JOIN (b NATURAL JOIN a AS c)",
        "FROM a",
        "VALUES ((SELECT max(x) FROM a))",
        "SELECT * FROM missing, s.missing, c.s.missing, \"Missing\"",
    ] {
        check(query);
        check(&format!("CREATE VIEW v AS {query}"));
        check(&format!("CREATE TABLE t AS {query}"));
        check(&format!("INSERT INTO b {query}"));
    }
}

#[test]
fn statements_leave_what_the_engine_has() {
    for statements in [
        "SELECT x INTO t FROM a; (SELECT x INTO u FROM a); WITH c AS (SELECT 1 AS x) SELECT x INTO v FROM c LIMIT 1",
        "SELECT x INTO \"T\" FROM a; SELECT x INTO \"T\" FROM a; SELECT * FROM \"T\"",
        "CREATE OR REPLACE TABLE a AS SELECT x FROM a; CREATE TABLE IF NOT EXISTS a AS SELECT 1; CREATE OR REPLACE VIEW b AS
         SELECT 1",
        "CREATE VIEW v AS SELECT * FROM a; CREATE VIEW w AS SELECT * FROM v; DROP VIEW v; SELECT * FROM w; DROP TABLE w",
        "DROP TABLE a; DROP TABLE IF EXISTS a; DROP TABLE a; CREATE TABLE a AS SELECT 1",
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1; CREATE VIEW s.v AS SELECT * FROM s.t; DROP SCHEMA s;
         DROP SCHEMA s CASCADE; CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 2; SELECT * FROM s.t",
        "CREATE DATABASE c; CREATE SCHEMA c.s; CREATE TABLE c.s.t AS SELECT 1; DROP SCHEMA c.s CASCADE",
        "CREATE TABLE none.t AS SELECT 1; CREATE TABLE c.s.t AS SELECT 1",
        "CREATE SCHEMA \"S\"; SET datafusion.catalog.default_schema = 'S'; CREATE TABLE a AS SELECT 1; SELECT * FROM a;
         RESET datafusion.catalog.default_schema; SELECT * FROM a",
        "SET datafusion.sql_parser.enable_ident_normalization = false; CREATE TABLE T AS SELECT 1; SELECT * FROM T; SELECT * FROM t;
         CREATE SCHEMA Sch; CREATE TABLE Sch.T AS SELECT 1; DROP SCHEMA Sch CASCADE; SELECT * FROM Sch.T;
         SET datafusion.sql_parser.enable_ident_normalization TO true; SELECT * FROM T; DROP TABLE \"T\"",
        "PREPARE p AS SELECT x INTO t FROM a WHERE x > $1; EXECUTE p(0); DEALLOCATE p; EXECUTE p(1)",
        "PREPARE \"P\" AS INSERT INTO a VALUES ($1, $2); EXECUTE \"P\"(1, 2); EXECUTE P(1, 2)",
        "EXPLAIN CREATE TABLE t AS SELECT 1; EXPLAIN SELECT * FROM a; EXPLAIN ANALYZE INSERT INTO a VALUES (1, 2)",
        "INSERT INTO a VALUES (1, 2); UPDATE a SET x = 2 WHERE y = 3; DELETE FROM a WHERE x = 1; TRUNCATE TABLE a",
        "UPDATE a SET x = b.x FROM b WHERE a.y = b.y; DELETE FROM a WHERE x IN (SELECT x FROM b)",
        "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE",
        "ALTER TABLE a RENAME TO c; CREATE TEMPORARY TABLE t AS SELECT 1; CREATE TABLE t (LIKE a); USE public; SELECT * FROM a",
        "CREATE TABLE t (x INT PRIMARY KEY, y TEXT DEFAULT 'a;b'); CREATE MATERIALIZED VIEW m AS SELECT 1; CREATE INDEX i ON a (x)",
        "SHOW TABLES; DESCRIBE a; SHOW COLUMNS FROM a; SHOW datafusion.execution.batch_size; SHOW CREATE TABLE a",
        "CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1; BEGIN; COMMIT; SET TIME ZONE TO 'UTC'; SELECT * FROM a",
        "CREATE TABLE \"$day\" AS SELECT 1 AS x; CREATE TABLE \"a.b\" AS SELECT 1; CREATE TABLE täble AS SELECT 1;
         CREATE TABLE Ä AS SELECT 1; SELECT * FROM \"$day\", \"a.b\", TÄBLE, ä",
    ] {
        check(statements);
    }
}

#[test]
fn each_statement_is_parsed_in_the_dialect_in_force() {
    for statements in [
        "SET datafusion.sql_parser.dialect = 'postgresql'; SELECT 17 # 5; SET datafusion.sql_parser.dialect = 'mysql';
         SELECT `x` FROM `a`; SELECT \"text\" # FROM c\n; RESET datafusion.sql_parser.dialect; SELECT \"x\" FROM \"a\"",
        "SET datafusion.sql_parser.dialect = 'mssql'; SELECT [x] FROM [a]; SET datafusion.sql_parser.dialect = duckdb; SELECT [x] FROM a;
         FROM a",
        "SET datafusion.sql_parser.dialect = 'bigquery'; SELECT * FROM `public.a`; SELECT '''x;''' FROM a",
        "SET datafusion.sql_parser.dialect = 'klingon'; SELECT x FROM a",
        "SET datafusion.sql_parser.dialect = 'mysql'; SELECT 'it\\'s; -- \"' FROM a; SET datafusion.sql_parser.dialect = 'Generic'; SELECT 'c:\\' FROM a",
        "SET datafusion.sql_parser.dialect TO Snowflake; SELECT $$a;b$$ // FROM c\n FROM a; SET datafusion.sql_parser.dialect = hive; SELECT x FROM a",
        "SET datafusion.sql_parser.parse_float_as_decimal = true; SELECT 1.5 FROM a; SET datafusion.sql_parser.collect_spans = true; SELECT x FROM a",
    ] {
        check(statements);
    }
    let nested = format!("SELECT {}x{} FROM a", "(".repeat(60), ")".repeat(60));
    check(&format!("SET datafusion.sql_parser.recursion_limit = 200; {nested}"));
    for nested in [
        nested,
        format!("SELECT {} true", "NOT ".repeat(5_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(500), " END".repeat(500)),
        format!("SELECT * FROM {}a{}", "(SELECT * FROM ".repeat(150), ") x".repeat(150)),
    ] {
        let refused = Script::parse("a.sql", &nested).unwrap_err().shown_by(&Redactor::default());
        assert!(refused.contains("nested too deep"), "{refused}");
    }
    let wrong = Script::parse("a.sql", "SELECT (1 FROM").unwrap_err().shown_by(&Redactor::default());
    assert!(!wrong.contains("nested too deep"), "{wrong}");
}
