//! What a run says at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use daglight_run_bundle::{Delivery, NodeRecord, OwnTime, RunStatus, Tracking, Warning};
use daglight_run_identity::RunId;
use serde::Serialize;

use crate::{error_report::ErrorReport, interruption::StopCause};

/// How a run ended, what became of its records, and where to look at it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FinishReport {
    /// The run.
    pub run_id: RunId,
    /// Its DAG.
    pub dag_name: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why it did not succeed.
    pub error: Option<ErrorReport>,
    /// Milliseconds from start to end, without delivery.
    pub duration_ms: f64,
    /// The time that Daglight itself took, in the run and after its end.
    pub own_time: OwnTime,
    /// Every node of the DAG, in running order.
    pub nodes: Vec<NodeRecord>,
    /// The run's folder. `None` where it could not be made, or was removed or moved while the run was going.
    pub bundle: Option<PathBuf>,
    /// The reports in the bundle.
    pub report: Option<ReportPaths>,
    /// Where servers show the run.
    pub links: RunLinks,
    /// Queries that belong to the run, and to none of its nodes: they ran in a stage, beside the nodes, or in a task that
    /// nothing ties to one. They have spans and plans like all others.
    pub queries_without_node: u64,
    /// The counts: produced = delivered + waiting + dropped.
    pub ledger: Delivery,
    /// Whether the run was meant for a tracking server.
    pub tracking: Tracking,
    /// Everything that went wrong with telemetry, one sentence each, with what it is about.
    pub warnings: Vec<Warning>,
    /// The run's tags.
    pub tags: BTreeMap<String, String>,
    /// What has interrupted it.
    #[serde(skip)]
    pub(crate) cause: Option<StopCause>,
    #[serde(skip)]
    pub(crate) not_written: BTreeSet<&'static str>,
}

impl FinishReport {
    /// What could not be written to the bundle, besides what the ledger counts: plans of queries, data summaries.
    pub fn not_written(&self) -> impl Iterator<Item = &'static str> {
        self.not_written.iter().copied()
    }

    /// What has asked the run to end before it was done, such as `SIGTERM`, also after a node that had failed.
    pub fn interrupted_by(&self) -> Option<String> {
        self.cause.as_ref().filter(|_| self.status != RunStatus::Success).map(ToString::to_string)
    }

    /// The exit code that a program of this run alone should end with: 0 where it succeeded, 130 for ctrl-c, 143 for SIGTERM
    /// and 129 for SIGHUP where that has interrupted it, also after a node that had failed, else 1.
    pub fn exit_code(&self) -> u8 {
        match (self.status, &self.cause) {
            (RunStatus::Success, _) => 0,
            (_, Some(cause)) => cause.exit_code(),
            (_, None) => 1,
        }
    }
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportPaths {
    /// For programs.
    pub json: PathBuf,
    /// For terminals and reviews.
    pub markdown: PathBuf,
    /// For browsers.
    pub html: PathBuf,
}

/// Pages that show a run. Each is `None` where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunLinks {
    /// The run in the Hamilton UI.
    pub hamilton_run: Option<String>,
    /// The DAG's version in the Hamilton UI.
    pub hamilton_version: Option<String>,
    /// The trace in the tracing backend.
    pub trace: Option<String>,
}
