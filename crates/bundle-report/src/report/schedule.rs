//! How the nodes use the time of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The statement without a node that took longest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LongestSetup {
    /// How long it took.
    pub duration_ms: f64,
    /// The beginning of its text, as the policy shows it.
    pub statement: Option<String>,
    /// Its place, as `shop.sql:12`.
    pub place: Option<String>,
}

/// How the nodes share the time of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Time in which at least one node ran.
    pub busy_ms: f64,
    /// Time in which none did, but work of the run that belongs to no node, such as statements that set the session up.
    #[serde(default)]
    pub setup_ms: f64,
    /// Time in which nothing of that ran.
    pub idle_ms: f64,
    /// Time from the signal that interrupted the run to its end: what ran then had been asked to stop. It is part of no other
    /// time here; 0 where no signal came.
    #[serde(default)]
    pub ending_ms: f64,
    /// The part of it that is in gaps of at least 100 ms.
    #[serde(default)]
    pub long_idle_ms: f64,
    /// The longest time in which nothing ran.
    pub longest_idle: Option<IdleGap>,
    /// Nodes that ran at once, on average over the busy time.
    pub parallelism: f64,
    /// The chain of dependencies that takes longest: no run on any machine like this one is shorter.
    pub critical_path: Vec<String>,
    /// How long that chain takes.
    pub critical_path_ms: f64,
    /// The steps of that chain that take longest, up to fifty, the longest first, with what each of them decides.
    #[serde(default)]
    pub critical_steps: Vec<CriticalStep>,
    /// For how long how many nodes ran at once, from none on, within the time before an interrupt.
    #[serde(default)]
    pub concurrency: Vec<Concurrency>,
    /// The longest times of at least 100 ms in which nothing ran, up to twenty, the longest first.
    #[serde(default)]
    pub idle_gaps: Vec<IdleGap>,
    /// Shorter times in which nothing ran. What they add up to is `idle_ms` without `long_idle_ms`.
    #[serde(default)]
    pub short_gaps: u64,
}

/// A step of the longest chain of dependencies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CriticalStep {
    /// The node.
    pub node: String,
    /// How long it took.
    pub duration_ms: f64,
    /// By how much the longest chain would be shorter if the node took no time: less than it took where another chain is nearly
    /// as long. The run would be shorter by that if every node started as soon as those that it reads had ended.
    pub gain_ms: f64,
    /// For how long no other node ran: by that the run was longer for the node as nodes were scheduled. `None` in reports of older
    /// versions.
    #[serde(default)]
    pub alone_ms: Option<f64>,
}

/// For how long a number of nodes ran at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// Nodes that ran.
    pub nodes: u64,
    /// For how long in all.
    pub duration_ms: f64,
}

/// A time in which neither a node nor setup ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdleGap {
    /// The node that ended last before it; `None` where none had.
    pub after: Option<String>,
    /// The node that started first behind it; `None` where none did.
    pub before: Option<String>,
    /// When it began.
    pub start_ms: f64,
    /// How long it was.
    pub duration_ms: f64,
}
