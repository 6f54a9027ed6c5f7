//! What was delivered, is waiting, or was dropped.

use daglight_run_bundle::{SignalLedger, Tracking};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was delivered, waits, or was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryReport {
    /// Whether the counts are those of the end of the run; false for a run that has not ended in good order.
    pub is_final: bool,
    /// The counts of each signal, the tracker's first.
    pub ledgers: Vec<SignalLedger>,
    /// Items that wait for a destination that is configured, over all signals.
    pub waiting: u64,
    /// Items that are lost, over all signals.
    pub dropped: u64,
    /// Whether the run was meant for a tracking server.
    #[serde(default)]
    pub tracking: Tracking,
    /// The command that delivers what waits for the tracker.
    pub sync_command: Option<String>,
    /// The command that sends the bundle's signals to a tracing backend that has missed some.
    pub replay_command: Option<String>,
}
