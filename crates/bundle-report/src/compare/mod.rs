//! What changed between runs: outcome, time, rows, plans, findings, settings; and which changes should fail a CI pipeline.
//!
//! ```text
//! compared_run.rs  a run as it is compared: its report, the shapes of its plans and the summaries of its data
//! measured.rs      a number beside that of the baselines, with their median and spread
//! plan_shapes.rs   plans as trees of operators, and how two of them differ
//! row_points.rs    where in plans rows can be lost, and what came in and went out there
//! source_files.rs sources.rs      the files of sources, and those that are others than before
//! outputs.rs       the outputs of a run beside those of its baselines
//! renamed.rs       what was called otherwise before
//! comparison.rs    the comparison
//! margin.rs        what a run nearly had among its findings
//! against.rs       what is found in a run against a baseline
//! last_run.rs      the last good run beside one, for its own report
//! since.rs         what changed since then
//! summaries.rs     the data summaries of outputs
//! drift.rs         how far the values of a column have moved
//! fail_on.rs       criteria, and which of them a comparison meets
//! text.rs page.rs  the comparison as text, and as a page
//! ```

mod against;
mod compared_run;
mod comparison;
mod drift;
mod fail_on;
mod last_run;
mod margin;
mod measured;
mod outputs;
mod page;
mod plan_shapes;
mod renamed;
mod row_points;
mod since;
mod source_files;
mod sources;
mod summaries;
mod text;

pub use compared_run::ComparedRun;
pub use comparison::{
    COMPARISON_VERSION, ComparedPart, Comparison, Difference, NodeComparison, NotCompared, RunOfComparison,
    TimeComparison,
};
pub use drift::ValueDrift;
pub use fail_on::{Criterion, CriterionError};
pub(crate) use last_run::{BothRuns, LastRun, Watched};
pub use measured::Measured;
pub use outputs::OutputComparison;
pub use page::ComparisonPage;
pub use plan_shapes::PlanChange;
pub(crate) use plan_shapes::shortened;
pub(crate) use since::since;
pub use source_files::SourceFiles;
pub use sources::SourceMoved;
pub(crate) use sources::source_table;
