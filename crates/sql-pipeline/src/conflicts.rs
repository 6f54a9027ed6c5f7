//! Finding the conflicts of a statement when it is reached.

use datafusion::common::ResolvedTableReference;

use crate::{
    conflict::Conflict,
    defined::{Defined, name_of_schema},
    effect::{Effect, Existing, Misuse, UsePrepared},
    kind::StatementKind,
    names::name_of_relation,
    script_names::{RelationKind, schema_of},
    session_names::{self, plain_catalog, plain_schema},
    source::LineOfScript,
    statement::Statement,
    undefined::UndefinedKind,
};

/// A conflict, and the line and column of the name in its statement, if known.
type Found = (Conflict, Option<(usize, usize)>);

/// An existing table or view.
struct Standing {
    kind: Option<RelationKind>,
    line: Option<LineOfScript>,
}

impl Defined<'_> {
    /// The conflict of a statement for which nothing is missing.
    pub(crate) fn conflict(&self, statement: &Statement) -> Option<Found> {
        let relations = &statement.relations;
        if let Some(UsePrepared { name, at, misuse: Some(misuse) }) = relations.prepared.as_deref() {
            let (name, line) = (name.clone(), self.script.prepared.defined(name).map(|by| self.line(by)));
            let conflict = match misuse {
                Misuse::NotExecutable(statement) => {
                    Conflict::NotExecutable { name, statement: statement.clone(), line }
                }
                Misuse::Parameters { takes, given } => {
                    Conflict::Parameters { name, takes: *takes, given: *given, line }
                }
            };
            return Some((conflict, Some(*at)));
        }
        // Only certain failures are conflicts. Statements that have none of these effects are left to the engine.
        match &relations.effect {
            Effect::Define { relation, policy, at, .. } => {
                let conflict = self.defined_again(statement.kind, relation, *policy)?;
                Some((conflict, *at))
            }
            Effect::Change { relation } => {
                let conflict = self.unchangeable(statement.kind, relation)?;
                Some((conflict, relations.targets.first().and_then(|target| target.at)))
            }
            // With IF EXISTS it does nothing if the kind differs, and does not fail.
            Effect::Drop { relations: dropped, views, if_exists: false } => {
                dropped.iter().enumerate().find_map(|(position, relation)| {
                    let at = relations.targets.get(position).and_then(|target| target.at);
                    Some((self.of_other_kind(relation, *views)?, at))
                })
            }
            Effect::DefineSchema { catalog, schema, policy: Existing::Refuse, at } => {
                Some((self.schema_again((catalog, schema))?, *at))
            }
            Effect::DefineCatalog { catalog, policy: Existing::Refuse, at } => {
                let line = self.script.catalogs.get(catalog.as_str()).map(|by| self.line(*by));
                let exists = line.is_some() || plain_catalog(self.state, catalog).is_some();
                let kind = UndefinedKind::Catalog;
                exists.then(|| (Conflict::Exists { kind, name: catalog.clone(), line }, *at))
            }
            Effect::DropSchema { catalog, schema, cascade: false, at, .. } => {
                Some((self.not_empty((catalog, schema))?, *at))
            }
            Effect::Prepare { name, at } => {
                let line = self.script.prepared.defined(name).map(|by| self.line(by));
                let kind = UndefinedKind::PreparedStatement;
                self.has_prepared(name)
                    .then(|| (Conflict::Exists { kind, name: name.clone(), line }, Some(*at)))
            }
            _ => None,
        }
    }

    fn line(&self, statement: usize) -> LineOfScript {
        self.pipeline.script().line_of(&self.pipeline.script().statements()[statement])
    }

    /// What certainly exists under a name.
    fn standing(&self, relation: &ResolvedTableReference) -> Option<Standing> {
        // A custom catalog of a program may have any table, and reveal that only when asked, perhaps over a network. Nothing is
        // rejected based on a guess.
        if !self.is_plain(schema_of(relation)) {
            return None;
        }
        if let Some(made) = self.script.tables.get(relation) {
            let statement = &self.pipeline.script().statements()[made.by];
            let format = statement.relations.format.as_deref();
            let is_of_files = format.is_some_and(|format| session_names::makes_files(self.state, format));
            let kind = if is_of_files { RelationKind::Files } else { made.kind };
            return Some(Standing { kind: Some(kind), line: Some(self.line(made.by)) });
        }
        // The script dropped it, whatever the session still has now.
        if self.script.dropped(relation).is_some() {
            return None;
        }
        let schema = plain_schema(self.state, schema_of(relation));
        let in_session = schema.is_some_and(|schema| schema.table_exist(&relation.table));
        // Parameter tables are registered before the script, although the session does not have them yet.
        let exists = in_session || self.param_tables().any(|table| table == relation);
        exists.then(|| Standing { kind: session_names::kind_of(self.state, relation), line: None })
    }

    /// Whether a schema contains only what is registered in it.
    fn is_plain(&self, schema: (&str, &str)) -> bool {
        let catalog_is_plain =
            self.script.catalogs.contains_key(schema.0) || plain_catalog(self.state, schema.0).is_some();
        catalog_is_plain
            && (self.script.schemas.contains_key(&schema)
                || self.script.dropped_schema(schema).is_none() && plain_schema(self.state, schema).is_some())
    }

    fn defined_again(
        &self,
        statement: StatementKind,
        relation: &ResolvedTableReference,
        policy: Existing,
    ) -> Option<Conflict> {
        let Standing { kind, line } = self.standing(relation)?;
        let name = name_of_relation(relation);
        match policy {
            Existing::Refuse => Some(Conflict::Exists { kind: UndefinedKind::Table, name, line }),
            Existing::Both => Some(Conflict::ExistsForBoth { name, line }),
            Existing::Replace
                if statement == StatementKind::ExternalTable && kind.is_some_and(RelationKind::is_view) =>
            {
                Some(Conflict::ViewStays { name, line })
            }
            Existing::Replace | Existing::Keep => None,
        }
    }

    fn unchangeable(&self, statement: StatementKind, relation: &ResolvedTableReference) -> Option<Conflict> {
        let words = match statement {
            StatementKind::Insert => "INSERT INTO",
            StatementKind::Update => "UPDATE",
            StatementKind::Delete => "DELETE FROM",
            StatementKind::Truncate => "TRUNCATE",
            _ => return None,
        };
        let Standing { kind, line } = self.standing(relation)?;
        let name = name_of_relation(relation);
        let is_view = match (kind?, statement) {
            (RelationKind::View, _) => true,
            (
                RelationKind::Files,
                StatementKind::Update | StatementKind::Delete | StatementKind::Truncate,
            ) => {
                return Some(Conflict::OfFiles { name, statement: words, line });
            }
            // Tables of a program may accept anything: it turns out when the statement runs.
            (RelationKind::Table, StatementKind::Truncate) => false,
            _ => return None,
        };
        Some(Conflict::Unchangeable { name, is_view, statement: words, line })
    }

    fn of_other_kind(&self, relation: &ResolvedTableReference, views: bool) -> Option<Conflict> {
        let Standing { kind, line } = self.standing(relation)?;
        let is_view = kind?.is_view();
        (is_view != views).then(|| Conflict::OtherKind { name: name_of_relation(relation), is_view, line })
    }

    fn schema_again(&self, schema: (&str, &str)) -> Option<Conflict> {
        let line = self.script.schemas.get(&schema).map(|by| self.line(*by));
        self.is_plain(schema).then(|| Conflict::Exists {
            kind: UndefinedKind::Schema,
            name: name_of_schema(schema),
            line,
        })
    }

    fn not_empty(&self, schema: (&str, &str)) -> Option<Conflict> {
        if !self.is_plain(schema) {
            return None;
        }
        let of_script = self.script.tables.keys().copied().filter(|table| schema_of(table) == schema);
        let of_session = plain_schema(self.state, schema).into_iter().flat_map(|found| {
            let relation = |table: String| ResolvedTableReference {
                catalog: schema.0.into(),
                schema: schema.1.into(),
                table: table.into(),
            };
            found.table_names().into_iter().map(relation)
        });
        let params = self.param_tables().filter(|table| schema_of(table) == schema);
        // It is enough to name one of them.
        let mut tables = of_script.chain(params).cloned().chain(of_session);
        let (held, line) =
            tables.find_map(|table| Some((name_of_relation(&table), self.standing(&table)?.line)))?;
        Some(Conflict::NotEmpty { schema: name_of_schema(schema), holds: held, line })
    }
}
