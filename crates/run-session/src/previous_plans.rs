//! The plans that the nodes had in the last run of the same DAG.

use std::collections::{HashMap, HashSet};

use daglight_run_bundle::{Bundle, Manifest, RunStatus};

use crate::{plan_messages::PlanKey, run_context::RunContext};

/// Runs that are looked through, the last ones: a folder may hold the runs of other DAGs as well.
const MAX_RUNS: usize = 20;

/// The fingerprints of the plans of each node.
#[derive(Debug, Default)]
pub(crate) struct PreviousPlans(HashMap<String, HashSet<String>>);

impl PreviousPlans {
    /// Those of the last run of the DAG beside this one. Nothing where this is the first: then no plan has changed.
    pub(crate) fn of_dag(context: &RunContext) -> Self {
        let Some(bundle) = &context.bundle else { return Self::default() };
        let name = context.dag.name().as_str();
        let found = bundle.earlier_runs().take(MAX_RUNS).find_map(|before| plans_of(&before, name));
        Self(found.unwrap_or_default())
    }

    /// Whether the node had other plans, and not this one.
    pub(crate) fn has_changed(&self, key: &PlanKey) -> bool {
        let before = key.node.as_ref().and_then(|node| self.0.get(node));
        before.is_some_and(|before| !before.contains(&key.plan_hash))
    }
}

fn plans_of(bundle: &Bundle, dag_name: &str) -> Option<HashMap<String, HashSet<String>>> {
    let manifest = Manifest::read(bundle).ok()?;
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
