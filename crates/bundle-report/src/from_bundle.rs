//! The report of a bundle: reads it, judges its plans, and assembles the results.

use chrono::Utc;
use daglight_run_bundle::{Bundle, PlanBundle};
use serde_json::Value;

use crate::{
    assemble::report,
    inputs::{Inputs, ReportError, ReportOptions},
    judged_plans::JudgedPlans,
    report::Report,
};

impl Report {
    /// Reads a bundle and reports what happened in its run.
    ///
    /// The signal files are read line by line, with memory that does not grow with them. The bundle of a killed run is read as far
    /// as possible; the report contains what could not be read.
    ///
    /// # Errors
    ///
    /// When the manifest has a newer format. Everything else that is missing or damaged is part of the report.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::made(bundle, &ReportOptions::default(), |_| ())
    }

    /// Like [`Report::from_bundle`], with options; passes each plan to `seen` as it is read.
    ///
    /// # Errors
    ///
    /// Like [`Report::from_bundle`].
    pub fn made(
        bundle: &Bundle,
        options: &ReportOptions,
        seen: impl FnMut(&PlanBundle),
    ) -> Result<Self, ReportError> {
        let mut seen = seen;
        Self::made_with(bundle, options, |_, plan| seen(plan), |_, _| ())
    }

    /// Like [`Report::made`]; also passes the summary of each node's data to `described`, so that it need not be read again.
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the report: what reads and what makes it have the time as a parameter"
    )]
    pub(crate) fn made_with(
        bundle: &Bundle,
        options: &ReportOptions,
        mut seen: impl FnMut(&str, &PlanBundle),
        described: impl FnMut(&str, &Value),
    ) -> Result<Self, ReportError> {
        let mut plans = JudgedPlans::new(options.thresholds.clone());
        let inputs = Inputs::read(
            bundle,
            options,
            Utc::now(),
            |file, plan| {
                seen(&file, &plan);
                plans.add(file, plan);
            },
            described,
        )?;
        Ok(report(inputs, plans, &options.thresholds, Utc::now()))
    }
}
