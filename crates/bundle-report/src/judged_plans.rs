//! The report's data from the plans of a run. Each plan is processed as it is read, because not all of them fit into memory.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::PlanBundle;

use crate::{
    cluster_sums::ClusterSums, findings::PlanFindings, hidden::StatementCounts, left_jobs::LeftJobs,
    plan_sums::PlanSums, plans::SlowestPlans, queries::PlannedQueries,
};

/// The results from the plans read so far, in bounded memory.
#[derive(Debug)]
pub(crate) struct JudgedPlans {
    pub(crate) queries: PlannedQueries,
    pub(crate) slowest: SlowestPlans,
    pub(crate) sums: PlanSums,
    pub(crate) cluster: ClusterSums,
    pub(crate) findings: PlanFindings,
    pub(crate) statements: StatementCounts,
    pub(crate) left_jobs: LeftJobs,
    thresholds: FindingThresholds,
}

impl JudgedPlans {
    pub(crate) fn new(thresholds: FindingThresholds) -> Self {
        Self {
            queries: PlannedQueries::default(),
            slowest: SlowestPlans::default(),
            sums: PlanSums::default(),
            cluster: ClusterSums::default(),
            findings: PlanFindings::new(thresholds.clone()),
            statements: StatementCounts::default(),
            left_jobs: LeftJobs::default(),
            thresholds,
        }
    }

    /// Adds a plan; `file` is its path in the bundle.
    pub(crate) fn add(&mut self, file: String, plan: PlanBundle) {
        self.findings.add(&file, &plan);
        self.sums.add(&plan);
        self.cluster.add(&plan);
        self.statements.add(&plan);
        self.left_jobs.add(&plan);
        self.slowest.add(&file, &plan, &self.thresholds);
        self.queries.add(file, plan);
    }
}
