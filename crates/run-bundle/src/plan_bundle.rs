//! The files in `plans/`: an executed query each, with its plans, fingerprints and metrics.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use daglight_guarded_files::{EntryKind, FileBelow, entries_below};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::{Bundle, ReadError, WriteError, layout::PLANS};

/// The name and version of the format, the value of a plan bundle's `format` field.
///
/// Fields that were added since the first bundles, which have none of them: `analyzed`, `metrics.rows_read`, and of
/// operators `is_scan`, `table` and `partitions`. `metrics.rows` may be null since then.
pub const PLAN_BUNDLE_FORMAT: &str = "datafusion_plan_bundle_v1";

/// What stands before the version in the name of the format.
const FORMAT_PREFIX: &str = "datafusion_plan_bundle_v";
/// The version in [`PLAN_BUNDLE_FORMAT`].
const VERSION: u32 = 1;

/// Larger files are named and left out, so that one absurd plan does not take the memory of a reader: 32 MiB.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// One executed query, as JSON. Times are milliseconds; `*_at_ms` count from the Unix epoch. What a file does not have
/// has its default when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanBundle {
    /// [`PLAN_BUNDLE_FORMAT`].
    pub format: String,
    /// The id of the query in its process; a number in the file.
    #[serde(serialize_with = "number_or_text", deserialize_with = "text_of_id")]
    pub query_id: String,
    /// The node of the DAG that ran the query.
    pub node: Option<String>,
    /// `select`, `copy`, `insert`, ...
    pub operation: String,
    /// Whether it was executed by an `EXPLAIN ANALYZE`.
    pub analyzed: bool,
    /// The fingerprint of the logical plan without literals.
    pub plan_hash: Option<String>,
    /// The fingerprint of the logical plan with its literals.
    pub literal_hash: Option<String>,
    /// The fingerprint of the physical plan.
    pub physical_hash: Option<String>,
    /// The unoptimised logical plan, as far as the policy lets it through.
    pub logical_plan: String,
    /// The physical plan before execution; `None` where the policy keeps literals back.
    pub physical_plan: Option<String>,
    /// The tables that the query reads.
    pub source_tables: Vec<String>,
    /// `completed`, `failed`, `cancelled` or `panicked`.
    pub outcome: Option<String>,
    /// What was measured.
    pub metrics: PlanMetrics,
}

/// The measurements of one executed query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanMetrics {
    /// When physical planning started.
    pub planned_at_ms: f64,
    /// How long physical planning took.
    pub planning_ms: Option<f64>,
    /// When the first partition was executed.
    pub started_at_ms: f64,
    /// From the first partition's execution to the end.
    pub wall_ms: f64,
    /// Rows returned or written; `None` for a write that returned no count.
    pub rows: Option<u64>,
    /// Rows that came from the tables that it scans; `Some(None)` where a scan does not count them, `None` in older
    /// bundles, which do not say. [`PlanMetrics::rows_read`] is true of both.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<Option<u64>>,
    /// Bytes written to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes read from storage, where the scans say.
    pub bytes_scanned: Option<u64>,
    /// Every operator in pre-order.
    pub operators: Vec<PlanOperator>,
}

/// One operator of the physical plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanOperator {
    /// Position in pre-order, from 0.
    pub id: u64,
    /// The operator that reads this one's output.
    pub parent: Option<u64>,
    /// Such as `HashJoinExec`.
    pub name: String,
    /// One line of the plan; `None` where the policy keeps literals back.
    pub detail: Option<String>,
    /// Whether it gets rows from outside of the query.
    pub is_scan: bool,
    /// The table that it scans, where that is known.
    pub table: Option<String>,
    /// Rows that it returned.
    pub output_rows: Option<u64>,
    /// Time of its own, summed over its partitions, which run at the same time.
    pub elapsed_compute_ms: Option<f64>,
    /// The partitions that it was executed in.
    pub partitions: Option<u64>,
    /// From the query's start to the operator's.
    pub start_ms: f64,
    /// From the query's start to the operator's end.
    pub end_ms: f64,
    /// Every metric, summed over partitions; times in nanoseconds. What a file has under a name and is not such a number
    /// is passed over when it is read.
    #[serde(deserialize_with = "counts")]
    pub metrics: BTreeMap<String, u64>,
}

/// Rows that the sources of a query returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsRead {
    /// The rows, as far as sources count them.
    pub counted: u64,
    /// False when a source does not count.
    pub all_counted: bool,
}

impl Default for PlanBundle {
    fn default() -> Self {
        Self {
            format: PLAN_BUNDLE_FORMAT.to_owned(),
            query_id: String::new(),
            node: None,
            operation: String::new(),
            analyzed: false,
            plan_hash: None,
            literal_hash: None,
            physical_hash: None,
            logical_plan: String::new(),
            physical_plan: None,
            source_tables: Vec::new(),
            outcome: None,
            metrics: PlanMetrics::default(),
        }
    }
}

impl PlanBundle {
    /// The same bundle with other texts of plans and operators: what `shown` makes of each.
    #[must_use]
    pub fn with_texts(mut self, shown: impl Fn(&str) -> String) -> Self {
        let details = self.metrics.operators.iter_mut().filter_map(|operator| operator.detail.as_mut());
        for text in [&mut self.logical_plan].into_iter().chain(&mut self.physical_plan).chain(details) {
            *text = shown(text);
        }
        self
    }

    /// Writes the plan bundle of the `number`th query of a run. Returns its path below the bundle's folder, with `/`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, bundle: &Bundle, number: usize) -> Result<String, WriteError> {
        let node = self.node.as_deref().unwrap_or_default();
        let path = bundle.plan_file(number, node, self.plan_hash.as_deref().unwrap_or_default());
        let written = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .and_then(|text| FileBelow::deep(&path, 2).replace(&text));
        match written {
            Ok(()) => {
                let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                Ok(format!("{PLANS}/{name}"))
            }
            Err(source) => Err(WriteError::Io { path, source }),
        }
    }

    /// Passes every plan bundle of a run to `take`, with the name of its file and in the order of the names. Returns the
    /// files that cannot be read; the name is empty for the folder itself.
    pub fn read_all(bundle: &Bundle, mut take: impl FnMut(&str, Self)) -> Vec<(String, ReadError)> {
        let listed = match entries_below(bundle.dir(), PLANS) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(source) => return vec![(String::new(), ReadError::Io { path: bundle.plans_dir(), source })],
        };
        let mut unreadable = Vec::new();
        for entry in listed {
            let name = entry.name.to_string_lossy();
            if !name.ends_with(".json") || entry.kind == EntryKind::Folder {
                continue;
            }
            match Self::read(&FileBelow::new(bundle.dir(), Path::new(PLANS).join(&entry.name))) {
                Ok(plan) => take(&name, plan),
                Err(error) => unreadable.push((name.into_owned(), error)),
            }
        }
        unreadable
    }

    fn read(file: &FileBelow) -> Result<Self, ReadError> {
        let text = file.read(MAX_FILE_BYTES).map_err(|source| ReadError::Io { path: file.path(), source })?;
        let damaged = |source| ReadError::Damaged { path: file.path(), source };
        // The version first: what a newer one has may not fit into these types.
        let FormatOnly { format } = serde_json::from_slice(&text).map_err(damaged)?;
        match format.strip_prefix(FORMAT_PREFIX).and_then(|version| version.parse().ok()) {
            Some(VERSION) => serde_json::from_slice(&text).map_err(damaged),
            Some(found) => Err(ReadError::Newer { path: file.path(), found, known: VERSION }),
            None => {
                let problem = format!("its format is {format:?}, expected {PLAN_BUNDLE_FORMAT:?}");
                Err(damaged(serde_json::Error::custom(problem)))
            }
        }
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    #[serde(default = "plan_bundle_format")]
    format: String,
}

fn plan_bundle_format() -> String {
    PLAN_BUNDLE_FORMAT.to_owned()
}

/// An id as the number that it is, where it is one.
fn number_or_text<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match id.parse::<u64>() {
        Ok(number) => serializer.serialize_u64(number),
        Err(_) => serializer.serialize_str(id),
    }
}

/// An id, whether it is written as a text or as a number.
fn text_of_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u64>, D::Error> {
    let metrics: BTreeMap<String, Value> = BTreeMap::deserialize(deserializer)?;
    Ok(metrics.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect())
}

impl PlanMetrics {
    /// Rows that the sources returned. Older bundles do not say that: there it is the output of the operators that have no
    /// input, as far as they count it.
    pub fn rows_read(&self) -> RowsRead {
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

    /// The sum of a metric over all operators, by the name that DataFusion has for it.
    pub fn total(&self, metric: &str) -> u64 {
        let counts = self.operators.iter().filter_map(|operator| operator.metrics.get(metric)).copied();
        counts.sum()
    }
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
        write("004-d-x.json", r#"{"format": "datafusion_plan_bundle_v2", "query_id": [{}]}"#);
        write("005-e-x.json", r#"{"format": "notes"}"#);
        write("notes.txt", "");
        let mut seen = Vec::new();
        let unreadable =
            PlanBundle::read_all(&bundle, |name, plan| seen.push((name.to_owned(), plan.query_id)));
        assert_eq!(seen, [("001-a-x.json".into(), "1".into()), ("002-b-x.json".into(), "q2".into())]);
        let names: Vec<&str> = unreadable.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["003-c-x.json", "004-d-x.json", "005-e-x.json"]);
        assert!(matches!(unreadable[0].1, ReadError::Damaged { .. }));
        assert!(matches!(unreadable[1].1, ReadError::Newer { found: 2, known: 1, .. }));
        assert!(matches!(unreadable[2].1, ReadError::Damaged { .. }));
    }

    #[test]
    fn a_plan_bundle_is_read_back_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        let operator = PlanOperator {
            name: "SortExec".into(),
            metrics: BTreeMap::from([("output_rows".into(), 3)]),
            ..PlanOperator::default()
        };
        let plan = PlanBundle {
            query_id: "7".into(),
            node: Some("top/10".into()),
            plan_hash: Some("ab12".into()),
            metrics: PlanMetrics {
                rows_read: Some(None),
                operators: vec![operator],
                ..PlanMetrics::default()
            },
            ..PlanBundle::default()
        };
        assert_eq!(plan.write(&bundle, 3).unwrap(), "plans/003-top_10-ab12.json");
        let text = fs::read_to_string(bundle.plan_file(3, "top/10", "ab12")).unwrap();
        assert!(text.starts_with(r#"{"format":"datafusion_plan_bundle_v1","query_id":7,"#), "{text}");
        assert!(text.contains(r#""rows_read":null"#), "{text}");
        let mut read = Vec::new();
        assert!(PlanBundle::read_all(&bundle, |_, plan| read.push(plan)).is_empty());
        assert_eq!(read, [plan]);
        assert_eq!(fs::read_dir(bundle.plans_dir()).unwrap().count(), 1);
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
