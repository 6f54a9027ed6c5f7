//! Events, made of what is told.

use chrono::{DateTime, SecondsFormat, Utc};
use daglight_capture_policy::Captured;
use daglight_run_identity::RunId;
use uuid::Uuid;

use crate::{
    assertions::assertions_of,
    event::{EventType, InputDataset, Job, OutputDataset, Run, RunEvent},
    facets::{
        Body, ColumnInputs, ColumnLineageDatasetFacet, DataQualityMetricsDatasetFacet,
        DataQualityMetricsInputDatasetFacet, DatasetFacets, DocumentationDatasetFacet, DocumentationJobFacet,
        ErrorMessageRunFacet, InputFacets, InputField, InputStatisticsInputDatasetFacet, JobFacets, JobRef,
        JobTypeJobFacet, NominalTimeRunFacet, OutputFacets, OutputStatisticsOutputDatasetFacet, Owner,
        OwnershipJobFacet, ParentRunFacet, ProcessingEngineRunFacet, RootRef, RunFacets, RunRef, SQLJobFacet,
        SchemaDatasetFacet, SchemaField, SourceCodeLocationJobFacet, StorageDatasetFacet,
    },
    facts::{ColumnOrigin, DatasetFacts, Ending, ErrorFacts, NodeFacts, ParentRun, RunFacts, SourceLocation},
    metrics::metrics_of,
};

const INTEGRATION: &str = "DATAFUSION";

/// An event of a run.
pub(crate) fn run_event(
    run: &RunFacts,
    event_type: EventType,
    time: DateTime<Utc>,
    ending: Option<&Ending>,
) -> RunEvent {
    let job = Job {
        namespace: run.namespace.clone(),
        name: run.dag.clone(),
        facets: JobFacets {
            job_type: Some(job_type("DAG")),
            source_code_location: run.source.as_ref().map(|source| location(source, None).facet()),
            ownership: run.owner.as_ref().map(|owner| {
                OwnershipJobFacet { owners: vec![Owner { name: format!("team:{}", owner.to_text()) }] }
                    .facet()
            }),
            ..JobFacets::default()
        },
    };
    let parent = run.parent.as_ref().map(|parent| {
        let root = run.root.as_ref().unwrap_or(parent);
        parent_facet(parent, Some(root)).facet()
    });
    RunEvent::new(event_type, time, of_run(run, run.run_id.into(), parent, ending), job)
}

/// An event of a node, which is a separate run, started by that of the DAG.
pub(crate) fn node_event(
    run: &RunFacts,
    node: &NodeFacts,
    event_type: EventType,
    time: DateTime<Utc>,
    ending: Option<&Ending>,
) -> RunEvent {
    let job = Job {
        namespace: run.namespace.clone(),
        name: format!("{}.{}", run.dag, node.name),
        facets: JobFacets {
            job_type: Some(job_type(if node.sql.is_some() { "QUERY" } else { "TASK" })),
            sql: node
                .sql
                .as_ref()
                .map(|sql| SQLJobFacet { query: sql.to_text(), dialect: "datafusion" }.facet()),
            source_code_location: run
                .source
                .as_ref()
                .map(|source| location(source, node.path.as_ref()).facet()),
            documentation: node
                .documentation
                .as_ref()
                .map(|text| DocumentationJobFacet { description: text.to_text() }.facet()),
            ownership: None,
        },
    };
    RunEvent::new(event_type, time, below_dag(run, node.run_id, ending), job)
}

/// An event of the checks of what a node has written. They are a separate job, because the specification has results of checks
/// where a dataset is read, and the node does not read what it writes.
pub(crate) fn checks_event(
    run: &RunFacts,
    node: &NodeFacts,
    run_id: RunId,
    event_type: EventType,
    time: DateTime<Utc>,
) -> RunEvent {
    let job = Job {
        namespace: run.namespace.clone(),
        name: format!("{}.{}.checks", run.dag, node.name),
        facets: JobFacets { job_type: Some(job_type("TEST")), ..JobFacets::default() },
    };
    RunEvent::new(event_type, time, below_dag(run, run_id, None), job)
}

/// A run that the run of the DAG has started.
fn below_dag(run: &RunFacts, run_id: RunId, ending: Option<&Ending>) -> Run {
    let of_dag =
        ParentRun { namespace: run.namespace.clone(), job: run.dag.clone(), run_id: run.run_id.into() };
    let root = run.root.as_ref().or(run.parent.as_ref()).unwrap_or(&of_dag);
    of_run(run, run_id.into(), Some(parent_facet(&of_dag, Some(root)).facet()), ending)
}

/// The event that an ending is.
pub(crate) fn type_of(ending: &Ending) -> EventType {
    match ending {
        Ending::Complete => EventType::Complete,
        Ending::Fail(_) => EventType::Fail,
        Ending::Abort(_) => EventType::Abort,
    }
}

/// A dataset that was read.
pub(crate) fn input(facts: DatasetFacts) -> InputDataset {
    let statistics = (facts.rows.is_some() || facts.bytes.is_some() || facts.files.is_some()).then(|| {
        InputStatisticsInputDatasetFacet { row_count: facts.rows, size: facts.bytes, file_count: facts.files }
            .facet()
    });
    let metrics = facts.summary.as_ref().and_then(metrics_of).map(|column_metrics| {
        DataQualityMetricsInputDatasetFacet { row_count: facts.rows, column_metrics }.facet()
    });
    InputDataset {
        facets: dataset_facets(&facts),
        namespace: facts.name.namespace,
        name: facts.name.name,
        input_facets: InputFacets {
            input_statistics: statistics,
            data_quality_metrics: metrics,
            data_quality_assertions: assertions_of(&facts.checks).map(Body::facet),
        },
    }
}

/// A dataset that was written.
pub(crate) fn output(facts: DatasetFacts) -> OutputDataset {
    let statistics = (facts.rows.is_some() || facts.bytes.is_some() || facts.files.is_some()).then(|| {
        OutputStatisticsOutputDatasetFacet {
            row_count: facts.rows,
            size: facts.bytes,
            file_count: facts.files,
        }
        .facet()
    });
    let metrics = facts.summary.as_ref().and_then(metrics_of).map(|column_metrics| {
        DataQualityMetricsDatasetFacet { row_count: facts.rows, column_metrics }.facet()
    });
    OutputDataset {
        facets: DatasetFacets { data_quality_metrics: metrics, ..dataset_facets(&facts) },
        namespace: facts.name.namespace,
        name: facts.name.name,
        output_facets: OutputFacets { output_statistics: statistics },
    }
}

fn dataset_facets(facts: &DatasetFacts) -> DatasetFacets {
    let fields: Vec<SchemaField> = facts
        .columns
        .iter()
        .map(|column| SchemaField { name: column.name.to_text(), r#type: column.data_type.to_text() })
        .collect();
    let fields_of = |origins: &[ColumnOrigin]| origins.iter().map(input_field).collect::<Vec<_>>();
    let has_lineage = !facts.lineage.is_empty() || !facts.row_lineage.is_empty();
    let lineage = has_lineage.then(|| {
        let fields = facts
            .lineage
            .iter()
            .map(|(column, origins)| (column.to_text(), ColumnInputs { input_fields: fields_of(origins) }))
            .collect();
        ColumnLineageDatasetFacet { fields, dataset: fields_of(&facts.row_lineage) }.facet()
    });
    DatasetFacets {
        schema: (!fields.is_empty()).then(|| SchemaDatasetFacet { fields }.facet()),
        column_lineage: lineage,
        data_quality_metrics: None,
        documentation: facts
            .documentation
            .as_ref()
            .map(|text| DocumentationDatasetFacet { description: text.to_text() }.facet()),
        storage: facts
            .format
            .as_ref()
            .map(|format| StorageDatasetFacet { storage_layer: "file", file_format: format.clone() }.facet()),
    }
}

fn input_field(origin: &ColumnOrigin) -> InputField {
    InputField {
        namespace: origin.dataset.namespace.clone(),
        name: origin.dataset.name.clone(),
        field: origin.column.to_text(),
        transformations: origin.transformations.clone(),
    }
}

fn of_run(
    run: &RunFacts,
    run_id: Uuid,
    parent: Option<crate::facets::Facet<ParentRunFacet>>,
    ending: Option<&Ending>,
) -> Run {
    let error = ending.and_then(|ending| match ending {
        Ending::Complete => None,
        Ending::Fail(error) | Ending::Abort(error) => Some(error_facet(error).facet()),
    });
    let facets = RunFacets {
        parent,
        nominal_time: run.nominal_time.map(|nominal| {
            let nominal_end_time = nominal.end.map(|end| end.to_rfc3339_opts(SecondsFormat::Micros, true));
            NominalTimeRunFacet { nominal_start_time: nominal.start, nominal_end_time }.facet()
        }),
        processing_engine: Some(
            ProcessingEngineRunFacet {
                version: run.engine_version.clone(),
                name: "datafusion",
                openlineage_adapter_version: env!("CARGO_PKG_VERSION"),
            }
            .facet(),
        ),
        error_message: error,
    };
    Run { run_id, facets }
}

pub(crate) fn error_facet(error: &ErrorFacts) -> ErrorMessageRunFacet {
    ErrorMessageRunFacet {
        message: error.message.to_text(),
        // What the node is written in, of which the error is.
        programming_language: "SQL",
        stack_trace: error.stack.as_ref().map(Captured::to_text),
    }
}

fn parent_facet(parent: &ParentRun, root: Option<&ParentRun>) -> ParentRunFacet {
    let job = |run: &ParentRun| JobRef { namespace: run.namespace.clone(), name: run.job.clone() };
    let id = |run: &ParentRun| RunRef { run_id: run.run_id };
    let root = root.map(|root| RootRef { run: id(root), job: job(root) });
    ParentRunFacet { run: id(parent), job: job(parent), root }
}

fn job_type(job_type: &'static str) -> crate::facets::Facet<JobTypeJobFacet> {
    JobTypeJobFacet { processing_type: "BATCH", integration: INTEGRATION, job_type }.facet()
}

fn location(source: &SourceLocation, path: Option<&Captured>) -> SourceCodeLocationJobFacet {
    let page = page_of(&source.repo);
    let path = path.map(Captured::to_text);
    let url = match (&source.commit, &path) {
        // As the servers of git repositories have it that are used most.
        (Some(commit), Some(path)) => format!("{page}/blob/{commit}/{path}"),
        (Some(commit), None) => format!("{page}/tree/{commit}"),
        _ => page,
    };
    SourceCodeLocationJobFacet {
        r#type: "git",
        url,
        repo_url: Some(source.repo.clone()),
        path,
        version: source.commit.clone(),
        branch: source.branch.clone(),
    }
}

/// The page of a repository: `git@host:team/repo.git` is at `https://host/team/repo`.
fn page_of(repo: &str) -> String {
    let repo = repo.trim_end_matches('/').trim_end_matches(".git");
    let rest = match repo.split_once("://") {
        Some(("http" | "https" | "file", _)) => return repo.to_owned(),
        Some((_, rest)) => rest.to_owned(),
        None if repo.starts_with('/') => return format!("file://{repo}"),
        None => repo.replacen(':', "/", 1),
    };
    let rest = rest.split_once('@').map_or(rest.as_str(), |(_, rest)| rest);
    format!("https://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_a_page() {
        for (repo, page) in [
            ("https://host/team/repo.git", "https://host/team/repo"),
            ("git@host:team/repo.git", "https://host/team/repo"),
            ("ssh://git@host/team/repo", "https://host/team/repo"),
            ("/srv/repo.git", "file:///srv/repo"),
        ] {
            assert_eq!(page_of(repo), page);
        }
    }
}
