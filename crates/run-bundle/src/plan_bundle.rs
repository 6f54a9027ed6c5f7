//! The files in `plans/`: one per plan of a node, with its plans as text, fingerprints, and the measurements of its executions.

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
/// - 1: one executed query per file. Fields that were added later and are missing in the first bundles: `analyzed`,
///   `metrics.rows_read`, and for operators `is_scan`, `table` and `partitions`. `metrics.rows` may be null since then. `plan_hash`
///   is the fingerprint of the logical plan, `physical_hash` that of the physical one.
/// - 2: one plan of a node per file. `logical_hash` is the fingerprint of the logical plan, `plan_hash` that of the physical one.
///   New: `query_ids`, `running`, `executions`, `planning`, `sql`, `optimized_plan`, `schema`, `lineage`, `sources`, `settings`,
///   and for operators estimates, memory, spill and the metrics of each partition; added later: `preview`, `storage`,
///   `shares_files` of sources and `metrics.cluster`. `metrics` are those of the slowest execution, or of a running one that is
///   already slower.
pub const PLAN_BUNDLE_FORMAT: &str = "datafusion_plan_bundle_v2";

/// The part of the format name before the version.
const FORMAT_PREFIX: &str = "datafusion_plan_bundle_v";
/// The version in [`PLAN_BUNDLE_FORMAT`].
const VERSION: u32 = 2;

/// The fields of a plan file, at any depth, that hold SQL, plans, their literals, or rows.
pub const SQL_FIELDS: [&str; 6] =
    ["sql", "logical_plan", "optimized_plan", "physical_plan", "detail", "preview"];

/// The maximum size of a plan file, 32 MiB: larger ones are reported and skipped, so that one huge plan does not use up the memory
/// of a reader.
pub const MAX_PLAN_BYTES: u64 = 32 << 20;

/// A plan of a node, as JSON. Times are in milliseconds; `*_at_ms` count from the Unix epoch. Fields that a file lacks get their
/// defaults when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanBundle {
    /// [`PLAN_BUNDLE_FORMAT`].
    pub format: String,
    /// The id, within its process, of the query to which `metrics` and `outcome` belong; a number in the file.
    #[serde(serialize_with = "number_or_text", deserialize_with = "text_of_id")]
    pub query_id: String,
    /// The queries that executed the plan, at most the first hundred.
    pub query_ids: Vec<u64>,
    /// Those of them that have not ended.
    pub running: Vec<u64>,
    /// The node of the DAG that ran the query.
    pub node: Option<String>,
    /// `select`, `copy`, `insert`, ...
    pub operation: String,
    /// Whether `EXPLAIN ANALYZE` executed it.
    pub analyzed: bool,
    /// The fingerprint of the question: the logical plan without literals.
    pub logical_hash: Option<String>,
    /// The fingerprint of the way it is answered: the shape of the physical plan.
    pub plan_hash: Option<String>,
    /// The fingerprint of the logical plan with its literals.
    pub literal_hash: Option<String>,
    /// The SQL of the node, as far as the policy allows.
    pub sql: Option<String>,
    /// The logical plan as the front end made it, as far as the policy allows.
    pub logical_plan: String,
    /// The logical plan after optimisation, as far as the policy allows.
    pub optimized_plan: Option<String>,
    /// The physical plan before execution; without literals if the policy withholds them, or `None` in that case in older bundles.
    pub physical_plan: Option<String>,
    /// The columns that the query returns or writes.
    pub schema: Vec<PlanColumn>,
    /// Where those columns come from. `None` in bundles of older versions.
    pub lineage: Option<PlanLineage>,
    /// The first rows that an execution returned or wrote, as far as the policy allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PlanPreview>,
    /// The tables that the query reads.
    pub source_tables: Vec<String>,
    /// Each scan of these tables.
    pub sources: Vec<PlanSource>,
    /// The requests of all executions to object stores, by store, table and request. Requests from tasks that DataFusion spawns are
    /// included only if the program propagates the context to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageUse>,
    /// The session options that differ from their defaults.
    pub settings: BTreeMap<String, String>,
    /// `completed`, `failed`, `cancelled` or `panicked`; `None` while the query runs.
    pub outcome: Option<String>,
    /// How long planning of the first execution took.
    pub planning: Option<PlanningRecord>,
    /// The sums over all executions. `None` in older bundles, which have one execution per file.
    pub executions: Option<PlanExecutions>,
    /// The measurements of one execution: a running one, or else the slowest that did not succeed, or else the slowest.
    pub metrics: PlanMetrics,
}

impl PlanBundle {
    /// How long planning of the query took, in milliseconds. If planning is still going on, the time so far according to the file.
    pub fn planning_ms(&self) -> Option<f64> {
        let open = self.planning.as_ref().filter(|planning| planning.open_part.is_some());
        // In older versions, the parts were updated in the file with each beat, but the sum was not.
        let parts_ms =
            open.map(|planning| planning.analysis_ms + planning.optimization_ms + planning.physical_ms);
        self.metrics.planning_ms.into_iter().chain(parts_ms).reduce(f64::max)
    }
}

/// A column that a query returns or writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it is nullable.
    pub nullable: bool,
}

/// The first rows of a query, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanPreview {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row; a missing value is `NULL`, and a long text ends with `…`.
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
    /// The same bundle with the texts of plans and operators passed through `shown`. The physical plan is composed from the texts
    /// of its operators, so that each is passed only once.
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

    /// Writes the file of the plan, replacing an existing one.
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

    /// Removes the file of the plan, if it exists.
    ///
    /// # Errors
    ///
    /// When it exists and cannot be removed.
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
    /// When it does not exist, or is not a plan bundle of a known version.
    pub fn read_one(bundle: &Bundle, node: Option<&str>, plan_hash: &str) -> Result<Self, ReadError> {
        Self::read(&FileBelow::deep(&bundle.plan_file(node, plan_hash), 2))
            .map_err(|error| error.shown_in(bundle))
    }

    fn path(&self, bundle: &Bundle) -> PathBuf {
        bundle.plan_file(self.node.as_deref(), self.plan_hash.as_deref().unwrap_or_default())
    }

    /// Passes every plan bundle of a run to `take`, with its file name and in the order of the names. Returns the files that cannot
    /// be read.
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
        // The version is read first: a newer file may not match these types.
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

/// The fields that decide how to read the file.
#[derive(Deserialize)]
struct Beginning {
    #[serde(default = "first_format")]
    format: String,
    /// Every plan file has one. Without this check, any JSON object would pass as an empty plan.
    #[serde(default)]
    query_id: Option<IgnoredAny>,
    /// The fingerprint of the physical plan in version 1.
    #[serde(default)]
    physical_hash: Option<String>,
}

fn first_format() -> String {
    format!("{FORMAT_PREFIX}1")
}

/// Writes an id as a number, if it is one.
fn number_or_text<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match id.parse::<u64>() {
        Ok(number) => serializer.serialize_u64(number),
        Err(_) => serializer.serialize_str(id),
    }
}

/// Reads an id that is written as a string or as a number.
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
        let unreadable = PlanBundle::read_all(&bundle, |name, _| panic!("{name} is not a plan"));
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
