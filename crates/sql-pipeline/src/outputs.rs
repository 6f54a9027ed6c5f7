//! The outputs of statements, and their external names.

use std::{collections::BTreeMap, path::Path};

use daglight_materializers::{Materialization, name_of_files, without_query};
use datafusion::common::ResolvedTableReference;

use crate::{
    effect::Effect, kind::StatementKind, names::name_of_relation, script::Script, statement::Statement,
};

/// The tag with which a script gives an output an external name other than that of its table or file.
const NAME_TAG: &str = "materialized_name";

/// An output of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatementOutput {
    /// The stable external name.
    pub(crate) name: String,
    pub(crate) materialization: Materialization,
}

/// The output of every statement, in order; `None` for statements without one.
pub(crate) fn outputs(script: &Script) -> Vec<Option<StatementOutput>> {
    // In script order, because the format of an INSERT is that of the external table that was defined earlier.
    let mut formats = BTreeMap::new();
    script.statements().iter().map(|statement| output(statement, &mut formats)).collect()
}

/// `formats` are those of the external tables so far.
fn output(
    statement: &Statement,
    formats: &mut BTreeMap<ResolvedTableReference, Materialization>,
) -> Option<StatementOutput> {
    let (name, materialization) = match (statement.kind, &statement.relations.effect) {
        (StatementKind::ExternalTable, Effect::Define { relation, .. }) => {
            if let Some(format) = &statement.relations.format {
                formats.insert(relation.clone(), Materialization::files(format));
            }
            // An external table is read. It becomes an output when a statement writes to it.
            return None;
        }
        (StatementKind::View, Effect::Define { relation, .. }) => {
            (name_of_relation(relation), Materialization::View)
        }
        (StatementKind::Table, Effect::Define { relation, .. }) => {
            (name_of_relation(relation), Materialization::Table)
        }
        (StatementKind::Copy, Effect::CopyTo { target, format }) => {
            (name_of_files(target), Materialization::files(&format_of(target, format.clone())))
        }
        (StatementKind::Insert, Effect::Change { relation }) => {
            let materialization = formats.get(relation).cloned().unwrap_or(Materialization::Table);
            (name_of_relation(relation), materialization)
        }
        _ => return None,
    };
    Some(StatementOutput { name: statement.tags.get(NAME_TAG).cloned().unwrap_or(name), materialization })
}

/// The format that a `COPY` specifies, or else that of the file extension.
fn format_of(target: &str, named: Option<String>) -> String {
    // The engine's rule for statements that do not specify it.
    let ending =
        || Path::new(without_query(target)).extension().map(|ending| ending.to_string_lossy().into_owned());
    named.or_else(ending).unwrap_or_else(|| "files".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &[Option<&str>]) {
        let script = Script::parse("a.sql", sql).unwrap();
        let found: Vec<Option<String>> = outputs(&script)
            .into_iter()
            .map(|output| output.map(|output| format!("{} {}", output.name, output.materialization)))
            .collect();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn outputs_are_called_by_table_or_file() {
        check(
            "CREATE VIEW semantic.v_risk_v1 AS SELECT 1 AS x; CREATE TABLE t AS SELECT 1 AS x; SELECT * FROM t;
             COPY t TO 'out/risk.csv'; COPY t TO 'out/lines' STORED AS JSON; COPY t TO 's3://b/t.arrow'; DELETE FROM t",
            &[
                Some("semantic.v_risk_v1 view"),
                Some("t table"),
                None,
                Some("risk csv"),
                Some("lines ndjson"),
                Some("t arrow"),
                None,
            ],
        );
    }

    #[test]
    fn what_is_inserted_is_kept_as_its_table_is() {
        check(
            "CREATE EXTERNAL TABLE log STORED AS CSV LOCATION 'log/'; INSERT INTO log VALUES (1);
             CREATE TABLE t (x INT); INSERT INTO t VALUES (1)",
            &[None, Some("log csv"), Some("t table"), Some("t table")],
        );
    }

    #[test]
    fn a_script_may_give_another_name() {
        check(
            "CREATE TABLE t AS SELECT 1 AS x;\n-- tag: materialized_name=sales.risk_v1\nCOPY t TO 'x.parquet'",
            &[Some("t table"), Some("sales.risk_v1 parquet")],
        );
    }
}
