//! The last good run beside one, and what of both is compared: manifests, and a bounded number of other files.

use std::collections::{BTreeSet, HashMap};

use daglight_run_bundle::{
    Artifact, ArtifactCatalog, Bundle, Manifest, NodeRecord, NodeStatus, PlanBundle, RunStatus,
};
use serde_json::Value;

use super::{
    plan_shapes::PlanShapes,
    row_points::PlanRows,
    summaries::{Summaries, take},
};
use crate::{data::read_summaries, largest::Largest};

/// Manifests that are looked at, the last ones: a folder may hold the runs of other DAGs as well, and many that failed.
const MAX_RUNS: usize = 50;
/// Nodes whose plans have other fingerprints and are compared as trees.
const MAX_NODES: usize = 50;
/// Plans whose rows are compared: those to which most came.
const MAX_PLANS: usize = 100;
/// Plans that are read of a node of the last run.
const MAX_PLANS_OF_NODE: usize = 20;

/// The run that another one is compared with in its own report.
#[derive(Debug)]
pub(crate) struct LastRun {
    bundle: Bundle,
    pub(crate) manifest: Manifest,
    plan_hashes: HashMap<String, Vec<String>>,
}

/// What of one run is compared.
#[derive(Debug, Default)]
pub(crate) struct Comparable {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) summaries: Summaries,
    /// Of the nodes whose plans have other fingerprints.
    pub(crate) shapes: PlanShapes,
    pub(crate) rows: Vec<PlanRows>,
}

/// What is taken of a run while its own files are read.
#[derive(Debug)]
pub(crate) struct Watched {
    last: LastRun,
    /// Nodes whose plans have other fingerprints than in the last run.
    planned_anew: BTreeSet<String>,
    compared: BTreeSet<String>,
    ran_the_same: bool,
    shapes: PlanShapes,
    rows: Largest<PlanRows>,
    summaries: Summaries,
}

/// Both runs.
#[derive(Debug)]
pub(crate) struct BothRuns {
    pub(crate) before: LastRun,
    pub(crate) of_before: Comparable,
    pub(crate) of_run: Comparable,
    pub(crate) planned_anew: BTreeSet<String>,
    /// Of them, those whose plans were compared.
    pub(crate) compared: BTreeSet<String>,
    /// Whether this run left out no node that the last run had.
    pub(crate) ran_the_same: bool,
}

impl LastRun {
    /// The last good run of the same DAG that started before this one and ran all nodes that this one ran, as far as its bundle is in
    /// the same folder.
    pub(crate) fn before(bundle: &Bundle, manifest: &Manifest) -> Option<Self> {
        let manifests = bundle.earlier_runs().take(MAX_RUNS).filter_map(|before| {
            let manifest = Manifest::read(&before).ok()?;
            Some((before, manifest))
        });
        let (bundle, manifest) = manifests
            .filter(|(_, before)| before.identity.dag_name == manifest.identity.dag_name)
            .find(|(_, before)| before.status == RunStatus::Success && before.ran_all_of(manifest))?;
        let plan_hashes = hashes(&manifest.nodes);
        Some(Self { bundle, manifest, plan_hashes })
    }

    /// What of it is compared: its catalog and summaries, and of its plans those that `watched` has.
    fn read(&self, planned_anew: &BTreeSet<String>, of_run: &[PlanRows]) -> Comparable {
        let mut read = Comparable::default();
        // What cannot be read is not compared. The report of that run says what is wrong with it.
        read.artifacts =
            ArtifactCatalog::read(&self.bundle).map(|catalog| catalog.artifacts).unwrap_or_default();
        read_summaries(&self.bundle, Some(&self.manifest), |summary| {
            if !summary.is_partial {
                take(&mut read.summaries, &summary.node, &summary.columns);
            }
        });
        let with_rows: BTreeSet<&String> = of_run.iter().map(|rows| &rows.node).collect();
        let nodes: BTreeSet<&String> = planned_anew.iter().chain(with_rows.iter().copied()).collect();
        for node in nodes {
            let hashes = self.plan_hashes.get(node).into_iter().flatten().take(MAX_PLANS_OF_NODE);
            for hash in hashes {
                let Ok(plan) = PlanBundle::read_one(&self.bundle, Some(node), hash) else { continue };
                if planned_anew.contains(node) {
                    read.shapes.add(&plan);
                }
                if with_rows.contains(node) {
                    read.rows.extend(PlanRows::of(&plan, ""));
                }
            }
        }
        read
    }
}

impl Watched {
    /// What of a run with this manifest is compared with the last one.
    pub(crate) fn new(last: LastRun, manifest: &Manifest) -> Self {
        let own = hashes(&manifest.nodes);
        let changed = own
            .into_iter()
            .filter(|(node, own)| last.plan_hashes.get(node).is_some_and(|before| before != own));
        let planned_anew: BTreeSet<String> = changed.map(|(node, _)| node).collect();
        let compared = planned_anew.iter().take(MAX_NODES).cloned().collect();
        Self {
            ran_the_same: manifest.ran_all_of(&last.manifest),
            last,
            planned_anew,
            compared,
            shapes: PlanShapes::default(),
            rows: Largest::new(MAX_PLANS),
            summaries: Summaries::new(),
        }
    }

    /// Takes a plan of the run in; `file` is its path in the bundle.
    pub(crate) fn plan(&mut self, file: &str, plan: &PlanBundle) {
        if plan.node.as_ref().is_some_and(|node| self.compared.contains(node)) {
            self.shapes.add(plan);
        }
        if let Some(rows) = PlanRows::of(plan, file) {
            self.rows.offer(rows.weight(), || rows);
        }
    }

    /// Takes the summary of a node's data in.
    pub(crate) fn data(&mut self, node: &str, columns: &Value) {
        take(&mut self.summaries, node, columns);
    }

    /// Reads what there is beside it in the last run.
    pub(crate) fn with_last_run(self, artifacts: &[Artifact]) -> BothRuns {
        let rows: Vec<PlanRows> = self.rows.into_items().collect();
        BothRuns {
            of_before: self.last.read(&self.compared, &rows),
            before: self.last,
            of_run: Comparable {
                artifacts: artifacts.to_vec(),
                summaries: self.summaries,
                shapes: self.shapes,
                rows,
            },
            planned_anew: self.planned_anew,
            compared: self.compared,
            ran_the_same: self.ran_the_same,
        }
    }
}

/// The fingerprints of the plans of the nodes that have some. One that failed has not planned all its queries.
pub(super) fn hashes(nodes: &[NodeRecord]) -> HashMap<String, Vec<String>> {
    let with_plans =
        nodes.iter().filter(|node| node.status == NodeStatus::Success && !node.plan_hashes.is_empty());
    with_plans.map(|node| (node.name.clone(), node.plan_hashes.clone())).collect()
}
