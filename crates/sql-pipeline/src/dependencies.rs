//! Which statements a statement reads from, and which others it must not overtake.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ResolvedTableReference;

use crate::{
    Script, StatementKind,
    relations::{Defaults, Effect, Existing, effect, reads},
};

/// The ties of one statement to earlier ones, by their indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The statements whose output it reads.
    pub(crate) dependencies: BTreeSet<usize>,
    /// The statements that must have ended before it starts: its dependencies, and the users of what it replaces or
    /// changes.
    pub(crate) after: BTreeSet<usize>,
}

/// A relation that is defined while there is one of its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DefinedTwice {
    pub(crate) relation: ResolvedTableReference,
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// Follows the script and ties each read to the definition in force and to the changes made since.
///
/// A view reads its relations each time that it is read, so its readers depend on later changes to them too. A file
/// that `COPY` wrote is tied to an external table at its location.
pub(crate) fn links(script: &Script) -> Result<Vec<Links>, DefinedTwice> {
    let mut state = State::default();
    let statements = script.statements().iter().enumerate();
    statements.map(|(index, statement)| state.follow(index, statement.kind, &statement.parsed)).collect()
}

#[derive(Default)]
struct State {
    defaults: Defaults,
    definitions: Vec<Definition>,
    in_force: BTreeMap<ResolvedTableReference, usize>,
    copies: Vec<(usize, String)>,
}

struct Definition {
    statement: usize,
    /// What a view reads, as indices of definitions; empty for a table.
    seen_through: Vec<usize>,
    locations: Vec<String>,
    readers: Vec<usize>,
    changes: Vec<usize>,
}

impl State {
    fn follow(
        &mut self,
        index: usize,
        kind: StatementKind,
        parsed: &datafusion::sql::parser::Statement,
    ) -> Result<Links, DefinedTwice> {
        self.defaults.follow(parsed);
        let read: Vec<usize> = reads(parsed)
            .into_iter()
            .filter_map(|name| self.in_force.get(&self.defaults.resolve(name)).copied())
            .collect();
        let mut links = Links::default();
        for definition in &read {
            self.read(*definition, index, 0, &mut links.dependencies);
        }
        match effect(parsed) {
            Effect::None => {}
            Effect::Define { relation, policy, locations } => {
                let relation = self.defaults.resolve(relation);
                let previous = self.in_force.get(&relation).copied();
                match (previous, policy) {
                    (Some(previous), Existing::Refuse) => {
                        let first = self.definitions[previous].statement;
                        return Err(DefinedTwice { relation, first, second: index });
                    }
                    (Some(previous), Existing::Keep) => {
                        links.after.insert(self.definitions[previous].statement);
                    }
                    (previous, _) => {
                        links.after.extend(previous.into_iter().flat_map(|previous| self.users(previous)));
                        links.dependencies.extend(self.copies_to(&locations));
                        let seen_through = if kind == StatementKind::View { read } else { Vec::new() };
                        self.in_force.insert(relation, self.definitions.len());
                        self.definitions.push(Definition {
                            statement: index,
                            seen_through,
                            locations,
                            readers: Vec::new(),
                            changes: Vec::new(),
                        });
                    }
                }
            }
            Effect::Change { relation } => {
                if let Some(definition) = self.in_force.get(&self.defaults.resolve(relation)).copied() {
                    links.dependencies.insert(self.definitions[definition].statement);
                    links.after.extend(self.users(definition));
                    self.definitions[definition].changes.push(index);
                }
            }
            Effect::CopyTo { target, .. } => {
                links.after.extend(self.copies_to(std::slice::from_ref(&target)));
                for definition in 0..self.definitions.len() {
                    if self.definitions[definition]
                        .locations
                        .iter()
                        .any(|location| overlap(location, &target))
                    {
                        links.after.extend(self.users(definition));
                        self.definitions[definition].changes.push(index);
                    }
                }
                self.copies.push((index, target));
            }
            Effect::Drop { relations } => {
                for relation in relations {
                    if let Some(definition) = self.in_force.remove(&self.defaults.resolve(relation)) {
                        links.after.extend(self.users(definition));
                    }
                }
            }
        }
        links.dependencies.remove(&index);
        links.after.extend(&links.dependencies);
        links.after.remove(&index);
        Ok(links)
    }

    /// Notes that the statement `reader` reads a definition. Changes before `seen_from` are already in what the
    /// statement that looked through saw.
    fn read(
        &mut self,
        definition: usize,
        reader: usize,
        seen_from: usize,
        dependencies: &mut BTreeSet<usize>,
    ) {
        let Definition { statement, seen_through, changes, .. } = &self.definitions[definition];
        let statement = *statement;
        if statement >= seen_from {
            dependencies.insert(statement);
        }
        dependencies.extend(changes.iter().filter(|change| **change >= seen_from));
        let seen_through = seen_through.clone();
        self.definitions[definition].readers.push(reader);
        for base in seen_through {
            self.read(base, reader, statement.max(seen_from), dependencies);
        }
    }

    fn users(&self, definition: usize) -> BTreeSet<usize> {
        let Definition { statement, readers, changes, .. } = &self.definitions[definition];
        std::iter::once(statement).chain(readers).chain(changes).copied().collect()
    }

    fn copies_to(&self, locations: &[String]) -> BTreeSet<usize> {
        let overlapping = self
            .copies
            .iter()
            .filter(|(_, target)| locations.iter().any(|location| overlap(location, target)));
        overlapping.map(|(index, _)| *index).collect()
    }
}

/// Whether two locations are the same file or folder, or one lies in the other.
fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (plain(a), plain(b));
    let inside = |inner: &str, outer: &str| {
        outer.is_empty()
            || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(&a, &b) || inside(&b, &a)
}

/// The location without `file://`, `./` and trailing slashes, up to the first part with a wildcard.
fn plain(location: &str) -> String {
    let location = location.strip_prefix("file://").unwrap_or(location);
    let parts: Vec<&str> = location
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[']))
        .enumerate()
        .filter(|(index, part)| *part != "." && (*index == 0 || !part.is_empty()))
        .map(|(_, part)| part)
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every statement the indices of its dependencies and, behind a bar, of those that it only waits for.
    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        let script = Script::parse("a.sql", sql).unwrap();
        let found: Vec<String> = links(&script)
            .unwrap()
            .iter()
            .map(|links| {
                let list = |indices: Vec<&usize>| {
                    indices.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                let dependencies = list(links.dependencies.iter().collect());
                let waits: Vec<&usize> = links.after.difference(&links.dependencies).collect();
                if waits.is_empty() { dependencies } else { format!("{dependencies}|{}", list(waits)) }
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_are_tied_to_definitions() {
        check(
            "CREATE TABLE a AS SELECT 1 AS x; CREATE VIEW b AS SELECT * FROM a; CREATE TABLE c AS SELECT * FROM B, A;
             COPY c TO 'c.csv'; SELECT * FROM elsewhere",
            &["", "0", "0 1", "2", ""],
        );
    }

    #[test]
    fn later_readers_depend_on_changes_too() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x; SELECT * FROM t; INSERT INTO t SELECT 2; SELECT * FROM t;
             INSERT INTO t SELECT 3; DELETE FROM t; SELECT * FROM t",
            &["", "0", "0|1", "0 2", "0|1 2 3", "0 2 4|1 3", "0 2 4 5"],
        );
    }

    #[test]
    fn readers_of_a_view_depend_on_changes_below_it() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x; CREATE VIEW v AS SELECT * FROM t; CREATE VIEW w AS SELECT * FROM v;
             SELECT * FROM w; INSERT INTO t SELECT 2; SELECT * FROM w",
            &["", "0", "1", "2", "0|1 2 3", "2 4"],
        );
    }

    #[test]
    fn replacing_waits_for_the_users_of_the_old_one() {
        check(
            "CREATE TABLE t AS SELECT 1; SELECT * FROM t; CREATE OR REPLACE TABLE t AS SELECT * FROM t;
             SELECT * FROM t; CREATE TABLE IF NOT EXISTS t AS SELECT 3; SELECT * FROM t",
            &["", "0", "0|1", "2", "|2", "2"],
        );
        check(
            "CREATE TABLE t AS SELECT 1; DROP TABLE t; CREATE VIEW t AS SELECT 2; SELECT * FROM t",
            &["", "|0", "", "2"],
        );
    }

    #[test]
    fn a_second_definition_without_or_replace_is_refused() {
        let script =
            Script::parse("a.sql", "CREATE VIEW t AS SELECT 1; CREATE TABLE public.T AS SELECT 2").unwrap();
        let error = links(&script).unwrap_err();
        assert_eq!((error.first, error.second, error.relation.table.as_ref()), (0, 1, "t"));
    }

    #[test]
    fn files_tie_copies_to_external_tables() {
        check(
            "COPY (SELECT 1 AS x) TO 'out/a/1.parquet';
             CREATE EXTERNAL TABLE a STORED AS PARQUET LOCATION './out/a/'; SELECT * FROM a;
             COPY (SELECT 2 AS x) TO 'out/a/2.parquet'; SELECT * FROM a; COPY a TO 'out/ab.parquet'",
            &["", "0", "1", "|1 2", "1 3", "1 3"],
        );
    }

    #[test]
    fn locations_overlap_where_files_do() {
        for (a, b, expected) in [
            ("a/b.csv", "./a/b.csv", true),
            ("file:///a/b", "/a/b/c", true),
            ("a/*.csv", "a/x.csv", true),
            ("a/b", "a/bc", false),
            ("/a/b", "a/b", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn schemas_keep_names_apart() {
        check(
            "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1; CREATE TABLE t AS SELECT 2; SELECT * FROM s.t;
             SET datafusion.catalog.default_schema = 's'; SELECT * FROM t; SELECT * FROM public.t",
            &["", "", "", "1", "", "1", "2"],
        );
    }
}
