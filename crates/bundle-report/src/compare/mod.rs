//! What changed between runs: outcome, time, rows, plans, findings, settings; and what of that is to fail a pipeline of CI.
//!
//! ```text
//! compared_run.rs  a run as it is compared: its report, the shapes of its plans and the summaries of its data
//! measured.rs      a number beside that of the baselines, with their median and spread
//! plan_shapes.rs   plans as trees of operators, and how two of them differ
//! comparison.rs    the comparison
//! summaries.rs     the data summaries of outputs
//! drift.rs         how far the values of a column have moved
//! fail_on.rs       criteria, and which of them a comparison meets
//! text.rs page.rs  the comparison as text, and as a page
//! ```

mod compared_run;
mod comparison;
mod drift;
mod fail_on;
mod measured;
mod page;
mod plan_shapes;
mod summaries;
mod text;

pub use compared_run::ComparedRun;
pub use comparison::{
    COMPARISON_VERSION, ComparedPart, Comparison, Difference, NodeComparison, NotCompared, OutputComparison,
    PlanChange, RunOfComparison, TimeComparison,
};
pub use drift::ColumnDrift;
pub use fail_on::{Criterion, CriterionError};
pub use measured::Measured;
