//! From when on a span is slow.

use std::{collections::BTreeMap, time::Duration};

/// How long something of a stage may take before its span is marked `slow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowAfter {
    /// Where the stage has no threshold of its own.
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
