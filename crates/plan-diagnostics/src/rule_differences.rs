//! What a rule has changed, as a difference of texts: for who asks why a plan is as it is.

use std::sync::Arc;

use datafusion::{
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, displayable},
};
use similar::TextDiff;

use crate::shield::shielded;

/// A plan as text, before a rule is called with it. `None` where its text is not asked for, or cannot be made.
pub(crate) struct TextBefore(Option<String>);

/// What a rule is called with, or returns.
pub(crate) trait PlanText {
    fn text(&self) -> String;
}

impl PlanText for LogicalPlan {
    fn text(&self) -> String {
        self.display_indent().to_string()
    }
}

impl PlanText for Arc<dyn ExecutionPlan> {
    fn text(&self) -> String {
        displayable(self.as_ref()).indent(false).to_string()
    }
}

impl TextBefore {
    pub(crate) fn of(plan: &impl PlanText, is_asked_for: bool) -> Self {
        Self(if is_asked_for { text_of(plan) } else { None })
    }

    /// The lines that differ afterwards, each with one around it. `None` where it is not asked for; empty where the texts
    /// are the same.
    pub(crate) fn difference_to(&self, plan: &impl PlanText) -> Option<String> {
        let (before, after) = (self.0.as_ref()?, text_of(plan)?);
        Some(TextDiff::from_lines(before, &after).unified_diff().context_radius(1).to_string())
    }
}

fn text_of(plan: &impl PlanText) -> Option<String> {
    // It is made by code of the program, where a node or an operator is its own.
    shielded("the text of a plan", || plan.text())
}
