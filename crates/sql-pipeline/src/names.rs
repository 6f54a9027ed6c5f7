//! The names of nodes: those given in the script, and generated ones for the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use daglight_capture_policy::{REDACTED, without_credentials};
use daglight_materializers::naming_part;
use datafusion::common::ResolvedTableReference;

use crate::{effect::Effect, kind::StatementKind, script::Script, statement::Statement};

/// The name of a node for a table whose name is empty or blank.
const UNNAMED: &str = "unnamed";

/// Two nodes with the same given name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedTwice {
    pub(crate) name: String,
    /// The statement of the first one; `None` for an input.
    pub(crate) first: Option<usize>,
    pub(crate) second: usize,
}

/// The name of every statement's node, in the order of statements; `None` for statements that are not nodes.
///
/// A given name is used unchanged. Otherwise a node is named after what it defines (`orders`), what it changes (`orders_insert`),
/// the file it writes (`late_orders_parquet`) or, if it returns rows, its number (`output_1`). If such a name is taken, the next
/// free number is appended: `orders_2`. `inputs` are the nodes of parameters and parameter tables, so that a table called `"$day"`
/// is a different node than the parameter `$day`.
pub(crate) fn node_names(
    script: &Script,
    inputs: &BTreeSet<String>,
) -> Result<Vec<Option<String>>, NamedTwice> {
    let statements = script.statements();
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    for (second, statement) in statements.iter().enumerate() {
        let Some(name) = statement.name.as_deref() else { continue };
        let first = given.insert(name, second);
        if first.is_some() || inputs.contains(name) {
            return Err(NamedTwice { name: name.to_owned(), first, second });
        }
    }
    // All given names are reserved before any is generated, even those of later statements.
    let mut taken: BTreeSet<String> = given.into_keys().map(str::to_owned).chain(inputs.clone()).collect();
    // The next number for each name, so that a thousandth insert does not try all earlier numbers.
    let mut next_numbers: HashMap<String, usize> = HashMap::new();
    let mut queries = 0;
    let names = statements.iter().map(|statement| {
        // Counted even if a query has a name, so that naming one does not rename the others.
        queries += usize::from(statement.kind == StatementKind::Query);
        statement.kind.node_kind()?;
        if let Some(name) = &statement.name {
            return Some(name.clone());
        }
        let base = default_name(statement, queries);
        // `CREATE TABLE ""` is a valid table, but a node needs a name.
        let base = if base.trim().is_empty() { UNNAMED.to_owned() } else { base };
        if taken.insert(base.clone()) {
            return Some(base);
        }
        let next = next_numbers.entry(base.clone()).or_insert(2);
        loop {
            let name = format!("{base}_{next}");
            *next += 1;
            if taken.insert(name.clone()) {
                return Some(name);
            }
        }
    });
    Ok(names.collect())
}

fn default_name(statement: &Statement, queries: usize) -> String {
    match (&statement.relations.effect, statement.kind.change()) {
        (Effect::Define { relation, .. }, _) => name_of_relation(relation),
        (Effect::Change { relation }, Some(change)) => format!("{}_{change}", name_of_relation(relation)),
        (Effect::CopyTo { target, format }, _) => name_of_target(target, format.as_deref()),
        _ if statement.kind == StatementKind::Query => format!("output_{queries}"),
        _ => format!("statement_{}", statement.first_line),
    }
}

/// The name as written in a session with the default configuration.
pub(crate) fn name_of_relation(relation: &ResolvedTableReference) -> String {
    let ResolvedTableReference { catalog, schema, table } = relation;
    let name = match (&**catalog, &**schema) {
        // The default names of a session, which nobody writes.
        ("datafusion", "public") => table.to_string(),
        ("datafusion", _) => format!("{schema}.{table}"),
        _ => relation.to_string(),
    };
    without_credentials(&name)
}

/// `out/late orders.parquet` becomes `late_orders_parquet`, and so does the folder `out/late orders/` with Parquet files.
fn name_of_target(target: &str, format: Option<&str>) -> String {
    let part = naming_part(target).replace(REDACTED, "redacted");
    let mut name: String =
        part.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    // The name of a folder does not contain the format, and two of them may have similar names.
    if let (false, Some(format)) = (part.contains('.'), format) {
        name = format!("{name}_{}", format.to_lowercase());
    }
    let name = name.trim_matches('_');
    if name.is_empty() { "copy".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &[Option<&str>]) {
        let script = Script::parse("a.sql", sql).unwrap();
        let found = node_names(&script, &BTreeSet::from(["$day".to_owned()])).unwrap();
        let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn nodes_are_called_by_what_they_do() {
        check(
            "CREATE EXTERNAL TABLE Orders STORED AS CSV LOCATION 'o.csv'; CREATE VIEW s.V AS SELECT 1;
             CREATE TABLE \"T x\" AS SELECT 1; INSERT INTO orders SELECT 1; DELETE FROM orders; SET a.b = 1",
            &[Some("orders"), Some("s.v"), Some("T x"), Some("orders_insert"), Some("orders_delete"), None],
        );
        check(
            "COPY t TO 's3://b/out/Late-orders.parquet'; COPY t TO 'out/late/' STORED AS PARQUET; COPY t TO '/'",
            &[Some("late_orders_parquet"), Some("late_parquet"), Some("copy")],
        );
        check(
            "COPY t TO 'out/sales/customer=Ann/' STORED AS CSV; COPY t TO 'out/sales/customer=Bob/' STORED AS CSV",
            &[Some("sales_csv"), Some("sales_csv_2")],
        );
        check(
            "SELECT 1; EXPLAIN SELECT 1; (VALUES (1)); SHOW TABLES",
            &[Some("output_1"), None, Some("output_2"), None],
        );
    }

    #[test]
    fn a_name_has_no_credentials() {
        check(
            "CREATE VIEW \"http://x:hunter2@h/\" AS SELECT 1;\n-- node: postgres://x:hunter2@h/\nSELECT 1",
            &[Some("http://[redacted]@h/"), Some("postgres://[redacted]@h/")],
        );
        // As written instead of normalised to lower case, in which it would not be recognised.
        check(
            "COPY t TO 'o/ghp_a1B2c3D4e5F6g7H8i9J0k1L2.csv'; COPY t TO 'o/api_key:Zq01vX7k.json';
             COPY t TO 'o/secret-Zq01vX7k.csv'",
            &[Some("redacted"), Some("api_key_redacted"), Some("secret_redacted_csv")],
        );
    }

    #[test]
    fn a_taken_name_is_followed_by_a_number() {
        check(
            "CREATE TABLE t AS SELECT 1; CREATE OR REPLACE TABLE t AS SELECT 2; INSERT INTO t SELECT 1;
             INSERT INTO t SELECT 2;\n-- node: output_1\nCREATE VIEW v AS SELECT 1; SELECT 1",
            &[
                Some("t"),
                Some("t_2"),
                Some("t_insert"),
                Some("t_insert_2"),
                Some("output_1"),
                Some("output_1_2"),
            ],
        );
    }

    #[test]
    fn a_table_may_be_called_like_a_parameter() {
        check(
            "CREATE TABLE \"$day\" AS SELECT $day AS x; SELECT * FROM \"$day\"",
            &[Some("$day_2"), Some("output_1")],
        );
    }

    #[test]
    fn the_default_schema_is_followed() {
        check(
            "SET datafusion.catalog.default_schema = 's'; CREATE VIEW v AS SELECT 1; CREATE VIEW public.v AS SELECT 1",
            &[None, Some("s.v"), Some("v")],
        );
    }

    #[test]
    fn a_given_name_is_given_once() {
        let script = Script::parse("a.sql", "-- node: x\nSELECT 1;\n-- node: x\nSELECT 2").unwrap();
        let twice = |first, second| Err(NamedTwice { name: "x".into(), first, second });
        assert_eq!(node_names(&script, &BTreeSet::new()), twice(Some(0), 1));
        assert_eq!(node_names(&script, &BTreeSet::from(["x".to_owned()])), twice(None, 0));
    }
}
