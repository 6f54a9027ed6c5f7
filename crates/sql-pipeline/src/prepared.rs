//! Prepared statements: the effect of executing each.

use std::{collections::BTreeMap, ops::ControlFlow};

use datafusion::sql::{
    parser::Statement as ParsedStatement,
    sqlparser::ast::{
        Expr, Ident, ObjectName, Spanned, Statement as SqlStatement, Value, ValueWithSpan, visit_expressions,
    },
};

use crate::{
    effect::{Effect, Mention, Misuse, Relations, UsePrepared},
    kind::StatementKind,
    object_names::{dotted, written},
    split::position,
};

/// The prepared statements so far, by the names that `EXECUTE` uses: kind, reads and effect of each.
#[derive(Debug, Default)]
pub(crate) struct Prepared(BTreeMap<String, PreparedStatement>);

#[derive(Debug)]
struct PreparedStatement {
    kind: StatementKind,
    executed: Relations,
    /// Its first words, if DataFusion does not execute it.
    not_executable: Option<String>,
    /// The number of declared parameter types; 0 if they are inferred.
    types: usize,
    /// The number of the last parameter that it reads.
    reads: usize,
}

impl Prepared {
    /// The kind of the statement that an `EXECUTE` runs; `None` for other statements, or if the script does not prepare it.
    pub(crate) fn executed(&self, parsed: &ParsedStatement) -> Option<StatementKind> {
        let ParsedStatement::Statement(statement) = parsed else { return None };
        let SqlStatement::Execute { name: Some(name), .. } = &**statement else { return None };
        self.0.get(&dotted(name)).map(|prepared| prepared.kind)
    }

    /// The reads and the effect of `PREPARE`; `relations` are those of the prepared statement.
    pub(crate) fn prepare(
        &mut self,
        name: &Ident,
        statement: &SqlStatement,
        types: usize,
        mut relations: Relations,
    ) -> Relations {
        let elsewhere = |mention: &Mention| Mention { at: None, ..mention.clone() };
        let executed = Relations {
            reads: relations.reads.iter().map(elsewhere).collect(),
            targets: relations.targets.iter().map(elsewhere).collect(),
            effect: relations.effect.clone().named_elsewhere(),
            ..Relations::default()
        };
        if matches!(relations.effect, Effect::Drop { .. }) {
            // Dropped objects are not looked up until it is executed.
            relations.targets.clear();
        }
        let kind = StatementKind::of_sql(statement);
        let not_executable = not_executable(statement, kind);
        let at = position(name.span.start);
        let name = written(name);
        let reads = last_parameter(statement);
        let statement = PreparedStatement { kind, executed, not_executable, types, reads };
        // A second one with the same name is rejected.
        self.0.entry(name.clone()).or_insert(statement);
        Relations { effect: Effect::Prepare { name, at }, ..relations }
    }

    /// The reads and the effect of `EXECUTE` with `given` values.
    pub(crate) fn execute(&self, name: &ObjectName, given: usize) -> Relations {
        let at = position(name.span().start);
        let name = dotted(name);
        let prepared = self.0.get(&name);
        let misuse = prepared.and_then(|prepared| prepared.misuse(given));
        let executed = prepared.map(|prepared| prepared.executed.clone());
        let used = UsePrepared { name, at, misuse };
        Relations { prepared: Some(Box::new(used)), ..executed.unwrap_or_default() }
    }

    /// The effect of `DEALLOCATE`.
    pub(crate) fn free(&mut self, name: &Ident) -> Relations {
        let at = position(name.span.start);
        let name = written(name);
        self.0.remove(&name);
        Relations {
            effect: Effect::Deallocate { name: name.clone() },
            prepared: Some(Box::new(UsePrepared { name, at, misuse: None })),
            ..Relations::default()
        }
    }
}

impl PreparedStatement {
    fn misuse(&self, given: usize) -> Option<Misuse> {
        match &self.not_executable {
            Some(statement) => Some(Misuse::NotExecutable(statement.clone())),
            None if self.types > 0 && self.types != given => {
                Some(Misuse::Parameters { takes: self.types, given })
            }
            // If there are more, DataFusion ignores some of which it does not know the types.
            None if self.types == 0 && self.reads > given => {
                Some(Misuse::Parameters { takes: self.reads, given })
            }
            None => None,
        }
    }
}

/// The number of the last parameter, `$1` and so on, that a statement reads; 0 if there is none.
fn last_parameter(statement: &SqlStatement) -> usize {
    let mut last = 0;
    let _ = visit_expressions(statement, |expression| {
        if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expression
            && let Some(number) = name.strip_prefix('$').and_then(|number| number.parse().ok())
        {
            last = last.max(number);
        }
        ControlFlow::<()>::Continue(())
    });
    last
}

/// The first words of a statement that DataFusion does not run with `EXECUTE`, which cannot change the session.
fn not_executable(statement: &SqlStatement, kind: StatementKind) -> Option<String> {
    let words = match (kind, statement) {
        (StatementKind::View, _) => "CREATE VIEW",
        (StatementKind::Table, SqlStatement::CreateTable(_)) => "CREATE TABLE",
        (StatementKind::Table, _) => "SELECT INTO",
        (_, SqlStatement::CreateSchema { .. }) => "CREATE SCHEMA",
        (_, SqlStatement::CreateDatabase { .. }) => "CREATE DATABASE",
        (_, SqlStatement::CreateFunction(_)) => "CREATE FUNCTION",
        (_, SqlStatement::DropFunction(_)) => "DROP FUNCTION",
        (_, SqlStatement::Drop { object_type, .. }) => return Some(format!("DROP {object_type}")),
        (_, SqlStatement::Set(_)) => "SET",
        (_, SqlStatement::Prepare { .. }) => "PREPARE",
        (_, SqlStatement::Execute { .. }) => "EXECUTE",
        (_, SqlStatement::Deallocate { .. }) => "DEALLOCATE",
        _ => return None,
    };
    Some(words.to_owned())
}
