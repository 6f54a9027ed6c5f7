//! Which relations a statement reads and what it does to others, from its syntax tree.

use std::sync::Arc;

use datafusion::{
    common::{ResolvedTableReference, TableReference},
    sql::{
        parser::Statement as ParsedStatement,
        planner::object_name_to_table_reference,
        resolve::resolve_table_references,
        sqlparser::ast::{
            Expr, FromTable, ObjectName, ObjectType, Query, Set, Statement as SqlStatement, TableFactor,
            TableObject, TableWithJoins, Value,
        },
    },
};

/// The catalog and schema that unqualified names belong to.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    catalog: Arc<str>,
    schema: Arc<str>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { catalog: "datafusion".into(), schema: "public".into() }
    }
}

impl Defaults {
    pub(crate) fn resolve(&self, name: TableReference) -> ResolvedTableReference {
        name.resolve(&self.catalog, &self.schema)
    }

    /// Follows a `SET` of the session's default catalog or schema.
    pub(crate) fn follow(&mut self, parsed: &ParsedStatement) {
        let ParsedStatement::Statement(statement) = parsed else { return };
        let SqlStatement::Set(Set::SingleAssignment { variable, values, .. }) = &**statement else { return };
        let Some(value) = values.first().and_then(text_of) else { return };
        match variable.to_string().to_lowercase().as_str() {
            "datafusion.catalog.default_catalog" => self.catalog = value.into(),
            "datafusion.catalog.default_schema" => self.schema = value.into(),
            _ => {}
        }
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(name) => Some(&name.value),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// What a statement does to relations and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Define { relation: TableReference, policy: Existing, locations: Vec<String> },
    Change { relation: TableReference },
    CopyTo { target: String, format: Option<String> },
    Drop { relations: Vec<TableReference> },
}

/// What a definition does where there is a relation of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
    Keep,
}

impl Existing {
    fn of(or_replace: bool, if_not_exists: bool) -> Self {
        match (or_replace, if_not_exists) {
            (true, _) => Self::Replace,
            (false, true) => Self::Keep,
            (false, false) => Self::Refuse,
        }
    }
}

pub(crate) fn effect(parsed: &ParsedStatement) -> Effect {
    let define = |name: &ObjectName, policy, locations: &[String]| match reference(name) {
        Some(relation) => Effect::Define { relation, policy, locations: locations.to_vec() },
        None => Effect::None,
    };
    let change = |name: Option<&ObjectName>| match name.and_then(reference) {
        Some(relation) => Effect::Change { relation },
        None => Effect::None,
    };
    match parsed {
        ParsedStatement::CreateExternalTable(table) => {
            define(&table.name, Existing::of(table.or_replace, table.if_not_exists), &table.locations)
        }
        ParsedStatement::CopyTo(copy) => {
            Effect::CopyTo { target: copy.target.clone(), format: copy.stored_as.clone() }
        }
        ParsedStatement::Explain(_) | ParsedStatement::Reset(_) => Effect::None,
        ParsedStatement::Statement(statement) => match &**statement {
            SqlStatement::CreateView(view) => {
                define(&view.name, Existing::of(view.or_replace, view.if_not_exists), &[])
            }
            SqlStatement::CreateTable(table) => {
                define(&table.name, Existing::of(table.or_replace, table.if_not_exists), &[])
            }
            SqlStatement::Insert(insert) => change(match &insert.table {
                TableObject::TableName(name) => Some(name),
                _ => None,
            }),
            SqlStatement::Update(update) => change(named(&update.table.relation)),
            SqlStatement::Delete(delete) => change(match &delete.from {
                FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => first_named(tables),
            }),
            SqlStatement::Truncate(truncate) => change(truncate.table_names.first().map(|table| &table.name)),
            SqlStatement::Merge(merge) => change(named(&merge.table)),
            SqlStatement::Drop { object_type: ObjectType::Table | ObjectType::View, names, .. } => {
                Effect::Drop { relations: names.iter().filter_map(reference).collect() }
            }
            _ => Effect::None,
        },
    }
}

/// The relations that a statement reads: those of its query with all subqueries, without common table expressions.
pub(crate) fn reads(parsed: &ParsedStatement) -> Vec<TableReference> {
    let query = |query: &Query| {
        resolved(&ParsedStatement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone())))))
    };
    match parsed {
        ParsedStatement::CopyTo(_) => resolved(parsed),
        ParsedStatement::CreateExternalTable(_) | ParsedStatement::Explain(_) | ParsedStatement::Reset(_) => {
            Vec::new()
        }
        ParsedStatement::Statement(statement) => match &**statement {
            SqlStatement::CreateView(view) => query(&view.query),
            SqlStatement::CreateTable(table) => table.query.as_deref().map(query).unwrap_or_default(),
            SqlStatement::Insert(insert) => insert.source.as_deref().map(query).unwrap_or_default(),
            SqlStatement::Query(_)
            | SqlStatement::Update(_)
            | SqlStatement::Delete(_)
            | SqlStatement::Truncate(_)
            | SqlStatement::Merge(_) => resolved(parsed),
            _ => Vec::new(),
        },
    }
}

/// A name that DataFusion cannot resolve has no definition either; the planner will say so when it is run.
fn resolved(parsed: &ParsedStatement) -> Vec<TableReference> {
    resolve_table_references(parsed, true).map(|(relations, _)| relations).unwrap_or_default()
}

fn reference(name: &ObjectName) -> Option<TableReference> {
    object_name_to_table_reference(name.clone(), true).ok()
}

fn first_named(tables: &[TableWithJoins]) -> Option<&ObjectName> {
    tables.first().and_then(|table| named(&table.relation))
}

fn named(table: &TableFactor) -> Option<&ObjectName> {
    match table {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Script;

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        let script = Script::parse("a.sql", sql).unwrap();
        let mut found: Vec<String> =
            reads(&script.statements()[0].parsed).iter().map(ToString::to_string).collect();
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
    fn names_in_texts_aliases_and_columns_are_no_relations() {
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
}
