//! Tables that cannot be there when the statement that names them is reached.

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
    relations::{Effect, Existing, Mention},
};

/// What is known of a table that is not there. `Display` continues a sentence.
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
            Self::Nowhere { nearest: None } => write!(f, "not defined"),
            Self::Nowhere { nearest: Some(nearest) } => write!(f, "not defined; did you mean {nearest:?}?"),
            Self::Later { line } => write!(f, "defined later, at line {line}"),
            Self::Dropped { line } => write!(f, "dropped before, at line {line}"),
        }
    }
}

impl Pipeline {
    /// Looks for tables that no statement defines in front of the one that names them, and that `session` cannot have
    /// either. [`Pipeline::run`] does so too, before the first statement.
    ///
    /// What cannot be known beforehand is left to DataFusion: the tables of catalogs and schemas that do not only hold
    /// what is registered in them, and all names where the session plans relations by rules of its own.
    ///
    /// # Errors
    /// The first such table, as [`PipelineError::UndefinedTable`].
    pub fn check_tables(&self, session: &SessionContext) -> Result<(), PipelineError> {
        match self.undefined_table(session) {
            Some(UndefinedTable { relation, reason, place }) => {
                Err(PipelineError::UndefinedTable { relation, reason, place })
            }
            None => Ok(()),
        }
    }

    /// As [`Pipeline::check_tables`], as an error of a statement.
    pub(crate) fn undefined_table_error(&self, session: &SessionContext) -> Option<SourceError> {
        let UndefinedTable { relation, reason, place } = self.undefined_table(session)?;
        Some(SourceError { place, node: None, message: format!("table {relation:?} is {reason}") })
    }

    fn undefined_table(&self, session: &SessionContext) -> Option<UndefinedTable> {
        let state = session.state_ref();
        let state = state.read();
        if !state.relation_planners().is_empty() {
            return None;
        }
        let mut tables = Tables { script: ScriptTables::default(), state: &state, pipeline: self };
        for (index, statement) in self.script().statements().iter().enumerate() {
            let relations = &statement.relations;
            for mention in relations.reads.iter().chain(&relations.targets) {
                if let Some(at) = mention.at
                    && !tables.has(mention)
                {
                    return Some(tables.undefined(mention, at, index));
                }
            }
            tables.script.follow(index, &relations.effect);
        }
        None
    }
}

struct UndefinedTable {
    relation: String,
    reason: UndefinedReason,
    place: Box<Place>,
}

/// What the statements so far have defined and dropped.
#[derive(Default)]
pub(crate) struct ScriptTables<'a> {
    pub(crate) in_force: BTreeSet<&'a ResolvedTableReference>,
    dropped: BTreeMap<&'a ResolvedTableReference, usize>,
    dropped_schemas: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> ScriptTables<'a> {
    pub(crate) fn follow(&mut self, index: usize, effect: &'a Effect) {
        match effect {
            Effect::Define { relation, .. } => {
                self.in_force.insert(relation);
            }
            Effect::Drop { relations } => {
                for relation in relations {
                    self.in_force.remove(relation);
                    self.dropped.insert(relation, index);
                }
            }
            Effect::DropSchema { catalog, schema } => {
                self.in_force.retain(|relation| {
                    (&*relation.catalog, &*relation.schema) != (catalog.as_str(), schema.as_str())
                });
                self.dropped_schemas.insert((catalog, schema), index);
            }
            Effect::None | Effect::Change { .. } | Effect::CopyTo { .. } => {}
        }
    }

    /// The statement that took away what had this name in the session.
    fn dropped(&self, relation: &ResolvedTableReference) -> Option<usize> {
        let with_schema = self.dropped_schemas.get(&(&*relation.catalog, &*relation.schema));
        self.dropped.get(relation).max(with_schema).copied()
    }
}

struct Tables<'a> {
    script: ScriptTables<'a>,
    state: &'a SessionState,
    pipeline: &'a Pipeline,
}

impl Tables<'_> {
    fn has(&self, Mention { relation, .. }: &Mention) -> bool {
        self.script.in_force.contains(relation)
            || self.script.dropped(relation).is_none()
                && (self.is_param_table(relation) || may_have(self.state, relation))
    }

    fn is_param_table(&self, relation: &ResolvedTableReference) -> bool {
        self.pipeline.param_tables.iter().any(|used| used.relation == *relation)
    }

    fn undefined(&self, mention: &Mention, at: (usize, usize), index: usize) -> UndefinedTable {
        let script = self.pipeline.script();
        let relation = &mention.relation;
        let line = |index: usize| script.statements()[index].first_line;
        let defines = |index: &usize| {
            matches!(&script.statements()[*index].relations.effect,
                Effect::Define { relation: defined, policy, .. }
                    if defined == relation && *policy != Existing::Keep)
        };
        let reason = if let Some(dropped) = self.script.dropped(relation) {
            UndefinedReason::Dropped { line: line(dropped) }
        } else if let Some(later) = (index..script.statements().len()).find(defines) {
            UndefinedReason::Later { line: line(later) }
        } else {
            let names = self.names();
            let name = name_of_relation(relation);
            UndefinedReason::Nowhere { nearest: nearest(&name, names.iter().map(String::as_str)) }
        };
        UndefinedTable {
            relation: name_of_relation(relation),
            reason,
            place: Box::new(script.source.place(at.0, at.1)),
        }
    }

    /// The tables that could be meant: those of the whole script, of the session and of parameters.
    fn names(&self) -> BTreeSet<String> {
        let statements = self.pipeline.script().statements().iter();
        let defined = statements.filter_map(|statement| match &statement.relations.effect {
            Effect::Define { relation, .. } => Some(name_of_relation(relation)),
            _ => None,
        });
        let parameters = self.pipeline.param_tables.iter().map(|used| name_of_relation(&used.relation));
        defined.chain(parameters).chain(self.names_of_session()).collect()
    }

    fn names_of_session(&self) -> Vec<String> {
        let list = self.state.catalog_list();
        let mut names = Vec::new();
        for catalog_name in list.catalog_names() {
            let Some(catalog) = list.catalog(&catalog_name) else { continue };
            for schema_name in catalog.schema_names() {
                let Some(schema) = catalog.schema(&schema_name) else { continue };
                names.extend(schema.table_names().into_iter().map(|table| {
                    name_of_relation(&ResolvedTableReference {
                        catalog: catalog_name.as_str().into(),
                        schema: schema_name.as_str().into(),
                        table: table.into(),
                    })
                }));
            }
        }
        names
    }
}

/// Whether the session has a table or may come to have it: only what keeps its tables in memory is sure not to.
fn may_have(state: &SessionState, relation: &ResolvedTableReference) -> bool {
    let list = state.catalog_list();
    if &*relation.schema == "information_schema" || !list.is::<MemoryCatalogProviderList>() {
        return true;
    }
    let Some(catalog) = list.catalog(&relation.catalog) else { return false };
    if !catalog.is::<MemoryCatalogProvider>() {
        return true;
    }
    let Some(schema) = catalog.schema(&relation.schema) else { return false };
    !schema.is::<MemorySchemaProvider>() || schema.table_exist(&relation.table)
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
    fn what_comes_later_or_is_gone_is_said() {
        check_refused(
            "SELECT * FROM t;\n\nCREATE TABLE t AS SELECT 1 AS x",
            "a.sql:1:15: table \"t\" is defined later, at line 3",
        );
        check_refused(
            "CREATE TABLE t AS SELECT * FROM t",
            "a.sql:1:33: table \"t\" is defined later, at line 1",
        );
        check_refused(
            "CREATE TABLE t AS SELECT 1;\nDROP TABLE t;\nSELECT * FROM t",
            "a.sql:3:15: table \"t\" is dropped before, at line 2",
        );
        check_refused(
            "CREATE SCHEMA s;\nCREATE TABLE s.t AS SELECT 1;\nDROP SCHEMA s CASCADE;\nSELECT * FROM s.t",
            "a.sql:4:15: table \"s.t\" is dropped before, at line 3",
        );
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
        assert!(error.contains("dropped before, at line 1"), "{error}");
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
