//! What is known of a run when it starts.

use std::{collections::BTreeMap, path::PathBuf};

use daglight_run_bundle::{Durability, SignalFiles};
use daglight_run_identity::{DagName, RunId};
use opentelemetry::Context;

/// What is known of a run when it starts.
#[derive(Debug, Clone)]
pub struct RunScope {
    /// The run's id.
    pub run_id: RunId,
    /// The name of its DAG.
    pub dag_name: DagName,
    /// The signal files, in a folder that exists. `None` if there is no bundle: everything for the files then counts as failed.
    pub files: Option<SignalFiles>,
    /// The folder that holds the bundles.
    pub output_dir: PathBuf,
    /// Which failures a line in a signal file survives.
    pub durability: Durability,
    /// Additional resource attributes in the signal files, such as the environment or the commit. They are facts about the run, not
    /// values from its data.
    pub attributes: BTreeMap<String, String>,
    /// The context that started the run: the root span becomes its child. Default: the span that is active where the run is opened,
    /// or else the result of [`crate::Bridge::parent_from_environment`].
    pub parent: Option<Context>,
}

impl RunScope {
    /// A run with defaults for everything else.
    pub fn new(
        run_id: RunId,
        dag_name: DagName,
        files: impl Into<Option<SignalFiles>>,
        output_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            run_id,
            dag_name,
            files: files.into(),
            output_dir: output_dir.into(),
            durability: Durability::default(),
            attributes: BTreeMap::new(),
            parent: None,
        }
    }
}
