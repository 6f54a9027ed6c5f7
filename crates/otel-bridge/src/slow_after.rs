//! The thresholds for slow spans.

use std::{collections::BTreeMap, time::Duration};

/// How long a span of a stage may take before it is marked `slow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowAfter {
    /// For stages without their own threshold.
    pub default: Duration,
    /// Thresholds by stage.
    pub by_stage: BTreeMap<String, Duration>,
}

impl SlowAfter {
    pub(crate) fn of(&self, stage: Option<&str>) -> Duration {
        stage.and_then(|stage| self.by_stage.get(stage)).copied().unwrap_or(self.default)
    }
}

impl Default for SlowAfter {
    fn default() -> Self {
        Self { default: Duration::from_secs(10), by_stage: BTreeMap::new() }
    }
}
