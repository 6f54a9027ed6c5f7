//! The files in `plans/`: a plan of a node each, with its plans as text, fingerprints, and the measurements of its executions.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{EntryKind, FileBelow, entries_below};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::Value;

use crate::{
    bundle::Bundle,
    layout::PLANS,
    plan_lineage::PlanLineage,
    plan_metrics::{PlanExecutions, PlanMetrics, PlanSource, PlanningRecord, StorageUse},
    unreadable_plans::UnreadablePlans,
    versioned::{ReadError, WriteError},
};

/// The name and version of the format, the value of a plan bundle's `format` field.
///
/// - 1: one executed query each. Fields that were added since the first bundles, which have none of them: `analyzed`,
///   `metrics.rows_read`, and of operators `is_scan`, `table` and `partitions`. `metrics.rows` may be null since then.
///   `plan_hash` is the fingerprint of the logical plan, `physical_hash` that of the physical one.
/// - 2: one plan of a node each. `logical_hash` is the fingerprint of the logical plan, `plan_hash` that of the physical one.
///   New: `query_ids`, `running`, `executions`, `planning`, `sql`, `optimized_plan`, `schema`, `lineage`, `sources`, `settings`, and of
///   operators what was estimated, memory, spill and the metrics of each partition; later `preview`, `storage`, `shares_files` of
///   sources and `metrics.cluster`. `metrics` are those of the slowest
///   execution, or of one that runs and is slower than all before.
pub const PLAN_BUNDLE_FORMAT: &str = "datafusion_plan_bundle_v2";

/// What stands before the version in the name of the format.
const FORMAT_PREFIX: &str = "datafusion_plan_bundle_v";
/// The version in [`PLAN_BUNDLE_FORMAT`].
const VERSION: u32 = 2;

/// The fields of a plan file, at any depth, that hold SQL, plans, their literals, or rows.
pub const SQL_FIELDS: [&str; 6] =
    ["sql", "logical_plan", "optimized_plan", "physical_plan", "detail", "preview"];

/// Larger files of plans are named and left out, so that one absurd plan does not take the memory of a reader: 32 MiB.
pub const MAX_PLAN_BYTES: u64 = 32 << 20;

/// A plan of a node, as JSON. Times are milliseconds; `*_at_ms` count from the Unix epoch. What a file does not have has its
/// default when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanBundle {
    /// [`PLAN_BUNDLE_FORMAT`].
    pub format: String,
    /// The id of the query, in its process, that `metrics` and `outcome` are of; a number in the file.
    #[serde(serialize_with = "number_or_text", deserialize_with = "text_of_id")]
    pub query_id: String,
    /// The queries that executed the plan, the first hundred.
    pub query_ids: Vec<u64>,
    /// Those of them that have not ended.
    pub running: Vec<u64>,
    /// The node of the DAG that ran the query.
    pub node: Option<String>,
    /// `select`, `copy`, `insert`, ...
    pub operation: String,
    /// Whether it was executed by an `EXPLAIN ANALYZE`.
    pub analyzed: bool,
    /// The fingerprint of what is asked: the logical plan without literals.
    pub logical_hash: Option<String>,
    /// The fingerprint of how it is done: the shape of the physical plan.
    pub plan_hash: Option<String>,
    /// The fingerprint of the logical plan with its literals.
    pub literal_hash: Option<String>,
    /// The SQL of the node, as far as the policy lets it through.
    pub sql: Option<String>,
    /// The logical plan as the front end made it, as far as the policy lets it through.
    pub logical_plan: String,
    /// The logical plan behind its optimisation, as far as the policy lets it through.
    pub optimized_plan: Option<String>,
    /// The physical plan before execution, without literals where the policy keeps them back. `None` in older bundles where it
    /// did.
    pub physical_plan: Option<String>,
    /// The columns that the query returns or writes.
    pub schema: Vec<PlanColumn>,
    /// Where those columns come from. `None` in bundles that were written before it was known.
    pub lineage: Option<PlanLineage>,
    /// The first rows that an execution returned or wrote, as far as the policy lets them through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PlanPreview>,
    /// The tables that the query reads.
    pub source_tables: Vec<String>,
    /// Each scan of them.
    pub sources: Vec<PlanSource>,
    /// What all executions asked of object stores, by store, table and request. The tasks that DataFusion spawns are seen where
    /// the program follows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageUse>,
    /// The options of the session that are not the default.
    pub settings: BTreeMap<String, String>,
    /// `completed`, `failed`, `cancelled` or `panicked`; `None` while the query runs.
    pub outcome: Option<String>,
    /// How long the first execution was planned.
    pub planning: Option<PlanningRecord>,
    /// The sums over all executions. `None` in older bundles, which have one execution each.
    pub executions: Option<PlanExecutions>,
    /// What was measured of one execution: of one that goes on, else of the slowest one that did not succeed, else of the slowest.
    pub metrics: PlanMetrics,
}

impl PlanBundle {
    /// How long the query was planned, in milliseconds; of one whose planning goes on, until then as far as the file says.
    pub fn planning_ms(&self) -> Option<f64> {
        let open = self.planning.as_ref().filter(|planning| planning.open_part.is_some());
        // The first part of it came to the file again with each beat, and the sum did not in files of older versions.
        let parts_ms =
            open.map(|planning| planning.analysis_ms + planning.optimization_ms + planning.physical_ms);
        self.metrics.planning_ms.into_iter().chain(parts_ms).reduce(f64::max)
    }
}

/// A column of what a query returns or writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// The first rows of a query, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanPreview {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row; one without a value is `NULL`, and what is long ends with `…`.
    pub rows: Vec<Vec<String>>,
}

impl Default for PlanBundle {
    fn default() -> Self {
        Self {
            format: PLAN_BUNDLE_FORMAT.to_owned(),
            query_id: String::new(),
            query_ids: Vec::new(),
            running: Vec::new(),
            node: None,
            operation: String::new(),
            analyzed: false,
            logical_hash: None,
            plan_hash: None,
            literal_hash: None,
            sql: None,
            logical_plan: String::new(),
            optimized_plan: None,
            physical_plan: None,
            schema: Vec::new(),
            lineage: None,
            preview: None,
            source_tables: Vec::new(),
            sources: Vec::new(),
            storage: Vec::new(),
            settings: BTreeMap::new(),
            outcome: None,
            planning: None,
            executions: None,
            metrics: PlanMetrics::default(),
        }
    }
}

impl PlanBundle {
    /// The same bundle with other texts of plans and operators: what `shown` makes of each. The physical plan is made of the texts
    /// of its operators, so that each is shown once.
    #[must_use]
    pub fn with_texts(mut self, mut shown: impl FnMut(&str) -> String) -> Self {
        self.logical_plan = shown(&self.logical_plan);
        self.optimized_plan = self.optimized_plan.as_deref().map(&mut shown);
        let rules = self.planning.iter_mut().flat_map(|planning| &mut planning.rules);
        for difference in rules.flat_map(|rule| &mut rule.differences) {
            *difference = shown(difference);
        }
        self.metrics = self.metrics.with_details(shown);
        if self.physical_plan.is_some() {
            self.physical_plan = Some(self.metrics.plan_text());
        }
        self
    }

    /// Writes the file of the plan, in place of the one that is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, bundle: &Bundle) -> Result<(), WriteError> {
        let path = self.path(bundle);
        match serde_json::to_vec(self) {
            Ok(text) => bundle.replace(&path, &text),
            Err(error) => Err(WriteError::Io { path, source: error.into() }),
        }
    }

    /// Removes the file of the plan, where there is one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub fn remove(bundle: &Bundle, node: Option<&str>, plan_hash: &str) -> io::Result<()> {
        match FileBelow::deep(&bundle.plan_file(node, plan_hash), 2).remove() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Reads the file of one plan.
    ///
    /// # Errors
    ///
    /// When it is not there, or is not a plan bundle of a known version.
    pub fn read_one(bundle: &Bundle, node: Option<&str>, plan_hash: &str) -> Result<Self, ReadError> {
        Self::read(&FileBelow::deep(&bundle.plan_file(node, plan_hash), 2))
            .map_err(|error| error.shown_in(bundle))
    }

    fn path(&self, bundle: &Bundle) -> PathBuf {
        bundle.plan_file(self.node.as_deref(), self.plan_hash.as_deref().unwrap_or_default())
    }

    /// Passes every plan bundle of a run to `take`, with the name of its file and in the order of the names. Returns the
    /// files that cannot be read.
    pub fn read_all(bundle: &Bundle, mut take: impl FnMut(&str, Self)) -> UnreadablePlans {
        let mut unreadable = UnreadablePlans::default();
        let listed = match entries_below(bundle.dir(), PLANS) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return unreadable,
            Err(source) => {
                let path = bundle.shown(&bundle.plans_dir());
                unreadable.add(String::new(), ReadError::Io { path, source });
                return unreadable;
            }
        };
        for entry in listed {
            let name = entry.name.to_string_lossy();
            if !name.ends_with(".json") || entry.kind == EntryKind::Folder {
                continue;
            }
            match Self::read(&FileBelow::new(bundle.dir(), Path::new(PLANS).join(&entry.name))) {
                Ok(plan) => take(&name, plan),
                Err(error) => unreadable.add(name.into_owned(), error.shown_in(bundle)),
            }
        }
        unreadable
    }

    fn read(file: &FileBelow) -> Result<Self, ReadError> {
        let text = file.read(MAX_PLAN_BYTES).map_err(|source| ReadError::Io { path: file.path(), source })?;
        let damaged = |source| ReadError::Damaged { path: file.path(), source };
        // The version first: what a newer one has may not fit into these types.
        let Beginning { format, query_id, physical_hash } = serde_json::from_slice(&text).map_err(damaged)?;
        let version = format.strip_prefix(FORMAT_PREFIX).and_then(|version| version.parse().ok());
        match version {
            Some(1 | VERSION) => {}
            Some(found) => return Err(ReadError::Newer { path: file.path(), found, known: VERSION }),
            None => {
                let problem = format!("its format is {format:?}, expected {PLAN_BUNDLE_FORMAT:?}");
                return Err(damaged(serde_json::Error::custom(problem)));
            }
        }
        if query_id.is_none() {
            return Err(damaged(serde_json::Error::missing_field("query_id")));
        }
        let plan: Self = serde_json::from_slice(&text).map_err(damaged)?;
        Ok(match version {
            Some(1) => Self { logical_hash: plan.plan_hash, plan_hash: physical_hash, ..plan },
            _ => plan,
        })
    }
}

/// What decides how the file is read.
#[derive(Deserialize)]
struct Beginning {
    #[serde(default = "first_format")]
    format: String,
    /// Every plan has one. Without it, any object would be a plan of which nothing is known.
    #[serde(default)]
    query_id: Option<IgnoredAny>,
    /// What version 1 calls the fingerprint of the physical plan.
    #[serde(default)]
    physical_hash: Option<String>,
}

fn first_format() -> String {
    format!("{FORMAT_PREFIX}1")
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

#[cfg(test)]
mod tests {
    use std::fs;

    use daglight_run_identity::RunId;

    use super::*;
    use crate::plan_metrics::PlanOperator;

    #[test]
    fn plans_are_read_in_order_and_what_is_unreadable_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        let write = |name: &str, text: &str| fs::write(bundle.plans_dir().join(name), text).unwrap();
        write("002-b-x.json", r#"{"query_id": "q2", "later_field": 1}"#);
        write("001-a-x.json", r#"{"query_id": 1, "metrics": {"wall_ms": 2.5}}"#);
        write("003-c-x.json", r#"{"query_id": "#);
        write("004-d-x.json", r#"{"format": "datafusion_plan_bundle_v3", "query_id": [{}]}"#);
        write("005-e-x.json", r#"{"format": "notes"}"#);
        write("006-f-x.json", "{}");
        write("notes.txt", "");
        let mut seen = Vec::new();
        let unreadable =
            PlanBundle::read_all(&bundle, |name, plan| seen.push((name.to_owned(), plan.query_id)));
        assert_eq!(seen, [("001-a-x.json".into(), "1".into()), ("002-b-x.json".into(), "q2".into())]);
        let unreadable = unreadable.into_named();
        let names: Vec<&str> = unreadable.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["003-c-x.json", "004-d-x.json", "005-e-x.json", "006-f-x.json"]);
        assert!(matches!(unreadable[0].1, ReadError::Damaged { .. }));
        assert!(matches!(unreadable[1].1, ReadError::Newer { found: 3, known: 2, .. }));
        assert!(matches!(unreadable[2].1, ReadError::Damaged { .. }));
    }

    #[test]
    fn of_many_unreadable_files_the_first_are_named_and_the_others_counted() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        for number in 0..1_000 {
            fs::write(bundle.plans_dir().join(format!("a-{number:016x}.json")), "{}").unwrap();
        }
        let unreadable = PlanBundle::read_all(&bundle, |name, _| panic!("{name} is no plan"));
        let problems: Vec<(String, String)> = unreadable.problems().collect();
        assert_eq!(problems.len(), 101);
        assert_eq!(problems[0], ("plans/a-0000000000000000.json".into(), "missing field `query_id`".into()));
        assert_eq!(problems[100], ("plans".into(), "900 more files cannot be read".into()));
    }

    #[test]
    fn the_fields_that_hold_sql_are_those_of_a_plan() {
        let operator = PlanOperator { detail: Some("x".into()), ..PlanOperator::default() };
        let text = || Some("x".to_owned());
        let plan = PlanBundle {
            sql: text(),
            optimized_plan: text(),
            physical_plan: text(),
            preview: Some(PlanPreview::default()),
            metrics: PlanMetrics { operators: vec![operator], ..PlanMetrics::default() },
            ..PlanBundle::default()
        };
        let written = serde_json::to_string(&plan).unwrap();
        for field in SQL_FIELDS {
            assert!(written.contains(&format!("\"{field}\":")), "{field} in {written}");
        }
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
            query_ids: vec![7, 9],
            running: vec![9],
            node: Some("top/10".into()),
            plan_hash: Some("0123456789abcdef".into()),
            logical_hash: Some("fedcba9876543210".into()),
            executions: Some(PlanExecutions { started: 2, completed: 1, ..PlanExecutions::default() }),
            metrics: PlanMetrics {
                rows_read: Some(None),
                operators: vec![operator],
                ..PlanMetrics::default()
            },
            ..PlanBundle::default()
        };
        plan.write(&bundle).unwrap();
        plan.write(&bundle).unwrap();
        let path = bundle.plan_file(Some("top/10"), "0123456789abcdef");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"format":"datafusion_plan_bundle_v2","query_id":7,"#), "{text}");
        assert!(text.contains(r#""rows_read":null"#) && !text.contains("physical_hash"), "{text}");
        let mut read = Vec::new();
        assert!(PlanBundle::read_all(&bundle, |_, plan| read.push(plan)).is_empty());
        assert_eq!(read, [plan]);
        assert_eq!(fs::read_dir(bundle.plans_dir()).unwrap().count(), 1);
        PlanBundle::remove(&bundle, Some("top/10"), "0123456789abcdef").unwrap();
        PlanBundle::remove(&bundle, Some("top/10"), "0123456789abcdef").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_bundle_of_the_first_version_has_the_names_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        let text = r#"{"format": "datafusion_plan_bundle_v1", "query_id": 4, "plan_hash": "asked", "physical_hash": "done"}"#;
        fs::write(bundle.plans_dir().join("001-a-asked.json"), text).unwrap();
        let mut read = Vec::new();
        assert!(PlanBundle::read_all(&bundle, |_, plan| read.push(plan)).is_empty());
        let [plan] = &read[..] else { panic!("{read:?}") };
        assert_eq!((plan.logical_hash.as_deref(), plan.plan_hash.as_deref()), (Some("asked"), Some("done")));
        assert_eq!((plan.query_id.as_str(), &plan.executions), ("4", &None));
    }
}
