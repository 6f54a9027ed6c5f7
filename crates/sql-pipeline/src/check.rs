//! Finds what a session will certainly reject, before the first statement runs.

use std::{collections::BTreeSet, path::Path};

use datafusion::{common::ResolvedTableReference, execution::context::SessionContext};

use crate::{
    defined::{Defined, name_of_schema},
    effect::{Effect, Existing, Mention, Relations, UsePrepared},
    files_by_name::{is_pattern_of_partitions, may_be_there},
    locate::SourceError,
    names::name_of_relation,
    pipeline::{Pipeline, nearest},
    pipeline_error::PipelineError,
    script_names::{ScriptNames, schema_of},
    session_names::{self, has_prepared, may_have, may_have_catalog, may_have_schema},
    table_functions::Call,
    undefined::{UndefinedKind, UndefinedReason},
    unsupported::UnsupportedStatement,
};

/// The formats that DataFusion can support.
const FORMATS: [&str; 5] = ["ARROW", "AVRO", "CSV", "JSON", "PARQUET"];

impl Pipeline {
    /// Looks for statements that `session` will certainly reject when they are reached: those that name a table, schema, function
    /// or prepared statement that neither an earlier statement defines nor the session can have; those in
    /// [conflict](crate::Conflict) with existing objects; and those that it cannot run at all. [`Pipeline::run`] also does this
    /// before the first statement.
    ///
    /// What cannot be known beforehand is left to DataFusion: tables of catalogs and schemas that can contain more than what is
    /// registered in them, and all names if the session has custom relation planners.
    ///
    /// # Errors
    /// The first of them, as [`PipelineError::Undefined`], [`PipelineError::Conflict`] or [`PipelineError::Unsupported`].
    pub fn check_tables(&self, session: &SessionContext) -> Result<(), PipelineError> {
        self.refused(session).map_or(Ok(()), Err)
    }

    /// Like [`Pipeline::check_tables`], as an error of a statement.
    pub(crate) fn refused_statement(&self, session: &SessionContext) -> Option<SourceError> {
        let (place, message) = match self.refused(session)? {
            PipelineError::Undefined { kind, name, reason, place } => {
                (place, format!("{kind} {name:?} {reason}"))
            }
            PipelineError::Conflict { conflict, place } => (place, conflict.to_string()),
            PipelineError::Unsupported { statement, place } => (place, statement.to_string()),
            // Everything else is left to the engine.
            _ => return None,
        };
        Some(SourceError { place, node: None, message, cause: None })
    }

    fn refused(&self, session: &SessionContext) -> Option<PipelineError> {
        // A copy, because catalogs of the program are called, which may access the session.
        let state = session.state();
        let in_session = |relation: &ResolvedTableReference| session_names::kind_of(&state, relation);
        let mut names = Defined { script: ScriptNames::default(), state: &state, pipeline: self };
        for (index, statement) in self.script().statements().iter().enumerate() {
            let relations = &statement.relations;
            let place = |(line, column)| Box::new(self.script().place_in(statement, line, column));
            let start = (statement.first_line, statement.first_column);
            if let Some(statement) = names.unsupported(relations) {
                return Some(PipelineError::Unsupported { statement, place: place(start) });
            }
            if let Some(undefined) = names.missing(index, relations) {
                let Undefined { kind, name, reason, at } = undefined;
                return Some(PipelineError::Undefined { kind, name, reason, place: place(at) });
            }
            if let Some((conflict, at)) = names.conflict(statement) {
                return Some(PipelineError::Conflict { conflict, place: place(at.unwrap_or(start)) });
            }
            // Only after the checks of this statement, which is judged by the statements before it.
            names.script.follow(index, statement, &in_session);
        }
        None
    }
}

/// A missing object.
struct Undefined {
    kind: UndefinedKind,
    name: String,
    reason: UndefinedReason,
    /// The line and column.
    at: (usize, usize),
}

impl Defined<'_> {
    fn unsupported(&self, relations: &Relations) -> Option<UnsupportedStatement> {
        match relations.effect {
            Effect::DefineFunction { at: Some(_), .. } if self.state.function_factory().is_none() => {
                Some(UnsupportedStatement::CreateFunction)
            }
            _ => relations.unsupported.as_deref().cloned().or_else(|| self.unknown_format(relations)),
        }
    }

    /// A file format that the session certainly does not know.
    fn unknown_format(&self, relations: &Relations) -> Option<UnsupportedStatement> {
        match (&relations.effect, &relations.format) {
            (Effect::Define { policy: Existing::Refuse | Existing::Replace, .. }, Some(format)) => {
                let is_known = |format: &str| session_names::may_have_format(self.state, format);
                let factories = self.state.table_factories().keys();
                let mut known: Vec<String> = factories.filter(|format| is_known(format)).cloned().collect();
                known.sort();
                (!is_known(format)).then(|| UnsupportedStatement::Format {
                    statement: "CREATE EXTERNAL TABLE",
                    format: Some(format.clone()),
                    known,
                })
            }
            (Effect::CopyTo { target, format }, _) => {
                let is_known =
                    |format: &str| self.state.get_file_format_factory(&format.to_lowercase()).is_some();
                let ending =
                    Path::new(target).extension().map(|ending| ending.to_string_lossy().into_owned());
                // DataFusion uses the file extension if it does not know the format.
                if format.iter().chain(&ending).any(|format| is_known(format)) {
                    return None;
                }
                let known =
                    FORMATS.into_iter().filter(|format| is_known(format)).map(str::to_owned).collect();
                Some(UnsupportedStatement::Format {
                    statement: "COPY",
                    format: format.clone().or(ending),
                    known,
                })
            }
            _ => None,
        }
    }

    /// The first missing object that a statement needs.
    fn missing(&self, index: usize, relations: &Relations) -> Option<Undefined> {
        if let Some(UsePrepared { name, at, .. }) = relations.prepared.as_deref()
            && !self.has_prepared(name)
        {
            return Some(self.undefined_prepared(name, *at, index));
        }
        // A custom planner of the program may create a relation from any name.
        if self.state.relation_planners().is_empty() {
            for Mention { relation, at } in relations.reads.iter().chain(&relations.targets) {
                if let Some(at) = *at
                    && !self.has_table(relation)
                    && !self.may_be_file(&relation.table, index)
                {
                    return Some(self.undefined_table(relation, at, index));
                }
            }
            if let Some(call) = relations.calls.iter().find(|call| !self.has_table_function(&call.name)) {
                return Some(self.undefined_table_function(call));
            }
        }
        match &relations.effect {
            Effect::Define { relation, at: Some(at), .. } if self.state.relation_planners().is_empty() => {
                let schema = schema_of(relation);
                (!self.has_schema(schema)).then(|| self.undefined_schema(schema, *at, index))
            }
            Effect::DefineSchema { catalog, at: Some(at), .. } => {
                (!self.has_catalog(catalog)).then(|| self.undefined_catalog(catalog, *at, index))
            }
            Effect::DropSchema { catalog, schema, if_exists: false, at: Some(at), .. } => {
                let schema = (catalog.as_str(), schema.as_str());
                (!self.has_schema(schema)).then(|| self.undefined_schema(schema, *at, index))
            }
            Effect::DropFunction { name, at: Some(at) } => {
                (!self.has_function(name)).then(|| self.undefined_function(name, *at, index))
            }
            _ => None,
        }
    }

    pub(crate) fn has_table(&self, relation: &ResolvedTableReference) -> bool {
        self.script.tables.contains_key(relation)
            || self.script.dropped(relation).is_none()
                && (self.param_tables().any(|table| table == relation) || may_have(self.state, relation))
    }

    /// Whether a name can refer to a file when its statement is reached: because the file exists, an earlier statement writes it,
    /// or it cannot be known beforehand.
    fn may_be_file(&self, name: &str, index: usize) -> bool {
        // A name that the script gives to a table does not refer to a folder with the same name.
        if !self.pipeline.reads_files || self.pipeline.tables().contains(name) {
            return false;
        }
        if may_be_there(name) {
            return true;
        }
        // The statements that it needs include those that write what it reads.
        let statements = self.pipeline.script().statements();
        self.pipeline.steps()[index].needs.iter().any(|needed| {
            matches!(statements[*needed].relations.effect, Effect::CopyTo { .. } | Effect::Change { .. })
        })
    }

    pub(crate) fn has_schema(&self, schema: (&str, &str)) -> bool {
        self.script.schemas.contains_key(&schema)
            || self.script.dropped_schema(schema).is_none()
                && (self.param_tables().any(|table| schema_of(table) == schema)
                    || may_have_schema(self.state, schema))
    }

    fn has_catalog(&self, catalog: &str) -> bool {
        self.script.catalogs.contains_key(catalog) || may_have_catalog(self.state, catalog)
    }

    fn has_function(&self, name: &str) -> bool {
        self.script.functions.defined(name).is_some()
            || self.script.functions.dropped(name).is_none()
                && (self.functions().any(|known| known == name)
                    // A factory may create a function with a name other than that in its statement.
                    || self.state.function_factory().is_some() && self.defines_functions())
    }

    fn has_table_function(&self, name: &str) -> bool {
        self.state.table_functions().contains_key(name)
            // A factory may create one.
            || self.state.function_factory().is_some() && self.defines_functions()
    }

    pub(crate) fn has_prepared(&self, name: &str) -> bool {
        self.script.prepared.defined(name).is_some()
            || self.script.prepared.dropped(name).is_none() && has_prepared(self.state, name)
    }

    pub(crate) fn param_tables(&self) -> impl Iterator<Item = &ResolvedTableReference> {
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
        // `FROM 'a.csv'` is what users of DuckDB write. The error suggests the corresponding statement.
        let reason = match (reason, format_of_file(&name)) {
            (UndefinedReason::Nowhere { .. }, Some(_)) if self.pipeline.reads_files => {
                if is_pattern_of_partitions(&name) {
                    UndefinedReason::Partitions
                } else {
                    UndefinedReason::NoFile
                }
            }
            (UndefinedReason::Nowhere { .. }, Some(format)) => {
                UndefinedReason::File { path: name.clone(), format }
            }
            (reason, _) => reason,
        };
        Undefined { kind: UndefinedKind::Table, name, reason, at }
    }

    fn undefined_schema(&self, schema: (&str, &str), at: (usize, usize), index: usize) -> Undefined {
        let defines = |effect: &Effect| match effect {
            Effect::DefineSchema { catalog, schema: defined, .. } => {
                (catalog.as_str(), defined.as_str()) == schema
            }
            _ => false,
        };
        let name = name_of_schema(schema);
        let dropped = self.script.dropped_schema(schema);
        let reason = self.reason(&name, dropped, index, defines, || self.schemas());
        Undefined { kind: UndefinedKind::Schema, name, reason, at }
    }

    fn undefined_catalog(&self, catalog: &str, at: (usize, usize), index: usize) -> Undefined {
        let defines = |effect: &Effect| matches!(effect, Effect::DefineCatalog { catalog: defined, .. } if defined == catalog);
        let others = || {
            let defined = self.effects().filter_map(|effect| match effect {
                Effect::DefineCatalog { catalog, .. } => Some(catalog.clone()),
                _ => None,
            });
            defined.chain(self.state.catalog_list().catalog_names()).collect()
        };
        let reason = self.reason(catalog, None, index, defines, others);
        Undefined { kind: UndefinedKind::Catalog, name: catalog.to_owned(), reason, at }
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

    fn undefined_table_function(&self, call: &Call) -> Undefined {
        let known = self.state.table_functions().keys().map(String::as_str);
        let reason = UndefinedReason::Nowhere { nearest: nearest(&call.name, known) };
        Undefined { kind: UndefinedKind::TableFunction, name: call.name.clone(), reason, at: call.at }
    }

    fn undefined_prepared(&self, name: &str, at: (usize, usize), index: usize) -> Undefined {
        let defines =
            |effect: &Effect| matches!(effect, Effect::Prepare { name: prepared, .. } if prepared == name);
        let others = || {
            let of_script = self.effects().filter_map(|effect| match effect {
                Effect::Prepare { name, .. } => Some(name.clone()),
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
        let script = self.pipeline.script();
        let statements = script.statements();
        if let Some(dropped) = dropped {
            return UndefinedReason::Dropped { line: script.line_of(&statements[dropped]) };
        }
        let mut behind = statements.iter().enumerate().skip(index);
        match behind.find(|(_, statement)| defines(&statement.relations.effect)) {
            Some((later, _)) if later == index => UndefinedReason::Here,
            Some((_, later)) => {
                let is_beside = script.line_of(later) == script.line_of(&statements[index]);
                let column = is_beside.then_some(later.first_column);
                UndefinedReason::Later { line: script.line_of(later), column }
            }
            None => UndefinedReason::Nowhere { nearest: nearest(name, others().iter().map(String::as_str)) },
        }
    }

    /// The tables that could be meant: those of the whole script, the session and the parameters.
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
        defined.chain(self.pipeline.given_param_tables.iter().cloned()).chain(of_session).collect()
    }

    /// The schemas that could be meant.
    fn schemas(&self) -> BTreeSet<String> {
        let defined = self.effects().filter_map(|effect| match effect {
            Effect::DefineSchema { catalog, schema, .. } => Some(name_of_schema((catalog, schema))),
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

/// The file format that a name suggests.
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
mod tests;
