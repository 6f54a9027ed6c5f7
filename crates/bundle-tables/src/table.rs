//! The tables, with their columns.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use daglight_run_bundle::{Bundle, FileDamage, FileEntry, Manifest, outbox::recorded_outbox};
use serde_json::{Map, Value};

use crate::{
    columns::{
        Column::{self, Count, Flag, Real, Text, Time},
        schema,
    },
    damage::Damage,
    rows,
    sink::{RowSink, TableError},
};

/// A table with rows from bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BundleTable {
    /// One row per run.
    Runs,
    /// One row per node of the DAG of each run.
    Nodes,
    /// One row per distinct plan of a node: sums over the queries that executed it, and the measurements of the slowest.
    Queries,
    /// One row per operator of those plans.
    Operators,
    /// One row per span.
    Spans,
    /// One row per log record.
    Logs,
    /// One row per output that a run has written.
    Artifacts,
    /// One row per column of the data of a node.
    Summaries,
    /// One row per finding in the report of a run.
    Findings,
    /// One row per OpenLineage event.
    LineageEvents,
}

impl BundleTable {
    /// All tables.
    pub const ALL: [Self; 10] = [
        Self::Runs,
        Self::Nodes,
        Self::Queries,
        Self::Operators,
        Self::Spans,
        Self::Logs,
        Self::Artifacts,
        Self::Summaries,
        Self::Findings,
        Self::LineageEvents,
    ];

    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Nodes => "nodes",
            Self::Queries => "queries",
            Self::Operators => "operators",
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Artifacts => "artifacts",
            Self::Summaries => "summaries",
            Self::Findings => "findings",
            Self::LineageEvents => "lineage_events",
        }
    }

    /// Its columns. All are nullable.
    pub fn schema(self) -> SchemaRef {
        schema(self.columns())
    }

    /// Whether a file of a bundle, by its path in the bundle, contains rows of the table.
    fn reads(self, path: &str) -> bool {
        match self {
            Self::Runs | Self::Nodes => false,
            Self::Queries | Self::Operators => path.starts_with("plans/"),
            Self::Spans => path == "otel_traces.json",
            Self::Logs => path == "otel_logs.json",
            Self::Artifacts => path == "artifacts.json",
            Self::Summaries => path == "data_summaries.jsonl",
            Self::Findings => path == "run_diagnostics_report.json",
            Self::LineageEvents => path == "openlineage.jsonl",
        }
    }

    const fn columns(self) -> &'static [Column] {
        match self {
            Self::Runs => &[
                Text("status"),
                Time("started_at"),
                Time("ended_at"),
                Real("duration_ms"),
                Text("error"),
                Count("nodes"),
                Text("profile"),
                Text("daglight_version"),
                Text("dag_hash"),
                Text("code_hash"),
                Text("trace_id"),
                Text("execution_run_id"),
                Text("project_id"),
                Text("tags"),
                Real("own_time_ms"),
                Text("bundle"),
            ],
            Self::Nodes => &[
                Text("node"),
                Text("kind"),
                Text("status"),
                Time("started_at"),
                Real("duration_ms"),
                Count("rows"),
                Count("bytes"),
                Text("error"),
                Count("attempts"),
                Text("dependencies"),
            ],
            Self::Queries => &[
                Text("node"),
                Text("plan_hash"),
                Text("logical_hash"),
                Text("operation"),
                Text("outcome"),
                Text("sql"),
                Text("source_tables"),
                Count("executions"),
                Time("started_at"),
                Real("wall_ms"),
                Real("total_wall_ms"),
                Real("planning_ms"),
                Real("analysis_ms"),
                Real("optimization_ms"),
                Real("physical_planning_ms"),
                Count("rows"),
                Count("rows_read"),
                Count("bytes_scanned"),
                Count("bytes_written"),
                Count("bytes_spilled"),
                Text("plan_file"),
            ],
            Self::Operators => &[
                Text("node"),
                Text("plan_hash"),
                Count("operator_id"),
                Count("parent_id"),
                Text("operator"),
                Text("detail"),
                Text("table_name"),
                Count("estimated_rows"),
                Count("rows"),
                Count("output_bytes"),
                Real("compute_ms"),
                Real("start_ms"),
                Real("end_ms"),
                Count("partitions"),
                Count("memory_bytes"),
                Count("spilled_bytes"),
                Text("metrics"),
            ],
            Self::Spans => &[
                Text("trace_id"),
                Text("span_id"),
                Text("parent_span_id"),
                Text("name"),
                Text("stage"),
                Text("node"),
                Time("started_at"),
                Time("ended_at"),
                Real("duration_ms"),
                Flag("is_error"),
                Text("message"),
                Text("attributes"),
                Text("events"),
            ],
            Self::Logs => &[
                Time("at"),
                Count("severity_number"),
                Text("severity"),
                Text("body"),
                Text("trace_id"),
                Text("span_id"),
                Text("attributes"),
            ],
            Self::Artifacts => &[
                Text("name"),
                Text("node"),
                Text("materialization"),
                Text("location"),
                Text("format"),
                Count("rows"),
                Count("bytes"),
                Count("files"),
                Count("files_before"),
                Text("schema_hash"),
            ],
            Self::Summaries => &[
                Text("node"),
                Text("column_name"),
                Count("position"),
                Text("data_type"),
                Count("rows"),
                Count("missing"),
                Count("distinct_values"),
                Flag("distinct_is_estimate"),
                Text("min"),
                Text("max"),
                Real("mean"),
                Real("std"),
                Text("summary"),
            ],
            Self::Findings => &[
                Text("kind"),
                Text("level"),
                Text("node"),
                Text("operator"),
                Real("at_stake_ms"),
                Text("summary"),
                Text("remedy"),
                Text("evidence"),
            ],
            Self::LineageEvents => &[
                Time("at"),
                Text("event_type"),
                Text("job_namespace"),
                Text("job"),
                Text("job_run_id"),
                Text("inputs"),
                Text("outputs"),
                Text("event"),
            ],
        }
    }

    /// Passes the rows that a bundle has for the table to `take`, in batches, until that returns false. Returns what could not be
    /// read.
    ///
    /// # Errors
    ///
    /// When values of the bundle do not match the columns.
    pub fn read(
        self,
        bundle: &Bundle,
        mut take: impl FnMut(RecordBatch) -> bool,
    ) -> Result<Vec<Damage>, TableError> {
        let failed = |error| TableError::new(self.name(), bundle.dir(), error);
        let manifest = Manifest::read_with_damages(bundle);
        // What the manifest does not say, as far as the run has recorded it for a tracking server.
        let outbox =
            manifest.is_err().then(|| recorded_outbox(&bundle.tracker_dir()).ok().flatten()).flatten();
        let mut of_all = Map::new();
        if let Ok((Manifest { identity, .. }, _)) = &manifest {
            of_all.insert("run_id".to_owned(), Value::String(identity.run_id.to_string()));
            of_all.insert("dag_name".to_owned(), Value::String(identity.dag_name.clone()));
        } else {
            // By its folder.
            let run = bundle.run_id().map(|run| ("run_id".to_owned(), Value::String(run.to_string())));
            let dag = outbox.as_ref().and_then(|outbox| outbox.dag_name.clone());
            of_all.extend(run.into_iter().chain(dag.map(|dag| ("dag_name".to_owned(), Value::String(dag)))));
        }
        let mut sink = RowSink::new(self.schema(), of_all, &mut take).map_err(failed)?;
        let manifest = match manifest {
            Ok((manifest, damages)) => {
                for FileDamage { file, problem, .. } in damages {
                    sink.damaged(&bundle.dir().join(file), problem);
                }
                Some(manifest)
            }
            Err(error) => {
                sink.damaged(&bundle.manifest(), rows::cause(&error));
                None
            }
        };
        for FileEntry { path, size_bytes, .. } in manifest.iter().flat_map(|manifest| &manifest.files) {
            let file = bundle.dir().join(path);
            // Files that a run has not written are not listed.
            let size = file.symlink_metadata().map_or(0, |file| file.len());
            if self.reads(path) && size < *size_bytes {
                let what = if size == 0 { "it is empty or missing" } else { "its end is missing" };
                sink.damaged(&file, format!("{what}: the run left {size_bytes} bytes"));
            }
        }
        match self {
            Self::Runs => match &manifest {
                Some(manifest) => rows::run(manifest, bundle, &mut sink),
                None => rows::run_without_manifest(bundle, outbox.as_ref(), &mut sink),
            },
            Self::Nodes => manifest.iter().for_each(|manifest| rows::nodes(manifest, bundle, &mut sink)),
            Self::Queries => rows::queries(bundle, &mut sink),
            Self::Operators => rows::operators(bundle, &mut sink),
            Self::Spans => rows::spans(bundle, manifest.as_ref(), &mut sink),
            Self::Logs => rows::logs(bundle, manifest.as_ref(), &mut sink),
            Self::Artifacts => rows::artifacts(bundle, manifest.as_ref(), &mut sink),
            Self::Summaries => rows::summaries(bundle, &mut sink),
            Self::Findings => rows::findings(bundle, &mut sink),
            Self::LineageEvents => rows::lineage_events(bundle, &mut sink),
        }
        sink.end().map_err(failed)
    }
}
