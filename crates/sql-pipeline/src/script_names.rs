//! Tracks what the statements of a script define and drop.

use std::collections::BTreeMap;

use datafusion::common::ResolvedTableReference;

use crate::{
    effect::{Effect, Existing},
    kind::StatementKind,
    statement::Statement,
};

/// The names that were defined and dropped so far.
#[derive(Default)]
pub(crate) struct ScriptNames<'a> {
    pub(crate) tables: BTreeMap<&'a ResolvedTableReference, Made>,
    /// Schemas and catalogs, with the statements that created them.
    pub(crate) schemas: BTreeMap<(&'a str, &'a str), usize>,
    pub(crate) catalogs: BTreeMap<&'a str, usize>,
    pub(crate) functions: Names<'a>,
    pub(crate) prepared: Names<'a>,
    dropped: BTreeMap<&'a ResolvedTableReference, usize>,
    dropped_schemas: BTreeMap<(&'a str, &'a str), usize>,
}

/// A table or view that a statement has created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) by: usize,
    pub(crate) kind: RelationKind,
}

/// The kind of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    /// An in-memory table from `CREATE TABLE`.
    Table,
    /// A view from `CREATE VIEW`.
    View,
    /// A table of files, created by DataFusion's own factories with `CREATE EXTERNAL TABLE`.
    Files,
    /// Any other table, such as an external one of another type.
    ForeignTable,
    /// Any other view.
    ForeignView,
}

impl RelationKind {
    pub(crate) const fn is_view(self) -> bool {
        matches!(self, Self::View | Self::ForeignView)
    }

    /// The kind of relation that a statement defines.
    const fn of(statement: StatementKind) -> Self {
        match statement {
            StatementKind::View => Self::View,
            StatementKind::Table => Self::Table,
            _ => Self::ForeignTable,
        }
    }
}

/// Names outside the catalog.
#[derive(Default)]
pub(crate) struct Names<'a> {
    /// With the defining statements; below, with the dropping ones.
    defined: BTreeMap<&'a str, usize>,
    dropped: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(crate) fn defined(&self, name: &str) -> Option<usize> {
        self.defined.get(name).copied()
    }

    pub(crate) fn dropped(&self, name: &str) -> Option<usize> {
        self.dropped.get(name).copied()
    }

    fn define(&mut self, name: &'a str, index: usize) {
        self.defined.insert(name, index);
    }

    fn drop(&mut self, name: &'a str, index: usize) {
        self.defined.remove(name);
        self.dropped.insert(name, index);
    }
}

impl<'a> ScriptNames<'a> {
    /// Follows a statement that the session has accepted. `in_session` returns what the session had under a name before the script.
    pub(crate) fn follow(
        &mut self,
        index: usize,
        statement: &'a Statement,
        in_session: &dyn Fn(&ResolvedTableReference) -> Option<RelationKind>,
    ) {
        match &statement.relations.effect {
            Effect::Define { relation, policy, .. } => {
                let keeps = matches!(policy, Existing::Keep | Existing::Both);
                // IF NOT EXISTS keeps an existing relation, and the statement that created it.
                if !keeps || self.kind_of(relation, in_session).is_none() {
                    let kind = RelationKind::of(statement.kind);
                    self.tables.insert(relation, Made { by: index, kind });
                }
            }
            Effect::DefineCatalog { catalog, .. } => {
                self.catalogs.entry(catalog).or_insert(index);
            }
            Effect::DefineSchema { catalog, schema, .. } => {
                // The first one is kept: a second is either an error or does nothing.
                self.schemas.entry((catalog, schema)).or_insert(index);
            }
            Effect::Drop { relations, views, if_exists } => {
                for relation in relations {
                    // With IF EXISTS, a table that is called a view is kept, and so is a view that is called a table.
                    let kind = self.kind_of(relation, in_session);
                    if kind.map_or(!if_exists, |kind| kind.is_view() == *views) {
                        self.tables.remove(relation);
                        self.dropped.insert(relation, index);
                    }
                }
            }
            Effect::DropSchema { catalog, schema, .. } => {
                let dropped = (catalog.as_str(), schema.as_str());
                // Its tables are dropped with it.
                self.tables.retain(|relation, _| schema_of(relation) != dropped);
                self.schemas.remove(&dropped);
                self.dropped_schemas.insert(dropped, index);
            }
            Effect::DefineFunction { name, .. } => self.functions.define(name, index),
            Effect::DropFunction { name, .. } => self.functions.drop(name, index),
            Effect::Prepare { name, .. } => self.prepared.define(name, index),
            Effect::Deallocate { name } => self.prepared.drop(name, index),
            Effect::None | Effect::Change { .. } | Effect::CopyTo { .. } => {}
        }
    }

    /// What exists under a name now; `None` if nothing does, or if that is unknown for the session.
    pub(crate) fn kind_of(
        &self,
        relation: &ResolvedTableReference,
        in_session: &dyn Fn(&ResolvedTableReference) -> Option<RelationKind>,
    ) -> Option<RelationKind> {
        match self.tables.get(relation) {
            Some(made) => Some(made.kind),
            // What the script has dropped no longer exists, although the session, which has run nothing yet, still has it.
            None if self.dropped(relation).is_none() => in_session(relation),
            None => None,
        }
    }

    /// The statement that dropped what had this name in the session.
    pub(crate) fn dropped(&self, relation: &ResolvedTableReference) -> Option<usize> {
        let with_schema = self.dropped_schema(schema_of(relation));
        self.dropped.get(relation).copied().max(with_schema)
    }

    pub(crate) fn dropped_schema(&self, schema: (&str, &str)) -> Option<usize> {
        self.dropped_schemas.get(&schema).copied()
    }
}

/// The catalog and schema of a relation.
pub(crate) fn schema_of(relation: &ResolvedTableReference) -> (&str, &str) {
    (&relation.catalog, &relation.schema)
}
