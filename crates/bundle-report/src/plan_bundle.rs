//! Reading `datafusion_plan_bundle_v1`: the plan of one query, with what its operators did.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use daglight_guarded_files::{EntryKind, FileBelow, entries_below};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{Bundle, layout::PLANS};

/// Larger files are named and left out, so that one absurd plan does not take the memory of the report.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// What the report uses of a plan bundle. Whatever is missing has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlanBundle {
    #[serde(deserialize_with = "id")]
    pub(crate) query_id: String,
    pub(crate) node: Option<String>,
    pub(crate) plan_hash: Option<String>,
    pub(crate) source_tables: Vec<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) metrics: Option<PlanMetrics>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlanMetrics {
    pub(crate) planning_ms: Option<f64>,
    pub(crate) wall_ms: f64,
    pub(crate) rows: Option<u64>,
    /// `None` in older bundles, which do not say it.
    #[serde(deserialize_with = "present")]
    pub(crate) rows_read: Option<Option<u64>>,
    pub(crate) operators: Vec<PlanOperator>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlanOperator {
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: String,
    pub(crate) detail: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) partitions: Option<u64>,
    pub(crate) output_rows: Option<u64>,
    pub(crate) elapsed_compute_ms: Option<f64>,
    pub(crate) metrics: BTreeMap<String, Value>,
}

/// Rows that the sources of a query gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsRead {
    pub(crate) counted: u64,
    /// False when a source does not count.
    pub(crate) all_counted: bool,
}

/// An id, whether it is written as a text or as a number.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl PlanMetrics {
    /// Rows that the sources gave. Older bundles do not say that: there it is the output of the operators that have no
    /// input, as far as they count it.
    pub(crate) fn rows_read(&self) -> RowsRead {
        if let Some(said) = self.rows_read {
            return RowsRead { counted: said.unwrap_or(0), all_counted: said.is_some() };
        }
        let parents: HashSet<u64> = self.operators.iter().filter_map(|operator| operator.parent).collect();
        let leaves = self.operators.iter().filter(|operator| !parents.contains(&operator.id));
        let mut read = RowsRead { counted: 0, all_counted: !self.operators.is_empty() };
        for leaf in leaves {
            match leaf.output_rows {
                Some(rows) => read.counted += rows,
                None => read.all_counted = false,
            }
        }
        read
    }

    /// Bytes that scans read and operators spilled, by the names that DataFusion gives them.
    pub(crate) fn total(&self, metric: &str) -> u64 {
        let counts = self.operators.iter().filter_map(|operator| operator.metrics.get(metric)?.as_u64());
        counts.sum()
    }
}

/// Gives every plan bundle of a bundle to `take`, in the order of their names. The answer lists the files that could
/// not be read.
pub(crate) fn read_plans(bundle: &Bundle, mut take: impl FnMut(&str, PlanBundle)) -> Vec<(String, String)> {
    let listed = match entries_below(bundle.dir(), PLANS) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![(String::new(), error.to_string())],
    };
    let mut unreadable = Vec::new();
    for entry in listed {
        let name = entry.name.to_string_lossy();
        if !name.ends_with(".json") || entry.kind == EntryKind::Folder {
            continue;
        }
        match read_plan(&FileBelow::new(bundle.dir(), Path::new(PLANS).join(&entry.name))) {
            Ok(plan) => take(&name, plan),
            Err(problem) => unreadable.push((name.into_owned(), problem)),
        }
    }
    unreadable
}

fn read_plan(file: &FileBelow) -> Result<PlanBundle, String> {
    let text = file.read(MAX_FILE_BYTES).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use daglight_run_identity::RunId;
    use serde_json::json;

    use super::*;

    #[test]
    fn plans_are_read_in_order_and_what_is_unreadable_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        let write = |name: &str, text: &str| fs::write(bundle.plans_dir().join(name), text).unwrap();
        write("002-b-x.json", r#"{"query_id": "q2", "later_field": 1}"#);
        write("001-a-x.json", r#"{"query_id": 1, "metrics": {"wall_ms": 2.5}}"#);
        write("003-c-x.json", r#"{"query_id": "#);
        write("notes.txt", "");
        let mut seen = Vec::new();
        let unreadable = read_plans(&bundle, |name, plan| seen.push((name.to_owned(), plan.query_id)));
        assert_eq!(seen, [("001-a-x.json".into(), "1".into()), ("002-b-x.json".into(), "q2".into())]);
        assert_eq!(unreadable.len(), 1);
        assert_eq!(unreadable[0].0, "003-c-x.json");
    }

    #[test]
    fn rows_read_are_those_of_the_leaves() {
        let metrics: PlanMetrics = serde_json::from_value(json!({"operators": [
            {"id": 0, "name": "HashJoinExec", "output_rows": 5},
            {"id": 1, "parent": 0, "name": "DataSourceExec", "output_rows": 25, "metrics": {"bytes_scanned": 100}},
            {"id": 2, "parent": 0, "name": "DataSourceExec", "output_rows": 7, "metrics": {"bytes_scanned": 11}},
        ]}))
        .unwrap();
        assert_eq!(metrics.rows_read(), RowsRead { counted: 32, all_counted: true });
        assert_eq!(metrics.total("bytes_scanned"), 111);
        assert!(!PlanMetrics::default().rows_read().all_counted);
        for (said, counted, all_counted) in [(json!(7), 7, true), (json!(null), 0, false)] {
            let metrics: PlanMetrics = serde_json::from_value(json!({"rows_read": said})).unwrap();
            assert_eq!(metrics.rows_read(), RowsRead { counted, all_counted });
        }
    }
}
