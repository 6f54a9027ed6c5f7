//! Tables and schemas that cannot be there when the statement that names them is reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use datafusion::{
    catalog::{MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider},
    common::ResolvedTableReference,
    execution::{SessionState, context::SessionContext},
};

use crate::{
    Pipeline, PipelineError, Place, SourceError,
    names::name_of_relation,
    pipeline::nearest,
    relations::{Effect, Mention},
};

/// What is known of a table or schema that is not there. `Display` continues a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndefinedReason {
    /// Nothing defines it.
    Nowhere {
        /// The table with the most similar name.
        nearest: Option<String>,
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
            Self::Later { line } => write!(f, "is defined only at line {line}"),
            Self::Dropped { line } => write!(f, "was dropped at line {line}"),
        }
    }
}

impl Pipeline {
    /// Looks for tables and schemas that no statement defines in front of the one that needs them, and that `session`
    /// cannot have either. [`Pipeline::run`] does so too, before the first statement.
    ///
    /// What cannot be known beforehand is left to DataFusion: the tables of catalogs and schemas that do not only hold
    /// what is registered in them, and all names where the session plans relations by rules of its own.
    ///
    /// # Errors
    /// The first of them, as [`PipelineError::Undefined`].
    pub fn check_tables(&self, session: &SessionContext) -> Result<(), PipelineError> {
        match self.undefined(session) {
            Some(Undefined { kind, name, reason, place }) => {
                Err(PipelineError::Undefined { kind, name, reason, place })
            }
            None => Ok(()),
        }
    }

    /// As [`Pipeline::check_tables`], as an error of a statement.
    pub(crate) fn undefined_error(&self, session: &SessionContext) -> Option<SourceError> {
        let Undefined { kind, name, reason, place } = self.undefined(session)?;
        Some(SourceError { place, node: None, message: format!("{kind} {name:?} {reason}") })
    }

    fn undefined(&self, session: &SessionContext) -> Option<Undefined> {
        let state = session.state_ref();
        let state = state.read();
        if !state.relation_planners().is_empty() {
            return None;
        }
        let mut names = Names { script: ScriptTables::default(), state: &state, pipeline: self };
        for (index, statement) in self.script().statements().iter().enumerate() {
            let relations = &statement.relations;
            for Mention { relation, at } in relations.reads.iter().chain(&relations.targets) {
                if let Some(at) = *at
                    && !names.has_table(relation)
                {
                    return Some(names.undefined_table(relation, at, index));
                }
            }
            if let Effect::Define { relation, at: Some(at), .. } = &relations.effect
                && !names.has_schema(relation)
            {
                return Some(names.undefined_schema(relation, *at, index));
            }
            names.script.follow(index, &relations.effect);
        }
        None
    }
}

struct Undefined {
    kind: &'static str,
    name: String,
    reason: UndefinedReason,
    place: Box<Place>,
}

/// What the statements so far have defined and dropped.
#[derive(Default)]
pub(crate) struct ScriptTables<'a> {
    pub(crate) in_force: BTreeSet<&'a ResolvedTableReference>,
    schemas: BTreeSet<(&'a str, &'a str)>,
    dropped: BTreeMap<&'a ResolvedTableReference, usize>,
    dropped_schemas: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> ScriptTables<'a> {
    pub(crate) fn follow(&mut self, index: usize, effect: &'a Effect) {
        match effect {
            Effect::Define { relation, .. } => {
                self.in_force.insert(relation);
            }
            Effect::DefineSchema { catalog, schema } => {
                self.schemas.insert((catalog, schema));
            }
            Effect::Drop { relations } => {
                for relation in relations {
                    self.in_force.remove(relation);
                    self.dropped.insert(relation, index);
                }
            }
            Effect::DropSchema { catalog, schema } => {
                let dropped = (catalog.as_str(), schema.as_str());
                self.in_force.retain(|relation| schema_of(relation) != dropped);
                self.schemas.remove(&dropped);
                self.dropped_schemas.insert(dropped, index);
            }
            Effect::None | Effect::Change { .. } | Effect::CopyTo { .. } | Effect::DefineCatalog { .. } => {}
        }
    }

    /// The statement that took away what had this name in the session.
    fn dropped(&self, relation: &ResolvedTableReference) -> Option<usize> {
        let with_schema = self.dropped_schemas.get(&schema_of(relation));
        self.dropped.get(relation).max(with_schema).copied()
    }
}

fn schema_of(relation: &ResolvedTableReference) -> (&str, &str) {
    (&relation.catalog, &relation.schema)
}

struct Names<'a> {
    script: ScriptTables<'a>,
    state: &'a SessionState,
    pipeline: &'a Pipeline,
}

impl Names<'_> {
    fn has_table(&self, relation: &ResolvedTableReference) -> bool {
        self.script.in_force.contains(relation)
            || self.script.dropped(relation).is_none()
                && (self.param_tables().any(|table| table == relation) || may_have(self.state, relation))
    }

    fn has_schema(&self, relation: &ResolvedTableReference) -> bool {
        let schema = schema_of(relation);
        self.script.schemas.contains(&schema)
            || !self.script.dropped_schemas.contains_key(&schema)
                && (self.param_tables().any(|table| schema_of(table) == schema)
                    || may_have_schema(self.state, relation))
    }

    fn param_tables(&self) -> impl Iterator<Item = &ResolvedTableReference> {
        self.pipeline.param_tables.iter().map(|used| &used.relation)
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
        Undefined { kind: "table", name, reason, place: self.place(at) }
    }

    fn undefined_schema(
        &self,
        relation: &ResolvedTableReference,
        at: (usize, usize),
        index: usize,
    ) -> Undefined {
        let (catalog, schema) = schema_of(relation);
        let defines = |effect: &Effect| match effect {
            Effect::DefineSchema { catalog: of, schema: defined } => {
                (of.as_str(), defined.as_str()) == (catalog, schema)
            }
            _ => false,
        };
        let name = name_of_schema(catalog, schema);
        let dropped = self.script.dropped_schemas.get(&(catalog, schema)).copied();
        let reason = self.reason(&name, dropped, index, defines, || self.schemas());
        Undefined { kind: "schema", name, reason, place: self.place(at) }
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
        let statements = self.pipeline.script().statements().iter();
        let defined = statements.filter_map(|statement| match &statement.relations.effect {
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
        let statements = self.pipeline.script().statements().iter();
        let defined = statements.filter_map(|statement| match &statement.relations.effect {
            Effect::DefineSchema { catalog, schema } => Some(name_of_schema(catalog, schema)),
            _ => None,
        });
        let of_session = self.schemas_of_session().into_iter();
        defined.chain(of_session.map(|(catalog, schema, _)| name_of_schema(&catalog, &schema))).collect()
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
fn name_of_schema(catalog: &str, schema: &str) -> String {
    if catalog == "datafusion" { schema.to_owned() } else { format!("{catalog}.{schema}") }
}

/// Whether the session has a table or may come to have it: only what keeps its tables in memory is sure not to.
fn may_have(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    if !may_have_schema(state, relation) {
        return false;
    }
    let catalog = state.catalog_list().catalog(&relation.catalog);
    let Some(schema) = catalog.and_then(|catalog| catalog.schema(&relation.schema)) else { return true };
    !schema.is::<MemorySchemaProvider>() || schema.table_exist(&relation.table)
}

/// Whether the session has the schema of a relation or may come to have it.
fn may_have_schema(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    let list = state.catalog_list();
    if &*relation.schema == "information_schema" || !list.is::<MemoryCatalogProviderList>() {
        return true;
    }
    match list.catalog(&relation.catalog) {
        Some(catalog) => !catalog.is::<MemoryCatalogProvider>() || catalog.schema(&relation.schema).is_some(),
        None => false,
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
