//! A run in the form for a comparison: its report, the shapes of its plans and the summaries of its data.

use std::collections::{BTreeSet, HashMap};

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{ArtifactCatalog, Bundle, Manifest, NodeStatus, RunStatus};

use super::{
    last_run::hashes,
    margin::{Near, NearFindings},
    plan_shapes::PlanShapes,
    row_points::PlanRows,
    summaries::{Summaries, take},
};
use crate::{
    inputs::{ReportError, ReportOptions},
    report::Report,
};

/// The maximum number of plans whose rows are compared.
const MAX_PLANS: usize = 20_000;

/// A run that can be compared with others.
#[derive(Debug, Clone)]
pub struct ComparedRun {
    /// Its report.
    pub report: Report,
    pub(crate) plans: PlanShapes,
    pub(crate) summaries: Summaries,
    pub(crate) rows: Vec<PlanRows>,
    /// The findings that it almost has.
    pub(crate) near: Near,
    /// The fingerprints of the plans of each node that succeeded.
    plan_hashes: HashMap<String, Vec<String>>,
    pub(crate) thresholds: FindingThresholds,
    /// Whether its outputs are known.
    pub(crate) knows_outputs: bool,
}

impl ComparedRun {
    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// Like [`Report::from_bundle`].
    pub fn read(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::read_with(bundle, &ReportOptions::default())
    }

    /// Like [`ComparedRun::read`], with options for its report.
    ///
    /// # Errors
    ///
    /// Like [`Report::from_bundle`].
    pub fn read_with(bundle: &Bundle, options: &ReportOptions) -> Result<Self, ReportError> {
        let mut plans = PlanShapes::default();
        let (mut summaries, mut rows) = (Summaries::new(), Vec::new());
        let mut near = NearFindings::new(&options.thresholds);
        let report = Report::made_with(
            bundle,
            options,
            |file, plan| {
                plans.add(plan);
                near.add(file, plan);
                if rows.len() < MAX_PLANS {
                    rows.extend(PlanRows::of(plan, file));
                }
            },
            |node, columns| take(&mut summaries, node, columns),
        )?;
        // The report already contains the problem with an unreadable manifest.
        let manifest = Manifest::read(bundle).ok();
        let plan_hashes = manifest.as_ref().map(|manifest| hashes(&manifest.nodes)).unwrap_or_default();
        let near = near.of(&report);
        let knows_outputs = !report.artifacts.is_empty() || has_catalog(bundle, manifest.as_ref());
        Ok(Self {
            near,
            report,
            plans,
            summaries,
            rows,
            plan_hashes,
            thresholds: options.thresholds.clone(),
            knows_outputs,
        })
    }

    /// Whether the nodes that succeeded in both runs have the same plans, as far as known for both: according to their
    /// fingerprints, and if these differ, according to operators and tables, provided that all of those plans were kept.
    pub fn has_plans_of(&self, other: &Self) -> bool {
        let ended_well = |run: &'_ Self| -> BTreeSet<String> {
            let nodes = run.report.nodes.iter().filter(|node| node.status == NodeStatus::Success);
            nodes.map(|node| node.name.clone()).collect()
        };
        let others = ended_well(other);
        ended_well(self).intersection(&others).all(|node| self.has_plans_of_node(other, node))
    }

    fn has_plans_of_node(&self, other: &Self, node: &str) -> bool {
        let [own, others] = [self, other].map(|run| run.plan_hashes.get(node));
        match own.zip(others) {
            Some((own, others)) => {
                let were_kept = self.plans.has_all(node, own) && other.plans.has_all(node, others);
                own == others || were_kept && self.plans.node_is_like(node, &other.plans, node)
            }
            // A node without a plan in one of the runs, and bundles from before fingerprints were recorded.
            None if self.plan_hashes.is_empty() || other.plan_hashes.is_empty() => {
                !self.plans.has(node)
                    || !other.plans.has(node)
                    || self.plans.node_is_like(node, &other.plans, node)
            }
            None => true,
        }
    }
}

/// Whether there is a catalog of all outputs, or none is missing. A run that has not ended may write more.
fn has_catalog(bundle: &Bundle, manifest: Option<&Manifest>) -> bool {
    let has_ended = manifest.is_some_and(|manifest| manifest.status != RunStatus::Running);
    ArtifactCatalog::read(bundle).is_ok()
        && (bundle.artifacts().exists() || has_ended && !ArtifactCatalog::is_missing(bundle, manifest))
}
