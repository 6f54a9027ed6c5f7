//! The relations that a statement reads and its effect on others, from its syntax tree.

use std::{collections::BTreeSet, ops::ControlFlow};

use datafusion::{
    common::TableReference,
    sql::{
        parser::{CopyToSource, Statement as ParsedStatement},
        sqlparser::{
            ast::{
                Expr, FromTable, FunctionArg, FunctionArgExpr, ObjectName, ObjectType, Query, SchemaName,
                ShowCreateObject, Spanned, Statement as SqlStatement, TableFactor, TableObject,
                TableWithJoins, Visit, Visitor,
            },
            keywords::Keyword,
            tokenizer::{Span, Token, TokenWithSpan},
        },
    },
};

use crate::{
    effect::{Effect, Existing, Mention, Relations, UsePrepared},
    object_names::{as_it_stands, dotted, select_into, written},
    prepared::Prepared,
    split::position,
    sql_settings::SqlSettings,
    table_functions::calls,
};

/// The table function that shows the metadata of a file.
const PARQUET_METADATA: &str = "parquet_metadata";

impl Relations {
    /// Finds the positions of names for which sqlparser does not provide one, such as names in single quotes. `start` is used for a
    /// name that is not found.
    pub(crate) fn place_names(&mut self, tokens: &[TokenWithSpan], start: (usize, usize)) {
        let place = |name: &str, at: &mut (usize, usize)| {
            // The parser provides no position for names that are written as strings.
            if at.0 == 0 {
                *at = place_of_text(tokens, name).unwrap_or(start);
            }
        };
        for Mention { relation, at } in self.reads.iter_mut().chain(&mut self.targets) {
            if let Some(at) = at {
                place(&relation.table, at);
            }
        }
        match &mut self.effect {
            Effect::Define { relation, at: Some(at), .. } => place(&relation.table, at),
            Effect::DropSchema { schema: name, at: Some(at), .. }
            | Effect::DefineSchema { schema: name, at: Some(at), .. }
            | Effect::DefineCatalog { catalog: name, at: Some(at), .. }
            | Effect::Prepare { name, at }
            | Effect::DefineFunction { name, at: Some(at) }
            | Effect::DropFunction { name, at: Some(at) } => place(name, at),
            _ => {}
        }
        if let Some(UsePrepared { name, at, .. }) = self.prepared.as_deref_mut() {
            place(name, at);
        }
    }

    /// Reads a statement, and remembers what it prepares.
    pub(crate) fn of(parsed: &ParsedStatement, settings: &SqlSettings, prepared: &mut Prepared) -> Self {
        Self { calls: calls(parsed), ..Self::without_calls(parsed, settings, prepared) }
    }

    fn without_calls(parsed: &ParsedStatement, settings: &SqlSettings, prepared: &mut Prepared) -> Self {
        let ParsedStatement::Statement(statement) = parsed else {
            return Self::of_parsed(parsed, settings);
        };
        match &**statement {
            SqlStatement::Prepare { name, statement, data_types } => {
                let relations = Self::of_sql(statement, settings);
                prepared.prepare(name, statement, data_types.len(), relations)
            }
            SqlStatement::Execute { name: Some(name), parameters, .. } => {
                prepared.execute(name, parameters.len())
            }
            SqlStatement::Deallocate { name, .. } => prepared.free(name),
            statement => Self::of_sql(statement, settings),
        }
    }

    fn of_parsed(parsed: &ParsedStatement, settings: &SqlSettings) -> Self {
        match parsed {
            ParsedStatement::CreateExternalTable(table) => {
                let policy = Existing::of(table.or_replace, table.if_not_exists);
                let effect = define(&table.name, policy, &table.locations, settings);
                Self { effect, format: Some(table.file_type.clone()), ..Self::default() }
            }
            ParsedStatement::CopyTo(copy) => {
                let reads = match &copy.source {
                    CopyToSource::Relation(name) => mention(name, settings).into_iter().collect(),
                    CopyToSource::Query(query) => reads(&**query, settings),
                };
                let (target, format) = (copy.target.clone(), copy.stored_as.clone());
                Self { reads, effect: Effect::CopyTo { target, format }, ..Self::default() }
            }
            ParsedStatement::Explain(explain) => {
                let relations = Self::of_parsed(&explain.statement, settings);
                match &relations.effect {
                    // `EXPLAIN ANALYZE` runs the statement.
                    Effect::CopyTo { .. } | Effect::Change { .. } if explain.options.analyze => relations,
                    // `EXPLAIN` plans a statement and does not run it: it has the same reads, and changes nothing.
                    _ => Self { effect: Effect::None, ..relations },
                }
            }
            ParsedStatement::Reset(_) => Self::default(),
            ParsedStatement::Statement(statement) => Self::of_sql(statement, settings),
        }
    }

    fn of_sql(statement: &SqlStatement, settings: &SqlSettings) -> Self {
        let defined = |name: &ObjectName, policy, query: Option<&Query>| Self {
            reads: query.map(|query| reads(query, settings)).unwrap_or_default(),
            effect: define(name, policy, &[], settings),
            ..Self::default()
        };
        let changed = |name: Option<&ObjectName>, reads: Vec<Mention>| {
            let target = name.and_then(|name| mention(name, settings));
            let effect = match &target {
                Some(target) => Effect::Change { relation: target.relation.clone() },
                None => Effect::None,
            };
            Self { reads, targets: target.into_iter().collect(), effect, ..Self::default() }
        };
        let read = |reads| Self { reads, ..Self::default() };
        match statement {
            SqlStatement::Query(query) => match select_into(query) {
                Some(name) => defined(name, Existing::Refuse, Some(query)),
                None => read(reads(&**query, settings)),
            },
            SqlStatement::CreateView(view) => {
                defined(&view.name, Existing::of(view.or_replace, view.if_not_exists), Some(&view.query))
            }
            SqlStatement::CreateTable(table) => {
                let policy = Existing::of(table.or_replace, table.if_not_exists);
                defined(&table.name, policy, table.query.as_deref())
            }
            SqlStatement::Insert(insert) => {
                let name = match &insert.table {
                    TableObject::TableName(name) => Some(name),
                    _ => None,
                };
                let source = insert.source.as_deref();
                changed(name, source.map(|query| reads(query, settings)).unwrap_or_default())
            }
            SqlStatement::Update(update) => {
                changed(named(&update.table.relation), reads(statement, settings))
            }
            SqlStatement::Delete(delete) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
                changed(first_named(tables), reads(statement, settings))
            }
            SqlStatement::Truncate(truncate) => {
                // The engine supports only a single table, and rejects more when it plans the statement.
                changed(truncate.table_names.first().map(|table| &table.name), reads(statement, settings))
            }
            SqlStatement::Merge(merge) => changed(named(&merge.table), reads(statement, settings)),
            SqlStatement::Drop {
                object_type: object_type @ (ObjectType::Table | ObjectType::View),
                names,
                if_exists,
                ..
            } => {
                let views = *object_type == ObjectType::View;
                let dropped: Vec<Mention> = names.iter().filter_map(|name| mention(name, settings)).collect();
                let relations = dropped.iter().map(|mention| mention.relation.clone()).collect();
                // With IF EXISTS, nothing has to exist.
                let targets = if *if_exists { Vec::new() } else { dropped };
                Self {
                    targets,
                    effect: Effect::Drop { relations, views, if_exists: *if_exists },
                    ..Self::default()
                }
            }
            SqlStatement::Drop { object_type: ObjectType::Schema, names, if_exists, cascade, .. } => {
                let (if_exists, cascade) = (*if_exists, *cascade);
                let at = names.first().map(|name| position(name.span().start));
                let dropped = |catalog: String, schema: String| Effect::DropSchema {
                    catalog,
                    schema,
                    if_exists,
                    cascade,
                    at,
                };
                // The name of a schema is parsed like that of a table, with the schema in place of the table.
                let effect = match names.first().and_then(|name| settings.reference(name)) {
                    Some(TableReference::Partial { schema, table }) => {
                        dropped(schema.to_string(), table.to_string())
                    }
                    Some(TableReference::Bare { table }) => {
                        dropped(settings.default_catalog().to_owned(), table.to_string())
                    }
                    _ => Effect::None,
                };
                Self { effect, ..Self::default() }
            }
            SqlStatement::CreateDatabase { db_name, if_not_exists, .. } => {
                let effect = Effect::DefineCatalog {
                    catalog: dotted(db_name),
                    policy: Existing::of(false, *if_not_exists),
                    at: Some(position(db_name.span().start)),
                };
                Self { effect, ..Self::default() }
            }
            SqlStatement::CreateSchema { schema_name, if_not_exists, .. } => {
                let (name, span) = match schema_name {
                    SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => {
                        (dotted(name), name.span())
                    }
                    SchemaName::UnnamedAuthorization(name) => (written(name), name.span),
                };
                // Split like in the engine, at the first dot of the whole text.
                let (catalog, schema) = name.split_once('.').unwrap_or((settings.default_catalog(), &name));
                let effect = Effect::DefineSchema {
                    catalog: catalog.to_owned(),
                    schema: schema.to_owned(),
                    policy: Existing::of(false, *if_not_exists),
                    at: Some(position(span.start)),
                };
                Self { effect, ..Self::default() }
            }
            SqlStatement::CreateFunction(function) => {
                // The engine looks up functions as written, without converting them to lower case.
                let name = as_it_stands(&function.name);
                let at = Some(position(function.name.span().start));
                Self { effect: Effect::DefineFunction { name, at }, ..Self::default() }
            }
            SqlStatement::DropFunction(dropped) => {
                // DataFusion drops only the first one.
                let effect = dropped.func_desc.first().map(|function| Effect::DropFunction {
                    name: as_it_stands(&function.name),
                    at: (!dropped.if_exists).then(|| position(function.name.span().start)),
                });
                Self { effect: effect.unwrap_or_default(), ..Self::default() }
            }
            SqlStatement::Explain { statement, .. } => {
                Self { effect: Effect::None, ..Self::of_sql(statement, settings) }
            }
            SqlStatement::ExplainTable { table_name: name, .. }
            | SqlStatement::ShowCreate {
                obj_type: ShowCreateObject::Table | ShowCreateObject::View,
                obj_name: name,
            } => read(mention(name, settings).into_iter().collect()),
            SqlStatement::ShowColumns { show_options, .. } => {
                let name = show_options.show_in.as_ref().and_then(|within| within.parent_name.as_ref());
                read(name.and_then(|name| mention(name, settings)).into_iter().collect())
            }
            _ => Self::default(),
        }
    }
}

/// The position of a quoted string that is read as a name: the first one after a word, comma or bracket that can precede a name,
/// because the same string may also occur in an expression.
fn place_of_text(tokens: &[TokenWithSpan], name: &str) -> Option<(usize, usize)> {
    let is_name = |token: &Token| match token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text == name,
        _ => false,
    };
    let introduces = |token: &Token| match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::FROM
                | Keyword::JOIN
                | Keyword::INTO
                | Keyword::COPY
                | Keyword::UPDATE
                | Keyword::TABLE
                | Keyword::VIEW
                | Keyword::EXISTS
                | Keyword::SCHEMA
                | Keyword::FUNCTION
        ),
        _ => false,
    };
    // The same string may occur anywhere in the statement as a value. After one of these words it is a name.
    let introduced = tokens.windows(2).find(|pair| introduces(&pair[0].token) && is_name(&pair[1].token));
    let found = introduced.map(|pair| &pair[1]).or_else(|| tokens.iter().find(|token| is_name(&token.token)));
    found.map(|token| position(token.span.start))
}

fn define(name: &ObjectName, policy: Existing, locations: &[String], settings: &SqlSettings) -> Effect {
    match settings.reference(name) {
        Some(written) => Effect::Define {
            relation: settings.resolve(written.clone()),
            written,
            at: Some(position(name.span().start)),
            policy,
            locations: locations.to_vec(),
        },
        None => Effect::None,
    }
}

fn mention(name: &ObjectName, settings: &SqlSettings) -> Option<Mention> {
    let relation = settings.resolve(settings.reference(name)?);
    Some(Mention { relation, at: Some(position(name.span().start)) })
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

fn reads(part: &impl Visit, settings: &SqlSettings) -> Vec<Mention> {
    let mut found = Reads {
        settings,
        seen: BTreeSet::new(),
        found: Vec::new(),
        hiding: Vec::new(),
        functions: Vec::new(),
    };
    let _: ControlFlow<()> = part.visit(&mut found);
    found.found
}

/// The file that a table function of the command reads, such as `parquet_metadata('x.parquet')`.
fn file_of_function(name: &ObjectName, args: &[FunctionArg]) -> Option<String> {
    if !name.to_string().eq_ignore_ascii_case(PARQUET_METADATA) {
        return None;
    }
    match args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => value.value.clone().into_string(),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => Some(name.value.clone()),
        _ => None,
    }
}

/// Collects relations like DataFusion's `resolve_table_references`, but with their positions and without the names of table
/// functions.
struct Reads<'a> {
    settings: &'a SqlSettings,
    seen: BTreeSet<TableReference>,
    found: Vec<Mention>,
    /// The common table expressions in scope.
    hiding: Vec<TableReference>,
    /// The positions of names of table functions.
    functions: Vec<Span>,
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(args), .. } = table {
            self.functions.push(name.span());
            if let Some(file) = file_of_function(name, &args.args) {
                // Like a file that is read by name, which another statement may write. Whether it exists, the function finds out.
                let relation = self.settings.resolve(TableReference::bare(file));
                self.found.push(Mention { relation, at: None });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        // `FROM generate_series(1, 9)` visits the name of the function like that of a relation, directly after its table factor.
        if self.functions.last() == Some(&name.span()) {
            self.functions.pop();
            return ControlFlow::Continue(());
        }
        if let Some(reference) = self.settings.reference(name)
            && !self.hiding.contains(&reference)
            // Before resolution, by the reference as written: a common table expression hides a bare name, but not `schema.name`.
            && self.seen.insert(reference.clone())
        {
            let relation = self.settings.resolve(reference);
            self.found.push(Mention { relation, at: Some(position(name.span().start)) });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        for cte in &with.cte_tables {
            // A name is not in scope in its own definition, unless that is recursive. The visit that follows comes to the
            // definition again, with the name in scope, and finds nothing new.
            if !with.recursive {
                cte.visit(self)?;
            }
            let name = ObjectName::from(vec![cte.alias.name.clone()]);
            self.hiding.extend(self.settings.reference(&name));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // Only those of this query: the names of the enclosing queries remain in scope after it.
        let hidden = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        self.hiding.truncate(self.hiding.len().saturating_sub(hidden));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
