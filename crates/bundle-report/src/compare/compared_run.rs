//! A run as it is compared: its report, the shapes of its plans and the summaries of its data.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::Bundle;

use super::{
    plan_shapes::PlanShapes,
    row_points::PlanRows,
    summaries::{Summaries, take},
};
use crate::{
    inputs::{ReportError, ReportOptions},
    report::Report,
};

/// Plans whose rows are compared.
const MAX_PLANS: usize = 20_000;

/// A run that can be compared with others.
#[derive(Debug, Clone)]
pub struct ComparedRun {
    /// Its report.
    pub report: Report,
    pub(crate) plans: PlanShapes,
    pub(crate) summaries: Summaries,
    pub(crate) rows: Vec<PlanRows>,
    pub(crate) thresholds: FindingThresholds,
}

impl ComparedRun {
    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// As [`Report::from_bundle`].
    pub fn read(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::read_with(bundle, &ReportOptions::default())
    }

    /// As [`ComparedRun::read`], with options of its report.
    ///
    /// # Errors
    ///
    /// As [`Report::from_bundle`].
    pub fn read_with(bundle: &Bundle, options: &ReportOptions) -> Result<Self, ReportError> {
        let mut plans = PlanShapes::default();
        let (mut summaries, mut rows) = (Summaries::new(), Vec::new());
        let report = Report::made_with(
            bundle,
            options,
            |file, plan| {
                plans.add(plan);
                if rows.len() < MAX_PLANS {
                    rows.extend(PlanRows::of(plan, file));
                }
            },
            |node, columns| take(&mut summaries, node, columns),
        )?;
        Ok(Self { report, plans, summaries, rows, thresholds: options.thresholds.clone() })
    }

    /// Whether the nodes of both runs have plans of the same shapes.
    pub fn has_plans_of(&self, other: &Self) -> bool {
        self.plans.has_shapes_of(&other.plans)
    }
}
