//! What cannot be there when the statement that names it is reached: tables, schemas, functions and prepared statements.

use std::{collections::BTreeSet, fmt, path::Path};

use datafusion::{
    catalog::{MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider},
    common::ResolvedTableReference,
    execution::{SessionState, context::SessionContext},
    logical_expr::Deallocate,
    logical_expr::{LogicalPlan, Statement as PlannedStatement},
};
use futures::FutureExt;

use crate::{
    Pipeline, PipelineError, Place, SourceError, UnsupportedStatement,
    names::name_of_relation,
    pipeline::nearest,
    relations::{Effect, Mention, NameAt, Relations},
    script_names::{ScriptNames, schema_of},
};

/// What a name stands for that nothing defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UndefinedKind {
    /// A table or view.
    Table,
    /// A schema.
    Schema,
    /// A function.
    Function,
    /// A prepared statement.
    PreparedStatement,
}

impl fmt::Display for UndefinedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Schema => "schema",
            Self::Function => "function",
            Self::PreparedStatement => "prepared statement",
        })
    }
}

/// What is known of something that is not there. `Display` continues a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndefinedReason {
    /// Nothing defines it.
    Nowhere {
        /// The thing of its kind with the most similar name.
        nearest: Option<String>,
    },
    /// Nothing defines a table of this name, which looks like that of a file.
    File {
        /// The name.
        path: String,
        /// The format of its files, as `STORED AS` takes it.
        format: &'static str,
    },
    /// A statement further down defines it.
    Later {
        /// The line of that statement.
        line: usize,
    },
    /// A statement further up dropped it.
    Dropped {
        /// The line of that statement.
        line: usize,
    },
}

impl fmt::Display for UndefinedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere { nearest: None } => write!(f, "is not defined"),
            Self::Nowhere { nearest: Some(nearest) } => {
                write!(f, "is not defined; did you mean {nearest:?}?")
            }
            Self::File { path, format } => write!(
                f,
                "is not defined, and this session does not read files by their names: write \
                 `CREATE EXTERNAL TABLE name STORED AS {format} LOCATION '{path}'`, then read that table"
            ),
            Self::Later { line } => write!(f, "is defined only at line {line}"),
            Self::Dropped { line } => write!(f, "was dropped at line {line}"),
        }
    }
}

impl Pipeline {
    /// Looks for tables, schemas, functions and prepared statements that no statement defines in front of the one that
    /// needs them, and that `session` cannot have either, and for statements that it cannot run. [`Pipeline::run`] does so
    /// too, before the first statement.
    ///
    /// What cannot be known beforehand is left to DataFusion: the tables of catalogs and schemas that do not only hold
    /// what is registered in them, and all names where the session plans relations by rules of its own.
    ///
    /// # Errors
    /// The first of them, as [`PipelineError::Undefined`] or [`PipelineError::Unsupported`].
    pub fn check_tables(&self, session: &SessionContext) -> Result<(), PipelineError> {
        self.refused(session).map_or(Ok(()), Err)
    }

    /// As [`Pipeline::check_tables`], as an error of a statement.
    pub(crate) fn undefined_error(&self, session: &SessionContext) -> Option<SourceError> {
        let (place, message) = match self.refused(session)? {
            PipelineError::Undefined { kind, name, reason, place } => {
                (place, format!("{kind} {name:?} {reason}"))
            }
            PipelineError::Unsupported { statement, place } => (place, statement.to_string()),
            // Nothing else is looked for.
            _ => return None,
        };
        Some(SourceError { place, node: None, message, cause: None })
    }

    fn refused(&self, session: &SessionContext) -> Option<PipelineError> {
        let state = session.state_ref();
        let state = state.read();
        let mut names = Defined { script: ScriptNames::default(), state: &state, pipeline: self };
        for (index, statement) in self.script().statements().iter().enumerate() {
            let relations = &statement.relations;
            let start = (statement.first_line, statement.first_column);
            if let Some(statement) = names.unsupported(relations) {
                return Some(PipelineError::Unsupported { statement, place: names.place(start) });
            }
            if let Some(undefined) = names.missing(index, relations) {
                let Undefined { kind, name, reason, at } = undefined;
                return Some(PipelineError::Undefined { kind, name, reason, place: names.place(at) });
            }
            names.script.follow(index, &relations.effect);
        }
        None
    }
}

struct Undefined {
    kind: UndefinedKind,
    name: String,
    reason: UndefinedReason,
    /// The line and column.
    at: (usize, usize),
}

/// What the script has defined so far, and the session.
struct Defined<'a> {
    script: ScriptNames<'a>,
    state: &'a SessionState,
    pipeline: &'a Pipeline,
}

impl Defined<'_> {
    fn unsupported(&self, relations: &Relations) -> Option<UnsupportedStatement> {
        match relations.effect {
            Effect::DefineFunction { at: Some(_), .. } if self.state.function_factory().is_none() => {
                Some(UnsupportedStatement::CreateFunction)
            }
            _ => relations.unsupported.as_deref().cloned(),
        }
    }

    /// The first thing that a statement needs and that is not there.
    fn missing(&self, index: usize, relations: &Relations) -> Option<Undefined> {
        if let Some(NameAt { name, at }) = relations.prepared.as_deref()
            && !self.has_prepared(name)
        {
            return Some(self.undefined_prepared(name, *at, index));
        }
        if self.state.relation_planners().is_empty() {
            for Mention { relation, at } in relations.reads.iter().chain(&relations.targets) {
                if let Some(at) = *at
                    && !self.has_table(relation)
                {
                    return Some(self.undefined_table(relation, at, index));
                }
            }
        }
        match &relations.effect {
            Effect::Define { relation, at: Some(at), .. } if self.state.relation_planners().is_empty() => {
                let schema = schema_of(relation);
                (!self.has_schema(schema)).then(|| self.undefined_schema(schema, *at, index))
            }
            Effect::DropSchema { catalog, schema, at: Some(at) } => {
                let schema = (catalog.as_str(), schema.as_str());
                (!self.has_schema(schema)).then(|| self.undefined_schema(schema, *at, index))
            }
            Effect::DropFunction { name, at: Some(at) } => {
                (!self.has_function(name)).then(|| self.undefined_function(name, *at, index))
            }
            _ => None,
        }
    }

    fn has_table(&self, relation: &ResolvedTableReference) -> bool {
        self.script.tables.contains(relation)
            || self.script.dropped(relation).is_none()
                && (self.param_tables().any(|table| table == relation) || may_have(self.state, relation))
    }

    fn has_schema(&self, schema: (&str, &str)) -> bool {
        self.script.schemas.contains(&schema)
            || self.script.dropped_schema(schema).is_none()
                && (self.param_tables().any(|table| schema_of(table) == schema)
                    || may_have_schema(self.state, schema))
    }

    fn has_function(&self, name: &str) -> bool {
        self.script.functions.has(name)
            || self.script.functions.dropped(name).is_none()
                && (self.functions().any(|known| known == name)
                    // What a factory makes may have another name than its statement says.
                    || self.state.function_factory().is_some() && self.defines_functions())
    }

    fn has_prepared(&self, name: &str) -> bool {
        self.script.prepared.has(name)
            || self.script.prepared.dropped(name).is_none() && has_prepared(self.state, name)
    }

    fn param_tables(&self) -> impl Iterator<Item = &ResolvedTableReference> {
        self.pipeline.param_tables.iter().map(|used| &used.relation)
    }

    /// The names of all functions of the session.
    fn functions(&self) -> impl Iterator<Item = &String> {
        let state = self.state;
        let scalars = state.scalar_functions().keys().chain(state.higher_order_functions().keys());
        let others = state.aggregate_functions().keys().chain(state.window_functions().keys());
        scalars.chain(others).chain(state.table_functions().keys())
    }

    fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.pipeline.script().statements().iter().map(|statement| &statement.relations.effect)
    }

    fn defines_functions(&self) -> bool {
        self.effects().any(|effect| matches!(effect, Effect::DefineFunction { .. }))
    }

    fn undefined_table(
        &self,
        relation: &ResolvedTableReference,
        at: (usize, usize),
        index: usize,
    ) -> Undefined {
        let defines = |effect: &Effect| match effect {
            Effect::Define { relation: defined, .. } => defined == relation,
            _ => false,
        };
        let name = name_of_relation(relation);
        let reason = self.reason(&name, self.script.dropped(relation), index, defines, || self.tables());
        let reason = match (reason, format_of_file(&name)) {
            (UndefinedReason::Nowhere { .. }, Some(format)) => {
                UndefinedReason::File { path: name.clone(), format }
            }
            (reason, _) => reason,
        };
        Undefined { kind: UndefinedKind::Table, name, reason, at }
    }

    fn undefined_schema(&self, schema: (&str, &str), at: (usize, usize), index: usize) -> Undefined {
        let defines = |effect: &Effect| match effect {
            Effect::DefineSchema { catalog, schema: defined } => {
                (catalog.as_str(), defined.as_str()) == schema
            }
            _ => false,
        };
        let name = name_of_schema(schema);
        let dropped = self.script.dropped_schema(schema);
        let reason = self.reason(&name, dropped, index, defines, || self.schemas());
        Undefined { kind: UndefinedKind::Schema, name, reason, at }
    }

    fn undefined_function(&self, name: &str, at: (usize, usize), index: usize) -> Undefined {
        let defines = |effect: &Effect| matches!(effect, Effect::DefineFunction { name: defined, .. } if defined == name);
        let others = || {
            let of_script = self.effects().filter_map(|effect| match effect {
                Effect::DefineFunction { name, .. } => Some(name),
                _ => None,
            });
            of_script.chain(self.functions()).cloned().collect()
        };
        let reason = self.reason(name, self.script.functions.dropped(name), index, defines, others);
        Undefined { kind: UndefinedKind::Function, name: name.to_owned(), reason, at }
    }

    fn undefined_prepared(&self, name: &str, at: (usize, usize), index: usize) -> Undefined {
        let defines =
            |effect: &Effect| matches!(effect, Effect::Prepare { name: prepared } if prepared == name);
        let others = || {
            let of_script = self.effects().filter_map(|effect| match effect {
                Effect::Prepare { name } => Some(name.clone()),
                _ => None,
            });
            of_script.collect()
        };
        let reason = self.reason(name, self.script.prepared.dropped(name), index, defines, others);
        Undefined { kind: UndefinedKind::PreparedStatement, name: name.to_owned(), reason, at }
    }

    fn reason(
        &self,
        name: &str,
        dropped: Option<usize>,
        index: usize,
        defines: impl Fn(&Effect) -> bool,
        others: impl FnOnce() -> BTreeSet<String>,
    ) -> UndefinedReason {
        let statements = self.pipeline.script().statements();
        if let Some(dropped) = dropped {
            return UndefinedReason::Dropped { line: statements[dropped].first_line };
        }
        match statements[index..].iter().find(|statement| defines(&statement.relations.effect)) {
            Some(later) => UndefinedReason::Later { line: later.first_line },
            None => UndefinedReason::Nowhere { nearest: nearest(name, others().iter().map(String::as_str)) },
        }
    }

    fn place(&self, (line, column): (usize, usize)) -> Box<Place> {
        Box::new(self.pipeline.script().source.place(line, column))
    }

    /// The tables that could be meant: those of the whole script, of the session and of parameters.
    fn tables(&self) -> BTreeSet<String> {
        let defined = self.effects().filter_map(|effect| match effect {
            Effect::Define { relation, .. } => Some(name_of_relation(relation)),
            _ => None,
        });
        let of_session = self.schemas_of_session().into_iter().flat_map(|(catalog, schema, tables)| {
            let resolve = move |table: String| ResolvedTableReference {
                catalog: catalog.as_str().into(),
                schema: schema.as_str().into(),
                table: table.into(),
            };
            tables.into_iter().map(move |table| name_of_relation(&resolve(table)))
        });
        defined.chain(self.param_tables().map(name_of_relation)).chain(of_session).collect()
    }

    /// The schemas that could be meant.
    fn schemas(&self) -> BTreeSet<String> {
        let defined = self.effects().filter_map(|effect| match effect {
            Effect::DefineSchema { catalog, schema } => Some(name_of_schema((catalog, schema))),
            _ => None,
        });
        let of_session = self.schemas_of_session().into_iter();
        defined.chain(of_session.map(|(catalog, schema, _)| name_of_schema((&catalog, &schema)))).collect()
    }

    /// The catalogs, schemas and tables of the session.
    fn schemas_of_session(&self) -> Vec<(String, String, Vec<String>)> {
        let list = self.state.catalog_list();
        let mut found = Vec::new();
        for catalog_name in list.catalog_names() {
            let Some(catalog) = list.catalog(&catalog_name) else { continue };
            for schema_name in catalog.schema_names() {
                let tables = catalog.schema(&schema_name).map(|schema| schema.table_names());
                found.push((catalog_name.clone(), schema_name, tables.unwrap_or_default()));
            }
        }
        found
    }
}

/// The schema's name as one would write it in a session that nobody configured.
fn name_of_schema((catalog, schema): (&str, &str)) -> String {
    if catalog == "datafusion" { schema.to_owned() } else { format!("{catalog}.{schema}") }
}

/// Whether the session has a table or may come to have it: only what keeps its tables in memory is sure not to.
fn may_have(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    if !may_have_schema(state, schema_of(relation)) {
        return false;
    }
    let catalog = state.catalog_list().catalog(&relation.catalog);
    let Some(schema) = catalog.and_then(|catalog| catalog.schema(&relation.schema)) else { return true };
    !schema.is::<MemorySchemaProvider>() || schema.table_exist(&relation.table)
}

/// Whether the session has a schema, named with its catalog, or may come to have it.
fn may_have_schema(state: &SessionState, (catalog, schema): (&str, &str)) -> bool {
    let list = state.catalog_list();
    if schema == "information_schema" || !list.is::<MemoryCatalogProviderList>() {
        return true;
    }
    match list.catalog(catalog) {
        Some(catalog) => !catalog.is::<MemoryCatalogProvider>() || catalog.schema(schema).is_some(),
        None => false,
    }
}

/// Whether the session has a prepared statement. It does not say so, but it frees only what it has; a copy of it is asked.
fn has_prepared(state: &SessionState, name: &str) -> bool {
    let copy = SessionContext::new_with_state(state.clone());
    let free = LogicalPlan::Statement(PlannedStatement::Deallocate(Deallocate { name: name.to_owned() }));
    matches!(copy.execute_logical_plan(free).now_or_never(), Some(Ok(_)))
}

/// The format of the files that a name looks like.
fn format_of_file(name: &str) -> Option<&'static str> {
    let mut path = Path::new(name);
    let mut ending = path.extension()?.to_str()?.to_ascii_lowercase();
    if ["gz", "bz2", "xz", "zst"].contains(&ending.as_str()) {
        path = Path::new(path.file_stem()?);
        ending = path.extension()?.to_str()?.to_ascii_lowercase();
    }
    match ending.as_str() {
        "parquet" => Some("PARQUET"),
        "csv" | "tsv" | "txt" => Some("CSV"),
        "json" | "ndjson" | "jsonl" => Some("JSON"),
        "avro" => Some("AVRO"),
        "arrow" | "feather" => Some("ARROW"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::{
        catalog::SchemaProvider,
        prelude::{SessionConfig, SessionContext},
    };

    use super::*;
    use crate::{PipelineOptions, Script};

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
    fn what_comes_later_or_is_gone_is_said() {
        check_refused(
            "SELECT * FROM t;\n\nCREATE TABLE t AS SELECT 1 AS x",
            "a.sql:1:15: table \"t\" is defined only at line 3",
        );
        check_refused(
            "CREATE TABLE t AS SELECT * FROM t",
            "a.sql:1:33: table \"t\" is defined only at line 1",
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
        check_refused(
            "DROP SCHEMA s;\nCREATE SCHEMA s",
            "a.sql:1:13: schema \"s\" is defined only at line 2",
        );
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
            "PREPARE p AS CREATE TABLE t AS SELECT 1; EXECUTE p; SELECT * FROM t",
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

    /// A schema that makes up a table when it is asked.
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
        ) -> datafusion::error::Result<Option<std::sync::Arc<dyn datafusion::catalog::TableProvider>>>
        {
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
}
