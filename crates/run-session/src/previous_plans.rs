//! The plans that the nodes had in the last run of the same DAG.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use daglight_run_bundle::{Bundle, Manifest, RunStatus};
use daglight_run_identity::RunId;

use crate::{plan_files::PlanKey, run_context::RunContext};

/// Runs that are looked through, the last ones: a folder may hold the runs of other DAGs as well.
const MAX_RUNS: usize = 20;

/// The fingerprints of the plans of each node.
#[derive(Debug, Default)]
pub(crate) struct PreviousPlans(HashMap<String, HashSet<String>>);

impl PreviousPlans {
    /// Those of the last run of the DAG beside this one. Nothing where this is the first: then no plan has changed.
    pub(crate) fn of_dag(context: &RunContext) -> Self {
        let Some(bundle) = &context.bundle else { return Self::default() };
        let found = bundle.dir().parent().and_then(|folder| {
            let before = runs_before(folder, context.run_id);
            before.into_iter().take(MAX_RUNS).find_map(|dir| plans_of(&dir, context.dag.name().as_str()))
        });
        Self(found.unwrap_or_default())
    }

    /// Whether the node had other plans, and not this one.
    pub(crate) fn has_changed(&self, key: &PlanKey) -> bool {
        let before = key.node.as_ref().and_then(|node| self.0.get(node));
        before.is_some_and(|before| !before.contains(&key.plan_hash))
    }
}

/// The folders of runs that started earlier, the last one first.
fn runs_before(folder: &Path, run_id: RunId) -> Vec<std::path::PathBuf> {
    let mut runs: Vec<(RunId, std::path::PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        // Identifiers of runs begin with their time, so these are those that started before.
        .filter(|(run, _)| *run < run_id)
        .collect();
    runs.sort_by_key(|(run, _)| Reverse(*run));
    runs.into_iter().map(|(_, dir)| dir).collect()
}

fn plans_of(dir: &Path, dag_name: &str) -> Option<HashMap<String, HashSet<String>>> {
    let manifest = Manifest::read(&Bundle::open(dir).ok()?).ok()?;
    // A folder may be that of several programs. A run that goes on has not planned all its queries.
    if manifest.identity.dag_name != dag_name || manifest.status == RunStatus::Running {
        return None;
    }
    let plans: HashMap<_, HashSet<_>> = manifest
        .nodes
        .into_iter()
        .filter(|node| !node.plan_hashes.is_empty())
        .map(|node| (node.name, node.plan_hashes.into_iter().collect()))
        .collect();
    (!plans.is_empty()).then_some(plans)
}
