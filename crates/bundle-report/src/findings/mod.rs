//! Findings: what made a run slow or wasteful, with evidence and remedies.
//!
//! A rule is a pure function. Rules for queries inspect one plan with its measurements and are applied while plans are read, so
//! that only a few candidates of each kind are in memory; rules for runs inspect the finished report.
//!
//! ```text
//! kind.rs          every kind with its remedy and page
//! finding.rs       a finding with its evidence
//! plan_view.rs     a plan as the rules look at it
//! collected.rs     the rules of queries, over all plans of a run
//! estimates.rs     what the planner knew of the rows
//! cluster.rs joins.rs scans.rs memory.rs parallelism.rs skew.rs planning.rs writes.rs      the rules of queries
//! repeated.rs recomputed.rs       what several queries did again
//! checks.rs schedule.rs stalls.rs telemetry.rs                          the rules of runs
//! moved.rs         what is otherwise than in the last good run
//! ranked.rs        all findings of a run, the most important first
//! ```

mod again;
mod checks;
mod cluster;
mod collected;
mod estimates;
mod finding;
mod joins;
mod kind;
mod memory;
mod moved;
mod parallelism;
mod plan_view;
mod planning;
mod ranked;
mod recomputed;
mod repeated;
mod scans;
mod schedule;
mod skew;
mod stalls;
mod telemetry;
mod writes;

#[cfg(test)]
pub(crate) mod planted;

pub(crate) use collected::PlanFindings;
pub(crate) use estimates::is_wrong;
pub use finding::{Evidence, Finding, Unit};
pub use kind::{FindingKind, UnknownFinding};
pub(crate) use moved::{Moved, moved_findings};
pub(crate) use plan_view::PlanView;
pub(crate) use ranked::findings;
pub(crate) use stalls::is_long_pause;
pub(crate) use telemetry::items;
