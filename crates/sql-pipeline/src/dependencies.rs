//! The statements that a statement reads from, and those that must finish before it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::{catalog::information_schema::INFORMATION_SCHEMA, common::ResolvedTableReference};

use crate::{
    effect::{Effect, Existing},
    kind::StatementKind,
    location::{Location, LocationIndex},
    script::Script,
    statement::Statement,
};

/// The dependencies of one statement on earlier ones, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The statements whose output it reads.
    pub(crate) dependencies: BTreeSet<usize>,
    /// Those of them, and of the statements before a drop, whose output exists only in the session: in-memory tables, views,
    /// definitions of external tables. Files from other statements may also exist from an earlier run.
    pub(crate) in_session: BTreeSet<usize>,
    /// The statements that must end before it starts: its dependencies, and the users of what it replaces or changes.
    pub(crate) after: BTreeSet<usize>,
}

/// A relation that is defined although one with its name already exists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DefinedTwice {
    pub(crate) relation: ResolvedTableReference,
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// Follows the script and links each read to the current definition and to the changes since.
///
/// A view reads its relations each time it is read, so its readers also depend on later changes to them. Written files are linked
/// to every table over them, and to statements that read them by name.
pub(crate) fn links(script: &Script) -> Result<Vec<Links>, DefinedTwice> {
    let mut state = State::default();
    script.statements().iter().enumerate().map(|(index, statement)| state.follow(index, statement)).collect()
}

#[derive(Default)]
struct State {
    definitions: Vec<Definition>,
    in_force: BTreeMap<ResolvedTableReference, usize>,
    /// The definitions of external tables at their locations.
    tables_at: LocationIndex,
    /// The statements that write files, and the statements that read them by name.
    writers_at: LocationIndex,
    readers_at: LocationIndex,
    /// The statements that change the information schema, and those that read it.
    catalog_writers: BTreeSet<usize>,
    catalog_readers: BTreeSet<usize>,
}

#[derive(Default)]
struct Definition {
    statement: usize,
    is_view: bool,
    /// Whether it is a view of the information schema.
    reads_catalog: bool,
    /// What a view reads, as indices of definitions; empty for a table.
    seen_through: Vec<usize>,
    locations: Vec<Location>,
    changes: Vec<usize>,
    /// The last statement that changed it, or its own definition, and the readers since. All other users must end before these.
    last_users: BTreeSet<usize>,
}

impl State {
    fn follow(&mut self, index: usize, statement: &Statement) -> Result<Links, DefinedTwice> {
        let mut links = Links::default();
        let mut dropped = BTreeSet::new();
        let mut read = Vec::new();
        // All reads before the effect: `CREATE OR REPLACE TABLE t AS SELECT ... FROM t` reads the old table.
        for mention in &statement.relations.reads {
            match self.in_force.get(&mention.relation) {
                Some(definition) => read.push(*definition),
                None => self.read_file(&mention.relation, index, &mut links),
            }
        }
        let mut seen = BTreeMap::new();
        for definition in &read {
            self.read(*definition, index, 0, &mut links, &mut seen);
        }
        let reads_catalog = statement.relations.reads.iter().any(|mention| is_of_catalog(&mention.relation))
            || seen.keys().any(|definition| self.definitions[*definition].reads_catalog);
        self.follow_catalog(index, statement, reads_catalog, &mut links);
        match &statement.relations.effect {
            Effect::None
            | Effect::DefineCatalog { .. }
            | Effect::DefineSchema { .. }
            | Effect::DefineFunction { .. }
            | Effect::DropFunction { .. }
            | Effect::Prepare { .. }
            | Effect::Deallocate { .. } => {}
            Effect::Define { relation, policy, locations, .. } => {
                let previous = self.in_force.get(relation).copied();
                match (previous, policy) {
                    (Some(previous), Existing::Refuse) => {
                        let first = self.definitions[previous].statement;
                        return Err(DefinedTwice { relation: relation.clone(), first, second: index });
                    }
                    (Some(previous), Existing::Keep | Existing::Both) => {
                        links.after.insert(self.definitions[previous].statement);
                    }
                    (previous, _) => {
                        if let Some(previous) = previous {
                            // Readers of the old definition must finish before the name gets a new meaning.
                            links.after.extend(&self.definitions[previous].last_users);
                        }
                        let is_view = statement.kind == StatementKind::View;
                        // A view is evaluated whenever it is used, so that a change to its base changes what its readers see. A
                        // table already has its rows.
                        let seen_through = if is_view { read } else { Vec::new() };
                        let made = Definition {
                            statement: index,
                            is_view,
                            reads_catalog: is_view && reads_catalog,
                            seen_through,
                            last_users: [index].into(),
                            ..Definition::default()
                        };
                        self.define(relation, made, locations, &mut links);
                    }
                }
            }
            Effect::Change { relation } => {
                if let Some(definition) = self.in_force.get(relation).copied() {
                    links.in_session.insert(self.definitions[definition].statement);
                    self.change(definition, index, &mut links);
                    for location in self.definitions[definition].locations.clone() {
                        self.write(location, index, &mut links);
                    }
                }
            }
            Effect::CopyTo { target, .. } => self.write(Location::of(target), index, &mut links),
            Effect::Drop { relations, views, .. } => {
                for relation in relations {
                    let Some(definition) = self.in_force.get(relation) else { continue };
                    let definition = &self.definitions[*definition];
                    links.after.extend(&definition.last_users);
                    dropped.insert(definition.statement);
                    // `DROP TABLE` on a view fails in the engine, and the view stays. Later statements still read it.
                    if definition.is_view == *views {
                        self.in_force.remove(relation);
                    }
                }
            }
            Effect::DropSchema { catalog, schema, .. } => {
                self.in_force.retain(|relation, definition| {
                    let is_dropped = *relation.catalog == **catalog && *relation.schema == **schema;
                    if is_dropped {
                        links.after.extend(&self.definitions[*definition].last_users);
                    }
                    !is_dropped
                });
            }
        }
        // Everything that must be in the session is also read, but not the other way round: rows that a statement wrote to files
        // may exist from an earlier run.
        links.dependencies.extend(&links.in_session);
        // `INSERT INTO t SELECT ... FROM t` names itself on both sides.
        links.dependencies.remove(&index);
        links.after.extend(&links.dependencies);
        links.after.remove(&index);
        links.in_session.extend(dropped);
        links.in_session.remove(&index);
        Ok(links)
    }

    /// A statement that reads the information schema sees the changes of earlier statements, and none of later ones.
    fn follow_catalog(&mut self, index: usize, statement: &Statement, reads: bool, links: &mut Links) {
        if reads {
            links.after.extend(&self.catalog_writers);
            self.catalog_readers.insert(index);
        }
        if changes_catalog(&statement.relations.effect) {
            links.after.extend(&self.catalog_readers);
            self.catalog_writers.insert(index);
        }
    }

    fn define(
        &mut self,
        relation: &ResolvedTableReference,
        made: Definition,
        locations: &[String],
        links: &mut Links,
    ) {
        let definition = self.definitions.len();
        let locations: Vec<Location> = locations.iter().map(|location| Location::of(location)).collect();
        for location in &locations {
            links.dependencies.extend(self.writers_at.held_by(location));
            self.tables_at.insert(location.clone(), definition);
        }
        self.in_force.insert(relation.clone(), definition);
        self.definitions.push(Definition { locations, ..made });
    }

    /// Records that the statement `reader` reads a definition. Changes before `seen_from` were visible to the view that it reads
    /// through. `seen` has the definitions that were already read, with their `seen_from`.
    fn read(
        &mut self,
        definition: usize,
        reader: usize,
        seen_from: usize,
        links: &mut Links,
        seen: &mut BTreeMap<usize, usize>,
    ) {
        // Views on views can lead to the same table on exponentially many paths.
        if seen.get(&definition).is_some_and(|earlier| *earlier <= seen_from) {
            return;
        }
        seen.insert(definition, seen_from);
        let Definition { statement, seen_through, changes, last_users, locations, .. } =
            &mut self.definitions[definition];
        let statement = *statement;
        if statement >= seen_from {
            links.in_session.insert(statement);
        }
        let changed_in = if locations.is_empty() { &mut links.in_session } else { &mut links.dependencies };
        changed_in.extend(changes.iter().filter(|change| **change >= seen_from));
        last_users.insert(reader);
        for base in seen_through.clone() {
            self.read(base, reader, statement.max(seen_from), links, seen);
        }
    }

    /// Records a name that no statement defines, which may refer to a file.
    fn read_file(&mut self, relation: &ResolvedTableReference, reader: usize, links: &mut Links) {
        // With `enable_url_table`, DataFusion accepts a path as a table.
        if relation.table.contains(['/', '.']) {
            let location = Location::of(&relation.table);
            links.dependencies.extend(self.writers_at.held_by(&location));
            self.readers_at.insert(location, reader);
        }
    }

    fn change(&mut self, definition: usize, index: usize, links: &mut Links) {
        let Definition { changes, last_users, .. } = &mut self.definitions[definition];
        // Later statements wait for this change, and thereby for all earlier ones: the lists stay short however often a table is
        // changed.
        links.after.extend(std::mem::replace(last_users, [index].into()));
        if changes.last() != Some(&index) {
            changes.push(index);
        }
    }

    /// Records that the statement `index` writes files, after all statements that have written and read them so far.
    fn write(&mut self, location: Location, index: usize, links: &mut Links) {
        // Each of these waited for the earlier ones at its location.
        links.after.extend(self.writers_at.last_held_by(&location));
        links.after.extend(self.readers_at.that_hold(&location));
        for definition in self.tables_at.that_hold(&location) {
            self.change(definition, index, links);
        }
        self.writers_at.insert(location, index);
    }
}

fn is_of_catalog(relation: &ResolvedTableReference) -> bool {
    *relation.schema == *INFORMATION_SCHEMA
}

/// Whether a statement with this effect changes the information schema.
fn changes_catalog(effect: &Effect) -> bool {
    match effect {
        Effect::Define { .. }
        | Effect::DefineCatalog { .. }
        | Effect::DefineSchema { .. }
        | Effect::DefineFunction { .. }
        | Effect::Drop { .. }
        | Effect::DropFunction { .. }
        | Effect::DropSchema { .. } => true,
        Effect::None
        | Effect::Change { .. }
        | Effect::CopyTo { .. }
        | Effect::Prepare { .. }
        | Effect::Deallocate { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares, for each statement, the indices of its dependencies and, after a bar, of those for which it only waits.
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
    fn readers_of_the_information_schema_see_what_stands_above_them() {
        check(
            "CREATE TABLE a AS SELECT 1 AS x; SELECT table_name FROM information_schema.tables; INSERT INTO a SELECT 2;
             CREATE VIEW v AS SELECT * FROM datafusion.information_schema.columns; CREATE TABLE b AS SELECT 3 AS y;
             SELECT * FROM v; CREATE TABLE c AS SELECT 4 AS z",
            &["", "|0", "0", "|0 1", "|1 3", "3|0 4", "|1 3 5"],
        );
    }

    #[test]
    fn later_readers_depend_on_changes_too() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x; SELECT * FROM t; INSERT INTO t SELECT 2; SELECT * FROM t;
             INSERT INTO t SELECT 3; DELETE FROM t; SELECT * FROM t",
            &["", "0", "0|1", "0 2", "0|2 3", "0 2 4", "0 2 4 5"],
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
    fn all_spellings_of_a_place_are_one() {
        let here = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let here = here.display();
        for reader in [
            "out/a",
            "./out/../out/a/",
            &format!("{here}/out/a/"),
            &format!("file://{here}/out/%61"),
            "out//a/*.parquet",
        ] {
            check(
                &format!(
                    "COPY (SELECT 1 AS x) TO 'stage/../out/a/one.parquet';
                     CREATE EXTERNAL TABLE a STORED AS PARQUET LOCATION '{reader}'; SELECT * FROM a;
                     COPY (SELECT 2 AS x) TO '{here}/out/a/two.parquet'; SELECT * FROM a"
                ),
                &["", "0", "1", "|1 2", "1 3"],
            );
        }
    }

    #[test]
    fn what_is_inserted_is_read_through_every_table_on_its_place() {
        check(
            "CREATE EXTERNAL TABLE e (x INT) STORED AS PARQUET LOCATION 'out/e/';
             CREATE EXTERNAL TABLE p (x INT) STORED AS PARQUET LOCATION 'out/e/day=1/'; SELECT * FROM p;
             INSERT INTO e SELECT 1; CREATE EXTERNAL TABLE f STORED AS PARQUET LOCATION './out/e';
             SELECT * FROM f; SELECT * FROM p; INSERT INTO f SELECT 2; SELECT * FROM e",
            &["", "", "1", "0|1 2", "3", "4", "1 3", "4|3 5 6", "0 3 7"],
        );
    }

    #[test]
    fn writing_waits_for_writers_and_readers_of_the_place() {
        check(
            "COPY (SELECT 1 AS x) TO 'out/x.csv'; CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'out/x.csv';
             SELECT * FROM t; DROP TABLE t; COPY (SELECT 2 AS x) TO './out/x.csv'; COPY (SELECT 3 AS x) TO 'out/'",
            &["", "0", "1", "|1 2", "|0 1 2", "|4"],
        );
        check(
            "COPY (SELECT 1 AS x) TO 'out/x.csv'; SELECT * FROM './out/x.csv'; COPY (SELECT 2 AS x) TO 'out/x.csv';
             SELECT * FROM 'out/x.csv'",
            &["", "0", "|0 1", "0 2"],
        );
        check(
            "COPY (SELECT 1 AS x) TO 'out/x.parquet'; SELECT * FROM parquet_metadata('out/x.parquet');
             SELECT type FROM Parquet_Metadata(\"./out/x.parquet\") AS p; SELECT * FROM parquet_metadata('y.parquet')",
            &["", "0", "0", ""],
        );
    }

    #[test]
    fn select_into_makes_a_table() {
        check(
            "SELECT 1 AS x INTO t; CREATE TABLE u AS SELECT * FROM t; WITH c AS (SELECT * FROM u) SELECT x INTO v FROM c;
             (SELECT x INTO w FROM v); SELECT * FROM w",
            &["", "0", "1", "2", "3"],
        );
    }

    #[test]
    fn a_dropped_schema_frees_its_names() {
        check(
            "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1; CREATE TABLE t AS SELECT 1; DROP SCHEMA s CASCADE;
             CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 2; SELECT * FROM s.t, t; DROP SCHEMA datafusion.s CASCADE;
             CREATE TABLE s.t AS SELECT 3",
            &["", "", "", "|1", "", "", "2 5", "|5 6", ""],
        );
    }

    #[test]
    fn settings_act_from_the_next_statement_on() {
        check(
            "CREATE TABLE T AS SELECT 1; SET datafusion.sql_parser.enable_ident_normalization = false;
             CREATE TABLE T AS SELECT 2; SELECT * FROM T; SELECT * FROM t;
             RESET datafusion.sql_parser.enable_ident_normalization; SELECT * FROM T",
            &["", "", "", "2", "0", "", "0"],
        );
        check(
            "SET datafusion.catalog.default_schema TO \"S\"; CREATE TABLE t AS SELECT 1;
             RESET datafusion.catalog.default_schema; CREATE TABLE t AS SELECT 2; SELECT * FROM \"S\".t; SELECT * FROM t;
             SET DataFusion.Catalog.Default_Schema = 'S'; SELECT * FROM t; SET datafusion.catalog.default_schema = 7 + 1;
             SELECT * FROM datafusion.public.t; USE public; SELECT * FROM t",
            &["", "", "", "", "1", "3", "", "1", "", "3", "", "1"],
        );
    }

    #[test]
    fn executing_does_what_was_prepared() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x; PREPARE P AS INSERT INTO t SELECT $1; EXECUTE p(2); SELECT * FROM t;
             DEALLOCATE p; EXECUTE p(3); SELECT * FROM t",
            &["", "", "0", "0 2", "", "", "0 2"],
        );
    }

    #[test]
    fn views_of_views_are_read_once() {
        let mut sql = "CREATE VIEW v0 AS SELECT 1 AS x; CREATE VIEW w0 AS SELECT 1 AS x;".to_owned();
        for level in 1..40 {
            let below = level - 1;
            sql += &format!(
                "CREATE VIEW v{level} AS SELECT x FROM v{below} UNION SELECT x FROM w{below};
                 CREATE VIEW w{level} AS SELECT x FROM w{below} UNION SELECT x FROM v{below};"
            );
        }
        let links = links(&Script::parse("a.sql", &sql).unwrap()).unwrap();
        assert_eq!(links[78].dependencies, [76, 77].into());
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
