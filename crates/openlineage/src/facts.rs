//! What is told of runs, nodes and datasets, in no engine's terms.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Captured, without_credentials};
use daglight_run_bundle::CheckRecord;
use daglight_run_identity::RunId;
use uuid::Uuid;

use crate::{facets::Transformation, naming::DatasetName};

/// A run of a DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// Its id.
    pub run_id: RunId,
    /// The name of the DAG, which is that of the job.
    pub dag: String,
    /// The namespace of the job.
    pub namespace: String,
    /// The run that has started it.
    pub parent: Option<ParentRun>,
    /// The first of the chain of runs. Default: the parent.
    pub root: Option<ParentRun>,
    /// The time that it is for.
    pub nominal_time: Option<NominalTime>,
    /// The version of DataFusion.
    pub engine_version: String,
    /// Where the code is that it runs.
    pub source: Option<SourceLocation>,
    /// Who answers for it.
    pub owner: Option<Captured>,
}

/// A run of another system, `namespace/job name/run id` as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentRun {
    /// The namespace of its job.
    pub namespace: String,
    /// The name of its job.
    pub job: String,
    /// Its id.
    pub run_id: Uuid,
}

/// A text that does not name a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name a run: expected namespace/job name/run id, the id a UUID")]
pub struct ParentRunError {
    text: String,
}

impl FromStr for ParentRun {
    type Err = ParentRunError;

    fn from_str(text: &str) -> Result<Self, ParentRunError> {
        // A job's name has no slash in it by convention, and a namespace may be a URL.
        let parts = text.trim().rsplit_once('/').and_then(|(job, run_id)| {
            let (namespace, job) = job.rsplit_once('/')?;
            Some((namespace, job, Uuid::from_str(run_id).ok()?))
        });
        match parts {
            Some((namespace, job, run_id)) if !namespace.is_empty() && !job.is_empty() => {
                // Whoever started this process wrote it, and every event repeats it.
                Ok(Self { namespace: without_credentials(namespace), job: without_credentials(job), run_id })
            }
            _ => Err(ParentRunError { text: without_credentials(text) }),
        }
    }
}

/// The time that a run is for, such as the day whose data it processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NominalTime {
    /// Its beginning.
    pub start: DateTime<Utc>,
    /// Its end.
    pub end: Option<DateTime<Utc>>,
}

/// A checkout of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// The URL of the repository, without credentials.
    pub repo: String,
    /// The commit.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
}

/// A node of the DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// The id of this execution.
    pub run_id: RunId,
    /// Its name, which is that of the job with the DAG's in front.
    pub name: String,
    /// Its query.
    pub sql: Option<Captured>,
    /// What it is for.
    pub documentation: Option<Captured>,
    /// The file of its code, below the repository.
    pub path: Option<Captured>,
}

/// A dataset that a node has read or written.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetFacts {
    /// What it is.
    pub name: DatasetName,
    /// Its columns, where they are known.
    pub columns: Vec<Column>,
    /// Its rows: those that were written, or are there to be read.
    pub rows: Option<u64>,
    /// Its bytes.
    pub bytes: Option<u64>,
    /// Its files.
    pub files: Option<u64>,
    /// The format of its files, such as `parquet`; `None` for a table that is not a file.
    pub format: Option<String>,
    /// What it is for.
    pub documentation: Option<Captured>,
    /// Where its columns come from.
    pub lineage: Vec<(Captured, Vec<ColumnOrigin>)>,
    /// Columns that decide about its rows.
    pub row_lineage: Vec<ColumnOrigin>,
    /// Its data summary: an object of columns, each with `count`, `missing`, and `min`, `max`, `quantiles` and `distinct` where they
    /// are known.
    pub summary: Option<Captured>,
    /// The checks of its rows, as the bundle has them.
    pub checks: Vec<CheckRecord>,
}

impl DatasetFacts {
    /// A dataset of which no more than the name is known.
    pub fn new(name: DatasetName) -> Self {
        Self {
            name,
            columns: Vec::new(),
            rows: None,
            bytes: None,
            files: None,
            format: None,
            documentation: None,
            lineage: Vec::new(),
            row_lineage: Vec::new(),
            summary: None,
            checks: Vec::new(),
        }
    }
}

/// A column of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Captured,
    /// Its type.
    pub data_type: Captured,
}

/// A column that another is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnOrigin {
    /// Its dataset.
    pub dataset: DatasetName,
    /// Its name.
    pub column: Captured,
    /// What happens to it.
    pub transformations: Vec<Transformation>,
}

/// How a run or a node ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Well.
    Complete,
    /// With an error.
    Fail(ErrorFacts),
    /// Interrupted, by a signal.
    Abort(ErrorFacts),
}

/// An error.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFacts {
    /// What it says.
    pub message: Captured,
    /// The error with its causes, a line each.
    pub stack: Option<Captured>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_from_behind() {
        let id = "0198c1f0-1111-7222-8333-444455556666";
        let parent: ParentRun = format!("https://airflow.example/a/dag.task/{id}").parse().unwrap();
        assert_eq!(
            (parent.namespace.as_str(), parent.job.as_str()),
            ("https://airflow.example/a", "dag.task")
        );
        let parent: ParentRun = format!("https://a:Zq1@h/x/job password=Zq2/{id}").parse().unwrap();
        assert_eq!(
            (parent.namespace.as_str(), parent.job.as_str()),
            ("https://[redacted]@h/x", "job password=[redacted]")
        );
        let error = "ns/job password=Zq2".parse::<ParentRun>().unwrap_err().to_string();
        assert!(error.contains("password=[redacted]"), "{error}");
        for text in ["", "a/b", "a/b/c", &format!("/b/{id}"), &format!("a//{id}"), &format!("b/{id}")] {
            assert!(text.parse::<ParentRun>().is_err(), "{text}");
        }
    }
}
