//! The report of a bundle: reads it, judges its plans, and assembles what came of both.

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
    /// Reads a bundle and says what happened in its run.
    ///
    /// The signal files are read line by line, in memory that does not grow with them. A bundle of a run that was killed
    /// is read as far as it goes; what could not be read is in the report.
    ///
    /// # Errors
    ///
    /// When the manifest has a newer format. Whatever else is missing or damaged is a part of the report.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, ReportError> {
        Self::made(bundle, &ReportOptions::default(), |_| ())
    }

    /// As [`Report::from_bundle`], with options, and shows each plan to `seen` as it is read.
    ///
    /// # Errors
    ///
    /// As [`Report::from_bundle`].
    pub fn made(
        bundle: &Bundle,
        options: &ReportOptions,
        seen: impl FnMut(&PlanBundle),
    ) -> Result<Self, ReportError> {
        let mut seen = seen;
        Self::made_with(bundle, options, |_, plan| seen(plan), |_, _| ())
    }

    /// As [`Report::made`], and shows the summary of each node's data to `described`, so that nobody reads it again.
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
