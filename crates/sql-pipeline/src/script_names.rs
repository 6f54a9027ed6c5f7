//! What the statements of a script define and drop, as they are followed.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ResolvedTableReference;

use crate::relations::Effect;

/// The names that the statements so far have defined and dropped.
#[derive(Default)]
pub(crate) struct ScriptNames<'a> {
    pub(crate) tables: BTreeSet<&'a ResolvedTableReference>,
    pub(crate) schemas: BTreeSet<(&'a str, &'a str)>,
    pub(crate) functions: Names<'a>,
    pub(crate) prepared: Names<'a>,
    dropped: BTreeMap<&'a ResolvedTableReference, usize>,
    dropped_schemas: BTreeMap<(&'a str, &'a str), usize>,
}

/// Names that have no place in a catalog.
#[derive(Default)]
pub(crate) struct Names<'a> {
    defined: BTreeSet<&'a str>,
    /// With the statements that did it.
    dropped: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.defined.contains(name)
    }

    pub(crate) fn dropped(&self, name: &str) -> Option<usize> {
        self.dropped.get(name).copied()
    }

    fn define(&mut self, name: &'a str) {
        self.defined.insert(name);
    }

    fn drop(&mut self, name: &'a str, index: usize) {
        self.defined.remove(name);
        self.dropped.insert(name, index);
    }
}

impl<'a> ScriptNames<'a> {
    pub(crate) fn follow(&mut self, index: usize, effect: &'a Effect) {
        match effect {
            Effect::Define { relation, .. } => {
                self.tables.insert(relation);
            }
            Effect::DefineSchema { catalog, schema } => {
                self.schemas.insert((catalog, schema));
            }
            Effect::Drop { relations } => {
                for relation in relations {
                    self.tables.remove(relation);
                    self.dropped.insert(relation, index);
                }
            }
            Effect::DropSchema { catalog, schema, .. } => {
                let dropped = (catalog.as_str(), schema.as_str());
                self.tables.retain(|relation| schema_of(relation) != dropped);
                self.schemas.remove(&dropped);
                self.dropped_schemas.insert(dropped, index);
            }
            Effect::DefineFunction { name, .. } => self.functions.define(name),
            Effect::DropFunction { name, .. } => self.functions.drop(name, index),
            Effect::Prepare { name } => self.prepared.define(name),
            Effect::Deallocate { name } => self.prepared.drop(name, index),
            Effect::None | Effect::Change { .. } | Effect::CopyTo { .. } | Effect::DefineCatalog { .. } => {}
        }
    }

    /// The statement that took away what had this name in the session.
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
